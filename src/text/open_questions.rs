//! Open questions with their answers in a sentence: rows of `twnm benchmark --kind align`, or others with the same fields.

use super::questions::{Id, LINE_BYTES_MAX, read_lines};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// A question with its answer in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenQuestion {
    /// Unique within the file.
    pub sample_id: String,
    /// The recording, where there is one.
    pub file_name: Option<String>,
    /// What is asked.
    pub question: String,
    /// The right answer.
    pub answer: String,
    /// Task id.
    pub task: String,
}

#[derive(Deserialize)]
struct Raw {
    sample_id: Id,
    #[serde(default)]
    file_name: Option<String>,
    question: String,
    answer: String,
    #[serde(default)]
    task: String,
}

/// Reads open questions; further columns are left alone.
///
/// # Errors
/// `Missing` without the file; `Data` naming file, line and field, or when there is no row.
pub fn read_open_questions(path: &Path) -> Result<Vec<OpenQuestion>> {
    let mut rows = Vec::new();
    read_lines(path, LINE_BYTES_MAX, |raw: Raw| {
        let Raw { sample_id, file_name, question, answer, task } = raw;
        let sample_id = sample_id.into_text();
        let key = format!("sample_id {sample_id:?}");
        rows.push(OpenQuestion { sample_id, file_name, question, answer, task });
        Ok(key)
    })?;
    match rows.is_empty() {
        true => Err(Error::data(format!("{}: no question in it", path.display()))),
        false => Ok(rows),
    }
}
