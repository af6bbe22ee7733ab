//! Audio from files: a strict WAV reader and writer, decoders, resampling, First-Order-Ambisonics conventions.
//!
//! Everything inside the project is `f32`, channel-major and, for scenes, 16 kHz AmbiX (W, Y, Z, X; SN3D).
//! Files come from outside and are hostile until read: headers are checked before anything is allocated.

pub mod decode;
pub mod foa;
mod layout;
mod part;
pub mod resample;
mod riff;
mod sniff;
mod source;
pub mod wav;

use crate::error::{Context, Result};
use foa::Convention;
use part::{Part, Shape};
use std::path::Path;

/// The sample rate of everything inside the project, in Hz.
pub const SAMPLE_RATE: u32 = 16_000;
/// Most channels a file may have (seventh-order Ambisonics).
pub const MAX_CHANNELS: usize = 64;
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

    /// Keeps the first `frames` frames of each channel.
    #[track_caller]
    pub fn keep_frames(&mut self, frames: usize) {
        assert!(frames <= self.frames(), "keep {frames} of {} frames", self.frames());
        self.samples = (0..self.channels).flat_map(|c| self.channel(c)[..frames].iter().copied()).collect();
    }
}

/// A stretch of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Its begin, in seconds from that of the recording; finite, 0 or more.
    pub start_s: f64,
    /// Its length in seconds; more than 0.
    pub seconds: f64,
}

/// A stretch as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Excerpt {
    /// 16 kHz AmbiX, `[4, frames]`; shorter than asked for where the recording ends, empty behind its end.
    pub audio: Audio,
    /// Length of the whole recording in seconds, where it is known.
    pub recording_s: Option<f64>,
}

/// Reads a First-Order-Ambisonics recording as 16 kHz AmbiX with exactly 4 channels (W, Y, Z, X; SN3D).
///
/// `convention` is what the user says; without it the file's own mark counts (`.amb` is FuMa), else AmbiX. Recordings
/// of higher order are cut to their first order, which is exact in both orderings; FuMa files without height get a
/// silent Z; a head-locked stereo pair behind the Ambisonics channels is left out. Each is said in a warning.
///
/// # Errors
/// `Data` for other counts; what [`decode::read`] refuses.
pub fn read_foa(path: &Path, convention: Option<Convention>) -> Result<Audio> {
    let (audio, _) = read_first_order(path, convention, |_| Part { channels: 4, ..Part::ALL })?;
    resample::resample(&audio, SAMPLE_RATE).context_with(|| path.display())
}

/// The samples that [`read_foa`] has in a stretch of the recording, but for rounding, without reading the others: time
/// and memory are those of the stretch, and so are the limits on length.
///
/// # Errors
/// As [`read_foa`].
pub fn read_foa_stretch(path: &Path, convention: Option<Convention>, stretch: Stretch) -> Result<Excerpt> {
    let frame = |s: f64| (s * f64::from(SAMPLE_RATE)).round() as u64;
    let (begin, end) = (frame(stretch.start_s), frame(stretch.start_s).saturating_add(frame(stretch.seconds)));
    // A block of the resampler hears the one before and the one behind it: two of each are read as well, and the first
    // begins where one of the whole recording does.
    let mut skip = 0;
    let choose = |shape: &Shape| {
        let (from, to) = resample::block_frames(shape.sample_rate, SAMPLE_RATE);
        let margin = if from == to { 0 } else { 2 };
        let first = (begin / to).saturating_sub(margin);
        let last = end.div_ceil(to).saturating_add(margin);
        skip = begin - first * to;
        Part { begin: first.saturating_mul(from), frames: (last - first).saturating_mul(from), channels: 4 }
    };
    let (part, shape) = read_first_order(path, convention, choose)?;
    let read = resample::resample(&part, SAMPLE_RATE).context_with(|| path.display())?;
    let skip = (skip as usize).min(read.frames());
    let frames = ((end - begin) as usize).min(read.frames() - skip);
    let samples = (0..4).flat_map(|c| read.channel(c)[skip..skip + frames].iter().copied()).collect();
    let audio = Audio { sample_rate: SAMPLE_RATE, channels: 4, samples };
    let recording_s = shape.frames.map(|frames| frames as f64 / f64::from(shape.sample_rate));
    Ok(Excerpt { audio, recording_s })
}

/// AmbiX at the file's own sample rate, and what the file is.
fn read_first_order(
    path: &Path,
    convention: Option<Convention>,
    choose: impl FnOnce(&Shape) -> Part,
) -> Result<(Audio, Shape)> {
    let convention_of = |shape: &Shape| convention.or(shape.convention).unwrap_or(Convention::Ambix);
    let reading = decode::read_part(path, |shape| {
        let keep = layout::layout(shape.channels, convention_of(shape))?.keep;
        Ok(Part { channels: keep, ..choose(shape) })
    })?;
    let (mut audio, shape) = (reading.audio, reading.shape);
    if let Some(note) = layout::layout(shape.channels, convention_of(&shape))?.note {
        tracing::warn!("{}: {note}", path.display());
    }
    let frames = audio.frames();
    audio.samples.resize(4 * frames, 0.0);
    audio.channels = 4;
    foa::to_ambix(&mut audio, convention_of(&shape));
    Ok((audio, shape))
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
}
