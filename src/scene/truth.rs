//! All that is known about one scene; as JSON, one line of `scenes.jsonl` (the paper's relational and temporal scene
//! description, RTSD). What is not known is absent from the line.

use super::Track;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that is known about one scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// `scene-00000012`.
    pub id: String,
    /// Number of the scene in its set.
    pub index: u64,
    /// Seed of the set, when it was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Length.
    pub seconds: f64,
    /// Samples per second of the audio.
    pub sample_rate: u32,
    /// The sources, any number, in no particular order.
    pub sources: Vec<Track>,
    /// The recordings heard in the scene, by id: BLAKE3 (hexadecimal) of their samples, so that the same sound is known
    /// again under any name.
    #[serde(default)]
    pub recordings: BTreeMap<String, String>,
    /// The room, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomTruth>,
    /// Position of the receiver in the room; it looks along +x.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver_m: Option<[f64; 3]>,
    /// Noise below the mixture on W.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snr_db: Option<f64>,
    /// Id of the script that the scene plays (`sim::scripts`), when it plays one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// The room of a scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoomTruth {
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
    /// Reverberation time as it is heard: the mean of `t20_octaves_s` at 500, 1000 and 2000 Hz. Sets made before octaves
    /// were measured have here, without them, a time over all frequencies, which rumble prolonged.
    pub t20_s: Option<f64>,
    /// Reverberation time per octave, by its centre in Hz, measured on W of the first source's response (decay from -5 to
    /// -25 dB, times three; ISO 3382). Octaves that do not decay that far are absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub t20_octaves_s: BTreeMap<u32, f64>,
    /// Length of the responses, when some were computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rir_s: Option<f64>,
}
