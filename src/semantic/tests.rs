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
