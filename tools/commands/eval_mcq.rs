//! `twnm-eval mcq`: answers to multiple-choice questions against their key.

use super::eval_report::check_folder;
use super::shared::say;
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::{Path, PathBuf};
use twnm::device::Device;
use twnm::error::{Context as _, Error, Result};
use twnm::eval::answers::compare::{compare, consistency};
use twnm::eval::answers::heard::{Exam, Taken};
use twnm::eval::answers::{
    Match, Scenes, Score, load_questions, per_question, read_sheet, strata_beside, write_per_question,
};
use twnm::eval::report::{Section, text_table};
use twnm::eval::results::{Named, Results};
use twnm::family::answer::Answering;
use twnm::family::{Choice, Family, Parts};
use twnm::files;
use twnm::models::Places;
use twnm::ops::sample::{Choice as Chosen, Sampling};
use twnm::projector::Ablation;
use twnm::text::questions::{Answer, Question, benchmark_file, read_answers, read_questions, write_answers};

/// A benchmark on the command line: a file, or the folder of its `metadata.jsonl`.
pub fn benchmark_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| benchmark_file(&path))
}

/// Flags of every protocol.
#[derive(ClapArgs)]
pub struct Common {
    /// The questions: metadata.jsonl with answers, a public one with --key, or their folder.
    #[arg(long, value_name = "FILE", value_parser = benchmark_path())]
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
    /// Write one line per question here: scene, task, kind, chosen and right letter, how the letter was found, strata.
    #[arg(long, value_name = "FILE")]
    per_question: Option<PathBuf>,
    #[command(flatten)]
    strata: Strata,
    /// Compare with these answers to the same questions: McNemar's test, over scenes where some have several questions.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// The same answerer's answers when the options stand in another order.
    #[arg(long, value_name = "FILE", requires = "shuffled_benchmark")]
    shuffled: Option<PathBuf>,
    /// The questions that --shuffled answers: the same sample ids and options, letters changed.
    #[arg(long, value_name = "FILE", requires = "shuffled")]
    shuffled_benchmark: Option<PathBuf>,
}

/// What is known of the questions' scenes.
#[derive(ClapArgs)]
pub struct Strata {
    /// What each question's scene is like [default: strata.jsonl beside the questions]: intervals over scenes, results
    /// by source count, room, DRR and kind, and the mono ceiling.
    #[arg(long = "strata", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Strata {
    /// The scenes of `questions`, all those of `benchmark`.
    pub fn scenes(&self, questions: &[Question], benchmark: &Path) -> Result<Scenes> {
        match self.file.clone().or_else(|| strata_beside(benchmark)) {
            Some(path) => Scenes::read(questions, &path),
            None => Ok(Scenes::by_recording(questions)),
        }
    }

    /// The file that was given, for checks of outputs.
    pub fn given(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }
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

/// What counts as an answer.
#[derive(Clone, Copy, ValueEnum)]
pub enum Rule {
    /// A letter or the option's text.
    Both,
    /// A letter.
    Letter,
    /// The option's text.
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
    let others = [
        args.answers.as_ref(),
        args.compare.as_ref(),
        args.shuffled.as_ref(),
        args.shuffled_benchmark.as_ref(),
        args.strata.given(),
    ];
    let inputs: Vec<&Path> = others.into_iter().flatten().map(PathBuf::as_path).collect();
    args.common.check_report(&inputs)?;
    if let Some(out) = &args.per_question {
        args.common.check_apart("--per-question", out, &inputs)?;
    }
    let all = args.common.questions()?;
    let limit = args.common.limit()?.min(all.len());
    let questions = &all[..limit];
    let scenes = args.strata.scenes(&all, &args.common.benchmark)?.first(limit);
    let rule: Match = args.rule.into();
    let sheet_of = |questions: &[Question], path: &Path| read_sheet(questions, &read_answers(path)?, path, rule);
    let (answers, source) = match (&args.answers, &args.exam.checkpoint) {
        (Some(path), _) => (read_answers(path)?, path),
        (None, Some(path)) => (args.exam.answers(path, questions, &args.common.benchmark)?, path),
        (None, None) => return Err(Error::usage("give --answers FILE or --checkpoint DIR")),
    };
    let sheet = read_sheet(&all, &answers, source, rule)?[..limit].to_vec();
    let other = args.compare.as_deref().map(|path| sheet_of(&all, path)).transpose()?;
    let mut score = Score::of(questions, &sheet, &scenes);
    score.compare = other.map(|other| compare(questions, &sheet, &other[..limit], &scenes));
    if let (Some(answers), Some(path)) = (&args.shuffled, &args.shuffled_benchmark) {
        let shuffled = read_questions(path)?;
        let again = sheet_of(&shuffled, answers)?;
        score.shuffled = Some(consistency(questions, &sheet, &shuffled, &again, path, &scenes)?);
    }
    if let Some(out) = &args.per_question {
        write_per_question(out, &per_question(questions, &all, &answers, source, rule, &scenes)?)?;
    }
    let json = serde_json::to_value(&score).expect("scores are plain data");
    let name = source.file_stem().map_or("answers".into(), |s| s.to_string_lossy().into_owned());
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

    /// Checks an output of `flag`; `others` are the inputs besides the questions.
    pub fn check_apart(&self, flag: &str, out: &Path, others: &[&Path]) -> Result<()> {
        let own = [Some(&self.benchmark), self.key.as_ref()].into_iter().flatten().map(PathBuf::as_path);
        let inputs: Vec<&Path> = own.chain(others.iter().copied()).collect();
        files::check_apart(out, &inputs).and_then(|()| files::check_output(out)).context_with(|| flag)
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

/// Prints a part of a report.
pub fn print_section(section: &Section) -> Result<()> {
    say(format_args!("{}\n", section.heading))?;
    section.text.iter().try_for_each(|paragraph| say(format_args!("{paragraph}\n")))?;
    section.tables.iter().try_for_each(|table| say(text_table(table)))
}
