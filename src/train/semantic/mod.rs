//! The pocket semantic encoder learns which classes sound (the published ones are downloaded, trained on speech).
//!
//! Scenes as in stage 1, their W channel cropped to a window; the loss is the binary cross-entropy of every class. At the
//! end the encoder is written to `semantic` in the run folder, as a Whisper folder. Sources of unknown class are not in the
//! target.

pub mod recipe;

use self::recipe::SemanticRecipe;
use super::encoder::recipe::Data as SceneData;
use super::encoder::supply::Supply;
use super::run::{Card, Pace, Parts, Resume, Stage, Table, drive};
use super::updates::{Counts, Updates};
use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::error::{Context as _, Error, Result};
use crate::nn::Forward;
use crate::ops::adamw::AdamW;
use crate::ops::{bce, elementwise};
use crate::optim::{Cosine, Optimizer};
use crate::rng::Rng;
use crate::scene::ClipTruth;
use crate::semantic::tagger::Tagger;
use crate::shard::ShardSet;
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Folder of the finished encoder in the run folder.
pub const ENCODER_FOLDER: &str = "semantic";

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
    gradient_norm: f64,
}

/// A clip of W and the classes that sound in it.
struct Clip {
    audio: Vec<f32>,
    target: Vec<f32>,
}

/// A training run with everything it needs in memory.
pub struct Training {
    recipe: SemanticRecipe,
    tagger: Tagger,
    updates: Updates,
    train: Supply,
    dev: Option<ShardSet>,
    test: Option<ShardSet>,
    window: Window,
}

fn target(truth: &ClipTruth, classes: usize) -> Vec<f32> {
    let mut target = vec![0.0; classes];
    truth.sources.iter().filter_map(|source| source.class).for_each(|class| target[class] = 1.0);
    target
}

impl Training {
    /// Reads the data and builds the model of `recipe` on `device`.
    ///
    /// # Errors
    /// `Usage` naming the setting, or what opening the shards says.
    pub fn new(recipe: SemanticRecipe, device: Device) -> Result<Training> {
        let d = &recipe.data;
        let scenes = SceneData {
            train: d.train.clone(),
            sources: d.sources.clone(),
            bank: d.bank,
            scene_recipe: d.scene_recipe.clone(),
            ..SceneData::default()
        };
        let train = Supply::open(&scenes, recipe.train.seed, device)?;
        let open = |folders: &[String], name: &str| {
            let set = super::encoder::open_shards(folders).context_with(|| name.to_string())?;
            match set.as_ref().filter(|set| set.classes() != train.classes()) {
                Some(_) => Err(Error::usage(format!("{name}: its classes are not those of the training scenes"))),
                None => Ok(set),
            }
        };
        let (dev, test) = (open(&d.dev, "data.dev")?, open(&d.test, "data.test")?);
        let tagger = Tagger::new(recipe.model.config(), train.classes().to_vec(), recipe.train.seed)?.to(device);
        let o = &recipe.optimizer;
        let adamw = AdamW { beta1: o.beta1 as f32, beta2: o.beta2 as f32, eps: o.eps as f32 };
        let optimizer = Optimizer::new(&tagger.params, adamw, o.weight_decay, o.clip_norm);
        let schedule = Cosine { peak: o.learning_rate, warmup_ratio: o.warmup_ratio, total: recipe.train.steps };
        let updates = Updates::new(optimizer, schedule);
        Ok(Training { recipe, tagger, updates, train, dev, test, window: Window::default() })
    }

    /// One line per fact about what will run.
    pub fn describe(&self) -> Vec<(String, String)> {
        let t = &self.recipe.train;
        vec![
            ("parameters".into(), self.tagger.params.count().to_string()),
            ("training scenes".into(), self.train.size()),
            ("training data".into(), self.train.fingerprint()),
            ("clips seen".into(), (t.steps * t.batch as u64).to_string()),
            ("window".into(), format!("{} s", self.recipe.model.positions as f64 / 50.0)),
            ("classes".into(), self.tagger.classes.join(", ")),
            ("seed".into(), t.seed.to_string()),
            ("program".into(), format!("twnm {}", env!("CARGO_PKG_VERSION"))),
        ]
    }

    /// Clip number `i` of a step.
    fn clip(&self, step: u64, i: usize) -> Result<Clip> {
        let position = step * self.recipe.train.batch as u64 + i as u64;
        let mut rng = Rng::new(self.recipe.train.seed, "semantic crop", position);
        let longest = self.tagger.config.window_samples();
        let (mut audio, labels, begin) = self.train.part(position, |frames| {
            let n = frames.min(longest);
            (rng.below(frames - n + 1), n)
        })?;
        audio.truncate(audio.len() / 4);
        let target = target(&labels.crop(begin, audio.len()), self.tagger.classes.len());
        Ok(Clip { audio, target })
    }

    /// The loss of clips, and the gradients of their sum times `share` added to `flat`.
    fn clip_gradients(&self, clips: &[Clip], share: f32, flat: &mut Tensor) -> Result<f64> {
        let audio: Vec<&[f32]> = clips.iter().map(|clip| &clip.audio[..]).collect();
        let targets: Vec<f32> = clips.iter().flat_map(|clip| clip.target.iter().copied()).collect();
        let mut c = Forward::new(Tape::new(), &self.tagger.params);
        let logits = self.tagger.forward(&mut c, &self.tagger.windows(&audio)?);
        let target = Tensor::from_slice(&[clips.len(), self.tagger.classes.len()], &targets);
        let target = Var::constant(target.to(self.tagger.params.device()));
        let loss = bce::bce_with_logits(&mut c.tape, &logits, &target);
        let total = elementwise::scale(&mut c.tape, &loss, share * clips.len() as f32);
        drop(logits);
        c.gradients(&total, flat)?;
        Ok(f64::from(loss.tensor().item()))
    }

    /// Mean loss of a step and its gradient: on the host clip by clip in parallel, added in order; on a device at once.
    fn gradients(&self, step: u64) -> Result<(Tensor, f64)> {
        let (count, n) = (self.recipe.train.batch, self.tagger.params.flat_len());
        let share = 1.0 / count as f32;
        let device = self.tagger.params.device();
        if device != Device::Host {
            let clips: Vec<Clip> = (0..count).into_par_iter().map(|i| self.clip(step, i)).collect::<Result<_>>()?;
            let mut flat = Tensor::zeros_on(device, DType::F32, &[n]);
            let loss = self.clip_gradients(&clips, share, &mut flat)?;
            return Ok((flat, loss));
        }
        let (mut sum, mut loss) = (Tensor::zeros(&[n]), 0.0);
        // A bounded number of gradients is held at a time; the width is fixed, so the bytes do not depend on threads.
        let one = |i: usize| {
            let mut flat = Tensor::zeros(&[n]);
            let loss = self.clip_gradients(&[self.clip(step, i)?], share, &mut flat)?;
            Ok((flat, loss))
        };
        for start in (0..count).step_by(16) {
            let parts: Vec<Result<(Tensor, f64)>> = (start..count.min(start + 16)).into_par_iter().map(one).collect();
            for part in parts {
                let (flat, l) = part?;
                elementwise::accumulate_parts(&mut sum, &[(flat, 0)]);
                loss += l / count as f64;
            }
        }
        Ok((sum, loss))
    }

    /// Scores on the first `limit` scenes of a set.
    fn scores(&self, set: &ShardSet, limit: usize) -> Result<[f64; 2]> {
        let classes = self.tagger.classes.len();
        let longest = self.tagger.config.window_samples();
        let heard = |i: usize| -> Result<(Vec<f32>, Vec<f32>)> {
            let frames = set.frames(i);
            let n = frames.min(longest);
            let (begin, scale) = ((frames - n) / 2, set.scale(i));
            let audio: Vec<f32> = set.audio(i)[begin..begin + n].iter().map(|&v| f32::from(v) * scale).collect();
            let mut c = Forward::new(Tape::without_gradients(), &self.tagger.params);
            let logits = self.tagger.forward(&mut c, &self.tagger.windows(&[&audio])?);
            let logits = logits.tensor().to(Device::Host).data().to_vec();
            Ok((logits, target(&set.labels(i).crop(begin, n), classes)))
        };
        let scenes = 0..set.len().min(limit);
        let all: Vec<(Vec<f32>, Vec<f32>)> = match self.tagger.params.device() {
            Device::Host => scenes.into_par_iter().map(heard).collect::<Result<_>>()?,
            _ => scenes.map(heard).collect::<Result<_>>()?,
        };
        let mut often = vec![0.0f32; classes];
        all.iter().for_each(|(_, target)| often.iter_mut().zip(target).for_each(|(o, t)| *o += t));
        Ok([recall(all.iter().map(|(x, t)| (&x[..], &t[..]))), recall(all.iter().map(|(_, t)| (&often[..], &t[..])))])
    }

    /// Trains in the run folder `out` until the last step, or until a signal stops it, and writes the encoder.
    ///
    /// # Errors
    /// Those of [`drive`].
    pub fn run(mut self, out: &Path, resume: Resume) -> Result<()> {
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
        self.tagger.to(Device::Host).save(&out.join(ENCODER_FOLDER))
    }
}

/// The share of all classes that sound which are among as many of the likeliest; of equals the first.
fn recall<'a>(clips: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> f64 {
    let (mut found, mut all) = (0, 0);
    for (values, target) in clips {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        let sounding = target.iter().filter(|&&t| t > 0.0).count();
        found += order[..sounding].iter().filter(|&&class| target[class] > 0.0).count();
        all += sounding;
    }
    found as f64 / all.max(1) as f64
}

impl Stage for Training {
    fn step(&mut self, step: u64) -> Result<()> {
        self.train.prefetch((step + 1) * self.recipe.train.batch as u64);
        let (gradient, loss) = self.gradients(step)?;
        if let Some(norm) = self.updates.apply(&mut self.tagger.params, &gradient, loss, step)? {
            self.window.steps += 1;
            self.window.loss += loss;
            self.window.gradient_norm += norm;
        }
        Ok(())
    }

    fn metrics(&mut self) -> Vec<(&'static str, f64)> {
        let w = std::mem::take(&mut self.window);
        let mean = |sum: f64| sum / w.steps.max(1) as f64;
        vec![
            ("train/loss", mean(w.loss)),
            ("train/gradient_norm", mean(w.gradient_norm)),
            ("train/skipped_updates", self.updates.counts().skipped as f64),
        ]
    }

    fn watch(&mut self) -> Result<Vec<(String, f64)>> {
        let Some(dev) = &self.dev else { return Ok(Vec::new()) };
        let [recall, constant] = self.scores(dev, self.recipe.train.score_scenes)?;
        Ok(vec![("dev/class_recall".into(), recall), ("dev/class_recall_constant".into(), constant)])
    }

    fn snapshot(&self, save: &mut dyn FnMut(&Parts) -> Result<()>) -> Result<()> {
        let (params, moments) = (self.tagger.params.to(Device::Host), self.updates.moments());
        let state = State { counts: self.updates.counts(), window: self.window };
        save(&Parts {
            model: &params.entries(),
            optimizer: &Updates::entries(&moments),
            state: serde_json::to_value(state).expect("plain data"),
            files: &[],
        })
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.tagger.params.load_trained(&checkpoint.model)?;
        let state: State =
            serde_json::from_value(checkpoint.state.clone()).map_err(|e| Error::data(format!("state.json: {e}")))?;
        self.updates.restore(checkpoint, state.counts)?;
        self.window = state.window;
        Ok(())
    }

    fn card(&mut self) -> Result<Card> {
        let tables = match &self.test {
            Some(test) => {
                let [recall, constant] = self.scores(test, usize::MAX)?;
                let row = |name: &str, value: f64| vec![name.to_string(), format!("{:.1} %", 100.0 * value)];
                vec![Table {
                    caption: format!("Classes heard in {} test scenes", test.len()),
                    header: vec!["ranking".into(), "of the classes that sound".into()],
                    rows: vec![row("encoder", recall), row("always the most frequent classes", constant)],
                }]
            }
            None => Vec::new(),
        };
        Ok(Card {
            title: "Semantic encoder".into(),
            summary: format!(
                "A Whisper-type encoder trained by twnm on the classes of sounds; `{ENCODER_FOLDER}/` is a folder that \
                 Transformers' WhisperModel loads."
            ),
            facts: self.describe(),
            tables,
        })
    }
}

#[cfg(test)]
mod tests;
