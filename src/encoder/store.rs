//! The encoder in files: `config.json` (sizes and classes) beside `model.safetensors`.

use super::{CLASSES_MAX, Encoder, EncoderConfig};
use crate::error::{Context as _, Error, Result};
use crate::files::read_text;
use crate::weights::{Entry, Tensors};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// `model_type` of an encoder folder.
pub const MODEL_TYPE: &str = "twnm_encoder";
/// File with sizes and classes.
pub const CONFIG_FILE: &str = "config.json";
const MODEL_FILE: &str = "model.safetensors";
const MAX_CONFIG_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    model_type: String,
    classes: Vec<String>,
    encoder: EncoderConfig,
}

/// Sizes and classes of the encoder in a folder, whose weights are not looked at.
///
/// # Errors
/// `Missing` when `config.json` is not there, `Data` naming the file and what is wrong.
pub fn read_sizes(folder: &Path) -> Result<(EncoderConfig, Vec<String>)> {
    let path = folder.join(CONFIG_FILE);
    let Stored { classes, encoder, .. } = stored(&path)?;
    let mut errors = Vec::new();
    encoder.check(&mut errors);
    if classes.is_empty() || classes.len() > CLASSES_MAX {
        errors.push(format!("{} classes, 1..={CLASSES_MAX} are supported", classes.len()));
    }
    match errors.is_empty() {
        true => Ok((encoder, classes)),
        false => Err(Error::data(format!("{}: {}", path.display(), errors.join("; ")))),
    }
}

fn stored(path: &Path) -> Result<Stored> {
    let text = read_text(path, MAX_CONFIG_BYTES)?;
    let stored: Stored = serde_json::from_slice(&text).map_err(|e| Error::data(format!("{}: {e}", path.display())))?;
    if stored.model_type != MODEL_TYPE {
        let message = format!("{}: model_type is {:?}, expected {MODEL_TYPE:?}", path.display(), stored.model_type);
        return Err(Error::data(message));
    }
    Ok(stored)
}

impl Encoder {
    /// The text of `config.json`.
    pub fn config_json(&self) -> String {
        let stored =
            Stored { model_type: MODEL_TYPE.into(), classes: self.classes.clone(), encoder: self.config.clone() };
        serde_json::to_string_pretty(&stored).expect("plain data") + "\n"
    }

    /// The (host) parameters as safetensors entries, in order.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        self.params.entries()
    }

    /// Reads the encoder of a folder with `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// `Missing` when a file is not there, `Data` naming file and field or parameter.
    pub fn open(folder: &Path) -> Result<Encoder> {
        let path = folder.join(CONFIG_FILE);
        let stored = stored(&path)?;
        let encoder = Encoder::new(stored.encoder, stored.classes, 0);
        let mut encoder = encoder.map_err(|e| e.with_kind(crate::error::Kind::Data).context(path.display()))?;
        let path = folder.join(MODEL_FILE);
        encoder.load(&Tensors::open(&path)?).context_with(|| path.display())?;
        Ok(encoder)
    }

    /// Takes every parameter from `tensors`; none may be missing, left over, of another shape or not finite.
    ///
    /// # Errors
    /// `Data` naming the parameter.
    pub fn load(&mut self, tensors: &Tensors) -> Result<()> {
        self.params.load_trained(tensors)
    }
}
