//! The language model: logits, hidden states, loss and greedy tokens of a Qwen2 folder; gradients and training of an adapter.

use super::compare::Checker;
use crate::device::Device;
use crate::device::product::Threads;
use crate::error::{Error, Result};
use crate::language::decoder::{Adapter, Build, Decoder, Documents};
use crate::language::generate::{Decoding, Room, greedy};
use crate::language::loss::{Targets, loss};
use crate::language::store;
use crate::nn::{Builder, Forward, Home, Params};
use crate::ops::adamw::AdamW;
use crate::ops::embedding::splice;
use crate::optim::Optimizer;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use std::path::{Path, PathBuf};

/// The training of the adapter goldens: what their `about.json` says.
const RATE: f64 = 1e-2;
const DECAY: f64 = 0.1;
const CLIP: f64 = 0.5;

/// A base model on its own.
pub(super) fn run(dir: &Path, check: &mut Checker) -> Result<()> {
    let (config, weights) = store::open_base(dir)?;
    let mut builder = Builder::new();
    let decoder = Decoder::new(&mut builder, &config, &Build { prefix: "", is_frozen: true, adapters: &[] });
    let mut params = builder.finish(0);
    store::load_base(&mut params, "", &weights, "", None)?;
    let batch = Batch::read(check, config.vocabulary)?;
    let mut c = Forward::new(Tape::without_gradients().with_products(Threads::All), &params);
    values(&mut c, &decoder, &batch, check)?;
    if check.has("greedy_prompt") {
        continue_greedily(&decoder, &params, check)?;
    }
    Ok(())
}

/// An adapter on its base.
pub(super) fn run_adapter(dir: &Path, base: Option<&Path>, check: &mut Checker) -> Result<()> {
    let base = base.map_or_else(|| sibling_base(dir), |base| Ok(base.to_path_buf()))?;
    let (config, weights) = store::open_base(&base)?;
    let (lora, adapted) = store::open_adapter(dir)?;
    store::check_adapter(&adapted, &lora, &config, "")?;
    let adapter = Adapter { prefix: store::PEFT_PREFIX.into(), config: lora, is_frozen: false };
    let mut builder = Builder::new();
    let build = Build { prefix: "", is_frozen: true, adapters: std::slice::from_ref(&adapter) };
    let decoder = Decoder::new(&mut builder, &config, &build);
    let mut params = builder.finish(0);
    store::load_base(&mut params, "", &weights, "", None)?;
    store::load_adapter(&mut params, &adapter, &adapted)?;
    let batch = Batch::read(check, config.vocabulary)?;
    let mut c = Forward::new(Tape::new().with_products(Threads::All), &params);
    let loss = values(&mut c, &decoder, &batch, check)?;
    let trains = check.has_prefix("grad.") || check.has_prefix("train.") || check.has_prefix("after5.");
    let Some(loss) = loss.filter(|_| trains) else { return Ok(()) };
    let mut gradient = Tensor::zeros(&[params.flat_len()]);
    c.gradients(&loss, &mut gradient)?;
    for info in params.infos().iter() {
        let Home::Trained { offset } = info.home else { continue };
        let part = gradient.rows(offset, info.shape.len()).reshape(info.shape.as_slice());
        check.gradient(&format!("grad.{}", as_peft_names_it(&info.name)), &part);
    }
    train(&decoder, &mut params, &batch, check)
}

/// The decoder of an Audio Flamingo 3 folder over `input_ids` whose audio tokens are the rows `audio` [n, C], in order.
pub(super) fn run_audio_flamingo(dir: &Path, audio: &Tensor, check: &mut Checker) -> Result<()> {
    if !check.has("input_ids") {
        return Ok(());
    }
    let parts = store::open_decoder(dir)?;
    let mut builder = Builder::new();
    let build = Build { prefix: parts.prefix, is_frozen: true, adapters: &[] };
    let decoder = Decoder::new(&mut builder, &parts.config, &build);
    let mut params = builder.finish(0);
    store::load_base(&mut params, parts.prefix, &parts.weights, parts.prefix, None)?;
    let batch = Batch::read(check, parts.config.vocabulary)?;
    let ids: Vec<i32> = batch.documents.iter().flatten().map(|&id| id as i32).collect();
    let is_audio = |&at: &i32| parts.audio_token == Some(ids[at as usize] as u32);
    let places: Vec<i32> = (0..ids.len() as i32).filter(is_audio).collect();
    if places.len() != audio.shape()[0] {
        let (tokens, rows) = (places.len(), audio.shape()[0]);
        return Err(Error::data(format!("input_ids have {tokens} audio tokens, the audio gives {rows}")));
    }
    let mut c = Forward::new(Tape::without_gradients().with_products(Threads::All), &params);
    let rows = decoder.embed(&mut c, &Tensor::from_slice(&[ids.len()], &ids));
    let places = Tensor::from_slice(&[places.len()], &places);
    let spliced = splice(&mut c.tape, &rows, &Var::constant(audio.clone()), &places);
    let x = Var::constant(spliced.tensor().reshape(&[1, ids.len(), parts.config.hidden]));
    let hidden = decoder.hidden(&mut c, &x, &batch.documents(&decoder), 0);
    let logits = decoder.logits(&mut c, &hidden);
    batch.value(check, "logits", logits.tensor())
}

/// Five updates with the whole batch.
fn train(decoder: &Decoder, params: &mut Params, batch: &Batch, check: &mut Checker) -> Result<()> {
    let mut optimizer = Optimizer::new(params, AdamW::default(), DECAY, CLIP);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut c = Forward::new(Tape::new().with_products(Threads::All), params);
        let targets = batch.targets();
        let documents = batch.documents(decoder).asking(targets.tails());
        let hidden = batch.hidden(&mut c, decoder, &documents);
        let loss = loss(&mut c, decoder, &hidden, &documents, &targets);
        losses.push(loss.tensor().item());
        let mut gradient = Tensor::zeros(&[params.flat_len()]);
        c.gradients(&loss, &mut gradient)?;
        drop((hidden, loss));
        norms.push(optimizer.step(params, &gradient, RATE) as f32);
    }
    check.language_value("train.losses", &Tensor::from_slice(&[5], &losses));
    check.language_value("train.grad_norms_before_clip", &Tensor::from_slice(&[5], &norms));
    for (id, info) in params.ids().zip(params.infos().iter()) {
        if info.name.starts_with(store::PEFT_PREFIX) {
            check.language_value(&format!("after5.{}", as_peft_names_it(&info.name)), &params.tensor(id));
        }
    }
    Ok(())
}

/// The name in memory, where PEFT puts the adapter's own name in front of `weight`.
fn as_peft_names_it(name: &str) -> String {
    match name.strip_suffix(".weight") {
        Some(stem) => format!("{stem}.default.weight"),
        None => format!("{name}.default"),
    }
}

/// The folder beside an adapter's whose name lacks `-lora`.
fn sibling_base(dir: &Path) -> Result<PathBuf> {
    let named = dir.canonicalize().map_err(|e| Error::io("open", dir, &e))?;
    let name = named.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let base = name.strip_suffix("-lora").map(|stem| named.with_file_name(stem)).filter(|base| base.is_dir());
    base.ok_or_else(|| {
        Error::missing(format!("{}: the base model of this adapter is not beside it", dir.display()))
            .hint("name its folder with --base")
    })
}

/// Rows of tokens, padded at their ends.
struct Batch {
    rows: usize,
    width: usize,
    /// Tokens of every row without the padding.
    documents: Vec<Vec<u32>>,
    /// Which tokens count in the loss.
    asked: Option<Vec<Vec<bool>>>,
}

impl Batch {
    fn read(check: &mut Checker, vocabulary: usize) -> Result<Batch> {
        let [rows, width] = check.output_extents("input_ids")?;
        let ids = tokens(check, "input_ids", &[rows, width], vocabulary)?;
        let mask = match check.has("attention_mask") {
            true => check.input_whole("attention_mask", &[rows, width])?,
            false => vec![1; rows * width],
        };
        let labels = match check.has("labels") {
            true => Some(check.input_whole("labels", &[rows, width])?),
            false => None,
        };
        let (mut documents, mut asked) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let mask = &mask[row * width..][..width];
            let length = mask.iter().position(|&m| m == 0).unwrap_or(width);
            if length == 0 || mask[length..].iter().any(|&m| m != 0) || mask[..length].iter().any(|&m| m != 1) {
                return Err(Error::data(format!(
                    "attention_mask of row {row}: rows of ones, padded with zeros at the end, are needed"
                )));
            }
            documents.push(ids[row * width..][..length].to_vec());
            if let Some(labels) = &labels {
                asked.push(asked_tokens(&labels[row * width..][..width], &documents[row], row)?);
            }
        }
        Ok(Batch { rows, width, documents, asked: labels.map(|_| asked) })
    }

    fn documents(&self, decoder: &Decoder) -> Documents {
        let lengths: Vec<usize> = self.documents.iter().map(Vec::len).collect();
        Documents::new(&lengths, &decoder.config, Device::Host)
    }

    fn hidden(&self, c: &mut Forward, decoder: &Decoder, documents: &Documents) -> Var {
        let ids: Vec<i32> = self.documents.iter().flatten().map(|&id| id as i32).collect();
        let x = decoder.embed(c, &Tensor::from_slice(&[1, ids.len()], &ids));
        decoder.hidden(c, &x, documents, usize::MAX)
    }

    /// The targets of the mean over all predicted tokens. Panics without labels.
    fn targets(&self) -> Targets {
        let asked = self.asked.as_ref().expect("the file has labels");
        let rows: Vec<(&[u32], &[bool])> =
            self.documents.iter().zip(asked).map(|(ids, asked)| (ids.as_slice(), asked.as_slice())).collect();
        Targets::new(&rows, 1.0 / Targets::count_of(&rows).max(1) as f32)
    }

    /// Hands over packed rows [1,T,N] where they stand in [rows, width, N]. What stands at padding means nothing: there the
    /// expected numbers are compared with themselves.
    fn value(&self, check: &mut Checker, name: &str, packed: &Tensor) -> Result<()> {
        if !check.has(name) {
            return Ok(());
        }
        let n = packed.shape()[packed.shape().len() - 1];
        let mut out = check.expected(name)?;
        if out.len() != self.rows * self.width * n {
            let (rows, width, found) = (self.rows, self.width, out.len());
            return Err(Error::data(format!("{name} holds {found} numbers, {rows} x {width} x {n} are needed")));
        }
        let mut from = packed.data();
        for (row, ids) in self.documents.iter().enumerate() {
            let (these, rest) = from.split_at(ids.len() * n);
            out[row * self.width * n..][..these.len()].copy_from_slice(these);
            from = rest;
        }
        check.language_value(name, &Tensor::from_slice(&[self.rows, self.width, n], &out));
        Ok(())
    }
}

/// Which tokens of a row are part of the loss. Their labels must be the tokens themselves, as in every causal model.
fn asked_tokens(labels: &[i64], ids: &[u32], row: usize) -> Result<Vec<bool>> {
    if let Some(at) = (ids.len()..labels.len()).find(|&at| labels[at] >= 0) {
        return Err(Error::data(format!("labels of row {row}: position {at} is padding but has a label")));
    }
    let differs = ids.iter().zip(labels).position(|(&id, &label)| label >= 0 && label != i64::from(id));
    match differs {
        Some(at) => Err(Error::data(format!("labels of row {row}: {} at position {at} is not its token", labels[at]))),
        None => Ok(labels[..ids.len()].iter().map(|&label| label >= 0).collect()),
    }
}

fn tokens(check: &mut Checker, name: &str, shape: &[usize], vocabulary: usize) -> Result<Vec<u32>> {
    let ids = check.input_whole(name, shape)?;
    let small = |&id: &i64| u32::try_from(id).ok().filter(|&id| (id as usize) < vocabulary);
    let bad = |id: &i64| Error::data(format!("{name} holds {id}: tokens are 0..{vocabulary}"));
    ids.iter().map(|id| small(id).ok_or_else(|| bad(id))).collect()
}

/// Hidden states, logits and the loss; the loss where the file has labels.
fn values(c: &mut Forward, decoder: &Decoder, batch: &Batch, check: &mut Checker) -> Result<Option<Var>> {
    let documents = batch.documents(decoder);
    let ids: Vec<i32> = batch.documents.iter().flatten().map(|&id| id as i32).collect();
    let x = decoder.embed(c, &Tensor::from_slice(&[1, ids.len()], &ids));
    batch.value(check, "hidden_states.0", x.tensor())?;
    let mut seen = Vec::new();
    let hidden = decoder.hidden_after(c, &x, &documents, usize::MAX, |n, x| seen.push((n, x.tensor().clone())));
    for (n, x) in seen {
        batch.value(check, &format!("hidden_states.{n}"), &x)?;
    }
    batch.value(check, &format!("hidden_states.{}", decoder.config.layers), hidden.tensor())?;
    if check.has("logits") {
        let head = Var::constant(decoder.head(c).tensor().clone());
        let rows = Var::constant(hidden.tensor().clone());
        let mut tape = Tape::without_gradients().with_products(Threads::All);
        let logits = crate::ops::linear::linear(&mut tape, &rows, &head, None);
        batch.value(check, "logits", logits.tensor())?;
    }
    if batch.asked.is_none() {
        return Ok(None);
    }
    let loss = loss(c, decoder, &hidden, &documents, &batch.targets());
    check.language_value("loss", &loss.tensor().reshape(&[1]));
    Ok(Some(loss))
}

/// The tokens that greedy decoding appends.
fn continue_greedily(decoder: &Decoder, params: &Params, check: &mut Checker) -> Result<()> {
    let [rows, length] = check.output_extents("greedy_prompt")?;
    let [_, whole] = check.output_extents("greedy_tokens")?;
    if whole < length {
        return Err(Error::data("greedy_tokens is shorter than greedy_prompt, which it begins with"));
    }
    let prompt = tokens(check, "greedy_prompt", &[rows, length], decoder.config.vocabulary)?;
    let documents = Documents::new(&vec![length; rows], &decoder.config, Device::Host);
    let ids: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
    let ids = Tensor::from_slice(&[1, rows * length], &ids);
    let embedded = |c: &mut Forward| decoder.embed(c, &ids);
    let room = Room { capacity: whole, active: usize::MAX, products: Threads::All };
    let (mut decoding, mut logits) = Decoding::start(decoder, params, embedded, &documents, room)?;
    let mut all: Vec<Vec<f32>> = prompt.chunks(length).map(|row| row.iter().map(|&id| id as f32).collect()).collect();
    for at in length..whole {
        let next = greedy(&logits);
        all.iter_mut().zip(&next).for_each(|(row, &id)| row.push(id as f32));
        if at + 1 < whole {
            logits = decoding.step(&next, &vec![true; rows])?;
        }
    }
    check.exact("greedy_tokens", &Tensor::from_slice(&[rows, whole], &all.concat()));
    Ok(())
}
