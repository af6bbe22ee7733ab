//! `twnm benchmark`: questions about simulated scenes, made by rule from their ground truth.

use std::path::PathBuf;
use twnm::benchmark::export::{Export, Manifest, read_scenes};
use twnm::benchmark::generate::{Generated, Settings, generate};
use twnm::benchmark::leaks::Contents;
use twnm::benchmark::training::Kind;
use twnm::error::{Error, Result};
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
    /// Azimuths from 0 to 360 (around, as the official items) or from -180 to 180 (signed)
    #[arg(long, default_value = "around", value_parser = ["around", "signed"])]
    azimuth: String,
    /// Refuse to write when a recording or scene is also heard in this folder of questions or shards (repeatable)
    #[arg(long, value_name = "DIR")]
    check_leaks: Vec<PathBuf>,
    /// Questions only, without audio/
    #[arg(long)]
    no_audio: bool,
}

fn kind(name: &str) -> Result<Kind, String> {
    let value = serde_json::Value::String(name.into());
    serde_json::from_value(value).map_err(|_| "give benchmark, align, sft, sapo or text".into())
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    if args.questions == 0 {
        return Err(Error::usage("--questions 0: give at least one"));
    }
    twnm::signals::catch_stop();
    let set = ShardSet::open(&args.scenes)?;
    if let Some(manifest) = set.manifests().iter().find(|m| args.kind.is_training() && m.spec.split != "train") {
        let (scenes, split) = (args.scenes.display(), &manifest.spec.split);
        return Err(Error::usage(format!("--scenes {scenes}: made from split {split}, training data want train"))
            .hint("simulate with --split train"));
    }
    let scenes = read_scenes(&set)?;
    if scenes.skipped > 0 {
        tracing::info!("{} of {} scenes cannot be asked about (layered or hardly audible)", scenes.skipped, set.len());
    }
    let signed_azimuth = args.azimuth == "signed";
    let settings = Settings { questions: args.questions, seed: args.seed, signed_azimuth, open: args.kind.is_open() };
    let made = generate(&scenes.pool, settings)?;
    report_filled(&made);
    let export =
        Export { out: &args.out, set: &set, scenes: &scenes, settings, kind: args.kind, audio: !args.no_audio };
    let contents = export.contents(&made.rows)?;
    for folder in &args.check_leaks {
        contents.check_apart_from(&Contents::of_folder(folder)?, folder)?;
        tracing::info!("nothing in {} is heard here", folder.display());
    }
    let manifest = export.write(&made, &contents)?;
    summary(&manifest, &args.out);
    Ok(())
}

/// Tasks that made less or more than planned.
fn report_filled(made: &Generated) {
    for (task, planned, n) in &made.filled {
        let why = if n < planned { "no more material" } else { "fills its level" };
        tracing::warn!("{}: {n} questions instead of {planned} ({why})", task.id());
    }
}

fn summary(manifest: &Manifest, out: &std::path::Path) {
    let level = |l: &str| manifest.tasks.iter().filter(|(id, _)| id.starts_with(l)).map(|(_, n)| n).sum::<usize>();
    let levels = [level("l1_"), level("l2_"), level("l3_")];
    let (n, scenes) = (manifest.questions, manifest.contents.scenes.len());
    tracing::info!("{n} questions ({levels:?} by level) about {scenes} scenes: {}", out.display());
}
