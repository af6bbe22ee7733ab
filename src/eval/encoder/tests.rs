//! Scores against closed forms and brute force, and what must leave them alone.

use super::*;
use crate::audio::foa::{Rotation, angle_between_deg, unit_vector};
use crate::rng::Rng;
use crate::scene::{ClipRoom, ClipSource};

const CLASSES: usize = 5;

fn random_direction(rng: &mut Rng) -> [f64; 3] {
    unit(std::array::from_fn(|_| rng.normal()))
}

fn random_truth(rng: &mut Rng, count: usize) -> ClipTruth {
    let source = |rng: &mut Rng| ClipSource {
        direction: random_direction(rng),
        distance_m: rng.range(0.5, 5.0),
        class: (rng.uniform() < 0.8).then(|| rng.below(CLASSES)),
    };
    let sources = (0..count).map(|_| source(rng)).collect();
    let room = ClipRoom { log_surface: rng.range(3.0, 6.0), absorption: rng.range(0.1, 0.7) };
    ClipTruth { sources, room: (rng.uniform() < 0.7).then_some(room) }
}

fn random_prediction(rng: &mut Rng, count: usize) -> Prediction {
    let slot = |rng: &mut Rng, exists: bool| Slot {
        existence: if exists { rng.range(0.9, 1.0) } else { rng.range(0.0, 0.1) },
        direction: random_direction(rng),
        distance_m: rng.range(0.5, 5.0),
        class_probability: (0..CLASSES).map(|_| rng.uniform() / CLASSES as f64).collect(),
    };
    let slots = (0..4).map(|s| slot(rng, s < count)).collect();
    Prediction { slots, surface_m2: rng.range(40.0, 300.0), absorption: rng.range(0.1, 0.7) }
}

fn random_pairs(seed: u64, n: usize) -> Vec<(Prediction, ClipTruth)> {
    let mut rng = Rng::new(seed, "eval tests", 0);
    let pair = |_| {
        let (p, s) = (rng.below(4), rng.below(4));
        (random_prediction(&mut rng, p), random_truth(&mut rng, s))
    };
    (0..n).map(pair).collect()
}

fn score(pairs: &[(Prediction, ClipTruth)]) -> Score {
    Score::of(&pairs.iter().map(|(p, t)| ClipScore::of(p, t)).collect::<Vec<_>>())
}

/// Equal but for rounding, metric by metric.
#[track_caller]
fn assert_close(a: &Score, b: &Score) {
    let numbers = |s: &Score| serde_json::to_value(s).unwrap();
    fn compare(path: &str, a: &serde_json::Value, b: &serde_json::Value) {
        match (a, b) {
            (serde_json::Value::Object(x), serde_json::Value::Object(y)) => {
                assert_eq!(x.len(), y.len(), "{path}");
                x.iter().for_each(|(k, v)| compare(&format!("{path}.{k}"), v, &y[k]));
            }
            (serde_json::Value::Array(x), serde_json::Value::Array(y)) => {
                assert_eq!(x.len(), y.len(), "{path}");
                x.iter().zip(y).for_each(|(v, w)| compare(path, v, w));
            }
            _ => match (a.as_f64(), b.as_f64()) {
                (Some(x), Some(y)) => assert!((x - y).abs() < 1e-9, "{path}: {x} and {y}"),
                _ => assert_eq!(a, b, "{path}"),
            },
        }
    }
    compare("score", &numbers(a), &numbers(b));
}

#[test]
fn a_perfect_prediction_scores_perfectly() {
    let mut rng = Rng::new(1, "eval tests", 1);
    let pairs: Vec<(Prediction, ClipTruth)> = (0..40)
        .map(|i| {
            let truth = random_truth(&mut rng, i % 4);
            let mut prediction = random_prediction(&mut rng, i % 4);
            for (slot, source) in prediction.slots.iter_mut().zip(truth.sources.iter().rev()) {
                (slot.direction, slot.distance_m) = (source.direction, source.distance_m);
                slot.class_probability[source.class.unwrap_or(0)] = 1.0;
            }
            if let Some(room) = &truth.room {
                (prediction.surface_m2, prediction.absorption) = (room.log_surface.exp(), room.absorption);
            }
            (prediction, truth)
        })
        .collect();
    let s = score(&pairs);
    assert_eq!((s.n, s.sources, s.count_accuracy, s.class_accuracy), (40, 60, Some(1.0), Some(1.0)));
    for error in [s.mean_angular_error_deg, s.mean_angular_error_full_deg, s.distance_error_m, s.log_surface_error] {
        assert!(error.unwrap() < 1e-12, "{s:?}");
    }
    assert_eq!(s.by_count.keys().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert_eq!(s.by_count["0"].mean_angular_error_deg, None);
}

#[test]
fn misses_and_false_alarms_count_180_degrees() {
    let at = |azimuth: f64| unit_vector(azimuth, 0.0);
    let mut rng = Rng::new(2, "eval tests", 2);
    let mut prediction = random_prediction(&mut rng, 2);
    for (slot, azimuth) in prediction.slots.iter_mut().zip([10.0, 95.0, -120.0]) {
        slot.direction = at(azimuth);
    }
    let mut truth = random_truth(&mut rng, 3);
    for (source, azimuth) in truth.sources.iter_mut().zip([90.0, 0.0, -90.0]) {
        source.direction = at(azimuth);
    }
    let clip = ClipScore::of(&prediction, &truth);
    let close = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-9);
    assert!(close(&clip.angles_deg, &[5.0, 10.0, 30.0]), "{clip:?}");
    assert!(close(&clip.full_deg, &[5.0, 10.0, 180.0]), "{clip:?}");
    truth.sources.truncate(1);
    let clip = ClipScore::of(&prediction, &truth);
    assert!(close(&clip.angles_deg, &[80.0]), "only the first slot is asked: {clip:?}");
    assert!(close(&clip.full_deg, &[5.0, 180.0]), "{clip:?}");
    // A slot behind one that says "no more" does not count.
    prediction.slots[0].existence = 0.499;
    assert_eq!(ClipScore::of(&prediction, &truth).full_deg, [180.0]);
}

#[test]
fn the_count_is_the_most_probable_one() {
    let mut prediction = random_prediction(&mut Rng::new(4, "eval tests", 5), 0);
    let mut count = |existence: [f64; 4]| {
        prediction.slots.iter_mut().zip(existence).for_each(|(slot, e)| slot.existence = e);
        prediction.count()
    };
    assert_eq!(count([1.0, 0.55, 0.55, 0.0]), 1, "0.45, 0.2475, 0.3025");
    assert_eq!(count([1.0, 0.45, 0.9, 0.0]), 1, "0.55, 0.045, 0.405");
    assert_eq!(count([1.0, 0.6, 0.9, 0.9]), 3, "0.4, 0.06, 0.54: the fourth slot does not count");
    assert_eq!(count([0.4, 1.0, 1.0, 0.0]), 0);
    assert_eq!(count([1.0, 0.5, 0.0, 0.0]), 1, "the smaller of equals");
}

#[test]
fn distance_and_class_follow_the_assignment_by_angle() {
    let mut rng = Rng::new(3, "eval tests", 3);
    let mut truth = random_truth(&mut rng, 2);
    let mut prediction = random_prediction(&mut rng, 2);
    for (i, source) in truth.sources.iter_mut().enumerate() {
        *source =
            ClipSource { direction: unit_vector(90.0 * i as f64, 0.0), distance_m: 1.0 + i as f64, class: Some(i) };
        let slot = &mut prediction.slots[1 - i];
        (slot.direction, slot.distance_m) = (unit_vector(90.0 * i as f64 + 3.0, 0.0), 1.25 + i as f64);
        slot.class_probability = vec![0.1; CLASSES];
        slot.class_probability[i] = 0.6;
    }
    let s = score(&[(prediction.clone(), truth.clone())]);
    assert!((s.distance_error_m.unwrap() - 0.25).abs() < 1e-12);
    assert_eq!(s.class_accuracy, Some(1.0));
    truth.sources[0].class = None;
    prediction.slots[1].class_probability[4] = 0.9;
    assert_eq!(score(&[(prediction.clone(), truth.clone())]).class_accuracy, Some(1.0), "masked classes are left out");
    truth.sources[1].class = None;
    assert_eq!(score(&[(prediction, truth)]).class_accuracy, None);
}

#[test]
fn order_of_slots_and_sources_and_rotation_leave_the_scores_alone() {
    let pairs = random_pairs(7, 200);
    let before = score(&pairs);
    let mut rng = Rng::new(7, "eval tests", 4);
    let mut changed = pairs.clone();
    for (prediction, truth) in &mut changed {
        rng.shuffle(&mut truth.sources);
        // The first S and the first P slots matter: only an order within both keeps them.
        let (s, p) = (truth.sources.len(), prediction.count());
        rng.shuffle(&mut prediction.slots[..s.min(p)]);
        let rotation = Rotation::random(&mut rng).then(&Rotation::mirror([1.0, 0.0, 0.0]));
        prediction.slots.iter_mut().for_each(|slot| slot.direction = rotation.apply_vector(slot.direction));
        truth.sources.iter_mut().for_each(|source| source.direction = rotation.apply_vector(source.direction));
    }
    assert_close(&before, &score(&changed));
    rng.shuffle(&mut changed);
    assert_close(&before, &score(&changed));
}

#[test]
fn assignments_agree_with_brute_force() {
    // Every injection of the smaller side into the larger, written as nested choices.
    fn cheapest(cost: &[Vec<f64>], row: usize, used: &mut Vec<usize>, columns: usize) -> f64 {
        if row == cost.len() {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for column in 0..columns {
            if !used.contains(&column) {
                used.push(column);
                best = best.min(cost[row][column] + cheapest(cost, row + 1, used, columns));
                used.pop();
            }
        }
        best
    }
    for (prediction, truth) in random_pairs(11, 10_000) {
        let clip = ClipScore::of(&prediction, &truth);
        for (p, errors) in [(truth.sources.len(), &clip.angles_deg), (prediction.count(), &clip.full_deg)] {
            let s = truth.sources.len();
            let angle =
                |i: usize, j: usize| angle_between_deg(prediction.slots[i].direction, truth.sources[j].direction);
            let (rows, columns) = (p.min(s), p.max(s));
            let cost: Vec<Vec<f64>> = (0..rows)
                .map(|i| (0..columns).map(|j| if p <= s { angle(i, j) } else { angle(j, i) }).collect())
                .collect();
            let expected = cheapest(&cost, 0, &mut Vec::new(), columns) + 180.0 * (columns - rows) as f64;
            assert!((errors.iter().sum::<f64>() - expected).abs() < 1e-9);
        }
    }
}

#[test]
fn counts_that_are_right_make_full_and_headline_equal() {
    let mut pairs = random_pairs(13, 120);
    pairs.retain(|(prediction, truth)| prediction.count() == truth.sources.len());
    assert!(pairs.len() > 10);
    let s = score(&pairs);
    assert_eq!(s.mean_angular_error_deg, s.mean_angular_error_full_deg);
    assert_eq!(s.count_confusion.iter().flatten().sum::<usize>(), s.n);
}

#[test]
fn means_run_over_sources_and_rows_by_count_add_up() {
    let s = score(&random_pairs(17, 150));
    let weighted = |f: fn(&Score) -> (Option<f64>, usize)| {
        let rows: Vec<(f64, usize)> = s.by_count.values().filter_map(|row| f(row).0.map(|v| (v, f(row).1))).collect();
        rows.iter().map(|(v, n)| v * *n as f64).sum::<f64>() / rows.iter().map(|(_, n)| *n as f64).sum::<f64>()
    };
    assert!((weighted(|r| (r.mean_angular_error_deg, r.sources)) - s.mean_angular_error_deg.unwrap()).abs() < 1e-9);
    assert!((weighted(|r| (r.count_accuracy, r.n)) - s.count_accuracy.unwrap()).abs() < 1e-12);
    let interval = s.mean_angular_error_interval_deg.unwrap();
    assert!(interval[0] < s.mean_angular_error_deg.unwrap() && s.mean_angular_error_deg.unwrap() < interval[1]);
}

#[test]
fn the_interval_of_a_share_solves_wilsons_equation() {
    // The roots of (p - 8/10)^2 = z^2 p (1 - p) / 10.
    let mut rng = Rng::new(1, "eval tests", 5);
    let pairs: Vec<_> =
        (0..10).map(|i| (random_prediction(&mut rng, 1), random_truth(&mut rng, 1 + usize::from(i >= 8)))).collect();
    let [low, high] = score(&pairs).count_accuracy_interval.unwrap();
    assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
}

#[test]
fn the_json_has_the_keys_of_the_contract_and_comes_back() {
    let s = score(&random_pairs(19, 30));
    let text = serde_json::to_string(&s).unwrap();
    assert_eq!(serde_json::from_str::<Score>(&text).unwrap(), s);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in [
        "n",
        "count_accuracy",
        "mean_angular_error_deg",
        "median_angular_error_deg",
        "mean_angular_error_full_deg",
        "distance_error_m",
        "class_accuracy",
    ] {
        assert!(value[key].is_number(), "{key}");
        assert!(value["by_count"]["2"][key].is_number(), "by_count.2.{key}");
    }
    assert!(value["by_count"]["1"].get("by_count").is_none());
}

#[test]
fn no_other_constant_beats_the_best_one() {
    let mut rng = Rng::new(23, "eval tests", 6);
    let truths: Vec<ClipTruth> = (0..150)
        .map(|_| {
            let count = 1 + rng.below(3);
            let mut truth = random_truth(&mut rng, count);
            for source in &mut truth.sources {
                // Mostly near the horizon, a little more to the left, as in rooms.
                source.direction = unit_vector(rng.range(-120.0, 180.0), rng.range(-40.0, 40.0));
            }
            truth
        })
        .collect();
    let best = Constant::best(&truths);
    assert_eq!(best, Constant::best(&truths), "deterministic");
    let reached = best.score(&truths);
    let frequent = reached.by_count.values().map(|row| row.n).max().unwrap();
    assert_eq!(reached.count_accuracy, Some(frequent as f64 / truths.len() as f64));
    let mut rivals = 0;
    for _ in 0..400 {
        let mut rival = best.clone();
        for set in rival.directions.iter_mut() {
            set.iter_mut().for_each(|d| *d = random_direction(&mut rng));
        }
        rival.directions_full = (0..rng.below(4)).map(|_| random_direction(&mut rng)).collect();
        rival.distance_m = rng.range(0.5, 5.0);
        rival.class = Some(rng.below(CLASSES));
        (rival.log_surface, rival.absorption) = (rng.range(3.0, 6.0), rng.range(0.1, 0.7));
        let other = rival.score(&truths);
        for count in ["1", "2", "3"] {
            let angle = |s: &Score| s.by_count[count].mean_angular_error_deg.unwrap();
            assert!(angle(&reached) <= angle(&other) + 1e-6);
        }
        let no_better = |f: fn(&Score) -> Option<f64>| f(&reached).unwrap() <= f(&other).unwrap() + 1e-9;
        assert!(no_better(|s| s.mean_angular_error_full_deg) && no_better(|s| s.distance_error_m));
        assert!(reached.class_accuracy >= other.class_accuracy);
        assert!(no_better(|s| s.log_surface_error) && no_better(|s| s.absorption_error));
        rivals += 1;
    }
    assert_eq!(rivals, 400);
}

#[test]
fn constants_find_clusters_that_are_there() {
    let mut rng = Rng::new(29, "eval tests", 7);
    let centres = [unit_vector(20.0, 10.0), unit_vector(140.0, -20.0), unit_vector(-100.0, 30.0)];
    let truths: Vec<ClipTruth> = (0..60)
        .map(|_| {
            let mut truth = random_truth(&mut rng, 3);
            rng.shuffle(&mut truth.sources);
            for (source, centre) in truth.sources.iter_mut().zip(centres) {
                source.direction = unit(std::array::from_fn(|i| centre[i] + 0.02 * rng.normal()));
            }
            rng.shuffle(&mut truth.sources);
            truth
        })
        .collect();
    let best = Constant::best(&truths);
    let score = best.score(&truths);
    assert!(score.mean_angular_error_deg.unwrap() < 2.0, "{score:?}");
    assert_eq!(best.directions_full.len(), 3);
    for centre in centres {
        let nearest = best.directions[2].iter().map(|&d| angle_between_deg(d, centre)).fold(f64::MAX, f64::min);
        assert!(nearest < 1.0, "{nearest}");
    }
    let empty = Constant::best(&[]).score(&[]);
    assert_eq!((empty.n, empty.count_accuracy), (0, None));
}
