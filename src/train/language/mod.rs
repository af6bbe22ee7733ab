//! The pocket decoder: a vocabulary learned from rows of text, then a Qwen2-type decoder with every parameter trained on
//! them (the published ones are downloaded).
//!
//! Rows are packed whole, one after the other, up to the tokens of a micro-batch; no token sees another row. The loss of a
//! step is the mean over its tokens, those of prompts with a weight of their own. A pocket model's products are too small to
//! be split between threads: on the host several micro-batches of a step run side by side instead, and their gradients are
//! added in order, so the bytes are the same for any number of threads. At the end the decoder is written to `decoder` in
//! the run folder, as a folder that Transformers reads.

pub mod data;
pub mod gate;
pub mod recipe;

use self::data::{Document, Order, Supply, Texts};
use self::gate::{Exam, Gate, LETTERS_GIVEN_CHAIN_MIN, LETTERS_MIN};
use self::recipe::LanguageRecipe;
use super::run::{Card, Pace, Parts, Resume, Stage, Table, drive};
use super::updates::{Counts, Updates};
use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::device::product::Threads;
use crate::error::{Context as _, Error, Result};
use crate::language::bpe::Learned;
use crate::language::decoder::{Build, Decoder, Documents};
use crate::language::loss::{Targets, loss};
use crate::language::store;
use crate::language::template::Template;
use crate::language::tokenizer::Tokenizer;
use crate::nn::{Builder, Forward, Params};
use crate::ops::adamw::AdamW;
use crate::ops::elementwise;
use crate::optim::{Cosine, Optimizer};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Folder of the finished decoder in the run folder.
pub const DECODER_FOLDER: &str = "decoder";
/// Gradients that are held at a time on the host; a fixed number, so that the order of sums does not depend on threads.
const SIDE_BY_SIDE: usize = 8;

/// What a checkpoint says of a run besides parameters and moments.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    counts: Counts,
    window: Window,
    /// Where in the sequence of rows the next step begins.
    position: u64,
    /// Tokens that were learned from.
    tokens: u64,
}

/// Sums since the last line of metrics.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    steps: u64,
    loss: f64,
    gradient_norm: f64,
}

/// A training run with everything it needs in memory.
pub struct Training {
    recipe: LanguageRecipe,
    learned: Learned,
    tokenizer: Tokenizer,
    decoder: Decoder,
    params: Params,
    updates: Updates,
    rows: Supply,
    dev: Option<Supply>,
    order: Order,
    window: Window,
    position: u64,
    tokens: u64,
}

impl Training {
    /// Reads the rows, learns the vocabulary and builds the model of `recipe` on `device`.
    ///
    /// # Errors
    /// `Usage` naming the setting; what reading rows says.
    pub fn new(recipe: LanguageRecipe, device: Device) -> Result<Training> {
        let (d, v, t) = (&recipe.data, &recipe.tokenizer, &recipe.train);
        if d.train.is_empty() {
            return Err(Error::usage("data.train names no rows").hint("make some with twnm benchmark --kind text"));
        }
        let texts = Texts::read(d, &d.train).context_with(|| "data.train")?;
        let template = Template::chatml();
        let learned = texts.vocabulary(&template, v.options(), v.rows).context_with(|| "data.train")?;
        let tokenizer = learned.tokenizer()?;
        let open = |texts: Texts| Supply::new(texts, &tokenizer, &template, d);
        let rows = open(texts).context_with(|| "data.train")?;
        let dev = match d.dev.as_slice() {
            [] => None,
            files => Some(Texts::read(d, files).and_then(open).context_with(|| "data.dev")?),
        };
        let mut builder = Builder::new();
        let decoder = Decoder::new(&mut builder, &recipe.model.config(tokenizer.len()), &Build::default());
        let params = builder.finish(t.seed).to(device);
        let o = &recipe.optimizer;
        let adamw = AdamW { beta1: o.beta1 as f32, beta2: o.beta2 as f32, eps: o.eps as f32 };
        let optimizer = Optimizer::new(&params, adamw, o.weight_decay, o.clip_norm);
        let schedule = Cosine { peak: o.learning_rate, warmup_ratio: o.warmup_ratio, total: t.steps };
        let order = Order::new(t.seed, t.short_share * t.steps as f64, t.short_rows);
        Ok(Training {
            updates: Updates::new(optimizer, schedule),
            recipe,
            learned,
            tokenizer,
            decoder,
            params,
            rows,
            dev,
            order,
            window: Window::default(),
            position: 0,
            tokens: 0,
        })
    }

    /// One line per fact about what will run.
    pub fn describe(&self) -> Vec<(String, String)> {
        let t = &self.recipe.train;
        let (rows, tokens) = (self.rows.documents().len(), self.rows.tokens());
        let mut facts = vec![
            ("parameters".into(), self.params.count().to_string()),
            ("vocabulary".into(), self.tokenizer.len().to_string()),
            ("training rows".into(), rows.to_string()),
            ("tokens per row".into(), format!("{:.1}", tokens as f64 / rows as f64)),
            ("training data".into(), self.rows.fingerprint().to_string()),
            ("tokens seen, at most".into(), (t.steps * (t.tokens * t.accumulate) as u64).to_string()),
            ("seed".into(), t.seed.to_string()),
            ("program".into(), format!("twnm {}", env!("CARGO_PKG_VERSION"))),
        ];
        if let Some(dev) = &self.dev {
            facts.push(("dev rows".into(), dev.documents().len().to_string()));
            facts.push(("dev questions with a letter".into(), dev.questions().len().to_string()));
        }
        facts
    }

    /// Trains in the run folder `out` until the last step, or until a signal stops it, and writes the decoder.
    ///
    /// # Errors
    /// Those of [`drive`].
    pub fn run(mut self, out: &Path, resume: Resume) -> Result<()> {
        let config = crate::config::to_toml(&self.recipe);
        let t = self.recipe.train.clone();
        let mut inputs = vec![("training rows".to_string(), self.rows.fingerprint().to_string())];
        inputs.extend(self.dev.iter().map(|dev| ("dev rows".to_string(), dev.fingerprint().to_string())));
        let pace = Pace {
            steps: t.steps,
            log_every: t.log_every,
            score_every: t.score_every,
            save_every: t.save_every,
            keep: t.keep as usize,
        };
        drive(&mut self, (out, resume), &config, inputs, pace)?;
        store::write_base(&out.join(DECODER_FOLDER), &self.params.to(Device::Host), &self.files())
    }

    /// Everything of the decoder's folder but its weights.
    fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let config = store::config_files(&self.decoder.config, self.tokenizer.eos());
        config.into_iter().chain(self.learned.files()).collect()
    }

    /// The loss of documents, whose tokens weigh `scale` times their weights.
    fn loss(&self, c: &mut Forward, documents: &[&Document], scale: f32) -> Var {
        let prompt_weight = self.recipe.data.prompt_weight as f32;
        let scaled = |document: &&Document| -> Vec<f32> {
            document.weights(prompt_weight).iter().map(|weight| weight * scale).collect()
        };
        let weights: Vec<Vec<f32>> = documents.iter().map(scaled).collect();
        let weighted: Vec<(&[u32], &[f32])> =
            documents.iter().zip(&weights).map(|(document, weights)| (&document.ids[..], &weights[..])).collect();
        let targets = Targets::weighted(&weighted);
        let device = self.params.device();
        let ids: Vec<i32> = documents.iter().flat_map(|document| &document.ids).map(|&id| id as i32).collect();
        let lengths: Vec<usize> = documents.iter().map(|document| document.ids.len()).collect();
        let packed = Documents::new(&lengths, &self.decoder.config, device).asking(targets.tails());
        let x = self.decoder.embed(c, &Tensor::from_slice(&[1, ids.len()], &ids).to(device));
        let hidden = self.decoder.hidden(c, &x, &packed, usize::MAX);
        loss(c, &self.decoder, &hidden, &packed, &targets)
    }

    /// The sum of the weights of documents' tokens.
    fn weight<'a>(&self, documents: impl Iterator<Item = &'a Document>) -> f64 {
        let prompt_weight = self.recipe.data.prompt_weight as f32;
        documents.flat_map(|document| document.weights(prompt_weight)).map(f64::from).sum()
    }

    /// Adds the gradient of the loss of rows to `flat`; the loss, still on its device.
    fn micro_batch(&self, rows: &[usize], (scale, products): (f32, Threads), flat: &mut Tensor) -> Result<Tensor> {
        let documents: Vec<&Document> = rows.iter().map(|&row| &self.rows.documents()[row]).collect();
        let mut c = Forward::new(Tape::new().with_products(products), &self.params);
        let loss = self.loss(&mut c, &documents, scale);
        let value = loss.tensor().clone();
        c.gradients(&loss, flat)?;
        Ok(value)
    }

    /// Mean loss of a step and its gradient: on the host micro-batches side by side, on a device one after the other.
    fn gradients(&self, batches: &[Vec<usize>]) -> Result<(Tensor, f64)> {
        let (n, device) = (self.params.flat_len(), self.params.device());
        let documents = batches.iter().flatten().map(|&row| &self.rows.documents()[row]);
        let scale = (1.0 / self.weight(documents).max(f64::MIN_POSITIVE)) as f32;
        let mut sum = Tensor::zeros_on(device, DType::F32, &[n]);
        let mut losses = Vec::new();
        if device != Device::Host || batches.len() == 1 {
            for rows in batches {
                losses.push(self.micro_batch(rows, (scale, Threads::All), &mut sum)?);
            }
        } else {
            let one = |rows: &Vec<usize>| {
                let mut flat = Tensor::zeros(&[n]);
                let loss = self.micro_batch(rows, (scale, Threads::One), &mut flat)?;
                Ok((flat, loss))
            };
            for batches in batches.chunks(SIDE_BY_SIDE) {
                let parts: Vec<Result<(Tensor, Tensor)>> = batches.par_iter().map(one).collect();
                for part in parts {
                    let (flat, loss) = part?;
                    elementwise::accumulate_parts(&mut sum, &[(flat, 0)]);
                    losses.push(loss);
                }
            }
        }
        let loss = losses.iter().map(|loss| f64::from(loss.item())).sum();
        Ok((sum, loss))
    }

    /// Mean loss of the first `limit` dev rows, weighted as in training.
    fn dev_loss(&self, dev: &Supply, limit: usize) -> Result<f64> {
        let rows: Vec<&Document> = dev.documents().iter().take(limit).collect();
        let mut batches: Vec<Vec<&Document>> = Vec::new();
        let mut used = usize::MAX;
        for row in &rows {
            used = used.saturating_add(row.ids.len());
            if used > self.recipe.train.tokens {
                used = row.ids.len();
                batches.push(Vec::new());
            }
            batches.last_mut().expect("begun").push(row);
        }
        let one = |documents: &Vec<&Document>| {
            let mut c = Forward::new(Tape::without_gradients(), &self.params);
            f64::from(self.loss(&mut c, documents, 1.0).tensor().item())
        };
        let sums: Vec<f64> = match self.params.device() {
            Device::Host => batches.par_iter().map(one).collect(),
            _ => batches.iter().map(one).collect(),
        };
        Ok(sums.iter().sum::<f64>() / self.weight(rows.into_iter()).max(f64::MIN_POSITIVE))
    }

    /// Loss of the first `limit` dev rows, and what came of their questions.
    fn scores(&self, limit: usize) -> Result<Option<(f64, Gate)>> {
        let Some(dev) = &self.dev else { return Ok(None) };
        let questions = dev.questions();
        let exam = Exam {
            decoder: &self.decoder,
            params: &self.params,
            tokenizer: &self.tokenizer,
            new_max: self.recipe.train.answer_tokens,
        };
        let gate = exam.take(&questions[..questions.len().min(limit)])?;
        Ok(Some((self.dev_loss(dev, limit)?, gate)))
    }
}

impl Stage for Training {
    fn step(&mut self, step: u64) -> Result<()> {
        let t = &self.recipe.train;
        let mut batches = Vec::with_capacity(t.accumulate);
        for _ in 0..t.accumulate {
            let (rows, next) = self.order.batch(&self.rows, self.position, step, t.tokens);
            self.position = next;
            batches.push(rows);
        }
        let (gradient, loss) = self.gradients(&batches)?;
        let tokens: usize = batches.iter().flatten().map(|&row| self.rows.documents()[row].ids.len()).sum();
        self.tokens += tokens as u64;
        if let Some(norm) = self.updates.apply(&mut self.params, &gradient, loss, step)? {
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
            ("train/tokens_seen", self.tokens as f64),
            ("train/skipped_updates", self.updates.counts().skipped as f64),
        ]
    }

    fn watch(&mut self) -> Result<Vec<(String, f64)>> {
        let Some((loss, gate)) = self.scores(self.recipe.train.score_rows)? else { return Ok(Vec::new()) };
        let mut scores = vec![("dev/loss".to_string(), loss)];
        if gate.asked > 0 {
            scores.push(("dev/letter_right".into(), gate.share(gate.right)));
            scores.push(("dev/letter_right_given_chain".into(), gate.share(gate.right_given_chain)));
            scores.push(("dev/well_formed".into(), gate.share(gate.formed)));
        }
        Ok(scores)
    }

    fn snapshot(&self, save: &mut dyn FnMut(&Parts) -> Result<()>) -> Result<()> {
        let (params, moments) = (self.params.to(Device::Host), self.updates.moments());
        let (counts, window) = (self.updates.counts(), self.window);
        let state = State { counts, window, position: self.position, tokens: self.tokens };
        let files = self.files();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        save(&Parts {
            model: &params.entries(),
            optimizer: &Updates::entries(&moments),
            state: serde_json::to_value(state).expect("plain data"),
            files: &files,
        })
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.params.load_trained(&checkpoint.model)?;
        let state: State =
            serde_json::from_value(checkpoint.state.clone()).map_err(|e| Error::data(format!("state.json: {e}")))?;
        self.updates.restore(checkpoint, state.counts)?;
        (self.window, self.position, self.tokens) = (state.window, state.position, state.tokens);
        Ok(())
    }

    fn card(&mut self) -> Result<Card> {
        let tables = self.scores(usize::MAX)?.iter().map(|(loss, gate)| results(*loss, gate)).collect();
        Ok(Card {
            title: "Decoder".into(),
            summary: format!(
                "A Qwen2-type decoder trained by twnm on scenes in words; `{DECODER_FOLDER}/` is a folder that Transformers' \
                 AutoModelForCausalLM and AutoTokenizer load."
            ),
            facts: self.describe(),
            tables,
        })
    }
}

/// Results on held-out rows, and whether they suffice for the stages that rest on this decoder.
fn results(loss: f64, gate: &Gate) -> Table {
    let row = |name: &str, value: f64, least: Option<f64>| {
        let met = least.map(|least| if value >= least { "met" } else { "not met" });
        let least = least.map_or(String::new(), |least| format!("{least:.2}"));
        vec![name.to_string(), format!("{value:.4}"), least, met.unwrap_or_default().to_string()]
    };
    let mut rows = vec![row("loss", loss, None)];
    if gate.asked > 0 {
        let share = |count: usize| gate.share(count);
        rows.push(row("letters right", share(gate.right), Some(LETTERS_MIN)));
        let given = share(gate.right_given_chain);
        rows.push(row("letters right after the row's reasoning", given, Some(LETTERS_GIVEN_CHAIN_MIN)));
        rows.push(row("answers in form", share(gate.formed), None));
    }
    Table {
        caption: format!("Held-out rows ({} questions), and the gate before stage 2", gate.asked),
        header: ["score", "value", "needed before stage 2", "gate"].map(String::from).to_vec(),
        rows,
    }
}

#[cfg(test)]
mod tests;
