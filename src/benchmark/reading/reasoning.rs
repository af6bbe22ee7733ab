//! Reading questions of level 3.

use super::super::claims::{Claim, Extreme, Side};
use super::tables::Value;
use super::tokens::{Token, tokens};
use super::{Asked, Unreadable, octant_claim};

type Read = Result<[Claim; 4], Unreadable>;

pub(super) fn rotate_observer(asked: &Asked) -> Read {
    #[derive(Clone, Copy, PartialEq)]
    enum Question {
        Side,
        Angle,
    }
    use Question::{Angle, Side};
    const TURNING: [&str; 2] = [
        "if? listener/you/observer/somebody turn/turns/rotate/rotates around? by? TURN",
        "after turn/turning/rotating/rotation around? of/by? TURN",
    ];
    const ASKED: [(Question, &str); 6] = [
        (Side, "on which/what side would/will/is S be? then?"),
        (Side, "where would/will/is S be? then/now?"),
        (Side, "in which/what direction would/will/is S be? then/now?"),
        (Angle, "at what/which azimuth would/will/is S be? then/now? CCW?"),
        (Angle, "what is/will new azimuth of S be? CCW?"),
        (Angle, "what is azimuth of S then/now CCW?"),
    ];
    let forms: Vec<(Question, String)> = TURNING
        .iter()
        .flat_map(|turning| ASKED.iter().map(move |(question, asked)| (*question, format!("{turning} {asked}"))))
        .collect();
    let forms: Vec<(Question, &str)> = forms.iter().map(|(question, form)| (*question, form.as_str())).collect();
    let (question, values) = asked.forms.read_question(&forms, &asked.question).ok_or(Unreadable::Question)?;
    let [Value::Number(turn_deg), Value::Label(label)] = &values[..] else { return Err(Unreadable::Question) };
    let (turn_deg, source) = (*turn_deg, asked.only(label).ok_or(Unreadable::Question)?);
    const SIDES: &[((), &str)] = &[((), "in/at? OCT"), ((), "to/on OCT side?"), ((), "OCT side")];
    const ANGLES: &[((), &str)] = &[((), "at? azimuth? AZ")];
    if question == Angle {
        return asked.each(|option| match asked.forms.read(ANGLES, option)?.1[..] {
            [Value::Number(deg)] => Some(Claim::Azimuth { source, deg, turn_deg }),
            _ => None,
        });
    }
    let octant = |option: &[Token]| match asked.forms.read(SIDES, option)?.1[..] {
        [Value::Octant(octant)] => Some(octant),
        _ => None,
    };
    // Four sides are quarters; with a direction between them all are eighths.
    let all: Vec<Option<usize>> = asked.options.iter().map(|o| octant(&tokens(o)?)).collect();
    let width_deg = if all.iter().flatten().all(|o| o % 2 == 0) { 90.0 } else { 45.0 };
    asked.each(|option| Some(Claim::Sector { source, centre_deg: 45.0 * octant(option)? as f64, width_deg, turn_deg }))
}

pub(super) fn source_removal(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        (
            (),
            "if S is/were removed/silent/silenced which statement remains/is/becomes/would still? be? true/right/correct",
        ),
        ((), "if S is/were removed which statement is true/right/correct of? rest"),
        ((), "if S is/were removed which statement would remain true/right/correct"),
        ((), "imagine scene without S what holds"),
        ((), "imagine scene without S which statement is true/right/correct"),
        ((), "without S which statement is true/right/correct"),
        ((), "S falls silent which statement is true/right/correct [ rest ]"),
        ((), "S is removed which statement remains/is true/right/correct"),
    ];
    #[derive(Clone, Copy, PartialEq)]
    enum Form {
        Extremes,
        ExtremesFirst,
        Counted,
        Both,
    }
    const OPTIONS: &[(Form, &str)] = &[
        (Form::ExtremesFirst, "EXTREME is then/now? S and? EXTREME is? then/now? S"),
        (Form::Extremes, "S is? then/now? EXTREME sound/source/1? and S is? then/now? EXTREME sound/source/1?"),
        (Form::Extremes, "S is then/now? EXTREME sound/source/1?"),
        (Form::Counted, "N of 2 that remain is REGION and EXTREME is then/now? S"),
        (Form::Both, "both that remain is REGION and EXTREME is then/now? S"),
    ];
    let (_, values) = asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let [Value::Label(label)] = &values[..] else { return Err(Unreadable::Question) };
    let removed = asked.only(label).ok_or(Unreadable::Question)?;
    let two_remain = asked.facts.count() == 3;
    let out = |label: &str, what: Extreme| {
        asked.of_label(label, |source| Some(Claim::StandsOut { source, what, without: Some(removed) }))
    };
    let remain = |region, n| Claim::Remain { region, n, without: removed };
    asked.each(|option| {
        let (form, values) = asked.forms.read(OPTIONS, option)?;
        match (form, &values[..]) {
            (Form::Extremes, [Value::Label(a), Value::Extreme(x), Value::Label(b), Value::Extreme(y)]) => {
                Some(Claim::both(out(a, *x)?, out(b, *y)?))
            }
            (Form::ExtremesFirst, [Value::Extreme(x), Value::Label(a), Value::Extreme(y), Value::Label(b)]) => {
                Some(Claim::both(out(a, *x)?, out(b, *y)?))
            }
            (Form::Extremes, [Value::Label(a), Value::Extreme(x)]) => out(a, *x),
            (Form::Counted, [Value::Number(n), Value::Region(region), Value::Extreme(x), Value::Label(a)])
                if two_remain =>
            {
                Some(Claim::both(remain(*region, *n as usize), out(a, *x)?))
            }
            (Form::Both, [Value::Region(region), Value::Extreme(x), Value::Label(a)]) if two_remain => {
                Some(Claim::both(remain(*region, 2), out(a, *x)?))
            }
            _ => None,
        }
    })
}

pub(super) fn multi_hop_query(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "identify/find/name EXTREME source/sound and state/tell/give its? direction"),
        ((), "identify/find/name source/sound that is EXTREME and state/tell/give its? direction"),
        ((), "which sound/source is EXTREME and where does it come from"),
        ((), "which sound/source is EXTREME and from which direction does it come"),
        ((), "name EXTREME of sounds/sources together with its direction"),
        ((), "name sound/source that is EXTREME together with its direction"),
        ((), "what is EXTREME sound/source and where does it come from"),
    ];
    const OPTIONS: &[((), &str)] = &[((), "S comes/coming? from/to/at/on? OCT")];
    let (_, values) = asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let [Value::Extreme(what)] = values[..] else { return Err(Unreadable::Question) };
    asked.each(|option| match &asked.forms.read(OPTIONS, option)?.1[..] {
        [Value::Label(label), Value::Octant(octant)] => asked.of_label(label, |source| {
            Some(Claim::both(Claim::StandsOut { source, what, without: None }, octant_claim(source, *octant)))
        }),
        _ => None,
    })
}

pub(super) fn physical_consistency(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "which statement is physically? impossible [ given/in this? room ]"),
        ((), "which statement is physically? impossible given this room and where its sounds are"),
        ((), "which statement cannot be true [ of what is heard ]"),
        ((), "which of these/following statements is physically? impossible [ given/in this? room ]"),
        ((), "which of these/following statements cannot be true [ of what is heard ]"),
        ((), "which of these/following statements contradicts this? scene/room"),
        ((), "which statement contradicts this? scene/room"),
        ((), "3 statements fit this scene 1 contradicts it which 1"),
    ];
    #[derive(Clone, Copy, PartialEq)]
    enum Form {
        Time,
        Wall,
        Ceiling,
        Reach,
    }
    const OPTIONS: &[(Form, &str)] = &[
        (Form::Time, "sounds in this? room fade/decay by 60 db within/in SEC"),
        (Form::Time, "sounds in this? room take SEC to fade/decay by 60 db"),
        (Form::Time, "reverberation time rt60? of this? room is SEC"),
        (Form::Time, "reverberation time rt60? is SEC"),
        (Form::Wall, "wall WAY is M away [ from listener/you ]"),
        (Form::Ceiling, "ceiling is M above EAR"),
        (Form::Reach, "sound could come/arrive from M away straight/exactly? WAY"),
        (Form::Reach, "sound could come/arrive straight/exactly? from WAY M away"),
    ];
    asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    asked.each(|option| {
        let (form, values) = asked.forms.read(OPTIONS, option)?;
        let claim = match (form, &values[..]) {
            (Form::Time, [Value::Number(s)]) => Claim::ReverberationTime { s: *s },
            (Form::Wall, [Value::Side(side), Value::Number(m)]) if *side != Side::Up => {
                Claim::Wall { side: *side, m: *m }
            }
            (Form::Ceiling, [Value::Number(m)]) => Claim::Wall { side: Side::Up, m: *m },
            (Form::Reach, [Value::Number(m), Value::Side(side)] | [Value::Side(side), Value::Number(m)]) => {
                Claim::Reach { side: *side, m: *m }
            }
            _ => return None,
        };
        Some(Claim::Not { of: Box::new(claim) })
    })
}
