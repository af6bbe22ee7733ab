//! `twnm-eval compare`: several answerers on the same questions, with tests that know how many there are.

use super::eval_mcq::{Rule, Strata, benchmark_path, print_section};
use super::shared::say;
use clap::Args as ClapArgs;
use std::collections::BTreeSet;
use std::path::PathBuf;
use twnm::error::{Error, Result};
use twnm::eval::answers::contest::{ANSWERERS_MAX, Contest};
use twnm::eval::answers::{load_questions, read_sheet};
use twnm::text::questions::read_answers;

/// Flags of `twnm-eval compare`.
#[derive(ClapArgs)]
pub struct Args {
    /// The questions: metadata.jsonl with answers, a public one with --key, or their folder.
    #[arg(long, value_name = "FILE", value_parser = benchmark_path())]
    benchmark: PathBuf,
    /// The right letters of a public set.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// An answerer's name and what it answered; given at least twice.
    #[arg(long, value_name = "NAME=FILE", value_parser = named, required = true)]
    answers: Vec<(String, PathBuf)>,
    /// Compare all with this answerer, and not each with each.
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// What counts as an answer: a letter, the option's text (then letters say nothing), or either.
    #[arg(long = "match", value_name = "WHAT", default_value = "both")]
    rule: Rule,
    #[command(flatten)]
    strata: Strata,
    /// One JSON object on standard output instead of tables.
    #[arg(long)]
    json: bool,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.trim().is_empty() && !file.is_empty() => Ok((name.trim().into(), file.into())),
        _ => Err("NAME=FILE is expected".into()),
    }
}

/// Compares and prints.
pub fn run(args: Args) -> Result<()> {
    if !(2..=ANSWERERS_MAX).contains(&args.answers.len()) {
        return Err(Error::usage(format!(
            "--answers: {} given, 2 to {ANSWERERS_MAX} are compared",
            args.answers.len()
        )));
    }
    let names: BTreeSet<&String> = args.answers.iter().map(|(name, _)| name).collect();
    if names.len() < args.answers.len() {
        return Err(Error::usage("--answers: a name is given twice"));
    }
    let place = |name: &String| {
        let place = args.answers.iter().position(|(other, _)| other == name);
        place.ok_or_else(|| Error::usage(format!("--against {name}: no such name among --answers")))
    };
    let against = args.against.as_ref().map(place).transpose()?;
    let questions = load_questions(&args.benchmark, args.key.as_deref())?;
    let scenes = args.strata.scenes(&questions, &args.benchmark)?;
    let sheet = |(name, path): &(String, PathBuf)| {
        Ok((name.clone(), read_sheet(&questions, &read_answers(path)?, path, args.rule.into())?))
    };
    let sheets = args.answers.iter().map(sheet).collect::<Result<Vec<_>>>()?;
    let contest = Contest::of(&questions, &sheets, &scenes, against);
    match args.json {
        true => say(serde_json::to_value(&contest).expect("a contest is plain data")),
        false => print_section(&contest.section()),
    }
}
