//! out = softmax(q k^T / sqrt(D)) v for one query per sequence, no gradient.   q [B,1,Hq D], k, v [B,C,Hkv D],
//! lengths I32 [B] -> out [B,1,Hq D]
//!
//! What generation does per token: the query sees all valid keys of its sequence, the first `lengths[b]` of the C that
//! the cache has room for. There is no second query to share a key with, so the query heads of a KV head share it, and
//! the keys are cut into parts of fixed size whose results are combined in order: a sequence gets the same bytes alone
//! and in any batch, on one thread and on those that compute the tape's products. A sequence without keys gets zeros.

mod host;

use super::attention::{self, Mask, Plan, Shape};
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// Keys of a part on a device (`PART` in the kernels).
const PART: usize = 64;
/// Query heads of a block on a device (`ROWS` in the kernels).
const HEADS: usize = 16;

/// Attention of one query per sequence, q [B,1,Hq D], over the first `lengths[b]` of k and v [B,C,Hkv D]. Panics when
/// an input is tracked: there is no backward.
#[track_caller]
pub fn decode_attention(
    tape: &Tape,
    q: &Var,
    [k, v]: [&Var; 2],
    (heads_q, heads_kv): (usize, usize),
    lengths: &Tensor,
) -> Var {
    let shape = Shape { heads_q, heads_kv, mask: Mask::Full, key_lengths: Some(lengths) };
    let plan = Plan::new("decode_attention", [q.tensor(), k.tensor(), v.tensor()], &shape);
    assert!(plan.sizes.queries == 1, "decode_attention of {} queries per sequence", plan.sizes.queries);
    let inputs = [q.tensor(), k.tensor(), v.tensor()];
    let out = match q.tensor().device() {
        Device::Host => host::decode(&plan, inputs, tape.products()),
        _ => launch(&plan, inputs),
    };
    tape.constant("decode_attention", &[q, k, v], out)
}

#[track_caller]
fn launch(plan: &Plan, [q, k, v]: [&Tensor; 3]) -> Tensor {
    let s = &plan.sizes;
    let lengths = plan.lengths.as_ref().expect("given by the caller");
    assert!(s.width <= attention::WIDTH_MAX, "decode_attention: heads of {} numbers", s.width);
    let parts = s.positions.div_ceil(PART);
    let (mut sums, mut stats) =
        (q.like_f32(&[s.batch, s.heads_q, parts, s.width]), q.like_f32(&[s.batch, s.heads_q, parts, 2]));
    let blocks = parts * (s.heads_q / s.heads_kv).div_ceil(HEADS) * s.heads_kv * s.batch;
    let (capacity, heads_q, heads_kv, scale) = (s.positions, s.heads_q, s.heads_kv, s.scale() as f32);
    macro_rules! part {
        ($kernel:ident, $threads:expr, $bytes:expr) => {{
            let launch = Launch::rows(blocks, $threads).shared($bytes);
            let (sums, stats) = (&mut sums, &mut stats);
            kernels::$kernel(launch, sums, stats, q, k, v, lengths, capacity, heads_q, heads_kv, s.width, scale)
        }};
    }
    match (q.dtype(), s.width) {
        (DType::F32, ..=64) => part!(decode_attention_part_f32, 256, 43_264),
        (DType::F32, _) => part!(decode_attention_part_f32, 256, 80_128),
        (DType::Bf16, ..=64) => part!(decode_attention_part_d64_bf16, 128, 18_944),
        (DType::Bf16, _) => part!(decode_attention_part_d128_bf16, 128, 37_376),
        (other, _) => panic!("decode_attention over numbers stored as {other:?}"),
    }
    let mut out = q.like(q.shape());
    let launch = Launch::rows(s.batch * heads_q, 128);
    kernels::decode_attention_combine(launch, &mut out, &sums, &stats, lengths, capacity, heads_q, s.width);
    out
}

/// The definition of attention, without a gradient.
#[derive(Clone)]
struct Decoded(attention::Plain);

impl Reference for Decoded {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        self.0.forward(inputs)
    }
    fn backward<R: Real>(&self, _: &[&[R]], _: &[R]) -> Vec<Vec<R>> {
        vec![Vec::new(); 3]
    }
}

/// [capacity, query heads, KV heads, numbers per head] with the valid keys of every sequence.
fn case([capacity, heads_q, heads_kv, width]: [usize; 4], lengths: &'static [i32]) -> Case {
    let batch = lengths.len();
    let kv = [batch, capacity, heads_kv * width];
    let inputs = vec![input(&[batch, 1, heads_q * width]).fixed(), input(&kv).fixed(), input(&kv).fixed()];
    let name = format!("C {capacity}, heads {heads_q}/{heads_kv}, D {width}, valid {lengths:?}");
    let list = move |copies: usize| Tensor::from_slice(&[batch * copies], &lengths.repeat(copies));
    let empty: Vec<Tensor> = inputs.iter().map(|input| Tensor::zeros(&input.shape)).collect();
    let here = list(1);
    let shape = Shape { heads_q, heads_kv, mask: Mask::Full, key_lengths: Some(&here) };
    let plan = Plan::new("decode_attention", [&empty[0], &empty[1], &empty[2]], &shape);
    let reference = Decoded(attention::Plain(plan.sequences()));
    Case::new("decode_attention", name, reference, inputs, move |tape, v| {
        let lengths = list(v[0].shape()[0] / batch).to(v[0].tensor().device());
        decode_attention(tape, &v[0], [&v[1], &v[2]], (heads_q, heads_kv), &lengths)
    })
    .with_bf16()
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    vec![
        case([1, 1, 1, 1], &[1]),
        case([3, 2, 2, 5], &[0, 2, 3]),
        case([131, 7, 1, 24], &[1, 63, 64, 65, 131]),
        case([97, 7, 7, 64], &[97, 31]),
        case([300, 14, 2, 64], &[257, 0, 300]),
        case([66, 17, 1, 72], &[66]),
        case([70, 6, 3, 127], &[66, 5]),
        case([129, 28, 4, 128], &[129, 128]),
        case([2048, 7, 1, 128], &[2048]).bench(4.0 * 2048.0 * 7.0 * 128.0),
        case([2048, 7, 1, 128], &[2048]).bench(4.0 * 2048.0 * 7.0 * 128.0).copied(64, &[0, 1, 2]),
    ]
}
