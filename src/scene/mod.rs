//! The truth about scenes, which everything else is derived from: what is simulated or imported states it, `shard` stores
//! it, `train` and `eval` take their labels from it, and `benchmark` asks about it.
//!
//! ```text
//! Truth (all that is known, sources as tracks over time)  <->  a line of scenes.jsonl (RTSD)
//!   -> shard::Labels (three slots of numbers per clip)  -> ClipTruth (a part of a clip)  -> targets of the loss
//!   -> benchmark::Facts (what may be asked)
//! ```
//! Angles, unit vectors and positions are turned into one another in [`Point`] alone.

mod clip;
mod track;
mod truth;

pub use crate::ops::spatial_loss::SOURCES_MAX;
pub use clip::{ClipRoom, ClipSource, ClipTruth};
pub use track::{Path, Point, Track};
pub use truth::{RoomTruth, Truth};

/// Steps per second in which it is told whether a source sounds.
pub const STEPS_PER_SECOND: usize = 10;
/// Samples of one such step at [`crate::audio::SAMPLE_RATE`].
pub const STEP_SAMPLES: usize = crate::audio::SAMPLE_RATE as usize / STEPS_PER_SECOND;

/// Stretches [start, end] in seconds of the ones in `steps`, in a clip of `seconds`.
pub fn stretches(steps: &[u8], seconds: f64) -> Vec<[f64; 2]> {
    let mut out: Vec<[f64; 2]> = Vec::new();
    for (k, _) in steps.iter().enumerate().filter(|(_, s)| **s == 1) {
        let start = k as f64 / STEPS_PER_SECOND as f64;
        let end = ((k + 1) as f64 / STEPS_PER_SECOND as f64).min(seconds);
        match out.last_mut() {
            Some(last) if last[1] == start => last[1] = end,
            _ => out.push([start, end]),
        }
    }
    out
}

/// The inverse of [`stretches`]: for each of the `n` steps of a clip of `seconds` 1 where the middle of the step (of what
/// the clip holds of it) lies in a stretch.
pub fn steps(stretches: &[[f64; 2]], seconds: f64, n: usize) -> Vec<u8> {
    let sounds = |k: usize| {
        let [start, end] = [k, k + 1].map(|k| (k as f64 / STEPS_PER_SECOND as f64).min(seconds));
        let middle = 0.5 * (start + end);
        stretches.iter().any(|[from, to]| (*from..*to).contains(&middle))
    };
    (0..n).map(|k| u8::from(sounds(k))).collect()
}

#[cfg(test)]
mod tests;
