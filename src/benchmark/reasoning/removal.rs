//! What remains true of several when one sound is gone.

use super::super::claims::{Claim, Extreme, Region};
use super::super::draft::{Choice, Context, Draft, agree, grid, one_of};
use super::super::verdict::Verdict;
use super::super::wording::heard;
use super::turning::EXTREMES;
use crate::rng::Rng;

/// What remains true without a source: two others, about whose relation it is asked.
pub fn source_removal(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let facts = c.facts;
    if facts.named.len() != facts.count() {
        return None;
    }
    let removed = c.named(rng)?;
    let rest: Vec<usize> = (0..facts.count()).filter(|&i| i != removed).collect();
    let [a, b] = rest[..] else { return None };
    let (kind, choices) = match rng.below(2) {
        0 => ("two remain", extremes(c, rng, removed, [a, b])?),
        _ => ("how many remain", counted(c, rng, removed, [a, b])?),
    };
    let label = c.label(removed);
    let (is, falls) = (agree(label, "is", "are"), agree(label, "falls", "fall"));
    let question = match rng.below(5) {
        0 => format!("If the {label} {is} removed, which statement is true of the rest?"),
        1 => format!("Imagine the scene without the {label}. Which statement is true?"),
        2 => format!("The {label} {falls} silent. Which statement is right about the rest?"),
        3 => format!("Without the {label}, which statement is true?"),
        _ => format!("If the {label} {is} removed, which statement remains true?"),
    };
    let both = format!("{} and {}", heard_with_height(c, a), heard_with_height(c, b));
    let lead =
        one_of(rng, &["I hear that", "What is left to hear:", "Without it I still hear that", "Then I hear that"]);
    let end = one_of(rng, &["So", "That leaves:", "Therefore", "Of these,", "This means:"]);
    Some(Draft {
        kind,
        context: label.into(),
        reasoning: format!("{lead} {both}. {end} {}.", choices[0].text),
        open: None,
        choices,
        question,
    })
}

/// Direction, distance and elevation of a source.
fn heard_with_height(c: &Context, i: usize) -> String {
    let elevation = c.facts.elevation_deg(i);
    let side = if elevation > 0.0 { "above" } else { "below" };
    format!("{} and {:.0}° {side} ear level", heard(c, i), elevation.abs())
}

/// Which of the two that remain is the nearest (or farthest), and which the highest (or lowest). The removed one was one of
/// these, so that something changes.
fn extremes(c: &Context, rng: &mut Rng, removed: usize, [a, b]: [usize; 2]) -> Option<[Choice; 4]> {
    let (by_distance, by_height) = (EXTREMES[rng.below(2)], EXTREMES[2 + rng.below(2)]);
    let out = |source, what, without| Claim::StandsOut { source, what, without };
    let was = |what| out(removed, what, None).verdict(c.facts) == Verdict::True;
    let leads = |what| [a, b].into_iter().find(|&i| out(i, what, Some(removed)).verdict(c.facts) == Verdict::True);
    if !was(by_distance.0) && !was(by_height.0) {
        return None;
    }
    let (first, second) = (leads(by_distance.0)?, leads(by_height.0)?);
    let other = |x: usize| if x == a { b } else { a };
    let one = |is_right: bool, right: usize| if is_right { right } else { other(right) };
    Some(grid(|is_first, is_second| {
        let (i, j) = (one(is_first, first), one(is_second, second));
        let text = format!("{} is then the {}, {} the {}", by_distance.1, c.label(i), by_height.1, c.label(j));
        let removed = Some(removed);
        Choice::new(text, Claim::both(out(i, by_distance.0, removed), out(j, by_height.0, removed)))
    }))
}

/// Regions with the words for them.
const REGIONS: [(Region, &str); 6] = [
    (Region::Left, "to the left of the listener"),
    (Region::Right, "to the right of the listener"),
    (Region::Front, "in front of the listener"),
    (Region::Behind, "behind the listener"),
    (Region::Above, "above ear level"),
    (Region::Below, "below ear level"),
];

/// How many of the two that remain are on a side, and which one is the nearest.
fn counted(c: &Context, rng: &mut Rng, removed: usize, [a, b]: [usize; 2]) -> Option<[Choice; 4]> {
    let (region, place) = REGIONS[rng.below(REGIONS.len())];
    let remain = |n| Claim::Remain { region, n, without: removed };
    let right = (0..3).find(|&n| remain(n).verdict(c.facts) == Verdict::True)?;
    let wrong = (right + 1 + rng.below(2)) % 3;
    let nearest = |source| Claim::StandsOut { source, what: Extreme::Nearest, without: Some(removed) };
    let near = [a, b].into_iter().find(|&i| nearest(i).verdict(c.facts) == Verdict::True)?;
    let other = if near == a { b } else { a };
    Some(grid(|is_first, is_second| {
        let (n, i) = (if is_first { right } else { wrong }, if is_second { near } else { other });
        let count = ["none of the two that remain is", "one of the two that remain is", "both that remain are"][n];
        let text = format!("{count} {place}, and nearest is then the {}", c.label(i));
        Choice::new(text, Claim::both(remain(n), nearest(i)))
    }))
}
