//! Azimuth, elevation and distance of a source that is named.

use super::super::chain::{Aspects, chain, height};
use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, agree, all_apart};
use super::super::facts::turn_between_deg;
use super::super::phrases::{ask, fill};
use crate::rng::Rng;

/// What azimuths are counted from, wherever a number is asked for.
pub(in super::super) const AZIMUTH_FROM: &str = "0° is straight ahead, 90° is to the left";

const AZIMUTH: [&str; 12] = [
    "At what azimuth {is} the {x} ({from})?",
    "What is the azimuth of the {x}, counted counter-clockwise from the front ({from})?",
    "From which azimuth {does} the {x} reach the listener ({from})?",
    "Estimate the horizontal angle of the {x} ({from}).",
    "In which horizontal direction {is} the {x}? Azimuths are counted so that {from}.",
    "Where {is} the {x} horizontally, as an azimuth ({from})?",
    "Give the azimuth of the {x}; {from}.",
    "Counting azimuths so that {from}: where {is} the {x}?",
    "Which azimuth belongs to the {x} ({from})?",
    "The {x} can be heard. At which azimuth ({from})?",
    "Point to the {x} with eyes closed: which azimuth is that ({from})?",
    "By which angle from the front {does} the {x} lie, counter-clockwise ({from})?",
];
const AZIMUTH_STEPS: [&str; 8] = [
    "So the azimuth is about {deg}.",
    "Of the options, the one nearest to {deg} is right.",
    "That is an azimuth of about {deg}.",
    "Counter-clockwise from the front this is about {deg}.",
    "I look for the option closest to {deg}.",
    "Turning to face it would take {turn}, which is azimuth {deg}.",
    "Hence an azimuth near {deg}.",
    "No other option comes near {deg}.",
];
const BAND: [&str; 12] = [
    "{Is} the {x} above, below or at eye level?",
    "Where {is} the {x} in height: above, below or at eye level?",
    "Seen from the listener's ears, how high {is} the {x}?",
    "How high {does} the {x} sound, compared with eye level?",
    "Which description fits the height of the {x}?",
    "At which height, as an angle from eye level, {is} the {x}?",
    "Would the listener look up, down or straight on to face the {x}, and how far?",
    "What is right about the elevation of the {x}?",
    "In elevation, where {does} the {x} come from?",
    "How far above or below eye level {is} the {x}?",
    "Compared with the listener's eyes, {is} the {x} higher or lower?",
    "Tell the vertical position of the {x} in relation to eye level.",
];
const BAND_STEPS: [&str; 8] = [
    "{height} means: {band}.",
    "So it is {band}.",
    "With {height}, that is {band}.",
    "Taking eye level as zero, {height} is {band}.",
    "That puts it {band}.",
    "{height}, therefore {band}.",
    "Among the bands that is {band}.",
    "Hence {band}.",
];
const ELEVATION: [&str; 12] = [
    "What is the elevation of the {x} (eye level is 0°, up is positive)?",
    "How high {is} the {x}, as an angle from eye level (up is positive)?",
    "At what elevation {is} the {x}, counted from eye level upwards?",
    "Estimate the elevation of the {x}; eye level is 0°, up is positive.",
    "Which vertical angle belongs to the {x} (0° is eye level, up is positive)?",
    "By how many degrees {is} the {x} above (+) or below (-) eye level?",
    "Give the elevation of the {x} in degrees from eye level, up counted positive.",
    "How steeply up (+) or down (-) {does} the {x} come to the listener?",
    "What elevation angle {does} the {x} have (eye level 0°, up positive)?",
    "The {x} can be heard. At which elevation (0° is eye level, up is positive)?",
    "Up is positive and eye level is 0°: at what elevation {is} the {x}?",
    "Which elevation fits the {x}, positive above eye level?",
];
const ELEVATION_STEPS: [&str; 8] = [
    "So the elevation is about {deg}.",
    "As an elevation that is about {deg}.",
    "The option nearest to {deg} is right.",
    "Up is positive, so I look for about {deg}.",
    "That is {height}, an elevation of about {deg}.",
    "Hence an elevation near {deg}.",
    "No other option is near {deg}.",
    "With eye level as zero this makes about {deg}.",
];
const DISTANCE: [&str; 12] = [
    "Estimate the distance of the {x} in metres.",
    "How far away from the listener {is} the {x}?",
    "What is the distance between the listener and the {x}?",
    "How many metres away from the listener {is} the {x}?",
    "At which distance from the listener {is} the {x}?",
    "How far {is} it from the listener to the {x}?",
    "Going by direct sound and reverberation, how far away {is} the {x}?",
    "Which distance fits the {x} best?",
    "How many metres lie between the listener and the {x}?",
    "Give the distance to the {x} in metres.",
    "From how far away {does} the {x} reach the listener?",
    "The {x} can be heard. How far away is that?",
];
const DISTANCE_STEPS: [&str; 8] = [
    "Direct sound and reverberation fit about {m} m.",
    "So the distance is about {m} m.",
    "Of the options, the one nearest to {m} m is right.",
    "By the share of direct sound, it is about {m} m to it.",
    "That is a distance of roughly {m} m.",
    "Its first echoes arrive as they do from {m} m.",
    "I look for the option closest to {m} m.",
    "None of the other distances is near {m} m.",
];

/// Azimuth of a named source.
pub(in super::super) fn localize_azimuth(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    // Where the other sources are, then where sources of other scenes are: a value that is right once is wrong elsewhere.
    let mut azimuths = vec![c.facts.azimuth_deg(source, 0.0)];
    azimuths.extend((0..c.facts.count()).filter(|&i| i != source).map(|i| c.facts.azimuth_deg(i, 0.0)));
    while azimuths.len() < 4 {
        azimuths.push(c.any_azimuth(rng));
    }
    if !all_apart(&azimuths, |a, b| turn_between_deg(*a, *b).abs() >= 20.0) {
        return None;
    }
    let choice = |deg: f64| Choice::new(c.azimuth(deg), Claim::Azimuth { source, deg, turn_deg: 0.0 });
    let label = c.label(source);
    let (is, does) = (agree(label, "is", "are"), agree(label, "does", "do"));
    let question = ask(rng, &AZIMUTH, &[("x", label), ("is", is), ("does", does), ("from", AZIMUTH_FROM)]);
    let (deg, turn) = (c.rounded(azimuths[0]), turn_between_deg(azimuths[0], 0.0));
    let turn = match turn.round() {
        t if t > 0.0 => format!("{t:.0}° to the left"),
        t if t < 0.0 => format!("{:.0}° to the right", -t),
        _ => "no turn".into(),
    };
    let gaps = [("deg", deg.as_str()), ("turn", &turn)];
    Some(Draft {
        kind: "azimuth",
        context: String::new(),
        choices: [choice(azimuths[0]), choice(azimuths[1]), choice(azimuths[2]), choice(azimuths[3])],
        reasoning: chain(c, rng, (&[source], Aspects::WAY), &AZIMUTH_STEPS, &gaps),
        open: Some([question.clone(), format!("The {label} {is} at an azimuth of about {deg}.")]),
        question,
    })
}

/// Bands of elevation with a gap between them, lowest first: limits inside which a band holds, and its words.
const BANDS: [(f64, f64, &str); 5] = [
    (-90.0, -35.0, "far below eye level, by more than 30°"),
    (-25.0, -15.0, "below eye level, by 10° to 30°"),
    (-5.0, 5.0, "at eye level, within 10° of it"),
    (15.0, 25.0, "above eye level, by 10° to 30°"),
    (35.0, 90.0, "far above eye level, by more than 30°"),
];

/// Elevation of a named source, as one of the bands.
pub(in super::super) fn elevation_band(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let elevation = c.facts.elevation_deg(source);
    let right = BANDS.iter().position(|(low, high, _)| (*low..=*high).contains(&elevation))?;
    let mut others: Vec<usize> = (0..BANDS.len()).filter(|b| *b != right).collect();
    rng.shuffle(&mut others);
    let choice = |band: usize| {
        let (low_deg, high_deg, words) = BANDS[band];
        Choice::new(words, Claim::ElevationWithin { source, low_deg, high_deg })
    };
    let label = c.label(source);
    let (is, does) = (agree(label, "is", "are"), agree(label, "does", "do"));
    let question = ask(rng, &BAND, &[("x", label), ("is", is), ("does", does), ("Is", agree(label, "Is", "Are"))]);
    let height = height(elevation);
    Some(Draft {
        kind: "elevation band",
        context: String::new(),
        choices: [choice(right), choice(others[0]), choice(others[1]), choice(others[2])],
        reasoning: chain(
            c,
            rng,
            (&[source], Aspects::HEIGHT),
            &BAND_STEPS,
            &[("height", &height), ("band", BANDS[right].2)],
        ),
        open: Some([question.clone(), format!("The {label} {is} {}: {height}.", BANDS[right].2)]),
        question,
    })
}

/// Elevation of a named source, in degrees.
pub(in super::super) fn elevation_angle(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let mut elevations = vec![c.facts.elevation_deg(source)];
    while elevations.len() < 4 {
        let (facts, i) = c.pool.any(rng);
        elevations.push(facts.elevation_deg(i));
    }
    if !all_apart(&elevations, |a, b| (a - b).abs() >= 11.0) {
        return None;
    }
    let choice = |deg: f64| Choice::new(c.elevation(deg), Claim::Elevation { source, deg });
    let label = c.label(source);
    let (is, does) = (agree(label, "is", "are"), agree(label, "does", "do"));
    let question = ask(rng, &ELEVATION, &[("x", label), ("is", is), ("does", does)]);
    let (height, deg) = (height(elevations[0]), format!("{:.0}°", elevations[0]).replace("-0°", "0°"));
    Some(Draft {
        kind: "elevation",
        context: String::new(),
        choices: [choice(elevations[0]), choice(elevations[1]), choice(elevations[2]), choice(elevations[3])],
        reasoning: chain(c, rng, (&[source], Aspects::HEIGHT), &ELEVATION_STEPS, &[("height", &height), ("deg", &deg)]),
        open: Some([question.clone(), format!("The {label} {is} {height}.")]),
        question,
    })
}

/// Whether two distances can be told apart.
pub(in super::super) fn distances_apart(a: f64, b: f64) -> bool {
    (a - b).abs() >= (0.27 * a.max(b)).max(0.42)
}

/// Distance of a named source.
pub(in super::super) fn estimate_distance(c: &Context, rng: &mut Rng) -> Option<Draft> {
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
    let (is, does) = (agree(label, "is", "are"), agree(label, "does", "do"));
    let question = ask(rng, &DISTANCE, &[("x", label), ("is", is), ("does", does)]);
    let m = format!("{:.1}", distances[0]);
    Some(Draft {
        kind: "distance",
        context: String::new(),
        choices: [choice(distances[0]), choice(distances[1]), choice(distances[2]), choice(distances[3])],
        reasoning: chain(c, rng, (&[source], Aspects::NEAR_OR_FAR), &DISTANCE_STEPS, &[("m", &m)]),
        open: Some([question.clone(), fill("The {x} {is} about {m} m away.", &[("x", label), ("is", is), ("m", &m)])]),
        question,
    })
}
