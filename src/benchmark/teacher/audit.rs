//! A sample for people: accepted and refused rows beside what is true of their scenes.

use super::super::draft::Pool;
use super::super::facts::{Facts, OCTANTS};
use super::super::wording::octant;
use super::ledger::Line;
use super::outcome::Outcome;
use super::reply::TaughtRow;
use crate::error::Result;
use crate::files::write_bytes_atomic;
use crate::rng::Rng;
use crate::text::questions::Letter;
use std::fmt::Write;
use std::path::Path;

/// Name of the sample in the folder of the questions.
pub const AUDIT_FILE: &str = "audit.md";

/// Writes up to `n` accepted and `n` refused rows, drawn by the seed.
///
/// # Errors
/// `Io` naming the file.
pub(super) fn write(out: &Path, pool: &Pool, seed: u64, n: usize, lines: &[Line]) -> Result<()> {
    let with_row = |line: &&Line| line.row.is_some() && line.outcome != Outcome::Reread;
    let (accepted, refused): (Vec<&Line>, Vec<&Line>) =
        lines.iter().filter(with_row).partition(|line| line.outcome == Outcome::Accepted);
    let mut text =
        String::from("# Rows of the teacher\n\nDrawn by the seed: look whether each text says what its claims say.\n");
    for (title, mut all) in [("Accepted", accepted), ("Refused", refused)] {
        Rng::new(seed, "teacher audit", all.len() as u64).shuffle(&mut all);
        let of = all.len();
        all.truncate(n);
        all.sort_by_key(|line| line.request);
        let _ = write!(text, "\n## {title}: {} of {of}\n", all.len());
        for line in all {
            if let Some(row) = &line.row {
                let facts = pool.scenes.iter().find(|f| f.truth.id == line.scene);
                one(&mut text, line, row, facts);
            }
        }
    }
    write_bytes_atomic(&out.join(AUDIT_FILE), text.as_bytes())
}

// Writing to a string cannot fail.
fn one(text: &mut String, line: &Line, row: &TaughtRow, facts: Option<&Facts>) {
    let _ = write!(text, "\n### Request {}: {} ({}, {})\n\n", line.request, line.outcome, line.task.id(), line.scene);
    let _ = writeln!(text, "{}\n", row.question);
    for (letter, option) in Letter::ALL.into_iter().zip(&row.options) {
        let key = if letter == row.answer { " (key)" } else { "" };
        let _ = writeln!(text, "- {letter}: {option}{key}");
        if let Some(claims) = &row.claims {
            let claim = serde_json::to_string(&claims[letter.index()]).expect("plain data");
            let _ = writeln!(text, "  - `{claim}`");
        }
    }
    let Some(facts) = facts else { return };
    let room = facts.room();
    let [length, width, height] = room.dimensions_m;
    let _ = writeln!(text, "\nRoom: {length:.2} x {width:.2} x {height:.2} m, {}, {}.", room.size, room.finish);
    for i in 0..facts.count() {
        let (azimuth, elevation, m) = (facts.azimuth_deg(i, 0.0), facts.elevation_deg(i), facts.distance_m(i));
        let (label, way, begins) = (&facts.labels[i], OCTANTS[octant(azimuth)], facts.begins_s(i));
        let _ = writeln!(
            text,
            "Source {i}: {label}, azimuth {azimuth:.2} ({way}), elevation {elevation:.2}, {m:.2} m, from {begins:.1} s on."
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::tests::{facts, source};
    use super::super::super::task::Task;
    use super::*;

    #[test]
    fn a_sample_shows_text_claims_and_truth() {
        let scene = facts(vec![source("rain", 100.0, 2.0, 2.5)]);
        let pool = Pool::new(vec![scene]);
        let line = |request: u64, outcome| Line {
            request,
            ask: request,
            task: Task::EstimateDistance,
            scene: "scene-00000000".into(),
            again: false,
            outcome,
            status: None,
            row: Some(TaughtRow {
                question: format!("How far is the rain, {request}?"),
                options: ["1 m", "2.5 m", "4 m", "9 m"].map(String::from),
                answer: Letter::B,
                claims: None,
            }),
            settings: None,
        };
        let outcomes = [Outcome::Accepted, Outcome::Reread, Outcome::WrongKey, Outcome::Accepted, Outcome::Accepted];
        let lines: Vec<Line> = outcomes.into_iter().enumerate().map(|(i, o)| line(i as u64, o)).collect();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &pool, 1, 2, &lines).unwrap();
        let text = std::fs::read_to_string(folder.path().join(AUDIT_FILE)).unwrap();
        assert!(text.contains("Accepted: 2 of 3") && text.contains("Refused: 1 of 1") && text.contains("wrong_key"));
        assert!(text.contains("- B: 2.5 m (key)") && text.contains("Source 0: rain, azimuth 100.00 (left)"), "{text}");
        write(folder.path(), &pool, 1, 2, &lines).unwrap();
        assert_eq!(text, std::fs::read_to_string(folder.path().join(AUDIT_FILE)).unwrap());
    }
}
