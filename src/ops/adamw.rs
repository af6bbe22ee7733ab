//! AdamW with decoupled decay and clipping by the global norm, over one flat buffer.
//!
//! g' = g min(1, clip / |g|);  m = b1 m + (1 - b1) g';  v = b2 v + (1 - b2) g'^2;
//! p = p (1 - lr decay) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)   (torch.optim.AdamW).
//! 28 bytes per parameter, one pass; the norm is summed in f64 over fixed blocks, so it does not depend on threads.
//! On a device the norm, the clip factor and the decision to skip a step stay there ([`AdamW::update_flat`]).

use crate::kernels::{self, Launch};
use crate::tensor::Tensor;

/// The constants of the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the denominator.
    pub eps: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }
}

/// The L2 norm of all gradients.
pub fn global_norm(gradient: &[f32]) -> f64 {
    let block = |b: &[f32]| b.iter().map(|&g| g as f64 * g as f64).sum::<f64>();
    gradient.chunks(4096).map(block).sum::<f64>().sqrt()
}

/// The factor that brings a gradient of norm `norm` down to `clip` (1 when it is below; torch's 1e-6 included).
pub fn clip_factor(norm: f64, clip: f64) -> f64 {
    (clip / (norm + 1e-6)).min(1.0)
}

/// One slice of parameters with its moments.
pub struct Slice<'a> {
    /// Parameters, updated in place.
    pub p: &'a mut [f32],
    /// Gradients.
    pub g: &'a [f32],
    /// First moments.
    pub m: &'a mut [f32],
    /// Second moments.
    pub v: &'a mut [f32],
}

/// All parameters of a model on a device, in flat buffers of one length.
pub struct Flat<'a> {
    /// Parameters, updated in place.
    pub p: &'a mut Tensor,
    /// Gradients.
    pub g: &'a Tensor,
    /// First moments.
    pub m: &'a mut Tensor,
    /// Second moments.
    pub v: &'a mut Tensor,
    /// 1 where a parameter decays, 0 elsewhere.
    pub decays: &'a Tensor,
    /// Receives the new parameters rounded to bf16.
    pub narrow: Option<&'a mut Tensor>,
}

impl AdamW {
    /// The update number `step` (from 1) of one slice; gradients are multiplied by `factor` first.
    #[track_caller]
    pub fn update(&self, slice: Slice, step: u64, lr: f64, decay: f64, factor: f64) {
        let Slice { p, g, m, v } = slice;
        assert!(step >= 1 && p.len() == g.len() && p.len() == m.len() && p.len() == v.len(), "adamw: slices differ");
        let (step_size, root) = self.corrected(step, lr);
        let (step_size, root) = (step_size as f32, root as f32);
        let (keep, factor) = ((1.0 - lr * decay) as f32, factor as f32);
        let (b1, b2, eps) = (self.beta1, self.beta2, self.eps);
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * factor;
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *p = *p * keep - step_size * *m / (v.sqrt() / root + eps);
        }
    }

    /// The step size and the root of the second moments' scale, both corrected for the moments' start at zero.
    fn corrected(&self, step: u64, lr: f64) -> (f64, f64) {
        let bias1 = 1.0 - (self.beta1 as f64).powf(step as f64);
        let bias2 = 1.0 - (self.beta2 as f64).powf(step as f64);
        (lr / bias1, bias2.sqrt())
    }

    /// The update number `step` (from 1) of a whole model on a device, the gradient clipped to a norm of `clip`. Returns
    /// the norm before clipping, still on the device; one that is not finite leaves everything as it was.
    #[track_caller]
    pub fn update_flat(&self, flat: Flat, step: u64, lr: f64, decay: f64, clip: f64) -> Tensor {
        let Flat { p, g, m, v, decays, narrow } = flat;
        let n = p.len();
        let lengths = [g.len(), m.len(), v.len(), decays.len(), narrow.as_ref().map_or(n, |t| t.len())];
        assert!(step >= 1 && lengths == [n; 5], "adamw: {n} parameters, other lengths {lengths:?}");
        let slice = n.div_ceil(SLICES_MAX).next_multiple_of(1024).max(1024);
        let count = n.div_ceil(slice).max(1);
        let [mut partial, mut norm, mut factor] = [&[count, 2][..], &[], &[]].map(|shape| g.like_f32(shape));
        kernels::adamw_norm_partial_f32(Launch::rows(count, 256), &mut partial, g, slice, n);
        let one = Launch::rows(1, 256);
        kernels::adamw_norm_finish_f32(one, &mut norm, &mut factor, &partial, count, clip as f32);
        let (step_size, root) = self.corrected(step, lr);
        let [step_size, inverse_root, decay] = [step_size, 1.0 / root, lr * decay].map(|x| x as f32);
        let (&AdamW { beta1, beta2, eps, .. }, factor, launch) = (self, &factor, Launch::quads(n));
        #[rustfmt::skip]
        match narrow {
            None => kernels::AdamwUpdateF32 {
                p, m, v, g, decays, factor, beta1, beta2, eps, step_size, inverse_root, decay, n,
            }
            .launch(launch),
            Some(narrow) => kernels::AdamwUpdateBf16 {
                narrow, p, m, v, g, decays, factor, beta1, beta2, eps, step_size, inverse_root, decay, n,
            }
            .launch(launch),
        };
        norm
    }
}

/// Slices of the gradient that are summed by a block each: enough to keep a GPU busy.
const SLICES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_sign() {
        // Closed form: after one step m/(1-b1) = g and v/(1-b2) = g^2, so p moves by lr g / (|g| + eps).
        let (mut p, g, mut m, mut v) = ([1.0f32, -2.0, 0.5], [0.3f32, -4.0, 0.0], [0.0f32; 3], [0.0f32; 3]);
        let slice = Slice { p: &mut p, g: &g, m: &mut m, v: &mut v };
        AdamW::default().update(slice, 1, 0.1, 0.0, 1.0);
        for (p, want) in p.iter().zip([0.9, -1.9, 0.5]) {
            assert!((p - want).abs() < 1e-6, "{p} {want}");
        }
    }

    #[test]
    fn clipping_scales_the_whole_gradient() {
        assert!((global_norm(&[3.0, 4.0]) - 5.0).abs() < 1e-12);
        assert!((clip_factor(5.0, 1.0) - 0.2).abs() < 1e-6 && clip_factor(0.5, 1.0) == 1.0);
    }
}
