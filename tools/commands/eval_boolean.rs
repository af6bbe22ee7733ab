//! `twnm-eval boolean`: each option of a question judged true or false on its own, beside its own chance lines.

use crate::eval_mcq::Common;
use clap::Args as ClapArgs;
use std::path::PathBuf;
use twnm::error::Result;
use twnm::eval::answers::BooleanScore;
use twnm::eval::results::{Named, Results};
use twnm::text::judgements::read_statements;

/// Flags of `twnm-eval boolean`.
#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// What was judged: {"sample_id", "option": "A", "answer": true, false or text} per line.
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
}

/// Scores and prints.
pub fn run(args: Args) -> Result<()> {
    args.common.check_report(&[&args.answers])?;
    let limit = args.common.limit()?;
    let questions = args.common.questions()?;
    let score = BooleanScore::of(&questions, limit, &read_statements(&args.answers)?, &args.answers)?;
    let json = serde_json::to_value(&score).expect("scores are plain data");
    let name = args.answers.file_stem().map_or("answers".into(), |stem| stem.to_string_lossy().into_owned());
    let results = Results { boolean: vec![Named { name, score, json: json.clone() }], ..Results::default() };
    args.common.finish(&results, &json)
}
