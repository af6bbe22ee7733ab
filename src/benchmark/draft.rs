//! A question before it is checked, balanced and lettered; and what distractors are drawn from.

use super::claims::Claim;
use super::facts::Facts;
use super::knowledge::Sense;
use super::names::is_plural;
use super::verdict::Verdict;
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

/// Sounds of other scenes that are tried as wrong options before all labels are.
const LABELS_HEARD: usize = 12;

/// What a set of scenes offers.
#[derive(Debug)]
pub struct Pool {
    /// The scenes that may be asked about.
    pub scenes: Vec<Facts>,
    /// Every label, sorted.
    pub labels: Vec<String>,
    /// What people know about each label.
    pub senses: Vec<Sense>,
    /// Every transcript that is fit for an option, sorted.
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
        let named =
            |f: &Facts| (0..f.count()).filter(|&i| f.has_name(i)).map(|i| f.labels[i].clone()).collect::<Vec<_>>();
        let labels = sorted(scenes.iter().flat_map(named).collect());
        let said = |f: &Facts| (0..f.count()).filter_map(|i| f.transcript(i)).map(str::to_string).collect::<Vec<_>>();
        let transcripts = sorted(scenes.iter().flat_map(said).collect());
        let senses = labels.iter().map(|l| Sense::new(l)).collect();
        Pool { scenes, labels, senses, transcripts }
    }

    /// Any scene and any source in it: what true values are distributed like.
    pub fn any<'a>(&'a self, rng: &mut Rng) -> (&'a Facts, usize) {
        let facts = &self.scenes[rng.below(self.scenes.len())];
        (facts, rng.below(facts.count()))
    }

    /// `n` labels that are alike neither each other nor any of `without`; `None` when there are not as many. Not each
    /// other either: of two alike options a reader would know that none is right. Labels come as often as their sounds do,
    /// so that a frequent one is not known to be right.
    pub fn other_labels(&self, rng: &mut Rng, n: usize, without: &[Sense]) -> Option<Vec<String>> {
        let mut heard = || {
            let (facts, i) = self.any(rng);
            self.labels.binary_search(&facts.labels[i]).ok()
        };
        let mut order: Vec<usize> = (0..LABELS_HEARD).filter_map(|_| heard()).collect();
        let mut rest: Vec<usize> = (0..self.labels.len()).collect();
        rng.shuffle(&mut rest);
        order.extend(rest);
        let mut chosen: Vec<usize> = Vec::new();
        for i in order {
            let taken = without.iter().chain(chosen.iter().map(|&c| &self.senses[c]));
            if chosen.len() < n && !taken.into_iter().any(|s| s.is_alike(&self.senses[i])) {
                chosen.push(i);
            }
        }
        (chosen.len() == n).then(|| chosen.into_iter().map(|i| self.labels[i].clone()).collect())
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

    /// An azimuth that true values have: of any source of any scene.
    pub fn any_azimuth(&self, rng: &mut Rng) -> f64 {
        let (facts, i) = self.pool.any(rng);
        facts.azimuth_deg(i, self.facts.yaw_deg)
    }

    /// An azimuth as questions write it: two decimals, counter-clockwise.
    pub fn azimuth(&self, degrees: f64) -> String {
        let degrees = if self.signed && degrees > 180.0 { degrees - 360.0 } else { degrees };
        match format!("{degrees:.2}").as_str() {
            // 359.996 is written as 0, not as 360; -179.999 is 180.
            "360.00" | "-0.00" => "0.00°".into(),
            "-180.00" => "180.00°".into(),
            text => format!("{text}°"),
        }
    }

    /// An azimuth as a listener might say it, in whole degrees.
    pub fn rounded(&self, degrees: f64) -> String {
        let text = self.azimuth(super::facts::around(degrees.round()));
        text.replace(".00°", "°")
    }

    /// An elevation as questions write it.
    pub fn elevation(&self, degrees: f64) -> String {
        let text = format!("{degrees:.2}°");
        if text == "-0.00°" { "0.00°".into() } else { text }
    }

    /// A source that has a name, which others of the scene may have as well.
    pub fn with_name(&self, rng: &mut Rng) -> usize {
        let all: Vec<usize> = (0..self.facts.count()).filter(|&i| self.facts.has_name(i)).collect();
        all[rng.below(all.len())]
    }

    /// The label of source `i`.
    pub fn label(&self, i: usize) -> &str {
        &self.facts.labels[i]
    }
}

/// The word of a pair that agrees with a label: "is" for "barking dog", "are" for "sea waves".
pub fn agree<'a>(label: &str, singular: &'a str, plural: &'a str) -> &'a str {
    if is_plural(label) { plural } else { singular }
}

/// One of several texts.
pub fn one_of<'a>(rng: &mut Rng, texts: &[&'a str]) -> &'a str {
    texts[rng.below(texts.len())]
}

/// Whether every two values are apart as `apart` asks.
pub fn all_apart<T>(values: &[T], apart: impl Fn(&T, &T) -> bool) -> bool {
    (0..values.len()).all(|i| (0..i).all(|j| apart(&values[i], &values[j])))
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{facts, source};
    use super::*;

    #[test]
    fn distractors_are_unlike_the_scene_and_each_other() {
        let scene = |classes: &[&str]| {
            facts(classes.iter().enumerate().map(|(i, c)| source(c, 90.0 * i as f64, 0.0, 2.0)).collect())
        };
        let pool =
            Pool::new(vec![scene(&["dog_bark", "animal_misc", "rain"]), scene(&["water_drops", "bell", "siren"])]);
        for seed in 0..50 {
            let mut rng = Rng::new(seed, "labels", 0);
            let others = pool.other_labels(&mut rng, 3, &[Sense::new("siren")]).unwrap();
            assert!(others.contains(&"bell".to_string()), "{others:?}");
            assert!(pool.other_labels(&mut rng, 4, &[Sense::new("siren")]).is_none(), "drops are rain, dogs animals");
        }
    }

    #[test]
    fn angles_and_verbs_as_questions_write_them() {
        let facts = facts(vec![source("rain", 0.0, 0.0, 2.0)]);
        let pool = Pool::new(vec![facts.clone()]);
        let write = |signed, degrees| Context { facts: &facts, pool: &pool, signed }.azimuth(degrees);
        assert_eq!([write(false, 359.999), write(true, 359.999), write(true, 270.0)], ["0.00°", "0.00°", "-90.00°"]);
        assert_eq!([write(true, 180.001), write(true, 180.0)], ["180.00°", "180.00°"]);
        let context = Context { facts: &facts, pool: &pool, signed: false };
        assert_eq!([context.elevation(-0.001), context.elevation(-1.5)], ["0.00°", "-1.50°"]);
        let verb = |label| agree(label, "is", "are");
        assert_eq!(["sea waves", "glass", "barking dog"].map(verb), ["are", "is", "is"]);
    }
}
