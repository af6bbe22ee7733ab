//! Forms of sentences: words, optional parts, and places that hold a value.
//!
//! ```text
//! word            that word; "a/b" either        word?        may be missing        [ w w ]   may be missing as a whole
//! S               a label of the set             N            a count               M SEC MS  a number with its unit
//! AZ EL DEG TURN  angles                         OCT ..       a word of a table: see `values`
//! LEAD TAIL ..    phrases that add nothing: see `phrases`
//! ```
//! A form fits a text only as a whole, and a text is read only when all fits agree.

use super::super::claims::{Extreme, Region};
use super::super::facts::around;
use super::super::knowledge::TABLE;
use super::tokens::{Token, tokens};

/// What stands in a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A label of the set.
    Label(String),
    /// A number in the unit of its place.
    Number(f64),
    /// One of [`super::super::facts::OCTANTS`].
    Octant(usize),
    /// One of two.
    Flag(bool),
    /// A region.
    Region(Region),
    /// An extreme.
    Extreme(Extreme),
    /// A word of a closed list.
    Name(&'static str),
}

/// Labels in tokens, with what they are called in the set.
pub(super) struct Forms {
    labels: Vec<(String, Vec<Token>)>,
}

#[derive(Clone)]
enum Part<'p> {
    Text(&'p str),
    Keep(&'p Value),
}

impl Forms {
    /// Forms in which these labels may stand.
    pub(super) fn new(labels: &[String]) -> Forms {
        let read = |label: &String| Some((label.clone(), tokens(label).filter(|t| !t.is_empty())?));
        Forms { labels: labels.iter().filter_map(read).collect() }
    }

    /// Which form the text has, with the values in it; `None` when it has none, or when it can be read in two ways.
    pub(super) fn read<F: Copy + PartialEq>(&self, forms: &[(F, &str)], text: &[Token]) -> Option<(F, Vec<Value>)> {
        let mut found: Vec<(F, Vec<Value>)> = Vec::new();
        for (form, pattern) in forms {
            let parts: Vec<Part> = pattern.split_whitespace().map(Part::Text).collect();
            let mut fits = Vec::new();
            self.fit(&parts, text, &mut Vec::new(), &mut fits);
            for values in fits {
                if !found.contains(&(*form, values.clone())) {
                    found.push((*form, values));
                }
            }
        }
        (found.len() == 1).then(|| found.remove(0))
    }

    /// [`Forms::read`] of a question, which may begin and end with phrases that add nothing.
    pub(super) fn read_question<F: Copy + PartialEq>(
        &self,
        forms: &[(F, &str)],
        text: &[Token],
    ) -> Option<(F, Vec<Value>)> {
        let framed: Vec<(F, String)> = forms.iter().map(|(form, p)| (*form, format!("LEAD? {p} TAIL?"))).collect();
        let framed: Vec<(F, &str)> = framed.iter().map(|(form, p)| (*form, p.as_str())).collect();
        self.read(&framed, text)
    }

    fn fit(&self, parts: &[Part], text: &[Token], kept: &mut Vec<Value>, found: &mut Vec<Vec<Value>>) {
        let Some((first, rest)) = parts.split_first() else {
            if text.is_empty() {
                found.push(kept.clone());
            }
            return;
        };
        let part = match first {
            Part::Keep(value) => {
                kept.push((*value).clone());
                self.fit(rest, text, kept, found);
                kept.pop();
                return;
            }
            Part::Text(part) => *part,
        };
        if part == "[" {
            let close = closing(parts);
            self.fit(&[&parts[1..close], &parts[close + 1..]].concat(), text, kept, found);
            self.fit(&parts[close + 1..], text, kept, found);
        } else if let Some(optional) = part.strip_suffix('?') {
            self.fit(&[&[Part::Text(optional)], rest].concat(), text, kept, found);
            self.fit(rest, text, kept, found);
        } else if part.starts_with(char::is_uppercase) {
            self.fit_place(part, rest, text, kept, found);
        } else if let Some((token, after)) = text.split_first()
            && part.split('/').any(|word| is_word(token, word))
        {
            self.fit(rest, after, kept, found);
        }
    }

    fn fit_place(
        &self,
        place: &str,
        rest: &[Part],
        text: &[Token],
        kept: &mut Vec<Value>,
        found: &mut Vec<Vec<Value>>,
    ) {
        if let Some(table) = values(place) {
            for (words, value) in table {
                let words = words.split_whitespace().map(Part::Text).chain([Part::Keep(value)]);
                self.fit(&words.chain(rest.iter().cloned()).collect::<Vec<_>>(), text, kept, found);
            }
            return;
        }
        if let Some(phrases) = phrases(place) {
            for words in phrases {
                let words = words.split_whitespace().map(Part::Text);
                self.fit(&words.chain(rest.iter().cloned()).collect::<Vec<_>>(), text, kept, found);
            }
            return;
        }
        for (value, used) in self.measured(place, text) {
            kept.push(value);
            self.fit(rest, &text[used..], kept, found);
            kept.pop();
        }
    }

    /// Values at the beginning of `text` that a place may hold, with how many tokens they take.
    fn measured(&self, place: &str, text: &[Token]) -> Vec<(Value, usize)> {
        let known =
            |words: &'static str| tokens(words).filter(|t| text.starts_with(t)).map(|t| (Value::Name(words), t.len()));
        match place {
            "S" => {
                let here = self.labels.iter().filter(|(_, label)| text.starts_with(label));
                here.map(|(name, label)| (Value::Label(name.clone()), label.len())).collect()
            }
            "SITUATION" => TABLE.iter().filter_map(|entry| known(entry.situation)).collect(),
            "AIM" => TABLE.iter().filter_map(|entry| known(entry.intention)).collect(),
            "N" => match text.first() {
                Some(Token::Number(n)) if n.fract() == 0.0 && (0.0..10.0).contains(n) => vec![(Value::Number(*n), 1)],
                Some(token) if is_word(token, "none") => vec![(Value::Number(0.0), 1)],
                _ => vec![],
            },
            "M" => with_unit(text, "m"),
            "SEC" => with_unit(text, "s"),
            "MS" => with_unit(text, "ms"),
            "DEG" => with_unit(text, "deg"),
            "AZ" => azimuths(text),
            "EL" => elevations(text),
            "TURN" => turns(text),
            _ => panic!("no place is called {place}"),
        }
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    match token {
        Token::Word(w) => singular(w) == singular(word),
        Token::Number(x) => word.parse::<f64>().is_ok_and(|y| *x == y),
    }
}

/// Verbs of several things as of one: "the sea waves are", "the rain is".
fn singular(word: &str) -> &str {
    match word {
        "are" => "is",
        "do" => "does",
        "come" => "comes",
        "fall" => "falls",
        other => other,
    }
}

fn closing(parts: &[Part]) -> usize {
    let mut depth = 0;
    for (i, part) in parts.iter().enumerate() {
        match part {
            Part::Text("[") => depth += 1,
            Part::Text("]") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    panic!("a bracket is not closed")
}

fn word_at<'t>(text: &'t [Token], at: usize) -> &'t str {
    match text.get(at) {
        Some(Token::Word(word)) => word,
        _ => "",
    }
}

/// A positive number with its unit.
fn with_unit(text: &[Token], unit: &str) -> Vec<(Value, usize)> {
    match text {
        [Token::Number(x), Token::Word(word), ..] if word == unit && *x > 0.0 => vec![(Value::Number(*x), 2)],
        _ => vec![],
    }
}

/// An angle whose unit may be missing, and the tokens it takes.
fn angle(text: &[Token]) -> Option<(f64, usize)> {
    let Some(Token::Number(x)) = text.first() else { return None };
    Some((*x, if word_at(text, 1) == "deg" { 2 } else { 1 }))
}

/// Azimuths, counter-clockwise in [0, 360): signed, from 0 to 360, or to a side of the front.
fn azimuths(text: &[Token]) -> Vec<(Value, usize)> {
    let Some((x, used)) = angle(text) else { return vec![] };
    let mut found = Vec::new();
    if (-180.0..=360.0).contains(&x) {
        found.push((Value::Number(around(x)), used));
    }
    let to = usize::from(word_at(text, used) == "to");
    let sign = match word_at(text, used + to) {
        "left" => 1.0,
        "right" => -1.0,
        _ => return found,
    };
    if (0.0..=180.0).contains(&x) {
        found.push((Value::Number(around(sign * x)), used + to + 1));
    }
    found
}

/// Elevations: signed, or above and below ear level.
fn elevations(text: &[Token]) -> Vec<(Value, usize)> {
    let Some((x, used)) = angle(text) else { return vec![] };
    let mut found = Vec::new();
    if x.abs() <= 90.0 {
        found.push((Value::Number(x), used));
    }
    let sign = match word_at(text, used) {
        "above" => 1.0,
        "below" => -1.0,
        _ => return found,
    };
    let level = ["ear level", "ear height", "horizon", "horizontal plane"];
    for words in level.iter().filter_map(|l| tokens(l)).filter(|l| text[used + 1..].starts_with(l)) {
        if (0.0..=90.0).contains(&x) {
            found.push((Value::Number(sign * x), used + 1 + words.len()));
        }
    }
    found
}

/// Turns to the left (negative: to the right): "90 deg to left", "left by 90 deg", "90 deg clockwise", "180 deg".
fn turns(text: &[Token]) -> Vec<(Value, usize)> {
    let side = |word: &str| match word {
        "left" | "counterclockwise" => Some(1.0),
        "right" | "clockwise" => Some(-1.0),
        _ => None,
    };
    let degrees = |from: usize| match &text[from.min(text.len())..] {
        [Token::Number(x), Token::Word(deg), ..] if deg == "deg" && *x > 0.0 && *x < 360.0 => Some(*x),
        _ => None,
    };
    let mut found = Vec::new();
    if let Some(x) = degrees(0) {
        if x == 180.0 {
            found.push((Value::Number(180.0), 2));
        }
        let to = usize::from(word_at(text, 2) == "to");
        if let Some(sign) = side(word_at(text, 2 + to)) {
            found.push((Value::Number(sign * x), 3 + to));
        }
    }
    let to = usize::from(word_at(text, 0) == "to");
    let by = usize::from(word_at(text, to + 1) == "by");
    if let (Some(sign), Some(x)) = (side(word_at(text, to)), degrees(to + 1 + by)) {
        found.push((Value::Number(sign * x), to + by + 3));
    }
    found
}

/// Tables of words with what they mean.
fn values(place: &str) -> Option<&'static [(&'static str, Value)]> {
    use Value::{Flag, Name};
    const fn octant(i: usize) -> Value {
        Value::Octant(i)
    }
    static OCT: &[(&str, Value)] = &[
        ("front", octant(0)),
        ("straight? ahead", octant(0)),
        ("front left", octant(1)),
        ("left front", octant(1)),
        ("left", octant(2)),
        ("back left", octant(3)),
        ("left back", octant(3)),
        ("back", octant(4)),
        ("behind", octant(4)),
        ("back right", octant(5)),
        ("right back", octant(5)),
        ("right", octant(6)),
        ("front right", octant(7)),
        ("right front", octant(7)),
    ];
    static REGION: &[(&str, Value)] = &[
        ("to/on left side? [ of listener/you ]", Value::Region(Region::Left)),
        ("left of listener/you", Value::Region(Region::Left)),
        ("to/on listener/your left side?", Value::Region(Region::Left)),
        ("to/on right side? [ of listener/you ]", Value::Region(Region::Right)),
        ("right of listener/you", Value::Region(Region::Right)),
        ("to/on listener/your right side?", Value::Region(Region::Right)),
        ("in front [ of listener/you ]", Value::Region(Region::Front)),
        ("behind listener/you", Value::Region(Region::Behind)),
        ("behind", Value::Region(Region::Behind)),
        ("above EAR", Value::Region(Region::Above)),
        ("higher than EAR", Value::Region(Region::Above)),
        ("below EAR", Value::Region(Region::Below)),
        ("lower than EAR", Value::Region(Region::Below)),
        ("less/closer than 2 m away? [ from/to listener/you ]", Value::Region(Region::Near)),
        ("within 2 m [ of listener/you ]", Value::Region(Region::Near)),
    ];
    static EXTREME: &[(&str, Value)] = &[
        ("nearest", Value::Extreme(Extreme::Nearest)),
        ("farthest", Value::Extreme(Extreme::Farthest)),
        ("most distant", Value::Extreme(Extreme::Farthest)),
        ("highest", Value::Extreme(Extreme::Highest)),
        ("lowest", Value::Extreme(Extreme::Lowest)),
    ];
    static FINISH: &[(&str, Value)] = &[
        ("hard? reflective walls/surfaces", Name("reflective")),
        ("hard walls/surfaces", Name("reflective")),
        ("hard walls that absorb less than 20 percent of sound", Name("reflective")),
        ("walls that absorb 20 to 40 percent of sound", Name("moderate")),
        ("soft walls that absorb more than 40 percent of sound", Name("absorptive")),
        ("walls/surfaces that absorb moderately", Name("moderate")),
        ("moderately absorbing/absorptive walls/surfaces", Name("moderate")),
        ("moderate absorption", Name("moderate")),
        ("soft? absorptive/absorbing walls/surfaces", Name("absorptive")),
        ("soft walls/surfaces", Name("absorptive")),
    ];
    static SIZE: &[(&str, Value)] = &[
        ("small room [ up to 20 m squared of floor ]", Name("small")),
        ("medium sized/size? room [ 30 to 55 m squared of floor ]", Name("medium")),
        ("large room [ 70 m squared of floor or more ]", Name("large")),
    ];
    static SIDE: &[(&str, Value)] = &[("to/on? left side?", Flag(true)), ("to/on? right side?", Flag(false))];
    static HEIGHT: &[(&str, Value)] = &[
        ("higher", Flag(true)),
        ("above", Flag(true)),
        ("above it", Flag(true)),
        ("higher than it", Flag(true)),
        ("lower", Flag(false)),
        ("below", Flag(false)),
        ("below it", Flag(false)),
        ("lower than it", Flag(false)),
    ];
    static UP: &[(&str, Value)] = &[("above", Flag(true)), ("below", Flag(false))];
    static MORE: &[(&str, Value)] = &[("more than", Flag(true)), ("less than", Flag(false))];
    Some(match place {
        "OCT" => OCT,
        "REGION" => REGION,
        "EXTREME" => EXTREME,
        "FINISH" => FINISH,
        "SIZE" => SIZE,
        "SIDE" => SIDE,
        "HEIGHT" => HEIGHT,
        "UP" => UP,
        "MORE" => MORE,
        _ => return None,
    })
}

/// Phrases that change nothing about what is asked.
fn phrases(place: &str) -> Option<&'static [&'static str]> {
    Some(match place {
        "LEAD" => &[
            "based on/upon this/what recording/scene/audio/clip",
            "based on/upon recording/scene/audio/clip",
            "based on what you/is hear/heard",
            "listen to this? recording/scene/audio/clip",
            "listening to this? recording/scene/audio/clip",
            "in this? recording/scene/audio/clip",
            "from listener perspective",
            "from perspective of listener",
            "from listener point of view",
        ],
        "TAIL" => &[
            "in/from this? recording/scene/audio/clip",
            "from listener perspective",
            "from perspective of listener",
            "from listener point of view",
            "relative to listener",
            "choose/select/pick best/right/correct? answer/option",
        ],
        "EAR" => &["ear level/height", "ears", "listener ear/ears level/height?", "horizon", "horizontal plane"],
        // How azimuths are counted.
        "CCW" => &[
            "in deg",
            "counted/measured? counterclockwise",
            "counted/measured? counterclockwise from front/0",
            "counted/measured? counterclockwise from straight ahead",
            "0 deg is front counterclockwise",
            "0 deg is front and? angles? increase/increasing counterclockwise",
            "where/with 0 deg is/at? front and? angles? increase/increasing counterclockwise",
            "0 deg is front 90 deg is left",
        ],
        "STATEMENT" => &[
            "which statement/description/option/answer/combination is right/correct/true/accurate",
            "which of these/following statements/descriptions/options is right/correct/true/accurate",
            // "about" is left out by the tokens.
            "which statement scene/sources/sounds is right/correct/true/accurate",
            "which statement sound sources is right/correct/true/accurate",
        ],
        "COMES" => {
            &["is coming", "comes", "arrives", "is arriving", "is", "is heard", "can be heard", "reaches listener/you"]
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, text: &str) -> Option<Vec<Value>> {
        let labels = ["dog bark", "dog", "bark and rain", "rain"].map(String::from);
        Some(Forms::new(&labels).read(&[((), pattern)], &tokens(text)?)?.1)
    }

    #[test]
    fn parts_may_be_missing_and_places_hold_values() {
        let pattern = "[ there is/are ] N sound? source/sources";
        for text in ["two sources", "There are two sound sources.", "2 sources", "is are two sources"] {
            let expected = (!text.starts_with("is")).then(|| vec![Value::Number(2.0)]);
            assert_eq!(read(pattern, text), expected, "{text}");
        }
        assert_eq!(read("S", "The Dog Bark"), Some(vec![Value::Label("dog bark".into())]));
        // Two ways to read it: none.
        assert_eq!(read("S and S", "dog bark and rain and rain"), None);
        assert_eq!(read("S bark? and S", "dog bark and rain"), None);
        assert_eq!(read("from OCT", "from the rear-left"), Some(vec![Value::Octant(3)]));
        assert_eq!(read("REGION", "less than two metres away"), Some(vec![Value::Region(Region::Near)]));
    }

    #[test]
    fn angles_in_their_ways_of_writing() {
        let number = |pattern: &str, text: &str| match read(pattern, text).as_deref() {
            Some([Value::Number(x)]) => Some(*x),
            _ => None,
        };
        let azimuths =
            [("270.5°", 270.5), ("-89.5 deg", 270.5), ("89.5 degrees to the right", 270.5), ("30° left", 30.0)];
        for (text, expected) in azimuths {
            assert_eq!(number("AZ", text), Some(expected), "{text}");
        }
        assert_eq!(number("AZ", "361°"), None);
        assert_eq!(number("AZ", "-200°"), None);
        assert_eq!(number("EL", "12.5° below ear level"), Some(-12.5));
        assert_eq!(number("EL", "-12.5 degrees"), Some(-12.5));
        assert_eq!(number("EL", "-12.5° below ear level"), None);
        assert_eq!(number("EL", "91°"), None);
        let turns =
            [("90° to the left", 90.0), ("60 degrees clockwise", -60.0), ("right by 30°", -30.0), ("180°", 180.0)];
        for (text, expected) in turns {
            assert_eq!(number("TURN", text), Some(expected), "{text}");
        }
        assert_eq!(number("TURN", "90°"), None);
        assert_eq!(number("M", "2.5 meters"), Some(2.5));
        assert_eq!(number("M", "2.5"), None);
        assert_eq!(number("MS", "7 s"), None);
    }
}
