//! Linear maps across frequency, one per squeezed channel.   x [N, F, S], w [S, F, F], b [S, F] -> y [N, F, S]
//!
//! y[n, g, s] = sum_f w[s, g, f] x[n, f, s] + b[s, g].   Backward: dx[n, f, s] = sum_g w[s, g, f] dy[n, g, s],
//! dw[s, g, f] = sum_n dy[n, g, s] x[n, f, s], db[s, g] = sum_n dy[n, g, s]. Each channel is one dense product
//! over (F, N) of the transposed frames, so a chunk of several frames reads the weights once.

use super::matmul::product;
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Applies the maps.
#[track_caller]
pub fn full_band(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var) -> Var {
    let [n, f, s] = x.tensor().dims("full_band x");
    weight.tensor().expect_shape("full_band weight", &[s, f, f]);
    bias.tensor().expect_shape("full_band bias", &[s, f]);
    if x.tensor().device() != Device::Host {
        let y = forward_on_device(x.tensor(), weight.tensor(), bias.tensor());
        let (xv, wv, bid) = (x.clone(), weight.clone(), bias.id());
        return tape.record("full_band", &[x, weight, bias], y, move |dy, grads| {
            if xv.id().is_some() {
                grads.add(xv.id(), backward_x_on_device(xv.tensor(), wv.tensor(), dy));
            }
            if wv.id().is_some() || bid.is_some() {
                let [dw, db] = backward_w_on_device(xv.tensor(), dy);
                grads.add(wv.id(), dw);
                grads.add(bid, db);
            }
        });
    }
    let channels = to_channels(x.data(), n, f, s);
    let y = forward_on_host(&channels, weight.tensor(), bias.tensor());
    let (xid, wv, bid) = (x.id(), weight.clone(), bias.id());
    tape.record("full_band", &[x, weight, bias], y, move |dy, grads| {
        let dy = to_channels(dy.data(), n, f, s);
        if xid.is_some() {
            grads.add(xid, backward_x_on_host(wv.tensor(), &dy));
        }
        if wv.id().is_some() || bid.is_some() {
            let [dw, db] = backward_w_on_host(&channels, &dy);
            grads.add(wv.id(), dw);
            grads.add(bid, db);
        }
    })
}

/// `channels` is x as [S, N, F].
fn forward_on_host(channels: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let [s, n, f] = channels.dims("full_band channels");
    let mut rows = Tensor::uninit(&[s, n, f]);
    for (k, rows) in rows.data_mut().chunks_exact_mut(n * f).enumerate() {
        rows.chunks_exact_mut(f).for_each(|row| row.copy_from_slice(&bias.data()[k * f..(k + 1) * f]));
        let (x, w) = (&channels.data()[k * n * f..], &weight.data()[k * f * f..]);
        product(rows, (n, f, f), (x, f, 1), (w, 1, f), true);
    }
    from_channels(rows.data(), n, f, s)
}

/// dx [N, F, S]; dy is [S, N, F].
fn backward_x_on_host(weight: &Tensor, dy: &Tensor) -> Tensor {
    let [s, n, f] = dy.dims("full_band dy");
    let mut dx = Tensor::uninit(&[s, n, f]);
    for (k, dx) in dx.data_mut().chunks_exact_mut(n * f).enumerate() {
        let (dy, w) = (&dy.data()[k * n * f..], &weight.data()[k * f * f..]);
        product(dx, (n, f, f), (dy, f, 1), (w, f, 1), false);
    }
    from_channels(dx.data(), n, f, s)
}

/// dw [S, F, F] and db [S, F]; x and dy are [S, N, F].
fn backward_w_on_host(channels: &Tensor, dy: &Tensor) -> [Tensor; 2] {
    let [s, n, f] = channels.dims("full_band channels");
    let (mut dw, mut db) = (Tensor::uninit(&[s, f, f]), Tensor::zeros(&[s, f]));
    for k in 0..s {
        let (dy, x) = (&dy.data()[k * n * f..(k + 1) * n * f], &channels.data()[k * n * f..]);
        product(&mut dw.data_mut()[k * f * f..(k + 1) * f * f], (f, f, n), (dy, 1, f), (x, f, 1), false);
        let db = &mut db.data_mut()[k * f..(k + 1) * f];
        dy.chunks_exact(f).for_each(|row| db.iter_mut().zip(row).for_each(|(b, d)| *b += d));
    }
    [dw, db]
}

/// Tiles and channels of the kernels (`kernels/full_band.cu`).
const TILE: [usize; 2] = [32, 24];
const CHANNELS: usize = 8;

fn launch_map([n, f, s]: [usize; 3]) -> Launch {
    Launch::new([n.div_ceil(TILE[0]), f.div_ceil(TILE[1]), s.div_ceil(CHANNELS)], 32 * CHANNELS)
}

fn forward_on_device(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let [n, f, s] = x.dims("full_band x");
    let mut y = x.like(x.shape());
    kernels::full_band_fwd(launch_map([n, f, s]), &mut y, x, weight, bias, n, f, s);
    y
}

fn backward_x_on_device(x: &Tensor, weight: &Tensor, dy: &Tensor) -> Tensor {
    let [n, f, s] = x.dims("full_band x");
    let mut dx = x.like(x.shape());
    kernels::full_band_bwd_x(launch_map([n, f, s]), &mut dx, dy, weight, n, f, s);
    dx
}

fn backward_w_on_device(x: &Tensor, dy: &Tensor) -> [Tensor; 2] {
    const SLICES_MAX: usize = 16;
    let [n, f, s] = x.dims("full_band x");
    let slice = n.div_ceil(SLICES_MAX).next_multiple_of(TILE[0]).max(TILE[0]);
    let slices = n.div_ceil(slice);
    let (weights, outputs) = (s * f * f, s * f);
    let mut partial = x.like_f32(&[slices, weights + outputs]);
    let grid = [f.div_ceil(TILE[0]), f.div_ceil(TILE[1]), slices * s.div_ceil(CHANNELS)];
    kernels::full_band_bwd_w(Launch::new(grid, 32 * CHANNELS), &mut partial, x, dy, n, f, s, slice);
    let [mut dw, mut db] = [x.like_f32(&[s, f, f]), x.like_f32(&[s, f])];
    let launch = Launch::rows((weights + outputs).div_ceil(32), 256);
    kernels::full_band_bwd_reduce_f32(launch, &mut dw, &mut db, &partial, slices, weights, outputs);
    [dw, db]
}

/// [N, F, S] -> [S, N, F].
fn to_channels(x: &[f32], n: usize, f: usize, s: usize) -> Tensor {
    let mut out = Tensor::uninit(&[s, n, f]);
    let data = out.data_mut();
    for (i, row) in x.chunks_exact(s).enumerate() {
        for (k, &v) in row.iter().enumerate() {
            data[k * n * f + i] = v;
        }
    }
    out
}

/// [S, N, F] -> [N, F, S].
fn from_channels(x: &[f32], n: usize, f: usize, s: usize) -> Tensor {
    let mut out = Tensor::uninit(&[n, f, s]);
    for (i, row) in out.data_mut().chunks_exact_mut(s).enumerate() {
        for (k, v) in row.iter_mut().enumerate() {
            *v = x[k * n * f + i];
        }
    }
    out
}

#[derive(Clone)]
pub(super) struct Plain {
    pub(super) n: usize,
    pub(super) f: usize,
    pub(super) s: usize,
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let &Plain { n, f, s } = self;
        let mut y = vec![R::of(0.0); n * f * s];
        for (i, y) in y.iter_mut().enumerate() {
            let (frame, g, k) = (i / (f * s), i / s % f, i % s);
            let sum: R = (0..f).map(|j| inputs[1][(k * f + g) * f + j] * inputs[0][(frame * f + j) * s + k]).sum();
            *y = sum + inputs[2][k * f + g];
        }
        y
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (&Plain { n, f, s }, zero) = (self, R::of(0.0));
        let (mut dx, mut dw, mut db) = (vec![zero; n * f * s], vec![zero; s * f * f], vec![zero; s * f]);
        for (i, &d) in dy.iter().enumerate() {
            let (frame, g, k) = (i / (f * s), i / s % f, i % s);
            db[k * f + g] += d;
            for j in 0..f {
                dx[(frame * f + j) * s + k] += d * inputs[1][(k * f + g) * f + j];
                dw[(k * f + g) * f + j] += d * inputs[0][(frame * f + j) * s + k];
            }
        }
        vec![dx, dw, db]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    const SIZES: [(usize, usize, usize); 6] = [(1, 1, 1), (2, 5, 3), (3, 17, 2), (1, 33, 4), (31, 25, 9), (65, 24, 1)];
    let case = |n: usize, f: usize, s: usize| {
        let weight = input(&[s, f, f]).scaled((f as f64).powf(-0.5)).keep_f32();
        let inputs = vec![input(&[n, f, s]), weight, input(&[s, f]).keep_f32()];
        Case::new("full_band", format!("N {n}, F {f}, S {s}"), Plain { n, f, s }, inputs, |tape, v| {
            full_band(tape, &v[0], &v[1], &v[2])
        })
        .with_bf16()
    };
    let mut all: Vec<Case> = SIZES.map(|(n, f, s)| case(n, f, s)).into();
    all.push(case(8, 129, 8).bench(2.0 * 8.0 * 129.0 * 129.0 * 8.0));
    all.push(case(8, 129, 8).bench(2.0 * 8.0 * 129.0 * 129.0 * 8.0).copied(501, &[0]));
    all
}
