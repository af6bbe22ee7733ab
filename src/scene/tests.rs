//! Paths between their points, lines of JSON back and forth, and truths that turn.

use super::*;
use crate::audio::foa::{Rotation, angle_between_deg};
use crate::ops::spatial_loss::Target;
use crate::rng::Rng;
use crate::sources::Domain;

fn track(path: Path) -> Track {
    Track {
        recording: None,
        class: "dog".into(),
        class_index: Some(1),
        domain: Domain::Environment,
        transcript: None,
        caption: None,
        other_captions: vec![],
        keywords: vec![],
        licence: None,
        speed: 1.0,
        followed_by: vec![],
        layered_with: None,
        path,
        position_m: None,
        gain_db: None,
        level_db: None,
        drr_db: None,
        active_s: vec![[0.2, 0.6]],
    }
}

/// A clip of a recording: five sources, one of which walks, in a room that nobody measured.
fn recorded() -> Truth {
    let walk = [[0.0, 90.0, 0.0, 2.0], [0.5, 60.0, 10.0, 2.5], [1.0, 30.0, 0.0, 3.0]];
    let walk = walk.map(|[t, azimuth, elevation, distance]| Point::at_angles(t, azimuth, elevation, distance));
    let mut sources = vec![track(Path::through(walk.to_vec()).unwrap())];
    sources.extend((0..4).map(|i| track(Path::still(Point::at_angles(0.0, 37.0 * i as f64 - 90.0, -5.0, 1.25)))));
    Truth {
        id: "fold3_room4_mix001-00".into(),
        index: 0,
        seed: None,
        seconds: 1.0,
        sample_rate: 16_000,
        sources,
        recordings: Default::default(),
        room: None,
        receiver_m: None,
        snr_db: None,
        script: None,
    }
}

#[test]
fn a_point_is_the_same_place_whichever_it_was_made_from() {
    let mut rng = Rng::new(1, "scene tests", 0);
    for _ in 0..200 {
        let offset: [f64; 3] = std::array::from_fn(|_| rng.range(-5.0, 5.0));
        let a = Point::at_offset(0.5, offset);
        let b = Point::at_angles(0.5, a.azimuth_deg(), a.elevation_deg(), a.distance_m());
        for axis in 0..3 {
            assert!((a.offset_m()[axis] - offset[axis]).abs() < 1e-14 * 10.0);
            assert!((a.direction()[axis] - b.direction()[axis]).abs() < 1e-14);
        }
    }
    let (left, above) = (Point::at_offset(0.0, [0.0, 2.0, 0.0]), Point::at_offset(0.0, [0.0, 0.0, 3.0]));
    assert_eq!((left.azimuth_deg(), left.elevation_deg(), left.distance_m()), (90.0, 0.0, 2.0));
    assert_eq!((above.elevation_deg(), above.direction()), (90.0, [0.0, 0.0, 1.0]));
    let inside = Point::at_offset(0.0, [0.0; 3]);
    assert_eq!((inside.direction(), inside.distance_m()), ([1.0, 0.0, 0.0], 0.0));
}

#[test]
fn a_moving_source_walks_straight_from_point_to_point() {
    // From front left to front right, 2 m ahead: half way it is straight ahead and nearest.
    let across = [(1.0, [2.0, 2.0, 0.0]), (3.0, [2.0, -2.0, 0.0])];
    let path = Path::through(across.map(|(t, offset)| Point::at_offset(t, offset)).to_vec()).unwrap();
    let close = |t: f64, azimuth: f64, distance: f64| {
        let at = path.at(t);
        let off = (at.azimuth_deg() - azimuth).abs().max((at.distance_m() - distance).abs());
        assert!(off < 1e-12 && at.time_s() == t, "{at:?}");
    };
    close(0.0, 45.0, 8f64.sqrt());
    close(1.0, 45.0, 8f64.sqrt());
    close(1.5, 1f64.atan2(2.0).to_degrees(), 5f64.sqrt());
    close(2.0, 0.0, 2.0);
    close(3.0, -45.0, 8f64.sqrt());
    close(9.0, -45.0, 8f64.sqrt());
    let only = Point::at_angles(0.0, 10.0, 20.0, 3.0);
    assert_eq!(Path::still(only.clone()).at(4.0).direction(), only.direction());
    assert!(Path::through(vec![]).unwrap_err().contains("without a point"));
    let late = vec![Point::at_offset(1.0, [1.0; 3]), Point::at_offset(1.0, [2.0; 3])];
    assert!(Path::through(late).unwrap_err().contains("times grow"));
}

#[test]
fn what_is_not_known_is_absent_and_lines_come_back_to_the_byte() {
    let truth = recorded();
    let line = serde_json::to_string(&truth).unwrap();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    for absent in ["seed", "room", "receiver_m", "snr_db"] {
        assert!(value.get(absent).is_none(), "{absent}");
    }
    let [walking, standing] = [0, 1].map(|i| &value["sources"][i]);
    assert!(walking.get("azimuth_deg").is_none() && standing.get("track").is_none());
    assert_eq!(walking["track"][1]["azimuth_deg"], 60.0);
    assert_eq!((&standing["azimuth_deg"], &standing["distance_m"]), (&(-90.0).into(), &1.25.into()));
    let back: Truth = serde_json::from_str(&line).unwrap();
    assert_eq!(back, truth);
    assert_eq!(serde_json::to_string(&back).unwrap(), line);
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = value.clone();
        change(&mut changed);
        serde_json::from_value::<Truth>(changed).unwrap_err().to_string()
    };
    assert!(refused(&|v| v["sources"][0]["azimuth_deg"] = 3.0.into()).contains("track alone"));
    assert!(refused(&|v| _ = v["sources"][1].as_object_mut().unwrap().remove("distance_m")).contains("track alone"));
    assert!(refused(&|v| v["sources"][0]["track"] = serde_json::json!([])).contains("without a point"));
    assert!(refused(&|v| v["sources"][0]["track"][2]["time_s"] = 0.1.into()).contains("times grow"));
}

#[test]
fn activity_is_told_in_stretches_and_read_back() {
    assert_eq!(stretches(&[1, 1, 0, 1], 0.35), vec![[0.0, 0.2], [0.3, 0.35]]);
    let mut rng = Rng::new(1, "scene tests", 1);
    for seconds in [0.05, 0.35, 0.7, 5.0, 30.02] {
        let n = (seconds * STEPS_PER_SECOND as f64).ceil() as usize;
        let sounds: Vec<u8> = (0..n).map(|_| rng.below(2) as u8).collect();
        assert_eq!(steps(&stretches(&sounds, seconds), seconds, n), sounds);
    }
    // Whoever tells activity more finely: a step counts when its middle sounds.
    assert_eq!(steps(&[[0.04, 0.26]], 0.5, 5), [1, 1, 1, 0, 0]);
}

#[test]
fn a_turned_truth_moves_its_directions_alone() {
    let source = |direction| ClipSource { direction, distance_m: 2.0, class: Some(3) };
    let truth = ClipTruth {
        sources: vec![source([1.0, 0.0, 0.0]), source([0.0, 0.6, 0.8])],
        room: Some(ClipRoom { log_surface: 4.5, absorption: 0.25 }),
    };
    let left = truth.turned(&Rotation::yaw(90.0));
    assert!(angle_between_deg(left.sources[0].direction, [0.0, 1.0, 0.0]) < 1e-12);
    assert!(angle_between_deg(left.sources[1].direction, [-0.6, 0.0, 0.8]) < 1e-12);
    let mirrored = truth.turned(&Rotation::mirror([0.0, 1.0, 0.0]));
    assert_eq!(mirrored.sources[1].direction, [0.0, -0.6, 0.8]);
    for turned in [left, mirrored] {
        let rest = |t: &ClipTruth| (t.sources[1].distance_m, t.sources[1].class, t.room.clone());
        assert_eq!(rest(&turned), rest(&truth));
    }
    let target = Target::from(&truth);
    assert_eq!((target.room, target.sources[1].direction), (Some([4.5, 0.25]), [0.0, 0.6, 0.8]));
}
