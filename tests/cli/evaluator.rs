//! What scoring says beyond a number: a line per question, scenes, strata, several models, other orders, other forms.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const EVAL: &str = env!("CARGO_BIN_EXE_twnm-eval");
const LETTERS: [&str; 4] = ["A", "B", "C", "D"];
const SOUNDS: [&str; 4] = ["the dog", "the phone", "the rain", "the bell"];

fn run(folder: &Path, line: &str) -> Output {
    Command::new(EVAL).args(line.split_whitespace()).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

#[track_caller]
fn ends(folder: &Path, code: i32, line: &str) -> [String; 2] {
    let output = run(folder, line);
    let [out, log] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(code), "{line}: {log}");
    [out, log]
}

#[track_caller]
fn scored(folder: &Path, line: &str) -> Value {
    serde_json::from_str(&ends(folder, 0, &format!("{line} --json"))[0]).expect("one JSON object")
}

fn write(folder: &Path, name: &str, rows: &[Value]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Question `id` of `per_scene` about its scene, each with a recording of its own.
fn question(id: usize) -> Value {
    json!({"file_name": format!("audio/{id}.wav"), "sample_id": format!("{id:03}"), "question": "Which sound is closer?",
        "option_a": "the dog", "option_b": "the phone", "option_c": "the rain", "option_d": "the bell",
        "answer_letter": LETTERS[id % 4], "answer_text": SOUNDS[id % 4],
        "level": 2, "task": "l2_compare_object_distances"})
}

fn stratum(id: usize, per_scene: usize) -> Value {
    let other = LETTERS[(id + 1) % 4];
    let mut mono = vec![LETTERS[id % 4], other];
    mono.sort_unstable();
    json!({"sample_id": format!("{id:03}"), "scene": format!("scene-{}", id / per_scene), "kind": if id.is_multiple_of(2) { "closer" } else { "farther" },
        "sources": 1 + id / per_scene % 3, "room_size": "small", "room_finish": null, "drr_db": 3.0 * (id % 5) as f64 - 7.0,
        "mono": mono})
}

/// 60 questions about 20 scenes; the answers to the first 10 scenes are right.
fn set(folder: &Path) {
    write(folder, "metadata.jsonl", &(0..60).map(question).collect::<Vec<_>>());
    let said = |id: usize, right: bool| json!({"sample_id": format!("{id:03}"), "answer_letter": LETTERS[if right { id % 4 } else { (id + 2) % 4 }]});
    let model = |right: &dyn Fn(usize) -> bool| (0..60).map(|id| said(id, right(id))).collect::<Vec<_>>();
    write(folder, "good.jsonl", &model(&|id| id < 30));
    write(folder, "fair.jsonl", &model(&|id| id < 15));
    write(folder, "bad.jsonl", &model(&|id| id < 12));
}

const MCQ: &str = "mcq --benchmark metadata.jsonl --answers good.jsonl";

#[test]
fn scenes_widen_intervals_and_strata_stand_beside_the_mono_ceiling() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    set(home);
    let width = |score: &Value| score["overall"]["high"].as_f64().unwrap() - score["overall"]["low"].as_f64().unwrap();
    let apart = scored(home, MCQ);
    assert_eq!(apart["clustering"], json!({"by": "file_name", "scenes": 60, "largest": 1}));
    assert!(apart.get("mono_ceiling").is_none() && apart.get("strata").is_none());
    write(home, "strata.jsonl", &(0..60).map(|id| stratum(id, 3)).collect::<Vec<_>>());
    let together = scored(home, MCQ);
    assert_eq!(together["clustering"], json!({"by": "scene", "scenes": 20, "largest": 3}));
    assert_eq!(together["overall"]["accuracy"], apart["overall"]["accuracy"]);
    // 20 scenes all right or all wrong: worth (59 / 19) times fewer questions, as Wilson has it for p = 1/2.
    let z2 = 1.959_963_984_540_054f64.powi(2);
    let expected = (z2 / (60.0 * 19.0 / 59.0 + z2)).sqrt();
    assert!((width(&together) - expected).abs() < 1e-12 && width(&together) > width(&apart));
    assert_eq!(together["mono_ceiling"]["overall"], 0.5);
    let strata = together["strata"].as_array().unwrap();
    let of = |by: &str| strata.iter().filter(|row| row["by"] == by).collect::<Vec<_>>();
    let values = |by: &str| of(by).iter().map(|row| row["value"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(values("sources"), ["1", "2", "3"]);
    assert_eq!(values("drr_db"), ["below -6 dB", "-6 to 0 dB", "0 to 6 dB"]);
    assert_eq!((values("room_size"), values("room_finish")), (vec!["small"], vec!["unknown"]));
    assert_eq!(values("kind")[0], "l2_compare_object_distances: closer");
    assert_eq!(of("sources").iter().map(|row| row["n"].as_u64().unwrap()).sum::<u64>(), 60);
    let [tables, _] = ends(home, 0, MCQ);
    for part in
        ["mono ceiling", "chance", "clustered by scene (scene: 20 scenes", "Sources, rooms and kinds", "below -6 dB"]
    {
        assert!(tables.contains(part), "{part} is not in\n{tables}");
    }
    // Of another set: named, and not taken.
    let mut other = stratum(0, 3);
    other["mono"] = json!(["B"]);
    write(home, "other.jsonl", &std::iter::once(other).chain((1..60).map(|id| stratum(id, 3))).collect::<Vec<_>>());
    let said = ends(home, 65, &format!("{MCQ} --strata other.jsonl"))[1].clone();
    assert!(said.contains("\"000\"") && said.contains("excludes the right option"), "{said}");
    write(home, "few.jsonl", &(0..59).map(|id| stratum(id, 3)).collect::<Vec<_>>());
    assert!(ends(home, 65, &format!("{MCQ} --strata few.jsonl"))[1].contains("\"059\""));
}

#[test]
fn every_question_has_its_line_whatever_the_order_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    set(home);
    write(home, "strata.jsonl", &(0..60).map(|id| stratum(id, 3)).collect::<Vec<_>>());
    let said = [
        json!({"sample_id": "000", "answer_letter": "A"}),
        json!({"sample_id": "001", "text": "The answer is C."}),
        json!({"sample_id": "002", "text": "the rain"}),
        json!({"sample_id": "003", "text": "A or B"}),
        json!({"sample_id": "004", "text": "no idea"}),
    ];
    write(home, "said.jsonl", &said);
    let line = "mcq --benchmark metadata.jsonl --answers said.jsonl --per-question";
    ends(home, 0, &format!("{line} one.jsonl"));
    let rows = lines(&home.join("one.jsonl"));
    assert_eq!(rows.len(), 60);
    let found: Vec<&str> = rows.iter().take(6).map(|row| row["found"].as_str().unwrap()).collect();
    assert_eq!(found, ["given", "letter", "text", "contradictory", "nothing", "missing"]);
    assert_eq!(
        rows[1],
        json!({"sample_id": "001", "scene": "scene-0", "task": "l2_compare_object_distances", "kind": "farther", "level": 2,
            "chosen": "C", "right": "B", "correct": false, "found": "letter", "sources": 1, "room_size": "small",
            "room_finish": null, "drr_db": -4.0, "mono_ceiling": 0.5})
    );
    for name in ["metadata.jsonl", "said.jsonl", "strata.jsonl"] {
        let mut rows = lines(&home.join(name));
        rows.reverse();
        write(home, name, &rows);
    }
    ends(home, 0, &format!("{line} two.jsonl"));
    assert_eq!(std::fs::read(home.join("one.jsonl")).unwrap(), std::fs::read(home.join("two.jsonl")).unwrap());
    assert!(ends(home, 2, &format!("{line} said.jsonl"))[1].contains("--per-question"));
    ends(home, 0, &format!("{line} limited.jsonl --limit 7"));
    assert_eq!(lines(&home.join("limited.jsonl")).len(), 7);
}

#[test]
fn several_models_are_compared_with_holms_correction() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    set(home);
    let line = "compare --benchmark metadata.jsonl --answers good=good.jsonl --answers fair=fair.jsonl --answers bad=bad.jsonl";
    let contest = scored(home, line);
    let differences = contest["differences"].as_array().unwrap();
    // One-sided discordant pairs: 15, 18 and 3; Holm times 2, 3 and 1.
    for (row, (n, factor)) in differences.iter().zip([(15, 2.0), (18, 3.0), (3, 1.0)]) {
        let p = 2.0 / 2f64.powi(n);
        assert!((row["p"].as_f64().unwrap() - p).abs() < 1e-15);
        assert!((row["p_holm"].as_f64().unwrap() - factor * p).abs() < 1e-15);
    }
    assert_eq!(contest["answerers"][0]["accuracy"], 0.5);
    // With three questions per scene, the first pair differs in five scenes by three questions each.
    write(home, "strata.jsonl", &(0..60).map(|id| stratum(id, 3)).collect::<Vec<_>>());
    let contest = scored(home, &format!("{line} --against bad"));
    assert_eq!(contest["differences"].as_array().unwrap().len(), 2);
    let first = &contest["differences"][0];
    assert_eq!(
        (first["first"].as_str(), first["second"].as_str(), first["scenes"].as_u64()),
        (Some("good"), Some("bad"), Some(20))
    );
    assert!((first["p"].as_f64().unwrap() - 2.0 / 64.0).abs() < 1e-15, "six scenes: {first}");
    assert!(ends(home, 0, line)[0].contains("p (Holm)"));
    for (more, part) in [("--against none", "--against none"), ("--answers good=bad.jsonl", "twice")] {
        assert!(ends(home, 2, &format!("{line} {more}"))[1].contains(part));
    }
    assert!(ends(home, 2, "compare --benchmark metadata.jsonl --answers a=good.jsonl")[1].contains("2 to"));
}

#[test]
fn a_shuffled_set_asks_the_same_and_leads_to_the_same_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    std::fs::create_dir(home.join("bench")).unwrap();
    set(&home.join("bench"));
    write(home, "bench/strata.jsonl", &(0..60).map(|id| stratum(id, 3)).collect::<Vec<_>>());
    write(home, "bench/audio/0.wav", &[]);
    let before = lines(&home.join("bench/metadata.jsonl"));
    ends(home, 0, "shuffle --benchmark bench --seed 4 --out deep/other");
    let after = lines(&home.join("deep/other/metadata.jsonl"));
    for (a, b) in before.iter().zip(&after) {
        let options = ["option_a", "option_b", "option_c", "option_d"];
        assert!(options.iter().all(|key| a[key] != b[key]));
        assert_eq!((&a["answer_text"], &a["sample_id"], &a["task"]), (&b["answer_text"], &b["sample_id"], &b["task"]));
        let option = options[LETTERS.iter().position(|letter| b["answer_letter"] == *letter).unwrap()];
        assert_eq!(b[option], a["answer_text"]);
    }
    let name = after[0]["file_name"].as_str().unwrap();
    assert_eq!(name, "../../bench/audio/0.wav");
    assert!(home.join("deep/other").join(name).is_file());
    let bytes = std::fs::read(home.join("deep/other/metadata.jsonl")).unwrap();
    ends(home, 0, "shuffle --benchmark bench --seed 4 --out deep/other");
    assert_eq!(bytes, std::fs::read(home.join("deep/other/metadata.jsonl")).unwrap());
    // A public set with its key comes to the same.
    ends(home, 0, "shuffle --benchmark deep/other/public --key deep/other/key.jsonl --seed 9 --out back");
    assert_eq!(lines(&home.join("back/metadata.jsonl"))[0]["file_name"], "../bench/audio/0.wav");
    // Who chooses by text is consistent, who chooses by letter never is.
    let told = |rows: &[Value]| -> Vec<Value> {
        rows.iter().map(|row| json!({"sample_id": row["sample_id"], "text": row["answer_text"]})).collect()
    };
    write(home, "here.jsonl", &told(&before));
    write(home, "there.jsonl", &told(&after));
    let line = "mcq --benchmark bench/metadata.jsonl --shuffled-benchmark deep/other/metadata.jsonl";
    let score = scored(home, &format!("{line} --answers here.jsonl --shuffled there.jsonl"));
    assert_eq!((&score["shuffled"]["consistency"], &score["shuffled"]["accuracy"]), (&json!(1.0), &json!(1.0)));
    let score = scored(home, &format!("{line} --answers bench/good.jsonl --shuffled bench/good.jsonl"));
    assert_eq!(score["shuffled"]["same"], 0);
    // The strata moved along: the right option still stands.
    scored(home, "mcq --benchmark deep/other/metadata.jsonl --answers there.jsonl");
    assert!(ends(home, 2, "shuffle --benchmark bench --out bench")[1].contains("--out"));
}

#[test]
fn the_official_folder_drops_in() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    // Dev with answers, test without; ids of three characters, further columns, caption-like names.
    let row = |id: usize| {
        json!({"file_name": format!("audio/{id:03}.wav"), "sample_id": format!("{id:03}"),
            "question": "Which statement about The youth speaking slowly is right?",
            "option_a": "azimuth 242.52°, elevation 36.27°, 2.23m", "option_b": "azimuth 62.52°, elevation 36.27°, 2.23m",
            "option_c": "azimuth 242.52°, elevation -36.27°, 2.23m", "option_d": "azimuth 242.52°, elevation 36.27°, 4.81m",
            "answer_letter": LETTERS[id % 4], "level": "L2", "task": "l2_bind_identity_location_distance", "duration": 5.0})
    };
    let dev: Vec<Value> = (0..8).map(row).collect();
    let mut test = dev.clone();
    test.iter_mut().for_each(|row| {
        row.as_object_mut().unwrap().remove("answer_letter");
    });
    write(home, "data/dev/metadata.jsonl", &dev);
    write(home, "data/test/metadata.jsonl", &test);
    let said = |id: usize| json!({"sample_id": format!("{id:03}"), "text": "It is at azimuth 242.52 degrees, elevation 36.27 degrees, 2.23 m."});
    write(home, "said.jsonl", &(0..8).map(said).collect::<Vec<_>>());
    let score = scored(home, "mcq --benchmark data/dev --answers said.jsonl");
    assert_eq!(
        (&score["overall"]["correct"], &score["unparsed"], &score["levels"]["2"]["n"]),
        (&json!(2), &json!(0), &json!(8))
    );
    assert_eq!(score["families"]["Attribute Verification"]["n"], 8);
    let refused = ends(home, 65, "mcq --benchmark data/test --answers said.jsonl")[1].clone();
    assert!(refused.contains("data/test/metadata.jsonl") && refused.contains("--key"), "{refused}");
    // What can be done without a key: answer it, export it, put it into another order.
    ends(home, 0, "reference --benchmark data/test --kind cross-question --out guessed.jsonl");
    assert_eq!(lines(&home.join("guessed.jsonl")).len(), 8);
    ends(home, 0, "shuffle --benchmark data/test --out turned");
    assert!(home.join("turned/metadata.jsonl").is_file() && !home.join("turned/key.jsonl").exists());
    for (format, files) in [
        ("lm-eval", &["twnm_mcq.jsonl", "twnm_mcq.yaml", "twnm_mcq_text.yaml"][..]),
        ("vlmeval", &["twnm_mcq.tsv"]),
        ("prompts", &["prompts.jsonl"]),
    ] {
        ends(home, 0, &format!("export --benchmark data/dev --format {format} --out exported"));
        files.iter().for_each(|name| assert!(home.join("exported").join(name).is_file(), "{name}"));
    }
    let prompt = lines(&home.join("exported/prompts.jsonl"))[0]["prompt"].as_str().unwrap().to_string();
    let published = ends(home, 0, "prompt")[0].clone();
    assert!(prompt.starts_with(published.split("{question}").next().unwrap()), "{prompt}");
}

#[test]
fn attacks_print_what_they_find_and_numbers_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    set(home);
    for kind in ["cross-question", "boosted"] {
        let [table, _] =
            ends(home, 0, &format!("reference --benchmark metadata.jsonl --kind {kind} --out {kind}.jsonl"));
        assert!(table.contains(kind) && table.contains("l2_compare_object_distances"), "{table}");
        assert_eq!(lines(&home.join(format!("{kind}.jsonl"))).len(), 60);
    }
    ends(home, 0, "reference --benchmark metadata.jsonl --kind boosted --train metadata.jsonl --seed 2 --out o.jsonl");
    for (flags, part) in
        [("--kind cross-question --seed 1", "--seed"), ("--kind cross-question --train metadata.jsonl", "--train")]
    {
        assert!(ends(home, 2, &format!("reference --benchmark metadata.jsonl --out o {flags}"))[1].contains(part));
    }
    let open = |id: usize, question: &str, answer: &str| json!({"file_name": "a.wav", "sample_id": id, "question": question, "answer": answer, "level": 1, "task": "t"});
    write(
        home,
        "open.jsonl",
        &[
            open(0, "At what azimuth is the dog?", "The dog is at an azimuth of 350.00°."),
            open(1, "How far away is the dog?", "The dog is 2.00 m away."),
            open(2, "What is heard?", "I hear a dog."),
        ],
    );
    let said = |id: usize, text: &str| json!({"sample_id": id, "text": text});
    write(home, "open-said.jsonl", &[said(0, "About 10 degrees."), said(1, "220 cm"), said(2, "a dog")]);
    let score = scored(home, "open --benchmark open.jsonl --answers open-said.jsonl");
    assert_eq!((&score["quantities"]["azimuth_deg"]["mean_error"], &score["skipped"]), (&json!(20.0), &json!(1)));
    assert!((score["quantities"]["distance_m"]["mean_error"].as_f64().unwrap() - 0.2).abs() < 1e-12);
    assert!(ends(home, 0, "open --benchmark open.jsonl --answers open-said.jsonl")[0].contains("azimuth (°)"));
    assert!(ends(home, 65, "open --benchmark metadata.jsonl --answers good.jsonl")[1].contains("answer"));
}

#[test]
fn scoring_files_starts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path());
    // The fastest of several starts: others may use the machine meanwhile. Unoptimised builds are given four times as long.
    let start = || {
        let began = Instant::now();
        ends(folder.path(), 0, MCQ);
        began.elapsed()
    };
    let fastest = (0..7).map(|_| start()).min().unwrap();
    assert!(fastest < Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 50 }), "{fastest:?}");
}
