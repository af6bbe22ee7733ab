//! Forms of sentences: words, optional parts, and places that hold a value.
//!
//! ```text
//! word            that word; "a/b" either        word?        may be missing        [ w w ]   may be missing as a whole
//! S               a label of the set             N            a count               M SEC     a number with its unit
//! AZ EL DEG TURN  angles                         OCT ..       a word of a table: see `tables`
//! LEAD TAIL ..    phrases that add nothing: see `tables`
//! ```
//! A form fits a text only as a whole, and a text is read only when all fits agree.

use super::super::facts::around;
use super::tables::{Value, phrases, values};
use super::tokens::{Token, tokens};

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
        match place {
            "S" => {
                let here = self.labels.iter().filter(|(_, label)| text.starts_with(label));
                here.map(|(name, label)| (Value::Label(name.clone()), label.len())).collect()
            }
            "N" => match text.first() {
                Some(Token::Number(n)) if n.fract() == 0.0 && (0.0..10.0).contains(n) => vec![(Value::Number(*n), 1)],
                Some(token) if is_word(token, "none") => vec![(Value::Number(0.0), 1)],
                _ => vec![],
            },
            "M" => with_unit(text, "m"),
            "SEC" => with_unit(text, "s"),
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

fn word_at(text: &[Token], at: usize) -> &str {
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

#[cfg(test)]
mod tests {
    use super::super::super::claims::Region;
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

    /// A place that does not exist, or a bracket that is not closed, would end the program on some text of somebody's.
    #[test]
    fn every_form_of_the_readers_is_well_formed() {
        let files = ["perception.rs", "integration.rs", "reasoning.rs", "situations.rs", "tables.rs"];
        let texts = [
            include_str!("perception.rs"),
            include_str!("integration.rs"),
            include_str!("reasoning.rs"),
            include_str!("situations.rs"),
            include_str!("tables.rs"),
        ];
        let measured = ["S", "N", "M", "SEC", "DEG", "AZ", "EL", "TURN"];
        let forms = Forms::new(&["rain".into()]);
        let mut count = 0;
        for (file, text) in files.iter().zip(texts) {
            let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
            let code = code.replace("'\"'", "");
            for literal in code.split('"').skip(1).step_by(2).filter(|l| l.contains(' ') && !l.contains(['{', '.'])) {
                let mut open = 0;
                for part in literal.split_whitespace().map(|p| p.trim_end_matches('?')) {
                    open += i32::from(part == "[") - i32::from(part == "]");
                    assert!(open >= 0, "{file}: {literal}");
                    let is_place = part.starts_with(char::is_uppercase);
                    let is_known = measured.contains(&part) || values(part).is_some() || phrases(part).is_some();
                    assert!(!is_place || is_known, "{file}: {part} in {literal}");
                    let is_word = part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '/');
                    assert!(is_place || is_word || part == "[" || part == "]", "{file}: {part} in {literal}");
                    // A word that the tokens drop or spell otherwise could never be met.
                    for word in part.split('/').filter(|_| is_word) {
                        let kept = tokens(&format!("{word} x")).unwrap();
                        assert!(is_word_at(&kept, word), "{file}: {word} in {literal} is never met");
                    }
                }
                assert_eq!(open, 0, "{file}: {literal}");
                forms.read(&[((), literal)], &tokens("rain").unwrap());
                count += 1;
            }
        }
        assert!(count > 200, "{count}");
    }

    fn is_word_at(tokens: &[Token], word: &str) -> bool {
        tokens.len() == 2 && is_word(&tokens[0], word)
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
        assert_eq!(number("SEC", "7 m"), None);
    }
}
