//! The two ops in plain loops, and their cases.

use super::{cross_entropy, linear_cross_entropy, linear_log_prob, log_prob};
use crate::check::{Case, Real, Reference, input};
use crate::tensor::Tensor;

#[derive(Clone)]
struct Plain {
    v: usize,
    c: usize,
    targets: Vec<i32>,
    /// Weights of the loss's rows; `None` for the log-probabilities themselves.
    row_weights: Option<Vec<f64>>,
    has_trained_weight: bool,
}

impl Plain {
    /// Probabilities of a row, and the logarithm of its target's.
    fn row<R: Real>(&self, x: &[R], w: &[R], target: usize) -> (Vec<R>, R) {
        let dot = |w: &[R]| x.iter().zip(w).map(|(&x, &w)| x * w).sum::<R>();
        let logits: Vec<R> = w.chunks(self.c).map(dot).collect();
        let most = logits.iter().copied().fold(logits[0], R::max);
        let powers: Vec<R> = logits.iter().map(|&l| (l - most).exp()).collect();
        let sum = powers.iter().copied().sum::<R>();
        (powers.iter().map(|&p| p / sum).collect(), logits[target] - most - sum.ln())
    }
    /// Rows that count: number, target, weight of their cross entropy for the upstream gradient `dy`.
    fn rows<R: Real>(&self, dy: &[R]) -> Vec<(usize, usize, R)> {
        let weight = |n: usize| match &self.row_weights {
            Some(weights) => R::of(weights[n]) * dy[0],
            None => -dy[n],
        };
        let counts = |n: &usize| self.row_weights.as_ref().is_none_or(|w| w[*n] != 0.0);
        (0..self.targets.len()).filter(counts).map(|n| (n, self.targets[n] as usize, weight(n))).collect()
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let ones = vec![R::of(1.0); self.targets.len()];
        let log_prob = |n: usize, t: usize| self.row(&inputs[0][n * self.c..][..self.c], inputs[1], t).1;
        let terms = self.rows(&ones).into_iter().map(|(n, t, w)| (log_prob(n, t), w));
        match self.row_weights {
            Some(_) => vec![terms.map(|(lp, w)| -lp * w).sum()],
            None => terms.map(|(lp, _)| lp).collect(),
        }
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (c, w) = (self.c, inputs[1]);
        let mut dx = vec![R::of(0.0); inputs[0].len()];
        let mut dw = vec![R::of(0.0); if self.has_trained_weight { w.len() } else { 0 }];
        for (n, t, weight) in self.rows(dy) {
            let x = &inputs[0][n * c..][..c];
            let (p, _) = self.row(x, w, t);
            for v in 0..self.v {
                let slope = weight * (p[v] - R::of(if v == t { 1.0 } else { 0.0 }));
                for i in 0..c {
                    dx[n * c + i] += slope * w[v * c + i];
                    if self.has_trained_weight {
                        dw[v * c + i] += slope * x[i];
                    }
                }
            }
        }
        vec![dx, dw]
    }
}

/// [N, V, C], and rows of a chunk where it is not the usual.
type Sizes = ([usize; 3], Option<usize>);

/// A case of the loss, or of log-probabilities. Every third row of the loss is left out, its target no token.
fn case(([n, v, c], chunk): Sizes, is_loss: bool, has_trained_weight: bool) -> Case {
    let weight = |i: usize| if i % 3 == 2 { 0.0 } else { 0.25 + i as f64 / 8.0 };
    let row_weights = is_loss.then(|| (0..n).map(weight).collect::<Vec<f64>>());
    let is_left_out = |i: usize| row_weights.as_ref().is_some_and(|w| w[i] == 0.0);
    let targets: Vec<i32> = (0..n).map(|i| if is_left_out(i) { -100 } else { ((i * i * 5 + 3) % v) as i32 }).collect();
    let weight = input(&[v, c]).scaled((c as f64).powf(-0.5));
    let inputs = vec![input(&[n, c]), if has_trained_weight { weight } else { weight.fixed() }];
    let kind = if is_loss { "loss" } else { "log-probabilities" };
    let state = if has_trained_weight { "trained" } else { "frozen" };
    let name = format!("{kind}, N {n}, V {v}, C {c}, {state}, {} rows a chunk", chunk.unwrap_or(n));
    let plain = Plain { v, c, targets: targets.clone(), row_weights: row_weights.clone(), has_trained_weight };
    let targets = Tensor::from_slice(&[n], &targets);
    let weights = row_weights.map(|w| Tensor::from_slice(&[n], &w.iter().map(|&w| w as f32).collect::<Vec<f32>>()));
    Case::new("linear_cross_entropy", name, plain, inputs, move |tape, vars| {
        let vars = [&vars[0], &vars[1]];
        match (&weights, chunk) {
            (Some(weights), Some(chunk)) => cross_entropy(tape, vars, &targets, weights, chunk),
            (Some(weights), None) => linear_cross_entropy(tape, vars[0], vars[1], &targets, weights),
            (None, Some(chunk)) => log_prob(tape, vars, &targets, chunk),
            (None, None) => linear_log_prob(tape, vars[0], vars[1], &targets),
        }
    })
    .with_bf16()
}

/// The cases of these ops: vocabularies around packs, vectors and a block's threads, chunks that do not divide the rows.
pub fn cases() -> Vec<Case> {
    let sizes: [Sizes; 8] = [
        ([1, 1, 1], None),
        ([1, 3, 2], None),
        ([5, 7, 3], Some(2)),
        ([7, 15, 16], Some(1)),
        ([13, 33, 17], Some(5)),
        ([4, 1025, 5], Some(3)),
        ([9, 521, 33], None),
        ([31, 97, 24], Some(9)),
    ];
    let mut all = Vec::new();
    for (i, size) in sizes.into_iter().enumerate() {
        all.extend([case(size, true, i % 2 == 0), case(size, false, i % 2 == 1)]);
    }
    all.push(case(([17, 130, 40], Some(8)), true, true));
    let (n, v, c) = (16, 18_992, 896);
    let flops = 4.0 * (n * v * c) as f64;
    all.push(case(([n, v, c], None), true, false).bench(flops));
    all
}
