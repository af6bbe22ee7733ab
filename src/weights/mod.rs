//! Weights and other tensors in safetensors files: strict reading through a memory map, atomic writing.
//!
//! [`Tensors`] opens one file or a Hugging Face model folder (also with the weights in several files) and
//! gives its tensors without copying where dtype and alignment allow it. [`write`] leaves either the old
//! file or the whole new one. Pickles are never read.

pub mod folder;
pub mod header;
mod write;

pub use safetensors::tensor::Dtype;
pub use write::{Entry, Slot, Written, hash_file, to_bytes, write, write_with};

use crate::error::{Context, Error, Result};
use crate::tensor::{DType, Tensor};
use header::Header;
use memmap2::Mmap;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian and read without copying");

/// The tensors of one safetensors file or of one model folder.
pub struct Tensors {
    files: Vec<MappedFile>,
    /// Which file holds a tensor.
    index: BTreeMap<String, usize>,
    /// What was opened, for messages.
    path: PathBuf,
}

struct MappedFile {
    path: PathBuf,
    map: Arc<Mmap>,
    header: Header,
}

impl MappedFile {
    fn open(path: &Path) -> Result<Self> {
        crate::signals::explain_bus_errors();
        let file = crate::files::open_regular(path)?;
        // SAFETY: the map is read-only and the file was checked to be a regular one. If another process cuts
        // the file off while it is mapped, reading it raises SIGBUS, which ends the process (`explain_bus_errors`): never wrong data.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, &e))?;
        let header = header::check(&map).context_with(|| path.display())?;
        Ok(MappedFile { path: path.to_path_buf(), map: Arc::new(map), header })
    }

    /// Where in the file the bytes of a tensor are.
    fn range(&self, name: &str) -> Range<usize> {
        let info = self.header.layout.info(name).expect("the index names tensors of this file");
        let (begin, end) = info.data_offsets;
        self.header.data_start + begin..self.header.data_start + end
    }

    fn bytes(&self, name: &str) -> &[u8] {
        &self.map[self.range(name)]
    }
}

impl Tensors {
    /// Opens one safetensors file. Its header is checked ([`header::check`]) before a tensor is touched.
    ///
    /// # Errors
    /// `Missing`, `Data` naming file and tensor.
    pub fn open(path: &Path) -> Result<Self> {
        let file = MappedFile::open(path)?;
        let index = file.header.names.iter().map(|name| (name.clone(), 0)).collect();
        Ok(Tensors { files: vec![file], index, path: path.to_path_buf() })
    }

    /// Names in sorted order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Numbers of all tensors together.
    pub fn count(&self) -> usize {
        let of = |(name, &file): (&String, &usize)| {
            let info = self.files[file].header.layout.info(name).expect("indexed");
            info.shape.iter().product::<usize>()
        };
        self.index.iter().map(of).sum()
    }

    /// Whether there is no tensor at all.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// The file or folder that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A short hash of what is stored: names, types and extents of all tensors, and the ends of each, a kilobyte at most. It tells
    /// models apart without reading them.
    ///
    /// # Errors
    /// Never for the names of these files.
    pub fn fingerprint(&self) -> Result<String> {
        const END: usize = 1024;
        let mut hasher = blake3::Hasher::new();
        for name in self.names() {
            let (dtype, shape, bytes) = (self.dtype(name)?, self.shape(name)?, self.bytes(name)?);
            hasher.update(format!("{name} {dtype:?} {shape:?}\n").as_bytes());
            hasher.update(&bytes[..bytes.len().min(END)]);
            hasher.update(&bytes[bytes.len().saturating_sub(END)..]);
        }
        Ok(hasher.finalize().to_hex()[..16].to_string())
    }

    /// The `__metadata__` strings of the first file.
    pub fn strings(&self) -> &BTreeMap<String, String> {
        &self.files[0].header.strings
    }

    /// The shape of `name`.
    ///
    /// # Errors
    /// `Data` naming the file when it holds no tensor `name`.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.file_of(name)?.header.layout.info(name).expect("indexed").shape)
    }

    /// The stored element type of `name`.
    ///
    /// # Errors
    /// `Data` naming the file when it holds no tensor `name`.
    pub fn dtype(&self, name: &str) -> Result<Dtype> {
        Ok(self.file_of(name)?.header.layout.info(name).expect("indexed").dtype)
    }

    /// The stored bytes of `name`, little-endian, row-major.
    ///
    /// # Errors
    /// `Data` naming the file when it holds no tensor `name`.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        Ok(self.file_of(name)?.bytes(name))
    }

    /// Values as f32: borrowed when stored as aligned F32, converted from BF16, F16 and F64 otherwise.
    ///
    /// # Errors
    /// `Data` naming file and tensor when it is not there or of another type.
    pub fn f32(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        self.f32_range(name, 0..self.shape(name)?.iter().product())
    }

    /// Some of the values as f32, counted through all axes. Panics for a range that ends outside.
    ///
    /// # Errors
    /// As [`Tensors::f32`].
    #[track_caller]
    pub fn f32_range(&self, name: &str, range: Range<usize>) -> Result<Cow<'_, [f32]>> {
        let dtype = self.dtype(name)?;
        let width = dtype.bitsize() / 8;
        let bytes = self.bytes(name)?.get(range.start * width..range.end * width).expect("a range inside the tensor");
        Ok(match dtype {
            Dtype::F32 => numbers(bytes),
            Dtype::BF16 => Cow::Owned(convert(bytes, |b| half::bf16::from_le_bytes(b).to_f32())),
            Dtype::F16 => Cow::Owned(convert(bytes, |b| half::f16::from_le_bytes(b).to_f32())),
            Dtype::F64 => Cow::Owned(convert(bytes, |b| f64::from_le_bytes(b) as f32)),
            other => return Err(self.wrong_dtype(name, other, "a floating-point tensor (F32, BF16, F16 or F64)")),
        })
    }

    /// Whole numbers as i64: borrowed when stored as aligned I64, widened from smaller ones otherwise.
    ///
    /// # Errors
    /// `Data` naming file and tensor when it is not there or of another type.
    pub fn i64(&self, name: &str) -> Result<Cow<'_, [i64]>> {
        let bytes = self.bytes(name)?;
        Ok(match self.dtype(name)? {
            Dtype::I64 => numbers(bytes),
            Dtype::I32 => Cow::Owned(convert(bytes, |b| i32::from_le_bytes(b) as i64)),
            Dtype::U32 => Cow::Owned(convert(bytes, |b| u32::from_le_bytes(b) as i64)),
            Dtype::I16 => Cow::Owned(convert(bytes, |b| i16::from_le_bytes(b) as i64)),
            Dtype::U8 | Dtype::BOOL => Cow::Owned(bytes.iter().map(|&b| b as i64).collect()),
            other => return Err(self.wrong_dtype(name, other, "a tensor of whole numbers (I64, I32, U32, I16, U8)")),
        })
    }

    /// Elements of exactly this stored type, borrowed: shards are read so. `dtype` must be the one of `T`.
    ///
    /// # Errors
    /// `Data` naming file and tensor when it is not there, of another type or not aligned to its elements.
    pub fn borrowed<T: bytemuck::AnyBitPattern>(&self, name: &str, dtype: Dtype) -> Result<&[T]> {
        assert_eq!(dtype.bitsize(), 8 * size_of::<T>(), "{dtype:?} does not have the size of the Rust type");
        let stored = self.dtype(name)?;
        if stored != dtype {
            return Err(self.wrong_dtype(name, stored, &format!("{dtype:?}")));
        }
        bytemuck::try_cast_slice(self.bytes(name)?).map_err(|_| {
            Error::data(format!("{}: tensor {name:?} is not aligned to its elements", self.path.display()))
        })
    }

    /// Tells the system that nobody will read `name` soon: its pages count to this process no longer. Only a hint: the values
    /// stay what they are in the file.
    pub fn release(&self, name: &str) {
        let Ok(file) = self.file_of(name) else { return };
        let range = file.range(name);
        // SAFETY: the map is read-only and of a file, so a page that is given up is read again from that file when needed.
        unsafe { file.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) }.ok();
    }

    /// Asks the system to read `byte_range` of `name` ahead of their use. Only a hint: nothing fails.
    pub fn prefetch(&self, name: &str, byte_range: std::ops::Range<usize>) {
        let Ok(file) = self.file_of(name) else { return };
        let info = file.header.layout.info(name).expect("indexed");
        let begin = file.header.data_start + (info.data_offsets.0 + byte_range.start).min(info.data_offsets.1);
        let end = file.header.data_start + (info.data_offsets.0 + byte_range.end).min(info.data_offsets.1);
        if begin < end {
            file.map.advise_range(memmap2::Advice::WillNeed, begin, end - begin).ok();
        }
    }

    /// A parameter of a model: f32 of exactly `shape`, every value finite.
    ///
    /// # Errors
    /// `Data` naming file, tensor and both shapes, or the first index that is NaN or infinite.
    pub fn parameter(&self, name: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>> {
        self.expect_shape(name, shape)?;
        let place = || format!("{}: tensor {name:?}", self.path.display());
        let values = self.f32(name)?;
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(Error::data(format!("{} holds {} at element {i}", place(), values[i]))
                .hint("the weights are damaged or the training that wrote them diverged")),
            None => Ok(values),
        }
    }

    /// A frozen weight as it is stored, f32 or bf16 (f16 becomes f32): a view of the mapped file where its numbers are
    /// aligned there, else a copy.
    ///
    /// # Errors
    /// `Data` when it is missing, has another shape or type, or holds a number that is not finite.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let dtype = match self.dtype(name)? {
            Dtype::BF16 => DType::Bf16,
            Dtype::F32 => DType::F32,
            _ => return Ok(Tensor::from_slice(shape, &self.parameter(name, shape)?)),
        };
        self.expect_shape(name, shape)?;
        let file = self.file_of(name)?;
        let range = file.range(name);
        let stored = &file.map[range.clone()];
        let is_finite = match dtype {
            DType::Bf16 => stored.chunks_exact(2).all(|b| b[1] & 0x7f != 0x7f || b[0] & 0x80 == 0),
            _ => stored.chunks_exact(4).all(|b| b[3] & 0x7f != 0x7f || b[2] & 0x80 == 0),
        };
        if !is_finite {
            return Err(Error::data(format!(
                "{}: tensor {name:?} holds a number that is not finite",
                self.path.display()
            ))
            .hint("the weights are damaged or the training that wrote them diverged"));
        }
        let owner: Arc<Mmap> = file.map.clone();
        Ok(Tensor::mapped(owner, range.start, dtype, shape).unwrap_or_else(|| {
            let values: Vec<half::bf16> =
                stored.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]])).collect();
            match dtype {
                DType::Bf16 => Tensor::from_slice(shape, &values),
                _ => Tensor::from_slice(shape, &convert(stored, f32::from_le_bytes)),
            }
        }))
    }

    /// The bytes of a tensor of any type as U8 of `shape`, where they lie in the mapped file. Panics when the counts differ.
    ///
    /// # Errors
    /// `Data` when it is missing.
    #[track_caller]
    pub fn raw(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let file = self.file_of(name)?;
        let range = file.range(name);
        assert_eq!(range.len(), shape.iter().product::<usize>(), "the bytes of {name}");
        let owner: Arc<Mmap> = file.map.clone();
        Ok(Tensor::mapped(owner, range.start, DType::U8, shape).expect("bytes lie anywhere"))
    }

    /// The bytes of a tensor that [`Tensors::tensor`] leaves in their file, read where they lie; `None` where it makes a copy.
    ///
    /// # Errors
    /// `Data` when it is missing.
    pub fn mapped_bytes(&self, name: &str) -> Result<Option<u64>> {
        let size = match self.dtype(name)? {
            Dtype::BF16 => 2,
            Dtype::F32 => 4,
            _ => return Ok(None),
        };
        // The file begins at a page.
        let range = self.file_of(name)?.range(name);
        Ok(range.start.is_multiple_of(size).then_some(range.len() as u64))
    }

    fn expect_shape(&self, name: &str, shape: &[usize]) -> Result<()> {
        let stored = self.shape(name)?;
        if stored == shape {
            return Ok(());
        }
        let place = format!("{}: tensor {name:?}", self.path.display());
        Err(Error::data(format!("{place} has shape {stored:?}, the model needs {shape:?}")))
    }

    fn file_of(&self, name: &str) -> Result<&MappedFile> {
        match self.index.get(name) {
            Some(&file) => Ok(&self.files[file]),
            None => Err(self.missing(name)),
        }
    }

    fn missing(&self, name: &str) -> Error {
        let error = Error::data(format!("{}: tensor {name:?} is missing", self.path.display()));
        let near = self.names().map(|n| (strsim::jaro_winkler(n, name), n)).max_by(|a, b| a.0.total_cmp(&b.0));
        match near {
            Some((score, n)) if score > 0.85 => error.hint(format!("the nearest name there is {n:?}")),
            _ => error,
        }
    }

    fn wrong_dtype(&self, name: &str, stored: Dtype, wanted: &str) -> Error {
        let path = self.index.get(name).map_or(&self.path, |&file| &self.files[file].path);
        Error::data(format!("{}: tensor {name:?} is stored as {stored:?}, needed is {wanted}", path.display()))
    }
}

/// Elements in place when aligned, else copied out.
fn numbers<T: bytemuck::Pod>(bytes: &[u8]) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) => Cow::Borrowed(values),
        Err(_) => Cow::Owned(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()),
    }
}

fn convert<T, const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| f(chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn sample(folder: &Path) -> PathBuf {
        let path = folder.join("w.safetensors");
        let entries = [
            Entry::u8("bytes", &[3], &[1, 2, 3]),
            Entry::f32("a.weight", &[2, 2], &[1.0, -2.0, 3.5, 0.0]),
            Entry::new("half", Dtype::BF16, &[2], &[0x80, 0x3f, 0x00, 0xc0]),
            Entry::new("ieee", Dtype::F16, &[1], &[0x00, 0x3c]),
            Entry::new("double", Dtype::F64, &[1], bytemuck::bytes_of(&0.25f64)),
            Entry::i64("ids", &[2], &[-1, 7]),
            Entry::i16("audio", &[1, 3], &[-32768, 0, 5]),
            Entry::f32("none", &[0, 4], &[]),
        ];
        write(&path, &entries, &[("format", "pt"), ("about", "test")]).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read_and_the_crate_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let path = sample(folder.path());
        let t = Tensors::open(&path).unwrap();
        let borrowed = t.f32("a.weight").unwrap();
        assert!(matches!(borrowed, Cow::Borrowed(_)), "aligned F32 must not be copied");
        assert_eq!(*borrowed, [1.0, -2.0, 3.5, 0.0]);
        assert_eq!(*t.f32("half").unwrap(), [1.0, -2.0]);
        assert_eq!(*t.f32("ieee").unwrap(), [1.0]);
        assert_eq!(*t.f32("double").unwrap(), [0.25]);
        assert_eq!(*t.i64("ids").unwrap(), [-1, 7]);
        assert_eq!(*t.i64("audio").unwrap(), [-32768, 0, 5]);
        assert_eq!(t.borrowed::<i16>("audio", Dtype::I16).unwrap(), [-32768, 0, 5]);
        assert_eq!(t.shape("none").unwrap(), [0, 4]);
        assert_eq!(t.strings()["about"], "test");
        let bytes = std::fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.len(), t.len());
        for name in t.names() {
            let view = theirs.tensor(name).unwrap();
            assert_eq!(
                (view.dtype(), view.shape(), view.data()),
                (t.dtype(name).unwrap(), t.shape(name).unwrap(), t.bytes(name).unwrap())
            );
        }
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!((8 + header) % 64, 0, "data begins on a cache line");
    }

    #[test]
    fn the_same_tensors_give_the_same_bytes_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Entry::f32("a", &[1], &[1.0]), Entry::f32("b", &[1], &[2.0]));
        let (p, q) = (folder.path().join("p"), folder.path().join("q"));
        let one = write(&p, &[a.clone(), b.clone()], &[("x", "1"), ("y", "2")]).unwrap();
        let two = write(&q, &[b, a], &[("y", "2"), ("x", "1")]).unwrap();
        assert_eq!(one, two);
        assert_eq!(one.blake3, blake3::hash(&std::fs::read(&p).unwrap()).to_hex().to_string());
    }

    #[test]
    fn a_parameter_must_have_its_shape_and_be_finite() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        write(&path, &[Entry::f32("layers.0.weight", &[2], &[1.0, f32::NAN])], &[]).unwrap();
        let t = Tensors::open(&path).unwrap();
        let nan = t.parameter("layers.0.weight", &[2]).unwrap_err();
        assert!(nan.message().contains("layers.0.weight") && nan.message().contains("element 1"), "{nan}");
        assert!(t.parameter("layers.0.weight", &[1, 2]).unwrap_err().message().contains("[1, 2]"));
        let typo = t.parameter("layers.0.weigth", &[2]).unwrap_err();
        assert_eq!(typo.kind(), Kind::Data);
        assert!(typo.to_string().contains("nearest name there is \"layers.0.weight\""), "{typo}");
        assert!(t.i64("layers.0.weight").is_err());
    }
}
