//! Products with many rows: panels of B, blocks of A, tiles of C.

use super::{Matrix, STEPS, Work};
use crate::device::host::Buffer;
use crate::device::simd::{Element, Simd};
use crate::device::tile::{Ahead, Panel, Start, Target, columns, transpose};

/// Columns of B that are packed at once: with [`STEPS`] steps a quarter of a megabyte.
const COLUMNS: usize = 144;
/// Rows of A that pass one panel after the other, so that they are still in the cache: whole tiles of 4, 6 or 8.
const ROWS: usize = 96;

/// # Safety
/// The operands cover the extents of `work`, and nobody else uses the part of C.
#[inline(always)]
pub(super) unsafe fn by_panels<S: Simd, T: Element>(simd: S, work: &Work<T>) {
    let (k, [from, end]) = (work.extent.k, work.part.columns);
    let width = S::VECTORS * S::LANES;
    let sums = k.div_ceil(STEPS).max(1);
    let steps = k.div_ceil(sums);
    let mut b = Buffer::uninit(steps.max(1) * COLUMNS.min((end - from).next_multiple_of(width)));
    let mut a = Buffer::uninit(if work.a.column == 1 { 0 } else { steps * ROWS });
    let block = |index: usize| {
        let (column, first) = (from + index / sums * COLUMNS, index % sums * steps);
        Block { first, steps: steps.min(k - first), column, n: (end - column).min(COLUMNS) }
    };
    let blocks = (end - from).div_ceil(COLUMNS) * sums;
    let m_all = work.part.rows[1] - work.part.rows[0];
    for index in 0..blocks {
        let this = block(index);
        let mut next = if index + 1 < blocks { block(index + 1).ahead(work) } else { None };
        if let Some(next) = &mut next {
            next.share(m_all.div_ceil(S::ROWS) * this.n.div_ceil(width) * this.steps);
        }
        // SAFETY: the block lies within the extents.
        unsafe {
            pack_columns(simd, work, &this, b.as_mut_slice());
            for row in (work.part.rows[0]..work.part.rows[1]).step_by(ROWS) {
                let m = ROWS.min(work.part.rows[1] - row);
                rows(simd, work, &this, (row, m), b.as_slice(), a.as_mut_slice(), next.as_mut());
            }
        }
    }
}

/// A block of B.
struct Block {
    /// The first step along K, and how many.
    first: usize,
    steps: usize,
    /// The first column, and how many.
    column: usize,
    n: usize,
}

impl Block {
    /// Its numbers in memory, `None` where they do not lie in runs.
    fn ahead<T: Element>(&self, work: &Work<T>) -> Option<Ahead> {
        let (b, b_row, b_column) = work.b;
        let (count, len, stride) = match (b_row, b_column) {
            (1, _) => (self.n, self.steps, b_column),
            (_, 1) => (self.steps, self.n, b_row),
            _ => return None,
        };
        Some(Ahead::new(b.as_ptr().wrapping_add(self.first * b_row + self.column * b_column), count, len, stride))
    }
}

/// The block as panels [steps, width] of the accumulators' width, one after the other; the last may be narrower.
#[inline(always)]
unsafe fn pack_columns<S: Simd, T: Element>(simd: S, work: &Work<T>, block: &Block, to: &mut [f32]) {
    let (width, (b, b_row, b_column)) = (S::VECTORS * S::LANES, work.b);
    let from = &b[(block.first * b_row + block.column * b_column).min(b.len())..];
    for (j, panel) in (0..block.n).step_by(width).zip(to.chunks_mut((block.steps * width).max(1))) {
        let n = (block.n - j).min(width);
        if b_row == 1 {
            transpose(simd, (n, block.steps), (&from[j * b_column..], b_column), 1.0, panel, width);
        } else if b_column == 1 {
            for (step, to) in panel.chunks_exact_mut(width).take(block.steps).enumerate() {
                copy(simd, &from[step * b_row + j..][..n], to);
            }
        } else {
            for (step, to) in panel.chunks_exact_mut(width).take(block.steps).enumerate() {
                for (i, to) in to.iter_mut().enumerate().take(n) {
                    *to = from[step * b_row + (j + i) * b_column].to_f32();
                }
            }
        }
    }
}

/// Widens and copies a run of numbers.
#[inline(always)]
fn copy<S: Simd, T: Element>(simd: S, from: &[T], to: &mut [f32]) {
    assert!(to.len() >= from.len());
    let whole = from.len() - from.len() % S::LANES;
    // SAFETY: both runs hold `from.len()` numbers.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            simd.store(to.as_mut_ptr().add(at), T::load(simd, from.as_ptr().add(at)));
        }
        let left = from.len() - whole;
        if left > 0 {
            let rest = T::load_first(simd, from.as_ptr().add(whole), left);
            simd.store_first(to.as_mut_ptr().add(whole), rest, left);
        }
    }
}

/// C of `m` rows from `row` on += rows of A times the packed block.
#[inline(always)]
unsafe fn rows<S: Simd, T: Element>(
    simd: S,
    work: &Work<T>,
    block: &Block,
    (row, m): (usize, usize),
    b: &[f32],
    packed: &mut [f32],
    next: Option<&mut Ahead>,
) {
    let (width, a) = (S::VECTORS * S::LANES, work.a);
    let is_packed = a.column != 1;
    let from = &a.data[(row * a.row + block.first * a.column).min(a.data.len())..];
    if is_packed {
        match S::ROWS {
            8 => pack_rows::<8>(from, a, (m, block.steps), packed),
            6 => pack_rows::<6>(from, a, (m, block.steps), packed),
            _ => pack_rows::<4>(from, a, (m, block.steps), packed),
        }
    }
    let (bias, sum) = match work.start {
        _ if block.first > 0 => (std::ptr::null(), true),
        Start::Zero => (std::ptr::null(), false),
        Start::Sum => (std::ptr::null(), true),
        Start::Bias(bias) => (bias[block.column..].as_ptr(), false),
    };
    let ahead = next.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    for (j, b) in (0..block.n).step_by(width).zip(b.chunks(block.steps.max(1) * width)) {
        let lanes = (block.n - j).min(width);
        let bias = bias.wrapping_add(if bias.is_null() { 0 } else { j });
        // SAFETY: the tile lies within C, and the operands cover it.
        unsafe {
            let c = work.c.at.add(row * work.c.row + block.column + j);
            let target = Target { c, c_row: work.c.row, bias, sum, is_late: true, lanes };
            let panel = Panel {
                m,
                k: block.steps,
                a: from.as_ptr(),
                a_row: a.row,
                a_step: 1,
                b: b.as_ptr(),
                b_row: width,
                ahead,
            };
            if !is_packed {
                columns::<S, 1>(simd, panel, target);
                continue;
            }
            for r in (0..m).step_by(S::ROWS) {
                let a = packed.as_ptr().add(r * block.steps);
                let panel = Panel { m: (m - r).min(S::ROWS), a, a_row: 1, a_step: S::ROWS, ..panel };
                columns::<S, 1>(simd, panel, Target { c: c.add(r * work.c.row), ..target });
            }
        }
    }
}

/// `m` rows of A as tiles [steps, R], one after the other; the last may hold fewer rows.
#[inline(always)]
fn pack_rows<const R: usize>(from: &[f32], a: Matrix, (m, steps): (usize, usize), to: &mut [f32]) {
    for step in 0..steps {
        let from = &from[step * a.column..];
        for r in (0..m).step_by(R) {
            let to = &mut to[r * steps + step * R..][..R];
            if a.row == 1 && r + R <= m {
                to.copy_from_slice(&from[r..r + R]);
                continue;
            }
            for (i, to) in to.iter_mut().enumerate().take(m - r) {
                *to = from[(r + i) * a.row];
            }
        }
    }
}
