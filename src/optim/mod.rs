//! The optimizer of all stages: AdamW over the flat buffer of a model, with warm-up and cosine.

use crate::nn::Params;
use crate::ops::adamw::{AdamW, Slice, clip_factor, global_norm};

/// lr(step) = peak step / warm for step < warm, else peak (1 + cos(pi (step - warm) / (total - warm))) / 2, with
/// warm = ceil(ratio total) (the Hugging Face cosine schedule).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// Highest rate.
    pub peak: f64,
    /// Share of the steps that warm up.
    pub warmup_ratio: f64,
    /// Number of steps.
    pub total: u64,
}

impl Cosine {
    /// The rate of step number `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let warm = (self.warmup_ratio * self.total as f64).ceil();
        let step = step as f64;
        if step < warm {
            return self.peak * step / warm.max(1.0);
        }
        let progress = ((step - warm) / (self.total as f64 - warm).max(1.0)).min(1.0);
        self.peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}

/// Moments of every parameter, and the number of updates done.
pub struct Optimizer {
    /// The constants of the update.
    pub adamw: AdamW,
    /// Decoupled decay of matrices (norms, biases, slopes and gate never decay).
    pub weight_decay: f64,
    /// Largest global norm of the gradient; larger ones are scaled down.
    pub clip_norm: f64,
    /// First moments, in the layout of the flat parameter buffer.
    pub m: Vec<f32>,
    /// Second moments, likewise.
    pub v: Vec<f32>,
    /// Updates done.
    pub updates: u64,
}

impl Optimizer {
    /// A fresh optimizer for `params`.
    pub fn new(params: &Params, adamw: AdamW, weight_decay: f64, clip_norm: f64) -> Optimizer {
        let n = params.flat().len();
        Optimizer { adamw, weight_decay, clip_norm, m: vec![0.0; n], v: vec![0.0; n], updates: 0 }
    }

    /// One update with the gradient in the flat layout. Returns the gradient's norm before clipping; a norm that is
    /// not finite leaves everything as it was.
    #[track_caller]
    pub fn step(&mut self, params: &mut Params, gradient: &[f32], rate: f64) -> f64 {
        let norm = global_norm(gradient);
        if !norm.is_finite() {
            return norm;
        }
        self.updates += 1;
        let factor = clip_factor(norm, self.clip_norm);
        let places: Vec<(usize, usize, bool)> =
            params.infos().iter().map(|p| (p.offset, p.shape.len(), p.decays)).collect();
        let flat = params.flat_mut();
        for (offset, len, decays) in places {
            let at = offset..offset + len;
            let slice = Slice {
                p: &mut flat[at.clone()],
                g: &gradient[at.clone()],
                m: &mut self.m[at.clone()],
                v: &mut self.v[at],
            };
            let decay = if decays { self.weight_decay } else { 0.0 };
            self.adamw.update(slice, self.updates, rate, decay, factor);
        }
        norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_warms_up_and_ends_at_zero() {
        let schedule = Cosine { peak: 2.0, warmup_ratio: 0.1, total: 100 };
        assert_eq!(schedule.rate(0), 0.0);
        assert_eq!(schedule.rate(5), 1.0);
        assert_eq!(schedule.rate(10), 2.0);
        assert!((schedule.rate(55) - 1.0).abs() < 1e-12);
        assert!(schedule.rate(100).abs() < 1e-12);
    }
}
