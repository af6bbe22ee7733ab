//! The settings of stage 1: training the spatial encoder.

use crate::config::{Recipe, Setting};
use crate::encoder::EncoderConfig;
use crate::ops::spatial_loss::Weights;
use serde::{Deserialize, Serialize};

/// A recipe for `twnm-train encoder`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderRecipe {
    /// Sizes of the network.
    pub model: EncoderConfig,
    /// What it learns from.
    pub data: Data,
    /// Weights of the loss.
    pub loss: Loss,
    /// AdamW and its schedule.
    pub optimizer: OptimizerSettings,
    /// Length and rhythm of the run.
    pub train: Train,
}

/// Where scenes come from and how they are cut and turned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Folders of shards to train on.
    pub train: Vec<String>,
    /// Folders of recordings (`[DOMAIN=]DIR`) to render scenes from during training, instead of shards.
    pub sources: Vec<String>,
    /// Render from the procedural bank, without any recording.
    pub bank: bool,
    /// Go on without recordings of `sources` that cannot be read.
    pub skip_unreadable: bool,
    /// How rendered scenes are drawn: a recipe for `twnm simulate`; empty: its defaults.
    pub scene_recipe: String,
    /// Folders of shards to watch; none: no scores during the run.
    pub dev: Vec<String>,
    /// Folders of shards to report on when the run ends; none: no final scores.
    pub test: Vec<String>,
    /// Shortest random crop.
    pub crop_min_s: f64,
    /// Longest random crop.
    pub crop_max_s: f64,
    /// Whether all clips of a step have one random length, so that a GPU takes them in one batch.
    pub crop_shared: bool,
    /// How scenes are turned: `none`, or `yaw` (any angle about the vertical, left and right exchanged half the time).
    pub rotation: String,
    /// Spread of a random equaliser, the same for all channels: directions stay, recordings sound new.
    pub equalizer_db: f64,
}

/// Weights of the terms of the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// Existence (counting).
    pub exist: f64,
    /// Direction.
    pub direction: f64,
    /// Distance.
    pub distance: f64,
    /// Class.
    pub class: f64,
    /// Room surface and absorption.
    pub room: f64,
    /// Auxiliary direction map (covariance presets).
    pub direction_map: f64,
}

/// AdamW and its schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerSettings {
    /// Highest rate.
    pub learning_rate: f64,
    /// Decoupled decay of matrices.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Largest global gradient norm.
    pub clip_norm: f64,
    /// Share of the steps that warm up.
    pub warmup_ratio: f64,
}

/// Length and rhythm of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps.
    pub steps: u64,
    /// Clips per micro-batch.
    pub batch: usize,
    /// Micro-batches per optimizer step.
    pub accumulate: usize,
    /// Seed of parameters, order, crops and rotations.
    pub seed: u64,
    /// How the trunk stores activations: `f32`, or `bf16` on a GPU.
    pub precision: String,
    /// Compute large maps again in the backward pass (less memory) instead of keeping them (less work).
    pub gradient_checkpointing: bool,
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

impl Default for Data {
    fn default() -> Self {
        Data {
            train: Vec::new(),
            sources: Vec::new(),
            bank: false,
            skip_unreadable: false,
            scene_recipe: String::new(),
            dev: Vec::new(),
            test: Vec::new(),
            crop_min_s: 2.0,
            crop_max_s: 2.0,
            crop_shared: false,
            rotation: "yaw".into(),
            equalizer_db: 0.0,
        }
    }
}

impl Default for Loss {
    fn default() -> Self {
        let w = Weights::default();
        let Weights { exist, direction, distance, class, room } = w;
        Loss { exist, direction, distance, class, room, direction_map: 0.0 }
    }
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        OptimizerSettings {
            learning_rate: 1e-3,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            clip_norm: 5.0,
            warmup_ratio: 0.03,
        }
    }
}

impl Default for Train {
    fn default() -> Self {
        Train {
            steps: 10_000,
            batch: 8,
            accumulate: 1,
            seed: 0,
            precision: "f32".into(),
            gradient_checkpointing: true,
            save_every: 1000,
            keep: 3,
            score_every: 1000,
            score_scenes: 200,
            log_every: 50,
        }
    }
}

impl Loss {
    /// The weights of the matched terms.
    pub fn weights(&self) -> Weights {
        let &Loss { exist, direction, distance, class, room, .. } = self;
        Weights { exist, direction, distance, class, room }
    }
}

fn model_settings() -> Vec<Setting> {
    let size = |key: &str, doc: &'static str| Setting::integer(key, "", 1, 4096, doc);
    vec![
        Setting::integer("n_fft", "samples", 16, 4096, "Points of the STFT window."),
        Setting::integer("hop", "samples", 1, 4096, "Samples between frames."),
        Setting::choice("input", &["map", "covariance"], "What the trunk is fed: the raw map (paper) or pooled cells."),
        size("hidden", "Channels of the trunk."),
        Setting::integer("layers", "", 1, 64, "Blocks."),
        size("squeeze", "Channels of the full-band bottleneck."),
        size("ffn", "Channels of the temporal feed-forward part."),
        Setting::integer("heads", "", 1, 256, "Attention heads."),
        Setting::integer("kernel_frequency", "bins", 1, 31, "Kernel along frequency."),
        Setting::integer("kernel_time", "frames", 1, 31, "Kernel along time."),
        Setting::integer("groups", "", 1, 4096, "Groups of the blocks' convolutions."),
        Setting::integer("stem_kernel", "frames", 1, 31, "Kernel of the stem (map input)."),
        Setting::integer("stem_groups", "", 1, 8, "Groups of the stem (map input)."),
        Setting::integer("cell_width", "", 1, 1024, "Channels of a patch's network (covariance input)."),
        size("slot_width", "Width of slots and frames (covariance input)."),
        Setting::integer("reads", "", 1, 16, "Rounds of reading by the slots (covariance input)."),
        Setting::integer("steps", "", 4, 16, "Attractor steps: three sources and the stop."),
    ]
}

fn data_settings() -> Vec<Setting> {
    vec![
        Setting::texts("train", "Folders of shards to train on."),
        Setting::texts("sources", "Folders of recordings to render scenes from during training, instead of shards."),
        Setting::flag("bank", "Render scenes from the built-in bank during training."),
        Setting::flag("skip_unreadable", "Go on without recordings of sources that cannot be read."),
        Setting::text("scene_recipe", "How rendered scenes are drawn (a recipe of twnm simulate); empty: defaults."),
        Setting::texts("dev", "Folders of shards to score during the run; may be empty."),
        Setting::texts("test", "Folders of shards to report on at the end; may be empty."),
        Setting::number("crop_min_s", "s", 0.1, 3600.0, "Shortest random crop."),
        Setting::number("crop_max_s", "s", 0.1, 3600.0, "Longest random crop (whole scenes when it is longer)."),
        Setting::flag("crop_shared", "All clips of a step have one random length: a GPU takes them in one batch."),
        Setting::choice("rotation", &["none", "yaw"], "How scenes are turned, with their labels."),
        Setting::number("equalizer_db", "dB", 0.0, 24.0, "Spread of a random equaliser, octave by octave; 0: none."),
    ]
}

fn loss_settings() -> Vec<Setting> {
    let weight = |key: &str, doc: &'static str| Setting::number(key, "", 0.0, 1000.0, doc);
    vec![
        weight("exist", "Weight of existence (counting)."),
        weight("direction", "Weight of 1 - cos of the angle."),
        weight("distance", "Weight of the smooth L1 of ln(1 + metres)."),
        weight("class", "Weight of the class cross-entropy."),
        weight("room", "Weight of room surface and absorption."),
        weight("direction_map", "Weight of the auxiliary direction map (covariance input)."),
    ]
}

/// The registry of [`OptimizerSettings`].
pub(crate) fn optimizer_settings() -> Vec<Setting> {
    vec![
        Setting::number_above("learning_rate", "", 0.0, 1.0, "Highest rate; warm-up, then cosine to zero."),
        Setting::number("weight_decay", "", 0.0, 10.0, "Decoupled decay; never on norms, biases, slopes, gate."),
        Setting::number("beta1", "", 0.0, 0.9999, "Decay of the first moment."),
        Setting::number("beta2", "", 0.0, 0.999999, "Decay of the second moment."),
        Setting::number_above("eps", "", 0.0, 1.0, "Added to the denominator."),
        Setting::number_above("clip_norm", "", 0.0, 1e9, "Largest global gradient norm."),
        Setting::number("warmup_ratio", "", 0.0, 1.0, "Share of the steps that warm up."),
    ]
}

fn train_settings() -> Vec<Setting> {
    const MANY: i64 = 1 << 40;
    vec![
        Setting::integer("steps", "", 1, MANY, "Optimizer steps."),
        Setting::integer("batch", "clips", 1, 4096, "Clips per micro-batch."),
        Setting::integer("accumulate", "", 1, 4096, "Micro-batches per optimizer step."),
        Setting::integer("seed", "", 0, i64::MAX, "Seed of parameters, order, crops and rotations."),
        Setting::choice("precision", &["f32", "bf16"], "How the trunk stores activations; bf16 needs a GPU."),
        Setting::flag(
            "gradient_checkpointing",
            "Compute large maps again in the backward pass: less memory, about a third more work.",
        ),
        Setting::integer("save_every", "steps", 1, MANY, "Steps between checkpoints."),
        Setting::integer("keep", "", 1, 1000, "Checkpoints kept."),
        Setting::integer("score_every", "steps", 1, MANY, "Steps between scores on the dev scenes."),
        Setting::integer("score_scenes", "", 1, 1_000_000, "Dev scenes scored each time."),
        Setting::integer("log_every", "steps", 1, MANY, "Steps between lines of metrics."),
    ]
}

impl Recipe for EncoderRecipe {
    fn settings() -> Vec<Setting> {
        [
            Setting::within("model", model_settings()),
            Setting::within("data", data_settings()),
            Setting::within("loss", loss_settings()),
            Setting::within("optimizer", optimizer_settings()),
            Setting::within("train", train_settings()),
        ]
        .concat()
    }

    fn check(&self, errors: &mut Vec<String>) {
        let mut of_model = Vec::new();
        self.model.check(&mut of_model);
        errors.extend(of_model.into_iter().map(|e| format!("model.{e}")));
        if self.data.crop_max_s < self.data.crop_min_s {
            errors.push("data.crop_max_s is below data.crop_min_s".into());
        }
        let samples = (self.data.crop_min_s * crate::audio::SAMPLE_RATE as f64) as usize;
        if samples < self.model.samples_min() {
            errors.push(format!(
                "data.crop_min_s = {}: the model needs at least {} samples",
                self.data.crop_min_s,
                self.model.samples_min()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_names_every_key() {
        crate::config::check_registry::<EncoderRecipe>();
    }
}
