//! `twnm-eval dcase`: the scores of DCASE 2024 task 3 for a folder of predictions.

use super::shared::{say, say_text};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;
use twnm::error::Result;
use twnm::eval::dcase::{self, DistanceUnit, Settings, Units};
use twnm::eval::report::text_table;

/// Flags of `twnm-eval dcase`.
#[derive(ClapArgs)]
pub struct Args {
    /// Folder of reference CSV files, searched with all folders in it: frame, class, source, azimuth, elevation, and
    /// distance in cm; in the order of the header, where a file has one. Angles are in degrees; where all are so small
    /// that they look like radians, a header that names azimuth_deg says so.
    #[arg(long, value_name = "DIR")]
    reference: PathBuf,
    /// Folder of predicted CSV files of the same names: frame, class, source, then azimuth, elevation or x, y, z, and
    /// distance in m.
    #[arg(long, value_name = "DIR")]
    prediction: PathBuf,
    /// What distances of both folders are in; without it, what a header says (distance_cm, distance_m), or cm in
    /// references and m in predictions, as in official files.
    #[arg(long, value_name = "UNIT")]
    distance_unit: Option<Unit>,
    /// What distances of predictions are in, where it is another unit than that of the references.
    #[arg(long, value_name = "UNIT")]
    prediction_distance_unit: Option<Unit>,
    /// Count as the official code does, peculiarities included: the last labelled frame is left out, for one.
    #[arg(long)]
    exact: bool,
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Unit {
    Cm,
    M,
}

impl From<Unit> for DistanceUnit {
    fn from(unit: Unit) -> DistanceUnit {
        match unit {
            Unit::Cm => DistanceUnit::Centimetres,
            Unit::M => DistanceUnit::Metres,
        }
    }
}

/// Scores and prints.
pub fn run(args: Args) -> Result<()> {
    let units = Units {
        reference: args.distance_unit.map(DistanceUnit::from),
        prediction: args.prediction_distance_unit.or(args.distance_unit).map(DistanceUnit::from),
    };
    let settings = Settings { is_exact: args.exact, units };
    let outcome = dcase::evaluate(&args.reference, &args.prediction, settings)?;
    if let Some(first) = outcome.unpredicted.first() {
        let fate = if args.exact { "left out, as by the official code" } else { "all its sources are missed" };
        tracing::warn!("{} references have no prediction ({first} ..): {fate}", outcome.unpredicted.len());
    }
    if !outcome.with_distance {
        tracing::warn!("one side has no distances: directions alone decide");
    }
    if args.json {
        say(outcome.to_json())?;
    } else {
        say_text(text_table(&outcome.to_table()))?;
        say(format_args!("\n{}", dcase::TABLE_NOTE))?;
    }
    Ok(())
}
