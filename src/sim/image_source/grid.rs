//! The `moving` filter for many images: spread each image over 8 points of a twice finer grid with a
//! Kaiser-Bessel kernel, then turn the grid into the response by Fourier transform (the type-1
//! non-uniform FFT of Fessler and Sutton 2003, with the windowed sinc in the place of the ideal one).
//!
//! The spectrum G of the grid is multiplied by F = H / K (H: windowed sinc, K: kernel) and folded to the
//! sample rate. With the even and odd grid points E and O transformed apart this is
//! Y = (F0 + F1) E + exp(-i pi k / M) (F0 - F1) O for k = 0..M, F0 and F1 the halves of F: three transforms of
//! length M instead of one of 2M and one of M. F is real and even, so two channels travel as one complex signal.

use crate::device::simd::{Isa, multiversion};
use crate::sim::image_source::block::TimeGrid;
use rustfft::{Fft, FftPlanner, num_complex::Complex32};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::sync::{Arc, Mutex};

/// Grid points an image is spread over.
pub(super) const WIDTH: usize = 8;
/// Samples in front of the response (taps before it are dropped) and behind it.
const MARGIN: usize = 48;
/// Shape of the kernel, best for a factor of two and 8 points (Beatty, Nishimura and Pauly 2005, eq. 5).
pub(super) const BETA: f64 = 18.6;

/// Bessel function I0 by its power series (all terms positive: no cancellation).
pub(super) fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..200 {
        term *= quarter / (k * k) as f64;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

/// Transforms and spectra for one length; shared by all responses of about that length.
pub(crate) struct Plan {
    /// Transform length M, at least the response and its margins.
    len: usize,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// (F0 + F1) / M.
    even: Vec<f32>,
    /// exp(-i pi k / M) (F0 - F1) / M.
    odd: Vec<Complex32>,
}

/// Smallest 2^a 3^b 5^c (b <= 2, c <= 1) not below `n`: lengths that transform fast and are few enough to keep.
pub(crate) fn fast_length(n: usize) -> usize {
    let mut best = n.next_power_of_two();
    for factor in [3, 5, 9, 15, 45] {
        let length = factor * n.div_ceil(factor).next_power_of_two();
        best = best.min(length);
    }
    best
}

/// Buffers of [`Plan::response`], kept per thread: fresh memory would cost more than the transforms.
struct Work {
    even: Vec<Complex32>,
    odd: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

thread_local! {
    static WORK: RefCell<Work> = const { RefCell::new(Work { even: Vec::new(), odd: Vec::new(), scratch: Vec::new() }) };
    static GRIDS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `use_grids` with `count` zeroed grids of `len` elements, from memory that this thread keeps.
pub(crate) fn with_grids<T>(count: usize, len: usize, use_grids: impl FnOnce(&mut [Vec<f32>]) -> T) -> T {
    const KEPT: usize = 1 << 24;
    GRIDS.with_borrow_mut(|grids| {
        grids.resize(count.max(grids.len()), Vec::new());
        for grid in &mut grids[..count] {
            grid.clear();
            grid.resize(len, 0.0);
        }
        let result = use_grids(&mut grids[..count]);
        if count * len > KEPT {
            grids.clear();
        }
        result
    })
}

impl Plan {
    /// The plan for responses of `samples`, from a cache that keeps one per transform length.
    pub fn for_samples(samples: usize) -> Arc<Plan> {
        static PLANS: Mutex<BTreeMap<usize, Arc<Plan>>> = Mutex::new(BTreeMap::new());
        let len = fast_length(samples + 2 * MARGIN);
        if let Some(plan) = PLANS.lock().expect("no panic while the plans are locked").get(&len) {
            return plan.clone();
        }
        let plan = Arc::new(Plan::new(len));
        PLANS.lock().expect("no panic while the plans are locked").entry(len).or_insert(plan).clone()
    }

    fn new(len: usize) -> Plan {
        let mut planner = FftPlanner::new();
        let (filter, m) = (Self::filter(len), len as f64);
        let (first, second) = filter.split_at(len);
        let even = first.iter().zip(second).map(|(a, b)| ((a + b) / m) as f32).collect();
        let odd = first.iter().zip(second).enumerate().map(|(k, (a, b))| {
            let (angle, size) = (-PI * k as f64 / m, (a - b) / m);
            Complex32::new((size * angle.cos()) as f32, (size * angle.sin()) as f32)
        });
        let odd = odd.collect();
        Plan { len, forward: planner.plan_fft_forward(len), inverse: planner.plan_fft_inverse(len), even, odd }
    }

    /// F = H / K at the 2M grid frequencies, in double precision.
    fn filter(len: usize) -> Vec<f64> {
        let n = 2 * len;
        // H: the windowed sinc sampled at half samples, -80..=80, as an even sequence on the circle.
        let mut taps = vec![rustfft::num_complex::Complex64::default(); n];
        for j in -80i64..=80 {
            let x = j as f64 / 2.0;
            let sinc = if j == 0 { 1.0 } else { (PI * x).sin() / (PI * x) };
            let at = j.rem_euclid(n as i64) as usize;
            taps[at].re += 0.5 * sinc * (0.5 + 0.5 * (PI * x / 40.0).cos());
        }
        FftPlanner::<f64>::new().plan_fft_forward(n).process(&mut taps);
        let kernel = |frequency: f64| {
            let z = (BETA * BETA - (PI * WIDTH as f64 * frequency).powi(2)).max(1e-12).sqrt();
            WIDTH as f64 * z.sinh() / z / bessel_i0(BETA)
        };
        let frequency = |k: usize| k.min(n - k) as f64 / n as f64;
        taps.iter().enumerate().map(|(k, h)| h.re / kernel(frequency(k))).collect()
    }

    /// The grid of arrival times for [`super::spread`]: two steps per sample.
    pub fn time_grid(sample_rate: u32, speed_of_sound: f64, delay_samples: u32) -> TimeGrid {
        TimeGrid {
            steps_per_m: 2.0 * sample_rate as f64 / speed_of_sound,
            shift: 2.0 * (MARGIN as f64 + delay_samples as f64),
        }
    }

    /// Elements of the grid: 2M points of four channels.
    pub fn grid_len(&self) -> usize {
        8 * self.len
    }

    /// Turns a filled grid into `samples` of each of `channels` (1 or 4) channels, channel-major, W, Y, Z, X.
    pub fn response(&self, isa: Isa, grid: &[f32], channels: usize, samples: usize) -> Vec<f32> {
        WORK.with_borrow_mut(|work| self.response_with(isa, work, grid, channels, samples))
    }

    fn response_with(&self, isa: Isa, work: &mut Work, grid: &[f32], channels: usize, samples: usize) -> Vec<f32> {
        let points = as_complex(grid);
        let mut out = vec![0.0; channels * samples];
        let scratch_len = self.forward.get_inplace_scratch_len().max(self.inverse.get_inplace_scratch_len());
        let Work { even, odd, scratch } = work;
        for (buffer, len) in [(&mut *even, self.len), (&mut *odd, self.len), (&mut *scratch, scratch_len)] {
            buffer.resize(len, Complex32::default());
        }
        // Pair 0 is W + iY, pair 1 is Z + iX.
        for pair in 0..channels.div_ceil(2) {
            take_pair(isa, points, pair, even, odd);
            self.forward.process_with_scratch(even, scratch);
            self.forward.process_with_scratch(odd, scratch);
            join(isa, even, odd, &self.even, &self.odd);
            self.inverse.process_with_scratch(even, scratch);
            let heard = &even[MARGIN..MARGIN + samples];
            let (re, im) = out[2 * pair * samples..].split_at_mut(samples);
            // A single channel has no partner.
            part(isa, heard, re, if channels == 4 { &mut im[..samples] } else { &mut [] });
        }
        out
    }
}

/// Per sample the two pairs of channels of the even and then of the odd grid point.
fn as_complex(values: &[f32]) -> &[[Complex32; 4]] {
    assert!(values.len().is_multiple_of(8));
    // SAFETY: Complex32 is repr(C) of two f32 and as aligned as f32.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len() / 8) }
}

multiversion! {
    fn take_pair(points: &[[Complex32; 4]], pair: usize, even: &mut [Complex32], odd: &mut [Complex32]) = take_pair_body
}

#[inline(always)]
fn take_pair_body(points: &[[Complex32; 4]], pair: usize, even: &mut [Complex32], odd: &mut [Complex32]) {
    for ((four, even), odd) in points.iter().zip(even).zip(odd) {
        *even = four[pair];
        *odd = four[2 + pair];
    }
}

multiversion! {
    /// even = a even + b odd.
    fn join(even: &mut [Complex32], odd: &[Complex32], a: &[f32], b: &[Complex32]) = join_body
}

#[inline(always)]
fn join_body(even: &mut [Complex32], odd: &[Complex32], a: &[f32], b: &[Complex32]) {
    for ((e, o), (a, b)) in even.iter_mut().zip(odd).zip(a.iter().zip(b)) {
        e.re = e.re * a + o.re * b.re - o.im * b.im;
        e.im = e.im * a + o.re * b.im + o.im * b.re;
    }
}

multiversion! {
    fn part(values: &[Complex32], re: &mut [f32], im: &mut [f32]) = part_body
}

#[inline(always)]
fn part_body(values: &[Complex32], re: &mut [f32], im: &mut [f32]) {
    for (to, value) in re.iter_mut().zip(values) {
        *to = value.re;
    }
    for (to, value) in im.iter_mut().zip(values) {
        *to = value.im;
    }
}
