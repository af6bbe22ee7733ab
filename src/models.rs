//! Finding the model that `--checkpoint` means, and loading it with every hash checked.
//!
//! A checkpoint is a run folder (its newest good one), a `step-N` folder, a folder with `config.json` and
//! `model.safetensors`, a quickstart folder (its encoder's run), or a family: a folder with `family.json`, which
//! names the folders of its parts. Without `--checkpoint` the pocket family is used, else the newest quickstart run.

use crate::checkpoint;
use crate::encoder::{Encoder, store};
use crate::error::{Error, Result};
use crate::files::read_limited;
use serde::Deserialize;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// Name of the file that names the parts of a family.
pub const FAMILY_FILE: &str = "family.json";
/// Environment variable with the folder that holds model families.
pub const MODELS_VARIABLE: &str = "TWNM_MODELS";
/// Name of the family that is used when none is named.
const DEFAULT_FAMILY: &str = "pocket";
/// Where a quickstart folder keeps the run of its encoder.
pub const QUICKSTART_ENCODER: &str = "encoder";
/// Begin of the names of quickstart folders.
const QUICKSTART_PREFIX: &str = "twnm-quickstart";
const MAX_FAMILY_BYTES: u64 = 1 << 20;

/// The part of `family.json` that matters here; the other parts are read by those who use them.
#[derive(Deserialize)]
struct Family {
    encoder: Option<String>,
}

/// Where models are looked for when none is named.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The current folder.
    pub current: PathBuf,
    /// What `TWNM_MODELS` says.
    pub models: Option<PathBuf>,
    /// The folder of the program.
    pub program: Option<PathBuf>,
}

impl Places {
    /// The places of this process.
    pub fn of_process() -> Places {
        let program = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
        Places { current: PathBuf::from("."), models: std::env::var_os(MODELS_VARIABLE).map(PathBuf::from), program }
    }

    /// The default checkpoint: the first pocket family, else the newest quickstart run.
    ///
    /// # Errors
    /// `Missing`, naming everything that was looked for.
    pub fn default_checkpoint(&self) -> Result<PathBuf> {
        let below = |folder: &Path| folder.join("models").join(DEFAULT_FAMILY);
        let mut candidates = vec![below(&self.current)];
        candidates.extend(self.models.iter().map(|folder| folder.join(DEFAULT_FAMILY)));
        candidates.extend(self.program.iter().map(|folder| below(folder)));
        if let Some(found) = candidates.iter().find(|folder| folder.join(FAMILY_FILE).is_file()) {
            return Ok(found.clone());
        }
        if let Some(run) = newest_quickstart(&self.current) {
            return Ok(run);
        }
        let looked: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        let runs = self.current.join(format!("{QUICKSTART_PREFIX}*"));
        let message = format!("no model: neither {} nor a run in {}", looked.join(", "), runs.display());
        Err(Error::missing(message).hint("run `twnm quickstart` to train one in minutes, or give --checkpoint DIR"))
    }
}

/// The quickstart folder in `current` whose encoder was saved last; of equals the first by name.
fn newest_quickstart(current: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(current).ok()?;
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(QUICKSTART_PREFIX))
        .map(|e| e.path())
        .collect();
    folders.sort();
    let saved = |folder: &PathBuf| -> Option<SystemTime> {
        let latest = folder.join(QUICKSTART_ENCODER).join("checkpoints").join("latest");
        std::fs::metadata(latest).and_then(|meta| meta.modified()).ok()
    };
    let dated = folders.into_iter().filter_map(|folder| saved(&folder).map(|time| (time, folder)));
    let newest = dated.reduce(|best, next| if next.0 > best.0 { next } else { best });
    newest.map(|(_, folder)| folder)
}

/// The folder with `config.json` and `model.safetensors` of the encoder that `path` means; every hash that was
/// recorded is checked.
///
/// # Errors
/// `Missing` when nothing is there, `Integrity` when files do not match their hashes, `Data` for a bad family.
pub fn encoder_folder(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        let what = if path.exists() { "is not a folder" } else { "does not exist" };
        return Err(Error::missing(format!("checkpoint {}: {what}", path.display()))
            .hint("give a run folder, one of its checkpoints/step-N folders, or a model family"));
    }
    if path.join(FAMILY_FILE).is_file() {
        return part_folder(path, &family_encoder(path)?);
    }
    let saved = |folder: &Path| folder.join("checkpoints").is_dir() || folder.join("state.json").is_file();
    let inner = path.join(QUICKSTART_ENCODER);
    if !saved(path) && saved(&inner) {
        return Ok(checkpoint::open(&inner)?.folder);
    }
    if !saved(path) && path.join(store::CONFIG_FILE).is_file() {
        return Ok(path.to_path_buf());
    }
    Ok(checkpoint::open(path)?.folder)
}

/// What `family.json` of `folder` names as its encoder.
fn family_encoder(folder: &Path) -> Result<String> {
    let path = folder.join(FAMILY_FILE);
    let bad = |what: String| Error::data(format!("{}: {what}", path.display()));
    let bytes = read_limited(&path, MAX_FAMILY_BYTES)?;
    let family: Family = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    let named = family.encoder.ok_or_else(|| bad("names no encoder".into()))?;
    let inside = Path::new(&named).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if named.is_empty() || !inside {
        return Err(bad(format!("encoder is {named:?}, a folder inside the family is needed")));
    }
    Ok(named)
}

/// The encoder's folder of a family; a family inside a family is refused.
fn part_folder(family: &Path, named: &str) -> Result<PathBuf> {
    let folder = family.join(named);
    if folder.join(FAMILY_FILE).is_file() {
        return Err(Error::data(format!("{}: names a family as its encoder", family.join(FAMILY_FILE).display())));
    }
    encoder_folder(&folder)
}

/// The encoder that `--checkpoint` means, or the default one, and the folder it was read from, which is logged.
///
/// # Errors
/// Those of [`encoder_folder`] and [`Encoder::open`].
pub fn load_encoder(checkpoint: Option<&Path>, places: &Places) -> Result<(Encoder, PathBuf)> {
    let chosen = match checkpoint {
        Some(path) => path.to_path_buf(),
        None => places.default_checkpoint()?,
    };
    let folder = encoder_folder(&chosen)?;
    let encoder = Encoder::open(&folder)?;
    tracing::info!("encoder {} ({} parameters)", folder.display(), encoder.params.count());
    Ok((encoder, folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Snapshot, Store};
    use crate::encoder::EncoderConfig;
    use crate::error::Kind;

    fn pocket(seed: u64) -> Encoder {
        let config = EncoderConfig::preset("pocket").unwrap();
        Encoder::new(config, vec!["dog".into(), "rain".into()], seed).unwrap()
    }

    fn save_run(run: &Path, step: u64) -> PathBuf {
        let encoder = pocket(step);
        let store = Store::open(&run.join("checkpoints"), 3).unwrap();
        let config = encoder.config_json();
        let files = [(store::CONFIG_FILE, config.as_bytes())];
        let state = serde_json::json!({});
        let (model, optimizer) = (encoder.entries(), vec![]);
        store.save(&Snapshot { step, model: &model, optimizer: &optimizer, state: &state, files: &files }).unwrap()
    }

    fn first(encoder: &Encoder) -> f32 {
        encoder.params.flat()[0]
    }

    #[test]
    fn a_run_a_step_and_a_quickstart_folder_mean_the_same_model() {
        let home = tempfile::tempdir().unwrap();
        let run = home.path().join("twnm-quickstart").join("encoder");
        save_run(&run, 1);
        let newest = save_run(&run, 2);
        let places = Places { current: home.path().into(), ..Places::default() };
        let quickstart = home.path().join("twnm-quickstart");
        for named in [Some(run.as_path()), Some(newest.as_path()), Some(quickstart.as_path()), None] {
            let (encoder, folder) = load_encoder(named, &places).unwrap();
            assert_eq!((first(&encoder), folder), (first(&pocket(2)), newest.clone()), "{named:?}");
        }
        // A damaged checkpoint is refused by name and skipped in a run.
        let file = newest.join("model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(load_encoder(Some(&newest), &places).err().unwrap().kind(), Kind::Integrity);
        assert_eq!(first(&load_encoder(Some(&run), &places).unwrap().0), first(&pocket(1)));
    }

    #[test]
    fn a_family_comes_first_and_cannot_point_outside() {
        let home = tempfile::tempdir().unwrap();
        let places = Places { current: home.path().into(), ..Places::default() };
        let missing = load_encoder(None, &places).err().unwrap();
        assert!(missing.kind() == Kind::Missing && missing.to_string().contains("twnm quickstart"), "{missing}");
        save_run(&home.path().join("twnm-quickstart").join("encoder"), 1);
        let family = home.path().join("models").join("pocket");
        let part = family.join("encoder");
        std::fs::create_dir_all(&part).unwrap();
        std::fs::write(part.join("config.json"), pocket(7).config_json()).unwrap();
        crate::weights::write(&part.join("model.safetensors"), &pocket(7).entries(), &[]).unwrap();
        let write = |text: &str| std::fs::write(family.join(FAMILY_FILE), text).unwrap();
        write(r#"{"encoder": "encoder", "decoder": "decoder"}"#);
        assert_eq!(first(&load_encoder(None, &places).unwrap().0), first(&pocket(7)));
        let elsewhere = Places { models: Some(home.path().join("models")), ..Places::default() };
        assert_eq!(first(&load_encoder(None, &elsewhere).unwrap().0), first(&pocket(7)));
        for text in [
            r#"{"encoder": "../../x"}"#,
            r#"{"encoder": "/etc"}"#,
            r#"{"encoder": "."}"#,
            "{}",
            "[",
            r#"{"encoder": ""}"#,
        ] {
            write(text);
            let error = load_encoder(Some(&family), &places).err().unwrap();
            assert!(error.kind() == Kind::Data && error.message().contains(FAMILY_FILE), "{text}: {error}");
        }
        std::fs::remove_file(part.join("model.safetensors")).unwrap();
        write(r#"{"encoder": "encoder"}"#);
        assert_eq!(load_encoder(Some(&family), &places).err().unwrap().kind(), Kind::Missing);
        assert_eq!(load_encoder(Some(&home.path().join("none")), &places).err().unwrap().kind(), Kind::Missing);
    }
}
