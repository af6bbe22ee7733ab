//! Chunks on a device: the products of `kernels/matmul.cu`, and `kernels/linear_cross_entropy.cu` for rows of logits.

use super::{Outcome, Pass};
use crate::kernels::{self, Launch};
use crate::ops::elementwise::stored_as;
use crate::ops::matmul::{Epilogue, Factor, narrowed, product_on_device};
use crate::tape::accumulate;
use crate::tensor::{DType, Tensor};

/// Threads that share a row of logits.
const ROW_THREADS: usize = 1024;

pub(super) fn run(pass: &Pass) -> Outcome {
    let (x, w) = (&pass.x, fitting(pass));
    let ([n, c], [v, _]) = (x.dims("x"), w.dims::<2>("weight"));
    let (mut log_probs, mut parts, mut dw) = (Vec::new(), Vec::new(), None);
    for (first, rows) in pass.chunks() {
        let x = x.rows(first, rows);
        let mut logits = x.like_f32(&[rows, v]);
        let factors = (Factor::of(&x, c, 1), Factor::of(&w, 1, c));
        product_on_device(&mut logits, 1, (rows, v, c), factors.0, factors.1, Epilogue::default());
        let (slopes, row) = softmax(pass, (first, rows), logits);
        log_probs.push(row);
        let Some(slopes) = slopes else { continue };
        if pass.wants[0] {
            let mut dx = x.like(&[rows, c]);
            let factors = (Factor::of(&slopes, v, 1), Factor::of(&w, c, 1));
            product_on_device(&mut dx, 1, (rows, c, v), factors.0, factors.1, Epilogue::default());
            parts.push(dx);
        }
        if pass.wants[1] {
            let mut more = x.like_f32(&[v, c]);
            let factors = (Factor::of(&slopes, 1, v), Factor::of(&x, c, 1));
            product_on_device(&mut more, 1, (v, c, rows), factors.0, factors.1, Epilogue::default());
            match &mut dw {
                Some(dw) => accumulate(dw, &more),
                None => dw = Some(more),
            }
        }
    }
    // Without rows there is no part, and gradients are zeros.
    let zeros = |dtype: DType, shape: &[usize]| Tensor::zeros_on(x.device(), dtype, shape);
    let joined = |parts: &[Tensor], dtype: DType, shape: &[usize]| {
        if parts.is_empty() { zeros(dtype, shape) } else { Tensor::stacked(parts) }
    };
    let dx = pass.wants[0].then(|| joined(&parts, x.dtype(), &[n, c]));
    let dw = pass.wants[1].then(|| dw.unwrap_or_else(|| zeros(DType::F32, &[v, c])));
    Outcome { log_probs: joined(&log_probs, DType::F32, &[n]), gradients: [dx, dw] }
}

/// The weight as products next to x take it.
fn fitting(pass: &Pass) -> Tensor {
    match (pass.x.dtype(), pass.weight.narrow()) {
        (DType::Bf16, Some(narrow)) => narrow.clone(),
        (DType::Bf16, None) => narrowed(pass.weight.tensor()),
        _ => stored_as(pass.weight.tensor(), DType::F32),
    }
}

/// w (p - e) of a chunk, stored as x is, where a gradient is wanted; and its log-probabilities.
fn softmax(pass: &Pass, (first, rows): (usize, usize), mut logits: Tensor) -> (Option<Tensor>, Tensor) {
    let v = logits.shape()[1];
    let mut log_probs = logits.like_f32(&[rows]);
    let targets = pass.targets.rows(first, rows);
    let weights = pass.row_weights.as_ref().map(|w| w.rows(first, rows));
    let (launch, weights) = (Launch::rows(rows, ROW_THREADS), weights.as_ref());
    let wants_gradient = pass.wants != [false; 2];
    if wants_gradient && pass.x.dtype() == DType::Bf16 {
        let mut slopes = pass.x.like(&[rows, v]);
        kernels::linear_cross_entropy_slopes_bf16(launch, &mut slopes, &mut log_probs, &logits, &targets, weights, v);
        return (Some(slopes), log_probs);
    }
    kernels::linear_cross_entropy_rows_f32(launch, &mut logits, &mut log_probs, &targets, weights, v, wants_gradient);
    (wants_gradient.then_some(logits), log_probs)
}

/// The sum of weighted cross entropies, in a fixed order.
pub(super) fn loss(log_probs: &Tensor, row_weights: &Tensor) -> Tensor {
    let mut loss = log_probs.like_f32(&[]);
    let launch = Launch::rows(1, 1024);
    kernels::linear_cross_entropy_loss_f32(launch, &mut loss, log_probs, row_weights, log_probs.len());
    loss
}

/// x times a number that lies on the device.
pub(super) fn scale(x: &mut Tensor, factor: &Tensor) {
    x.unshare();
    let n = x.len();
    kernels::linear_cross_entropy_scale(Launch::quads(n), x, factor, n);
}
