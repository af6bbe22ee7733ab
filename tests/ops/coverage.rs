//! Which kernels the cases launched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use twnm::kernels::KERNELS;

/// Counts of cases per kernel.
#[derive(Default)]
pub struct Coverage {
    cases: Mutex<BTreeMap<&'static str, usize>>,
    total: AtomicUsize,
}

impl Coverage {
    /// Counts one case that launched these kernels.
    pub fn add(&self, launched: &BTreeSet<&'static str>) {
        self.total.fetch_add(1, Ordering::Relaxed);
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
        // Without a GPU its trials are left out; they are counted here so that nobody takes them for passed.
        let skipped = self.total.load(Ordering::Relaxed);
        println!("cuda: no device in this build of the tests, {skipped} cases skipped there");
        let launched = KERNELS.iter().filter(|k| cases.contains_key(k.name)).count();
        println!("kernels {} launched {launched} cases {skipped} skipped {skipped}", KERNELS.len());
        launched == KERNELS.len()
    }
}
