//! Layers: parameters with a forward. Defaults of initialisation are PyTorch's.

use super::{Builder, Forward, Init, ParamId};
use crate::ops::{attention, conv1d, group_norm, layer_norm, linear, prelu};
use crate::tape::Var;

/// `weight [out, in]`, `bias [out]`; both start uniform in +-1/sqrt(in).
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    weight: ParamId,
    bias: ParamId,
}

impl Linear {
    /// Adds the layer's parameters.
    pub fn new(builder: &mut Builder, name: &str, inputs: usize, outputs: usize) -> Linear {
        let start = Init::Uniform((inputs as f64).powf(-0.5));
        Linear {
            weight: builder.param(format!("{name}.weight"), &[outputs, inputs], start, true),
            bias: builder.param(format!("{name}.bias"), &[outputs], start, false),
        }
    }
    /// x [.., in] -> [.., out]
    #[track_caller]
    pub fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let (weight, bias) = (c.param(self.weight), c.param(self.bias));
        linear::linear(&mut c.tape, x, &weight, Some(&bias))
    }
    /// Added to a residual: x [.., in], residual [.., out] -> [.., out]
    #[track_caller]
    pub fn forward_plus(&self, c: &mut Forward, x: &Var, residual: &Var) -> Var {
        let (weight, bias) = (c.param(self.weight), c.param(self.bias));
        linear::linear_plus(&mut c.tape, x, &weight, &bias, residual)
    }
    /// The layer's parameters.
    pub fn ids(&self) -> Vec<ParamId> {
        vec![self.weight, self.bias]
    }
    /// The weight and the bias.
    pub fn parts(&self) -> (ParamId, ParamId) {
        (self.weight, self.bias)
    }
}

/// Which normalisation.
#[derive(Clone, Copy, Debug)]
enum NormKind {
    Layer,
    /// Over a sequence, in this many channel groups.
    Group(usize),
}

/// `weight`, `bias` per channel, starting at 1 and 0.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    weight: ParamId,
    bias: ParamId,
    kind: NormKind,
}

impl Norm {
    fn new(builder: &mut Builder, name: &str, channels: usize, kind: NormKind) -> Norm {
        Norm {
            weight: builder.param(format!("{name}.weight"), &[channels], Init::Constant(1.0), false),
            bias: builder.param(format!("{name}.bias"), &[channels], Init::Constant(0.0), false),
            kind,
        }
    }
    /// Over the last axis.
    pub fn layer(builder: &mut Builder, name: &str, channels: usize) -> Norm {
        Norm::new(builder, name, channels, NormKind::Layer)
    }
    /// Over (sequence, channels of a group) of [N, L, C].
    pub fn group(builder: &mut Builder, name: &str, channels: usize, groups: usize) -> Norm {
        Norm::new(builder, name, channels, NormKind::Group(groups))
    }
    /// Same shape out as in.
    #[track_caller]
    pub fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let (weight, bias) = (c.param(self.weight), c.param(self.bias));
        match self.kind {
            NormKind::Layer => layer_norm::layer_norm(&mut c.tape, x, &weight, &bias),
            NormKind::Group(groups) => group_norm::group_norm(&mut c.tape, x, &weight, &bias, groups),
        }
    }
    /// The layer's parameters.
    pub fn ids(&self) -> Vec<ParamId> {
        vec![self.weight, self.bias]
    }
}

/// Grouped convolution along a sequence, same length out as in. `weight [out, in/groups, kernel]`, `bias [out]`.
#[derive(Clone, Copy, Debug)]
pub struct Conv1d {
    weight: ParamId,
    bias: ParamId,
    groups: usize,
}

impl Conv1d {
    /// Adds the layer's parameters.
    pub fn new(b: &mut Builder, name: &str, inputs: usize, outputs: usize, kernel: usize, groups: usize) -> Conv1d {
        let start = Init::Uniform(((inputs / groups * kernel) as f64).powf(-0.5));
        Conv1d {
            weight: b.param(format!("{name}.weight"), &[outputs, inputs / groups, kernel], start, true),
            bias: b.param(format!("{name}.bias"), &[outputs], start, false),
            groups,
        }
    }
    /// x [N, L, in] -> [N, L, out]
    #[track_caller]
    pub fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let (weight, bias) = (c.param(self.weight), c.param(self.bias));
        conv1d::conv1d(&mut c.tape, x, &weight, &bias, self.groups)
    }
    /// Of SiLU(x): x [N, L, in] -> [N, L, out]
    #[track_caller]
    pub fn forward_of_silu(&self, c: &mut Forward, x: &Var) -> Var {
        let (weight, bias) = (c.param(self.weight), c.param(self.bias));
        conv1d::conv1d_of_silu(&mut c.tape, x, &weight, &bias, self.groups)
    }
    /// The layer's parameters.
    pub fn ids(&self) -> Vec<ParamId> {
        vec![self.weight, self.bias]
    }
}

/// One slope per channel for negative inputs, starting at 0.25.
#[derive(Clone, Copy, Debug)]
pub struct Prelu {
    weight: ParamId,
}

impl Prelu {
    /// Adds the layer's parameter.
    pub fn new(builder: &mut Builder, name: &str, channels: usize) -> Prelu {
        Prelu { weight: builder.param(format!("{name}.weight"), &[channels], Init::Constant(0.25), false) }
    }
    /// Same shape out as in.
    #[track_caller]
    pub fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let weight = c.param(self.weight);
        prelu::prelu(&mut c.tape, x, &weight)
    }
    /// The layer's parameter.
    pub fn ids(&self) -> Vec<ParamId> {
        vec![self.weight]
    }
}

/// Attention of one sequence to another: queries from a [B, K, D], keys and values from z [B, N, E]; pre-norm on the
/// query only, residual from the query.
#[derive(Clone, Copy, Debug)]
pub struct CrossAttention {
    norm: Norm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
}

impl CrossAttention {
    /// Adds the layer's parameters: width D of the queries, E of the memory.
    pub fn new(b: &mut Builder, name: &str, width: usize, memory: usize, heads: usize) -> CrossAttention {
        CrossAttention {
            norm: Norm::layer(b, &format!("{name}.norm"), width),
            q: Linear::new(b, &format!("{name}.q"), width, width),
            k: Linear::new(b, &format!("{name}.k"), memory, width),
            v: Linear::new(b, &format!("{name}.v"), memory, width),
            out: Linear::new(b, &format!("{name}.out"), width, width),
            heads,
        }
    }
    /// a [B, K, D], z [B, N, E] -> [B, K, D]
    #[track_caller]
    pub fn forward(&self, c: &mut Forward, a: &Var, z: &Var) -> Var {
        let normed = self.norm.forward(c, a);
        let (q, k, v) = (self.q.forward(c, &normed), self.k.forward(c, z), self.v.forward(c, z));
        let read = attention::attention(&mut c.tape, &q, &k, &v, &attention::Shape::full(self.heads, self.heads));
        let read = self.out.forward(c, &read);
        crate::ops::elementwise::add(&mut c.tape, a, &read)
    }
}
