//! Jackknife intervals over files, as the official code computes them (after Turpault).

/// The 95 % interval of `value` from the values `without` each one of the files: the bias-corrected estimate, plus or
/// minus Student's t times the standard error. NaN below two files, or when a value is NaN. It is not clipped to the
/// range of the metric.
pub(super) fn interval(value: f64, without: &[f64]) -> [f64; 2] {
    let n = without.len() as f64;
    if without.len() < 2 {
        return [f64::NAN; 2];
    }
    let mean = without.iter().sum::<f64>() / n;
    let squares: f64 = without.iter().map(|v| (v - mean) * (v - mean)).sum();
    let error = ((n - 1.0) * (squares / n)).sqrt();
    let estimate = value - (n - 1.0) * (mean - value);
    let half = student_t_95(without.len() - 1) * error;
    [estimate - half, estimate + half]
}

/// The two-sided 95 % quantile of Student's t distribution with `freedom` degrees of freedom, at least 1.
pub(super) fn student_t_95(freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    // With t = sqrt(freedom) tan(angle); a hundred halvings exhaust the precision of the angle.
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        *if within(middle, freedom) < 0.95 { &mut low } else { &mut high } = middle;
    }
    (freedom as f64).sqrt() * low.tan()
}

/// Probability of |t| below sqrt(freedom) tan(angle): the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4.
fn within(angle: f64, freedom: usize) -> f64 {
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // Even: sin (1 + 1/2 cos^2 + 1·3/(2·4) cos^4 ..); odd: 2/pi (angle + sin (cos + 2/3 cos^3 + 2·4/(3·5) cos^5 ..)).
    let mut term = if odd { cos } else { 1.0 };
    let mut sum = if freedom == 1 { 0.0 } else { term };
    let mut k = if odd { 2 } else { 1 };
    while k + 2 < freedom + 1 && term > 1e-18 * sum {
        term *= cos * cos * k as f64 / (k + 1) as f64;
        sum += term;
        k += 2;
    }
    if odd { std::f64::consts::FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Abramowitz and Stegun, table 26.10, and closed forms: tan(0.475 pi), and 2 p / sqrt(1 - p^2) / sqrt 2.
        let table = [(3, 3.182), (4, 2.776), (5, 2.571), (7, 2.365), (10, 2.228), (30, 2.042), (120, 1.980)];
        for (freedom, t) in table {
            assert!((student_t_95(freedom) - t).abs() < 6e-4, "{freedom}: {}", student_t_95(freedom));
        }
        assert!((student_t_95(1) - (0.475 * std::f64::consts::PI).tan()).abs() < 1e-9);
        assert!((student_t_95(2) - 0.95 * (2.0f64 / (1.0 - 0.95 * 0.95)).sqrt()).abs() < 1e-9);
        assert!((student_t_95(1_000_000) - 1.959_966_4).abs() < 1e-6);
        assert!((1..200).all(|n| student_t_95(n) > student_t_95(n + 1)));
    }

    #[test]
    fn the_jackknife_of_a_mean_is_its_classical_interval() {
        let x: [f64; 6] = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0];
        let (n, total) = (x.len() as f64, x.iter().sum::<f64>());
        let without: Vec<f64> = x.iter().map(|v| (total - v) / (n - 1.0)).collect();
        let [low, high] = interval(total / n, &without);
        let variance = x.iter().map(|v| (v - total / n).powi(2)).sum::<f64>() / (n - 1.0);
        let half = student_t_95(5) * (variance / n).sqrt();
        assert!((low - (total / n - half)).abs() < 1e-12 && (high - (total / n + half)).abs() < 1e-12);
        assert!(interval(1.0, &[1.0])[0].is_nan() && interval(1.0, &[1.0, f64::NAN])[1].is_nan());
    }
}
