//! out = softmax(q k^T / sqrt(D)) v per head.   q [B,Nq,Hq D], k, v [B,Nk,Hkv D] -> out [B,Nq,Hq D]
//!
//! Grouped KV: query head h reads KV head h Hkv / Hq, whose dk and dv sum over the query heads it serves.
//! Causal: query i sees keys 0..=i + Nk - Nq, so that with a cache the last query sees every key. The Nq x Nk matrix is never stored: the forward pass saves
//! `out` and the log of each row's sum, and the backward pass recomputes the probabilities tile by tile.

mod backward;
mod forward;
mod host;
mod launch;

use self::{backward::Backward, forward::Forward, host::Layouts};
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::dispatch;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The sizes of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Clips.
    pub batch: usize,
    /// Queries per clip.
    pub queries: usize,
    /// Keys per clip.
    pub keys: usize,
    /// Query heads.
    pub heads_q: usize,
    /// Key and value heads.
    pub heads_kv: usize,
    /// Numbers per head.
    pub width: usize,
    /// Whether a query sees only the keys up to its own position.
    pub causal: bool,
}

impl Sizes {
    fn kv_head(&self, query_head: usize) -> usize {
        query_head * self.heads_kv / self.heads_q
    }
    /// Number of keys that query `i` sees.
    fn visible(&self, i: usize) -> usize {
        if self.causal { i + 1 + self.keys - self.queries } else { self.keys }
    }
    fn scale(&self) -> f64 {
        (self.width as f64).powf(-0.5)
    }
}

/// Attention of `heads_q` query heads over `heads_kv` key and value heads.
#[track_caller]
pub fn attention(tape: &mut Tape, q: &Var, k: &Var, v: &Var, heads_q: usize, heads_kv: usize, causal: bool) -> Var {
    let [batch, queries, wide] = q.tensor().dims("attention q");
    let [_, keys, _] = k.tensor().dims("attention k");
    assert!(
        heads_kv > 0 && heads_q.is_multiple_of(heads_kv) && heads_q > 0 && wide.is_multiple_of(heads_q),
        "attention: q {:?} does not fit {heads_q} query heads over {heads_kv} heads",
        q.shape()
    );
    let width = wide / heads_q;
    k.tensor().expect_shape("attention k", &[batch, keys, heads_kv * width]);
    v.tensor().expect_shape("attention v", &[batch, keys, heads_kv * width]);
    assert!(keys > 0 && width > 0, "attention over no keys");
    assert!(!causal || keys >= queries, "causal attention of {queries} queries over only {keys} keys");
    let sizes = Sizes { batch, queries, keys, heads_q, heads_kv, width, causal };
    run(tape, "attention", sizes, Layouts::apart(&sizes), [q, k, v])
}

/// Full self-attention on the output of one layer for q, k and v: qkv [B,N,3 H D], in blocks q | k | v of H
/// heads each -> [B,N,H D].
#[track_caller]
pub fn self_attention(tape: &mut Tape, qkv: &Var, heads: usize) -> Var {
    let [batch, n, wide] = qkv.tensor().dims("self_attention qkv");
    assert!(
        heads > 0 && wide > 0 && wide.is_multiple_of(3 * heads),
        "self_attention: qkv {:?} does not fit {heads} heads",
        qkv.shape()
    );
    assert!(n > 0, "self_attention over no keys");
    let width = wide / 3 / heads;
    let sizes = Sizes { batch, queries: n, keys: n, heads_q: heads, heads_kv: heads, width, causal: false };
    run(tape, "self_attention", sizes, Layouts::packed(&sizes), [qkv])
}

/// Runs and records the op on 1 (packed) or 3 inputs.
fn run<const N: usize>(tape: &mut Tape, op: &'static str, sizes: Sizes, layouts: Layouts, inputs: [&Var; N]) -> Var {
    let mut lse = None;
    // Both results are kept by a first pass whose computation is run again: a second pass computes neither again.
    let out = tape.keep(|| {
        let [out, sums] = forward(&sizes, &layouts, &inputs.map(|v| v.tensor()));
        lse = Some(sums);
        out
    });
    let lse = tape.keep(|| lse.take().expect("computed together with the output"));
    let (vars, saved) = (inputs.map(Var::clone), out.clone());
    tape.record(op, &inputs, out, move |dy, grads| {
        let results = backward(&sizes, &layouts, &vars.each_ref().map(|v| v.tensor()), [&saved, &lse, dy]);
        for (var, result) in vars.iter().zip(results) {
            grads.add(var.id(), result);
        }
    })
}

/// The output and, for the backward pass, the log2 of each row's sum of exponentials.
fn forward(s: &Sizes, layouts: &Layouts, inputs: &[&Tensor]) -> [Tensor; 2] {
    if inputs[0].device() != Device::Host {
        return launch::forward(s, layouts, inputs);
    }
    let mut out = Tensor::uninit(&[s.batch, s.queries, s.heads_q * s.width]);
    let mut lse = Tensor::uninit(&[s.batch, s.heads_q, s.queries]);
    let data: Vec<&[f32]> = inputs.iter().map(|t| t.data()).collect();
    dispatch(Forward { sizes: *s, layouts: *layouts, inputs: &data, out: out.data_mut(), lse: lse.data_mut() });
    [out, lse]
}

/// The gradients of the inputs.
fn backward(s: &Sizes, layouts: &Layouts, inputs: &[&Tensor], outputs: [&Tensor; 3]) -> Vec<Tensor> {
    if inputs[0].device() != Device::Host {
        return launch::backward(s, layouts, inputs, outputs);
    }
    let data: Vec<&[f32]> = inputs.iter().map(|t| t.data()).collect();
    let mut results: Vec<Tensor> = inputs.iter().map(|t| Tensor::uninit(t.shape())).collect();
    let mut slots: Vec<&mut [f32]> = results.iter_mut().map(|t| t.data_mut()).collect();
    let [out, lse, dy] = outputs.map(|t| t.data());
    dispatch(Backward { sizes: *s, layouts: *layouts, inputs: &data, out, lse, dy, grads: &mut slots });
    results
}

/// The definition on separate q, k and v.
#[derive(Clone)]
struct Plain(Sizes);

/// The definition on packed q | k | v.
#[derive(Clone)]
struct Packed(Plain);

impl Plain {
    /// Calls `f(query row offset, offset of key 0 in k and v, stride of keys, probabilities)` for every query
    /// of every head.
    fn rows<R: Real>(&self, q: &[R], k: &[R], mut f: impl FnMut(usize, usize, usize, &[R])) {
        let s = &self.0;
        let (wide_q, wide_kv) = (s.heads_q * s.width, s.heads_kv * s.width);
        for b in 0..s.batch {
            for h in 0..s.heads_q {
                let at_k = b * s.keys * wide_kv + s.kv_head(h) * s.width;
                for i in 0..s.queries {
                    let at_q = (b * s.queries + i) * wide_q + h * s.width;
                    let logit = |j: usize| {
                        let key = &k[at_k + j * wide_kv..][..s.width];
                        let dot: R = q[at_q..at_q + s.width].iter().zip(key).map(|(&a, &b)| a * b).sum();
                        dot * R::of(s.scale())
                    };
                    let logits: Vec<R> = (0..s.visible(i)).map(logit).collect();
                    let top = logits.iter().copied().fold(logits[0], R::max);
                    let p: Vec<R> = logits.iter().map(|&x| (x - top).exp()).collect();
                    let sum = p.iter().copied().sum::<R>();
                    f(at_q, at_k, wide_kv, &p.iter().map(|&x| x / sum).collect::<Vec<R>>());
                }
            }
        }
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let d = self.0.width;
        let mut out = vec![R::of(0.0); inputs[0].len()];
        self.rows(inputs[0], inputs[1], |at_q, at_k, stride, p| {
            for (j, &p) in p.iter().enumerate() {
                for c in 0..d {
                    out[at_q + c] += p * inputs[2][at_k + j * stride + c];
                }
            }
        });
        out
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (q, k, v, d) = (inputs[0], inputs[1], inputs[2], self.0.width);
        let zero = R::of(0.0);
        let (mut dq, mut dk, mut dv) = (vec![zero; q.len()], vec![zero; k.len()], vec![zero; v.len()]);
        self.rows(q, k, |at_q, at_k, stride, p| {
            let dp = |j: usize| (0..d).map(|c| dy[at_q + c] * v[at_k + j * stride + c]).sum::<R>();
            let dp: Vec<R> = (0..p.len()).map(dp).collect();
            let delta = p.iter().zip(&dp).map(|(&p, &dp)| p * dp).sum::<R>();
            for j in 0..p.len() {
                let ds = p[j] * (dp[j] - delta) * R::of(self.0.scale());
                for c in 0..d {
                    let at = at_k + j * stride + c;
                    dq[at_q + c] += ds * k[at];
                    dk[at] += ds * q[at_q + c];
                    dv[at] += p[j] * dy[at_q + c];
                }
            }
        });
        vec![dq, dk, dv]
    }
}

impl Packed {
    fn split<R: Real>(&self, qkv: &[R]) -> [Vec<R>; 3] {
        let wide = self.0.0.heads_q * self.0.0.width;
        [0, 1, 2].map(|part| qkv.chunks(3 * wide).flat_map(|row| row[part * wide..][..wide].to_vec()).collect())
    }
}

impl Reference for Packed {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let [q, k, v] = self.split(inputs[0]);
        self.0.forward(&[&q, &k, &v])
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let [q, k, v] = self.split(inputs[0]);
        let parts = self.0.backward(&[&q, &k, &v], dy);
        let wide = self.0.0.heads_q * self.0.0.width;
        let rows = self.0.0.batch * self.0.0.queries;
        vec![(0..rows).flat_map(|r| parts.iter().flat_map(move |p| p[r * wide..][..wide].to_vec())).collect()]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let apart = |batch, queries, keys, heads_q, heads_kv, width, causal| {
        let s = Sizes { batch, queries, keys, heads_q, heads_kv, width, causal };
        let kv = [batch, keys, heads_kv * width];
        let inputs = vec![input(&[batch, queries, heads_q * width]), input(&kv), input(&kv)];
        let kind = if causal { ", causal" } else { "" };
        let name = format!("B {batch}, {queries} x {keys}, heads {heads_q}/{heads_kv}, D {width}{kind}");
        Case::new("attention", name, Plain(s), inputs, move |tape, v| {
            attention(tape, &v[0], &v[1], &v[2], heads_q, heads_kv, causal)
        })
        .narrow()
    };
    let packed = |batch, n, heads, width| {
        let s = Sizes { batch, queries: n, keys: n, heads_q: heads, heads_kv: heads, width, causal: false };
        let inputs = vec![input(&[batch, n, 3 * heads * width])];
        let name = format!("B {batch}, N {n}, heads {heads}, D {width}");
        Case::new("self_attention", name, Packed(Plain(s)), inputs, move |tape, v| self_attention(tape, &v[0], heads))
            .narrow()
    };
    vec![
        apart(1, 1, 1, 1, 1, 1, false),
        apart(2, 3, 5, 1, 1, 7, false),
        apart(1, 4, 97, 2, 1, 8, false),
        apart(1, 17, 17, 4, 2, 5, true),
        apart(1, 33, 49, 2, 2, 16, true),
        apart(1, 49, 33, 1, 1, 24, false),
        apart(2, 2, 31, 6, 2, 3, true),
        apart(1, 65, 66, 2, 1, 40, true),
        apart(1, 63, 65, 1, 1, 64, false),
        apart(1, 130, 131, 2, 1, 72, true),
        apart(1, 33, 35, 1, 1, 128, false),
        packed(1, 1, 1, 2),
        packed(2, 15, 2, 4),
        packed(1, 47, 1, 24),
        packed(1, 65, 2, 3),
        packed(1, 130, 2, 24),
        packed(1, 626, 4, 24).bench(4.0 * 626.0 * 626.0 * 96.0),
        apart(1, 256, 256, 4, 2, 64, true).bench(2.0 * 256.0 * 257.0 * 256.0),
        packed(1, 501, 4, 24).bench(4.0 * 501.0 * 501.0 * 96.0).copied(1032, &[0]),
        apart(1, 1024, 1024, 4, 4, 64, false).bench(4.0 * 1024.0 * 1024.0 * 256.0).copied(16, &[0, 1, 2]),
        apart(1, 1024, 1024, 7, 1, 128, true).bench(2.0 * 1024.0 * 1025.0 * 896.0).copied(16, &[0, 1, 2]),
    ]
}
