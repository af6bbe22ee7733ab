//! The backward pass on one core. With P = 2^(S - lse) recomputed block by block, and delta = sum dO O:
//! dV = P^T dO, dP = dO V^T, dS = P (dP - delta), dQ = dS K scale, dK = dS^T Q scale.
//!
//! S^T, dP^T and dQ^T have queries in the lanes as in the forward pass. dK and dV have their own numbers in the
//! lanes, interleaved: (dS, P) lie side by side as pairs, Q and dO too, and one product of width 2 D gives both.
//! With D = 24 that is three full vectors, where dK alone would fill one and a half.

use super::Sizes;
use super::host::{Layouts, apply_causal_mask, lanes_for};
use crate::device::host::Buffer;
use crate::device::simd::slices::{each_vector, get, put};
use crate::device::simd::{Kernel, Simd};
use crate::device::tile::{Extent, Rows, Spread, Start, product, transpose};

/// Keys per block.
const KEYS: usize = 64;

/// dq, dk and dv, laid out as the inputs are.
pub(super) struct Backward<'a> {
    /// The sizes of every sequence, at least one.
    pub sequences: &'a [Sizes],
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
        let Some(s) = self.sequences.first() else { return };
        let mut scratch = Scratch::new::<S>(s);
        let group = s.heads_q / s.heads_kv;
        for (b, s) in self.sequences.iter().enumerate() {
            let blind = s.blind();
            for h in 0..s.heads_kv {
                let k = self.layouts.k.rows(self.inputs, s, s.positions, (b, h), 0);
                let v = self.layouts.v.rows(self.inputs, s, s.positions, (b, h), 0);
                // Keys that are not valid keep these zeros.
                scratch.dkv.as_mut_slice().fill(0.0);
                for head in h * group..(h + 1) * group {
                    self.fill_blind(s, (b, head), blind);
                    let mut first = blind;
                    while first < s.queries {
                        let lanes = lanes_for::<S>(s.queries - first);
                        let block = Block { b, head, first, lanes, count: lanes.min(s.queries - first) };
                        self.load(simd, s, &mut scratch, &block);
                        differentiate(simd, s, &mut scratch, (k, v), &block);
                        self.store_dq(simd, s, &scratch, &block);
                        first += block.count;
                    }
                }
                self.store_dkv(simd, s, &scratch, (b, h));
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
    /// Q^T scale log2(e) and dO^T [D, lanes].
    q: Buffer,
    dout: Buffer,
    /// Rows of (q scale, dO) pairs [queries, wide].
    pairs: Buffer,
    /// Distance of rows of `pairs` and `dkv`: 2 D rounded up to whole vectors.
    wide: usize,
    lse: Buffer,
    delta: Buffer,
    /// S^T [keys, lanes].
    logits: Buffer,
    /// dP^T, then dS^T [keys, lanes].
    ds: Buffer,
    /// (dS, P) pairs [keys, lanes, 2].
    ds_p: Buffer,
    /// dQ^T [D, lanes].
    dq: Buffer,
    /// (dK, dV) pairs [positions of the sequence, wide].
    dkv: Buffer,
}

impl Scratch {
    fn new<S: Simd>(s: &Sizes) -> Scratch {
        let lanes = S::VECTORS * S::LANES;
        let wide = (2 * s.width).next_multiple_of(S::LANES);
        Scratch {
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
            dkv: Buffer::uninit(s.positions * wide),
        }
    }
}

impl Backward<'_> {
    /// Zeros as dq of the first `count` queries of a head, which see no key.
    fn fill_blind(&mut self, s: &Sizes, head: (usize, usize), count: usize) {
        let layout = self.layouts.q;
        for i in 0..count {
            let at = layout.at(s, s.queries, head, i);
            self.grads[layout.buffer][at..at + s.width].fill(0.0);
        }
    }
    /// Brings a block of queries, their output gradients and sums into the scratch.
    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, s: &Sizes, scratch: &mut Scratch, block: &Block) {
        let &Block { b, head, first, lanes, count } = block;
        let (d, wide) = (s.width, s.heads_q * s.width);
        let q = self.layouts.q.rows(self.inputs, s, s.queries, (b, head), first);
        let at = (b * s.queries + first) * wide + head * d;
        let (dy, out) = (Rows { data: &self.dy[at..], row: wide }, &self.out[at..]);
        if count < lanes {
            scratch.q.as_mut_slice().fill(0.0);
            scratch.dout.as_mut_slice().fill(0.0);
        }
        let factor = (s.scale() * std::f64::consts::LOG2_E) as f32;
        transpose(simd, (count, d), (q.data, q.row), factor, scratch.q.as_mut_slice(), lanes);
        transpose(simd, (count, d), (dy.data, dy.row), 1.0, scratch.dout.as_mut_slice(), lanes);
        let scale = simd.splat(s.scale() as f32);
        let (lse, delta) = (scratch.lse.as_mut_slice(), scratch.delta.as_mut_slice());
        lse.fill(0.0);
        delta.fill(0.0);
        lse[..count].copy_from_slice(&self.lse[(b * s.heads_q + head) * s.queries + first..][..count]);
        for (r, pairs) in scratch.pairs.as_mut_slice().chunks_exact_mut(scratch.wide).take(count).enumerate() {
            let (q, dy, out) = (&q.data[r * q.row..][..d], &dy.data[r * wide..][..d], &out[r * wide..][..d]);
            let mut dot = simd.zero();
            each_vector!(S, d, |at, n| {
                let (q, dy) = (simd.mul(get(simd, q, at, n), scale), get(simd, dy, at, n));
                dot = simd.fma(dy, get(simd, out, at, n), dot);
                let (low, high) = simd.interleave(q, dy);
                put(simd, pairs, 2 * at, (2 * n).min(S::LANES), low);
                if 2 * n > S::LANES {
                    put(simd, pairs, 2 * at + S::LANES, 2 * n - S::LANES, high);
                }
            });
            delta[r] = simd.sum(dot);
        }
    }
    #[inline(always)]
    fn store_dq<S: Simd>(&mut self, simd: S, s: &Sizes, scratch: &Scratch, block: &Block) {
        let layout = self.layouts.q;
        let to = &mut self.grads[layout.buffer][layout.at(s, s.queries, (block.b, block.head), block.first)..];
        let dq = Rows { data: scratch.dq.as_slice(), row: block.lanes };
        transpose(simd, (s.width, block.count), (dq.data, dq.row), s.scale() as f32, to, layout.row);
    }
    #[inline(always)]
    fn store_dkv<S: Simd>(&mut self, simd: S, s: &Sizes, scratch: &Scratch, head: (usize, usize)) {
        let (k, v) = (self.layouts.k, self.layouts.v);
        let (mut at_k, mut at_v) = (k.at(s, s.positions, head, 0), v.at(s, s.positions, head, 0));
        for pairs in scratch.dkv.as_slice().chunks_exact(scratch.wide) {
            each_vector!(S, s.width, |at, n| {
                let low = get(simd, pairs, 2 * at, (2 * n).min(S::LANES));
                let more = (2 * n).saturating_sub(S::LANES);
                let high = if more > 0 { get(simd, pairs, 2 * at + S::LANES, more) } else { simd.zero() };
                let (dk, dv) = simd.deinterleave(low, high);
                put(simd, &mut self.grads[k.buffer][at_k..at_k + s.width], at, n, dk);
                put(simd, &mut self.grads[v.buffer][at_v..at_v + s.width], at, n, dv);
            });
            at_k += k.row;
            at_v += v.row;
        }
    }
}

/// One block of queries: dq [D, lanes] is set, dkv gets its share.
#[inline(always)]
fn differentiate<S: Simd>(simd: S, s: &Sizes, scratch: &mut Scratch, (k, v): (Rows, Rows), block: &Block) {
    let (d, lanes, wide) = (s.width, block.lanes, scratch.wide);
    let keys = s.visible(block.first + block.count - 1);
    let q = Rows { data: scratch.q.as_slice(), row: lanes };
    let dout = Rows { data: scratch.dout.as_slice(), row: lanes };
    let pairs = Rows { data: scratch.pairs.as_slice(), row: wide };
    for from in (0..keys).step_by(KEYS) {
        let m = (keys - from).min(KEYS);
        let (k_from, v_from) = (&k.data[from * k.row..], &v.data[from * v.row..]);
        let logits = &mut scratch.logits.as_mut_slice()[..m * lanes];
        let ds = &mut scratch.ds.as_mut_slice()[..m * lanes];
        let ds_p = &mut scratch.ds_p.as_mut_slice()[..2 * m * lanes];
        let extent = Extent { m, n: lanes, k: d };
        let a = Spread { data: k_from, row: k.row, step: 1 };
        product::<S, 1>(simd, extent, a, q, logits, lanes, Start::Zero);
        let a = Spread { data: v_from, row: v.row, step: 1 };
        product::<S, 1>(simd, extent, a, dout, ds, lanes, Start::Zero);
        apply_causal_mask(s, logits, lanes, from, block.first);
        // SAFETY: all slices hold whole rows of `lanes`, a multiple of the vector.
        unsafe { softmax_backward(simd, logits, ds, ds_p, lanes, scratch.lse.as_slice(), scratch.delta.as_slice()) };
        let start = if from == 0 { Start::Zero } else { Start::Sum };
        let (ds, dq) = (Rows { data: ds, row: lanes }, scratch.dq.as_mut_slice());
        let a = Spread { data: k_from, row: 1, step: k.row };
        product::<S, 1>(simd, Extent { m: d, n: lanes, k: m }, a, ds, dq, lanes, start);
        let a = Spread { data: ds_p, row: 2 * lanes, step: 2 };
        let dkv = &mut scratch.dkv.as_mut_slice()[from * wide..];
        product::<S, 2>(simd, Extent { m, n: wide, k: block.count }, a, pairs, dkv, wide, Start::Sum);
    }
}

/// dP^T to dS^T in place, and the (dS, P) pairs.
///
/// # Safety
/// `lanes` is a multiple of the vector; `logits` and `ds` hold equally many whole rows of `lanes`, `ds_p` of twice
/// that, `lse` and `delta` at least one.
#[inline(always)]
unsafe fn softmax_backward<S: Simd>(
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
