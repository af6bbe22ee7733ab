//! The convolution on one core, as products of small matrices.
//!
//! 1. A row of channels is regrouped so that W groups lie interleaved (channel i of W groups side by side), with
//!    k/2 rows of zeros before and after: the k x Cin/G window of a step is then one contiguous run, and windows
//!    of neighbouring steps overlap. That is the matrix A of [`crate::device::tile`], without a copy per tap.
//! 2. W is chosen so that W Cout/G fills whole vectors: 24 channels -> W = 2, 12 -> W = 4, depthwise -> all lanes.
//! 3. y and dx are windows times weights; dw is windows transposed times dy, in blocks of steps that stay in
//!    the first-level cache. The results are brought back to the order of channels when they are stored.

use super::Sizes;
use crate::device::host::Buffer;
use crate::device::simd::{Kernel, Simd};
use crate::device::tile::{Extent, Rows, Spread, Start, product};

/// Steps per block: two blocks of 48 lanes and a panel of weights fit the first-level cache.
const STEPS: usize = 64;

/// Interleaved groups per product.
fn interleave_width(s: &Sizes, lanes: usize) -> usize {
    let vectors = |n: usize| (0..n.div_ceil(lanes)).step_by(3).map(|v| cost((n.div_ceil(lanes) - v).min(3))).sum();
    // Loads or multiplications of one step of 8 rows, whichever are more.
    fn cost(vectors: usize) -> usize {
        (8 * vectors).max(8 + vectors)
    }
    let total = |w: &usize| -> usize {
        let (y, x): (usize, usize) = (vectors(s.outputs * w), vectors(s.inputs * w));
        s.groups.div_ceil(*w) * (2 * s.inputs * y + s.outputs * x)
    };
    [1, 2, 4, lanes].into_iter().filter(|&w| w == 1 || w <= s.groups).min_by_key(total).expect("not empty")
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
        match interleave_width($sizes, S::LANES) {
            1 => $f::<S, 1>($simd, $($arg),*),
            2 => $f::<S, 2>($simd, $($arg),*),
            4 => $f::<S, 4>($simd, $($arg),*),
            8 => $f::<S, 8>($simd, $($arg),*),
            _ => $f::<S, 16>($simd, $($arg),*),
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
        let at =
            |g: usize, o: usize, i: usize, t: usize| ((g / W * s.taps + t) * s.inputs + i) * columns + o * W + g % W;
        for (n, dw) in dw.iter_mut().enumerate() {
            let (channel, i, t) = (n / (s.inputs * s.taps), n / s.taps % s.inputs, n % s.taps);
            *dw = sums.as_slice()[at(channel / s.outputs, channel % s.outputs, i, t)];
        }
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

/// out[i W + j] = x[j channels + i]; groups that are not there are zero.
#[inline(always)]
fn regroup<S: Simd, const W: usize>(s: S, x: &[f32], channels: usize, out: &mut [f32]) {
    if W == 1 {
        out.copy_from_slice(x);
    } else if (W == 2 || W == 4) && x.len() == W * channels {
        for i in (0..channels).step_by(S::LANES) {
            let n = (channels - i).min(S::LANES);
            // SAFETY: n channels of each of the W groups are readable, and W n numbers writable from i W on.
            unsafe {
                let group = |j: usize| s.load_first(x.as_ptr().add(j * channels + i), n);
                let to = out.as_mut_ptr().add(i * W);
                if W == 2 {
                    let (low, high) = s.interleave(group(0), group(1));
                    store_some::<S, 2>(s, to, [low, high], 2 * n);
                } else {
                    let (even_low, even_high) = s.interleave(group(0), group(2));
                    let (odd_low, odd_high) = s.interleave(group(1), group(3));
                    let (a, b) = s.interleave(even_low, odd_low);
                    let (c, d) = s.interleave(even_high, odd_high);
                    store_some::<S, 4>(s, to, [a, b, c, d], 4 * n);
                }
            }
        }
    } else {
        for (i, out) in out.chunks_exact_mut(W).enumerate() {
            for (j, out) in out.iter_mut().enumerate() {
                *out = x.get(j * channels + i).copied().unwrap_or(0.0);
            }
        }
    }
}

/// x[j channels + i] = row[i W + j], for the groups that are there: the inverse of [`regroup`].
#[inline(always)]
fn ungroup<S: Simd, const W: usize>(s: S, row: &[f32], channels: usize, x: &mut [f32]) {
    if W == 1 {
        x.copy_from_slice(row);
    } else if (W == 2 || W == 4) && x.len() == W * channels {
        for i in (0..channels).step_by(S::LANES) {
            let n = (channels - i).min(S::LANES);
            // SAFETY: W n numbers are readable from i W on, and n channels of each of the W groups writable.
            unsafe {
                let from = row.as_ptr().add(i * W);
                let part =
                    |v: usize| s.load_first(from.wrapping_add(v * S::LANES), (W * n).saturating_sub(v * S::LANES));
                let to = x.as_mut_ptr().add(i);
                if W == 2 {
                    let (a, b) = s.deinterleave(part(0), part(1));
                    s.store_first(to, a, n);
                    s.store_first(to.add(channels), b, n);
                } else {
                    let (even_low, odd_low) = s.deinterleave(part(0), part(1));
                    let (even_high, odd_high) = s.deinterleave(part(2), part(3));
                    let (a, c) = s.deinterleave(even_low, even_high);
                    let (b, d) = s.deinterleave(odd_low, odd_high);
                    for (j, v) in [a, b, c, d].into_iter().enumerate() {
                        s.store_first(to.add(j * channels), v, n);
                    }
                }
            }
        }
    } else {
        for (i, row) in row.chunks_exact(W).enumerate() {
            for (j, &value) in row.iter().enumerate().take(x.len() / channels) {
                x[j * channels + i] = value;
            }
        }
    }
}

/// Stores the first `n` numbers of `N` vectors. SAFETY: `n` floats are writable.
#[inline(always)]
unsafe fn store_some<S: Simd, const N: usize>(s: S, to: *mut f32, vectors: [S::V; N], n: usize) {
    for (v, vector) in vectors.into_iter().enumerate() {
        let left = n.saturating_sub(v * S::LANES);
        if left > 0 {
            unsafe { s.store_first(to.add(v * S::LANES), vector, left) };
        }
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
    let (inner, lanes) = match direction {
        Direction::Forward => (s.inputs, s.outputs),
        Direction::Backward => (s.outputs, s.inputs),
    };
    let mut packed = Buffer::zeroed(s.groups.div_ceil(W) * s.taps * inner * lanes * W);
    let to = packed.as_mut_slice();
    for (n, &w) in weight.iter().enumerate() {
        let (channel, i, t) = (n / (s.inputs * s.taps), n / s.taps % s.inputs, n % s.taps);
        let (g, o) = (channel / s.outputs, channel % s.outputs);
        let (row, lane) = match direction {
            Direction::Forward => (t * s.inputs + i, o),
            Direction::Backward => ((s.taps - 1 - t) * s.outputs + o, i),
        };
        to[(g / W * s.taps * inner + row) * lanes * W + lane * W + g % W] = w;
    }
    packed
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
    let mut block = Buffer::uninit(STEPS * n);
    for p in 0..s.groups.div_ceil(W) {
        let (a, b) = (windows.bundle(p), &weights.as_slice()[p * k * n..][..k * n]);
        let start = bias.map_or(Start::Zero, |bias| Start::Bias(&bias.as_slice()[p * n..][..n]));
        let present = (s.groups - p * W).min(W);
        for first in (0..s.len).step_by(STEPS) {
            let m = (s.len - first).min(STEPS);
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
        for first in (0..s.len).step_by(STEPS) {
            let k = (s.len - first).min(STEPS);
            let a = Spread { data: &x.bundle(p)[first * x.row..], row: W, step: x.row };
            let b = Rows { data: &dy.bundle(p)[(first + dy.pad) * dy.row..], row: dy.row };
            product::<S, W>(simd, Extent { m, n, k }, a, b, sums, n, Start::Sum);
        }
    }
}
