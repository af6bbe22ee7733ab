//! What is known of each question's scene without being said: a line of `strata.jsonl`, for results by source count, room,
//! direct-to-reverberant ratio and kind, for intervals over scenes, and for the mono ceiling.

use super::questions::{LINE_BYTES_MAX, Letter, read_lines};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Name of the file, beside `metadata.jsonl`.
pub const STRATA_FILE: &str = "strata.jsonl";

/// What a question's scene is like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// Which question.
    pub sample_id: String,
    /// The scene it is about; several questions may be about one, each with a recording of its own.
    pub scene: String,
    /// Kind of question within its task.
    pub kind: String,
    /// Number of sources.
    pub sources: usize,
    /// `small`, `medium` or `large`, where the room is known.
    pub room_size: Option<String>,
    /// `reflective`, `moderate` or `absorptive`, where the room is known.
    pub room_finish: Option<String>,
    /// Least direct-to-reverberant ratio of its sources in dB, where it was measured.
    pub drr_db: Option<f64>,
    /// The options that cannot be excluded by who knows every sound, word and count, and nothing of space.
    pub mono: Vec<Letter>,
}

/// Longest name of a scene, kind, size or finish in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Most sources.
const SOURCES_MAX: usize = 1000;

/// Reads strata.
///
/// # Errors
/// `Missing` without the file; `Data` naming file, line and field.
pub fn read_strata(path: &Path) -> Result<Vec<Stratum>> {
    let mut rows = Vec::new();
    read_lines(path, LINE_BYTES_MAX, |row: Stratum| {
        check(&row)?;
        let key = format!("sample_id {:?}", row.sample_id);
        rows.push(row);
        Ok(key)
    })?;
    Ok(rows)
}

fn check(row: &Stratum) -> Result<(), String> {
    let names = [Some(&row.scene), Some(&row.kind), row.room_size.as_ref(), row.room_finish.as_ref()];
    if let Some(name) = names.into_iter().flatten().find(|name| name.len() > NAME_BYTES_MAX) {
        return Err(format!("a name of {} bytes, at most {NAME_BYTES_MAX} are read", name.len()));
    }
    if row.sources > SOURCES_MAX {
        return Err(format!("sources is {}, at most {SOURCES_MAX} are read", row.sources));
    }
    let is_choice = (1..=4).contains(&row.mono.len()) && row.mono.windows(2).all(|pair| pair[0] < pair[1]);
    if !is_choice {
        return Err(format!("mono is {:?}, one to four letters in order are expected", row.mono));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn rows_come_back_and_others_are_refused_by_name() {
        let good = r#"{"sample_id":"a","scene":"s","kind":"k","sources":2,"room_size":"small","room_finish":null,"drr_db":-3.5,"mono":["A","C"]}"#;
        let read = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            read_strata(file.path())
        };
        let rows = read(good).unwrap();
        assert_eq!((rows[0].mono.as_slice(), rows[0].drr_db), ([Letter::A, Letter::C].as_slice(), Some(-3.5)));
        assert_eq!(serde_json::to_string(&rows[0]).unwrap(), good);
        for (from, to, part) in [
            ("[\"A\",\"C\"]", "[]", "mono"),
            ("[\"A\",\"C\"]", "[\"C\",\"A\"]", "mono"),
            ("[\"A\",\"C\"]", "[\"E\"]", "unknown variant"),
            ("\"sources\":2", "\"sources\":1e99", "invalid"),
            ("\"sources\":2", "\"sources\":2000", "sources"),
            ("-3.5", "1e999", "out of range"),
            ("\"kind\":\"k\",", "", "kind"),
            ("\"s\"", &format!("{:?}", "s".repeat(300)), "300 bytes"),
        ] {
            let error = read(&good.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(":1"), "{to}: {error}");
        }
        assert!(read(&format!("{good}\n{good}")).unwrap_err().to_string().contains("line 1 already"));
    }
}
