//! Scoring as users run it: answers, judgements, comparisons, reports and reference answerers, through `twnm-eval`.

use crate::common::{assert_same, lasting};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use twnm::rng::Rng;

const EVAL: &str = env!("CARGO_BIN_EXE_twnm-eval");
const OPTIONS: [&str; 4] = ["one", "two", "three", "four"];
const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(EVAL).args(args).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in:\n{text}"));
    assert!(!text.contains("panicked"), "{text}");
    assert!(output.stdout.is_empty() || code == 0, "a failure prints nothing on standard output");
}

#[track_caller]
fn scored(folder: &Path, args: &[&str]) -> Value {
    let output = run(folder, &[args, &["--json"]].concat());
    expect(&output, 0, &[]);
    serde_json::from_slice(&output.stdout).expect("one JSON object on standard output")
}

/// A question whose right letter runs through A to D.
fn question(id: usize, level: usize, task: &str) -> Value {
    json!({
        "file_name": format!("audio/{}.wav", id / 2), "sample_id": format!("q{id}"), "question": "How many sources?",
        "option_a": OPTIONS[0], "option_b": OPTIONS[1], "option_c": OPTIONS[2], "option_d": OPTIONS[3],
        "answer_letter": LETTERS[id % 4], "answer_text": OPTIONS[id % 4], "level": level, "task": task
    })
}

fn write(folder: &Path, name: &str, rows: &[Value]) {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(folder.join(name), text).unwrap();
}

fn said(id: usize, text: &str) -> Value {
    json!({"sample_id": format!("q{id}"), "text": text})
}

/// The paper's 385, 279 and 336 questions, and answers of which `right` are right at each level.
fn paper_sized(folder: &Path, right: [usize; 3]) {
    let (mut questions, mut answers) = (Vec::new(), Vec::new());
    for (level, n) in [385, 279, 336].into_iter().enumerate() {
        let task = ["l1_localize_azimuth", "l2_compare_object_distances", "l3_causal_intent"][level];
        for i in 0..n {
            let id = questions.len();
            let mut asked = question(id, level + 1, task);
            asked["file_name"] = format!("audio/{id}.wav").into();
            questions.push(asked);
            let letter = LETTERS[if i < right[level] { id % 4 } else { (id + 1) % 4 }];
            answers.push(said(id, &format!("<think>Is it A or B?</think><answer>{letter}</answer>")));
        }
    }
    write(folder, "metadata.jsonl", &questions);
    write(folder, "answers.jsonl", &answers);
}

const MCQ: [&str; 5] = ["mcq", "--benchmark", "metadata.jsonl", "--answers", "answers.jsonl"];

#[test]
fn the_papers_stages_come_out_as_in_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let stages = [
        ([205, 82, 145], 0.432, ["53.25", "29.39", "43.15"]),
        ([251, 197, 172], 0.620, ["65.19", "70.61", "51.19"]),
        ([245, 195, 268], 0.708, ["63.64", "69.89", "79.76"]),
    ];
    for (right, overall, levels) in stages {
        paper_sized(folder.path(), right);
        let score = scored(folder.path(), &MCQ);
        assert_eq!(score["overall"]["accuracy"], overall);
        assert_eq!((score["overall"]["n"].as_u64(), score["unparsed"].as_u64()), (Some(1000), Some(0)));
        for (level, expected) in ["1", "2", "3"].iter().zip(levels) {
            let accuracy = score["levels"][level]["accuracy"].as_f64().unwrap();
            assert_eq!(format!("{:.2}", 100.0 * accuracy), expected);
        }
        // Azimuth and relative distance are about places, causal intent is not.
        assert_eq!(score["location"]["n"], 385 + 279);
        assert_eq!(score["tasks"]["l1_localize_azimuth"], score["levels"]["1"]);
        assert_eq!(score["families"]["Causal Intent"], score["levels"]["3"]);
    }
    // Wilson's interval of 708 of 1000 by hand: (0.708 + 0.0019207 -+ 0.0282464) / 1.0038415.
    let overall = scored(folder.path(), &MCQ)["overall"].clone();
    for (end, expected) in [("low", 0.679_066), ("high", 0.735_342)] {
        assert!((overall[end].as_f64().unwrap() - expected).abs() < 2e-6, "{overall}");
    }
}

/// Two of three questions of the tasks beyond the paper's are right; the numbers of the paper's stay as they are.
#[test]
fn tasks_beyond_the_paper_are_reported_apart() {
    let (both, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    paper_sized(both.path(), [252, 195, 261]);
    let before = scored(both.path(), &MCQ);
    let (mut questions, mut answers) = (vec![], vec![]);
    for id in 1000..1030 {
        let mut asked = question(id, 1, ["ext_order_in_time", "ext_angle_between"][id % 2]);
        (asked["level"], asked["file_name"]) = ("extended".into(), format!("audio/{id}.wav").into());
        questions.push(asked);
        answers.push(said(id, LETTERS[if id % 3 == 0 { (id + 1) % 4 } else { id % 4 }]));
    }
    let read = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(both.path().join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    write(both.path(), "metadata.jsonl", &[read("metadata.jsonl"), questions.clone()].concat());
    write(both.path(), "answers.jsonl", &[read("answers.jsonl"), answers.clone()].concat());
    write(alone.path(), "metadata.jsonl", &questions);
    write(alone.path(), "answers.jsonl", &answers);
    let after = scored(both.path(), &MCQ);
    for part in ["overall", "levels", "tasks", "families", "location"] {
        assert_eq!(before[part], after[part], "{part}");
    }
    assert!(before.get("extended").is_none());
    assert_eq!((&after["extended"]["n"], &after["extended"]["correct"]), (&json!(30), &json!(20)));
    assert_eq!(after["extended_tasks"].as_object().unwrap().len(), 2);
    let only = scored(alone.path(), &MCQ);
    assert_eq!((&only["extended"], &only["overall"]["n"]), (&after["extended"], &json!(0)));
    for folder in [both.path(), alone.path()] {
        expect(&run(folder, &[&MCQ[..], &["--report", "r"]].concat()), 0, &[]);
        let markdown = std::fs::read_to_string(folder.join("r/report.md")).unwrap();
        assert!(markdown.contains("## Beyond the paper's tasks"), "{markdown}");
        assert!(markdown.contains("| all of them | 30 | 25.0 | 66.7 \\["), "{markdown}");
        let output = run(folder, &[&MCQ[..], &["--per-question", "each.jsonl"]].concat());
        expect(&output, 0, &[]);
        let each = std::fs::read_to_string(folder.join("each.jsonl")).unwrap();
        assert_eq!(each.matches("\"level\":\"extended\"").count(), 30);
    }
}

#[test]
fn rows_in_any_order_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    paper_sized(folder.path(), [205, 82, 145]);
    let first = run(folder.path(), &[&MCQ[..], &["--json", "--report", "one"]].concat());
    expect(&first, 0, &[]);
    for (index, name) in ["metadata.jsonl", "answers.jsonl"].iter().enumerate() {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        Rng::new(1, "rows", index as u64).shuffle(&mut lines);
        std::fs::write(folder.path().join(name), lines.join("\r\n")).unwrap();
    }
    let second = run(folder.path(), &[&MCQ[..], &["--json", "--report", "two"]].concat());
    assert_eq!(first.stdout, second.stdout);
    assert_same(&lasting(&folder.path().join("one")), &folder.path().join("two"));
}

#[test]
fn letters_missing_and_unparsed_answers_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let questions: Vec<Value> = (0..8).map(|id| question(id, 1, "l1_count_objects")).collect();
    write(folder.path(), "metadata.jsonl", &questions);
    // Right letters: A B C D A B C D.
    let answers = [
        said(0, "A"),
        said(1, "The answer is A."),
        said(2, "three"),
        said(3, "A dog barks"),
        said(4, "A or B"),
        json!({"sample_id": "q5", "answer_letter": "b"}),
    ];
    write(folder.path(), "answers.jsonl", &answers);
    let score = scored(folder.path(), &MCQ);
    assert_eq!(score["overall"]["correct"], 3);
    assert_eq!((&score["unparsed"], &score["missing"]), (&json!(2), &json!(2)));
    let letter = |letter: &str, key: &str| score["letters"][letter][key].as_f64().unwrap();
    assert_eq!(["A", "B", "C", "D"].map(|l| letter(l, "said")), [2.0, 1.0, 1.0, 0.0]);
    assert_eq!(["A", "B", "C", "D"].map(|l| letter(l, "accuracy")), [0.5, 0.5, 0.5, 0.0]);
    assert_eq!(score["levels"]["2"], json!({"accuracy": null, "n": 0, "correct": 0, "low": null, "high": null}));
    assert_eq!(scored(folder.path(), &[&MCQ[..], &["--match", "letter"]].concat())["overall"]["correct"], 2);
    let text = scored(folder.path(), &[&MCQ[..], &["--match", "text"]].concat());
    assert_eq!((&text["overall"]["correct"], &text["unparsed"]), (&json!(1), &json!(5)));
    // The first four questions; answers to the others are known and left alone.
    let four = scored(folder.path(), &[&MCQ[..], &["--limit", "4"]].concat());
    assert_eq!(
        (&four["overall"]["n"], &four["overall"]["correct"], &four["missing"]),
        (&json!(4), &json!(2), &json!(0))
    );
    // A public set and its key say the same.
    let public: Vec<Value> = questions
        .iter()
        .map(|q| {
            q.as_object()
                .unwrap()
                .iter()
                .filter(|(k, _)| !k.starts_with("answer"))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        })
        .collect();
    write(folder.path(), "public.jsonl", &public);
    let key: Vec<Value> =
        (0..8).map(|id| json!({"sample_id": format!("q{id}"), "answer_letter": LETTERS[id % 4]})).collect();
    write(folder.path(), "key.jsonl", &key);
    let with_key = ["mcq", "--benchmark", "public.jsonl", "--key", "key.jsonl", "--answers", "answers.jsonl"];
    assert_eq!(scored(folder.path(), &with_key), score);
}

#[test]
fn what_is_wrong_with_files_and_flags_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    write(home, "metadata.jsonl", &(0..4).map(|id| question(id, 1, "t")).collect::<Vec<_>>());
    write(home, "answers.jsonl", &[said(0, "A")]);
    let mut public = question(0, 1, "t");
    public.as_object_mut().unwrap().retain(|key, _| !key.starts_with("answer"));
    write(home, "public.jsonl", &[public]);
    write(home, "foreign.jsonl", &[said(0, "A"), said(77, "B")]);
    write(home, "twice.jsonl", &[said(0, "A"), said(0, "B")]);
    std::fs::write(home.join("broken.jsonl"), "{\"sample_id\":\"q0\",\"text\":\"A\"}\n{\"sample_id\":").unwrap();
    std::fs::write(home.join("bytes.jsonl"), b"{\"sample_id\":\"q0\",\"text\":\"\xff\"}").unwrap();
    std::fs::write(home.join("deep.jsonl"), "[".repeat(100_000)).unwrap();
    let long = format!("{{\"sample_id\":\"q0\",\"text\":\"{}\"}}", "A ".repeat(9 << 20));
    std::fs::write(home.join("long.jsonl"), long).unwrap();
    let mcq = |benchmark: &str, answers: &str, more: &[&str]| {
        run(home, &[&["mcq", "--benchmark", benchmark, "--answers", answers, "--json"], more].concat())
    };
    let good = "metadata.jsonl";
    expect(&mcq("none.jsonl", "answers.jsonl", &[]), 66, &["none.jsonl"]);
    expect(&mcq(good, "none.jsonl", &[]), 66, &["none.jsonl"]);
    expect(&mcq("public.jsonl", "answers.jsonl", &[]), 65, &["public.jsonl", "\"q0\"", "--key"]);
    expect(&mcq(good, "foreign.jsonl", &[]), 65, &["foreign.jsonl", "\"q77\""]);
    expect(&mcq(good, "twice.jsonl", &[]), 65, &["twice.jsonl:2", "line 1"]);
    expect(&mcq(good, "broken.jsonl", &[]), 65, &["broken.jsonl:2"]);
    expect(&mcq(good, "bytes.jsonl", &[]), 65, &["bytes.jsonl:1", "UTF-8"]);
    expect(&mcq(good, "deep.jsonl", &[]), 65, &["deep.jsonl:1"]);
    expect(&mcq(good, "long.jsonl", &[]), 65, &["long.jsonl:1", "longer than"]);
    expect(&mcq(good, ".", &[]), 65, &["a folder"]);
    for (text, part) in [
        ("", "no answer in it"),
        ("[{\"sample_id\": \"q0\", \"text\": \"A\"}]", "jq -c '.[]'"),
        ("{\"q0\": \"A\", \"q1\": \"B\"}", "ids and answers"),
        ("sample_id,answer\nq0,A\n", "a table"),
        ("{\"sample_id\": \"q0\", \"response\": \"A\"}", "\"response\""),
    ] {
        std::fs::write(home.join("other.jsonl"), text).unwrap();
        expect(&mcq(good, "other.jsonl", &[]), 65, &["other.jsonl", part]);
    }
    expect(&mcq(good, "answers.jsonl", &["--compare", "foreign.jsonl"]), 65, &["foreign.jsonl", "\"q77\""]);
    expect(&mcq(good, "answers.jsonl", &["--limit", "0"]), 2, &["--limit"]);
    expect(&mcq(good, "answers.jsonl", &["--match", "words"]), 2, &["--match"]);
    expect(&mcq(good, "answers.jsonl", &["--shuffled", "answers.jsonl"]), 2, &["--shuffled-benchmark"]);
    expect(&mcq(good, "answers.jsonl", &["--shuffled-benchmark", good]), 2, &["--shuffled"]);
    expect(&run(home, &["mcq", "--benchmark", good]), 2, &["--answers"]);
    for more in [["--ablate", "w-only"], ["--max-new", "5"], ["--answers-out", "o"], ["--seed", "1"]] {
        expect(&mcq(good, "answers.jsonl", &more), 2, &["--answers"]);
    }
    expect(&run(home, &["report", "--out", "r"]), 2, &["--mcq"]);
    expect(&run(home, &["report", "--out", "r", "--mcq", "answers.jsonl"]), 2, &["NAME=FILE"]);
    expect(&run(home, &["report", "--out", "r", "--mcq", "a=answers.jsonl"]), 65, &["answers.jsonl", "--json"]);
    let refer = |more: &[&str]| run(home, &[&["reference", "--benchmark", good, "--out", "o"], more].concat());
    expect(&refer(&["--kind", "bag-of-words"]), 2, &["--train"]);
    expect(&refer(&["--kind", "constant"]), 2, &["--letter"]);
    expect(&refer(&["--kind", "constant", "--letter", "E"]), 2, &["--letter"]);
    expect(&refer(&["--kind", "random", "--letter", "A"]), 2, &["--letter"]);
    expect(&refer(&["--kind", "random", "--train", good]), 2, &["--train"]);
    expect(&refer(&["--kind", "constant", "--letter", "A", "--seed", "2"]), 2, &["--seed"]);
    assert!(!home.join("r").exists() && !home.join("o").exists(), "failures write nothing");
}

#[test]
fn megabytes_of_anything_are_answers_too() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [
        "<think>".repeat(300_000),
        format!("{} The answer is B", "I hear a dog. ".repeat(100_000)),
        format!("<think>{}</think><answer>C</answer>", "maybe A, maybe B. ".repeat(80_000)),
        "\u{1F600}\u{202e}\u{0}".repeat(100_000),
        "<".repeat(2_000_000),
        "A, B, ".repeat(300_000),
        "**".repeat(700_000),
    ];
    write(folder.path(), "metadata.jsonl", &(0..texts.len()).map(|id| question(id, 1, "t")).collect::<Vec<_>>());
    let answers: Vec<Value> = texts.iter().enumerate().map(|(id, text)| said(id, text)).collect();
    write(folder.path(), "answers.jsonl", &answers);
    let score = scored(folder.path(), &MCQ);
    assert_eq!(score["overall"]["correct"], 2, "{score}");
    assert_eq!(score["unparsed"], 5, "{score}");
}

#[test]
fn two_answerers_are_compared_pair_by_pair() {
    let folder = tempfile::tempdir().unwrap();
    // Each about a recording of its own: the numbers below are those of independent questions.
    let asked = |id: usize| {
        let mut asked = question(id, 1, "t");
        asked["file_name"] = format!("audio/{id}.wav").into();
        asked
    };
    write(folder.path(), "metadata.jsonl", &(0..20).map(asked).collect::<Vec<_>>());
    // The first is right in 0..12, the second in 10..13: 10 against 1 discordant, 2 both, 7 neither.
    let answers = |right: std::ops::Range<usize>| -> Vec<Value> {
        (0..20).map(|id| said(id, LETTERS[if right.contains(&id) { id % 4 } else { (id + 1) % 4 }])).collect()
    };
    write(folder.path(), "answers.jsonl", &answers(0..12));
    write(folder.path(), "other.jsonl", &answers(10..13));
    let score = scored(folder.path(), &[&MCQ[..], &["--compare", "other.jsonl"]].concat());
    let test = &score["compare"];
    assert_eq!(["both", "only_first", "only_second", "neither"].map(|k| test[k].as_u64().unwrap()), [2, 10, 1, 7]);
    // 2 (1 + 11) / 2^11 and (|10 - 1| - 1)^2 / 11.
    assert!((test["p"].as_f64().unwrap() - 24.0 / 2048.0).abs() < 1e-15);
    assert!((test["statistic"].as_f64().unwrap() - 64.0 / 11.0).abs() < 1e-12);
    assert!((test["difference"].as_f64().unwrap() - 0.45).abs() < 1e-15);
}

#[test]
fn the_order_of_options_is_seen_through() {
    let folder = tempfile::tempdir().unwrap();
    let n = 40;
    write(folder.path(), "metadata.jsonl", &(0..n).map(|id| question(id, 1, "t")).collect::<Vec<_>>());
    // Option order D, A, B, C; an answerer by text is consistent, one by letter never is.
    let turned: Vec<Value> = (0..n)
        .map(|id| {
            let mut q = question(id, 1, "t");
            ["option_a", "option_b", "option_c", "option_d"]
                .iter()
                .enumerate()
                .for_each(|(i, key)| q[key] = OPTIONS[(i + 3) % 4].into());
            q["answer_letter"] = LETTERS[(id + 1) % 4].into();
            q
        })
        .collect();
    write(folder.path(), "turned.jsonl", &turned);
    write(folder.path(), "answers.jsonl", &(0..n).map(|id| said(id, "two")).collect::<Vec<_>>());
    write(folder.path(), "letters.jsonl", &(0..n).map(|id| said(id, "B")).collect::<Vec<_>>());
    let both = |answers: &str| {
        let args = [
            "mcq",
            "--benchmark",
            "metadata.jsonl",
            "--answers",
            answers,
            "--shuffled",
            answers,
            "--shuffled-benchmark",
            "turned.jsonl",
        ];
        scored(folder.path(), &args)["shuffled"].clone()
    };
    let by_text = both("answers.jsonl");
    assert_eq!((by_text["consistency"].as_f64(), by_text["accuracy"].as_f64()), (Some(1.0), Some(0.25)));
    assert_eq!(both("letters.jsonl")["same"], 0);
    // Other options, and a question too few.
    let args = |file: &'static str| [&MCQ[..], &["--shuffled", "answers.jsonl", "--shuffled-benchmark", file]].concat();
    let mut other = turned.clone();
    other[3]["option_b"] = "five".into();
    write(folder.path(), "other.jsonl", &other);
    expect(&run(folder.path(), &args("other.jsonl")), 65, &["other.jsonl", "\"q3\""]);
    write(folder.path(), "few.jsonl", &turned[..n - 1]);
    expect(&run(folder.path(), &args("few.jsonl")), 65, &["\"q39\""]);
}

#[test]
fn judgements_stand_beside_their_own_chance() {
    let folder = tempfile::tempdir().unwrap();
    let n = 12;
    write(
        folder.path(),
        "metadata.jsonl",
        &(0..n).map(|id| question(id, 1 + id % 3, "l1_localize_azimuth")).collect::<Vec<_>>(),
    );
    let judged = |say: &dyn Fn(bool) -> Value| -> Value {
        let row = |id: usize, o: usize| json!({"sample_id": format!("q{id}"), "option": LETTERS[o], "answer": say(o == id % 4)});
        write(folder.path(), "said.jsonl", &(0..4 * n).map(|i| row(i / 4, i % 4)).collect::<Vec<_>>());
        scored(folder.path(), &["boolean", "--benchmark", "metadata.jsonl", "--answers", "said.jsonl"])
    };
    let always_false = judged(&|_| false.into());
    let overall = &always_false["overall"];
    assert_eq!((overall["n"].as_u64(), overall["accuracy"].as_f64()), (Some(48), Some(0.75)));
    assert_eq!((overall["balanced_accuracy"].as_f64(), overall["strict"]["accuracy"].as_f64()), (Some(0.5), Some(0.0)));
    assert_eq!(
        (overall["always_true"].as_f64(), overall["always_false"].as_f64(), overall["coin"].as_f64()),
        (Some(0.25), Some(0.75), Some(0.5))
    );
    assert_eq!(always_false["strict_chance"], json!({"coin": 0.0625, "one_true": 0.25}));
    assert_eq!(judged(&|_| "yes".into())["overall"]["accuracy"], 0.25);
    let oracle = judged(&|is_true| if is_true { "True." } else { "<think>true?</think>No" }.into());
    assert_eq!((&oracle["overall"]["accuracy"], &oracle["overall"]["strict"]["accuracy"]), (&json!(1.0), &json!(1.0)));
    assert_eq!(
        (&oracle["said_true"], &oracle["levels"]["2"]["n"], &oracle["location"]["n"]),
        (&json!(12), &json!(16), &json!(48))
    );
    let unclear = judged(&|is_true| if is_true { "perhaps" } else { "false" }.into());
    assert_eq!((&unclear["unparsed"], &unclear["overall"]["accuracy"]), (&json!(12), &json!(0.75)));
    write(folder.path(), "few.jsonl", &[json!({"sample_id": "q0", "option": "A", "answer": true})]);
    let few = ["boolean", "--benchmark", "metadata.jsonl", "--answers", "few.jsonl"];
    assert_eq!(scored(folder.path(), &few)["missing"], 47);
    write(folder.path(), "few.jsonl", &[json!({"sample_id": "q99", "option": "A", "answer": true})]);
    expect(&run(folder.path(), &few), 65, &["few.jsonl", "\"q99\""]);
}

/// A benchmark with results of every kind, for reports.
fn results(folder: &Path) -> Vec<&'static str> {
    paper_sized(folder, [245, 195, 268]);
    let output = run(folder, &[&MCQ[..], &["--compare", "answers.jsonl", "--json"]].concat());
    std::fs::write(folder.join("mcq.json"), output.stdout).unwrap();
    let row =
        |i: usize| json!({"sample_id": format!("q{}", i / 4), "option": LETTERS[i % 4], "answer": i.is_multiple_of(3)});
    write(folder, "said.jsonl", &(0..4000).map(row).collect::<Vec<_>>());
    let output = run(folder, &["boolean", "--benchmark", "metadata.jsonl", "--answers", "said.jsonl", "--json"]);
    std::fs::write(folder.join("boolean.json"), output.stdout).unwrap();
    let encoder = json!({"n": 500, "sources": 900, "count_accuracy": 0.9, "count_accuracy_interval": null,
        "mean_angular_error_deg": 8.04, "mean_angular_error_interval_deg": null, "median_angular_error_deg": null,
        "mean_angular_error_full_deg": null, "distance_error_m": 0.3, "class_accuracy": null,
        "log_surface_error": null, "absorption_error": null, "constant": {}});
    std::fs::write(folder.join("encoder.json"), encoder.to_string()).unwrap();
    let dcase = json!({"f20": 0.131, "doa_error_deg": 36.9, "relative_distance_error": 0.33, "classes": []});
    std::fs::write(folder.join("dcase.json"), dcase.to_string()).unwrap();
    vec![
        "report",
        "--mcq",
        "<b>SAPO</b>|x=mcq.json",
        "--boolean",
        "judge=boolean.json",
        "--encoder",
        "small=encoder.json",
        "--dcase",
        "base=dcase.json",
        "--out",
    ]
}

#[test]
fn the_report_stands_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let args = results(folder.path());
    expect(&run(folder.path(), &[&args[..], &["r"]].concat()), 0, &[]);
    let text = |name: &str| std::fs::read_to_string(folder.path().join("r").join(name)).unwrap();
    let page = text("index.html");
    for fetched in ["http://", "https://", "<script", "url(", "src=", "<link", "@import", "<b>SAPO"] {
        // The pictures name the namespace of SVG, which nothing fetches.
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(fetched), "{fetched}");
    }
    for part in ["&lt;b&gt;SAPO", "70.8 [67.9, 73.5]", "28.30", "86.1\u{b0} (azimuth)", "81.7 (count accuracy)", "<svg"]
    {
        assert!(page.contains(part), "{part}");
    }
    let markdown = text("report.md");
    for part in [
        "&lt;b&gt;SAPO&lt;/b&gt;\\|x",
        "| this run: small | 500 clips | 90.0 | 8.0\u{b0}",
        "13.1 (F20)",
        "always false",
    ] {
        assert!(markdown.contains(part), "{part} is not in\n{markdown}");
    }
    let json: Value = serde_json::from_str(&text("report.json")).unwrap();
    assert_eq!(json["mcq"]["<b>SAPO</b>|x"]["overall"]["accuracy"], 0.708);
    assert_eq!(json["paper"]["table3"]["rows"].as_array().unwrap().len(), 4);
    // Results that cannot be are refused before they are drawn.
    let good = std::fs::read_to_string(folder.path().join("mcq.json")).unwrap();
    std::fs::write(folder.path().join("mcq.json"), good.replacen("0.708", "70.8", 1)).unwrap();
    expect(&run(folder.path(), &[&args[..], &["bad"]].concat()), 65, &["mcq.json", "overall"]);
    let twice = ["report", "--out", "bad", "--dcase", "a=dcase.json", "--dcase", "a=dcase.json"];
    expect(&run(folder.path(), &twice), 2, &["twice"]);
    assert!(!folder.path().join("bad").exists());
    // The short way for one file.
    expect(&run(folder.path(), &[&MCQ[..], &["--report", "short"]].concat()), 0, &[]);
    assert!(folder.path().join("short/index.html").is_file());
}

#[test]
fn a_report_killed_at_random_moments_is_whole_or_absent_and_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let args = results(folder.path());
    expect(&run(folder.path(), &[&args[..], &["whole"]].concat()), 0, &[]);
    let whole = lasting(&folder.path().join("whole"));
    let kills: usize = std::env::var("TWNM_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let mut rng = Rng::new(8, "report", 0);
    for _ in 0..kills {
        let mut command = Command::new(EVAL);
        command.args(&args).arg("killed").current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(rng.below(60_000) as u64));
        // It may have ended by itself just before.
        let _ = child.kill();
        child.wait().unwrap();
        if folder.path().join("killed").exists() {
            for (name, bytes) in lasting(&folder.path().join("killed")) {
                let is_temporary = name.to_string_lossy().starts_with(".tmp-");
                assert!(is_temporary || whole[&name] == bytes, "{} is half-written", name.display());
            }
        }
    }
    expect(&run(folder.path(), &[&args[..], &["killed"]].concat()), 0, &[]);
    twnm::files::remove_temporaries(&folder.path().join("killed")).unwrap();
    assert_same(&whole, &folder.path().join("killed"));
    // A full disk: 74, and nothing half-written.
    let script = "ulimit -f 8 && exec \"$0\" \"$@\"";
    let mut limited = Command::new("bash");
    limited.args(["-c", script, EVAL]).args(&args).arg("full").current_dir(folder.path());
    expect(&limited.output().unwrap(), 74, &["full/"]);
    for (name, bytes) in lasting(&folder.path().join("full")) {
        assert!(whole[&name] == bytes, "{} is half-written", name.display());
    }
}

#[test]
fn reference_answerers_through_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let make = |from: usize| -> Vec<Value> {
        (from..from + 400)
            .map(|id| {
                let mut rng = Rng::new(5, "reference", id as u64);
                let mut q = question(id, 1, "l1_estimate_distance");
                let right = rng.below(4);
                // The right distance is always the second smallest: a leak.
                let base = rng.range(1.0, 2.0);
                let mut steps = [-0.6, 0.5, 1.1];
                rng.shuffle(&mut steps);
                let mut wrong = steps.iter();
                for (i, key) in ["option_a", "option_b", "option_c", "option_d"].iter().enumerate() {
                    let by = if i == right { 0.0 } else { *wrong.next().unwrap() };
                    q[key] = format!("{:.2} m", base + by).into();
                }
                q["answer_text"] = Value::Null;
                q["answer_letter"] = LETTERS[right].into();
                q
            })
            .collect()
    };
    write(folder.path(), "metadata.jsonl", &make(0));
    write(folder.path(), "train.jsonl", &make(1000));
    let accuracy = |kind: &[&str]| {
        let args = [&["reference", "--benchmark", "metadata.jsonl", "--out", "answers.jsonl"], kind].concat();
        expect(&run(folder.path(), &args), 0, &[]);
        let bytes = std::fs::read(folder.path().join("answers.jsonl")).unwrap();
        expect(&run(folder.path(), &args), 0, &[]);
        assert!(bytes == std::fs::read(folder.path().join("answers.jsonl")).unwrap(), "a rerun gives the same bytes");
        let score = scored(folder.path(), &MCQ);
        assert_eq!((score["unparsed"].as_u64(), score["missing"].as_u64()), (Some(0), Some(0)));
        score["overall"]["accuracy"].as_f64().unwrap()
    };
    // Four standard deviations of 400 questions at 25 % are 8.7 points.
    for kind in [
        &["--kind", "random", "--seed", "4"][..],
        &["--kind", "constant", "--letter", "c"],
        &["--kind", "constant", "--train", "train.jsonl"],
    ] {
        let found = accuracy(kind);
        assert!((found - 0.25).abs() < 0.087, "{kind:?}: {found}");
    }
    let found = accuracy(&["--kind", "bag-of-words", "--train", "train.jsonl"]);
    assert!(found > 0.9, "the leak is found: {found}");
}
