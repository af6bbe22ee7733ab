//! Three sounds in the order of their distances.

use super::super::chain::{Aspects, chain};
use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft};
use super::super::facts::Facts;
use super::super::phrases::ask;
use super::super::verdict::Verdict::Unclear;
use crate::rng::Rng;

const NEAREST: [&str; 10] = [
    "Order the three sounds by distance, from the nearest to the farthest.",
    "Which order of the sounds by distance is right, nearest first?",
    "Rank what is heard by distance, beginning with the nearest.",
    "From the nearest to the farthest sound: which order is right?",
    "Which list names the sounds by growing distance from the listener?",
    "Starting with the sound that is nearest, how are the three ordered by distance?",
    "Sort the sounds by how far away they are, nearest first. Which list is right?",
    "Walking outwards from the listener, in which order would one pass the distances of the three sounds?",
    "Put the three sounds in the order of their distances, the nearest one first.",
    "Nearest, middle, farthest: which sounds are these, in this order?",
];
const FARTHEST: [&str; 10] = [
    "Order the three sounds by distance, from the farthest to the nearest.",
    "Which order of the sounds by distance is right, farthest first?",
    "Rank what is heard by distance, beginning with the farthest.",
    "From the farthest to the nearest sound: which order is right?",
    "Which list names the sounds by shrinking distance from the listener, farthest first?",
    "Starting with the sound that is farthest away, how are the three ordered by distance?",
    "Sort the sounds by how far away they are, farthest first. Which list is right?",
    "Coming from far away towards the listener, farthest first: in which order do the distances of the three follow?",
    "Put the three sounds in the order of their distances, the farthest one first.",
    "Farthest, middle, nearest: which sounds are these, in this order?",
];
const STEPS: [&str; 8] = [
    "Sorted by distance: {measure}. The order is {answer}.",
    "{measure}, hence {answer}.",
    "In metres {measure}; so the list reads {answer}.",
    "Comparing the distances, {measure}: {answer}.",
    "The order of the numbers {measure} is that of {answer}.",
    "First {first} m, then {second} m, last {third} m: {answer}.",
    "With {first} m, {second} m and {third} m the order becomes {answer}.",
    "One after the other, {first}, {second} and {third} m: {answer}.",
];

/// All orders of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Whether a scene has three named sounds at clearly different distances.
pub(super) fn can_rank(facts: &Facts) -> bool {
    let clear = |a: usize, b: usize| Claim::Nearer { a, b }.verdict(facts) != Unclear;
    facts.named.len() == 3 && clear(0, 1) && clear(1, 2) && clear(0, 2)
}

/// Three sounds, the nearest first.
pub(in super::super) fn nearest_first(c: &Context, rng: &mut Rng) -> Option<Draft> {
    ranked(c, rng, ("nearest first", &NEAREST), true)
}

/// Three sounds, the farthest first.
pub(in super::super) fn farthest_first(c: &Context, rng: &mut Rng) -> Option<Draft> {
    ranked(c, rng, ("farthest first", &FARTHEST), false)
}

fn ranked(c: &Context, rng: &mut Rng, (kind, wordings): (&'static str, &[&str]), grows: bool) -> Option<Draft> {
    if !can_rank(c.facts) {
        return None;
    }
    let mut right: Vec<usize> = vec![0, 1, 2];
    right.sort_by(|&a, &b| c.facts.distance_m(a).total_cmp(&c.facts.distance_m(b)));
    if !grows {
        right.reverse();
    }
    // Each order is as likely to be the right one of the four that are offered.
    let mut wrong: Vec<[usize; 3]> = ORDERS[1..].to_vec();
    rng.shuffle(&mut wrong);
    let choice = |order: [usize; 3]| {
        let [a, b, d] = order.map(|i| right[i]);
        let nearer = |a, b| if grows { Claim::Nearer { a, b } } else { Claim::Nearer { a: b, b: a } };
        let text = format!("the {}, the {}, the {}", c.label(a), c.label(b), c.label(d));
        Choice::new(text, Claim::both(nearer(a, b), nearer(b, d)))
    };
    let choices = [choice(ORDERS[0]), choice(wrong[0]), choice(wrong[1]), choice(wrong[2])];
    let question = ask(rng, wordings, &[]);
    let metres: Vec<String> = right.iter().map(|&i| format!("{:.1}", c.facts.distance_m(i))).collect();
    let measure = metres.join(if grows { " < " } else { " > " });
    let gaps = [
        ("measure", measure.as_str()),
        ("answer", &choices[0].text),
        ("first", &metres[0]),
        ("second", &metres[1]),
        ("third", &metres[2]),
    ];
    let mut heard = vec![0, 1, 2];
    rng.shuffle(&mut heard);
    Some(Draft {
        kind,
        context: String::new(),
        reasoning: chain(c, rng, (&heard, Aspects::NEAR_OR_FAR), &STEPS, &gaps),
        open: Some([question.clone(), format!("The order is {}.", choices[0].text)]),
        choices,
        question,
    })
}
