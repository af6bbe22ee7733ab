//! Files whose rows, looked at together, can't be what they are read as, and headers that others write.

use super::tests::{Case, SAID, TRUTH, close};
use super::*;
use crate::error::Kind;

/// Both sides from one list of directions in degrees, frame by frame; `turn` changes the predictions' azimuths.
fn folder(n: usize, row: impl Fn(usize, f64, f64, f64) -> String, turn: f64, header: &str) -> Case {
    let side = |turn: f64, distance: f64| -> String {
        let rows = (0..n).map(|i| {
            let (azimuth, elevation) = ((37 * i % 360) as f64 - 180.0 + turn, (11 * i % 80) as f64 - 40.0);
            row(i, azimuth, elevation, distance)
        });
        format!("{header}{}", rows.collect::<String>())
    };
    Case::new(&[("a.csv", &side(0.0, 200.0))], &[("a.csv", &side(turn, 2.0))])
}

fn polar(i: usize, azimuth: f64, elevation: f64, distance: f64) -> String {
    format!("{i},1,0,{azimuth:.5},{elevation:.5},{distance}\n")
}

#[test]
fn radians_on_both_sides_are_refused_and_a_header_of_degrees_is_believed() {
    let radians = |i: usize, a: f64, e: f64, d: f64| polar(i, a.to_radians(), e.to_radians(), d);
    for n in [4, 8, 40] {
        folder(n, radians, 100.0, "").refused(Kind::Data, &["--reference", "radians", "azimuth_deg"]);
        folder(n, polar, 30.0, "").score(false);
    }
    let said = "frame,class,source,azimuth_deg,elevation_deg,distance\n";
    assert!(folder(40, radians, 100.0, said).score(false)["doa_error_deg"].as_f64().unwrap() < 2.0);
    // Two rows say nothing, whole degrees in front are labels, and a narrow scene is found near the front.
    folder(2, radians, 100.0, "").score(false);
    let front = |i: usize| format!("{i},1,0,{},1,200\n", i % 7);
    let near = |i: usize| format!("{i},1,0,{:.2},1.1,2\n", (i % 7) as f64 + 0.25);
    let (truth, said): (String, String) = ((0..30).map(front).collect(), (0..30).map(near).collect());
    Case::new(&[("a.csv", &truth)], &[("a.csv", &said)]).score(false);
    // Labels as vectors say so, too.
    let vectors: String = (0..30).map(|i| format!("{i},1,0,1,0.0{},0,200\n", i % 7)).collect();
    Case::new(&[("a.csv", &vectors)], &[("a.csv", &said)]).score(false);
    let behind = vectors.replace(",0,1,0.0", ",0,-1,0.0");
    Case::new(&[("a.csv", &behind)], &[("a.csv", &said)]).refused(Kind::Data, &["--prediction", "radians"]);
}

#[test]
fn one_file_in_radians_among_others_is_named() {
    let row = |scale: f64, distance: f64| -> String {
        (0..12).map(|i| polar(i, (f64::from(i as u32) * 30.0 - 170.0) * scale, 20.0 * scale, distance)).collect()
    };
    let to_rad = std::f64::consts::PI / 180.0;
    let (truth, said, wrong) = (row(1.0, 200.0), row(1.0, 2.0), row(to_rad, 2.0));
    Case::new(&[("a.csv", &truth), ("b.csv", &truth)], &[("a.csv", &said), ("b.csv", &wrong)])
        .refused(Kind::Data, &["prediction/b.csv", "radians"]);
    Case::new(&[("a.csv", &row(to_rad, 200.0)), ("b.csv", &truth)], &[("a.csv", &said), ("b.csv", &said)])
        .refused(Kind::Data, &["reference/a.csv", "radians"]);
}

#[test]
fn vectors_far_from_length_1_are_refused_without_header() {
    // A confidence behind, and decimal commas.
    for text in ["0,1,0,10.5,20.2,2.0,0.9\n1,1,0,12.2,20.1,2.1,0.8\n", "0,1,0,10,20,2,1\n1,1,0,12,21,2,5\n"] {
        let parts = ["a.csv: ", "x, y", "confidence", "decimal commas"];
        Case::new(&[("a.csv", TRUTH)], &[("a.csv", text)]).refused(Kind::Data, &parts);
        Case::new(&[("a.csv", text)], &[("a.csv", "")]).refused(Kind::Data, &parts);
    }
    // Short vectors are predictions that are not sure, but no labels; a header says that positions are meant.
    let short = "0,2,0,0.2,0.1,0.01,2.0\n1,2,0,0.1,0.2,0.01,2.0\n";
    Case::new(&[("a.csv", TRUTH)], &[("a.csv", short)]).score(false);
    Case::new(&[("a.csv", &short.replace("2.0", "200"))], &[("a.csv", "")]).refused(Kind::Data, &["0.5 and 2"]);
    let positions = "0,2,0,2.5,1.5,0.1,3.0\n1,2,0,1.5,2.5,0.1,3.0\n";
    Case::new(&[("a.csv", TRUTH)], &[("a.csv", positions)]).refused(Kind::Data, &["below 2", "header"]);
    let named = format!("frame,class,source,x,y,z,distance\n{positions}");
    Case::new(&[("a.csv", TRUTH)], &[("a.csv", &named)]).score(false);
}

/// Refused as a prediction, and as a reference.
#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    Case::new(&[("a.csv", TRUTH)], &[("a.csv", text)]).refused(Kind::Data, parts);
    Case::new(&[("a.csv", text)], &[("a.csv", "")]).refused(Kind::Data, parts);
}

#[test]
fn a_header_of_column_numbers_is_refused() {
    refused("0,1,2,3,4,5\n0,1,0,10,20,2.0\n", &["line 1: the first line numbers its columns", "header=False"]);
    refused(",0,1,2,3,4,5\n0,0,1,0,10,20,2.0\n", &["line 1: the first line numbers"]);
    refused("\n\n0,1,2,3\n0,1,10,20\n", &["line 3: the first line numbers"]);
    let later = "1,1,0,10,20,200\n0,1,2,3,4,500\n0,1,2,3,4,5\n";
    Case::new(&[("a.csv", later)], &[("a.csv", "")]).score(false);
}

#[test]
fn shifted_columns_without_header_are_refused_by_what_they_are() {
    // An index, then frame, class, azimuth, elevation, distance.
    refused("0,0,1,10,20,2.0\n1,0,3,-90,15,1.5\n2,1,1,12,20,2.1\n3,2,3,-90,15,3.0\n", &["a row index", "header"]);
    // An index, then frame, class, source, azimuth, elevation: two classes, and one class in two sources.
    refused("0,0,1,0,10,20\n1,0,3,1,-90,15\n2,1,1,0,12,20\n3,2,3,1,-90,15\n", &["a row index"]);
    let one = "0,0,1,0,10,20\n1,0,1,1,-90,25\n2,1,1,0,12,20\n3,1,1,1,-80,35\n4,2,1,0,12,20\n5,2,1,1,-70,35\n";
    refused(one, &["a row index"]);
    // Frames that count by one and classes that follow each other are none.
    let good =
        "0,1,0,10,20,200\n1,1,0,11,20,200\n2,1,0,12,20,200\n3,5,0,-90,20,200\n4,5,0,-91,20,200\n5,5,0,-92,2,200\n";
    Case::new(&[("a.csv", good)], &[("a.csv", &good.replace(",200\n", ",2.0\n"))]).score(false);
    let four = "0,1,10,20\n1,1,11,20\n2,1,12,20\n3,5,-90,20\n4,5,-91,20\n";
    Case::new(&[("a.csv", four)], &[("a.csv", four)]).score(false);
    // Vectors without distance, in six columns and in five.
    refused("0,1,0,0.9,0.3,0.34\n1,1,0,0.3,0.9,0.34\n", &["vectors of length 1", "x, y, z"]);
    refused("0,1,0.9,0.3,0.34\n", &["line 1: source is \"0.9\"", "x, y, z"]);
    refused("0,1,0,0.9,0.3,-0.34\n", &["line 1: distance -0.34", "frame, class, source, azimuth, elevation, distance"]);
    // Frame, class, azimuth, elevation, distance.
    refused("0,1,-10,20,2.0\n", &["line 1: source is \"-10\"", "frame, class, azimuth, elevation, distance"]);
    refused("0,1,101,20,2.0\n", &["line 1: source is \"101\""]);
    refused("0,1,10.5,20,2.0\n", &["line 1: source is \"10.5\"", "whole number"]);
    refused("0,1,30,20,2.0\n1,1,40,10,3.0\n", &["source numbers up to 40", "name them in a header"]);
    let named = "frame,class,source,azimuth,elevation\n0,2,-1,30,0\n1,2,400,30,0\n";
    close(&Case::new(&[("a.csv", named)], &[("a.csv", named)]).score(false)["f20"], 1.0);
}

#[test]
fn names_of_other_units_are_refused_and_those_of_distances_are_believed() {
    for name in [
        "distance (dm)",
        "distance_norm",
        "distance (log)",
        "distance_mm",
        "distance_ft",
        "azimuth_norm",
        "azimuth_cos",
        "azimuth (grad)",
    ] {
        let header = match name.starts_with("az") {
            true => format!("frame,class,source,{name},elevation,distance"),
            false => format!("frame,class,source,azimuth,elevation,{name}"),
        };
        refused(&format!("{header}\n0,1,0,10,20,100\n"), &["line 1: ", name, "no known unit"]);
    }
    refused("frame (s),class,azimuth,elevation,distance\n0,1,10,20,100\n", &["\"frame (s)\" is a time"]);
    let plain = Case::new(&[("a.csv", TRUTH)], &[("a.csv", SAID)]).score(false);
    let scaled = |text: &str, factor: f64, unit: &str| {
        let row = |line: &str| {
            let (rest, distance) = line.rsplit_once(',').unwrap();
            format!("{rest},{}\n", distance.parse::<f64>().unwrap() * factor)
        };
        format!("frame,class,source,azimuth,elevation,distance{unit}\n{}", text.lines().map(row).collect::<String>())
    };
    let (truth, said) = (scaled(TRUTH, 0.01, "_m"), scaled(SAID, 100.0, " [cm]"));
    let case = Case::new(&[("a.csv", &truth)], &[("a.csv", &said)]);
    for name in ["f20", "distance_error_m", "relative_distance_error"] {
        close(&case.score(false)[name], plain[name].as_f64().unwrap());
    }
    // A flag that says otherwise, and a header that its numbers belie.
    let with =
        |units: Units| evaluate(&case.path("reference"), &case.path("prediction"), Settings { is_exact: false, units });
    let error = with(Units { reference: Some(DistanceUnit::Centimetres), prediction: None }).unwrap_err().to_string();
    assert!(error.contains("\"distance_m\" is in m, but read in cm") && error.contains("--distance-unit"), "{error}");
    assert!(with(Units { reference: Some(DistanceUnit::Metres), prediction: None }).is_ok());
    let belied = scaled(TRUTH, 1.0, "_m");
    Case::new(&[("a.csv", &belied)], &[("a.csv", "")]).refused(Kind::Data, &["median distance is 200 m", "the header"]);
}

#[test]
fn distances_too_small_for_metres_are_refused() {
    let kilometres = "0,2,0,30,0,0.002\n1,2,0,30,0,0.003\n";
    Case::new(&[("a.csv", TRUTH)], &[("a.csv", kilometres)])
        .refused(Kind::Data, &["no distance in a room", "distance_m"]);
    let named = format!("frame,class,source,azimuth,elevation,distance_m\n{kilometres}");
    Case::new(&[("a.csv", TRUTH)], &[("a.csv", &named)]).score(false);
    Case::new(&[("a.csv", &named)], &[("a.csv", "")])
        .refused(Kind::Data, &["reference/a.csv", "no distance in a room"]);
}

#[test]
fn whole_floats_confidences_and_comments_are_read() {
    let plain = Case::new(&[("a.csv", TRUTH)], &[("a.csv", SAID)]).score(false);
    let float = |line: &str| {
        line.split(',').map(|v| format!("{:.18e}", v.parse::<f64>().unwrap())).collect::<Vec<_>>().join(",")
    };
    let rows = |f: &dyn Fn(&str) -> String| SAID.lines().map(|line| f(line) + "\n").collect::<String>();
    let swapped = |line: &str| {
        let v: Vec<&str> = line.split(',').collect();
        [v[0], v[1], v[2], v[4], v[3], v[5]].join(",")
    };
    let header = "frame,class,source,elevation,azimuth,distance\n";
    for said in [
        rows(&float),
        format!("frame,class,source,azimuth,elevation,distance,confidence\n{}", rows(&|line| format!("{line},0.9"))),
        format!("# made by x, y\n# 2024\n#\n{SAID}"),
        format!("# made by x\n# a, b, c, d, e\n{header}{}", rows(&swapped)),
        format!("# {header}{}", rows(&swapped)),
        format!("# {}{header}{}", header.replace("elevation,azimuth", "azimuth,elevation"), rows(&swapped)),
    ] {
        let json = Case::new(&[("a.csv", TRUTH)], &[("a.csv", &said)]).score(false);
        ["f20", "doa_error_deg", "er"].iter().for_each(|name| close(&json[*name], plain[*name].as_f64().unwrap()));
    }
}

#[test]
fn strange_characters_are_named() {
    for (text, parts) in [
        ("0,1,0,10,0,200\r1,1,0,10,0,200\r", &["carriage returns alone"][..]),
        ("0，1，0，10，0，200\n", &["full-width commas"]),
        ("0,1,0,10,0,２\n", &["full-width digits"]),
        ("0,1,0,\u{2212}10,0,200\n", &["minus"]),
        ("0,1,0,10,0,\"2,5\"\n", &["a comma within quotes", "decimal point"]),
    ] {
        refused(text, &[&["a.csv: line 1: "], parts].concat());
    }
}
