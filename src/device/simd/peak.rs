//! The peak of a core: fused multiply-adds that touch registers only.

use super::{Isa, Kernel, Simd};
use std::hint::black_box;

/// Twelve independent chains hide the latency, and with their factor they fit 16 registers.
const CHAINS: usize = 12;

struct Multiplications(usize);

impl Kernel for Multiplications {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (factor, mut sums) = (simd.splat(black_box(0.999)), [simd.splat(black_box(1.0)); CHAINS]);
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.fma(*sum, factor, factor);
            }
        }
        simd.sum(sums.into_iter().reduce(|a, b| simd.add(a, b)).expect("twelve sums"))
    }
}

/// Multiplies and adds in registers for `steps` steps on the instruction set of this thread; returns the number of
/// floating-point operations. Whoever holds a clock learns the peak of a core from it.
pub fn multiply_in_registers(steps: usize) -> f64 {
    let isa = Isa::current();
    black_box(isa.run(Multiplications(steps)));
    2.0 * (CHAINS * isa.lanes() * steps) as f64
}
