//! The building blocks of the bank: oscillators, filters, envelopes, all at 16 kHz.

use crate::audio::SAMPLE_RATE;
use crate::rng::Rng;
use std::f64::consts::{PI, TAU};

/// Samples per second.
pub const RATE: f64 = SAMPLE_RATE as f64;

/// Number of samples in `seconds`.
pub fn frames(seconds: f64) -> usize {
    (seconds * RATE) as usize
}

/// Uniform noise in [-1, 1).
pub fn white(rng: &mut Rng) -> f64 {
    rng.next_u32() as i32 as f64 / 2_147_483_648.0
}

/// Log-uniform in [low, high): right for frequencies and times.
pub fn log_range(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low * (high / low).powf(rng.uniform())
}

/// True with probability `p`.
pub fn chance(rng: &mut Rng, p: f64) -> bool {
    rng.uniform() < p
}

/// `value` varied by a factor in [1 - spread, 1 + spread].
pub fn vary(rng: &mut Rng, value: f64, spread: f64) -> f64 {
    value * rng.range(1.0 - spread, 1.0 + spread)
}

/// A running phase in [0, 1).
#[derive(Default)]
pub struct Phase(f64, f64);

impl Phase {
    /// Advances by one sample at `hz` and returns the new phase.
    pub fn next(&mut self, hz: f64) -> f64 {
        self.1 = hz / RATE;
        self.0 = (self.0 + self.1).fract();
        self.0
    }

    /// Sine of the advanced phase.
    pub fn sine(&mut self, hz: f64) -> f64 {
        (TAU * self.next(hz)).sin()
    }

    /// Sawtooth in [-1, 1], its step smoothed over two samples (PolyBLEP) against aliasing.
    pub fn saw(&mut self, hz: f64) -> f64 {
        let t = self.next(hz);
        2.0 * t - 1.0 - poly_blep(t, self.1)
    }

    /// Square wave, smoothed likewise.
    pub fn square(&mut self, hz: f64) -> f64 {
        let t = self.next(hz);
        let sign = if t < 0.5 { 1.0 } else { -1.0 };
        sign + poly_blep(t, self.1) - poly_blep((t + 0.5).fract(), self.1)
    }
}

fn poly_blep(t: f64, step: f64) -> f64 {
    if t < step {
        let x = t / step;
        2.0 * x - x * x - 1.0
    } else if t > 1.0 - step {
        let x = (t - 1.0) / step;
        x * x + 2.0 * x + 1.0
    } else {
        0.0
    }
}

/// A two-pole resonance with unit gain at its centre.
#[derive(Default)]
pub struct Resonator {
    gain: f64,
    a: [f64; 2],
    y: [f64; 2],
}

impl Resonator {
    /// A resonance at `hz`, `width_hz` wide.
    pub fn new(hz: f64, width_hz: f64) -> Resonator {
        let mut out = Resonator::default();
        out.tune(hz, width_hz);
        out
    }

    /// Moves the resonance, keeping what rings.
    pub fn tune(&mut self, hz: f64, width_hz: f64) {
        let hz = hz.clamp(20.0, 0.47 * RATE);
        let r = (-PI * width_hz / RATE).exp();
        let angle = TAU * hz / RATE;
        self.a = [2.0 * r * angle.cos(), -r * r];
        self.gain = (1.0 - r) * (1.0 - 2.0 * r * (2.0 * angle).cos() + r * r).sqrt();
    }

    /// One sample.
    pub fn next(&mut self, x: f64) -> f64 {
        let y = self.gain * x + self.a[0] * self.y[0] + self.a[1] * self.y[1];
        self.y = [y, self.y[0]];
        y
    }
}

/// A one-pole low-pass filter; `x - lowpass` is the high-pass.
pub struct LowPass(f64, f64);

impl LowPass {
    /// A filter that is 3 dB down at `hz`.
    pub fn new(hz: f64) -> LowPass {
        LowPass(1.0 - (-TAU * hz / RATE).exp(), 0.0)
    }

    /// One sample.
    pub fn next(&mut self, x: f64) -> f64 {
        self.1 += self.0 * (x - self.1);
        self.1
    }
}

/// A random curve through independent values in [-1, 1], `hz` of them per second, joined by cosines.
pub struct Drift {
    hz: f64,
    at: f64,
    ends: [f64; 2],
}

impl Drift {
    /// A curve with `hz` corners per second.
    pub fn new(rng: &mut Rng, hz: f64) -> Drift {
        Drift { hz, at: 0.0, ends: [white(rng), white(rng)] }
    }

    /// One sample.
    pub fn next(&mut self, rng: &mut Rng) -> f64 {
        self.at += self.hz / RATE;
        if self.at >= 1.0 {
            self.at -= 1.0;
            self.ends = [self.ends[1], white(rng)];
        }
        let mix = 0.5 - 0.5 * (PI * self.at).cos();
        self.ends[0] + mix * (self.ends[1] - self.ends[0])
    }
}

/// Rises in `attack_s`, then falls by `1/e` every `decay_s`.
pub fn pluck_envelope(t_s: f64, attack_s: f64, decay_s: f64) -> f64 {
    if t_s < attack_s { t_s / attack_s } else { (-(t_s - attack_s) / decay_s).exp() }
}

/// A hump over [0, 1] that rises and falls within `edge` (a share of the whole) of both ends.
pub fn hump(x: f64, edge: f64) -> f64 {
    let side = (x.min(1.0 - x) / edge).clamp(0.0, 1.0);
    0.5 - 0.5 * (PI * side).cos()
}

/// Adds `sound` to `track` from `at_s` on, as far as the track goes.
pub fn add(track: &mut [f64], at_s: f64, gain: f64, sound: impl IntoIterator<Item = f64>) {
    let start = frames(at_s).min(track.len());
    track[start..].iter_mut().zip(sound).for_each(|(sum, x)| *sum += gain * x);
}

/// A struck body: `modes` of (Hz, decay s, gain) set off together, with a click of noise at the start.
pub fn strike(rng: &mut Rng, modes: &[(f64, f64, f64)], click: f64, seconds: f64) -> Vec<f64> {
    let mut out = vec![0.0; frames(seconds)];
    for &(hz, decay_s, gain) in modes.iter().filter(|m| m.0 < 0.47 * RATE) {
        let phase = rng.range(0.0, TAU);
        // A decaying sine as a two-term recurrence: no transcendental function per sample.
        let (r, angle) = ((-1.0 / (decay_s * RATE)).exp(), TAU * hz / RATE);
        let (c, r2) = (2.0 * r * angle.cos(), r * r);
        let (mut y1, mut y2) = ((phase - angle).sin() / r, (phase - 2.0 * angle).sin() / r2);
        for x in &mut out {
            let y = c * y1 - r2 * y2;
            *x += gain * y;
            (y2, y1) = (y1, y);
        }
    }
    for (t, x) in out.iter_mut().enumerate() {
        let time = t as f64 / RATE;
        *x *= (time / 0.0004).min(1.0);
        if time < 0.03 {
            *x += click * white(rng) * (-time / 0.003).exp();
        }
    }
    out
}

/// Peak 0.7, no offset, 4 ms fades at both ends, as the rest of the project takes it.
pub fn finish(samples: Vec<f64>) -> Vec<f32> {
    let mut slow = LowPass::new(25.0);
    let mut out: Vec<f64> = samples.into_iter().map(|x| x - slow.next(x)).collect();
    let fade = frames(0.004).min(out.len() / 2);
    let n = out.len();
    for t in 0..fade {
        let gain = t as f64 / fade as f64;
        out[t] *= gain;
        out[n - 1 - t] *= gain;
    }
    let peak = out.iter().fold(1e-9f64, |m, x| m.max(x.abs()));
    out.into_iter().map(|x| (0.7 * x / peak) as f32).collect()
}
