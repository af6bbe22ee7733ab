//! Dry sounds through impulse responses, and their mixture, on a device.   dry [V, L] -> voices [V, 4, L] -> y [4, L]
//!
//! The kernels' side of [`crate::sim::convolve`] and of levels and noise in [`crate::sim::render`], which are the Host's
//! way. Audio is data: there is no backward. Levels follow from energies that never leave the device.

use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tensor::Tensor;
use std::sync::OnceLock;

/// Points of a transform.
const POINTS: usize = 4096;
/// New samples per block, and taps per partition.
const HOP: usize = POINTS / 2;
/// Samples of a partial energy.
const SLICE: usize = 4096;

/// exp(-2 pi i k / 4096) as pairs.
fn roots(device: Device) -> Tensor {
    static ROOTS: OnceLock<Vec<f32>> = OnceLock::new();
    let angle = |k: usize| -std::f64::consts::TAU * k as f64 / POINTS as f64;
    let values =
        ROOTS.get_or_init(|| (0..POINTS).flat_map(|k| [angle(k).cos() as f32, angle(k).sin() as f32]).collect());
    Tensor::from_slice(&[POINTS, 2], values).to(device)
}

/// Every dry sound `[V, L]` through its response `[V, 4, taps]`, without what rings on behind its end: `[V, 4, L]`.
#[track_caller]
pub fn convolve(dry: &Tensor, responses: &Tensor) -> Tensor {
    let [voices, samples] = dry.dims("convolve dry");
    let [_, channels, taps] = responses.dims("convolve responses");
    assert_eq!((responses.shape()[0], channels), (voices, 4), "convolve: one response of four channels per sound");
    assert!(dry.device() != Device::Host, "convolve: the host's way is sim::convolve");
    let (blocks, partitions) = (samples.div_ceil(HOP), taps.div_ceil(HOP));
    let roots = roots(dry.device());
    let mut sounds = dry.like(&[voices, blocks, POINTS, 2]);
    let mut spectra = dry.like(&[voices, 2, partitions, POINTS, 2]);
    let mut y = dry.like(&[voices, 4, samples]);
    let [b, p, l] = [blocks, partitions, samples];
    kernels::convolve_dry_f32(Launch::new([blocks.div_ceil(2), voices, 1], 256), &mut sounds, dry, &roots, b, l);
    let launch = Launch::new([partitions, 2, voices], 256);
    kernels::convolve_response_f32(launch, &mut spectra, responses, &roots, p, taps);
    let launch = Launch::new([blocks, 2, voices], 256);
    kernels::convolve_join_f32(launch, &mut y, &sounds, &spectra, &roots, b, p, l);
    y
}

/// How loud a voice is in a mixture.
pub struct Level {
    /// Root-mean-square level on channel 0 of a voice whose power is the reference.
    pub amplitude: f64,
    /// The reference; `None`: the power of the voice itself on channel 0.
    pub reference: Option<f64>,
}

/// The noise of a mixture: [`crate::rng`]'s stream with this key and counter, one draw per sample, channel by channel.
pub struct Noise {
    /// Power on channel 0 relative to the mixture's.
    pub ratio: f64,
    /// The stream's key.
    pub key: [u32; 2],
    /// The stream's counter behind its first word.
    pub counter: [u32; 3],
}

/// The sum of `voices` `[V, 4, L]` at their levels, with isotropic noise: `[4, L]`.
#[track_caller]
pub fn mix(voices: &Tensor, levels: &[Level], noise: &Noise) -> Tensor {
    let [count, channels, samples] = voices.dims("mix voices");
    assert_eq!((channels, levels.len()), (4, count), "mix: four channels, one level per voice");
    let wanted: Vec<f32> =
        levels.iter().flat_map(|l| [l.amplitude as f32, l.reference.map_or(-1.0, |r| r as f32)]).collect();
    let wanted = Tensor::from_slice(&[count, 2], &wanted).to(voices.device());
    let slices = samples.div_ceil(SLICE);
    let (mut partial, mut gains) = (voices.like(&[count, slices]), voices.like(&[count + 1]));
    let mut y = voices.like(&[4, samples]);
    let [v, s, l] = [count, slices, samples];
    kernels::convolve_energy_f32(Launch::new([slices, count, 1], 256), &mut partial, voices, s, l);
    kernels::convolve_levels_f32(Launch::rows(1, 32), &mut gains, &partial, &wanted, v, s, l, noise.ratio as f32);
    let ([key0, key1], [word1, word2, word3]) = (noise.key, noise.counter);
    let launch = Launch::elements(samples, 256);
    kernels::convolve_mix_f32(launch, &mut y, voices, &gains, v, l, key0, key1, word1, word2, word3);
    y
}
