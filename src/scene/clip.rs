//! What is true of one clip: the sources that sound in it, each in one place, and its room.

use crate::audio::foa::Rotation;
use crate::ops::spatial_loss::{Target, TargetSource};

/// The truth about a clip that an encoder is trained towards and scored against.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipTruth {
    /// The sources, at most [`super::SOURCES_MAX`], in no particular order.
    pub sources: Vec<ClipSource>,
    /// The room, where it is known.
    pub room: Option<ClipRoom>,
}

/// One source of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipSource {
    /// Unit vector towards the source: x front, y left, z up.
    pub direction: [f64; 3],
    /// Metres.
    pub distance_m: f64,
    /// Index of its class, where it is known.
    pub class: Option<usize>,
}

/// The room of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipRoom {
    /// Natural logarithm of the room's surface in square metres.
    pub log_surface: f64,
    /// Mean energy absorption.
    pub absorption: f64,
}

impl ClipTruth {
    /// The truth about a clip whose audio was turned or mirrored by [`Rotation::apply_foa`]: every direction moves along,
    /// distances, classes and the room's surface and absorption stay.
    pub fn turned(&self, rotation: &Rotation) -> ClipTruth {
        let mut turned = self.clone();
        for source in &mut turned.sources {
            source.direction = rotation.apply_vector(source.direction);
        }
        turned
    }
}

impl From<&ClipTruth> for Target {
    fn from(truth: &ClipTruth) -> Target {
        let source = |s: &ClipSource| TargetSource { direction: s.direction, distance_m: s.distance_m, class: s.class };
        Target {
            sources: truth.sources.iter().map(source).collect(),
            room: truth.room.as_ref().map(|room| [room.log_surface, room.absorption]),
        }
    }
}
