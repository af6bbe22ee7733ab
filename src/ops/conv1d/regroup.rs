//! Rows of channels between the order of the tensors (group after group) and W groups interleaved.

use crate::device::simd::Simd;

/// out[i W + j] = x[j channels + i]; groups that are not there are zero.
#[inline(always)]
pub(super) fn regroup<S: Simd, const W: usize>(s: S, x: &[f32], channels: usize, out: &mut [f32]) {
    if W == 1 {
        out.copy_from_slice(x);
    } else if (W == 2 || W == 4) && x.len() == W * channels {
        assert!(out.len() >= W * channels);
        let n = channels.min(S::LANES);
        for i in (0..channels).step_by(S::LANES) {
            // The last vector overlaps the one before instead of being cut.
            let i = i.min(channels - n);
            // SAFETY: n channels of each of the W groups are readable, and W n numbers writable from i W on.
            unsafe {
                let group = |j: usize| load_some(s, x.as_ptr().add(j * channels + i), n);
                let to = out.as_mut_ptr().add(i * W);
                if W == 2 {
                    let (low, high) = s.interleave(group(0), group(1));
                    store_some(s, to, [low, high], 2 * n);
                } else {
                    let (even_low, even_high) = s.interleave(group(0), group(2));
                    let (odd_low, odd_high) = s.interleave(group(1), group(3));
                    let (a, b) = s.interleave(even_low, odd_low);
                    let (c, d) = s.interleave(even_high, odd_high);
                    store_some(s, to, [a, b, c, d], 4 * n);
                }
            }
        }
    } else {
        for (i, out) in out.chunks_exact_mut(W).enumerate() {
            for (j, out) in out.iter_mut().enumerate() {
                *out = x.get(j * channels + i).copied().unwrap_or(0.0);
            }
        }
    }
}

/// x[j channels + i] = row[i W + j], for the groups that are there: the inverse of [`regroup`].
#[inline(always)]
pub(super) fn ungroup<S: Simd, const W: usize>(s: S, row: &[f32], channels: usize, x: &mut [f32]) {
    if W == 1 {
        x.copy_from_slice(row);
    } else if (W == 2 || W == 4) && x.len() == W * channels {
        assert!(row.len() >= W * channels);
        let n = channels.min(S::LANES);
        for i in (0..channels).step_by(S::LANES) {
            let i = i.min(channels - n);
            // SAFETY: W n numbers are readable from i W on, and n channels of each of the W groups writable.
            unsafe {
                let from = row.as_ptr().add(i * W);
                let left = |v: usize| (W * n).saturating_sub(v * S::LANES);
                let part = |v: usize| load_some(s, from.wrapping_add(v * S::LANES), left(v));
                let to = x.as_mut_ptr().add(i);
                if W == 2 {
                    let (a, b) = s.deinterleave(part(0), part(1));
                    store_some(s, to, [a], n);
                    store_some(s, to.add(channels), [b], n);
                } else {
                    let (even_low, odd_low) = s.deinterleave(part(0), part(1));
                    let (even_high, odd_high) = s.deinterleave(part(2), part(3));
                    let (a, c) = s.deinterleave(even_low, even_high);
                    let (b, d) = s.deinterleave(odd_low, odd_high);
                    for (j, v) in [a, b, c, d].into_iter().enumerate() {
                        store_some(s, to.add(j * channels), [v], n);
                    }
                }
            }
        }
    } else {
        for (i, row) in row.chunks_exact(W).enumerate() {
            for (j, &value) in row.iter().enumerate().take(x.len() / channels) {
                x[j * channels + i] = value;
            }
        }
    }
}

/// Stores the first `n` numbers of `N` vectors. SAFETY: `n` floats are writable.
#[inline(always)]
unsafe fn store_some<S: Simd, const N: usize>(s: S, to: *mut f32, vectors: [S::V; N], n: usize) {
    for (v, vector) in vectors.into_iter().enumerate() {
        let left = n.saturating_sub(v * S::LANES);
        if left >= S::LANES {
            unsafe { s.store(to.add(v * S::LANES), vector) };
        } else if left > 0 {
            unsafe { s.store_first(to.add(v * S::LANES), vector, left) };
        }
    }
}

/// Loads at most `n` numbers, zeros beyond. SAFETY: `n` floats are readable.
#[inline(always)]
unsafe fn load_some<S: Simd>(s: S, from: *const f32, n: usize) -> S::V {
    unsafe { if n >= S::LANES { s.load(from) } else { s.load_first(from, n) } }
}
