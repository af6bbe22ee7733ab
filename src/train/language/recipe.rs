//! The settings of the pocket decoder's training.

use crate::config::{Recipe, Setting};
use crate::error::{Error, Result};
use crate::language::bpe::{ADDED, Options, VOCABULARY_MAX};
use crate::language::config::DecoderConfig;
use crate::language::rows::Form;
use crate::train::encoder::recipe::{OptimizerSettings, optimizer_settings};
use serde::{Deserialize, Serialize};

/// A recipe for `twnm-train language`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageRecipe {
    /// Sizes of the decoder.
    pub model: Model,
    /// The vocabulary, which is learned first.
    pub tokenizer: Vocabulary,
    /// What it learns from.
    pub data: Data,
    /// AdamW and its schedule.
    pub optimizer: OptimizerSettings,
    /// Length and rhythm of the run.
    pub train: Train,
}

/// Sizes of the decoder; the defaults are the pocket preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Numbers per token between layers.
    pub hidden: usize,
    /// Width of the gated units.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub heads_kv: usize,
    /// Whether the output layer is the embedding.
    pub tied: bool,
    /// Base of the wavelengths of the rotary embedding.
    pub rope_theta: f64,
    /// The most positions the model is made for.
    pub positions: usize,
}

/// The vocabulary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vocabulary {
    /// Tokens in all, at most.
    pub vocabulary: usize,
    /// Whether tokens may hold several words.
    pub phrases: bool,
    /// Rows that it is learned from, at most, spread over all.
    pub rows: usize,
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
    /// What a token of a prompt weighs in the loss; one of a response weighs 1.
    pub prompt_weight: f64,
    /// Tokens of a row, at most.
    pub tokens_max: usize,
    /// Rows that are longer are left out and counted, in place of an error.
    pub skip_long: bool,
}

/// Length and rhythm of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens of a micro-batch, at most.
    pub tokens: usize,
    /// Micro-batches per optimizer step.
    pub accumulate: usize,
    /// Share of the steps in which short rows come first.
    pub short_share: f64,
    /// Share of the rows, the shortest, that the first step draws from.
    pub short_rows: f64,
    /// Seed of parameters and order.
    pub seed: u64,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// Checkpoints kept.
    pub keep: u64,
    /// Steps between scores on the dev rows.
    pub score_every: u64,
    /// Dev rows scored each time.
    pub score_rows: usize,
    /// Tokens of an answer to a dev row, at most.
    pub answer_tokens: usize,
    /// Steps between lines of metrics.
    pub log_every: u64,
}

impl Default for Model {
    fn default() -> Self {
        Model {
            hidden: 128,
            intermediate: 352,
            layers: 4,
            heads: 4,
            heads_kv: 4,
            tied: true,
            rope_theta: 1e6,
            positions: 4096,
        }
    }
}

impl Default for Vocabulary {
    fn default() -> Self {
        Vocabulary { vocabulary: 2000, phrases: true, rows: 20_000 }
    }
}

impl Default for Data {
    fn default() -> Self {
        Data {
            train: Vec::new(),
            dev: Vec::new(),
            form: "auto".into(),
            prompt_weight: 1.0,
            tokens_max: 512,
            skip_long: false,
        }
    }
}

impl Default for Train {
    fn default() -> Self {
        Train {
            steps: 10_000,
            tokens: 1024,
            accumulate: 2,
            short_share: 0.2,
            short_rows: 0.1,
            seed: 0,
            save_every: 500,
            keep: 3,
            score_every: 500,
            score_rows: 200,
            answer_tokens: 128,
            log_every: 50,
        }
    }
}

impl Model {
    /// The sizes with a vocabulary.
    pub fn config(&self, vocabulary: usize) -> DecoderConfig {
        DecoderConfig {
            vocabulary,
            hidden: self.hidden,
            intermediate: self.intermediate,
            layers: self.layers,
            heads: self.heads,
            heads_kv: self.heads_kv,
            width: self.hidden / self.heads,
            rope_theta: self.rope_theta,
            rms_norm_eps: 1e-6,
            tied: self.tied,
            positions: self.positions,
            initializer_range: 0.02,
        }
    }

    fn check(&self, errors: &mut Vec<String>) {
        let &Model { hidden, heads, heads_kv, .. } = self;
        if !hidden.is_multiple_of(2 * heads) {
            errors.push(format!("model.heads = {heads}: model.hidden = {hidden} must be a multiple of twice that"));
        }
        if !heads.is_multiple_of(heads_kv) {
            errors.push(format!("model.heads_kv = {heads_kv}: must divide model.heads = {heads}"));
        }
    }
}

impl Vocabulary {
    /// As the learner takes it.
    pub fn options(&self) -> Options {
        Options { vocabulary: self.vocabulary, phrases: self.phrases, ..Options::default() }
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
}

fn model_settings() -> Vec<Setting> {
    vec![
        Setting::integer("hidden", "", 2, 1 << 14, "Width: numbers per token between layers."),
        Setting::integer("intermediate", "", 1, 1 << 16, "Width of the gated units."),
        Setting::integer("layers", "", 1, 128, "Layers; choosing a letter needs at least three."),
        Setting::integer("heads", "", 1, 512, "Query heads."),
        Setting::integer("heads_kv", "", 1, 512, "Key and value heads, a divisor of the query heads."),
        Setting::flag("tied", "The output layer is the embedding."),
        Setting::number("rope_theta", "", 2.0, 1e9, "Base of the wavelengths of the rotary embedding."),
        Setting::integer("positions", "tokens", 16, 1 << 20, "The most positions the model is made for."),
    ]
}

fn tokenizer_settings() -> Vec<Setting> {
    let least = (256 + ADDED.len()) as i64;
    vec![
        Setting::integer("vocabulary", "tokens", least, VOCABULARY_MAX as i64, "Tokens in all, at most."),
        Setting::flag("phrases", "Tokens may hold several words, which templated text halves by; digits stand alone."),
        Setting::integer("rows", "", 1, 1 << 30, "Rows that the vocabulary is learned from, at most, spread over all."),
    ]
}

fn data_settings() -> Vec<Setting> {
    vec![
        Setting::texts("train", "JSONL files of rows without recordings, or folders of twnm benchmark --kind text."),
        Setting::texts("dev", "The same, scored during the run; may be empty."),
        Setting::choice(
            "form",
            &["auto", "text", "alpaca", "sharegpt"],
            "The form of the rows; auto: by their fields.",
        ),
        Setting::number(
            "prompt_weight",
            "",
            0.0,
            1.0,
            "What a token of a prompt weighs in the loss: 1 all tokens alike, 0 responses alone.",
        ),
        Setting::integer("tokens_max", "tokens", 8, 1 << 20, "Tokens of a row, at most."),
        Setting::flag("skip_long", "Leave longer rows out and count them, in place of an error."),
    ]
}

fn train_settings() -> Vec<Setting> {
    const MANY: i64 = 1 << 40;
    vec![
        Setting::integer("steps", "", 1, MANY, "Optimizer steps."),
        Setting::integer("tokens", "tokens", 8, 1 << 22, "Tokens of a micro-batch, at most: whole rows, packed."),
        Setting::integer(
            "accumulate",
            "",
            1,
            4096,
            "Micro-batches per optimizer step, on the host side by side on its threads.",
        ),
        Setting::number("short_share", "", 0.0, 1.0, "Share of the steps in which short rows come first; 0: never."),
        Setting::number_above(
            "short_rows",
            "",
            0.0,
            1.0,
            "Share of the rows, the shortest, that the first of these steps draws from; it grows evenly to all.",
        ),
        Setting::integer("seed", "", 0, i64::MAX, "Seed of parameters and order."),
        Setting::integer("save_every", "steps", 1, MANY, "Steps between checkpoints."),
        Setting::integer("keep", "", 1, 1000, "Checkpoints kept."),
        Setting::integer("score_every", "steps", 1, MANY, "Steps between scores on the dev rows."),
        Setting::integer("score_rows", "rows", 1, 1_000_000, "Dev rows scored each time; all at the end."),
        Setting::integer("answer_tokens", "tokens", 1, 1 << 16, "Tokens of an answer to a dev row, at most."),
        Setting::integer("log_every", "steps", 1, MANY, "Steps between lines of metrics."),
    ]
}

impl Recipe for LanguageRecipe {
    fn settings() -> Vec<Setting> {
        [
            Setting::within("model", model_settings()),
            Setting::within("tokenizer", tokenizer_settings()),
            Setting::within("data", data_settings()),
            Setting::within("optimizer", optimizer_settings()),
            Setting::within("train", train_settings()),
        ]
        .concat()
    }

    fn check(&self, errors: &mut Vec<String>) {
        self.model.check(errors);
        let (row, batch, answer) = (self.data.tokens_max, self.train.tokens, self.train.answer_tokens);
        if row > batch {
            errors.push(format!("data.tokens_max = {row}: a row must fit train.tokens = {batch}"));
        }
        if row + answer > self.model.positions {
            errors.push(format!(
                "model.positions = {}: data.tokens_max = {row} and train.answer_tokens = {answer} must fit",
                self.model.positions
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_names_every_key() {
        crate::config::check_registry::<LanguageRecipe>();
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused_by_name() {
        for (set, named) in [
            ("model.heads=3", "model.heads = 3"),
            ("model.heads_kv=3", "model.heads_kv = 3"),
            ("data.tokens_max=2048", "data.tokens_max = 2048"),
            ("model.positions=512", "model.positions = 512"),
            ("tokenizer.vocabulary=263", "tokenizer.vocabulary"),
            ("data.prompt_weight=1.5", "data.prompt_weight"),
            ("train.short_rows=0.0", "train.short_rows"),
        ] {
            let error = crate::config::parse::<LanguageRecipe>("", &[set.to_string()]).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Usage, "{set}");
            assert!(error.to_string().contains(named), "{set}: {error}");
        }
    }
}
