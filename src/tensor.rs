//! Tensors: a shape over a shared block of numbers, always contiguous, rows last axis fastest.
//!
//! A tensor holds f32, bf16, i32 or bytes ([`DType`]) on any device. bf16 is a *storage* type that halves the memory of
//! frozen weights and, on devices, of activations; everything computes in f32. There are no generics over it: ops ask
//! [`Tensor::dtype`]. The numbers of a frozen weight may lie in a mapped file ([`Tensor::mapped`]).

pub use crate::device::{DType, Element};

use crate::device::buffer::{Buffer, Owner};
use crate::device::{Device, cuda, cuda::cublaslt::Place, raise};
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
    /// A copy of `data` on the host. Panics when the lengths differ.
    #[track_caller]
    pub fn from_slice<T: Element>(shape: &[usize], data: &[T]) -> Tensor {
        let mut tensor = Tensor::uninit_on(Device::Host, T::DTYPE, shape);
        assert_eq!(tensor.len(), data.len(), "shape {shape:?} does not hold {} numbers", data.len());
        tensor.values_mut().copy_from_slice(data);
        tensor
    }
    /// Numbers of a host tensor that lie in foreign bytes, such as a mapped file, from byte `start` on: no copy is made.
    /// `None` where they do not lie at a multiple of their size, as slices must. Panics when they end outside.
    #[track_caller]
    pub fn mapped(owner: Owner, start: usize, dtype: DType, shape: &[usize]) -> Option<Tensor> {
        let shape = Shape::new(shape);
        let bytes = &(*owner).as_ref()[start..start + shape.len() * dtype.bytes()];
        if !(bytes.as_ptr() as usize).is_multiple_of(dtype.bytes()) {
            return None;
        }
        let range = start..start + bytes.len();
        Some(Tensor { shape, dtype, buffer: Arc::new(Buffer::Mapped(owner, range)), offset: 0 })
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
    /// Whether no other tensor shares the numbers and no file holds them: only then may they be written to.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.buffer) == 1 && self.buffer.is_writable()
    }
    /// Whether no kernel wrote outside the block (emulator).
    #[cfg(feature = "emu")]
    pub(crate) fn zones_are_intact(&self) -> bool {
        match &*self.buffer {
            Buffer::Emu(block) => block.zones_are_intact(),
            _ => true,
        }
    }
    /// The numbers on another device, stored in the same way; itself when it lies there already.
    #[track_caller]
    pub fn to(&self, device: Device) -> Tensor {
        let (at, bytes) = (self.offset * self.dtype.bytes(), self.len() * self.dtype.bytes());
        let made = |fill: &dyn Fn(&mut Buffer)| {
            let mut out = Tensor::uninit_on(device, self.dtype, self.shape());
            fill(Arc::get_mut(&mut out.buffer).expect("made above"));
            out
        };
        match (self.device(), device) {
            (from, to) if from == to => self.clone(),
            (Device::Host, _) => made(&|out| out.upload(0, &self.buffer.bytes()[at..at + bytes])),
            (_, Device::Host) => made(&|out| self.buffer.download(at, &mut out.bytes_mut()[..bytes])),
            (from, to) => panic!("from {from:?} to {to:?} numbers go by way of the host"),
        }
    }
    /// Begins to copy the numbers of a host tensor to another device, beside the work that it was asked for: the next batch
    /// during a step.
    #[track_caller]
    pub fn send(&self, device: Device) -> Arriving {
        let source = match device {
            Device::Cuda(ordinal) => {
                let (at, bytes) = (self.offset * self.dtype.bytes(), self.len() * self.dtype.bytes());
                let sent = cuda::open(ordinal).and_then(|gpu| gpu.prefetch(&self.buffer.bytes()[at..at + bytes]));
                Source::Gpu(sent.unwrap_or_else(|error| raise(error)))
            }
            _ => Source::Here(self.to(device)),
        };
        Arriving { shape: self.shape, dtype: self.dtype, source }
    }
    /// Numbers of f32 or bf16 as f32 on the host, for whoever looks at results. Panics for integers.
    #[track_caller]
    pub fn to_host_f32(&self) -> Tensor {
        let host = self.to(Device::Host);
        match self.dtype {
            DType::F32 => host,
            DType::Bf16 => {
                let mut wide = Tensor::uninit(self.shape());
                let narrow = host.values::<half::bf16>();
                wide.data_mut().iter_mut().zip(narrow).for_each(|(wide, narrow)| *wide = narrow.to_f32());
                wide
            }
            other => panic!("{other:?} are no floating-point numbers"),
        }
    }
    /// The numbers of a host f32 tensor on any device, rounded to bf16.
    #[track_caller]
    pub fn to_bf16(&self, device: Device) -> Tensor {
        let rounded: Vec<half::bf16> = self.data().iter().map(|&v| half::bf16::from_f32(v)).collect();
        Tensor::from_slice(self.shape(), &rounded).to(device)
    }
    /// Makes sure that nobody else shares the numbers, copying them on the device when somebody does.
    pub fn unshare(&mut self) {
        if !self.is_unshared() {
            let mut own = self.like(self.shape());
            let (at, bytes) = (self.offset * self.dtype.bytes(), self.len() * self.dtype.bytes());
            Arc::get_mut(&mut own.buffer).expect("made above").copy_from(0, &self.buffer, at, bytes);
            *self = own;
        }
    }
    /// The same numbers of a host tensor in a block that holds nothing else: what is kept for long must not keep the rest of a larger result.
    pub fn compact(self) -> Tensor {
        if self.offset == 0 && self.buffer.bytes().len() == self.len() * self.dtype.bytes() {
            return self;
        }
        let mut own = self.like(self.shape());
        own.put(0, &self);
        own
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
    /// The numbers of a host f32 tensor, last axis fastest.
    #[track_caller]
    pub fn data(&self) -> &[f32] {
        self.values()
    }
    /// The numbers of a host f32 tensor, writable; a shared tensor is copied first.
    #[track_caller]
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.values_mut()
    }
    /// The numbers of a host tensor, last axis fastest. Panics when it stores another type.
    #[track_caller]
    pub fn values<T: Element>(&self) -> &[T] {
        assert_eq!(self.dtype, T::DTYPE, "the tensor stores another type");
        &bytemuck::cast_slice(self.buffer.bytes())[self.offset..self.offset + self.shape.len()]
    }
    /// The numbers of a host tensor, writable; a shared tensor is copied first. Panics when it stores another type.
    #[track_caller]
    pub fn values_mut<T: Element>(&mut self) -> &mut [T] {
        assert_eq!(self.dtype, T::DTYPE, "the tensor stores another type");
        self.unshare();
        let range = self.offset..self.offset + self.shape.len();
        let bytes = Arc::get_mut(&mut self.buffer).expect("made unique above").bytes_mut();
        &mut bytemuck::cast_slice_mut(bytes)[range]
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
    /// Tensors [n, ..] one after the other along their first axis; a single one is itself. Panics when there is none or
    /// when types, devices or the other extents differ.
    #[track_caller]
    pub fn stacked(parts: &[Tensor]) -> Tensor {
        let [first, others @ ..] = parts else { panic!("nothing to stack") };
        if others.is_empty() {
            return first.clone();
        }
        let fits = |t: &Tensor| {
            (t.dtype, t.device()) == (first.dtype, first.device()) && t.shape().get(1..) == first.shape().get(1..)
        };
        assert!(!first.shape().is_empty() && others.iter().all(fits), "stacked tensors differ");
        let mut shape = first.shape;
        shape.extents[0] = parts.iter().map(|t| t.shape()[0]).sum();
        let mut all = first.like(shape.as_slice());
        let (buffer, mut at) = (Arc::get_mut(&mut all.buffer).expect("made above"), 0);
        for part in parts {
            let bytes = part.len() * part.dtype.bytes();
            buffer.copy_from(at, &part.buffer, part.offset * part.dtype.bytes(), bytes);
            at += bytes;
        }
        all
    }
    /// Copies the numbers of `part` to those from number `at` on. Panics when types or devices differ or they end outside.
    #[track_caller]
    pub fn put(&mut self, at: usize, part: &Tensor) {
        assert!((part.dtype, part.device()) == (self.dtype, self.device()), "a part of another type or device");
        assert!(at + part.len() <= self.len(), "{} numbers at {at} of {:?}", part.len(), self.shape);
        self.unshare();
        let (to, bytes) = ((self.offset + at) * self.dtype.bytes(), part.len() * self.dtype.bytes());
        let buffer = Arc::get_mut(&mut self.buffer).expect("made unique above");
        buffer.copy_from(to, &part.buffer, part.offset * part.dtype.bytes(), bytes);
    }
    /// The only number of a one-element tensor.
    #[track_caller]
    pub fn item(&self) -> f32 {
        assert_eq!(self.len(), 1, "item() of shape {:?}", self.shape);
        self.to_host_f32().data()[0]
    }
}

/// Numbers on their way to a device ([`Tensor::send`]).
pub struct Arriving {
    shape: Shape,
    dtype: DType,
    source: Source,
}

enum Source {
    Here(Tensor),
    Gpu(cuda::Prefetched),
}

impl Arriving {
    /// The tensor, for work that follows: the device waits for the copy, the host does not.
    #[track_caller]
    pub fn tensor(self) -> Tensor {
        match self.source {
            Source::Here(tensor) => tensor,
            Source::Gpu(prefetched) => {
                let block = prefetched.block().unwrap_or_else(|error| raise(error));
                let buffer = Arc::new(Buffer::Cuda(block));
                Tensor { shape: self.shape, dtype: self.dtype, buffer, offset: 0 }
            }
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.device() != Device::Host {
            return write!(f, "Tensor {:?} {:?} on {:?}", self.dtype, self.shape, self.device());
        }
        let more = if self.len() > 8 { " ..." } else { "" };
        let first = self.reshape(&[self.len()]).rows(0, self.len().min(8));
        match self.dtype {
            DType::F32 => write!(f, "Tensor {:?} {:?}{more}", self.shape, first.data()),
            DType::Bf16 => write!(f, "Tensor Bf16 {:?} {:?}{more}", self.shape, first.values::<half::bf16>()),
            DType::I32 => write!(f, "Tensor I32 {:?} {:?}{more}", self.shape, first.values::<i32>()),
            DType::U8 => write!(f, "Tensor U8 {:?} {:?}{more}", self.shape, first.values::<u8>()),
        }
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
    fn stacked_tensors_lie_one_after_the_other() {
        for device in [Device::Host, Device::Emu] {
            let all = Tensor::from_slice(&[3, 2], &[1i32, 2, 3, 4, 5, 6]).to(device);
            let stacked = Tensor::stacked(&[all.rows(2, 1), all.rows(0, 2)]);
            assert_eq!(stacked.shape(), [3, 2]);
            assert_eq!(stacked.to(Device::Host).values::<i32>(), [5, 6, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn every_type_goes_to_a_device_and_back() {
        let numbers = [1.5f32, -2.0, 3.25];
        let tensors = [
            Tensor::from_slice(&[3], &numbers),
            Tensor::from_slice(&[3], &numbers).to_bf16(Device::Host),
            Tensor::from_slice(&[3], &[7i32, -1, i32::MAX]),
            Tensor::from_slice(&[3], &[0u8, 1, 255]),
        ];
        for tensor in tensors {
            let part = tensor.rows(1, 2);
            let (here, back) = (format!("{part:?}"), format!("{:?}", part.to(Device::Emu).to(Device::Host)));
            assert_eq!(here, back);
            assert_eq!(part.to(Device::Emu).dtype(), tensor.dtype());
        }
        let narrow = Tensor::from_slice(&[3], &numbers).to_bf16(Device::Emu);
        assert_eq!(narrow.to_host_f32().data(), numbers);
    }

    #[test]
    fn a_mapped_tensor_is_read_where_it_lies_and_copied_before_a_write() {
        let bytes: Vec<u8> = std::iter::repeat_n(0, 4).chain((0..8u8).flat_map(|i| [i, 0, 0, 0])).collect();
        // Numbers of a vector of integers lie at a multiple of four.
        let words: Vec<u32> = bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        struct Words(Vec<u32>);
        impl AsRef<[u8]> for Words {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        let owner: Owner = Arc::new(Words(words));
        let mut tensor = Tensor::mapped(owner.clone(), 8, DType::I32, &[3]).unwrap();
        assert_eq!(tensor.values::<i32>(), [1, 2, 3]);
        assert_eq!(tensor.values::<i32>().as_ptr().cast(), (*owner).as_ref()[8..].as_ptr());
        assert!(!tensor.is_unshared());
        tensor.values_mut::<i32>()[0] = 9;
        assert_eq!((*owner).as_ref()[8], 1);
        assert_eq!(tensor.values::<i32>(), [9, 2, 3]);
        assert!(Tensor::mapped(owner, 5, DType::I32, &[3]).is_none());
    }

    #[test]
    #[should_panic(expected = "stores another type")]
    fn integers_are_not_read_as_floats() {
        Tensor::from_slice(&[1], &[1i32]).data();
    }

    #[test]
    #[should_panic(expected = "cannot view")]
    fn reshape_checks_the_count() {
        Tensor::zeros(&[2, 3]).reshape(&[5]);
    }
}
