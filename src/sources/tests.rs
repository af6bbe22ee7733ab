//! Tests of listing, classes, groups, splits, cached audio and the bank.

use super::*;
use crate::audio::{Audio, wav};
use crate::error::Kind;
use std::collections::{BTreeMap, BTreeSet};

fn tone(path: &Path, rate: u32, seconds: f64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let frames = (seconds * f64::from(rate)) as usize;
    let samples = (0..frames).map(|t| 0.5 * (t as f32 * 0.3).sin()).collect();
    wav::write(path, &Audio { sample_rate: rate, channels: 1, samples }, wav::Format::Pcm16).unwrap();
}

/// A small copy of the layout of the shared recordings, with empty files where only names matter.
fn layout(root: &Path) {
    for name in [
        "environment/rain/1-17367-A.ogg",
        "environment/rain/1-17367-B.ogg",
        "environment/rain/2-5-A.ogg",
        "environment/rain/3-6-A.ogg",
        "environment/dog_bark/deep/1-100032-A-0.flac",
        "environment/animal_misc/whale.ogg",
        "speech/digits/0_george_0.wav",
        "speech/digits/7_jackson_12.wav",
        "speech/utterances/198-209-0000.ogg",
        "speech/libri/84/121123/84_121123_000007_000001.wav",
        "music/Karissa_Hobbs_-_Lets_Go_Fishin.ogg",
        "music/.hidden.ogg",
        "music/cover.jpg",
    ] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    }
    let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
    write("environment/ESC-README.md", "terms of the http://creativecommons.org/licenses/by/3.0/\n");
    write("speech/utterances/198-209-0000.txt", "CC-BY 4.0 https://creativecommons.org/licenses/by/4.0/\n");
    write("speech/libri/84/121123/84_121123_000007_000001.normalized.txt", "Go do you hear.\n");
    write("speech/utterances/198-209.trans.txt", "198-209-0000 NOT A LICENCE\n");
    write("environment/captions.csv", "file_name,caption_1\nrain/2-5-A.ogg,\"Rain, hard\"\ndog_bark/3-6-A.ogg,wrong\n");
}

fn open(dirs: &[&str]) -> Result<Sources> {
    Sources::open(&dirs.iter().map(|d| d.parse().unwrap()).collect::<Vec<_>>(), None)
}

fn by_id(sources: &Sources) -> BTreeMap<&str, &Recording> {
    sources.recordings().iter().map(|r| (r.id.as_str(), r)).collect()
}

#[test]
fn folders_give_domains_classes_groups_and_notes() {
    let root = tempfile::tempdir().unwrap();
    layout(root.path());
    let sources = open(&[root.path().to_str().unwrap()]).unwrap();
    assert_eq!(sources.classes(), ["dog_bark", "rain", "speech", "music"]);
    let all = by_id(&sources);
    assert_eq!(all.len(), 11);
    let rain = all["environment/rain/2-5-A"];
    assert_eq!((rain.domain, rain.class, rain.group.as_str()), (Domain::Environment, Some(1), "2-5"));
    assert_eq!(rain.caption.as_deref(), Some("Rain, hard"));
    assert_eq!(all["environment/rain/3-6-A"].caption, None, "a row that names another folder");
    assert!(rain.licence.as_ref().unwrap().contains("by/3.0"));
    assert_eq!(all["environment/dog_bark/1-100032-A-0"].group, "1-100032");
    let whale = all["environment/animal_misc/whale"];
    assert_eq!((whale.class, whale.class_name.as_str()), (None, "animal_misc"));
    let seven = all["speech/speech/7_jackson_12"];
    assert_eq!((seven.group.as_str(), seven.transcript.as_deref()), ("jackson", Some("seven")));
    let utterance = all["speech/speech/198-209-0000"];
    assert_eq!((utterance.group.as_str(), utterance.transcript.as_deref()), ("198-209", Some("NOT A LICENCE")));
    assert!(utterance.licence.as_ref().unwrap().contains("CC-BY 4.0"));
    let libri = all["speech/speech/84_121123_000007_000001"];
    assert_eq!((libri.group.as_str(), libri.transcript.as_deref()), ("84-121123", Some("Go do you hear.")));
    let song = all["music/music/Karissa_Hobbs_-_Lets_Go_Fishin"];
    assert_eq!((song.domain, song.group.as_str()), (Domain::Music, "Karissa_Hobbs_-_Lets_Go_Fishin"));
}

#[test]
fn any_root_into_the_same_layout_gives_the_same_recordings() {
    let root = tempfile::tempdir().unwrap();
    layout(root.path());
    let at = |rest: &str| format!("{}/{rest}", root.path().display());
    let whole = open(&[&at("")]).unwrap();
    let parts = open(&[&at("music"), &at("environment"), &at("speech"), &at("environment/rain")]);
    assert!(parts.is_err(), "a folder whose recordings are all listed already is a mistake");
    let parts = open(&[&at("music"), &at("environment/rain"), &at("environment"), &at("speech")]).unwrap();
    let ids = |s: &Sources| s.recordings().iter().map(|r| r.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&whole), ids(&parts));
    assert_eq!(whole.fingerprint(), parts.fingerprint());
    assert_eq!(whole.splits, parts.splits);
}

#[test]
fn nested_flat_and_prefixed_folders() {
    let root = tempfile::tempdir().unwrap();
    for name in [
        "ESC-50/audio/001 - Dog bark/a.wav",
        "ESC-50/audio/rain/take1/a.wav",
        "ESC-50/audio/rain/take2/a.wav",
        "ESC-50/x/b.wav",
    ] {
        tone(&root.path().join(name), 16_000, 0.1);
    }
    let sources = open(&[root.path().to_str().unwrap()]).unwrap();
    assert_eq!(sources.classes(), ["dog_bark", "rain", "x"]);
    let ids: Vec<&str> = by_id(&sources).into_keys().collect();
    assert_eq!(
        ids,
        [
            "environment/dog_bark/a",
            "environment/rain/ESC-50/audio/rain/take1/a.wav",
            "environment/rain/ESC-50/audio/rain/take2/a.wav",
            "environment/x/b"
        ]
    );
    let prefixed = open(&[&format!("speech={}", root.path().display())]).unwrap();
    assert_eq!(prefixed.classes(), ["speech"]);
    let flat = open(&[&format!("{}/ESC-50/x", root.path().display())]).unwrap();
    assert_eq!(flat.classes(), ["x"]);
}

#[test]
fn missing_and_empty_folders_and_unknown_prefixes_are_said() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().display().to_string();
    assert_eq!(open(&[&path]).unwrap_err().kind(), Kind::Missing);
    assert_eq!(open(&[&format!("{path}/no")]).unwrap_err().kind(), Kind::Missing);
    assert_eq!(format!("noise={path}").parse::<SourceDir>().unwrap_err().kind(), Kind::Usage);
    assert_eq!("music=".parse::<SourceDir>().unwrap_err().kind(), Kind::Usage);
    assert_eq!("Music=x".parse::<SourceDir>().unwrap().domain, Some(Domain::Music));
}

#[test]
fn groups_follow_the_naming_rules() {
    let of = |domain, stem| file_names::group(domain, stem);
    assert_eq!(of(Domain::Environment, "1-30226-A"), "1-30226");
    assert_eq!(of(Domain::Environment, "1-30226-a"), "1-30226-a");
    assert_eq!(of(Domain::Environment, "door-2"), "door-2");
    assert_eq!(of(Domain::Environment, "-A"), "-A");
    assert_eq!(of(Domain::Speech, "0_george_0"), "george");
    assert_eq!(of(Domain::Speech, "5703-47212-0000"), "5703-47212");
    assert_eq!(of(Domain::Speech, "interview-B"), "interview");
    assert_eq!(of(Domain::Music, "song-A"), "song-A");
}

/// The rule written out again, independently: sort keys by the little-endian number and cut.
#[test]
fn splits_follow_the_rule() {
    let bank = Sources::procedural(0);
    for (class, groups) in [("rain", 30usize), ("speech", 40)] {
        let mut keys: Vec<(u64, String)> = Vec::new();
        let domain = if class == "speech" { "speech" } else { "environment" };
        for g in 0..groups {
            let key = format!("{domain}/{class}/{class}-{g:03}");
            let hash = blake3::hash(key.as_bytes());
            let number = hash.as_bytes()[..8].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
            keys.push((number, key));
        }
        keys.sort();
        let held = groups / 10;
        for (i, r) in bank.recordings().iter().enumerate().filter(|(_, r)| r.class_name == class) {
            let rank = keys.iter().position(|(_, key)| *key == r.group_key()).unwrap();
            let expected = match rank / held {
                0 => Split::Test,
                1 => Split::Dev,
                _ => Split::Train,
            };
            assert_eq!(bank.split_of(i), expected, "{}", r.id);
        }
    }
}

#[test]
fn small_classes_keep_everything_for_training_and_splits_are_disjoint() {
    let root = tempfile::tempdir().unwrap();
    for (class, groups) in [("two", 2), ("three", 3), ("fourteen", 14), ("sixteen", 16)] {
        for g in 0..groups {
            for take in ["A", "B"] {
                // The same number in two classes would be the same recording.
                let path = root.path().join(class).join(format!("{groups}-{g}-{take}.wav"));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, b"").unwrap();
            }
        }
    }
    let sources = open(&[root.path().to_str().unwrap()]).unwrap();
    let groups = |class: &str, split: Split| {
        let of = sources.in_split(split).into_iter().map(|i| &sources.recordings()[i]);
        of.filter(|r| r.class_name == class).map(Recording::group_key).collect::<BTreeSet<_>>()
    };
    for (class, test, dev, train) in
        [("two", 0, 0, 2), ("three", 1, 1, 1), ("fourteen", 1, 1, 12), ("sixteen", 2, 2, 12)]
    {
        let parts = [Split::Test, Split::Dev, Split::Train].map(|s| groups(class, s));
        assert_eq!(parts.clone().map(|p| p.len()), [test, dev, train], "{class}");
        assert_eq!(parts.iter().flatten().collect::<BTreeSet<_>>().len(), test + dev + train);
    }
    assert_eq!(sources.in_split(Split::All).len(), sources.recordings().len());
}

#[test]
fn split_files_round_trip_and_bad_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("splits.json");
    let mut sources = Sources::procedural(0);
    let by_rule = sources.splits.clone();
    sources.write_splits(&path).unwrap();
    let mut text = std::fs::read_to_string(&path).unwrap();
    let key = sources.recordings()[0].group_key();
    let line = text.lines().find(|l| l.contains(&key)).unwrap().to_string();
    text = text.replace(&line, &format!("    \"{key}\": \"dev\","));
    std::fs::write(&path, &text).unwrap();
    sources.use_splits(&path).unwrap();
    let first_group = sources.recordings().iter().filter(|r| r.group_key() == key).count();
    for (i, rule) in by_rule.iter().enumerate() {
        let expected = if i < first_group { Split::Dev } else { *rule };
        assert_eq!(sources.split_of(i), expected);
    }
    for bad in ["", "{}", "{\"format\":\"x\",\"rule\":\"\",\"groups\":{}}", &text.replace("\"dev\"", "\"all\"")] {
        std::fs::write(&path, bad).unwrap();
        assert_eq!(sources.use_splits(&path).unwrap_err().kind(), Kind::Data, "{bad:.40}");
    }
    assert_eq!(sources.use_splits(&folder.path().join("none.json")).unwrap_err().kind(), Kind::Missing);
}

#[test]
fn audio_is_mono_16_khz_trimmed_and_cached() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("rain/a.wav");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut samples = vec![0.0f32; 2 * 48_000];
    for t in 12_000..36_000 {
        samples[t] = (t as f32 * 0.05).sin();
        samples[48_000 + t] = samples[t];
    }
    wav::write(&path, &Audio { sample_rate: 48_000, channels: 2, samples }, wav::Format::Pcm16).unwrap();
    let sources = open(&[root.path().to_str().unwrap()]).unwrap();
    sources.preload(Split::All).unwrap();
    let audio = sources.audio(0).unwrap();
    assert!((8000..=8480).contains(&audio.len()), "half a second is left: {}", audio.len());
    assert!(Arc::ptr_eq(&audio, &sources.audio(0).unwrap()));
}

#[test]
fn a_recording_that_fails_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("rain/zero.wav");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    wav::write(&path, &Audio::silence(16_000, 1, 1600), wav::Format::Pcm16).unwrap();
    std::fs::write(root.path().join("rain/broken.ogg"), b"OggS\0\x02 and then nonsense").unwrap();
    let sources = open(&[root.path().to_str().unwrap()]).unwrap();
    let broken = sources.audio(0).unwrap_err();
    assert!(broken.kind() == Kind::Data && broken.to_string().contains("broken.ogg"), "{broken}");
    let silent = sources.audio(1).unwrap_err().to_string();
    assert!(silent.contains("zero.wav") && silent.contains("silent"), "{silent}");
    assert!(sources.preload(Split::All).unwrap_err().to_string().contains("broken.ogg"));
}

#[test]
fn trimming_keeps_what_is_heard() {
    assert!(trim_silence(&[0.0; 1000]).is_empty());
    assert!(trim_silence(&[]).is_empty());
    let mut samples = vec![1e-5f32; 3200];
    samples[1600..1760].fill(0.5);
    assert_eq!(trim_silence(&samples).len(), 160);
    samples[800..960].fill(0.002);
    assert_eq!(trim_silence(&samples).len(), 960, "48 dB below the loudest part is kept");
}

#[test]
fn the_bank_has_14_classes_with_splits_and_is_the_same_again() {
    let bank = Sources::procedural(7);
    assert_eq!(bank.classes().len(), 14);
    let again = Sources::procedural(7);
    let other = Sources::procedural(8);
    assert_ne!(bank.fingerprint(), other.fingerprint());
    assert_eq!(bank.fingerprint(), again.fingerprint());
    for class in 0..14 {
        for split in [Split::Train, Split::Dev, Split::Test] {
            let n = bank.in_split(split).iter().filter(|&&i| bank.recordings()[i].class == Some(class)).count();
            assert!(n >= 6, "class {class} {split:?}: {n}");
        }
    }
    // Used in another order, on other threads.
    again.preload(Split::Test).unwrap();
    for i in bank.in_split(Split::Test) {
        let audio = bank.audio(i).unwrap();
        assert_eq!(audio, again.audio(i).unwrap(), "{}", bank.recordings()[i].id);
        assert_ne!(audio, other.audio(i).unwrap());
        assert!((4000..=96_000).contains(&audio.len()), "{}: {}", bank.recordings()[i].id, audio.len());
        let peak = audio.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert!((0.6..=0.701).contains(&peak), "{}: {peak}", bank.recordings()[i].id);
    }
}

/// Mean log energies in 16 bands, and how much they move: enough to tell the classes apart by ear or eye.
fn features(audio: &[f32]) -> Vec<f64> {
    let mut planner = realfft::RealFftPlanner::<f32>::new();
    let fft = planner.plan_fft_forward(512);
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for frame in audio.chunks_exact(512) {
        let (mut input, mut spectrum) = (frame.to_vec(), fft.make_output_vec());
        fft.process(&mut input, &mut spectrum).unwrap();
        let band = |b: usize| (spectrum[1 + b * 16..17 + b * 16].iter().map(|c| c.norm_sqr()).sum::<f32>() + 1e-3).ln();
        rows.push((0..16).map(|b| f64::from(band(b))).collect());
    }
    let mean = |b: usize| rows.iter().map(|r| r[b]).sum::<f64>() / rows.len() as f64;
    let spread = |b: usize| (rows.iter().map(|r| (r[b] - mean(b)).powi(2)).sum::<f64>() / rows.len() as f64).sqrt();
    (0..16).map(mean).chain((0..16).map(|b| 2.0 * spread(b))).collect()
}

#[test]
fn classes_of_the_bank_can_be_told_apart() {
    let bank = Sources::procedural(0);
    let gather = |split: Split| -> Vec<(usize, Vec<f64>)> {
        let of = bank.in_split(split).into_iter();
        of.map(|i| (bank.recordings()[i].class.unwrap(), features(&bank.audio(i).unwrap()))).collect()
    };
    let (train, test) = (gather(Split::Train), gather(Split::Test));
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    let right = test
        .iter()
        .filter(|(class, x)| {
            let nearest = train.iter().min_by(|a, b| distance(&a.1, x).total_cmp(&distance(&b.1, x))).unwrap();
            nearest.0 == *class
        })
        .count();
    assert!(right as f64 > 0.8 * test.len() as f64, "nearest neighbour gets {right} of {} right", test.len());
}
