//! What the rows of a file without header give away together about columns that nothing names.
//!
//! Each sign is one that rows of the expected columns don't show but by a rare chance, and a header settles it.

use super::columns::{Parsed, Wrong};
use super::units::Side;

/// Fewest rows that show a row index.
const INDEX_ROWS_MIN: usize = 4;
/// Fewest rows that show it where only a small source number in place of the azimuth does.
const INDEX_ROWS_ALIKE: usize = 6;
/// Largest source number of a file without header: recordings have a handful.
const SOURCE_MAX: f64 = 100.0;
/// Source numbers beyond this in five columns, all with positive elevations, are azimuths before distances.
const SOURCE_MANY: f64 = 20.0;
const INDEX_HINT: &str = "columns are frame, class, source, azimuth, elevation, distance: leave out the row index in \
    front, or name the columns in a header";

/// Counts over the rows of one file without header.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    columns: usize,
    rows: usize,
    last: Vec<f64>,
    index: IndexSigns,
    vectors: VectorSigns,
    /// Largest source number, and whether the last column is above 0 everywhere.
    source_max: f64,
    last_not_positive: bool,
    /// Whether distances of exactly 0, of exactly 1, and others occurred.
    distances: [bool; 3],
}

/// Signs of a first column that only counts the rows.
#[derive(Clone, Debug, Default)]
struct IndexSigns {
    is_broken: bool,
    /// Rows whose second number is that of the row before, and those of them whose third differs.
    repeats: usize,
    changes: usize,
    /// How often the second number grows.
    steps: usize,
    /// Whether a fourth number is no small whole one.
    no_source: bool,
}

/// Signs of vectors: x, y, z with a distance in seven columns, and without in six.
#[derive(Clone, Debug, Default)]
struct VectorSigns {
    whole: usize,
    longest: f64,
    /// Vectors longer than 2, and shorter than a half.
    long: usize,
    short: usize,
    /// Angles and distances that are a vector of length 1 instead.
    unit: usize,
}

impl Layout {
    /// Takes in a row of numbers.
    pub fn add(&mut self, row: &[f64]) {
        self.columns = row.len();
        if self.columns >= 5 {
            self.source_max = self.source_max.max(row[2]);
        }
        self.last_not_positive |= row.last().is_some_and(|&last| last <= 0.0);
        if self.columns >= 6 {
            let distance = row[self.columns - 1];
            self.distances[if distance == 0.0 {
                0
            } else if distance == 1.0 {
                1
            } else {
                2
            }] = true;
            self.vectors.add(&row[3..6]);
        }
        self.index.add(row, &self.last);
        self.last.clear();
        self.last.extend_from_slice(row);
        self.rows += 1;
    }

    /// What is wrong with the file.
    pub fn finish(&self, side: Side) -> Parsed<()> {
        self.finish_index()?;
        if self.columns == 7 {
            self.finish_vectors(side)?;
        }
        if self.columns == 6 && self.rows > 0 && 10 * self.vectors.unit >= 8 * self.rows {
            let message = "columns 4 to 6 are vectors of length 1, but read as azimuth, elevation, distance";
            let hint =
                "name the columns in a header: frame, class, source, x, y, z; or add the distance as the seventh";
            return Err(Wrong::with(message, hint));
        }
        if self.columns == 5 && self.source_max > SOURCE_MANY && !self.last_not_positive {
            let message = format!("source numbers up to {}, and no elevation is 0 or less", self.source_max);
            let hint = "five columns are frame, class, source, azimuth, elevation; where they are frame, class, azimuth, \
                elevation, distance, name them in a header";
            return Err(Wrong::with(message, hint));
        }
        if self.distances == [true, true, false] {
            return Err(Wrong::with("all distances are 0 or 1", super::columns::ORDER));
        }
        Ok(())
    }

    fn finish_index(&self) -> Parsed<()> {
        let IndexSigns { is_broken, repeats, changes, steps, no_source } = self.index;
        if is_broken || repeats == 0 || steps == 0 || self.columns < 5 {
            return Ok(());
        }
        // One class in several sources of a frame has its sources in place of the azimuth.
        let has_classes = self.rows >= INDEX_ROWS_MIN && 2 * changes > repeats;
        let has_sources = self.rows >= INDEX_ROWS_ALIKE && self.columns == 6 && !no_source;
        match has_classes || has_sources {
            true => Err(Wrong::with(
                "the first column counts the rows, and the second repeats and grows as frames do: a row index",
                INDEX_HINT,
            )),
            false => Ok(()),
        }
    }

    fn finish_vectors(&self, side: Side) -> Parsed<()> {
        let VectorSigns { whole, longest, long, short, .. } = self.vectors;
        let hint = "seven columns are frame, class, source, x, y, z, distance: leave out a row index in front and a \
            confidence behind, write decimal points for decimal commas, or name the columns in a header";
        if whole == self.rows && longest > 3.0 {
            return Err(Wrong::with("x, y and z are whole numbers and no unit vectors", hint));
        }
        let (odd, range) = match side {
            Side::Reference => (long + short, "between 0.5 and 2"),
            // A prediction's length may be its confidence.
            Side::Prediction => (long, "below 2"),
        };
        match 2 * odd > self.rows {
            true => {
                let message = format!(
                    "columns 4 to 6 are read as x, y, z, but {odd} of {} vectors are not {range} long",
                    self.rows
                );
                Err(Wrong::with(message, hint))
            }
            false => Ok(()),
        }
    }
}

impl IndexSigns {
    fn add(&mut self, row: &[f64], last: &[f64]) {
        self.no_source |= !(row[3].fract() == 0.0 && (0.0..=10.0).contains(&row[3]));
        let &[before, frame, class, ..] = last else {
            self.is_broken |= row[0] != 0.0 && row[0] != 1.0;
            return;
        };
        self.is_broken |= row[0] != before + 1.0 || row[1] < frame;
        self.repeats += usize::from(row[1] == frame);
        self.changes += usize::from(row[1] == frame && row[2] != class);
        self.steps += usize::from(row[1] > frame);
    }
}

impl VectorSigns {
    fn add(&mut self, v: &[f64]) {
        let length = v[0].hypot(v[1]).hypot(v[2]);
        self.whole += usize::from(v.iter().all(|c| c.fract() == 0.0));
        self.longest = self.longest.max(length);
        self.long += usize::from(length > 2.0);
        self.short += usize::from(length < 0.5);
        let fractions = v.iter().filter(|c| c.fract() != 0.0).count();
        self.unit += usize::from((0.95..=1.05).contains(&length) && fractions >= 2);
    }
}

/// Refuses the first row of a file where it is the numbers of its columns.
pub(super) fn check_first(fields: &[&str]) -> Parsed<()> {
    let counts = |fields: &[&str]| fields.iter().enumerate().all(|(i, field)| field.parse() == Ok(i));
    let is_header = fields.len() >= 4 && (counts(fields) || fields[0].is_empty() && counts(&fields[1..]));
    match is_header {
        true => Err(Wrong::with(
            format!("the first line numbers its columns, 0 to {}, and names none", fields.len() - 1),
            "leave it out (header=False in pandas), or write frame,class,source,azimuth,elevation,distance there",
        )),
        false => Ok(()),
    }
}

/// What is wrong with a source number in a file without header of `columns` columns.
pub(super) fn check_source(source: f64, columns: usize) -> Parsed<()> {
    if source.fract() == 0.0 && (0.0..=SOURCE_MAX).contains(&source) {
        return Ok(());
    }
    let what = if source.fract() == 0.0 { "within 0 and 100" } else { "a whole number" };
    let message = format!("source is \"{source}\", {what} is needed");
    let hint = match columns {
        5 => {
            "five columns without header are frame, class, source, azimuth, elevation: where they are frame, class, \
                azimuth, elevation, distance or frame, class, x, y, z, name them in a header"
        }
        _ => {
            "columns without header are frame, class, source, azimuth, elevation, distance: are they shifted? Name them in \
                a header"
        }
    };
    Err(Wrong::with(message, hint))
}
