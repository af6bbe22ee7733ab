//! The plan of a step of stages 2 and 3, the projector included, against what a real one allocates.

use crate::{ALONE, family};
use std::path::Path;
use std::sync::PoisonError;
use twnm::device::{DType, Device, machine, product::Threads};
use twnm::family::prompt::Document;
use twnm::family::{AdapterChoice, Choice, Family, Parts, ProjectorChoice};
use twnm::language::config::DecoderConfig;
use twnm::language::decoder::{Build, Decoder, Kept};
use twnm::language::lora::{LINEARS, LoraConfig};
use twnm::language::loss::{Targets, loss};
use twnm::nn::{Builder, Forward};
use twnm::ops::adamw::AdamW;
use twnm::optim::Optimizer;
use twnm::plan::{Component, Documents, Frozen, Heard, PlanInput};
use twnm::projector::{Ablation, Clip, Kind, ProjectorConfig, Spatial, readout};
use twnm::semantic::{Family as Semantics, SemanticConfig, tagger::Tagger};
use twnm::tape::Tape;
use twnm::tensor::Tensor;

/// Classes of the fixture's encoder.
const CLASSES: usize = 2;

/// A folder `wide` with a decoder at pocket size, beside the fixture's `dec`, and a wider semantic encoder `sem`.
pub fn make(folder: &Path) {
    family::make(folder);
    let sizes = SemanticConfig {
        family: Semantics::Whisper,
        mel_bands: 20,
        width: 96,
        layers: 1,
        heads: 2,
        ffn: 96,
        positions: 50,
    };
    Tagger::new(sizes, vec!["dog".into()], 2).unwrap().save(&folder.join("sem")).unwrap();
    let config = DecoderConfig::preset("pocket").unwrap();
    let mut builder = Builder::new();
    Decoder::new(&mut builder, &config, &Build::default());
    let (params, wide) = (builder.finish(3), folder.join("wide"));
    std::fs::create_dir_all(&wide).unwrap();
    std::fs::write(wide.join("config.json"), config.to_json(None)).unwrap();
    twnm::weights::write(&wide.join("model.safetensors"), &params.entries(), &[("format", "pt")]).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(folder.join("dec").join(name), wide.join(name)).unwrap();
    }
}

/// What is trained on what.
#[derive(Clone)]
struct Case {
    decoder: &'static str,
    kind: Kind,
    slots: bool,
    bottleneck: usize,
    lora: Option<LoraConfig>,
    kept: Kept,
    documents: Documents,
}

fn open(folder: &Path, case: &Case) -> Family {
    let parts = Parts {
        encoder: folder.join("enc"),
        semantic: folder.join("sem"),
        decoder: folder.join(case.decoder),
        ..Parts::default()
    };
    let sizes = ProjectorConfig {
        kind: case.kind,
        semantic: 0,
        spatial: 0,
        bottleneck: case.bottleneck,
        width: 0,
        frames_per_token: 2,
        slots: case.slots,
        classes: 0,
    };
    let choice = Choice {
        projector: ProjectorChoice::Fresh(sizes),
        trains_projector: true,
        adapters: case.lora.iter().map(|lora| AdapterChoice::Fresh(lora.clone())).collect(),
        seed: 1,
    };
    let mut family = Family::open(&parts, &choice, Device::Host).unwrap();
    family.decoder.kept.fill(case.kept);
    family
}

fn clip(family: &Family, heard: Heard) -> Clip {
    let (d, wide) = (family.spatial.config.width(), readout::width(CLASSES));
    let filled = |rows: usize, width: usize| {
        Tensor::from_slice(&[rows, width], &(0..rows * width).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>())
    };
    let slots = heard.slots.max(1);
    let spatial = Spatial {
        frames: filled(heard.spatial, d),
        centres: (448, 1024),
        slots: filled(slots, d),
        readouts: filled(slots, wide),
    };
    Clip { semantic: filled(heard.semantic, family.semantic.token_width()), semantic_samples: 320, spatial }
}

/// A step as `twnm-train` makes it; the most bytes of tensors beside those of the family itself.
fn measured(family: &mut Family, case: &Case) -> u64 {
    let before = machine::tensor_bytes()[0];
    let mut optimizer = Optimizer::new(&family.params, AdamW::default(), 0.01, 1.0);
    let Documents { batch, tokens, answer, heard } = case.documents;
    machine::watch_tensors();
    let mut gradient = Tensor::zeros(&[family.params.flat_len()]);
    {
        let clips: Vec<Clip> = (0..batch).map(|_| clip(family, heard)).collect();
        let given = family.audio_rows(&clips, Ablation::None).unwrap();
        drop(clips);
        let rows = heard.rows(&family.projector.config);
        let document = Document {
            ids: (0..tokens).map(|i| (i * 31 % 600) as u32).collect(),
            is_target: (0..tokens).map(|at| at + answer >= tokens).collect(),
            audio: Some(1..1 + rows),
        };
        let views = vec![&document; batch];
        let mut c = Forward::new(Tape::new().with_products(Threads::All), &family.params);
        let x = family.embedded(&mut c, &views, Some(&given));
        let masked: Vec<(&[u32], &[bool])> = views.iter().map(|d| (&d.ids[..], &d.is_target[..])).collect();
        let targets = Targets::new(&masked, 0.1);
        let packed = family.packed(&views).asking(targets.tails());
        let hidden = family.decoder.hidden(&mut c, &x, &packed, usize::MAX);
        let loss = loss(&mut c, &family.decoder, &hidden, &packed, &targets);
        drop((x, hidden));
        c.gradients(&loss, &mut gradient).unwrap();
    }
    assert!(optimizer.step(&mut family.params, &gradient, 1e-4).is_finite());
    machine::tensor_bytes()[1] - before
}

fn planned(family: &Family, case: &Case) -> u64 {
    let config = family.decoder.config.clone();
    let input = PlanInput {
        mapped: Frozen::F32.bytes(&config),
        hearing: 0,
        scored: Vec::new(),
        on_host: Vec::new(),
        decoder: config,
        lora: case.lora.clone(),
        projector: Some(family.projector.config.clone()),
        frozen: Frozen::F32,
        frozen_bytes: Frozen::F32.bytes(&family.decoder.config),
        activations: DType::F32,
        documents: case.documents,
        kept: case.kept,
        device: Device::Host,
        threads: rayon::current_num_threads(),
        beside: vec![Component { name: "nothing", bytes: 0 }],
    };
    let plan = input.plan();
    assert_eq!(plan.components.iter().map(|c| c.bytes).sum::<u64>(), plan.total);
    // The trained parameters themselves lie in the family.
    plan.tensors - 4 * family.params.flat_len() as u64
}

fn cases() -> Vec<Case> {
    let of = |batch, tokens, answer, semantic, spatial, slots| Documents {
        batch,
        tokens,
        answer,
        heard: Heard { semantic, spatial, slots },
    };
    let lora = Some(LoraConfig::new(8, 32.0, &LINEARS));
    let shapes = [of(1, 128, 30, 100, 31, 0), of(3, 64, 63, 21, 8, 0), of(2, 200, 20, 350, 99, 0)];
    let mut all = Vec::new();
    for (i, kind) in [Kind::P2, Kind::P1, Kind::P0].into_iter().enumerate() {
        for slots in [0, 1 + i] {
            let at = |shape: usize| {
                let documents = shapes[shape % 3];
                let heard = Heard { slots, ..documents.heard };
                let room = documents.tokens - heard.semantic.div_ceil(2) - slots - 1;
                Documents { heard, answer: documents.answer.min(room), ..documents }
            };
            let case = |decoder, bottleneck, lora: &Option<LoraConfig>, kept, shape| Case {
                decoder,
                kind,
                slots: slots > 0,
                bottleneck,
                lora: lora.clone(),
                kept,
                documents: at(shape),
            };
            all.push(case("wide", 128, &None, Kept::Products, i));
            all.push(case("wide", 128, &lora, Kept::Attention, i + 1));
            all.push(case("wide", 128, if slots > 0 { &lora } else { &None }, Kept::Input, i + 2));
            // Where the projector is most of it.
            all.push(case("dec", 1024, &None, Kept::Products, i + 1));
            all.push(case("dec", 256, &lora, Kept::Products, i + 2));
        }
    }
    all
}

#[test]
fn the_plan_with_a_projector_is_never_below_and_at_most_three_percent_above() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let mut wrong = Vec::new();
    for case in cases() {
        let mut family = open(folder.path(), &case);
        let (planned, found) = (planned(&family, &case), measured(&mut family, &case));
        let share = planned as f64 / found as f64 - 1.0;
        let Case { decoder, kind, slots, bottleneck, kept, documents, .. } = &case;
        let is_adapted = case.lora.is_some();
        let name = format!("{decoder} {kind:?} {slots} {bottleneck} {kept:?} {is_adapted} {documents:?}");
        eprintln!("{share:+.4} {planned} planned, {found} found: {name}");
        if !(0.0..=0.03).contains(&share) {
            wrong.push(format!("{share:+.4}: {name}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
