//! out = softmax(q k^T / sqrt(D)) v per head.   q [B,Nq,Hq D], k, v [B,Nk,Hkv D] -> out [B,Nq,Hq D]
//!
//! Grouped KV: query head h reads KV head h Hkv / Hq, whose dk and dv sum over the query heads it serves. The Nq x Nk
//! matrix is never stored: the forward pass saves `out` and the log of each row's sum, and the backward pass recomputes
//! the probabilities tile by tile.
//!
//! Of the Nk keys of sequence b the first `key_lengths[b]` are valid. What lies behind them is never read and gets a
//! gradient of exactly zero, so k and v may be a cache with spare capacity ([`super::kv_cache`]) or rows padded at the
//! end. A causal query at position p sees the valid keys 0..=p; [`Mask`] says where the queries stand. A query that
//! sees no key gets zeros and passes no gradient on.

mod backward;
mod forward;
mod host;
mod launch;
mod packed;
mod reference;

pub use packed::packed_attention;
pub use reference::cases;

use self::{backward::Backward, forward::Forward};
pub(super) use self::{host::Layouts, launch::WIDTH_MAX, reference::Plain};
use crate::device::Device;
use crate::device::simd::dispatch;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Which keys a query sees, of those that are valid.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a> {
    /// All of them.
    Full,
    /// Query i stands at position i: rows that are padded at the end.
    CausalUpperLeft,
    /// The queries stand at the last valid positions: the last query sees every valid key.
    CausalLowerRight,
    /// Query i of sequence b stands at position `first[b] + i`: I32 [B] on the device of q.
    CausalFrom(&'a Tensor),
}

/// How an attention reads its inputs.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Query heads.
    pub heads_q: usize,
    /// Key and value heads, a divisor of the query heads.
    pub heads_kv: usize,
    /// Which keys a query sees.
    pub mask: Mask<'a>,
    /// Valid keys of every sequence: I32 [B] on the device of q, each at most Nk. `None`: all keys.
    pub key_lengths: Option<&'a Tensor>,
}

impl Shape<'static> {
    /// Every query sees every key.
    pub fn full(heads_q: usize, heads_kv: usize) -> Shape<'static> {
        Shape { heads_q, heads_kv, mask: Mask::Full, key_lengths: None }
    }
    /// Causal, the last query beside the last key.
    pub fn causal(heads_q: usize, heads_kv: usize) -> Shape<'static> {
        Shape { heads_q, heads_kv, mask: Mask::CausalLowerRight, key_lengths: None }
    }
}

/// The sizes of a call. What differs between sequences, `keys` and `first`, stands here as it is without tensors that
/// say otherwise; [`Plan::sequences`] fills it in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Sequences.
    pub batch: usize,
    /// Queries per sequence.
    pub queries: usize,
    /// Keys per sequence that lie in memory.
    pub positions: usize,
    /// Keys that are valid.
    pub keys: usize,
    /// Query heads.
    pub heads_q: usize,
    /// Key and value heads.
    pub heads_kv: usize,
    /// Numbers per head.
    pub width: usize,
    /// Whether a query sees only the keys up to its own position.
    pub causal: bool,
    /// The position of query 0; below zero stand queries that see nothing.
    pub first: isize,
}

impl Sizes {
    fn kv_head(&self, query_head: usize) -> usize {
        query_head * self.heads_kv / self.heads_q
    }
    /// Number of keys that query `i` sees.
    fn visible(&self, i: usize) -> usize {
        if self.causal { self.keys.min((self.first + i as isize + 1).max(0) as usize) } else { self.keys }
    }
    /// Number of queries, from the first on, that see no key.
    fn blind(&self) -> usize {
        match self {
            Sizes { keys: 0, .. } => self.queries,
            Sizes { causal: true, .. } => self.queries.min((-self.first).max(0) as usize),
            _ => 0,
        }
    }
    pub(super) fn scale(&self) -> f64 {
        (self.width as f64).powf(-0.5)
    }
}

/// A call: its sizes, where its heads lie, and what differs between sequences.
#[derive(Clone)]
pub(super) struct Plan {
    pub sizes: Sizes,
    pub layouts: Layouts,
    /// Valid keys, I32 [B].
    pub lengths: Option<Tensor>,
    /// Positions of query 0, I32 [B].
    pub first: Option<Tensor>,
    /// Whether query i stands at position i when `first` does not say otherwise.
    pub upper_left: bool,
}

impl Plan {
    /// Checks the shapes of q, k and v.
    #[track_caller]
    pub fn new(op: &str, [q, k, v]: [&Tensor; 3], shape: &Shape) -> Plan {
        let [batch, queries, wide] = q.dims(&format!("{op} q"));
        let [_, positions, _] = k.dims(&format!("{op} k"));
        let &Shape { heads_q, heads_kv, .. } = shape;
        assert!(
            heads_kv > 0 && heads_q.is_multiple_of(heads_kv) && heads_q > 0 && wide.is_multiple_of(heads_q),
            "{op}: q {:?} does not fit {heads_q} query heads over {heads_kv} heads",
            q.shape()
        );
        let width = wide / heads_q;
        k.expect_shape(&format!("{op} k"), &[batch, positions, heads_kv * width]);
        v.expect_shape(&format!("{op} v"), &[batch, positions, heads_kv * width]);
        assert!(positions > 0 && width > 0, "{op} over no keys");
        let (causal, first) = match shape.mask {
            Mask::Full => (false, None),
            Mask::CausalUpperLeft | Mask::CausalLowerRight => (true, None),
            Mask::CausalFrom(first) => (true, Some(first)),
        };
        for (name, tensor) in [("key_lengths", shape.key_lengths), ("first", first)] {
            if let Some(tensor) = tensor {
                tensor.expect_shape(&format!("{op} {name}"), &[batch]);
                assert_eq!(tensor.device(), q.device(), "{op}: {name} lies on another device");
            }
        }
        let upper_left = matches!(shape.mask, Mask::CausalUpperLeft);
        let position = if upper_left { 0 } else { positions as isize - queries as isize };
        let sizes =
            Sizes { batch, queries, positions, keys: positions, heads_q, heads_kv, width, causal, first: position };
        let [lengths, first] = [shape.key_lengths, first].map(Option::<&Tensor>::cloned);
        Plan { sizes, layouts: Layouts::apart(&sizes), lengths, first, upper_left }
    }
    /// The sizes of every sequence, on the host. Panics for a length beyond the keys.
    #[track_caller]
    pub fn sequences(&self) -> Vec<Sizes> {
        let s = self.sizes;
        let [lengths, first] = [&self.lengths, &self.first].map(|t| t.as_ref().map(|t| t.values::<i32>()));
        let sizes = |b: usize| {
            let keys = lengths.map_or(s.keys, |lengths| {
                let valid = usize::try_from(lengths[b]).ok().filter(|&n| n <= s.positions);
                valid.unwrap_or_else(|| panic!("sequence {b} has {} valid keys of {}", lengths[b], s.positions))
            });
            let default = if self.upper_left { 0 } else { keys as isize - s.queries as isize };
            Sizes { keys, first: first.map_or(default, |first| first[b] as isize), ..s }
        };
        (0..s.batch).map(sizes).collect()
    }
}

/// Attention of q [B,Nq,Hq D] over k and v [B,Nk,Hkv D].
#[track_caller]
pub fn attention(tape: &mut Tape, q: &Var, k: &Var, v: &Var, shape: &Shape) -> Var {
    let plan = Plan::new("attention", [q.tensor(), k.tensor(), v.tensor()], shape);
    let Sizes { queries, keys, .. } = plan.sizes;
    assert!(
        shape.key_lengths.is_some() || !matches!(shape.mask, Mask::CausalLowerRight) || keys >= queries,
        "causal attention of {queries} queries over only {keys} keys"
    );
    run(tape, "attention", plan, [q, k, v])
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
    let sizes = Sizes {
        batch,
        queries: n,
        positions: n,
        keys: n,
        heads_q: heads,
        heads_kv: heads,
        width: wide / 3 / heads,
        causal: false,
        first: 0,
    };
    let plan = Plan { sizes, layouts: Layouts::packed(&sizes), lengths: None, first: None, upper_left: false };
    run(tape, "self_attention", plan, [qkv])
}

/// Runs and records the op on 1 (packed) or 3 inputs.
fn run<const N: usize>(tape: &mut Tape, op: &'static str, plan: Plan, inputs: [&Var; N]) -> Var {
    let mut lse = None;
    // Both results are kept by a first pass whose computation is run again: a second pass computes neither again.
    let out = tape.keep(|| {
        let [out, sums] = forward(&plan, &inputs.map(|v| v.tensor()));
        lse = Some(sums);
        out
    });
    let lse = tape.keep(|| lse.take().expect("computed together with the output"));
    let (vars, saved) = (inputs.map(Var::clone), out.clone());
    tape.record(op, &inputs, out, move |dy, grads| {
        let results = backward(&plan, &vars.each_ref().map(|v| v.tensor()), [&saved, &lse, dy]);
        for (var, result) in vars.iter().zip(results) {
            grads.add(var.id(), result);
        }
    })
}

/// The output and, for the backward pass, the log2 of each row's sum of exponentials.
pub(super) fn forward(plan: &Plan, inputs: &[&Tensor]) -> [Tensor; 2] {
    if inputs[0].device() != Device::Host {
        return launch::forward(plan, inputs);
    }
    let s = &plan.sizes;
    let mut out = Tensor::uninit(&[s.batch, s.queries, s.heads_q * s.width]);
    let mut lse = Tensor::uninit(&[s.batch, s.heads_q, s.queries]);
    let data: Vec<&[f32]> = inputs.iter().map(|t| t.data()).collect();
    let (sequences, layouts) = (&plan.sequences()[..], plan.layouts);
    dispatch(Forward { sequences, layouts, inputs: &data, out: out.data_mut(), lse: lse.data_mut() });
    [out, lse]
}

/// The gradients of the inputs.
fn backward(plan: &Plan, inputs: &[&Tensor], outputs: [&Tensor; 3]) -> Vec<Tensor> {
    if inputs[0].device() != Device::Host {
        return launch::backward(plan, inputs, outputs);
    }
    let data: Vec<&[f32]> = inputs.iter().map(|t| t.data()).collect();
    let mut results: Vec<Tensor> = inputs.iter().map(|t| Tensor::uninit(t.shape())).collect();
    let mut slots: Vec<&mut [f32]> = results.iter_mut().map(|t| t.data_mut()).collect();
    let [out, lse, dy] = outputs.map(|t| t.data());
    let (sequences, layouts) = (&plan.sequences()[..], plan.layouts);
    dispatch(Backward { sequences, layouts, inputs: &data, out, lse, dy, grads: &mut slots });
    results
}
