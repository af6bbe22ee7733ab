//! Level 2: attributes bound to objects, and objects to each other. Every question is about a scene of several sources, and
//! what its options offer belongs to them: who knows the sounds but not where they are cannot tell the options apart.

use super::chain::{Aspects, chain};
use super::claims::Claim;
use super::describe::whole_scene;
use super::draft::{Choice, Context, Draft, agree, grid};
use super::facts::{Facts, OCTANTS, turn_between_deg};
use super::perception::{AZIMUTH_FROM, distances_apart};
use super::phrases::{ask, fill};
use super::verdict::Verdict::{False, True};
use super::wording::{from_the, octant};
use crate::audio::foa::{angle_between_deg, unit_vector};
use crate::rng::Rng;

const BIND: [&str; 12] = [
    "Which statement describes content, location and distance rightly ({from})?",
    "Which description is right in content, location and distance ({from})?",
    "Which combination of sound, direction and distance is right ({from})?",
    "Only one of these descriptions of a sound and its place is right. Which one ({from})?",
    "Which of these ties a sound to its true place ({from})?",
    "Choose the statement in which sound, direction and distance belong together ({from}).",
    "What is where? Find the description without a mistake ({from}).",
    "Which option gives a sound of this scene its right direction and distance ({from})?",
    "Three of these statements put a sound in a wrong place. Which one is right ({from})?",
    "Match sound and place: which statement is true ({from})?",
    "Which of these claims about a sound, its direction and its distance holds ({from})?",
    "Verify the statements about a sound and its place. Which is correct ({from})?",
];
const BIND_STEPS: [&str; 8] = [
    "So what fits is {place}.",
    "Only one statement keeps all of it: {place}.",
    "Sound, direction and distance agree in {place}.",
    "Checking each statement against that leaves {place}.",
    "In the others the direction or the distance is another sound's; right is {place}.",
    "Taken together: {place}.",
    "That is {place}.",
    "Direction first, then distance: {place}.",
];
const LOCATION: [&str; 12] = [
    "Where {is} the {x} ({from})?",
    "Which location belongs to the {x} ({from})?",
    "The {x} can be heard. Where does that sound come from ({from})?",
    "From which place {does} the {x} reach the listener ({from})?",
    "Give the place of the {x}: azimuth, elevation and distance ({from}).",
    "In which direction and how far away {is} the {x} ({from})?",
    "Which azimuth, elevation and distance does one hear the {x} at ({from})?",
    "Find the {x} in this scene: which place is right ({from})?",
    "Of these places, which is that of the {x} ({from})?",
    "Locate the {x} by direction and distance ({from}).",
    "Someone asks where the {x} {is}. Which answer is right ({from})?",
    "Which of these is the place that the {x} {comes} from ({from})?",
];
const LOCATION_STEPS: [&str; 8] = [
    "The {x} {is} at {place}.",
    "So the place of the {x} is {place}.",
    "Asked is the {x}: {place}.",
    "The other sound has the other place; the {x} {is} at {place}.",
    "For the {x} that gives {place}.",
    "Direction and distance of the {x} together: {place}.",
    "Of these, the {x} {has} {place}.",
    "Hence {place} for the {x}.",
];
const IDENTITY: [&str; 12] = [
    "What sound is coming {place}, about {m} m away?",
    "Which sound reaches the listener {place} at a distance of about {m} m?",
    "Something sounds about {m} m away, {place}. What is it?",
    "What is heard {place}, about {m} m from the listener?",
    "Which of the sounds comes {place}, from about {m} m?",
    "Turning to what comes {place}, about {m} m away: what is it?",
    "Name the sound that comes {place} at about {m} m.",
    "At about {m} m something is heard {place}. Which sound is that?",
    "Which source is about {m} m away and heard {place}?",
    "Who or what makes the sound {place}, about {m} m off?",
    "Identify the source that is heard {place} from about {m} m away.",
    "The sound {place}, some {m} m away: what is it?",
];
const IDENTITY_STEPS: [&str; 8] = [
    "What comes {place} is the {x}.",
    "Direction and distance asked for fit the {x} alone.",
    "Only the {x} {is} heard {place}.",
    "The place named is that of the {x}.",
    "So {place} it is the {x}.",
    "The others come from elsewhere; {place} there is the {x}.",
    "About {m} m away, {place}: the {x}.",
    "This matches the {x}.",
];
const HEIGHT: [&str; 11] = [
    "What sound is coming {place}, about {m} m away, and is it above or below ear level?",
    "Which sound reaches the listener {place} from about {m} m, and at which height?",
    "Something sounds about {m} m away, {place}. What is it, and is it above or below the ears?",
    "Name the sound that comes {place} at about {m} m, and tell whether it is above or below ear level.",
    "What is heard {place}, about {m} m away: which sound, and from above or below?",
    "Identify the source {place}, about {m} m away, together with its height.",
    "Which source is about {m} m away and heard {place}, and does it sound from above or below?",
    "At about {m} m something is heard {place}. Which sound is it, and higher or lower than the ears?",
    "Turning to what comes {place}, about {m} m away: what is it, and must one look up or down?",
    "Which sound is it that comes {place}, some {m} m away, and on which side of ear level?",
    "Sound and height, please: what comes {place}, about {m} m away?",
];
const HEIGHT_STEPS: [&str; 8] = [
    "What comes {place} is the {x}, {height}.",
    "Direction and distance asked for fit the {x}, which {is} {height}.",
    "Only the {x} {is} heard {place}, and {height}.",
    "The place named is that of the {x}; it lies {height}.",
    "So {place} it is the {x}, {height}.",
    "The other comes from elsewhere; {place} there is the {x}, {height}.",
    "About {m} m away, {place}: the {x}, {height}.",
    "This matches the {x}, {height}.",
];
const CLOSER: [&str; 12] = [
    "Which is closer to the listener, the {x} or the {y}, and by how much?",
    "Compare the distances of the {x} and the {y}. Which statement is right?",
    "How do the {x} and the {y} differ in distance?",
    "Which statement about how near the {x} and the {y} are is true?",
    "Is the listener nearer to the {x} or to the {y}, and how large is the difference?",
    "The {x} and the {y}: which one is closer, and by what distance?",
    "How much closer is the nearer one of these two, the {x} or the {y}?",
    "Between the {x} and the {y}, which is the nearer one, and by how much?",
    "Judge the distances of the {x} and of the {y} against each other.",
    "Who would be reached first from here, the {x} or the {y}, and how many metres sooner?",
    "What is the difference in distance between the {x} and the {y}, and which is closer?",
    "The {x} and the {y}: which comparison of their distances is correct?",
];
const CLOSER_STEPS: [&str; 8] = [
    "{far} m minus {near} m is {gap} m, so the {x} {is} closer.",
    "{near} m is less than {far} m: the {x} {is} closer, by {gap} m.",
    "The difference is {far} - {near} = {gap} m, in favour of the {x}.",
    "Nearer {is} the {x}; {far} - {near} = {gap} m.",
    "From {near} m to {far} m there are {gap} m, and the {x} {is} the closer one.",
    "Subtracting, {far} - {near} = {gap}: the {x} {is} closer by {gap} m.",
    "The {x} {is} at {near} m, the {y} at {far} m, which makes {gap} m between them.",
    "So the {x} {is} closer than the {y}, by {far} - {near} = {gap} m.",
];
const ROUGHLY_STEPS: [&str; 8] = [
    "{far} m minus {near} m is {gap} m, {words}, so the {x} {is} closer {words}.",
    "{near} m is less than {far} m: the {x} {is} closer, by {gap} m, {words}.",
    "The difference is {far} - {near} = {gap} m, which is {words}; nearer {is} the {x}.",
    "Nearer {is} the {x}; {far} - {near} = {gap} m, {words}.",
    "From {near} m to {far} m there are {gap} m, {words}, and the {x} {is} the closer one.",
    "Subtracting, {far} - {near} = {gap} m: the {x} {is} closer {words}.",
    "The {x} {is} at {near} m, the {y} at {far} m: {gap} m apart, {words}.",
    "So the {x} {is} closer than the {y}; {gap} m is {words}.",
];
const RELATIVE: [&str; 12] = [
    "{Is} the {x} to the left or to the right of the {y}, and higher or lower?",
    "As the listener hears it, where {is} the {x} relative to the {y}?",
    "In which direction {does} the {x} lie from the {y}, as the listener hears it?",
    "Seen from the listener, {is} the {x} left or right of the {y}, and higher or lower?",
    "Compared with the {y}, where does the listener hear the {x}?",
    "How {does} the {x} lie in relation to the {y}, for the listener?",
    "For somebody looking straight ahead, where {is} the {x} from the {y}?",
    "To the listener's ears, how {does} the {x} lie with respect to the {y}?",
    "Left or right, higher or lower: how {is} the {x} placed relative to the {y}?",
    "Starting at the {y}, which way does the listener's attention go to reach the {x}?",
    "Take the {y} as the reference. Where {is} the {x} for the listener?",
    "Relative to the {y}, in which direction does the listener find the {x}?",
];
const FACING: [&str; 11] = [
    "The listener turns to face the {y}. Where {is} the {x} relative to it?",
    "With the listener facing the {y}, on which side {is} the {x}, and higher or lower?",
    "Suppose the listener faces the {y}: where {is} the {x} then, compared with it?",
    "Turned towards the {y}, where does the listener hear the {x} in relation to it?",
    "The listener looks at the {y}. {Is} the {x} to the left or right of it, higher or lower?",
    "Facing the {y}, the listener hears the {x} on which side and at which height?",
    "Once the listener has turned to the {y}, where {is} the {x} relative to it?",
    "Imagine facing the {y}. Which way would one turn to the {x}, and up or down?",
    "If the listener turns towards the {y}, how {is} the {x} placed relative to it?",
    "Having turned to face the {y}, where does the listener find the {x}?",
    "When the {y} {isy} straight ahead after a turn, where {is} the {x} compared with it?",
];
const RELATIVE_STEPS: [&str; 8] = [
    "From the {y} to the {x} it goes {turn} to the {side} and {rise}, so {words}.",
    "The difference is {turn} to the {side} and {rise}: {words}.",
    "Relative to the {y}, the {x} {is} {words}, by {turn} and {rise}.",
    "Comparing the angles, {turn} to the {side} and {rise}; that is {words}.",
    "The {x} {is} {turn} further to the {side} and {rise}: {words}.",
    "One turns {turn} to the {side} and looks {rise}: {words}.",
    "So seen from the {y} the {x} {is} {words} ({turn}, {rise}).",
    "Side: {side}, by {turn}. Height: {rise}. Together: {words}.",
];

/// Heights above the ears that occur in nearly all rooms.
const PLAUSIBLE_HEIGHTS_M: std::ops::RangeInclusive<f64> = -1.2..=0.6;
/// Directions of two sources whose places are told apart.
const APART_DEG: f64 = 16.0;

/// Where something is: azimuth, elevation, distance.
type Place = (f64, f64, f64);

fn place(facts: &Facts, i: usize) -> Place {
    (facts.azimuth_deg(i, 0.0), facts.elevation_deg(i), facts.distance_m(i))
}

fn words(c: &Context, (azimuth, elevation, m): Place) -> String {
    format!("azimuth {}, elevation {}, {m:.2} m away", c.azimuth(azimuth), c.elevation(elevation))
}

/// The same as a chain says it.
fn rounded(c: &Context, (azimuth, elevation, m): Place) -> String {
    let elevation = format!("{elevation:.0}°").replace("-0°", "0°");
    format!("azimuth {}, elevation {elevation}, {m:.1} m", c.rounded(azimuth))
}

fn claim(source: usize, (azimuth_deg, elevation_deg, m): Place) -> Claim {
    Claim::both(Claim::Direction { source, azimuth_deg, elevation_deg }, Claim::Distance { source, m })
}

/// Whether the directions and distances of two sources can be told apart, and the two places mixed fit into rooms.
fn are_apart(facts: &Facts, a: usize, b: usize) -> bool {
    let (p, q) = (place(facts, a), place(facts, b));
    // Far and steep at once fits into no room: a reader would know.
    let fits = |elevation: f64, m: f64| PLAUSIBLE_HEIGHTS_M.contains(&(m * elevation.to_radians().sin()));
    [p.1, q.1].into_iter().all(|elevation| fits(elevation, p.2) && fits(elevation, q.2))
        && angle_between_deg(unit_vector(p.0, p.1), unit_vector(q.0, q.1)) >= APART_DEG
        && distances_apart(p.2, q.2)
}

/// Two named sources that are apart, in random order.
fn pair_apart(c: &Context, rng: &mut Rng) -> Option<(usize, usize)> {
    let (a, b) = c.named_pair(rng)?;
    are_apart(c.facts, a, b).then_some((a, b))
}

/// Whether two named sources of a scene are as `fits` asks.
fn has_pair(facts: &Facts, fits: impl Fn(usize, usize) -> bool) -> bool {
    facts.named.iter().any(|&a| facts.named.iter().any(|&b| a < b && fits(a, b)))
}

/// Whether a scene has sources whose places may be mixed up.
pub(super) fn can_mix_places(facts: &Facts) -> bool {
    has_pair(facts, |a, b| are_apart(facts, a, b))
}

/// Whether a scene has sources whose distances may be compared.
pub(super) fn can_compare(facts: &Facts) -> bool {
    has_pair(facts, |a, b| clear_gap_m(facts, a, b).is_some())
}

/// Whether a scene has sources one of which is clearly higher than the other, and neither in line nor opposite.
pub(super) fn can_relate(facts: &Facts) -> bool {
    has_pair(facts, |a, b| {
        let verdict = |claim: Claim| claim.verdict(facts) != super::verdict::Verdict::Unclear;
        verdict(Claim::Above { a, b, higher: true }) && verdict(Claim::Beside { a, b, left: true, facing: true })
    })
}

/// Which direction and distance a sound has: its own, or another's of the scene.
pub(super) fn bind_place(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (source, other) = pair_apart(c, rng)?;
    let (own, wrong, label) = (place(c.facts, source), place(c.facts, other), c.label(source));
    let choices = grid(|first, second| {
        let (azimuth, elevation) = if first { (own.0, own.1) } else { (wrong.0, wrong.1) };
        let at = (azimuth, elevation, if second { own.2 } else { wrong.2 });
        Choice::new(format!("the {label} at {}", words(c, at)), claim(source, at))
    });
    bound(c, rng, "direction and distance", (source, other), choices)
}

/// Which of two sounds is in which of two directions.
pub(super) fn bind_identity(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (source, other) = pair_apart(c, rng)?;
    let (own, wrong) = (place(c.facts, source), place(c.facts, other));
    // With the distance of the first, nothing said about the other is right.
    let choices = grid(|first, second| {
        let i = if first { source } else { other };
        let (azimuth, elevation) = if second { (own.0, own.1) } else { (wrong.0, wrong.1) };
        let at = (azimuth, elevation, own.2);
        Choice::new(format!("the {} at {}", c.label(i), words(c, at)), claim(i, at))
    });
    bound(c, rng, "identity and direction", (source, other), choices)
}

fn bound(c: &Context, rng: &mut Rng, kind: &'static str, pair: (usize, usize), choices: [Choice; 4]) -> Option<Draft> {
    let (source, other) = pair;
    let at = format!("the {} at {}", c.label(source), rounded(c, place(c.facts, source)));
    let both = if rng.below(2) == 0 { [source, other] } else { [other, source] };
    Some(Draft {
        kind,
        context: String::new(),
        question: ask(rng, &BIND, &[("from", AZIMUTH_FROM)]),
        choices,
        reasoning: chain(c, rng, (&both, Aspects::PLACE), &BIND_STEPS, &[("place", &at)]),
        open: Some(whole_scene(c, rng)),
    })
}

/// Where a named source is.
pub(super) fn query_location(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (source, other) = pair_apart(c, rng)?;
    let (own, wrong) = (place(c.facts, source), place(c.facts, other));
    let choices = grid(|first, second| {
        let (azimuth, elevation) = if first { (own.0, own.1) } else { (wrong.0, wrong.1) };
        let at = (azimuth, elevation, if second { own.2 } else { wrong.2 });
        Choice::new(words(c, at), claim(source, at))
    });
    let label = c.label(source);
    let (is, does, has) = (agree(label, "is", "are"), agree(label, "does", "do"), agree(label, "has", "have"));
    let gaps =
        [("x", label), ("is", is), ("does", does), ("comes", agree(label, "comes", "come")), ("from", AZIMUTH_FROM)];
    let question = ask(rng, &LOCATION, &gaps);
    let at = rounded(c, own);
    let gaps = [("x", label), ("is", is), ("has", has), ("place", at.as_str())];
    let both = if rng.below(2) == 0 { [source, other] } else { [other, source] };
    Some(Draft {
        kind: "location",
        context: String::new(),
        choices,
        reasoning: chain(c, rng, (&both, Aspects::PLACE), &LOCATION_STEPS, &gaps),
        open: Some([question.clone(), format!("The {label} {is} at {at}.")]),
        question,
    })
}

/// A named source that is alone in its direction, even for a generous ear, with that direction.
fn alone_in_direction(c: &Context, rng: &mut Rng) -> Option<(usize, usize)> {
    let (facts, source) = (c.facts, c.named(rng)?);
    let direction = octant(facts.azimuth_deg(source, 0.0));
    let here =
        |i: usize| Claim::Sector { source: i, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
    let alone = here(source).verdict(facts) == True
        && (0..facts.count()).all(|i| i == source || here(i).verdict(facts) == False);
    alone.then_some((source, direction))
}

/// What is at a place: one of three sounds of the scene, or one that is not there.
pub(super) fn identity_of_three(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (source, direction) = alone_in_direction(c, rng)?;
    let others: Vec<usize> = c.facts.named.iter().copied().filter(|&i| i != source).collect();
    if others.len() < 2 {
        return None;
    }
    let mut labels: Vec<String> = [source, others[0], others[1]].map(|i| c.label(i).to_string()).to_vec();
    labels.extend(c.pool.other_labels(rng, 1, &c.facts.senses)?);
    let choice = |i: usize| Choice::new(&labels[i], Claim::Called { source, label: labels[i].clone() });
    let (place, m) = (from_the(direction), format!("{:.1}", c.facts.distance_m(source)));
    let gaps = [("x", labels[0].as_str()), ("place", &place), ("m", &m), ("is", agree(&labels[0], "is", "are"))];
    let question = ask(rng, &IDENTITY, &gaps);
    let mut heard = vec![source, others[0], others[1]];
    rng.shuffle(&mut heard);
    Some(Draft {
        kind: "identity",
        context: OCTANTS[direction].into(),
        choices: [choice(0), choice(1), choice(2), choice(3)],
        reasoning: chain(c, rng, (&heard, Aspects::NEAR_OR_FAR), &IDENTITY_STEPS, &gaps),
        open: Some([question.clone(), format!("It is the {}.", labels[0])]),
        question,
    })
}

/// Limits of elevation inside which "above" and "below ear level" hold.
const ABOVE_OR_BELOW: [(f64, f64, &str); 2] = [(5.0, 90.0, "above ear level"), (-90.0, -5.0, "below ear level")];

/// What is at a place, and how high: two sounds of the scene, above or below the ears.
pub(super) fn identity_and_height(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (source, direction) = alone_in_direction(c, rng)?;
    let others: Vec<usize> = c.facts.named.iter().copied().filter(|&i| i != source).collect();
    let other = *others.get(rng.below(others.len().max(1)))?;
    let right = usize::from(c.facts.elevation_deg(source) < 0.0);
    let choices = grid(|first, second| {
        let label = c.label(if first { source } else { other });
        let (low_deg, high_deg, words) = ABOVE_OR_BELOW[if second { right } else { 1 - right }];
        let height = Claim::ElevationWithin { source, low_deg, high_deg };
        Choice::new(format!("the {label}, {words}"), Claim::both(Claim::Called { source, label: label.into() }, height))
    });
    let (label, place, m) = (c.label(source), from_the(direction), format!("{:.1}", c.facts.distance_m(source)));
    let is = agree(label, "is", "are");
    let gaps = [("x", label), ("place", &place), ("m", &m), ("is", is), ("height", ABOVE_OR_BELOW[right].2)];
    let question = ask(rng, &HEIGHT, &gaps);
    let both = if rng.below(2) == 0 { [source, other] } else { [other, source] };
    Some(Draft {
        kind: "identity and height",
        context: OCTANTS[direction].into(),
        reasoning: chain(c, rng, (&both, Aspects::HEIGHT_AND_DISTANCE), &HEIGHT_STEPS, &gaps),
        open: Some([question.clone(), format!("It is {}.", choices[0].text)]),
        choices,
        question,
    })
}

/// How much closer one source is than another, when that is clear, and how far the farther one is.
fn clear_gap_m(facts: &Facts, i: usize, j: usize) -> Option<(f64, f64)> {
    let (a, b) = (facts.distance_m(i), facts.distance_m(j));
    (i != j && distances_apart(a, b)).then_some(((a - b).abs(), a.max(b)))
}

/// Which of two sources is closer, and by how many metres.
pub(super) fn closer_by(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = c.named_pair(rng)?;
    // The wrong difference is another pair's, by the same rules: neither may look more like a right one.
    let (other, i) = c.pool.any(rng);
    let j = (i + 1 + rng.below(other.count().max(2) - 1)) % other.count();
    let (m, far_m) = clear_gap_m(c.facts, x, y)?;
    let (wrong_m, wrong_far_m) = clear_gap_m(other, i, j)?;
    if (m - wrong_m).abs() < (0.22 * far_m.max(wrong_far_m)).max(0.55) {
        return None;
    }
    let (near, far) = if c.facts.distance_m(x) < c.facts.distance_m(y) { (x, y) } else { (y, x) };
    let choices = grid(|first, second| {
        let (a, b) = if first { (near, far) } else { (far, near) };
        let m = if second { m } else { wrong_m };
        let is = agree(c.label(a), "is", "are");
        let text = format!("the {} {is} closer than the {}, by about {m:.2} m", c.label(a), c.label(b));
        Choice::new(text, Claim::CloserBy { a, b, m })
    });
    Some(compared(c, rng, ("closer", &CLOSER_STEPS, ""), (x, y), (near, far), choices))
}

/// Differences in distance in words, with the limits inside which they hold.
const GAPS_M: [(f64, f64, &str); 2] = [(0.0, 0.75, "by less than a metre"), (1.25, 100.0, "by more than a metre")];

/// Which of two sources is closer, and roughly by how much.
pub(super) fn closer_roughly(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = c.named_pair(rng)?;
    let (m, _) = clear_gap_m(c.facts, x, y)?;
    let (near, far) = if c.facts.distance_m(x) < c.facts.distance_m(y) { (x, y) } else { (y, x) };
    let right = usize::from(m > 1.0);
    let choices = grid(|first, second| {
        let (a, b) = if first { (near, far) } else { (far, near) };
        let (low_m, high_m, words) = GAPS_M[if second { right } else { 1 - right }];
        let is = agree(c.label(a), "is", "are");
        Choice::new(format!("the {} {is} closer, {words}", c.label(a)), Claim::CloserWithin { a, b, low_m, high_m })
    });
    Some(compared(c, rng, ("closer, roughly", &ROUGHLY_STEPS, GAPS_M[right].2), (x, y), (near, far), choices))
}

fn compared(
    c: &Context,
    rng: &mut Rng,
    (kind, steps, words): (&'static str, &[&str], &str),
    (x, y): (usize, usize),
    (near, far): (usize, usize),
    choices: [Choice; 4],
) -> Draft {
    let question = ask(rng, &CLOSER, &[("x", c.label(x)), ("y", c.label(y))]);
    let tenths = |m: f64| (10.0 * m).round() / 10.0;
    let (near_m, far_m) = (tenths(c.facts.distance_m(near)), tenths(c.facts.distance_m(far)));
    let [near_text, far_text, gap] = [near_m, far_m, far_m - near_m].map(|m| format!("{m:.1}"));
    let (label, is) = (c.label(near), agree(c.label(near), "is", "are"));
    let gaps = [
        ("x", label),
        ("y", c.label(far)),
        ("is", is),
        ("near", &near_text),
        ("far", &far_text),
        ("gap", &gap),
        ("words", words),
    ];
    let by = if words.is_empty() { format!("by about {gap} m") } else { words.to_string() };
    Draft {
        kind,
        context: String::new(),
        choices,
        reasoning: chain(c, rng, (&[x, y], Aspects::NEAR_OR_FAR), steps, &gaps),
        open: Some([question.clone(), fill("The {x} {is} closer, {by}.", &[("x", label), ("is", is), ("by", &by)])]),
        question,
    }
}

/// Where one source is seen from another, for a listener who looks straight ahead.
pub(super) fn beside_and_above(c: &Context, rng: &mut Rng) -> Option<Draft> {
    relative(c, rng, false)
}

/// Where one source is seen from another, for a listener who has turned to that other.
pub(super) fn facing_and_above(c: &Context, rng: &mut Rng) -> Option<Draft> {
    relative(c, rng, true)
}

fn relative(c: &Context, rng: &mut Rng, facing: bool) -> Option<Draft> {
    let (a, b) = c.named_pair(rng)?;
    let turn = turn_between_deg(c.facts.azimuth_deg(a, 0.0), c.facts.azimuth_deg(b, 0.0));
    let rise = c.facts.elevation_deg(a) - c.facts.elevation_deg(b);
    let (left, higher) = (turn > 0.0, rise > 0.0);
    let side = |left: bool| if left { "left" } else { "right" };
    let height = |higher: bool| if higher { "higher up" } else { "lower down" };
    let words = |left: bool, higher: bool| format!("to the {} and {}", side(left), height(higher));
    let choices = grid(|first, second| {
        let (left, higher) = (left == first, higher == second);
        let beside = Claim::Beside { a, b, left, facing };
        Choice::new(words(left, higher), Claim::both(beside, Claim::Above { a, b, higher }))
    });
    let (x, y) = (c.label(a), c.label(b));
    let (is, does, is_y) = (agree(x, "is", "are"), agree(x, "does", "do"), agree(y, "is", "are"));
    let gaps = [("x", x), ("y", y), ("is", is), ("does", does), ("isy", is_y), ("Is", agree(x, "Is", "Are"))];
    let question = ask(rng, if facing { &FACING[..] } else { &RELATIVE[..] }, &gaps);
    let (answer, turn) = (words(left, higher), format!("{:.0}°", turn.abs()));
    let rise = format!("{:.0}° {}", rise.abs(), if higher { "up" } else { "down" });
    let gaps =
        [("x", x), ("y", y), ("is", is), ("turn", &turn), ("side", side(left)), ("rise", &rise), ("words", &answer)];
    let told = Aspects { azimuth: true, elevation: true, distance: false };
    Some(Draft {
        kind: if facing { "relative to what is faced" } else { "relative direction" },
        context: String::new(),
        choices,
        reasoning: chain(c, rng, (&[a, b], told), &RELATIVE_STEPS, &gaps),
        open: Some([
            question.clone(),
            format!("The {x} {is} to the {} of the {y}, and {}.", side(left), height(higher)),
        ]),
        question,
    })
}
