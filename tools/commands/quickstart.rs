//! `twnm quickstart`: the curriculum at pocket size on this machine.

use super::shared::{say, say_text};
use std::path::PathBuf;
use twnm::error::{Context, Result};
use twnm::eval::encoder::{SCORE_TABLE_NOTE, score_table};
use twnm::eval::report::text_table;
use twnm::quickstart::Quickstart;
use twnm::sources::{SourceDir, Sources};

/// Simulate rooms, train a spatial encoder and score it on held-out recordings, in minutes
#[derive(clap::Args)]
pub struct Args {
    /// Last stage to run
    #[arg(long, value_enum, default_value_t = Stage::Encoder)]
    stage: Stage,
    /// Folders of dry recordings; without any, the built-in procedural bank
    #[arg(long, value_name = "[environment|speech|music=]DIR")]
    sources: Vec<String>,
    /// Output folder
    #[arg(long, default_value = "twnm-quickstart")]
    out: PathBuf,
    /// Go on without recordings that cannot be read; their names go to the manifests
    #[arg(long)]
    skip_unreadable: bool,
    /// Run through everything in a minute; learns little
    #[arg(long)]
    smoke: bool,
}

/// Stages that exist.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Stage {
    /// Stage 1: the spatial encoder.
    Encoder,
}

/// Seed of the procedural bank.
const BANK_SEED: u64 = 1;

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    twnm::files::check_output_folder(&args.out).context_with(|| "--out")?;
    twnm::signals::catch_stop();
    let folders: Vec<SourceDir> = args.sources.iter().map(|s| s.parse()).collect::<Result<_>>()?;
    let mut sources = match folders.is_empty() {
        true => Sources::procedural(BANK_SEED),
        false => Sources::open(&folders, None)?,
    };
    let mut quickstart =
        Quickstart { out: &args.out, sources: &mut sources, skip_unreadable: args.skip_unreadable, smoke: args.smoke };
    let outcome = match args.stage {
        Stage::Encoder => quickstart.run(&|line| tracing::info!("{line}"))?,
    };
    let (score, constant) = (&outcome.evaluation.score, &outcome.evaluation.constant);
    let caption = format!("{} held-out scenes", score.n);
    say_text(text_table(&score_table(caption, score, constant)))?;
    say(format_args!("\n{SCORE_TABLE_NOTE}"))?;
    let scene = args.out.join("scenes").join("scene-000.wav");
    say(format_args!("\nreport: {}\nnext:   twnm listen {}", outcome.report.display(), scene.display()))?;
    Ok(())
}
