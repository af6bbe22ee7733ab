//! The programs as users run them, with damaged data, wrong recipes, full disks and kills: each ends with the
//! documented exit code and a message naming file, field and fix, and nothing half-written remains.
//!
//! `TWNM_KILLS=30 cargo test --release --test hostile` kills the real programs that often.

use crate::common::{assert_same, lasting};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use twnm::rng::Rng;

const TWNM: &str = env!("CARGO_BIN_EXE_twnm");
const TRAIN: &str = env!("CARGO_BIN_EXE_twnm-train");
const EVAL: &str = env!("CARGO_BIN_EXE_twnm-eval");

/// The smallest training: two crops per step, 8 steps, a checkpoint every 2.
const TRAINING: &[&str] = &[
    "model.input=covariance",
    "model.hidden=16",
    "model.layers=1",
    "model.ffn=16",
    "model.heads=2",
    "data.crop_min_s=1",
    "data.crop_max_s=1",
    "train.steps=8",
    "train.batch=2",
    "train.accumulate=1",
    "train.save_every=2",
    "train.log_every=1",
];

fn run(program: &str, folder: &Path, args: &[&str]) -> Output {
    Command::new(program).args(args).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

/// Runs with a limit on the size of files, in blocks of 1024 bytes.
fn run_limited(program: &str, folder: &Path, blocks: u64, args: &[&str]) -> Output {
    let script = format!("ulimit -f {blocks} && exec \"$0\" \"$@\"");
    Command::new("bash").args(["-c", &script, program]).args(args).current_dir(folder).output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(output.stdout.is_empty() || code == 0, "a failure prints nothing on standard output");
}

fn simulate(folder: &Path, out: &str, scenes: usize) -> Output {
    let scenes = scenes.to_string();
    run(TWNM, folder, &["simulate", "--out", out, "--scenes", &scenes, "--seed", "3", "--set", "seconds=2"])
}

/// One small set for all tests; each works on a copy.
fn shards(into: &Path) -> PathBuf {
    static SET: OnceLock<tempfile::TempDir> = OnceLock::new();
    let original = SET.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        expect(&simulate(folder.path(), "set", 6), 0, &[]);
        folder
    });
    let copy = into.join("set");
    std::fs::create_dir(&copy).unwrap();
    for (name, bytes) in lasting(&original.path().join("set")) {
        std::fs::write(copy.join(name), bytes).unwrap();
    }
    copy
}

fn train_args<'a>(out: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["encoder", "--out", out, "--device", "host", "--set", "data.train=[\"set\"]"];
    for set in TRAINING.iter().chain(extra) {
        args.extend(["--set", set]);
    }
    args
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn recipes_with_typos_and_senseless_values_are_refused_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("r.toml");
    std::fs::write(
        &recipe,
        "\u{feff}[optimizer]\r\nlearning_rat = 1e-3\r\nweight_decay = -1\r\n[trian]\r\nbatch = 0\r\n",
    )
    .unwrap();
    let args = [
        "encoder",
        "--out",
        "run",
        "--recipe",
        "r.toml",
        "--set",
        "train.batch=0",
        "--set",
        "optimizer.learning_rate=nan",
    ];
    let parts = [
        "r.toml",
        "line 2: optimizer.learning_rat: unknown setting, did you mean `optimizer.learning_rate`?",
        "line 3: optimizer.weight_decay: -1 is not accepted",
        "line 4: trian: unknown setting, did you mean `train`?",
        "train.batch: 0 is not accepted",
        "optimizer.learning_rate: nan is not accepted",
    ];
    expect(&run(TRAIN, folder.path(), &args), 2, &parts);
    std::fs::write(&recipe, "a = [[[[").unwrap();
    expect(&run(TRAIN, folder.path(), &["encoder", "--out", "run", "--recipe", "r.toml"]), 2, &["line 1"]);
    expect(&run(TRAIN, folder.path(), &["encoder", "--out", "run", "--recipe", "none.toml"]), 66, &["none.toml"]);
    expect(&run(TRAIN, folder.path(), &["encoder", "--out", "run", "--recipe", "."]), 2, &["a folder"]);
    let typo = ["simulate", "--out", "set", "--scenes", "1", "--seed", "1", "--set", "secnds=2"];
    expect(&run(TWNM, folder.path(), &typo), 2, &["did you mean `seconds`?"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the recipe is there");
}

#[test]
fn damaged_shards_are_found_before_anything_is_trained_or_scored() {
    let folder = tempfile::tempdir().unwrap();
    let set = shards(folder.path());
    let shard = set.join("shard-00000.safetensors");
    let good = std::fs::read(&shard).unwrap();
    let train = || run(TRAIN, folder.path(), &train_args("run", &[]));
    for at in [0, 20, 500, good.len() / 2, good.len() - 1] {
        flip(&shard, at);
        expect(&train(), 78, &["shard-00000.safetensors", "BLAKE3", "hint"]);
        std::fs::write(&shard, &good).unwrap();
    }
    flip(&shard, 5000);
    expect(&simulate(folder.path(), "set", 6), 78, &["shard-00000.safetensors"]);
    std::fs::write(&shard, &good[..good.len() / 3]).unwrap();
    expect(&train(), 78, &["shard-00000.safetensors", "bytes"]);
    std::fs::write(&shard, &good).unwrap();
    flip(&set.join("scenes.jsonl"), 40);
    expect(&train(), 78, &["scenes.jsonl"]);
    std::fs::write(set.join("manifest.json"), "{}").unwrap();
    expect(&train(), 65, &["manifest.json"]);
    std::fs::remove_file(set.join("manifest.json")).unwrap();
    expect(&train(), 66, &["manifest.json", "twnm simulate"]);
    assert!(!folder.path().join("run").exists(), "no run was begun");
}

#[test]
fn damaged_checkpoints_are_skipped_named_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    shards(folder.path());
    expect(&run(TRAIN, folder.path(), &train_args("run", &[])), 0, &[]);
    let whole = lasting(&folder.path().join("run"));
    let checkpoints = folder.path().join("run/checkpoints");
    flip(&checkpoints.join("step-8/model.safetensors"), 3000);
    let score = ["encoder", "--checkpoint", "run/checkpoints/step-8", "--data", "set", "--json"];
    expect(&run(EVAL, folder.path(), &score), 78, &["step-8/model.safetensors", "BLAKE3"]);
    expect(&run(TRAIN, folder.path(), &train_args("run", &[])), 0, &["step-8", "trying the checkpoint before it"]);
    assert_same(&whole, &folder.path().join("run"));
    let other = train_args("run", &["optimizer.learning_rate=0.5"]);
    expect(&run(TRAIN, folder.path(), &other), 2, &["optimizer.learning_rate", "0.5 asked for", "--out"]);
    let mut never = train_args("run", &[]);
    never.extend(["--resume", "never"]);
    expect(&run(TRAIN, folder.path(), &never), 2, &["--resume"]);
    assert_same(&whole, &folder.path().join("run"));
    for entry in std::fs::read_dir(&checkpoints).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        flip(&entry.join("optimizer.safetensors"), 1000);
    }
    expect(
        &run(TRAIN, folder.path(), &train_args("run", &[])),
        78,
        &["no good checkpoint is left", "optimizer.safetensors"],
    );
    expect(&run(EVAL, folder.path(), &["encoder", "--checkpoint", "none", "--data", "set"]), 66, &["none"]);
}

#[test]
fn a_full_disk_ends_with_74_and_the_same_command_finishes_later() {
    let folder = tempfile::tempdir().unwrap();
    shards(folder.path());
    let room = r#"{"dimensions_m":[6,5,3],"absorption":0.3,"sample_rate":16000,"max_order":3,"receiver_m":[3,2,1.5],"sources_m":[[1,1,1]]}"#;
    std::fs::write(folder.path().join("room.json"), room).unwrap();
    let rir = ["rir", "--room", "room.json", "--out", "rir.safetensors"];
    expect(&run_limited(TWNM, folder.path(), 1, &rir), 74, &["rir.safetensors"]);
    let set = ["simulate", "--out", "other", "--scenes", "6", "--seed", "3", "--set", "seconds=2"];
    expect(&run_limited(TWNM, folder.path(), 100, &set), 74, &["shard-00000.safetensors"]);
    expect(&run_limited(TRAIN, folder.path(), 20, &train_args("run", &[])), 74, &["safetensors"]);
    for path in lasting(folder.path()).keys() {
        assert!(!path.to_string_lossy().contains(".tmp-"), "{} was left behind", path.display());
    }
    assert!(!folder.path().join("rir.safetensors").exists());
    expect(&run(TWNM, folder.path(), &set), 0, &[]);
    assert_same(&lasting(&folder.path().join("set")), &folder.path().join("other"));
    expect(&run(TRAIN, folder.path(), &train_args("run", &[])), 0, &[]);
    expect(&run(TRAIN, folder.path(), &train_args("clean", &[])), 0, &[]);
    assert_same(&lasting(&folder.path().join("clean")), &folder.path().join("run"));
}

#[test]
fn rooms_that_cannot_be_are_refused_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (r#""receiver_m":[3,2,1.5],"sources_m":[[7,1,1]]"#, 65, "sources_m[0]"),
        (r#""receiver_m":[3,2,9],"sources_m":[[1,1,1]]"#, 65, "receiver_m"),
        (r#""receiver_m":[3,2,1.5],"sources_m":[[3,2,1.5]]"#, 65, "sources_m[0]"),
        (r#""reciever_m":[3,2,1.5],"sources_m":[[1,1,1]]"#, 65, "did you mean"),
    ];
    for (rest, code, part) in cases {
        let room = format!(r#"{{"dimensions_m":[6,5,3],"absorption":0.3,"sample_rate":16000,"max_order":3,{rest}}}"#);
        std::fs::write(folder.path().join("room.json"), room).unwrap();
        let output = run(TWNM, folder.path(), &["rir", "--room", "room.json", "--out", "o.safetensors"]);
        expect(&output, code, &["room.json", part]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Kills `program` at random moments until `kills` hit, always continuing, and returns when a run succeeds.
fn kill_until_done(program: &str, folder: &Path, args: &[&str], usual: Duration, rng: &mut Rng, kills: usize) -> usize {
    let mut hits = 0;
    loop {
        let mut child = Command::new(program)
            .args(args)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if hits < kills {
            std::thread::sleep(usual.mul_f64(rng.uniform()));
            // It may have ended by itself just before.
            let _ = child.kill();
        }
        let status = child.wait().unwrap();
        if status.success() {
            return hits;
        }
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
        hits += 1;
    }
}

fn survive(program: &str, args: &[&str], results: &str) {
    let kills: usize = std::env::var("TWNM_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let (whole, begin) = (tempfile::tempdir().unwrap(), Instant::now());
    shards(whole.path());
    expect(&run(program, whole.path(), args), 0, &[]);
    let (usual, expected) = (begin.elapsed(), lasting(&whole.path().join(results)));
    let mut rng = Rng::new(5, results, 0);
    let mut hits = 0;
    while hits < kills {
        let folder = tempfile::tempdir().unwrap();
        shards(folder.path());
        hits += kill_until_done(program, folder.path(), args, usual, &mut rng, kills - hits);
        assert_same(&expected, &folder.path().join(results));
    }
}

#[test]
fn a_simulation_killed_at_random_moments_ends_with_the_same_bytes() {
    // Long clips make small shards: four of them here.
    let args = ["simulate", "--out", "killed", "--scenes", "12", "--seed", "4", "--set", "seconds=120", "--jobs", "2"];
    survive(TWNM, &args, "killed");
}

#[test]
fn a_training_killed_at_random_moments_ends_with_the_same_bytes() {
    survive(TRAIN, &train_args("killed", &["data.dev=[\"set\"]", "train.score_every=4"]), "killed");
}
