//! Decoding token by token with a key-value cache.
//!
//! [`Decoding`] computes prompts once, packed one after the other, stores their keys and values and then takes a token per
//! sequence and step. A group of answers to one prompt shares the prompt's work ([`Decoding::expand`]). With
//! [`Threads::Apart`] a sequence gets the same bytes alone and in any batch: products treat every row, attention every sequence
//! by itself.
//!
//! **Many sequences of a small model** are divided among the threads of the host, which then do everything for theirs, norms and
//! the choice of a token included, instead of meeting at every product.

mod prompts;
mod run;

pub use run::{Asked, Continued, greedy};

use super::decoder::{Decoder, Documents, Pass};
use crate::device::product::{self, Threads};
use crate::device::simd::Isa;
use crate::error::Result;
use crate::nn::{Forward, Params};
use crate::ops::kv_cache::KvCache;
use crate::ops::rope::{RopeTable, rope};
use crate::ops::sample::Seen;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use rayon::prelude::*;

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
    model: Model<'a>,
    state: State,
    /// Positions that every sequence has.
    lengths: Vec<usize>,
}

/// What all sequences have in common.
struct Model<'a> {
    decoder: &'a Decoder,
    table: RopeTable,
    room: Room,
}

enum State {
    /// Prompts were computed, each of which begins so many sequences.
    Prompts { c: Forward, caches: Vec<KvCache>, times: usize },
    /// Sequences are continued, by one share at least.
    Shares(Vec<Share>),
}

/// Neighbouring sequences that are continued together.
struct Share {
    /// The first of them.
    first: usize,
    c: Forward,
    cache: KvCache,
    /// Their tokens, where those matter to the choice of the next.
    seen: Option<Seen>,
}

/// Weights of up to so many bytes in f32 are packed for a generation on the host; it takes as much memory again.
const PACKED_MOST: usize = 256 << 20;
/// Sequences that are worth a pass of their own over packed weights: whole tiles, and more than the rows that products treat
/// in another way, so that the numbers are those of any other division.
const SHARE_LEAST: usize = 16;

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
        room: Room,
    ) -> Result<(Decoding<'a>, Tensor)> {
        let mut c = Forward::new(Tape::without_gradients().with_products(room.products), params);
        let x = embedded(&mut c);
        let (caches, logits) = prompts::compute(decoder, &c, &x, documents, room)?;
        let table = RopeTable::new(room.capacity, decoder.config.width, decoder.config.rope_theta);
        let model = Model { decoder, table: table.to(x.tensor().device()), room };
        let lengths = documents.starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        Ok((Decoding { model, state: State::Prompts { c, caches, times: 1 }, lengths }, logits))
    }

    /// Every sequence `times` times, side by side. Panics after the first step.
    #[track_caller]
    pub fn expand(mut self, times: usize) -> Decoding<'a> {
        match &mut self.state {
            State::Prompts { times: all, .. } => *all *= times,
            State::Shares(_) => panic!("Decoding::expand after the first step"),
        }
        let lengths = self.lengths.iter().flat_map(|&n| std::iter::repeat_n(n, times)).collect();
        Decoding { lengths, ..self }
    }

    /// Positions that every sequence has.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Appends a token to every sequence that goes on, and returns the logits that follow, [B,V]; rows of sequences that
    /// have ended mean nothing.
    ///
    /// # Errors
    /// `Usage` when a sequence would outgrow the cache.
    #[track_caller]
    pub fn step(&mut self, tokens: &[u32], goes_on: &[bool]) -> Result<Tensor> {
        let batch = self.lengths.len();
        assert!(tokens.len() == batch && goes_on.len() == batch, "a token for every sequence");
        Ok(Tensor::stacked(&self.step_shares(tokens, goes_on)?))
    }

    /// [`Self::step`] with the logits of every share.
    fn step_shares(&mut self, tokens: &[u32], goes_on: &[bool]) -> Result<Vec<Tensor>> {
        let (model, shares) = self.divided();
        let logits = each(shares, |_, share| {
            let own = share.range();
            share.step(model, &tokens[own.clone()], &goes_on[own])
        })?;
        self.lengths.iter_mut().zip(goes_on).for_each(|(length, &on)| *length += usize::from(on));
        Ok(logits)
    }

    /// The shares. The first call decides who computes what: it packs the weights where that pays, and makes a share for every
    /// thread.
    fn divided(&mut self) -> (&Model<'a>, &mut [Share]) {
        if let State::Prompts { c, caches, times } = &mut self.state {
            let (caches, times, batch) = (std::mem::take(caches), *times, self.lengths.len());
            let shares = divide(&self.model, c, caches, times, batch);
            self.state = State::Shares(shares);
        }
        match &mut self.state {
            State::Shares(shares) => (&self.model, shares),
            State::Prompts { .. } => unreachable!("made above"),
        }
    }
}

/// Shares of `batch` sequences that begin as those of `caches`, each `times` times.
fn divide(model: &Model, c: &mut Forward, mut caches: Vec<KvCache>, times: usize, batch: usize) -> Vec<Share> {
    let Room { capacity, products, .. } = model.room;
    let has_many = !product::reads_rows(products, batch);
    let is_packed = has_many && c.pack(&model.decoder.matrices(), PACKED_MOST);
    let most = if is_packed && products == Threads::All { rayon::current_num_threads() } else { 1 };
    let count = (batch / SHARE_LEAST).clamp(1, most);
    let products = if count > 1 { Threads::One } else { products };
    let mut firsts: Vec<(usize, Forward)> =
        (0..count).map(|n| (n * batch / count, c.on(Tape::without_gradients().with_products(products)))).collect();
    if count == 1 && caches.len() == 1 && times == 1 {
        let (first, c) = firsts.remove(0);
        return vec![Share { first, c, cache: caches.remove(0), seen: None }];
    }
    let caches: Vec<&KvCache> = caches.iter().collect();
    let ends: Vec<usize> = firsts[1..].iter().map(|(first, _)| *first).chain([batch]).collect();
    let begun = |((first, c), end): ((usize, Forward), usize)| Share {
        first,
        c,
        cache: KvCache::begun(&caches, times, first..end, capacity),
        seen: None,
    };
    firsts.into_par_iter().zip(ends).map(begun).collect()
}

impl Share {
    /// Its sequences.
    fn range(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.cache.shape().batch
    }

    /// The logits that follow the tokens, [B,V].
    fn step(&mut self, model: &Model, tokens: &[u32], goes_on: &[bool]) -> Result<Tensor> {
        let (decoder, batch) = (model.decoder, tokens.len());
        let counts: Vec<usize> = goes_on.iter().map(|&on| usize::from(on)).collect();
        self.cache.advance_ragged(1, &counts)?;
        let positions = self.cache.first().reshape(&[batch, 1]);
        let device = positions.device();
        let ids: Vec<i32> = tokens.iter().map(|&id| id as i32).collect();
        let mut x = decoder.embed(&mut self.c, &Tensor::from_slice(&[batch, 1], &ids).to(device));
        let heads = (decoder.config.heads, decoder.config.heads_kv);
        for (n, layer) in decoder.layers().iter().enumerate() {
            let (cache, table) = (&mut self.cache, &model.table);
            let pass = Pass { active: model.room.active, recomputes_units: false, rows: None };
            x = layer.forward(&mut self.c, &x, pass, |tape, [q, k, v]| {
                let [q, k] = [(q, heads.0), (k, heads.1)].map(|(x, heads)| rope(tape, &x, table, &positions, heads));
                cache.append(tape, n, &k, &v);
                cache.attend(tape, n, &q, heads.0)
            });
        }
        let hidden = decoder.normed(&mut self.c, &x);
        let hidden = Var::constant(hidden.tensor().reshape(&[batch, decoder.config.hidden]));
        Ok(decoder.logits(&mut self.c, &hidden).tensor().clone())
    }
}

/// What `f` makes of every share and its number, each on a thread of its own where there are several. The error is that of the
/// first share with one.
fn each<T: Send>(shares: &mut [Share], f: impl Fn(usize, &mut Share) -> Result<T> + Sync) -> Result<Vec<T>> {
    if let [share] = shares {
        return Ok(vec![f(0, share)?]);
    }
    // Threads of the pool know nothing of an instruction set that was forced here.
    let isa = Isa::current();
    let shares = shares.par_iter_mut().enumerate();
    let found: Vec<Result<T>> = shares.map(|(n, share)| isa.force(|| f(n, share))).collect();
    found.into_iter().collect()
}
