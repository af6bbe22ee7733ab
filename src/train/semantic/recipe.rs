//! The settings of the semantic encoder's training.

use crate::config::{Recipe, Setting};
use crate::semantic::{Family, SemanticConfig};
use crate::train::encoder::recipe::{OptimizerSettings, optimizer_settings};
use serde::{Deserialize, Serialize};

/// A recipe for `twnm-train semantic`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SemanticRecipe {
    /// Sizes of the encoder.
    pub model: Model,
    /// What it learns from.
    pub data: Data,
    /// AdamW and its schedule.
    pub optimizer: OptimizerSettings,
    /// Length and rhythm of the run.
    pub train: Train,
}

/// Sizes of the encoder; the defaults are the pocket preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Mel bands.
    pub mel_bands: usize,
    /// Width of tokens.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the networks inside the layers.
    pub ffn: usize,
    /// Positions of a window, 50 per second.
    pub positions: usize,
}

/// Where scenes come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Folders of shards to train on.
    pub train: Vec<String>,
    /// Folders of recordings (`[DOMAIN=]DIR`) to render scenes from during training, instead of shards.
    pub sources: Vec<String>,
    /// Render from the procedural bank, without any recording.
    pub bank: bool,
    /// How rendered scenes are drawn: a recipe for `twnm simulate`; empty: its defaults.
    pub scene_recipe: String,
    /// Folders of shards to watch; none: no scores during the run.
    pub dev: Vec<String>,
    /// Folders of shards to report on when the run ends; none: no final scores.
    pub test: Vec<String>,
}

/// Length and rhythm of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps.
    pub steps: u64,
    /// Clips per optimizer step.
    pub batch: usize,
    /// Seed of parameters, order and crops.
    pub seed: u64,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// Checkpoints kept.
    pub keep: u64,
    /// Steps between scores on the dev scenes.
    pub score_every: u64,
    /// Dev scenes scored each time.
    pub score_scenes: usize,
    /// Steps between lines of metrics.
    pub log_every: u64,
}

impl Default for Model {
    fn default() -> Self {
        Model { mel_bands: 80, width: 128, layers: 3, heads: 4, ffn: 256, positions: 250 }
    }
}

impl Default for Train {
    fn default() -> Self {
        Train {
            steps: 2000,
            batch: 8,
            seed: 0,
            save_every: 500,
            keep: 3,
            score_every: 500,
            score_scenes: 100,
            log_every: 50,
        }
    }
}

impl Model {
    /// As the encoder takes them.
    pub fn config(&self) -> SemanticConfig {
        let &Model { mel_bands, width, layers, heads, ffn, positions } = self;
        SemanticConfig { family: Family::Whisper, mel_bands, width, layers, heads, ffn, positions }
    }
}

fn model_settings() -> Vec<Setting> {
    vec![
        Setting::integer("mel_bands", "", 1, 256, "Mel bands of the features."),
        Setting::integer("width", "", 4, 8192, "Width of tokens (even)."),
        Setting::integer("layers", "", 1, 128, "Layers."),
        Setting::integer("heads", "", 1, 1024, "Attention heads."),
        Setting::integer("ffn", "", 1, 65536, "Width of the networks inside the layers."),
        Setting::integer("positions", "", 50, 8150, "Positions of a window, 50 per second; clips are cropped to it."),
    ]
}

fn data_settings() -> Vec<Setting> {
    vec![
        Setting::texts("train", "Folders of shards to train on."),
        Setting::texts("sources", "Folders of recordings to render scenes from during training, instead of shards."),
        Setting::flag("bank", "Render scenes from the built-in bank during training."),
        Setting::text("scene_recipe", "How rendered scenes are drawn (a recipe of twnm simulate); empty: defaults."),
        Setting::texts("dev", "Folders of shards to score during the run; may be empty."),
        Setting::texts("test", "Folders of shards to report on at the end; may be empty."),
    ]
}

fn train_settings() -> Vec<Setting> {
    const MANY: i64 = 1 << 40;
    vec![
        Setting::integer("steps", "", 1, MANY, "Optimizer steps."),
        Setting::integer("batch", "clips", 1, 4096, "Clips per optimizer step."),
        Setting::integer("seed", "", 0, i64::MAX, "Seed of parameters, order and crops."),
        Setting::integer("save_every", "steps", 1, MANY, "Steps between checkpoints."),
        Setting::integer("keep", "", 1, 1000, "Checkpoints kept."),
        Setting::integer("score_every", "steps", 1, MANY, "Steps between scores on the dev scenes."),
        Setting::integer("score_scenes", "", 1, 1_000_000, "Dev scenes scored each time."),
        Setting::integer("log_every", "steps", 1, MANY, "Steps between lines of metrics."),
    ]
}

impl Recipe for SemanticRecipe {
    fn settings() -> Vec<Setting> {
        [
            Setting::within("model", model_settings()),
            Setting::within("data", data_settings()),
            Setting::within("optimizer", optimizer_settings()),
            Setting::within("train", train_settings()),
        ]
        .concat()
    }

    fn check(&self, errors: &mut Vec<String>) {
        if self.model.heads == 0 || !self.model.width.is_multiple_of(self.model.heads) {
            errors.push(format!("model.heads = {}: must divide model.width = {}", self.model.heads, self.model.width));
        }
        if !self.model.positions.is_multiple_of(50) {
            let n = self.model.positions;
            errors.push(format!("model.positions = {n}: whole seconds, a multiple of 50, are needed"));
        }
        if self.model.width % 2 == 1 {
            errors.push(format!("model.width = {}: an even number is needed", self.model.width));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_names_every_key() {
        crate::config::check_registry::<SemanticRecipe>();
    }
}
