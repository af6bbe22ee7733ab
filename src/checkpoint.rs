//! Checkpoints that survive a kill at any moment and never load half or mixed.
//!
//! `step-N/` holds `model.safetensors`, `optimizer.safetensors`, further files of the caller and `state.json`,
//! which records size and BLAKE3 of every other file, and its own. A checkpoint is filled in a temporary
//! folder, synced, renamed, and the parent synced; then `latest` names it; only then older ones are removed.
//! [`Store::load_newest`] checks every hash and falls back to the newest good one, saying so.

use crate::error::{Context, Error, Kind, Result};
use crate::files::{read_limited, sync_folder, write_bytes_atomic};
use crate::weights::{Entry, Tensors, Written, hash_file, write};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Format version in `state.json`.
const VERSION: u32 = 1;
/// Largest `state.json` that is read.
const MAX_STATE_BYTES: u64 = 64 << 20;
/// Name of the file that names the newest checkpoint.
const LATEST_FILE: &str = "latest";
const STATE_FILE: &str = "state.json";
const MODEL_FILE: &str = "model.safetensors";
const OPTIMIZER_FILE: &str = "optimizer.safetensors";

/// What `state.json` says about the checkpoint it lies in.
#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    step: u64,
    files: BTreeMap<String, FileState>,
    state: Value,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct FileState {
    bytes: u64,
    blake3: String,
}

impl From<Written> for FileState {
    fn from(w: Written) -> Self {
        FileState { bytes: w.bytes, blake3: w.blake3 }
    }
}

/// `state.json` as it is written: the hash is that of the compact JSON of `checkpoint`.
#[derive(Serialize, Deserialize)]
struct Sealed {
    blake3: String,
    checkpoint: State,
}

/// A checkpoint whose every file was found to be what was saved.
pub struct Checkpoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Its folder.
    pub folder: PathBuf,
    /// The model's parameters.
    pub model: Tensors,
    /// The optimizer's state; `None` when it was removed to ship the model alone.
    pub optimizer: Option<Tensors>,
    /// What the training loop saved besides.
    pub state: Value,
}

/// What is saved at one step.
pub struct Snapshot<'a> {
    /// Optimizer steps done.
    pub step: u64,
    /// The model's parameters.
    pub model: &'a [Entry<'a>],
    /// The optimizer's state.
    pub optimizer: &'a [Entry<'a>],
    /// Everything else that decides how training continues.
    pub state: &'a Value,
    /// Further files (plain names and contents), for example the model's `config.json`.
    pub files: &'a [(&'a str, &'a [u8])],
}

/// The `checkpoints` folder of a run.
pub struct Store {
    folder: PathBuf,
    keep: usize,
}

impl Store {
    /// The checkpoints in `folder`, made if absent; leftovers of a killed save are removed. The newest `keep`
    /// (at least 1) are kept when one is saved.
    ///
    /// # Errors
    /// `Io` when the folder cannot be made or cleaned.
    pub fn open(folder: &Path, keep: usize) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, &e))?;
        crate::files::remove_temporaries(folder)?;
        for entry in std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, &e))?.flatten() {
            let leftover = entry.file_name().to_string_lossy().starts_with(".tmp-");
            if leftover && entry.file_type().is_ok_and(|t| t.is_dir()) {
                std::fs::remove_dir_all(entry.path()).map_err(|e| Error::io("remove", &entry.path(), &e))?;
            }
        }
        Ok(Store { folder: folder.to_path_buf(), keep: keep.max(1) })
    }

    /// Saves durably; on any error the older checkpoints are as they were and nothing of this one remains. Returns its
    /// folder.
    ///
    /// # Errors
    /// [`Kind::Io`], with the bytes needed when the disk is too full.
    #[track_caller]
    pub fn save(&self, snapshot: &Snapshot) -> Result<PathBuf> {
        let place = || format!("checkpoint of step {}", snapshot.step);
        let target = self.folder.join(format!("step-{}", snapshot.step));
        let temporary = tempfile::Builder::new().prefix(".tmp-step-").tempdir_in(&self.folder);
        let temporary = temporary.map_err(|e| Error::io("create folder in", &self.folder, &e))?;
        self.fill(temporary.path(), snapshot).context_with(place)?;
        if target.exists() {
            // A run that fell back past this step reaches it again: the old one was refused or is equal.
            let old = tempfile::Builder::new().prefix(".tmp-old-").tempdir_in(&self.folder);
            let old = old.map_err(|e| Error::io("create folder in", &self.folder, &e))?;
            std::fs::rename(&target, old.path()).map_err(|e| Error::io("replace", &target, &e))?;
        }
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(temporary.path(), open).map_err(|e| Error::io("publish", &target, &e))?;
        std::fs::rename(temporary.path(), &target).map_err(|e| Error::io("publish", &target, &e))?;
        // The folder now lives under its final name; there is nothing left to clean up.
        let _ = temporary.keep();
        sync_folder(&self.folder)?;
        self.settle(snapshot.step)?;
        Ok(target)
    }

    fn fill(&self, folder: &Path, snapshot: &Snapshot) -> Result<()> {
        let tensors = snapshot.model.iter().chain(snapshot.optimizer);
        let bytes: u64 = tensors.map(|e| e.byte_len() as u64).sum::<u64>() + (1 << 20);
        require_space(&self.folder, bytes)?;
        let mut files = BTreeMap::new();
        files.insert(MODEL_FILE.to_string(), write(&folder.join(MODEL_FILE), snapshot.model, &[])?.into());
        files.insert(OPTIMIZER_FILE.to_string(), write(&folder.join(OPTIMIZER_FILE), snapshot.optimizer, &[])?.into());
        for &(name, content) in snapshot.files {
            assert!(is_plain(name) && name != STATE_FILE, "{name:?} is not a plain file name");
            write_bytes_atomic(&folder.join(name), content)?;
            let blake3 = blake3::hash(content).to_hex().to_string();
            let first = files.insert(name.to_string(), FileState { bytes: content.len() as u64, blake3 });
            assert!(first.is_none(), "{name:?} is saved twice");
        }
        let checkpoint = State { version: VERSION, step: snapshot.step, files, state: snapshot.state.clone() };
        write_bytes_atomic(&folder.join(STATE_FILE), &seal(checkpoint))
    }

    /// What follows the publication of `step`: `latest` names it, older ones are removed. A run that was killed
    /// before that does it when it continues.
    ///
    /// # Errors
    /// `Io` naming the file that could not be written or removed.
    pub fn settle(&self, step: u64) -> Result<()> {
        let (path, line) = (self.folder.join(LATEST_FILE), format!("step-{step}\n"));
        if !std::fs::read(&path).is_ok_and(|stored| stored == line.as_bytes()) {
            write_bytes_atomic(&path, line.as_bytes())?;
        }
        self.prune(step)
    }

    /// Removes all but the newest checkpoints up to `step`, by renaming each first so that none is ever half there.
    fn prune(&self, step: u64) -> Result<()> {
        let steps: Vec<u64> = self.steps()?.into_iter().filter(|&s| s <= step).collect();
        for old in steps.iter().skip(self.keep) {
            let path = self.folder.join(format!("step-{old}"));
            let grave = self.folder.join(format!(".tmp-old-step-{old}"));
            std::fs::rename(&path, &grave).map_err(|e| Error::io("remove", &path, &e))?;
            std::fs::remove_dir_all(&grave).map_err(|e| Error::io("remove", &grave, &e))?;
        }
        Ok(())
    }

    /// Steps of the checkpoints there, newest first, good or not.
    ///
    /// # Errors
    /// `Io` when the folder cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(|e| Error::io("read", &self.folder, &e))?.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("step-")).and_then(|n| n.parse::<u64>().ok());
            steps.extend(number.filter(|n| name.to_str() == Some(&format!("step-{n}"))));
        }
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// The newest checkpoint whose every hash holds, `None` when there never was one. Damaged ones are skipped with a
    /// warning. One without its optimizer's state cannot be continued and counts as damaged.
    ///
    /// # Errors
    /// [`Kind::Integrity`] when there are only damaged ones: training never silently starts over.
    pub fn load_newest(&self) -> Result<Option<Checkpoint>> {
        self.newest(|checkpoint| match checkpoint.optimizer {
            Some(_) => Ok(checkpoint),
            None => Err(Error::integrity(format!("{}: no {OPTIMIZER_FILE}", checkpoint.folder.display()))),
        })
    }

    fn newest(&self, accept: impl Fn(Checkpoint) -> Result<Checkpoint>) -> Result<Option<Checkpoint>> {
        let mut first_error = None;
        for step in self.steps()? {
            match load(&self.folder.join(format!("step-{step}"))).and_then(&accept) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error) => {
                    tracing::warn!("{error}; trying the checkpoint before it");
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            None => Ok(None),
            Some(error) => Err(error.context("no good checkpoint is left").with_kind(Kind::Integrity)),
        }
    }
}

/// Reads `--checkpoint DIR`: a run folder (its newest good checkpoint) or a `step-N` folder.
///
/// # Errors
/// `Missing` when nothing is there; `Integrity` naming the file that is missing, cut off or changed.
pub fn open(path: &Path) -> Result<Checkpoint> {
    if path.join(STATE_FILE).is_file() {
        return load(path);
    }
    let folder = path.join("checkpoints");
    if !folder.is_dir() {
        let message = format!("{}: no checkpoint there", path.display());
        return Err(Error::missing(message).hint("give a run folder, or one of its checkpoints/step-N folders"));
    }
    let store = Store { folder, keep: usize::MAX };
    let none = || Error::missing(format!("{}: the run has not saved a checkpoint yet", path.display()));
    store.newest(Ok)?.ok_or_else(none)
}

/// Loads one `step-N` folder after checking every hash.
///
/// # Errors
/// [`Kind::Integrity`] naming the file that is missing, cut off or changed.
pub fn load(folder: &Path) -> Result<Checkpoint> {
    let path = folder.join(STATE_FILE);
    let damaged = |file: &str, what: &str| Error::integrity(format!("{}: {what}", folder.join(file).display()));
    let bytes = read_limited(&path, MAX_STATE_BYTES).map_err(|e| e.with_kind(Kind::Integrity))?;
    let Some(saved) = unseal(&bytes) else {
        return Err(damaged(STATE_FILE, "does not match its own BLAKE3: it was damaged or changed"));
    };
    if saved.version != VERSION {
        let message = format!("{}: version {}, this program reads {VERSION}", path.display(), saved.version);
        return Err(Error::usage(message).hint("use the version of twnm that wrote it"));
    }
    for (name, recorded) in &saved.files {
        let file = folder.join(name);
        if !is_plain(name) {
            return Err(damaged(STATE_FILE, &format!("names {name:?}, which is not a plain file name")));
        }
        if name == OPTIMIZER_FILE && !file.exists() {
            continue;
        }
        let found = hash_file(&file).map_err(|e| damaged(name, e.message()))?;
        if FileState::from(found) != *recorded {
            return Err(damaged(name, "does not match the BLAKE3 in state.json: it was damaged or changed"));
        }
    }
    if !saved.files.contains_key(MODEL_FILE) {
        return Err(damaged(STATE_FILE, &format!("does not name {MODEL_FILE}")));
    }
    let model = Tensors::open(&folder.join(MODEL_FILE))?;
    let optimizer = folder.join(OPTIMIZER_FILE);
    let listed = saved.files.contains_key(OPTIMIZER_FILE) && optimizer.exists();
    let optimizer = if listed { Some(Tensors::open(&optimizer)?) } else { None };
    Ok(Checkpoint { step: saved.step, folder: folder.to_path_buf(), model, optimizer, state: saved.state })
}

/// `state.json` with its own hash.
fn seal(checkpoint: State) -> Vec<u8> {
    let text = serde_json::to_vec(&checkpoint).expect("a checkpoint's state is plain data");
    let sealed = Sealed { blake3: blake3::hash(&text).to_hex().to_string(), checkpoint };
    let mut bytes = serde_json::to_vec(&sealed).expect("a checkpoint's state is plain data");
    bytes.push(b'\n');
    bytes
}

/// The content of `state.json`, when sealing it again gives the same bytes: any change at all is found.
fn unseal(bytes: &[u8]) -> Option<State> {
    let sealed: Sealed = serde_json::from_slice(bytes).ok()?;
    let again = seal(sealed.checkpoint);
    if again != bytes {
        return None;
    }
    serde_json::from_slice::<Sealed>(bytes).ok().map(|s| s.checkpoint)
}

fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && !name.contains(['/', '\\', '\0'])
}

/// Refuses to begin a write that cannot fit.
fn require_space(folder: &Path, bytes: u64) -> Result<()> {
    // A filesystem that does not say how much is free is tried.
    let Ok(stat) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < bytes {
        let message = format!("{}: {bytes} bytes are needed, {free} are free", folder.display());
        return Err(Error::new(Kind::Io, message).hint("free some space and run the same command again"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn save(store: &Store, step: u64) -> Result<PathBuf> {
        let values = [step as f32, 2.0];
        let model = [Entry::f32("w", &[2], &values)];
        let optimizer = [Entry::f32("w.m", &[2], &values)];
        let state = json!({"position": step * 3, "loss": 0.1 + 0.2, "list": [1, null, "x"]});
        let files: [(&str, &[u8]); 1] = [("config.json", b"{}")];
        store.save(&Snapshot { step, model: &model, optimizer: &optimizer, state: &state, files: &files })
    }

    #[test]
    fn the_newest_is_loaded_and_old_ones_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 2).unwrap();
        assert!(store.load_newest().unwrap().is_none());
        for step in [5, 10, 100] {
            save(&store, step).unwrap();
        }
        assert_eq!(store.steps().unwrap(), [100, 10]);
        let loaded = store.load_newest().unwrap().unwrap();
        assert_eq!(
            (loaded.step, &loaded.state["position"], &loaded.state["loss"]),
            (100, &json!(300), &json!(0.1 + 0.2))
        );
        assert_eq!(loaded.model.f32("w").unwrap()[0], 100.0);
        assert_eq!(loaded.optimizer.unwrap().f32("w.m").unwrap()[0], 100.0);
        assert_eq!(std::fs::read_to_string(folder.path().join("latest")).unwrap(), "step-100\n");
        // Reaching a step again replaces it.
        save(&store, 100).unwrap();
        assert_eq!(store.steps().unwrap(), [100, 10]);
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }

    #[test]
    fn any_damage_is_found_and_the_one_before_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 3).unwrap();
        save(&store, 1).unwrap();
        let newest = save(&store, 2).unwrap();
        let mut rng = crate::rng::Rng::new(9, "checkpoint damage", 0);
        for name in [MODEL_FILE, OPTIMIZER_FILE, STATE_FILE, "config.json"] {
            let path = newest.join(name);
            let good = std::fs::read(&path).unwrap();
            for trial in 0..40 {
                let mut bad = good.clone();
                match trial {
                    0..30 => bad[rng.below(good.len())] ^= 1 << rng.below(8),
                    30..39 => bad.truncate(rng.below(good.len())),
                    _ => bad.push(b'\n'),
                }
                std::fs::write(&path, &bad).unwrap();
                let error = load(&newest).err().unwrap_or_else(|| panic!("{name}: damage {trial} was not found"));
                assert_eq!(error.kind(), Kind::Integrity, "{error}");
                assert!(error.message().contains(name), "{error}");
                assert_eq!(store.load_newest().unwrap().unwrap().step, 1);
            }
            std::fs::write(&path, &good).unwrap();
        }
        std::fs::copy(store.folder.join("step-1").join(MODEL_FILE), newest.join(MODEL_FILE)).unwrap();
        assert_eq!(store.load_newest().unwrap().unwrap().step, 1, "a file of another step is not mixed in");
        std::fs::remove_file(newest.join(STATE_FILE)).unwrap();
        std::fs::remove_file(store.folder.join("step-1").join(MODEL_FILE)).unwrap();
        assert_eq!(store.load_newest().err().unwrap().kind(), Kind::Integrity, "never a silent new start");
    }

    #[test]
    fn a_failed_save_leaves_the_old_checkpoint_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1).unwrap();
        save(&store, 1).unwrap();
        let huge = require_space(folder.path(), u64::MAX).unwrap_err();
        assert!(huge.kind() == Kind::Io && huge.message().contains("are needed"), "{huge}");
        std::fs::create_dir(folder.path().join(".tmp-step-half")).unwrap();
        std::fs::write(folder.path().join(".tmp-step-half/model.safetensors"), b"half").unwrap();
        std::fs::write(folder.path().join(".tmp-latest"), b"half").unwrap();
        let store = Store::open(folder.path(), 1).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(store.load_newest().unwrap().unwrap().step, 1);
        assert_eq!(open(folder.path()).err().unwrap().kind(), Kind::Missing);
        assert_eq!(open(&folder.path().join("step-1")).unwrap().step, 1);
        std::fs::remove_file(folder.path().join("step-1").join(OPTIMIZER_FILE)).unwrap();
        assert!(open(&folder.path().join("step-1")).unwrap().optimizer.is_none(), "a model can be shipped alone");
        assert_eq!(store.load_newest().err().unwrap().kind(), Kind::Integrity, "but not continued");
    }
}
