//! How much memory a training step of the decoder needs, from its sizes alone, before anything is allocated.
//!
//! The step is gone through op by op, as `language/decoder` and the ops' backward passes allocate and free
//! (`layer`): the most that is there at once is the plan. On the host it is exact in bytes of tensors, which a test compares with
//! what was allocated; packing buffers of products and what the allocator keeps for later come on top, tens of megabytes. A GPU's
//! driver, its kernels and their workspaces are [`CONTEXT_BYTES`].

mod layer;
mod ledger;

use crate::device::{DType, Device};
use crate::language::config::DecoderConfig;
use crate::language::decoder::Kept;
use crate::language::lora::LoraConfig;
use crate::ops::kv_cache::CacheShape;
use layer::{Layer, Linear};
use ledger::Ledger;

/// What a GPU's driver, its kernels and their workspaces take: about what `nvidia-smi` shows of an idle process.
pub const CONTEXT_BYTES: u64 = 600 << 20;
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
    /// Linear layers in a byte each and a scale per row; tables in bf16.
    Int8,
    /// Linear layers in half a byte each with scales that are quantized themselves; tables in bf16.
    Nf4,
}

/// The documents of a micro-batch: so many of so many tokens, of which the last are answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Documents {
    /// Documents.
    pub batch: usize,
    /// Tokens of each.
    pub tokens: usize,
    /// Tokens at the end of each that the loss is of.
    pub answer: usize,
}

/// What is planned.
#[derive(Clone, Debug)]
pub struct PlanInput {
    /// The decoder.
    pub decoder: DecoderConfig,
    /// Its trained adapter.
    pub lora: Option<LoraConfig>,
    /// How its weights are stored.
    pub frozen: Frozen,
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
    /// Bytes of frozen models beside the decoder: encoders.
    pub beside: u64,
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
    /// Bytes of tensors at the highest point, and of the device's context.
    pub total: u64,
    /// Bytes of keys and values per token of a generation.
    pub cache_per_token: u64,
    /// Numbers that are trained.
    pub trained: u64,
}

impl Frozen {
    /// Bytes of the decoder's weights: vectors are f32, tables at most bf16.
    pub fn bytes(self, config: &DecoderConfig) -> u64 {
        let table = if self == Frozen::F32 { 4 } else { 2 };
        let tables = if config.tied { 1 } else { 2 } * (config.vocabulary * config.hidden) as u64 * table;
        let linear = |&(_, m, k, has_bias): &(&str, usize, usize, bool)| {
            let (rows, numbers) = (m as u64, (m * k) as u64);
            let matrix = match self {
                Frozen::F32 => 4 * numbers,
                Frozen::Bf16 => 2 * numbers,
                Frozen::Int8 => numbers + 4 * rows,
                // Blocks of 64 with a byte each, 256 blocks with a scale.
                Frozen::Nf4 => numbers.div_ceil(2) + numbers.div_ceil(64) + 4 * numbers.div_ceil(64 * 256),
            };
            matrix + if has_bias { 4 * rows } else { 0 }
        };
        let layer = config.linears().iter().map(linear).sum::<u64>() + 8 * config.hidden as u64;
        config.layers as u64 * layer + tables + 4 * config.hidden as u64
    }
}

impl PlanInput {
    /// The plan of these documents.
    pub fn plan(&self) -> Plan {
        self.of(&[self.documents])
    }

    /// The most tokens of a micro-batch of such documents, the last of which may be shorter, whose plan stays within `budget`
    /// bytes.
    pub fn tokens_within(&self, budget: u64) -> usize {
        let Documents { tokens, answer, .. } = self.documents;
        let fits = |n: usize| {
            let whole = Documents { batch: n / tokens, tokens, answer };
            let rest = Documents { batch: 1, tokens: n % tokens, answer: answer.min((n % tokens).saturating_sub(1)) };
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

    fn of(&self, documents: &[Documents]) -> Plan {
        let sum = |of: &dyn Fn(&Documents) -> usize| documents.iter().map(|d| d.batch * of(d)).sum::<usize>() as u64;
        // The row before an answer's first token predicts it; the last token predicts nothing.
        let asked = |d: &Documents| d.answer.min(d.tokens.saturating_sub(1));
        let tail = |d: &Documents| if asked(d) == 0 { 0 } else { asked(d) + 1 };
        let (tokens, rows, answers) = (sum(&|d| d.tokens), sum(&tail), sum(&asked));
        let longest = documents.iter().map(|d| d.tokens).max().unwrap_or(0) as u64;
        let (trained, flat) = self.trained();
        let is_device = self.device != Device::Host;
        let config = &self.decoder;
        let inputs = 4 * (2 * tokens + sum(&|_| 1) + 4 * rows + longest * config.width as u64);
        let mut components = vec![
            Component { name: "frozen weights of the decoder", bytes: self.frozen.bytes(config) },
            Component { name: "frozen models beside it", bytes: self.beside },
            Component { name: "trained parameters", bytes: 4 * flat },
            Component { name: "their moments", bytes: 4 * flat * if is_device { 3 } else { 2 } },
            Component { name: "tokens, positions and targets", bytes: inputs },
        ];
        if matches!(self.device, Device::Cuda(_)) {
            components.push(Component { name: "driver, kernels and workspaces", bytes: CONTEXT_BYTES });
        }
        let before: u64 = components.iter().map(|c| c.bytes).sum();
        let mut ledger = Ledger { live: before, most: before };
        let kept = self.step(&mut ledger, documents, [tokens, rows, answers], flat);
        let gradient = 4 * flat;
        components.push(Component { name: "activations that are kept", bytes: kept });
        let rest = ledger.most - before - kept;
        components.push(Component { name: "gradient of the trained parameters", bytes: gradient.min(rest) });
        components.push(Component { name: "workspace of a layer or of the loss", bytes: rest - gradient.min(rest) });
        let cache =
            CacheShape { layers: config.layers, batch: 1, capacity: 1, heads_kv: config.heads_kv, width: config.width };
        let cache_per_token = cache.bytes(self.activations) as u64;
        Plan { components, total: ledger.most, cache_per_token, trained }
    }

    /// Trained numbers, and how many the flat buffer has.
    fn trained(&self) -> (u64, u64) {
        let shapes = self.lora.iter().flat_map(|lora| lora.tensors(&self.decoder, "")).map(|(_, shape)| shape);
        let of = |(count, flat), shape: Vec<usize>| {
            let n: usize = shape.iter().product();
            (count + n as u64, flat + n.next_multiple_of(16) as u64)
        };
        shapes.fold((0, 0), of)
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
        let differs = is_device && (self.frozen == Frozen::F32) != (self.activations == DType::F32);
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
            tracks_input: n > 0,
            has_magnitudes: self.lora.as_ref().is_some_and(|lora| lora.has_magnitudes),
            width: activation,
            widened: if differs { activation } else { 0 },
            gathered: if is_device { 0 } else { gathered },
            by_tasks: !is_device || documents.iter().map(|d| d.batch).sum::<usize>() > 1,
        }
    }

    /// A step: forward pass, loss, backward pass. Returns the bytes that the forward pass keeps.
    fn step(&self, l: &mut Ledger, documents: &[Documents], [tokens, rows, answers]: [u64; 3], flat: u64) -> u64 {
        let (config, kept) = (&self.decoder, self.kept);
        let hidden = |rows: u64| rows * config.hidden as u64 * self.activations.bytes() as u64;
        let (before, recomputes) = (l.live, kept == Kept::Attention);
        let layers: Vec<Layer> = (0..config.layers).map(|n| self.layer(n, documents, [tokens, rows])).collect();
        l.take(hidden(tokens));
        for layer in &layers {
            layer.forward(l, kept != Kept::Input, recomputes);
        }
        // The final norm keeps its input and the sums of rows.
        l.take(hidden(rows) + 4 * rows);
        let stays = l.live - before - hidden(rows);
        let loss = self.loss(l, rows, answers);
        // The loss itself stays to the end.
        l.take(4);
        l.give(hidden(rows));
        l.take(4 * flat);
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
        stays
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
