//! What a training step asks of the driver, counted on a stand-in whose kernels do nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Calls of the driver by name.
pub struct Counts(BTreeMap<String, usize>);

impl Counts {
    /// Kernels that were launched, products of cuBLASLt with them.
    pub fn launches(&self) -> usize {
        self.of("cuLaunchKernel") + self.of("cublasLtMatmul")
    }

    /// Calls of the memory pool.
    pub fn pool_calls(&self) -> usize {
        self.of("cuMemAllocFromPoolAsync") + self.of("cuMemFreeAsync")
    }

    /// How often `call` was called.
    pub fn of(&self, call: &str) -> usize {
        self.0.get(call).copied().unwrap_or(0)
    }
}

/// The calls of one step of `twnm bench encoder-step` with clips of half a second (their number depends on the length
/// only where products split their sums), after the steps in which memory is first asked for.
pub fn training_step(driver: &Path, batch: usize, options: &[&str]) -> Counts {
    let [few, more] = [1, 2].map(|steps| calls(driver, batch, steps, options));
    let step = more.into_iter().map(|(call, count)| {
        let before = few.get(&call).copied().unwrap_or(0);
        (call, count - before)
    });
    Counts(step.collect())
}

fn calls(driver: &Path, batch: usize, steps: usize, options: &[&str]) -> BTreeMap<String, usize> {
    let scratch = tempfile::tempdir().unwrap();
    let record = scratch.path().join("record");
    let mut command = Command::new(env!("CARGO_BIN_EXE_twnm"));
    command.args(["bench", "encoder-step", "--device", "cuda", "--seconds", "0.5", "--json", "--jobs", "1"]);
    command.args(["--batch", &batch.to_string(), "--steps", &steps.to_string()]).args(options);
    command.env("LD_LIBRARY_PATH", driver).env("TWNM_NVRTC", driver).env("TWNM_CUBLASLT", driver);
    command.env("TWNM_STANDIN_RECORD", &record).env("TWNM_STANDIN_ANY_KERNEL", "1");
    // A gradient of zeros has a norm; products of the stand-in would take minutes.
    command.env("TWNM_STANDIN_ZERO_MEMORY", "1").env("TWNM_STANDIN_NO_PRODUCTS", "1");
    command.env("XDG_CACHE_HOME", scratch.path()).env_remove("CUDA_VISIBLE_DEVICES");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(&record).unwrap().lines() {
        assert!(!line.starts_with('!'), "misused the driver: {line}");
        *counts.entry(line.split(' ').next().unwrap_or_default().to_string()).or_default() += 1;
    }
    counts
}
