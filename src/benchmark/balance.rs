//! Evenness: no word, no rank of a number and no letter is right more often than one time in four.
//!
//! Of several drafts the one is taken that leaves the counts most even. A reader who weighs options by their words (a
//! conditional logit: concave, so its best weights are zero once every word is right a quarter of the time) then learns
//! nothing. Measured numbers count by their rank alone: no reader has met them, as long as no fact is asked about twice.

use super::draft::Draft;
use crate::rng::Rng;
use crate::text::questions::Letter;

/// Counters per task. Features share counters by chance, which does no harm.
const SLOTS: usize = 1 << 18;

/// Counts of one task.
#[derive(Debug)]
pub struct Balance {
    /// Three for each time a feature stood in the right option, minus one for each time in a wrong one.
    scores: Vec<i32>,
}

impl Default for Balance {
    fn default() -> Self {
        Balance { scores: vec![0; SLOTS] }
    }
}

impl Balance {
    /// How much less even the counts would be with `draft`: the increase of the sum of squares.
    pub fn cost(&self, draft: &Draft) -> i64 {
        let square = |x: i64| x * x;
        let increase = |&(slot, change): &(usize, i32)| {
            let score = i64::from(self.scores[slot]);
            square(score + i64::from(change)) - square(score)
        };
        changes(draft).iter().map(increase).sum()
    }

    /// Counts `draft`.
    pub fn add(&mut self, draft: &Draft) {
        for (slot, change) in changes(draft) {
            self.scores[slot] += change;
        }
    }
}

/// What a draft changes, each counter once.
fn changes(draft: &Draft) -> Vec<(usize, i32)> {
    let mut all = Vec::new();
    let ranks = ranks(draft);
    for (i, choice) in draft.choices.iter().enumerate() {
        let change = if i == 0 { 3 } else { -1 };
        for feature in features(&choice.text).into_iter().chain(ranks.map(|r| format!("rank {}", r[i]))) {
            all.push((slot(&[draft.kind, "", &feature]), change));
            if !draft.context.is_empty() {
                all.push((slot(&[draft.kind, &draft.context, &feature]), change));
            }
        }
    }
    all.sort_unstable();
    all.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 += later.1;
        }
        same
    });
    all
}

/// The counter of a feature: FNV-1a of its parts.
fn slot(parts: &[&str]) -> usize {
    let mut hash = 0xcbf29ce484222325u64;
    for byte in parts.iter().flat_map(|p| p.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3);
    }
    (hash ^ (hash >> 32)) as usize % SLOTS
}

/// Whether a word is a number with two decimals.
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
        // In its own context a word counts again.
        let asked = Draft { context: "left".into(), ..draft(["rain", "dog", "bell", "wind"]) };
        assert_eq!(changes(&asked).len(), 2 * changes(&rain).len());
        assert!(balance.scores.iter().all(|s| *s == 0));
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
