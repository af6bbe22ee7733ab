//! Semantic encoders: audio -> features -> tokens, and Audio Flamingo 3's audio embeddings.
//!
//! Names: `audio` [samples]; `input_features` [B, M, T] and `encoder_output` [B, tokens, d] of its windows as Transformers
//! has them; `tokens` [n, width], those that are kept, of all windows. `X_first_N`, `X_last_N`, with `_frames` behind it or
//! not, are parts of X along its last axis for features, else along the one before. `audio_embeds` [n, width] come from
//! `audio`, or from `input_features`, whose missing frames are zeros, and `input_features_mask` [B, T].

use super::compare::Checker;
use crate::error::{Error, Result};
use crate::nn::Forward;
use crate::ops::arrange;
use crate::semantic::{Family, SemanticEncoder, Windows};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use std::path::Path;

pub(super) fn run(dir: &Path, check: &mut Checker) -> Result<()> {
    let encoder = SemanticEncoder::open(dir)?;
    let windows = if check.has("audio") { from_audio(&encoder, check)? } else { from_features(&encoder, check)? };
    let mut c = Forward::new(Tape::without_gradients(), &encoder.params);
    let tokens = encoder.forward(&mut c, &windows).tensor().clone();
    compare_parts("encoder_output", &tokens, 1, check)?;
    let kept = kept(&encoder, &windows, &tokens);
    check.language_value("tokens", &kept);
    if encoder.config.family == Family::AudioFlamingo3 {
        check.language_value("audio_embeds", &kept);
        super::decoder::run_audio_flamingo(dir, &kept, check)?;
    }
    Ok(())
}

fn from_audio(encoder: &SemanticEncoder, check: &mut Checker) -> Result<Windows> {
    let (audio, [_]) = check.input_of::<1>("audio")?;
    let windows = encoder.windows(&encoder.cut(audio.data())?);
    // Channels first, as Transformers has them.
    let [b, t, m] = windows.features.dims("features");
    let swapped =
        arrange::swap_axes(&mut Tape::without_gradients(), &Var::constant(windows.features.reshape(&[b, t, m, 1])));
    compare_parts("input_features", &swapped.tensor().reshape(&[b, m, t]), 2, check)?;
    Ok(windows)
}

fn from_features(encoder: &SemanticEncoder, check: &mut Checker) -> Result<Windows> {
    let (stored, [batch, bands, given]) = check.input_of::<3>("input_features")?;
    let (m, steps) = (encoder.config.mel_bands, 2 * encoder.config.positions);
    if bands != m || given > steps || batch > 64 {
        let message = format!("input_features {:?}: [at most 64, {m}, at most {steps}] are needed", stored.shape());
        return Err(Error::data(message));
    }
    let mut features = Tensor::zeros(&[batch, steps, m]);
    for (b, window) in features.data_mut().chunks_exact_mut(steps * m).enumerate() {
        for (band, row) in stored.data()[b * m * given..][..m * given].chunks_exact(given).enumerate() {
            row.iter().enumerate().for_each(|(t, &v)| window[t * m + band] = v);
        }
    }
    if !check.has("input_features_mask") {
        return Ok(Windows { features, frames: vec![given; batch] });
    }
    let mask = check.input_whole("input_features_mask", &[batch, steps])?;
    let frames = mask.chunks_exact(steps).map(|mask| {
        let valid = mask.iter().take_while(|&&m| m == 1).count();
        let is_prefix = valid > 0 && mask[valid..].iter().all(|&m| m == 0);
        if is_prefix { Ok(valid) } else { Err(Error::data("input_features_mask: ones, then zeros, are needed")) }
    });
    Ok(Windows { features, frames: frames.collect::<Result<_>>()? })
}

/// The tokens of audio of all windows, one after the other: [n, width].
fn kept(encoder: &SemanticEncoder, windows: &Windows, tokens: &Tensor) -> Tensor {
    let [_, n, width] = tokens.dims("tokens");
    let rows = tokens.data().chunks_exact(n * width).zip(&windows.frames);
    let kept: Vec<f32> =
        rows.flat_map(|(window, &frames)| &window[..encoder.config.tokens(frames) * width]).copied().collect();
    Tensor::from_slice(&[kept.len() / width, width], &kept)
}

/// Compares `name` and its parts along `axis` of three. Features are held to what single ops are held to.
fn compare_parts(name: &str, tensor: &Tensor, axis: usize, check: &mut Checker) -> Result<()> {
    let take = if name == "input_features" { Checker::value } else { Checker::language_value };
    take(check, name, tensor);
    let wanted: Vec<String> = check.names().into_iter().filter(|n| n.starts_with(name) && n != name).collect();
    for full in wanted {
        let part = full[name.len()..].trim_end_matches("_frames");
        let (is_first, count) = match (part.strip_prefix("_first_"), part.strip_prefix("_last_")) {
            (Some(count), _) => (true, count.parse().ok()),
            (_, Some(count)) => (false, count.parse().ok()),
            _ => continue,
        };
        let all = tensor.shape()[axis];
        let Some(count) = count.filter(|n: &usize| (1..=all).contains(n)) else {
            return Err(Error::data(format!("{full}: a part of {all} is needed")));
        };
        let start = if is_first { 0 } else { all - count };
        let inner: usize = tensor.shape()[axis + 1..].iter().product();
        let outer = tensor.data().chunks_exact(all * inner);
        let numbers: Vec<f32> = outer.flat_map(|rows| &rows[start * inner..(start + count) * inner]).copied().collect();
        let mut shape = tensor.shape().to_vec();
        shape[axis] = count;
        take(check, &full, &Tensor::from_slice(&shape, &numbers));
    }
    Ok(())
}
