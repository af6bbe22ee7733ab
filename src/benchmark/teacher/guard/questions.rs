//! Whether a question asks what its claims answer.

use super::super::super::claims::{Claim, Region};
use super::super::super::facts::{Facts, is_rounded, is_rounded_direction};
use super::super::super::task::Task;
use super::super::super::verdict::Verdict;
use super::super::outcome::Outcome;
use super::atoms::Atom;
use super::forms::{direction, extreme, region};
use super::options::is_source;
use super::pattern::{in_any_order, is_any, is_like};
use super::skeleton::{Skeleton, mention, number, octant_token, with_octants};
use crate::sources::Domain;

/// A question, and what it leaves to its options.
pub(super) struct Question {
    /// Without conventions, alternatives and topics.
    tokens: Vec<String>,
    /// Its skeleton as it was.
    whole: Skeleton,
    /// Whether its numbers may be whole ones, for want of decimals.
    may_be_whole: bool,
}

/// Sides that angles are counted from, when questions say how.
const CONVENTIONS: [(&str, &str); 13] = [
    ("0deg", "front"),
    ("90deg", "left"),
    ("180deg", "back"),
    ("-180deg", "back"),
    ("270deg", "right"),
    ("-90deg", "right"),
    ("0deg", "ear"),
    ("90deg", "up"),
    ("-90deg", "down"),
    ("pos", "up"),
    ("negative", "down"),
    ("pos", "left"),
    ("ccw", "front"),
];
/// Sides that are only offered when they stand beside each other.
const ALTERNATIVES: [(&str, &str); 4] = [("left", "right"), ("up", "down"), ("near", "far"), ("front", "back")];

impl Question {
    pub(super) fn new(whole: Skeleton, task: Task, facts: &Facts, may_be_whole: bool) -> Question {
        let tokens = without_conventions(&whole.tokens);
        let tokens = without_alternatives(tokens);
        let is_known_count = |t: &String| is_known_count(t, task, facts);
        let is_idle = |t: &String| {
            ["az", "el", "wall", "ceiling"].contains(&t.as_str())
                || t == "ear"
                || t == "ccw" && task != Task::RotateObserver
                || t == "60db"
                || is_known_count(t)
                || t.strip_prefix("unit:")
                    .is_some_and(|unit| Some(unit) == unit_of(task) || task == Task::CompareDistances && unit == "m")
        };
        let mut kept: Vec<String> = tokens.into_iter().filter(|t| !is_idle(t)).collect();
        kept.dedup_by(|a, b| a == b && is_source(a));
        Question { tokens: kept, whole, may_be_whole }
    }

    /// The unit that it names.
    pub(super) fn unit(&self, task: Task) -> Option<&'static str> {
        let unit = unit_of(task)?;
        self.whole.tokens.iter().any(|t| t.strip_prefix("unit:") == Some(unit)).then_some(unit)
    }

    fn has(&self, token: &str) -> bool {
        self.whole.tokens.iter().any(|t| t == token)
    }

    /// Whether it asks for the closer one, and whether for the farther one.
    pub(super) fn closer_or_farther(&self) -> (bool, bool) {
        (self.has("near") || self.has("nearest"), self.has("far") || self.has("farthest"))
    }

    /// The region that it names, when the claims are about one.
    pub(super) fn region(&self, claims: &[Vec<Atom>; 4]) -> Option<Region> {
        let part = claims[0].iter().rev().find_map(|a| match a.claim {
            Claim::Count { region, .. } if region != Region::Anywhere => Some(region),
            _ => None,
        })?;
        is_any(&self.tokens, &region(part)).then_some(part)
    }

    /// Whether it asks what is going on, or what the last sound is for, and names nothing else.
    pub(super) fn asks_openly(&self) -> bool {
        is_like(&self.tokens, "last?") && self.is_about(&[], &["az", "el", "dist", "count"])
    }

    /// Whether topics are among the question's: one of `some` (any, where there are none), and none of `not`.
    fn is_about(&self, some: &[&str], not: &[&str]) -> bool {
        let has = |topic: &&str| self.whole.topics.contains(topic) || self.has(topic);
        (some.is_empty() || some.iter().any(has)) && !not.iter().any(has)
    }
}

/// Whether a bare number tells nothing new: one of all, the sounds of the scene, two that are compared or remain, four options.
fn is_known_count(token: &str, task: Task, facts: &Facts) -> bool {
    let Some(n) = token.strip_prefix('n').and_then(|n| n.parse::<usize>().ok()) else { return false };
    let pairs = matches!(task, Task::CompareDistances | Task::RelativeDirection | Task::SourceRemoval);
    n == 1 || task != Task::CountObjects && (n == 4 || n == facts.count() || n == 2 && pairs)
}

/// The unit of a task's options.
fn unit_of(task: Task) -> Option<&'static str> {
    match task {
        Task::LocalizeAzimuth | Task::LocalizeElevation | Task::RotateObserver => Some("deg"),
        Task::EstimateDistance => Some("m"),
        Task::EnvironmentAcoustics => Some("s"),
        _ => None,
    }
}

fn without_conventions(tokens: &[String]) -> Vec<String> {
    let is_pair = |a: &str, b: &str| CONVENTIONS.iter().any(|(x, y)| (*x, *y) == (a, b) || (*y, *x) == (a, b));
    let (mut out, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let turns = out.last().is_some_and(|t: &String| t == "turn");
        // "Facing the front": as everybody does.
        let looks_ahead = tokens[at] == "facing" && tokens.get(at + 1).is_some_and(|t| t == "front");
        match tokens.get(at + 1) {
            Some(next) if !turns && (is_pair(&tokens[at], next) || looks_ahead) => at += 2,
            _ => {
                out.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    out
}

fn without_alternatives(tokens: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for token in tokens {
        let before = out.last().map(String::as_str).unwrap_or_default();
        let is_other = |(x, y): &(&str, &str)| (*x, *y) == (before, &token) || (*y, *x) == (before, &token);
        if ALTERNATIVES.iter().any(is_other) {
            out.pop();
        } else {
            out.push(token);
        }
    }
    out
}

/// Whether the question asks what the claims answer.
///
/// # Errors
/// What of it differs; `WrongClaims` when the claims answer different questions.
pub(super) fn asks(question: &Question, task: Task, facts: &Facts, claims: &[Vec<Atom>; 4]) -> Result<(), Outcome> {
    let agreed = agreed(task, claims).ok_or(Outcome::WrongClaims)?;
    if fits(question, task, facts, claims, &agreed) {
        return Ok(());
    }
    let tokens = &question.tokens;
    let denies = |t: &String| ["neg", "imposs", "removed"].contains(&t.as_str());
    let asks_for_it = matches!(task, Task::PhysicalConsistency | Task::SourceRemoval);
    Err(match () {
        _ if tokens.iter().any(denies) != asks_for_it => Outcome::OtherNegation,
        _ if tokens.iter().any(|t| t.starts_with("sound:") || t == "unknownsound") => Outcome::OtherSource,
        _ if tokens.iter().any(|t| t.starts_with(|c: char| c.is_ascii_digit() || c == '-')) => Outcome::OtherNumber,
        _ => Outcome::OtherWording,
    })
}

/// What the question must name, when all four claims agree on it.
fn agreed(task: Task, claims: &[Vec<Atom>; 4]) -> Option<String> {
    let of = |atoms: &Vec<Atom>| -> Option<String> {
        let all = atoms.iter().map(|a| key(task, a)).collect::<Option<Vec<_>>>()?;
        let mut all = all;
        all.sort();
        Some(all.join(" "))
    };
    let first = of(&claims[0])?;
    claims.iter().all(|c| of(c).as_ref() == Some(&first)).then_some(first)
}

/// What of a claim must be the same in all four.
fn key(task: Task, atom: &Atom) -> Option<String> {
    let subject: &str = match task {
        Task::BindIdentityLocationDistance | Task::SourceRemoval | Task::MultiHopQuery | Task::QueryIdentity => "",
        _ => &atom.subject,
    };
    Some(match &atom.claim {
        Claim::Count { region, .. } => format!("count {region:?}"),
        Claim::Present { .. } => "present".into(),
        Claim::Called { source, .. } => format!("called {source}"),
        Claim::Says { source, .. } => format!("says {source}"),
        Claim::Azimuth { turn_deg, .. } => format!("azimuth {subject} {turn_deg}"),
        Claim::Elevation { .. } => format!("elevation {subject}"),
        Claim::ElevationWithin { .. } => format!("band {subject}"),
        Claim::Distance { .. } => format!("distance {subject}"),
        Claim::Direction { .. } => format!("direction {subject}"),
        Claim::Sector { width_deg, turn_deg, .. } => format!("sector {subject} {width_deg} {turn_deg}"),
        Claim::CloserBy { a, b, .. } => format!("closer {} {}", a.min(b), a.max(b)),
        Claim::Beside { a, b, facing, .. } => format!("beside {a} {b} {facing}"),
        Claim::Above { a, b, .. } => format!("above {a} {b}"),
        Claim::StandsOut { what, without, .. } => format!("out {what:?} {without:?}"),
        Claim::RoomSize { .. } => "size".into(),
        Claim::RoomFinish { .. } => "finish".into(),
        Claim::ReverberationTime { .. } => "time".into(),
        Claim::Remain { region, without, .. } => format!("remain {region:?} {without}"),
        Claim::Not { .. } => "not".into(),
        _ => return None,
    })
}

fn fits(q: &Question, task: Task, facts: &Facts, claims: &[Vec<Atom>; 4], agreed: &str) -> bool {
    let (tokens, first) = (&q.tokens, &claims[0][0]);
    let subject = || vec![first.subject.clone()];
    let empty = tokens.is_empty();
    match (task, &first.claim) {
        (Task::CountObjects, _) => {
            let part = q.region(claims);
            let is_plain = agreed == "count Anywhere";
            let asks = q.is_about(&["count"], &["az", "el", "dist", "rev"]);
            let whole = claims[0].len() == 2;
            (asks || whole) && if is_plain { empty } else { part.is_some() || whole && empty }
        }
        (Task::IdentifyEventClass, _) => empty && q.is_about(&[], &["az", "el", "dist", "rev", "count", "dir"]),
        (Task::IdentifySpeechTranscript, _) => {
            let voices = (0..facts.count()).filter(|&i| facts.source(i).domain == Domain::Speech).count();
            voices == 1
                && (empty || *tokens == subject())
                && q.is_about(&[], &["az", "el", "dist", "rev", "count", "dir"])
        }
        (Task::LocalizeAzimuth, _) => {
            *tokens == subject() && q.is_about(&["az", "dir"], &["el", "dist", "rev", "count"])
        }
        (Task::LocalizeElevation, _) => {
            *tokens == subject() && q.is_about(&["el", "up", "down", "ear"], &["az", "dist", "rev", "count"])
        }
        (Task::EstimateDistance, _) => *tokens == subject() && q.is_about(&["dist"], &["az", "el", "rev", "count"]),
        (Task::EnvironmentAcoustics, Claim::ReverberationTime { .. }) => {
            empty && q.is_about(&["rev"], &["az", "el", "dist", "count"])
        }
        (Task::EnvironmentAcoustics, _) => empty && q.is_about(&["room", "rev"], &["az", "el", "dist", "count"]),
        (Task::BindIdentityLocationDistance, _) => empty && q.is_about(&[], &["count", "rev"]),
        (Task::QueryLocation, _) => *tokens == subject() && q.is_about(&[], &["count", "rev"]),
        (Task::QueryIdentity, Claim::Called { source, .. }) => *source < facts.count() && at_place(q, facts, *source),
        (Task::CompareDistances, Claim::CloserBy { a, b, .. }) => {
            let both = [a, b].map(|i| vec![mention(facts, &facts.labels[*i])]);
            let idle = ["near", "far", "nearest", "farthest", "than"];
            let named: Vec<String> = tokens.iter().filter(|t| !idle.contains(&t.as_str())).cloned().collect();
            in_any_order(&named, &both) && q.is_about(&[], &["az", "el", "count", "rev"])
        }
        (Task::RelativeDirection, Claim::Beside { .. } | Claim::Above { .. }) => related(tokens, facts, &claims[0]),
        (Task::RotateObserver, Claim::Azimuth { turn_deg, .. }) => {
            q.is_about(&["az", "dir"], &["el", "dist", "count"]) && turned(tokens, *turn_deg, &first.subject)
        }
        (Task::RotateObserver, Claim::Sector { turn_deg, .. }) => {
            q.is_about(&[], &["el", "dist", "count", "az"])
                && widths_fit(claims)
                && turned(tokens, *turn_deg, &first.subject)
        }
        (Task::SourceRemoval, Claim::StandsOut { without: Some(without), .. } | Claim::Remain { without, .. }) => {
            let two_remain = facts.count() == 3 || !agreed.contains("remain");
            let is_same = |atom: &Atom| match &atom.claim {
                Claim::StandsOut { without: other, .. } => *other == Some(*without),
                Claim::Remain { without: other, .. } => other == without,
                _ => false,
            };
            two_remain && claims[0].iter().all(is_same) && {
                let label = mention(facts, &facts.labels[*without]);
                is_any(tokens, &[format!("removed {label}"), format!("{label} removed")])
            }
        }
        (Task::MultiHopQuery, Claim::StandsOut { what, without: None, .. }) => *tokens == [extreme(*what)],
        (Task::PhysicalConsistency, _) => *tokens == ["imposs"],
        _ => false,
    }
}

/// Sides after a turn are quarters, unless a direction between them is offered.
fn widths_fit(claims: &[Vec<Atom>; 4]) -> bool {
    let of = |atoms: &Vec<Atom>| match atoms[0].claim {
        Claim::Sector { centre_deg, width_deg, .. } => (centre_deg, width_deg),
        _ => (0.0, 0.0),
    };
    let all = claims.each_ref().map(of);
    let expected = if all.iter().all(|(centre, _)| centre.rem_euclid(90.0) == 0.0) { 90.0 } else { 45.0 };
    all.iter()
        .all(|(centre, width)| *width == expected && centre.rem_euclid(45.0) == 0.0 && (0.0..360.0).contains(centre))
}

/// A turn and a source, in any order.
fn turned(tokens: &[String], turn_deg: f64, subject: &str) -> bool {
    let turn = turn_deg.rem_euclid(360.0);
    let mut all = Vec::new();
    for (amount, side) in [(turn, "left/ccw"), (360.0 - turn, "right/cw")] {
        let amount = number(amount, "deg");
        all.push(format!("turn {amount} {side}"));
        all.push(format!("turn {side} {amount}"));
        all.push(format!("{amount} turn {side}"));
        all.push(format!("{amount} {side} turn"));
    }
    if turn == 180.0 {
        all.extend(["turn 180deg".into(), "180deg turn".into(), "turn back".into()]);
    }
    let bare: Vec<String> = tokens.to_vec();
    in_any_order(&bare, &[all.clone(), vec![subject.into()]])
        // "After the turn", once more.
        || tokens.last().is_some_and(|t| t == "turn") && in_any_order(&bare[..bare.len() - 1], &[all, vec![subject.into()]])
}

/// The place that a question tells is that of the source, and of no other.
fn at_place(q: &Question, facts: &Facts, source: usize) -> bool {
    let tokens = with_octants(&q.tokens);
    let metres = |t: &String| t.strip_suffix('m').and_then(|x| x.parse::<f64>().ok());
    let (told, place): (Vec<String>, Vec<String>) = tokens.into_iter().partition(|t| metres(t).is_some());
    // As it is rounded, and no other number: to one decimal, to two, or where the text has none to whole metres.
    let is_one = |m: f64, decimals: usize| is_rounded(m, facts.distance_m(source), decimals);
    let is_near = |m: f64| is_one(m, 1) || is_one(m, 2) || q.may_be_whole && is_one(m, 0);
    if told.len() > 1 || !told.iter().filter_map(metres).all(is_near) {
        return false;
    }
    let sector = |i: usize, octant: usize| {
        Claim::Sector { source: i, centre_deg: 45.0 * octant as f64, width_deg: 45.0, turn_deg: 0.0 }.verdict(facts)
    };
    let only = |octant: usize| {
        (0..facts.count()).all(|i| sector(i, octant) == if i == source { Verdict::True } else { Verdict::False })
    };
    (0..8).any(|octant| place == [octant_token(octant)] && only(octant)) || in_angles(&place, facts, source)
}

/// A place in two angles.
fn in_angles(place: &[String], facts: &Facts, source: usize) -> bool {
    let degrees: Vec<f64> = place.iter().filter_map(|t| t.strip_suffix("deg")?.parse().ok()).collect();
    let [azimuth_deg, elevation_deg] = degrees[..] else { return false };
    let at = |i: usize| Claim::Direction { source: i, azimuth_deg, elevation_deg }.verdict(facts);
    let only = (0..facts.count()).all(|i| at(i) == if i == source { Verdict::True } else { Verdict::False });
    only && is_rounded_direction(facts, source, azimuth_deg, elevation_deg)
        && is_any(place, &direction(azimuth_deg, elevation_deg))
}

/// One source relative to another.
fn related(tokens: &[String], facts: &Facts, claims: &[Atom]) -> bool {
    let Some((a, b, facing)) = claims.iter().find_map(|atom| match atom.claim {
        Claim::Beside { a, b, facing, .. } => Some((a, b, facing)),
        _ => None,
    }) else {
        return false;
    };
    if a == b || !claims.iter().all(|atom| atom.claim.sources() == [a, b]) {
        return false;
    }
    let [a, b] = [a, b].map(|i| mention(facts, &facts.labels[i]));
    let patterns = match facing {
        false => vec![format!("{a} than? {b}"), format!("than {b} {a}")],
        true => vec![
            format!("turn? facing {b} {a} than?"),
            format!("turn {b} {a} than?"),
            format!("turn? facing {b} {a} than {b}"),
            format!("turn {b} {a} than {b}"),
        ],
    };
    is_any(tokens, &patterns)
}
