//! Level 3: the scene and what people know about the world.

use super::claims::{Claim, Extreme, Verdict};
use super::draft::{Choice, Context, Draft, all_apart, grid, one_of};
use super::facts::{OCTANTS, SECTORS, turn_between_deg};
use super::knowledge::{Entry, of_label};
use super::wording::{from_the, hear, octant, sector};
use crate::rng::Rng;

/// Table entries of the absent labels of the set that tell of nothing in the scene, in random order.
fn absent(c: &Context, rng: &mut Rng) -> Vec<&'static Entry> {
    let present: Vec<&str> = c.facts.labels.iter().filter_map(|l| of_label(l)).map(|e| e.situation).collect();
    let known = c.pool.labels.iter().filter_map(|l| of_label(l));
    let mut entries: Vec<&'static Entry> = known.filter(|e| !present.contains(&e.situation)).collect();
    entries.sort_by_key(|e| e.situation);
    entries.dedup_by_key(|e| e.situation);
    rng.shuffle(&mut entries);
    entries
}

/// What is going on.
pub(super) fn scene_abduction(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let present: Vec<&Entry> = c.facts.labels.iter().map(|l| of_label(l)).collect::<Option<_>>()?;
    let absent = absent(c, rng);
    let event = |e: &Entry| Claim::Event { situation: e.situation.into() };
    let (kind, choices) = if present.len() == 1 {
        if absent.len() < 3 {
            return None;
        }
        let choice = |e: &Entry| Choice::new(e.situation, event(e));
        ("one event", [choice(present[0]), choice(absent[0]), choice(absent[1]), choice(absent[2])])
    } else {
        let first = rng.below(present.len());
        let second = (first + 1 + rng.below(present.len() - 1)) % present.len();
        let (a, b) = (present[first], present[second]);
        let [c, d, ..] = absent[..] else { return None };
        let pair = |a: &Entry, b: &Entry| {
            Choice::new(format!("{}, and {}", a.situation, b.situation), Claim::both(event(a), event(b)))
        };
        ("two events", grid(|first, second| pair(if first { a } else { c }, if second { b } else { d })))
    };
    let question = one_of(
        rng,
        &[
            "What is the most plausible explanation of this scene?",
            "What is most likely going on here?",
            "Which situation explains the sounds best?",
        ],
    );
    let all: Vec<usize> = (0..c.facts.count()).collect();
    Some(Draft {
        kind,
        context: String::new(),
        question: question.into(),
        reasoning: format!("{} That means that {}.", hear(c, &all), choices[0].text),
        open: Some([question.into(), format!("{}.", super::wording::capital(&choices[0].text))]),
        choices,
    })
}

/// A source whose intention no other source of the scene shares.
fn with_intention(c: &Context, rng: &mut Rng) -> Option<(usize, &'static Entry)> {
    let source = c.named(rng)?;
    let entry = of_label(c.label(source))?;
    let entries: Vec<&Entry> = c.facts.labels.iter().map(|l| of_label(l)).collect::<Option<_>>()?;
    (entries.iter().filter(|e| e.intention == entry.intention).count() == 1).then_some((source, entry))
}

/// What somebody does to reach an aim, or what aim explains what they do.
pub(super) fn causal_intent(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (source, entry) = with_intention(c, rng)?;
    if rng.below(2) == 0 { way_to_aim(c, rng, source, entry) } else { aim_of_way(c, rng, source, entry) }
}

fn way_to_aim(c: &Context, rng: &mut Rng, source: usize, entry: &Entry) -> Option<Draft> {
    let facts = c.facts;
    let (direction, m) = (octant(facts.azimuth_deg(source, 0.0)), facts.distance_m(source));
    let others: Vec<usize> = (0..facts.count()).filter(|&i| i != source).collect();
    let (place, from) = match others[..] {
        [] => c.pool.any(rng),
        _ => (facts, others[rng.below(others.len())]),
    };
    let (wrong_direction, wrong_m) = (octant(place.azimuth_deg(from, 0.0)), place.distance_m(from));
    let choices = grid(|first, second| {
        let direction = if first { direction } else { wrong_direction };
        let m = if second { m } else { wrong_m };
        let sector = Claim::Sector { source, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
        let text = format!("towards the {}, about {m:.2} m", OCTANTS[direction]);
        Choice::new(text, Claim::both(sector, Claim::Distance { source, m }))
    });
    let aim = entry.intention;
    let question = match rng.below(3) {
        0 => format!("The listener wants to {aim}. Which way should they go, and how far?"),
        1 => format!("Somebody at this place has to {aim}. Where do they have to go?"),
        _ => format!("In order to {aim}, in which direction and how far would the listener walk?"),
    };
    Some(Draft {
        kind: "way to an aim",
        context: String::new(),
        reasoning: format!("{} To {aim}, one goes to the {}.", hear(c, &[source]), c.label(source)),
        open: Some([question.clone(), format!("They should go {}.", choices[0].text)]),
        choices,
        question,
    })
}

fn aim_of_way(c: &Context, rng: &mut Rng, source: usize, entry: &Entry) -> Option<Draft> {
    let facts = c.facts;
    let direction = octant(facts.azimuth_deg(source, 0.0));
    let here =
        |i: usize| Claim::Sector { source: i, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
    let others: Vec<usize> = (0..facts.count()).filter(|&i| i != source).collect();
    if here(source).verdict(facts) != Verdict::True || others.iter().any(|&i| here(i).verdict(facts) != Verdict::False)
    {
        return None;
    }
    let mut aims = vec![entry.intention];
    aims.extend(others.iter().filter_map(|&i| of_label(c.label(i))).map(|e| e.intention));
    aims.dedup();
    aims.extend(absent(c, rng).iter().map(|e| e.intention));
    aims.truncate(4);
    let choice = |aim: &&str| Choice::new(format!("to {aim}"), Claim::Intends { source, intention: aim.to_string() });
    let choices: Vec<Choice> = aims.iter().map(choice).collect();
    let words = from_the(direction).replace("from the", "towards the");
    let question = match rng.below(3) {
        0 => format!("The listener turns and walks {words}. Why, most likely?"),
        1 => format!("Somebody walks {words}. What do they probably want?"),
        _ => format!("What would be a reason to go {words} from here?"),
    };
    Some(Draft {
        kind: "aim of a way",
        context: OCTANTS[direction].into(),
        choices: choices.try_into().ok()?,
        reasoning: format!("{} Somebody who goes there probably wants to {}.", hear(c, &[source]), entry.intention),
        open: Some([question.clone(), format!("Probably to {}.", entry.intention)]),
        question,
    })
}

/// Where a source would be after a turn.
pub(super) fn rotate_observer(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let steps = if rng.below(2) == 0 { 90 } else { 30 };
    let turn = (steps * (1 + rng.below(360 / steps - 1))) as i64;
    // Turning right is a negative turn to the left.
    let turn = if turn > 180 { turn - 360 } else { turn };
    let turn_deg = turn as f64;
    let by = match turn {
        180 => "180°".to_string(),
        t if t > 0 => format!("{t}° to the left"),
        t => format!("{}° to the right", -t),
    };
    let (label, azimuth) = (c.label(source), c.facts.azimuth_deg(source, turn_deg));
    let (kind, choices) = if steps == 90 {
        let right = sector(azimuth);
        let choice = |i: usize| {
            let at = (right + i) % 4;
            let claim = Claim::Sector { source, centre_deg: 90.0 * at as f64, width_deg: 90.0, turn_deg };
            Choice::new(SECTORS[at], claim)
        };
        ("side after a turn", [choice(0), choice(1), choice(2), choice(3)])
    } else {
        let mut azimuths = vec![azimuth];
        azimuths.extend((0..c.facts.count()).filter(|&i| i != source).map(|i| c.facts.azimuth_deg(i, turn_deg)));
        while azimuths.len() < 4 {
            azimuths.push(rng.range(0.0, 360.0));
        }
        if !all_apart(&azimuths, |a, b| turn_between_deg(*a, *b).abs() >= 20.0) {
            return None;
        }
        let choice = |deg: f64| Choice::new(c.azimuth(deg), Claim::Azimuth { source, deg, turn_deg });
        ("azimuth after a turn", [choice(azimuths[0]), choice(azimuths[1]), choice(azimuths[2]), choice(azimuths[3])])
    };
    let question = match (rng.below(2), kind) {
        (0, "side after a turn") => format!("If you turn around by {by}, on which side would the {label} be?"),
        (_, "side after a turn") => format!("The listener turns {by}. Where is the {label} then?"),
        (0, _) => format!("If you turn around by {by}, at what azimuth would the {label} be?"),
        _ => format!(
            "The listener turns {by}. What is the new azimuth of the {label}, counter-clockwise from the front?"
        ),
    };
    let before = c.facts.azimuth_deg(source, 0.0);
    let verb = format!("After the turn its azimuth goes from about {before:.0}° to {azimuth:.0}°.");
    Some(Draft {
        kind,
        context: by,
        reasoning: format!("{} {verb}", hear(c, &[source])),
        open: Some([question.clone(), format!("It would be at {}.", choices[0].text)]),
        choices,
        question,
    })
}

/// What remains true without a source.
pub(super) fn source_removal(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let facts = c.facts;
    if facts.named.len() != facts.count() {
        return None;
    }
    let removed = c.named(rng)?;
    let rest: Vec<usize> = (0..facts.count()).filter(|&i| i != removed).collect();
    let (kind, choices) = match rest[..] {
        [a, b] => {
            let near = if facts.distance_m(a) < facts.distance_m(b) { a } else { b };
            let high = if facts.elevation_deg(a) > facts.elevation_deg(b) { a } else { b };
            let other = |x: usize| if x == a { b } else { a };
            let choices = grid(|first, second| {
                let near = if first { near } else { other(near) };
                let high = if second { high } else { other(high) };
                let out = |source, what| Claim::StandsOut { source, what, without: Some(removed) };
                let text =
                    format!("the {} is then the nearest sound and the {} the highest", c.label(near), c.label(high));
                Choice::new(text, Claim::both(out(near, Extreme::Nearest), out(high, Extreme::Highest)))
            });
            ("two remain", choices)
        }
        [source] => {
            let (direction, m) = (octant(facts.azimuth_deg(source, 0.0)), facts.distance_m(source));
            let wrong = (octant(facts.azimuth_deg(removed, 0.0)), facts.distance_m(removed));
            let choices = grid(|first, second| {
                let direction = if first { direction } else { wrong.0 };
                let m = if second { m } else { wrong.1 };
                let sector =
                    Claim::Sector { source, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
                let text = format!("what is left comes {}, about {m:.2} m away", from_the(direction));
                Choice::new(text, Claim::both(sector, Claim::Distance { source, m }))
            });
            ("one remains", choices)
        }
        _ => return None,
    };
    let label = c.label(removed);
    let question = match rng.below(3) {
        0 => format!("If the {label} is removed, which statement remains true?"),
        1 => format!("Imagine the scene without the {label}. What holds?"),
        _ => format!("The {label} falls silent. Which statement is right about the rest?"),
    };
    Some(Draft {
        kind,
        context: label.into(),
        reasoning: format!("{} Without the {label}, {}.", hear(c, &rest), choices[0].text),
        open: None,
        choices,
        question,
    })
}

/// Extremes with the words for them.
pub(super) const EXTREMES: [(Extreme, &str); 4] = [
    (Extreme::Nearest, "nearest"),
    (Extreme::Farthest, "farthest"),
    (Extreme::Highest, "highest"),
    (Extreme::Lowest, "lowest"),
];

/// Find a source by one property, tell its direction.
pub(super) fn multi_hop_query(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let facts = c.facts;
    let (what, word) = EXTREMES[rng.below(4)];
    let out = |source| Claim::StandsOut { source, what, without: None };
    let source = *facts.named.iter().find(|&&i| out(i).verdict(facts) == Verdict::True)?;
    let others: Vec<usize> = facts.named.iter().copied().filter(|&i| i != source).collect();
    if others.is_empty() {
        return None;
    }
    let other = others[rng.below(others.len())];
    let side = |i: usize| octant(facts.azimuth_deg(i, 0.0));
    let choices = grid(|first, second| {
        let (i, direction) = (if first { source } else { other }, side(if second { source } else { other }));
        let sector = Claim::Sector { source: i, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
        Choice::new(format!("the {}, {}", c.label(i), from_the(direction)), Claim::both(out(i), sector))
    });
    let question = match rng.below(3) {
        0 => format!("Identify the {word} source and state its direction."),
        1 => format!("Which sound is the {word}, and where does it come from?"),
        _ => format!("Name the {word} of the sounds together with its direction."),
    };
    let all: Vec<usize> = (0..facts.count()).collect();
    Some(Draft {
        kind: "multi-hop",
        context: word.into(),
        reasoning: format!("{} The {word} of them is the {}.", hear(c, &all), c.label(source)),
        open: Some([question.clone(), format!("It is {}.", choices[0].text)]),
        choices,
        question,
    })
}

/// What cannot be in this room: four statements, one of which has a value of another scene.
pub(super) fn physical_consistency(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let facts = c.facts;
    let mut makers: Vec<usize> = (0..3).chain(facts.named.iter().map(|i| 3 + i)).collect();
    rng.shuffle(&mut makers);
    if makers.len() < 4 {
        return None;
    }
    let choice = |k: usize, wrong: bool, rng: &mut Rng| {
        let (from, i) = if wrong { c.pool.any(rng) } else { (facts, makers[k].saturating_sub(3)) };
        let (text, claim) = match makers[k] {
            0 => {
                let s = from.rtsd.room.rt60_s;
                (format!("sounds in this room fade by 60 dB within about {s:.2} s"), Claim::ReverberationTime { s })
            }
            1 => {
                let m = from.farthest_corner_m();
                (format!("the farthest corner of the room is about {m:.2} m away"), Claim::FarthestCorner { m })
            }
            2 => {
                let m = from.ceiling_above_m();
                (format!("the ceiling is about {m:.2} m above the listener's ears"), Claim::CeilingAbove { m })
            }
            named => {
                let (source, ms) = (named - 3, from.travel_ms(i));
                let label = c.label(source);
                (
                    format!("the direct sound of the {label} travels for about {ms:.2} ms"),
                    Claim::TravelTime { source, ms },
                )
            }
        };
        Choice::new(text, Claim::Not { of: Box::new(claim) })
    };
    let choices = [choice(0, true, rng), choice(1, false, rng), choice(2, false, rng), choice(3, false, rng)];
    let question = one_of(
        rng,
        &[
            "Which statement is physically impossible given the room?",
            "Which of these statements cannot be true of what is heard?",
            "Three statements fit this scene, one contradicts it. Which one?",
        ],
    );
    let room = &facts.rtsd.room;
    let all: Vec<usize> = (0..facts.count()).collect();
    Some(Draft {
        kind: "physics",
        context: String::new(),
        question: question.into(),
        reasoning: format!("{} I hear a {} room that rings for {:.1} s.", hear(c, &all), room.size, room.rt60_s),
        choices,
        open: None,
    })
}
