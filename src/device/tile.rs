//! Small dense products near the FMA peak of one core: C [M,N] (+)= A [M,K] B [K,N].
//!
//! One register-blocked kernel serves linear layers, convolutions and attention. B and C are row-major with the
//! vector lanes along N. A is read one number at a time and broadcast, through any row and step stride, so that
//! A may be transposed, or overlap itself (the windows of a convolution). `W` > 1 interleaves W products that
//! share their shapes: lane n of B and C belongs to product n mod W, and A holds W neighbouring numbers, one for
//! each product. That fills vectors when a product alone is narrow (24 channels of a group, 12 of another).
//!
//! A block of `ROWS` x `VECTORS` accumulators (8 x 3 vectors of 16 for AVX-512: 24 of 32 registers; 6 x 2 of 8 for AVX2:
//! 12 of 16) runs over the whole of K, so C is touched once. Per step AVX-512 loads 3 vectors of B and broadcasts 8
//! numbers of A for 24 fused multiply-adds: half of what the load ports could do. (4 x 3 loads less than 6 x 2, but wants
//! all 16 registers: what compilers make of it moves accumulators to and fro, and loses a third of the speed.) Whoever
//! calls keeps a panel of B (K x 48 numbers) small enough for the first-level cache.

use super::simd::{Element, Kernel, Simd};

/// A matrix read by broadcasts: element (m, k) of product w at `m row + k step + w`.
#[derive(Clone, Copy)]
pub struct Spread<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Distance of rows.
    pub row: usize,
    /// Distance of steps along K.
    pub step: usize,
}

/// A row-major matrix with unit stride along its rows.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Distance of rows.
    pub row: usize,
}

/// What C holds before the products are added.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// Zeros.
    Zero,
    /// Its present content.
    Sum,
    /// This row of N numbers, in every row.
    Bias(&'a [f32]),
}

/// The extents of a product.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C (all W products together).
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
}

/// C (+)= A B. `c_row` is the distance of C's rows. Panics when an operand is too short for the extents.
#[inline(always)]
pub fn product<S: Simd, const W: usize>(
    simd: S,
    Extent { m, n, k }: Extent,
    a: Spread,
    b: Rows,
    c: &mut [f32],
    c_row: usize,
    start: Start,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k == 0 || a.data.len() >= (m - 1) * a.row + (k - 1) * a.step + W, "tile: A is too short");
    assert!(k == 0 || b.data.len() >= (k - 1) * b.row + n, "tile: B is too short");
    assert!(c.len() >= (m - 1) * c_row + n, "tile: C is too short");
    let (bias, sum) = match start {
        Start::Zero => (std::ptr::null(), false),
        Start::Sum => (std::ptr::null(), true),
        Start::Bias(row) => {
            assert!(row.len() >= n, "tile: the bias is too short");
            (row.as_ptr(), false)
        }
    };
    let (a_at, b_at, ahead) = (a.data.as_ptr(), b.data.as_ptr(), std::ptr::null_mut());
    let panel = Panel { m, k, a: a_at, a_row: a.row, a_step: a.step, b: b_at, b_row: b.row, ahead };
    let target = Target { c: c.as_mut_ptr(), c_row, bias, sum, is_late: false, lanes: n };
    // SAFETY: the asserts above bound every address: rows up to m - 1, steps up to k - 1, columns below n.
    unsafe { columns::<S, W>(simd, panel, target) };
}

/// The factors of [`columns`]: element (m, k) of product w of A at `a + m a_row + k a_step + w`, rows of B at distance
/// `b_row`.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub m: usize,
    pub k: usize,
    pub a: *const f32,
    pub a_row: usize,
    pub a_step: usize,
    pub b: *const f32,
    pub b_row: usize,
    /// What is fetched into the cache meanwhile; null for nothing.
    pub ahead: *mut Ahead,
}

/// Runs of numbers that are needed soon, fetched a few lines at a time between multiplications. The machine does not see by
/// itself where many short runs lie, and more lines at once than it keeps open would hold up the multiplications.
pub(super) struct Ahead {
    /// The run that comes next, where in it, and how many runs are left, this one included.
    run: *const u8,
    at: usize,
    left: usize,
    /// Bytes of a run, and between the starts of two.
    len: usize,
    stride: usize,
    /// Lines at a time.
    lines: usize,
}

impl Ahead {
    /// Bytes of a cache line.
    const LINE: usize = 64;
    /// Steps of a tile between two times.
    const STEPS: usize = 8;
    /// Lines at a time, at most: half of what today's cores keep open.
    const LINES_MAX: usize = 8;

    /// `count` runs of `len` numbers whose starts are `stride` numbers apart. Nothing is read: the addresses need not be good.
    pub fn new<T>(first: *const T, count: usize, len: usize, stride: usize) -> Ahead {
        let (len, stride) = (len * size_of::<T>(), stride * size_of::<T>());
        Ahead { run: first.cast(), at: 0, left: count, len, stride, lines: 1 }
    }

    /// Spreads the runs over `steps` steps of tiles.
    pub fn share(&mut self, steps: usize) {
        let lines = self.left * self.len.div_ceil(Self::LINE);
        self.lines = lines.div_ceil((steps / Self::STEPS).max(1)).min(Self::LINES_MAX);
    }

    #[inline(always)]
    fn fetch<S: Simd>(&mut self, simd: S) {
        for _ in 0..self.lines {
            if self.left == 0 {
                return;
            }
            simd.prefetch(self.run.wrapping_add(self.at));
            self.at += Self::LINE;
            if self.at >= self.len {
                (self.run, self.at, self.left) = (self.run.wrapping_add(self.stride), 0, self.left - 1);
            }
        }
    }
}

/// Where [`columns`] puts its result.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub c: *mut f32,
    pub c_row: usize,
    /// A row that is added to every row; null for none.
    pub bias: *const f32,
    /// Whether the present content is added.
    pub sum: bool,
    /// Whether bias or content is added to the finished sum of the products, in place of being its first term.
    pub is_late: bool,
    /// Columns.
    pub lanes: usize,
}

/// Panel after panel of at most `VECTORS` vectors of columns.
///
/// # Safety
/// Every address is good: `m` rows, `k` steps and `target.lanes` columns of A (W numbers each), B and C, and as many
/// numbers of a bias that is not null. Nothing else reads or writes these places of C meanwhile.
#[inline(always)]
pub(super) unsafe fn columns<S: Simd, const W: usize>(simd: S, panel: Panel, target: Target) {
    let n = target.lanes;
    let mut j = 0;
    while j < n {
        let lanes = (n - j).min(S::VECTORS * S::LANES);
        let vectors = lanes / S::LANES;
        // SAFETY: columns below n are good by the contract of this function.
        unsafe {
            let bias = if target.bias.is_null() { target.bias } else { target.bias.add(j) };
            let panel = Panel { b: panel.b.wrapping_add(j), ..panel };
            let target = Target { c: target.c.add(j), bias, lanes, ..target };
            match vectors {
                0 => simd.vectorize(Columns::<1, W, true>(panel, target)),
                1 => simd.vectorize(Columns::<1, W, false>(panel, target)),
                2 if S::VECTORS >= 2 => simd.vectorize(Columns::<2, W, false>(panel, target)),
                _ if S::VECTORS >= 3 => simd.vectorize(Columns::<3, W, false>(panel, target)),
                _ => unreachable!("a panel has at most {} vectors", S::VECTORS),
            }
        }
        j += if vectors == 0 { lanes } else { vectors * S::LANES };
    }
}

/// All rows of one panel of NV vectors of columns; RAGGED: fewer columns than the one vector has.
struct Columns<const NV: usize, const W: usize, const RAGGED: bool>(Panel, Target);

impl<const NV: usize, const W: usize, const RAGGED: bool> Kernel for Columns<NV, W, RAGGED> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Columns(mut panel, mut target) = self;
        // SAFETY: `product` checked every address of the panel.
        unsafe {
            // Narrow panels leave registers for more rows; independent chains hide the latency.
            if S::ROWS == 8 || (S::ROWS == 6 && NV == 1) {
                while panel.m >= 8 {
                    block::<S, 8, NV, W, RAGGED>(simd, &mut panel, &mut target);
                }
            } else if S::ROWS == 6 {
                while panel.m >= 6 {
                    block::<S, 6, NV, W, RAGGED>(simd, &mut panel, &mut target);
                }
            }
            while panel.m >= 4 {
                block::<S, 4, NV, W, RAGGED>(simd, &mut panel, &mut target);
            }
            if panel.m >= 2 {
                block::<S, 2, NV, W, RAGGED>(simd, &mut panel, &mut target);
            }
            if panel.m == 1 {
                block::<S, 1, NV, W, RAGGED>(simd, &mut panel, &mut target);
            }
        }
    }
}

/// MR rows, then moves on to the next ones.
#[inline(always)]
unsafe fn block<S: Simd, const MR: usize, const NV: usize, const W: usize, const RAGGED: bool>(
    simd: S,
    panel: &mut Panel,
    target: &mut Target,
) {
    unsafe {
        let mut sum = [[simd.zero(); NV]; MR];
        if !target.is_late {
            start::<S, MR, NV, RAGGED, false>(simd, target, &mut sum);
        }
        // Three rows from one address: that many fit the addressing modes without arithmetic.
        let mut a: [*const f32; 3] = std::array::from_fn(|i| of_its_own(panel.a.wrapping_add(3 * i * panel.a_row)));
        let mut b = panel.b;
        let mut left = panel.k;
        while left > 0 {
            let steps = match panel.ahead.as_mut() {
                None => left,
                Some(ahead) => {
                    ahead.fetch(simd);
                    left.min(Ahead::STEPS)
                }
            };
            for _ in 0..steps {
                let mut columns = [simd.zero(); NV];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = load::<S, RAGGED>(simd, b.add(v * S::LANES), target.lanes);
                }
                for (r, row) in sum.iter_mut().enumerate() {
                    let x = simd.broadcast::<W>(a[r / 3].add(r % 3 * panel.a_row));
                    for (s, &column) in row.iter_mut().zip(&columns) {
                        *s = simd.fma(x, column, *s);
                    }
                }
                a = a.map(|a| a.wrapping_add(panel.a_step));
                b = b.wrapping_add(panel.b_row);
            }
            left -= steps;
        }
        if target.is_late {
            start::<S, MR, NV, RAGGED, true>(simd, target, &mut sum);
        }
        for (r, row) in sum.iter().enumerate() {
            for (v, &s) in row.iter().enumerate() {
                let at = target.c.add(r * target.c_row + v * S::LANES);
                if RAGGED { simd.store_first(at, s, target.lanes) } else { simd.store(at, s) }
            }
        }
        panel.m -= MR;
        panel.a = panel.a.wrapping_add(MR * panel.a_row);
        target.c = target.c.wrapping_add(MR * target.c_row);
    }
}

/// The same address, of which the compiler does not know where it comes from: it would make each row's address from the
/// one before, a chain as long as the multiplications of a step.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)]
fn of_its_own(mut address: *const f32) -> *const f32 {
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// Joins the sums with the bias or the present content of C, where there is one. `IS_LATE`: adds it, else it is the
/// first term.
#[inline(always)]
unsafe fn start<S: Simd, const MR: usize, const NV: usize, const RAGGED: bool, const IS_LATE: bool>(
    simd: S,
    target: &Target,
    sum: &mut [[S::V; NV]; MR],
) {
    unsafe {
        if target.bias.is_null() && !target.sum {
            return;
        }
        for (r, row) in sum.iter_mut().enumerate() {
            let from = if target.bias.is_null() { target.c.add(r * target.c_row).cast_const() } else { target.bias };
            for (v, s) in row.iter_mut().enumerate() {
                let before = load::<S, RAGGED>(simd, from.add(v * S::LANES), target.lanes);
                *s = if IS_LATE { simd.add(*s, before) } else { before };
            }
        }
    }
}

#[inline(always)]
unsafe fn load<S: Simd, const RAGGED: bool>(simd: S, at: *const f32, lanes: usize) -> S::V {
    unsafe { if RAGGED { simd.load_first(at, lanes) } else { simd.load(at) } }
}

/// `to` [columns, rows] = factor times the transpose of `from` [rows, columns], both row-major with their row
/// distances; bf16 is widened. Panics when an operand is too short.
#[inline(always)]
pub fn transpose<S: Simd, T: Element>(
    simd: S,
    (rows, columns): (usize, usize),
    (from, from_row): (&[T], usize),
    factor: f32,
    to: &mut [f32],
    to_row: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(from.len() >= (rows - 1) * from_row + columns, "transpose: the source is too short");
    assert!(to.len() >= (columns - 1) * to_row + rows, "transpose: the target is too short");
    for r in (0..rows).step_by(S::LANES) {
        for c in (0..columns).step_by(S::LANES) {
            let size = ((rows - r).min(S::LANES), (columns - c).min(S::LANES));
            // SAFETY: rows r.. and columns c.. lie within the operands by the asserts above.
            unsafe {
                let (from_at, to_at) = (from.as_ptr().add(r * from_row + c), to.as_mut_ptr().add(c * to_row + r));
                if S::LANES == 16 {
                    transpose_tile::<S, T, 16>(simd, size, (from_at, from_row), factor, (to_at, to_row));
                } else {
                    transpose_tile::<S, T, 8>(simd, size, (from_at, from_row), factor, (to_at, to_row));
                }
            }
        }
    }
}

/// At most N x N numbers, N the lanes: log2 N rounds of a perfect shuffle, vectors i and i + N/2 interleaved into
/// 2i and 2i + 1.
#[inline(always)]
unsafe fn transpose_tile<S: Simd, T: Element, const N: usize>(
    simd: S,
    (rows, columns): (usize, usize),
    (from, from_row): (*const T, usize),
    factor: f32,
    (to, to_row): (*mut f32, usize),
) {
    let mut v = [simd.zero(); N];
    for (r, v) in v.iter_mut().enumerate().take(rows) {
        let row = unsafe {
            let at = from.add(r * from_row);
            if columns == N { T::load(simd, at) } else { T::load_first(simd, at, columns) }
        };
        *v = simd.mul(row, simd.splat(factor));
    }
    for _ in 0..N.ilog2() {
        let mut next = v;
        for i in 0..N / 2 {
            (next[2 * i], next[2 * i + 1]) = simd.interleave(v[i], v[i + N / 2]);
        }
        v = next;
    }
    for (c, &v) in v.iter().enumerate().take(columns) {
        unsafe {
            let at = to.add(c * to_row);
            if rows == N { simd.store(at, v) } else { simd.store_first(at, v, rows) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Isa, dispatch};
    use super::*;
    use crate::rng::Rng;

    struct Case<const W: usize> {
        extent: Extent,
        a: Vec<f32>,
        b: Vec<f32>,
        c: Vec<f32>,
        start: usize,
    }

    impl<const W: usize> Kernel for &mut Case<W> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let Extent { m: _, n, k } = self.extent;
            let bias = self.b.clone();
            let start = [Start::Zero, Start::Sum, Start::Bias(&bias)][self.start];
            let (a, b) = (Spread { data: &self.a, row: k * W, step: W }, Rows { data: &self.b, row: n + 1 });
            product::<S, W>(simd, self.extent, a, b, &mut self.c, n + 2, start);
        }
    }

    fn check<const W: usize>(isa: Isa, m: usize, n: usize, k: usize, start: usize) {
        let draw = |purpose: &str, len: usize| -> Vec<f32> {
            let mut rng = Rng::new(1, purpose, 0);
            (0..len).map(|_| rng.normal() as f32).collect()
        };
        let extent = Extent { m, n, k };
        let (a, b, c) = (draw("a", m * k * W), draw("b", k.max(1) * (n + 1)), draw("c", m * (n + 2)));
        let mut case = Case::<W> { extent, a, b, c: c.clone(), start };
        isa.force(|| dispatch(&mut case));
        for i in 0..m {
            for j in 0..n + 2 {
                let dot: f64 = (0..k)
                    .map(|l| {
                        case.a[(i * k + l) * W + j % W] as f64 * case.b.get(l * (n + 1) + j).map_or(0.0, |&b| b as f64)
                    })
                    .sum();
                let first = [0.0, c[i * (n + 2) + j], case.b[j.min(n)]][start] as f64;
                let want = if j < n { first + dot } else { c[i * (n + 2) + j] as f64 };
                let got = case.c[i * (n + 2) + j] as f64;
                assert!((got - want).abs() < 1e-4, "{isa:?} W {W} {extent:?} start {start}: ({i}, {j}) {got} {want}");
            }
        }
    }

    #[test]
    fn products_match_plain_loops_on_every_instruction_set() {
        for isa in Isa::available() {
            for (m, n, k) in [(1, 1, 1), (3, 5, 2), (8, 48, 7), (13, 64, 24), (7, 47, 3), (17, 33, 5), (2, 16, 0)] {
                for start in 0..3 {
                    check::<1>(isa, m, n, k, start);
                    check::<2>(isa, m, n, k, start);
                    check::<4>(isa, m, n, k, start);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "A is too short")]
    fn short_operands_are_refused() {
        let mut case = Case::<1> {
            extent: Extent { m: 2, n: 2, k: 2 },
            a: vec![0.0; 3],
            b: vec![0.0; 6],
            c: vec![0.0; 8],
            start: 0,
        };
        dispatch(&mut case);
    }

    struct Transposed<'a>(usize, usize, &'a [f32]);

    impl Kernel for Transposed<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Vec<f32> {
            let Transposed(rows, columns, data) = self;
            let mut out = vec![-1.0; columns * (rows + 1)];
            transpose(simd, (rows, columns), (data, columns + 2), 2.0, &mut out, rows + 1);
            out
        }
    }

    #[test]
    fn transposes_match_plain_loops_on_every_instruction_set() {
        for isa in Isa::available() {
            for (rows, columns) in [(1, 1), (16, 16), (8, 24), (17, 31), (48, 5), (3, 33)] {
                let data: Vec<f32> = (0..rows * (columns + 2)).map(|i| i as f32).collect();
                let out = isa.force(|| dispatch(Transposed(rows, columns, &data)));
                for c in 0..columns {
                    for r in 0..rows {
                        assert_eq!(out[c * (rows + 1) + r], 2.0 * data[r * (columns + 2) + c], "{isa:?} {r} {c}");
                    }
                    assert_eq!(out[c * (rows + 1) + rows], -1.0, "{isa:?}: written beyond the rows");
                }
            }
        }
    }
}
