//! What boosted trees see of an option: its letter and shape among the four, its numbers, the task, and frequent words.
//!
//! Every feature is a bin of at most 256: ranks and small counts as they are, quantities by steps, words as there or not.

use super::normal::normal_form;
use crate::text::questions::Question;
use std::collections::BTreeMap;

/// Most frequent words of options and of questions that become features of their own.
const WORDS: [usize; 2] = [96, 24];
/// Most words of a text that are looked at.
const WORDS_MAX: usize = 96;
/// Most tasks with a number of their own.
const TASKS_MAX: usize = 60;
/// Features of shape.
const SHAPE: usize = 36;
/// Most features.
pub(super) const FEATURES_MAX: usize = SHAPE + 2 + WORDS[0] + WORDS[1];

/// Words and tasks of the training questions.
pub(super) struct Vocabulary {
    /// Words of options, then of questions.
    words: [BTreeMap<String, usize>; 2],
    tasks: BTreeMap<String, u8>,
}

/// The bins of one question's options.
pub(super) struct Columns([Vec<u8>; 4]);

impl Columns {
    /// The bin of an option.
    pub fn bin(&self, feature: usize, option: usize) -> u8 {
        self.0[option][feature]
    }

    /// The bins of all four.
    pub fn bins(&self, feature: usize) -> [u8; 4] {
        std::array::from_fn(|option| self.bin(feature, option))
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = normal_form(text);
    words.truncate(WORDS_MAX);
    words
}

impl Vocabulary {
    /// The most frequent words (of equals the first in order) and tasks.
    pub fn of(questions: &[&Question]) -> Vocabulary {
        let mut counts: [BTreeMap<String, usize>; 2] = Default::default();
        let mut tasks: BTreeMap<String, usize> = BTreeMap::new();
        for question in questions {
            let mut of_options: Vec<String> = question.options().into_iter().flat_map(words).collect();
            let mut of_question = words(&question.question);
            for (counts, words) in counts.iter_mut().zip([&mut of_options, &mut of_question]) {
                words.sort_unstable();
                words.dedup();
                words.iter().for_each(|word| *counts.entry(word.clone()).or_default() += 1);
            }
            *tasks.entry(question.task.clone()).or_default() += 1;
        }
        let frequent = |counts: &BTreeMap<String, usize>, most: usize| {
            let mut order: Vec<(&String, &usize)> = counts.iter().collect();
            order.sort_by_key(|(word, n)| (std::cmp::Reverse(**n), (*word).clone()));
            order.into_iter().take(most).map(|(word, _)| word.clone()).collect::<Vec<String>>()
        };
        let numbered = |names: Vec<String>| names.into_iter().enumerate().map(|(i, name)| (name, i));
        Vocabulary {
            words: std::array::from_fn(|i| numbered(frequent(&counts[i], WORDS[i])).collect()),
            // Zero is a task that training did not see.
            tasks: numbered(frequent(&tasks, TASKS_MAX)).map(|(task, i)| (task, i as u8 + 1)).collect(),
        }
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        FEATURES_MAX
    }

    /// Takes a question apart; time is linear in its length.
    pub fn columns(&self, question: &Question) -> Columns {
        let (texts, asked) = (question.options(), words(&question.question));
        let options = texts.map(words);
        let shape = shape(&texts, &options, &asked);
        let has = |kind: usize, words: &[String]| {
            let mut found = vec![0; WORDS[kind]];
            words.iter().filter_map(|word| self.words[kind].get(word)).for_each(|i| found[*i] = 1);
            found
        };
        let of_question = has(1, &asked);
        let task = self.tasks.get(&question.task).copied().unwrap_or(0);
        Columns(std::array::from_fn(|i| {
            let mut bins = shape[i].to_vec();
            bins.extend([task, question.level]);
            bins.extend(has(0, &options[i]));
            bins.extend(&of_question);
            bins
        }))
    }
}

/// Where a value stands among the four: smaller ones times five, and equal ones.
fn rank(values: [f64; 4], i: usize) -> u8 {
    let smaller = values.iter().filter(|v| **v < values[i]).count();
    let equal = values.iter().filter(|v| **v == values[i]).count();
    (5 * smaller + equal) as u8
}

/// Steps of a quantity, saturating.
fn steps(value: f64, step: f64) -> u8 {
    (value / step + 128.0).clamp(0.0, 254.0) as u8
}

/// Difference of two azimuths in degrees, 0 to 180.
fn turn(a: f64, b: f64) -> f64 {
    let around = (a - b).rem_euclid(360.0);
    around.min(360.0 - around)
}

fn shape(texts: &[&str; 4], options: &[Vec<String>; 4], asked: &[String]) -> [[u8; SHAPE]; 4] {
    let all = |value: &dyn Fn(usize) -> f64| -> [f64; 4] { std::array::from_fn(value) };
    let chars = |i: usize, is: fn(char) -> bool| texts[i].chars().take(4096).filter(|c| is(*c)).count() as f64;
    let has = |j: usize, word: &String| options[j].contains(word);
    let others = |i: usize| (0..4).filter(move |j| *j != i);
    let shared = |i: usize, j: usize| {
        let both = options[i].iter().filter(|word| has(j, word)).count();
        both as f64 / (options[i].len() + options[j].len()).max(1) as f64
    };
    let of_question = |i: usize| options[i].iter().filter(|word| asked.contains(word)).count() as f64;
    let own = |i: usize| options[i].iter().filter(|word| others(i).all(|j| !has(j, word))).count() as f64;
    let mut quantities: Vec<[f64; 4]> = vec![
        all(&|i| chars(i, |_| true)),
        all(&|i| options[i].len() as f64),
        all(&|i| chars(i, |c| c.is_ascii_digit())),
        all(&|i| chars(i, |c| c.is_ascii_punctuation())),
        all(&|i| chars(i, char::is_uppercase)),
        all(&|i| others(i).map(|j| shared(i, j)).sum()),
        all(&|i| others(i).map(|j| shared(i, j)).fold(0.0, f64::max)),
        all(&of_question),
        all(&own),
    ];
    let numbers: [Vec<f64>; 4] = options.each_ref().map(|words| {
        words.iter().filter_map(|word| word.parse().ok()).filter(|v: &f64| v.is_finite()).take(2).collect()
    });
    for k in 0..2 {
        // An option without a number stands beside all that have one.
        let number = |i: usize| numbers[i].get(k).copied().unwrap_or(-1e9);
        quantities.push(all(&number));
        quantities.push(all(&|i| number(i).abs()));
        quantities.push(all(&|i| others(i).map(|j| (number(i) - number(j)).abs()).sum()));
        quantities.push(all(&|i| others(i).map(|j| turn(number(i), number(j))).sum()));
        quantities.push(all(&|i| others(i).map(|j| turn(number(i), number(j))).fold(360.0, f64::min)));
        quantities.push(all(&|i| others(i).filter(|j| number(i) == number(*j)).count() as f64));
    }
    std::array::from_fn(|i| {
        let mut bins: Vec<u8> = vec![i as u8];
        bins.extend(quantities.iter().map(|values| rank(*values, i)));
        bins.extend([steps(quantities[0][i], 4.0), steps(quantities[1][i], 1.0)]);
        for k in 0..2 {
            let number = numbers[i].get(k).copied();
            let is_round = |divisor: f64| number.map_or(2, |v| u8::from((v / divisor).fract().abs() < 1e-6));
            bins.extend([
                number.map_or(255, |v| steps(v, 0.25)),
                number.map_or(255, |v| steps(v - 180.0, 3.0)),
                is_round(0.5),
                is_round(5.0),
                is_round(45.0),
            ]);
        }
        bins.push(u8::from(texts[i].ends_with('.')));
        bins.push(u8::from(options[i].iter().any(|word| word == "not" || word == "no")));
        bins.try_into().expect("as many features of shape as SHAPE says")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_as_many_bins() {
        let question = |texts: [&str; 4]| Question {
            file_name: "a".into(),
            sample_id: "a".into(),
            question: "How far, 3 m?".into(),
            option_a: texts[0].into(),
            option_b: texts[1].into(),
            option_c: texts[2].into(),
            option_d: texts[3].into(),
            answer_letter: None,
            answer_text: None,
            level: 1,
            task: "t".into(),
        };
        let [plain, odd] = [["1.5 m", "2 m", "3 m", "4 m"], ["", "\u{1F600}", "1e400 nan inf -0", "180° 90° 45° 0°"]];
        let vocabulary = Vocabulary::of(&[&question(plain)]);
        for texts in [plain, odd] {
            let columns = vocabulary.columns(&question(texts));
            assert!((0..4).all(|option| columns.0[option].len() == FEATURES_MAX));
        }
        let columns = vocabulary.columns(&question(plain));
        // Smallest first number first; all alone.
        assert_eq!(columns.bins(10), [1, 6, 11, 16]);
    }
}
