//! Whether one sound has stopped when another begins, and how long two are heard together.

use super::super::claims::{Claim, together_s};
use super::super::draft::{Choice, Context, Draft, grid};
use super::super::facts::turn_between_deg;
use super::super::phrases::{ask, fill};
use super::super::verdict::Verdict;
use super::super::wording::{capital, from_the};
use super::parts::*;
use crate::rng::Rng;

const FOLLOW: [&str; 10] = [
    "How do the sound {p} and the sound {q} follow each other in time?",
    "Which statement about the times of the sound {p} and the sound {q} is true?",
    "Are the sound {p} and the sound {q} heard at the same time or one after the other, and in which order?",
    "Listen to what comes {p} and to what comes {q}. Which statement about their times is right?",
    "One sound comes {p}, another one {q}. How do their times relate?",
    "In time, how does the sound {p} relate to the sound {q}?",
    "When do the sound {p} and the sound {q} begin and end, compared with each other?",
    "Do the sounds {p} and {q} overlap, and which of the two is the earlier one?",
    "Follow the sound {p} and the sound {q} from start to end. What is true?",
    "Which of these tells rightly how the sound {p} and the sound {q} share the time?",
];
const FOLLOW_STEPS: [&str; 8] = [
    "So {answer}.",
    "That means: {answer}.",
    "Comparing the end of the one with the start of the other, {answer}.",
    "The second sets in at {to} s, the first stops at {end} s. Hence {answer}.",
    "{to} s is when the later one begins, {end} s when the earlier one ends: {answer}.",
    "The earlier one begins at {from} s and ends at {end} s, the later one begins at {to} s: {answer}.",
    "From these times it follows that {answer}.",
    "At {to} s, when the later one begins, the question is whether the earlier one is over: {answer}.",
];
/// What counts as together.
const COUNTED: &str = "from the start of the later one to the end of the one that stops first, pauses included";
const TOGETHER: [&str; 10] = [
    "How long are the {x} and the {y} heard together ({counted}), and {is} the {x} on the left or on the right of the {y}?",
    "For how long do the {x} and the {y} overlap ({counted}), and how do they lie for the listener?",
    "The {x} and the {y} overlap in time ({counted}). For how long, and {is} the {x} to the left or to the right of the {y}?",
    "How much time do the {x} and the {y} share ({counted}), and which one is farther to the left?",
    "Judge how long the {x} and the {y} sound at once ({counted}) and where the {x} {is} relative to the {y}.",
    "During what time are both the {x} and the {y} under way ({counted}), and {is} the {x} left or right of the {y}?",
    "Tell the length of the overlap of the {x} and the {y} ({counted}), and the side of the {x} relative to the {y}.",
    "While both the {x} and the {y} sound ({counted}), how long is that, and where {is} the {x} compared with the {y}?",
    "How long do the {x} and the {y} go on together ({counted}), and left or right: where {is} the {x} from the {y}?",
    "Which is right about the overlap of the {x} and the {y} ({counted}) and about their sides?",
];
const TOGETHER_STEPS: [&str; 8] = [
    "Both are under way from {to} to {end} s, so it is {answer}.",
    "The later one begins at {to} s, the first to stop ends at {end} s: {answer}.",
    "From {to} s to {end} s they overlap. That is {answer}.",
    "The overlap lasts from {to} to {end} s, and by their directions: {answer}.",
    "Between {to} and {end} s both are heard, {answer}.",
    "What they share lies between {to} s and {end} s; with the sides that makes {answer}.",
    "They share the time from {to} to {end} s: {answer}.",
    "Start of the later one {to} s, first end {end} s. So {answer}.",
];

/// Whether two places are told apart by their words: each source lies clearly in its own direction, and no other does.
fn are_alone(c: &Context, sources: [usize; 2]) -> bool {
    sources.iter().all(|&i| {
        let way = direction(c, i);
        let fits = |k: usize| in_direction(k, way).verdict(c.facts);
        fits(i) == Verdict::True && (0..c.facts.count()).all(|k| k == i || fits(k) == Verdict::False)
    })
}

/// Whether one sound has stopped when another begins, told by their places: names would tell which scenes are like that.
pub(in super::super) fn one_after_the_other(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let mut staged: Vec<usize> = (0..c.facts.count()).filter(|&i| is_staged(c.facts, i)).collect();
    rng.shuffle(&mut staged);
    let [p, q, ..] = staged[..] else { return None };
    if !are_alone(c, [p, q]) {
        return None;
    }
    let (first, later) = by_onset(c, (p, q));
    let is_over = c.facts.ends_s(first) < c.facts.begins_s(later);
    let place = |i: usize| from_the(direction(c, i));
    let choices = grid(|in_order, is_so| {
        let (a, b) = if in_order { (first, later) } else { (later, first) };
        let (claim, words) = match is_over == is_so {
            true => (Claim::EndedBefore { a, b }, "has stopped before"),
            false => (Claim::StillHeard { a, b }, "is still heard when"),
        };
        let of = vec![in_direction(a, direction(c, a)), in_direction(b, direction(c, b)), claim];
        Choice::new(format!("the sound {} {words} the sound {} begins", place(a), place(b)), Claim::All { of })
    });
    let question = ask(rng, &FOLLOW, &[("p", &place(p)), ("q", &place(q))]);
    let [from, to, end] = [c.facts.begins_s(first), c.facts.begins_s(later), c.facts.ends_s(first)]
        .map(|s| format!("{:.1}", to_half_s(s)));
    let gaps = [("answer", choices[0].text.as_str()), ("from", &from), ("to", &to), ("end", &end)];
    let step = capital(&fill(FOLLOW_STEPS[rng.below(FOLLOW_STEPS.len())], &gaps));
    Some(Draft {
        kind: "one after the other",
        context: String::new(),
        reasoning: format!("{} {step}", when_from(c, rng, &[p, q])),
        open: Some([question.clone(), format!("{}.", capital(&choices[0].text))]),
        choices,
        question,
    })
}

/// Lengths of an overlap with the limits inside which they hold.
const LENGTHS: [(f64, f64, &str); 2] = [(0.7, 1.4, "for about a second"), (2.0, 1e3, "for two seconds or more")];

/// How long two sounds are heard together, and on which side of the one the other is.
pub(in super::super) fn together_and_side(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = staged_pair(c, rng)?;
    let s = together_s(c.facts, x, y);
    let right = LENGTHS.iter().position(|(low, high, _)| (*low..=*high).contains(&s))?;
    let is_left = turn_between_deg(c.facts.azimuth_deg(x, 0.0), c.facts.azimuth_deg(y, 0.0)) > 0.0;
    let choices = grid(|is_long, is_so| {
        let (low_s, high_s, words) = LENGTHS[if is_long { right } else { 1 - right }];
        let left = is_left == is_so;
        let side = if left { "left" } else { "right" };
        let (together, beside) =
            (Claim::TogetherFor { a: x, b: y, low_s, high_s }, Claim::Beside { a: x, b: y, left, facing: false });
        let of = vec![called(c, x), called(c, y), together, beside];
        Choice::new(format!("{words}, the {} to the {side} of the {}", c.label(x), c.label(y)), Claim::All { of })
    });
    let mut gaps: Vec<(&str, &str)> = names(c, x, y).to_vec();
    gaps.push(("counted", COUNTED));
    let question = ask(rng, &TOGETHER, &gaps);
    let (to, end) = (c.facts.begins_s(x).max(c.facts.begins_s(y)), c.facts.ends_s(x).min(c.facts.ends_s(y)));
    let [to, end] = [to, end].map(|s| format!("{:.1}", to_half_s(s)));
    let step = fill(TOGETHER_STEPS[rng.below(8)], &[("to", &to), ("end", &end), ("answer", choices[0].text.as_str())]);
    Some(Draft {
        kind: "how long together",
        context: String::new(),
        reasoning: format!("{} {}", when(c, rng, &[x, y]), capital(&step)),
        open: Some([question.clone(), format!("They are heard together {}.", choices[0].text)]),
        choices,
        question,
    })
}
