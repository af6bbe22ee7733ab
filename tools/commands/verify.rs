//! `twnm verify`: a model against the values that another implementation computed.

use super::shared::say;
use std::path::PathBuf;
use twnm::error::{Context, Result};
use twnm::files;
use twnm::verify::{Options, Report, verify};

/// Runs the model in DIR on its expected.safetensors and compares every tensor; or a tokenizer, with its expected.json
///
/// Exit code 0: all within tolerance; 78: a tensor differs; 69: an op or model is not built yet and all else holds.
#[derive(clap::Args)]
pub struct Args {
    /// Folder with expected.safetensors and, for models, config.json and model.safetensors; or with tokenizer.json and expected.json
    dir: PathBuf,
    /// Base model of an adapter [default: the sibling folder without `-lora`]
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Write the computed tensors here, under the expected names
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// Allowed relative L2 error of every tensor [default: 1e-5 for values, 1e-4 for gradients and for decoders]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    tolerance: Option<f64>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints the report, then fails with the report's exit code.
pub fn run(args: Args) -> Result<()> {
    let options = Options { base: args.base, dump: args.dump, tolerance: args.tolerance };
    if let Some(dump) = &options.dump {
        let inputs = ["expected.safetensors", "model.safetensors", "config.json"].map(|name| args.dir.join(name));
        files::check_apart(dump, &inputs.each_ref().map(PathBuf::as_path))
            .and_then(|()| files::check_output(dump))
            .context_with(|| "--dump")?;
    }
    let report = verify(&args.dir, &options)?;
    if args.json {
        say(report.to_json())?;
    } else {
        print_table(&report)?;
    }
    report.outcome()
}

fn print_table(report: &Report) -> Result<()> {
    let width = report.tensors.iter().map(|t| t.name.len()).max().unwrap_or(0);
    for t in &report.tensors {
        say(format_args!("{} {:width$}  {}", if t.ok { "ok  " } else { "FAIL" }, t.name, t.describe()))?;
    }
    for what in &report.missing {
        say(format_args!("--   {what}: not built yet"))?;
    }
    let (passed, all) = (report.tensors.len() - report.failed(), report.tensors.len());
    say(format_args!("{}: {passed} of {all} {} within tolerance", report.kind, report.compared()))
}
