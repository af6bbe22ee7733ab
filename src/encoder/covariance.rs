//! The covariance front end of the small presets: time-frequency cells of 8 frames by 4 bins.
//!
//! A linear stem over the raw map averages phases away; second-order statistics survive pooling. Per 2 x 2 patch of
//! the STFT (bin 0 is left out): ln of the W energy; the energies of Y, Z, X and the real and imaginary parts of
//! conj(W) Y, conj(W) Z, conj(W) X, each over the patch's total energy. A gated network works on every patch alone,
//! then the 4 x 2 patches of a cell are laid side by side and mixed into H channels.

use super::EncoderConfig;
use crate::nn::layers::{Linear, Norm};
use crate::nn::{Builder, Forward};
use crate::ops::{arrange, elementwise};
use crate::tape::Var;
use crate::tensor::Tensor;

/// STFT frames per cell.
pub const FRAMES: usize = 8;
/// STFT bins per cell.
pub const BINS: usize = 4;
/// Features of one 2 x 2 patch.
const PATCH_FEATURES: usize = 10;
/// Patches of a cell: FRAMES / 2 along time times BINS / 2 along frequency.
const PATCHES: usize = FRAMES / 2 * (BINS / 2);
/// Added to energies, relative to a clip whose W channel has unit RMS.
const FLOOR: f32 = 1e-3;

/// Cells [1, F', T', 80] and the log power spectrum [1, T', F - 1] of a map [1, F, T, 8].
#[track_caller]
pub fn pool(map: &Tensor) -> (Tensor, Tensor) {
    let [_, bins, frames, _] = map.dims("map");
    let (f, t) = ((bins - 1) / BINS, frames / FRAMES);
    assert!(t > 0, "the covariance front end needs at least {FRAMES} frames");
    let width = PATCHES * PATCH_FEATURES;
    let mut cells = Tensor::uninit(&[1, f, t, width]);
    let mut spectrum = Tensor::zeros(&[1, t, bins - 1]);
    let data = map.data();
    for (cell, out) in cells.data_mut().chunks_exact_mut(width).enumerate() {
        let (band, frame) = (cell / t, cell % t);
        for (patch, out) in out.chunks_exact_mut(PATCH_FEATURES).enumerate() {
            let (bin, start) = (1 + band * BINS + patch % 2 * 2, frame * FRAMES + patch / 2 * 2);
            patch_features(
                &[0, 1, 2, 3].map(|i| {
                    let at = ((bin + i / 2) * frames + start + i % 2) * 8;
                    &data[at..at + 8]
                }),
                out,
            );
        }
    }
    for (i, out) in spectrum.data_mut().iter_mut().enumerate() {
        let (frame, bin) = (i / (bins - 1), i % (bins - 1) + 1);
        let power = |j: usize| {
            let at = (bin * frames + frame * FRAMES + j) * 8;
            data[at] * data[at] + data[at + 1] * data[at + 1]
        };
        *out = log_feature((0..FRAMES).map(power).sum::<f32>() / FRAMES as f32);
    }
    (cells, spectrum)
}

/// The logarithm of an energy, brought to about zero mean and unit spread for clips of unit RMS.
fn log_feature(energy: f32) -> f32 {
    ((energy + FLOOR).ln() - 1.0) / 4.0
}

fn patch_features(points: &[&[f32]; 4], out: &mut [f32]) {
    let mut energy = [0.0f32; 4];
    let mut cross = [0.0f32; 6];
    for p in points {
        for c in 0..4 {
            energy[c] += p[2 * c] * p[2 * c] + p[2 * c + 1] * p[2 * c + 1];
        }
        for c in 1..4 {
            cross[c - 1] += p[0] * p[2 * c] + p[1] * p[2 * c + 1];
            cross[c + 2] += p[0] * p[2 * c + 1] - p[1] * p[2 * c];
        }
    }
    // Half the sum over all channels is the energy of a plane wave's W: intensities become unit vectors.
    let total = 0.5 * energy.iter().sum::<f32>() + FLOOR;
    out[0] = log_feature(energy[0] / 4.0);
    (1..4).for_each(|c| out[c] = energy[c] / total);
    (0..6).for_each(|c| out[4 + c] = cross[c] / total);
}

/// The learned part of the front end.
pub struct FrontEnd {
    gate: Linear,
    mix: Linear,
    norm: Norm,
    cell_width: usize,
}

impl FrontEnd {
    /// Adds the parameters under `name`.
    pub fn new(b: &mut Builder, name: &str, config: &EncoderConfig) -> FrontEnd {
        FrontEnd {
            gate: Linear::new(b, &format!("{name}.gate"), PATCH_FEATURES, 2 * config.cell_width),
            mix: Linear::new(b, &format!("{name}.mix"), PATCHES * config.cell_width, config.hidden),
            norm: Norm::layer(b, &format!("{name}.norm"), config.hidden),
            cell_width: config.cell_width,
        }
    }
    /// cells [B, F, T, 80] -> [B, F, T, H]
    pub fn forward(&self, c: &mut Forward, cells: &Var) -> Var {
        let [b, f, t, _] = cells.tensor().dims("cells");
        let patches = arrange::reshape(&mut c.tape, cells, &[b * f * t * PATCHES, PATCH_FEATURES]);
        let y = self.gate.forward(c, &patches);
        let y = elementwise::glu(&mut c.tape, &y);
        let y = arrange::reshape(&mut c.tape, &y, &[b, f, t, PATCHES * self.cell_width]);
        let y = self.mix.forward(c, &y);
        self.norm.forward(c, &y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_wave_gives_its_direction_as_unit_intensity() {
        // W = s, (Y, Z, X) = u s for a complex s that varies over the map.
        let (bins, frames, u) = (129, 16, [0.6f32, -0.48, 0.64]);
        let mut map = Tensor::uninit(&[1, bins, frames, 8]);
        for (i, p) in map.data_mut().chunks_exact_mut(8).enumerate() {
            let (re, im) = ((i as f32 * 0.7).sin() * 10.0, (i as f32 * 1.3).cos() * 10.0);
            for (c, gain) in [1.0, u[0], u[1], u[2]].into_iter().enumerate() {
                (p[2 * c], p[2 * c + 1]) = (re * gain, im * gain);
            }
        }
        let (cells, spectrum) = pool(&map);
        assert_eq!((cells.shape(), spectrum.shape()), (&[1, 32, 2, 80][..], &[1, 2, 128][..]));
        for patch in cells.data().chunks_exact(PATCH_FEATURES) {
            for c in 0..3 {
                assert!((patch[4 + c] - u[c]).abs() < 1e-3 && patch[7 + c].abs() < 1e-3, "{patch:?}");
            }
        }
    }

    #[test]
    fn silence_stays_finite() {
        let (cells, spectrum) = pool(&Tensor::zeros(&[1, 129, 8, 8]));
        assert!(cells.data().iter().chain(spectrum.data()).all(|v| v.is_finite()));
    }
}
