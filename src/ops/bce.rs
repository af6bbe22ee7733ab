//! Binary cross-entropy of logits against probabilities, averaged.   x [N..] , target [N..] -> []
//!
//! l = mean of max(x, 0) - x t + ln(1 + e^-|x|); backward: dx = (sigmoid(x) - t) / N.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The loss; `target` is data in [0, 1].
#[track_caller]
pub fn bce_with_logits(tape: &mut Tape, x: &Var, target: &Var) -> Var {
    target.tensor().expect_shape("bce target", x.shape());
    assert!(target.id().is_none(), "bce: the target is data");
    let (loss, xv, tv) = (forward(x.tensor(), target.tensor()), x.clone(), target.clone());
    tape.record("bce", &[x], loss, move |dy, grads| grads.add(xv.id(), backward(xv.tensor(), tv.tensor(), dy)))
}

fn forward(x: &Tensor, target: &Tensor) -> Tensor {
    if x.device() == Device::Host {
        return Tensor::scalar(mean_loss(x.data(), target.data()));
    }
    let (n, slices) = (x.len(), super::slices(x.len(), 1024));
    let (mut loss, mut partial) = (x.like_f32(&[]), x.like_f32(&[slices.count]));
    kernels::bce_fwd(Launch::rows(slices.count, 256), &mut partial, x, target, slices.rows, n);
    kernels::bce_fwd_reduce_f32(Launch::rows(1, 256), &mut loss, &partial, slices.count, n);
    loss
}

fn backward(x: &Tensor, target: &Tensor, dy: &Tensor) -> Tensor {
    let mut dx = x.like(x.shape());
    if x.device() == Device::Host {
        slope(x.data(), target.data(), dy.item(), dx.data_mut());
        return dx;
    }
    kernels::bce_bwd(Launch::elements(x.len(), 256), &mut dx, x, target, dy, x.len());
    dx
}

fn mean_loss<R: Real>(x: &[R], target: &[R]) -> R {
    let term = |(&x, &t): (&R, &R)| x.max(R::of(0.0)) - x * t + (-x.abs()).exp().ln_1p();
    x.iter().zip(target).map(term).sum::<R>() / R::of(x.len() as f64)
}

fn slope<R: Real>(x: &[R], target: &[R], dy: R, dx: &mut [R]) {
    let scale = dy / R::of(x.len() as f64);
    dx.iter_mut().zip(x).zip(target).for_each(|((d, &x), &t)| *d = (x.sigmoid() - t) * scale);
}

#[derive(Clone)]
struct Plain;

impl Reference for Plain {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        vec![mean_loss(x[0], x[1])]
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::of(0.0); x[0].len()];
        slope(x[0], x[1], dy[0], &mut dx);
        vec![dx, Vec::new()]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |n: usize| {
        let inputs = vec![input(&[n]).scaled(2.0), input(&[n]).scaled(0.1).shifted(0.5).fixed().keep_f32()];
        Case::new("bce", format!("{n}"), Plain, inputs, |tape, v| bce_with_logits(tape, &v[0], &v[1])).with_bf16()
    };
    [1, 13, 128, 257, 1023, 1025, 4099].map(case).into()
}
