//! Parts of a computation that are computed again for their backward pass, so that little of them is kept.
//!
//! [`recompute`] runs any function of any inputs as one op: its inputs are kept, and what the ops inside asked to keep
//! ([`Tape::keep`]); the backward pass runs it again and differentiates it at once. No gradient is computed for inputs and
//! parameters that are not tracked outside.

use super::{Forward, ParamId, ParamInfo};
use crate::device::product::Threads;
use crate::error::Result;
use crate::ops::packed::Packed;
use crate::tape::{Kept, Tape, Var, VarId};
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the parts of a computation keep for the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// Their inputs and what the ops inside asked to keep: the least memory, and about a third more work.
    #[default]
    Recompute,
    /// Everything: no second forward pass, and the memory of every intermediate result.
    Keep,
    /// Their inputs alone: what ops ask to keep is computed again too.
    Least,
}

/// What a part computes from its inputs.
pub type Function = Arc<dyn Fn(&mut Forward, &[Var]) -> Var + Send + Sync>;

/// `f(inputs)` with the parameters `ids`, the only ones it may use. With [`Memory::Recompute`] it is computed again in the
/// backward pass; with [`Memory::Keep`] its ops are recorded as if they stood here.
#[track_caller]
pub fn recompute(c: &mut Forward, memory: Memory, inputs: &[&Var], ids: &[ParamId], f: Function) -> Var {
    let inputs: Vec<Var> = inputs.iter().map(|&x| x.clone()).collect();
    if memory == Memory::Keep {
        return f(c, &inputs);
    }
    let part = Part { products: c.tape.products(), ..Part::new(c, memory, ids, f) };
    let tensors: Vec<Tensor> = inputs.iter().map(|x| x.tensor().clone()).collect();
    let (y, kept) = part.first(&tensors, c.tape.is_recording());
    let all: Vec<Var> = inputs.iter().chain(&part.params).cloned().collect();
    let ids: Vec<Option<VarId>> = all.iter().map(Var::id).collect();
    c.tape.record("recompute", &all.iter().collect::<Vec<&Var>>(), y, move |dy, grads| {
        let tracked: Vec<bool> = inputs.iter().map(|x| x.id().is_some()).collect();
        match part.again(&tensors, &tracked, kept, dy.clone()) {
            Ok(found) => {
                let gradients = found.inputs.into_iter().chain(found.params);
                ids.iter().zip(gradients).filter_map(|(id, g)| Some((*id, g?))).for_each(|(id, g)| grads.add(id, g));
            }
            Err(error) => grads.fail(error),
        }
    })
}

/// A function with the values of its parameters: it runs on tapes of its own, on any thread.
pub(super) struct Part {
    f: Function,
    ids: Vec<ParamId>,
    /// Values of the parameters, with their identities outside.
    pub(super) params: Vec<Var>,
    packed: Arc<BTreeMap<ParamId, Arc<Packed>>>,
    infos: Arc<[ParamInfo]>,
    /// Whether what ops ask to keep is kept.
    keeps: bool,
    /// Who computes dense products: one thread where parts run side by side.
    products: Threads,
}

/// Gradients of the inputs and the parameters of a part; `None` for what is not tracked.
pub(super) struct Found {
    pub(super) inputs: Vec<Option<Tensor>>,
    pub(super) params: Vec<Option<Tensor>>,
}

/// A recorded run of a part that waits for the gradient of its output.
pub(super) struct Recorded {
    c: Forward,
    leaves: Vec<Var>,
    y: Var,
}

impl Part {
    #[track_caller]
    pub(super) fn new(c: &Forward, memory: Memory, ids: &[ParamId], f: Function) -> Part {
        // Packed parameters are bound as they are: nothing flows to them.
        let ids: Vec<ParamId> = ids.iter().copied().filter(|id| !c.packed.contains_key(id)).collect();
        let params = ids.iter().map(|&id| c.param(id)).collect();
        Part {
            f,
            ids,
            params,
            packed: c.packed.clone(),
            infos: c.infos.clone(),
            keeps: memory != Memory::Least,
            products: Threads::One,
        }
    }

    /// The parameters, in the order of their gradients.
    pub(super) fn ids(&self) -> &[ParamId] {
        &self.ids
    }

    /// A computation of its own with the parameters bound: leaves where they are tracked outside.
    fn bind(&self, tape: Tape) -> Forward {
        let mut tape = tape.with_products(self.products);
        let mut vars = vec![None; self.infos.len()];
        for (id, var) in self.ids.iter().zip(&self.params) {
            let tensor = var.tensor().clone();
            let bound = if var.id().is_some() { tape.leaf(tensor) } else { Var::constant(tensor) };
            vars[id.0] = Some(match var.narrow() {
                Some(narrow) => bound.with_narrow(narrow.clone()),
                None => bound,
            });
        }
        Forward { tape, infos: self.infos.clone(), vars, packed: self.packed.clone() }
    }

    /// The values, and what the ops asked to keep when a backward pass will follow.
    pub(super) fn first(&self, inputs: &[Tensor], is_recording: bool) -> (Tensor, Kept) {
        let keeps = is_recording && self.keeps;
        let mut c = self.bind(if keeps { Tape::keeping() } else { Tape::without_gradients() });
        let inputs: Vec<Var> = inputs.iter().cloned().map(Var::constant).collect();
        let y = (self.f)(&mut c, &inputs);
        (y.tensor().clone(), c.tape.into_kept())
    }

    /// Runs and records the part.
    pub(super) fn record(&self, inputs: &[Tensor], tracked: &[bool], tape: Tape) -> Recorded {
        let mut c = self.bind(tape);
        let mut leaf = |(x, &tracked): (&Tensor, &bool)| {
            if tracked { c.tape.leaf(x.clone()) } else { Var::constant(x.clone()) }
        };
        let leaves: Vec<Var> = inputs.iter().zip(tracked).map(&mut leaf).collect();
        let y = (self.f)(&mut c, &leaves);
        Recorded { c, leaves, y }
    }

    /// Runs the part again and differentiates it.
    ///
    /// # Errors
    /// `Internal` naming parameters that received no gradient.
    pub(super) fn again(&self, inputs: &[Tensor], tracked: &[bool], kept: Kept, dy: Tensor) -> Result<Found> {
        let tape = if self.keeps { Tape::replaying(kept) } else { Tape::new() };
        self.record(inputs, tracked, tape).backward(&self.ids, dy)
    }
}

impl Recorded {
    /// The value.
    pub(super) fn output(&self) -> &Tensor {
        self.y.tensor()
    }

    /// The gradients, for the gradient `dy` of the output.
    ///
    /// # Errors
    /// `Internal` naming parameters that received no gradient.
    pub(super) fn backward(self, ids: &[ParamId], dy: Tensor) -> Result<Found> {
        let Recorded { c, leaves, y } = self;
        let Forward { tape, infos, vars, .. } = c;
        let mut grads = tape.backward(&y, dy)?;
        Forward::expect_all(&infos, &vars, &grads)?;
        let mut found = |var: &Var| var.id().map(|_| grads.take(var));
        let inputs = leaves.iter().map(&mut found).collect();
        let params = ids.iter().map(|id| found(vars[id.0].as_ref().expect("bound above"))).collect();
        Ok(Found { inputs, params })
    }
}

#[cfg(test)]
#[path = "recompute_tests.rs"]
mod tests;
