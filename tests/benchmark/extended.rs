//! The tasks beyond the paper's before the same checks.

use super::*;

/// The tasks beyond the paper's, in the order of their names.
const EXTENDED: [&str; 9] = [
    "ext_angle_between",
    "ext_compare_elevations",
    "ext_count_per_class",
    "ext_identity_at_direction",
    "ext_onset_and_duration",
    "ext_order_in_time",
    "ext_overlap_in_time",
    "ext_rank_by_distance",
    "ext_speaker_says_where",
];

fn extended(questions: usize) -> Settings {
    Settings { tasks: TaskSet::Extended, ..settings(questions) }
}

#[test]
fn every_key_beyond_the_paper_is_the_only_truth_and_answerers_without_ears_learn_nothing() {
    let n = questions();
    let scenes = synthetic_scenes::scenes(n * 5 / 2, Named::AsInTheBank);
    let rows = make(&scenes, extended(n));
    assert!(rows.iter().all(|r| r["level"] == "extended"));
    let margins = check(&rows, &truths(&scenes));
    assert_eq!(margins.keys().map(String::as_str).collect::<Vec<_>>(), EXTENDED);
    for (task, (questions, margin)) in &margins {
        println!("{task:42} {questions:6} questions, wrong options fail by {margin:.3} noticeable differences");
        assert!(questions.abs_diff(n / 9) <= 1, "{task}: {questions} questions");
    }
    let items: Vec<Item> = rows.iter().map(item).collect();
    check_letters(&items, &EXTENDED);
    without_ears("many scenes", &items, Some(0.33));
}

#[test]
fn who_reads_the_chain_alone_finds_the_key_beyond_the_paper() {
    read_chains(TaskSet::Extended, 150);
}

#[test]
fn the_checker_sees_what_is_wrong_beyond_the_paper() {
    wrong_scenes_are_seen(TaskSet::Extended, &EXTENDED);
}

#[test]
fn keys_beyond_the_paper_are_the_only_truth_under_names_of_data_sets() {
    let n = questions() / 4;
    let scenes = synthetic_scenes::scenes(n * 4, Named::AsInDataSets);
    let rows = make(&scenes, Settings { signed_azimuth: true, ..extended(n) });
    check(&rows, &truths(&scenes));
    let items: Vec<Item> = rows.iter().map(item).collect();
    let scores = answerer::scores(&items, View::Words);
    println!("names of data sets: {:.4} overall, worst {:?}", scores.overall(), scores.worst());
    assert!(scores.overall() <= 0.28, "{}", scores.overall());
}

#[test]
fn all_tasks_together_are_those_of_the_paper_and_a_third_more() {
    let scenes = synthetic_scenes::scenes(1500, Named::AsInTheBank);
    let rows = make(&scenes, Settings { tasks: TaskSet::All, per_scene: None, ..settings(540) });
    let of = |extended: bool| rows.iter().filter(|r| text(r, "task").starts_with("ext_") == extended).count();
    assert_eq!([of(false), of(true)], [360, 180]);
    check(&rows, &truths(&scenes));
}
