//! The semantic encoder: what is heard, from the omnidirectional channel alone (paper 4.2).
//!
//! A Whisper-type encoder, `whisper` or the tower of Audio Flamingo 3: log-mel features [B, 2 P, M] -> two convolutions, the
//! second with stride 2 -> positions -> pre-norm layers -> tokens, 50 per second. Audio Flamingo 3 hides padded frames
//! from attention, averages pairs of tokens (25 per second) before the last norm, and projects them to its decoder's width.
//!
//! A model sees windows of P / 50 seconds (30 s for the published ones), each padded with silence. Longer audio is cut into
//! windows without overlap, at most [`WINDOWS_MAX`] of them, and what is longer still is refused: nothing is left out in
//! silence. Of every window only the tokens that stand for audio are kept ([`SemanticConfig::tokens`]).

pub mod config;
mod load;
pub mod tagger;
pub mod tower;

pub use config::{Family, SemanticConfig};
pub use load::Sizes;

use crate::audio::SAMPLE_RATE;
use crate::device::{Device, product::Threads};
use crate::error::{Error, Result};
use crate::nn::{Forward, Params};
use crate::ops::log_mel::{self, HOP};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use rayon::prelude::*;
use tower::{Adapter, Tower};

/// Most windows of one clip: ten minutes of the published models, as in Audio Flamingo 3.
pub const WINDOWS_MAX: usize = 20;
/// Windows that a device computes at once.
const DEVICE_WINDOWS: usize = 8;

/// A frozen semantic encoder.
pub struct SemanticEncoder {
    /// The sizes.
    pub config: SemanticConfig,
    /// The parameters, all of them frozen; matrices lie in the file where it stores f32 or bf16.
    pub params: Params,
    tower: Tower,
    adapter: Option<Adapter>,
    /// Mel bands [M, 201], on the device of the parameters.
    filters: Tensor,
}

/// Windows of audio as the encoder takes them.
pub struct Windows {
    /// Log-mel features [B, 2 P, M].
    pub features: Tensor,
    /// Frames of each window that hold audio: [B] numbers in 1..=2 P.
    pub frames: Vec<usize>,
}

impl SemanticEncoder {
    /// The same encoder on another device.
    pub fn to(self, device: Device) -> SemanticEncoder {
        SemanticEncoder { params: self.params.to(device), filters: self.filters.to(device), ..self }
    }

    /// The device that the network runs on.
    pub fn device(&self) -> Device {
        self.params.device()
    }

    /// Numbers per token: the decoder's width for Audio Flamingo 3, whose tokens are projected, else the encoder's own.
    pub fn token_width(&self) -> usize {
        self.adapter.as_ref().map_or(self.config.width, |adapter| adapter.width)
    }

    /// The windows of a clip of one channel at 16 kHz.
    ///
    /// # Errors
    /// `Data` when there is no sample, when a sample is not finite, or when there are more than [`WINDOWS_MAX`] windows.
    pub fn cut<'a>(&self, audio: &'a [f32]) -> Result<Vec<&'a [f32]>> {
        cut(&self.config, audio)
    }

    /// The features of windows, each of at most the window's length. Panics for a longer one or one without samples.
    #[track_caller]
    pub fn windows(&self, windows: &[&[f32]]) -> Windows {
        features(&self.config, &self.filters, windows)
    }

    /// The network on a tape: tokens of every window [B, tokens, token width], those of padding among them.
    #[track_caller]
    pub fn forward(&self, c: &mut Forward, windows: &Windows) -> Var {
        let features = Var::constant(windows.features.to(self.device()));
        let y = self.tower.forward(c, &features, &windows.frames);
        match &self.adapter {
            Some(adapter) => adapter.forward(c, &y),
            None => y,
        }
    }

    /// The tokens of a clip of one channel (W) at 16 kHz, on the host: [tokens, token width].
    ///
    /// # Errors
    /// Those of [`SemanticEncoder::cut`]; `Data` when the audio is too short for one token.
    pub fn encode(&self, audio: &[f32]) -> Result<Tensor> {
        let windows = self.cut(audio)?;
        let parts: Vec<Tensor> = if self.device() == Device::Host {
            // One window keeps all threads busy by its products; several run side by side. The bytes are the same.
            match windows[..] {
                [window] => vec![self.encode_at_once(&[window], Threads::All)],
                _ => windows.par_iter().map(|&window| self.encode_at_once(&[window], Threads::One)).collect(),
            }
        } else {
            windows.chunks(DEVICE_WINDOWS).map(|windows| self.encode_at_once(windows, Threads::One)).collect()
        };
        let tokens = Tensor::stacked(&parts);
        if tokens.is_empty() {
            return Err(Error::data(format!("{} samples are too short for one token of audio", audio.len()))
                .hint("at least 321 samples at 16 kHz are needed"));
        }
        Ok(tokens)
    }

    /// The kept tokens of windows, one after the other.
    fn encode_at_once(&self, windows: &[&[f32]], threads: Threads) -> Tensor {
        let made = self.windows(windows);
        let mut c = Forward::new(Tape::without_gradients().with_products(threads), &self.params);
        let all = self.forward(&mut c, &made).tensor().to(Device::Host);
        let [_, _, width] = all.dims("tokens");
        let kept = made.frames.iter().enumerate().map(|(b, &frames)| {
            let count = self.config.tokens(frames);
            all.rows(b, 1).reshape(&[all.shape()[1], width]).rows(0, count)
        });
        Tensor::stacked(&kept.collect::<Vec<_>>())
    }
}

/// See [`SemanticEncoder::cut`].
///
/// # Errors
/// Those of [`SemanticEncoder::cut`].
pub fn cut<'a>(config: &SemanticConfig, audio: &'a [f32]) -> Result<Vec<&'a [f32]>> {
    let window = config.window_samples();
    let seconds = |samples: usize| samples as f64 / f64::from(SAMPLE_RATE);
    if audio.is_empty() {
        return Err(Error::data("the audio holds no sample"));
    }
    if audio.len() > WINDOWS_MAX * window {
        let (long, most) = (seconds(audio.len()), seconds(WINDOWS_MAX * window));
        return Err(Error::data(format!("{long:.1} s of audio, the semantic encoder takes at most {most:.1} s"))
            .hint("cut the audio into parts"));
    }
    if let Some(at) = audio.iter().position(|v| !v.is_finite()) {
        return Err(Error::data(format!("sample {at} is {}", audio[at])));
    }
    Ok(audio.chunks(window).collect())
}

/// The features of windows, on the device of `filters`.
#[track_caller]
pub(crate) fn features(config: &SemanticConfig, filters: &Tensor, windows: &[&[f32]]) -> Windows {
    let longest = windows.iter().map(|w| w.len()).max().expect("at least one window");
    assert!(windows.iter().all(|w| !w.is_empty()) && longest <= config.window_samples(), "windows of the wrong length");
    let mut audio = Tensor::zeros(&[windows.len(), longest]);
    for (row, window) in audio.data_mut().chunks_exact_mut(longest).zip(windows) {
        row[..window.len()].copy_from_slice(window);
    }
    let audio = Var::constant(audio.to(filters.device()));
    let features = log_mel::log_mel(&mut Tape::without_gradients(), &audio, filters, 2 * config.positions);
    let frames = windows.iter().map(|w| w.len().div_ceil(HOP)).collect();
    Windows { features: features.tensor().clone(), frames }
}

#[cfg(test)]
mod tests;
