//! A Whisper-type encoder that is trained: which classes sound in a window, from the mean of its tokens.
//!
//! Its encoder is written as a folder that Transformers' `WhisperModel` loads and [`super::SemanticEncoder::open`] reads.

use super::tower::{Tower, sinusoids};
use super::{SemanticConfig, Windows, cut, features};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::write_bytes_atomic;
use crate::nn::layers::Linear;
use crate::nn::{Builder, Forward, Params};
use crate::ops::span_mean::{Spans, span_mean};
use crate::ops::{arrange, log_mel};
use crate::tape::Var;
use crate::tensor::Tensor;
use crate::weights::{Entry, write};
use serde_json::json;
use std::path::Path;

const TOWER: &str = "tower.";

/// The encoder with a classifier behind it.
pub struct Tagger {
    /// The sizes.
    pub config: SemanticConfig,
    /// The class names, in the order of the classifier.
    pub classes: Vec<String>,
    /// The parameters; the table of positions is the one that is frozen.
    pub params: Params,
    tower: Tower,
    classifier: Linear,
    filters: Tensor,
}

impl Tagger {
    /// A new one, its parameters drawn from `seed`.
    ///
    /// # Errors
    /// `Usage` listing every size that is out of range.
    pub fn new(config: SemanticConfig, classes: Vec<String>, seed: u64) -> Result<Tagger> {
        let mut errors = Vec::new();
        config.check(&mut errors);
        if config.width < 4 || config.width % 2 == 1 {
            errors.push(format!("d_model = {}: an even number from 4 on, for its table of positions", config.width));
        }
        if !config.positions.is_multiple_of(50) {
            let n = config.positions;
            errors.push(format!("max_source_positions = {n}: whole seconds, a multiple of 50, as extractors need"));
        }
        if classes.is_empty() || classes.len() > 1024 {
            errors.push(format!("{} classes: 1..=1024 are supported", classes.len()));
        }
        if !errors.is_empty() {
            return Err(Error::usage(format!("semantic encoder: {}", errors.join("; "))));
        }
        let mut builder = Builder::new();
        let tower = Tower::new(&mut builder, TOWER, &config);
        let classifier = Linear::new(&mut builder, "classifier", config.width, classes.len());
        let mut params = builder.finish(seed);
        params.set_frozen(tower.positions(), sinusoids(config.positions, config.width));
        let filters = log_mel::filters(config.mel_bands);
        Ok(Tagger { config, classes, params, tower, classifier, filters })
    }

    /// The same on another device.
    pub fn to(self, device: Device) -> Tagger {
        Tagger { params: self.params.to(device), filters: self.filters.to(device), ..self }
    }

    /// The windows of clips of one channel at 16 kHz, each at most as long as a window.
    ///
    /// # Errors
    /// `Data` for a clip without samples or with one that is not finite.
    #[track_caller]
    pub fn windows(&self, clips: &[&[f32]]) -> Result<Windows> {
        for clip in clips {
            cut(&self.config, clip)?;
        }
        Ok(features(&self.config, &self.filters, clips))
    }

    /// Logits of the classes of every window [B, C].
    pub fn forward(&self, c: &mut Forward, windows: &Windows) -> Var {
        let tokens = self.tower.forward(c, &Var::constant(windows.features.clone()), &windows.frames);
        let [batch, n, d] = tokens.tensor().dims("tokens");
        let rows = arrange::reshape(&mut c.tape, &tokens, &[batch * n, d]);
        let spans: Vec<_> =
            windows.frames.iter().enumerate().map(|(b, &f)| b * n..b * n + self.config.tokens(f)).collect();
        let spans = Spans::new(&spans, batch * n).to(rows.tensor().device());
        let mean = span_mean(&mut c.tape, &rows, &spans);
        self.classifier.forward(c, &mean)
    }

    /// Writes the encoder as a Whisper folder: config.json, model.safetensors, preprocessor_config.json; the classifier in
    /// `classifier.safetensors`, which no other program reads. The parameters lie on the host.
    ///
    /// # Errors
    /// `Io`.
    pub fn save(&self, folder: &Path) -> Result<()> {
        crate::files::prepare_folder(folder)?;
        let named = |prefix: &'static str| {
            let of =
                move |id| Some((self.params.info(id).name.strip_prefix(prefix)?.to_string(), self.params.tensor(id)));
            self.params.ids().filter_map(of).collect::<Vec<(String, Tensor)>>()
        };
        let save = |name: &str, tensors: &[(String, Tensor)]| {
            let entries: Vec<Entry> = tensors.iter().map(|(n, t)| Entry::f32(n, t.shape(), t.data())).collect();
            write(&folder.join(name), &entries, &[("format", "pt")]).map(drop)
        };
        let mut tower = named(TOWER);
        tower.iter_mut().for_each(|(name, _)| name.insert_str(0, "encoder."));
        save("model.safetensors", &tower)?;
        save("classifier.safetensors", &named("classifier."))?;
        let text = |value: serde_json::Value| format!("{value:#}\n");
        write_bytes_atomic(&folder.join("preprocessor_config.json"), text(self.preprocessor()).as_bytes())?;
        write_bytes_atomic(&folder.join("config.json"), text(self.whisper_config()).as_bytes())
    }

    fn preprocessor(&self) -> serde_json::Value {
        let window = self.config.window_samples();
        json!({
            "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": self.config.mel_bands,
            "sampling_rate": 16000, "hop_length": log_mel::HOP, "n_fft": log_mel::WINDOW, "n_samples": window,
            "chunk_length": window / 16000, "nb_max_frames": 2 * self.config.positions,
            "padding_side": "right", "padding_value": 0.0, "dither": 0.0, "return_attention_mask": false,
        })
    }

    /// A Whisper configuration with the smallest decoder that is one: only the encoder was trained.
    fn whisper_config(&self) -> serde_json::Value {
        let c = &self.config;
        json!({
            "model_type": "whisper", "architectures": ["WhisperModel"], "dtype": "float32", "num_mel_bins": c.mel_bands,
            "d_model": c.width, "encoder_layers": c.layers, "encoder_attention_heads": c.heads,
            "encoder_ffn_dim": c.ffn, "max_source_positions": c.positions, "activation_function": "gelu",
            "scale_embedding": false, "decoder_layers": 1, "decoder_attention_heads": c.heads, "decoder_ffn_dim": 4,
            "max_target_positions": 4, "vocab_size": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
            "decoder_start_token_id": 1, "suppress_tokens": null, "begin_suppress_tokens": null,
            "twnm_classes": self.classes,
        })
    }
}
