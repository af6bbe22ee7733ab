//! A question before it is checked, balanced and lettered; and what distractors are drawn from.

use super::claims::{Claim, Verdict};
use super::facts::Facts;
use crate::rng::Rng;

/// One option: what it says and what that asserts.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The option's text.
    pub text: String,
    /// The assertion.
    pub claim: Claim,
}

impl Choice {
    /// An option.
    pub fn new(text: impl Into<String>, claim: Claim) -> Choice {
        Choice { text: text.into(), claim }
    }
}

/// A question with its four options, the right one first.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The kind of question within its task: what options are compared with when they are balanced.
    pub kind: &'static str,
    /// What the question's wording gives away about its options (a turn, a removed sound): balanced on its own as well.
    pub context: String,
    /// The question.
    pub question: String,
    /// The options, the right one first.
    pub choices: [Choice; 4],
    /// What is heard and what follows from it, for chains of thought: sentences.
    pub reasoning: String,
    /// The question without options and a whole-sentence answer, where that makes sense.
    pub open: Option<[String; 2]>,
}

impl Draft {
    /// Whether the first option is clearly true, the others clearly false, and no two read alike.
    pub fn holds(&self, facts: &Facts) -> bool {
        let verdicts = self.choices.each_ref().map(|c| c.claim.verdict(facts));
        let distinct = (0..4).all(|i| (0..i).all(|j| self.choices[i].text != self.choices[j].text));
        distinct && verdicts == [Verdict::True, Verdict::False, Verdict::False, Verdict::False]
    }
}

/// All combinations of two attributes, each right or wrong: `make(first is right, second is right)`, the right pair
/// first. Every value stands in two options, so that none is the odd one out.
pub fn grid(mut make: impl FnMut(bool, bool) -> Choice) -> [Choice; 4] {
    [make(true, true), make(true, false), make(false, true), make(false, false)]
}

/// What a set of scenes offers.
#[derive(Debug)]
pub struct Pool {
    /// The scenes that may be asked about.
    pub scenes: Vec<Facts>,
    /// Every label, sorted.
    pub labels: Vec<String>,
    /// Every transcript, sorted.
    pub transcripts: Vec<String>,
}

impl Pool {
    /// Scenes with the labels and transcripts that occur in them.
    pub fn new(scenes: Vec<Facts>) -> Pool {
        let sorted = |mut all: Vec<String>| {
            all.sort();
            all.dedup();
            all
        };
        let labels = sorted(scenes.iter().flat_map(|f| f.labels.clone()).collect());
        let said = |f: &Facts| f.rtsd.sources.iter().filter_map(|s| s.transcript.clone()).collect::<Vec<_>>();
        let transcripts = sorted(scenes.iter().flat_map(said).collect());
        Pool { scenes, labels, transcripts }
    }

    /// Any scene and any source in it: what true values are distributed like.
    pub fn any<'a>(&'a self, rng: &mut Rng) -> (&'a Facts, usize) {
        let facts = &self.scenes[rng.below(self.scenes.len())];
        (facts, rng.below(facts.count()))
    }

    /// `n` different labels of which none is in `without`; `None` when there are not as many.
    pub fn other_labels(&self, rng: &mut Rng, n: usize, without: &[String]) -> Option<Vec<String>> {
        let mut others: Vec<String> = self.labels.iter().filter(|l| !without.contains(l)).cloned().collect();
        rng.shuffle(&mut others);
        others.truncate(n);
        (others.len() == n).then_some(others)
    }
}

/// What a draft is made from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The scene.
    pub facts: &'a Facts,
    /// What distractors are drawn from.
    pub pool: &'a Pool,
    /// Azimuths in (-180, 180] instead of [0, 360).
    pub signed: bool,
}

impl Context<'_> {
    /// A source that can be named.
    pub fn named(&self, rng: &mut Rng) -> Option<usize> {
        let named = &self.facts.named;
        (!named.is_empty()).then(|| named[rng.below(named.len())])
    }

    /// Two different sources that can be named, in random order.
    pub fn named_pair(&self, rng: &mut Rng) -> Option<(usize, usize)> {
        let mut named = self.facts.named.clone();
        rng.shuffle(&mut named);
        (named.len() >= 2).then(|| (named[0], named[1]))
    }

    /// An azimuth as questions write it: two decimals, counter-clockwise.
    pub fn azimuth(&self, degrees: f64) -> String {
        let degrees = if self.signed && degrees > 180.0 { degrees - 360.0 } else { degrees };
        // 359.996 is written as 0, not as 360.
        let text = format!("{degrees:.2}");
        if text == "360.00" { "0.00°".into() } else { format!("{text}°") }
    }

    /// The label of source `i`.
    pub fn label(&self, i: usize) -> &str {
        &self.facts.labels[i]
    }
}

/// One of several texts.
pub fn one_of<'a>(rng: &mut Rng, texts: &[&'a str]) -> &'a str {
    texts[rng.below(texts.len())]
}

/// Whether every two values are apart as `apart` asks.
pub fn all_apart<T>(values: &[T], apart: impl Fn(&T, &T) -> bool) -> bool {
    (0..values.len()).all(|i| (0..i).all(|j| apart(&values[i], &values[j])))
}
