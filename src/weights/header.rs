//! The strict check of a safetensors header, before anything is allocated for it or mapped as numbers.
//!
//! A file is `u64 length | JSON header | data`. The format's own crate accepts duplicate names and headers of
//! 100 MB; here a header is at most 16 MiB and 200,000 tensors, every name is unique and printable, the tensors
//! cover the data exactly (no hole, no overlap, no trailing byte), and every error names the tensor. What
//! passes is handed to the crate's [`Metadata`], which holds the layout and checks it a second time.

use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Largest header that is read.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Most tensors in one file.
pub const MAX_TENSORS: usize = 200_000;
/// Longest tensor name.
pub const MAX_NAME_BYTES: usize = 512;
/// Most dimensions of one tensor.
pub const MAX_RANK: usize = 8;

/// What a header says: the layout and where the data begins.
pub struct Header {
    /// The crate's layout: dtype, shape and byte range (relative to `data_start`) by name.
    pub layout: Metadata,
    /// Tensor names in sorted order.
    pub names: Vec<String>,
    /// The `__metadata__` strings in sorted order.
    pub strings: BTreeMap<String, String>,
    /// Offset of the first data byte in the file.
    pub data_start: usize,
}

/// Checks the header of a whole file held in (or mapped to) `bytes`.
///
/// # Errors
/// `Data` naming the tensor, but not the file: the caller adds it.
pub fn check(bytes: &[u8]) -> Result<Header> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(not_safetensors(bytes, &format!("{} bytes are too short for a safetensors file", bytes.len())));
    };
    let length = u64::from_le_bytes(*prefix);
    if length > MAX_HEADER_BYTES {
        let message = format!("declares a header of {length} bytes, at most {MAX_HEADER_BYTES} are accepted");
        return Err(not_safetensors(bytes, &message));
    }
    let Some(json) = rest.get(..length as usize) else {
        let message = format!("declares a header of {length} bytes, only {} follow: the file is cut off", rest.len());
        return Err(not_safetensors(bytes, &message));
    };
    if json.first() != Some(&b'{') {
        return Err(not_safetensors(bytes, "the header does not begin with `{`"));
    }
    let json = std::str::from_utf8(json).map_err(|e| Error::data(format!("the header is not UTF-8: {e}")))?;
    let parsed: Parsed = serde_json::from_str(json).map_err(|e| Error::data(format!("bad header: {e}")))?;
    let data_bytes = rest.len() - length as usize;
    let tensors = cover(parsed.tensors, data_bytes)?;
    let mut names: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    names.sort_unstable();
    let strings: HashMap<String, String> = parsed.strings.clone().into_iter().collect();
    let layout = Metadata::new(Some(strings), tensors).map_err(|e| Error::data(format!("bad header: {e}")))?;
    Ok(Header { layout, names, strings: parsed.strings, data_start: 8 + length as usize })
}

/// Sorts the tensors by position and checks that they cover `data_bytes` exactly.
fn cover(mut tensors: Vec<(String, RawEntry)>, data_bytes: usize) -> Result<Vec<(String, TensorInfo)>> {
    tensors.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut position = 0u64;
    let mut out = Vec::with_capacity(tensors.len());
    for (name, entry) in tensors {
        let [begin, end] = entry.data_offsets;
        let bad = |what: String| Err(Error::data(format!("tensor {name:?}: {what}")));
        if end < begin {
            return bad(format!("data_offsets [{begin}, {end}] run backwards"));
        }
        if end > data_bytes as u64 {
            return bad(format!("data_offsets [{begin}, {end}] lie outside the {data_bytes} data bytes: cut off?"));
        }
        if begin != position {
            let what = if begin > position { "leave a hole after" } else { "overlap" };
            return bad(format!("data_offsets [{begin}, {end}] {what} byte {position}"));
        }
        let elements = entry.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let bits = elements.and_then(|n| n.checked_mul(entry.dtype.bitsize() as u64));
        match bits {
            Some(bits) if bits % 8 == 0 && bits / 8 == end - begin => {}
            Some(bits) => {
                let (dtype, shape, stored) = (entry.dtype, &entry.shape, end - begin);
                return bad(format!("{dtype:?} {shape:?} needs {} bytes, {stored} are stored", bits.div_ceil(8)));
            }
            None => return bad(format!("shape {:?} overflows", entry.shape)),
        }
        position = end;
        let shape = entry.shape.iter().map(|&d| d as usize).collect();
        out.push((name, TensorInfo { dtype: entry.dtype, shape, data_offsets: (begin as usize, end as usize) }));
    }
    if position != data_bytes as u64 {
        return Err(Error::data(format!("{} bytes after the last tensor", data_bytes as u64 - position)));
    }
    Ok(out)
}

/// An error that says what the bytes probably are instead.
fn not_safetensors(bytes: &[u8], message: &str) -> Error {
    let error = Error::data(message);
    match sniff(bytes) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What users most often have in place of a weights file.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(64)];
    let text = head.trim_ascii_start().to_ascii_lowercase();
    if head.is_empty() {
        return Some("the file is empty: was its download or copy interrupted?");
    }
    if head.starts_with(b"version https://git-lfs") {
        return Some("this is a Git LFS pointer: run `git lfs pull` in the repository it came from");
    }
    if head.starts_with(b"PK\x03\x04") {
        return Some("this is a zip, probably a PyTorch .pt/.bin: convert it to safetensors (pickles are never read)");
    }
    if head.starts_with(b"\x80") && head.get(1).is_some_and(|v| (2..=5).contains(v)) {
        return Some("this is a Python pickle: convert it to safetensors (pickles are never read)");
    }
    if head.starts_with(b"\x89HDF") {
        return Some("this is an HDF5 file: convert it to safetensors");
    }
    if head.starts_with(b"GGUF") {
        return Some("this is a GGUF file: safetensors weights are needed");
    }
    if text.starts_with(b"<!doctype") || text.starts_with(b"<html") {
        return Some("this is an HTML page: the download failed");
    }
    text.starts_with(b"{").then_some("this is JSON: was the index or config given instead of the weights?")
}

struct Parsed {
    tensors: Vec<(String, RawEntry)>,
    strings: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: Dtype,
    shape: Shape,
    data_offsets: [u64; 2],
}

/// At most [`MAX_RANK`] dimensions: a longer list is refused while it is read.
#[derive(Debug)]
struct Shape(Vec<u64>);

impl std::ops::Deref for Shape {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a list of at most {MAX_RANK} dimensions")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(d) = items.next_element::<u64>()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::custom(format!("more than {MAX_RANK} dimensions")));
                    }
                    shape.push(d);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Dimensions)
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Parsed;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a safetensors header")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
                let mut parsed = Parsed { tensors: Vec::new(), strings: BTreeMap::new() };
                let mut seen = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if seen.contains(&name) {
                        return Err(A::Error::custom(format!("tensor {name:?} occurs twice")));
                    }
                    if name == "__metadata__" {
                        parsed.strings = map.next_value::<Strings>()?.0;
                    } else {
                        check_name(&name).map_err(A::Error::custom)?;
                        if parsed.tensors.len() == MAX_TENSORS {
                            return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                        }
                        let entry = map.next_value().map_err(|e| A::Error::custom(format!("tensor {name:?}: {e}")))?;
                        parsed.tensors.push((name.clone(), entry));
                    }
                    seen.insert(name);
                }
                Ok(parsed)
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// The string-to-string `__metadata__` map, keys unique.
struct Strings(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Strings;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from strings to strings in __metadata__")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                let mut strings = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if strings.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key occurs twice in __metadata__"));
                    }
                }
                Ok(Strings(strings))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Names are shown to people and used as keys: bounded and printable.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(format!("a tensor name of {} bytes, 1 to {MAX_NAME_BYTES} are accepted", name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("tensor name {name:?} has a control character"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
