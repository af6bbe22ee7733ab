//! `twnm-eval encoder`: scores of a spatial encoder on a set of shards, beside the best constant predictor and, if asked
//! for, a localiser that does not learn; with the audio as it is or with something taken from it.

use super::shared::{say, say_text};
use clap::{Args as ClapArgs, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use twnm::error::{Context, Error, Result};
use twnm::eval::ablation::{Ablation, Inputs};
use twnm::eval::encoder::{
    ClassMap, Evaluation, SCORE_TABLE_NOTE, Score, evaluate_intensity, evaluate_on, score_table_of,
};
use twnm::eval::report::text_table;
use twnm::models::{Places, load_encoder};
use twnm::shard::ShardSet;

/// Flags of `twnm-eval encoder`.
#[derive(ClapArgs)]
pub struct Args {
    /// A run folder, a step-N folder or a model family; without it the default model, or with --reference none.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Folder of shards to score on; may be given several times.
    #[arg(long, value_name = "SHARDS", required = true)]
    data: Vec<PathBuf>,
    /// A localiser that does not learn, scored on the same scenes: beside the model of --checkpoint, or alone.
    #[arg(long, value_name = "NAME")]
    reference: Option<Reference>,
    /// What is taken from the audio: none, w-only (Y = Z = X = 0), shuffle (another scene's audio) or no-audio.
    #[arg(long, value_name = "WHAT", default_value_t = Ablation::None)]
    ablate: Ablation,
    /// Seed of --ablate shuffle.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Score only the first N scenes.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    json: bool,
}

/// Localisers that do not learn.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reference {
    /// Histogram of active intensity vectors.
    Intensity,
}

/// What is said of the localiser below the table.
const INTENSITY_NOTE: &str = "intensity: a histogram of active intensity vectors, without learning; it tells directions and \
    their number only.";

/// Scores and prints.
pub fn run(args: Args) -> Result<()> {
    if args.limit == Some(0) {
        return Err(Error::usage("--limit 0: at least one scene must be scored"));
    }
    let model = match (&args.checkpoint, args.reference) {
        (None, Some(_)) => None,
        (checkpoint, _) => Some(load_encoder(checkpoint.as_deref(), &Places::of_process())?),
    };
    let folders: Vec<&std::path::Path> = args.data.iter().map(PathBuf::as_path).collect();
    let set = ShardSet::open_all(&folders).context_with(|| "--data")?;
    let n = args.limit.unwrap_or(usize::MAX).min(set.len());
    let inputs = Inputs::new(args.ablate, n, args.seed).context_with(|| "--ablate")?;
    if args.ablate == Ablation::Shuffle {
        tracing::info!("every scene is given the audio of another one, seed {}", args.seed);
    }
    let style = "{msg} {bar:30} {pos}/{len} clips, {per_sec}, {eta} left";
    let bar = ProgressBar::new(n as u64 * (u64::from(model.is_some()) + u64::from(args.reference.is_some())));
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    bar.set_message("scoring");
    let encoder = match &model {
        Some((encoder, _)) => {
            let unknown = ClassMap::new(&encoder.classes, set.classes()).unknown();
            if unknown > 0 {
                tracing::warn!("{unknown} of {} classes are unknown to the model and not scored", set.classes().len());
            }
            Some(evaluate_on(encoder, &set, &inputs, || bar.inc(1))?)
        }
        None => None,
    };
    let intensity = match args.reference {
        Some(Reference::Intensity) => Some(evaluate_intensity(&set, &inputs, || bar.inc(1))?),
        None => None,
    };
    bar.finish_and_clear();
    let folder = model.as_ref().map(|(_, folder)| folder.as_path());
    if args.json {
        say(to_json(&args, encoder.as_ref(), intensity.as_ref(), folder, &set))?;
    } else {
        print_table(&args, encoder.as_ref(), intensity.as_ref(), n)?;
    }
    Ok(())
}

fn print_table(args: &Args, encoder: Option<&Evaluation>, intensity: Option<&Evaluation>, n: usize) -> Result<()> {
    let mut rows: Vec<(&str, &Score)> = Vec::new();
    rows.extend(encoder.map(|encoder| ("model", &encoder.score)));
    rows.extend(intensity.map(|intensity| ("intensity", &intensity.score)));
    rows.extend(encoder.or(intensity).map(|any| ("constant", &any.constant)));
    let caption = match args.ablate {
        Ablation::None => format!("{n} scenes"),
        Ablation::Shuffle => format!("{n} scenes; audio: shuffle, seed {}", args.seed),
        other => format!("{n} scenes; audio: {other}"),
    };
    say_text(text_table(&score_table_of(caption, &rows)))?;
    say(format_args!("\n{SCORE_TABLE_NOTE}"))?;
    if intensity.is_some() {
        say(INTENSITY_NOTE)?;
    }
    Ok(())
}

/// The keys of the contract (of the localiser when it is alone), then the scores beside them and what was scored on what.
fn to_json(
    args: &Args,
    encoder: Option<&Evaluation>,
    intensity: Option<&Evaluation>,
    folder: Option<&std::path::Path>,
    set: &ShardSet,
) -> serde_json::Value {
    let value = |score| serde_json::to_value(score).expect("scores are plain data");
    let first = encoder.or(intensity).expect("a model or a localiser was scored");
    let mut json = value(&first.score);
    json["constant"] = value(&first.constant);
    json["predictor"] = if encoder.is_some() { "encoder" } else { "intensity" }.into();
    if let (Some(_), Some(intensity)) = (encoder, intensity) {
        json["intensity"] = value(&intensity.score);
    }
    json["ablation"] = args.ablate.name().into();
    if args.ablate == Ablation::Shuffle {
        json["ablation_seed"] = args.seed.into();
    }
    if let Some(folder) = folder {
        json["checkpoint"] = folder.display().to_string().into();
    }
    json["data_blake3"] = set.fingerprint().into();
    json
}
