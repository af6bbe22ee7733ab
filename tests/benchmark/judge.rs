//! Whether an option holds, from the texts of question and option and the truth alone.
//!
//! An option is a list of parts that must all hold. Each says how far off it is, up to where it counts as right, and
//! from where a careful listener would notice that it is wrong; what lies between is a fault of the question. Where a
//! text can be read in two ways ("higher": as an angle or in metres) there is a list per reading, and all must agree.
//!
//! | what | right up to | wrong from |
//! |---|---|---|
//! | direction | 1 degree | 14 degrees of arc |
//! | elevation alone | 1 degree | 10 degrees (the horizon is judged less sharply than the azimuth) |
//! | band of elevation | 4.5 degrees inside | 4.5 degrees outside |
//! | side (four) or direction word (eight) | 9 or 4.5 degrees inside its sector | as many outside |
//! | half of all directions, near or far | 9 degrees, 0.25 m inside for every source | |
//! | distance | 5 cm | a quarter of the larger one, 0.4 m at least |
//! | difference of distances | 5 cm | a fifth of the larger distance, 0.5 m at least |
//! | nearest, farthest | a fifth of the larger distance and 0.4 m before the next | as much behind |
//! | highest, lowest, higher | 8 degrees and 0.1 m before the next | as much behind |
//! | left or right of a source | 14 to 151 degrees of azimuth, unless faced also 0.19 of a sideward unit | |
//! | reverberation time | 5 % | 38 % |
//! | wall, ceiling | 5 % | a sound is heard 30 % and 0.6 m beyond it |
//! | how far the room reaches | 10 % and 0.2 m inside | 35 % and 0.7 m beyond the wall |
//! | near; far | 1.4 m; 2.6 m | 2 m |
//! | one direction; opposite sides | 40; 110 degrees | 75 degrees |
//! | begins last | 0.3 s after the others | 0.3 s before another |
//! | dies away; rings on | 0.4 s; 0.75 s | 0.55 s |
//! | floor area; absorption of walls | inside the stated range; 15 % inside it | 25 %; 15 % outside |
//! | (all lengths less 1 cm, for texts have two decimals) | | |
//! | names, words, what sounds tell of | equal | neither equal nor a word for the same |

mod extended;
mod pairs;

use super::truth::{Source, Truth, angle, apart};
use super::{situations, words};
use pairs::{closer, reaching, relative};

/// Texts have two decimals.
const ROUNDING_M: f64 = 0.01;

/// One thing that must hold.
#[derive(Clone, Debug)]
pub struct Part {
    pub off: f64,
    pub right_to: f64,
    pub wrong_from: f64,
}

fn part(off: f64, right_to: f64, wrong_from: f64) -> Part {
    Part { off, right_to, wrong_from }
}

/// Something that holds or does not.
fn fact(holds: bool) -> Part {
    part(if holds { 0.0 } else { 10.0 }, 0.0, 1.0)
}

/// Something that cannot be said either way.
fn open() -> Part {
    part(0.5, 0.0, 1.0)
}

/// How an option stands to the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judged {
    Holds,
    /// By how many noticeable differences it is off, 1 at least.
    Fails(f64),
    Unclear,
}

fn all(parts: &[Part]) -> Judged {
    let worst = parts.iter().map(|p| p.off / p.wrong_from).fold(f64::MIN, f64::max);
    match worst {
        _ if parts.iter().all(|p| p.off <= p.right_to) => Judged::Holds,
        w if w >= 1.0 => Judged::Fails(w),
        _ => Judged::Unclear,
    }
}

/// What all readings agree on.
fn agreed(readings: &[Vec<Part>]) -> Judged {
    let judged: Vec<Judged> = readings.iter().map(|parts| all(parts)).collect();
    let least = |least: f64, j: &Judged| if let Judged::Fails(w) = j { least.min(*w) } else { 0.0 };
    let fails = judged.iter().fold(f64::MAX, least);
    match judged.iter().all(|j| *j == Judged::Holds) {
        true => Judged::Holds,
        false if fails >= 1.0 => Judged::Fails(fails),
        false => Judged::Unclear,
    }
}

/// Every number with decimals or of digits alone in a text.
pub fn numbers(text: &str) -> Vec<f64> {
    let pieces = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
    pieces.filter_map(|p| p.trim_end_matches('.').parse().ok()).collect()
}

fn one_number(text: &str) -> Result<f64, String> {
    match numbers(text)[..] {
        [x] => Ok(x),
        _ => Err(format!("not one number in {text:?}")),
    }
}

fn number_word(word: &str) -> Result<usize, String> {
    let names = ["none", "one", "two", "three", "four"];
    names.iter().position(|n| *n == word).ok_or(format!("{word:?} is no count"))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Result<&'a str, String> {
    let cut = text.strip_prefix(before).and_then(|t| t.strip_suffix(after));
    cut.ok_or(format!("{text:?} is not {before:?}..{after:?}"))
}

fn split<'a>(text: &'a str, at: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(at).ok_or(format!("no {at:?} in {text:?}"))
}

impl Truth {
    fn distance(&self, i: usize, m: f64) -> Part {
        let own = self.sources[i].distance;
        part((own - m).abs(), 0.055, (0.25 * own.max(m)).max(0.4) - ROUNDING_M)
    }

    fn direction(&self, i: usize, azimuth: f64, elevation: f64) -> Part {
        let own = &self.sources[i];
        part(angle((own.azimuth, own.elevation), (azimuth, elevation)), 1.0, 14.0)
    }

    /// Azimuth after a turn to the left, as an arc.
    fn azimuth(&self, i: usize, degrees: f64, turn: f64) -> Part {
        let own = &self.sources[i];
        part(apart(own.azimuth - turn, degrees) * own.elevation.to_radians().cos(), 1.0, 14.0)
    }

    /// The words for directions, each the middle of a sector of `width` degrees.
    fn sector(&self, i: usize, word: &str, turn: f64, width: f64) -> Result<Part, String> {
        let names = ["front", "front-left", "left", "rear-left", "rear", "rear-right", "right", "front-right"];
        let word = if word == "back" { "rear" } else { word };
        let at = names.iter().position(|n| *n == word).ok_or(format!("{word:?} is no direction"))?;
        let off = apart(self.sources[i].azimuth - turn, 45.0 * at as f64);
        Ok(part(off, 0.4 * width, 0.6 * width))
    }

    /// A direction word in a text such as "towards the rear-left".
    fn eighth(&self, i: usize, text: &str) -> Result<Part, String> {
        let word = text.rsplit_once("the ").map(|(_, w)| w).ok_or(format!("no direction in {text:?}"))?;
        self.sector(i, word, 0.0, 45.0)
    }

    /// "Source `a` stands before `b`" for one of nearest, farthest, highest, lowest, in both readings.
    fn before(&self, a: usize, b: usize, what: &str) -> Result<[Part; 2], String> {
        let (x, y) = (&self.sources[a], &self.sources[b]);
        // A lead of one noticeable difference holds, a lag of one fails.
        let lead = |lead: f64, noticeable: f64| part(-lead, -noticeable, noticeable);
        let gap = (0.2 * x.distance.max(y.distance)).max(0.4) * 0.999;
        let (degrees, metres) = (x.elevation - y.elevation, x.offset[2] - y.offset[2]);
        Ok(match what {
            "nearest" => [lead(y.distance - x.distance, gap), lead(y.distance - x.distance, gap)],
            "farthest" => [lead(x.distance - y.distance, gap), lead(x.distance - y.distance, gap)],
            "highest up" | "higher up" => [lead(degrees, 7.99), lead(metres, 0.0999)],
            "lowest down" | "lower down" => [lead(-degrees, 7.99), lead(-metres, 0.0999)],
            _ => return Err(format!("{what:?} is no extreme")),
        })
    }

    /// "Source `i` stands before all of `others`", in both readings.
    fn extreme(&self, i: usize, others: &[usize], what: &str) -> Result<[Vec<Part>; 2], String> {
        let mut readings = [vec![], vec![]];
        for &other in others.iter().filter(|o| **o != i) {
            let [first, second] = self.before(i, other, what)?;
            readings[0].push(first);
            readings[1].push(second);
        }
        Ok(readings)
    }

    /// How many sources lie in a region; `None` when one lies at its border.
    fn inside(&self, region: &str, without: Option<usize>) -> Result<Option<usize>, String> {
        let mut count = 0;
        for (_, s) in self.sources.iter().enumerate().filter(|(i, _)| Some(*i) != without) {
            // Degrees or metres inside, by how much it must be clear.
            let (depth, clear) = match region {
                "somewhere to the left of the listener" => (90.0 - apart(s.azimuth, 90.0), 9.0),
                "somewhere to the right of the listener" => (90.0 - apart(s.azimuth, 270.0), 9.0),
                "somewhere in front of the listener" => (90.0 - apart(s.azimuth, 0.0), 9.0),
                "somewhere behind the listener" => (90.0 - apart(s.azimuth, 180.0), 9.0),
                "above ear level" => (s.elevation, 4.5),
                "below ear level" => (-s.elevation, 4.5),
                "less than two metres away" => (2.0 - s.distance, 0.25),
                _ => return Err(format!("{region:?} is no region")),
            };
            if depth.abs() < clear {
                return Ok(None);
            }
            count += usize::from(depth > 0.0);
        }
        Ok(Some(count))
    }

    fn regional(&self, region: &str, n: usize, without: Option<usize>) -> Result<Part, String> {
        Ok(self.inside(region, without)?.map_or(open(), |inside| fact(inside == n)))
    }

    /// "azimuth 1.00°, elevation 2.00°, 3.00 m away".
    fn place(&self, i: usize, text: &str) -> Result<Vec<Part>, String> {
        match (numbers(text)[..].as_ref(), text.starts_with("azimuth ")) {
            ([azimuth, elevation, m], true) => Ok(vec![self.direction(i, *azimuth, *elevation), self.distance(i, *m)]),
            _ => Err(format!("{text:?} is no place")),
        }
    }
}

/// Judges one option. `Err` for a text that cannot be read, or that names no source or several.
pub fn judge(truth: &Truth, task: &str, question: &str, option: &str) -> Result<Judged, String> {
    let one = |p: Part| Ok(all(&[p]));
    match task {
        "l1_count_objects" => count(truth, question, option),
        "l1_identify_event_class" => one(present(truth, option)),
        "l1_identify_speech_transcript" => one(said(truth, option)?),
        "l1_localize_azimuth" => one(truth.azimuth(truth.subject(question)?, one_number(option)?, 0.0)),
        "l1_localize_elevation" => one(elevation(truth, truth.subject(question)?, option)?),
        "l1_estimate_distance" => one(truth.distance(truth.subject(question)?, one_number(option)?)),
        "l1_environment_acoustics" => acoustics(truth, option),
        "l2_bind_identity_location_distance" => bound(truth, option),
        "l2_query_location_given_identity" => Ok(all(&truth.place(truth.subject(question)?, option)?)),
        "l2_query_identity_given_location" => identity(truth, question, option),
        "l2_compare_object_distances" => closer(truth, question, option),
        "l2_relative_direction_between_objects" => relative(truth, question, option),
        "l3_scene_abduction" => conditions(truth, &situations::situation(option)?),
        "l3_causal_intent" if option.starts_with("towards the ") => reaching(truth, question, option),
        "l3_causal_intent" => conditions(truth, &situations::purpose(option)?),
        "l3_rotate_observer" => turned(truth, question, option),
        "l3_source_removal" => removal(truth, question, option),
        "l3_multi_hop_query" => multi_hop(truth, question, option),
        // The right option is the statement that does not hold.
        "l3_physical_consistency" => Ok(match all(&[statement(truth, option)?]) {
            Judged::Holds => Judged::Fails(1.0),
            Judged::Fails(_) => Judged::Holds,
            Judged::Unclear => Judged::Unclear,
        }),
        _ => extended::judge(truth, task, question, option),
    }
}

const REGIONS: [&str; 7] = [
    "somewhere to the left of the listener",
    "somewhere to the right of the listener",
    "somewhere in front of the listener",
    "somewhere behind the listener",
    "above ear level",
    "below ear level",
    "less than two metres away",
];

fn count(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let total = truth.sources.len();
    if let Some((n, rest)) = option.split_once(" in all, ") {
        let n = number_word(split(n, " ")?.0)?;
        let (k, region) = split(rest, " ")?;
        return Ok(all(&[fact(n == total), truth.regional(region, number_word(k)?, None)?]));
    }
    let n = number_word(option)?;
    match REGIONS.iter().find(|region| question.contains(*region)) {
        Some(region) => Ok(all(&[truth.regional(region, n, None)?])),
        None => Ok(all(&[fact(n == total)])),
    }
}

fn present(truth: &Truth, label: &str) -> Part {
    let any = |fits: &dyn Fn(&str) -> bool| truth.sources.iter().any(|s| fits(&s.label));
    match () {
        _ if any(&|own| own == label) => fact(true),
        _ if any(&|own| words::may_be_called(own, label)) => open(),
        _ => fact(false),
    }
}

/// Lower-case words; those that sound alike are one.
fn spoken_words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|w| !w.is_empty());
    let sound = |w: String| match w.as_str() {
        "to" | "too" | "2" => "two".into(),
        "for" | "4" => "four".into(),
        "ate" | "8" => "eight".into(),
        "won" | "1" => "one".into(),
        _ => w,
    };
    words.map(|w| sound(w.to_lowercase())).collect::<Vec<_>>().join(" ")
}

fn said(truth: &Truth, option: &str) -> Result<Part, String> {
    let speakers: Vec<_> = truth.sources.iter().filter(|s| s.is_speech).collect();
    let [speaker] = speakers[..] else { return Err(format!("{} speakers", speakers.len())) };
    said_by(speaker, between(option, "\"", "\"")?)
}

/// Whether a speaker says the words of a text.
fn said_by(speaker: &Source, text: &str) -> Result<Part, String> {
    let own = spoken_words(speaker.transcript.as_deref().ok_or("nobody knows what is said")?);
    let asked = spoken_words(text);
    let (a, b) = (format!(" {own} "), format!(" {asked} "));
    Ok(match () {
        _ if own == asked => fact(true),
        _ if a.contains(&b) || b.contains(&a) => open(),
        _ => fact(false),
    })
}

fn elevation(truth: &Truth, i: usize, option: &str) -> Result<Part, String> {
    let own = truth.sources[i].elevation;
    if !option.contains(" level") {
        return Ok(part((own - one_number(option)?).abs(), 1.0, 10.0));
    }
    let (low, high) = match option {
        "far below eye level, by more than 30°" => (-90.0, -30.0),
        "below eye level, by 10° to 30°" => (-30.0, -10.0),
        "at eye level, within 10° of it" => (-10.0, 10.0),
        "above eye level, by 10° to 30°" => (10.0, 30.0),
        "far above eye level, by more than 30°" => (30.0, 90.0),
        "below ear level" => (-90.0, 0.0),
        "above ear level" => (0.0, 90.0),
        _ => return Err(format!("{option:?} is no band")),
    };
    Ok(part(f64::max(low - own, own - high), -4.5, 4.5))
}

fn factor(a: f64, b: f64, wrong_from: f64) -> Part {
    part((a / b).ln().abs(), 1.055f64.ln(), wrong_from.ln())
}

/// A value inside a range, on a logarithmic scale: `inside` is required, `outside` is noticed.
fn within(value: f64, low: f64, high: f64, inside: f64, outside: f64) -> Part {
    let off = f64::max(low.ln() - value.ln(), value.ln() - high.ln());
    part(off, -inside.ln(), outside.ln())
}

fn acoustics(truth: &Truth, option: &str) -> Result<Judged, String> {
    if let Some(seconds) = option.strip_suffix(" s") {
        let fades = truth.fades_s.ok_or("no response was measured")?;
        return Ok(all(&[factor(fades, one_number(seconds)?, 1.38)]));
    }
    let (size, walls) = split(option, " with ")?;
    let (low, high) = match size {
        "a small room (up to 20 m² of floor)" => (1e-9, 20.0),
        "a medium-sized room (30 to 55 m² of floor)" => (30.0, 55.0),
        "a large room (70 m² of floor or more)" => (70.0, 1e9),
        _ => return Err(format!("{size:?} is no size")),
    };
    let (least, most) = match walls {
        "hard walls that absorb less than 20 % of the sound" => (1e-9, 0.2),
        "walls that absorb 20 to 40 % of the sound" => (0.2, 0.4),
        "soft walls that absorb more than 40 % of the sound" => (0.4, 1e9),
        _ => return Err(format!("{walls:?} are no walls")),
    };
    Ok(all(&[within(truth.floor_m2, low, high, 1.0, 1.25), within(truth.absorption, least, most, 1.15, 1.15)]))
}

fn bound(truth: &Truth, option: &str) -> Result<Judged, String> {
    let (name, place) = split(option, " at ")?;
    let label = between(name, "the ", "")?;
    if !truth.sources.iter().any(|s| s.label == label) {
        return Ok(all(&[present(truth, label)]));
    }
    Ok(all(&truth.place(truth.only(label)?, place)?))
}

fn identity(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let at = question.find("from the ").ok_or(format!("no place in {question:?}"))? + "from the ".len();
    let word: String = question[at..].chars().take_while(|c| c.is_alphabetic() || *c == '-').collect();
    let m = one_number(question)?;
    let mut here = Vec::new();
    for i in 0..truth.sources.len() {
        match all(&[truth.sector(i, &word, 0.0, 45.0)?]) {
            Judged::Holds => here.push(i),
            Judged::Unclear => return Err(format!("source {i} is at the border of {word}")),
            Judged::Fails(_) => {}
        }
    }
    let [i] = here[..] else { return Err(format!("{} sources in {word}", here.len())) };
    let (option, height) = match option.split_once(", ") {
        Some((name, height)) => (between(name, "the ", "")?, Some(elevation(truth, i, height)?)),
        None => (option, None),
    };
    let own = &truth.sources[i];
    if (own.distance - m).abs() > 0.06 {
        return Err(format!("{m} m are asked about, {} is at {}", own.label, own.distance));
    }
    let may = words::may_be_called(&own.label, option);
    let named = if own.label == option {
        fact(true)
    } else if may {
        open()
    } else {
        fact(false)
    };
    Ok(all(&std::iter::once(named).chain(height).collect::<Vec<_>>()))
}

/// The only source that may be what a condition calls `name`.
fn meant(truth: &Truth, name: &str) -> Result<usize, String> {
    let fits = |i: &usize| words::words(&truth.sources[*i].label).iter().any(|w| situations::sound(name).contains(w));
    let all: Vec<usize> = (0..truth.sources.len()).filter(fits).collect();
    match all[..] {
        [i] => truth.only(&truth.sources[i].label),
        _ => Err(format!("{} sources may be the {name}", all.len())),
    }
}

/// Whether what a sentence amounts to holds.
fn conditions(truth: &Truth, all_of: &[&str]) -> Result<Judged, String> {
    let parts: Result<Vec<Part>, String> = all_of.iter().map(|c| condition(truth, c)).collect();
    Ok(all(&parts?))
}

fn condition(truth: &Truth, text: &str) -> Result<Part, String> {
    let mut words = text.split(' ');
    let what = words.next().unwrap_or("");
    let players: Vec<usize> = words.map(|w| meant(truth, w)).collect::<Result<_, _>>()?;
    let own = |k: usize| &truth.sources[players[k]];
    let from = |degrees: f64| part(apart(own(0).azimuth, degrees), 72.0, 108.0);
    let between = || {
        let [a, b] = [own(0), own(1)].map(|s| (s.azimuth, s.elevation));
        angle(a, b)
    };
    let fades = truth.fades_s.ok_or("no response was measured");
    Ok(match what {
        "any" => fact(true),
        // Near within 1.4 m and not from 2 m on; far from 2.6 m on and not within 2 m.
        "near" => part(own(0).distance, 1.405, 1.995),
        "far" => part(1.0 / own(0).distance, 1.0 / 2.595, 1.0 / 2.005),
        "front" => from(0.0),
        "behind" => from(180.0),
        "high" => part(90.0 - own(0).elevation, 78.1, 87.9),
        "low" => part(90.0 + own(0).elevation, 78.1, 87.9),
        "same" => part(between(), 40.1, 74.9),
        "opposite" => part(180.0 - between(), 70.1, 104.9),
        "dry" => part(fades?, 0.405, 0.545),
        "live" => part(1.0 / fades?, 1.0 / 0.745, 1.0 / 0.555),
        "last" => {
            let others = (0..truth.sources.len()).filter(|&i| i != players[0]);
            let latest = others.map(|i| truth.sources[i].begins_s).fold(f64::MIN, f64::max);
            // One second late is as late as can be asked.
            part(1.0 - (own(0).begins_s - latest), 0.71, 1.29)
        }
        _ => return Err(format!("unknown condition {text:?}")),
    })
}

fn turned(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let i = truth.subject(question)?;
    let before = question.split('°').next().unwrap_or("");
    let degrees = *numbers(before).last().ok_or(format!("no turn in {question:?}"))?;
    let turn = match question {
        q if q.contains("° to the left") => degrees,
        q if q.contains("° to the right") => -degrees,
        _ if degrees == 180.0 => degrees,
        q => return Err(format!("which way does {q:?} turn?")),
    };
    if option.ends_with('°') {
        return Ok(all(&[truth.azimuth(i, one_number(option)?, turn)]));
    }
    Ok(all(&[truth.sector(i, option, turn, 90.0)?]))
}

fn removal(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let removed = truth.subject(question)?;
    let rest: Vec<usize> = (0..truth.sources.len()).filter(|&i| i != removed).collect();
    let [a, b] = rest[..] else { return Err(format!("{} sounds are left", rest.len())) };
    if let Some((count, near)) = option.split_once(", and nearest is then the ") {
        let near = truth.only(near)?;
        let (n, place) = match count {
            c if c.starts_with("both ") => (2, between(c, "both that remain are ", "")?),
            c if c.starts_with("one ") => (1, between(c, "one of the two that remain is ", "")?),
            c => (0, between(c, "none of the two that remain is ", "")?),
        };
        let region = if place.ends_with("ear level") { place.to_string() } else { format!("somewhere {place}") };
        let [nearest, _] = truth.extreme(near, &[a, b], "nearest")?;
        let counted = truth.regional(&region, n, Some(removed))?;
        return Ok(all(&[vec![counted], nearest].concat()));
    }
    let (first, second) = split(option, ", ")?;
    let (near, what_near) = extreme_first(first, " is then the ")?;
    let (high, what_high) = extreme_first(second, " the ")?;
    let (near, high) = (truth.only(near)?, truth.only(high)?);
    if !(rest.contains(&near) && rest.contains(&high)) {
        return Err("a removed sound is named".into());
    }
    let [nearest, _] = truth.extreme(near, &rest, what_near)?;
    let highest = truth.extreme(high, &rest, what_high)?;
    let reading = |r: &Vec<Part>| nearest.iter().chain(r).cloned().collect::<Vec<_>>();
    Ok(agreed(&[reading(&highest[0]), reading(&highest[1])]))
}

/// The sound and the extreme of "nearest is then the rain".
fn extreme_first<'a>(text: &'a str, joined: &str) -> Result<(&'a str, &'a str), String> {
    let extremes = ["nearest", "farthest", "highest up", "lowest down"];
    let what = *extremes.iter().find(|e| text.starts_with(**e)).ok_or(format!("no extreme in {text:?}"))?;
    Ok((between(text, &format!("{what}{joined}"), "")?, &text[..what.len()]))
}

fn multi_hop(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let extremes = ["nearest", "farthest", "highest up", "lowest down"];
    let what = *extremes.iter().find(|w| question.contains(*w)).ok_or("no extreme is asked for")?;
    let (name, direction) = split(option, ", from ")?;
    let i = truth.only(between(name, "the ", "")?)?;
    let direction = truth.eighth(i, direction)?;
    let everyone: Vec<usize> = (0..truth.sources.len()).collect();
    let [mut first, mut second] = truth.extreme(i, &everyone, what)?;
    first.push(direction.clone());
    second.push(direction);
    Ok(agreed(&[first, second]))
}

fn statement(truth: &Truth, option: &str) -> Result<Part, String> {
    if let Ok(s) = between(option, "sounds in this room take about ", " s to fade by 60 dB") {
        return Ok(factor(truth.fades_s.ok_or("no response was measured")?, one_number(s)?, 1.38));
    }
    let sides = ["in front of", "to the left of", "behind", "to the right of", "above"];
    let side = |text: &str| sides.iter().position(|s| *s == text).ok_or(format!("{text:?} is no side"));
    let wall = |i: usize, m: f64| {
        // True within 5 %; impossible when a sound is heard from 0.6 m or 30 % beyond it.
        let (axis, sign) = [(0, 1.0), (1, 1.0), (0, -1.0), (1, -1.0), (2, 1.0)][i];
        let farthest = truth.sources.iter().map(|s| sign * s.offset[axis]).fold(0.0, f64::max);
        match (m / truth.sides_m[i]).ln().abs() <= 1.055f64.ln() {
            true => fact(true),
            false => part(farthest - m, f64::NEG_INFINITY, (0.3 * farthest).max(0.6) - ROUNDING_M),
        }
    };
    if let Ok(m) = between(option, "the ceiling is about ", " m above the listener's ears") {
        return Ok(wall(4, one_number(m)?));
    }
    if let Ok(rest) = between(option, "the wall ", " m away") {
        let (place, m) = split(rest, " the listener is about ")?;
        return Ok(wall(side(place)?, one_number(m)?));
    }
    let (m, place) = split(between(option, "a sound could come from ", " the listener")?, " m away ")?;
    let place = place.trim_start_matches("straight ").trim_start_matches("exactly ");
    let (m, wall_m) = (one_number(m)?, truth.sides_m[side(place)?]);
    // Possible with a tenth of the way and 20 cm to spare, impossible from 35 % and 70 cm beyond the wall; as a share of these.
    let (inside, outside) = ((0.1 * wall_m).max(0.2) - ROUNDING_M, (0.35 * wall_m).max(0.7) - ROUNDING_M);
    Ok(part(m - wall_m + inside, 0.0, inside + outside))
}
