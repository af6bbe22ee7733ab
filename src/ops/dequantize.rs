//! Weights that were stored in eight or four bits, as f32 or bf16 rows.
//!
//! **int8** (LLM.int8, by rows): values [R,C], bytes that are signed numbers q, absmax f32 [R] -> w[r,c] = q absmax[r] / 127.
//!
//! **NF4** (bitsandbytes): a weight [R,C] is a run of R C numbers in blocks of 64. A byte holds two of them, the first in
//! its high half; each is a place in [`NF4`], times the block's absmax, rounded to the type that the weight had ([`Rounding`]). Those are f32, or bytes again ("double
//! quantised"): absmax[block] = code[byte] scale[block / 256] + offset, with a code of 256 numbers.
//!
//! No gradient flows here: such weights are frozen.

mod host;

use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tensor::{DType, Tensor};

/// The sixteen numbers of NF4: quantiles of a normal distribution over its largest (Dettmers et al., QLoRA).
#[allow(clippy::excessive_precision)]
pub const NF4: [f32; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

/// Numbers that share an absmax.
pub const NF4_BLOCK: usize = 64;
/// Blocks whose absmax, where they are quantised themselves, share a scale.
pub const SCALE_BLOCK: usize = 256;

/// A weight [R,C] in int8, all of it on one device.
#[derive(Clone, Debug)]
pub struct Int8 {
    values: Tensor,
    absmax: Tensor,
}

impl Int8 {
    /// Values U8 [R,C] that hold signed bytes, absmax f32 [R]. Panics when the sizes do not fit.
    #[track_caller]
    pub fn new(values: Tensor, absmax: Tensor) -> Int8 {
        let [rows, _] = values.dims("int8 values");
        assert_eq!((values.dtype(), absmax.dtype()), (DType::U8, DType::F32), "int8: the types of values and absmax");
        absmax.expect_shape("int8 absmax", &[rows]);
        Int8 { values, absmax }
    }
    /// The extents.
    pub fn shape(&self) -> [usize; 2] {
        self.values.dims("int8 values")
    }
    /// The device that holds the weight.
    pub fn device(&self) -> Device {
        self.values.device()
    }
    /// Bytes of the values and of what scales them.
    pub fn bytes(&self) -> usize {
        self.values.len() + 4 * self.absmax.len()
    }
    /// The same weight on another device.
    #[track_caller]
    pub fn to(&self, device: Device) -> Int8 {
        Int8 { values: self.values.to(device), absmax: self.absmax.to(device) }
    }
    /// Rows `first..first + count` as `dtype`, f32 or bf16: [count,C].
    #[track_caller]
    pub fn rows(&self, first: usize, count: usize, dtype: DType) -> Tensor {
        let [_, columns] = self.shape();
        if self.device() == Device::Host {
            return host::rows([count, columns], dtype, |out| self.write(first, out));
        }
        let (values, absmax) = (self.values.rows(first, count), self.absmax.rows(first, count));
        let mut out = Tensor::uninit_on(self.device(), dtype, &[count, columns]);
        let launch = Launch::elements(count * columns.div_ceil(4), 256);
        kernels::dequantize_int8(launch, &mut out, &values, &absmax, count, columns);
        out
    }
    /// Rows from `first` on of a weight on the host, as many as `out` holds.
    #[track_caller]
    pub fn write(&self, first: usize, out: &mut [f32]) {
        let [_, columns] = self.shape();
        let count = out.len() / columns;
        let values = &self.values.values::<u8>()[first * columns..][..count * columns];
        host::int8(bytemuck::cast_slice(values), &self.absmax.data()[first..][..count], out);
    }
}

/// The largest magnitude of every block of a weight in NF4.
#[derive(Clone, Debug)]
pub enum Absmax {
    /// f32 [blocks].
    Plain(Tensor),
    /// Quantised themselves.
    Double {
        /// Places in `code`, U8 [blocks].
        bytes: Tensor,
        /// f32 [256].
        code: Tensor,
        /// f32, one for 256 blocks.
        scale: Tensor,
        /// Added to all.
        offset: f32,
    },
}

/// The type that a weight had before it was packed, to which bitsandbytes rounds what it unpacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// f32: no rounding.
    #[default]
    None,
    /// To 11 bits, as f16.
    F16,
    /// To 8 bits, as bf16.
    Bf16,
}

impl Rounding {
    /// The nearest number of the type to one within its range; of two the even one. In plain arithmetic on bits, of which the
    /// compiler makes vectors.
    #[inline(always)]
    pub fn of(self, v: f32) -> f32 {
        let cut = |drop: u32| {
            let bits = v.to_bits();
            f32::from_bits((bits + (1 << (drop - 1)) - 1 + ((bits >> drop) & 1)) & !((1 << drop) - 1))
        };
        match self {
            Rounding::None => v,
            Rounding::Bf16 => cut(16),
            // Below 2^-14 an f16 has steps of 2^-24, which are those of an f32 near 1/2.
            Rounding::F16 if v.abs() < 6.103_515_6e-5 => (v.abs() + 0.5 - 0.5).copysign(v),
            Rounding::F16 => cut(13),
        }
    }

    /// Bits of an f32 that go, as the kernels take it.
    fn dropped(self) -> usize {
        match self {
            Rounding::None => 0,
            Rounding::F16 => 13,
            Rounding::Bf16 => 16,
        }
    }
}

/// A weight [R,C] in NF4, all of it on one device.
#[derive(Clone, Debug)]
pub struct Nf4 {
    rows: usize,
    columns: usize,
    packed: Tensor,
    absmax: Absmax,
    rounding: Rounding,
}

impl Nf4 {
    /// A weight [rows,columns] from its bytes, U8 of any shape, two numbers each. Panics when the sizes do not fit.
    #[track_caller]
    pub fn new([rows, columns]: [usize; 2], packed: Tensor, absmax: Absmax, rounding: Rounding) -> Nf4 {
        let (count, blocks) = (rows * columns, (rows * columns).div_ceil(NF4_BLOCK));
        assert_eq!((packed.len(), packed.dtype()), (count.div_ceil(2), DType::U8), "NF4: bytes of {rows} x {columns}");
        match &absmax {
            Absmax::Plain(absmax) => assert_eq!(absmax.len(), blocks, "NF4: an absmax for every {NF4_BLOCK} numbers"),
            Absmax::Double { bytes, code, scale, .. } => {
                assert_eq!(bytes.len(), blocks, "NF4: an absmax for every {NF4_BLOCK} numbers");
                assert_eq!(code.len(), 256, "NF4: the code of quantised absmax");
                assert_eq!(scale.len(), blocks.div_ceil(SCALE_BLOCK), "NF4: a scale for every {SCALE_BLOCK} absmax");
            }
        }
        Nf4 { rows, columns, packed, absmax, rounding }
    }
    /// The extents.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }
    /// The same weight on another device.
    #[track_caller]
    pub fn to(&self, device: Device) -> Nf4 {
        let absmax = match &self.absmax {
            Absmax::Plain(absmax) => Absmax::Plain(absmax.to(device)),
            Absmax::Double { bytes, code, scale, offset } => {
                let [bytes, code, scale] = [bytes, code, scale].map(|t| t.to(device));
                Absmax::Double { bytes, code, scale, offset: *offset }
            }
        };
        Nf4 { packed: self.packed.to(device), absmax, ..*self }
    }
    /// The device that holds the weight.
    pub fn device(&self) -> Device {
        self.packed.device()
    }
    /// Bytes of the values and of what scales them.
    pub fn bytes(&self) -> usize {
        let absmax = match &self.absmax {
            Absmax::Plain(absmax) => 4 * absmax.len(),
            Absmax::Double { bytes, code, scale, .. } => bytes.len() + 4 * (code.len() + scale.len()),
        };
        self.packed.len() + absmax
    }
    /// Rows `first..first + count` as `dtype`, f32 or bf16: [count,C].
    #[track_caller]
    pub fn rows(&self, first: usize, count: usize, dtype: DType) -> Tensor {
        assert!(first + count <= self.rows, "NF4: rows {first}+{count} of {}", self.rows);
        let (shape, start) = ([count, self.columns], first * self.columns);
        let n = count * self.columns;
        if self.device() == Device::Host {
            return host::rows(shape, dtype, |out| self.write(first, out));
        }
        let mut out = Tensor::uninit_on(self.packed.device(), dtype, &shape);
        let (launch, dropped) = (Launch::quads(n), self.rounding.dropped());
        match &self.absmax {
            Absmax::Plain(absmax) => kernels::dequantize_nf4(launch, &mut out, &self.packed, absmax, start, n, dropped),
            Absmax::Double { bytes, code, scale, offset } => {
                kernels::dequantize_nf4_double(
                    launch,
                    &mut out,
                    &self.packed,
                    bytes,
                    code,
                    scale,
                    *offset,
                    start,
                    n,
                    dropped,
                );
            }
        }
        out
    }
    /// Rows from `first` on of a weight on the host, as many as `out` holds.
    #[track_caller]
    pub fn write(&self, first: usize, out: &mut [f32]) {
        let (packed, start) = (self.packed.values(), first * self.columns);
        match &self.absmax {
            Absmax::Plain(absmax) => {
                let absmax = absmax.data();
                host::nf4(packed, |block| absmax[block], (start, self.rounding), out);
            }
            Absmax::Double { bytes, code, scale, offset } => {
                let (bytes, scale, offset) = (bytes.values::<u8>(), scale.data(), *offset);
                let code: &[f32; 256] = code.data().try_into().expect("checked when it was made");
                host::nf4(
                    packed,
                    |block| code[usize::from(bytes[block])] * scale[block / SCALE_BLOCK] + offset,
                    (start, self.rounding),
                    out,
                );
            }
        }
    }
}
