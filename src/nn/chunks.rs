//! Maps in chunks: parallel parts of a computation whose working sets fit a core's cache.
//!
//! A function is applied to chunks of a map x [B, F, T, C]: rows of one frequency ([`Along::Time`]: the sequences lie
//! along time) or a few frames ([`Along::Frequency`]: the sequences lie along frequency). Chunks run in parallel, each on
//! one thread. With [`Memory::Recompute`] only the map is kept, and what the ops inside asked to keep; the backward pass
//! runs every chunk again and differentiates it at once ([`super::recompute`]).
//!
//! Parameter gradients are summed over a fixed number of partitions of consecutive chunks, then over the partitions
//! in order: the same bytes for any number of threads. On a device, which the whole map fills, there is one chunk.

mod device;

pub use device::at_once;

use super::recompute::{Memory, Part, Recorded};
use super::{Forward, ParamId};
use crate::device::Device;
use crate::error::Result;
use crate::tape::{Kept, Tape, Var, VarId};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// The direction of the sequences that a function is handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Chunks [n, T, C]: n frequencies, each a sequence of frames.
    Time,
    /// Chunks [n, F, C]: n frames, each a sequence of frequencies.
    Frequency,
}

/// What runs on a chunk: [n, L, C] -> [n, L, C'].
pub type Chunk = Arc<dyn Fn(&mut Forward, &Var) -> Var + Send + Sync>;

const PARTITIONS: usize = 16;

/// Chunks of a [B, F, T, C] map along one direction.
#[derive(Clone, Copy)]
struct Layout {
    along: Along,
    extents: [usize; 3],
    per_chunk: usize,
}

impl Layout {
    /// How many sequences there are within one clip, and their length.
    fn sequences(&self) -> (usize, usize) {
        let [_, f, t] = self.extents;
        match self.along {
            Along::Time => (f, t),
            Along::Frequency => (t, f),
        }
    }
    fn chunks_per_clip(&self) -> usize {
        self.sequences().0.div_ceil(self.per_chunk)
    }
    fn count(&self) -> usize {
        self.extents[0] * self.chunks_per_clip()
    }
    /// Clip, first sequence and number of sequences of a chunk.
    fn chunk(&self, index: usize) -> (usize, usize, usize) {
        let (clip, part) = (index / self.chunks_per_clip(), index % self.chunks_per_clip());
        let first = part * self.per_chunk;
        (clip, first, self.per_chunk.min(self.sequences().0 - first))
    }
    /// First float of row `position` of sequence `sequence`.
    fn at(&self, clip: usize, sequence: usize, position: usize, c: usize) -> usize {
        let [_, f, t] = self.extents;
        let (bin, frame) = match self.along {
            Along::Time => (sequence, position),
            Along::Frequency => (position, sequence),
        };
        ((clip * f + bin) * t + frame) * c
    }
    /// The chunk as a tensor [n, L, C]: a view along time, a copy along frequency.
    fn gather(&self, x: &Tensor, index: usize) -> Tensor {
        let ((clip, first, n), (_, length)) = (self.chunk(index), self.sequences());
        let [_, f, t] = self.extents;
        let c = x.shape()[3];
        if self.along == Along::Time {
            return x.reshape(&[self.extents[0] * f, t, c]).rows(clip * f + first, n);
        }
        let mut out = Tensor::uninit(&[n, length, c]);
        for (row, out) in out.data_mut().chunks_exact_mut(c).enumerate() {
            let at = self.at(clip, first + row / length, row % length, c);
            out.copy_from_slice(&x.data()[at..at + c]);
        }
        out
    }
    /// Writes a chunk back to its place.
    fn scatter(&self, chunk: &[f32], c: usize, index: usize, out: &Target) {
        let ((clip, first, _), (_, length)) = (self.chunk(index), self.sequences());
        for (row, values) in chunk.chunks_exact(c).enumerate() {
            out.write(self.at(clip, first + row / length, row % length, c), values);
        }
    }
}

/// A tensor that several threads fill at disjoint places.
struct Target {
    pointer: *mut f32,
    len: usize,
}

// SAFETY: chunks of one layout never overlap, and each is written by one thread.
unsafe impl Sync for Target {}

impl Target {
    fn new(tensor: &mut Tensor) -> Target {
        let data = tensor.data_mut();
        Target { pointer: data.as_mut_ptr(), len: data.len() }
    }
    fn write(&self, at: usize, values: &[f32]) {
        assert!(at + values.len() <= self.len);
        // SAFETY: in bounds by the assert; disjoint from every other write (see the Sync impl).
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.pointer.add(at), values.len()) };
    }
}

/// Applies `f` to the chunks of x [B, F, T, C] and returns [B, F, T, C']. `ids` are the parameters that `f` uses,
/// `per_chunk` how many sequences one chunk holds. What is kept for the backward pass is the caller's choice.
#[track_caller]
pub fn chunks(
    c: &mut Forward,
    memory: Memory,
    x: &Var,
    (along, per_chunk): (Along, usize),
    ids: &[ParamId],
    f: Chunk,
) -> Var {
    if x.tensor().device() != Device::Host {
        return device::chunks(c, memory, x, along, ids, f);
    }
    let [b, bins, frames, width] = x.tensor().dims("chunks of x");
    let layout = Layout { along, extents: [b, bins, frames], per_chunk };
    let is_recording = c.tape.is_recording();
    let keeps_all = is_recording && memory == Memory::Keep;
    let map = Map { part: Part::new(c, memory, ids, Arc::new(move |c, x| f(c, &x[0]))), layout, x: x.clone() };
    let run = |index: usize| if keeps_all { map.record(index) } else { map.first(index, is_recording) };
    let first = run(0);
    let width_out = *first.0.shape().last().expect("chunks have three axes");
    let mut y = Tensor::uninit(&[b, bins, frames, width_out]);
    let target = Target::new(&mut y);
    layout.scatter(first.0.data(), width_out, 0, &target);
    let rest: Vec<Held> = (1..layout.count())
        .into_par_iter()
        .map(|index| {
            let (out, held) = run(index);
            layout.scatter(out.data(), width_out, index, &target);
            held
        })
        .collect();
    let held: Vec<Held> = std::iter::once(first.1).chain(rest).collect();
    let all: Vec<Var> = std::iter::once(x).chain(&map.part.params).cloned().collect();
    let ids: Vec<Option<VarId>> = all.iter().map(Var::id).collect();
    c.tape.record("chunks", &all.iter().collect::<Vec<&Var>>(), y, move |dy, grads| {
        let mut dx = map.x.id().map(|_| Tensor::uninit(map.x.shape()));
        let target = dx.as_mut().map(Target::new);
        match map.backward(dy, held, (target.as_ref(), width)) {
            Ok(sums) => {
                dx.into_iter().for_each(|dx| grads.add(map.x.id(), dx));
                ids[1..].iter().zip(sums).filter_map(|(id, s)| Some((*id, s?))).for_each(|(id, s)| grads.add(id, s));
            }
            Err(error) => grads.fail(error),
        }
    })
}

/// What one chunk holds between the passes.
enum Held {
    /// What its ops asked to keep.
    Kept(Kept),
    /// Its whole record.
    Recorded(Box<Recorded>),
}

/// Sums of the gradients of each parameter; `None` for those that are not tracked.
type Sums = Vec<Option<Tensor>>;

struct Map {
    part: Part,
    layout: Layout,
    x: Var,
}

impl Map {
    fn first(&self, index: usize, is_recording: bool) -> (Tensor, Held) {
        let (y, kept) = self.part.first(&[self.layout.gather(self.x.tensor(), index)], is_recording);
        (y, Held::Kept(kept))
    }

    fn record(&self, index: usize) -> (Tensor, Held) {
        let chunk = self.layout.gather(self.x.tensor(), index);
        let recorded = self.part.record(&[chunk], &[self.x.id().is_some()], Tape::new());
        (recorded.output().clone(), Held::Recorded(Box::new(recorded)))
    }

    /// Differentiates every chunk; returns the sum of each parameter's gradients.
    fn backward(&self, dy: &Tensor, held: Vec<Held>, dx: (Option<&Target>, usize)) -> Result<Sums> {
        let count = self.layout.count();
        let partitions = PARTITIONS.min(count);
        let bounds = |p: usize| p * count / partitions;
        let held: Vec<Mutex<Option<Held>>> = held.into_iter().map(|held| Mutex::new(Some(held))).collect();
        let partial: Vec<Result<Sums>> = (0..partitions)
            .into_par_iter()
            .map(|p| {
                let mut sums: Option<Sums> = None;
                for index in bounds(p)..bounds(p + 1) {
                    let held = held[index].lock().expect("no chunk panicked").take().expect("taken once");
                    let gradients = self.backward_chunk(dy, index, held, dx)?;
                    match &mut sums {
                        None => sums = Some(gradients),
                        Some(sums) => add(sums, &gradients),
                    }
                }
                Ok(sums.expect("a partition has at least one chunk"))
            })
            .collect();
        let mut partial = partial.into_iter();
        let mut total = partial.next().expect("there is at least one partition")?;
        for part in partial {
            add(&mut total, &part?);
        }
        Ok(total)
    }

    fn backward_chunk(&self, dy: &Tensor, index: usize, held: Held, dx: (Option<&Target>, usize)) -> Result<Sums> {
        let seed = self.layout.gather(dy, index);
        let mut found = match held {
            Held::Recorded(recorded) => recorded.backward(self.part.ids(), seed)?,
            Held::Kept(kept) => {
                let chunk = self.layout.gather(self.x.tensor(), index);
                self.part.again(&[chunk], &[self.x.id().is_some()], kept, seed)?
            }
        };
        if let (Some(target), Some(gradient)) = (dx.0, found.inputs.pop().flatten()) {
            self.layout.scatter(gradient.data(), dx.1, index, target);
        }
        Ok(found.params)
    }
}

fn add(sums: &mut Sums, gradients: &Sums) {
    for (sum, gradient) in sums.iter_mut().zip(gradients) {
        if let (Some(sum), Some(gradient)) = (sum, gradient) {
            sum.data_mut().iter_mut().zip(gradient.data()).for_each(|(s, g)| *s += g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::layers::{Conv1d, Linear, Norm};
    use crate::nn::{Builder, Params};
    use crate::ops::{attention, elementwise};
    use crate::rng::Rng;

    const MEMORIES: [Memory; 2] = [Memory::Recompute, Memory::Keep];

    /// A chain with everything a block has: norm, attention (kept), convolution, residuals.
    #[derive(Clone)]
    struct Chain {
        norm: Norm,
        qkv: Linear,
        conv: Conv1d,
    }

    impl Chain {
        fn new(h: usize) -> (Chain, Params) {
            let mut b = Builder::new();
            let norm = Norm::layer(&mut b, "norm", h);
            let qkv = Linear::new(&mut b, "qkv", h, 3 * h);
            let conv = Conv1d::new(&mut b, "conv", h, h, 3, 2);
            (Chain { norm, qkv, conv }, b.finish(5))
        }
        fn ids(&self) -> Vec<ParamId> {
            [self.norm.ids(), self.qkv.ids(), self.conv.ids()].concat()
        }
        fn forward(&self, c: &mut Forward, x: &Var) -> Var {
            let y = self.norm.forward(c, x);
            let qkv = self.qkv.forward(c, &y);
            let y = attention::self_attention(&mut c.tape, &qkv, 2);
            let x = elementwise::add(&mut c.tape, x, &y);
            let y = self.conv.forward(c, &x);
            elementwise::add(&mut c.tape, &x, &y)
        }
    }

    fn random(shape: &[usize], purpose: &str) -> Tensor {
        let mut rng = Rng::new(1, purpose, 0);
        let n = shape.iter().product();
        Tensor::from_slice(shape, &(0..n).map(|_| rng.normal() as f32).collect::<Vec<f32>>())
    }

    /// Output, gradient of x, gradients of the parameters.
    type Results = (Tensor, Tensor, Vec<f32>);

    fn run(apply: impl FnOnce(&mut Forward, &Var) -> Var, params: &Params, x: &Tensor, dy: &Tensor) -> Results {
        let mut c = Forward::new(Tape::new(), params);
        let x = c.tape.leaf(x.clone());
        let y = apply(&mut c, &x);
        let Forward { tape, vars, .. } = c;
        let mut grads = tape.backward(&y, dy.clone()).unwrap();
        let flat = vars.iter().flatten().flat_map(|v| grads.take(v).data().to_vec()).collect();
        (y.tensor().clone(), grads.take(&x), flat)
    }

    fn assert_close(a: &[f32], b: &[f32], what: &str) {
        let wide = |v: &[f32]| v.iter().map(|&v| v as f64).collect::<Vec<f64>>();
        let error = crate::check::relative_l2(&wide(a), &wide(b));
        assert!(error < 1e-5, "{what}: {error:e}");
    }

    #[test]
    fn chunks_are_the_function_itself_in_both_directions_and_both_memories() {
        let (b, f, t, h) = (2, 5, 7, 4);
        let (chain, params) = Chain::new(h);
        let (x, dy) = (random(&[b, f, t, h], "x"), random(&[b, f, t, h], "dy"));
        let cuts = [(Along::Time, 1), (Along::Time, 3), (Along::Frequency, 2), (Along::Frequency, 9)];
        for ((along, per_chunk), memory) in cuts.into_iter().flat_map(|cut| MEMORIES.map(|memory| (cut, memory))) {
            let (inner, ids) = (chain.clone(), chain.ids());
            let chunk: Chunk = Arc::new(move |c, x| inner.forward(c, x));
            let in_chunks = run(|c, x| chunks(c, memory, x, (along, per_chunk), &ids, chunk), &params, &x, &dy);
            let whole = |c: &mut Forward, x: &Var| at_once(c, x, along, |c, x| chain.forward(c, x));
            let plain = run(whole, &params, &x, &dy);
            let what = format!("{along:?} {per_chunk} {memory:?}");
            assert_close(in_chunks.0.data(), plain.0.data(), &format!("{what} output"));
            assert_close(in_chunks.1.data(), plain.1.data(), &format!("{what} dx"));
            assert_close(&in_chunks.2, &plain.2, &format!("{what} parameters"));
        }
    }

    #[test]
    fn what_is_kept_does_not_change_a_byte() {
        let (chain, params) = Chain::new(4);
        let (x, dy) = (random(&[2, 7, 9, 4], "x"), random(&[2, 7, 9, 4], "dy"));
        let [again, kept] = MEMORIES.map(|memory| {
            let (inner, ids) = (chain.clone(), chain.ids());
            let chunk: Chunk = Arc::new(move |c, x| inner.forward(c, x));
            run(|c, x| chunks(c, memory, x, (Along::Frequency, 2), &ids, chunk), &params, &x, &dy)
        });
        assert_eq!((again.0.data(), again.1.data(), again.2), (kept.0.data(), kept.1.data(), kept.2));
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        let (chain, params) = Chain::new(4);
        let (x, dy) = (random(&[1, 33, 9, 4], "x"), random(&[1, 33, 9, 4], "dy"));
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (inner, ids) = (chain.clone(), chain.ids());
            let chunk: Chunk = Arc::new(move |c, x| inner.forward(c, x));
            pool.install(|| {
                run(|c, x| chunks(c, Memory::Recompute, x, (Along::Time, 1), &ids, chunk), &params, &x, &dy)
            })
        };
        let (one, three) = (on(1), on(3));
        assert_eq!(one.0.data(), three.0.data());
        assert_eq!(one.1.data(), three.1.data());
        assert_eq!(one.2, three.2);
    }

    #[test]
    #[should_panic(expected = "is not bound in this part")]
    fn a_parameter_that_was_not_declared_is_refused() {
        let (chain, params) = Chain::new(4);
        let (inner, ids) = (chain.clone(), chain.norm.ids());
        let mut c = Forward::new(Tape::new(), &params);
        let x = Var::constant(random(&[1, 3, 5, 4], "x"));
        chunks(&mut c, Memory::Recompute, &x, (Along::Time, 1), &ids, Arc::new(move |c, x| inner.forward(c, x)));
    }
}
