//! Counting frame by frame, and the scores that follow from the counts.

use super::files::Events;
use super::rows::Event;
use super::{CLASSES, exact};
use crate::audio::foa::angle_between_deg;
use crate::eval::assignment::assign;

/// A prediction farther from its reference is in the wrong place.
const ANGLE_MAX_DEG: f64 = 20.0;
/// A prediction whose distance is wrong by a larger share of the reference's is in the wrong place.
const RELATIVE_DISTANCE_MAX: f64 = 1.0;
/// Labels are whole degrees: a pair that is 20 degrees apart must not fail by rounding.
const ROUNDING_DEG: f64 = 1e-9;

/// How frames are compared; see [`super::evaluate`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// As the official code counts, with all its peculiarities.
    pub is_exact: bool,
    /// Whether both sides have distances.
    pub with_distance: bool,
}

/// What was counted for a class. Whole numbers but for the three sums.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct ClassSums {
    references: f64,
    /// Pairs in the right place, and in the wrong one.
    hits: f64,
    misplaced: f64,
    /// Predictions and references without a partner.
    false_alarms: f64,
    misses: f64,
    angle_deg: f64,
    distance_m: f64,
    relative_distance: f64,
}

/// What was counted in some files.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sums {
    classes: [ClassSums; CLASSES],
    /// Substitutions, deletions and insertions of all frames together.
    errors: f64,
}

impl Sums {
    /// Counts a file.
    pub fn of(reference: &Events, prediction: &Events, rules: Rules) -> Sums {
        // The official loop runs over range(last labelled frame): that frame and all later ones are not counted.
        let end = if rules.is_exact { u64::from(reference.last_frame().unwrap_or(0)) } else { u64::MAX };
        let mut sums = Sums::default();
        let (mut references, mut predictions) = (reference.by_frame().peekable(), prediction.by_frame().peekable());
        loop {
            let ahead = [references.peek(), predictions.peek()].into_iter().flatten().map(|events| events[0].frame);
            let Some(frame) = ahead.min().filter(|&frame| u64::from(frame) < end) else { return sums };
            let here = |events: &&[Event]| events[0].frame == frame;
            let reference = references.next_if(here).unwrap_or(&[]);
            let prediction = predictions.next_if(here).unwrap_or(&[]);
            sums.add_frame(reference, prediction, rules);
        }
    }

    /// Counts a frame; both lists are ordered by class.
    fn add_frame(&mut self, reference: &[Event], prediction: &[Event], rules: Rules) {
        let (mut missed, mut wrong) = (0.0, 0.0);
        for (class, sums) in self.classes.iter_mut().enumerate() {
            let (reference, prediction) = (of_class(reference, class), of_class(prediction, class));
            if reference.is_empty() && prediction.is_empty() {
                continue;
            }
            let before = *sums;
            sums.add(reference, prediction, rules);
            missed += sums.misses - before.misses;
            wrong += sums.false_alarms - before.false_alarms + sums.misplaced - before.misplaced;
        }
        // min(missed, wrong) substitutions, and the rest of the larger as deletions or insertions.
        self.errors += missed.max(wrong);
    }

    /// The sums of both.
    pub fn plus(&self, other: &Sums) -> Sums {
        let mut sum = self.clone();
        sum.errors += other.errors;
        for (a, b) in sum.classes.iter_mut().zip(&other.classes) {
            a.references += b.references;
            a.hits += b.hits;
            a.misplaced += b.misplaced;
            a.false_alarms += b.false_alarms;
            a.misses += b.misses;
            a.angle_deg += b.angle_deg;
            a.distance_m += b.distance_m;
            a.relative_distance += b.relative_distance;
        }
        sum
    }
}

/// The events of a class in a list that is ordered by class.
fn of_class(events: &[Event], class: usize) -> &[Event] {
    let begin = events.partition_point(|event| event.class < class);
    let end = events.partition_point(|event| event.class <= class);
    &events[begin..end]
}

impl ClassSums {
    /// Counts the events of one class in one frame.
    fn add(&mut self, reference: &[Event], prediction: &[Event], rules: Rules) {
        let angle = |i: usize, j: usize| {
            let (a, b) = (reference[i].direction, prediction[j].direction);
            if rules.is_exact { exact::angle_deg(a, b) } else { angle_between_deg(a, b) }
        };
        let pairs = assign(reference.len(), prediction.len(), angle);
        self.references += reference.len() as f64;
        self.misses += (reference.len() - pairs.len()) as f64;
        self.false_alarms += (prediction.len() - pairs.len()) as f64;
        let (rounding, eps) = if rules.is_exact { (0.0, exact::EPS) } else { (ROUNDING_DEG, 0.0) };
        for (i, j) in pairs {
            let angle_deg = angle(i, j);
            let mut is_misplaced = angle_deg > ANGLE_MAX_DEG + rounding;
            self.angle_deg += angle_deg;
            if let (true, Some(so), Some(said)) =
                (rules.with_distance, reference[i].distance_m, prediction[j].distance_m)
            {
                let error = (so - said).abs();
                let relative = error / (so + eps);
                is_misplaced |= relative > RELATIVE_DISTANCE_MAX;
                self.distance_m += error;
                self.relative_distance += relative;
            }
            *if is_misplaced { &mut self.misplaced } else { &mut self.hits } += 1.0;
        }
    }

    fn pairs(&self) -> f64 {
        self.hits + self.misplaced
    }

    /// The scores of a class, in the order of [`METRICS`]; NaN where there is nothing to say.
    fn scores(&self, er: f64, rules: Rules) -> [f64; METRICS.len()] {
        // The official code adds a tiny number to every divisor, so that a class that never occurs has F20 and recall
        // 0; here it has none.
        let eps = if rules.is_exact { exact::EPS } else { 0.0 };
        let per_pair = |sum: f64| if self.pairs() == 0.0 { f64::NAN } else { sum / (self.pairs() + eps) };
        let f20 = self.hits / (eps + self.hits + self.misplaced + 0.5 * (self.false_alarms + self.misses));
        let angle_deg = per_pair(self.angle_deg);
        let recall = self.pairs() / (eps + self.pairs() + self.misses);
        let has_distance = |value: f64| if rules.with_distance { value } else { f64::NAN };
        let relative = has_distance(per_pair(self.relative_distance));
        let seld = match rules.with_distance {
            true => mean([1.0 - f20, angle_deg / 180.0, relative]),
            false => mean([er, 1.0 - f20, angle_deg / 180.0, 1.0 - recall]),
        };
        let occurs = self.references + self.false_alarms > 0.0 || rules.is_exact;
        [
            er,
            f20,
            angle_deg,
            has_distance(per_pair(self.distance_m)),
            relative,
            recall,
            if occurs { seld } else { f64::NAN },
        ]
    }
}

/// Names of the scores, in order.
pub(super) const METRICS: [&str; 7] =
    ["er", "f20", "doa_error_deg", "distance_error_m", "relative_distance_error", "localization_recall", "seld_score"];

/// Every score, in the order of [`METRICS`]; NaN where there is nothing to say. The error rate is one for all classes.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    /// Mean over classes.
    pub overall: [f64; METRICS.len()],
    /// Per class.
    pub by_class: [[f64; METRICS.len()]; CLASSES],
}

impl Scores {
    pub fn of(sums: &Sums, rules: Rules) -> Scores {
        let references: f64 = sums.classes.iter().map(|class| class.references).sum();
        let er = sums.errors / (references + if rules.is_exact { exact::EPS } else { 0.0 });
        let er = if er.is_finite() { er } else { f64::NAN };
        let by_class = sums.classes.map(|class| class.scores(er, rules));
        let mut overall: [f64; METRICS.len()] = std::array::from_fn(|m| mean(by_class.map(|scores| scores[m])));
        overall[0] = er;
        Scores { overall, by_class }
    }
}

/// Mean of what is a number; NaN when nothing is.
fn mean<const N: usize>(values: [f64; N]) -> f64 {
    let numbers = values.into_iter().filter(|v| !v.is_nan());
    let (sum, n) = numbers.fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
    sum / n
}
