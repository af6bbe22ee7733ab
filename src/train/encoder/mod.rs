//! Stage 1: the spatial encoder learns counts, directions, distances, classes and rooms (paper 4.3).

pub mod ahead;
pub mod batch;
pub mod recipe;
pub mod step;
pub mod supply;

use self::ahead::Batch;
use self::batch::Clip;
use self::recipe::EncoderRecipe;
use self::step::Losses;
use self::supply::Supply;
use super::run::{Card, Pace, Parts, Resume, Stage, Table, drive};
use super::updates::{Counts, Updates};
use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::encoder::{Encoder, store};
use crate::error::{Context, Error, Result};
use crate::nn::Memory;
use crate::ops::adamw::AdamW;
use crate::optim::{Cosine, Optimizer};
use crate::shard::ShardSet;
use crate::tensor::DType;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Scenes read ahead of the step that uses them.
const PREFETCH_STEPS: u64 = 4;

/// How a trained encoder is scored; the scores live in `eval`, which comes after training in the pipeline.
pub trait Scorer: Sync {
    /// Named scores on the first `limit` scenes of `set`, recorded during the run.
    ///
    /// # Errors
    /// Scenes that cannot be read.
    fn watch(&self, encoder: &Encoder, set: &ShardSet, limit: usize) -> Result<Vec<(String, f64)>>;
    /// Tables for the card, on all scenes of `set`.
    ///
    /// # Errors
    /// Scenes that cannot be read.
    fn report(&self, encoder: &Encoder, set: &ShardSet) -> Result<Vec<Table>>;
}

/// What a checkpoint says of a run besides parameters and moments.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    counts: Counts,
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
pub(super) fn open_shards(folders: &[String]) -> Result<Option<ShardSet>> {
    let paths: Vec<&Path> = folders.iter().map(Path::new).collect();
    if paths.is_empty() { Ok(None) } else { ShardSet::open_all(&paths).map(Some) }
}

/// A training run with everything it needs in memory.
pub struct Training<'a> {
    recipe: EncoderRecipe,
    encoder: Encoder,
    updates: Updates,
    train: Supply,
    dev: Option<ShardSet>,
    test: Option<ShardSet>,
    window: Window,
    /// The clips of a step that were sent to the device while it worked on the one before.
    ahead: Option<(u64, Vec<Batch>)>,
    scorer: &'a dyn Scorer,
}

impl<'a> Training<'a> {
    /// Reads the data and builds the model of `recipe` on `device`.
    ///
    /// # Errors
    /// `Usage` naming the setting, or what opening the shards says.
    pub fn new(recipe: EncoderRecipe, device: Device, scorer: &'a dyn Scorer) -> Result<Training<'a>> {
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
        if precision == DType::Bf16 {
            encoder.params.keep_narrow();
        }
        encoder.set_memory(if recipe.train.gradient_checkpointing { Memory::Recompute } else { Memory::Keep });
        let o = &recipe.optimizer;
        let adamw = AdamW { beta1: o.beta1 as f32, beta2: o.beta2 as f32, eps: o.eps as f32 };
        let optimizer = Optimizer::new(&encoder.params, adamw, o.weight_decay, o.clip_norm);
        let schedule = Cosine { peak: o.learning_rate, warmup_ratio: o.warmup_ratio, total: recipe.train.steps };
        let updates = Updates::new(optimizer, schedule);
        Ok(Training { recipe, encoder, updates, train, dev, test, window: Window::default(), ahead: None, scorer })
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

    /// Clip number `i` of a step.
    fn clip(&self, step: u64, i: usize) -> Result<Clip> {
        let position = step * self.clips_per_step() + i as u64;
        batch::clip(&self.train, &self.recipe.data, self.recipe.train.seed, step, position)
    }

    /// Sends the clips of a step to the device.
    fn send(&self, step: u64) -> Result<Vec<Batch>> {
        let sizes = (self.clips_per_step() as usize, self.recipe.train.batch);
        Batch::send_all(&self.encoder, sizes, |i| self.clip(step, i))
    }

    fn clips_per_step(&self) -> u64 {
        (self.recipe.train.batch * self.recipe.train.accumulate) as u64
    }

    /// Trains in the run folder `out` until the last step, or until a signal stops it.
    ///
    /// # Errors
    /// Those of [`drive`].
    pub fn run(mut self, out: &Path, resume: Resume) -> Result<Encoder> {
        let config = crate::config::to_toml(&self.recipe);
        let t = self.recipe.train.clone();
        let sets = [("dev data", self.dev.as_ref()), ("test data", self.test.as_ref())];
        let more = sets.iter().filter_map(|(name, set)| Some((name.to_string(), set.as_ref()?.fingerprint())));
        let inputs = std::iter::once(("training data".to_string(), self.train.fingerprint())).chain(more).collect();
        let pace = Pace {
            steps: t.steps,
            log_every: t.log_every,
            score_every: t.score_every,
            save_every: t.save_every,
            keep: t.keep as usize,
        };
        drive(&mut self, (out, resume), &config, inputs, pace)?;
        Ok(self.encoder)
    }
}

impl Stage for Training<'_> {
    fn step(&mut self, step: u64) -> Result<()> {
        let per_step = self.clips_per_step();
        for ahead in 0..per_step {
            self.train.prefetch((step + PREFETCH_STEPS) * per_step + ahead);
        }
        let (gradient, losses) = if self.encoder.device() == Device::Host {
            step::gradients(&self.encoder, &self.recipe.loss, per_step as usize, |i| self.clip(step, i))?
        } else {
            let batches = match self.ahead.take() {
                Some((of, batches)) if of == step => batches,
                _ => self.send(step)?,
            };
            let is_last = step + 1 == self.recipe.train.steps;
            let meanwhile = || if is_last { Ok(Vec::new()) } else { self.send(step + 1) };
            let (gradient, losses, next) =
                step::gradients_on_device(&self.encoder, &self.recipe.loss, batches, meanwhile)?;
            self.ahead = Some((step + 1, next));
            (gradient, losses)
        };
        if let Some(norm) = self.updates.apply(&mut self.encoder.params, &gradient, losses.matched, step)? {
            self.window.add(&losses, norm);
        }
        Ok(())
    }

    fn metrics(&mut self) -> Vec<(&'static str, f64)> {
        let w = std::mem::take(&mut self.window);
        let mean = |sum: f64| sum / w.steps.max(1) as f64;
        let mut values = vec![("train/loss", mean(w.loss)), ("train/gradient_norm", mean(w.gradient_norm))];
        if self.recipe.loss.direction_map > 0.0 {
            values.push(("train/direction_map_loss", mean(w.direction_map)));
        }
        values.push(("train/skipped_updates", self.updates.counts().skipped as f64));
        values
    }

    fn watch(&mut self) -> Result<Vec<(String, f64)>> {
        let Some(dev) = &self.dev else { return Ok(Vec::new()) };
        self.scorer.watch(&self.encoder, dev, self.recipe.train.score_scenes)
    }

    fn snapshot(&self, save: &mut dyn FnMut(&Parts) -> Result<()>) -> Result<()> {
        let (params, moments) = (self.encoder.params.to(Device::Host), self.updates.moments());
        let state = State { counts: self.updates.counts(), window: self.window };
        let config = self.encoder.config_json();
        save(&Parts {
            model: &params.entries(),
            optimizer: &Updates::entries(&moments),
            state: serde_json::to_value(state).expect("plain data"),
            files: &[(store::CONFIG_FILE, config.as_bytes())],
        })
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.encoder.load(&checkpoint.model)?;
        let state: State =
            serde_json::from_value(checkpoint.state.clone()).map_err(|e| Error::data(format!("state.json: {e}")))?;
        self.updates.restore(checkpoint, state.counts)?;
        self.window = state.window;
        Ok(())
    }

    fn card(&mut self) -> Result<Card> {
        let tables = match &self.test {
            Some(test) => self.scorer.report(&self.encoder, test)?,
            None => Vec::new(),
        };
        Ok(Card {
            title: "Spatial encoder".into(),
            summary: "A spatial encoder (stage 1) trained by twnm: FOA audio in; number, directions, distances and \
                      classes of sources and the room out."
                .into(),
            facts: self.describe(),
            tables,
        })
    }
}
