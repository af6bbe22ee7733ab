//! What became of each question: one line per question, for analyses that this program does not have.

use super::parse::{Found, Match, Reading, read_found};
use super::scenes::Scenes;
use super::sheet::{place_of, places, truth};
use crate::error::Result;
use crate::files::write_atomic;
use crate::text::questions::{Answer, Letter, Question, write_level};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// A line of `--per-question`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionRow<'a> {
    /// Which question.
    pub sample_id: &'a str,
    /// Its scene: that of `strata.jsonl`, else its recording.
    pub scene: &'a str,
    /// Task id.
    pub task: &'a str,
    /// Kind of question within the task, where it is known.
    pub kind: Option<&'a str>,
    /// 1, 2 or 3, or "extended".
    #[serde(serialize_with = "write_level")]
    pub level: u8,
    /// The option chosen, where there is exactly one.
    pub chosen: Option<Letter>,
    /// The right option.
    pub right: Letter,
    /// Whether they are the same.
    pub correct: bool,
    /// How the choice was found, or why there is none.
    pub found: Found,
    /// Number of sources, where it is known.
    pub sources: Option<usize>,
    /// Size of the room, where it is known.
    pub room_size: Option<&'a str>,
    /// Finish of the room, where it is known.
    pub room_finish: Option<&'a str>,
    /// Least direct-to-reverberant ratio in dB, where it is known.
    pub drr_db: Option<f64>,
    /// Expected accuracy of a listener who knows everything but space, where it is known.
    pub mono_ceiling: Option<f64>,
}

/// The rows of some questions in the order of their ids; `path` names the file of answers, those to other questions are
/// left alone.
///
/// # Errors
/// `Data` naming `path` and the id when an answer is to none of `all`.
pub fn per_question<'a>(
    questions: &'a [Question],
    all: &[Question],
    answers: &[Answer],
    path: &Path,
    rule: Match,
    scenes: &'a Scenes,
) -> Result<Vec<QuestionRow<'a>>> {
    let (known, mut found) = (places(all), vec![(Reading::Nothing, Found::Missing); questions.len()]);
    for answer in answers {
        let place = place_of(&known, &answer.sample_id, path)?;
        if place < questions.len() {
            found[place] = read_found(&answer.said, questions[place].options(), rule);
        }
    }
    let row = |(i, (question, (reading, found))): (usize, (&'a Question, (Reading, Found)))| {
        let stratum = scenes.stratum(i);
        QuestionRow {
            sample_id: &question.sample_id,
            scene: stratum.map_or(&question.file_name, |row| &row.scene),
            task: &question.task,
            kind: stratum.map(|row| row.kind.as_str()),
            level: question.level,
            chosen: reading.chosen(),
            right: truth(question),
            correct: reading.chosen() == Some(truth(question)),
            found,
            sources: stratum.map(|row| row.sources),
            room_size: stratum.and_then(|row| row.room_size.as_deref()),
            room_finish: stratum.and_then(|row| row.room_finish.as_deref()),
            drr_db: stratum.and_then(|row| row.drr_db),
            mono_ceiling: scenes.mono(i),
        }
    };
    let mut rows: Vec<QuestionRow> = questions.iter().zip(found).enumerate().map(row).collect();
    rows.sort_by_key(|row| row.sample_id);
    Ok(rows)
}

/// Writes rows, as a whole or not at all.
///
/// # Errors
/// `Io` naming the file.
pub fn write_per_question(path: &Path, rows: &[QuestionRow]) -> Result<()> {
    write_atomic(path, |out| {
        for row in rows {
            writeln!(out, "{}", serde_json::to_string(row).map_err(std::io::Error::other)?)?;
        }
        Ok(())
    })
}
