//! Writing safetensors files: canonical bytes, aligned data, atomically and durably.

use super::Dtype;
use super::header::{MAX_RANK, check_name};
use crate::error::{Error, Result};
use safetensors::tensor::TensorInfo;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

/// One tensor to be written: name, element type, shape and little-endian row-major bytes.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A tensor of any element type. Panics when `bytes` does not have the size of `shape`.
    #[track_caller]
    pub fn new(name: &'a str, dtype: Dtype, shape: &'a [usize], bytes: &'a [u8]) -> Self {
        let bits = shape.iter().product::<usize>() * dtype.bitsize();
        assert_eq!(bits, bytes.len() * 8, "tensor {name:?}: {dtype:?} {shape:?} does not have {} bytes", bytes.len());
        Entry { name, dtype, shape, bytes }
    }
    /// Size of the values.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }
    /// An F32 tensor.
    #[track_caller]
    pub fn f32(name: &'a str, shape: &'a [usize], values: &'a [f32]) -> Self {
        Self::new(name, Dtype::F32, shape, bytemuck::cast_slice(values))
    }
    /// An I64 tensor.
    #[track_caller]
    pub fn i64(name: &'a str, shape: &'a [usize], values: &'a [i64]) -> Self {
        Self::new(name, Dtype::I64, shape, bytemuck::cast_slice(values))
    }
    /// An I16 tensor.
    #[track_caller]
    pub fn i16(name: &'a str, shape: &'a [usize], values: &'a [i16]) -> Self {
        Self::new(name, Dtype::I16, shape, bytemuck::cast_slice(values))
    }
    /// A U8 tensor.
    #[track_caller]
    pub fn u8(name: &'a str, shape: &'a [usize], values: &'a [u8]) -> Self {
        Self::new(name, Dtype::U8, shape, values)
    }
}

/// What a file that was written holds, for manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Size of the whole file.
    pub bytes: u64,
    /// BLAKE3 of the whole file in hexadecimal.
    pub blake3: String,
}

/// A tensor of a file that is made while the file is written: what its header says.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its extents.
    pub shape: Vec<usize>,
}

impl Slot {
    /// Size of the values.
    pub fn byte_len(&self) -> u64 {
        self.shape.iter().map(|&d| d as u64).product::<u64>() * self.dtype.bitsize() as u64 / 8
    }
}

/// Writes `entries` and the `strings` of `__metadata__` to `path`, atomically ([`crate::files::write_atomic`]).
///
/// The bytes depend on the content alone: tensors are stored by element size (largest first, so that each is aligned to
/// its elements) and name, strings by key; the header is padded so that data begins at a multiple of 64. Panics on a
/// name that is empty, too long or given twice.
///
/// # Errors
/// `Io`.
#[track_caller]
pub fn write(path: &Path, entries: &[Entry], strings: &[(&str, &str)]) -> Result<Written> {
    let (sorted, header) = laid_out(entries, strings);
    write_parts(path, &header, |out| {
        sorted.iter().try_for_each(|e| out.write_all(e.bytes).map_err(|e| Error::io("write", path, &e)))
    })
}

/// The bytes that [`write`] writes, for small files that are stored among others.
#[track_caller]
pub fn to_bytes(entries: &[Entry], strings: &[(&str, &str)]) -> Vec<u8> {
    let (sorted, header) = laid_out(entries, strings);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(&header);
    sorted.iter().for_each(|entry| bytes.extend_from_slice(entry.bytes));
    bytes
}

/// The entries in the order of the file, and its header.
#[track_caller]
fn laid_out<'a, 'b>(entries: &'b [Entry<'a>], strings: &[(&str, &str)]) -> (Vec<&'b Entry<'a>>, Vec<u8>) {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|e| (std::cmp::Reverse(e.dtype.bitsize()), e.name));
    let header = header(sorted.iter().map(|e| (e.name, e.dtype, e.shape)), strings);
    (sorted, header)
}

/// [`write`] for tensors that are not all in memory at once: `fill` writes the bytes of each, in the order of the file.
/// Panics when it writes another number of them.
///
/// # Errors
/// `Io`, and those of `fill`.
#[track_caller]
pub fn write_with(
    path: &Path,
    slots: &[Slot],
    strings: &[(&str, &str)],
    mut fill: impl FnMut(&Slot, &mut dyn Write) -> Result<()>,
) -> Result<Written> {
    let mut sorted: Vec<&Slot> = slots.iter().collect();
    sorted.sort_by_key(|s| (std::cmp::Reverse(s.dtype.bitsize()), s.name.as_str()));
    let header = header(sorted.iter().map(|s| (s.name.as_str(), s.dtype, s.shape.as_slice())), strings);
    write_parts(path, &header, |out| {
        sorted.iter().try_for_each(|slot| {
            let before = out.written.bytes;
            fill(slot, out)?;
            assert_eq!(out.written.bytes - before, slot.byte_len(), "bytes of tensor {:?}", slot.name);
            Ok(())
        })
    })
}

/// What goes to a file, counted and hashed on its way.
struct Hashed<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
    written: Written,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.written.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn write_parts(path: &Path, header: &[u8], fill: impl FnOnce(&mut Hashed) -> Result<()>) -> Result<Written> {
    let mut outcome = Ok(Written { bytes: 0, blake3: String::new() });
    crate::files::write_atomic(path, |file| {
        let mut out = Hashed { out: file, hasher: blake3::Hasher::new(), written: Written::default() };
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header)?;
        let filled = fill(&mut out);
        out.written.blake3 = out.hasher.finalize().to_hex().to_string();
        let failed = filled.is_err();
        outcome = filled.map(|()| out.written);
        // Nothing is kept of a file whose tensors could not be made; why is in `outcome`.
        if failed { Err(std::io::Error::other("not filled")) } else { Ok(()) }
    })
    .or_else(|e| if outcome.is_err() { Ok(()) } else { Err(e) })?;
    outcome
}

/// The JSON header of tensors in their order, padded with spaces.
#[track_caller]
fn header<'a>(sorted: impl Iterator<Item = (&'a str, Dtype, &'a [usize])>, strings: &[(&str, &str)]) -> Vec<u8> {
    let mut map = serde_json::Map::new();
    if !strings.is_empty() {
        let mut strings = strings.to_vec();
        strings.sort_unstable();
        let pairs = strings.iter().map(|&(k, v)| (k.to_string(), v.into())).collect();
        map.insert("__metadata__".into(), serde_json::Value::Object(pairs));
    }
    let mut seen = BTreeSet::from(["__metadata__"]);
    let mut position = 0;
    for (name, dtype, shape) in sorted {
        assert!(seen.insert(name), "tensor {name:?} is written twice");
        assert!(shape.len() <= MAX_RANK, "tensor {name:?} has more than {MAX_RANK} dimensions");
        if let Err(message) = check_name(name) {
            panic!("{message}");
        }
        let end = position + shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let info = TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (position, end) };
        map.insert(name.to_string(), serde_json::to_value(info).expect("plain numbers serialise"));
        position = end;
    }
    let mut header = serde_json::to_vec(&map).expect("a JSON map serialises");
    header.resize((header.len() + 8).next_multiple_of(64) - 8, b' ');
    header
}

/// Size and BLAKE3 of any regular file, read in pieces.
///
/// # Errors
/// Those of [`crate::files::open_regular`]; `Io` when it cannot be read.
pub fn hash_file(path: &Path) -> Result<Written> {
    let mut file = crate::files::open_regular(path)?;
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(|e| Error::io("read", path, &e))?;
        if n == 0 {
            return Ok(Written { bytes, blake3: hasher.finalize().to_hex().to_string() });
        }
        hasher.update(&buffer[..n]);
        bytes += n as u64;
    }
}
