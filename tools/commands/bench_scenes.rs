//! `twnm bench scenes`: whole scenes per second on the work of `rooms_pyroomacoustics.py scenes`.

use super::shared::say;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twnm::error::{Error, Result};
use twnm::rng::Rng;
use twnm::shard::{Labels, Sample, ShardSpec, ShardWriter};
use twnm::sim::render::render_with_truth;
use twnm::sim::room::{Extent, Room};
use twnm::sim::scene::{Scene, SceneSource};
use twnm::sources::{Sources, Split};

/// Whole scenes per second: 6 x 5 x 3 m, absorption 0.2, all images within the reverberation time, 3 sources,
/// levels, noise and ground truth, written to shards
#[derive(clap::Args)]
pub struct Args {
    /// Seconds to measure
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Seconds per scene
    #[arg(long, default_value_t = 5.0)]
    clip: f64,
    /// Reverberation time: all images within it are heard
    #[arg(long, default_value_t = 0.5155)]
    rt60: f64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

const SCENES_PER_SHARD: usize = 32;

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let jobs = args.jobs.clamp(1, 1024);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
    let pool = pool.map_err(|e| Error::unavailable(format!("--jobs {jobs}: {e}")))?;
    let sources = Sources::procedural(0);
    pool.install(|| sources.preload(Split::Test))?;
    let recordings = sources.in_split(Split::Test);
    let frames = (args.clip.clamp(0.1, 600.0) * 16_000.0) as usize;
    let folder = tempfile::tempdir().map_err(|e| Error::io("create folder", &std::env::temp_dir(), &e))?;
    let mut spec = ShardSpec::new(1 << 30, frames, 0, sources.classes(), &"bench")?;
    spec.scenes_per_shard = SCENES_PER_SHARD;
    let (done, start) = (AtomicU64::new(0), Instant::now());
    let limit = Duration::from_secs_f64(args.seconds.clamp(0.01, 3600.0));
    let writer = Bench { folder: folder.path(), spec };
    pool.install(|| {
        (0..jobs as u64).into_par_iter().try_for_each(|job| -> Result<()> {
            let own = writer.job(job)?;
            for shard in 0.. {
                let mut samples = Vec::new();
                for k in 0..SCENES_PER_SHARD as u64 {
                    let index = (job << 32) + shard as u64 * SCENES_PER_SHARD as u64 + k;
                    let scene = scene(&args, frames, &recordings, index);
                    let rendered = render_with_truth(&scene, &sources)?;
                    let labels = Labels::of(&rendered.truth)?;
                    samples.push(Sample::new(&rendered.audio.samples, labels, &rendered.truth)?);
                }
                own.write(shard % 4, &samples)?;
                done.fetch_add(SCENES_PER_SHARD as u64, Ordering::Relaxed);
                if start.elapsed() >= limit {
                    break;
                }
            }
            Ok(())
        })
    })?;
    let per_second = done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    if args.json {
        say(serde_json::json!({ "per_second": per_second, "jobs": jobs, "seconds_per_scene": args.clip }))?;
    } else {
        say(format_args!("{per_second:.1} scenes per second, {:.0} times real time", per_second * args.clip))?;
    }
    Ok(())
}

struct Bench<'a> {
    folder: &'a std::path::Path,
    spec: ShardSpec,
}

impl Bench<'_> {
    /// A writer of its own for each thread; shards are written over and over, so that the disk is not filled.
    fn job(&self, job: u64) -> Result<ShardWriter> {
        let spec = ShardSpec { scenes: 4 * SCENES_PER_SHARD, ..self.spec.clone() };
        ShardWriter::open(&self.folder.join(job.to_string()), spec)
    }
}

/// The room of the peer with three random sources.
fn scene(args: &Args, frames: usize, recordings: &[usize], index: u64) -> Scene {
    let mut rng = Rng::new(0, "bench scenes", index);
    let mut room = Room::new([6.0, 5.0, 3.0], [0.2; 6], 16_000, Extent::DurationS(args.rt60));
    // As the peer and as scenes have it: a source may be near, and what is not heard is taken out.
    (room.delay_samples, room.high_pass_hz) = (40, 20.0);
    room.receiver_m = [2.7, 2.2, 1.7];
    room.sources_m = (0..3).map(|_| room.dimensions_m.map(|d| rng.range(0.5, d - 0.5))).collect();
    let mut source = || SceneSource::new(recordings[rng.below(recordings.len())], 0.0);
    Scene {
        index,
        seed: 0,
        frames,
        size: "small",
        finish: "reflective",
        room,
        rt60_s: args.rt60,
        sources: vec![source(), source(), source()],
        equal_level: true,
        snr_db: 40.0,
        pause_s: [0.1, 0.5],
        script: None,
    }
}
