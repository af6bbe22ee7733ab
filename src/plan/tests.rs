//! Closed forms: bytes per token and layer as counted by hand, weights of published models, and what limits hold.

use super::*;
use crate::projector::Kind;

fn input(size: &str, tokens: usize, kept: Kept) -> PlanInput {
    PlanInput {
        decoder: DecoderConfig::preset(size).unwrap(),
        lora: Some(LoraConfig::new(8, 32.0, &crate::language::lora::LINEARS)),
        frozen: Frozen::Bf16,
        frozen_bytes: Frozen::Bf16.bytes(&DecoderConfig::preset(size).unwrap()),
        scored: Vec::new(),
        activations: DType::Bf16,
        documents: Documents { batch: 1, tokens, answer: 256, heard: Heard::default() },
        projector: None,
        kept,
        device: Device::Cuda(0),
        threads: 1,
        beside: Vec::new(),
        mapped: 0,
        hearing: 0,
        on_host: Vec::new(),
    }
}

fn component(plan: &Plan, name: &str) -> u64 {
    plan.components.iter().find(|c| c.name.starts_with(name)).unwrap().bytes
}

#[test]
fn a_token_costs_what_was_counted_by_hand() {
    // Qwen2-7B in bf16, per token and layer: x, q, output 3584 numbers each and the sum after attention, k and v 512 each, 28
    // sums of attention in f32, gate and up 18,944 each: 106,608 bytes. On top come two row sums of norms in f32 and
    // the product with A of seven adapters of rank 8.
    let more = 2 * 4 + 7 * 8 * 2;
    for (kept, bytes) in [(Kept::Products, 106_608 + more), (Kept::Attention, 30_832 + more), (Kept::Input, 7168)] {
        let of = |tokens| component(&input("7b", tokens, kept).plan(), "activations of the decoder");
        // The last layer keeps for the rows that are asked for; the first needs no sums of its first norm.
        let first = if kept == Kept::Input { 0 } else { 4 };
        let per_token = (of(4096) - of(3072)) / 1024;
        let last = match kept {
            Kept::Input => 7168,
            _ => 7168 + 2 * 1024 + 4 + 2 * 8 * 2,
        };
        assert_eq!(per_token, 27 * bytes + last - first, "{kept:?}");
    }
}

#[test]
fn weights_and_caches_have_their_published_sizes() {
    let plan = input("7b", 1024, Kept::Products).plan();
    // 7,615,616,512 numbers of two bytes; biases and norms take four.
    let vectors = 28 * (3584 + 512 + 512 + 2 * 3584) + 3584;
    assert_eq!(component(&plan, "frozen weights"), 15_231_233_024 + 2 * vectors);
    assert_eq!(plan.trained, 20_185_088);
    assert_eq!(plan.cache_per_token, 57_344);
    assert_eq!(plan.components.iter().map(|c| c.bytes).sum::<u64>(), plan.total);
    let config = DecoderConfig::preset("7b").unwrap();
    // Tables in bf16, matrices in a byte, or in 0.516 of one as bitsandbytes counts.
    let tables = 2 * 544_997_376 * 2;
    let matrices = 6_525_288_448u64;
    let about = |frozen: Frozen, share: f64| {
        let ratio = (frozen.bytes(&config) - tables) as f64 / (matrices as f64 * share);
        assert!((ratio - 1.0).abs() < 2e-3, "{frozen:?}: {ratio}");
    };
    about(Frozen::Int8, 1.0);
    about(Frozen::Nf4, 0.516);
    about(Frozen::Bf16, 2.0);
}

#[test]
fn the_most_tokens_fit_and_one_more_does_not() {
    let budget = 32 << 30;
    let mut before = 0;
    for kept in [Kept::Products, Kept::Attention, Kept::Input] {
        let input = input("7b", 1024, kept);
        let most = input.tokens_within(budget);
        assert!(most > before, "{kept:?}: {most}");
        let total = |tokens: usize| {
            let parts = [
                Documents { batch: tokens / 1024, ..input.documents },
                Documents {
                    batch: 1,
                    tokens: tokens % 1024,
                    answer: 256.min((tokens % 1024).saturating_sub(1)),
                    ..input.documents
                },
            ];
            let parts: Vec<Documents> = parts.into_iter().filter(|d| d.batch > 0 && d.tokens > 0).collect();
            input.of(&parts).total
        };
        assert!(total(most) <= budget && total(most + 1) > budget, "{kept:?}: {most}");
        before = most;
    }
    assert_eq!(input("7b", 1024, Kept::Products).tokens_within(8 << 30), 0);
    let large = input("7b", 1024, Kept::Products);
    let small = PlanInput { frozen: Frozen::Nf4, frozen_bytes: Frozen::Nf4.bytes(&large.decoder), ..large };
    assert!(small.tokens_within(budget) > input("7b", 1024, Kept::Products).tokens_within(budget));
}

#[test]
fn the_ledger_of_a_step_with_a_projector_adds_up() {
    // Afterwards what was there before is there, and the gradients: of every number once as it came, once in the flat buffer,
    // and the loss.
    for (kind, slots) in [(Kind::P0, 0), (Kind::P0, 3), (Kind::P1, 0), (Kind::P1, 3), (Kind::P2, 0), (Kind::P2, 3)] {
        let config = DecoderConfig::preset("pocket").unwrap();
        let (has_slots, classes) = (slots > 0, if slots > 0 { 20 } else { 0 });
        let projector = ProjectorConfig {
            kind,
            semantic: 48,
            spatial: 32,
            bottleneck: 96,
            width: config.hidden,
            frames_per_token: 2,
            slots: has_slots,
            classes,
        };
        for (lora, kept) in
            [(None, Kept::Products), (None, Kept::Input), (input("7b", 9, Kept::Input).lora, Kept::Attention)]
        {
            for (activations, device) in [(DType::F32, Device::Host), (DType::Bf16, Device::Cuda(0))] {
                let heard = Heard { semantic: 31, spatial: 20, slots };
                let input = PlanInput {
                    decoder: config.clone(),
                    lora: lora.clone(),
                    projector: Some(projector.clone()),
                    documents: Documents { batch: 2, tokens: 64, answer: 9, heard },
                    activations,
                    device,
                    kept,
                    ..input("pocket", 64, kept)
                };
                let joining = input.joining(&[input.documents]).unwrap();
                let mut ledger = Ledger::default();
                input.step(&mut ledger, &[input.documents], [128, 20, 18], Some(&joining));
                assert_eq!(ledger.live, 4 * input.trained().0 + 4, "{kind:?} {slots} {kept:?} {device:?}");
            }
        }
    }
}
