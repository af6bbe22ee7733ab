//! What somebody does to reach a sound, and what that changes: asked of scenes in which nothing begins late.

use super::super::chain::{Aspects, chain};
use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, agree, grid};
use super::super::facts::OCTANTS;
use super::super::phrases::ask;
use super::super::wording::octant;
use crate::rng::Rng;

const QUESTIONS: [&str; 12] = [
    "Somebody here wants to get to the {x}. Which way do they go, and what does that do to their distance from the {y}?",
    "The listener sets out for the {x}. In which direction is that, and will the {y} be closer or farther at the goal?",
    "To reach the {x}, which way must one go, and does one come closer to the {y} or leave it behind?",
    "A person is drawn to the {x}. Where do they turn, and what happens to the distance of the {y} once they are there?",
    "Suppose the listener walks all the way to the {x}. Which way is it, and {isy} the {y} then nearer or farther than now?",
    "With the {x} as the aim, which path serves it, and what becomes of the {y} on arrival?",
    "Someone intends to stand next to the {x}. Which way, and will they hear the {y} from closer or from farther away?",
    "Which way leads to the {x}, and at its end, {isy} the {y} closer to the walker or farther away than before?",
    "In order to come to the {x}, where does one go, and does that bring one nearer to the {y}?",
    "What does somebody do who wants to be at the {x}, and what follows for their distance from the {y}?",
    "Walking to the {x}: which direction is that, and how far {isy} the {y} afterwards compared with now?",
    "If the listener wants to be at the {x}, which way should they go, and what happens to the distance of the {y}?",
];
const STEPS: [&str; 8] = [
    "The way to the {x} is {way}. From there the {y} would be {there} m off instead of {now} m: {change}.",
    "Going {way} one reaches the {x}; between the two there are {there} m, now the {y} {isy} {now} m away, so {change}.",
    "{way} lies the {x}. Its distance from the {y} is {there} m, against {now} m from here, which means {change}.",
    "One goes {way}. At the {x} the {y} {isy} {there} m away, before it was {now} m: {change}.",
    "To be at the {x}, go {way}. {there} m separate the two sounds, and {now} m the listener from the {y}: {change}.",
    "That asks for a walk {way}. Before it the {y} {isy} {now} m away, after it {there} m, hence {change}.",
    "The goal lies {way}. The {y}: {now} m from here, {there} m from the goal, so {change}.",
    "Walking {way} ends at the {x}, {there} m from the {y}. From here it is {now} m: {change}.",
];

/// Which way somebody goes who wants to reach a sound, and whether that brings them closer to another.
pub fn reach_a_sound(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (goal, other) = c.named_pair(rng)?;
    let facts = c.facts;
    let (now_m, there_m) = (facts.distance_m(other), facts.apart_m(goal, other));
    let closer = there_m < now_m;
    let way = |i: usize| format!("towards the {}", OCTANTS[octant(facts.azimuth_deg(i, 0.0))]);
    let change = |closer: bool| format!("the {} {} then {}", c.label(other), verb(c, other), nearer(closer));
    let choices = grid(|first, second| {
        let (direction, closer) = (if first { goal } else { other }, closer == second);
        let centre_deg = 45.0 * octant(facts.azimuth_deg(direction, 0.0)) as f64;
        let sector = Claim::Sector { source: goal, centre_deg, width_deg: 45.0, turn_deg: 0.0 };
        let text = format!("{}, and {}", way(direction), change(closer));
        Choice::new(text, Claim::both(sector, Claim::Reaching { goal, other, closer }))
    });
    let question = ask(rng, &QUESTIONS, &[("x", c.label(goal)), ("y", c.label(other)), ("isy", verb(c, other))]);
    let [now, there] = [now_m, there_m].map(|m| format!("{m:.1}"));
    let (to, changed) = (way(goal), change(closer));
    let gaps = [
        ("x", c.label(goal)),
        ("y", c.label(other)),
        ("isy", verb(c, other)),
        ("way", &to),
        ("now", &now),
        ("there", &there),
        ("change", &changed),
    ];
    Some(Draft {
        kind: "reaching a sound",
        context: String::new(),
        reasoning: chain(c, rng, (&[goal, other], Aspects::NEAR_OR_FAR), &STEPS, &gaps),
        open: Some([question.clone(), format!("They go {}.", choices[0].text)]),
        choices,
        question,
    })
}

fn verb<'a>(c: &Context, i: usize) -> &'a str {
    agree(c.label(i), "is", "are")
}

fn nearer(closer: bool) -> &'static str {
    if closer { "closer than now" } else { "farther away than now" }
}
