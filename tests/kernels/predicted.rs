//! How long every kernel must take at least, from what the largest bench case that launches it moves and computes.
//!
//! Nothing is computed for it: launches of full size are written down instead of done ([`planned`]).

use std::collections::{BTreeMap, BTreeSet};
use twnm::check::{Case, Place};
use twnm::device::{Device, peaks::Peaks};
use twnm::kernels::{Planned, planned};
use twnm::ops::adamw::{AdamW, Flat};
use twnm::tensor::{DType, Tensor};

/// Parameters of the optimizer's bench.
const PARAMETERS: usize = 57_200_000;
/// Parts of names of kernels that prepare numbers or add partial sums up: they have a case's bytes, not its operations.
const HELPERS: [&str; 9] =
    ["reduce", "delta", "pack", "narrow", "transpose", "elementwise_", "_sums", "norm_", "partials"];
/// The GPUs of the prediction and their multiprocessors, each with 128 lanes for f32.
const GPUS: [(&str, f64); 2] = [("RTX 5090", 170.0), ("H200", 132.0)];
/// Exponentials of a multiprocessor per clock.
const EXPONENTIALS: f64 = 16.0;
/// Bytes that a multiprocessor gets from the cache behind it per clock.
const BYTES: f64 = 64.0;

/// What one launch of a kernel works on.
pub struct Work {
    /// The case, and how its activations are stored.
    pub case: String,
    /// Operations.
    pub flops: f64,
    /// Exponentials, where they are as many as to matter.
    pub exponentials: f64,
    /// Bytes of its tensors.
    pub bytes: f64,
    /// Blocks of the launch.
    pub blocks: f64,
}

/// Microseconds on an RTX 5090 and an H200 that the work takes at least. Blocks do not move between multiprocessors: one
/// of them has the largest whole number of blocks, and what there are fewer of than multiprocessors leaves some idle.
pub fn microseconds(work: &Work, uses_tensor_cores: bool) -> [f64; 2] {
    GPUS.map(|(name, multiprocessors)| {
        let peaks = Peaks::of(name).expect("both are listed");
        let clock = peaks.f32_flops / (multiprocessors * 128.0 * 2.0);
        // Of the time of the busiest multiprocessor, the share that the mean one works.
        let share = work.blocks / ((work.blocks / multiprocessors).ceil() * multiprocessors);
        let computing = peaks.seconds(work.flops, uses_tensor_cores, 0.0) / share;
        let exponentials = work.exponentials / (EXPONENTIALS * clock * multiprocessors) / share;
        let arriving = work.bytes / (BYTES * clock * work.blocks.min(multiprocessors));
        let moving = peaks.seconds(0.0, false, work.bytes);
        1e6 * computing.max(exponentials).max(arriving).max(moving)
    })
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
            let [forward, whole] = launches(&case, Place { device: Device::Emu, dtype });
            let after = whole[forward.len().min(whole.len())..].to_vec();
            note(&mut all, &label, &forward, [flops, flops], tensor);
            note(&mut all, &label, &after, [backward, flops], tensor);
        }
    }
    all
}

/// Exponentials of an attention kernel: each forms all probabilities, of which the forward pass computes each with 4 D
/// operations.
fn exponentials(kernel: &str, label: &str, forward_flops: f64) -> f64 {
    let forms_them =
        ["attention_fwd", "attention_bwd_dq", "attention_bwd_dkv"].iter().any(|part| kernel.contains(part));
    let width = label.split(" D ").nth(1).and_then(|rest| rest.split([',', ']']).next()?.parse::<f64>().ok());
    if forms_them { forward_flops / (4.0 * width.expect("cases of attention say their D")) } else { 0.0 }
}

/// Keeps for every kernel its launch with the most bytes. The operations of a pass (beside them those of the forward
/// pass) go to its launches in equal parts: to those in tensor cores if there are any, and never to helpers.
fn note(
    all: &mut BTreeMap<&'static str, Work>,
    label: &str,
    launches: &[Planned],
    [flops, forward_flops]: [f64; 2],
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
        let exponentials = exponentials(launch.name, label, forward_flops);
        let (bytes, blocks) = (launch.bytes as f64, launch.blocks as f64);
        let work = Work { case: label.into(), flops, exponentials, bytes, blocks };
        if all.get(launch.name).is_none_or(|other| other.bytes < work.bytes) {
            all.insert(launch.name, work);
        }
    }
}

/// What a forward pass, and one with gradients, launches with all copies.
fn launches(case: &Case, place: Place) -> [Vec<Planned>; 2] {
    let mut whole = Vec::new();
    let forward = planned(|| {
        let prepared = case.prepare_unfilled(place);
        whole = planned(|| drop(prepared.forward_backward()));
    });
    if case.is_differentiable() { [forward, whole] } else { [forward.clone(), forward] }
}

/// The optimizer's kernels, which no case launches.
fn optimizer() -> BTreeMap<&'static str, Work> {
    let step = |has_narrow: bool| {
        planned(|| {
            let new = |dtype| Tensor::uninit_on(Device::Emu, dtype, &[PARAMETERS]);
            let [mut p, g, mut m, mut v, decays] = [(); 5].map(|()| new(DType::F32));
            let mut narrow = has_narrow.then(|| new(DType::Bf16));
            let (p, m, v, g, decays) = (&mut p, &mut m, &mut v, &g, &decays);
            let flat = Flat { p, g, m, v, decays, narrow: narrow.as_mut() };
            drop(AdamW::default().update_flat(flat, 1, 1e-3, 0.01, 1.0));
        })
    };
    let mut works = BTreeMap::new();
    for launch in [step(false), step(true)].concat() {
        let per_parameter = if launch.name.contains("update") { 14.0 } else { 2.0 };
        let flops = if launch.name.contains("finish") { 0.0 } else { per_parameter * PARAMETERS as f64 };
        let (bytes, blocks) = (launch.bytes as f64, launch.blocks as f64);
        let case = format!("adamw [{PARAMETERS}, clipped] f32");
        works.insert(launch.name, Work { case, flops, exponentials: 0.0, bytes, blocks });
    }
    works
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcest_resource_decides() {
        let work =
            |flops, exponentials, bytes, blocks| Work { case: String::new(), flops, exponentials, bytes, blocks };
        let h200 = |work: &Work| microseconds(work, true)[1];
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-2, "{a}, {b}");
        close(h200(&work(989e6, 0.0, 4.8e6, 1320.0)), 1.0);
        close(h200(&work(989e6, 0.0, 9.6e6, 1320.0)), 2.0);
        // 1.98 GHz times 132 times 16.
        close(h200(&work(989e6, 4.187e7, 4.8e6, 1320.0)), 10.0);
        // 133 blocks: one multiprocessor has two. One block gets its bytes alone.
        close(h200(&work(989e6, 0.0, 0.0, 133.0)), 264.0 / 133.0);
        close(h200(&work(0.0, 0.0, 4.8e6, 1.0)), 4.8e6 / (64.0 * 1983.0));
        assert_eq!(exponentials("attention_fwd_d24_bf16", "attention [B 1, D 24, 2 copies]", 960.0), 10.0);
        assert_eq!(exponentials("linear", "attention [B 1, D 24]", 960.0), 0.0);
    }
}
