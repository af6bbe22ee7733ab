//! The spatial encoder's scores: predictions of a clip, the truth beside them, and every metric of the contract.
//!
//! [`Prediction`] is what the encoder says about a clip, [`ClipTruth`] what is so. [`ClipScore::of`] matches the two
//! (optimal assignment by angle), [`Score::of`] sums clips up, overall and by number of sources. [`Constant`] is the
//! best predictor that never listens, fitted to the very set it stands beside. `clips` runs an encoder over shards.

mod clips;
mod constant;
mod score;
mod training;

pub use clips::{ClassMap, Evaluation, evaluate, evaluate_intensity, evaluate_on, predict_clip, score_clips};
pub use constant::Constant;
pub use score::{ClipScore, Score};
pub use training::{SCORE_TABLE_NOTE, TrainingScorer, score_table, score_table_of};

use crate::encoder::{Output, likeliest_count};
use crate::scene::ClipTruth;
use crate::shard::Labels;

/// What one slot says.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Probability that the slot holds a source, in [0, 1].
    pub existence: f64,
    /// Unit vector towards the source: x front, y left, z up.
    pub direction: [f64; 3],
    /// Distance in metres.
    pub distance_m: f64,
    /// Probability of each class; they sum to 1.
    pub class_probability: Vec<f64>,
}

impl Slot {
    /// The most probable class (the first of equals) and its probability; `None` without classes.
    pub fn class(&self) -> Option<(usize, f64)> {
        let best = |best: Option<(usize, f64)>, (i, &p): (usize, &f64)| match best {
            Some((_, top)) if top >= p => best,
            _ => Some((i, p)),
        };
        self.class_probability.iter().enumerate().fold(None, best)
    }
}

/// What the encoder says about one clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The slots in the order in which the encoder fills them.
    pub slots: Vec<Slot>,
    /// Surface of the room in square metres.
    pub surface_m2: f64,
    /// Mean energy absorption of the room, in [0, 1].
    pub absorption: f64,
}

impl Prediction {
    /// The prediction for clip `clip` of a batch.
    #[track_caller]
    pub fn of_output(out: &Output, clip: usize) -> Prediction {
        let [_, k] = out.exist_logit.tensor().dims("exist_logit");
        let [_, _, classes] = out.class_logits.tensor().dims("class_logits");
        let slot = |s: usize| {
            let at = clip * k + s;
            let logit = f64::from(out.exist_logit.data()[at]);
            let direction = std::array::from_fn(|axis| f64::from(out.direction.data()[at * 3 + axis]));
            Slot {
                existence: 1.0 / (1.0 + (-logit).exp()),
                direction: unit(direction),
                distance_m: f64::from(out.distance_m.data()[at]),
                class_probability: softmax(&out.class_logits.data()[at * classes..(at + 1) * classes]),
            }
        };
        Prediction {
            slots: (0..k).map(slot).collect(),
            surface_m2: f64::from(out.log_surface.data()[clip]).exp(),
            absorption: f64::from(out.absorption.data()[clip]),
        }
    }

    /// The most probable number of sources, at most three ([`likeliest_count`]).
    pub fn count(&self) -> usize {
        likeliest_count(self.slots.iter().map(|slot| slot.existence))
    }
}

/// The truth of a scene in a set. `class` turns the set's class index into the model's; `None` masks it.
pub fn truth(labels: &Labels, class: impl Fn(usize) -> Option<usize>) -> ClipTruth {
    let mut truth = labels.whole();
    for source in &mut truth.sources {
        source.direction = unit(source.direction);
        source.class = source.class.and_then(&class);
    }
    truth
}

/// A vector stretched to length 1; the zero vector stays.
fn unit(v: [f64; 3]) -> [f64; 3] {
    let norm = v[0].hypot(v[1]).hypot(v[2]);
    if norm > 0.0 { v.map(|c| c / norm) } else { v }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&l| f64::from(l - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / total).collect()
}

#[cfg(test)]
mod tests;
