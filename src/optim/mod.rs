//! The optimizer of all stages: AdamW over the flat buffer of a model, with warm-up and cosine.

use crate::device::Device;
use crate::nn::Params;
use crate::ops::adamw::{AdamW, Flat, Slice, clip_factor, global_norm};
use crate::tensor::{DType, Tensor};

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
    /// First moments, in the layout of the flat parameter buffer and on its device.
    pub m: Tensor,
    /// Second moments, likewise.
    pub v: Tensor,
    /// Updates done.
    pub updates: u64,
    /// 1 where weight decay applies, on a device that updates everything at once.
    decays: Option<Tensor>,
}

impl Optimizer {
    /// A fresh optimizer for `params`, on their device.
    pub fn new(params: &Params, adamw: AdamW, weight_decay: f64, clip_norm: f64) -> Optimizer {
        let (n, device) = (params.flat_len(), params.device());
        let zeros = || Tensor::zeros_on(device, DType::F32, &[n]);
        let decays = (device != Device::Host).then(|| Tensor::from_slice(&[n], &params.decay_mask()).to(device));
        Optimizer { adamw, weight_decay, clip_norm, m: zeros(), v: zeros(), updates: 0, decays }
    }

    /// One update with the gradient in the flat layout. Returns the gradient's norm before clipping; a norm that is
    /// not finite leaves everything as it was.
    #[track_caller]
    pub fn step(&mut self, params: &mut Params, gradient: &Tensor, rate: f64) -> f64 {
        if let Some(decays) = &self.decays {
            let ((p, narrow), step) = (params.flat_and_narrow_mut(), self.updates + 1);
            let (m, v) = (&mut self.m, &mut self.v);
            let flat = Flat { p, g: gradient, m, v, decays, narrow };
            let norm = self.adamw.update_flat(flat, step, rate, self.weight_decay, self.clip_norm);
            let norm = f64::from(norm.item());
            self.updates += u64::from(norm.is_finite());
            return norm;
        }
        let norm = global_norm(gradient.data());
        if !norm.is_finite() {
            return norm;
        }
        self.updates += 1;
        let factor = clip_factor(norm, self.clip_norm);
        let places: Vec<(usize, usize, bool)> = params.places().map(|p| (p.offset, p.len, p.decays)).collect();
        let (flat, m, v) = (params.flat_mut(), self.m.data_mut(), self.v.data_mut());
        for (offset, len, decays) in places {
            let at = offset..offset + len;
            let slice = Slice {
                p: &mut flat[at.clone()],
                g: &gradient.data()[at.clone()],
                m: &mut m[at.clone()],
                v: &mut v[at],
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
