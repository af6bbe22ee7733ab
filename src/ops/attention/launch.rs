//! Attention on a device: which kernels of `kernels/attention.cu` serve which head dim, and how they are launched.

use super::host::Layouts;
use super::{Plan, Sizes};
use crate::kernels::{self, Launch};
use crate::tensor::{DType, Tensor};

/// Numbers per head, at most.
pub(in crate::ops) const WIDTH_MAX: usize = 128;

/// The kernels for a type and a range of head dims.
#[derive(Clone, Copy)]
enum Kind {
    Float,
    Bf16To24,
    Bf16To64,
    Bf16To128,
}

/// The geometry that kernels were compiled for.
struct Kernels {
    kind: Kind,
    threads: usize,
    /// Rows of a block and its dynamic shared memory in the forward and the backward pass.
    blocks: [(usize, usize); 2],
}

impl Kernels {
    #[track_caller]
    fn of(dtype: DType, width: usize) -> Kernels {
        assert!(width <= WIDTH_MAX, "attention: heads of {width} numbers; the kernels take {WIDTH_MAX}");
        let kernels = |kind, threads, blocks| Kernels { kind, threads, blocks };
        match (dtype, width) {
            (DType::F32, ..=32) => kernels(Kind::Float, 256, [(64, 45_056), (64, 54_784)]),
            (DType::F32, ..=64) => kernels(Kind::Float, 256, [(64, 69_632), (64, 61_952)]),
            (DType::F32, _) => kernels(Kind::Float, 256, [(64, 76_800), (32, 72_448)]),
            (DType::Bf16, ..=24) => kernels(Kind::Bf16To24, 128, [(64, 16_384), (64, 25_600)]),
            (DType::Bf16, ..=64) => kernels(Kind::Bf16To64, 256, [(128, 32_768), (128, 66_560)]),
            (DType::Bf16, _) => kernels(Kind::Bf16To128, 256, [(128, 65_536), (128, 98_816)]),
            (other, _) => panic!("attention over numbers stored as {other:?}"),
        }
    }
    /// Blocks for `rows` positions of each of `heads` heads.
    fn launch(&self, pass: usize, rows: usize, heads: usize) -> Launch {
        let (per_block, bytes) = self.blocks[pass];
        Launch::new([rows.div_ceil(per_block) * heads, 1, 1], self.threads).shared(bytes)
    }
}

/// Launches the kernel of a [`Kind`]: those for f32 and for bf16 heads of up to 24, 64 and 128 numbers. All of them take
/// the same arguments.
macro_rules! launch {
    ($launch:ident, $kind:expr => $f32:ident $d24:ident $d64:ident $d128:ident $arguments:tt) => {
        match $kind {
            Kind::Float => kernels::$f32 $arguments.launch($launch),
            Kind::Bf16To24 => kernels::$d24 $arguments.launch($launch),
            Kind::Bf16To64 => kernels::$d64 $arguments.launch($launch),
            Kind::Bf16To128 => kernels::$d128 $arguments.launch($launch),
        }
    };
}

impl Layouts {
    fn arguments(&self) -> [usize; 6] {
        [self.q.offset, self.q.row, self.k.offset, self.k.row, self.v.offset, self.v.row]
    }
    /// The tensors of q, k and v among 1 or 3 inputs.
    fn tensors<'a>(&self, inputs: &[&'a Tensor]) -> [&'a Tensor; 3] {
        [self.q.buffer, self.k.buffer, self.v.buffer].map(|i| inputs[i])
    }
}

impl Plan {
    /// The mask as the kernels name it.
    fn mask(&self) -> usize {
        match (self.sizes.causal, self.upper_left) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        }
    }
}

/// out [B,Nq,Hq D] and lse [B,Hq,Nq].
#[track_caller]
pub(super) fn forward(plan: &Plan, inputs: &[&Tensor]) -> [Tensor; 2] {
    let s = &plan.sizes;
    let [q, k, v] = plan.layouts.tensors(inputs);
    let (mut out, mut lse) =
        (q.like(&[s.batch, s.queries, s.heads_q * s.width]), q.like_f32(&[s.batch, s.heads_q, s.queries]));
    let kernels = Kernels::of(q.dtype(), s.width);
    let launch = kernels.launch(0, s.queries, s.heads_q * s.batch);
    let [q_at, q_row, k_at, k_row, v_at, v_row] = plan.layouts.arguments();
    let (causal, scale) = (plan.mask(), s.scale() as f32);
    let (optional_lengths, optional_first) = (plan.lengths.as_ref(), plan.first.as_ref());
    let &Sizes { queries, positions: keys, heads_q, heads_kv, width, .. } = s;
    launch!(launch, kernels.kind =>
        AttentionFwdF32 AttentionFwdD24Bf16 AttentionFwdD64Bf16 AttentionFwdD128Bf16
        { out: &mut out, lse: &mut lse, q, k, v, queries, keys, heads_q, heads_kv, width, causal, scale,
          q_at, q_row, k_at, k_row, v_at, v_row, optional_lengths, optional_first });
    [out, lse]
}

/// Gradients of the 1 or 3 inputs.
#[track_caller]
pub(super) fn backward(plan: &Plan, inputs: &[&Tensor], [out, lse, dy]: [&Tensor; 3]) -> Vec<Tensor> {
    let s = &plan.sizes;
    let [q, k, v] = plan.layouts.tensors(inputs);
    let delta = row_sums(s, out, dy);
    let kernels = Kernels::of(q.dtype(), s.width);
    let [q_at, q_row, k_at, k_row, v_at, v_row] = plan.layouts.arguments();
    let (causal, scale) = (plan.mask(), s.scale() as f32);
    let (optional_lengths, optional_first) = (plan.lengths.as_ref(), plan.first.as_ref());
    let &Sizes { queries, positions: keys, heads_q, heads_kv, width, .. } = s;
    let mut dq = q.like(q.shape());
    let launch = kernels.launch(1, s.queries, s.heads_q * s.batch);
    let delta = &delta;
    launch!(launch, kernels.kind =>
        AttentionBwdDqF32 AttentionBwdDqD24Bf16 AttentionBwdDqD64Bf16 AttentionBwdDqD128Bf16
        { dq: &mut dq, lse, delta, dy, q, k, v, queries, keys, heads_q, heads_kv, width, causal, scale,
          q_at, q_row, k_at, k_row, v_at, v_row, optional_lengths, optional_first });
    let launch = kernels.launch(1, s.positions, s.heads_kv * s.batch);
    let add_kv = |dkv: &mut Tensor, dv_at: usize| {
        launch!(launch, kernels.kind =>
            AttentionBwdDkvF32 AttentionBwdDkvD24Bf16 AttentionBwdDkvD64Bf16 AttentionBwdDkvD128Bf16
            { dkv, lse, delta, dy, q, k, v, queries, keys, heads_q, heads_kv, width, causal, scale,
              q_at, q_row, k_at, k_row, v_at, v_row, dv_at, optional_lengths, optional_first })
    };
    if inputs.len() == 1 {
        add_kv(&mut dq, v_at);
        return vec![dq];
    }
    // The kernel writes dk and dv into one tensor, the only way for both layouts.
    let [batch, positions, wide] = k.dims("attention k");
    let mut dkv = k.like(&[2, batch, positions, wide]);
    add_kv(&mut dkv, k.len());
    let [dk, dv] = [0, 1].map(|i| dkv.rows(i, 1).reshape(k.shape()));
    vec![dq, dk, dv]
}

/// delta [B,Hq,Nq] = sum dy out.
fn row_sums(s: &Sizes, out: &Tensor, dy: &Tensor) -> Tensor {
    let mut delta = out.like_f32(&[s.batch, s.heads_q, s.queries]);
    let rows = match s.width {
        0..=32 => 64,
        33..=64 => 32,
        _ => 16,
    };
    let launch = Launch::rows(delta.len().div_ceil(rows), 256);
    kernels::attention_bwd_delta(launch, &mut delta, out, dy, s.batch, s.queries, s.heads_q, s.width);
    delta
}
