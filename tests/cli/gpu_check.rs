//! `tools/gpu_check` with stand-ins for twnm, Python and the sanitizer: what it writes, what it ends with, and that a
//! program which hangs costs its share of the time and nothing else.

use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const DOCTOR: &str = r#"{"checked_on": "cuda:0: NVIDIA GeForce RTX 5090, sm_120, 31.4 GiB", "ok": true,
 "ops": [{"op": "layer_norm", "cases": 7, "failures": [], "ok": true}],
 "kernels": [{"kernel": "layer_norm_fwd_f32", "cases": 3}, {"kernel": "lstm_fwd_f32", "cases": 0}]}"#;
const KERNELS: &str = r#"{"rows": [{"op": "layer_norm", "case": "rows 501, C 96, 1032 copies", "dtype": "f32",
 "error": 2e-7, "allowed": 2e-6, "hash": "abc", "kernels": [],
 "passes": [{"pass": "forward", "us": 100.0, "gb_per_s": 1500.0, "tflop_per_s": 1.0, "peak_share": 0.8}]}],
 "failures": [], "skipped": ["late"], "ok": true}"#;
const STEP: &str = r#"{"step_s": 0.05, "clips_per_s": 160.0, "peak_gib": 1.5}"#;
const LANGUAGE: &str = r#"{"step_s": 0.5, "tokens_per_s": 8192.0, "peak_gib": 30.5}"#;
const LANGUAGE_PEER: &str = r#"{"seconds": 1.25, "tokens_per_s": 3276.8, "peak_gib": 30.9}"#;
const PEER: &str = r#"{"twnm": "layer_norm [rows 501, C 96, 1032 copies]", "dtype": "f32", "pass": "forward",
 "peer": "eager", "us": 250.0, "error": 1e-7}"#;
const PEER_SKIPPED: &str =
    r#"{"twnm": "stft [x]", "dtype": "bf16", "pass": "forward", "peer": "compile", "skipped": "odd"}"#;

/// A folder with stand-ins: scripts of which each answers by its arguments.
struct Stage {
    folder: tempfile::TempDir,
}

fn one_line(json: &str) -> String {
    json.replace('\n', "")
}

impl Stage {
    /// Stand-ins that do all that they are asked; arms of `case` before the usual ones change that.
    fn new(twnm: &str, python: &str, sanitizer: Option<&str>) -> Stage {
        let stage = Stage { folder: tempfile::tempdir().unwrap() };
        let (doctor, kernels, peer) = (one_line(DOCTOR), one_line(KERNELS), one_line(PEER));
        stage.script(
            "twnm",
            &format!(
                "{twnm}\n*doctor*) echo '{doctor}';;\n*encoder-step*) echo '{STEP}';;\n*lm-*) echo '{LANGUAGE}';;\n\
                 *kernels*) echo '{kernels}';;"
            ),
        );
        stage.script(
            "python",
            &format!(
                "{python}\n-c*) echo '{{\"torch\": \"2.x\", \"cuda\": true}}';;\n\
                 *kernels_torch*) echo '{peer}'; echo '{PEER_SKIPPED}';;\n*encoder_torch*) echo '{STEP}';;\n\
                 *qwen2_peft*) echo '{LANGUAGE_PEER}';;"
            ),
        );
        if let Some(sanitizer) = sanitizer {
            stage.script("compute-sanitizer", sanitizer);
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, arms: &str) {
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\ncase \"$*\" in\n{arms}\nesac\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, minutes: &str) -> (Output, Duration) {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/gpu_check");
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let start = Instant::now();
        let mut command = Command::new(tool);
        command.arg("--twnm").arg(self.path("twnm")).arg("--python").arg(self.path("python"));
        command.arg("--out").arg(self.path("out")).args(["--minutes", minutes]).env("PATH", path);
        let output = command.output().unwrap();
        (output, start.elapsed())
    }

    /// The report and the table, of which there is one each.
    fn results(&self) -> (Value, String) {
        let files: Vec<PathBuf> =
            std::fs::read_dir(self.path("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        let read = |end: &str| {
            let path = files.iter().find(|path| path.extension().is_some_and(|e| e == end)).unwrap();
            assert!(path.to_str().unwrap().contains("-gpu-"), "{path:?}");
            std::fs::read_to_string(path).unwrap()
        };
        (serde_json::from_str(&read("json")).unwrap(), read("md"))
    }
}

/// Whether there is a Python at all; says it when there is none.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        let _ = writeln!(std::io::stderr(), "skipped: tools/gpu_check needs python3");
    }
    found
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const CLEAN: &str = "*) echo '========= ERROR SUMMARY: 0 errors';;";

#[test]
fn everything_in_one_table() {
    if !has_python() {
        return;
    }
    let stage = Stage::new("", "", Some(CLEAN));
    let (output, _) = stage.run("8");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let (report, table) = stage.results();
    assert_eq!(report["ok"], true);
    assert_eq!(report["parity"]["cases"], 7);
    assert_eq!(report["parity"]["never_launched"], serde_json::json!(["lstm_fwd_f32"]));
    assert_eq!(report["sanitizer"]["racecheck"]["ok"], true);
    // Four sizes of twnm's step, as many of PyTorch's, and two of them compiled.
    assert_eq!(report["encoder"].as_array().unwrap().len(), 10);
    // Two LoRA steps and two generations, and the peer's; a step and a generation with packed weights.
    assert_eq!(report["language"].as_array().unwrap().len(), 10);
    let row = "| LoRA step of 7b, 1 x 4096, bf16: 8,192 tokens/s, peak memory 30.50 GiB | bf16 | step | 500,000 |  |  |  |  \
               | eager, peak memory 30.90 GiB | 1,250,000 | 2.50 |  |";
    assert!(table.contains(row), "{table}");
    assert!(table.contains("| LoRA step of 7b, 1 x 4096, bf16, weights nf4: 8,192 tokens/s"), "{table}");
    let skipped = report["skipped"].to_string();
    assert!(skipped.contains("late") && skipped.contains("odd"), "{skipped}");
    let row = "| layer_norm [rows 501, C 96, 1032 copies] | f32 | forward | 100.0 | 1,500 | 1.00 | 80 | 2.0e-07 | eager \
               | 250.0 | 2.50 | 1.0e-07 |";
    assert!(table.contains(row), "{table}");
    assert!(table.contains("batch 8, peak memory 1.50 GiB | bf16 | step | 50,000"), "{table}");
}

#[test]
fn a_hanging_peer_costs_its_share_and_leaves_nothing_behind() {
    if !has_python() {
        return;
    }
    let stage = Stage::new("", "", Some(CLEAN));
    let note = stage.path("pids").display().to_string();
    // A child of its own holds the output open, and both ignore the polite signal.
    let hang = format!("trap '' TERM; sleep 600 & echo $! $$ >> {note}; wait; sleep 600");
    let (peer, step) = (one_line(PEER), STEP);
    stage.script(
        "python",
        &format!(
            "-c*) echo '{{\"torch\": \"2.x\", \"cuda\": true}}';;\n*kernels_torch*) echo '{peer}'; {hang};;\n\
             *--compile*) {hang};;\n*) echo '{step}';;"
        ),
    );
    let (output, took) = stage.run("0.6");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(took < Duration::from_secs(36), "{took:?}");
    let (report, _) = stage.results();
    // What was said before it hung counts.
    assert_eq!(report["peers"].as_array().unwrap().len(), 1);
    assert!(report["skipped"].to_string().contains("its share of the time"), "{report}");
    let pids = std::fs::read_to_string(note).unwrap();
    assert!(pids.split_whitespace().count() >= 4, "{pids}");
    for pid in pids.split_whitespace() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "process {pid} is still there: {stat}");
    }
}

#[test]
fn a_failing_sanitizer_fails_the_check() {
    if !has_python() {
        return;
    }
    let failing = "*memcheck*) echo '========= ERROR SUMMARY: 0 errors';;\n\
                   *) echo '========= Race reported between Write access'; \
                   echo '========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)'; exit 97;;";
    let stage = Stage::new("", "", Some(failing));
    let (output, _) = stage.run("8");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let (report, table) = stage.results();
    assert_eq!(report["sanitizer"]["memcheck"]["ok"], true);
    assert_eq!(report["sanitizer"]["racecheck"]["ok"], false);
    assert!(table.contains("compute-sanitizer racecheck complains") && table.contains("Race reported"), "{table}");
}

#[test]
fn wrong_results_fail_the_check() {
    if !has_python() {
        return;
    }
    let broken = one_line(DOCTOR).replace("\"failures\": []", "\"failures\": [\"rows 3: off by 1\"]");
    let stage = Stage::new(&format!("*doctor*) echo '{broken}'; exit 70;;"), "-c*) exit 1;;", None);
    let (output, _) = stage.run("8");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let (report, table) = stage.results();
    assert!(table.contains("rows 3: off by 1"), "{table}");
    assert!(report["skipped"].to_string().contains("PyTorch cannot be imported"), "{report}");
    let crashed = Stage::new("*doctor*) echo boom >&2; exit 134;;", "", None);
    let (output, _) = crashed.run("8");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("parity was not completed: exit code 134: boom"), "{}", text(&output));
}

#[test]
fn without_a_gpu_it_says_so_and_writes_nothing() {
    if !has_python() {
        return;
    }
    let stage = Stage::new("*doctor*) echo 'error: no driver' >&2; exit 69;;", "", None);
    let (output, _) = stage.run("8");
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    assert!(text(&output).contains("no driver") && !stage.path("out").exists());
}

#[test]
fn a_seven_billion_step_beyond_a_card_is_wrong() {
    if !has_python() {
        return;
    }
    let large = LANGUAGE.replace("30.5", "31.5");
    let stage = Stage::new(&format!("*lm-step*7b*) echo '{large}';;"), "-c*) exit 1;;", Some(CLEAN));
    let (output, _) = stage.run("8");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(stage.results().1.contains("31.50 GiB do not fit a card of 32 GB"), "{}", stage.results().1);
}

/// What PyTorch's side calls a case is what it is called here.
#[test]
fn peers_name_cases_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/kernels_torch.py");
    let source = std::fs::read_to_string(path).unwrap();
    let known: Vec<String> = twnm::ops::cases().iter().map(|case| case.label()).collect();
    let is_label = |text: &&str| text.ends_with(" copies]") || text.starts_with("adamw [");
    let named: Vec<&str> = source.split('"').filter(is_label).collect();
    assert!(named.len() >= 15, "{named:?}");
    for name in named.into_iter().filter(|name| *name != "adamw [57200000, clipped]") {
        assert!(known.iter().any(|label| label == name), "{name} is no case");
    }
}
