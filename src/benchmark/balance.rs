//! Evenness: no word, no rank of a number and no letter is right more often than one time in four.
//!
//! Of several drafts the one is taken that leaves the counts most even. A reader who weighs options by their words (a
//! conditional logit: concave, so its best weights are zero once every word is right a quarter of the time) then learns
//! nothing.

use super::draft::Draft;
use crate::rng::Rng;
use crate::text::questions::Letter;
use std::collections::BTreeMap;

/// Counts of one task.
#[derive(Debug, Default)]
pub struct Balance {
    /// Three for each time a feature stood in the right option, minus one for each time in a wrong one.
    scores: BTreeMap<String, i64>,
}

impl Balance {
    /// How much less even the counts would be with `draft`: the increase of the sum of squares.
    pub fn cost(&self, draft: &Draft) -> i64 {
        let square = |x: i64| x * x;
        changes(draft)
            .iter()
            .map(|(feature, change)| {
                let score = self.scores.get(feature).copied().unwrap_or(0);
                square(score + change) - square(score)
            })
            .sum()
    }

    /// Counts `draft`.
    pub fn add(&mut self, draft: &Draft) {
        for (feature, change) in changes(draft) {
            *self.scores.entry(feature).or_default() += change;
        }
    }
}

fn changes(draft: &Draft) -> BTreeMap<String, i64> {
    let mut changes = BTreeMap::new();
    let ranks = ranks(draft);
    for (i, choice) in draft.choices.iter().enumerate() {
        for feature in features(&choice.text).into_iter().chain(ranks.map(|r| format!("rank {}", r[i]))) {
            let change = if i == 0 { 3 } else { -1 };
            *changes.entry(format!("{}|{feature}", draft.kind)).or_default() += change;
            if !draft.context.is_empty() {
                *changes.entry(format!("{}|{}|{feature}", draft.kind, draft.context)).or_default() += change;
            }
        }
    }
    changes
}

/// A number with two decimals is a measurement: no two questions share it.
fn is_measured(word: &str) -> bool {
    word.rsplit_once('.').is_some_and(|(whole, decimals)| {
        decimals.len() == 2 && whole.chars().chain(decimals.chars()).all(|c| c.is_ascii_digit() || c == '-')
    })
}

/// Words and neighbouring pairs of words of an option, each once.
fn features(text: &str) -> Vec<String> {
    let trimmed = |w: &str| w.trim_matches(|c: char| !c.is_alphanumeric() && c != '-').to_lowercase();
    let words: Vec<String> =
        text.split_whitespace().map(trimmed).filter(|w| !w.is_empty() && !is_measured(w)).collect();
    let mut features: Vec<String> = words.windows(2).map(|pair| pair.join(" ")).chain(words.iter().cloned()).collect();
    features.sort();
    features.dedup();
    features
}

/// Ranks of the options by their only measured number, when each has exactly one.
fn ranks(draft: &Draft) -> Option<[usize; 4]> {
    let mut numbers = [0.0; 4];
    for (number, choice) in numbers.iter_mut().zip(&draft.choices) {
        let trimmed = choice.text.split_whitespace().map(|w| w.trim_matches(|c: char| !c.is_ascii_digit() && c != '-'));
        let measured: Vec<f64> = trimmed.filter(|w| is_measured(w)).filter_map(|w| w.parse().ok()).collect();
        let [only] = measured[..] else { return None };
        *number = only;
    }
    Some(numbers.map(|x| numbers.iter().filter(|y| **y < x).count()))
}

/// Letters for the right options: every four questions use each letter once.
#[derive(Debug, Default)]
pub struct LetterDeck {
    left: Vec<Letter>,
}

impl LetterDeck {
    /// The next letter.
    pub fn next(&mut self, rng: &mut Rng) -> Letter {
        if self.left.is_empty() {
            self.left = Letter::ALL.to_vec();
            rng.shuffle(&mut self.left);
        }
        self.left.pop().expect("a full deck")
    }
}

#[cfg(test)]
mod tests {
    use super::super::claims::Claim;
    use super::super::draft::Choice;
    use super::*;

    fn draft(texts: [&str; 4]) -> Draft {
        let choice = |t: &str| Choice::new(t, Claim::Present { label: t.into() });
        Draft {
            kind: "k",
            context: String::new(),
            question: "?".into(),
            choices: texts.map(choice),
            reasoning: String::new(),
            open: None,
        }
    }

    #[test]
    fn the_draft_that_evens_things_out_costs_least() {
        let mut balance = Balance::default();
        let (rain, dog) = (draft(["rain", "dog", "bell", "wind"]), draft(["dog", "rain", "bell", "wind"]));
        assert_eq!(balance.cost(&rain), 9 + 1 + 1 + 1);
        balance.add(&rain);
        assert!(balance.cost(&dog) < balance.cost(&rain));
        balance.add(&dog);
        balance.add(&draft(["bell", "rain", "dog", "wind"]));
        balance.add(&draft(["wind", "rain", "dog", "bell"]));
        assert!(balance.scores.values().all(|s| *s == 0), "{balance:?}");
    }

    #[test]
    fn measurements_count_by_rank_and_words_by_themselves() {
        assert_eq!(
            features("the rain, from the front-left, 2.13 m"),
            [
                "from",
                "from the",
                "front-left",
                "front-left m",
                "m",
                "rain",
                "rain from",
                "the",
                "the front-left",
                "the rain"
            ]
        );
        assert_eq!(ranks(&draft(["2.13 m", "-0.50 m", "10.00 m", "4.00 m"])), Some([1, 0, 3, 2]));
        assert_eq!(ranks(&draft(["2.13 m and 1.00 m", "0.50 m", "10.00 m", "4.00 m"])), None);
        assert_eq!(ranks(&draft(["front", "left", "back", "right"])), None);
        let (mut deck, mut rng) = (LetterDeck::default(), Rng::new(1, "letters", 0));
        let letters: Vec<Letter> = (0..40).map(|_| deck.next(&mut rng)).collect();
        assert!(Letter::ALL.iter().all(|l| letters.iter().filter(|x| *x == l).count() == 10));
    }
}
