//! Scenes as `twnm simulate` draws them, without sound: lines of `scenes.jsonl`.

use serde_json::Value;
use twnm::rng::Rng;
use twnm::sim::config::SceneConfig;
use twnm::sim::render::drawn_truth;
use twnm::sim::scene::{Scene, SceneSampler, SceneSource};
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

/// Lines of `scenes.jsonl`, more than half of them from scripts.
pub fn scenes(n: usize, named: Named) -> Vec<Value> {
    let sources = Sources::procedural(1);
    let config = SceneConfig { scripts_share: 0.6, ..SceneConfig::default() };
    let sampler = SceneSampler::new(&config, &sources, Split::All, 5).unwrap();
    (0..n as u64).map(|index| scene(&sampler.scene(index).unwrap(), &sources, named)).collect()
}

/// Steps in which a source sounds: within its window, after up to 0.3 s of silence with which its recording may begin.
fn steps(source: &SceneSource, rng: &mut Rng) -> Vec<u8> {
    let [from, to] = source.window.unwrap_or([0, 80_000]).map(|sample| sample as f64 / 1600.0);
    let from = from + source.window.map_or(0.0, |_| rng.range(0.0, 3.0));
    (0..50).map(|k| u8::from((from..to).contains(&(k as f64 + 0.5)))).collect()
}

fn scene(scene: &Scene, sources: &Sources, named: Named) -> Value {
    let mut rng = Rng::new(7, "truth", scene.index);
    let powers: Vec<f64> = scene.sources.iter().map(|s| 10f64.powf(s.gain_db / 10.0)).collect();
    let total: f64 = powers.iter().sum();
    let mut truth = drawn_truth(scene, sources, &scene.sources.iter().map(|s| steps(s, &mut rng)).collect::<Vec<_>>());
    for (slot, track) in truth.sources.iter_mut().enumerate() {
        let number = scene.sources[slot].recording;
        if named == Named::AsInDataSets && track.domain == Domain::Environment {
            track.class = NAMES[number % NAMES.len()].into();
            // That of the bank is about another sound.
            track.caption = None;
        }
        track.transcript = (track.domain == Domain::Speech).then(|| SAID[number % SAID.len()].to_string());
        track.level_db = Some(10.0 * (powers[slot] / total).log10());
    }
    // Between smooth walls sounds last longer than by Eyring's formula: 1.0 to 1.3 times in nine of ten rendered scenes.
    let (room, t20_s) = (truth.room.as_mut().unwrap(), scene.rt60_s * rng.range(1.0, 1.3));
    (room.t20_s, room.t20_octaves_s) = (Some(t20_s), [500, 1000, 2000].map(|hz| (hz, t20_s)).into());
    serde_json::to_value(truth).unwrap()
}
