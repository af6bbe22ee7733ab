//! `twnm plan`: the memory of a training step before it is begun.

use super::plan_show::{Answer, KEPT, show};
use std::path::{Path, PathBuf};
use twnm::config::{self, Recipe};
use twnm::device::{DType, Device, machine};
use twnm::error::{Context as _, Error, Result};
use twnm::language::config::DecoderConfig;
use twnm::language::lora::{LINEARS, LoraConfig};
use twnm::language::store;
use twnm::models::Places;
use twnm::ops::packed::Packing;
use twnm::plan::{Component, Documents, Frozen, Heard, PlanInput, bytes_of};
use twnm::train::answers::memory::{Asked, CLIP_S, Stage, override_models};
use twnm::train::answers::recipe::{AlignRecipe, SftRecipe};
use twnm::weights::Tensors;

/// Memory of a training step from sizes alone, and the largest micro-batch that fits
///
/// With a recipe of twnm-train align or sft: of its stage, the projector included. Without: of a decoder with an adapter.
/// Nothing is allocated and no weights are read. On the host it is exact in bytes of tensors, what is beside them is printed
/// apart; on a GPU the driver, its kernels and their workspaces are counted with 600 MiB.
#[derive(clap::Args)]
pub struct Args {
    /// Recipe of twnm-train align or sft
    recipe: Option<PathBuf>,
    /// Overrides of single settings of the recipe, as in --set train.batch=4
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "recipe")]
    sets: Vec<String>,
    /// The stage that the recipe is of: align or sft [default: sft where it has a table lora, else align]
    #[arg(long, value_parser = ["align", "sft"], requires = "recipe")]
    stage: Option<String>,
    /// Folder of the decoder, or a size: pocket, 0.5b, 1.5b, 7b
    #[arg(long, value_name = "DIR|SIZE", required_unless_present = "recipe")]
    decoder: Option<String>,
    /// Folder of the spatial encoder, or a size: pocket, small, paper
    #[arg(long, value_name = "DIR|SIZE", requires = "recipe")]
    encoder: Option<String>,
    /// Folder of the semantic encoder, or a size: whisper-tiny to whisper-large-v3, audio-flamingo-3
    #[arg(long, value_name = "DIR|SIZE", requires = "recipe")]
    semantic: Option<String>,
    /// Seconds of every recording [default: 5]
    #[arg(long, value_name = "SECONDS", requires = "recipe")]
    clip: Option<f64>,
    /// Rank of the adapter that is trained [default: 8]
    #[arg(long, conflicts_with = "recipe")]
    lora_rank: Option<usize>,
    /// Linear layers that have it: all, or names after commas (q,k,v,o,gate,up,down) [default: all]
    #[arg(long, conflicts_with = "recipe")]
    lora_targets: Option<String>,
    /// Tokens of every document [default: 1024; with a recipe the most that it allows]
    #[arg(long)]
    tokens: Option<usize>,
    /// Tokens at the end of every document that the loss is of [default: 128; with a recipe all behind the audio]
    #[arg(long)]
    answer: Option<usize>,
    /// Documents of a micro-batch [default: 1, or the recipe's]
    #[arg(long)]
    batch: Option<usize>,
    /// What is kept of every layer: products (the default), attention (gate and up are computed again) or input (all is)
    #[arg(long, value_parser = ["products", "attention", "input"], conflicts_with = "recipe")]
    kept: Option<String>,
    /// Frozen weights in bf16, and on a GPU the activations too
    #[arg(long)]
    bf16: bool,
    /// Pack the frozen weights of linear layers: int8 or nf4
    #[arg(long, value_parser = ["int8", "nf4"])]
    weights: Option<String>,
    /// host or cuda [default: cuda where --gpu-memory is given or the recipe computes in bf16]
    #[arg(long)]
    device: Option<String>,
    /// Memory to stay within, for example 32GiB: the largest micro-batches are computed for it
    #[arg(long, value_name = "SIZE")]
    gpu_memory: Option<String>,
    /// Folder of a further frozen model on the same device; may be repeated
    #[arg(long, value_name = "DIR")]
    beside: Vec<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// Computes and prints the plan.
pub fn run(args: Args) -> Result<()> {
    let budget = args.gpu_memory.as_deref().map(bytes_of).transpose().context_with(|| "--gpu-memory")?;
    let (mut input, assumed) = match &args.recipe {
        Some(recipe) => of_recipe(&args, recipe, budget.is_some())?,
        None => (of_flags(&args, budget.is_some())?, Vec::new()),
    };
    let beside = args.beside.iter().map(|folder| {
        let weights = Tensors::open_folder(folder, "model")?;
        weights.names().map(|name| Ok(weights.bytes(name)?.len() as u64)).sum::<Result<u64>>()
    });
    let beside = beside.sum::<Result<u64>>()?;
    input.beside.push(Component { name: "further frozen models", bytes: beside });
    if input.device == Device::Host {
        input.mapped += beside;
    }
    show(&Answer::new(&input, budget, assumed), args.json)
}

fn device(args: &Args, is_gpu: bool) -> Result<Device> {
    match args.device.as_deref() {
        Some("host") => Ok(Device::Host),
        Some("cuda") => Ok(Device::Cuda(0)),
        None => Ok(if is_gpu { Device::Cuda(0) } else { Device::Host }),
        Some(other) => Err(Error::usage(format!("--device {other}: host or cuda"))),
    }
}

/// The plan of a recipe, and what was assumed.
fn of_recipe(args: &Args, path: &Path, has_budget: bool) -> Result<(PlanInput, Vec<String>)> {
    let is_sft = match args.stage.as_deref() {
        Some(stage) => stage == "sft",
        None => config::has_table(path, "lora")?,
    };
    let mut stage = if is_sft { read::<SftRecipe>(args, path)? } else { read::<AlignRecipe>(args, path)? };
    if let Some(weights) = &args.weights {
        stage.models.weights.clone_from(weights);
    }
    override_models(&mut stage.models, [&args.decoder, &args.encoder, &args.semantic]);
    if let Some(batch) = args.batch {
        expect("--batch", batch, 1..=65_536)?;
        stage.train.batch = batch;
    }
    if args.bf16 {
        stage.train.precision = "bf16".into();
    }
    let device = device(args, has_budget || stage.train.precision == "bf16")?;
    if device == Device::Host && stage.train.precision == "bf16" {
        return Err(Error::usage("train.precision = \"bf16\": the host computes in f32")
            .hint("--device cuda, or --set train.precision=f32"));
    }
    let clip_s = args.clip.unwrap_or(CLIP_S);
    if !(0.1..=600.0).contains(&clip_s) {
        return Err(Error::usage("--clip is 0.1 to 600 seconds"));
    }
    if let Some(tokens) = args.tokens {
        expect("--tokens", tokens, 2..=1 << 20)?;
    }
    let mut opened = stage.open(&Places::of_process())?;
    let asked = Asked { tokens: args.tokens, answer: args.answer, clip_s, device };
    let input = opened.input(&stage, asked)?;
    let name = if is_sft { "stage 3 (sft)" } else { "stage 2 (align)" };
    let assumed = [vec![name.to_string()], opened.assumed].concat();
    Ok((input, assumed))
}

fn read<R: Recipe + Into<Stage>>(args: &Args, path: &Path) -> Result<Stage> {
    Ok(config::load::<R>(Some(path), &args.sets)?.into())
}

fn expect(flag: &str, value: usize, range: std::ops::RangeInclusive<usize>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::usage(format!("{flag} {value}: {}..={}", range.start(), range.end())))
}

/// The plan of a decoder with an adapter.
fn of_flags(args: &Args, has_budget: bool) -> Result<PlanInput> {
    let named = args.decoder.as_deref().expect("required without a recipe");
    let folder = Path::new(named);
    let files = if folder.is_dir() { Some(store::open_decoder(folder)?) } else { None };
    let decoder = match &files {
        Some(files) => files.config.clone(),
        None => DecoderConfig::preset(named)
            .map_err(|e| e.context("--decoder").hint("give the folder of a model, or one of these sizes"))?,
    };
    let device = device(args, has_budget)?;
    let (most, tokens, answer) = (decoder.positions, args.tokens.unwrap_or(1024), args.answer.unwrap_or(128));
    let (batch, rank) = (args.batch.unwrap_or(1), args.lora_rank.unwrap_or(8));
    if !(2..=most).contains(&tokens) || !(1..tokens).contains(&answer) {
        return Err(Error::usage(format!("--tokens is 2..={most} and --answer below it, at least 1")));
    }
    if !(1..=65_536).contains(&batch) || !(1..=4096).contains(&rank) {
        return Err(Error::usage("--batch is 1..=65536 and --lora-rank 1..=4096"));
    }
    let targets = targets(args.lora_targets.as_deref().unwrap_or("all"))?;
    let is_narrow = args.bf16 && device != Device::Host;
    let packing = packing(args);
    let (frozen, frozen_bytes, mapped) = match files {
        Some(files) if !args.bf16 => {
            let held = files.held(packing)?;
            (Frozen::of(held.packing, held.is_narrow), held.bytes, held.mapped)
        }
        _ => Frozen::of_size(&decoder, packing, args.bf16),
    };
    let kept = args.kept.as_deref().unwrap_or("products");
    Ok(PlanInput {
        decoder,
        lora: Some(LoraConfig::new(rank, 1.0, &targets)),
        projector: None,
        frozen,
        frozen_bytes,
        activations: if is_narrow { DType::Bf16 } else { DType::F32 },
        documents: Documents { batch, tokens, answer, heard: Heard::default() },
        kept: KEPT.iter().find(|(name, _)| *name == kept).expect("one of the accepted values").1,
        device,
        threads: machine::threads(),
        beside: Vec::new(),
        mapped: if device == Device::Host { mapped } else { 0 },
        hearing: 0,
        scored: Vec::new(),
        on_host: Vec::new(),
    })
}

fn packing(args: &Args) -> Option<Packing> {
    args.weights.as_deref().and_then(Packing::named)
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
