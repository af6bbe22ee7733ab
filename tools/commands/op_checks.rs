//! The checks of `twnm doctor --ops`: every case of every op where it runs, op by op.

use super::optimizer_work::OptimizerWork;
use super::shared::{caught, say};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use twnm::check::{Case, GRADCHECK_LIMIT, Place, gradcheck, parity_at};
use twnm::device::Device;
use twnm::error::{Error, Kind, Result};
use twnm::kernels;
use twnm::tensor::DType;

/// Parameters of the optimizer's check: more than one slice of its sums, and an odd rest.
const PARAMETERS: usize = 1_500_007;

/// The types that activations are stored in on a device.
pub fn dtypes(device: Device) -> &'static [DType] {
    if device == Device::Host { &[DType::F32] } else { &[DType::F32, DType::Bf16] }
}

/// `f32` or `bf16`, in which activations are stored.
pub fn dtype_name(dtype: DType) -> &'static str {
    if dtype == DType::Bf16 { "bf16" } else { "f32" }
}

/// The worst case of one op in one precision.
pub struct OpReport {
    /// The op.
    pub op: &'static str,
    dtype: DType,
    cases: usize,
    /// Of the references; on the host only.
    gradcheck_error: Option<f64>,
    parity_error: f64,
    parity_allowed: f64,
    /// What was launched, with the number of cases that did.
    pub kernels: BTreeMap<&'static str, usize>,
    failures: Vec<String>,
}

/// What one case computed.
struct Outcome {
    gradcheck_error: Option<f64>,
    error: f64,
    allowed: f64,
}

/// A result, and the kernels that were launched for it, also when it is an error.
type Watched = (Result<Outcome>, BTreeSet<&'static str>);

impl OpReport {
    fn new(op: &'static str, dtype: DType) -> OpReport {
        let (gradcheck_error, kernels, failures) = (None, BTreeMap::new(), Vec::new());
        OpReport { op, dtype, cases: 0, gradcheck_error, parity_error: 0.0, parity_allowed: 0.0, kernels, failures }
    }

    /// Whether every case passed.
    pub fn is_ok(&self) -> bool {
        self.failures.is_empty()
    }

    fn add(&mut self, label: &str, (outcome, launched): Watched) {
        self.cases += 1;
        launched.into_iter().for_each(|kernel| *self.kernels.entry(kernel).or_default() += 1);
        let Outcome { gradcheck_error, error, allowed } = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.failures.push(format!("{label}: {error}")),
        };
        if self.parity_allowed == 0.0 || error * self.parity_allowed > self.parity_error * allowed {
            (self.parity_error, self.parity_allowed) = (error, allowed);
        }
        if let Some(error) = gradcheck_error {
            let worst = self.gradcheck_error.get_or_insert(0.0);
            *worst = worst.max(error);
            if error > GRADCHECK_LIMIT {
                self.failures.push(format!("{label}: gradient off by {error:.1e}"));
            }
        }
        if error.is_nan() || error > allowed {
            self.failures.push(format!("{label}: off by {error:.1e}, allowed {allowed:.1e}"));
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "op": self.op,
            "dtype": dtype_name(self.dtype),
            "cases": self.cases,
            "gradcheck_error": self.gradcheck_error,
            "gradcheck_limit": GRADCHECK_LIMIT,
            "parity_error": self.parity_error,
            "parity_allowed": self.parity_allowed,
            "kernels": self.kernels,
            "ok": self.is_ok(),
            "failures": self.failures,
        })
    }
}

/// Both checks of one case; cases sized for speed are too large for finite differences, and these look at references,
/// which are the same on every device.
fn check_case(case: &Case, place: Place) -> Watched {
    let of_case = |message: String| Error::new(Kind::Internal, message);
    let run = || -> Result<Outcome> {
        let has_gradcheck = place.device == Device::Host && !case.is_bench;
        let gradcheck_error = has_gradcheck.then(|| gradcheck(case)).transpose().map_err(of_case)?.map(|(e, _)| e);
        let parity = parity_at(case, place).map_err(of_case)?;
        Ok(Outcome { gradcheck_error, error: parity.error, allowed: parity.allowed })
    };
    kernels::watched(|| caught(run))
}

fn check_optimizer(device: Device, parameters: usize, has_copy: bool) -> Watched {
    let run = || {
        let [error, allowed] = OptimizerWork::new(device, parameters, has_copy).check()?;
        Ok(Outcome { gradcheck_error: None, error, allowed })
    };
    kernels::watched(|| caught(run))
}

/// Whether a case is run on a device: what only a GPU does in passing is left to GPUs, all real sizes are too much for
/// the emulator.
fn fits(case: &Case, device: Device) -> bool {
    match device {
        Device::Cuda(_) => true,
        Device::Host => !case.is_for_gpus(),
        Device::Emu => !case.is_bench,
    }
}

/// Every case of every op with `filter` in its name, in every precision that it has on the device; only the small
/// ones if wanted.
pub fn check_ops(device: Device, filter: &str, is_small: bool) -> Vec<OpReport> {
    let mut ops: BTreeMap<(&'static str, &'static str), OpReport> = BTreeMap::new();
    let mut add = |op: &'static str, dtype: DType, label: &str, outcome: Watched| {
        let report = ops.entry((op, dtype_name(dtype))).or_insert_with(|| OpReport::new(op, dtype));
        report.add(label, outcome);
    };
    for &dtype in dtypes(device) {
        let place = Place { device, dtype };
        let cases = twnm::ops::cases().into_iter().filter(|c| fits(c, device) && c.op.contains(filter));
        let cases = cases.filter(|case| !(is_small && case.is_bench));
        let cases = cases.filter(|case| dtype == DType::F32 || case.has_bf16);
        // References use the processor and are checked side by side; the largest cases fill a GPU's memory alone.
        let (large, small): (Vec<Case>, Vec<Case>) = cases.partition(Case::is_for_gpus);
        let outcomes: Vec<Watched> = small.par_iter().map(|case| check_case(case, place)).collect();
        small.iter().zip(outcomes).for_each(|(case, outcome)| add(case.op, dtype, &case.label(), outcome));
        large.iter().for_each(|case| add(case.op, dtype, &case.label(), check_case(case, place)));
        if "adamw".contains(filter) {
            let has_copy = dtype == DType::Bf16;
            let parameters = if is_small || device == Device::Emu { 5003 } else { PARAMETERS };
            add("adamw", dtype, "adamw", check_optimizer(device, parameters, has_copy));
        }
    }
    ops.into_values().collect()
}

/// The table of `twnm doctor --ops`.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_ops(device: Device, ops: &[OpReport]) -> Result<()> {
    say(format_args!("\nops on {}", device.describe()))?;
    say(format_args!(
        "{:<20} {:<5} {:>5}  {:>9}  {:>9} {:>9}",
        "op", "type", "cases", "gradcheck", "parity", "allowed"
    ))?;
    for op in ops {
        let gradcheck = op.gradcheck_error.map_or("".into(), |error| format!("{error:.1e}"));
        let (name, dtype, parity, allowed) = (op.op, dtype_name(op.dtype), op.parity_error, op.parity_allowed);
        let mark = if op.is_ok() { "" } else { "  FAIL" };
        say(format_args!(
            "{name:<20} {dtype:<5} {:>5}  {gradcheck:>9}  {parity:>9.1e} {allowed:>9.1e}{mark}",
            op.cases
        ))?;
        for failure in &op.failures {
            say(format_args!("    {failure}"))?;
        }
    }
    let cases: usize = ops.iter().map(|op| op.cases).sum();
    let passed = ops.iter().filter(|op| op.is_ok()).count();
    say(format_args!(
        "{passed} of {} ops pass, {cases} cases; gradients against central differences: limit 1e-6",
        ops.len()
    ))
}
