//! What a source plays during a scene: its recording at its speed, laid on the scene's time, with a layer over it.

use super::power_of;
use crate::audio::{Audio, SAMPLE_RATE, resample::resample};
use crate::device::simd::Isa;
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::sim::high_pass::high_pass;
use crate::sim::scene::Scene;
use crate::sources::Sources;

/// Pauses between takes that follow each other.
const SEQUENCE_PAUSE_S: [f64; 2] = [0.0, 0.2];

/// The dry sound of source `slot`, `scene.frames` samples, with the scene's high-pass over every take. Errors: recordings that cannot be decoded or are empty.
pub(super) fn dry(scene: &Scene, slot: usize, sources: &Sources) -> Result<Vec<f32>> {
    let source = &scene.sources[slot];
    let place = scene.index * 4 + slot as u64;
    let audio = |recording: usize| {
        let audio = sources.audio(recording)?;
        match audio.is_empty() {
            true => Err(Error::data(format!("recording {recording} of scene {} is empty", scene.index))),
            false => Ok(audio),
        }
    };
    let takes: Vec<usize> = std::iter::once(source.recording).chain(source.following.iter().copied()).collect();
    let [start, end] = source.window.unwrap_or([0, scene.frames]);
    let layout = |takes: &[usize], speed: f64, stream: &str| {
        lay_out(scene, end - start, takes.len(), |i| audio(takes[i]), speed, Rng::new(scene.seed, stream, place))
    };
    let mut sound = layout(&takes, source.speed, "layout")?;
    if let Some(layer) = &source.layer {
        let second = layout(&[layer.recording], layer.speed, "layer layout")?;
        let ratio = power_of(&sound) / power_of(&second).max(1e-20) * 10f64.powf(layer.level_db / 10.0);
        let gain = ratio.sqrt() as f32;
        sound.iter_mut().zip(&second).for_each(|(x, y)| *x += gain * y);
    }
    if source.window.is_none() {
        return Ok(sound);
    }
    fade(&mut sound);
    let mut whole = vec![0.0; scene.frames];
    whole[start..end].copy_from_slice(&sound);
    Ok(whole)
}

/// Samples over which a sound that begins or ends within a scene rises and falls: cut off it would click.
const FADE_SAMPLES: usize = SAMPLE_RATE as usize / 100;

fn fade(sound: &mut [f32]) {
    let n = FADE_SAMPLES.min(sound.len() / 2);
    let last = sound.len().saturating_sub(1);
    for i in 0..n {
        let gain = 0.5 - 0.5 * (std::f32::consts::PI * (i as f32 + 0.5) / n as f32).cos();
        sound[i] *= gain;
        sound[last - i] *= gain;
    }
}

/// `n` takes on `frames` samples of the scene's time: of a first one that is longer a part from a random offset; else the takes
/// one after the other, again and again, with pauses. A take that no longer fits is neither decoded nor resampled.
fn lay_out<T: AsRef<[f32]>>(
    scene: &Scene,
    frames: usize,
    n: usize,
    take: impl Fn(usize) -> Result<T>,
    speed: f64,
    mut rng: Rng,
) -> Result<Vec<f32>> {
    // Whole hundredths keep the ratio of the two clocks simple, and with it the resampler's blocks short.
    let rate = SAMPLE_RATE / 100 * (speed * 100.0).round() as u32;
    let needed = (frames as u64 * u64::from(rate)).div_ceil(u64::from(SAMPLE_RATE)) as usize;
    let first = take(0)?;
    let first = first.as_ref();
    if first.len() >= needed {
        let from = rng.below(first.len() - needed + 1);
        let mut whole = played(&first[from..from + needed], rate, scene)?;
        whole.truncate(frames);
        return Ok(whole);
    }
    // Takes that follow each other run on as in connected speech.
    let [shortest, longest] = if n > 1 { SEQUENCE_PAUSE_S } else { scene.pause_s };
    let mut pause = || (rng.range(shortest, longest) * SAMPLE_RATE as f64) as usize;
    let mut takes = vec![played(first, rate, scene)?];
    let mut dry = vec![0.0; frames];
    // The first repetition starts within a pause's length, so that onsets do not give the scene's start away.
    let mut at = pause().min(frames.saturating_sub(takes[0].len())) / 2;
    for i in (0..n).cycle() {
        if at >= frames {
            break;
        }
        if i == takes.len() {
            takes.push(played(take(i)?.as_ref(), rate, scene)?);
        }
        let sounding = takes[i].len().min(frames - at);
        dry[at..at + sounding].copy_from_slice(&takes[i][..sounding]);
        at += sounding + pause().max(1);
    }
    Ok(dry)
}

/// Passes of the high-pass over a recording: wind and handling can be 20 dB stronger at 10 to 20 Hz than what is heard.
const HIGH_PASSES: usize = 3;

/// `recording` as if it had been made at `rate` Hz, without its offset and rumble. It is filtered take by take: an offset
/// that is only there while a take sounds would be heard as a step at its start and end.
fn played(recording: &[f32], rate: u32, scene: &Scene) -> Result<Vec<f32>> {
    let mut sound = recording.to_vec();
    if scene.room.high_pass_hz > 0.0 {
        for _ in 0..HIGH_PASSES {
            high_pass(Isa::current(), &mut sound, 1, scene.room.high_pass_hz, rate);
        }
    }
    // Afterwards: the resampler would take an offset for a step at either end.
    if rate != SAMPLE_RATE {
        sound = resample(&Audio { sample_rate: rate, channels: 1, samples: sound }, SAMPLE_RATE)?.samples;
    }
    Ok(sound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::config::SceneConfig;
    use crate::sim::scene::{Layer, SceneSampler};
    use crate::sources::Split;
    use std::f64::consts::TAU;

    fn scene(sources: &Sources) -> Scene {
        SceneSampler::new(&SceneConfig::default(), sources, Split::All, 9).unwrap().scene(1).unwrap()
    }

    /// A scene in which recordings are laid out as they are, so that levels tell takes apart.
    fn unfiltered(sources: &Sources) -> Scene {
        let mut scene = scene(sources);
        scene.room.high_pass_hz = 0.0;
        scene
    }

    #[test]
    fn an_offset_of_a_recording_leaves_nothing_behind() {
        let scene = scene(&Sources::procedural(3));
        let tone = |t: usize| (TAU * 500.0 * t as f64 / 16_000.0).sin() as f32;
        let [clean, offset] = [0.0, 0.5].map(|dc| (0..9000).map(|t| tone(t) + dc).collect::<Vec<f32>>());
        for speed in [1.0, 1.15] {
            let [clean, offset] = [&clean, &offset]
                .map(|take| lay_out(&scene, scene.frames, 1, |_| Ok(take), speed, Rng::new(0, "layout", 0)).unwrap());
            let largest = clean.iter().zip(&offset).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-6, "speed {speed}: {largest}");
            assert!(power_of(&clean) > 0.3);
        }
    }

    #[test]
    fn short_recordings_are_repeated() {
        let scene = unfiltered(&Sources::procedural(3));
        for speed in [1.0, 0.85, 1.15] {
            let dry = lay_out(&scene, scene.frames, 1, |_| Ok([1.0; 4000]), speed, Rng::new(0, "layout", 0)).unwrap();
            assert_eq!(dry.len(), scene.frames);
            let gaps = dry.chunks(12_000).filter(|c| c.iter().all(|x| *x < 0.5)).count();
            assert_eq!(gaps, 0, "no three quarters of a second without sound at speed {speed}");
        }
    }

    #[test]
    fn takes_follow_each_other_and_come_round_again() {
        let scene = unfiltered(&Sources::procedural(3));
        let takes: Vec<Vec<f32>> = (1..=4).map(|k| vec![k as f32; 8000 * k]).collect();
        let dry = lay_out(&scene, scene.frames, 4, |i| Ok(&takes[i]), 1.0, Rng::new(0, "layout", 0)).unwrap();
        let mut order: Vec<i32> = dry.iter().map(|x| *x as i32).filter(|x| *x > 0).collect();
        order.dedup();
        assert_eq!(order, [1, 2, 3, 4], "together they fill five seconds");
        let short: Vec<Vec<f32>> = (1..=4).map(|k| vec![k as f32; 8000]).collect();
        let dry = lay_out(&scene, scene.frames, 4, |i| Ok(&short[i]), 1.0, Rng::new(0, "layout", 0)).unwrap();
        let mut order: Vec<i32> = dry.iter().map(|x| *x as i32).filter(|x| *x > 0).collect();
        order.dedup();
        assert_eq!(order[..8], [1, 2, 3, 4, 1, 2, 3, 4]);
        let pauses = dry.iter().filter(|x| **x == 0.0).count();
        assert!(pauses < 10 * 3200, "{pauses}");
    }

    #[test]
    fn speed_moves_the_pitch_and_fills_the_scene() {
        let scene = scene(&Sources::procedural(3));
        let tone: Vec<f32> = (0..100_000).map(|t| (TAU * 500.0 * t as f64 / 16_000.0).sin() as f32).collect();
        for speed in [0.85, 1.0, 1.004, 1.015, 1.15, 1.2499] {
            let dry = lay_out(&scene, scene.frames, 1, |_| Ok(&tone), speed, Rng::new(0, "layout", 0)).unwrap();
            let middle = &dry[1000..scene.frames - 1000];
            let rising = middle.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0).count() as f64;
            let hz = rising / (middle.len() as f64 / 16_000.0);
            assert!((hz - 500.0 * speed).abs() < 3.5, "{hz} Hz at speed {speed}");
        }
    }

    #[test]
    fn a_source_with_a_window_is_silent_outside_and_as_loud_inside() {
        let sources = Sources::procedural(3);
        let mut scene = scene(&sources);
        let whole = scene.sources[0].amplitude(scene.frames);
        scene.sources[0].window = Some([20_000, 60_000]);
        let sound = dry(&scene, 0, &sources).unwrap();
        assert_eq!(sound.len(), scene.frames);
        assert!(sound[..20_000].iter().chain(&sound[60_000..]).all(|x| *x == 0.0));
        assert!(power_of(&sound[20_000..60_000]) > 0.0);
        // Levels are of the whole scene: half of it sounds at half the power.
        assert!((scene.sources[0].amplitude(scene.frames) / whole - 0.5f64.sqrt()).abs() < 1e-12);
        let mut tone = vec![1.0; 1000];
        fade(&mut tone);
        assert!(tone[0] < 0.01 && tone[999] < 0.01 && tone[500] == 1.0);
    }

    #[test]
    fn a_layer_has_its_level_and_keeps_the_first_recording() {
        let sources = Sources::procedural(3);
        let mut scene = scene(&sources);
        let alone = dry(&scene, 0, &sources).unwrap();
        let other = (scene.sources[0].recording + 1) % sources.recordings().len();
        scene.sources[0].layer = Some(Layer { recording: other, level_db: -6.0, speed: 1.1 });
        let both = dry(&scene, 0, &sources).unwrap();
        let second: Vec<f32> = both.iter().zip(&alone).map(|(b, a)| b - a).collect();
        let level_db = 10.0 * (power_of(&second) / power_of(&alone)).log10();
        assert!((level_db + 6.0).abs() < 0.01, "{level_db}");
    }
}
