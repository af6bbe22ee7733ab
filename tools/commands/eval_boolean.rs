//! `twnm-eval boolean`: each option of a question judged true or false on its own, beside its own chance lines.

use crate::eval_mcq::{finish, limit};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use twnm::error::Result;
use twnm::eval::answers::{BooleanScore, load_questions};
use twnm::eval::results::{Named, Results};
use twnm::text::statements::read_statements;

/// Flags of `twnm-eval boolean`.
#[derive(ClapArgs)]
pub struct Args {
    /// The questions: metadata.jsonl with answers, or a public one with --key.
    #[arg(long, value_name = "FILE")]
    benchmark: PathBuf,
    /// The right letters of a public set.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What was judged: {"sample_id", "option": "A", "answer": true, false or text} per line.
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    /// Score only the first N questions of the benchmark.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write report.md, report.json and index.html into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// One JSON object on standard output instead of tables.
    #[arg(long)]
    json: bool,
}

/// Scores and prints.
pub fn run(args: Args) -> Result<()> {
    let limit = limit(args.limit)?;
    let questions = load_questions(&args.benchmark, args.key.as_deref())?;
    let score = BooleanScore::of(&questions, limit, &read_statements(&args.answers)?, &args.answers)?;
    let json = serde_json::to_value(&score).expect("scores are plain data");
    let name = args.answers.file_stem().map_or("answers".into(), |stem| stem.to_string_lossy().into_owned());
    let results = Results { boolean: vec![Named { name, score, json: json.clone() }], ..Results::default() };
    finish(&results, &json, args.report.as_deref(), args.json)
}
