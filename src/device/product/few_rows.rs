//! Products with few rows, which read B once at the speed of memory.

use super::Work;
use crate::device::host::Buffer;
use crate::device::simd::{Element, Simd};
use crate::device::tile::Start;

/// Dot products along K: B's columns lie without gaps.
///
/// Every sum has two chains of vectors, whole vectors in turn, then the numbers that are left, whatever the number of
/// rows and columns that are computed together.
///
/// # Safety
/// The operands cover the extents of `work`, and nobody else uses the part of C.
#[inline(always)]
pub(super) unsafe fn along_k<S: Simd, T: Element>(simd: S, work: &Work<T>) {
    let (m, k) = (work.extent.m, work.extent.k);
    let mut copy = Buffer::uninit(if work.a.column == 1 { 0 } else { m * k });
    let (rows, row) = if work.a.column == 1 {
        (work.a.data, work.a.row)
    } else {
        for (at, to) in copy.as_mut_slice().iter_mut().enumerate() {
            *to = work.a.data[at / k * work.a.row + at % k * work.a.column];
        }
        (copy.as_slice(), k)
    };
    let [mut j, end] = work.part.columns;
    // SAFETY: rows below m and columns below `end` are good by the contract of this function.
    unsafe {
        let mut r = 0;
        while j < end {
            let columns = if end - j >= 4 { 4 } else { 1 };
            while r < m {
                let a = (rows.as_ptr().wrapping_add(r * row), row);
                r += match (m - r, columns) {
                    // With 32 registers two columns at a time: six loads feed eight multiplications.
                    (4.., 4) if S::LANES >= 16 => dots::<S, T, 4, 2>(simd, work, a, (r, j), 4),
                    (4.., 4) => dots::<S, T, 4, 1>(simd, work, a, (r, j), 4),
                    (4.., _) => dots::<S, T, 4, 1>(simd, work, a, (r, j), 1),
                    (2.., 4) => dots::<S, T, 2, 2>(simd, work, a, (r, j), 4),
                    (2.., _) => dots::<S, T, 2, 1>(simd, work, a, (r, j), 1),
                    (_, 4) => dots::<S, T, 1, 4>(simd, work, a, (r, j), 4),
                    _ => dots::<S, T, 1, 1>(simd, work, a, (r, j), 1),
                };
            }
            r = 0;
            j += columns;
        }
    }
}

/// C of R rows and `columns` columns from (row, column) on, NC columns at a time; returns R.
#[inline(always)]
unsafe fn dots<S: Simd, T: Element, const R: usize, const NC: usize>(
    simd: S,
    work: &Work<T>,
    (a, a_row): (*const f32, usize),
    (row, column): (usize, usize),
    columns: usize,
) -> usize {
    let (k, (b, _, b_column)) = (work.extent.k, work.b);
    unsafe {
        for j in (column..column + columns).step_by(NC) {
            let b = b.as_ptr().wrapping_add(j * b_column);
            let mut sums = [[[simd.zero(); 2]; NC]; R];
            let mut at = 0;
            while at + 2 * S::LANES <= k {
                // Columns of bf16 are too short for the machine to see where the next ones lie.
                if size_of::<T>() == 2 {
                    (0..NC).for_each(|c| simd.prefetch(b.wrapping_add((NC + c) * b_column + at)));
                }
                for half in 0..2 {
                    let at = at + half * S::LANES;
                    let b: [S::V; NC] = std::array::from_fn(|c| T::load(simd, b.add(c * b_column + at)));
                    for r in 0..R {
                        let a = simd.load(a.add(r * a_row + at));
                        for c in 0..NC {
                            sums[r][c][half] = simd.fma(a, b[c], sums[r][c][half]);
                        }
                    }
                }
                at += 2 * S::LANES;
            }
            let mut half = 0;
            while at < k {
                let left = (k - at).min(S::LANES);
                for r in 0..R {
                    let a = simd.load_first(a.add(r * a_row + at), left);
                    for c in 0..NC {
                        let b = T::load_first(simd, b.add(c * b_column + at), left);
                        sums[r][c][half] = simd.fma(a, b, sums[r][c][half]);
                    }
                }
                half += 1;
                at += left;
            }
            for r in 0..R {
                for c in 0..NC {
                    let [even, odd] = sums[r][c];
                    let to = work.c.at.add((row + r) * work.c.row + j + c);
                    *to = simd.sum(simd.add(even, odd)) + first(work.start, to, j + c);
                }
            }
        }
    }
    R
}

/// What a sum is added to.
#[inline(always)]
unsafe fn first(start: Start, c: *const f32, column: usize) -> f32 {
    match start {
        Start::Zero => 0.0,
        Start::Sum => unsafe { *c },
        Start::Bias(bias) => bias[column],
    }
}

/// Rows of B at a time.
const AT_ONCE: usize = 8;

/// Rows of B times numbers of A, onto C: B's rows lie without gaps. Sums run along K from the first to the last.
///
/// # Safety
/// As for [`along_k`].
#[inline(always)]
pub(super) unsafe fn along_n<S: Simd, T: Element>(simd: S, work: &Work<T>) {
    let (m, k, [from, end]) = (work.extent.m, work.extent.k, work.part.columns);
    unsafe {
        for r in 0..m {
            for j in from..end {
                let to = work.c.at.add(r * work.c.row + j);
                *to = first(work.start, to, j);
            }
        }
        let whole = k - k % AT_ONCE;
        for step in (0..whole).step_by(AT_ONCE) {
            for r in 0..m {
                add_rows::<S, T, AT_ONCE>(simd, work, r, step);
            }
        }
        for step in whole..k {
            for r in 0..m {
                add_rows::<S, T, 1>(simd, work, r, step);
            }
        }
    }
}

/// C of one row += NK numbers of A times their rows of B.
#[inline(always)]
unsafe fn add_rows<S: Simd, T: Element, const NK: usize>(simd: S, work: &Work<T>, r: usize, step: usize) {
    let ([from, end], (b, b_row, _)) = (work.part.columns, work.b);
    unsafe {
        let a: [S::V; NK] =
            std::array::from_fn(|i| simd.splat(work.a.data[r * work.a.row + (step + i) * work.a.column]));
        let (b, c) = (b.as_ptr().wrapping_add(step * b_row), work.c.at.add(r * work.c.row));
        let mut j = from;
        while j + S::LANES <= end {
            let mut sum = simd.load(c.add(j));
            for (i, &a) in a.iter().enumerate() {
                sum = simd.fma(a, T::load(simd, b.add(i * b_row + j)), sum);
            }
            simd.store(c.add(j), sum);
            j += S::LANES;
        }
        if j < end {
            let left = end - j;
            let mut sum = simd.load_first(c.add(j), left);
            for (i, &a) in a.iter().enumerate() {
                sum = simd.fma(a, T::load_first(simd, b.add(i * b_row + j), left), sum);
            }
            simd.store_first(c.add(j), sum, left);
        }
    }
}
