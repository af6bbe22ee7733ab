//! Another heading, and one property after another.

use super::super::chain::{Aspects, chain};
use super::super::claims::{Claim, Extreme};
use super::super::draft::{Choice, Context, Draft, agree, all_apart, grid};
use super::super::facts::{SECTORS, turn_between_deg};
use super::super::perception::AZIMUTH_FROM;
use super::super::phrases::ask;
use super::super::verdict::Verdict;
use super::super::wording::{from_the, octant, sector};
use crate::rng::Rng;

const SIDE: [&str; 11] = [
    "If you turn around by {by}, where would the {x} be?",
    "The listener turns {by}. Where {is} the {x} then?",
    "After a turn of {by}, on which side would the {x} be?",
    "Suppose the listener turns {by}: on which side {is} the {x} afterwards?",
    "Once you have turned {by}, where do you hear the {x}?",
    "Turn {by} in your mind. Where {is} the {x} now?",
    "A turn of {by} brings the {x} to which side?",
    "Facing another way after turning {by}, where does one hear the {x}?",
    "When the listener has turned {by}, in which direction {is} the {x}?",
    "Which side {is} the {x} on for a listener who has turned {by}?",
    "Imagine turning {by}. From where would the {x} then be heard?",
];
const AZIMUTH: [&str; 11] = [
    "If you turn around by {by}, at what azimuth would the {x} be ({from})?",
    "The listener turns {by}. What is the new azimuth of the {x} ({from})?",
    "After a turn of {by}, what azimuth would the {x} have ({from})?",
    "Suppose the listener turns {by}: at which azimuth {is} the {x} afterwards ({from})?",
    "Once you have turned {by}, at what azimuth do you hear the {x} ({from})?",
    "Turn {by} in your mind. Which azimuth belongs to the {x} now ({from})?",
    "A turn of {by} brings the {x} to which azimuth ({from})?",
    "Facing another way after turning {by}, at which azimuth does one hear the {x} ({from})?",
    "When the listener has turned {by}, what is the azimuth of the {x} ({from})?",
    "Which azimuth would be measured for the {x} after a turn of {by} ({from})?",
    "Imagine turning {by}. At which azimuth would the {x} then be ({from})?",
];
const STEPS: [&str; 8] = [
    "A turn of {by} takes {before} to {after}: {answer}.",
    "{before} {sign} {turn}° makes {after}, so {answer}.",
    "Turning {by} changes the azimuth from {before} to {after}, which is {answer}.",
    "After the turn its azimuth goes from {before} to {after}: {answer}.",
    "Seen from the new heading, {before} becomes {after}, {answer}.",
    "The turn is {by}; {before} {sign} {turn}° = {after}. That means {answer}.",
    "Everything moves the other way by {turn}°: {before} to {after}, {answer}.",
    "With the head turned {by}, {before} is now {after}: {answer}.",
];
const HOP: [&str; 12] = [
    "Identify the source that is {word} and state its direction.",
    "Which sound is {word}, and where does it come from?",
    "Name the sound that is {word} together with its direction.",
    "Find what is {word}: which sound is it, and where is it?",
    "What is {word} here, and from which direction does it come?",
    "Of all sounds, which is {word}, and in what direction does it lie?",
    "Tell which sound is {word} and from where it reaches the listener.",
    "First find what is {word}; then say what it is and where.",
    "Which source and which direction belong to what is {word}?",
    "The sound that is {word}: name it and its direction.",
    "Someone asks what is {word} in this scene: which sound, and from where?",
    "Pick out the source that is {word}. Which is it, and from where is it heard?",
];
const HOP_STEPS: [&str; 8] = [
    "Of these, {word}: the {x}, {place}.",
    "Comparing them, {word} is the {x}. It is heard {place}.",
    "{measure}, so {word} is the {x}, {place}.",
    "What is {word} is the {x}; its direction: {place}.",
    "By {by}, the {x} stands out as {word}; it is heard {place}.",
    "{measure}. That singles out the {x}, {place}.",
    "Going by {by}, it is the {x} that is {word}. Direction: {place}.",
    "One by one: {measure}. So it is the {x}, {place}.",
];

/// A turn in steps of so many degrees: to the left positive, in (-180, 180], with its words.
fn turn(rng: &mut Rng, step: usize) -> (f64, String) {
    let turn = (step * (1 + rng.below(360 / step - 1))) as i64;
    // Turning right is a negative turn to the left.
    let turn = if turn > 180 { turn - 360 } else { turn };
    let by = match turn {
        180 => "180°".to_string(),
        t if t > 0 => format!("{t}° to the left"),
        t => format!("{}° to the right", -t),
    };
    (turn as f64, by)
}

/// The chain from the azimuth before a turn to that after it.
fn reasoning(c: &Context, rng: &mut Rng, source: usize, (turn_deg, by): (f64, &str), answer: &str) -> String {
    let azimuth = |turn| c.rounded(c.facts.azimuth_deg(source, turn));
    let (before, after, amount) = (azimuth(0.0), azimuth(turn_deg), format!("{:.0}", turn_deg.abs()));
    let sign = if turn_deg > 0.0 { "minus" } else { "plus" };
    let gaps =
        [("by", by), ("before", &before), ("after", &after), ("turn", &amount), ("sign", sign), ("answer", answer)];
    chain(c, rng, (&[source], Aspects::WAY), &STEPS, &gaps)
}

/// On which side a source would be after a turn.
pub fn side_after_turn(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let (turn_deg, by) = turn(rng, 90);
    let right = sector(c.facts.azimuth_deg(source, turn_deg));
    let choice = |i: usize| {
        let at = (right + i) % 4;
        Choice::new(SECTORS[at], Claim::Sector { source, centre_deg: 90.0 * at as f64, width_deg: 90.0, turn_deg })
    };
    let label = c.label(source);
    let question = ask(rng, &SIDE, &[("x", label), ("is", agree(label, "is", "are")), ("by", &by)]);
    Some(Draft {
        kind: "side after a turn",
        reasoning: reasoning(c, rng, source, (turn_deg, &by), SECTORS[right]),
        context: by,
        choices: [choice(0), choice(1), choice(2), choice(3)],
        open: Some([question.clone(), format!("The {label} would be at the {}.", SECTORS[right])]),
        question,
    })
}

/// The azimuth of a source after a turn.
pub fn azimuth_after_turn(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let (turn_deg, by) = turn(rng, 30);
    let mut azimuths = vec![c.facts.azimuth_deg(source, turn_deg)];
    azimuths.extend((0..c.facts.count()).filter(|&i| i != source).map(|i| c.facts.azimuth_deg(i, turn_deg)));
    while azimuths.len() < 4 {
        azimuths.push(c.any_azimuth(rng));
    }
    if !all_apart(&azimuths, |a, b| turn_between_deg(*a, *b).abs() >= 20.0) {
        return None;
    }
    let choice = |deg: f64| Choice::new(c.azimuth(deg), Claim::Azimuth { source, deg, turn_deg });
    let label = c.label(source);
    let gaps = [("x", label), ("is", agree(label, "is", "are")), ("by", &by), ("from", AZIMUTH_FROM)];
    let question = ask(rng, &AZIMUTH, &gaps);
    let after = c.rounded(azimuths[0]);
    Some(Draft {
        kind: "azimuth after a turn",
        reasoning: reasoning(c, rng, source, (turn_deg, &by), &format!("an azimuth of about {after}")),
        context: by,
        choices: [choice(azimuths[0]), choice(azimuths[1]), choice(azimuths[2]), choice(azimuths[3])],
        open: Some([question.clone(), format!("The {label} would be at an azimuth of about {after}.")]),
        question,
    })
}

/// Extremes with the words for them: "the highest sound" would be one of pitch.
pub(super) const EXTREMES: [(Extreme, &str); 4] = [
    (Extreme::Nearest, "nearest"),
    (Extreme::Farthest, "farthest"),
    (Extreme::Highest, "highest up"),
    (Extreme::Lowest, "lowest down"),
];

/// Find a source by one property, tell its direction.
pub fn multi_hop_query(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let facts = c.facts;
    let (what, word) = EXTREMES[rng.below(4)];
    let out = |source| Claim::StandsOut { source, what, without: None };
    let source = *facts.named.iter().find(|&&i| out(i).verdict(facts) == Verdict::True)?;
    let others: Vec<usize> = facts.named.iter().copied().filter(|&i| i != source).collect();
    let other = *others.get(rng.below(others.len().max(1)))?;
    let side = |i: usize| octant(facts.azimuth_deg(i, 0.0));
    let choices = grid(|first, second| {
        let (i, direction) = (if first { source } else { other }, side(if second { source } else { other }));
        let sector = Claim::Sector { source: i, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
        Choice::new(format!("the {}, {}", c.label(i), from_the(direction)), Claim::both(out(i), sector))
    });
    let question = ask(rng, &HOP, &[("word", word)]);
    let mut all: Vec<usize> = (0..facts.count()).collect();
    rng.shuffle(&mut all);
    let by_distance = matches!(what, Extreme::Nearest | Extreme::Farthest);
    let aspects = if by_distance { Aspects::NEAR_OR_FAR } else { Aspects::HEIGHT };
    let value = |i: usize| if by_distance { facts.distance_m(i) } else { facts.elevation_deg(i) };
    let mut values: Vec<f64> = (0..facts.count()).map(value).collect();
    values.sort_by(f64::total_cmp);
    let shown: Vec<String> = values
        .into_iter()
        .map(|v| if by_distance { format!("{v:.1} m") } else { format!("{v:.0}°").replace("-0°", "0°") })
        .collect();
    let measure = shown.join(" < ");
    let (place, by) = (from_the(side(source)), if by_distance { "distance" } else { "elevation" });
    let gaps = [("word", word), ("x", c.label(source)), ("place", &place), ("by", by), ("measure", &measure)];
    Some(Draft {
        kind: "multi-hop",
        context: word.into(),
        reasoning: chain(c, rng, (&all, aspects), &HOP_STEPS, &gaps),
        open: Some([question.clone(), format!("It is {}.", choices[0].text)]),
        choices,
        question,
    })
}
