//! Reading questions of level 1.

use super::super::claims::{Claim, Region, plain};
use super::tables::Value;
use super::tokens::Token;
use super::{Asked, Unreadable};
use crate::sources::Domain;

type Read = Result<[Claim; 4], Unreadable>;

pub(super) fn count_objects(asked: &Asked) -> Read {
    #[derive(Clone, Copy, PartialEq)]
    enum Question {
        Plain,
        Region,
        Both,
    }
    use Question::{Both, Plain, Region as InRegion};
    const QUESTIONS: &[(Question, &str)] = &[
        (
            Plain,
            "how many independent/separate/distinct/different? sound/audio? sources are audible/present/heard/there",
        ),
        (Plain, "how many independent/separate/distinct/different? sound/audio? sources can be heard"),
        (Plain, "how many independent/separate/distinct/different? sound/audio? sources can/do you hear"),
        (Plain, "how many independent/separate/distinct/different? sources of sound are audible/present/there"),
        (Plain, "count separate sources of sound in this scene how many are there"),
        (Plain, "what is total? number of audible/independent? sound? sources"),
        (InRegion, "how many of? audible? sound? sources are there/located/heard? REGION"),
        (InRegion, "how many of? audible? sound? sources lie REGION"),
        (Both, "which description of number and place of sound sources is right/correct/true"),
        (Both, "how many sound sources are audible and how many of them in region named"),
        (Both, "STATEMENT"),
    ];
    const NUMBERS: &[((), &str)] =
        &[((), "[ there is/are ] N [ independent/separate? sound? source/sources audible? ]")];
    const GRID: &[((), &str)] = &[
        ((), "[ there is/are ] N sound? source/sources in all N REGION"),
        ((), "[ there is/are ] N sound? source/sources of which N [ is/are located? ] REGION"),
        ((), "[ there is/are ] N sound? source/sources with? N [ of them ] [ is/are located? ] REGION"),
    ];
    let (question, values) = asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let region = match (question, &values[..]) {
        (Question::Region, [Value::Region(region)]) => Some(*region),
        (Question::Plain, []) => Some(Region::Anywhere),
        _ => None,
    };
    let count = |region: Region, n: f64| Claim::Count { region, n: n as usize };
    asked.each(|option| match region {
        Some(region) => match asked.forms.read(NUMBERS, option)?.1[..] {
            [Value::Number(n)] => Some(count(region, n)),
            _ => None,
        },
        None => match asked.forms.read(GRID, option)?.1[..] {
            [Value::Number(n), Value::Number(k), Value::Region(region)] => {
                Some(Claim::both(count(Region::Anywhere, n), count(region, k)))
            }
            _ => None,
        },
    })
}

pub(super) fn identify_event_class(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "which of? these/following sounds/events can be heard"),
        ((), "which of? these/following sounds/events is/are audible/present/heard"),
        ((), "which of? these/following sound events can be heard"),
        ((), "which of? these/following sound events is/are audible/present/heard"),
        ((), "which/what sound event/class/source? occurs"),
        ((), "which/what sound event/class/source? can be heard"),
        ((), "which/what sound event/class/source? is audible/present/heard"),
        ((), "which/what sound? do/can you hear"),
        ((), "only 1 of these sounds is present which 1"),
    ];
    const OPTIONS: &[((), &str)] = &[((), "S"), ((), "sound of S"), ((), "S sound")];
    asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    asked.each(|option| match &asked.forms.read(OPTIONS, option)?.1[..] {
        [Value::Label(label)] => Some(Claim::Present { label: label.clone() }),
        _ => None,
    })
}

/// Options are transcripts of the set, nothing else: "7" and "seven" may be the same words.
pub(super) fn identify_speech_transcript(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "what does speaker/voice/person say"),
        ((), "what is speaker/voice/person saying"),
        ((), "what is said/spoken"),
        ((), "which/what word/words/sentence/phrase/utterance is/are said/spoken [ by speaker/voice/person ]"),
        ((), "which/what words/sentence/phrase does speaker/voice/person say"),
        ((), "which/what transcript/transcription is right/correct"),
    ];
    asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    let facts = asked.facts;
    let speech = (0..facts.count()).filter(|&i| facts.source(i).domain == Domain::Speech).count();
    let speaking: Vec<usize> = (0..facts.count()).filter(|&i| facts.transcript(i).is_some()).collect();
    // Two speakers: "what is said" has two answers.
    let (&[source], 1) = (&speaking[..], speech) else { return Err(Unreadable::Question) };
    asked.each_text(|option| {
        let is_known = |text: &&str| asked.pool.transcripts.iter().any(|t| plain(t) == plain(text));
        let is_sentence = |c: char| c.is_alphanumeric() || " ,.;:?!'-\u{2019}".contains(c);
        let bare = option.trim().trim_matches(['"', '\u{201c}', '\u{201d}']);
        let text = [bare, bare.trim_matches(['\'', '\u{2018}', '\u{2019}'])].into_iter().find(is_known)?;
        text.chars().all(is_sentence).then(|| Claim::Says { source, text: text.into() })
    })
}

/// The source that a question names, in a question that names one.
fn one_named(asked: &Asked, questions: &[((), &str)]) -> Result<usize, Unreadable> {
    let (_, values) = asked.forms.read_question(questions, &asked.question).ok_or(Unreadable::Question)?;
    match &values[..] {
        [Value::Label(label)] => asked.only(label).ok_or(Unreadable::Question),
        _ => Err(Unreadable::Question),
    }
}

/// The only number of an option.
fn one_number(asked: &Asked, forms: &[((), &str)], option: &[Token]) -> Option<f64> {
    match asked.forms.read(forms, option)?.1[..] {
        [Value::Number(x)] => Some(x),
        _ => None,
    }
}

pub(super) fn localize_azimuth(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "at? what/which azimuth angle? is S located/positioned/heard? CCW?"),
        ((), "from what/which azimuth angle? does S come/arrive CCW?"),
        ((), "from what/which azimuth angle? does S reach listener/you CCW?"),
        ((), "from what/which azimuth angle? is S coming/arriving/heard CCW?"),
        ((), "what is azimuth angle? of S CCW?"),
        ((), "what is horizontal angle of S CCW?"),
        ((), "estimate azimuth angle? of S CCW?"),
        ((), "estimate horizontal angle of S CCW?"),
    ];
    const OPTIONS: &[((), &str)] = &[((), "at? azimuth? AZ")];
    let source = one_named(asked, QUESTIONS)?;
    asked.each(|option| Some(Claim::Azimuth { source, deg: one_number(asked, OPTIONS, option)?, turn_deg: 0.0 }))
}

/// Half the gap that stands for "about as much": an elevation of 20° is neither more nor less than 20°.
const BAND_GAP_DEG: f64 = 5.0;
/// Closer to ear level than this an elevation is neither above nor below.
const LEVEL_GAP_DEG: f64 = 5.0;

pub(super) fn localize_elevation(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "what is elevation angle? of S [ in deg ]"),
        ((), "at? what/which elevation angle? is S located/positioned/heard? [ in deg ]"),
        ((), "from what/which elevation angle? does S come/arrive"),
        ((), "estimate elevation angle? of S [ in deg ]"),
        ((), "how high is S as angle from ear level/height"),
        ((), "what is vertical angle of S"),
    ];
    #[derive(Clone, Copy, PartialEq)]
    enum Form {
        Angle,
        UpFirst,
        BoundFirst,
    }
    const OPTIONS: &[(Form, &str)] = &[
        (Form::Angle, "elevation? EL"),
        (Form::UpFirst, "far/well/slightly? UP EAR by MORE DEG"),
        (Form::BoundFirst, "MORE DEG UP EAR"),
    ];
    let source = one_named(asked, QUESTIONS)?;
    asked.each(|option| {
        let (form, values) = asked.forms.read(OPTIONS, option)?;
        match (form, &values[..]) {
            (Form::Angle, &[Value::Number(deg)]) => Some(Claim::Elevation { source, deg }),
            (Form::UpFirst, &[Value::Flag(up), Value::Flag(more), Value::Number(deg)]) => {
                // "Slightly above, by more than 20°" contradicts itself.
                let begins = |word: &str| option.first() == Some(&Token::Word(word.into()));
                let contradicts = if more { begins("slightly") } else { begins("far") || begins("well") };
                if contradicts { None } else { band(source, up, more, deg) }
            }
            (Form::BoundFirst, &[Value::Flag(more), Value::Number(deg), Value::Flag(up)]) => {
                band(source, up, more, deg)
            }
            _ => None,
        }
    })
}

/// More or less than so many degrees above or below ear level.
fn band(source: usize, up: bool, more: bool, deg: f64) -> Option<Claim> {
    if !(10.0..=60.0).contains(&deg) {
        return None;
    }
    let (low, high) = if more { (deg + BAND_GAP_DEG, 90.0) } else { (LEVEL_GAP_DEG, deg - BAND_GAP_DEG) };
    let (low_deg, high_deg) = if up { (low, high) } else { (-high, -low) };
    Some(Claim::ElevationWithin { source, low_deg, high_deg })
}

pub(super) fn estimate_distance(asked: &Asked) -> Read {
    const QUESTIONS: &[((), &str)] = &[
        ((), "how far away? is S [ from listener/you ]"),
        ((), "how far away? from listener/you is S"),
        ((), "what is distance of/to S [ from listener/you ]"),
        ((), "what is distance between listener/you and S"),
        ((), "what is distance between S and listener/you"),
        ((), "what is distance from listener/you to S"),
        ((), "at what/which distance is S located/heard? [ from listener/you ]"),
        ((), "estimate distance of/to S [ from listener/you ] [ in m ]"),
        ((), "estimate how far away? S is [ from listener/you ]"),
    ];
    const OPTIONS: &[((), &str)] = &[((), "M away? [ from listener/you ]")];
    let source = one_named(asked, QUESTIONS)?;
    asked.each(|option| Some(Claim::Distance { source, m: one_number(asked, OPTIONS, option)? }))
}

pub(super) fn environment_acoustics(asked: &Asked) -> Read {
    #[derive(Clone, Copy, PartialEq)]
    enum Question {
        Time,
        Room,
    }
    use Question::{Room, Time};
    const QUESTIONS: &[(Question, &str)] = &[
        (Time, "how long is reverberation time? rt60? [ of this? room ] [ as heard ]"),
        (Time, "what is reverberation time rt60? [ of/in this? room ] [ in s ]"),
        (Time, "what is rt60 [ of this? room ] [ in s ]"),
        (Time, "estimate reverberation time rt60? [ of this? room ] [ in s ]"),
        (Time, "how long does sound in this room take to fade/decay by 60 db"),
        (Room, "which description best? fits/matches/describes this? room"),
        (Room, "in what/which kind/type of room was this/it recorded/made"),
        (Room, "in what/which kind/type of room was this? recording/scene/audio recorded/made"),
        (Room, "judge size and reverberation which room is it"),
        (Room, "what/which kind/type of room is this/it"),
        (Room, "what kind/type of room do you hear"),
    ];
    const TIMES: &[((), &str)] = &[((), "SEC")];
    const ROOMS: &[((), &str)] = &[((), "SIZE with FINISH")];
    let (question, _) = asked.forms.read_question(QUESTIONS, &asked.question).ok_or(Unreadable::Question)?;
    asked.each(|option| match question {
        Time => Some(Claim::ReverberationTime { s: one_number(asked, TIMES, option)? }),
        Room => match asked.forms.read(ROOMS, option)?.1[..] {
            [Value::Name(size), Value::Name(finish)] => {
                Some(Claim::both(Claim::RoomSize { size: size.into() }, Claim::RoomFinish { finish: finish.into() }))
            }
            _ => None,
        },
    })
}
