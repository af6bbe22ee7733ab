//! Stages 2 and 3 held to their plan: a run that has exactly what was planned for it comes to its end, one that has less is refused
//! before it begins, and one that asks for more on the way ends with the plan and keeps its checkpoint.

use crate::projector::make;
use crate::{ALONE, family};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::PoisonError;
use twnm::device::{Device, machine, tally::hold};
use twnm::error::{Error, Kind, Result};
use twnm::family::Words;
use twnm::models::Places;
use twnm::plan::Plan;
use twnm::train::answers::data::Supply;
use twnm::train::answers::memory::Stage;
use twnm::train::answers::{Means, Training};
use twnm::train::run::Resume;

/// Settings of a stage whose micro-batch has every row.
fn sets(folder: &Path, stage: &str) -> Vec<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut sets: Vec<String> = family::MODELS[3..].iter().map(|set| set.to_string()).collect();
    sets.extend(["encoder=enc", "semantic=sem", "decoder=wide"].map(|part| {
        let (name, folder) = part.split_once('=').unwrap();
        format!("model.{name}={}", at(folder))
    }));
    sets.push(format!("data.train=[\"{}\"]", at(&format!("{stage}.jsonl"))));
    sets.extend(["train.batch=6", "train.steps=3", "train.save_every=1"].map(String::from));
    sets
}

fn planned(stage: &str, sets: &[String]) -> Plan {
    let stage: Stage = match stage {
        "align" => twnm::config::load::<twnm::train::answers::recipe::AlignRecipe>(None, sets).unwrap().into(),
        _ => twnm::config::load::<twnm::train::answers::recipe::SftRecipe>(None, sets).unwrap().into(),
    };
    let opened = stage.open(&Places::default()).unwrap();
    let words = Words::open(Path::new(&stage.models.decoder)).unwrap();
    let lengths = |files: &[String]| Supply::open(&words, &stage.data, files).unwrap().lengths().unwrap();
    stage.plan(&opened, [&lengths(&stage.data.train), &lengths(&stage.data.dev)], Device::Host).1
}

fn train(stage: &str, sets: &[String], out: &Path, memory: Option<u64>) -> Result<()> {
    let places = Places::default();
    let means = Means { device: Device::Host, places: &places, memory };
    let training = match stage {
        "align" => Training::align(twnm::config::load(None, sets)?, means)?,
        _ => Training::sft(twnm::config::load(None, sets)?, means)?,
    };
    training.run(out, Resume::Auto).map(|_| ())
}

#[test]
fn what_was_planned_is_enough_and_less_is_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    for stage in ["align", "sft"] {
        let sets = sets(folder.path(), stage);
        let plan = planned(stage, &sets);
        let out = folder.path().join(stage);
        let refused = train(stage, &sets, &out, Some(plan.total - 1)).expect_err("a byte less than planned");
        assert_eq!(refused.kind(), Kind::Usage);
        for part in ["frozen weights of the decoder", "together, at the highest point", "train.recompute=units"] {
            assert!(refused.to_string().contains(part), "{part}: {refused}");
        }
        let before = machine::tensor_bytes()[0];
        machine::watch_tensors();
        // What other parts of this process hold is no part of the plan.
        train(stage, &sets, &out, Some(plan.total + before)).unwrap();
        let found = machine::tensor_bytes()[1] - before;
        let share = plan.tensors as f64 / found as f64 - 1.0;
        eprintln!("{stage}: {} planned, {found} found: {share:+.4}", plan.tensors);
        assert!((0.0..=0.03).contains(&share), "{stage}: {} planned, {found} found: {share:+.4}", plan.tensors);
    }
}

#[test]
fn what_is_heard_and_what_is_scored_is_planned() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let all = std::fs::read_to_string(folder.path().join("sft.jsonl")).unwrap();
    std::fs::write(folder.path().join("one.jsonl"), all.lines().next().unwrap()).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let one = format!("data.train=[\"{}\"]", at("one.jsonl"));
    let dev = format!("data.dev=[\"{}\"]", at("sft.jsonl"));
    let cases: [&[&str]; 4] = [
        // Nothing that was heard is kept, and hearing is the highest point.
        &["data.cache_mib=0", "train.recompute=layers", "train.batch=5"],
        &["data.cache_mib=0", "train.recompute=layers", "train.batch=6", "model.weights=nf4"],
        // Held-out rows are longer than those that are trained on.
        &[&one, &dev, "train.batch=1", "train.recompute=layers", "train.score_every=1"],
        &[&one, &dev, "train.batch=3", "train.recompute=layers", "train.score_every=1", "data.cache_mib=0"],
    ];
    for (i, more) in cases.iter().enumerate() {
        let sets = [sets(folder.path(), "sft"), more.iter().map(|set| set.to_string()).collect()].concat();
        let plan = planned("sft", &sets);
        let before = machine::tensor_bytes()[0];
        machine::watch_tensors();
        train("sft", &sets, &folder.path().join(format!("run{i}")), Some(plan.total + before)).unwrap();
        let found = machine::tensor_bytes()[1] - before;
        eprintln!("{more:?}: {} planned, {found} found", plan.tensors);
        assert!(found <= plan.tensors, "{more:?}: {} planned, {found} found", plan.tensors);
    }
}

#[test]
fn a_row_that_is_too_long_with_its_recording_is_refused_before_the_run() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let longest = {
        let sets = sets(folder.path(), "sft");
        let recipe = twnm::config::load::<twnm::train::answers::recipe::SftRecipe>(None, &sets).unwrap();
        let words = Words::open(Path::new(&recipe.model.decoder)).unwrap();
        let rows = Supply::open(&words, &recipe.data, &recipe.data.train).unwrap();
        rows.lengths().unwrap().iter().map(|length| length.text + 1).max().unwrap()
    };
    let tight = format!("data.tokens_max={longest}");
    let sets = [sets(folder.path(), "sft"), vec![tight]].concat();
    let error = train("sft", &sets, &folder.path().join("out"), Some(1 << 40)).expect_err("recordings take more rows");
    assert!(error.kind() == Kind::Data && error.message().contains("of the audio"), "{error}");
}

#[test]
fn going_over_ends_the_run_with_the_plan_and_keeps_the_checkpoint() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let mut sets = sets(folder.path(), "align");
    sets.push(format!("model.decoder={}", folder.path().join("dec").display()));
    let out = folder.path().join("run");
    train("align", &sets, &out, None).unwrap();
    // As if the process had died after its second step.
    std::fs::remove_dir_all(out.join("checkpoints/step-3")).unwrap();
    let room = machine::tensor_bytes()[0] + (100 << 10);
    let over = {
        let _held = hold(Device::Host, room, "the plan's table".into());
        let ended = catch_unwind(AssertUnwindSafe(|| train("align", &sets, &out, None)));
        ended.expect_err("it unwinds").downcast::<Error>().expect("with the error itself")
    };
    assert_eq!(over.kind(), Kind::Other);
    let text = over.to_string();
    assert!(text.contains("over the memory budget") && text.contains("the plan's table"), "{text}");
    assert!(out.join("checkpoints/step-2").is_dir() && !out.join("checkpoints/step-3").exists());
    train("align", &sets, &out, None).unwrap();
    assert!(out.join("checkpoints/step-3").is_dir());
}

#[test]
fn other_devices_are_counted_for_themselves() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let here = twnm::tensor::Tensor::zeros(&[1024]);
    let before = machine::tensor_bytes_on(Device::Emu)[0];
    let there = here.to(Device::Emu);
    assert_eq!(machine::tensor_bytes_on(Device::Emu)[0] - before, 4096);
    let refused = {
        let _held = hold(Device::Emu, before + 4096 + 100, "its plan".into());
        catch_unwind(AssertUnwindSafe(|| here.to(Device::Emu))).expect_err("there is no room for it")
    };
    assert!(refused.downcast::<Error>().unwrap().to_string().contains("4096 bytes wanted beside 4096 bytes"));
    drop(there);
    assert_eq!(machine::tensor_bytes_on(Device::Emu)[0], before);
}
