//! Answers of the per-option protocol: each option of a question is a statement that is true or false.

use super::questions::{ANSWER_BYTES_MAX, Id, Letter, read_lines};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// What was said about one option of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which question.
    pub sample_id: String,
    /// Which of its options.
    pub option: Letter,
    /// True, false, or words in which that has to be found.
    pub said: Judgement,
}

/// True, false, or words that were not reduced to either.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Judgement {
    /// A JSON boolean.
    Plain(bool),
    /// A JSON string.
    Text(String),
}

#[derive(Deserialize)]
struct Raw {
    sample_id: Id,
    option: String,
    answer: serde_json::Value,
}

/// Reads `{"sample_id","option":"A","answer":true | "yes"}`, one statement per line; no statement twice.
///
/// # Errors
/// `Missing` without the file; `Data` naming file, line and field.
pub fn read_statements(path: &Path) -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    read_lines(path, ANSWER_BYTES_MAX, |raw: Raw| {
        let option = Letter::parse(&raw.option)
            .ok_or_else(|| format!("option is {:?}, A, B, C or D is expected", raw.option))?;
        let said =
            Judgement::deserialize(&raw.answer).map_err(|_| "answer is neither true, false nor text".to_string())?;
        let sample_id = raw.sample_id.into_text();
        let key = format!("sample_id {sample_id:?} with option {option}");
        statements.push(Statement { sample_id, option, said });
        Ok(key)
    })?;
    if statements.is_empty() {
        return Err(Error::data(format!("{}: no judgement in it", path.display()))
            .hint("one per line is expected: {\"sample_id\": .., \"option\": \"A\", \"answer\": true}"));
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_and_bad_ones_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            read_statements(file.path())
        };
        let good =
            "{\"sample_id\":1,\"option\":\"a\",\"answer\":true}\n{\"sample_id\":1,\"option\":\"B\",\"answer\":\"no\"}";
        let statements = read(good).unwrap();
        assert_eq!((statements[0].option, &statements[0].said), (Letter::A, &Judgement::Plain(true)));
        assert_eq!((statements[1].option, &statements[1].said), (Letter::B, &Judgement::Text("no".into())));
        let bad = [
            (good.replace("\"B\"", "\"A\""), ":2: sample_id \"1\" with option A stands in line 1 already"),
            (good.replace("\"B\"", "\"E\""), ":2: option is \"E\""),
            (good.replace("\"no\"", "1"), ":2: answer is neither"),
            (good.replace(",\"answer\":true", ""), ":1: missing field `answer`"),
        ];
        for (text, expected) in bad {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
