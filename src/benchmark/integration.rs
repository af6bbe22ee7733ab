//! Level 2: attributes bound to objects, and objects to each other.

use super::claims::Claim;
use super::draft::{Choice, Context, Draft, agree, all_apart, grid, one_of};
use super::facts::{OCTANTS, turn_between_deg};
use super::perception::distances_apart;
use super::wording::{from_the, hear, octant};
use crate::rng::Rng;

/// Heights above the ears that occur in nearly all rooms.
const PLAUSIBLE_HEIGHTS_M: std::ops::RangeInclusive<f64> = -1.2..=0.6;

/// Which statement binds content, place and distance rightly.
pub(super) fn bind_identity(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let (facts, label) = (c.facts, c.label(source));
    let (azimuth, elevation, m) =
        (facts.azimuth_deg(source, 0.0), facts.elevation_deg(source), facts.distance_m(source));
    // A wrong place is where another source is, or where one may be.
    let others: Vec<usize> = (0..facts.count()).filter(|&i| i != source).collect();
    let (place, from) = match others[..] {
        [] => c.pool.any(rng),
        _ => (facts, others[rng.below(others.len())]),
    };
    let wrong = (place.azimuth_deg(from, 0.0), place.elevation_deg(from), place.distance_m(from));
    // Far and steep at once fits into no room: a reader would know.
    let fits = |(elevation, m): (f64, f64)| PLAUSIBLE_HEIGHTS_M.contains(&(m * elevation.to_radians().sin()));
    if ![(elevation, m), (elevation, wrong.2), (wrong.1, m), (wrong.1, wrong.2)].into_iter().all(fits) {
        return None;
    }
    let at = |azimuth: f64, elevation: f64, m: f64, label: &str| {
        let (azimuth, elevation) = (c.azimuth(azimuth), c.elevation(elevation));
        format!("the {label} at azimuth {azimuth}, elevation {elevation}, {m:.2} m away")
    };
    let (kind, choices) = if rng.below(2) == 0 {
        let choices = grid(|first, second| {
            let (azimuth, elevation) = if first { (azimuth, elevation) } else { (wrong.0, wrong.1) };
            let m = if second { m } else { wrong.2 };
            let direction = Claim::Direction { source, azimuth_deg: azimuth, elevation_deg: elevation };
            let claim = Claim::both(direction, Claim::Distance { source, m });
            Choice::new(at(azimuth, elevation, m, label), claim)
        });
        ("direction and distance", choices)
    } else {
        let absent = c.pool.other_labels(rng, 1, &facts.senses)?.remove(0);
        let choices = grid(|first, second| {
            let (azimuth, elevation, m) = if second { (azimuth, elevation, m) } else { wrong };
            let direction = Claim::Direction { source, azimuth_deg: azimuth, elevation_deg: elevation };
            let place = Claim::both(direction, Claim::Distance { source, m });
            let name = if first { label } else { &absent };
            let claim = Claim::both(Claim::Present { label: name.into() }, place);
            Choice::new(at(azimuth, elevation, m, name), claim)
        });
        ("identity and place", choices)
    };
    let question = one_of(
        rng,
        &[
            "Which description is right in content, location and distance?",
            "Which combination of sound, direction and distance is right?",
        ],
    );
    Some(Draft {
        kind,
        context: String::new(),
        question: question.into(),
        choices,
        reasoning: hear(c, &[source]),
        open: None,
    })
}

/// Where a named source is.
pub(super) fn query_location(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let place = |facts: &super::facts::Facts, i: usize| {
        (facts.azimuth_deg(i, 0.0), facts.elevation_deg(i), facts.distance_m(i))
    };
    let mut places = vec![place(c.facts, source)];
    places.extend((0..c.facts.count()).filter(|&i| i != source).map(|i| place(c.facts, i)));
    while places.len() < 4 {
        let (facts, i) = c.pool.any(rng);
        places.push(place(facts, i));
    }
    let direction = |p: &(f64, f64, f64)| crate::audio::foa::unit_vector(p.0, p.1);
    if !all_apart(&places, |a, b| crate::audio::foa::angle_between_deg(direction(a), direction(b)) >= 16.0) {
        return None;
    }
    let words =
        |p: &(f64, f64, f64)| format!("azimuth {}, elevation {}, {:.2} m away", c.azimuth(p.0), c.elevation(p.1), p.2);
    let choice = |i: usize| {
        let (azimuth_deg, elevation_deg, m) = places[i];
        let direction = Claim::Direction { source, azimuth_deg, elevation_deg };
        Choice::new(words(&places[i]), Claim::both(direction, Claim::Distance { source, m }))
    };
    let label = c.label(source);
    let is = agree(label, "is", "are");
    let question = match rng.below(3) {
        0 => format!("Where {is} the {label}?"),
        1 => format!("Which location belongs to the {label}?"),
        _ => format!("The {label} can be heard. Where does that sound come from?"),
    };
    Some(Draft {
        kind: "location",
        context: String::new(),
        choices: [choice(0), choice(1), choice(2), choice(3)],
        reasoning: hear(c, &[source]),
        open: Some([question.clone(), format!("The {label} {is} at {}.", words(&places[0]))]),
        question,
    })
}

/// What is at a place.
pub(super) fn query_identity(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let source = c.named(rng)?;
    let facts = c.facts;
    let (direction, m) = (octant(facts.azimuth_deg(source, 0.0)), facts.distance_m(source));
    let here =
        |i: usize| Claim::Sector { source: i, centre_deg: 45.0 * direction as f64, width_deg: 45.0, turn_deg: 0.0 };
    // Only one source may be there, even for a generous ear.
    let others: Vec<usize> = (0..facts.count()).filter(|&i| i != source).collect();
    use super::verdict::Verdict::{False, True};
    if here(source).verdict(facts) != True || others.iter().any(|&i| here(i).verdict(facts) != False) {
        return None;
    }
    // The other sounds of the scene, unless they are called alike.
    let mut labels: Vec<String> = vec![c.label(source).into()];
    labels.extend(others.iter().filter(|i| facts.named.contains(i)).map(|&i| c.label(i).to_string()));
    labels.extend(c.pool.other_labels(rng, 4 - labels.len(), &facts.senses)?);
    let choice = |i: usize| Choice::new(&labels[i], Claim::Called { source, label: labels[i].clone() });
    let place = from_the(direction);
    let question = match rng.below(3) {
        0 => format!("What sound is coming {place}, about {m:.1} m away?"),
        1 => format!("Which sound reaches the listener {place} at a distance of about {m:.1} m?"),
        _ => format!("Something sounds about {m:.1} m away, {place}. What is it?"),
    };
    Some(Draft {
        kind: "identity",
        context: OCTANTS[direction].into(),
        choices: [choice(0), choice(1), choice(2), choice(3)],
        reasoning: hear(c, &[source]),
        open: Some([question.clone(), format!("It is the {}.", labels[0])]),
        question,
    })
}

/// How much closer one source is than another, when that is clear, and how far the farther one is.
fn clear_gap_m(facts: &super::facts::Facts, i: usize, j: usize) -> Option<(f64, f64)> {
    let (a, b) = (facts.distance_m(i), facts.distance_m(j));
    (i != j && distances_apart(a, b)).then_some(((a - b).abs(), a.max(b)))
}

/// Which of two sources is closer, and by how much.
pub(super) fn compare_distances(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (x, y) = c.named_pair(rng)?;
    let (near, far) = if c.facts.distance_m(x) < c.facts.distance_m(y) { (x, y) } else { (y, x) };
    // The wrong difference is another pair's, by the same rules: neither may look more like a right one.
    let (other, i) = c.pool.any(rng);
    let j = (i + 1 + rng.below(other.count().max(2) - 1)) % other.count();
    let (m, far_m) = clear_gap_m(c.facts, x, y)?;
    let (wrong_m, wrong_far_m) = clear_gap_m(other, i, j)?;
    if (m - wrong_m).abs() < (0.22 * far_m.max(wrong_far_m)).max(0.55) {
        return None;
    }
    let choices = grid(|first, second| {
        let (a, b) = if first { (near, far) } else { (far, near) };
        let m = if second { m } else { wrong_m };
        let is = agree(c.label(a), "is", "are");
        let text = format!("the {} {is} closer than the {}, by about {m:.2} m", c.label(a), c.label(b));
        Choice::new(text, Claim::CloserBy { a, b, m })
    });
    let (a, b, is) = (c.label(x), c.label(y), agree(c.label(near), "is", "are"));
    let question = match rng.below(3) {
        0 => format!("Compare the distances of the {a} and the {b}. Which statement is right?"),
        1 => format!("Which is closer to the listener, the {a} or the {b}, and by how much?"),
        _ => format!("How do the {a} and the {b} differ in distance?"),
    };
    Some(Draft {
        kind: "closer",
        context: String::new(),
        choices,
        reasoning: format!("{} So the {} {is} closer.", hear(c, &[near, far]), c.label(near)),
        open: Some([
            format!("Which is closer, the {a} or the {b}?"),
            format!("The {} {is} closer, by about {m:.2} m.", c.label(near)),
        ]),
        question,
    })
}

/// Where one source is seen from another.
pub(super) fn relative_direction(c: &Context, rng: &mut Rng) -> Option<Draft> {
    let (a, b) = c.named_pair(rng)?;
    let left = turn_between_deg(c.facts.azimuth_deg(a, 0.0), c.facts.azimuth_deg(b, 0.0)) > 0.0;
    let higher = c.facts.elevation_deg(a) > c.facts.elevation_deg(b);
    let words = |left: bool, higher: bool| {
        let (side, height) = (if left { "left" } else { "right" }, if higher { "higher up" } else { "lower down" });
        format!("further to the {side} and {height}")
    };
    let choices = grid(|first, second| {
        let (left, higher) = (left == first, higher == second);
        Choice::new(words(left, higher), Claim::both(Claim::Beside { a, b, left }, Claim::Above { a, b, higher }))
    });
    let (x, y) = (c.label(a), c.label(b));
    let (is, does) = (agree(x, "is", "are"), agree(x, "does", "do"));
    let question = match rng.below(3) {
        0 => format!("As the listener hears it, where {is} the {x} relative to the {y}?"),
        1 => format!("The listener turns to face the {y}. Where {is} the {x} relative to it?"),
        _ => format!("In which direction {does} the {x} lie from the {y}, as the listener hears it?"),
    };
    Some(Draft {
        kind: "relative direction",
        context: String::new(),
        choices,
        reasoning: format!("{} So the {x} {is} {}.", hear(c, &[a, b]), words(left, higher)),
        open: Some([question.clone(), format!("The {x} {is} {}.", words(left, higher))]),
        question,
    })
}
