//! `twnm bench kernels`: the bench cases of all ops where they run, timed beside their error against f64.

use super::op_checks::{dtype_name, dtypes};
use super::optimizer_work::OptimizerWork;
use super::shared::caught;
use super::shared::say;
use super::stopwatch::Stopwatch;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;
use twnm::check::{Case, Place, Prepared, parity_at};
use twnm::device::{Device, cuda, peaks::Peaks};
use twnm::error::{Error, Kind, Result};
use twnm::kernels;
use twnm::tensor::DType;

/// Parameters of the optimizer's work: the adapters and projectors of the language model.
const PARAMETERS: usize = 57_200_000;

/// Time every op at real sizes, forward and with gradients, and compare it with its f64 reference
///
/// On a GPU by its own clock: passes over three sets of inputs are recorded as a graph and replayed, median of 50
/// replays. Exit code 70 when a result lies outside of what is allowed.
#[derive(clap::Args)]
pub struct Args {
    /// cuda[:N], host, or emu (small cases, to try the command: its times mean nothing)
    #[arg(long, default_value = "cuda")]
    device: String,
    /// Only cases with this in their name
    #[arg(long, default_value = "")]
    filter: String,
    /// Begin no case after this many seconds; the rest is named as skipped
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// One timed pass: median seconds.
struct Pass {
    name: &'static str,
    seconds: f64,
    flops: f64,
    bytes: f64,
}

/// One case in one precision.
struct Row {
    op: String,
    case: String,
    dtype: DType,
    passes: Vec<Pass>,
    error: f64,
    allowed: f64,
    hash: String,
    kernels: Vec<&'static str>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let device = Device::parse(&args.device)?;
    let stopwatch = Stopwatch::new(device)?;
    let peaks = match device {
        Device::Cuda(ordinal) => Peaks::of(&cuda::open(ordinal)?.info().name),
        Device::Host | Device::Emu => None,
    };
    if !args.json {
        print_head(device, peaks)?;
    }
    let start = Instant::now();
    let (mut rows, mut failures, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for work in works(device, &args.filter) {
        let label = work.label();
        if args.seconds.is_some_and(|limit| start.elapsed().as_secs_f64() > limit) {
            skipped.push(label);
            continue;
        }
        match caught(|| work.measure(device, &stopwatch)) {
            Ok(row) => {
                if row.error.is_nan() || row.error > row.allowed {
                    failures.push(format!("{label}: error {:.1e}, allowed {:.1e}", row.error, row.allowed));
                }
                if !args.json {
                    row.print(peaks)?;
                }
                rows.push(row);
            }
            Err(error) => failures.push(format!("{label}: {error}")),
        }
    }
    if rows.is_empty() && failures.is_empty() && skipped.is_empty() {
        return Err(Error::usage(format!("--filter {}: no case has this in its name", args.filter)));
    }
    if args.json {
        let report = json!({
            "device": device.describe(),
            "peaks": peaks.map(|p| json!({"f32_flops": p.f32_flops, "bf16_flops": p.bf16_flops, "bytes": p.bytes})),
            "clock": stopwatch.describe(),
            "rows": rows.iter().map(|row| row.to_json(peaks)).collect::<Vec<Value>>(),
            "failures": failures,
            "skipped": skipped,
            "ok": failures.is_empty(),
        });
        say(report)?;
    } else {
        for label in &skipped {
            say(format_args!("{label}: no time left"))?;
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Internal, format!("kernels that failed: {}", failures.join("; ")))
        .hint("run twnm doctor --ops on the same device and report its output"))
}

/// What is measured on a device.
enum Work {
    Op(Box<Case>, DType),
    Optimizer { parameters: usize, has_copy: bool },
}

fn works(device: Device, filter: &str) -> Vec<Work> {
    let fits = |case: &Case| match device {
        Device::Host => case.is_bench && !case.is_for_gpus(),
        Device::Emu => !case.is_bench,
        Device::Cuda(_) => case.is_bench,
    };
    let mut all: Vec<Work> = Vec::new();
    for dtype in dtypes(device) {
        let cases = twnm::ops::cases().into_iter().filter(|case| fits(case) && (*dtype == DType::F32 || case.has_bf16));
        all.extend(cases.map(|case| Work::Op(Box::new(case), *dtype)));
    }
    let parameters = if device == Device::Emu { 5000 } else { PARAMETERS };
    all.push(Work::Optimizer { parameters, has_copy: false });
    if device != Device::Host {
        all.push(Work::Optimizer { parameters, has_copy: true });
    }
    all.retain(|work| work.label().contains(filter));
    // A case without gradients that is also there with them has something to add in bf16 only.
    let mut seen = BTreeSet::new();
    all.retain(|work| seen.insert(work.label()));
    all
}

impl Work {
    fn label(&self) -> String {
        match self {
            Work::Op(case, dtype) => format!("{} {}", case.label(), dtype_name(*dtype)),
            Work::Optimizer { parameters, has_copy } => {
                format!("adamw [{parameters}, clipped] {}", if *has_copy { "f32 and bf16" } else { "f32" })
            }
        }
    }

    fn measure(&self, device: Device, stopwatch: &Stopwatch) -> Result<Row> {
        match self {
            Work::Op(case, dtype) => measure_case(case, Place { device, dtype: *dtype }, stopwatch),
            Work::Optimizer { parameters, has_copy } => measure_optimizer(device, *parameters, *has_copy, stopwatch),
        }
    }
}

fn measure_case(case: &Case, place: Place, stopwatch: &Stopwatch) -> Result<Row> {
    let (parity, launched) = kernels::watched(|| parity_at(case, place));
    let parity = parity.map_err(|message| Error::new(Kind::Internal, message))?;
    let sets = [0, 1, 2].map(|set| case.prepare(place, set));
    let [ahead, all] = sets[0].bytes();
    let mut passes = vec![Pass {
        name: "forward",
        seconds: stopwatch.median(|set: usize| drop(Prepared::forward(&sets[set])))?,
        flops: case.flops,
        bytes: ahead,
    }];
    if case.is_differentiable() {
        passes.push(Pass {
            name: "forward and backward",
            seconds: stopwatch.median(|set: usize| drop(Prepared::forward_backward(&sets[set])))?,
            flops: case.flops_with_backward(),
            bytes: all,
        });
    }
    Ok(Row {
        op: case.op.into(),
        case: case.name.clone(),
        dtype: place.dtype,
        passes,
        error: parity.error,
        allowed: parity.allowed,
        hash: parity.hash(),
        kernels: launched.into_iter().collect(),
    })
}

fn measure_optimizer(device: Device, parameters: usize, has_copy: bool, stopwatch: &Stopwatch) -> Result<Row> {
    let mut work = OptimizerWork::new(device, parameters, has_copy);
    let (checked, launched) = kernels::watched(|| work.check());
    let [error, allowed] = checked?;
    let (hash, bytes) = (work.hash(), work.bytes());
    let work = std::cell::RefCell::new(work);
    let seconds = stopwatch.median(|_: usize| work.borrow_mut().step())?;
    let copy = if has_copy { ", with a bf16 copy" } else { "" };
    Ok(Row {
        op: "adamw".into(),
        case: format!("{parameters}, clipped{copy}"),
        dtype: DType::F32,
        passes: vec![Pass { name: "step", seconds, flops: 17.0 * parameters as f64, bytes }],
        error,
        allowed,
        hash,
        kernels: launched.into_iter().collect(),
    })
}

impl Pass {
    /// How much of the device's roofline the pass reaches: the least time there is over its time.
    fn peak_share(&self, dtype: DType, peaks: Option<Peaks>) -> Option<f64> {
        peaks.map(|peaks| peaks.seconds(self.flops, dtype == DType::Bf16, self.bytes) / self.seconds)
    }
}

impl Row {
    fn to_json(&self, peaks: Option<Peaks>) -> Value {
        let pass = |pass: &Pass| {
            json!({
                "pass": pass.name,
                "us": pass.seconds * 1e6,
                "gb_per_s": pass.bytes / pass.seconds / 1e9,
                "tflop_per_s": pass.flops / pass.seconds / 1e12,
                "peak_share": pass.peak_share(self.dtype, peaks),
            })
        };
        json!({
            "op": self.op, "case": self.case, "dtype": dtype_name(self.dtype),
            "passes": self.passes.iter().map(pass).collect::<Vec<Value>>(),
            "error": self.error, "allowed": self.allowed, "hash": self.hash, "kernels": self.kernels,
        })
    }

    fn print(&self, peaks: Option<Peaks>) -> Result<()> {
        let dtype = dtype_name(self.dtype);
        let mark = if self.error <= self.allowed { "" } else { "  FAIL" };
        for pass in &self.passes {
            let share = pass.peak_share(self.dtype, peaks).map_or("".into(), |share| format!("{:.0}%", 100.0 * share));
            say(format_args!(
                "{:<66} {dtype:<5} {:<21} {:>10.1} {:>8.1} {:>8.2} {share:>5}  {:.1e} of {:.1e}  {}{mark}",
                format!("{} [{}]", self.op, self.case),
                pass.name,
                pass.seconds * 1e6,
                pass.bytes / pass.seconds / 1e9,
                pass.flops / pass.seconds / 1e12,
                self.error,
                self.allowed,
                self.hash
            ))?;
        }
        Ok(())
    }
}

fn print_head(device: Device, peaks: Option<Peaks>) -> Result<()> {
    say(device.describe())?;
    match peaks {
        Some(p) => say(format_args!(
            "peaks: {:.1} TFLOP/s f32, {:.1} bf16, {:.0} GB/s",
            p.f32_flops / 1e12,
            p.bf16_flops / 1e12,
            p.bytes / 1e9
        ))?,
        None => say("peaks: unknown")?,
    }
    let (case, dtype, pass) = ("case", "type", "pass");
    say(format_args!(
        "{case:<66} {dtype:<5} {pass:<21} {:>10} {:>8} {:>8} {:>5}  error and what is allowed, hash",
        "us", "GB/s", "TFLOP/s", "peak"
    ))
}
