//! `twnm-eval export` and `twnm-eval prompt`: a benchmark for other people's programs, and how it is asked.

use super::eval_mcq::benchmark_path;
use super::shared::say;
use clap::{Args as ClapArgs, ValueEnum};
use std::path::{Path, PathBuf};
use twnm::error::{Context, Result};
use twnm::eval::export::{File, lm_eval, prompts, read_as_missing, vlmeval};
use twnm::files;
use twnm::text::prompt::TEMPLATE;
use twnm::text::questions::{apply_key, read_key, read_questions};

/// Flags of `twnm-eval export`.
#[derive(ClapArgs)]
pub struct Args {
    /// The questions: metadata.jsonl, or its folder.
    #[arg(long, value_name = "FILE", value_parser = benchmark_path())]
    benchmark: PathBuf,
    /// The right letters of a public set.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// lm-eval: twnm_mcq.jsonl with the tasks twnm_mcq.yaml (hears) and twnm_mcq_text.yaml (reads only) for
    /// lm-evaluation-harness; vlmeval: twnm_mcq.tsv for VLMEvalKit; prompts: prompts.jsonl for anything else.
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// Folder for the files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    LmEval,
    Vlmeval,
    Prompts,
}

/// Writes the files.
pub fn run(args: Args) -> Result<()> {
    let mut questions = read_questions(&args.benchmark)?;
    if let Some(key) = &args.key {
        apply_key(&mut questions, &args.benchmark, &read_key(key)?, key)?;
    }
    let written: Vec<File> = match args.format {
        Format::LmEval => lm_eval(&questions).into(),
        Format::Vlmeval => vec![vlmeval(&questions)],
        Format::Prompts => vec![prompts(&questions)],
    };
    let inputs: Vec<&Path> =
        [Some(&args.benchmark), args.key.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    let apart = |(name, _): &File| files::check_apart(&args.out.join(name), &inputs);
    written.iter().try_for_each(apart).and_then(|()| files::check_output_folder(&args.out)).context_with(|| "--out")?;
    let missing = read_as_missing(&questions);
    if args.format == Format::Vlmeval && missing > 0 {
        tracing::warn!("{missing} questions have an option such as \"None\", which pandas reads as a missing value");
    }
    written.iter().try_for_each(|(name, bytes)| files::write_bytes_atomic(&args.out.join(name), bytes))
}

/// Flags of `twnm-eval prompt`.
#[derive(ClapArgs)]
pub struct PromptArgs {}

/// Prints the published prompt.
pub fn prompt(_: PromptArgs) -> Result<()> {
    say(TEMPLATE)
}
