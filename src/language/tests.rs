//! The decoder against itself: packed and alone, kept and computed again, cached and whole, host and emulator.

use super::config::DecoderConfig;
use super::decoder::{Adapter, Build, Decoder, Documents, Kept};
use super::generate::{Asked, Continued, Decoding, Room, greedy};
use super::lora::{LINEARS, LoraConfig};
use super::loss::{Targets, loss};
use super::store::PEFT_PREFIX;
use crate::check::relative_l2;
use crate::device::Device;
use crate::device::product::Threads;
use crate::nn::{Builder, Forward, Home, Params};
use crate::ops::sample::{Choice, Sampling};
use crate::rng::Rng;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

fn config() -> DecoderConfig {
    DecoderConfig {
        vocabulary: 53,
        hidden: 24,
        intermediate: 40,
        layers: 3,
        heads: 6,
        heads_kv: 2,
        width: 4,
        rope_theta: 1e4,
        rms_norm_eps: 1e-6,
        tied: false,
        positions: 128,
        initializer_range: 0.1,
    }
}

/// A decoder with an adapter that changes something.
fn model(targets: &[&str], has_magnitudes: bool) -> (Decoder, Params) {
    let lora = LoraConfig { has_magnitudes, ..LoraConfig::new(3, 6.0, targets) };
    let adapters = [Adapter { prefix: PEFT_PREFIX.into(), config: lora, is_frozen: false }];
    let mut builder = Builder::new();
    let build = Build { prefix: "", is_frozen: true, adapters: &adapters };
    let decoder = Decoder::new(&mut builder, &config(), &build);
    let mut params = builder.finish(3);
    let infos = params.infos().clone();
    for (id, info) in params.ids().zip(infos.iter()) {
        let mut rng = Rng::new(5, &info.name, 0);
        let centre = if info.name.contains("norm") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..info.shape.len()).map(|_| (centre + 0.2 * rng.normal()) as f32).collect();
        match info.home {
            Home::Frozen { .. } => params.set_frozen(id, Tensor::from_slice(info.shape.as_slice(), &values)),
            Home::Trained { .. } => params.set_one(id, &values),
        }
    }
    (decoder, params)
}

type Row = (Vec<u32>, Vec<bool>);

/// Documents of these lengths, the last `answer` tokens of each asked for.
fn rows(lengths: &[(usize, usize)], seed: u64) -> Vec<Row> {
    let row = |(i, &(n, answer)): (usize, &(usize, usize))| {
        let mut rng = Rng::new(seed, "rows", i as u64);
        let ids = (0..n).map(|_| rng.below(config().vocabulary) as u32).collect();
        (ids, (0..n).map(|at| at + answer >= n).collect())
    };
    lengths.iter().enumerate().map(row).collect()
}

fn views(rows: &[Row]) -> Vec<(&[u32], &[bool])> {
    rows.iter().map(|(ids, asked)| (ids.as_slice(), asked.as_slice())).collect()
}

fn ids_of(rows: &[Row]) -> Tensor {
    let ids: Vec<i32> = rows.iter().flat_map(|(ids, _)| ids).map(|&id| id as i32).collect();
    Tensor::from_slice(&[1, ids.len()], &ids)
}

fn documents(rows: &[Row], device: Device) -> Documents {
    let lengths: Vec<usize> = rows.iter().map(|(ids, _)| ids.len()).collect();
    Documents::new(&lengths, &config(), device)
}

/// The loss with every answer token weighing `weight`, and the gradient, added to `flat`.
fn gradient(
    (decoder, params): (&Decoder, &Params),
    rows: &[Row],
    (weight, asks): (f32, bool),
    flat: &mut Tensor,
) -> f32 {
    let device = params.device();
    let mut c = Forward::new(Tape::new().with_products(Threads::All), params);
    let targets = Targets::new(&views(rows), weight);
    let all = documents(rows, device);
    let documents = if asks { all.asking(targets.tails()) } else { all };
    let x = decoder.embed(&mut c, &ids_of(rows).to(device));
    let hidden = decoder.hidden(&mut c, &x, &documents, usize::MAX);
    let loss = loss(&mut c, decoder, &hidden, &documents, &targets);
    let value = loss.tensor().item();
    c.gradients(&loss, flat).unwrap();
    value
}

/// The same on all rows at once, with the mean over their tokens.
fn whole(decoder: &Decoder, params: &Params, rows: &[Row], asks: bool) -> (f32, Vec<f32>) {
    let mut flat = Tensor::zeros(&[params.flat_len()]).to(params.device());
    let weight = 1.0 / Targets::count_of(&views(rows)) as f32;
    let loss = gradient((decoder, params), rows, (weight, asks), &mut flat);
    (loss, flat.to(Device::Host).data().to_vec())
}

fn logits(decoder: &Decoder, params: &Params, rows: &[Row]) -> Vec<f32> {
    let mut c = Forward::new(Tape::without_gradients(), params);
    let x = decoder.embed(&mut c, &ids_of(rows));
    let hidden = decoder.hidden(&mut c, &x, &documents(rows, Device::Host), usize::MAX);
    decoder.logits(&mut c, &hidden).data().to_vec()
}

/// Each tensor's part of a flat gradient agrees within 1e-6.
fn agree(params: &Params, a: &[f32], b: &[f32]) {
    for place in params.places() {
        let part = |all: &[f32]| all[place.offset..][..place.len].iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let error = relative_l2(&part(a), &part(b));
        assert!(error < 1e-6, "{}: {error:e}", place.name);
    }
}

const LENGTHS: [(usize, usize); 8] = [(9, 2), (1, 0), (17, 16), (33, 5), (4, 1), (12, 7), (21, 3), (2, 1)];

#[test]
fn what_is_kept_does_not_change_a_bit() {
    for (targets, has_magnitudes) in [(&LINEARS[..], false), (&["q_proj", "up_proj"], false), (&LINEARS, true)] {
        let (mut decoder, params) = model(targets, has_magnitudes);
        let rows = rows(&LENGTHS, 1);
        let kept = whole(&decoder, &params, &rows, true);
        for least in [Kept::Attention, Kept::Input] {
            decoder.kept = vec![least; 3];
            assert!(kept == whole(&decoder, &params, &rows, true), "{targets:?} {least:?}");
        }
        decoder.kept = vec![Kept::Input, Kept::Products, Kept::Attention];
        assert!(kept == whole(&decoder, &params, &rows, true), "{targets:?} mixed");
    }
}

#[test]
fn outputs_that_nobody_asks_for_change_nothing() {
    let (decoder, params) = model(&LINEARS, false);
    let rows = rows(&LENGTHS, 2);
    let (all, some) = (whole(&decoder, &params, &rows, false), whole(&decoder, &params, &rows, true));
    assert!((all.0 - some.0).abs() < 1e-6 * all.0, "{} {}", all.0, some.0);
    agree(&params, &all.1, &some.1);
}

#[test]
fn a_packed_document_is_not_touched_by_the_others() {
    let (decoder, params) = model(&LINEARS, false);
    let (mut some, width) = (rows(&LENGTHS, 3), config().vocabulary);
    let before = logits(&decoder, &params, &some);
    let other = rows(&LENGTHS, 4);
    some[2] = other[2].clone();
    let after = logits(&decoder, &params, &some);
    let mut at = 0;
    for (i, (ids, _)) in some.iter().enumerate() {
        let range = at * width..(at + ids.len()) * width;
        assert_eq!(before[range.clone()] == after[range.clone()], i != 2, "document {i}");
        if i != 2 {
            let alone = logits(&decoder, &params, &some[i..=i]);
            let wide = |x: &[f32]| x.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            assert!(relative_l2(&wide(&alone), &wide(&after[range])) < 1e-6, "document {i} alone");
        }
        at += ids.len();
    }
}

#[test]
fn accumulated_gradients_do_not_depend_on_how_rows_are_grouped() {
    let (decoder, params) = model(&LINEARS, false);
    let rows = rows(&LENGTHS, 5);
    let weight = 1.0 / Targets::count_of(&views(&rows)) as f32;
    let grouped = |size: usize| {
        let mut flat = Tensor::zeros(&[params.flat_len()]);
        for group in rows.chunks(size) {
            gradient((&decoder, &params), group, (weight, true), &mut flat);
        }
        flat.data().to_vec()
    };
    let all = grouped(8);
    for size in [1, 2] {
        agree(&params, &all, &grouped(size));
    }
}

#[test]
fn an_adapter_that_is_off_is_not_there() {
    let (decoder, params) = model(&LINEARS, false);
    let rows = rows(&LENGTHS, 6);
    let mut builder = Builder::new();
    let base = Decoder::new(&mut builder, &config(), &Build { prefix: "", is_frozen: true, adapters: &[] });
    let mut plain = builder.finish(0);
    for (id, info) in plain.ids().zip(plain.infos().clone().iter()) {
        let same = params.infos().iter().position(|other| other.name == info.name).unwrap();
        plain.set_frozen(id, params.tensor(params.ids().nth(same).unwrap()));
    }
    let run = |decoder: &Decoder, params: &Params, active: usize| {
        let mut c = Forward::new(Tape::without_gradients(), params);
        let x = decoder.embed(&mut c, &ids_of(&rows));
        decoder.hidden(&mut c, &x, &documents(&rows, Device::Host), active).data().to_vec()
    };
    assert!(run(&decoder, &params, 0) == run(&base, &plain, usize::MAX));
    assert!(run(&decoder, &params, 1) != run(&base, &plain, usize::MAX));
}

const ROOM: Room = Room { capacity: 64, active: usize::MAX, products: Threads::Apart };

/// Greedy tokens and all logits of prompts that are continued together.
fn continued(decoder: &Decoder, params: &Params, rows: &[Row], new: usize) -> (Vec<Vec<u32>>, Vec<Tensor>) {
    let documents = documents(rows, params.device());
    let ids = ids_of(rows).to(params.device());
    let embedded = |c: &mut Forward| decoder.embed(c, &ids);
    let (mut decoding, mut logits) = Decoding::start(decoder, params, embedded, &documents, ROOM).unwrap();
    let (mut tokens, mut all) = (vec![Vec::new(); rows.len()], vec![logits.to_host_f32()]);
    for _ in 0..new {
        let next = greedy(&logits);
        tokens.iter_mut().zip(&next).for_each(|(t, &id)| t.push(id));
        logits = decoding.step(&next, &vec![true; rows.len()]).unwrap();
        all.push(logits.to_host_f32());
    }
    (tokens, all)
}

#[test]
fn decoding_with_a_cache_gives_what_the_whole_sequence_gives() {
    let (decoder, params) = model(&LINEARS, false);
    let prompts = rows(&[(5, 0), (1, 0), (19, 0)], 7);
    let (tokens, steps) = continued(&decoder, &params, &prompts, 9);
    let width = config().vocabulary;
    for (row, (ids, _)) in prompts.iter().enumerate() {
        let whole: Vec<u32> = ids.iter().chain(&tokens[row]).copied().collect();
        let all = logits(&decoder, &params, &[(whole, vec![])]);
        for (step, found) in steps.iter().enumerate() {
            let wide = |x: &[f32]| x.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            let expected = wide(&all[(ids.len() - 1 + step) * width..][..width]);
            let error = relative_l2(&wide(&found.data()[row * width..][..width]), &expected);
            assert!(error < 1e-5, "sequence {row}, step {step}: {error:e}");
        }
        let alone = continued(&decoder, &params, &prompts[row..=row], 9);
        assert_eq!(alone.0[0], tokens[row]);
        for (a, b) in alone.1.iter().zip(&steps).skip(1) {
            assert_eq!(a.data(), &b.data()[row * width..][..width], "sequence {row}: bytes depend on the batch");
        }
    }
}

#[test]
fn a_prompt_computed_once_serves_a_group() {
    let (decoder, params) = model(&LINEARS, false);
    let prompts = rows(&[(5, 0), (3, 0)], 8);
    let ids = ids_of(&prompts);
    let start = |documents: &Documents| {
        let embedded = |c: &mut Forward| decoder.embed(c, &ids);
        Decoding::start(&decoder, &params, embedded, documents, ROOM).unwrap()
    };
    let documents = documents(&prompts, Device::Host);
    let (one, _) = start(&documents);
    let (mut group, mut one) = (start(&documents).0.expand(3), one);
    let wide = group.step(&[1, 1, 1, 2, 2, 2], &[true; 6]).unwrap();
    let narrow = one.step(&[1, 2], &[true; 2]).unwrap();
    for row in 0..6 {
        assert_eq!(wide.rows(row, 1).data(), narrow.rows(row / 3, 1).data());
    }
}

#[cfg(feature = "emu")]
#[test]
fn the_kernels_give_what_the_host_gives() {
    let (mut decoder, params) = model(&LINEARS, false);
    let rows = rows(&LENGTHS[..4], 9);
    let host = whole(&decoder, &params, &rows, true);
    decoder.kept = vec![Kept::Products, Kept::Attention, Kept::Input];
    let there = params.to(Device::Emu);
    let emulated = whole(&decoder, &there, &rows, true);
    assert!((host.0 - emulated.0).abs() < 1e-5 * host.0, "{} {}", host.0, emulated.0);
    for place in params.places() {
        let part = |all: &[f32]| all[place.offset..][..place.len].iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let error = relative_l2(&part(&emulated.1), &part(&host.1));
        assert!(error < 1e-4, "{}: {error:e}", place.name);
    }
    let prompts = &rows[..2];
    assert_eq!(continued(&decoder, &there, prompts, 5).0, continued(&decoder, &params, prompts, 5).0);
}

#[cfg(feature = "emu")]
#[test]
fn activations_in_bf16_lose_little() {
    let (mut decoder, params) = model(&LINEARS, false);
    let rows = rows(&LENGTHS[..4], 9);
    let host = whole(&decoder, &params, &rows, true);
    decoder.precision = crate::tensor::DType::Bf16;
    let mut there = params.to(Device::Emu);
    there.keep_narrow();
    let (loss, gradient) = whole(&decoder, &there, &rows, true);
    // A rounding to bf16 loses up to 2^-9; a few dozen of them in a row add up to a few per cent.
    assert!((host.0 - loss).abs() < 0.02 * host.0, "{} {loss}", host.0);
    let wide = |x: &[f32]| x.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let error = relative_l2(&wide(&gradient), &wide(&host.1));
    assert!(error < 0.05, "gradients: {error:e}");
    let prompts = &rows[..2];
    let (_, steps) = continued(&decoder, &there, prompts, 2);
    decoder.precision = crate::tensor::DType::F32;
    let (_, exact) = continued(&decoder, &params, prompts, 0);
    let error = relative_l2(&wide(steps[0].data()), &wide(exact[0].data()));
    assert!(error < 0.05, "logits: {error:e}");
}

#[test]
fn a_gradient_flows_to_what_is_spliced_in() {
    let (decoder, params) = model(&LINEARS, false);
    let rows = rows(&[(6, 2)], 10);
    let mut c = Forward::new(Tape::new(), &params);
    let x = decoder.embed(&mut c, &ids_of(&rows));
    let flat = crate::ops::arrange::reshape(&mut c.tape, &x, &[6, 24]);
    let inserted = c.tape.leaf(Tensor::from_slice(&[2, 24], &[0.1; 48]));
    let at = Tensor::from_slice(&[2], &[1i32, 2]);
    let x = crate::ops::embedding::splice(&mut c.tape, &flat, &inserted, &at);
    let x: Var = crate::ops::arrange::reshape(&mut c.tape, &x, &[1, 6, 24]);
    let documents = documents(&rows, Device::Host);
    let hidden = decoder.hidden(&mut c, &x, &documents, usize::MAX);
    let loss = loss(&mut c, &decoder, &hidden, &documents, &Targets::new(&views(&rows), 1.0));
    let grads = c.tape.backward(&loss, Tensor::scalar(1.0)).unwrap();
    assert!(grads.get(&inserted).unwrap().data().iter().any(|&g| g != 0.0));
}

/// Weights that are packed for many sequences change nothing: each goes on as it does among few.
#[test]
fn many_sequences_go_on_as_few_do() {
    let (decoder, params) = model(&LINEARS, false);
    let tokens = |count: usize| {
        let rows = rows(&vec![(7, 1); 11][..count], 3);
        let room = Room { capacity: 20, active: usize::MAX, products: Threads::All };
        let embedded = |c: &mut Forward| decoder.embed(c, &ids_of(&rows));
        let (mut decoding, mut logits) =
            Decoding::start(&decoder, &params, embedded, &documents(&rows, Device::Host), room).unwrap();
        let mut all = vec![Vec::new(); count];
        for _ in 0..12 {
            let next = greedy(&logits);
            all.iter_mut().zip(&next).for_each(|(row, &id)| row.push(id));
            logits = decoding.step(&next, &vec![true; count]).unwrap();
        }
        all
    };
    let many = tokens(11);
    assert_eq!(many[..3], tokens(3));
    assert!(many.iter().any(|row| *row != many[0]));
}

/// Prompts of `rows`, each continued by two sequences that are drawn, on so many threads.
fn drawn(threads: usize, (decoder, params): (&Decoder, &Params), rows: &[Row], numbers: &[u32]) -> Vec<Continued> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let times = numbers.len() / rows.len();
    let prompts: Vec<Vec<u32>> = rows.iter().flat_map(|(ids, _)| std::iter::repeat_n(ids.clone(), times)).collect();
    let choice = Choice::Draw { temperature: 0.8, top_k: Some(40), top_p: 0.95 };
    let sampling = Sampling { choice, repetition_penalty: 1.3 };
    let asked = Asked { sampling, seed: 4, sequences: numbers, ends: &[7], new_max: 20, prompts: &prompts };
    let room = Room { capacity: 120, active: usize::MAX, products: Threads::All };
    pool.install(|| {
        let embedded = |c: &mut Forward| decoder.embed(c, &ids_of(rows));
        let (decoding, logits) =
            Decoding::start(decoder, params, embedded, &documents(rows, Device::Host), room).unwrap();
        let logits: Vec<Tensor> = (0..numbers.len()).map(|i| logits.rows(i / times, 1)).collect();
        let mut decoding = decoding.expand(times);
        let found = decoding.run(Tensor::stacked(&logits), &asked, |i, id| i == 3 && id == 11).unwrap();
        let ended = |(length, (row, one)): (&usize, (usize, &Continued))| {
            // The last token was not appended, unless another sequence went on.
            (one.ids.len().saturating_sub(1)..=one.ids.len()).contains(&(length - rows[row / times].0.len()))
        };
        assert!(decoding.lengths().iter().zip(found.iter().enumerate()).all(ended), "{:?}", decoding.lengths());
        found
    })
}

/// Prompts are computed in parts and sequences divided among threads, and nothing of it is seen in what comes out.
#[test]
fn many_sequences_are_the_same_on_any_number_of_threads() {
    let model = model(&LINEARS, false);
    let lengths: Vec<(usize, usize)> = (0..24).map(|i| (60 + 7 * i % 40, 0)).collect();
    let rows = rows(&lengths, 11);
    let numbers: Vec<u32> = (100..148).collect();
    let one = drawn(1, (&model.0, &model.1), &rows, &numbers);
    assert!(one.iter().any(|s| s.is_whole) && one.iter().any(|s| !s.is_whole), "some sequences end by themselves");
    for threads in [2, 3, 7] {
        assert!(drawn(threads, (&model.0, &model.1), &rows, &numbers) == one, "{threads} threads");
    }
    for i in [0, 25, 47] {
        let alone = drawn(2, (&model.0, &model.1), &rows[i / 2..=i / 2], &numbers[i..=i]);
        assert_eq!(alone[0].ids, one[i].ids, "sequence {i}");
        assert!(alone[0].log_probs.iter().zip(&one[i].log_probs).all(|(a, b)| (a - b).abs() < 1e-4), "sequence {i}");
    }
}

#[path = "packed_tests.rs"]
mod packed;
