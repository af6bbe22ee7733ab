//! One clip of a batch: which scene, which part of it, how it is turned, and its labels moving along.
//!
//! Everything is drawn from (seed, position): position counts clips from the start of the run, so a resumed run sees
//! the clips of the uninterrupted one.

use super::recipe::Data;
use super::supply::Supply;
use crate::audio::{SAMPLE_RATE, foa::Rotation};
use crate::error::Result;
use crate::ops::spatial_loss::{Label, SourceLabel};
use crate::rng::Rng;
use crate::shard::{ACTIVITY_STEP_S, Labels};

/// A clip ready for the encoder.
pub struct Clip {
    /// [4, samples], AmbiX.
    pub audio: Vec<f32>,
    /// What is in it.
    pub label: Label,
    /// Equaliser in dB at the octaves from [`OCTAVE_LOWEST_HZ`] up; all zero: none.
    pub equalizer_db: [f64; OCTAVES],
}

/// Knots of the random equaliser: 62.5 Hz to 8 kHz.
pub const OCTAVES: usize = 8;
/// The lowest knot.
pub const OCTAVE_LOWEST_HZ: f64 = 62.5;

impl Clip {
    /// The equaliser's gain for each bin of an STFT of `n_fft` points: straight lines between the octaves in dB
    /// over the logarithm of frequency, level below the first. `None` where it does nothing.
    pub fn gains(&self, n_fft: usize) -> Option<Vec<f32>> {
        if self.equalizer_db.iter().all(|&db| db == 0.0) {
            return None;
        }
        let gain = |bin: usize| {
            let hz = bin as f64 * SAMPLE_RATE as f64 / n_fft as f64;
            let place = (hz / OCTAVE_LOWEST_HZ).max(1.0).log2().min((OCTAVES - 1) as f64);
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            let [low, high] = [self.equalizer_db[below], self.equalizer_db[above]];
            10f64.powf((low + (high - low) * place.fract()) / 20.0) as f32
        };
        Some((0..=n_fft / 2).map(gain).collect())
    }
}

/// A source must sound in at least this many steps of 0.1 s of a crop to be in its labels.
const ACTIVE_STEPS_MIN: usize = 2;

/// The clip at `position` of a run: a scene of the supply, cropped and turned as `data` says; `step` is the optimizer step
/// it belongs to.
///
/// # Errors
/// Those of [`Supply::part`].
pub fn clip(supply: &Supply, data: &Data, seed: u64, step: u64, position: u64) -> Result<Clip> {
    let mut rng = Rng::new(seed, "clip", position);
    let (mut audio, labels, begin) = supply.part(position, |frames| {
        let longest = data.crop_max_s.max(data.crop_min_s);
        let wanted = match data.crop_shared {
            true => Rng::new(seed, "crop of a step", step).range(data.crop_min_s, longest),
            false => rng.range(data.crop_min_s, longest),
        };
        let n = ((wanted * SAMPLE_RATE as f64) as usize).clamp(1, frames);
        (rng.below(frames - n + 1), n)
    })?;
    let mut label = label(&labels, begin, audio.len() / 4);
    if data.rotation == "yaw" {
        let turn = Rotation::yaw(rng.range(-180.0, 180.0));
        let rotation = if rng.below(2) == 0 { turn } else { mirrored(&turn) };
        rotation.apply_foa(&mut audio);
        for source in &mut label.sources {
            source.direction = rotation.apply_vector(source.direction);
        }
    }
    let equalizer_db = match data.equalizer_db {
        0.0 => [0.0; OCTAVES],
        spread => std::array::from_fn(|_| spread * rng.normal()),
    };
    Ok(Clip { audio, label, equalizer_db })
}

/// The rotation after an exchange of left and right.
fn mirrored(turn: &Rotation) -> Rotation {
    let mut matrix = turn.0;
    matrix.iter_mut().for_each(|row| row[1] = -row[1]);
    Rotation(matrix)
}

/// The labels of samples `begin..begin + n`: a source silent there is dropped.
pub fn label(labels: &Labels, begin: usize, n: usize) -> Label {
    let step = (ACTIVITY_STEP_S * SAMPLE_RATE as f64) as usize;
    let sounds = |slot: usize| {
        let steps = &labels.activity[slot][begin / step..(begin + n).div_ceil(step).min(labels.activity[slot].len())];
        steps.iter().filter(|&&a| a != 0).count() >= ACTIVE_STEPS_MIN.min(steps.len())
    };
    let source = |slot: usize| SourceLabel {
        direction: labels.direction[slot].map(f64::from),
        distance_m: labels.distance_m[slot] as f64,
        class: (labels.class_mask[slot] > 0.0).then_some(labels.klass[slot] as usize),
    };
    Label {
        sources: (0..labels.count).filter(|&slot| sounds(slot)).map(source).collect(),
        log_surface: labels.log_surface as f64,
        absorption: labels.absorption as f64,
        has_room: labels.room_mask > 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_equaliser_meets_its_knots() {
        let label = Label { sources: Vec::new(), log_surface: 0.0, absorption: 0.0, has_room: false };
        let flat = Clip { audio: Vec::new(), label, equalizer_db: [0.0; OCTAVES] };
        assert_eq!(flat.gains(256), None);
        let clip = Clip { equalizer_db: [6.0, -3.0, 0.0, 1.0, 2.0, -6.0, 20.0, -20.0], ..flat };
        let gains = clip.gains(256).unwrap();
        assert_eq!(gains.len(), 129);
        let db = |bin: usize| 20.0 * f64::from(gains[bin]).log10();
        for (octave, &knot) in clip.equalizer_db.iter().enumerate() {
            assert!((db(1 << octave) - knot).abs() < 1e-4, "{octave}");
        }
        assert!((db(0) - 6.0).abs() < 1e-4, "level below the first knot");
        let between = 2.0 + (-6.0 - 2.0) * (24f64.log2() - 4.0);
        assert!((db(24) - between).abs() < 1e-4);
    }
}
