//! Packing weights in eight or four bits, as bitsandbytes does it.
//!
//! **int8**: every row by its largest magnitude, q = round(127 w / absmax).
//!
//! **NF4**: blocks of 64 by their largest magnitude, each number to the nearest of the sixteen. The magnitudes are packed
//! themselves: less their mean, blocks of 256 by their largest, each to the nearest of 256 numbers that lie denser towards 0
//! ([`dynamic_code`]; Dettmers et al., "8-bit Optimizers via Block-wise Quantization", arXiv 2110.02861).

use super::dequantize::{Absmax, Int8, NF4, NF4_BLOCK, Nf4, Rounding, SCALE_BLOCK};
use super::packed::{Packed, Packing};
use crate::tensor::{DType, Tensor};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Packs a host weight [M,K], f32 or bf16, on all threads.
#[track_caller]
pub fn packed(weight: &Tensor, packing: Packing) -> Packed {
    let [rows, columns] = weight.dims("a weight to be packed");
    match packing {
        Packing::Int8 => Packed::Int8(int8(weight, rows, columns)),
        Packing::Nf4 => Packed::Nf4(nf4(weight, rows, columns)),
    }
}

/// Bytes of a packed weight [M,K], scales included.
pub fn bytes([rows, columns]: [usize; 2], packing: Packing) -> usize {
    let (count, blocks) = (rows * columns, (rows * columns).div_ceil(NF4_BLOCK));
    match packing {
        Packing::Int8 => count + 4 * rows,
        Packing::Nf4 => count.div_ceil(2) + blocks + 4 * (256 + blocks.div_ceil(SCALE_BLOCK)),
    }
}

/// The numbers from `start` on as f32.
fn part(weight: &Tensor, start: usize, out: &mut [f32]) {
    match weight.dtype() {
        DType::Bf16 => {
            let from = &weight.values::<half::bf16>()[start..start + out.len()];
            out.iter_mut().zip(from).for_each(|(out, v)| *out = v.to_f32());
        }
        _ => out.copy_from_slice(&weight.data()[start..start + out.len()]),
    }
}

fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |most: f32, v| most.max(v.abs()))
}

fn int8(weight: &Tensor, rows: usize, columns: usize) -> Int8 {
    let mut values = Tensor::uninit_on(weight.device(), DType::U8, &[rows, columns]);
    let mut absmax = Tensor::uninit(&[rows]);
    let each = |(row, (values, absmax)): (usize, (&mut [u8], &mut f32))| {
        let mut numbers = vec![0.0; columns];
        part(weight, row * columns, &mut numbers);
        *absmax = largest(&numbers);
        let factor = if *absmax > 0.0 { 127.0 / *absmax } else { 0.0 };
        let q = |v: f32| (v * factor).round_ties_even() as i8 as u8;
        values.iter_mut().zip(&numbers).for_each(|(to, &v)| *to = q(v));
    };
    let rows = values.values_mut::<u8>().par_chunks_mut(columns.max(1)).zip(absmax.data_mut()).enumerate();
    rows.for_each(each);
    Int8::new(values, absmax)
}

/// Blocks that one task packs.
const TASK: usize = 256;

fn nf4(weight: &Tensor, rows: usize, columns: usize) -> Nf4 {
    let (count, blocks) = (rows * columns, (rows * columns).div_ceil(NF4_BLOCK));
    let mut values = Tensor::uninit_on(weight.device(), DType::U8, &[count.div_ceil(2)]);
    let mut absmax = vec![0.0; blocks];
    let tasks = values.values_mut::<u8>().par_chunks_mut(TASK * NF4_BLOCK / 2).zip(absmax.par_chunks_mut(TASK));
    tasks.enumerate().for_each(|(task, (values, absmax))| {
        for (i, (bytes, absmax)) in values.chunks_mut(NF4_BLOCK / 2).zip(absmax).enumerate() {
            let start = (task * TASK + i) * NF4_BLOCK;
            let mut numbers = [0.0; NF4_BLOCK];
            part(weight, start, &mut numbers[..NF4_BLOCK.min(count - start)]);
            *absmax = largest(&numbers);
            let place = |v: f32| if *absmax > 0.0 { nearest(&NF4, v / *absmax) } else { nearest(&NF4, 0.0) };
            bytes
                .iter_mut()
                .zip(numbers.chunks_exact(2))
                .for_each(|(to, two)| *to = place(two[0]) << 4 | place(two[1]));
        }
    });
    let rounding = if weight.dtype() == DType::Bf16 { Rounding::Bf16 } else { Rounding::None };
    Nf4::new([rows, columns], values, double(&absmax), rounding)
}

/// Magnitudes of blocks as bytes.
fn double(absmax: &[f32]) -> Absmax {
    let code = dynamic_code();
    let mean = absmax.iter().map(|&v| f64::from(v)).sum::<f64>() / absmax.len().max(1) as f64;
    let offset = mean as f32;
    let centred: Vec<f32> = absmax.iter().map(|v| v - offset).collect();
    let scale: Vec<f32> = centred.chunks(SCALE_BLOCK).map(largest).collect();
    let bytes: Vec<u8> = centred
        .chunks(SCALE_BLOCK)
        .zip(&scale)
        .flat_map(|(block, &scale)| {
            block.iter().map(move |&v| nearest(code, if scale > 0.0 { v / scale } else { 0.0 }))
        })
        .collect();
    Absmax::Double {
        bytes: Tensor::from_slice(&[bytes.len()], &bytes),
        code: Tensor::from_slice(&[code.len()], code),
        scale: Tensor::from_slice(&[scale.len()], &scale),
        offset,
    }
}

/// The place of the number of a rising code that is nearest to `v`.
fn nearest(code: &[f32], v: f32) -> u8 {
    let above = code.partition_point(|&c| c < v).min(code.len() - 1);
    let below = above.saturating_sub(1);
    (if v - code[below] <= code[above] - v { below } else { above }) as u8
}

/// The 256 numbers of dynamic tree quantisation: 0, 1, and for each of seven decades up to 1 the middles of 2^i equal
/// intervals of its upper nine tenths, i = 0 for the lowest, with both signs.
fn dynamic_code() -> &'static [f32] {
    static CODE: OnceLock<Vec<f32>> = OnceLock::new();
    CODE.get_or_init(|| {
        let mut code = vec![0.0, 1.0];
        for decade in 0..7u32 {
            let (parts, size) = (1u32 << decade, 10f64.powi(decade as i32 - 6));
            for i in 0..parts {
                let middle = 0.1 + 0.9 * (f64::from(i) + 0.5) / f64::from(parts);
                code.extend([(size * middle) as f32, -(size * middle) as f32]);
            }
        }
        code.sort_by(f32::total_cmp);
        code
    })
}
