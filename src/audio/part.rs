//! Which frames and channels of a file are read, and what came of it.

use super::foa::Convention;
use super::{Audio, MAX_CHANNELS, MAX_SAMPLES, MAX_SECONDS, RATES};
use crate::error::{Error, Result};

/// What a file says of itself before its samples are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Channels, 1 to [`MAX_CHANNELS`].
    pub channels: usize,
    /// Frames per second.
    pub sample_rate: u32,
    /// Frames in the file, where its header knows.
    pub frames: Option<u64>,
    /// Order and weights of the channels, where the file is marked with them.
    pub convention: Option<Convention>,
}

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// First frame.
    pub begin: u64,
    /// Most frames.
    pub frames: u64,
    /// Most channels, from the first on.
    pub channels: usize,
}

impl Part {
    /// Everything there is.
    pub const ALL: Part = Part { begin: 0, frames: u64::MAX, channels: MAX_CHANNELS };

    /// Whether nothing in front or at the end is left out.
    pub fn is_all(&self) -> bool {
        self.begin == 0 && self.frames == u64::MAX
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The samples of the part that are there, in the file's own channel order and weights.
    pub audio: Audio,
    /// The file they are from; its length is known when its end was met.
    pub shape: Shape,
}

/// Refuses channels and sample rates outside the limits of [`super`].
pub fn check_format(channels: u64, sample_rate: u64) -> Result<()> {
    if channels == 0 || channels > MAX_CHANNELS as u64 {
        return Err(Error::data(format!("channels is {channels}, 1 to {MAX_CHANNELS} are accepted")));
    }
    if !u32::try_from(sample_rate).is_ok_and(|r| RATES.contains(&r)) {
        let (low, high) = (RATES.start(), RATES.end());
        return Err(Error::data(format!("sample rate is {sample_rate} Hz, {low} to {high} are accepted")));
    }
    Ok(())
}

/// Refuses more frames than are held in memory: those that are read, not those that are in the file.
pub fn check_length(channels: u64, sample_rate: u64, frames: u64) -> Result<()> {
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
    fn shapes_outside_the_limits_are_refused_by_name() {
        assert!(check_format(64, 48_000).is_ok() && check_length(16, 48_000, 48_000).is_ok());
        for (channels, rate, field) in [
            (0, 48_000, "channels is 0"),
            (65, 48_000, "channels is 65"),
            (1, 0, "sample rate is 0"),
            (1, u64::from(u32::MAX), "sample rate is 4294967295"),
        ] {
            let message = check_format(channels, rate).unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
        for (channels, rate, frames) in [(1, 1000, 6 * 3600 * 1000 + 1), (16, 768_000, 6 * 3600 * 768_000)] {
            let message = check_length(channels, rate, frames).unwrap_err().to_string();
            assert!(message.contains("frames"), "{message}");
        }
    }
}
