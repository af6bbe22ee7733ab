//! Running an encoder over a set of scenes.

use super::{ClipScore, Constant, Prediction, Score, Truth, truth};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::shard::{CHANNELS, ShardSet};
use rayon::prelude::*;

/// Prediction for one clip: audio [4, L] (AmbiX W, Y, Z, X; channel-major) at 16 kHz of any length that the encoder
/// takes; the whole clip goes through it at once. Panics when it is shorter than
/// [`crate::encoder::EncoderConfig::samples_min`].
#[track_caller]
pub fn predict_clip(encoder: &Encoder, audio: &[f32]) -> Prediction {
    Prediction::of_output(&encoder.infer(audio), 0)
}

/// Which class of the model a class of a set is, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMap(Vec<Option<usize>>);

impl ClassMap {
    /// Maps the classes of a set to those of the model with the same name.
    pub fn new(model: &[String], set: &[String]) -> ClassMap {
        ClassMap(set.iter().map(|name| model.iter().position(|m| m == name)).collect())
    }
    /// The model's class for the set's class `class`; `None` when the model does not know it.
    pub fn get(&self, class: usize) -> Option<usize> {
        self.0.get(class).copied().flatten()
    }
    /// How many classes of the set the model does not know.
    pub fn unknown(&self) -> usize {
        self.0.iter().filter(|class| class.is_none()).count()
    }
}

/// The scores of an encoder on a set, and of the best constants on the same set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// What the encoder scores.
    pub score: Score,
    /// What the best constants score.
    pub constant: Score,
    /// Every clip's metrics, in the order of the set.
    pub clips: Vec<ClipScore>,
    /// The best constants.
    pub constants: Constant,
}

/// Scores `encoder` on the first `limit` scenes of `set` (all without a limit) and fits the best constants to the
/// same scenes. See [`score_clips`].
///
/// # Errors
/// Those of [`score_clips`].
pub fn evaluate(encoder: &Encoder, set: &ShardSet, limit: Option<usize>, done: impl Fn() + Sync) -> Result<Evaluation> {
    let clips = score_clips(encoder, set, limit, done)?;
    let truths = truths(encoder, set, clips.len());
    let constants = Constant::best(&truths);
    Ok(Evaluation { score: Score::of(&clips), constant: constants.score(&truths), clips, constants })
}

/// The metrics of the first `limit` scenes of `set`, in parallel over clips; they do not depend on the number of
/// threads. `done` is called after each clip. Classes are matched by name; those that the model does not know are
/// masked.
///
/// # Errors
/// `Data` when the set is empty, its clips are too short for the encoder, or a prediction is not finite.
pub fn score_clips(
    encoder: &Encoder,
    set: &ShardSet,
    limit: Option<usize>,
    done: impl Fn() + Sync,
) -> Result<Vec<ClipScore>> {
    let n = limit.unwrap_or(usize::MAX).min(set.len());
    if n == 0 {
        return Err(Error::data("the set has no scenes to score"));
    }
    let truths = truths(encoder, set, n);
    let clip = |i: usize| -> Result<ClipScore> {
        let (frames, least) = (set.frames(i), encoder.config.samples_min());
        if frames < least {
            return Err(Error::data(format!("scene {i}: {frames} samples, this encoder needs at least {least}")));
        }
        let mut audio = vec![0.0; CHANNELS * frames];
        set.read_f32(i, 0, &mut audio);
        let prediction = predict_clip(encoder, &audio);
        if !prediction.is_finite() {
            return Err(Error::data(format!("scene {i}: the encoder's prediction is not finite: {prediction:?}")));
        }
        done();
        Ok(ClipScore::of(&prediction, &truths[i]))
    };
    (0..n).into_par_iter().map(clip).collect()
}

/// The truth of the first `n` scenes in the model's classes.
fn truths(encoder: &Encoder, set: &ShardSet, n: usize) -> Vec<Truth> {
    let map = ClassMap::new(&encoder.classes, set.classes());
    (0..n).map(|i| truth(set.labels(i), |class| map.get(class))).collect()
}

impl Prediction {
    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        let slots = self.slots.iter().flat_map(|slot| {
            let numbers = [slot.existence, slot.distance_m].into_iter().chain(slot.direction);
            numbers.chain(slot.class_probability.iter().copied())
        });
        slots.chain([self.surface_m2, self.absorption]).all(f64::is_finite)
    }
}
