//! Every case of every op: gradients against central differences, the native path and the kernels against references.
//!
//! One trial per op and place. The kernels run in the emulator under three schedules that must agree bit for bit; the
//! last line says how many kernels there are and how many were launched, and a kernel that never was is a failure.

mod beyond_cases;
mod coverage;

use coverage::Coverage;
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeMap;
use std::sync::Arc;
use twnm::check::{Case, GRADCHECK_LIMIT, Place, gradcheck, parity, parity_at, parity_of_one_gradient};
use twnm::device::emu::{SCHEDULES, with_schedule};
use twnm::device::simd::Isa;
use twnm::device::{Device, cuda, host};
use twnm::kernels;
use twnm::tensor::DType;

fn main() {
    let arguments = Arguments::from_args();
    host::poison_fresh_blocks();
    let gpu = cuda::choose(None);
    let reason = gpu.as_ref().err().map(|e| e.message().to_string());
    let coverage = Arc::new(Coverage::new(reason.clone()));
    let mut trials = beyond_cases::trials(&coverage);
    for (op, cases) in by_op() {
        let cases = Arc::new(cases);
        let trial = |place: &str, run: fn(&[Case], &Coverage) -> Result<(), Failed>| {
            let (cases, coverage) = (cases.clone(), coverage.clone());
            Trial::test(format!("{op}: {place}"), move || run(&cases, &coverage))
        };
        trials.push(trial("gradients", gradients));
        trials.push(trial("host", on_host));
        trials.push(trial("instruction sets", on_every_instruction_set));
        trials.push(trial("one gradient alone", one_gradient_alone));
        if !beyond_cases::WITHOUT_KERNELS.contains(&op) {
            trials.push(trial("emu f32", |cases, coverage| on_emulator(cases, DType::F32, coverage)));
        }
        trials.push(
            trial("cuda f32", |cases, coverage| on_gpu(cases, DType::F32, coverage))
                .with_ignored_flag(reason.is_some()),
        );
        if cases.iter().any(|c| c.has_bf16) {
            trials.push(trial("emu bf16", |cases, coverage| on_emulator(cases, DType::Bf16, coverage)));
            let on_cuda = trial("cuda bf16", |cases, coverage| on_gpu(cases, DType::Bf16, coverage));
            trials.push(on_cuda.with_ignored_flag(reason.is_some()));
        }
    }
    let is_whole = arguments.filter.is_none() && !arguments.list && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if is_whole {
        let all_launched = coverage.print();
        if !all_launched {
            std::process::exit(101);
        }
    }
    conclusion.exit();
}

/// The cases by the name of their op's file.
fn by_op() -> BTreeMap<&'static str, Vec<Case>> {
    let mut all: BTreeMap<&'static str, Vec<Case>> = BTreeMap::new();
    for case in twnm::ops::cases() {
        all.entry(case.op).or_default().push(case);
    }
    all
}

fn all_hold(failures: Vec<String>) -> Result<(), Failed> {
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

fn gradients(cases: &[Case], _: &Coverage) -> Result<(), Failed> {
    let failure = |case: &Case| match gradcheck(case) {
        Ok((error, _)) if error <= GRADCHECK_LIMIT => None,
        Ok((error, input)) => Some(format!("{}: input {input} is off by {error:.1e}", case.label())),
        Err(message) => Some(message),
    };
    all_hold(cases.iter().filter(|c| !c.is_bench).filter_map(failure).collect())
}

fn parity_failures<'a>(cases: impl Iterator<Item = &'a Case>) -> Vec<String> {
    let failure = |case: &Case| match parity(case) {
        Ok(p) if p.error <= p.allowed => None,
        Ok(p) => Some(format!("{}: error {:.1e}, allowed {:.1e}", case.label(), p.error, p.allowed)),
        Err(message) => Some(message),
    };
    cases.filter_map(failure).collect()
}

fn on_host(cases: &[Case], _: &Coverage) -> Result<(), Failed> {
    all_hold(parity_failures(cases.iter().filter(|c| !c.is_for_gpus())))
}

fn on_every_instruction_set(cases: &[Case], _: &Coverage) -> Result<(), Failed> {
    let on = |isa: Isa| {
        let failures = isa.force(|| parity_failures(cases.iter().filter(|c| !c.is_bench)));
        failures.into_iter().map(move |f| format!("{isa:?}: {f}"))
    };
    assert!(!host::instruction_set().is_empty());
    all_hold(Isa::available().into_iter().flat_map(on).collect())
}

/// A gradient for one input, the others frozen: on the host for every case, in the emulator for the largest small one.
fn one_gradient_alone(cases: &[Case], _: &Coverage) -> Result<(), Failed> {
    let small: Vec<&Case> = cases.iter().filter(|c| !c.is_bench).collect();
    let has_kernels = small.first().is_some_and(|case| !beyond_cases::WITHOUT_KERNELS.contains(&case.op));
    let on_host = small.iter().map(|&case| (case, Place::HOST));
    let on_emulator =
        small.last().filter(|_| has_kernels).map(|&case| (case, Place { device: Device::Emu, dtype: DType::F32 }));
    let mut failures = Vec::new();
    for (case, place) in on_host.chain(on_emulator) {
        let tracked: Vec<usize> = (0..case.inputs.len()).filter(|&i| case.inputs[i].differentiable).collect();
        for &input in tracked.iter().filter(|_| tracked.len() > 1) {
            match parity_of_one_gradient(case, place, input) {
                Ok(p) if p.error <= p.allowed => {}
                Ok(p) => failures.push(format!(
                    "{} {:?}, input {input} alone: error {:.1e}, allowed {:.1e}",
                    case.label(),
                    place.device,
                    p.error,
                    p.allowed
                )),
                Err(message) => failures.push(message),
            }
        }
    }
    all_hold(failures)
}

/// Every case, those that are sized for speed too, on the first GPU; twice, to the same bits.
fn on_gpu(cases: &[Case], dtype: DType, coverage: &Coverage) -> Result<(), Failed> {
    let Device::Cuda(ordinal) = Device::parse("cuda").map_err(|e| e.to_string())? else { unreachable!("cuda is cuda") };
    let place = Place { device: Device::Cuda(ordinal), dtype };
    let mut failures = Vec::new();
    for case in cases.iter().filter(|c| dtype == DType::F32 || c.has_bf16) {
        coverage.add_on_gpu();
        match [parity_at(case, place), parity_at(case, place)] {
            [Ok(p), Ok(again)] if p.error <= p.allowed && p.computed == again.computed => {}
            [Ok(p), Ok(_)] => failures.push(format!(
                "{} {dtype:?}: error {:.1e}, allowed {:.1e}, or other bits the second time",
                case.label(),
                p.error,
                p.allowed
            )),
            [Err(message), _] | [_, Err(message)] => failures.push(message),
        }
    }
    all_hold(failures)
}

/// Every case that is not sized for speed, under every schedule: bit-equal results, within the derived tolerance.
fn on_emulator(cases: &[Case], dtype: DType, coverage: &Coverage) -> Result<(), Failed> {
    let place = Place { device: Device::Emu, dtype };
    let mut failures = Vec::new();
    for case in cases.iter().filter(|c| !c.is_bench && (dtype == DType::F32 || c.has_bf16)) {
        let run = || SCHEDULES.map(|schedule| with_schedule(schedule, || parity_at(case, place)));
        let (results, launched) = kernels::watched(run);
        coverage.add(&launched);
        let mut first = None;
        for (schedule, result) in SCHEDULES.iter().zip(results) {
            let label = format!("{} {dtype:?} {schedule:?}", case.label());
            match result {
                Err(message) => failures.push(format!("{schedule:?}: {message}")),
                Ok(p) if p.error.is_nan() || p.error > p.allowed => {
                    failures.push(format!("{label}: error {:.1e}, allowed {:.1e}", p.error, p.allowed));
                }
                Ok(p) if first.get_or_insert_with(|| p.computed.clone()) != &p.computed => {
                    failures.push(format!("{label}: other bits than under the first schedule"));
                }
                Ok(_) => {}
            }
        }
    }
    all_hold(failures)
}
