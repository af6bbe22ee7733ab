//! The activations on vectors.

use super::Activation;
use crate::device::simd::slices::{Binary, Unary, map, map2};
use crate::device::simd::{Simd, exp, sigmoid, softplus, tanh};

/// y = f(x).
pub(super) fn values(kind: Activation, x: &[f32], y: &mut [f32]) {
    match kind {
        Activation::Silu => map(Silu, x, y),
        Activation::Gelu => map(Gelu, x, y),
        Activation::Sigmoid => map(Sigmoid, x, y),
        Activation::Softplus => map(Softplus, x, y),
        Activation::Tanh => map(Tanh, x, y),
    }
}

/// dx = dy f'(x).
pub(super) fn backward(kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    match kind {
        Activation::Silu => map2(Silu, x, dy, dx),
        Activation::Gelu => map2(Gelu, x, dy, dx),
        Activation::Sigmoid => map2(Sigmoid, x, dy, dx),
        Activation::Softplus => map2(Softplus, x, dy, dx),
        Activation::Tanh => map2(Tanh, x, dy, dx),
    }
}

/// One struct per function: its value, and its slope times dy.
macro_rules! function {
    ($name:ident, |$s:ident, $x:ident| $value:expr, $slope:expr) => {
        struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn apply<S: Simd>(&self, $s: S, $x: S::V) -> S::V {
                $value
            }
        }
        impl Binary for $name {
            #[inline(always)]
            fn apply<S: Simd>(&self, $s: S, $x: S::V, dy: S::V) -> S::V {
                $s.mul(dy, $slope)
            }
        }
    };
}

function!(Silu, |s, x| s.mul(x, sigmoid(s, x)), {
    let y = sigmoid(s, x);
    // y (1 + x (1 - y))
    s.fma(y, s.mul(x, s.sub(s.splat(1.0), y)), y)
});
function!(Sigmoid, |s, x| sigmoid(s, x), {
    let y = sigmoid(s, x);
    s.fnma(y, y, y)
});
function!(Softplus, |s, x| softplus(s, x), sigmoid(s, x));
function!(Tanh, |s, x| tanh(s, x), {
    let y = tanh(s, x);
    s.fnma(y, y, s.splat(1.0))
});
function!(Gelu, |s, x| s.mul(x, normal_cdf(s, x)), {
    let density = s.mul(exp(s, s.mul(s.splat(-0.5), s.mul(x, x))), s.splat(0.398_942_3));
    s.fma(x, density, normal_cdf(s, x))
});

/// The standard normal distribution function: erfc(z) = t e^(-z^2 + P(t)) with t = 1 / (1 + z / 2), whose
/// relative error stays below 1.2e-7 for every z >= 0 (Press et al., Numerical Recipes, 6.2).
#[inline(always)]
fn normal_cdf<S: Simd>(s: S, x: S::V) -> S::V {
    const P: [f32; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    // Beyond 13 the tail is under the f32 range; the order of operands keeps NaN.
    let z = s.mul(s.min(s.splat(13.0), s.abs(x)), s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = s.reciprocal(s.fma(s.splat(0.5), z, s.splat(1.0)));
    let mut p = s.splat(P[0]);
    for &c in &P[1..] {
        p = s.fma(p, t, s.splat(c));
    }
    let tail = s.mul(s.mul(s.splat(0.5), t), exp(s, s.fnma(z, z, p)));
    s.select_above(x, s.zero(), s.sub(s.splat(1.0), tail), tail)
}
