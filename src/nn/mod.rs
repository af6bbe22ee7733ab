//! Parameters and the layers made of them.
//!
//! All parameters of a model lie in one flat buffer (one AdamW pass, one norm); a layer holds [`ParamId`]s. A
//! [`Context`] binds the parameters to a tape for one computation. Names are the names in checkpoint files.

pub mod layers;
pub mod segment;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::elementwise;
use crate::rng::Rng;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};
use crate::weights::{Entry, Tensors};

/// Which parameter of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(usize);

/// One parameter's place in the flat buffer.
#[derive(Clone, Debug)]
pub struct ParamInfo {
    /// The name in checkpoint files.
    pub name: String,
    /// The extents.
    pub shape: Shape,
    /// First float in the flat buffer.
    pub offset: usize,
    /// Whether weight decay applies: matrices yes; norms, biases, slopes and the gate no.
    pub decays: bool,
}

/// The parameters of a model in one flat buffer, each starting at a multiple of 16 floats, on any device.
pub struct Params {
    infos: Vec<ParamInfo>,
    flat: Tensor,
}

/// How a parameter starts (PyTorch's defaults).
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// Uniform in +-bound.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// One value everywhere.
    Constant(f32),
}

/// Collects parameters while a model is built.
pub struct Builder {
    infos: Vec<ParamInfo>,
    starts: Vec<Start>,
    len: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}

impl Builder {
    /// No parameters yet.
    pub fn new() -> Builder {
        Builder { infos: Vec::new(), starts: Vec::new(), len: 0 }
    }
    /// Adds a parameter. Weight decay applies when it has more than one axis and `decays`.
    #[track_caller]
    pub fn param(&mut self, name: String, shape: &[usize], start: Start, decays: bool) -> ParamId {
        assert!(self.infos.iter().all(|p| p.name != name), "parameter {name} exists already");
        let shape = Shape::new(shape);
        self.infos.push(ParamInfo { name, shape, offset: self.len, decays });
        self.starts.push(start);
        self.len += shape.len().next_multiple_of(16);
        ParamId(self.infos.len() - 1)
    }
    /// Draws every parameter from its own stream of `seed`: independent of order and of other parameters.
    pub fn finish(self, seed: u64) -> Params {
        let mut flat = Tensor::zeros(&[self.len]);
        for (info, start) in self.infos.iter().zip(&self.starts) {
            let values = &mut flat.data_mut()[info.offset..info.offset + info.shape.len()];
            let mut rng = Rng::new(seed, &format!("parameter {}", info.name), 0);
            match *start {
                Start::Uniform(bound) => values.iter_mut().for_each(|v| *v = rng.range(-bound, bound) as f32),
                Start::Normal(deviation) => values.iter_mut().for_each(|v| *v = (rng.normal() * deviation) as f32),
                Start::Constant(value) => values.fill(value),
            }
        }
        Params { infos: self.infos, flat }
    }
}

impl Params {
    /// Every parameter's name, shape and place.
    pub fn infos(&self) -> &[ParamInfo] {
        &self.infos
    }
    /// The identities, in order.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> + use<> {
        (0..self.infos.len()).map(ParamId)
    }
    /// The number of floats of all parameters, without padding.
    pub fn count(&self) -> usize {
        self.infos.iter().map(|p| p.shape.len()).sum()
    }
    /// A view of one parameter.
    pub fn tensor(&self, id: ParamId) -> Tensor {
        let info = &self.infos[id.0];
        self.flat.part(info.offset, info.shape)
    }
    /// The device that holds the parameters.
    pub fn device(&self) -> Device {
        self.flat.device()
    }
    /// The same parameters on another device.
    pub fn to(&self, device: Device) -> Params {
        Params { infos: self.infos.clone(), flat: self.flat.to(device) }
    }
    /// The flat buffer of host parameters, padding included.
    #[track_caller]
    pub fn flat(&self) -> &[f32] {
        self.flat.data()
    }
    /// The flat buffer of host parameters, writable. Panics while a tape still holds views.
    #[track_caller]
    pub fn flat_mut(&mut self) -> &mut [f32] {
        self.flat_tensor_mut().data_mut()
    }
    /// The flat buffer on any device, writable. Panics while a tape still holds views.
    #[track_caller]
    pub fn flat_tensor_mut(&mut self) -> &mut Tensor {
        assert!(self.flat.is_unshared(), "no tape holds parameters during an update");
        &mut self.flat
    }
    /// The number of floats of the flat buffer, padding included.
    pub fn flat_len(&self) -> usize {
        self.flat.len()
    }
    /// 1 where weight decay applies and 0 elsewhere, in the flat layout.
    pub fn decay_mask(&self) -> Vec<f32> {
        let mut mask = vec![0.0; self.flat_len()];
        for info in self.infos.iter().filter(|info| info.decays) {
            mask[info.offset..info.offset + info.shape.len()].fill(1.0);
        }
        mask
    }
    /// Host parameters as safetensors entries, in order.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let flat = self.flat();
        let values = |p: &ParamInfo| &flat[p.offset..p.offset + p.shape.len()];
        self.infos.iter().map(|p| Entry::f32(&p.name, p.shape.as_slice(), values(p))).collect()
    }
    /// Replaces the values of all parameters by those of `source`, matched by name; nothing may be missing, left
    /// over, of another shape or not finite.
    ///
    /// # Errors
    /// `Data` naming the parameter.
    pub fn load(&mut self, source: &Tensors) -> Result<()> {
        if let Some(name) = source.names().find(|name| self.infos.iter().all(|p| p.name != *name)) {
            return Err(Error::data(format!("tensor {name} is not a parameter of this model")));
        }
        let mut flat = Tensor::zeros(&[self.flat_len()]);
        for info in &self.infos {
            let values = source.parameter(&info.name, info.shape.as_slice())?;
            flat.data_mut()[info.offset..info.offset + values.len()].copy_from_slice(&values);
        }
        self.flat = flat.to(self.device());
        Ok(())
    }
}

/// A tape with the parameters bound to it.
pub struct Context {
    /// The tape.
    pub tape: Tape,
    vars: Vec<Option<Var>>,
}

impl Context {
    /// Binds every parameter.
    pub fn new(mut tape: Tape, params: &Params) -> Context {
        let vars = params.ids().map(|id| Some(tape.leaf(params.tensor(id)))).collect();
        Context { tape, vars }
    }
    /// A parameter's value. Panics when it is not bound here.
    #[track_caller]
    pub fn param(&self, id: ParamId) -> Var {
        self.vars[id.0].clone().unwrap_or_else(|| panic!("parameter {} is not bound in this segment", id.0))
    }
    /// Ends the computation: gradients of `loss` (a scalar) for every parameter, added to `flat` (the layout of
    /// [`Params::flat`], on the device of the parameters).
    ///
    /// # Errors
    /// `Internal` naming every parameter that received no gradient.
    pub fn gradients(self, params: &Params, loss: &Var, flat: &mut Tensor) -> Result<()> {
        let seed = Tensor::scalar(1.0).to(params.device());
        self.gradients_from(params, loss, seed, flat)
    }
    /// The same from any output and its gradient.
    ///
    /// # Errors
    /// Those of [`Context::gradients`].
    pub fn gradients_from(self, params: &Params, output: &Var, seed: Tensor, flat: &mut Tensor) -> Result<()> {
        let mut grads = self.tape.backward(output, seed)?;
        let vars: Vec<&Var> = self.vars.iter().flatten().collect();
        grads.expect_all(params.infos.iter().map(|p| p.name.as_str()).zip(vars.iter().copied()))?;
        for (info, var) in params.infos.iter().zip(vars) {
            elementwise::accumulate_at(flat, &grads.take(var), info.offset);
        }
        Ok(())
    }
}
