//! Sums and products: a + b, a * w with one factor per channel, a * constant, and gated units; change of storage.
//!
//! add: a [..], b [..] -> y [..]; scale_channels: x [.., C], w [C] -> x w; scale: x c;
//! glu: x [.., 2C] = (a | b) -> a sigmoid(b) [.., C]; cast: x [..] -> the same numbers as f32 or bf16.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::Simd;
use crate::device::simd::slices::{Binary, map2};
use crate::kernels::{self, Launch, PARTS_MAX};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// a + b for equal shapes.
#[track_caller]
pub fn add(tape: &mut Tape, a: &Var, b: &Var) -> Var {
    b.tensor().expect_shape("add: second operand", a.shape());
    let (y, aid, bid) = (sum(a.tensor(), b.tensor()), a.id(), b.id());
    tape.record("add", &[a, b], y, move |dy, grads| {
        grads.add(aid, dy.clone());
        grads.add(bid, dy.clone());
    })
}

fn sum(a: &Tensor, b: &Tensor) -> Tensor {
    let mut y = a.like(a.shape());
    if a.device() == Device::Host {
        map2(Sum, a.data(), b.data(), y.data_mut());
        return y;
    }
    kernels::elementwise_add(Launch::quads(a.len()), &mut y, a, b, a.len());
    y
}

struct Sum;

impl Binary for Sum {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, a: S::V, b: S::V) -> S::V {
        s.add(a, b)
    }
}

/// sum[at ..] += x for every (x, at), for f32: gradients into their places in a flat buffer, which do not overlap.
#[track_caller]
pub fn accumulate_parts(sum: &mut Tensor, parts: &[(Tensor, usize)]) {
    let mut by_place: Vec<(usize, usize)> = parts.iter().map(|(x, at)| (*at, at + x.len())).collect();
    by_place.sort_unstable();
    assert!(by_place.windows(2).all(|pair| pair[0].1 <= pair[1].0), "parts overlap");
    assert!(by_place.last().is_none_or(|&(_, end)| end <= sum.len()), "a part ends outside {} numbers", sum.len());
    if sum.device() == Device::Host {
        for (x, at) in parts {
            let place = &mut sum.data_mut()[*at..at + x.len()];
            place.iter_mut().zip(x.data()).for_each(|(s, x)| *s += x);
        }
        return;
    }
    for parts in parts.chunks(PARTS_MAX) {
        let longest = parts.iter().map(|(x, _)| x.len()).max().unwrap_or(0);
        let launch = Launch::new([longest.div_ceil(4).div_ceil(256), parts.len(), 1], 256);
        kernels::elementwise_accumulate_parts_f32(launch, sum, parts);
    }
}

/// x times a constant.
pub fn scale(tape: &mut Tape, x: &Var, factor: f32) -> Var {
    let (y, id) = (scaled(x.tensor(), factor), x.id());
    tape.record("scale", &[x], y, move |dy, grads| grads.add(id, scaled(dy, factor)))
}

pub(super) fn scaled(x: &Tensor, factor: f32) -> Tensor {
    let mut y = x.like(x.shape());
    if x.device() == Device::Host {
        y.data_mut().iter_mut().zip(x.data()).for_each(|(y, x)| *y = x * factor);
        return y;
    }
    kernels::elementwise_scale(Launch::quads(x.len()), &mut y, x, factor, x.len());
    y
}

/// x stored as another type; the gradient goes back in the type of x.
#[track_caller]
pub fn cast(tape: &mut Tape, x: &Var, dtype: DType) -> Var {
    let (y, id, before) = (stored_as(x.tensor(), dtype), x.id(), x.tensor().dtype());
    tape.record("cast", &[x], y, move |dy, grads| grads.add(id, stored_as(dy, before)))
}

/// x stored as another type, f32 or bf16.
#[track_caller]
pub(crate) fn stored_as(x: &Tensor, dtype: DType) -> Tensor {
    if x.dtype() == dtype {
        return x.clone();
    }
    if x.device() == Device::Host {
        return if dtype == DType::Bf16 { x.to_bf16(Device::Host) } else { x.to_host_f32() };
    }
    let mut y = Tensor::uninit_on(x.device(), dtype, x.shape());
    match dtype {
        DType::F32 => kernels::elementwise_to_f32(Launch::quads(x.len()), &mut y, x, x.len()),
        DType::Bf16 => kernels::elementwise_to_bf16(Launch::quads(x.len()), &mut y, x, x.len()),
        other => panic!("activations are not stored as {other:?}"),
    }
    y
}

/// x [.., C] times w [C].
#[track_caller]
pub fn scale_channels(tape: &mut Tape, x: &Var, w: &Var) -> Var {
    let c = *x.shape().last().expect("scale_channels of a scalar");
    w.tensor().expect_shape("scale_channels factor", &[c]);
    let (y, xv, wv) = (channels_scaled(x.tensor(), w.tensor()), x.clone(), w.clone());
    tape.record("scale_channels", &[x, w], y, move |dy, grads| {
        if xv.id().is_some() {
            grads.add(xv.id(), channels_scaled(dy, wv.tensor()));
        }
        if wv.id().is_some() {
            grads.add(wv.id(), channel_slopes(xv.tensor(), dy));
        }
    })
}

fn channels_scaled(x: &Tensor, w: &Tensor) -> Tensor {
    let (c, mut y) = (w.len(), x.like(x.shape()));
    if x.device() == Device::Host {
        let w = w.data();
        for (y, x) in y.data_mut().chunks_exact_mut(c).zip(x.data().chunks_exact(c)) {
            for i in 0..c {
                y[i] = x[i] * w[i];
            }
        }
        return y;
    }
    kernels::elementwise_scale_channels(Launch::quads(x.len()), &mut y, x, w, c, x.len());
    y
}

/// The sum of dy x over all rows.
fn channel_slopes(x: &Tensor, dy: &Tensor) -> Tensor {
    let c = *x.shape().last().expect("checked in the forward pass");
    if x.device() == Device::Host {
        let mut dw = Tensor::zeros(&[c]);
        for (x, dy) in x.data().chunks_exact(c).zip(dy.data().chunks_exact(c)) {
            dw.data_mut().iter_mut().zip(x).zip(dy).for_each(|((s, x), d)| *s += x * d);
        }
        return dw;
    }
    let n = super::row_count(x.shape());
    let slices = super::slices(n, 64);
    let (mut dw, mut partial) = (x.like_f32(&[c]), x.like_f32(&[slices.count, c]));
    let launch = Launch::new([c.div_ceil(32), slices.count, 1], 256);
    kernels::elementwise_scale_channels_bwd_w(launch, &mut partial, x, dy, n, c, slices.rows);
    let launch = Launch::rows(c.div_ceil(32), 1024);
    kernels::elementwise_scale_channels_bwd_reduce_f32(launch, &mut dw, &partial, slices.count, c);
    dw
}

/// Gated linear unit: the first half of the last axis times the sigmoid of the second.
#[track_caller]
pub fn glu(tape: &mut Tape, x: &Var) -> Var {
    let c2 = *x.shape().last().expect("glu of a scalar");
    assert!(c2.is_multiple_of(2), "glu: {c2} channels do not split in halves");
    let (y, xv) = (gated(x.tensor(), c2 / 2), x.clone());
    tape.record("glu", &[x], y, move |dy, grads| grads.add(xv.id(), gated_slopes(xv.tensor(), dy, c2 / 2)))
}

fn gated(x: &Tensor, c: usize) -> Tensor {
    let mut shape = x.shape().to_vec();
    *shape.last_mut().expect("rank checked by the caller") = c;
    let mut y = x.like(&shape);
    if x.device() == Device::Host {
        for (y, x) in y.data_mut().chunks_exact_mut(c).zip(x.data().chunks_exact(2 * c)) {
            for i in 0..c {
                y[i] = x[i] * x[c + i].sigmoid();
            }
        }
        return y;
    }
    let n = y.len();
    kernels::elementwise_glu_fwd(Launch::quads(n), &mut y, x, c, n);
    y
}

fn gated_slopes(x: &Tensor, dy: &Tensor, c: usize) -> Tensor {
    let mut dx = x.like(x.shape());
    if x.device() == Device::Host {
        let (x, dy) = (x.data(), dy.data());
        let rows = dx.data_mut().chunks_exact_mut(2 * c).zip(x.chunks_exact(2 * c)).zip(dy.chunks_exact(c));
        for ((dx, x), dy) in rows {
            for i in 0..c {
                let s = x[c + i].sigmoid();
                dx[i] = dy[i] * s;
                dx[c + i] = dy[i] * x[i] * s * (1.0 - s);
            }
        }
        return dx;
    }
    kernels::elementwise_glu_bwd(Launch::quads(dy.len()), &mut dx, x, dy, c, dy.len());
    dx
}

#[derive(Clone, Copy)]
enum Kind {
    Add,
    Scale(f64),
    Cast,
    Channels(usize),
    Glu(usize),
}

impl Reference for Kind {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        match *self {
            Kind::Add => x[0].iter().zip(x[1]).map(|(&a, &b)| a + b).collect(),
            Kind::Scale(f) => x[0].iter().map(|&a| a * R::of(f)).collect(),
            Kind::Cast => x[0].to_vec(),
            Kind::Channels(c) => x[0].iter().enumerate().map(|(i, &a)| a * x[1][i % c]).collect(),
            Kind::Glu(c) => x[0].chunks(2 * c).flat_map(|r| (0..c).map(move |i| r[i] * r[c + i].sigmoid())).collect(),
        }
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let zero = R::of(0.0);
        match *self {
            Kind::Add => vec![dy.to_vec(), dy.to_vec()],
            Kind::Scale(f) => vec![dy.iter().map(|&d| d * R::of(f)).collect()],
            Kind::Cast => vec![dy.to_vec()],
            Kind::Channels(c) => {
                let mut dw = vec![zero; c];
                dy.iter().enumerate().for_each(|(i, &d)| dw[i % c] += d * x[0][i]);
                vec![dy.iter().enumerate().map(|(i, &d)| d * x[1][i % c]).collect(), dw]
            }
            Kind::Glu(c) => {
                let mut dx = vec![zero; x[0].len()];
                for (i, &d) in dy.iter().enumerate() {
                    let (row, j) = (i / c * 2 * c, i % c);
                    let s = x[0][row + c + j].sigmoid();
                    dx[row + j] = d * s;
                    dx[row + c + j] = d * x[0][row + j] * s * (R::of(1.0) - s);
                }
                vec![dx]
            }
        }
    }
}

/// The cases of these ops: lengths and rows around the 4 numbers of a thread, its block of 1024, and slices of rows.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in [1, 3, 5, 13, 64, 1021, 1025] {
        let two = vec![input(&[n]), input(&[n])];
        all.push(Case::new("add", format!("{n}"), Kind::Add, two, |t, v| add(t, &v[0], &v[1])));
        let one = vec![input(&[n])];
        all.push(Case::new("scale", format!("{n}"), Kind::Scale(0.5), one.clone(), |t, v| scale(t, &v[0], 0.5)));
        // A run with bf16 activations casts its input and casts the gradient back.
        all.push(Case::new("cast", format!("{n}"), Kind::Cast, one, |t, v| cast(t, &v[0], DType::F32)));
    }
    for (rows, c) in [(1, 1), (5, 7), (3, 33), (7, 4), (63, 31), (65, 32), (131, 5)] {
        let name = format!("rows {rows}, C {c}");
        let inputs = vec![input(&[rows, c]), input(&[c]).keep_f32()];
        all.push(Case::new("scale_channels", name.clone(), Kind::Channels(c), inputs, |t, v| {
            scale_channels(t, &v[0], &v[1])
        }));
        all.push(Case::new("glu", name, Kind::Glu(c), vec![input(&[rows, 2 * c])], |t, v| glu(t, &v[0])));
    }
    let n = 501 * 96;
    let two = vec![input(&[n]), input(&[n])];
    let sum = Case::new("add", format!("{n}"), Kind::Add, two, |t, v| add(t, &v[0], &v[1]));
    all.push(sum.bench(n as f64).copied(1032, &[0, 1]));
    let one = vec![input(&[n])];
    let half = Case::new("scale", format!("{n}"), Kind::Scale(0.5), one.clone(), |t, v| scale(t, &v[0], 0.5));
    let stored = Case::new("cast", format!("{n}"), Kind::Cast, one, |t, v| cast(t, &v[0], DType::F32));
    all.extend([half, stored].map(|case| case.bench(n as f64).copied(1032, &[0])));
    all.into_iter().map(Case::with_bf16).collect()
}
