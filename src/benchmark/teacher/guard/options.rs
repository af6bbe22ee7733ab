//! Whether an option says what its claim asserts, no more and no less.

use super::super::super::claims::{Claim, Extreme, Region, Side, plain};
use super::super::super::draft::Pool;
use super::super::super::facts::around;
use super::super::super::task::Task;
use super::super::outcome::Outcome;
use super::atoms::Atom;
use super::forms::{azimuth, band, direction, elevation, extreme, region, side};
use super::pattern::{in_any_order, is_any, is_like};
use super::skeleton::{Names, Skeleton, mention, number, octant_token, with_octants};

/// What a question leaves for its options to say, or says for them.
pub(super) struct Asked<'a> {
    pub names: &'a Names<'a>,
    /// The unit that the question names, so that options need not.
    pub unit: Option<&'static str>,
    /// The region that the question names.
    pub region: Option<Region>,
    /// Whether the question asks for the farther of two.
    pub farther: bool,
    /// Whether it asks for the closer one.
    pub closer: bool,
}

/// Whether `text` says what the atoms assert.
///
/// # Errors
/// What of it differs.
pub(super) fn says(asked: &Asked, pool: &Pool, text: &str, atoms: &[Atom]) -> Result<(), Outcome> {
    if let (Task::IdentifySpeechTranscript, [Atom { claim: Claim::Says { text: said, .. }, .. }]) =
        (asked.names.task, atoms)
    {
        return quotes(asked, pool, text, said);
    }
    let text = without_limits(asked.names.task, text);
    let mut skeleton = asked.names.skeleton(&text, false)?;
    if let Some(unit) = asked.unit {
        let bare = |token: &String| token.strip_prefix('n').and_then(|x| x.parse::<f64>().ok());
        let with = |token: &String| bare(token).map_or(token.clone(), |x| number(x, unit));
        skeleton.tokens = skeleton.tokens.iter().map(with).collect();
    }
    if fits(asked, &skeleton, atoms).ok_or(Outcome::WrongClaims)? { Ok(()) } else { Err(differs(&skeleton, atoms)) }
}

/// Our own words for rooms have limits that make them checkable; with the very words that they belong to, they say nothing
/// more.
fn without_limits(task: Task, text: &str) -> String {
    const LIMITS: [[&str; 2]; 6] = [
        ["small room (up to 20 m² of floor)", "small room"],
        ["medium-sized room (30 to 55 m² of floor)", "medium room"],
        ["large room (70 m² of floor or more)", "large room"],
        ["hard walls that absorb less than 20 % of the sound", "hard walls"],
        ["with walls that absorb 20 to 40 % of the sound", "with moderately absorptive walls"],
        ["soft walls that absorb more than 40 % of the sound", "soft walls"],
    ];
    match task {
        Task::EnvironmentAcoustics => {
            LIMITS.iter().fold(text.into(), |text, [long, short]| text.replacen(long, short, 1))
        }
        _ => text.into(),
    }
}

/// What kind of difference there is, for the count of outcomes.
fn differs(skeleton: &Skeleton, atoms: &[Atom]) -> Outcome {
    let is_sound = |t: &&String| t.starts_with("sound:") || *t == "unknownsound" || is_source(t);
    let is_number = |t: &&String| t.starts_with(|c: char| c.is_ascii_digit() || c == '-') || t.starts_with("unit:");
    let subjects: Vec<&String> = atoms.iter().map(|a| &a.subject).collect();
    let tokens = &skeleton.tokens;
    match () {
        _ if tokens.iter().any(|t| ["neg", "imposs", "removed"].contains(&t.as_str())) => Outcome::OtherNegation,
        _ if tokens.iter().filter(is_sound).any(|t| !subjects.contains(&t)) => Outcome::OtherSource,
        _ if tokens.iter().any(|t| is_number(&t)) => Outcome::OtherNumber,
        _ => Outcome::OtherWording,
    }
}

/// Whether a token is a source of the scene.
pub(super) fn is_source(token: &str) -> bool {
    token.strip_prefix('s').is_some_and(|i| !i.is_empty() && i.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether an option is a transcript of the set, with no more than neutral words around the quotation.
fn quotes(asked: &Asked, pool: &Pool, text: &str, said: &str) -> Result<(), Outcome> {
    let marks = ['"', '\u{201c}', '\u{201d}', '\'', '\u{2018}', '\u{2019}'];
    let is_known = pool.transcripts.iter().any(|t| plain(t) == plain(said));
    let is_sentence = |c: char| c.is_alphanumeric() || " ,.;:?!'-\u{2019}\"\u{201c}\u{201d}\u{2018}".contains(c);
    if !is_known || !text.chars().all(is_sentence) {
        return Err(Outcome::OtherWording);
    }
    if plain(text.trim_matches(marks)) == plain(said) {
        return Ok(());
    }
    let open = text.find(['"', '\u{201c}']).ok_or(Outcome::OtherWording)?;
    let quoted = text[open..].trim_end_matches('.');
    let is_whole = quoted.ends_with(['"', '\u{201d}']) && plain(quoted.trim_matches(marks)) == plain(said);
    let before = asked.names.skeleton(&text[..open], true)?;
    let is_empty = before.tokens.iter().all(|t| is_source(t));
    if is_whole && is_empty { Ok(()) } else { Err(Outcome::OtherWording) }
}

fn strings(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|p| p.to_string()).collect()
}

/// Whether the skeleton is one of the claims; `None` when the claims are of no kind that is asked for.
fn fits(asked: &Asked, skeleton: &Skeleton, atoms: &[Atom]) -> Option<bool> {
    let tokens = with_octants(&skeleton.tokens);
    let claims: Vec<&Claim> = atoms.iter().map(|a| &a.claim).collect();
    let facts = asked.names.facts;
    Some(match (asked.names.task, &claims[..]) {
        (Task::CountObjects, _) => counts(asked, &tokens, &claims)?,
        (Task::IdentifyEventClass, [Claim::Present { label }])
        | (Task::QueryIdentity, [Claim::Called { label, .. }]) => tokens == [mention(facts, label)],
        (Task::EnvironmentAcoustics, [Claim::ReverberationTime { s }]) => {
            is_like(&tokens, &format!("{} 60db?", number(*s, "s")))
        }
        (Task::EnvironmentAcoustics, [Claim::RoomSize { size }, Claim::RoomFinish { finish }])
        | (Task::EnvironmentAcoustics, [Claim::RoomFinish { finish }, Claim::RoomSize { size }]) => {
            room(&tokens, size, finish)?
        }
        (Task::PhysicalConsistency, [Claim::Not { of }]) => in_this_room(skeleton, &tokens, of)?,
        (Task::CompareDistances, [Claim::CloserBy { a, b, m }]) if atoms.len() == 1 => {
            let [a, b] = [a, b].map(|i| mention(facts, &facts.labels[*i]));
            closer(asked, &tokens, [&a, &b], &number(*m, "m"))
        }
        (Task::RelativeDirection, [Claim::Beside { a, b, left, .. }, Claim::Above { higher, .. }])
        | (Task::RelativeDirection, [Claim::Above { higher, .. }, Claim::Beside { a, b, left, .. }]) => {
            let [a, b] = [a, b].map(|i| mention(facts, &facts.labels[*i]));
            relative(&tokens, [&a, &b], *left, *higher)
        }
        (Task::SourceRemoval, _) => without_one(&tokens, atoms)?,
        (
            Task::MultiHopQuery,
            [
                Claim::StandsOut { what, without: None, .. },
                Claim::Sector { centre_deg, width_deg: 45.0, turn_deg: 0.0, .. },
            ],
        ) => {
            let subject = strings(&[&atoms[0].subject]);
            let direction = vec![octant_token(octant(*centre_deg)?)];
            let first = atoms[0].subject.clone();
            let tokens: Vec<String> = tokens.iter().filter(|t| *t != extreme(*what)).cloned().collect();
            atoms[1].subject == first && in_any_order(&tokens, &[subject, direction])
        }
        (task, _) => placed(task, &tokens, atoms)?,
    })
}

/// Tasks whose options place one source.
fn placed(task: Task, tokens: &[String], atoms: &[Atom]) -> Option<bool> {
    let subject = &atoms.first()?.subject;
    if atoms.iter().any(|a| a.subject != *subject) {
        return None;
    }
    let parts: Vec<Vec<String>> = atoms
        .iter()
        .map(|atom| {
            let turns = task == Task::RotateObserver;
            Some(match atom.claim {
                Claim::Azimuth { turn_deg, .. } | Claim::Sector { turn_deg, .. } if !turns && turn_deg != 0.0 => {
                    return None;
                }
                Claim::Sector { width_deg, .. } if !turns && width_deg != 45.0 => return None,
                Claim::Azimuth { deg, .. } => azimuth(deg, false),
                Claim::Elevation { deg, .. } => elevation(deg, false),
                Claim::ElevationWithin { low_deg, high_deg, .. } => band(low_deg, high_deg),
                Claim::Distance { m, .. } => vec![number(m, "m")],
                Claim::Direction { azimuth_deg, elevation_deg, .. } => direction(azimuth_deg, elevation_deg),
                Claim::Sector { centre_deg, .. } => vec![octant_token(octant(centre_deg)?)],
                _ => return None,
            })
        })
        .collect::<Option<_>>()?;
    let kinds: Vec<&str> = atoms.iter().map(|a| kind(&a.claim)).collect();
    let fits_task = match task {
        Task::LocalizeAzimuth => kinds == ["azimuth"],
        Task::LocalizeElevation => kinds == ["elevation"] || kinds == ["band"],
        Task::EstimateDistance => kinds == ["distance"],
        Task::RotateObserver => kinds == ["azimuth"] || kinds == ["sector"],
        Task::BindIdentityLocationDistance | Task::QueryLocation => {
            let mut sorted = kinds.clone();
            sorted.sort_unstable();
            sorted == ["direction", "distance"] || sorted == ["distance", "sector"]
        }
        _ => false,
    };
    if !fits_task {
        return None;
    }
    if task == Task::BindIdentityLocationDistance {
        let with_subject = [parts, vec![vec![subject.clone()]]].concat();
        return Some(in_any_order(tokens, &with_subject));
    }
    let tokens = if tokens.first() == Some(subject) { &tokens[1..] } else { tokens };
    Some(in_any_order(tokens, &parts))
}

/// Which of the eight directions is the middle of a sector.
fn octant(centre_deg: f64) -> Option<usize> {
    let octant = around(centre_deg) / 45.0;
    (octant.fract() == 0.0).then_some(octant as usize % 8)
}

fn kind(claim: &Claim) -> &'static str {
    match claim {
        Claim::Azimuth { .. } => "azimuth",
        Claim::Elevation { .. } => "elevation",
        Claim::ElevationWithin { .. } => "band",
        Claim::Distance { .. } => "distance",
        Claim::Direction { .. } => "direction",
        Claim::Sector { .. } => "sector",
        _ => "other",
    }
}

/// A number of sources, in a count.
fn counted(n: usize) -> Vec<String> {
    let mut all = vec![format!("n{n}")];
    if n == 0 {
        all.push("neg".into());
    }
    all
}

fn counts(asked: &Asked, tokens: &[String], claims: &[&Claim]) -> Option<bool> {
    let here = |part: Region| -> Vec<String> {
        let told = asked.region == Some(part);
        let all = region(part);
        if told { all.into_iter().chain([String::new()]).collect() } else { all }
    };
    let join = |before: &[String], after: &[String]| -> Vec<String> {
        before.iter().flat_map(|a| after.iter().map(move |b| format!("{a} {b}"))).collect()
    };
    Some(match claims {
        [Claim::Count { region: part, n }] => is_any(tokens, &join(&counted(*n), &here(*part))),
        [Claim::Count { region: Region::Anywhere, n }, Claim::Count { region: part, n: k }] => {
            let some = join(&counted(*k), &here(*part));
            let both = if *k == 2 { join(&strings(&["both"]), &here(*part)) } else { vec![] };
            is_any(tokens, &join(&[format!("n{n}")], &[some, both].concat()))
        }
        _ => return None,
    })
}

/// Size and walls of a room.
fn room(tokens: &[String], size: &str, finish: &str) -> Option<bool> {
    let walls = match finish {
        "reflective" => strings(&["hard wall", "hard", "wall hard"]),
        "moderate" => strings(&["moderate soft? wall", "moderate soft?", "wall moderate soft?"]),
        "absorptive" => strings(&["soft wall", "soft", "wall soft"]),
        _ => return None,
    };
    ["small", "medium", "large"].contains(&size).then(|| in_any_order(tokens, &[strings(&[size]), walls]))
}

/// A statement about the room, of which the question asks whether it can be.
fn in_this_room(skeleton: &Skeleton, tokens: &[String], claim: &Claim) -> Option<bool> {
    Some(match *claim {
        Claim::Wall { side: Side::Up, m } => {
            in_any_order(tokens, &[strings(&["ceiling"]), vec![number(m, "m"), format!("{} up ear?", number(m, "m"))]])
        }
        Claim::Wall { side: part, m } => {
            in_any_order(tokens, &[strings(&["wall"]), strings(&[side(part)]), vec![number(m, "m")]])
        }
        Claim::Reach { side: part, m } => {
            skeleton.topics.contains("could") && in_any_order(tokens, &[strings(&[side(part)]), vec![number(m, "m")]])
        }
        Claim::ReverberationTime { s } => {
            skeleton.topics.contains("rev") && in_any_order(tokens, &[vec![number(s, "s")], strings(&["60db?"])])
        }
        _ => return None,
    })
}

/// The first is closer than the second by so much.
fn closer(asked: &Asked, tokens: &[String], [a, b]: [&str; 2], m: &str) -> bool {
    let far = [
        format!("{b} far {m}"),
        format!("{b} {m} far"),
        format!("{b} far than {a} {m}"),
        format!("{b} {m} far than {a}"),
        format!("far {b} {m}"),
    ];
    if asked.farther && !asked.closer {
        // Who asks for the farther one is told of the farther one.
        return is_any(tokens, &far) || is_like(tokens, &format!("{b} {m}"));
    }
    let mut all = vec![
        format!("{a} near {m}"),
        format!("{a} {m} near"),
        format!("{a} near than {b} {m}"),
        format!("{a} {m} near than {b}"),
        format!("near {a} {m}"),
    ];
    all.extend(far);
    if asked.closer && !asked.farther {
        all.push(format!("{a} {m}"));
    }
    is_any(tokens, &all)
}

/// The first is to one side of the second, and higher or lower.
fn relative(tokens: &[String], [a, b]: [&str; 2], left: bool, higher: bool) -> bool {
    let (side, height) = (if left { "left" } else { "right" }, if higher { "up" } else { "down" });
    let orders = [(side, height), (height, side)];
    let of = |(x, y): (&str, &str)| [format!("{a}? {x} than? {b}? {y}"), format!("{a}? {x} {y} than? {b}?")];
    is_any(tokens, &orders.into_iter().flat_map(of).collect::<Vec<_>>())
}

/// What remains without a source.
fn without_one(tokens: &[String], atoms: &[Atom]) -> Option<bool> {
    let stands_out = |atom: &Atom| match atom.claim {
        Claim::StandsOut { what, without: Some(_), .. } => Some((atom.subject.clone(), what)),
        _ => None,
    };
    if let [Atom { claim: Claim::Remain { region: part, n, .. }, .. }, second] = atoms {
        let (subject, what) = stands_out(second)?;
        let mut some: Vec<String> = region(*part).iter().map(|r| format!("n{n} n2? {r}")).collect();
        match n {
            0 => some.extend(region(*part).iter().map(|r| format!("neg n2? {r}"))),
            2 => some.extend(region(*part).iter().map(|r| format!("both {r}"))),
            _ => {}
        }
        let out = vec![format!("{subject} {}", extreme(what)), format!("{} {subject}", extreme(what))];
        return Some(in_any_order(tokens, &[some, out]));
    }
    let all: Vec<(String, Extreme)> = atoms.iter().map(stands_out).collect::<Option<_>>()?;
    Some(match &all[..] {
        [(s, x)] => is_any(tokens, &[format!("{s} {}", extreme(*x)), format!("{} {s}", extreme(*x))]),
        [(s, x), (t, y)] => {
            let (x, y) = (extreme(*x), extreme(*y));
            let mut forms = vec![
                format!("{s} {x} {t} {y}"),
                format!("{t} {y} {s} {x}"),
                format!("{x} {s} {y} {t}"),
                format!("{y} {t} {x} {s}"),
            ];
            if s == t {
                forms.extend([
                    format!("{s} {x} {y}"),
                    format!("{s} {y} {x}"),
                    format!("{x} {y} {s}"),
                    format!("{y} {x} {s}"),
                ]);
            }
            is_any(tokens, &forms)
        }
        _ => return None,
    })
}
