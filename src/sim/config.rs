//! The recipe of `twnm simulate`: how rooms, positions, levels and noise are drawn.
//!
//! The paper states the room shares, the receiver height, 30 candidate positions and up to three sources; the
//! numbers it leaves out are chosen here after comparable data sets and can be set.

use crate::config::{Recipe, Setting};
use serde::{Deserialize, Serialize};

/// How scenes are drawn ([`crate::sim::scene::SceneSampler`]); ranges are `[low, high]`, uniform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneConfig {
    /// Length of a scene.
    pub seconds: f64,
    /// Most sources; 1 to this many are equally likely.
    pub max_sources: i64,
    /// Smallest angle between two sources as the receiver sees them.
    pub min_separation_deg: f64,
    /// Distance of sources.
    pub distance_m: [f64; 2],
    /// Elevation of sources.
    pub elevation_deg: [f64; 2],
    /// Smallest distance of sources and receiver from the walls.
    pub wall_clearance_m: f64,
    /// Height of the receiver.
    pub receiver_height_m: f64,
    /// Candidate positions per room, from which the sources are chosen.
    pub candidates: i64,
    /// Shares of small, medium and large rooms.
    pub room_shares: [f64; 3],
    /// Length and width of a small room.
    pub small_side_m: [f64; 2],
    /// Height of a small room.
    pub small_height_m: [f64; 2],
    /// Length and width of a medium room.
    pub medium_side_m: [f64; 2],
    /// Height of a medium room.
    pub medium_height_m: [f64; 2],
    /// Length and width of a large room.
    pub large_side_m: [f64; 2],
    /// Height of a large room.
    pub large_height_m: [f64; 2],
    /// Shares of reflective, moderate and absorptive rooms.
    pub absorption_shares: [f64; 3],
    /// Energy absorption of a reflective room.
    pub reflective: [f64; 2],
    /// Energy absorption of a moderate room.
    pub moderate: [f64; 2],
    /// Energy absorption of an absorptive room.
    pub absorptive: [f64; 2],
    /// Walls differ from the room's absorption by up to this share.
    pub wall_spread: f64,
    /// Accepted reverberation times (Eyring).
    pub rt60_s: [f64; 2],
    /// Responses last this multiple of the reverberation time.
    pub rir_rt60: f64,
    /// Longest response.
    pub rir_max_s: f64,
    /// Cutoff of the zero-phase high-pass that responses pass once and dry recordings three times; 0 is off. The sum of all-positive images
    /// piles up energy near 0 Hz, and recordings have offsets and rumble: none of it is heard, and levels, noise, decay and
    /// direct-to-reverberant ratios would be set by it.
    pub high_pass_hz: f64,
    /// Shares of environment, speech and music; absent domains leave theirs to the others.
    pub domain_shares: [f64; 3],
    /// Whether the sources of a scene have different classes where the recordings allow it.
    pub distinct_classes: bool,
    /// `equal`: sources are made equally loud at the receiver before `gain_db`; `physical`: level falls with distance.
    pub level: String,
    /// Gain of each source.
    pub gain_db: [f64; 2],
    /// Noise below the mixture.
    pub snr_db: [f64; 2],
    /// Pause before a short recording is repeated.
    pub pause_s: [f64; 2],
    /// Speed at which recordings are played in scenes of the train split.
    pub train_speed: [f64; 2],
    /// Share of the sources in scenes of the train split in which a short recording is followed by other takes of its group
    /// (words of one speaker in a row) instead of being repeated.
    pub train_sequence_share: f64,
    /// Share of the sources in scenes of the train split in which a second recording of the class sounds from the same
    /// place, so that music or a chorus is not taken for several sources.
    pub train_layered_share: f64,
    /// Share of the scenes that are drawn from scenario scripts ([`crate::sim::scripts`]): their sounds begin one after the
    /// other and stand where the script wants them, so that a scene means something. The others are as without scripts.
    pub scripts_share: f64,
}

impl Default for SceneConfig {
    fn default() -> Self {
        SceneConfig {
            seconds: 5.0,
            max_sources: 3,
            min_separation_deg: 20.0,
            distance_m: [0.5, 5.0],
            elevation_deg: [-45.0, 45.0],
            wall_clearance_m: 0.5,
            receiver_height_m: 1.7,
            candidates: 30,
            room_shares: [0.6, 0.3, 0.1],
            small_side_m: [3.0, 5.0],
            small_height_m: [2.5, 3.0],
            medium_side_m: [5.0, 8.0],
            medium_height_m: [3.0, 4.0],
            large_side_m: [8.0, 12.0],
            large_height_m: [4.0, 6.0],
            absorption_shares: [1.0, 1.0, 1.0],
            reflective: [0.1, 0.2],
            moderate: [0.2, 0.4],
            absorptive: [0.4, 0.7],
            wall_spread: 0.2,
            rt60_s: [0.15, 1.3],
            rir_rt60: 1.0,
            rir_max_s: 1.3,
            high_pass_hz: 20.0,
            domain_shares: [5.0, 3.0, 2.0],
            distinct_classes: false,
            level: "equal".into(),
            gain_db: [-5.0, 5.0],
            snr_db: [25.0, 45.0],
            pause_s: [0.1, 0.5],
            train_speed: [0.85, 1.15],
            train_sequence_share: 0.5,
            train_layered_share: 0.25,
            scripts_share: 0.0,
        }
    }
}

impl SceneConfig {
    /// Samples per channel of a scene at 16 kHz.
    pub fn frames(&self) -> usize {
        (self.seconds * crate::audio::SAMPLE_RATE as f64).round() as usize
    }
}

impl Recipe for SceneConfig {
    fn settings() -> Vec<Setting> {
        let pair = |key: &str, unit, min, max, doc| Setting::numbers(key, unit, min, max, (2, 2), doc);
        let shares = |key: &str, doc| Setting::numbers(key, "", 0.0, 1e6, (3, 3), doc);
        vec![
            Setting::number("seconds", "s", 0.1, 600.0, "Length of a scene."),
            Setting::integer("max_sources", "", 1, 3, "Most sources; 1 to this many are equally likely."),
            Setting::number("min_separation_deg", "deg", 0.0, 90.0, "Smallest angle between two sources."),
            pair("distance_m", "m", 0.1, 100.0, "Distance of sources."),
            pair("elevation_deg", "deg", -90.0, 90.0, "Elevation of sources, where the room allows it."),
            Setting::number("wall_clearance_m", "m", 0.0, 5.0, "Distance of sources and receiver from the walls."),
            Setting::number("receiver_height_m", "m", 0.1, 50.0, "Height of the receiver."),
            Setting::integer("candidates", "", 3, 10_000, "Candidate source positions per room."),
            shares("room_shares", "Shares of small, medium and large rooms."),
            pair("small_side_m", "m", 1.5, 100.0, "Length and width of small rooms."),
            pair("small_height_m", "m", 1.5, 50.0, "Height of small rooms."),
            pair("medium_side_m", "m", 1.5, 100.0, "Length and width of medium rooms."),
            pair("medium_height_m", "m", 1.5, 50.0, "Height of medium rooms."),
            pair("large_side_m", "m", 1.5, 100.0, "Length and width of large rooms."),
            pair("large_height_m", "m", 1.5, 50.0, "Height of large rooms."),
            shares("absorption_shares", "Shares of reflective, moderate and absorptive rooms."),
            pair("reflective", "", 0.01, 1.0, "Energy absorption of reflective rooms."),
            pair("moderate", "", 0.01, 1.0, "Energy absorption of moderate rooms."),
            pair("absorptive", "", 0.01, 1.0, "Energy absorption of absorptive rooms."),
            Setting::number("wall_spread", "", 0.0, 1.0, "Walls differ from the room by up to this share."),
            pair("rt60_s", "s", 0.0, 100.0, "Accepted reverberation times (Eyring)."),
            Setting::number("rir_rt60", "", 0.1, 3.0, "Length of responses in reverberation times."),
            Setting::number("rir_max_s", "s", 0.05, 10.0, "Longest response."),
            Setting::number("high_pass_hz", "Hz", 0.0, 1000.0, "High-pass of responses and dry recordings; 0: none."),
            shares("domain_shares", "Shares of environment, speech and music."),
            Setting::flag("distinct_classes", "Different classes within a scene where the recordings allow it."),
            Setting::choice("level", &["equal", "physical"], "Equally loud at the receiver, or falling with distance."),
            pair("gain_db", "dB", -60.0, 60.0, "Gain of each source."),
            pair("snr_db", "dB", -20.0, 200.0, "Noise below the mixture."),
            pair("pause_s", "s", 0.0, 60.0, "Pause before a short recording is repeated."),
            pair("train_speed", "", 0.5, 2.0, "Speed of recordings in training scenes; as recorded in others."),
            Setting::number(
                "train_sequence_share",
                "",
                0.0,
                1.0,
                "Training sources in which other takes follow a short recording instead of itself.",
            ),
            Setting::number(
                "train_layered_share",
                "",
                0.0,
                1.0,
                "Training sources in which two recordings of a class sound from one place.",
            ),
            Setting::number(
                "scripts_share",
                "",
                0.0,
                1.0,
                "Scenes drawn from scenario scripts: sounds that begin and end, at places that mean something.",
            ),
        ]
    }

    fn check(&self, errors: &mut Vec<String>) {
        let ranges = [
            ("distance_m", self.distance_m),
            ("elevation_deg", self.elevation_deg),
            ("small_side_m", self.small_side_m),
            ("small_height_m", self.small_height_m),
            ("medium_side_m", self.medium_side_m),
            ("medium_height_m", self.medium_height_m),
            ("large_side_m", self.large_side_m),
            ("large_height_m", self.large_height_m),
            ("reflective", self.reflective),
            ("moderate", self.moderate),
            ("absorptive", self.absorptive),
            ("rt60_s", self.rt60_s),
            ("gain_db", self.gain_db),
            ("snr_db", self.snr_db),
            ("pause_s", self.pause_s),
            ("train_speed", self.train_speed),
        ];
        for (key, [low, high]) in ranges {
            if low > high {
                errors.push(format!("{key}: {low} to {high} is empty; give [low, high]"));
            }
        }
        let shares = [
            ("room_shares", &self.room_shares),
            ("absorption_shares", &self.absorption_shares),
            ("domain_shares", &self.domain_shares),
        ];
        for (key, shares) in shares {
            if shares.iter().sum::<f64>() <= 0.0 {
                errors.push(format!("{key}: all are zero; give at least one share"));
            }
        }
        let rooms = [
            ("small", self.small_side_m[0], self.small_height_m[0]),
            ("medium", self.medium_side_m[0], self.medium_height_m[0]),
            ("large", self.large_side_m[0], self.large_height_m[0]),
        ];
        for (name, side, height) in rooms {
            if side <= 2.0 * self.wall_clearance_m || height <= self.receiver_height_m {
                errors.push(format!(
                    "{name} rooms of {side} m and {height} m leave no room for a receiver at {} m with {} m of clearance",
                    self.receiver_height_m, self.wall_clearance_m
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_complete_and_contradictions_are_named() {
        crate::config::check_registry::<SceneConfig>();
        let sets = ["distance_m=[5.0,0.5]".to_string(), "small_height_m=[1.6,2.0]".to_string()];
        let error = crate::config::parse::<SceneConfig>("", &sets).unwrap_err().to_string();
        assert!(error.contains("distance_m") && error.contains("small rooms"), "{error}");
    }
}
