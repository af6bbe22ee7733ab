//! Tokens of a whole set of shards on disk: a frozen encoder hears every scene once, not once per epoch.
//!
//! Beside the shards, in `semantic-<first 12 digits of the encoder's hash>-<f16 or bf16>`: for every shard a safetensors
//! file of its name with `tokens` [scenes, tokens, width], and `manifest.json` with the hash of the encoder and, for every
//! file, its own hash and that of the shard it was made from. A set that was made from other shards or by another encoder
//! is refused. Files are mapped; a token is read where it lies.
//!
//! Writing can be killed at any moment and continued: a file counts as done when its record (`00000.json`, written after
//! it) is there and matches. The manifest ends the set and the records go.

use super::SemanticEncoder;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{FolderLock, read_limited, remove_temporaries, write_bytes_atomic};
use crate::shard::{FileRecord, MANIFEST_FILE, Manifest, ShardSet, shard_file};
use crate::tensor::{DType, Tensor};
use crate::weights::{Dtype, Entry, Tensors, hash_file, write};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const FORMAT: &str = "twnm-semantic";
const VERSION: u32 = 1;
const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// How tokens are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// IEEE half precision: 11 bits of mantissa, up to 65504.
    F16,
    /// The upper half of an f32: 8 bits of mantissa.
    Bf16,
}

impl Storage {
    fn name(self) -> &'static str {
        match self {
            Storage::F16 => "f16",
            Storage::Bf16 => "bf16",
        }
    }
    fn dtype(self) -> Dtype {
        match self {
            Storage::F16 => Dtype::F16,
            Storage::Bf16 => Dtype::BF16,
        }
    }
    /// The numbers as they are stored, unless one is too large.
    fn bytes(self, values: &[f32]) -> Option<Vec<u8>> {
        let bits = |v: f32| match self {
            Storage::F16 => Some(half::f16::from_f32(v)).filter(|h| h.is_finite()).map(half::f16::to_bits),
            Storage::Bf16 => Some(half::bf16::from_f32(v)).filter(|h| h.is_finite()).map(half::bf16::to_bits),
        };
        let all: Option<Vec<u16>> = values.iter().map(|&v| bits(v)).collect();
        Some(all?.into_iter().flat_map(u16::to_le_bytes).collect())
    }
}

/// One file of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    tokens: FileRecord,
    /// BLAKE3 of the shard it was made from.
    shard: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: String,
    version: u32,
    /// Hash of the encoder.
    encoder: String,
    storage: Storage,
    tokens: usize,
    width: usize,
    files: Vec<Record>,
}

/// The tokens of every scene of a set.
pub struct SemanticSet {
    files: Vec<Tensors>,
    /// First scene of each file, and the number of scenes at the end.
    starts: Vec<usize>,
    tokens: usize,
    width: usize,
}

impl SemanticEncoder {
    /// A hash of the sizes and of every number, as stored: what a set of tokens belongs to.
    pub fn fingerprint(&self) -> String {
        let params = self.params.to(crate::device::Device::Host);
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?}", self.config).as_bytes());
        for id in params.ids() {
            let (info, tensor) = (params.info(id), params.tensor(id));
            hasher.update(format!("\0{} {:?} {:?}\0", info.name, tensor.dtype(), info.shape).as_bytes());
            match tensor.dtype() {
                DType::Bf16 => hasher.update(bytemuck::cast_slice(tensor.values::<half::bf16>())),
                _ => hasher.update(bytemuck::cast_slice(tensor.data())),
            };
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The folder of the tokens that `encoder` makes of the shards in `folder`.
fn folder_of(folder: &Path, fingerprint: &str, storage: Storage) -> PathBuf {
    folder.join(format!("semantic-{}-{}", &fingerprint[..12], storage.name()))
}

impl SemanticSet {
    /// Opens the tokens that `encoder` made of the shards in `folder`, after checking them against both.
    ///
    /// # Errors
    /// `Missing` when there are none; `Integrity` when the shards, the encoder or a file changed; `Data` for files that
    /// contradict the manifest.
    pub fn open(folder: &Path, encoder: &SemanticEncoder, storage: Storage) -> Result<SemanticSet> {
        let fingerprint = encoder.fingerprint();
        let place = folder_of(folder, &fingerprint, storage);
        open(&place, &Manifest::read(folder)?, encoder, &fingerprint, storage)
    }

    /// Opens the tokens like [`SemanticSet::open`], making first what is missing of them. `progress` is told after each
    /// shard how many of how many scenes are done, and may stop the work, which can be continued.
    ///
    /// # Errors
    /// Those of [`SemanticSet::open`] but `Missing`; `Data` when a scene has too few samples or a number is too large for
    /// f16; `Io`; `Stopped` when `progress` said so.
    pub fn prepare(
        folder: &Path,
        encoder: &SemanticEncoder,
        storage: Storage,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<SemanticSet> {
        let (fingerprint, manifest) = (encoder.fingerprint(), Manifest::read(folder)?);
        let place = folder_of(folder, &fingerprint, storage);
        if place.join(MANIFEST_FILE).exists() {
            return open(&place, &manifest, encoder, &fingerprint, storage);
        }
        let set = ShardSet::open(folder)?;
        std::fs::create_dir_all(&place).map_err(|e| Error::io("create folder", &place, &e))?;
        let _lock = FolderLock::acquire(&place, "lock")?;
        remove_temporaries(&place)?;
        let (mut files, mut tokens) = (Vec::new(), 0);
        for (index, shard) in manifest.shards.iter().enumerate() {
            let record = place.join(format!("{index:05}.json"));
            let made = match done(&place, &record, &shard.blake3) {
                Some(made) => made,
                None => {
                    let made = write_shard(&place, index, shard, (&set, &manifest), encoder, storage)?;
                    let bytes = serde_json::to_vec(&made).expect("a record is plain data");
                    write_bytes_atomic(&record, &bytes)?;
                    made
                }
            };
            tokens = Tensors::open(&place.join(&made.tokens.file))?.shape("tokens")?[1];
            files.push(made);
            let scenes = manifest.spec.range(index).end;
            if progress(scenes, manifest.spec.scenes).is_break() && index + 1 < manifest.shards.len() {
                let message = format!("{}: stopped after {scenes} scenes", place.display());
                return Err(Error::new(Kind::Stopped, message).hint("the same command continues it"));
            }
        }
        let (encoder_hash, width) = (fingerprint.clone(), encoder.token_width());
        let stored =
            Stored { format: FORMAT.into(), version: VERSION, encoder: encoder_hash, storage, tokens, width, files };
        let mut bytes = serde_json::to_vec_pretty(&stored).expect("a manifest is plain data");
        bytes.push(b'\n');
        write_bytes_atomic(&place.join(MANIFEST_FILE), &bytes)?;
        for index in 0..stored.files.len() {
            std::fs::remove_file(place.join(format!("{index:05}.json"))).ok();
        }
        open(&place, &manifest, encoder, &fingerprint, storage)
    }

    /// Number of scenes.
    pub fn len(&self) -> usize {
        self.starts[self.files.len()]
    }

    /// Whether there is no scene.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tokens of scene `i` as f32: [tokens, width].
    ///
    /// # Errors
    /// `Data` naming file and scene when a number is not finite.
    #[track_caller]
    pub fn tokens(&self, i: usize) -> Result<Tensor> {
        assert!(i < self.len(), "scene {i} of {}", self.len());
        let file = self.starts.partition_point(|&start| start <= i) - 1;
        let (tensors, at) = (&self.files[file], i - self.starts[file]);
        let n = self.tokens * self.width;
        let bytes = &tensors.bytes("tokens")?[2 * at * n..2 * (at + 1) * n];
        let bits = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        let values: Vec<f32> = match tensors.dtype("tokens")? {
            Dtype::F16 => bits.map(|b| half::f16::from_bits(b).to_f32()).collect(),
            _ => bits.map(|b| half::bf16::from_bits(b).to_f32()).collect(),
        };
        if !values.iter().all(|v| v.is_finite()) {
            let path = tensors.path().display();
            return Err(Error::data(format!("{path}: scene {at} holds a number that is not finite")));
        }
        Ok(Tensor::from_slice(&[self.tokens, self.width], &values))
    }
}

/// The record of a file that an earlier run finished, when it is whole and of this shard.
fn done(place: &Path, record: &Path, shard: &str) -> Option<Record> {
    let bytes = read_limited(record, 1 << 16).ok()?;
    let record: Record = serde_json::from_slice(&bytes).ok()?;
    let is_whole = hash_file(&place.join(&record.tokens.file)).is_ok_and(|w| w.blake3 == record.tokens.blake3);
    (is_whole && record.shard == shard).then_some(record)
}

fn write_shard(
    place: &Path,
    index: usize,
    shard: &FileRecord,
    (set, manifest): (&ShardSet, &Manifest),
    encoder: &SemanticEncoder,
    storage: Storage,
) -> Result<Record> {
    let scene = |i: usize| {
        // The first channel is W.
        let w: Vec<f32> = set.audio(i)[..set.frames(i)].iter().map(|&v| f32::from(v) * set.scale(i)).collect();
        let tokens = encoder.encode(&w)?;
        let bytes = storage.bytes(tokens.data()).ok_or_else(|| {
            Error::data("a token has a number that this storage cannot hold").hint("store the tokens as bf16")
        })?;
        Ok((tokens.shape()[0], bytes))
    };
    let scenes: Vec<(usize, Vec<u8>)> = manifest
        .spec
        .range(index)
        .into_par_iter()
        .map(|i| scene(i).context_with(|| format!("scene {i}")))
        .collect::<Result<_>>()?;
    let tokens = scenes.first().map_or(0, |(tokens, _)| *tokens);
    let bytes: Vec<u8> = scenes.iter().flat_map(|(_, bytes)| bytes).copied().collect();
    let shape = [scenes.len(), tokens, encoder.token_width()];
    let file = shard_file(index);
    let entries = [Entry::new("tokens", storage.dtype(), &shape, &bytes)];
    let written = write(&place.join(&file), &entries, &[("format", FORMAT)])?;
    let tokens = FileRecord { file, scenes: scenes.len(), bytes: written.bytes, blake3: written.blake3 };
    Ok(Record { tokens, shard: shard.blake3.clone() })
}

fn open(
    place: &Path,
    shards: &Manifest,
    encoder: &SemanticEncoder,
    fingerprint: &str,
    storage: Storage,
) -> Result<SemanticSet> {
    let path = place.join(MANIFEST_FILE);
    if !path.exists() {
        return Err(Error::missing(format!("{}: no tokens of this encoder for these shards", place.display())));
    }
    let bytes = read_limited(&path, MAX_MANIFEST_BYTES)?;
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|e| Error::data(format!("{}: {e}", path.display())))?;
    let changed = |what: &str| {
        let message = format!("{}: {what}", place.display());
        Err(Error::integrity(message).hint("remove this folder; its tokens will be made again"))
    };
    if (stored.format.as_str(), stored.version) != (FORMAT, VERSION) {
        return Err(Error::data(format!("{}: is {} version {}", path.display(), stored.format, stored.version)));
    }
    if stored.encoder != fingerprint || stored.width != encoder.token_width() || stored.storage != storage {
        return changed("was made by another encoder");
    }
    let (mut files, mut starts) = (Vec::new(), vec![0]);
    if stored.files.len() != shards.shards.len() {
        return changed("was made from other shards");
    }
    for (index, (record, shard)) in stored.files.iter().zip(&shards.shards).enumerate() {
        if record.shard != shard.blake3
            || record.tokens.scenes != shard.scenes
            || record.tokens.file != shard_file(index)
        {
            return changed(&format!("was made from another {}", shard.file));
        }
        let path = place.join(&record.tokens.file);
        let size = std::fs::metadata(&path).map_err(|e| Error::io("open", &path, &e))?.len();
        if size != record.tokens.bytes || hash_file(&path)?.blake3 != record.tokens.blake3 {
            return changed(&format!("{} is damaged", record.tokens.file));
        }
        let file = Tensors::open(&path)?;
        let shape = [shard.scenes, stored.tokens, stored.width];
        if file.shape("tokens")? != shape || file.dtype("tokens")? != storage.dtype() {
            return Err(Error::data(format!("{}: tokens are not {shape:?} of {storage:?}", path.display())));
        }
        starts.push(starts[index] + shard.scenes);
        files.push(file);
    }
    Ok(SemanticSet { files, starts, tokens: stored.tokens, width: stored.width })
}
