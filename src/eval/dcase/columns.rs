//! Which column holds what: by a header's names, or by the number of columns.

use super::units::DistanceUnit;

/// What to look at when values are in the wrong columns.
pub(super) const ORDER: &str = "columns are frame, class, source, azimuth, elevation, distance: is there a row index \
    in front, or are they those of DCASE 2025 (azimuth, distance, onscreen), which has no elevation?";
/// Words of a header that say nothing about a unit or a scale.
const PLAIN: [&str; 15] = [
    "in",
    "int",
    "integer",
    "float",
    "angle",
    "est",
    "estimated",
    "pred",
    "predicted",
    "ref",
    "reference",
    "gt",
    "label",
    "value",
    "source",
];
/// Words for degrees in the name of an angle.
const DEGREES: [&str; 4] = ["deg", "degs", "degree", "degrees"];

/// What is wrong with a row or a header, and what may help.
pub(super) struct Wrong {
    pub message: String,
    pub hint: Option<&'static str>,
}

impl Wrong {
    pub fn with(message: impl Into<String>, hint: &'static str) -> Wrong {
        Wrong { message: message.into(), hint: Some(hint) }
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Wrong {
        Wrong { message, hint: None }
    }
}

pub(super) type Parsed<T> = std::result::Result<T, Wrong>;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
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
    /// How sure a model is: not looked at.
    Confidence,
    /// The row's number, written by a table library: not looked at.
    Index,
}

use Column::{Azimuth, Class, Confidence, Distance, Elevation, Frame, Index, OnScreen, Source, X, Y, Z};

/// The columns of a file.
pub(super) struct Columns {
    pub all: Vec<Column>,
    /// Without a header their number alone decides.
    pub is_named: bool,
    /// The unit that the header gives distances.
    pub unit: Option<DistanceUnit>,
    /// Whether the header says that azimuths are in degrees.
    pub in_degrees: bool,
}

impl Columns {
    /// Those of a file without header.
    pub fn by_number(n: usize) -> Parsed<Columns> {
        let all: &[Column] = match n {
            4 => &[Frame, Class, Azimuth, Elevation],
            5 => &[Frame, Class, Source, Azimuth, Elevation],
            6 => &[Frame, Class, Source, Azimuth, Elevation, Distance],
            7 => &[Frame, Class, Source, X, Y, Z, Distance],
            _ => return Err(Wrong::with(format!("{n} columns, 4 to 7 are accepted without a header"), ORDER)),
        };
        Ok(Columns { all: all.to_vec(), is_named: false, unit: None, in_degrees: false })
    }

    /// Those that a header names; `unit` is what the user says that distances are in.
    pub fn by_header(names: &[&str], unit: Option<DistanceUnit>) -> Parsed<Columns> {
        let named = names.iter().map(|name| Named::new(name, unit)).collect::<Parsed<Vec<Named>>>()?;
        let all: Vec<Column> = named.iter().map(|named| named.column).collect();
        let has = |column: Column| all.contains(&column);
        let twice = (1..all.len()).find(|&i| all[i] != Confidence && all[..i].contains(&all[i]));
        if let Some(i) = twice {
            let message = format!("column {:?} is there twice, as {:?} too", shortened(names[i]), all[i]);
            return Err(Wrong::with(message, "name each column once"));
        }
        let polar = has(Azimuth) || has(Elevation);
        let cartesian = has(X) || has(Y) || has(Z);
        if has(OnScreen) && has(Azimuth) && !has(Elevation) {
            let message = "column \"onscreen\" and no elevation: files of DCASE 2025 (stereo) are not scored";
            let hint = "they have another metric; files of 2024 have the columns frame, class, source, azimuth, elevation, \
                distance";
            return Err(Wrong::with(message, hint));
        }
        if polar && cartesian {
            let message = "columns for angles and for x, y, z";
            return Err(Wrong::with(message, "keep azimuth and elevation, or x, y and z"));
        }
        let needed: &[Column] = if cartesian { &[Frame, Class, X, Y, Z] } else { &[Frame, Class, Azimuth, Elevation] };
        if let Some(missing) = needed.iter().find(|&&column| !has(column)) {
            return Err(Wrong::with(
                format!("the header names no column {}", format!("{missing:?}").to_lowercase()),
                "columns are frame, class, source, azimuth, elevation (or x, y, z), distance, in any order",
            ));
        }
        let unit = named.iter().find_map(|named| named.unit);
        let in_degrees = named.iter().any(|named| named.column == Azimuth && named.in_degrees);
        Ok(Columns { all, is_named: true, unit, in_degrees })
    }

    /// Whether a comment is a header all the same, as array libraries write it: two of its fields or more name columns.
    pub fn are_named_by(fields: &[&str]) -> bool {
        let named = fields.iter().filter_map(|field| Named::new(field, None).ok());
        fields.len() >= 4 && named.filter(|named| named.column != Index).count() >= 2
    }

    pub fn at(&self, column: Column) -> Option<usize> {
        self.all.iter().position(|&other| other == column)
    }
}

/// What one name of a header says.
struct Named {
    column: Column,
    unit: Option<DistanceUnit>,
    in_degrees: bool,
}

impl Named {
    fn new(name: &str, unit: Option<DistanceUnit>) -> Parsed<Named> {
        let lower = name.to_lowercase();
        let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let column = meaning(&words).ok_or_else(|| {
            let message = format!("column {:?} is not known", shortened(name));
            let hint = "leave it out, or name it frame, class, source, azimuth, elevation, x, y, z or distance";
            Wrong::with(message, hint)
        })?;
        let mut named = Named { column, unit: None, in_degrees: lower.contains('°') };
        match column {
            Azimuth | Elevation => named.see_angle(name, &words)?,
            Distance => named.see_distance(name, &words, unit)?,
            Frame => see_frame(name, &words)?,
            _ => (),
        }
        Ok(named)
    }

    fn see_angle(&mut self, name: &str, words: &[&str]) -> Parsed<()> {
        let rest = words.iter().filter(|word| !["az", "el"].contains(word) && !PLAIN.contains(word));
        for word in rest.filter(|word| !word.starts_with("azi") && !word.starts_with("ele")) {
            match *word {
                word if DEGREES.contains(&word) => self.in_degrees = true,
                "rad" | "rads" | "radian" | "radians" => {
                    return Err(Wrong::with(
                        format!("column {:?} is in radians", shortened(name)),
                        "angles are in degrees",
                    ));
                }
                word => {
                    let message = format!("column {:?}: {:?} is no known unit", shortened(name), shortened(word));
                    return Err(Wrong::with(message, "angles are in degrees; name them azimuth and elevation"));
                }
            }
        }
        Ok(())
    }

    fn see_distance(&mut self, name: &str, words: &[&str], unit: Option<DistanceUnit>) -> Parsed<()> {
        let rest = words.iter().filter(|word| !PLAIN.contains(word));
        for word in rest.filter(|word| !["dist", "dists", "distance", "distances"].contains(word)) {
            self.unit = Some(match *word {
                "cm" | "centimetres" | "centimeters" | "centimetre" | "centimeter" => DistanceUnit::Centimetres,
                "m" | "metres" | "meters" | "metre" | "meter" => DistanceUnit::Metres,
                word => {
                    let message = format!("column {:?}: {:?} is no known unit", shortened(name), shortened(word));
                    return Err(Wrong::with(
                        message,
                        "distances are in cm or m: name the column distance_cm or distance_m",
                    ));
                }
            });
        }
        match self.unit.zip(unit).filter(|(named, said)| named != said) {
            Some((named, said)) => {
                let (named, said) = (named.symbol(), said.symbol());
                let message = format!("column {:?} is in {named}, but read in {said}", shortened(name));
                Err(Wrong::with(
                    message,
                    "a header is believed without --distance-unit and --prediction-distance-unit; leave the flag out, or \
                        mend the header",
                ))
            }
            None => Ok(()),
        }
    }
}

/// Times are no frames.
fn see_frame(name: &str, words: &[&str]) -> Parsed<()> {
    let times = ["s", "sec", "secs", "second", "seconds", "ms", "millisecond", "milliseconds", "time"];
    // "frame (100 ms)" says how long frames are.
    match words.iter().any(|word| times.contains(word)) && !words.contains(&"100") {
        true => Err(Wrong::with(
            format!("column {:?} is a time", shortened(name)),
            "frames are numbered from 0, 100 ms each",
        )),
        false => Ok(()),
    }
}

/// The column that the words of a header's name stand for.
fn meaning(words: &[&str]) -> Option<Column> {
    let any = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let begins = |start: &str| words.iter().any(|word| word.starts_with(start));
    Some(match words {
        [] | ["unnamed", ..] | ["index" | "idx" | "row" | "id"] | ["row", "index" | "number"] => Index,
        _ if begins("onscreen") || words == ["on", "screen"] => OnScreen,
        _ if begins("confidence") || begins("probability") || any(&["score", "scores", "prob", "conf"]) => Confidence,
        _ if begins("frame") => Frame,
        _ if begins("class") || any(&["sed"]) => Class,
        _ if begins("azi") || any(&["az"]) => Azimuth,
        _ if begins("ele") || any(&["el"]) => Elevation,
        _ if begins("dist") => Distance,
        _ if begins("source") || begins("track") => Source,
        ["x", ..] => X,
        ["y", ..] => Y,
        ["z", ..] => Z,
        _ => return None,
    })
}

pub(super) fn shortened(field: &str) -> String {
    field.chars().take(40).collect()
}
