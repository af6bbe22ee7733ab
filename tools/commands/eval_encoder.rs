//! `twnm-eval encoder`: scores of a spatial encoder on a set of shards, beside the best constant predictor.

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use twnm::error::{Context, Error, Result};
use twnm::eval::encoder::{ClassMap, Evaluation, SCORE_TABLE_NOTE, evaluate, score_table};
use twnm::eval::models::{Places, load_encoder};
use twnm::eval::report::text_table;
use twnm::shard::ShardSet;

/// Flags of `twnm-eval encoder`.
#[derive(ClapArgs)]
pub struct Args {
    /// A run folder, a step-N folder or a model family; without it the default model.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Folder of shards to score on; may be given several times.
    #[arg(long, value_name = "SHARDS", required = true)]
    data: Vec<PathBuf>,
    /// Score only the first N scenes.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    json: bool,
}

/// Scores and prints.
pub fn run(args: Args) -> Result<()> {
    if args.limit == Some(0) {
        return Err(Error::usage("--limit 0: at least one scene must be scored"));
    }
    let (encoder, folder) = load_encoder(args.checkpoint.as_deref(), &Places::of_process())?;
    let folders: Vec<&std::path::Path> = args.data.iter().map(PathBuf::as_path).collect();
    let set = ShardSet::open_all(&folders).context_with(|| "--data")?;
    let unknown = ClassMap::new(&encoder.classes, set.classes()).unknown();
    if unknown > 0 {
        tracing::warn!("{unknown} of {} classes are unknown to the model and not scored", set.classes().len());
    }
    let n = args.limit.unwrap_or(usize::MAX).min(set.len());
    let style = "{msg} {bar:30} {pos}/{len} clips, {per_sec}, {eta} left";
    let bar = ProgressBar::new(n as u64).with_message("scoring");
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    let result = evaluate(&encoder, &set, args.limit, || bar.inc(1))?;
    bar.finish_and_clear();
    if args.json {
        let json = to_json(&result, &folder, &set);
        println!("{json}");
    } else {
        print!("{}", text_table(&score_table(format!("{n} scenes"), &result.score, &result.constant)));
        println!("\n{SCORE_TABLE_NOTE}");
    }
    Ok(())
}

/// The keys of the contract, then the constants' scores and what was scored on what.
fn to_json(result: &Evaluation, folder: &std::path::Path, set: &ShardSet) -> serde_json::Value {
    let value = |score| serde_json::to_value(score).expect("scores are plain data");
    let mut json = value(&result.score);
    json["constant"] = value(&result.constant);
    json["checkpoint"] = folder.display().to_string().into();
    json["data_blake3"] = set.fingerprint().into();
    json
}
