//! Small dense products near the FMA peak of one core: C [M,N] (+)= A [M,K] B [K,N].
//!
//! One register-blocked kernel serves linear layers, convolutions and attention. B and C are row-major with the
//! vector lanes along N. A is read one number at a time and broadcast, through any row and step stride, so that
//! A may be transposed, or overlap itself (the windows of a convolution). `W` > 1 interleaves W products that
//! share their shapes: lane n of B and C belongs to product n mod W, and A holds W neighbouring numbers, one for
//! each product. That fills vectors when a product alone is narrow (24 channels of a group, 12 of another).
//!
//! A block of `ROWS` x `VECTORS` accumulators (8 x 3 vectors of 16 for AVX-512: 24 of 32 registers; 4 x 3 of 8
//! for AVX2: 12 of 16) runs over the whole of K, so C is touched once. Per step it loads 3 vectors of B and
//! broadcasts 8 numbers of A for 24 fused multiply-adds: half of what the load ports could do. Whoever calls
//! keeps a panel of B (K x 48 numbers) small enough for the first-level cache.

use super::simd::{Kernel, Simd};

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
    let mut j = 0;
    while j < n {
        let lanes = (n - j).min(S::VECTORS * S::LANES);
        let vectors = lanes / S::LANES;
        // SAFETY: the asserts above bound every address: rows up to m - 1, steps up to k - 1, columns below n.
        unsafe {
            let bias = if bias.is_null() { bias } else { bias.add(j) };
            let (b_at, c_at) = (b.data.as_ptr().add(j), c.as_mut_ptr().add(j));
            let panel = Panel { m, k, a: a.data.as_ptr(), a_row: a.row, a_step: a.step, b: b_at, b_row: b.row };
            let target = Target { c: c_at, c_row, bias, sum, lanes };
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

#[derive(Clone, Copy)]
struct Panel {
    m: usize,
    k: usize,
    a: *const f32,
    a_row: usize,
    a_step: usize,
    b: *const f32,
    b_row: usize,
}

#[derive(Clone, Copy)]
struct Target {
    c: *mut f32,
    c_row: usize,
    /// Null: none.
    bias: *const f32,
    sum: bool,
    /// Columns of the panel; matters when RAGGED.
    lanes: usize,
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
            if S::ROWS == 8 {
                while panel.m >= 8 {
                    block::<S, 8, NV, W, RAGGED>(simd, &mut panel, &mut target);
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
        if !target.bias.is_null() {
            for v in 0..NV {
                let bias = load::<S, RAGGED>(simd, target.bias.add(v * S::LANES), target.lanes);
                for row in &mut sum {
                    row[v] = bias;
                }
            }
        } else if target.sum {
            for (r, row) in sum.iter_mut().enumerate() {
                for (v, s) in row.iter_mut().enumerate() {
                    *s = load::<S, RAGGED>(simd, target.c.add(r * target.c_row + v * S::LANES), target.lanes);
                }
            }
        }
        let (mut a, mut b) = (panel.a, panel.b);
        for _ in 0..panel.k {
            let mut columns = [simd.zero(); NV];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = load::<S, RAGGED>(simd, b.add(v * S::LANES), target.lanes);
            }
            for (r, row) in sum.iter_mut().enumerate() {
                let x = simd.broadcast::<W>(a.add(r * panel.a_row));
                for (s, &column) in row.iter_mut().zip(&columns) {
                    *s = simd.fma(x, column, *s);
                }
            }
            a = a.wrapping_add(panel.a_step);
            b = b.wrapping_add(panel.b_row);
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

#[inline(always)]
unsafe fn load<S: Simd, const RAGGED: bool>(simd: S, at: *const f32, lanes: usize) -> S::V {
    unsafe { if RAGGED { simd.load_first(at, lanes) } else { simd.load(at) } }
}

/// `to` [columns, rows] = factor times the transpose of `from` [rows, columns], both row-major with their row
/// distances. Panics when an operand is too short.
#[inline(always)]
pub fn transpose<S: Simd>(
    simd: S,
    (rows, columns): (usize, usize),
    from: Rows,
    factor: f32,
    to: &mut [f32],
    to_row: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(from.data.len() >= (rows - 1) * from.row + columns, "transpose: the source is too short");
    assert!(to.len() >= (columns - 1) * to_row + rows, "transpose: the target is too short");
    for r in (0..rows).step_by(S::LANES) {
        for c in (0..columns).step_by(S::LANES) {
            let size = ((rows - r).min(S::LANES), (columns - c).min(S::LANES));
            // SAFETY: rows r.. and columns c.. lie within the operands by the asserts above.
            unsafe {
                let (from_at, to_at) = (from.data.as_ptr().add(r * from.row + c), to.as_mut_ptr().add(c * to_row + r));
                if S::LANES == 16 {
                    transpose_tile::<S, 16>(simd, size, (from_at, from.row), factor, (to_at, to_row));
                } else {
                    transpose_tile::<S, 8>(simd, size, (from_at, from.row), factor, (to_at, to_row));
                }
            }
        }
    }
}

/// At most N x N numbers, N the lanes: log2 N rounds of a perfect shuffle, vectors i and i + N/2 interleaved into
/// 2i and 2i + 1.
#[inline(always)]
unsafe fn transpose_tile<S: Simd, const N: usize>(
    simd: S,
    (rows, columns): (usize, usize),
    (from, from_row): (*const f32, usize),
    factor: f32,
    (to, to_row): (*mut f32, usize),
) {
    let mut v = [simd.zero(); N];
    for (r, v) in v.iter_mut().enumerate().take(rows) {
        let row = unsafe {
            let at = from.add(r * from_row);
            if columns == N { simd.load(at) } else { simd.load_first(at, columns) }
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
            transpose(simd, (rows, columns), Rows { data, row: columns + 2 }, 2.0, &mut out, rows + 1);
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
