//! When a sound begins and how long it lasts, to half a second, together with where it is.

use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, grid};
use super::super::phrases::{ask, fill};
use super::super::wording::{capital, from_the};
use super::parts::*;
use crate::rng::Rng;

/// How moments are counted.
const FROM_START: &str = "in seconds from the start of the recording, to the nearest half second";
const ONSET: [&str; 10] = [
    "When {does} the {x} begin ({counted}), and from where {is} {it} heard?",
    "At what time {does} the {x} set in ({counted}), and in which direction?",
    "How long after the start {does} the {x} come in ({counted}), and from which side?",
    "Find the moment in which the {x} {begins} ({counted}), and its direction.",
    "The {x} can be heard. From when on ({counted}), and from where?",
    "Note the time at which the {x} {begins} ({counted}) and from where {it} {is} heard. Which is right?",
    "What are the starting time ({counted}) and the direction of the {x}?",
    "When is the first sound of the {x} heard ({counted}), and from which direction?",
    "Tell when the {x} {begins} ({counted}) and where one must turn to face {it}.",
    "Which time ({counted}) and which direction belong to the beginning of the {x}?",
];
const ONSET_STEPS: [&str; 8] = [
    "The {x} {begins} {answer}.",
    "So the beginning of the {x} lies {answer}.",
    "Asked is the {x}: {answer}.",
    "The other one begins at {other} s; for the {x} it is {answer}.",
    "That gives for the {x} {answer}.",
    "The first that is heard of the {x} comes {answer}.",
    "Not {other} s, which belongs to the other sound, but {answer}.",
    "Time and direction of the {x} together: {answer}.",
];
/// How durations are counted.
const WHOLE: &str = "from its first to its last sound, pauses included and echoes not, to the nearest half second";
const DURATION: [&str; 10] = [
    "How long {does} the {x} last ({counted}), and from where {is} {it} heard?",
    "For how many seconds {is} the {x} heard ({counted}), and from which direction?",
    "What is the duration of the {x} ({counted}), and from which side {is} {it} heard?",
    "How much of the recording {does} the {x} take up in seconds ({counted}), and in which direction {is} {it}?",
    "Measure the {x}: how long ({counted}), and from where?",
    "Over what time {does} the {x} extend ({counted}), and on which side?",
    "Tell how long the {x} {is} under way ({counted}) and from which direction {it} {is} heard.",
    "Which duration ({counted}) and which direction belong to the {x}?",
    "How many seconds pass while the {x} {is} under way ({counted}), and where {is} {it}?",
    "What is right about the length of the {x} ({counted}) and about where {it} {is}?",
];
const DURATION_STEPS: [&str; 8] = [
    "From {from} to {to} s the {x} {is} heard {answer}.",
    "{to} minus {from} is the duration: {answer}.",
    "The {x} {begins} at {from} s and is over at {to} s, so it is heard {answer}.",
    "So the {x} can be heard {answer}.",
    "The other one lasts {other} s; the {x} {is} heard {answer}.",
    "Between {from} s and {to} s there is the {x}: {answer}.",
    "Its start {from} s and its end {to} s make it {answer}.",
    "Asked is the {x}, which from {from} to {to} s is heard {answer}.",
];

/// Values that are told apart, as they are written.
const APART_S: f64 = 1.0;

/// What is asked about the times of a sound.
struct Asked {
    kind: &'static str,
    counted: &'static str,
    wordings: &'static [&'static str],
    steps: &'static [&'static str],
    /// What stands before a value in an option.
    before: &'static str,
    measure: fn(&Context, usize) -> f64,
    claim: fn(usize, f64) -> Claim,
}

/// When a sound begins, and its direction; wrong are time and direction of another.
pub(in super::super) fn onset_and_direction(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let asked = Asked {
        kind: "onset and direction",
        counted: FROM_START,
        wordings: &ONSET,
        steps: &ONSET_STEPS,
        before: "at",
        measure: |c, i| c.facts.begins_s(i),
        claim: |source, s| Claim::Begins { source, s },
    };
    timed(c, rng, &asked)
}

/// How long a sound lasts, and its direction; wrong are time and direction of another.
pub(in super::super) fn duration_and_direction(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let asked = Asked {
        kind: "duration and direction",
        counted: WHOLE,
        wordings: &DURATION,
        steps: &DURATION_STEPS,
        before: "for",
        measure: |c, i| c.facts.ends_s(i) - c.facts.begins_s(i),
        claim: |source, s| Claim::Lasts { source, s },
    };
    timed(c, rng, &asked)
}

fn timed(c: &Context, rng: &mut Rng, asked: &Asked) -> Option<Draft> {
    let (x, y) = staged_pair(c, rng)?;
    let [own_s, other_s] = [x, y].map(|i| to_half_s((asked.measure)(c, i)));
    if (own_s - other_s).abs() < APART_S {
        return None;
    }
    let choices = grid(|is_time, is_place| {
        let (s, way) = (if is_time { own_s } else { other_s }, direction(c, if is_place { x } else { y }));
        let of = vec![called(c, x), (asked.claim)(x, s), in_direction(x, way)];
        Choice::new(format!("{} about {s:.1} s, {}", asked.before, from_the(way)), Claim::All { of })
    });
    let mut gaps: Vec<(&str, &str)> = names(c, x, y).to_vec();
    gaps.push(("counted", asked.counted));
    let question = ask(rng, asked.wordings, &gaps);
    let [from, to] = [c.facts.begins_s(x), c.facts.ends_s(x)].map(|s| format!("{:.1}", to_half_s(s)));
    let other = format!("{other_s:.1}");
    gaps.extend([("answer", choices[0].text.as_str()), ("other", &other), ("from", &from), ("to", &to)]);
    let step = capital(&fill(asked.steps[rng.below(asked.steps.len())], &gaps));
    let both = if rng.below(2) == 0 { [x, y] } else { [y, x] };
    Some(Draft {
        kind: asked.kind,
        context: String::new(),
        reasoning: format!("{} {step}", when(c, rng, &both)),
        open: Some([question.clone(), format!("{}.", capital(&choices[0].text))]),
        choices,
        question,
    })
}
