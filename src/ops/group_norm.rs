//! Group normalisation along a sequence.   x [N, L, C], w [C], b [C] -> y [N, L, C]
//!
//! For every n and group g, mean and biased variance over (L, C / groups); then w and b per channel
//! (torch.nn.GroupNorm on [N, C, L]). Backward as in `layer_norm`, with the sums over (L, C / groups).

use super::layer_norm::EPS;
use crate::check::{Case, Real, Reference, input};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Normalises each group of channels over the whole sequence.
#[track_caller]
pub fn group_norm(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var, groups: usize) -> Var {
    let [n, l, c] = x.tensor().dims("group_norm x");
    assert!(groups > 0 && c % groups == 0, "group_norm: {c} channels do not split into {groups} groups");
    weight.tensor().expect_shape("group_norm weight", &[c]);
    bias.tensor().expect_shape("group_norm bias", &[c]);
    let sizes = Sizes { n, l, c, groups };
    let mut y = Tensor::uninit(x.shape());
    for i in 0..n {
        let at = i * l * c..(i + 1) * l * c;
        let (scale, shift) = sizes.affine(&x.data()[at.clone()], weight.data(), bias.data());
        for (y, x) in y.data_mut()[at.clone()].chunks_exact_mut(c).zip(x.data()[at].chunks_exact(c)) {
            for j in 0..c {
                y[j] = x[j] * scale[j] + shift[j];
            }
        }
    }
    let (xv, wv, bid) = (x.clone(), weight.clone(), bias.id());
    tape.record("group_norm", &[x, weight, bias], y, move |dy, grads| {
        let (mut dx, mut dw, mut db) = (Tensor::uninit(xv.shape()), Tensor::zeros(&[c]), Tensor::zeros(&[c]));
        for i in 0..n {
            let at = i * l * c..(i + 1) * l * c;
            let out = (&mut dx.data_mut()[at.clone()], dw.data_mut(), db.data_mut());
            sizes.backward(&xv.data()[at.clone()], wv.data(), &dy.data()[at], out);
        }
        grads.add(xv.id(), dx);
        grads.add(wv.id(), dw);
        grads.add(bid, db);
    })
}

#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    l: usize,
    c: usize,
    groups: usize,
}

impl Sizes {
    /// Mean and rstd of every group of one sequence, from per-channel sums in two passes.
    fn moments(&self, x: &[f32]) -> Vec<(f32, f32)> {
        let width = self.c / self.groups;
        let count = (self.l * width) as f32;
        let sums = channel_sums(x, self.c, |v, _| v);
        let means: Vec<f32> = sums.chunks_exact(width).map(|g| g.iter().sum::<f32>() / count).collect();
        let squares = channel_sums(x, self.c, |v, j| (v - means[j / width]) * (v - means[j / width]));
        let variances = squares.chunks_exact(width).map(|g| g.iter().sum::<f32>() / count);
        means.iter().zip(variances).map(|(&m, v)| (m, 1.0 / (v + EPS).sqrt())).collect()
    }

    /// y = x * scale + shift for every channel of one sequence.
    fn affine(&self, x: &[f32], w: &[f32], b: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let width = self.c / self.groups;
        let moments = self.moments(x);
        let scale: Vec<f32> = (0..self.c).map(|j| moments[j / width].1 * w[j]).collect();
        let shift = (0..self.c).map(|j| b[j] - moments[j / width].0 * scale[j]).collect();
        (scale, shift)
    }

    fn backward(&self, x: &[f32], w: &[f32], dy: &[f32], (dx, dw, db): (&mut [f32], &mut [f32], &mut [f32])) {
        let (c, width) = (self.c, self.c / self.groups);
        let count = (self.l * width) as f32;
        let moments = self.moments(x);
        let (mut sum_dy, mut sum_dyx) = (vec![0.0f32; c], vec![0.0f32; c]);
        for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
            for j in 0..c {
                let (mean, rstd) = moments[j / width];
                sum_dy[j] += dy[j];
                sum_dyx[j] += dy[j] * (x[j] - mean) * rstd;
            }
        }
        let group_mean =
            |sums: &[f32], g: usize| (g * width..(g + 1) * width).map(|j| sums[j] * w[j]).sum::<f32>() / count;
        let means: Vec<(f32, f32)> =
            (0..self.groups).map(|g| (group_mean(&sum_dy, g), group_mean(&sum_dyx, g))).collect();
        for ((dx, x), dy) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(dy.chunks_exact(c)) {
            for j in 0..c {
                let ((mean, rstd), (mean_g, mean_gx)) = (moments[j / width], means[j / width]);
                dx[j] = rstd * (dy[j] * w[j] - mean_g - (x[j] - mean) * rstd * mean_gx);
            }
        }
        for j in 0..c {
            dw[j] += sum_dyx[j];
            db[j] += sum_dy[j];
        }
    }
}

fn channel_sums(x: &[f32], c: usize, f: impl Fn(f32, usize) -> f32) -> Vec<f32> {
    let (mut total, mut block_sum) = (vec![0.0f32; c], vec![0.0f32; c]);
    // Sums of 32 rows first: the rounding of a long sequence stays that of a short one.
    for block in x.chunks(32 * c) {
        block_sum.fill(0.0);
        for row in block.chunks_exact(c) {
            for j in 0..c {
                block_sum[j] += f(row[j], j);
            }
        }
        total.iter_mut().zip(&block_sum).for_each(|(t, s)| *t += s);
    }
    total
}

#[derive(Clone)]
struct Plain(Sizes);

impl Plain {
    /// Indices of the elements of group g of sequence n.
    fn members(&self, n: usize, g: usize) -> Vec<usize> {
        let Sizes { l, c, groups, .. } = self.0;
        let width = c / groups;
        (0..l).flat_map(|t| (0..width).map(move |j| (n * l + t) * c + g * width + j)).collect()
    }
    fn each_group<R: Real>(&self, x: &[R], mut visit: impl FnMut(&[usize], Vec<R>, R)) {
        for n in 0..self.0.n {
            for g in 0..self.0.groups {
                let members = self.members(n, g);
                let count = R::of(members.len() as f64);
                let mean = members.iter().map(|&i| x[i]).sum::<R>() / count;
                let variance = members.iter().map(|&i| (x[i] - mean) * (x[i] - mean)).sum::<R>() / count;
                let rstd = R::of(1.0) / (variance + R::of(EPS as f64)).sqrt();
                let xhat = members.iter().map(|&i| (x[i] - mean) * rstd).collect();
                visit(&members, xhat, rstd);
            }
        }
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let (c, mut y) = (self.0.c, vec![R::of(0.0); inputs[0].len()]);
        self.each_group(inputs[0], |members, xhat, _| {
            for (&i, xhat) in members.iter().zip(xhat) {
                y[i] = xhat * inputs[1][i % c] + inputs[2][i % c];
            }
        });
        y
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (c, zero) = (self.0.c, R::of(0.0));
        let (mut dx, mut dw, mut db) = (vec![zero; dy.len()], vec![zero; c], vec![zero; c]);
        self.each_group(inputs[0], |members, xhat, rstd| {
            let count = R::of(members.len() as f64);
            let g: Vec<R> = members.iter().map(|&i| dy[i] * inputs[1][i % c]).collect();
            let mean_g = g.iter().copied().sum::<R>() / count;
            let mean_gx = g.iter().zip(&xhat).map(|(&g, &x)| g * x).sum::<R>() / count;
            for (k, &i) in members.iter().enumerate() {
                dx[i] = rstd * (g[k] - mean_g - xhat[k] * mean_gx);
                dw[i % c] += dy[i] * xhat[k];
                db[i % c] += dy[i];
            }
        });
        vec![dx, dw, db]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |n: usize, l: usize, c: usize, groups: usize| {
        let inputs = vec![input(&[n, l, c]).shifted(0.3), input(&[c]).shifted(1.0), input(&[c])];
        let name = format!("N {n}, L {l}, C {c}, groups {groups}");
        Case::new("group_norm", name, Plain(Sizes { n, l, c, groups }), inputs, move |tape, v| {
            group_norm(tape, &v[0], &v[1], &v[2], groups)
        })
    };
    let checks = [(1, 1, 2, 1), (2, 7, 6, 3), (1, 33, 8, 8), (3, 5, 12, 4)];
    let mut all: Vec<Case> = checks.map(|(n, l, c, g)| case(n, l, c, g)).into();
    all.push(case(1, 626, 192, 8).bench(8.0 * 626.0 * 192.0));
    all
}
