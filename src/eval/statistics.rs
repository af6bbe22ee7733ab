//! Intervals and tests for shares (Wilson's interval, McNemar's test), and numbers as tables show them.

use serde::{Deserialize, Serialize};

/// Two-sided 95 % quantile of the normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval of `right` out of `n` questions worth `n / design_effect` independent ones; `None` for `n` = 0.
///
/// Centre (p + z²/2n) / (1 + z²/n), half width z sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n) (Wilson 1927).
pub fn wilson(right: f64, n: f64, design_effect: f64) -> Option<[f64; 2]> {
    if n <= 0.0 {
        return None;
    }
    let (p, n, z2) = (right / n, n / design_effect, Z95 * Z95);
    let (centre, half) = (p + z2 / (2.0 * n), Z95 * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt());
    Some([((centre - half) / (1.0 + z2 / n)).max(0.0), ((centre + half) / (1.0 + z2 / n)).min(1.0)])
}

/// A share with its interval; all three are `None` (JSON null) when nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Right out of all, in [0, 1].
    pub accuracy: Option<f64>,
    /// How many were counted.
    pub n: usize,
    /// How many of them were right.
    pub correct: usize,
    /// Lower end of the 95 % interval: Wilson's, or Wilson's over scenes (`clusters`) where some have several questions.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Share {
    /// `correct` of `n`. Panics when it is more.
    #[track_caller]
    pub fn new(correct: usize, n: usize) -> Share {
        assert!(correct <= n, "{correct} right of {n}");
        let [low, high] = wilson(correct as f64, n as f64, 1.0).map_or([None; 2], |ends| ends.map(Some));
        Share { accuracy: low.map(|_| correct as f64 / n as f64), n, correct, low, high }
    }
}

/// McNemar's test: two answerers on the same questions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Questions that both answered right.
    pub both: usize,
    /// That only the first one answered right.
    pub only_first: usize,
    /// That only the second one answered right.
    pub only_second: usize,
    /// That neither answered right.
    pub neither: usize,
    /// Accuracy of the first minus that of the second.
    pub difference: f64,
    /// Lower end of the 95 % interval of the difference (normal approximation for pairs).
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// (|b - c| - 1)² / (b + c) with b, c the discordant counts (Edwards 1948): chi-squared with one degree of
    /// freedom, 3.84 at 5 %; 0 when nothing is discordant.
    pub statistic: f64,
    /// Exact two-sided binomial probability of a split at least as uneven, for any number of discordant pairs.
    pub p: f64,
    /// Number of scenes where some have several questions: then interval, statistic and p are over scenes (`clusters`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenes: Option<usize>,
}

impl McNemar {
    /// From the four counts, in the order of the fields. Panics when all are 0.
    #[track_caller]
    pub fn new(both: usize, only_first: usize, only_second: usize, neither: usize) -> McNemar {
        let n = (both + only_first + only_second + neither) as f64;
        assert!(n > 0.0, "McNemar's test of no question");
        let (b, c) = (only_first as f64, only_second as f64);
        let difference = (b - c) / n;
        let half = Z95 * ((b + c - (b - c) * (b - c) / n).max(0.0)).sqrt() / n;
        let excess = ((b - c).abs() - 1.0).max(0.0);
        McNemar {
            both,
            only_first,
            only_second,
            neither,
            difference,
            low: difference - half,
            high: difference + half,
            statistic: if b + c > 0.0 { excess * excess / (b + c) } else { 0.0 },
            p: binomial_two_sided(only_first.min(only_second), only_first + only_second),
            scenes: None,
        }
    }
}

/// Twice the probability of at most `k` heads in `n` throws of a fair coin, at most 1.
///
/// The largest term is computed in logarithms, those below it as its multiples, so that nothing underflows.
fn binomial_two_sided(k: usize, n: usize) -> f64 {
    let ln_choose: f64 = (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum();
    let (mut term, mut sum) = (1.0, 0.0);
    for i in (0..=k).rev() {
        sum += term;
        if term < sum * 1e-18 {
            break;
        }
        term *= i as f64 / (n - i + 1) as f64;
    }
    (2.0 * sum * (ln_choose - n as f64 * std::f64::consts::LN_2).exp()).min(1.0)
}

/// What of a `twnm-eval dcase` result is shown; a metric that nothing was said about is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct DcaseScore {
    /// F-score of matches within 20 degrees, in [0, 1].
    #[serde(default)]
    pub f20: Option<f64>,
    /// Direction error in degrees.
    #[serde(default)]
    pub doa_error_deg: Option<f64>,
    /// Distance error relative to the distance.
    #[serde(default)]
    pub relative_distance_error: Option<f64>,
}

/// A share in per cent with one decimal.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1}", 100.0 * share))
}

/// A share in per cent with its interval.
pub fn share(share: &Share) -> String {
    match (share.low, share.high) {
        (Some(low), Some(high)) => {
            format!("{} [{:.1}, {:.1}]", percent(share.accuracy), 100.0 * low, 100.0 * high)
        }
        _ => percent(share.accuracy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(a: f64, b: f64, within: f64) {
        assert!((a - b).abs() <= within, "{a} is not {b}");
    }

    #[test]
    fn wilson_agrees_with_closed_forms_and_published_intervals() {
        let z2 = Z95 * Z95;
        for n in [1usize, 7, 1000] {
            // With p = 0 the interval is [0, z²/(n + z²)], with p = 1 its mirror image.
            let edge = z2 / (n as f64 + z2);
            let ([low, high], [mirror_low, mirror_high]) =
                (wilson(0.0, n as f64, 1.0).unwrap(), wilson(n as f64, n as f64, 1.0).unwrap());
            close(low, 0.0, 1e-15);
            close(high, edge, 1e-14);
            close(mirror_low, 1.0 - edge, 1e-14);
            close(mirror_high, 1.0, 1e-15);
            // With p = 1/2 the half width is z / (2 sqrt(n + z²)).
            let [low, high] = wilson(n as f64, 2.0 * n as f64, 1.0).unwrap();
            close(high - low, Z95 / (2.0 * n as f64 + z2).sqrt(), 1e-14);
            close(high + low, 1.0, 1e-14);
        }
        // Newcombe 1998 (Statistics in Medicine 17, Table I): method 3, rounded to four places.
        for (right, n, low, high) in [
            (81.0, 263.0, 0.2553, 0.3662),
            (15.0, 148.0, 0.0624, 0.1605),
            (0.0, 20.0, 0.0, 0.1611),
            (1.0, 29.0, 0.0061, 0.1718),
        ] {
            let found = wilson(right, n, 1.0).unwrap();
            close(found[0], low, 5e-5);
            close(found[1], high, 5e-5);
        }
        assert!(wilson(0.0, 0.0, 1.0).is_none());
        assert_eq!(Share::new(0, 0), Share::default());
    }

    #[test]
    fn mcnemar_agrees_with_binomial_tables() {
        // Two-sided sign test by hand: 2 (C(n,0) + .. + C(n,k)) / 2^n.
        let cases =
            [(0, 5, 2.0 / 32.0), (1, 9, 22.0 / 1024.0), (2, 8, 112.0 / 1024.0), (3, 3, 1.0), (0, 0, 1.0), (4, 5, 1.0)];
        for (b, c, p) in cases {
            close(McNemar::new(10, b, c, 3).p, p, 1e-14);
            close(McNemar::new(10, c, b, 3).p, p, 1e-14);
        }
        // Agresti's approval ratings: 794, 150, 86, 570; uncorrected chi-squared 17.36, difference 0.04 (0.021, 0.059).
        let test = McNemar::new(794, 150, 86, 570);
        close(test.difference, 0.04, 1e-12);
        close(test.low, 0.0213, 5e-5);
        close(test.high, 0.0587, 5e-5);
        close(test.statistic, 63.0 * 63.0 / 236.0, 1e-12);
        // Summed in rational numbers: 2 (C(236,0) + .. + C(236,86)) / 2^236.
        close(test.p, 3.715_936_139_571_442e-5, 1e-16);
        // Large counts neither underflow nor take forever; here the corrected normal tail is exact to five places.
        let large = McNemar::new(0, 1_000_000, 1_002_000, 0);
        close(large.p, 0.157_71, 5e-5);
        assert!(McNemar::new(0, 0, 3000, 0).p < 1e-300);
    }
}
