//! Sequences that go on until they end: a token is chosen for each, then all take a step.

use super::{Decoding, Share, each};
use crate::device::Device;
use crate::device::product::{self, Threads};
use crate::error::Result;
use crate::ops::sample::{Draws, Sampling, Seen, sample};
use crate::tensor::Tensor;

/// The largest number of every row, the first of equals.
pub fn greedy(logits: &Tensor) -> Vec<u32> {
    let host = logits.to_host_f32();
    let best = |row: &[f32]| {
        let first = |best: usize, (i, v): (usize, &f32)| if *v > row[best] { i } else { best };
        row.iter().enumerate().fold(0, first) as u32
    };
    host.data().chunks_exact(host.shape()[1]).map(best).collect()
}

/// When sequences end, and who chooses their tokens.
pub struct Asked<'a> {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Seed of the draws.
    pub seed: u64,
    /// The number of every sequence, which stays its own wherever it stands in a batch.
    pub sequences: &'a [u32],
    /// Tokens that end a sequence; they are not part of it.
    pub ends: &'a [u32],
    /// Tokens of a sequence, at most.
    pub new_max: usize,
    /// Tokens of every prompt, which count as seen where repetition costs; empty: only what was chosen counts.
    pub prompts: &'a [Vec<u32>],
}

/// A sequence that was continued.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Continued {
    /// What was chosen.
    pub ids: Vec<u32>,
    /// The log-probability of each under the model's own softmax.
    pub log_probs: Vec<f32>,
    /// Whether it ended by itself, by a token of [`Asked::ends`] or because `watch` said so.
    pub is_whole: bool,
}

impl Decoding<'_> {
    /// Continues every sequence from the `logits` that follow it. `watch` sees each token of each sequence as it comes and
    /// may end the sequence with it.
    ///
    /// # Errors
    /// `Usage` for settings out of range or a cache that is too small; `Diverged` for logits that are no numbers.
    #[track_caller]
    pub fn run(
        &mut self,
        logits: Tensor,
        asked: &Asked,
        watch: impl FnMut(usize, u32) -> bool,
    ) -> Result<Vec<Continued>> {
        // A GPU does not wait for this machine's threads.
        let threads = if logits.device() == Device::Host { self.model.room.products } else { Threads::One };
        product::awake(threads, || self.go_on(logits, asked, watch))
    }

    /// [`Self::run`] on threads that are awake.
    fn go_on(
        &mut self,
        logits: Tensor,
        asked: &Asked,
        mut watch: impl FnMut(usize, u32) -> bool,
    ) -> Result<Vec<Continued>> {
        let [batch, vocabulary] = logits.dims("logits");
        let mut all = vec![Continued::default(); batch];
        let mut goes_on = vec![true; batch];
        let (_, shares) = self.divided();
        shares.iter_mut().for_each(|share| share.seen = share.start_seen(asked, vocabulary));
        let mut logits: Vec<Tensor> =
            shares.iter().map(|share| logits.rows(share.first, share.range().len())).collect();
        for step in 0..asked.new_max {
            let chosen = each(self.divided().1, |n, share| share.choose(&logits[n], asked, step))?;
            let mut next = vec![0; batch];
            for (i, (id, log_prob)) in chosen.into_iter().flatten().enumerate() {
                if !goes_on[i] {
                    continue;
                }
                let sequence = &mut all[i];
                if asked.ends.contains(&id) {
                    (sequence.is_whole, goes_on[i]) = (true, false);
                    continue;
                }
                sequence.ids.push(id);
                sequence.log_probs.push(log_prob);
                next[i] = id;
                if watch(i, id) {
                    (sequence.is_whole, goes_on[i]) = (true, false);
                }
            }
            if step + 1 == asked.new_max || !goes_on.contains(&true) {
                break;
            }
            logits = self.step_shares(&next, &goes_on)?;
        }
        Ok(all)
    }
}

impl Share {
    /// A token for every sequence, with its log-probability.
    fn choose(&mut self, logits: &Tensor, asked: &Asked, step: usize) -> Result<Vec<(u32, f32)>> {
        let draws = Draws { seed: asked.seed, sequences: &asked.sequences[self.range()], step: step as u32 };
        let chosen = sample(logits, self.seen.as_ref(), &asked.sampling, &draws)?;
        if let Some(seen) = &mut self.seen {
            seen.add(&chosen.tensor.reshape(&[chosen.ids.len(), 1]));
        }
        Ok(chosen.ids.iter().map(|&id| id as u32).zip(chosen.log_probs).collect())
    }

    /// The tokens that were seen, where that matters.
    fn start_seen(&self, asked: &Asked, vocabulary: usize) -> Option<Seen> {
        if asked.sampling.repetition_penalty == 1.0 {
            return None;
        }
        let mut seen = Seen::new(self.range().len(), vocabulary, self.cache.first().device());
        let prompts = if asked.prompts.is_empty() { &[] } else { &asked.prompts[self.range()] };
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        if longest > 0 {
            let padded = |prompt: &Vec<u32>| {
                let ids = prompt.iter().map(|&id| id as i32).collect::<Vec<i32>>();
                ids.into_iter().chain(std::iter::repeat(-1)).take(longest).collect::<Vec<i32>>()
            };
            let ids: Vec<i32> = prompts.iter().flat_map(padded).collect();
            seen.add(&Tensor::from_slice(&[prompts.len(), longest], &ids).to(self.cache.first().device()));
        }
        Some(seen)
    }
}
