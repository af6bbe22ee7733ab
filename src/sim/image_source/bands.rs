//! Octave bands: the filter bank that joins one response per band into one (Antoni 2010: windows whose
//! squares sum to one, so equal bands give back the signal), laid out as in pyroomacoustics 0.10.

use crate::device::simd::{Isa, multiversion};
use crate::sim::image_source::grid::fast_length;
use crate::sim::room::{Room, standard_bands};
use rustfft::{Fft, FftPlanner, num_complex::Complex32, num_complex::Complex64};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::f64::consts::{FRAC_PI_2, SQRT_2};
use std::sync::{Arc, Mutex};

/// Walls and air of `room` in the bands that are computed: one band when nothing depends on frequency,
/// else the standard bands of its rate, interpolated over log2 f (and continued) and clipped to [0, 1].
pub(crate) fn resampled(room: &Room) -> (Vec<[f64; 6]>, Vec<f64>) {
    let air = &room.air_absorption_per_m;
    if room.absorption.len() == 1 && air.len() <= 1 {
        return (room.absorption.clone(), vec![air.first().copied().unwrap_or(0.0)]);
    }
    let standard = standard_bands(room.sample_rate);
    let given = if room.bands_hz.is_empty() { &standard } else { &room.bands_hz };
    let at = |values: Vec<f64>| -> Vec<f64> {
        standard.iter().map(|f| interpolate(given, &values, *f).clamp(0.0, 1.0)).collect()
    };
    let walls: [Vec<f64>; 6] = std::array::from_fn(|w| at(room.absorption.iter().map(|b| b[w]).collect()));
    let bands = (0..standard.len()).map(|b| std::array::from_fn(|w| walls[w][b])).collect();
    let air = if air.is_empty() { vec![0.0; standard.len()] } else { at(air.clone()) };
    (bands, air)
}

/// Linear over log2 f, continued with the first and last slope; a single value holds everywhere.
fn interpolate(centres: &[f64], values: &[f64], f: f64) -> f64 {
    if values.len() == 1 {
        return values[0];
    }
    let i = centres.partition_point(|c| *c < f).clamp(1, centres.len() - 1);
    let (low, high) = (centres[i - 1].log2(), centres[i].log2());
    let t = (f.log2() - low) / (high - low);
    if t == 1.0 { values[i] } else { values[i - 1] + t * (values[i] - values[i - 1]) }
}

/// Squared windows of the bank on the bins 0..=n_fft/2, per band.
pub(crate) fn squared_windows(centres: &[f64], sample_rate: u32, n_fft: usize) -> Vec<Vec<f64>> {
    let bin = |f: f64| (f / sample_rate as f64 * n_fft as f64).round_ties_even() as i64;
    let bins = n_fft / 2 + 1;
    let mut windows = vec![vec![1.0; bins]; centres.len()];
    for (band, &centre) in centres.iter().enumerate().skip(1) {
        let edge = bin(centre / SQRT_2);
        let half = (0.5 * (bin(centre * SQRT_2) - bin(centre)) as f64).round_ties_even() as i64;
        for p in -half..=half {
            let k = edge + p;
            if half > 0 && (0..bins as i64).contains(&k) {
                let phi = 0.5 * (p as f64 / half as f64 + 1.0);
                windows[band - 1][k as usize] = (FRAC_PI_2 * phi).cos();
                windows[band][k as usize] = (FRAC_PI_2 * phi).sin();
            }
        }
        let clip = |k: i64| k.clamp(0, bins as i64) as usize;
        windows[band - 1][clip(edge + half)..].fill(0.0);
        windows[band][..clip(edge - half)].fill(0.0);
    }
    for window in &mut windows {
        window.iter_mut().for_each(|g| *g *= *g);
    }
    windows
}

/// The bank for a response of `samples` as filters, [band, 2 longest - 1] with the middle tap at `longest - 1`: the
/// zero-phase responses of the squared windows, as far as they reach within the response.
pub(crate) fn filters(sample_rate: u32, samples: usize, longest: usize) -> Vec<f32> {
    let n_fft = (2 * samples).next_power_of_two();
    let inverse = FftPlanner::<f64>::new().plan_fft_inverse(n_fft);
    let filter = |window: Vec<f64>| {
        let mut circle: Vec<Complex64> = (0..n_fft).map(|k| window[k.min(n_fft - k)].into()).collect();
        inverse.process(&mut circle);
        let tap = |at: usize| {
            let lag = at.abs_diff(longest - 1);
            if lag < samples { (circle[lag].re / n_fft as f64) as f32 } else { 0.0 }
        };
        (0..2 * longest - 1).map(tap).collect::<Vec<f32>>()
    };
    squared_windows(&standard_bands(sample_rate), sample_rate, n_fft).into_iter().flat_map(filter).collect()
}

thread_local! {
    /// Signal and scratch of [`Bank::add`], kept per thread.
    static WORK: RefCell<[Vec<Complex32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// The bank for responses of one length.
pub(crate) struct Bank {
    len: usize,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// Real, even spectra of length `len` per band, with 1/len of the inverse folded in.
    spectra: Vec<Vec<f32>>,
}

impl Bank {
    /// The bank for responses of `samples`, from a small cache.
    pub fn for_samples(sample_rate: u32, samples: usize) -> Arc<Bank> {
        // The bank is defined on a circle of n_fft >= 2 samples; the shorter circle used here holds the same
        // linear convolution.
        let n_fft = (2 * samples).next_power_of_two();
        let key = (sample_rate, n_fft, fast_length(2 * samples).min(n_fft));
        static BANKS: Mutex<BTreeMap<(u32, usize, usize), Arc<Bank>>> = Mutex::new(BTreeMap::new());
        const KEPT: usize = 16;
        if let Some(bank) = BANKS.lock().expect("no panic while the banks are locked").get(&key) {
            return bank.clone();
        }
        let bank = Arc::new(Bank::new(sample_rate, key.1, key.2));
        let mut banks = BANKS.lock().expect("no panic while the banks are locked");
        if banks.len() >= KEPT {
            banks.clear();
        }
        banks.entry(key).or_insert(bank).clone()
    }

    fn new(sample_rate: u32, n_fft: usize, len: usize) -> Bank {
        let mut planner = FftPlanner::<f64>::new();
        let (inverse, forward) = (planner.plan_fft_inverse(n_fft), planner.plan_fft_forward(len));
        let reach = (len - 1) / 2;
        let spectra = squared_windows(&standard_bands(sample_rate), sample_rate, n_fft).into_iter().map(|window| {
            let mut circle: Vec<Complex64> = (0..n_fft).map(|k| window[k.min(n_fft - k)].into()).collect();
            if len < n_fft {
                inverse.process(&mut circle);
                let mut shorter = vec![Complex64::default(); len];
                shorter[0] = circle[0];
                for lag in 1..=reach {
                    shorter[lag] = circle[lag];
                    shorter[len - lag] = circle[lag];
                }
                forward.process(&mut shorter);
                return shorter.iter().map(|x| (x.re / n_fft as f64 / len as f64) as f32).collect();
            }
            circle.iter().map(|x| (x.re / len as f64) as f32).collect()
        });
        let spectra = spectra.collect();
        let mut planner = FftPlanner::new();
        Bank { len, forward: planner.plan_fft_forward(len), inverse: planner.plan_fft_inverse(len), spectra }
    }

    /// An empty sum for a response of `channels` channels.
    pub fn start(&self, channels: usize) -> Vec<Vec<Complex32>> {
        vec![vec![Complex32::default(); self.len]; channels.div_ceil(2)]
    }

    /// Adds one band's `response` (channel-major, `channels` channels) to `sum`.
    pub fn add(&self, isa: Isa, sum: &mut [Vec<Complex32>], band: usize, response: &[f32], channels: usize) {
        WORK.with_borrow_mut(|[signal, scratch]| {
            signal.resize(self.len, Complex32::default());
            scratch.resize(self.forward.get_inplace_scratch_len(), Complex32::default());
            self.add_with(isa, sum, band, response, channels, signal, scratch);
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn add_with(
        &self,
        isa: Isa,
        sum: &mut [Vec<Complex32>],
        band: usize,
        response: &[f32],
        channels: usize,
        signal: &mut [Complex32],
        scratch: &mut [Complex32],
    ) {
        let samples = response.len() / channels;
        for (pair, sum) in sum.iter_mut().enumerate() {
            let first = &response[2 * pair * samples..][..samples];
            match response.get((2 * pair + 1) * samples..) {
                Some(second) if !second.is_empty() => {
                    for (to, (re, im)) in signal.iter_mut().zip(first.iter().zip(second)) {
                        *to = Complex32::new(*re, *im);
                    }
                }
                _ => signal.iter_mut().zip(first).for_each(|(to, re)| *to = (*re).into()),
            }
            signal[samples..].fill(Complex32::default());
            self.forward.process_with_scratch(signal, scratch);
            accumulate(isa, sum, signal, &self.spectra[band]);
        }
    }

    /// The joined response, channel-major.
    pub fn finish(&self, mut sum: Vec<Vec<Complex32>>, channels: usize, samples: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(channels * samples);
        for (pair, spectrum) in sum.iter_mut().enumerate() {
            self.inverse.process(spectrum);
            out.extend(spectrum[..samples].iter().map(|y| y.re));
            if 2 * pair + 1 < channels {
                out.extend(spectrum[..samples].iter().map(|y| y.im));
            }
        }
        out
    }
}

multiversion! {
    fn accumulate(sum: &mut [Complex32], signal: &[Complex32], weight: &[f32]) = accumulate_body
}

#[inline(always)]
fn accumulate_body(sum: &mut [Complex32], signal: &[Complex32], weight: &[f32]) {
    for ((to, x), g) in sum.iter_mut().zip(signal).zip(weight) {
        to.re += x.re * g;
        to.im += x.im * g;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squared_windows_sum_to_one() {
        // (With fewer than 512 bins the low edges overlap, there as here.)
        for (rate, n_fft) in [(16_000, 1024), (16_000, 16_384), (48_000, 32_768), (8000, 4096), (22_050, 8192)] {
            let windows = squared_windows(&standard_bands(rate), rate, n_fft);
            for k in 0..=n_fft / 2 {
                let sum: f64 = windows.iter().map(|w| w[k]).sum();
                assert!((sum - 1.0).abs() < 1e-12, "rate {rate}, bin {k}: {sum}");
            }
        }
    }

    #[test]
    fn interpolation_continues_beyond_the_last_band() {
        let centres = [125.0, 250.0, 500.0];
        let values = [0.1, 0.2, 0.4];
        assert!((interpolate(&centres, &values, 1000.0) - 0.6).abs() < 1e-12);
        assert!((interpolate(&centres, &values, 176.776_695_296_636_9) - 0.15).abs() < 1e-12);
        assert_eq!(interpolate(&centres, &values, 125.0), 0.1);
        assert_eq!(standard_bands(16_000).len(), 7);
        assert_eq!(standard_bands(44_100).len(), 8);
    }
}
