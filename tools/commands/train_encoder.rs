//! `twnm-train encoder`: stage 1.

use clap::Args as ClapArgs;
use std::path::PathBuf;
use twnm::config;
use twnm::device::Device;
use twnm::error::{Error, Result};
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
        print!("{}", config::to_toml(&recipe));
        if recipe.data.train.is_empty() {
            eprintln!("data.train names no shards: the recipe is in order, the data was not checked");
            return Ok(());
        }
        for (name, value) in Training::new(recipe, device, &TrainingScorer)?.describe() {
            eprintln!("{name}: {value}");
        }
        return Ok(());
    }
    if args.out.as_os_str().is_empty() {
        return Err(Error::usage("--out: the run folder's name is empty"));
    }
    Training::new(recipe, device, &TrainingScorer)?.run(&args.out, args.resume)?;
    println!("{}", args.out.display());
    Ok(())
}
