//! Prompts, computed part by part.
//!
//! On the host a part holds a few hundred tokens: what a layer computes of them stays in the cache, and where there are enough
//! parts each thread computes its own. The parts depend on the lengths of the prompts alone, and so do the numbers. A device
//! takes all prompts at once.

use super::Room;
use crate::device::Device;
use crate::device::product::Threads;
use crate::device::simd::Isa;
use crate::error::{Error, Result};
use crate::language::decoder::{Decoder, Documents};
use crate::nn::Forward;
use crate::ops::kv_cache::{CacheShape, KvCache};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::ops::Range;

/// Tokens of a part, at least where there are as many.
const PART: usize = 512;

/// Keys and values of the prompts, embedded tokens x [1,T,C] of `documents`, and the logits that follow each, [B,V]. A single
/// part has room for what comes after its prompts.
///
/// # Errors
/// `Usage` for a prompt that is longer than the capacity.
pub(super) fn compute(
    decoder: &Decoder,
    c: &Forward,
    x: &Var,
    documents: &Documents,
    room: Room,
) -> Result<(Vec<KvCache>, Tensor)> {
    let mut lengths = documents.starts.windows(2).map(|pair| pair[1] - pair[0]).enumerate();
    if let Some((prompt, tokens)) = lengths.find(|(_, tokens)| *tokens > room.capacity) {
        let message = format!("prompt {prompt} has {tokens} tokens, and there is room for {}", room.capacity);
        return Err(Error::usage(message).hint("shorten the prompt, or make a larger cache"));
    }
    let parts = parts(&documents.starts, x.tensor().device());
    let products = room.products;
    let (isa, is_shared) = (Isa::current(), products == Threads::All && parts.len() >= rayon::current_num_threads());
    let products = if is_shared { Threads::One } else { products };
    let on = |which| (which, c.on(Tape::without_gradients().with_products(products)));
    let parts: Vec<(Range<usize>, Forward)> = parts.into_iter().map(on).collect();
    let one = |(which, mut c)| compute_part(decoder, &mut c, x, documents, which, room);
    let found: Vec<Result<(KvCache, Tensor)>> = if is_shared {
        // Threads of the pool know nothing of an instruction set that was forced here.
        parts.into_par_iter().map(|part| isa.force(|| one(part))).collect()
    } else {
        parts.into_iter().map(one).collect()
    };
    let (caches, logits): (Vec<KvCache>, Vec<Tensor>) =
        found.into_iter().collect::<Result<Vec<_>>>()?.into_iter().unzip();
    Ok((caches, Tensor::stacked(&logits)))
}

/// Runs of neighbouring documents.
fn parts(starts: &[usize], device: Device) -> Vec<Range<usize>> {
    let count = starts.len() - 1;
    let (mut parts, mut first) = (Vec::new(), 0);
    for end in 1..=count {
        let is_full = device == Device::Host && starts[end] - starts[first] >= PART;
        if is_full || end == count {
            parts.push(first..end);
            first = end;
        }
    }
    parts
}

/// The same of some documents.
fn compute_part(
    decoder: &Decoder,
    c: &mut Forward,
    x: &Var,
    all: &Documents,
    which: Range<usize>,
    room: Room,
) -> Result<(KvCache, Tensor)> {
    let (config, batch) = (&decoder.config, which.len());
    let documents = all.some(which.clone());
    let lengths: Vec<usize> = documents.starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let capacity = if batch + 1 == all.starts.len() { room.capacity } else { longest };
    let shape = CacheShape { layers: config.layers, batch, capacity, heads_kv: config.heads_kv, width: config.width };
    let mut cache = KvCache::new(shape, x.tensor().device(), x.tensor().dtype());
    cache.advance_ragged(longest, &lengths)?;
    let flat = x.tensor().reshape(&[all.tokens(), config.hidden]);
    let own = flat.rows(all.starts[which.start], documents.tokens()).reshape(&[1, documents.tokens(), config.hidden]);
    let documents = documents.asking(&vec![1; batch]);
    let hidden = decoder.prefill(c, &Var::constant(own), &documents, room.active, &mut cache);
    let last = Var::constant(hidden.tensor().reshape(&[batch, config.hidden]));
    Ok((cache, decoder.logits(c, &last).tensor().clone()))
}
