//! Reading the CSV files of DCASE task 3: which there are, and every row of one, strictly.
//!
//! Columns: `frame, class, azimuth, elevation`; with the source before the azimuth; with the distance at the end; or
//! `frame, class, source, x, y, z, distance`. Angles in degrees; distances in centimetres in references and in metres
//! in predictions. No header is expected, one is skipped; spaces, blank lines and Windows line ends are accepted.

use super::{CLASSES, exact};
use crate::audio::foa;
use crate::error::{Error, Result};
use crate::files::read_limited;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Largest file that is read: about four million rows.
const MAX_BYTES: u64 = 256 << 20;
/// Most rows of a file.
const MAX_ROWS: usize = 4_000_000;
/// Most files and folders that are looked at.
const MAX_ENTRIES: usize = 1_000_000;
/// Most rows of one class in one frame: real recordings have at most five.
const MAX_SAME: usize = 64;
/// How many columns a row may have.
const COLUMNS: std::ops::RangeInclusive<usize> = 4..=7;
/// Largest magnitude of a number, so that nothing overflows on the way.
const MAX_NUMBER: f64 = 1e9;

/// Which side of the comparison a file is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The truth; distances in centimetres.
    Reference,
    /// What is scored; distances in metres.
    Prediction,
}

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

/// The rows of one file, ordered by frame and class, otherwise as in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    pub all: Vec<Event>,
    /// Rows of the reference that were there twice and count once.
    pub repeated: usize,
}

impl Events {
    /// Whether rows have distances; `None` without rows.
    pub fn have_distance(&self) -> Option<bool> {
        self.all.first().map(|event| event.distance_m.is_some())
    }

    /// The rows of each frame that has any, in order.
    pub fn by_frame(&self) -> impl Iterator<Item = &[Event]> {
        self.all.chunk_by(|a, b| a.frame == b.frame)
    }

    /// The last frame with a row.
    pub fn last_frame(&self) -> Option<u32> {
        self.all.last().map(|event| event.frame)
    }
}

/// The CSV files below `folder` by their names without the ending.
///
/// # Errors
/// `Missing` when there is no folder or no file, `Data` when two files have one name.
pub(super) fn find(folder: &Path, flag: &str) -> Result<BTreeMap<String, PathBuf>> {
    if !folder.is_dir() {
        let what = if folder.exists() { "is not a folder" } else { "does not exist" };
        return Err(Error::missing(format!("{flag} {}: {what}", folder.display())));
    }
    let (mut found, mut seen, mut pending) = (BTreeMap::new(), BTreeSet::new(), vec![folder.to_path_buf()]);
    let mut entries = 0;
    while let Some(folder) = pending.pop() {
        let io = |e: std::io::Error| Error::io("read folder", &folder, &e);
        // A link may lead back to where it came from.
        if !seen.insert(folder.canonicalize().map_err(io)?) {
            continue;
        }
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(Error::data(format!("{flag}: more than {MAX_ENTRIES} files and folders")));
            }
            let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            let is_csv = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
            if path.is_dir() {
                pending.push(path);
            } else if is_csv && !name.starts_with('.') {
                let stem = name[..name.len() - ".csv".len()].to_string();
                if let Some(other) = found.insert(stem, path.clone()) {
                    let (a, b) = if other < path { (&other, &path) } else { (&path, &other) };
                    let both = format!("{} and {}: two files of one name", a.display(), b.display());
                    return Err(Error::data(both).hint("recordings are told apart by their file names"));
                }
            }
        }
    }
    if found.is_empty() {
        return Err(Error::missing(format!("{flag} {}: no CSV file in it", folder.display())));
    }
    Ok(found)
}

/// Every row of the file at `path`; `is_exact` as in [`super::evaluate`].
///
/// # Errors
/// `Data` naming file and line.
pub(super) fn read(path: &Path, side: Side, is_exact: bool) -> Result<Events> {
    let bytes = read_limited(path, MAX_BYTES)?;
    let bad = |what: String| Error::data(format!("{}: {what}", path.display()));
    let text = std::str::from_utf8(&bytes).map_err(|e| bad(format!("byte {} is not UTF-8 text", e.valid_up_to())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut all: Vec<Event> = Vec::new();
    let mut columns = None;
    let lines = text.split('\n').map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    for (place, (number, line)) in lines.enumerate() {
        if place == 0 && is_header(line) {
            tracing::info!("{}: its first line is a header and skipped", path.display());
            continue;
        }
        let row = Row { fields: line.split(',').map(str::trim).collect(), side, is_exact };
        let event = row.event(&mut columns).map_err(|e| {
            let error = bad(format!("line {}: {}", number + 1, e.message()));
            if e.hints_at_commas { error.hint("columns are separated by commas") } else { error }
        })?;
        if all.len() == MAX_ROWS {
            return Err(bad(format!("more than {MAX_ROWS} rows")));
        }
        all.push(event);
    }
    // Stable: within a frame and class the order of the file decides between equally cheap assignments.
    all.sort_by_key(|event| (event.frame, event.class));
    let mut repeated = 0;
    if side == Side::Reference && !is_exact {
        let before = all.len();
        all = without_repetitions(all);
        repeated = before - all.len();
    }
    let crowded = all.chunk_by(|a, b| (a.frame, a.class) == (b.frame, b.class)).find(|same| same.len() > MAX_SAME);
    if let Some(same) = crowded {
        let (n, Event { frame, class, .. }) = (same.len(), &same[0]);
        return Err(bad(format!("frame {frame} has {n} rows of class {class}, at most {MAX_SAME} are accepted")));
    }
    Ok(Events { all, repeated })
}

/// A line with as many columns as a row, none of them a number.
fn is_header(line: &str) -> bool {
    let is_name = |field: &str| field.trim().parse::<f64>().is_err() && field.chars().any(char::is_alphabetic);
    COLUMNS.contains(&line.split(',').count()) && line.split(',').all(is_name)
}

/// Rows in order of frame and class, each that is there more than once only once.
fn without_repetitions(all: Vec<Event>) -> Vec<Event> {
    let mut kept: Vec<Event> = Vec::with_capacity(all.len());
    let mut group = 0;
    for event in all {
        if kept.last().is_some_and(|last| (last.frame, last.class) != (event.frame, event.class)) {
            group = kept.len();
        }
        if kept[group..].iter().all(|other| *other != event) {
            kept.push(event);
        }
    }
    kept
}

/// What is wrong with a row.
struct Wrong {
    message: String,
    hints_at_commas: bool,
}

impl Wrong {
    fn message(&self) -> &str {
        &self.message
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Wrong {
        Wrong { message, hints_at_commas: false }
    }
}

struct Row<'a> {
    fields: Vec<&'a str>,
    side: Side,
    is_exact: bool,
}

impl Row<'_> {
    /// The row; all rows of a file have as many columns.
    fn event(&self, columns: &mut Option<usize>) -> std::result::Result<Event, Wrong> {
        let n = self.fields.len();
        if !COLUMNS.contains(&n) {
            let message = format!("{n} columns, 4 to 7 are accepted");
            return Err(Wrong { message, hints_at_commas: n == 1 });
        }
        let expected = *columns.get_or_insert(n);
        if n != expected {
            return Err(format!("{n} columns, the lines before have {expected}; is the file cut off?").into());
        }
        let frame = self.integer(0, "frame")?;
        let frame = u32::try_from(frame).map_err(|_| format!("frame {frame} is not within 0 and {}", u32::MAX))?;
        let class = self.integer(1, "class")?;
        let class = usize::try_from(class).ok().filter(|&c| c < CLASSES);
        let class = class.ok_or_else(|| format!("class {:?} is not within 0 and {}", self.fields[1], CLASSES - 1))?;
        let source = if n == 4 { 0 } else { self.integer(2, "source")? };
        Ok(Event { frame, class, source, direction: self.direction()?, distance_m: self.distance()? })
    }

    fn direction(&self) -> std::result::Result<[f64; 3], String> {
        if self.fields.len() == 7 {
            let v = [self.number(3, "x")?, self.number(4, "y")?, self.number(5, "z")?];
            if self.is_exact {
                return Ok(exact::unit_vector(exact::angles_deg(v)));
            }
            let length = v[0].hypot(v[1]).hypot(v[2]);
            return match length > 0.0 {
                true => Ok(v.map(|c| c / length)),
                false => Err("x, y and z are zero, which is no direction".into()),
            };
        }
        let at = if self.fields.len() == 4 { 2 } else { 3 };
        let (azimuth_deg, elevation_deg) = (self.number(at, "azimuth")?, self.number(at + 1, "elevation")?);
        Ok(match self.is_exact {
            true => exact::unit_vector((azimuth_deg, elevation_deg)),
            false => foa::unit_vector(azimuth_deg, elevation_deg),
        })
    }

    fn distance(&self) -> std::result::Result<Option<f64>, String> {
        let n = self.fields.len();
        if n < 6 {
            return Ok(None);
        }
        let distance = self.number(n - 1, "distance")?;
        if self.side == Side::Prediction {
            return Ok(Some(distance));
        }
        if distance < 0.0 || distance == 0.0 && !self.is_exact {
            return Err(format!("distance {distance} cm: the error relative to it has no meaning"));
        }
        Ok(Some(distance / 100.0))
    }

    fn integer(&self, column: usize, name: &str) -> std::result::Result<i64, String> {
        let field = self.fields[column];
        field.parse().map_err(|_| format!("{name} is {:?}, a whole number is needed", shortened(field)))
    }

    fn number(&self, column: usize, name: &str) -> std::result::Result<f64, String> {
        let field = self.fields[column];
        let value = field.parse::<f64>().ok().filter(|v| v.abs() <= MAX_NUMBER);
        value.ok_or_else(|| format!("{name} is {:?}, a number is needed", shortened(field)))
    }
}

fn shortened(field: &str) -> String {
    field.chars().take(40).collect()
}
