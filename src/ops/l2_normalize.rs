//! y = x / max(|x|, eps) over the last axis: unit direction vectors.   x [.., C] -> y [.., C]
//!
//! Backward: dx = (dy - y (y . dy)) / |x|; below eps the divisor is a constant and dx = dy / eps.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Smallest divisor, as in the paper's read-out.
pub const EPS: f32 = 1e-6;

/// Scales every row to unit length.
pub fn l2_normalize(tape: &mut Tape, x: &Var) -> Var {
    let c = *x.shape().last().expect("l2_normalize of a scalar");
    let (y, xv) = (forward(x.tensor(), c), x.clone());
    tape.record("l2_normalize", &[x], y, move |dy, grads| grads.add(xv.id(), backward(xv.tensor(), dy, c)))
}

fn forward(x: &Tensor, c: usize) -> Tensor {
    let mut y = x.like(x.shape());
    if x.device() == Device::Host {
        forward_rows(x.data(), y.data_mut(), c);
        return y;
    }
    let n = super::row_count(x.shape());
    kernels::l2_normalize_fwd(Launch::rows(n.div_ceil(4), 128), &mut y, x, n, c, EPS);
    y
}

fn backward(x: &Tensor, dy: &Tensor, c: usize) -> Tensor {
    let mut dx = x.like(x.shape());
    if x.device() == Device::Host {
        backward_rows(x.data(), dy.data(), dx.data_mut(), c);
        return dx;
    }
    let n = super::row_count(x.shape());
    kernels::l2_normalize_bwd(Launch::rows(n.div_ceil(4), 128), &mut dx, x, dy, n, c, EPS);
    dx
}

fn forward_rows<R: Real>(x: &[R], y: &mut [R], c: usize) {
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        let norm = x.iter().map(|&v| v * v).sum::<R>().sqrt().max(R::of(EPS as f64));
        x.iter().zip(y).for_each(|(&x, y)| *y = x / norm);
    }
}

fn backward_rows<R: Real>(x: &[R], dy: &[R], dx: &mut [R], c: usize) {
    for ((x, dy), dx) in x.chunks_exact(c).zip(dy.chunks_exact(c)).zip(dx.chunks_exact_mut(c)) {
        let norm = x.iter().map(|&v| v * v).sum::<R>().sqrt();
        if norm < R::of(EPS as f64) {
            dx.iter_mut().zip(dy).for_each(|(dx, &d)| *dx = d / R::of(EPS as f64));
            continue;
        }
        let along = x.iter().zip(dy).map(|(&x, &d)| x * d).sum::<R>() / (norm * norm);
        for i in 0..c {
            dx[i] = (dy[i] - x[i] * along) / norm;
        }
    }
}

#[derive(Clone)]
struct Plain {
    c: usize,
}

impl Reference for Plain {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        let mut y = vec![R::of(0.0); x[0].len()];
        forward_rows(x[0], &mut y, self.c);
        y
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::of(0.0); x[0].len()];
        backward_rows(x[0], dy, &mut dx, self.c);
        vec![dx]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |rows: usize, c: usize| {
        let name = format!("rows {rows}, C {c}");
        Case::new("l2_normalize", name, Plain { c }, vec![input(&[rows, c])], |tape, v| l2_normalize(tape, &v[0]))
            .with_bf16()
    };
    [(1, 2), (5, 3), (7, 17), (3, 31), (4, 32), (2, 33)].map(|(r, c)| case(r, c)).into()
}
