//! `twnm simulate`: scenes from dry recordings, written as shards with their ground truth.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use twnm::error::{Context, Error, Result};
use twnm::shard::simulate::Simulation;
use twnm::shard::{Check, Planned};
use twnm::sim::config::SceneConfig;
use twnm::sources::{Reading, SourceDir, Sources, Split};

/// Simulate scenes: spatial audio with exact ground truth, written as shards; continues after an interruption
#[derive(clap::Args)]
pub struct Args {
    /// Folder for the shards, scenes.jsonl, manifest.json and splits.json
    #[arg(long)]
    out: PathBuf,
    /// Number of scenes
    #[arg(long)]
    scenes: usize,
    /// Scene i depends on the seed and i alone
    #[arg(long)]
    seed: u64,
    /// Recipe in TOML; without it every setting has its default
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Overrides of single settings, as in --set seconds=10
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Folders of dry recordings; without any, the built-in procedural bank
    #[arg(long, value_name = "[environment|speech|music=]DIR")]
    sources: Vec<String>,
    /// Table (CSV or TSV) with the columns path and group: recordings of one group stay in one split, whatever their
    /// names. A path is that of a file or folder, or its end; recordings without a row keep the group that is known
    #[arg(long, value_name = "FILE", requires = "sources")]
    groups: Option<PathBuf>,
    /// Regular expression for paths below the folder of --sources; what its parentheses match is the group, as in
    /// '^([^/]+)/' (folders of speakers). A row of --groups goes before it
    #[arg(long, value_name = "REGEX", requires = "sources")]
    group_pattern: Option<String>,
    /// Take every folder name as a class, also those that usually say how data is arranged (fold1, train, audio), and
    /// no class from tables
    #[arg(long, requires = "sources")]
    folder_classes: bool,
    /// Go on without recordings that cannot be read; they are named, and listed in manifest.json
    #[arg(long, requires = "sources")]
    skip_unreadable: bool,
    /// Which recordings: all, train, dev or test
    #[arg(long, default_value = "all", value_parser = split)]
    split: Split,
    /// splits.json of an earlier set, to keep its splits
    #[arg(long, value_name = "FILE")]
    splits: Option<PathBuf>,
    /// Threads; the result does not depend on them
    #[arg(long)]
    jobs: Option<usize>,
    /// Also write every scene as OUT/wav/<id>.wav
    #[arg(long)]
    wav: bool,
}

fn split(name: &str) -> Result<Split, String> {
    match name {
        "all" => Ok(Split::All),
        "train" => Ok(Split::Train),
        "dev" => Ok(Split::Dev),
        "test" => Ok(Split::Test),
        _ => Err("give all, train, dev or test".into()),
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    if args.out.as_os_str().is_empty() {
        return Err(Error::usage("--out: the folder's name is empty"));
    }
    twnm::files::check_output_folder(&args.out).context_with(|| "--out")?;
    if args.scenes == 0 {
        return Err(Error::usage("--scenes 0: give at least one"));
    }
    let config: SceneConfig = twnm::config::load(args.recipe.as_deref(), &args.sets)?;
    let mut sources = open(&args)?;
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs.clamp(1, 1024)).build();
    let pool = pool.map_err(|e| Error::unavailable(format!("--jobs {jobs}: {e}")))?;
    twnm::signals::catch_stop();
    let set = Planned { out: &args.out, split: args.split, seed: args.seed, scenes: args.scenes };
    let check = Check { sets: &[set], config: &config, skip_unreadable: args.skip_unreadable };
    pool.install(|| check.run(&mut sources))?;
    let simulation = Simulation {
        out: &args.out,
        config: &config,
        sources: &sources,
        split: args.split,
        seed: args.seed,
        scenes: args.scenes,
        wav: args.wav,
    };
    let progress = Progress::new(args.scenes);
    let start = Instant::now();
    let manifest = pool.install(|| simulation.run(|n| progress.advance(n)))?;
    progress.bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let (scenes, shards, out) = (args.scenes, manifest.shards.len(), args.out.display());
    tracing::info!("{scenes} scenes of {} s in {shards} shards, {seconds:.1} s: {out}", config.seconds);
    Ok(())
}

/// The recordings that the flags ask for, in their splits; their first groups are printed.
fn open(args: &Args) -> Result<Sources> {
    let folders: Vec<SourceDir> = args.sources.iter().map(|s| s.parse()).collect::<Result<_>>()?;
    let inputs: Vec<&Path> = folders.iter().map(|folder| folder.path.as_path()).collect();
    twnm::files::check_apart(&args.out, &inputs).context_with(|| "--out")?;
    let mut sources = if folders.is_empty() {
        tracing::info!("no --sources: the procedural bank of seed {}", args.seed);
        Sources::procedural(args.seed)
    } else {
        let reading = Reading {
            classes: None,
            groups: args.groups.as_deref(),
            group_pattern: args.group_pattern.as_deref(),
            folder_classes: args.folder_classes,
        };
        let sources = Sources::open_with(&folders, &reading)?;
        sources.group_lines().iter().for_each(|line| tracing::info!("{line}"));
        sources
    };
    if let Some(path) = &args.splits {
        sources.use_splits(path)?;
    }
    Ok(sources)
}

/// A bar on a terminal, a log line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    last_line: std::sync::Mutex<Instant>,
}

impl Progress {
    fn new(scenes: usize) -> Progress {
        let bar = ProgressBar::new(scenes as u64);
        let style = "{bar:30} {pos}/{len} scenes, {per_sec}, {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Progress { bar, last_line: std::sync::Mutex::new(Instant::now()) }
    }

    fn advance(&self, scenes: usize) {
        self.bar.inc(scenes as u64);
        let Ok(mut last) = self.last_line.try_lock() else { return };
        if self.bar.is_hidden() && last.elapsed() > Duration::from_secs(5) {
            *last = Instant::now();
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            tracing::info!("{done}/{all} scenes, {:.1}/s, {:.0?} left", self.bar.per_sec(), self.bar.eta());
        }
    }
}
