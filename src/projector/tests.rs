//! Spans of tokens, ablations, folders, devices, and the tape's gradient against differences.

use super::*;
use crate::device::Device;
use crate::nn::Params;
use crate::rng::Rng;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::{Entry, Tensors, write};

fn config(kind: Kind, slots: bool) -> ProjectorConfig {
    let classes = if slots { 2 } else { 0 };
    ProjectorConfig { kind, semantic: 6, spatial: 4, bottleneck: 5, width: 3, frames_per_token: 2, slots, classes }
}

fn random(rng: &mut Rng, shape: &[usize]) -> Tensor {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
    Tensor::from_slice(shape, &numbers)
}

fn clip(rng: &mut Rng, frames: usize, cells: usize) -> Clip {
    let spatial = Spatial {
        frames: random(rng, &[cells, 4]),
        centres: (448, 1024),
        slots: random(rng, &[3, 4]),
        readouts: random(rng, &[3, readout::width(2)]),
    };
    Clip { semantic: random(rng, &[frames, 6]), semantic_samples: 320, spatial }
}

fn built(config: ProjectorConfig) -> (Projector, Params) {
    let mut builder = Builder::new();
    let projector = Projector::new(&mut builder, config).unwrap();
    (projector, builder.finish(3))
}

fn values(projector: &Projector, params: &Params, batch: &Batch) -> Tensor {
    let mut c = Forward::new(Tape::without_gradients(), params);
    projector.forward(&mut c, batch).tensor().to_host_f32()
}

#[test]
fn clips_in_a_batch_do_not_see_each_other() {
    let mut rng = Rng::new(1, "projector", 0);
    let clips = [clip(&mut rng, 9, 3), clip(&mut rng, 1, 1), clip(&mut rng, 20, 7)];
    for (kind, slots) in [(Kind::P0, true), (Kind::P1, false), (Kind::P2, true), (Kind::P2, false)] {
        let (projector, params) = built(config(kind, slots));
        let batch = Batch::new(&projector.config, &clips, Ablation::None).unwrap();
        let more = if slots { 3 } else { 0 };
        assert_eq!(batch.counts, [5 + more, 1 + more, 10 + more]);
        let all = values(&projector, &params, &batch);
        for (clip, range) in clips.iter().zip(batch.ranges()) {
            let one = Batch::new(&projector.config, std::slice::from_ref(clip), Ablation::None).unwrap();
            let (alone, among) = (values(&projector, &params, &one), all.rows(range.start, range.len()));
            // Products of few rows add in another order: rounding of numbers below one.
            assert!(alone.data().iter().zip(among.data()).all(|(a, b)| (a - b).abs() < 1e-6));
        }
        let there = values(&projector, &params.to(Device::Emu), &batch.to(Device::Emu));
        let error = all.data().iter().zip(there.data()).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(error < 1e-5, "{kind:?}: {error}");
    }
}

#[test]
fn what_an_ablation_takes_has_no_effect() {
    let mut rng = Rng::new(2, "projector", 0);
    let (here, there) = (clip(&mut rng, 8, 3), clip(&mut rng, 8, 3));
    let (projector, params) = built(config(Kind::P2, true));
    let of = |semantic: &Clip, spatial: &Clip, ablation| {
        let clip = Clip { spatial: spatial.spatial.clone(), ..semantic.clone() };
        let batch = Batch::new(&projector.config, &[clip], ablation).unwrap();
        (batch.counts[0], values(&projector, &params, &batch).data().to_vec())
    };
    let whole = of(&here, &here, Ablation::None);
    assert_ne!(whole.1, of(&here, &there, Ablation::None).1, "another scene's spatial features are heard");
    let without = of(&here, &here, Ablation::ZeroSpatial);
    assert_eq!((whole.0, without.0), (4 + 3, 4), "no slots");
    assert_eq!(without, of(&here, &there, Ablation::ZeroSpatial));
    assert_ne!(without, of(&there, &here, Ablation::ZeroSpatial));
    assert_eq!(of(&here, &here, Ablation::NoAudio), of(&there, &there, Ablation::NoAudio));
}

#[test]
fn the_gradient_is_the_slope_along_a_random_direction() {
    let mut rng = Rng::new(3, "projector", 0);
    let clips = [clip(&mut rng, 5, 2), clip(&mut rng, 3, 2)];
    for (kind, slots) in [(Kind::P0, false), (Kind::P1, true), (Kind::P2, true)] {
        let (projector, mut params) = built(config(kind, slots));
        let batch = Batch::new(&projector.config, &clips, Ablation::None).unwrap();
        let seed = random(&mut rng, values(&projector, &params, &batch).shape());
        let mut c = Forward::new(Tape::new(), &params);
        let y = projector.forward(&mut c, &batch);
        let mut flat = Tensor::zeros(&[params.flat_len()]);
        c.gradients_from(&y, seed.clone(), &mut flat).unwrap();
        drop(y);
        // Along the gradient itself and one random direction: central differences in f32.
        let norm = flat.data().iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let steepest: Vec<f32> = flat.data().iter().map(|g| g / norm as f32).collect();
        let chance: Vec<f32> = (0..flat.len()).map(|_| rng.normal() as f32 / (flat.len() as f32).sqrt()).collect();
        for direction in [steepest, chance] {
            let start = params.flat().to_vec();
            let mut at = |h: f32| {
                params.flat_mut().iter_mut().zip(&start).zip(&direction).for_each(|((p, s), d)| *p = s + h * d);
                let y = values(&projector, &params, &batch);
                y.data().iter().zip(seed.data()).map(|(y, s)| f64::from(y * s)).sum::<f64>()
            };
            let h = 5e-3;
            let slope = (at(h) - at(-h)) / (2.0 * f64::from(h));
            at(0.0);
            let exact: f64 = flat.data().iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            assert!((slope - exact).abs() < 2e-3 * norm, "{kind:?}: {slope} against {exact}");
        }
    }
}

#[test]
fn folders_give_the_same_projector_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = Builder::new();
    let projector = builder.under("projector.", |b| Projector::new(b, config(Kind::P2, true))).unwrap();
    let params = builder.finish(5);
    projector.save(&params, "projector.", folder.path()).unwrap();
    let (again, loaded) = Projector::open(folder.path()).unwrap();
    assert_eq!(again.config, projector.config);
    let batch = Batch::new(&again.config, &[clip(&mut Rng::new(4, "p", 0), 4, 2)], Ablation::None).unwrap();
    assert_eq!(values(&again, &loaded, &batch).data(), values(&projector, &params, &batch).data());
    let expect = |part: &str| {
        let error = Projector::open(folder.path()).err().expect("an error");
        assert!(error.kind() == crate::error::Kind::Data && error.to_string().contains(part), "{error}");
    };
    let config_file = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config_file).unwrap();
    for (from, to, part) in [
        ("\"bottleneck\": 5", "\"bottleneck\": 30000", "numbers"),
        ("\"width\": 3", "\"width\": 2", "out.weight"),
        ("\"semantic\": 6", "\"semantic\": 7", "even"),
        ("\"p2\"", "\"p3\"", "p3"),
        ("\"classes\": 2", "\"classes\": 0", "classes"),
        ("\"slots\"", "\"slot\"", "slot"),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(&config_file, text.replace(from, to)).unwrap();
        expect(part);
    }
    std::fs::write(&config_file, &text).unwrap();
    let path = folder.path().join("model.safetensors");
    let file = Tensors::open(&path).unwrap();
    let names: Vec<&str> = file.names().filter(|n| *n != "norm.bias").collect();
    let entries: Vec<Entry> = names
        .iter()
        .map(|n| Entry::new(n, file.dtype(n).unwrap(), file.shape(n).unwrap(), file.bytes(n).unwrap()))
        .collect();
    write(&path, &entries, &[]).unwrap();
    expect("norm.bias");
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_name() {
    let (projector, _) = built(config(Kind::P2, true));
    let good = clip(&mut Rng::new(5, "p", 0), 4, 2);
    let refused = |clip: Clip, part: &str| {
        let error = Batch::new(&projector.config, &[clip], Ablation::None).err().expect("an error");
        assert!(error.message().contains(part), "{error}");
    };
    refused(Clip { semantic: Tensor::zeros(&[4, 5]), ..good.clone() }, "semantic frames [4, 5]");
    refused(Clip { semantic: Tensor::zeros(&[0, 6]), ..good.clone() }, "semantic frames [0, 6]");
    let spatial = Spatial { frames: Tensor::zeros(&[2, 3]), ..good.spatial.clone() };
    refused(Clip { spatial, ..good.clone() }, "spatial frames [2, 3]");
    let spatial = Spatial { readouts: Tensor::zeros(&[2, 11]), ..good.spatial.clone() };
    refused(Clip { spatial, ..good.clone() }, "read-outs [2, 11]");
    assert!(Batch::new(&projector.config, &[], Ablation::None).is_err());
}
