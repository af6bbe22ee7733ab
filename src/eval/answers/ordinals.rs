//! "The third option.", "option number two", "answer = b": an option by its place, or by a small letter behind a sign.
//!
//! Read only where nothing else names an option and nothing else is said, so that no sentence is taken for a choice.

use crate::text::questions::Letter;

/// Most words of such an answer.
const WORDS_MAX: usize = 12;
/// What may stand beside the place.
const FILLERS: [&str; 27] = [
    "the",
    "answer",
    "final",
    "is",
    "it",
    "it's",
    "its",
    "must",
    "be",
    "would",
    "i",
    "i'd",
    "say",
    "pick",
    "choose",
    "go",
    "with",
    "for",
    "my",
    "choice",
    "option",
    "number",
    "one",
    "so",
    "think",
    "that",
    "therefore",
];
/// What the place belongs to.
const PLACED: [&str; 4] = ["option", "choice", "one", "answer"];

/// The option that a short answer names by its place.
pub(super) fn by_place(text: &str) -> Option<Letter> {
    let lower = text.to_lowercase();
    let mut words = lower.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|word| !word.is_empty());
    let said: Vec<&str> = words.by_ref().take(WORDS_MAX).collect();
    if words.next().is_some() || lower.contains('?') {
        return None;
    }
    let place = |(at, word): (usize, &&str)| -> Option<Letter> {
        let before = at.checked_sub(1).map(|i| said[i]);
        let after = said.get(at + 1).copied();
        let ordinal = ["first", "second", "third", "fourth"].iter().position(|w| w == word);
        let ordinal = ordinal.or((*word == "last").then_some(3)).filter(|_| after.is_some_and(|w| PLACED.contains(&w)));
        let cardinal = ["one", "two", "three", "four"].iter().position(|w| w == word);
        let cardinal = cardinal.or(["1", "2", "3", "4"].iter().position(|w| w == word));
        let cardinal = cardinal.filter(|_| before.is_some_and(|w| ["option", "number"].contains(&w)));
        ordinal.or(cardinal).map(|index| Letter::ALL[index])
    };
    let found: Vec<Option<Letter>> = said.iter().enumerate().map(place).collect();
    let rest = said.iter().zip(&found).filter(|(_, letter)| letter.is_none()).map(|(word, _)| *word);
    let letters: Vec<Letter> = found.iter().flatten().copied().collect();
    let rest: Vec<&str> = rest.collect();
    match (letters[..].iter().next(), letters.len()) {
        (Some(letter), 1) if rest.iter().all(|word| FILLERS.contains(word)) => Some(*letter),
        (None, _) => small_letter(&lower, &said),
        _ => None,
    }
}

/// "answer = b", "final answer: c".
fn small_letter(lower: &str, said: &[&str]) -> Option<Letter> {
    let (before, letter) = lower.trim().trim_end_matches('.').rsplit_once(['=', ':'])?;
    let names_answer = ["answer", "option", "choice"].iter().any(|word| before.contains(word));
    let is_short = said.len() <= 4 && said[..said.len().checked_sub(1)?].iter().all(|word| FILLERS.contains(word));
    (names_answer && is_short).then(|| Letter::parse(letter))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_where_nothing_else_is_said() {
        for (text, letter) in [
            ("The third option.", Some(Letter::C)),
            ("The last one.", Some(Letter::D)),
            ("The answer is option number two.", Some(Letter::B)),
            ("Option 1", Some(Letter::A)),
            ("I'd go with the second choice", Some(Letter::B)),
            ("answer = b", Some(Letter::B)),
            ("Final answer: d.", Some(Letter::D)),
            ("The second one is wrong.", None),
            ("Not the first option.", None),
            ("The first or the second option.", None),
            ("The third option?", None),
            ("The first sound is a dog.", None),
            ("one", None),
            ("three sources", None),
            ("the answer: a dog", None),
            ("note: a", None),
            ("", None),
            ("=", None),
        ] {
            assert_eq!(by_place(text), letter, "{text}");
        }
    }
}
