//! `twnm bench rir`: impulse responses per second on the work of `rooms_pyroomacoustics.py rir`.

use super::shared::say;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twnm::error::{Error, Result};
use twnm::rng::Rng;
use twnm::sim::image_source::{heard_images, impulse_responses};
use twnm::sim::room::{Extent, Filter, Room};

/// Impulse responses per second: 6 x 5 x 3 m, absorption 0.2, first-order Ambisonics, 30 sources a room
#[derive(clap::Args)]
pub struct Args {
    /// Highest number of reflections
    #[arg(long, default_value_t = 17)]
    order: u32,
    /// All images that arrive within this many seconds, in place of --order
    #[arg(long, value_name = "S")]
    duration: Option<f64>,
    /// Walls with seven octave bands
    #[arg(long)]
    bands: bool,
    /// Sample rate in Hz
    #[arg(long, default_value_t = 16_000)]
    rate: u32,
    /// Seconds to measure
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Zero-phase high-pass in Hz, 0 for none (the peer applies 10)
    #[arg(long, default_value_t = 10.0)]
    high_pass: f64,
    /// Fractional-delay filter: moving, fixed or lut
    #[arg(long, default_value = "moving")]
    filter: String,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let filter = match args.filter.as_str() {
        "moving" => Filter::Moving,
        "fixed" => Filter::Fixed,
        "lut" => Filter::Lut,
        other => return Err(Error::usage(format!("--filter {other}: give moving, fixed or lut"))),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.jobs.max(1)).build();
    let pool = pool.map_err(|e| Error::usage(format!("--jobs {}: {e}", args.jobs)))?;
    let first = room(&args, filter, 0);
    let images = heard_images(&first, 0)?;
    impulse_responses(&first)?;
    let done = AtomicU64::new(0);
    let start = Instant::now();
    let limit = Duration::from_secs_f64(args.seconds.clamp(0.01, 3600.0));
    let result = pool.install(|| {
        (0..args.jobs.max(1) as u64).into_par_iter().try_for_each(|job| -> Result<()> {
            let mut turn = 0;
            while start.elapsed() < limit {
                turn += 1;
                let rir = impulse_responses(&room(&args, filter, (turn << 8) | job))?;
                done.fetch_add(rir.responses.len() as u64, Ordering::Relaxed);
            }
            Ok(())
        })
    });
    result?;
    let per_second = done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    if args.json {
        let report = serde_json::json!({
            "per_second": per_second,
            "images": images,
            "images_per_second": per_second * images as f64,
            "jobs": args.jobs,
            "rate": args.rate,
            "bands": args.bands,
        });
        say(report)?;
    } else {
        say(format_args!(
            "{per_second:.0} responses per second, {:.1} million images per second",
            per_second * images as f64 / 1e6
        ))?;
    }
    Ok(())
}

/// The room of the peer with 30 random sources.
fn room(args: &Args, filter: Filter, index: u64) -> Room {
    let extent = args.duration.map_or(Extent::MaxOrder(args.order), Extent::DurationS);
    let mut room = Room::new([6.0, 5.0, 3.0], [0.2; 6], args.rate, extent);
    if args.bands {
        room.bands_hz = vec![125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0];
        room.absorption = [0.1, 0.15, 0.2, 0.2, 0.25, 0.3, 0.35].map(|a| [a; 6]).to_vec();
    }
    room.filter = filter;
    room.high_pass_hz = args.high_pass;
    room.delay_samples = 40;
    room.receiver_m = [2.7, 2.2, 1.7];
    let mut rng = Rng::new(0, "bench rir", index);
    room.sources_m = (0..30).map(|_| room.dimensions_m.map(|d| rng.range(0.5, d - 0.5))).collect();
    room
}
