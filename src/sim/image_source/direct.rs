//! The filters `moving` and `fixed` tap by tap: exact for any delay, the faster way for few images.
//!
//! With tau = i + f, tap j (-40..=40) of image a is a w(j) sinc(j - f) at sample i + j, and
//! sinc(j - f) = (-1)^j sin(pi f) / (pi (f - j)): one sine per image, one division per tap. The Hann window
//! is w = (1 + cos(pi (j - f) / 40)) / 2 for `moving` and (1 + cos(pi j / 40)) / 2 for `fixed`.

use crate::device::simd::{Isa, multiversion};
use crate::sim::image_source::block::{Block, TimeGrid};
use std::sync::OnceLock;

/// Samples in front of and behind a response that taps may reach.
pub(crate) const MARGIN: usize = 64;
const HALF: i32 = 40;
/// Taps, rounded up to whole vectors.
const TAPS: usize = 96;

/// Window terms with the sign (-1)^j and 1/pi folded in: tap = (one + cosine cos(pi f / 40) +
/// sine sin(pi f / 40)) sin(pi f) / (f - j).
struct Window {
    one: [f32; TAPS],
    cosine: [f32; TAPS],
    sine: [f32; TAPS],
}

fn window(moving: bool) -> &'static Window {
    static WINDOWS: OnceLock<[Window; 2]> = OnceLock::new();
    &WINDOWS.get_or_init(|| [make_window(false), make_window(true)])[moving as usize]
}

fn make_window(moving: bool) -> Window {
    use std::f64::consts::PI;
    let mut window = Window { one: [0.0; TAPS], cosine: [0.0; TAPS], sine: [0.0; TAPS] };
    // The first tap, j = -40, is zero in both windows.
    for k in 1..=2 * HALF as usize {
        let j = k as f64 - HALF as f64;
        let sign = if k.is_multiple_of(2) { 1.0 } else { -1.0 };
        let angle = PI * j / HALF as f64;
        let half = 0.5 * sign / PI;
        if moving {
            window.one[k] = half as f32;
            window.cosine[k] = (half * angle.cos()) as f32;
            window.sine[k] = (half * angle.sin()) as f32;
        } else {
            window.one[k] = (half * (1.0 + angle.cos())) as f32;
        }
    }
    window
}

/// The grid of arrival times for [`add`]: one step per sample, [`MARGIN`] in front.
pub(crate) fn time_grid(sample_rate: u32, speed_of_sound: f64, delay_samples: u32) -> TimeGrid {
    TimeGrid { steps_per_m: sample_rate as f64 / speed_of_sound, shift: MARGIN as f64 + delay_samples as f64 }
}

/// Length of one channel of the buffer for a response of `samples`; arrivals up to 41 samples behind its end
/// still write whole vectors of taps.
pub(crate) fn padded_length(samples: usize) -> usize {
    samples + 2 * MARGIN + TAPS
}

/// Adds the images of `block`, scaled by `amplitude`, to `out`: `channels` (1 or 4) channels of
/// `out.len() / channels` samples, sample 0 at [`MARGIN`].
pub(crate) fn add(isa: Isa, block: &Block, band: usize, moving: bool, channels: usize, out: &mut [f32]) {
    let images = Arrivals {
        position: &block.position[..block.len],
        fraction: &block.fraction[..block.len],
        gains: &block.gains[..block.len],
        amplitude: &block.amplitude[band][..block.len],
    };
    if channels == 4 {
        add_foa(isa, images, window(moving), out);
    } else {
        add_omni(isa, images, window(moving), out);
    }
}

#[derive(Clone, Copy)]
struct Arrivals<'a> {
    position: &'a [i32],
    fraction: &'a [f32],
    gains: &'a [[f32; 4]],
    amplitude: &'a [f32],
}

multiversion! {
    fn add_foa(images: Arrivals<'_>, window: &Window, out: &mut [f32]) = add_body::<4>
}
multiversion! {
    fn add_omni(images: Arrivals<'_>, window: &Window, out: &mut [f32]) = add_body::<1>
}

#[inline(always)]
fn add_body<const CHANNELS: usize>(images: Arrivals<'_>, window: &Window, out: &mut [f32]) {
    let stride = out.len() / CHANNELS;
    for i in 0..images.position.len() {
        let taps = taps(images.fraction[i], window);
        let first = images.position[i] as usize - HALF as usize;
        for c in 0..CHANNELS {
            let gain = images.gains[i][c] * images.amplitude[i];
            let to = &mut out[c * stride + first..][..TAPS];
            for k in 0..TAPS {
                to[k] += gain * taps[k];
            }
        }
    }
}

#[inline(always)]
fn taps(fraction: f32, window: &Window) -> [f32; TAPS] {
    // At a whole delay the quotient is 0/0; a hundred-millionth of a sample beside it, it is not.
    let f = fraction.clamp(1e-8, 1.0 - f32::EPSILON / 2.0);
    let pi = std::f32::consts::PI;
    // sin(pi f) keeps its relative precision near f = 1 as well.
    let sine = (pi * f.min(1.0 - f)).sin();
    let (window_sine, window_cosine) = (pi / HALF as f32 * f).sin_cos();
    let mut taps = [0.0; TAPS];
    for k in 0..TAPS {
        let w = window.one[k] + window.cosine[k] * window_cosine + window.sine[k] * window_sine;
        taps[k] = w * sine / (f - (k as f32 - HALF as f32));
    }
    taps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn taps_are_the_windowed_sinc_for_whole_and_fractional_delays() {
        for f in [0.0f32, 1e-7, 0.25, 0.5, 0.999, 1.0 - f32::EPSILON / 2.0] {
            for moving in [false, true] {
                let taps = taps(f, window(moving));
                for (k, tap) in taps.iter().enumerate() {
                    let j = k as f64 - 40.0;
                    let x = j - f as f64;
                    let sinc = if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
                    let at = if moving { x } else { j };
                    let w = if at.abs() <= 40.0 && k <= 80 { 0.5 + 0.5 * (PI * at / 40.0).cos() } else { 0.0 };
                    assert!((*tap as f64 - w * sinc).abs() < 3e-7, "f {f} tap {j}: {tap} {}", w * sinc);
                }
            }
        }
    }
}
