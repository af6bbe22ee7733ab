//! Scores against other people's: the official DCASE 2024 code and SciPy's assignment; and `twnm-eval dcase` as a
//! program, with folders as they must not be.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use twnm::eval::assignment::assign;
use twnm::eval::dcase;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Compares every number of `expected` with the one at the same place of `found`; returns how many there were.
#[track_caller]
fn compare(place: &str, expected: &Value, found: &Value) -> usize {
    match expected {
        Value::Object(map) => map.iter().map(|(key, e)| compare(&format!("{place}.{key}"), e, &found[key])).sum(),
        Value::Array(list) => {
            assert_eq!(found.as_array().map(Vec::len), Some(list.len()), "{place}");
            list.iter().enumerate().map(|(i, e)| compare(&format!("{place}[{i}]"), e, &found[i])).sum()
        }
        Value::Number(number) => {
            let (e, f) = (number.as_f64().unwrap(), found.as_f64());
            assert!(f.is_some_and(|f| (f - e).abs() < 1e-6), "{place}: {found}, expected {e}");
            1
        }
        Value::Null => {
            assert!(found.is_null(), "{place}: {found}, expected null");
            1
        }
        _ => 0,
    }
}

fn exact(folder: &Path) -> Value {
    let settings = dcase::Settings { is_exact: true, ..dcase::Settings::default() };
    dcase::evaluate(&folder.join("reference"), &folder.join("prediction"), settings).unwrap().to_json()
}

#[test]
fn exact_scores_are_those_of_the_official_code() {
    let folder = golden("dcase");
    let numbers = compare("dcase", &read_json(&folder.join("expected.json")), &exact(&folder));
    assert_eq!(numbers, 7 + 3 * 13 + 7 * 2);
}

#[test]
fn exact_scores_of_awkward_folders_are_those_of_the_official_code() {
    let mut numbers = 0;
    for case in 1..=7 {
        let folder = golden("dcase-random").join(case.to_string());
        numbers += compare(&format!("case {case}"), &read_json(&folder.join("expected.json")), &exact(&folder));
    }
    assert_eq!(numbers, 5 * 255 + 2 * 171);
}

#[test]
fn assignments_are_those_of_scipy() {
    let file = read_json(&golden("assignment/cases.json"));
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 400);
    for case in cases {
        let costs: Vec<Vec<f64>> = serde_json::from_value(case["costs"].clone()).unwrap();
        let pairs: Vec<(usize, usize)> = serde_json::from_value(case["pairs"].clone()).unwrap();
        let found = assign(costs.len(), costs[0].len(), |i, j| costs[i][j]);
        let total: f64 = found.iter().map(|&(i, j)| costs[i][j]).sum();
        assert!((total - case["total"].as_f64().unwrap()).abs() < 1e-9, "{case}: {found:?}");
        assert_eq!(found, pairs, "of equally cheap assignments the same one: {case}");
    }
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twnm-eval"));
    command.arg("dcase").args(arguments).current_dir(home).env("NO_COLOR", "1").output().unwrap()
}

const FOLDERS: [&str; 4] = ["--reference", "reference", "--prediction", "prediction"];

fn write(home: &Path, path: &str, text: &str) {
    let path = home.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[track_caller]
fn refused(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in:\n{text}"));
    assert!(output.stdout.is_empty() && !text.contains("panicked"), "{text}");
}

#[test]
fn the_program_prints_one_json_object_or_a_table() {
    let folder = golden("dcase");
    let json = run(&folder, &[&FOLDERS[..], &["--exact", "--json"]].concat());
    assert!(json.status.success());
    let found: Value = serde_json::from_slice(&json.stdout).expect("one JSON object on standard output");
    compare("program", &read_json(&folder.join("expected.json")), &found);
    let table = String::from_utf8(run(&folder, &FOLDERS).stdout).unwrap();
    assert!(table.contains("8 files, all frames") && table.contains("female speech"), "{table}");
    assert!(!table.contains("NaN") && !table.contains("inf"), "{table}");
}

#[test]
fn a_missing_prediction_is_said_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "reference/split/a.csv", "0,1,0,10,0,100\n1,1,0,10,0,100\n");
    write(home.path(), "reference/split/b.csv", "0,1,0,10,0,100\n1,1,0,10,0,100\n");
    write(home.path(), "prediction/a.csv", "0,1,0,10,0,1.0\n1,1,0,10,0,1.0\n");
    for (flag, part) in [(None, "all its sources are missed"), (Some("--exact"), "left out, as by the official code")] {
        let output = run(home.path(), &[&FOLDERS[..], flag.as_slice(), &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && text.lines().count() == 1 && text.contains(part), "{text}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let recall = json["class_localization_recall"][1].as_f64().unwrap();
        assert!((recall - if flag.is_some() { 1.0 } else { 0.5 }).abs() < 1e-12, "{recall}");
    }
}

#[test]
fn what_cannot_be_scored_ends_with_the_documented_code() {
    let home = tempfile::tempdir().unwrap();
    refused(&run(home.path(), &FOLDERS), 66, &["--reference", "does not exist"]);
    write(home.path(), "reference/notes.txt", "nothing");
    refused(&run(home.path(), &FOLDERS), 66, &["no CSV file"]);
    write(home.path(), "reference/a.csv", "0,1,0,10,0,100\n1,1,0,10,0,100\n");
    write(home.path(), "prediction/a.csv", "0,1,0,1,0,0,1.0\n1,1,0,0.9x,0,0,1.0\n");
    refused(&run(home.path(), &FOLDERS), 65, &["a.csv: line 2: x is \"0.9x\""]);
    write(home.path(), "prediction/a.csv", "0,1,0,1,0,0,1.0\n1,1,0,0.9");
    refused(&run(home.path(), &FOLDERS), 65, &["a.csv: line 2: 4 columns", "cut off"]);
    write(home.path(), "prediction/a.csv", "0,1,0,1,0,0,1.0\n");
    write(home.path(), "prediction/b.csv", "");
    refused(&run(home.path(), &FOLDERS), 65, &["b.csv", "no reference"]);
    refused(&run(home.path(), &["--reference", "reference"]), 2, &["--prediction"]);
    refused(&run(home.path(), &[&FOLDERS[..], &["--exakt"]].concat()), 2, &["--exakt"]);
    std::fs::remove_file(home.path().join("prediction/b.csv")).unwrap();
    std::fs::remove_file(home.path().join("prediction/a.csv")).unwrap();
    std::fs::create_dir(home.path().join("prediction/a.csv")).unwrap();
    refused(&run(home.path(), &FOLDERS), 66, &["--prediction", "no CSV file"]);
}

#[test]
fn other_columns_and_units_are_refused_with_the_flag_that_mends_them() {
    let home = tempfile::tempdir().unwrap();
    // DCASE 2025 with its header, as the official tools write it.
    let stereo = "frame,class,source,azimuth,distance,onscreen\n0,1,0,10,200,1\n0,3,0,-90,150,0\n";
    write(home.path(), "reference/a.csv", stereo);
    write(home.path(), "prediction/a.csv", stereo);
    for more in [&["--json"][..], &["--exact"], &["--distance-unit", "cm"]] {
        refused(
            &run(home.path(), &[&FOLDERS[..], more].concat()),
            65,
            &["reference/a.csv: line 1", "onscreen", "2024"],
        );
    }
    write(home.path(), "reference/a.csv", "frame,class,elevation,azimuth,distance\n0,1,0,10,2.0\n1,1,0,150,3.0\n");
    write(home.path(), "prediction/a.csv", "0,1,0,10,0,2.5\n1,1,0,150,0,3.0\n");
    refused(&run(home.path(), &FOLDERS), 65, &["reference/a.csv", "--distance-unit m"]);
    let read = run(home.path(), &[&FOLDERS[..], &["--distance-unit", "m", "--json"]].concat());
    let json: Value = serde_json::from_slice(&read.stdout).unwrap();
    let error = json["class_distance_error_m"][1].as_f64().unwrap();
    assert!((error - 0.25).abs() < 1e-12 && read.stderr.is_empty(), "{json}");
    write(home.path(), "prediction/a.csv", "0,1,0,10,0,250\n1,1,0,150,0,300\n");
    let mixed = ["--distance-unit", "m", "--prediction-distance-unit", "cm", "--json"];
    let json: Value = serde_json::from_slice(&run(home.path(), &[&FOLDERS[..], &mixed].concat()).stdout).unwrap();
    assert!((json["class_distance_error_m"][1].as_f64().unwrap() - 0.25).abs() < 1e-12, "{json}");
    refused(
        &run(home.path(), &[&FOLDERS[..], &mixed[..2]].concat()),
        65,
        &["prediction/a.csv", "--prediction-distance-unit cm"],
    );
    refused(&run(home.path(), &[&FOLDERS[..], &["--distance-unit", "mm"]].concat()), 2, &["--distance-unit"]);
}

#[test]
fn a_million_rows_are_scored_in_bounds_and_a_crowd_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let rows = |scale: usize| -> String {
        (0..1_000_000).map(|i| format!("{},{},0,{},{},{}\n", i / 20, i % 10, i % 360, i % 90, scale)).collect()
    };
    write(home.path(), "reference/a.csv", &rows(100));
    write(home.path(), "prediction/a.csv", &rows(1));
    let begin = Instant::now();
    let output = run(home.path(), &[&FOLDERS[..], &["--json"]].concat());
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["class_f20"][3].as_f64(), json["er"].as_f64()), (Some(1.0), Some(0.0)));
    write(home.path(), "prediction/a.csv", &"0,1,0,10,0,1\n".repeat(1_000_000));
    refused(&run(home.path(), &FOLDERS), 65, &["frame 0 has 1000000 rows of class 1"]);
}

#[test]
fn what_is_hardly_meant_is_warned_of_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let header = "frame,class,source,azimuth,elevation,distance\n";
    let (truth, said) = ("0,2,0,30,0,200\n1,2,0,30,0,210\n", "0,2,0,40,0,3.0\n1,2,0,40,0,3.1\n");
    for (reference, prediction, part) in [
        ("", said, "--reference: no file has a row"),
        (header, said, "--reference: no file has a row"),
        ("", header, "no file of either side"),
        (truth, "0,2,0,40,0,3.0\n0,2,0,40,0,3.1\n", "1 rows of the prediction are there twice"),
        ("0,2,0,30,0,2000\n1,2,0,30,0,2100\n", "", "--reference: the median distance is about"),
        (truth, "0,2,0,40,0,3.0\n1,2,0,40,0,3.1\n2,2,0,40,0,150\n", "--prediction: one distance is 150 m"),
        (truth, said, ""),
    ] {
        write(home.path(), "reference/a.csv", reference);
        write(home.path(), "prediction/a.csv", prediction);
        let output = run(home.path(), &[&FOLDERS[..], &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        let lines = usize::from(!part.is_empty());
        assert!(text.lines().count() == lines && text.contains(part), "{part:?}: {text}");
    }
}
