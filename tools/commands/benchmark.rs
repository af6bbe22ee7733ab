//! `twnm benchmark`: questions about simulated scenes, made by rule from their ground truth.

use super::benchmark_out;
use std::path::{Path, PathBuf};
use std::time::Duration;
use twnm::benchmark::TaskSet;
use twnm::benchmark::draft::Pool;
use twnm::benchmark::export::{Export, Manifest, read_scenes};
use twnm::benchmark::generate::{Generated, Given, Settings, generate_beside};
use twnm::benchmark::leaks::Contents;
use twnm::benchmark::teacher::{self, Endpoint, Identity, JOBS_MAX, Key, Mode, Report, Sampling};
use twnm::benchmark::training::Kind;
use twnm::error::{Context, Error, Result};
use twnm::files;
use twnm::shard::ShardSet;

/// Make questions about simulated scenes: a benchmark, or training data for the language stages
#[derive(clap::Args)]
pub struct Args {
    /// Folder of shards (twnm simulate), the scenes that are asked about
    #[arg(long, value_name = "DIR")]
    scenes: PathBuf,
    /// Folder for metadata.jsonl, audio/, and what belongs to it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of questions
    #[arg(long, value_name = "N")]
    questions: usize,
    /// The same seed and scenes give the same questions
    #[arg(long, value_name = "S")]
    seed: u64,
    /// benchmark; align (open questions), sft (chains of thought), sapo (multiple choice), text (scenes in words): the
    /// last four want scenes of the train split
    #[arg(long, value_name = "KIND", default_value = "benchmark", value_parser = kind)]
    kind: Kind,
    /// Which tasks: paper (the eighteen of levels 1 to 3), extended (nine beyond them: order and overlap in time, onset and
    /// duration, elevations compared, counts per sort, ranks, angles, directions in degrees, who says what where; scored
    /// apart), or all (two thirds paper, one third extended). Times are asked about in scenes with scripts_share above 0
    #[arg(long, value_name = "SET", default_value = "paper", value_parser = task_set)]
    tasks: TaskSet,
    /// Azimuths from 0 to 360 (around, as the official items) or from -180 to 180 (signed)
    #[arg(long, default_value = "around", value_parser = ["around", "signed"])]
    azimuth: String,
    /// Questions about one scene, at most; without it, one in a benchmark (other questions of a scene tell of each other) and
    /// any number in training data
    #[arg(long, value_name = "N")]
    per_scene: Option<usize>,
    /// Refuse to write when a recording or scene is also heard in this folder of questions or shards (repeatable)
    #[arg(long, value_name = "DIR")]
    check_leaks: Vec<PathBuf>,
    /// Questions only, without audio/
    #[arg(long)]
    no_audio: bool,
    #[command(flatten)]
    teacher: TeacherArgs,
}

/// How a language model is asked for questions
#[derive(clap::Args)]
struct TeacherArgs {
    /// Let a language model write the questions: the address of an OpenAI-compatible server (with or without /v1), given
    /// several times for several servers, which are asked in turn. Every row is checked against the truth; what is not
    /// delivered is made by rule. The requests stand in teacher.jsonl, and the same command goes on after an interruption
    #[arg(long = "teacher", value_name = "URL", requires = "model")]
    url: Vec<String>,
    /// Name of the model at that server
    #[arg(long = "teacher-model", value_name = "NAME", requires = "url")]
    model: Option<String>,
    /// File with the key of that server; without it, the environment variable TWNM_TEACHER_KEY (or none)
    #[arg(long = "teacher-key-file", value_name = "FILE", requires = "url")]
    key_file: Option<PathBuf>,
    /// Longest time for one answer in seconds
    #[arg(long = "teacher-timeout-s", value_name = "S", requires = "url", default_value_t = 60.0)]
    timeout_s: f64,
    /// Most requests, those of earlier runs into the same folder included (default: five per question)
    #[arg(long = "teacher-requests-max", value_name = "N", requires = "url")]
    requests_max: Option<u64>,
    /// Requests at once, 1 to 64: the questions do not depend on it
    #[arg(long = "teacher-jobs", value_name = "N", requires = "url", default_value_t = 1)]
    jobs: usize,
    /// write (question, options, key, and beside each option what it asserts) or reword (question and options are made by
    /// rule, and told in other words)
    #[arg(long = "teacher-mode", value_name = "MODE", requires = "url", default_value = "write", value_parser = ["write", "reword"])]
    mode: String,
    /// Temperature of the server, 0 to 2 (default: its own)
    #[arg(long = "teacher-temperature", value_name = "T", requires = "url")]
    temperature: Option<f64>,
    /// Seed that is sent to the server (default: none)
    #[arg(long = "teacher-seed", value_name = "S", requires = "url")]
    teacher_seed: Option<u64>,
    /// Most tokens of an answer, thoughts included (default: the server's own)
    #[arg(long = "teacher-max-tokens", value_name = "N", requires = "url")]
    max_tokens: Option<u32>,
    /// Write audit.md: so many accepted rows and so many refused ones, beside the truth, for people to look at
    #[arg(long = "audit", value_name = "N", requires = "url")]
    audit: Option<usize>,
}

fn kind(name: &str) -> Result<Kind, String> {
    let value = serde_json::Value::String(name.into());
    serde_json::from_value(value).map_err(|_| "give benchmark, align, sft, sapo or text".into())
}

fn task_set(name: &str) -> Result<TaskSet, String> {
    let value = serde_json::Value::String(name.into());
    serde_json::from_value(value).map_err(|_| "give paper, extended or all".into())
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    if args.questions == 0 {
        return Err(Error::usage("--questions 0: give at least one"));
    }
    if args.per_scene == Some(0) {
        return Err(Error::usage("--per-scene 0: give at least one"));
    }
    files::check_apart(&args.out, &[&args.scenes])
        .and_then(|()| files::check_output_folder(&args.out))
        .context_with(|| "--out")?;
    let teacher = teacher_options(&args)?;
    twnm::signals::catch_stop();
    let set = ShardSet::open(&args.scenes)?;
    if let Some(manifest) = set.manifests().iter().find(|m| args.kind.is_training() && m.spec.split != "train") {
        let (scenes, split) = (args.scenes.display(), &manifest.spec.split);
        return Err(Error::usage(format!("--scenes {scenes}: made from split {split}, training data want train"))
            .hint("simulate with --split train"));
    }
    let scenes = read_scenes(&set)?;
    scenes.check().context_with(|| args.scenes.display())?;
    if let Some(left_out) = scenes.left_out() {
        tracing::info!("{left_out}");
    }
    let signed_azimuth = args.azimuth == "signed";
    let is_training = args.kind.is_training();
    let settings = Settings {
        questions: args.questions,
        seed: args.seed,
        signed_azimuth,
        open: args.kind.is_open(),
        turned: !is_training,
        per_scene: args.per_scene.or((!is_training).then_some(1)),
        tasks: args.tasks,
    };
    let (kind, scenes_blake3) = (args.kind, set.fingerprint());
    let asked = benchmark_out::Asked { kind, settings, scenes_blake3, teacher: args.teacher.model.as_deref() };
    benchmark_out::check(&args.out, &asked)?;
    let (given, report) = match &teacher {
        Some(options) => {
            let (given, report) = ask(&args, &scenes.pool, settings, set.fingerprint(), options)?;
            (given, Some(report))
        }
        None => (vec![], None),
    };
    let made = generate_beside(&scenes.pool, settings, &given)?;
    report_filled(&made, settings);
    let (out, kind, audio) = (args.out.as_path(), args.kind, !args.no_audio);
    let export = Export { out, set: &set, scenes: &scenes, settings, kind, audio, teacher: report };
    let contents = export.contents(&made.rows)?;
    for folder in &args.check_leaks {
        contents.check_apart_from(&Contents::of_folder(folder)?, folder)?;
        tracing::info!("nothing in {} is heard here", folder.display());
    }
    let manifest = export.write(&made, &contents)?;
    summary(&manifest, &args.out);
    Ok(())
}

/// The teacher that the flags ask for.
fn teacher_options(args: &Args) -> Result<Option<teacher::Options>> {
    let flags = &args.teacher;
    if flags.url.is_empty() {
        return Ok(None);
    }
    if !matches!(args.kind, Kind::Benchmark | Kind::Sft | Kind::Sapo) {
        return Err(Error::usage("--teacher: writes questions with options only")
            .hint("use it with --kind benchmark, sft or sapo"));
    }
    if !args.tasks.is_paper() {
        return Err(Error::usage("--teacher: writes questions of the paper's tasks only").hint("leave --tasks out"));
    }
    if !(0.1..=3600.0).contains(&flags.timeout_s) {
        return Err(Error::usage("--teacher-timeout-s: give 0.1 to 3600"));
    }
    if !(1..=JOBS_MAX).contains(&flags.jobs) {
        return Err(Error::usage(format!("--teacher-jobs {}: give 1 to {JOBS_MAX}", flags.jobs)));
    }
    if let Some(temperature) = flags.temperature.filter(|t| !(0.0..=2.0).contains(t)) {
        return Err(Error::usage(format!("--teacher-temperature {temperature}: give 0 to 2")));
    }
    let counts = [
        ("--teacher-requests-max", flags.requests_max),
        ("--teacher-max-tokens", flags.max_tokens.map(u64::from)),
        ("--audit", flags.audit.map(|n| n as u64)),
    ];
    if let Some((flag, _)) = counts.iter().find(|(_, n)| *n == Some(0)) {
        return Err(Error::usage(format!("{flag} 0: give at least one")));
    }
    let endpoints = flags.url.iter().map(|url| Endpoint::parse(url)).collect::<Result<Vec<_>>>()?;
    let key = Key::find(flags.key_file.as_deref())?;
    for endpoint in endpoints.iter().filter(|e| e.is_open() && key.is_some()) {
        tracing::warn!("{}: the key goes there unencrypted", endpoint.shown());
    }
    Ok(Some(teacher::Options {
        endpoints,
        key,
        timeout: Duration::from_secs_f64(flags.timeout_s),
        requests_max: flags.requests_max.unwrap_or(5 * args.questions as u64),
        jobs: flags.jobs,
        mode: if flags.mode == "reword" { Mode::Reword } else { Mode::Write },
        sampling: Sampling { temperature: flags.temperature, seed: flags.teacher_seed, max_tokens: flags.max_tokens },
        audit: flags.audit,
    }))
}

fn ask(
    args: &Args,
    pool: &Pool,
    settings: Settings,
    scenes_blake3: String,
    options: &teacher::Options,
) -> Result<(Vec<Given>, Report)> {
    let model = args.teacher.model.clone().expect("clap asks for it");
    let Settings { questions, seed, signed_azimuth, .. } = settings;
    let (kind, mode, sampling) = (args.kind, options.mode, options.sampling);
    let identity = Identity { model, seed, questions, kind, signed_azimuth, scenes_blake3, mode, sampling };
    let (given, report) = teacher::ask(pool, settings, identity, options, &args.out)?;
    let counts: Vec<String> = report.outcomes.iter().map(|(outcome, n)| format!("{outcome} {n}")).collect();
    tracing::info!("teacher: {} requests: {}", report.requests, counts.join(", "));
    if report.kept > 0 {
        tracing::info!("{} of {questions} questions keep our words: the teacher's were refused", report.kept);
    }
    let missing = questions - given.len();
    if missing > 0 {
        tracing::warn!("{missing} of {questions} questions are made by rule: the teacher did not deliver them");
    }
    Ok((given, report))
}

/// Tasks that made less or more than planned, and what is known from other questions.
fn report_filled(made: &Generated, settings: Settings) {
    for (task, planned, n) in &made.filled {
        let why = if n < planned { "no more material" } else { "fills its level" };
        tracing::warn!("{}: {n} questions instead of {planned} ({why})", task.id());
    }
    if let Some(per_scene) = settings.per_scene.filter(|n| *n > 1) {
        tracing::warn!(
            "up to {per_scene} questions about one scene: who reads them all learns from each about the others; see \
             twnm-eval reference --kind cross-question"
        );
    }
    if made.again > 0 {
        tracing::info!("{} of {} questions ask about a fact again", made.again, made.rows.len());
    }
}

fn summary(manifest: &Manifest, out: &Path) {
    let level = |l: &str| manifest.tasks.iter().filter(|(id, _)| id.starts_with(l)).map(|(_, n)| n).sum::<usize>();
    let levels = [level("l1_"), level("l2_"), level("l3_")];
    let (n, scenes) = (manifest.questions, manifest.contents.scenes.len());
    let beyond = match level("ext_") {
        0 => String::new(),
        n => format!(", {n} beyond the paper's tasks"),
    };
    tracing::info!("{n} questions ({levels:?} by level{beyond}) about {scenes} scenes: {}", out.display());
}
