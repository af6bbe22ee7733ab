//! y = (x - mean) / sqrt(var + eps) * w + b over the last axis.   x [.., C], w [C], b [C] -> y [.., C]
//!
//! The variance is the biased one. The backward recomputes mean and rstd: one more pass over a row that is in
//! the cache anyway, instead of two more tensors. With g = dy w and xhat the normalised row:
//! dx = rstd (g - mean(g) - xhat mean(g xhat)), dw = sum dy xhat, db = sum dy.

use crate::check::{Case, Real, Reference, input};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// PyTorch's default epsilon.
pub const EPS: f32 = 1e-5;

/// Normalises the last axis.
#[track_caller]
pub fn layer_norm(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var) -> Var {
    let c = *x.shape().last().expect("layer_norm of a scalar");
    weight.tensor().expect_shape("layer_norm weight", &[c]);
    bias.tensor().expect_shape("layer_norm bias", &[c]);
    let mut y = Tensor::uninit(x.shape());
    let (w, b) = (weight.data(), bias.data());
    for (y, x) in y.data_mut().chunks_exact_mut(c).zip(x.data().chunks_exact(c)) {
        let (mean, rstd) = moments(x);
        for i in 0..c {
            y[i] = (x[i] - mean) * rstd * w[i] + b[i];
        }
    }
    let (xv, wv, bid) = (x.clone(), weight.clone(), bias.id());
    tape.record("layer_norm", &[x, weight, bias], y, move |dy, grads| {
        let (dx, dw, db) = backward(dy, xv.tensor(), wv.data());
        grads.add(xv.id(), dx);
        grads.add(wv.id(), dw);
        grads.add(bid, db);
    })
}

fn moments(x: &[f32]) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = x.iter().sum::<f32>() / n;
    let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n;
    (mean, 1.0 / (variance + EPS).sqrt())
}

fn backward(dy: &Tensor, x: &Tensor, w: &[f32]) -> (Tensor, Tensor, Tensor) {
    let c = w.len();
    let mut dx = Tensor::uninit(x.shape());
    let (mut dw, mut db) = (Tensor::zeros(&[c]), Tensor::zeros(&[c]));
    let (dwd, dbd) = (dw.data_mut(), db.data_mut());
    for ((dx, dy), x) in dx.data_mut().chunks_exact_mut(c).zip(dy.data().chunks_exact(c)).zip(x.data().chunks_exact(c))
    {
        let (mean, rstd) = moments(x);
        let (mut sum_g, mut sum_gx) = (0.0, 0.0);
        for i in 0..c {
            let xhat = (x[i] - mean) * rstd;
            let g = dy[i] * w[i];
            sum_g += g;
            sum_gx += g * xhat;
            dwd[i] += dy[i] * xhat;
            dbd[i] += dy[i];
        }
        let (mean_g, mean_gx) = (sum_g / c as f32, sum_gx / c as f32);
        for i in 0..c {
            dx[i] = rstd * (dy[i] * w[i] - mean_g - (x[i] - mean) * rstd * mean_gx);
        }
    }
    (dx, dw, db)
}

#[derive(Clone)]
struct Plain {
    rows: usize,
    c: usize,
}

impl Plain {
    fn normalised<R: Real>(&self, x: &[R]) -> (Vec<R>, R) {
        let n = R::of(self.c as f64);
        let mean = x.iter().copied().sum::<R>() / n;
        let variance = x.iter().map(|&v| (v - mean) * (v - mean)).sum::<R>() / n;
        let rstd = R::of(1.0) / (variance + R::of(EPS as f64)).sqrt();
        (x.iter().map(|&v| (v - mean) * rstd).collect(), rstd)
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let rows = inputs[0].chunks(self.c);
        rows.flat_map(|x| {
            let (xhat, _) = self.normalised(x);
            (0..self.c).map(move |i| xhat[i] * inputs[1][i] + inputs[2][i]).collect::<Vec<R>>()
        })
        .collect()
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (c, n, zero) = (self.c, R::of(self.c as f64), R::of(0.0));
        let (mut dx, mut dw, mut db) = (vec![zero; self.rows * c], vec![zero; c], vec![zero; c]);
        for r in 0..self.rows {
            let (xhat, rstd) = self.normalised(&inputs[0][r * c..(r + 1) * c]);
            let dy = &dy[r * c..(r + 1) * c];
            let g: Vec<R> = (0..c).map(|i| dy[i] * inputs[1][i]).collect();
            let mean_g = g.iter().copied().sum::<R>() / n;
            let mean_gx = (0..c).map(|i| g[i] * xhat[i]).sum::<R>() / n;
            for i in 0..c {
                dx[r * c + i] = rstd * (g[i] - mean_g - xhat[i] * mean_gx);
                dw[i] += dy[i] * xhat[i];
                db[i] += dy[i];
            }
        }
        vec![dx, dw, db]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |rows: usize, c: usize| {
        let inputs = vec![input(&[rows, c]).shifted(0.3), input(&[c]).shifted(1.0), input(&[c])];
        Case::new("layer_norm", format!("rows {rows}, C {c}"), Plain { rows, c }, inputs, |tape, v| {
            layer_norm(tape, &v[0], &v[1], &v[2])
        })
    };
    let mut all: Vec<Case> = [(1, 2), (3, 31), (5, 32), (2, 33), (7, 96)].map(|(r, c)| case(r, c)).into();
    all.push(case(626, 96).bench(8.0 * 626.0 * 96.0));
    all
}
