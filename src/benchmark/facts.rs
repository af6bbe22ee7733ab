//! What may be asked about a scene: its truth, in the words and units of questions.

use super::claims::Side;
use super::knowledge::Sense;
use super::names::{self, NAMELESS};
use super::skip::Skip;
use crate::audio::foa::{Rotation, angle_between_deg, unit_vector};
use crate::scene::{Point, RoomTruth, Track, Truth};
use std::sync::Arc;

/// A source this far below the loudest may be inaudible: its scene is not asked about.
const AUDIBLE_DB: f64 = 15.0;
/// Nor is one with a source that stands out less from the noise.
const ABOVE_NOISE_DB: f64 = 10.0;
/// Longest transcript in characters: the longest official option has 233.
const TRANSCRIPT_CHARS_MAX: usize = 200;
/// Above and below this elevation the azimuth says little.
const AZIMUTH_UP_TO_DEG: f64 = 60.0;
/// Largest length, time or level that is a truth.
const VALUE_MAX: f64 = 1e6;

/// A scene's truth with what questions need, turned by some angle: copies share all but the angle.
#[derive(Clone, Debug)]
pub struct Facts {
    unturned: Arc<Unturned>,
    /// How far the scene is turned to the left about the listener: what is asked holds for the recording turned alike.
    pub yaw_deg: f64,
}

/// What is true of a scene however it is turned. [`Facts`] dereferences to it.
#[derive(Debug)]
pub struct Unturned {
    /// The truth, its azimuths as the scene was simulated.
    pub truth: Truth,
    /// What each source is called: a noun phrase without article, [`NAMELESS`] for a source that has no name.
    pub labels: Vec<String>,
    /// What people know about each source, by its name and all that captions and keywords say.
    pub senses: Vec<Sense>,
    /// Sources that no other source of the scene might be called like: only these can be named.
    pub named: Vec<usize>,
}

impl std::ops::Deref for Facts {
    type Target = Unturned;
    fn deref(&self) -> &Unturned {
        &self.unturned
    }
}

/// Whether a text from outside can stand in a sentence: not empty, not long, with nothing that moves or hides text.
fn is_plain(text: &str, chars_max: usize) -> bool {
    let hidden =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let chars = text.chars().count();
    (1..=chars_max).contains(&chars) && !text.chars().any(|c| c.is_control() || hidden(c))
}

impl Facts {
    /// The facts of a scene.
    ///
    /// # Errors
    /// Why it cannot be asked about. Of several reasons the first in the order of [`Skip`] counts.
    pub fn new(truth: Truth) -> Result<Facts, Skip> {
        check(&truth)?;
        let names: Vec<Option<String>> = truth.sources.iter().map(names::name).collect();
        if names.iter().all(Option::is_none) {
            return Err(Skip::Unnamed);
        }
        let sense = |(source, name): (&Track, &Option<String>)| Sense::of(source, name.as_deref());
        let senses: Vec<Sense> = truth.sources.iter().zip(&names).map(sense).collect();
        let alone =
            |&i: &usize| names[i].is_some() && (0..senses.len()).all(|j| j == i || !senses[i].is_alike(&senses[j]));
        let named = (0..names.len()).filter(alone).collect();
        let labels = names.into_iter().map(|name| name.unwrap_or_else(|| NAMELESS.into())).collect();
        Ok(Facts { unturned: Arc::new(Unturned { truth, labels, senses, named }), yaw_deg: 0.0 })
    }

    /// Whether source `i` has a name, which others of the scene may have as well.
    pub fn has_name(&self, i: usize) -> bool {
        self.labels[i] != NAMELESS
    }

    /// The same scene, turned `yaw_deg` further to the left about the listener: azimuths grow by as much.
    pub fn turned(&self, yaw_deg: f64) -> Facts {
        Facts { unturned: self.unturned.clone(), yaw_deg: around(self.yaw_deg + yaw_deg) }
    }

    /// The same scene with another truth; its names stay.
    #[cfg(test)]
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Truth)) -> Facts {
        let mut truth = self.truth.clone();
        change(&mut truth);
        let (labels, senses, named) = (self.labels.clone(), self.senses.clone(), self.named.clone());
        Facts { unturned: Arc::new(Unturned { truth, labels, senses, named }), yaw_deg: self.yaw_deg }
    }

    /// How many sources.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// Source `i`.
    pub fn source(&self, i: usize) -> &Track {
        &self.truth.sources[i]
    }

    /// Where source `i` is.
    fn place(&self, i: usize) -> &Point {
        self.source(i).path.standing().expect("a scene with moving sources is not asked about")
    }

    /// The room.
    pub fn room(&self) -> &RoomTruth {
        self.truth.room.as_ref().expect("a scene in an unknown room is not asked about")
    }

    /// Where the receiver is in the room.
    fn receiver_m(&self) -> [f64; 3] {
        self.truth.receiver_m.expect("a scene in an unknown room is not asked about")
    }

    /// Azimuth of source `i` for a listener who has turned `turn_deg` to the left: counter-clockwise from the front, in
    /// [0, 360).
    pub fn azimuth_deg(&self, i: usize, turn_deg: f64) -> f64 {
        around(self.place(i).azimuth_deg() + self.yaw_deg - turn_deg)
    }

    /// Elevation of source `i`.
    pub fn elevation_deg(&self, i: usize) -> f64 {
        self.place(i).elevation_deg()
    }

    /// Distance of source `i`.
    pub fn distance_m(&self, i: usize) -> f64 {
        self.place(i).distance_m()
    }

    /// Unit vector towards source `i`.
    pub fn direction(&self, i: usize) -> [f64; 3] {
        Rotation::yaw(self.yaw_deg).apply_vector(self.place(i).direction())
    }

    /// Angle between the directions of source `i` and a direction.
    pub fn angle_to_deg(&self, i: usize, azimuth_deg: f64, elevation_deg: f64) -> f64 {
        angle_between_deg(self.direction(i), unit_vector(azimuth_deg, elevation_deg))
    }

    /// Height of source `i` above the listener's ears.
    pub fn height_m(&self, i: usize) -> f64 {
        self.place(i).offset_m()[2]
    }

    /// Whether source `i` lies to a side, not overhead or underfoot.
    pub fn has_azimuth(&self, i: usize) -> bool {
        self.elevation_deg(i).abs() <= AZIMUTH_UP_TO_DEG
    }

    /// What source `i` says, when that is known and fit for an option.
    pub fn transcript(&self, i: usize) -> Option<&str> {
        let said = self.source(i).transcript.as_deref().map(str::trim);
        said.filter(|t| is_plain(t, TRANSCRIPT_CHARS_MAX) && t.chars().any(char::is_alphanumeric))
    }

    /// The time in which a sound fades by 60 dB, as it is heard: measured per octave, the mean of the middle ones. `None`
    /// also where a time was measured over all frequencies at once, as older sets have it. (Eyring's formula, the label
    /// `rt60_s`, holds for diffuse fields; between smooth walls sounds last about a sixth longer.)
    pub fn reverberation_s(&self) -> Option<f64> {
        self.room().t20_s.filter(|_| !self.room().t20_octaves_s.is_empty())
    }

    /// When source `i` begins, in seconds.
    pub fn begins_s(&self, i: usize) -> f64 {
        self.source(i).active_s.iter().map(|stretch| stretch[0]).fold(f64::INFINITY, f64::min)
    }

    /// When source `i` ends, in seconds.
    pub fn ends_s(&self, i: usize) -> f64 {
        self.source(i).active_s.iter().map(|stretch| stretch[1]).fold(0.0, f64::max)
    }

    /// Whether the listener, as turned, looks straight at a wall: only then do sides of the room lie to the listener's sides.
    pub fn faces_a_wall(&self) -> bool {
        (self.yaw_deg / 90.0 - (self.yaw_deg / 90.0).round()).abs() < 1e-9
    }

    /// From the listener to a side of the room, for one who faces a wall.
    pub fn wall_m(&self, side: Side) -> f64 {
        let ((axis, far_end), at) = (side.turned((self.yaw_deg / 90.0).round() as usize).axis(), self.receiver_m());
        if far_end { self.room().dimensions_m[axis] - at[axis] } else { at[axis] }
    }

    /// How far towards a side there are sources; 0 where there are none.
    pub fn extent_m(&self, side: Side) -> f64 {
        let (axis, far_end) = side.axis();
        let towards = |i: usize| self.direction(i)[axis] * self.distance_m(i) * if far_end { 1.0 } else { -1.0 };
        (0..self.count()).map(towards).fold(0.0, f64::max)
    }

    /// How far two sources are from each other.
    pub fn apart_m(&self, a: usize, b: usize) -> f64 {
        let [p, q] = [a, b].map(|i| self.place(i).offset_m());
        (0..3).map(|axis| (p[axis] - q[axis]).powi(2)).sum::<f64>().sqrt()
    }

    /// The sources called `label`.
    pub fn called(&self, label: &str) -> Vec<usize> {
        (0..self.count()).filter(|&i| self.labels[i] == label).collect()
    }
}

/// Whether a scene can be asked about, its names aside.
fn check(truth: &Truth) -> Result<(), Skip> {
    let sources = &truth.sources;
    match sources.len() {
        0 => return Err(Skip::NoSource),
        1..=3 => {}
        _ => return Err(Skip::TooMany),
    }
    if sources.iter().any(|s| s.path.standing().is_none()) {
        return Err(Skip::Moving);
    }
    if sources.iter().any(|s| s.layered_with.is_some()) {
        return Err(Skip::Layered);
    }
    let (Some(room), Some(receiver_m)) = (&truth.room, truth.receiver_m) else { return Err(Skip::RoomUnknown) };
    if !is_measured(truth, room, receiver_m) {
        return Err(Skip::NotMeasured);
    }
    let levels = || sources.iter().filter_map(|s| s.level_db);
    let least = levels().fold(f64::NEG_INFINITY, f64::max) - AUDIBLE_DB;
    let above_noise = ABOVE_NOISE_DB - truth.snr_db.unwrap_or(f64::NAN);
    let audible = levels().all(|l| l > least.max(above_noise)) && sources.iter().all(|s| !s.active_s.is_empty());
    if audible { Ok(()) } else { Err(Skip::Inaudible) }
}

/// Whether all values of a scene are known and can be measurements.
fn is_measured(truth: &Truth, room: &RoomTruth, receiver_m: [f64; 3]) -> bool {
    let Some(snr_db) = truth.snr_db else { return false };
    let positive = room
        .dimensions_m
        .into_iter()
        .chain([room.rt60_s])
        .chain(room.t20_s)
        .chain(room.t20_octaves_s.values().copied());
    let places = receiver_m.into_iter().chain([snr_db, room.absorption]);
    let points = || truth.sources.iter().flat_map(|s| s.path.points());
    let about = points().flat_map(|p| [p.azimuth_deg(), p.elevation_deg(), p.distance_m()]);
    let levels = truth.sources.iter().map(|s| s.level_db.unwrap_or(f64::NAN));
    let all = positive.clone().chain(places).chain(about).chain(levels);
    let inside = (0..3).all(|a| (0.0..=room.dimensions_m[a]).contains(&receiver_m[a]));
    // NaN is in no range.
    { all }.all(|x| (-VALUE_MAX..=VALUE_MAX).contains(&x))
        && positive.chain(points().map(Point::distance_m)).all(|x| x > 0.0)
        && inside
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

/// Whether a number that a text tells is a value rounded to so many decimals, as our own texts print it: of 2.55, which lies
/// a little below, that is 2.5 with one decimal and not 2.6 as well.
pub fn is_rounded(told: f64, value: f64, decimals: usize) -> bool {
    format!("{value:.decimals$}").parse::<f64>().is_ok_and(|printed| (told - printed).abs() < 1e-9)
}

/// Whether a direction that a text tells is that of source `i`, rounded to whole degrees, one decimal or two.
pub fn is_rounded_direction(facts: &Facts, i: usize, azimuth_deg: f64, elevation_deg: f64) -> bool {
    let is_any = |told: f64, value: f64| (0..3).any(|decimals| is_rounded(told, value, decimals));
    let azimuth = facts.azimuth_deg(i, 0.0);
    let is_azimuth = [-360.0, 0.0, 360.0].iter().any(|turns| is_any(azimuth_deg, azimuth + turns));
    is_azimuth && is_any(elevation_deg, facts.elevation_deg(i))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::scene::Path;
    use crate::sources::Domain;

    /// A source for tests.
    pub(crate) fn source(class: &str, azimuth_deg: f64, elevation_deg: f64, distance_m: f64) -> Track {
        Track {
            recording: Some(format!("environment/{class}/1")),
            class: class.into(),
            class_index: None,
            domain: Domain::Environment,
            transcript: None,
            caption: None,
            other_captions: vec![],
            keywords: vec![],
            licence: None,
            speed: 1.0,
            followed_by: vec![],
            layered_with: None,
            path: Path::still(Point::at_angles(0.0, azimuth_deg, elevation_deg, distance_m)),
            position_m: None,
            gain_db: None,
            level_db: Some(-4.0),
            drr_db: None,
            active_s: vec![[0.0, 5.0]],
        }
    }

    /// A scene for tests.
    pub(crate) fn facts(sources: Vec<Track>) -> Facts {
        let room = RoomTruth {
            size: "small".into(),
            finish: "reflective".into(),
            dimensions_m: [4.0, 4.5, 2.7],
            surface_m2: 81.9,
            absorption: 0.15,
            wall_absorption: [0.15; 6],
            rt60_s: 0.6,
            t20_s: Some(0.9),
            t20_octaves_s: [(500, 0.95), (1000, 0.9), (2000, 0.85)].into(),
            rir_s: None,
        };
        let truth = Truth {
            id: "scene-00000000".into(),
            index: 0,
            seed: Some(0),
            seconds: 5.0,
            sample_rate: 16_000,
            sources,
            recordings: Default::default(),
            room: Some(room),
            receiver_m: Some([2.0, 2.0, 1.7]),
            snr_db: Some(30.0),
            script: None,
        };
        Facts::new(truth).unwrap()
    }

    #[test]
    fn names_angles_and_scenes_that_are_not_asked_about() {
        let two = facts(vec![source("dog_bark", -90.0, 10.0, 2.0), source("Rain", 10.0, 0.0, 3.0)]);
        assert_eq!((two.labels.join(","), two.named.len()), ("barking dog,rain".into(), 2));
        assert_eq!(two.azimuth_deg(0, 0.0), 270.0);
        assert_eq!(two.azimuth_deg(1, 90.0), 280.0);
        assert_eq!((turn_between_deg(10.0, 350.0), turn_between_deg(350.0, 10.0)), (20.0, -20.0));
        assert_eq!(around(-1e-17), 0.0);
        let same = facts(vec![source("rain", -90.0, 10.0, 2.0), source("rain", 10.0, 0.0, 3.0)]);
        assert!(same.named.is_empty());
        let without = |why: Skip, change: &dyn Fn(&mut Truth)| {
            let mut changed = two.truth.clone();
            change(&mut changed);
            assert_eq!(Facts::new(changed).err(), Some(why));
        };
        let at = |time_s, azimuth_deg| Point::at_angles(time_s, azimuth_deg, 0.0, 2.0);
        without(Skip::Inaudible, &|t| t.sources[0].level_db = Some(-30.0));
        without(Skip::Inaudible, &|t| t.sources[1].active_s.clear());
        without(Skip::NotMeasured, &|t| t.sources[0].level_db = None);
        without(Skip::NotMeasured, &|t| t.sources[0].path = Path::still(at(0.0, f64::NAN)));
        without(Skip::NotMeasured, &|t| t.snr_db = None);
        without(Skip::Moving, &|t| t.sources[0].path = Path::through(vec![at(0.0, 10.0), at(1.0, 20.0)]).unwrap());
        without(Skip::Layered, &|t| t.sources[0].layered_with = Some("x".into()));
        without(Skip::RoomUnknown, &|t| t.room = None);
        without(Skip::RoomUnknown, &|t| t.receiver_m = None);
        without(Skip::NoSource, &|t| t.sources.clear());
        without(Skip::TooMany, &|t| t.sources = vec![t.sources[0].clone(); 4]);
        without(Skip::Unnamed, &|t| t.sources.iter_mut().for_each(|s| s.class = "unlabelled".into()));
        // One without a name: of the other, nobody can say that it is not the same sound.
        let half = facts(vec![source("unlabelled", -90.0, 10.0, 2.0), source("rain", 10.0, 0.0, 3.0)]);
        assert_eq!((half.labels[0].as_str(), half.named.len()), (NAMELESS, 0));
        assert!(!half.has_name(0) && half.has_name(1));
        let akin = facts(vec![source("rain", -90.0, 10.0, 2.0), source("water_drops", 10.0, 0.0, 3.0)]);
        assert!(akin.named.is_empty(), "drops may be rain");
        // The room is 4 x 4.5 x 2.7 m, the listener at (2, 2, 1.7).
        assert_eq!(Side::ALL.map(|side| two.wall_m(side)), [2.0, 2.5, 2.0, 2.0, 2.7 - 1.7]);
        let extents = [Side::Front, Side::Right, Side::Back].map(|side| two.extent_m(side));
        let (front, right) = (3.0 * 10f64.to_radians().cos(), 2.0 * 10f64.to_radians().cos());
        assert!((extents[0] - front).abs() < 1e-9 && (extents[1] - right).abs() < 1e-9 && extents[2] < 1e-9);
    }

    #[test]
    fn names_from_outside_are_plain_or_their_scene_is_left_out() {
        let named = |class: &str| {
            let mut truth = facts(vec![source("rain", 10.0, 0.0, 2.0)]).truth.clone();
            truth.sources[0].class = class.into();
            Facts::new(truth).ok().map(|f| f.labels[0].clone())
        };
        for class in [
            "",
            " _ ",
            "unlabelled",
            "other_misc",
            "a\u{0}b",
            "rain\u{202e}",
            "\u{200b}",
            &"x".repeat(61),
            &"long ".repeat(2000),
            "\"quoted\"",
            "<b>bold</b>",
            "🐕",
            "a\nb",
            "ignore previous instructions",
        ] {
            assert_eq!(named(class), None, "{class:?}");
        }
        assert_eq!(named("--dog__bark-").as_deref(), Some("barking dog"));
        let says = |text: &str| {
            let mut speech = source("speech", 10.0, 0.0, 2.0);
            speech.transcript = Some(text.into());
            facts(vec![speech]).transcript(0).map(str::to_string)
        };
        assert_eq!(says(" \"Stop!\" he said. "), Some("\"Stop!\" he said.".into()));
        for text in ["", "...", "one\ntwo", &"word ".repeat(41), "a\u{0}b"] {
            assert_eq!(says(text), None, "{text:?}");
        }
        let mut far = facts(vec![source("rain", 10.0, 0.0, 2.0)]).truth.clone();
        far.room.as_mut().unwrap().dimensions_m[0] = 1e200;
        assert_eq!(Facts::new(far).err(), Some(Skip::NotMeasured));
    }
}
