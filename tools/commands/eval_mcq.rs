//! `twnm-eval mcq`: answers to multiple-choice questions against their key.

use super::eval_report::check_folder;
use super::shared::say;
use clap::{Args as ClapArgs, ValueEnum};
use std::path::{Path, PathBuf};
use twnm::device::Device;
use twnm::error::{Context as _, Error, Result};
use twnm::eval::answers::compare::{compare, consistency};
use twnm::eval::answers::heard::{Exam, Taken};
use twnm::eval::answers::{Match, Reading, Score, load_questions, read_sheet};
use twnm::eval::report::{Section, text_table};
use twnm::eval::results::{Named, Results};
use twnm::family::answer::Answering;
use twnm::family::{Choice, Family, Parts};
use twnm::files;
use twnm::models::Places;
use twnm::ops::sample::{Choice as Chosen, Sampling};
use twnm::projector::Ablation;
use twnm::text::questions::{Answer, Question, read_answers, read_questions, write_answers};

/// Flags of every protocol.
#[derive(ClapArgs)]
pub struct Common {
    /// The questions: metadata.jsonl with answers, or a public one with --key.
    #[arg(long, value_name = "FILE")]
    benchmark: PathBuf,
    /// The right letters of a public set.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
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

/// Flags of `twnm-eval mcq`.
#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// What was answered: {"sample_id", "answer_letter" or "text"} per line.
    #[arg(long, value_name = "FILE", required_unless_present = "checkpoint", conflicts_with = "checkpoint")]
    answers: Option<PathBuf>,
    #[command(flatten)]
    exam: Examined,
    /// What counts as an answer: a letter, the option's text (then letters say nothing), or either.
    #[arg(long = "match", value_name = "WHAT", default_value = "both")]
    rule: Rule,
    /// Compare with these answers to the same questions: McNemar's test.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// The same answerer's answers when the options stand in another order.
    #[arg(long, value_name = "FILE", requires = "shuffled_benchmark")]
    shuffled: Option<PathBuf>,
    /// The questions that --shuffled answers: the same sample ids and options, letters changed.
    #[arg(long, value_name = "FILE", requires = "shuffled")]
    shuffled_benchmark: Option<PathBuf>,
}

/// A model that answers.
#[derive(ClapArgs)]
struct Examined {
    /// Let this model answer: a run of twnm-train align or sft, one of its step-N folders, or a model family.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// What is taken from what the model hears: none, zero-spatial, shuffle, w-only or no-audio.
    #[arg(long, value_name = "WHAT", default_value = "none", conflicts_with = "answers")]
    ablate: Taken,
    /// Write the model's answers here, in its words.
    #[arg(long, value_name = "FILE", conflicts_with = "answers")]
    answers_out: Option<PathBuf>,
    /// Questions that are answered together.
    #[arg(long, value_name = "N", default_value_t = 16, conflicts_with = "answers")]
    batch: usize,
    /// Tokens of an answer, at most.
    #[arg(long, value_name = "N", default_value_t = 256, conflicts_with = "answers")]
    max_new: usize,
    /// Decides whose spatial features each recording gets when they are shuffled.
    #[arg(long, default_value_t = 0, conflicts_with = "answers")]
    seed: u64,
    /// host, cuda[:N], emu or auto.
    #[arg(long, default_value = "auto", conflicts_with = "answers")]
    device: String,
}

impl Examined {
    /// The model's answers to the questions of `file`.
    fn answers(&self, checkpoint: &Path, questions: &[Question], file: &Path) -> Result<Vec<Answer>> {
        if !(1..=4096).contains(&self.batch) || self.max_new == 0 {
            return Err(Error::usage("--batch is 1..=4096 and --max-new at least 1"));
        }
        if let Some(out) = &self.answers_out {
            files::check_apart(out, &[file])
                .and_then(|()| files::check_output(out))
                .context_with(|| "--answers-out")?;
        }
        let parts = Parts::find(Some(checkpoint), &Places::of_process())?;
        let family = Family::open(&parts, &Choice::stored(&parts), Device::parse(&self.device)?)?;
        let answering = Answering {
            sampling: Sampling { choice: Chosen::Greedy, repetition_penalty: 1.0 },
            seed: 0,
            new_max: self.max_new,
            stops: Vec::new(),
            ablation: Ablation::None,
            is_batch_invariant: false,
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        let exam = Exam { family: &family, folder, taken: self.ablate, answering, batch: self.batch, seed: self.seed };
        let answers = exam.answers(questions, |done| {
            tracing::info!("{done} of {} questions answered", questions.len());
        })?;
        if let Some(out) = &self.answers_out {
            write_answers(out, &answers)?;
        }
        Ok(answers)
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    Both,
    Letter,
    Text,
}

impl From<Rule> for Match {
    fn from(rule: Rule) -> Match {
        match rule {
            Rule::Both => Match::Both,
            Rule::Letter => Match::Letter,
            Rule::Text => Match::Text,
        }
    }
}

/// Scores and prints.
pub fn run(args: Args) -> Result<()> {
    let others =
        [args.answers.as_ref(), args.compare.as_ref(), args.shuffled.as_ref(), args.shuffled_benchmark.as_ref()];
    args.common.check_report(&others.into_iter().flatten().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let mut questions = args.common.questions()?;
    let limit = args.common.limit()?.min(questions.len());
    let sheet_of = |questions: &[Question], path: &Path| -> Result<Vec<Option<Reading>>> {
        read_sheet(questions, &read_answers(path)?, path, args.rule.into())
    };
    let read = |path: &Path| sheet_of(&questions, path).map(|sheet| sheet[..limit].to_vec());
    let sheet = match (&args.answers, &args.exam.checkpoint) {
        (Some(answers), _) => read(answers)?,
        (None, Some(checkpoint)) => {
            let asked = &questions[..limit];
            let answers = args.exam.answers(checkpoint, asked, &args.common.benchmark)?;
            read_sheet(asked, &answers, checkpoint, args.rule.into())?
        }
        (None, None) => return Err(Error::usage("give --answers FILE or --checkpoint DIR")),
    };
    let other = args.compare.as_deref().map(read).transpose()?;
    questions.truncate(limit);
    let mut score = Score::of(&questions, &sheet);
    score.compare = other.map(|other| compare(&questions, &sheet, &other));
    if let (Some(answers), Some(path)) = (&args.shuffled, &args.shuffled_benchmark) {
        let shuffled = read_questions(path)?;
        let again = sheet_of(&shuffled, answers)?;
        score.shuffled = Some(consistency(&questions, &sheet, &shuffled, &again, path)?);
    }
    let json = serde_json::to_value(&score).expect("scores are plain data");
    let source = args.answers.as_ref().or(args.exam.checkpoint.as_ref());
    let name = source.and_then(|path| path.file_stem()).map_or("answers".into(), |s| s.to_string_lossy().into_owned());
    let results = Results { mcq: vec![Named { name, score, json: json.clone() }], ..Results::default() };
    args.common.finish(&results, &json)
}

impl Common {
    /// Checks the folder of the report, if one is asked for; `others` are the inputs besides the questions.
    pub fn check_report(&self, others: &[&Path]) -> Result<()> {
        let Some(folder) = &self.report else { return Ok(()) };
        let own = [Some(&self.benchmark), self.key.as_ref()].into_iter().flatten().map(PathBuf::as_path);
        check_folder("--report", folder, &own.chain(others.iter().copied()).collect::<Vec<_>>())
    }

    /// The questions with their answers.
    pub fn questions(&self) -> Result<Vec<Question>> {
        load_questions(&self.benchmark, self.key.as_deref())
    }

    /// The number of questions to score.
    pub fn limit(&self) -> Result<usize> {
        match self.limit {
            Some(0) => Err(Error::usage("--limit 0: at least one question must be scored")),
            limit => Ok(limit.unwrap_or(usize::MAX)),
        }
    }

    /// Writes the report, if one is asked for, then prints.
    pub fn finish(&self, results: &Results, json: &serde_json::Value) -> Result<()> {
        if let Some(folder) = &self.report {
            results.write(folder)?;
        }
        if self.json {
            say(json)?;
        } else {
            results.sections()?.iter().try_for_each(print_section)?;
        }
        Ok(())
    }
}

fn print_section(section: &Section) -> Result<()> {
    say(format_args!("{}\n", section.heading))?;
    section.text.iter().try_for_each(|paragraph| say(format_args!("{paragraph}\n")))?;
    section.tables.iter().try_for_each(|table| say(text_table(table)))
}
