//! A number with its unit out of prose: "about two and a half metres", "45° to the right", "behind you on the left".
//!
//! Nothing is guessed: a text with several values that could be meant, a range, or a unit of another kind says nothing.
//! Time is linear in the text; any text is read.

use crate::text::numbers::{BELOW_TWENTY, TENS};
use serde::{Deserialize, Serialize};

/// What is asked for, in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Degrees, counter-clockwise from the front, in [0, 360).
    AzimuthDeg,
    /// Degrees up from the horizon.
    ElevationDeg,
    /// Metres.
    DistanceM,
    /// Seconds.
    TimeS,
    /// How many.
    Count,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// One value, in the unit of the quantity.
    One(f64),
    /// Several that could be meant, or a range.
    Several,
    /// None.
    Nothing,
}

/// Most characters that are read, from the end: an answer ends with what it says.
const CHARS_MAX: usize = 20_000;
/// How many words behind a number its side may stand.
const SIDE_REACH: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Angle,
    Length,
    Time,
    /// A percentage, a frequency, a level: nothing that is asked for.
    Other,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Number(f64),
    Mark(char),
}

/// A number in the text: which tokens, what it is.
#[derive(Clone, Copy, Debug)]
struct Mention {
    first: usize,
    /// Behind the number and its unit.
    end: usize,
    value: f64,
    unit: Option<(Dimension, f64)>,
    is_words: bool,
}

/// Reads what `text` says of a quantity.
pub fn read_value(text: &str, quantity: Quantity) -> Value {
    let skipped = text.chars().count().saturating_sub(CHARS_MAX);
    let text: String = text.chars().skip(skipped).collect();
    let tokens = tokens(&text);
    let mentions = mentions(&tokens);
    let (dimension, is_count) = match quantity {
        Quantity::AzimuthDeg | Quantity::ElevationDeg => (Some(Dimension::Angle), false),
        Quantity::DistanceM => (Some(Dimension::Length), false),
        Quantity::TimeS => (Some(Dimension::Time), false),
        Quantity::Count => (None, true),
    };
    let with_unit: Vec<Mention> =
        mentions.iter().copied().filter(|m| m.unit.is_some_and(|(found, _)| Some(found) == dimension)).collect();
    let bare = |m: &&Mention| m.unit.is_none() && (is_count || !m.is_words);
    let chosen = match with_unit.is_empty() {
        false => with_unit,
        true => mentions.iter().filter(bare).copied().collect(),
    };
    let values: Vec<(Mention, f64)> = chosen.into_iter().map(|m| (m, oriented(&tokens, &m, quantity))).collect();
    let found = one_of(&tokens, &values);
    match (found, quantity) {
        (Value::Nothing, Quantity::AzimuthDeg) => octant(&tokens),
        (Value::Nothing, Quantity::ElevationDeg)
            if says(&tokens, &["ear", "level"]) || says(&tokens, &["eye", "level"]) =>
        {
            Value::One(0.0)
        }
        (Value::Nothing, Quantity::Count) => match tokens.iter().any(|t| is_word(t, &["no", "none", "nothing"])) {
            true => Value::One(0.0),
            false => Value::Nothing,
        },
        (Value::One(value), Quantity::AzimuthDeg) => Value::One(value.rem_euclid(360.0)),
        (Value::One(value), Quantity::Count) if value < 0.0 || value.fract() != 0.0 => Value::Nothing,
        (Value::One(value), Quantity::DistanceM | Quantity::TimeS) if value < 0.0 => Value::Nothing,
        (found, _) => found,
    }
}

/// The only value, or the only one of the last sentence that has any.
fn one_of(tokens: &[Token], values: &[(Mention, f64)]) -> Value {
    let same = |values: &[(Mention, f64)]| values.iter().all(|(_, v)| (v - values[0].1).abs() < 1e-9);
    let Some((last, value)) = values.last() else { return Value::Nothing };
    let is_range = values.windows(2).any(|pair| is_range(tokens, &pair[0].0, &pair[1].0));
    if is_range || begins_range(tokens, last) {
        return Value::Several;
    }
    if same(values) {
        return Value::One(*value);
    }
    let start = tokens[..last.first].iter().rposition(|t| matches!(t, Token::Mark('.' | '!' | '?' | ';' | '\n')));
    let sentence: Vec<(Mention, f64)> =
        values.iter().copied().filter(|(m, _)| start.is_none_or(|start| m.first > start)).collect();
    if same(&sentence) { Value::One(*value) } else { Value::Several }
}

/// "2 to 3 m", "2-3 m", "between 2 and 3 m".
fn is_range(tokens: &[Token], a: &Mention, b: &Mention) -> bool {
    let between = &tokens[a.end.min(b.first)..b.first];
    let is_between = a.first > 0 && is_word(&tokens[a.first - 1], &["between"]);
    match between {
        [Token::Mark('-' | '\u{2013}' | '~')] => true,
        [word] => is_word(word, &["to", "or"]) || is_between && is_word(word, &["and"]),
        _ => false,
    }
}

/// A number without a unit stands before the one that was chosen, as in "2 to 3 m".
fn begins_range(tokens: &[Token], chosen: &Mention) -> bool {
    let Some(joint) = chosen.first.checked_sub(1) else { return false };
    let Some(before) = joint.checked_sub(1) else { return false };
    let is_joint =
        matches!(tokens[joint], Token::Mark('-' | '\u{2013}' | '~')) || is_word(&tokens[joint], &["to", "or", "and"]);
    let is_number = match &tokens[before] {
        Token::Number(_) => true,
        Token::Word(word) => small(word).is_some(),
        Token::Mark(_) => false,
    };
    is_joint && is_number
}

fn is_word(token: &Token, words: &[&str]) -> bool {
    matches!(token, Token::Word(word) if words.contains(&word.as_str()))
}

fn says(tokens: &[Token], phrase: &[&str]) -> bool {
    tokens.windows(phrase.len()).any(|window| window.iter().zip(phrase).all(|(token, word)| is_word(token, &[word])))
}

/// The value with the sign that the words behind it give: "to the right" turns clockwise, "below" is down.
fn oriented(tokens: &[Token], mention: &Mention, quantity: Quantity) -> f64 {
    let value = mention.value * mention.unit.map_or(1.0, |(_, factor)| factor);
    let ends = |token: &&Token| !matches!(token, Token::Number(_) | Token::Mark('.' | ',' | ';' | '\n' | '?' | '!'));
    let behind: Vec<&Token> = tokens[mention.end..].iter().take_while(ends).take(SIDE_REACH).collect();
    let has = |words: &[&str]| behind.iter().any(|token| is_word(token, words));
    let counter = has(&["counter", "counterclockwise", "anticlockwise", "anti"]);
    let down = match quantity {
        Quantity::AzimuthDeg => {
            let right = has(&["right", "rightward", "rightwards"]) && !has(&["left"]);
            (right || has(&["clockwise"]) && !counter) && (0.0..=180.0).contains(&value)
        }
        Quantity::ElevationDeg => {
            has(&["below", "down", "downward", "downwards", "beneath", "under", "lower"]) && value >= 0.0
        }
        _ => false,
    };
    if down { -value } else { value }
}

/// The direction of the last sentence that names one, by halves of quarters.
fn octant(tokens: &[Token]) -> Value {
    let mut last = Value::Nothing;
    for sentence in tokens.split(|token| matches!(token, Token::Mark('.' | '!' | '?' | ';' | '\n'))) {
        // "Right behind", "right in front": the word only stresses.
        let stresses = |i: usize| {
            sentence
                .get(i + 1)
                .is_some_and(|next| is_word(next, &["in", "behind", "ahead", "at", "above", "now", "here", "there"]))
        };
        let any = |words: &[&str]| {
            (0..sentence.len()).any(|i| is_word(&sentence[i], words) && !(words[0] == "right" && stresses(i)))
        };
        let sides = [
            any(&["front", "ahead", "forward", "forwards"]),
            any(&["back", "behind", "rear", "backwards"]),
            any(&["left", "leftward", "leftwards"]),
            any(&["right", "rightward", "rightwards"]),
        ];
        let denied = sentence.iter().any(|token| is_word(token, &["not", "neither", "nor", "isn't"]));
        let value = match sides {
            [false, false, false, false] => continue,
            _ if denied => Value::Several,
            [true, false, false, false] => Value::One(0.0),
            [true, false, true, false] => Value::One(45.0),
            [false, false, true, false] => Value::One(90.0),
            [false, true, true, false] => Value::One(135.0),
            [false, true, false, false] => Value::One(180.0),
            [false, true, false, true] => Value::One(225.0),
            [false, false, false, true] => Value::One(270.0),
            [true, false, false, true] => Value::One(315.0),
            _ => Value::Several,
        };
        last = value;
    }
    last
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let next_is_digit = chars.get(at + 1).is_some_and(char::is_ascii_digit);
        let stands_free =
            at == 0 || !(chars[at - 1].is_alphanumeric() || matches!(chars[at - 1], '-' | '\u{2013}' | '°' | '.'));
        if c.is_ascii_digit() || matches!(c, '-' | '\u{2212}' | '+' | '.') && next_is_digit && stands_free {
            let (value, end) = number(&chars, at);
            found.push(Token::Number(value));
            at = end;
        } else if c.is_alphabetic() {
            let end =
                (at..chars.len()).find(|&i| !(chars[i].is_alphabetic() || chars[i] == '\'')).unwrap_or(chars.len());
            found.push(Token::Word(chars[at..end].iter().collect::<String>().to_lowercase()));
            at = end;
        } else {
            if c == '\n' || !c.is_whitespace() {
                found.push(Token::Mark(c));
            }
            at += 1;
        }
    }
    found
}

/// The number that begins at `at`, and where it ends: `1,200.5`, `-3`, `.5`, `2,5`.
fn number(chars: &[char], at: usize) -> (f64, usize) {
    let mut text = String::new();
    let mut i = at;
    if matches!(chars[i], '-' | '\u{2212}') {
        text.push('-');
        i += 1;
    } else if chars[i] == '+' {
        i += 1;
    }
    let digits_at = |i: usize| (i..chars.len()).take_while(|&k| chars[k].is_ascii_digit()).count();
    let mut has_point = false;
    while i < chars.len() {
        match chars[i] {
            c if c.is_ascii_digit() => text.push(c),
            '.' if !has_point && digits_at(i + 1) > 0 => {
                has_point = true;
                text.push('.');
            }
            // Thousands, or a decimal comma.
            ',' if !has_point && digits_at(i + 1) == 3 => {}
            ',' if !has_point && (1..=2).contains(&digits_at(i + 1)) => {
                has_point = true;
                text.push('.');
            }
            _ => break,
        }
        i += 1;
    }
    (text.parse().ok().filter(|v: &f64| v.is_finite()).unwrap_or(f64::MAX), i)
}

/// Zero to nineteen, and the tens.
fn small(word: &str) -> Option<f64> {
    let below = BELOW_TWENTY.iter().position(|w| *w == word).map(|v| v as f64);
    below.or_else(|| TENS.iter().position(|w| *w == word).map(|v| 10.0 * (v + 2) as f64))
}

/// A number in words that begins at `at`, and where it ends.
fn worded(tokens: &[Token], at: usize) -> Option<(f64, usize)> {
    let word = |i: usize| match tokens.get(i) {
        Some(Token::Word(word)) => Some(word.as_str()),
        _ => None,
    };
    if word(at) == Some("half") {
        let skip = usize::from(matches!(word(at + 1), Some("a" | "an")));
        return Some((0.5, at + 1 + skip));
    }
    let mut value = small(word(at)?)?;
    let mut end = at + 1;
    // "Forty-five", "forty five".
    let joint = usize::from(tokens.get(end) == Some(&Token::Mark('-')));
    if value >= 20.0
        && let Some(unit) = word(end + joint).and_then(small).filter(|unit| (1.0..10.0).contains(unit))
    {
        value += unit;
        end += joint + 1;
    }
    if word(end) == Some("hundred") {
        value *= 100.0;
        end += 1;
        let skip = usize::from(word(end) == Some("and"));
        if let Some((rest, after)) = word(end + skip).and_then(small).and_then(|_| worded(tokens, end + skip))
            && rest < 100.0
        {
            value += rest;
            end = after;
        }
    }
    if word(end) == Some("point") {
        let mut place = 0.1;
        let digits = (end + 1..).map_while(|i| word(i).and_then(small).filter(|digit| *digit < 10.0));
        for digit in digits.take(6) {
            value += place * digit;
            place /= 10.0;
            end += 1;
        }
        end += 1;
    } else if word(end) == Some("and") && word(end + 1) == Some("a") && word(end + 2) == Some("half") {
        value += 0.5;
        end += 3;
    }
    Some((value, end))
}

fn mentions(tokens: &[Token]) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (value, end, is_words) = match &tokens[at] {
            Token::Number(value) => (*value, at + 1, false),
            Token::Word(_) => match worded(tokens, at) {
                Some((value, end)) => (value, end, true),
                None => {
                    at += 1;
                    continue;
                }
            },
            Token::Mark(_) => {
                at += 1;
                continue;
            }
        };
        let joint = usize::from(tokens.get(end) == Some(&Token::Mark('-')));
        let unit = tokens.get(end).and_then(unit).or_else(|| tokens.get(end + joint).and_then(unit));
        let end = if unit.is_some() {
            end + 1 + if tokens.get(end).and_then(self::unit).is_none() { joint } else { 0 }
        } else {
            end
        };
        found.push(Mention { first: at, end, value, unit, is_words });
        at = end;
    }
    found
}

/// What a word or mark behind a number makes of it: the dimension, and the factor to degrees, metres and seconds.
fn unit(token: &Token) -> Option<(Dimension, f64)> {
    let word = match token {
        Token::Mark('°' | 'º' | '\u{2da}') => return Some((Dimension::Angle, 1.0)),
        Token::Mark('%') => return Some((Dimension::Other, 1.0)),
        Token::Word(word) => word.as_str(),
        _ => return None,
    };
    Some(match word {
        "deg" | "degs" | "degree" | "degrees" => (Dimension::Angle, 1.0),
        "rad" | "radian" | "radians" => (Dimension::Angle, 180.0 / std::f64::consts::PI),
        "m" | "meter" | "meters" | "metre" | "metres" => (Dimension::Length, 1.0),
        "cm" | "centimeter" | "centimeters" | "centimetre" | "centimetres" => (Dimension::Length, 0.01),
        "mm" | "millimeter" | "millimeters" | "millimetre" | "millimetres" => (Dimension::Length, 0.001),
        "km" | "kilometer" | "kilometers" | "kilometre" | "kilometres" => (Dimension::Length, 1000.0),
        "ft" | "foot" | "feet" => (Dimension::Length, 0.3048),
        "inch" | "inches" => (Dimension::Length, 0.0254),
        "yard" | "yards" => (Dimension::Length, 0.9144),
        "s" | "sec" | "secs" | "second" | "seconds" => (Dimension::Time, 1.0),
        "ms" | "millisecond" | "milliseconds" => (Dimension::Time, 0.001),
        "minute" | "minutes" => (Dimension::Time, 60.0),
        "hz" | "khz" | "db" | "percent" | "channels" | "channel" | "options" | "option" => (Dimension::Other, 1.0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[track_caller]
    fn reads(quantity: Quantity, cases: &[(&str, Option<f64>)]) {
        for (text, expected) in cases {
            match (read_value(text, quantity), expected) {
                (Value::One(found), Some(expected)) if (found - expected).abs() < 1e-9 => {}
                (Value::Several | Value::Nothing, None) => {}
                (found, _) => panic!("{text:?}: {found:?}, {expected:?} is meant"),
            }
        }
    }

    #[test]
    fn distances_in_any_unit_and_nothing_guessed() {
        reads(
            Quantity::DistanceM,
            &[
                ("The dog is 2.37 m away.", Some(2.37)),
                ("about 240 cm", Some(2.4)),
                ("Two and a half metres, I'd say.", Some(2.5)),
                ("three point two five meters", Some(3.25)),
                ("half a metre", Some(0.5)),
                ("10 feet", Some(3.048)),
                ("1.5", Some(1.5)),
                ("a 2-metre distance", Some(2.0)),
                ("2,5 m", Some(2.5)),
                ("At 500 Hz the level falls, so 3 m.", Some(3.0)),
                ("First I thought 2 m. But it is 3 m.", Some(3.0)),
                ("2 to 3 m", None),
                ("2-3 m", None),
                ("between 2 m and 3 m", None),
                ("The dog is 2 m and the phone 4 m away.", None),
                ("30 degrees", None),
                ("far away", None),
                ("", None),
                ("one of them", None),
            ],
        );
    }

    #[test]
    fn azimuths_with_sides_and_compass() {
        reads(
            Quantity::AzimuthDeg,
            &[
                ("242.52°", Some(242.52)),
                ("-90 degrees", Some(270.0)),
                ("\u{2212}45°", Some(315.0)),
                ("45° to the right", Some(315.0)),
                ("30 degrees to the left", Some(30.0)),
                ("90 degrees clockwise from the front", Some(270.0)),
                ("90 degrees counter-clockwise", Some(90.0)),
                ("azimuth 270° on the right side", Some(270.0)),
                ("forty-five degrees", Some(45.0)),
                ("one hundred and thirty five degrees", Some(135.0)),
                ("behind you on the left", Some(135.0)),
                ("It comes from the front right.", Some(315.0)),
                ("Right behind the listener.", Some(180.0)),
                ("right in front", Some(0.0)),
                ("to the left", Some(90.0)),
                ("1.5707963267948966 radians", Some(90.0)),
                ("not from the left", None),
                ("left or right", None),
                ("3 m", None),
            ],
        );
    }

    #[test]
    fn elevations_times_and_counts() {
        reads(
            Quantity::ElevationDeg,
            &[
                ("12° above ear level", Some(12.0)),
                ("12 degrees below ear level", Some(-12.0)),
                ("-5.25°", Some(-5.25)),
                ("at ear level", Some(0.0)),
                ("high up", None),
            ],
        );
        reads(
            Quantity::TimeS,
            &[("0.52 s", Some(0.52)), ("about 400 ms", Some(0.4)), ("half a second", Some(0.5)), ("-1 s", None)],
        );
        reads(
            Quantity::Count,
            &[
                ("There are two sound sources.", Some(2.0)),
                ("3", Some(3.0)),
                ("none", Some(0.0)),
                ("I hear 2 sources, both within 3 m.", Some(2.0)),
                ("two or three", None),
                ("2.5", None),
                ("many", None),
            ],
        );
    }

    #[test]
    fn any_text_is_read_in_linear_time() {
        let parts = [
            "2",
            ".",
            "-",
            "m",
            "°",
            "two",
            "hundred",
            "and",
            "point",
            "half",
            " ",
            "\n",
            "\u{1F600}",
            "to",
            "1e999",
            ",",
        ];
        let all = [Quantity::AzimuthDeg, Quantity::ElevationDeg, Quantity::DistanceM, Quantity::TimeS, Quantity::Count];
        for index in 0..400 {
            let mut rng = Rng::new(2, "open text", index);
            let text: String = (0..rng.below(60)).map(|_| parts[rng.below(parts.len())]).collect();
            all.iter().for_each(|quantity| {
                if let Value::One(value) = read_value(&text, *quantity) {
                    assert!(value.is_finite(), "{text:?}");
                }
            });
        }
        let start = std::time::Instant::now();
        for part in ["9", "two hundred and ", "2 m ", "- "] {
            all.iter().for_each(|quantity| {
                read_value(&part.repeat(1_000_000 / part.len()), *quantity);
            });
        }
        assert!(start.elapsed().as_secs() < 20);
    }
}
