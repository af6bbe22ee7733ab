//! `twnm bench encoder-step`: one training step of the trunk, the work of `encoder_torch.py time`.

use std::time::Instant;
use twnm::device::machine;
use twnm::encoder::trunk::Trunk;
use twnm::encoder::{EncoderConfig, features};
use twnm::error::{Error, Result};
use twnm::nn::{Builder, Context, Params};
use twnm::ops::adamw::AdamW;
use twnm::optim::Optimizer;
use twnm::rng::Rng;
use twnm::tape::{Tape, Var};
use twnm::tensor::Tensor;

/// Steps before the clock starts.
const WARM_UP_STEPS: usize = 2;

/// Seconds per training step of the encoder's trunk: features, forward, mean square, backward, AdamW
#[derive(clap::Args)]
pub struct Args {
    /// Sizes: paper, small or pocket
    #[arg(long, default_value = "paper")]
    preset: String,
    /// Length of a clip
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Clips per step
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Steps that are measured, after two that are not
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Threads [default: all]
    #[arg(long)]
    jobs: Option<usize>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let config = EncoderConfig::preset(&args.preset)
        .ok_or_else(|| Error::usage(format!("--preset {}: give paper, small or pocket", args.preset)))?;
    let samples = (16_000.0 * args.seconds) as usize;
    if !(args.seconds <= 600.0 && samples >= config.samples_min()) {
        return Err(Error::usage(format!("--seconds {}: up to 600, and at least one frame", args.seconds)));
    }
    if !(1..=1024).contains(&args.batch) || !(1..=10_000).contains(&args.steps) {
        return Err(Error::usage("--batch is 1..=1024 and --steps 1..=10000"));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.jobs.unwrap_or(0)).build();
    let pool = pool.map_err(|e| Error::usage(format!("--jobs: {e}")))?;
    let times = pool.install(|| measure(&config, samples, args.batch, WARM_UP_STEPS + args.steps))?;
    let mut measured = times[WARM_UP_STEPS..].to_vec();
    measured.sort_by(f64::total_cmp);
    let step_s = measured[measured.len() / 2];
    let peak_gib = machine::peak_memory_bytes().map(|bytes| bytes as f64 / (1u64 << 30) as f64);
    if args.json {
        let report = serde_json::json!({
            "preset": args.preset, "seconds": args.seconds, "batch": args.batch, "threads": pool.current_num_threads(),
            "instruction_set": machine::instruction_set(), "step_s": step_s, "clips_per_s": args.batch as f64 / step_s,
            "peak_gib": peak_gib, "steps_s": &times[WARM_UP_STEPS..],
        });
        println!("{report}");
    } else {
        let peak = peak_gib.map_or("unknown".into(), |gib| format!("{gib:.2} GiB"));
        println!("{step_s:.3} s per step ({:.2} clips/s), peak memory {peak}", args.batch as f64 / step_s);
    }
    Ok(())
}

/// Seconds of every step, on clips of noise.
fn measure(config: &EncoderConfig, samples: usize, batch: usize, steps: usize) -> Result<Vec<f64>> {
    let mut builder = Builder::new();
    let trunk = Trunk::new(&mut builder, "trunk.", config);
    let mut params = builder.finish(0);
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    let mut optimizer = Optimizer::new(&params, adamw, 0.01, f64::INFINITY);
    let mut rng = Rng::new(0, "bench encoder-step", 0);
    let clips: Vec<Vec<f32>> = (0..batch).map(|_| (0..4 * samples).map(|_| rng.normal() as f32).collect()).collect();
    let mut times = Vec::new();
    for _ in 0..steps {
        let start = Instant::now();
        step(config, &trunk, &mut params, &mut optimizer, &clips)?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

fn step(
    config: &EncoderConfig,
    trunk: &Trunk,
    params: &mut Params,
    optimizer: &mut Optimizer,
    clips: &[Vec<f32>],
) -> Result<()> {
    let gradient = gradient(config, trunk, params, clips)?;
    let norm = optimizer.step(params, &gradient, 1e-3);
    if !norm.is_finite() {
        return Err(Error::new(twnm::error::Kind::Diverged, format!("the gradient's norm is {norm}")));
    }
    Ok(())
}

/// The gradient of mean(output^2) in the layout of the flat parameters.
fn gradient(config: &EncoderConfig, trunk: &Trunk, params: &Params, clips: &[Vec<f32>]) -> Result<Vec<f32>> {
    let maps: Vec<Tensor> = clips.iter().map(|clip| features(config, clip).map).collect();
    let [_, bins, frames, width] = maps[0].dims("map");
    let joined: Vec<f32> = maps.iter().flat_map(|map| map.data()).copied().collect();
    let map = Tensor::from_slice(&[clips.len(), bins, frames, width], &joined);
    drop((maps, joined));
    let mut c = Context::new(Tape::new(), params);
    let y = trunk.forward(&mut c, &map);
    let mut seed = y.tensor().clone();
    let scale = 2.0 / seed.len() as f32;
    seed.data_mut().iter_mut().for_each(|v| *v *= scale);
    let vars: Vec<Var> = params.ids().map(|id| c.param(id)).collect();
    let names = params.infos().iter().map(|p| p.name.as_str());
    let grads = c.tape.backward(&y, seed)?;
    grads.expect_all(names.zip(&vars))?;
    let mut flat = vec![0.0; params.flat().len()];
    for (info, var) in params.infos().iter().zip(&vars) {
        let values = grads.get(var).expect("checked above").data();
        flat[info.offset..info.offset + values.len()].copy_from_slice(values);
    }
    Ok(flat)
}
