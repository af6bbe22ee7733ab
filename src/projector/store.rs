//! The projector in files: `config.json` beside `model.safetensors`.

use super::{Kind as Family, Projector, ProjectorConfig};
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{read_text, write_bytes_atomic};
use crate::nn::{Builder, Params};
use crate::tensor::Tensor;
use crate::weights::{Entry, Tensors, write};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// `model_type` of a projector's folder.
pub const MODEL_TYPE: &str = "twnm_projector";
const CONFIG_FILE: &str = "config.json";
const MODEL_FILE: &str = "model.safetensors";
const MAX_CONFIG_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    model_type: String,
    projector: ProjectorConfig,
}

impl ProjectorConfig {
    /// Numbers of the matrices, which decide what is allocated for a file that claims these sizes.
    fn weights(&self) -> usize {
        let (d, b, w) = (self.semantic, self.bottleneck, self.width);
        let joined = match self.kind {
            Family::P0 => 2 * d * b + b * w,
            Family::P1 => 2 * (d * b + b * w),
            Family::P2 => 6 * d * d + 6 * d * b + b * w,
        };
        self.spatial * d + joined
    }

    /// Refuses, before anything is allocated, a file with fewer numbers than these sizes need.
    ///
    /// # Errors
    /// `Data` naming the file and both numbers.
    pub fn expect_in(&self, tensors: &Tensors) -> Result<()> {
        let (stored, least) = (tensors.count(), self.weights());
        if stored >= least {
            return Ok(());
        }
        let path = tensors.path().display();
        Err(Error::data(format!("{path}: holds {stored} numbers, the sizes in {CONFIG_FILE} need at least {least}")))
    }

    /// The text of `config.json`.
    pub fn to_json(&self) -> String {
        let stored = Stored { model_type: MODEL_TYPE.into(), projector: self.clone() };
        serde_json::to_string_pretty(&stored).expect("plain data") + "\n"
    }

    /// Reads the sizes from a folder's `config.json`.
    ///
    /// # Errors
    /// `Missing` when it is not there, `Data` naming file and field.
    pub fn read(folder: &Path) -> Result<ProjectorConfig> {
        let path = folder.join(CONFIG_FILE);
        let text = read_text(&path, MAX_CONFIG_BYTES)?;
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|e| Error::data(format!("{}: {e}", path.display())))?;
        if stored.model_type != MODEL_TYPE {
            let message = format!("{}: model_type is {:?}, expected {MODEL_TYPE:?}", path.display(), stored.model_type);
            return Err(Error::data(message));
        }
        let mut errors = Vec::new();
        stored.projector.check(&mut errors);
        match errors.is_empty() {
            true => Ok(stored.projector),
            false => Err(Error::data(format!("{}: {}", path.display(), errors.join("; ")))),
        }
    }
}

impl Projector {
    /// Reads the projector of a folder, its parameters trained ones.
    ///
    /// # Errors
    /// `Missing` when a file is not there, `Data` naming file and field or parameter: none may be missing, left over, of
    /// another shape or not finite.
    pub fn open(folder: &Path) -> Result<(Projector, Params)> {
        let config = ProjectorConfig::read(folder)?;
        let path = folder.join(MODEL_FILE);
        let tensors = Tensors::open(&path)?;
        let mut builder = Builder::new();
        let projector = Projector::new(&mut builder, config).map_err(|e| e.with_kind(Kind::Data))?;
        projector.config.expect_in(&tensors)?;
        let mut params = builder.finish(0);
        params.load_trained(&tensors).context_with(|| path.display())?;
        Ok((projector, params))
    }

    /// Writes the projector into a folder. `params` lie on the host, where its own were added under `prefix`.
    ///
    /// # Errors
    /// `Io`.
    pub fn save(&self, params: &Params, prefix: &str, folder: &Path) -> Result<()> {
        crate::files::prepare_folder(folder)?;
        let named = |id| (params.tensor(id), params.info(id).name.strip_prefix(prefix).unwrap_or(""));
        let own: Vec<(Tensor, &str)> = self.ids().into_iter().map(named).collect();
        let entries: Vec<Entry> = own.iter().map(|(t, name)| Entry::f32(name, t.shape(), t.data())).collect();
        write(&folder.join(MODEL_FILE), &entries, &[("format", "pt")])?;
        write_bytes_atomic(&folder.join(CONFIG_FILE), self.config.to_json().as_bytes())
    }
}
