//! `twnm ask`: questions about a recording, answered in words.

use super::shared::{say, say_text, tell};
use clap::Args as ClapArgs;
use std::io::{BufRead, Read, Write};
use std::path::PathBuf;
use twnm::audio::foa::Convention;
use twnm::audio::read_foa;
use twnm::device::Device;
use twnm::error::{Context, Error, Kind, Result};
use twnm::family::answer::{Answer, Answering, Asking};
use twnm::family::{Choice, Family, Parts};
use twnm::language::example::answer_of;
use twnm::language::rows::{Content, Recording, Row, question_with_options};
use twnm::language::template::{Conversation, Role, Turn};
use twnm::models::Places;
use twnm::ops::sample::{Choice as Chosen, Sampling};
use twnm::projector::{Ablation, Clip};
use twnm::text::questions::Letter;

/// Flags of `twnm ask`.
#[derive(ClapArgs)]
pub struct Args {
    /// A First-Order-Ambisonics recording: wav, amb, flac or ogg.
    file: PathBuf,
    /// The question; without one, questions are read line by line from standard input.
    question: Option<String>,
    /// An option to choose from, at most four; the answer is a letter then, with --json null where it is none of theirs.
    #[arg(long = "option", value_name = "TEXT")]
    options: Vec<String>,
    /// A run of twnm-train align or sft, one of its step-N folders, or a model family; without it the default model.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Order and weights of the channels: ambix, n3d, fuma or wxyz; without it .amb is fuma and all else ambix.
    #[arg(long)]
    convention: Option<Convention>,
    #[command(flatten)]
    words: Words,
    /// host, cuda[:N], emu or auto.
    #[arg(long, default_value = "auto")]
    device: String,
    /// One JSON object per question on standard output.
    #[arg(long)]
    json: bool,
}

/// How answers are worded.
#[derive(ClapArgs)]
pub struct Words {
    /// Tokens of an answer, at most.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_new: usize,
    /// Draw tokens by probability, after dividing their scores by this; without it the likeliest is taken.
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Draw from the K likeliest tokens.
    #[arg(long, value_name = "K", requires = "temperature")]
    top_k: Option<usize>,
    /// Draw from the likeliest tokens that have this probability together.
    #[arg(long, value_name = "P", requires = "temperature", default_value_t = 1.0)]
    top_p: f32,
    /// Divide the scores of tokens that were said by this.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    repetition_penalty: f32,
    /// A text that ends an answer; may be given several times.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Words {
    /// The settings of the library.
    ///
    /// # Errors
    /// `Usage` naming the flag that is out of range.
    pub fn answering(&self, ablation: Ablation) -> Result<Answering> {
        if self.max_new == 0 {
            return Err(Error::usage("--max-new 0: at least one token"));
        }
        let choice = match self.temperature {
            None => Chosen::Greedy,
            Some(temperature) => Chosen::Draw { temperature, top_k: self.top_k, top_p: self.top_p },
        };
        let sampling = Sampling { choice, repetition_penalty: self.repetition_penalty };
        sampling.check()?;
        let (seed, new_max, stops) = (self.seed, self.max_new, self.stop.clone());
        Ok(Answering { sampling, seed, new_max, stops, ablation, is_batch_invariant: false })
    }
}

/// Asks and prints.
pub fn run(args: Args) -> Result<()> {
    if args.options.len() == 1 || args.options.len() > 4 {
        return Err(Error::usage(format!("--option: {} given, two to four make a choice", args.options.len())));
    }
    if let Some(bad) = args.options.iter().find(|option| option.trim().is_empty() || option.contains(['\n', '\r'])) {
        return Err(Error::usage(format!("--option {bad:?}: a text on one line is needed")));
    }
    if let Some(twice) = args.options.iter().enumerate().find(|(i, option)| args.options[..*i].contains(option)) {
        return Err(Error::usage(format!("--option {:?} is given twice", twice.1)));
    }
    let answering = args.words.answering(Ablation::None)?;
    let device = Device::parse(&args.device)?;
    let parts = Parts::find(args.checkpoint.as_deref(), &Places::of_process())?;
    let audio = read_foa(&args.file, args.convention)?;
    let family = Family::open(&parts, &Choice::stored(&parts), device)?;
    let heard = family.hear(&audio.samples, None).context_with(|| args.file.display())?;
    let ask = |question: &str| ask(&args, &family, &heard, question, &answering);
    if let Some(question) = &args.question {
        return ask(question);
    }
    tell("questions, one per line; an empty line or the end of the input ends");
    // What is wrong with one question is said, and the next one is read.
    let (mut input, mut asked, mut failed) = (std::io::stdin().lock(), 0, 0);
    while let Some(line) = question_of(&mut input)? {
        let answered = match line {
            Ok(line) if line.trim().is_empty() => break,
            Ok(line) => ask(line.trim()),
            Err(error) => Err(error),
        };
        asked += 1;
        match answered {
            Err(error) if matches!(error.kind(), Kind::Usage | Kind::Data) => {
                failed += 1;
                tell(format!("error: {error}"));
            }
            other => other?,
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Error::data(format!("{failed} of {asked} questions were not answered"))),
    }
}

/// The next line, or what is wrong with it; `None` at the end.
fn question_of(input: &mut impl BufRead) -> Result<Option<Result<String>>> {
    const BYTES_MAX: u64 = 1 << 20;
    let failed = |e: std::io::Error| Error::io("read", std::path::Path::new("standard input"), &e);
    let mut line = Vec::new();
    if input.by_ref().take(BYTES_MAX).read_until(b'\n', &mut line).map_err(failed)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == BYTES_MAX && !line.ends_with(b"\n") {
        input.skip_until(b'\n').map_err(failed)?;
        return Ok(Some(Err(Error::data(format!("a question of more than {BYTES_MAX} bytes")))));
    }
    Ok(Some(String::from_utf8(line).map_err(|_| Error::data("a question that is no UTF-8"))))
}

fn ask(args: &Args, family: &Family, heard: &Clip, question: &str, answering: &Answering) -> Result<()> {
    if question.trim().is_empty() {
        return Err(Error::usage("the question is empty"));
    }
    let options: Vec<&str> = args.options.iter().map(String::as_str).collect();
    let content = if options.is_empty() { question.to_string() } else { question_with_options(question, &options) };
    let recording = Recording { audio: args.file.display().to_string(), reverb: None };
    let turns = vec![Turn { role: Role::User, content }];
    let conversation = Conversation { system: None, turns };
    let row = Row { place: "the question".into(), content: Content { recordings: vec![recording], conversation } };
    let asked = [Asking { row: &row, heard: Some(heard), number: 0 }];
    let mut failed = None;
    let found = family.answer(&asked, answering, |_, piece| {
        if !args.json && failed.is_none() {
            failed = say_text(piece).err();
            std::io::stdout().flush().ok();
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let Answer { text, log_probs, is_whole } = &found[0];
    if !args.json {
        if !is_whole {
            tell(format_args!("the answer is cut off after {} tokens: --max-new", answering.new_max));
        }
        return say("");
    }
    let range = answer_of(text);
    let answer = text[range.clone()].split("</answer>").next().unwrap_or("").trim();
    let chosen = match args.options.len() {
        0 => Some(answer.to_string()),
        offered => letter_of(answer).filter(|letter| letter.index() < offered).map(|letter| letter.to_string()),
    };
    say(serde_json::json!({
        "question": question, "answer": chosen, "text": text, "whole": is_whole, "tokens": log_probs.len(),
        "log_prob": log_probs.iter().map(|&v| f64::from(v)).sum::<f64>(),
    }))
}

/// The letter that an answer is or begins with: `B`, `(b)`, `B. rain`.
fn letter_of(answer: &str) -> Option<Letter> {
    let text = answer.trim().trim_start_matches(['(', '[']);
    Letter::parse(text.split(['.', ')', ']', ':', ',']).next()?)
}
