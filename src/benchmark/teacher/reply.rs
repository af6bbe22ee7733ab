//! From the body of an answer to a row: one JSON object, wherever it stands in what was said.

use super::super::claims::Claim;
use super::outcome::Outcome;
use crate::text::questions::Letter;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest body of an answer that is read.
pub(super) const BODY_BYTES_MAX: u64 = 1 << 20;
/// Parts of one claim, and how deep they lie in each other.
const PARTS_MAX: usize = 8;
const DEPTH_MAX: usize = 3;

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
    /// What each option asserts, as the teacher means it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<[Claim; 4]>,
}

/// What an answer may hold. The reasoning is not looked at, and never learnt.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    question: Option<String>,
    options: Option<[String; 4]>,
    answer: Option<Letter>,
    claims: Option<Value>,
    #[serde(rename = "reasoning")]
    _reasoning: Option<serde::de::IgnoredAny>,
}

/// The row in the body of a chat completion.
///
/// # Errors
/// Why there is none.
pub(super) fn row(body: &[u8]) -> Result<TaughtRow, Outcome> {
    match said(body)? {
        Said { question: Some(question), options: Some(options), answer: Some(answer), claims, .. } => {
            Ok(TaughtRow { question, options, answer, claims: claims.map(four).transpose()? })
        }
        _ => Err(Outcome::WrongFields),
    }
}

/// Question and options alone, as they were reworded.
///
/// # Errors
/// Why there are none.
pub(super) fn wording(body: &[u8]) -> Result<(String, [String; 4]), Outcome> {
    match said(body)? {
        Said { question: Some(question), options: Some(options), answer: None, claims: None, .. } => {
            Ok((question, options))
        }
        _ => Err(Outcome::WrongFields),
    }
}

/// The claims alone, as somebody read them.
///
/// # Errors
/// Why there are none.
pub(super) fn claims(body: &[u8]) -> Result<[Claim; 4], Outcome> {
    match said(body)? {
        Said { question: None, options: None, answer: None, claims: Some(claims), .. } => four(claims),
        _ => Err(Outcome::WrongFields),
    }
}

fn said(body: &[u8]) -> Result<Said, Outcome> {
    let (content, is_cut) = content(body).ok_or(Outcome::NotACompletion)?;
    let json = the_object(&content).map_err(|outcome| if is_cut { Outcome::Truncated } else { outcome })?;
    let value: Value = serde_json::from_str(json).map_err(|_| Outcome::NotJson)?;
    match value.get("options").and_then(Value::as_array) {
        Some(options) if options.len() != 4 => return Err(Outcome::OptionCount),
        _ => {}
    }
    // Once more from the text: a field that stands twice is an error only here.
    serde_json::from_str(json).map_err(|_| Outcome::WrongFields)
}

fn four(claims: Value) -> Result<[Claim; 4], Outcome> {
    fn parts(claim: &Claim, depth: usize) -> usize {
        match claim {
            _ if depth > DEPTH_MAX => PARTS_MAX + 1,
            Claim::Not { of } => parts(of, depth + 1),
            Claim::All { of } => of.iter().map(|part| parts(part, depth + 1)).sum(),
            _ => 1,
        }
    }
    let claims: [Claim; 4] = serde_json::from_value(claims).map_err(|_| Outcome::WrongClaims)?;
    let fits = |claim: &Claim| (1..=PARTS_MAX).contains(&parts(claim, 0));
    if claims.iter().all(fits) { Ok(claims) } else { Err(Outcome::WrongClaims) }
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

/// The only JSON object in what was said: thoughts in front of it, talk and a code fence around it are let go.
fn the_object(content: &str) -> Result<&str, Outcome> {
    let mut text = content.trim();
    if let Some(thought) = text.strip_prefix("<think>") {
        text = thought.split_once("</think>").ok_or(Outcome::Truncated)?.1;
    }
    let (mut found, mut faulty, mut at) = (None, false, 0);
    while let Some(begin) = text[at..].find('{').map(|i| at + i) {
        let Some(end) = closing(text, begin) else {
            return match found {
                Some(_) => Err(Outcome::NotJson),
                None => Err(Outcome::Truncated),
            };
        };
        let object = &text[begin..end];
        match serde_json::from_str::<serde::de::IgnoredAny>(object) {
            Ok(_) if found.is_some() => return Err(Outcome::SeveralObjects),
            Ok(_) => found = Some(object),
            Err(_) => faulty = true,
        }
        at = end;
    }
    found.ok_or(if faulty { Outcome::NotJson } else { Outcome::Prose })
}

/// The end of the braces that open at `begin`; each character is looked at once.
fn closing(text: &str, begin: usize) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (i, c) in text[begin..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            '{' if !in_string => depth += 1,
            '}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some(begin + i + 1);
                }
            }
            _ => {}
        }
    }
    None
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
    fn one_object_is_a_row_also_among_prose() {
        let expected = TaughtRow {
            question: "How many?".into(),
            options: ["one", "two", "three", "four"].map(String::from),
            answer: Letter::B,
            claims: None,
        };
        let forms = [
            ROW.to_string(),
            format!("\n {ROW}\n"),
            format!("```json\n{ROW}\n```"),
            format!("```\n{ROW}\n```\n"),
            format!("<think>A or {{B}}?</think>\n\n{ROW}"),
            format!("Here you are: {ROW}"),
            format!("Here you are, as {{asked}}:\n```json\n{ROW}\n```\nAnything else?"),
            format!("{ROW} I hope this helps."),
            ROW.replace("\"B\"", "\"B\",\"reasoning\":[\"so}\",{\"a\":1}]"),
        ];
        for form in forms {
            assert_eq!(said(&form).as_ref(), Ok(&expected), "{form}");
        }
        let parts = json!({"choices": [{"message": {"content": [{"type": "text", "text": ROW}]}}]});
        assert_eq!(row(parts.to_string().as_bytes()), Ok(expected));
    }

    #[test]
    fn claims_are_read_with_a_row_and_alone() {
        let claim = r#"{"claim":"distance","source":0,"m":2.5}"#;
        let four = format!("[{}]", [claim; 4].join(","));
        let with = ROW.replace("\"B\"", &format!("\"B\",\"claims\":{four}"));
        let expected = Claim::Distance { source: 0, m: 2.5 };
        assert_eq!(said(&with).unwrap().claims.unwrap()[3], expected);
        let body = |content: String| json!({"choices": [{"message": {"content": content}}]}).to_string();
        let alone = |content: String| claims(body(content).as_bytes());
        assert_eq!(alone(format!("They say: {{\"claims\":{four}}}")).unwrap()[0], expected);
        assert_eq!(alone(with), Err(Outcome::WrongFields));
        let mut deep = claim.to_string();
        (0..5).for_each(|_| deep = format!("{{\"claim\":\"not\",\"of\":{deep}}}"));
        assert_eq!(alone(format!("{{\"claims\":[{}]}}", [deep.as_str(); 4].join(","))), Err(Outcome::WrongClaims));
        let reworded = wording(body(r#"{"question":"So?","options":["a","b","c","d"]}"#.into()).as_bytes());
        assert_eq!(reworded.unwrap().0, "So?");
        assert_eq!(wording(body(ROW.into()).as_bytes()), Err(Outcome::WrongFields));
    }

    #[test]
    fn everything_else_is_counted_as_what_it_is() {
        let other = [
            ("The answer is B.".to_string(), Outcome::Prose),
            (String::new(), Outcome::Prose),
            (format!("{ROW}\n{ROW}"), Outcome::SeveralObjects),
            (format!("Either {{}} or {ROW}"), Outcome::SeveralObjects),
            (ROW[..40].to_string(), Outcome::Truncated),
            (format!("```json\n{}", &ROW[..40]), Outcome::Truncated),
            ("<think>so".into(), Outcome::Truncated),
            (format!("{ROW} {{\"question\":"), Outcome::NotJson),
            (ROW.replace(":", "="), Outcome::NotJson),
            (ROW.replace("\"four\"", "\"four\",\"five\""), Outcome::OptionCount),
            (ROW.replace(",\"four\"", ""), Outcome::OptionCount),
            (ROW.replace("\"four\"", "4"), Outcome::WrongFields),
            (ROW.replace("\"B\"", "\"E\""), Outcome::WrongFields),
            (ROW.replace("\"B\"", "\"B\",\"hint\":1"), Outcome::WrongFields),
            (ROW.replace("\"B\"", "\"B\",\"answer\":\"C\""), Outcome::WrongFields),
            (ROW.replace("answer", "key"), Outcome::WrongFields),
            (ROW.replace("\"B\"", "\"B\",\"claims\":[]"), Outcome::WrongClaims),
            (ROW.replace("\"B\"", "\"B\",\"claims\":[1,2,3,4]"), Outcome::WrongClaims),
            ("{}".into(), Outcome::WrongFields),
        ];
        for (text, expected) in other {
            assert_eq!(said(&text), Err(expected), "{text}");
        }
        let deep = format!("{{\"question\":{}", "[".repeat(100_000));
        assert_eq!(said(&deep), Err(Outcome::Truncated));
        assert_eq!(said(&format!("{deep}{}}}", "]".repeat(100_000))), Err(Outcome::NotJson));
        assert_eq!(said(&"{".repeat(500_000)), Err(Outcome::Truncated));
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
