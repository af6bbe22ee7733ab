//! Whisper's log-mel spectrogram at 16 kHz.   x [B, L], filters [M, 201] -> y [B, T, M]
//!
//! Windows of 400 samples (periodic Hann) every 160, centred; the clip is padded with zeros to 160 T samples, then
//! mirrored at both ends; frame T, the last one of the centred transform, is dropped. Of the power spectrum M triangular
//! bands on Slaney's mel scale, each of unit area, from 0 to 8 kHz. v = log10(max(band, 1e-10)),
//! y = (max(v, largest v of the clip - 8) + 4) / 4. The largest is over the padded clip. Forward only: audio is data.
//!
//! Frames of nothing but padding have one known value, so the host transforms only those that reach into the audio.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::ops::stft::hann;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Samples of a window.
pub const WINDOW: usize = 400;
/// Samples between frames.
pub const HOP: usize = 160;
/// Frequencies of the power spectrum.
pub const BINS: usize = WINDOW / 2 + 1;
/// Most bands.
pub const BANDS_MAX: usize = 256;
/// Powers below this count as this.
const POWER_MIN: f64 = 1e-10;

/// The weights of `bands` mel bands over the frequencies 0, 40, .. 8000 Hz: [M, 201], in f64 rounded once, as
/// `mel_filter_bank(norm="slaney", mel_scale="slaney")` of Transformers.
#[track_caller]
pub fn filters(bands: usize) -> Tensor {
    assert!((1..=BANDS_MAX).contains(&bands), "log_mel: {bands} bands, 1..={BANDS_MAX} are supported");
    const TOP_HZ: f64 = 8000.0;
    let top = mel_of(TOP_HZ);
    let edges: Vec<f64> = (0..bands + 2).map(|i| hz_of(top * i as f64 / (bands + 1) as f64)).collect();
    let mut weights = Tensor::zeros(&[bands, BINS]);
    for (row, edge) in weights.data_mut().chunks_exact_mut(BINS).zip(edges.windows(3)) {
        let area = 2.0 / (edge[2] - edge[0]);
        for (bin, weight) in row.iter_mut().enumerate() {
            let hz = TOP_HZ * bin as f64 / (BINS - 1) as f64;
            let (rising, falling) = ((hz - edge[0]) / (edge[1] - edge[0]), (edge[2] - hz) / (edge[2] - edge[1]));
            *weight = (rising.min(falling).max(0.0) * area) as f32;
        }
    }
    weights
}

/// Slaney's scale: linear below 1000 Hz (15 mel), then 27 steps per factor of 6.4.
fn mel_of(hz: f64) -> f64 {
    if hz < 1000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1000.0).ln() * 27.0 / 6.4f64.ln() }
}

fn hz_of(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

/// The features of clips x [B, L] at 16 kHz, L at most 160 `frames`: [B, frames, M]. Clips of several lengths are
/// padded with zeros to the longest first, which changes nothing.
#[track_caller]
pub fn log_mel(tape: &mut Tape, x: &Var, filters: &Tensor, frames: usize) -> Var {
    let [batch, samples] = x.tensor().dims("log_mel x");
    let [bands, bins] = filters.dims("log_mel filters");
    assert!(bins == BINS && (1..=BANDS_MAX).contains(&bands), "log_mel: filters {:?}", filters.shape());
    assert!(
        frames >= 2 && samples > 0 && samples <= frames * HOP,
        "log_mel: {samples} samples do not fit {frames} frames of {HOP}"
    );
    let sizes = Sizes { batch, samples, frames, bands };
    let mut y = Tensor::uninit_on(x.tensor().device(), x.tensor().dtype(), &[batch, frames, bands]);
    match x.tensor().device() {
        Device::Host => sizes.on_host(x.data(), filters.data(), y.data_mut()),
        _ => sizes.launch(x.tensor(), filters, &mut y),
    }
    tape.constant("log_mel", &[x], y)
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    samples: usize,
    frames: usize,
    bands: usize,
}

/// The non-zero weights of a band.
struct Band<'a> {
    first: usize,
    weights: &'a [f32],
}

impl<'a> Band<'a> {
    fn of(row: &'a [f32]) -> Band<'a> {
        let first = row.iter().position(|&w| w != 0.0).unwrap_or(0);
        let end = row.iter().rposition(|&w| w != 0.0).map_or(first, |last| last + 1);
        Band { first, weights: &row[first..end] }
    }
}

impl Sizes {
    /// Which sample of the clip lies at `at` of the padded and mirrored one; `None` for padding.
    fn source(&self, at: isize) -> Option<usize> {
        let last = (self.frames * HOP) as isize - 1;
        let folded = if at < 0 { -at } else { at };
        let folded = if folded > last { 2 * last - folded } else { folded } as usize;
        (folded < self.samples).then_some(folded)
    }
    /// Frames that reach into the audio.
    fn sounding(&self) -> usize {
        (self.samples + WINDOW / 2).div_ceil(HOP).min(self.frames)
    }

    fn on_host(&self, x: &[f32], filters: &[f32], out: &mut [f32]) {
        let window: Vec<f32> = hann(WINDOW).iter().map(|&w| w as f32).collect();
        let bands: Vec<Band> = filters.chunks_exact(BINS).map(Band::of).collect();
        let transform = realfft::RealFftPlanner::<f32>::new().plan_fft_forward(WINDOW);
        let (mut block, mut scratch) = (transform.make_input_vec(), transform.make_scratch_vec());
        let (mut spectrum, mut power) = (transform.make_output_vec(), [0.0f32; BINS]);
        let clips = x.chunks_exact(self.samples).zip(out.chunks_exact_mut(self.frames * self.bands));
        for (x, out) in clips {
            let (sounding, padding) = out.split_at_mut(self.sounding() * self.bands);
            padding.fill(POWER_MIN.log10() as f32);
            let mut largest = if padding.is_empty() { f32::NEG_INFINITY } else { padding[0] };
            for (t, row) in sounding.chunks_exact_mut(self.bands).enumerate() {
                let start = (t * HOP) as isize - (WINDOW / 2) as isize;
                if start >= 0 && start as usize + WINDOW <= self.samples {
                    let part = &x[start as usize..][..WINDOW];
                    block.iter_mut().zip(part).zip(&window).for_each(|((b, x), w)| *b = x * w);
                } else {
                    for (k, b) in block.iter_mut().enumerate() {
                        *b = self.source(start + k as isize).map_or(0.0, |at| x[at]) * window[k];
                    }
                }
                transform.process_with_scratch(&mut block, &mut spectrum, &mut scratch).expect("buffer sizes match");
                power.iter_mut().zip(&spectrum).for_each(|(p, v)| *p = v.re * v.re + v.im * v.im);
                for (value, band) in row.iter_mut().zip(&bands) {
                    let sum: f32 = power[band.first..].iter().zip(band.weights).map(|(p, w)| p * w).sum();
                    *value = sum.max(POWER_MIN as f32).log10();
                    largest = largest.max(*value);
                }
            }
            out.iter_mut().for_each(|v| *v = (v.max(largest - 8.0) + 4.0) / 4.0);
        }
    }

    fn launch(&self, x: &Tensor, filters: &Tensor, y: &mut Tensor) {
        let &Sizes { batch, samples, frames, bands } = self;
        let mut maxima = x.like_f32(&[batch, frames]);
        let launch = Launch::new([frames, batch, 1], 256);
        kernels::log_mel_bands_f32(launch, y, &mut maxima, x, filters, samples, frames, bands);
        let n = frames * bands;
        let launch = Launch::new([n.div_ceil(1024), batch, 1], 256);
        kernels::log_mel_floor_f32(launch, y, &maxima, frames, n);
    }
}

impl Reference for Sizes {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let (window, weights) = (hann(WINDOW), filters(self.bands));
        let turn = |k: usize| -std::f64::consts::TAU * k as f64 / WINDOW as f64;
        let turns: Vec<[R; 2]> = (0..WINDOW).map(|k| [R::of(turn(k).cos()), R::of(turn(k).sin())]).collect();
        let mut all = Vec::new();
        for x in inputs[0].chunks(self.samples) {
            let mut values = Vec::with_capacity(self.frames * self.bands);
            for t in 0..self.frames {
                let start = (t * HOP) as isize - (WINDOW / 2) as isize;
                let at = |k: usize| self.source(start + k as isize).map_or(R::of(0.0), |at| x[at]);
                let block: Vec<R> = (0..WINDOW).map(|k| R::of(window[k]) * at(k)).collect();
                let part = |f: usize, i: usize| (0..WINDOW).map(|k| block[k] * turns[f * k % WINDOW][i]).sum::<R>();
                let power: Vec<R> = (0..BINS).map(|f| [part(f, 0), part(f, 1)]).map(|[a, b]| a * a + b * b).collect();
                for row in weights.data().chunks(BINS) {
                    let sum: R = row.iter().zip(&power).map(|(&w, &p)| R::of(w as f64) * p).sum();
                    values.push(sum.max(R::of(POWER_MIN)).ln() / R::of(std::f64::consts::LN_10));
                }
            }
            let largest = values.iter().copied().fold(values[0], R::max);
            let least = largest - R::of(8.0);
            all.extend(values.into_iter().map(|v| (v.max(least) + R::of(4.0)) / R::of(4.0)));
        }
        all
    }
    fn backward<R: Real>(&self, _: &[&[R]], _: &[R]) -> Vec<Vec<R>> {
        vec![Vec::new()]
    }
}

/// The cases of this op: single samples, audio that ends within, at and one beyond a frame, and that fills the clip.
pub fn cases() -> Vec<Case> {
    let case = |[batch, samples, frames, bands]: [usize; 4]| {
        let name = format!("B {batch}, L {samples}, T {frames}, M {bands}");
        let sizes = Sizes { batch, samples, frames, bands };
        // Activations stay f32: the features are data, rounded where a network takes them.
        let inputs = vec![input(&[batch, samples]).scaled(0.1).fixed()];
        Case::new("log_mel", name, sizes, inputs, move |tape, v| {
            log_mel(tape, &v[0], &filters(bands).to(v[0].tensor().device()), frames)
        })
    };
    let check = [
        [1, 1, 2, 1],
        [1, 320, 2, 80],
        [2, 199, 4, 7],
        [1, 360, 5, 128],
        [2, 361, 5, 80],
        [1, 1119, 7, 80],
        [1, 1120, 7, 256],
    ];
    let mut all: Vec<Case> = check.into_iter().map(case).collect();
    let flops = |frames: f64| frames * (2.5 * 400.0 * 8.7 + 1000.0);
    all.push(case([1, 80_000, 502, 80]).bench(flops(502.0)));
    all.push(case([1, 80_000, 502, 128]).bench(flops(502.0)).copied(16, &[0]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slaney's scale at its break and at 8 kHz: 15 + 27 ln 8 / ln 6.4.
    #[test]
    fn the_scale_has_its_break_at_1000_hz() {
        assert_eq!((mel_of(1000.0), hz_of(15.0)), (15.0, 1000.0));
        assert!((mel_of(8000.0) - 45.245_640_471_924_965).abs() < 1e-12, "{}", mel_of(8000.0));
        assert!((hz_of(mel_of(440.0)) - 440.0).abs() < 1e-9 && (hz_of(mel_of(5000.0)) - 5000.0).abs() < 1e-9);
    }

    #[test]
    fn silence_is_one_value_everywhere() {
        // All bands are 1e-10: v = -10, and (-10 + 4) / 4.
        let x = Var::constant(Tensor::zeros(&[1, 1000]));
        let y = log_mel(&mut Tape::new(), &x, &filters(80), 10);
        assert!(y.data().iter().all(|&v| v == -1.5), "{:?}", &y.data()[..4]);
    }

    #[test]
    fn padding_with_zeros_changes_nothing() {
        let x: Vec<f32> = (0..777).map(|i| ((i * i) as f32 * 0.01).sin()).collect();
        let features = |x: &[f32]| {
            let x = Var::constant(Tensor::from_slice(&[1, x.len()], x));
            log_mel(&mut Tape::new(), &x, &filters(80), 12).data().to_vec()
        };
        assert_eq!(features(&x), features(&[&x[..], &[0.0; 1143]].concat()));
    }
}
