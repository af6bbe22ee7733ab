//! The claims of the tasks beyond the paper's.

use super::super::facts::{Facts, turn_between_deg};
use super::super::verdict::Verdict;
use super::measures::*;
use super::terms::Sort;
use super::{Claim, times};
use crate::audio::foa::angle_between_deg;
use crate::sources::Domain;

/// Angles are right up to so far from the one that is named, which is rounded to ten degrees.
const NAMED_DEG: f64 = 6.0;
/// From here on an angle between two sounds is wrong.
const ANOTHER_DEG: f64 = 20.0;
/// From here on a difference in elevation is wrong: those of one question are 15 degrees apart.
const ANOTHER_RISE_DEG: f64 = 12.0;
/// A difference in elevation is right up to so far from the one that is named, which is rounded to five degrees.
const NAMED_RISE_DEG: f64 = 3.0;
/// Turns to a side: nearly in line and nearly opposite, left and right mean nothing.
const TURNS_DEG: std::ops::RangeInclusive<f64> = 15.0..=160.0;

impl Claim {
    /// Whether a claim of the tasks beyond the paper's holds.
    pub(super) fn beyond(&self, facts: &Facts) -> Verdict {
        match *self {
            Claim::BeginsBefore { a, b } => times::begins_before(facts, a, b),
            Claim::StillHeard { a, b } => times::still_heard(facts, a, b),
            Claim::EndedBefore { a, b } => times::ended_before(facts, a, b),
            Claim::TogetherFor { a, b, low_s, high_s } => times::together_within(facts, a, b, low_s, high_s),
            Claim::Begins { source, s } => times::about_s(facts.begins_s(source), s),
            Claim::Lasts { source, s } => times::about_s(facts.ends_s(source) - facts.begins_s(source), s),
            Claim::Nearer { a, b } => is_closer(facts, a, b),
            Claim::HigherBy { a, b, deg } => {
                let rise_deg = facts.elevation_deg(a) - facts.elevation_deg(b);
                let by = near((rise_deg.abs() - deg).abs(), NAMED_RISE_DEG, ANOTHER_RISE_DEG);
                all([is_higher(facts, a, b), by].into_iter())
            }
            Claim::AngleBetween { a, b, deg } => {
                near((angle_between_deg(facts.direction(a), facts.direction(b)) - deg).abs(), NAMED_DEG, ANOTHER_DEG)
            }
            Claim::TurnTo { from, to, deg, left } => turn_to(facts, (from, to), deg, left),
            Claim::CountOf { sort, n } => count_of(facts, sort, n),
            _ => unreachable!("the other claims are checked elsewhere"),
        }
    }
}

fn turn_to(facts: &Facts, (from, to): (usize, usize), deg: f64, left: bool) -> Verdict {
    let turn_deg = turn_between_deg(facts.azimuth_deg(to, 0.0), facts.azimuth_deg(from, 0.0));
    if !TURNS_DEG.contains(&turn_deg.abs()) || !facts.has_azimuth(from) || !facts.has_azimuth(to) {
        return Verdict::Unclear;
    }
    let by = near((turn_deg.abs() - deg).abs(), NAMED_DEG, ANOTHER_DEG);
    all([surely((turn_deg > 0.0) == left), by].into_iter())
}

/// What sort a source is of; `None` for a sound that some would call a voice or music, and for one without a name.
pub fn sort_of(facts: &Facts, i: usize) -> Option<Sort> {
    match facts.source(i).domain {
        Domain::Speech => Some(Sort::Voice),
        Domain::Music => Some(Sort::Music),
        Domain::Environment => {
            let sense = &facts.senses[i];
            let is_plain = facts.has_name(i) && !["voice", "music", "crowd"].iter().any(|group| sense.is_in(group));
            is_plain.then_some(Sort::Other)
        }
    }
}

fn count_of(facts: &Facts, sort: Sort, n: usize) -> Verdict {
    let sorts: Option<Vec<Sort>> = (0..facts.count()).map(|i| sort_of(facts, i)).collect();
    sorts.map_or(Verdict::Unclear, |sorts| surely(sorts.iter().filter(|s| **s == sort).count() == n))
}
