//! y = x / sqrt(mean(x^2) + eps) * w over the last axis.   x [.., C], w [C] -> y [.., C]
//!
//! Statistics are f32, and a product is rounded once where y is stored as bf16. The weight may be f32 or bf16; bf16 is
//! widened first. With g = dy w and xhat = x rstd:
//! dx = rstd (g - xhat mean(g xhat)), dw = sum over rows of dy xhat, each only where its input is tracked.

use super::elementwise::stored_as;
use super::matmul::{Epilogue, add_partials};
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::slices::{add_to, each_vector, get, put};
use crate::device::simd::{Kernel, Simd, dispatch};
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// Divides the rows of x [.., C] by their root mean square and multiplies them by weight [C], f32 or bf16.
#[track_caller]
pub fn rms_norm(tape: &mut Tape, x: &Var, weight: &Var, eps: f32) -> Var {
    let c = *x.shape().last().expect("rms_norm of a scalar");
    weight.tensor().expect_shape("rms_norm weight", &[c]);
    let w = stored_as(weight.tensor(), DType::F32);
    let (y, rstd) = forward(x.tensor(), &w, eps);
    let (xv, wid) = (x.clone(), weight.id());
    tape.record("rms_norm", &[x, weight], y, move |dy, grads| {
        if xv.id().is_some() {
            grads.add(xv.id(), backward_x(xv.tensor(), &w, dy, &rstd));
        }
        if wid.is_some() {
            grads.add(wid, backward_weight(xv.tensor(), dy, &rstd, w.len()));
        }
    })
}

/// The output, and 1 / sqrt(mean(x^2) + eps) of every row, f32 [N].
fn forward(x: &Tensor, w: &Tensor, eps: f32) -> (Tensor, Tensor) {
    let n = super::row_count(x.shape());
    let (mut y, mut rstd) = (x.like(x.shape()), x.like_f32(&[n]));
    if x.device() == Device::Host {
        dispatch(Forward { x: x.data(), weight: w.data(), y: y.data_mut(), rstd: rstd.data_mut(), eps });
    } else {
        kernels::rms_norm_fwd(row_launch(n), &mut y, &mut rstd, x, w, n, w.len(), eps);
    }
    (y, rstd)
}

/// A warp for every row.
fn row_launch(n: usize) -> Launch {
    Launch::rows(n.div_ceil(4), 128)
}

fn backward_x(x: &Tensor, w: &Tensor, dy: &Tensor, rstd: &Tensor) -> Tensor {
    let mut dx = x.like(x.shape());
    if x.device() == Device::Host {
        let (x, weight, dy, rstd) = (x.data(), w.data(), dy.data(), rstd.data());
        dispatch(BackwardX { x, weight, dy, rstd, dx: dx.data_mut() });
    } else {
        kernels::rms_norm_bwd_x(row_launch(rstd.len()), &mut dx, x, w, dy, rstd, rstd.len(), w.len());
    }
    dx
}

fn backward_weight(x: &Tensor, dy: &Tensor, rstd: &Tensor, c: usize) -> Tensor {
    if x.device() == Device::Host {
        let mut dw = Tensor::zeros(&[c]);
        dispatch(BackwardWeight { x: x.data(), dy: dy.data(), rstd: rstd.data(), dw: dw.data_mut() });
        return dw;
    }
    let (n, slices) = (rstd.len(), super::slices(rstd.len(), 64));
    let [mut dw, mut partial] = [x.like_f32(&[c]), x.like_f32(&[slices.count, c])];
    let launch = Launch::new([c.div_ceil(32), slices.count, 1], 256);
    kernels::rms_norm_bwd_w(launch, &mut partial, x, dy, rstd, n, c, slices.rows);
    add_partials(&mut dw, &partial, [1, slices.count, 1, c], Epilogue::default());
    dw
}

struct Forward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    y: &'a mut [f32],
    rstd: &'a mut [f32],
    eps: f32,
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let c = self.weight.len();
        for ((y, x), rstd) in self.y.chunks_exact_mut(c).zip(self.x.chunks_exact(c)).zip(self.rstd) {
            let mut squares = s.zero();
            each_vector!(S, c, |at, n| {
                let x = get(s, x, at, n);
                squares = s.fma(x, x, squares);
            });
            *rstd = 1.0 / (s.sum(squares) / c as f32 + self.eps).sqrt();
            let scale = s.splat(*rstd);
            each_vector!(S, c, |at, n| {
                put(s, y, at, n, s.mul(s.mul(get(s, x, at, n), scale), get(s, self.weight, at, n)));
            });
        }
    }
}

struct BackwardX<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    dy: &'a [f32],
    rstd: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for BackwardX<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let c = self.weight.len();
        let rows = self.dx.chunks_exact_mut(c).zip(self.dy.chunks_exact(c)).zip(self.x.chunks_exact(c));
        for (((dx, dy), x), &rstd) in rows.zip(self.rstd) {
            let mut sum = s.zero();
            each_vector!(S, c, |at, n| {
                let g = s.mul(get(s, dy, at, n), get(s, self.weight, at, n));
                sum = s.fma(g, get(s, x, at, n), sum);
            });
            // xhat mean(g xhat) = x rstd^2 mean(g x).
            let pull = s.splat(s.sum(sum) / c as f32 * rstd * rstd);
            let rstd = s.splat(rstd);
            each_vector!(S, c, |at, n| {
                let g = s.mul(get(s, dy, at, n), get(s, self.weight, at, n));
                put(s, dx, at, n, s.mul(rstd, s.fnma(get(s, x, at, n), pull, g)));
            });
        }
    }
}

struct BackwardWeight<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    rstd: &'a [f32],
    dw: &'a mut [f32],
}

impl Kernel for BackwardWeight<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let c = self.dw.len();
        for ((x, dy), &rstd) in self.x.chunks_exact(c).zip(self.dy.chunks_exact(c)).zip(self.rstd) {
            let rstd = s.splat(rstd);
            each_vector!(S, c, |at, n| {
                let xhat = s.mul(get(s, x, at, n), rstd);
                add_to(s, self.dw, at, n, s.mul(get(s, dy, at, n), xhat));
            });
        }
    }
}

#[derive(Clone)]
struct Plain {
    c: usize,
    eps: f64,
}

impl Plain {
    fn rstd<R: Real>(&self, x: &[R]) -> R {
        let mean = x.iter().map(|&v| v * v).sum::<R>() / R::of(self.c as f64);
        R::of(1.0) / (mean + R::of(self.eps)).sqrt()
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let row = |x: &[R]| {
            let rstd = self.rstd(x);
            x.iter().zip(inputs[1]).map(|(&x, &w)| x * rstd * w).collect::<Vec<R>>()
        };
        inputs[0].chunks(self.c).flat_map(row).collect()
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (c, w) = (self.c, inputs[1]);
        let (mut dx, mut dw) = (Vec::new(), vec![R::of(0.0); c]);
        for (x, dy) in inputs[0].chunks(c).zip(dy.chunks(c)) {
            let rstd = self.rstd(x);
            let mean = (0..c).map(|i| dy[i] * w[i] * x[i] * rstd).sum::<R>() / R::of(c as f64);
            for i in 0..c {
                dx.push(rstd * (dy[i] * w[i] - x[i] * rstd * mean));
                dw[i] += dy[i] * x[i] * rstd;
            }
        }
        vec![dx, dw]
    }
}

/// The cases of this op: widths around vectors and the packs of a warp, many rows for the slices of dw; with trained
/// weights in f32, and frozen ones in bf16 where activations are.
pub fn cases() -> Vec<Case> {
    let case = |rows: usize, c: usize, is_frozen: bool| {
        // A row of one number is its sign but for epsilon: with a small one its gradient is a difference of equals.
        let eps: f32 = if c == 1 { 0.5 } else { 1e-6 };
        let weight = input(&[c]).shifted(1.0);
        let weight = if is_frozen { weight.fixed() } else { weight.keep_f32() };
        let name = format!("rows {rows}, C {c}{}", if is_frozen { ", frozen" } else { "" });
        let reference = Plain { c, eps: f64::from(eps) };
        Case::new("rms_norm", name, reference, vec![input(&[rows, c]).shifted(0.2), weight], move |tape, v| {
            rms_norm(tape, &v[0], &v[1], eps)
        })
        .with_bf16()
    };
    let mut all: Vec<Case> =
        [(1, 1), (1, 3), (3, 15), (2, 16), (5, 17), (3, 31), (4, 97), (3, 127), (2, 129), (2, 896)]
            .map(|(rows, c)| case(rows, c, false))
            .into();
    all.extend([(1, 7), (5, 128), (131, 33)].map(|(rows, c)| case(rows, c, true)));
    all.push(case(131, 36, false));
    all.push(case(512, 896, true).bench(4.0 * 512.0 * 896.0));
    all.push(case(512, 896, false).bench(4.0 * 512.0 * 896.0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_in_bf16_is_widened_and_a_frozen_one_gets_no_gradient() {
        // Closed form: [3, 4] has mean square 12.5; the weights are exact in bf16.
        for device in [Device::Host, Device::Emu] {
            let mut tape = Tape::new();
            let x = tape.leaf(Tensor::from_slice(&[1, 2], &[3.0, 4.0]).to(device));
            let w = Var::constant(Tensor::from_slice(&[2], &[0.5, -2.0]).to_bf16(device));
            let y = rms_norm(&mut tape, &x, &w, 0.0);
            let r = 12.5f32.sqrt();
            let got = y.tensor().to_host_f32();
            assert!((got.data()[0] - 1.5 / r).abs() < 1e-6 && (got.data()[1] + 8.0 / r).abs() < 1e-6, "{got:?}");
            let grads = tape.backward(&y, Tensor::from_slice(&[1, 2], &[1.0, 0.0]).to(device)).unwrap();
            assert!(grads.get(&x).is_some() && grads.get(&w).is_none());
        }
    }
}
