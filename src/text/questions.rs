//! Multiple-choice questions in the official columns, the key of a public set, and answers.
//!
//! One JSON object per line. Readers take files made by others: any task id, sample ids as text or number, further
//! columns (left alone), in any order; but no row without its columns, no letter outside A to D and no id twice.

use crate::error::{Error, Result};
use crate::files::{open_regular, write_atomic};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Longest line accepted: the longest official row has fewer than 2,000 characters.
pub const LINE_BYTES_MAX: u64 = 1 << 20;
/// Longest line accepted in an answer file: a model may have talked without an end.
pub const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Most rows of one file.
pub const ROWS_MAX: usize = 5_000_000;

/// Level of the questions beyond the paper's tasks, which are reported apart.
pub const EXTENDED_LEVEL: u8 = 4;
/// Its name in a row.
pub const EXTENDED: &str = "extended";

/// A level as a row has it: its number, or [`EXTENDED`].
///
/// # Errors
/// As the serializer.
pub fn write_level<S: Serializer>(level: &u8, to: S) -> Result<S::Ok, S::Error> {
    if *level == EXTENDED_LEVEL { to.serialize_str(EXTENDED) } else { to.serialize_u8(*level) }
}

/// One of the four options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Letter {
    /// First option.
    A,
    /// Second option.
    B,
    /// Third option.
    C,
    /// Fourth option.
    D,
}

impl Letter {
    /// All letters, in order.
    pub const ALL: [Letter; 4] = [Letter::A, Letter::B, Letter::C, Letter::D];

    /// 0 for A to 3 for D.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The letter in either case, without anything around it.
    pub fn parse(text: &str) -> Option<Letter> {
        let mut chars = text.trim().chars();
        let (only, rest) = (chars.next()?, chars.next());
        let index = "ABCD".find(only.to_ascii_uppercase())?;
        rest.is_none().then(|| Letter::ALL[index])
    }
}

impl std::fmt::Display for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A question with four options (field notes 0.2: the eleven official columns, in their order).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Question {
    /// The recording, relative to the folder of the file.
    pub file_name: String,
    /// Unique within the file.
    pub sample_id: String,
    /// What is asked.
    pub question: String,
    /// First option.
    pub option_a: String,
    /// Second option.
    pub option_b: String,
    /// Third option.
    pub option_c: String,
    /// Fourth option.
    pub option_d: String,
    /// The right option; absent in a public test set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_letter: Option<Letter>,
    /// The text of the right option; absent in a public test set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_text: Option<String>,
    /// 1 perception, 2 integration, 3 reasoning; [`EXTENDED_LEVEL`] stands as "extended" in a row.
    #[serde(serialize_with = "write_level")]
    pub level: u8,
    /// Task id, for example `l2_relative_direction_between_objects`.
    pub task: String,
}

impl Question {
    /// The options in the order of their letters.
    pub fn options(&self) -> [&str; 4] {
        [&self.option_a, &self.option_b, &self.option_c, &self.option_d]
    }

    /// The same question without its answer.
    pub fn without_answer(&self) -> Question {
        Question { answer_letter: None, answer_text: None, ..self.clone() }
    }
}

/// The right answer to one question of a public set: a line of `key.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyRow {
    /// Which question.
    pub sample_id: String,
    /// The right option.
    pub answer_letter: Letter,
}

/// What a model said to one question: a line of an answer file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which question.
    pub sample_id: String,
    /// What it said: a letter alone, or text in which an answer has to be found.
    pub said: Said,
}

/// A letter, or text that was not reduced to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `answer_letter`.
    Letter(Letter),
    /// `text`.
    Text(String),
}

/// A text or a number, as text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Text(String),
    Number(i64),
}

impl Id {
    pub(super) fn into_text(self) -> String {
        match self {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        }
    }
}

#[derive(Deserialize)]
struct RawQuestion {
    file_name: String,
    sample_id: Id,
    question: String,
    option_a: String,
    option_b: String,
    option_c: String,
    option_d: String,
    #[serde(default)]
    answer_letter: Option<String>,
    #[serde(default)]
    answer_text: Option<String>,
    level: Id,
    task: String,
}

/// A row of an answer file or a key: who, and what stands in the fields.
struct RawAnswer {
    sample_id: Id,
    answer_letter: Option<String>,
    text: Option<String>,
}

/// A line of an answer file.
const ANSWER_FORM: &str = "{\"sample_id\": .., \"answer_letter\": \"B\"} or {\"sample_id\": .., \"text\": ..}";

impl RawAnswer {
    fn of(row: &Map<String, Value>) -> Result<RawAnswer, String> {
        let id = row.get("sample_id").and_then(|id| Id::deserialize(id).ok());
        let sample_id = id.ok_or_else(|| format!("no sample_id: {}", other_fields(row, ANSWER_FORM)))?;
        let text = |name: &str| match row.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("{name} is {}, a text is expected", shortened(&other.to_string()))),
        };
        Ok(RawAnswer { sample_id, answer_letter: text("answer_letter")?, text: text("text")? })
    }
}

/// The file of a benchmark: a folder stands for the `metadata.jsonl` in it, as audio folders have it.
pub fn benchmark_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("metadata.jsonl") } else { path.to_path_buf() }
}

/// Reads questions. A key given apart is laid over them with [`apply_key`].
///
/// # Errors
/// `Missing` without the file; `Data` naming file, line and field.
pub fn read_questions(path: &Path) -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    read_lines(path, LINE_BYTES_MAX, |raw: RawQuestion| {
        let question = question(raw)?;
        let key = key(&question.sample_id);
        questions.push(question);
        Ok(key)
    })?;
    if questions.is_empty() {
        return Err(Error::data(format!("{}: no question in it", path.display())));
    }
    Ok(questions)
}

fn question(raw: RawQuestion) -> Result<Question, String> {
    let level = raw.level.into_text();
    let level = match level.trim().trim_start_matches(['L', 'l']) {
        "1" => 1,
        "2" => 2,
        "3" => 3,
        EXTENDED => EXTENDED_LEVEL,
        _ => return Err(format!("level is {level:?}, 1, 2, 3 or {EXTENDED} is expected")),
    };
    let answer_letter = match raw.answer_letter.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(text) => Some(letter("answer_letter", text)?),
    };
    let question = Question {
        file_name: raw.file_name,
        sample_id: raw.sample_id.into_text(),
        question: raw.question,
        option_a: raw.option_a,
        option_b: raw.option_b,
        option_c: raw.option_c,
        option_d: raw.option_d,
        answer_letter,
        answer_text: raw.answer_text.filter(|t| !t.is_empty()),
        level,
        task: raw.task,
    };
    check_choice(&question.question, question.options(), question.answer_letter, question.answer_text.as_deref())?;
    Ok(question)
}

/// What a question with options needs, to be scored or to be learned from: no text in it is blank, and `answer_text` is the
/// option of the letter.
///
/// # Errors
/// What is wrong, naming the field.
pub fn check_choice(
    question: &str,
    options: [&str; 4],
    letter: Option<Letter>,
    answer_text: Option<&str>,
) -> Result<(), String> {
    let names = ["question", "option_a", "option_b", "option_c", "option_d"];
    let texts = std::iter::once(question).chain(options);
    if let Some((name, _)) = names.iter().zip(texts).find(|(_, text)| text.trim().is_empty()) {
        return Err(format!("{name} is empty"));
    }
    match (letter, answer_text.filter(|text| !text.is_empty())) {
        (Some(letter), Some(text)) if options[letter.index()] != text => {
            let option = options[letter.index()];
            Err(format!("answer_text {text:?} is not option {letter}, which is {option:?}"))
        }
        _ => Ok(()),
    }
}

fn letter(field: &str, text: &str) -> Result<Letter, String> {
    Letter::parse(text).ok_or_else(|| format!("{field} is {text:?}, A, B, C or D is expected"))
}

/// Reads the key of a public set.
///
/// # Errors
/// As [`read_questions`].
pub fn read_key(path: &Path) -> Result<Vec<KeyRow>> {
    let mut rows = Vec::new();
    read_lines(path, LINE_BYTES_MAX, |row: Map<String, Value>| {
        let raw = RawAnswer::of(&row)?;
        let answer_letter = letter("answer_letter", raw.answer_letter.as_deref().unwrap_or(""))?;
        let sample_id = raw.sample_id.into_text();
        let key = key(&sample_id);
        rows.push(KeyRow { sample_id, answer_letter });
        Ok(key)
    })?;
    Ok(rows)
}

/// Reads answers: `answer_letter`, or `text` (an `answer_letter` that is none counts as text).
///
/// # Errors
/// As [`read_questions`]; a row with neither field, and a file without rows, is `Data`.
pub fn read_answers(path: &Path) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    read_lines(path, ANSWER_BYTES_MAX, |row: Map<String, Value>| {
        let raw = RawAnswer::of(&row)?;
        let said = match (raw.answer_letter, raw.text) {
            (Some(text), None) => Letter::parse(&text).map_or(Said::Text(text), Said::Letter),
            (None, Some(text)) => Said::Text(text),
            (Some(_), Some(_)) => return Err("both answer_letter and text are given; give one".into()),
            (None, None) => {
                return Err(format!("neither answer_letter nor text is given: {}", other_fields(&row, ANSWER_FORM)));
            }
        };
        let sample_id = raw.sample_id.into_text();
        let key = key(&sample_id);
        answers.push(Answer { sample_id, said });
        Ok(key)
    })?;
    if answers.is_empty() {
        return Err(Error::data(format!("{}: no answer in it", path.display()))
            .hint(format!("one answer per line is expected: {ANSWER_FORM}")));
    }
    Ok(answers)
}

/// Writes answers in the form that [`read_answers`] takes, as a whole or not at all.
///
/// # Errors
/// `Io` naming the file.
pub fn write_answers(path: &Path, answers: &[Answer]) -> Result<()> {
    write_atomic(path, |out| {
        for answer in answers {
            let (field, value) = match &answer.said {
                Said::Letter(letter) => ("answer_letter", letter.to_string()),
                Said::Text(text) => ("text", text.clone()),
            };
            writeln!(out, "{}", serde_json::json!({"sample_id": answer.sample_id, (field): value}))?;
        }
        Ok(())
    })
}

/// What must not occur twice in a file of one row per question.
fn key(sample_id: &str) -> String {
    format!("sample_id {sample_id:?}")
}

/// Lays a key over questions. `questions_path` and `key_path` are for messages.
///
/// # Errors
/// `Data` when a question is left without an answer, contradicts the key, or the key knows no such question.
pub fn apply_key(questions: &mut [Question], questions_path: &Path, key: &[KeyRow], key_path: &Path) -> Result<()> {
    let mut letters: BTreeMap<&str, Letter> = key.iter().map(|k| (k.sample_id.as_str(), k.answer_letter)).collect();
    for question in questions.iter_mut() {
        let id = &question.sample_id;
        let Some(letter) = letters.remove(id.as_str()) else {
            return Err(Error::data(format!("{}: no answer to sample_id {id:?}", key_path.display())));
        };
        if question.answer_letter.is_some_and(|own| own != letter) {
            let (file, key) = (questions_path.display(), key_path.display());
            return Err(Error::data(format!("{key}: sample_id {id:?} is {letter}, {file} says otherwise")));
        }
        question.answer_letter = Some(letter);
        question.answer_text = Some(question.options()[letter.index()].to_string());
    }
    match letters.keys().min() {
        None => Ok(()),
        Some(id) => {
            Err(Error::data(format!("{}: sample_id {id:?} is not in {}", key_path.display(), questions_path.display())))
        }
    }
}

/// The error of a line that is no row, with what the file may be instead.
fn of_another_form(error: Error, line: &str) -> Error {
    let line = line.trim();
    match line.chars().next() {
        Some('[') => error.hint("a JSON array: one object per line is needed, `jq -c '.[]' FILE` writes it so"),
        Some('{') if line == "{" => {
            error.hint("JSON over several lines: one object per line is needed, `jq -c . FILE` writes it so")
        }
        Some('{') => error.hint("each line is one whole JSON object; is the file cut off, or a field of another type?"),
        _ if line.contains([',', '\t', ';']) => {
            error.hint("a table: one JSON object per line is needed, with the columns' names as fields")
        }
        _ => error.hint("each line is one JSON object"),
    }
}

/// What a row holds instead of the fields that are looked for: the first names, and what the reader makes of them.
fn other_fields(row: &Map<String, Value>, expected: &str) -> String {
    let names: Vec<String> = row.keys().take(6).map(|name| format!("{:?}", shortened(name))).collect();
    let is_map = row.len() > 1 && row.values().all(|value| value.is_string()) && !row.contains_key("sample_id");
    let found = match () {
        _ if row.is_empty() => "nothing".to_string(),
        _ => names.join(", ") + if row.len() > 6 { " .." } else { "" },
    };
    let advice = if is_map { ", which may be ids and answers" } else { "" };
    format!("it holds {found}{advice}; {expected} is expected")
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Each non-empty line of at most `bytes_max` as a `T`, given to `take`, which returns what names the row and must
/// not occur twice.
pub(super) fn read_lines<T: serde::de::DeserializeOwned>(
    path: &Path,
    bytes_max: u64,
    mut take: impl FnMut(T) -> Result<String, String>,
) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 18, open_regular(path)?);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut line = Vec::new();
    for number in 1.. {
        let bad = |what: String| Error::data(format!("{}:{number}: {what}", path.display()));
        line.clear();
        let read = (&mut reader).take(bytes_max + 1).read_until(b'\n', &mut line);
        if read.map_err(|e| Error::io("read", path, &e))? == 0 {
            break;
        }
        if line.len() as u64 > bytes_max {
            return Err(bad(format!("longer than {bytes_max} bytes")));
        }
        if seen.len() >= ROWS_MAX {
            return Err(bad(format!("more than {ROWS_MAX} rows")));
        }
        if number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        let text = std::str::from_utf8(&line).map_err(|_| bad("not UTF-8".into()))?;
        if text.trim().is_empty() {
            continue;
        }
        let row = serde_json::from_str(text).map_err(|e| of_another_form(bad(format!("{e}")), text))?;
        let key = take(row).map_err(bad)?;
        if let Some(first) = seen.get(&key) {
            return Err(bad(format!("{key} stands in line {first} already")));
        }
        seen.insert(key, number);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"file_name":"audio/a.wav","sample_id":7,"question":"How many?","option_a":"1","option_b":"2","option_c":"3","option_d":"4","answer_letter":"b","answer_text":"2","level":"L1","task":"l1_count_objects","more":[1]}"#;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn rows_of_others_are_read_and_ours_come_back_unchanged() {
        let read = read_questions(file(&format!("\u{feff}{ROW}\r\n\n")).path()).unwrap();
        assert_eq!(read.len(), 1);
        let q = &read[0];
        assert_eq!((q.sample_id.as_str(), q.level, q.answer_letter), ("7", 1, Some(Letter::B)));
        let ours = serde_json::to_string(q).unwrap();
        assert_eq!(&read_questions(file(&ours).path()).unwrap(), &read);
        let columns =
            "file_name sample_id question option_a option_b option_c option_d answer_letter answer_text level task";
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&ours).unwrap();
        assert_eq!(object.keys().map(String::as_str).collect::<Vec<_>>().join(" "), columns);
        let public = serde_json::to_string(&q.without_answer()).unwrap();
        assert!(!public.contains("answer"), "{public}");
    }

    #[test]
    fn bad_rows_are_refused_with_file_line_and_field() {
        let other = ROW.replace("\"sample_id\":7", "\"sample_id\":\"8\"");
        let bad = [
            (format!("{ROW}\n{ROW}"), "line 1 already"),
            (ROW.replace("\"b\"", "\"E\""), "answer_letter"),
            (ROW.replace("\"L1\"", "4"), "level"),
            (ROW.replace("\"answer_text\":\"2\"", "\"answer_text\":\"3\""), "answer_text"),
            (ROW.replace("\"option_d\":\"4\",", ""), "option_d"),
            (format!("{ROW}\n{}", &other[..90]), ":2:"),
            (format!("{ROW}\n\"{}\"", "x".repeat(LINE_BYTES_MAX as usize)), "longer than"),
            (String::new(), "no question"),
        ];
        for (text, expected) in bad {
            let file = file(&text);
            let error = read_questions(file.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(file.path().to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn answers_and_keys() {
        let text = "{\"sample_id\":1,\"answer_letter\":\"c\"}\n{\"sample_id\":\"2\",\"text\":\"It is B.\"}\n\
                    {\"sample_id\":3,\"answer_letter\":\"none\"}\n";
        let answers = read_answers(file(text).path()).unwrap();
        assert_eq!(answers[0].said, Said::Letter(Letter::C));
        assert_eq!(answers[1].said, Said::Text("It is B.".into()));
        assert_eq!(answers[2].said, Said::Text("none".into()));
        let written = file("");
        write_answers(written.path(), &answers).unwrap();
        assert_eq!(read_answers(written.path()).unwrap(), answers);
        assert!(read_answers(file("{\"sample_id\":1}").path()).unwrap_err().to_string().contains("neither"));
        let ours = "\"answer_letter\"";
        for (text, parts) in [
            ("", &["no answer in it", ours][..]),
            ("\n \n", &["no answer in it"]),
            ("[{\"sample_id\":1,\"text\":\"B\"}]", &[":1: ", "JSON array", "jq -c '.[]'"]),
            ("[\n {\"sample_id\":1,\"text\":\"B\"}\n]", &[":1: ", "JSON array"]),
            ("{\n \"sample_id\":1,\n \"text\":\"B\"\n}", &[":1: ", "over several lines", "jq -c ."]),
            ("{\"q1\":\"B\",\"q2\":\"C\"}", &["no sample_id", "\"q1\", \"q2\"", "ids and answers", ours]),
            ("{\"id\":1,\"answer\":\"B\"}", &["no sample_id", "\"id\", \"answer\"", ours]),
            ("{\"sample_id\":1,\"prediction\":\"B\"}", &["neither", "\"prediction\"", ours]),
            ("{\"sample_id\":1,\"response\":\"B\"}", &["neither", "\"response\"", ours]),
            ("{\"sample_id\":1,\"text\":7}", &["text is 7", "a text"]),
            ("sample_id,answer_letter\nq1,B\n", &[":1: ", "a table", "JSON object per line"]),
            ("sample_id\tanswer\nq1\tB\n", &[":1: ", "a table"]),
            ("B\nC\n", &[":1: ", "one JSON object"]),
        ] {
            let error = read_answers(file(text).path()).unwrap_err().to_string();
            parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} is not in: {error}"));
        }
        let key = read_key(file("{\"sample_id\":7,\"answer_letter\":\"D\"}").path()).unwrap();
        let path = Path::new("x");
        let public = ROW.replace("\"answer_letter\":\"b\",\"answer_text\":\"2\",", "");
        let mut questions = read_questions(file(&public).path()).unwrap();
        apply_key(&mut questions, path, &key, path).unwrap();
        assert_eq!(questions[0].answer_text.as_deref(), Some("4"));
        assert!(apply_key(&mut questions, path, &[], path).is_err());
        let wrong = [KeyRow { sample_id: "7".into(), answer_letter: Letter::A }];
        assert!(apply_key(&mut questions, path, &wrong, path).is_err());
        let foreign = [key[0].clone(), KeyRow { sample_id: "9".into(), answer_letter: Letter::A }];
        assert!(apply_key(&mut questions, path, &foreign, path).unwrap_err().to_string().contains("\"9\""));
    }
}
