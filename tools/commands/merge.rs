//! `twnm merge`: an adapter made part of its base model.

use super::shared::say;
use std::path::PathBuf;
use twnm::error::Result;
use twnm::language::merge::{SHARD_BYTES, Stored, merge};

/// Adds an adapter to the weights of its base model and writes the sum as a Hugging Face folder
///
/// The weights become W + s B A, with DoRA m (W + s B A) / ||W + s B A||; config, tokenizer and templates are copied. Files
/// of weights have at most 5 GB. Little memory is needed whatever the size of the model.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the base model: Qwen2, or Audio Flamingo 3 in the layout of Transformers
    #[arg(long, value_name = "DIR")]
    base: PathBuf,
    /// Folder of the adapter, as PEFT and twnm-train write it
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// Folder to write, new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Element type of the weights: that of the base, f32 or bf16
    #[arg(long, default_value = "base", value_parser = ["base", "f32", "bf16"])]
    dtype: String,
}

/// Merges, then says what was written.
pub fn run(args: Args) -> Result<()> {
    let stored = match args.dtype.as_str() {
        "f32" => Stored::F32,
        "bf16" => Stored::Bf16,
        _ => Stored::Base,
    };
    let merged = merge(&args.base, &args.adapter, &args.out, stored, SHARD_BYTES)?;
    say(format_args!(
        "{}: {} tensors, {} of them adapted, {} bytes in {} {}",
        args.out.display(),
        merged.tensors,
        merged.adapted,
        merged.bytes,
        merged.files,
        if merged.files == 1 { "file" } else { "files" }
    ))
}
