//! The projector: what is heard and where it is heard, joined into embeddings for a decoder (paper 4.2.2).
//!
//! Token k of a clip covers a span of time, [`ProjectorConfig::frames_per_token`] frames of the semantic encoder. S is the
//! mean of those [d]; P = Linear(mean of the spatial frames g z whose centres lie in the span) [d]. Each `expert` is
//! Linear d -> d/2, GELU, Linear d/2 -> d:
//!
//! * `p2` (the paper's): concat(semantic(S), coordinates(P), room(P), absorption(P), count(P), combined(S + P)),
//!   LayerNorm, Linear to the bottleneck, GELU, Linear to the decoder's width;
//! * `p1`: two towers, each Linear d -> bottleneck, GELU, Linear to the decoder's width, of S and of P; their sum;
//! * `p0`: Linear of concat(S, P) to the bottleneck, GELU, Linear to the decoder's width.
//!
//! With `slots` every existing slot of the spatial encoder and the scene as a whole follow as tokens of their own: P from
//! what the slot read (from the mean frame), S = Linear of what the heads say ([`readout`]).
//!
//! Parameters, by their names in files: `spatial.{weight,bias}`; `readout.weight` (slots); `experts.NAME.{up,down}.{weight,
//! bias}` with NAME semantic, coordinates, room, absorption, count, combined, `norm.{weight,bias}`,
//! `bottleneck.{weight,bias}`, `out.{weight,bias}` (p2); `towers.{semantic,spatial}.{up,down}.{weight,bias}` (p1);
//! `bottleneck.{weight,bias}`, `out.{weight,bias}` (p0).

mod batch;
pub mod readout;
mod store;

pub use batch::{Ablation, Batch, Clip, Spatial};
pub use store::MODEL_TYPE;

use crate::error::{Error, Result};
use crate::nn::layers::{Linear, Norm};
use crate::nn::{Builder, Forward, Init, ParamId};
use crate::ops::activation::{Activation, activation};
use crate::ops::{arrange, elementwise, linear, span_mean};
use crate::tape::Var;
use serde::{Deserialize, Serialize};

/// How S and P are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One network over both.
    P0,
    /// Two towers.
    P1,
    /// Six experts, all active.
    P2,
}

/// Every size of a projector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorConfig {
    /// How S and P are joined.
    pub kind: Kind,
    /// Width d of semantic frames.
    pub semantic: usize,
    /// Width D of spatial frames.
    pub spatial: usize,
    /// Width of the bottleneck.
    pub bottleneck: usize,
    /// Width of the decoder.
    pub width: usize,
    /// Semantic frames that a token covers: 1 of Whisper's is 20 ms.
    pub frames_per_token: usize,
    /// Whether slots and the scene follow as tokens.
    pub slots: bool,
    /// Classes of the spatial encoder, where there are slots; else 0.
    pub classes: usize,
}

impl ProjectorConfig {
    /// Adds what is wrong with the sizes, naming each field.
    pub fn check(&self, errors: &mut Vec<String>) {
        let sizes = [
            ("semantic", self.semantic, 1 << 13),
            ("spatial", self.spatial, 1 << 13),
            ("bottleneck", self.bottleneck, 1 << 15),
            ("width", self.width, 1 << 15),
            ("frames_per_token", self.frames_per_token, 1500),
        ];
        for (name, value, high) in sizes {
            if !(1..=high).contains(&value) {
                errors.push(format!("{name} = {value}: 1..={high}"));
            }
        }
        if self.kind == Kind::P2 && self.semantic % 2 == 1 {
            errors.push(format!("semantic = {}: experts of p2 halve it, an even number is needed", self.semantic));
        }
        if self.slots != (1..=1024).contains(&self.classes) || !self.slots && self.classes > 0 {
            errors.push(format!("classes = {}: 1..=1024 with slots, 0 without", self.classes));
        }
    }
}

/// Linear, GELU, Linear.
struct Mlp {
    up: Linear,
    down: Linear,
}

impl Mlp {
    fn new(b: &mut Builder, names: [&str; 2], [inputs, hidden, outputs]: [usize; 3]) -> Mlp {
        Mlp { up: Linear::new(b, names[0], inputs, hidden), down: Linear::new(b, names[1], hidden, outputs) }
    }
    fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let y = self.up.forward(c, x);
        let y = activation(&mut c.tape, Activation::Gelu, &y);
        self.down.forward(c, &y)
    }
}

enum Joined {
    One(Mlp),
    Towers(Box<[Mlp; 2]>),
    Experts { experts: Vec<Mlp>, norm: Norm, last: Mlp },
}

/// The experts of p2 in the order of their outputs; the first sees S, the last S + P, the others P.
const EXPERTS: [&str; 6] = ["semantic", "coordinates", "room", "absorption", "count", "combined"];

/// The projector's parameters, which lie in somebody's [`crate::nn::Params`] beside those of other models.
pub struct Projector {
    /// The sizes.
    pub config: ProjectorConfig,
    spatial: Linear,
    /// Without bias: tokens of time have no read-out and get none of it.
    readout: Option<ParamId>,
    joined: Joined,
}

impl Projector {
    /// Adds the parameters under the builder's prefix.
    ///
    /// # Errors
    /// `Usage` listing every size that is out of range.
    pub fn new(b: &mut Builder, config: ProjectorConfig) -> Result<Projector> {
        let mut errors = Vec::new();
        config.check(&mut errors);
        if !errors.is_empty() {
            return Err(Error::usage(format!("projector: {}", errors.join("; "))));
        }
        let (d, bottleneck, width) = (config.semantic, config.bottleneck, config.width);
        let spatial = Linear::new(b, "spatial", config.spatial, d);
        let readout = config.slots.then(|| {
            let inputs = readout::width(config.classes);
            b.param("readout.weight", &[d, inputs], Init::Uniform((inputs as f64).powf(-0.5)), true)
        });
        let last = |b: &mut Builder, inputs: usize| Mlp::new(b, ["bottleneck", "out"], [inputs, bottleneck, width]);
        let part = |b: &mut Builder, name: String, sizes: [usize; 3]| {
            Mlp::new(b, [&format!("{name}.up"), &format!("{name}.down")], sizes)
        };
        let joined = match config.kind {
            Kind::P0 => Joined::One(last(b, 2 * d)),
            Kind::P1 => Joined::Towers(Box::new(
                ["semantic", "spatial"].map(|name| part(b, format!("towers.{name}"), [d, bottleneck, width])),
            )),
            Kind::P2 => {
                let experts = EXPERTS.iter().map(|name| part(b, format!("experts.{name}"), [d, d / 2, d])).collect();
                let norm = Norm::layer(b, "norm", EXPERTS.len() * d);
                Joined::Experts { experts, norm, last: last(b, EXPERTS.len() * d) }
            }
        };
        Ok(Projector { config, spatial, readout, joined })
    }

    /// Every parameter.
    pub fn ids(&self) -> Vec<ParamId> {
        let of = |mlp: &Mlp| [mlp.up.ids(), mlp.down.ids()].concat();
        let joined = match &self.joined {
            Joined::One(mlp) => of(mlp),
            Joined::Towers(towers) => towers.iter().flat_map(of).collect(),
            Joined::Experts { experts, norm, last } => {
                experts.iter().chain([last]).flat_map(of).chain(norm.ids()).collect::<Vec<_>>()
            }
        };
        self.spatial.ids().into_iter().chain(self.readout).chain(joined).collect()
    }

    /// The embeddings of all tokens of all clips, one clip after the other: [rows, decoder's width]. `batch` lies on the
    /// device of the parameters; [`Batch::counts`] says which rows are whose.
    #[track_caller]
    pub fn forward(&self, c: &mut Forward, batch: &Batch) -> Var {
        let mut s = span_mean::span_mean(&mut c.tape, &batch.semantic, &batch.semantic_spans);
        if let Some(weight) = self.readout.filter(|_| batch.has_readouts()) {
            let weight = c.param(weight);
            let said = linear::linear(&mut c.tape, &Var::constant(batch.readouts.clone()), &weight, None);
            s = elementwise::add(&mut c.tape, &s, &said);
        }
        let mut p = span_mean::span_mean(&mut c.tape, &batch.spatial, &batch.spatial_spans);
        p = self.spatial.forward(c, &p);
        if batch.ablation != Ablation::None {
            p = Var::constant(zeros_like(&p));
        }
        if batch.ablation == Ablation::NoAudio {
            s = Var::constant(zeros_like(&s));
        }
        self.join(c, &s, &p)
    }

    /// S, P [rows, d] -> [rows, width].
    fn join(&self, c: &mut Forward, s: &Var, p: &Var) -> Var {
        match &self.joined {
            Joined::One(mlp) => {
                let both = arrange::concat(&mut c.tape, &[s, p]);
                mlp.forward(c, &both)
            }
            Joined::Towers(towers) => {
                let (a, b) = (towers[0].forward(c, s), towers[1].forward(c, p));
                elementwise::add(&mut c.tape, &a, &b)
            }
            Joined::Experts { experts, norm, last } => {
                let sum = elementwise::add(&mut c.tape, s, p);
                let input = |i: usize| [s, p, p, p, p, &sum][i];
                let said: Vec<Var> = experts.iter().enumerate().map(|(i, e)| e.forward(c, input(i))).collect();
                let all = arrange::concat(&mut c.tape, &said.iter().collect::<Vec<_>>());
                let all = norm.forward(c, &all);
                last.forward(c, &all)
            }
        }
    }
}

fn zeros_like(x: &Var) -> crate::tensor::Tensor {
    let x = x.tensor();
    crate::tensor::Tensor::zeros_on(x.device(), x.dtype(), x.shape())
}

#[cfg(test)]
mod tests;
