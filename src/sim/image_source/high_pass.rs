//! Zero-phase high-pass of a response: an order-2 Butterworth filter run forward and backward over an odd
//! extension of 9 samples at both ends (scipy's `sosfiltfilt`, which pyroomacoustics applies at 10 Hz).

/// Samples of odd extension at each end.
const EXTENSION: usize = 9;

struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
}

impl Biquad {
    /// Butterworth high-pass of order 2 by the bilinear transform.
    fn high_pass(cutoff_hz: f64, sample_rate: u32) -> Biquad {
        let k = (std::f64::consts::PI * cutoff_hz / sample_rate as f64).tan();
        let root = std::f64::consts::SQRT_2 * k;
        let n = 1.0 / (1.0 + root + k * k);
        Biquad { b: [n, -2.0 * n, n], a: [2.0 * (k * k - 1.0) * n, (1.0 - root + k * k) * n] }
    }

    /// Filters `LANES` interleaved signals in place, in the order of `samples`, from the steady state of
    /// the first value (transposed direct form 2).
    #[inline(always)]
    fn run<'a, const LANES: usize>(&self, mut samples: impl Iterator<Item = &'a mut [f64; LANES]>) {
        let Some(first) = samples.next() else { return };
        let mut z = [[0.0; LANES]; 2];
        for l in 0..LANES {
            z[0][l] = -self.b[0] * first[l];
            z[1][l] = self.b[0] * first[l];
        }
        let mut step = |x: &mut [f64; LANES]| {
            for l in 0..LANES {
                let y = self.b[0] * x[l] + z[0][l];
                z[0][l] = self.b[1] * x[l] - self.a[0] * y + z[1][l];
                z[1][l] = self.b[2] * x[l] - self.a[1] * y;
                x[l] = y;
            }
        };
        step(first);
        samples.for_each(step);
    }
}

/// Filters each channel of `response` (channel-major) in place.
pub(crate) fn high_pass(response: &mut [f32], channels: usize, cutoff_hz: f64, sample_rate: u32) {
    let samples = response.len() / channels;
    if samples == 0 {
        return;
    }
    let filter = Biquad::high_pass(cutoff_hz, sample_rate);
    let edge = EXTENSION.min(samples - 1);
    for group in response.chunks_mut(4 * samples) {
        let mut signal = vec![[0.0f64; 4]; samples + 2 * edge];
        for (c, channel) in group.chunks(samples).enumerate() {
            let (first, last) = (channel[0] as f64, channel[samples - 1] as f64);
            for i in 0..edge {
                signal[i][c] = 2.0 * first - channel[edge - i] as f64;
                signal[edge + samples + i][c] = 2.0 * last - channel[samples - 2 - i] as f64;
            }
            for (to, x) in signal[edge..].iter_mut().zip(channel) {
                to[c] = *x as f64;
            }
        }
        filter.run(signal.iter_mut());
        filter.run(signal.iter_mut().rev());
        for (c, channel) in group.chunks_mut(samples).enumerate() {
            for (to, y) in channel.iter_mut().zip(&signal[edge..]) {
                *to = y[c] as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_vanishes_and_high_frequencies_pass() {
        let mut x: Vec<f32> = (0..40_000).map(|i| 3.0 + if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        high_pass(&mut x, 1, 10.0, 16_000);
        for (i, y) in x.iter().enumerate().skip(15_000).take(10_000) {
            let expected = if i % 2 == 0 { 1.0 } else { -1.0 };
            assert!((y - expected).abs() < 1e-3, "{i}: {y}");
        }
    }

    #[test]
    fn the_gain_is_the_squared_butterworth() {
        // 20 Hz through a 10 Hz high-pass, forward and backward: |H|^2 = 16/17 in the middle of a long signal.
        let rate = 4000;
        let tone = |i: usize| (2.0 * std::f64::consts::PI * 20.0 * i as f64 / rate as f64).sin();
        let mut x: Vec<f32> = (0..40_000).map(|i| tone(i) as f32).collect();
        high_pass(&mut x, 1, 10.0, rate);
        let gain = x[20_050] as f64 / tone(20_050);
        assert!((gain - 16.0 / 17.0).abs() < 1e-3, "{gain}");
    }
}
