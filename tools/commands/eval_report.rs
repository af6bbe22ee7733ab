//! `twnm-eval report`: results of several evaluations on one page, beside the paper's tables.

use super::shared::say;
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};
use twnm::error::{Context, Result};
use twnm::eval::results::{Results, read_results};

/// Flags of `twnm-eval report`.
#[derive(ClapArgs)]
pub struct Args {
    /// Folder for report.md, report.json and index.html.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A result of `twnm-eval mcq --json` and its name in the report; may be given several times, like the others.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    mcq: Vec<(String, PathBuf)>,
    /// A result of `twnm-eval boolean --json`.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    boolean: Vec<(String, PathBuf)>,
    /// A result of `twnm-eval encoder --json`.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    encoder: Vec<(String, PathBuf)>,
    /// A result of `twnm-eval dcase --json`.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    dcase: Vec<(String, PathBuf)>,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.trim().is_empty() && !file.is_empty() => Ok((name.trim().into(), file.into())),
        _ => Err("NAME=FILE is expected".into()),
    }
}

/// Checks the folder of a report, whose files must not replace what it is made of.
///
/// # Errors
/// `Usage` and `Io`, as [`twnm::files::check_output_folder`] and [`twnm::files::check_apart`].
pub fn check_folder(flag: &str, folder: &Path, inputs: &[&Path]) -> Result<()> {
    use twnm::files::{check_apart, check_output_folder};
    let apart = |name: &str| check_apart(&folder.join(name), inputs);
    let checked = ["report.json", "report.md", "index.html"].iter().try_for_each(|name| apart(name));
    checked.and_then(|()| check_output_folder(folder)).context_with(|| flag)
}

/// Reads all results, then writes the report.
pub fn run(args: Args) -> Result<()> {
    let inputs = [&args.mcq, &args.boolean, &args.encoder, &args.dcase].into_iter().flatten();
    check_folder("--out", &args.out, &inputs.map(|(_, path)| path.as_path()).collect::<Vec<_>>())?;
    fn files(all: &[(String, PathBuf)]) -> Vec<(String, &Path)> {
        all.iter().map(|(name, path)| (name.clone(), path.as_path())).collect()
    }
    let results = Results {
        mcq: read_results("mcq", &files(&args.mcq))?,
        boolean: read_results("boolean", &files(&args.boolean))?,
        encoder: read_results("encoder", &files(&args.encoder))?,
        dcase: read_results("dcase", &files(&args.dcase))?,
    };
    results.write(&args.out)?;
    say(args.out.join("index.html").display())?;
    Ok(())
}
