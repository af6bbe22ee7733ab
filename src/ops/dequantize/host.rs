//! Packed weights as f32 on the host, a vector at a time.

use super::{NF4, NF4_BLOCK, Rounding};
use crate::device::simd::{Kernel, Simd, dispatch};
use crate::tensor::{DType, Tensor};

/// Bytes ahead of those that are unpacked that are asked for: between short reads of packed rows the machine does not see where
/// the next ones lie.
const AHEAD: usize = 2048;
/// What bitsandbytes multiplies by after the absmax, rounded to f32.
const INT8_SCALE: f32 = 1.0 / 127.0;

/// A host tensor of rows that `write` makes as f32.
#[track_caller]
pub(super) fn rows(shape: [usize; 2], dtype: DType, write: impl FnOnce(&mut [f32])) -> Tensor {
    let mut wide = Tensor::uninit(&shape);
    write(wide.data_mut());
    match dtype {
        DType::F32 => wide,
        DType::Bf16 => wide.to_bf16(crate::device::Device::Host),
        other => panic!("weights are not computed with as {other:?}"),
    }
}

/// values [R,C] and absmax [R] -> out [R,C].
pub(super) fn int8(values: &[i8], absmax: &[f32], out: &mut [f32]) {
    let columns = out.len() / absmax.len().max(1);
    if columns > 0 {
        dispatch(Int8 { values, absmax, columns, out });
    }
}

struct Int8<'a> {
    values: &'a [i8],
    absmax: &'a [f32],
    columns: usize,
    out: &'a mut [f32],
}

impl Kernel for Int8<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.values.chunks_exact(self.columns).zip(self.out.chunks_exact_mut(self.columns));
        for ((values, out), &absmax) in rows.zip(self.absmax) {
            let (factor, scale) = (simd.splat(absmax), simd.splat(INT8_SCALE));
            let whole = values.len() - values.len() % S::LANES;
            for at in (0..whole).step_by(S::LANES) {
                if at % 64 == 0 {
                    simd.prefetch(values.as_ptr().wrapping_add(at + AHEAD));
                }
                // SAFETY: both slices have `LANES` numbers from `at` on.
                unsafe {
                    let v = simd.load_i8(values.as_ptr().add(at));
                    simd.store(out.as_mut_ptr().add(at), simd.mul(simd.mul(v, factor), scale));
                }
            }
            for (out, &v) in out[whole..].iter_mut().zip(&values[whole..]) {
                *out = f32::from(v) * absmax * INT8_SCALE;
            }
        }
    }
}

/// The numbers from `start` on of a weight in NF4, as many as `out` holds.
pub(super) fn nf4(packed: &[u8], absmax: impl Fn(usize) -> f32, (start, rounding): (usize, Rounding), out: &mut [f32]) {
    dispatch(Nf4 { packed, absmax, start, rounding, out });
}

struct Nf4<'a, A> {
    packed: &'a [u8],
    absmax: A,
    start: usize,
    rounding: Rounding,
    out: &'a mut [f32],
}

impl<A: Fn(usize) -> f32> Kernel for Nf4<'_, A> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Nf4 { packed, absmax, start, rounding, out } = self;
        let mut at = 0;
        while at < out.len() {
            // To the end of a block, whose numbers share a scale.
            let first = start + at;
            let count = (NF4_BLOCK - first % NF4_BLOCK).min(out.len() - at);
            let (scale, part) = (absmax(first / NF4_BLOCK), &mut out[at..at + count]);
            // A block has no more than sixteen numbers, which may be rounded before they are looked up.
            let (numbers, factor) = match rounding {
                Rounding::None => (NF4, scale),
                Rounding::Bf16 => (NF4.map(|v| Rounding::Bf16.of(v * scale)), 1.0),
                Rounding::F16 => (NF4.map(|v| Rounding::F16.of(v * scale)), 1.0),
            };
            if count == NF4_BLOCK {
                let bytes = &packed[first / 2..][..NF4_BLOCK / 2];
                simd.prefetch(bytes.as_ptr().wrapping_add(AHEAD));
                for from in (0..NF4_BLOCK).step_by(S::LANES) {
                    // SAFETY: a whole block lies in both slices, and vectors divide it.
                    unsafe {
                        let v = simd.look_up(&numbers, bytes.as_ptr().add(from / 2));
                        simd.store(part.as_mut_ptr().add(from), simd.mul(v, simd.splat(factor)));
                    }
                }
            } else {
                for (i, out) in part.iter_mut().enumerate() {
                    let (byte, is_high) = (packed[(first + i) / 2], (first + i) % 2 == 0);
                    *out = numbers[usize::from(if is_high { byte >> 4 } else { byte & 15 })] * factor;
                }
            }
            at += count;
        }
    }
}
