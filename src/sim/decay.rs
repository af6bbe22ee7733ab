//! Reverberation times measured on an impulse response: Schroeder's backward integration (1965), over all frequencies or
//! per octave band as ISO 3382-1 has it.

use realfft::{RealFftPlanner, num_complex::Complex64};
use std::sync::{LazyLock, Mutex};

/// Centres of the octaves whose mean is a room's reverberation time in one number: those that a listener judges it by
/// (ISO 3382-1 takes 500 and 1000 Hz, ISO 3382-2 and hall acousticians add 2000 Hz).
pub const MIDDLE_HZ: [f64; 3] = [500.0, 1000.0, 2000.0];
/// Centre of the lowest octave that is measured; the others double it.
const LOWEST_HZ: f64 = 125.0;
/// Order of the Butterworth prototype of an octave filter.
const ORDER: i32 = 4;
/// Silence that is put in front of and behind a response, in which the lowest filter's ringing dies away.
const MARGIN_S: f64 = 0.125;
static PLANNER: LazyLock<Mutex<RealFftPlanner<f64>>> = LazyLock::new(|| Mutex::new(RealFftPlanner::new()));

/// Reverberation time by Schroeder's integral of the energies of steps: seconds for 60 dB of the line fitted by least squares
/// to the decay between -5 and -5 - `range_db` dB.
fn time_s(energies: &[f64], steps_per_s: f64, range_db: f64) -> Option<f64> {
    let mut left = vec![0.0f64; energies.len()];
    let mut sum = 0.0;
    for (slot, energy) in left.iter_mut().zip(energies).rev() {
        sum += energy;
        *slot = sum;
    }
    let below = |db: f64| left.iter().position(|&e| e <= sum * 10f64.powf(db / 10.0));
    let (start, end) = (below(-5.0)?, below(-5.0 - range_db)?);
    let n = (end - start) as f64;
    if n < 2.0 {
        return None;
    }
    let decay_db: Vec<f64> = left[start..end].iter().map(|e| 10.0 * (e / sum).log10()).collect();
    let mean_x = (n - 1.0) / 2.0;
    let mean_y = decay_db.iter().sum::<f64>() / n;
    let (mut xy, mut xx) = (0.0, 0.0);
    for (i, d) in decay_db.iter().enumerate() {
        xy += (i as f64 - mean_x) * (d - mean_y);
        xx += (i as f64 - mean_x).powi(2);
    }
    let slope_per_s = xy / xx * steps_per_s;
    (slope_per_s < 0.0).then(|| -60.0 / slope_per_s)
}

/// Reverberation time in seconds of a whole response from its decay between -5 and -5 - `range_db` dB (T20: 20, T30: 30).
/// `None` when the response does not decay that far. An image-source response that is not high-passed piles up energy near
/// 0 Hz that fades more slowly than anything that is heard: [`octaves_s`] says what a room sounds like.
pub fn decay_time_s(response: &[f32], sample_rate: u32, range_db: f64) -> Option<f64> {
    let energies: Vec<f64> = response.iter().map(|&x| f64::from(x) * f64::from(x)).collect();
    time_s(&energies, f64::from(sample_rate), range_db)
}

/// T20 of one octave band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OctaveDecay {
    /// Centre of the band.
    pub center_hz: f64,
    /// Time in which its energy fades by 60 dB, by the decay from -5 to -25 dB; `None` when it does not decay that far.
    pub t20_s: Option<f64>,
}

/// T20 of `response` in every octave from 125 Hz that lies below half the sample rate.
///
/// The bands are those of Butterworth filters of order 4 (IEC 61260 class 1) run forward and backward, so that the filters
/// neither delay nor skew a decay; silence around the response keeps what rings before and behind it.
pub fn octaves_s(response: &[f32], sample_rate: u32) -> Vec<OctaveDecay> {
    let rate = f64::from(sample_rate);
    let margin = (MARGIN_S * rate).ceil() as usize;
    let n = (response.len() + 2 * margin).next_power_of_two();
    let mut padded = vec![0.0f64; n];
    padded[margin..margin + response.len()].iter_mut().zip(response).for_each(|(to, &x)| *to = x.into());
    let spectrum = spectrum(&mut padded);
    let centers = std::iter::successors(Some(LOWEST_HZ), |f| Some(2.0 * f));
    let below = centers.take_while(|f| f * std::f64::consts::SQRT_2 < 0.5 * rate);
    let measured = |center_hz| {
        let (mut signal, steps_per_s) = octave(&spectrum, rate, center_hz);
        signal.iter_mut().for_each(|x| *x *= *x);
        OctaveDecay { center_hz, t20_s: time_s(&signal, steps_per_s, 20.0) }
    };
    below.map(measured).collect()
}

/// The mean of T20 over [`MIDDLE_HZ`]: `None` unless all of them were measured.
pub fn middle_s(octaves: &[OctaveDecay]) -> Option<f64> {
    let at = |f: &f64| octaves.iter().find(|o| o.center_hz == *f)?.t20_s;
    Some(MIDDLE_HZ.iter().map(at).sum::<Option<f64>>()? / MIDDLE_HZ.len() as f64)
}

fn spectrum(signal: &mut [f64]) -> Vec<Complex64> {
    let plan = PLANNER.lock().expect("no panic while the planner is locked").plan_fft_forward(signal.len());
    let mut spectrum = plan.make_output_vec();
    plan.process(signal, &mut spectrum).expect("the lengths are the plan's own");
    spectrum
}

/// The octave at `center_hz` of a signal, and its samples per second: as many as follow its waves closely.
fn octave(spectrum: &[Complex64], rate: f64, center_hz: f64) -> (Vec<f64>, f64) {
    let n = 2 * (spectrum.len() - 1);
    let bin = |hz: f64| hz / rate * n as f64;
    // Two octaves off, what is left is 116 dB down.
    let first = bin(center_hz / 4.0).floor() as usize;
    let last = (bin(center_hz * 4.0).ceil() as usize).min(spectrum.len() - 1);
    let len = (4 * last).next_power_of_two().min(n);
    let mut band = vec![Complex64::default(); len / 2 + 1];
    let gain = gain(center_hz / rate);
    for k in first.max(1)..last {
        band[k] = spectrum[k] * gain(k as f64 / n as f64);
    }
    let plan = PLANNER.lock().expect("no panic while the planner is locked").plan_fft_inverse(len);
    let mut signal = plan.make_output_vec();
    plan.process(&mut band, &mut signal).expect("the lengths are the plan's own, the ends are real");
    (signal, rate * len as f64 / n as f64)
}

/// What an octave filter, run forward and backward, leaves of the amplitude at a frequency (in cycles per sample): the
/// bilinear transform of a Butterworth band-pass between `center` / sqrt 2 and `center` sqrt 2.
fn gain(center: f64) -> impl Fn(f64) -> f64 {
    let warped = |f: f64| (std::f64::consts::PI * f).tan();
    let [low, high] = [center / std::f64::consts::SQRT_2, center * std::f64::consts::SQRT_2].map(warped);
    let (product, width) = (low * high, high - low);
    move |frequency| {
        let w = warped(frequency);
        1.0 / (1.0 + ((w * w - product) / (w * width)).powi(2 * ORDER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn an_exponential_decay_is_measured() {
        let rate = 16_000;
        let response: Vec<f32> = (0..rate).map(|i| 10f64.powf(-3.0 * i as f64 / rate as f64 / 0.4) as f32).collect();
        let t20 = decay_time_s(&response, rate, 20.0).unwrap();
        assert!((t20 - 0.4).abs() < 1e-3, "{t20}");
        assert!(decay_time_s(&[1.0; 10], rate, 20.0).is_none());
    }

    #[test]
    fn every_octave_of_decaying_tones_is_measured_by_itself() {
        // In each octave a tone at the centre that fades at a rate of its own.
        for rate in [16_000u32, 44_100] {
            let times = [0.9, 0.3, 0.7, 0.4, 0.6, 0.25];
            let tone = |i: usize, band: usize| {
                let (t, hz) = (i as f64 / f64::from(rate), LOWEST_HZ * f64::from(1 << band));
                (std::f64::consts::TAU * hz * t).sin() * 10f64.powf(-3.0 * t / times[band])
            };
            let samples = (1.2 * f64::from(rate)) as usize;
            let response: Vec<f32> =
                (0..samples).map(|i| (0..times.len()).map(|b| tone(i, b)).sum::<f64>() as f32).collect();
            let found = octaves_s(&response, rate);
            assert_eq!(found.len(), if rate == 16_000 { 6 } else { 7 });
            for (octave, expected) in found.iter().zip(times) {
                let t20 = octave.t20_s.unwrap();
                assert!((t20 / expected - 1.0).abs() < 0.01, "{rate} Hz: {octave:?}, {expected} s expected");
            }
            assert!((middle_s(&found).unwrap() - (0.7 + 0.4 + 0.6) / 3.0).abs() < 0.01);
        }
    }

    #[test]
    fn noise_that_fades_is_measured_and_what_lies_below_the_octaves_is_not() {
        let rate = 16_000;
        let mut rng = Rng::new(1, "decay", 0);
        let fades = |i: usize, s: f64| 10f64.powf(-3.0 * i as f64 / rate as f64 / s);
        let response: Vec<f32> =
            (0..2 * rate).map(|i| (rng.normal() * fades(i, 0.5) + 0.5 * fades(i, 3.0)) as f32).collect();
        assert!(decay_time_s(&response, rate as u32, 20.0).unwrap() > 1.0);
        let found = middle_s(&octaves_s(&response, rate as u32)).unwrap();
        assert!((found / 0.5 - 1.0).abs() < 0.05, "{found}");
    }

    #[test]
    fn short_and_silent_responses_have_no_time() {
        for response in [vec![], vec![1.0f32], vec![0.0; 4000]] {
            let found = octaves_s(&response, 16_000);
            assert_eq!(found.len(), 6);
            assert!(response.len() == 1 || found.iter().all(|o| o.t20_s.is_none()), "{found:?}");
        }
        assert!(octaves_s(&[1.0; 100], 1000).len() == 2 && middle_s(&octaves_s(&[1.0; 100], 1000)).is_none());
    }
}
