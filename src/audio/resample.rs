//! Sample rate conversion through rubato's synchronous FFT resampler: linear phase, delay taken out.
//!
//! All channels pass the same filter with the same block boundaries, so Ambisonics keep their directions.

use super::{Audio, MAX_SAMPLES, RATES};
use crate::error::{Error, Kind, Result};
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Frames per block on the side with the lower rate, at least: sets the steepness of the anti-alias filter
/// (flat to about 97 % of the lower Nyquist frequency).
const BLOCK: usize = 1024;

/// Converts to `to` Hz. Output frame 0 lies at the time of input frame 0 and there are `ceil(frames * to / from)`
/// frames.
///
/// # Errors
/// `Data` for rates outside [`RATES`].
pub fn resample(audio: &Audio, to: u32) -> Result<Audio> {
    let from = audio.sample_rate;
    for (rate, what) in [(from, "sample rate"), (to, "target sample rate")] {
        if !RATES.contains(&rate) {
            return Err(Error::data(format!("{what} is {rate} Hz, 1000 to 768000 are accepted")));
        }
    }
    if from == to || audio.frames() == 0 {
        return Ok(Audio { sample_rate: to, channels: audio.channels, samples: audio.samples.clone() });
    }
    let (channels, frames) = (audio.channels, audio.frames());
    let out_frames = (frames as u64 * u64::from(to)).div_ceil(u64::from(from));
    if out_frames * channels as u64 > MAX_SAMPLES {
        return Err(Error::data(format!("{out_frames} frames of {channels} channels at {to} Hz are more than 2^30")));
    }
    let out_frames = out_frames as usize;
    let failed = |e: &dyn std::fmt::Display| Error::new(Kind::Internal, format!("resampling {from} to {to} Hz: {e}"));

    let (block, _) = block_frames(from, to);
    let mut resampler = Fft::<f32>::new_custom(
        from as usize,
        to as usize,
        block as usize,
        1,
        channels,
        WindowFunction::BlackmanHarris2,
        FixedSync::Both,
    )
    .map_err(|e| failed(&e))?;

    let needed = resampler.process_all_needed_output_len(frames);
    let mut padded = vec![0.0f32; channels * needed];
    let input = SequentialSlice::new(&audio.samples[..], channels, frames).map_err(|e| failed(&e))?;
    let mut output = SequentialSlice::new_mut(&mut padded[..], channels, needed).map_err(|e| failed(&e))?;
    resampler.process_all_into_buffer(&input, &mut output, frames, None).map_err(|e| failed(&e))?;

    let mut samples = Vec::with_capacity(channels * out_frames);
    for channel in padded.chunks_exact(needed) {
        samples.extend_from_slice(&channel[..out_frames]);
    }
    Ok(Audio { sample_rate: to, channels, samples })
}

/// Frames of a block before and after the conversion; (1, 1) when there is none to do. An output block depends on the
/// input block at its place and those next to it, so that a recording may be converted from any block on.
pub fn block_frames(from: u32, to: u32) -> (u64, u64) {
    if from == to {
        return (1, 1);
    }
    // A whole number of periods of both clocks, an even number: then the delay, half a block, is a whole number of
    // frames on both sides and can be taken out exactly.
    let gcd = greatest_common_divisor(from, to);
    let (period_in, period_out) = (u64::from(from / gcd), u64::from(to / gcd));
    let periods = (BLOCK as u64).div_ceil(period_in.min(period_out)).next_multiple_of(2);
    (periods * period_in, periods * period_out)
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::super::foa::{angle_between_deg, gains, unit_vector};
    use super::*;
    use std::f64::consts::TAU;

    fn sine(rate: u32, hz: f64, seconds: f64) -> Audio {
        let frames = (rate as f64 * seconds) as usize;
        let samples = (0..frames).map(|t| (TAU * hz * t as f64 / rate as f64 + 0.3).sin() as f32).collect();
        Audio { sample_rate: rate, channels: 1, samples }
    }

    /// Signal to error ratio in dB against the same sine sampled at the new rate, away from both ends.
    fn snr_db(from: u32, to: u32, hz: f64) -> f64 {
        let out = resample(&sine(from, hz, 0.5), to).unwrap();
        let ideal = sine(to, hz, 0.5);
        let edge = (0.15 * to as f64) as usize;
        let middle = edge..ideal.frames() - edge;
        let (mut signal, mut error) = (0.0, 0.0);
        for (a, b) in out.samples[middle.clone()].iter().zip(&ideal.samples[middle]) {
            signal += f64::from(b * b);
            error += f64::from((a - b) * (a - b));
        }
        10.0 * (signal / error).log10()
    }

    #[test]
    fn sines_come_through_in_time_and_level() {
        // Alignment is part of it: one sample of shift at 1 kHz and 16 kHz would be 8 dB.
        for (from, to) in [(48_000, 16_000), (44_100, 16_000), (8_000, 16_000), (16_000, 48_000), (22_050, 16_000)] {
            for hz in [100.0, 1000.0, 3500.0] {
                let snr = snr_db(from, to, hz);
                assert!(snr > 90.0, "{from} to {to} Hz at {hz} Hz: {snr:.1} dB");
            }
        }
        assert!(snr_db(11_127, 16_000, 1000.0) > 90.0, "rates without a common divisor");
        assert!(snr_db(96_000, 16_000, 7500.0) > 90.0, "flat close to the new Nyquist frequency");
    }

    #[test]
    fn what_would_alias_is_gone() {
        let out = resample(&sine(48_000, 9_000.0, 0.5), 16_000).unwrap();
        let edge = 2000;
        let peak = out.samples[edge..out.frames() - edge].iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert!(peak < 1e-4, "{peak}");
    }

    #[test]
    fn a_click_stays_where_it_is_and_lengths_round_up() {
        for (from, to, at) in [(48_000u32, 16_000u32, 4800usize), (44_100, 16_000, 4410), (8_000, 16_000, 800)] {
            let mut audio = Audio::silence(from, 1, 10_001);
            audio.samples[at] = 1.0;
            let out = resample(&audio, to).unwrap();
            let peak = (0..out.frames()).max_by(|&a, &b| out.samples[a].total_cmp(&out.samples[b])).unwrap();
            assert_eq!(peak as u64, at as u64 * u64::from(to) / u64::from(from));
            assert_eq!(out.frames() as u64, (10_001 * u64::from(to)).div_ceil(u64::from(from)));
        }
        for frames in [0, 1, 2, 7, 1023] {
            let out = resample(&Audio::silence(44_100, 3, frames), 16_000).unwrap();
            assert_eq!((out.frames(), out.channels), ((frames * 16_000).div_ceil(44_100), 3));
        }
    }

    #[test]
    fn ambisonics_keep_their_directions_through_48_khz() {
        let direction = unit_vector(-70.0, 25.0);
        let mut rng = crate::rng::Rng::new(2, "resample test", 0);
        let noise: Vec<f64> = (0..8000).map(|_| rng.normal()).collect();
        let samples = gains(direction).iter().flat_map(|g| noise.iter().map(move |x| (g * x) as f32)).collect();
        let scene = Audio { sample_rate: 16_000, channels: 4, samples };
        let back = resample(&resample(&scene, 48_000).unwrap(), 16_000).unwrap();
        assert_eq!(back.frames(), scene.frames());
        let intensity = |c: usize| -> f64 {
            back.channel(0).iter().zip(back.channel(c)).map(|(w, d)| f64::from(*w) * f64::from(*d)).sum()
        };
        let found = [intensity(3), intensity(1), intensity(2)];
        assert!(angle_between_deg(found, direction) < 1e-3);
    }

    #[test]
    fn rates_outside_the_limits_are_refused() {
        assert!(resample(&Audio::silence(16_000, 1, 4), 0).is_err());
        assert!(resample(&Audio::silence(999, 1, 4), 16_000).is_err());
        let extreme = resample(&Audio::silence(767_999, 1, 1000), 16_000).unwrap();
        assert_eq!(extreme.frames(), 21);
    }
}
