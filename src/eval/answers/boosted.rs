//! Boosted trees that answer without listening: the second adversary of generated benchmarks, for leaks that need two or three
//! conditions at once.
//!
//! Each option gets the sum of the leaves that its features fall into; the four sums become probabilities by softmax, and each
//! tree (depth [`DEPTH`], Newton steps) follows the log-likelihood of the right options. How many trees there are is decided by
//! cross-validation over scenes: those after which held-out questions are most probable, which is none where nothing leaks.
//!
//! Deterministic: folds come from the seed and the recording's name, questions are sorted by id, sums run in order, and threads
//! only build histograms of different features beside each other.

use super::boosted_features::{Columns, FEATURES_MAX, Vocabulary};
use super::features::{hash_of, mix};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::text::questions::{Letter, Question};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Splits on the way to a leaf.
const DEPTH: usize = 3;
/// Most trees.
const TREES_MAX: usize = 60;
/// A part of the cross-validation ends when this many trees have not made it better.
const PATIENCE: usize = 8;
/// Part of each Newton step that is taken.
const RATE: f64 = 0.2;
/// Added to the curvature of a leaf: few options decide little.
const RIDGE: f64 = 5.0;
/// Least curvature on each side of a split: about this many questions' worth.
const CURVATURE_MIN: f64 = 4.0;
/// Parts of the cross-validation.
const FOLDS: u64 = 4;
/// Fewest questions of each fold for a choice to mean something.
const FOLD_MIN: usize = 10;
/// Most questions that trees are grown on.
const QUESTIONS_MAX: usize = 12_000;
/// The mean by which held-out questions become more probable must be this many of its standard errors for trees to be
/// believed: the number of trees is chosen by it, so that two would come up in noise.
const DEVIATIONS_MIN: f64 = 3.0;

/// One split or leaf of a tree; node `i` leads to `2i + 1` and `2i + 2`.
#[derive(Clone, Copy, Debug)]
enum Node {
    /// Bins up to `bin` of `feature` go left.
    Split {
        feature: usize,
        bin: u8,
    },
    Leaf(f64),
    Absent,
}

type Tree = [Node; (1 << (DEPTH + 1)) - 1];

/// Trained trees.
pub struct Boosted {
    vocabulary: Vocabulary,
    trees: Vec<Tree>,
    held_out: Option<(f64, usize)>,
}

/// Options as rows of bins, four per question.
struct Rows {
    /// Bins by feature, then by option.
    bins: Vec<Vec<u8>>,
    /// Features that differ between options.
    live: Vec<usize>,
    /// Index of the right option of each question.
    truth: Vec<usize>,
}

impl Rows {
    fn of(questions: &[&Question], vocabulary: &Vocabulary) -> Rows {
        let columns: Vec<Columns> = questions.par_iter().map(|q| vocabulary.columns(q)).collect();
        let bins: Vec<Vec<u8>> =
            (0..vocabulary.features()).map(|f| columns.iter().flat_map(|c| c.bins(f)).collect()).collect();
        let truth = |q: &&Question| q.answer_letter.expect("training questions have answers").index();
        let live = (0..bins.len()).filter(|f| bins[*f].iter().any(|bin| *bin != bins[*f][0])).collect();
        Rows { bins, live, truth: questions.iter().map(truth).collect() }
    }
}

impl Boosted {
    /// Trains on questions with answers; `seed` decides the folds.
    ///
    /// # Errors
    /// `Data` when there is no question with an answer.
    pub fn train(questions: &[Question], seed: u64) -> Result<Boosted> {
        let mut sorted: Vec<&Question> = questions.iter().filter(|q| q.answer_letter.is_some()).collect();
        if sorted.is_empty() {
            return Err(Error::data("no training question has an answer_letter"));
        }
        sorted.sort_by(|a, b| a.sample_id.cmp(&b.sample_id));
        Rng::new(seed, "boosted trees", 0).shuffle(&mut sorted);
        sorted.truncate(QUESTIONS_MAX);
        let vocabulary = Vocabulary::of(&sorted);
        let mut folds: Vec<Vec<&Question>> = vec![Vec::new(); FOLDS as usize];
        sorted.iter().for_each(|q| folds[fold(q, seed)].push(q));
        let (mut count, mut held_out) = (0, None);
        if folds.iter().all(|fold| fold.len() >= FOLD_MIN) {
            let (deviations, accuracy, trees) = cross_validated(&folds, &vocabulary);
            count = if deviations >= DEVIATIONS_MIN { trees } else { 0 };
            held_out = Some((accuracy, count));
        }
        let rows = Rows::of(&sorted, &vocabulary);
        let mut sums = vec![0.0; 4 * sorted.len()];
        let trees = (0..count).map(|_| grow(&rows, &mut sums)).collect();
        Ok(Boosted { vocabulary, trees, held_out })
    }

    /// Answers to questions that have theirs: those of each part of the scenes by trees that have not seen it. In the order of
    /// `questions`.
    ///
    /// # Errors
    /// As [`Boosted::train`].
    pub fn answers_across(questions: &[Question], seed: u64) -> Result<Vec<Letter>> {
        let of = |q: &Question| fold(q, mix(seed, 1));
        let mut letters = vec![Letter::A; questions.len()];
        for part in 0..FOLDS as usize {
            let rest: Vec<Question> = questions.iter().filter(|q| of(q) != part).cloned().collect();
            if rest.len() < questions.len() {
                let model = Boosted::train(&rest, seed).map_err(|e| {
                    e.hint("trees learn from other scenes of the set: give one with several, or --train")
                })?;
                let own = questions.iter().zip(&mut letters).filter(|(q, _)| of(q) == part);
                own.for_each(|(question, letter)| *letter = model.choose(question));
            }
        }
        Ok(letters)
    }

    /// The most probable option; of equals one by the id.
    pub fn choose(&self, question: &Question) -> Letter {
        let columns = self.vocabulary.columns(question);
        let sum = |option: usize| -> f64 {
            self.trees.iter().map(|tree| leaf(tree, |feature| columns.bin(feature, option))).sum()
        };
        let sums: [f64; 4] = std::array::from_fn(sum);
        let best = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let equal: Vec<Letter> = Letter::ALL.into_iter().filter(|l| sums[l.index()] >= best - 1e-12).collect();
        equal[(hash_of(&question.sample_id) % equal.len() as u64) as usize]
    }

    /// What cross-validation decided, in words.
    pub fn describe(&self) -> String {
        match self.held_out {
            None => "too few scenes to hold some out: no trees".into(),
            Some((accuracy, trees)) => {
                format!(
                    "{trees} trees of depth {DEPTH}; {:.1} % of held-out questions right with them",
                    100.0 * accuracy
                )
            }
        }
    }
}

/// The part of the cross-validation that a question's recording is in.
fn fold(question: &Question, seed: u64) -> usize {
    (mix(hash_of(&question.file_name), seed) % FOLDS) as usize
}

/// By how many standard errors held-out questions become more probable at best, the share right then, and after how many trees.
fn cross_validated(folds: &[Vec<&Question>], vocabulary: &Vocabulary) -> (f64, f64, usize) {
    let all: usize = folds.iter().map(Vec::len).sum();
    let of_fold = |held: usize| -> Vec<Judged> {
        let rest: Vec<&Question> =
            folds.iter().enumerate().filter(|(i, _)| *i != held).flat_map(|(_, fold)| fold.clone()).collect();
        let (rows, others) = (Rows::of(&rest, vocabulary), Rows::of(&folds[held], vocabulary));
        let (mut sums, mut held_sums) = (vec![0.0; 4 * rest.len()], vec![0.0; 4 * folds[held].len()]);
        let mut scores = vec![judge(&others, &held_sums)];
        let mut best = 0;
        for count in 1..=TREES_MAX {
            let tree = grow(&rows, &mut sums);
            add(&tree, &others, &mut held_sums);
            scores.push(judge(&others, &held_sums));
            if scores[count].gain > scores[best].gain {
                best = count;
            } else if count >= best + PATIENCE {
                break;
            }
        }
        // What an ended part would have had with more trees is not known: what it has.
        scores.resize(TREES_MAX + 1, *scores.last().expect("there is the count 0"));
        scores
    };
    let scores: Vec<Vec<Judged>> = (0..folds.len()).into_par_iter().map(of_fold).collect();
    let at = |trees: usize| {
        scores.iter().map(|fold| fold[trees]).fold(Judged::default(), |a, b| Judged {
            gain: a.gain + b.gain,
            squares: a.squares + b.squares,
            right: a.right + b.right,
        })
    };
    let best = (0..=TREES_MAX).map(|trees| (trees, at(trees)));
    let (trees, judged) =
        best.reduce(|best, next| if next.1.gain > best.1.gain { next } else { best }).expect("there is the count 0");
    let (n, mean) = (all as f64, judged.gain / all as f64);
    let error = ((judged.squares / n - mean * mean).max(0.0) / n).sqrt();
    let deviations = if error > 0.0 { mean / error } else { 0.0 };
    (deviations, judged.right as f64 / n, trees)
}

/// How held-out questions are answered.
#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    /// Sum over questions of how much more probable than by chance the right option is, in nats.
    gain: f64,
    /// Sum of its squares.
    squares: f64,
    /// Questions whose right option is the most probable one.
    right: usize,
}

fn judge(rows: &Rows, sums: &[f64]) -> Judged {
    let mut all = Judged::default();
    for (&truth, sums) in rows.truth.iter().zip(sums.chunks_exact(4)) {
        let top = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let gain = sums[truth] - top - sums.iter().map(|s| (s - top).exp()).sum::<f64>().ln() + 4f64.ln();
        all.gain += gain;
        all.squares += gain * gain;
        all.right += usize::from(sums[truth] >= top && sums.iter().filter(|s| **s >= top).count() == 1);
    }
    all
}

fn leaf(tree: &Tree, bin: impl Fn(usize) -> u8) -> f64 {
    let mut at = 0;
    loop {
        match tree[at] {
            Node::Split { feature, bin: up_to } => at = 2 * at + 1 + usize::from(bin(feature) > up_to),
            Node::Leaf(value) => return value,
            Node::Absent => return 0.0,
        }
    }
}

fn add(tree: &Tree, rows: &Rows, sums: &mut [f64]) {
    sums.iter_mut().enumerate().for_each(|(row, sum)| *sum += leaf(tree, |feature| rows.bins[feature][row]));
}

/// The next tree, added to `sums`.
fn grow(rows: &Rows, sums: &mut [f64]) -> Tree {
    let slopes: Vec<[f64; 2]> = rows.truth.iter().zip(sums.chunks_exact(4)).flat_map(|(t, s)| slopes(*t, s)).collect();
    let mut tree = [Node::Absent; (1 << (DEPTH + 1)) - 1];
    let mut members: BTreeMap<usize, Vec<u32>> = BTreeMap::from([(0, (0..slopes.len() as u32).collect())]);
    while let Some((at, rows_here)) = members.pop_first() {
        let total = sum_of(rows_here.iter().map(|row| slopes[*row as usize]));
        let split = if at < (1 << DEPTH) - 1 { best_split(rows, &rows_here, &slopes, total) } else { None };
        let Some((feature, bin)) = split else {
            tree[at] = Node::Leaf(-RATE * total[0] / (total[1] + RIDGE));
            continue;
        };
        tree[at] = Node::Split { feature, bin };
        let (left, right) = rows_here.into_iter().partition(|row| rows.bins[feature][*row as usize] <= bin);
        members.extend([(2 * at + 1, left), (2 * at + 2, right)]);
    }
    add(&tree, rows, sums);
    tree
}

/// First and second derivative of the negative log-likelihood by the sum of each option.
fn slopes(truth: usize, sums: &[f64]) -> [[f64; 2]; 4] {
    let top = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = sums.iter().map(|sum| (sum - top).exp()).sum();
    std::array::from_fn(|i| {
        let p = (sums[i] - top).exp() / total;
        [p - f64::from(u8::from(i == truth)), p * (1.0 - p)]
    })
}

fn sum_of(slopes: impl Iterator<Item = [f64; 2]>) -> [f64; 2] {
    slopes.fold([0.0; 2], |[g, h], [a, b]| [g + a, h + b])
}

/// The split that lowers the loss most; the first of equals. `None` where none does.
fn best_split(rows: &Rows, members: &[u32], slopes: &[[f64; 2]], total: [f64; 2]) -> Option<(usize, u8)> {
    let worth = |[g, h]: [f64; 2]| g * g / (h + RIDGE);
    let of_feature = |feature: &usize| {
        let bins = &rows.bins[*feature];
        let mut histogram = [[0.0; 2]; 256];
        for row in members {
            let (cell, slope) = (&mut histogram[bins[*row as usize] as usize], slopes[*row as usize]);
            cell[0] += slope[0];
            cell[1] += slope[1];
        }
        let (mut left, mut best) = ([0.0; 2], None);
        for (bin, cell) in histogram.iter().enumerate().take(255) {
            left = [left[0] + cell[0], left[1] + cell[1]];
            let right = [total[0] - left[0], total[1] - left[1]];
            if cell[1] > 0.0 && left[1] >= CURVATURE_MIN && right[1] >= CURVATURE_MIN {
                let gain = worth(left) + worth(right) - worth(total);
                if best.is_none_or(|(most, _)| gain > most) {
                    best = Some((gain, bin as u8));
                }
            }
        }
        best
    };
    assert!(rows.bins.len() <= FEATURES_MAX, "bins of each feature");
    let found: Vec<Option<(f64, u8)>> = rows.live.par_iter().map(of_feature).collect();
    let gains = found
        .into_iter()
        .enumerate()
        .filter_map(|(feature, best)| best.map(|(gain, bin)| (gain, rows.live[feature], bin)));
    let best = gains.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (best.0 > 1e-9).then_some((best.1, best.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(index: usize, options: [String; 4], truth: usize) -> Question {
        let [a, b, c, d] = options;
        Question {
            file_name: format!("audio/{}.wav", index / 3),
            sample_id: format!("q{index:05}"),
            question: if index.is_multiple_of(2) { "How far is it?" } else { "How near is it?" }.into(),
            option_a: a,
            option_b: b,
            option_c: c,
            option_d: d,
            answer_letter: Some(Letter::ALL[truth]),
            answer_text: None,
            level: 1,
            task: if index.is_multiple_of(2) { "l1_far" } else { "l1_near" }.into(),
        }
    }

    /// Four distances; the right one by `right(index, values in order, rng)`.
    fn set(n: usize, from: usize, right: impl Fn(usize, &mut Rng) -> usize) -> Vec<Question> {
        let one = |index: usize| {
            let mut rng = Rng::new(6, "boosted", index as u64);
            let mut values: Vec<f64> = (0..4).map(|k| 1.0 + k as f64 + rng.range(0.1, 0.9)).collect();
            let wanted = values[right(index, &mut rng)];
            rng.shuffle(&mut values);
            let truth = values.iter().position(|v| *v == wanted).unwrap();
            question(index, std::array::from_fn(|i| format!("{:.2} m", values[i])), truth)
        };
        (from..from + n).map(one).collect()
    }

    fn accuracy(model: &Boosted, questions: &[Question]) -> f64 {
        let right = questions.iter().filter(|q| Some(model.choose(q)) == q.answer_letter).count();
        right as f64 / questions.len() as f64
    }

    #[test]
    fn a_leak_of_two_conditions_is_found() {
        // The smallest for one task, the second largest for the other: no single condition tells.
        let rule = |index: usize, _: &mut Rng| if index.is_multiple_of(2) { 0 } else { 2 };
        let model = Boosted::train(&set(480, 0, rule), 1).unwrap();
        let found = accuracy(&model, &set(400, 9_000, rule));
        assert!(found > 0.95, "{found}: {}", model.describe());
        let own = set(480, 0, rule);
        let across = Boosted::answers_across(&own, 1).unwrap();
        let right = own.iter().zip(across).filter(|(q, letter)| q.answer_letter == Some(*letter)).count();
        assert!(right > 432, "{right}");
    }

    #[test]
    fn nothing_is_found_in_noise() {
        for seed in 0..3 {
            let noise = |_: usize, rng: &mut Rng| rng.below(4);
            let model = Boosted::train(&set(480, 20_000 * seed, noise), 1).unwrap();
            let found = accuracy(&model, &set(1200, 500_000 + 20_000 * seed, noise));
            // Four standard deviations.
            assert!((found - 0.25).abs() < 0.05, "{found}: {}", model.describe());
            assert!(model.trees.is_empty(), "{}", model.describe());
        }
    }

    #[test]
    fn neither_the_order_of_rows_nor_threads_matter_and_few_questions_are_left_alone() {
        let questions = set(240, 0, |index, _| index % 3);
        let mut turned = questions.clone();
        turned.reverse();
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let one = Boosted::train(&questions, 5).unwrap();
        let other = one_thread.install(|| Boosted::train(&turned, 5).unwrap());
        let bits = |model: &Boosted| format!("{:?}", model.trees);
        assert_eq!(bits(&one), bits(&other));
        assert!(Boosted::train(&questions[..5], 1).unwrap().describe().contains("too few"));
        assert!(Boosted::train(&[], 1).is_err());
    }

    #[test]
    fn slopes_are_those_of_the_likelihood() {
        let sums = [0.3, -0.2, 1.1, 0.0];
        let loss = |sums: &[f64]| sums.iter().map(|s| s.exp()).sum::<f64>().ln() - sums[2];
        let found = slopes(2, &sums);
        for i in 0..4 {
            let at = |by: f64| {
                let mut moved = sums;
                moved[i] += by;
                loss(&moved)
            };
            assert!((found[i][0] - (at(1e-5) - at(-1e-5)) / 2e-5).abs() < 1e-9);
            assert!((found[i][1] - (at(1e-4) - 2.0 * at(0.0) + at(-1e-4)) / 1e-8).abs() < 1e-5);
        }
    }
}
