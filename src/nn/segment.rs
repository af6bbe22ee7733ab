//! Parallel, checkpointed parts of a computation.
//!
//! A segment applies a function to chunks of a map x [B, F, T, C]: rows of one frequency ([`Along::Time`]: the
//! sequences lie along time) or a few frames ([`Along::Frequency`]: the sequences lie along frequency). Chunks run in
//! parallel, each on one thread with a working set that fits its cache. Only the segment's input is kept, and what
//! the ops inside asked to keep; the backward pass runs every chunk again and differentiates it at once.
//!
//! Parameter gradients are summed over a fixed number of partitions of consecutive chunks, then over the partitions
//! in order: the same bytes for any number of threads. On a device, which the whole map fills, there is one chunk.

mod device;

use super::{Context, ParamId};
use crate::device::Device;
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
    if x.tensor().device() != Device::Host {
        return device::segment(c, x, along, ids, f);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::layers::{Conv1d, Linear, Norm};
    use crate::nn::{Builder, Params};
    use crate::ops::{arrange, attention, elementwise};
    use crate::rng::Rng;

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
        fn forward(&self, c: &mut Context, x: &Var) -> Var {
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

    fn run(apply: impl FnOnce(&mut Context, &Var) -> Var, params: &Params, x: &Tensor, dy: &Tensor) -> Results {
        let mut c = Context::new(Tape::new(), params);
        let x = c.tape.leaf(x.clone());
        let y = apply(&mut c, &x);
        let Context { tape, vars } = c;
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
    fn a_segment_is_the_function_itself_in_both_directions() {
        let (b, f, t, h) = (2, 5, 7, 4);
        let (chain, params) = Chain::new(h);
        let (x, dy) = (random(&[b, f, t, h], "x"), random(&[b, f, t, h], "dy"));
        for (along, per_chunk) in [(Along::Time, 1), (Along::Time, 3), (Along::Frequency, 2), (Along::Frequency, 9)] {
            let (inner, ids) = (chain.clone(), chain.ids());
            let chunk: Chunk = Arc::new(move |c, x| inner.forward(c, x));
            let segmented = run(|c, x| segment(c, x, along, per_chunk, &ids, chunk), &params, &x, &dy);
            let whole = |c: &mut Context, x: &Var| {
                if along == Along::Time {
                    let rows = arrange::reshape(&mut c.tape, x, &[b * f, t, h]);
                    let y = chain.forward(c, &rows);
                    return arrange::reshape(&mut c.tape, &y, &[b, f, t, h]);
                }
                let swapped = arrange::swap_axes(&mut c.tape, x);
                let rows = arrange::reshape(&mut c.tape, &swapped, &[b * t, f, h]);
                let y = chain.forward(c, &rows);
                let y = arrange::reshape(&mut c.tape, &y, &[b, t, f, h]);
                arrange::swap_axes(&mut c.tape, &y)
            };
            let plain = run(whole, &params, &x, &dy);
            let what = format!("{along:?} {per_chunk}");
            assert_close(segmented.0.data(), plain.0.data(), &format!("{what} output"));
            assert_close(segmented.1.data(), plain.1.data(), &format!("{what} dx"));
            assert_close(&segmented.2, &plain.2, &format!("{what} parameters"));
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        let (chain, params) = Chain::new(4);
        let (x, dy) = (random(&[1, 33, 9, 4], "x"), random(&[1, 33, 9, 4], "dy"));
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (inner, ids) = (chain.clone(), chain.ids());
            let chunk: Chunk = Arc::new(move |c, x| inner.forward(c, x));
            pool.install(|| run(|c, x| segment(c, x, Along::Time, 1, &ids, chunk), &params, &x, &dy))
        };
        let (one, three) = (on(1), on(3));
        assert_eq!(one.0.data(), three.0.data());
        assert_eq!(one.1.data(), three.1.data());
        assert_eq!(one.2, three.2);
    }

    #[test]
    #[should_panic(expected = "is not bound in this segment")]
    fn a_parameter_that_was_not_declared_is_refused() {
        let (chain, params) = Chain::new(4);
        let (inner, ids) = (chain.clone(), chain.norm.ids());
        let mut c = Context::new(Tape::new(), &params);
        let x = Var::constant(random(&[1, 3, 5, 4], "x"));
        segment(&mut c, &x, Along::Time, 1, &ids, Arc::new(move |c, x| inner.forward(c, x)));
    }
}
