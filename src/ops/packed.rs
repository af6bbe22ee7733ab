//! Frozen weights of linear layers in eight or four bits, which products unpack for themselves.
//!
//! Nothing is kept of an unpacked weight: it is made before a product and freed after it, in f32 on the host and in the type
//! of the activations on a device. Where a product on the host has few rows (a generation), rows of the weight are unpacked
//! in the cache and used at once. Either way the numbers are those of the same product with the unpacked weight.

use super::dequantize::{Int8, Nf4};
use super::linear::{input_gradient, linear};
use crate::device::Device;
use crate::device::product::{Matrix, Threads, multiply_rows, reads_rows};
use crate::device::tile::{Extent, Start};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the weights of linear layers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// A signed byte each, and a scale per row.
    Int8,
    /// Half a byte each, and a scale per 64, which is packed itself.
    Nf4,
}

impl Packing {
    /// `int8` or `nf4`.
    pub fn named(name: &str) -> Option<Packing> {
        match name {
            "int8" => Some(Packing::Int8),
            "nf4" => Some(Packing::Nf4),
            _ => None,
        }
    }
}

/// A packed weight [M,K] on any device.
#[derive(Clone, Debug)]
pub enum Packed {
    /// A signed byte each.
    Int8(Int8),
    /// Half a byte each.
    Nf4(Nf4),
}

/// Numbers that a thread unpacks at a time: what the second-level cache holds beside what it is multiplied with.
const TASK: usize = 1 << 16;

impl Packed {
    /// The extents.
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Packed::Int8(weight) => weight.shape(),
            Packed::Nf4(weight) => weight.shape(),
        }
    }
    /// The device that holds the weight.
    pub fn device(&self) -> Device {
        match self {
            Packed::Int8(weight) => weight.device(),
            Packed::Nf4(weight) => weight.device(),
        }
    }
    /// Bytes of the values and of what scales them.
    pub fn bytes(&self) -> usize {
        match self {
            Packed::Int8(weight) => weight.bytes(),
            Packed::Nf4(weight) => weight.bytes(),
        }
    }
    /// How it is packed.
    pub fn packing(&self) -> Packing {
        match self {
            Packed::Int8(_) => Packing::Int8,
            Packed::Nf4(_) => Packing::Nf4,
        }
    }
    /// The same weight on another device.
    #[track_caller]
    pub fn to(&self, device: Device) -> Packed {
        match self {
            Packed::Int8(weight) => Packed::Int8(weight.to(device)),
            Packed::Nf4(weight) => Packed::Nf4(weight.to(device)),
        }
    }
    /// All of it, [M,K], as f32 or bf16.
    #[track_caller]
    pub fn unpacked(&self, dtype: DType, threads: Threads) -> Tensor {
        let [m, k] = self.shape();
        if self.device() != Device::Host || dtype != DType::F32 {
            return match self {
                Packed::Int8(weight) => weight.rows(0, m, dtype),
                Packed::Nf4(weight) => weight.rows(0, m, dtype),
            };
        }
        let mut out = Tensor::uninit(&[m, k]);
        let rows = TASK.div_ceil(k.max(1));
        let task = |(i, out): (usize, &mut [f32])| self.write(i * rows, out);
        match threads {
            Threads::One => self.write(0, out.data_mut()),
            Threads::All | Threads::Apart => out.data_mut().par_chunks_mut(rows * k.max(1)).enumerate().for_each(task),
        }
        out
    }
    /// Rows from `first` on of a weight on the host, as many as `out` holds.
    #[track_caller]
    pub fn write(&self, first: usize, out: &mut [f32]) {
        match self {
            Packed::Int8(weight) => weight.write(first, out),
            Packed::Nf4(weight) => weight.write(first, out),
        }
    }
}

/// The weight [M,K] of a linear layer, plain or packed.
#[derive(Clone)]
pub enum Weight {
    /// Numbers.
    Plain(Var),
    /// Frozen, in eight or four bits.
    Packed(Arc<Packed>),
}

impl From<&Var> for Weight {
    fn from(var: &Var) -> Weight {
        Weight::Plain(var.clone())
    }
}

impl From<&Weight> for Weight {
    fn from(weight: &Weight) -> Weight {
        weight.clone()
    }
}

impl Weight {
    /// The extents [M,K]. Panics for another rank.
    #[track_caller]
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Weight::Plain(var) => var.tensor().dims("the weight of a linear layer"),
            Weight::Packed(packed) => packed.shape(),
        }
    }
    /// Whether a gradient is asked for.
    pub fn is_tracked(&self) -> bool {
        matches!(self, Weight::Plain(var) if var.id().is_some())
    }
    /// The same without a gradient.
    pub fn constant(self) -> Weight {
        match self {
            Weight::Plain(var) => Weight::Plain(Var::constant(var.tensor().clone())),
            packed => packed,
        }
    }
    /// As a product with activations of `dtype` takes it: itself, or unpacked.
    #[track_caller]
    pub fn whole(&self, dtype: DType, threads: Threads) -> Var {
        match self {
            Weight::Plain(var) => var.clone(),
            Weight::Packed(packed) => Var::constant(packed.unpacked(dtype, threads)),
        }
    }
    /// x W^T + bias without a gradient: x [.., K] -> [.., M].
    #[track_caller]
    pub(super) fn times(&self, threads: Threads, x: &Tensor, bias: Option<&Var>) -> Tensor {
        let rows = super::row_count(x.shape());
        if let (Weight::Packed(packed), Device::Host, true) = (self, x.device(), reads_rows(threads, rows)) {
            let [m, k] = packed.shape();
            let mut shape = x.shape().to_vec();
            assert_eq!(shape.last(), Some(&k), "linear: x {shape:?} does not fit a weight of {m} x {k}");
            *shape.last_mut().expect("it has one") = m;
            let mut y = Tensor::uninit(&shape);
            let start = bias.map_or(Start::Zero, |b| Start::Bias(b.data()));
            let x = Matrix { data: x.data(), row: k, column: 1 };
            let write = |first: usize, out: &mut [f32]| packed.write(first, out);
            multiply_rows(threads, Extent { m: rows, n: m, k }, x, &write, y.data_mut(), start);
            return y;
        }
        let (weight, x) = (self.whole(x.dtype(), threads), Var::constant(x.clone()));
        linear(&mut Tape::without_gradients().with_products(threads), &x, &weight, bias).tensor().clone()
    }
    /// dy W, the gradient of an input of `shape` [.., K] for dy [.., M].
    pub(super) fn input_gradient(&self, threads: Threads, shape: &[usize], dy: &Tensor) -> Tensor {
        input_gradient(threads, shape, &self.whole(dy.dtype(), threads), dy)
    }
}
