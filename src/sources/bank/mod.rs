//! The procedural bank: synthetic recordings of 14 classes, so that the whole path runs without a download.
//!
//! Every class is a small physical or phonetic sketch (pulses, noise, resonators, plucked strings, formants)
//! whose parameters vary: a *group* is one individual (one bell, one speaker, one instrument), its *takes* are
//! different events of it. Recording `i` depends on (seed, i) alone and is made when it is first used.

mod environment;
mod music;
mod speech;
mod synth;

use super::{Domain, Recording};
use crate::rng::Rng;

/// Changes whenever the sounds do, so that data made from another bank is told apart.
const VERSION: &str = "bank-1";

/// A maker of recordings: `individual` draws what stays the same within a group, `take` what does not.
type Make = fn(individual: &mut Rng, take: &mut Rng) -> Vec<f64>;

struct Class {
    domain: Domain,
    name: &'static str,
    caption: &'static str,
    groups: usize,
    takes: usize,
    make: Make,
}

const fn environment(name: &'static str, caption: &'static str, make: Make) -> Class {
    Class { domain: Domain::Environment, name, caption, groups: 30, takes: 2, make }
}

static CLASSES: [Class; 14] = [
    environment("alarm_beep", "An alarm beeps", environment::alarm_beep),
    environment("bell", "A bell is struck", environment::bell),
    environment("bird_chirp", "A bird chirps", environment::bird_chirp),
    environment("clock_tick", "A clock ticks", environment::clock_tick),
    environment("dog_bark", "A dog barks", environment::dog_bark),
    environment("engine", "An engine runs", environment::engine),
    environment("footsteps", "Someone walks by", environment::footsteps),
    environment("knock", "Someone knocks on a door", environment::knock),
    environment("rain", "Rain falls", environment::rain),
    environment("siren", "A siren wails", environment::siren),
    environment("water_drops", "Water drips", environment::water_drops),
    environment("wind", "The wind blows", environment::wind),
    Class {
        domain: Domain::Speech,
        name: "speech",
        caption: "A person speaking",
        groups: 40,
        takes: 4,
        make: speech::babble,
    },
    Class { domain: Domain::Music, name: "music", caption: "Music", groups: 40, takes: 3, make: music::phrase },
];

/// The bank of one seed.
#[derive(Debug)]
pub struct Bank {
    seed: u64,
    /// Class, group and take of every recording, ordered by id.
    entries: Vec<(usize, usize, usize)>,
}

impl Bank {
    /// The bank made from `seed`; nothing is synthesised yet.
    pub fn new(seed: u64) -> Bank {
        let mut entries = Vec::new();
        for (class, about) in CLASSES.iter().enumerate() {
            for group in 0..about.groups {
                entries.extend((0..about.takes).map(|take| (class, group, take)));
            }
        }
        entries.sort_by_cached_key(|&entry| id(entry));
        Bank { seed, entries }
    }

    /// What the sounds depend on, for the fingerprint.
    pub fn version(&self) -> String {
        format!("{VERSION} seed {}", self.seed)
    }

    /// Names of the classes, speech and music last.
    pub fn classes(&self) -> Vec<String> {
        CLASSES.iter().map(|class| class.name.to_string()).collect()
    }

    /// All recordings, ordered by id.
    pub fn recordings(&self) -> Vec<Recording> {
        let describe = |&(class, group, take): &(usize, usize, usize)| {
            let about = &CLASSES[class];
            Recording {
                id: id((class, group, take)),
                path: None,
                domain: about.domain,
                class: Some(class),
                class_name: about.name.to_string(),
                group: group_name(class, group),
                transcript: None,
                caption: Some(about.caption.to_string()),
                other_captions: vec![],
                keywords: vec![],
                licence: Some("synthetic, no rights reserved".to_string()),
            }
        };
        self.entries.iter().map(describe).collect()
    }

    /// The samples of recording `i`: 16 kHz, peak 0.7, half a second to six seconds.
    pub fn generate(&self, i: usize) -> Vec<f32> {
        let (class, group, take) = self.entries[i];
        let about = &CLASSES[class];
        let address = |n: usize| (class * 1_000_000 + n) as u64;
        let mut individual = Rng::new(self.seed, "bank individual", address(group));
        let mut event = Rng::new(self.seed, "bank take", address(group * 1000 + take));
        synth::finish((about.make)(&mut individual, &mut event))
    }
}

fn group_name(class: usize, group: usize) -> String {
    format!("{}-{group:03}", CLASSES[class].name)
}

/// The take is a letter, as in Freesound-derived sets, so that ids and groups read alike everywhere.
fn id((class, group, take): (usize, usize, usize)) -> String {
    let about = &CLASSES[class];
    let letter = (b'A' + take as u8) as char;
    format!("{}/{}/{}-{letter}", about.domain.name(), about.name, group_name(class, group))
}
