//! Which option a model chose: a letter, or the option's own text.

use super::candidates;
use super::decide::{Decision, decide};
use super::final_answer::final_answer;
use super::normal::normal_form;
use super::ordinals::by_place;
use super::tokens::Tokens;
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

/// How an option was found, or why none was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// A letter alone (`answer_letter`).
    Given,
    /// By a letter in what was said.
    Letter,
    /// By the text of an option in what was said.
    Text,
    /// Several options, or a letter beside another option's text.
    Contradictory,
    /// What was said names no option.
    Nothing,
    /// There is no answer.
    Missing,
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

/// Reads what was said to a question with these options (in the order of their letters).
///
/// Letters and the options' texts are found by the rules of `candidates`, and what the text decides for by those of
/// `decide`. An answer that is an option's text in normal form is that option. A letter that is followed by the text of
/// another option, and by nothing else, contradicts itself. Time is linear in what was said.
pub fn read_option(said: &Said, options: [&str; 4], rule: Match) -> Reading {
    read_found(said, options, rule).0
}

/// [`read_option`], and how.
pub fn read_found(said: &Said, options: [&str; 4], rule: Match) -> (Reading, Found) {
    let contradictory = (Reading::Contradictory, Found::Contradictory);
    let nothing = (Reading::Nothing, Found::Nothing);
    let text = match (said, rule) {
        (Said::Letter(_), Match::Text) => return nothing,
        (Said::Letter(letter), _) => return (Reading::Chosen(*letter), Found::Given),
        (Said::Text(text), _) => final_answer(text),
    };
    let options = options.map(normal_form);
    let tokens = Tokens::of(&text);
    let texts = candidates::texts(&tokens, &options);
    let letters = if rule == Match::Text { Vec::new() } else { candidates::letters(&tokens, &texts) };
    let mut found = if rule == Match::Letter { letters } else { [texts, letters].concat() };
    found.sort_by_key(|candidate| (candidate.first, candidate.is_text));
    let longest = options.iter().map(Vec::len).max().unwrap_or(0);
    let decision = decide(&tokens, &found, longest + OTHER_WORDS_MAX);
    let whole = if rule == Match::Letter { Reading::Nothing } else { equal_to(&normal_form(&text), &options) };
    match decision {
        Decision::One { letter, end, by_letter } => {
            let behind = equal_to(&normal_form(&text[end..]), &options);
            let agrees = |reading| match reading {
                Reading::Chosen(other) => other == letter || options[other.index()] == options[letter.index()],
                _ => true,
            };
            let is_sure = rule == Match::Letter || agrees(whole) && (!by_letter || agrees(behind));
            let how = if by_letter { Found::Letter } else { Found::Text };
            if is_sure { (Reading::Chosen(letter), how) } else { contradictory }
        }
        // An option that is a letter itself ("C" as the first one) contradicts the letter.
        _ if whole != Reading::Nothing && !found.iter().any(|candidate| !candidate.is_text) => match whole {
            Reading::Contradictory => contradictory,
            _ => (whole, Found::Text),
        },
        Decision::Several => contradictory,
        Decision::Nothing if found.is_empty() && rule != Match::Text => {
            by_place(&text).map_or(nothing, |letter| (Reading::Chosen(letter), Found::Letter))
        }
        Decision::Nothing => nothing,
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
