//! Zero-phase high-pass of responses and recordings: an order-2 Butterworth filter run forward and backward over an odd
//! extension of 9 samples at both ends (scipy's `sosfiltfilt`, which pyroomacoustics applies at 10 Hz).

use crate::device::simd::{Isa, multiversion};
use std::cell::RefCell;

/// Samples of odd extension at each end.
const EXTENSION: usize = 9;
/// Values in front of a row: the two inputs before its first sample.
const BEFORE: usize = 2;
/// Samples filtered at a time.
const LANES: usize = 8;
/// The filter, eight samples at a time: with the second differences v of the input, the outputs are
/// y = particular v + last y[-1] + before_last y[-2]. Only the last two terms wait for the previous block. On the
/// way back everything is the same with time reversed, so the data need not be.
struct Blocks {
    /// At `[j][k]` what v[j] adds to y[k].
    particular: [[f64; LANES]; LANES],
    last: [f64; LANES],
    before_last: [f64; LANES],
}

/// Butterworth high-pass of order 2 by the bilinear transform: b = n (1, -2, 1), a = (1, a1, a2), as [n, a1, a2].
pub(crate) fn coefficients(cutoff_hz: f64, sample_rate: u32) -> [f64; 3] {
    let k = (std::f64::consts::PI * cutoff_hz / sample_rate as f64).tan();
    let root = std::f64::consts::SQRT_2 * k;
    let n = 1.0 / (1.0 + root + k * k);
    [n, 2.0 * (k * k - 1.0) * n, (1.0 - root + k * k) * n]
}

impl Blocks {
    fn high_pass(cutoff_hz: f64, sample_rate: u32) -> Blocks {
        let [n, a1, a2] = coefficients(cutoff_hz, sample_rate);
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

impl Blocks {
    /// The same filter for time running backward.
    fn reversed(&self) -> Blocks {
        let mut other = Blocks { particular: self.particular, last: self.last, before_last: self.before_last };
        other.particular.reverse();
        other.particular.iter_mut().for_each(|row| row.reverse());
        other.last.reverse();
        other.before_last.reverse();
        other
    }
}

thread_local! {
    static BUFFERS: RefCell<[Vec<f64>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Filters each channel of `signal` (channel-major, 1 or 4 channels) in place.
pub(crate) fn high_pass(isa: Isa, signal: &mut [f32], channels: usize, cutoff_hz: f64, sample_rate: u32) {
    let samples = signal.len() / channels;
    if samples == 0 {
        return;
    }
    let filter = Blocks::high_pass(cutoff_hz, sample_rate);
    let edge = EXTENSION.min(samples - 1);
    let length = samples + 2 * edge;
    // Two values before the signal, and constants behind it up to whole blocks and two more.
    let stride = length.next_multiple_of(LANES) + LANES;
    BUFFERS.with_borrow_mut(|[padded, differences]| {
        padded.clear();
        padded.resize(channels * stride, 0.0);
        differences.resize(channels * stride, 0.0);
        for (row, channel) in padded.chunks_mut(stride).zip(signal.chunks(samples)) {
            extend(isa, &mut row[BEFORE..], channel, edge);
            // The state in which a constant has passed for ever: its differences and the output are zero.
            row[..BEFORE].fill(2.0 * channel[0] as f64 - channel[edge] as f64);
        }
        difference(isa, padded, differences);
        run(isa, &filter, differences, padded, channels, false);
        for row in padded.chunks_mut(stride) {
            let last = row[BEFORE + length - 1];
            row[BEFORE + length..].fill(last);
        }
        difference(isa, padded, differences);
        run(isa, &filter.reversed(), differences, padded, channels, true);
        for (row, channel) in padded.chunks(stride).zip(signal.chunks_mut(samples)) {
            narrow(isa, &row[BEFORE + edge..], channel);
        }
    });
}

/// A channel with its odd extension at both ends.
fn extend(isa: Isa, row: &mut [f64], channel: &[f32], edge: usize) {
    let samples = channel.len();
    let (first, last) = (channel[0] as f64, channel[samples - 1] as f64);
    for i in 0..edge {
        row[i] = 2.0 * first - channel[edge - i] as f64;
        row[edge + samples + i] = 2.0 * last - channel[samples - 2 - i] as f64;
    }
    widen(isa, channel, &mut row[edge..]);
}

multiversion! {
    fn widen(from: &[f32], to: &mut [f64]) = widen_body
}

#[inline(always)]
fn widen_body(from: &[f32], to: &mut [f64]) {
    to.iter_mut().zip(from).for_each(|(to, x)| *to = *x as f64);
}

multiversion! {
    fn narrow(from: &[f64], to: &mut [f32]) = narrow_body
}

#[inline(always)]
fn narrow_body(from: &[f64], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, x)| *to = *x as f32);
}

multiversion! {
    /// Second differences: `to[i]` belongs to `from[i]`, `from[i + 1]` and `from[i + 2]`.
    fn difference(from: &[f64], to: &mut [f64]) = difference_body
}

#[inline(always)]
fn difference_body(from: &[f64], to: &mut [f64]) {
    let n = from.len() - 2;
    let (a, b, c) = (&from[..n], &from[1..n + 1], &from[2..n + 2]);
    for (to, ((a, b), c)) in to[..n].iter_mut().zip(a.iter().zip(b).zip(c)) {
        *to = a - 2.0 * b + c;
    }
}

/// Filters rows of second differences into `signal`, forward or `backward`.
fn run(isa: Isa, filter: &Blocks, differences: &[f64], signal: &mut [f64], channels: usize, backward: bool) {
    match (channels, backward) {
        (4, false) => forward_foa(isa, filter, differences, signal),
        (4, true) => backward_foa(isa, filter, differences, signal),
        (_, false) => forward_omni(isa, filter, differences, signal),
        (_, true) => backward_omni(isa, filter, differences, signal),
    }
}

multiversion! {
    fn forward_foa(filter: &Blocks, differences: &[f64], signal: &mut [f64]) = run_body::<4, false>
}
multiversion! {
    fn backward_foa(filter: &Blocks, differences: &[f64], signal: &mut [f64]) = run_body::<4, true>
}
multiversion! {
    fn forward_omni(filter: &Blocks, differences: &[f64], signal: &mut [f64]) = run_body::<1, false>
}
multiversion! {
    fn backward_omni(filter: &Blocks, differences: &[f64], signal: &mut [f64]) = run_body::<1, true>
}

#[inline(always)]
fn run_body<const CHANNELS: usize, const BACKWARD: bool>(filter: &Blocks, differences: &[f64], signal: &mut [f64]) {
    let stride = signal.len() / CHANNELS;
    let blocks = stride / LANES - 1;
    // The two outputs next to the block, nearest first.
    let (mut near, mut far) = ([0.0f64; CHANNELS], [0.0f64; CHANNELS]);
    for block in 0..blocks {
        let start = LANES * if BACKWARD { blocks - 1 - block } else { block };
        for c in 0..CHANNELS {
            // Forward, a difference belongs to the last of its three samples; backward, to the first.
            let v = &differences[c * stride + start + if BACKWARD { BEFORE } else { 0 }..][..LANES];
            let mut y = [0.0f64; LANES];
            for j in 0..LANES {
                for k in 0..LANES {
                    y[k] += filter.particular[j][k] * v[j];
                }
            }
            for k in 0..LANES {
                y[k] = y[k] + filter.before_last[k] * far[c] + filter.last[k] * near[c];
            }
            (near[c], far[c]) = if BACKWARD { (y[0], y[1]) } else { (y[LANES - 1], y[LANES - 2]) };
            signal[c * stride + BEFORE + start..][..LANES].copy_from_slice(&y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_vanishes_and_high_frequencies_pass() {
        let mut x: Vec<f32> = (0..40_000).map(|i| 3.0 + if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        high_pass(Isa::current(), &mut x, 1, 10.0, 16_000);
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
        high_pass(Isa::current(), &mut x, 1, 10.0, rate);
        let gain = x[20_050] as f64 / tone(20_050);
        assert!((gain - 16.0 / 17.0).abs() < 1e-3, "{gain}");
    }
}
