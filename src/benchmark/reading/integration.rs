//! Reading questions of level 2.

use super::super::claims::Claim;
use super::super::facts::{is_rounded, is_rounded_direction};
use super::tables::Value;
use super::tokens::Token;
use super::{Asked, Unreadable, octant_claim};

type Read = Result<[Claim; 4], Unreadable>;

/// Where a source is said to be: azimuth, elevation and distance, or a direction word and a distance.
fn place(source: usize, values: &[Value]) -> Option<Claim> {
    match values {
        [Value::Number(azimuth_deg), Value::Number(elevation_deg), Value::Number(m)] => {
            let (azimuth_deg, elevation_deg) = (*azimuth_deg, *elevation_deg);
            let direction = Claim::Direction { source, azimuth_deg, elevation_deg };
            Some(Claim::both(direction, Claim::Distance { source, m: *m }))
        }
        [Value::Octant(octant), Value::Number(m)] => {
            Some(Claim::both(octant_claim(source, *octant), Claim::Distance { source, m: *m }))
        }
        _ => None,
    }
}

pub(super) fn bind_identity(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "which statement/option/description describes content location and distance correctly"),
        ((), "which statement/option/description is right/correct in content location and distance"),
        ((), "which combination of sound direction and distance is right/correct/true"),
        ((), "which combination of sound/content location and distance is right/correct/true"),
        ((), "STATEMENT"),
    ];
    const OPTIONS: &[((), &str)] = &[
        (
            (),
            "S [ is located? ] at azimuth AZ and? elevation EL and? at? [ distance of? ] M away? [ from listener/you ]",
        ),
        ((), "S is? from/to/at/on? OCT at? [ distance of? ] M away? [ from listener/you ]"),
        ((), "S comes from OCT at? [ distance of? ] M away? [ from listener/you ]"),
    ];
    asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    asked.each(|option| match asked.forms.read(OPTIONS, option)?.1.split_first()? {
        (Value::Label(label), told) => match asked.facts.called(label)[..] {
            [source] => Some(Claim::both(Claim::Present { label: label.clone() }, place(source, told)?)),
            _ => asked.of_label(label, |source| place(source, told)),
        },
        _ => None,
    })
}

pub(super) fn query_location(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "where is S located/positioned/heard?"),
        ((), "where is S coming from"),
        ((), "where does S come from"),
        ((), "from where does S come"),
        ((), "which location/position/place belongs to S"),
        ((), "what is location/position/place of S"),
        ((), "which location/position/place is that? of S"),
        ((), "S can be heard where does it come from"),
        ((), "S can be heard where does that? sound come from"),
    ];
    const OPTIONS: &[((), &str)] = &[
        ((), "at? azimuth AZ and? elevation EL and? at? [ distance of? ] M away? [ from listener/you ]"),
        ((), "from/to/at/on? OCT at? [ distance of? ] M away? [ from listener/you ]"),
    ];
    let (_, values) = asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let [Value::Label(label)] = &values[..] else { return Err(Unreadable::Question) };
    let source = asked.only(label).ok_or(Unreadable::Question)?;
    asked.each(|option| place(source, &asked.forms.read(OPTIONS, option)?.1))
}

pub(super) fn query_identity(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "what/which sound source? COMES from/to/at/on OCT [ at? [ distance of? ] M away? ]"),
        ((), "what/which sound source? COMES [ at? distance of ] M away? from/to/at/on OCT"),
        (
            (),
            "what/which sound source? COMES from/at azimuth AZ and? elevation EL [ and? at? [ distance of? ] M away? ]",
        ),
        ((), "something sounds M away from OCT what is it"),
        ((), "what is it that? you? hear from/to OCT [ at? distance of? M away? ]"),
    ];
    let source = place_asked_about(asked, QUESTIONS).ok_or(Unreadable::Question)?;
    const OPTIONS: &[((), &str)] = &[((), "S"), ((), "sound of S"), ((), "S sound")];
    asked.each(|option| match &asked.forms.read(OPTIONS, option)?.1[..] {
        [Value::Label(label)] => Some(Claim::Called { source, label: label.clone() }),
        _ => None,
    })
}

/// The one source at the place that a question tells; what it tells must be true.
fn place_asked_about(asked: &Asked, questions: &[((), &str)]) -> Option<usize> {
    let (_, values) = asked.forms.read_question(questions, &asked.question)?;
    let (at, m) = match values[..] {
        [Value::Octant(octant)] => (asked.only_where(|i| octant_claim(i, octant))?, None),
        [Value::Octant(octant), Value::Number(m)] => (asked.only_where(|i| octant_claim(i, octant))?, Some(m)),
        // The form with the distance first.
        [Value::Number(m), Value::Octant(octant)] => (asked.only_where(|i| octant_claim(i, octant))?, Some(m)),
        [Value::Number(azimuth_deg), Value::Number(elevation_deg), ref rest @ ..] => {
            let direction = |source| Claim::Direction { source, azimuth_deg, elevation_deg };
            let m = match rest {
                [Value::Number(m)] => Some(*m),
                _ => None,
            };
            let at = asked.only_where(direction)?;
            (is_rounded_direction(asked.facts, at, azimuth_deg, elevation_deg).then_some(at)?, m)
        }
        _ => return None,
    };
    let is_told = |m: f64| [1, 2].iter().any(|&decimals| is_rounded(m, asked.facts.distance_m(at), decimals));
    m.is_none_or(is_told).then_some(at)
}

pub(super) fn compare_distances(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "compare distances of S and S [ which statement is right/correct/true ]"),
        ((), "which sound/source? is closer/nearest [ to listener/you ] S or S [ and by how much ]"),
        ((), "how do S and S differ in distance"),
        ((), "how do distances of S and S differ/compare"),
        ((), "STATEMENT"),
    ];
    let (_, values) = asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let named = match &values[..] {
        [] => None,
        [Value::Label(a), Value::Label(b)] => {
            let both = (asked.only(a).ok_or(Unreadable::Question)?, asked.only(b).ok_or(Unreadable::Question)?);
            if both.0 == both.1 {
                return Err(Unreadable::Question);
            }
            Some(both)
        }
        _ => return Err(Unreadable::Question),
    };
    asked.each(|option| closer_by(asked, named, option))
}

fn closer_by(asked: &Asked, named: Option<(usize, usize)>, option: &[Token]) -> Option<Claim> {
    #[derive(Clone, Copy, PartialEq)]
    enum Form {
        Closer,
        Farther,
        CloserFirst,
        FartherFirst,
        Only,
    }
    const OPTIONS: &[(Form, &str)] = &[
        (Form::Closer, "S is? closer [ to listener/you ] than S by M"),
        (Form::CloserFirst, "S is? M closer [ to listener/you ] than S"),
        (Form::Farther, "S is? farther away? [ from listener/you ] than S by M"),
        (Form::FartherFirst, "S is? M farther away? [ from listener/you ] than S"),
        (Form::Only, "S by M"),
    ];
    let (form, values) = asked.forms.read(OPTIONS, option)?;
    let (first, second, m) = match &values[..] {
        [Value::Label(a), Value::Label(b), Value::Number(m)] => (a, Some(b), *m),
        [Value::Label(a), Value::Number(m), Value::Label(b)] => (a, Some(b), *m),
        [Value::Label(a), Value::Number(m)] => (a, None, *m),
        _ => return None,
    };
    if let (true, Some(second)) = (asked.facts.called(first).is_empty(), second) {
        return asked.of_label(first, |a| asked.of_label(second, |b| Some(Claim::CloserBy { a, b, m })));
    }
    let a = asked.only(first)?;
    let b = match (second, named) {
        (Some(label), _) => match asked.only(label) {
            Some(b) => b,
            None => return asked.of_label(label, |b| Some(Claim::CloserBy { a, b, m })),
        },
        // "The rain, by 2 m" answers which of the two is closer.
        (None, Some((x, y))) if a == x => y,
        (None, Some((x, _))) => x,
        (None, None) => return None,
    };
    let is_asked = named.is_none_or(|(x, y)| [(x, y), (y, x)].contains(&(a, b)));
    let (a, b) = if matches!(form, Form::Farther | Form::FartherFirst) { (b, a) } else { (a, b) };
    (a != b && is_asked).then_some(Claim::CloserBy { a, b, m })
}

pub(super) fn relative_direction(asked: &Asked) -> Read {
    #[derive(Clone, Copy, PartialEq)]
    enum Order {
        Asked,
        ReferenceFirst,
        /// The reference comes first, and the listener has turned to it.
        Facing,
    }
    use Order::{Asked as AskedFirst, Facing, ReferenceFirst};
    const QUESTIONS: &[(Order, &str)] = &[
        (AskedFirst, "[ seen/heard by listener ] where is S located? relative to S [ as listener hears it ]"),
        (AskedFirst, "as listener hears it where is S located? relative to S"),
        (AskedFirst, "where does S lie relative to S [ as listener hears it ]"),
        (AskedFirst, "in which/what direction does S lie from S [ as listener hears it ]"),
        (AskedFirst, "in which/what direction is S located? from S [ as listener hears it ]"),
        (AskedFirst, "in which/what direction is S located? relative to S [ as listener hears it ]"),
        (Facing, "listener faces S where is S from there"),
        (Facing, "listener turns to face S where is S relative to it"),
        (ReferenceFirst, "relative to S where is S located? [ as listener hears it ]"),
    ];
    const OPTIONS: &[((), &str)] = &[
        ((), "farther? SIDE [ of it ] and? HEIGHT"),
        ((), "SIDE of S and? HEIGHT"),
        ((), "HEIGHT and? SIDE [ of it ]"),
        ((), "HEIGHT and? SIDE of S"),
    ];
    let (order, values) = asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let [Value::Label(first), Value::Label(second)] = &values[..] else { return Err(Unreadable::Question) };
    let (x, y) = if order != AskedFirst { (second, first) } else { (first, second) };
    let (Some(a), Some(b)) = (asked.only(x), asked.only(y)) else { return Err(Unreadable::Question) };
    if a == b {
        return Err(Unreadable::Question);
    }
    // "To the left" and "above" are both flags: the first word tells which comes first.
    asked.each(|option| {
        let values = asked.forms.read(OPTIONS, option)?.1;
        if values.iter().any(|v| matches!(v, Value::Label(reference) if reference != y)) {
            return None;
        }
        let flags: Vec<bool> =
            values.iter().filter_map(|v| if let Value::Flag(f) = v { Some(*f) } else { None }).collect();
        let &[first, second] = &flags[..] else { return None };
        let height_first =
            ["higher", "above", "lower", "below"].iter().any(|w| option.first() == Some(&Token::Word((*w).into())));
        let (left, higher) = if height_first { (second, first) } else { (first, second) };
        let beside = Claim::Beside { a, b, left, facing: order == Facing };
        Some(Claim::both(beside, Claim::Above { a, b, higher }))
    })
}
