//! Scores of small folders worked out by hand, and files as they must not be.

use super::*;
use crate::error::Kind;
use std::path::PathBuf;

/// A folder with `reference` and `prediction`, each a list of file names and contents.
pub(super) struct Case {
    home: tempfile::TempDir,
}

type Files<'a> = &'a [(&'a str, &'a str)];

impl Case {
    pub fn new(reference: Files, prediction: Files) -> Case {
        let case = Case { home: tempfile::tempdir().unwrap() };
        for (side, files) in [("reference", reference), ("prediction", prediction)] {
            std::fs::create_dir_all(case.home.path().join(side)).unwrap();
            files.iter().for_each(|(name, text)| case.write(side, name, text.as_bytes()));
        }
        case
    }
    fn write(&self, side: &str, name: &str, bytes: &[u8]) {
        let path = self.path(side).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    pub fn path(&self, side: &str) -> PathBuf {
        self.home.path().join(side)
    }
    pub fn evaluate(&self, is_exact: bool) -> Result<Outcome> {
        let settings = Settings { is_exact, ..Settings::default() };
        evaluate(&self.path("reference"), &self.path("prediction"), settings)
    }
    pub fn score(&self, is_exact: bool) -> Value {
        self.evaluate(is_exact).unwrap().to_json()
    }
    #[track_caller]
    pub fn refused(&self, kind: Kind, parts: &[&str]) {
        for is_exact in [false, true] {
            let error = self.evaluate(is_exact).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            parts.iter().for_each(|part| assert!(error.to_string().contains(part), "{part:?} is not in: {error}"));
        }
    }
}

#[track_caller]
pub(super) fn close(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("{value} is a number"));
    assert!((value - expected).abs() < 1e-9, "{value} and {expected}");
}

/// Frames 0 to 3 of two classes: hit, misplaced by angle, misplaced by distance, miss, false alarms.
pub(super) const TRUTH: &str = "0,2,0,30,0,200\n1,2,0,30,0,200\n2,2,0,30,0,100\n2,2,1,-60,10,300\n3,5,0,0,0,100\n";
pub(super) const SAID: &str =
    "0,2,0,40,0,3.0\n1,2,0,60,0,2.0\n2,2,0,30,0,2.5\n3,2,0,0,0,1\n3,5,0,10,0,1.1\n4,5,0,0,0,1\n";

#[test]
fn every_score_of_two_classes_is_what_it_is_by_hand() {
    let json = Case::new(&[("a.csv", TRUTH)], &[("a.csv", SAID)]).score(false);
    // Class 2: one hit, two misplaced (30 degrees; 150 % of the distance), one miss, one false alarm.
    close(&json["class_f20"][2], 1.0 / (3.0 + 0.5 * 2.0));
    close(&json["class_doa_error_deg"][2], (10.0 + 30.0 + 0.0) / 3.0);
    close(&json["class_distance_error_m"][2], (1.0 + 0.0 + 1.5) / 3.0);
    close(&json["class_relative_distance_error"][2], (0.5 + 0.0 + 1.5) / 3.0);
    close(&json["class_localization_recall"][2], 3.0 / 4.0);
    close(&json["class_seld_score"][2], (0.75 + 40.0 / 3.0 / 180.0 + 2.0 / 3.0) / 3.0);
    // Class 5: one hit, one false alarm after the last reference.
    close(&json["class_f20"][5], 1.0 / 1.5);
    close(&json["f20"], (0.25 + 1.0 / 1.5) / 2.0);
    close(&json["doa_error_deg"], (40.0 / 3.0 + 10.0) / 2.0);
    close(&json["localization_recall"], 7.0 / 8.0);
    // Frame by frame: 0 | 1 insertion | 1 substitution | 1 insertion | 1 insertion, of 5 references.
    close(&json["er"], 4.0 / 5.0);
    assert_eq!((&json["class_f20"][0], &json["class_seld_score"][0]), (&Value::Null, &Value::Null));
    assert_eq!(json["jackknife_95"]["f20"], json!([null, null]), "one file has no jackknife");
    assert_eq!((&json["files"], &json["exact"], &json["with_distance"]), (&json!(1), &json!(false), &json!(true)));
}

#[test]
fn exact_leaves_out_the_last_labelled_frame_and_counts_absent_classes_as_zero() {
    let json = Case::new(&[("a.csv", TRUTH)], &[("a.csv", SAID)]).score(true);
    close(&json["class_f20"][2], 1.0 / (3.0 + 0.5));
    close(&json["class_f20"][5], 0.0);
    close(&json["f20"], 1.0 / 3.5 / 13.0);
    close(&json["localization_recall"], 0.75 / 13.0);
    close(&json["er"], 2.0 / 4.0);
    assert_eq!(json["class_doa_error_deg"][5], Value::Null);
    // Equal directions: arccos of 1 / (1 + 1e-10).
    let angle = json["class_doa_error_deg"][2].as_f64().unwrap() * 3.0 - 40.0;
    assert!((angle - 8.1e-4).abs() < 1e-5, "{angle}");
}

#[test]
fn a_pair_at_the_threshold_is_a_hit_but_for_the_official_rounding() {
    let case = Case::new(&[("a.csv", "0,0,0,90,0,50\n9,0,0,0,0,50\n")], &[("a.csv", "0,0,0,110,0,1.0\n9,0,0,0,0,0.5")]);
    close(&case.score(false)["f20"], 1.0);
    close(&case.score(true)["class_f20"][0], 0.0);
}

#[test]
fn a_missing_prediction_file_is_missed_or_left_out() {
    let case = Case::new(&[("d/e/a.csv", TRUTH), ("b.csv", "0,2,0,30,0,200\n1,2,0,30,0,200\n")], &[("a.csv", SAID)]);
    let all = case.score(false);
    close(&all["class_localization_recall"][2], 3.0 / 6.0);
    assert_eq!((&all["files"], &all["references_without_prediction"]), (&json!(2), &json!(1)));
    let exact = case.score(true);
    close(&exact["class_localization_recall"][2], 3.0 / 4.0);
    assert_eq!((&exact["files"], &exact["references_without_prediction"]), (&json!(1), &json!(1)));
    // An empty file is a prediction that hears nothing.
    case.write("prediction", "b.csv", b"");
    close(&case.score(true)["class_localization_recall"][2], 3.0 / 5.0);
    close(&case.score(false)["class_localization_recall"][2], 3.0 / 6.0);
}

#[test]
fn rows_may_be_polar_or_cartesian_spaced_and_in_any_order() {
    let truth = "0,2,0,30,0,200\n1,2,0,-90,45,150\n1,3,0,0,0,100\n";
    let polar = "0,2,0,31,0,2.0\n1,2,0,-90,45,1.0\n1,3,0,5,0,1\n";
    let plain = Case::new(&[("a.csv", truth)], &[("a.csv", polar)]).score(false);
    let (s, c) = 31f64.to_radians().sin_cos();
    let h = 0.5f64.sqrt();
    let other = format!(
        "frame,class,source,x,y,z,distance\r\n 1, 3,0,{},{},0,1.0\r\n\r\n1 ,2, 7 ,0,{},{h},1\r\n0,2,0,{},{},0,2\r\n",
        5f64.to_radians().cos(),
        5f64.to_radians().sin(),
        -h,
        2.0 * c,
        2.0 * s
    );
    let case = Case::new(&[("a.csv", &format!("\u{feff}{truth}"))], &[("a.CSV", &other)]);
    let json = case.score(false);
    for name in METRICS {
        close(&json[name], plain[name].as_f64().unwrap());
    }
}

#[test]
fn without_distances_directions_alone_decide() {
    let case = Case::new(
        &[("a.csv", "0,2,0,30,0\n1,2,0,30,0\n"), ("b.csv", "0,4,1,0,0\n")],
        &[("a.csv", "0,2,40,0\n1,2,70,0\n"), ("b.csv", "")],
    );
    let json = case.score(false);
    close(&json["class_f20"][2], 0.5);
    assert_eq!((&json["relative_distance_error"], &json["with_distance"]), (&Value::Null, &json!(false)));
    // 2023: mean(er, 1 - F, angle / 180, 1 - recall), two errors of three references.
    close(&json["class_seld_score"][2], (2.0 / 3.0 + 0.5 + 25.0 / 180.0 + 0.0) / 4.0);
    case.write("reference", "b.csv", b"0,4,1,0,0,100\n");
    case.refused(Kind::Data, &["b.csv: has distances", "have none"]);
}

#[test]
fn repeated_rows_of_a_reference_count_once_and_all_of_a_prediction() {
    let case = Case::new(
        &[("a.csv", "0,2,0,30,0,200\n0,2,0,30,0,200\n0,2,0,90,0,200\n1,1,0,0,0,100\n")],
        &[("a.csv", "0,2,0,30,0,2\n0,2,0,30,0,2\n0,2,0,90,0,2\n")],
    );
    close(&case.score(false)["class_f20"][2], 2.0 / 2.5);
    close(&case.score(true)["class_f20"][2], 1.0);
}

#[test]
fn a_reference_without_rows_has_only_false_alarms() {
    let case = Case::new(&[("a.csv", ""), ("b.csv", TRUTH)], &[("a.csv", SAID), ("b.csv", SAID)]);
    assert!(case.score(false)["f20"].as_f64().unwrap() < 0.3);
    close(&case.score(true)["class_f20"][2], 1.0 / 3.5);
    let nothing = Case::new(&[("a.csv", "")], &[("a.csv", "")]).score(false);
    assert!(METRICS.iter().all(|name| nothing[name].is_null()), "{nothing}");
}

#[test]
fn intervals_contain_the_mean_and_do_not_depend_on_names() {
    let texts = [(TRUTH, SAID), (TRUTH, TRUTH_SAID), ("0,2,0,0,0,100\n1,7,0,9,9,90\n", "0,2,0,9,0,1\n")];
    let folder = |names: [&str; 3]| {
        let file = |i: usize| format!("{}.csv", names[i]);
        let names: Vec<String> = (0..3).map(file).collect();
        let side = |f: fn(&(&'static str, &'static str)) -> &'static str| -> Vec<(&str, &str)> {
            names.iter().map(String::as_str).zip(texts.iter().map(f)).collect()
        };
        Case::new(&side(|t| t.0), &side(|t| t.1)).score(false)
    };
    let (one, other) = (folder(["a", "b", "c"]), folder(["z", "x", "y"]));
    for name in METRICS {
        let [low, high] = [0, 1].map(|i| one["jackknife_95"][name][i].as_f64().unwrap());
        assert!(low < high, "{name}");
        close(&other["jackknife_95"][name][0], low);
        close(&other[name], one[name].as_f64().unwrap());
    }
}

const TRUTH_SAID: &str = "0,2,0,30,0,2\n1,2,0,30,0,2\n2,2,0,30,0,1\n2,2,1,-60,10,3\n3,5,0,0,0,1\n";

#[test]
fn bad_rows_are_refused_by_file_and_line() {
    let good = "0,2,0,30,0,200\n";
    let with = |line: &str| Case::new(&[("a.csv", good)], &[("a.csv", &format!("0,2,0,30,0,2.0\n{line}"))]);
    for (line, part) in [
        ("1,2,0,nan,0,2.0", "azimuth is \"nan\""),
        ("1,2,0,3O,0,2.0", "azimuth is \"3O\""),
        ("1,2,0,30,1e300,2.0", "elevation is \"1e300\""),
        ("1,2,0,30,0,inf", "distance is \"inf\""),
        ("1,13,0,30,0,2.0", "class \"13\" is not within 0 and 12"),
        ("1,-1,0,30,0,2.0", "class \"-1\""),
        ("-1,2,0,30,0,2.0", "frame -1"),
        ("99999999999,2,0,30,0,2.0", "frame 99999999999"),
        ("1.5,2,0,30,0,2.0", "frame is \"1.5\", a whole number"),
        ("1,2,x,30,0,2.0", "source is \"x\""),
        ("1,2,0,30,0", "5 columns, the lines before have 6; is the file cut off?"),
        ("1,2", "2 columns, 4 to 7"),
        ("1;2;0;30;0;2.0", "separated by commas"),
        ("1,2,0,,0,2.0", "azimuth is \"\""),
    ] {
        with(line).refused(Kind::Data, &["a.csv: line 2: ", part]);
    }
    let reference = |text: &[u8], parts: &[&str]| {
        let case = Case::new(&[], &[("a.csv", "")]);
        case.write("reference", "a.csv", text);
        case.refused(Kind::Data, parts);
    };
    reference(b"0,2,0,30,0,-5\n", &["line 1: distance -5 cm"]);
    reference(b"0,2,0,\xff,0,5\n", &["byte 6 is not UTF-8"]);
    let crowd: String = (0..65).map(|i| format!("0,2,{i},30,0,{}\n", 100 + i)).collect();
    reference(crowd.as_bytes(), &["frame 0 has 65 rows of class 2"]);
}

#[test]
fn what_has_no_meaning_is_refused_unless_the_official_code_is_asked_for() {
    for (truth, said, part) in [
        ("0,2,0,30,0,200\n1,0,0,0,0,90\n", "0,2,0,0,0,0,2\n", "no direction"),
        ("0,2,0,30,0,0\n1,0,0,0,0,90\n", "0,2,0,1,0,0,2\n", "distance 0 cm"),
    ] {
        let case = Case::new(&[("a.csv", truth)], &[("a.csv", said)]);
        let error = case.evaluate(false).err().unwrap();
        assert!(error.kind() == Kind::Data && error.message().contains(part), "{error}");
        // The zero vector is the front for the official code.
        assert!((case.score(true)["class_doa_error_deg"][2].as_f64().unwrap() - 30.0).abs() < 1e-6);
    }
}

#[test]
fn folders_without_files_and_files_without_partners_are_named() {
    let case = Case::new(&[("a.csv", TRUTH), ("notes.txt", "x")], &[("b.csv", SAID)]);
    case.refused(Kind::Data, &["b.csv: there is no reference b.csv"]);
    Case::new(&[("a.csv", TRUTH)], &[("a.txt", SAID), (".a.csv", "")])
        .refused(Kind::Missing, &["--prediction", "no CSV"]);
    let twice = Case::new(&[("x/a.csv", TRUTH), ("y/a.csv", TRUTH)], &[("a.csv", SAID)]);
    twice.refused(Kind::Data, &["x/a.csv and", "y/a.csv: two files of one name"]);
    let gone = Case { home: tempfile::tempdir().unwrap() };
    gone.refused(Kind::Missing, &["--reference", "does not exist"]);
}

#[test]
fn a_folder_that_links_to_itself_is_read_once() {
    let case = Case::new(&[("in/a.csv", TRUTH)], &[("a.csv", SAID)]);
    std::os::unix::fs::symlink(case.path("reference"), case.path("reference").join("in/again")).unwrap();
    close(&case.score(false)["er"], 0.8);
}
