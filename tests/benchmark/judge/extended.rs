//! Options of the tasks beyond the paper's, judged from times and positions alone.
//!
//! | what | right up to | wrong from |
//! |---|---|---|
//! | order of two moments | 0.5 s apart | 0.5 s apart the other way round |
//! | moment, duration (halves of a second) | 0.3 s | 0.75 s |
//! | "for about a second"; "two seconds or more" together | 0.65 to 1.45 s; 1.95 s | 1.95 s; 1.5 s |
//! | angle between two, turn (tens of degrees) | 6 degrees | 20 degrees |
//! | difference in elevation (fives of degrees) | 3 degrees | 12 degrees |
//! | what is at a direction | 5 degrees, the next sound 24 | |

use super::super::truth::{Source, Truth, angle, apart, circle};
use super::super::words;
use super::{Judged, agreed, all, between, fact, number_word, numbers, one_number, open, part, said_by, split};

/// Judges an option of one of these tasks.
pub(super) fn judge(truth: &Truth, task: &str, question: &str, option: &str) -> Result<Judged, String> {
    match task {
        "ext_order_in_time" => order(truth, question, option),
        "ext_overlap_in_time" => match option.starts_with("for ") {
            true => together(truth, question, option),
            false => follow(truth, option),
        },
        "ext_onset_and_duration" => timed(truth, question, option),
        "ext_compare_elevations" => higher(truth, question, option),
        "ext_count_per_class" => counted(truth, option),
        "ext_rank_by_distance" => ranked(truth, question, option),
        "ext_angle_between" => turned(truth, question, option),
        "ext_identity_at_direction" => at_direction(truth, question, option),
        "ext_speaker_says_where" => says(truth, question, option),
        _ => Err(format!("unknown task {task}")),
    }
}

/// A moment comes after another: half a second decides.
fn after(earlier_s: f64, later_s: f64) -> super::Part {
    part(earlier_s - later_s, -0.499, 0.499)
}

/// The two sounds of a question, each of which only one sound of the scene can be.
fn two(truth: &Truth, question: &str) -> Result<[usize; 2], String> {
    let mut named: Vec<usize> = Vec::new();
    for i in truth.named_in(question) {
        if !named.contains(&i) {
            named.push(i);
        }
    }
    let [a, b] = named[..] else { return Err(format!("not two sounds in {question:?}")) };
    truth.only(&truth.sources[a].label)?;
    truth.only(&truth.sources[b].label)?;
    Ok([a, b])
}

/// The sound of an option, and the other one of the question.
fn one_of_two(truth: &Truth, question: &str, label: &str) -> Result<(usize, usize), String> {
    let ([a, b], i) = (two(truth, question)?, truth.only(label)?);
    match i {
        i if i == a => Ok((a, b)),
        i if i == b => Ok((b, a)),
        _ => Err(format!("{label:?} is not asked about")),
    }
}

fn order(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let (name, rest) = split(option, ", ")?;
    let (i, other) = one_of_two(truth, question, between(name, "the ", "")?)?;
    let first = after(truth.sources[i].begins_s, truth.sources[other].begins_s);
    let second = match rest {
        "the closer one of the two" => truth.before(i, other, "nearest")?[0].clone(),
        "the farther one of the two" => truth.before(i, other, "farthest")?[0].clone(),
        way => truth.eighth(i, way)?,
    };
    Ok(all(&[first, second]))
}

/// The only source that is heard from a direction; none may be near its border.
fn from(truth: &Truth, way: &str) -> Result<usize, String> {
    let mut here = Vec::new();
    for i in 0..truth.sources.len() {
        match all(&[truth.sector(i, way, 0.0, 45.0)?]) {
            Judged::Holds => here.push(i),
            Judged::Unclear => return Err(format!("source {i} is at the border of {way}")),
            Judged::Fails(_) => {}
        }
    }
    match here[..] {
        [i] => Ok(i),
        _ => Err(format!("{} sources in {way}", here.len())),
    }
}

fn follow(truth: &Truth, option: &str) -> Result<Judged, String> {
    let rest = between(option, "the sound from the ", " begins")?;
    let stops = rest.contains(" has stopped before ");
    let joined =
        if stops { " has stopped before the sound from the " } else { " is still heard when the sound from the " };
    let (a, b) = split(rest, joined)?;
    let (a, b) = (&truth.sources[from(truth, a)?], &truth.sources[from(truth, b)?]);
    Ok(match stops {
        true => all(&[after(a.ends_s, b.begins_s)]),
        false => all(&[after(a.begins_s, b.begins_s), after(b.begins_s, a.ends_s)]),
    })
}

/// Whether one of two is to a side of the other: by a turn, and farther to that side.
fn beside(a: &Source, b: &Source, side: &str) -> Result<super::Part, String> {
    let turn = circle(a.azimuth - b.azimuth);
    let sideward = |s: &Source| s.offset[1] / s.distance;
    let lead = sideward(a) - sideward(b);
    let is_left = turn < 180.0;
    let clear = (14.0..=151.0).contains(&apart(turn, 0.0)) && lead.abs() >= 0.19 && (lead > 0.0) == is_left;
    match side {
        "left" | "right" if !clear => Ok(open()),
        "left" => Ok(fact(is_left)),
        "right" => Ok(fact(!is_left)),
        _ => Err(format!("{side:?} is no side")),
    }
}

fn together(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let (length, rest) = split(option, ", the ")?;
    let side = if rest.contains(" to the left of the ") { "left" } else { "right" };
    let (a, b) = split(rest, &format!(" to the {side} of the "))?;
    let (a, b) = (truth.only(a)?, truth.only(b)?);
    let mut asked = two(truth, question)?;
    asked.sort_unstable();
    if asked != [a.min(b), a.max(b)] {
        return Err("other sounds are asked about".into());
    }
    let (a, b) = (&truth.sources[a], &truth.sources[b]);
    let s = a.ends_s.min(b.ends_s) - a.begins_s.max(b.begins_s);
    let lasts = match length {
        "for about a second" => part((s - 1.05).abs(), 0.4, 0.9),
        "for two seconds or more" => part(2.0 - s, 0.05, 0.5),
        _ => return Err(format!("{length:?} is no length")),
    };
    Ok(all(&[lasts, beside(a, b, side)?]))
}

fn timed(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let own = &truth.sources[truth.subject(question)?];
    let (time, way) = split(option, " s, ")?;
    let begins = option.starts_with("at about ");
    let named = one_number(between(time, if begins { "at about " } else { "for about " }, "")?)?;
    let counted =
        if begins { "from the start of the recording" } else { "from its first to its last sound, pauses included" };
    if !question.contains(counted) || (2.0 * named).fract() != 0.0 {
        return Err(format!("how is {named} s of {question:?} counted?"));
    }
    let measured = if begins { own.begins_s } else { own.ends_s - own.begins_s };
    Ok(all(&[part((measured - named).abs(), 0.301, 0.749), truth.eighth(truth.subject(question)?, way)?]))
}

fn higher(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let verb = [" is higher", " are higher"].into_iter().find(|v| option.contains(v)).ok_or("no verb")?;
    let (name, rest) = split(option, verb)?;
    let (i, other) = one_of_two(truth, question, between(name, "the ", "")?)?;
    let [as_angle, in_metres] = truth.before(i, other, "higher up")?;
    let second = match rest {
        " up and closer" => truth.before(i, other, "nearest")?[0].clone(),
        " up and farther away" => truth.before(i, other, "farthest")?[0].clone(),
        _ => {
            let rise = (truth.sources[i].elevation - truth.sources[other].elevation).abs();
            if rise < 14.99 {
                return Err(format!("{rise} degrees are no clear difference"));
            }
            part((rise - one_number(rest)?).abs(), 3.0, 12.0)
        }
    };
    Ok(agreed(&[vec![as_angle, second.clone()], vec![in_metres, second]]))
}

/// How many sources are of a sort; `None` where somebody might sort one otherwise.
fn of_sort(truth: &Truth, sort: &str) -> Result<Option<usize>, String> {
    // Voices that do not speak, and what may be sung or played.
    let doubtful = ["baby", "laugh", "laughter", "crying", "sing", "choir", "guitar", "piano", "unidentified"];
    let is_doubtful =
        |s: &Source| !s.is_speech && !s.is_music && words::words(&s.label).iter().any(|w| doubtful.contains(w));
    let fits = |s: &&Source| match sort {
        "speaking voice" | "speaking voices" => s.is_speech,
        "source of music" | "sources of music" => s.is_music,
        _ => !s.is_speech && !s.is_music,
    };
    let known =
        ["speaking voice", "speaking voices", "source of music", "sources of music", "other sound", "other sounds"];
    if !known.contains(&sort) {
        return Err(format!("{sort:?} is no sort"));
    }
    Ok((!truth.sources.iter().any(is_doubtful)).then(|| truth.sources.iter().filter(fits).count()))
}

fn counted(truth: &Truth, option: &str) -> Result<Judged, String> {
    let sorted = |text: &str| -> Result<super::Part, String> {
        let (n, sort) = split(text, " ")?;
        let n = if n == "no" { 0 } else { number_word(n)? };
        Ok(of_sort(truth, sort)?.map_or(open(), |count| fact(count == n)))
    };
    if let Some((first, place)) = option.split_once(", and ") {
        let (k, region) = split(place, " of all ")?;
        return Ok(all(&[sorted(first)?, truth.regional(region, number_word(k)?, None)?]));
    }
    let (first, second) = split(option, " and ")?;
    Ok(all(&[sorted(first)?, sorted(second)?]))
}

fn ranked(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let names: Vec<&str> = option.split(", ").map(|n| between(n, "the ", "")).collect::<Result<_, _>>()?;
    let order: Vec<usize> = names.iter().map(|n| truth.only(n)).collect::<Result<_, _>>()?;
    if order.len() != 3 || truth.sources.len() != 3 {
        return Err("three sounds are ranked".into());
    }
    let text = question.to_lowercase();
    let nearest =
        ["nearest to the farthest", "nearest first", "with the nearest", "growing distance", "that is nearest"];
    let nearest = nearest.iter().any(|w| text.contains(w))
        || ["walking outwards", "nearest one first", "nearest, middle, farthest"].iter().any(|w| text.contains(w));
    let farthest = ["farthest to the nearest", "farthest first", "with the farthest", "that is farthest away"];
    let farthest = farthest.iter().any(|w| text.contains(w))
        || ["farthest one first", "farthest, middle, nearest"].iter().any(|w| text.contains(w));
    let what = match (nearest, farthest) {
        (true, false) => "nearest",
        (false, true) => "farthest",
        _ => return Err(format!("which order does {question:?} ask for?")),
    };
    // Each before each that follows.
    let mut parts = Vec::new();
    for (k, &a) in order.iter().enumerate() {
        for &b in &order[k + 1..] {
            parts.push(truth.before(a, b, what)?[0].clone());
        }
    }
    Ok(all(&parts))
}

fn turned(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let [a, b] = two(truth, question)?;
    let (p, q) = (&truth.sources[a], &truth.sources[b]);
    let named = one_number(option)?;
    if let Some(side) = option.split("° to the ").nth(1) {
        // All wordings name first what is faced first.
        let turn = circle(q.azimuth - p.azimuth);
        let amount = apart(turn, 0.0);
        if !(14.0..=161.0).contains(&amount) || !question.contains("short") {
            return Err(format!("a turn of {amount} degrees, or either way: {question:?}"));
        }
        let is_left = turn < 180.0;
        return Ok(all(&[fact((side == "left") == is_left), part((amount - named).abs(), 6.0, 20.0)]));
    }
    if !question.contains("heights included") {
        return Err(format!("which angle does {question:?} ask for?"));
    }
    let own = angle((p.azimuth, p.elevation), (q.azimuth, q.elevation));
    Ok(all(&[part((own - named).abs(), 6.0, 20.0)]))
}

fn at_direction(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    if !question.contains("0° is straight ahead, 90° is to the left") || !question.contains("up is positive") {
        return Err(format!("no convention in {question:?}"));
    }
    let at = question.find("azimuth ").ok_or("no azimuth")?;
    let [azimuth, elevation] = numbers(&question[at..])[..2] else { return Err("no direction".into()) };
    let off = |s: &Source| angle((s.azimuth, s.elevation), (azimuth, elevation));
    let near: Vec<&Source> = truth.sources.iter().filter(|s| off(s) < 24.0).collect();
    let [own] = near[..] else { return Err(format!("{} sounds near the direction", near.len())) };
    if off(own) > 5.0 {
        return Err(format!("the sound is {} degrees off", off(own)));
    }
    let (name, m) = match option.split_once(", about ") {
        Some((name, m)) => (between(name, "the ", "")?, Some(one_number(between(m, "", " m away")?)?)),
        None => (option, None),
    };
    let named = match () {
        _ if own.label == name => fact(true),
        _ if words::may_be_called(&own.label, name) => open(),
        _ => fact(false),
    };
    let i = truth.sources.iter().position(|s| std::ptr::eq(s, own)).expect("it is one of them");
    Ok(all(&std::iter::once(named).chain(m.map(|m| truth.distance(i, m))).collect::<Vec<_>>()))
}

fn says(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let speakers: Vec<usize> = (0..truth.sources.len()).filter(|&i| truth.sources[i].is_speech).collect();
    if let Some((said, way)) = option.rsplit_once("\", from the ") {
        let [i] = speakers[..] else { return Err(format!("{} speakers", speakers.len())) };
        return Ok(all(&[said_by(&truth.sources[i], between(said, "\"", "")?)?, truth.sector(i, way, 0.0, 45.0)?]));
    }
    let at = question.find("from the ").ok_or(format!("no place in {question:?}"))? + "from the ".len();
    let way: String = question[at..].chars().take_while(|c| c.is_alphabetic() || *c == '-').collect();
    let i = from(truth, &way)?;
    if !speakers.contains(&i) || speakers.len() != 2 {
        return Err(format!("{} speakers, and source {i} is there", speakers.len()));
    }
    Ok(all(&[said_by(&truth.sources[i], between(option, "\"", "\"")?)?]))
}
