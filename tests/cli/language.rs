//! `twnm-train language` as a program: what it shows, what it refuses, and a run that is stopped in the middle.

use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Lines of training rows: a word, and the letter of the option that repeats it.
fn rows(count: usize) -> String {
    const WORDS: [&str; 4] = ["bell", "rain", "siren", "engine"];
    let row = |n: usize| {
        let word = WORDS[n % 4];
        let options: [&str; 4] = std::array::from_fn(|i| WORDS[(n * 5 / 3 + i) % 4]);
        let letter = ["A", "B", "C", "D"][options.iter().position(|option| *option == word).unwrap()];
        let response = format!("<think>I hear the {word}.</think><answer>{letter}</answer>");
        let row = serde_json::json!({
            "sample_id": n.to_string(), "question": "What is heard?", "option_a": options[0], "option_b": options[1],
            "option_c": options[2], "option_d": options[3], "answer_letter": letter, "answer_text": word,
            "level": 1, "task": "l1_identify_event_class", "reasoning": format!("I hear the {word}."),
            "response": response, "description": format!("The {word}: {}.{} m.", n % 3, n % 10),
        });
        format!("{row}\n")
    };
    (0..count).map(row).collect()
}

/// The command that trains in `out` below `home`.
fn command(home: &Path, out: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twnm-train"));
    command.current_dir(home).args(["language", "--device", "host", "--out", out]);
    let sets = [
        "data.train=[\"rows.jsonl\"]",
        "data.dev=[\"rows.jsonl\"]",
        "data.tokens_max=120",
        "model.hidden=16",
        "model.intermediate=24",
        "model.layers=2",
        "model.heads=2",
        "model.heads_kv=2",
        "tokenizer.vocabulary=300",
        "train.tokens=240",
        "train.steps=200",
        "train.save_every=70",
        "train.score_every=150",
        "train.score_rows=8",
        "train.answer_tokens=4",
        "train.log_every=1",
    ];
    sets.iter().for_each(|set| _ = command.args(["--set", set]));
    command.args(more);
    command
}

#[track_caller]
fn ends(mut command: Command, code: i32) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    output
}

#[test]
fn a_run_that_is_stopped_goes_on_to_the_same_decoder() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("rows.jsonl"), rows(30)).unwrap();
    let output = ends(command(home, "whole", &[]), 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "whole/decoder");
    let mut child = command(home, "stopped", &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (started, metrics) = (Instant::now(), home.join("stopped/metrics.jsonl"));
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3 {
        assert!(started.elapsed() < Duration::from_secs(120), "no line of metrics");
        std::thread::sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75), "stopped with its state saved");
    assert!(!home.join("stopped/decoder").exists(), "no half-trained decoder passes for a finished one");
    ends(command(home, "stopped", &[]), 0);
    for file in ["decoder/model.safetensors", "decoder/tokenizer.json", "metrics.jsonl", "README.md"] {
        let [a, b] = ["whole", "stopped"].map(|run| std::fs::read(home.join(run).join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
    let card = std::fs::read_to_string(home.join("whole/README.md")).unwrap();
    assert!(card.contains("the gate before stage 2") && card.contains("letters right"), "{card}");
    // Other rows under the same name are not continued with.
    std::fs::write(home.join("rows.jsonl"), rows(31)).unwrap();
    ends(command(home, "whole", &[]), 2);
}

#[test]
fn what_would_run_is_shown_and_what_cannot_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("rows.jsonl"), rows(30)).unwrap();
    let output = ends(command(home, "shown", &["--dry-run"]), 0);
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("prompt_weight = 1.0"), "{shown}");
    assert!(said.contains("training rows: 30") && said.contains("dev questions with a letter: 30"), "{said}");
    assert!(!home.join("shown").exists(), "nothing is written");
    std::fs::write(home.join("array.jsonl"), "[1, 2]\n").unwrap();
    for (set, code, named) in [
        ("data.train=[]", 2, "data.train names no rows"),
        ("data.train=[\"nowhere.jsonl\"]", 66, "nowhere.jsonl"),
        ("data.train=[\"array.jsonl\"]", 65, "array.jsonl:1"),
        ("data.tokens_max=20", 65, "data.tokens_max is 20"),
        ("model.heads=3", 2, "model.heads = 3"),
        ("model.layer=3", 2, "model.layers"),
    ] {
        let output = ends(command(home, "refused", &["--set", set]), code);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(named), "{set}: {said}");
        assert!(!home.join("refused/checkpoints").exists(), "{set}");
    }
}
