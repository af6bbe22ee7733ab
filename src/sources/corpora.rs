//! Tests on tiny copies of public corpora: their layouts, names and tables.

use super::*;
use crate::error::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;

/// Empty files: listing does not decode.
fn touch(root: &Path, names: &[&str]) {
    for name in names {
        write(root, name, "");
    }
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn open(dir: &str, root: &Path) -> Sources {
    open_with(dir, root, &Reading::default()).unwrap()
}

/// `dir`: a folder below `root`, with or without `DOMAIN=`.
fn open_with(dir: &str, root: &Path, reading: &Reading) -> Result<Sources> {
    let (prefix, dir) = dir.rsplit_once('=').map_or((String::new(), dir), |(d, rest)| (format!("{d}="), rest));
    let dir = format!("{prefix}{}", root.join(dir).display());
    Sources::open_with(&[dir.parse().unwrap()], reading)
}

/// Class and group of every recording by its file name.
fn about(sources: &Sources) -> BTreeMap<String, (String, String)> {
    let of = |r: &Recording| {
        let name = r.path.as_ref().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        (name, (r.class_name.clone(), r.group.clone()))
    };
    sources.recordings().iter().map(of).collect()
}

/// No group is in two splits, whatever its classes.
fn assert_apart(sources: &Sources) {
    let mut sides = BTreeMap::<&str, BTreeSet<Split>>::new();
    for (i, r) in sources.recordings().iter().enumerate() {
        sides.entry(&r.group).or_default().insert(sources.split_of(i));
    }
    let torn: Vec<_> = sides.iter().filter(|(_, s)| s.len() > 1).collect();
    assert!(torn.is_empty(), "{torn:?}");
}

const ESC_50: &str = "filename,fold,target,category,esc10,src_file,take\n\
    1-100032-A-0.wav,1,0,dog,True,100032,A\n\
    1-100038-A-14.wav,1,14,chirping_birds,False,100038,A\n\
    1-100038-B-14.wav,1,14,chirping_birds,False,100038,B\n\
    2-100032-A-36.wav,2,36,vacuum_cleaner,False,100032,A\n";

#[test]
fn esc_50_takes_its_classes_from_its_table() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "ESC-50-master/meta/esc50.csv", ESC_50);
    for line in ESC_50.lines().skip(1) {
        touch(root.path(), &[&format!("ESC-50-master/audio/{}", line.split(',').next().unwrap())]);
    }
    for dir in ["", "ESC-50-master", "ESC-50-master/audio", "environment=ESC-50-master/audio"] {
        let sources = open(dir, root.path());
        assert_eq!(sources.classes(), ["chirping_birds", "dog", "vacuum_cleaner"], "{dir}");
        let all = about(&sources);
        assert_eq!(all["1-100038-B-14.wav"], ("chirping_birds".into(), "1-100038".into()));
        assert_eq!(sources.grouping(), 1, "names alone told the groups before");
    }
    let named = Reading { folder_classes: true, ..Reading::default() };
    assert_eq!(open_with("ESC-50-master/audio", root.path(), &named).unwrap().classes(), ["audio"]);
    // Sorted anew into folders: these are what is meant.
    touch(root.path(), &["sorted/animals/1-100032-A-0.wav", "sorted/machines/2-100032-A-36.wav"]);
    write(root.path(), "sorted/meta/esc50.csv", ESC_50);
    assert_eq!(open("sorted", root.path()).classes(), ["animals", "machines"]);
}

/// Nine Freesound clips in two classes, sliced; 4000 is in both.
fn urban_sound(root: &Path) {
    let mut table = String::from("slice_file_name,fsID,start,end,salience,fold,classID,class\n");
    for id in 0..9 {
        for (class, name) in [(0, "air_conditioner"), (3, "dog_bark")] {
            for slice in 0..3 {
                let id = if id == 0 { 4000 } else { 1000 * class + 100 + id };
                let (file, fold) = (format!("{id}-{class}-0-{slice}.wav"), id % 10 + 1);
                touch(root, &[&format!("UrbanSound8K/audio/fold{fold}/{file}")]);
                table += &format!("{file},{id},0.0,4.0,1,{fold},{class},{name}\n");
            }
        }
    }
    write(root, "UrbanSound8K/metadata/UrbanSound8K.csv", &table);
}

#[test]
fn urban_sound_8k_has_classes_not_folds_and_keeps_clips_together() {
    let root = tempfile::tempdir().unwrap();
    urban_sound(root.path());
    for dir in ["UrbanSound8K", "environment=UrbanSound8K/audio", ""] {
        let sources = open(dir, root.path());
        assert_eq!(sources.classes(), ["air_conditioner", "dog_bark"], "{dir}");
        assert_eq!(about(&sources)["4000-3-0-1.wav"], ("dog_bark".into(), "4000".into()));
        assert_eq!(sources.grouping(), 2);
        assert_apart(&sources);
        for split in [Split::Test, Split::Dev] {
            let classes: BTreeSet<_> =
                sources.in_split(split).iter().map(|&i| sources.recordings()[i].class.unwrap()).collect();
            assert_eq!(classes.len(), 2, "{split:?}");
        }
    }
    let one_fold = open("UrbanSound8K/audio/fold2", root.path());
    assert!(one_fold.classes().iter().all(|c| c == "air_conditioner" || c == "dog_bark"));
    // Without the table the folds are no classes, unless asked for.
    std::fs::remove_dir_all(root.path().join("UrbanSound8K/metadata")).unwrap();
    for dir in ["UrbanSound8K", "UrbanSound8K/audio", ""] {
        let sources = open(dir, root.path());
        assert!(sources.recordings().iter().all(|r| r.class.is_none()), "{dir}: {:?}", sources.classes());
        assert_apart(&sources);
    }
    let named = Reading { folder_classes: true, ..Reading::default() };
    let folds = open_with("UrbanSound8K/audio", root.path(), &named).unwrap();
    assert!(folds.classes().contains(&"fold2".to_string()), "{:?}", folds.classes());
}

#[test]
fn tables_of_other_corpora_give_classes() {
    let root = tempfile::tempdir().unwrap();
    let tau = "filename\tscene_label\tidentifier\tsource_label\n\
        audio/airport-barcelona-0-0-a.wav\tairport\tbarcelona-0\ta\n\
        audio/airport-barcelona-0-1-b.wav\tairport\tbarcelona-0\tb\n\
        audio/bus-lyon-1001-40000-s1.wav\tbus\tlyon-1001\ts1\n";
    write(root.path(), "tau/meta.csv", tau);
    touch(root.path(), &["tau/audio/airport-barcelona-0-0-a.wav", "tau/audio/airport-barcelona-0-1-b.wav"]);
    touch(root.path(), &["tau/audio/bus-lyon-1001-40000-s1.wav"]);
    let all = about(&open("tau", root.path()));
    assert_eq!(all["airport-barcelona-0-1-b.wav"], ("airport".into(), "airport-barcelona-0".into()));
    assert_eq!(all["bus-lyon-1001-40000-s1.wav"], ("bus".into(), "bus-lyon-1001".into()));

    write(
        root.path(),
        "fsd/FSD50K.ground_truth/dev.csv",
        "fname,labels,mids,split\n63,\"Bark,Dog,Animal\",\"/m/a,/m/b\",train\n",
    );
    touch(root.path(), &["fsd/FSD50K.dev_audio/63.wav"]);
    assert_eq!(about(&open("fsd", root.path()))["63.wav"].0, "bark");

    // Numbers are no names, and tables that disagree say nothing.
    write(root.path(), "own/list.csv", "file,label\na.wav,3\nb.wav,rain\n");
    write(root.path(), "own/other.csv", "file,label\nb.wav,snow\n");
    touch(root.path(), &["own/audio/a.wav", "own/audio/b.wav"]);
    assert!(about(&open("own", root.path())).values().all(|(class, _)| class == "own"));
}

#[test]
fn common_voice_has_its_speakers_in_a_table() {
    let root = tempfile::tempdir().unwrap();
    let (ann, bob) = ("a".repeat(128), "b".repeat(128));
    let table = format!(
        "client_id\tpath\tsentence\tup_votes\n{ann}\tcommon_voice_en_1.mp3\tSaid \"so\t2\n{bob}\tcommon_voice_en_2.mp3\tYes\t2\n\
         {ann}\tcommon_voice_en_3.mp3\tNo\t2\n"
    );
    write(root.path(), "en/validated.tsv", &table);
    touch(
        root.path(),
        &["en/clips/common_voice_en_1.mp3", "en/clips/common_voice_en_2.mp3", "en/clips/common_voice_en_3.wav"],
    );
    for dir in ["speech=en", "speech=en/clips"] {
        let all = about(&open(dir, root.path()));
        let groups: Vec<&str> = all.values().map(|(_, group)| group.as_str()).collect();
        assert_eq!(groups, [&ann, &bob, &ann], "{dir}");
    }
}

/// MAESTRO: several performances of one piece, in files named by session.
#[test]
fn performances_of_a_piece_stay_together() {
    let root = tempfile::tempdir().unwrap();
    let mut table = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration\n".to_string();
    for i in 0..12 {
        let file =
            format!("2004/MIDI-Unprocessed_SMF_{i:02}_R1_2004_01_ORIG_MID--AUDIO_{i:02}_R1_2004_01_Track01_wav.wav");
        table +=
            &format!("Bach,\"Fugue, no. {}\",train,2004,{},{file},300\n", i / 2, file.replace("wav.wav", "wav.midi"));
        touch(root.path(), &[&format!("maestro/{file}")]);
    }
    write(root.path(), "maestro/maestro-v3.0.0.csv", &table);
    let sources = open("music=maestro", root.path());
    let side = |i: usize| {
        let name = format!("AUDIO_{i:02}_");
        let found = sources.recordings().iter().position(|r| r.id.contains(&name)).unwrap();
        [Split::Train, Split::Dev, Split::Test].map(|split| sources.in_split(split).contains(&found))
    };
    assert!((0..6).all(|piece| side(2 * piece) == side(2 * piece + 1)), "sessions differ, the piece is one");
    assert!((0..12).any(|i| side(i)[2]), "there is a test split");
}

#[test]
fn speakers_in_folders_and_stems_of_songs_stay_together() {
    let root = tempfile::tempdir().unwrap();
    for speaker in ["alice", "bob", "carol", "dan"] {
        touch(root.path(), &[&format!("speech/{speaker}/wav/hello.wav"), &format!("speech/{speaker}/wav/bye.wav")]);
    }
    touch(root.path(), &["speech/podcasts/one.wav", "speech/podcasts/two.wav"]);
    let sources = open("speech", root.path());
    let groups: BTreeSet<&str> = sources.recordings().iter().map(|r| r.group.as_str()).collect();
    assert_eq!(groups, BTreeSet::from(["one", "two", "speech/alice", "speech/bob", "speech/carol", "speech/dan"]));
    for song in ["A - One", "B - Two", "C - Three"] {
        for stem in ["mixture", "bass", "drums", "other", "vocals"] {
            touch(root.path(), &[&format!("musdb18hq/train/{song}/{stem}.wav")]);
        }
    }
    let songs = open("music=musdb18hq", root.path());
    assert_eq!(songs.recordings().iter().map(|r| r.group.as_str()).collect::<BTreeSet<_>>().len(), 3);
    assert_apart(&songs);
}

/// LibriSpeech: chapters are groups, but all chapters of a speaker are on one side.
#[test]
fn chapters_of_a_speaker_are_on_one_side() {
    let root = tempfile::tempdir().unwrap();
    for (speaker, chapter) in (0..20).flat_map(|s| (0..4).map(move |c| (100 + s, 1000 + c))) {
        for utterance in 0..2 {
            touch(root.path(), &[&format!("{speaker}/{chapter}/{speaker}-{chapter}-{utterance:04}.flac")]);
        }
    }
    let sources = open("speech=", root.path());
    assert_eq!((sources.grouping(), sources.recordings()[0].group.as_str()), (1, "100-1000"));
    for (split, speakers) in [(Split::Test, 2), (Split::Dev, 2), (Split::Train, 16)] {
        let of = |i: &usize| sources.recordings()[*i].group.split('-').next().unwrap().to_string();
        let members = sources.in_split(split);
        assert_eq!(members.iter().map(of).collect::<BTreeSet<_>>().len(), speakers, "{split:?}");
        assert_eq!(members.len(), 8 * speakers);
    }
}

/// Speech Commands: the same speakers say every word, and each word is a class.
#[test]
fn a_speaker_in_all_classes_is_on_one_side() {
    let root = tempfile::tempdir().unwrap();
    for word in ["yes", "no", "bird"] {
        for speaker in 0..40 {
            touch(root.path(), &[&format!("{word}/{:08x}_nohash_0.wav", 0x1234_5678u32.wrapping_mul(speaker + 1))]);
        }
    }
    let sources = open("", root.path());
    assert_eq!(sources.classes(), ["bird", "no", "yes"]);
    assert_apart(&sources);
    for (split, n) in [(Split::Test, 4), (Split::Dev, 4), (Split::Train, 32)] {
        assert_eq!(sources.in_split(split).len(), 3 * n, "{split:?}");
    }
    // A splits.json that knows one word only: the speaker is on that side in all.
    let path = root.path().join("splits.json");
    open("yes", root.path()).write_splits(&path).unwrap();
    let mut again = open("", root.path());
    again.use_splits(&path).unwrap();
    assert_apart(&again);
    assert_eq!(again.in_split(Split::Test).len() % 3, 0);
    assert!(!again.in_split(Split::Test).is_empty());
}

#[test]
fn the_user_says_the_groups() {
    let root = tempfile::tempdir().unwrap();
    touch(root.path(), &["dry/rain/a.wav", "dry/rain/b.wav", "dry/rain/c.wav", "dry/wind/a_x.wav", "dry/wind/b_x.wav"]);
    write(root.path(), "groups.csv", "path,group\nrain/a.wav,storm\nrain/b,storm\nwind/a_x.wav,storm\n");
    let table = root.path().join("groups.csv");
    let reading = Reading { groups: Some(&table), group_pattern: Some("([a-z])_x"), ..Reading::default() };
    let sources = open_with("dry", root.path(), &reading).unwrap();
    let groups: Vec<String> = about(&sources).into_values().map(|(_, group)| group).collect();
    assert_eq!(groups, ["storm", "storm", "storm", "b", "c"]);
    assert_apart(&sources);
    assert_eq!(sources.grouping(), 2);
    let plain = open("dry", root.path());
    assert_eq!((plain.grouping(), plain.fingerprint() == sources.fingerprint()), (1, false));
    let lines = sources.group_lines();
    assert_eq!(lines[0], "groups of environment/rain: 2 of 3 recordings: c (1), storm (2)");
    let wrong = Reading { group_pattern: Some("zzz"), ..Reading::default() };
    assert_eq!(open_with("dry", root.path(), &wrong).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn links_have_the_class_of_their_place() {
    let root = tempfile::tempdir().unwrap();
    // As Hugging Face keeps files: blobs without names, links with them; and folders that are links.
    touch(root.path(), &["cache/blobs/aa", "cache/blobs/bb", "store/001/x.wav", "store/001/y.wav"]);
    std::fs::create_dir_all(root.path().join("data/dog")).unwrap();
    std::fs::create_dir_all(root.path().join("data/rain")).unwrap();
    let link = |to: &str, at: &str| symlink(root.path().join(to), root.path().join(at)).unwrap();
    link("cache/blobs/aa", "data/dog/a.wav");
    link("cache/blobs/bb", "data/rain/b.wav");
    link("store/001", "data/wind");
    link("data", "data/dog/loop");
    link("data/nowhere.wav", "data/dog/gone.wav");
    symlink("self.wav", root.path().join("data/dog/self.wav")).unwrap();
    let sources = open("data", root.path());
    assert_eq!(sources.classes(), ["dog", "rain", "wind"]);
    assert_eq!(sources.recordings().len(), 4);
    assert_eq!(about(&sources)["x.wav"].0, "wind");
    // One file in two classes is a recording in both, on one side; twice in one class it is one.
    link("cache/blobs/aa", "data/rain/other.wav");
    link("cache/blobs/aa", "data/dog/again.wav");
    link("store/001", "data/storm");
    let sources = open("data", root.path());
    assert_eq!(sources.recordings().len(), 7);
    let side = |name: &str, class: &str| {
        let is_it = |r: &Recording| r.class_name == class && r.path.as_ref().unwrap().ends_with(name);
        sources.split_of(sources.recordings().iter().position(is_it).unwrap())
    };
    assert_eq!(side("x.wav", "storm"), side("x.wav", "wind"));
    assert_eq!(side("a.wav", "dog"), side("other.wav", "rain"));
}

#[test]
fn folders_that_link_to_each_other_end() {
    let root = tempfile::tempdir().unwrap();
    let folders: Vec<_> = (0..8).map(|i| root.path().join(format!("c{i}"))).collect();
    for (i, folder) in folders.iter().enumerate() {
        touch(root.path(), &[&format!("c{i}/{i}.wav")]);
        for (j, other) in folders.iter().enumerate().filter(|(j, _)| *j != i) {
            symlink(other, folder.join(format!("to{j}"))).unwrap();
        }
    }
    let sources = open("", root.path());
    assert_eq!(sources.classes().len(), 8);
}

#[test]
fn what_is_not_read_is_counted_and_named() {
    let root = tempfile::tempdir().unwrap();
    touch(root.path(), &["dog/a.m4a", "dog/b.M4A", "dog/c.sph", "corpus.tar.gz", "readme.md"]);
    let error = open_with("", root.path(), &Reading::default()).unwrap_err();
    let said = error.to_string();
    assert_eq!(error.kind(), Kind::Missing);
    for part in ["2 .m4a files", "ffmpeg -i", "1 .sph file ", "1 .gz file ", "unpack"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(".md"));
}

/// Sets that were made before keep what they were drawn from: nothing here is grouped otherwise.
#[test]
fn names_that_were_known_before_keep_their_groups() {
    let root = tempfile::tempdir().unwrap();
    touch(
        root.path(),
        &["environment/rain/1-17367-A.ogg", "environment/rain/1-17367-B.ogg", "environment/dog/door-2.wav"],
    );
    touch(root.path(), &["speech/digits/7_jackson_32.wav", "speech/198-209-0000.wav", "music/song-A.ogg"]);
    let sources = open("", root.path());
    assert_eq!(sources.grouping(), 1);
    let groups: Vec<String> = about(&sources).into_values().map(|(_, group)| group).collect();
    assert_eq!(groups, ["1-17367", "1-17367", "198-209", "jackson", "door-2", "song-A"]);
}
