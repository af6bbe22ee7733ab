//! A family of models that answers questions about what is heard: a spatial encoder, a semantic encoder, a projector and a
//! decoder with adapters (paper 4.2).
//!
//! [`Parts`] says where the models lie: the folders of a `family.json`, or what a run of stage 2 or 3 was trained from, which
//! each of its checkpoints repeats in `parts.json`. [`Family`] holds them all: the encoders frozen, each with its own
//! parameters; the projector (`projector.`), the decoder and its adapters in one [`Params`], in which a stage trains what it
//! asked for.

pub mod answer;
mod contents;
mod open;
mod parts;
pub mod prompt;

pub use contents::Contents;
pub use open::{AdapterChoice, Choice, ProjectorChoice, Words};
pub use parts::{PARTS_FILE, Parts};

use crate::device::Device;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::language::decoder::{Adapter, Decoder};
use crate::language::template::Template;
use crate::language::tokenizer::Tokenizer;
use crate::nn::Params;
use crate::projector::{Clip, Projector, Spatial};
use crate::semantic::SemanticEncoder;
use crate::tensor::DType;

/// Begin of the names of the projector's parameters.
pub const PROJECTOR_PREFIX: &str = "projector.";

/// All models of a family, in memory.
pub struct Family {
    /// What is heard where: frozen.
    pub spatial: Encoder,
    /// What is heard: frozen.
    pub semantic: SemanticEncoder,
    /// Joins both for the decoder.
    pub projector: Projector,
    /// Reads and answers.
    pub decoder: Decoder,
    /// The adapters of the decoder, in order.
    pub adapters: Vec<Adapter>,
    /// Parameters of the projector, the decoder and the adapters.
    pub params: Params,
    /// Text to tokens.
    pub tokenizer: Tokenizer,
    /// Conversations to text.
    pub template: Template,
    /// Where everything was read from, and what it held.
    pub parts: Parts,
}

impl Family {
    /// The device that computes.
    pub fn device(&self) -> Device {
        self.params.device()
    }

    /// A hash of all that decides what the encoders make of a recording: their sizes, their numbers as they are stored, and
    /// the kind of device.
    pub fn ears(&self) -> String {
        let device = match self.device() {
            Device::Host => "host",
            Device::Emu => "emu",
            Device::Cuda(_) => "cuda",
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{device} {:?} {:?}", self.spatial.config, self.semantic.config).as_bytes());
        for params in [&self.spatial.params, &self.semantic.params] {
            let params = params.to(Device::Host);
            for id in params.ids() {
                let (info, tensor) = (params.info(id), params.tensor(id));
                hasher.update(format!("\0{} {:?} {:?}\0", info.name, tensor.dtype(), info.shape).as_bytes());
                match tensor.dtype() {
                    DType::Bf16 => hasher.update(bytemuck::cast_slice(tensor.values::<half::bf16>())),
                    _ => hasher.update(bytemuck::cast_slice(tensor.data())),
                };
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// What the encoders make of a clip: audio [4, L] at 16 kHz (AmbiX). With `spatial` the spatial features are those of that
    /// audio instead (the ablation `shuffle`).
    ///
    /// # Errors
    /// `Data` when the audio is too short or holds what is no number.
    pub fn hear(&self, audio: &[f32], spatial: Option<&[f32]>) -> Result<Clip> {
        let located = spatial.unwrap_or(audio);
        for part in [audio, located] {
            let (samples, least) = (part.len() / 4, self.spatial.config.samples_min());
            if samples < least {
                return Err(Error::data(format!("{samples} samples at 16 kHz, at least {least} are needed")));
            }
            if let Some(at) = part.iter().position(|v| !v.is_finite()) {
                return Err(Error::data(format!("sample {} holds {}", at % samples, part[at])));
            }
        }
        let semantic = self.semantic.encode(&audio[..audio.len() / 4])?;
        let out = self.spatial.infer(located);
        let spatial = Spatial::of(&self.spatial.config, &out, 0);
        let semantic_samples = (self.semantic.config.token_s() * f64::from(crate::audio::SAMPLE_RATE)).round() as usize;
        Ok(Clip { semantic, semantic_samples, spatial })
    }
}
