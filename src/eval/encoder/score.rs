//! Metrics of one clip and of a set.
//!
//! With S true and P predicted sources (design, "Scores"):
//! * headline: the first S slots against the S sources in the assignment with the smallest sum of angles; every pair
//!   is one angular error, one distance error and, where the class is known, one class decision;
//! * full: the first P slots; min(P, S) pairs in the assignment with the smallest sum of angles, and 180 degrees for
//!   each of the |P - S| misses or false alarms;
//! * means and medians run over sources, not clips.

use super::{ClipTruth, Prediction};
use crate::audio::foa::angle_between_deg;
use crate::eval::assignment::assign;
use crate::eval::statistics::{Z95, wilson};
use crate::scene::SOURCES_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a miss or a false alarm counts in the full angular error, in degrees.
pub(super) const MISS_DEG: f64 = 180.0;

/// The metrics of one clip, before they are summed up.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipScore {
    /// True number of sources.
    pub count: usize,
    /// Predicted number of sources.
    pub count_predicted: usize,
    /// Headline angular error of each source in degrees, in the order of the truth.
    pub angles_deg: Vec<f64>,
    /// Full angular errors in degrees: pairs, then misses or false alarms.
    pub full_deg: Vec<f64>,
    /// Absolute distance error of each source in metres.
    pub distance_errors_m: Vec<f64>,
    /// Whether the class of each source was right, left out where it is not known.
    pub class_right: Vec<bool>,
    /// Absolute error of ln(surface), where the room is known.
    pub log_surface_error: Option<f64>,
    /// Absolute error of the mean absorption, where the room is known.
    pub absorption_error: Option<f64>,
}

impl ClipScore {
    /// Compares a prediction with the truth. Panics when there are fewer slots than sources.
    #[track_caller]
    pub fn of(prediction: &Prediction, truth: &ClipTruth) -> ClipScore {
        let directions: Vec<[f64; 3]> = prediction.slots.iter().map(|slot| slot.direction).collect();
        let mut clip = ClipScore::of_directions(&directions, prediction.count(), truth);
        (clip.log_surface_error, clip.absorption_error) = ClipScore::room(prediction, truth);
        for (source, slot) in pairs(&directions[..truth.sources.len()], truth) {
            let (said, so) = (&prediction.slots[slot], &truth.sources[source]);
            clip.distance_errors_m.push((said.distance_m - so.distance_m).abs());
            if let Some(class) = so.class {
                clip.class_right.push(said.class().is_some_and(|(c, _)| c == class));
            }
        }
        clip
    }

    /// Compares unit vectors, the most certain first, of which `count` are said to be sources, with the truth; nothing
    /// is said about distances, classes and the room. Panics when there are fewer of them than sources.
    #[track_caller]
    pub fn of_directions(directions: &[[f64; 3]], count: usize, truth: &ClipTruth) -> ClipScore {
        let s = truth.sources.len();
        let angles = |said: &[[f64; 3]]| -> Vec<f64> {
            let angle = |(source, slot): (usize, usize)| angle_between_deg(said[slot], truth.sources[source].direction);
            pairs(said, truth).into_iter().map(angle).collect()
        };
        let mut full_deg = angles(&directions[..count]);
        full_deg.resize(count.max(s), MISS_DEG);
        ClipScore {
            count: s,
            count_predicted: count,
            angles_deg: angles(&directions[..s]),
            full_deg,
            distance_errors_m: Vec::new(),
            class_right: Vec::new(),
            log_surface_error: None,
            absorption_error: None,
        }
    }

    /// The errors of ln(surface) and absorption.
    fn room(prediction: &Prediction, truth: &ClipTruth) -> (Option<f64>, Option<f64>) {
        let Some(room) = &truth.room else { return (None, None) };
        let surface = (prediction.surface_m2.ln() - room.log_surface).abs();
        (Some(surface), Some((prediction.absorption - room.absorption).abs()))
    }
}

/// The assignment of directions to the sources with the smallest sum of angles: pairs (source, direction).
fn pairs(directions: &[[f64; 3]], truth: &ClipTruth) -> Vec<(usize, usize)> {
    let angle = |source: usize, slot: usize| angle_between_deg(directions[slot], truth.sources[source].direction);
    assign(truth.sources.len(), directions.len(), angle)
}

/// The metrics of a set of clips; also the JSON of `twnm-eval encoder`. A metric that no clip has anything to say
/// about (the class where none is known) is `None`, in JSON null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Number of clips.
    pub n: usize,
    /// Number of sources in them.
    pub sources: usize,
    /// Share of clips whose number of sources was right.
    pub count_accuracy: Option<f64>,
    /// 95 % interval of it (Wilson).
    pub count_accuracy_interval: Option<[f64; 2]>,
    /// Mean angular error in degrees with the oracle count.
    pub mean_angular_error_deg: Option<f64>,
    /// 95 % interval of it (ratio estimate, clips as clusters).
    pub mean_angular_error_interval_deg: Option<[f64; 2]>,
    /// Median angular error in degrees with the oracle count.
    pub median_angular_error_deg: Option<f64>,
    /// Mean angular error in degrees with the predicted count; a miss or a false alarm counts 180.
    pub mean_angular_error_full_deg: Option<f64>,
    /// Mean absolute distance error in metres, over the pairs of the headline.
    pub distance_error_m: Option<f64>,
    /// Share of known classes that were right, over the pairs of the headline.
    pub class_accuracy: Option<f64>,
    /// Mean absolute error of ln(surface in square metres).
    pub log_surface_error: Option<f64>,
    /// Mean absolute error of the mean absorption.
    pub absorption_error: Option<f64>,
    /// Clips by true count (row, 0 to 3) and predicted count (column); empty within `by_count`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub count_confusion: Vec<Vec<usize>>,
    /// The same metrics over the clips with 0, 1, 2, 3 sources (those that occur); empty within itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_count: BTreeMap<String, Score>,
}

impl Score {
    /// Sums clips up; their order does not matter but for rounding.
    pub fn of(clips: &[ClipScore]) -> Score {
        let all: Vec<&ClipScore> = clips.iter().collect();
        let mut score = Score::flat(&all);
        score.count_confusion = vec![vec![0; SOURCES_MAX + 1]; SOURCES_MAX + 1];
        for clip in clips {
            score.count_confusion[clip.count][clip.count_predicted] += 1;
        }
        for count in 0..=SOURCES_MAX {
            let those: Vec<&ClipScore> = clips.iter().filter(|clip| clip.count == count).collect();
            if !those.is_empty() {
                score.by_count.insert(count.to_string(), Score::flat(&those));
            }
        }
        score
    }

    /// The metrics without the division by count.
    fn flat(clips: &[&ClipScore]) -> Score {
        let right = clips.iter().filter(|clip| clip.count == clip.count_predicted).count();
        let angles: Vec<f64> = clips.iter().flat_map(|clip| clip.angles_deg.iter().copied()).collect();
        Score {
            n: clips.len(),
            sources: angles.len(),
            count_accuracy: ratio(right as f64, clips.len()),
            count_accuracy_interval: wilson(right as f64, clips.len() as f64, 1.0),
            mean_angular_error_deg: mean(angles.iter().copied()),
            mean_angular_error_interval_deg: clustered_interval(clips.iter().map(|clip| &clip.angles_deg[..])),
            median_angular_error_deg: median(angles),
            mean_angular_error_full_deg: mean(clips.iter().flat_map(|clip| clip.full_deg.iter().copied())),
            distance_error_m: mean(clips.iter().flat_map(|clip| clip.distance_errors_m.iter().copied())),
            class_accuracy: mean(
                clips.iter().flat_map(|clip| clip.class_right.iter().map(|&r| f64::from(u8::from(r)))),
            ),
            log_surface_error: mean(clips.iter().filter_map(|clip| clip.log_surface_error)),
            absorption_error: mean(clips.iter().filter_map(|clip| clip.absorption_error)),
            ..Score::default()
        }
    }
}

fn ratio(sum: f64, n: usize) -> Option<f64> {
    (n > 0).then(|| sum / n as f64)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    ratio(sum, n)
}

/// The middle value, or the mean of the two middle ones.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| (values[(n - 1) / 2] + values[n / 2]) / 2.0)
}

/// 95 % interval of a mean over values that come in clusters (the sources of a clip are not independent): the ratio
/// estimator's linearised variance. `None` below two clusters with values.
fn clustered_interval<'a>(clusters: impl Iterator<Item = &'a [f64]>) -> Option<[f64; 2]> {
    let sums: Vec<(f64, f64)> =
        clusters.filter(|c| !c.is_empty()).map(|c| (c.iter().sum::<f64>(), c.len() as f64)).collect();
    let (total, weight) = sums.iter().fold((0.0, 0.0), |(t, w), (sum, n)| (t + sum, w + n));
    if sums.len() < 2 {
        return None;
    }
    let (centre, n) = (total / weight, sums.len() as f64);
    let squares: f64 = sums.iter().map(|(sum, size)| (sum - centre * size).powi(2)).sum();
    let half = Z95 * (n / (n - 1.0) * squares).sqrt() / weight;
    Some([centre - half, centre + half])
}
