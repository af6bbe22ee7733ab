//! `twnm bench encoder-step`: one training step of the trunk, the work of `encoder_torch.py time`.

use super::shared::say;
use std::time::Instant;
use twnm::device::simd::{Isa, multiply_in_registers};
use twnm::device::{Device, cuda, machine};
use twnm::encoder::trunk::Trunk;
use twnm::encoder::{EncoderConfig, InputMode, features_on};
use twnm::error::{Error, Kind, Result};
use twnm::nn::{Builder, Forward, Params};
use twnm::ops::adamw::AdamW;
use twnm::ops::elementwise;
use twnm::optim::Optimizer;
use twnm::rng::Rng;
use twnm::tape::{Tape, Var};
use twnm::tensor::{DType, Tensor};

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
    /// host, cuda[:N] or emu
    #[arg(long, default_value = "host")]
    device: String,
    /// Store activations as bf16 (devices only)
    #[arg(long)]
    bf16: bool,
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
    let device = Device::parse(&args.device)?;
    let dtype = if args.bf16 { DType::Bf16 } else { DType::F32 };
    if args.bf16 && device == Device::Host {
        return Err(Error::usage("--bf16: the host computes in f32; add --device cuda"));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.jobs.unwrap_or(0)).build();
    let pool = pool.map_err(|e| Error::usage(format!("--jobs: {e}")))?;
    let before = fma_peak_gflops(&pool);
    let times =
        pool.install(|| Work::new(&config, samples, args.batch, device, dtype).steps(WARM_UP_STEPS + args.steps))?;
    let fma_peak_gflops = before.max(fma_peak_gflops(&pool));
    let mut measured = times[WARM_UP_STEPS..].to_vec();
    measured.sort_by(f64::total_cmp);
    let step_s = measured[measured.len() / 2];
    let peak_bytes = match device {
        Device::Cuda(ordinal) => Some(cuda::open(ordinal)?.memory()?.peak),
        _ => machine::peak_memory_bytes(),
    };
    let peak_gib = peak_bytes.map(|bytes| bytes as f64 / (1u64 << 30) as f64);
    let is_counted = device == Device::Host && config.input == InputMode::Map;
    let gflops = is_counted.then(|| args.batch as f64 * step_flops(&config, samples) / step_s / 1e9);
    let peak_share = gflops.map(|gflops| gflops / fma_peak_gflops);
    if args.json {
        let report = serde_json::json!({
            "preset": args.preset, "seconds": args.seconds, "batch": args.batch, "threads": pool.current_num_threads(),
            "instruction_set": machine::instruction_set(), "device": device.describe(), "bf16": args.bf16, "step_s": step_s, "clips_per_s": args.batch as f64 / step_s,
            "peak_gib": peak_gib, "steps_s": &times[WARM_UP_STEPS..],
            "simd": Isa::current().name(), "fma_peak_gflops": fma_peak_gflops, "gflops": gflops, "peak_share": peak_share,
        });
        say(report)?;
    } else {
        let peak = peak_gib.map_or("unknown".into(), |gib| format!("{gib:.2} GiB"));
        say(format_args!("{step_s:.3} s per step ({:.2} clips/s), peak memory {peak}", args.batch as f64 / step_s))?;
        if let (Some(gflops), Some(share)) = (gflops, peak_share) {
            let (isa, share) = (Isa::current().name(), 100.0 * share);
            say(format_args!(
                "{gflops:.0} GFLOP/s, {share:.0} % of the {isa} peak of {fma_peak_gflops:.0} on these threads"
            ))?;
        }
    }
    Ok(())
}

/// Fused multiply-adds per second that all threads reach together in registers, in GFLOP/s: the best of several runs.
fn fma_peak_gflops(pool: &rayon::ThreadPool) -> f64 {
    const STEPS: usize = 1 << 18;
    let rate = |_: rayon::BroadcastContext| {
        let run = |_| {
            let start = Instant::now();
            multiply_in_registers(STEPS) / start.elapsed().as_secs_f64()
        };
        (0..30).map(run).fold(0.0, f64::max)
    };
    pool.broadcast(rate).into_iter().sum::<f64>() / 1e9
}

/// Floating-point operations of a step on one clip, for the trunk that takes a map: three times those of the forward
/// pass, and half those of attention once more, whose probabilities are formed again. What segments compute twice to
/// save memory is not counted.
fn step_flops(config: &EncoderConfig, samples: usize) -> f64 {
    let (f, t) = (config.bands() as f64, (samples / config.hop + 1) as f64);
    let [h, e, s, groups] = [config.hidden, config.ffn, config.squeeze, config.groups].map(|n| n as f64);
    let (kf, kt) = (config.kernel_frequency as f64, config.kernel_time as f64);
    let cross_band = 2.0 * 2.0 * h * h / groups * kf + 2.0 * 2.0 * h * s + 2.0 * f * s;
    let attention = 4.0 * t * h;
    let narrow_band = 2.0 * 4.0 * h * h + 2.0 * 2.0 * h * e + 3.0 * 2.0 * e * e / groups * kt;
    let stem = 2.0 * 8.0 * h / config.stem_groups as f64 * config.stem_kernel as f64;
    let per_block = 3.0 * (cross_band + narrow_band) + 3.5 * attention;
    f * t * (config.layers as f64 * per_block + 3.0 * stem)
}

/// A trunk with its optimizer and clips of noise, on a device.
struct Work {
    config: EncoderConfig,
    trunk: Trunk,
    params: Params,
    optimizer: Optimizer,
    clips: Vec<Vec<f32>>,
    dtype: DType,
}

impl Work {
    fn new(config: &EncoderConfig, samples: usize, batch: usize, device: Device, dtype: DType) -> Work {
        let mut builder = Builder::new();
        let trunk = Trunk::new(&mut builder, "trunk.", config);
        let mut params = builder.finish(0).to(device);
        if dtype == DType::Bf16 {
            params.keep_narrow();
        }
        let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
        let optimizer = Optimizer::new(&params, adamw, 0.01, f64::INFINITY);
        let mut rng = Rng::new(0, "bench encoder-step", 0);
        let clips = (0..batch).map(|_| (0..4 * samples).map(|_| rng.normal() as f32).collect()).collect();
        Work { config: config.clone(), trunk, params, optimizer, clips, dtype }
    }

    /// Seconds of every step.
    fn steps(mut self, count: usize) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            let gradient = self.gradient()?;
            let norm = self.optimizer.step(&mut self.params, &gradient, 1e-3);
            self.params.device().synchronize()?;
            times.push(start.elapsed().as_secs_f64());
            if !norm.is_finite() {
                return Err(Error::new(Kind::Diverged, format!("the gradient's norm is {norm}")));
            }
        }
        Ok(times)
    }

    /// The gradient of mean(output^2) in the layout of the flat parameters, as training makes it: clip after clip on the
    /// host, all clips at once on a device.
    fn gradient(&self) -> Result<Tensor> {
        let device = self.params.device();
        let mut flat = Tensor::zeros_on(device, DType::F32, &[self.params.flat_len()]);
        let at_once = if device == Device::Host { 1 } else { self.clips.len() };
        for clips in self.clips.chunks(at_once) {
            let maps: Vec<Tensor> =
                clips.iter().map(|clip| features_on(device, &self.config, clip).map.to(device)).collect();
            let map = Tensor::stacked(&maps);
            let mut c = Forward::new(Tape::new(), &self.params);
            let map = elementwise::cast(&mut c.tape, &Var::constant(map), self.dtype);
            let y = self.trunk.forward(&mut c, map.tensor());
            let y = elementwise::cast(&mut c.tape, &y, DType::F32);
            let scale = 2.0 / (y.tensor().len() / clips.len() * self.clips.len()) as f32;
            let seed = elementwise::scale(&mut Tape::without_gradients(), &Var::constant(y.tensor().clone()), scale);
            c.gradients_from(&y, seed.tensor().clone(), &mut flat)?;
        }
        Ok(flat)
    }
}
