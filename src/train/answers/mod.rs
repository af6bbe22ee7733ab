//! Stages 2 and 3: what is heard becomes words (paper 4.2.2, 4.3).
//!
//! Stage 2 (`align`) trains the projector alone, on open questions; stage 3 (`sft`) the projector and an adapter of the
//! decoder, on reasoning and answers. Both encoders and the decoder are frozen. The loss of a step is the mean over all
//! tokens that its rows ask for, whatever the micro-batches.

pub mod clips;
pub mod data;
pub mod memory;
pub mod recipe;

use self::clips::Clips;
use self::data::Supply;
use self::memory::Stage as Memory;
use self::recipe::{AlignRecipe, Data, Lora, Models, SftRecipe, Train};
use super::encoder::recipe::OptimizerSettings;
use super::run::{Card, Pace, Parts as Saved, Resume, Stage, Table, drive};
use super::updates::{Counts, Updates};
use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::device::product::Threads;
use crate::device::tally::Held;
use crate::error::{Context as _, Error, Result};
use crate::family::prompt::Document;
use crate::family::{AdapterChoice, Choice, Family, PARTS_FILE, PROJECTOR_PREFIX, Parts, ProjectorChoice, Words};
use crate::language::decoder::Kept;
use crate::language::lora::{LoraConfig, Targets as LoraTargets};
use crate::language::loss::{Targets, loss};
use crate::language::store;
use crate::models::Places;
use crate::nn::Forward;
use crate::ops::adamw::AdamW;
use crate::ops::packed::Packing;
use crate::optim::{Cosine, Optimizer};
use crate::projector::{Ablation, ProjectorConfig};
use crate::tape::Tape;
use crate::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What both stages are made of.
struct Settings {
    title: &'static str,
    models: Models,
    projector: ProjectorConfig,
    lora: Option<crate::language::lora::LoraConfig>,
    data: Data,
    optimizer: OptimizerSettings,
    train: Train,
    /// The resolved recipe.
    text: String,
}

/// Where a run is computed, and with how much.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// The device.
    pub device: Device,
    /// Where models are looked for.
    pub places: &'a Places,
    /// Bytes of the device's memory that the run is held to.
    pub memory: Option<u64>,
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
    gradient_norm: f64,
    tokens: u64,
}

/// A run of stage 2 or 3 with everything it needs in memory.
pub struct Training {
    settings: Settings,
    family: Family,
    updates: Updates,
    rows: Supply,
    dev: Option<Supply>,
    window: Window,
    /// The budget of memory, to the end of the run.
    _budget: Option<Held>,
}

impl Training {
    /// Stage 2.
    ///
    /// # Errors
    /// `Usage` naming the setting, or with the plan of a step that needs more than [`Means::memory`]; what opening models and
    /// rows says.
    pub fn align(recipe: AlignRecipe, means: Means) -> Result<Training> {
        let (text, stage) = (crate::config::to_toml(&recipe), Memory::from(recipe.clone()));
        let AlignRecipe { model, projector, data, optimizer, train } = recipe;
        let projector = projector.config();
        Training::new(
            Settings { title: "Alignment", models: model, projector, lora: None, data, optimizer, train, text },
            &stage,
            means,
        )
    }

    /// Stage 3.
    ///
    /// # Errors
    /// As [`Training::align`].
    pub fn sft(recipe: SftRecipe, means: Means) -> Result<Training> {
        expect_no_other_adapter(&recipe)?;
        let (text, stage) = (crate::config::to_toml(&recipe), Memory::from(recipe.clone()));
        let SftRecipe { model, projector, lora, data, optimizer, train } = recipe;
        let (projector, lora) = (projector.config(), Some(lora.config()));
        Training::new(
            Settings { title: "Fine-tuning", models: model, projector, lora, data, optimizer, train, text },
            &stage,
            means,
        )
    }

    fn new(settings: Settings, stage: &Memory, means: Means) -> Result<Training> {
        let Means { device, places, memory } = means;
        let precision = if settings.train.precision == "bf16" { DType::Bf16 } else { DType::F32 };
        if precision == DType::Bf16 && device == Device::Host {
            return Err(Error::usage("train.precision = \"bf16\": the host computes in f32")
                .hint("train with --device cuda, or --set train.precision=f32"));
        }
        let parts = parts(&settings.models, places)?;
        let words = Words::open(&parts.decoder)?;
        let (mut rows, mut dev) = supplies(&words, &settings.data)?;
        if settings.lora.is_none() {
            rows.expect_recordings()?;
        }
        let budget = memory.map(|memory| stage.hold(&rows, dev.as_ref(), means, memory)).transpose()?;
        let is_fresh = parts.projector.is_none();
        let projector =
            if is_fresh { ProjectorChoice::Fresh(settings.projector.clone()) } else { ProjectorChoice::Stored };
        let adapters = match (&settings.lora, settings.models.adapter.as_str()) {
            (None, _) => Vec::new(),
            (Some(lora), "") => vec![AdapterChoice::Fresh(lora.clone())],
            (Some(_), folder) => vec![AdapterChoice::Stored { folder: PathBuf::from(folder), is_frozen: false }],
        };
        let choice = Choice { projector, trains_projector: true, adapters, seed: settings.train.seed };
        let mut family = Family::open_with(&parts, &choice, device, words)?;
        family.decoder.precision = precision;
        if precision == DType::Bf16 {
            family.params.keep_narrow();
        }
        family.decoder.kept = vec![kept(&settings.train); family.decoder.config.layers];
        let most = family.decoder.config.positions;
        if settings.data.tokens_max > most {
            tracing::warn!(
                "data.tokens_max is {}, the decoder was made for {most} positions",
                settings.data.tokens_max
            );
        }
        if !settings.data.cache.is_empty() {
            let clips = Clips::open(Path::new(&settings.data.cache), &family).context_with(|| "data.cache")?;
            let clips = Arc::new(clips);
            std::iter::once(&mut rows).chain(&mut dev).for_each(|supply| supply.keep_in(clips.clone()));
        }
        let o = &settings.optimizer;
        let adamw = AdamW { beta1: o.beta1 as f32, beta2: o.beta2 as f32, eps: o.eps as f32 };
        let optimizer = Optimizer::new(&family.params, adamw, o.weight_decay, o.clip_norm);
        let schedule = Cosine { peak: o.learning_rate, warmup_ratio: o.warmup_ratio, total: settings.train.steps };
        let updates = Updates::new(optimizer, schedule);
        Ok(Training { settings, family, updates, rows, dev, window: Window::default(), _budget: budget })
    }

    /// One line per fact about what will run.
    pub fn describe(&self) -> Vec<(String, String)> {
        let (train, params) = (&self.settings.train, &self.family.params);
        let parts = &self.family.parts;
        vec![
            ("trained parameters".into(), params.trained_count().to_string()),
            ("frozen parameters of the decoder".into(), self.family.decoder.config.count().to_string()),
            ("spatial encoder".into(), parts.encoder.display().to_string()),
            ("semantic encoder".into(), parts.semantic.display().to_string()),
            ("decoder".into(), parts.decoder.display().to_string()),
            ("training rows".into(), self.rows.len().to_string()),
            ("training data".into(), self.rows.fingerprint().to_string()),
            ("rows seen".into(), (train.steps * self.rows_per_step() as u64).to_string()),
            ("seed".into(), train.seed.to_string()),
            ("program".into(), format!("twnm {}", env!("CARGO_PKG_VERSION"))),
        ]
    }

    fn rows_per_step(&self) -> usize {
        self.settings.train.batch * self.settings.train.accumulate
    }

    /// Trains in the run folder `out` until the last step, or until a signal stops it; then leaves projector and adapter there
    /// in folders of their own.
    ///
    /// # Errors
    /// Those of [`drive`]; `Usage` without rows.
    pub fn run(mut self, out: &Path, resume: Resume) -> Result<Family> {
        if self.rows.is_empty() {
            return Err(
                Error::usage("data.train names no rows").hint("make some with twnm benchmark --kind align or sft")
            );
        }
        let t = self.settings.train.clone();
        let mut inputs = vec![("training rows".to_string(), self.rows.fingerprint().to_string())];
        // A run is not continued on other models that lie at the same places.
        inputs.extend(self.family.parts.contents.iter().map(|(part, hash)| (format!("model.{part}"), hash.clone())));
        inputs.extend(self.dev.iter().map(|dev| ("dev rows".to_string(), dev.fingerprint().to_string())));
        let pace = Pace {
            steps: t.steps,
            log_every: t.log_every,
            score_every: t.score_every,
            save_every: t.save_every,
            keep: t.keep as usize,
        };
        let text = self.settings.text.clone();
        drive(&mut self, (out, resume), &text, inputs, pace)?;
        let params = self.family.params.to(Device::Host);
        self.family.projector.save(&params, PROJECTOR_PREFIX, &out.join("projector"))?;
        if let Some(adapter) = self.trained_adapter() {
            store::write_adapter(&out.join("adapter"), &params, adapter, &self.base())?;
        }
        Ok(self.family)
    }

    fn trained_adapter(&self) -> Option<&crate::language::decoder::Adapter> {
        self.family.adapters.iter().find(|adapter| !adapter.is_frozen)
    }

    fn base(&self) -> String {
        self.family.parts.decoder.display().to_string()
    }

    /// Adds the gradient of the loss over rows, each of whose tokens weighs `weight`, to `flat`; the loss, still on its device.
    fn micro_batch(&self, rows: &[usize], weight: f32, flat: &mut Tensor) -> Result<Tensor> {
        let limits = (self.settings.data.tokens_max, Ablation::None);
        let (documents, heard) = self.rows.documents(&self.family, rows, limits)?;
        let views: Vec<&Document> = documents.iter().collect();
        let mut c = Forward::new(Tape::new().with_products(Threads::All), &self.family.params);
        if heard.is_none() {
            // Rows of text alone say nothing to the projector.
            c.leave_out(&self.family.projector.ids());
        }
        let x = self.family.embedded(&mut c, &views, heard.as_ref());
        let loss = self.loss(&mut c, &views, &x, weight);
        let value = loss.tensor().clone();
        drop(x);
        c.gradients(&loss, flat)?;
        Ok(value)
    }

    fn loss(&self, c: &mut Forward, views: &[&Document], x: &crate::tape::Var, weight: f32) -> crate::tape::Var {
        let masked: Vec<(&[u32], &[bool])> = views.iter().map(|d| (&d.ids[..], &d.is_target[..])).collect();
        let targets = Targets::new(&masked, weight);
        let packed = self.family.packed(views).asking(targets.tails());
        let hidden = self.family.decoder.hidden(c, x, &packed, usize::MAX);
        loss(c, &self.family.decoder, &hidden, &packed, &targets)
    }

    /// Mean loss per token of the first dev rows.
    fn dev_loss(&self, dev: &Supply, ablation: Ablation) -> Result<f64> {
        let rows: Vec<usize> = (0..dev.len().min(self.settings.train.score_rows)).collect();
        let total: usize = rows.iter().map(|&row| dev.targets(row)).sum();
        let mut sum = 0.0;
        for rows in rows.chunks(self.settings.train.batch) {
            let (documents, heard) = dev.documents(&self.family, rows, (self.settings.data.tokens_max, ablation))?;
            let views: Vec<&Document> = documents.iter().collect();
            let tape = Tape::without_gradients().with_products(Threads::All);
            let mut c = Forward::new(tape, &self.family.params);
            let x = self.family.embedded(&mut c, &views, heard.as_ref());
            sum += f64::from(self.loss(&mut c, &views, &x, 1.0).tensor().item());
        }
        Ok(sum / total.max(1) as f64)
    }

    fn scores(&self) -> Result<Vec<(String, f64)>> {
        let Some(dev) = &self.dev else { return Ok(Vec::new()) };
        let (heard, deaf) = (self.dev_loss(dev, Ablation::None)?, self.dev_loss(dev, Ablation::NoAudio)?);
        Ok(vec![
            ("dev/loss".into(), heard),
            ("dev/loss_no_audio".into(), deaf),
            ("dev/loss_ratio".into(), heard / deaf),
        ])
    }
}

/// The rows that are trained on, and those that are scored.
fn supplies(words: &Words, data: &Data) -> Result<(Supply, Option<Supply>)> {
    let rows = Supply::open(words, data, &data.train).context_with(|| "data.train")?;
    let dev = match data.dev.as_slice() {
        [] => None,
        files => Some(Supply::open(words, data, files).context_with(|| "data.dev")?),
    };
    Ok((rows, dev))
}

/// Refuses settings of an adapter that contradict those of the one that is trained further.
///
/// # Errors
/// `Usage`, or what opening the adapter says.
fn expect_no_other_adapter(recipe: &SftRecipe) -> Result<()> {
    let folder = recipe.model.adapter.as_str();
    if folder.is_empty() || recipe.lora == Lora::default() {
        return Ok(());
    }
    let (stored, _) = store::open_adapter(Path::new(folder)).context_with(|| "model.adapter")?;
    let asked = recipe.lora.config();
    let names = |config: &LoraConfig| match &config.targets {
        LoraTargets::Names(names) => Some(names.iter().cloned().collect::<BTreeSet<String>>()),
        _ => None,
    };
    let plain = |c: &LoraConfig| (c.rank, c.alpha.to_bits(), c.is_rank_stabilised, c.has_magnitudes, names(c));
    if plain(&stored) == plain(&asked) {
        return Ok(());
    }
    Err(Error::usage(format!("lora: model.adapter names {folder}, whose own rank, alpha, targets and form are others"))
        .hint("leave [lora] and --set lora.* out: the adapter's own hold; or leave model.adapter out to begin a fresh one"))
}

/// What of the decoder is kept for the backward pass.
fn kept(train: &Train) -> Kept {
    match train.recompute.as_str() {
        "units" => Kept::Attention,
        "layers" => Kept::Input,
        _ => Kept::Products,
    }
}

/// The parts that a recipe names, those that it does not from its family.
fn parts(models: &Models, places: &Places) -> Result<Parts> {
    let parts = named_parts(models, places)?;
    for (name, part) in [("encoder", &parts.encoder), ("semantic", &parts.semantic), ("decoder", &parts.decoder)] {
        if part.as_os_str().is_empty() {
            return Err(Error::usage(format!("model.{name} is not set, and there is no model.family"))
                .hint(format!("--set model.{name}=DIR")));
        }
    }
    Ok(parts)
}

/// The same, where some may be named by nobody.
fn named_parts(models: &Models, places: &Places) -> Result<Parts> {
    let mut parts = match models.family.as_str() {
        "" => Parts::default(),
        folder => Parts::find(Some(Path::new(folder)), places).context_with(|| "model.family")?,
    };
    // An adapter of an earlier stage is not part of what this stage trains.
    parts.adapters.clear();
    for (setting, part, names) in [
        (&models.encoder, &mut parts.encoder, &["encoder"][..]),
        (&models.semantic, &mut parts.semantic, &["semantic"]),
        (&models.decoder, &mut parts.decoder, &["decoder", "text"]),
    ] {
        if !setting.is_empty() {
            *part = PathBuf::from(setting);
            names.iter().for_each(|name| drop(parts.contents.remove(*name)));
        }
    }
    match models.weights.as_str() {
        // The weights of another decoder than the family's are taken as they are stored.
        "auto" if models.decoder.is_empty() => {}
        packing => parts.weights = Packing::named(packing),
    }
    match models.projector.as_str() {
        "" => {}
        "fresh" => parts.projector = None,
        folder => parts.projector = Some(PathBuf::from(folder)),
    }
    Ok(parts)
}

impl Stage for Training {
    fn step(&mut self, step: u64) -> Result<()> {
        let (count, seed) = (self.rows_per_step(), self.settings.train.seed);
        let rows = self.rows.rows_from(seed, step * count as u64, count);
        let tokens: usize = rows.iter().map(|&row| self.rows.targets(row)).sum();
        let weight = 1.0 / tokens.max(1) as f32;
        let params = &self.family.params;
        let mut gradient = Tensor::zeros_on(params.device(), DType::F32, &[params.flat_len()]);
        let mut losses = Vec::new();
        for rows in rows.chunks(self.settings.train.batch) {
            losses.push(self.micro_batch(rows, weight, &mut gradient)?);
        }
        let loss: f64 = losses.iter().map(|loss| f64::from(loss.item())).sum();
        if let Some(norm) = self.updates.apply(&mut self.family.params, &gradient, loss, step)? {
            self.window.steps += 1;
            self.window.loss += loss;
            self.window.gradient_norm += norm;
            self.window.tokens += tokens as u64;
        }
        Ok(())
    }

    fn metrics(&mut self) -> Vec<(&'static str, f64)> {
        let w = std::mem::take(&mut self.window);
        let mean = |sum: f64| sum / w.steps.max(1) as f64;
        vec![
            ("train/loss", mean(w.loss)),
            ("train/gradient_norm", mean(w.gradient_norm)),
            ("train/answer_tokens", mean(w.tokens as f64)),
            ("train/skipped_updates", self.updates.counts().skipped as f64),
        ]
    }

    fn watch(&mut self) -> Result<Vec<(String, f64)>> {
        self.scores()
    }

    fn snapshot(&self, save: &mut dyn FnMut(&Saved) -> Result<()>) -> Result<()> {
        let (params, moments) = (self.family.params.to(Device::Host), self.updates.moments());
        let state = State { counts: self.updates.counts(), window: self.window };
        let config = self.family.projector.config.to_json();
        let mut parts = self.family.parts.absolute()?;
        // What was trained lies in the checkpoint.
        parts.projector = Some(PathBuf::from("."));
        let adapter = self.trained_adapter();
        parts.adapters = adapter.iter().map(|_| PathBuf::from(".")).collect();
        let parts = serde_json::to_string_pretty(&parts).expect("plain data") + "\n";
        let adapter = adapter.map(|adapter| store::adapter_files(&params, adapter, &self.base()));
        let mut files = vec![("config.json", config.as_bytes()), (PARTS_FILE, parts.as_bytes())];
        files.extend(adapter.iter().flatten().map(|(name, bytes)| (*name, bytes.as_slice())));
        save(&Saved {
            model: &params.entries(),
            optimizer: &Updates::entries(&moments),
            state: serde_json::to_value(state).expect("plain data"),
            files: &files,
        })
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.family.params.load_trained(&checkpoint.model)?;
        let state: State =
            serde_json::from_value(checkpoint.state.clone()).map_err(|e| Error::data(format!("state.json: {e}")))?;
        self.updates.restore(checkpoint, state.counts)?;
        self.window = state.window;
        Ok(())
    }

    fn card(&mut self) -> Result<Card> {
        let scores = self.scores()?;
        let rows = scores.iter().map(|(name, value)| vec![name.clone(), format!("{value:.4}")]).collect();
        let header = ["score", "value"].map(String::from).to_vec();
        let table = Table { caption: "Held-out rows".into(), header, rows };
        Ok(Card {
            title: self.settings.title.into(),
            summary: "Trained by twnm: First-Order Ambisonics and a question in, an answer in words out.".into(),
            facts: self.describe(),
            tables: if scores.is_empty() { Vec::new() } else { vec![table] },
        })
    }
}
