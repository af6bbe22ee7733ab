//! Convolution of dry signals with Ambisonic responses by overlap-save.
//!
//! Two channels of a response travel through one complex transform, and the sources are summed in the
//! frequency domain, so a block costs one transform per source and two for the result.

use rustfft::{Fft, FftPlanner, num_complex::Complex32};
use std::sync::{Arc, Mutex};

/// A dry signal and the response it goes through.
pub struct Voice<'a> {
    /// Mono, from the scene's start.
    pub dry: &'a [f32],
    /// [4, samples] channel-major, W, Y, Z, X.
    pub response: &'a [f32],
}

/// Transforms of one block length.
struct Transforms {
    len: usize,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
}

impl Transforms {
    fn new(len: usize) -> Transforms {
        static PLANNER: Mutex<Option<FftPlanner<f32>>> = Mutex::new(None);
        let mut planner = PLANNER.lock().expect("no panic while the planner is locked");
        let planner = planner.get_or_insert_with(FftPlanner::new);
        Transforms { len, forward: planner.plan_fft_forward(len), inverse: planner.plan_fft_inverse(len) }
    }
}

/// Spectra of all voices, ready to be mixed with any gains.
pub struct Spectra {
    transforms: Transforms,
    /// Samples of the result.
    frames: usize,
    /// New samples per block; the rest of a block repeats the one before.
    hop: usize,
    /// Per voice: the blocks of the dry signal.
    dry: Vec<Vec<Vec<Complex32>>>,
    /// Per voice: W + iY and Z + iX.
    response: Vec<[Vec<Complex32>; 2]>,
}

impl Spectra {
    /// Transforms `voices` for a result of `frames` samples (what rings on behind it is cut).
    #[track_caller]
    pub fn new(voices: &[Voice], frames: usize) -> Spectra {
        let longest = voices.iter().map(|v| v.response.len() / 4).max().unwrap_or(1).max(1);
        let transforms = Transforms::new(block_length(longest, frames));
        let hop = transforms.len - (longest - 1);
        let mut scratch = vec![Complex32::default(); transforms.forward.get_inplace_scratch_len()];
        let mut transform = |mut signal: Vec<Complex32>| {
            transforms.forward.process_with_scratch(&mut signal, &mut scratch);
            signal
        };
        let pad = |values: &mut dyn Iterator<Item = Complex32>| {
            let mut signal: Vec<Complex32> = values.collect();
            signal.resize(transforms.len, Complex32::default());
            signal
        };
        let response = voices.iter().map(|v| {
            assert_eq!(v.response.len() % 4, 0, "a response has four channels");
            let n = v.response.len() / 4;
            let channel = |c: usize| &v.response[c * n..][..n];
            [[0, 1], [2, 3]].map(|[a, b]| {
                let pairs = channel(a).iter().zip(channel(b)).map(|(re, im)| Complex32::new(*re, *im));
                transform(pad(&mut { pairs }))
            })
        });
        let response = response.collect();
        let dry = voices.iter().map(|v| {
            // Two blocks travel in one transform as real and imaginary part.
            let blocks = frames.div_ceil(hop);
            let pair = |b: usize| {
                let mut both = vec![Complex32::default(); transforms.len];
                put_block(v.dry, b, (hop, longest), &mut both, |to, x| to.re = x);
                put_block(v.dry, b + 1, (hop, longest), &mut both, |to, x| to.im = x);
                let [first, second] = separate(&transform(both));
                if b + 1 < blocks { vec![first, second] } else { vec![first] }
            };
            (0..blocks).step_by(2).flat_map(pair).collect()
        });
        let dry = dry.collect();
        Spectra { transforms, frames, hop, dry, response }
    }

    /// The sum of `gains[v]` times voice v, [4, frames] channel-major, W, Y, Z, X.
    pub fn mix(&self, gains: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; 4 * self.frames];
        self.blocks(gains, 2, |pair, start, samples| {
            for (i, y) in samples.iter().enumerate() {
                out[2 * pair * self.frames + start + i] = y.re;
                out[(2 * pair + 1) * self.frames + start + i] = y.im;
            }
        });
        out
    }

    /// Energy on W of one voice alone.
    pub fn energy(&self, voice: usize) -> f64 {
        let mut gains = vec![0.0; self.dry.len()];
        gains[voice] = 1.0;
        let mut energy = 0.0;
        self.blocks(&gains, 1, |_, _, samples| {
            energy += samples.iter().map(|y| (y.re as f64).powi(2)).sum::<f64>();
        });
        energy
    }

    /// Calls `emit(pair, start, samples)` for the first `pairs` channel pairs of every block.
    fn blocks(&self, gains: &[f32], pairs: usize, mut emit: impl FnMut(usize, usize, &[Complex32])) {
        let n = self.transforms.len;
        let mut sum = vec![Complex32::default(); n];
        let mut scratch = vec![Complex32::default(); self.transforms.inverse.get_inplace_scratch_len()];
        let heard = n - self.hop;
        for block in 0..self.frames.div_ceil(self.hop) {
            let start = block * self.hop;
            let count = self.hop.min(self.frames - start);
            for pair in 0..pairs {
                sum.fill(Complex32::default());
                for ((dry, response), gain) in self.dry.iter().zip(&self.response).zip(gains) {
                    let gain = gain / n as f32;
                    if gain != 0.0 {
                        for ((to, x), h) in sum.iter_mut().zip(&dry[block]).zip(&response[pair]) {
                            *to += x * h * gain;
                        }
                    }
                }
                self.transforms.inverse.process_with_scratch(&mut sum, &mut scratch);
                emit(pair, start, &sum[heard..heard + count]);
            }
        }
    }
}

/// Puts the samples of block `index` of a dry signal, what of the block before it repeats included, to where they lie in it;
/// silence around the signal is left out.
fn put_block(
    dry: &[f32],
    index: usize,
    (hop, longest): (usize, usize),
    block: &mut [Complex32],
    put: impl Fn(&mut Complex32, f32),
) {
    let (start, before) = (index * hop, longest - 1);
    let silent = before.saturating_sub(start).min(block.len());
    let from = dry.get((start + silent).saturating_sub(before)..).unwrap_or(&[]);
    block[silent..].iter_mut().zip(from).for_each(|(to, &x)| put(to, x));
}

/// The spectra of the real and the imaginary part of a signal, from the spectrum of the whole.
fn separate(both: &[Complex32]) -> [Vec<Complex32>; 2] {
    let real = |(x, mirror): (&Complex32, &Complex32)| (x + mirror.conj()) * 0.5;
    let imaginary = |(x, mirror): (&Complex32, &Complex32)| {
        let half = (x - mirror.conj()) * 0.5;
        Complex32::new(half.im, -half.re)
    };
    // The mirror of the first frequency is itself, that of each other lies as far from the end.
    let (zero, others) = (&both[0], &both[1..]);
    let [mut first, mut second] = [0, 1].map(|_| Vec::with_capacity(both.len()));
    first.push(real((zero, zero)));
    first.extend(others.iter().zip(others.iter().rev()).map(real));
    second.push(imaginary((zero, zero)));
    second.extend(others.iter().zip(others.iter().rev()).map(imaginary));
    [first, second]
}

/// The power of two with the least work for responses of `longest` and results of `frames` samples.
fn block_length(longest: usize, frames: usize) -> usize {
    let least = (longest + longest / 4).max(1024).next_power_of_two();
    let work = |n: usize| {
        let blocks = frames.div_ceil(n - (longest - 1)).max(1);
        // Two transforms per response and about four per block, each n log n.
        (2 + 4 * blocks) as f64 * n as f64 * (n as f64).log2()
    };
    let candidates = (0..4).map(|k| least << k);
    candidates.min_by(|a, b| work(*a).total_cmp(&work(*b))).expect("there are four candidates")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn equals_the_sum_of_products() {
        let mut rng = Rng::new(1, "convolve", 0);
        let mut noise = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal() as f32).collect() };
        for (frames, lengths) in [(3000, [50, 1]), (1, [3, 2]), (5000, [900, 1300])] {
            let dry = [noise(frames), noise(frames / 2 + 1)];
            let responses = lengths.map(|n| noise(4 * n));
            let voices: Vec<Voice> =
                dry.iter().zip(&responses).map(|(dry, response)| Voice { dry, response }).collect();
            let spectra = Spectra::new(&voices, frames);
            let gains = [0.5f32, -2.0];
            let mixed = spectra.mix(&gains);
            let mut expected = vec![0.0f64; 4 * frames];
            let mut energy = [0.0f64; 2];
            for v in 0..2 {
                let n = lengths[v];
                for c in 0..4 {
                    for t in 0..frames {
                        let taps = (0..n.min(t + 1)).filter(|k| t - k < dry[v].len());
                        let y: f64 = taps.map(|k| responses[v][c * n + k] as f64 * dry[v][t - k] as f64).sum();
                        expected[c * frames + t] += gains[v] as f64 * y;
                        energy[v] += if c == 0 { y * y } else { 0.0 };
                    }
                }
            }
            let norm: f64 = expected.iter().map(|x| x * x).sum();
            let error: f64 = expected.iter().zip(&mixed).map(|(e, m)| (e - *m as f64).powi(2)).sum();
            assert!(error <= 1e-12 * norm, "{frames}: {error} of {norm}");
            for v in 0..2 {
                assert!((spectra.energy(v) - energy[v]).abs() <= 1e-5 * energy[v]);
            }
        }
    }
}
