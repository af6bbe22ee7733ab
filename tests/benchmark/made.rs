//! Scenes as `twnm simulate` draws them, without sound: lines of `scenes.jsonl`.

use serde_json::Value;
use std::collections::BTreeMap;
use twnm::audio::foa::angles_deg;
use twnm::rng::Rng;
use twnm::sim::acoustics::{mean_absorption, surface_m2};
use twnm::sim::config::SceneConfig;
use twnm::sim::rtsd::{Rtsd, RtsdRoom, RtsdSource};
use twnm::sim::scene::{Scene, SceneSampler};
use twnm::sources::{Domain, Sources, Split};

/// Names as data sets have them, many of them for similar sounds.
const NAMES: [&str; 45] = [
    "dog",
    "dog_bark",
    "animal_misc",
    "rooster",
    "chirping_birds",
    "crickets",
    "cow",
    "cat",
    "baby_cry",
    "crying_baby",
    "sneezing",
    "person_sneeze",
    "laughing",
    "footsteps",
    "door_wood_knock",
    "door_slam",
    "church_bells",
    "clock_alarm",
    "clock_tick",
    "telephone",
    "siren",
    "engine",
    "car_horn",
    "train",
    "helicopter",
    "airplane",
    "chainsaw",
    "hand_saw",
    "vacuum_cleaner",
    "washing_machine",
    "keyboard_typing",
    "crackling_fire",
    "rain",
    "thunderstorm",
    "wind",
    "sea_waves",
    "water_drops",
    "pouring_water",
    "toilet_flush",
    "glass_breaking",
    "fireworks",
    "clapping",
    "drinking_sipping",
    "can_opening",
    "unlabelled",
];

/// What speakers say: some of it contained in other sentences, or sounding alike.
const SAID: [&str; 24] = [
    "zero",
    "one",
    "two",
    "Too!",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "Close the door.",
    "Please close the door, Anna.",
    "GOOD MORNING",
    "good evening",
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "Four hours of steady work faced us.",
    "\"Stop it,\" he said.",
    "He said \"six, seven\" twice.",
];

/// Whose names the sounds have.
#[derive(Clone, Copy, PartialEq)]
pub enum Named {
    AsInTheBank,
    AsInDataSets,
}

/// Lines of `scenes.jsonl`.
pub fn scenes(n: usize, named: Named) -> Vec<Value> {
    let sources = Sources::procedural(1);
    let sampler = SceneSampler::new(&SceneConfig::default(), &sources, Split::All, 5).unwrap();
    (0..n as u64).map(|index| scene(&sampler.scene(index).unwrap(), &sources, named)).collect()
}

fn scene(scene: &Scene, sources: &Sources, named: Named) -> Value {
    let (room, mut rng) = (&scene.room, Rng::new(7, "truth", scene.index));
    let powers: Vec<f64> = scene.sources.iter().map(|s| 10f64.powf(s.gain_db / 10.0)).collect();
    let total: f64 = powers.iter().sum();
    let mut source = |slot: usize| {
        let recording = &sources.recordings()[scene.sources[slot].recording];
        let number = scene.sources[slot].recording;
        let offset: [f64; 3] = std::array::from_fn(|a| room.sources_m[slot][a] - room.receiver_m[a]);
        let (azimuth_deg, elevation_deg) = angles_deg(offset);
        let renamed = named == Named::AsInDataSets && recording.domain == Domain::Environment;
        RtsdSource {
            recording: recording.id.clone(),
            class: if renamed { NAMES[number % NAMES.len()].into() } else { recording.class_name.clone() },
            class_index: recording.class,
            domain: recording.domain,
            transcript: (recording.domain == Domain::Speech).then(|| SAID[number % SAID.len()].to_string()),
            caption: None,
            licence: None,
            speed: 1.0,
            followed_by: vec![],
            layered_with: None,
            azimuth_deg,
            elevation_deg,
            distance_m: offset.iter().map(|x| x * x).sum::<f64>().sqrt(),
            position_m: room.sources_m[slot],
            gain_db: scene.sources[slot].gain_db,
            level_db: 10.0 * (powers[slot] / total).log10(),
            drr_db: 0.0,
            active_s: vec![[0.0, 5.0]],
        }
    };
    let walls = room.absorption[0];
    let rtsd = Rtsd {
        id: format!("scene-{:08}", scene.index),
        index: scene.index,
        seed: scene.seed,
        seconds: 5.0,
        sample_rate: 16_000,
        sources: (0..scene.sources.len()).map(&mut source).collect(),
        recordings: BTreeMap::new(),
        room: RtsdRoom {
            size: scene.size.into(),
            finish: scene.finish.into(),
            dimensions_m: room.dimensions_m,
            surface_m2: surface_m2(room.dimensions_m),
            absorption: mean_absorption(room.dimensions_m, &walls),
            wall_absorption: walls,
            rt60_s: scene.rt60_s,
            // Between smooth walls sounds last longer than by Eyring's formula: 1.2 to 1.95 times in 150 rendered scenes.
            t20_s: Some(scene.rt60_s * rng.range(1.35, 1.75)),
            rir_s: scene.rt60_s,
        },
        receiver_m: room.receiver_m,
        snr_db: scene.snr_db,
    };
    serde_json::to_value(rtsd).unwrap()
}
