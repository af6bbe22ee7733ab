//! Words for what is heard, shared by the tasks.

use super::draft::{Context, agree};
use super::facts::{OCTANTS, around};
use crate::text::numbers::BELOW_TWENTY;

/// The direction word of an azimuth, of eight.
pub fn octant(azimuth_deg: f64) -> usize {
    (around(azimuth_deg + 22.5) / 45.0) as usize % 8
}

/// The direction word of an azimuth, of four: 0 front, 1 left, 2 back, 3 right.
pub fn sector(azimuth_deg: f64) -> usize {
    (around(azimuth_deg + 45.0) / 90.0) as usize % 4
}

/// A place relative to the listener: "from the rear-left".
pub fn from_the(octant: usize) -> String {
    format!("from the {}", OCTANTS[octant])
}

/// What is heard of a source: "the rain comes from the rear-left, about 2.1 m away".
pub fn heard(context: &Context, source: usize) -> String {
    let facts = context.facts;
    let place = from_the(octant(facts.azimuth_deg(source, 0.0)));
    let label = &facts.labels[source];
    format!("the {label} {} {place}, about {:.1} m away", agree(label, "comes", "come"), facts.distance_m(source))
}

/// What is heard of several sources, as a sentence.
pub fn hear(context: &Context, sources: &[usize]) -> String {
    let parts: Vec<String> = sources.iter().map(|&s| heard(context, s)).collect();
    format!("I hear that {}.", join(&parts))
}

/// "a", "a and b", "a, b and c".
pub fn join(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A small number in words.
pub fn number(n: usize) -> String {
    BELOW_TWENTY.get(n).map_or_else(|| n.to_string(), |w| w.to_string())
}

/// As an answer to "how many": "none" for 0.
pub fn how_many(n: usize) -> String {
    if n == 0 { "none".into() } else { number(n) }
}

/// The first letter in upper case.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_have_words() {
        let words: Vec<&str> =
            [0.0, 22.4, 22.6, 90.0, 180.0, 242.52, 337.6, 359.99].map(|a| OCTANTS[octant(a)]).to_vec();
        assert_eq!(words, ["front", "front", "front-left", "left", "rear", "rear-right", "front", "front"]);
        assert_eq!([0.0, 46.0, 134.0, 136.0, 270.0, 314.0, 316.0].map(sector), [0, 1, 1, 2, 3, 3, 0]);
        assert_eq!(join(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!((how_many(0), how_many(2)), ("none".into(), "two".into()));
        assert_eq!((number(3), number(25), capital("the dog")), ("three".into(), "25".into(), "The dog".into()));
    }
}
