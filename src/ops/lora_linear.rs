//! y = x W^T + b + sum_i s_i (x A_i^T) B_i^T: a frozen linear layer beside its low-rank adapters (LoRA, arXiv 2106.09685).
//!
//! x [.., K], W [M, K] (f32 or bf16), b [M], A_i [R, K], B_i [M, R] -> y [.., M]. W and b are frozen: nothing is computed for
//! them. With t = x A^T and u = dy B, both R wide: dx = dy W + s u A, dA = s u^T x, dB = s dy^T t. Only x (or how to make it
//! again, [`Var::saved`]) and t are kept.
//!
//! The products that are R wide read their long operand along its rows: with R <= 8 they pass over it once, at the speed of
//! memory. W may be packed in eight or four bits ([`super::packed`]); it is unpacked for the product of either pass.

use super::elementwise;
use super::matmul::{Epilogue, Factor, product_on_device};
use super::packed::Weight;
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::product::{Matrix, Numbers, Stored, Threads, multiply};
use crate::device::tile::{Extent, Start};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// One adapter of a layer.
#[derive(Clone, Debug)]
pub struct Rank {
    /// A [R, K].
    pub a: Var,
    /// B [M, R].
    pub b: Var,
    /// s, the factor of its output.
    pub scale: f32,
}

/// Applies the layer with its adapters, of which there may be none, x [.., K] -> [.., M]. Panics when W or the bias is
/// tracked: their gradients are not computed.
#[track_caller]
pub fn lora_linear(tape: &mut Tape, x: &Var, weight: &Weight, bias: Option<&Var>, ranks: &[Rank]) -> Var {
    assert!(!weight.is_tracked() && bias.is_none_or(|b| b.id().is_none()), "lora_linear beside a trained weight");
    let [m, k] = weight.dims();
    for rank in ranks {
        let [r, _] = rank.a.tensor().dims("lora_linear A");
        rank.a.tensor().expect_shape("lora_linear A", &[r, k]);
        rank.b.tensor().expect_shape("lora_linear B", &[m, r]);
    }
    let sizes = Sizes { rows: super::row_count(x.shape()), m, k, threads: tape.products() };
    // Tracked through x on the tape of this op, not on one of its own.
    let mut y = weight.times(tape.products(), x.tensor(), bias);
    let mut lows = Vec::with_capacity(ranks.len());
    for rank in ranks {
        let low = sizes.low(x.tensor(), rank.a.tensor());
        y = sizes.plus_outer(y, &low, rank.b.tensor(), rank.scale, Side::Output);
        lows.push(low);
    }
    let inputs: Vec<&Var> = std::iter::once(x).chain(ranks.iter().flat_map(|r| [&r.a, &r.b])).collect();
    let needs_x = ranks.iter().any(|r| r.a.id().is_some());
    let saved = needs_x.then(|| x.saved());
    let (xid, shape, weight, ranks) = (x.id(), x.shape().to_vec(), weight.clone(), ranks.to_vec());
    tape.record("lora_linear", &inputs, y, move |dy, grads| {
        let x = saved.map(|saved| saved.tensor());
        let mut dx = xid.map(|_| weight.input_gradient(sizes.threads, &shape, dy));
        for (rank, low) in ranks.iter().zip(lows) {
            let up = sizes.up(dy, rank.b.tensor());
            if let Some(d) = dx.take() {
                dx = Some(sizes.plus_outer(d, &up, rank.a.tensor(), rank.scale, Side::Input));
            }
            if rank.a.id().is_some() {
                let x = x.as_ref().expect("saved for it");
                grads.add(rank.a.id(), sizes.slope(&up, x, (rank.a.shape()[0], sizes.k), rank.scale));
            }
            if rank.b.id().is_some() {
                grads.add(rank.b.id(), sizes.slope_b(&low, dy, rank.b.shape()[1], rank.scale));
            }
        }
        if let Some(dx) = dx {
            grads.add(xid, dx);
        }
    })
}

/// Which factor of an adapter a low-rank result is multiplied by.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// B [M, R]: onto the output.
    Output,
    /// A [R, K]: onto the gradient of the input.
    Input,
}

/// x [rows, K], W [M, K], and who computes the products on the host.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    m: usize,
    k: usize,
    threads: Threads,
}

fn matrix(x: &Tensor, row: usize, column: usize) -> Matrix<'_> {
    Matrix { data: x.data(), row, column }
}

fn stored(x: &Tensor, row: usize, column: usize) -> Stored<'_> {
    Stored { data: Numbers::F32(x.data()), row, column }
}

/// A factor in the type of the activations it meets.
fn like_activations(w: &Tensor, x: &Tensor) -> Tensor {
    elementwise::stored_as(w, x.dtype())
}

impl Sizes {
    /// (x A^T)^T [R, rows], f32 on the host; x A^T [rows, R] in the type of x on a device.
    fn low(self, x: &Tensor, a: &Tensor) -> Tensor {
        self.narrow(x, &like_activations(a, x), self.k, (self.k, 1))
    }

    /// (dy B)^T [R, rows] on the host, dy B [rows, R] on a device.
    fn up(self, dy: &Tensor, b: &Tensor) -> Tensor {
        let r = b.shape()[1];
        self.narrow(dy, &like_activations(b, dy), self.m, (1, r))
    }

    /// long [rows, n] times factor^T, whose element (rank, i) lies at `rank row + i column`.
    fn narrow(self, long: &Tensor, factor: &Tensor, n: usize, (row, column): (usize, usize)) -> Tensor {
        let (rows, r) = (self.rows, factor.len() / n);
        if long.device() != Device::Host {
            let mut out = long.like(&[rows, r]);
            let (long, factor) = (Factor::of(long, n, 1), Factor::of(factor, column, row));
            product_on_device(&mut out, 1, (rows, r, n), long, factor, Epilogue::default());
            return out;
        }
        let mut out = Tensor::uninit(&[r, rows]);
        let extent = Extent { m: r, n: rows, k: n };
        multiply(self.threads, extent, matrix(factor, row, column), stored(long, 1, n), out.data_mut(), Start::Zero);
        out
    }

    /// to + scale * low * factor, for `low` as [`Sizes::low`] and [`Sizes::up`] give it.
    fn plus_outer(self, mut to: Tensor, low: &Tensor, factor: &Tensor, scale: f32, side: Side) -> Tensor {
        let rows = self.rows;
        let (n, r, row, column) = match side {
            Side::Output => (self.m, factor.shape()[1], 1, factor.shape()[1]),
            Side::Input => (self.k, factor.shape()[0], self.k, 1),
        };
        let low = elementwise::scaled(low, scale);
        if to.device() != Device::Host {
            let (mut out, factor) = (to.like(to.shape()), like_activations(factor, &to));
            let (low, factor) = (Factor::of(&low, r, 1), Factor::of(&factor, row, column));
            let epilogue = Epilogue { addend: Some(&to), ..Epilogue::default() };
            product_on_device(&mut out, 1, (rows, n, r), low, factor, epilogue);
            return out;
        }
        let extent = Extent { m: rows, n, k: r };
        let low = matrix(&low, 1, rows);
        multiply(self.threads, extent, low, stored(factor, row, column), to.data_mut(), Start::Sum);
        to
    }

    /// dB [M, R] = (s t^T dy)^T.
    fn slope_b(self, low: &Tensor, dy: &Tensor, r: usize, scale: f32) -> Tensor {
        let (rows, m) = (self.rows, self.m);
        if dy.device() != Device::Host {
            let low = elementwise::scaled(low, scale);
            let mut out = dy.like_f32(&[m, r]);
            let (dy, low) = (Factor::of(dy, 1, m), Factor::of(&low, r, 1));
            product_on_device(&mut out, 1, (m, r, rows), dy, low, Epilogue::default());
            return out;
        }
        let across = self.slope(low, dy, (r, m), scale);
        let mut out = Tensor::uninit(&[m, r]);
        for (i, row) in out.data_mut().chunks_exact_mut(r).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, v)| *v = across.data()[j * m + i]);
        }
        out
    }

    /// [R, n] = s low^T long: dA for u and x.
    fn slope(self, low: &Tensor, long: &Tensor, (r, n): (usize, usize), scale: f32) -> Tensor {
        let rows = self.rows;
        let low = elementwise::scaled(low, scale);
        let mut out = long.like_f32(&[r, n]);
        if long.device() != Device::Host {
            let (low, long) = (Factor::of(&low, 1, r), Factor::of(long, n, 1));
            product_on_device(&mut out, 1, (r, n, rows), low, long, Epilogue::default());
            return out;
        }
        let extent = Extent { m: r, n, k: rows };
        multiply(self.threads, extent, matrix(&low, rows, 1), stored(long, n, 1), out.data_mut(), Start::Zero);
        out
    }
}

#[derive(Clone)]
struct Plain {
    rows: usize,
    m: usize,
    k: usize,
    r: usize,
    scale: f64,
}

impl Plain {
    /// sum_j x[r, j] w[i, j] for x [rows, n], w [outputs, n].
    fn product<R: Real>(&self, x: &[R], w: &[R], n: usize, outputs: usize) -> Vec<R> {
        let dot = |r: usize, i: usize| (0..n).map(|j| x[r * n + j] * w[i * n + j]).sum();
        (0..self.rows).flat_map(|r| (0..outputs).map(move |i| (r, i))).map(|(r, i)| dot(r, i)).collect()
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let &Plain { m, k, r, scale, .. } = self;
        let [x, w, bias, a, b] = inputs else { unreachable!("five inputs") };
        let low = self.product(x, a, k, r);
        let high = self.product(&low, b, r, m);
        let base = self.product(x, w, k, m);
        base.iter().zip(&high).enumerate().map(|(i, (&y, &h))| y + bias[i % m] + R::of(scale) * h).collect()
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let &Plain { rows, m, k, r, scale } = self;
        let [x, w, _, a, b] = inputs else { unreachable!("five inputs") };
        let (zero, s) = (R::of(0.0), R::of(scale));
        let low = self.product(x, a, k, r);
        let (mut dx, mut da, mut db) = (vec![zero; rows * k], vec![zero; r * k], vec![zero; m * r]);
        for row in 0..rows {
            for i in 0..m {
                let d = dy[row * m + i];
                (0..k).for_each(|j| dx[row * k + j] += d * w[i * k + j]);
                (0..r).for_each(|q| db[i * r + q] += s * d * low[row * r + q]);
            }
            for q in 0..r {
                let u: R = (0..m).map(|i| dy[row * m + i] * b[i * r + q]).sum();
                for j in 0..k {
                    dx[row * k + j] += s * u * a[q * k + j];
                    da[q * k + j] += s * u * x[row * k + j];
                }
            }
        }
        vec![dx, Vec::new(), Vec::new(), da, db]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |rows: usize, m: usize, k: usize, r: usize, scale: f64| {
        let inputs = vec![
            input(&[rows, k]),
            input(&[m, k]).scaled((k as f64).powf(-0.5)).fixed(),
            input(&[m]).keep_f32().fixed(),
            input(&[r, k]).scaled((k as f64).powf(-0.5)),
            input(&[m, r]).scaled((r as f64).powf(-0.5)),
        ];
        let run = move |tape: &mut Tape, v: &[Var]| {
            let rank = Rank { a: v[3].clone(), b: v[4].clone(), scale: scale as f32 };
            lora_linear(tape, &v[0], &(&v[1]).into(), Some(&v[2]), &[rank])
        };
        let name = format!("rows {rows}, {k} -> {m}, rank {r}");
        Case::new("lora_linear", name, Plain { rows, m, k, r, scale }, inputs, run).with_bf16()
    };
    let flops = |rows: usize, m: usize, k: usize, r: usize| 2.0 * (rows * (m * k + r * (m + k))) as f64;
    vec![
        case(1, 1, 1, 1, 2.0),
        case(3, 7, 5, 2, 0.5),
        case(17, 33, 31, 7, 4.0),
        case(31, 16, 65, 8, 1.5),
        case(33, 48, 24, 17, 0.25),
        case(256, 896, 896, 8, 4.0).bench(flops(256, 896, 896, 8)),
    ]
}
