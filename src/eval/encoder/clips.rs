//! Running an encoder over a set of scenes.

use super::{ClipScore, ClipTruth, Constant, Prediction, Score, truth};
use crate::device::Device;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::eval::ablation::Inputs;
use crate::eval::intensity;
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
    evaluate_on(encoder, set, &Inputs::plain(limited(set, limit)), done)
}

/// [`evaluate`] with other audio than the scenes'; the truth stays theirs.
///
/// # Errors
/// Those of [`score_clips`].
pub fn evaluate_on(encoder: &Encoder, set: &ShardSet, inputs: &Inputs, done: impl Fn() + Sync) -> Result<Evaluation> {
    let clips = score_clips_on(encoder, set, inputs, done)?;
    let truths = truths(&encoder.classes, set, clips.len());
    Ok(Evaluation::of(clips, &truths))
}

/// [`evaluate_on`] for the localiser that does not learn; it says nothing about distances, classes and rooms.
///
/// # Errors
/// `Data` when the set is empty or its clips are too short.
pub fn evaluate_intensity(set: &ShardSet, inputs: &Inputs, done: impl Fn() + Sync) -> Result<Evaluation> {
    let truths = truths(set.classes(), set, inputs.len());
    let clip = |i: usize, audio: &[f32]| {
        let found = intensity::localise(audio);
        Ok(ClipScore::of_directions(&found.directions, found.count(), &truths[i]))
    };
    let clips = each_clip(set, inputs, intensity::SAMPLES_MIN, true, clip, done)?;
    Ok(Evaluation::of(clips, &truths))
}

impl Evaluation {
    fn of(clips: Vec<ClipScore>, truths: &[ClipTruth]) -> Evaluation {
        let constants = Constant::best(truths);
        Evaluation { score: Score::of(&clips), constant: constants.score(truths), clips, constants }
    }
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
    score_clips_on(encoder, set, &Inputs::plain(limited(set, limit)), done)
}

/// [`score_clips`] with other audio than the scenes'.
fn score_clips_on(
    encoder: &Encoder,
    set: &ShardSet,
    inputs: &Inputs,
    done: impl Fn() + Sync,
) -> Result<Vec<ClipScore>> {
    let truths = truths(&encoder.classes, set, inputs.len());
    let clip = |i: usize, audio: &[f32]| {
        let prediction = predict_clip(encoder, audio);
        if !prediction.is_finite() {
            return Err(Error::data(format!("scene {i}: the encoder's prediction is not finite: {prediction:?}")));
        }
        Ok(ClipScore::of(&prediction, &truths[i]))
    };
    // On another device every clip fills it by itself.
    let in_parallel = encoder.device() == Device::Host;
    each_clip(set, inputs, encoder.config.samples_min(), in_parallel, clip, done)
}

/// How many scenes of `set` there are within `limit`.
fn limited(set: &ShardSet, limit: Option<usize>) -> usize {
    limit.unwrap_or(usize::MAX).min(set.len())
}

/// Calls `clip` with the number of each scene and the audio it is given, in order or in parallel.
fn each_clip(
    set: &ShardSet,
    inputs: &Inputs,
    samples_min: usize,
    in_parallel: bool,
    clip: impl Fn(usize, &[f32]) -> Result<ClipScore> + Sync,
    done: impl Fn() + Sync,
) -> Result<Vec<ClipScore>> {
    if inputs.is_empty() {
        return Err(Error::data("the set has no scenes to score"));
    }
    let each = |i: usize| -> Result<ClipScore> {
        let from = inputs.scene(i);
        let frames = set.frames(from);
        if frames < samples_min {
            return Err(Error::data(format!("scene {from}: {frames} samples, at least {samples_min} are needed")));
        }
        let mut audio = vec![0.0; CHANNELS * frames];
        set.read_f32(from, 0, &mut audio);
        inputs.ablation().apply(&mut audio);
        let score = clip(i, &audio)?;
        done();
        Ok(score)
    };
    match in_parallel {
        true => (0..inputs.len()).into_par_iter().map(each).collect(),
        false => (0..inputs.len()).map(each).collect(),
    }
}

/// The truth of the first `n` scenes in the classes `known` to a model.
fn truths(known: &[String], set: &ShardSet, n: usize) -> Vec<ClipTruth> {
    let map = ClassMap::new(known, set.classes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::EncoderConfig;
    use crate::error::Kind;
    use crate::eval::ablation::{Ablation, derangement};
    use crate::rng::Rng;
    use crate::shard::{Labels, Sample, ShardSpec, ShardWriter};
    use std::path::Path;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| s.to_string()).collect()
    }

    fn write_set(folder: &Path, frames: usize, scenes: usize) -> ShardSet {
        let spec = ShardSpec::new(scenes, frames, 1, &names(&["bell", "dog"]), &serde_json::json!({})).unwrap();
        let writer = ShardWriter::open(folder, spec).unwrap();
        let sample = |i: usize| {
            let mut rng = Rng::new(3, "eval clips", i as u64);
            let audio: Vec<f32> = (0..CHANNELS * frames).map(|_| rng.normal() as f32 * 0.1).collect();
            let mut labels = Labels::empty(frames);
            labels.count = 1 + i % 3;
            for slot in 0..labels.count {
                labels.direction[slot] = [0.0, 1.0, 0.0];
                labels.distance_m[slot] = 1.0 + slot as f32;
                labels.activity[slot].fill(1);
                (labels.class[slot], labels.class_mask[slot]) = ((i % 2) as i64, 1.0);
            }
            (labels.log_surface, labels.absorption, labels.rt60_s, labels.room_mask) = (4.5, 0.25, 0.5, 1.0);
            Sample::new(&audio, labels, &serde_json::json!({"id": i})).unwrap()
        };
        for &index in writer.missing() {
            let samples: Vec<Sample> = writer.spec().range(index).map(sample).collect();
            writer.write(index, &samples).unwrap();
        }
        writer.finish().unwrap();
        ShardSet::open(folder).unwrap()
    }

    fn encoder(classes: &[&str]) -> Encoder {
        Encoder::new(EncoderConfig::preset("pocket").unwrap(), names(classes), 5).unwrap()
    }

    #[test]
    fn a_set_is_scored_alike_on_any_number_of_threads_and_classes_meet_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let set = write_set(folder.path(), 4096, 7);
        let on = |threads: usize, encoder: &Encoder| {
            let done = std::sync::atomic::AtomicUsize::new(0);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let count = || _ = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let result = pool.install(|| evaluate(encoder, &set, None, count)).unwrap();
            assert_eq!(done.into_inner(), 7);
            result
        };
        let one = on(1, &encoder(&["bell", "dog"]));
        assert_eq!(one, on(2, &encoder(&["bell", "dog"])));
        assert_eq!((one.score.n, one.score.sources, one.clips.len()), (7, 13, 7));
        assert_eq!(one.constant.class_accuracy, Some(7.0 / 13.0), "scenes 0, 2, 4, 6 hold 1 + 3 + 2 + 1 bells");
        // A model that does not know the bell is asked about dogs only, and so are the constants.
        let other = on(2, &encoder(&["rain", "dog", "sea"]));
        assert_eq!(other.clips.iter().map(|clip| clip.class_right.len()).sum::<usize>(), 6);
        assert_eq!((other.constants.class, other.constant.class_accuracy), (Some(1), Some(1.0)));
        let limited = evaluate(&encoder(&["bell", "dog"]), &set, Some(3), || ()).unwrap();
        assert_eq!(limited.clips, one.clips[..3]);
    }

    #[test]
    fn clips_that_are_too_short_are_refused_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let set = write_set(folder.path(), 500, 2);
        let error = score_clips(&encoder(&["bell", "dog"]), &set, None, || ()).unwrap_err();
        assert!(error.kind() == Kind::Data && error.message().contains("scene 0: 500 samples"), "{error}");
        assert_eq!(score_clips(&encoder(&["bell"]), &set, Some(0), || ()).unwrap_err().kind(), Kind::Data);
    }

    #[test]
    fn silence_and_a_lone_w_are_predicted_with_finite_numbers() {
        let classes = names(&["bell", "dog"]);
        let map = EncoderConfig { hidden: 16, layers: 1, ffn: 16, ..EncoderConfig::preset("paper").unwrap() };
        for config in [EncoderConfig::preset("pocket").unwrap(), EncoderConfig::preset("small").unwrap(), map] {
            let encoder = Encoder::new(config, classes.clone(), 5).unwrap();
            let mut audio = vec![0.0; CHANNELS * 4096];
            assert!(predict_clip(&encoder, &audio).is_finite());
            let mut rng = Rng::new(9, "eval clips", 1);
            audio[..4096].iter_mut().for_each(|v| *v = rng.normal() as f32);
            assert!(predict_clip(&encoder, &audio).is_finite());
        }
    }

    #[test]
    fn an_ablation_changes_the_audio_and_not_the_truth() {
        let folder = tempfile::tempdir().unwrap();
        let set = write_set(folder.path(), 4096, 7);
        let encoder = encoder(&["bell", "dog"]);
        let on = |ablation| evaluate_on(&encoder, &set, &Inputs::new(ablation, 7, 4).unwrap(), || ()).unwrap();
        let plain = on(Ablation::None);
        assert_eq!(plain, evaluate(&encoder, &set, None, || ()).unwrap());
        for ablation in [Ablation::WOnly, Ablation::Shuffle, Ablation::NoAudio] {
            let ablated = on(ablation);
            assert_eq!((&ablated.constant, &ablated.constants), (&plain.constant, &plain.constants), "{ablation}");
            assert_ne!(ablated.clips, plain.clips, "{ablation}");
            assert_eq!(ablated, on(ablation));
        }
        // Each scene is heard through the audio of the one that the derangement names.
        let shuffled = on(Ablation::Shuffle);
        for (i, &j) in derangement(7, 4).iter().enumerate() {
            let mut audio = vec![0.0; CHANNELS * 4096];
            set.read_f32(j, 0, &mut audio);
            let truth = &truths(&encoder.classes, &set, 7)[i];
            assert_eq!(shuffled.clips[i], ClipScore::of(&predict_clip(&encoder, &audio), truth));
        }
        let silent = on(Ablation::NoAudio);
        assert!(silent.clips.iter().all(|clip| clip.count_predicted == silent.clips[0].count_predicted));
    }

    #[test]
    fn the_localiser_says_nothing_about_distance_class_and_room() {
        let folder = tempfile::tempdir().unwrap();
        let set = write_set(folder.path(), 4096, 7);
        let result = evaluate_intensity(&set, &Inputs::plain(5), || ()).unwrap();
        let score = &result.score;
        assert_eq!((score.n, score.sources), (5, 9));
        assert!(score.mean_angular_error_deg.is_some() && score.count_accuracy.is_some());
        assert!(score.distance_error_m.is_none() && score.class_accuracy.is_none());
        assert!(score.log_surface_error.is_none() && score.absorption_error.is_none());
        assert!(result.constant.class_accuracy.is_some());
        let empty = evaluate_intensity(&set, &Inputs::plain(0), || ()).unwrap_err();
        assert_eq!(empty.kind(), Kind::Data);
    }

    #[test]
    fn a_prediction_is_made_of_probabilities_and_unit_vectors() {
        let mut rng = Rng::new(9, "eval clips", 0);
        let audio: Vec<f32> = (0..CHANNELS * 8000).map(|_| rng.normal() as f32).collect();
        let prediction = predict_clip(&encoder(&["a", "b", "c"]), &audio);
        assert!(prediction.is_finite() && prediction.slots.len() == 4);
        for slot in &prediction.slots {
            assert!((slot.direction.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-12);
            assert!((slot.class_probability.iter().sum::<f64>() - 1.0).abs() < 1e-12 && slot.distance_m >= 0.0);
        }
        let broken = Prediction { absorption: f64::NAN, ..prediction };
        assert!(!broken.is_finite());
    }
}
