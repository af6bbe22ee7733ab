//! What the frozen encoders need while they hear a recording: a bound, since nothing of it stays and a step needs more.

use crate::device::Device;
use crate::encoder::{EncoderConfig, InputMode};
use crate::semantic::SemanticConfig;

/// Windows of a recording that a device hears at once.
const DEVICE_WINDOWS: usize = 8;
/// Maps of all channels that the trunk of the spatial encoder has at once, at most; and how many where the host goes through
/// them part by part, which it does above this many numbers of a map.
const MAPS: usize = 13;
const MAPS_IN_PARTS: usize = 3;
const MAP_WHOLE: usize = 1 << 20;
/// Parts of its raw map: real and imaginary ones of four channels.
const RAW_CHANNELS: usize = 8;

/// Bytes of tensors beside the encoders' own while they hear `samples` samples at 16 kHz, at most.
pub fn hearing_bytes(semantic: &SemanticConfig, encoder: &EncoderConfig, samples: usize, at: (Device, usize)) -> u64 {
    // One after the other.
    semantic_bytes(semantic, samples, at).max(spatial_bytes(encoder, samples, at.0))
}

fn semantic_bytes(config: &SemanticConfig, samples: usize, (device, threads): (Device, usize)) -> u64 {
    let windows = samples.div_ceil(config.window_samples()).max(1);
    let at_once = windows.min(if device == Device::Host { threads } else { DEVICE_WINDOWS });
    let (p, d, f, m) = (config.positions, config.width, config.ffn, config.mel_bands);
    let convolutions = (6 * p * m + 4 * p * d).max(7 * p * d);
    // Everything in a layer lives to its end: norms, queries, keys, values, sums, and the network's units twice.
    let layer = 13 * p * d + 2 * p * f;
    let window = config.window_samples() + 2 * p * m + convolutions.max(layer);
    // A frozen matrix in bf16 is widened beside activations in f32.
    let widened = if device == Device::Host { 0 } else { d * f.max(3 * d) };
    let tokens = 2 * windows * p * d;
    4 * (at_once * window + widened + tokens) as u64
}

fn spatial_bytes(config: &EncoderConfig, samples: usize, device: Device) -> u64 {
    let (frames, bins) = (samples / config.hop + 1, config.n_fft / 2 + 1);
    let channels = config.hidden.max(config.ffn);
    let cells = match config.input {
        InputMode::Map => frames * bins,
        InputMode::Covariance => frames.div_ceil(crate::encoder::covariance::FRAMES) * config.bands(),
    };
    let map = cells * channels;
    let whole = if device == Device::Host { map.min(MAP_WHOLE) } else { map };
    4 * (4 * samples + 3 * RAW_CHANNELS * frames * bins + (MAPS * whole).max(MAPS_IN_PARTS * map)) as u64
}
