//! What was heard in one recording, as `twnm listen` says it: sources, room, and the signal's own plausibility.

use super::encoder::{Prediction, Slot};
use crate::audio::Audio;
use crate::audio::foa::angles_deg;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A recording whose W channel never exceeds this magnitude (-100 dB) is silent.
const SILENCE: f32 = 1e-5;

/// One source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Counter-clockwise from the front (+90 is left), in (-180, 180].
    pub azimuth_deg: f64,
    /// Up from the horizon, in [-90, 90].
    pub elevation_deg: f64,
    /// Metres.
    pub distance_m: f64,
    /// Name of the most probable class.
    pub class: String,
    /// Probability of that class.
    pub class_probability: f64,
    /// Probability that there is a source.
    pub existence: f64,
}

/// The room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectedRoom {
    /// Surface in square metres.
    pub surface_m2: f64,
    /// Mean energy absorption.
    pub absorption: f64,
}

/// Everything heard; its JSON is the contract of `twnm listen --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detections {
    /// Number of sources.
    pub count: usize,
    /// The sources, in the order of the encoder's slots.
    pub sources: Vec<Detection>,
    /// The room.
    pub room: DetectedRoom,
}

impl Detections {
    /// The sources that `prediction` counts; `classes` are the encoder's. Panics when they are not as many as the
    /// prediction has probabilities for.
    #[track_caller]
    pub fn new(prediction: &Prediction, classes: &[String]) -> Detections {
        let source = |slot: &Slot| {
            assert_eq!(slot.class_probability.len(), classes.len(), "the classes of this encoder");
            let (azimuth_deg, elevation_deg) = angles_deg(slot.direction);
            let (class, class_probability) = slot.class().expect("an encoder has classes");
            Detection {
                azimuth_deg,
                elevation_deg,
                distance_m: slot.distance_m,
                class: classes[class].clone(),
                class_probability,
                existence: slot.existence,
            }
        };
        let count = prediction.count();
        Detections {
            count,
            sources: prediction.slots[..count].iter().map(source).collect(),
            room: DetectedRoom { surface_m2: prediction.surface_m2, absorption: prediction.absorption },
        }
    }

    /// The table for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let line = match self.count {
            0 => "no source".to_string(),
            1 => "1 source".to_string(),
            n => format!("{n} sources"),
        };
        let (surface, absorption) = (self.room.surface_m2, self.room.absorption);
        writeln!(text, "{line}; room: surface {surface:.0} m2, mean absorption {absorption:.2}").expect("a string");
        if self.count > 0 {
            let width = self.sources.iter().map(|s| s.class.chars().count()).max().unwrap_or(0).max(5);
            let head = "source  azimuth_deg  elevation_deg  distance_m  existence";
            writeln!(text, "\n{head}  {:<width$}  probability", "class").expect("a string");
            for (i, s) in self.sources.iter().enumerate() {
                let (azimuth, elevation) = (tidy(s.azimuth_deg, 1), tidy(s.elevation_deg, 1));
                let numbers = format!("{:>6}  {azimuth:>11}  {elevation:>13}  {:>10.2}", i + 1, s.distance_m);
                writeln!(text, "{numbers}  {:>9.2}  {:<width$}  {:>11.2}", s.existence, s.class, s.class_probability)
                    .expect("a string");
            }
            text.push_str("\nazimuth: counter-clockwise from the front (+90 left, -90 right); elevation: up\n");
        }
        text
    }
}

/// A number with a fixed number of decimals and no negative zero.
pub(super) fn tidy(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_string(),
        _ => text,
    }
}

/// Refuses a recording that nothing can be heard in and warns about one whose channels cannot be Ambisonics as
/// declared. `audio` is AmbiX with 4 channels at the encoder's rate; at least `samples_min` frames are needed.
///
/// # Errors
/// `Data`: too short, or silent in W.
#[track_caller]
pub fn check_recording(audio: &Audio, samples_min: usize) -> Result<()> {
    assert_eq!(audio.channels, 4, "First-Order Ambisonics has 4 channels");
    if audio.frames() < samples_min {
        let (have_s, need_s) = (audio.seconds(), samples_min as f64 / f64::from(audio.sample_rate));
        return Err(Error::data(format!("it is {have_s:.3} s long, at least {need_s:.3} s are needed"))
            .hint("a second or more is better: a source must sound in it"));
    }
    let peak = |c: usize| audio.channel(c).iter().fold(0f32, |top, x| top.max(x.abs()));
    if peak(0) <= SILENCE {
        let others = (1..4).map(peak).fold(0f32, f32::max);
        let error = Error::data("channel W is silent, nothing can be heard");
        return Err(match others > SILENCE {
            true => error.hint("the other channels are not: is the first channel W? See --convention"),
            false => error.hint("all four channels are silent: is it the right file?"),
        });
    }
    // A plane wave and a diffuse field both put as much energy into Y, Z and X together as into W; FuMa weights read
    // as AmbiX give 2 times as much, N3D and raw capsules 3 times.
    let energy = |c: usize| audio.channel(c).iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let ratio = (energy(1) + energy(2) + energy(3)) / energy(0);
    if !(0.2..1.6).contains(&ratio) {
        tracing::warn!(
            "Y, Z and X together hold {ratio:.2} times the energy of W, about 1 is expected: directions may be wrong \
             (FuMa read as AmbiX gives 2: --convention fuma; N3D weights or raw capsule signals give 3)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::foa::unit_vector;

    fn prediction() -> Prediction {
        let slot = |existence, azimuth, class: usize| Slot {
            existence,
            direction: unit_vector(azimuth, -0.01),
            distance_m: 2.0,
            class_probability: (0..3).map(|c| if c == class { 0.8 } else { 0.1 }).collect(),
        };
        let slots = vec![slot(0.9, -180.0, 1), slot(0.7, 45.0, 2), slot(0.2, 10.0, 0), slot(0.9, 0.0, 0)];
        Prediction { slots, surface_m2: 120.0, absorption: 0.3 }
    }

    #[test]
    fn only_counted_sources_are_named_and_the_keys_are_the_contracts() {
        let classes = ["rain", "dog", "speech"].map(String::from);
        let heard = Detections::new(&prediction(), &classes);
        let json = serde_json::to_value(&heard).unwrap();
        assert_eq!(json["count"], 2);
        assert_eq!(json["sources"][0]["azimuth_deg"].as_f64().unwrap(), 180.0);
        assert_eq!(json["sources"][0]["class"], "dog");
        assert_eq!(json["sources"][1]["existence"], 0.7);
        assert_eq!(json["room"], serde_json::json!({"surface_m2": 120.0, "absorption": 0.3}));
        let text = heard.to_text();
        assert!(text.contains("2 sources") && text.contains("speech") && !text.contains("-0.0"), "{text}");
        let silent = Prediction { slots: vec![], ..prediction() };
        assert!(Detections::new(&silent, &classes).to_text().starts_with("no source;"));
    }

    #[test]
    fn recordings_without_anything_to_hear_are_refused() {
        let mut audio = Audio::silence(16_000, 4, 1000);
        assert!(check_recording(&audio, 1024).unwrap_err().message().contains("0.062 s"));
        let all = check_recording(&audio, 100).unwrap_err().to_string();
        assert!(all.contains("W is silent") && all.contains("all four"), "{all}");
        audio.channel_mut(2)[5] = 0.5;
        assert!(check_recording(&audio, 100).unwrap_err().to_string().contains("--convention"));
        audio.channel_mut(0)[5] = 0.5;
        assert!(check_recording(&audio, 100).is_ok());
    }
}
