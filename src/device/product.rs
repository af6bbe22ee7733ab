//! Dense products of any size on the host: C [M,N] = A [M,K] B [K,N], on one thread or on all.
//!
//! Three ways, chosen by the extents and strides alone:
//!
//! 1. **Many rows**: B is packed into panels as wide as the accumulators of [`tile`](super::tile), block by block; a panel
//!    stays in the second-level cache while the rows of A pass. A sum over more than [`STEPS`] products is made of sums
//!    of equal length, added in order: that keeps the rounding of a long sum that of a short one.
//! 2. **Few rows, B read along K** (y = x W^T): one dot product per number of C, vectors along K. Every weight is read
//!    once, so the speed is that of the memory.
//! 3. **Few rows, B read along N** (dx = dy W): eight rows of B at a time, times numbers of A, onto C.
//!
//! B may be stored as bf16: it is widened while a panel is packed, or in registers, and never as a whole.
//!
//! **Threads** take rows of C, or columns where there are few rows. No number's sum is ever split between threads, and its
//! order depends on the extents alone: the bytes are the same for any number of threads.

mod few_rows;
mod panels;
#[cfg(test)]
mod tests;

pub use panels::Panels;

use super::simd::{Element, Isa, Kernel, Simd};
use super::tile::{Extent, Start};
use half::bf16;
use rayon::prelude::*;
use std::cell::Cell;

/// Who computes a dense product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// The thread that asks: right where the parallelism lies above.
    #[default]
    One,
    /// All threads of the pool.
    All,
    /// All threads, and in products x W^T every number by itself, whatever the number of rows: a row gets the same bytes
    /// alone and beside any others. Slower with many rows.
    Apart,
}

/// A matrix of f32: element (m, k) at `m row + k column`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns.
    pub column: usize,
}

/// Numbers as they are stored.
#[derive(Clone, Copy)]
pub enum Numbers<'a> {
    /// IEEE single precision.
    F32(&'a [f32]),
    /// The upper half of an f32.
    Bf16(&'a [bf16]),
}

/// A matrix in either storage: element (k, n) at `k row + n column`.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// The numbers.
    pub data: Numbers<'a>,
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns.
    pub column: usize,
}

/// The most rows that count as few.
const FEW: usize = 8;
/// The longest sum that is not made of shorter ones.
const STEPS: usize = 512;
/// Rows and columns that one thread takes, or a multiple: whole tiles.
const ROW_UNIT: usize = 8;
const COLUMN_UNIT: usize = 48;
/// Operations that are worth the start of another thread.
const WORTH_A_THREAD: usize = 1 << 16;

/// Dense products that a thread asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// How many.
    pub count: u64,
    /// Pairs of numbers multiplied in them.
    pub multiplications: u64,
}

/// Runs `f` and keeps the other threads of the pool awake meanwhile: many short products with little between them would
/// otherwise each wait for a thread to be woken. Only for work that asks for all threads again and again.
pub fn awake<R>(threads: Threads, f: impl FnOnce() -> R) -> R {
    use std::sync::atomic::{AtomicBool, Ordering};
    let others = rayon::current_num_threads() - 1;
    if threads == Threads::One || others == 0 {
        return f();
    }
    /// Lets the others go, also when `f` panics.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (is_over, home) = (AtomicBool::new(false), rayon::current_thread_index());
    rayon::in_place_scope(|scope| {
        for _ in 0..others {
            scope.spawn(|_| {
                // The thread of `f` may take this up while it waits for a product; it must not wait for itself.
                if home.is_some() && rayon::current_thread_index() == home {
                    return;
                }
                while !is_over.load(Ordering::Acquire) {
                    if rayon::yield_now() != Some(rayon::Yield::Executed) {
                        std::hint::spin_loop();
                    }
                }
            });
        }
        let _over = Over(&is_over);
        f()
    })
}

thread_local! {
    static COUNTED: Cell<Option<Products>> = const { Cell::new(None) };
}

/// Runs `f` and says which dense products this thread asked for meanwhile.
pub fn counted<T>(f: impl FnOnce() -> T) -> (T, Products) {
    let outer = COUNTED.replace(Some(Products::default()));
    let result = f();
    (result, COUNTED.replace(outer).unwrap_or_default())
}

/// C [M,N], row-major without gaps, = A B + what `start` says. Panics when an operand is too short for the extents.
#[track_caller]
pub fn multiply(threads: Threads, extent: Extent, a: Matrix, b: Stored, c: &mut [f32], start: Start) {
    let Extent { m, n, k } = extent;
    if m == 0 || n == 0 {
        return;
    }
    if let Some(Products { count, multiplications }) = COUNTED.get() {
        COUNTED.set(Some(Products { count: count + 1, multiplications: multiplications + (m * n * k) as u64 }));
    }
    let reach = |rows: usize, row: usize, columns: usize, column: usize| (rows - 1) * row + (columns - 1) * column + 1;
    assert!(c.len() >= m * n, "product: C is too short");
    assert!(k == 0 || a.data.len() >= reach(m, a.row, k, a.column), "product: A is too short");
    assert!(k == 0 || b.data.len() >= reach(k, b.row, n, b.column), "product: B is too short");
    if let Start::Bias(bias) = start {
        assert!(bias.len() >= n, "product: the bias is too short");
    }
    // A column is the row of the transposed product.
    if let (1, Numbers::F32(column), Start::Zero | Start::Sum) = (n, b.data, start) {
        let a_row = Matrix { data: column, row: 0, column: b.row };
        let b = Stored { data: Numbers::F32(a.data), row: a.column, column: a.row };
        return split(threads, Extent { m: 1, n: m, k }, a_row, b, c, start);
    }
    split(threads, extent, a, b, c, start);
}

/// Whether a product x W^T of so many rows reads W row by row, so that rows may be made when it asks for them
/// ([`multiply_rows`]).
pub fn reads_rows(threads: Threads, rows: usize) -> bool {
    rows <= FEW || threads == Threads::Apart
}

/// Bytes of rows that a thread has made at a time, at least four rows: what the first-level cache holds.
const MADE: usize = 32 << 10;

/// C [M,N] = A W^T + what `start` says, for few rows M ([`reads_rows`]) and a W [N,K] that is not there: `make` writes rows of it
/// from the given one on. The numbers are those of [`multiply`] with the same W. Panics when an operand is too short.
#[track_caller]
pub fn multiply_rows(
    threads: Threads,
    extent: Extent,
    a: Matrix,
    make: &(impl Fn(usize, &mut [f32]) + Sync),
    c: &mut [f32],
    start: Start,
) {
    let Extent { m, n, k } = extent;
    assert!(reads_rows(threads, m) && k > 0, "product of {m} rows with made ones");
    assert!(c.len() >= m * n, "product: C is too short");
    assert!(m == 0 || a.data.len() > (m - 1) * a.row + (k - 1) * a.column, "product: A is too short");
    if let Some(Products { count, multiplications }) = COUNTED.get() {
        COUNTED.set(Some(Products { count: count + 1, multiplications: multiplications + (m * n * k) as u64 }));
    }
    if let Start::Bias(bias) = start {
        assert!(bias.len() >= n, "product: the bias is too short");
    }
    let (target, isa) = (Target { at: c.as_mut_ptr(), row: n }, Isa::current());
    // A multiple of the four columns that are computed together.
    let at_once = (MADE / (4 * k) / 4 * 4).max(4);
    let run = |first: usize, end: usize| {
        let mut made = super::host::Buffer::uninit(at_once.min(end - first) * k);
        for from in (first..end).step_by(at_once) {
            let count = at_once.min(end - from);
            let rows = &mut made.as_mut_slice()[..count * k];
            make(from, rows);
            let start = match start {
                Start::Bias(bias) => Start::Bias(&bias[from..]),
                other => other,
            };
            let c = target.after(from);
            let part = Part { rows: [0, m], columns: [0, count] };
            let extent = Extent { n: count, ..extent };
            isa.run(Work { extent, part, a, b: (&*rows, 1, k), panels: None, c, start, is_apart: true });
        }
    };
    let pieces = pieces(threads, extent);
    let units = n.div_ceil(at_once);
    if pieces == 1 || m == 0 || n == 0 {
        return if m > 0 && n > 0 {
            run(0, n)
        };
    }
    (0..pieces).into_par_iter().for_each(|piece| {
        let [first, end] = [piece, piece + 1].map(|p| (p * units / pieces * at_once).min(n));
        if first < end {
            run(first, end);
        }
    });
}

/// How many threads share a product.
fn pieces(threads: Threads, Extent { m, n, k }: Extent) -> usize {
    match threads {
        Threads::One => 1,
        Threads::All | Threads::Apart => rayon::current_num_threads().min((m * n * k / WORTH_A_THREAD).max(1)),
    }
}

impl Numbers<'_> {
    fn len(&self) -> usize {
        match self {
            Numbers::F32(data) => data.len(),
            Numbers::Bf16(data) => data.len(),
        }
    }
}

/// A part of C that one thread computes.
#[derive(Clone, Copy)]
struct Part {
    rows: [usize; 2],
    columns: [usize; 2],
}

/// C, whose parts several threads write.
#[derive(Clone, Copy)]
struct Target {
    at: *mut f32,
    /// Distance of rows.
    row: usize,
}

impl Target {
    /// The same without the columns before this one.
    fn after(self, column: usize) -> Target {
        Target { at: self.at.wrapping_add(column), row: self.row }
    }
}

// SAFETY: the parts that `split` and `multiply_rows` make do not overlap, and each is written by one thread.
unsafe impl Send for Target {}
unsafe impl Sync for Target {}

fn split(threads: Threads, extent: Extent, a: Matrix, b: Stored, c: &mut [f32], start: Start) {
    let target = Target { at: c.as_mut_ptr(), row: extent.n };
    let (isa, is_apart) = (Isa::current(), threads == Threads::Apart);
    let (row, column) = (b.row, b.column);
    in_parts(threads, extent, |part| match b.data {
        Numbers::F32(data) => {
            isa.run(Work { extent, part, a, b: (data, row, column), panels: None, c: target, start, is_apart });
        }
        Numbers::Bf16(data) => {
            isa.run(Work { extent, part, a, b: (data, row, column), panels: None, c: target, start, is_apart });
        }
    });
}

/// C [M,N], row-major without gaps, = A B + what `start` says, for a B that was packed before and more rows than
/// [`reads_rows`]. The numbers are those of [`multiply`] on the same instruction set. Panics when an operand is too short.
#[track_caller]
pub fn multiply_panels(threads: Threads, extent: Extent, a: Matrix, b: &Panels, c: &mut [f32], start: Start) {
    let Extent { m, n, k } = extent;
    assert!(!reads_rows(threads, m), "product of {m} rows with panels");
    assert_eq!(b.extents(), [k, n], "product: the panels are of another factor");
    assert!(c.len() >= m * n, "product: C is too short");
    assert!(a.data.len() > (m - 1) * a.row + (k - 1) * a.column, "product: A is too short");
    if let Some(Products { count, multiplications }) = COUNTED.get() {
        COUNTED.set(Some(Products { count: count + 1, multiplications: multiplications + (m * n * k) as u64 }));
    }
    if let Start::Bias(bias) = start {
        assert!(bias.len() >= n, "product: the bias is too short");
    }
    let (target, none) = (Target { at: c.as_mut_ptr(), row: n }, (&[] as &[f32], 1, k));
    in_parts(threads, extent, |part| {
        let panels = Some(b.data());
        b.isa().run(Work { extent, part, a, b: none, panels, c: target, start, is_apart: false });
    });
}

/// Runs the parts of a product on the threads that share it.
fn in_parts(threads: Threads, extent: Extent, run: impl Fn(Part) + Sync) {
    let Extent { m, n, .. } = extent;
    let pieces = pieces(threads, extent);
    // Whole tiles: rows by eights, columns by the widest panel.
    let by_rows = goes_by_rows(extent, pieces);
    let unit = if by_rows { ROW_UNIT } else { COLUMN_UNIT };
    let units = if by_rows { m } else { n }.div_ceil(unit);
    let bounds = |piece: usize, len: usize| [piece, piece + 1].map(|p| (p * units / pieces * unit).min(len));
    let part = |piece: usize| {
        if by_rows {
            Part { rows: bounds(piece, m), columns: [0, n] }
        } else {
            Part { rows: [0, m], columns: bounds(piece, n) }
        }
    };
    if pieces == 1 {
        return run(part(0));
    }
    (0..pieces).into_par_iter().for_each(|piece| run(part(piece)));
}

/// Whether threads share the rows of C, or its columns. By rows each thread packs all of B, by columns only what it needs;
/// whole tiles divide among the threads more or less evenly.
fn goes_by_rows(Extent { m, n, .. }: Extent, pieces: usize) -> bool {
    /// Rows that a thread could pass through a panel in the time that it takes to pack it, or to read a packed one from where
    /// weights lie.
    const PACKING: usize = 16;
    let share = |len: usize, unit: usize| (len.div_ceil(unit).div_ceil(pieces) * unit).min(len);
    let by_rows = n * (share(m, ROW_UNIT) + PACKING);
    let by_columns = share(n, COLUMN_UNIT) * (m + PACKING);
    m > FEW && by_rows < by_columns
}

/// One part of a product whose operands were checked against `extent`. B is (numbers, distance of rows, of columns), or packed.
struct Work<'a, T> {
    extent: Extent,
    part: Part,
    a: Matrix<'a>,
    b: (&'a [T], usize, usize),
    panels: Option<&'a [f32]>,
    c: Target,
    start: Start<'a>,
    is_apart: bool,
}

impl<T: Element> Kernel for Work<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if self.part.rows[0] == self.part.rows[1] || self.part.columns[0] == self.part.columns[1] {
            return;
        }
        // SAFETY: `multiply` checked the operands against the extents, and the parts of C are disjoint.
        unsafe {
            if self.panels.is_some() {
                return panels::by_panels(simd, &self);
            }
            let is_few = self.extent.m <= FEW;
            match (is_few, self.b) {
                (_, (_, 1, _)) if is_few || self.is_apart => few_rows::along_k(simd, &self),
                (true, (_, _, 1)) => few_rows::along_n(simd, &self),
                _ => panels::by_panels(simd, &self),
            }
        }
    }
}
