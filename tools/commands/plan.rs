//! `twnm plan`: the memory of a training step before it is begun.

use super::shared::say;
use std::path::{Path, PathBuf};
use twnm::device::{DType, Device, machine};
use twnm::error::{Error, Result};
use twnm::language::config::DecoderConfig;
use twnm::language::decoder::Kept;
use twnm::language::lora::{LINEARS, LoraConfig};
use twnm::language::store;
use twnm::plan::{Documents, Frozen, Plan, PlanInput};
use twnm::weights::Tensors;

/// Memory of a training step with an adapter, from sizes alone, and the largest micro-batch that fits
///
/// Nothing is allocated and no weights are read. On the host it is exact in bytes of tensors; on a GPU the driver, its kernels
/// and their workspaces are counted with 600 MiB.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the decoder, or a size: pocket, 0.5b, 1.5b, 7b
    #[arg(long, value_name = "DIR|SIZE")]
    decoder: String,
    /// Rank of the adapter that is trained
    #[arg(long, default_value_t = 8)]
    lora_rank: usize,
    /// Linear layers that have it: all, or names after commas (q,k,v,o,gate,up,down)
    #[arg(long, default_value = "all")]
    lora_targets: String,
    /// Tokens of every document
    #[arg(long, default_value_t = 1024)]
    tokens: usize,
    /// Tokens at the end of every document that the loss is of
    #[arg(long, default_value_t = 128)]
    answer: usize,
    /// Documents of a micro-batch
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// What is kept of every layer: products, attention (gate and up are computed again) or input (all is)
    #[arg(long, default_value = "products", value_parser = ["products", "attention", "input"])]
    kept: String,
    /// Frozen weights in bf16, and on a GPU the activations too
    #[arg(long)]
    bf16: bool,
    /// host or cuda [default: cuda where --gpu-memory is given]
    #[arg(long)]
    device: Option<String>,
    /// Memory to stay within, for example 32GiB: the largest micro-batches are computed for it
    #[arg(long, value_name = "SIZE")]
    gpu_memory: Option<String>,
    /// Folder of a frozen model on the same device, such as a semantic encoder; may be repeated
    #[arg(long, value_name = "DIR")]
    beside: Vec<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

const KEPT: [(&str, Kept); 3] = [("products", Kept::Products), ("attention", Kept::Attention), ("input", Kept::Input)];

/// Computes and prints the plan.
pub fn run(args: Args) -> Result<()> {
    let budget = args.gpu_memory.as_deref().map(size).transpose().map_err(|e| e.context("--gpu-memory"))?;
    let input = input(&args, budget.is_some())?;
    let plan = input.plan();
    let within = budget.map(|budget| (budget, fitting(&input, budget)));
    if args.json {
        return say(json(&plan, within.as_ref()));
    }
    print(&plan, within.as_ref())
}

/// The largest micro-batches by how weights are stored, in the order of [`KEPT`].
type Fitting = Vec<(&'static str, [usize; 3])>;

fn fitting(input: &PlanInput, budget: u64) -> Fitting {
    let now = if input.frozen == Frozen::F32 { ("f32", Frozen::F32) } else { ("bf16", Frozen::Bf16) };
    let of = |(name, frozen)| {
        let most = KEPT.map(|(_, kept)| PlanInput { frozen, kept, ..input.clone() }.tokens_within(budget));
        (name, most)
    };
    [now, ("int8", Frozen::Int8), ("nf4", Frozen::Nf4)].map(of).to_vec()
}

fn input(args: &Args, has_budget: bool) -> Result<PlanInput> {
    let folder = Path::new(&args.decoder);
    let decoder = match folder.is_dir() {
        true => store::open_decoder(folder)?.config,
        false => DecoderConfig::preset(&args.decoder)
            .map_err(|e| e.context("--decoder").hint("give the folder of a model, or one of these sizes"))?,
    };
    let device = match (args.device.as_deref(), has_budget) {
        (Some("host"), _) | (None, false) => Device::Host,
        (Some("cuda"), _) | (None, true) => Device::Cuda(0),
        (Some(other), _) => return Err(Error::usage(format!("--device {other}: host or cuda"))),
    };
    let most = decoder.positions;
    if !(2..=most).contains(&args.tokens) || !(1..args.tokens).contains(&args.answer) {
        return Err(Error::usage(format!("--tokens is 2..={most} and --answer below it, at least 1")));
    }
    if !(1..=65_536).contains(&args.batch) || !(1..=4096).contains(&args.lora_rank) {
        return Err(Error::usage("--batch is 1..=65536 and --lora-rank 1..=4096"));
    }
    let targets = targets(&args.lora_targets)?;
    let is_narrow = args.bf16 && device != Device::Host;
    let beside = args.beside.iter().map(|folder| {
        let weights = Tensors::open_folder(folder, "model")?;
        weights.names().map(|name| Ok(weights.bytes(name)?.len() as u64)).sum::<Result<u64>>()
    });
    Ok(PlanInput {
        decoder,
        lora: Some(LoraConfig::new(args.lora_rank, 1.0, &targets)),
        frozen: if args.bf16 { Frozen::Bf16 } else { Frozen::F32 },
        activations: if is_narrow { DType::Bf16 } else { DType::F32 },
        documents: Documents { batch: args.batch, tokens: args.tokens, answer: args.answer },
        kept: KEPT.iter().find(|(name, _)| *name == args.kept).expect("one of the accepted values").1,
        device,
        threads: machine::threads(),
        beside: beside.sum::<Result<u64>>()?,
    })
}

fn targets(text: &str) -> Result<Vec<&'static str>> {
    if text == "all" {
        return Ok(LINEARS.to_vec());
    }
    let named = |name: &str| {
        let fits = |linear: &&&str| **linear == name || linear.strip_suffix("_proj") == Some(name);
        LINEARS
            .iter()
            .find(fits)
            .copied()
            .ok_or_else(|| Error::usage(format!("--lora-targets {name:?}: all, or some of q,k,v,o,gate,up,down")))
    };
    text.split(',').map(|name| named(name.trim())).collect()
}

/// A number of bytes with or without a unit.
fn size(text: &str) -> Result<u64> {
    let units = [
        ("KiB", 1u64 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = found.unwrap_or((text, 1));
    match number.trim().parse::<f64>() {
        Ok(n) if n > 0.0 && n * (factor as f64) < 1e15 => Ok((n * factor as f64) as u64),
        _ => Err(Error::usage(format!("{text:?} is no size: 32GiB, 24GB or a number of bytes"))),
    }
}

fn json(plan: &Plan, within: Option<&(u64, Fitting)>) -> serde_json::Value {
    let parts: Vec<_> = plan.components.iter().map(|c| serde_json::json!({"name": c.name, "bytes": c.bytes})).collect();
    let mut report = serde_json::json!({
        "total_bytes": plan.total, "components": parts, "trained_numbers": plan.trained,
        "cache_bytes_per_token": plan.cache_per_token,
    });
    if let Some((budget, fitting)) = within {
        report["budget_bytes"] = (*budget).into();
        report["fits"] = (plan.total <= *budget).into();
        let of = |(name, most): &(&str, [usize; 3])| {
            let most: serde_json::Map<String, serde_json::Value> =
                KEPT.iter().zip(most).map(|((kept, _), &n)| (kept.to_string(), n.into())).collect();
            (name.to_string(), most.into())
        };
        report["tokens_that_fit"] = fitting.iter().map(of).collect::<serde_json::Map<_, _>>().into();
    }
    report
}

fn print(plan: &Plan, within: Option<&(u64, Fitting)>) -> Result<()> {
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let line = |name: &str, bytes: u64| say(format_args!("{name:<36}{bytes:>16} bytes {:>10.3} GiB", gib(bytes)));
    for part in plan.components.iter().filter(|c| c.bytes > 0) {
        line(part.name, part.bytes)?;
    }
    line("together, at the highest point", plan.total)?;
    say(format_args!(
        "{} numbers are trained; a generation keeps {} bytes per token",
        plan.trained, plan.cache_per_token
    ))?;
    let Some((budget, fitting)) = within else { return Ok(()) };
    let verdict = if plan.total <= *budget { "fits into" } else { "does NOT fit into" };
    say(format_args!("\nThis {verdict} {:.3} GiB. Tokens of the largest micro-batch, by what is kept:", gib(*budget)))?;
    say(format_args!("{:<16}{:>12}{:>12}{:>12}", "frozen weights", KEPT[0].0, KEPT[1].0, KEPT[2].0))?;
    for (name, [products, attention, input]) in fitting {
        say(format_args!("{name:<16}{products:>12}{attention:>12}{input:>12}"))?;
    }
    Ok(())
}
