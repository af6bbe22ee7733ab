//! Writing a set so that it can be killed at any moment and continued to the same bytes.
//!
//! While a set is unfinished, `DIR/.parts` holds the plan (`plan.json`, the specification), and for each
//! finished shard its ground truth (`00000.jsonl`) and, written last, its record (`00000.json`): a shard
//! counts as done only when the record is there and the files match it. The manifest ends the set.

use super::labels::Columns;
use super::manifest::{FileRecord, MAX_MANIFEST_BYTES, check_file};
use super::{CHANNELS, Labels, MAX_LINE_BYTES, Manifest, PARTS_FOLDER, SCENES_FILE, ShardSpec, shard_file};
use crate::device::simd::{Isa, multiversion};
use crate::error::{Error, Kind, Result};
use crate::files::{FolderLock, read_limited, remove_temporaries, write_atomic, write_bytes_atomic};
use crate::weights::{Entry, Written, hash_file};
use rayon::prelude::*;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Largest record of a shard that is read back.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// One scene ready to be stored: audio as 16-bit numbers with a scale, labels, and its line of ground truth.
pub struct Sample {
    pub(super) audio: Vec<i16>,
    pub(super) scale: f32,
    pub(super) labels: Labels,
    line: String,
}

impl Sample {
    /// Quantises `audio` (channel-major, [4, frames]) relative to its peak and serialises `truth`.
    ///
    /// # Errors
    /// [`Kind::Data`] for a sample that is not finite, naming channel and frame.
    #[track_caller]
    pub fn new(audio: &[f32], labels: Labels, truth: &impl Serialize) -> Result<Self> {
        assert_eq!(audio.len() % CHANNELS, 0, "four channels of equal length are needed");
        let frames = audio.len() / CHANNELS;
        if let Some(i) = audio.iter().position(|v| !v.is_finite()) {
            let (channel, frame) = (i / frames, i % frames);
            return Err(Error::data(format!("rendered audio is {} in channel {channel}, frame {frame}", audio[i])));
        }
        let line = serde_json::to_string(truth).map_err(|e| Error::data(format!("ground truth: {e}")))?;
        assert!(line.len() <= MAX_LINE_BYTES && !line.contains('\n'), "ground truth is one line of bounded length");
        let peak = audio.iter().fold(0f32, |p, v| p.max(v.abs()));
        // A peak so small that its reciprocal overflows is silence.
        let scale = if peak > 1e-30 { peak / 32767.0 } else { 1.0 };
        let mut quantised = vec![0; audio.len()];
        quantise(Isa::current(), audio, 1.0 / scale, &mut quantised);
        Ok(Sample { audio: quantised, scale, labels, line })
    }
}

multiversion! {
    fn quantise(from: &[f32], steps_per_unit: f32, to: &mut [i16]) = quantise_body
}

/// Nearest whole steps, ties to even: next to this number floats are whole, so that adding it rounds. (The C library's
/// function for it, which compilers call on plain x86-64, takes one sample at a time.)
#[inline(always)]
fn quantise_body(from: &[f32], steps_per_unit: f32, to: &mut [i16]) {
    const WHOLE: f32 = 12_582_912.0;
    to.iter_mut().zip(from).for_each(|(to, x)| *to = ((x * steps_per_unit + WHOLE) - WHOLE) as i16);
}

/// Writes one set; shards may be written in any order and from several threads.
pub struct ShardWriter {
    folder: PathBuf,
    spec: ShardSpec,
    missing: Vec<usize>,
    complete: Option<Manifest>,
    _lock: Option<FolderLock>,
}

impl ShardWriter {
    /// Begins a set in `folder`, or continues the one there when it has the same specification. Leftovers of a killed
    /// run are removed, and all that a run with another specification has left, if it finished no shard.
    ///
    /// # Errors
    /// [`Kind::Usage`] when the folder holds a set made otherwise (every difference is named) or foreign shards;
    /// [`Kind::Integrity`] when a finished set is damaged; [`Kind::Io`] when another process writes there.
    pub fn open(folder: &Path, spec: ShardSpec) -> Result<Self> {
        assert!(spec.scenes_per_shard > 0 && spec.frames > 0, "a shard holds at least one scene of one frame");
        let parts = folder.join(PARTS_FOLDER);
        if folder.join(super::MANIFEST_FILE).exists() {
            let manifest = Manifest::read(folder)?;
            refuse_difference(folder, &manifest.spec, &spec)?;
            let files: Vec<_> = manifest.shards.iter().chain([&manifest.scenes_jsonl]).collect();
            files.par_iter().try_for_each(|record| check_file(folder, record))?;
            remove_parts(&parts)?;
            return Ok(ShardWriter {
                folder: folder.into(),
                spec,
                missing: vec![],
                complete: Some(manifest),
                _lock: None,
            });
        }
        let plan = parts.join("plan.json");
        if !plan.exists() && folder.join(shard_file(0)).exists() {
            let message = format!("{}: holds shards without a manifest or plan", folder.display());
            return Err(Error::usage(message).hint("they were not made by this command: choose another folder"));
        }
        std::fs::create_dir_all(&parts).map_err(|e| Error::io("create folder", &parts, &e))?;
        let lock = FolderLock::acquire(&parts, "lock")?;
        remove_temporaries(folder)?;
        remove_temporaries(&parts)?;
        let is_the_same = plan.exists() && is_continued(folder, &parts, &spec)?;
        if !is_the_same {
            let bytes = serde_json::to_vec_pretty(&spec).expect("a specification is plain data");
            write_bytes_atomic(&plan, &bytes)?;
        }
        let mut writer =
            ShardWriter { folder: folder.into(), spec, missing: vec![], complete: None, _lock: Some(lock) };
        let done: Vec<bool> = (0..writer.spec.shards()).into_par_iter().map(|i| writer.is_done(i)).collect();
        writer.missing = (0..done.len()).filter(|&i| !done[i]).collect();
        Ok(writer)
    }

    /// What is being written.
    pub fn spec(&self) -> &ShardSpec {
        &self.spec
    }

    /// Shards that are still to be written, in order; empty when the set was complete.
    pub fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// Stores the scenes of shard `index` ([`ShardSpec::range`]), in order. Thread-safe for different shards.
    /// On an error nothing of the shard remains and the set can be continued.
    ///
    /// # Errors
    /// `Io` naming the file.
    #[track_caller]
    pub fn write(&self, index: usize, samples: &[Sample]) -> Result<()> {
        let (n, frames) = (samples.len(), self.spec.frames);
        assert_eq!(n, self.spec.range(index).len(), "shard {index} has the wrong number of scenes");
        let mut columns = Columns::new(frames);
        let mut audio = Vec::with_capacity(n * CHANNELS * frames);
        let mut lines = String::new();
        for sample in samples {
            assert_eq!(sample.audio.len(), CHANNELS * frames, "a clip has the wrong length");
            if let Err(what) = sample.labels.check(frames, self.spec.classes.len()) {
                panic!("labels of a scene in shard {index}: {what}");
            }
            columns.push(&sample.labels);
            audio.extend_from_slice(&sample.audio);
            lines.push_str(&sample.line);
            lines.push('\n');
        }
        let scale: Vec<f32> = samples.iter().map(|s| s.scale).collect();
        write_bytes_atomic(&self.part(index, "jsonl"), lines.as_bytes())?;
        let (audio_shape, scale_shape) = ([n, CHANNELS, frames], [n]);
        let written = columns.with_entries(|entries| {
            let mut entries = entries.to_vec();
            entries.push(Entry::i16("audio", &audio_shape, &audio));
            entries.push(Entry::f32("scale", &scale_shape, &scale));
            let strings = [("convention", "ambix"), ("sample_rate", "16000")];
            crate::weights::write(&self.folder.join(shard_file(index)), &entries, &strings)
        })?;
        let lines_hash = blake3::hash(lines.as_bytes()).to_hex().to_string();
        let record = Record { shard: self.record(index, &written), lines_blake3: lines_hash };
        let record = serde_json::to_vec(&record).expect("a record is plain data");
        write_bytes_atomic(&self.part(index, "json"), &record)
    }

    /// Ends the set when every shard is there: joins the ground truth, writes the manifest, removes the bookkeeping.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a shard is missing.
    pub fn finish(self) -> Result<Manifest> {
        if let Some(manifest) = self.complete {
            return Ok(manifest);
        }
        let mut shards = Vec::new();
        for index in 0..self.spec.shards() {
            let Ok(record) = read_json::<Record>(&self.part(index, "json"), MAX_RECORD_BYTES) else {
                return Err(Error::new(Kind::Internal, format!("shard {index} was never written")));
            };
            shards.push(record.shard);
        }
        let path = self.folder.join(SCENES_FILE);
        let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
        write_atomic(&path, |out| {
            for index in 0..shards.len() {
                let lines = std::fs::read(self.part(index, "jsonl"))?;
                hasher.update(&lines);
                bytes += lines.len() as u64;
                out.write_all(&lines)?;
            }
            Ok(())
        })?;
        let blake3 = hasher.finalize().to_hex().to_string();
        let scenes = FileRecord { file: SCENES_FILE.into(), scenes: self.spec.scenes, bytes, blake3 };
        let manifest = Manifest::new(self.spec, scenes, shards);
        manifest.write(&self.folder)?;
        remove_parts(&self.folder.join(PARTS_FOLDER))?;
        Ok(manifest)
    }

    fn part(&self, index: usize, extension: &str) -> PathBuf {
        self.folder.join(PARTS_FOLDER).join(format!("{index:05}.{extension}"))
    }

    fn record(&self, index: usize, written: &Written) -> FileRecord {
        let (bytes, blake3) = (written.bytes, written.blake3.clone());
        FileRecord { file: shard_file(index), scenes: self.spec.range(index).len(), bytes, blake3 }
    }

    /// Whether shard `index` was finished by an earlier run and its files are what that run wrote.
    fn is_done(&self, index: usize) -> bool {
        let Ok(record) = read_json::<Record>(&self.part(index, "json"), MAX_RECORD_BYTES) else { return false };
        let shard = hash_file(&self.folder.join(shard_file(index)));
        let lines = hash_file(&self.part(index, "jsonl"));
        let ok = shard.is_ok_and(|w| self.record(index, &w) == record.shard)
            && lines.is_ok_and(|w| w.blake3 == record.lines_blake3);
        if !ok {
            tracing::warn!("{}: {} is damaged and will be made again", self.folder.display(), shard_file(index));
        }
        ok
    }
}

#[derive(Serialize, serde::Deserialize)]
struct Record {
    shard: FileRecord,
    lines_blake3: String,
}

/// Whether the unfinished set in `folder` is the one of `spec`. Another one is refused when it has a finished shard, and
/// removed when it has none.
fn is_continued(folder: &Path, parts: &Path, spec: &ShardSpec) -> Result<bool> {
    let stored = read_json::<ShardSpec>(&parts.join("plan.json"), MAX_MANIFEST_BYTES);
    let Err(error) = stored.and_then(|stored| refuse_difference(folder, &stored, spec)) else { return Ok(true) };
    if names(parts).iter().any(|name| is_numbered(name, "", ".json")) {
        return Err(error);
    }
    tracing::warn!("{}: an earlier run with other settings finished no shard there: begun anew", folder.display());
    let wav = folder.join("wav");
    for (place, prefix, suffix) in
        [(parts, "", ".jsonl"), (folder, "shard-", ".safetensors"), (wav.as_path(), "scene-", ".wav")]
    {
        for name in names(place).iter().filter(|name| is_numbered(name, prefix, suffix)) {
            let path = place.join(name);
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
    }
    Ok(false)
}

/// Names of what lies in a folder; none when there is none.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn is_numbered(name: &str, prefix: &str, suffix: &str) -> bool {
    let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
    number.is_some_and(|n| n.len() >= 5 && n.bytes().all(|b| b.is_ascii_digit()))
}

fn refuse_difference(folder: &Path, stored: &ShardSpec, asked: &ShardSpec) -> Result<()> {
    let differences = stored.differences(asked);
    if differences.is_empty() {
        return Ok(());
    }
    let list = differences.join("; ");
    let why = match () {
        _ if stored.grouping != asked.grouping => {
            "recordings are grouped by other rules now (speakers, pieces and takes stay together), and scenes are drawn \
             by group: "
        }
        _ if !stored.unreadable.is_empty() && asked.unreadable.is_empty() => {
            "it was made with --skip-unreadable beside recordings that could not be read: with them and that flag it is \
             continued; else "
        }
        _ if is_split_otherwise(stored, asked) => {
            "its recordings are the same, in other splits (one speaker or recording is on one side now): give its \
             splits.json as --splits, or "
        }
        _ => "",
    };
    Err(Error::usage(format!("{}: holds a set made otherwise ({list})", folder.display()))
        .hint(format!("{why}choose another --out folder, or remove this one")))
}

/// Whether two sets differ in the recordings of their split, but not in all recordings.
fn is_split_otherwise(stored: &ShardSpec, asked: &ShardSpec) -> bool {
    let all = |spec: &ShardSpec| spec.sources.split_once('/').map(|(all, _)| all.to_string());
    stored.sources != asked.sources && stored.split == asked.split && all(stored) == all(asked)
}

fn remove_parts(parts: &Path) -> Result<()> {
    match std::fs::remove_dir_all(parts) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", parts, &e)),
        _ => Ok(()),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, limit: u64) -> Result<T> {
    let bytes = read_limited(path, limit)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::data(format!("{}: {e}", path.display())))
}
