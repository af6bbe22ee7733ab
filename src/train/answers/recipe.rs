//! The settings of stages 2 and 3: alignment of the projector, and supervised fine-tuning with an adapter.

use crate::config::{Recipe, Setting};
use crate::error::{Error, Result};
use crate::language::example::Mask;
use crate::language::lora::{LINEARS, LoraConfig, Start, Targets};
use crate::language::rows::Form;
use crate::projector::{Kind, ProjectorConfig};
use crate::train::encoder::recipe::{OptimizerSettings, optimizer_settings};
use serde::{Deserialize, Serialize};

/// A recipe for `twnm-train align`: the projector learns to say what the encoders hear, to a frozen decoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignRecipe {
    /// The models it is made of.
    pub model: Models,
    /// Sizes of a fresh projector.
    pub projector: ProjectorSettings,
    /// What it learns from.
    pub data: Data,
    /// AdamW and its schedule.
    pub optimizer: OptimizerSettings,
    /// Length and rhythm of the run.
    pub train: Train,
}

/// A recipe for `twnm-train sft`: projector and adapter learn to reason and to answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SftRecipe {
    /// The models it is made of.
    pub model: Models,
    /// Sizes of a fresh projector, where none is named.
    pub projector: ProjectorSettings,
    /// The adapter.
    pub lora: Lora,
    /// What it learns from.
    pub data: Data,
    /// AdamW and its schedule.
    pub optimizer: OptimizerSettings,
    /// Length and rhythm of the run.
    pub train: Train,
}

/// Folders of models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// A family, or a run of an earlier stage, whose parts are taken where none is named below.
    pub family: String,
    /// The spatial encoder.
    pub encoder: String,
    /// The semantic encoder.
    pub semantic: String,
    /// The decoder, with its tokenizer.
    pub decoder: String,
    /// How the weights of the decoder's linear layers are packed: `stored`, `int8`, `nf4`, or `auto` for what the family says.
    pub weights: String,
    /// The projector to begin with; `fresh` for a new one.
    pub projector: String,
    /// The adapter to begin with (stage 3), in PEFT's layout; empty for a new one.
    pub adapter: String,
}

/// Sizes of a fresh projector; the other models decide the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectorSettings {
    /// `p2`, `p1` or `p0`.
    pub kind: String,
    /// Width of the bottleneck.
    pub bottleneck: usize,
    /// Semantic frames that a token covers.
    pub frames_per_token: usize,
    /// Whether slots and the scene follow as tokens.
    pub slots: bool,
}

/// A fresh adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lora {
    /// Rank.
    pub rank: usize,
    /// The output is multiplied by alpha / rank.
    pub alpha: f64,
    /// Names of linear layers.
    pub targets: Vec<String>,
    /// alpha / sqrt(rank) instead.
    pub rank_stabilised: bool,
    /// Rows of the adapted weights keep lengths of their own (DoRA).
    pub magnitudes: bool,
    /// How A starts: `uniform` or `gaussian`.
    pub start: String,
}

/// What is learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Files of rows, or folders of `twnm benchmark`.
    pub train: Vec<String>,
    /// The same, watched during the run and reported on at its end.
    pub dev: Vec<String>,
    /// The form of the rows; `auto`: by their fields.
    pub form: String,
    /// Folder of the recordings that rows name; empty: that of their file.
    pub audio: String,
    /// Which tokens the loss counts: `response` or `answer`.
    pub mask: String,
    /// Tokens of a row, at most, the audio's included.
    pub tokens_max: usize,
    /// Rows that are longer are left out and counted, in place of an error.
    pub skip_long: bool,
    /// Memory for what the frozen encoders made of recordings; beyond it they are heard again.
    pub cache_mib: usize,
    /// A folder that keeps the same on disk, for later passes and runs; empty: none.
    pub cache: String,
}

/// Length and rhythm of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps.
    pub steps: u64,
    /// Rows per micro-batch, packed one after the other.
    pub batch: usize,
    /// Micro-batches per optimizer step.
    pub accumulate: usize,
    /// Seed of fresh parameters and of the order.
    pub seed: u64,
    /// How the decoder stores activations: `f32`, or `bf16` on a GPU.
    pub precision: String,
    /// What of the decoder is computed again in the backward pass: `none`, `units` (gate and up) or `layers`.
    pub recompute: String,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// Checkpoints kept.
    pub keep: u64,
    /// Steps between scores on the dev rows.
    pub score_every: u64,
    /// Dev rows scored each time.
    pub score_rows: usize,
    /// Steps between lines of metrics.
    pub log_every: u64,
}

impl Default for Models {
    fn default() -> Self {
        let [family, encoder, semantic, decoder, projector, adapter] = Default::default();
        Models { family, encoder, semantic, decoder, weights: "auto".into(), projector, adapter }
    }
}

impl Default for ProjectorSettings {
    fn default() -> Self {
        ProjectorSettings { kind: "p2".into(), bottleneck: 1024, frames_per_token: 1, slots: false }
    }
}

impl Default for Lora {
    fn default() -> Self {
        Lora {
            rank: 8,
            alpha: 32.0,
            targets: LINEARS.map(String::from).to_vec(),
            rank_stabilised: false,
            magnitudes: false,
            start: "uniform".into(),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Data {
            train: Vec::new(),
            dev: Vec::new(),
            form: "auto".into(),
            audio: String::new(),
            mask: "response".into(),
            tokens_max: 4096,
            skip_long: false,
            cache_mib: 1024,
            cache: String::new(),
        }
    }
}

impl Default for Train {
    fn default() -> Self {
        Train {
            steps: 1000,
            batch: 8,
            accumulate: 1,
            seed: 0,
            precision: "f32".into(),
            recompute: "none".into(),
            save_every: 500,
            keep: 3,
            score_every: 500,
            score_rows: 64,
            log_every: 10,
        }
    }
}

impl ProjectorSettings {
    /// The sizes, without those that other models decide.
    pub fn config(&self) -> ProjectorConfig {
        let kind = match self.kind.as_str() {
            "p0" => Kind::P0,
            "p1" => Kind::P1,
            _ => Kind::P2,
        };
        let &ProjectorSettings { bottleneck, frames_per_token, slots, .. } = self;
        ProjectorConfig { kind, semantic: 0, spatial: 0, bottleneck, width: 0, frames_per_token, slots, classes: 0 }
    }
}

impl Lora {
    /// The adapter's config.
    pub fn config(&self) -> LoraConfig {
        LoraConfig {
            is_rank_stabilised: self.rank_stabilised,
            has_magnitudes: self.magnitudes,
            targets: Targets::Names(self.targets.clone()),
            start: if self.start == "gaussian" { Start::Gaussian } else { Start::Uniform },
            ..LoraConfig::new(self.rank, self.alpha, &[])
        }
    }
}

impl Data {
    /// The form of the rows, if one is named.
    ///
    /// # Errors
    /// `Usage` for a form that is not known.
    pub fn form(&self) -> Result<Option<Form>> {
        match self.form.as_str() {
            "auto" => Ok(None),
            name => Form::parse(name).map(Some).ok_or_else(|| Error::usage(format!("data.form = {name:?} is no form"))),
        }
    }

    /// Which tokens the loss counts.
    pub fn mask(&self) -> Mask {
        if self.mask == "answer" { Mask::AnswerOnly } else { Mask::Response }
    }
}

fn model_settings() -> Vec<Setting> {
    vec![
        Setting::text(
            "family",
            "A family or a run of an earlier stage, whose parts are taken where none is named below.",
        ),
        Setting::text("encoder", "The spatial encoder: a run of twnm-train encoder or a folder."),
        Setting::text("semantic", "The semantic encoder: a Whisper or Audio Flamingo 3 folder."),
        Setting::text("decoder", "The decoder: a Qwen2 or Audio Flamingo 3 folder with its tokenizer."),
        Setting::choice(
            "weights",
            &["auto", "stored", "int8", "nf4"],
            "Pack the weights of the decoder's linear layers as they are read; auto: as the family has them.",
        ),
        Setting::text("projector", "The projector to begin with: a folder, or fresh for a new one."),
        Setting::text("adapter", "The adapter to begin with (stage 3), a PEFT folder; empty: a new one."),
    ]
}

fn projector_settings() -> Vec<Setting> {
    vec![
        Setting::choice("kind", &["p2", "p1", "p0"], "Six experts (the paper's), two towers, or one network."),
        Setting::integer(
            "bottleneck",
            "",
            1,
            1 << 15,
            "Width of the bottleneck: 1024 in the paper, 128 at pocket size.",
        ),
        Setting::integer(
            "frames_per_token",
            "frames",
            1,
            1500,
            "Semantic frames that a token covers; one of Whisper's is 20 ms.",
        ),
        Setting::flag("slots", "Slots of the spatial encoder and the scene follow as tokens of their own."),
    ]
}

fn lora_settings() -> Vec<Setting> {
    vec![
        Setting::integer("rank", "", 1, 4096, "Rank of the adapter."),
        Setting::number_above("alpha", "", 0.0, 1e6, "Its output is multiplied by alpha / rank."),
        Setting::texts("targets", "Linear layers that are adapted, by the end of their names."),
        Setting::flag("rank_stabilised", "Multiply by alpha / sqrt(rank) instead (rsLoRA)."),
        Setting::flag("magnitudes", "Rows of adapted weights keep lengths of their own (DoRA; host only)."),
        Setting::choice("start", &["uniform", "gaussian"], "How A starts, as PEFT's true and \"gaussian\"; B is zero."),
    ]
}

fn data_settings() -> Vec<Setting> {
    let forms = &["auto", "align", "sft", "sapo", "text", "alpaca", "sharegpt", "bat"];
    vec![
        Setting::texts("train", "JSONL files of rows, or folders of twnm benchmark --kind align or sft."),
        Setting::texts("dev", "The same, scored during the run; may be empty."),
        Setting::choice("form", forms, "The form of the rows; auto: by their fields."),
        Setting::text("audio", "Folder of the recordings that rows name; empty: that of their file."),
        Setting::choice(
            "mask",
            &["response", "answer"],
            "Which tokens the loss counts: reasoning and answer, or the answer.",
        ),
        Setting::integer("tokens_max", "tokens", 8, 1 << 20, "Tokens of a row, at most, the audio's included."),
        Setting::flag("skip_long", "Leave longer rows out and count them, in place of an error."),
        Setting::integer("cache_mib", "MiB", 0, 1 << 24, "Memory for what the frozen encoders made of recordings."),
        Setting::text("cache", "A folder that keeps the same on disk, for later passes and runs; empty: none."),
    ]
}

fn train_settings() -> Vec<Setting> {
    const MANY: i64 = 1 << 40;
    vec![
        Setting::integer("steps", "", 1, MANY, "Optimizer steps."),
        Setting::integer("batch", "rows", 1, 4096, "Rows per micro-batch, packed without padding."),
        Setting::integer("accumulate", "", 1, 4096, "Micro-batches per optimizer step."),
        Setting::integer("seed", "", 0, i64::MAX, "Seed of fresh parameters and of the order."),
        Setting::choice("precision", &["f32", "bf16"], "How the decoder stores activations; bf16 needs a GPU."),
        Setting::choice(
            "recompute",
            &["none", "units", "layers"],
            "What of the decoder is computed again to save memory.",
        ),
        Setting::integer("save_every", "steps", 1, MANY, "Steps between checkpoints."),
        Setting::integer("keep", "", 1, 1000, "Checkpoints kept."),
        Setting::integer("score_every", "steps", 1, MANY, "Steps between scores on the dev rows."),
        Setting::integer("score_rows", "rows", 1, 1_000_000, "Dev rows scored each time."),
        Setting::integer("log_every", "steps", 1, MANY, "Steps between lines of metrics."),
    ]
}

fn shared_settings() -> Vec<Setting> {
    [
        Setting::within("model", model_settings()),
        Setting::within("projector", projector_settings()),
        Setting::within("data", data_settings()),
        Setting::within("optimizer", optimizer_settings()),
        Setting::within("train", train_settings()),
    ]
    .concat()
}

impl Recipe for AlignRecipe {
    fn settings() -> Vec<Setting> {
        shared_settings()
    }

    fn check(&self, errors: &mut Vec<String>) {
        if !self.model.adapter.is_empty() {
            errors.push("model.adapter: stage 2 trains the projector alone; adapters belong to twnm-train sft".into());
        }
    }
}

impl Recipe for SftRecipe {
    fn settings() -> Vec<Setting> {
        [shared_settings(), Setting::within("lora", lora_settings())].concat()
    }

    fn check(&self, errors: &mut Vec<String>) {
        if self.lora.targets.is_empty() {
            errors.push("lora.targets: at least one layer is needed".into());
        }
        let is_layer = |target: &&String| {
            LINEARS.iter().any(|name| target.as_str() == *name || target.ends_with(&format!(".{name}")))
        };
        for target in self.lora.targets.iter().filter(|target| !is_layer(target)) {
            errors
                .push(format!("lora.targets: no linear layer is called {target:?}; there are {}", LINEARS.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registries_name_every_key() {
        crate::config::check_registry::<AlignRecipe>();
        crate::config::check_registry::<SftRecipe>();
    }

    #[test]
    fn the_recipes_that_are_shipped_are_in_order() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/recipes");
        for size in ["pocket", "paper"] {
            crate::config::load::<AlignRecipe>(Some(&folder.join(format!("align-{size}.toml"))), &[]).unwrap();
            let sft: SftRecipe = crate::config::load(Some(&folder.join(format!("sft-{size}.toml"))), &[]).unwrap();
            let lora = sft.lora.config();
            assert_eq!(lora.of("model.layers.0.mlp.down_proj"), Some((8, 4.0)), "rank 8, alpha 32");
        }
    }
}
