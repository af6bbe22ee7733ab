//! A key-value cache for generation: k, v [B,C,Hkv D] per layer, the first `lengths[b]` of C positions valid.
//!
//! A step reserves positions once ([`KvCache::advance`]), then every layer writes its keys and values there, in
//! place, and attends ([`KvCache::append`], [`KvCache::attend`]). Sequences may differ in length. The lengths lie on
//! the device, where a captured graph of a step finds them; the host counts along to refuse what does not fit.

use super::attention::{self, Mask, Plan, Shape};
use super::decode_attention::decode_attention;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
use std::ops::Range;

/// The extents of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Layers of the model.
    pub layers: usize,
    /// Sequences.
    pub batch: usize,
    /// Positions per sequence, at most.
    pub capacity: usize,
    /// Key and value heads.
    pub heads_kv: usize,
    /// Numbers per head.
    pub width: usize,
}

impl CacheShape {
    /// Bytes of the keys and values of all layers.
    pub fn bytes(&self, dtype: DType) -> usize {
        2 * self.layers * self.batch * self.capacity * self.heads_kv * self.width * dtype.bytes()
    }
}

/// Keys and values of all layers.
pub struct KvCache {
    shape: CacheShape,
    /// k and v of every layer, [B,C,Hkv D].
    layers: Vec<[Tensor; 2]>,
    /// Valid positions, I32 [B].
    lengths: Tensor,
    /// Where the positions reserved last begin, I32 [B].
    first: Tensor,
    /// What `lengths` says, on the host.
    filled: Vec<usize>,
    /// Rows of every sequence that the positions reserved last were reserved for.
    rows: usize,
}

impl KvCache {
    /// An empty cache. The host stores f32, devices f32 or bf16.
    #[track_caller]
    pub fn new(shape: CacheShape, device: Device, dtype: DType) -> KvCache {
        let CacheShape { layers, batch, capacity, heads_kv, width } = shape;
        assert!(
            dtype == DType::F32 || dtype == DType::Bf16 && device != Device::Host,
            "a cache of {dtype:?} on {device:?}"
        );
        let uninit = || Tensor::uninit_on(device, dtype, &[batch, capacity, heads_kv * width]);
        let zeros = || Tensor::zeros_on(device, DType::I32, &[batch]);
        KvCache {
            shape,
            layers: (0..layers).map(|_| [uninit(), uninit()]).collect(),
            lengths: zeros(),
            first: zeros(),
            filled: vec![0; batch],
            rows: 0,
        }
    }

    /// The extents.
    pub fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Valid positions of every sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.filled
    }

    /// Where the rows of the next [`append`](KvCache::append) stand, I32 [B]: what position embeddings turn by. Query
    /// i of sequence b has position `first[b] + i`.
    pub fn first(&self) -> &Tensor {
        &self.first
    }

    /// Reserves `rows` positions behind what every sequence has.
    ///
    /// # Errors
    /// A sequence that would outgrow the capacity; nothing is reserved then.
    pub fn advance(&mut self, rows: usize) -> Result<()> {
        self.reserve(rows, None)
    }

    /// Reserves `counts[b]` positions for sequence b, at most `rows`: prompts of different lengths padded at their
    /// ends to `rows`, or finished sequences beside others (0). Rows beyond a count are not stored, and what their
    /// queries get is of no use.
    ///
    /// # Errors
    /// A sequence that would outgrow the capacity; nothing is reserved then.
    #[track_caller]
    pub fn advance_ragged(&mut self, rows: usize, counts: &[usize]) -> Result<()> {
        assert_eq!(counts.len(), self.shape.batch, "a count for every sequence");
        assert!(counts.iter().all(|&n| n <= rows), "counts {counts:?} of {rows} rows");
        self.reserve(rows, Some(counts))
    }

    fn reserve(&mut self, rows: usize, counts: Option<&[usize]>) -> Result<()> {
        let CacheShape { capacity, batch, .. } = self.shape;
        let count = |b: usize| counts.map_or(rows, |counts| counts[b]);
        if let Some(b) = (0..batch).find(|&b| self.filled[b] + count(b) > capacity) {
            let (filled, more) = (self.filled[b], count(b));
            let message = format!(
                "the key-value cache is full: sequence {b} has {filled} of {capacity} positions and needs {more} more"
            );
            return Err(
                Error::usage(message).hint("shorten the prompt, ask for fewer new tokens, or make a larger cache")
            );
        }
        if self.lengths.device() == Device::Host {
            self.first = self.lengths.clone();
            let lengths = self.lengths.values_mut::<i32>();
            lengths.iter_mut().enumerate().for_each(|(b, length)| *length += count(b) as i32);
        } else {
            let device = self.lengths.device();
            let counts = counts.map(|counts| integers(counts).to(device));
            let launch = Launch::elements(batch, 128);
            kernels::kv_cache_advance(
                launch,
                &mut self.first,
                &mut self.lengths,
                counts.as_ref(),
                rows,
                capacity,
                batch,
            );
        }
        (0..batch).for_each(|b| self.filled[b] += count(b));
        self.rows = rows;
        Ok(())
    }

    /// Writes a layer's keys and values [B,rows,Hkv D] to the positions reserved last. Panics when they are tracked,
    /// when the shape or type differs, and when another tensor shares the layer's memory: it is written in place,
    /// never copied.
    #[track_caller]
    pub fn append(&mut self, tape: &Tape, layer: usize, k: &Var, v: &Var) {
        // Refuses tracked inputs: their gradient would end here.
        tape.constant("KvCache::append", &[k, v], k.tensor().clone());
        let CacheShape { batch, heads_kv, width, .. } = self.shape;
        for (name, x) in [("k", k), ("v", v)] {
            x.tensor().expect_shape(&format!("KvCache::append {name}"), &[batch, self.rows, heads_kv * width]);
        }
        let new = New { rows: self.rows, from: From::Neighbours { times: 1 } };
        store(&mut self.layers[layer], [k.tensor(), v.tensor()], [&self.first, &self.lengths], new);
    }

    /// Like [`KvCache::append`] for sequences whose new rows lie one after the other, [1,T,Hkv D]: those of sequence b begin
    /// at row `starts[b]`, I32 [B] on the device of the cache, and are as many as were reserved for it.
    #[track_caller]
    pub fn append_packed(&mut self, tape: &Tape, layer: usize, k: &Var, v: &Var, starts: &Tensor) {
        tape.constant("KvCache::append_packed", &[k, v], k.tensor().clone());
        let CacheShape { batch, heads_kv, width, .. } = self.shape;
        starts.expect_shape("KvCache::append_packed starts", &[batch]);
        for (name, x) in [("k", k), ("v", v)] {
            let rows = x.shape()[1];
            x.tensor().expect_shape(&format!("KvCache::append_packed {name}"), &[1, rows, heads_kv * width]);
        }
        let new = New { rows: self.rows, from: From::Starts(starts) };
        store(&mut self.layers[layer], [k.tensor(), v.tensor()], [&self.first, &self.lengths], new);
    }

    /// Attention of the rows reserved last, q [B,rows,Hq D], over everything valid up to each row's own position, those
    /// rows included. Panics when q is tracked: there is no backward.
    #[track_caller]
    pub fn attend(&self, tape: &Tape, layer: usize, q: &Var, heads_q: usize) -> Var {
        let heads_kv = self.shape.heads_kv;
        assert_eq!(q.shape().get(1), Some(&self.rows), "KvCache::attend: queries for the rows reserved last");
        let [k, v] = &self.layers[layer];
        if self.rows == 1 {
            let [k, v] = [k, v].map(|t| Var::constant(t.clone()));
            return decode_attention(tape, q, [&k, &v], (heads_q, heads_kv), &self.lengths);
        }
        let (mask, key_lengths) = (Mask::CausalFrom(&self.first), Some(&self.lengths));
        let plan = Plan::new("KvCache::attend", [q.tensor(), k, v], &Shape { heads_q, heads_kv, mask, key_lengths });
        let [out, _] = attention::forward(&plan, &[q.tensor(), k, v]);
        tape.constant("KvCache::attend", &[q], out)
    }

    /// Forgets all but the first `lengths[b]` positions of every sequence: another try from the same prompt.
    #[track_caller]
    pub fn truncate(&mut self, lengths: &[usize]) {
        let fits = lengths.len() == self.filled.len() && lengths.iter().zip(&self.filled).all(|(new, old)| new <= old);
        assert!(fits, "KvCache::truncate to {lengths:?} of {:?}", self.filled);
        self.filled = lengths.to_vec();
        self.lengths = integers(lengths).to(self.lengths.device());
        self.rows = 0;
    }

    /// A cache with every sequence `times` times side by side: one prompt, computed once, for a group of answers.
    pub fn expand(&self, times: usize) -> KvCache {
        let batch = self.shape.batch * times;
        KvCache::begun(&[self], times, 0..batch, self.shape.capacity)
    }

    /// A cache of its own for some sequences of those that begin as the sequences of `sources` do, one source after the other
    /// and each sequence `times` times side by side. Panics when the sources differ in more than their sequences and capacities;
    /// on devices it takes all sequences of one source.
    #[track_caller]
    pub fn begun(sources: &[&KvCache], times: usize, some: Range<usize>, capacity: usize) -> KvCache {
        let one = sources[0];
        let device = one.lengths.device();
        let dtype = one.layers.first().map_or(DType::F32, |layer| layer[0].dtype());
        let mut new = KvCache::new(CacheShape { batch: some.len(), capacity, ..one.shape }, device, dtype);
        let alike = |shape: CacheShape| CacheShape { batch: 0, capacity: 0, ..shape };
        assert!(
            sources.iter().all(|s| alike(s.shape) == alike(one.shape)),
            "KvCache::begun: sources of different models"
        );
        let origins = sources.iter().flat_map(|source| (0..source.shape.batch).map(move |b| (*source, b)));
        let origins: Vec<(&KvCache, usize)> = origins.flat_map(|origin| std::iter::repeat_n(origin, times)).collect();
        let origins = &origins[some.clone()];
        new.filled = origins.iter().map(|(source, b)| source.filled[*b]).collect();
        assert!(new.filled.iter().all(|&n| n <= capacity), "KvCache::begun: {:?} of {capacity} positions", new.filled);
        new.lengths = integers(&new.filled).to(device);
        if device != Device::Host {
            let is_whole = sources.len() == 1 && some == (0..one.shape.batch * times);
            assert!(is_whole, "KvCache::begun on {device:?} with {some:?} of {} sources", sources.len());
            for (to, [k, v]) in new.layers.iter_mut().zip(&one.layers) {
                let rows = New { rows: k.shape()[1], from: From::Neighbours { times } };
                store(to, [k, v], [&new.first, &new.lengths], rows);
            }
            return new;
        }
        let wide = new.shape.heads_kv * new.shape.width;
        for (layer, to) in new.layers.iter_mut().enumerate() {
            for (which, to) in to.iter_mut().enumerate() {
                let rows = to.data_mut().chunks_exact_mut((capacity * wide).max(1));
                for (to, (source, b)) in rows.zip(origins) {
                    let from = &source.layers[layer][which].data()[b * source.shape.capacity * wide..];
                    let numbers = source.filled[*b] * wide;
                    to[..numbers].copy_from_slice(&from[..numbers]);
                }
            }
        }
        new
    }
}

fn integers(numbers: &[usize]) -> Tensor {
    let numbers: Vec<i32> = numbers.iter().map(|&n| i32::try_from(n).expect("positions fit an i32")).collect();
    Tensor::from_slice(&[numbers.len()], &numbers)
}

/// New rows of all sequences.
struct New<'a> {
    /// Rows of a sequence, at most.
    rows: usize,
    from: From<'a>,
}

/// Where the new rows of a sequence lie.
enum From<'a> {
    /// [B / times,rows,W]: each block serves `times` neighbours.
    Neighbours { times: usize },
    /// [1,T,W]: from a row of its own on.
    Starts(&'a Tensor),
}

/// Writes new rows to positions `first[b]` to `lengths[b]` of k and v [B,C,W].
#[track_caller]
fn store(layer: &mut [Tensor; 2], new: [&Tensor; 2], [first, lengths]: [&Tensor; 2], New { rows, from }: New) {
    let shared = layer.iter().any(|tensor| !tensor.is_unshared());
    assert!(!shared, "KvCache: a layer is held elsewhere, it cannot be written in place");
    let [batch, capacity, wide] = layer[0].dims("KvCache");
    let (times, starts) = match from {
        From::Neighbours { times } => (times, None),
        From::Starts(starts) => (1, Some(starts)),
    };
    if layer[0].device() != Device::Host {
        let [k, v] = layer;
        let launch = Launch::new([(rows * wide.div_ceil(4)).div_ceil(256), batch, 1], 256);
        kernels::kv_cache_store(launch, k, v, new[0], new[1], first, lengths, capacity, rows, wide, times, starts);
        return;
    }
    let (first, lengths) = (first.values::<i32>(), lengths.values::<i32>());
    for (to, from) in layer.iter_mut().zip(new) {
        let to = to.data_mut();
        for b in 0..batch {
            let (begin, count) = (first[b] as usize, (lengths[b] - first[b]) as usize);
            let row = starts.map_or(b / times * rows, |starts| starts.values::<i32>()[b] as usize);
            let from = &from.data()[row * wide..][..count * wide];
            to[(b * capacity + begin) * wide..][..count * wide].copy_from_slice(from);
        }
    }
}
