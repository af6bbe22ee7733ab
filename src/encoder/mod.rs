//! The spatial encoder: FOA audio -> slots with directions, distances, classes, and the room (paper 4.2.1).
//!
//! audio [4, L] -> input map or cells -> trunk [B, F, T, H] -> frames z [B, T, D] -> attractors -> heads. The
//! `paper` preset is the executable definition of the reference implementation, parameter by parameter; `small` and
//! `pocket` use the covariance front end and the flat read-out (module `cells`).

pub mod covariance;
pub mod readout;
pub mod store;
pub mod trunk;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::{Builder, Forward, Memory, Params};
use crate::ops::spatial_loss::{Predictions, SOURCES_MAX};
use crate::ops::{elementwise, stft};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// Most classes of sounds.
pub const CLASSES_MAX: usize = 1024;

/// What the trunk is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputMode {
    /// The 8-channel real map of the complex STFT (paper).
    Map,
    /// Pooled spatial covariance in cells of 8 frames by 4 bins, and the flat read-out.
    Covariance,
}

/// Every size of the encoder. The field names of the trunk are those of the reference's config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderConfig {
    /// Points of the STFT window (samples at 16 kHz).
    pub n_fft: usize,
    /// Samples between frames.
    pub hop: usize,
    /// What the trunk is fed.
    pub input: InputMode,
    /// Channels H of the trunk.
    pub hidden: usize,
    /// Blocks.
    pub layers: usize,
    /// Channels of the full-band bottleneck.
    pub squeeze: usize,
    /// Channels of the temporal feed-forward part.
    pub ffn: usize,
    /// Attention heads.
    pub heads: usize,
    /// Kernel along frequency.
    pub kernel_frequency: usize,
    /// Kernel along time.
    pub kernel_time: usize,
    /// Groups of the block's convolutions.
    pub groups: usize,
    /// Kernel of the stem (map input).
    pub stem_kernel: usize,
    /// Groups of the stem (map input).
    pub stem_groups: usize,
    /// Channels of a pooled cell's own network (covariance input).
    pub cell_width: usize,
    /// Width of slots and frames in the flat read-out (covariance input); the paper's is 2 x hidden.
    pub slot_width: usize,
    /// Rounds of reading by the slots in the flat read-out.
    pub reads: usize,
    /// Attractor steps: three sources and the stop.
    pub steps: usize,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        EncoderConfig::preset("paper").expect("the preset exists")
    }
}

impl EncoderConfig {
    /// The sizes called `paper`, `small` or `pocket`.
    pub fn preset(name: &str) -> Option<EncoderConfig> {
        let paper = EncoderConfig {
            n_fft: 256,
            hop: 128,
            input: InputMode::Map,
            hidden: 96,
            layers: 8,
            squeeze: 8,
            ffn: 192,
            heads: 4,
            kernel_frequency: 5,
            kernel_time: 3,
            groups: 8,
            stem_kernel: 5,
            stem_groups: 4,
            cell_width: 16,
            slot_width: 64,
            reads: 1,
            steps: 4,
        };
        match name {
            "paper" => Some(paper),
            "small" => Some(EncoderConfig {
                input: InputMode::Covariance,
                hidden: 32,
                layers: 2,
                ffn: 64,
                slot_width: 64,
                reads: 2,
                ..paper
            }),
            "pocket" => Some(EncoderConfig {
                input: InputMode::Covariance,
                hidden: 16,
                layers: 1,
                ffn: 32,
                heads: 2,
                slot_width: 48,
                reads: 2,
                ..paper
            }),
            _ => None,
        }
    }

    /// Frequency bands F of the trunk's map.
    pub fn bands(&self) -> usize {
        match self.input {
            InputMode::Map => self.n_fft / 2 + 1,
            InputMode::Covariance => self.n_fft / 2 / covariance::BINS,
        }
    }

    /// Width D of frames and slots.
    pub fn width(&self) -> usize {
        match self.input {
            InputMode::Map => 2 * self.hidden,
            InputMode::Covariance => self.slot_width,
        }
    }

    /// The fewest samples a clip may have.
    pub fn samples_min(&self) -> usize {
        match self.input {
            InputMode::Map => self.n_fft / 2 + 1,
            InputMode::Covariance => (self.hop * covariance::FRAMES).max(self.n_fft / 2 + 1),
        }
    }

    /// Frames of z that a clip of so many samples gets.
    pub fn frames(&self, samples: usize) -> usize {
        let map = samples / self.hop + 1;
        match self.input {
            InputMode::Map => map,
            InputMode::Covariance => map / covariance::FRAMES,
        }
    }

    /// Floats of the parameters of an encoder of so many classes, which no one has to make for it. Panics for sizes that
    /// [`EncoderConfig::check`] refuses.
    pub fn floats(&self, classes: usize) -> usize {
        let mut builder = Builder::new();
        trunk::Trunk::new(&mut builder, "trunk.", self);
        readout::Readout::new(&mut builder, "readout.", self, classes);
        builder.shapes().map(|shape| shape.len().next_multiple_of(16)).sum()
    }

    /// The sample at which the first frame of z is centred, and the samples between frames.
    pub fn frame_centres(&self) -> (usize, usize) {
        match self.input {
            InputMode::Map => (0, self.hop),
            // A cell holds frames 0 to 7 hops from its first.
            InputMode::Covariance => ((covariance::FRAMES - 1) * self.hop / 2, covariance::FRAMES * self.hop),
        }
    }

    /// Adds what is wrong with the sizes, naming each field.
    pub fn check(&self, errors: &mut Vec<String>) {
        let mut need = |holds: bool, message: String| {
            if !holds {
                errors.push(message);
            }
        };
        let range = |v: usize, low: usize, high: usize| (low..=high).contains(&v);
        need(
            range(self.n_fft, 16, 4096) && self.n_fft.is_multiple_of(16),
            format!("n_fft = {}: a multiple of 16 in 16..=4096", self.n_fft),
        );
        need(range(self.hop, 1, self.n_fft), format!("hop = {}: 1..=n_fft", self.hop));
        need(range(self.layers, 1, 64), format!("layers = {}: 1..=64", self.layers));
        need(range(self.steps, 4, 16), format!("steps = {}: 4..=16 (three sources and the stop)", self.steps));
        for (name, value) in [("hidden", self.hidden), ("squeeze", self.squeeze), ("ffn", self.ffn)] {
            need(range(value, 1, 4096), format!("{name} = {value}: 1..=4096"));
        }
        for (name, value) in [
            ("kernel_frequency", self.kernel_frequency),
            ("kernel_time", self.kernel_time),
            ("stem_kernel", self.stem_kernel),
        ] {
            need(range(value, 1, 31) && value % 2 == 1, format!("{name} = {value}: an odd number in 1..=31"));
        }
        let divides = |d: usize, n: usize| d > 0 && n.is_multiple_of(d);
        need(
            divides(self.heads, self.hidden) && divides(self.heads, self.width()),
            format!("heads = {}: must divide hidden and the slot width", self.heads),
        );
        need(
            divides(self.groups, self.hidden) && divides(self.groups, self.ffn),
            format!("groups = {}: must divide hidden and ffn", self.groups),
        );
        if self.input == InputMode::Map {
            need(
                divides(self.stem_groups, 8) && divides(self.stem_groups, self.hidden),
                format!("stem_groups = {}: must divide 8 and hidden", self.stem_groups),
            );
        } else {
            need(range(self.cell_width, 1, 1024), format!("cell_width = {}: 1..=1024", self.cell_width));
            need(range(self.slot_width, 1, 4096), format!("slot_width = {}: 1..=4096", self.slot_width));
            need(range(self.reads, 1, 16), format!("reads = {}: 1..=16", self.reads));
        }
    }
}

/// The encoder with its parameters.
pub struct Encoder {
    /// The sizes.
    pub config: EncoderConfig,
    /// The class names, in the order of the class head.
    pub classes: Vec<String>,
    /// The parameters.
    pub params: Params,
    /// How the trunk stores its activations; bf16 on devices only.
    pub precision: DType,
    trunk: trunk::Trunk,
    readout: readout::Readout,
}

/// What the trunk and the read-out are fed for a batch of clips of equal length.
#[derive(Clone)]
pub struct Features {
    /// The map [B, F, T, 8], or pooled cells [B, F', T', 10].
    pub map: Tensor,
    /// Log power per cell [B, T, F], for the flat read-out.
    pub spectrum: Option<Tensor>,
}

impl Features {
    /// The features of clips of one length as one batch. Panics when lengths differ or there are none.
    #[track_caller]
    pub fn stacked(clips: Vec<Features>) -> Features {
        let maps: Vec<Tensor> = clips.iter().map(|f| f.map.clone()).collect();
        let spectra: Option<Vec<Tensor>> = clips.iter().map(|f| f.spectrum.clone()).collect();
        Features { map: Tensor::stacked(&maps), spectrum: spectra.map(|spectra| Tensor::stacked(&spectra)) }
    }
}

/// What the encoder says about a batch of clips.
pub struct Output {
    /// Pooled frames [B, T, D].
    pub z: Var,
    /// The part of the frames that tells where, g z [B, T, D]; the flat read-out has no gate and gives z.
    pub spatial: Var,
    /// What every slot read from them [B, K, D].
    pub slots: Var,
    /// Attractors [B, K, D].
    pub attractors: Var,
    /// Existence of each slot [B, K].
    pub exist_logit: Var,
    /// Unit vectors [B, K, 3].
    pub direction: Var,
    /// Metres [B, K].
    pub distance_m: Var,
    /// [B, K, classes]
    pub class_logits: Var,
    /// ln(surface in square metres) [B].
    pub log_surface: Var,
    /// Mean absorption [B].
    pub absorption: Var,
    /// Logits of the auxiliary direction map [B, 128] (flat read-out).
    pub direction_map: Option<Var>,
}

impl Output {
    /// The values on the host, without their history.
    fn on_host(&self) -> Output {
        let to_host = |v: &Var| Var::constant(v.tensor().to(Device::Host));
        Output {
            z: to_host(&self.z),
            spatial: to_host(&self.spatial),
            slots: to_host(&self.slots),
            attractors: to_host(&self.attractors),
            exist_logit: to_host(&self.exist_logit),
            direction: to_host(&self.direction),
            distance_m: to_host(&self.distance_m),
            class_logits: to_host(&self.class_logits),
            log_surface: to_host(&self.log_surface),
            absorption: to_host(&self.absorption),
            direction_map: self.direction_map.as_ref().map(to_host),
        }
    }
    /// What the matched loss looks at.
    pub fn predictions(&self) -> Predictions<'_> {
        Predictions {
            exist_logit: &self.exist_logit,
            direction: &self.direction,
            distance_m: &self.distance_m,
            class_logits: &self.class_logits,
            log_surface: &self.log_surface,
            absorption: &self.absorption,
        }
    }
}

impl Encoder {
    /// A new encoder, its parameters drawn from `seed`.
    ///
    /// # Errors
    /// `Usage` listing every size that is out of range.
    pub fn new(config: EncoderConfig, classes: Vec<String>, seed: u64) -> Result<Encoder> {
        let mut errors = Vec::new();
        config.check(&mut errors);
        if classes.is_empty() || classes.len() > CLASSES_MAX {
            errors.push(format!("{} classes: 1..={CLASSES_MAX} are supported", classes.len()));
        }
        if !errors.is_empty() {
            return Err(Error::usage(format!("encoder: {}", errors.join("; "))));
        }
        let mut builder = Builder::new();
        let trunk = trunk::Trunk::new(&mut builder, "trunk.", &config);
        let readout = readout::Readout::new(&mut builder, "readout.", &config, classes.len());
        Ok(Encoder { params: builder.finish(seed), precision: DType::F32, config, classes, trunk, readout })
    }

    /// Features of one clip: audio [4, L] (W, Y, Z, X) at 16 kHz; divided by the RMS of W.
    #[track_caller]
    pub fn features(&self, audio: &[f32]) -> Features {
        self.features_equalized(audio, None)
    }

    /// [`Encoder::features`] of a clip that went through an equaliser with these gains per bin, the same for all
    /// channels (augmentation). The paper's map is made on the device of the network; what the host changes (gains,
    /// pooling into cells) is made on the host.
    #[track_caller]
    pub fn features_equalized(&self, audio: &[f32], gains: Option<&[f32]>) -> Features {
        match gains {
            None => features_on(self.device(), &self.config, audio),
            Some(_) => self.features_on_host(audio, gains),
        }
    }

    /// [`Encoder::features_equalized`], all of it on the host.
    #[track_caller]
    pub fn features_on_host(&self, audio: &[f32], gains: Option<&[f32]>) -> Features {
        let config = &self.config;
        let mut map = stft_map(audio, config.n_fft, config.hop);
        gains.into_iter().for_each(|gains| equalize(&mut map, gains));
        from_map(config, map)
    }

    /// What large maps keep for the backward pass of training.
    pub fn set_memory(&mut self, memory: Memory) {
        self.trunk.memory = memory;
    }

    /// The same encoder on another device.
    pub fn to(self, device: Device) -> Encoder {
        Encoder { params: self.params.to(device), ..self }
    }

    /// The device that the network runs on.
    pub fn device(&self) -> Device {
        self.params.device()
    }

    /// The whole network, on the device of the parameters.
    pub fn forward(&self, c: &mut Forward, features: &Features) -> Output {
        let device = self.device();
        let map = elementwise::cast(&mut c.tape, &Var::constant(features.map.to(device)), self.precision);
        let x = self.trunk.forward(c, map.tensor());
        let x = elementwise::cast(&mut c.tape, &x, DType::F32);
        let spectrum = features.spectrum.as_ref().map(|spectrum| spectrum.to(device));
        self.readout.forward(c, &x, spectrum.as_ref())
    }

    /// Predictions for one clip, without gradients, on the host.
    pub fn infer(&self, audio: &[f32]) -> Output {
        let mut c = Forward::new(Tape::without_gradients(), &self.params);
        self.forward(&mut c, &self.features(audio)).on_host()
    }
}

/// The most probable number of sources, at most three (the smallest of equals), by the existence of each slot in order.
///
/// Slot k is trained only on clips with at least k - 1 sources, so its existence is the probability of a k-th
/// source given the ones before it, and the number is n with probability e1 .. en (1 - e(n+1)). Stopping at the
/// first existence below one half counts three in a scene where one is the likeliest: 0.55 and 0.55 leave 0.45 for
/// one source, 0.25 for two and 0.30 for three.
pub fn likeliest_count(existence: impl IntoIterator<Item = f64>) -> usize {
    let (mut existence, mut reached) = (existence.into_iter(), 1.0);
    let mut best = (0, f64::NEG_INFINITY);
    for n in 0..=SOURCES_MAX {
        let goes_on = if n < SOURCES_MAX { existence.next().unwrap_or(0.0) } else { 0.0 };
        let probability = reached * (1.0 - goes_on);
        if probability > best.1 {
            best = (n, probability);
        }
        reached *= goes_on;
    }
    best.0
}

/// The map of a clip [4, L] that lies on a device and was divided by the RMS of its W channel ([`scaled`]).
#[track_caller]
pub fn map_of_scaled(config: &EncoderConfig, clip: Tensor) -> Features {
    assert!(config.input == InputMode::Map, "cells are made on the host");
    Features { map: map_on(clip, config.n_fft, config.hop), spectrum: None }
}

/// See [`Encoder::features`].
#[track_caller]
pub fn features(config: &EncoderConfig, audio: &[f32]) -> Features {
    features_on(Device::Host, config, audio)
}

/// See [`Encoder::features`]: the paper's map is made on `device`, what is pooled into cells on the host.
#[track_caller]
pub fn features_on(device: Device, config: &EncoderConfig, audio: &[f32]) -> Features {
    let device = if config.input == InputMode::Map { device } else { Device::Host };
    from_map(config, stft_map_on(device, audio, config.n_fft, config.hop))
}

/// Multiplies every bin of a map [1, F, T, 8] with its gain and brings W back to the power it had, as the division
/// by its RMS would.
fn equalize(map: &mut Tensor, gains: &[f32]) {
    let [_, bins, frames, _] = map.dims("stft map");
    assert_eq!(gains.len(), bins, "one gain per bin");
    let (mut before, mut after) = (0.0f64, 0.0f64);
    for (rows, &gain) in map.data().chunks_exact(frames * 8).zip(gains) {
        let power: f64 = rows.chunks_exact(8).map(|p| f64::from(p[0] * p[0] + p[1] * p[1])).sum();
        before += power;
        after += power * f64::from(gain) * f64::from(gain);
    }
    let scale = if after > 0.0 { (before / after).sqrt() as f32 } else { 1.0 };
    for (rows, &gain) in map.data_mut().chunks_exact_mut(frames * 8).zip(gains) {
        rows.iter_mut().for_each(|v| *v *= gain * scale);
    }
}

fn from_map(config: &EncoderConfig, map: Tensor) -> Features {
    match config.input {
        InputMode::Map => Features { map, spectrum: None },
        InputMode::Covariance => {
            let (pooled, spectrum) = covariance::pool(&map);
            Features { map: pooled, spectrum: Some(spectrum) }
        }
    }
}

/// The 8-channel real map [1, F, T, 8] of a clip [4, L] divided by the RMS of its W channel.
#[track_caller]
pub fn stft_map(audio: &[f32], n_fft: usize, hop: usize) -> Tensor {
    stft_map_on(Device::Host, audio, n_fft, hop)
}

/// [`stft_map`] made on a device.
#[track_caller]
fn stft_map_on(device: Device, audio: &[f32], n_fft: usize, hop: usize) -> Tensor {
    map_on(scaled(audio).to(device), n_fft, hop)
}

/// A clip [4, L] divided by the RMS of its W channel.
#[track_caller]
pub fn scaled(audio: &[f32]) -> Tensor {
    assert!(audio.len().is_multiple_of(4), "FOA audio has four channels");
    let samples = audio.len() / 4;
    let power: f64 = audio[..samples].iter().map(|&v| v as f64 * v as f64).sum::<f64>() / samples as f64;
    let scale = 1.0 / (power.sqrt() as f32 + 1e-8);
    Tensor::from_slice(&[4, samples], &audio.iter().map(|v| v * scale).collect::<Vec<f32>>())
}

/// The map [1, F, T, 8] of a clip [4, L], on its device.
#[track_caller]
fn map_on(clip: Tensor, n_fft: usize, hop: usize) -> Tensor {
    let map = stft::stft(&mut Tape::without_gradients(), &Var::constant(clip), n_fft, hop);
    let [f, t, c] = map.tensor().dims("stft map");
    map.tensor().reshape(&[1, f, t, c])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn an_equaliser_keeps_directions_and_the_power_of_w() {
        let mut rng = Rng::new(1, "equaliser", 0);
        let audio: Vec<f32> = (0..4 * 4000).map(|_| rng.normal() as f32).collect();
        let plain = stft_map(&audio, 256, 128);
        let gains: Vec<f32> = (0..129).map(|_| (rng.normal() * 0.7).exp() as f32).collect();
        let mut turned = plain.clone();
        equalize(&mut turned, &gains);
        let w = |map: &Tensor| -> f64 {
            map.data().chunks_exact(8).map(|p| f64::from(p[0]).powi(2) + f64::from(p[1]).powi(2)).sum()
        };
        assert!((w(&turned) / w(&plain) - 1.0).abs() < 1e-5);
        let frames = plain.shape()[2];
        let factor = turned.data()[0] / plain.data()[0] / gains[0];
        for (i, (a, b)) in turned.data().iter().zip(plain.data()).enumerate() {
            let expected = b * gains[i / (8 * frames)] * factor;
            assert!((a - expected).abs() <= 1e-5 * expected.abs(), "{i}: {a} {expected}");
        }
    }
}
