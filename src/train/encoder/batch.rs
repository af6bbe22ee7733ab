//! One clip of a batch: which scene, which part of it, how it is turned, and its labels moving along.
//!
//! Everything is drawn from (seed, position): position counts clips from the start of the run, so a resumed run sees
//! the clips of the uninterrupted one.

use super::recipe::Data;
use super::supply::Supply;
use crate::audio::{SAMPLE_RATE, foa::Rotation};
use crate::error::Result;
use crate::rng::Rng;
use crate::scene::ClipTruth;

/// A clip ready for the encoder.
pub struct Clip {
    /// [4, samples], AmbiX.
    pub audio: Vec<f32>,
    /// What is in it.
    pub truth: ClipTruth,
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
    let mut truth = labels.crop(begin, audio.len() / 4);
    if data.rotation == "yaw" {
        let turn = Rotation::yaw(rng.range(-180.0, 180.0));
        // Half of the clips change left and right before they turn.
        let rotation = if rng.below(2) == 0 { turn } else { Rotation::mirror([0.0, 1.0, 0.0]).then(&turn) };
        rotation.apply_foa(&mut audio);
        truth = truth.turned(&rotation);
    }
    let equalizer_db = match data.equalizer_db {
        0.0 => [0.0; OCTAVES],
        spread => std::array::from_fn(|_| spread * rng.normal()),
    };
    Ok(Clip { audio, truth, equalizer_db })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::scene::{Path, Point, Track, Truth};
    use crate::shard::{Labels, Order, Sample, ShardSet, ShardSpec, ShardWriter};
    use crate::sources::Domain;

    /// Where a single source is, by the active intensity of the whole recording: the sums of W·X, W·Y and W·Z over that of
    /// W², which for a plane wave are its unit vector. Written out here, so that it shares nothing with what it checks.
    fn localised(audio: &[f32], samples: std::ops::Range<usize>) -> [f64; 3] {
        let frames = audio.len() / 4;
        let channel = |c: usize| &audio[c * frames..][samples.clone()];
        let with_w = |c: usize| -> f64 { channel(0).iter().zip(channel(c)).map(|(&w, &v)| f64::from(w * v)).sum() };
        // AmbiX: W, Y, Z, X.
        [with_w(3), with_w(1), with_w(2)].map(|sum| sum / with_w(0))
    }

    fn off_deg(a: [f64; 3], b: [f64; 3]) -> f64 {
        let chord = (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt();
        2.0 * (0.5 * chord).min(1.0).asin().to_degrees()
    }

    /// The first source of [`write_plane_waves`] sounds before this sample, the second from it on.
    const CHANGE: usize = 8000;

    /// A set of clips of a second with two plane waves one after the other, the second 90 degrees to the left of the
    /// first, in samples by the formula W = s, Y = s sin az cos el, Z = s sin el, X = s cos az cos el.
    fn write_plane_waves(folder: &std::path::Path, places_deg: &[(f64, f64)]) -> ShardSet {
        let classes = ["dog".to_string()];
        let spec = ShardSpec::new(places_deg.len(), 2 * CHANGE, 1, &classes, &serde_json::json!({})).unwrap();
        let writer = ShardWriter::open(folder, spec).unwrap();
        let sample = |i: usize| {
            let (first_deg, elevation_deg) = places_deg[i];
            let azimuths_deg = [first_deg, first_deg + 90.0];
            let mut rng = Rng::new(1, "plane waves", i as u64);
            let mut audio = vec![0.0; 4 * 2 * CHANGE];
            for t in 0..2 * CHANGE {
                let (az, el) = (azimuths_deg[t / CHANGE].to_radians(), elevation_deg.to_radians());
                let gains = [1.0, az.sin() * el.cos(), el.sin(), az.cos() * el.cos()];
                let s = rng.normal();
                (0..4).for_each(|c| audio[c * 2 * CHANGE + t] = (s * gains[c]) as f32);
            }
            let track = |slot: usize| Track {
                recording: None,
                class: "dog".into(),
                class_index: Some(0),
                domain: Domain::Environment,
                transcript: None,
                caption: None,
                other_captions: vec![],
                keywords: vec![],
                licence: None,
                speed: 1.0,
                followed_by: vec![],
                layered_with: None,
                path: Path::still(Point::at_angles(0.0, azimuths_deg[slot], elevation_deg, 2.0)),
                position_m: None,
                gain_db: None,
                level_db: None,
                drr_db: None,
                active_s: vec![[[0.0, 0.5], [0.5, 1.0]][slot]],
            };
            let truth = Truth {
                id: format!("waves-{i}"),
                index: i as u64,
                seed: None,
                seconds: 1.0,
                sample_rate: SAMPLE_RATE,
                sources: vec![track(0), track(1)],
                recordings: Default::default(),
                room: None,
                receiver_m: None,
                snr_db: None,
                script: None,
            };
            Sample::new(&audio, Labels::of(&truth).unwrap(), &truth).unwrap()
        };
        for &shard in writer.missing() {
            let samples: Vec<Sample> = writer.spec().range(shard).map(sample).collect();
            writer.write(shard, &samples).unwrap();
        }
        writer.finish().unwrap();
        ShardSet::open(folder).unwrap()
    }

    #[test]
    fn labels_turn_and_mirror_with_the_audio() {
        let places_deg = [(0.0, 0.0), (40.0, 30.0), (-130.0, -50.0), (100.0, 70.0)];
        let folder = tempfile::tempdir().unwrap();
        let set = write_plane_waves(folder.path(), &places_deg);
        let supply = Supply::Shards(set, Order::new(places_deg.len(), 5, "training order"));
        let data = Data { crop_min_s: 1.0, crop_max_s: 1.0, ..Data::default() };
        assert_eq!(data.rotation, "yaw");
        let mut turns = [0, 0];
        for position in 0..64 {
            let clip = clip(&supply, &data, 9, 0, position).unwrap();
            let [first, second] = [&clip.truth.sources[0], &clip.truth.sources[1]].map(|s| s.direction);
            for (said, samples) in [(first, 0..CHANGE), (second, CHANGE..2 * CHANGE)] {
                // 16-bit audio: a step is 1/32767 of the peak.
                let off = off_deg(said, localised(&clip.audio, samples));
                assert!(off < 0.05, "position {position}: the label is {off} degrees off");
            }
            // Neither a turn about the vertical nor an exchange of left and right changes elevations.
            let elevation_deg = first[2].asin().to_degrees();
            assert!(places_deg.iter().any(|(_, was)| (was - elevation_deg).abs() < 0.01), "{elevation_deg}");
            // The second source was to the left of the first one: it still is, or is now to the right.
            let to_the_left = first[0] * second[1] - first[1] * second[0];
            assert!(to_the_left.abs() > 0.1);
            turns[usize::from(to_the_left < 0.0)] += 1;
        }
        assert!(turns.iter().all(|&n| n > 16), "half of the clips are mirrored: {turns:?}");
        let as_it_was = Data { rotation: "none".into(), ..data };
        for position in 0..4 {
            let clip = clip(&supply, &as_it_was, 9, 0, position).unwrap();
            let found = localised(&clip.audio, 0..CHANGE);
            let placed = |&(azimuth, elevation): &(f64, f64)| {
                let (az, el) = (f64::to_radians(azimuth), f64::to_radians(elevation));
                off_deg(found, [el.cos() * az.cos(), el.cos() * az.sin(), el.sin()])
            };
            assert!(places_deg.iter().map(placed).fold(180.0, f64::min) < 0.05, "{found:?}");
        }
    }

    #[test]
    fn a_rendered_scene_is_heard_where_its_turned_label_says() {
        let recipe = tempfile::NamedTempFile::new().unwrap();
        // One source and no walls: what is heard is the direct sound alone.
        let settings = "seconds = 1.0\nmax_sources = 1\nabsorption_shares = [0.0, 0.0, 1.0]\nabsorptive = [1.0, 1.0]\n\
                        wall_spread = 0.0\nrt60_s = [0.0, 1.0]\nsnr_db = [200.0, 200.0]\n";
        std::fs::write(recipe.path(), settings).unwrap();
        let data = Data {
            bank: true,
            scene_recipe: recipe.path().to_str().unwrap().into(),
            crop_min_s: 0.6,
            crop_max_s: 0.6,
            ..Data::default()
        };
        let supply = Supply::open(&data, 4, Device::Host).unwrap();
        let mut heard = 0;
        for position in 0..12 {
            let clip = clip(&supply, &data, 4, 0, position).unwrap();
            if let [source] = &clip.truth.sources[..] {
                let off = off_deg(source.direction, localised(&clip.audio, 0..clip.audio.len() / 4));
                assert!(off < 0.5, "position {position}: the label is {off} degrees off");
                heard += 1;
            }
        }
        assert!(heard > 8, "{heard}");
    }

    #[test]
    fn the_equaliser_meets_its_knots() {
        let truth = ClipTruth { sources: Vec::new(), room: None };
        let flat = Clip { audio: Vec::new(), truth, equalizer_db: [0.0; OCTAVES] };
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
