//! Arrival time and Ambisonic gains of images, a block at a time (the geometry shared by every filter).

use crate::device::simd::{Isa, multiversion};
use crate::sim::image_source::images::{Images, PADDING, Row, Walls};

/// Images in a block; rows are cut at its end.
pub(crate) const CAPACITY: usize = 512;

/// A block of images, ready to be spread over samples.
#[repr(align(64))]
pub(crate) struct Block {
    /// Whole part of the arrival time on the consumer's grid.
    pub position: [i32; CAPACITY + PADDING],
    /// Rest of the arrival time, 0 to 1 of a grid step.
    pub fraction: [f32; CAPACITY + PADDING],
    /// (1, u_y, u_z, u_x) / distance: W, Y, Z, X without wall losses.
    pub gains: [[f32; 4]; CAPACITY + PADDING],
    /// Wall (and air) losses per band.
    pub amplitude: Vec<[f32; CAPACITY + PADDING]>,
    /// Distances in metres, only filled when air absorbs.
    distance_m: [f32; CAPACITY + PADDING],
    /// Images in use.
    pub len: usize,
}

/// How arrival times are laid on a grid: position = distance * steps_per_m + shift.
#[derive(Clone, Copy)]
pub(crate) struct TimeGrid {
    pub steps_per_m: f64,
    pub shift: f64,
}

/// Calls `consume` with blocks of all images that have not lost everything, in a fixed order.
pub(crate) fn for_each_block(
    isa: Isa,
    images: &Images,
    walls: &Walls,
    grid: TimeGrid,
    mut consume: impl FnMut(&Block),
) {
    let mut block = Box::new(Block {
        position: [0; CAPACITY + PADDING],
        fraction: [0.0; CAPACITY + PADDING],
        gains: [[0.0; 4]; CAPACITY + PADDING],
        amplitude: vec![[0.0; CAPACITY + PADDING]; walls.amplitudes.len()],
        distance_m: [0.0; CAPACITY + PADDING],
        len: 0,
    });
    let air = walls.air_per_m.iter().any(|&m| m > 0.0);
    images.rows(|mut row| {
        let silent = |tables: &[Vec<f32>; 3]| tables[1][row.y] * tables[2][row.z] == 0.0;
        if walls.amplitudes.iter().all(silent) {
            return;
        }
        while !row.x.is_empty() {
            let part = row.x.len().min(CAPACITY - block.len);
            let rest = row.x.start + part..row.x.end;
            row.x.end = row.x.start + part;
            append(isa, images, walls, &row, grid, air, &mut block);
            row.x = rest;
            if block.len == CAPACITY {
                finish(isa, walls, air, &mut block, &mut consume);
            }
        }
    });
    finish(isa, walls, air, &mut block, &mut consume);
}

fn finish(isa: Isa, walls: &Walls, air: bool, block: &mut Block, consume: &mut impl FnMut(&Block)) {
    if block.len == 0 {
        return;
    }
    if air {
        let Block { amplitude, distance_m, len, .. } = block;
        for (amplitude, &m) in amplitude.iter_mut().zip(&walls.air_per_m) {
            attenuate(isa, &mut amplitude[..*len], &distance_m[..*len], -0.5 * m as f32);
        }
    }
    consume(block);
    block.len = 0;
}

#[inline(always)]
fn append(isa: Isa, images: &Images, walls: &Walls, row: &Row, grid: TimeGrid, air: bool, block: &mut Block) {
    let at = block.len;
    let n = row.x.len();
    // Whole vectors: entries behind the row's end are computed from the padding and overwritten next time.
    let whole = n.next_multiple_of(8);
    let to = at..at + whole;
    let out = Out {
        position: &mut block.position[to.clone()],
        fraction: &mut block.fraction[to.clone()],
        gains: &mut block.gains[to.clone()],
        distance_m: if air { &mut block.distance_m[to.clone()] } else { &mut [] },
    };
    let line = Line {
        yz_squared: row.yz_squared,
        y: images.offset_m[1][row.y] as f32,
        z: images.offset_m[2][row.z] as f32,
        grid,
    };
    geometry(isa, &images.offset_m[0][row.x.start..row.x.start + whole], line, out);
    for (amplitude, tables) in block.amplitude.iter_mut().zip(&walls.amplitudes) {
        let yz = tables[1][row.y] * tables[2][row.z];
        let x = &tables[0][row.x.start..row.x.start + whole];
        scale(isa, &mut amplitude[to.clone()], x, yz);
    }
    block.len += n;
}

#[derive(Clone, Copy)]
struct Line {
    yz_squared: f64,
    y: f32,
    z: f32,
    grid: TimeGrid,
}

struct Out<'a> {
    position: &'a mut [i32],
    fraction: &'a mut [f32],
    gains: &'a mut [[f32; 4]],
    /// Empty when nobody asks for distances.
    distance_m: &'a mut [f32],
}

fn geometry(isa: Isa, x_m: &[f64], line: Line, out: Out<'_>) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the variant proves the instructions.
        Isa::Avx512(_) => unsafe { geometry_avx512(x_m, line, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2(_) => unsafe { geometry_avx2(x_m, line, out) },
        _ => geometry_body(x_m, line, out),
    }
}

/// # Safety
/// The processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn geometry_avx2(x_m: &[f64], line: Line, out: Out<'_>) {
    geometry_body(x_m, line, out);
}

/// [`geometry_body`] with the square root by its reciprocal estimate and two Newton steps, which here leave a
/// relative error below 2^-50.
///
/// # Safety
/// The processor has AVX-512 F, VL and DQ.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
unsafe fn geometry_avx512(x_m: &[f64], line: Line, out: Out<'_>) {
    use std::arch::x86_64::*;
    const LANES: usize = 8;
    let n = x_m.len() / LANES;
    assert!(out.position.len() >= LANES * n && out.fraction.len() >= LANES * n && out.gains.len() >= LANES * n);
    assert!(out.distance_m.is_empty() || out.distance_m.len() >= LANES * n);
    let half = _mm512_set1_pd(0.5);
    let (yz, y, z) = (_mm512_set1_pd(line.yz_squared), _mm256_set1_ps(line.y), _mm256_set1_ps(line.z));
    let (steps, shift) = (_mm512_set1_pd(line.grid.steps_per_m), _mm512_set1_pd(line.grid.shift));
    // Lanes of (1, y) and of (z, x) to [1, y, z, x] per image.
    let first = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
    let second = _mm512_add_epi32(first, _mm512_set1_epi32(4));
    for i in (0..LANES * n).step_by(LANES) {
        // SAFETY: all slices hold at least n whole vectors, checked above.
        unsafe {
            let x = _mm512_loadu_pd(x_m.as_ptr().add(i));
            let squared = _mm512_fmadd_pd(x, x, yz);
            let estimate = _mm512_rsqrt14_pd(squared);
            let (root, inverse) = (_mm512_mul_pd(squared, estimate), _mm512_mul_pd(half, estimate));
            let error = _mm512_fnmadd_pd(root, inverse, half);
            let (root, inverse) = (_mm512_fmadd_pd(root, error, root), _mm512_fmadd_pd(inverse, error, inverse));
            let d = _mm512_fmadd_pd(_mm512_fnmadd_pd(root, root, squared), inverse, root);
            let u = _mm512_fmadd_pd(d, steps, shift);
            let whole = _mm512_cvttpd_epi32(u);
            let fraction = _mm512_cvtpd_ps(_mm512_sub_pd(u, _mm512_cvtepi32_pd(whole)));
            _mm256_storeu_si256(out.position.as_mut_ptr().add(i).cast(), whole);
            _mm256_storeu_ps(out.fraction.as_mut_ptr().add(i), fraction);
            if !out.distance_m.is_empty() {
                _mm256_storeu_ps(out.distance_m.as_mut_ptr().add(i), _mm512_cvtpd_ps(d));
            }
            let inverse = _mm512_cvtpd_ps(_mm512_add_pd(inverse, inverse));
            let square = _mm256_mul_ps(inverse, inverse);
            let x = _mm256_mul_ps(_mm512_cvtpd_ps(x), square);
            let one_y = _mm512_insertf32x8(_mm512_castps256_ps512(inverse), _mm256_mul_ps(y, square), 1);
            let z_x = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_mul_ps(z, square)), x, 1);
            let to = out.gains.as_mut_ptr().add(i).cast::<f32>();
            _mm512_storeu_ps(to, _mm512_permutex2var_ps(one_y, first, z_x));
            _mm512_storeu_ps(to.add(16), _mm512_permutex2var_ps(one_y, second, z_x));
        }
    }
}

#[inline(always)]
fn geometry_body(x_m: &[f64], line: Line, out: Out<'_>) {
    const LANES: usize = 8;
    let n = x_m.len() / LANES;
    let (position, _) = out.position.as_chunks_mut::<LANES>();
    let (fraction, _) = out.fraction.as_chunks_mut::<LANES>();
    let (gains, _) = out.gains.as_chunks_mut::<LANES>();
    let (distance_m, _) = out.distance_m.as_chunks_mut::<LANES>();
    let (xs, _) = x_m.as_chunks::<LANES>();
    for i in 0..n {
        let x = &xs[i];
        let mut d = [0.0f64; LANES];
        let mut inverse = [0.0f32; LANES];
        for l in 0..LANES {
            d[l] = (x[l] * x[l] + line.yz_squared).sqrt();
            let u = d[l] * line.grid.steps_per_m + line.grid.shift;
            // SAFETY: u is finite and below 2^31: `Room::check` bounds every response to 2^28 samples.
            let whole: i32 = unsafe { u.to_int_unchecked() };
            position[i][l] = whole;
            fraction[i][l] = (u - whole as f64) as f32;
            inverse[l] = 1.0 / d[l] as f32;
        }
        if !distance_m.is_empty() {
            for l in 0..LANES {
                distance_m[i][l] = d[l] as f32;
            }
        }
        for l in 0..LANES {
            let square = inverse[l] * inverse[l];
            gains[i][l] = [inverse[l], line.y * square, line.z * square, x[l] as f32 * square];
        }
    }
}

multiversion! {
    fn scale(to: &mut [f32], x: &[f32], by: f32) = scale_body
}

#[inline(always)]
fn scale_body(to: &mut [f32], x: &[f32], by: f32) {
    const LANES: usize = 8;
    for (to, x) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(x.as_chunks::<LANES>().0) {
        for l in 0..LANES {
            to[l] = x[l] * by;
        }
    }
}

multiversion! {
    /// amplitude *= exp(rate * distance), with rate <= 0.
    fn attenuate(amplitude: &mut [f32], distance_m: &[f32], rate: f32) = attenuate_body
}

#[inline(always)]
fn attenuate_body(amplitude: &mut [f32], distance_m: &[f32], rate: f32) {
    let per_octave = rate * std::f32::consts::LOG2_E;
    for (a, d) in amplitude.iter_mut().zip(distance_m) {
        // 2^x = 2^floor(x) * 2^rest; the polynomial is the Taylor series around 1/2, relative error 2e-8.
        let x = (d * per_octave).max(-126.0);
        // SAFETY: x is within -126..=0.
        let whole: i32 = unsafe { (x - 1.0).to_int_unchecked() };
        let t = (x - whole as f32 - 0.5) * std::f32::consts::LN_2;
        let series = 1.0
            + t * (1.0 + t * (1.0 / 2.0 + t * (1.0 / 6.0 + t * (1.0 / 24.0 + t * (1.0 / 120.0 + t * (1.0 / 720.0))))));
        let power = f32::from_bits(((whole + 127).max(0) as u32) << 23);
        *a *= series * std::f32::consts::SQRT_2 * power;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attenuation_is_the_exponential_on_every_path() {
        let distances: Vec<f32> = (0..4000).map(|i| i as f32 * 0.37).collect();
        for isa in Isa::available() {
            let mut amplitude = vec![1.0f32; distances.len()];
            attenuate(isa, &mut amplitude, &distances, -0.05);
            for (a, d) in amplitude.iter().zip(&distances) {
                let expected = (-0.05 * *d as f64).exp();
                // The rounding of the exponent itself grows with it.
                let tolerance = 2e-7 * (2.0 - expected.ln()) * expected + 1e-30;
                assert!((*a as f64 - expected).abs() <= tolerance, "{isa:?} {d}: {a} {expected}");
            }
        }
    }
}
