//! The exact ground truth of a scene (the paper's relational and temporal scene description, RTSD): one line
//! of `scenes.jsonl`.

use crate::sources::Domain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that is known about one scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rtsd {
    /// `scene-00000012`.
    pub id: String,
    /// Number of the scene in its set.
    pub index: u64,
    /// Seed of the set.
    pub seed: u64,
    /// Length.
    pub seconds: f64,
    /// Samples per second of the audio.
    pub sample_rate: u32,
    /// The sources, in no particular order.
    pub sources: Vec<RtsdSource>,
    /// The recordings heard in the scene, by id: BLAKE3 (hexadecimal) of their samples, so that the same sound is known
    /// again under any name.
    #[serde(default)]
    pub recordings: BTreeMap<String, String>,
    /// The room.
    pub room: RtsdRoom,
    /// Position of the receiver in the room; it looks along +x.
    pub receiver_m: [f64; 3],
    /// Noise below the mixture on W.
    pub snr_db: f64,
}

/// One source of a scene, as the receiver hears it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RtsdSource {
    /// Id of the recording.
    pub recording: String,
    /// Class as its folder says it.
    pub class: String,
    /// Index into the class list of the set.
    pub class_index: Option<usize>,
    /// Environment, speech or music.
    pub domain: Domain,
    /// What is said, when known and nothing else sounds from there.
    pub transcript: Option<String>,
    /// A sentence about the sound, when known and nothing else sounds from there.
    pub caption: Option<String>,
    /// Licence of the recording.
    pub licence: Option<String>,
    /// How fast the recording is played; other than 1 only in training scenes.
    #[serde(default = "as_recorded")]
    pub speed: f64,
    /// Ids of the takes that follow it instead of its own repetition; only in training scenes.
    #[serde(default)]
    pub followed_by: Vec<String>,
    /// Id of a second recording of the class at the same place; only in training scenes.
    #[serde(default)]
    pub layered_with: Option<String>,
    /// From the front counter-clockwise, (-180, 180].
    pub azimuth_deg: f64,
    /// Up from the horizon.
    pub elevation_deg: f64,
    /// From the receiver.
    pub distance_m: f64,
    /// In the room.
    pub position_m: [f64; 3],
    /// Gain drawn for the source.
    pub gain_db: f64,
    /// Level on W relative to the sum of all sources' powers.
    pub level_db: f64,
    /// Energy of the direct sound (within 2.5 ms of its peak) relative to the rest of the response.
    pub drr_db: f64,
    /// Stretches in seconds during which the source sounds, in steps of 0.1 s.
    pub active_s: Vec<[f64; 2]>,
}

fn as_recorded() -> f64 {
    1.0
}

/// The room of a scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RtsdRoom {
    /// `small`, `medium` or `large`.
    pub size: String,
    /// `reflective`, `moderate` or `absorptive`.
    pub finish: String,
    /// Length, width and height.
    pub dimensions_m: [f64; 3],
    /// Total wall area.
    pub surface_m2: f64,
    /// Area-weighted mean energy absorption.
    pub absorption: f64,
    /// Energy absorption of west, east, south, north, floor and ceiling.
    pub wall_absorption: [f64; 6],
    /// Reverberation time by Eyring's formula.
    pub rt60_s: f64,
    /// Reverberation time measured on the first source's response (decay from -5 to -25 dB, times three).
    pub t20_s: Option<f64>,
    /// Length of the responses.
    pub rir_s: f64,
}
