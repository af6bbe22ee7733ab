//! From the body of an answer to a row: strict JSON, nothing else.

use super::outcome::Outcome;
use crate::text::questions::Letter;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest body of an answer that is read.
pub(super) const BODY_BYTES_MAX: u64 = 1 << 20;

/// A question as the teacher wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaughtRow {
    /// The question.
    pub question: String,
    /// The options, A to D.
    pub options: [String; 4],
    /// The right one.
    pub answer: Letter,
}

/// The row in the body of a chat completion.
///
/// # Errors
/// Why there is none.
pub(super) fn row(body: &[u8]) -> Result<TaughtRow, Outcome> {
    let (content, is_cut) = content(body).ok_or(Outcome::NotACompletion)?;
    let json = unwrapped(&content)?;
    let value: Value = serde_json::from_str(json).map_err(|e| match e.is_eof() || is_cut {
        true => Outcome::Truncated,
        false => Outcome::NotJson,
    })?;
    match value.get("options").and_then(Value::as_array) {
        Some(options) if options.len() != 4 => return Err(Outcome::OptionCount),
        _ => {}
    }
    // Once more from the text: a field that stands twice is an error only here.
    serde_json::from_str(json).map_err(|_| Outcome::WrongFields)
}

/// What the model said, and whether it was cut off.
fn content(body: &[u8]) -> Option<(String, bool)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let choice = body.get("choices")?.get(0)?;
    let is_cut = choice.get("finish_reason").and_then(Value::as_str) == Some("length");
    let text = match choice.get("message")?.get("content")? {
        Value::String(text) => text.clone(),
        // Some servers answer in parts.
        Value::Array(parts) => parts.iter().filter_map(|p| p.get("text").and_then(Value::as_str)).collect(),
        _ => return None,
    };
    Some((text, is_cut))
}

/// The JSON in what was said: thoughts in front of it and a code fence around it are taken off.
fn unwrapped(content: &str) -> Result<&str, Outcome> {
    let mut text = content.trim();
    if let Some(thought) = text.strip_prefix("<think>") {
        text = thought.split_once("</think>").ok_or(Outcome::Truncated)?.1.trim();
    }
    if let Some(inside) = text.strip_prefix("```") {
        let inside = inside.strip_prefix("json").or_else(|| inside.strip_prefix("JSON")).unwrap_or(inside);
        return match inside.split_once("```") {
            None => Err(Outcome::Truncated),
            Some((json, "")) => Ok(json.trim()),
            Some(_) => Err(Outcome::CodeFence),
        };
    }
    match text {
        "" => Err(Outcome::Prose),
        text if text.starts_with('{') => Ok(text),
        text if text.contains("```") => Err(Outcome::CodeFence),
        _ => Err(Outcome::Prose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROW: &str = r#"{"question":"How many?","options":["one","two","three","four"],"answer":"B"}"#;

    fn said(content: &str) -> Result<TaughtRow, Outcome> {
        let body = json!({"choices": [{"message": {"role": "assistant", "content": content}}]});
        row(body.to_string().as_bytes())
    }

    #[test]
    fn strict_json_is_a_row_also_in_a_fence() {
        let expected = TaughtRow {
            question: "How many?".into(),
            options: ["one", "two", "three", "four"].map(String::from),
            answer: Letter::B,
        };
        let forms = [
            ROW.to_string(),
            format!("\n {ROW}\n"),
            format!("```json\n{ROW}\n```"),
            format!("```\n{ROW}\n```\n"),
            format!("<think>A or {{B}}?</think>\n\n{ROW}"),
        ];
        for form in forms {
            assert_eq!(said(&form).as_ref(), Ok(&expected), "{form}");
        }
        let parts = json!({"choices": [{"message": {"content": [{"type": "text", "text": ROW}]}}]});
        assert_eq!(row(parts.to_string().as_bytes()), Ok(expected));
    }

    #[test]
    fn everything_else_is_counted_as_what_it_is() {
        let other = [
            ("The answer is B.".to_string(), Outcome::Prose),
            (String::new(), Outcome::Prose),
            (format!("Here you are: {ROW}"), Outcome::Prose),
            (format!("Here you are:\n```json\n{ROW}\n```"), Outcome::CodeFence),
            (format!("```json\n{ROW}\n```\nAnything else?"), Outcome::CodeFence),
            (ROW[..40].to_string(), Outcome::Truncated),
            (format!("```json\n{}", &ROW[..40]), Outcome::Truncated),
            ("<think>so".into(), Outcome::Truncated),
            (format!("{ROW} I hope this helps."), Outcome::NotJson),
            (ROW.replace(":", "="), Outcome::NotJson),
            (ROW.replace("\"four\"", "\"four\",\"five\""), Outcome::OptionCount),
            (ROW.replace(",\"four\"", ""), Outcome::OptionCount),
            (ROW.replace("\"four\"", "4"), Outcome::WrongFields),
            (ROW.replace("\"B\"", "\"E\""), Outcome::WrongFields),
            (ROW.replace("\"B\"", "\"B\",\"hint\":1"), Outcome::WrongFields),
            (ROW.replace("\"B\"", "\"B\",\"answer\":\"C\""), Outcome::WrongFields),
            (ROW.replace("answer", "key"), Outcome::WrongFields),
            ("{}".into(), Outcome::WrongFields),
        ];
        for (text, expected) in other {
            assert_eq!(said(&text), Err(expected), "{text}");
        }
        let deep = format!("{{\"question\":{}", "[".repeat(100_000));
        assert_eq!(said(&deep), Err(Outcome::NotJson));
        for body in
            [&b""[..], b"\xff\xfe", b"{}", b"[]", b"{\"choices\":[]}", b"<html>", b"{\"choices\":[{\"message\":{}}]}"]
        {
            assert_eq!(row(body), Err(Outcome::NotACompletion));
        }
        let cut =
            json!({"choices": [{"finish_reason": "length", "message": {"content": "{\"question\": \"Ho\" \"w"}}]});
        assert_eq!(row(cut.to_string().as_bytes()), Err(Outcome::Truncated));
    }
}
