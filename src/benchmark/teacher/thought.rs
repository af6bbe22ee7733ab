//! The chain of thought of a question that a teacher wrote: in our words, from the claim behind its key, so that no text of
//! the teacher's is learnt as a thought. Evidence of every sound that matters, what follows, and what the option says.

use super::super::chain::{Aspects, concluded, evidence};
use super::super::claims::{Claim, Extreme, Region, Side};
use super::super::draft::Context;
use super::super::wording::{hear, number};
use crate::rng::Rng;

/// Longest chain in characters (field notes 5.4: up to here its length costs nothing), and shortest.
const CHARS_MAX: usize = 400;
const CHARS_MIN: usize = 40;
/// Draws of a wording that fits.
const TRIES: usize = 8;

/// What is heard, what of the answer follows from it, and the answer.
pub(super) fn reasoning(context: &Context, right: &Claim, option: &str) -> String {
    let sources = sources(context, right);
    let aspects = aspects(right);
    let mut conclusions = Vec::new();
    conclude(context, right, &mut conclusions);
    conclusions.dedup();
    let follows = conclusions.join(" ");
    // Any number that depends on the question alone: the same question has the same chain.
    let index = option.bytes().fold(sources.len() as u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(b)));
    let mut rng = Rng::new(0, "teacher chain", index);
    let mut all: Vec<String> =
        (0..TRIES).map(|_| format!("{} {follows}", evidence(context, &mut rng, &sources, aspects))).collect();
    all.push(format!("{} {follows}", hear(context, &sources)));
    all.push(format!("I hear it in this scene. {follows}"));
    all.push("I hear it in this scene, and nothing else fits.".into());
    let whole = all.into_iter().map(|text| concluded(text.trim(), option, &mut rng)).collect::<Vec<_>>();
    let fits = |text: &&String| (CHARS_MIN..=CHARS_MAX).contains(&text.chars().count());
    whole.iter().find(fits).unwrap_or(&whole[whole.len() - 1]).clone()
}

/// The sounds that the answer rests on.
fn sources(context: &Context, claim: &Claim) -> Vec<usize> {
    let without = without(claim);
    let all = || (0..context.facts.count()).filter(|i| Some(*i) != without).collect();
    let mut sources = claim.sources();
    sources.sort_unstable();
    sources.dedup();
    // What stands out does so among the others; counts are of all.
    if sources.is_empty() || without.is_some() || compares(claim) { all() } else { sources }
}

fn without(claim: &Claim) -> Option<usize> {
    match claim {
        Claim::All { of } => of.iter().find_map(without),
        Claim::Remain { without, .. } => Some(*without),
        Claim::StandsOut { without, .. } => *without,
        _ => None,
    }
}

fn compares(claim: &Claim) -> bool {
    match claim {
        Claim::All { of } => of.iter().any(compares),
        Claim::StandsOut { .. } | Claim::Called { .. } => true,
        _ => false,
    }
}

/// What of the sounds must be told.
fn aspects(claim: &Claim) -> Aspects {
    let both = |a: Aspects, b: Aspects| Aspects {
        azimuth: a.azimuth || b.azimuth,
        elevation: a.elevation || b.elevation,
        distance: a.distance || b.distance,
    };
    let of_region = |region: &Region| match region {
        Region::Anywhere => Aspects::SIDE,
        Region::Above | Region::Below => Aspects::HEIGHT,
        Region::Near => Aspects::NEAR_OR_FAR,
        _ => Aspects::WAY,
    };
    match claim {
        Claim::All { of } => of.iter().map(aspects).fold(Aspects::SIDE, both),
        Claim::Count { region, .. } | Claim::Remain { region, .. } => of_region(region),
        Claim::Azimuth { .. } | Claim::Sector { .. } | Claim::Beside { .. } | Claim::Together { .. } => Aspects::WAY,
        Claim::Elevation { .. } | Claim::ElevationWithin { .. } | Claim::Above { .. } => Aspects::HEIGHT,
        Claim::StandsOut { what: Extreme::Highest | Extreme::Lowest, .. } => Aspects::HEIGHT,
        Claim::Direction { .. } => Aspects { azimuth: true, elevation: true, distance: false },
        Claim::Distance { .. }
        | Claim::CloserBy { .. }
        | Claim::CloserWithin { .. }
        | Claim::Near { .. }
        | Claim::Called { .. }
        | Claim::StandsOut { .. } => Aspects::NEAR_OR_FAR,
        _ => Aspects::SIDE,
    }
}

fn conclude(context: &Context, claim: &Claim, sentences: &mut Vec<String>) {
    let (facts, label) = (context.facts, |i: usize| context.label(i));
    let room = facts.room();
    let sentence = match claim {
        Claim::All { of } => return of.iter().for_each(|part| conclude(context, part, sentences)),
        Claim::Count { n, .. } => format!("Counting gives {}.", number(*n)),
        Claim::Azimuth { source, turn_deg: 0.0, .. } => {
            format!("Its azimuth is about {:.0}°.", facts.azimuth_deg(*source, 0.0))
        }
        Claim::Azimuth { source, turn_deg, .. } | Claim::Sector { source, turn_deg, .. } if *turn_deg != 0.0 => {
            let (before, after) = (facts.azimuth_deg(*source, 0.0), facts.azimuth_deg(*source, *turn_deg));
            format!("After the turn its azimuth goes from about {before:.0}° to {after:.0}°.")
        }
        Claim::Elevation { source, .. } | Claim::ElevationWithin { source, .. } => {
            let elevation = facts.elevation_deg(*source);
            let side = if elevation > 0.0 { "above" } else { "below" };
            format!("It sounds about {:.0}° {side} ear level.", elevation.abs())
        }
        Claim::Says { text, .. } => format!("The voice says \"{text}\"."),
        Claim::RoomSize { .. } | Claim::RoomFinish { .. } | Claim::ReverberationTime { .. } => {
            let (measured, size, finish) = (facts.reverberation_s().unwrap_or(room.rt60_s), &room.size, &room.finish);
            format!("I hear the room answer for about {measured:.1} s, as a {size} room with {finish} surfaces does.")
        }
        Claim::CloserBy { a, b, .. } => {
            let gap = facts.distance_m(*b) - facts.distance_m(*a);
            format!("The difference is about {gap:.1} m, and the {} is the closer one.", label(*a))
        }
        Claim::Beside { a, b, left, .. } => {
            format!("The {} is to the {} of the {}.", label(*a), if *left { "left" } else { "right" }, label(*b))
        }
        Claim::Above { a, higher, .. } => {
            format!("The {} is {}.", label(*a), if *higher { "higher" } else { "lower" })
        }
        Claim::StandsOut { source, what, .. } => {
            let word = match what {
                Extreme::Nearest => "nearest",
                Extreme::Farthest => "farthest",
                Extreme::Highest => "highest",
                Extreme::Lowest => "lowest",
            };
            format!("The {word} is the {}.", label(*source))
        }
        Claim::Near { source, near } => {
            format!("The {} is {}.", label(*source), if *near { "close by" } else { "far off" })
        }
        Claim::Together { together: true, .. } => "The two lie in one direction.".into(),
        Claim::Together { .. } => "The two lie on opposite sides.".into(),
        Claim::BeginsLast { source } => {
            format!("The {} begins last, at {:.1} s.", label(*source), facts.begins_s(*source))
        }
        Claim::Rings { .. } => {
            format!("Sounds fade within about {:.1} s.", facts.reverberation_s().unwrap_or(room.rt60_s))
        }
        Claim::Not { of } => impossible(context, of),
        _ => return,
    };
    sentences.push(sentence);
}

/// Why something cannot be in this room.
fn impossible(context: &Context, claim: &Claim) -> String {
    let facts = context.facts;
    let words = |side: Side| match side {
        Side::Front => "in front",
        Side::Left => "to the left",
        Side::Back => "behind",
        Side::Right => "to the right",
        Side::Up => "up",
    };
    match *claim {
        Claim::Wall { side, m } => {
            let (there, way) = (facts.extent_m(side), words(side));
            format!("One sound is {there:.1} m {way}: nothing only {m:.1} m away could bound the room there.")
        }
        Claim::Reach { side, m } => {
            let (wall, way) = (facts.wall_m(side), words(side));
            format!("The room ends about {wall:.1} m {way}, and {m:.1} m is beyond that.")
        }
        Claim::ReverberationTime { s } => {
            let measured = facts.reverberation_s().unwrap_or(facts.room().rt60_s);
            format!("Sounds fade within about {measured:.1} s here, so {s:.1} s cannot be.")
        }
        _ => String::new(),
    }
}
