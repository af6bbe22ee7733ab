//! Dry recordings to simulate from: folders of files or the built-in procedural bank, with classes and splits.
//!
//! A [`Recording`] is known by its id, never by its place in a list or on a disk, so that data made from it can
//! be made again elsewhere. Splits are by groups (one Freesound clip, one speaker and chapter, one track), so
//! that nothing heard in training is met again in a test.

mod arrangement;
mod bank;
mod classes;
mod described;
mod file_names;
mod folders;
mod groups;
mod listing;
mod notes;
mod said;
mod schemes;
mod splits;
mod tables;
pub(crate) mod usable;

pub(crate) use self::folders::digest;

use crate::audio::{SAMPLE_RATE, decode, resample};
use crate::error::{Context, Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Where a sound comes from; the paper mixes environment, speech and music 5:3:2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// Everything that is neither speech nor music.
    Environment,
    /// People speaking.
    Speech,
    /// Music.
    Music,
}

impl Domain {
    /// All domains, in the order of the mixing ratio.
    pub const ALL: [Domain; 3] = [Domain::Environment, Domain::Speech, Domain::Music];

    /// `environment`, `speech` or `music`.
    pub fn name(self) -> &'static str {
        match self {
            Domain::Environment => "environment",
            Domain::Speech => "speech",
            Domain::Music => "music",
        }
    }

    /// The domain of this name, in any case.
    pub fn from_name(name: &str) -> Option<Domain> {
        Domain::ALL.into_iter().find(|d| d.name().eq_ignore_ascii_case(name))
    }
}

/// A part of the recordings; `All` is every recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Every recording, whatever its split.
    All,
    /// What every training stage uses.
    Train,
    /// What choices between checkpoints use.
    Dev,
    /// What every reported number uses.
    Test,
}

/// One dry recording and what is known about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// Unique and independent of where the files lie: `domain/class/file-stem`.
    pub id: String,
    /// The file; `None` for the procedural bank.
    pub path: Option<PathBuf>,
    /// Domain, from the prefix, the path or the default.
    pub domain: Domain,
    /// Index into [`Sources::classes`]; `None` when the recording maps to none: its class term is masked.
    pub class: Option<usize>,
    /// Label as the folder says it (`speech` and `music` for those domains), also when `class` is `None`.
    pub class_name: String,
    /// Recordings of one group stay in one split.
    pub group: String,
    /// What is said, for speech, when known.
    pub transcript: Option<String>,
    /// A sentence about the sound, when known.
    pub caption: Option<String>,
    /// What others say about the same sound: further sentences.
    #[serde(default)]
    pub other_captions: Vec<String>,
    /// Single words or names for what is heard.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// The licence as the files beside the recording state it.
    pub licence: Option<String>,
}

impl Recording {
    /// What the split rule hashes: `domain/class/group`.
    pub fn group_key(&self) -> String {
        format!("{}/{}/{}", self.domain.name(), self.class_name, self.group)
    }
}

/// A folder given on the command line, with the domain when it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDir {
    /// The prefix of `DOMAIN=DIR`; `None` lets the path decide.
    pub domain: Option<Domain>,
    /// The folder.
    pub path: PathBuf,
}

impl std::str::FromStr for SourceDir {
    type Err = Error;
    /// `[environment|speech|music=]DIR`. A usage error when nothing is left for the folder, or when the
    /// prefix is no domain and no such folder exists.
    fn from_str(text: &str) -> Result<SourceDir> {
        let plain = |path: &str| SourceDir { domain: None, path: PathBuf::from(path) };
        if text.is_empty() {
            return Err(Error::usage("--sources needs a folder: [environment|speech|music=]DIR"));
        }
        let Some((prefix, rest)) = text.split_once('=') else { return Ok(plain(text)) };
        match Domain::from_name(prefix) {
            Some(_) if rest.is_empty() => Err(Error::usage(format!("--sources {text}: no folder after `=`"))),
            Some(domain) => Ok(SourceDir { domain: Some(domain), path: PathBuf::from(rest) }),
            None if Path::new(text).exists() => Ok(plain(text)),
            None => {
                Err(Error::usage(format!("--sources {text}: `{prefix}` is not a domain (environment, speech, music)")))
            }
        }
    }
}

/// How folders of recordings are read, beyond where they lie. The default knows groups and classes by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    /// The class list (at most 64, for example a checkpoint's).
    pub classes: Option<&'a [String]>,
    /// A table (CSV or TSV) with a column `path`, of a file or folder, and a column `group`.
    pub groups: Option<&'a Path>,
    /// A regular expression that is searched for in the path of a recording below its folder of sources; what its
    /// parentheses match, joined by `/`, is the group.
    pub group_pattern: Option<&'a str>,
    /// Take every folder name as a class, also `fold1`, `train` or `audio`, and no table's word.
    pub folder_classes: bool,
}

/// Where the samples of a recording come from.
#[derive(Debug)]
enum Origin {
    Folders,
    Bank(bank::Bank),
}

/// Decoded audio is kept up to this many bytes; beyond it recordings are decoded each time they are used.
const CACHE_BYTES: u64 = 1_500_000_000;
/// What counts as silence at the ends of a recording, relative to its loudest 10 ms.
const SILENCE_DB: f32 = -50.0;

/// A set of dry recordings with classes, splits and cached audio; shared freely between threads.
#[derive(Debug)]
pub struct Sources {
    classes: Vec<String>,
    recordings: Vec<Recording>,
    /// Per recording, what stays together in a split: its group, over all classes that share it.
    units: Vec<usize>,
    splits: Vec<Split>,
    /// Recordings that cannot be used, and are in no split.
    left_out: BTreeSet<usize>,
    origin: Origin,
    cache: Vec<OnceLock<Arc<[f32]>>>,
    hashes: Vec<OnceLock<String>>,
    cached_bytes: AtomicU64,
}

impl Sources {
    /// Lists the recordings (wav, ogg, flac, mp3) below `dirs` without decoding them, in the order of their ids.
    /// `classes` fixes the class list (at most 64, for example a checkpoint's); without it the class folders of the
    /// environment domain, then `speech` and `music`, make the list.
    ///
    /// # Errors
    /// `Missing` for a folder that is not there or holds no recording; `Usage` for a class list that cannot be used.
    pub fn open(dirs: &[SourceDir], classes: Option<&[String]>) -> Result<Sources> {
        Sources::open_with(dirs, &Reading { classes, ..Reading::default() })
    }

    /// [`Sources::open`] with more to say. Groups are what the user says, else what the names of public corpora tell, or
    /// their tables; what is not known is warned of.
    ///
    /// # Errors
    /// As [`Sources::open`]; `Usage` or `Data` for groups that cannot be used or meet no recording.
    pub fn open_with(dirs: &[SourceDir], reading: &Reading) -> Result<Sources> {
        let listed = folders::scan(dirs, reading)?;
        let ties = groups::ties(&listed);
        groups::warn(&listed);
        let mut recordings: Vec<Recording> = listed.into_iter().map(|l| l.recording).collect();
        let classes = classes::assign(&mut recordings, reading.classes)?;
        let units = splits::units(&recordings, ties.into_iter());
        Ok(Sources::new(classes, recordings, units, Origin::Folders))
    }

    /// The built-in bank: synthetic recordings of 14 classes over the three domains, made from `seed` when
    /// they are first used. No download, no files.
    pub fn procedural(seed: u64) -> Sources {
        let bank = bank::Bank::new(seed);
        let recordings = bank.recordings();
        let units = splits::units(&recordings, std::iter::empty());
        Sources::new(bank.classes(), recordings, units, Origin::Bank(bank))
    }

    fn new(classes: Vec<String>, recordings: Vec<Recording>, units: Vec<usize>, origin: Origin) -> Sources {
        let splits = splits::by_rule(&recordings, &units);
        let cache = recordings.iter().map(|_| OnceLock::new()).collect();
        let hashes = recordings.iter().map(|_| OnceLock::new()).collect();
        let (left_out, cached_bytes) = (BTreeSet::new(), AtomicU64::new(0));
        Sources { classes, recordings, units, splits, left_out, origin, cache, hashes, cached_bytes }
    }

    /// Names of the classes; [`Recording::class`] is an index into this list.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// All recordings, ordered by id.
    pub fn recordings(&self) -> &[Recording] {
        &self.recordings
    }

    /// The split of recording `i`: train, dev or test.
    #[track_caller]
    pub fn split_of(&self, i: usize) -> Split {
        self.splits[i]
    }

    /// Indices of the recordings in `split`, ascending, without those that were left out.
    pub fn in_split(&self, split: Split) -> Vec<usize> {
        let is_in = |i: &usize| (split == Split::All || self.splits[*i] == split) && !self.left_out.contains(i);
        (0..self.splits.len()).filter(is_in).collect()
    }

    /// Takes the splits of a `splits.json` written by [`Sources::write_splits`]. Groups that the file does not know
    /// become training material, with a warning.
    ///
    /// # Errors
    /// `Missing` without the file; `Data` for one that holds no splits.
    pub fn use_splits(&mut self, path: &Path) -> Result<()> {
        self.splits = splits::from_file(path, &self.recordings, &self.units)?;
        Ok(())
    }

    /// Writes the split of every group, atomically, in the order of their keys.
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn write_splits(&self, path: &Path) -> Result<()> {
        splits::write(path, &self.recordings, &self.units, &self.splits)
    }

    /// The samples of recording `i`: mono, 16 kHz, leading and trailing silence (50 dB below its loudest part) cut off;
    /// never empty.
    ///
    /// # Errors
    /// `Data` naming a file that cannot be decoded or holds only silence.
    #[track_caller]
    pub fn audio(&self, i: usize) -> Result<Arc<[f32]>> {
        if let Some(audio) = self.cache[i].get() {
            return Ok(audio.clone());
        }
        let audio = self.load(i)?;
        let bytes = 4 * audio.len() as u64;
        // Two threads may decode the same recording at once; both get the same samples.
        if self.cached_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= CACHE_BYTES {
            return Ok(self.cache[i].get_or_init(|| audio).clone());
        }
        self.cached_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Ok(audio)
    }

    /// BLAKE3 (hexadecimal) of the samples that [`Sources::audio`] gives for recording `i`.
    ///
    /// # Errors
    /// As [`Sources::audio`].
    #[track_caller]
    pub fn audio_hash(&self, i: usize) -> Result<String> {
        if let Some(hash) = self.hashes[i].get() {
            return Ok(hash.clone());
        }
        let hash = blake3::hash(bytemuck::cast_slice(&self.audio(i)?)).to_hex().to_string();
        Ok(self.hashes[i].get_or_init(|| hash).clone())
    }

    /// Decodes all recordings of `split` in parallel, so that later use is free and a bad file is found now. Stops
    /// filling the cache when it is full.
    ///
    /// # Errors
    /// That of [`Sources::audio`] for the first bad recording in order.
    pub fn preload(&self, split: Split) -> Result<()> {
        let wanted = self.in_split(split);
        let failed = wanted.par_iter().find_map_first(|&i| {
            let full = self.cached_bytes.load(Ordering::Relaxed) > CACHE_BYTES;
            if full { None } else { self.audio(i).err() }
        });
        failed.map_or(Ok(()), Err)
    }

    /// BLAKE3 (hexadecimal) over the class list, ids, classes and contents of the recordings, whatever folder
    /// they lie in. Of a file its length and its first and last 64 KiB count; above 20,000 files the length only. Groups
    /// count where they are not those of [`Sources::grouping`] 1, for scenes draw a group before a recording.
    pub fn fingerprint(&self) -> String {
        let mut hash = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        self.classes.iter().for_each(|class| field(class.as_bytes()));
        if let Origin::Bank(bank) = &self.origin {
            field(bank.version().as_bytes());
        }
        let (sizes_only, grouping) = (self.recordings.len() > 20_000, self.grouping());
        for recording in &self.recordings {
            field(recording.id.as_bytes());
            field(&recording.class.map_or(u64::MAX, |c| c as u64).to_le_bytes());
            if grouping > 1 {
                field(recording.group.as_bytes());
            }
            if let Some(path) = &recording.path {
                // An unreadable file has its own mark; using it reports the error.
                field(&folders::digest(path, sizes_only).unwrap_or_else(|_| b"unreadable".to_vec()));
            }
        }
        hash.finalize().to_hex().to_string()
    }

    fn load(&self, i: usize) -> Result<Arc<[f32]>> {
        let recording = &self.recordings[i];
        let samples = match (&self.origin, &recording.path) {
            (Origin::Bank(bank), _) => bank.generate(i),
            (Origin::Folders, Some(path)) => {
                let mono = decode::read(path)?.into_mono();
                resample::resample(&mono, SAMPLE_RATE).context_with(|| path.display())?.samples
            }
            (Origin::Folders, None) => unreachable!("folder recordings have a path"),
        };
        let sound = trim_silence(&samples);
        if sound.is_empty() {
            let place = recording.path.as_ref().map_or(recording.id.clone(), |p| p.display().to_string());
            return Err(Error::data(format!("{place}: the recording is silent"))
                .hint("remove the file from the sources or replace it"));
        }
        Ok(Arc::from(sound))
    }
}

/// The part between the first and the last 10 ms whose RMS is within [`SILENCE_DB`] of the loudest 10 ms.
fn trim_silence(samples: &[f32]) -> &[f32] {
    const WINDOW: usize = SAMPLE_RATE as usize / 100;
    let energy = |w: &[f32]| w.iter().map(|x| x * x).sum::<f32>() / w.len() as f32;
    let loudest = samples.chunks(WINDOW).map(energy).fold(0.0f32, f32::max);
    if loudest < 1e-12 {
        return &[];
    }
    let loud = |w: &[f32]| energy(w) >= loudest * 10f32.powf(SILENCE_DB / 10.0);
    let first = samples.chunks(WINDOW).position(loud).expect("the loudest part is loud");
    let last = samples.chunks(WINDOW).rposition(loud).expect("the loudest part is loud");
    &samples[first * WINDOW..samples.len().min((last + 1) * WINDOW)]
}

#[cfg(test)]
mod corpora;
#[cfg(test)]
mod tests;
