//! Which kernels the cases launched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use twnm::kernels::KERNELS;

/// Counts of cases per kernel.
pub struct Coverage {
    cases: Mutex<BTreeMap<&'static str, usize>>,
    emulated: AtomicUsize,
    on_gpu: AtomicUsize,
    without_gpu: Option<String>,
}

impl Coverage {
    /// No case yet; `without_gpu` says why nothing will run on a GPU.
    pub fn new(without_gpu: Option<String>) -> Coverage {
        Coverage { cases: Mutex::default(), emulated: AtomicUsize::new(0), on_gpu: AtomicUsize::new(0), without_gpu }
    }

    /// Counts one case that launched these kernels on a GPU.
    pub fn add_on_gpu(&self) {
        self.on_gpu.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one case that launched these kernels in the emulator.
    pub fn add(&self, launched: &BTreeSet<&'static str>) {
        self.emulated.fetch_add(1, Ordering::Relaxed);
        let mut cases = self.cases.lock().unwrap();
        launched.iter().for_each(|&name| *cases.entry(name).or_default() += 1);
    }

    /// Prints a line per kernel and the closing line; whether every kernel was launched.
    pub fn print(&self) -> bool {
        let cases = self.cases.lock().unwrap();
        println!("\n{:<40} {:<8} {:<9} cases", "kernel", "storage", "direction");
        for kernel in &KERNELS {
            let storage = if kernel.name.ends_with("_bf16") { "bf16" } else { "f32" };
            let direction = if kernel.name.contains("_bwd") { "backward" } else { "forward" };
            let count = cases.get(kernel.name).copied().unwrap_or(0);
            println!("{:<40} {storage:<8} {direction:<9} {count}", kernel.name);
        }
        let (emulated, on_gpu) = (self.emulated.load(Ordering::Relaxed), self.on_gpu.load(Ordering::Relaxed));
        // Without a GPU its trials are left out; they are counted here so that nobody takes them for passed.
        let skipped = match &self.without_gpu {
            Some(reason) => {
                println!("skipped: the same cases on a GPU, because {reason}");
                emulated
            }
            None => {
                println!("on the GPU: {on_gpu} cases");
                0
            }
        };
        let launched = KERNELS.iter().filter(|k| cases.contains_key(k.name)).count();
        println!("kernels {} launched {launched} cases {emulated} skipped {skipped}", KERNELS.len());
        launched == KERNELS.len()
    }
}
