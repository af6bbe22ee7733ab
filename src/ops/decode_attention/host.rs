//! One query per sequence on the host: vector lanes run over the numbers of a head, so that one query fills them.
//!
//! A unit of work is a part of the keys of one KV head: its query heads take scores as dot products with each key,
//! exponentials against their own maximum, and P V through the tile kernel. The parts of a head are then combined in
//! order, whoever computed them.

use super::super::attention::{Plan, Sizes};
use crate::device::product::Threads;
use crate::device::simd::slices::{each_vector, get, put};
use crate::device::simd::{Isa, Kernel, Simd, dispatch};
use crate::device::tile::{Extent, Rows, Spread, Start, product};
use crate::tensor::Tensor;
use rayon::prelude::*;

/// Keys of a part: those of a head of 64 numbers fill 64 KB, the values as much.
const PART: usize = 256;

/// The output [B,1,Hq D].
#[track_caller]
pub(super) fn decode(plan: &Plan, inputs: [&Tensor; 3], threads: Threads) -> Tensor {
    let sequences = plan.sequences();
    let s = &plan.sizes;
    let mut units = Vec::new();
    for (b, s) in sequences.iter().enumerate() {
        for head in 0..s.heads_kv {
            units.extend((0..s.keys).step_by(PART).map(|first| (b, head, first)));
        }
    }
    let [q, k, v] = inputs.map(|t| t.data());
    // Threads of the pool know nothing of an instruction set that was forced here.
    let isa = Isa::current();
    let attend = |&(b, head, first): &(usize, usize, usize)| {
        isa.force(|| dispatch(Attend { sizes: &sequences[b], q, k, v, b, head, first }))
    };
    let parts: Vec<Part> = match threads {
        Threads::One => units.iter().map(attend).collect(),
        Threads::All | Threads::Apart => units.par_iter().map(attend).collect(),
    };
    let mut out = Tensor::zeros(&[s.batch, 1, s.heads_q * s.width]);
    let group = s.heads_q / s.heads_kv;
    let heads = out.data_mut().chunks_exact_mut(group * s.width).enumerate();
    let mut parts = &parts[..];
    for (i, to) in heads {
        let (mine, rest) = parts.split_at(sequences[i / s.heads_kv].keys.div_ceil(PART));
        parts = rest;
        combine(mine, s.width, to);
    }
    out
}

/// What the query heads of a KV head have from one part of the keys.
struct Part {
    /// Sums of 2^(logit - top) v, [heads, D].
    o: Vec<f32>,
    /// Largest base-2 logit and sum of 2^(logit - top), per head.
    stats: Vec<(f32, f32)>,
}

/// to [heads, D] = the parts in order, zeros without any.
fn combine(parts: &[Part], width: usize, to: &mut [f32]) {
    for (h, to) in to.chunks_exact_mut(width).enumerate() {
        let top = parts.iter().fold(f32::NEG_INFINITY, |top, part| top.max(part.stats[h].0));
        let factors = || parts.iter().map(|part| (part, (part.stats[h].0 - top).exp2()));
        let total: f32 = factors().map(|(part, factor)| factor * part.stats[h].1).sum();
        for (part, factor) in factors() {
            let factor = factor / total;
            to.iter_mut().zip(&part.o[h * width..]).for_each(|(to, o)| *to += factor * o);
        }
    }
}

/// The keys from `first` on, at most [`PART`], against the query heads of one KV head.
struct Attend<'a> {
    sizes: &'a Sizes,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    b: usize,
    head: usize,
    first: usize,
}

impl Kernel for Attend<'_> {
    type Output = Part;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Part {
        let Attend { sizes: s, b, head, first, .. } = self;
        let (d, group, row) = (s.width, s.heads_q / s.heads_kv, s.heads_kv * s.width);
        let count = (s.keys - first).min(PART);
        let at = (b * s.positions + first) * row + head * d;
        let (k, v) = (Rows { data: &self.k[at..], row }, Rows { data: &self.v[at..], row });
        let factor = simd.splat((s.scale() * std::f64::consts::LOG2_E) as f32);
        let mut q = self.q[(b * s.heads_q + head * group) * d..][..group * d].to_vec();
        each_vector!(S, q.len(), |at, n| {
            let scaled = simd.mul(get(simd, &q, at, n), factor);
            put(simd, &mut q, at, n, scaled)
        });
        let mut p = vec![0.0; group * count];
        let mut h = 0;
        while h < group {
            let (q, p) = (&q[h * d..], &mut p[h * count..]);
            let fetched = if h == 0 { Some(v) } else { None };
            h += match group - h {
                4.. => scores::<S, 4>(simd, (q, d), (k, fetched), p, count),
                2.. => scores::<S, 2>(simd, (q, d), (k, fetched), p, count),
                _ => scores::<S, 1>(simd, (q, d), (k, fetched), p, count),
            };
        }
        let mut stats = Vec::with_capacity(group);
        for row in p.chunks_exact_mut(count) {
            stats.push(exponentials(simd, row));
        }
        let mut o = vec![0.0; group * d];
        let a = Spread { data: &p, row: count, step: 1 };
        product::<S, 1>(simd, Extent { m: group, n: d, k: count }, a, v, &mut o, d, Start::Zero);
        Part { o, stats }
    }
}

/// Keys that are fetched into the cache before they are needed: the rows of a head are too short, and too far apart, for a
/// machine to do so by itself.
const AHEAD: usize = 8;

/// p [N, count] = the products of N queries of `d` numbers with the keys; N. Meanwhile it fetches `values` that are needed next.
#[inline(always)]
fn scores<S: Simd, const N: usize>(
    simd: S,
    (q, d): (&[f32], usize),
    (k, values): (Rows, Option<Rows>),
    p: &mut [f32],
    count: usize,
) -> usize {
    let fetch = |rows: Rows, row: usize| {
        let row = rows.data.as_ptr().wrapping_add(row * rows.row);
        (0..d).step_by(16).for_each(|at| simd.prefetch(row.wrapping_add(at)));
    };
    for j in 0..count {
        if values.is_some() {
            fetch(k, j + AHEAD);
        }
        if let Some(values) = values {
            fetch(values, j);
        }
        let key = &k.data[j * k.row..][..d];
        let mut sums = [simd.zero(); N];
        each_vector!(S, d, |at, n| {
            let key = get(simd, key, at, n);
            for (h, sum) in sums.iter_mut().enumerate() {
                *sum = simd.fma(get(simd, q, h * d + at, n), key, *sum);
            }
        });
        for (h, &sum) in sums.iter().enumerate() {
            p[h * count + j] = simd.sum(sum);
        }
    }
    N
}

/// The largest number of a row.
#[inline(always)]
fn largest<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (vectors, rest) = row.split_at(row.len() - row.len() % S::LANES);
    let mut lanes = [f32::NEG_INFINITY; 16];
    let mut most = simd.splat(f32::NEG_INFINITY);
    for vector in vectors.chunks_exact(S::LANES) {
        most = simd.max(most, get(simd, vector, 0, S::LANES));
    }
    put(simd, &mut lanes, 0, S::LANES, most);
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// A row of base-2 logits to 2^(logit - top); top and the sum.
#[inline(always)]
fn exponentials<S: Simd>(simd: S, row: &mut [f32]) -> (f32, f32) {
    let top = largest(simd, row);
    let most = simd.splat(top);
    each_vector!(S, row.len(), |at, n| {
        let p = simd.exp2(simd.sub(get(simd, row, at, n), most));
        put(simd, row, at, n, p)
    });
    // Summed after they are stored: the empty lanes of the last vector hold no probability.
    let mut sum = simd.zero();
    each_vector!(S, row.len(), |at, n| sum = simd.add(sum, get(simd, row, at, n)));
    (top, simd.sum(sum))
}
