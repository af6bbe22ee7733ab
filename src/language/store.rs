//! The decoder's weights in files: Hugging Face folders and PEFT adapters.
//!
//! A base model is read strictly: every tensor must be there, in the right shape, and nothing may be left over but what old
//! exports carry along (rotary frequencies, a copy of a tied embedding). Its matrices stay where they lie, mapped, in their
//! own type; vectors become f32. The weights of linear layers may be packed, in the file ([`packed`]) or when they are read.

pub(super) mod names;
mod packed;

use super::config::DecoderConfig;
use super::decoder::{Adapter, Decoder};
use super::lora::LoraConfig;
use crate::device::product::Threads;
use crate::error::{Context as _, Error, Result};
use crate::files::read_text;
use crate::nn::{Home, ParamId, Params};
use crate::ops::dora_linear::row_lengths;
use crate::ops::lora_linear::Rank;
use crate::ops::packed::{Packed, Packing};
use crate::ops::quantize;
use crate::tape::Var;
use crate::weights::{Entry, Tensors, to_bytes};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// File with the sizes of a model.
pub const CONFIG_FILE: &str = "config.json";
/// File with ranks and targets of an adapter.
pub const ADAPTER_CONFIG_FILE: &str = "adapter_config.json";
/// Begin of the names in an adapter's file.
pub const PEFT_PREFIX: &str = "base_model.model.";
const ADAPTER_STEM: &str = "adapter_model";
const ADAPTER_FILE: &str = "adapter_model.safetensors";
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// The fields of a JSON file.
///
/// # Errors
/// `Missing`, and `Data` for a file that is too large or no JSON.
pub fn read_json(path: &Path) -> Result<Value> {
    let text = read_text(path, MAX_CONFIG_BYTES)?;
    serde_json::from_slice(&text).map_err(|e| Error::data(format!("{}: not valid JSON: {e}", path.display())))
}

/// Sizes and weights of a Qwen2 folder. The headers of its files are compared with the sizes before anything is allocated.
///
/// # Errors
/// `Missing`; `Data` naming file and field or tensor.
pub fn open_base(folder: &Path) -> Result<(DecoderConfig, Tensors)> {
    let path = folder.join(CONFIG_FILE);
    let fields = read_json(&path)?;
    match fields.get("model_type").and_then(Value::as_str) {
        Some("qwen2") => {}
        other => {
            let found = other.map_or("missing".into(), |name| format!("{name:?}"));
            return Err(Error::data(format!("{}: model_type is {found}, \"qwen2\" is needed", path.display())));
        }
    }
    let config = DecoderConfig::from_json(&fields).context_with(|| path.display())?;
    let weights = Tensors::open_folder(folder, "model")?;
    names::expect_base(&weights, &config, "")?;
    Ok((config, weights))
}

/// The decoder of a folder: a plain Qwen2 model, or that of Audio Flamingo 3.
pub struct DecoderFiles {
    /// Its sizes.
    pub config: DecoderConfig,
    /// The weights of the folder, or of the decoder's own.
    pub weights: Tensors,
    /// Begin of the decoder's names in them, and of its parameters here: an adapter's names follow from it.
    pub prefix: &'static str,
    /// The token that stands where audio does, where the folder has one.
    pub audio_token: Option<u32>,
}

/// Begin of the names of the decoder within Audio Flamingo 3, in the layout of Transformers.
const AUDIO_FLAMINGO_PREFIX: &str = "language_model.";

/// The decoder of a folder: of a plain Qwen2 model; of Audio Flamingo 3 in the layout of Transformers, or in NVIDIA's with a
/// folder `llm` of its own.
///
/// # Errors
/// As [`open_base`].
pub fn open_decoder(folder: &Path) -> Result<DecoderFiles> {
    let own = folder.join("llm");
    if own.join(CONFIG_FILE).is_file() {
        let (config, weights) = open_base(&own)?;
        return Ok(DecoderFiles { config, weights, prefix: "", audio_token: None });
    }
    let path = folder.join(CONFIG_FILE);
    let fields = read_json(&path)?;
    if fields.get("model_type").and_then(Value::as_str) != Some("audioflamingo3") {
        let (config, weights) = open_base(folder)?;
        return Ok(DecoderFiles { config, weights, prefix: "", audio_token: None });
    }
    let bad = |what: &str| Error::data(format!("{}: {what}", path.display()));
    let text = fields.get("text_config").ok_or_else(|| bad("text_config is missing"))?;
    let config = DecoderConfig::from_json(text).context_with(|| format!("{}: text_config", path.display()))?;
    let named = fields.get("audio_token_id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    let audio_token = named.filter(|&id| (id as usize) < config.vocabulary);
    let audio_token = Some(audio_token.ok_or_else(|| bad("audio_token_id is no token of the decoder"))?);
    let weights = Tensors::open_folder(folder, "model")?;
    names::expect_base(&weights, &config, AUDIO_FLAMINGO_PREFIX)?;
    Ok(DecoderFiles { config, weights, prefix: AUDIO_FLAMINGO_PREFIX, audio_token })
}

/// Ranks, targets and weights of a PEFT folder; [`check_adapter`] says whether they fit a decoder.
///
/// # Errors
/// As [`open_base`].
pub fn open_adapter(folder: &Path) -> Result<(LoraConfig, Tensors)> {
    let path = folder.join(ADAPTER_CONFIG_FILE);
    let config = LoraConfig::from_json(&read_json(&path)?).context_with(|| path.display())?;
    Ok((config, Tensors::open_folder(folder, ADAPTER_STEM)?))
}

/// Gives the base parameters of a decoder, whose names begin with `prefix`, the tensors of `source` of the same names
/// without it, or with `stored` in its place. Weights of linear layers that are plain there are packed as `packing` says.
///
/// # Errors
/// `Data` naming tensors that are missing, left over, of another shape or not finite; `Usage` for weights that are packed in
/// another way than `packing` says.
pub fn load_base(
    params: &mut Params,
    prefix: &str,
    source: &Tensors,
    stored: &str,
    packing: Option<Packing>,
) -> Result<()> {
    let is_base =
        |name: &str| name.strip_prefix(prefix).is_some_and(|n| n.starts_with("model.") || n.starts_with("lm_head."));
    let places: Vec<(ParamId, String)> = params
        .ids()
        .zip(params.infos().iter())
        .filter(|(_, info)| is_base(&info.name))
        .map(|(id, info)| (id, format!("{stored}{}", &info.name[prefix.len()..])))
        .collect();
    let wanted: BTreeSet<&str> = places.iter().map(|(_, name)| name.as_str()).collect();
    let parts: BTreeSet<String> =
        wanted.iter().filter(|name| names::is_linear(name)).flat_map(|name| packed::parts(source, name)).collect();
    let is_left = |name: &&str| name.starts_with(stored) && !wanted.contains(name) && !parts.contains(*name);
    let left: Vec<&str> = source.names().filter(is_left).collect();
    let mut unknown = Vec::new();
    for name in left {
        if !is_carried_along(source, name, stored)? {
            unknown.push(name);
        }
    }
    names::refuse(source, "tensors that this model does not have", &unknown)?;
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !source.contains(name)).collect();
    names::refuse(source, "tensors are missing", &missing)?;
    for (id, name) in places {
        match linear_weight(params, id, source, &name, packing)? {
            Some(packed) => params.set_packed(id, packed.to(params.device())),
            None => params.load_one(id, source, &name)?,
        }
    }
    Ok(())
}

/// The weight of a linear layer that is packed, or shall be; `None` for every other parameter.
fn linear_weight(
    params: &Params,
    id: ParamId,
    source: &Tensors,
    name: &str,
    packing: Option<Packing>,
) -> Result<Option<Packed>> {
    let shape = params.info(id).shape;
    let &[rows, columns] = shape.as_slice() else { return Ok(None) };
    if !names::is_linear(name) || matches!(params.info(id).home, Home::Trained { .. }) {
        return Ok(None);
    }
    if let Some(found) = packed::read(source, name, [rows, columns])? {
        expect_packing(source, name, found.packing(), packing)?;
        return Ok(Some(found));
    }
    let Some(packing) = packing else { return Ok(None) };
    let plain = source.tensor(name, shape.as_slice())?;
    let made = quantize::packed(&plain, packing);
    source.release(name);
    Ok(Some(made))
}

/// Refuses a weight that is packed in another way than is wanted.
fn expect_packing(source: &Tensors, name: &str, stored: Packing, wanted: Option<Packing>) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != stored => {
            let path = source.path().display();
            Err(Error::usage(format!("{path}: {name} is packed as {stored:?}, {wanted:?} is wanted"))
                .hint("take the weights as they are stored (model.weights), or the model that they were packed from"))
        }
        _ => Ok(()),
    }
}

/// What the weights of a decoder's folder take, once they are read.
pub struct Held {
    /// All bytes.
    pub bytes: u64,
    /// Those of them that the host reads where they lie in their files.
    pub mapped: u64,
    /// How linear layers are packed; the first that is.
    pub packing: Option<Packing>,
    /// Whether all plain matrices are bf16.
    pub is_narrow: bool,
}

impl DecoderFiles {
    /// What the weights take, once they are read and, where they are plain, packed as `packing` says.
    ///
    /// # Errors
    /// `Data` when a tensor is missing; `Usage` for weights that are packed in another way.
    pub fn held(&self, packing: Option<Packing>) -> Result<Held> {
        let mut held = Held { bytes: 0, mapped: 0, packing, is_narrow: true };
        for (name, shape) in self.config.tensors() {
            let (name, count) = (format!("{}{name}", self.prefix), shape.iter().product::<usize>());
            let stored = if names::is_linear(&name) { packed::packing(&self.weights, &name) } else { None };
            if let Some(stored) = stored {
                expect_packing(&self.weights, &name, stored, packing)?;
                held.packing = held.packing.or(Some(stored));
                held.bytes += packed::bytes(&self.weights, &name)?;
                held.mapped += packed::mapped(&self.weights, &name)?;
            } else if let (true, Some(packing)) = (names::is_linear(&name), packing) {
                held.bytes += quantize::bytes([shape[0], shape[1]], packing) as u64;
            } else if shape.len() < 2 {
                held.bytes += 4 * count as u64;
            } else {
                let is_narrow = self.weights.dtype(&name)? == crate::weights::Dtype::BF16;
                held.is_narrow &= is_narrow;
                held.bytes += count as u64 * if is_narrow { 2 } else { 4 };
                held.mapped += self.weights.mapped_bytes(&name)?.unwrap_or(0);
            }
        }
        Ok(held)
    }
}

/// Old exports hold the frequencies of the rotary embedding, which are computed, and the output layer beside a tied embedding.
fn is_carried_along(source: &Tensors, name: &str, stored: &str) -> Result<bool> {
    if name.ends_with("rotary_emb.inv_freq") {
        return Ok(true);
    }
    let embedding = format!("{stored}model.embed_tokens.weight");
    if name != format!("{stored}lm_head.weight") || !source.contains(&embedding) {
        return Ok(false);
    }
    if source.bytes(name)? == source.bytes(&embedding)? {
        return Ok(true);
    }
    Err(Error::data(format!(
        "{}: {name} differs from the embedding, which the config says it is tied to",
        source.path().display()
    ))
    .hint("set tie_word_embeddings to false in config.json if the output layer is its own"))
}

/// Compares the headers of an adapter's files with what it has on a decoder, whose modules begin with `prefix`: before
/// parameters are allocated for it.
///
/// # Errors
/// `Data` as [`load_adapter`].
pub fn check_adapter(source: &Tensors, adapter: &LoraConfig, config: &DecoderConfig, prefix: &str) -> Result<()> {
    let wanted = adapter.tensors(config, prefix).map(|(name, shape)| (format!("{PEFT_PREFIX}{name}"), shape));
    names::adapter(source, wanted.collect()).map(drop)
}

/// Gives the parameters of an adapter the tensors of a PEFT folder. One that changes nothing is warned of.
///
/// # Errors
/// `Data` naming tensors that are missing, unexpected (the adapter is for another model or other targets), transposed or of
/// another rank.
pub fn load_adapter(params: &mut Params, adapter: &Adapter, source: &Tensors) -> Result<()> {
    let of = |info: &crate::nn::ParamInfo| {
        info.name.strip_prefix(&adapter.prefix).map(|n| (format!("{PEFT_PREFIX}{n}"), info.shape.as_slice().to_vec()))
    };
    let (ids, wanted): (Vec<ParamId>, Vec<_>) =
        params.ids().zip(params.infos().iter()).filter_map(|(id, info)| Some((id, of(info)?))).unzip();
    let stored = names::adapter(source, wanted)?;
    for (id, name) in ids.into_iter().zip(&stored) {
        params.load_one(id, source, name)?;
    }
    warn_of_nothing(source)
}

/// Warns of an adapter whose matrices B are all zero.
///
/// # Errors
/// `Data` for tensors that are no numbers.
pub(super) fn warn_of_nothing(source: &Tensors) -> Result<()> {
    for name in source.names().filter(|name| name.contains("lora_B")) {
        if source.f32(name)?.iter().any(|&v| v != 0.0) {
            return Ok(());
        }
    }
    tracing::warn!("{}: every lora_B is zero, the adapter changes nothing: was it trained?", source.path().display());
    Ok(())
}

/// Sets the lengths of the rows of fresh adapters that have them (DoRA) to those of the weights, with which they change
/// nothing. For host parameters whose base is loaded.
pub fn reset_magnitudes(params: &mut Params, decoder: &Decoder) {
    for linear in decoder.layers().iter().flat_map(|layer| &layer.linears) {
        for adapted in &linear.adapters {
            let Some(magnitude) = adapted.magnitude else { continue };
            let [a, b] = [adapted.a, adapted.b].map(|id| Var::constant(params.tensor(id)));
            let rank = Rank { a, b, scale: adapted.scale };
            let lengths = row_lengths(&params.weight(linear.weight), &rank, Threads::All);
            drop(rank);
            params.set_one(magnitude, &lengths);
        }
    }
}

/// Name and text of the file with an adapter's ranks and targets, and name and bytes of the file with its tensors, as PEFT
/// reads them; `base` is the name or folder of the base model.
pub fn adapter_files(params: &Params, adapter: &Adapter, base: &str) -> [(&'static str, Vec<u8>); 2] {
    let mut named = Vec::new();
    for (id, info) in params.ids().zip(params.infos().iter()) {
        if let Some(name) = info.name.strip_prefix(&adapter.prefix) {
            named.push((format!("{PEFT_PREFIX}{name}"), params.tensor(id).to_host_f32()));
        }
    }
    let entries: Vec<Entry> = named.iter().map(|(name, t)| Entry::f32(name, t.shape(), t.data())).collect();
    [
        (ADAPTER_CONFIG_FILE, adapter.config.to_json(base).into_bytes()),
        (ADAPTER_FILE, to_bytes(&entries, &[("format", "pt")])),
    ]
}

/// Writes an adapter as a folder that PEFT reads.
///
/// # Errors
/// `Io`.
pub fn write_adapter(folder: &Path, params: &Params, adapter: &Adapter, base: &str) -> Result<()> {
    crate::files::prepare_folder(folder)?;
    let files = adapter_files(params, adapter, base);
    files.iter().try_for_each(|(name, bytes)| crate::files::write_bytes_atomic(&folder.join(name), bytes))
}

/// Names and texts of a Qwen2 folder's `config.json` and `generation_config.json`; `eos` end an answer, the first of them
/// first of all.
pub fn config_files(config: &DecoderConfig, eos: &[u32]) -> [(&'static str, Vec<u8>); 2] {
    let generation = serde_json::json!({"bos_token_id": null, "do_sample": false, "eos_token_id": eos,
        "pad_token_id": eos.last()});
    let generation = serde_json::to_string_pretty(&generation).expect("plain data") + "\n";
    [
        (CONFIG_FILE, config.to_json(eos.first().copied()).into_bytes()),
        ("generation_config.json", generation.into_bytes()),
    ]
}

/// Writes a decoder whose parameters are trained as a folder that Transformers reads, `files` beside its weights.
///
/// # Errors
/// `Io`.
pub fn write_base(folder: &Path, params: &Params, files: &[(&str, Vec<u8>)]) -> Result<()> {
    crate::files::prepare_folder(folder)?;
    let weights = to_bytes(&params.entries(), &[("format", "pt")]);
    crate::files::write_bytes_atomic(&folder.join("model.safetensors"), &weights)?;
    files.iter().try_for_each(|(name, bytes)| crate::files::write_bytes_atomic(&folder.join(name), bytes))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
