//! `twnm rir`: impulse responses of a room description, written as safetensors.

use std::path::PathBuf;
use twnm::error::{Context, Result};
use twnm::files;
use twnm::sim::image_source::impulse_responses;
use twnm::sim::room::Room;
use twnm::weights::{Entry, write};

/// Compute the impulse responses of a shoebox room
#[derive(clap::Args)]
pub struct Args {
    /// Description of the room, its receiver and its sources
    #[arg(long, value_name = "room.json")]
    room: PathBuf,
    /// File to write: tensor "rir" [sources, 4 or 1, samples], float32; "samples" [sources], int64
    #[arg(long, value_name = "rir.safetensors")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    files::check_apart(&args.out, &[&args.room])
        .and_then(|()| files::check_output(&args.out))
        .context_with(|| "--out")?;
    let room = Room::read(&args.room)?;
    let rir = impulse_responses(&room)?;
    let (values, shape) = rir.to_tensor();
    let samples: Vec<i64> = (0..shape[0]).map(|i| rir.samples(i) as i64).collect();
    let layout = if shape[1] == 4 { "W,Y,Z,X (ACN, SN3D)" } else { "omni" };
    let rate = room.sample_rate.to_string();
    let entries = [Entry::f32("rir", &shape, &values), Entry::i64("samples", &shape[..1], &samples)];
    write(&args.out, &entries, &[("channels", layout), ("sample_rate", &rate)])?;
    tracing::info!("{} responses of {} x {} samples in {}", shape[0], shape[1], shape[2], args.out.display());
    Ok(())
}
