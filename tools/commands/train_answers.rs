//! `twnm-train align` and `twnm-train sft`: stages 2 and 3.

use super::shared::{say, say_text, tell};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use twnm::config::{self, Recipe};
use twnm::device::Device;
use twnm::error::{Context, Result};
use twnm::models::Places;
use twnm::plan::bytes_of;
use twnm::train::answers::recipe::{AlignRecipe, SftRecipe};
use twnm::train::answers::{Means, Training};
use twnm::train::run::Resume;

/// Flags of both stages.
#[derive(ClapArgs)]
pub struct Args {
    /// Recipe in TOML; without it every setting has its default.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Overrides of single settings, as in --set model.decoder=DIR.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Run folder; at the end the projector and the adapter (PEFT) lie in its folders projector and adapter.
    #[arg(long)]
    out: PathBuf,
    /// Continue a run found in the folder (auto) or refuse it (never).
    #[arg(long, default_value = "auto")]
    resume: Resume,
    /// host, cuda[:N], emu or auto.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Memory of the device to stay within, for example 31GiB: what needs more is refused before anything is allocated.
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Check recipe, models and rows, print what would run, and stop.
    #[arg(long)]
    dry_run: bool,
}

/// Trains the projector, or shows what would be trained.
pub fn run_align(args: Args) -> Result<()> {
    run::<AlignRecipe>(args, Training::align)
}

/// Trains projector and adapter, or shows what would be trained.
pub fn run_sft(args: Args) -> Result<()> {
    run::<SftRecipe>(args, Training::sft)
}

fn run<R: Recipe>(args: Args, open: impl Fn(R, Means) -> Result<Training>) -> Result<()> {
    let memory = args.memory.as_deref().map(bytes_of).transpose().context_with(|| "--memory")?;
    let device = Device::parse(&args.device)?;
    let recipe: R = config::load(args.recipe.as_deref(), &args.sets)?;
    tracing::info!("device {}", device.describe());
    if args.dry_run {
        say_text(config::to_toml(&recipe))?;
    } else {
        twnm::files::check_output_folder(&args.out).context_with(|| "--out")?;
    }
    let training = open(recipe, Means { device, places: &Places::of_process(), memory })?;
    if args.dry_run {
        training.describe().iter().for_each(|(name, value)| tell(format_args!("{name}: {value}")));
        return Ok(());
    }
    training.run(&args.out, args.resume)?;
    say(args.out.display())
}
