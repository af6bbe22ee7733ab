//! Level 1: one source, or the whole scene, one attribute at a time.

use super::claims::{Claim, Region, overlap, plain};
use super::draft::{Choice, Context, Draft, agree, all_apart, grid, one_of};
use super::names::a;
use super::wording::{hear, how_many, join, number};
use crate::rng::Rng;

/// How many sources there are: plain, in a region, or both at once. Plain counts are one to three and never the fourth
/// option, so they are the smaller part.
pub(super) fn count_objects(c: &Context, rng: &mut Rng) -> Option<Draft> {
    match rng.below(10) {
        0 | 1 => Some(plain_count(c, rng)),
        2..=5 => count_in_region(c, rng),
        _ => count_and_region(c, rng),
    }
}

fn all_sources(c: &Context) -> Vec<usize> {
    (0..c.facts.count()).collect()
}

fn sources_word(n: usize) -> String {
    format!("{} {}", number(n), if n == 1 { "source" } else { "sources" })
}

fn plain_count(c: &Context, rng: &mut Rng) -> Draft {
    let count = c.facts.count();
    let mut numbers: Vec<usize> = (1..=4).filter(|n| *n != count).collect();
    numbers.insert(0, count);
    let choice = |n: usize| Choice::new(number(n), Claim::Count { region: Region::Anywhere, n });
    let question = one_of(
        rng,
        &[
            "How many independent sound sources are audible?",
            "How many sound sources can be heard in this recording?",
            "Count the separate sources of sound in this scene. How many are there?",
        ],
    );
    Draft {
        kind: "plain count",
        context: String::new(),
        question: question.into(),
        choices: [choice(numbers[0]), choice(numbers[1]), choice(numbers[2]), choice(numbers[3])],
        reasoning: format!("{} That makes {}.", hear(c, &all_sources(c)), sources_word(count)),
        open: Some([question.into(), format!("There are {} sound sources.", number(count))]),
    }
}

/// Regions with the words for them; "somewhere", because each is half of all directions.
pub(super) const REGIONS: [(Region, &str); 7] = [
    (Region::Left, "somewhere to the left of the listener"),
    (Region::Right, "somewhere to the right of the listener"),
    (Region::Front, "somewhere in front of the listener"),
    (Region::Behind, "somewhere behind the listener"),
    (Region::Above, "above ear level"),
    (Region::Below, "below ear level"),
    (Region::Near, "less than two metres away"),
];

/// How many sources of the scene lie in a region.
fn inside(c: &Context, region: Region) -> Option<usize> {
    use super::verdict::Verdict;
    (0..=c.facts.count()).find(|&n| Claim::Count { region, n }.verdict(c.facts) == Verdict::True)
}

fn count_in_region(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (region, words) = REGIONS[rng.below(REGIONS.len())];
    let count = inside(c, region)?;
    let mut numbers: Vec<usize> = (0..4).filter(|n| *n != count).collect();
    numbers.insert(0, count);
    let choice = |n: usize| Choice::new(how_many(n), Claim::Count { region, n });
    let question = format!("How many of the audible sound sources are {words}?");
    Some(Draft {
        kind: "count in a region",
        context: words.into(),
        question: question.clone(),
        choices: [choice(numbers[0]), choice(numbers[1]), choice(numbers[2]), choice(numbers[3])],
        reasoning: format!("{} So the number {words} is {}.", hear(c, &all_sources(c)), number(count)),
        open: Some([question, format!("The number of sources {words} is {}.", number(count))]),
    })
}

fn count_and_region(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (region, words) = REGIONS[rng.below(REGIONS.len())];
    let (n, k) = (c.facts.count(), inside(c, region)?);
    let other_n = [1, 2, 3][rng.below(3)];
    let other_k = rng.below(n.min(other_n) + 1);
    if other_n == n || other_k == k || k > other_n {
        return None;
    }
    let choices = grid(|first, second| {
        let (n, k) = (if first { n } else { other_n }, if second { k } else { other_k });
        let claim = Claim::both(Claim::Count { region: Region::Anywhere, n }, Claim::Count { region, n: k });
        Choice::new(format!("{} in all, {} {words}", sources_word(n), how_many(k)), claim)
    });
    let question = one_of(
        rng,
        &[
            "Which description of the number and the place of the sound sources is right?",
            "How many sound sources are audible, and how many of them in the region named?",
        ],
    );
    Some(Draft {
        kind: "count and region",
        context: words.into(),
        question: question.into(),
        choices,
        reasoning: format!(
            "{} That makes {}, {} of them {words}.",
            hear(c, &all_sources(c)),
            sources_word(n),
            number(k)
        ),
        open: None,
    })
}

/// Which of four sounds is heard.
pub(super) fn identify_event_class(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.with_name(rng);
    let label = c.label(source).to_string();
    let others = c.pool.other_labels(rng, 3, &c.facts.senses)?;
    let choice = |label: &String| Choice::new(label, Claim::Present { label: label.clone() });
    let question = one_of(
        rng,
        &[
            "Which of these sounds can be heard in the recording?",
            "Which sound event occurs in this scene?",
            "Only one of these sounds is present. Which one?",
        ],
    );
    Some(Draft {
        kind: "class",
        context: String::new(),
        question: question.into(),
        choices: [choice(&label), choice(&others[0]), choice(&others[1]), choice(&others[2])],
        reasoning: format!("{} The {label} is among these sounds, the others are not heard.", hear(c, &[source])),
        open: Some([
            "Which sounds can be heard in the recording?".into(),
            format!("I hear {}.", join(&c.facts.labels.iter().map(|l| a(l)).collect::<Vec<_>>())),
        ]),
    })
}

/// What is said.
pub(super) fn identify_speech_transcript(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let speaking: Vec<usize> = (0..c.facts.count()).filter(|&i| c.facts.transcript(i).is_some()).collect();
    // Two speakers: "what is said" would have two answers.
    let speech = c.facts.truth.sources.iter().filter(|s| s.domain == crate::sources::Domain::Speech).count();
    let (&[source], 1) = (&speaking[..], speech) else { return None };
    let mut others: Vec<&String> = c.pool.transcripts.iter().collect();
    rng.shuffle(&mut others);
    let mut texts = vec![c.facts.transcript(source)?.to_string()];
    for other in others {
        if texts.len() < 4 && !texts.iter().any(|t| overlap(&plain(t), &plain(other))) {
            texts.push(other.clone());
        }
    }
    let [a, b, d, e] = <[String; 4]>::try_from(texts).ok()?;
    let choice = |text: String| Choice::new(format!("\"{text}\""), Claim::Says { source, text });
    let question = one_of(rng, &["What does the speaker say?", "Which words are spoken in the recording?"]);
    Some(Draft {
        kind: "transcript",
        context: String::new(),
        question: question.into(),
        reasoning: format!("{} The voice says \"{a}\".", hear(c, &[source])),
        open: Some([question.into(), format!("The speaker says \"{a}\".")]),
        choices: [choice(a), choice(b), choice(d), choice(e)],
    })
}

/// Azimuth of a named source.
pub(super) fn localize_azimuth(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    // Where the other sources are, then where sources of other scenes are: a value that is right once is wrong elsewhere.
    let mut azimuths = vec![c.facts.azimuth_deg(source, 0.0)];
    azimuths.extend((0..c.facts.count()).filter(|&i| i != source).map(|i| c.facts.azimuth_deg(i, 0.0)));
    while azimuths.len() < 4 {
        let (facts, i) = c.pool.any(rng);
        azimuths.push(facts.azimuth_deg(i, 0.0));
    }
    if !all_apart(&azimuths, |a, b| super::facts::turn_between_deg(*a, *b).abs() >= 20.0) {
        return None;
    }
    let choice = |deg: f64| Choice::new(c.azimuth(deg), Claim::Azimuth { source, deg, turn_deg: 0.0 });
    let label = c.label(source);
    let (is, does) = (agree(label, "is", "are"), agree(label, "does", "do"));
    let question = match rng.below(3) {
        0 => format!("At what azimuth {is} the {label}, counted counter-clockwise from the front?"),
        1 => format!("From which azimuth {does} the {label} reach the listener (0° is the front, counter-clockwise)?"),
        _ => format!("Estimate the horizontal angle of the {label}, counter-clockwise from straight ahead."),
    };
    Some(Draft {
        kind: "azimuth",
        context: String::new(),
        choices: [choice(azimuths[0]), choice(azimuths[1]), choice(azimuths[2]), choice(azimuths[3])],
        reasoning: format!("{} Its azimuth is about {:.0}°.", hear(c, &[source]), azimuths[0]),
        open: Some([question.clone(), format!("The {label} {is} at an azimuth of {}.", c.azimuth(azimuths[0]))]),
        question,
    })
}

/// Bands of elevation with a gap between them, lowest first.
pub(super) const BANDS: [(f64, f64, &str); 4] = [
    (-90.0, -25.0, "far below ear level, by more than 20°"),
    (-15.0, -5.0, "slightly below ear level, by less than 20°"),
    (5.0, 15.0, "slightly above ear level, by less than 20°"),
    (25.0, 90.0, "far above ear level, by more than 20°"),
];

/// Elevation of a named source: as a number or as one of four bands.
pub(super) fn localize_elevation(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let (label, elevation) = (c.label(source), c.facts.elevation_deg(source));
    let is = agree(label, "is", "are");
    let question = match rng.below(2) {
        0 => format!("What is the elevation of the {label}?"),
        _ => format!("How high {is} the {label}, as an angle from ear level?"),
    };
    let (kind, choices) = if rng.below(2) == 0 {
        let right = BANDS.iter().position(|(low, high, _)| (*low..=*high).contains(&elevation))?;
        let mut order: Vec<usize> = (0..4).filter(|b| *b != right).collect();
        order.insert(0, right);
        let choice = |i: usize| {
            let (low_deg, high_deg, words) = BANDS[order[i]];
            Choice::new(words, Claim::ElevationWithin { source, low_deg, high_deg })
        };
        ("elevation band", [choice(0), choice(1), choice(2), choice(3)])
    } else {
        let mut elevations = vec![elevation];
        while elevations.len() < 4 {
            let (facts, i) = c.pool.any(rng);
            elevations.push(facts.elevation_deg(i));
        }
        if !all_apart(&elevations, |a, b| (a - b).abs() >= 11.0) {
            return None;
        }
        let choice = |deg: f64| Choice::new(c.elevation(deg), Claim::Elevation { source, deg });
        ("elevation", [choice(elevations[0]), choice(elevations[1]), choice(elevations[2]), choice(elevations[3])])
    };
    let side = if elevation > 0.0 { "above" } else { "below" };
    Some(Draft {
        kind,
        context: String::new(),
        choices,
        reasoning: format!("{} It sounds about {:.0}° {side} ear level.", hear(c, &[source]), elevation.abs()),
        open: Some([question.clone(), format!("The {label} {is} {:.0}° {side} ear level.", elevation.abs())]),
        question,
    })
}

/// Whether two distances can be told apart.
pub(super) fn distances_apart(a: f64, b: f64) -> bool {
    (a - b).abs() >= (0.27 * a.max(b)).max(0.42)
}

/// Distance of a named source.
pub(super) fn estimate_distance(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let mut distances = vec![c.facts.distance_m(source)];
    while distances.len() < 4 {
        let (facts, i) = c.pool.any(rng);
        distances.push(facts.distance_m(i));
    }
    if !all_apart(&distances, |a, b| distances_apart(*a, *b)) {
        return None;
    }
    let choice = |m: f64| Choice::new(format!("{m:.2} m"), Claim::Distance { source, m });
    let label = c.label(source);
    let is = agree(label, "is", "are");
    let question = match rng.below(3) {
        0 => format!("How far away {is} the {label}?"),
        1 => format!("What is the distance between the listener and the {label}?"),
        _ => format!("Estimate the distance of the {label} in metres."),
    };
    Some(Draft {
        kind: "distance",
        context: String::new(),
        choices: [choice(distances[0]), choice(distances[1]), choice(distances[2]), choice(distances[3])],
        reasoning: format!("{} Direct sound and echo fit this distance best.", hear(c, &[source])),
        open: Some([question.clone(), format!("The {label} {is} {:.2} m away.", distances[0])]),
        question,
    })
}

/// Words for the finish of walls, with the limits that make them checkable.
pub(super) const FINISHES: [(&str, &str); 3] = [
    ("reflective", "hard walls that absorb less than 20 % of the sound"),
    ("moderate", "walls that absorb 20 to 40 % of the sound"),
    ("absorptive", "soft walls that absorb more than 40 % of the sound"),
];
/// Sizes of rooms by floor area: rooms between them are not asked about.
pub(super) const SIZES: [(&str, &str); 3] = [
    ("small", "a small room (up to 20 m² of floor)"),
    ("medium", "a medium-sized room (30 to 55 m² of floor)"),
    ("large", "a large room (70 m² of floor or more)"),
];

/// Size and finish of the room, or its reverberation time.
pub(super) fn environment_acoustics(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let room = c.facts.room();
    let measured = c.facts.reverberation_s()?;
    let reasoning = format!(
        "I hear the room answer for about {measured:.1} s, as a {} room with {} surfaces does.",
        room.size, room.finish
    );
    if rng.below(2) == 0 {
        let mut times = vec![measured];
        while times.len() < 4 {
            times.push(c.pool.any(rng).0.reverberation_s()?);
        }
        if !all_apart(&times, |a, b| (a / b).ln().abs() >= 1.4f64.ln()) {
            return None;
        }
        let choice = |s: f64| Choice::new(format!("{s:.2} s"), Claim::ReverberationTime { s });
        let question = one_of(
            rng,
            &[
                "How long is the reverberation time of this room, as heard?",
                "How long does a sound in this room take to fade by 60 dB?",
            ],
        );
        return Some(Draft {
            kind: "reverberation time",
            context: String::new(),
            question: question.into(),
            choices: [choice(times[0]), choice(times[1]), choice(times[2]), choice(times[3])],
            reasoning,
            open: Some([question.into(), format!("The reverberation time is about {:.2} s.", times[0])]),
        });
    }
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
    let question = one_of(
        rng,
        &[
            "Which description fits the room?",
            "In what kind of room was this recorded?",
            "Judge the size and the reverberation: which room is it?",
        ],
    );
    Some(Draft {
        kind: "room",
        context: String::new(),
        question: question.into(),
        choices,
        reasoning,
        open: Some([question.into(), format!("It is {size_words} with {finish_words}.")]),
    })
}
