//! Open questions whose answer is a number: how far off the answers are, in degrees, metres, seconds or counts.
//!
//! A row is a question with a whole-sentence answer (the rows of `twnm benchmark --kind align`); what is measured, and the
//! true value, are read from it as answers are ([`read_value`]). Rows whose answer is no number are left out and counted.

mod read;

pub use read::{Quantity, Value, read_value};

use crate::error::{Error, Result};
use crate::eval::clusters::Tally;
use crate::eval::report::Section;
use crate::eval::statistics::{Share, share};
use crate::table::Table;
use crate::text::open_questions::{OpenQuestion, read_open_questions};
use crate::text::questions::{Answer, Said};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Most constants that are tried as the best one.
const CONSTANTS_MAX: usize = 128;

impl Quantity {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::AzimuthDeg => "azimuth (°)",
            Quantity::ElevationDeg => "elevation (°)",
            Quantity::DistanceM => "distance (m)",
            Quantity::TimeS => "time (s)",
            Quantity::Count => "count",
        }
    }

    /// How far an answer may be off to count as right: 20 degrees of azimuth (as DCASE has it) and 10 of elevation, a fifth of
    /// a distance or time, no count.
    pub fn tolerance(self, truth: f64) -> f64 {
        match self {
            Quantity::AzimuthDeg => 20.0,
            Quantity::ElevationDeg => 10.0,
            Quantity::DistanceM | Quantity::TimeS => 0.2 * truth.abs(),
            Quantity::Count => 0.0,
        }
    }

    /// The absolute error; of azimuths the shorter way around.
    pub fn error(self, value: f64, truth: f64) -> f64 {
        match self {
            Quantity::AzimuthDeg => {
                let around = (value - truth).rem_euclid(360.0);
                around.min(360.0 - around)
            }
            _ => (value - truth).abs(),
        }
    }

    /// What a question and its answer are about; `None` where the answer is no number.
    fn of(row: &OpenQuestion) -> Option<(Quantity, f64)> {
        let text = format!("{} {}", row.task, row.question).to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let is_azimuth = has(&["azimuth", "horizontal angle"]);
        let is_elevation = !is_azimuth && has(&["elevation", "ear level", "how high"]);
        let is_count = has(&["how many", "count_objects", "number of"]);
        let by_text = [
            (Quantity::AzimuthDeg, is_azimuth),
            (Quantity::ElevationDeg, is_elevation),
            (Quantity::Count, is_count),
            (Quantity::DistanceM, has(&["distance", "how far"])),
            (Quantity::TimeS, has(&["how long", "reverberation time", "when "])),
        ];
        let (quantity, _) = by_text.into_iter().find(|(_, is)| *is)?;
        match read_value(&row.answer, quantity) {
            // A direction in words is no measured azimuth.
            Value::One(_) if quantity == Quantity::AzimuthDeg && !row.answer.contains(|c: char| c.is_ascii_digit()) => {
                None
            }
            Value::One(value) => Some((quantity, value)),
            _ => None,
        }
    }
}

/// How far off the answers of one quantity or task are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// Questions.
    pub n: usize,
    /// Answers from which one value was read.
    pub read: usize,
    /// Answers with several values or none.
    pub unparsed: usize,
    /// Questions without an answer.
    pub missing: usize,
    /// Mean absolute error of what was read.
    pub mean_error: Option<f64>,
    /// Median absolute error of what was read.
    pub median_error: Option<f64>,
    /// Share of all questions answered within the tolerance; what was not read is not.
    pub within: Share,
    /// Mean absolute error of the best constant answer to all questions.
    pub constant_error: Option<f64>,
    /// Share that a constant has within the tolerance at best.
    pub constant_within: Option<f64>,
}

/// The scores of open answers; the JSON of `twnm-eval open`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenScore {
    /// By quantity.
    pub quantities: BTreeMap<Quantity, Errors>,
    /// By task id, then quantity.
    pub tasks: BTreeMap<String, BTreeMap<Quantity, Errors>>,
    /// Rows whose answer is no number.
    pub skipped: usize,
}

/// One question: scene, what was said, what is true.
struct Judged {
    scene: usize,
    truth: f64,
    said: Option<Value>,
}

impl OpenScore {
    /// Scores `answers` to the rows of `benchmark`.
    ///
    /// # Errors
    /// As the readers; `Data` when an answer is to no row, or no row's answer is a number.
    pub fn read(benchmark: &Path, answers: &[Answer], answers_path: &Path) -> Result<OpenScore> {
        let rows = read_open_questions(benchmark)?;
        let mut said: BTreeMap<&str, &Said> = answers.iter().map(|a| (a.sample_id.as_str(), &a.said)).collect();
        let mut scenes: BTreeMap<&str, usize> = BTreeMap::new();
        let mut by_task: BTreeMap<(String, Quantity), Vec<Judged>> = BTreeMap::new();
        let mut skipped = 0;
        for row in &rows {
            let answer = said.remove(row.sample_id.as_str());
            let Some((quantity, truth)) = Quantity::of(row) else {
                skipped += 1;
                continue;
            };
            let next = scenes.len();
            let scene = *scenes.entry(row.file_name.as_deref().unwrap_or(&row.sample_id)).or_insert(next);
            let said = answer.map(|said| match said {
                Said::Text(text) => read_value(&super::answers::final_answer(text), quantity),
                Said::Letter(_) => Value::Nothing,
            });
            by_task.entry((row.task.clone(), quantity)).or_default().push(Judged { scene, truth, said });
        }
        if let Some(id) = said.keys().next() {
            return Err(Error::data(format!(
                "{}: sample_id {id:?} is no question of the benchmark",
                answers_path.display()
            )));
        }
        if by_task.is_empty() {
            return Err(Error::data(format!("{}: no answer in it is a number", benchmark.display()))
                .hint("rows with question and answer are scored, as `twnm benchmark --kind align` makes them"));
        }
        let mut tasks: BTreeMap<String, BTreeMap<Quantity, Errors>> = BTreeMap::new();
        let mut all: BTreeMap<Quantity, Vec<Judged>> = BTreeMap::new();
        for ((task, quantity), judged) in by_task {
            tasks.entry(task).or_default().insert(quantity, errors(quantity, &judged));
            all.entry(quantity).or_default().extend(judged);
        }
        let quantities = all.into_iter().map(|(quantity, judged)| (quantity, errors(quantity, &judged))).collect();
        Ok(OpenScore { quantities, tasks, skipped })
    }

    /// The scores as a table.
    pub fn section(&self) -> Section {
        let header =
            ["part", "n", "read", "missing", "mean error", "median", "best constant", "within", "constant within"];
        let mut table = Table { header: header.map(String::from).to_vec(), ..Table::default() };
        let number = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.2}"));
        let percent = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.1}", 100.0 * x));
        let mut row = |name: String, e: &Errors| {
            let counts = [e.n, e.read, e.missing].map(|n| n.to_string());
            let errors = [number(e.mean_error), number(e.median_error), number(e.constant_error)];
            let shares = [share(&e.within), percent(e.constant_within)];
            table.rows.push(std::iter::once(name).chain(counts).chain(errors).chain(shares).collect());
        };
        self.quantities.iter().for_each(|(quantity, errors)| row(quantity.name().into(), errors));
        for (task, of_task) in &self.tasks {
            of_task.iter().for_each(|(quantity, errors)| row(format!("{task}: {}", quantity.name()), errors));
        }
        let text = vec![
            "Absolute errors, of azimuths around the circle, over the answers that were read. Within: 20° of azimuth, 10° of \
             elevation, a fifth of a distance or time, the exact count; an answer that was not read is not. Intervals over \
             recordings."
                .to_string(),
            format!("{} rows are left out: their answer is no number.", self.skipped),
        ];
        Section { heading: "Numbers".into(), text, tables: vec![table], ..Section::default() }
    }
}

fn errors(quantity: Quantity, judged: &[Judged]) -> Errors {
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for Judged { scene, truth, said } in judged {
        let error = match said {
            Some(Value::One(value)) => Some(quantity.error(*value, *truth)),
            _ => None,
        };
        tally.add(*scene, error.is_some_and(|error| error <= quantity.tolerance(*truth) + 1e-9));
        found.extend(error);
    }
    found.sort_by(f64::total_cmp);
    let mean = |all: &[f64]| (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64);
    let middle = [found.len().saturating_sub(1) / 2, found.len() / 2].map(|i| found.get(i).copied());
    let (constant_error, constant_within) = best_constant(quantity, judged);
    Errors {
        n: judged.len(),
        read: found.len(),
        unparsed: judged.iter().filter(|j| j.said.is_some_and(|said| !matches!(said, Value::One(_)))).count(),
        missing: judged.iter().filter(|j| j.said.is_none()).count(),
        mean_error: mean(&found),
        median_error: middle[0].zip(middle[1]).map(|(a, b)| 0.5 * (a + b)),
        within: Share::of(&tally),
        constant_error,
        constant_within,
    }
}

/// Least mean error and largest share within the tolerance of some of the true values as the answer to all.
fn best_constant(quantity: Quantity, judged: &[Judged]) -> (Option<f64>, Option<f64>) {
    let mut truths: Vec<f64> = judged.iter().map(|j| j.truth).collect();
    truths.sort_by(f64::total_cmp);
    let tried =
        (0..CONSTANTS_MAX.min(truths.len())).map(|i| truths[i * truths.len() / CONSTANTS_MAX.min(truths.len())]);
    let n = truths.len() as f64;
    let score = |constant: f64| {
        let errors = truths.iter().map(|truth| (quantity.error(constant, *truth), quantity.tolerance(*truth)));
        errors.fold((0.0, 0.0), |(sum, within), (error, least)| {
            (sum + error / n, within + if error <= least + 1e-9 { 1.0 / n } else { 0.0 })
        })
    };
    let scores: Vec<(f64, f64)> = tried.map(score).collect();
    let least = scores.iter().map(|s| s.0).reduce(f64::min);
    (least, scores.iter().map(|s| s.1).reduce(f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn scored(rows: &[(&str, &str, &str)], answers: &[(usize, &str)]) -> Result<OpenScore> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for (i, (task, question, answer)) in rows.iter().enumerate() {
            let row = serde_json::json!({"file_name": format!("{}.wav", i / 2), "sample_id": i, "question": question, "answer": answer,
                "level": 1, "task": task});
            writeln!(file, "{row}").unwrap();
        }
        let answer =
            |(i, text): &(usize, &str)| Answer { sample_id: i.to_string(), said: Said::Text(text.to_string()) };
        OpenScore::read(file.path(), &answers.iter().map(answer).collect::<Vec<_>>(), Path::new("answers.jsonl"))
    }

    const ROWS: [(&str, &str, &str); 6] = [
        ("l1_localize_azimuth", "At what azimuth is the dog?", "The dog is at an azimuth of 350.00°."),
        ("l1_localize_azimuth", "At what azimuth is the cat?", "The cat is at an azimuth of 90.00°."),
        ("l1_estimate_distance", "How far away is the dog?", "The dog is 2.00 m away."),
        ("l1_estimate_distance", "How far away is the cat?", "The cat is 4.00 m away."),
        ("l1_count_objects", "How many sound sources are there?", "There are two sound sources."),
        ("l1_identify_event_class", "Which sounds can be heard?", "I hear rain."),
    ];

    #[test]
    fn errors_go_around_the_circle_and_units_are_converted() {
        let answers = [
            (0, "10 degrees"),
            (1, "to the left"),
            (2, "<think>5 m?</think>230 cm"),
            (3, "2 or 3 m"),
            (4, "2"),
            (5, "rain"),
        ];
        let score = scored(&ROWS, &answers).unwrap();
        let azimuth = &score.quantities[&Quantity::AzimuthDeg];
        assert_eq!((azimuth.mean_error, azimuth.median_error, azimuth.within.correct), (Some(10.0), Some(10.0), 2));
        let distance = &score.quantities[&Quantity::DistanceM];
        assert!((distance.mean_error.unwrap() - 0.3).abs() < 1e-12);
        assert_eq!((distance.read, distance.unparsed, distance.within.correct), (1, 1, 1));
        // Of 2 m and 4 m each as the constant is 1 m off in the mean, and right for one.
        assert_eq!((distance.constant_error, distance.constant_within), (Some(1.0), Some(0.5)));
        assert_eq!((score.quantities[&Quantity::Count].within.correct, score.skipped), (1, 1));
        let table = &score.section().tables[0];
        assert_eq!(table.rows.len(), 6, "three quantities, three tasks");
        assert_eq!(scored(&ROWS, &answers[..2]).unwrap().quantities[&Quantity::DistanceM].missing, 2);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let foreign = scored(&ROWS, &[(77, "2")]).unwrap_err().to_string();
        assert!(foreign.contains("\"77\"") && foreign.contains("answers.jsonl"), "{foreign}");
        assert!(scored(&ROWS[5..], &[]).unwrap_err().to_string().contains("no answer in it is a number"));
    }
}
