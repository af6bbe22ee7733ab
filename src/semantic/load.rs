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
        let is_wide = shape.len() == 1 || info.name.ends_with("embed_positions.weight");
        let tensor = if is_wide {
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

/// An object of JSON in a file of bounded size.
fn read_json(path: &Path) -> Result<Value> {
    let bytes = read_text(path, MAX_CONFIG_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::data(format!("{}: not valid JSON: {e}", path.display())))
}

impl SemanticEncoder {
    /// Opens a folder: `model_type` `whisper` or `audioflamingo3` in its config.json, or one with NVIDIA's `sound_tower`
    /// and `sound_mm_projector`. Nothing is copied that can be read where it lies.
    ///
    /// # Errors
    /// `Missing` when a file is not there; `Data` naming file and field, or file and tensor, for everything that is
    /// missing, unknown, of another shape or not finite.
    pub fn open(folder: &Path) -> Result<SemanticEncoder> {
        if folder.join("sound_tower").is_dir() {
            return open_original(folder);
        }
        let path = folder.join("config.json");
        let config = read_json(&path)?;
        let opened = match config.get("model_type").and_then(Value::as_str) {
            Some("whisper") => open_whisper(folder, &config),
            Some("audioflamingo3") => open_flamingo(folder, &config),
            other => {
                let found = other.map_or("nothing".into(), |name| format!("{name:?}"));
                Err(Error::data(format!("config.json: model_type is {found}"))
                    .hint("a semantic encoder is a whisper or audioflamingo3 folder"))
            }
        };
        opened.context_with(|| folder.display())
    }
}

/// The features that the folder says it was trained on, where it says so.
fn check_features(folder: &Path, config: &SemanticConfig) -> Result<()> {
    let path = folder.join("preprocessor_config.json");
    if !path.exists() {
        return Ok(());
    }
    config.check_features(&read_json(&path)?).context_with(|| "preprocessor_config.json")
}

fn open_whisper(folder: &Path, config: &Value) -> Result<SemanticEncoder> {
    let config = SemanticConfig::whisper(config).context_with(|| "config.json")?;
    check_features(folder, &config)?;
    let weights = Tensors::open_folder(folder, "model")?;
    let named = Named::new(&weights, WHISPER, WHISPER_IGNORED)?;
    build(config, None, &[("tower.", &named)])
}

fn open_flamingo(folder: &Path, config: &Value) -> Result<SemanticEncoder> {
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
    let named = Named::new(&weights, FLAMINGO, FLAMINGO_IGNORED)?;
    build(sizes, Some(width as usize), &[("tower.", &named), ("adapter.", &named)])
}

/// NVIDIA's folders: the tower's config.json has its sizes, the adapter's weights have its width.
fn open_original(folder: &Path) -> Result<SemanticEncoder> {
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
    let (tower, adapter) = (Named::new(&tower, TOWER, &[])?, Named::new(&adapter, PROJECTOR, &[])?);
    build(config, Some(width), &[("tower.", &tower), ("adapter.", &adapter)])
}

/// The frozen encoder from its files.
fn build(config: SemanticConfig, adapter: Option<usize>, parts: &[(&str, &Named)]) -> Result<SemanticEncoder> {
    debug_assert_eq!(adapter.is_some(), config.family == Family::AudioFlamingo3);
    let mut builder = Builder::new();
    let (tower, adapter) = builder.frozen(|b| {
        let tower = Tower::new(b, "tower.", &config);
        (tower, adapter.map(|width| Adapter::new(b, "adapter.", config.width, width)))
    });
    let mut params = builder.finish(0);
    for (prefix, files) in parts {
        load(&mut params, prefix, files)?;
    }
    let filters = log_mel::filters(config.mel_bands);
    Ok(SemanticEncoder { config, params, tower, adapter, filters })
}
