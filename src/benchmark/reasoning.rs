//! Level 3: the scene and what people know about the world.

use super::claims::{Claim, Extreme, FADING_MARGINS, LENGTH_MARGINS, about};
use super::draft::{Choice, Context, Draft, agree, all_apart, grid, one_of};
use super::facts::{Facts, OCTANTS, SECTORS, turn_between_deg};
use super::knowledge::Entry;
use super::verdict::Verdict;
use super::wording::{from_the, hear, octant, sector};
use crate::rng::Rng;

/// Whether no two entries are of one family: of two that are, a reader would know that neither is right.
fn all_foreign(entries: &[&Entry]) -> bool {
    all_apart(entries, |a, b| !a.is_akin(b))
}

/// The entries of a scene's sources, each once; `None` when the table does not know one of them.
fn present(c: &Context) -> Option<Vec<&'static Entry>> {
    let mut entries: Vec<&'static Entry> = c.facts.senses.iter().map(|s| s.entry).collect::<Option<_>>()?;
    entries.sort_by_key(|e| e.situation);
    entries.dedup_by_key(|e| e.situation);
    Some(entries)
}

/// `n` table entries of labels of the set, akin neither to each other nor to `present`, at random.
fn absent(c: &Context, rng: &mut Rng, n: usize, present: &[&'static Entry]) -> Option<Vec<&'static Entry>> {
    let mut order: Vec<usize> = (0..c.pool.senses.len()).collect();
    rng.shuffle(&mut order);
    let mut chosen: Vec<&'static Entry> = Vec::new();
    for entry in order.into_iter().filter_map(|i| c.pool.senses[i].entry) {
        if chosen.len() < n && !present.iter().chain(&chosen).any(|e| e.is_akin(entry)) {
            chosen.push(entry);
        }
    }
    (chosen.len() == n).then_some(chosen)
}

/// What is going on.
pub(super) fn scene_abduction(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let present = present(c)?;
    let event = |e: &Entry| Claim::Event { situation: e.situation.into() };
    let (kind, choices) = if present.len() == 1 {
        let others = absent(c, rng, 3, &present)?;
        let choice = |e: &Entry| Choice::new(e.situation, event(e));
        ("one event", [choice(present[0]), choice(others[0]), choice(others[1]), choice(others[2])])
    } else {
        let first = rng.below(present.len());
        let second = (first + 1 + rng.below(present.len() - 1)) % present.len();
        let (a, b) = (present[first], present[second]);
        if !all_foreign(&[a, b]) {
            return None;
        }
        let others = absent(c, rng, 2, &present)?;
        let pair = |a: &Entry, b: &Entry| {
            Choice::new(format!("{}, and {}", a.situation, b.situation), Claim::both(event(a), event(b)))
        };
        let right_or = |first: bool, right, i: usize| if first { right } else { others[i] };
        ("two events", grid(|first, second| pair(right_or(first, a, 0), right_or(second, b, 1))))
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

/// A source whose intention fits no other source of the scene.
fn with_intention(c: &Context, rng: &mut Rng) -> Option<(usize, &'static Entry)> {
    let source = c.named(rng)?;
    let entry = c.facts.senses[source].entry?;
    let fits_another = |i: usize| i != source && c.facts.senses[i].entry.is_none_or(|e| e.is_akin(entry));
    (!(0..c.facts.count()).any(fits_another)).then_some((source, entry))
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
        let text = format!("towards the {}, about {m:.2} m away", OCTANTS[direction]);
        Choice::new(text, Claim::both(sector, Claim::Distance { source, m }))
    });
    let aim = entry.intention;
    let question = match rng.below(3) {
        0 => format!("The listener wants to {aim}. Which way should they turn, and how far away is the goal?"),
        1 => format!("Somebody at this place has to {aim}. Where is the place to go?"),
        _ => format!("In order to {aim}, in which direction would the listener go, and how far away is it?"),
    };
    Some(Draft {
        kind: "way to an aim",
        context: String::new(),
        reasoning: format!("{} To {aim}, one goes to the {}.", hear(c, &[source]), c.label(source)),
        open: Some([question.clone(), format!("The place to go is {}.", choices[0].text)]),
        choices,
        question,
    })
}

fn aim_of_way(c: &Context, rng: &mut Rng, source: usize, entry: &'static Entry) -> Option<Draft> {
    let facts = c.facts;
    let direction = octant(facts.azimuth_deg(source, 0.0));
    let here =
        |i: usize| Claim::Sector { source: i, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
    let others: Vec<usize> = (0..facts.count()).filter(|&i| i != source).collect();
    if here(source).verdict(facts) != Verdict::True || others.iter().any(|&i| here(i).verdict(facts) != Verdict::False)
    {
        return None;
    }
    let mut entries = vec![entry];
    entries.extend(others.iter().filter_map(|&i| facts.senses[i].entry));
    if !all_foreign(&entries) {
        return None;
    }
    entries.extend(absent(c, rng, 4 - entries.len(), &entries)?);
    let choice = |i: usize| {
        let intention = entries[i].intention.to_string();
        Choice::new(format!("to {intention}"), Claim::Intends { source, intention })
    };
    let words = from_the(direction).replace("from the", "towards the");
    let question = match rng.below(3) {
        0 => format!("The listener turns and walks {words}. Why, most likely?"),
        1 => format!("Somebody walks {words}. What do they probably want?"),
        _ => format!("What would be a reason to go {words} from here?"),
    };
    Some(Draft {
        kind: "aim of a way",
        context: OCTANTS[direction].into(),
        choices: [choice(0), choice(1), choice(2), choice(3)],
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
    let is = agree(label, "is", "are");
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
            let (facts, i) = c.pool.any(rng);
            azimuths.push(facts.azimuth_deg(i, turn_deg));
        }
        if !all_apart(&azimuths, |a, b| turn_between_deg(*a, *b).abs() >= 20.0) {
            return None;
        }
        let choice = |deg: f64| Choice::new(c.azimuth(deg), Claim::Azimuth { source, deg, turn_deg });
        ("azimuth after a turn", [choice(azimuths[0]), choice(azimuths[1]), choice(azimuths[2]), choice(azimuths[3])])
    };
    let question = match (rng.below(2), kind) {
        (0, "side after a turn") => format!("If you turn around by {by}, on which side would the {label} be?"),
        (_, "side after a turn") => format!("The listener turns {by}. Where {is} the {label} then?"),
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
                let text = format!("nearest is then the {}, highest up the {}", c.label(near), c.label(high));
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
    let (is, falls) = (agree(label, "is", "are"), agree(label, "falls", "fall"));
    let question = match rng.below(3) {
        0 => format!("If the {label} {is} removed, which statement is true of the rest?"),
        1 => format!("Imagine the scene without the {label}. What holds?"),
        _ => format!("The {label} {falls} silent. Which statement is right about the rest?"),
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

/// Extremes with the words for them: "the highest sound" would be one of pitch.
pub(super) const EXTREMES: [(Extreme, &str); 4] = [
    (Extreme::Nearest, "nearest"),
    (Extreme::Farthest, "farthest"),
    (Extreme::Highest, "highest up"),
    (Extreme::Lowest, "lowest down"),
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
        0 => format!("Identify the source that is {word} and state its direction."),
        1 => format!("Which sound is {word}, and where does it come from?"),
        _ => format!("Name the sound that is {word} together with its direction."),
    };
    let all: Vec<usize> = (0..facts.count()).collect();
    Some(Draft {
        kind: "multi-hop",
        context: word.into(),
        reasoning: format!("{} Of these, {word}: the {}.", hear(c, &all), c.label(source)),
        open: Some([question.clone(), format!("It is {}.", choices[0].text)]),
        choices,
        question,
    })
}

/// What a statement of [`physical_consistency`] measures.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    Fading,
    FarthestCorner,
    Ceiling,
    /// Of the direct sound of a source.
    Travel(usize),
}

/// Draws of a scene of the same size, and the most draws that count in [`wrong_value`].
const SAME_SIZE_TRIES: usize = 60;
const CORRECTION_MAX: usize = 8;

impl Measure {
    /// The value in a scene; of travel times that of source `i`.
    fn value(self, facts: &Facts, i: usize) -> Option<f64> {
        match self {
            Measure::Fading => facts.reverberation_s(),
            Measure::FarthestCorner => Some(facts.farthest_corner_m()),
            Measure::Ceiling => Some(facts.ceiling_above_m()),
            Measure::Travel(_) => Some(facts.travel_ms(i)),
        }
    }

    fn statement(self, c: &Context, value: f64) -> Choice {
        let (text, claim) = match self {
            Measure::Fading => (
                format!("sounds in this room take about {value:.2} s to fade by 60 dB"),
                Claim::ReverberationTime { s: value },
            ),
            Measure::FarthestCorner => {
                let m = value;
                (format!("the farthest corner of the room is about {m:.2} m away"), Claim::FarthestCorner { m })
            }
            Measure::Ceiling => {
                let m = value;
                (format!("the ceiling is about {m:.2} m above the listener's ears"), Claim::CeilingAbove { m })
            }
            Measure::Travel(source) => {
                let (label, ms) = (c.label(source), value);
                let text = format!("the direct sound of the {label} travels for about {ms:.2} ms");
                (text, Claim::TravelTime { source, ms })
            }
        };
        Choice::new(text, Claim::Not { of: Box::new(claim) })
    }

    /// A value of another room of the same size. In rooms of other sizes it would give itself away beside the other
    /// statements. Nor may rare values stand out: common ones are more often too near the truth to be wrong, so they are
    /// taken as much more often as it needs draws to find a scene in which they are wrong.
    fn wrong_value(self, c: &Context, rng: &mut Rng) -> Option<f64> {
        let draw = |rng: &mut Rng| {
            let (facts, i) = (0..SAME_SIZE_TRIES)
                .map(|_| c.pool.any(rng))
                .find(|(facts, _)| facts.room().size == c.facts.room().size)?;
            self.value(facts, i)
        };
        let value = draw(rng)?;
        let margins = if self == Measure::Fading { FADING_MARGINS } else { LENGTH_MARGINS };
        let mut draws = 1;
        while draws < CORRECTION_MAX && about(draw(rng)?, value, margins) != Verdict::False {
            draws += 1;
        }
        (rng.below(CORRECTION_MAX) < draws).then_some(value)
    }
}

/// What cannot be in this room: four statements, one of which has a value of another scene.
pub(super) fn physical_consistency(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let facts = c.facts;
    let mut measures = vec![Measure::Fading, Measure::FarthestCorner, Measure::Ceiling];
    measures.extend(facts.named.iter().map(|&i| Measure::Travel(i)));
    rng.shuffle(&mut measures);
    let right = |measure: Measure| {
        let source = if let Measure::Travel(i) = measure { i } else { 0 };
        Some(measure.statement(c, measure.value(facts, source)?))
    };
    let [first, second, third, fourth, ..] = measures[..] else { return None };
    let wrong = first.statement(c, first.wrong_value(c, rng)?);
    let choices = [wrong, right(second)?, right(third)?, right(fourth)?];
    let question = one_of(
        rng,
        &[
            "Which statement is physically impossible, given this room and where its sounds are?",
            "Which of these statements cannot be true of what is heard?",
            "Three statements fit this scene, one contradicts it. Which one?",
        ],
    );
    let (size, measured) = (&facts.room().size, facts.reverberation_s()?);
    let all: Vec<usize> = (0..facts.count()).collect();
    Some(Draft {
        kind: "physics",
        context: String::new(),
        question: question.into(),
        reasoning: format!("{} I hear a {size} room that rings for {measured:.1} s.", hear(c, &all)),
        choices,
        open: None,
    })
}
