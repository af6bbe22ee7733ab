//! `twnm-train encoder`: stage 1.

use super::shared::{say, say_text, tell};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use twnm::config;
use twnm::device::Device;
use twnm::error::{Context, Result};
use twnm::eval::encoder::TrainingScorer;
use twnm::train::encoder::Training;
use twnm::train::encoder::recipe::EncoderRecipe;
use twnm::train::run::Resume;

/// Flags of `twnm-train encoder`.
#[derive(ClapArgs)]
pub struct Args {
    /// Recipe in TOML; without it every setting has its default.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Overrides of single settings, as in --set optimizer.learning_rate=2e-3.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Run folder.
    #[arg(long)]
    out: PathBuf,
    /// Continue a run found in the folder (auto) or refuse it (never).
    #[arg(long, default_value = "auto")]
    resume: Resume,
    /// host, cuda[:N], emu or auto.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Check recipe and data, print what would run, and stop.
    #[arg(long)]
    dry_run: bool,
}

/// Trains, or shows what would be trained.
pub fn run(args: Args) -> Result<()> {
    let device = Device::parse(&args.device)?;
    let recipe: EncoderRecipe = config::load(args.recipe.as_deref(), &args.sets)?;
    tracing::info!("device {}", device.describe());
    if args.dry_run {
        say_text(config::to_toml(&recipe))?;
        if recipe.data.train.is_empty() {
            tell("data.train names no shards: the recipe is in order, the data was not checked");
            return Ok(());
        }
        for (name, value) in Training::new(recipe, device, &TrainingScorer)?.describe() {
            tell(format_args!("{name}: {value}"));
        }
        return Ok(());
    }
    twnm::files::check_output_folder(&args.out).context_with(|| "--out")?;
    Training::new(recipe, device, &TrainingScorer)?.run(&args.out, args.resume)?;
    say(args.out.display())?;
    Ok(())
}
