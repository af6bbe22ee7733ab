//! Text to tokens: letter case, punctuation, articles, hedges and the spelling of numbers and units are evened out.

use crate::text::numbers::{BELOW_TWENTY, TENS};

/// A word or a number. Units are the words `deg`, `m`, `s` and `ms`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::benchmark) enum Token {
    /// In lower case.
    Word(String),
    /// In digits or in words.
    Number(f64),
}

/// Longest number in digits: more would be lost in an f64.
const DIGITS_MAX: usize = 12;
/// Punctuation, until words have been joined: "eighty, one metre" is not eighty-one.
const PAUSE: &str = ",";
/// Left out: articles, and words that make a number vague.
const DROPPED: [&str; 10] =
    ["the", "a", "an", "about", "somewhere", "approximately", "approx", "roughly", "circa", "ca"];
/// The tokens of a text; `None` when it holds a character that questions do not need.
pub(in crate::benchmark) fn tokens(text: &str) -> Option<Vec<Token>> {
    let chars: Vec<char> = text.to_lowercase().chars().map(plain_char).collect();
    let mut raw = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let (before, after) = (at.checked_sub(1).map(|i| chars[i]), chars.get(at + 1).copied());
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        match chars[at] {
            c if c.is_ascii_digit() => at = number(&chars, at, 1.0, &mut raw)?,
            '-' | '+' if is_digit(after) => {
                // "0-360" and "2 m-3 m" are ranges, not negative numbers.
                if before.is_some_and(|c| c.is_alphanumeric() || c == '°') {
                    return None;
                }
                at = number(&chars, at + 1, if chars[at] == '-' { -1.0 } else { 1.0 }, &mut raw)?;
            }
            // A longer dash in front of a number might be meant as a minus.
            '\u{2013}' | '\u{2014}' if is_digit(after) => return None,
            c if c.is_alphabetic() => at = word(&chars, at, &mut raw),
            '°' | '%' | '²' => {
                let unit = [("°", "deg"), ("%", "percent"), ("²", "squared")].into_iter();
                raw.extend(unit.filter(|(c, _)| c.starts_with(chars[at])).map(|(_, word)| word.to_string()));
                at += 1;
            }
            c if c.is_whitespace() && !c.is_control() || c == '-' || c == '_' => at += 1,
            c if is_punctuation(c) => {
                raw.push(PAUSE.into());
                at += 1;
            }
            _ => return None,
        }
    }
    Some(joined(&raw))
}

fn plain_char(c: char) -> char {
    match c {
        '\u{2212}' | '\u{2010}' | '\u{2011}' => '-',
        '\u{2019}' | '\u{2018}' => '\'',
        'º' => '°',
        c => c,
    }
}

fn is_punctuation(c: char) -> bool {
    ",.;:?!\"'()~≈\u{201c}\u{201d}\u{2026}\u{2013}\u{2014}".contains(c)
}

/// Reads digits from `at` on; they are kept as text, so that number words can be told from digits.
fn number(chars: &[char], at: usize, sign: f64, raw: &mut Vec<String>) -> Option<usize> {
    let digits = |from: usize| from + chars[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let mut end = digits(at);
    if chars.get(end) == Some(&'.') && chars.get(end + 1).is_some_and(char::is_ascii_digit) {
        end = digits(end + 1);
        // "1.2.3" is no number.
        if chars.get(end) == Some(&'.') && chars.get(end + 1).is_some_and(char::is_ascii_digit) {
            return None;
        }
    }
    let text: String = chars[at..end].iter().collect();
    // "2,13" may be a decimal comma or a list.
    let comma = chars.get(end) == Some(&',') && chars.get(end + 1).is_some_and(char::is_ascii_digit);
    if comma || text.len() > DIGITS_MAX {
        return None;
    }
    raw.push(if sign < 0.0 { format!("-{text}") } else { text });
    Some(end)
}

/// Reads a word from `at` on, without a possessive ending. A letter that marks an option ("A.", "a)") stays a word of its
/// own kind, so that it is not taken for an article.
fn word(chars: &[char], at: usize, raw: &mut Vec<String>) -> usize {
    let mut end = at;
    while end < chars.len() && (chars[end].is_alphanumeric() && chars[end] != '²' || is_inner_apostrophe(chars, end)) {
        end += 1;
    }
    let text: String = chars[at..end].iter().collect();
    let text = text.strip_suffix("'s").unwrap_or(&text).to_string();
    let marks_option = text == "a" && chars.get(end).is_none_or(|c| !c.is_whitespace());
    raw.push(if marks_option { "a)".into() } else { text });
    end
}

fn is_inner_apostrophe(chars: &[char], at: usize) -> bool {
    chars[at] == '\'' && at > 0 && chars[at - 1].is_alphabetic() && chars.get(at + 1).is_some_and(|c| c.is_alphabetic())
}

/// Number words become numbers, units one word each; articles and hedges go.
fn joined(raw: &[String]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let (token, used) = match raw[at].as_str() {
            digits if digits.ends_with(|c: char| c.is_ascii_digit()) && digits.parse::<f64>().is_ok() => {
                (Some(Token::Number(digits.parse().expect("just tried"))), 1)
            }
            "counter" | "anti" if raw.get(at + 1).is_some_and(|w| w == "clockwise") => {
                (Some(Token::Word("counterclockwise".into())), 2)
            }
            word if word == PAUSE || DROPPED.contains(&word) => (None, 1),
            word => match number_words(&raw[at..]) {
                Some((value, used)) => (Some(Token::Number(value as f64)), used),
                None => (Some(Token::Word(same_word(word).into())), 1),
            },
        };
        tokens.extend(token);
        at += used;
    }
    tokens
}

fn same_word(word: &str) -> &str {
    match word {
        "degree" | "degrees" | "degs" => "deg",
        "metre" | "metres" | "meter" | "meters" => "m",
        "second" | "seconds" | "sec" | "secs" => "s",
        "millisecond" | "milliseconds" => "ms",
        "decibel" | "decibels" => "db",
        "anticlockwise" => "counterclockwise",
        "rear" | "backward" | "backwards" => "back",
        "toward" => "towards",
        "nearer" => "closer",
        "closest" => "nearest",
        "further" => "farther",
        "furthest" => "farthest",
        word => word,
    }
}

/// "two", "forty-five", "one hundred and eighty": the number and how many words it takes.
fn number_words(words: &[String]) -> Option<(u32, usize)> {
    let of = |i: usize, list: &[&str]| {
        let word = words.get(i)?;
        list.iter().position(|w| w == word).map(|p| p as u32)
    };
    let below_hundred = |i: usize| match (of(i, &TENS), of(i, &BELOW_TWENTY[1..])) {
        (Some(tens), _) => match of(i + 1, &BELOW_TWENTY[1..10]) {
            Some(ones) => Some((20 + 10 * tens + ones + 1, 2)),
            None => Some((20 + 10 * tens, 1)),
        },
        (None, Some(ones)) => Some((ones + 1, 1)),
        (None, None) => None,
    };
    if words.first().is_some_and(|w| w == "zero") {
        return Some((0, 1));
    }
    let is = |i: usize, word: &str| words.get(i).is_some_and(|w| w == word);
    match (of(0, &BELOW_TWENTY[1..10]), is(1, "hundred")) {
        (Some(hundreds), true) => {
            let rest = 2 + usize::from(is(2, "and"));
            let (more, used) = below_hundred(rest).unwrap_or((0, 0));
            Some((100 * (hundreds + 1) + more, if used == 0 { 2 } else { rest + used }))
        }
        _ => below_hundred(0),
    }
}

/// Decimals of every number in digits, in order: options that differ in them give something away.
pub(in crate::benchmark) fn decimals(text: &str) -> Vec<usize> {
    let mut all = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_ascii_digit() {
            continue;
        }
        let (mut count, mut is_fraction) = (0, false);
        while let Some(&next) = chars.peek() {
            match next {
                '.' if !is_fraction => is_fraction = true,
                d if d.is_ascii_digit() => count += usize::from(is_fraction),
                _ => break,
            }
            chars.next();
        }
        all.push(count);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        let token = |t: &Token| match t {
            Token::Word(word) => word.clone(),
            Token::Number(x) => x.to_string(),
        };
        Some(tokens(text)?.iter().map(token).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn spellings_are_evened_out() {
        let same = [
            ("The Dog_Bark, from the rear-left!", "dog bark from back left"),
            ("about 2.50 m; -12.5°", "2.5 m -12.5 deg"),
            ("\u{2212}12.5 degrees and +3 metres", "-12.5 deg and 3 m"),
            ("2m or 2 meters", "2 m or 2 m"),
            ("forty-five degrees, one hundred and eighty, one hundred", "45 deg 180 100"),
            ("twenty two zero nineteen; eighty, one metre", "22 0 19 80 1 m"),
            ("counter-clockwise, anti-clockwise, anticlockwise, clockwise", {
                "counterclockwise counterclockwise counterclockwise clockwise"
            }),
            ("the listener's ears", "listener ears"),
            ("a small room", "small room"),
            ("A. 2 m", "a) 2 m"),
            ("A) 2 m", "a) 2 m"),
            ("a", "a)"),
            ("It ends here: 2.", "it ends here 2"),
        ];
        for (from, to) in same {
            assert_eq!(text(from).as_deref(), Some(to), "{from}");
        }
    }

    #[test]
    fn what_may_mean_two_things_is_not_read() {
        let strange =
            ["0-360", "2,13 m", "1.2.3", "\u{2013}12°", "https://x", "<think>", "a\u{0}b", "1234567890123", "2 €"];
        for bad in strange {
            assert_eq!(text(bad), None, "{bad}");
        }
        // An exponent stays two tokens and a word, which no form has.
        assert_eq!(text("1e3 m").as_deref(), Some("1 e3 m"));
        assert_eq!(decimals("azimuth 12.50°, 3 m and -0.125 s"), [2, 0, 3]);
    }
}
