//! Parallel, checkpointed parts of a computation.
//!
//! A segment applies a function to chunks of a map x [B, F, T, C]: rows of one frequency ([`Along::Time`]: the
//! sequences lie along time) or a few frames ([`Along::Frequency`]: the sequences lie along frequency). Chunks run in
//! parallel, each on one thread with a working set that fits its cache. Only the segment's input is kept, and what
//! the ops inside asked to keep; the backward pass runs every chunk again and differentiates it at once.
//!
//! Parameter gradients are summed over a fixed number of partitions of consecutive chunks, then over the partitions
//! in order: the same bytes for any number of threads.

use super::{Context, ParamId};
use crate::tape::{Kept, Tape, Var};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

/// The direction of the sequences that a segment hands to its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Chunks [n, T, C]: n frequencies, each a sequence of frames.
    Time,
    /// Chunks [n, F, C]: n frames, each a sequence of frequencies.
    Frequency,
}

/// What runs on a chunk: [n, L, C] -> [n, L, C'].
pub type Chunk = Arc<dyn Fn(&mut Context, &Var) -> Var + Send + Sync>;

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
/// `per_chunk` how many sequences one chunk holds.
#[track_caller]
pub fn segment(c: &mut Context, x: &Var, along: Along, per_chunk: usize, ids: &[ParamId], f: Chunk) -> Var {
    let [b, bins, frames, width] = x.tensor().dims("segment x");
    let layout = Layout { along, extents: [b, bins, frames], per_chunk };
    let values: Arc<Vec<(ParamId, Tensor)>> =
        Arc::new(ids.iter().map(|&id| (id, c.param(id).tensor().clone())).collect());
    let recording = c.tape.is_recording();
    let shared = Shared { f, values, slots: c.vars.len(), layout };
    let first = shared.forward_chunk(x.tensor(), 0, recording);
    let width_out = *first.0.shape().last().expect("chunks have three axes");
    let mut y = Tensor::uninit(&[b, bins, frames, width_out]);
    let target = Target::new(&mut y);
    layout.scatter(first.0.data(), width_out, 0, &target);
    let rest: Vec<Kept> = (1..layout.count())
        .into_par_iter()
        .map(|index| {
            let (out, kept) = shared.forward_chunk(x.tensor(), index, recording);
            layout.scatter(out.data(), width_out, index, &target);
            kept
        })
        .collect();
    let kept: Vec<Kept> = std::iter::once(first.1).chain(rest).collect();
    let params: Vec<Var> = ids.iter().map(|&id| c.param(id)).collect();
    let inputs: Vec<&Var> = std::iter::once(x).chain(&params).collect();
    let (xv, param_ids) = (x.clone(), params.iter().map(Var::id).collect::<Vec<_>>());
    c.tape.record("segment", &inputs, y, move |dy, grads| {
        let mut dx = Tensor::uninit(xv.shape());
        let target = Target::new(&mut dx);
        let sums = shared.backward(xv.tensor(), dy, kept, (&target, width));
        grads.add(xv.id(), dx);
        for (id, sum) in param_ids.iter().zip(sums) {
            grads.add(*id, sum);
        }
    })
}

struct Shared {
    f: Chunk,
    values: Arc<Vec<(ParamId, Tensor)>>,
    slots: usize,
    layout: Layout,
}

impl Shared {
    fn context(&self, mut tape: Tape) -> Context {
        let mut vars = vec![None; self.slots];
        for (id, tensor) in self.values.iter() {
            vars[id.0] = Some(tape.leaf(tensor.clone()));
        }
        Context { tape, vars }
    }

    fn forward_chunk(&self, x: &Tensor, index: usize, recording: bool) -> (Tensor, Kept) {
        let tape = if recording { Tape::keeping() } else { Tape::without_gradients() };
        let mut c = self.context(tape);
        let y = (self.f)(&mut c, &Var::constant(self.layout.gather(x, index)));
        (y.tensor().clone(), c.tape.into_kept())
    }

    /// Runs every chunk again and differentiates it; returns the sum of each parameter's gradients.
    fn backward(&self, x: &Tensor, dy: &Tensor, kept: Vec<Kept>, (dx, width): (&Target, usize)) -> Vec<Tensor> {
        let count = self.layout.count();
        let partitions = PARTITIONS.min(count);
        let bounds = |p: usize| p * count / partitions;
        let kept: Vec<std::sync::Mutex<Kept>> = kept.into_iter().map(std::sync::Mutex::new).collect();
        let partial: Vec<Vec<Tensor>> = (0..partitions)
            .into_par_iter()
            .map(|p| {
                let mut sums: Option<Vec<Tensor>> = None;
                for (index, slot) in kept.iter().enumerate().take(bounds(p + 1)).skip(bounds(p)) {
                    let kept = std::mem::take(&mut *slot.lock().expect("no chunk panicked"));
                    let gradients = self.backward_chunk(x, dy, index, kept, (dx, width));
                    match &mut sums {
                        None => sums = Some(gradients),
                        Some(sums) => sums.iter_mut().zip(&gradients).for_each(|(s, g)| add(s, g)),
                    }
                }
                sums.expect("a partition has at least one chunk")
            })
            .collect();
        let mut partial = partial.into_iter();
        let mut total = partial.next().expect("there is at least one partition");
        partial.for_each(|part| total.iter_mut().zip(&part).for_each(|(s, g)| add(s, g)));
        total
    }

    fn backward_chunk(&self, x: &Tensor, dy: &Tensor, index: usize, kept: Kept, dx: (&Target, usize)) -> Vec<Tensor> {
        let mut c = self.context(Tape::replaying(kept));
        let leaf = c.tape.leaf(self.layout.gather(x, index));
        let y = (self.f)(&mut c, &leaf);
        let seed = self.layout.gather(dy, index);
        let vars: Vec<Var> = self.values.iter().map(|(id, _)| c.param(*id)).collect();
        let mut grads = c.tape.backward(&y, seed).unwrap_or_else(|e| panic!("segment: {e}"));
        self.layout.scatter(grads.take(&leaf).data(), dx.1, index, dx.0);
        vars.iter().map(|var| grads.take(var)).collect()
    }
}

fn add(sum: &mut Tensor, gradient: &Tensor) {
    sum.data_mut().iter_mut().zip(gradient.data()).for_each(|(s, g)| *s += g);
}
