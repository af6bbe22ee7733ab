//! AdamW with decoupled decay and clipping by the global norm, over one flat buffer.
//!
//! g' = g min(1, clip / |g|);  m = b1 m + (1 - b1) g';  v = b2 v + (1 - b2) g'^2;
//! p = p (1 - lr decay) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)   (torch.optim.AdamW).
//! 28 bytes per parameter, one pass; the norm is summed in f64 over fixed blocks, so it does not depend on threads.

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

impl AdamW {
    /// PLACEHOLDER
    pub fn update_flat(
        &self,
        _p: &mut crate::tensor::Tensor,
        _g: &crate::tensor::Tensor,
        _m: &mut crate::tensor::Tensor,
        _v: &mut crate::tensor::Tensor,
        _d: &crate::tensor::Tensor,
        _step: u64,
        _lr: f64,
        _decay: f64,
        _clip: f64,
    ) -> crate::tensor::Tensor {
        panic!()
    }
    /// The update number `step` (from 1) of one slice; gradients are multiplied by `factor` first.
    #[track_caller]
    pub fn update(&self, slice: Slice, step: u64, lr: f64, decay: f64, factor: f64) {
        let Slice { p, g, m, v } = slice;
        assert!(step >= 1 && p.len() == g.len() && p.len() == m.len() && p.len() == v.len(), "adamw: slices differ");
        let bias1 = 1.0 - (self.beta1 as f64).powf(step as f64);
        let bias2 = 1.0 - (self.beta2 as f64).powf(step as f64);
        let (step_size, root) = ((lr / bias1) as f32, bias2.sqrt() as f32);
        let (keep, factor) = ((1.0 - lr * decay) as f32, factor as f32);
        let (b1, b2, eps) = (self.beta1, self.beta2, self.eps);
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * factor;
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *p = *p * keep - step_size * *m / (v.sqrt() / root + eps);
        }
    }
}

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
