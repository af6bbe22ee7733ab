//! Answers in prose that a person has read: `tests/golden/answers`.

use super::{Match, read_option};
use crate::text::questions::Said;
use serde_json::Value;
use std::path::Path;

fn rows(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/answers").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How many were read rightly, of how many; and what was wrong, a line each.
fn read_all(name: &str) -> (usize, usize, Vec<String>, Vec<String>) {
    let (mut right, mut n, mut wrong, mut credited) = (0, 0, Vec::new(), Vec::new());
    for row in rows(name) {
        let options: Vec<&str> = row["options"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
        let said = Said::Text(row["text"].as_str().unwrap().into());
        let read = read_option(&said, options.try_into().unwrap(), Match::Both).chosen().map(|letter| letter.to_string());
        n += 1;
        if read.as_deref() == row["expected"].as_str() {
            right += 1;
            continue;
        }
        let line = format!("{} {}: read {read:?}, meant {} ({})", row["id"], row["text"], row["expected"], row["why"]);
        if row["trap"] == true && read.is_some() {
            credited.push(line.clone());
        }
        wrong.push(line);
    }
    (right, n, wrong, credited)
}

#[test]
fn prose_is_read_as_a_person_reads_it() {
    let (right, n, wrong, credited) = read_all("prose.jsonl");
    assert!(n >= 200 && credited.is_empty(), "traps:\n{}", credited.join("\n"));
    assert!(right == n, "{right} of {n}:\n{}", wrong.join("\n"));
}

#[test]
fn prose_that_was_written_after_the_reader_is_read_too() {
    let (right, n, wrong, credited) = read_all("held_out.jsonl");
    assert!(n >= 60 && credited.is_empty(), "{right} of {n}; traps:\n{}\nall:\n{}", credited.join("\n"), wrong.join("\n"));
    assert!(right == n, "{right} of {n}:\n{}", wrong.join("\n"));
}
