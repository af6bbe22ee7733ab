//! Level 1: one source, or the whole scene, one attribute at a time.

mod content;
mod count;
mod place;
mod room;

pub(super) use content::{identify_event_class, identify_speech_transcript};
pub(super) use count::{count_and_region, count_in_region, plain_count};
pub(super) use place::{
    AZIMUTH_FROM, distances_apart, elevation_angle, elevation_band, estimate_distance, localize_azimuth,
};
pub(super) use room::{reverberation_time, room};
