//! The models and ops against PyTorch's values, and `twnm verify` against values that were tampered with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use twnm::error::Kind;
use twnm::verify::{Options, Report, verify};
use twnm::weights::{Dtype, Entry, Tensors, write};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[track_caller]
fn check(dir: &Path) -> Report {
    verify(dir, &Options::default()).unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
}

#[test]
fn the_trunk_matches_pytorch() {
    for name in ["encoder-trunk", "encoder-trunk-2"] {
        let report = check(&golden(name));
        assert!(report.is_ok(), "{name}: {:?}", report.outcome());
        assert!(report.tensors.iter().all(|t| t.note.is_none()), "no gradient of the trunk is zero");
        assert!(report.tensors.iter().filter(|t| t.name.starts_with("grad.")).count() >= 40);
    }
}

#[test]
fn the_readout_and_its_loss_match_pytorch() {
    for name in ["encoder-readout", "encoder-readout-2"] {
        let report = check(&golden(name));
        assert!(report.is_ok(), "{name}: {:?}", report.outcome());
        let zero = report.tensors.iter().filter(|t| t.note.is_some()).map(|t| t.name.as_str());
        let known = ["grad.pool.bias", "grad.read_semantic.k.bias", "grad.read_spatial.k.bias"];
        assert!(zero.clone().all(|name| known.contains(&name)), "{:?}", zero.collect::<Vec<_>>());
    }
}

#[test]
fn semantic_encoders_match_transformers() {
    for name in ["whisper-tiny-random", "whisper-short-f16", "whisper-windows-bf16", "af3-windows"] {
        let report = check(&golden(name));
        assert!(report.is_ok(), "{name}: {:?}", report.outcome());
        assert!(report.tensors.len() >= 2, "{name}");
        let features = report.tensors.iter().filter(|t| t.name.starts_with("input_features"));
        assert!(features.clone().count() > 0 && features.clone().all(|t| t.tolerance <= 1e-5), "{name}");
    }
    let report = check(&golden("af3-tiny"));
    assert!(report.is_ok(), "{:?}", report.outcome());
    assert_eq!(report.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["audio_embeds", "logits"]);
}

#[test]
fn projectors_match_pytorch() {
    for (name, gradients) in
        [("projector-p2", 32), ("projector-p2-slots", 33), ("projector-p1", 10), ("projector-p0", 7)]
    {
        let report = check(&golden(name));
        assert!(report.is_ok(), "{name}: {:?}", report.outcome());
        let of = |prefix: &str| report.tensors.iter().filter(|t| t.name.starts_with(prefix)).count();
        assert_eq!((of("grad."), of("d_semantic.") >= 2, of("d_spatial.") >= 2), (gradients, true, true), "{name}");
    }
}

#[test]
fn the_ops_match_pytorch_and_what_is_not_built_is_named() {
    let report = check(&golden("ops"));
    assert_eq!(report.failed(), 0, "{:?}", report.worst());
    assert_eq!(report.missing, ["sapo"]);
    assert_eq!(report.outcome().unwrap_err().kind(), Kind::Unavailable);
}

#[test]
fn the_ops_of_the_decoder_match_numpy() {
    let report = check(&golden("decoder-ops"));
    assert!(report.is_ok(), "{:?}", report.outcome());
    let compared: Vec<&str> = report.tensors.iter().map(|t| t.name.as_str()).collect();
    for name in ["rope.far.out", "rope.near.dx", "swiglu.dgate", "swiglu.dup", "embedding.out", "embedding.dweight"] {
        assert!(compared.contains(&name), "{name} of {compared:?}");
    }
}

#[test]
fn the_decoder_matches_transformers() {
    for name in
        ["qwen2-tiny", "qwen2-tied-bf16-sharded", "qwen2-f16", "qwen2-mha", "qwen2-nf4", "qwen2-nf4-bf16", "qwen2-int8"]
    {
        let report = check(&golden(name));
        assert!(report.is_ok(), "{name}: {:?}", report.outcome());
        assert!(report.tensors.iter().any(|t| t.name == "greedy_tokens" && t.error == 0.0), "{name}");
    }
}

#[test]
fn adapters_match_peft_in_values_gradients_and_five_updates() {
    for name in ["qwen2-tiny-lora", "qwen2-f16-lora", "qwen2-mha-lora", "qwen2-nf4-lora"] {
        let report = check(&golden(name));
        assert!(report.is_ok(), "{name}: {:?}", report.outcome());
        let count = |prefix: &str| report.tensors.iter().filter(|t| t.name.starts_with(prefix)).count();
        assert!(count("grad.") >= 12 && count("grad.") == count("after5."), "{name}");
    }
}

#[test]
fn tokenizers_match_hugging_face() {
    for name in ["tokenizer", "tokenizer-qwen2", "bpe"] {
        let report = check(&golden(name));
        assert!(report.is_ok() && report.kind == "tokenizer", "{name}: {:?}", report.outcome());
    }
    let options = Options { tolerance: Some(1e-3), ..Options::default() };
    assert_eq!(verify(&golden("tokenizer"), &options).unwrap_err().kind(), Kind::Usage);
}

/// A tensor of a file, to be changed and written again.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn stored(path: &Path) -> Vec<Stored> {
    let file = Tensors::open(path).unwrap();
    let tensor = |name: &str| Stored {
        name: name.to_string(),
        dtype: file.dtype(name).unwrap(),
        shape: file.shape(name).unwrap().to_vec(),
        bytes: file.bytes(name).unwrap().to_vec(),
    };
    file.names().map(tensor).collect()
}

fn save(path: &Path, tensors: &[Stored]) {
    let entries: Vec<Entry> = tensors.iter().map(|t| Entry::new(&t.name, t.dtype, &t.shape, &t.bytes)).collect();
    write(path, &entries, &[]).unwrap();
}

/// A copy of a golden whose files may be changed.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Changes the f32 numbers of a tensor.
fn change(tensor: &mut Stored, change: impl FnOnce(&mut [f32])) {
    let mut values: Vec<f32> = tensor.bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    change(&mut values);
    tensor.bytes = bytemuck::cast_slice(&values).to_vec();
}

/// Moves the largest number of an f32 tensor by a thousandth of the tensor's norm (by one when it is nearly zero).
fn disturb(tensor: &mut Stored) {
    change(tensor, |values| {
        let norm = values.iter().map(|v| (*v as f64).powi(2)).sum::<f64>().sqrt() as f32;
        let largest = (0..values.len()).fold(0, |a, b| if values[b].abs() > values[a].abs() { b } else { a });
        values[largest] += if norm > 1e-6 { 1e-3 * norm } else { 1.0 };
    });
}

#[test]
fn a_change_of_any_expected_tensor_is_noticed_and_named() {
    for name in ["encoder-trunk-2", "encoder-readout-2", "ops", "whisper-short-f16", "projector-p2-slots"] {
        let outputs: Vec<String> = check(&golden(name)).tensors.into_iter().map(|t| t.name).collect();
        let copy = copy(name);
        let path = copy.path().join("expected.safetensors");
        let mut tensors = stored(&path);
        for output in &outputs {
            let at = tensors.iter().position(|t| t.name == *output).unwrap();
            let before = tensors[at].bytes.clone();
            disturb(&mut tensors[at]);
            save(&path, &tensors);
            let report = check(copy.path());
            assert_eq!(report.outcome().unwrap_err().kind(), Kind::Integrity, "{name}: {output}");
            assert!(report.tensors.iter().any(|t| !t.ok && t.name == *output), "{name}: {output}");
            tensors[at].bytes = before;
        }
        save(&path, &tensors);
        assert_eq!(check(copy.path()).failed(), 0, "{name}: as before");
    }
}

#[test]
fn a_change_of_an_input_or_a_weight_is_noticed() {
    let copy = copy("encoder-trunk-2");
    for (file, tensor) in [("expected.safetensors", "audio"), ("model.safetensors", "layers.0.narrow.up.bias")] {
        let path = copy.path().join(file);
        let mut tensors = stored(&path);
        let at = tensors.iter().position(|t| t.name == tensor).unwrap();
        let before = tensors[at].bytes.clone();
        change(&mut tensors[at], |values| values[0] += 0.5);
        save(&path, &tensors);
        assert_eq!(check(copy.path()).outcome().unwrap_err().kind(), Kind::Integrity, "{tensor}");
        tensors[at].bytes = before;
        save(&path, &tensors);
    }
}

fn twnm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twnm")).args(args).output().unwrap()
}

#[track_caller]
fn expect_exit(code: i32, dir: &Path, part: &str) {
    let output = twnm(&["verify", dir.to_str().unwrap(), "--json"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains(part), "{message}");
}

#[test]
fn the_command_prints_one_object_and_exits_as_documented() {
    let good = twnm(&["verify", golden("encoder-readout-2").to_str().unwrap(), "--json"]);
    assert_eq!((good.status.code(), &good.stderr[..]), (Some(0), &b""[..]));
    let report: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!((report["ok"].as_bool(), report["kind"].as_str()), (Some(true), Some("encoder read-out")));
    assert!(report["missing"].as_array().unwrap().is_empty());
    for t in report["tensors"].as_array().unwrap() {
        let (error, tolerance) = (t["error"].as_f64().unwrap(), t["tolerance"].as_f64().unwrap());
        assert!(error <= tolerance && tolerance <= 1e-4 && t["ok"] == true && t["name"].is_string(), "{t}");
    }
    let strict = twnm(&["verify", golden("encoder-readout-2").to_str().unwrap(), "--tolerance", "1e-12"]);
    assert_eq!(strict.status.code(), Some(78));
    let wrong = twnm(&["verify", golden("encoder-readout-2").to_str().unwrap(), "--tolerance", "-1"]);
    assert_eq!(wrong.status.code(), Some(2));
    expect_exit(69, &golden("ops"), "not built yet");
    expect_exit(66, &golden("nothing here"), "nothing here");
}

#[test]
fn damaged_folders_are_refused_with_the_file_in_the_message() {
    let copy = copy("encoder-trunk-2");
    let file = |name: &str| copy.path().join(name);
    let expected = std::fs::read(file("expected.safetensors")).unwrap();
    for length in [0, 7, 8, 100, expected.len() / 2, expected.len() - 1] {
        std::fs::write(file("expected.safetensors"), &expected[..length]).unwrap();
        let error = verify(copy.path(), &Options::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Data, "{length} bytes: {error}");
    }
    expect_exit(65, copy.path(), "expected.safetensors");
    std::fs::remove_file(file("expected.safetensors")).unwrap();
    expect_exit(66, copy.path(), "expected.safetensors");
    std::fs::write(file("expected.safetensors"), &expected).unwrap();
    let config = std::fs::read_to_string(file("config.json")).unwrap();
    for (from, to) in [("\"hidden\": 6", "\"hidden\": 12"), ("\"heads\": 1", "\"heads\": 5"), ("\"hop\"", "\"hopp\"")] {
        std::fs::write(file("config.json"), config.replace(from, to)).unwrap();
        assert_eq!(verify(copy.path(), &Options::default()).unwrap_err().kind(), Kind::Data, "{to}");
    }
    std::fs::write(file("config.json"), &config).unwrap();
    let mut weights = stored(&file("model.safetensors"));
    weights.retain(|t| t.name != "stem_norm.bias");
    save(&file("model.safetensors"), &weights);
    expect_exit(65, copy.path(), "stem_norm.bias");
    std::fs::remove_file(file("model.safetensors")).unwrap();
    expect_exit(66, copy.path(), "model.safetensors");
}
