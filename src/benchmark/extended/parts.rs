//! What several of these tasks share: names and places as claims, moments, and what is heard when.

use super::super::claims::Claim;
use super::super::draft::{Context, agree};
use super::super::facts::{Facts, OCTANTS};
use super::super::phrases::say;
use super::super::wording::{join, octant};
use crate::rng::Rng;

/// Who sounds from so soon after the start of the recording until so shortly before its end sounds all the time.
const ALL_THE_TIME_S: f64 = 0.15;

/// What a text that names a sound asserts by that.
pub(super) fn called(c: &Context, source: usize) -> Claim {
    Claim::Called { source, label: c.label(source).into() }
}

/// A source lies in one of the eight directions.
pub(super) fn in_direction(source: usize, octant: usize) -> Claim {
    Claim::Sector { source, centre_deg: 45.0 * octant as f64, width_deg: 45.0, turn_deg: 0.0 }
}

/// Which of the eight directions a source lies in.
pub(super) fn direction(c: &Context, source: usize) -> usize {
    octant(c.facts.azimuth_deg(source, 0.0))
}

/// Whether a source begins or ends within the recording.
pub(super) fn is_staged(facts: &Facts, source: usize) -> bool {
    facts.begins_s(source) > ALL_THE_TIME_S || facts.ends_s(source) < facts.truth.seconds - ALL_THE_TIME_S
}

/// Two named sources that begin or end within the recording, in random order.
pub(super) fn staged_pair(c: &Context, rng: &mut Rng) -> Option<(usize, usize)> {
    let mut named: Vec<usize> = c.facts.named.iter().copied().filter(|&i| is_staged(c.facts, i)).collect();
    rng.shuffle(&mut named);
    (named.len() >= 2).then(|| (named[0], named[1]))
}

/// The one of two that begins first, and the other.
pub(super) fn by_onset(c: &Context, (x, y): (usize, usize)) -> (usize, usize) {
    if c.facts.begins_s(x) < c.facts.begins_s(y) { (x, y) } else { (y, x) }
}

/// A moment as a listener might tell it.
pub(super) fn to_half_s(s: f64) -> f64 {
    (2.0 * s).round() / 2.0
}

/// The words of a pair that agree with the names of two sources, with the names: `x`, `y`, `is`, `isy`, `begins`, ..
pub(super) fn names<'a>(c: &'a Context, x: usize, y: usize) -> [(&'static str, &'a str); 7] {
    let (x, y) = (c.label(x), c.label(y));
    [
        ("x", x),
        ("y", y),
        ("is", agree(x, "is", "are")),
        ("isy", agree(y, "is", "are")),
        ("does", agree(x, "does", "do")),
        ("begins", agree(x, "begins", "begin")),
        ("it", agree(x, "it", "they")),
    ]
}

/// Sentences about when sounds are heard.
const TIMES: [&str; 6] = [
    "I hear {list}.",
    "In time I find {list}.",
    "Following the recording, I hear {list}.",
    "What sounds when: {list}.",
    "Listening from start to end: {list}.",
    "The recording lets me hear {list}.",
];

/// What is heard when, and from where: "the rain from the left (0.0 to 2.5 s)".
pub(super) fn when(c: &Context, rng: &mut Rng, sources: &[usize]) -> String {
    let named = sources.iter().map(|&i| (format!("the {}", c.label(i)), i));
    told_when(c, rng, named.collect())
}

/// [`when`] of sounds that are told by their places alone.
pub(super) fn when_from(c: &Context, rng: &mut Rng, sources: &[usize]) -> String {
    told_when(c, rng, sources.iter().map(|&i| ("a sound".to_string(), i)).collect())
}

fn told_when(c: &Context, rng: &mut Rng, sounds: Vec<(String, usize)>) -> String {
    let form = rng.below(3);
    let item = |(what, i): (String, usize)| {
        let (from, to) = (to_half_s(c.facts.begins_s(i)), to_half_s(c.facts.ends_s(i)));
        let way = OCTANTS[direction(c, i)];
        match form {
            0 => format!("{what} from the {way} ({from:.1} to {to:.1} s)"),
            1 => format!("{what} from the {way} between {from:.1} and {to:.1} s"),
            _ => format!("from {from:.1} to {to:.1} s {what} from the {way}"),
        }
    };
    let items: Vec<String> = sounds.into_iter().map(item).collect();
    say(rng, &TIMES, &[("list", &join(&items))])
}
