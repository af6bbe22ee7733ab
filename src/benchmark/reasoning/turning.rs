//! Another heading, and one property after another.

use super::super::claims::{Claim, Extreme};
use super::super::draft::{Choice, Context, Draft, agree, all_apart, grid};
use super::super::facts::{SECTORS, turn_between_deg};
use super::super::verdict::Verdict;
use super::super::wording::{from_the, hear, octant, sector};
use crate::rng::Rng;

/// Where a source would be after a turn.
pub fn rotate_observer(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let steps = if rng.below(2) == 0 { 90 } else { 30 };
    let turn = (steps * (1 + rng.below(360 / steps - 1))) as i64;
    // Turning right is a negative turn to the left.
    let turn = if turn > 180 { turn - 360 } else { turn };
    let turn_deg = turn as f64;
    let by = match turn {
        180 => "180°".to_string(),
        t if t > 0 => format!("{t}° to the left"),
        t => format!("{}° to the right", -t),
    };
    let (label, azimuth) = (c.label(source), c.facts.azimuth_deg(source, turn_deg));
    let is = agree(label, "is", "are");
    let (kind, choices) = if steps == 90 {
        let right = sector(azimuth);
        let choice = |i: usize| {
            let at = (right + i) % 4;
            let claim = Claim::Sector { source, centre_deg: 90.0 * at as f64, width_deg: 90.0, turn_deg };
            Choice::new(SECTORS[at], claim)
        };
        ("side after a turn", [choice(0), choice(1), choice(2), choice(3)])
    } else {
        let mut azimuths = vec![azimuth];
        azimuths.extend((0..c.facts.count()).filter(|&i| i != source).map(|i| c.facts.azimuth_deg(i, turn_deg)));
        while azimuths.len() < 4 {
            let (facts, i) = c.pool.any(rng);
            azimuths.push(facts.azimuth_deg(i, turn_deg));
        }
        if !all_apart(&azimuths, |a, b| turn_between_deg(*a, *b).abs() >= 20.0) {
            return None;
        }
        let choice = |deg: f64| Choice::new(c.azimuth(deg), Claim::Azimuth { source, deg, turn_deg });
        ("azimuth after a turn", [choice(azimuths[0]), choice(azimuths[1]), choice(azimuths[2]), choice(azimuths[3])])
    };
    let question = match (rng.below(2), kind) {
        (0, "side after a turn") => format!("If you turn around by {by}, on which side would the {label} be?"),
        (_, "side after a turn") => format!("The listener turns {by}. Where {is} the {label} then?"),
        (0, _) => format!("If you turn around by {by}, at what azimuth would the {label} be?"),
        _ => format!(
            "The listener turns {by}. What is the new azimuth of the {label}, counter-clockwise from the front?"
        ),
    };
    let before = c.facts.azimuth_deg(source, 0.0);
    let verb = format!("After the turn its azimuth goes from about {before:.0}° to {azimuth:.0}°.");
    Some(Draft {
        kind,
        context: by,
        reasoning: format!("{} {verb}", hear(c, &[source])),
        open: Some([question.clone(), format!("It would be at {}.", choices[0].text)]),
        choices,
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
    if others.is_empty() {
        return None;
    }
    let other = others[rng.below(others.len())];
    let side = |i: usize| octant(facts.azimuth_deg(i, 0.0));
    let choices = grid(|first, second| {
        let (i, direction) = (if first { source } else { other }, side(if second { source } else { other }));
        let sector = Claim::Sector { source: i, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
        Choice::new(format!("the {}, {}", c.label(i), from_the(direction)), Claim::both(out(i), sector))
    });
    let question = match rng.below(3) {
        0 => format!("Identify the source that is {word} and state its direction."),
        1 => format!("Which sound is {word}, and where does it come from?"),
        _ => format!("Name the sound that is {word} together with its direction."),
    };
    let all: Vec<usize> = (0..facts.count()).collect();
    Some(Draft {
        kind: "multi-hop",
        context: word.into(),
        reasoning: format!("{} Of these, {word}: the {}.", hear(c, &all), c.label(source)),
        open: Some([question.clone(), format!("It is {}.", choices[0].text)]),
        choices,
        question,
    })
}
