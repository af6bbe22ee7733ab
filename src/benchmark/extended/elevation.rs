//! Which of two sounds is higher up, and by how much or at which distance.

use super::super::chain::{Aspects, chain};
use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, grid};
use super::super::facts::Facts;
use super::super::phrases::ask;
use super::super::verdict::Verdict::{True, Unclear};
use super::parts::names;
use crate::rng::Rng;

const BY: [&str; 10] = [
    "Which is higher up, the {x} or the {y}, and by how many degrees of elevation?",
    "Compare the elevations of the {x} and the {y}. Which statement is right?",
    "Which has the larger elevation (up is positive), the {x} or the {y}, and by how much?",
    "How do the {x} and the {y} differ in elevation, as angles at the listener?",
    "Between the {x} and the {y}, which one is higher for the listener, and by what angle?",
    "The {x} and the {y}: which comparison of their elevations is correct?",
    "Going from the lower to the higher one of the {x} and the {y}, how far does one look up, and which one is higher?",
    "Which of the two has the higher elevation, the {x} or the {y}, and how large is the difference in degrees?",
    "Judge the vertical angles of the {x} and of the {y} against each other.",
    "By how many degrees of elevation do the {x} and the {y} differ, and which one is above the other?",
];
const BY_STEPS: [&str; 8] = [
    "From {low}° to {high}° there are about {deg}°, so the {x} {is} higher.",
    "{high}° is more than {low}°: the {x} {is} higher, by about {deg}°.",
    "The difference of {high}° and {low}° is about {deg}°, in favour of the {x}.",
    "Higher up {is} the {x}; between {low}° and {high}° lie about {deg}°.",
    "The {x} {is} at {high}°, the {y} at {low}°, which makes about {deg}°.",
    "Elevation {high}° against {low}°: the {x} {is} the higher one by some {deg}°.",
    "Going up from {low}° to {high}° takes about {deg}°, and the {x} {is} above.",
    "So the {x} {is} higher than the {y}, {high}° to {low}°, about {deg}°.",
];
const CLOSER: [&str; 10] = [
    "Which is higher up, the {x} or the {y}, and is that one closer or farther away than the other?",
    "Compare the {x} and the {y}: which one is higher, and how does its distance compare?",
    "Of the {x} and the {y}, which lies higher for the listener, and is it the nearer or the farther one?",
    "Name the higher one of the {x} and the {y}, and tell whether it is closer than the other.",
    "Between the {x} and the {y}, which one must one look up to, and is that one closer or farther away?",
    "Take the higher one of the {x} and the {y}. Is it closer to the listener than the lower one, or farther?",
    "Height first, then distance: which one is higher, the {x} or the {y}, and is it closer or farther?",
    "Which one has the larger elevation, the {x} or the {y}, and which of the two distances belongs to it?",
    "How do the {x} and the {y} compare in height and in distance?",
    "The {x} and the {y}: find the one that is higher up, and say if it is the closer one.",
];
const CLOSER_STEPS: [&str; 8] = [
    "{high}° is above {low}° and {own} m {than} {other} m: {answer}.",
    "By elevation the {x} {is} above ({high}° to {low}°); {own} m {than} {other} m. So {answer}.",
    "Elevations {high}° and {low}°, distances {own} m and {other} m: {answer}.",
    "Higher up {is} the {x}. Its {own} m {than} the {other} m of the {y}: {answer}.",
    "The {x} {is} at {high}°, the {y} at {low}°. As {own} m {than} {other} m, {answer}.",
    "First height, {high}° over {low}°; then distance, {own} m beside {other} m: {answer}.",
    "So of the two it holds that {answer}.",
    "Looking up goes to the {x}, whose {own} m {than} {other} m; that is, {answer}.",
];

/// Least difference that is asked about.
const RISE_MIN_DEG: f64 = 15.0;
/// Differences in one question are so far apart.
const RISES_APART_DEG: f64 = 15.0;

/// How much two sources differ in elevation, rounded to five degrees, when it is clear which one is higher.
fn rise_deg(facts: &Facts, a: usize, b: usize) -> Option<f64> {
    let rise = (facts.elevation_deg(a) - facts.elevation_deg(b)).abs();
    let clear = a != b && Claim::Above { a, b, higher: true }.verdict(facts) != Unclear && rise >= RISE_MIN_DEG;
    clear.then_some(5.0 * (rise / 5.0).round())
}

/// Whether a scene has two named sounds one of which is clearly higher.
pub(super) fn can_compare(facts: &Facts) -> bool {
    facts.named.iter().any(|&a| facts.named.iter().any(|&b| rise_deg(facts, a, b).is_some()))
}

/// The higher one of two, and the other.
fn by_height(c: &Context, (x, y): (usize, usize)) -> (usize, usize) {
    if c.facts.elevation_deg(x) > c.facts.elevation_deg(y) { (x, y) } else { (y, x) }
}

fn degrees(deg: f64) -> String {
    format!("{deg:.0}").replace("-0", "0")
}

/// Which of two is higher, and by how many degrees; the wrong difference is another pair's, by the same rules.
pub(in super::super) fn higher_by(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = c.named_pair(rng)?;
    let (other, i) = c.pool.any(rng);
    let j = (i + 1 + rng.below(other.count().max(2) - 1)) % other.count();
    let (deg, wrong_deg) = (rise_deg(c.facts, x, y)?, rise_deg(other, i, j)?);
    if (deg - wrong_deg).abs() < RISES_APART_DEG {
        return None;
    }
    let (high, low) = by_height(c, (x, y));
    let choices = grid(|is_higher, is_so| {
        let (a, b) = if is_higher { (high, low) } else { (low, high) };
        let deg = if is_so { deg } else { wrong_deg };
        let is = names(c, a, b)[2].1;
        Choice::new(format!("the {} {is} higher, by about {deg:.0}°", c.label(a)), Claim::HigherBy { a, b, deg })
    });
    let question = ask(rng, &BY, &names(c, x, y));
    let texts = [deg, c.facts.elevation_deg(high).round(), c.facts.elevation_deg(low).round()].map(degrees);
    let mut gaps: Vec<(&str, &str)> = names(c, high, low).to_vec();
    gaps.extend([("deg", texts[0].as_str()), ("high", &texts[1]), ("low", &texts[2])]);
    Some(Draft {
        kind: "higher by",
        context: String::new(),
        reasoning: chain(c, rng, (&[x, y], Aspects::HEIGHT), &BY_STEPS, &gaps),
        open: Some([question.clone(), format!("It is so that {}.", choices[0].text)]),
        choices,
        question,
    })
}

/// Which of two is higher, and whether that one is closer.
pub(in super::super) fn higher_and_closer(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = c.named_pair(rng)?;
    let (high, low) = by_height(c, (x, y));
    let is_closer = Claim::Nearer { a: high, b: low }.verdict(c.facts) == True;
    rise_deg(c.facts, x, y)?;
    let choices = grid(|is_higher, is_so| {
        let (a, b) = if is_higher { (high, low) } else { (low, high) };
        let closer = is_closer == is_so;
        let (near, far) = if closer { (a, b) } else { (b, a) };
        let words = if closer { "closer" } else { "farther away" };
        let is = names(c, a, b)[2].1;
        let claim = Claim::both(Claim::Above { a, b, higher: true }, Claim::Nearer { a: near, b: far });
        Choice::new(format!("the {} {is} higher up and {words}", c.label(a)), claim)
    });
    let question = ask(rng, &CLOSER, &names(c, x, y));
    let [up, down] = [high, low].map(|i| degrees(c.facts.elevation_deg(i).round()));
    let [own, other] = [high, low].map(|i| format!("{:.1}", c.facts.distance_m(i)));
    let mut gaps: Vec<(&str, &str)> = names(c, high, low).to_vec();
    gaps.extend([("high", up.as_str()), ("low", &down), ("own", &own), ("other", &other)]);
    gaps.extend([("than", if is_closer { "is less than" } else { "is more than" }), ("answer", &choices[0].text)]);
    Some(Draft {
        kind: "higher and closer",
        context: String::new(),
        reasoning: chain(c, rng, (&[x, y], Aspects::HEIGHT_AND_DISTANCE), &CLOSER_STEPS, &gaps),
        open: Some([question.clone(), format!("It is so that {}.", choices[0].text)]),
        choices,
        question,
    })
}
