//! Audio from files: a strict WAV reader and writer, decoders, resampling, First-Order-Ambisonics conventions.
//!
//! Everything inside the project is `f32`, channel-major and, for scenes, 16 kHz AmbiX (W, Y, Z, X; SN3D).
//! Files come from outside and are hostile until read: headers are checked before anything is allocated.

pub mod decode;
pub mod foa;
pub mod resample;
mod riff;
mod sniff;
pub mod wav;

use crate::error::{Context, Error, Result};
use foa::Convention;
use std::path::Path;

/// The sample rate of everything inside the project, in Hz.
pub const SAMPLE_RATE: u32 = 16_000;
/// Most channels a file may have (third-order Ambisonics).
pub const MAX_CHANNELS: usize = 16;
/// Sample rates accepted at the door, in Hz.
pub const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// Longest accepted recording in seconds.
pub const MAX_SECONDS: u64 = 6 * 3600;
/// Most decoded samples, all channels together, that are held in memory (4 GiB of `f32`).
pub const MAX_SAMPLES: u64 = 1 << 30;
/// Largest accepted sample magnitude: beyond it squares of squares leave the range of `f32`.
pub const MAX_MAGNITUDE: f32 = 1e9;

/// Decoded audio, full scale at magnitude 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// Frames per second.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: usize,
    /// Samples, channel-major `[channels, frames]`.
    pub samples: Vec<f32>,
}

impl Audio {
    /// Silence of `frames` frames.
    pub fn silence(sample_rate: u32, channels: usize, frames: usize) -> Audio {
        Audio { sample_rate, channels, samples: vec![0.0; channels * frames] }
    }

    /// The same audio, scaled down to a peak of 0.9 when it is higher: what formats without a scale can hold.
    pub fn limited(&self) -> Audio {
        let mut audio = self.clone();
        let peak = audio.samples.iter().fold(0f32, |p, v| p.max(v.abs()));
        if peak > 0.9 {
            audio.samples.iter_mut().for_each(|v| *v *= 0.9 / peak);
        }
        audio
    }

    /// Samples per channel.
    pub fn frames(&self) -> usize {
        self.samples.len() / self.channels.max(1)
    }

    /// The samples of one channel.
    #[track_caller]
    pub fn channel(&self, c: usize) -> &[f32] {
        assert!(c < self.channels, "channel {c} of {}", self.channels);
        let frames = self.frames();
        &self.samples[c * frames..(c + 1) * frames]
    }

    /// The samples of one channel, to change.
    #[track_caller]
    pub fn channel_mut(&mut self, c: usize) -> &mut [f32] {
        assert!(c < self.channels, "channel {c} of {}", self.channels);
        let frames = self.frames();
        &mut self.samples[c * frames..(c + 1) * frames]
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / self.sample_rate as f64
    }

    /// The mean of all channels, as one channel.
    pub fn into_mono(mut self) -> Audio {
        let frames = self.frames();
        if self.channels > 1 && frames > 0 {
            let (first, rest) = self.samples.split_at_mut(frames);
            for other in rest.chunks_exact(frames) {
                first.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
            }
            let scale = 1.0 / self.channels as f32;
            first.iter_mut().for_each(|x| *x *= scale);
            self.samples.truncate(frames);
        }
        self.channels = 1;
        self
    }

    /// Keeps the first `channels` channels.
    #[track_caller]
    pub fn keep_channels(&mut self, channels: usize) {
        assert!(channels <= self.channels, "keep {channels} of {} channels", self.channels);
        self.samples.truncate(channels * self.frames());
        self.channels = channels;
    }
}

/// Reads a First-Order-Ambisonics recording as 16 kHz AmbiX with exactly 4 channels (W, Y, Z, X; SN3D).
///
/// `convention` is what the user says; without it the file's own mark counts (`.amb` is FuMa), else AmbiX. Recordings
/// of second or third order (9, 16 channels) are cut to first order, which is exact in both orderings; a FuMa file of 3
/// channels is horizontal and gets a silent Z.
///
/// # Errors
/// `Data` for other counts; what [`decode::read`] refuses.
pub fn read_foa(path: &Path, convention: Option<Convention>) -> Result<Audio> {
    let (mut audio, marked) = match decode::content(path)? {
        sniff::Content::Wav => wav::read(path).map(|wav| (wav.audio, wav.convention))?,
        _ => (decode::read(path)?, None),
    };
    let convention = convention.or(marked).unwrap_or(Convention::Ambix);
    match audio.channels {
        4 => {}
        9 | 16 => {
            let order = if audio.channels == 9 { "second" } else { "third" };
            tracing::warn!("{}: {order}-order Ambisonics, the first order is used", path.display());
            audio.keep_channels(4);
        }
        3 if convention != Convention::Ambix => {
            tracing::warn!("{}: 3 channels W, X, Y (horizontal), Z is silent", path.display());
            let frames = audio.frames();
            audio.samples.resize(4 * frames, 0.0);
            audio.channels = 4;
        }
        n => {
            return Err(Error::data(format!("{}: channels is {n}, First-Order Ambisonics has 4", path.display()))
                .hint("export as 4-channel AmbiX (W, Y, Z, X; SN3D) or as a FuMa .amb file"));
        }
    }
    foa::to_ambix(&mut audio, convention);
    resample::resample(&audio, SAMPLE_RATE).context_with(|| path.display())
}

/// Refuses a shape that is outside the limits of this module; `what` names the field in the message.
fn check_shape(channels: u64, sample_rate: u64, frames: u64) -> Result<()> {
    if channels == 0 || channels > MAX_CHANNELS as u64 {
        return Err(Error::data(format!("channels is {channels}, 1 to {MAX_CHANNELS} are accepted")));
    }
    if !u32::try_from(sample_rate).is_ok_and(|r| RATES.contains(&r)) {
        let (low, high) = (RATES.start(), RATES.end());
        return Err(Error::data(format!("sample rate is {sample_rate} Hz, {low} to {high} are accepted")));
    }
    if frames > MAX_SECONDS * sample_rate || frames.saturating_mul(channels) > MAX_SAMPLES {
        let hours = MAX_SECONDS / 3600;
        return Err(Error::data(format!(
            "{frames} frames of {channels} channels at {sample_rate} Hz, at most {hours} hours and 2^30 samples are accepted"
        ))
        .hint("cut the recording into shorter files"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mono_is_the_mean_and_channels_are_contiguous() {
        let audio = Audio { sample_rate: 8000, channels: 2, samples: vec![1.0, 2.0, 3.0, -1.0, 0.0, 1.0] };
        assert_eq!(audio.frames(), 3);
        assert_eq!(audio.channel(1), [-1.0, 0.0, 1.0]);
        let mono = audio.into_mono();
        assert_eq!((mono.channels, mono.samples), (1, vec![0.0, 1.0, 2.0]));
    }

    #[test]
    fn shapes_outside_the_limits_are_refused_by_name() {
        assert!(check_shape(16, 48_000, 48_000).is_ok());
        for (channels, rate, frames, field) in [
            (0, 48_000, 1, "channels is 0"),
            (40, 48_000, 1, "channels is 40"),
            (1, 0, 1, "sample rate is 0"),
            (1, u64::from(u32::MAX), 1, "sample rate is 4294967295"),
            (1, 1000, 6 * 3600 * 1000 + 1, "frames"),
            (16, 768_000, 6 * 3600 * 768_000, "frames"),
        ] {
            let message = check_shape(channels, rate, frames).unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
    }
}
