//! Which option a model chose: a letter, or the option's own text.

use super::final_answer::final_answer;
use super::letters::{Named, named_letter};
use super::normal::normal_form;
use crate::text::questions::{Letter, Said};

/// What may count as an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Match {
    /// A letter or the option's text.
    #[default]
    Both,
    /// Letters alone.
    Letter,
    /// The option's text alone; a letter says nothing, even as `answer_letter`.
    Text,
}

/// What was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One option.
    Chosen(Letter),
    /// Several options with equal right.
    Contradictory,
    /// No option.
    Nothing,
}

impl Reading {
    /// The option, where there is exactly one.
    pub fn chosen(self) -> Option<Letter> {
        match self {
            Reading::Chosen(letter) => Some(letter),
            _ => None,
        }
    }
}

/// Most words beside the option's own in a sentence that is searched for it.
const OTHER_WORDS_MAX: usize = 24;
/// Words that turn a sentence around: it is not searched then.
const NEGATIONS: &[&str] =
    &["not", "no", "never", "neither", "nor", "none", "except", "instead", "without", "unlike", "cannot"];

/// Reads what was said to a question with these options (in the order of their letters).
///
/// A letter is found by the rules of `letters`; an option's text is equal in normal form to the answer, or occurs in
/// a short sentence without a negation in which no other option occurs. A letter that is followed by the text of
/// another option contradicts itself. Time is linear in what was said.
pub fn read_option(said: &Said, options: [&str; 4], rule: Match) -> Reading {
    let text = match (said, rule) {
        (Said::Letter(_), Match::Text) => return Reading::Nothing,
        (Said::Letter(letter), _) => return Reading::Chosen(*letter),
        (Said::Text(text), _) => final_answer(text),
    };
    let named = named_letter(&text);
    if rule == Match::Letter {
        return of_letters(named);
    }
    let options = options.map(normal_form);
    let words = normal_form(&text);
    let whole = equal_to(&words, &options);
    if rule == Match::Text {
        return match (whole, named) {
            (Reading::Nothing, Named::One(_, end)) => match equal_to(&normal_form(&text[end..]), &options) {
                Reading::Nothing => contained_in(&words, &options),
                labelled => labelled,
            },
            (Reading::Nothing, _) => contained_in(&words, &options),
            _ => whole,
        };
    }
    match named {
        Named::One(letter, end) => {
            let behind = equal_to(&normal_form(&text[end..]), &options);
            let agrees = |reading| match reading {
                Reading::Chosen(other) => other == letter || options[other.index()] == options[letter.index()],
                _ => true,
            };
            if agrees(whole) && agrees(behind) { Reading::Chosen(letter) } else { Reading::Contradictory }
        }
        _ if whole != Reading::Nothing => whole,
        Named::Several => Reading::Contradictory,
        Named::Nothing => match led_by_letter(&words, &options) {
            Reading::Nothing => contained_in(&words, &options),
            led => led,
        },
    }
}

fn of_letters(named: Named) -> Reading {
    match named {
        Named::One(letter, _) => Reading::Chosen(letter),
        Named::Several => Reading::Contradictory,
        Named::Nothing => Reading::Nothing,
    }
}

fn only(mut letters: impl Iterator<Item = Letter>) -> Reading {
    match (letters.next(), letters.next()) {
        (None, _) => Reading::Nothing,
        (Some(letter), None) => Reading::Chosen(letter),
        _ => Reading::Contradictory,
    }
}

/// The option that says the same.
fn equal_to(words: &[String], options: &[Vec<String>; 4]) -> Reading {
    only(Letter::ALL.into_iter().filter(|l| !words.is_empty() && options[l.index()] == words))
}

/// "B two": a letter without a mark, confirmed or contradicted by the text behind it.
fn led_by_letter(words: &[String], options: &[Vec<String>; 4]) -> Reading {
    let Some((letter, rest)) = words.split_first().and_then(|(first, rest)| Some((Letter::parse(first)?, rest))) else {
        return Reading::Nothing;
    };
    match equal_to(rest, options) {
        Reading::Nothing => Reading::Nothing,
        _ if options[letter.index()] == rest => Reading::Chosen(letter),
        _ => Reading::Contradictory,
    }
}

/// The option whose words stand in the sentence; one that only occurs within a longer one ("left" in "front left")
/// does not count.
fn contained_in(words: &[String], options: &[Vec<String>; 4]) -> Reading {
    let longest = options.iter().map(Vec::len).max().unwrap_or(0);
    if words.len() > longest + OTHER_WORDS_MAX {
        return Reading::Nothing;
    }
    let spans: Vec<(Letter, usize, usize)> = Letter::ALL
        .into_iter()
        .filter(|l| !options[l.index()].is_empty() && words.len() <= options[l.index()].len() + OTHER_WORDS_MAX)
        .flat_map(|l| {
            let option = &options[l.index()];
            let places = words.windows(option.len()).enumerate().filter(move |(_, window)| window == option);
            places.map(move |(at, _)| (l, at, at + option.len()))
        })
        .collect();
    let within =
        |a: &(Letter, usize, usize), b: &(Letter, usize, usize)| b.1 <= a.1 && a.2 <= b.2 && b.2 - b.1 > a.2 - a.1;
    let outer: Vec<_> = spans.iter().filter(|a| !spans.iter().any(|b| within(a, b))).collect();
    let is_covered = |at: usize| outer.iter().any(|span| span.1 <= at && at < span.2);
    let negates =
        |word: &str| NEGATIONS.contains(&word) || word.len() > 3 && word.ends_with("nt") && is_short_form(word);
    if words.iter().enumerate().any(|(at, word)| !is_covered(at) && negates(word)) {
        return Reading::Nothing;
    }
    only(Letter::ALL.into_iter().filter(|l| outer.iter().any(|span| span.0 == *l)))
}

/// "isnt", "doesnt" and the like, as the normal form leaves them.
fn is_short_form(word: &str) -> bool {
    let verbs =
        ["is", "are", "was", "were", "do", "does", "did", "ca", "could", "wo", "would", "should", "has", "have"];
    word.strip_suffix("nt").is_some_and(|verb| verbs.contains(&verb))
}
