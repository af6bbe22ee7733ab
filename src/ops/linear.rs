//! y = x W^T + b over the last axis.   x [.., K], W [M, K], b [M] -> y [.., M]
//!
//! [`linear_plus`] adds a residual r [.., M] as well: on a device without a pass of its own over memory.
//!
//! Backward: dx = dy W, dW = dy^T x, db = column sums of dy. With x in bf16 the products take W rounded to bf16; dW and
//! db are f32 all the same. dr is dy itself.

use super::elementwise;
use super::matmul::{self, Epilogue, Factor, product_on_device};
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::product::{Matrix, Numbers, Panels, Stored, Threads, multiply, multiply_panels, reads_rows};
use crate::device::simd::slices::{add_to, each_vector, get};
use crate::device::simd::{Kernel, Simd, dispatch};
use crate::device::tile::{Extent, Start};
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// Applies the layer, x [.., K] -> [.., M]; `bias` may be absent.
#[track_caller]
pub fn linear(tape: &mut Tape, x: &Var, weight: &Var, bias: Option<&Var>) -> Var {
    layer(tape, x, weight, bias, None)
}

/// The layer and a residual added to it: x [.., K], weight [M, K], bias [M], residual [.., M] -> [.., M]. The host computes
/// the two ops; on a device the sum of both is rounded once.
#[track_caller]
pub fn linear_plus(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var, residual: &Var) -> Var {
    if x.tensor().device() == Device::Host {
        let y = linear(tape, x, weight, Some(bias));
        return elementwise::add(tape, residual, &y);
    }
    layer(tape, x, weight, Some(bias), Some(residual))
}

#[track_caller]
fn layer(tape: &mut Tape, x: &Var, weight: &Var, bias: Option<&Var>, residual: Option<&Var>) -> Var {
    let [m, k] = weight.tensor().dims("linear weight");
    assert_eq!(x.shape().last(), Some(&k), "linear: x {:?} does not fit weight {:?}", x.shape(), weight.shape());
    if let Some(b) = bias {
        b.tensor().expect_shape("linear bias", &[m]);
    }
    let rows = super::row_count(x.shape());
    let mut shape = x.shape().to_vec();
    *shape.last_mut().expect("rank checked above") = m;
    if let Some(r) = residual {
        r.tensor().expect_shape("linear residual", &shape);
    }
    let sizes = Sizes { rows, m, k, threads: tape.products() };
    let epilogue = Epilogue { bias: bias.map(Var::tensor), addend: residual.map(Var::tensor) };
    let y = sizes.forward(&shape, x.tensor(), weight, epilogue);
    let inputs: Vec<&Var> = [x, weight].into_iter().chain(bias).chain(residual).collect();
    let (xid, x_shape, wv) = (x.id(), x.shape().to_vec(), weight.clone());
    let (bid, rid) = (bias.map(Var::id), residual.and_then(Var::id));
    // Without a gradient of the weight nobody asks for x again.
    let saved = wv.id().is_some().then(|| x.saved());
    tape.record("linear", &inputs, y, move |dy, grads| {
        if xid.is_some() {
            grads.add(xid, sizes.backward_x(&x_shape, &wv, dy));
        }
        if let Some(saved) = saved {
            grads.add(wv.id(), sizes.backward_weight(&saved.tensor(), wv.shape(), dy));
        }
        if let Some(Some(id)) = bid {
            grads.add(
                Some(id),
                if dy.device() == Device::Host { column_sums(dy.data(), m) } else { column_sums_on(dy, m) },
            );
        }
        grads.add(rid, dy.clone());
    })
}

/// dy W: the gradient of an input of `shape` [.., K] for dy [.., M] and weight [M, K].
pub(super) fn input_gradient(threads: Threads, shape: &[usize], weight: &Var, dy: &Tensor) -> Tensor {
    let [m, k] = weight.tensor().dims("linear weight");
    Sizes { rows: super::row_count(shape), m, k, threads }.backward_x(shape, weight, dy)
}

/// x [rows, K], W [M, K], and who computes the products on the host.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    m: usize,
    k: usize,
    threads: Threads,
}

impl Sizes {
    fn forward(self, shape: &[usize], x: &Tensor, w: &Var, epilogue: Epilogue) -> Tensor {
        let Sizes { rows, m, k, threads } = self;
        let mut y = x.like(shape);
        if x.device() != Device::Host {
            let w = fitting(w, x);
            let (x, w) = (Factor::of(x, k, 1), Factor::of(&w, 1, k));
            product_on_device(&mut y, 1, (rows, m, k), x, w, epilogue);
            return y;
        }
        let (extent, start) =
            (Extent { m: rows, n: m, k }, epilogue.bias.map_or(Start::Zero, |b| Start::Bias(b.data())));
        let x = Matrix { data: x.data(), row: k, column: 1 };
        match w.panels().filter(|_| !reads_rows(threads, rows)) {
            Some(panels) => multiply_panels(threads, extent, x, panels, y.data_mut(), start),
            None => multiply(threads, extent, x, numbers(w.tensor(), 1, k), y.data_mut(), start),
        }
        y
    }

    fn backward_x(self, shape: &[usize], w: &Var, dy: &Tensor) -> Tensor {
        let (Sizes { rows, m, k, threads }, mut dx) = (self, dy.like(shape));
        if dy.device() != Device::Host {
            let w = fitting(w, dy);
            let (dy, w) = (Factor::of(dy, m, 1), Factor::of(&w, k, 1));
            product_on_device(&mut dx, 1, (rows, k, m), dy, w, Epilogue::default());
            return dx;
        }
        let (dy, w) = (Matrix { data: dy.data(), row: m, column: 1 }, numbers(w.tensor(), k, 1));
        multiply(threads, Extent { m: rows, n: k, k: m }, dy, w, dx.data_mut(), Start::Zero);
        dx
    }

    fn backward_weight(self, x: &Tensor, shape: &[usize], dy: &Tensor) -> Tensor {
        let (Sizes { rows, m, k, threads }, mut dw) = (self, x.like_f32(shape));
        if x.device() != Device::Host {
            let (dy, x) = (Factor::of(dy, 1, m), Factor::of(x, k, 1));
            product_on_device(&mut dw, 1, (m, k, rows), dy, x, Epilogue::default());
            return dw;
        }
        let (dy, x) = (Matrix { data: dy.data(), row: 1, column: m }, numbers(x, k, 1));
        multiply(threads, Extent { m, n: k, k: rows }, dy, x, dw.data_mut(), Start::Zero);
        dw
    }
}

/// The weight [M,K] of a linear layer on the host, packed for products with many rows.
#[track_caller]
pub fn panels(weight: &Tensor) -> Panels {
    let extents = weight.dims("linear weight");
    Panels::new(numbers(weight, 1, extents[1]).data, extents)
}

/// A host tensor as the second factor of a product, by its distances of rows and columns.
#[track_caller]
fn numbers(x: &Tensor, row: usize, column: usize) -> Stored<'_> {
    let data = match x.dtype() {
        DType::Bf16 => Numbers::Bf16(x.values()),
        _ => Numbers::F32(x.data()),
    };
    Stored { data, row, column }
}

/// The weight as the products of a device next to x take it: the copy in bf16 that the optimizer keeps, or a rounded one;
/// a frozen weight in bf16 becomes f32 next to f32 activations.
fn fitting(w: &Var, x: &Tensor) -> Tensor {
    match (x.dtype(), w.narrow()) {
        (DType::Bf16, Some(narrow)) => narrow.clone(),
        (DType::Bf16, None) => matmul::narrowed(w.tensor()),
        _ => elementwise::stored_as(w.tensor(), DType::F32),
    }
}

/// Column sums of a [rows, m] matrix on a device.
pub(crate) fn column_sums_on(dy: &Tensor, m: usize) -> Tensor {
    let rows = dy.len() / m.max(1);
    let slices = super::slices(rows, 64);
    let [mut sum, mut partial] = [dy.like_f32(&[m]), dy.like_f32(&[slices.count, m])];
    let launch = Launch::new([m.div_ceil(32), slices.count, 1], 256);
    kernels::linear_column_sums(launch, &mut partial, dy, rows, m, slices.rows);
    matmul::add_partials(&mut sum, &partial, [1, slices.count, 1, m], Epilogue::default());
    sum
}

/// Column sums of a [rows, m] matrix, in partial sums of 16 rows to keep rounding small.
pub(crate) fn column_sums(dy: &[f32], m: usize) -> Tensor {
    let mut sum = Tensor::zeros(&[m]);
    dispatch(ColumnSums(dy, sum.data_mut()));
    sum
}

struct ColumnSums<'a>(&'a [f32], &'a mut [f32]);

impl Kernel for ColumnSums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ColumnSums(x, sum) = self;
        let m = sum.len();
        for block in x.chunks(16 * m) {
            each_vector!(S, m, |at, n| {
                let mut total = s.zero();
                for row in block.chunks_exact(m) {
                    total = s.add(total, get(s, row, at, n));
                }
                add_to(s, sum, at, n, total);
            });
        }
    }
}

#[derive(Clone)]
struct Plain {
    rows: usize,
    m: usize,
    k: usize,
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let &Plain { rows, m, k } = self;
        let mut y = vec![R::of(0.0); rows * m];
        for r in 0..rows {
            for i in 0..m {
                let dot: R = (0..k).map(|j| inputs[0][r * k + j] * inputs[1][i * k + j]).sum();
                y[r * m + i] = dot + inputs[2][i];
            }
        }
        y
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let &Plain { rows, m, k } = self;
        let zero = R::of(0.0);
        let (mut dx, mut dw, mut db) = (vec![zero; rows * k], vec![zero; m * k], vec![zero; m]);
        for r in 0..rows {
            for i in 0..m {
                let d = dy[r * m + i];
                db[i] += d;
                for j in 0..k {
                    dx[r * k + j] += d * inputs[1][i * k + j];
                    dw[i * k + j] += d * inputs[0][r * k + j];
                }
            }
        }
        vec![dx, dw, db]
    }
}

/// The layer with a residual, its fourth input.
#[derive(Clone)]
struct WithResidual(Plain);

impl Reference for WithResidual {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let mut y = self.0.forward(&inputs[..3]);
        y.iter_mut().zip(inputs[3]).for_each(|(y, &r)| *y += r);
        y
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let mut gradients = self.0.backward(&inputs[..3], dy);
        gradients.push(dy.to_vec());
        gradients
    }
}

/// The cases of this op. Where activations are bf16 the small cases have a bf16 weight, as a frozen layer does: the
/// rounding of an f32 weight is part of the op, and sums of a few numbers can cancel down to it.
pub fn cases() -> Vec<Case> {
    let inputs = |rows: usize, m: usize, k: usize, has_wide_weight: bool| {
        let weight = input(&[m, k]).scaled((k as f64).powf(-0.5));
        let weight = if has_wide_weight { weight.keep_f32() } else { weight };
        vec![input(&[rows, k]), weight, input(&[m]).keep_f32()]
    };
    let case = |rows: usize, m: usize, k: usize, has_wide_weight: bool| {
        let (name, inputs) = (format!("rows {rows}, {k} -> {m}"), inputs(rows, m, k, has_wide_weight));
        let run = |tape: &mut Tape, v: &[Var]| linear(tape, &v[0], &v[1], Some(&v[2]));
        Case::new("linear", name, Plain { rows, m, k }, inputs, run).with_bf16()
    };
    let epilogue = |rows: usize, m: usize, k: usize, has_wide_weight: bool| {
        let mut inputs = inputs(rows, m, k, has_wide_weight);
        inputs.push(input(&[rows, m]));
        let name = format!("residual, rows {rows}, {k} -> {m}");
        let run = |tape: &mut Tape, v: &[Var]| linear_plus(tape, &v[0], &v[1], &v[2], &v[3]);
        Case::new("linear", name, WithResidual(Plain { rows, m, k }), inputs, run).with_bf16()
    };
    let flops = |r: usize, m: usize, k: usize| 2.0 * (r * m * k) as f64;
    let checks = [(1, 1, 1), (1, 7, 3), (13, 5, 31), (33, 17, 16), (64, 65, 15)];
    let mut all: Vec<Case> = checks.iter().map(|&(r, m, k)| case(r, m, k, false)).collect();
    all.extend([(65, 33, 17), (129, 72, 96), (1100, 24, 8)].map(|(r, m, k)| case(r, m, k, true)));
    all.extend(
        [(1, 1, 1), (1, 7, 3), (13, 5, 31), (31, 33, 16), (33, 32, 15)].map(|(r, m, k)| epilogue(r, m, k, false)),
    );
    // Around the large tiles, odd widths, and sums in parts.
    all.extend([(127, 65, 24), (129, 96, 192), (130, 136, 40), (257, 97, 33)].map(|(r, m, k)| epilogue(r, m, k, true)));
    all.push(epilogue(5, 6, 1100, true));
    for (r, m, k) in [(626, 288, 96), (626, 96, 192)] {
        all.push(case(r, m, k, true).bench(flops(r, m, k)));
    }
    for (r, m, k) in [(501, 288, 96), (501, 192, 96), (501, 96, 192)] {
        all.push(case(r, m, k, true).bench(flops(r, m, k)).copied(1032, &[0]));
    }
    let (r, m, k) = (501, 96, 192);
    all.push(epilogue(r, m, k, true).bench(flops(r, m, k)).copied(1032, &[0, 3]));
    all
}
