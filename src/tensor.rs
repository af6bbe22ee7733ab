//! Tensors: a shape over a shared block of f32, always contiguous, rows last axis fastest.

use crate::device::{Device, host::Buffer};
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

/// A contiguous f32 tensor. Clones share the data; writing needs the only handle ([`Tensor::data_mut`]).
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    buffer: Arc<Buffer>,
    offset: usize,
}

impl Tensor {
    /// Unspecified content (NaN in debug builds); for ops that write every element.
    pub fn uninit(shape: &[usize]) -> Tensor {
        let shape = Shape::new(shape);
        Tensor { shape, buffer: Arc::new(Buffer::uninit(shape.len())), offset: 0 }
    }
    /// All zeros.
    pub fn zeros(shape: &[usize]) -> Tensor {
        let shape = Shape::new(shape);
        Tensor { shape, buffer: Arc::new(Buffer::zeroed(shape.len())), offset: 0 }
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
    /// A tensor over part of a shared buffer.
    pub(crate) fn from_buffer(shape: Shape, buffer: Arc<Buffer>, offset: usize) -> Tensor {
        assert!(offset + shape.len() <= buffer.as_slice().len());
        Tensor { shape, buffer, offset }
    }
    /// The device that holds the data.
    pub fn device(&self) -> Device {
        Device::Host
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
        if Arc::get_mut(&mut self.buffer).is_none() {
            let mut own = Buffer::uninit(self.len());
            own.as_mut_slice().copy_from_slice(self.data());
            (self.buffer, self.offset) = (Arc::new(own), 0);
        }
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
        Tensor { shape, buffer: self.buffer.clone(), offset: self.offset + start * row }
    }
    /// The only number of a one-element tensor.
    #[track_caller]
    pub fn item(&self) -> f32 {
        assert_eq!(self.len(), 1, "item() of shape {:?}", self.shape);
        self.data()[0]
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
