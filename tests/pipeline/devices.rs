//! Training on a device is training: the emulator takes the steps of the native path; what is not there is said.

use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, folder: &Path, args: &[&str]) -> Output {
    Command::new(program).args(args).current_dir(folder).env("RAYON_NUM_THREADS", "2").output().unwrap()
}

fn simulate(folder: &Path) {
    let args = ["simulate", "--out", "data", "--scenes", "6", "--seed", "5", "--set", "seconds=0.6"];
    let output = run(env!("CARGO_BIN_EXE_twnm"), folder, &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The losses of three steps, one line of metrics each, and of the scores on two scenes.
fn losses(folder: &Path, device: &str, out: &str, sets: &[&str]) -> Vec<f64> {
    let common = ["data.dev=[\"data\"]", "train.steps=3", "train.batch=2", "train.log_every=1"];
    let more = ["train.score_every=3", "train.score_scenes=2", "model.hidden=8", "model.layers=1", "model.ffn=8"];
    let sets = common.iter().chain(&more).chain(sets).flat_map(|&s| ["--set", s]);
    let args: Vec<&str> = ["encoder", "--device", device, "--out", out].into_iter().chain(sets).collect();
    let output = run(env!("CARGO_BIN_EXE_twnm-train"), folder, &args);
    assert!(output.status.success(), "{device}: {}", String::from_utf8_lossy(&output.stderr));
    let metrics = std::fs::read_to_string(folder.join(out).join("metrics.jsonl")).unwrap();
    let value = |line: &str| -> serde_json::Value { serde_json::from_str(line).expect("a line of metrics") };
    let lines: Vec<serde_json::Value> = metrics.lines().map(value).collect();
    let of = |key: &'static str| lines.iter().filter_map(move |line| line[key].as_f64());
    let all: Vec<f64> = of("train/loss").chain(of("train/gradient_norm")).chain(of("dev/distance_error_m")).collect();
    assert_eq!(all.len(), 7, "three losses, three norms, one score: {metrics}");
    all
}

#[track_caller]
fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() <= tolerance * e.abs(), "{actual:?}, on the host {expected:?}");
    }
}

const MAP: [&str; 10] = [
    "model.input=\"map\"",
    "model.n_fft=32",
    "model.hop=32",
    "model.squeeze=3",
    "model.heads=2",
    "model.groups=4",
    "data.crop_min_s=0.2",
    "data.crop_max_s=0.3",
    "loss.direction_map=0.0",
    "optimizer.learning_rate=0.01",
];
const CELLS: [&str; 8] = [
    "model.input=\"covariance\"",
    "model.slot_width=12",
    "model.heads=2",
    "model.reads=1",
    "data.crop_min_s=0.3",
    "data.crop_max_s=0.5",
    "loss.direction_map=5.0",
    "optimizer.learning_rate=0.01",
];

const SHARDS: [&str; 1] = ["data.train=[\"data\"]"];

#[test]
fn scenes_rendered_on_the_device_train_as_those_of_the_host() {
    let home = tempfile::tempdir().unwrap();
    simulate(home.path());
    // Short responses: the emulator takes its time for every image.
    let scenes = "seconds = 0.6\nrir_max_s = 0.05\nmax_sources = 2\n";
    std::fs::write(home.path().join("scenes.toml"), scenes).unwrap();
    let sets = [&MAP[..], &["data.bank=true", "data.scene_recipe=\"scenes.toml\""]].concat();
    let host = losses(home.path(), "host", "host", &sets);
    assert_close(&losses(home.path(), "emu", "emu", &sets), &host, 1e-4);
    let both = run(
        env!("CARGO_BIN_EXE_twnm-train"),
        home.path(),
        &["encoder", "--out", "both", "--set", "data.bank=true", "--set", "data.train=[\"data\"]"],
    );
    assert_eq!(both.status.code(), Some(2), "{}", String::from_utf8_lossy(&both.stderr));
}

#[test]
fn the_emulator_trains_as_the_host_does() {
    let home = tempfile::tempdir().unwrap();
    simulate(home.path());
    // Clips of one length go through a device in one batch, others one by one.
    let cases = [("map", &MAP[..], "false"), ("cells", &CELLS[..], "false"), ("batch", &MAP[..], "true")];
    for (name, sets, shared) in cases {
        let shared = format!("data.crop_shared={shared}");
        let sets = &[sets, &SHARDS, &[&shared]].concat();
        let host = losses(home.path(), "host", &format!("host-{name}"), sets);
        let emu = losses(home.path(), "emu", &format!("emu-{name}"), sets);
        assert_close(&emu, &host, 1e-4);
    }
}

#[test]
fn activations_stored_as_bf16_train_nearly_alike() {
    let home = tempfile::tempdir().unwrap();
    simulate(home.path());
    let sets = [&MAP[..], &SHARDS].concat();
    let host = losses(home.path(), "host", "host", &sets);
    let narrow: Vec<&str> = sets.into_iter().chain(["train.precision=\"bf16\""]).collect();
    // Losses and scores; the norms hold a thousand rounded products each.
    assert_close(&losses(home.path(), "emu", "emu", &narrow), &host, 0.05);
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_auto_says_what_it_chose() {
    let home = tempfile::tempdir().unwrap();
    let train = |device: &str, visible: &str| {
        Command::new(env!("CARGO_BIN_EXE_twnm-train"))
            .args(["encoder", "--device", device, "--out", "run", "--dry-run"])
            .current_dir(home.path())
            .env("CUDA_VISIBLE_DEVICES", visible)
            .output()
            .unwrap()
    };
    for visible in ["", "-1", "garbage"] {
        let output = train("cuda", visible);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{visible:?}: {text}");
        assert!(text.starts_with("error: ") && !text.contains("panicked"), "{text}");
        let output = train("auto", visible);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("auto: host, because")).count(), 1, "{text}");
    }
    assert_eq!(train("cuda:x", "").status.code(), Some(2));
    let bf16 = ["encoder", "--out", "run", "--device", "host", "--set", "train.precision=\"bf16\""];
    let output = run(env!("CARGO_BIN_EXE_twnm-train"), home.path(), &bf16);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The checks of the doctor on the emulator: both precisions, what was launched, and a filter that finds nothing.
#[test]
fn the_doctor_checks_kernels_on_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let twnm = |args: &[&str]| run(env!("CARGO_BIN_EXE_twnm"), folder.path(), args);
    let json = |output: &Output| -> serde_json::Value {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    };
    let report = json(&twnm(&["doctor", "--ops", "--device", "emu", "--filter", "layer_norm", "--json"]));
    let ops = report["ops"].as_array().unwrap();
    assert_eq!((report["ok"].as_bool(), ops.len()), (Some(true), 2));
    assert!(ops.iter().all(|op| op["gradcheck_error"].is_null() && op["parity_error"].as_f64() > Some(0.0)));
    let kernels = report["kernels"].as_array().unwrap();
    let launched = kernels.iter().filter(|kernel| kernel["cases"].as_u64() > Some(0)).count();
    assert!(launched >= 7 && launched < kernels.len(), "{launched} kernels launched");
    let measured = json(&twnm(&["bench", "kernels", "--device", "emu", "--filter", "adamw", "--json"]));
    assert_eq!((measured["rows"].as_array().unwrap().len(), measured["ok"].as_bool()), (2, Some(true)));
    for args in
        [&["doctor", "--ops", "--filter", "no such op"][..], &["bench", "kernels", "--device", "host", "--filter", "?"]]
    {
        assert_eq!(twnm(args).status.code(), Some(2), "{args:?}");
    }
}
