//! The network of a Whisper-type encoder, and the adapter behind Audio Flamingo 3's. Names are those of Transformers.

use super::config::{Family, SemanticConfig};
use crate::nn::layers::{Linear, Norm};
use crate::nn::{Builder, Forward, Init, ParamId};
use crate::ops::activation::{Activation, activation};
use crate::ops::{arrange, attention, elementwise, linear, unfold};
use crate::tape::Var;
use crate::tensor::Tensor;

/// Taps of both convolutions.
const TAPS: usize = 3;

/// `weight [out, in, 3]`, `bias [out]`.
struct Conv {
    weight: ParamId,
    bias: ParamId,
    inputs: usize,
    outputs: usize,
    stride: usize,
}

impl Conv {
    fn new(b: &mut Builder, name: &str, inputs: usize, outputs: usize, stride: usize) -> Conv {
        let start = Init::Uniform(((inputs * TAPS) as f64).powf(-0.5));
        Conv {
            weight: b.param(format!("{name}.weight"), &[outputs, inputs, TAPS], start, true),
            bias: b.param(format!("{name}.bias"), &[outputs], start, false),
            inputs,
            outputs,
            stride,
        }
    }
    /// x [B, L, in] -> GELU of the convolution [B, (L - 1) / stride + 1, out]: one product over the windows of x.
    fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let windows = unfold::unfold(&mut c.tape, x, TAPS, self.stride);
        let (weight, bias) = (c.param(self.weight), c.param(self.bias));
        let weight = arrange::reshape(&mut c.tape, &weight, &[self.outputs, self.inputs * TAPS]);
        let y = linear::linear(&mut c.tape, &windows, &weight, Some(&bias));
        activation(&mut c.tape, Activation::Gelu, &y)
    }
}

/// A pre-norm layer: attention, then a network of two products.
struct Layer {
    attention_norm: Norm,
    q: Linear,
    /// Has no bias: it would shift all logits of a query alike.
    k: ParamId,
    v: Linear,
    out: Linear,
    norm: Norm,
    up: Linear,
    down: Linear,
    heads: usize,
}

impl Layer {
    fn new(b: &mut Builder, name: &str, config: &SemanticConfig) -> Layer {
        let d = config.width;
        let part = |part: &str| format!("{name}{part}");
        Layer {
            attention_norm: Norm::layer(b, &part("self_attn_layer_norm"), d),
            q: Linear::new(b, &part("self_attn.q_proj"), d, d),
            k: b.param(part("self_attn.k_proj.weight"), &[d, d], Init::Uniform((d as f64).powf(-0.5)), true),
            v: Linear::new(b, &part("self_attn.v_proj"), d, d),
            out: Linear::new(b, &part("self_attn.out_proj"), d, d),
            norm: Norm::layer(b, &part("final_layer_norm"), d),
            up: Linear::new(b, &part("fc1"), d, config.ffn),
            down: Linear::new(b, &part("fc2"), config.ffn, d),
            heads: config.heads,
        }
    }
    /// x [B, P, d] -> [B, P, d]; `lengths` as [`attention::Shape::key_lengths`].
    fn forward(&self, c: &mut Forward, x: &Var, lengths: Option<&Tensor>) -> Var {
        let y = self.attention_norm.forward(c, x);
        let (q, v) = (self.q.forward(c, &y), self.v.forward(c, &y));
        let weight = c.param(self.k);
        let k = linear::linear(&mut c.tape, &y, &weight, None);
        let shape = attention::Shape { key_lengths: lengths, ..attention::Shape::full(self.heads, self.heads) };
        let y = attention::attention(&mut c.tape, &q, &k, &v, &shape);
        let x = self.out.forward_plus(c, &y, x);
        let y = self.norm.forward(c, &x);
        let y = self.up.forward(c, &y);
        let y = activation(&mut c.tape, Activation::Gelu, &y);
        self.down.forward_plus(c, &y, &x)
    }
}

/// The encoder from features to tokens.
pub struct Tower {
    conv1: Conv,
    conv2: Conv,
    positions: ParamId,
    layers: Vec<Layer>,
    norm: Norm,
    config: SemanticConfig,
}

impl Tower {
    /// Adds the parameters under `prefix`. The table of positions is frozen always, as in Transformers: whoever trains
    /// the others gives it [`sinusoids`].
    pub fn new(b: &mut Builder, prefix: &str, config: &SemanticConfig) -> Tower {
        b.under(prefix, |b| {
            let d = config.width;
            let table =
                |b: &mut Builder| b.param("embed_positions.weight", &[config.positions, d], Init::Constant(0.0), false);
            Tower {
                conv1: Conv::new(b, "conv1", config.mel_bands, d, 1),
                conv2: Conv::new(b, "conv2", d, d, 2),
                positions: b.frozen(table),
                layers: (0..config.layers).map(|i| Layer::new(b, &format!("layers.{i}."), config)).collect(),
                norm: Norm::layer(b, "layer_norm", d),
                config: config.clone(),
            }
        })
    }

    /// The table of positions.
    pub fn positions(&self) -> ParamId {
        self.positions
    }

    /// features [B, 2 P, M], of which window b holds audio in its first `frames[b]` frames -> tokens [B, P, d], or
    /// [B, P / 2, d] where pairs are averaged.
    #[track_caller]
    pub fn forward(&self, c: &mut Forward, features: &Var, frames: &[usize]) -> Var {
        let [batch, steps, bands] = features.tensor().dims("semantic features");
        let config = &self.config;
        assert_eq!((steps, bands), (2 * config.positions, config.mel_bands), "features {:?}", features.shape());
        assert!(frames.len() == batch && frames.iter().all(|n| (1..=steps).contains(n)), "frames {frames:?}");
        let device = features.tensor().device();
        let lengths = (config.family == Family::AudioFlamingo3).then(|| {
            let lengths: Vec<i32> = frames.iter().map(|n| n.div_ceil(2) as i32).collect();
            Tensor::from_slice(&[batch], &lengths).to(device)
        });
        let x = self.conv1.forward(c, features);
        let x = self.conv2.forward(c, &x);
        let table = c.param(self.positions).tensor().reshape(&[1, config.positions, config.width]);
        let table = Var::constant(Tensor::stacked(&vec![table; batch]));
        let mut x = elementwise::add(&mut c.tape, &x, &table);
        for layer in &self.layers {
            x = layer.forward(c, &x, lengths.as_ref());
        }
        if config.family == Family::AudioFlamingo3 {
            let (pairs, d) = (config.positions / 2, config.width);
            let rows = arrange::reshape(&mut c.tape, &x, &[batch * pairs, 2, d]);
            let mean = arrange::mean_axis1(&mut c.tape, &rows);
            x = arrange::reshape(&mut c.tape, &mean, &[batch, pairs, d]);
        }
        self.norm.forward(c, &x)
    }
}

/// Audio Flamingo 3's way from the tower to its decoder: linear_2(GELU(linear_1(x))).
pub struct Adapter {
    first: Linear,
    second: Linear,
    /// The decoder's width.
    pub width: usize,
}

impl Adapter {
    /// Adds the parameters under `prefix`.
    pub fn new(b: &mut Builder, prefix: &str, inputs: usize, width: usize) -> Adapter {
        Adapter {
            first: Linear::new(b, &format!("{prefix}linear_1"), inputs, width),
            second: Linear::new(b, &format!("{prefix}linear_2"), width, width),
            width,
        }
    }
    /// x [.., in] -> [.., width]
    pub fn forward(&self, c: &mut Forward, x: &Var) -> Var {
        let y = self.first.forward(c, x);
        let y = activation(&mut c.tape, Activation::Gelu, &y);
        self.second.forward(c, &y)
    }
}

/// Whisper's table of positions [n, d]: sin(p w_i) in the first half, cos(p w_i) in the second,
/// w_i = 10000^(-i / (d / 2 - 1)). Panics for an odd or too small d.
#[track_caller]
pub fn sinusoids(n: usize, d: usize) -> Tensor {
    assert!(d >= 4 && d.is_multiple_of(2), "sinusoids of width {d}");
    let half = d / 2;
    let mut table = Tensor::zeros(&[n, d]);
    for (p, row) in table.data_mut().chunks_exact_mut(d).enumerate() {
        for i in 0..half {
            let angle = p as f64 * 10_000f64.powf(-(i as f64) / (half - 1) as f64);
            (row[i], row[half + i]) = (angle.sin() as f32, angle.cos() as f32);
        }
    }
    table
}
