//! A layer of the decoder: its parameters, its forward pass, and what of it is computed again in the backward pass.

use super::Adapter;
use crate::language::lora::Start;
use crate::nn::{Builder, Forward, Init, ParamId};
use crate::ops::arrange::reshape;
use crate::ops::dora_linear::dora_linear;
use crate::ops::elementwise;
use crate::ops::embedding::take;
use crate::ops::linear::linear;
use crate::ops::lora_linear::{Rank, lora_linear};
use crate::ops::packed::Weight;
use crate::ops::rms_norm::rms_norm;
use crate::ops::swiglu::swiglu;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use std::sync::{Arc, Mutex, PoisonError};

/// The parameters of a layer.
pub(in crate::language) struct Layer {
    pub(super) norms: [ParamId; 2],
    /// In the order of [`crate::language::config::DecoderConfig::linears`].
    pub(in crate::language) linears: [Linear; 7],
    pub(super) rms_norm_eps: f32,
}

/// A linear layer and its adapters.
pub(in crate::language) struct Linear {
    pub(in crate::language) weight: ParamId,
    pub(super) bias: Option<ParamId>,
    pub(in crate::language) adapters: Vec<Adapted>,
}

/// An adapter of a linear layer.
pub(in crate::language) struct Adapted {
    /// Which adapter of the decoder.
    index: usize,
    pub(in crate::language) a: ParamId,
    pub(in crate::language) b: ParamId,
    /// Lengths of the rows of the adapted weight (DoRA).
    pub(in crate::language) magnitude: Option<ParamId>,
    pub(in crate::language) scale: f32,
}

/// The parameters of those adapters that a module has.
pub(super) fn adapted(
    builder: &mut Builder,
    adapters: &[Adapter],
    module: &str,
    outputs: usize,
    inputs: usize,
) -> Vec<Adapted> {
    let mut all = Vec::new();
    for (index, adapter) in adapters.iter().enumerate() {
        let Some((rank, scale)) = adapter.config.of(module) else { continue };
        let start = match adapter.config.start {
            Start::Uniform => Init::Uniform((inputs as f64).powf(-0.5)),
            Start::Gaussian => Init::Normal(1.0 / rank as f64),
        };
        let add = |builder: &mut Builder| {
            let name = |part: &str| format!("{}{module}.{part}", adapter.prefix);
            let a = builder.param(name("lora_A.weight"), &[rank, inputs], start, true);
            let b = builder.param(name("lora_B.weight"), &[outputs, rank], Init::Constant(0.0), true);
            let magnitude = adapter.config.has_magnitudes;
            let magnitude =
                magnitude.then(|| builder.param(name("lora_magnitude_vector"), &[outputs], Init::Constant(1.0), true));
            Adapted { index, a, b, magnitude, scale: scale as f32 }
        };
        all.push(if adapter.is_frozen { builder.frozen(add) } else { add(builder) });
    }
    all
}

/// How a layer is run.
#[derive(Clone, Copy)]
pub(in crate::language) struct Pass<'a> {
    /// How many adapters count, the first ones.
    pub active: usize,
    /// Whether gate and up are computed again in the backward pass.
    pub recomputes_units: bool,
    /// The rows whose output is asked for, I32 [M]; `None`: all.
    pub rows: Option<&'a Tensor>,
}

impl Layer {
    /// x [.., C] -> [.., C], or [1,M,C] for some rows of x [1,T,C]; `attend` turns q, k and v into the output of attention.
    pub(in crate::language) fn forward(
        &self,
        c: &mut Forward,
        x: &Var,
        pass: Pass,
        attend: impl FnOnce(&mut Tape, [Var; 3]) -> Var,
    ) -> Var {
        let [q, k, v, o, ..] = &self.linears;
        let run = |linear: &Linear, c: &mut Forward, x: &Var| linear.bound(c, pass.active).forward(&mut c.tape, x);
        let normed = self.norm(c, x, 0);
        let [k, v] = [k, v].map(|linear| run(linear, c, &normed));
        let (x, normed) = match pass.rows {
            None => (x.clone(), normed),
            Some(rows) => {
                let x = taken(&mut c.tape, x, rows);
                let normed = self.norm(c, &x, 0);
                (x, normed)
            }
        };
        let q = run(q, c, &normed);
        drop(normed);
        let attended = attend(&mut c.tape, [q, k, v]);
        let attended = run(o, c, &attended);
        let x = elementwise::add(&mut c.tape, &x, &attended);
        let y = self.units(c, &x, pass);
        elementwise::add(&mut c.tape, &x, &y)
    }

    /// down(silu(gate) up) of the normed x.
    fn units(&self, c: &mut Forward, x: &Var, pass: Pass) -> Var {
        let [.., gate, up, down] = &self.linears;
        let normed = self.norm(c, x, 1);
        let linears = [gate, up].map(|linear| linear.bound(c, pass.active));
        let [mut gate, mut up] = linears.each_ref().map(|linear| linear.forward(&mut c.tape, &normed));
        drop(normed);
        if pass.recomputes_units {
            let again = Arc::new(UnitsAgain {
                norm: self.norm_again(c, x, 1),
                linears: linears.map(Bound::constant),
                products: c.tape.products(),
                found: Mutex::new(None),
            });
            let units = again.clone();
            let product = swiglu(&mut c.tape, &gate.with_recipe(again.recipe(0)), &up.with_recipe(again.recipe(1)));
            let product = product.with_recipe(move || {
                let [gate, up] = units.both().map(Var::constant);
                swiglu(&mut Tape::without_gradients(), &gate, &up).tensor().clone()
            });
            return down.bound(c, pass.active).forward(&mut c.tape, &product);
        }
        let [g, u] = [&mut gate, &mut up].map(|x| Var::constant(x.tensor().clone()));
        let product = swiglu(&mut c.tape, &gate, &up)
            .with_recipe(move || swiglu(&mut Tape::without_gradients(), &g, &u).tensor().clone());
        down.bound(c, pass.active).forward(&mut c.tape, &product)
    }

    /// A norm of the layer, whose output nobody needs to keep beside its input.
    fn norm(&self, c: &mut Forward, x: &Var, which: usize) -> Var {
        let again = self.norm_again(c, x, which);
        let weight = c.param(self.norms[which]);
        rms_norm(&mut c.tape, x, &weight, self.rms_norm_eps).with_recipe(move || again.tensor())
    }

    fn norm_again(&self, c: &Forward, x: &Var, which: usize) -> NormAgain {
        let [x, weight] = [x.tensor().clone(), c.param(self.norms[which]).tensor().clone()].map(Var::constant);
        NormAgain { x, weight, eps: self.rms_norm_eps }
    }

    /// The parameters that a forward pass uses.
    pub(super) fn ids(&self, active: usize) -> Vec<ParamId> {
        let linears = self.linears.iter().flat_map(|linear| {
            let adapters = linear.active(active).flat_map(|a| [Some(a.a), Some(a.b), a.magnitude]);
            [Some(linear.weight), linear.bias].into_iter().chain(adapters)
        });
        self.norms.into_iter().chain(linears.flatten()).collect()
    }
}

/// Rows of x [1,T,C] by their numbers, I32 [M] -> [1,M,C].
fn taken(tape: &mut Tape, x: &Var, rows: &Tensor) -> Var {
    let [_, tokens, width] = x.tensor().dims("rows of a layer");
    let flat = reshape(tape, x, &[tokens, width]);
    let some = take(tape, &flat, rows);
    reshape(tape, &some, &[1, rows.len(), width])
}

impl Linear {
    fn active(&self, active: usize) -> impl Iterator<Item = &Adapted> {
        self.adapters.iter().filter(move |adapter| adapter.index < active)
    }

    fn bound(&self, c: &Forward, active: usize) -> Bound {
        let rank = |a: &Adapted| Rank { a: c.param(a.a), b: c.param(a.b), scale: a.scale };
        Bound {
            weight: c.weight(self.weight),
            bias: self.bias.map(|id| c.param(id)),
            ranks: self.active(active).map(rank).collect(),
            magnitude: self.active(active).find_map(|a| a.magnitude).map(|id| c.param(id)),
        }
    }
}

/// A linear layer with the values of its parameters.
struct Bound {
    weight: Weight,
    bias: Option<Var>,
    ranks: Vec<Rank>,
    magnitude: Option<Var>,
}

impl Bound {
    fn forward(&self, tape: &mut Tape, x: &Var) -> Var {
        let Bound { weight, bias, ranks, magnitude } = self;
        match (ranks.as_slice(), magnitude) {
            ([], _) => match weight {
                Weight::Plain(weight) => linear(tape, x, weight, bias.as_ref()),
                Weight::Packed(_) => lora_linear(tape, x, weight, bias.as_ref(), &[]),
            },
            (ranks, None) => lora_linear(tape, x, weight, bias.as_ref(), ranks),
            ([rank], Some(magnitude)) => dora_linear(tape, x, weight, bias.as_ref(), rank, magnitude),
            (ranks, Some(_)) => panic!("{} adapters on a layer with magnitudes, which has one", ranks.len()),
        }
    }

    /// The same without gradients.
    fn constant(self) -> Bound {
        let constant = |x: Var| Var::constant(x.tensor().clone());
        let rank = |r: Rank| Rank { a: constant(r.a), b: constant(r.b), scale: r.scale };
        Bound {
            weight: self.weight.constant(),
            bias: self.bias.map(constant),
            ranks: self.ranks.into_iter().map(rank).collect(),
            magnitude: self.magnitude.map(constant),
        }
    }
}

/// What a norm is computed again from.
struct NormAgain {
    x: Var,
    weight: Var,
    eps: f32,
}

impl NormAgain {
    fn tensor(&self) -> Tensor {
        rms_norm(&mut Tape::without_gradients(), &self.x, &self.weight, self.eps).tensor().clone()
    }
}

/// What gate and up are computed again from. The backward pass asks for them twice in a row: for the input of the layer after
/// them, then for their own gradients.
struct UnitsAgain {
    norm: NormAgain,
    linears: [Bound; 2],
    products: crate::device::product::Threads,
    found: Mutex<Option<[Tensor; 2]>>,
}

impl UnitsAgain {
    /// Both, which stay until [`UnitsAgain::recipe`] of up has handed them out.
    fn both(&self) -> [Tensor; 2] {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let compute = || {
            let normed = Var::constant(self.norm.tensor());
            let mut tape = Tape::without_gradients().with_products(self.products);
            self.linears.each_ref().map(|linear| linear.forward(&mut tape, &normed).tensor().clone())
        };
        found.get_or_insert_with(compute).clone()
    }

    /// How gate (0) or up (1), which is asked for last, is computed again.
    fn recipe(self: &Arc<Self>, which: usize) -> impl Fn() -> Tensor + Send + Sync + use<> {
        let this = self.clone();
        move || {
            let [gate, up] = this.both();
            if which == 0 {
                return gate;
            }
            *this.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
            up
        }
    }
}
