//! When sounds begin and end: what is clearly so, and what is too close to call. Pauses within a sound belong to it.

use super::super::facts::Facts;
use super::super::verdict::Verdict;
use super::measures::{all, near};

/// So far apart two moments must be to be told apart.
const APART_S: f64 = 0.5;
/// A moment or a duration is right up to so far from the one that is named, which is rounded to half seconds.
const NAMED_S: f64 = 0.3;
/// From here on it is wrong.
const ANOTHER_S: f64 = 0.75;

/// True when `later` comes clearly after `earlier`.
fn follows(earlier_s: f64, later_s: f64) -> Verdict {
    near(earlier_s - later_s, -APART_S, APART_S)
}

/// `a` begins before `b`.
pub(super) fn begins_before(facts: &Facts, a: usize, b: usize) -> Verdict {
    follows(facts.begins_s(a), facts.begins_s(b))
}

/// `a` sounds when `b` begins, and still does afterwards.
pub(super) fn still_heard(facts: &Facts, a: usize, b: usize) -> Verdict {
    let goes_on = follows(facts.begins_s(b), facts.ends_s(a));
    all([begins_before(facts, a, b), goes_on].into_iter())
}

/// `a` has ended when `b` begins.
pub(super) fn ended_before(facts: &Facts, a: usize, b: usize) -> Verdict {
    follows(facts.ends_s(a), facts.begins_s(b))
}

/// How long two sounds are both under way.
pub fn together_s(facts: &Facts, a: usize, b: usize) -> f64 {
    let (from, to) = (facts.begins_s(a).max(facts.begins_s(b)), facts.ends_s(a).min(facts.ends_s(b)));
    (to - from).max(0.0)
}

/// Two sounds are under way together for a time within a range.
pub(super) fn together_within(facts: &Facts, a: usize, b: usize, low_s: f64, high_s: f64) -> Verdict {
    let s = together_s(facts, a, b);
    near((low_s - s).max(s - high_s), 0.0, APART_S)
}

/// A moment or duration is the one that is named.
pub(super) fn about_s(measured_s: f64, s: f64) -> Verdict {
    near((measured_s - s).abs(), NAMED_S, ANOTHER_S)
}
