//! The best predictor that never listens: what every score is shown beside.
//!
//! For each metric the constant that is best on the very set it is scored on, so that no one can say the baseline
//! is weak: the most frequent count and class, the median distance, and the fixed directions with the smallest mean
//! error, found by a deterministic search from many starts. It is told the true count where the headline is (S
//! directions for S sources, a set of its own for each S) and has one set for the full error, where it is not.

use super::score::{ClipScore, MISS_DEG, Score, median};
use super::{ClipTruth, unit};
use crate::audio::foa::{angle_between_deg, unit_vector};
use crate::eval::assignment::assign;
use crate::rng::Rng;
use crate::scene::SOURCES_MAX;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Random starts of the search for each number of directions.
const STARTS: u64 = 40;
/// Starts that are followed on the whole set.
const FINALISTS: usize = 6;
/// Clips on which the starts are compared.
const SAMPLE: usize = 256;
/// Steps of the search in degrees: coarse for the starts, then fine.
const COARSE_DEG: [f64; 4] = [40.0, 20.0, 10.0, 5.0];
const FINE_DEG: [f64; 6] = [10.0, 5.0, 2.0, 1.0, 0.5, 0.25];

/// Constants, each the best on a set for its metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// The most frequent number of sources.
    pub count: usize,
    /// For clips with one, two and three sources: that many unit vectors.
    pub directions: Vec<Vec<[f64; 3]>>,
    /// The unit vectors, as many as pay, that have the smallest full error.
    pub directions_full: Vec<[f64; 3]>,
    /// The median distance in metres.
    pub distance_m: f64,
    /// The most frequent class; `None` when none is known.
    pub class: Option<usize>,
    /// The median of ln(surface in square metres).
    pub log_surface: f64,
    /// The median absorption.
    pub absorption: f64,
}

impl Constant {
    /// Fits the constants to the truth of a set. The same truth gives the same constants.
    pub fn best(truths: &[ClipTruth]) -> Constant {
        let targets: Vec<Vec<[f64; 3]>> =
            truths.iter().map(|t| t.sources.iter().map(|s| s.direction).collect()).collect();
        let directions = (1..=SOURCES_MAX).map(|s| {
            let those: Vec<&[[f64; 3]]> = targets.iter().filter(|t| t.len() == s).map(Vec::as_slice).collect();
            search(s, &those)
        });
        let all: Vec<&[[f64; 3]]> = targets.iter().map(Vec::as_slice).collect();
        let full = (0..=SOURCES_MAX).map(|p| {
            let set = search(p, &all);
            (mean_full(&set, &all), set)
        });
        let full = full.reduce(|best, next| if next.0 < best.0 { next } else { best });
        let sources = || truths.iter().flat_map(|t| &t.sources);
        let rooms = || truths.iter().filter_map(|t| t.room.as_ref());
        Constant {
            count: most_frequent(truths.iter().map(|t| t.sources.len())).unwrap_or(0),
            directions: directions.collect(),
            directions_full: full.expect("there are several numbers of directions").1,
            distance_m: median(sources().map(|s| s.distance_m).collect()).unwrap_or(0.0),
            class: most_frequent(sources().filter_map(|s| s.class)),
            log_surface: median(rooms().map(|room| room.log_surface).collect()).unwrap_or(0.0),
            absorption: median(rooms().map(|room| room.absorption).collect()).unwrap_or(0.0),
        }
    }

    /// What the constants score against one clip.
    pub fn clip(&self, truth: &ClipTruth) -> ClipScore {
        let s = truth.sources.len();
        let targets: Vec<[f64; 3]> = truth.sources.iter().map(|t| t.direction).collect();
        let errors = |set: &[[f64; 3]]| -> Vec<f64> {
            let angle = |target: usize, at: usize| angle_between_deg(set[at], targets[target]);
            assign(s, set.len(), angle).into_iter().map(|(target, at)| angle(target, at)).collect()
        };
        let mut full_deg = errors(&self.directions_full);
        full_deg.resize(self.directions_full.len().max(s), MISS_DEG);
        ClipScore {
            count: s,
            count_predicted: self.count,
            angles_deg: if s == 0 { Vec::new() } else { errors(&self.directions[s - 1]) },
            full_deg,
            distance_errors_m: truth.sources.iter().map(|t| (t.distance_m - self.distance_m).abs()).collect(),
            class_right: truth.sources.iter().filter(|t| t.class.is_some()).map(|t| t.class == self.class).collect(),
            log_surface_error: truth.room.as_ref().map(|room| (room.log_surface - self.log_surface).abs()),
            absorption_error: truth.room.as_ref().map(|room| (room.absorption - self.absorption).abs()),
        }
    }

    /// What the constants score on a set.
    pub fn score(&self, truths: &[ClipTruth]) -> Score {
        Score::of(&truths.iter().map(|truth| self.clip(truth)).collect::<Vec<_>>())
    }
}

/// The value that occurs most often, the smallest of equals.
fn most_frequent(values: impl Iterator<Item = usize>) -> Option<usize> {
    let mut occurrences = std::collections::BTreeMap::new();
    for value in values {
        *occurrences.entry(value).or_insert(0usize) += 1;
    }
    occurrences.into_iter().rev().max_by_key(|&(_, n)| n).map(|(value, _)| value)
}

/// Mean error in degrees of a fixed set of directions over clips, misses and false alarms as 180 degrees.
fn mean_full(set: &[[f64; 3]], clips: &[&[[f64; 3]]]) -> f64 {
    let entries: usize = clips.iter().map(|clip| clip.len().max(set.len())).sum();
    total(set, clips) / entries.max(1) as f64
}

/// Sum of the errors of [`mean_full`], clip by clip, in order.
fn total(set: &[[f64; 3]], clips: &[&[[f64; 3]]]) -> f64 {
    clips.iter().map(|clip| clip_error(set, clip)).sum()
}

/// The cheapest assignment's sum of angles plus 180 degrees for each surplus on either side.
fn clip_error(set: &[[f64; 3]], clip: &[[f64; 3]]) -> f64 {
    let mut angle = [[0.0; SOURCES_MAX]; SOURCES_MAX];
    for (row, a) in angle.iter_mut().zip(set) {
        for (cell, b) in row.iter_mut().zip(clip) {
            let cosine: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
            // The arc cosine is precise enough to search with; scores are taken with `angle_between_deg`.
            *cell = cosine.clamp(-1.0, 1.0).acos().to_degrees();
        }
    }
    // Padding cells cost nothing, so the permutations of the larger side cover every choice of pairs.
    let order = |r: [usize; SOURCES_MAX]| angle[r[0]][0] + angle[r[1]][1] + angle[r[2]][2];
    let n = set.len().max(clip.len());
    let best = match n {
        0 | 1 => order([0, 1, 2]),
        2 => order([0, 1, 2]).min(order([1, 0, 2])),
        _ => [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
            .map(order)
            .into_iter()
            .fold(f64::MAX, f64::min),
    };
    best + MISS_DEG * set.len().abs_diff(clip.len()) as f64
}

/// The `k` directions with the smallest total error on `clips`.
fn search(k: usize, clips: &[&[[f64; 3]]]) -> Vec<[f64; 3]> {
    if k == 0 || clips.is_empty() {
        return vec![[1.0, 0.0, 0.0]; k];
    }
    let stride = clips.len().div_ceil(SAMPLE);
    let sample: Vec<&[[f64; 3]]> = clips.iter().copied().step_by(stride).collect();
    let follow = |start: Vec<[f64; 3]>| {
        let set = descend(start, &sample, &COARSE_DEG);
        (total(&set, &sample), set)
    };
    let mut found: Vec<(f64, Vec<[f64; 3]>)> = starts(k).into_par_iter().map(follow).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(FINALISTS);
    let finish = |(_, set): (f64, Vec<[f64; 3]>)| {
        let set = descend(set, clips, &FINE_DEG);
        (total(&set, clips), set)
    };
    let finished: Vec<(f64, Vec<[f64; 3]>)> = found.into_par_iter().map(finish).collect();
    finished.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are starts").1
}

/// Even rings at three heights, turned, and random sets.
fn starts(k: usize) -> Vec<Vec<[f64; 3]>> {
    let mut starts = Vec::new();
    for elevation in [-30.0, 0.0, 30.0] {
        for turn in 0..6 {
            let first = turn as f64 * 60.0 / k as f64;
            starts.push((0..k).map(|i| unit_vector(first + 360.0 * i as f64 / k as f64, elevation)).collect());
        }
    }
    for start in 0..STARTS {
        let mut rng = Rng::new(0, "constant directions", start);
        starts.push((0..k).map(|_| unit(std::array::from_fn(|_| rng.normal()))).collect());
    }
    starts
}

/// Pattern search: every direction in turn is tilted towards eight sides, whatever lowers the error is kept, and
/// the step shrinks when nothing does.
fn descend(mut set: Vec<[f64; 3]>, clips: &[&[[f64; 3]]], steps_deg: &[f64]) -> Vec<[f64; 3]> {
    let mut best = total(&set, clips);
    for &step_deg in steps_deg {
        for _ in 0..12 {
            let before = best;
            for slot in 0..set.len() {
                for side in 0..8 {
                    let kept = set[slot];
                    set[slot] = tilted(kept, step_deg, 45.0 * side as f64);
                    let candidate = total(&set, clips);
                    if candidate < best {
                        best = candidate;
                    } else {
                        set[slot] = kept;
                    }
                }
            }
            if best >= before {
                break;
            }
        }
    }
    set
}

/// The unit vector `deg` degrees away from the unit vector `v` towards `side_deg` in its tangent plane.
fn tilted(v: [f64; 3], deg: f64, side_deg: f64) -> [f64; 3] {
    let pole = if v[2].abs() < 0.9 { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] };
    let cross =
        |a: [f64; 3], b: [f64; 3]| [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let east = unit(cross(pole, v));
    let north = cross(v, east);
    let ((sin, cos), (up, along)) = (deg.to_radians().sin_cos(), side_deg.to_radians().sin_cos());
    unit(std::array::from_fn(|i| cos * v[i] + sin * (along * east[i] + up * north[i])))
}
