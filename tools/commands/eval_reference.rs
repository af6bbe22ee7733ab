//! `twnm-eval reference`: answers without listening, to hold a score or a benchmark against.

use super::eval_mcq::{Strata, benchmark_path, print_section};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::{Path, PathBuf};
use twnm::error::{Context, Error, Result};
use twnm::eval::answers::{BagOfWords, Boosted, Match, Reference, Score, letters, load_questions, read_sheet};
use twnm::eval::results::{Named, Results};
use twnm::files;
use twnm::text::questions::{Answer, Letter, Question, read_questions, write_answers};

/// Flags of `twnm-eval reference`.
#[derive(ClapArgs)]
pub struct Args {
    /// The questions to answer; their own answers are not looked at, but for boosted without --train.
    #[arg(long, value_name = "FILE", value_parser = benchmark_path())]
    benchmark: PathBuf,
    /// Who answers: cross-question reads the other questions of the file, bag-of-words and boosted (trees) learn what gives
    /// answers away. Of cross-question and boosted the accuracy is printed where the file has answers.
    #[arg(long, value_name = "KIND")]
    kind: Kind,
    /// Questions with answers to learn from: for bag-of-words, boosted [default: each quarter of the benchmark's scenes is
    /// answered by what the others teach], or for the letter of constant.
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
    /// The letter of constant [default: the most frequent of --train].
    #[arg(long, value_name = "A-D", value_parser = letter)]
    letter: Option<Letter>,
    /// Decides what random draws, the order in which bag-of-words learns, and the parts of boosted [default: 1].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// File to write the answers to, for `twnm-eval mcq --answers`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    strata: Strata,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    Random,
    Constant,
    BagOfWords,
    Boosted,
    CrossQuestion,
}

fn letter(text: &str) -> Result<Letter, String> {
    Letter::parse(text).ok_or_else(|| "A, B, C or D is expected".into())
}

/// Answers and writes.
pub fn run(args: Args) -> Result<()> {
    let inputs: Vec<&Path> =
        [Some(&args.benchmark), args.train.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    files::check_apart(&args.out, &inputs).and_then(|()| files::check_output(&args.out)).context_with(|| "--out")?;
    let known = read_questions(&args.benchmark)?;
    let answers = match (args.kind, &args.train) {
        (Kind::Boosted, None) => {
            let letter = args.letter.is_some();
            without("--letter", letter)?;
            let questions =
                load_questions(&args.benchmark, None).map_err(|e| e.hint("or give --train metadata.jsonl"))?;
            letters(&questions, Boosted::answers_across(&questions, args.seed.unwrap_or(1))?)
        }
        _ => {
            // What is answered must not depend on what the file says is right.
            let questions: Vec<Question> = known.iter().map(Question::without_answer).collect();
            reference(&args)?.answer(&questions)
        }
    };
    write_answers(&args.out, &answers)?;
    let is_shown = matches!(args.kind, Kind::Boosted | Kind::CrossQuestion);
    if is_shown && known.iter().all(|question| question.answer_letter.is_some()) {
        show(&args, &known, &answers)?;
    }
    Ok(())
}

/// Prints what the answers score.
fn show(args: &Args, questions: &[Question], answers: &[Answer]) -> Result<()> {
    let scenes = args.strata.scenes(questions, &args.benchmark)?;
    let sheet = read_sheet(questions, answers, &args.out, Match::Both)?;
    let score = Score::of(questions, &sheet, &scenes);
    let name = args.kind.to_possible_value().map_or(String::new(), |value| value.get_name().to_string());
    let json = serde_json::to_value(&score).expect("scores are plain data");
    let results = Results { mcq: vec![Named { name, score, json }], ..Results::default() };
    results.sections()?.iter().try_for_each(print_section)
}

fn without(flag: &str, is_given: bool) -> Result<()> {
    match is_given {
        true => Err(Error::usage(format!("{flag} means nothing to this --kind")).hint(format!("leave {flag} out"))),
        false => Ok(()),
    }
}

fn reference(args: &Args) -> Result<Reference> {
    let train = |path: &Path| -> Result<Vec<Question>> { load_questions(path, None) };
    let seed = args.seed.unwrap_or(1);
    if args.kind != Kind::Constant {
        without("--letter", args.letter.is_some())?;
    }
    match (args.kind, &args.train) {
        (Kind::Random, path) => {
            without("--train", path.is_some())?;
            Ok(Reference::Random { seed })
        }
        (Kind::Constant, path) => {
            without("--seed", args.seed.is_some())?;
            match (args.letter, path) {
                (Some(letter), None) => Ok(Reference::Constant(letter)),
                (None, Some(path)) => Reference::most_frequent(&train(path)?),
                _ => Err(Error::usage("--kind constant needs either --letter or --train")),
            }
        }
        (Kind::CrossQuestion, path) => {
            without("--train", path.is_some())?;
            without("--seed", args.seed.is_some())?;
            Ok(Reference::CrossQuestion)
        }
        (Kind::Boosted, None) => unreachable!("answered across the benchmark"),
        (Kind::Boosted, Some(path)) => {
            let model = Boosted::train(&train(path)?, seed)?;
            tracing::info!("boosted: {}", model.describe());
            Ok(Reference::Boosted(Box::new(model)))
        }
        (Kind::BagOfWords, None) => Err(Error::usage("--kind bag-of-words needs --train metadata.jsonl")),
        (Kind::BagOfWords, Some(path)) => {
            let model = BagOfWords::train(&train(path)?, seed)?;
            tracing::info!("bag of words: {}", model.describe());
            Ok(Reference::BagOfWords(Box::new(model)))
        }
    }
}
