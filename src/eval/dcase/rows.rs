//! One row of a file: which column holds what, and whether its values can be that.

use super::angles::Angles;
use super::columns::Column::{Azimuth, Class, Distance, Elevation, Frame, Source, X, Y, Z};
use super::columns::{Column, Columns, ORDER, Parsed, Wrong, shortened};
use super::layout::{Layout, check_first, check_source};
use super::units::{DistanceUnit, Side, Units};
use super::{CLASSES, exact};
use crate::audio::foa;

/// Largest magnitude of a number, so that nothing overflows on the way.
const MAX_NUMBER: f64 = 1e9;
/// Largest azimuth in degrees, in either direction: files count to 180 both ways or to 360, predictions overshoot.
const AZIMUTH_MAX_DEG: f64 = 360.0;
/// Largest elevation in degrees, in either direction.
const ELEVATION_MAX_DEG: f64 = 90.0;
/// How far a prediction may overshoot the pole where it counts as for the official code, in degrees.
const OVERSHOOT_DEG: f64 = 10.0;
/// What to do about distances below 0.
const NEGATIVE: &str = "are columns shifted? Six columns without header are frame, class, source, azimuth, elevation, \
    distance, seven have x, y, z; otherwise set negative distances to 0, as the official baseline does";

/// One source in one frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub frame: u32,
    pub class: usize,
    pub source: i64,
    /// Unit vector (x front, y left, z up).
    pub direction: [f64; 3],
    /// `None` in files without distances.
    pub distance_m: Option<f64>,
}

/// Reads the rows of one file, one after the other.
pub(super) struct Reader {
    side: Side,
    units: Units,
    is_exact: bool,
    columns: Option<Columns>,
    /// Whether a row or a header was read; comments may stand before.
    has_begun: bool,
    /// Angles that were read.
    pub angles: Angles,
    layout: Layout,
}

impl Reader {
    pub fn new(side: Side, units: Units, is_exact: bool) -> Reader {
        let (angles, layout) = (Angles::default(), Layout::default());
        Reader { side, units, is_exact, columns: None, has_begun: false, angles, layout }
    }

    /// What distances are read in: what the header or the user says, or else the official unit.
    pub fn unit(&self) -> DistanceUnit {
        self.named_unit().unwrap_or_else(|| self.units.of(self.side))
    }

    /// The unit that the header names.
    pub fn named_unit(&self) -> Option<DistanceUnit> {
        self.columns.as_ref().and_then(|columns| columns.unit)
    }

    /// The event of a line; `None` for a header, which only the first line can be, and for comments before it.
    pub fn line(&mut self, line: &str) -> Parsed<Option<Event>> {
        check_marks(line)?;
        if let Some(comment) = line.strip_prefix('#').filter(|_| !self.has_begun) {
            let fields: Vec<&str> = comment.split(',').map(bare).collect();
            if Columns::are_named_by(&fields) {
                self.columns = Some(Columns::by_header(&fields, self.units.said(self.side))?);
            }
            return Ok(None);
        }
        let fields: Vec<&str> = line.split(',').map(bare).collect();
        let is_header = !self.has_begun && is_header(&fields);
        if is_header {
            self.columns = Some(Columns::by_header(&fields, self.units.said(self.side))?);
        } else if !self.has_begun {
            check_first(&fields)?;
        }
        self.has_begun = true;
        if is_header {
            return Ok(None);
        }
        let Some(columns) = &self.columns else {
            let columns = Columns::by_number(fields.len()).map_err(|e| empty_last(&fields).unwrap_or(e))?;
            self.columns = Some(columns);
            return self.event(&fields).map(Some);
        };
        if fields.len() != columns.all.len() {
            let (n, expected) = (fields.len(), columns.all.len());
            let why = if n < expected { "is the file cut off?" } else { "is there a decimal comma, or a column more?" };
            let cut = format!("{n} columns, the lines before have {expected}; {why}");
            let impossible = if columns.is_named { None } else { Columns::by_number(n).err() };
            return Err(empty_last(&fields).or(impossible).unwrap_or(cut.into()));
        }
        self.event(&fields).map(Some)
    }

    fn event(&mut self, fields: &[&str]) -> Parsed<Event> {
        let columns = self.columns.as_ref().expect("they were found before");
        let place = |column: Column| columns.at(column);
        if let Some(empty) = empty_last(fields).filter(|_| !columns.is_named) {
            return Err(empty);
        }
        let frame = integer(fields, place(Frame), "frame")?;
        let frame = u32::try_from(frame).map_err(|_| format!("frame {frame} is not within 0 and {}", u32::MAX))?;
        let class = integer(fields, place(Class), "class")?;
        let class = usize::try_from(class)
            .ok()
            .filter(|&c| c < CLASSES)
            .ok_or_else(|| Wrong::with(format!("class \"{class}\" is not within 0 and {}", CLASSES - 1), ORDER))?;
        let is_named = columns.is_named;
        if let Some(at) = place(Source).filter(|_| !is_named) {
            check_source(number(fields, Some(at), "source")?, fields.len())?;
        }
        let source = if place(Source).is_some() { integer(fields, place(Source), "source")? } else { 0 };
        let polar = [Azimuth, Elevation].map(place);
        let vector = [X, Y, Z].map(place);
        let distance = place(Distance);
        let direction = match vector[0] {
            Some(_) => self.of_vector(fields, vector)?,
            None => self.of_angles(fields, polar)?,
        };
        let distance_m = distance.map(|at| self.distance(fields, at)).transpose()?;
        if !is_named {
            // All columns of a file without header are numbers, and were read as such.
            self.layout.add(&fields.iter().filter_map(|field| field.parse().ok()).collect::<Vec<f64>>());
        }
        Ok(Event { frame, class, source, direction, distance_m })
    }

    fn of_vector(&mut self, fields: &[&str], at: [Option<usize>; 3]) -> Parsed<[f64; 3]> {
        let v = [number(fields, at[0], "x")?, number(fields, at[1], "y")?, number(fields, at[2], "z")?];
        let length = v[0].hypot(v[1]).hypot(v[2]);
        let (azimuth, elevation) = exact::angles_deg(v);
        self.angles.add_degrees(azimuth, elevation);
        if self.is_exact {
            return Ok(exact::unit_vector((azimuth, elevation)));
        }
        match length > 0.0 {
            true => Ok(v.map(|c| c / length)),
            false => Err("x, y and z are zero, which is no direction".to_string().into()),
        }
    }

    fn of_angles(&mut self, fields: &[&str], at: [Option<usize>; 2]) -> Parsed<[f64; 3]> {
        let (azimuth, elevation) = (number(fields, at[0], "azimuth")?, number(fields, at[1], "elevation")?);
        if azimuth.abs() > AZIMUTH_MAX_DEG {
            let message = format!("azimuth {azimuth} is not within -{AZIMUTH_MAX_DEG} and {AZIMUTH_MAX_DEG} degrees");
            return Err(Wrong::with(message, ORDER));
        }
        // The official code goes over the pole, and regressors do overshoot it.
        let beyond = if self.is_exact && self.side == Side::Prediction { OVERSHOOT_DEG } else { 0.0 };
        if elevation.abs() > ELEVATION_MAX_DEG + beyond {
            let message =
                format!("elevation {elevation} is not within -{ELEVATION_MAX_DEG} and {ELEVATION_MAX_DEG} degrees");
            return Err(Wrong::with(message, ORDER));
        }
        match self.columns.as_ref().is_some_and(|columns| columns.in_degrees) {
            true => self.angles.add_degrees(azimuth, elevation),
            false => self.angles.add(azimuth, elevation),
        }
        Ok(match self.is_exact {
            true => exact::unit_vector((azimuth, elevation)),
            false => foa::unit_vector(azimuth, elevation),
        })
    }

    fn distance(&mut self, fields: &[&str], at: usize) -> Parsed<f64> {
        let distance = number(fields, Some(at), "distance")?;
        let unit = self.unit();
        let shown = unit.symbol();
        if self.side == Side::Prediction && distance < 0.0 {
            let message = format!("distance {distance} {shown}: nothing is nearer than 0");
            return Err(Wrong::with(message, NEGATIVE));
        }
        if distance < 0.0 || distance == 0.0 && self.side == Side::Reference && !self.is_exact {
            let message = format!("distance {distance} {shown}: an error relative to it has no meaning");
            return Err(Wrong::with(message, ORDER));
        }
        Ok(unit.to_m(distance))
    }

    /// What the rows together give away about columns that a file without header can't name.
    pub fn finish(&self) -> Parsed<()> {
        self.layout.finish(self.side)
    }
}

/// Refuses other separators and line ends, by their names.
fn check_marks(line: &str) -> Parsed<()> {
    let refused = |message: String, hint| Err(Wrong::with(message, hint));
    if line.contains('\r') {
        return refused("lines end with carriage returns alone".into(), "write line feeds at the ends of lines");
    }
    if line.starts_with('#') {
        return Ok(());
    }
    if let Some(mark) = [';', '\t', '|'].into_iter().find(|mark| line.contains(*mark)) {
        let hint = "write them separated by commas, numbers with a decimal point";
        return refused(format!("columns are separated by {mark:?}"), hint);
    }
    if line.contains('\u{ff0c}') {
        return refused("full-width commas (U+FF0C)".into(), "write plain commas between the columns");
    }
    if line
        .contains(|c: char| ('\u{ff10}'..='\u{ff19}').contains(&c) || ['\u{ff0e}', '\u{ff0d}', '\u{2212}'].contains(&c))
    {
        return refused("full-width digits or another minus sign".into(), "write plain digits and a plain minus (-)");
    }
    let halves = |field: &str| field.trim().starts_with('"') != field.trim().ends_with('"') || field.trim() == "\"";
    if line.split(',').any(halves) {
        return refused(
            "a comma within quotes".into(),
            "write numbers with a decimal point, and no comma in thousands",
        );
    }
    if !line.contains(',') && line.contains(char::is_whitespace) {
        return refused("one column".into(), "columns are separated by commas, not by spaces");
    }
    Ok(())
}

/// A field without spaces and quotes around it.
fn bare(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).map_or(field, str::trim)
}

/// A line without a number, but with a word.
fn is_header(fields: &[&str]) -> bool {
    fields.iter().all(|field| field.parse::<f64>().is_err() || field.eq_ignore_ascii_case("nan"))
        && fields.iter().any(|field| field.chars().any(char::is_alphabetic) && !field.eq_ignore_ascii_case("nan"))
}

/// What is wrong when a line ends with a comma.
fn empty_last(fields: &[&str]) -> Option<Wrong> {
    let is_empty = fields.len() > 1 && fields.last().is_some_and(|last| last.is_empty());
    is_empty.then(|| {
        let message = format!("column {} is empty", fields.len());
        Wrong::with(message, "leave out the comma at the end of the line, or write the number that is missing")
    })
}

/// A whole number, which array libraries write as a float.
fn integer(fields: &[&str], at: Option<usize>, name: &str) -> Parsed<i64> {
    let field = at.map_or("", |at| fields[at]);
    let float = || field.parse::<f64>().ok().filter(|v| v.fract() == 0.0 && v.abs() <= MAX_NUMBER).map(|v| v as i64);
    let value = field.parse().ok().or_else(float);
    value.ok_or_else(|| format!("{name} is {:?}, a whole number is needed", shortened(field)).into())
}

fn number(fields: &[&str], at: Option<usize>, name: &str) -> Parsed<f64> {
    let field = at.map_or("", |at| fields[at]);
    let value = field.parse::<f64>().ok().filter(|v| v.abs() <= MAX_NUMBER);
    value.ok_or_else(|| format!("{name} is {:?}, a number is needed", shortened(field)).into())
}
