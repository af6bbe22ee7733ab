//! What the angles of a file or a folder are like: degrees, or radians that are read as degrees.
//!
//! Radians stay within a turn of 6.28 and elevations of 1.57, and hardly any is whole. Degrees are like that only where
//! everything is in front, and labels are whole degrees then. A header that names degrees settles it.

use super::units::Side;
use crate::error::{Error, Result};
use std::path::Path;

const HINT: &str = "angles are in degrees: convert those in radians (vectors need the columns x, y, z and distance); if \
    everything is in front, say so with a header that names azimuth_deg";

/// What the azimuths and elevations of a side are like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Angles {
    rows: usize,
    fractional: usize,
    /// Rows farther than [`Angles::FRONT_DEG`] to a side.
    aside: usize,
    azimuth: [f64; 2],
    elevation_max: f64,
}

impl Angles {
    /// Fewest rows that say something, and that do so with directions spread over [`Angles::SPREAD_FEW`].
    const ROWS_MIN: usize = 8;
    const ROWS_FEW: usize = 4;
    const SPREAD_FEW: f64 = 1.0;
    /// Fewest rows of a file, and their spread, that are judged against all other files.
    const ROWS_ALONE: usize = 20;
    const SPREAD_ALONE: f64 = 3.0;
    const ELEVATION_ALONE: f64 = 0.1;
    /// Azimuths beyond this can't be radians.
    const FRONT_DEG: f64 = 10.0;

    /// Takes in an angle that is in degrees beyond doubt.
    pub fn add_degrees(&mut self, azimuth: f64, elevation: f64) {
        self.add(azimuth.trunc(), elevation.trunc());
    }

    /// Takes in an angle that is said to be in degrees; whole numbers are.
    pub fn add(&mut self, azimuth: f64, elevation: f64) {
        let one = Angles {
            rows: 1,
            fractional: usize::from(azimuth.fract() != 0.0 || elevation.fract() != 0.0),
            aside: usize::from(azimuth.abs() > Self::FRONT_DEG),
            azimuth: [azimuth; 2],
            elevation_max: elevation.abs(),
        };
        self.merge(&one);
    }

    pub fn merge(&mut self, other: &Angles) {
        if other.rows > 0 {
            let [low, high] = other.azimuth;
            let [a, b] = self.azimuth;
            self.azimuth = if self.rows == 0 { other.azimuth } else { [a.min(low), b.max(high)] };
            self.rows += other.rows;
            self.fractional += other.fractional;
            self.aside += other.aside;
            self.elevation_max = self.elevation_max.max(other.elevation_max);
        }
    }

    fn spread(&self) -> f64 {
        self.azimuth[1] - self.azimuth[0]
    }

    /// All within the ranges of radians and most with a fraction, in rows enough to say so.
    fn may_be_radians(&self) -> bool {
        let [low, high] = self.azimuth;
        let turn = std::f64::consts::TAU;
        let enough = self.rows >= Self::ROWS_MIN || self.rows >= Self::ROWS_FEW && self.spread() >= Self::SPREAD_FEW;
        enough && low >= -turn && high <= turn && self.elevation_max <= turn / 4.0 && 2 * self.fractional > self.rows
    }

    fn refused(&self, place: String) -> Error {
        let [low, high] = self.azimuth;
        let message = format!("{place}: all azimuths are within {low:.2} and {high:.2}, as in radians");
        Error::data(message).hint(HINT)
    }

    /// Refuses a folder whose angles are all those of radians, unless everything is in front by `truth`, too.
    pub fn check(&self, flag: &str, folder: &Path, truth: Option<&Angles>) -> Result<()> {
        let is_narrow =
            truth.is_some_and(|truth| truth.rows > 0 && truth.azimuth.iter().all(|a| a.abs() <= Self::FRONT_DEG));
        match self.may_be_radians() && !is_narrow {
            true => Err(self.refused(format!("{flag} {}", folder.display()))),
            false => Ok(()),
        }
    }

    /// Refuses one file whose angles are those of radians where the other side's file of that name is not in front, or
    /// where they are spread so far that they would be a part of all directions.
    pub fn check_file(&self, path: &Path, other: &Angles, side: Side) -> Result<()> {
        let is_wide = 2 * other.aside > other.rows;
        // What is all around by itself says so even where the other side is in radians, too. At elevation 0 everything
        // in front is too likely.
        let is_around = self.rows >= Self::ROWS_ALONE
            && self.spread() >= Self::SPREAD_ALONE
            && self.elevation_max >= Self::ELEVATION_ALONE
            && (side == Side::Reference || other.may_be_radians());
        match self.may_be_radians() && (is_wide || is_around) {
            true => Err(self.refused(path.display().to_string())),
            false => Ok(()),
        }
    }
}
