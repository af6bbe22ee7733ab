//! Reverse-mode differentiation: a tape of closures that refuses to lose a gradient.
//!
//! Ops append a node (name, inputs, output, backward closure); recording order is a topological order, so
//! [`Tape::backward`] is one reverse loop. Every closure must hand a gradient to every tracked input of its
//! node, and every trainable leaf must have received one at the end: both are checked, by name.
//!
//! A tape can also *keep* the outputs of expensive ops during a first pass and replay them in a second one
//! ([`Tape::keeping`], [`Tape::replaying`]): that is how activation checkpointing avoids recomputing attention.

use crate::device::{Device, product::Panels, product::Threads, simd::slices};
use crate::error::{Error, Kind, Result};
use crate::kernels::{self, Launch};
use crate::tensor::{DType, Tensor};
use std::fmt;
use std::sync::Arc;

/// Identity of a tracked value on its tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VarId(u32);

/// A value in a computation: a tensor, and its identity on the tape when a gradient flows to it.
#[derive(Clone, Debug)]
pub struct Var {
    tensor: Tensor,
    id: Option<VarId>,
    /// The same value rounded to bf16, where somebody keeps it anyway.
    narrow: Option<Tensor>,
    /// The same value packed for products of the host, where somebody keeps it anyway.
    panels: Option<Arc<Panels>>,
    /// How to compute the value again, where that is cheaper than keeping it.
    again: Option<Again>,
}

/// Computes a value again.
#[derive(Clone)]
struct Again(Arc<dyn Fn() -> Tensor + Send + Sync>);

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Again")
    }
}

/// What an op keeps of an input for its backward pass ([`Var::saved`]).
#[derive(Clone, Debug)]
pub struct Saved(Result<Tensor, Again>);

impl Saved {
    /// The value: kept, or computed again.
    pub fn tensor(self) -> Tensor {
        match self.0 {
            Ok(tensor) => tensor,
            Err(Again(compute)) => compute(),
        }
    }
}

impl Var {
    /// A value no gradient flows to: input data, labels, masks.
    pub fn constant(tensor: Tensor) -> Var {
        Var { tensor, id: None, narrow: None, panels: None, again: None }
    }
    /// With the same weight packed for products x W^T of many rows on the host, which then need not pack it each time.
    pub fn with_panels(self, panels: Arc<Panels>) -> Var {
        Var { panels: Some(panels), ..self }
    }
    /// The same weight packed for products of the host.
    pub(crate) fn panels(&self) -> Option<&Panels> {
        self.panels.as_deref()
    }
    /// With the same value rounded to bf16, which products next to bf16 activations take instead of rounding it again.
    /// Panics when it is something else.
    #[track_caller]
    pub fn with_narrow(self, narrow: Tensor) -> Var {
        assert_eq!((narrow.dtype(), narrow.device()), (DType::Bf16, self.tensor.device()), "a copy in bf16");
        narrow.expect_shape("the copy in bf16", self.tensor.shape());
        Var { narrow: Some(narrow), ..self }
    }
    /// With a way to compute the value again: ops whose backward pass needs it then keep what `compute` holds in its place,
    /// such as the input of a norm or the two halves of a gated unit, which others keep anyway.
    pub fn with_recipe(self, compute: impl Fn() -> Tensor + Send + Sync + 'static) -> Var {
        Var { again: Some(Again(Arc::new(compute))), ..self }
    }
    /// What an op keeps of this value for its backward pass.
    pub fn saved(&self) -> Saved {
        Saved(self.again.clone().map_or(Ok(self.tensor.clone()), Err))
    }
    /// The value rounded to bf16, where somebody keeps it.
    pub fn narrow(&self) -> Option<&Tensor> {
        self.narrow.as_ref()
    }
    /// The value.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
    /// The numbers.
    pub fn data(&self) -> &[f32] {
        self.tensor.data()
    }
    /// The extents.
    pub fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }
    /// The identity on the tape; `None` for constants.
    pub fn id(&self) -> Option<VarId> {
        self.id
    }
}

type Backward = Box<dyn FnOnce(&Tensor, &mut Grads) + Send>;

struct Node {
    op: &'static str,
    inputs: Vec<VarId>,
    output: VarId,
    backward: Backward,
}

/// Outputs of expensive ops, kept by one pass for the next.
#[derive(Clone, Default)]
pub struct Kept(Vec<Tensor>);

enum Memory {
    Off,
    Keep(Kept),
    Replay(std::vec::IntoIter<Tensor>),
}

/// The record of a computation.
pub struct Tape {
    nodes: Vec<Node>,
    count: u32,
    recording: bool,
    memory: Memory,
    products: Threads,
}

impl Default for Tape {
    fn default() -> Self {
        Tape::new()
    }
}

impl Tape {
    /// A tape that records.
    pub fn new() -> Tape {
        Tape { nodes: Vec::new(), count: 0, recording: true, memory: Memory::Off, products: Threads::One }
    }
    /// A tape that computes values only: for inference, and for the first pass of a part that is computed again.
    pub fn without_gradients() -> Tape {
        Tape { recording: false, ..Tape::new() }
    }
    /// Like [`Tape::without_gradients`], keeping what [`Tape::keep`] is asked to keep.
    pub fn keeping() -> Tape {
        Tape { memory: Memory::Keep(Kept::default()), ..Tape::without_gradients() }
    }
    /// A recording tape that replays what a [`Tape::keeping`] pass over the same computation kept.
    pub fn replaying(kept: Kept) -> Tape {
        Tape { memory: Memory::Replay(kept.0.into_iter()), ..Tape::new() }
    }
    /// The same tape, with dense products, decoding attention and rows of logits of the host computed by `threads`:
    /// [`Threads::All`] where nothing runs in parallel above the ops, as when a language model decodes. The bytes are the
    /// same either way.
    pub fn with_products(self, threads: Threads) -> Tape {
        Tape { products: threads, ..self }
    }
    /// Who computes dense products.
    pub fn products(&self) -> Threads {
        self.products
    }
    /// What this pass kept.
    pub fn into_kept(self) -> Kept {
        match self.memory {
            Memory::Keep(kept) => kept,
            _ => Kept::default(),
        }
    }
    /// Computes `compute()`, or takes its result from the pass before (see the module text).
    #[track_caller]
    pub fn keep(&mut self, compute: impl FnOnce() -> Tensor) -> Tensor {
        match &mut self.memory {
            Memory::Off => compute(),
            Memory::Keep(kept) => {
                let tensor = compute();
                kept.0.push(tensor.clone());
                tensor
            }
            Memory::Replay(kept) => kept.next().expect("the replayed computation keeps more than the first pass did"),
        }
    }
    /// Whether ops on this tape are recorded for a backward pass.
    pub fn is_recording(&self) -> bool {
        self.recording
    }
    /// A leaf: a value whose gradient is wanted.
    pub fn leaf(&mut self, tensor: Tensor) -> Var {
        if !self.recording {
            return Var::constant(tensor);
        }
        let id = self.new_id();
        Var { tensor, id: Some(id), narrow: None, panels: None, again: None }
    }
    fn new_id(&mut self) -> VarId {
        self.count += 1;
        VarId(self.count - 1)
    }
    /// Records an op: `backward(dy, grads)` must add a gradient for every tracked input.
    pub fn record(
        &mut self,
        op: &'static str,
        inputs: &[&Var],
        output: Tensor,
        backward: impl FnOnce(&Tensor, &mut Grads) + Send + 'static,
    ) -> Var {
        let tracked: Vec<VarId> = inputs.iter().filter_map(|v| v.id).collect();
        if !self.recording || tracked.is_empty() {
            return Var::constant(output);
        }
        let id = self.new_id();
        self.nodes.push(Node { op, inputs: tracked, output: id, backward: Box::new(backward) });
        Var { tensor: output, id: Some(id), narrow: None, panels: None, again: None }
    }
    /// The output of an op that has no backward. Panics when a gradient would have to flow through it.
    #[track_caller]
    pub fn constant(&self, op: &'static str, inputs: &[&Var], output: Tensor) -> Var {
        assert!(
            !self.recording || inputs.iter().all(|v| v.id.is_none()),
            "{op} has no backward, but one of its inputs is tracked: a gradient would be lost"
        );
        Var::constant(output)
    }
    /// Gradients of `sum(output * seed)`. Consumes the tape; buffers are freed as the loop goes back.
    ///
    /// # Errors
    /// [`Kind::Internal`] when an op dropped the gradient of one of its inputs; what an op itself found wrong.
    pub fn backward(self, output: &Var, seed: Tensor) -> Result<Grads> {
        seed.expect_shape("seed of the backward pass", output.shape());
        let mut grads = Grads { slots: vec![None; self.count as usize], received: Vec::new(), failure: None };
        if let Some(id) = output.id {
            grads.slots[id.0 as usize] = Some(seed);
        }
        for node in self.nodes.into_iter().rev() {
            // A node whose output nobody used has no gradient to pass on.
            let Some(dy) = grads.slots[node.output.0 as usize].take() else { continue };
            grads.received.clear();
            (node.backward)(&dy, &mut grads);
            if let Some(error) = grads.failure.take() {
                return Err(error.context(node.op));
            }
            if let Some(position) = node.inputs.iter().position(|id| !grads.received.contains(id)) {
                return Err(Error::new(
                    Kind::Internal,
                    format!("op {} dropped the gradient of its tracked input {position}", node.op),
                ));
            }
        }
        Ok(grads)
    }
}

/// Gradients by [`VarId`].
pub struct Grads {
    slots: Vec<Option<Tensor>>,
    received: Vec<VarId>,
    failure: Option<Error>,
}

impl Grads {
    /// Adds to the gradient of a tracked value; for a constant (`None`) the tensor is dropped.
    #[track_caller]
    pub fn add(&mut self, id: Option<VarId>, gradient: Tensor) {
        let Some(id) = id else { return };
        self.received.push(id);
        match &mut self.slots[id.0 as usize] {
            Some(sum) => {
                assert_eq!(sum.shape(), gradient.shape(), "two gradients of one value differ in shape");
                accumulate(sum, &gradient);
            }
            empty => *empty = Some(gradient),
        }
    }
    /// Ends the backward pass with an error: for an op that differentiates a tape of its own.
    pub fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }
    /// The gradient of a value, if it received one.
    pub fn get(&self, var: &Var) -> Option<&Tensor> {
        self.slots[var.id?.0 as usize].as_ref()
    }
    /// The gradient of a leaf, moved out. Panics for a value that received none.
    #[track_caller]
    pub fn take(&mut self, var: &Var) -> Tensor {
        let id = var.id.expect("a constant has no gradient");
        self.slots[id.0 as usize].take().expect("the leaf received a gradient")
    }
    /// Checks that every named leaf received a gradient.
    ///
    /// # Errors
    /// [`Kind::Internal`] naming every leaf without one.
    pub fn expect_all<'a>(&self, leaves: impl IntoIterator<Item = (&'a str, &'a Var)>) -> Result<()> {
        let without: Vec<&str> =
            leaves.into_iter().filter(|(_, var)| self.get(var).is_none()).map(|(name, _)| name).collect();
        if without.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Internal, format!("no gradient reached: {}", without.join(", "))))
    }
}

/// sum += x, where they lie. Panics when their lengths, types or devices differ.
#[track_caller]
pub fn accumulate(sum: &mut Tensor, x: &Tensor) {
    if sum.device() == Device::Host {
        return slices::accumulate(sum.data_mut(), x.data());
    }
    sum.unshare();
    kernels::elementwise_accumulate(Launch::quads(x.len()), sum, x, x.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(tape: &mut Tape, x: &Var) -> Var {
        let mut y = x.tensor().clone();
        y.data_mut().iter_mut().for_each(|v| *v *= 2.0);
        let id = x.id();
        tape.record("double", &[x], y, move |dy, grads| {
            let mut dx = dy.clone();
            dx.data_mut().iter_mut().for_each(|v| *v *= 2.0);
            grads.add(id, dx);
        })
    }

    #[test]
    fn gradients_of_a_value_used_twice_add_up() {
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::scalar(3.0));
        let once = double(&mut tape, &x);
        let (a, b) = (once.id(), x.id());
        let mut sum = once.tensor().clone();
        sum.data_mut()[0] += x.data()[0];
        let y = tape.record("add", &[&once, &x], sum, move |dy, grads| {
            grads.add(a, dy.clone());
            grads.add(b, dy.clone());
        });
        let grads = tape.backward(&y, Tensor::scalar(1.0)).unwrap();
        assert_eq!(grads.get(&x).unwrap().item(), 3.0);
    }

    #[test]
    fn a_dropped_gradient_is_an_error_naming_the_op() {
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::scalar(3.0));
        let w = tape.leaf(Tensor::scalar(2.0));
        let xid = x.id();
        let y = tape.record("leaky", &[&x, &w], Tensor::scalar(6.0), move |dy, grads| grads.add(xid, dy.clone()));
        let error = tape.backward(&y, Tensor::scalar(1.0)).err().unwrap();
        assert!(error.message().contains("leaky dropped the gradient of its tracked input 1"), "{error}");
    }

    #[test]
    fn a_leaf_that_took_no_part_is_named() {
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::scalar(3.0));
        let unused = tape.leaf(Tensor::scalar(1.0));
        let y = double(&mut tape, &x);
        let grads = tape.backward(&y, Tensor::scalar(1.0)).unwrap();
        let error = grads.expect_all([("x", &x), ("unused.weight", &unused)]).unwrap_err();
        assert!(error.message().ends_with("no gradient reached: unused.weight"));
    }

    #[test]
    #[should_panic(expected = "a gradient would be lost")]
    fn an_op_without_backward_refuses_tracked_inputs() {
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::scalar(3.0));
        tape.constant("stft", &[&x], Tensor::scalar(0.0));
    }

    #[test]
    fn kept_results_are_replayed_in_order() {
        let mut first = Tape::keeping();
        first.keep(|| Tensor::scalar(1.0));
        first.keep(|| Tensor::scalar(2.0));
        let mut second = Tape::replaying(first.into_kept());
        assert_eq!(second.keep(|| unreachable!()).item(), 1.0);
        assert_eq!(second.keep(|| unreachable!()).item(), 2.0);
    }
}
