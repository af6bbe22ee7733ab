//! Merged models against their base beside the adapter, in what they compute and in their files.

use super::*;
use crate::check::relative_l2;
use crate::device::Device;
use crate::language::decoder::{Adapter, Build, Decoder, Documents};
use crate::nn::{Builder, Forward};
use crate::rng::Rng;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::{Entry, write};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Logits of some tokens.
fn logits(base: &Path, adapter: Option<&Path>) -> Vec<f64> {
    let files = store::open_decoder(base).unwrap();
    let opened = adapter.map(|folder| store::open_adapter(folder).unwrap());
    let of = |(config, _): &(LoraConfig, Tensors)| Adapter {
        prefix: PEFT_PREFIX.into(),
        config: config.clone(),
        is_frozen: true,
    };
    let adapters: Vec<Adapter> = opened.iter().map(of).collect();
    let mut builder = Builder::new();
    let build = Build { prefix: files.prefix, is_frozen: true, adapters: &adapters };
    let decoder = Decoder::new(&mut builder, &files.config, &build);
    let mut params = builder.finish(0);
    store::load_base(&mut params, files.prefix, &files.weights, files.prefix, None).unwrap();
    if let Some((_, source)) = &opened {
        store::load_adapter(&mut params, &adapters[0], source).unwrap();
    }
    let ids: Vec<i32> = (0..24).map(|i| i * 7 % files.config.vocabulary as i32).collect();
    let mut c = Forward::new(Tape::without_gradients(), &params);
    let x = decoder.embed(&mut c, &Tensor::from_slice(&[1, ids.len()], &ids));
    let documents = Documents::new(&[ids.len()], &files.config, Device::Host);
    let hidden = decoder.hidden(&mut c, &x, &documents, usize::MAX);
    decoder.logits(&mut c, &hidden).data().iter().map(|&v| f64::from(v)).collect()
}

/// An adapter of random numbers for the decoder of Audio Flamingo 3.
fn flamingo_adapter(folder: &Path, has_magnitudes: bool) {
    let files = store::open_decoder(&golden("af3-tiny")).unwrap();
    let lora = LoraConfig { has_magnitudes, ..LoraConfig::new(2, 5.0, &["q_proj", "down_proj"]) };
    let draw = |(name, shape): (String, Vec<usize>)| {
        let mut rng = Rng::new(9, &name, 0);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| (rng.normal() * 0.1 + 0.3) as f32).collect();
        (format!("{PEFT_PREFIX}{name}"), shape, values)
    };
    let drawn: Vec<_> = lora.tensors(&files.config, files.prefix).map(draw).collect();
    let entries: Vec<Entry> = drawn.iter().map(|(name, shape, values)| Entry::f32(name, shape, values)).collect();
    write(&folder.join("adapter_model.safetensors"), &entries, &[]).unwrap();
    std::fs::write(folder.join("adapter_config.json"), lora.to_json("af3")).unwrap();
}

#[test]
fn a_merged_model_computes_what_base_and_adapter_compute() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases: Vec<(String, PathBuf)> = ["qwen2-tiny", "qwen2-f16", "qwen2-mha"]
        .map(|name| (name.to_string(), golden(&format!("{name}-lora"))))
        .to_vec();
    for (name, has_magnitudes) in [("plain", false), ("dora", true)] {
        let adapter = folder.path().join(name);
        std::fs::create_dir(&adapter).unwrap();
        flamingo_adapter(&adapter, has_magnitudes);
        cases.push(("af3-tiny".into(), adapter));
    }
    for (i, (name, adapter)) in cases.iter().enumerate() {
        let (base, at) = (golden(name), |kind: &str| folder.path().join(format!("{i}-{kind}")));
        let expected = logits(&base, Some(adapter));
        let change = relative_l2(&logits(&base, None), &expected);
        assert!(change > 1e-2, "{name}: the adapter changes something, {change}");
        let merged = merge(&base, adapter, &at("f32"), Stored::F32, SHARD_BYTES).unwrap();
        assert_eq!(merged.files, 1);
        let error = relative_l2(&logits(&at("f32"), None), &expected);
        assert!(error < 1e-5, "{name}: {error}");
        merge(&base, adapter, &at("bf16"), Stored::Bf16, SHARD_BYTES).unwrap();
        let [wide, narrow] = ["f32", "bf16"].map(|kind| Tensors::open_folder(&at(kind), "model").unwrap());
        for tensor in wide.names() {
            let rounded: Vec<f32> =
                wide.f32(tensor).unwrap().iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect();
            assert_eq!(*narrow.f32(tensor).unwrap(), rounded, "{name}: {tensor} is rounded once");
        }
        // The audio tower is carried along.
        assert_eq!(wide.len(), Tensors::open_folder(&base, "model").unwrap().len());
    }
}

#[test]
fn files_beside_the_weights_are_kept_and_shards_have_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    std::fs::create_dir(&base).unwrap();
    for name in ["config.json", "model.safetensors", "generation_config.json"] {
        std::fs::copy(golden("qwen2-f16").join(name), base.join(name)).unwrap();
    }
    let mut config = store::read_json(&base.join("config.json")).unwrap();
    config["of_somebody"] = json!({"deep": [1, 2.5e-7]});
    std::fs::write(base.join("config.json"), config.to_string()).unwrap();
    std::fs::write(base.join("tokenizer.json"), b"{\"any\": \"bytes\xff\"}").unwrap();
    std::fs::write(base.join("chat_template.jinja"), "{{ messages }}").unwrap();
    let (adapter, out) = (golden("qwen2-f16-lora"), folder.path().join("out"));
    let merged = merge(&base, &adapter, &out, Stored::Base, 40_000).unwrap();
    assert!(merged.files > 2, "{merged:?}");
    for name in ["config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"] {
        assert_eq!(std::fs::read(out.join(name)).unwrap(), std::fs::read(base.join(name)).unwrap(), "{name}");
    }
    let [old, new] = [&base, &out].map(|path| Tensors::open_folder(path, "model").unwrap());
    assert_eq!(old.names().collect::<Vec<_>>(), new.names().collect::<Vec<_>>());
    let changed = old.names().filter(|name| old.bytes(name).unwrap() != new.bytes(name).unwrap()).count();
    assert_eq!(changed, merged.adapted);
    assert!(old.names().all(|name| old.dtype(name).unwrap() == new.dtype(name).unwrap()));
    for entry in std::fs::read_dir(&out).unwrap().map(|e| e.unwrap()) {
        let is_shard = entry.path().extension().is_some_and(|e| e == "safetensors");
        assert!(
            !is_shard || Tensors::open(&entry.path()).unwrap().len() == 1 || entry.metadata().unwrap().len() < 44_000
        );
    }
    let wide = folder.path().join("wide");
    merge(&base, &adapter, &wide, Stored::F32, SHARD_BYTES).unwrap();
    let config = store::read_json(&wide.join("config.json")).unwrap();
    assert_eq!(config["of_somebody"], json!({"deep": [1, 2.5e-7]}));
    assert_eq!(config.get("dtype").or(config.get("torch_dtype")), Some(&json!("float32")));
}

#[test]
fn nothing_is_overwritten_and_leftovers_are_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let (base, adapter, out) = (golden("qwen2-tiny"), golden("qwen2-tiny-lora"), folder.path().join("out"));
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("mine"), "x").unwrap();
    let error = merge(&base, &adapter, &out, Stored::Base, SHARD_BYTES).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    std::fs::remove_file(out.join("mine")).unwrap();
    let work = folder.path().join(".out.merging");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("config.json"), "left by a killed merge").unwrap();
    let foreign = merge(&base, &adapter, &out, Stored::Base, SHARD_BYTES).unwrap_err();
    assert_eq!(foreign.kind(), Kind::Usage, "{foreign}");
    assert!(work.join("config.json").exists(), "a folder without a merge's lock is somebody else's");
    std::fs::write(work.join("lock"), "").unwrap();
    std::fs::write(work.join("model-00007-of-00009.safetensors"), "too").unwrap();
    let wrong = merge(&base, &golden("qwen2-mha-lora"), &out, Stored::Base, SHARD_BYTES).unwrap_err();
    assert_eq!(wrong.kind(), Kind::Data, "{wrong}");
    merge(&base, &adapter, &out, Stored::Base, SHARD_BYTES).unwrap();
    let names: std::collections::BTreeSet<String> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["config.json", "generation_config.json", "model.safetensors"]);
    assert!(!work.exists());
    assert!(Tensors::open_folder(&out, "model").unwrap().len() > 10);
}
