//! Kills at random moments: a toy training and a set of shards, written by a child process (this test binary
//! run again), must end with the bytes of the uninterrupted run, whatever happened in between.
//!
//! `TWNM_KILLS=10000 cargo test --release --test crash` runs the long form.

mod common;
#[path = "common/family.rs"]
mod family;

use common::{assert_same, lasting};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use twnm::device::Device;
use twnm::error::Result;
use twnm::rng::Rng;
use twnm::shard::{Labels, Sample, ShardSpec, ShardWriter};
use twnm::train::answers::{Means, Training};
use twnm::train::run::{Card, Parts, Resume, Run, RunOptions};
use twnm::weights::Entry;

const JOB: &str = "TWNM_CRASH_JOB";
const FOLDER: &str = "TWNM_CRASH_FOLDER";
const MODELS: &str = "TWNM_CRASH_MODELS";
const FILE_LIMIT: &str = "TWNM_CRASH_FILE_LIMIT";
const STEPS: u64 = 24;
const PARAMETERS: usize = 5000;

/// The child's side: without the variables it is no test and ends at once.
#[test]
fn child() {
    let (Ok(job), Ok(folder)) = (std::env::var(JOB), std::env::var(FOLDER)) else { return };
    if let Ok(limit) = std::env::var(FILE_LIMIT) {
        let bytes = limit.parse().unwrap();
        let limit = rustix::process::Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    }
    let result = match job.as_str() {
        "train" => train(Path::new(&folder)),
        "simulate" => simulate(Path::new(&folder)),
        "shrink" => shrink(Path::new(&folder)),
        "align" | "sft" => answers(&job, Path::new(&folder)),
        other => panic!("no job {other}"),
    };
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(error.kind().exit_code().into());
    }
    std::process::exit(0);
}

/// Momentum descent on a fixed quadratic with noise addressed by the step: every bit depends on every step.
fn train(folder: &Path) -> Result<()> {
    let options = RunOptions { resume: Resume::Auto, keep: 2, total_steps: STEPS, inputs: vec![] };
    let (mut run, checkpoint) = Run::open(folder, "steps = 24\n", &options)?;
    let (mut step, mut w, mut m) = (0, vec![0f32; PARAMETERS], vec![0f32; PARAMETERS]);
    if let Some(checkpoint) = checkpoint {
        step = checkpoint.state["step"].as_u64().expect("the loop saved it");
        assert_eq!(step, checkpoint.step);
        w = checkpoint.model.parameter("w", &[PARAMETERS])?.into_owned();
        m = checkpoint.optimizer.expect("continued runs have it").parameter("w.m", &[PARAMETERS])?.into_owned();
    }
    while step < STEPS {
        let mut noise = Rng::new(7, "toy", step);
        let mut loss = 0.0;
        for (w, m) in w.iter_mut().zip(&mut m) {
            let gradient = *w - noise.normal() as f32;
            loss += gradient as f64 * gradient as f64;
            *m = 0.9 * *m + gradient;
            *w -= 0.05 * *m;
        }
        step += 1;
        run.log(step, &[("train/loss", loss / PARAMETERS as f64)])?;
        let stop = run.should_stop();
        if step % 3 == 0 || step == STEPS || stop {
            let (model, optimizer) = ([Entry::f32("w", &[PARAMETERS], &w)], [Entry::f32("w.m", &[PARAMETERS], &m)]);
            let state = serde_json::json!({"step": step});
            run.save(step, &Parts { model: &model, optimizer: &optimizer, state, files: &[] })?;
        }
        if stop && step < STEPS {
            return Err(run.stopped(step));
        }
    }
    run.finish(&Card { title: "Toy".into(), ..Card::default() })
}

fn simulate(folder: &Path) -> Result<()> {
    let mut spec = ShardSpec::new(40, 1600, 3, &[], &serde_json::json!({}))?;
    spec.scenes_per_shard = 4;
    let writer = ShardWriter::open(folder, spec)?;
    for &index in writer.missing() {
        let sample = |i: usize| {
            let mut rng = Rng::new(3, "toy scene", i as u64);
            let audio: Vec<f32> = (0..4 * 1600).map(|_| rng.normal() as f32).collect();
            Sample::new(&audio, Labels::empty(1600), &serde_json::json!({"scene": i}))
        };
        let samples = writer.spec().range(index).map(sample).collect::<Result<Vec<_>>>()?;
        writer.write(index, &samples)?;
    }
    writer.finish().map(|_| ())
}

/// Stages 2 and 3 of the models that lie beside the run's folder.
fn answers(stage: &str, folder: &Path) -> Result<()> {
    let models = std::env::var(MODELS).expect("set by the parent");
    std::env::set_current_dir(&models).unwrap();
    let more = ["train.steps=6", "train.save_every=1", "train.log_every=1", "train.batch=2", "train.keep=2"];
    let rows = format!("data.train=[\"{stage}.jsonl\"]");
    let sets: Vec<String> = family::MODELS.iter().chain(&more).map(|s| s.to_string()).chain([rows]).collect();
    let places = twnm::models::Places::default();
    let means = Means { device: Device::Host, places: &places, memory: None };
    let training = match stage {
        "align" => Training::align(twnm::config::load(None, &sets)?, means)?,
        _ => Training::sft(twnm::config::load(None, &sets)?, means)?,
    };
    training.run(folder, Resume::Auto).map(|_| ())
}

/// Maps a file, cuts it off, and reads what is gone.
fn shrink(folder: &Path) -> Result<()> {
    let path = folder.join("w.safetensors");
    let values = vec![1f32; 1 << 16];
    twnm::weights::write(&path, &[Entry::f32("w", &[1 << 16], &values)], &[])?;
    let tensors = twnm::weights::Tensors::open(&path)?;
    std::fs::File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
    let sum: f32 = tensors.f32("w")?.iter().sum();
    panic!("the file is gone, and yet its sum is {sum}");
}

fn spawn(job: &str, folder: &Path, file_limit: Option<u64>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(JOB, job).env(FOLDER, folder);
    if let Some(limit) = file_limit {
        command.env(FILE_LIMIT, limit.to_string());
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn run(job: &str, folder: &Path, file_limit: Option<u64>) -> ExitStatus {
    spawn(job, folder, file_limit).wait().unwrap()
}

/// Runs `job` again and again, each time sent `signal` after a random part of its usual time, until `kills`
/// signals have hit; every finished run is compared with the uninterrupted one.
fn survive(job: &str, signal: Signal, kills: usize) {
    let whole = tempfile::tempdir().unwrap();
    let begin = std::time::Instant::now();
    assert!(run(job, whole.path(), None).success());
    let usual = begin.elapsed();
    let expected = lasting(whole.path());
    let mut rng = Rng::new(11, job, 0);
    let (mut hits, mut finished) = (0, 0);
    while hits < kills || finished == 0 {
        let folder = tempfile::tempdir().unwrap();
        loop {
            let mut child = spawn(job, folder.path(), None);
            std::thread::sleep(Duration::from_secs_f64(usual.as_secs_f64() * rng.uniform() * 0.9));
            if hits < kills {
                // The child may just have ended by itself; then there is nobody to signal.
                let _ = kill_process(Pid::from_child(&child), signal);
            }
            let status = child.wait().unwrap();
            if status.success() {
                break;
            }
            let stopped = signal == Signal::TERM && status.code() == Some(75);
            let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(signal.as_raw());
            assert!(killed || stopped, "the child ended with {status}");
            hits += 1;
        }
        assert_same(&expected, folder.path());
        finished += 1;
    }
    println!("{job}: {hits} signals, {finished} finished runs, all equal");
}

fn kills(short: usize) -> usize {
    std::env::var("TWNM_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(short)
}

#[test]
fn training_killed_at_random_moments_ends_with_the_same_bytes() {
    survive("train", Signal::KILL, kills(30));
}

#[test]
fn simulation_killed_at_random_moments_ends_with_the_same_bytes() {
    survive("simulate", Signal::KILL, kills(30));
}

#[test]
fn answers_killed_at_random_moments_are_learned_to_the_same_bytes() {
    let models = tempfile::tempdir().unwrap();
    family::make(models.path());
    // SAFETY: no other thread of this test program changes the environment; children read it.
    unsafe { std::env::set_var(MODELS, models.path()) };
    for stage in ["align", "sft"] {
        survive(stage, Signal::KILL, kills(20));
    }
}

#[test]
fn training_asked_to_stop_saves_and_continues_to_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    assert!(run("train", whole.path(), None).success());
    let stopped = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(12, "terminate", 0);
    let mut codes = Vec::new();
    while codes.last() != Some(&Some(0)) {
        let mut child = spawn("train", stopped.path(), None);
        // Wait for the handler: before the run is open, a signal ends the process as it always does.
        while !stopped.path().join("timings.jsonl").exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(rng.below(40) as u64));
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        codes.push(child.wait().unwrap().code());
    }
    assert!(codes.contains(&Some(75)), "at least one stop was in time: {codes:?}");
    assert!(codes.iter().all(|c| [Some(0), Some(75), None].contains(c)), "{codes:?}");
    // The checkpoints kept differ (each stop saves one); the last one and the metrics do not.
    let (a, b) = (lasting(whole.path()), lasting(stopped.path()));
    for name in
        ["metrics.jsonl", "metrics.csv", "checkpoints/step-24/model.safetensors", "checkpoints/step-24/state.json"]
    {
        assert!(a[Path::new(name)] == b[Path::new(name)], "{name} differs");
    }
}

#[test]
fn a_file_cut_off_while_it_is_mapped_ends_the_program_with_74() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run("shrink", folder.path(), None).code(), Some(74));
}

#[test]
fn a_full_disk_ends_with_exit_code_74_and_nothing_half_written() {
    for (job, limits) in [("train", [100, 10_000]), ("simulate", [100, 40_000])] {
        let whole = tempfile::tempdir().unwrap();
        assert!(run(job, whole.path(), None).success());
        for limit in limits {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(run(job, folder.path(), Some(limit)).code(), Some(74), "{job} with {limit} bytes");
            for path in lasting(folder.path()).keys() {
                assert!(!path.to_string_lossy().contains(".tmp-"), "{job}: {} was left behind", path.display());
            }
            assert!(run(job, folder.path(), None).success(), "{job} continues after the disk has space again");
            assert_same(&lasting(whole.path()), folder.path());
        }
    }
}
