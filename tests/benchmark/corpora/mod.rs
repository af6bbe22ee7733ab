//! The paper's own corpora, as they lie on disk: Clotho, LibriTTS-R and Song Describer in small trees. Their recordings
//! are noise; their tables have the headers, quoting and bytes of the originals, and captions in their manner.

use super::cli::{ends, lines, one, questions_of};
use super::{TASKS, item, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use twnm::audio::{Audio, wav};
use twnm::rng::Rng;

const CLOTHO_CAPTIONS: &str = include_str!("clotho_captions_development.csv");
/// Latin-1 in places, as the original.
const CLOTHO_METADATA: &[u8] = include_bytes!("clotho_metadata_development.csv");
const SONGS: &str = include_str!("song_describer.csv");
const SAID: [&str; 12] = [
    "The lamps were lit before the evening train came in.",
    "He had never seen so wide a river.",
    "\"And what,\" she asked, \"became of the letter?\"",
    "Nobody in the village remembered his name.",
    "They carried the boat across the meadow.",
    "It was the last house at the end of the lane.",
    "The captain folded the map and said nothing.",
    "Snow lay on the hills until the middle of May.",
    "Her brother kept bees behind the mill.",
    "In those days a journey took a week.",
    "The clerk counted the coins twice.",
    "A small lamp burned above the stairs.",
];

/// One and a half seconds of noise.
fn sound(path: &Path, number: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut rng = Rng::new(9, "corpora", number);
    let samples = (0..12_000).map(|_| (0.3 * rng.normal() as f32).clamp(-1.0, 1.0)).collect();
    wav::write(path, &Audio { sample_rate: 16_000, channels: 1, samples }, wav::Format::Pcm16).unwrap();
}

fn first_cell(line: &str) -> String {
    match line.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap().to_string(),
        None => line.split(',').next().unwrap().to_string(),
    }
}

/// `clotho/development/NAME.wav` beside its tables.
fn clotho(folder: &Path) {
    for (i, line) in CLOTHO_CAPTIONS.lines().skip(1).enumerate() {
        sound(&folder.join("development").join(first_cell(line)), i as u64);
    }
    std::fs::write(folder.join("clotho_captions_development.csv"), CLOTHO_CAPTIONS).unwrap();
    std::fs::write(folder.join("clotho_metadata_development.csv"), CLOTHO_METADATA).unwrap();
}

/// `train-clean-100/SPEAKER/CHAPTER/SPEAKER_CHAPTER_.._...wav` with `.normalized.txt` and `.original.txt`.
fn libritts_r(folder: &Path) {
    for (i, said) in SAID.iter().enumerate() {
        let (speaker, chapter) = (84 + i / 2 * 11, 121_123 + i / 2);
        let stem = format!("{speaker}_{chapter}_{:06}_{:06}", 7 + i, i % 3);
        let place = folder.join(format!("train-clean-100/{speaker}/{chapter}/{stem}"));
        sound(&place.with_extension("wav"), 100 + i as u64);
        std::fs::write(place.with_extension("normalized.txt"), said).unwrap();
        std::fs::write(place.with_extension("original.txt"), said).unwrap();
    }
}

/// `audio/NN/TRACK.2min.wav` (of the original mp3) and the table.
fn song_describer(folder: &Path) {
    let tracks: BTreeSet<&str> = SONGS.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    for (i, track) in tracks.iter().enumerate() {
        sound(&folder.join(format!("audio/{}/{track}.2min.wav", &track[track.len() - 2..])), 200 + i as u64);
    }
    std::fs::write(folder.join("song_describer.csv"), SONGS).unwrap();
}

#[test]
fn scenes_of_the_papers_corpora_can_be_asked_about() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    clotho(&home.join("clotho"));
    libritts_r(&home.join("LibriTTS_R"));
    song_describer(&home.join("song_describer"));
    let sources = "--sources environment=clotho --sources speech=LibriTTS_R --sources music=song_describer";
    let short = "--set seconds=0.5 --set rir_max_s=0.3";
    ends(home, 0, &format!("simulate --out set --scenes 200 --seed 3 {short} {sources}"));
    let said = ends(home, 0, "benchmark --scenes set --out bench --questions 1000 --seed 5 --per-scene 10 --no-audio");
    let (scenes, manifest) = (lines(&home.join("set/scenes.jsonl")), one(&home.join("bench/benchmark.json")));
    let skipped = manifest["scenes_skipped"].as_u64().unwrap();
    println!("{skipped} of 200 scenes skipped: {}", manifest["scenes_skipped_by_reason"]);
    assert!(skipped <= 40, "{skipped} of 200 scenes cannot be asked about");
    let reasons = manifest["scenes_skipped_by_reason"].as_object().unwrap();
    assert_eq!(reasons.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), skipped);
    // What nobody can name is told: one of the recordings has neither caption nor keyword that says what it is.
    assert!(said.contains("sources of the others have no name"), "{said}");
    assert!(reasons.keys().all(|why| ["inaudible", "unnamed"].contains(&why.as_str())), "{reasons:?}");
    assert_eq!(said.contains("scenes cannot be asked about"), skipped > 0, "{said}");
    // All tasks have material.
    let rows = questions_of(&home.join("bench"));
    let asked: BTreeSet<&str> = rows.iter().map(|r| text(r, "task")).collect();
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), TASKS);
    check_names(&rows, &scenes);
    if let Ok(file) = std::env::var("TWNM_QUESTIONS_OUT") {
        std::fs::copy(home.join("bench/metadata.jsonl"), file).unwrap();
    }
}

/// Which class question has as wrong option a sound that a caption of the scene speaks of, by words of our own.
fn check_names(rows: &[Value], scenes: &[Value]) {
    let heard = |scene: &str| -> String {
        let scene = scenes.iter().find(|s| text(s, "id") == scene).unwrap();
        let mut all = String::new();
        for source in scene["sources"].as_array().unwrap() {
            all += &format!(
                "{} {} {} {} ",
                source["class"], source["caption"], source["other_captions"], source["keywords"]
            );
        }
        all.to_lowercase()
    };
    const FAMILIES: [&[&str]; 16] = [
        &["dog", "bark"],
        &["rain", "drips"],
        &["bell", "toll"],
        &["talk", "speak", "speech", "voices", "conversation"],
        &["music", "song", "piano", "guitar"],
        &["engine", "motor", "machine"],
        &["car", "traffic", "vehicle"],
        &["bird"],
        &["cricket", "insect"],
        &["wave", "sea", "ocean"],
        &["creek", "stream", "river", "brook"],
        &["typing", "keyboard"],
        &["wind"],
        &["thunder"],
        &["siren", "ambulance"],
        &["applau", "clap"],
    ];
    let mut labels = BTreeMap::<String, usize>::new();
    let mut checked = 0;
    for row in rows.iter().filter(|r| text(r, "task") == "l1_identify_event_class") {
        let (item, heard) = (item(row), heard(text(row, "scene")));
        for (i, option) in item.options.iter().enumerate() {
            *labels.entry(option.clone()).or_default() += 1;
            for family in FAMILIES.iter().filter(|f| i != item.right && f.iter().any(|w| option.contains(w))) {
                checked += 1;
                assert!(!family.iter().any(|w| heard.contains(w)), "{option:?} is no wrong option: {heard}");
            }
        }
    }
    println!("{} names in options: {:?}", labels.len(), labels.keys().collect::<Vec<_>>());
    assert!(checked > 50 && labels.len() > 20, "{checked} {}", labels.len());
    assert!(labels.keys().all(|l| l.chars().count() <= 60 && !l.ends_with('.') && !l.starts_with("a ")), "{labels:?}");
}

#[test]
fn a_set_that_cannot_be_asked_about_says_why() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    (0..12).for_each(|i| sound(&home.join(format!("unsorted/{i}.wav")), 300 + i));
    ends(home, 0, "simulate --out set --scenes 6 --seed 3 --set seconds=0.5 --set rir_max_s=0.3 --sources unsorted");
    let said = ends(home, 65, "benchmark --scenes set --out bench --questions 10 --seed 5");
    assert!(said.contains("without a name for any source") && said.contains("captions or keywords"), "{said}");
    assert!(!said.contains("layered"), "{said}");
}
