//! Stage 1: the spatial encoder learns counts, directions, distances, classes and rooms (paper 4.3).

pub mod batch;
pub mod recipe;
pub mod step;
pub mod supply;

use self::recipe::EncoderRecipe;
use self::step::Losses;
use self::supply::Supply;
use super::run::{Card, Resume, Run, RunOptions, Table};
use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::encoder::{Encoder, store};
use crate::error::{Context, Error, Kind, Result};
use crate::ops::adamw::AdamW;
use crate::optim::{Cosine, Optimizer};
use crate::shard::ShardSet;
use crate::tensor::{DType, Tensor};
use crate::weights::Entry;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Updates skipped in a row, because the gradient was not finite, before the run gives up.
const SKIPPED_MAX: u64 = 5;
/// Scenes read ahead of the step that uses them.
const PREFETCH_STEPS: u64 = 4;

/// How a trained encoder is scored; the scores live in `eval`, which comes after training in the pipeline.
pub trait Scorer {
    /// Named scores on the first `limit` scenes of `set`, recorded during the run.
    fn watch(&self, encoder: &Encoder, set: &ShardSet, limit: usize) -> Result<Vec<(String, f64)>>;
    /// Tables for the card, on all scenes of `set`.
    fn report(&self, encoder: &Encoder, set: &ShardSet) -> Result<Vec<Table>>;
}

/// What decides how training goes on besides parameters and moments.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    updates: u64,
    skipped_in_a_row: u64,
    skipped: u64,
    window: Window,
}

/// Sums since the last line of metrics.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    steps: u64,
    loss: f64,
    direction_map: f64,
    gradient_norm: f64,
}

impl Window {
    fn add(&mut self, losses: &Losses, norm: f64) {
        self.steps += 1;
        self.loss += losses.matched;
        self.direction_map += losses.direction_map;
        self.gradient_norm += norm;
    }
}

/// Opens the shard folders of a list.
fn open_shards(folders: &[String]) -> Result<Option<ShardSet>> {
    let paths: Vec<&Path> = folders.iter().map(Path::new).collect();
    if paths.is_empty() { Ok(None) } else { ShardSet::open_all(&paths).map(Some) }
}

/// A training run with everything it needs in memory.
pub struct Training {
    recipe: EncoderRecipe,
    encoder: Encoder,
    optimizer: Optimizer,
    train: Supply,
    dev: Option<ShardSet>,
    test: Option<ShardSet>,
    progress: Progress,
}

impl Training {
    /// Reads the data and builds the model of `recipe` on `device`.
    ///
    /// # Errors
    /// `Usage` naming the setting, or what opening the shards says.
    pub fn new(recipe: EncoderRecipe, device: Device) -> Result<Training> {
        let precision = if recipe.train.precision == "bf16" { DType::Bf16 } else { DType::F32 };
        if precision == DType::Bf16 && device == Device::Host {
            return Err(Error::usage("train.precision = \"bf16\": the host computes in f32")
                .hint("train with --device cuda, or --set train.precision=f32"));
        }
        let train = Supply::open(&recipe.data, recipe.train.seed, device)?;
        let needed = recipe.model.samples_min();
        if let Some((i, samples)) = train.too_short(needed) {
            let message = format!("training scene {i} has {samples} samples, the model needs {needed}");
            return Err(Error::data(message));
        }
        let (dev, test) = (open_shards(&recipe.data.dev), open_shards(&recipe.data.test));
        let (dev, test) = (dev.context_with(|| "data.dev")?, test.context_with(|| "data.test")?);
        let encoder = Encoder::new(recipe.model.clone(), train.classes().to_vec(), recipe.train.seed)?;
        let mut encoder = encoder.to(device);
        encoder.precision = precision;
        let o = &recipe.optimizer;
        let adamw = AdamW { beta1: o.beta1 as f32, beta2: o.beta2 as f32, eps: o.eps as f32 };
        let optimizer = Optimizer::new(&encoder.params, adamw, o.weight_decay, o.clip_norm);
        Ok(Training { recipe, encoder, optimizer, train, dev, test, progress: Progress::default() })
    }

    /// One line per fact about what will run.
    pub fn describe(&self) -> Vec<(String, String)> {
        let clips = self.recipe.train.steps * self.clips_per_step();
        vec![
            ("parameters".into(), self.encoder.params.count().to_string()),
            ("training scenes".into(), self.train.size()),
            ("training data".into(), self.train.fingerprint()),
            ("clips seen".into(), clips.to_string()),
            ("classes".into(), self.encoder.classes.join(", ")),
            ("seed".into(), self.recipe.train.seed.to_string()),
            ("program".into(), format!("twnm {}", env!("CARGO_PKG_VERSION"))),
        ]
    }

    fn clips_per_step(&self) -> u64 {
        (self.recipe.train.batch * self.recipe.train.accumulate) as u64
    }

    /// Trains in the run folder `out` until the last step, or until a signal stops it.
    ///
    /// # Errors
    /// `Stopped` after a signal, with the state saved; `Diverged` when gradients stay not finite; what the run folder
    /// says otherwise.
    pub fn run(mut self, out: &Path, resume: Resume, scorer: &dyn Scorer) -> Result<Encoder> {
        let config = crate::config::to_toml(&self.recipe);
        let t = self.recipe.train.clone();
        let sets = [("dev data", self.dev.as_ref()), ("test data", self.test.as_ref())];
        let more = sets.iter().filter_map(|(name, set)| Some((name.to_string(), set.as_ref()?.fingerprint())));
        let inputs = std::iter::once(("training data".to_string(), self.train.fingerprint())).chain(more).collect();
        let options = RunOptions { resume, keep: t.keep as usize, total_steps: t.steps, inputs };
        let (mut run, checkpoint) = Run::open(out, &config, &options)?;
        let first = checkpoint.as_ref().map_or(0, |c| c.step);
        if let Some(checkpoint) = checkpoint {
            self.restore(&checkpoint).context_with(|| checkpoint.folder.display())?;
        }
        for step in first..t.steps {
            self.train_step(step)?;
            let done = step + 1;
            if done % t.log_every == 0 || done == t.steps {
                self.log(&mut run, done)?;
            }
            if let Some(dev) = self.dev.as_ref().filter(|_| done % t.score_every == 0 || done == t.steps) {
                let scores = scorer.watch(&self.encoder, dev, t.score_scenes)?;
                let named: Vec<(&str, f64)> = scores.iter().map(|(name, v)| (name.as_str(), *v)).collect();
                run.log(done, &named)?;
            }
            let stop = run.should_stop();
            if done % t.save_every == 0 || done == t.steps || stop {
                self.save(&mut run, done)?;
            }
            if stop && done < t.steps {
                return Err(run.stopped(done));
            }
            run.progress(done);
        }
        let tables = match &self.test {
            Some(test) => scorer.report(&self.encoder, test)?,
            None => Vec::new(),
        };
        run.finish(&Card {
            title: "Spatial encoder".into(),
            summary: "A spatial encoder (stage 1) trained by twnm: FOA audio in; number, directions, distances and \
                      classes of sources and the room out."
                .into(),
            facts: self.describe(),
            tables,
        })?;
        Ok(self.encoder)
    }

    fn train_step(&mut self, step: u64) -> Result<()> {
        let per_step = self.clips_per_step();
        for ahead in 0..per_step {
            self.train.prefetch((step + PREFETCH_STEPS) * per_step + ahead);
        }
        let (data, seed) = (&self.recipe.data, self.recipe.train.seed);
        let make = |i: usize| batch::clip(&self.train, data, seed, step * per_step + i as u64);
        let (gradient, losses) = step::gradients(&self.encoder, &self.recipe.loss, per_step as usize, make)?;
        let o = &self.recipe.optimizer;
        let schedule = Cosine { peak: o.learning_rate, warmup_ratio: o.warmup_ratio, total: self.recipe.train.steps };
        let norm = self.optimizer.step(&mut self.encoder.params, &gradient, schedule.rate(step));
        self.progress.updates = self.optimizer.updates;
        if norm.is_finite() && losses.matched.is_finite() {
            self.progress.skipped_in_a_row = 0;
            self.progress.window.add(&losses, norm);
            return Ok(());
        }
        self.progress.skipped += 1;
        self.progress.skipped_in_a_row += 1;
        tracing::warn!("step {step}: loss {} and gradient norm {norm} are not finite, update skipped", losses.matched);
        if self.progress.skipped_in_a_row > SKIPPED_MAX {
            let message = format!("diverged: {} updates in a row were not finite, at step {step}", SKIPPED_MAX + 1);
            return Err(Error::new(Kind::Diverged, message)
                .hint("the last checkpoint is intact; lower optimizer.learning_rate and use another --out"));
        }
        Ok(())
    }

    fn log(&mut self, run: &mut Run, done: u64) -> Result<()> {
        let w = std::mem::take(&mut self.progress.window);
        let mean = |sum: f64| sum / w.steps.max(1) as f64;
        let mut values = vec![("train/loss", mean(w.loss)), ("train/gradient_norm", mean(w.gradient_norm))];
        if self.recipe.loss.direction_map > 0.0 {
            values.push(("train/direction_map_loss", mean(w.direction_map)));
        }
        values.push(("train/skipped_updates", self.progress.skipped as f64));
        run.log(done, &values)
    }

    fn save(&self, run: &mut Run, done: u64) -> Result<()> {
        let params = self.encoder.params.to(Device::Host);
        let [m, v] = [&self.optimizer.m, &self.optimizer.v].map(|t| t.to(Device::Host));
        let n = [m.len()];
        let moments = [Entry::f32("m", &n, m.data()), Entry::f32("v", &n, v.data())];
        let state = serde_json::to_value(self.progress).expect("plain data");
        let config = self.encoder.config_json();
        run.save(done, &params.entries(), &moments, state, &[(store::CONFIG_FILE, config.as_bytes())])?;
        Ok(())
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.encoder.load(&checkpoint.model)?;
        let Some(optimizer) = &checkpoint.optimizer else {
            return Err(Error::data("optimizer.safetensors is missing: a run continues only with its optimizer"));
        };
        let (n, device) = ([self.optimizer.m.len()], self.encoder.device());
        let moments = |name: &str| Ok::<_, Error>(Tensor::from_slice(&n, &optimizer.parameter(name, &n)?).to(device));
        (self.optimizer.m, self.optimizer.v) = (moments("m")?, moments("v")?);
        self.progress =
            serde_json::from_value(checkpoint.state.clone()).map_err(|e| Error::data(format!("state.json: {e}")))?;
        self.optimizer.updates = self.progress.updates;
        Ok(())
    }
}
