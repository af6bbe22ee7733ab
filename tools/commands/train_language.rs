//! `twnm-train language`: the pocket decoder and its vocabulary.

use super::shared::{say, say_text, tell};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use twnm::config;
use twnm::device::Device;
use twnm::error::{Context, Result};
use twnm::train::language::recipe::LanguageRecipe;
use twnm::train::language::{DECODER_FOLDER, Training};
use twnm::train::run::Resume;

/// Flags of `twnm-train language`.
#[derive(ClapArgs)]
pub struct Args {
    /// Recipe in TOML; without it every setting has its default, the pocket size.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Overrides of single settings, as in --set data.train='["texts"]'.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Run folder; the finished decoder (a Hugging Face folder) is in its folder decoder.
    #[arg(long)]
    out: PathBuf,
    /// Continue a run found in the folder (auto) or refuse it (never).
    #[arg(long, default_value = "auto")]
    resume: Resume,
    /// host, cuda[:N], emu or auto.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Check recipe and rows, learn the vocabulary, print what would run, and stop.
    #[arg(long)]
    dry_run: bool,
}

/// Trains, or shows what would be trained.
pub fn run(args: Args) -> Result<()> {
    let device = Device::parse(&args.device)?;
    let recipe: LanguageRecipe = config::load(args.recipe.as_deref(), &args.sets)?;
    tracing::info!("device {}", device.describe());
    if args.dry_run {
        say_text(config::to_toml(&recipe))?;
        for (name, value) in Training::new(recipe, device)?.describe() {
            tell(format_args!("{name}: {value}"));
        }
        return Ok(());
    }
    twnm::files::check_output_folder(&args.out).context_with(|| "--out")?;
    Training::new(recipe, device)?.run(&args.out, args.resume)?;
    say(args.out.join(DECODER_FOLDER).display())
}
