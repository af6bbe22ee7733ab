//! The parameters of one model or of several: trained ones in one flat f32 buffer, frozen ones each as it is stored.
//!
//! Everything that belongs to training (optimizer, gradients, checkpoints, the check for lost gradients) sees the trained
//! ones only. A frozen parameter keeps its own type and may lie in a mapped file, read where it lies: it costs what its
//! file costs, no moments and no gradient. The weight of a linear layer may be packed in eight or four bits.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::matmul;
use crate::ops::packed::{Packed, Weight};
use crate::rng::Rng;
use crate::tape::Var;
use crate::tensor::{Shape, Tensor};
use crate::weights::{Entry, Tensors};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which parameter of a [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(super) usize);

/// Where a parameter's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the flat buffer, from this float on.
    Trained {
        /// First float in the flat buffer.
        offset: usize,
    },
    /// In a tensor of its own.
    Frozen {
        /// Which of the frozen tensors.
        index: usize,
    },
}

/// What is known of a parameter besides its numbers.
#[derive(Clone, Debug)]
pub struct ParamInfo {
    /// The name in checkpoint files.
    pub name: String,
    /// The extents.
    pub shape: Shape,
    /// Where the numbers are.
    pub home: Home,
    /// Whether weight decay applies: matrices yes; norms, biases, slopes and the gate no.
    pub decays: bool,
}

/// A trained parameter's place in the flat buffer.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The name in checkpoint files.
    pub name: &'a str,
    /// First float.
    pub offset: usize,
    /// Number of floats.
    pub len: usize,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// How a parameter starts (PyTorch's defaults).
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// Uniform in +-bound.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// One value everywhere.
    Constant(f32),
}

/// Collects parameters while models are built.
#[derive(Default)]
pub struct Builder {
    infos: Vec<ParamInfo>,
    inits: Vec<Init>,
    trained_len: usize,
    frozen_count: usize,
    prefix: String,
    is_frozen: bool,
}

impl Builder {
    /// No parameters yet.
    pub fn new() -> Builder {
        Builder::default()
    }
    /// Adds what `build` adds under names that begin with `prefix`: one builder serves several models.
    pub fn under<T>(&mut self, prefix: &str, build: impl FnOnce(&mut Builder) -> T) -> T {
        let outer = self.prefix.len();
        self.prefix.push_str(prefix);
        let built = build(self);
        self.prefix.truncate(outer);
        built
    }
    /// Adds what `build` adds as frozen parameters: nothing is drawn for them, they must be loaded or set.
    pub fn frozen<T>(&mut self, build: impl FnOnce(&mut Builder) -> T) -> T {
        let outer = std::mem::replace(&mut self.is_frozen, true);
        let built = build(self);
        self.is_frozen = outer;
        built
    }
    /// Adds a parameter, trained or (inside [`Builder::frozen`]) frozen. Panics when the name is taken.
    #[track_caller]
    pub fn param(&mut self, name: impl AsRef<str>, shape: &[usize], init: Init, decays: bool) -> ParamId {
        let (name, shape) = (format!("{}{}", self.prefix, name.as_ref()), Shape::new(shape));
        assert!(self.infos.iter().all(|p| p.name != name), "parameter {name} exists already");
        let home = if self.is_frozen {
            self.frozen_count += 1;
            Home::Frozen { index: self.frozen_count - 1 }
        } else {
            let offset = self.trained_len;
            // A multiple of 16 floats: every parameter begins at a boundary that vector loads like.
            self.trained_len += shape.len().next_multiple_of(16);
            Home::Trained { offset }
        };
        self.infos.push(ParamInfo { name, shape, home, decays });
        self.inits.push(init);
        ParamId(self.infos.len() - 1)
    }
    /// The extents of every parameter so far, in order: what a model will take, before it is made.
    pub fn shapes(&self) -> impl Iterator<Item = Shape> + '_ {
        self.infos.iter().map(|info| info.shape)
    }
    /// Draws every trained parameter from its own stream of `seed`: independent of order and of other parameters.
    pub fn finish(self, seed: u64) -> Params {
        let mut trained = Tensor::zeros(&[self.trained_len]);
        for (info, init) in self.infos.iter().zip(&self.inits) {
            let Home::Trained { offset } = info.home else { continue };
            let values = &mut trained.data_mut()[offset..offset + info.shape.len()];
            let mut rng = Rng::new(seed, &format!("parameter {}", info.name), 0);
            match *init {
                Init::Uniform(bound) => values.iter_mut().for_each(|v| *v = rng.range(-bound, bound) as f32),
                Init::Normal(deviation) => values.iter_mut().for_each(|v| *v = (rng.normal() * deviation) as f32),
                Init::Constant(value) => values.fill(value),
            }
        }
        Params {
            infos: self.infos.into(),
            trained,
            narrow: None,
            frozen: vec![None; self.frozen_count],
            packed: Arc::default(),
        }
    }
}

/// The parameters of one or more models, on any device.
pub struct Params {
    infos: Arc<[ParamInfo]>,
    /// The flat buffer; each parameter starts at a multiple of 16 floats.
    trained: Tensor,
    /// The flat buffer rounded to bf16, on devices whose products take it so ([`Params::keep_narrow`]).
    narrow: Option<Tensor>,
    /// `None` until loaded or set, and where the parameter is packed.
    frozen: Vec<Option<Tensor>>,
    packed: Arc<BTreeMap<ParamId, Arc<Packed>>>,
}

impl Params {
    /// Every parameter, in order.
    pub fn infos(&self) -> &Arc<[ParamInfo]> {
        &self.infos
    }
    /// The identities, in order.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> + use<> {
        (0..self.infos.len()).map(ParamId)
    }
    /// The trained parameters in order of their place in the flat buffer.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.infos.iter().filter_map(|info| match info.home {
            Home::Trained { offset } => {
                Some(Place { name: &info.name, offset, len: info.shape.len(), decays: info.decays })
            }
            Home::Frozen { .. } => None,
        })
    }
    /// The number of floats of all trained parameters, without padding.
    pub fn trained_count(&self) -> usize {
        self.places().map(|place| place.len).sum()
    }
    /// The number of numbers of all parameters, trained and frozen, without padding.
    pub fn count(&self) -> usize {
        self.infos.iter().map(|p| p.shape.len()).sum()
    }
    /// What is known of one parameter.
    pub fn info(&self, id: ParamId) -> &ParamInfo {
        &self.infos[id.0]
    }
    /// Frozen parameters that are packed.
    pub(super) fn packed(&self) -> &Arc<BTreeMap<ParamId, Arc<Packed>>> {
        &self.packed
    }
    /// The weight of a linear layer, plain or packed. Panics for a frozen one that nobody loaded or set.
    #[track_caller]
    pub fn weight(&self, id: ParamId) -> Weight {
        match self.packed.get(&id) {
            Some(packed) => Weight::Packed(packed.clone()),
            None => Weight::Plain(Var::constant(self.tensor(id))),
        }
    }
    /// A view of one parameter. Panics for a frozen one that is packed, or that nobody loaded or set.
    #[track_caller]
    pub fn tensor(&self, id: ParamId) -> Tensor {
        let info = &self.infos[id.0];
        match info.home {
            Home::Trained { offset } => self.trained.part(offset, info.shape),
            Home::Frozen { index } => match &self.frozen[index] {
                Some(tensor) => tensor.clone(),
                None if self.packed.contains_key(&id) => panic!("parameter {} is packed", info.name),
                None => panic!("frozen parameter {} was never loaded", info.name),
            },
        }
    }
    /// The device that holds the parameters.
    pub fn device(&self) -> Device {
        self.trained.device()
    }
    /// The same parameters on another device, frozen ones in their own types.
    pub fn to(&self, device: Device) -> Params {
        let frozen = self.frozen.iter().map(|t| t.as_ref().map(|t| t.to(device))).collect();
        let packed = self.packed.iter().map(|(id, packed)| (*id, Arc::new(packed.to(device)))).collect();
        let (infos, trained) = (self.infos.clone(), self.trained.to(device));
        Params { infos, trained, narrow: None, frozen, packed: Arc::new(packed) }
    }
    /// Keeps a copy of the trained parameters rounded to bf16 on their device, which the optimizer renews with every
    /// update: products next to bf16 activations need not round a weight each time they read it.
    pub fn keep_narrow(&mut self) {
        self.narrow = Some(matmul::narrowed(&self.trained));
    }
    /// The copy in bf16 of a trained parameter, where one is kept.
    pub(super) fn narrow(&self, id: ParamId) -> Option<Tensor> {
        let info = &self.infos[id.0];
        match info.home {
            Home::Trained { offset } => self.narrow.as_ref().map(|narrow| narrow.part(offset, info.shape)),
            Home::Frozen { .. } => None,
        }
    }
    /// The flat buffer and its copy in bf16, writable. Panics while a tape still holds views.
    #[track_caller]
    pub(crate) fn flat_and_narrow_mut(&mut self) -> (&mut Tensor, Option<&mut Tensor>) {
        let is_free = self.trained.is_unshared() && self.narrow.as_ref().is_none_or(Tensor::is_unshared);
        assert!(is_free, "no tape holds parameters during an update");
        (&mut self.trained, self.narrow.as_mut())
    }
    /// The flat buffer of host parameters, padding included.
    #[track_caller]
    pub fn flat(&self) -> &[f32] {
        self.trained.data()
    }
    /// The flat buffer of host parameters, writable. Panics while a tape still holds views.
    #[track_caller]
    pub fn flat_mut(&mut self) -> &mut [f32] {
        self.flat_tensor_mut().data_mut()
    }
    /// The flat buffer on any device, writable. Panics while a tape still holds views.
    #[track_caller]
    pub fn flat_tensor_mut(&mut self) -> &mut Tensor {
        assert!(self.trained.is_unshared(), "no tape holds parameters during an update");
        &mut self.trained
    }
    /// The number of floats of the flat buffer, padding included.
    pub fn flat_len(&self) -> usize {
        self.trained.len()
    }
    /// 1 where weight decay applies and 0 elsewhere, in the flat layout.
    pub fn decay_mask(&self) -> Vec<f32> {
        let mut mask = vec![0.0; self.flat_len()];
        for place in self.places().filter(|place| place.decays) {
            mask[place.offset..place.offset + place.len].fill(1.0);
        }
        mask
    }
    /// The trained host parameters as safetensors entries, in order: what a checkpoint holds.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let flat = self.flat();
        let entry = |p: &'_ ParamInfo| match p.home {
            Home::Trained { offset } => Some((offset, p.shape.len())),
            Home::Frozen { .. } => None,
        };
        let trained = self.infos.iter().filter_map(|p| entry(p).map(|place| (p, place)));
        trained.map(|(p, (at, n))| Entry::f32(&p.name, p.shape.as_slice(), &flat[at..at + n])).collect()
    }
    /// Gives a frozen parameter its numbers, of any floating-point type. Panics for a trained one and when the shape or the
    /// device differs.
    #[track_caller]
    pub fn set_frozen(&mut self, id: ParamId, tensor: Tensor) {
        let info = &self.infos[id.0];
        let Home::Frozen { index } = info.home else { panic!("parameter {} is trained", info.name) };
        tensor.expect_shape(&info.name, info.shape.as_slice());
        assert_eq!(tensor.device(), self.trained.device(), "parameter {}: the device of the others", info.name);
        self.frozen[index] = Some(tensor);
    }
    /// Gives a frozen matrix its numbers in eight or four bits: products unpack it for themselves ([`Params::weight`]). Panics
    /// for a trained one and when the shape or the device differs.
    #[track_caller]
    pub fn set_packed(&mut self, id: ParamId, packed: Packed) {
        let info = &self.infos[id.0];
        let Home::Frozen { index } = info.home else { panic!("parameter {} is trained", info.name) };
        assert_eq!(packed.shape(), info.shape.as_slice(), "{}: wrong shape", info.name);
        assert_eq!(packed.device(), self.trained.device(), "parameter {}: the device of the others", info.name);
        self.frozen[index] = None;
        Arc::make_mut(&mut self.packed).insert(id, Arc::new(packed));
    }
    /// Gives one trained host parameter its numbers. Panics for a frozen one and when the count differs.
    #[track_caller]
    pub fn set_one(&mut self, id: ParamId, values: &[f32]) {
        let info = &self.infos[id.0];
        let Home::Trained { offset } = info.home else { panic!("parameter {} is frozen", info.name) };
        assert_eq!(values.len(), info.shape.len(), "parameter {}: the count of numbers", info.name);
        self.flat_mut()[offset..offset + values.len()].copy_from_slice(values);
    }
    /// Gives one parameter the tensor `name` of `source`: a trained one (on the host) as f32, a frozen matrix in its own type
    /// and, on the host, where it lies in its file, a frozen vector as f32.
    ///
    /// # Errors
    /// `Data` when it is missing, of another shape or type, or holds a number that is not finite.
    pub fn load_one(&mut self, id: ParamId, source: &Tensors, name: &str) -> Result<()> {
        let info = self.infos[id.0].clone();
        let shape = info.shape.as_slice();
        match info.home {
            Home::Trained { .. } => self.set_one(id, &source.parameter(name, shape)?),
            Home::Frozen { .. } if shape.len() < 2 => {
                let vector = Tensor::from_slice(shape, &source.parameter(name, shape)?);
                self.set_frozen(id, vector.to(self.device()));
            }
            Home::Frozen { .. } => self.set_frozen(id, source.tensor(name, shape)?.to(self.device())),
        }
        Ok(())
    }
    /// Replaces the values of all trained parameters by those of `source`, matched by name; nothing may be missing, left
    /// over, of another shape or not finite.
    ///
    /// # Errors
    /// `Data` naming the parameter.
    pub fn load_trained(&mut self, source: &Tensors) -> Result<()> {
        if let Some(name) = source.names().find(|name| self.places().all(|p| p.name != *name)) {
            return Err(Error::data(format!("tensor {name} is not a trained parameter of this model")));
        }
        let mut flat = Tensor::zeros(&[self.flat_len()]);
        for info in self.infos.iter() {
            let Home::Trained { offset } = info.home else { continue };
            let values = source.parameter(&info.name, info.shape.as_slice())?;
            flat.data_mut()[offset..offset + values.len()].copy_from_slice(&values);
        }
        self.trained = flat.to(self.device());
        if self.narrow.is_some() {
            self.keep_narrow();
        }
        Ok(())
    }
    /// Gives all frozen parameters whose names begin with `prefix` the tensors of `source`, whose names lack the prefix:
    /// each in its own type and, on the host, where it lies in its file. Nothing may be missing, left over, of another
    /// shape or not finite.
    ///
    /// # Errors
    /// `Data` naming the parameter.
    pub fn load_frozen(&mut self, prefix: &str, source: &Tensors) -> Result<()> {
        let device = self.device();
        let wanted = |info: &ParamInfo| match info.home {
            Home::Frozen { index } => info.name.strip_prefix(prefix).map(|name| (name.to_string(), index)),
            Home::Trained { .. } => None,
        };
        let places: Vec<(String, usize, Shape)> =
            self.infos.iter().filter_map(|info| wanted(info).map(|(name, i)| (name, i, info.shape))).collect();
        if let Some(name) = source.names().find(|name| places.iter().all(|(wanted, ..)| wanted != name)) {
            return Err(Error::data(format!("tensor {name} is not a frozen parameter under {prefix:?}")));
        }
        for (name, index, shape) in places {
            self.frozen[index] = Some(source.tensor(&name, shape.as_slice())?.to(device));
        }
        Ok(())
    }
}
