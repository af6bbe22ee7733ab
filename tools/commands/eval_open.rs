//! `twnm-eval open`: answers to open questions whose answer is a number.

use super::eval_mcq::{benchmark_path, print_section};
use super::shared::say;
use clap::Args as ClapArgs;
use std::path::PathBuf;
use twnm::error::Result;
use twnm::eval::open::OpenScore;
use twnm::text::questions::read_answers;

/// Flags of `twnm-eval open`.
#[derive(ClapArgs)]
pub struct Args {
    /// Questions with answers in a sentence: metadata.jsonl of `twnm benchmark --kind align`, or its folder.
    #[arg(long, value_name = "FILE", value_parser = benchmark_path())]
    benchmark: PathBuf,
    /// What was answered: {"sample_id", "text"} per line.
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    /// One JSON object on standard output instead of tables.
    #[arg(long)]
    json: bool,
}

/// Scores and prints.
pub fn run(args: Args) -> Result<()> {
    let score = OpenScore::read(&args.benchmark, &read_answers(&args.answers)?, &args.answers)?;
    match args.json {
        true => say(serde_json::to_value(&score).expect("scores are plain data")),
        false => print_section(&score.section()),
    }
}
