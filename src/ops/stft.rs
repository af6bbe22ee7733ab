//! Short-time Fourier transform into the feature map.   x [C, L] -> y [F, T, 2C], F = n/2 + 1, T = 1 + L / hop
//!
//! y[f, t, 2c] + i y[f, t, 2c + 1] = sum_k hann[k] x_c[t hop + k - n/2] e^(-2 pi i f k / n): centred frames, reflect
//! padding, periodic Hann window, unnormalised (torch.stft). Forward only: audio is data.

use crate::check::{Case, Real, Reference, input};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The periodic Hann window.
pub fn hann(n: usize) -> Vec<f64> {
    (0..n).map(|k| 0.5 - 0.5 * (std::f64::consts::TAU * k as f64 / n as f64).cos()).collect()
}

/// The number of frames of `samples` samples.
pub fn frame_count(samples: usize, hop: usize) -> usize {
    1 + samples / hop
}

/// The transform of a clip; `x` has more than n_fft / 2 samples (reflect padding needs them).
#[track_caller]
pub fn stft(tape: &mut Tape, x: &Var, n_fft: usize, hop: usize) -> Var {
    let [channels, samples] = x.tensor().dims("stft x");
    assert!(n_fft.is_multiple_of(2) && samples > n_fft / 2, "stft: {samples} samples are too few for {n_fft} points");
    let (bins, frames) = (n_fft / 2 + 1, frame_count(samples, hop));
    let mut y = Tensor::uninit(&[bins, frames, 2 * channels]);
    let transform = realfft::RealFftPlanner::<f32>::new().plan_fft_forward(n_fft);
    let window: Vec<f32> = hann(n_fft).iter().map(|&w| w as f32).collect();
    let (mut block, mut scratch) = (transform.make_input_vec(), transform.make_scratch_vec());
    let mut spectrum = transform.make_output_vec();
    let out = y.data_mut();
    for c in 0..channels {
        let x = &x.data()[c * samples..(c + 1) * samples];
        for t in 0..frames {
            let start = (t * hop) as isize - (n_fft / 2) as isize;
            if start >= 0 && start as usize + n_fft <= samples {
                let part = &x[start as usize..][..n_fft];
                block.iter_mut().zip(part).zip(&window).for_each(|((b, x), w)| *b = x * w);
            } else {
                for (k, b) in block.iter_mut().enumerate() {
                    *b = x[reflect(start + k as isize, samples)] * window[k];
                }
            }
            transform.process_with_scratch(&mut block, &mut spectrum, &mut scratch).expect("buffer sizes match");
            for (f, v) in spectrum.iter().enumerate() {
                let at = (f * frames + t) * 2 * channels + 2 * c;
                (out[at], out[at + 1]) = (v.re, v.im);
            }
        }
    }
    tape.constant("stft", &[x], y)
}

/// Mirrors an index at the first and last sample.
fn reflect(index: isize, n: usize) -> usize {
    let last = n as isize - 1;
    let folded = index.rem_euclid(2 * last.max(1));
    (if folded > last { 2 * last - folded } else { folded }) as usize
}

#[derive(Clone)]
struct Plain {
    channels: usize,
    samples: usize,
    n_fft: usize,
    hop: usize,
}

impl Reference for Plain {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        let &Plain { channels, samples, n_fft, hop } = self;
        let (bins, frames, window) = (n_fft / 2 + 1, frame_count(samples, hop), hann(n_fft));
        let mut y = vec![R::of(0.0); bins * frames * 2 * channels];
        for (i, pair) in y.chunks_exact_mut(2).enumerate() {
            let (f, t, c) = (i / (frames * channels), i / channels % frames, i % channels);
            for (k, w) in window.iter().enumerate() {
                let sample = x[0][c * samples + reflect((t * hop + k) as isize - (n_fft / 2) as isize, samples)];
                let phase = -std::f64::consts::TAU * (f * k % n_fft) as f64 / n_fft as f64;
                pair[0] += sample * R::of(w * phase.cos());
                pair[1] += sample * R::of(w * phase.sin());
            }
        }
        y
    }
    fn backward<R: Real>(&self, _: &[&[R]], _: &[R]) -> Vec<Vec<R>> {
        vec![Vec::new()]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |channels: usize, samples: usize, n_fft: usize, hop: usize| {
        let name = format!("C {channels}, L {samples}, n {n_fft}, hop {hop}");
        let inputs = vec![input(&[channels, samples]).fixed()];
        Case::new("stft", name, Plain { channels, samples, n_fft, hop }, inputs, move |tape, v| {
            stft(tape, &v[0], n_fft, hop)
        })
    };
    vec![case(4, 700, 256, 128), case(1, 17, 16, 8), case(2, 33, 32, 7), case(4, 131, 64, 32)]
}
