//! Size and finish of the room, and its reverberation time.

use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, all_apart, grid};
use super::super::phrases::{ask, say};
use crate::rng::Rng;

const ROOM: [&str; 12] = [
    "Which description fits the room and its reverberation?",
    "In what kind of room was this recorded?",
    "Judge the size and the reverberation: which room is it?",
    "What can be said about the size of the room and its walls?",
    "Going by the echoes, which room is the listener in?",
    "Which of these rooms sounds like the one in this recording?",
    "How large is the room, and how much do its walls absorb?",
    "What kind of acoustic environment surrounds the listener?",
    "Which statement about the room's size and surfaces is right?",
    "From the way the sounds ring on, which room is most fitting?",
    "What do reflections and reverberation tell about the room?",
    "Which room do the acoustics of this scene point to?",
];
const FADES: [&str; 12] = [
    "What is the reverberation time (RT60) of this room, as heard?",
    "How long is the reverberation time of this room, as heard?",
    "How long does a sound in this room take to fade by 60 dB?",
    "Estimate the RT60 of the room in seconds.",
    "After how many seconds has a sound in this room faded by 60 dB?",
    "For how long does this room ring on, measured as RT60?",
    "Which reverberation time fits what is heard in this room?",
    "Listening to the decay, what is the reverberation time of the room?",
    "How quickly does sound die away here, as a decay of 60 dB?",
    "What RT60 would be measured in the room of this recording?",
    "The room answers each sound for a while. How long is its RT60?",
    "Which of these reverberation times belongs to this room?",
];
const HEARD: [&str; 10] = [
    "I hear the room answer for about {s} s.",
    "I hear each sound ring on for about {s} s.",
    "The decay that I hear lasts about {s} s.",
    "What I hear fades by 60 dB in about {s} s.",
    "After each sound I hear about {s} s of reverberation.",
    "Listening to the ends of the sounds, I hear them fade within about {s} s.",
    "I hear a reverberation of about {s} s.",
    "The tail that I hear is about {s} s long.",
    "I hear the walls answer, and that dies away in about {s} s.",
    "By ear, the room rings for about {s} s.",
];
const ROOM_STEPS: [&str; 8] = [
    "The echoes arrive as in a {size} room, and its surfaces are {finish}.",
    "With first reflections as a {size} room gives them, the walls must be {finish}.",
    "That speaks of a {size} room with {finish} walls.",
    "The early reflections tell of a {size} room; such a decay in it means {finish} surfaces.",
    "For a {size} room, which the first echoes show, this means {finish} walls.",
    "So the room is {size}, with {finish} walls.",
    "A {size} room by the delays of its walls; by how it rings, {finish} surfaces.",
    "Size by the first echoes: {size}. Surfaces by the decay: {finish}.",
];
const FADES_STEPS: [&str; 8] = [
    "That is the reverberation time, as a {size} room with {finish} walls has it.",
    "As RT60 this is what a {size} room with {finish} surfaces gives.",
    "The option nearest to {s} s is right.",
    "Among the options I look for the one closest to {s} s.",
    "So the RT60 is close to {s} s.",
    "A {size} room with {finish} walls does that, so RT60 is near {s} s.",
    "None of the other times is near {s} s.",
    "Hence a reverberation time of about {s} s.",
];

/// Words for the finish of walls, with the limits that make them checkable.
const FINISHES: [(&str, &str); 3] = [
    ("reflective", "hard walls that absorb less than 20 % of the sound"),
    ("moderate", "walls that absorb 20 to 40 % of the sound"),
    ("absorptive", "soft walls that absorb more than 40 % of the sound"),
];
/// Sizes of rooms by floor area: rooms between them are not asked about.
const SIZES: [(&str, &str); 3] = [
    ("small", "a small room (up to 20 m² of floor)"),
    ("medium", "a medium-sized room (30 to 55 m² of floor)"),
    ("large", "a large room (70 m² of floor or more)"),
];

/// What is heard of the room, and what follows.
fn reasoning(c: &Context, rng: &mut Rng, measured_s: f64, steps: &[&str]) -> String {
    let (seconds, room) = (format!("{measured_s:.1}"), c.facts.room());
    let finish = match room.finish.as_str() {
        "reflective" => "hard, reflective",
        "absorptive" => "soft, absorptive",
        _ => "moderately absorptive",
    };
    let gaps = [("s", seconds.as_str()), ("size", &room.size), ("finish", finish)];
    format!("{} {}", say(rng, &HEARD, &gaps), say(rng, steps, &gaps))
}

/// The reverberation time.
pub(in super::super) fn reverberation_time(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let measured = c.facts.reverberation_s()?;
    let mut times = vec![measured];
    while times.len() < 4 {
        times.push(c.pool.any(rng).0.reverberation_s()?);
    }
    if !all_apart(&times, |a, b| (a / b).ln().abs() >= 1.4f64.ln()) {
        return None;
    }
    let choice = |s: f64| Choice::new(format!("{s:.2} s"), Claim::ReverberationTime { s });
    let question = ask(rng, &FADES, &[]);
    Some(Draft {
        kind: "reverberation time",
        context: String::new(),
        question: question.clone(),
        choices: [choice(times[0]), choice(times[1]), choice(times[2]), choice(times[3])],
        reasoning: reasoning(c, rng, measured, &FADES_STEPS),
        open: Some([question, format!("The reverberation time is about {measured:.1} s.")]),
    })
}

/// Size and finish of the room.
pub(in super::super) fn room(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let room = c.facts.room();
    let measured = c.facts.reverberation_s()?;
    let (_, finish_words) = *FINISHES.iter().find(|(f, _)| *f == room.finish)?;
    let (_, size_words) = *SIZES.iter().find(|(s, _)| *s == room.size)?;
    let (other_finish, other_words) = FINISHES[rng.below(3)];
    let (other_size, other_size_words) = SIZES[rng.below(3)];
    if other_finish == room.finish || other_size == room.size {
        return None;
    }
    let choices = grid(|first, second| {
        let (size, size_words) = if first { (room.size.as_str(), size_words) } else { (other_size, other_size_words) };
        let (finish, words) = if second { (room.finish.as_str(), finish_words) } else { (other_finish, other_words) };
        let claim = Claim::both(Claim::RoomSize { size: size.into() }, Claim::RoomFinish { finish: finish.into() });
        Choice::new(format!("{size_words} with {words}"), claim)
    });
    let question = ask(rng, &ROOM, &[]);
    Some(Draft {
        kind: "room",
        context: String::new(),
        question: question.clone(),
        choices,
        reasoning: reasoning(c, rng, measured, &ROOM_STEPS),
        open: Some([question, format!("It is {size_words} with {finish_words}.")]),
    })
}
