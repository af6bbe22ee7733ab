//! One row of a file: which column holds what, and whether its values can be that.

use super::units::{Angles, DistanceUnit, Side};
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
/// Vectors are about as long as 1; what is longer than this and whole is something else.
const LENGTH_MAX: f64 = 3.0;
/// What to look at when values are in the wrong columns.
const ORDER: &str = "columns are frame, class, source, azimuth, elevation, distance: is there a row index in front, or \
    are they those of DCASE 2025 (azimuth, distance, onscreen), which has no elevation?";

/// One source in one frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub frame: u32,
    pub class: usize,
    source: i64,
    /// Unit vector (x front, y left, z up).
    pub direction: [f64; 3],
    /// `None` in files without distances.
    pub distance_m: Option<f64>,
}

/// What is wrong with a row or a header, and what may help.
pub(super) struct Wrong {
    pub message: String,
    pub hint: Option<&'static str>,
}

impl Wrong {
    fn with(message: String, hint: &'static str) -> Wrong {
        Wrong { message, hint: Some(hint) }
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Wrong {
        Wrong { message, hint: None }
    }
}

type Parsed<T> = std::result::Result<T, Wrong>;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Frame,
    Class,
    Source,
    Azimuth,
    Elevation,
    X,
    Y,
    Z,
    Distance,
    /// Whether the source is in the picture (DCASE 2025): not looked at.
    OnScreen,
    /// The row's number, written by a table library: not looked at.
    Index,
}

use Column::{Azimuth, Class, Distance, Elevation, Frame, Index, OnScreen, Source, X, Y, Z};

/// The columns of a file.
pub(super) struct Columns {
    all: Vec<Column>,
    /// Without a header their number alone decides.
    is_named: bool,
}

impl Columns {
    /// Those of a file without header.
    fn by_number(n: usize) -> Parsed<Columns> {
        let all: &[Column] = match n {
            4 => &[Frame, Class, Azimuth, Elevation],
            5 => &[Frame, Class, Source, Azimuth, Elevation],
            6 => &[Frame, Class, Source, Azimuth, Elevation, Distance],
            7 => &[Frame, Class, Source, X, Y, Z, Distance],
            _ => return Err(Wrong::with(format!("{n} columns, 4 to 7 are accepted without a header"), ORDER)),
        };
        Ok(Columns { all: all.to_vec(), is_named: false })
    }

    /// Those that a header names; `unit` is what distances are read in.
    fn by_header(names: &[&str], unit: DistanceUnit) -> Parsed<Columns> {
        let all = names.iter().map(|name| column(name, unit)).collect::<Parsed<Vec<Column>>>()?;
        let has = |column: Column| all.contains(&column);
        let twice = (1..all.len()).find(|&i| all[..i].contains(&all[i]));
        if let Some(i) = twice {
            let message = format!("column {:?} is there twice, as {:?} too", shortened(names[i]), all[i]);
            return Err(Wrong::with(message, "name each column once"));
        }
        let polar = has(Azimuth) || has(Elevation);
        let cartesian = has(X) || has(Y) || has(Z);
        if has(OnScreen) && has(Azimuth) && !has(Elevation) {
            let message =
                "column \"onscreen\" and no elevation: files of DCASE 2025 (stereo) are not scored".to_string();
            let hint = "they have another metric; files of 2024 have the columns frame, class, source, azimuth, elevation, \
                distance";
            return Err(Wrong::with(message, hint));
        }
        if polar && cartesian {
            let message = "columns for angles and for x, y, z".to_string();
            return Err(Wrong::with(message, "keep azimuth and elevation, or x, y and z"));
        }
        let needed: &[Column] = if cartesian { &[Frame, Class, X, Y, Z] } else { &[Frame, Class, Azimuth, Elevation] };
        match needed.iter().find(|&&column| !has(column)) {
            Some(missing) => Err(Wrong::with(
                format!("the header names no column {}", format!("{missing:?}").to_lowercase()),
                "columns are frame, class, source, azimuth, elevation (or x, y, z), distance, in any order",
            )),
            None => Ok(Columns { all, is_named: true }),
        }
    }

    fn at(&self, column: Column) -> Option<usize> {
        self.all.iter().position(|&other| other == column)
    }
}

/// The column that a header's name stands for.
fn column(name: &str, unit: DistanceUnit) -> Parsed<Column> {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let any = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let begins = |start: &str| words.iter().any(|word| word.starts_with(start));
    let found = match words.as_slice() {
        [] | ["unnamed", ..] | ["index" | "idx" | "row" | "id"] | ["row", "index" | "number"] => Index,
        _ if begins("onscreen") || words == ["on", "screen"] => OnScreen,
        _ if begins("frame") => Frame,
        _ if begins("class") || any(&["sed"]) => Class,
        _ if begins("source") || begins("track") => Source,
        _ if begins("azi") || any(&["az"]) => Azimuth,
        _ if begins("ele") || any(&["el"]) => Elevation,
        _ if begins("dist") => Distance,
        ["x", ..] => X,
        ["y", ..] => Y,
        ["z", ..] => Z,
        _ => {
            let message = format!("column {:?} is not known", shortened(name));
            let hint = "leave it out, or name it frame, class, source, azimuth, elevation, x, y, z or distance";
            return Err(Wrong::with(message, hint));
        }
    };
    if any(&["rad", "rads", "radian", "radians"]) {
        return Err(Wrong::with(format!("column {:?} is in radians", shortened(name)), "angles are in degrees"));
    }
    let said = match () {
        _ if found != Distance => None,
        _ if any(&["cm", "centimetres", "centimeters", "centimetre", "centimeter"]) => Some("cm"),
        _ if any(&["m", "metres", "meters", "metre", "meter"]) => Some("m"),
        _ if any(&["mm", "km", "ft", "feet"]) => Some("another unit"),
        _ => None,
    };
    match said.filter(|said| *said != unit.symbol()) {
        Some(said) => {
            let message = format!("column {:?} is in {said}, but read in {}", shortened(name), unit.symbol());
            Err(Wrong::with(message, "say what it is in with --distance-unit or --prediction-distance-unit"))
        }
        None => Ok(found),
    }
}

/// Reads the rows of one file, one after the other.
pub(super) struct Reader {
    pub side: Side,
    pub unit: DistanceUnit,
    pub is_exact: bool,
    columns: Option<Columns>,
    /// Angles that were read.
    pub angles: Angles,
    /// Rows whose x, y and z are whole, the longest of these vectors, and rows of vectors in all.
    whole_vectors: (usize, f64, usize),
    /// Whether distances of exactly 0, of exactly 1, and others occurred.
    distances: [bool; 3],
}

impl Reader {
    pub fn new(side: Side, unit: DistanceUnit, is_exact: bool) -> Reader {
        let (angles, whole_vectors) = (Angles::default(), (0, 0.0, 0));
        Reader { side, unit, is_exact, columns: None, angles, whole_vectors, distances: [false; 3] }
    }

    /// The event of a line; `None` for a header, which only the first line can be.
    pub fn line(&mut self, line: &str) -> Parsed<Option<Event>> {
        let fields: Vec<&str> = line.split(',').map(bare).collect();
        if let Some(mark) = [';', '\t', '|'].into_iter().find(|mark| line.contains(*mark)) {
            let message = format!("columns are separated by {mark:?}");
            return Err(Wrong::with(message, "write them separated by commas, numbers with a decimal point"));
        }
        if fields.len() == 1 && line.contains(char::is_whitespace) {
            return Err(Wrong::with("one column".into(), "columns are separated by commas, not by spaces"));
        }
        let Some(columns) = &self.columns else {
            let is_header = is_header(&fields);
            self.columns = Some(match is_header {
                true => Columns::by_header(&fields, self.unit)?,
                false => Columns::by_number(fields.len()).map_err(|e| empty_last(&fields).unwrap_or(e))?,
            });
            return if is_header { Ok(None) } else { self.event(&fields).map(Some) };
        };
        if fields.len() != columns.all.len() {
            let (n, expected) = (fields.len(), columns.all.len());
            let cut = format!("{n} columns, the lines before have {expected}; is the file cut off?");
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
        let source = if place(Source).is_some() { integer(fields, place(Source), "source")? } else { 0 };
        let polar = [Azimuth, Elevation].map(place);
        let vector = [X, Y, Z].map(place);
        let distance = place(Distance);
        let direction = match vector[0] {
            Some(_) => self.of_vector(fields, vector)?,
            None => self.of_angles(fields, polar)?,
        };
        let distance_m = distance.map(|at| self.distance(fields, at)).transpose()?;
        Ok(Event { frame, class, source, direction, distance_m })
    }

    fn of_vector(&mut self, fields: &[&str], at: [Option<usize>; 3]) -> Parsed<[f64; 3]> {
        let v = [number(fields, at[0], "x")?, number(fields, at[1], "y")?, number(fields, at[2], "z")?];
        let length = v[0].hypot(v[1]).hypot(v[2]);
        let (whole, longest, all) = &mut self.whole_vectors;
        *all += 1;
        if v.iter().all(|c| c.fract() == 0.0) {
            *whole += 1;
            *longest = longest.max(length);
        }
        if self.is_exact {
            return Ok(exact::unit_vector(exact::angles_deg(v)));
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
        self.angles.add(azimuth, elevation);
        Ok(match self.is_exact {
            true => exact::unit_vector((azimuth, elevation)),
            false => foa::unit_vector(azimuth, elevation),
        })
    }

    fn distance(&mut self, fields: &[&str], at: usize) -> Parsed<f64> {
        let distance = number(fields, Some(at), "distance")?;
        self.distances[if distance == 0.0 {
            0
        } else if distance == 1.0 {
            1
        } else {
            2
        }] = true;
        let unit = self.unit.symbol();
        if self.side == Side::Prediction && distance < 0.0 {
            let message = format!("distance {distance} {unit}: nothing is nearer than 0");
            return Err(Wrong::with(message, "set negative distances to 0, as the official baseline does"));
        }
        if distance < 0.0 || distance == 0.0 && self.side == Side::Reference && !self.is_exact {
            return Err(Wrong::with(
                format!("distance {distance} {unit}: an error relative to it has no meaning"),
                ORDER,
            ));
        }
        Ok(self.unit.to_m(distance))
    }

    /// What the rows together give away about columns that a file without header can't name.
    pub fn finish(&self) -> Parsed<()> {
        if self.columns.as_ref().is_none_or(|columns| columns.is_named) {
            return Ok(());
        }
        let (whole, longest, all) = self.whole_vectors;
        if whole > 0 && whole == all && longest > LENGTH_MAX {
            let message = "x, y and z are whole numbers and no unit vectors".to_string();
            let hint = "seven columns are frame, class, source, x, y, z, distance; leave out a row index in front";
            return Err(Wrong::with(message, hint));
        }
        if self.distances == [true, true, false] {
            return Err(Wrong::with("all distances are 0 or 1".into(), ORDER));
        }
        Ok(())
    }
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

fn integer(fields: &[&str], at: Option<usize>, name: &str) -> Parsed<i64> {
    let field = at.map_or("", |at| fields[at]);
    field.parse().map_err(|_| format!("{name} is {:?}, a whole number is needed", shortened(field)).into())
}

fn number(fields: &[&str], at: Option<usize>, name: &str) -> Parsed<f64> {
    let field = at.map_or("", |at| fields[at]);
    let value = field.parse::<f64>().ok().filter(|v| v.abs() <= MAX_NUMBER);
    value.ok_or_else(|| format!("{name} is {:?}, a number is needed", shortened(field)).into())
}

fn shortened(field: &str) -> String {
    field.chars().take(40).collect()
}
