//! Training learns, costs what it should, and loses nothing: clips are overfitted, frozen weights stay where they lie.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use twnm::device::product::{Products, counted};
use twnm::error::Kind;
use twnm::nn::{Builder, Forward, Init, ParamId, Params};
use twnm::ops::{adamw::AdamW, elementwise, linear};
use twnm::optim::Optimizer;
use twnm::rng::Rng;
use twnm::tape::{Tape, Var};
use twnm::tensor::{DType, Tensor};
use twnm::weights::{Dtype, Entry, Tensors};

/// The system's allocator, counting the bytes that are held and the most that ever were.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Tests that count bytes must be alone: the others of this program wait.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

const WIDTH: usize = 1000;

/// A thousand trained numbers in front of a million frozen ones in bf16: y = W (s x), each number of x scaled.
struct Model {
    scale: ParamId,
    weight: ParamId,
    unused: Option<ParamId>,
    params: Params,
}

fn model(folder: &Path, has_unused: bool) -> Model {
    let mut builder = Builder::new();
    let scale = builder.param("scale", &[WIDTH], Init::Constant(1.0), false);
    let weight = |b: &mut Builder| b.param("weight", &[WIDTH, WIDTH], Init::Constant(0.0), true);
    let weight = builder.under("decoder.", |b| b.frozen(weight));
    let unused = has_unused.then(|| builder.param("nobody.uses.this", &[3], Init::Constant(0.0), false));
    let mut params = builder.finish(1);
    params.load_frozen("decoder.", &Tensors::open(&folder.join("frozen.safetensors")).unwrap()).unwrap();
    Model { scale, weight, unused, params }
}

fn write_frozen(folder: &Path) {
    let mut rng = Rng::new(1, "frozen", 0);
    let values: Vec<u8> = (0..WIDTH * WIDTH)
        .flat_map(|_| half::bf16::from_f64(rng.normal() / (WIDTH as f64).sqrt()).to_le_bytes())
        .collect();
    let entry = Entry::new("weight", Dtype::BF16, &[WIDTH, WIDTH], &values);
    twnm::weights::write(&folder.join("frozen.safetensors"), &[entry], &[]).unwrap();
}

/// The gradient of half the squared output, summed.
fn gradient(model: &Model, x: &Tensor) -> twnm::error::Result<Tensor> {
    let mut c = Forward::new(Tape::new(), &model.params);
    let (scale, weight) = (c.param(model.scale), c.param(model.weight));
    let scaled = elementwise::scale_channels(&mut c.tape, &Var::constant(x.clone()), &scale);
    let y = linear::linear(&mut c.tape, &scaled, &weight, None);
    let mut flat = Tensor::zeros(&[model.params.flat_len()]);
    let seed = y.tensor().clone();
    c.gradients_from(&y, seed, &mut flat)?;
    Ok(flat)
}

fn x(rows: usize) -> Tensor {
    let mut rng = Rng::new(2, "x", 0);
    Tensor::from_slice(&[rows, WIDTH], &(0..rows * WIDTH).map(|_| rng.normal() as f32).collect::<Vec<f32>>())
}

#[test]
fn a_million_frozen_numbers_cost_two_bytes_each_and_no_gradient() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let home = tempfile::tempdir().unwrap();
    write_frozen(home.path());
    let x = x(2);
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let mut model = model(home.path(), false);
    let mut optimizer = Optimizer::new(&model.params, AdamW::default(), 0.1, 1.0);
    let (flat, products) = counted(|| gradient(&model, &x).unwrap());
    let norm = optimizer.step(&mut model.params, &flat, 0.01);
    let peak = MOST.load(Ordering::Relaxed) - before;
    assert!(norm.is_finite() && norm > 0.0);
    // The file is mapped: its two bytes per number count beside what was allocated.
    let bytes = peak + 2 * WIDTH * WIDTH;
    assert!(bytes < 3 * WIDTH * WIDTH, "{bytes} bytes for {} frozen numbers", WIDTH * WIDTH);
    assert_eq!(model.params.tensor(model.weight).dtype(), DType::Bf16);
    assert_eq!(model.params.flat_len(), WIDTH.next_multiple_of(16));
    // One product forward, one for the gradient that goes on; none for the weight's.
    let one = (2 * WIDTH * WIDTH) as u64;
    assert_eq!(products, Products { count: 2, multiplications: 2 * one });
    // The gradient of s_j is x_j (W^T y)_j, here in f64.
    let weight = model.params.tensor(model.weight);
    let w: Vec<f64> = weight.values::<half::bf16>().iter().map(|w| w.to_f64()).collect();
    let mut expected = vec![0.0f64; WIDTH];
    for row in x.data().chunks_exact(WIDTH) {
        let y = |i: usize| (0..WIDTH).map(|j| w[i * WIDTH + j] * f64::from(row[j])).sum::<f64>();
        let y: Vec<f64> = (0..WIDTH).map(y).collect();
        for (j, e) in expected.iter_mut().enumerate() {
            *e += f64::from(row[j]) * (0..WIDTH).map(|i| w[i * WIDTH + j] * y[i]).sum::<f64>();
        }
    }
    let actual: Vec<f64> = flat.data()[..WIDTH].iter().map(|&g| f64::from(g)).collect();
    assert!(twnm::check::relative_l2(&actual, &expected) < 1e-5);
}

#[test]
fn a_trained_parameter_without_a_gradient_is_still_an_error_by_name() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let home = tempfile::tempdir().unwrap();
    write_frozen(home.path());
    let model = model(home.path(), true);
    assert!(model.unused.is_some());
    let error = gradient(&model, &x(1)).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.message().ends_with("no gradient reached: nobody.uses.this"), "{error}");
}

#[test]
fn frozen_weights_that_do_not_fit_are_refused_by_name() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("weights.safetensors");
    let load = |entries: &[Entry]| {
        twnm::weights::write(&path, entries, &[]).unwrap();
        let mut builder = Builder::new();
        builder.frozen(|b| b.param("decoder.norm.weight", &[2], Init::Constant(0.0), false));
        let error = builder.finish(1).load_frozen("decoder.", &Tensors::open(&path).unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        error.to_string()
    };
    assert!(load(&[Entry::f32("norm.wait", &[2], &[1.0; 2])]).contains("norm.wait"));
    assert!(load(&[Entry::f32("norm.weight", &[3], &[1.0; 3])]).contains("has shape [3]"));
    assert!(load(&[Entry::new("norm.weight", Dtype::BF16, &[2], &[0, 0, 0x80, 0x7f])]).contains("not finite"));
    assert!(load(&[Entry::f32("norm.weight", &[2], &[0.0, f32::NAN])]).contains("not finite"));
}

/// Trains on four clips without augmentation and gives the loss of every ten of `steps` steps.
fn overfitted(folder: &Path, device: &str, steps: u64) -> Vec<f64> {
    let steps = format!("train.steps={steps}");
    let sets = [
        "data.train=[\"data\"]",
        &steps,
        "train.batch=4",
        "train.log_every=10",
        "model.input=\"map\"",
        "model.hidden=8",
        "model.layers=1",
        "model.ffn=8",
        "model.n_fft=32",
        "model.hop=32",
        "model.squeeze=3",
        "model.heads=2",
        "model.groups=4",
        "data.crop_min_s=0.25",
        "data.crop_max_s=0.25",
        "data.rotation=\"none\"",
        "loss.direction_map=0.0",
        "optimizer.learning_rate=0.05",
    ];
    let args = ["encoder", "--device", device, "--out", device].into_iter();
    let args: Vec<&str> = args.chain(sets.iter().flat_map(|&s| ["--set", s])).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_twnm-train")).args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{device}: {}", String::from_utf8_lossy(&output.stderr));
    let metrics = std::fs::read_to_string(folder.join(device).join("metrics.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["train/loss"].as_f64();
    metrics.lines().filter_map(loss).collect()
}

/// Steps of the emulator, which takes a hundred times the host's time for each.
fn emulated_steps() -> u64 {
    let steps = std::env::var("TWNM_EMULATED_STEPS").map_or(Ok(10), |steps| steps.parse::<u64>());
    steps
        .ok()
        .filter(|steps| (10..=40).contains(steps) && steps.is_multiple_of(10))
        .expect("TWNM_EMULATED_STEPS: 10, 20, 30 or 40")
}

/// A loss of 3.2 at the start; guessing the count right and nothing else leaves more than 1.5. The emulator goes the
/// same way; with `TWNM_EMULATED_STEPS=40` all of it.
#[test]
fn four_clips_are_learnt_by_heart_on_the_host_and_in_the_emulator() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let home = tempfile::tempdir().unwrap();
    let args = ["simulate", "--out", "data", "--scenes", "4", "--seed", "5", "--set", "seconds=0.25"];
    let output = Command::new(env!("CARGO_BIN_EXE_twnm")).args(args).current_dir(home.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let host = overfitted(home.path(), "host", 40);
    assert!(host.len() == 4 && host[3] < 0.9, "host: {host:?}");
    let steps = emulated_steps();
    let emulated = overfitted(home.path(), "emu", steps);
    assert_eq!(emulated.len() as u64, steps / 10, "{emulated:?}");
    eprintln!("losses of ten steps each: host {host:?}, emulator {emulated:?}");
    // Both add the same f32 numbers in other orders, and the mean of ten steps hides what that does to them. Later the two
    // part, as any two runs do: then what counts is that the emulator arrives.
    assert!((host[0] - emulated[0]).abs() < 0.02 * host[0], "host {host:?}, emulator {emulated:?}");
    assert!(steps < 40 || emulated[3] < 0.9, "{emulated:?}");
}
