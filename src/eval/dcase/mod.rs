//! The scores of DCASE 2024 task 3: sound event localization and detection with distances, frame by frame.
//!
//! In every frame the predictions and the references of a class are paired so that the angles between them sum to the
//! least; K pairs. A pair is a hit unless it is more than 20 degrees apart or its distance is wrong by more than the
//! reference's own. Per class over all frames and files, with R references and P predictions:
//! * `f20` = hits / (hits + misplaced + (false alarms + misses) / 2);
//! * `doa_error_deg`, `distance_error_m`, `relative_distance_error`: means over all pairs, hits or not;
//! * `localization_recall` = pairs / R; `seld_score` = mean(1 - f20, angle / 180, relative distance error);
//! * `er`, over all classes: per frame the larger of misses and of misplaced and false alarms, over the references.
//!
//! Scores are plain means over classes; intervals are jackknives over files.
//!
//! With `exact` the numbers are those of the official code at its release, peculiarities included. (A later revision
//! averages only over classes whose F rounds to more than 0, and keeps one of several rows with one source number.)
//!
//! | | exact | default |
//! |---|---|---|
//! | frames | up to, and without, the last labelled one | all |
//! | a class that never occurs | counts with F20 and recall 0 | is left out of the means |
//! | a reference without prediction file | is left out | is missed |
//! | equal directions | 0.0008 degrees apart | 0 degrees apart |
//! | a pair of whole-degree labels 20 degrees apart | misplaced | a hit |
//! | a row that a reference holds twice | two sources | one |
//! | a vector of length 0, a reference distance of 0 | the front; an error of 10^16 | refused |
//!
//! Where several assignments cost the same but for rounding (two references in one direction), the official choice
//! depends on the arc cosine of its machine: NumPy's with AVX-512 differs from libm's in the last digit. This one is
//! libm's.
//!
//! When one side has no distances (files of 4 or 5 columns), directions alone decide, and the SELD score is that of
//! 2023: mean(er, 1 - f20, angle / 180, 1 - recall).

mod angles;
#[cfg(test)]
mod column_tests;
mod columns;
mod exact;
mod files;
mod jackknife;
mod layout;
#[cfg(test)]
mod layout_tests;
mod rows;
mod score;
#[cfg(test)]
mod tests;
mod units;

use crate::error::{Error, Result};
use crate::table::Table;
use angles::Angles;
use files::Events;
use score::{METRICS, Rules, Scores, Sums};
use serde_json::{Map, Value, json};
use std::path::Path;
use units::{Side, Sizes};

pub use units::{DistanceUnit, Units};

/// Number of classes of the task.
pub const CLASSES: usize = 13;

/// The classes of STARSS23 by their numbers.
pub const CLASS_NAMES: [&str; CLASSES] = [
    "female speech",
    "male speech",
    "clapping",
    "telephone",
    "laughter",
    "domestic sounds",
    "footsteps",
    "door",
    "music",
    "instrument",
    "water tap",
    "bell",
    "knock",
];

/// What the columns of [`Outcome::to_table`] mean.
pub const TABLE_NOTE: &str = "F20: F-score of pairs at most 20 degrees and 100 % of the distance apart; DOA error in \
    degrees, distance error in m and relative to the distance: over all pairs of a class; recall: references with a \
    partner; SELD: mean of 1 - F20, DOA error / 180 and relative distance. all: mean over classes; 95 %: jackknife over \
    files.";

/// The scores of a folder of predictions.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Files that were counted.
    pub files: usize,
    /// References without a prediction file, by name.
    pub unpredicted: Vec<String>,
    /// As in [`Settings`].
    pub is_exact: bool,
    /// Whether both sides have distances.
    pub with_distance: bool,
    scores: Scores,
    /// Per score, then per class and score.
    intervals: [[f64; 2]; METRICS.len()],
    class_intervals: [[[f64; 2]; METRICS.len()]; CLASSES],
}

/// How folders are read and counted; the official units, and this program's way of counting, by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// As the official code does (see the module).
    pub is_exact: bool,
    /// What distances are written in.
    pub units: Units,
}

/// Scores the CSV files below `prediction` against those below `reference`, told apart by file name. The result does
/// not depend on the order of files.
///
/// # Errors
/// `Missing`: no folder or no CSV file in it. `Data`: a prediction without reference, two files of one name, columns,
/// units or a row that are not as above, by file and line.
pub fn evaluate(reference: &Path, prediction: &Path, settings: Settings) -> Result<Outcome> {
    let Settings { is_exact, units } = settings;
    let references = files::find(reference, "--reference")?;
    let predictions = files::find(prediction, "--prediction")?;
    if let Some((name, path)) = predictions.iter().find(|(name, _)| !references.contains_key(*name)) {
        return Err(Error::data(format!("{}: there is no reference {name}.csv", path.display()))
            .hint(format!("every prediction needs a file of the same name below {}", reference.display())));
    }
    let (mut sums, mut unpredicted) = (Vec::new(), Vec::new());
    let mut sides = [Seen::default(), Seen::default()];
    // A file that looks like radians is spoken of only where the whole folder does not.
    let mut odd = Ok(());
    for (name, path) in &references {
        let found = predictions.get(name);
        if found.is_none() {
            unpredicted.push(name.clone());
            if is_exact {
                continue;
            }
        }
        let truth = files::read(path, Side::Reference, units, is_exact)?;
        let said = match found {
            Some(path) => files::read(path, Side::Prediction, units, is_exact)?,
            None => Events::default(),
        };
        odd = odd.and_then(|()| truth.angles.check_file(path, &said.angles, Side::Reference));
        sides[0].see(&truth, path)?;
        if let Some(path) = found {
            odd = odd.and_then(|()| said.angles.check_file(path, &truth.angles, Side::Prediction));
            sides[1].see(&said, path)?;
        }
        // A side without rows makes no pairs, so what it would decide does not matter.
        let with_distance = [&truth, &said].iter().all(|events| events.have_distance().unwrap_or(true));
        sums.push(Sums::of(&truth, &said, Rules { is_exact, with_distance }));
    }
    let [truth, said] = &sides;
    truth.angles.check("--reference", reference, None)?;
    said.angles.check("--prediction", prediction, Some(&truth.angles))?;
    odd?;
    units::check_ratio([&truth.sizes, &said.sizes], units, [truth.named_unit, said.named_unit])?;
    warn(truth, said);
    let with_distance = sides.iter().all(|side| side.have_distance.is_none_or(|have| have));
    Ok(Outcome::of(&sums, unpredicted, Rules { is_exact, with_distance }))
}

/// Says what is no error but hardly meant, each in a line.
fn warn(truth: &Seen, said: &Seen) {
    match (truth.rows, said.rows) {
        (0, 0) => tracing::warn!("no file of either side has a row: there is nothing to score; look at the folders"),
        (0, _) => {
            tracing::warn!("--reference: no file has a row, so every prediction is a false alarm; look at the folder")
        }
        _ => (),
    }
    if truth.repeated > 0 {
        tracing::warn!("{} rows of the reference are there twice and count once", truth.repeated);
    }
    if said.repeated > 0 {
        tracing::warn!(
            "{} rows of the prediction are there twice (frame, class, source and direction) and count each: remove them",
            said.repeated
        );
    }
    for (side, flag) in [(truth, "--reference"), (said, "--prediction")] {
        if let Some(line) = side.sizes.warning(flag) {
            tracing::warn!("{line}");
        }
    }
}

/// What the files of one side have in common.
#[derive(Default)]
struct Seen {
    /// All have distances, or none.
    have_distance: Option<bool>,
    sizes: Sizes,
    angles: Angles,
    rows: usize,
    repeated: usize,
    /// The unit that headers name, in the first file that has one.
    named_unit: Option<DistanceUnit>,
}

impl Seen {
    fn see(&mut self, events: &Events, path: &Path) -> Result<()> {
        events.all.iter().filter_map(|event| event.distance_m).for_each(|distance| self.sizes.add(distance));
        self.angles.merge(&events.angles);
        self.rows += events.all.len();
        self.repeated += events.repeated;
        self.named_unit = self.named_unit.or(events.named_unit);
        let Some(have) = events.have_distance() else { return Ok(()) };
        if *self.have_distance.get_or_insert(have) == have {
            return Ok(());
        }
        let (this, others) = if have { ("has", "have none") } else { ("has no", "have them") };
        let message = format!("{}: {this} distances, but the files before it {others}", path.display());
        Err(Error::data(message).hint("give all files of a folder 6 or 7 columns, or none of them"))
    }
}

impl Outcome {
    fn of(sums: &[Sums], unpredicted: Vec<String>, rules: Rules) -> Outcome {
        // Sums of the files before and after each: all but one of n files in n steps, without cancellation.
        let mut after = vec![Sums::default()];
        for file in sums.iter().rev() {
            after.push(file.plus(&after[after.len() - 1]));
        }
        after.reverse();
        let (mut before, mut without) = (Sums::default(), Vec::with_capacity(sums.len()));
        for (file, after) in sums.iter().zip(&after[1..]) {
            without.push(Scores::of(&before.plus(after), rules));
            before = before.plus(file);
        }
        let scores = Scores::of(&before, rules);
        let interval = |value: &dyn Fn(&Scores) -> f64| {
            jackknife::interval(value(&scores), &without.iter().map(value).collect::<Vec<f64>>())
        };
        Outcome {
            files: sums.len(),
            unpredicted,
            is_exact: rules.is_exact,
            with_distance: rules.with_distance,
            intervals: std::array::from_fn(|m| interval(&|s| s.overall[m])),
            class_intervals: std::array::from_fn(|c| std::array::from_fn(|m| interval(&|s| s.by_class[c][m]))),
            scores,
        }
    }

    /// The JSON of `twnm-eval dcase`: every score by name, `class_` and its name as a list over the classes,
    /// `jackknife_95` and `class_jackknife_95` with [low, high]; null where there is nothing to say.
    pub fn to_json(&self) -> Value {
        let pair = |range: [f64; 2]| Value::from(range.map(number).to_vec());
        let mut json = Map::new();
        for (name, value) in METRICS.iter().zip(self.scores.overall) {
            json.insert(name.to_string(), number(value));
        }
        let (mut overall, mut by_class) = (Map::new(), Map::new());
        for (m, name) in METRICS.iter().enumerate() {
            overall.insert(name.to_string(), pair(self.intervals[m]));
            if m > 0 {
                let list: Vec<Value> = self.scores.by_class.iter().map(|scores| number(scores[m])).collect();
                json.insert(format!("class_{name}"), list.into());
                let list: Vec<Value> = self.class_intervals.iter().map(|class| pair(class[m])).collect();
                by_class.insert(name.to_string(), list.into());
            }
        }
        json.insert("jackknife_95".into(), overall.into());
        json.insert("class_jackknife_95".into(), by_class.into());
        json.insert("class_names".into(), json!(CLASS_NAMES));
        json.insert("exact".into(), self.is_exact.into());
        json.insert("with_distance".into(), self.with_distance.into());
        json.insert("files".into(), self.files.into());
        json.insert("references_without_prediction".into(), self.unpredicted.len().into());
        json.into()
    }

    /// The table for people: all classes with intervals, then every class.
    pub fn to_table(&self) -> Table {
        let header = ["class", "F20", "DOA error", "distance", "relative distance", "recall", "SELD"];
        let digits = [3, 1, 2, 3, 3, 3];
        let cells = |scores: &[f64; METRICS.len()]| -> Vec<String> {
            (1..METRICS.len()).zip(digits).map(|(m, digits)| shown(scores[m], digits)).collect()
        };
        let ranges = (1..METRICS.len()).zip(digits).map(|(m, digits)| {
            let [low, high] = self.intervals[m].map(|v| shown(v, digits));
            if low == "-" { low } else { format!("{low} .. {high}") }
        });
        let row = |name: &str, cells: Vec<String>| [vec![name.to_string()], cells].concat();
        let mut rows = vec![row("all", cells(&self.scores.overall)), row("  95 %", ranges.collect())];
        for (class, name) in CLASS_NAMES.iter().enumerate() {
            rows.push(row(name, cells(&self.scores.by_class[class])));
        }
        let mode = if self.is_exact { "as the official code counts" } else { "all frames" };
        let caption = format!("{} files, {mode}; error rate {}", self.files, shown(self.scores.overall[0], 3));
        Table { caption, header: header.map(String::from).to_vec(), rows }
    }
}

fn number(value: f64) -> Value {
    if value.is_finite() { value.into() } else { Value::Null }
}

fn shown(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".into() }
}
