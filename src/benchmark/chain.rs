//! Chains of thought: what is heard of every source that matters, what follows, step by step.
//!
//! A chain names the quantities that the options of its question are about, so that who reads it alone finds the right
//! option; its numbers are rounded to what a listener might say (whole degrees, tenths of metres and seconds).

use super::draft::{Context, agree};
use super::facts::OCTANTS;
use super::phrases::{fill, say};
use super::wording::{capital, join, octant};
use crate::rng::Rng;

/// What a chain tells of a source, beside its name and direction word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aspects {
    /// Its azimuth in degrees.
    pub azimuth: bool,
    /// Its elevation in degrees.
    pub elevation: bool,
    /// Its distance.
    pub distance: bool,
}

impl Aspects {
    /// Where a source is, as a direction word and a distance.
    pub const NEAR_OR_FAR: Aspects = Aspects { azimuth: false, elevation: false, distance: true };
    /// Which way a source lies, in degrees.
    pub const WAY: Aspects = Aspects { azimuth: true, elevation: false, distance: false };
    /// Which way a source lies, as a word.
    pub const SIDE: Aspects = Aspects { azimuth: false, elevation: false, distance: false };
    /// How high a source is.
    pub const HEIGHT: Aspects = Aspects { azimuth: false, elevation: true, distance: false };
    /// How high and how far a source is.
    pub const HEIGHT_AND_DISTANCE: Aspects = Aspects { azimuth: false, elevation: true, distance: true };
    /// All of it.
    pub const PLACE: Aspects = Aspects { azimuth: true, elevation: true, distance: true };
}

/// Sentences about a list of sounds.
const LISTS: [&str; 10] = [
    "I hear {list}.",
    "I can hear {list}.",
    "Audible here: {list}.",
    "In this recording I hear {list}.",
    "Listening closely, I find {list}.",
    "What I hear: {list}.",
    "The scene lets me hear {list}.",
    "I make out {list}.",
    "Heard from where I stand: {list}.",
    "First, what I hear: {list}.",
];

/// An elevation as a listener might say it.
pub fn height(degrees: f64) -> String {
    match degrees.round() {
        d if d > 0.0 => format!("{d:.0}° above ear level"),
        d if d < 0.0 => format!("{:.0}° below ear level", -d),
        _ => "at ear level".into(),
    }
}

/// What is heard of the sources, in one of many forms.
pub fn evidence(c: &Context, rng: &mut Rng, sources: &[usize], aspects: Aspects) -> String {
    match rng.below(4) {
        // Each in a sentence of its own.
        0 => sources.iter().map(|&i| sentence(c, i, aspects)).collect::<Vec<_>>().join(" "),
        form => {
            let items: Vec<String> = sources.iter().map(|&i| item(c, i, aspects, form == 1)).collect();
            say(rng, &LISTS, &[("list", &join(&items))])
        }
    }
}

/// "the rain from the rear-left, 12° above ear level, about 2.1 m away", or the same in brackets.
fn item(c: &Context, i: usize, aspects: Aspects, bracketed: bool) -> String {
    let (facts, label) = (c.facts, c.label(i));
    let azimuth = facts.azimuth_deg(i, 0.0);
    let direction = OCTANTS[octant(azimuth)];
    let mut parts = vec![];
    if bracketed {
        parts.push(direction.to_string());
        parts.extend(aspects.azimuth.then(|| format!("azimuth {}", c.rounded(azimuth))));
        parts.extend(aspects.elevation.then(|| format!("elevation {:.0}°", facts.elevation_deg(i) + 0.0)));
        parts.extend(aspects.distance.then(|| format!("{:.1} m", facts.distance_m(i))));
        return format!("the {label} ({})", parts.join(", ")).replace("-0°", "0°");
    }
    parts.push(match aspects.azimuth {
        true => format!("the {label} from the {direction} at azimuth {}", c.rounded(azimuth)),
        false => format!("the {label} from the {direction}"),
    });
    parts.extend(aspects.elevation.then(|| height(facts.elevation_deg(i))));
    parts.extend(aspects.distance.then(|| format!("about {:.1} m away", facts.distance_m(i))));
    parts.join(", ")
}

/// "The rain comes from the rear-left; it is about 2.1 m away."
fn sentence(c: &Context, i: usize, aspects: Aspects) -> String {
    let (facts, label) = (c.facts, c.label(i));
    let azimuth = facts.azimuth_deg(i, 0.0);
    let (comes, it_is) = (agree(label, "comes", "come"), agree(label, "it is", "they are"));
    let mut text = format!("The {label} {comes} from the {}", OCTANTS[octant(azimuth)]);
    if aspects.azimuth {
        text += &format!(", azimuth {}", c.rounded(azimuth));
    }
    let mut rest = vec![];
    rest.extend(aspects.elevation.then(|| height(facts.elevation_deg(i))));
    rest.extend(aspects.distance.then(|| format!("about {:.1} m away", facts.distance_m(i))));
    if !rest.is_empty() {
        text += &format!("; {it_is} {}", join(&rest));
    }
    text + "."
}

/// Evidence and what follows from it: one of `steps`, filled.
pub fn chain(
    c: &Context,
    rng: &mut Rng,
    (sources, aspects): (&[usize], Aspects),
    steps: &[&str],
    gaps: &[(&str, &str)],
) -> String {
    let heard = evidence(c, rng, sources, aspects);
    let step = capital(&fill(steps[rng.below(steps.len())], gaps));
    format!("{heard} {step}")
}

/// Last sentences of a chain.
const ENDS: [&str; 8] = [
    "The answer: {option}",
    "So the right option is {option}",
    "Hence the answer is {option}",
    "That is the option {option}",
    "This agrees with {option}",
    "I choose {option}",
    "The option that fits: {option}",
    "Therefore: {option}",
];

/// Reasoning that ends in what the chosen option says. A model finds an option that it has just said long before it learns to
/// compare one with a conclusion in other words, and a decoder that cannot find it learns nothing of the rest.
pub(super) fn concluded(reasoning: &str, answer: &str, rng: &mut Rng) -> String {
    let ending = |text: &str| text.trim_end_matches(['.', '"']).to_lowercase();
    if ending(reasoning).ends_with(&ending(answer)) {
        return reasoning.to_string();
    }
    let end = if answer.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{reasoning} {}{end}", say(rng, &ENDS, &[("option", answer)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_ends_in_what_the_option_says() {
        let mut rng = Rng::new(1, "ends", 0);
        assert_eq!(concluded("I hear Rain.", "rain", &mut rng), "I hear Rain.");
        for (answer, end) in [("12 m", "12 m."), ("\"Stop!\" he said.", "he said."), ("Is it?", "Is it?")] {
            for _ in 0..20 {
                let whole = concluded("I hear it.", answer, &mut rng);
                assert!(whole.starts_with("I hear it. ") && whole.ends_with(end) && whole.contains(answer), "{whole}");
            }
        }
    }
}
