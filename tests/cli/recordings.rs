//! `twnm simulate` on recordings as users have them: files that cannot be read, groups, folds; sets that are continued.

use crate::common;
use std::path::Path;
use std::process::Command;
use twnm::audio::{Audio, wav};
use twnm::error::Kind;
use twnm::shard::Manifest;

/// Runs a command that must end with `code`; what it says on standard error.
#[track_caller]
fn ends(home: &Path, code: u8, command: &str) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_twnm")).args(command.split_whitespace()).current_dir(home).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code.into()), "{command}: {said}");
    assert!(output.stdout.is_empty(), "nothing on standard output: {command}");
    said
}

fn tone(path: &Path, hz: f32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let samples = (0..8000).map(|t| 0.5 * (t as f32 * hz * 0.0004).sin()).collect();
    wav::write(path, &Audio { sample_rate: 16_000, channels: 1, samples }, wav::Format::Pcm16).unwrap();
}

/// Twelve recordings: 07 is a page that a server sent in place of a sound, 04 is empty.
fn corpus(home: &Path) {
    (0..12).for_each(|i| tone(&home.join(format!("src/c/{i:02}.wav")), 300.0 + 50.0 * i as f32));
    std::fs::write(home.join("src/c/07.wav"), b"<!DOCTYPE html><html>404</html>").unwrap();
    std::fs::write(home.join("src/c/04.wav"), b"").unwrap();
}

const SIMULATE: &str = "simulate --scenes 12 --seed 3 --set seconds=0.5 --set max_sources=1 --set rir_max_s=0.2";

#[test]
fn files_that_cannot_be_read_are_said_before_the_first_scene_and_may_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    corpus(home);
    let plain = format!("{SIMULATE} --sources environment=src");
    let said = ends(home, Kind::Data.exit_code(), &format!("{plain} --out o"));
    for part in ["2 of 12", "04.wav", "07.wav", "--skip-unreadable"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = ends(home, 0, &format!("{plain} --out o --skip-unreadable"));
    assert!(said.contains("07.wav") && said.contains("2 of 12 recordings cannot be read and are left out"), "{said}");
    let manifest = Manifest::read(&home.join("o")).unwrap();
    assert_eq!(manifest.spec.unreadable, ["environment/c/04", "environment/c/07"]);
    // The same again is the same set; another time without the flag is told why it is not.
    let before = common::lasting(&home.join("o"));
    ends(home, 0, &format!("{plain} --out o --skip-unreadable"));
    common::assert_same(&before, &home.join("o"));
    assert!(ends(home, 2, &format!("{plain} --out o")).contains("with them and that flag"));
    ends(home, 0, &format!("{plain} --out p --skip-unreadable --jobs 1"));
    common::assert_same(&before, &home.join("p"));
}

/// The quickstart and a training run that renders look at their recordings first, too.
#[test]
fn quickstart_and_training_look_at_all_recordings_first() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    corpus(home);
    let said = ends(home, Kind::Data.exit_code(), "quickstart --smoke --sources environment=src --out q");
    for part in ["2 of 12", "04.wav", "07.wav", "--skip-unreadable"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!home.join("q/data").exists(), "nothing was begun");
    let train = |code: u8, more: &str| {
        let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/recipes/encoder-pocket.toml");
        let set = "--out t --set data.sources=[\"environment=src\"] --set train.steps=1 \
                   --set train.batch=1 --set data.crop_min_s=0.5 --set data.crop_max_s=0.5";
        let output = Command::new(env!("CARGO_BIN_EXE_twnm-train"))
            .args(["encoder", "--recipe", recipe])
            .args(set.split_whitespace().chain(more.split_whitespace()))
            .current_dir(home)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code.into()), "{said}");
        said
    };
    let said = train(Kind::Data.exit_code(), "");
    let bad = ["04.wav", "07.wav"].map(|name| said.contains(name));
    // Those of the training split, at least one of both.
    assert!(
        bad.contains(&true) && said.contains("data.skip_unreadable=true") && said.contains("data.sources"),
        "{said}"
    );
    assert!(!home.join("t/checkpoints").exists());
    let said = train(0, "--set data.skip_unreadable=true");
    assert!(said.contains("recordings cannot be read and are left out"), "{said}");
}

#[test]
fn a_folder_without_a_finished_shard_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    (0..6).for_each(|i| tone(&home.join(format!("src/c/{i:02}.wav")), 300.0 + 50.0 * i as f32));
    let plain = format!("{SIMULATE} --sources environment=src");
    ends(home, 0, &format!("{plain} --out whole"));
    let manifest = Manifest::read(&home.join("whole")).unwrap();
    // What a run leaves that was killed in its first shard, made from other recordings.
    let mut other = manifest.spec.clone();
    other.sources = "other".into();
    let began = |name: &str| {
        let parts = home.join(name).join(".parts");
        std::fs::create_dir_all(&parts).unwrap();
        std::fs::write(parts.join("plan.json"), serde_json::to_vec(&other).unwrap()).unwrap();
        std::fs::write(parts.join("00000.jsonl"), "{}\n").unwrap();
        parts
    };
    began("o");
    std::fs::write(home.join("o/shard-00000.safetensors"), b"half").unwrap();
    std::fs::create_dir_all(home.join("o/wav")).unwrap();
    std::fs::write(home.join("o/wav/scene-00000099.wav"), b"old").unwrap();
    let said = ends(home, 0, &format!("{plain} --out o"));
    assert!(said.contains("begun anew"), "{said}");
    std::fs::remove_dir(home.join("o/wav")).unwrap();
    common::assert_same(&common::lasting(&home.join("whole")), &home.join("o"));
    // With a finished shard nothing is removed.
    let parts = began("q");
    std::fs::write(parts.join("00000.json"), b"{}").unwrap();
    let said = ends(home, 2, &format!("{plain} --out q"));
    assert!(said.contains("made otherwise") && parts.join("00000.jsonl").exists(), "{said}");
}

#[test]
fn groups_and_classes_are_said_and_may_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    for (i, name) in ["fold1/a_1.wav", "fold1/a_2.wav", "fold2/b_1.wav", "fold2/c_1.wav"].into_iter().enumerate() {
        tone(&home.join("src").join(name), 300.0 + 50.0 * i as f32);
    }
    std::fs::write(home.join("src/notes.m4a"), b"").unwrap();
    std::fs::write(home.join("groups.tsv"), "path\tgroup\nc_1\tb\n").unwrap();
    let plain = format!("{SIMULATE} --sources environment=src");
    let said = ends(home, 0, &format!("{plain} --out a"));
    for part in ["1 .m4a file", "fold1, fold2", "--folder-classes", "--group-pattern", "unlabelled: 4 of 4 recordings"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = ends(home, 0, &format!("{plain} --out b --folder-classes --group-pattern ([a-z])_ --groups groups.tsv"));
    assert!(said.contains("environment/fold1: 1 of 2 recordings: a (2)"), "{said}");
    assert!(said.contains("environment/fold2: 1 of 2 recordings: b (2)"), "{said}");
    let manifest = Manifest::read(&home.join("b")).unwrap();
    assert_eq!((manifest.spec.grouping, manifest.spec.classes), (2, vec!["fold1".to_string(), "fold2".into()]));
    assert!(ends(home, 2, &format!("{plain} --out b --folder-classes")).contains("grouped by other rules"));
    ends(home, 2, &format!("{plain} --out c --group-pattern ("));
    ends(home, 2, &format!("{SIMULATE} --out c --skip-unreadable"));
    ends(home, 66, &format!("{plain} --out c --groups nowhere.csv"));
}
