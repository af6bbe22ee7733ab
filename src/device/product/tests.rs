//! Products against plain loops in f64, and their bytes on several threads.

use super::*;
use crate::rng::Rng;

fn draw(purpose: &str, len: usize) -> Vec<f32> {
    let mut rng = Rng::new(1, purpose, 0);
    (0..len).map(|_| rng.normal() as f32).collect()
}

/// Factors of any strides: rows or columns without gaps, or neither.
struct Factors {
    extent: Extent,
    a: Vec<f32>,
    b: Vec<bf16>,
    wide_b: Vec<f32>,
    a_strides: (usize, usize),
    b_strides: (usize, usize),
}

impl Factors {
    fn new(m: usize, n: usize, k: usize, (a_layout, b_layout): (usize, usize)) -> Factors {
        let strides = |rows: usize, columns: usize, layout: usize| match layout {
            0 => (columns + 1, 1),
            1 => (1, rows + 1),
            _ => (2 * columns + 1, 2),
        };
        let (a_strides, b_strides) = (strides(m, k, a_layout), strides(k, n, b_layout));
        let len = |rows: usize, columns: usize, (row, column): (usize, usize)| rows * row + columns * column;
        let b: Vec<bf16> = draw("b", len(k, n, b_strides)).into_iter().map(bf16::from_f32).collect();
        let wide_b = b.iter().map(|b| b.to_f32()).collect();
        Factors { extent: Extent { m, n, k }, a: draw("a", len(m, k, a_strides)), b, wide_b, a_strides, b_strides }
    }

    fn product(&self, threads: Threads, is_narrow: bool, c: &mut [f32], start: Start) {
        let ((a_row, a_column), (row, column)) = (self.a_strides, self.b_strides);
        let data = if is_narrow { Numbers::Bf16(&self.b) } else { Numbers::F32(&self.wide_b) };
        let a = Matrix { data: &self.a, row: a_row, column: a_column };
        multiply(threads, self.extent, a, Stored { data, row, column }, c, start);
    }

    fn check(&self, isa: Isa) {
        let Extent { m, n, k } = self.extent;
        let (before, bias) = (draw("c", m * n), draw("bias", n));
        for (index, start) in [Start::Zero, Start::Sum, Start::Bias(&bias)].into_iter().enumerate() {
            let mut results = [before.clone(), before.clone()];
            for (is_narrow, c) in results.iter_mut().enumerate() {
                isa.force(|| self.product(Threads::One, is_narrow == 1, c, start));
            }
            // A single column in f32 becomes the row of the transposed product, whose sums have another order.
            assert!(n == 1 || results[0] == results[1], "{isa:?} {:?}: bf16 computes something else", self.extent);
            for (at, &got) in results.concat().iter().enumerate() {
                let (i, j, at) = (at % (m * n) / n, at % n, at % (m * n));
                let term = |l: usize| {
                    let a = self.a[i * self.a_strides.0 + l * self.a_strides.1] as f64;
                    a * self.wide_b[l * self.b_strides.0 + j * self.b_strides.1] as f64
                };
                let first = [0.0, before[at] as f64, bias[j] as f64][index];
                let (sum, size) = (0..k).map(term).fold((first, first.abs()), |(s, a), t| (s + t, a + t.abs()));
                let what = format!("{isa:?} {:?} {:?} {:?}", self.extent, self.a_strides, self.b_strides);
                assert!(
                    (got as f64 - sum).abs() <= 1e-6 * size + 1e-30,
                    "{what} start {index} ({i}, {j}): {got} {sum}"
                );
            }
        }
    }
}

const EXTENTS: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (1, 7, 33),
    (2, 50, 16),
    (3, 5, 70),
    (8, 49, 31),
    (9, 1, 40),
    (9, 3, 2),
    (13, 97, 24),
    (33, 145, 1100),
    (100, 9, 17),
    (5, 3, 0),
    (20, 3, 0),
];

#[test]
fn products_match_plain_loops_on_every_instruction_set() {
    for isa in Isa::available() {
        for (m, n, k) in EXTENTS {
            for layouts in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (0, 2)] {
                Factors::new(m, n, k, layouts).check(isa);
            }
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    // Worth several threads each: a row as in decoding, few rows, many rows, a weight's gradient.
    for (m, n, k, layouts) in [
        (1, 1000, 301, (0, 1)),
        (1, 301, 1000, (0, 0)),
        (7, 700, 131, (0, 1)),
        (130, 70, 99, (0, 1)),
        (70, 99, 700, (1, 0)),
    ] {
        let factors = Factors::new(m, n, k, layouts);
        let on = |count: usize, threads: Threads, is_narrow: bool| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
            let mut c = vec![f32::NAN; m * n];
            pool.install(|| factors.product(threads, is_narrow, &mut c, Start::Zero));
            c
        };
        for is_narrow in [false, true] {
            let one = on(1, Threads::One, is_narrow);
            for count in [1, 2, 7] {
                assert_eq!(one, on(count, Threads::All, is_narrow), "{m} x {n} x {k} on {count} threads");
            }
        }
    }
}

#[test]
#[should_panic(expected = "product: B is too short")]
fn short_operands_are_refused() {
    let (a, b, mut c) = (vec![0.0; 6], vec![0.0; 5], vec![0.0; 4]);
    let a = Matrix { data: &a, row: 3, column: 1 };
    let b = Stored { data: Numbers::F32(&b), row: 2, column: 1 };
    multiply(Threads::One, Extent { m: 2, n: 2, k: 3 }, a, b, &mut c, Start::Zero);
}

/// x W^T with W as it lies, packed before, and with rows that are made on the way: the same bytes.
#[test]
fn packed_and_made_factors_give_the_bytes_of_plain_ones() {
    for (m, n, k) in [(1, 9, 33), (8, 50, 16), (9, 2, 40), (9, 48, 31), (64, 145, 1100), (70, 97, 513), (130, 700, 256)]
    {
        let (a, bias) = (draw("a", m * k), draw("bias", n));
        let narrow: Vec<bf16> = draw("w", n * k).into_iter().map(bf16::from_f32).collect();
        let wide: Vec<f32> = narrow.iter().map(|v| v.to_f32()).collect();
        let (extent, x) = (Extent { m, n, k }, Matrix { data: &a, row: k, column: 1 });
        for isa in Isa::available() {
            isa.force(|| {
                for start in [Start::Zero, Start::Bias(&bias)] {
                    let run = |f: &dyn Fn(&mut [f32])| {
                        let mut c = vec![f32::NAN; m * n];
                        f(&mut c);
                        c
                    };
                    let stored = Stored { data: Numbers::F32(&wide), row: 1, column: k };
                    for threads in [Threads::One, Threads::All, Threads::Apart] {
                        let plain = run(&|c| multiply(threads, extent, x, stored, c, start));
                        if reads_rows(threads, m) {
                            let make =
                                |first: usize, to: &mut [f32]| to.copy_from_slice(&wide[first * k..][..to.len()]);
                            let made = run(&|c| multiply_rows(threads, extent, x, &make, c, start));
                            assert_eq!(plain, made, "{isa:?} {m} x {n} x {k} {threads:?}");
                            continue;
                        }
                        for numbers in [Numbers::F32(&wide), Numbers::Bf16(&narrow)] {
                            let panels = Panels::new(numbers, [n, k]);
                            let packed = run(&|c| multiply_panels(threads, extent, x, &panels, c, start));
                            assert_eq!(plain, packed, "{isa:?} {m} x {n} x {k} {threads:?}");
                        }
                    }
                }
            });
        }
    }
}
