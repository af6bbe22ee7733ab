//! Reading the CSV files of DCASE task 3: which there are, and every row of one, strictly.
//!
//! A header names the columns, in any order. Without one: `frame, class, azimuth, elevation`; with the source before
//! the azimuth; with the distance at the end; or `frame, class, source, x, y, z, distance`. Angles in degrees: azimuths
//! within a turn either way, elevations within 90; distances in centimetres in references and in metres in predictions
//! unless a header (`distance_cm`) or [`Units`] say otherwise. Spaces, blank lines, a byte order mark comments
//! (`#`) before the first row, whole numbers written as floats and Windows line ends are accepted; a column of
//! confidences is not looked at.

use super::angles::Angles;
use super::rows::{Event, Reader};
use super::units::{DistanceUnit, Side, Units, check_file};
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
/// The rows of one file, ordered by frame and class, otherwise as in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    pub all: Vec<Event>,
    /// Rows that were there twice: those of the reference count once, those of a prediction (distances aside) each.
    pub repeated: usize,
    /// The unit that the header names.
    pub named_unit: Option<DistanceUnit>,
    /// What the angles are like.
    pub angles: Angles,
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

/// Every row of the file at `path`; `is_exact` as in [`super::Settings`].
///
/// # Errors
/// `Data` naming file and line.
pub(super) fn read(path: &Path, side: Side, units: Units, is_exact: bool) -> Result<Events> {
    let bytes = read_limited(path, MAX_BYTES)?;
    let bad = |what: String| Error::data(format!("{}: {what}", path.display()));
    let text = std::str::from_utf8(&bytes).map_err(|e| bad(format!("byte {} is not UTF-8 text", e.valid_up_to())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let hinted = |error: Error, hint: Option<&'static str>| match hint {
        Some(hint) => error.hint(hint),
        None => error,
    };
    let mut all: Vec<Event> = Vec::new();
    let mut reader = Reader::new(side, units, is_exact);
    let lines = text.split('\n').map(|line| line.trim_matches([' ', '\r'])).enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let event =
            reader.line(line).map_err(|e| hinted(bad(format!("line {}: {}", number + 1, e.message)), e.hint))?;
        if all.len() == MAX_ROWS {
            return Err(bad(format!("more than {MAX_ROWS} rows")));
        }
        all.extend(event);
    }
    reader.finish().map_err(|e| hinted(bad(e.message), e.hint))?;
    check_file(path, all.iter().filter_map(|event| event.distance_m).collect(), side, units, reader.named_unit())?;
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
    if side == Side::Prediction {
        repeated = repetitions(&all);
    }
    Ok(Events { all, repeated, named_unit: reader.named_unit(), angles: reader.angles })
}

/// Rows in order of frame and class, each that is there more than once only once.
fn without_repetitions(all: Vec<Event>) -> Vec<Event> {
    let mut kept: Vec<Event> = Vec::with_capacity(all.len());
    let mut group = 0;
    for event in all {
        if kept.last().is_some_and(|last| (last.frame, last.class) != (event.frame, event.class)) {
            group = kept.len();
        }
        // A crowd is refused afterwards, and not compared with itself.
        if kept.len() - group > MAX_SAME || kept[group..].iter().all(|other| *other != event) {
            kept.push(event);
        }
    }
    kept
}

/// How many rows have the frame, class, source and direction of one before them.
fn repetitions(all: &[Event]) -> usize {
    let groups = all.chunk_by(|a, b| (a.frame, a.class) == (b.frame, b.class));
    let is_one = |a: &Event, b: &Event| a.source == b.source && a.direction == b.direction;
    groups.map(|same| (1..same.len()).filter(|&i| same[..i].iter().any(|a| is_one(a, &same[i]))).count()).sum()
}
