//! y = max(x, 0) + a min(x, 0) with one slope per channel.   x [.., C], a [C] -> y [.., C]
//!
//! Backward: dx = dy (x > 0 ? 1 : a), da = sum of dy x where x <= 0. At 0 the slope is a, as in PyTorch.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::slices::{add_to, each_vector, get, put};
use crate::device::simd::{Kernel, Simd, dispatch};
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Applies the function to every element.
#[track_caller]
pub fn prelu(tape: &mut Tape, x: &Var, slope: &Var) -> Var {
    let c = *x.shape().last().expect("prelu of a scalar");
    slope.tensor().expect_shape("prelu slope", &[c]);
    let y = forward(x.tensor(), slope.tensor());
    let (xv, av) = (x.clone(), slope.clone());
    tape.record("prelu", &[x, slope], y, move |dy, grads| {
        let (dx, da) = backward(xv.tensor(), av.tensor(), dy, av.id().is_some());
        grads.add(xv.id(), dx);
        da.into_iter().for_each(|da| grads.add(av.id(), da));
    })
}

fn forward(x: &Tensor, slope: &Tensor) -> Tensor {
    let mut y = x.like(x.shape());
    if x.device() == Device::Host {
        dispatch(Forward { x: x.data(), slope: slope.data(), y: y.data_mut() });
        return y;
    }
    kernels::prelu_fwd(Launch::quads(x.len()), &mut y, x, slope, slope.len(), x.len());
    y
}

/// The gradient of x, and that of the slopes where they are trained.
fn backward(x: &Tensor, slope: &Tensor, dy: &Tensor, is_trained: bool) -> (Tensor, Option<Tensor>) {
    let (c, mut dx) = (slope.len(), x.like(x.shape()));
    if x.device() == Device::Host {
        let mut da = is_trained.then(|| Tensor::zeros(&[c]));
        let (x, slope, dy) = (x.data(), slope.data(), dy.data());
        dispatch(Backward { x, slope, dy, dx: dx.data_mut(), da: da.as_mut().map(Tensor::data_mut) });
        return (dx, da);
    }
    let n = super::row_count(x.shape());
    let slices = super::slices(n, 64);
    let (mut da, mut partial) = (x.like_f32(&[c]), x.like_f32(&[slices.count, c]));
    kernels::prelu_bwd_x(Launch::quads(x.len()), &mut dx, x, dy, slope, c, x.len());
    if !is_trained {
        return (dx, None);
    }
    let launch = Launch::new([c.div_ceil(32), slices.count, 1], 256);
    kernels::prelu_bwd_a(launch, &mut partial, x, dy, n, c, slices.rows);
    kernels::prelu_bwd_reduce_f32(Launch::rows(c.div_ceil(32), 1024), &mut da, &partial, slices.count, c);
    (dx, Some(da))
}

struct Forward<'a> {
    x: &'a [f32],
    slope: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let c = self.slope.len();
        for (y, x) in self.y.chunks_exact_mut(c).zip(self.x.chunks_exact(c)) {
            each_vector!(S, c, |at, n| {
                let (x, a) = (get(s, x, at, n), get(s, self.slope, at, n));
                put(s, y, at, n, s.select_above(x, s.zero(), x, s.mul(a, x)));
            });
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    slope: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    da: Option<&'a mut [f32]>,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let c = self.slope.len();
        for ((dx, x), dy) in self.dx.chunks_exact_mut(c).zip(self.x.chunks_exact(c)).zip(self.dy.chunks_exact(c)) {
            each_vector!(S, c, |at, n| {
                let (x, a, dy) = (get(s, x, at, n), get(s, self.slope, at, n), get(s, dy, at, n));
                put(s, dx, at, n, s.select_above(x, s.zero(), dy, s.mul(a, dy)));
                if let Some(da) = &mut self.da {
                    let share = s.select_above(x, s.zero(), s.zero(), s.mul(dy, x));
                    add_to(s, da, at, n, share);
                }
            });
        }
    }
}

#[derive(Clone)]
pub(super) struct Plain {
    pub(super) c: usize,
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let zero = R::of(0.0);
        let apply = |(i, &x): (usize, &R)| if x > zero { x } else { inputs[1][i % self.c] * x };
        inputs[0].iter().enumerate().map(apply).collect()
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let zero = R::of(0.0);
        let (mut dx, mut da) = (vec![zero; dy.len()], vec![zero; self.c]);
        for (i, (&x, &d)) in inputs[0].iter().zip(dy).enumerate() {
            dx[i] = if x > zero { d } else { inputs[1][i % self.c] * d };
            if x <= zero {
                da[i % self.c] += d * x;
            }
        }
        vec![dx, da]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |rows: usize, c: usize| {
        let inputs = vec![input(&[rows, c]), input(&[c]).scaled(0.1).shifted(0.25).keep_f32()];
        Case::new("prelu", format!("rows {rows}, C {c}"), Plain { c }, inputs, |tape, v| prelu(tape, &v[0], &v[1]))
            .with_bf16()
    };
    let sizes = [(1, 1), (5, 13), (9, 31), (3, 33), (63, 4), (65, 7), (131, 5)];
    let mut all: Vec<Case> = sizes.map(|(r, c)| case(r, c)).into();
    all.push(case(4 * 129, 96).bench(2.0 * 4.0 * 129.0 * 96.0));
    all.push(case(501, 96).bench(2.0 * 501.0 * 96.0).copied(1032, &[0]));
    all
}
