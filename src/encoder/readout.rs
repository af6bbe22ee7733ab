//! From the trunk's map to sources and room: frames, attractors, cross-attention, heads (paper 4.2.1).
//!
//! An LSTM with zero input emits one attractor per step from the mean of the pooled frames; attractors query the
//! frames; each has an existence logit (counting), a unit direction, a distance and a class. Room surface and mean
//! absorption come from the mean frame. `Flat` (small presets) reads directions from the cells themselves and classes
//! from frames that keep the spectrum, and predicts an auxiliary map over 128 directions.

use super::{EncoderConfig, InputMode, Output};
use crate::nn::layers::{Conv1d, CrossAttention, Linear, Norm};
use crate::nn::{Builder, Forward, Init, ParamId};
use crate::ops::activation::{Activation, activation};
use crate::ops::{arrange, band_pool, elementwise, l2_normalize, linear, lstm};
use crate::tape::Var;
use crate::tensor::{DType, Tensor};

/// Directions of the auxiliary map.
pub const MAP_DIRECTIONS: usize = 128;
/// Channels per band that the flat frames keep.
const FLAT_CHANNELS: usize = 8;

enum Frames {
    /// Mean and attention pooling over frequency, and the gate that parts spatial from semantic.
    Pooled {
        weight: ParamId,
        bias: ParamId,
        gate: ParamId,
    },
    Flat(FlatFrames),
}

struct FlatFrames {
    squeeze: Linear,
    mix: Linear,
    spectrum1: Conv1d,
    spectrum2: Conv1d,
    norm: Norm,
    map_hidden: Linear,
    map: Linear,
}

/// One round of reading in the flat read-out: the cells, the other slots, a small network.
struct Round {
    cells: CrossAttention,
    slots: CrossAttention,
    norm: Norm,
    up: Linear,
    down: Linear,
}

/// Frames, attractors and heads.
pub struct Readout {
    frames: Frames,
    init: Linear,
    lstm_weight: ParamId,
    lstm_bias: ParamId,
    rounds: Vec<Round>,
    read_spatial: Option<CrossAttention>,
    read_semantic: CrossAttention,
    exist: Linear,
    direction: Linear,
    distance: Linear,
    class: Linear,
    surface: Linear,
    absorption: Linear,
    steps: usize,
    width: usize,
}

impl FlatFrames {
    fn new(b: &mut Builder, name: &str, config: &EncoderConfig) -> FlatFrames {
        let (f, d) = (config.bands(), config.width());
        FlatFrames {
            squeeze: Linear::new(b, &format!("{name}squeeze"), config.hidden, FLAT_CHANNELS),
            mix: Linear::new(b, &format!("{name}mix"), f * FLAT_CHANNELS, d),
            spectrum1: Conv1d::new(b, &format!("{name}spectrum1"), config.n_fft / 2, d, 3, 1),
            spectrum2: Conv1d::new(b, &format!("{name}spectrum2"), d, d, 3, 1),
            norm: Norm::layer(b, &format!("{name}frame_norm"), d),
            map_hidden: Linear::new(b, &format!("{name}map_hidden"), d, d),
            map: Linear::new(b, &format!("{name}map"), d, MAP_DIRECTIONS),
        }
    }
    /// x [B, F, T, H], spectrum [B, T, bins] -> z [B, T, D]
    fn frames(&self, c: &mut Forward, x: &Var, spectrum: &Tensor) -> Var {
        let [b, f, t, _] = x.tensor().dims("trunk output");
        let flat = self.squeeze.forward(c, x);
        let flat = arrange::swap_axes(&mut c.tape, &flat);
        let flat = arrange::reshape(&mut c.tape, &flat, &[b, t, f * FLAT_CHANNELS]);
        let flat = self.mix.forward(c, &flat);
        let y = self.spectrum1.forward(c, &Var::constant(spectrum.clone()));
        let y = activation(&mut c.tape, Activation::Silu, &y);
        let y = self.spectrum2.forward(c, &y);
        let y = elementwise::add(&mut c.tape, &flat, &y);
        self.norm.forward(c, &y)
    }
    /// z [B, T, D] -> logits over the directions [B, 128]
    fn direction_map(&self, c: &mut Forward, z: &Var) -> Var {
        let y = self.map_hidden.forward(c, z);
        let y = activation(&mut c.tape, Activation::Silu, &y);
        let y = arrange::mean_axis1(&mut c.tape, &y);
        self.map.forward(c, &y)
    }
}

impl Round {
    fn new(b: &mut Builder, name: &str, config: &EncoderConfig) -> Round {
        let d = config.width();
        Round {
            cells: CrossAttention::new(b, &format!("{name}.cells"), d, config.hidden, config.heads),
            slots: CrossAttention::new(b, &format!("{name}.slots"), d, d, config.heads),
            norm: Norm::layer(b, &format!("{name}.norm"), d),
            up: Linear::new(b, &format!("{name}.up"), d, 2 * d),
            down: Linear::new(b, &format!("{name}.down"), 2 * d, d),
        }
    }
    fn forward(&self, c: &mut Forward, a: &Var, cells: &Var) -> Var {
        let a = self.cells.forward(c, a, cells);
        let a = self.slots.forward(c, &a, &a);
        let y = self.norm.forward(c, &a);
        let y = self.up.forward(c, &y);
        let y = activation(&mut c.tape, Activation::Silu, &y);
        let y = self.down.forward(c, &y);
        elementwise::add(&mut c.tape, &a, &y)
    }
}

impl Readout {
    /// Adds the read-out's parameters under `prefix`.
    pub fn new(b: &mut Builder, prefix: &str, config: &EncoderConfig, classes: usize) -> Readout {
        let (h, d) = (config.hidden, config.width());
        let name = |part: &str| format!("{prefix}{part}");
        let frames = match config.input {
            InputMode::Map => {
                let bound = Init::Uniform((h as f64).powf(-0.5));
                Frames::Pooled {
                    weight: b.param(name("pool.weight"), &[1, h], bound, true),
                    bias: b.param(name("pool.bias"), &[1], bound, false),
                    gate: b.param(name("gate"), &[d], Init::Constant(0.0), false),
                }
            }
            InputMode::Covariance => Frames::Flat(FlatFrames::new(b, prefix, config)),
        };
        let is_flat = config.input == InputMode::Covariance;
        let rounds = if is_flat { config.reads } else { 0 };
        Readout {
            frames,
            init: Linear::new(b, &name("init"), d, d),
            lstm_weight: b.param(name("lstm_weight"), &[4 * d, d], Init::Normal((d as f64).powf(-0.5)), true),
            lstm_bias: b.param(name("lstm_bias"), &[4 * d], Init::Constant(0.0), false),
            rounds: (0..rounds).map(|i| Round::new(b, &name(&format!("rounds.{i}")), config)).collect(),
            read_spatial: (!is_flat).then(|| CrossAttention::new(b, &name("read_spatial"), d, d, config.heads)),
            read_semantic: CrossAttention::new(b, &name("read_semantic"), d, d, config.heads),
            exist: Linear::new(b, &name("exist"), d, 1),
            direction: Linear::new(b, &name("direction"), d, 3),
            distance: Linear::new(b, &name("distance"), d, 1),
            class: Linear::new(b, &name("klass"), d, classes),
            surface: Linear::new(b, &name("surface"), d, 1),
            absorption: Linear::new(b, &name("absorption"), d, 1),
            steps: config.steps,
            width: d,
        }
    }

    /// Attractors [B, K, D]: an LSTM started from the mean frame zm [B, D], with zero input.
    fn attractors(&self, c: &mut Forward, zm: &Var) -> Var {
        let (b, d, k) = (zm.shape()[0], self.width, self.steps);
        let h0 = self.init.forward(c, zm);
        let h0 = activation(&mut c.tape, Activation::Tanh, &h0);
        let (bias, weight) = (c.param(self.lstm_bias), c.param(self.lstm_weight));
        // The input projection of a zero input is the bias, for every clip and step.
        let column = arrange::reshape(&mut c.tape, &bias, &[4 * d, 1]);
        let ones = Tensor::from_slice(&[b, k, 1], &vec![1.0; b * k]).to(zm.tensor().device());
        let gates = linear::linear(&mut c.tape, &Var::constant(ones), &column, None);
        let c0 = Var::constant(Tensor::zeros_on(zm.tensor().device(), DType::F32, &[b, d]));
        let states = lstm::lstm(&mut c.tape, &gates, &weight, &h0, &c0);
        arrange::take_last(&mut c.tape, &states, 0, d)
    }

    /// x [B, F, T, H] -> everything the encoder says.
    pub fn forward(&self, c: &mut Forward, x: &Var, spectrum: Option<&Tensor>) -> Output {
        let [b, f, t, h] = x.tensor().dims("trunk output");
        let (z, direction_map) = match &self.frames {
            Frames::Pooled { weight, bias, .. } => {
                let (weight, bias) = (c.param(*weight), c.param(*bias));
                (band_pool::band_pool(&mut c.tape, x, &weight, &bias), None)
            }
            Frames::Flat(flat) => {
                let z = flat.frames(c, x, spectrum.expect("the flat read-out needs the spectrum"));
                let map = flat.direction_map(c, &z);
                (z, Some(map))
            }
        };
        let zm = arrange::mean_axis1(&mut c.tape, &z);
        let attractors = self.attractors(c, &zm);
        let (spatial_frames, spatial, semantic) = match &self.frames {
            Frames::Pooled { gate, .. } => {
                let gate = c.param(*gate);
                let open = activation(&mut c.tape, Activation::Sigmoid, &gate);
                let negative = elementwise::scale(&mut c.tape, &gate, -1.0);
                let closed = activation(&mut c.tape, Activation::Sigmoid, &negative);
                let spatial = elementwise::scale_channels(&mut c.tape, &z, &open);
                let semantic = elementwise::scale_channels(&mut c.tape, &z, &closed);
                let read = self.read_spatial.as_ref().expect("the paper read-out has it");
                let slots = read.forward(c, &attractors, &spatial);
                (spatial, slots, self.read_semantic.forward(c, &attractors, &semantic))
            }
            Frames::Flat(_) => {
                let cells = arrange::reshape(&mut c.tape, x, &[b, f * t, h]);
                let mut slots = attractors.clone();
                for round in &self.rounds {
                    slots = round.forward(c, &slots, &cells);
                }
                let semantic = self.read_semantic.forward(c, &slots, &z);
                (z.clone(), slots, semantic)
            }
        };
        // The paper counts by the attractors alone; the flat read-out by what they found.
        let counted = if direction_map.is_some() { spatial.clone() } else { attractors.clone() };
        self.heads(c, (z, spatial_frames, zm, attractors, direction_map), &counted, &spatial, &semantic)
    }

    fn heads(
        &self,
        c: &mut Forward,
        (z, spatial_frames, zm, attractors, direction_map): (Var, Var, Var, Var, Option<Var>),
        counted: &Var,
        spatial: &Var,
        semantic: &Var,
    ) -> Output {
        let (b, k) = (zm.shape()[0], self.steps);
        let exist = self.exist.forward(c, counted);
        let direction = self.direction.forward(c, spatial);
        let distance = self.distance.forward(c, spatial);
        let distance = activation(&mut c.tape, Activation::Softplus, &distance);
        let surface = self.surface.forward(c, &zm);
        let absorption = self.absorption.forward(c, &zm);
        let absorption = activation(&mut c.tape, Activation::Sigmoid, &absorption);
        let class_logits = self.class.forward(c, semantic);
        Output {
            exist_logit: arrange::reshape(&mut c.tape, &exist, &[b, k]),
            direction: l2_normalize::l2_normalize(&mut c.tape, &direction),
            distance_m: arrange::reshape(&mut c.tape, &distance, &[b, k]),
            class_logits,
            log_surface: arrange::reshape(&mut c.tape, &surface, &[b]),
            absorption: arrange::reshape(&mut c.tape, &absorption, &[b]),
            z,
            spatial: spatial_frames,
            slots: spatial.clone(),
            attractors,
            direction_map,
        }
    }
}
