//! Layouts of folders, windows, and files that are damaged or lie.

use super::*;
use crate::error::Kind;
use crate::weights::{Dtype, Entry, Tensors, write};
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn audio(folder: &Path) -> Vec<f32> {
    Tensors::open(&folder.join("expected.safetensors")).unwrap().f32("audio").unwrap().into_owned()
}

/// A tensor that is written under another name.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

fn stored(path: &Path) -> Vec<Stored> {
    let file = Tensors::open(path).unwrap();
    let one = |n: &str| {
        (n.to_string(), file.dtype(n).unwrap(), file.shape(n).unwrap().to_vec(), file.bytes(n).unwrap().to_vec())
    };
    file.names().map(one).collect()
}

fn save(path: &Path, tensors: &[Stored]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let entries: Vec<Entry> = tensors.iter().map(|(n, d, s, b)| Entry::new(n, *d, s, b)).collect();
    write(path, &entries, &[]).unwrap();
}

/// A copy of a golden without its expected values, and its tensors.
fn copy(name: &str) -> (tempfile::TempDir, Vec<Stored>) {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden(name).join(file), folder.path().join(file)).unwrap();
    }
    let tensors = stored(&folder.path().join("model.safetensors"));
    (folder, tensors)
}

#[track_caller]
fn expect_error(folder: &Path, kind: Kind, part: &str) {
    let error = SemanticEncoder::open(folder).err().expect("an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn nvidias_folders_hold_the_same_model() {
    let (folder, tensors) = copy("af3-windows");
    let parts = |prefix: &str| {
        let part = tensors.iter().filter_map(|(n, d, s, b)| Some((n.strip_prefix(prefix)?.to_string(), *d, s, b)));
        part.map(|(n, d, s, b)| (n, d, s.clone(), b.clone())).collect::<Vec<Stored>>()
    };
    let other = tempfile::tempdir().unwrap();
    let tower = other.path().join("sound_tower");
    save(&tower.join("model.safetensors"), &parts("audio_tower."));
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    std::fs::write(tower.join("config.json"), config["audio_config"].to_string()).unwrap();
    let mut projector = parts("multi_modal_projector.");
    for tensor in &mut projector {
        tensor.0 = tensor.0.replace("linear_1", "layers.0").replace("linear_2", "layers.2");
    }
    save(&other.path().join("sound_mm_projector/model.safetensors"), &projector);
    let audio = audio(&golden("af3-windows"));
    let encode = |folder: &Path| SemanticEncoder::open(folder).unwrap().encode(&audio[..40_000]).unwrap();
    let (a, b) = (encode(folder.path()), encode(other.path()));
    assert_eq!((a.shape(), a.data()), (b.shape(), b.data()));
    assert_eq!(a.shape(), [62, 24], "125 positions, pairs averaged per window of 100: 50 + 12");
    projector.retain(|t| t.0 != "layers.2.bias");
    save(&other.path().join("sound_mm_projector/model.safetensors"), &projector);
    expect_error(other.path(), Kind::Data, "linear_2.bias");
}

#[test]
fn names_with_and_without_model_are_the_same_but_not_both() {
    let (folder, mut tensors) = copy("whisper-tiny-random");
    let path = folder.path().join("model.safetensors");
    let audio = &audio(&golden("whisper-tiny-random"))[..4000];
    let plain = SemanticEncoder::open(folder.path()).unwrap().encode(audio).unwrap();
    tensors.iter_mut().for_each(|t| t.0 = format!("model.{}", t.0));
    save(&path, &tensors);
    let prefixed = SemanticEncoder::open(folder.path()).unwrap().encode(audio).unwrap();
    assert_eq!(plain.data(), prefixed.data());
    assert_eq!(plain.shape(), [13, 48], "ceil(50 x 0.25 s)");
    let mut twice = tensors[tensors.len() - 1].clone();
    twice.0 = twice.0.replace("model.", "");
    tensors.push(twice);
    save(&path, &tensors);
    expect_error(folder.path(), Kind::Data, "are the same parameter");
}

#[test]
fn what_is_missing_unknown_or_of_another_shape_is_named() {
    let (folder, tensors) = copy("whisper-tiny-random");
    let path = folder.path().join("model.safetensors");
    let mut fewer = tensors.clone();
    fewer.retain(|t| t.0 != "encoder.layers.1.fc2.bias");
    save(&path, &fewer);
    expect_error(folder.path(), Kind::Data, "layers.1.fc2.bias");
    let mut more = tensors.clone();
    more.push(("encoder.layers.0.self_attn.k_proj.bias".into(), Dtype::F32, vec![48], vec![0; 192]));
    save(&path, &more);
    expect_error(folder.path(), Kind::Data, "k_proj.bias");
    let mut other = tensors.clone();
    other.push(("language_model.norm.weight".into(), Dtype::F32, vec![1], vec![0; 4]));
    save(&path, &other);
    expect_error(folder.path(), Kind::Data, "language_model.norm.weight");
    let mut broken = tensors.clone();
    let at = broken.iter().position(|t| t.0 == "encoder.conv2.weight").unwrap();
    broken[at].3[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    save(&path, &broken);
    expect_error(folder.path(), Kind::Data, "not finite");
    save(&path, &tensors);
    SemanticEncoder::open(folder.path()).unwrap();
    std::fs::remove_file(&path).unwrap();
    expect_error(folder.path(), Kind::Missing, "model.safetensors");
}

#[test]
fn sizes_of_config_json_are_held_to_limits_and_to_the_weights() {
    let (folder, _) = copy("whisper-tiny-random");
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let cases = [
        ("\"d_model\": 48", "\"d_model\": 44", "shape"),
        ("\"d_model\": 48", "\"d_model\": 9223372036854775807", "d_model"),
        ("\"d_model\": 48", "\"d_model\": -1", "d_model"),
        ("\"encoder_attention_heads\": 4", "\"encoder_attention_heads\": 5", "encoder_attention_heads"),
        ("\"encoder_attention_heads\": 4", "\"encoder_attention_heads\": 0", "encoder_attention_heads"),
        ("\"encoder_layers\": 2", "\"encoder_layers\": 1", "layers.1"),
        ("\"encoder_layers\": 2", "\"encoder_layers\": 3", "layers.2"),
        ("\"encoder_layers\": 2", "\"encoder_layers\": 2, \"num_hidden_layers\": 7", "num_hidden_layers"),
        ("\"num_mel_bins\": 80", "\"num_mel_bins\": 400", "num_mel_bins"),
        ("\"max_source_positions\": 1500", "\"max_source_positions\": 1", "max_source_positions"),
        ("\"activation_function\": \"gelu\"", "\"activation_function\": \"relu\"", "activation_function"),
        ("\"model_type\": \"whisper\"", "\"model_type\": \"wav2vec2\"", "model_type"),
    ];
    for (from, to, part) in cases {
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        expect_error(folder.path(), Kind::Data, part);
    }
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    expect_error(folder.path(), Kind::Data, "not valid JSON");
    std::fs::write(&path, text).unwrap();
    std::fs::write(folder.path().join("preprocessor_config.json"), "{\"hop_length\": 320}").unwrap();
    expect_error(folder.path(), Kind::Data, "hop_length");
}

#[test]
fn audio_that_is_too_long_or_not_finite_is_refused() {
    let encoder = SemanticEncoder::open(&golden("whisper-windows-bf16")).unwrap();
    let window = encoder.config.window_samples();
    assert_eq!(window, 32_000);
    assert_eq!(encoder.cut(&vec![0.0; WINDOWS_MAX * window]).unwrap().len(), WINDOWS_MAX);
    let long = encoder.cut(&vec![0.0; WINDOWS_MAX * window + 1]).unwrap_err();
    assert!(long.kind() == Kind::Data && long.message().contains("at most 40.0 s"), "{long}");
    assert_eq!(encoder.cut(&[]).unwrap_err().kind(), Kind::Data);
    assert!(encoder.cut(&[0.0, f32::NAN]).unwrap_err().message().contains("sample 1"));
    // A single sample is one token of Whisper, but none of Audio Flamingo 3, as in Transformers.
    assert_eq!(encoder.encode(&[0.1]).unwrap().shape(), [1, 32]);
    let flamingo = SemanticEncoder::open(&golden("af3-windows")).unwrap();
    assert!(flamingo.encode(&[0.1; 320]).unwrap_err().message().contains("too short"));
    assert_eq!(flamingo.encode(&[0.1; 321]).unwrap().shape(), [1, 24]);
}

#[test]
fn mapped_weights_are_read_where_they_lie_and_devices_agree() {
    let encoder = SemanticEncoder::open(&golden("whisper-windows-bf16")).unwrap();
    let ids: Vec<_> = encoder.params.ids().collect();
    let matrices = ids.iter().map(|&id| encoder.params.tensor(id)).filter(|t| t.shape().len() > 1);
    assert!(matrices.filter(|t| t.dtype() == crate::tensor::DType::Bf16).count() >= 14);
    assert_eq!(encoder.params.trained_count(), 0);
    let clip = &audio(&golden("whisper-windows-bf16"))[..33_000];
    let here = encoder.encode(clip).unwrap();
    let there = encoder.to(Device::Emu).encode(clip).unwrap();
    let wide = |t: &Tensor| t.data().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let error = crate::check::relative_l2(&wide(&there), &wide(&here));
    assert!(error < 1e-5, "{error}");
}

mod sets {
    use super::super::cache::{SemanticSet, Storage};
    use super::*;
    use crate::shard::{Labels, Sample, ShardSpec, ShardWriter};
    use std::ops::ControlFlow;

    /// Five scenes of 0.3 s in shards of two.
    fn shards(folder: &Path, seed: u64) {
        let frames = 4800;
        let mut spec = ShardSpec::new(5, frames, seed, &["bell".into()], &serde_json::json!({})).unwrap();
        spec.scenes_per_shard = 2;
        let writer = ShardWriter::open(folder, spec).unwrap();
        for &index in writer.missing() {
            let sample = |i: usize| {
                let mut rng = crate::rng::Rng::new(seed, "scene", i as u64);
                let audio: Vec<f32> = (0..4 * frames).map(|_| rng.normal() as f32 * 0.1).collect();
                Sample::new(&audio, Labels::empty(frames), &serde_json::json!({ "id": i })).unwrap()
            };
            let samples: Vec<Sample> = writer.spec().range(index).map(sample).collect();
            writer.write(index, &samples).unwrap();
        }
        writer.finish().unwrap();
    }

    fn prepare(folder: &Path, encoder: &SemanticEncoder, storage: Storage) -> Result<SemanticSet> {
        SemanticSet::prepare(folder, encoder, storage, &mut |_, _| ControlFlow::Continue(()))
    }

    #[test]
    fn tokens_are_those_of_the_encoder_rounded_once() {
        let folder = tempfile::tempdir().unwrap();
        shards(folder.path(), 1);
        let encoder = SemanticEncoder::open(&golden("whisper-windows-bf16")).unwrap();
        let set = crate::shard::ShardSet::open(folder.path()).unwrap();
        for (storage, unit) in [(Storage::Bf16, 1.0 / 256.0), (Storage::F16, 1.0 / 2048.0)] {
            let missing = SemanticSet::open(folder.path(), &encoder, storage).err().unwrap();
            assert_eq!(missing.kind(), Kind::Missing);
            let tokens = prepare(folder.path(), &encoder, storage).unwrap();
            assert_eq!(tokens.len(), 5);
            for i in 0..5 {
                let mut audio = vec![0.0; 4 * 4800];
                set.read_f32(i, 0, &mut audio);
                let exact = encoder.encode(&audio[..4800]).unwrap();
                let stored = tokens.tokens(i).unwrap();
                assert_eq!(stored.shape(), [15, 32]);
                let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= unit * b.abs() + 1e-6;
                assert!(stored.data().iter().zip(exact.data()).all(is_near));
            }
            SemanticSet::open(folder.path(), &encoder, storage).unwrap();
        }
    }

    #[test]
    fn a_stopped_set_is_continued_to_the_same_bytes() {
        let [whole, stopped] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let encoder = SemanticEncoder::open(&golden("whisper-windows-bf16")).unwrap();
        let [a, b] = [&whole, &stopped].map(|folder| {
            shards(folder.path(), 2);
            folder.path().join(format!("semantic-{}-bf16", &encoder.fingerprint()[..12]))
        });
        prepare(whole.path(), &encoder, Storage::Bf16).unwrap();
        let mut stop = |_: usize, _: usize| ControlFlow::Break(());
        let error = SemanticSet::prepare(stopped.path(), &encoder, Storage::Bf16, &mut stop).err().unwrap();
        assert_eq!(error.kind(), Kind::Stopped);
        std::fs::write(b.join("shard-00000.safetensors"), "damaged meanwhile").unwrap();
        prepare(stopped.path(), &encoder, Storage::Bf16).unwrap();
        let names = |folder: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&a), names(&b));
        for name in names(&a) {
            assert_eq!(std::fs::read(a.join(&name)).unwrap(), std::fs::read(b.join(&name)).unwrap(), "{name:?}");
        }
    }

    #[test]
    fn other_shards_another_encoder_and_damage_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        shards(folder.path(), 3);
        let encoder = SemanticEncoder::open(&golden("whisper-windows-bf16")).unwrap();
        prepare(folder.path(), &encoder, Storage::F16).unwrap();
        let place = folder.path().join(format!("semantic-{}-f16", &encoder.fingerprint()[..12]));
        let refused = |kind: Kind, part: &str| {
            let error = SemanticSet::open(folder.path(), &encoder, Storage::F16).err().expect("an error");
            assert!(error.kind() == kind && error.to_string().contains(part), "{error}");
        };
        let other = SemanticEncoder::open(&golden("whisper-tiny-random")).unwrap();
        assert_ne!(other.fingerprint(), encoder.fingerprint());
        assert_eq!(SemanticSet::open(folder.path(), &other, Storage::F16).err().unwrap().kind(), Kind::Missing);
        let path = place.join("shard-00001.safetensors");
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bad).unwrap();
        refused(Kind::Integrity, "shard-00001.safetensors is damaged");
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        refused(Kind::Integrity, "damaged");
        std::fs::write(&path, &good).unwrap();
        let manifest = std::fs::read_to_string(place.join("manifest.json")).unwrap();
        let fingerprint = encoder.fingerprint();
        for (from, to) in [(fingerprint.as_str(), "0"), ("\"f16\"", "\"bf16\"")] {
            std::fs::write(place.join("manifest.json"), manifest.replace(from, to)).unwrap();
            refused(Kind::Integrity, "another encoder");
        }
        std::fs::write(place.join("manifest.json"), &manifest[1..]).unwrap();
        refused(Kind::Data, "manifest.json");
        std::fs::write(place.join("manifest.json"), &manifest).unwrap();
        SemanticSet::open(folder.path(), &encoder, Storage::F16).unwrap();
        // The same place, other shards.
        for name in ["manifest.json", "scenes.jsonl", "shard-00000.safetensors"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        for index in 1..3 {
            std::fs::remove_file(folder.path().join(format!("shard-{index:05}.safetensors"))).unwrap();
        }
        shards(folder.path(), 4);
        refused(Kind::Integrity, "was made from another shard-00000.safetensors");
        assert_eq!(prepare(folder.path(), &encoder, Storage::F16).err().unwrap().kind(), Kind::Integrity);
    }
}
