//! `twnm-eval reference`: answers without listening, to hold a score or a benchmark against.

use clap::{Args as ClapArgs, ValueEnum};
use std::path::{Path, PathBuf};
use twnm::error::{Context, Error, Result};
use twnm::eval::answers::{BagOfWords, Reference, load_questions};
use twnm::files;
use twnm::text::questions::{Letter, Question, read_questions, write_answers};

/// Flags of `twnm-eval reference`.
#[derive(ClapArgs)]
pub struct Args {
    /// The questions to answer; their own answers are not looked at.
    #[arg(long, value_name = "FILE")]
    benchmark: PathBuf,
    /// Who answers.
    #[arg(long, value_name = "KIND")]
    kind: Kind,
    /// Questions with answers to learn from: for bag-of-words, or for the letter of constant.
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
    /// The letter of constant [default: the most frequent of --train].
    #[arg(long, value_name = "A-D", value_parser = letter)]
    letter: Option<Letter>,
    /// Decides what random draws, and the order in which bag-of-words learns [default: 1].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// File to write the answers to, for `twnm-eval mcq --answers`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    Random,
    Constant,
    BagOfWords,
}

fn letter(text: &str) -> Result<Letter, String> {
    Letter::parse(text).ok_or_else(|| "A, B, C or D is expected".into())
}

/// Answers and writes.
pub fn run(args: Args) -> Result<()> {
    let inputs: Vec<&Path> =
        [Some(&args.benchmark), args.train.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    files::check_apart(&args.out, &inputs).and_then(|()| files::check_output(&args.out)).context_with(|| "--out")?;
    let mut questions = read_questions(&args.benchmark)?;
    // What is answered must not depend on what the file says is right.
    questions.iter_mut().for_each(|q| *q = q.without_answer());
    let answers = reference(&args)?.answer(&questions);
    write_answers(&args.out, &answers)
}

fn reference(args: &Args) -> Result<Reference> {
    let without = |flag: &str, is_given: bool| match is_given {
        true => Err(Error::usage(format!("{flag} means nothing to this --kind")).hint(format!("leave {flag} out"))),
        false => Ok(()),
    };
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
        (Kind::BagOfWords, None) => Err(Error::usage("--kind bag-of-words needs --train metadata.jsonl")),
        (Kind::BagOfWords, Some(path)) => {
            let model = BagOfWords::train(&train(path)?, seed)?;
            tracing::info!("bag of words: {}", model.describe());
            Ok(Reference::BagOfWords(Box::new(model)))
        }
    }
}
