//! The normalisation on vectors of channels: no step crosses lanes but the small sums over a group's channels.

use super::{EPS, Sizes};
use crate::device::simd::slices::{add_to, each_vector, get, put};
use crate::device::simd::{Kernel, Simd};

/// Rows per block: a block stays in the first-level cache between the two passes over it, and sums of blocks
/// keep the rounding of a long sequence that of a short one.
const ROWS: usize = 32;

pub(super) struct Forward<'a> {
    pub sizes: Sizes,
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sizes { l, c, .. } = self.sizes;
        for (y, x) in self.y.chunks_exact_mut(l * c).zip(self.x.chunks_exact(l * c)) {
            // y = x scale + shift
            let (mean, mut scale) = moments(s, &self.sizes, x);
            scale.iter_mut().zip(self.weight).for_each(|(r, w)| *r *= w);
            let shift: Vec<f32> = (0..c).map(|j| self.bias[j] - mean[j] * scale[j]).collect();
            for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                each_vector!(S, c, |at, n| {
                    put(s, y, at, n, s.fma(get(s, x, at, n), get(s, &scale, at, n), get(s, &shift, at, n)));
                });
            }
        }
    }
}

pub(super) struct Backward<'a> {
    pub sizes: Sizes,
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub dy: &'a [f32],
    pub dx: &'a mut [f32],
    pub dw: &'a mut [f32],
    pub db: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sizes { l, c, groups, .. } = self.sizes;
        let width = c / groups;
        let sequences = self.x.chunks_exact(l * c).zip(self.dy.chunks_exact(l * c));
        for (dx, (x, dy)) in self.dx.chunks_exact_mut(l * c).zip(sequences) {
            let (mean, rstd) = moments(s, &self.sizes, x);
            let (sum_dy, sum_dyx) = slope_sums(s, c, x, dy, (&mean, &rstd));
            let group_mean = |sums: &[f32], j: usize| {
                let first = j / width * width;
                let total: f32 = (first..first + width).map(|i| sums[i] * self.weight[i]).sum();
                total / (l * width) as f32
            };
            // dx = rstd (dy w - mean_g - xhat mean_gx) = dy a + x b + d for every channel.
            let mean_gx: Vec<f32> = (0..c).map(|j| group_mean(&sum_dyx, j)).collect();
            let a: Vec<f32> = (0..c).map(|j| rstd[j] * self.weight[j]).collect();
            let b: Vec<f32> = (0..c).map(|j| -rstd[j] * rstd[j] * mean_gx[j]).collect();
            let d: Vec<f32> = (0..c).map(|j| -rstd[j] * group_mean(&sum_dy, j)).collect();
            for ((dx, x), dy) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(dy.chunks_exact(c)) {
                each_vector!(S, c, |at, n| {
                    let centred = s.sub(get(s, x, at, n), get(s, &mean, at, n));
                    let constant = s.fma(centred, get(s, &b, at, n), get(s, &d, at, n));
                    put(s, dx, at, n, s.fma(get(s, dy, at, n), get(s, &a, at, n), constant));
                });
            }
            for j in 0..c {
                self.dw[j] += sum_dyx[j];
                self.db[j] += sum_dy[j];
            }
        }
    }
}

/// Mean and 1 / sqrt(var + eps) of the group of every channel of one sequence [L, C].
///
/// Blocks of rows, each in two passes, merged by Chan's formula: M2 = M2a + M2b + (mean_b - mean_a)^2 na nb / n.
#[inline(always)]
fn moments<S: Simd>(s: S, sizes: &Sizes, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let Sizes { l, c, groups, .. } = *sizes;
    let (mut mean, mut spread) = (vec![0.0f32; c], vec![0.0f32; c]);
    let mut seen = 0.0f32;
    for block in x.chunks(ROWS * c) {
        let rows = (block.len() / c) as f32;
        let (inverse, weight) = (s.splat(1.0 / rows), s.splat(rows / (seen + rows)));
        let merged = s.splat(seen * rows / (seen + rows));
        each_vector!(S, c, |at, n| {
            let mut sum = s.zero();
            for row in block.chunks_exact(c) {
                sum = s.add(sum, get(s, row, at, n));
            }
            let centre = s.mul(sum, inverse);
            let mut square = s.zero();
            for row in block.chunks_exact(c) {
                let centred = s.sub(get(s, row, at, n), centre);
                square = s.fma(centred, centred, square);
            }
            let before = get(s, &mean, at, n);
            let step = s.sub(centre, before);
            put(s, &mut mean, at, n, s.fma(step, weight, before));
            let total = s.add(get(s, &spread, at, n), square);
            put(s, &mut spread, at, n, s.fma(s.mul(step, step), merged, total));
        });
        seen += rows;
    }
    // The channels of a group: equally many numbers each.
    let width = c / groups;
    for g in 0..groups {
        let channels = g * width..(g + 1) * width;
        let centre = mean[channels.clone()].iter().sum::<f32>() / width as f32;
        let between: f32 = mean[channels.clone()].iter().map(|m| (m - centre) * (m - centre)).sum();
        let total = spread[channels.clone()].iter().sum::<f32>() + between * l as f32;
        mean[channels.clone()].fill(centre);
        spread[channels].fill(1.0 / (total / (l * width) as f32 + EPS).sqrt());
    }
    (mean, spread)
}

/// Per channel: sum of dy, and sum of dy times the normalised x.
#[inline(always)]
fn slope_sums<S: Simd>(s: S, c: usize, x: &[f32], dy: &[f32], (mean, rstd): (&[f32], &[f32])) -> (Vec<f32>, Vec<f32>) {
    let (mut sum_dy, mut sum_dyx) = (vec![0.0f32; c], vec![0.0f32; c]);
    for (x, dy) in x.chunks(ROWS * c).zip(dy.chunks(ROWS * c)) {
        each_vector!(S, c, |at, n| {
            let (mean, rstd) = (get(s, mean, at, n), get(s, rstd, at, n));
            let (mut a, mut b) = (s.zero(), s.zero());
            for (x, dy) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
                let dy = get(s, dy, at, n);
                a = s.add(a, dy);
                b = s.fma(dy, s.sub(get(s, x, at, n), mean), b);
            }
            add_to(s, &mut sum_dy, at, n, a);
            add_to(s, &mut sum_dyx, at, n, s.mul(b, rstd));
        });
    }
    (sum_dy, sum_dyx)
}
