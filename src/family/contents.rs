//! What the frozen models of a family hold, as short hashes: an answer must not come from other models than those that a
//! projector and an adapter were trained beside, and a run must not go on with them, because something else lies at the
//! same place now.

use super::Parts;
use crate::encoder::Encoder;
use crate::error::{Error, Kind, Result};
use crate::language::store::DecoderFiles;
use crate::nn::Params;
use crate::semantic::SemanticEncoder;
use crate::tensor::DType;
use crate::weights::hash_file;
use std::collections::BTreeMap;
use std::path::Path;

/// Hashes by the names of the parts: `encoder`, `semantic`, `decoder`, and `text`, which is its tokenizer and its template.
pub type Contents = BTreeMap<String, String>;

/// What decides how a decoder reads and writes, where it is there.
const TEXT_FILES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
];

/// The contents of models that were just read; `text` is the folder with the decoder's tokenizer.
///
/// # Errors
/// `Io` naming a file that cannot be read.
pub(super) fn of(spatial: &Encoder, semantic: &SemanticEncoder, files: &DecoderFiles, text: &Path) -> Result<Contents> {
    let hash = |config: String, weights: String| blake3::hash(format!("{config} {weights}").as_bytes());
    let mut words = blake3::Hasher::new();
    for name in TEXT_FILES {
        let path = text.join(name);
        if path.exists() {
            words.update(format!("{name} {} ", hash_file(&path)?.blake3).as_bytes());
        }
    }
    let all = [
        ("encoder", hash(format!("{:?} {:?}", spatial.config, spatial.classes), numbers(&spatial.params))),
        ("semantic", hash(format!("{:?}", semantic.config), numbers(&semantic.params))),
        ("decoder", hash(format!("{:?}", files.config), files.weights.fingerprint()?)),
        ("text", words.finalize()),
    ];
    Ok(all.into_iter().map(|(name, hash)| (name.to_string(), hash.to_hex()[..16].to_string())).collect())
}

/// A hash of parameters on the host: names, types and extents, and of each the first, some middle and the last numbers.
fn numbers(params: &Params) -> String {
    const SOME: usize = 256;
    let mut hasher = blake3::Hasher::new();
    for id in params.ids() {
        let (info, tensor) = (params.info(id), params.tensor(id));
        hasher.update(format!("\0{} {:?} {:?}\0", info.name, tensor.dtype(), info.shape).as_bytes());
        let bytes: &[u8] = match tensor.dtype() {
            DType::Bf16 => bytemuck::cast_slice(tensor.values::<half::bf16>()),
            _ => bytemuck::cast_slice(tensor.data()),
        };
        let count = bytes.len().min(4 * SOME);
        for start in [0, (bytes.len() - count) / 2, bytes.len() - count] {
            hasher.update(&bytes[start..start + count]);
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Refuses models that are not those that `parts` were trained with, where it says which those were.
///
/// # Errors
/// `Integrity` naming the first that differs, and its folder.
pub(super) fn check(parts: &Parts, found: &Contents) -> Result<()> {
    let differs = |(name, hash): &(&String, &String)| found.get(*name).is_some_and(|now| now != *hash);
    let Some((name, _)) = parts.contents.iter().find(differs) else { return Ok(()) };
    let (what, folder) = match name.as_str() {
        "encoder" => ("the spatial encoder", &parts.encoder),
        "semantic" => ("the semantic encoder", &parts.semantic),
        "text" => ("the tokenizer or template of the decoder", &parts.decoder),
        _ => ("the decoder", &parts.decoder),
    };
    let message = format!("{}: {what} is not the one that the checkpoint was trained with", folder.display());
    Err(Error::new(Kind::Integrity, message)
        .hint("give it back, or train stages 2 and 3 anew with what lies there now"))
}
