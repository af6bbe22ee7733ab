//! Sets are written, killed, continued, damaged and read.

use super::*;
use crate::error::Kind;
use crate::scene::{ClipTruth, Path as Way, Point, Track, Truth};
use serde_json::json;
use std::path::Path;

const FRAMES: usize = 3200;

fn spec(scenes: usize) -> ShardSpec {
    let classes = ["bell".to_string(), "dog".to_string()];
    let mut spec = ShardSpec::new(scenes, FRAMES, 5, &classes, &json!({"room": {"size": 3.0}})).unwrap();
    spec.scenes_per_shard = 4;
    spec
}

fn clip(i: usize) -> Vec<f32> {
    let mut rng = crate::rng::Rng::new(1, "test clip", i as u64);
    (0..CHANNELS * FRAMES).map(|_| rng.normal() as f32 * 0.1 * (i + 1) as f32).collect()
}

fn sample(i: usize) -> Sample {
    let mut labels = Labels::empty(FRAMES);
    labels.count = i % 4;
    for slot in 0..labels.count {
        labels.direction[slot] = [0.0, 1.0, 0.0];
        labels.distance_m[slot] = 1.0 + i as f32;
        labels.activity[slot].fill(1);
        labels.class[slot] = (i % 2) as i64;
        labels.class_mask[slot] = 1.0;
    }
    (labels.log_surface, labels.absorption, labels.rt60_s, labels.room_mask) = (4.5, 0.25, 0.5, 1.0);
    Sample::new(&clip(i), labels, &json!({"id": format!("scene-{i}")})).unwrap()
}

fn write_shard(writer: &ShardWriter, index: usize) {
    let samples: Vec<Sample> = writer.spec().range(index).map(sample).collect();
    writer.write(index, &samples).unwrap();
}

fn write_all(folder: &Path, scenes: usize) -> Manifest {
    let writer = ShardWriter::open(folder, spec(scenes)).unwrap();
    writer.missing().iter().for_each(|&i| write_shard(&writer, i));
    writer.finish().unwrap()
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&p).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn what_was_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path(), 10);
    let set = ShardSet::open(folder.path()).unwrap();
    assert_eq!((set.len(), set.classes().len()), (10, 2));
    for i in 0..10 {
        let original = clip(i);
        let (audio, scale) = (set.audio(i), set.scale(i));
        assert_eq!(audio.iter().map(|s| s.unsigned_abs()).max(), Some(32767));
        for (&stored, &value) in audio.iter().zip(&original) {
            // Half a step, and four roundings of numbers up to 2^15 steps.
            assert!((stored as f32 * scale - value).abs() <= 0.51 * scale);
        }
        assert_eq!(*set.labels(i), sample(i).labels);
        assert_eq!(set.line(i), format!("{{\"id\":\"scene-{i}\"}}"));
        let mut part = vec![0.0; CHANNELS * 100];
        set.read_f32(i, 50, &mut part);
        assert_eq!(part[100], audio[FRAMES + 50] as f32 * scale);
        set.prefetch(i);
    }
    let twice = ShardSet::open_all(&[folder.path(), folder.path()]).unwrap();
    assert_eq!((twice.len(), twice.line(13)), (20, set.line(3)));
    assert!(!contents(folder.path()).iter().any(|(name, _)| name.starts_with('.')), "bookkeeping is removed");
}

#[test]
fn an_interrupted_set_continues_to_the_same_bytes() {
    let (whole, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_all(whole.path(), 10);
    let writer = ShardWriter::open(resumed.path(), spec(10)).unwrap();
    write_shard(&writer, 1);
    write_shard(&writer, 2);
    let busy = ShardWriter::open(resumed.path(), spec(10)).err().unwrap();
    assert_eq!(busy.kind(), Kind::Io, "a second process is refused");
    drop(writer);
    let unfinished = ShardSet::open(resumed.path()).err().unwrap();
    assert_eq!(unfinished.kind(), Kind::Missing);
    assert!(unfinished.to_string().contains("interrupted"));
    // What a kill leaves behind: a temporary file, a shard without its record, a damaged shard.
    std::fs::write(resumed.path().join(".tmp-abc"), b"half").unwrap();
    std::fs::write(resumed.path().join(shard_file(0)), b"half").unwrap();
    let damaged = resumed.path().join(shard_file(2));
    let mut bytes = std::fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let writer = ShardWriter::open(resumed.path(), spec(10)).unwrap();
    assert_eq!(writer.missing(), [0, 2]);
    drop(writer);
    write_all(resumed.path(), 10);
    assert_eq!(contents(whole.path()), contents(resumed.path()));
    // A complete set is left alone.
    let again = ShardWriter::open(resumed.path(), spec(10)).unwrap();
    assert!(again.missing().is_empty());
    again.finish().unwrap();
}

#[test]
fn another_recipe_or_seed_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = spec(10);
    other.seed = 6;
    // A run that finished nothing is no set: the folder may be begun anew.
    drop(ShardWriter::open(folder.path(), other.clone()).unwrap());
    let writer = ShardWriter::open(folder.path(), spec(10)).unwrap();
    write_shard(&writer, 0);
    drop(writer);
    other.config = json!({"room": {"size": 4.0}});
    let error = ShardWriter::open(folder.path(), other.clone()).err().unwrap();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.message().contains("seed: 5 there, 6 asked for"), "{error}");
    assert!(error.message().contains("config.room.size: 3.0 there, 4.0 asked for"), "{error}");
    write_all(folder.path(), 10);
    assert_eq!(ShardWriter::open(folder.path(), other).err().unwrap().kind(), Kind::Usage);
}

#[test]
fn damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path(), 10);
    let refused = |name: &str, change: &dyn Fn(&mut Vec<u8>), kind: Kind| {
        let path = folder.path().join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        std::fs::write(&path, &bad).unwrap();
        let error = ShardSet::open(folder.path()).err().unwrap_or_else(|| panic!("{name}: damage was not found"));
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.message().contains(name), "{error}");
        std::fs::write(&path, &good).unwrap();
    };
    let mut rng = crate::rng::Rng::new(2, "bit flips", 0);
    let size = std::fs::metadata(folder.path().join(shard_file(1))).unwrap().len() as usize;
    for _ in 0..30 {
        let (at, bit) = (rng.below(size), rng.below(8));
        let path = folder.path().join(shard_file(1));
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1 << bit;
        std::fs::write(&path, &bad).unwrap();
        let error = ShardSet::open(folder.path()).err().expect("a flipped bit is found");
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(error.message().contains(&shard_file(1)), "{error}");
        std::fs::write(&path, &good).unwrap();
    }
    let last = |b: &mut Vec<u8>| *b.last_mut().unwrap() ^= 4;
    refused(&shard_file(2), &last, Kind::Integrity);
    refused(&shard_file(2), &|b| b.truncate(b.len() / 2), Kind::Integrity);
    refused(&shard_file(2), &|b| b.clear(), Kind::Integrity);
    refused(SCENES_FILE, &|b| b[3] ^= 1, Kind::Integrity);
    refused(SCENES_FILE, &|b| b.truncate(9), Kind::Integrity);
    refused(MANIFEST_FILE, &|b| b.truncate(100), Kind::Data);
    std::fs::copy(folder.path().join(shard_file(0)), folder.path().join("x")).unwrap();
    std::fs::rename(folder.path().join(shard_file(1)), folder.path().join(shard_file(0))).unwrap();
    std::fs::rename(folder.path().join("x"), folder.path().join(shard_file(1))).unwrap();
    assert_eq!(ShardSet::open(folder.path()).err().unwrap().kind(), Kind::Integrity, "swapped shards");
    let again = ShardWriter::open(folder.path(), spec(10)).err().unwrap();
    assert_eq!(again.kind(), Kind::Integrity, "a damaged set is not called complete: {again}");
}

#[test]
fn audio_that_is_not_finite_is_refused_and_silence_is_kept() {
    let mut audio = vec![0.0; CHANNELS * FRAMES];
    let silent = Sample::new(&audio, Labels::empty(FRAMES), &json!({})).unwrap();
    assert!(silent.audio.iter().all(|&s| s == 0) && silent.scale > 0.0);
    audio[FRAMES + 7] = f32::NAN;
    let error = Sample::new(&audio, Labels::empty(FRAMES), &json!({})).err().unwrap();
    assert!(error.message().contains("channel 1, frame 7"), "{error}");
}

/// Half a second of a source that passes from left to right and sounds in two stretches, and one that stands.
fn moving() -> Truth {
    let point = |t: f64, x: f64, y: f64| Point::at_offset(t, [x, y, 0.0]);
    let line = |path: Way, active: &str| {
        let mut value = json!({"class": "dog", "class_index": 1, "domain": "environment", "transcript": null,
            "caption": null, "licence": null, "azimuth_deg": 0.0, "elevation_deg": 0.0, "distance_m": 1.0, "active_s": []});
        value["active_s"] = serde_json::from_str(active).unwrap();
        Track { path, ..serde_json::from_value(value).unwrap() }
    };
    let passing = Way::through(vec![point(0.0, 2.0, 2.5), point(1.0, 2.0, -2.5)]).unwrap();
    let standing = Way::still(point(0.0, 0.0, -3.0));
    let whole = json!({"id": "m", "index": 0, "seconds": 1.0, "sample_rate": 16000, "sources": []});
    let sources = vec![line(passing, "[[0.0, 0.2], [0.6, 1.0]]"), line(standing, "[[0.0, 1.0]]")];
    Truth { sources, ..serde_json::from_value(whole).unwrap() }
}

#[test]
fn a_source_that_moves_is_labelled_where_it_is_at_the_middle_of_its_activity() {
    let labels = Labels::of(&moving()).unwrap();
    assert_eq!((labels.count, labels.activity[0].iter().map(|&a| a as usize).sum::<usize>()), (2, 6));
    assert_eq!(labels.check(16_000, 2), Ok(()));
    // Of 0.1 s each, steps 0, 1, 6, 7, 8, 9: their middle is step 5, from 0.5 to 0.6 s, and at 0.55 s the source is at y = -0.25.
    let at = |y: f64| [2.0 / (4.0 + y * y).sqrt(), y / (4.0 + y * y).sqrt(), 0.0];
    let check = |truth: &ClipTruth, y: f64| {
        let source = &truth.sources[0];
        let off = (0..3).map(|i| (source.direction[i] - at(y)[i]).abs()).fold(0.0, f64::max);
        assert!(off < 1e-6 && (source.distance_m - (4.0 + y * y).sqrt()).abs() < 1e-6, "{source:?}");
        assert_eq!(source.class, Some(1));
    };
    check(&labels.whole(), -0.25);
    check(&labels.crop(0, 4800), 2.25);
    check(&labels.crop(8000, 8000), -1.25);
    // From 0.25 to 0.55 s it is silent.
    let silent = labels.crop(4000, 4800);
    assert_eq!(silent.sources.len(), 1);
    assert!((silent.sources[0].direction[1] + 1.0).abs() < 1e-6 && silent.room.is_none());
    let mut crowd = moving();
    crowd.sources.resize(5, crowd.sources[0].clone());
    let error = Labels::of(&crowd).unwrap_err();
    assert!(error.kind() == Kind::Data && error.message().contains("m: 5 sources"), "{error}");
}

#[test]
fn paths_are_stored_where_something_moves_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = ShardSpec::new(4, 16_000, 5, &["bell".into(), "dog".into()], &json!({})).unwrap();
    spec.scenes_per_shard = 2;
    let writer = ShardWriter::open(folder.path(), spec).unwrap();
    let truth = |i: usize| {
        let mut truth = moving();
        if i != 1 {
            truth.sources.remove(0);
        }
        truth
    };
    for shard in [0, 1] {
        let sample = |i: usize| {
            let audio: Vec<f32> = clip(i).into_iter().cycle().take(CHANNELS * 16_000).collect();
            Sample::new(&audio, Labels::of(&truth(i)).unwrap(), &truth(i)).unwrap()
        };
        writer.write(shard, &writer.spec().range(shard).map(sample).collect::<Vec<_>>()).unwrap();
    }
    writer.finish().unwrap();
    let set = ShardSet::open(folder.path()).unwrap();
    for i in 0..4 {
        assert_eq!(*set.labels(i), Labels::of(&truth(i)).unwrap(), "scene {i}");
        assert_eq!(set.labels(i).path.is_some(), i == 1);
        assert_eq!(serde_json::to_string(&set.truth(i).unwrap()).unwrap(), set.line(i));
    }
    let has_path = |shard: usize| {
        let tensors = crate::weights::Tensors::open(&folder.path().join(shard_file(shard))).unwrap();
        tensors.contains("path")
    };
    assert!(has_path(0) && !has_path(1));
    let mut wrong = Labels::of(&moving()).unwrap();
    wrong.path.as_mut().unwrap()[0][3] = [0.0; 4];
    assert!(wrong.check(16_000, 2).unwrap_err().contains("path of slot 0 has length 0"));
}
