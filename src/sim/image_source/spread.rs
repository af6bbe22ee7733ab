//! Images onto the grid: each adds its weights at 8 points, times its gains, to four channels per point.
//!
//! The weights of an image serve all bands. With several bands they are laid out once for a group of images, in the
//! order of the grid, and every band adds that group before the next: what is left per band is a multiplication of the
//! gains and one multiply-add per vector. With one band they go from the registers onto the grid.

use crate::device::simd::Isa;
use crate::sim::image_source::block::{Block, CAPACITY};
use crate::sim::image_source::grid::{BETA, WIDTH, bessel_i0};
use std::ops::Range;
use std::sync::OnceLock;

/// Kernel table: rows per grid step. Linear interpolation errs by at most 2e-6 of the peak.
const ROWS: usize = 256;
/// Images whose weights are laid out together: 8 KiB, which stay in the first-level cache.
const GROUP: usize = 64;

/// One line of the kernel table: the 8 weights at a fraction and their differences to the next line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct KernelRow {
    weight: [f32; WIDTH],
    slope: [f32; WIDTH],
}

/// The weights of one image, each four times: once for each channel of a point.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Weights([f32; 4 * WIDTH]);

fn kernel_table() -> &'static [KernelRow; ROWS + 1] {
    static TABLE: OnceLock<Box<[KernelRow; ROWS + 1]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let kernel = |x: f64| {
            let inside = 1.0 - (x / (WIDTH as f64 / 2.0)).powi(2);
            if inside <= 0.0 { 0.0 } else { bessel_i0(BETA * inside.sqrt()) / bessel_i0(BETA) }
        };
        let at = |row: usize, j: usize| kernel(j as f64 - 3.0 - row as f64 / ROWS as f64);
        let mut table = Box::new([KernelRow { weight: [0.0; WIDTH], slope: [0.0; WIDTH] }; ROWS + 1]);
        for (row, line) in table.iter_mut().enumerate() {
            for j in 0..WIDTH {
                line.weight[j] = at(row, j) as f32;
                line.slope[j] = (at(row + 1, j) - at(row, j)) as f32;
            }
        }
        table
    })
}

/// Spreads the images of `block` over `grids`, one for each band, scaled by that band's amplitudes. A grid has four
/// channels per point, all grids the same number of points. Panics when an arrival lies outside of them.
pub(crate) fn spread(isa: Isa, block: &Block, grids: &mut [Vec<f32>]) {
    let n = block.len;
    let shortest = grids.iter().map(Vec::len).min().unwrap_or(0);
    let last = shortest as i32 / 4 - WIDTH as i32;
    let inside = block.position[..n].iter().fold(true, |ok, &p| ok & (p >= 3) & (p - 3 <= last));
    assert!(inside, "an arrival lies outside the time grid");
    let (mut rows, mut rests) = ([0i32; CAPACITY], [0f32; CAPACITY]);
    for ((row, rest), fraction) in rows.iter_mut().zip(&mut rests).zip(&block.fraction[..n]) {
        let x = fraction * ROWS as f32;
        // SAFETY: a fraction is within 0..=1.
        *row = unsafe { x.to_int_unchecked() };
        *rest = x - *row as f32;
    }
    let spread = Spread { block, rows: &rows, rests: &rests };
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the variant proves the instructions; positions were checked above, rows are at most ROWS.
        Isa::Avx512(_) => unsafe { spread.avx512(grids) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2(_) => unsafe { spread.avx2(grids) },
        _ => spread.portable(grids),
    }
}

struct Spread<'a> {
    block: &'a Block,
    rows: &'a [i32; CAPACITY],
    rests: &'a [f32; CAPACITY],
}

impl Spread<'_> {
    /// The images in groups.
    fn groups(&self) -> impl Iterator<Item = Range<usize>> {
        let n = self.block.len;
        (0..n).step_by(GROUP).map(move |first| first..(first + GROUP).min(n))
    }

    fn portable(&self, grids: &mut [Vec<f32>]) {
        let (table, mut laid_out) = (kernel_table(), [Weights([0.0; 4 * WIDTH]); GROUP]);
        for images in self.groups() {
            for (Weights(to), i) in laid_out.iter_mut().zip(images.clone()) {
                let line = &table[self.rows[i] as usize];
                for (at, to) in to.iter_mut().enumerate() {
                    *to = line.weight[at / 4] + self.rests[i] * line.slope[at / 4];
                }
            }
            for (grid, amplitude) in grids.iter_mut().zip(&self.block.amplitude) {
                for (Weights(weights), i) in laid_out.iter().zip(images.clone()) {
                    let gains = self.block.gains[i].map(|g| g * amplitude[i]);
                    let to = &mut grid[4 * (self.block.position[i] as usize - 3)..][..4 * WIDTH];
                    for (at, (to, weight)) in to.iter_mut().zip(weights).enumerate() {
                        *to += weight * gains[at % 4];
                    }
                }
            }
        }
    }

    /// # Safety
    /// The processor has AVX2 and FMA; positions lie within every grid and rows within the table.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(&self, grids: &mut [Vec<f32>]) {
        use std::arch::x86_64::*;
        let table = kernel_table().as_ptr();
        let pick: [__m256i; 4] = std::array::from_fn(|k| {
            let (a, b) = (2 * k as i32, 2 * k as i32 + 1);
            _mm256_setr_epi32(a, a, a, a, b, b, b, b)
        });
        // SAFETY of both: by the contract of this function.
        let weights_of = |i: usize| unsafe {
            let line = table.add(self.rows[i] as usize).cast::<f32>();
            let weights =
                _mm256_fmadd_ps(_mm256_set1_ps(self.rests[i]), _mm256_load_ps(line.add(8)), _mm256_load_ps(line));
            pick.map(|pick| _mm256_permutevar8x32_ps(weights, pick))
        };
        let add = |grid: *mut f32, amplitude: &[f32], i: usize, weights: [__m256; 4]| unsafe {
            let gains = _mm256_broadcast_ps(&_mm_loadu_ps(self.block.gains[i].as_ptr()));
            let gains = _mm256_mul_ps(gains, _mm256_set1_ps(*amplitude.get_unchecked(i)));
            let to = grid.add(4 * (self.block.position[i] as usize - 3));
            for (k, weight) in weights.into_iter().enumerate() {
                let to = to.add(8 * k);
                _mm256_storeu_ps(to, _mm256_fmadd_ps(weight, gains, _mm256_loadu_ps(to)));
            }
        };
        if let [grid] = grids {
            (0..self.block.len).for_each(|i| add(grid.as_mut_ptr(), &self.block.amplitude[0], i, weights_of(i)));
            return;
        }
        let mut laid_out = [[_mm256_setzero_ps(); 4]; GROUP];
        for images in self.groups() {
            images.clone().zip(&mut laid_out).for_each(|(i, to)| *to = weights_of(i));
            for (grid, amplitude) in grids.iter_mut().zip(&self.block.amplitude) {
                images.clone().zip(&laid_out).for_each(|(i, from)| add(grid.as_mut_ptr(), amplitude, i, *from));
            }
        }
    }

    /// # Safety
    /// The processor has AVX-512 F and VL; positions lie within every grid and rows within the table.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
    unsafe fn avx512(&self, grids: &mut [Vec<f32>]) {
        use std::arch::x86_64::*;
        let table = kernel_table().as_ptr();
        let first = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        let pick = [first, _mm512_add_epi32(first, _mm512_set1_epi32(4))];
        // SAFETY of both: by the contract of this function.
        let weights_of = |i: usize| unsafe {
            let line = table.add(self.rows[i] as usize).cast::<f32>();
            let weights =
                _mm256_fmadd_ps(_mm256_set1_ps(self.rests[i]), _mm256_load_ps(line.add(8)), _mm256_load_ps(line));
            pick.map(|pick| _mm512_permutexvar_ps(pick, _mm512_castps256_ps512(weights)))
        };
        let add = |grid: *mut f32, amplitude: &[f32], i: usize, [low, high]: [__m512; 2]| unsafe {
            let gains = _mm512_broadcast_f32x4(_mm_loadu_ps(self.block.gains[i].as_ptr()));
            let gains = _mm512_mul_ps(gains, _mm512_set1_ps(*amplitude.get_unchecked(i)));
            let to = grid.add(4 * (self.block.position[i] as usize - 3));
            let next = to.add(16);
            let low = _mm512_fmadd_ps(low, gains, _mm512_loadu_ps(to));
            let high = _mm512_fmadd_ps(high, gains, _mm512_loadu_ps(next));
            _mm512_storeu_ps(to, low);
            _mm512_storeu_ps(next, high);
        };
        if let [grid] = grids {
            (0..self.block.len).for_each(|i| add(grid.as_mut_ptr(), &self.block.amplitude[0], i, weights_of(i)));
            return;
        }
        let mut laid_out = [[_mm512_setzero_ps(); 2]; GROUP];
        for images in self.groups() {
            images.clone().zip(&mut laid_out).for_each(|(i, to)| *to = weights_of(i));
            for (grid, amplitude) in grids.iter_mut().zip(&self.block.amplitude) {
                images.clone().zip(&laid_out).for_each(|(i, from)| add(grid.as_mut_ptr(), amplitude, i, *from));
            }
        }
    }
}
