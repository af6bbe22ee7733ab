//! `twnm bench lm-step` and `lm-generate`: a LoRA training step and decoding of a Qwen2-shaped model with random weights,
//! the work of `qwen2_peft_torch.py`.

use super::shared::say;
use std::time::Instant;
use twnm::device::{Device, cuda, machine, product::Threads};
use twnm::error::{Error, Kind, Result};
use twnm::language::config::DecoderConfig;
use twnm::language::decoder::{Adapter, Build, Decoder, Documents, Kept};
use twnm::language::generate::{Asked, Decoding, Room};
use twnm::language::lora::{LINEARS, LoraConfig};
use twnm::language::loss::{Targets, loss};
use twnm::language::store::PEFT_PREFIX;
use twnm::nn::{Builder, Forward, Home, ParamInfo, Params};
use twnm::ops::adamw::AdamW;
use twnm::ops::kv_cache::CacheShape;
use twnm::ops::packed::Packing;
use twnm::ops::quantize;
use twnm::ops::sample::{Choice, Sampling};
use twnm::optim::Optimizer;
use twnm::plan::{Documents as PlannedDocuments, Frozen, Heard, PlanInput, gib};
use twnm::rng::Rng;
use twnm::tape::Tape;
use twnm::tensor::{DType, Tensor};

/// Numbers that are drawn; weights repeat them.
const DRAWN: usize = 1 << 20;

/// What both benches share.
#[derive(clap::Args)]
struct Common {
    /// pocket, 0.5b, 1.5b or 7b
    #[arg(long, default_value = "pocket")]
    size: String,
    /// Sequences
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Tokens of every sequence (of its prompt, for generation)
    #[arg(long, default_value_t = 256)]
    tokens: usize,
    /// Store the frozen weights as bf16, and on a device activations too
    #[arg(long)]
    bf16: bool,
    /// Pack the frozen weights of linear layers: int8 or nf4
    #[arg(long, value_parser = ["int8", "nf4"])]
    weights: Option<String>,
    /// host, cuda[:N] or emu
    #[arg(long, default_value = "host")]
    device: String,
    /// Threads [default: all]
    #[arg(long)]
    jobs: Option<usize>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Seconds per LoRA training step: forward, backward, clipping, AdamW
#[derive(clap::Args)]
pub struct StepArgs {
    #[command(flatten)]
    common: Common,
    /// Tokens at the end of every sequence that the loss is of
    #[arg(long, default_value_t = 64)]
    answer: usize,
    /// Rank of the adapters on all seven linear layers
    #[arg(long, default_value_t = 8)]
    rank: usize,
    /// What is computed again to save memory: none, half (gate and up of every other layer), units (of every layer) or layers
    #[arg(long, default_value = "units", value_parser = ["none", "half", "units", "layers"])]
    recompute: String,
    /// Steps that are measured, after one that is not
    #[arg(long, default_value_t = 3)]
    steps: usize,
}

/// Tokens per second of greedy decoding
#[derive(clap::Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    common: Common,
    /// Tokens to append to every sequence
    #[arg(long, default_value_t = 64)]
    new: usize,
    /// Sequences that continue the same prompt, as the rollouts of a group do: its work is done once
    #[arg(long, default_value_t = 1)]
    group: usize,
    /// Times that are measured, after one that is not
    #[arg(long, default_value_t = 1)]
    steps: usize,
}

impl Common {
    fn check(&self, more: usize) -> Result<(DecoderConfig, Device, rayon::ThreadPool)> {
        let config = DecoderConfig::preset(&self.size).map_err(|e| e.context("--size"))?;
        let is_good =
            (1..=4096).contains(&self.batch) && (2..=config.positions).contains(&self.tokens.saturating_add(more));
        if !is_good || self.tokens == 0 {
            return Err(Error::usage(format!("--batch is 1..=4096, tokens in all 2..={}", config.positions)));
        }
        let device = Device::parse(&self.device)?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.jobs.unwrap_or(0)).build();
        Ok((config, device, pool.map_err(|e| Error::usage(format!("--jobs: {e}")))?))
    }

    fn report(&self, mode: &str, times: &[f64], tokens: usize, device: Device, more: serde_json::Value) -> Result<()> {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let step_s = sorted[sorted.len() / 2];
        let peak_bytes = match device {
            Device::Cuda(ordinal) => Some(cuda::open(ordinal)?.memory()?.peak),
            _ => machine::peak_memory_bytes(),
        };
        let peak_gib = peak_bytes.map(|bytes| bytes as f64 / (1u64 << 30) as f64);
        let tokens_per_s = tokens as f64 / step_s;
        if !self.json {
            let peak = peak_gib.map_or("unknown".into(), |gib| format!("{gib:.2} GiB"));
            return say(format_args!("{step_s:.3} s ({tokens_per_s:.1} tokens/s), peak memory {peak}"));
        }
        let mut report = serde_json::json!({
            "mode": mode, "size": self.size, "batch": self.batch, "tokens": self.tokens, "bf16": self.bf16,
            "weights": self.weights,
            "device": device.describe(), "instruction_set": machine::instruction_set(), "step_s": step_s,
            "tokens_per_s": tokens_per_s, "peak_gib": peak_gib, "steps_s": times,
        });
        let fields = report.as_object_mut().expect("an object");
        more.as_object().into_iter().flatten().for_each(|(name, value)| {
            fields.insert(name.clone(), value.clone());
        });
        say(report)
    }

    /// Refuses what the host has no memory for, before the system ends the program for it.
    fn expect_memory(&self, device: Device, bytes: u64) -> Result<()> {
        match machine::available_memory_bytes() {
            Some(available) if device == Device::Host && bytes > available => {
                let (needed, free) = (gib(bytes), gib(available));
                Err(Error::unavailable(format!("{needed:.1} GiB are needed, {free:.1} GiB are free"))
                    .hint("a smaller --size, --batch or --tokens; --bf16, --weights int8 or nf4"))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of the frozen weights.
    fn frozen_bytes(&self, config: &DecoderConfig) -> u64 {
        Frozen::of_size(config, self.packing(), self.bf16).1
    }

    fn packing(&self) -> Option<Packing> {
        self.weights.as_deref().and_then(Packing::named)
    }

    fn ids(&self, vocabulary: usize) -> Vec<u32> {
        let mut rng = Rng::new(0, "bench language", 0);
        (0..self.batch * self.tokens).map(|_| rng.below(vocabulary) as u32).collect()
    }

    fn documents(&self, decoder: &Decoder, device: Device) -> Documents {
        Documents::new(&vec![self.tokens; self.batch], &decoder.config, device)
    }
}

/// A decoder with frozen weights like those of a fresh model.
fn model(config: &DecoderConfig, adapters: &[Adapter], common: &Common, device: Device) -> (Decoder, Params) {
    let (is_narrow, packing) = (common.bf16, common.packing());
    let mut builder = Builder::new();
    let mut decoder = Decoder::new(&mut builder, config, &Build { prefix: "", is_frozen: true, adapters });
    let mut params = builder.finish(0);
    let mut rng = Rng::new(0, "bench language weights", 0);
    let drawn: Vec<f32> = (0..DRAWN).map(|_| (rng.normal() * config.initializer_range) as f32).collect();
    let infos = params.infos().clone();
    let frozen = || params.ids().zip(infos.iter()).filter(|(_, info)| matches!(info.home, Home::Frozen { .. }));
    // One block for all matrices, as a mapped file is.
    let is_packed = |info: &ParamInfo| packing.is_some() && info.name.ends_with("_proj.weight");
    let lies_in_block = |info: &ParamInfo| info.shape.as_slice().len() > 1 && !is_packed(info);
    let total = frozen().filter(|(_, info)| lies_in_block(info)).map(|(_, info)| info.shape.len()).sum();
    let mut block = Tensor::uninit_on(Device::Host, if is_narrow { DType::Bf16 } else { DType::F32 }, &[total]);
    if is_narrow {
        let narrow: Vec<half::bf16> = drawn.iter().map(|&v| half::bf16::from_f32(v)).collect();
        block.values_mut::<half::bf16>().chunks_mut(DRAWN).for_each(|to| to.copy_from_slice(&narrow[..to.len()]));
    } else {
        block.data_mut().chunks_mut(DRAWN).for_each(|to| to.copy_from_slice(&drawn[..to.len()]));
    }
    let mut at = 0;
    let mut tensors = Vec::new();
    for (id, info) in frozen().filter(|(_, info)| !is_packed(info)) {
        let tensor = if lies_in_block(info) {
            at += info.shape.len();
            block.part(at - info.shape.len(), info.shape)
        } else {
            let value = if info.name.ends_with("bias") { 0.0 } else { 1.0 };
            Tensor::from_slice(info.shape.as_slice(), &vec![value; info.shape.len()])
        };
        tensors.push((id, tensor));
    }
    tensors.into_iter().for_each(|(id, tensor)| params.set_frozen(id, tensor));
    for (id, info) in params.ids().zip(infos.iter()).filter(|(_, info)| is_packed(info)) {
        let numbers: Vec<f32> = drawn.iter().copied().cycle().take(info.shape.len()).collect();
        let plain = Tensor::from_slice(info.shape.as_slice(), &numbers);
        params.set_packed(id, quantize::packed(&plain, packing.expect("some are packed")));
    }
    let mut params = params.to(device);
    if is_narrow && device != Device::Host {
        decoder.precision = DType::Bf16;
        params.keep_narrow();
    }
    (decoder, params)
}

/// Runs `lm-step`.
pub fn run_step(args: StepArgs) -> Result<()> {
    let (config, device, pool) = args.common.check(0)?;
    if !(1..=args.common.tokens).contains(&args.answer) || !(1..=1000).contains(&args.steps) {
        return Err(Error::usage("--answer is 1..=TOKENS and --steps 1..=1000"));
    }
    if !(1..=1024).contains(&args.rank) {
        return Err(Error::usage("--rank is 1..=1024"));
    }
    let lora = LoraConfig::new(args.rank, 4.0 * args.rank as f64, &LINEARS);
    args.common.expect_memory(device, planned(&args, &config, &lora))?;
    let times = pool.install(|| steps(&args, &config, lora, device))?;
    let tokens = args.common.batch * args.common.tokens;
    let more = serde_json::json!({"answer": args.answer, "rank": args.rank, "recompute": args.recompute});
    args.common.report("train", &times[1..], tokens, device, more)
}

/// Bytes of a step on the host.
fn planned(args: &StepArgs, config: &DecoderConfig, lora: &LoraConfig) -> u64 {
    let Common { batch, tokens, bf16, .. } = args.common;
    let input = PlanInput {
        decoder: config.clone(),
        lora: Some(lora.clone()),
        projector: None,
        frozen: Frozen::of(args.common.packing(), bf16),
        frozen_bytes: args.common.frozen_bytes(config),
        activations: DType::F32,
        documents: PlannedDocuments { batch, tokens, answer: args.answer, heard: Heard::default() },
        kept: match args.recompute.as_str() {
            "layers" => Kept::Input,
            "units" => Kept::Attention,
            _ => Kept::Products,
        },
        device: Device::Host,
        threads: machine::threads(),
        beside: Vec::new(),
        mapped: 0,
        on_host: Vec::new(),
        hearing: 0,
        scored: Vec::new(),
    };
    input.plan().total
}

/// Seconds of every step, the first included.
fn steps(args: &StepArgs, config: &DecoderConfig, lora: LoraConfig, device: Device) -> Result<Vec<f64>> {
    let adapter = Adapter { prefix: PEFT_PREFIX.into(), config: lora, is_frozen: false };
    let (mut decoder, mut params) = model(config, std::slice::from_ref(&adapter), &args.common, device);
    let kept = |n: usize| match args.recompute.as_str() {
        "half" if n.is_multiple_of(2) => Kept::Attention,
        "units" => Kept::Attention,
        "layers" => Kept::Input,
        _ => Kept::Products,
    };
    decoder.kept = (0..config.layers).map(kept).collect();
    let mut optimizer = Optimizer::new(&params, AdamW::default(), 0.01, 1.0);
    let ids = args.common.ids(config.vocabulary);
    let asked: Vec<bool> = (0..args.common.tokens).map(|at| at + args.answer >= args.common.tokens).collect();
    let rows: Vec<(&[u32], &[bool])> = ids.chunks(args.common.tokens).map(|ids| (ids, asked.as_slice())).collect();
    let targets = Targets::new(&rows, 1.0 / Targets::count_of(&rows).max(1) as f32);
    let whole: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let whole = Tensor::from_slice(&[1, whole.len()], &whole).to(device);
    let documents = args.common.documents(&decoder, device).asking(targets.tails());
    let mut times = Vec::new();
    for _ in 0..=args.steps {
        let start = Instant::now();
        let mut c = Forward::new(Tape::new().with_products(Threads::All), &params);
        let x = decoder.embed(&mut c, &whole);
        let hidden = decoder.hidden(&mut c, &x, &documents, usize::MAX);
        let loss = loss(&mut c, &decoder, &hidden, &documents, &targets);
        drop((x, hidden));
        let mut gradient = Tensor::zeros_on(device, DType::F32, &[params.flat_len()]);
        c.gradients(&loss, &mut gradient)?;
        let norm = optimizer.step(&mut params, &gradient, 1e-4);
        device.synchronize()?;
        times.push(start.elapsed().as_secs_f64());
        if !norm.is_finite() {
            return Err(Error::new(Kind::Diverged, format!("the gradient's norm is {norm}")));
        }
    }
    Ok(times)
}

/// Runs `lm-generate`.
pub fn run_generate(args: GenerateArgs) -> Result<()> {
    let (config, device, pool) = args.common.check(args.new)?;
    if args.new == 0 || !(1..=1000).contains(&args.steps) {
        return Err(Error::usage("--new is at least 1 and --steps 1..=1000"));
    }
    if args.group == 0 || !args.common.batch.is_multiple_of(args.group) {
        return Err(Error::usage(format!("--group {} does not divide --batch {}", args.group, args.common.batch)));
    }
    let (sequences, capacity) = (args.common.batch, args.common.tokens + args.new);
    let cache = CacheShape {
        layers: config.layers,
        batch: sequences,
        capacity,
        heads_kv: config.heads_kv,
        width: config.width,
    };
    args.common.expect_memory(device, args.common.frozen_bytes(&config) + cache.bytes(DType::F32) as u64)?;
    let (times, step_s) = pool.install(|| generate(&args, &config, device))?;
    let copied = (device == Device::Host).then(|| pool.install(copy_gb_per_s));
    let table = config.vocabulary * config.hidden * if args.common.bf16 { 2 } else { 4 };
    let bytes = Frozen::of(args.common.packing(), args.common.bf16).linears(&config) as f64 + table as f64;
    let more = serde_json::json!({
        "new": args.new, "group": args.group, "decode_step_s": step_s, "weights_gb_per_s": bytes / step_s / 1e9,
        "copy_gb_per_s": copied,
    });
    args.common.report("generate", &times[1..], args.common.batch * args.new, device, more)
}

/// What all threads of the pool read and write together while they copy half a gigabyte, the best of five times.
fn copy_gb_per_s() -> f64 {
    use rayon::prelude::*;
    const LEN: usize = 1 << 27;
    let (from, mut to) = (Tensor::zeros(&[LEN]), Tensor::zeros(&[LEN]));
    let part = LEN.div_ceil(rayon::current_num_threads());
    let mut copy = || {
        let start = Instant::now();
        to.data_mut().par_chunks_mut(part).zip(from.data().par_chunks(part)).for_each(|(to, from)| {
            to.copy_from_slice(from);
        });
        (2 * 4 * LEN) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..5).map(|_| copy()).fold(0.0, f64::max)
}

/// Seconds of every generation, the first included, and of a decoding step in the last.
fn generate(args: &GenerateArgs, config: &DecoderConfig, device: Device) -> Result<(Vec<f64>, f64)> {
    let Common { batch, tokens, .. } = args.common;
    let (decoder, params) = model(config, &[], &args.common, device);
    let prompts = batch / args.group;
    let ids: Vec<i32> = args.common.ids(config.vocabulary)[..prompts * tokens].iter().map(|&id| id as i32).collect();
    let ids = Tensor::from_slice(&[1, ids.len()], &ids).to(device);
    let documents = Documents::new(&vec![tokens; prompts], config, device);
    let sequences: Vec<u32> = (0..batch as u32).collect();
    let sampling = Sampling { choice: Choice::Greedy, repetition_penalty: 1.0 };
    let asked = Asked { sampling, seed: 0, sequences: &sequences, ends: &[], new_max: args.new, prompts: &[] };
    let (mut times, mut step_s) = (Vec::new(), 0.0);
    for _ in 0..=args.steps {
        let start = Instant::now();
        let embedded = |c: &mut Forward| decoder.embed(c, &ids);
        let room = Room { capacity: tokens + args.new, active: 0, products: Threads::All };
        let (decoding, logits) = Decoding::start(&decoder, &params, embedded, &documents, room)?;
        let first = Instant::now();
        let each: Vec<Tensor> = (0..batch).map(|i| logits.rows(i / args.group, 1)).collect();
        let found = decoding.expand(args.group).run(Tensor::stacked(&each), &asked, |_, _| false)?;
        assert!(found.iter().all(|sequence| sequence.ids.len() == args.new), "no token ends a sequence");
        step_s = first.elapsed().as_secs_f64() / (args.new - 1).max(1) as f64;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok((times, step_s))
}
