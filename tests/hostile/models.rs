//! Folders of models from anywhere: sizes that lie, tensors that are missing, extra, turned or no numbers, adapters of other
//! models, indexes that lead out of their folder. Each gets its documented exit code and an error that names the file and the
//! field or tensor, in seconds and within two gibibytes of address space.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use twnm::weights::{Dtype, Entry, Tensors, write};

const ADDRESS_SPACE_KIB: u32 = 2 << 20;
const TIME_MOST: Duration = Duration::from_secs(20);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A copy of a golden folder.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap().map(|e| e.unwrap()) {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn verify(folder: &Path, base: Option<&str>) -> Output {
    let script = format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_twnm"), "verify"]).arg(folder).env("RAYON_NUM_THREADS", "2");
    if let Some(base) = base {
        command.arg("--base").arg(golden(base));
    }
    let begin = Instant::now();
    let output = command.output().unwrap();
    assert!(begin.elapsed() < TIME_MOST, "{:?}", begin.elapsed());
    output
}

#[track_caller]
fn expect(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{parts:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(text.len() < 1000, "{} bytes of message", text.len());
}

/// Changes fields of a JSON file; a dot leads into an object.
fn edit(path: &Path, changes: &[(&str, serde_json::Value)]) {
    let mut fields: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for (name, value) in changes {
        let mut at = &mut fields;
        for part in name.split('.') {
            at = &mut at[part];
        }
        *at = value.clone();
    }
    std::fs::write(path, fields.to_string()).unwrap();
}

type Stored = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Writes a weights file anew after a change.
fn rewrite(path: &Path, change: impl FnOnce(&mut Stored)) {
    let source = Tensors::open(path).unwrap();
    let of = |name: &str| {
        let shape = source.shape(name).unwrap().to_vec();
        (source.dtype(name).unwrap(), shape, source.bytes(name).unwrap().to_vec())
    };
    let mut stored: Stored = source.names().map(|name| (name.to_string(), of(name))).collect();
    change(&mut stored);
    let entries: Vec<Entry> =
        stored.iter().map(|(name, (dtype, shape, bytes))| Entry::new(name, *dtype, shape, bytes)).collect();
    write(path, &entries, &[("format", "pt")]).unwrap();
}

fn turn(stored: &mut Stored, name: &str) {
    let (_, shape, bytes) = stored.get_mut(name).unwrap();
    let (rows, columns, width) = (shape[0], shape[1], bytes.len() / (shape[0] * shape[1]));
    let old = bytes.clone();
    for r in 0..rows {
        for c in 0..columns {
            bytes[(c * rows + r) * width..][..width].copy_from_slice(&old[(r * columns + c) * width..][..width]);
        }
    }
    shape.swap(0, 1);
}

/// One damage of a folder's weights, and what the message names.
type Damage<'a> = (&'a dyn Fn(&mut Stored), &'a str);

fn each_is_named(name: &str, file: &str, base: Option<&str>, damages: &[Damage]) {
    for (damage, part) in damages {
        let folder = copy(name);
        rewrite(&folder.path().join(file), damage);
        expect(&verify(folder.path(), base), 65, &[part]);
    }
}

fn put(stored: &mut Stored, name: &str, at: usize, value: f32) {
    stored.get_mut(name).unwrap().2[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn sizes_that_lie_are_refused_before_anything_is_allocated() {
    let cases: &[(&str, &str, u64, &str)] = &[
        ("qwen2-tiny", "hidden_size", 65_536, "embed_tokens"),
        ("qwen2-tiny", "hidden_size", 1 << 40, "hidden_size"),
        ("qwen2-tiny", "vocab_size", 1 << 21, "embed_tokens"),
        ("qwen2-tiny", "vocab_size", u64::MAX, "vocab_size"),
        ("qwen2-tiny", "num_hidden_layers", 1000, "and 11973 more"),
        ("qwen2-tiny", "num_hidden_layers", 1_000_000, "num_hidden_layers"),
        ("qwen2-tiny", "num_hidden_layers", 1, "layers.1."),
        ("qwen2-tiny", "intermediate_size", 1 << 20, "gate_proj"),
        ("af3-tiny", "text_config.hidden_size", 32_768, "65"),
        ("af3-tiny", "text_config.vocab_size", 1 << 21, "embed_tokens"),
        ("af3-tiny", "audio_config.d_model", 8192, "65"),
        ("af3-tiny", "audio_config.encoder_layers", 128, ""),
        ("af3-tiny", "audio_config.encoder_ffn_dim", 1 << 50, "encoder_ffn_dim"),
        ("whisper-short-f16", "encoder_layers", 100_000, "encoder_layers"),
        ("whisper-short-f16", "encoder_ffn_dim", 65_536, "fc1"),
        ("whisper-short-f16", "num_mel_bins", 0, "num_mel_bins"),
        ("whisper-short-f16", "max_source_positions", 8192, ""),
        ("projector-p2", "projector.bottleneck", 32_768, "numbers"),
        ("projector-p2", "projector.semantic", 8192, "numbers"),
    ];
    for (name, field, value, part) in cases {
        let folder = copy(name);
        let mut changes = vec![(*field, serde_json::json!(value))];
        if field.starts_with("encoder_layers") || field.ends_with(".encoder_layers") {
            // Whisper files say the number of layers twice.
            changes.extend((*name == "whisper-short-f16").then(|| ("num_hidden_layers", serde_json::json!(value))));
        }
        edit(&folder.path().join("config.json"), &changes);
        let output = verify(folder.path(), None);
        let parts: &[&str] = if *part == "65" { &[] } else { &[part] };
        expect(&output, 65, parts);
    }
}

#[test]
fn damaged_base_weights_are_named() {
    let q = "model.layers.1.self_attn.q_proj.weight";
    let up = "model.layers.0.mlp.up_proj.weight";
    each_is_named(
        "qwen2-tiny",
        "model.safetensors",
        None,
        &[
            (&|s| drop(s.remove(q)), q),
            (&|s| drop(s.insert("model.extra".into(), s[q].clone())), "model.extra"),
            (&|s| drop(s.insert("model.layers.2.mlp.up_proj.weight".into(), s[up].clone())), "layers.2"),
            (&|s| turn(s, up), "transposed"),
            (&|s| s.get_mut(q).unwrap().1.insert(0, 1), q),
            (&|s| put(s, q, 7, f32::NAN), q),
            (&|s| put(s, "model.norm.weight", 3, f32::NEG_INFINITY), "model.norm.weight"),
            (&|s| s.get_mut(q).unwrap().0 = Dtype::I32, q),
            (&|s| *s.get_mut(q).unwrap() = (Dtype::F32, vec![0, 64], vec![]), q),
            (&|s| s.clear(), "missing"),
        ],
    );
}

#[test]
fn damaged_encoders_and_projectors_are_named() {
    let whisper = "model.safetensors";
    let first =
        |s: &Stored, part: &str| s.keys().find(|n| n.contains("encoder.layers") && n.contains(part)).unwrap().clone();
    each_is_named(
        "whisper-short-f16",
        whisper,
        None,
        &[
            (&|s| drop(s.remove(&first(s, "layers.0.fc1.weight"))), "layers.0.fc1.weight"),
            (&|s| turn(s, &first(s, "layers.0.fc1.weight")), "fc1"),
            (&|s| drop(s.insert("other.weight".into(), s[&first(s, "fc1.weight")].clone())), "other.weight"),
            (&|s| s.get_mut(&first(s, "layers.0.fc2.weight")).unwrap().2[..2].copy_from_slice(&[0, 0x7c]), "fc2"),
        ],
    );
    each_is_named(
        "projector-p2",
        "model.safetensors",
        None,
        &[
            (&|s| drop(s.remove("experts.room.up.weight")), "experts.room.up.weight"),
            (&|s| drop(s.remove("spatial.bias")), "spatial.bias"),
            (&|s| put(s, "out.bias", 0, f32::NAN), "out.bias"),
            (&|s| turn(s, "out.weight"), "out.weight"),
        ],
    );
    each_is_named(
        "af3-tiny",
        "model.safetensors",
        None,
        &[
            (&|s| drop(s.remove("language_model.model.norm.weight")), "language_model.model.norm.weight"),
            (&|s| drop(s.remove("audio_tower.conv1.bias")), "conv1.bias"),
        ],
    );
}

#[test]
fn packed_weights_that_lie_are_refused_with_their_tensors() {
    let q = "model.layers.0.self_attn.q_proj.weight";
    let of = |part: &str| format!("{q}.{part}");
    let state = of("quant_state.bitsandbytes__nf4");
    let says = |s: &mut Stored, from: &str, to: &str| {
        let (_, shape, bytes) = s.get_mut(&state).unwrap();
        *bytes = String::from_utf8_lossy(bytes).replace(from, to).into_bytes();
        *shape = vec![bytes.len()];
    };
    let huge = |s: &mut Stored| {
        let bytes = vec![b' '; 80 << 10];
        s.insert(state.clone(), (Dtype::U8, vec![bytes.len()], bytes));
    };
    let cut = |s: &mut Stored, name: &str| {
        let (_, shape, bytes) = s.get_mut(name).unwrap();
        bytes.pop();
        *shape = vec![bytes.len()];
    };
    let rename = |s: &mut Stored, from: &str, to: &str| {
        let found = s.remove(from).unwrap();
        s.insert(to.into(), found);
    };
    let fp4 = of("quant_state.bitsandbytes__fp4");
    each_is_named(
        "qwen2-nf4",
        "model.safetensors",
        None,
        &[
            (&|s| drop(s.remove(&of("absmax"))), &of("absmax")),
            (&|s| drop(s.remove(&of("nested_absmax"))), &of("nested_absmax")),
            (&|s| drop(s.remove(&of("quant_map"))), &of("quant_map")),
            (&|s| drop(s.remove(&state)), &state),
            (&|s| says(s, "\"nf4\"", "\"af4\""), "af4"),
            (&|s| says(s, "\"blocksize\": 64", "\"blocksize\": 128"), "blocks of 128"),
            (&|s| says(s, "40, 40", "80, 20"), "[80, 20]"),
            (&|s| says(s, "40, 40", "4611686018427387904, 40"), "4611686018427387904"),
            (&|s| says(s, "nested_offset", "offset"), q),
            (&|s| says(s, "\"nested_offset\": ", "\"nested_offset\": 1e300, \"was\": "), "finite offset"),
            (&|s| says(s, "\"dtype\": \"float32\"", "\"dtype\": \"int32\""), "int32"),
            (
                &|s| drop(s.insert("lm_head.weight.quant_state.bitsandbytes__nf4".into(), s[&state].clone())),
                "lm_head.weight",
            ),
            (&|s| says(s, "{", "["), &state),
            (&huge, "81920 bytes"),
            (&|s| cut(s, q), "799 bytes"),
            (&|s| cut(s, &of("absmax")), &of("absmax")),
            (&|s| put(s, &of("nested_absmax"), 0, f32::NAN), &of("nested_absmax")),
            (&|s| put(s, &of("quant_map"), 3, 0.5), "quant_map"),
            (&|s| rename(s, &state, &fp4), "FP4"),
            (&|s| drop(s.insert(of("more"), (Dtype::U8, vec![1], vec![0]))), &of("more")),
        ],
    );
}

#[test]
fn packed_weights_in_eight_bits_and_of_other_programs() {
    let q = "model.layers.0.self_attn.q_proj.weight";
    let (weight, scales) = ("model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.SCB");
    let format = "model.layers.1.mlp.up_proj.weight_format";
    each_is_named(
        "qwen2-int8",
        "model.safetensors",
        None,
        &[
            (&|s| drop(s.remove(scales)), scales),
            (&|s| put(s, scales, 2, f32::INFINITY), scales),
            (&|s| turn(s, weight), "transposed"),
            (&|s| s.get_mut(format).unwrap().2[0] = 2, format),
            (&|s| drop(s.insert("model.embed_tokens.SCB".into(), s[scales].clone())), "embed_tokens.SCB"),
        ],
    );
    // The same bytes under another type, as programs write them that share models out among cards.
    let folder = copy("qwen2-nf4");
    rewrite(&folder.path().join("model.safetensors"), |s| {
        let (dtype, shape, _) = s.get_mut(q).unwrap();
        (*dtype, *shape) = (Dtype::BF16, vec![400, 1]);
    });
    expect(&verify(folder.path(), None), 0, &[]);
    let folder = copy("qwen2-nf4");
    edit(&folder.path().join("config.json"), &[("quantization_config.quant_method", serde_json::json!("awq"))]);
    expect(&verify(folder.path(), None), 65, &["config.json", "awq"]);
}

#[test]
fn adapters_that_do_not_fit_are_refused_with_their_tensors() {
    let a = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let b = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
    let double = a.replace("lora_A.weight", "lora_A.default.weight");
    each_is_named(
        "qwen2-tiny-lora",
        "adapter_model.safetensors",
        Some("qwen2-tiny"),
        &[
            (&|s| drop(s.remove(a)), a),
            (&|s| drop(s.insert("base_model.model.lm_head.lora_A.weight".into(), s[a].clone())), "lm_head"),
            (&|s| turn(s, b), "transposed"),
            (&|s| put(s, a, 0, f32::INFINITY), a),
            (&|s| drop(s.insert(double.clone(), s[a].clone())), "same parameter"),
        ],
    );
    let folder = copy("qwen2-tiny-lora");
    expect(&verify(folder.path(), Some("qwen2-mha")), 65, &["adapter_model.safetensors", "base_model"]);
    let zero = |s: &mut Stored| s.iter_mut().filter(|(n, _)| n.contains("lora_B")).for_each(|(_, t)| t.2.fill(0));
    rewrite(&folder.path().join("adapter_model.safetensors"), zero);
    let output = verify(folder.path(), Some("qwen2-tiny"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("was it trained?"));
}

#[test]
fn adapter_configs_of_any_size_end_in_time() {
    let many: Vec<String> = (0..300_000).map(|i| format!("m{i}")).collect();
    let patterns: BTreeMap<String, usize> = (0..100_000).map(|i| (format!("layers.{i}.q_proj"), 4)).collect();
    let heavy: BTreeMap<String, usize> = (0..1000).map(|i| (format!("(\\w{{{}}}){{9}}", 100 + i), 4)).collect();
    let layers: Vec<usize> = (0..500_000).map(|i| i % 60_000).collect();
    let cases: &[(&str, serde_json::Value, &str)] = &[
        ("lora_alpha", serde_json::json!(0), "lora_alpha"),
        ("r", serde_json::json!(0), "r is 0"),
        ("r", serde_json::json!(4096), "lora_A"),
        ("r", serde_json::json!(1u64 << 40), "r is"),
        ("r", serde_json::json!(5), "lora_A"),
        ("target_modules", serde_json::json!(many), "300000 names"),
        ("target_modules", serde_json::json!("((((\\w{99}){99}){99}){99})"), "too large"),
        ("target_modules", serde_json::json!("(".repeat(100_000)), "pattern"),
        ("target_modules", serde_json::json!(".*(?<!q_proj)"), "list the names"),
        ("target_modules", serde_json::json!(["nothing"]), "no adapted layer"),
        ("rank_pattern", serde_json::json!(patterns), "100000 patterns"),
        ("rank_pattern", serde_json::json!(heavy), "too large"),
        ("layers_to_transform", serde_json::json!(layers[..2]), ""),
        ("layers_to_transform", serde_json::json!([1]), "no adapted layer"),
        ("peft_type", serde_json::json!("\u{1b}[2J"), "peft_type"),
    ];
    for (field, value, part) in cases {
        let folder = copy("qwen2-tiny-lora");
        edit(&folder.path().join("adapter_config.json"), &[(field, value.clone())]);
        let output = verify(folder.path(), Some("qwen2-tiny"));
        expect(&output, if part.is_empty() { 0 } else { 65 }, &[part]);
    }
    let folder = copy("qwen2-tiny-lora");
    edit(&folder.path().join("adapter_config.json"), &[("layers_to_transform", serde_json::json!(layers))]);
    expect(&verify(folder.path(), Some("qwen2-tiny")), 0, &[]);
}

#[test]
fn marks_nesting_and_other_texts_in_configs() {
    for (name, file) in [
        ("qwen2-tiny", "config.json"),
        ("qwen2-tiny-lora", "adapter_config.json"),
        ("whisper-short-f16", "config.json"),
        ("qwen2-tied-bf16-sharded", "model.safetensors.index.json"),
    ] {
        let with = (name == "qwen2-tiny-lora").then_some("qwen2-tiny");
        let folder = copy(name);
        let path = folder.path().join(file);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, [b"\xef\xbb\xbf", good.as_slice()].concat()).unwrap();
        expect(&verify(folder.path(), with), 0, &[]);
        let deep = format!("{{\"a\": {}", "[".repeat(200_000));
        for text in [b"".as_slice(), b"[]", b"{", b"\xff\xfe{\x00", deep.as_bytes(), &vec![b' '; 70 << 20]] {
            std::fs::write(&path, text).unwrap();
            expect(&verify(folder.path(), with), 65, &[file]);
        }
    }
}

#[test]
fn shards_that_are_not_what_their_index_says() {
    let name = "qwen2-tied-bf16-sharded";
    let index = "model.safetensors.index.json";
    let shard = "model-00002-of-00006.safetensors";
    let folder = copy(name);
    std::fs::remove_file(folder.path().join(shard)).unwrap();
    expect(&verify(folder.path(), None), 66, &[shard, index]);
    let folder = copy(name);
    std::fs::copy(folder.path().join(shard), folder.path().join("model-00003-of-00006.safetensors")).unwrap();
    expect(&verify(folder.path(), None), 65, &["two files"]);
    for leads in ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""] {
        let folder = copy(name);
        let text = std::fs::read_to_string(folder.path().join(index)).unwrap().replacen(shard, leads, 1);
        std::fs::write(folder.path().join(index), text).unwrap();
        expect(&verify(folder.path(), None), 65, &[index, "same folder"]);
    }
    let folder = copy(name);
    edit(&folder.path().join(index), &[("metadata", serde_json::json!({"total_size": 1}))]);
    expect(&verify(folder.path(), None), 65, &[index, "total_size"]);
}

#[test]
fn pickles_are_named_with_the_command_that_converts_them() {
    for (name, file, pickle, base) in [
        ("qwen2-tiny", "model.safetensors", "pytorch_model.bin", None),
        ("qwen2-tiny-lora", "adapter_model.safetensors", "adapter_model.bin", Some("qwen2-tiny")),
        ("whisper-short-f16", "model.safetensors", "pytorch_model.bin.index.json", None),
    ] {
        let folder = copy(name);
        std::fs::rename(folder.path().join(file), folder.path().join(pickle)).unwrap();
        expect(&verify(folder.path(), base), 66, &[file, "pickle", "python -c"]);
    }
    let folder = copy("qwen2-tiny");
    std::fs::write(folder.path().join("model.safetensors"), b"PK\x03\x04 and so on").unwrap();
    expect(&verify(folder.path(), None), 65, &["model.safetensors", "never read"]);
}

#[test]
fn a_merge_without_space_or_into_its_base_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [base, adapter] = ["qwen2-tiny", "qwen2-tiny-lora"].map(|name| golden(name).display().to_string());
    let merge = |out: &Path, blocks: u64| {
        let script = format!("ulimit -f {blocks} && exec \"$0\" \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_twnm"), "merge", "--base", &base, "--adapter", &adapter]);
        command.arg("--out").arg(out).output().unwrap()
    };
    let out = folder.path().join("new/merged");
    expect(&merge(&out, 100), 74, &["model.safetensors"]);
    assert_eq!(std::fs::read_dir(out.parent().unwrap()).unwrap().count(), 0, "nothing half-written remains");
    expect(&merge(Path::new(&base), 100_000), 2, &["holds something"]);
    expect(&merge(&out, 100_000), 0, &[]);
    expect(&merge(&out, 100_000), 2, &["holds something"]);
    expect(&verify(&golden("qwen2-tiny"), None), 0, &[]);
}
