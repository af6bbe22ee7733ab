//! Tensors: a shape over a shared block of numbers, always contiguous, rows last axis fastest.
//!
//! On the host a tensor holds f32. On the other devices it may also hold bf16 ([`DType`]): a *storage* type that halves
//! the memory of activations and frozen weights; kernels compute in f32. There are no generics over it: ops pick a
//! kernel by [`Tensor::dtype`].

use crate::device::{Device, buffer::Buffer, cuda::cublaslt::Place};
use std::fmt;
use std::sync::Arc;

const MAX_RANK: usize = 5;

/// The extents of a tensor, at most five axes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    rank: u8,
    extents: [usize; MAX_RANK],
}

impl Shape {
    /// A shape from its extents. Panics above five axes.
    #[track_caller]
    pub fn new(extents: &[usize]) -> Shape {
        assert!(extents.len() <= MAX_RANK, "at most {MAX_RANK} axes, got {extents:?}");
        let mut all = [1; MAX_RANK];
        all[..extents.len()].copy_from_slice(extents);
        Shape { rank: extents.len() as u8, extents: all }
    }
    /// The extents as a slice.
    pub fn as_slice(&self) -> &[usize] {
        &self.extents[..self.rank as usize]
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.as_slice().iter().product()
    }
    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The extent of the last axis (1 for a scalar).
    pub fn last(&self) -> usize {
        self.as_slice().last().copied().unwrap_or(1)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// The upper half of an f32: 8 bits of exponent, 7 of mantissa. Not on the host.
    Bf16,
}

impl DType {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::Bf16 => 2,
        }
    }
}

/// A contiguous tensor. Clones share the data; writing needs the only handle ([`Tensor::data_mut`]).
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    dtype: DType,
    buffer: Arc<Buffer>,
    /// Numbers, not bytes.
    offset: usize,
}

impl Tensor {
    /// Host f32 of unspecified content (NaN in debug builds); for ops that write every element.
    pub fn uninit(shape: &[usize]) -> Tensor {
        Tensor::uninit_on(Device::Host, DType::F32, shape)
    }
    /// Unspecified content on any device.
    #[track_caller]
    pub fn uninit_on(device: Device, dtype: DType, shape: &[usize]) -> Tensor {
        assert!(device != Device::Host || dtype == DType::F32, "the host holds f32 only");
        let shape = Shape::new(shape);
        Tensor { shape, dtype, buffer: Arc::new(Buffer::uninit(device, shape.len() * dtype.bytes())), offset: 0 }
    }
    /// Host f32, all zeros.
    pub fn zeros(shape: &[usize]) -> Tensor {
        Tensor::zeros_on(Device::Host, DType::F32, shape)
    }
    /// All zeros on any device.
    #[track_caller]
    pub fn zeros_on(device: Device, dtype: DType, shape: &[usize]) -> Tensor {
        let mut tensor = Tensor::uninit_on(device, dtype, shape);
        Arc::get_mut(&mut tensor.buffer).expect("made above").fill_zero();
        tensor
    }
    /// Unspecified content, on this tensor's device and of its type.
    pub fn like(&self, shape: &[usize]) -> Tensor {
        Tensor::uninit_on(self.device(), self.dtype, shape)
    }
    /// Unspecified f32 content on this tensor's device: statistics, gradients of parameters.
    pub fn like_f32(&self, shape: &[usize]) -> Tensor {
        Tensor::uninit_on(self.device(), DType::F32, shape)
    }
    /// A copy of `data`. Panics when the lengths differ.
    #[track_caller]
    pub fn from_slice(shape: &[usize], data: &[f32]) -> Tensor {
        let mut tensor = Tensor::uninit(shape);
        assert_eq!(tensor.len(), data.len(), "shape {shape:?} does not hold {} numbers", data.len());
        tensor.data_mut().copy_from_slice(data);
        tensor
    }
    /// One number, shape `[]`.
    pub fn scalar(value: f32) -> Tensor {
        Tensor::from_slice(&[], &[value])
    }
    /// A view of the numbers from `offset` on, under another shape.
    #[track_caller]
    pub fn part(&self, offset: usize, shape: Shape) -> Tensor {
        assert!(offset + shape.len() <= self.len(), "{shape:?} at {offset} of {:?}", self.shape);
        Tensor { shape, offset: self.offset + offset, ..self.clone() }
    }
    /// The device that holds the data.
    pub fn device(&self) -> Device {
        self.buffer.device()
    }
    /// How the numbers are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// The address that kernels are given. Panics for host tensors.
    #[track_caller]
    pub(crate) fn address(&self) -> u64 {
        self.buffer.address() + (self.offset * self.dtype.bytes()) as u64
    }
    /// The place on a GPU, as cuBLASLt takes it. Panics elsewhere.
    #[track_caller]
    pub(crate) fn place(&self) -> Place<'_> {
        match &*self.buffer {
            Buffer::Cuda(block) => Place { block, offset: self.offset * self.dtype.bytes() },
            other => panic!("a tensor on {:?} has no place on a GPU", other.device()),
        }
    }
    /// Whether no other tensor shares the numbers: only then may a kernel write to them.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.buffer) == 1
    }
    /// Whether no kernel wrote outside the block (emulator).
    #[cfg(feature = "emu")]
    pub(crate) fn zones_are_intact(&self) -> bool {
        match &*self.buffer {
            Buffer::Emu(block) => block.zones_are_intact(),
            _ => true,
        }
    }
    /// The numbers on another device, in f32 when that is the host; itself when it lies there already.
    #[track_caller]
    pub fn to(&self, device: Device) -> Tensor {
        match (self.device(), device) {
            (from, to) if from == to => self.clone(),
            (Device::Host, _) => {
                let mut out = Tensor::uninit_on(device, DType::F32, self.shape());
                Arc::get_mut(&mut out.buffer).expect("made above").upload(0, bytemuck::cast_slice(self.data()));
                out
            }
            (_, Device::Host) => {
                let mut bytes = vec![0u8; self.len() * self.dtype.bytes()];
                self.buffer.download(self.offset * self.dtype.bytes(), &mut bytes);
                let value = |chunk: &[u8]| match self.dtype {
                    DType::F32 => f32::from_le_bytes(chunk.try_into().expect("four bytes")),
                    DType::Bf16 => half::bf16::from_le_bytes(chunk.try_into().expect("two bytes")).to_f32(),
                };
                let values: Vec<f32> = bytes.chunks_exact(self.dtype.bytes()).map(value).collect();
                Tensor::from_slice(self.shape(), &values)
            }
            (from, to) => panic!("from {from:?} to {to:?} numbers go by way of the host"),
        }
    }
    /// The numbers of a host tensor on another device, rounded to bf16.
    #[track_caller]
    pub fn to_bf16(&self, device: Device) -> Tensor {
        let bits: Vec<u16> = self.data().iter().map(|&v| half::bf16::from_f32(v).to_bits()).collect();
        let mut out = Tensor::uninit_on(device, DType::Bf16, self.shape());
        Arc::get_mut(&mut out.buffer).expect("made above").upload(0, bytemuck::cast_slice(&bits));
        out
    }
    /// Makes sure that nobody else shares the numbers, copying them on the device when somebody does.
    pub fn unshare(&mut self) {
        if !self.is_unshared() {
            let mut own = self.like(self.shape());
            let (at, bytes) = (self.offset * self.dtype.bytes(), self.len() * self.dtype.bytes());
            Arc::get_mut(&mut own.buffer).expect("made above").copy_from(&self.buffer, at, bytes);
            *self = own;
        }
    }
    /// The extents.
    pub fn shape(&self) -> &[usize] {
        self.shape.as_slice()
    }
    /// The extents as exactly `N` numbers. Panics, naming `what`, when the rank differs.
    #[track_caller]
    pub fn dims<const N: usize>(&self, what: &str) -> [usize; N] {
        match self.shape().try_into() {
            Ok(dims) => dims,
            Err(_) => panic!("{what}: expected {N} axes, got shape {:?}", self.shape),
        }
    }
    /// Panics, naming `what`, when the shape differs.
    #[track_caller]
    pub fn expect_shape(&self, what: &str, shape: &[usize]) {
        assert_eq!(self.shape(), shape, "{what}: wrong shape");
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The numbers, last axis fastest.
    pub fn data(&self) -> &[f32] {
        &self.buffer.as_slice()[self.offset..self.offset + self.shape.len()]
    }
    /// The numbers, writable; a shared tensor is copied first.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.unshare();
        let range = self.offset..self.offset + self.shape.len();
        &mut Arc::get_mut(&mut self.buffer).expect("made unique above").as_mut_slice()[range]
    }
    /// The same numbers under another shape. Panics when the counts differ.
    #[track_caller]
    pub fn reshape(&self, shape: &[usize]) -> Tensor {
        let new = Shape::new(shape);
        assert_eq!(new.len(), self.len(), "cannot view shape {:?} as {shape:?}", self.shape);
        Tensor { shape: new, ..self.clone() }
    }
    /// A view of entries `start..start + count` of the first axis.
    #[track_caller]
    pub fn rows(&self, start: usize, count: usize) -> Tensor {
        let all = self.shape();
        assert!(!all.is_empty() && start + count <= all[0], "rows {start}+{count} of shape {all:?}");
        let row: usize = all[1..].iter().product();
        let mut shape = self.shape;
        shape.extents[0] = count;
        Tensor { shape, buffer: self.buffer.clone(), offset: self.offset + start * row, dtype: self.dtype }
    }
    /// The only number of a one-element tensor.
    #[track_caller]
    pub fn item(&self) -> f32 {
        assert_eq!(self.len(), 1, "item() of shape {:?}", self.shape);
        self.to(Device::Host).data()[0]
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.device() != Device::Host {
            return write!(f, "Tensor {:?} {:?} on {:?}", self.dtype, self.shape, self.device());
        }
        let shown = &self.data()[..self.len().min(8)];
        write!(f, "Tensor {:?} {shown:?}{}", self.shape, if self.len() > 8 { " ..." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_share_and_writes_copy() {
        let mut a = Tensor::from_slice(&[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let row = a.rows(1, 2);
        assert_eq!(row.data(), [2.0, 3.0, 4.0, 5.0]);
        a.data_mut()[2] = 9.0;
        assert_eq!(row.data()[0], 2.0);
        assert_eq!(a.reshape(&[6]).data()[2], 9.0);
    }

    #[test]
    #[should_panic(expected = "cannot view")]
    fn reshape_checks_the_count() {
        Tensor::zeros(&[2, 3]).reshape(&[5]);
    }
}
