//! Training rows from JSONL files, ours and those of others: recognised by their fields, or named.

pub use super::row_forms::{Content, Form, Recording, question_with_options};

use super::row_forms::content;
use crate::error::{Error, Result};
use crate::files::open_regular;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longest line, in bytes.
pub const LINE_BYTES_MAX: u64 = 1 << 20;
/// Most names of unknown fields that are counted.
const UNKNOWN_MAX: usize = 64;

/// A training row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// File and line, for messages.
    pub place: String,
    /// What it says.
    pub content: Content,
}

/// The rows of a file, read one by one; stops after an error.
pub struct Rows {
    path: PathBuf,
    form: Option<Form>,
    reader: BufReader<File>,
    line: usize,
    rows: usize,
    is_over: bool,
    unknown: BTreeMap<String, usize>,
}

impl Rows {
    /// Opens a file. Without a form its first row decides.
    ///
    /// # Errors
    /// `Missing` without the file, `Data` when it is no regular file.
    pub fn open(path: &Path, form: Option<Form>) -> Result<Rows> {
        let reader = BufReader::with_capacity(1 << 18, open_regular(path)?);
        let path = path.to_path_buf();
        Ok(Rows { path, form, reader, line: 0, rows: 0, is_over: false, unknown: BTreeMap::new() })
    }

    /// The form of the rows; `None` before the first.
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// Fields that no reader of this form knows, and how many rows had them so far.
    pub fn unknown(&self) -> &BTreeMap<String, usize> {
        &self.unknown
    }

    fn next_row(&mut self) -> Result<Option<Row>> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.line += 1;
            let read = (&mut self.reader).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes);
            if read.map_err(|e| Error::io("read", &self.path, &e))? == 0 {
                return self.end().map(|_| None);
            }
            let place = format!("{}:{}", self.path.display(), self.line);
            let bad = |why: String| Error::data(format!("{place}: {why}"));
            if bytes.len() as u64 > LINE_BYTES_MAX {
                return Err(bad(format!("longer than {LINE_BYTES_MAX} bytes")));
            }
            let text = std::str::from_utf8(&bytes).map_err(|_| bad("not UTF-8".into()))?;
            let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
            if text.trim().is_empty() {
                continue;
            }
            let row: Map<String, Value> =
                serde_json::from_str(text).map_err(|e| another_form(bad(e.to_string()), text))?;
            let form = match self.form {
                Some(form) => form,
                None => Form::of(&row).ok_or_else(|| bad(unrecognised(&row)).hint(known()))?,
            };
            self.form = Some(form);
            for name in form.unknown(&row) {
                if self.unknown.contains_key(name) || self.unknown.len() < UNKNOWN_MAX {
                    *self.unknown.entry(name.clone()).or_default() += 1;
                }
            }
            let content =
                content(form, &row).map_err(|why| bad(format!("as {} row: {why}", form.name())).hint(known()))?;
            self.rows += 1;
            return Ok(Some(Row { place, content }));
        }
    }

    /// Says once what was left unread.
    fn end(&self) -> Result<()> {
        if self.rows == 0 {
            return Err(Error::data(format!("{}: no row in it", self.path.display())));
        }
        if !self.unknown.is_empty() {
            let names: Vec<String> =
                self.unknown.iter().map(|(name, count)| format!("{name:?} ({count} rows)")).collect();
            let form = self.form.map_or("", Form::name);
            tracing::warn!(
                "{}: fields that {form} rows do not have are not read: {}",
                self.path.display(),
                names.join(", ")
            );
        }
        Ok(())
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;
    fn next(&mut self) -> Option<Result<Row>> {
        if self.is_over {
            return None;
        }
        let next = self.next_row();
        self.is_over = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

fn known() -> String {
    let names: Vec<&str> = Form::ALL.iter().map(|form| form.name()).collect();
    format!("forms of rows: {}; name one if the fields mislead", names.join(", "))
}

fn unrecognised(row: &Map<String, Value>) -> String {
    let names: Vec<String> =
        row.keys().take(6).map(|name| format!("{:?}", name.chars().take(40).collect::<String>())).collect();
    format!(
        "no form of rows has the fields {}",
        if names.is_empty() { "of an empty object".into() } else { names.join(", ") }
    )
}

/// The error of a line that is no object, with what the file may be instead.
fn another_form(error: Error, line: &str) -> Error {
    match line.trim().chars().next() {
        Some('[') => error.hint("a JSON array: one object per line is needed, `jq -c '.[]' FILE` writes it so"),
        Some('{') => error.hint("each line is one whole JSON object; `jq -c . FILE` writes it so"),
        _ => error.hint("each line is one JSON object"),
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
