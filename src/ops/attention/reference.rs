//! The definition of attention in plain loops, and the cases that it is checked on.

use super::{Mask, Plan, Shape, Sizes, attention, self_attention};
use crate::check::{Case, Real, Reference, input};
use crate::tensor::Tensor;

/// The definition on separate q, k and v: the sizes of every sequence, at least one.
#[derive(Clone)]
pub(crate) struct Plain(pub Vec<Sizes>);

/// The definition on packed q | k | v.
#[derive(Clone)]
struct Packed(Plain);

impl Plain {
    /// Calls `f(query row offset, offset of key 0 in k and v, stride of keys, probabilities)` for every query
    /// of every head that sees a key.
    fn rows<R: Real>(&self, q: &[R], k: &[R], mut f: impl FnMut(usize, usize, usize, &[R])) {
        for (b, s) in self.0.iter().enumerate() {
            let (wide_q, wide_kv) = (s.heads_q * s.width, s.heads_kv * s.width);
            for h in 0..s.heads_q {
                let at_k = b * s.positions * wide_kv + s.kv_head(h) * s.width;
                for i in s.blind()..s.queries {
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
        let d = self.0[0].width;
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
        let (q, k, v, d) = (inputs[0], inputs[1], inputs[2], self.0[0].width);
        let zero = R::of(0.0);
        let (mut dq, mut dk, mut dv) = (vec![zero; q.len()], vec![zero; k.len()], vec![zero; v.len()]);
        self.rows(q, k, |at_q, at_k, stride, p| {
            let dp = |j: usize| (0..d).map(|c| dy[at_q + c] * v[at_k + j * stride + c]).sum::<R>();
            let dp: Vec<R> = (0..p.len()).map(dp).collect();
            let delta = p.iter().zip(&dp).map(|(&p, &dp)| p * dp).sum::<R>();
            for j in 0..p.len() {
                let ds = p[j] * (dp[j] - delta) * R::of(self.0[0].scale());
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
    fn wide(&self) -> usize {
        self.0.0[0].heads_q * self.0.0[0].width
    }
    fn split<R: Real>(&self, qkv: &[R]) -> [Vec<R>; 3] {
        let wide = self.wide();
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
        let wide = self.wide();
        let rows = inputs[0].len() / (3 * wide);
        vec![(0..rows).flat_map(|r| parts.iter().flat_map(move |p| p[r * wide..][..wide].to_vec())).collect()]
    }
}

/// Which keys the queries of a case see; sequence by sequence where there are lists.
#[derive(Clone, Copy)]
enum Seen {
    Full,
    UpperLeft,
    LowerRight,
    From(&'static [i32]),
}

impl Seen {
    fn name(self) -> String {
        match self {
            Seen::Full => String::new(),
            Seen::UpperLeft => ", causal from the start".into(),
            Seen::LowerRight => ", causal".into(),
            Seen::From(first) => format!(", causal from {first:?}"),
        }
    }
    fn mask(self, first: &Option<Tensor>) -> Mask<'_> {
        match (self, first) {
            (Seen::From(_), Some(first)) => Mask::CausalFrom(first),
            (Seen::UpperLeft, _) => Mask::CausalUpperLeft,
            (Seen::LowerRight, _) => Mask::CausalLowerRight,
            _ => Mask::Full,
        }
    }
}

/// [batch, queries, keys, query heads, KV heads, numbers per head], with the valid keys of every sequence when they
/// differ.
fn case(sizes: [usize; 6], seen: Seen, lengths: Option<&'static [i32]>) -> Case {
    let [batch, queries, keys, heads_q, heads_kv, width] = sizes;
    let kv = [batch, keys, heads_kv * width];
    let inputs = vec![input(&[batch, queries, heads_q * width]), input(&kv), input(&kv)];
    let valid = lengths.map_or(String::new(), |lengths| format!(", valid {lengths:?}"));
    let name = format!("B {batch}, {queries} x {keys}, heads {heads_q}/{heads_kv}, D {width}{}{valid}", seen.name());
    // One copy of what differs between sequences for every copy of the case.
    let list = move |list: Option<&[i32]>, copies: usize| {
        list.map(|list| Tensor::from_slice(&[batch * copies], &list.repeat(copies)))
    };
    let from = if let Seen::From(first) = seen { Some(first) } else { None };
    let (lengths_here, first) = (list(lengths, 1), list(from, 1));
    let shape = Shape { heads_q, heads_kv, mask: seen.mask(&first), key_lengths: lengths_here.as_ref() };
    let empty: Vec<Tensor> = inputs.iter().map(|input| Tensor::zeros(&input.shape)).collect();
    let plan = Plan::new("attention", [&empty[0], &empty[1], &empty[2]], &shape);
    Case::new("attention", name, Plain(plan.sequences()), inputs, move |tape, v| {
        let (device, copies) = (v[0].tensor().device(), v[0].shape()[0] / batch);
        let [lengths, first] = [lengths, from].map(|l| list(l, copies).map(|tensor| tensor.to(device)));
        let shape = Shape { heads_q, heads_kv, mask: seen.mask(&first), key_lengths: lengths.as_ref() };
        attention(tape, &v[0], &v[1], &v[2], &shape)
    })
    .with_bf16()
}

fn packed(batch: usize, n: usize, heads: usize, width: usize) -> Case {
    let (heads_q, heads_kv) = (heads, heads);
    let s = Sizes { batch, queries: n, positions: n, keys: n, heads_q, heads_kv, width, causal: false, first: 0 };
    let inputs = vec![input(&[batch, n, 3 * heads * width])];
    let name = format!("B {batch}, N {n}, heads {heads}, D {width}");
    let run = move |tape: &mut crate::tape::Tape, v: &[crate::tape::Var]| self_attention(tape, &v[0], heads);
    Case::new("self_attention", name, Packed(Plain(vec![s; batch])), inputs, run).with_bf16()
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let apart = |batch, queries, keys, heads_q, heads_kv, width, causal| {
        let seen = if causal { Seen::LowerRight } else { Seen::Full };
        case([batch, queries, keys, heads_q, heads_kv, width], seen, None)
    };
    let mut all = vec![
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
    ];
    all.extend(ragged());
    all
}

/// Cases whose sequences differ in their valid keys or in where their queries stand.
fn ragged() -> Vec<Case> {
    vec![
        // No key at all, one, a prime, one below and above a tile, all.
        case([6, 3, 66, 2, 1, 5], Seen::Full, Some(&[0, 1, 31, 63, 65, 66])),
        // Rows padded at the end, as in training; queries beyond a sequence see all of it.
        case([4, 67, 67, 2, 2, 8], Seen::UpperLeft, Some(&[67, 1, 64, 37])),
        // Queries at the end of what is valid; the first ones of a short sequence see nothing.
        case([4, 5, 37, 7, 1, 24], Seen::LowerRight, Some(&[37, 2, 5, 0])),
        case([2, 66, 131, 7, 7, 16], Seen::LowerRight, Some(&[129, 40])),
        // A chunk of prompts behind what a cache holds: positions of its own for every sequence.
        case([3, 17, 130, 2, 1, 64], Seen::From(&[0, 64, 112]), Some(&[9, 81, 129])),
        case([2, 33, 97, 7, 1, 72], Seen::From(&[-3, 50]), Some(&[30, 83])),
        case([2, 3, 40, 2, 1, 128], Seen::From(&[0, 36]), None),
    ]
}
