//! 8 lanes as an array: any machine; the compiler makes of it what the baseline instruction set allows.

use super::{Kernel, Simd, math};
use half::bf16;

/// The instruction set every machine has.
#[derive(Clone, Copy)]
pub struct Portable;

type V = [f32; 8];

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction, the fused form is a slow library call.
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

#[inline(never)]
fn enter<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Portable)
}

// SAFETY of the blocks below: pointers are the caller's duty.
impl Simd for Portable {
    type V = V;
    const LANES: usize = 8;
    const VECTORS: usize = 1;
    const ROWS: usize = 4;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        enter(kernel)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(self, at: *const f32) -> V {
        unsafe { at.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_first(self, at: *const f32, n: usize) -> V {
        let mut v = [0.0; 8];
        unsafe { std::ptr::copy_nonoverlapping(at, v.as_mut_ptr(), n.min(8)) };
        v
    }
    #[inline(always)]
    unsafe fn broadcast<const W: usize>(self, at: *const f32) -> V {
        std::array::from_fn(|i| unsafe { *at.add(i % W) })
    }
    #[inline(always)]
    unsafe fn load_bf16(self, at: *const bf16) -> V {
        std::array::from_fn(|i| unsafe { at.add(i).read_unaligned() }.to_f32())
    }
    #[inline(always)]
    unsafe fn load_i8(self, at: *const i8) -> V {
        std::array::from_fn(|i| f32::from(unsafe { *at.add(i) }))
    }
    #[inline(always)]
    unsafe fn look_up(self, table: &[f32; 16], at: *const u8) -> V {
        std::array::from_fn(|i| {
            let byte = unsafe { *at.add(i / 2) };
            table[usize::from(if i % 2 == 0 { byte >> 4 } else { byte & 15 })]
        })
    }
    #[inline(always)]
    fn prefetch<T>(self, _at: *const T) {}
    #[inline(always)]
    unsafe fn store(self, at: *mut f32, v: V) {
        unsafe { at.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_first(self, at: *mut f32, v: V, n: usize) {
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), at, n.min(8)) }
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| multiply_add(a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn fnma(self, a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| multiply_add(-a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn abs(self, a: V) -> V {
        a.map(f32::abs)
    }
    #[inline(always)]
    fn copy_sign(self, a: V, b: V) -> V {
        zip(a, b, f32::copysign)
    }
    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn select_above(self, x: V, limit: V, yes: V, no: V) -> V {
        std::array::from_fn(|i| if x[i] > limit[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn reciprocal(self, a: V) -> V {
        a.map(|a| 1.0 / a)
    }
    #[inline(always)]
    fn exp2(self, x: V) -> V {
        // As in `avx2.rs`.
        let x = self.max(self.splat(-126.0), self.min(self.splat(127.0), x));
        let n = self.sub(self.add(x, self.splat(math::ROUND)), self.splat(math::ROUND));
        self.scale_by_power(math::exp2_near_zero(self, self.sub(x, n)), n)
    }
    #[inline(always)]
    fn scale_by_power(self, p: V, n: V) -> V {
        // n + ROUND holds n in its low mantissa bits, in two's complement.
        zip(p, n, |p, n| p * f32::from_bits(((n + math::ROUND).to_bits() << 23).wrapping_add(127 << 23)))
    }
    #[inline(always)]
    fn interleave(self, a: V, b: V) -> (V, V) {
        let pair = |i: usize| if i.is_multiple_of(2) { a[i / 2] } else { b[i / 2] };
        (std::array::from_fn(pair), std::array::from_fn(|i| pair(i + 8)))
    }
    #[inline(always)]
    fn deinterleave(self, a: V, b: V) -> (V, V) {
        let at = |i: usize| if i < 8 { a[i] } else { b[i - 8] };
        (std::array::from_fn(|i| at(2 * i)), std::array::from_fn(|i| at(2 * i + 1)))
    }
    #[inline(always)]
    fn sum(self, a: V) -> f32 {
        let four: [f32; 4] = std::array::from_fn(|i| a[i] + a[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
}
