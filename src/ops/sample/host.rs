//! The choice on the host, a sequence at a time.

use super::{Choice, Sampling};
use crate::device::simd::Isa;
use crate::ops::elementwise::stored_as;
use crate::ops::linear_cross_entropy::{row_largest, row_log_prob};
use crate::tensor::{DType, Tensor};
use rayon::prelude::*;
use std::borrow::Cow;
use std::cmp::Ordering;

/// Scores that are worth the start of other threads.
const WORTH_THREADS: usize = 1 << 18;

/// Ids I32 [B], -1 where logits are no numbers, and log-probabilities f32 [B].
pub(super) fn sample(
    logits: &Tensor,
    seen: Option<&Tensor>,
    sampling: &Sampling,
    uniforms: &[f32],
) -> (Tensor, Tensor) {
    let [batch, v] = logits.dims("sample logits");
    let logits = stored_as(logits, DType::F32);
    // Threads of the pool know nothing of an instruction set that was forced here.
    let isa = Isa::current();
    let one = |(b, row): (usize, &[f32])| {
        let seen = seen.map(|seen| &seen.values::<u8>()[b * v..(b + 1) * v]);
        isa.force(|| {
            let id = choose(&scores(row, seen, sampling), sampling.choice, uniforms[b]);
            (id.map_or(-1, |id| id as i32), id.map_or(f32::NAN, |id| row_log_prob(row, id)))
        })
    };
    let (ids, log_probs): (Vec<i32>, Vec<f32>) = if batch * v < WORTH_THREADS {
        logits.data().chunks_exact(v).enumerate().map(one).unzip()
    } else {
        logits.data().par_chunks_exact(v).enumerate().map(one).unzip()
    };
    (Tensor::from_slice(&[batch], &ids), Tensor::from_slice(&[batch], &log_probs))
}

/// Logits after the penalty and the temperature.
fn scores<'a>(row: &'a [f32], seen: Option<&[u8]>, sampling: &Sampling) -> Cow<'a, [f32]> {
    if seen.is_none() && sampling.choice == Choice::Greedy {
        return Cow::Borrowed(row);
    }
    let mut scores = row.to_vec();
    if let Some(seen) = seen {
        let penalty = sampling.repetition_penalty;
        for (score, _) in scores.iter_mut().zip(seen).filter(|(_, seen)| **seen != 0) {
            *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
        }
    }
    let temperature = if let Choice::Draw { temperature, .. } = sampling.choice { temperature } else { 1.0 };
    // Plus zero, so that the two zeros are one.
    scores.iter_mut().for_each(|score| *score = *score / temperature + 0.0);
    Cow::Owned(scores)
}

/// The token, or none where scores are no numbers.
fn choose(scores: &[f32], choice: Choice, uniform: f32) -> Option<usize> {
    let most = row_largest(scores);
    if !most.is_finite() {
        return None;
    }
    let Choice::Draw { top_k, top_p, .. } = choice else { return scores.iter().position(|&score| score == most) };
    let mut left: Vec<usize> = (0..scores.len()).collect();
    if let Some(k) = top_k.filter(|&k| k < scores.len()) {
        let (_, kth, _) = left.select_nth_unstable_by(k - 1, |&a, &b| from_largest(scores, a, b));
        let limit = scores[*kth];
        left = (0..scores.len()).filter(|&i| scores[i] >= limit).collect();
    }
    let exact = |i: usize| f64::from(scores[i] - most).exp();
    // They are asked for two or three times; computed once, where most of them are.
    let all: Vec<f64> = if left.len() == scores.len() { (0..scores.len()).map(exact).collect() } else { Vec::new() };
    let mass = |i: usize| if all.is_empty() { exact(i) } else { all[i] };
    if top_p < 1.0 {
        left = nucleus(scores, left, f64::from(top_p), mass);
        left.sort_unstable();
    }
    let target = f64::from(uniform) * left.iter().map(|&i| mass(i)).sum::<f64>();
    let mut sum = 0.0;
    let exceeds = |&&i: &&usize| {
        sum += mass(i);
        sum > target
    };
    left.iter().find(exceeds).copied()
}

/// Larger scores first, lower ids first among equals.
fn from_largest(scores: &[f32], a: usize, b: usize) -> Ordering {
    scores[b].total_cmp(&scores[a]).then(a.cmp(&b))
}

/// The tokens of `left` before which less than `p` of their probability stands. Only as many are sorted as it takes.
fn nucleus(scores: &[f32], mut left: Vec<usize>, p: f64, mass: impl Fn(usize) -> f64) -> Vec<usize> {
    let limit = p * left.iter().map(|&i| mass(i)).sum::<f64>();
    let (mut sorted, mut before) = (0, 0.0);
    while sorted < left.len() {
        let rest = &mut left[sorted..];
        let count = (4 * sorted).max(256).min(rest.len());
        if count < rest.len() {
            rest.select_nth_unstable_by(count - 1, |&a, &b| from_largest(scores, a, b));
        }
        rest[..count].sort_unstable_by(|&a, &b| from_largest(scores, a, b));
        for at in sorted..sorted + count {
            if before >= limit {
                left.truncate(at);
                return left;
            }
            before += mass(left[at]);
        }
        sorted += count;
    }
    left
}
