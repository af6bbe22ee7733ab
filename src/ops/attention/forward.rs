//! The forward pass on one core: blocks of queries against blocks of keys, with a running maximum and sum.

use super::Sizes;
use super::host::{Layouts, apply_causal_mask, lanes_for};
use crate::device::host::Buffer;
use crate::device::simd::slices::{each_vector, get, put};
use crate::device::simd::{Kernel, Simd};
use crate::device::tile::{Extent, Rows, Spread, Start, product, transpose};

/// Keys per block: S^T of a block is 12 KB with AVX-512.
const KEYS: usize = 128;

/// out [B,Nq,Hq D] and lse [B,Hq,Nq], the log2 of each row's sum of 2^(logit log2 e).
pub(super) struct Forward<'a> {
    /// The sizes of every sequence, at least one.
    pub sequences: &'a [Sizes],
    pub layouts: Layouts,
    pub inputs: &'a [&'a [f32]],
    pub out: &'a mut [f32],
    pub lse: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let Some(s) = self.sequences.first() else { return };
        let mut scratch = Scratch::new::<S>(s);
        let wide = s.heads_q * s.width;
        for (b, s) in self.sequences.iter().enumerate() {
            let blind = s.blind();
            for head in 0..s.heads_q {
                let kv = (b, s.kv_head(head));
                let k = self.layouts.k.rows(self.inputs, s, s.positions, kv, 0);
                let v = self.layouts.v.rows(self.inputs, s, s.positions, kv, 0);
                self.fill_blind(s, (b, head), blind);
                let mut first = blind;
                while first < s.queries {
                    let lanes = lanes_for::<S>(s.queries - first);
                    let count = lanes.min(s.queries - first);
                    let q = self.layouts.q.rows(self.inputs, s, s.queries, (b, head), first);
                    scratch.load_queries(simd, s, q, (lanes, count));
                    attend(simd, s, &mut scratch, (k, v), first, (lanes, count));
                    scratch.divide(simd, lanes);
                    let at = (b * s.queries + first) * wide + head * s.width;
                    let o = Rows { data: scratch.o.as_slice(), row: lanes };
                    transpose(simd, (s.width, count), (o.data, o.row), 1.0, &mut self.out[at..], wide);
                    let lse = &mut self.lse[(b * s.heads_q + head) * s.queries + first..][..count];
                    let sums = scratch.top.as_slice().iter().zip(scratch.sum.as_slice());
                    lse.iter_mut().zip(sums).for_each(|(lse, (top, sum))| *lse = top + sum.log2());
                    first += count;
                }
            }
        }
    }
}

impl Forward<'_> {
    /// Zeros for the first `count` queries of a head, which see no key.
    fn fill_blind(&mut self, s: &Sizes, (b, head): (usize, usize), count: usize) {
        for i in 0..count {
            let at = (b * s.queries + i) * s.heads_q + head;
            self.out[at * s.width..][..s.width].fill(0.0);
            self.lse[(b * s.heads_q + head) * s.queries + i] = 0.0;
        }
    }
}

struct Scratch {
    /// Q^T scale log2(e) [D, lanes].
    q: Buffer,
    /// S^T, then P^T [keys, lanes].
    block: Buffer,
    /// O^T [D, lanes].
    o: Buffer,
    /// Largest logit and sum of 2^(logit - top) so far [lanes].
    top: Buffer,
    sum: Buffer,
}

impl Scratch {
    fn new<S: Simd>(s: &Sizes) -> Scratch {
        let lanes = S::VECTORS * S::LANES;
        Scratch {
            q: Buffer::uninit(s.width * lanes),
            block: Buffer::uninit(KEYS * lanes),
            o: Buffer::uninit(s.width * lanes),
            top: Buffer::uninit(lanes),
            sum: Buffer::uninit(lanes),
        }
    }
    #[inline(always)]
    fn load_queries<S: Simd>(&mut self, simd: S, s: &Sizes, q: Rows, (lanes, count): (usize, usize)) {
        let to = &mut self.q.as_mut_slice()[..s.width * lanes];
        if count < lanes {
            to.fill(0.0);
        }
        transpose(simd, (count, s.width), (q.data, q.row), (s.scale() * std::f64::consts::LOG2_E) as f32, to, lanes);
        self.top.as_mut_slice().fill(f32::NEG_INFINITY);
        self.sum.as_mut_slice().fill(0.0);
    }
    /// O^T divided by the sums.
    #[inline(always)]
    fn divide<S: Simd>(&mut self, simd: S, lanes: usize) {
        each_vector!(S, lanes, |at, n| {
            let factor = simd.div(simd.splat(1.0), get(simd, self.sum.as_slice(), at, n));
            for row in self.o.as_mut_slice().chunks_exact_mut(lanes) {
                let scaled = simd.mul(get(simd, row, at, n), factor);
                put(simd, row, at, n, scaled);
            }
        });
    }
}

/// One block of queries: o [D, lanes] (not yet divided by the sum), top and sum [lanes].
#[inline(always)]
fn attend<S: Simd>(
    simd: S,
    s: &Sizes,
    scratch: &mut Scratch,
    (k, v): (Rows, Rows),
    first: usize,
    (lanes, count): (usize, usize),
) {
    let Scratch { q, block, o, top, sum } = scratch;
    let q = Rows { data: q.as_slice(), row: lanes };
    let keys = s.visible(first + count - 1);
    for from in (0..keys).step_by(KEYS) {
        let m = (keys - from).min(KEYS);
        let a = Spread { data: &k.data[from * k.row..], row: k.row, step: 1 };
        let logits = &mut block.as_mut_slice()[..m * lanes];
        product::<S, 1>(simd, Extent { m, n: lanes, k: s.width }, a, q, logits, lanes, Start::Zero);
        apply_causal_mask(s, logits, lanes, from, first);
        let o = &mut o.as_mut_slice()[..s.width * lanes];
        // SAFETY: all slices hold whole rows of `lanes`, a multiple of the vector.
        unsafe { softmax(simd, logits, lanes, top.as_mut_slice(), sum.as_mut_slice(), o) };
        let a = Spread { data: &v.data[from * v.row..], row: 1, step: v.row };
        let start = if from == 0 { Start::Zero } else { Start::Sum };
        let p = Rows { data: logits, row: lanes };
        product::<S, 1>(simd, Extent { m: s.width, n: lanes, k: m }, a, p, o, lanes, start);
    }
}

/// Turns a block of logits into 2^(logit - top), moving `top`, `sum` and `o` along when the maximum rises.
///
/// # Safety
/// `lanes` is a multiple of the vector; `block` and `o` hold whole rows of `lanes`, `top` and `sum` at least one.
#[inline(always)]
unsafe fn softmax<S: Simd>(simd: S, block: &mut [f32], lanes: usize, top: &mut [f32], sum: &mut [f32], o: &mut [f32]) {
    let rows = block.len() / lanes;
    for at in (0..lanes).step_by(S::LANES) {
        unsafe {
            let column = block.as_mut_ptr().add(at);
            let old = simd.load(top.as_ptr().add(at));
            // Four chains: the latency of one maximum hides behind the others.
            let mut most = [old; 4];
            for i in 0..rows {
                most[i % 4] = simd.max(simd.load(column.add(i * lanes)), most[i % 4]);
            }
            let new = simd.max(simd.max(most[0], most[1]), simd.max(most[2], most[3]));
            let factor = simd.exp2(simd.sub(old, new));
            let mut total = [simd.zero(); 4];
            for i in 0..rows {
                let p = simd.exp2(simd.sub(simd.load(column.add(i * lanes)), new));
                simd.store(column.add(i * lanes), p);
                total[i % 4] = simd.add(total[i % 4], p);
            }
            let total = simd.add(simd.add(total[0], total[1]), simd.add(total[2], total[3]));
            simd.store(top.as_mut_ptr().add(at), new);
            simd.store(sum.as_mut_ptr().add(at), simd.fma(simd.load(sum.as_ptr().add(at)), factor, total));
            for row in o.chunks_exact_mut(lanes) {
                let at = row.as_mut_ptr().add(at);
                simd.store(at, simd.mul(simd.load(at), factor));
            }
        }
    }
}
