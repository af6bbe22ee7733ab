//! The sizes of a semantic encoder, read from the `config.json` of a Hugging Face folder.

use crate::error::{Error, Result};
use crate::ops::log_mel::{BANDS_MAX, HOP};
use serde_json::Value;

/// What kind of model it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Whisper: 50 tokens per second, padding is attended to.
    Whisper,
    /// The tower of Audio Flamingo 3: 25 tokens per second, padding is masked.
    AudioFlamingo3,
}

/// The sizes of a semantic encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemanticConfig {
    /// What kind of model it is.
    pub family: Family,
    /// Mel bands M of its features.
    pub mel_bands: usize,
    /// Width d of tokens.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the networks inside the layers.
    pub ffn: usize,
    /// Positions P of a window: 50 per second.
    pub positions: usize,
}

/// Sizes of published encoders by name: width, layers, heads, width of the networks inside, mel bands.
const PUBLISHED: [(&str, [usize; 5]); 6] = [
    ("whisper-tiny", [384, 4, 6, 1536, 80]),
    ("whisper-base", [512, 6, 8, 2048, 80]),
    ("whisper-small", [768, 12, 12, 3072, 80]),
    ("whisper-medium", [1024, 24, 16, 4096, 80]),
    ("whisper-large-v3", [1280, 32, 20, 5120, 128]),
    ("audio-flamingo-3", [1280, 32, 20, 5120, 128]),
];

impl SemanticConfig {
    /// The sizes of a published encoder.
    ///
    /// # Errors
    /// `Usage` listing the names that are known.
    pub fn published(name: &str) -> Result<SemanticConfig> {
        let Some((known, [width, layers, heads, ffn, mel_bands])) = PUBLISHED.into_iter().find(|(n, _)| *n == name)
        else {
            let names = PUBLISHED.map(|(name, _)| name).join(", ");
            return Err(Error::usage(format!("{name:?} is neither a folder nor one of {names}")));
        };
        let family = if known == "audio-flamingo-3" { Family::AudioFlamingo3 } else { Family::Whisper };
        Ok(SemanticConfig { family, mel_bands, width, layers, heads, ffn, positions: 1500 })
    }

    /// Tokens of a clip of so many samples at 16 kHz.
    pub fn tokens_of(&self, samples: usize) -> usize {
        let window = self.window_samples();
        let rest = samples % window;
        samples / window * self.tokens(window / HOP) + self.tokens(rest.div_ceil(HOP))
    }

    /// Samples of a window at 16 kHz.
    pub fn window_samples(&self) -> usize {
        2 * self.positions * HOP
    }

    /// Tokens that stand for audio in a window whose first `frames` frames hold any: ceil(50 x seconds) of Whisper, and
    /// half of that, rounded down, where pairs are averaged.
    pub fn tokens(&self, frames: usize) -> usize {
        match self.family {
            Family::Whisper => frames.div_ceil(2),
            Family::AudioFlamingo3 => frames.div_ceil(2) / 2,
        }
    }

    /// Seconds that a token stands for.
    pub fn token_s(&self) -> f64 {
        match self.family {
            Family::Whisper => 0.02,
            Family::AudioFlamingo3 => 0.04,
        }
    }

    /// From the parsed config.json of a Whisper model. Sizes that it leaves out are the defaults of Transformers.
    ///
    /// # Errors
    /// `Data` naming the field that is out of range or asks for what is not built.
    pub fn whisper(config: &Value) -> Result<SemanticConfig> {
        let defaults = SemanticConfig {
            family: Family::Whisper,
            mel_bands: 80,
            width: 384,
            layers: 4,
            heads: 6,
            ffn: 1536,
            positions: 1500,
        };
        read(config, "", defaults)
    }

    /// From the `audio_config` of an Audio Flamingo 3 model, or the config.json of its `sound_tower`.
    ///
    /// # Errors
    /// As [`SemanticConfig::whisper`].
    pub fn audio_flamingo(config: &Value, place: &str) -> Result<SemanticConfig> {
        let defaults = SemanticConfig {
            family: Family::AudioFlamingo3,
            mel_bands: 128,
            width: 1280,
            layers: 32,
            heads: 20,
            ffn: 5120,
            positions: 1500,
        };
        read(config, place, defaults)
    }

    /// Adds what is wrong with the sizes, naming each field of config.json.
    pub fn check(&self, errors: &mut Vec<String>) {
        let mut range = |name: &str, value: usize, high: usize| {
            if !(1..=high).contains(&value) {
                errors.push(format!("{name} = {value}: 1..={high}"));
            }
        };
        range("num_mel_bins", self.mel_bands, BANDS_MAX);
        range("d_model", self.width, 1 << 13);
        range("encoder_layers", self.layers, 128);
        range("encoder_attention_heads", self.heads, 1 << 10);
        range("encoder_ffn_dim", self.ffn, 1 << 16);
        range("max_source_positions", self.positions, 1 << 13);
        if self.heads == 0 || !self.width.is_multiple_of(self.heads) {
            errors.push(format!("encoder_attention_heads = {}: must divide d_model = {}", self.heads, self.width));
        }
        if self.positions < 2 || self.family == Family::AudioFlamingo3 && self.positions % 2 == 1 {
            errors.push(format!("max_source_positions = {}: at least 2, and pairs are averaged", self.positions));
        }
    }

    /// Refuses a `preprocessor_config.json` that asks for other features than this model is given.
    ///
    /// # Errors
    /// `Data` naming the field.
    pub fn check_features(&self, preprocessor: &Value) -> Result<()> {
        let seconds = self.window_samples() as f64 / f64::from(crate::audio::SAMPLE_RATE);
        let wanted = [
            ("feature_size", self.mel_bands as f64),
            ("sampling_rate", f64::from(crate::audio::SAMPLE_RATE)),
            ("hop_length", HOP as f64),
            ("n_fft", crate::ops::log_mel::WINDOW as f64),
            ("chunk_length", seconds),
            ("padding_value", 0.0),
            ("dither", 0.0),
        ];
        for (field, value) in wanted {
            match preprocessor.get(field) {
                None => {}
                Some(found) if found.as_f64().is_some_and(|v| (v - value).abs() < 1e-9) => {}
                Some(found) => {
                    return Err(Error::data(format!("{field} is {found}, the encoder's features have {value}")));
                }
            }
        }
        Ok(())
    }
}

/// Names of each size: Whisper's, then those that newer files use.
const NAMES: [&[&str]; 6] = [
    &["num_mel_bins"],
    &["d_model", "hidden_size"],
    &["encoder_layers", "num_hidden_layers"],
    &["encoder_attention_heads", "num_attention_heads"],
    &["encoder_ffn_dim", "intermediate_size"],
    &["max_source_positions"],
];

fn read(config: &Value, place: &str, defaults: SemanticConfig) -> Result<SemanticConfig> {
    let Some(fields) = config.as_object() else {
        return Err(Error::data(format!("{place}an object with the encoder's sizes is needed")));
    };
    let mut sizes =
        [defaults.mel_bands, defaults.width, defaults.layers, defaults.heads, defaults.ffn, defaults.positions];
    for (size, names) in sizes.iter_mut().zip(NAMES) {
        let mut found: Option<(&str, usize)> = None;
        for name in names.iter().copied() {
            let Some(value) = fields.get(name) else { continue };
            // Whisper files repeat the layers under both names; there they agree.
            let Some(value) = value.as_u64().and_then(|v| usize::try_from(v).ok()) else {
                return Err(Error::data(format!("{place}{name} is {value}, a whole number is needed")));
            };
            if let Some((other, first)) = found.filter(|(_, first)| *first != value) {
                return Err(Error::data(format!("{place}{other} is {first}, but {name} is {value}")));
            }
            found = Some((name, value));
        }
        *size = found.map_or(*size, |(_, value)| value);
    }
    let activation = fields.get("activation_function");
    if activation.is_some_and(|v| v != "gelu") {
        return Err(Error::data(format!(
            "{place}activation_function is {}, built is \"gelu\"",
            activation.expect("is")
        )));
    }
    let [mel_bands, width, layers, heads, ffn, positions] = sizes;
    let config = SemanticConfig { family: defaults.family, mel_bands, width, layers, heads, ffn, positions };
    let mut errors = Vec::new();
    config.check(&mut errors);
    if errors.is_empty() { Ok(config) } else { Err(Error::data(format!("{place}{}", errors.join("; ")))) }
}
