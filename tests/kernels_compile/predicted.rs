//! How long every kernel must take at least, from the bytes and operations of the largest bench case that launches it.
//!
//! Nothing is computed for it: launches are written down instead of done ([`planned`]). Cases with many copies are looked
//! at with few, twice, and what they move is continued from there on a line.

use std::collections::{BTreeMap, BTreeSet};
use twnm::check::{Case, Place};
use twnm::device::{Device, peaks::Peaks};
use twnm::kernels::{Planned, planned};
use twnm::ops::adamw::{AdamW, Flat};
use twnm::tensor::{DType, Tensor};

/// Copies that cases are looked at with: enough rows for the kernels of large sizes.
const FEW: [usize; 2] = [16, 32];
/// Parameters of the optimizer's bench, and of the look at it.
const PARAMETERS: [usize; 2] = [57_200_000, 572_000];
/// Parts of names of kernels that prepare numbers or add partial sums up: they have a case's bytes, not its operations.
const HELPERS: [&str; 9] =
    ["reduce", "delta", "pack", "narrow", "transpose", "elementwise_", "_sums", "norm_", "partials"];

/// What one launch of a kernel works on.
pub struct Work {
    /// The case, and how its activations are stored.
    pub case: String,
    /// Operations.
    pub flops: f64,
    /// Bytes of its tensors.
    pub bytes: f64,
}

/// Microseconds on an RTX 5090 and an H200 that the work takes at least.
pub fn microseconds(work: &Work, uses_tensor_cores: bool) -> [f64; 2] {
    let peaks = ["RTX 5090", "H200"].map(|name| Peaks::of(name).expect("both are listed"));
    peaks.map(|peaks| 1e6 * peaks.seconds(work.flops, uses_tensor_cores, work.bytes))
}

/// The work of every kernel that a bench case launches; `tensor` names those that use tensor cores.
pub fn works(tensor: &BTreeSet<String>) -> BTreeMap<&'static str, Work> {
    let mut all = optimizer();
    for dtype in [DType::F32, DType::Bf16] {
        let cases = twnm::ops::cases().into_iter().filter(|c| c.is_bench && (dtype == DType::F32 || c.has_bf16));
        for case in cases {
            let name = if dtype == DType::F32 { "f32" } else { "bf16" };
            let label = format!("{} {name}", case.label());
            let (flops, backward) = (case.flops, case.flops_with_backward() - case.flops);
            let [forward, whole] = launches(case, Place { device: Device::Emu, dtype });
            let after = whole[forward.len().min(whole.len())..].to_vec();
            note(&mut all, &label, &forward, flops, tensor);
            note(&mut all, &label, &after, backward, tensor);
        }
    }
    all
}

/// Keeps for every kernel its launch with the most bytes. The operations of a pass go to its launches in equal parts:
/// to those in tensor cores if there are any, and never to helpers.
fn note(
    all: &mut BTreeMap<&'static str, Work>,
    label: &str,
    launches: &[Planned],
    flops: f64,
    tensor: &BTreeSet<String>,
) {
    let is_main = |launch: &&Planned| !HELPERS.iter().any(|part| launch.name.contains(part));
    let in_tensor_cores = launches.iter().filter(|launch| tensor.contains(launch.name)).count();
    let main = launches.iter().filter(is_main).count();
    for launch in launches {
        let (has_part, parts) = match in_tensor_cores {
            0 => (is_main(&launch), main),
            parts => (tensor.contains(launch.name), parts),
        };
        let flops = if has_part { flops / parts as f64 } else { 0.0 };
        let work = Work { case: label.into(), flops, bytes: launch.bytes as f64 };
        if all.get(launch.name).is_none_or(|other| other.bytes < work.bytes) {
            all.insert(launch.name, work);
        }
    }
}

/// What a forward pass, and one with gradients, launches with all copies.
fn launches(mut case: Case, place: Place) -> [Vec<Planned>; 2] {
    let copies = case.copies;
    let mut with = |few: usize| {
        case.copies = few;
        let mut prepared = None;
        let forward = planned(|| prepared = Some(case.prepare(place, 0)));
        let prepared = prepared.expect("made above");
        let whole =
            if case.is_differentiable() { planned(|| drop(prepared.forward_backward())) } else { forward.clone() };
        [forward, whole]
    };
    if copies <= FEW[1] {
        return with(copies);
    }
    let [low, high] = FEW.map(&mut with);
    [0, 1].map(|pass| {
        let names = |list: &[Planned]| list.iter().map(|launch| launch.name).collect::<Vec<_>>();
        assert_eq!(names(&low[pass]), names(&high[pass]), "more copies launch the same kernels");
        let line = |(low, high): (&Planned, &Planned)| {
            let step = (high.bytes - low.bytes) / (FEW[1] - FEW[0]) as u64;
            Planned { name: high.name, bytes: high.bytes + step * (copies - FEW[1]) as u64 }
        };
        low[pass].iter().zip(&high[pass]).map(line).collect()
    })
}

/// The optimizer's kernels, which no case launches.
fn optimizer() -> BTreeMap<&'static str, Work> {
    let [all, few] = PARAMETERS;
    let zeros = |dtype| Tensor::zeros_on(Device::Emu, dtype, &[few]);
    let step = |mut narrow: Option<Tensor>| {
        let [mut p, g, mut m, mut v, decays] = [(); 5].map(|()| zeros(DType::F32));
        let (p, m, v, g, decays) = (&mut p, &mut m, &mut v, &g, &decays);
        let flat = Flat { p, g, m, v, decays, narrow: narrow.as_mut() };
        planned(|| drop(AdamW::default().update_flat(flat, 1, 1e-3, 0.01, 1.0)))
    };
    let mut works = BTreeMap::new();
    for launch in [step(None), step(Some(zeros(DType::Bf16)))].concat() {
        let flops = if launch.name.contains("update") { 14.0 } else { 2.0 } * all as f64;
        let is_whole = !launch.name.contains("finish");
        let (flops, bytes) =
            if is_whole { (flops, launch.bytes as f64 * (all / few) as f64) } else { (0.0, launch.bytes as f64) };
        works.insert(launch.name, Work { case: format!("adamw [{all}, clipped] f32"), flops, bytes });
    }
    works
}
