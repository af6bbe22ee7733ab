//! How skeletons may write what a claim asserts: angles, places, regions, sides.

use super::super::super::claims::{Extreme, Region, Side};
use super::super::super::facts::{around, turn_between_deg};
use super::skeleton::{number, octant_token};

/// An azimuth, absolute or as a turn to one side; with a word for the direction when that agrees. Of one that is `told` the
/// text must say that it is one.
pub(super) fn azimuth(deg: f64, told: bool) -> Vec<String> {
    let deg = around(deg);
    let az = if told { "az" } else { "az?" };
    let mut all = Vec::new();
    for x in [deg, deg - 360.0].into_iter().chain((deg == 0.0).then_some(360.0)) {
        let text = number(x, "deg");
        all.push(format!("{az} {text} ccw?"));
        let near = (0..8).filter(|&o| turn_between_deg(deg, 45.0 * o as f64).abs() <= 22.5).map(octant_token);
        for word in near {
            all.push(format!("{az} {text} {word}"));
            all.push(format!("{word} {az} {text}"));
        }
    }
    if deg > 0.0 && deg < 180.0 {
        all.push(format!("az? {} left/ccw", number(deg, "deg")));
    }
    if deg > 180.0 {
        all.push(format!("az? {} right/cw", number(360.0 - deg, "deg")));
    }
    all
}

/// An elevation in degrees.
pub(super) fn elevation(deg: f64, told: bool) -> Vec<String> {
    let el = if told { "el" } else { "el?" };
    let mut all = vec![format!("{el} {} ear?", number(deg, "deg"))];
    let (side, size) = if deg < 0.0 { ("down", -deg) } else { ("up", deg) };
    if deg == 0.0 {
        all.push("ear".into());
    } else {
        let size = number(size, "deg");
        all.push(format!("el? {size} {side} ear?"));
        all.push(format!("{side} ear {size}"));
    }
    all
}

/// A direction in two angles: the azimuth first, or both by name.
pub(super) fn direction(azimuth_deg: f64, elevation_deg: f64) -> Vec<String> {
    let both = |a: Vec<String>, b: Vec<String>| -> Vec<String> {
        a.iter().flat_map(|a| b.iter().map(move |b| format!("{a} {b}"))).collect()
    };
    let mut all = both(azimuth(azimuth_deg, false), elevation(elevation_deg, false));
    let told = |all: Vec<String>| {
        all.into_iter().filter(|p| !p.starts_with("az? ") || p.ends_with("left/ccw") || p.ends_with("right/cw"))
    };
    all.extend(both(elevation(elevation_deg, true), told(azimuth(azimuth_deg, true)).collect()));
    all
}

/// A band of elevations: a claim keeps five degrees inside what its text says.
pub(super) fn band(low_deg: f64, high_deg: f64) -> Vec<String> {
    const GAP_DEG: f64 = 5.0;
    if (low_deg, high_deg) == (-GAP_DEG, GAP_DEG) {
        return vec!["ear".into(), "ear less 10deg".into(), "less 10deg ear".into()];
    }
    let (side, low, high) = if low_deg < 0.0 { ("down", -high_deg, -low_deg) } else { ("up", low_deg, high_deg) };
    let deg = |x: f64| number(x, "deg");
    match (low, high) {
        (GAP_DEG, 90.0) => vec![format!("{side} ear?")],
        (low, 90.0) => {
            let from = deg(low - GAP_DEG);
            vec![format!("far? {side} ear? more {from}"), format!("more {from} {side} ear?")]
        }
        (GAP_DEG, high) => {
            let to = deg(high + GAP_DEG);
            vec![format!("{side} ear? less {to}"), format!("less {to} {side} ear?")]
        }
        (low, high) => {
            let (from, to) = (low - GAP_DEG, deg(high + GAP_DEG));
            let from = format!("{}/n{}", deg(from), number(from, ""));
            vec![format!("{side} ear? {from} {to}"), format!("{from} {to} {side} ear?")]
        }
    }
}

/// A region of the listener's surroundings.
pub(super) fn region(region: Region) -> Vec<String> {
    let all: &[&str] = match region {
        Region::Anywhere => &[""],
        Region::Left => &["left"],
        Region::Right => &["right"],
        Region::Front => &["front"],
        Region::Behind => &["back"],
        Region::Above => &["up ear?"],
        Region::Below => &["down ear?"],
        Region::Near => &["less 2m", "near than 2m", "near less 2m"],
    };
    all.iter().map(|s| s.to_string()).collect()
}

/// What stands out.
pub(super) fn extreme(what: Extreme) -> &'static str {
    match what {
        Extreme::Nearest => "nearest",
        Extreme::Farthest => "farthest",
        Extreme::Highest => "highest",
        Extreme::Lowest => "lowest",
    }
}

/// A side of the room.
pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Front => "front",
        Side::Left => "left",
        Side::Back => "back",
        Side::Right => "right",
        Side::Up => "up",
    }
}
