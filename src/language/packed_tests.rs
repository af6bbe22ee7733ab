//! Decoders whose linear layers are packed: the numbers of the decoder with the unpacked weights, and what bitsandbytes packs.

use super::*;
use crate::language::store;
use crate::nn::ParamId;
use crate::ops::packed::{Packed, Packing, Weight};
use crate::ops::quantize;
use crate::tensor::DType;
use std::path::PathBuf;

const BOTH: [Packing; 2] = [Packing::Int8, Packing::Nf4];

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Parameters with packed linear layers, and the same with the weights that these unpack to.
fn both(params: &mut Params, packing: Packing) -> Params {
    let mut plain = params.to(Device::Host);
    let infos = params.infos().clone();
    for (id, _) in params.ids().zip(infos.iter()).filter(|(_, info)| info.name.ends_with("_proj.weight")) {
        let packed = quantize::packed(&params.tensor(id), packing);
        plain.set_frozen(id, packed.unpacked(DType::F32, Threads::One));
        params.set_packed(id, packed);
    }
    plain
}

#[test]
fn a_packed_decoder_computes_what_its_unpacked_weights_do() {
    for (packing, has_magnitudes) in [(Packing::Int8, false), (Packing::Nf4, false), (Packing::Nf4, true)] {
        let (mut decoder, mut params) = model(&LINEARS, has_magnitudes);
        let plain = both(&mut params, packing);
        let rows = rows(&LENGTHS, 1);
        let expected = whole(&decoder, &plain, &rows, true);
        for kept in [Kept::Products, Kept::Attention, Kept::Input] {
            decoder.kept = vec![kept; 3];
            assert!(expected == whole(&decoder, &params, &rows, true), "{packing:?} {kept:?}");
        }
        // Without adapters, and with so few rows that weights are unpacked in the cache.
        let few = self::rows(&[(5, 2)], 2);
        assert!(logits(&decoder, &params, &few) == logits(&decoder, &plain, &few), "{packing:?}");
        let base = |params: &Params| {
            let mut c = Forward::new(Tape::without_gradients(), params);
            let x = decoder.embed(&mut c, &ids_of(&few));
            decoder.hidden(&mut c, &x, &documents(&few, Device::Host), 0).data().to_vec()
        };
        assert!(base(&params) == base(&plain), "{packing:?}");
    }
}

#[test]
fn a_packed_decoder_generates_what_its_unpacked_weights_do() {
    for packing in BOTH {
        let (decoder, mut params) = model(&LINEARS, false);
        let plain = both(&mut params, packing);
        let rows = rows(&[(9, 1), (14, 1)], 4);
        let generate = |params: &Params, products: Threads| {
            let room = Room { capacity: 40, active: usize::MAX, products };
            let embedded = |c: &mut Forward| decoder.embed(c, &ids_of(&rows).to(params.device()));
            let documents = documents(&rows, params.device());
            let (mut decoding, mut logits) = Decoding::start(&decoder, params, embedded, &documents, room).unwrap();
            let mut tokens = Vec::new();
            for _ in 0..12 {
                let next = greedy(&logits);
                logits = decoding.step(&next, &[true, true]).unwrap();
                tokens.push(next);
            }
            tokens
        };
        for products in [Threads::One, Threads::All, Threads::Apart] {
            assert_eq!(generate(&params, products), generate(&plain, products), "{packing:?} {products:?}");
        }
        #[cfg(feature = "emu")]
        assert_eq!(generate(&params.to(Device::Emu), Threads::All), generate(&plain, Threads::All), "{packing:?} emu");
    }
}

#[cfg(feature = "emu")]
#[test]
fn the_emulator_trains_beside_packed_weights() {
    for packing in BOTH {
        let (decoder, mut params) = model(&LINEARS, false);
        both(&mut params, packing);
        let rows = rows(&[(9, 2), (17, 16)], 1);
        let (here, there) =
            (whole(&decoder, &params, &rows, true), whole(&decoder, &params.to(Device::Emu), &rows, true));
        assert!((here.0 - there.0).abs() < 1e-5, "{packing:?}: {} {}", here.0, there.0);
        for place in params.places() {
            let part =
                |all: &[f32]| all[place.offset..][..place.len].iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            let error = relative_l2(&part(&there.1), &part(&here.1));
            assert!(error < 1e-5, "{packing:?} {}: {error:e}", place.name);
        }
    }
}

/// The linear weights of a golden folder, packed as they are stored or as `packing` says.
fn linears(name: &str, packing: Option<Packing>) -> Vec<(String, Packed)> {
    let files = store::open_decoder(&golden(name)).unwrap();
    let mut builder = Builder::new();
    Decoder::new(&mut builder, &files.config, &Build { prefix: "", is_frozen: true, adapters: &[] });
    let mut params = builder.finish(0);
    store::load_base(&mut params, "", &files.weights, "", packing).unwrap();
    let held = files.held(packing).unwrap();
    let of = |id: ParamId| match params.weight(id) {
        Weight::Packed(packed) => Some((params.info(id).name.clone(), (*packed).clone())),
        Weight::Plain(_) => None,
    };
    let is_matrix = |id: &ParamId| params.info(*id).shape.as_slice().len() > 1;
    let all: Vec<(String, Packed)> = params.ids().filter(is_matrix).filter_map(of).collect();
    let packed: usize = all.iter().map(|(_, packed)| packed.bytes()).sum();
    let rest = params.ids().filter(|id| all.iter().all(|(name, _)| *name != params.info(*id).name));
    let plain: usize = rest.map(|id| 4 * params.info(id).shape.len()).sum();
    assert_eq!(held.bytes, (packed + plain) as u64, "{name} {packing:?}: bytes that are planned");
    all
}

#[test]
fn weights_are_packed_as_bitsandbytes_packs_them() {
    for (name, packing) in [("qwen2-int8", Packing::Int8), ("qwen2-nf4", Packing::Nf4)] {
        let (theirs, ours) = (linears(name, None), linears("qwen2-nf4-plain", Some(packing)));
        assert_eq!(theirs.len(), 14);
        for ((name, theirs), (other, ours)) in theirs.iter().zip(&ours) {
            assert_eq!(name, other);
            let [a, b] = [theirs, ours].map(|packed| packed.unpacked(DType::F32, Threads::One));
            // For int8 bitsandbytes rounds weights to f16 first: the scales differ, and numbers at a half go the other way.
            let (limit, most) = if packing == Packing::Int8 { (1e-3, 50) } else { (1e-5, 200) };
            let differ = a.data().iter().zip(b.data()).filter(|(a, b)| (*a - *b).abs() > limit * a.abs()).count();
            // A number in the middle between two of the code may go either way.
            assert!(differ * most <= a.len(), "{name} {packing:?}: {differ} of {} numbers", a.len());
            // And no number by more than a step of its row, or a gap of the code.
            let largest = a.data().iter().fold(0.0f32, |most, v| most.max(v.abs()));
            let step = if packing == Packing::Int8 { 1.01 / 127.0 } else { 0.31 };
            assert!(a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() <= step * largest), "{name} {packing:?}");
        }
    }
}

#[test]
fn weights_that_are_packed_otherwise_are_not_packed_again() {
    let files = store::open_decoder(&golden("qwen2-nf4")).unwrap();
    let mut builder = Builder::new();
    Decoder::new(&mut builder, &files.config, &Build { prefix: "", is_frozen: true, adapters: &[] });
    let mut params = builder.finish(0);
    let error = store::load_base(&mut params, "", &files.weights, "", Some(Packing::Int8)).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Usage);
    store::load_base(&mut params, "", &files.weights, "", Some(Packing::Nf4)).unwrap();
}

#[test]
fn weights_of_zeros_and_of_any_size_are_packed() {
    for (rows, columns) in [(1, 1), (3, 21), (1, 64), (5, 63), (7, 2341)] {
        for packing in BOTH {
            let zeros = quantize::packed(&Tensor::zeros(&[rows, columns]), packing);
            assert!(zeros.unpacked(DType::F32, Threads::All).data().iter().all(|&v| v == 0.0), "{rows} x {columns}");
            assert_eq!(zeros.bytes(), quantize::bytes([rows, columns], packing), "{rows} x {columns}");
            let mut rng = Rng::new(1, "weights", 0);
            let numbers: Vec<f32> = (0..rows * columns).map(|_| rng.normal() as f32).collect();
            let weight = Tensor::from_slice(&[rows, columns], &numbers);
            for weight in [weight.clone(), weight.to_bf16(Device::Host)] {
                let again = quantize::packed(&weight, packing).unpacked(DType::F32, Threads::All);
                let plain = weight.to_host_f32();
                let most = plain.data().iter().fold(0.0f32, |most, v| most.max(v.abs()));
                // Half of the widest gap between numbers of the code: 1/254 and 0.152 of the largest.
                let gap = if packing == Packing::Int8 { 0.004 } else { 0.16 };
                let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= gap * most;
                assert!(plain.data().iter().zip(again.data()).all(is_near), "{packing:?} {rows} x {columns}");
            }
        }
    }
}
