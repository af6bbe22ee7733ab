//! The Qwen2 decoder: embedding, layers of causal attention and gated units, norm, output layer.
//!
//! Rows are tokens of documents that lie one after the other ([`Documents`]): nothing is padded, and no token sees another
//! document. A layer is x + o(attention(rope(q), rope(k), v)) of the normed x, then x + down(silu(gate) up) of the normed sum,
//! with RMS norms, grouped key and value heads and biases on q, k, v. Every linear layer may have adapters ([`super::lora`]).
//!
//! What a training step keeps of a layer, per token ([`Kept`]): x, x after attention, q, k, v, the output of attention, gate
//! and up. The inputs of linear layers, which the adapters' gradients need, are computed again from these
//! ([`Var::with_recipe`]). The last layer computes queries and units only for rows whose output is asked for.

mod layer;

use super::config::DecoderConfig;
use super::lora::LoraConfig;
use crate::device::Device;
use crate::nn::recompute::{Memory, recompute};
use crate::nn::{Builder, Forward, Init, ParamId};
use crate::ops::attention::packed_attention;
use crate::ops::elementwise;
use crate::ops::embedding::embedding;
use crate::ops::kv_cache::KvCache;
use crate::ops::linear::linear;
use crate::ops::rms_norm::rms_norm;
use crate::ops::rope::{RopeTable, rope};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
pub(super) use layer::Pass;
use layer::{Layer, Linear, adapted};
use std::ops::Range;
use std::sync::Arc;

/// Documents whose tokens lie one after the other, as the layers take them.
#[derive(Clone)]
pub struct Documents {
    /// Where every document begins, and the end of the last.
    pub starts: Arc<[usize]>,
    /// Where every document begins, I32 [documents] on the device.
    first_rows: Tensor,
    /// The position of every token in its document, I32 [1,T].
    positions: Tensor,
    table: RopeTable,
    /// The rows whose output is asked for; `None`: all.
    tail: Option<Tail>,
}

/// The last rows of every document.
#[derive(Clone)]
pub(super) struct Tail {
    /// Where those of every document begin among all of them, and their number.
    starts: Arc<[usize]>,
    /// Which rows they are, I32 [M].
    rows: Tensor,
    /// Their positions, I32 [1,M].
    positions: Tensor,
}

impl Documents {
    /// Documents of these lengths, on the device of the model. Panics when there is none or one is empty.
    #[track_caller]
    pub fn new(lengths: &[usize], config: &DecoderConfig, device: Device) -> Documents {
        assert!(!lengths.is_empty() && !lengths.contains(&0), "documents of {lengths:?} tokens");
        let starts = starts_of(lengths);
        let longest = lengths.iter().copied().max().expect("not empty");
        let positions = lengths.iter().flat_map(|&n| 0..n);
        Documents {
            first_rows: integers(starts[..lengths.len()].iter().copied()).to(device),
            positions: row(integers(positions)).to(device),
            table: RopeTable::new(longest, config.width, config.rope_theta).to(device),
            starts,
            tail: None,
        }
    }

    /// The same, asking for the outputs of the last `counts[d]` tokens of document d alone, which spares the last layer work.
    /// Panics when a document has fewer.
    #[track_caller]
    pub fn asking(self, counts: &[usize]) -> Documents {
        let lengths: Vec<usize> = self.starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let fits = counts.len() == lengths.len() && counts.iter().zip(&lengths).all(|(count, n)| count <= n);
        assert!(fits, "the last {counts:?} tokens of documents of {lengths:?}");
        let device = self.positions.device();
        let rows = self.starts[1..].iter().zip(counts).flat_map(|(&end, &count)| end - count..end);
        let positions = lengths.iter().zip(counts).flat_map(|(&n, &count)| n - count..n);
        let tail = Tail {
            starts: starts_of(counts),
            rows: integers(rows).to(device),
            positions: row(integers(positions)).to(device),
        };
        Documents { tail: Some(tail), ..self }
    }

    /// Some of the documents by themselves, asking for all their outputs.
    #[track_caller]
    pub(super) fn some(&self, which: Range<usize>) -> Documents {
        let (device, [begin, end]) = (self.positions.device(), [which.start, which.end].map(|d| self.starts[d]));
        let lengths: Vec<usize> =
            self.starts[which.start..=which.end].windows(2).map(|pair| pair[1] - pair[0]).collect();
        let starts = starts_of(&lengths);
        Documents {
            first_rows: integers(starts[..lengths.len()].iter().copied()).to(device),
            positions: row(self.positions.reshape(&[self.tokens()]).rows(begin, end - begin)),
            table: self.table.clone(),
            starts,
            tail: None,
        }
    }

    /// Tokens of all documents.
    pub fn tokens(&self) -> usize {
        self.positions.len()
    }

    /// Where the outputs of every document begin, and their number.
    pub fn outputs(&self) -> &Arc<[usize]> {
        self.tail.as_ref().map_or(&self.starts, |tail| &tail.starts)
    }
}

fn starts_of(lengths: &[usize]) -> Arc<[usize]> {
    let mut starts = vec![0];
    lengths.iter().for_each(|n| starts.push(starts[starts.len() - 1] + n));
    starts.into()
}

fn integers(numbers: impl Iterator<Item = usize>) -> Tensor {
    let numbers: Vec<i32> = numbers.map(|n| i32::try_from(n).expect("rows fit an i32")).collect();
    Tensor::from_slice(&[numbers.len()], &numbers)
}

fn row(numbers: Tensor) -> Tensor {
    numbers.reshape(&[1, numbers.len()])
}

/// What a training step keeps of a layer for its backward pass, from the most memory to the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// What the products of the backward pass need.
    #[default]
    Products,
    /// That without gate and up, which are computed again: two of five parts of the layer's work, most of its memory.
    Attention,
    /// The layer's input alone: the whole layer is computed again.
    Input,
}

/// An adapter to be built.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Begin of the names of its parameters, `base_model.model.` in PEFT's files.
    pub prefix: String,
    /// Ranks and targets.
    pub config: LoraConfig,
    /// Whether it is frozen as the base is.
    pub is_frozen: bool,
}

/// How a decoder is built.
#[derive(Clone, Debug, Default)]
pub struct Build<'a> {
    /// Begin of the names of the base parameters: nothing for a plain folder, `language_model.` within Audio Flamingo 3.
    pub prefix: &'a str,
    /// Whether the base is frozen: always with adapters.
    pub is_frozen: bool,
    /// Adapters, in the order in which they are added.
    pub adapters: &'a [Adapter],
}

/// A decoder's parameters by identity.
pub struct Decoder {
    /// The sizes.
    pub config: DecoderConfig,
    /// What a training step keeps of every layer.
    pub kept: Vec<Kept>,
    /// How activations are stored: f32, or bf16 on a device, beside weights in bf16.
    pub precision: DType,
    embedding: ParamId,
    layers: Vec<Arc<Layer>>,
    norm: ParamId,
    /// `None` where the embedding is the output layer.
    head: Option<ParamId>,
}

impl Documents {
    /// Causal attention within the documents, for the queries of `tail` or of all rows.
    fn attend(&self, tape: &mut Tape, [q, k, v]: [Var; 3], tail: Option<&Tail>, heads: (usize, usize)) -> Var {
        let (starts, positions) = tail.map_or((&self.starts, &self.positions), |t| (&t.starts, &t.positions));
        let q = rope(tape, &q, &self.table, positions, heads.0);
        let k = rope(tape, &k, &self.table, &self.positions, heads.1);
        packed_attention(tape, [&q, &k, &v], [starts, &self.starts], heads)
    }
}

impl Decoder {
    /// Adds the parameters of a decoder under the names of Hugging Face. Panics for adapters beside a trained base.
    #[track_caller]
    pub fn new(builder: &mut Builder, config: &DecoderConfig, build: &Build) -> Decoder {
        assert!(build.is_frozen || build.adapters.is_empty(), "adapters stand beside a frozen base");
        let (hidden, start) = (config.hidden, Init::Normal(config.initializer_range));
        let base = |builder: &mut Builder, name: &str, shape: &[usize], init: Init, decays: bool| {
            let name = format!("{}{name}", build.prefix);
            if build.is_frozen {
                builder.frozen(|builder| builder.param(&name, shape, init, decays))
            } else {
                builder.param(&name, shape, init, decays)
            }
        };
        let embedding = base(builder, "model.embed_tokens.weight", &[config.vocabulary, hidden], start, true);
        let ones = Init::Constant(1.0);
        let mut layers = Vec::with_capacity(config.layers);
        for n in 0..config.layers {
            let at = |name: &str| format!("model.layers.{n}.{name}.weight");
            let norms = ["input_layernorm", "post_attention_layernorm"]
                .map(|name| base(builder, &at(name), &[hidden], ones, false));
            let linears = config.linears().map(|(name, outputs, inputs, has_bias)| {
                let weight = base(builder, &at(name), &[outputs, inputs], start, true);
                let bias = has_bias.then(|| {
                    base(builder, &format!("model.layers.{n}.{name}.bias"), &[outputs], Init::Constant(0.0), false)
                });
                let module = format!("{}model.layers.{n}.{name}", build.prefix);
                Linear { weight, bias, adapters: adapted(builder, build.adapters, &module, outputs, inputs) }
            });
            layers.push(Arc::new(Layer { norms, linears, rms_norm_eps: config.rms_norm_eps as f32 }));
        }
        let norm = base(builder, "model.norm.weight", &[hidden], ones, false);
        let head = (!config.tied).then(|| base(builder, "lm_head.weight", &[config.vocabulary, hidden], start, true));
        Decoder {
            config: config.clone(),
            kept: vec![Kept::default(); config.layers],
            precision: DType::F32,
            embedding,
            layers,
            norm,
            head,
        }
    }

    /// The embeddings of tokens, [1,T,C]. Panics for ids outside the vocabulary.
    #[track_caller]
    pub fn embed(&self, c: &mut Forward, ids: &Tensor) -> Var {
        let table = c.param(self.embedding);
        let x = embedding(&mut c.tape, &table, ids);
        elementwise::cast(&mut c.tape, &x, self.precision)
    }

    /// The layers on embedded tokens [1,T,C], with the first `active` adapters, and the final norm: [1,M,C] for the rows that
    /// `documents` ask for.
    #[track_caller]
    pub fn hidden(&self, c: &mut Forward, x: &Var, documents: &Documents, active: usize) -> Var {
        self.hidden_after(c, x, documents, active, |_, _| {})
    }

    /// The same, showing the output of every layer but the last to `look`.
    #[track_caller]
    pub fn hidden_after(
        &self,
        c: &mut Forward,
        x: &Var,
        documents: &Documents,
        active: usize,
        mut look: impl FnMut(usize, &Var),
    ) -> Var {
        let mut x = x.clone();
        let heads = (self.config.heads, self.config.heads_kv);
        for (n, (layer, &kept)) in self.layers.iter().zip(&self.kept).enumerate() {
            let is_last = n + 1 == self.layers.len();
            let (this, documents) = (layer.clone(), documents.clone());
            let run = move |c: &mut Forward, inputs: &[Var]| {
                let tail = documents.tail.as_ref().filter(|_| is_last);
                let pass = Pass { active, recomputes_units: kept == Kept::Attention, rows: tail.map(|t| &t.rows) };
                this.forward(c, &inputs[0], pass, |tape, qkv| documents.attend(tape, qkv, tail, heads))
            };
            let memory = if kept == Kept::Input { Memory::Least } else { Memory::Keep };
            x = recompute(c, memory, &[&x], &layer.ids(active), Arc::new(run));
            if !is_last {
                look(n + 1, &x);
            }
        }
        self.normed(c, &x)
    }

    /// The layers on the embedded tokens [1,T,C] of prompts, whose keys and values go to the positions that `cache` reserved
    /// for them; the final norm included: [1,M,C] for the rows that `documents` ask for.
    pub(super) fn prefill(
        &self,
        c: &mut Forward,
        x: &Var,
        documents: &Documents,
        active: usize,
        cache: &mut KvCache,
    ) -> Var {
        let (mut x, heads) = (x.clone(), (self.config.heads, self.config.heads_kv));
        for (n, layer) in self.layers.iter().enumerate() {
            let tail = documents.tail.as_ref().filter(|_| n + 1 == self.layers.len());
            let pass = Pass { active, recomputes_units: false, rows: tail.map(|t| &t.rows) };
            x = layer.forward(c, &x, pass, |tape, [q, k, v]| {
                let turned = rope(tape, &k, &documents.table, &documents.positions, heads.1);
                cache.append_packed(tape, n, &turned, &v, &documents.first_rows);
                documents.attend(tape, [q, k, v], tail, heads)
            });
        }
        self.normed(c, &x)
    }

    /// The final norm.
    pub(super) fn normed(&self, c: &mut Forward, x: &Var) -> Var {
        let weight = c.param(self.norm);
        rms_norm(&mut c.tape, x, &weight, self.config.rms_norm_eps as f32)
    }

    /// The output layer's weight [V,C].
    pub fn head(&self, c: &Forward) -> Var {
        c.param(self.head.unwrap_or(self.embedding))
    }

    /// Logits of normed rows [.., C] -> [.., V].
    pub fn logits(&self, c: &mut Forward, hidden: &Var) -> Var {
        let head = self.head(c);
        linear(&mut c.tape, hidden, &head, None)
    }

    /// The weights of linear layers and of the output layer.
    pub(super) fn matrices(&self) -> Vec<ParamId> {
        let linears = self.layers.iter().flat_map(|layer| layer.linears.iter().map(|linear| linear.weight));
        linears.chain([self.head.unwrap_or(self.embedding)]).collect()
    }

    pub(super) fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }
}
