//! Attention on a device: which kernels of `kernels/attention.cu` serve which head dim, and how they are launched.

use super::Sizes;
use super::host::Layouts;
use crate::kernels::{self, Launch};
use crate::tensor::{DType, Tensor};

/// Numbers per head, at most.
const WIDTH_MAX: usize = 128;

type Forward = fn(
    Launch,
    &mut Tensor,
    &mut Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    i32,
    i32,
    i32,
    i32,
    i32,
    i32,
    f32,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
);
type BackwardQ = fn(
    Launch,
    &mut Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    i32,
    i32,
    i32,
    i32,
    i32,
    i32,
    f32,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
);
type BackwardKv = fn(
    Launch,
    &mut Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    &Tensor,
    i32,
    i32,
    i32,
    i32,
    i32,
    i32,
    f32,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
);

/// The kernels for a type and a range of head dims, with the geometry that they were compiled for.
struct Kernels {
    forward: Forward,
    backward_q: BackwardQ,
    backward_kv: BackwardKv,
    threads: usize,
    /// Rows of a block and its dynamic shared memory in the forward and the backward pass.
    blocks: [(usize, usize); 2],
}

impl Kernels {
    #[track_caller]
    fn of(dtype: DType, width: usize) -> Kernels {
        assert!(width <= WIDTH_MAX, "attention: heads of {width} numbers; the kernels take {WIDTH_MAX}");
        let float = |blocks| Kernels {
            forward: kernels::attention_fwd_f32,
            backward_q: kernels::attention_bwd_dq_f32,
            backward_kv: kernels::attention_bwd_dkv_f32,
            threads: 256,
            blocks,
        };
        match (dtype, width) {
            (DType::F32, ..=32) => float([(64, 45_056), (64, 54_784)]),
            (DType::F32, ..=64) => float([(64, 69_632), (64, 61_952)]),
            (DType::F32, _) => float([(64, 76_800), (32, 72_448)]),
            (DType::Bf16, ..=24) => Kernels {
                forward: kernels::attention_fwd_d24_bf16,
                backward_q: kernels::attention_bwd_dq_d24_bf16,
                backward_kv: kernels::attention_bwd_dkv_d24_bf16,
                threads: 128,
                blocks: [(64, 16_384), (64, 25_600)],
            },
            (DType::Bf16, ..=64) => Kernels {
                forward: kernels::attention_fwd_d64_bf16,
                backward_q: kernels::attention_bwd_dq_d64_bf16,
                backward_kv: kernels::attention_bwd_dkv_d64_bf16,
                threads: 256,
                blocks: [(128, 32_768), (128, 66_560)],
            },
            (DType::Bf16, _) => Kernels {
                forward: kernels::attention_fwd_d128_bf16,
                backward_q: kernels::attention_bwd_dq_d128_bf16,
                backward_kv: kernels::attention_bwd_dkv_d128_bf16,
                threads: 256,
                blocks: [(128, 65_536), (128, 98_816)],
            },
            (other, _) => panic!("attention of {other:?}"),
        }
    }
    /// Blocks for `rows` positions of each of `heads` heads.
    fn launch(&self, pass: usize, rows: usize, heads: usize) -> Launch {
        let (per_block, bytes) = self.blocks[pass];
        Launch::new([rows.div_ceil(per_block) * heads, 1, 1], self.threads).shared(bytes)
    }
}

impl Sizes {
    /// In the order of the kernels' arguments.
    fn arguments(&self) -> [i32; 6] {
        let Sizes { queries, keys, heads_q, heads_kv, width, causal, .. } = *self;
        [queries, keys, heads_q, heads_kv, width, causal.into()].map(|n| n as i32)
    }
}

impl Layouts {
    fn arguments(&self) -> [i64; 6] {
        [self.q.offset, self.q.row, self.k.offset, self.k.row, self.v.offset, self.v.row].map(|n| n as i64)
    }
    /// The tensors of q, k and v among 1 or 3 inputs.
    fn tensors<'a>(&self, inputs: &[&'a Tensor]) -> [&'a Tensor; 3] {
        [self.q.buffer, self.k.buffer, self.v.buffer].map(|i| inputs[i])
    }
}

/// out [B,Nq,Hq D] and lse [B,Hq,Nq].
#[track_caller]
pub(super) fn forward(s: &Sizes, layouts: &Layouts, inputs: &[&Tensor]) -> [Tensor; 2] {
    let [q, k, v] = layouts.tensors(inputs);
    let mut out = q.like(&[s.batch, s.queries, s.heads_q * s.width]);
    let mut lse = q.like_f32(&[s.batch, s.heads_q, s.queries]);
    let kernels = Kernels::of(q.dtype(), s.width);
    let launch = kernels.launch(0, s.queries, s.heads_q * s.batch);
    let [queries, keys, heads_q, heads_kv, width, causal] = s.arguments();
    let [q_at, q_row, k_at, k_row, v_at, v_row] = layouts.arguments();
    let scale = s.scale() as f32;
    (kernels.forward)(
        launch, &mut out, &mut lse, q, k, v, queries, keys, heads_q, heads_kv, width, causal, scale, q_at, q_row, k_at,
        k_row, v_at, v_row,
    );
    [out, lse]
}

/// Gradients of the 1 or 3 inputs.
#[track_caller]
pub(super) fn backward(s: &Sizes, layouts: &Layouts, inputs: &[&Tensor], [out, lse, dy]: [&Tensor; 3]) -> Vec<Tensor> {
    let [q, k, v] = layouts.tensors(inputs);
    let delta = row_sums(s, out, dy);
    let kernels = Kernels::of(q.dtype(), s.width);
    let [queries, keys, heads_q, heads_kv, width, causal] = s.arguments();
    let [q_at, q_row, k_at, k_row, v_at, v_row] = layouts.arguments();
    let scale = s.scale() as f32;
    let mut dq = q.like(q.shape());
    let launch = kernels.launch(1, s.queries, s.heads_q * s.batch);
    (kernels.backward_q)(
        launch, &mut dq, lse, &delta, dy, q, k, v, queries, keys, heads_q, heads_kv, width, causal, scale, q_at, q_row,
        k_at, k_row, v_at, v_row,
    );
    let launch = kernels.launch(1, s.keys, s.heads_kv * s.batch);
    let add_kv = |to: &mut Tensor, dv_at: i64| {
        (kernels.backward_kv)(
            launch, to, lse, &delta, dy, q, k, v, queries, keys, heads_q, heads_kv, width, causal, scale, q_at, q_row,
            k_at, k_row, v_at, v_row, dv_at,
        );
    };
    if inputs.len() == 1 {
        add_kv(&mut dq, v_at);
        return vec![dq];
    }
    // The kernel writes dk and dv into one tensor, the only way for both layouts.
    let [batch, keys, wide] = k.dims("attention k");
    let mut dkv = k.like(&[2, batch, keys, wide]);
    add_kv(&mut dkv, k.len() as i64);
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
    let [clips, queries, heads, width] = [s.batch, s.queries, s.heads_q, s.width].map(|n| n as i32);
    kernels::attention_bwd_delta(launch, &mut delta, out, dy, clips, queries, heads, width);
    delta
}
