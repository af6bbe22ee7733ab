//! The trunk: stem, then blocks of cross-band, full-band and narrow-band parts over a map [B, F, T, H].
//!
//! Per block, all residual and pre-norm: convolution along frequency; a linear map across all frequencies through a
//! bottleneck (its weight shared by all blocks); convolution along frequency again; attention along time for each
//! frequency; a temporal convolution network. SpatialNet's order with the paper's sizes (4.2.1; notes 1.2).

use super::{EncoderConfig, InputMode, covariance};
use crate::nn::chunks::{Along, Chunk, at_once, chunks};
use crate::nn::layers::{Conv1d, Linear, Norm, Prelu};
use crate::nn::{Builder, Forward, Init, Memory, ParamId};
use crate::ops::activation::{Activation, activation};
use crate::ops::{attention, cross_band};
use crate::tape::Var;
use crate::tensor::Tensor;
use std::sync::Arc;

/// Above this many floats a map does not fit a core's cache and the blocks run in chunks.
const CHUNKS_ABOVE_FLOATS: usize = 1 << 18;
/// Frames per cross-band chunk: the full-band weights (half a megabyte) are read once per chunk.
const FRAMES_PER_CHUNK: usize = 8;

enum Stem {
    Map { conv: Conv1d, norm: Norm },
    Covariance(covariance::FrontEnd),
}

/// Stem and blocks.
pub struct Trunk {
    /// What large maps keep for the backward pass.
    pub memory: Memory,
    stem: Stem,
    blocks: Vec<Block>,
}

#[derive(Clone)]
struct FreqConv {
    norm: Norm,
    conv: Conv1d,
    act: Prelu,
}

#[derive(Clone)]
struct FullBand {
    norm: Norm,
    squeeze: Linear,
    unsqueeze: Linear,
    weight: ParamId,
    bias: ParamId,
}

#[derive(Clone)]
struct NarrowBand {
    norm: Norm,
    qkv: Linear,
    out: Linear,
    ffn_norm: Norm,
    up: Linear,
    conv1: Conv1d,
    conv2: Conv1d,
    group_norm: Norm,
    conv3: Conv1d,
    down: Linear,
    heads: usize,
}

struct Block {
    cross: Arc<CrossBand>,
    narrow: Arc<NarrowBand>,
}

/// The frame-local half of a block.
struct CrossBand {
    fconv1: FreqConv,
    full: FullBand,
    fconv2: FreqConv,
    groups: usize,
}

impl FreqConv {
    fn new(b: &mut Builder, name: &str, config: &EncoderConfig) -> FreqConv {
        let h = config.hidden;
        FreqConv {
            norm: Norm::layer(b, &format!("{name}.norm"), h),
            conv: Conv1d::new(b, &format!("{name}.conv"), h, h, config.kernel_frequency, config.groups),
            act: Prelu::new(b, &format!("{name}.act"), h),
        }
    }
    fn ids(&self) -> Vec<ParamId> {
        [self.norm.ids(), self.conv.ids(), self.act.ids()].concat()
    }
}

impl FullBand {
    fn ids(&self) -> Vec<ParamId> {
        [self.norm.ids(), self.squeeze.ids(), self.unsqueeze.ids(), vec![self.weight, self.bias]].concat()
    }
}

impl CrossBand {
    /// x [n, F, H] -> same
    fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let parameters = self.parameters(c);
        cross_band::cross_band(&mut c.tape, x, &parameters, self.groups)
    }
    /// x [B, F, T, H] -> same
    fn on_map(self: &Arc<Self>, c: &mut Forward, memory: Memory, x: &Var) -> Var {
        if cross_band::is_one_kernel(x.tensor(), &self.parameters(c), self.groups) {
            return at_once(c, x, Along::Frequency, |c, x| self.forward(c, x));
        }
        let cross = self.clone();
        along(c, memory, x, Along::Frequency, &self.ids(), Arc::new(move |c, x| cross.forward(c, x)))
    }
    fn parameters(&self, c: &mut Forward) -> cross_band::Parameters {
        let parameters: Vec<Var> = self.ids().into_iter().map(|id| c.param(id)).collect();
        <[Var; 18]>::try_from(parameters).expect("as many as the op takes").into()
    }
    /// In the order of the fields of [`cross_band::Parameters`].
    fn ids(&self) -> Vec<ParamId> {
        [self.fconv1.ids(), self.full.ids(), self.fconv2.ids()].concat()
    }
}

impl NarrowBand {
    fn new(b: &mut Builder, name: &str, config: &EncoderConfig) -> NarrowBand {
        let (h, e, k, g) = (config.hidden, config.ffn, config.kernel_time, config.groups);
        NarrowBand {
            norm: Norm::layer(b, &format!("{name}.norm"), h),
            qkv: Linear::new(b, &format!("{name}.qkv"), h, 3 * h),
            out: Linear::new(b, &format!("{name}.out"), h, h),
            ffn_norm: Norm::layer(b, &format!("{name}.ffn_norm"), h),
            up: Linear::new(b, &format!("{name}.up"), h, e),
            conv1: Conv1d::new(b, &format!("{name}.conv1"), e, e, k, g),
            conv2: Conv1d::new(b, &format!("{name}.conv2"), e, e, k, g),
            group_norm: Norm::group(b, &format!("{name}.group_norm"), e, g),
            conv3: Conv1d::new(b, &format!("{name}.conv3"), e, e, k, g),
            down: Linear::new(b, &format!("{name}.down"), e, h),
            heads: config.heads,
        }
    }
    /// x [n, T, H] -> same: attention, then the temporal convolution network. SiLUs and residuals belong to the ops beside
    /// them, because a GPU spends this half of a block waiting for memory.
    fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let y = self.norm.forward(c, x);
        let qkv = self.qkv.forward(c, &y);
        let y = attention::self_attention(&mut c.tape, &qkv, self.heads);
        let x = self.out.forward_plus(c, &y, x);
        let y = self.ffn_norm.forward(c, &x);
        let y = self.up.forward(c, &y);
        let y = self.conv1.forward_of_silu(c, &y);
        let y = self.conv2.forward_of_silu(c, &y);
        let y = self.group_norm.forward(c, &y);
        let y = self.conv3.forward_of_silu(c, &y);
        let y = activation(&mut c.tape, Activation::Silu, &y);
        self.down.forward_plus(c, &y, &x)
    }
    fn ids(&self) -> Vec<ParamId> {
        let norms = [&self.norm, &self.ffn_norm, &self.group_norm].map(Norm::ids);
        let linears = [&self.qkv, &self.out, &self.up, &self.down].map(Linear::ids);
        let convs = [&self.conv1, &self.conv2, &self.conv3].map(Conv1d::ids);
        [norms.concat(), linears.concat(), convs.concat()].concat()
    }
}

impl Trunk {
    /// Adds the trunk's parameters under `prefix`.
    pub fn new(b: &mut Builder, prefix: &str, config: &EncoderConfig) -> Trunk {
        let (h, f, s) = (config.hidden, config.bands(), config.squeeze);
        let stem = match config.input {
            InputMode::Map => Stem::Map {
                conv: Conv1d::new(b, &format!("{prefix}stem"), 8, h, config.stem_kernel, config.stem_groups),
                norm: Norm::group(b, &format!("{prefix}stem_norm"), h, config.stem_groups),
            },
            InputMode::Covariance => Stem::Covariance(covariance::FrontEnd::new(b, &format!("{prefix}cells"), config)),
        };
        let weight = b.param(format!("{prefix}full_weight"), &[s, f, f], Init::Normal((f as f64).powf(-0.5)), true);
        let bias = b.param(format!("{prefix}full_bias"), &[s, f], Init::Constant(0.0), false);
        let block = |b: &mut Builder, i: usize| {
            let name = format!("{prefix}layers.{i}");
            let full = |b: &mut Builder| FullBand {
                norm: Norm::layer(b, &format!("{name}.full.norm"), h),
                squeeze: Linear::new(b, &format!("{name}.full.squeeze"), h, s),
                unsqueeze: Linear::new(b, &format!("{name}.full.unsqueeze"), s, h),
                weight,
                bias,
            };
            let fconv1 = FreqConv::new(b, &format!("{name}.fconv1"), config);
            let full = full(b);
            let fconv2 = FreqConv::new(b, &format!("{name}.fconv2"), config);
            let narrow = NarrowBand::new(b, &format!("{name}.narrow"), config);
            let cross = CrossBand { fconv1, full, fconv2, groups: config.groups };
            Block { cross: Arc::new(cross), narrow: Arc::new(narrow) }
        };
        let blocks = (0..config.layers).map(|i| block(b, i)).collect();
        Trunk { memory: Memory::default(), stem, blocks }
    }

    /// map [B, F, T, 8] or cells -> x [B, F, T, H]
    pub fn forward(&self, c: &mut Forward, map: &Tensor) -> Var {
        self.trace(c, &Var::constant(map.clone())).pop().expect("the trace ends with the output")
    }

    /// The output of the stem and of every block, in order. `map` may be tracked, for the gradient of the features.
    pub fn trace(&self, c: &mut Forward, map: &Var) -> Vec<Var> {
        let memory = self.memory;
        let x = match &self.stem {
            Stem::Map { conv, norm } => {
                let (conv, norm) = (*conv, *norm);
                let x = along(c, memory, map, Along::Time, &conv.ids(), Arc::new(move |c, x| conv.forward(c, x)));
                along(c, memory, &x, Along::Frequency, &norm.ids(), Arc::new(move |c, x| norm.forward(c, x)))
            }
            Stem::Covariance(front_end) => front_end.forward(c, map),
        };
        let mut trace = vec![x];
        for block in &self.blocks {
            let x = trace.last().expect("starts with the stem");
            let (narrow, narrow_ids) = (block.narrow.clone(), block.narrow.ids());
            let x = block.cross.on_map(c, memory, x);
            trace.push(along(c, memory, &x, Along::Time, &narrow_ids, Arc::new(move |c, x| narrow.forward(c, x))));
        }
        trace
    }
}

/// Runs `f` on the sequences of a map: in chunks when the map is large, at once when it is small.
fn along(c: &mut Forward, memory: Memory, x: &Var, direction: Along, ids: &[ParamId], f: Chunk) -> Var {
    if x.tensor().len() > CHUNKS_ABOVE_FLOATS {
        let per_chunk = if direction == Along::Time { 1 } else { FRAMES_PER_CHUNK };
        return chunks(c, memory, x, (direction, per_chunk), ids, f);
    }
    at_once(c, x, direction, |c, x| f(c, x))
}
