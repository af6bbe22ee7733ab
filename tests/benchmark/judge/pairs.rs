//! Options about two sounds.

use super::super::truth::{Truth, apart, circle};
use super::{Judged, ROUNDING_M, agreed, all, between, fact, one_number, open, part, split};

pub(super) fn closer(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    if let Some((name, gap)) = option.split_once(" closer, by ") {
        let name = name.strip_suffix(" is").or(name.strip_suffix(" are")).ok_or(format!("no verb in {option:?}"))?;
        let a = truth.only(between(name, "the ", "")?)?;
        let [x, y] = truth.named_in(question)[..] else { return Err(format!("not two sounds in {question:?}")) };
        let b = if a == x { y } else { x };
        let [sign, _] = truth.before(a, b, "nearest")?;
        let gap_m = (truth.sources[a].distance - truth.sources[b].distance).abs();
        let off = match gap {
            "less than a metre" => gap_m - 1.0,
            "more than a metre" => 1.0 - gap_m,
            _ => return Err(format!("{gap:?} is no difference")),
        };
        return Ok(all(&[sign, part(off, -0.24, 0.24)]));
    }
    let joined = if option.contains(" is closer than ") { " is closer than " } else { " are closer than " };
    let (a, rest) = split(option, joined)?;
    let (b, m) = split(rest, ", by about ")?;
    let a = truth.only(between(a, "the ", "")?)?;
    let b = truth.only(between(b, "the ", "")?)?;
    let mut asked = truth.named_in(question);
    asked.sort_unstable();
    if asked != [a.min(b), a.max(b)] {
        return Err(format!("{question:?} is about other sounds than {option:?}"));
    }
    let (near, far, m) = (truth.sources[a].distance, truth.sources[b].distance, one_number(m)?);
    let by = part((far - near - m).abs(), 0.055, (0.2 * near.max(far)).max(0.5) - ROUNDING_M);
    let [sign, _] = truth.before(a, b, "nearest")?;
    Ok(all(&[sign, by]))
}

pub(super) fn relative(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let named = truth.named_in(question);
    let faces =
        ["turns to", "facing", "Facing", "faces", "Turned towards", "looks at", "has turned to", "turned to face"];
    let faces = faces.iter().any(|w| question.contains(w))
        || question.contains("turns towards")
        || question.contains("after a turn");
    let first = ["Compared with the ", "Starting at the ", "Take the ", "Relative to the "];
    let (a, b) = match named[..] {
        [first_named, second] if faces || first.iter().any(|w| question.contains(w)) => (second, first_named),
        [first_named, second] => (first_named, second),
        _ => return Err(format!("{} sounds in {question:?}", named.len())),
    };
    truth.only(&truth.sources[a].label)?;
    truth.only(&truth.sources[b].label)?;
    let (side, height) = split(between(option, "to the ", "")?, " and ")?;
    let left = circle(truth.sources[a].azimuth - truth.sources[b].azimuth);
    // To the left of something: by a turn, and for who does not turn to it, farther to that side as well.
    let sideward = |i: usize| {
        let s = &truth.sources[i];
        s.elevation.to_radians().cos() * s.azimuth.to_radians().sin()
    };
    let lead = sideward(a) - sideward(b);
    let agrees = faces || lead.abs() >= 0.19 && (lead > 0.0) == (left < 180.0);
    let clear = (14.0..=151.0).contains(&apart(left, 0.0)) && agrees;
    let beside = match side {
        "left" | "right" if !clear => open(),
        "left" => fact(left < 180.0),
        "right" => fact(left > 180.0),
        _ => return Err(format!("{side:?} is no side")),
    };
    let [as_angle, in_metres] = truth.before(a, b, height)?;
    Ok(agreed(&[vec![beside.clone(), as_angle], vec![beside, in_metres]]))
}

/// Who goes to the first sound of the question ends closer to the second, or farther from it.
pub(super) fn reaching(truth: &Truth, question: &str, option: &str) -> Result<Judged, String> {
    let [goal, other] = truth.named_in(question)[..] else { return Err(format!("not two sounds in {question:?}")) };
    let (way, change) = split(option, ", and the ")?;
    let rest = change.strip_prefix(truth.sources[other].label.as_str()).ok_or("another sound is spoken of")?;
    let closer = match rest.trim_start_matches(" is then ").trim_start_matches(" are then ") {
        "closer than now" => true,
        "farther away than now" => false,
        other => return Err(format!("{other:?} is no change")),
    };
    truth.only(&truth.sources[goal].label)?;
    truth.only(&truth.sources[other].label)?;
    let (p, q) = (truth.sources[goal].offset, truth.sources[other].offset);
    let there = (0..3).map(|i| (p[i] - q[i]).powi(2)).sum::<f64>().sqrt();
    let now = truth.sources[other].distance;
    let lead = if closer { there - now } else { now - there };
    let clear = (0.2 * there.max(now)).max(0.5) - ROUNDING_M;
    Ok(all(&[truth.eighth(goal, way)?, part(lead, -clear, clear)]))
}
