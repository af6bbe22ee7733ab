//! What may be asked about a scene: its truth, in the words and units of questions.

use crate::audio::foa::{angle_between_deg, unit_vector};
use crate::sim::rtsd::{Rtsd, RtsdSource};

/// A source this far below the loudest may be inaudible: its scene is not asked about.
const AUDIBLE_DB: f64 = 20.0;
/// In the rooms that `twnm simulate` draws.
const SPEED_OF_SOUND: f64 = 343.0;

/// A scene's truth with what questions need.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The truth.
    pub rtsd: Rtsd,
    /// What each source is called.
    pub labels: Vec<String>,
    /// Sources whose label no other source of the scene has: only these can be named.
    pub named: Vec<usize>,
}

/// What a class is called in a sentence: `dog_bark` is "dog bark".
pub fn label(class: &str) -> String {
    class.replace(['_', '-'], " ").to_lowercase()
}

impl Facts {
    /// `None` for a scene that cannot be asked about: without sources, with more than three, with one that may be
    /// inaudible or that layers two recordings (is it one sound or two?), or with values that are no numbers.
    pub fn new(rtsd: Rtsd) -> Option<Facts> {
        let levels = || rtsd.sources.iter().map(|s| s.level_db);
        let loudest = levels().fold(f64::NEG_INFINITY, f64::max);
        let audible = levels().all(|l| l > loudest - AUDIBLE_DB) && rtsd.sources.iter().all(|s| !s.active_s.is_empty());
        let finite = |s: &RtsdSource| {
            let numbers = [s.azimuth_deg, s.elevation_deg, s.distance_m, s.level_db];
            numbers.iter().all(|x| x.is_finite()) && s.distance_m > 0.0
        };
        let layered = rtsd.sources.iter().any(|s| s.layered_with.is_some());
        if layered || !(1..=3).contains(&rtsd.sources.len()) || !audible || !rtsd.sources.iter().all(finite) {
            return None;
        }
        let labels: Vec<String> = rtsd.sources.iter().map(|s| label(&s.class)).collect();
        let named = (0..labels.len()).filter(|&i| labels.iter().filter(|l| **l == labels[i]).count() == 1).collect();
        Some(Facts { rtsd, labels, named })
    }

    /// How many sources.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// Source `i`.
    pub fn source(&self, i: usize) -> &RtsdSource {
        &self.rtsd.sources[i]
    }

    /// Azimuth of source `i` for a listener who has turned `turn_deg` to the left: counter-clockwise from the front, in
    /// [0, 360).
    pub fn azimuth_deg(&self, i: usize, turn_deg: f64) -> f64 {
        around(self.source(i).azimuth_deg - turn_deg)
    }

    /// Elevation of source `i`.
    pub fn elevation_deg(&self, i: usize) -> f64 {
        self.source(i).elevation_deg
    }

    /// Distance of source `i`.
    pub fn distance_m(&self, i: usize) -> f64 {
        self.source(i).distance_m
    }

    /// Unit vector towards source `i`.
    pub fn direction(&self, i: usize) -> [f64; 3] {
        unit_vector(self.source(i).azimuth_deg, self.source(i).elevation_deg)
    }

    /// Angle between the directions of source `i` and a direction.
    pub fn angle_to_deg(&self, i: usize, azimuth_deg: f64, elevation_deg: f64) -> f64 {
        angle_between_deg(self.direction(i), unit_vector(azimuth_deg, elevation_deg))
    }

    /// The sources called `label`.
    pub fn called(&self, label: &str) -> Vec<usize> {
        (0..self.count()).filter(|&i| self.labels[i] == label).collect()
    }

    /// Time that the direct sound of source `i` travels.
    pub fn travel_ms(&self, i: usize) -> f64 {
        self.distance_m(i) / SPEED_OF_SOUND * 1000.0
    }

    /// Height of the ceiling above the listener's ears.
    pub fn ceiling_above_m(&self) -> f64 {
        self.rtsd.room.dimensions_m[2] - self.rtsd.receiver_m[2]
    }

    /// Greatest distance from the receiver to a corner of the room.
    pub fn farthest_corner_m(&self) -> f64 {
        let room = &self.rtsd.room.dimensions_m;
        let reach = |a: usize| self.rtsd.receiver_m[a].max(room[a] - self.rtsd.receiver_m[a]);
        (0..3).map(|a| reach(a).powi(2)).sum::<f64>().sqrt()
    }
}

/// An angle in [0, 360).
pub fn around(degrees: f64) -> f64 {
    let angle = degrees.rem_euclid(360.0);
    // Rounding can lift a tiny negative angle to 360 itself.
    if angle >= 360.0 { 0.0 } else { angle }
}

/// Signed difference a - b of two azimuths, in (-180, 180].
pub fn turn_between_deg(a: f64, b: f64) -> f64 {
    let difference = around(a - b);
    if difference > 180.0 { difference - 360.0 } else { difference }
}

/// The four directions of questions.
pub const SECTORS: [&str; 4] = ["front", "left", "back", "right"];
/// The eight directions of questions, every 45 degrees counter-clockwise.
pub const OCTANTS: [&str; 8] =
    ["front", "front-left", "left", "rear-left", "rear", "rear-right", "right", "front-right"];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sim::rtsd::RtsdRoom;
    use crate::sources::Domain;

    /// A source for tests.
    pub(crate) fn source(class: &str, azimuth_deg: f64, elevation_deg: f64, distance_m: f64) -> RtsdSource {
        RtsdSource {
            recording: format!("environment/{class}/1"),
            class: class.into(),
            class_index: None,
            domain: Domain::Environment,
            transcript: None,
            caption: None,
            licence: None,
            speed: 1.0,
            followed_by: vec![],
            layered_with: None,
            azimuth_deg,
            elevation_deg,
            distance_m,
            position_m: [0.0; 3],
            gain_db: 0.0,
            level_db: -4.0,
            drr_db: 0.0,
            active_s: vec![[0.0, 5.0]],
        }
    }

    /// A scene for tests.
    pub(crate) fn facts(sources: Vec<RtsdSource>) -> Facts {
        let room = RtsdRoom {
            size: "small".into(),
            finish: "reflective".into(),
            dimensions_m: [4.0, 4.5, 2.7],
            surface_m2: 81.9,
            absorption: 0.15,
            wall_absorption: [0.15; 6],
            rt60_s: 0.6,
            t20_s: None,
            rir_s: 0.6,
        };
        let rtsd = Rtsd {
            id: "scene-00000000".into(),
            index: 0,
            seed: 0,
            seconds: 5.0,
            sample_rate: 16_000,
            sources,
            recordings: Default::default(),
            room,
            receiver_m: [2.0, 2.0, 1.7],
            snr_db: 30.0,
        };
        Facts::new(rtsd).unwrap()
    }

    #[test]
    fn names_angles_and_scenes_that_are_not_asked_about() {
        let two = facts(vec![source("dog_bark", -90.0, 10.0, 2.0), source("Rain", 10.0, 0.0, 3.0)]);
        assert_eq!((two.labels.join(","), two.named.len()), ("dog bark,rain".into(), 2));
        assert_eq!(two.azimuth_deg(0, 0.0), 270.0);
        assert_eq!(two.azimuth_deg(1, 90.0), 280.0);
        assert_eq!(two.called("rain"), [1]);
        assert_eq!((turn_between_deg(10.0, 350.0), turn_between_deg(350.0, 10.0)), (20.0, -20.0));
        assert_eq!(around(-1e-17), 0.0);
        let same = facts(vec![source("rain", -90.0, 10.0, 2.0), source("rain", 10.0, 0.0, 3.0)]);
        assert!(same.named.is_empty());
        let mut quiet = two.rtsd.clone();
        quiet.sources[0].level_db = -30.0;
        assert!(Facts::new(quiet).is_none());
        let mut broken = two.rtsd.clone();
        broken.sources[0].azimuth_deg = f64::NAN;
        assert!(Facts::new(broken).is_none());
        let corner: f64 = (2.0f64.powi(2) + 2.5f64.powi(2) + 1.7f64.powi(2)).sqrt();
        assert!((two.farthest_corner_m() - corner).abs() < 1e-12);
    }
}
