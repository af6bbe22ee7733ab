//! The names and shapes in the headers of weight files, compared with what a model needs.

use crate::error::{Error, Result};
use crate::language::config::DecoderConfig;
use crate::weights::Tensors;
use std::collections::{BTreeMap, BTreeSet};

/// How many names a message lists.
const SHOWN: usize = 3;

/// An error that lists `names`; none for no names.
pub(super) fn refuse(source: &Tensors, what: &str, names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Error::data(format!("{}: {what}: {shown}{rest}", source.path().display())))
}

/// Whether a weight is that of a linear layer of a layer, which may be packed.
pub(super) fn is_linear(name: &str) -> bool {
    name.ends_with("_proj.weight")
}

/// Every tensor of a decoder of these sizes, under `prefix`, is there in its shape: a config that claims other sizes than
/// the files have is found here, before anything is built.
pub(super) fn expect_base(source: &Tensors, config: &DecoderConfig, prefix: &str) -> Result<()> {
    let mut missing = Vec::new();
    for (name, shape) in config.tensors() {
        let name = format!("{prefix}{name}");
        match source.contains(&name) {
            true if is_linear(&name) && super::packed::packing(source, &name).is_some() => {
                super::packed::expect(source, &name, [shape[0], shape[1]])?;
            }
            true => {
                super::packed::expect_plain(source, &name)?;
                expect_shape(source, &name, &shape)?;
            }
            false => missing.push(name),
        }
    }
    refuse(source, "tensors are missing", &missing.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(super) fn expect_shape(source: &Tensors, name: &str, shape: &[usize]) -> Result<()> {
    let stored = source.shape(name)?;
    if stored == shape {
        return Ok(());
    }
    let is_turned = stored.len() == 2 && [stored[1], stored[0]] == *shape;
    let turned = if is_turned { ": it is transposed" } else { "" };
    let path = source.path().display();
    Err(Error::data(format!("{path}: tensor {name} has shape {stored:?}, {shape:?} is needed{turned}")))
}

/// The names in the file of the tensors of an adapter, in the order of `wanted`. PEFT's own files lack the adapter's name
/// ("default"); files written by hand sometimes have it.
pub(in crate::language) fn adapter(source: &Tensors, wanted: Vec<(String, Vec<usize>)>) -> Result<Vec<String>> {
    let plain =
        |name: &str| name.replace(".default.", ".").replace("lora_magnitude_vector.weight", "lora_magnitude_vector");
    let mut stored: BTreeMap<String, &str> = BTreeMap::new();
    for name in source.names() {
        if let Some(first) = stored.insert(plain(name), name) {
            refuse(source, "tensors are the same parameter", &[first, name])?;
        }
    }
    let names: BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let unknown: Vec<&str> =
        stored.iter().filter(|(name, _)| !names.contains(name.as_str())).map(|(_, &n)| n).collect();
    refuse(source, "no adapted layer of this model has these tensors", &unknown)?;
    let missing: Vec<&str> = names.iter().copied().filter(|name| !stored.contains_key(*name)).collect();
    refuse(source, "tensors of adapted layers are missing", &missing)?;
    if names.is_empty() {
        let path = source.path().display();
        return Err(Error::data(format!("{path}: target_modules names no linear layer of this model")));
    }
    let mut found = Vec::with_capacity(wanted.len());
    for (name, shape) in wanted {
        expect_shape(source, stored[&name], &shape)?;
        found.push(stored[&name].to_string());
    }
    Ok(found)
}
