//! y[b, l, c k + t] = x[b, l s + t - (k - 1) / 2, c]: the windows of a strided convolution side by side.
//! x [B, L, C] -> y [B, L', C k], L' = (L - 1) / s + 1
//!
//! Odd k taps, stride s, zeros beyond both ends (k / 2 on each side). The order c k + t is that of a convolution's weight
//! [out, C, k], so that `linear` over [out, C k] is that convolution: dense ones become one large product, which takes
//! frozen weights in bf16 and, on GPUs, tensor cores. Whisper's stem is two of them, the second with stride 2.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The windows of x [B, L, C]: [B, (L - 1) / stride + 1, C taps].
#[track_caller]
pub fn unfold(tape: &mut Tape, x: &Var, taps: usize, stride: usize) -> Var {
    let [batch, len, channels] = x.tensor().dims("unfold x");
    assert!(taps % 2 == 1 && stride > 0 && len > 0, "unfold: {taps} taps (odd), stride {stride}, {len} steps");
    let sizes = Sizes { batch, len, channels, taps, stride };
    let (y, id) = (sizes.forward(x.tensor()), x.id());
    tape.record("unfold", &[x], y, move |dy, grads| grads.add(id, sizes.backward(dy)))
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    len: usize,
    channels: usize,
    taps: usize,
    stride: usize,
}

impl Sizes {
    fn out_len(&self) -> usize {
        (self.len - 1) / self.stride + 1
    }
    /// The step of x that tap `t` of window `l` reads, unless it lies beyond an end.
    fn source(&self, l: usize, t: usize) -> Option<usize> {
        (l * self.stride + t).checked_sub(self.taps / 2).filter(|&at| at < self.len)
    }
    fn forward(&self, x: &Tensor) -> Tensor {
        let &Sizes { batch, len, channels, taps, stride } = self;
        let out_len = self.out_len();
        let mut y = x.like(&[batch, out_len, channels * taps]);
        if x.device() != Device::Host {
            let n = y.len();
            kernels::unfold_fwd(Launch::elements(n, 256), &mut y, x, len, out_len, channels, taps, stride, n);
            return y;
        }
        let (x, out) = (x.data(), y.data_mut());
        for (row, y) in out.chunks_exact_mut((channels * taps).max(1)).enumerate() {
            let (b, l) = (row / out_len, row % out_len);
            for t in 0..taps {
                let to = y[t..].iter_mut().step_by(taps);
                match self.source(l, t) {
                    Some(at) => to.zip(&x[(b * len + at) * channels..][..channels]).for_each(|(y, &x)| *y = x),
                    None => to.for_each(|y| *y = 0.0),
                }
            }
        }
        y
    }
    fn backward(&self, dy: &Tensor) -> Tensor {
        let &Sizes { batch, len, channels, taps, stride } = self;
        let out_len = self.out_len();
        if dy.device() != Device::Host {
            let mut dx = dy.like(&[batch, len, channels]);
            let n = dx.len();
            kernels::unfold_bwd(Launch::elements(n, 256), &mut dx, dy, len, out_len, channels, taps, stride, n);
            return dx;
        }
        let mut dx = Tensor::zeros(&[batch, len, channels]);
        let into = dx.data_mut();
        for (row, dy) in dy.data().chunks_exact((channels * taps).max(1)).enumerate() {
            let (b, l) = (row / out_len, row % out_len);
            for t in 0..taps {
                let Some(at) = self.source(l, t) else { continue };
                let to = &mut into[(b * len + at) * channels..][..channels];
                to.iter_mut().zip(dy[t..].iter().step_by(taps)).for_each(|(dx, dy)| *dx += dy);
            }
        }
        dx
    }
    /// Calls `f(x index, y index)` for every number that is copied.
    fn pairs(&self, mut f: impl FnMut(usize, usize)) {
        let (c, out_len) = (self.channels, self.out_len());
        for row in 0..self.batch * out_len {
            for t in 0..self.taps {
                let Some(at) = self.source(row % out_len, t) else { continue };
                for i in 0..c {
                    f((row / out_len * self.len + at) * c + i, (row * c + i) * self.taps + t);
                }
            }
        }
    }
}

impl Reference for Sizes {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let mut y = vec![R::of(0.0); self.batch * self.out_len() * self.channels * self.taps];
        self.pairs(|from, to| y[to] = inputs[0][from]);
        y
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::of(0.0); inputs[0].len()];
        self.pairs(|from, to| dx[from] += dy[to]);
        vec![dx]
    }
}

/// The cases of this op: one step, fewer steps than taps, even and odd lengths, strides below and above the taps.
pub fn cases() -> Vec<Case> {
    let case = |[batch, len, channels, taps, stride]: [usize; 5]| {
        let name = format!("B {batch}, L {len}, C {channels}, k {taps}, stride {stride}");
        let sizes = Sizes { batch, len, channels, taps, stride };
        Case::new("unfold", name, sizes, vec![input(&[batch, len, channels])], move |tape, v| {
            unfold(tape, &v[0], taps, stride)
        })
        .with_bf16()
    };
    let check = [
        [1, 1, 1, 1, 1],
        [2, 1, 3, 3, 2],
        [1, 2, 5, 5, 1],
        [3, 7, 4, 3, 2],
        [2, 8, 33, 3, 2],
        [1, 17, 80, 3, 1],
        [2, 13, 3, 3, 4],
        [1, 12, 7, 7, 3],
    ];
    let mut all: Vec<Case> = check.into_iter().map(case).collect();
    // Whisper's second convolution at the width of its small model.
    all.push(case([1, 3000, 768, 3, 2]).bench(0.0).copied(16, &[0]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::linear::linear;

    /// torch.nn.functional.conv1d of x = 1..6 with weights (1, 10, 100), stride 2, padding 1:
    /// windows (0,1,2), (2,3,4), (4,5,6).
    #[test]
    fn a_product_over_the_windows_is_a_strided_convolution() {
        let mut tape = Tape::without_gradients();
        let x = Var::constant(Tensor::from_slice(&[1, 6, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let weight = Var::constant(Tensor::from_slice(&[1, 3], &[1.0, 10.0, 100.0]));
        let windows = unfold(&mut tape, &x, 3, 2);
        let y = linear(&mut tape, &windows, &weight, None);
        assert_eq!(y.data(), [210.0, 432.0, 654.0]);
    }
}
