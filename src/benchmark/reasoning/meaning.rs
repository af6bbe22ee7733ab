//! What is going on, and what a sound is for: [`situations`](super::super::situations) whose sounds are all there, so that
//! places, room and order decide.

use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, agree, grid, one_of};
use super::super::facts::OCTANTS;
use super::super::situations::{Cast, WORDINGS, casts};
use super::super::verdict::Verdict;
use super::super::wording::{capital, join, octant};
use crate::rng::Rng;
use crate::sim::scripts::Contrast;

/// The four combinations of two opposites, the true one first; `None` where the scene is at no side of one.
fn sides(c: &Context, claim: impl Fn(bool, bool) -> Claim) -> Option<(bool, bool)> {
    let all = [(false, false), (false, true), (true, false), (true, true)];
    all.into_iter().find(|&(a, b)| claim(a, b).verdict(c.facts) == Verdict::True)
}

/// A script of the scene, at random.
fn any_cast(c: &Context, rng: &mut Rng) -> Option<Cast> {
    let all = casts(c.facts);
    (!all.is_empty()).then(|| all[rng.below(all.len())])
}

/// What is going on.
pub fn scene_abduction(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let cast = any_cast(c, rng)?;
    let (first, second) = sides(c, |a, b| cast.situation_claim([a, b]))?;
    let wording = rng.below(WORDINGS);
    let choices = grid(|is_first, is_second| {
        let sides = [first == is_first, second == is_second];
        Choice::new(cast.situation(sides, wording), cast.situation_claim(sides))
    });
    let question = one_of(
        rng,
        &[
            "What is the most plausible explanation of this scene?",
            "What is most likely going on here?",
            "Which situation explains the sounds best?",
            "Taken together, what do the sounds, their places and the room tell?",
            "Which account fits everything that can be heard?",
            "What would somebody who hears this scene say is happening?",
        ],
    );
    let lead =
        one_of(rng, &["So", "Together this means that", "What fits all of it:", "Hence", "The likeliest reading:"]);
    Some(Draft {
        kind: "situation",
        context: cast.script.id.into(),
        question: question.into(),
        reasoning: format!("{} {lead} {}.", evidence(c, rng, &cast, &cast.script.contrasts), choices[0].text),
        open: Some([question.into(), format!("{}.", capital(&choices[0].text))]),
        choices,
    })
}

/// What the sound that begins last is for.
pub fn causal_intent(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let cast = any_cast(c, rng)?;
    cast.purpose(false, false)?;
    let (reversed, side) = sides(c, |reversed, side| cast.purpose_claim(reversed, side))?;
    let choices = grid(|is_first, is_second| {
        let (reversed, side) = (reversed == is_first, side == is_second);
        Choice::new(cast.purpose(reversed, side).expect("all or none"), cast.purpose_claim(reversed, side))
    });
    let question = one_of(
        rng,
        &[
            "What is the sound that begins last most likely for?",
            "Follow the order of the sounds: what is the last one to begin meant to do?",
            "What does whoever makes the sound that begins last probably want?",
            "One sound begins after the others. Why, most likely?",
            "What is the most plausible purpose of the sound that sets in last?",
        ],
    );
    let heard = evidence(c, rng, &cast, &cast.script.contrasts[..1]);
    let order = when(c, rng, &cast, reversed);
    let lead =
        one_of(rng, &["It is there", "So it is meant", "Its purpose is then", "After that it serves", "It comes"]);
    Some(Draft {
        kind: "purpose",
        context: cast.script.id.into(),
        question: question.into(),
        reasoning: format!("{heard} {order} {lead} {}.", choices[0].text),
        open: Some([question.into(), format!("{}.", capital(&choices[0].text))]),
        choices,
    })
}

/// What is heard of the players, as far as some contrasts need it: sentences.
fn evidence(c: &Context, rng: &mut Rng, cast: &Cast, contrasts: &[Contrast]) -> String {
    let facts = c.facts;
    let of = |k: usize| {
        let i = cast.players[k];
        let (label, from) = (c.label(i), OCTANTS[octant(facts.azimuth_deg(i, 0.0))]);
        let mut parts = vec![format!("the {label} from the {from}")];
        if contrasts.contains(&Contrast::Nearness) {
            parts.push(format!("about {:.1} m away", facts.distance_m(i)));
        }
        if contrasts.contains(&Contrast::Height) && k == 0 {
            let elevation = facts.elevation_deg(i);
            let side = if elevation > 0.0 { "above" } else { "below" };
            parts.push(format!("{:.0}° {side} ear level", elevation.abs()));
        }
        parts.join(", ")
    };
    let heard = one_of(rng, &["I hear", "What I hear is", "There is to hear", "From what I hear, there is"]);
    let mut sentences = vec![format!("{heard} {} and {}.", of(0), of(1))];
    let compared: Vec<String> = contrasts.iter().filter_map(|contrast| comparison(c, cast, *contrast)).collect();
    if !compared.is_empty() {
        sentences.push(format!("{}.", capital(&join(&compared))));
    }
    sentences.join(" ")
}

/// What decides a contrast: a clause.
fn comparison(c: &Context, cast: &Cast, contrast: Contrast) -> Option<String> {
    let (facts, [a, b]) = (c.facts, cast.players);
    let (first, second) = (c.label(a), c.label(b));
    let is = |label: &str| agree(label, "is", "are").to_string();
    Some(match contrast {
        Contrast::Nearness => {
            let near = if facts.distance_m(a) < facts.distance_m(b) { first } else { second };
            format!("the {near} {} much closer", is(near))
        }
        Contrast::Direction => {
            let direction = facts.direction(b);
            let (azimuth, elevation) = crate::audio::foa::angles_deg(direction);
            format!("the two lie {:.0}° apart", facts.angle_to_deg(a, azimuth, elevation))
        }
        Contrast::Facing => {
            let ahead = |i: usize| facts.direction(i)[0] > 0.0;
            let front = if ahead(a) { first } else { second };
            format!("only the {front} {} in front", is(front))
        }
        Contrast::Height => return None,
        Contrast::Ringing => format!("sounds take {:.1} s to fade here", facts.reverberation_s()?),
    })
}

/// Who begins when: a sentence.
fn when(c: &Context, rng: &mut Rng, cast: &Cast, reversed: bool) -> String {
    let [mut first, mut last] = cast.players;
    if reversed {
        (first, last) = (last, first);
    }
    let (early, late) = (c.facts.begins_s(first), c.facts.begins_s(last));
    let (first, last) = (c.label(first), c.label(last));
    let begins = |label: &str| agree(label, "begins", "begin").to_string();
    match rng.below(3) {
        0 => format!("The {first} {} at {early:.1} s, the {last} only at {late:.1} s.", begins(first)),
        1 => format!(
            "First there {} the {first} ({early:.1} s), then the {last} ({late:.1} s).",
            agree(first, "is", "are")
        ),
        _ => format!("The {last} {} {:.1} s after the {first}.", begins(last), late - early),
    }
}
