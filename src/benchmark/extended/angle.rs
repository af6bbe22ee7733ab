//! The angle between two sounds, and the turn from one to the other.

use super::super::chain::{Aspects, chain};
use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, all_apart, grid};
use super::super::facts::{Facts, turn_between_deg};
use super::super::phrases::ask;
use super::parts::names;
use crate::audio::foa::angle_between_deg;
use crate::rng::Rng;

/// What the angle is.
const ARC: &str =
    "between the two lines of sight, heights included, from 0° for one direction to 180° for opposite ones";
const ANGLE: [&str; 10] = [
    "What is the angle between the {x} and the {y} for the listener ({arc})?",
    "How far apart in direction are the {x} and the {y} ({arc})?",
    "Which angle lies at the listener's ears between the {x} and the {y} ({arc})?",
    "Point one arm at the {x} and one at the {y}. What angle is that ({arc})?",
    "Estimate the angle that separates the {x} from the {y} ({arc}).",
    "By what angle do the directions of the {x} and the {y} differ ({arc})?",
    "The {x} and the {y} are heard from two directions. How large is the angle ({arc})?",
    "Seen from the listener, which angle do the {x} and the {y} enclose ({arc})?",
    "How wide is the angle from the {x} to the {y} ({arc})?",
    "Give the angle at the listener between the directions of the {x} and the {y} ({arc}).",
];
const ANGLE_STEPS: [&str; 8] = [
    "Between these directions lies an angle of about {deg}°.",
    "So they are about {deg}° apart.",
    "From the {x} to the {y} it is an arc of about {deg}°.",
    "Taking both angles together, about {deg}°.",
    "That separates them by about {deg}°.",
    "Of the options, the one at {deg}° fits.",
    "The two lines of sight enclose about {deg}°.",
    "Going from the one to the other in the shortest way takes about {deg}°.",
];
const TURN: [&str; 10] = [
    "The listener faces the {x} and turns the shorter way to face the {y}. How far, and to which side?",
    "From facing the {x} to facing the {y}: which turn is the shorter one?",
    "Who looks at the {x} and wants to face the {y}, how far must they turn, and which way is shorter?",
    "Starting from the direction of the {x}, which is the shorter turn to that of the {y}?",
    "First face the {x}, then turn to the {y} in the shorter way. What turn is that?",
    "By how many degrees and to which side does one turn from the {x} to the {y}, the shorter way?",
    "Looking at the {x}, what is the shortest turn on the spot that brings the {y} straight ahead?",
    "With the {x} straight ahead, how must the listener turn, the shorter way, to have the {y} straight ahead?",
    "After facing the {x}, the listener faces the {y}. Tell the angle and side of the shorter turn.",
    "Which turn, the shorter way round, leads from the {x} to the {y}?",
];
const TURN_STEPS: [&str; 8] = [
    "From {from} to {to} it is {answer}.",
    "The azimuths {from} and {to} differ by {answer}.",
    "Going the shorter way from {from} to {to}: {answer}.",
    "Azimuth {to} lies {answer} of azimuth {from}.",
    "To get from {from} to {to} one turns {answer}.",
    "Left is counted up, so from {from} to {to} the turn is {answer}.",
    "Facing {from} first and {to} then means a turn of {answer}.",
    "{to} instead of {from}, the shorter way: {answer}.",
];

/// Angles in one question are so far apart.
const STEPS_DEG: f64 = 30.0;
/// Turns that go clearly to a side.
const TURNS_DEG: std::ops::RangeInclusive<f64> = 17.0..=158.0;

fn to_ten(degrees: f64) -> f64 {
    10.0 * (degrees / 10.0).round()
}

fn arc_deg(facts: &Facts, a: usize, b: usize) -> f64 {
    to_ten(angle_between_deg(facts.direction(a), facts.direction(b)))
}

/// Two sources of any scene.
fn any_pair<'a>(c: &Context<'a>, rng: &mut Rng) -> Option<(&'a Facts, usize, usize)> {
    let (facts, i) = c.pool.any(rng);
    let n = facts.count();
    (n >= 2).then(|| (facts, i, (i + 1 + rng.below(n - 1)) % n))
}

/// The angle between two sounds; wrong ones are those of other pairs.
pub(in super::super) fn angle_between(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = c.named_pair(rng)?;
    let mut angles = vec![arc_deg(c.facts, x, y)];
    while angles.len() < 4 {
        let (facts, a, b) = any_pair(c, rng)?;
        angles.push(arc_deg(facts, a, b));
    }
    if !all_apart(&angles, |a, b| (a - b).abs() >= STEPS_DEG) {
        return None;
    }
    let choice = |deg: f64| Choice::new(format!("about {deg:.0}°"), Claim::AngleBetween { a: x, b: y, deg });
    let mut gaps: Vec<(&str, &str)> = names(c, x, y).to_vec();
    gaps.push(("arc", ARC));
    let question = ask(rng, &ANGLE, &gaps);
    let deg = format!("{:.0}", angles[0]);
    gaps.push(("deg", &deg));
    let told = Aspects { azimuth: true, elevation: true, distance: false };
    Some(Draft {
        kind: "angle",
        context: String::new(),
        reasoning: chain(c, rng, (&[x, y], told), &ANGLE_STEPS, &gaps),
        open: Some([question.clone(), format!("The angle is about {deg}°.")]),
        choices: [choice(angles[0]), choice(angles[1]), choice(angles[2]), choice(angles[3])],
        question,
    })
}

/// The turn from the first source to the second: how far, rounded, and whether to the left.
fn turn(facts: &Facts, from: usize, to: usize) -> Option<(f64, bool)> {
    let turn_deg = turn_between_deg(facts.azimuth_deg(to, 0.0), facts.azimuth_deg(from, 0.0));
    let clear = TURNS_DEG.contains(&turn_deg.abs()) && facts.has_azimuth(from) && facts.has_azimuth(to);
    clear.then(|| (to_ten(turn_deg.abs()), turn_deg > 0.0))
}

/// The turn from one sound to another; the wrong amount is that of another pair.
pub(in super::super) fn turn_between(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (from, to) = c.named_pair(rng)?;
    let (facts, a, b) = any_pair(c, rng)?;
    let ((deg, left), (wrong_deg, _)) = (turn(c.facts, from, to)?, turn(facts, a, b)?);
    if (deg - wrong_deg).abs() < STEPS_DEG {
        return None;
    }
    let choices = grid(|is_far, is_side| {
        let (deg, left) = (if is_far { deg } else { wrong_deg }, left == is_side);
        let side = if left { "left" } else { "right" };
        Choice::new(format!("about {deg:.0}° to the {side}"), Claim::TurnTo { from, to, deg, left })
    });
    let question = ask(rng, &TURN, &names(c, from, to));
    let [az_from, az_to] = [from, to].map(|i| c.rounded(c.facts.azimuth_deg(i, 0.0)));
    let gaps = [("from", az_from.as_str()), ("to", &az_to), ("answer", &choices[0].text)];
    Some(Draft {
        kind: "turn",
        context: String::new(),
        reasoning: chain(c, rng, (&[from, to], Aspects::WAY), &TURN_STEPS, &gaps),
        open: Some([question.clone(), format!("One turns {}.", choices[0].text)]),
        choices,
        question,
    })
}
