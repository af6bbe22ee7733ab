//! A scene in words: for rows of text alone, and as the answer to "describe this scene".
//!
//! Numbers are rounded as a model will come to hear them: whole degrees, tenths of metres and seconds.

use super::claims::Side;
use super::draft::Context;
use super::facts::OCTANTS;
use super::phrases::fill;
use super::wording::{capital, join, octant};
use crate::rng::Rng;

/// A way to describe a scene: a sentence about the room, and one about each source.
struct Style {
    room: &'static str,
    source: &'static str,
}

const fn style(room: &'static str, source: &'static str) -> Style {
    Style { room, source }
}

const STYLES: [Style; 10] = [
    style(
        "A {size} room of {x} x {y} x {z} m with {finish} walls, RT60 {s} s.",
        "The {name}: azimuth {az} ({dir}), elevation {el}, {m} m.",
    ),
    style(
        "The room is {size}, {x} by {y} m and {z} m high; its walls are {finish} and it rings for {s} s.",
        "The {name} from the {dir} at azimuth {az}, elevation {el}, {m} m away.",
    ),
    style(
        "Room: {size}, {finish}, {x} x {y} x {z} m, reverberation {s} s.",
        "{Name}: {dir}, azimuth {az}, elevation {el}, distance {m} m.",
    ),
    style(
        "One is in a {size} room with {finish} surfaces ({x} m long, {y} m wide, {z} m high) where sound fades in {s} s.",
        "{m} m away, azimuth {az} ({dir}) and elevation {el}: the {name}.",
    ),
    style(
        "With a reverberation time of {s} s, the room is {finish}; it is {size}: {x} x {y} x {z} m.",
        "At azimuth {az}, in the {dir}, elevation {el}, {m} m off: the {name}.",
    ),
    style(
        "{s} s of reverberation in a {size} room with {finish} walls, {x} by {y} by {z} m.",
        "Heard from the {dir} (azimuth {az}), elevation {el}, at {m} m: the {name}.",
    ),
    style(
        "Size of the room: {size} ({x} x {y} m, height {z} m). Walls: {finish}. RT60: {s} s.",
        "Source: the {name}. Direction: {dir}, azimuth {az}. Elevation: {el}. Distance: {m} m.",
    ),
    style(
        "The walls are {finish}, the room is {size} with {x} x {y} x {z} m, and it takes {s} s for sound to fade.",
        "The {name}, {m} m from the listener, azimuth {az} ({dir}), elevation {el}.",
    ),
    style(
        "Acoustics: {finish} surfaces, RT60 of {s} s, a {size} room of {x} by {y} by {z} m.",
        "Elevation {el}, azimuth {az}, {m} m: the {name}, in the {dir}.",
    ),
    style(
        "In a {size}, {finish} room ({x} x {y} x {z} m, {s} s of reverberation) there is the following.",
        "In the {dir}, azimuth {az}, {m} m away and at elevation {el}, the {name}.",
    ),
];

/// The scene as a text: one of ten styles, sources in any order, the room before or after them.
pub fn description(c: &Context, rng: &mut Rng) -> String {
    let style = &STYLES[rng.below(STYLES.len())];
    let mut order: Vec<usize> = (0..c.facts.count()).collect();
    rng.shuffle(&mut order);
    let mut sentences: Vec<String> = order.into_iter().map(|i| source(c, i, style.source)).collect();
    let at = if rng.below(2) == 0 { 0 } else { sentences.len() };
    sentences.insert(at, room(c, style.room));
    sentences.join(" ")
}

fn source(c: &Context, i: usize, wording: &str) -> String {
    let (facts, label) = (c.facts, c.label(i));
    let azimuth = facts.azimuth_deg(i, 0.0);
    let (az, m) = (c.rounded(azimuth), format!("{:.1}", facts.distance_m(i)));
    let (name, el) = (capital(label), elevation(facts.elevation_deg(i)));
    let gaps =
        [("name", label), ("Name", &name), ("az", &az), ("el", &el), ("m", &m), ("dir", OCTANTS[octant(azimuth)])];
    let mut text = fill(wording, &gaps);
    let (begins, ends) = (facts.begins_s(i), facts.ends_s(i));
    if begins >= 0.3 || ends <= facts.truth.seconds - 0.3 {
        text += &format!(" It sounds from {begins:.1} to {ends:.1} s.");
    }
    if let Some(words) = facts.transcript(i) {
        text += &format!(" It says \"{words}\".");
    }
    text
}

fn elevation(degrees: f64) -> String {
    format!("{degrees:.0}°").replace("-0°", "0°")
}

fn room(c: &Context, wording: &str) -> String {
    let room = c.facts.room();
    let [x, y, z] = room.dimensions_m.map(|m| format!("{m:.1}"));
    let seconds = format!("{:.1}", c.facts.reverberation_s().unwrap_or(room.rt60_s));
    let gaps =
        [("size", room.size.as_str()), ("finish", &room.finish), ("x", &x), ("y", &y), ("z", &z), ("s", &seconds)];
    let room = fill(wording, &gaps);
    if !c.facts.faces_a_wall() {
        return room;
    }
    let [front, left, back, right, up] = Side::ALL.map(|side| format!("{:.1} m", c.facts.wall_m(side)));
    format!(
        "{room} The walls: {front} ahead, {left} to the left, {back} behind, {right} to the right; the ceiling {up} up."
    )
}

/// Questions for the whole scene.
const WHOLE: [&str; 6] = [
    "Describe this scene: what is heard, and where?",
    "What can be heard here, from where and how far away?",
    "Give an account of all sound sources, their places and the room.",
    "Tell for every sound of the scene where it is.",
    "What is around the listener?",
    "List the sounds with their directions and distances.",
];

/// An open question about the whole scene, and its answer: every sound bound to its place.
pub(super) fn whole_scene(c: &Context, rng: &mut Rng) -> [String; 2] {
    let item = |i: usize| {
        let (facts, direction) = (c.facts, OCTANTS[octant(c.facts.azimuth_deg(i, 0.0))]);
        let height = super::chain::height(facts.elevation_deg(i));
        format!("the {} in the {direction}, {height}, about {:.1} m away", c.label(i), facts.distance_m(i))
    };
    let mut order: Vec<usize> = (0..c.facts.count()).collect();
    rng.shuffle(&mut order);
    let items: Vec<String> = order.into_iter().map(item).collect();
    let room = c.facts.room();
    let answer = format!("I hear {}. The room is {} with {} walls.", join(&items), room.size, room.finish);
    [WHOLE[rng.below(WHOLE.len())].into(), answer]
}
