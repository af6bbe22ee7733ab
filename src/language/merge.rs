//! An adapter that becomes part of its base: W + s B A, and with magnitudes (DoRA) m (W + s B A) / ||W + s B A|| row by row, in
//! a folder that Transformers reads.
//!
//! Matrices are read, merged and written in blocks of rows, so that a model of any size needs little memory. The folder is
//! filled beside its place under another name and gets its own when it is whole: a merge that is killed leaves none that
//! looks so, and the next one clears away what it left.

use super::config::DecoderConfig;
use super::lora::LoraConfig;
use super::store::{self, CONFIG_FILE, DecoderFiles, PEFT_PREFIX};
use crate::error::{Error, Kind, Result};
use crate::files::{self, FolderLock};
use crate::weights::{Dtype, Slot, Tensors, write_with};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The largest file of weights, as Transformers cuts them.
pub const SHARD_BYTES: u64 = 5_000_000_000;
/// Numbers that are merged at once, about.
const BLOCK: usize = 1 << 20;
const LOCK_FILE: &str = "lock";
/// Files that belong to a model beside its weights.
const BESIDE: [&str; 14] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
    "NOTICE",
];

/// The element type of the merged weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// That of every tensor of the base.
    Base,
    /// F32.
    F32,
    /// BF16.
    Bf16,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Tensors of the model.
    pub tensors: usize,
    /// Those that the adapter changed.
    pub adapted: usize,
    /// Files of weights.
    pub files: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
}

/// The matrices of an adapter for one weight.
struct Adapted {
    a: String,
    b: String,
    magnitude: Option<String>,
    rank: usize,
    scale: f32,
}

/// Writes the model of the folder `base` (Qwen2, or Audio Flamingo 3 in the layout of Transformers) with the adapter of the
/// PEFT folder `adapter` merged into it to the folder `out`, which does not exist yet or is empty. No file of weights is
/// larger than `shard_bytes` unless a single tensor is.
///
/// # Errors
/// `Usage` for an `out` that holds something; `Missing` and `Data` naming what is wrong with base and adapter; `Io`, also when
/// there is not enough space.
pub fn merge(base: &Path, adapter: &Path, out: &Path, stored: Stored, shard_bytes: u64) -> Result<Merged> {
    let (out, work) = places(out)?;
    if base.join("llm").join(CONFIG_FILE).is_file() {
        let own = base.join("llm");
        return Err(Error::usage(format!("{}: its decoder is a folder of its own", base.display()))
            .hint(format!("give that one: --base {}", own.display())));
    }
    let files = store::open_decoder(base)?;
    if files.held(None)?.packing.is_some() {
        return Err(Error::usage(format!("{}: its weights are packed in eight or four bits", base.display()))
            .hint("merge into the model that they were packed from: the sum would be rounded to few bits again"));
    }
    let (lora, source) = store::open_adapter(adapter)?;
    let adapted = adapted(&lora, &source, &files.config, files.prefix)?;
    store::warn_of_nothing(&source)?;
    let slots = slots(&files.weights, stored)?;
    let bytes = slots.iter().map(Slot::byte_len).sum();
    let shards = shards(&slots, shard_bytes);
    let lock = begin(&work, bytes)?;
    let names: Vec<String> = match shards.len() {
        1 => vec!["model.safetensors".into()],
        n => (1..=n).map(|i| format!("model-{i:05}-of-{n:05}.safetensors")).collect(),
    };
    let filled = write_weights(&files, (&source, &adapted), &shards, &names, &work)
        .and_then(|()| copy_beside(base, &work))
        .and_then(|()| write_config(base, &work, stored))
        .and_then(|()| finish(&work, &out, lock));
    if let Err(error) = filled {
        std::fs::remove_dir_all(&work).ok();
        return Err(error);
    }
    Ok(Merged { tensors: slots.len(), adapted: adapted.len(), files: names.len(), bytes })
}

/// Writes the files of weights, and their index where there are several.
fn write_weights(
    files: &DecoderFiles,
    (source, adapted): (&Tensors, &BTreeMap<String, Adapted>),
    shards: &[&[Slot]],
    names: &[String],
    work: &Path,
) -> Result<()> {
    for (shard, name) in shards.iter().zip(names) {
        write_with(&work.join(name), shard, &[("format", "pt")], |slot, out| {
            write_tensor(files, (source, adapted.get(&slot.name)), slot, out)
        })?;
    }
    if names.len() == 1 {
        return Ok(());
    }
    let of = |(shard, name): (&&[Slot], &String)| -> Vec<(String, Value)> {
        shard.iter().map(|slot| (slot.name.clone(), json!(name))).collect()
    };
    let map: serde_json::Map<String, Value> = shards.iter().zip(names).flat_map(of).collect();
    let bytes: u64 = shards.iter().flat_map(|shard| shard.iter()).map(Slot::byte_len).sum();
    let index = json!({"metadata": {"total_size": bytes}, "weight_map": map});
    let text = serde_json::to_string_pretty(&index).expect("plain data") + "\n";
    files::write_bytes_atomic(&work.join("model.safetensors.index.json"), text.as_bytes())
}

/// Where the folder will be, and where it is filled: beside it, so that it can be renamed.
fn places(out: &Path) -> Result<(PathBuf, PathBuf)> {
    files::check_output_folder(out)?;
    let out = match std::fs::read_dir(out) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Error::usage(format!("{}: holds something already", out.display()))
                    .hint("give the name of a new folder, or remove that one"));
            }
            out.canonicalize().map_err(|e| Error::io("open", out, &e))?
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => out.to_path_buf(),
        Err(e) => return Err(Error::io("open", out, &e).with_kind(Kind::Io)),
    };
    let Some(name) = out.file_name() else {
        return Err(Error::usage(format!("{}: the name of a new folder is needed", out.display())));
    };
    let work = out.with_file_name(format!(".{}.merging", name.to_string_lossy()));
    Ok((out, work))
}

/// Makes the folder that is filled, without what an earlier merge left in it. A folder with files but without a merge's lock is
/// somebody else's.
fn begin(work: &Path, bytes: u64) -> Result<FolderLock> {
    std::fs::create_dir_all(work).map_err(|e| Error::io("create", work, &e))?;
    let is_empty = std::fs::read_dir(work).map_err(|e| Error::io("read", work, &e))?.next().is_none();
    if !is_empty && !work.join(LOCK_FILE).exists() {
        let message =
            format!("{}: a merge is written there first, and it holds files that no merge left", work.display());
        return Err(Error::usage(message).hint("move that folder away, or choose another --out"));
    }
    let lock = FolderLock::acquire(work, LOCK_FILE)?;
    let entries = std::fs::read_dir(work).map_err(|e| Error::io("read", work, &e))?;
    for entry in entries.flatten().filter(|entry| entry.file_name() != LOCK_FILE) {
        std::fs::remove_file(entry.path()).map_err(|e| Error::io("remove", &entry.path(), &e))?;
    }
    let space = rustix::fs::statvfs(work).map_err(|e| Error::io("measure", work, &e.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < bytes {
        std::fs::remove_dir_all(work).ok();
        let message = format!("{}: {free} bytes are free, {bytes} are needed", work.display());
        return Err(Error::new(Kind::Io, message).hint("free some space, write elsewhere, or give --dtype bf16"));
    }
    Ok(lock)
}

/// Gives the folder its name.
fn finish(work: &Path, out: &Path, lock: FolderLock) -> Result<()> {
    let path = work.join(LOCK_FILE);
    std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
    files::sync_folder(work)?;
    // An empty folder is replaced by this.
    std::fs::rename(work, out).map_err(|e| Error::io("write", out, &e).with_kind(Kind::Io))?;
    drop(lock);
    match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => files::sync_folder(parent),
        _ => files::sync_folder(Path::new(".")),
    }
}

/// The adapted weights by their names in the base.
fn adapted(
    lora: &LoraConfig,
    source: &Tensors,
    config: &DecoderConfig,
    prefix: &str,
) -> Result<BTreeMap<String, Adapted>> {
    let wanted: Vec<_> =
        lora.tensors(config, prefix).map(|(name, shape)| (format!("{PEFT_PREFIX}{name}"), shape)).collect();
    let mut stored = store::names::adapter(source, wanted)?.into_iter();
    let mut found = BTreeMap::new();
    for n in 0..config.layers {
        for (name, ..) in config.linears() {
            let module = format!("{prefix}model.layers.{n}.{name}");
            let Some((rank, scale)) = lora.of(&module) else { continue };
            let mut next = || stored.next().expect("a name for every tensor of the adapter");
            let (a, b, magnitude) = (next(), next(), lora.has_magnitudes.then(&mut next));
            found.insert(format!("{module}.weight"), Adapted { a, b, magnitude, rank, scale: scale as f32 });
        }
    }
    Ok(found)
}

/// Every tensor of the base with its new element type.
fn slots(weights: &Tensors, stored: Stored) -> Result<Vec<Slot>> {
    let of = |name: &str| {
        let old = weights.dtype(name)?;
        let dtype = match (old, stored) {
            (Dtype::F32 | Dtype::BF16 | Dtype::F16 | Dtype::F64, Stored::F32) => Dtype::F32,
            (Dtype::F32 | Dtype::BF16 | Dtype::F16 | Dtype::F64, Stored::Bf16) => Dtype::BF16,
            _ => old,
        };
        Ok(Slot { name: name.to_string(), dtype, shape: weights.shape(name)?.to_vec() })
    };
    weights.names().map(of).collect()
}

/// Cuts the tensors into files.
fn shards(slots: &[Slot], shard_bytes: u64) -> Vec<&[Slot]> {
    let (mut out, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (i, slot) in slots.iter().enumerate() {
        if i > from && bytes + slot.byte_len() > shard_bytes {
            out.push(&slots[from..i]);
            (from, bytes) = (i, 0);
        }
        bytes += slot.byte_len();
    }
    out.push(&slots[from..]);
    out
}

/// Writes a tensor of the base in its new type, with its adapter where it has one.
fn write_tensor(
    files: &DecoderFiles,
    (source, adapted): (&Tensors, Option<&Adapted>),
    slot: &Slot,
    out: &mut dyn Write,
) -> Result<()> {
    let io = |e: std::io::Error| Error::io("write", Path::new(&slot.name), &e);
    let (weights, name) = (&files.weights, slot.name.as_str());
    if adapted.is_none() && weights.dtype(name)? == slot.dtype {
        weights.bytes(name)?.chunks(BLOCK).try_for_each(|part| out.write_all(part).map_err(io))?;
        weights.release(name);
        return Ok(());
    }
    let count: usize = slot.shape.iter().product();
    let width = slot.shape.last().copied().unwrap_or(1).max(1);
    let matrices = adapted.map(|adapted| Matrices::read(source, adapted, &slot.shape)).transpose()?;
    let step = (BLOCK / width).max(1) * width;
    for from in (0..count).step_by(step) {
        let mut block = weights.f32_range(name, from..(from + step).min(count))?.into_owned();
        if let Some(matrices) = &matrices {
            matrices.add(&mut block, from / width, width);
        }
        let bytes = encoded(&block, slot.dtype);
        let is_finite = |v: &f32| if slot.dtype == Dtype::F16 { v.abs() <= 65_504.0 } else { v.is_finite() };
        if let Some(at) = block.iter().position(|v| !is_finite(v)) {
            let path = weights.path().display();
            let message = format!("{path}: tensor {name} holds {} at element {} when merged", block[at], from + at);
            return Err(Error::data(message).hint("weights or adapter are damaged, or too large for the element type"));
        }
        out.write_all(&bytes).map_err(io)?;
    }
    weights.release(name);
    Ok(())
}

fn encoded(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::BF16 => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        Dtype::F64 => values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|&v| v.to_le_bytes()).collect(),
    }
}

/// An adapter of one weight, in memory.
struct Matrices<'a> {
    a: std::borrow::Cow<'a, [f32]>,
    b: std::borrow::Cow<'a, [f32]>,
    magnitude: Option<std::borrow::Cow<'a, [f32]>>,
    rank: usize,
    scale: f32,
}

impl<'a> Matrices<'a> {
    fn read(source: &'a Tensors, adapted: &Adapted, shape: &[usize]) -> Result<Matrices<'a>> {
        let (rank, &[outputs, inputs]) = (adapted.rank, shape) else { unreachable!("linear weights are matrices") };
        let lengths = adapted.magnitude.as_ref().map(|name| source.parameter(name, &[outputs]));
        Ok(Matrices {
            a: source.parameter(&adapted.a, &[rank, inputs])?,
            b: source.parameter(&adapted.b, &[outputs, rank])?,
            magnitude: lengths.transpose()?,
            rank,
            scale: adapted.scale,
        })
    }

    /// Adds the adapter to rows of the weight, `first` and those after it.
    fn add(&self, rows: &mut [f32], first: usize, width: usize) {
        rows.par_chunks_mut(width).enumerate().for_each(|(i, row)| {
            let factors = &self.b[(first + i) * self.rank..][..self.rank];
            let mut delta = vec![0.0f32; width];
            for (&factor, a) in factors.iter().zip(self.a.chunks_exact(width)) {
                delta.iter_mut().zip(a).for_each(|(d, a)| *d += factor * a);
            }
            row.iter_mut().zip(&delta).for_each(|(w, d)| *w += self.scale * d);
            if let Some(lengths) = &self.magnitude {
                let length = row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt();
                let gain = (f64::from(lengths[first + i]) / length) as f32;
                row.iter_mut().for_each(|w| *w *= gain);
            }
        });
    }
}

/// Copies what belongs to the model beside its weights, byte by byte.
fn copy_beside(base: &Path, work: &Path) -> Result<()> {
    for name in BESIDE {
        let path = base.join(name);
        if !path.exists() {
            continue;
        }
        let mut file = files::open_regular(&path)?;
        files::write_atomic(&work.join(name), |out| std::io::copy(&mut file, out).map(drop))?;
    }
    Ok(())
}

/// The base's config.json, which says its element type under one name or the other, or in its parts.
fn write_config(base: &Path, work: &Path, stored: Stored) -> Result<()> {
    let path = base.join(CONFIG_FILE);
    let mut fields = store::read_json(&path)?;
    let name = match stored {
        Stored::Base => {
            let mut file = files::open_regular(&path)?;
            return files::write_atomic(&work.join(CONFIG_FILE), |out| std::io::copy(&mut file, out).map(drop));
        }
        Stored::F32 => "float32",
        Stored::Bf16 => "bfloat16",
    };
    let set = |fields: &mut Value| {
        let named = ["dtype", "torch_dtype"].map(|key| fields.get(key).is_some().then(|| fields[key] = json!(name)));
        named.iter().any(Option::is_some)
    };
    let is_said = set(&mut fields);
    let parts = ["text_config", "audio_config"].map(|part| fields.get_mut(part).filter(|v| v.is_object()).map(set));
    if !is_said && !parts.contains(&Some(true)) {
        fields["torch_dtype"] = json!(name);
    }
    let text = serde_json::to_string_pretty(&fields).expect("plain data") + "\n";
    files::write_bytes_atomic(&work.join(CONFIG_FILE), text.as_bytes())
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
