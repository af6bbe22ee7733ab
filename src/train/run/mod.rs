//! The run folder: everything a training leaves behind, in a form that a kill at any moment cannot spoil.
//!
//! ```text
//! config.toml      the resolved recipe; a run continues only with the same one
//! metrics.jsonl    the truth: {"step": n, "name": value, ...}; no clock, rate, host or path, byte-equal after a resume
//! timings.jsonl    the clock: step, seconds, rate
//! metrics.csv, events.out.tfevents.*, plots/*.svg, README.md     made from the above
//! checkpoints/step-N/{model,optimizer}.safetensors, state.json; checkpoints/latest
//! ```
//! A checkpoint records how long `metrics.jsonl` was: on resume the file is cut back to that length, so the
//! steps done again are written once.

mod card;
mod drive;
mod metrics;
mod plots;
mod progress;
mod tensorboard;

pub use crate::table::Table;
pub use card::Card;
pub use drive::{Pace, Parts, Stage, drive};

use crate::checkpoint::{Checkpoint, Snapshot, Store};
use crate::error::{Error, Kind, Result};
use crate::files::{FolderLock, read_limited, remove_temporaries, write_bytes_atomic};
use metrics::MetricsLog;
use progress::Progress;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tensorboard::EventFile;

/// Name of the resolved recipe in a run folder.
pub const CONFIG_FILE: &str = "config.toml";
const CHECKPOINTS_FOLDER: &str = "checkpoints";
const PLOTS_FOLDER: &str = "plots";
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// What to do when the folder already holds a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Continue it from its newest good checkpoint.
    Auto,
    /// Refuse it.
    Never,
}

impl std::str::FromStr for Resume {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Resume::Auto),
            "never" => Ok(Resume::Never),
            _ => Err(format!("{text:?} is not accepted, needed is auto or never")),
        }
    }
}

/// How a run is kept.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What to do with an existing run.
    pub resume: Resume,
    /// Newest checkpoints to keep.
    pub keep: usize,
    /// Optimizer steps of the whole run, for progress.
    pub total_steps: u64,
    /// Name and fingerprint of everything the run reads (shards, weights): it continues only with the same.
    pub inputs: Vec<(String, String)>,
}

/// A run folder opened for training by this process alone.
pub struct Run {
    folder: PathBuf,
    store: Store,
    metrics: MetricsLog,
    inputs: Value,
    timings: File,
    events: EventFile,
    progress: Progress,
    started: Instant,
    first_step: u64,
    _lock: FolderLock,
}

impl Run {
    /// Opens `folder` for the resolved recipe `config`: a new run, or the one there continued (`Some`: load it).
    ///
    /// From here on SIGINT and SIGTERM set [`Run::should_stop`].
    ///
    /// # Errors
    /// [`Kind::Usage`] when the folder holds a run of another recipe (the differing settings are named) or of other
    /// data, or any run and `resume` is never; [`Kind::Io`] when another process trains there; [`Kind::Integrity`] when
    /// no checkpoint is good.
    pub fn open(folder: &Path, config: &str, options: &RunOptions) -> Result<(Run, Option<Checkpoint>)> {
        crate::signals::catch_stop();
        refuse_conflict(folder, config, options.resume)?;
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, &e))?;
        let lock = FolderLock::acquire(folder, ".lock")?;
        remove_temporaries(folder)?;
        remove_temporaries(&folder.join(PLOTS_FOLDER))?;
        // First of all, so that a run killed from here on is known by its recipe.
        if !folder.join(CONFIG_FILE).exists() {
            write_bytes_atomic(&folder.join(CONFIG_FILE), config.as_bytes())?;
        }
        let store = Store::open(&folder.join(CHECKPOINTS_FOLDER), options.keep)?;
        let mut checkpoint = store.load_newest()?;
        let inputs: Value = options.inputs.iter().map(|(name, hash)| (name.clone(), json!(hash))).collect();
        if let Some(checkpoint) = &checkpoint {
            refuse_other_inputs(folder, &checkpoint.state["inputs"], &inputs)?;
        }
        let metrics = MetricsLog::open(folder, checkpoint.as_ref().map(|c| &c.state["metrics"]))?;
        let first_step = checkpoint.as_ref().map_or(0, |c| c.step);
        if let Some(checkpoint) = &mut checkpoint {
            store.settle(first_step)?;
            // The loop gets back exactly what it saved.
            checkpoint.state = checkpoint.state["loop"].take();
            tracing::info!("continuing {} at step {first_step}", folder.display());
        }
        let path = folder.join("timings.jsonl");
        let timings = File::options().create(true).append(true).open(&path);
        let run = Run {
            timings: timings.map_err(|e| Error::io("open", &path, &e))?,
            events: EventFile::create(folder, first_step)?,
            progress: Progress::new(first_step, options.total_steps),
            started: Instant::now(),
            folder: folder.to_path_buf(),
            _lock: lock,
            store,
            metrics,
            inputs,
            first_step,
        };
        Ok((run, checkpoint))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Records metrics of `step` (names such as `train/loss`). Numbers that are not finite are kept as the
    /// texts "NaN", "Infinity", "-Infinity": they are never hidden.
    ///
    /// # Errors
    /// `Io` naming the file that could not be written.
    pub fn log(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        self.metrics.append(step, values)?;
        let (now, elapsed) = (unix_s(), self.started.elapsed().as_secs_f64());
        self.events.append(now, step, values)?;
        let rate = (step - self.first_step.min(step)) as f64 / elapsed.max(1e-9);
        self.time(&json!({"step": step, "unix_s": now, "session_s": elapsed, "steps_per_s": rate}))?;
        self.progress.update(step, values);
        Ok(())
    }

    fn time(&mut self, record: &Value) -> Result<()> {
        let line = format!("{record}\n");
        self.timings.write_all(line.as_bytes()).map_err(|e| Error::io("write", &self.folder.join("timings.jsonl"), &e))
    }

    /// Moves the progress display without recording anything.
    pub fn progress(&mut self, step: u64) {
        self.progress.update(step, &[]);
    }

    /// Saves a checkpoint after `step` steps, and returns its folder.
    ///
    /// # Errors
    /// `Io` naming the file that could not be written.
    #[track_caller]
    pub fn save(&mut self, step: u64, parts: &Parts) -> Result<PathBuf> {
        let &Parts { model, optimizer, files, .. } = parts;
        // The metrics must be durable before a checkpoint that counts on them.
        let state = json!({"metrics": self.metrics.sync()?, "inputs": self.inputs, "loop": parts.state});
        let saved = self.store.save(&Snapshot { step, model, optimizer, state: &state, files })?;
        self.metrics.write_csv()?;
        Ok(saved)
    }

    /// Whether a signal asked to stop: save, then end with [`Run::stopped`].
    pub fn should_stop(&self) -> bool {
        crate::signals::stop_requested()
    }

    /// The error that ends a run after a stop signal and a save: exit code 75.
    pub fn stopped(mut self, step: u64) -> Error {
        self.progress.finish();
        if let Err(error) = self.metrics.write_csv().and_then(|()| self.plot()) {
            tracing::warn!("{error}");
        }
        Error::new(Kind::Stopped, format!("{}: stopped by a signal, state saved at step {step}", self.folder.display()))
            .hint("run the same command again to continue")
    }

    /// Ends a run: draws the curves and writes the card.
    ///
    /// # Errors
    /// `Io` naming the file that could not be written.
    pub fn finish(mut self, card: &Card) -> Result<()> {
        self.progress.finish();
        self.metrics.write_csv()?;
        let plots = self.plot()?;
        write_bytes_atomic(&self.folder.join("README.md"), card.to_markdown(&plots).as_bytes())
    }

    fn plot(&self) -> Result<Vec<String>> {
        plots::draw_all(&self.folder.join(PLOTS_FOLDER), &self.metrics.series()?)
    }
}

/// Refuses a folder that does not fit, before anything in it is touched.
fn refuse_conflict(folder: &Path, config: &str, resume: Resume) -> Result<()> {
    let path = folder.join(CONFIG_FILE);
    if !path.exists() {
        if folder.join(CHECKPOINTS_FOLDER).exists() || folder.join(metrics::METRICS_FILE).exists() {
            let message = format!("{}: holds a run without its {CONFIG_FILE}", folder.display());
            return Err(Error::usage(message).hint("choose another --out folder"));
        }
        return Ok(());
    }
    if resume == Resume::Never {
        let message = format!("{}: already holds a run and --resume is never", folder.display());
        return Err(Error::usage(message).hint("choose another --out folder, or --resume auto to continue it"));
    }
    let stored = read_limited(&path, MAX_CONFIG_BYTES)?;
    let stored = String::from_utf8_lossy(&stored);
    let differences = differing_settings(&stored, config);
    if differences.is_empty() {
        return Ok(());
    }
    let list = differences.join("; ");
    Err(Error::usage(format!("{}: holds a run of another recipe ({list})", folder.display()))
        .hint("choose another --out folder, or give the same recipe and --set values"))
}

/// Refuses to continue with data that are not those the run began with, even under the same path.
fn refuse_other_inputs(folder: &Path, stored: &Value, given: &Value) -> Result<()> {
    if stored == given {
        return Ok(());
    }
    let fields = |v: &Value| v.as_object().cloned().unwrap_or_default();
    let (stored, given) = (fields(stored), fields(given));
    let names: Vec<&String> = stored.keys().chain(given.keys()).filter(|&k| stored.get(k) != given.get(k)).collect();
    let list = names.iter().map(|n| n.as_str()).collect::<std::collections::BTreeSet<_>>();
    let list = list.into_iter().collect::<Vec<_>>().join(", ");
    Err(Error::usage(format!("{}: the run began with other content of: {list}", folder.display()))
        .hint("give it back the data it began with, or choose another --out folder"))
}

/// Settings in which two resolved recipes differ: `optimizer.learning_rate: 0.001 there, 0.01 asked for`.
fn differing_settings(stored: &str, asked: &str) -> Vec<String> {
    if stored == asked {
        return Vec::new();
    }
    let leaves = |text: &str| -> std::collections::BTreeMap<String, String> {
        let (mut section, mut out) = (String::new(), std::collections::BTreeMap::new());
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[') {
                section = format!("{}.", name.trim_end_matches(']'));
            } else if let Some((key, value)) = line.split_once(" = ") {
                out.insert(format!("{section}{key}"), value.to_string());
            }
        }
        out
    };
    let (a, b) = (leaves(stored), leaves(asked));
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let absent = "nothing".to_string();
    let show =
        |side: &std::collections::BTreeMap<String, String>, key: &String| side.get(key).unwrap_or(&absent).clone();
    keys.into_iter()
        .filter(|&key| a.get(key) != b.get(key))
        .map(|key| format!("{key}: {} there, {} asked for", show(&a, key), show(&b, key)))
        .collect()
}

fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

#[cfg(test)]
mod tests;
