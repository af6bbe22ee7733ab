//! Products with many rows: panels of B, blocks of A, tiles of C.

use super::{Matrix, Numbers, STEPS, Work};
use crate::device::host::{Buffer, Counted};
use crate::device::simd::{Element, Isa, Kernel, Simd};
use crate::device::tile::{Ahead, Panel, Start, Target, columns, transpose};

/// Columns of B that are packed at once: with [`STEPS`] steps a quarter of a megabyte.
const COLUMNS: usize = 144;
/// Rows of A that pass one panel after the other, so that they are still in the cache: whole tiles of 4, 6 or 8.
const ROWS: usize = 96;

/// A factor B = W^T, W [N,K], that was packed once for many products: it takes as much memory again, in f32.
pub struct Panels {
    isa: Isa,
    k: usize,
    n: usize,
    data: Counted,
}

impl Panels {
    /// Packs W [N,K]. Panics when it is too short.
    #[track_caller]
    pub fn new(weight: Numbers, [n, k]: [usize; 2]) -> Panels {
        assert!(weight.len() >= n * k && n * k > 0, "panels of {n} x {k} from {} numbers", weight.len());
        let isa = Isa::current();
        let data = match weight {
            Numbers::F32(weight) => isa.run(PackAll { weight, n, k }),
            Numbers::Bf16(weight) => isa.run(PackAll { weight, n, k }),
        };
        Panels { isa, k, n, data }
    }
    /// The instruction set whose tiles they fit.
    pub(super) fn isa(&self) -> Isa {
        self.isa
    }
    /// K and N.
    pub(super) fn extents(&self) -> [usize; 2] {
        [self.k, self.n]
    }
    pub(super) fn data(&self) -> &[f32] {
        self.data.as_slice()
    }
}

impl std::fmt::Debug for Panels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Panels of {} x {}", self.n, self.k)
    }
}

struct PackAll<'a, T> {
    weight: &'a [T],
    n: usize,
    k: usize,
}

impl<T: Element> Kernel for PackAll<'_, T> {
    type Output = Counted;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Counted {
        let PackAll { weight, n, k } = self;
        let (width, [sums, steps]) = (S::VECTORS * S::LANES, cut(k));
        let mut data = Counted::uninit(n.div_ceil(width) * sums * steps * width);
        let slots = data.as_mut_slice().chunks_exact_mut(steps * width);
        for (index, to) in slots.enumerate() {
            let (column, first) = (index / sums * width, index % sums * steps);
            let (n, steps) = ((n - column).min(width), steps.min(k - first));
            pack_columns(simd, (weight, 1, k), ([first, steps], [column, n]), to);
        }
        data
    }
}

/// A sum over `k` products is made of so many sums of so many steps, of which the last may be shorter.
fn cut(k: usize) -> [usize; 2] {
    let sums = k.div_ceil(STEPS).max(1);
    [sums, k.div_ceil(sums)]
}

/// # Safety
/// The operands cover the extents of `work`, and nobody else uses the part of C.
#[inline(always)]
pub(super) unsafe fn by_panels<S: Simd, T: Element>(simd: S, work: &Work<T>) {
    let (k, [from, end]) = (work.extent.k, work.part.columns);
    let width = S::VECTORS * S::LANES;
    let [sums, steps] = cut(k);
    let is_packed = work.panels.is_some();
    let mut b =
        Buffer::uninit(if is_packed { 0 } else { steps.max(1) * COLUMNS.min((end - from).next_multiple_of(width)) });
    let mut a = Buffer::uninit(if work.a.column == 1 { 0 } else { steps * ROWS });
    let block = |index: usize| {
        let (column, first) = (from + index / sums * COLUMNS, index % sums * steps);
        let (steps_here, n) = (steps.min(k - first), (end - column).min(COLUMNS));
        let (panels, stride) = match work.panels {
            // Whole panels: parts begin at multiples of the width.
            Some(data) => {
                let at = (column / width * sums + index % sums) * steps * width;
                (data.as_ptr().wrapping_add(at), sums * steps * width)
            }
            None => (std::ptr::null(), steps_here * width),
        };
        Block { first, steps: steps_here, column, n, panels, stride }
    };
    let blocks = (end - from).div_ceil(COLUMNS) * sums;
    let m_all = work.part.rows[1] - work.part.rows[0];
    for index in 0..blocks {
        let mut this = block(index);
        let mut next = if index + 1 < blocks { block(index + 1).ahead(work, width) } else { None };
        if let Some(next) = &mut next {
            next.share(m_all.div_ceil(S::ROWS) * this.n.div_ceil(width) * this.steps);
        }
        // SAFETY: the block lies within the extents.
        unsafe {
            if !is_packed {
                let columns = [this.column, this.n];
                pack_columns(simd, work.b, ([this.first, this.steps], columns), b.as_mut_slice());
                this.panels = b.as_slice().as_ptr();
            }
            for row in (work.part.rows[0]..work.part.rows[1]).step_by(ROWS) {
                let m = ROWS.min(work.part.rows[1] - row);
                rows(simd, work, &this, (row, m), a.as_mut_slice(), next.as_mut());
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
    /// Its packed panels, and the distance between their starts.
    panels: *const f32,
    stride: usize,
}

impl Block {
    /// Its numbers in memory, `None` where they do not lie in runs.
    fn ahead<T: Element>(&self, work: &Work<T>, width: usize) -> Option<Ahead> {
        if work.panels.is_some() {
            return Some(Ahead::new(self.panels, self.n.div_ceil(width), self.steps * width, self.stride));
        }
        let (b, b_row, b_column) = work.b;
        let (count, len, stride) = match (b_row, b_column) {
            (1, _) => (self.n, self.steps, b_column),
            (_, 1) => (self.steps, self.n, b_row),
            _ => return None,
        };
        Some(Ahead::new(b.as_ptr().wrapping_add(self.first * b_row + self.column * b_column), count, len, stride))
    }
}

/// Some steps and columns of B as panels [steps, width] of the accumulators' width, one after the other; the last may be
/// narrower.
#[inline(always)]
fn pack_columns<S: Simd, T: Element>(
    simd: S,
    (b, b_row, b_column): (&[T], usize, usize),
    ([first, steps], [column, n_all]): ([usize; 2], [usize; 2]),
    to: &mut [f32],
) {
    let width = S::VECTORS * S::LANES;
    let from = &b[(first * b_row + column * b_column).min(b.len())..];
    for (j, panel) in (0..n_all).step_by(width).zip(to.chunks_mut((steps * width).max(1))) {
        let n = (n_all - j).min(width);
        if b_row == 1 {
            transpose(simd, (n, steps), (&from[j * b_column..], b_column), 1.0, panel, width);
        } else if b_column == 1 {
            for (step, to) in panel.chunks_exact_mut(width).take(steps).enumerate() {
                copy(simd, &from[step * b_row + j..][..n], to);
            }
        } else {
            for (step, to) in panel.chunks_exact_mut(width).take(steps).enumerate() {
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
    for j in (0..block.n).step_by(width) {
        let b = block.panels.wrapping_add(j / width * block.stride);
        let lanes = (block.n - j).min(width);
        let bias = bias.wrapping_add(if bias.is_null() { 0 } else { j });
        // SAFETY: the tile lies within C, and the operands cover it.
        unsafe {
            let c = work.c.at.add(row * work.c.row + block.column + j);
            let target = Target { c, c_row: work.c.row, bias, sum, is_late: true, lanes };
            let panel = Panel { m, k: block.steps, a: from.as_ptr(), a_row: a.row, a_step: 1, b, b_row: width, ahead };
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
