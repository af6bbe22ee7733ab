//! The convolution on one core, as products of small matrices.
//!
//! 1. A row of channels is regrouped so that W groups lie interleaved (channel i of W groups side by side), with
//!    k/2 rows of zeros before and after: the k x Cin/G window of a step is then one contiguous run, and windows
//!    of neighbouring steps overlap. That is the matrix A of [`crate::device::tile`], without a copy per tap.
//! 2. W is chosen so that W Cout/G fills whole vectors: 24 channels -> W = 2, 12 -> W = 4.
//! 3. y and dx are windows times weights; dw is windows transposed times dy, in blocks of steps that stay in
//!    the first-level cache. The results are brought back to the order of channels when they are stored.

use super::Sizes;
use super::regroup::{regroup, ungroup};
use crate::device::host::Buffer;
use crate::device::simd::{Kernel, Simd};
use crate::device::tile::{Extent, Rows, Spread, Start, product};

/// Steps per block, whole tiles: two blocks of lanes and a panel of weights fit the first-level cache.
const fn steps<S: Simd>() -> usize {
    if S::ROWS == 6 { 96 } else { 64 }
}

/// Interleaved groups per product.
fn interleave_width<S: Simd>(s: &Sizes) -> usize {
    // Loads or multiplications of one step of 24 rows, whichever are more.
    let cost = |vectors: usize| {
        let rows = if vectors == 1 && S::ROWS == 6 { 8 } else { S::ROWS };
        24 / rows * (rows * vectors).max(rows + vectors)
    };
    let panels = |n: usize| -> usize {
        let vectors = n.div_ceil(S::LANES);
        (0..vectors).step_by(S::VECTORS).map(|v| cost((vectors - v).min(S::VECTORS))).sum()
    };
    let total = |w: &usize| -> usize {
        let (y, x) = (panels(s.outputs * w), panels(s.inputs * w));
        s.groups.div_ceil(*w) * (2 * s.inputs * y + s.outputs * x)
    };
    [1, 2, 4].into_iter().filter(|&w| w == 1 || w <= s.groups).min_by_key(total).expect("not empty")
}

/// y = conv(x, w) + bias.
pub(super) struct Forward<'a> {
    pub sizes: Sizes,
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub y: &'a mut [f32],
}

/// dx, dw or both; `None`: not wanted.
pub(super) struct Backward<'a> {
    pub sizes: Sizes,
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub dy: &'a [f32],
    pub dx: Option<&'a mut [f32]>,
    pub dw: Option<&'a mut [f32]>,
}

macro_rules! with_width {
    ($simd:ident, $sizes:expr, $f:ident ( $($arg:expr),* )) => {
        match interleave_width::<S>($sizes) {
            1 => $f::<S, 1>($simd, $($arg),*),
            2 => $f::<S, 2>($simd, $($arg),*),
            _ => $f::<S, 4>($simd, $($arg),*),
        }
    };
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        with_width!(simd, &self.sizes, forward(self))
    }
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        with_width!(simd, &self.sizes, backward(self))
    }
}

#[inline(always)]
fn forward<S: Simd, const W: usize>(simd: S, job: Forward) {
    let s = job.sizes;
    let packed = pack_weights::<W>(&s, job.weight, Direction::Forward);
    let bias = regroup_bias::<W>(&s, job.bias);
    for (x, y) in job.x.chunks_exact(s.len * s.cin()).zip(job.y.chunks_exact_mut(s.len * s.cout())) {
        let windows = Interleaved::new::<S, W>(simd, x, s.len, s.groups, s.inputs, s.taps / 2);
        convolve::<S, W>(simd, &s, &windows, &packed, Some(&bias), y, s.outputs);
    }
}

#[inline(always)]
fn backward<S: Simd, const W: usize>(simd: S, job: Backward) {
    let s = job.sizes;
    let pad = s.taps / 2;
    let flipped = job.dx.is_some().then(|| pack_weights::<W>(&s, job.weight, Direction::Backward));
    let (rows, columns) = (s.taps * s.inputs, s.outputs * W);
    let mut sums = job.dw.is_some().then(|| Buffer::zeroed(s.groups.div_ceil(W) * rows * columns));
    let mut dx = job.dx;
    for b in 0..s.batch {
        let dy = &job.dy[b * s.len * s.cout()..][..s.len * s.cout()];
        let dy = Interleaved::new::<S, W>(simd, dy, s.len, s.groups, s.outputs, pad);
        if let (Some(dx), Some(flipped)) = (dx.as_deref_mut(), &flipped) {
            let dx = &mut dx[b * s.len * s.cin()..][..s.len * s.cin()];
            convolve::<S, W>(simd, &s, &dy, flipped, None, dx, s.inputs);
        }
        if let Some(sums) = &mut sums {
            let x = &job.x[b * s.len * s.cin()..][..s.len * s.cin()];
            let x = Interleaved::new::<S, W>(simd, x, s.len, s.groups, s.inputs, pad);
            add_weight_gradient::<S, W>(simd, &s, &x, &dy, sums.as_mut_slice());
        }
    }
    if let (Some(sums), Some(dw)) = (sums, job.dw) {
        let sums = sums.as_slice();
        for_each_weight::<W>(&s, Direction::Forward, |weight, packed| dw[weight] = sums[packed]);
    }
}

/// Rows of channels with W groups interleaved, and zeros around: [groups / W][pad + len + pad][channels W].
struct Interleaved {
    data: Buffer,
    len: usize,
    pad: usize,
    row: usize,
}

impl Interleaved {
    #[inline(always)]
    fn new<S: Simd, const W: usize>(
        simd: S,
        x: &[f32],
        len: usize,
        groups: usize,
        channels: usize,
        pad: usize,
    ) -> Interleaved {
        let (bundles, row) = (groups.div_ceil(W), channels * W);
        let bundle = (len + 2 * pad) * row;
        let mut data = Buffer::uninit(bundles * bundle);
        for (p, out) in data.as_mut_slice().chunks_exact_mut(bundle).enumerate() {
            out[..pad * row].fill(0.0);
            out[(pad + len) * row..].fill(0.0);
            let rows = out[pad * row..(pad + len) * row].chunks_exact_mut(row);
            let present = (groups - p * W).min(W);
            for (x, out) in x.chunks_exact(groups * channels).zip(rows) {
                regroup::<S, W>(simd, &x[p * W * channels..][..present * channels], channels, out);
            }
        }
        Interleaved { data, len, pad, row }
    }
    fn bundle(&self, p: usize) -> &[f32] {
        let size = (self.len + 2 * self.pad) * self.row;
        &self.data.as_slice()[p * size..][..size]
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    /// Lanes are outputs, a window is (tap, input).
    Forward,
    /// Lanes are inputs, a window is (flipped tap, output).
    Backward,
}

/// Weights as matrices B: [groups / W][window][lanes W].
fn pack_weights<const W: usize>(s: &Sizes, weight: &[f32], direction: Direction) -> Buffer {
    let mut packed = Buffer::zeroed(s.groups.div_ceil(W) * W * s.taps * s.inputs * s.outputs);
    let to = packed.as_mut_slice();
    for_each_weight::<W>(s, direction, |weight_at, packed_at| to[packed_at] = weight[weight_at]);
    packed
}

/// Calls `f(index in the weight tensor, index in the packed matrices)` for every weight.
#[inline(always)]
fn for_each_weight<const W: usize>(s: &Sizes, direction: Direction, mut f: impl FnMut(usize, usize)) {
    // Distances in the packed matrices of an output, an input and a tap.
    let (output, input, tap) = match direction {
        Direction::Forward => (W, s.outputs * W, (s.inputs * s.outputs * W) as isize),
        Direction::Backward => (s.inputs * W, W, -((s.inputs * s.outputs * W) as isize)),
    };
    let first_tap = if direction == Direction::Forward { 0 } else { (s.taps - 1) * s.inputs * s.outputs * W };
    let mut weight = 0;
    for g in 0..s.groups {
        let bundle = g / W * (W * s.taps * s.inputs * s.outputs) + g % W + first_tap;
        for o in 0..s.outputs {
            for i in 0..s.inputs {
                let mut at = (bundle + o * output + i * input) as isize;
                for _ in 0..s.taps {
                    f(weight, at as usize);
                    weight += 1;
                    at += tap;
                }
            }
        }
    }
}

fn regroup_bias<const W: usize>(s: &Sizes, bias: &[f32]) -> Buffer {
    let mut out = Buffer::zeroed(s.groups.div_ceil(W) * s.outputs * W);
    for (channel, &b) in bias.iter().enumerate() {
        let (g, o) = (channel / s.outputs, channel % s.outputs);
        out.as_mut_slice()[(g / W * s.outputs + o) * W + g % W] = b;
    }
    out
}

/// y = windows times weights, with `outputs` channels per group in y.
#[inline(always)]
fn convolve<S: Simd, const W: usize>(
    simd: S,
    s: &Sizes,
    windows: &Interleaved,
    weights: &Buffer,
    bias: Option<&Buffer>,
    y: &mut [f32],
    outputs: usize,
) {
    let (k, n, wide) = (s.taps * windows.row / W, outputs * W, s.groups * outputs);
    let mut block = Buffer::uninit(steps::<S>() * n);
    for p in 0..s.groups.div_ceil(W) {
        let (a, b) = (windows.bundle(p), &weights.as_slice()[p * k * n..][..k * n]);
        let start = bias.map_or(Start::Zero, |bias| Start::Bias(&bias.as_slice()[p * n..][..n]));
        let present = (s.groups - p * W).min(W);
        for first in (0..s.len).step_by(steps::<S>()) {
            let m = (s.len - first).min(steps::<S>());
            let a = Spread { data: &a[first * windows.row..], row: windows.row, step: W };
            let rows = block.as_mut_slice();
            product::<S, W>(simd, Extent { m, n, k }, a, Rows { data: b, row: n }, rows, n, start);
            for (row, y) in rows.chunks_exact(n).zip(y[first * wide..].chunks_exact_mut(wide)).take(m) {
                ungroup::<S, W>(simd, row, outputs, &mut y[p * W * outputs..][..present * outputs]);
            }
        }
    }
}

/// sums [groups / W][tap, input][outputs W] += windows of x, transposed, times dy.
#[inline(always)]
fn add_weight_gradient<S: Simd, const W: usize>(
    simd: S,
    s: &Sizes,
    x: &Interleaved,
    dy: &Interleaved,
    sums: &mut [f32],
) {
    let (m, n) = (s.taps * s.inputs, s.outputs * W);
    for (p, sums) in sums.chunks_exact_mut(m * n).enumerate() {
        for first in (0..s.len).step_by(steps::<S>()) {
            let k = (s.len - first).min(steps::<S>());
            let a = Spread { data: &x.bundle(p)[first * x.row..], row: W, step: x.row };
            let b = Rows { data: &dy.bundle(p)[(first + dy.pad) * dy.row..], row: dy.row };
            product::<S, W>(simd, Extent { m, n, k }, a, b, sums, n, Start::Sum);
        }
    }
}
