//! `twnm doctor`: what this machine offers, and whether every op computes what it should here.

use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use twnm::check::{Case, GRADCHECK_LIMIT, gradcheck, parity};
use twnm::device::{Device, machine};
use twnm::error::{Error, Kind, Result};

/// Show what this machine offers; with --ops, check every op on it
///
/// Exit code 70 when an op fails.
#[derive(clap::Args)]
pub struct Args {
    /// Check every op: gradients against central differences, the fast path against the reference
    #[arg(long)]
    ops: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let facts = Facts::gather()?;
    if !args.json {
        facts.print();
    }
    let ops = if args.ops { check_ops() } else { BTreeMap::new() };
    let failed: Vec<&str> = ops.iter().filter(|(_, op)| !op.is_ok()).map(|(name, _)| *name).collect();
    if args.json {
        let mut report = facts.to_json();
        report["ok"] = failed.is_empty().into();
        if args.ops {
            report["ops"] = ops.iter().map(|(name, op)| op.to_json(name)).collect();
        }
        println!("{report}");
    } else if args.ops {
        print_ops(&ops);
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Internal, format!("ops that compute something else here: {}", failed.join(", ")))
        .hint("please report this with the output of twnm doctor --ops --json"))
}

struct Facts {
    device: Device,
    cache: Option<PathBuf>,
    is_cache_writable: bool,
}

impl Facts {
    fn gather() -> Result<Facts> {
        let cache = cache_folder();
        let is_cache_writable = cache.as_deref().is_some_and(can_write_below);
        Ok(Facts { device: Device::parse("auto")?, cache, is_cache_writable })
    }

    fn print(&self) {
        let gib = |bytes: Option<u64>| bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / 1.074e9));
        println!("twnm          {}", env!("CARGO_PKG_VERSION"));
        println!("device        {}", self.device.describe());
        println!("cuda          not in this build");
        println!(
            "memory        {}, {} available",
            gib(machine::memory_bytes()),
            gib(machine::available_memory_bytes())
        );
        match &self.cache {
            Some(path) if self.is_cache_writable => println!("cache folder  {} (writable)", path.display()),
            Some(path) => println!("cache folder  {} NOT writable: set XDG_CACHE_HOME", path.display()),
            None => println!("cache folder  none: set XDG_CACHE_HOME or HOME"),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "device": self.device.describe(),
            "cuda": false,
            "threads": machine::threads(),
            "instruction_set": machine::instruction_set(),
            "memory_bytes": machine::memory_bytes(),
            "available_memory_bytes": machine::available_memory_bytes(),
            "cache": {"path": self.cache, "writable": self.is_cache_writable},
        })
    }
}

/// Where compiled kernels will be kept.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("twnm"))
}

/// Whether a file could be made there; the nearest folder that exists is tried and nothing stays behind.
fn can_write_below(path: &std::path::Path) -> bool {
    let nearest = path.ancestors().find(|folder| folder.is_dir());
    nearest.is_some_and(|folder| tempfile::tempfile_in(folder).is_ok())
}

/// The worst case of one op.
#[derive(Default)]
struct OpReport {
    cases: usize,
    gradcheck_error: f64,
    parity_error: f64,
    parity_allowed: f64,
    failures: Vec<String>,
}

impl OpReport {
    fn is_ok(&self) -> bool {
        self.failures.is_empty()
    }

    fn add(&mut self, case: &Case, outcome: Result<Outcome, String>) {
        self.cases += 1;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(message) => return self.failures.push(message),
        };
        self.gradcheck_error = self.gradcheck_error.max(outcome.gradcheck_error);
        if self.parity_allowed == 0.0
            || outcome.parity_error * self.parity_allowed > self.parity_error * outcome.parity_allowed
        {
            (self.parity_error, self.parity_allowed) = (outcome.parity_error, outcome.parity_allowed);
        }
        if outcome.gradcheck_error > GRADCHECK_LIMIT {
            self.failures.push(format!("{}: gradient off by {:.1e}", case.label(), outcome.gradcheck_error));
        }
        if outcome.parity_error > outcome.parity_allowed {
            let (error, allowed) = (outcome.parity_error, outcome.parity_allowed);
            self.failures.push(format!("{}: fast path off by {error:.1e}, allowed {allowed:.1e}", case.label()));
        }
    }

    fn to_json(&self, name: &str) -> Value {
        json!({
            "op": name,
            "cases": self.cases,
            "gradcheck_error": self.gradcheck_error,
            "gradcheck_limit": GRADCHECK_LIMIT,
            "parity_error": self.parity_error,
            "parity_allowed": self.parity_allowed,
            "ok": self.is_ok(),
            "failures": self.failures,
        })
    }
}

struct Outcome {
    gradcheck_error: f64,
    parity_error: f64,
    parity_allowed: f64,
}

/// Both checks of one case; cases sized for speed are too large for finite differences and skip them.
fn check_case(case: &Case) -> Result<Outcome, String> {
    let run = || {
        let gradcheck_error = if case.is_bench { 0.0 } else { gradcheck(case)?.0 };
        let parity = parity(case)?;
        Ok(Outcome { gradcheck_error, parity_error: parity.error, parity_allowed: parity.allowed })
    };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    caught.unwrap_or_else(|_| Err(format!("{}: panicked", case.label())))
}

fn check_ops() -> BTreeMap<&'static str, OpReport> {
    let cases = twnm::ops::cases();
    let outcomes: Vec<Result<Outcome, String>> = cases.par_iter().map(check_case).collect();
    let mut ops: BTreeMap<&'static str, OpReport> = BTreeMap::new();
    for (case, outcome) in cases.iter().zip(outcomes) {
        ops.entry(case.op).or_default().add(case, outcome);
    }
    ops
}

fn print_ops(ops: &BTreeMap<&'static str, OpReport>) {
    println!("\n{:<20} {:>5}  {:>9}  {:>9} {:>9}", "op", "cases", "gradcheck", "parity", "allowed");
    for (name, op) in ops {
        let (gradcheck, parity, allowed) = (op.gradcheck_error, op.parity_error, op.parity_allowed);
        let mark = if op.is_ok() { "" } else { "  FAIL" };
        println!("{name:<20} {:>5}  {gradcheck:>9.1e}  {parity:>9.1e} {allowed:>9.1e}{mark}", op.cases);
        op.failures.iter().for_each(|failure| println!("    {failure}"));
    }
    let cases: usize = ops.values().map(|op| op.cases).sum();
    let passed = ops.values().filter(|op| op.is_ok()).count();
    println!("{passed} of {} ops pass, {cases} cases; gradients against central differences: limit 1e-6", ops.len());
}
