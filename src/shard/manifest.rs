//! `manifest.json`: what a set was made from and what its files must be.

use super::{CHANNELS, MANIFEST_FILE, SCENES_FILE, shard_file};
use crate::audio::SAMPLE_RATE;
use crate::error::{Error, Result};
use crate::weights::hash_file;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// Format name in a manifest.
const FORMAT: &str = "twnm-shards";
/// Format version in a manifest.
const VERSION: u32 = 1;
/// Largest manifest that is read: 100,000 shards fit.
pub(super) const MAX_MANIFEST_BYTES: u64 = 64 << 20;
/// Aimed size of one shard.
const SHARD_BYTES: usize = 64 << 20;

/// What a set is made from. Two sets with equal specifications have equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardSpec {
    /// Version of this program: another one may render other bytes.
    pub program: String,
    /// Number of scenes.
    pub scenes: usize,
    /// Scenes in each shard but the last.
    pub scenes_per_shard: usize,
    /// Samples per channel of every clip.
    pub frames: usize,
    /// Seed of the scenes.
    pub seed: u64,
    /// Which recordings were used: `all`, `train`, `dev` or `test`.
    pub split: String,
    /// Fingerprint of the recordings ([`blake3`]).
    pub sources: String,
    /// How recordings are grouped ([`Sources::grouping`](crate::sources::Sources::grouping)); 1 is not written.
    #[serde(default = "first_grouping", skip_serializing_if = "is_first_grouping")]
    pub grouping: u32,
    /// Ids of the recordings that could not be read and were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    /// Class names; labels index into them.
    pub classes: Vec<String>,
    /// The resolved recipe.
    pub config: Value,
}

fn first_grouping() -> u32 {
    1
}

fn is_first_grouping(grouping: &u32) -> bool {
    *grouping == 1
}

impl ShardSpec {
    /// A specification with shards of about 64 MiB; `config` is the resolved recipe.
    ///
    /// # Errors
    /// `Usage` when the recipe cannot be stored as JSON.
    pub fn new(scenes: usize, frames: usize, seed: u64, classes: &[String], config: &impl Serialize) -> Result<Self> {
        let config = serde_json::to_value(config).map_err(|e| Error::usage(format!("recipe cannot be stored: {e}")))?;
        let clip_bytes = (frames * CHANNELS * size_of::<i16>()).max(1);
        Ok(ShardSpec {
            program: env!("CARGO_PKG_VERSION").into(),
            scenes,
            scenes_per_shard: (SHARD_BYTES / clip_bytes).clamp(1, scenes.max(1)),
            frames,
            seed,
            split: "all".into(),
            sources: String::new(),
            grouping: 1,
            unreadable: vec![],
            classes: classes.to_vec(),
            config,
        })
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.scenes.div_ceil(self.scenes_per_shard)
    }

    /// The scenes of shard `index`.
    pub fn range(&self, index: usize) -> std::ops::Range<usize> {
        let begin = (index * self.scenes_per_shard).min(self.scenes);
        begin..(begin + self.scenes_per_shard).min(self.scenes)
    }

    /// Fields in which `self` (stored) and `asked` differ, one sentence each, down to the key of the recipe.
    pub fn differences(&self, asked: &ShardSpec) -> Vec<String> {
        let value = |spec| serde_json::to_value(spec).expect("a specification is plain data");
        let mut out = Vec::new();
        differences("", &value(self), &value(asked), &mut out);
        out
    }
}

fn differences(path: &str, stored: &Value, asked: &Value, out: &mut Vec<String>) {
    if let (Value::Object(a), Value::Object(b)) = (stored, asked) {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            differences(&path, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), out);
        }
    } else if stored != asked {
        let short = |v: &Value| v.to_string().chars().take(80).collect::<String>();
        out.push(format!("{path}: {} there, {} asked for", short(stored), short(asked)));
    }
}

/// Size and hash of one file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// File name in the set's folder.
    pub file: String,
    /// Scenes in it.
    pub scenes: usize,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 in hexadecimal.
    pub blake3: String,
}

/// The whole manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u32,
    sample_rate: u32,
    channels: usize,
    convention: String,
    /// What the set was made from.
    #[serde(flatten)]
    pub spec: ShardSpec,
    /// The ground truth file.
    pub scenes_jsonl: FileRecord,
    /// The shards in order.
    pub shards: Vec<FileRecord>,
}

impl Manifest {
    /// A manifest of a finished set.
    pub fn new(spec: ShardSpec, scenes_jsonl: FileRecord, shards: Vec<FileRecord>) -> Self {
        Manifest {
            format: FORMAT.into(),
            version: VERSION,
            sample_rate: SAMPLE_RATE,
            channels: CHANNELS,
            convention: "ambix".into(),
            spec,
            scenes_jsonl,
            shards,
        }
    }

    /// Reads and checks `DIR/manifest.json`.
    ///
    /// # Errors
    /// `Missing` without one, `Data` when it contradicts itself.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST_FILE);
        if !path.exists() {
            let unfinished = folder.join(super::PARTS_FOLDER).exists();
            let error = Error::missing(format!("{}: no {MANIFEST_FILE}: not a set of shards", folder.display()));
            return Err(error.hint(match unfinished {
                true => "its simulation was interrupted: run the same command again to finish it",
                false => "make one with `twnm simulate --out DIR --scenes N --seed S`",
            }));
        }
        let bytes = crate::files::read_limited(&path, MAX_MANIFEST_BYTES)?;
        let bad = |what: String| Error::data(format!("{}: {what}", path.display()));
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let fixed = (self.format.as_str(), self.version, self.sample_rate, self.channels, self.convention.as_str());
        if fixed != (FORMAT, VERSION, SAMPLE_RATE, CHANNELS, "ambix") {
            return Err(format!("{fixed:?} is not ({FORMAT:?}, {VERSION}, {SAMPLE_RATE}, {CHANNELS}, \"ambix\")"));
        }
        let spec = &self.spec;
        if spec.scenes_per_shard == 0 || spec.frames == 0 || spec.frames > 1 << 40 || spec.scenes > 1 << 40 {
            return Err("scenes, scenes_per_shard or frames are out of range".into());
        }
        if self.shards.len() != spec.shards() {
            let (n, listed) = (spec.shards(), self.shards.len());
            return Err(format!("{} scenes need {n} shards, {listed} are listed", spec.scenes));
        }
        for (i, shard) in self.shards.iter().enumerate() {
            if shard.file != shard_file(i) || shard.scenes != spec.range(i).len() {
                return Err(format!("shard {i} is listed as {:?} with {} scenes", shard.file, shard.scenes));
            }
        }
        if self.scenes_jsonl.file != SCENES_FILE || self.scenes_jsonl.scenes != spec.scenes {
            return Err(format!("{SCENES_FILE} is listed as {:?}", self.scenes_jsonl.file));
        }
        Ok(())
    }

    /// Writes `DIR/manifest.json` atomically.
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        bytes.push(b'\n');
        crate::files::write_bytes_atomic(&folder.join(MANIFEST_FILE), &bytes)
    }
}

/// Checks the size (before a file is mapped, so that a cut-off one never raises SIGBUS) and the hash.
pub(super) fn check_file(folder: &Path, record: &FileRecord) -> Result<()> {
    let path = folder.join(&record.file);
    let stored = std::fs::metadata(&path).map_err(|e| Error::io("open", &path, &e))?.len();
    let hint = "the file was damaged or changed: copy the set again, or remove its folder and simulate it again";
    if stored != record.bytes {
        let message = format!("{}: has {stored} bytes, the manifest says {}", path.display(), record.bytes);
        return Err(Error::integrity(message).hint(hint));
    }
    if hash_file(&path)?.blake3 != record.blake3 {
        let message = format!("{}: its content does not match the BLAKE3 in the manifest", path.display());
        return Err(Error::integrity(message).hint(hint));
    }
    Ok(())
}
