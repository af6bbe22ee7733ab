//! y = (x - mean) / sqrt(var + eps) * w + b over the last axis.   x [.., C], w [C], b [C] -> y [.., C]
//!
//! The variance is the biased one. The backward recomputes mean and rstd: one more pass over a row that is in
//! the cache anyway, instead of two more tensors. With g = dy w and xhat the normalised row:
//! dx = rstd (g - mean(g) - xhat mean(g xhat)), dw = sum dy xhat, db = sum dy; the sums only where a parameter is trained.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::slices::{add_to, each_vector, get, put};
use crate::device::simd::{Kernel, Simd, dispatch};
use crate::kernels::{self, Launch};
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
    let y = forward(x.tensor(), weight.tensor(), bias.tensor());
    let (xv, wv, bid) = (x.clone(), weight.clone(), bias.id());
    tape.record("layer_norm", &[x, weight, bias], y, move |dy, grads| {
        let is_trained = wv.id().is_some() || bid.is_some();
        let (dx, sums) = backward(xv.tensor(), wv.tensor(), dy, is_trained);
        grads.add(xv.id(), dx);
        if let Some([dw, db]) = sums {
            grads.add(wv.id(), dw);
            grads.add(bid, db);
        }
    })
}

fn forward(x: &Tensor, w: &Tensor, b: &Tensor) -> Tensor {
    let (c, mut y) = (w.len(), x.like(x.shape()));
    if x.device() == Device::Host {
        dispatch(Forward { x: x.data(), weight: w.data(), bias: b.data(), y: y.data_mut() });
        return y;
    }
    let n = super::row_count(x.shape());
    let (rows, columns) = (n, c);
    if let Some(lanes) = lanes(c) {
        let blocks = n.div_ceil(ROW_THREADS / lanes).min(BLOCKS_FORWARD);
        kernels::layer_norm_fwd(Launch::rows(blocks, ROW_THREADS), &mut y, x, w, b, rows, columns, lanes, EPS);
    } else {
        kernels::layer_norm_fwd_wide(Launch::rows(n.div_ceil(4), 128), &mut y, x, w, b, rows, columns, EPS);
    }
    y
}

/// Lanes for a row whose numbers stay in registers, twelve each; `None` where it has too many.
fn lanes(c: usize) -> Option<usize> {
    [8, 16, 32].into_iter().find(|lanes| c <= 12 * lanes)
}

/// Blocks that keep a large GPU busy; each walks over its share of the rows. Backward, each leaves partial sums.
const BLOCKS_FORWARD: usize = 2048;
const BLOCKS_BACKWARD: usize = 512;

/// Threads of such a block.
const ROW_THREADS: usize = 128;

/// The gradient of x, and those of the weight and the bias where they are trained.
fn backward(x: &Tensor, w: &Tensor, dy: &Tensor, is_trained: bool) -> (Tensor, Option<[Tensor; 2]>) {
    let (c, mut dx) = (w.len(), x.like(x.shape()));
    if x.device() == Device::Host {
        let mut sums = is_trained.then(|| [Tensor::zeros(&[c]), Tensor::zeros(&[c])]);
        let (x, weight, dy) = (x.data(), w.data(), dy.data());
        let slots = sums.as_mut().map(|sums| sums.each_mut().map(Tensor::data_mut));
        dispatch(Backward { x, weight, dy, dx: dx.data_mut(), sums: slots });
        return (dx, sums);
    }
    let n = super::row_count(x.shape());
    if !is_trained {
        let [mut mean, mut rstd] = [x.like_f32(&[n]), x.like_f32(&[n])];
        backward_wide_x(&mut dx, &mut mean, &mut rstd, [x, w, dy], n);
        return (dx, None);
    }
    let partial = match lanes(c) {
        Some(lanes) => backward_in_registers(&mut dx, [x, w, dy], n, lanes),
        None => backward_wide(&mut dx, [x, w, dy], n),
    };
    let [mut dw, mut db] = [x.like_f32(&[c]), x.like_f32(&[c])];
    let launch = Launch::rows((2 * c).div_ceil(32), 1024);
    kernels::layer_norm_bwd_reduce_f32(launch, &mut dw, &mut db, &partial, partial.shape()[0], c);
    (dx, Some([dw, db]))
}

/// Partial sums [blocks, 2, C] of dw and db.
fn backward_in_registers(dx: &mut Tensor, [x, w, dy]: [&Tensor; 3], n: usize, lanes: usize) -> Tensor {
    let blocks = n.div_ceil(ROW_THREADS / lanes).min(BLOCKS_BACKWARD);
    let mut partial = x.like_f32(&[blocks, 2, w.len()]);
    let launch = Launch::rows(blocks, ROW_THREADS);
    kernels::layer_norm_bwd(launch, dx, &mut partial, x, w, dy, n, w.len(), lanes, EPS);
    partial
}

/// Partial sums [slices, 2, C] of dw and db.
fn backward_wide(dx: &mut Tensor, inputs: [&Tensor; 3], n: usize) -> Tensor {
    let [x, w, dy] = inputs;
    let (c, slices) = (w.len(), super::slices(n, 64));
    let [mut mean, mut rstd, mut partial] = [x.like_f32(&[n]), x.like_f32(&[n]), x.like_f32(&[slices.count, 2, c])];
    backward_wide_x(dx, &mut mean, &mut rstd, inputs, n);
    let launch = Launch::new([c.div_ceil(32), slices.count, 1], 256);
    kernels::layer_norm_bwd_wide_w(launch, &mut partial, x, dy, &mean, &rstd, n, c, slices.rows);
    partial
}

/// dx, and the moments of the rows; no sums over them, and so the way for frozen parameters of any width.
fn backward_wide_x(dx: &mut Tensor, mean: &mut Tensor, rstd: &mut Tensor, [x, w, dy]: [&Tensor; 3], n: usize) {
    let launch = Launch::rows(n.div_ceil(4), 128);
    kernels::layer_norm_bwd_wide_x(launch, dx, mean, rstd, x, w, dy, n, w.len(), EPS);
}

/// Mean and 1 / sqrt(var + eps) of a row.
#[inline(always)]
fn moments<S: Simd>(s: S, x: &[f32]) -> (f32, f32) {
    let c = x.len();
    let mut sum = s.zero();
    each_vector!(S, c, |at, n| sum = s.add(sum, get(s, x, at, n)));
    let mean = s.sum(sum) / c as f32;
    // Whole vectors, then what is left: empty lanes would each add mean^2.
    let whole = c - c % S::LANES;
    let mut squares = s.zero();
    each_vector!(S, whole, |at, n| {
        let centred = s.sub(get(s, x, at, n), s.splat(mean));
        squares = s.fma(centred, centred, squares);
    });
    let rest = x[whole..].iter().map(|v| (v - mean) * (v - mean)).sum::<f32>();
    (mean, 1.0 / ((s.sum(squares) + rest) / c as f32 + EPS).sqrt())
}

struct Forward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let c = self.weight.len();
        for (y, x) in self.y.chunks_exact_mut(c).zip(self.x.chunks_exact(c)) {
            let (mean, rstd) = moments(s, x);
            let (mean, rstd) = (s.splat(mean), s.splat(rstd));
            each_vector!(S, c, |at, n| {
                let xhat = s.mul(s.sub(get(s, x, at, n), mean), rstd);
                put(s, y, at, n, s.fma(xhat, get(s, self.weight, at, n), get(s, self.bias, at, n)));
            });
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    /// dw and db.
    sums: Option<[&'a mut [f32]; 2]>,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let c = self.weight.len();
        for ((dx, dy), x) in self.dx.chunks_exact_mut(c).zip(self.dy.chunks_exact(c)).zip(self.x.chunks_exact(c)) {
            let (mean, rstd) = moments(s, x);
            let (mean, rstd) = (s.splat(mean), s.splat(rstd));
            let mut sums = [s.zero(); 2];
            // Empty lanes have dy = 0 and add nothing.
            each_vector!(S, c, |at, n| {
                let (x, dy) = (get(s, x, at, n), get(s, dy, at, n));
                let xhat = s.mul(s.sub(x, mean), rstd);
                let g = s.mul(dy, get(s, self.weight, at, n));
                sums = [s.add(sums[0], g), s.fma(g, xhat, sums[1])];
                if let Some([dw, db]) = &mut self.sums {
                    add_to(s, dw, at, n, s.mul(dy, xhat));
                    add_to(s, db, at, n, dy);
                }
            });
            let [mean_g, mean_gx] = sums.map(|v| s.splat(s.sum(v) / c as f32));
            each_vector!(S, c, |at, n| {
                let xhat = s.mul(s.sub(get(s, x, at, n), mean), rstd);
                let g = s.mul(get(s, dy, at, n), get(s, self.weight, at, n));
                put(s, dx, at, n, s.mul(rstd, s.fnma(xhat, mean_gx, s.sub(g, mean_g))));
            });
        }
    }
}

#[derive(Clone)]
pub(super) struct Plain {
    pub(super) rows: usize,
    pub(super) c: usize,
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
        let inputs = vec![input(&[rows, c]).shifted(0.3), input(&[c]).shifted(1.0).keep_f32(), input(&[c]).keep_f32()];
        Case::new("layer_norm", format!("rows {rows}, C {c}"), Plain { rows, c }, inputs, |tape, v| {
            layer_norm(tape, &v[0], &v[1], &v[2])
        })
        .with_bf16()
    };
    let mut all: Vec<Case> = vec![];
    for (rows, widths) in [(1, vec![1, 3, 4]), (3, vec![31, 97, 127, 191, 385]), (2, vec![33, 192, 384, 640])] {
        all.extend(widths.into_iter().map(|c| case(rows, c)));
    }
    all.extend([(5, 32), (7, 96), (17, 96), (5, 196)].map(|(r, c)| case(r, c)));
    all.push(case(626, 96).bench(8.0 * 626.0 * 96.0));
    all.push(case(501, 96).bench(8.0 * 501.0 * 96.0).copied(1032, &[0]));
    all
}
