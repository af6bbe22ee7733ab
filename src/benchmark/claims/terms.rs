//! Words of claims.

use serde::{Deserialize, Serialize};

/// Which sources a count is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// All of them.
    Anywhere,
    /// Azimuth in (0, 180).
    Left,
    /// Azimuth in (180, 360).
    Right,
    /// Less than 90 degrees from the front.
    Front,
    /// More than 90 degrees from the front.
    Behind,
    /// Elevation above 0.
    Above,
    /// Elevation below 0.
    Below,
    /// Less than 2 m away.
    Near,
}

impl Region {
    /// All of them but the whole.
    pub const PARTS: [Region; 7] =
        [Region::Left, Region::Right, Region::Front, Region::Behind, Region::Above, Region::Below, Region::Near];
}

/// A property in which one source of a scene stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extreme {
    /// Smallest distance.
    Nearest,
    /// Largest distance.
    Farthest,
    /// Largest elevation.
    Highest,
    /// Smallest elevation.
    Lowest,
}

/// A side of the room as the listener faces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The wall ahead.
    Front,
    /// The wall on the left.
    Left,
    /// The wall behind.
    Back,
    /// The wall on the right.
    Right,
    /// The ceiling.
    Up,
}

impl Side {
    /// All sides; nobody asks how high the ears are above the floor.
    pub const ALL: [Side; 5] = [Side::Front, Side::Left, Side::Back, Side::Right, Side::Up];

    /// Axis of the room and whether the side lies at its far end.
    pub fn axis(self) -> (usize, bool) {
        match self {
            Side::Front => (0, true),
            Side::Back => (0, false),
            Side::Left => (1, true),
            Side::Right => (1, false),
            Side::Up => (2, true),
        }
    }

    /// The side of the room that lies there once the room has been turned so many quarters to the left.
    pub fn turned(self, quarters: usize) -> Side {
        const AROUND: [Side; 4] = [Side::Front, Side::Left, Side::Back, Side::Right];
        match AROUND.iter().position(|side| *side == self) {
            Some(at) => AROUND[(at + 4 - quarters % 4) % 4],
            None => self,
        }
    }
}

/// What sort of sound a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Somebody who speaks.
    Voice,
    /// Music.
    Music,
    /// Neither.
    Other,
}

impl Sort {
    /// All of them.
    pub const ALL: [Sort; 3] = [Sort::Voice, Sort::Music, Sort::Other];
}
