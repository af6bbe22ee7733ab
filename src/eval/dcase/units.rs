//! Units of distances and angles: what they are said to be, and whether the numbers can be that.
//!
//! A wrong unit is no small error (a hundredfold distance makes every relative error 99), and nothing in the files says
//! which one they are in. So the numbers are looked at: rooms have sources between some decimetres and some tens of
//! metres, and azimuths in degrees leave the range of radians.

use crate::error::{Error, Result};
use std::path::Path;

/// Which side of the comparison a file is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The truth.
    Reference,
    /// What is scored.
    Prediction,
}

/// What distances are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistanceUnit {
    /// Hundredths of a metre: the official references.
    Centimetres,
    /// Metres: the official predictions.
    Metres,
}

impl DistanceUnit {
    /// As on the command line and in headers.
    pub fn symbol(self) -> &'static str {
        match self {
            DistanceUnit::Centimetres => "cm",
            DistanceUnit::Metres => "m",
        }
    }

    /// A distance written in this unit, in metres.
    pub(super) fn to_m(self, distance: f64) -> f64 {
        match self {
            DistanceUnit::Centimetres => distance / 100.0,
            DistanceUnit::Metres => distance,
        }
    }

    /// The other one.
    pub(super) fn other(self) -> DistanceUnit {
        match self {
            DistanceUnit::Centimetres => DistanceUnit::Metres,
            DistanceUnit::Metres => DistanceUnit::Centimetres,
        }
    }
}

/// The units of both folders; the official ones by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// Of the references.
    pub reference: DistanceUnit,
    /// Of the predictions.
    pub prediction: DistanceUnit,
}

impl Default for Units {
    fn default() -> Units {
        Units { reference: DistanceUnit::Centimetres, prediction: DistanceUnit::Metres }
    }
}

impl Units {
    /// The unit of a side.
    pub(super) fn of(self, side: Side) -> DistanceUnit {
        match side {
            Side::Reference => self.reference,
            Side::Prediction => self.prediction,
        }
    }

    /// The flags that change the unit of `side` alone.
    pub(super) fn fix(self, side: Side) -> String {
        let (mut reference, mut prediction) = (self.reference, self.prediction);
        match side {
            Side::Reference => reference = reference.other(),
            Side::Prediction => prediction = prediction.other(),
        }
        match reference == prediction {
            true => format!("--distance-unit {}", reference.symbol()),
            false => {
                format!("--distance-unit {} --prediction-distance-unit {}", reference.symbol(), prediction.symbol())
            }
        }
    }
}

/// Distances of which nine of ten are below this are not in centimetres, in m.
const NEAR_M: f64 = 0.2;
/// Distances whose median is beyond this are not in metres: no room is that large, in m.
const FAR_M: f64 = 50.0;
/// Medians of both sides that differ by more than this differ by their unit.
const RATIO_MAX: f64 = 50.0;

/// Refuses the distances of one file, in m, when they can't be in the unit that they were read in.
pub(super) fn check_file(path: &Path, mut distances_m: Vec<f64>, side: Side, units: Units) -> Result<()> {
    if distances_m.is_empty() {
        return Ok(());
    }
    let last = distances_m.len() - 1;
    let mut quantile =
        |tenths: usize| *distances_m.select_nth_unstable_by((last * tenths).div_ceil(10), f64::total_cmp).1;
    let (median, ninth) = (quantile(5), quantile(9));
    let unit = units.of(side);
    let error = |what: String| Error::data(format!("{}: {what}", path.display()));
    match unit {
        DistanceUnit::Centimetres if ninth < NEAR_M => Err(error(format!(
            "nine of ten distances are at most {} cm, which is no distance in a room",
            shown(100.0 * ninth)
        ))
        .hint(format!("distances in metres: {}", units.fix(side)))),
        DistanceUnit::Metres if median > FAR_M => {
            Err(error(format!("the median distance is {} m, farther than any room", shown(median)))
                .hint(format!("distances in centimetres: {}", units.fix(side))))
        }
        DistanceUnit::Centimetres if median > FAR_M => {
            Err(error(format!("the median distance is {} cm, farther than any room", shown(100.0 * median)))
                .hint("convert the distances to cm or m"))
        }
        _ => Ok(()),
    }
}

/// Counts of distances by size, to compare the medians of two folders of any number of rows.
#[derive(Default)]
pub(super) struct Sizes {
    counts: Vec<u64>,
}

impl Sizes {
    /// Steps per doubling.
    const FINENESS: f64 = 8.0;
    /// The smallest and largest size told apart, as powers of two.
    const POWERS: [f64; 2] = [-20.0, 40.0];

    pub fn add(&mut self, distance_m: f64) {
        let [low, high] = Self::POWERS;
        self.counts.resize(((high - low) * Self::FINENESS) as usize + 1, 0);
        let power = distance_m.log2().clamp(low, high);
        self.counts[((power - low) * Self::FINENESS) as usize] += 1;
    }

    /// To within a tenth; `None` without rows.
    fn median_m(&self) -> Option<f64> {
        let total: u64 = self.counts.iter().sum();
        let mut below = 0;
        let place = self.counts.iter().position(|count| {
            below += count;
            2 * below > total
        })?;
        Some(((place as f64 + 0.5) / Self::FINENESS + Self::POWERS[0]).exp2())
    }
}

/// Refuses two folders whose distances differ by about the ratio of the units.
pub(super) fn check_ratio(reference: &Sizes, prediction: &Sizes, units: Units) -> Result<()> {
    let Some((truth, said)) = reference.median_m().zip(prediction.median_m()) else { return Ok(()) };
    let message =
        format!("the median distance is {} m in --reference, {} m in --prediction", shown(truth), shown(said));
    let Units { reference, prediction } = units;
    // Only a unit that can be mended is spoken of: a model that always says 0 has a right to its score.
    let side = match () {
        _ if said / truth > RATIO_MAX && reference == DistanceUnit::Centimetres => Side::Reference,
        _ if said / truth > RATIO_MAX => Side::Prediction,
        _ if truth / said > RATIO_MAX && prediction == DistanceUnit::Centimetres => Side::Prediction,
        _ => return Ok(()),
    };
    Err(Error::data(message).hint(format!("where one of them is in the other unit: {}", units.fix(side))))
}

/// What the azimuths and elevations of a side are like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Angles {
    rows: usize,
    fractional: usize,
    azimuth: [f64; 2],
    elevation_max: f64,
}

impl Angles {
    /// Fewest rows that say something.
    const ROWS_MIN: usize = 20;

    pub fn add(&mut self, azimuth: f64, elevation: f64) {
        let [low, high] = self.azimuth;
        self.azimuth = if self.rows == 0 { [azimuth; 2] } else { [low.min(azimuth), high.max(azimuth)] };
        self.rows += 1;
        self.fractional += usize::from(azimuth.fract() != 0.0);
        self.elevation_max = self.elevation_max.max(elevation.abs());
    }

    pub fn merge(&mut self, other: &Angles) {
        if other.rows > 0 {
            let [low, high] = other.azimuth;
            let [a, b] = self.azimuth;
            self.azimuth = if self.rows == 0 { other.azimuth } else { [a.min(low), b.max(high)] };
            self.rows += other.rows;
            self.fractional += other.fractional;
            self.elevation_max = self.elevation_max.max(other.elevation_max);
        }
    }

    /// All within the ranges of radians, most with a fraction, and spread over a good part of a turn of radians.
    fn are_radians(&self) -> bool {
        let [low, high] = self.azimuth;
        let turn = std::f64::consts::TAU;
        self.rows >= Self::ROWS_MIN
            && low >= -turn
            && high <= turn
            && high - low >= 3.0
            && self.elevation_max <= turn / 4.0
            && 2 * self.fractional > self.rows
    }

    /// Refuses a folder whose angles are all those of radians, unless everything is in front by `truth`, too.
    pub fn check(&self, flag: &str, folder: &Path, truth: Option<&Angles>) -> Result<()> {
        let is_narrow = truth.is_some_and(|truth| truth.rows > 0 && truth.azimuth.iter().all(|a| a.abs() <= 10.0));
        if !self.are_radians() || is_narrow {
            return Ok(());
        }
        let [low, high] = self.azimuth;
        let message = format!("{flag} {}: all azimuths are within {low:.2} and {high:.2}", folder.display());
        Err(Error::data(message).hint("angles are in degrees; convert those in radians"))
    }
}

/// Three digits.
fn shown(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
