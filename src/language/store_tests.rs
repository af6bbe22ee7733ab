//! What is written of an adapter against what PEFT wrote: names, shapes, values and the settings that decide the result.

use super::*;
use crate::language::decoder::Build;
use crate::nn::Builder;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn an_adapter_of_peft_is_written_as_peft_wrote_it() {
    for name in ["qwen2-tiny", "qwen2-f16", "qwen2-mha"] {
        let (theirs, folder) = (golden(&format!("{name}-lora")), tempfile::tempdir().unwrap());
        let (config, _) = open_base(&golden(name)).unwrap();
        let (lora, source) = open_adapter(&theirs).unwrap();
        let adapter = Adapter { prefix: PEFT_PREFIX.into(), config: lora, is_frozen: false };
        let mut builder = Builder::new();
        let build = Build { prefix: "", is_frozen: true, adapters: std::slice::from_ref(&adapter) };
        Decoder::new(&mut builder, &config, &build);
        let mut params = builder.finish(0);
        load_adapter(&mut params, &adapter, &source).unwrap();
        std::fs::write(folder.path().join(".tmp-half"), b"left by a killed save").unwrap();
        write_adapter(folder.path(), &params, &adapter, name).unwrap();
        assert!(!folder.path().join(".tmp-half").exists());
        let written = Tensors::open_folder(folder.path(), ADAPTER_STEM).unwrap();
        assert_eq!(written.names().collect::<Vec<_>>(), source.names().collect::<Vec<_>>());
        for tensor in source.names() {
            assert_eq!(written.shape(tensor).unwrap(), source.shape(tensor).unwrap(), "{tensor}");
            assert_eq!(written.dtype(tensor).unwrap(), source.dtype(tensor).unwrap(), "{tensor}");
            assert_eq!(written.bytes(tensor).unwrap(), source.bytes(tensor).unwrap(), "{tensor}");
        }
        assert_eq!(written.strings(), source.strings(), "{name}: the strings of the file");
        let [mine, other] = [folder.path(), &theirs].map(|path| read_json(&path.join(ADAPTER_CONFIG_FILE)).unwrap());
        let decisive = ["peft_type", "task_type", "r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern"];
        for field in decisive.iter().chain(&["alpha_pattern", "layers_to_transform", "bias", "fan_in_fan_out"]) {
            assert_eq!(mine[field], other[field], "{name}: {field}");
        }
        let sorted = |targets: &Value| match targets.as_array() {
            Some(names) => names.iter().map(Value::to_string).collect::<std::collections::BTreeSet<String>>(),
            None => [targets.to_string()].into(),
        };
        assert_eq!(sorted(&mine["target_modules"]), sorted(&other["target_modules"]), "{name}");
        let unknown = mine.as_object().unwrap().keys().find(|key| other.get(key).is_none());
        assert_eq!(unknown, None, "{name}: PEFT warns of fields that it does not know");
    }
}
