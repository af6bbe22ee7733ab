//! Which questions are about one scene, and what the scenes are like.

use super::parse::Reading;
use super::sheet::{places, truth};
use crate::error::{Error, Result};
use crate::eval::clusters::{Clustering, Tally};
use crate::eval::statistics::Share;
use crate::text::questions::{EXTENDED_LEVEL, Question};
use crate::text::strata::{STRATA_FILE, Stratum, read_strata};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Direct-to-reverberant ratios in dB at which one part ends and the next begins: around 0, where direct sound and
/// reverberation are equally strong, in steps of a factor of two in amplitude. Fixed, so that sets compare.
const DRR_STEPS_DB: [f64; 3] = [-6.0, 0.0, 6.0];
const DRR_NAMES: [&str; 4] = ["below -6 dB", "-6 to 0 dB", "0 to 6 dB", "6 dB and more"];
/// What is listed where a value is not known.
const UNKNOWN: &str = "unknown";
/// Most rows of results by stratum: more kinds are nobody's table.
pub const STRATA_ROWS_MAX: usize = 400;

/// The scenes of some questions.
#[derive(Clone, Debug)]
pub struct Scenes {
    /// Number of the scene of each question.
    of: Vec<usize>,
    /// How they were told apart.
    clustering: Clustering,
    /// One per question, in their order, where they are known.
    strata: Option<Vec<Stratum>>,
}

/// The share of one part of the questions, and what the mono ceiling has there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StratumScore {
    /// What divides the questions: `sources`, `room_size`, `room_finish`, `drr_db` or `kind`.
    pub by: String,
    /// Which part.
    pub value: String,
    /// Accuracy.
    #[serde(flatten)]
    pub share: Share,
    /// Expected accuracy of a listener who knows everything but space.
    pub mono_ceiling: f64,
}

/// The `strata.jsonl` that belongs to a benchmark: beside it, or beside its folder `public`.
pub fn strata_beside(benchmark: &Path) -> Option<PathBuf> {
    let folder = benchmark.parent()?;
    let around = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "public"));
    let found = [Some(folder), around].into_iter().flatten().map(|folder| folder.join(STRATA_FILE));
    found.into_iter().find(|path| path.is_file())
}

impl Scenes {
    /// The questions that name the same recording are about one scene.
    pub fn by_recording(questions: &[Question]) -> Scenes {
        Scenes::named("file_name", questions.iter().map(|q| q.file_name.as_str()), None)
    }

    /// The scenes that a `strata.jsonl` names; its rows about other questions are left alone.
    ///
    /// # Errors
    /// As [`read_strata`]; `Data` when a question has no row, or one that excludes its answer.
    pub fn read(questions: &[Question], path: &Path) -> Result<Scenes> {
        let places = places(questions);
        let mut found: Vec<Option<Stratum>> = vec![None; questions.len()];
        for row in read_strata(path)? {
            if let Some(&place) = places.get(row.sample_id.as_str()) {
                found[place] = Some(row);
            }
        }
        let of_another = |question: &Question, what: &str| {
            Error::data(format!("{}: sample_id {:?} {what}", path.display(), question.sample_id))
                .hint("it belongs to another set: give the right one with --strata, or move it away")
        };
        let checked = questions.iter().zip(found).map(|(question, row)| match row {
            None => Err(of_another(question, "is missing")),
            Some(row) if question.answer_letter.is_some_and(|letter| !row.mono.contains(&letter)) => {
                Err(of_another(question, "excludes the right option"))
            }
            Some(row) => Ok(row),
        });
        let strata = checked.collect::<Result<Vec<Stratum>>>()?;
        let names: Vec<String> = strata.iter().map(|row| row.scene.clone()).collect();
        Ok(Scenes::named("scene", names.iter().map(String::as_str), Some(strata)))
    }

    fn named<'a>(by: &str, names: impl Iterator<Item = &'a str>, strata: Option<Vec<Stratum>>) -> Scenes {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut sizes: Vec<usize> = Vec::new();
        let number = |name: &'a str| {
            let next = numbers.len();
            let number = *numbers.entry(name).or_insert(next);
            sizes.resize(sizes.len().max(number + 1), 0);
            sizes[number] += 1;
            number
        };
        let of = names.map(number).collect();
        let largest = sizes.iter().copied().max().unwrap_or(0);
        Scenes { of, clustering: Clustering { by: by.into(), scenes: sizes.len(), largest }, strata }
    }

    /// The scenes of the first `n` questions.
    pub fn first(&self, n: usize) -> Scenes {
        let names: Vec<String> = self.of.iter().take(n).map(usize::to_string).collect();
        let strata = self.strata.as_ref().map(|rows| rows[..n.min(rows.len())].to_vec());
        Scenes::named(&self.clustering.by, names.iter().map(String::as_str), strata)
    }

    /// Number of the scene of question `i`.
    pub fn of(&self, i: usize) -> usize {
        self.of[i]
    }

    /// How scenes were told apart.
    pub fn clustering(&self) -> &Clustering {
        &self.clustering
    }

    /// What is known of the scene of question `i`.
    pub fn stratum(&self, i: usize) -> Option<&Stratum> {
        self.strata.as_ref().map(|rows| &rows[i])
    }

    /// Share that a listener who knows everything but space is expected to have right of question `i`.
    pub fn mono(&self, i: usize) -> Option<f64> {
        self.stratum(i).map(|row| 1.0 / row.mono.len() as f64)
    }

    /// Results by source count, room, DRR and kind; empty where nothing is known of the scenes. `is_right` has an entry for
    /// each question. Beside the paper's tasks those beyond them count in their kinds alone.
    pub fn scores(&self, questions: &[Question], is_right: &[bool]) -> Vec<StratumScore> {
        let mut parts: BTreeMap<(usize, usize, String), (Tally, f64)> = BTreeMap::new();
        let is_extended = |question: &Question| question.level == EXTENDED_LEVEL;
        let apart = !questions.iter().all(is_extended);
        for (i, row) in self.strata.iter().flatten().enumerate() {
            for (axis, (rank, value)) in values(&questions[i].task, row).into_iter().enumerate() {
                if apart && is_extended(&questions[i]) && AXES[axis] != "kind" {
                    continue;
                }
                let (tally, mono) = parts.entry((axis, rank, value)).or_default();
                tally.add(self.of[i], is_right[i]);
                *mono += 1.0 / row.mono.len() as f64;
            }
        }
        let score = |((axis, _, value), (tally, mono)): ((usize, usize, String), (Tally, f64))| {
            let share = Share::of(&tally);
            StratumScore { by: AXES[axis].into(), value, mono_ceiling: mono / share.n as f64, share }
        };
        parts.into_iter().map(score).collect()
    }
}

const AXES: [&str; 5] = ["sources", "room_size", "room_finish", "drr_db", "kind"];

/// The part that a question belongs to by each of [`AXES`], with its place among the parts.
fn values(task: &str, row: &Stratum) -> [(usize, String); 5] {
    let named = |order: [&str; 3], name: &Option<String>| {
        let name = name.as_deref().unwrap_or(UNKNOWN);
        (order.iter().position(|known| *known == name).unwrap_or(order.len()), name.to_string())
    };
    let ratio = |db: f64| DRR_STEPS_DB.iter().filter(|step| db >= **step).count();
    [
        (row.sources, row.sources.to_string()),
        named(["small", "medium", "large"], &row.room_size),
        named(["reflective", "moderate", "absorptive"], &row.room_finish),
        row.drr_db.map_or((4, UNKNOWN.into()), |db| (ratio(db), DRR_NAMES[ratio(db)].to_string())),
        (0, format!("{task}: {}", row.kind)),
    ]
}

/// Whether each question was answered right.
#[track_caller]
pub fn right(questions: &[Question], sheet: &[Option<Reading>]) -> Vec<bool> {
    assert_eq!(questions.len(), sheet.len(), "one entry per question");
    let is_right =
        |(question, reading): (&Question, &Option<Reading>)| reading.and_then(Reading::chosen) == Some(truth(question));
    questions.iter().zip(sheet).map(is_right).collect()
}
