//! Where the models of a family lie.

use super::contents::Contents;
use crate::checkpoint;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::models::{FAMILY_FILE, Places, encoder_folder};
use crate::ops::packed::Packing;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

/// File of a checkpoint of stages 2 and 3 that says what it was trained from.
pub const PARTS_FILE: &str = "parts.json";
const MAX_BYTES: u64 = 1 << 20;

/// Folders of the parts of a family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The spatial encoder: whatever `--checkpoint` of `twnm listen` takes.
    pub encoder: PathBuf,
    /// The semantic encoder: Whisper or Audio Flamingo 3.
    pub semantic: PathBuf,
    /// The decoder: Qwen2 or Audio Flamingo 3, with its tokenizer.
    pub decoder: PathBuf,
    /// How the weights of the decoder's linear layers are packed when they are read; absent: as they are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Packing>,
    /// The projector; absent where training begins with a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projector: Option<PathBuf>,
    /// Adapters in PEFT's layout, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<PathBuf>,
    /// What the encoders and the decoder held when the rest was trained; empty: nobody says.
    #[serde(default, skip_serializing_if = "Contents::is_empty")]
    pub contents: Contents,
}

impl Parts {
    /// The parts that `--checkpoint` means: a folder with `family.json`, a run of stage 2 or 3 or one of its checkpoints;
    /// without it the default family.
    ///
    /// # Errors
    /// `Missing` when nothing is there, `Integrity` when files do not match their hashes, `Data` naming file and field.
    pub fn find(checkpoint: Option<&Path>, places: &Places) -> Result<Parts> {
        let folder = match checkpoint {
            Some(folder) => folder.to_path_buf(),
            None => places.default_checkpoint()?,
        };
        if !folder.is_dir() {
            return Err(Error::missing(format!("checkpoint {}: there is no such folder", folder.display())).hint(
                "give a run of twnm-train align or sft, one of its checkpoints/step-N folders, or a model family",
            ));
        }
        if folder.join(FAMILY_FILE).is_file() {
            return Parts::of_family(&folder);
        }
        let step = checkpoint::open(&folder)?.folder;
        let path = step.join(PARTS_FILE);
        if !path.is_file() {
            return Err(Error::data(format!("checkpoint {}: it cannot answer questions", folder.display()))
                .hint("its run trained another part: give a run of twnm-train align or sft, or a model family"));
        }
        let bytes = read_text(&path, MAX_BYTES)?;
        let mut parts: Parts =
            serde_json::from_slice(&bytes).map_err(|e| Error::data(format!("{}: {e}", path.display())))?;
        // What the run trained lies in the checkpoint itself.
        let here = |named: &Path| if named == Path::new(".") { step.clone() } else { named.to_path_buf() };
        parts.projector = parts.projector.as_deref().map(here);
        parts.adapters = parts.adapters.iter().map(|named| here(named)).collect();
        Ok(parts)
    }

    /// The folders that a `family.json` names, which lie inside the family.
    fn of_family(folder: &Path) -> Result<Parts> {
        let path = folder.join(FAMILY_FILE);
        let bad = |what: String| Error::data(format!("{}: {what}", path.display()));
        let bytes = read_text(&path, MAX_BYTES)?;
        let mut parts: Parts = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        let named = [&mut parts.encoder, &mut parts.semantic, &mut parts.decoder];
        for part in named.into_iter().chain(&mut parts.projector).chain(&mut parts.adapters) {
            let is_plain = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
            if part.as_os_str().is_empty() || !part.components().all(is_plain) {
                return Err(bad(format!("{:?} is no folder inside the family", part.display().to_string())));
            }
            *part = folder.join(&*part);
        }
        Ok(parts)
    }

    /// The same with paths that hold wherever the program is started.
    ///
    /// # Errors
    /// `Missing` naming a folder that is not there.
    pub fn absolute(&self) -> Result<Parts> {
        let absolute = |path: &PathBuf| path.canonicalize().map_err(|e| Error::io("open", path, &e));
        Ok(Parts {
            // The step that was used: a run that goes on writes others beside it.
            encoder: absolute(&encoder_folder(&self.encoder)?)?,
            semantic: absolute(&self.semantic)?,
            decoder: absolute(&self.decoder)?,
            weights: self.weights,
            projector: self.projector.as_ref().map(absolute).transpose()?,
            adapters: self.adapters.iter().map(absolute).collect::<Result<_>>()?,
            contents: self.contents.clone(),
        })
    }
}
