//! Scenes made audible: dry recordings laid on the scene's time, convolved, levelled, summed, with noise.

mod device;
mod dry;
mod truth;

use crate::audio::{Audio, SAMPLE_RATE};
use crate::error::Result;
use crate::rng::Rng;
use crate::scene::{STEP_SAMPLES, Truth};
use crate::sim::convolve::{Spectra, Voice};
use crate::sim::image_source::impulse_responses;
use crate::sim::scene::Scene;
use crate::sources::Sources;
pub use device::{RenderedOn, render_on};
use dry::dry;
pub use truth::{direct_to_reverberant_db, drawn_truth};

/// A step is active when it is at most this far below the loudest one.
const ACTIVE_DB: f64 = 40.0;

/// A scene with everything that is known about it.
pub struct Rendered {
    /// [4, frames] at 16 kHz, AmbiX. The peak may exceed 1: formats without a scale need [`Audio::limited`].
    pub audio: Audio,
    /// Ground truth, with what was measured on the responses.
    pub truth: Truth,
}

/// The audio of a scene, [4, frames] at 16 kHz, AmbiX.
///
/// # Errors
/// Recordings that cannot be decoded.
pub fn render(scene: &Scene, sources: &Sources) -> Result<Audio> {
    Ok(render_with_truth(scene, sources)?.audio)
}

/// Renders a scene and its ground truth.
///
/// # Errors
/// Recordings that cannot be decoded.
pub fn render_with_truth(scene: &Scene, sources: &Sources) -> Result<Rendered> {
    let rir = impulse_responses(&scene.room)?;
    let slots = 0..scene.sources.len();
    let sounds = slots.map(|slot| dry(scene, slot, sources)).collect::<Result<Vec<_>>>()?;
    let voices: Vec<Voice> = sounds.iter().zip(&rir.responses).map(|(dry, response)| Voice { dry, response }).collect();
    let spectra = Spectra::new(&voices, scene.frames);
    let frames = scene.frames as f64;
    let powers: Vec<f64> = (0..voices.len()).map(|v| spectra.energy(v) / frames).collect();
    let gains: Vec<f64> = (scene.sources.iter().zip(&powers).zip(&sounds))
        .map(|((source, power), sound)| {
            let reference = if scene.equal_level { *power } else { power_of(sound) };
            source.amplitude(scene.frames) * LEVEL / reference.max(1e-20).sqrt()
        })
        .collect();
    let mut samples = spectra.mix(&gains.iter().map(|g| *g as f32).collect::<Vec<_>>());
    let heard: Vec<f64> = powers.iter().zip(&gains).map(|(p, g)| p * g * g).collect();
    add_noise(scene, heard.iter().sum(), &mut samples);
    let activity: Vec<Vec<u8>> = sounds.iter().map(|sound| active_steps(sound)).collect();
    let mut truth = drawn_truth(scene, sources, &activity);
    truth::measure(&mut truth, scene, sources, &rir, &heard)?;
    Ok(Rendered { audio: Audio { sample_rate: SAMPLE_RATE, channels: 4, samples }, truth })
}

/// Root-mean-square level on W of a source at 0 dB.
const LEVEL: f64 = 0.05;

fn power_of(signal: &[f32]) -> f64 {
    signal.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / signal.len().max(1) as f64
}

/// The random numbers of a scene's noise.
fn noise_stream(scene: &Scene) -> Rng {
    Rng::new(scene.seed, "noise", scene.index)
}

/// Isotropic noise: four independent channels, the dipoles with a third of the power of W.
fn add_noise(scene: &Scene, mixture_power: f64, samples: &mut [f32]) {
    let mut rng = noise_stream(scene);
    let w = (mixture_power * 10f64.powf(-scene.snr_db / 10.0)).sqrt() as f32;
    for (c, channel) in samples.chunks_mut(scene.frames).enumerate() {
        let size = if c == 0 { w } else { w / 3f32.sqrt() };
        for x in channel {
            *x += size * approx_normal(&mut rng);
        }
    }
}

/// Nearly normal, variance 1: the sum of the eight nibbles of one draw, each uniform over 16 values.
fn approx_normal(rng: &mut Rng) -> f32 {
    let bits = rng.next_u32();
    let pairs = (bits & 0x0f0f_0f0f) + ((bits >> 4) & 0x0f0f_0f0f);
    let sum = pairs.wrapping_mul(0x0101_0101) >> 24;
    // Mean 8 * 7.5, variance 8 * (16^2 - 1) / 12 = 170.
    (sum as f32 - 60.0) * (1.0 / 13.038_405)
}

/// 1 for each tenth of a second whose level is within [`ACTIVE_DB`] of the loudest.
fn active_steps(dry: &[f32]) -> Vec<u8> {
    let powers: Vec<f64> = dry.chunks(STEP_SAMPLES).map(power_of).collect();
    let loudest = powers.iter().copied().fold(0.0, f64::max);
    let least = loudest * 10f64.powf(-ACTIVE_DB / 10.0);
    powers.iter().map(|&p| (loudest > 0.0 && p >= least) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::config::SceneConfig;
    use crate::sim::scene::SceneSampler;
    use crate::sources::Split;

    #[test]
    fn levels_noise_and_directions_are_what_the_truth_says() {
        let sources = Sources::procedural(3);
        let config = SceneConfig { gain_db: [-3.0, -3.0], snr_db: [200.0, 200.0], ..SceneConfig::default() };
        let sampler = SceneSampler::new(&config, &sources, Split::All, 9).unwrap();
        for index in 0..6 {
            let scene = sampler.scene(index).unwrap();
            let rendered = render_with_truth(&scene, &sources).unwrap();
            assert_eq!(rendered.audio.frames(), 80_000);
            assert_eq!(rendered.audio.samples, render(&scene, &sources).unwrap().samples);
            for source in &rendered.truth.sources {
                let equal = -10.0 * (scene.sources.len() as f64).log10();
                let level_db = source.level_db.unwrap();
                assert!((level_db - equal).abs() < 1e-3, "{level_db}");
            }
            if let [only] = &rendered.truth.sources[..] {
                let power = power_of(rendered.audio.channel(0));
                assert!((10.0 * (power / LEVEL.powi(2)).log10() + 3.0).abs() < 0.01);
                assert!((only.path.points()[0].distance_m() - 2.75).abs() <= 2.25);
            }
            assert!(rendered.truth.sources.iter().all(|s| !s.active_s.is_empty()));
        }
    }

    #[test]
    fn sounds_of_a_script_are_heard_within_their_windows() {
        let sources = Sources::procedural(3);
        let config = SceneConfig { scripts_share: 1.0, ..SceneConfig::default() };
        let sampler = SceneSampler::new(&config, &sources, Split::All, 9).unwrap();
        for index in 0..4 {
            let scene = sampler.scene(index).unwrap();
            let truth = render_with_truth(&scene, &sources).unwrap().truth;
            assert_eq!(truth.script.as_deref(), scene.script);
            for (source, track) in scene.sources.iter().zip(&truth.sources) {
                let [from, to] = source.window.unwrap_or([0, scene.frames]).map(|s| s as f64 / SAMPLE_RATE as f64);
                let heard = |[start, end]: &[f64; 2]| *start > from - 0.1 && *end < to + 0.1;
                assert!(!track.active_s.is_empty() && track.active_s.iter().all(heard), "{from} to {to} s: {track:?}");
            }
        }
    }

    #[test]
    fn noise_is_isotropic_and_has_the_level_asked_for() {
        let sources = Sources::procedural(3);
        let config = SceneConfig { snr_db: [30.0, 30.0], ..SceneConfig::default() };
        let scene = SceneSampler::new(&config, &sources, Split::All, 9).unwrap().scene(0).unwrap();
        let mut samples = vec![0.0; 4 * scene.frames];
        add_noise(&scene, 2.0, &mut samples);
        for (c, expected) in [2e-3, 2e-3 / 3.0, 2e-3 / 3.0, 2e-3 / 3.0].into_iter().enumerate() {
            let power = power_of(&samples[c * scene.frames..][..scene.frames]);
            assert!((power / expected - 1.0).abs() < 0.03, "channel {c}: {power}");
        }
    }
}
