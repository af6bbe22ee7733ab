//! `docs/questions.md`: every wording of every kind of question, with an example and its derivation.
//!
//! `TWNM_WRITE_DOCS=1 cargo test --test benchmark docs` writes it anew.

use super::synthetic_scenes::{Named, scenes};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use twnm::benchmark::draft::Pool;
use twnm::benchmark::facts::Facts;
use twnm::benchmark::generate::{Row, Settings, generate};
use twnm::benchmark::{Task, TaskSet};

const INTRODUCTION: &str = "# Wordings of questions

Made by `TWNM_WRITE_DOCS=1 cargo test --test benchmark docs` from 30,000 questions about 4,000 drawn scenes. For each of the 18
tasks of levels 1 to 3 and the nine beyond them (`ext_`, made with `--tasks extended`) and each kind of question in it: every wording (`SOUND` stands for what a source is called, `N` for a number, `WAY` for a
direction word), one example, what its options assert, and the chain of thought that leads to its key.

Conventions: azimuths are counted counter-clockwise from straight ahead (90° is to the left), elevations from eye level upwards,
distances in metres from the listener; moments from the start of the recording, to the nearest half second, and a sound lasts from
when it is first heard to when it is last heard, pauses included. What counts as clearly true and clearly false is said in `src/benchmark/claims`.
";

/// A question without what belongs to its scene.
fn wording(question: &str, labels: &[String]) -> String {
    let mut text = question.to_string();
    for label in labels {
        text = text.replace(&format!("the {label}"), "the SOUND");
    }
    for way in ["front-left", "front-right", "rear-left", "rear-right"] {
        text = text.replace(&format!("from the {way}"), "from the WAY");
    }
    for way in ["front", "rear", "left", "right"] {
        text = text.replace(&format!("from the {way}"), "from the WAY");
    }
    let digits: String = text.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect();
    let mut short = digits;
    for _ in 0..4 {
        short = short.replace("NN", "N").replace("N.N", "N");
    }
    short.replace("N° is straight ahead, N° is to the left", "0° is straight ahead, 90° is to the left")
}

fn example(row: &Row, text: &mut String) {
    let (question, derivation) = (&row.question, &row.derivation);
    writeln!(text, "\n> {}", question.question).unwrap();
    for (letter, option) in ["A", "B", "C", "D"].iter().zip(question.options()) {
        let key = if *letter == derivation.answer_letter.to_string() { " **(key)**" } else { "" };
        writeln!(text, ">\n> {letter}. {option}{key}").unwrap();
    }
    writeln!(text, "\nChain: {}", derivation.reasoning).unwrap();
    let claim = &derivation.claims[derivation.answer_letter.index()];
    writeln!(text, "\nThe key asserts: `{}`", serde_json::to_string(claim).unwrap()).unwrap();
}

#[test]
fn docs_list_every_wording_with_an_example() {
    let facts = |s: &serde_json::Value| Facts::new(serde_json::from_value(s.clone()).unwrap()).ok();
    let pool = Pool::new(scenes(4000, Named::AsInTheBank).iter().filter_map(facts).collect());
    let made = |questions, tasks| {
        let settings = Settings { questions, seed: 1, tasks, ..Settings::default() };
        generate(&pool, settings).unwrap().rows
    };
    // Apart, so that the wordings of the paper's tasks do not depend on the others.
    let rows = [made(20_000, TaskSet::Paper), made(10_000, TaskSet::Extended)].concat();
    let tasks: Vec<Task> = Task::ALL.into_iter().chain(Task::EXTENDED).collect();
    let mut labels = pool.labels.clone();
    labels.sort_by_key(|label| std::cmp::Reverse(label.len()));
    let mut kinds = BTreeMap::<(usize, &str), (BTreeSet<String>, &Row)>::new();
    for row in &rows {
        let task = tasks.iter().position(|task| *task == row.derivation.task).unwrap();
        let entry = kinds.entry((task, row.derivation.kind.as_str())).or_insert_with(|| (BTreeSet::new(), row));
        entry.0.insert(wording(&row.question.question, &labels));
    }
    let (mut text, mut last) = (INTRODUCTION.to_string(), usize::MAX);
    for ((task, kind), (wordings, row)) in &kinds {
        if *task != last {
            writeln!(text, "\n## `{}`", tasks[*task].id()).unwrap();
            last = *task;
        }
        writeln!(text, "\n### {kind}\n").unwrap();
        wordings.iter().for_each(|wording| writeln!(text, "- {wording}").unwrap());
        example(row, &mut text);
    }
    let total: usize = kinds.values().map(|(wordings, _)| wordings.len()).sum();
    assert!(total >= 380 && kinds.len() >= 45, "{total} wordings of {} kinds", kinds.len());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/questions.md");
    if std::env::var_os("TWNM_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let lines: BTreeSet<&str> = there.lines().collect();
    let missing: Vec<String> = kinds
        .iter()
        .flat_map(|((_, kind), (wordings, _))| {
            std::iter::once(format!("### {kind}")).chain(wordings.iter().map(|wording| format!("- {wording}")))
        })
        .filter(|line| !lines.contains(line.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in docs/questions.md (TWNM_WRITE_DOCS=1 writes it anew): {missing:#?}");
}
