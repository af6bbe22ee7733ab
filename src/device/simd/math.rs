//! Functions of vectors, the same polynomials on every instruction set.
//!
//! Accuracies are in the tests of the parent module. NaN in, NaN out; large arguments saturate.

use super::Simd;

/// 1.5 2^23: adding it rounds to an integer, whose low bits then stand in the mantissa.
pub(super) const ROUND: f32 = 12_582_912.0;

/// c0 + c1 x + c2 x^2 + .., highest coefficient first in `c`.
#[inline(always)]
fn horner<S: Simd>(s: S, x: S::V, c: &[f32]) -> S::V {
    let mut sum = s.splat(c[0]);
    for &c in &c[1..] {
        sum = s.fma(sum, x, s.splat(c));
    }
    sum
}

/// 2^f for f in [-1/2, 1/2]: degree 6, minimax in the relative error (1.9e-9, before rounding).
#[inline(always)]
pub(super) fn exp2_near_zero<S: Simd>(s: S, f: S::V) -> S::V {
    const C: [f32; 7] =
        [1.534_581_2e-4, 1.339_993_1e-3, 9.618_489e-3, 0.055_503_286, 0.240_226_46, std::f32::consts::LN_2, 1.0];
    horner(s, f, &C)
}

/// e^x; saturates at the ends of the f32 range.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, of which the first times n is exact.
    let x = s.max(s.splat(-87.3), s.min(s.splat(88.3), x));
    let n = s.sub(s.fma(x, s.splat(std::f32::consts::LOG2_E), s.splat(ROUND)), s.splat(ROUND));
    let r = s.fnma(n, s.splat(0.693_359_4), x);
    let r = s.fnma(n, s.splat(-2.121_944_4e-4), r);
    const C: [f32; 7] = [1.383_684_7e-3, 8.374_816e-3, 0.041_668_225, 0.166_664_2, 0.499_999_9, 1.0, 1.0];
    s.scale_by_power(horner(s, r, &C), n)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    // `exp` saturates below 2^127, where sigmoid is under 1e-38: in the range of `reciprocal`.
    let e = exp(s, s.sub(s.zero(), x));
    s.reciprocal(s.add(s.splat(1.0), e))
}

/// tanh x: a polynomial where 1 - 2 / (e^2x + 1) would cancel.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    const NEAR: f32 = 0.625;
    let magnitude = s.abs(x);
    // tanh is 1 in f32 from 9.02 on; the order of operands keeps NaN.
    let bounded = s.min(s.splat(10.0), magnitude);
    let e = exp(s, s.add(bounded, bounded));
    let far = s.fnma(s.splat(2.0), s.reciprocal(s.add(e, s.splat(1.0))), s.splat(1.0));
    const C: [f32; 5] = [-5.704_988_7e-3, 2.063_908_8e-2, -5.373_971_6e-2, 0.133_314_76, -0.333_332_8];
    let square = s.mul(x, x);
    let near = s.fma(s.mul(horner(s, square, &C), square), x, x);
    s.select_above(magnitude, s.splat(NEAR), s.copy_sign(far, x), near)
}

/// ln(1 + e^x).
#[inline(always)]
pub fn softplus<S: Simd>(s: S, x: S::V) -> S::V {
    // max(x, 0) + ln(1 + u) with u = e^-|x| in (0, 1]: ln(1 + u) = 2 atanh(u / (2 + u)).
    let u = exp(s, s.sub(s.zero(), s.abs(x)));
    let r = s.div(u, s.add(u, s.splat(2.0)));
    let square = s.mul(r, r);
    // atanh(r) / r for r in [0, 1/3]: its Taylor series, of which r^14 is the first term left out.
    const C: [f32; 7] = [1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0];
    let log = s.mul(s.add(r, r), horner(s, square, &C));
    s.add(s.max(s.zero(), x), log)
}
