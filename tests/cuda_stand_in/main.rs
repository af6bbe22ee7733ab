//! The CUDA device without a GPU: its calls against stand-ins for the driver, NVRTC and cuBLASLt, which a C compiler
//! makes here. They keep "device" memory on the host, write down every call, say what was not given back, and fail at a
//! call of choice. The device runs in child processes (this test binary again), so that a crash would be seen too.

use rayon::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use twnm::error::{Kind, Result};

mod counted;
mod scenario;

const JOB: &str = "TWNM_STANDIN_JOB";
/// Pieces of pinned memory of an open GPU, the last that it gets.
const PINNED: usize = 3;

/// The child's side: without the variable it is no test and ends at once.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let result: Result<()> = match job.as_str() {
        "scenario" => scenario::run(),
        "keeping" => scenario::keeping(),
        "launch" => scenario::launch(),
        "limits" => scenario::limits(),
        "pressure" => scenario::pressure(),
        "refused products" => scenario::refused_products(),
        "choose" => scenario::choose(),
        other => panic!("no job {other}"),
    };
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(error.kind().exit_code().into());
    }
    std::process::exit(0);
}

/// The folder of the stand-ins; `None` without a C compiler.
fn stand_ins() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let build = || {
        let folder = tempfile::tempdir().unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda_stand_in");
        let [new, middle, old] = ["new", "12.4", "old"].map(|name| folder.path().join(name));
        let libraries = [
            ("libcuda.c", "-DCUDA_12_8", new.join("libcuda.so.1")),
            ("libcuda.c", "-DCUDA_12_4", middle.join("libcuda.so.1")),
            ("libcuda_old.c", "-DCUDA_11", old.join("libcuda.so.1")),
            ("libnvrtc.c", "-DCUDA_12_8", new.join("libnvrtc.so.12")),
            ("libcublaslt.c", "-DCUDA_12_8", new.join("libcublasLt.so.12")),
        ];
        for (source, version, library) in libraries {
            std::fs::create_dir_all(library.parent().unwrap()).unwrap();
            let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
            let mut command = Command::new(&compiler);
            command.args(["-shared", "-fPIC", "-O1", version, "-o"]).arg(&library).arg(sources.join(source));
            match command.output() {
                Ok(output) => assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr)),
                Err(error) => {
                    let _ =
                        writeln!(std::io::stderr(), "skipped: no C compiler for the stand-ins: {compiler}: {error}");
                    return None;
                }
            }
        }
        Some(folder)
    };
    FOLDER.get_or_init(build).as_ref().map(tempfile::TempDir::path)
}

/// What a child did: its exit code, its standard error and its calls, one a line.
struct Ran {
    code: Option<i32>,
    text: String,
    calls: Vec<String>,
}

impl Ran {
    fn name(&self, call: usize) -> &str {
        self.calls[call].split(' ').next().unwrap()
    }

    /// Objects that were not given back, by kind.
    fn left(&self) -> BTreeMap<&str, usize> {
        self.calls
            .iter()
            .filter_map(|call| call.strip_prefix("left ")?.split_once(' '))
            .map(|(kind, count)| (kind, count.parse().unwrap()))
            .collect()
    }

    /// What an open GPU holds until the process ends, after these calls of which one of `failed` did not succeed.
    fn held(&self, failed: &str) -> BTreeMap<&'static str, usize> {
        let done = |call: &str| {
            let is_it = |line: &&String| line.split(' ').next() == Some(call);
            self.calls.iter().filter(is_it).count() - usize::from(call == failed)
        };
        if done("cuMemHostAlloc") < PINNED {
            return BTreeMap::new();
        }
        let (products, plans) = (done("cublasLtCreate"), done("cublasLtMatmulAlgoGetHeuristic"));
        let held = [
            ("context", 1),
            ("stream", 2),
            // Of the ring of small uploads, and of two halves twice.
            ("event", 4 + 2 * 2),
            ("pool", 1),
            ("pinned", PINNED),
            ("module", done("cuModuleLoadData")),
            // The workspace of the products.
            ("block", products),
            // The handle, and of every planned product a description and three layouts.
            ("cublaslt", products + 4 * plans),
        ];
        held.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    #[track_caller]
    fn assert_orderly(&self, what: &str) {
        assert!(self.code.is_some_and(|code| code != 101), "{what}: died, {:?}\n{}", self.code, self.text);
        assert!(!self.text.contains("panicked"), "{what}:\n{}", self.text);
        let misused: Vec<&String> = self.calls.iter().filter(|call| call.starts_with('!')).collect();
        assert!(misused.is_empty(), "{what}: {misused:?}");
    }
}

/// Runs a job with the libraries of `driver`; variables in `set` replace those that point to the stand-ins.
fn run(job: &str, driver: &Path, set: &[(&str, &str)]) -> Ran {
    let scratch = tempfile::tempdir().unwrap();
    let record = scratch.path().join("record");
    let libraries = stand_ins().unwrap().join("new");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env_remove("CUDA_VISIBLE_DEVICES").env(JOB, job).env("LD_LIBRARY_PATH", driver);
    command.env("TWNM_NVRTC", &libraries).env("TWNM_CUBLASLT", libraries.join("libcublasLt.so.12"));
    command.env("TWNM_STANDIN_RECORD", &record).env("XDG_CACHE_HOME", scratch.path().join("cache"));
    command.envs(set.iter().copied());
    let Output { status, stderr, .. } = command.output().unwrap();
    let calls = std::fs::read_to_string(&record).unwrap_or_default().lines().map(String::from).collect();
    Ran { code: status.code(), text: String::from_utf8_lossy(&stderr).into_owned(), calls }
}

fn new_driver() -> Option<PathBuf> {
    Some(stand_ins()?.join("new"))
}

#[test]
fn calls_come_in_order_and_everything_is_given_back() {
    let Some(driver) = new_driver() else { return };
    let ran = run("scenario", &driver, &[]);
    ran.assert_orderly("the scenario");
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let first = |call: &str| ran.calls.iter().position(|c| c.starts_with(call)).unwrap_or_else(|| panic!("no {call}"));
    let order = [
        "cuDriverGetVersion",
        "cuInit 0",
        "cuDeviceGetCount",
        "nvrtcVersion",
        "cuDevicePrimaryCtxRetain",
        "cuCtxSetCurrent some",
        "cuStreamCreate 1",
        // Pinned device memory on device 0, kept for good.
        "cuMemPoolCreate 1 0 1 0",
        "cuMemPoolSetAttribute 4 ffffffffffffffff",
        "cuEventCreate 0",
        // The ring, and the halves.
        "cuMemHostAlloc 4194304 0",
        "cuMemHostAlloc 8388608 0",
        "cuMemAllocFromPoolAsync 4096",
        "cuMemcpyHtoDAsync_v2 4000",
        "nvrtcCompileProgram -std=c++17 --fmad=true --ptxas-options=-v -arch=sm_90",
        "cuModuleLoadData",
        "cuModuleGetFunction add",
        "cuFuncSetAttribute 8 51200",
        "cuLaunchKernel 4 1 1 256 1 1 51200",
        "cuMemcpyDtoHAsync_v2 4000",
        "cuStreamBeginCapture_v2 2",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags 0",
        "cuGraphLaunch",
        "cuGraphExecDestroy",
        "cublasLtCreate",
        // f32 sums and factors.
        "cublasLtMatmulDescCreate 68 0",
        "cublasLtMatmul 33554432",
    ];
    let places: Vec<usize> = order.iter().map(|call| first(call)).collect();
    assert!(places.is_sorted(), "{:?}", order.iter().zip(&places).collect::<Vec<_>>());
    let count = |call: &str| ran.calls.iter().filter(|c| c.starts_with(call)).count();
    assert_eq!((count("cuCtxSetCurrent"), count("cuModuleLoadData"), count("nvrtcCompileProgram")), (1, 1, 1));
    // All but the workspace of the products is free at the end.
    assert_eq!(count("cuMemAllocFromPoolAsync"), count("cuMemFreeAsync") + 1);
    assert_eq!(ran.left(), ran.held(""));
}

#[test]
fn a_failure_at_any_call_is_an_error_that_names_it_and_loses_nothing() {
    let Some(driver) = new_driver() else { return };
    let whole = run("scenario", &driver, &[]);
    let calls: Vec<&String> = whole.calls.iter().filter(|call| !call.starts_with("left ")).collect();
    assert_eq!(whole.code, Some(0), "{}", whole.text);
    // The object that a failing destructor could not give back is left, and no other.
    let gives_back = [
        ("cuMemFreeAsync", "block"),
        ("cuEventDestroy_v2", "event"),
        ("cuGraphExecDestroy", "instance"),
        ("cuGraphDestroy", "graph"),
        ("cublasLtMatmulPreferenceDestroy", "cublaslt"),
    ];
    (0..calls.len()).into_par_iter().for_each(|at| {
        let name = whole.name(at);
        let ran = run("scenario", &driver, &[("TWNM_STANDIN_FAIL", &(at + 1).to_string())]);
        let what = format!("call {} of {}, {name}", at + 1, calls.len());
        ran.assert_orderly(&what);
        assert_eq!(ran.calls[at], *calls[at], "{what}: another order than without the failure");
        // A destructor has no result: it warns, and the work goes on.
        let warned = ran.text.lines().any(|line| line.contains("WARN") && line.contains(name));
        assert!(ran.code != Some(0) || warned, "{what}: no error and no warning");
        assert!(ran.text.contains(name), "{what}:\n{}", ran.text);
        let kind = gives_back.iter().find(|(call, _)| *call == name).map(|(_, kind)| *kind);
        let mut left = ran.left();
        if let Some(kind) = kind {
            *left.get_mut(kind).expect("it was not given back") -= 1;
            left.retain(|_, count| *count > 0);
        }
        assert_eq!(left, ran.held(name), "{what}:\n{}", ran.text);
    });
}

#[test]
fn memory_and_recordings_have_limits_that_are_errors() {
    let Some(driver) = new_driver() else { return };
    let ran = run("limits", &driver, &[]);
    ran.assert_orderly("limits");
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert_eq!(ran.left().get("block"), None);
}

#[test]
fn graphs_keep_what_they_touch() {
    let Some(driver) = new_driver() else { return };
    let ran = run("keeping", &driver, &[]);
    ran.assert_orderly("keeping");
    assert_eq!((ran.code, ran.left().get("block")), (Some(0), None), "{}", ran.text);
}

#[test]
fn kept_memory_goes_back_when_memory_is_short() {
    let Some(driver) = new_driver() else { return };
    let ran = run("pressure", &driver, &[("TWNM_STANDIN_MEMORY", "1048576")]);
    ran.assert_orderly("pressure");
    assert_eq!((ran.code, ran.left().get("block")), (Some(0), None), "{}", ran.text);
}

#[test]
fn products_without_an_algorithm_are_refused_with_one_line() {
    let Some(driver) = new_driver() else { return };
    for way in ["count", "status"] {
        let ran = run("refused products", &driver, &[("TWNM_STANDIN_NO_ALGORITHM", way)]);
        ran.assert_orderly(way);
        assert_eq!(ran.code, Some(0), "{}", ran.text);
        let said = ran.text.lines().filter(|line| line.contains("cuBLASLt has no algorithm for 1 x [2, 3] and [3, 2]"));
        assert_eq!(said.count(), 1, "{}", ran.text);
        let asked = ran.calls.iter().filter(|call| call.starts_with("cublasLtMatmulAlgoGetHeuristic"));
        assert_eq!(asked.count(), 2, "each product is asked for once");
    }
}

/// A driver of CUDA 12.4 runs the GPUs that it knows, and says what to install for others; a compiler older than the
/// GPU leaves the last step to the driver.
#[test]
fn older_drivers_and_compilers_run_what_they_can() {
    let Some(new) = new_driver() else { return };
    let middle = stand_ins().unwrap().join("12.4");
    for arch in ["80", "89", "90"] {
        let ran = run("launch", &middle, &[("TWNM_STANDIN_ARCH", arch)]);
        ran.assert_orderly(arch);
        assert_eq!(ran.code, Some(0), "{}", ran.text);
        assert!(ran.calls.iter().any(|call| call.ends_with(&format!("-arch=sm_{arch}"))));
    }
    let unavailable = i32::from(Kind::Unavailable.exit_code());
    let expected = "Stand-in 0 (sm_120) needs a driver that supports CUDA 12.8, and this one supports CUDA 12.4";
    choice(&middle, &[("TWNM_STANDIN_ARCH", "120")], unavailable, expected);
    choice(&middle, &[("TWNM_STANDIN_ARCH", "120")], unavailable, "update NVIDIA's driver to 570 or newer");
    choice(&new, &[("TWNM_STANDIN_ARCH", "120")], 0, "sm_120");

    let ran = run("launch", &new, &[("TWNM_STANDIN_ARCH", "120"), ("TWNM_STANDIN_OLD_NVRTC", "1")]);
    ran.assert_orderly("PTX");
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert!(ran.calls.iter().any(|call| call.ends_with("-arch=compute_90")), "{:?}", ran.calls);
    assert!(ran.calls.iter().any(|call| call == "cuModuleLoadData .entry a"), "{:?}", ran.calls);
    assert_eq!(ran.text.lines().filter(|line| line.contains("does not know sm_120")).count(), 1, "{}", ran.text);
}

/// Runs the choice of a device; on success the child prints it and ends with 0.
#[track_caller]
fn choice(driver: &Path, set: &[(&str, &str)], code: i32, expected: &str) {
    let ran = run("choose", driver, set);
    ran.assert_orderly(expected);
    assert_eq!(ran.code, Some(code), "{}", ran.text);
    assert!(ran.text.contains(expected), "{expected:?} is not in:\n{}", ran.text);
}

#[test]
fn machines_that_cannot_run_cuda_get_the_reason() {
    let Some(new) = new_driver() else { return };
    let unavailable = i32::from(Kind::Unavailable.exit_code());
    choice(&new, &[], 0, "cuda:0: Stand-in 0, sm_90, 32.0 GiB");
    choice(&new, &[("CUDA_VISIBLE_DEVICES", "")], unavailable, "sees no GPU with CUDA_VISIBLE_DEVICES=\"\"");
    choice(&new, &[("CUDA_VISIBLE_DEVICES", "many")], unavailable, "sees no GPU with CUDA_VISIBLE_DEVICES=\"many\"");
    choice(&new, &[("CUDA_VISIBLE_DEVICES", "1")], 0, "cuda:0");
    choice(&new, &[("TWNM_STANDIN_ORDINAL", "7")], unavailable, "there is no cuda:7: GPUs 0 to 1 are visible");
    choice(&new, &[("TWNM_STANDIN_ARCH", "70")], unavailable, "sm_70, and sm_80 or newer is needed");
    choice(&new, &[("TWNM_STANDIN_FAIL", "cuInit")], unavailable, "cuInit: CUDA_ERROR_UNKNOWN");
    choice(&new, &[("TWNM_STANDIN_FAIL", "cuDeviceGetCount")], unavailable, "cuDeviceGetCount: CUDA_ERROR_UNKNOWN");

    let old = stand_ins().unwrap().join("old");
    choice(&old, &[], unavailable, "the CUDA driver supports CUDA 11.0, and 12.0 is needed");

    let empty = tempfile::tempdir().unwrap();
    let text = empty.path().to_str().unwrap();
    choice(&new, &[("TWNM_NVRTC", text)], unavailable, "NVRTC cannot be opened where TWNM_NVRTC=");
    choice(&new, &[("TWNM_STANDIN_NEW_NVRTC", "1")], unavailable, "is too new for the driver, which supports CUDA 12");
    // A library of another name has none of the functions.
    let other = new.join("libcublasLt.so.12");
    choice(&new, &[("TWNM_NVRTC", other.to_str().unwrap())], unavailable, "has no nvrtcVersion");

    for name in ["libcuda.so.1", "libcuda.so"] {
        std::fs::write(empty.path().join(name), "no library").unwrap();
    }
    choice(empty.path(), &[], unavailable, "the CUDA driver was not found (libcuda.so.1, libcuda.so)");
}

/// The programs that measure a GPU, on one whose kernels do nothing: they come to their end and tell that results are
/// wrong. One op is enough for the clock, the graphs and the report.
#[test]
fn measuring_programs_run_and_see_wrong_results() {
    let Some(driver) = new_driver() else { return };
    let twnm = |args: &[&str]| {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_twnm"));
        command.args(args).env("LD_LIBRARY_PATH", &driver).env("TWNM_NVRTC", &driver);
        command.env("TWNM_STANDIN_RECORD", scratch.path().join("record")).env("TWNM_STANDIN_ANY_KERNEL", "1");
        command.env("XDG_CACHE_HOME", scratch.path()).env_remove("CUDA_VISIBLE_DEVICES");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let record = std::fs::read_to_string(scratch.path().join("record")).unwrap();
        assert!(!record.lines().any(|line| line.starts_with('!')), "{args:?}: misused the driver");
        assert_eq!(output.status.code(), Some(70), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        (serde_json::from_str::<serde_json::Value>(&text).expect("one JSON object"), record)
    };
    let (report, record) = twnm(&["bench", "kernels", "--device", "cuda", "--json", "--filter", "prelu [rows 516"]);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!((rows.len(), report["ok"].as_bool()), (2, Some(false)), "{report}");
    for row in rows {
        // Memory of the stand-in is NaN until something writes to it.
        assert!(row["error"].is_null() && row["kernels"].as_array().unwrap().len() >= 4, "{row}");
        let us = |pass: usize| row["passes"][pass]["us"].as_f64().unwrap();
        // 1.5 ms around three passes.
        assert_eq!((us(0), us(1)), (500.0, 500.0), "{row}");
    }
    let replays = record.lines().filter(|line| *line == "cuGraphLaunch").count();
    assert_eq!(replays, 4 * 51, "four passes, a warm-up and fifty replays each");
    let (report, _) = twnm(&["doctor", "--ops", "--device", "cuda:0", "--json", "--filter", "adamw"]);
    assert_eq!((report["ok"].as_bool(), report["ops"][0]["dtype"].as_str()), (Some(false), Some("bf16")));
}

/// Memory of a step is that of the step before: the pool is not asked again.
#[test]
fn a_step_asks_the_pool_for_nothing() {
    let Some(driver) = new_driver() else { return };
    let step = counted::training_step(&driver, 2, &[]);
    let (launches, uploads) = (step.launches(), step.of("cuMemcpyHtoDAsync_v2"));
    println!("per clip: {} launches, {} uploads, {} pool calls", launches / 2, uploads / 2, step.pool_calls() / 2);
    assert!(launches > 100 && step.pool_calls() == 0, "{launches} launches, {} pool calls", step.pool_calls());
}

/// Per clip at batch 8, counted with these stand-ins on the program of commit ad31098, which took clips one by one and asked
/// the driver's pool for every tensor (benches/results/2026-11-29-counted.md).
const LAUNCHES_BEFORE: usize = 1074;
const POOL_CALLS_BEFORE: usize = 2125;

#[test]
fn a_clip_of_a_batch_of_eight_asks_for_a_fifth_of_what_it_did() {
    let Some(driver) = new_driver() else { return };
    for options in [&[][..], &["--bf16"]] {
        let step = counted::training_step(&driver, 8, options);
        let (launches, pool_calls) = (step.launches() / 8, step.pool_calls() / 8);
        println!("{options:?}: {launches} launches and {pool_calls} pool calls per clip");
        assert!(launches * 5 <= LAUNCHES_BEFORE, "{launches} launches");
        assert!(pool_calls * 5 <= POOL_CALLS_BEFORE, "{pool_calls} pool calls");
    }
}
