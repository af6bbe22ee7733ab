//! Scenes rendered by the kernels: responses, convolution, levels and noise without a visit to the host.

use super::{LEVEL, active_steps, drawn_truth, dry, noise_stream, power_of, render_with_truth};
use crate::device::Device;
use crate::error::Result;
use crate::ops::convolve::{Level, Noise, convolve, mix};
use crate::scene::Truth;
use crate::sim::image_source::impulse_responses_on;
use crate::sim::scene::Scene;
use crate::sources::Sources;
use crate::tensor::Tensor;

/// The audio of a scene on a device, and its truth: with what was measured on responses where they visited the host.
pub struct RenderedOn {
    /// [4, frames] at 16 kHz, AmbiX.
    pub audio: Tensor,
    /// Ground truth.
    pub truth: Truth,
}

/// Renders a scene on `device`; [`super::render`]'s result within rounding, the same noise.
///
/// # Errors
/// Recordings that cannot be decoded.
pub fn render_on(device: Device, scene: &Scene, sources: &Sources) -> Result<RenderedOn> {
    if device == Device::Host {
        let rendered = render_with_truth(scene, sources)?;
        let audio = Tensor::from_slice(&[4, scene.frames], &rendered.audio.samples);
        return Ok(RenderedOn { audio, truth: rendered.truth });
    }
    let responses = impulse_responses_on(device, &[&scene.room])?;
    let (mut sounds, mut activity, mut levels) = (Vec::new(), Vec::new(), Vec::new());
    for (slot, source) in scene.sources.iter().enumerate() {
        let sound = dry(scene, slot, sources)?;
        levels.push(Level {
            amplitude: source.amplitude(scene.frames) * LEVEL,
            reference: (!scene.equal_level).then(|| power_of(&sound)),
        });
        activity.push(active_steps(&sound));
        sounds.extend(sound);
    }
    let sounds = Tensor::from_slice(&[levels.len(), scene.frames], &sounds).to(device);
    let (key, [_, word1, word2, word3]) = noise_stream(scene).address();
    let noise = Noise { ratio: 10f64.powf(-scene.snr_db / 10.0), key, counter: [word1, word2, word3] };
    let audio = mix(&convolve(&sounds, &responses), &levels, &noise);
    Ok(RenderedOn { audio, truth: drawn_truth(scene, sources, &activity) })
}
