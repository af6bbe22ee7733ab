//! `twnm doctor`: what this machine offers, and whether every op computes what it should here.

use super::op_checks::{OpReport, check_ops, print_ops};
use super::shared::say;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use twnm::device::{Device, cuda, machine};
use twnm::error::{Error, Kind, Result};
use twnm::kernels::KERNELS;

/// Show what this machine offers; with --ops, check every op on it
///
/// Exit code 70 when an op fails.
#[derive(clap::Args)]
pub struct Args {
    /// Check every op against its f64 reference (on the host also the reference's gradients against central differences)
    #[arg(long)]
    ops: bool,
    /// Where ops are checked: auto, host, cuda[:N] or emu; on a GPU in f32 and bf16, and at real sizes too
    #[arg(long, default_value = "host")]
    device: String,
    /// Check only ops with this in their name
    #[arg(long, default_value = "")]
    filter: String,
    /// Check only small cases, for tools that slow a GPU down
    #[arg(long)]
    small: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let device = Device::parse(&args.device)?;
    let facts = Facts::gather();
    if !args.json {
        facts.print()?;
    }
    let ops = if args.ops { check_ops(device, &args.filter, args.small) } else { Vec::new() };
    if args.ops && ops.is_empty() {
        return Err(Error::usage(format!("--filter {}: no op has this in its name", args.filter)));
    }
    let failed: BTreeSet<&str> = ops.iter().filter(|op| !op.is_ok()).map(|op| op.op).collect();
    if args.json {
        let mut report = facts.to_json();
        report["ok"] = failed.is_empty().into();
        if args.ops {
            report["checked_on"] = device.describe().into();
            report["ops"] = ops.iter().map(OpReport::to_json).collect();
            report["kernels"] = kernels_json(&ops);
        }
        say(report)?;
    } else if args.ops {
        print_ops(device, &ops)?;
        print_kernels(&ops)?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let failed: Vec<&str> = failed.into_iter().collect();
    Err(Error::new(Kind::Internal, format!("ops that compute something else here: {}", failed.join(", ")))
        .hint("please report this with the output of twnm doctor --ops --json"))
}

/// Cases that launched a kernel.
fn launches(ops: &[OpReport], kernel: &str) -> usize {
    ops.iter().filter_map(|op| op.kernels.get(kernel)).sum()
}

fn kernels_json(ops: &[OpReport]) -> Value {
    let kernel = |kernel: &twnm::kernels::Kernel| json!({"kernel": kernel.name, "cases": launches(ops, kernel.name)});
    KERNELS.iter().map(kernel).collect()
}

fn print_kernels(ops: &[OpReport]) -> Result<()> {
    let launched: Vec<(&str, usize)> =
        KERNELS.iter().map(|k| (k.name, launches(ops, k.name))).filter(|(_, cases)| *cases > 0).collect();
    if launched.is_empty() {
        return Ok(());
    }
    say(format_args!("\n{:<40} cases", "kernel"))?;
    for (name, cases) in &launched {
        say(format_args!("{name:<40} {cases:>5}"))?;
    }
    say(format_args!("{} of {} kernels launched", launched.len(), KERNELS.len()))
}

struct Facts {
    has_gpu: bool,
    /// The GPU, or why none is used.
    cuda: String,
    cache: Option<PathBuf>,
    is_cache_writable: bool,
}

impl Facts {
    fn gather() -> Facts {
        let cache = cache_folder();
        let is_cache_writable = cache.as_deref().is_some_and(can_write_below);
        let (gpu, cuda) = cuda::auto();
        Facts { has_gpu: gpu.is_some(), cuda, cache, is_cache_writable }
    }

    fn print(&self) -> Result<()> {
        let gib = |bytes: Option<u64>| bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / 1.074e9));
        say(format_args!("twnm          {}", env!("CARGO_PKG_VERSION")))?;
        say(format_args!("host          {}", Device::Host.describe().trim_start_matches("host: ")))?;
        say(format_args!("auto          {}", self.cuda))?;
        say(format_args!(
            "memory        {}, {} available",
            gib(machine::memory_bytes()),
            gib(machine::available_memory_bytes())
        ))?;
        match &self.cache {
            Some(path) if self.is_cache_writable => say(format_args!("cache folder  {} (writable)", path.display())),
            Some(path) => say(format_args!("cache folder  {} NOT writable: set XDG_CACHE_HOME", path.display())),
            None => say("cache folder  none: set XDG_CACHE_HOME or HOME"),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "host": Device::Host.describe(),
            "auto": self.cuda,
            "cuda": self.has_gpu,
            "threads": machine::threads(),
            "instruction_set": machine::instruction_set(),
            "memory_bytes": machine::memory_bytes(),
            "available_memory_bytes": machine::available_memory_bytes(),
            "cache": {"path": self.cache, "writable": self.is_cache_writable},
        })
    }
}

/// Where compiled kernels are kept.
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
