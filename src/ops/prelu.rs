//! y = max(x, 0) + a min(x, 0) with one slope per channel.   x [.., C], a [C] -> y [.., C]
//!
//! Backward: dx = dy (x > 0 ? 1 : a), da = sum of dy x where x <= 0. At 0 the slope is a, as in PyTorch.

use crate::check::{Case, Real, Reference, input};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Applies the function to every element.
#[track_caller]
pub fn prelu(tape: &mut Tape, x: &Var, slope: &Var) -> Var {
    let c = *x.shape().last().expect("prelu of a scalar");
    slope.tensor().expect_shape("prelu slope", &[c]);
    let mut y = Tensor::uninit(x.shape());
    for (y, x) in y.data_mut().chunks_exact_mut(c).zip(x.data().chunks_exact(c)) {
        for ((y, &x), &a) in y.iter_mut().zip(x).zip(slope.data()) {
            *y = if x > 0.0 { x } else { a * x };
        }
    }
    let (xv, av) = (x.clone(), slope.clone());
    tape.record("prelu", &[x, slope], y, move |dy, grads| {
        let (mut dx, mut da) = (Tensor::uninit(xv.shape()), Tensor::zeros(&[c]));
        let rows = dx.data_mut().chunks_exact_mut(c).zip(xv.data().chunks_exact(c)).zip(dy.data().chunks_exact(c));
        let (a, sum) = (av.data(), da.data_mut());
        for ((dx, x), dy) in rows {
            for i in 0..c {
                let positive = x[i] > 0.0;
                dx[i] = if positive { dy[i] } else { a[i] * dy[i] };
                sum[i] += if positive { 0.0 } else { dy[i] * x[i] };
            }
        }
        grads.add(xv.id(), dx);
        grads.add(av.id(), da);
    })
}

#[derive(Clone)]
struct Plain {
    c: usize,
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
        let inputs = vec![input(&[rows, c]), input(&[c]).scaled(0.1).shifted(0.25)];
        Case::new("prelu", format!("rows {rows}, C {c}"), Plain { c }, inputs, |tape, v| prelu(tape, &v[0], &v[1]))
    };
    let mut all: Vec<Case> = [(1, 1), (5, 13), (9, 31), (3, 33)].map(|(r, c)| case(r, c)).into();
    all.push(case(4 * 129, 96).bench(2.0 * 4.0 * 129.0 * 96.0));
    all
}
