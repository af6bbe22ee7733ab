//! A tokenizer against the ids and texts that another implementation gave: `expected.json`, a list of objects.
//!
//! Each has a `text` and some of `ids` (special tokens recognised), `plain` (as ordinary characters), `decoded` (of `ids`),
//! `without_special` (the same without special tokens) and `characters` (where each token of `ids` starts and ends, in
//! characters; tokens of one character name the whole). All are compared exactly.

use super::{Comparison, Report};
use crate::error::{Error, Result};
use crate::files::read_limited;
use crate::language::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Largest expected.json, in bytes.
const BYTES_MAX: u64 = 64 << 20;

/// Encodes and decodes what `dir` expects.
pub(super) fn run(dir: &Path) -> Result<Report> {
    let path = dir.join("expected.json");
    let bad = |why: String| Error::data(format!("{}: {why}", path.display()));
    let tokenizer = Tokenizer::open(dir)?;
    let rows: Vec<Map<String, Value>> = serde_json::from_slice(&read_limited(&path, BYTES_MAX)?)
        .map_err(|e| bad(format!("a list of objects with text and ids is needed: {e}")))?;
    let mut tensors = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let text = row.get("text").and_then(Value::as_str).ok_or_else(|| bad(format!("row {i} has no text")))?;
        for (field, expected) in row.iter().filter(|(field, _)| *field != "text") {
            let actual = computed(&tokenizer, text, row, field).map_err(|e| e.context(format!("row {i}")))?;
            tensors.push(compare(format!("{i}.{field}"), text, actual, expected));
        }
    }
    match tensors.is_empty() {
        true => Err(bad("holds nothing to compare with".into())),
        false => Ok(Report { kind: "tokenizer".into(), tensors, missing: Vec::new() }),
    }
}

/// What the tokenizer makes of a field; `None` where the field means nothing, or is about ids that are none.
fn computed(tokenizer: &Tokenizer, text: &str, row: &Map<String, Value>, field: &str) -> Result<Option<Value>> {
    let ids = || {
        let all = row.get("ids").and_then(Value::as_array)?;
        all.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect::<Option<Vec<u32>>>()
    };
    Ok(match field {
        "ids" => Some(json!(tokenizer.encode(text)?)),
        "plain" => Some(json!(tokenizer.encode_plain(text)?)),
        "decoded" => ids().map(|ids| tokenizer.decode(&ids, true).into()),
        "without_special" => ids().map(|ids| tokenizer.decode(&ids, false).into()),
        "characters" => {
            let ends: Vec<usize> = text.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let range = |r: &std::ops::Range<usize>| {
                json!([ends.partition_point(|end| *end <= r.start), starts.partition_point(|start| *start < r.end)])
            };
            Some(tokenizer.encode_spans(text, &[])?.ranges.iter().map(range).collect())
        }
        _ => None,
    })
}

fn compare(name: String, text: &str, actual: Option<Value>, expected: &Value) -> Comparison {
    let ok = actual.as_ref() == Some(expected);
    let shown: String = text.chars().take(40).collect();
    let note = match &actual {
        _ if ok => None,
        None => Some("nothing here computes a field of this name".to_string()),
        Some(actual) => {
            let lists = (actual.as_array(), expected.as_array());
            let first = match lists {
                (Some(a), Some(e)) => a.iter().zip(e).position(|(a, e)| a != e).unwrap_or(a.len().min(e.len())),
                _ => 0,
            };
            Some(format!("{shown:?}: differs from place {first} on"))
        }
    };
    Comparison { name, error: if ok { 0.0 } else { f64::INFINITY }, tolerance: 0.0, ok, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_and_named() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizer");
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(golden.join("tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
        let failed = |expected: &str| {
            std::fs::write(dir.path().join("expected.json"), expected).unwrap();
            let report = run(dir.path()).unwrap();
            let names = report.tensors.iter().filter(|t| !t.ok).map(|t| t.name.clone());
            names.collect::<Vec<_>>()
        };
        // In this vocabulary "er" is 256 and "a" is 64.
        assert_eq!(
            failed(r#"[{"text": "era", "ids": [256, 64], "characters": [[0, 2], [2, 3]], "decoded": "era"}]"#),
            [""; 0]
        );
        assert_eq!(failed(r#"[{"text": "era", "ids": [256, 65], "decoded": "era"}]"#), ["0.ids", "0.decoded"]);
        assert_eq!(failed(r#"[{"text": "era", "ids": [256]}, {"text": "a", "idz": [64]}]"#), ["0.ids", "1.idz"]);
        assert_eq!(failed(r#"[{"text": "era", "ids": [256, -1], "decoded": "era"}]"#), ["0.ids", "0.decoded"]);
        // A decoder's folder whose tokenizer alone is compared.
        std::fs::write(dir.path().join("config.json"), "{\"model_type\": \"qwen2\"}").unwrap();
        assert_eq!(crate::verify::verify(dir.path(), &crate::verify::Options::default()).unwrap().kind, "tokenizer");
        for nothing in ["[]", "{}", "[{\"ids\": []}]", "[{\"text\": \"a\"}]", "["] {
            std::fs::write(dir.path().join("expected.json"), nothing).unwrap();
            assert!(run(dir.path()).unwrap_err().message().contains("expected.json"), "{nothing}");
        }
    }
}
