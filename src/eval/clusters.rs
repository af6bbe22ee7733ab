//! Questions about one scene are not independent: intervals of shares and of differences that know which belong together.
//!
//! A share's interval is Wilson's at the effective number of questions n / d, where d is the design effect: the variance of
//! the share over scenes, `G/(G-1) sum_g r_g^2 / n^2` with `r_g` the sum of a scene's residuals (the sandwich for ratio
//! means, with G scenes), over that of independent questions in the same estimator, `n/(n-1) p(1-p)/n`. With one question
//! per scene d is 1 and the interval Wilson's own; of k copies of each question d is about k. d below 1 counts as 1, and
//! where nothing varies (all right or all wrong) a scene counts as one question. (Kish 1965; Korn and Graubard 1998 for
//! intervals at the effective size.)
//!
//! Two answerers are compared by randomisation: under the hypothesis that they are alike, which of the two said what is a
//! coin thrown per scene. With one question per scene that is McNemar's exact test.

use super::statistics::{McNemar, Share, Z95, wilson};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most steps of the exact distribution of the sum of differences; beyond it the normal tail is used.
const EXACT_STEPS_MAX: usize = 200_000_000;

/// How questions were put together for intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clustering {
    /// What names the scene: `scene` (of `strata.jsonl`) or `file_name`.
    pub by: String,
    /// Number of scenes.
    pub scenes: usize,
    /// Most questions about one.
    pub largest: usize,
}

impl Clustering {
    /// Whether some scene has several questions, so that intervals differ from those of independent questions.
    pub fn matters(&self) -> bool {
        self.largest > 1
    }
}

/// Right answers and questions, by scene.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<usize, (usize, usize)>);

impl Tally {
    /// One question about `scene` more.
    pub fn add(&mut self, scene: usize, is_right: bool) {
        let (correct, n) = self.0.entry(scene).or_default();
        *correct += usize::from(is_right);
        *n += 1;
    }

    /// Right answers and questions in all.
    pub fn total(&self) -> (usize, usize) {
        self.0.values().fold((0, 0), |(correct, n), (c, m)| (correct + c, n + m))
    }

    /// Number of scenes.
    pub fn scenes(&self) -> usize {
        self.0.len()
    }

    /// The design effect, at least 1; see the module. 1 for no question.
    pub fn design_effect(&self) -> f64 {
        let ((correct, n), scenes) = (self.total(), self.scenes());
        if n == scenes {
            return 1.0;
        }
        let (size, p) = (n as f64, correct as f64 / n as f64);
        if correct == 0 || correct == n || scenes == 1 {
            return size / scenes as f64;
        }
        let residual = |(correct, n): &(usize, usize)| (*correct as f64 - p * *n as f64).powi(2);
        let clustered = scenes as f64 / (scenes - 1) as f64 * self.0.values().map(residual).sum::<f64>();
        let independent = size / (size - 1.0) * p * (1.0 - p) * size;
        (clustered / independent).max(1.0)
    }

    /// The 95 % interval of the share; `None` without questions.
    pub fn interval(&self) -> Option<[f64; 2]> {
        let (correct, n) = self.total();
        wilson(correct as f64, n as f64, self.design_effect())
    }
}

impl Share {
    /// The share of a tally, its interval over scenes.
    pub fn of(tally: &Tally) -> Share {
        let (correct, n) = tally.total();
        let [low, high] = tally.interval().map_or([None; 2], |ends| ends.map(Some));
        Share { accuracy: low.map(|_| correct as f64 / n as f64), n, correct, low, high }
    }
}

/// Where two answerers differ within one scene.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Questions.
    pub n: usize,
    /// Questions that both, only the first, only the second and neither had right.
    pub counts: [usize; 4],
}

impl Pair {
    /// One question more.
    pub fn add(&mut self, first: bool, second: bool) {
        self.n += 1;
        self.counts[2 * usize::from(!first) + usize::from(!second)] += 1;
    }

    fn difference(&self) -> i64 {
        self.counts[1] as i64 - self.counts[2] as i64
    }
}

/// McNemar's test where scenes have several questions; with one each it is [`McNemar::new`]. Panics without a question.
///
/// The interval of the difference is widened by the square root of its design effect, the statistic is Durkalski's
/// (2003) `(sum d_g)^2 / sum d_g^2` without a correction, p the probability by randomisation over scenes.
#[track_caller]
pub fn compare_clustered(scenes: &[Pair]) -> McNemar {
    let total = |i: usize| scenes.iter().map(|pair| pair.counts[i]).sum::<usize>();
    let test = McNemar::new(total(0), total(1), total(2), total(3));
    if scenes.iter().all(|pair| pair.n <= 1) {
        return test;
    }
    let questions = scenes.iter().map(|pair| pair.n).sum::<usize>() as f64;
    let scored = scenes.iter().filter(|pair| pair.n > 0).count() as f64;
    let (b, c) = (test.only_first as f64, test.only_second as f64);
    let spread = |pair: &Pair| (pair.difference() as f64 - test.difference * pair.n as f64).powi(2);
    let independent = questions / (questions - 1.0) * (b + c - (b - c) * (b - c) / questions);
    let clustered = scored / (scored - 1.0) * scenes.iter().map(spread).sum::<f64>();
    let effect = match independent > 0.0 && scored > 1.0 {
        true => (clustered / independent).max(1.0),
        // Nothing varies, or all in one scene: it counts as one question.
        false => questions / scored,
    };
    let half = (Z95 * effect.sqrt() * (b + c - (b - c) * (b - c) / questions).max(0.0).sqrt() / questions).min(2.0);
    let differences: Vec<i64> = scenes.iter().map(Pair::difference).filter(|d| *d != 0).collect();
    let (sum, squares) = differences.iter().fold((0, 0), |(sum, squares), d| (sum + d, squares + d * d));
    McNemar {
        low: (test.difference - half).max(-1.0),
        high: (test.difference + half).min(1.0),
        statistic: if squares > 0 { (sum * sum) as f64 / squares as f64 } else { 0.0 },
        p: coins(&differences),
        scenes: Some(scored as usize),
        ..test
    }
}

/// Probability that the sum of the differences, each with the sign of a coin, is at least as far from 0 as it is.
fn coins(differences: &[i64]) -> f64 {
    let reach: usize = differences.iter().map(|d| d.unsigned_abs() as usize).sum();
    let sum = differences.iter().sum::<i64>().unsigned_abs() as usize;
    if sum == 0 {
        return 1.0;
    }
    if reach.saturating_mul(differences.len()) > EXACT_STEPS_MAX {
        let squares: f64 = differences.iter().map(|d| (d * d) as f64).sum();
        return normal_two_sided(sum as f64 / squares.sqrt());
    }
    // heads[k]: probability that the differences that fall on their heads add up to k; the sum is then 2k - reach.
    let (mut heads, mut top) = (vec![0.0; reach + 1], 0);
    heads[0] = 1.0;
    for d in differences.iter().map(|d| d.unsigned_abs() as usize) {
        top += d;
        for k in (0..=top).rev() {
            let without = if k + d <= top { heads[k] } else { 0.0 };
            heads[k] = 0.5 * (without + if k >= d { heads[k - d] } else { 0.0 });
        }
    }
    let tail: f64 = (0..=reach).filter(|k| (2 * k).abs_diff(reach) >= sum).map(|k| heads[k]).sum();
    tail.min(1.0)
}

/// Probability that a standard normal variable is at least `z` from 0 (Abramowitz and Stegun 7.1.26, error below 2e-7).
fn normal_two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let factors = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    factors.iter().fold(0.0, |sum, a| (sum + a) * t) * (-x * x).exp()
}

/// Holm's correction (1979): p-values of `m` tests such that the chance of any false finding stays at the level. In the
/// order of `p`; each at most 1 and at least every smaller one's.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]).then(a.cmp(&b)));
    let (mut corrected, mut least) = (vec![1.0; p.len()], 0.0f64);
    for (rank, &i) in order.iter().enumerate() {
        least = least.max((p.len() - rank) as f64 * p[i]).min(1.0);
        corrected[i] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(a: f64, b: f64, within: f64) {
        assert!((a - b).abs() <= within, "{a} is not {b}");
    }

    fn tally(scenes: &[(usize, usize)]) -> Tally {
        Tally(scenes.iter().copied().enumerate().collect())
    }

    #[test]
    fn one_question_per_scene_is_wilsons_interval() {
        for (right, n) in [(0, 5), (5, 5), (3, 10), (81, 263)] {
            let mut all = Tally::default();
            (0..n).for_each(|scene| all.add(scene, scene < right));
            assert_eq!((all.design_effect(), all.interval()), (1.0, wilson(right as f64, n as f64, 1.0)));
            assert_eq!(Share::of(&all), Share::new(right, n));
        }
        assert_eq!(Tally::default().interval(), None);
    }

    #[test]
    fn copies_of_questions_do_not_narrow_the_interval() {
        for (right, n) in [(12, 40), (1, 9), (0, 8), (8, 8), (50, 100)] {
            let width = |ends: [f64; 2]| ends[1] - ends[0];
            let once = width(wilson(right as f64, n as f64, 1.0).unwrap());
            for copies in [2, 3, 10] {
                let scenes: Vec<_> = (0..n).map(|i| (if i < right { copies } else { 0 }, copies)).collect();
                let all = tally(&scenes);
                // Closed form: (G k - 1) / (G - 1); k where nothing varies.
                let expected = match right {
                    0 => copies as f64,
                    right if right == n => copies as f64,
                    _ => (n * copies - 1) as f64 / (n - 1) as f64,
                };
                close(all.design_effect(), expected, 1e-12);
                assert!(width(all.interval().unwrap()) >= once - 1e-15);
                // And hardly widen it: one question of n is lost at most.
                let fewer = wilson(right as f64 * (n - 1) as f64 / n as f64, (n - 1) as f64, 1.0).unwrap();
                assert!(width(all.interval().unwrap()) <= width(fewer) + 1e-12);
            }
        }
    }

    #[test]
    fn the_design_effect_agrees_with_the_analysis_of_variance() {
        // Four scenes of two questions, 2 1 1 0 right: residuals 1 0 0 -1, variance 4/3 * 2; independent 8/7 * 8/4.
        close(tally(&[(2, 2), (1, 2), (1, 2), (0, 2)]).design_effect(), (8.0 / 3.0) / (16.0 / 7.0), 1e-12);
        // Scenes that balance themselves do not make an interval narrower than independent questions.
        assert_eq!(tally(&[(1, 2), (1, 2), (1, 2)]).design_effect(), 1.0);
        assert_eq!(tally(&[(3, 7)]).design_effect(), 7.0);
    }

    fn pairs(scenes: &[&[(bool, bool)]]) -> Vec<Pair> {
        let pair = |answers: &&[(bool, bool)]| {
            let mut pair = Pair::default();
            answers.iter().for_each(|(first, second)| pair.add(*first, *second));
            pair
        };
        scenes.iter().map(pair).collect()
    }

    #[test]
    fn one_question_per_scene_is_mcnemars_test() {
        let answers = [(true, false); 9].into_iter().chain([(false, true); 2]).chain([(true, true); 4]);
        let scenes: Vec<Pair> = answers.map(|answer| pairs(&[&[answer]])[0]).collect();
        assert_eq!(compare_clustered(&scenes), McNemar::new(4, 9, 2, 0));
        // The exact test by coins is the binomial one: 2 (1 + 11 + 55) / 2^11.
        let mut differences = vec![1; 9];
        differences.extend([-1, -1]);
        close(coins(&differences), 134.0 / 2048.0, 1e-15);
        close(coins(&[]), 1.0, 0.0);
    }

    #[test]
    fn copies_of_questions_make_no_difference_significant() {
        let scenes: Vec<Pair> = (0..12)
            .map(|scene| match scene {
                0..7 => pairs(&[&[(true, false); 5]])[0],
                7 | 8 => pairs(&[&[(false, true); 5]])[0],
                _ => pairs(&[&[(true, true); 5]])[0],
            })
            .collect();
        let (copied, once) = (compare_clustered(&scenes), McNemar::new(3, 7, 2, 0));
        close(copied.p, once.p, 1e-15);
        close(copied.difference, once.difference, 1e-15);
        assert!(copied.high - copied.low >= once.high - once.low);
        assert_eq!(copied.scenes, Some(12));
        // By hand: sums of 2 and 1 with coins reach 3 in one of four cases, both ways in two.
        close(coins(&[2, 1]), 0.5, 1e-15);
        close(coins(&[2, -1]), 1.0, 1e-15);
        close(coins(&[3, 2, 1]), 0.25, 1e-15);
    }

    #[test]
    fn many_scenes_take_the_normal_tail() {
        // Half of 30,000 scenes differ by 2, the others by 1; at 1.96 deviations p is 0.05.
        let differences: Vec<i64> = (0..30_000).map(|i| if i % 2 == 0 { 2 } else { 1 }).collect();
        let squares: i64 = differences.iter().map(|d| d * d).sum();
        let mut signed = differences.clone();
        let mut sum: i64 = signed.iter().sum();
        for d in &mut signed {
            if sum as f64 > Z95 * (squares as f64).sqrt() {
                sum -= 2 * *d;
                *d = -*d;
            }
        }
        close(coins(&signed), 0.05, 2e-3);
        close(normal_two_sided(Z95), 0.05, 5e-7);
        close(normal_two_sided(0.0), 1.0, 1e-7);
    }

    #[test]
    fn holm_agrees_with_the_textbook() {
        // Holm's own scheme by hand: 4 * 0.005, 3 * 0.01, 2 * 0.03, 0.04 lifted to the one before.
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (a, b) in found.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(*a, b, 1e-15);
        }
        // The example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm").
        for (a, b) in holm(&[0.01, 0.02, 0.03, 0.04, 0.05]).iter().zip([0.05, 0.08, 0.09, 0.09, 0.09]) {
            close(*a, b, 1e-15);
        }
        assert_eq!(holm(&[0.6, 0.9]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
