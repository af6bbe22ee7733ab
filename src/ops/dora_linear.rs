//! y = g (x W^T + s (x A^T) B^T) + b with g = m / ||W + s B A|| row by row: a frozen layer with an adapter whose rows keep
//! lengths of their own (DoRA, arXiv 2402.09353).
//!
//! x [.., K], W [M, K], b [M], A [R, K], B [M, R], m [M] -> y [.., M]. As in PEFT the lengths ||W + s B A|| are constants of
//! the backward pass: du = g dy, dm = sum_rows(u dy) / ||..||, and the rest is [`super::lora_linear`]'s for u. On the host
//! only: there are no kernels for the lengths.

use super::lora_linear::{Rank, lora_linear};
use super::packed::Weight;
use crate::device::Device;
use crate::device::product::Threads;
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
use rayon::prelude::*;

/// Applies the layer, x [.., K] -> [.., M]. Panics on a device, and when W or the bias is tracked.
#[track_caller]
pub fn dora_linear(tape: &mut Tape, x: &Var, weight: &Weight, bias: Option<&Var>, rank: &Rank, magnitude: &Var) -> Var {
    assert!(x.tensor().device() == Device::Host, "dora_linear is computed on the host only");
    let [m, _] = weight.dims();
    magnitude.tensor().expect_shape("dora_linear magnitude", &[m]);
    let u = lora_linear(tape, x, weight, None, std::slice::from_ref(rank));
    let lengths = row_lengths(weight, rank, tape.products());
    let gains: Vec<f32> = magnitude.data().iter().zip(&lengths).map(|(m, length)| m / length).collect();
    let none = vec![0.0; m];
    let bias = bias.map_or(&none[..], Var::data);
    let mut y = Tensor::uninit(u.shape());
    for (y, u) in y.data_mut().chunks_exact_mut(m).zip(u.data().chunks_exact(m)) {
        for i in 0..m {
            y[i] = gains[i] * u[i] + bias[i];
        }
    }
    let (uv, mid) = (u.clone(), magnitude.id());
    tape.record("dora_linear", &[&u, magnitude], y, move |dy, grads| {
        if mid.is_some() {
            let mut slopes = vec![0.0f64; m];
            for (dy, u) in dy.data().chunks_exact(m).zip(uv.data().chunks_exact(m)) {
                (0..m).for_each(|i| slopes[i] += dy[i] as f64 * u[i] as f64);
            }
            let slopes: Vec<f32> = slopes.iter().zip(&lengths).map(|(s, &l)| (s / l as f64) as f32).collect();
            grads.add(mid, Tensor::from_slice(&[m], &slopes));
        }
        if uv.id().is_some() {
            let mut du = dy.clone();
            du.data_mut().chunks_exact_mut(m).for_each(|row| row.iter_mut().zip(&gains).for_each(|(d, g)| *d *= g));
            grads.add(uv.id(), du);
        }
    })
}

/// The lengths of the rows of W + s B A, [M]: what the magnitudes of a fresh adapter are, and what they are divided by.
pub fn row_lengths(weight: &Weight, rank: &Rank, threads: Threads) -> Vec<f32> {
    let [m, k] = weight.dims();
    let whole = weight.whole(DType::F32, threads);
    let weight = whole.tensor();
    let r = rank.a.shape()[0];
    let (a, b) = (rank.a.data(), rank.b.data());
    let length = |i: usize| {
        let mut row = match weight.dtype() {
            DType::Bf16 => weight.values::<half::bf16>()[i * k..][..k].iter().map(|v| v.to_f32()).collect::<Vec<f32>>(),
            _ => weight.data()[i * k..][..k].to_vec(),
        };
        for j in 0..r {
            let factor = rank.scale * b[i * r + j];
            row.iter_mut().zip(&a[j * k..][..k]).for_each(|(w, a)| *w += factor * a);
        }
        row.iter().map(|&w| w as f64 * w as f64).sum::<f64>().sqrt() as f32
    };
    match threads {
        Threads::One => (0..m).map(length).collect(),
        Threads::All | Threads::Apart => (0..m).into_par_iter().map(length).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Case, Real, Reference, gradcheck, input, parity};

    #[derive(Clone)]
    struct Plain {
        rows: usize,
        m: usize,
        k: usize,
        r: usize,
        scale: f64,
    }

    impl Plain {
        /// W + s B A, and the lengths of its rows as constants.
        fn adapted<R: Real>(&self, inputs: &[&[R]]) -> (Vec<R>, Vec<R>) {
            let &Plain { m, k, r, scale, .. } = self;
            let (w, a, b) = (inputs[1], inputs[3], inputs[4]);
            let number = |i: usize| {
                let update: R = (0..r).map(|j| b[i / k * r + j] * a[j * k + i % k]).sum();
                w[i] + R::of(scale) * update
            };
            let adapted: Vec<R> = (0..m * k).map(number).collect();
            let length = |row: &[R]| row.iter().map(|&v| v * v).sum::<R>().sqrt();
            let lengths = adapted.chunks_exact(k).map(length).collect();
            (adapted, lengths)
        }
    }

    impl Reference for Plain {
        fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
            let &Plain { rows, m, k, .. } = self;
            let (adapted, lengths) = self.adapted(inputs);
            let number = |at: usize| {
                let (row, i) = (at / m, at % m);
                let dot: R = (0..k).map(|j| inputs[0][row * k + j] * adapted[i * k + j]).sum();
                inputs[5][i] / lengths[i] * dot + inputs[2][i]
            };
            (0..rows * m).map(number).collect()
        }
        fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
            let &Plain { rows, m, k, r, scale } = self;
            let (adapted, lengths) = self.adapted(inputs);
            let (x, a, b, magnitude, zero) = (inputs[0], inputs[3], inputs[4], inputs[5], R::of(0.0));
            let (mut dx, mut dm) = (vec![zero; rows * k], vec![zero; m]);
            let (mut da, mut db) = (vec![zero; r * k], vec![zero; m * r]);
            for row in 0..rows {
                for i in 0..m {
                    let gain = magnitude[i] / lengths[i];
                    let d = gain * dy[row * m + i];
                    let dot: R = (0..k).map(|j| x[row * k + j] * adapted[i * k + j]).sum();
                    dm[i] += dy[row * m + i] * dot / lengths[i];
                    for j in 0..k {
                        dx[row * k + j] += d * adapted[i * k + j];
                        for q in 0..r {
                            da[q * k + j] += R::of(scale) * d * b[i * r + q] * x[row * k + j];
                            db[i * r + q] += R::of(scale) * d * a[q * k + j] * x[row * k + j];
                        }
                    }
                }
            }
            vec![dx, Vec::new(), Vec::new(), da, db, dm]
        }
    }

    /// Central differences see the lengths move, which the definition holds constant: A and B are fixed in that check.
    fn case(rows: usize, m: usize, k: usize, r: usize, are_fixed: bool) -> Case {
        let fix = |input: crate::check::Input| if are_fixed { input.fixed() } else { input };
        let inputs = vec![
            input(&[rows, k]),
            input(&[m, k]).scaled((k as f64).powf(-0.5)).fixed(),
            input(&[m]).fixed(),
            fix(input(&[r, k]).scaled((k as f64).powf(-0.5))),
            fix(input(&[m, r]).scaled((r as f64).powf(-0.5))),
            input(&[m]).shifted(2.0),
        ];
        let scale = 1.5;
        let name = format!("rows {rows}, {k} -> {m}, rank {r}");
        Case::new("dora_linear", name, Plain { rows, m, k, r, scale }, inputs, move |tape, v| {
            let rank = Rank { a: v[3].clone(), b: v[4].clone(), scale: scale as f32 };
            dora_linear(tape, &v[0], &(&v[1]).into(), Some(&v[2]), &rank, &v[5])
        })
    }

    #[test]
    fn the_definition_and_the_host_agree() {
        for (rows, m, k, r) in [(1, 1, 1, 1), (3, 7, 5, 2), (17, 33, 31, 7)] {
            gradcheck(&case(rows, m, k, r, true)).unwrap();
            for are_fixed in [true, false] {
                let parity = parity(&case(rows, m, k, r, are_fixed)).unwrap();
                assert!(parity.holds(), "{rows} {m} {k} {r} {are_fixed}: {parity:?}");
            }
        }
    }
}
