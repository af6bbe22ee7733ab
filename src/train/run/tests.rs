//! The run folder: resume cuts back, conflicts are refused untouched, derived files follow.

use super::*;
use crate::weights::Entry;
use std::collections::BTreeMap;

const CONFIG: &str = "# about\nsteps = 6\n\n[optimizer]\nlearning_rate = 0.001\n";

fn options(resume: Resume) -> RunOptions {
    RunOptions { resume, keep: 2, total_steps: 6, inputs: vec![("data".into(), "abc".into())] }
}

/// A toy training: 6 steps, a checkpoint every 2, ended before `until`.
fn train(folder: &Path, until: u64) -> Result<()> {
    let (mut run, checkpoint) = Run::open(folder, CONFIG, &options(Resume::Auto))?;
    let (mut step, mut weight) = (0, 1.0f32);
    if let Some(checkpoint) = checkpoint {
        step = checkpoint.step;
        weight = checkpoint.model.f32("w")?[0];
        assert_eq!(checkpoint.state, json!({"position": step * 8}));
    }
    while step < until {
        step += 1;
        weight = weight * 0.7 + step as f32;
        run.log(step, &[("train/loss", weight as f64), ("gradient_norm", if step == 3 { f64::NAN } else { 1.0 })])?;
        if step % 2 == 0 {
            run.log(step, &[("dev/loss", 2.0)])?;
            let (weights, moments) = ([weight], [weight * 2.0]);
            let (model, optimizer) = ([Entry::f32("w", &[1], &weights)], [Entry::f32("w.m", &[1], &moments)]);
            let (state, files) = (json!({"position": step * 8}), &[("config.json", &b"{}"[..])]);
            run.save(step, &Parts { model: &model, optimizer: &optimizer, state, files })?;
        }
    }
    if step == 6 {
        run.finish(&Card { title: "Toy".into(), facts: vec![("seed".into(), "1".into())], ..Card::default() })?;
    }
    Ok(())
}

/// Everything that must not depend on kills.
fn lasting(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(path) = pending.pop() {
        for entry in std::fs::read_dir(path).unwrap().map(|e| e.unwrap()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                pending.push(entry.path());
            } else if name != "timings.jsonl" && !name.starts_with("events") {
                out.insert(
                    entry.path().strip_prefix(folder).unwrap().to_path_buf(),
                    std::fs::read(entry.path()).unwrap(),
                );
            }
        }
    }
    out
}

#[test]
fn a_run_killed_after_any_step_ends_with_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    train(whole.path(), 6).unwrap();
    let expected = lasting(whole.path());
    for name in ["README.md", "metrics.csv", "metrics.jsonl", "plots/loss.svg", "checkpoints/latest", "config.toml"] {
        assert!(expected.contains_key(Path::new(name)), "{name} is missing");
    }
    for stop in 0..6 {
        let resumed = tempfile::tempdir().unwrap();
        train(resumed.path(), stop).unwrap();
        // A line that was being written when the power went.
        let log = File::options().append(true).open(resumed.path().join("metrics.jsonl"));
        log.unwrap().write_all(b"{\"step\":9,\"tra").unwrap();
        train(resumed.path(), 6).unwrap();
        assert!(lasting(resumed.path()) == expected, "stopped after {stop} steps");
    }
    let csv = String::from_utf8(expected[Path::new("metrics.csv")].clone()).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "step,train/loss,gradient_norm,dev/loss");
    assert!(lines[3].starts_with("3,") && lines[3].ends_with(",NaN,"), "a NaN is shown: {}", lines[3]);
    assert!(lines[2].ends_with(",1.0,2.0"));
}

#[test]
fn a_damaged_newest_checkpoint_costs_its_steps_and_nothing_else() {
    let (whole, damaged) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(whole.path(), 6).unwrap();
    train(damaged.path(), 5).unwrap();
    let model = damaged.path().join("checkpoints/step-4/model.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&model, bytes).unwrap();
    train(damaged.path(), 6).unwrap();
    assert!(lasting(whole.path()) == lasting(damaged.path()));
}

#[test]
fn conflicts_are_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), 4).unwrap();
    let before = lasting(folder.path());
    let other = CONFIG.replace("0.001", "0.01");
    let refused = Run::open(folder.path(), &other, &options(Resume::Auto)).err().unwrap();
    assert_eq!(refused.kind(), Kind::Usage);
    assert!(refused.message().contains("optimizer.learning_rate: 0.001 there, 0.01 asked for"), "{refused}");
    assert_eq!(Run::open(folder.path(), CONFIG, &options(Resume::Never)).err().unwrap().kind(), Kind::Usage);
    let other_data = RunOptions { inputs: vec![("data".into(), "abd".into())], ..options(Resume::Auto) };
    let refused = Run::open(folder.path(), CONFIG, &other_data).err().unwrap();
    assert_eq!(refused.kind(), Kind::Usage);
    assert!(refused.message().contains("other content of: data"), "{refused}");
    let (run, _) = Run::open(folder.path(), CONFIG, &options(Resume::Auto)).unwrap();
    assert_eq!(Run::open(folder.path(), CONFIG, &options(Resume::Auto)).err().unwrap().kind(), Kind::Io);
    drop(run);
    assert!(before == lasting(folder.path()));
    std::fs::write(folder.path().join("metrics.jsonl"), "{}\n").unwrap();
    let edited = Run::open(folder.path(), CONFIG, &options(Resume::Auto)).err().unwrap();
    assert_eq!(edited.kind(), Kind::Integrity);
    assert!(edited.message().contains("metrics.jsonl"));
    std::fs::remove_file(folder.path().join("config.toml")).unwrap();
    assert_eq!(Run::open(folder.path(), CONFIG, &options(Resume::Auto)).err().unwrap().kind(), Kind::Usage);
}
