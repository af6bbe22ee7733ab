//! Decoding token by token with a key-value cache.
//!
//! [`Decoding`] computes prompts once, packed one after the other, stores their keys and values and then takes a token per
//! sequence and step. A group of answers to one prompt shares the prompt's work ([`Decoding::expand`]). With
//! [`Threads::Apart`] a sequence gets the same bytes alone and in any batch: products treat every row, attention every sequence
//! by itself.

use super::decoder::{Decoder, Documents, Pass};
use crate::device::Device;
use crate::device::product::{self, Threads};
use crate::error::Result;
use crate::nn::{Forward, Params};
use crate::ops::kv_cache::{CacheShape, KvCache};
use crate::ops::rope::{RopeTable, rope};
use crate::ops::sample::{Draws, Sampling, Seen, sample};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// How sequences are continued.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Positions of every sequence, at most.
    pub capacity: usize,
    /// How many adapters count, the first ones.
    pub active: usize,
    /// Who computes products, and whether rows are computed apart.
    pub products: Threads,
}

/// Sequences that a decoder continues.
pub struct Decoding<'a> {
    decoder: &'a Decoder,
    c: Forward,
    cache: KvCache,
    table: RopeTable,
    active: usize,
    /// Whether weights were packed, or are better read as they are.
    is_packed: bool,
}

/// Weights of up to so many bytes in f32 are packed for a generation on the host; it takes as much memory again.
const PACKED_MOST: usize = 256 << 20;

impl<'a> Decoding<'a> {
    /// Computes the prompts, embedded tokens [1,T,C] of `documents`, and leaves room for their continuation. Also returns the logits that follow each prompt, [B,V].
    ///
    /// # Errors
    /// `Usage` for a prompt that is longer than the capacity.
    pub fn start(
        decoder: &'a Decoder,
        params: &Params,
        embedded: impl FnOnce(&mut Forward) -> Var,
        documents: &Documents,
        Room { capacity, active, products }: Room,
    ) -> Result<(Decoding<'a>, Tensor)> {
        let mut c = Forward::new(Tape::without_gradients().with_products(products), params);
        let x = embedded(&mut c);
        let (config, device) = (&decoder.config, x.tensor().device());
        let batch = documents.starts.len() - 1;
        let shape =
            CacheShape { layers: config.layers, batch, capacity, heads_kv: config.heads_kv, width: config.width };
        let mut cache = KvCache::new(shape, device, x.tensor().dtype());
        let lengths: Vec<usize> = documents.starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        cache.advance_ragged(lengths.iter().copied().max().unwrap_or(0), &lengths)?;
        let documents = documents.clone().asking(&vec![1; batch]);
        let hidden = decoder.prefill(&mut c, &x, &documents, active, &mut cache);
        let last = Var::constant(hidden.tensor().reshape(&[batch, config.hidden]));
        let logits = decoder.logits(&mut c, &last);
        let table = RopeTable::new(capacity, config.width, config.rope_theta).to(device);
        Ok((Decoding { decoder, c, cache, table, active, is_packed: false }, logits.tensor().clone()))
    }

    /// Every sequence `times` times, side by side.
    pub fn expand(self, times: usize) -> Decoding<'a> {
        Decoding { cache: self.cache.expand(times), ..self }
    }

    /// Positions that every sequence has.
    pub fn lengths(&self) -> &[usize] {
        self.cache.lengths()
    }

    /// Appends a token to every sequence that goes on, and returns the logits that follow, [B,V]; rows of sequences that
    /// have ended mean nothing.
    ///
    /// # Errors
    /// `Usage` when a sequence would outgrow the cache.
    #[track_caller]
    pub fn step(&mut self, tokens: &[u32], goes_on: &[bool]) -> Result<Tensor> {
        let batch = self.cache.shape().batch;
        if !self.is_packed && !product::reads_rows(self.c.tape.products(), batch) {
            self.is_packed = true;
            self.c.pack(&self.decoder.matrices(), PACKED_MOST);
        }
        assert!(tokens.len() == batch && goes_on.len() == batch, "a token for every sequence");
        let counts: Vec<usize> = goes_on.iter().map(|&on| usize::from(on)).collect();
        self.cache.advance_ragged(1, &counts)?;
        let positions = self.cache.first().reshape(&[batch, 1]);
        let device = positions.device();
        let ids: Vec<i32> = tokens.iter().map(|&id| id as i32).collect();
        let mut x = self.decoder.embed(&mut self.c, &Tensor::from_slice(&[batch, 1], &ids).to(device));
        let heads = (self.decoder.config.heads, self.decoder.config.heads_kv);
        for (n, layer) in self.decoder.layers().iter().enumerate() {
            let (cache, table) = (&mut self.cache, &self.table);
            let pass = Pass { active: self.active, recomputes_units: false, rows: None };
            x = layer.forward(&mut self.c, &x, pass, |tape, [q, k, v]| {
                let [q, k] = [(q, heads.0), (k, heads.1)].map(|(x, heads)| rope(tape, &x, table, &positions, heads));
                cache.append(tape, n, &k, &v);
                cache.attend(tape, n, &q, heads.0)
            });
        }
        let hidden = self.decoder.normed(&mut self.c, &x);
        let hidden = Var::constant(hidden.tensor().reshape(&[batch, self.decoder.config.hidden]));
        Ok(self.decoder.logits(&mut self.c, &hidden).tensor().clone())
    }
}

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
        let threads = if logits.device() == Device::Host { self.c.tape.products() } else { Threads::One };
        product::awake(threads, || self.go_on(logits, asked, watch))
    }

    /// [`Self::run`] on threads that are awake.
    fn go_on(
        &mut self,
        mut logits: Tensor,
        asked: &Asked,
        mut watch: impl FnMut(usize, u32) -> bool,
    ) -> Result<Vec<Continued>> {
        let [batch, vocabulary] = logits.dims("logits");
        let mut all = vec![Continued::default(); batch];
        let mut goes_on = vec![true; batch];
        let mut seen = self.seen(asked, vocabulary);
        for step in 0..asked.new_max {
            let draws = Draws { seed: asked.seed, sequences: asked.sequences, step: step as u32 };
            let chosen = sample(&logits, seen.as_ref(), &asked.sampling, &draws)?;
            let mut next = vec![0; batch];
            for (i, sequence) in all.iter_mut().enumerate() {
                if !goes_on[i] {
                    continue;
                }
                let id = chosen.ids[i] as u32;
                if asked.ends.contains(&id) {
                    (sequence.is_whole, goes_on[i]) = (true, false);
                    continue;
                }
                sequence.ids.push(id);
                sequence.log_probs.push(chosen.log_probs[i]);
                next[i] = id;
                if watch(i, id) {
                    (sequence.is_whole, goes_on[i]) = (true, false);
                }
            }
            if step + 1 == asked.new_max || !goes_on.contains(&true) {
                break;
            }
            if let Some(seen) = &mut seen {
                seen.add(&chosen.tensor.reshape(&[batch, 1]));
            }
            logits = self.step(&next, &goes_on)?;
        }
        Ok(all)
    }

    /// The tokens that were seen, where that matters.
    fn seen(&self, asked: &Asked, vocabulary: usize) -> Option<Seen> {
        if asked.sampling.repetition_penalty == 1.0 {
            return None;
        }
        let (batch, device) = (self.cache.shape().batch, self.cache.first().device());
        let mut seen = Seen::new(batch, vocabulary, device);
        let longest = asked.prompts.iter().map(Vec::len).max().unwrap_or(0);
        if longest > 0 {
            let padded = |prompt: &Vec<u32>| {
                let ids = prompt.iter().map(|&id| id as i32).collect::<Vec<i32>>();
                ids.into_iter().chain(std::iter::repeat(-1)).take(longest).collect::<Vec<i32>>()
            };
            let ids: Vec<i32> = asked.prompts.iter().flat_map(padded).collect();
            seen.add(&Tensor::from_slice(&[asked.prompts.len(), longest], &ids).to(device));
        }
        Some(seen)
    }
}
