//! Semantic encoders in folders: Transformers' Whisper and Audio Flamingo 3, and NVIDIA's original folders of the latter.

use super::config::{Family, SemanticConfig};
use super::tower::{Adapter, Tower};
use super::{SemanticEncoder, log_mel};
use crate::error::{Context as _, Error, Result};
use crate::files::read_text;
use crate::nn::{Builder, ParamId, Params};
use crate::tensor::Tensor;
use crate::weights::Tensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Widest decoder that an adapter leads to.
const DECODER_WIDTH_MAX: usize = 1 << 15;

/// What the names of tensors mean: this prefix in the file, that one here.
type Renames = [(&'static str, &'static str)];

/// Whisper: with and without the leading `model.`. Tensors of the decoder belong to no part of this program.
const WHISPER: &Renames = &[("model.encoder.", "tower."), ("encoder.", "tower.")];
const WHISPER_IGNORED: &[&str] = &["model.decoder.", "decoder.", "proj_out."];
/// Audio Flamingo 3: its decoder is read elsewhere.
const FLAMINGO: &Renames = &[("audio_tower.", "tower."), ("multi_modal_projector.", "adapter.")];
const FLAMINGO_IGNORED: &[&str] = &["language_model."];
/// The original folders hold one part each.
const TOWER: &Renames = &[("", "tower.")];
const PROJECTOR: &Renames = &[("layers.0.", "adapter.linear_1."), ("layers.2.", "adapter.linear_2.")];

/// A file's tensors by the names they have here.
struct Named<'a> {
    source: &'a Tensors,
    /// Name here to name in the file.
    names: BTreeMap<String, String>,
}

impl<'a> Named<'a> {
    /// # Errors
    /// `Data` naming a tensor that has no meaning, or two that mean the same.
    fn new(source: &'a Tensors, renames: &Renames, ignored: &[&str]) -> Result<Named<'a>> {
        let mut names = BTreeMap::new();
        for name in source.names() {
            if ignored.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let rename = |(from, to): &(&str, &str)| name.strip_prefix(from).map(|rest| format!("{to}{rest}"));
            let Some(own) = renames.iter().find_map(rename) else {
                return Err(Error::data(format!("{}: tensor {name:?} is unknown", source.path().display())));
            };
            if let Some(first) = names.insert(own, name.to_string()) {
                let path = source.path().display();
                return Err(Error::data(format!("{path}: tensors {first:?} and {name:?} are the same parameter")));
            }
        }
        Ok(Named { source, names })
    }
}

/// Gives every parameter under `prefix` its tensor. Matrices keep their type and, where it can be read as it lies, their
/// file; vectors and the table of positions, which take part in f32 arithmetic, become f32.
fn load(params: &mut Params, prefix: &str, files: &Named) -> Result<()> {
    let wanted: Vec<ParamId> = params.ids().filter(|&id| params.info(id).name.starts_with(prefix)).collect();
    let mut left: BTreeMap<&str, &str> =
        files.names.iter().filter(|(own, _)| own.starts_with(prefix)).map(|(a, b)| (a.as_str(), b.as_str())).collect();
    for id in wanted {
        let info = params.info(id).clone();
        let Some(stored) = left.remove(info.name.as_str()) else {
            let name = info.name.strip_prefix(prefix).unwrap_or(&info.name);
            let path = files.source.path().display();
            return Err(Error::data(format!("{path}: parameter {name:?} of the encoder is missing")));
        };
        let shape = info.shape.as_slice();
        let tensor = if is_wide(&info.name, shape) {
            Tensor::from_slice(shape, &files.source.parameter(stored, shape)?)
        } else {
            files.source.tensor(stored, shape)?
        };
        params.set_frozen(id, tensor);
    }
    match left.values().next() {
        None => Ok(()),
        Some(name) => {
            let path = files.source.path().display();
            Err(Error::data(format!("{path}: tensor {name:?} does not belong to an encoder of these sizes")))
        }
    }
}

/// Whether a parameter takes part in f32 arithmetic.
fn is_wide(name: &str, shape: &[usize]) -> bool {
    shape.len() == 1 || name.ends_with("embed_positions.weight")
}

/// An object of JSON in a file of bounded size.
fn read_json(path: &Path) -> Result<Value> {
    let bytes = read_text(path, MAX_CONFIG_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::data(format!("{}: not valid JSON: {e}", path.display())))
}

/// The files of an encoder, opened, before any number is looked at.
struct Files {
    config: SemanticConfig,
    /// Width of the decoder that an adapter leads to.
    adapter: Option<usize>,
    parts: Vec<Part>,
}

/// Tensors of a folder, what their names mean, and which parameters lie there.
struct Part {
    weights: Tensors,
    renames: &'static Renames,
    ignored: &'static [&'static str],
    prefixes: &'static [&'static str],
}

/// What an encoder takes, from the headers of its files or from its sizes alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes {
    /// Its sizes.
    pub config: SemanticConfig,
    /// Numbers per token.
    pub token_width: usize,
    /// Bytes of its tensors on the host: vectors, tables, and matrices of types that are converted.
    pub converted: u64,
    /// Bytes of the matrices that the host reads where they lie.
    pub mapped: u64,
}

impl Sizes {
    /// Of an encoder whose matrices lie in files with so many bytes for a number: Audio Flamingo 3's leads to a decoder of width
    /// `decoder`.
    pub fn of(config: SemanticConfig, decoder: usize, number_bytes: u64) -> Sizes {
        let mut builder = Builder::new();
        Tower::new(&mut builder, "", &config);
        let has_adapter = config.family == Family::AudioFlamingo3;
        if has_adapter {
            Adapter::new(&mut builder, "adapter.", config.width, decoder);
        }
        let table = 4 * (config.positions * config.width) as u64;
        let (mut converted, mut matrices) = (4 * log_mel::filters(config.mel_bands).len() as u64 + table, 0);
        for shape in builder.shapes() {
            match shape.as_slice() {
                [_] => converted += 4 * shape.len() as u64,
                _ => matrices += shape.len() as u64,
            }
        }
        let mapped = number_bytes * (matrices - table / 4);
        let token_width = if has_adapter { decoder } else { config.width };
        Sizes { config, token_width, converted, mapped }
    }
}

impl SemanticEncoder {
    /// The sizes of the encoder in a folder; its weights are not looked at.
    ///
    /// # Errors
    /// Those of [`SemanticEncoder::open`] about files, fields and names of tensors.
    pub fn sizes(folder: &Path) -> Result<Sizes> {
        let files = files(folder)?;
        let token_width = files.adapter.unwrap_or(files.config.width);
        let filters = 4 * log_mel::filters(files.config.mel_bands).len() as u64;
        let mut sizes = Sizes { config: files.config, token_width, converted: filters, mapped: 0 };
        for part in &files.parts {
            let named = Named::new(&part.weights, part.renames, part.ignored)?;
            for (own, stored) in &named.names {
                let shape = part.weights.shape(stored)?;
                let (numbers, bytes) = (shape.iter().product::<usize>() as u64, part.weights.mapped_bytes(stored)?);
                match bytes.filter(|_| !is_wide(own, shape)) {
                    Some(bytes) => sizes.mapped += bytes,
                    None => sizes.converted += 4 * numbers,
                }
            }
        }
        Ok(sizes)
    }

    /// Opens a folder: `model_type` `whisper` or `audioflamingo3` in its config.json, or one with NVIDIA's `sound_tower`
    /// and `sound_mm_projector`. Nothing is copied that can be read where it lies.
    ///
    /// # Errors
    /// `Missing` when a file is not there; `Data` naming file and field, or file and tensor, for everything that is
    /// missing, unknown, of another shape or not finite.
    pub fn open(folder: &Path) -> Result<SemanticEncoder> {
        let files = files(folder)?;
        if folder.join("sound_tower").is_dir() {
            return build(files);
        }
        build(files).context_with(|| folder.display())
    }
}

/// What a folder holds.
fn files(folder: &Path) -> Result<Files> {
    if folder.join("sound_tower").is_dir() {
        return original(folder);
    }
    let path = folder.join("config.json");
    let config = read_json(&path)?;
    let found = match config.get("model_type").and_then(Value::as_str) {
        Some("whisper") => whisper(folder, &config),
        Some("audioflamingo3") => flamingo(folder, &config),
        other => {
            let found = other.map_or("nothing".into(), |name| format!("{name:?}"));
            Err(Error::data(format!("config.json: model_type is {found}"))
                .hint("a semantic encoder is a whisper or audioflamingo3 folder"))
        }
    };
    found.context_with(|| folder.display())
}

/// The features that the folder says it was trained on, where it says so.
fn check_features(folder: &Path, config: &SemanticConfig) -> Result<()> {
    let path = folder.join("preprocessor_config.json");
    if !path.exists() {
        return Ok(());
    }
    config.check_features(&read_json(&path)?).context_with(|| "preprocessor_config.json")
}

fn whisper(folder: &Path, config: &Value) -> Result<Files> {
    let config = SemanticConfig::whisper(config).context_with(|| "config.json")?;
    check_features(folder, &config)?;
    let weights = Tensors::open_folder(folder, "model")?;
    let part = Part { weights, renames: WHISPER, ignored: WHISPER_IGNORED, prefixes: &["tower."] };
    Ok(Files { config, adapter: None, parts: vec![part] })
}

fn flamingo(folder: &Path, config: &Value) -> Result<Files> {
    let place = "config.json: audio_config: ";
    let part = |name: &str| config.get(name).ok_or_else(|| Error::data(format!("config.json: has no {name}")));
    let sizes = SemanticConfig::audio_flamingo(part("audio_config")?, place)?;
    for (field, built) in [("projector_hidden_act", Value::from("gelu")), ("projector_bias", Value::from(true))] {
        if let Some(found) = config.get(field).filter(|found| **found != built) {
            return Err(Error::data(format!("config.json: {field} is {found}, built is {built}")));
        }
    }
    let width = part("text_config")?.get("hidden_size").and_then(Value::as_u64);
    let Some(width) = width.filter(|w| (1..=DECODER_WIDTH_MAX as u64).contains(w)) else {
        let message =
            format!("config.json: text_config.hidden_size: a whole number in 1..={DECODER_WIDTH_MAX} is needed");
        return Err(Error::data(message));
    };
    check_features(folder, &sizes)?;
    let weights = Tensors::open_folder(folder, "model")?;
    let part = Part { weights, renames: FLAMINGO, ignored: FLAMINGO_IGNORED, prefixes: &["tower.", "adapter."] };
    Ok(Files { config: sizes, adapter: Some(width as usize), parts: vec![part] })
}

/// NVIDIA's folders: the tower's config.json has its sizes, the adapter's weights have its width.
fn original(folder: &Path) -> Result<Files> {
    let (tower, adapter) = (folder.join("sound_tower"), folder.join("sound_mm_projector"));
    let path = tower.join("config.json");
    let config = SemanticConfig::audio_flamingo(&read_json(&path)?, "").context_with(|| path.display())?;
    check_features(&tower, &config)?;
    let (tower, adapter) = (Tensors::open_folder(&tower, "model")?, Tensors::open_folder(&adapter, "model")?);
    let width = match adapter.shape("layers.0.weight")? {
        &[width, inputs] if inputs == config.width && (1..=DECODER_WIDTH_MAX).contains(&width) => width,
        shape => {
            let path = adapter.path().display();
            return Err(Error::data(format!(
                "{path}: layers.0.weight has shape {shape:?}, [decoder's width, {}] is needed",
                config.width
            )));
        }
    };
    let tower = Part { weights: tower, renames: TOWER, ignored: &[], prefixes: &["tower."] };
    let adapter = Part { weights: adapter, renames: PROJECTOR, ignored: &[], prefixes: &["adapter."] };
    Ok(Files { config, adapter: Some(width), parts: vec![tower, adapter] })
}

/// The frozen encoder from its files.
fn build(Files { config, adapter, parts }: Files) -> Result<SemanticEncoder> {
    assert_eq!(adapter.is_some(), config.family == Family::AudioFlamingo3);
    let mut builder = Builder::new();
    let (tower, adapter) = builder.frozen(|b| {
        let tower = Tower::new(b, "tower.", &config);
        (tower, adapter.map(|width| Adapter::new(b, "adapter.", config.width, width)))
    });
    let mut params = builder.finish(0);
    for part in &parts {
        let named = Named::new(&part.weights, part.renames, part.ignored)?;
        part.prefixes.iter().try_for_each(|prefix| load(&mut params, prefix, &named))?;
    }
    let filters = log_mel::filters(config.mel_bands);
    Ok(SemanticEncoder { config, params, tower, adapter, filters })
}
