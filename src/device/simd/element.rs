//! Numbers as they lie in memory: f32, or bf16 that is widened in registers.

use super::Simd;
use half::bf16;

/// A number that kernels read into vectors of f32.
pub trait Element: Copy + Sync + 'static {
    /// # Safety
    /// `LANES` numbers are readable at `at`.
    unsafe fn load<S: Simd>(simd: S, at: *const Self) -> S::V;
    /// The first `n` lanes, zeros in the others.
    ///
    /// # Safety
    /// `n` numbers are readable at `at`.
    unsafe fn load_first<S: Simd>(simd: S, at: *const Self, n: usize) -> S::V;
    /// The same number as an f32.
    fn to_f32(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, at: *const f32) -> S::V {
        unsafe { simd.load(at) }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(simd: S, at: *const f32, n: usize) -> S::V {
        unsafe { simd.load_first(at, n) }
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, at: *const bf16) -> S::V {
        unsafe { simd.load_bf16(at) }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(simd: S, at: *const bf16, n: usize) -> S::V {
        let mut lanes = [bf16::ZERO; 16];
        // SAFETY: n numbers are readable by the contract, and no vector has more than 16 lanes.
        unsafe {
            std::ptr::copy_nonoverlapping(at, lanes.as_mut_ptr(), n.min(S::LANES));
            simd.load_bf16(lanes.as_ptr())
        }
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}
