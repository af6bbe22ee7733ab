//! Short-time Fourier transform into the feature map.   x [C, L] -> y [F, T, 2C], F = n/2 + 1, T = 1 + L / hop
//!
//! y[f, t, 2c] + i y[f, t, 2c + 1] = sum_k hann[k] x_c[t hop + k - n/2] e^(-2 pi i f k / n): centred frames, reflect
//! padding, periodic Hann window, unnormalised (torch.stft). Forward only: audio is data.

use super::elementwise::cast;
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// The periodic Hann window.
pub fn hann(n: usize) -> Vec<f64> {
    (0..n).map(|k| 0.5 - 0.5 * (std::f64::consts::TAU * k as f64 / n as f64).cos()).collect()
}

/// The number of frames of `samples` samples.
pub fn frame_count(samples: usize, hop: usize) -> usize {
    1 + samples / hop
}

/// The transform of a clip in f32; `x` has more than n_fft / 2 samples (reflect padding needs them).
#[track_caller]
pub fn stft(tape: &mut Tape, x: &Var, n_fft: usize, hop: usize) -> Var {
    stft_to(tape, x, n_fft, hop, DType::F32)
}

/// The transform of a clip, its f32 samples into a map stored as `dtype` (the host: f32).
#[track_caller]
pub fn stft_to(tape: &mut Tape, x: &Var, n_fft: usize, hop: usize, dtype: DType) -> Var {
    let [channels, samples] = x.tensor().dims("stft x");
    assert!(n_fft.is_multiple_of(2) && samples > n_fft / 2, "stft: {samples} samples are too few for {n_fft} points");
    let sizes = Sizes { channels, samples, n_fft, hop };
    let mut y =
        Tensor::uninit_on(x.tensor().device(), dtype, &[n_fft / 2 + 1, frame_count(samples, hop), 2 * channels]);
    match x.tensor().device() {
        Device::Host => sizes.on_host(x.data(), y.data_mut()),
        _ => sizes.launch(x.tensor(), &mut y),
    }
    tape.constant("stft", &[x], y)
}

#[derive(Clone, Copy)]
struct Sizes {
    channels: usize,
    samples: usize,
    n_fft: usize,
    hop: usize,
}

impl Sizes {
    fn on_host(&self, x: &[f32], out: &mut [f32]) {
        let &Sizes { channels, samples, n_fft, hop } = self;
        let frames = frame_count(samples, hop);
        let transform = realfft::RealFftPlanner::<f32>::new().plan_fft_forward(n_fft);
        let window: Vec<f32> = hann(n_fft).iter().map(|&w| w as f32).collect();
        let (mut block, mut scratch) = (transform.make_input_vec(), transform.make_scratch_vec());
        let mut spectrum = transform.make_output_vec();
        for c in 0..channels {
            let x = &x[c * samples..(c + 1) * samples];
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
    }

    /// Transforms of powers of two are fast ones; others are summed term by term.
    fn launch(&self, x: &Tensor, y: &mut Tensor) {
        const SHARED_BYTES_MAX: usize = 99 * 1024;
        let &Sizes { channels, samples, n_fft, hop } = self;
        let frames = frame_count(samples, hop);
        let [c, len, n, step, t] = [channels, samples, n_fft, hop, frames];
        if n_fft.is_power_of_two() && (16..=4096).contains(&n_fft) {
            // As many transforms as leave room for several blocks on a multiprocessor: eight of 256 points.
            let count = (2048 / n_fft).max(1);
            let launch = Launch::rows((frames * channels.div_ceil(2)).div_ceil(count), 256);
            kernels::stft_fft(launch.shared(8 * n_fft * (1 + 2 * count)), y, x, c, len, n, step, t, count);
            return;
        }
        assert!(12 * n_fft <= SHARED_BYTES_MAX, "stft: {n_fft} points are too many for the direct transform");
        kernels::stft_dft(Launch::rows(frames * channels, 256).shared(12 * n_fft), y, x, c, len, n, step, t);
    }
}

/// Mirrors an index at the first and last sample.
fn reflect(index: isize, n: usize) -> usize {
    let last = n as isize - 1;
    let folded = index.rem_euclid(2 * last.max(1));
    (if folded > last { 2 * last - folded } else { folded }) as usize
}

impl Reference for Sizes {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        let &Sizes { channels, samples, n_fft, hop } = self;
        let (bins, frames, window) = (n_fft / 2 + 1, frame_count(samples, hop), hann(n_fft));
        let mut y = vec![R::of(0.0); bins * frames * 2 * channels];
        let turn = |k: usize| -std::f64::consts::TAU * k as f64 / n_fft as f64;
        let turns: Vec<[f64; 2]> = (0..n_fft).map(|k| [turn(k).cos(), turn(k).sin()]).collect();
        for (i, pair) in y.chunks_exact_mut(2).enumerate() {
            let (f, t, c) = (i / (frames * channels), i / channels % frames, i % channels);
            for (k, w) in window.iter().enumerate() {
                let sample = x[0][c * samples + reflect((t * hop + k) as isize - (n_fft / 2) as isize, samples)];
                let [re, im] = turns[f * k % n_fft];
                pair[0] += sample * R::of(w * re);
                pair[1] += sample * R::of(w * im);
            }
        }
        y
    }
    fn backward<R: Real>(&self, _: &[&[R]], _: &[R]) -> Vec<Vec<R>> {
        vec![Vec::new()]
    }
}

/// The cases of this op: powers of four and of two, other sizes, odd channels, one frame more or less than a block takes.
pub fn cases() -> Vec<Case> {
    let case = |channels: usize, samples: usize, n_fft: usize, hop: usize| {
        let name = format!("C {channels}, L {samples}, n {n_fft}, hop {hop}");
        let inputs = vec![input(&[channels, samples]).fixed()];
        Case::new("stft", name, Sizes { channels, samples, n_fft, hop }, inputs, move |tape, v| {
            // A run with bf16 activations is given samples of that precision and wants a map of that storage.
            let dtype = v[0].tensor().dtype();
            let x = cast(tape, &v[0], DType::F32);
            stft_to(tape, &x, n_fft, hop, dtype)
        })
        .with_bf16()
    };
    let fast = [
        (4, 700, 256, 128),
        (1, 17, 16, 8),
        (2, 33, 32, 7),
        (4, 131, 64, 32),
        (3, 1100, 256, 100),
        (2, 520, 1024, 600),
    ];
    let direct = [(1, 9, 6, 2), (4, 60, 48, 24), (3, 71, 70, 35), (1, 300, 514, 257)];
    let mut all: Vec<Case> = fast.into_iter().chain(direct).map(|(c, l, n, hop)| case(c, l, n, hop)).collect();
    // A real transform by a fast one of half its length, and the window.
    let flops = |frames: f64| 4.0 * frames * (2.5 * 256.0 * 8.0 + 256.0);
    all.push(case(4, 80_000, 256, 128).bench(flops(626.0)));
    all.push(case(4, 160_000, 256, 128).bench(flops(1251.0)).copied(16, &[0]).interleaved(8));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_beyond_the_ends_are_mirrored() {
        assert_eq!([-2, -1, 0, 4, 5, 6].map(|index| reflect(index, 5)), [2, 1, 0, 4, 3, 2]);
    }
}
