//! AdamW with clipping by the global norm and the cosine schedule, over the whole run that the file records.

use super::{Names, require};
use crate::error::Result;
use crate::ops::adamw::{AdamW, Slice, clip_factor, global_norm};
use crate::tensor::Tensor;
use crate::verify::compare::Checker;

/// Weight decay of matrices; vectors (norms, biases) have none.
const DECAY: f64 = 0.1;
/// Largest global norm of the gradients.
const CLIP: f64 = 1.0;

/// `lrs`, parameter `w<n>.<step>`, or gradient before clipping `g<n>.<step>`.
pub(super) fn is_adamw_tensor(name: &str) -> bool {
    name == "lrs" || numbered(name, 'w').is_some() || numbered(name, 'g').is_some()
}

/// The two numbers of `w1.20`.
fn numbered(name: &str, letter: char) -> Option<(usize, usize)> {
    let (parameter, step) = name.strip_prefix(letter)?.split_once('.')?;
    Some((parameter.parse().ok()?, step.parse().ok()?))
}

struct Parameter {
    number: usize,
    value: Tensor,
    first: Vec<f32>,
    second: Vec<f32>,
}

/// Base rate and warm-up follow from `lrs`, whose largest entry is the base rate, reached when the warm-up ends.
pub(super) fn adamw(check: &mut Checker, names: &Names) -> Result<()> {
    let (given, [steps]) = check.input_of::<1>(&names.of("lrs"))?;
    require(given.data().iter().all(|r| r.is_finite()), || "lrs holds a number that is not finite".into())?;
    let peak = (0..steps).fold(0, |best, i| if given.data()[i] > given.data()[best] { i } else { best });
    let base = given.data()[peak] as f64;
    let rates: Vec<f64> = (0..steps).map(|i| cosine(i, base, peak, steps)).collect();
    let stored: Vec<f32> = rates.iter().map(|&r| r as f32).collect();
    check.value(&names.of("lrs"), &Tensor::from_slice(&[steps], &stored));
    let mut parameters = Vec::new();
    while check.has(&names.of(&format!("w{}.0", parameters.len() + 1))) {
        let number = parameters.len() + 1;
        let value = check.input(&names.of(&format!("w{number}.0")))?;
        let zeros = vec![0.0; value.len()];
        parameters.push(Parameter { number, value, first: zeros.clone(), second: zeros });
    }
    for (step, &rate) in rates.iter().enumerate() {
        update(check, names, &mut parameters, step, rate)?;
    }
    Ok(())
}

/// Linear warm-up from 0, then half a cosine down to 0 at `steps`.
fn cosine(step: usize, base: f64, warm_up: usize, steps: usize) -> f64 {
    if step < warm_up {
        return base * step as f64 / warm_up as f64;
    }
    let progress = (step - warm_up) as f64 / (steps - warm_up).max(1) as f64;
    base * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

fn update(check: &mut Checker, names: &Names, all: &mut [Parameter], step: usize, rate: f64) -> Result<()> {
    let mut gradients = Vec::new();
    for p in all.iter() {
        gradients.push(check.input_shaped(&names.of(&format!("g{}.{step}", p.number)), p.value.shape())?);
    }
    let joined: Vec<f32> = gradients.iter().flat_map(|g| g.data().to_vec()).collect();
    let factor = clip_factor(global_norm(&joined), CLIP);
    let rule = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8 };
    for (p, g) in all.iter_mut().zip(&gradients) {
        let decay = if p.value.shape().len() > 1 { DECAY } else { 0.0 };
        let slice = Slice { p: p.value.data_mut(), g: g.data(), m: &mut p.first, v: &mut p.second };
        rule.update(slice, step as u64 + 1, rate, decay, factor);
        check.value(&names.of(&format!("w{}.{}", p.number, step + 1)), &p.value);
    }
    Ok(())
}
