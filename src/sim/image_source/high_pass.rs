//! Zero-phase high-pass of a response: an order-2 Butterworth filter run forward and backward over an odd
//! extension of 9 samples at both ends (scipy's `sosfiltfilt`, which pyroomacoustics applies at 10 Hz).

use crate::sim::image_source::simd::{Simd, multiversion};
use std::cell::RefCell;

/// Samples of odd extension at each end.
const EXTENSION: usize = 9;
/// Samples filtered at a time.
const LANES: usize = 8;
/// Values in front of a row: the two inputs before its first sample.
const BEFORE: usize = 2;

/// The filter, eight samples at a time: with the second differences v of the input, the outputs are
/// y = particular v + last y[-1] + before_last y[-2]. Only the last two terms wait for the previous block.
struct Blocks {
    /// At `[j][k]` what v[j] adds to y[k].
    particular: [[f64; LANES]; LANES],
    last: [f64; LANES],
    before_last: [f64; LANES],
}

impl Blocks {
    /// Butterworth high-pass of order 2 by the bilinear transform: b = n (1, -2, 1), a = (1, a1, a2).
    fn high_pass(cutoff_hz: f64, sample_rate: u32) -> Blocks {
        let k = (std::f64::consts::PI * cutoff_hz / sample_rate as f64).tan();
        let root = std::f64::consts::SQRT_2 * k;
        let n = 1.0 / (1.0 + root + k * k);
        let (a1, a2) = (2.0 * (k * k - 1.0) * n, (1.0 - root + k * k) * n);
        // What the recursion makes of its last two outputs, and of an impulse.
        let run = |mut y: [f64; 2], first: f64| -> [f64; LANES] {
            std::array::from_fn(|k| {
                let next = if k == 0 { first } else { 0.0 } - a1 * y[0] - a2 * y[1];
                y = [next, y[0]];
                next
            })
        };
        let impulse = run([0.0, 0.0], n);
        let particular = std::array::from_fn(|j| std::array::from_fn(|k| if k < j { 0.0 } else { impulse[k - j] }));
        Blocks { particular, last: run([1.0, 0.0], 0.0), before_last: run([0.0, 1.0], 0.0) }
    }
}

thread_local! {
    static BUFFERS: RefCell<[Vec<f64>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Filters each channel of `response` (channel-major, 1 or 4 channels) in place.
pub(crate) fn high_pass(simd: Simd, response: &mut [f32], channels: usize, cutoff_hz: f64, sample_rate: u32) {
    let samples = response.len() / channels;
    if samples == 0 {
        return;
    }
    let filter = Blocks::high_pass(cutoff_hz, sample_rate);
    let edge = EXTENSION.min(samples - 1);
    let length = samples + 2 * edge;
    let stride = BEFORE + length.next_multiple_of(LANES);
    BUFFERS.with_borrow_mut(|[forward, backward]| {
        for buffer in [&mut *forward, &mut *backward] {
            buffer.clear();
            buffer.resize(channels * stride, 0.0);
        }
        for (row, channel) in forward.chunks_mut(stride).zip(response.chunks(samples)) {
            extend(&mut row[BEFORE..], channel, edge);
        }
        pass(simd, &filter, forward, backward, channels, length);
        pass(simd, &filter, backward, forward, channels, length);
        for (row, channel) in forward.chunks(stride).zip(response.chunks_mut(samples)) {
            for (to, y) in channel.iter_mut().zip(&row[BEFORE + edge..]) {
                *to = *y as f32;
            }
        }
    });
}

/// A channel with its odd extension at both ends.
fn extend(row: &mut [f64], channel: &[f32], edge: usize) {
    let samples = channel.len();
    let (first, last) = (channel[0] as f64, channel[samples - 1] as f64);
    for i in 0..edge {
        row[i] = 2.0 * first - channel[edge - i] as f64;
        row[edge + samples + i] = 2.0 * last - channel[samples - 2 - i] as f64;
    }
    for (to, x) in row[edge..].iter_mut().zip(channel) {
        *to = *x as f64;
    }
}

/// Filters the rows of `from` and writes them to `to` in reverse, ready for the way back.
fn pass(simd: Simd, filter: &Blocks, from: &mut [f64], to: &mut [f64], channels: usize, length: usize) {
    let stride = from.len() / channels;
    for row in from.chunks_mut(stride) {
        // The state in which a constant has passed for ever: its differences and the output are zero.
        row[..BEFORE].fill(row[BEFORE]);
    }
    if channels == 4 {
        pass_foa(simd, filter, from, to, length);
    } else {
        pass_omni(simd, filter, from, to, length);
    }
}

multiversion! {
    fn pass_foa(filter: &Blocks, from: &[f64], to: &mut [f64], length: usize) = pass_body::<4>
}
multiversion! {
    fn pass_omni(filter: &Blocks, from: &[f64], to: &mut [f64], length: usize) = pass_body::<1>
}

#[inline(always)]
fn pass_body<const CHANNELS: usize>(filter: &Blocks, from: &[f64], to: &mut [f64], length: usize) {
    let stride = from.len() / CHANNELS;
    // The last two outputs per channel.
    let mut state = [[0.0f64; 2]; CHANNELS];
    for start in (0..length).step_by(LANES) {
        for c in 0..CHANNELS {
            let x = &from[c * stride + start..][..LANES + BEFORE];
            let mut y = [0.0f64; LANES];
            for j in 0..LANES {
                let v = x[j + 2] - 2.0 * x[j + 1] + x[j];
                for k in 0..LANES {
                    y[k] += filter.particular[j][k] * v;
                }
            }
            let [last, before_last] = state[c];
            for k in 0..LANES {
                y[k] += filter.before_last[k] * before_last;
                y[k] += filter.last[k] * last;
            }
            state[c] = [y[LANES - 1], y[LANES - 2]];
            let row = &mut to[c * stride + BEFORE..];
            if start + LANES <= length {
                y.reverse();
                row[length - start - LANES..][..LANES].copy_from_slice(&y);
            } else {
                for (k, y) in y[..length - start].iter().enumerate() {
                    row[length - 1 - start - k] = *y;
                }
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
        high_pass(Simd::best(), &mut x, 1, 10.0, 16_000);
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
        high_pass(Simd::best(), &mut x, 1, 10.0, rate);
        let gain = x[20_050] as f64 / tone(20_050);
        assert!((gain - 16.0 / 17.0).abs() < 1e-3, "{gain}");
    }
}
