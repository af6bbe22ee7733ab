//! The forward pass on one core: blocks of queries against blocks of keys, with a running maximum and sum.

use super::Sizes;
use super::host::{Layouts, gather, hide, lanes_for, transpose_in, transpose_out, visible_keys};
use crate::device::host::Buffer;
use crate::device::simd::{Kernel, Simd};
use crate::device::tile::{Extent, Rows, Spread, Start, product};

/// Keys per block: S^T of a block is 12 KB with AVX-512.
const KEYS: usize = 64;

/// out [B,Nq,Hq D] and lse [B,Hq,Nq], the log2 of each row's sum of 2^(logit log2 e).
pub(super) struct Forward<'a> {
    pub sizes: Sizes,
    pub layouts: Layouts,
    pub inputs: &'a [&'a [f32]],
    pub out: &'a mut [f32],
    pub lse: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let s = self.sizes;
        let mut scratch = Scratch::new::<S>(&s);
        let group = s.heads_q / s.heads_kv;
        for b in 0..s.batch {
            for h in 0..s.heads_kv {
                let pack = |layout: super::host::Layout, to: &mut Buffer| {
                    let from = &self.inputs[layout.buffer][layout.at(&s, s.keys, (b, h), 0)..];
                    gather(from, layout.row, s.width, to.as_mut_slice());
                };
                pack(self.layouts.k, &mut scratch.k);
                pack(self.layouts.v, &mut scratch.v);
                for head in h * group..(h + 1) * group {
                    let mut first = 0;
                    while first < s.queries {
                        let lanes = lanes_for::<S>(s.queries - first);
                        let count = lanes.min(s.queries - first);
                        let from =
                            &self.inputs[self.layouts.q.buffer][self.layouts.q.at(&s, s.queries, (b, head), first)..];
                        let factor = (s.scale() * std::f64::consts::LOG2_E) as f32;
                        let q = scratch.q.as_mut_slice();
                        transpose_in(from, self.layouts.q.row, (count, s.width), factor, q, lanes);
                        attend(simd, &s, &mut scratch, first, (lanes, count));
                        let wide = s.heads_q * s.width;
                        let out = &mut self.out[(b * s.queries + first) * wide + head * s.width..];
                        let (sum, top) = (scratch.sum.as_slice(), scratch.top.as_slice());
                        transpose_out(scratch.o.as_slice(), lanes, (count, s.width), |r| 1.0 / sum[r], out, wide);
                        let lse = &mut self.lse[(b * s.heads_q + head) * s.queries + first..][..count];
                        for (r, lse) in lse.iter_mut().enumerate() {
                            *lse = top[r] + sum[r].log2();
                        }
                        first += count;
                    }
                }
            }
        }
    }
}

struct Scratch {
    k: Buffer,
    v: Buffer,
    q: Buffer,
    block: Buffer,
    o: Buffer,
    top: Buffer,
    sum: Buffer,
}

impl Scratch {
    fn new<S: Simd>(s: &Sizes) -> Scratch {
        let lanes = S::VECTORS * S::LANES;
        Scratch {
            k: Buffer::uninit(s.keys * s.width),
            v: Buffer::uninit(s.keys * s.width),
            q: Buffer::uninit(s.width * lanes),
            block: Buffer::uninit(KEYS * lanes),
            o: Buffer::uninit(s.width * lanes),
            top: Buffer::uninit(lanes),
            sum: Buffer::uninit(lanes),
        }
    }
}

/// One block of queries: o [D, lanes] (not yet divided by the sum), top and sum [lanes].
#[inline(always)]
fn attend<S: Simd>(simd: S, s: &Sizes, scratch: &mut Scratch, first: usize, (lanes, count): (usize, usize)) {
    let d = s.width;
    let Scratch { k, v, q, block, o, top, sum } = scratch;
    top.as_mut_slice().fill(f32::NEG_INFINITY);
    sum.as_mut_slice().fill(0.0);
    let q = Rows { data: q.as_slice(), row: lanes };
    let keys = visible_keys(s, first + count);
    for from in (0..keys).step_by(KEYS) {
        let m = (keys - from).min(KEYS);
        let k = Spread { data: &k.as_slice()[from * d..], row: d, step: 1 };
        let logits = &mut block.as_mut_slice()[..m * lanes];
        product::<S, 1>(simd, Extent { m, n: lanes, k: d }, k, q, logits, lanes, Start::Zero);
        hide(s, logits, lanes, from, first);
        // SAFETY: all slices hold whole rows of `lanes`, a multiple of the vector.
        unsafe { softmax(simd, logits, lanes, top.as_mut_slice(), sum.as_mut_slice(), o.as_mut_slice()) };
        let v = Spread { data: &v.as_slice()[from * d..], row: 1, step: d };
        let start = if from == 0 { Start::Zero } else { Start::Sum };
        let p = Rows { data: logits, row: lanes };
        product::<S, 1>(simd, Extent { m: d, n: lanes, k: m }, v, p, o.as_mut_slice(), lanes, start);
    }
}

/// Turns a block of logits into 2^(logit - top), moving `top`, `sum` and `o` along when the maximum rises.
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
