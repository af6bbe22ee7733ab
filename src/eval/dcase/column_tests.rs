//! Columns and units as others write them: read rightly, or refused with the fix.

use super::tests::{Case, SAID, TRUTH, close};
use super::*;
use crate::error::Kind;

const SCORES: [&str; 5] = ["f20", "doa_error_deg", "relative_distance_error", "localization_recall", "er"];

/// The same rows with other columns: `order` holds their places, -1 an index in front.
fn rearranged(text: &str, header: &str, order: &[i32]) -> String {
    let row = |(number, line): (usize, &str)| {
        let fields: Vec<&str> = line.split(',').collect();
        let index = number.to_string();
        let cells: Vec<&str> =
            order.iter().map(|&at| if at < 0 { index.as_str() } else { fields[at as usize] }).collect();
        format!("{}\r\n", cells.join(","))
    };
    format!("{header}\r\n{}", text.lines().enumerate().map(row).collect::<String>())
}

#[test]
fn a_header_names_the_columns_in_any_order() {
    let plain = Case::new(&[("a.csv", TRUTH)], &[("a.csv", SAID)]).score(false);
    for (header, order) in [
        ("frame,class,source,azimuth,elevation,distance", &[0, 1, 2, 3, 4, 5][..]),
        ("frame,class,source,elevation,azimuth,distance", &[0, 1, 2, 4, 3, 5]),
        ("distance,elevation,azimuth,track,class,frame", &[5, 4, 3, 2, 1, 0]),
        (
            "Frame Number,Active Class Index,Source Number Index,Azimuth (deg),Elevation (deg),Distance",
            &[0, 1, 2, 3, 4, 5],
        ),
        ("\u{feff}frame, class_idx, track_id, azi, ele, dist", &[0, 1, 2, 3, 4, 5]),
        ("\"frame\",\"class\",\"azimuth\",\"elevation\",\"distance\"", &[0, 1, 3, 4, 5]),
        (",frame,class,source,azimuth,elevation,distance", &[-1, 0, 1, 2, 3, 4, 5]),
        ("Unnamed: 0,frame,class,source,azimuth,elevation,distance", &[-1, 0, 1, 2, 3, 4, 5]),
        ("frame,class,source,azimuth,elevation,distance,onscreen", &[0, 1, 2, 3, 4, 5, 2]),
    ] {
        let truth = rearranged(TRUTH, header, order);
        // A header on one side, on the other, on both.
        for (reference, prediction) in [
            (truth.clone(), SAID.to_string()),
            (TRUTH.to_string(), rearranged(SAID, header, order)),
            (truth, rearranged(SAID, header, order)),
        ] {
            let json = Case::new(&[("a.csv", &reference)], &[("a.csv", &prediction)]).score(false);
            SCORES.iter().for_each(|name| close(&json[name], plain[name].as_f64().unwrap()));
        }
    }
    let vectors = "z,y,x,distance,class,frame\n0,0,1,2,2,0\n0,1,0,2,2,1\n";
    let angles = "frame,class,azimuth,elevation,distance\n0,2,0,0,2\n1,2,90,0,2\n";
    let score = |said: &str| Case::new(&[("a.csv", TRUTH)], &[("a.csv", said)]).score(false);
    close(&score(vectors)["doa_error_deg"], score(angles)["doa_error_deg"].as_f64().unwrap());
}

#[test]
fn headers_of_other_columns_are_refused_by_name() {
    for (header, parts) in [
        ("frame,class,source,azimuth,distance,onscreen", &["onscreen", "elevation", "2025"][..]),
        ("frame,class,source,azimuth,distance,On Screen", &["onscreen", "elevation"]),
        ("frame,class,source,azimuth,distance", &["no column elevation"]),
        ("frame,source,azimuth,elevation,distance", &["no column class"]),
        ("frame,class,source,azimuth,elevation,loudness", &["\"loudness\"", "leave it out"]),
        ("frame,class,source,azimuth,azimuth,distance", &["\"azimuth\"", "twice"]),
        ("frame,class,x,y,distance", &["no column z"]),
        ("frame,class,x,y,z,azimuth,elevation", &["angles and for x, y, z"]),
        ("frame,class,source,azimuth_rad,elevation_rad,distance", &["\"azimuth_rad\"", "degrees"]),
        ("frame,class,source,azimuth,elevation,distance_km", &["\"distance_km\""]),
        ("frame;class;source;azimuth;elevation;distance", &["separated by ';'", "commas"]),
        ("frame\tclass\tsource\tazimuth\televation\tdistance", &["separated by '\\t'"]),
        ("frame class source azimuth elevation distance", &["not by spaces"]),
    ] {
        let text = format!("{header}\n0,1,0,10,20,100\n");
        let parts = [&["a.csv: line 1: "], parts].concat();
        Case::new(&[("a.csv", &text)], &[("a.csv", "")]).refused(Kind::Data, &parts);
        Case::new(&[("a.csv", TRUTH)], &[("a.csv", &text)]).refused(Kind::Data, &parts);
    }
}

#[test]
fn values_of_other_columns_are_refused() {
    for (rows, parts) in [
        // DCASE 2025 without its header: azimuth, distance, onscreen.
        ("0,1,0,10,200,1\n0,3,0,-90,150,1\n", &["line 1: elevation 200 is not within", "onscreen"][..]),
        ("0,1,0,10,0,200\n0,1,0,200,-101,100\n", &["line 2: elevation -101"]),
        ("0,1,0,10,500,200\n", &["elevation 500"]),
        ("0,1,0,361,0,200\n", &["azimuth 361 is not within -360 and 360"]),
        ("0,1,10,200\n", &["elevation 200"]),
        // A row index in front.
        ("0,0,1,0,10,0,200\n1,0,3,0,-90,0,150\n2,1,1,0,40,0,210\n", &["row index"]),
        ("0,13,1,0,10,0,200\n", &["class \"13\"", "row index"]),
        ("0,0,1,0,10,0,0,200\n", &["8 columns", "row index"]),
        // Separators, and what stands at the end of a line.
        ("0;1;0;10;0;200\n", &["separated by ';'", "commas"]),
        ("0;1;0;10,5;0;2,0\n", &["separated by ';'", "decimal point"]),
        ("0\t1\t0\t10\t0\t200\n", &["separated by '\\t'"]),
        ("0 1 0 10 0 200\n", &["not by spaces"]),
        ("0,1,0,10,0,200,\n", &["line 1: column 7 is empty", "comma at the end"]),
        ("0,1,0,10,0,200\n0,1,0,10,0,200,\n", &["line 2: column 7 is empty"]),
        ("0.5,1,0,10,0,200\n", &["frame is \"0.5\", a whole number"]),
        ("0,1.5,0,10,0,200\n", &["class is \"1.5\", a whole number"]),
        ("0,1,0.5,10,0,200\n", &["source is \"0.5\", a whole number"]),
        ("0,1,0,10,0,nan\n", &["distance is \"nan\""]),
    ] {
        Case::new(&[("a.csv", rows)], &[("a.csv", "")]).refused(Kind::Data, parts);
        Case::new(&[("a.csv", TRUTH)], &[("a.csv", rows)]).refused(Kind::Data, parts);
    }
    let said =
        |rows: &str, parts: &[&str]| Case::new(&[("a.csv", TRUTH)], &[("a.csv", rows)]).refused(Kind::Data, parts);
    said("0,2,0,30,0,-0.1\n", &["distance -0.1 m", "negative distances to 0"]);
    // DCASE 2025 with distances below 90, which could be elevations.
    said("0,1,0,10,80,1\n0,3,0,-90,50,0\n", &["all distances are 0 or 1", "onscreen"]);
    Case::new(&[("a.csv", "0,1,0,10,80,1\n")], &[("a.csv", "")]).refused(Kind::Data, &["--distance-unit m"]);
}

#[test]
fn a_prediction_may_overshoot_the_pole_where_it_counts_as_officially() {
    let case = Case::new(&[("a.csv", "0,2,0,0,90,200\n1,2,0,0,0,200\n")], &[("a.csv", "0,2,0,0,95,2\n")]);
    // Over the pole and 5 degrees down on the other side.
    assert!((case.score(true)["class_doa_error_deg"][2].as_f64().unwrap() - 5.0).abs() < 1e-3);
    let error = case.evaluate(false).unwrap_err();
    assert!(error.message().contains("elevation 95"), "{error}");
}

/// The same rows with distances times `factor`.
fn scaled(text: &str, factor: f64) -> String {
    let line = |line: &str| {
        let (rest, distance) = line.rsplit_once(',').unwrap();
        format!("{rest},{}\n", distance.parse::<f64>().unwrap() * factor)
    };
    text.lines().map(line).collect()
}

#[test]
fn units_that_do_not_fit_are_refused_with_the_flag_and_read_with_it() {
    use DistanceUnit::{Centimetres as Cm, Metres as M};
    let plain = Case::new(&[("a.csv", TRUTH)], &[("a.csv", SAID)]).score(false);
    let (truth_m, said_cm) = (scaled(TRUTH, 0.01), scaled(SAID, 100.0));
    let texts = |unit: DistanceUnit, cm: &str, m: &str| if unit == Cm { cm.to_string() } else { m.to_string() };
    for (reference, prediction) in [(Cm, M), (M, M), (Cm, Cm), (M, Cm)] {
        let (truth, said) = (texts(reference, TRUTH, &truth_m), texts(prediction, &said_cm, SAID));
        let case = Case::new(&[("a.csv", &truth)], &[("a.csv", &said)]);
        for (as_reference, as_prediction) in [(Cm, M), (M, M), (Cm, Cm), (M, Cm)] {
            let units = Units { reference: Some(as_reference), prediction: Some(as_prediction) };
            let settings = Settings { is_exact: false, units };
            let outcome = evaluate(&case.path("reference"), &case.path("prediction"), settings);
            if (as_reference, as_prediction) == (reference, prediction) {
                let json = outcome.unwrap().to_json();
                SCORES.iter().for_each(|name| close(&json[name], plain[name].as_f64().unwrap()));
                continue;
            }
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), Kind::Data);
            // The side that is wrong first, with the flags that mend it.
            let (side, fixed) = match as_reference == reference {
                false => ("reference", [reference, as_prediction]),
                true => ("prediction", [as_reference, prediction]),
            };
            let flag = match fixed[0] == fixed[1] {
                true => format!("--distance-unit {}", fixed[0].symbol()),
                false => format!("--prediction-distance-unit {}", fixed[1].symbol()),
            };
            let text = error.to_string();
            assert!(text.contains(&flag) && text.contains(&format!("{side}/a.csv")), "{flag}: {text}");
        }
    }
}

#[test]
fn one_file_in_another_unit_is_found_and_so_are_halls_and_near_sounds() {
    let other = Case::new(&[("a.csv", TRUTH), ("b.csv", &scaled(TRUTH, 0.01))], &[("a.csv", SAID), ("b.csv", SAID)]);
    other.refused(Kind::Data, &["reference/b.csv", "--distance-unit m"]);
    // 30 m in metres reads as 30 cm, 40 cm as 40 m; neither is out of range by itself.
    let hall: String = (0..9).map(|i| format!("{i},2,0,30,0,30\n")).collect();
    let near: String = (0..9).map(|i| format!("{i},2,0,30,0,40\n")).collect();
    Case::new(&[("a.csv", &hall)], &[("a.csv", &hall)]).refused(Kind::Data, &["0.3", "30", "--distance-unit m"]);
    Case::new(&[("a.csv", &near)], &[("a.csv", &near)]).refused(Kind::Data, &["--distance-unit"]);
    // Millimetres fit neither.
    let millimetres: String = (0..9).map(|i| format!("{i},2,0,30,0,8{i}00\n")).collect();
    Case::new(&[("a.csv", &millimetres)], &[("a.csv", "")]).refused(Kind::Data, &["farther than any room", "cm or m"]);
    // A model that has learnt nothing yet is scored.
    let nothing = Case::new(&[("a.csv", TRUTH)], &[("a.csv", "0,2,0,30,0,0\n1,2,0,30,0,0.01\n")]);
    assert!(nothing.score(false)["relative_distance_error"].as_f64().unwrap() > 0.99);
}

#[test]
fn radians_are_refused_and_small_degrees_are_not() {
    let rows = |step: f64, distance: f64| -> String {
        (0..40).map(|i| format!("{i},2,0,{:.3},{:.3},{distance}\n", (f64::from(i) - 20.0) * step, 0.3)).collect()
    };
    let (radians, degrees) = (rows(0.15, 200.0), rows(8.5, 200.0));
    Case::new(&[("a.csv", &radians)], &[("a.csv", "")]).refused(Kind::Data, &["--reference", "radians"]);
    let said = rows(0.15, 2.0);
    Case::new(&[("a.csv", &degrees)], &[("a.csv", &said)]).refused(Kind::Data, &["--prediction", "radians"]);
    // Everything is in front, in whole degrees.
    let front: String = (0..40).map(|i| format!("{i},2,0,{},0,200\n", i % 7 - 3)).collect();
    Case::new(&[("a.csv", &front)], &[("a.csv", &said)]).score(false);
}
