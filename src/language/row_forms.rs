//! The forms of training rows: which fields each has, and what they mean. Pure functions from an object to a row.

use super::template::{Conversation, Role, Turn};
use crate::text::questions::{Letter, check_choice};
use serde_json::{Map, Value};

/// The form of a file's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `twnm benchmark` for stage 2: an open question, an answer in a sentence.
    Align,
    /// `twnm benchmark` for stage 3: a question with options, reasoning and a letter.
    Sft,
    /// `twnm benchmark` for stage 4, and a benchmark: a question with options; nothing is said to it.
    Sapo,
    /// `twnm benchmark` for the pocket decoder: a scene in words, a question with options, reasoning and a letter; without
    /// `response` the letter alone.
    Text,
    /// LLaMA-Factory's alpaca: instruction, input, output, system, history, audios.
    Alpaca,
    /// LLaMA-Factory's sharegpt: conversations of from and value, system, audios.
    ShareGpt,
    /// BAT's SpatialSoundQA: one or two recordings with a room response each, question, answer.
    Bat,
}

impl Form {
    /// All forms.
    pub const ALL: [Form; 7] =
        [Form::Align, Form::Sft, Form::Sapo, Form::Text, Form::Alpaca, Form::ShareGpt, Form::Bat];

    /// The name that recipes and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Form::Align => "align",
            Form::Sft => "sft",
            Form::Sapo => "sapo",
            Form::Text => "text",
            Form::Alpaca => "alpaca",
            Form::ShareGpt => "sharegpt",
            Form::Bat => "bat",
        }
    }

    /// The form of that name.
    pub fn parse(name: &str) -> Option<Form> {
        Form::ALL.into_iter().find(|form| form.name() == name)
    }

    /// The form of a row, by the fields that it has.
    pub fn of(row: &Map<String, Value>) -> Option<Form> {
        let has = |name: &str| row.contains_key(name);
        Some(match () {
            _ if has("conversations") => Form::ShareGpt,
            _ if has("instruction") => Form::Alpaca,
            _ if has("question") && has("audio_id") => Form::Bat,
            _ if has("description") && (has("option_a") || has("answer")) => Form::Text,
            _ if has("option_a") && has("response") => Form::Sft,
            _ if has("option_a") => Form::Sapo,
            _ if has("question") && has("answer") => Form::Align,
            _ => return None,
        })
    }

    /// Fields that are read, or known to need no reading.
    fn fields(self) -> &'static [&'static str] {
        const COLUMNS: [&str; 13] = [
            "file_name",
            "sample_id",
            "question",
            "option_a",
            "option_b",
            "option_c",
            "option_d",
            "answer_letter",
            "answer_text",
            "level",
            "task",
            "reasoning",
            "response",
        ];
        match self {
            Form::Align => &["file_name", "sample_id", "question", "answer", "level", "task"],
            Form::Sft => &COLUMNS,
            Form::Sapo => COLUMNS.first_chunk::<11>().expect("eleven official columns"),
            Form::Text => &[
                "sample_id",
                "question",
                "option_a",
                "option_b",
                "option_c",
                "option_d",
                "answer_letter",
                "answer_text",
                "level",
                "task",
                "reasoning",
                "response",
                "description",
                "operation",
                "answer",
            ],
            Form::Alpaca => &["instruction", "input", "output", "system", "history", "audios"],
            Form::ShareGpt => &["conversations", "system", "audios"],
            Form::Bat => &[
                "audio_id",
                "reverb_id",
                "audio_id2",
                "reverb_id2",
                "question_id",
                "question_type",
                "question",
                "answer",
            ],
        }
    }

    /// Fields of a row that this form does not have.
    pub fn unknown(self, row: &Map<String, Value>) -> impl Iterator<Item = &String> {
        row.keys().filter(move |name| !self.fields().contains(&name.as_str()))
    }
}

/// A recording of a row, and the room response that is to be applied to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Path or name, as the file has it.
    pub audio: String,
    /// In BAT's rows: the name of the room response.
    pub reverb: Option<String>,
}

/// What a row says, whatever its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What is heard: none in rows of text alone, two in BAT's mixtures.
    pub recordings: Vec<Recording>,
    /// Questions and answers. Without an answer at the end the row is a prompt.
    pub conversation: Conversation,
}

/// Reads a row. `Err` names the field.
pub fn content(form: Form, row: &Map<String, Value>) -> Result<Content, String> {
    match form {
        Form::Align => {
            let answer = text(row, "answer")?;
            Ok(asked(heard(text(row, "file_name")?), text(row, "question")?, Some(answer)))
        }
        Form::Sft => {
            let response = text(row, "response")?;
            agrees(row, &response)?;
            Ok(asked(heard(text(row, "file_name")?), choice(row)?, Some(response)))
        }
        Form::Sapo => {
            letter(row)?;
            Ok(asked(heard(text(row, "file_name")?), choice(row)?, None))
        }
        Form::Text if !row.contains_key("option_a") => {
            let question = format!("{}\n{}", text(row, "description")?, text(row, "question")?);
            Ok(asked(Vec::new(), question, Some(text(row, "answer")?)))
        }
        Form::Text => {
            let letter = letter(row)?.ok_or("answer_letter is missing")?;
            let question = format!("{}\n{}", text(row, "description")?, choice(row)?);
            let response = optional(row, "response")?.unwrap_or_else(|| format!("<answer>{letter}</answer>"));
            agrees(row, &response)?;
            Ok(asked(Vec::new(), question, Some(response)))
        }
        Form::Alpaca => alpaca(row),
        Form::ShareGpt => sharegpt(row),
        Form::Bat => bat(row),
    }
}

/// The letter of the right option, where there is one.
fn letter(row: &Map<String, Value>) -> Result<Option<Letter>, String> {
    let Some(said) = optional(row, "answer_letter")? else { return Ok(None) };
    Letter::parse(&said).map(Some).ok_or_else(|| format!("answer_letter is {said:?}, A to D is needed"))
}

/// A response that ends in a letter between its tags ends in that of the row: nobody is to learn the other.
fn agrees(row: &Map<String, Value>, response: &str) -> Result<(), String> {
    if response.matches("<answer>").count() > 1 {
        return Err("response has several <answer> tags: nobody can say which counts".into());
    }
    let tagged = response.rsplit_once("<answer>").and_then(|(_, rest)| Letter::parse(rest.split("</answer>").next()?));
    match (letter(row)?, tagged) {
        (Some(right), Some(said)) if right != said => Err(format!("response answers {said}, answer_letter is {right}")),
        _ => Ok(()),
    }
}

/// A question with its options, at most four, each on a line of its own.
pub fn question_with_options(question: &str, options: &[&str]) -> String {
    let lines = Letter::ALL.iter().zip(options).map(|(letter, option)| format!("\n{letter}. {option}"));
    question.to_string() + &lines.collect::<String>()
}

fn choice(row: &Map<String, Value>) -> Result<String, String> {
    let options = [text(row, "option_a")?, text(row, "option_b")?, text(row, "option_c")?, text(row, "option_d")?];
    let (question, options) = (text(row, "question")?, options.each_ref().map(String::as_str));
    check_choice(&question, options, letter(row)?, optional(row, "answer_text")?.as_deref())?;
    if let Some((i, j)) = (0..4).flat_map(|j| (0..j).map(move |i| (i, j))).find(|(i, j)| options[*i] == options[*j]) {
        return Err(format!(
            "options {} and {} read alike: nothing can be learned from that choice",
            Letter::ALL[i],
            Letter::ALL[j]
        ));
    }
    Ok(question_with_options(&question, &options))
}

fn heard(audio: String) -> Vec<Recording> {
    vec![Recording { audio, reverb: None }]
}

fn turn(role: Role, content: String) -> Turn {
    Turn { role, content }
}

fn asked(recordings: Vec<Recording>, question: String, answer: Option<String>) -> Content {
    let mut turns = vec![turn(Role::User, question)];
    turns.extend(answer.map(|text| turn(Role::Assistant, text)));
    Content { recordings, conversation: Conversation { system: None, turns } }
}

fn alpaca(row: &Map<String, Value>) -> Result<Content, String> {
    let mut turns = Vec::new();
    for (i, pair) in list(row, "history")?.iter().enumerate() {
        let texts = pair.as_array().map(|pair| pair.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        match texts.as_deref() {
            Some([question, answer]) => {
                turns.push(turn(Role::User, question.to_string()));
                turns.push(turn(Role::Assistant, answer.to_string()));
            }
            _ => return Err(format!("history[{i}] is no pair of texts")),
        }
    }
    let (instruction, input) = (text(row, "instruction")?, optional(row, "input")?.unwrap_or_default());
    let question = if input.is_empty() { instruction } else { format!("{instruction}\n{input}") };
    turns.push(turn(Role::User, question));
    turns.push(turn(Role::Assistant, text(row, "output")?));
    finish(row, optional(row, "system")?, turns)
}

fn sharegpt(row: &Map<String, Value>) -> Result<Content, String> {
    let (mut system, mut turns) = (optional(row, "system")?, Vec::<Turn>::new());
    for (i, entry) in list(row, "conversations")?.iter().enumerate() {
        let part = |name: &str| entry.get(name).and_then(Value::as_str);
        let (Some(from), Some(value)) = (part("from"), part("value")) else {
            return Err(format!("conversations[{i}] has no from and value that are texts"));
        };
        let role = match from {
            "human" | "user" => Role::User,
            "gpt" | "assistant" => Role::Assistant,
            "system" if i == 0 && system.is_none() => {
                system = Some(value.to_string());
                continue;
            }
            _ => {
                let shown: String = from.chars().take(40).collect();
                return Err(format!("conversations[{i}].from is {shown:?}; system (first), human and gpt are read"));
            }
        };
        let expected = if turns.len().is_multiple_of(2) { Role::User } else { Role::Assistant };
        if role != expected {
            return Err(format!("conversations[{i}]: human and gpt must take turns, human first"));
        }
        turns.push(turn(role, value.to_string()));
    }
    match turns.last().map(|turn| turn.role) {
        Some(Role::Assistant) => finish(row, system, turns),
        _ => Err("conversations does not end with gpt".into()),
    }
}

/// Takes the recording of LLaMA-Factory's rows, and its place mark out of the question: audio stands before it here.
fn finish(row: &Map<String, Value>, system: Option<String>, mut turns: Vec<Turn>) -> Result<Content, String> {
    const MARK: &str = "<audio>";
    let mut recordings = Vec::new();
    for (i, audio) in list(row, "audios")?.iter().enumerate() {
        let path = audio.as_str().ok_or_else(|| format!("audios[{i}] is no text"))?;
        recordings.extend(heard(path.to_string()));
    }
    if recordings.len() > 1 {
        return Err(format!("audios has {} recordings, one is read", recordings.len()));
    }
    if !recordings.is_empty() {
        let marks: usize = turns.iter().map(|turn| turn.content.matches(MARK).count()).sum();
        let first = turns.first_mut().filter(|turn| turn.content.contains(MARK));
        match (marks, first) {
            (0, _) => {}
            (1, Some(turn)) => {
                let (before, after) = turn.content.split_once(MARK).unwrap_or_default();
                turn.content = before.to_string() + after.strip_prefix('\n').unwrap_or(after);
            }
            _ => return Err(format!("{MARK} must come once, in the first question")),
        }
    }
    Ok(Content { recordings, conversation: Conversation { system: system.filter(|s| !s.is_empty()), turns } })
}

fn bat(row: &Map<String, Value>) -> Result<Content, String> {
    let mut recordings = vec![Recording { audio: text(row, "audio_id")?, reverb: optional(row, "reverb_id")? }];
    if let Some(audio) = optional(row, "audio_id2")?.filter(|audio| !audio.is_empty()) {
        recordings.push(Recording { audio, reverb: optional(row, "reverb_id2")? });
    }
    Ok(asked(recordings, text(row, "question")?, Some(text(row, "answer")?)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn text(row: &Map<String, Value>, name: &str) -> Result<String, String> {
    match row.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::String(_)) => Err(format!("{name} is empty")),
        Some(other) => Err(format!("{name} is {}, a text is needed", kind(other))),
        None => Err(format!("{name} is missing")),
    }
}

fn optional(row: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match row.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{name} is {}, a text is needed", kind(other))),
    }
}

fn list<'a>(row: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match row.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(other) => Err(format!("{name} is {}, a list is needed", kind(other))),
    }
}
