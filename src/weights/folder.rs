//! Hugging Face model folders: one `model.safetensors`, or several files named by an index.

use super::{MappedFile, Tensors};
use crate::error::{Context, Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// Largest index that is read.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// Most files of one model.
const MAX_FILES: usize = 1024;

#[derive(serde::Deserialize)]
struct Index {
    metadata: Option<Totals>,
    #[serde(deserialize_with = "unique_names")]
    weight_map: BTreeMap<String, String>,
}

/// What the index says of all files together.
#[derive(serde::Deserialize)]
struct Totals {
    total_size: Option<f64>,
}

impl Tensors {
    /// Opens the weights of a model folder: `<stem>.safetensors`, or the files that
    /// `<stem>.safetensors.index.json` names in its `weight_map`. `stem` is `"model"` for models and
    /// `"adapter_model"` for PEFT adapters.
    ///
    /// The index must name exactly the tensors of its files: a missing file, a tensor that is missing, in two
    /// files or not in the index, another size of all tensors together, and any file name that leaves the folder are refused.
    ///
    /// # Errors
    /// `Missing` naming the file that is not there; `Data` naming file and tensor for everything else that is refused.
    pub fn open_folder(folder: &Path, stem: &str) -> Result<Self> {
        let single = folder.join(format!("{stem}.safetensors"));
        let index = folder.join(format!("{stem}.safetensors.index.json"));
        match (single.exists(), index.exists()) {
            (true, false) => Tensors::open(&single),
            (false, true) => open_sharded(folder, &index),
            (true, true) => {
                Err(Error::data(format!("{}: has both {stem}.safetensors and its index", folder.display()))
                    .hint("remove the one that does not belong to this model"))
            }
            (false, false) => Err(no_weights(folder, stem)),
        }
    }
}

fn open_sharded(folder: &Path, index: &Path) -> Result<Tensors> {
    let bytes = crate::files::read_text(index, MAX_INDEX_BYTES)?;
    let parsed: Index = serde_json::from_slice(&bytes)
        .map_err(|e| Error::data(format!("{}: {e}", index.display())).hint("the index of a model was expected"))?;
    let file_names: BTreeSet<&str> = parsed.weight_map.values().map(String::as_str).collect();
    if file_names.len() > MAX_FILES {
        let n = file_names.len();
        return Err(Error::data(format!("{}: names {n} files, at most {MAX_FILES} are accepted", index.display())));
    }
    let mut files = Vec::new();
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for name in file_names {
        check_file_name(name).context_with(|| index.display())?;
        let file = MappedFile::open(&folder.join(name)).context_with(|| format!("{} names it", index.display()))?;
        for tensor in &file.header.names {
            if found.insert(tensor.clone(), files.len()).is_some() {
                return Err(Error::data(format!("{}: tensor {tensor:?} is in two files", folder.display())));
            }
            if parsed.weight_map.get(tensor).map(String::as_str) != Some(name) {
                return Err(Error::data(format!(
                    "{}: tensor {tensor:?} of {name} is not listed there",
                    index.display()
                )));
            }
        }
        files.push(file);
    }
    if let Some((tensor, file)) = parsed.weight_map.iter().find(|(tensor, _)| !found.contains_key(*tensor)) {
        return Err(Error::data(format!("{}: tensor {tensor:?} is not in {file}", index.display())));
    }
    if files.is_empty() {
        return Err(Error::data(format!("{}: the weight_map is empty", index.display())));
    }
    let bytes: u64 = files.iter().map(|file| (file.map.len() - file.header.data_start) as u64).sum();
    if let Some(said) = parsed.metadata.and_then(|m| m.total_size).filter(|&said| said != bytes as f64) {
        let message = format!("{}: total_size is {said}, its files hold {bytes} bytes of tensors", index.display());
        return Err(Error::data(message).hint("download the files again, or correct total_size if they are complete"));
    }
    Ok(Tensors { files, index: found, path: folder.to_path_buf() })
}

/// A plain file name in the same folder, nothing else.
fn check_file_name(name: &str) -> Result<()> {
    let mut parts = Path::new(name).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    if !plain || name.contains(['\\', '\0']) || !name.ends_with(".safetensors") {
        return Err(Error::data(format!(
            "weight_map names {name:?}: a .safetensors file in the same folder is needed"
        )));
    }
    Ok(())
}

fn no_weights(folder: &Path, stem: &str) -> Error {
    let error = Error::missing(format!("{}: no {stem}.safetensors there", folder.display()));
    let pickled = ["pytorch_model.bin", "adapter_model.bin", "model.pt", "model.pth", "model.bin", "model.ckpt"];
    if folder.join("pytorch_model.bin.index.json").exists() {
        return error.hint(
            "its weights are pickles, which are never read; if you trust them, convert them there: python -c \
             \"from transformers import AutoModelForCausalLM as M; \
             M.from_pretrained('.', dtype='auto').save_pretrained('safe')\"",
        );
    }
    match pickled.iter().find(|name| folder.join(name).exists()) {
        Some(name) => error.hint(format!(
            "{name} is a pickle, which is never read; convert it there: python -c \"import torch, safetensors.torch as s; \
             s.save_file({{k: v.clone() for k, v in torch.load('{name}', map_location='cpu', weights_only=True).items()}}, \
             '{stem}.safetensors')\""
        )),
        None => error,
    }
}

/// A string map whose keys occur once.
fn unique_names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Names;
    impl<'de> serde::de::Visitor<'de> for Names {
        type Value = BTreeMap<String, String>;
        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a map from tensor names to file names")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut names = BTreeMap::new();
            while let Some((tensor, file)) = map.next_entry::<String, String>()? {
                if names.len() == super::header::MAX_TENSORS {
                    return Err(serde::de::Error::custom("too many tensors"));
                }
                if let Some(first) = names.insert(tensor.clone(), file) {
                    return Err(serde::de::Error::custom(format!(
                        "tensor {tensor:?} is listed twice (once in {first})"
                    )));
                }
            }
            Ok(names)
        }
    }
    deserializer.deserialize_map(Names)
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, write};
    use super::*;
    use crate::error::Kind;

    fn folder(index: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("one.safetensors"), &[Entry::f32("a", &[1], &[1.0])], &[]).unwrap();
        write(&folder.path().join("two.safetensors"), &[Entry::f32("b", &[1], &[2.0])], &[]).unwrap();
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        folder
    }

    #[test]
    fn several_files_read_as_one() {
        let f = folder(r#"{"metadata":{"total_size":8},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#);
        let t = Tensors::open_folder(f.path(), "model").unwrap();
        assert_eq!(t.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((t.f32("a").unwrap()[0], t.f32("b").unwrap()[0]), (1.0, 2.0));
    }

    #[test]
    fn an_index_that_lies_or_leaves_the_folder_is_refused() {
        let cases = [
            (r#"{"weight_map":{"a":"one.safetensors","c":"two.safetensors"}}"#, Kind::Data, "\"b\""),
            (r#"{"weight_map":{"a":"one.safetensors","b":"one.safetensors"}}"#, Kind::Data, "\"b\""),
            (r#"{"weight_map":{"a":"two.safetensors","b":"one.safetensors"}}"#, Kind::Data, "not listed"),
            (r#"{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}"#, Kind::Data, "twice"),
            (r#"{"weight_map":{"a":"gone.safetensors"}}"#, Kind::Missing, "gone.safetensors"),
            (r#"{"weight_map":{"a":"../one.safetensors"}}"#, Kind::Data, "../one"),
            (r#"{"weight_map":{"a":"/etc/passwd"}}"#, Kind::Data, "/etc/passwd"),
            (r#"{"weight_map":{"a":"x/one.safetensors"}}"#, Kind::Data, "same folder"),
            (r#"{"weight_map":{}}"#, Kind::Data, "empty"),
            (
                r#"{"metadata":{"total_size":9},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#,
                Kind::Data,
                "8 bytes",
            ),
            (r#"{"weights":{}}"#, Kind::Data, "weight_map"),
            ("[", Kind::Data, "index"),
        ];
        for (index, kind, part) in cases {
            let error = Tensors::open_folder(folder(index).path(), "model").err().expect(index);
            assert_eq!(error.kind(), kind, "{index}: {error}");
            assert!(error.to_string().contains(part), "{index}: {error}");
        }
    }

    #[test]
    fn a_pickle_gets_a_hint() {
        let f = tempfile::tempdir().unwrap();
        std::fs::write(f.path().join("pytorch_model.bin"), b"PK").unwrap();
        let error = Tensors::open_folder(f.path(), "model").err().unwrap();
        assert_eq!(error.kind(), Kind::Missing);
        assert!(error.to_string().contains("pickle"));
    }
}
