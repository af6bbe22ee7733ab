//! How much memory a training step of the decoder needs, from its sizes alone, before anything is allocated.
//!
//! The step is gone through op by op, as `language/decoder` (`layer`) and `projector` (`joining`) and the ops' backward passes
//! allocate and free: the most that is there at once is the plan. On the host it is exact in bytes of tensors, which tests compare
//! with what was allocated. What is beside tensors is told apart and no part of it ([`PlanInput::overhead`]). A GPU's driver, its
//! kernels and their workspaces are [`CONTEXT_BYTES`].

mod hearing;
mod joining;
mod layer;
mod ledger;
mod table;

use crate::device::{DType, Device, machine};
use crate::error::{Error, Result};
use crate::language::config::DecoderConfig;
use crate::language::decoder::Kept;
use crate::language::lora::LoraConfig;
use crate::nn::Builder;
use crate::ops::kv_cache::CacheShape;
use crate::ops::packed::Packing;
use crate::ops::quantize;
use crate::projector::{Projector, ProjectorConfig};
pub use hearing::hearing_bytes;
use joining::{Joining, Rows};
use layer::{Layer, Linear};
use ledger::Ledger;
pub use table::{gib, line};

/// What a GPU's driver, its kernels and their workspaces take: about what `nvidia-smi` shows of an idle process.
pub const CONTEXT_BYTES: u64 = 600 << 20;
/// What a thread packs of the factors of a product: 512 steps of 144 columns and of 96 rows (`device/product`).
const PANEL_BYTES: u64 = 4 * 512 * (144 + 96);
/// Micro-batches are not searched beyond this many tokens.
const TOKENS_MOST: usize = 1 << 24;
/// Numbers of the logits that are there at once, on the host and on a device (`ops/linear_cross_entropy`).
const LOGITS: [u64; 2] = [8 << 20, 16 << 20];
const CHUNK_ROWS_MOST: u64 = 1024;

/// How frozen weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// Four bytes each.
    F32,
    /// Two bytes each.
    Bf16,
    /// Linear layers in a byte each and a scale per row; tables at most in bf16.
    Int8,
    /// Linear layers in half a byte each with scales that are quantized themselves; tables at most in bf16.
    Nf4,
}

/// The documents of a micro-batch: so many of so many tokens, of which the last are answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Documents {
    /// Documents.
    pub batch: usize,
    /// Tokens of each, rows of the audio included.
    pub tokens: usize,
    /// Tokens at the end of each that the loss is of.
    pub answer: usize,
    /// What is heard in each.
    pub heard: Heard,
}

/// What the projector is given of a clip, in frames; nothing for text alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Frames of the semantic encoder.
    pub semantic: usize,
    /// Frames of the spatial encoder.
    pub spatial: usize,
    /// Slots that exist, and the scene, where the projector makes tokens of them; else 0.
    pub slots: usize,
}

impl Heard {
    /// Rows that the projector makes.
    pub fn rows(&self, config: &ProjectorConfig) -> usize {
        self.semantic.div_ceil(config.frames_per_token) + self.slots
    }

    /// A share of it, rounded down.
    fn share(&self, part: usize, whole: usize) -> Heard {
        let of = |n: usize| (n as u128 * part as u128 / whole as u128) as usize;
        Heard { semantic: of(self.semantic), spatial: of(self.spatial), slots: of(self.slots) }
    }
}

/// What is planned.
#[derive(Clone, Debug)]
pub struct PlanInput {
    /// The decoder.
    pub decoder: DecoderConfig,
    /// Its trained adapter.
    pub lora: Option<LoraConfig>,
    /// The projector that is trained, for documents in which something is heard.
    pub projector: Option<ProjectorConfig>,
    /// How its weights are stored.
    pub frozen: Frozen,
    /// Their bytes: [`Frozen::bytes`], or what the files hold.
    pub frozen_bytes: u64,
    /// How activations are stored.
    pub activations: DType,
    /// What a step sees.
    pub documents: Documents,
    /// What is kept of every layer.
    pub kept: Kept,
    /// The device that computes.
    pub device: Device,
    /// Threads of the host.
    pub threads: usize,
    /// What else is there all the time: encoders, recordings that were heard.
    pub beside: Vec<Component>,
    /// Bytes among those of frozen models that are read where they lie in mapped files (on the host), which are no tensors.
    pub mapped: u64,
    /// What lies on the host while another device computes: recordings that were heard.
    pub on_host: Vec<Component>,
    /// Bytes that the encoders need while they hear a recording, before a step ([`hearing_bytes`]).
    pub hearing: u64,
    /// The largest documents that are scored between steps, without gradients.
    pub scored: Vec<Documents>,
}

/// A part of the memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// What it is.
    pub name: &'static str,
    /// How large.
    pub bytes: u64,
}

/// Bytes of a training step at its highest point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Parts, whose sum is the total.
    pub components: Vec<Component>,
    /// Bytes at the highest point: tensors, mapped weights and the device's context.
    pub total: u64,
    /// Those of them that are tensors, whose number the program counts and can be held to.
    pub tensors: u64,
    /// Bytes of keys and values per token of a generation.
    pub cache_per_token: u64,
    /// Numbers that are trained.
    pub trained: u64,
}

/// A number of bytes with or without a unit: `32GiB`, `24GB`, `1000000`.
///
/// # Errors
/// `Usage` for anything else.
pub fn bytes_of(text: &str) -> Result<u64> {
    let units = [
        ("KiB", 1u64 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = found.unwrap_or((text, 1));
    match number.trim().parse::<f64>() {
        Ok(n) if n > 0.0 && n * (factor as f64) < 1e15 => Ok((n * factor as f64) as u64),
        _ => Err(Error::usage(format!("{text:?} is no size: 32GiB, 24GB or a number of bytes"))),
    }
}

impl Frozen {
    /// Bytes of the decoder's vectors, which are f32 however matrices are stored.
    pub fn vectors(config: &DecoderConfig) -> u64 {
        let biases: usize = config.linears().iter().filter(|(.., has_bias)| *has_bias).map(|(_, rows, ..)| rows).sum();
        4 * (config.layers * (biases + 2 * config.hidden) + config.hidden) as u64
    }

    /// Bytes of the matrices of linear layers.
    pub fn linears(self, config: &DecoderConfig) -> u64 {
        let matrix = |&(_, m, k, _): &(&str, usize, usize, bool)| match self {
            Frozen::F32 => 4 * m * k,
            Frozen::Bf16 => 2 * m * k,
            Frozen::Int8 => quantize::bytes([m, k], Packing::Int8),
            Frozen::Nf4 => quantize::bytes([m, k], Packing::Nf4),
        };
        (config.layers * config.linears().iter().map(matrix).sum::<usize>()) as u64
    }

    /// Bytes of the tables of tokens: f32 or bf16.
    pub fn tables(self, config: &DecoderConfig) -> u64 {
        let tables = if config.tied { 1 } else { 2 } * (config.vocabulary * config.hidden) as u64;
        tables * if self == Frozen::F32 { 4 } else { 2 }
    }

    /// Bytes of the decoder's weights: vectors are f32.
    pub fn bytes(self, config: &DecoderConfig) -> u64 {
        self.linears(config) + self.tables(config) + Frozen::vectors(config)
    }

    /// How a model with plain files is stored whose linear layers are packed so, and whose matrices are bf16 or f32: and its
    /// bytes, and those of them that the host reads where they lie. What is packed is made.
    pub fn of_size(config: &DecoderConfig, packing: Option<Packing>, is_narrow: bool) -> (Frozen, u64, u64) {
        let (frozen, plain) = (Frozen::of(packing, is_narrow), Frozen::of(None, is_narrow));
        let tables = plain.tables(config);
        let mapped = tables + if packing.is_none() { plain.linears(config) } else { 0 };
        (frozen, frozen.linears(config) + tables + Frozen::vectors(config), mapped)
    }

    /// How linear layers are packed.
    pub fn packing(self) -> Option<Packing> {
        match self {
            Frozen::F32 | Frozen::Bf16 => None,
            Frozen::Int8 => Some(Packing::Int8),
            Frozen::Nf4 => Some(Packing::Nf4),
        }
    }

    /// Linear layers packed as they say, or in f32 or bf16.
    pub fn of(packing: Option<Packing>, is_narrow: bool) -> Frozen {
        match (packing, is_narrow) {
            (Some(Packing::Int8), _) => Frozen::Int8,
            (Some(Packing::Nf4), _) => Frozen::Nf4,
            (None, true) => Frozen::Bf16,
            (None, false) => Frozen::F32,
        }
    }
}

impl PlanInput {
    /// What is beside the plan in the memory of the process on the host, at most.
    pub fn overhead(&self) -> Vec<Component> {
        let [pooled, large] = machine::kept_bytes_most();
        let threads = self.threads as u64;
        let mut all = self.on_host.clone();
        all.push(Component { name: "blocks that are kept for reuse", bytes: threads * pooled + large });
        all.push(Component { name: "panels of products that threads pack", bytes: threads * PANEL_BYTES });
        all
    }

    /// The plan of these documents.
    pub fn plan(&self) -> Plan {
        self.of(&[self.documents])
    }

    /// The most tokens of a micro-batch of such documents, the last of which may be shorter, whose plan stays within `budget`
    /// bytes.
    pub fn tokens_within(&self, budget: u64) -> usize {
        let Documents { tokens, answer, .. } = self.documents;
        let fits = |n: usize| {
            let whole = Documents { batch: n / tokens, ..self.documents };
            let rest = n % tokens;
            let answer = answer.min(rest.saturating_sub(1));
            let heard = self.documents.heard.share(rest, tokens);
            let rest = Documents { batch: 1, tokens: rest, answer, heard };
            let parts: Vec<Documents> = [whole, rest].into_iter().filter(|d| d.batch > 0 && d.tokens > 0).collect();
            self.of(&parts).total <= budget
        };
        let (mut low, mut high) = (0, TOKENS_MOST);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        low
    }

    /// The most tokens of a document that is alone in its micro-batch and has as much audio and, where there is room, as long an
    /// answer; 0 where none fits.
    pub fn longest_within(&self, budget: u64) -> usize {
        let Documents { answer, heard, .. } = self.documents;
        let rows = self.projector.as_ref().map_or(0, |config| heard.rows(config));
        let alone =
            |tokens: usize| Documents { batch: 1, tokens, answer: answer.min(tokens.saturating_sub(rows + 1)), heard };
        let (mut low, mut high) = (rows + 1, TOKENS_MOST);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if self.of(&[alone(middle)]).total <= budget { low = middle } else { high = middle - 1 }
        }
        if low == rows + 1 { 0 } else { low }
    }

    /// The plan of a micro-batch of several sorts of documents.
    pub fn of(&self, documents: &[Documents]) -> Plan {
        let sum = |of: &dyn Fn(&Documents) -> usize| documents.iter().map(|d| d.batch * of(d)).sum::<usize>() as u64;
        // The row before an answer's first token predicts it; the last token predicts nothing.
        let asked = |d: &Documents| d.answer.min(d.tokens.saturating_sub(1));
        let tail = |d: &Documents| if asked(d) == 0 { 0 } else { asked(d) + 1 };
        let (tokens, rows, answers) = (sum(&|d| d.tokens), sum(&tail), sum(&asked));
        let longest = documents.iter().map(|d| d.tokens).max().unwrap_or(0) as u64;
        let (trained, flat) = self.trained();
        let is_device = self.device != Device::Host;
        let config = &self.decoder;
        let joining = self.joining(documents);
        let inputs = 4 * (2 * tokens + sum(&|_| 1) + 4 * rows + longest * config.width as u64);
        let mut components = vec![Component { name: "frozen weights of the decoder", bytes: self.frozen_bytes }];
        components.extend(&self.beside);
        components.push(Component { name: "trained parameters", bytes: 4 * flat });
        if is_device && self.activations == DType::Bf16 {
            components.push(Component { name: "their copies in bf16", bytes: 2 * flat });
        }
        components.push(Component { name: "their moments", bytes: 4 * flat * if is_device { 3 } else { 2 } });
        components.push(Component { name: "tokens, positions and targets", bytes: inputs });
        if let Some(joining) = &joining {
            components.push(Component { name: "frames that the encoders give", bytes: joining.given() });
        }
        let mut apart = self.mapped;
        if matches!(self.device, Device::Cuda(_)) {
            components.push(Component { name: "driver, kernels and workspaces", bytes: CONTEXT_BYTES });
            apart += CONTEXT_BYTES;
        }
        let before: u64 = components.iter().map(|c| c.bytes).sum();
        let mut ledger = Ledger { live: before, most: before };
        let gradient = 4 * flat;
        ledger.take(gradient);
        let [projected, kept] = self.step(&mut ledger, documents, [tokens, rows, answers], joining.as_ref());
        components.push(Component { name: "gradient of the trained parameters", bytes: gradient });
        components.push(Component { name: "activations of the projector that are kept", bytes: projected });
        components.push(Component { name: "activations of the decoder that are kept", bytes: kept });
        let rest = ledger.most - before - gradient - projected - kept;
        components.push(Component { name: "workspace of the step's highest point", bytes: rest });
        // Recordings are heard while neither activations nor workspace are there.
        let hearing = (before + gradient + self.hearing).saturating_sub(ledger.most);
        components.push(Component { name: "hearing recordings, beyond a step", bytes: hearing });
        let scoring = self.scoring(before).saturating_sub(ledger.most + hearing);
        components.push(Component { name: "scoring held-out rows, beyond a step", bytes: scoring });
        let total = ledger.most + hearing + scoring;
        let cache =
            CacheShape { layers: config.layers, batch: 1, capacity: 1, heads_kv: config.heads_kv, width: config.width };
        let cache_per_token = cache.bytes(self.activations) as u64;
        Plan { components, total, tensors: total - apart, cache_per_token, trained }
    }

    /// The most bytes while held-out rows are scored, beside the `before` that are there anyway: a bound, which counts what a
    /// step would keep of the projector.
    fn scoring(&self, before: u64) -> u64 {
        if self.scored.is_empty() {
            return 0;
        }
        let sum = |of: &dyn Fn(&Documents) -> usize| self.scored.iter().map(|d| d.batch * of(d)).sum::<usize>() as u64;
        let asked = |d: &Documents| d.answer.min(d.tokens.saturating_sub(1));
        let (tokens, answers) = (sum(&|d| d.tokens), sum(&asked));
        let rows = sum(&|d| if asked(d) == 0 { 0 } else { asked(d) + 1 });
        let longest = self.scored.iter().map(|d| d.tokens).max().unwrap_or(0) as u64;
        let config = &self.decoder;
        let hidden = |rows: u64| rows * config.hidden as u64 * self.activations.bytes() as u64;
        let mut l = Ledger { live: before, most: before };
        l.take(4 * (2 * tokens + sum(&|_| 1) + 4 * rows + longest * config.width as u64) + hidden(tokens));
        let joining = self.joining(&self.scored);
        let given = joining.as_ref().map_or(0, Joining::given);
        if let Some(joining) = joining {
            l.take(given);
            joining.forward(&mut l, hidden(tokens));
        }
        for n in 0..config.layers {
            let layer = self.layer(n, &self.scored, [tokens, rows]);
            layer.forward(&mut l, false, false);
            l.give(hidden(layer.tokens));
        }
        l.take(hidden(rows) + 4 * rows);
        self.loss(&mut l, rows, answers);
        // Heard one by one, while what was heard of the others is there.
        l.most.max(before + given + self.hearing)
    }

    /// Trained numbers, and how many the flat buffer has.
    fn trained(&self) -> (u64, u64) {
        let mut builder = Builder::new();
        if let Some(projector) = &self.projector {
            Projector::new(&mut builder, projector.clone()).expect("the sizes were checked where they were read");
        }
        let shapes = self.lora.iter().flat_map(|lora| lora.tensors(&self.decoder, "")).map(|(_, shape)| shape);
        let of = |(count, flat), shape: Vec<usize>| {
            let n: usize = shape.iter().product();
            (count + n as u64, flat + n.next_multiple_of(16) as u64)
        };
        let projector = builder.shapes().map(|shape| shape.as_slice().to_vec());
        projector.chain(shapes).fold((0, 0), of)
    }

    /// The projector over what is heard in the documents; `None` where nothing is.
    fn joining(&self, documents: &[Documents]) -> Option<Joining> {
        let config = self.projector.as_ref()?;
        let mut rows = Rows::default();
        for d in documents {
            let batch = d.batch as u64;
            rows.made += batch * d.heard.rows(config) as u64;
            rows.semantic += batch * d.heard.semantic as u64;
            rows.spatial += batch * (d.heard.spatial + d.heard.slots) as u64;
        }
        let is_device = self.device != Device::Host;
        Some(Joining::new(config, rows, self.activations.bytes() as u64, is_device)).filter(|_| rows.made > 0)
    }

    fn layer(&self, n: usize, documents: &[Documents], [tokens, rows]: [u64; 2]) -> Layer {
        let config = &self.decoder;
        let linears = config.linears().map(|(name, outputs, inputs, _)| {
            let module = format!("model.layers.{n}.{name}");
            let rank = self.lora.as_ref().and_then(|lora| lora.of(&module)).map(|(rank, _)| rank as u64);
            Linear { outputs: outputs as u64, inputs: inputs as u64, rank }
        });
        let has_tail = n + 1 == config.layers;
        let (is_device, activation) = (self.device != Device::Host, self.activations.bytes() as u64);
        let is_packed = self.frozen.packing().is_some();
        let differs = is_packed || is_device && (self.frozen == Frozen::F32) != (self.activations == DType::F32);
        // q, the output and its gradient of a group of heads; keys and values of one.
        let group = config.heads / config.heads_kv;
        let part = |d: &Documents| (3 * group + 2) * config.width * d.tokens;
        let tasks: usize = documents.iter().map(|d| d.batch * config.heads_kv).sum();
        let gathered = 4 * (documents.iter().map(part).max().unwrap_or(0) * self.threads.min(tasks)) as u64;
        Layer {
            linears,
            heads: config.heads as u64,
            tokens,
            rows: if has_tail { rows } else { tokens },
            has_tail,
            tracks_input: n > 0 || self.projector.is_some() && documents.iter().any(|d| d.heard.semantic > 0),
            has_magnitudes: self.lora.as_ref().is_some_and(|lora| lora.has_magnitudes),
            width: activation,
            widened: if differs { activation } else { 0 },
            gathered: if is_device { 0 } else { gathered },
            by_tasks: !is_device || documents.iter().map(|d| d.batch).sum::<usize>() > 1,
        }
    }

    /// A step: forward pass, loss, backward pass. Returns the bytes that the forward pass of the projector keeps, and that of the
    /// decoder.
    fn step(
        &self,
        l: &mut Ledger,
        documents: &[Documents],
        [tokens, rows, answers]: [u64; 3],
        joining: Option<&Joining>,
    ) -> [u64; 2] {
        let (config, kept) = (&self.decoder, self.kept);
        let hidden = |rows: u64| rows * config.hidden as u64 * self.activations.bytes() as u64;
        let (before, recomputes) = (l.live, kept == Kept::Attention);
        let layers: Vec<Layer> = (0..config.layers).map(|n| self.layer(n, documents, [tokens, rows])).collect();
        l.take(hidden(tokens));
        if let Some(joining) = joining {
            joining.forward(l, hidden(tokens));
        }
        let projected = l.live - before - hidden(tokens);
        for layer in &layers {
            layer.forward(l, kept != Kept::Input, recomputes);
        }
        // The final norm keeps its input and the sums of rows.
        l.take(hidden(rows) + 4 * rows);
        let stays = l.live - before - hidden(rows) - projected;
        let loss = self.loss(l, rows, answers);
        // The loss itself stays to the end.
        l.take(4);
        l.give(hidden(rows));
        if answers < rows {
            l.take(2 * hidden(rows));
            l.give(hidden(rows) + loss);
        }
        l.pass(hidden(rows));
        // The last layer's output and the sums of its rows.
        l.give(hidden(rows) + 4 * rows);
        for layer in layers.iter().rev() {
            let input = hidden(layer.tokens);
            if kept == Kept::Input {
                layer.forward(l, true, false);
                layer.backward(l, false, true);
                let output = hidden(layer.rows);
                // The output that was computed again, and the gradient of it that the tape outside holds.
                l.give(2 * output);
            } else {
                layer.backward(l, recomputes, false);
            }
            l.give(input);
        }
        if let Some(joining) = joining {
            joining.backward(l, hidden(tokens));
        }
        [projected, stays]
    }

    /// The loss over the rows that predict something; returns the bytes that stay for its backward pass.
    fn loss(&self, l: &mut Ledger, rows: u64, answers: u64) -> u64 {
        let (config, is_device) = (&self.decoder, self.device != Device::Host);
        let (vocabulary, width) = (config.vocabulary as u64, self.activations.bytes() as u64);
        let gradient = answers * config.hidden as u64 * width;
        // Which rows they are stays with the gradient; their copies, targets and weights do not.
        let (numbers, taken) = if answers < rows { (4 * answers, gradient + 8 * answers) } else { (0, 0) };
        let chunk = (LOGITS[usize::from(is_device)] / vocabulary).clamp(1, CHUNK_ROWS_MOST).min(answers);
        let widened = is_device && self.activations == DType::F32 && self.frozen != Frozen::F32;
        let table = if widened { 4 * vocabulary * config.hidden as u64 } else { 0 };
        let copies = if is_device { 8 * answers } else { 0 };
        l.take(numbers + taken + table + copies);
        l.take(4 * answers + chunk * vocabulary * width + gradient);
        l.give(taken + table + copies + 4 * answers + chunk * vocabulary * width);
        numbers + gradient
    }
}

#[cfg(test)]
mod tests;
