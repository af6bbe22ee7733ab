//! The loop of every stage: steps, metrics, scores, checkpoints, signals, and the card at the end.

use super::{Card, Resume, Run, RunOptions};
use crate::checkpoint::Checkpoint;
use crate::error::{Context as _, Result};
use crate::weights::Entry;
use serde_json::Value;
use std::path::Path;

/// What a stage is to the loop. Everything that decides how training goes on is in the snapshot: a run that was stopped
/// and restored gives the bytes of one that never was.
pub trait Stage {
    /// Makes optimizer step number `step`, counted from 0.
    ///
    /// # Errors
    /// Data that cannot be read; `Diverged` when gradients stay not finite.
    fn step(&mut self, step: u64) -> Result<()>;
    /// Means of what happened since the last call, by name, for a line of metrics.
    fn metrics(&mut self) -> Vec<(&'static str, f64)>;
    /// Scores on held-out data, by name; none without such data.
    ///
    /// # Errors
    /// Data that cannot be read.
    fn watch(&mut self) -> Result<Vec<(String, f64)>>;
    /// Hands everything that a checkpoint holds to `save`.
    ///
    /// # Errors
    /// Those of `save`.
    fn snapshot(&self, save: &mut dyn FnMut(&Parts) -> Result<()>) -> Result<()>;
    /// Takes back what [`Stage::snapshot`] handed over.
    ///
    /// # Errors
    /// `Data` naming what does not fit.
    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()>;
    /// The card of the finished run, with results on the data of the last word.
    ///
    /// # Errors
    /// Data that cannot be read.
    fn card(&mut self) -> Result<Card>;
}

/// What a checkpoint holds.
pub struct Parts<'a> {
    /// The trained parameters.
    pub model: &'a [Entry<'a>],
    /// The optimizer's state.
    pub optimizer: &'a [Entry<'a>],
    /// Whatever else decides how training goes on.
    pub state: Value,
    /// Further files, such as the model's `config.json`.
    pub files: &'a [(&'a str, &'a [u8])],
}

/// How often things happen, in steps.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps between lines of metrics.
    pub log_every: u64,
    /// Steps between scores.
    pub score_every: u64,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// Newest checkpoints to keep.
    pub keep: usize,
}

/// Trains `stage` in the run folder `out` until the last step, or until a signal stops it. `config` is the resolved recipe,
/// `inputs` name and fingerprint of everything that is read: a run continues only with the same.
///
/// # Errors
/// `Stopped` after a signal, with the state saved; what the stage and the run folder say otherwise.
pub fn drive(
    stage: &mut dyn Stage,
    (out, resume): (&Path, Resume),
    config: &str,
    inputs: Vec<(String, String)>,
    pace: Pace,
) -> Result<()> {
    let options = RunOptions { resume, keep: pace.keep, total_steps: pace.steps, inputs };
    let (mut run, checkpoint) = Run::open(out, config, &options)?;
    let first = checkpoint.as_ref().map_or(0, |c| c.step);
    if let Some(checkpoint) = checkpoint {
        stage.restore(&checkpoint).context_with(|| checkpoint.folder.display())?;
    }
    for step in first..pace.steps {
        stage.step(step)?;
        let done = step + 1;
        let is_due = |every: u64| done.is_multiple_of(every) || done == pace.steps;
        if is_due(pace.log_every) {
            run.log(done, &stage.metrics())?;
        }
        if is_due(pace.score_every) {
            let scores = stage.watch()?;
            let named: Vec<(&str, f64)> = scores.iter().map(|(name, v)| (name.as_str(), *v)).collect();
            if !named.is_empty() {
                run.log(done, &named)?;
            }
        }
        let stop = run.should_stop();
        if is_due(pace.save_every) || stop {
            stage.snapshot(&mut |parts| run.save(done, parts).map(|_| ()))?;
        }
        if stop && done < pace.steps {
            return Err(run.stopped(done));
        }
        run.progress(done);
    }
    let card = stage.card()?;
    run.finish(&card)
}
