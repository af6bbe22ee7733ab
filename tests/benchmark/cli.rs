//! The way through the programs: recordings, `twnm simulate`, `twnm benchmark`, files.

use super::{TASKS, check, item, levels, text, truths};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use twnm::audio::{Audio, wav};
use twnm::rng::Rng;

#[path = "../common/mod.rs"]
mod common;

const CLASSES: [&str; 9] =
    ["rain", "dog_bark", "clock_tick", "engine", "footsteps", "siren", "baby_cry", "keyboard_typing", "crackling_fire"];
const SPEAKERS: [&str; 6] = ["anna", "ben", "carla", "dan", "eva", "finn"];

fn twnm(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twnm")).args(args).current_dir(folder).output().unwrap()
}

/// Runs a command that must end with `code`; what it says on standard error.
#[track_caller]
pub fn ends(folder: &Path, code: i32, command: &str) -> String {
    let output = twnm(folder, &command.split_whitespace().collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command}: {said}");
    assert!(output.stdout.is_empty(), "nothing on standard output: {command}");
    said
}

/// Recordings with names from which digits are known: `speech/digits/3_anna_1.wav` says "three".
fn recordings(folder: &Path) {
    let write = |path: std::path::PathBuf, number: u64| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut rng = Rng::new(9, "recordings", number);
        let samples = (0..6000).map(|_| 0.3 * rng.normal() as f32).map(|x| x.clamp(-1.0, 1.0)).collect();
        wav::write(&path, &Audio { sample_rate: 16_000, channels: 1, samples }, wav::Format::Pcm16).unwrap();
    };
    for (c, class) in CLASSES.iter().enumerate() {
        (0..6).for_each(|i| write(folder.join(format!("environment/{class}/{class}{i}.wav")), (c * 10 + i) as u64));
    }
    (0..6).for_each(|i| write(folder.join(format!("music/tune{i}.wav")), 200 + i));
    for (s, speaker) in SPEAKERS.iter().enumerate() {
        for digit in 0..10 {
            write(folder.join(format!("speech/digits/{digit}_{speaker}_0.wav")), (300 + s * 10 + digit) as u64);
        }
    }
}

pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

pub fn one(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A finished set of questions is written again by the command that made it alone.
fn other_questions_are_not_overwritten(home: &Path) {
    let before = common::lasting(&home.join("other"));
    for (change, named) in [
        ("--questions 90 --seed 7 --azimuth signed", "--seed: 6 there, 7 asked for"),
        ("--questions 80 --seed 6 --azimuth signed", "--questions: 90 there, 80 asked for"),
        ("--questions 90 --seed 6 --azimuth signed --per-scene 2", "--per-scene: 1 there, 2 asked for"),
        ("--questions 90 --seed 6", "--azimuth: \"signed\" there, \"around\" asked for"),
    ] {
        let said = ends(home, 2, &format!("benchmark --scenes test --out other --no-audio {change}"));
        assert!(said.contains(named) && said.contains("choose another --out"), "{said}");
    }
    common::assert_same(&before, &home.join("other"));
    ends(home, 0, "benchmark --scenes test --out other --questions 90 --seed 6 --no-audio --azimuth signed");
    common::assert_same(&before, &home.join("other"));
    std::fs::create_dir(home.join("foreign")).unwrap();
    std::fs::write(home.join("foreign/benchmark.json"), b"{}").unwrap();
    let said = ends(home, 2, "benchmark --scenes test --out foreign --questions 5 --seed 1 --no-audio");
    assert!(said.contains("not overwritten"), "{said}");
    assert_eq!(std::fs::read(home.join("foreign/benchmark.json")).unwrap(), b"{}");
    // Killed before the end, there are questions and nothing that says of what: the same are gone on with, others are kept.
    std::fs::remove_file(home.join("other/benchmark.json")).unwrap();
    let said = ends(home, 2, "benchmark --scenes test --out other --questions 90 --seed 7 --no-audio --azimuth signed");
    assert!(said.contains("metadata.jsonl: other questions are there"), "{said}");
    ends(home, 0, "benchmark --scenes test --out other --questions 90 --seed 6 --no-audio --azimuth signed");
    common::assert_same(&before, &home.join("other"));
    let said = ends(home, 2, "benchmark --scenes test --out other/public --questions 5 --seed 1 --no-audio");
    assert!(said.contains("other questions are there"), "{said}");
    common::assert_same(&before, &home.join("other"));
}

const SHORT: &str = "--set seconds=1.2 --set scripts_share=0.6 --set rir_max_s=0.3 --sources dry";

/// Audio of every scene as it stands in the shards.
fn shard_audio(folder: &Path) -> BTreeMap<String, Vec<i16>> {
    let set = twnm::shard::ShardSet::open(folder).unwrap();
    (0..set.len()).map(|i| (set.truth(i).unwrap().id, set.audio(i).to_vec())).collect()
}

/// Every question has a recording of its own, of four channels at 16 kHz: the samples of its scene, turned to the left about the
/// listener as its derivation says, with one gain for all channels.
fn check_audio(bench: &Path, rows: &[Value], scenes: &Path) {
    let shards = shard_audio(scenes);
    let names: BTreeSet<String> = rows.iter().map(|r| text(r, "file_name").to_string()).collect();
    let written: BTreeSet<String> = std::fs::read_dir(bench.join("audio"))
        .unwrap()
        .map(|e| format!("audio/{}", e.unwrap().file_name().to_str().unwrap()))
        .collect();
    assert_eq!((names.len(), &names), (rows.len(), &written));
    let mut turned = 0;
    for row in rows {
        let name = text(row, "file_name");
        let mut reader = hound::WavReader::open(bench.join(name)).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (4, 16_000, 16), "{name}");
        let samples: Vec<f64> = reader.samples::<i16>().map(|s| f64::from(s.unwrap())).collect();
        let shard = &shards[text(row, "scene")];
        assert_eq!(samples.len(), shard.len(), "{name}");
        // Interleaved in the file, one channel after the other in the shard, both in W, Y, Z, X.
        let frames = shard.len() / 4;
        let (sin, cos) = row["yaw_deg"].as_f64().unwrap().to_radians().sin_cos();
        turned += usize::from(sin != 0.0);
        let expected = |frame: usize| {
            let [w, y, z, x] = [0, 1, 2, 3].map(|c| f64::from(shard[c * frames + frame]));
            [w, cos * y + sin * x, z, cos * x - sin * y]
        };
        let pairs =
            || (0..frames).flat_map(|f| (0..4).map(move |c| (f, c))).map(|(f, c)| (samples[4 * f + c], expected(f)[c]));
        let (mut xy, mut yy) = (0.0, 0.0);
        pairs().for_each(|(x, y)| (xy, yy) = (xy + x * y, yy + y * y));
        let gain = xy / yy;
        assert!(gain > 0.0 && pairs().all(|(x, y)| (x - gain * y).abs() <= 1.5), "{name}: gain {gain}");
    }
    assert!(turned > rows.len() / 2, "{turned} of {} are turned", rows.len());
}

/// The questions of a folder with the scene of each and how far it was turned, from its derivations.
pub fn questions_of(bench: &Path) -> Vec<Value> {
    let mut rows = lines(&bench.join("metadata.jsonl"));
    for (row, derivation) in rows.iter_mut().zip(lines(&bench.join("derivations.jsonl"))) {
        assert_eq!(row["sample_id"], derivation["sample_id"]);
        row["scene"] = derivation["scene"].clone();
        row["yaw_deg"] = derivation["yaw_deg"].clone();
    }
    rows
}

/// Public file, key and derivations belong to the questions.
fn check_files(bench: &Path, rows: &[Value]) {
    let columns =
        "file_name sample_id question option_a option_b option_c option_d answer_letter answer_text level task";
    let without = columns.replace(" answer_letter answer_text", "");
    let names = |row: &Value| {
        let own = row.as_object().unwrap().keys().filter(|k| !["scene", "yaw_deg"].contains(&k.as_str()));
        own.cloned().collect::<Vec<_>>().join(" ")
    };
    let (public, key) = (lines(&bench.join("public/metadata.jsonl")), lines(&bench.join("key.jsonl")));
    let derivations = lines(&bench.join("derivations.jsonl"));
    assert_eq!((public.len(), key.len(), derivations.len()), (rows.len(), rows.len(), rows.len()));
    let strata = lines(&bench.join("strata.jsonl"));
    assert_eq!(strata.len(), rows.len());
    for (i, row) in rows.iter().enumerate() {
        assert_eq!((&strata[i]["sample_id"], &strata[i]["scene"]), (&row["sample_id"], &derivations[i]["scene"]));
        assert_eq!(strata[i]["kind"], derivations[i]["kind"]);
        let mono = strata[i]["mono"].as_array().unwrap();
        assert!(mono.contains(&row["answer_letter"]), "who knows all sounds never excludes the right option: {row}");
        assert_eq!((names(row), names(&public[i])), (columns.into(), without.clone()));
        assert!(without.split(' ').all(|c| row[c] == public[i][c]));
        for column in ["sample_id", "answer_letter"] {
            assert_eq!((&key[i][column], &derivations[i][column]), (&row[column], &row[column]));
        }
        assert_eq!(names(&key[i]), "sample_id answer_letter");
        assert_eq!(format!("audio/{}.wav", text(row, "sample_id")), text(row, "file_name"));
        assert_eq!(derivations[i]["task"], row["task"]);
    }
    let ids: BTreeSet<&str> = rows.iter().map(|r| text(r, "sample_id")).collect();
    assert!(ids.len() == rows.len() && ids.iter().all(|id| id.len() == 3));
    let manifest = one(&bench.join("benchmark.json"));
    assert_eq!((&manifest["format"], &manifest["questions"]), (&"twnm-questions".into(), &rows.len().into()));
    assert_eq!((&manifest["turned"], &manifest["per_scene"]), (&true.into(), &6.into()));
    let tasks: Vec<&String> = manifest["tasks"].as_object().unwrap().keys().collect();
    assert_eq!(tasks, TASKS);
}

#[test]
fn a_set_of_a_thousand_questions_from_recordings_to_files() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    recordings(&home.join("dry"));
    ends(home, 0, &format!("simulate --out test --scenes 260 --seed 3 --split test {SHORT}"));
    ends(home, 0, "benchmark --scenes test --out bench --questions 1000 --seed 5 --per-scene 6");
    let rows = questions_of(&home.join("bench"));
    assert_eq!(levels(&rows), [385, 279, 336]);
    check(&rows, &asked_about(&rows, &lines(&home.join("test/scenes.jsonl"))));
    check_audio(&home.join("bench"), &rows, &home.join("test"));
    check_files(&home.join("bench"), &rows);
    // The same seed gives the same bytes, whatever lay in the folder; another seed other questions.
    std::fs::create_dir(home.join("again")).unwrap();
    std::fs::write(home.join("again/derivations.jsonl"), "half a l").unwrap();
    ends(home, 0, "benchmark --scenes test --out again --questions 1000 --seed 5 --per-scene 6");
    common::assert_same(&common::lasting(&home.join("bench")), &home.join("again"));
    ends(home, 0, "benchmark --scenes test --out other --questions 90 --seed 6 --no-audio --azimuth signed");
    other_questions_are_not_overwritten(home);
    assert!(!home.join("other/audio").exists());
    let other = questions_of(&home.join("other"));
    check(&other, &asked_about(&other, &lines(&home.join("test/scenes.jsonl"))));
    assert!(other.iter().any(|r| item(r).options.iter().any(|o| o.starts_with('-'))), "signed azimuths");
    leaks_and_training(home);
    beyond_the_paper(home);
    refusals(home);
}

/// The tasks beyond the paper's: in scenes of 1.2 s few ask about times, and the others make up for those.
fn beyond_the_paper(home: &Path) {
    let command = "benchmark --scenes test --out beyond --questions 90 --seed 5 --per-scene 3 --tasks extended";
    ends(home, 0, &format!("{command} --no-audio"));
    let rows = questions_of(&home.join("beyond"));
    assert!(rows.len() == 90 && rows.iter().all(|row| row["level"] == "extended"));
    check(&rows, &asked_about(&rows, &lines(&home.join("test/scenes.jsonl"))));
    assert_eq!(one(&home.join("beyond/benchmark.json"))["task_set"], "extended");
    let said = ends(home, 2, "benchmark --scenes test --out beyond --questions 90 --seed 5 --per-scene 3 --no-audio");
    assert!(said.contains("--tasks: \"extended\" there, \"paper\" asked for"), "{said}");
    let said = ends(home, 2, &format!("{command} --teacher http://127.0.0.1:9 --teacher-model m"));
    assert!(said.contains("leave --tasks out"), "{said}");
    ends(home, 2, "benchmark --scenes test --out no --questions 5 --seed 1 --tasks more");
}

/// The truths of the scenes that rows ask about: others may be layered or silent.
fn asked_about(rows: &[Value], scenes: &[Value]) -> BTreeMap<String, super::truth::Truth> {
    let asked: BTreeSet<String> = rows.iter().map(|r| text(r, "scene").to_string()).collect();
    let own: Vec<Value> = scenes.iter().filter(|s| asked.contains(text(s, "id"))).cloned().collect();
    truths(&own)
}

/// A set of the train split shares nothing with the test set; each shares everything with itself.
fn leaks_and_training(home: &Path) {
    ends(
        home,
        0,
        &format!("simulate --out train --scenes 60 --seed 4 --split train --splits test/splits.json {SHORT}"),
    );
    ends(
        home,
        0,
        "benchmark --scenes train --out apart --questions 60 --seed 5 --per-scene 6 --check-leaks bench --check-leaks test",
    );
    let said = ends(home, 0, "benchmark --scenes train --out many --questions 1300 --seed 5 --per-scene 60 --no-audio");
    assert!(said.contains("up to 60 questions about one scene"), "{said}");
    for folder in ["test", "bench"] {
        let command = format!("benchmark --scenes test --out same --questions 60 --seed 9 --check-leaks {folder}");
        let said = ends(home, 78, &command);
        assert!(said.contains("recordings") && said.contains("scenes"), "{said}");
        assert!(!home.join("same").exists(), "nothing is written");
    }
    for (kind, columns) in [
        ("align", "file_name sample_id question answer level task"),
        (
            "sapo",
            "file_name sample_id question option_a option_b option_c option_d answer_letter answer_text level task",
        ),
        (
            "sft",
            "file_name sample_id question option_a option_b option_c option_d answer_letter answer_text level task \
             reasoning response",
        ),
        (
            "text",
            "sample_id question option_a option_b option_c option_d answer_letter answer_text level task reasoning \
             response description operation",
        ),
    ] {
        ends(home, 0, &format!("benchmark --scenes train --out {kind} --kind {kind} --questions 50 --seed 5"));
        let folder = home.join(kind);
        let rows = lines(&folder.join("metadata.jsonl"));
        assert_eq!((rows.len(), one(&folder.join("benchmark.json"))["kind"].as_str()), (50, Some(kind)));
        let sorted = |columns: &str| columns.split(' ').map(String::from).collect::<BTreeSet<String>>();
        let open = sorted("sample_id question answer level task description operation");
        for (i, row) in rows.iter().enumerate() {
            let own: BTreeSet<String> = row.as_object().unwrap().keys().cloned().collect();
            // Every fourth row of text asks openly, where the question has such a form.
            assert!(own == sorted(columns) || (kind == "text" && i % 4 == 3 && own == open), "{kind}: {own:?}");
        }
        let asked_openly = rows.iter().filter(|row| row.get("answer").is_some()).count();
        assert!(kind != "text" || (6..=12).contains(&asked_openly), "{asked_openly} of 50");
        assert_eq!(folder.join("audio").exists(), kind != "text");
        assert!(!folder.join("public").exists() && !folder.join("key.jsonl").exists(), "{kind} is no benchmark");
        let said = ends(home, 2, &format!("benchmark --scenes test --out no --kind {kind} --questions 50 --seed 5"));
        assert!(said.contains("--split train"), "{said}");
    }
    let chains = ["sft", "text"].iter().flat_map(|kind| lines(&home.join(kind).join("metadata.jsonl")));
    for row in chains.filter(|row| row.get("answer").is_none()) {
        let end = format!("</think><answer>{}</answer>", text(&row, "answer_letter"));
        let response = text(&row, "response");
        let think = response.strip_prefix("<think>").and_then(|r| r.strip_suffix(&end)).unwrap();
        assert_eq!(think, text(&row, "reasoning"));
        assert!((40..=400).contains(&think.chars().count()), "{think}");
        assert!(think.to_lowercase().contains(&text(&row, "answer_text").to_lowercase()), "{think}");
    }
}

fn refusals(home: &Path) {
    let said = ends(home, 66, "benchmark --scenes nowhere --out no --questions 5 --seed 1");
    assert!(said.contains("nowhere"), "{said}");
    assert!(ends(home, 2, "benchmark --scenes test --out no --questions 0 --seed 1").contains("--questions 0"));
    ends(home, 2, "benchmark --scenes test --out no --questions 5 --seed 1 --kind essay");
    ends(home, 2, "benchmark --scenes test --out no --questions 5 --seed 1 --azimuth left");
    ends(home, 2, "benchmark --scenes test --out no --seed 1");
    ends(home, 66, "benchmark --scenes test --out no --questions 5 --seed 1 --check-leaks dry");
    ends(home, 66, "benchmark --scenes test --out no --questions 5 --seed 1 --check-leaks nowhere");
    ends(home, 0, &format!("simulate --out few --scenes 3 --seed 3 --split test {SHORT}"));
    let said = ends(home, 65, "benchmark --scenes few --out no --questions 5000 --seed 1");
    assert!(said.contains("too few") && said.contains("--per-scene"), "{said}");
    assert!(
        ends(home, 2, "benchmark --scenes test --out no --questions 5 --seed 1 --per-scene 0")
            .contains("--per-scene 0")
    );
    assert!(!home.join("no").exists(), "a refused command leaves nothing");
}
