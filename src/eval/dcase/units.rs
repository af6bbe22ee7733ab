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

/// The units of both folders, as the user says them; without a word, those of a file's header, or else the official
/// ones: centimetres in references and metres in predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Of the references.
    pub reference: Option<DistanceUnit>,
    /// Of the predictions.
    pub prediction: Option<DistanceUnit>,
}

impl Units {
    /// What the user says about a side.
    pub(super) fn said(self, side: Side) -> Option<DistanceUnit> {
        match side {
            Side::Reference => self.reference,
            Side::Prediction => self.prediction,
        }
    }

    /// The unit of a side's files whose header names none.
    pub(super) fn of(self, side: Side) -> DistanceUnit {
        self.said(side).unwrap_or(match side {
            Side::Reference => DistanceUnit::Centimetres,
            Side::Prediction => DistanceUnit::Metres,
        })
    }

    /// The flags that change the unit of `side` alone.
    pub(super) fn fix(self, side: Side) -> String {
        let (mut reference, mut prediction) = (self.of(Side::Reference), self.of(Side::Prediction));
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

/// Distances whose median is below this are no distances, in m.
const TINY_M: f64 = 0.05;
/// Medians beyond this, and single distances beyond the other, are rare enough to be spoken of, in m.
const LARGE_MEDIAN_M: f64 = 15.0;
const LARGE_M: f64 = 100.0;

/// Refuses the distances of one file, in m, when they can't be in the unit that they were read in: `named` by its
/// header, or that of `units`.
pub(super) fn check_file(
    path: &Path,
    mut distances_m: Vec<f64>,
    side: Side,
    units: Units,
    named: Option<DistanceUnit>,
) -> Result<()> {
    if distances_m.is_empty() {
        return Ok(());
    }
    let last = distances_m.len() - 1;
    let mut quantile =
        |tenths: usize| *distances_m.select_nth_unstable_by((last * tenths).div_ceil(10), f64::total_cmp).1;
    let (least, median, ninth) = (quantile(0), quantile(5), quantile(9));
    let error = |what: String| Error::data(format!("{}: {what}", path.display()));
    let fix = |other: &str| match named {
        Some(_) => format!("the header names {}; mend it where distances are in {other}", unit_of(named)),
        None => format!("distances in {other}: {}", units.fix(side)),
    };
    match named.unwrap_or(units.of(side)) {
        DistanceUnit::Centimetres if ninth < NEAR_M => Err(error(format!(
            "nine of ten distances are at most {} cm, which is no distance in a room",
            shown(100.0 * ninth)
        ))
        .hint(fix("metres"))),
        DistanceUnit::Metres if median > FAR_M => {
            Err(error(format!("the median distance is {} m, farther than any room", shown(median)))
                .hint(fix("centimetres")))
        }
        DistanceUnit::Centimetres if median > FAR_M => {
            Err(error(format!("the median distance is {} cm, farther than any room", shown(100.0 * median)))
                .hint("convert the distances to cm or m"))
        }
        // A prediction of 0 is what a model says that has learnt nothing, and a header is believed.
        DistanceUnit::Metres if median < TINY_M && (side == Side::Reference || least > 0.0 && named.is_none()) => {
            let message = format!("the median distance is {median:.2e} m, which is no distance in a room");
            Err(error(message).hint(
                "convert the distances to m or cm; where a model does predict so little, name the column distance_m in a \
                    header",
            ))
        }
        _ => Ok(()),
    }
}

fn unit_of(named: Option<DistanceUnit>) -> &'static str {
    named.map_or("no unit", DistanceUnit::symbol)
}

/// Counts of distances by size, to compare the medians of two folders of any number of rows.
#[derive(Default)]
pub(super) struct Sizes {
    counts: Vec<u64>,
    max_m: f64,
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
        self.max_m = self.max_m.max(distance_m);
    }

    /// What is rare in rooms but not impossible, in a line.
    pub fn warning(&self, flag: &str) -> Option<String> {
        let median = self.median_m()?;
        let what = match () {
            _ if median > LARGE_MEDIAN_M => format!("the median distance is about {median:.0} m"),
            _ if self.max_m > LARGE_M => format!("one distance is {:.0} m", self.max_m),
            _ => return None,
        };
        Some(format!("{flag}: {what}, far for a room; look whether distances are in millimetres or another unit"))
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

/// Refuses two folders whose distances differ by about the ratio of the units; `named` are those that headers name.
pub(super) fn check_ratio(sizes: [&Sizes; 2], units: Units, named: [Option<DistanceUnit>; 2]) -> Result<()> {
    let Some((truth, said)) = sizes[0].median_m().zip(sizes[1].median_m()) else { return Ok(()) };
    let message =
        format!("the median distance is {} m in --reference, {} m in --prediction", shown(truth), shown(said));
    let reference = named[0].unwrap_or(units.of(Side::Reference));
    let prediction = named[1].unwrap_or(units.of(Side::Prediction));
    // Only a unit that can be mended is spoken of: a model that always says 0 has a right to its score.
    let side = match () {
        _ if said / truth > RATIO_MAX && reference == DistanceUnit::Centimetres => Side::Reference,
        _ if said / truth > RATIO_MAX => Side::Prediction,
        _ if truth / said > RATIO_MAX && prediction == DistanceUnit::Centimetres => Side::Prediction,
        _ => return Ok(()),
    };
    let fix = match named[usize::from(side == Side::Prediction)] {
        Some(unit) => format!("mend the header that names {}", unit.symbol()),
        None => units.fix(side),
    };
    Err(Error::data(message).hint(format!("where one of them is in the other unit: {fix}")))
}

/// Three digits.
fn shown(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
