//! The backward pass on one core. With P = 2^(S - lse) recomputed block by block, and delta = sum dO O:
//! dV = P^T dO, dP = dO V^T, dS = P (dP - delta), dQ = dS K scale, dK = dS^T Q scale.
//!
//! S^T, dP^T and dQ^T have queries in the lanes as in the forward pass. dK and dV have their own numbers in the
//! lanes, interleaved: (dS, P) lie side by side as pairs, Q and dO too, and one product of width 2 D gives both.
//! With D = 24 that is three full vectors, where dK alone would fill one and a half.

use super::Sizes;
use super::host::{Layout, Layouts, gather, hide, lanes_for, transpose_in, transpose_out, visible_keys};
use crate::device::host::Buffer;
use crate::device::simd::{Kernel, Simd};
use crate::device::tile::{Extent, Rows, Spread, Start, product};

/// Keys per block.
const KEYS: usize = 32;

/// dq, dk and dv, laid out as the inputs are.
pub(super) struct Backward<'a> {
    pub sizes: Sizes,
    pub layouts: Layouts,
    pub inputs: &'a [&'a [f32]],
    pub out: &'a [f32],
    pub lse: &'a [f32],
    pub dy: &'a [f32],
    pub grads: &'a mut [&'a mut [f32]],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let s = self.sizes;
        let mut scratch = Scratch::new::<S>(&s);
        let group = s.heads_q / s.heads_kv;
        for b in 0..s.batch {
            for h in 0..s.heads_kv {
                let pack = |layout: Layout, to: &mut Buffer| {
                    let from = &self.inputs[layout.buffer][layout.at(&s, s.keys, (b, h), 0)..];
                    gather(from, layout.row, s.width, to.as_mut_slice());
                };
                pack(self.layouts.k, &mut scratch.k);
                pack(self.layouts.v, &mut scratch.v);
                scratch.dkv.as_mut_slice().fill(0.0);
                for head in h * group..(h + 1) * group {
                    let mut first = 0;
                    while first < s.queries {
                        let lanes = lanes_for::<S>(s.queries - first);
                        let block = Block { b, head, first, lanes, count: lanes.min(s.queries - first) };
                        self.load(&mut scratch, &block);
                        differentiate(simd, &s, &mut scratch, &block);
                        self.store_dq(&scratch, &block);
                        first += block.count;
                    }
                }
                self.store_dkv(&scratch, b, h);
            }
        }
    }
}

struct Block {
    b: usize,
    head: usize,
    first: usize,
    lanes: usize,
    count: usize,
}

struct Scratch {
    k: Buffer,
    v: Buffer,
    /// Q^T scale log2(e) and dO^T [D, lanes].
    q: Buffer,
    dout: Buffer,
    /// Rows of (q scale, dO) pairs [queries, pairs].
    pairs: Buffer,
    /// Distance of rows of `pairs` and `dkv`: 2 D rounded up to whole vectors.
    wide: usize,
    lse: Buffer,
    delta: Buffer,
    /// S^T, then unused; dP^T, then dS^T [keys, lanes].
    logits: Buffer,
    ds: Buffer,
    /// (dS, P) pairs [keys, lanes, 2].
    ds_p: Buffer,
    /// dQ^T [D, lanes].
    dq: Buffer,
    /// (dK, dV) pairs [keys of the clip, wide].
    dkv: Buffer,
}

impl Scratch {
    fn new<S: Simd>(s: &Sizes) -> Scratch {
        let lanes = S::VECTORS * S::LANES;
        let wide = (2 * s.width).next_multiple_of(S::LANES);
        Scratch {
            k: Buffer::uninit(s.keys * s.width),
            v: Buffer::uninit(s.keys * s.width),
            q: Buffer::uninit(s.width * lanes),
            dout: Buffer::uninit(s.width * lanes),
            pairs: Buffer::zeroed(lanes * wide),
            wide,
            lse: Buffer::zeroed(lanes),
            delta: Buffer::zeroed(lanes),
            logits: Buffer::uninit(KEYS * lanes),
            ds: Buffer::uninit(KEYS * lanes),
            ds_p: Buffer::uninit(2 * KEYS * lanes),
            dq: Buffer::uninit(s.width * lanes),
            dkv: Buffer::uninit(s.keys * wide),
        }
    }
}

impl Backward<'_> {
    /// Brings a block of queries, their output gradients and sums into the scratch.
    #[inline(always)]
    fn load(&self, scratch: &mut Scratch, block: &Block) {
        let s = &self.sizes;
        let &Block { b, head, first, lanes, count } = block;
        let (d, wide) = (s.width, s.heads_q * s.width);
        let q = &self.inputs[self.layouts.q.buffer][self.layouts.q.at(s, s.queries, (b, head), first)..];
        let at = (b * s.queries + first) * wide + head * d;
        let (dy, out) = (&self.dy[at..], &self.out[at..]);
        let factor = (s.scale() * std::f64::consts::LOG2_E) as f32;
        transpose_in(q, self.layouts.q.row, (count, d), factor, scratch.q.as_mut_slice(), lanes);
        transpose_in(dy, wide, (count, d), 1.0, scratch.dout.as_mut_slice(), lanes);
        let scale = s.scale() as f32;
        let (lse, delta) = (scratch.lse.as_mut_slice(), scratch.delta.as_mut_slice());
        lse.fill(0.0);
        delta.fill(0.0);
        lse[..count].copy_from_slice(&self.lse[(b * s.heads_q + head) * s.queries + first..][..count]);
        for (r, pairs) in scratch.pairs.as_mut_slice().chunks_exact_mut(scratch.wide).take(count).enumerate() {
            let (q, dy) = (&q[r * self.layouts.q.row..][..d], &dy[r * wide..][..d]);
            for (pair, (&q, &dy)) in pairs.chunks_exact_mut(2).zip(q.iter().zip(dy)) {
                pair[0] = q * scale;
                pair[1] = dy;
            }
            delta[r] = dy.iter().zip(&out[r * wide..][..d]).map(|(a, b)| a * b).sum();
        }
    }
    #[inline(always)]
    fn store_dq(&mut self, scratch: &Scratch, block: &Block) {
        let s = &self.sizes;
        let layout = self.layouts.q;
        let to = &mut self.grads[layout.buffer][layout.at(s, s.queries, (block.b, block.head), block.first)..];
        let scale = s.scale() as f32;
        transpose_out(scratch.dq.as_slice(), block.lanes, (block.count, s.width), |_| scale, to, layout.row);
    }
    #[inline(always)]
    fn store_dkv(&mut self, scratch: &Scratch, b: usize, h: usize) {
        let s = &self.sizes;
        for (half, layout) in [(0, self.layouts.k), (1, self.layouts.v)] {
            let to = &mut self.grads[layout.buffer][layout.at(s, s.keys, (b, h), 0)..];
            for (to, pairs) in to.chunks_mut(layout.row).zip(scratch.dkv.as_slice().chunks_exact(scratch.wide)) {
                for (to, pair) in to[..s.width].iter_mut().zip(pairs.chunks_exact(2)) {
                    *to = pair[half];
                }
            }
        }
    }
}

/// One block of queries: dq [D, lanes] is set, dkv gets its share.
#[inline(always)]
fn differentiate<S: Simd>(simd: S, s: &Sizes, scratch: &mut Scratch, block: &Block) {
    let (d, lanes, wide) = (s.width, block.lanes, scratch.wide);
    let keys = visible_keys(s, block.first + block.count);
    let q = Rows { data: scratch.q.as_slice(), row: lanes };
    let dout = Rows { data: scratch.dout.as_slice(), row: lanes };
    let pairs = Rows { data: scratch.pairs.as_slice(), row: wide };
    for from in (0..keys).step_by(KEYS) {
        let m = (keys - from).min(KEYS);
        let (k, v) = (&scratch.k.as_slice()[from * d..], &scratch.v.as_slice()[from * d..]);
        let logits = &mut scratch.logits.as_mut_slice()[..m * lanes];
        let ds = &mut scratch.ds.as_mut_slice()[..m * lanes];
        let ds_p = &mut scratch.ds_p.as_mut_slice()[..2 * m * lanes];
        let extent = Extent { m, n: lanes, k: d };
        product::<S, 1>(simd, extent, Spread { data: k, row: d, step: 1 }, q, logits, lanes, Start::Zero);
        product::<S, 1>(simd, extent, Spread { data: v, row: d, step: 1 }, dout, ds, lanes, Start::Zero);
        hide(s, logits, lanes, from, block.first);
        // SAFETY: all slices hold whole rows of `lanes`, a multiple of the vector.
        unsafe { soften(simd, logits, ds, ds_p, lanes, scratch.lse.as_slice(), scratch.delta.as_slice()) };
        let start = if from == 0 { Start::Zero } else { Start::Sum };
        let (ds, dq) = (Rows { data: ds, row: lanes }, scratch.dq.as_mut_slice());
        product::<S, 1>(
            simd,
            Extent { m: d, n: lanes, k: m },
            Spread { data: k, row: 1, step: d },
            ds,
            dq,
            lanes,
            start,
        );
        let a = Spread { data: ds_p, row: 2 * lanes, step: 2 };
        let dkv = &mut scratch.dkv.as_mut_slice()[from * wide..];
        product::<S, 2>(simd, Extent { m, n: wide, k: block.count }, a, pairs, dkv, wide, Start::Sum);
    }
}

/// dP^T to dS^T in place, and the (dS, P) pairs.
#[inline(always)]
unsafe fn soften<S: Simd>(
    simd: S,
    logits: &[f32],
    ds: &mut [f32],
    ds_p: &mut [f32],
    lanes: usize,
    lse: &[f32],
    delta: &[f32],
) {
    let rows = logits.len() / lanes;
    for at in (0..lanes).step_by(S::LANES) {
        unsafe {
            let (lse, delta) = (simd.load(lse.as_ptr().add(at)), simd.load(delta.as_ptr().add(at)));
            for i in 0..rows {
                let place = i * lanes + at;
                let p = simd.exp2(simd.sub(simd.load(logits.as_ptr().add(place)), lse));
                let slope = simd.mul(p, simd.sub(simd.load(ds.as_ptr().add(place)), delta));
                simd.store(ds.as_mut_ptr().add(place), slope);
                let (low, high) = simd.interleave(slope, p);
                simd.store(ds_p.as_mut_ptr().add(2 * place), low);
                simd.store(ds_p.as_mut_ptr().add(2 * place + S::LANES), high);
            }
        }
    }
}
