//! What is at a direction that is given in degrees.

use super::super::chain::{Aspects, chain};
use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, grid};
use super::super::perception::{AZIMUTH_FROM, distances_apart};
use super::super::phrases::ask;
use super::parts::names;
use crate::rng::Rng;

const IDENTITY: [&str; 10] = [
    "Which sound is heard at {at} ({from}; up is positive)?",
    "What comes from {at} ({from}; up is positive)?",
    "Something sounds at {at} ({from}; up is positive). What is it?",
    "Turn your attention to {at} ({from}; up is positive). Which sound is there?",
    "Which of these sounds lies at {at} ({from}; up is positive)?",
    "Name the sound at {at} ({from}; up is positive).",
    "Directions are counted so that {from} and up is positive. What is heard at {at}?",
    "At {at} there is a source ({from}; up is positive). Which sound does it make?",
    "Identify what reaches the listener from {at} ({from}; up is positive).",
    "Who or what is at {at} ({from}; up is positive)?",
];
const IDENTITY_STEPS: [&str; 8] = [
    "At {at} there is the {x}.",
    "Closest to {at} lies the {x}.",
    "Only the {x} {is} heard near {at}.",
    "The direction {at} is that of the {x}.",
    "So what is at {at} is the {x}.",
    "None of the others comes near {at}: it is the {x}.",
    "Comparing with {at} singles out the {x}.",
    "That direction, {at}, belongs to the {x}.",
];
const DISTANCE: [&str; 10] = [
    "Which sound is heard at {at} ({from}; up is positive), and how far away is it?",
    "What comes from {at} ({from}; up is positive), and from what distance?",
    "Something sounds at {at} ({from}; up is positive). What is it, and how far away?",
    "Name the sound at {at} ({from}; up is positive) together with its distance.",
    "Which sound and which distance belong to {at} ({from}; up is positive)?",
    "At {at} there is a source ({from}; up is positive). What is it, and how many metres away?",
    "Directions are counted so that {from} and up is positive. What is heard at {at}, and at what distance?",
    "Identify what reaches the listener from {at} ({from}; up is positive) and tell how far away it is.",
    "Turn to {at} ({from}; up is positive): which sound is there, and how distant is it?",
    "Who or what is at {at} ({from}; up is positive), and how far is it to there?",
];
const DISTANCE_STEPS: [&str; 8] = [
    "At {at} there is {answer}.",
    "Closest to {at} lies {answer}.",
    "Only one sound is heard near {at}: {answer}.",
    "The direction {at} is that of the {x}: {answer}.",
    "So what is at {at} is {answer}.",
    "The other comes from elsewhere; at {at} it is {answer}.",
    "Comparing with {at} singles out the {x}: {answer}.",
    "That direction, {at}, belongs to {answer}.",
];

/// Every other source is so far from the direction that is named.
const ALONE_DEG: f64 = 25.0;
const STEP_DEG: f64 = 5.0;

/// A named source that is alone near its direction, and that direction in steps of five degrees as a text.
fn alone(c: &Context, rng: &mut Rng) -> Option<(usize, String)> {
    let source = c.named(rng)?;
    let to_step = |degrees: f64| STEP_DEG * (degrees / STEP_DEG).round();
    let (azimuth, elevation) = (to_step(c.facts.azimuth_deg(source, 0.0)), to_step(c.facts.elevation_deg(source)));
    let is_far = |i: usize| i == source || c.facts.angle_to_deg(i, azimuth, elevation) >= ALONE_DEG;
    let at = format!("azimuth {}, elevation {:.0}°", c.rounded(azimuth), elevation + 0.0).replace(" -0°", " 0°");
    (c.facts.has_azimuth(source) && (0..c.facts.count()).all(is_far)).then_some((source, at))
}

/// What is at a direction: one of three sounds of the scene, or one that is not there.
pub(in super::super) fn identity_of_three(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (source, at) = alone(c, rng)?;
    let others: Vec<usize> = c.facts.named.iter().copied().filter(|&i| i != source).collect();
    let &[second, third] = &others[..] else { return None };
    let mut labels: Vec<String> = [source, second, third].map(|i| c.label(i).to_string()).to_vec();
    labels.extend(c.pool.other_labels(rng, 1, &c.facts.senses)?);
    let choice = |i: usize| Choice::new(&labels[i], Claim::Called { source, label: labels[i].clone() });
    let question = ask(rng, &IDENTITY, &[("at", &at), ("from", AZIMUTH_FROM)]);
    let mut gaps: Vec<(&str, &str)> = names(c, source, second).to_vec();
    gaps.push(("at", &at));
    let mut heard = vec![source, second, third];
    rng.shuffle(&mut heard);
    let told = Aspects { azimuth: true, elevation: true, distance: false };
    Some(Draft {
        kind: "identity at a direction",
        context: String::new(),
        choices: [choice(0), choice(1), choice(2), choice(3)],
        reasoning: chain(c, rng, (&heard, told), &IDENTITY_STEPS, &gaps),
        open: Some([question.clone(), format!("It is the {}.", labels[0])]),
        question,
    })
}

/// What is at a direction, and how far away; wrong are name and distance of another sound.
pub(in super::super) fn identity_and_distance(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (source, at) = alone(c, rng)?;
    let others: Vec<usize> = c.facts.named.iter().copied().filter(|&i| i != source).collect();
    let other = *others.get(rng.below(others.len().max(1)))?;
    let [own_m, wrong_m] = [source, other].map(|i| (10.0 * c.facts.distance_m(i)).round() / 10.0);
    if !distances_apart(own_m, wrong_m) {
        return None;
    }
    let choices = grid(|is_it, is_there| {
        let (i, m) = (if is_it { source } else { other }, if is_there { own_m } else { wrong_m });
        let label = c.label(i).to_string();
        let claim = Claim::both(Claim::Called { source, label }, Claim::Distance { source, m });
        Choice::new(format!("the {}, about {m:.1} m away", c.label(i)), claim)
    });
    let question = ask(rng, &DISTANCE, &[("at", &at), ("from", AZIMUTH_FROM)]);
    let gaps = [("at", at.as_str()), ("x", c.label(source)), ("answer", &choices[0].text)];
    let both = if rng.below(2) == 0 { [source, other] } else { [other, source] };
    Some(Draft {
        kind: "identity and distance at a direction",
        context: String::new(),
        reasoning: chain(c, rng, (&both, Aspects::PLACE), &DISTANCE_STEPS, &gaps),
        open: Some([question.clone(), format!("It is {}.", choices[0].text)]),
        choices,
        question,
    })
}
