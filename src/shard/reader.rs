//! Reading sets: shards are mapped, clips are handed out without copying.

use super::labels::Columns;
use super::manifest::{FileRecord, check_file};
use super::{CHANNELS, Labels, MAX_LINE_BYTES, Manifest, SCENES_FILE};
use crate::error::{Context, Error, Result};
use crate::scene::Truth;
use crate::weights::{Dtype, Tensors};
use rayon::prelude::*;
use std::path::Path;

/// Largest ground truth file that is read.
const MAX_SCENES_BYTES: u64 = 8 << 30;

/// One or several sets with the same classes, opened for reading; scenes are numbered through.
pub struct ShardSet {
    shards: Vec<Shard>,
    manifests: Vec<Manifest>,
    /// First scene of each shard, and the number of scenes at the end.
    starts: Vec<usize>,
    /// Ground truth of all scenes, a line each.
    lines: Vec<Box<str>>,
}

struct Shard {
    tensors: Tensors,
    frames: usize,
    labels: Vec<Labels>,
    scale: Vec<f32>,
}

impl ShardSet {
    /// Opens the set in `folder` after checking sizes, headers, labels and the hash of every file.
    ///
    /// # Errors
    /// `Integrity` naming the shard that was cut off or changed, `Data` for one that contradicts the manifest.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_all(&[folder])
    }

    /// [`ShardSet::open`] for several folders, whose class lists must be equal.
    ///
    /// # Errors
    /// Those of [`ShardSet::open`]; `Usage` naming the folder whose classes differ.
    pub fn open_all(folders: &[&Path]) -> Result<Self> {
        let mut set = ShardSet { shards: vec![], manifests: vec![], starts: vec![0], lines: vec![] };
        for folder in folders {
            let manifest = Manifest::read(folder)?;
            if let Some(first) = set.manifests.first().filter(|m| m.spec.classes != manifest.spec.classes) {
                let (a, b) = (&first.spec.classes, &manifest.spec.classes);
                let message =
                    format!("{}: its classes {b:?} differ from those of the first set {a:?}", folder.display());
                return Err(Error::usage(message).hint("simulate both with the same class list"));
            }
            // The hash comes before the content is interpreted: damage is reported as damage.
            check_file(folder, &manifest.scenes_jsonl)?;
            let open = |record: &FileRecord| {
                check_file(folder, record)?;
                open_shard(folder, record, &manifest)
            };
            for shard in manifest.shards.par_iter().map(open).collect::<Result<Vec<Shard>>>()? {
                set.starts.push(set.starts[set.shards.len()] + shard.scale.len());
                set.shards.push(shard);
            }
            set.lines.extend(read_lines(folder, &manifest)?);
            set.manifests.push(manifest);
        }
        Ok(set)
    }

    /// Number of scenes.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no scene.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Class names; [`Labels::class`] indexes into them.
    pub fn classes(&self) -> &[String] {
        &self.manifests[0].spec.classes
    }

    /// Manifests of the folders, in the order they were given.
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// One hash that stands for the content of the set, for run folders and cards.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for manifest in &self.manifests {
            for record in manifest.shards.iter().chain([&manifest.scenes_jsonl]) {
                hasher.update(record.blake3.as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Samples per channel of scene `i`.
    pub fn frames(&self, i: usize) -> usize {
        self.locate(i).0.frames
    }

    /// The clip of scene `i`: [4, frames] channel-major AmbiX, to be multiplied by [`ShardSet::scale`].
    pub fn audio(&self, i: usize) -> &[i16] {
        let (shard, at) = self.locate(i);
        let audio = shard.tensors.borrowed("audio", Dtype::I16).expect("checked when it was opened");
        &audio[at * CHANNELS * shard.frames..(at + 1) * CHANNELS * shard.frames]
    }

    /// What one step of [`ShardSet::audio`] stands for.
    pub fn scale(&self, i: usize) -> f32 {
        let (shard, at) = self.locate(i);
        shard.scale[at]
    }

    /// Samples `begin..begin + n` of scene `i` as f32, channel-major, into `out` ([4, n]).
    #[track_caller]
    pub fn read_f32(&self, i: usize, begin: usize, out: &mut [f32]) {
        let (frames, n, scale) = (self.frames(i), out.len() / CHANNELS, self.scale(i));
        let audio = self.audio(i);
        for (channel, out) in out.chunks_exact_mut(n.max(1)).enumerate() {
            let from = &audio[channel * frames + begin..channel * frames + begin + n];
            for (o, &s) in out.iter_mut().zip(from) {
                *o = s as f32 * scale;
            }
        }
    }

    /// Labels of scene `i`.
    pub fn labels(&self, i: usize) -> &Labels {
        let (shard, at) = self.locate(i);
        &shard.labels[at]
    }

    /// The line of ground truth of scene `i` as it stands in `scenes.jsonl`.
    pub fn line(&self, i: usize) -> &str {
        &self.lines[i]
    }

    /// The ground truth of scene `i`.
    ///
    /// # Errors
    /// `Data` naming the line.
    pub fn truth(&self, i: usize) -> Result<Truth> {
        serde_json::from_str(&self.lines[i]).map_err(|e| Error::data(format!("{SCENES_FILE}: scene {i}: {e}")))
    }

    /// Asks the system to read the audio of scene `i` ahead of its use.
    pub fn prefetch(&self, i: usize) {
        let (shard, at) = self.locate(i);
        let clip_bytes = CHANNELS * shard.frames * size_of::<i16>();
        shard.tensors.prefetch("audio", at * clip_bytes..(at + 1) * clip_bytes);
    }

    #[track_caller]
    fn locate(&self, i: usize) -> (&Shard, usize) {
        assert!(i < self.len(), "scene {i} of {}", self.len());
        let shard = self.starts.partition_point(|&start| start <= i) - 1;
        (&self.shards[shard], i - self.starts[shard])
    }
}

fn open_shard(folder: &Path, record: &FileRecord, manifest: &Manifest) -> Result<Shard> {
    let path = folder.join(&record.file);
    let tensors = Tensors::open(&path)?;
    let (n, frames) = (record.scenes, manifest.spec.frames);
    for (name, shape) in [("audio", &[n, CHANNELS, frames][..]), ("scale", &[n])] {
        if tensors.shape(name)? != shape {
            let stored = tensors.shape(name)?;
            let message =
                format!("{}: tensor {name:?} has shape {stored:?}, the manifest says {shape:?}", path.display());
            return Err(Error::data(message));
        }
    }
    tensors.borrowed::<i16>("audio", Dtype::I16)?;
    let scale = tensors.f32("scale")?.into_owned();
    if let Some(i) = scale.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
        return Err(Error::data(format!("{}: scale of scene {i} is {}", path.display(), scale[i])));
    }
    let labels = Columns::read(&tensors, n, frames, manifest.spec.classes.len())?;
    Ok(Shard { tensors, frames, labels, scale })
}

fn read_lines(folder: &Path, manifest: &Manifest) -> Result<Vec<Box<str>>> {
    let path = folder.join(SCENES_FILE);
    let bytes = crate::files::read_limited(&path, MAX_SCENES_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|e| Error::data(format!("{e}"))).context_with(|| path.display())?;
    let lines: Vec<Box<str>> = text.lines().map(Box::from).collect();
    if lines.len() != manifest.spec.scenes {
        let (found, wanted) = (lines.len(), manifest.spec.scenes);
        return Err(Error::data(format!("{}: {found} lines, the manifest says {wanted} scenes", path.display())));
    }
    match lines.iter().position(|line| line.len() > MAX_LINE_BYTES) {
        Some(i) => Err(Error::data(format!("{} line {}: longer than {MAX_LINE_BYTES} bytes", path.display(), i + 1))),
        None => Ok(lines),
    }
}
