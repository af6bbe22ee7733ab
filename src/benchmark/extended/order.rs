//! Which of two sounds begins first, and where that one is.

use super::super::chain::{Aspects, chain};
use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, grid};
use super::super::facts::Facts;
use super::super::phrases::{ask, fill};
use super::super::verdict::Verdict::Unclear;
use super::super::wording::{capital, from_the};
use super::parts::*;
use crate::rng::Rng;

const FIRST: [&str; 10] = [
    "Which begins first, the {x} or the {y}, and from where does it come?",
    "Of the {x} and the {y}, which is heard first, and from which direction?",
    "The {x} and the {y} do not begin together. Which one is earlier, and where is it heard from?",
    "Between the {x} and the {y}, which sound sets in first, and from which side?",
    "Listen for the {x} and the {y}: which one starts the earlier, and in what direction does it lie?",
    "Name the earlier one of the {x} and the {y}, together with its direction.",
    "Which of these two is audible before the other, the {x} or the {y}, and from where?",
    "Who or what is heard before the other, the {x} or the {y}, and from which direction?",
    "Put the {x} and the {y} in the order of time. Which one is first, and from where is it heard?",
    "In time, which one leads, the {x} or the {y}, and where must one turn to face it?",
];
const FIRST_STEPS: [&str; 8] = [
    "The first of the two is the {x}, {place}.",
    "So what begins first is the {x}, heard {place}.",
    "At {from} s the {x} {begins}, at {to} s the other: first is the {x}, {place}.",
    "{from} s comes before {to} s, so it is the {x}, {place}.",
    "Later {isy} the {y}, at {to} s; earlier {is} the {x}, {place}.",
    "Comparing the beginnings, {from} s and {to} s: the {x} leads, {place}.",
    "Before the {y} there is the {x}; its direction: {place}.",
    "The order in time puts the {x} first, {place}.",
];
const NEARER: [&str; 10] = [
    "Which begins first, the {x} or the {y}, and is it the closer or the farther one of the two?",
    "Of the {x} and the {y}, which is heard first, and is that one nearer or farther than the other?",
    "The {x} and the {y} set in one after the other. Which one is earlier, and how far is it compared with the later one?",
    "Name the earlier one of the {x} and the {y}, and tell whether it is closer to the listener than the other.",
    "Which starts before the other, the {x} or the {y}, and does the earlier one lie closer or farther away?",
    "Between the {x} and the {y}, which sound comes first in time, and is it the near one or the far one?",
    "Listen to when the {x} and the {y} begin and how far away they are. Which one is first, and closer or farther?",
    "First in time: is it the {x} or the {y}? And is the first one closer than the second, or farther?",
    "Tell which one leads in time, the {x} or the {y}, and whether that one is the closer or the farther one.",
    "Order the {x} and the {y} in time, then compare their distances. Which one begins, and is it closer or farther?",
];
const NEARER_STEPS: [&str; 8] = [
    "The {x} {begins} at {from} s, the {y} at {to} s; the first one is {which}.",
    "At {from} s there is the {x}, at {to} s the {y}. So first is the {x}, {which}.",
    "First comes the {x} ({from} s, the other {to} s), and {near} m against {far} m makes it {which}.",
    "Of the beginnings {from} s and {to} s the earlier one belongs to the {x}, which is {which}.",
    "Later {isy} the {y}, at {to} s; earlier, at {from} s, {is} the {x}. By distance that is {which}.",
    "In time the {x} leads ({from} s before {to} s); in distance it is {which}.",
    "Earlier is the {x}, at {from} s. With {near} m to {far} m it is {which}.",
    "{from} s is before {to} s: the {x}. Its {near} m beside {far} m: {which}.",
];

/// Whether two named sounds that do not play all along begin one clearly after the other.
pub(super) fn has_order(facts: &Facts) -> bool {
    ordered(facts, &facts.named)
}

/// The same of any two sounds.
pub(super) fn has_order_of_any(facts: &Facts) -> bool {
    ordered(facts, &(0..facts.count()).collect::<Vec<_>>())
}

fn ordered(facts: &Facts, among: &[usize]) -> bool {
    let staged: Vec<usize> = among.iter().copied().filter(|&i| is_staged(facts, i)).collect();
    let apart = |a: usize, b: usize| Claim::BeginsBefore { a, b }.verdict(facts) != Unclear;
    staged.iter().any(|&a| staged.iter().any(|&b| a < b && apart(a, b)))
}

/// Which of two sounds begins first, and its direction or the other's.
pub(in super::super) fn first_and_direction(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = staged_pair(c, rng)?;
    let (first, later) = by_onset(c, (x, y));
    let choices = grid(|is_first, is_its| {
        let (a, b) = if is_first { (first, later) } else { (later, first) };
        let way = direction(c, if is_its { first } else { later });
        let of = vec![called(c, a), called(c, b), Claim::BeginsBefore { a, b }, in_direction(a, way)];
        Choice::new(format!("the {}, {}", c.label(a), from_the(way)), Claim::All { of })
    });
    let question = ask(rng, &FIRST, &names(c, x, y));
    let place = from_the(direction(c, first));
    let step = step(c, rng, &FIRST_STEPS, (first, later), &[("place", &place)]);
    Some(Draft {
        kind: "first and its direction",
        context: String::new(),
        reasoning: format!("{} {step}", when(c, rng, &[x, y])),
        open: Some([question.clone(), format!("It is {}.", choices[0].text)]),
        choices,
        question,
    })
}

/// Which of two sounds begins first, and whether it is the closer one.
pub(in super::super) fn first_and_distance(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = staged_pair(c, rng)?;
    let (first, later) = by_onset(c, (x, y));
    let is_closer = c.facts.distance_m(first) < c.facts.distance_m(later);
    let which = |closer: bool| if closer { "the closer one of the two" } else { "the farther one of the two" };
    let choices = grid(|is_first, is_so| {
        let (a, b) = if is_first { (first, later) } else { (later, first) };
        let closer = is_closer == is_so;
        let nearer = if closer { Claim::Nearer { a, b } } else { Claim::Nearer { a: b, b: a } };
        let of = vec![called(c, a), called(c, b), Claim::BeginsBefore { a, b }, nearer];
        Choice::new(format!("the {}, {}", c.label(a), which(closer)), Claim::All { of })
    });
    let question = ask(rng, &NEARER, &names(c, x, y));
    let [near, far] = [first, later].map(|i| format!("{:.1}", c.facts.distance_m(i)));
    let gaps = [("which", which(is_closer)), ("near", near.as_str()), ("far", &far)];
    let step = step(c, rng, &NEARER_STEPS, (first, later), &gaps);
    Some(Draft {
        kind: "first and its distance",
        context: String::new(),
        reasoning: chain(c, rng, (&[x, y], Aspects::NEAR_OR_FAR), &["{step}"], &[("step", &step)]),
        open: Some([question.clone(), format!("It is {}.", choices[0].text)]),
        choices,
        question,
    })
}

/// One of `steps` about the first sound and the later one, with their beginnings.
fn step(
    c: &Context,
    rng: &mut Rng,
    steps: &[&str],
    (first, later): (usize, usize),
    more: &[(&'static str, &str)],
) -> String {
    let [from, to] = [first, later].map(|i| format!("{:.1}", to_half_s(c.facts.begins_s(i))));
    let mut gaps: Vec<(&str, &str)> = names(c, first, later).to_vec();
    gaps.extend([("from", from.as_str()), ("to", &to)]);
    gaps.extend(more);
    capital(&fill(steps[rng.below(steps.len())], &gaps))
}
