//! Chunks on the host: the products of [`crate::device::product`], and rows of logits on vectors.

use super::{Outcome, Pass};
use crate::device::product::{Matrix, Numbers, Stored, Threads, multiply};
use crate::device::simd::slices::{each_vector, get, put};
use crate::device::simd::{Isa, Kernel, Simd, dispatch, exp};
use crate::device::tile::{Extent, Start};
use crate::tensor::{DType, Tensor};
use rayon::prelude::*;

pub(super) fn run(pass: &Pass) -> Outcome {
    let (w, threads) = (pass.weight.tensor(), pass.threads);
    let ([n, c], v) = (pass.x.dims("x"), w.shape()[0]);
    let mut log_probs = Tensor::uninit(&[n]);
    let mut logits = Tensor::uninit(&[pass.chunk.min(n), v]);
    let [mut dx, mut dw] = [(0, [n, c]), (1, [v, c])].map(|(i, shape)| pass.wants[i].then(|| Tensor::zeros(&shape)));
    for (first, rows) in pass.chunks() {
        let x = &pass.x.data()[first * c..(first + rows) * c];
        let chunk = &mut logits.data_mut()[..rows * v];
        let factor = Matrix { data: x, row: c, column: 1 };
        multiply(threads, Extent { m: rows, n: v, k: c }, factor, numbers(w, 1, c), chunk, Start::Zero);
        softmax(pass, first, chunk, &mut log_probs.data_mut()[first..first + rows]);
        if let Some(dx) = &mut dx {
            let to = &mut dx.data_mut()[first * c..(first + rows) * c];
            let slopes = Matrix { data: chunk, row: v, column: 1 };
            multiply(threads, Extent { m: rows, n: c, k: v }, slopes, numbers(w, c, 1), to, Start::Zero);
        }
        if let Some(dw) = &mut dw {
            let slopes = Matrix { data: chunk, row: 1, column: v };
            let x = Stored { data: Numbers::F32(x), row: c, column: 1 };
            multiply(threads, Extent { m: v, n: c, k: rows }, slopes, x, dw.data_mut(), Start::Sum);
        }
    }
    Outcome { log_probs, gradients: [dx, dw] }
}

/// The weight by its distances of rows and columns.
fn numbers(w: &Tensor, row: usize, column: usize) -> Stored<'_> {
    let data = match w.dtype() {
        DType::Bf16 => Numbers::Bf16(w.values()),
        _ => Numbers::F32(w.data()),
    };
    Stored { data, row, column }
}

/// The sum of weighted cross entropies, in order, in f64.
pub(super) fn loss(log_probs: &Tensor, row_weights: &Tensor) -> Tensor {
    let terms = log_probs.data().iter().zip(row_weights.data()).map(|(&lp, &w)| -f64::from(lp) * f64::from(w));
    // The sum of nothing would be -0.
    Tensor::scalar((terms.sum::<f64>() + 0.0) as f32)
}

/// Log-probabilities of a chunk's rows, from `first` on; where gradients are wanted, logits become w (p - e).
fn softmax(pass: &Pass, first: usize, logits: &mut [f32], log_probs: &mut [f32]) {
    let v = pass.weight.shape()[0];
    let (targets, isa) = (pass.targets.values::<i32>(), Isa::current());
    let wants_gradient = pass.wants != [false; 2];
    let row = |(i, (logits, log_prob)): (usize, (&mut [f32], &mut f32))| {
        let weight = pass.row_weights.as_ref().filter(|_| wants_gradient).map(|w| w.data()[first + i]);
        *log_prob = isa.run(Row { logits, target: targets[first + i] as usize, weight });
    };
    match pass.threads {
        Threads::One => logits.chunks_exact_mut(v).zip(log_probs).enumerate().for_each(row),
        Threads::All | Threads::Apart => logits.par_chunks_exact_mut(v).zip(log_probs).enumerate().for_each(row),
    }
}

/// The log-probability of one token under a row of logits.
pub(in crate::ops) fn row_log_prob(logits: &[f32], target: usize) -> f32 {
    dispatch(Row { logits: &mut logits.to_vec(), target, weight: None })
}

/// The largest number of a row that is not empty; NaN where there is one.
pub(in crate::ops) fn row_largest(row: &[f32]) -> f32 {
    dispatch(Largest(row))
}

struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        largest(s, self.0)
    }
}

/// A row of logits; with a weight it becomes the gradient of that many cross entropies.
struct Row<'a> {
    logits: &'a mut [f32],
    target: usize,
    weight: Option<f32>,
}

/// Numbers that are summed on their own before their sum is added to that of the row, which keeps rounding small.
const BLOCK: usize = 512;

impl Kernel for Row<'_> {
    /// The target's log-probability.
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let Row { logits, target, weight } = self;
        let most = largest(s, logits);
        let own = logits[target] - most;
        let (most, mut total) = (s.splat(most), s.zero());
        for block in logits.chunks_mut(BLOCK) {
            let mut sum = s.zero();
            let whole = block.len() - block.len() % S::LANES;
            each_vector!(S, whole, |at, n| {
                let e = exp(s, s.sub(get(s, block, at, n), most));
                sum = s.add(sum, e);
                put(s, block, at, n, e);
            });
            if whole < block.len() {
                // Empty lanes would add e^-most.
                let n = block.len() - whole;
                let e = exp(s, s.sub(get(s, block, whole, n), most));
                put(s, block, whole, n, e);
                sum = s.add(sum, get(s, block, whole, n));
            }
            total = s.add(total, sum);
        }
        let total = s.sum(total);
        if let Some(weight) = weight {
            let scale = s.splat(weight / total);
            each_vector!(S, logits.len(), |at, n| put(s, logits, at, n, s.mul(scale, get(s, logits, at, n))));
            logits[target] -= weight;
        }
        own - total.ln()
    }
}

/// See [`row_largest`].
#[inline(always)]
fn largest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut most = s.splat(x[0]);
    let whole = x.len() - x.len() % S::LANES;
    each_vector!(S, whole, |at, n| most = s.max(get(s, x, at, n), most));
    let mut lanes = [f32::NEG_INFINITY; 16];
    put(s, &mut lanes, 0, S::LANES, most);
    lanes.iter().chain(&x[whole..]).fold(x[0], |most, &v| if v > most || v.is_nan() { v } else { most })
}
