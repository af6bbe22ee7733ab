//! One computation: a tape with the parameters bound to it.

use super::params::{Home, ParamId, ParamInfo, Params};
use crate::device::Device;
use crate::device::simd::Isa;
use crate::error::Result;
use crate::ops::elementwise;
use crate::ops::linear::panels;
use crate::ops::packed::{Packed, Weight};
use crate::tape::{Grads, Tape, Var};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tape with parameters bound to it: trained ones as leaves, frozen ones as constants, to which no gradient flows.
pub struct Forward {
    /// The tape.
    pub tape: Tape,
    pub(super) infos: Arc<[ParamInfo]>,
    /// By [`ParamId`]; `None` where the parameter is packed, and where a part of a computation does not use it.
    pub(super) vars: Vec<Option<Var>>,
    pub(super) packed: Arc<BTreeMap<ParamId, Arc<Packed>>>,
}

impl Forward {
    /// Binds every parameter. Panics when a frozen one was never loaded.
    #[track_caller]
    pub fn new(mut tape: Tape, params: &Params) -> Forward {
        let infos = params.infos().clone();
        let mut vars = Vec::with_capacity(infos.len());
        let packed = params.packed().clone();
        for (id, info) in params.ids().zip(infos.iter()) {
            if packed.contains_key(&id) {
                vars.push(None);
                continue;
            }
            let tensor = params.tensor(id);
            vars.push(Some(match info.home {
                Home::Trained { .. } => match params.narrow(id) {
                    Some(narrow) => tape.leaf(tensor).with_narrow(narrow),
                    None => tape.leaf(tensor),
                },
                Home::Frozen { .. } => Var::constant(tensor),
            }));
        }
        Forward { tape, infos, vars, packed }
    }
    /// A parameter's value. Panics, naming it, when it is not bound here.
    #[track_caller]
    pub fn param(&self, id: ParamId) -> Var {
        let name = || &self.infos[id.0].name;
        self.vars[id.0].clone().unwrap_or_else(|| panic!("parameter {} is not bound in this part", name()))
    }
    /// The weight of a linear layer, plain or packed. Panics, naming it, when it is not bound here.
    #[track_caller]
    pub fn weight(&self, id: ParamId) -> Weight {
        match self.packed.get(&id) {
            Some(packed) => Weight::Packed(packed.clone()),
            None => Weight::Plain(self.param(id)),
        }
    }
    /// Takes parameters out that this computation does not use: nobody waits for a gradient of theirs, and whoever asks for one
    /// panics.
    pub fn leave_out(&mut self, ids: &[ParamId]) {
        ids.iter().for_each(|id| self.vars[id.0] = None);
    }
    /// The same parameters on another tape, which must not record.
    #[track_caller]
    pub fn on(&self, tape: Tape) -> Forward {
        assert!(
            !tape.is_recording() && self.vars.iter().flatten().all(|var| var.id().is_none()),
            "Forward::on records"
        );
        Forward { tape, infos: self.infos.clone(), vars: self.vars.clone(), packed: self.packed.clone() }
    }
    /// Packs frozen matrices on the host for products with many rows, as often as they are used afterwards: as much memory
    /// again, in f32. Does nothing where that is more than `most_bytes`, and for matrices that lie elsewhere. Whether all are
    /// packed now.
    pub fn pack(&mut self, ids: &[ParamId], most_bytes: usize) -> bool {
        let is_meant =
            |var: &&Var| var.tensor().device() == Device::Host && var.id().is_none() && var.shape().len() == 2;
        let bytes: usize = ids.iter().map(|id| 4 * self.infos[id.0].shape.len()).sum();
        if bytes > most_bytes {
            return false;
        }
        // Threads of the pool know nothing of an instruction set that was forced here.
        let (isa, vars) = (Isa::current(), &self.vars);
        let made = |id: &ParamId| {
            let var = vars[id.0].as_ref().filter(is_meant)?;
            Some((*id, var.clone().with_panels(Arc::new(isa.force(|| panels(var.tensor()))))))
        };
        let all: Vec<(ParamId, Var)> = ids.par_iter().filter_map(made).collect();
        all.into_iter().for_each(|(id, var)| self.vars[id.0] = Some(var));
        ids.iter().all(|id| self.vars[id.0].as_ref().is_some_and(|var| var.panels().is_some()))
    }
    /// Checks that every tracked parameter bound here received a gradient.
    ///
    /// # Errors
    /// `Internal` naming every one without.
    pub(super) fn expect_all(infos: &[ParamInfo], vars: &[Option<Var>], grads: &Grads) -> Result<()> {
        let bound = infos.iter().zip(vars).filter_map(|(info, var)| Some((info, var.as_ref()?)));
        grads.expect_all(bound.filter(|(_, var)| var.id().is_some()).map(|(info, var)| (info.name.as_str(), var)))
    }
    /// Ends the computation: gradients of `loss` (a scalar) for every trained parameter, added to `flat` (the layout of
    /// [`Params::flat`], on the device of the parameters).
    ///
    /// # Errors
    /// `Internal` naming every trained parameter that received no gradient.
    pub fn gradients(self, loss: &Var, flat: &mut Tensor) -> Result<()> {
        let seed = Tensor::scalar(1.0).to(loss.tensor().device());
        self.gradients_from(loss, seed, flat)
    }
    /// The same from any output and its gradient.
    ///
    /// # Errors
    /// Those of [`Forward::gradients`].
    pub fn gradients_from(self, output: &Var, seed: Tensor, flat: &mut Tensor) -> Result<()> {
        let mut grads = self.tape.backward(output, seed)?;
        Forward::expect_all(&self.infos, &self.vars, &grads)?;
        let part = |(info, var): (&ParamInfo, &Option<Var>)| match info.home {
            Home::Trained { offset } => var.as_ref().map(|var| (grads.take(var), offset)),
            Home::Frozen { .. } => None,
        };
        let parts: Vec<(Tensor, usize)> = self.infos.iter().zip(&self.vars).filter_map(part).collect();
        elementwise::accumulate_parts(flat, &parts);
        Ok(())
    }
}
