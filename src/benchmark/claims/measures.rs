//! How sure a measure is: each is clearly true, clearly false, or too close to call.

use super::super::facts::{Facts, turn_between_deg};
use super::super::verdict::Verdict;
use super::terms::{Extreme, Region, Side};
use crate::audio::foa::angle_between_deg;
use crate::sim::scripts::{DRY_S, ONE_DIRECTION_DEG, OPPOSITE_DEG, RINGING_S};

/// Factors up to which a reverberation time is right, and from which it is wrong.
pub const FADING_MARGINS: (f64, f64) = (1.05, 1.4);
/// The same for lengths.
pub const LENGTH_MARGINS: (f64, f64) = (1.05, 1.3);

/// Sizes whose floor area is near the next size's are left out.
const SMALL_M2: f64 = 20.0;
const MEDIUM_M2: [f64; 2] = [30.0, 55.0];
const LARGE_M2: f64 = 70.0;

pub(super) fn surely(holds: bool) -> Verdict {
    if holds { Verdict::True } else { Verdict::False }
}

pub(super) fn not(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::True => Verdict::False,
        Verdict::False => Verdict::True,
        Verdict::Unclear => Verdict::Unclear,
    }
}

/// False as soon as one part is clearly false.
pub(super) fn all(parts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut whole = Verdict::True;
    for part in parts {
        match part {
            Verdict::False => return Verdict::False,
            Verdict::Unclear => whole = Verdict::Unclear,
            Verdict::True => {}
        }
    }
    whole
}

/// True up to `inner`, false from `outer`.
pub(super) fn near(distance: f64, inner: f64, outer: f64) -> Verdict {
    match distance {
        d if d <= inner => Verdict::True,
        d if d >= outer => Verdict::False,
        _ => Verdict::Unclear,
    }
}

/// True within the first factor, false beyond the second.
pub fn about(a: f64, b: f64, (inner, outer): (f64, f64)) -> Verdict {
    near((a / b).ln().abs(), inner.ln(), outer.ln())
}

pub(super) fn count(facts: &Facts, region: Region, n: usize, without: Option<usize>) -> Verdict {
    let mut inside = 0;
    for i in (0..facts.count()).filter(|&i| Some(i) != without) {
        // Positive inside; how far from the border, and how far it must be.
        let from = |centre_deg: f64| 90.0 - turn_between_deg(facts.azimuth_deg(i, 0.0), centre_deg).abs();
        let (depth, margin) = match region {
            Region::Anywhere => (1.0, 0.0),
            Region::Left => (from(90.0), 10.0),
            Region::Right => (from(270.0), 10.0),
            Region::Front => (from(0.0), 10.0),
            Region::Behind => (from(180.0), 10.0),
            Region::Above => (facts.elevation_deg(i), 5.0),
            Region::Below => (-facts.elevation_deg(i), 5.0),
            Region::Near => (2.0 - facts.distance_m(i), 0.3),
        };
        let by_azimuth = matches!(region, Region::Left | Region::Right | Region::Front | Region::Behind);
        if depth.abs() < margin || by_azimuth && !facts.has_azimuth(i) {
            return Verdict::Unclear;
        }
        inside += usize::from(depth > 0.0);
    }
    surely(inside == n)
}

pub(super) fn room_size(facts: &Facts, size: &str) -> Verdict {
    let [length, width, _] = facts.room().dimensions_m;
    let area = length * width;
    let clear = match facts.room().size.as_str() {
        "small" => area <= SMALL_M2,
        "medium" => (MEDIUM_M2[0]..=MEDIUM_M2[1]).contains(&area),
        _ => area >= LARGE_M2,
    };
    if clear { surely(facts.room().size == size) } else { Verdict::Unclear }
}

/// Finishes whose absorption is near the next one's are left out.
const REFLECTIVE_UP_TO: f64 = 0.17;
const MODERATE: [f64; 2] = [0.24, 0.34];
const ABSORPTIVE_FROM: f64 = 0.47;

pub(super) fn room_finish(facts: &Facts, finish: &str) -> Verdict {
    let room = facts.room();
    let clear = match room.finish.as_str() {
        "reflective" => room.absorption <= REFLECTIVE_UP_TO,
        "moderate" => (MODERATE[0]..=MODERATE[1]).contains(&room.absorption),
        _ => room.absorption >= ABSORPTIVE_FROM,
    };
    if clear { surely(room.finish == finish) } else { Verdict::Unclear }
}

/// Higher both as an angle and in metres: a far source slightly above the ears may hang higher than a near one that is
/// steeply above them.
pub(super) fn is_higher(facts: &Facts, a: usize, b: usize) -> Verdict {
    let (rise_deg, rise_m) = (facts.elevation_deg(a) - facts.elevation_deg(b), facts.height_m(a) - facts.height_m(b));
    let clear = rise_deg.abs() >= 8.0 && rise_m.abs() >= 0.1 && (rise_deg > 0.0) == (rise_m > 0.0);
    if clear { surely(rise_deg > 0.0) } else { Verdict::Unclear }
}

/// Closer by a clear difference.
pub(super) fn is_closer(facts: &Facts, a: usize, b: usize) -> Verdict {
    let (a, b) = (facts.distance_m(a), facts.distance_m(b));
    if (a - b).abs() < (0.2 * a.max(b)).max(0.4) { Verdict::Unclear } else { surely(a < b) }
}

/// Closer by a difference within a range.
pub(super) fn closer_within(facts: &Facts, (a, b): (usize, usize), low_m: f64, high_m: f64) -> Verdict {
    let gap_m = facts.distance_m(b) - facts.distance_m(a);
    match is_closer(facts, a, b) {
        Verdict::True => near((low_m - gap_m).max(gap_m - high_m), 0.0, 0.5),
        other => other,
    }
}

/// How far one source must be farther to a side than another, as the sideward part of unit vectors.
const SIDEWARD: f64 = 0.2;

/// Left or right of another source. Nearly in line or nearly opposite, left and right mean nothing.
pub(super) fn beside(facts: &Facts, (a, b): (usize, usize), left: bool, facing: bool) -> Verdict {
    let turn = turn_between_deg(facts.azimuth_deg(a, 0.0), facts.azimuth_deg(b, 0.0));
    let sideward = facts.direction(a)[1] - facts.direction(b)[1];
    let agrees = facing || sideward.abs() >= SIDEWARD && (sideward > 0.0) == (turn > 0.0);
    let clear = (15.0..=150.0).contains(&turn.abs()) && facts.has_azimuth(a) && facts.has_azimuth(b) && agrees;
    if clear { surely((turn > 0.0) == left) } else { Verdict::Unclear }
}

pub(super) fn stands_out(facts: &Facts, source: usize, what: Extreme, without: Option<usize>) -> Verdict {
    if without == Some(source) {
        return Verdict::False;
    }
    let others = (0..facts.count()).filter(|&i| i != source && Some(i) != without);
    all(others.map(|i| match what {
        Extreme::Nearest => is_closer(facts, source, i),
        Extreme::Farthest => is_closer(facts, i, source),
        Extreme::Highest => is_higher(facts, source, i),
        Extreme::Lowest => is_higher(facts, i, source),
    }))
}

/// From here on a source is not near, up to here not far.
pub(super) const BETWEEN_M: f64 = 2.0;
/// From here on two sources are not in one direction, up to here not opposite.
const BETWEEN_DEG: f64 = 75.0;
/// From here on a room does not let sounds die away at once, up to here none rings on.
const BETWEEN_S: f64 = 0.55;
/// So much later a sound must begin to be the later one.
const LATER_S: f64 = 0.3;

pub(super) fn lie_together(facts: &Facts, a: usize, b: usize, together: bool) -> Verdict {
    let apart_deg = angle_between_deg(facts.direction(a), facts.direction(b));
    match together {
        true => near(apart_deg, ONE_DIRECTION_DEG, BETWEEN_DEG),
        false => near(-apart_deg, -OPPOSITE_DEG, -BETWEEN_DEG),
    }
}

/// Whether a source is clearly closer to another one than to the listener, or clearly farther.
pub(super) fn reaching(facts: &Facts, goal: usize, other: usize, closer: bool) -> Verdict {
    let (now_m, there_m) = (facts.distance_m(other), facts.apart_m(goal, other));
    let clear = (now_m - there_m).abs() >= (0.2 * now_m.max(there_m)).max(0.5);
    if clear { surely((there_m < now_m) == closer) } else { Verdict::Unclear }
}

pub(super) fn rings_on(facts: &Facts, rings: bool) -> Verdict {
    match (facts.reverberation_s(), rings) {
        (None, _) => Verdict::Unclear,
        (Some(s), true) => near(-s, -RINGING_S, -BETWEEN_S),
        (Some(s), false) => near(s, DRY_S, BETWEEN_S),
    }
}

pub(super) fn begins_last(facts: &Facts, source: usize) -> Verdict {
    let lead_s = |i: usize| facts.begins_s(source) - facts.begins_s(i);
    let others = (0..facts.count()).filter(|&i| i != source);
    all(others.map(|i| near(-lead_s(i), -LATER_S, LATER_S)))
}

/// The side of a room where it is; impossible where a source is heard from clearly beyond.
pub(super) fn wall(facts: &Facts, side: Side, m: f64) -> Verdict {
    if !facts.faces_a_wall() {
        return Verdict::Unclear;
    }
    let beyond_m = facts.extent_m(side) - m;
    match about(facts.wall_m(side), m, LENGTH_MARGINS) {
        Verdict::True => Verdict::True,
        _ if beyond_m >= (0.3 * facts.extent_m(side)).max(0.6) => Verdict::False,
        _ => Verdict::Unclear,
    }
}

/// Inside the room, or clearly beyond its wall.
pub(super) fn reach(facts: &Facts, side: Side, m: f64) -> Verdict {
    if !facts.faces_a_wall() {
        return Verdict::Unclear;
    }
    let wall_m = facts.wall_m(side);
    near(m - wall_m, -(0.1 * wall_m).max(0.2), (0.35 * wall_m).max(0.7))
}
