//! Pointwise activations: SiLU x sigmoid(x), GELU x Phi(x) (erf form), sigmoid, softplus ln(1 + e^x), tanh.
//!
//! x [..] -> y [..]. The backward recomputes from x: one pass, nothing saved but the input.

mod host;

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Which function. The kernels know them by their position here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x sigmoid(x).
    Silu,
    /// x (1 + erf(x / sqrt 2)) / 2.
    Gelu,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// ln(1 + e^x).
    Softplus,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// All of them.
    pub const ALL: [Activation; 5] =
        [Activation::Silu, Activation::Gelu, Activation::Sigmoid, Activation::Softplus, Activation::Tanh];

    /// The name used in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Silu => "silu",
            Activation::Gelu => "gelu",
            Activation::Sigmoid => "sigmoid",
            Activation::Softplus => "softplus",
            Activation::Tanh => "tanh",
        }
    }

    #[inline(always)]
    fn value<R: Real>(self, x: R) -> R {
        match self {
            Activation::Silu => x * x.sigmoid(),
            Activation::Gelu => x * normal_cdf(x),
            Activation::Sigmoid => x.sigmoid(),
            // max(x, 0) + ln(1 + e^-|x|): exact for large |x| without overflow.
            Activation::Softplus => x.max(R::of(0.0)) + (-x.abs()).exp().ln_1p(),
            Activation::Tanh => x.tanh(),
        }
    }

    #[inline(always)]
    fn slope<R: Real>(self, x: R) -> R {
        let one = R::of(1.0);
        match self {
            Activation::Silu => {
                let s = x.sigmoid();
                s * (one + x * (one - s))
            }
            Activation::Gelu => {
                let density = (-x * x / R::of(2.0)).exp() * R::of(0.398_942_280_401_432_7);
                normal_cdf(x) + x * density
            }
            Activation::Sigmoid => {
                let s = x.sigmoid();
                s * (one - s)
            }
            Activation::Softplus => x.sigmoid(),
            Activation::Tanh => {
                let t = x.tanh();
                one - t * t
            }
        }
    }
}

/// The standard normal distribution function, to f64 precision: a Taylor series of erf near zero and the
/// continued fraction of erfc (Lentz) in the tails.
fn normal_cdf<R: Real>(x: R) -> R {
    let z = x.f64() / std::f64::consts::SQRT_2;
    let a = z.abs();
    let tail = if a < 2.5 {
        // erf(a) = 2/sqrt(pi) sum (-1)^n a^(2n+1) / (n! (2n+1))
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-17 * sum.abs() && n < 120.0 {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        0.5 - sum * std::f64::consts::FRAC_2_SQRT_PI / 2.0
    } else {
        // erfc(a) = e^(-a^2) / sqrt(pi) / (a + (1/2)/(a + 1/(a + (3/2)/(a + ...))))
        let mut fraction = a;
        for k in (1..60).rev() {
            fraction = a + k as f64 / 2.0 / fraction;
        }
        (-a * a).exp() * std::f64::consts::FRAC_2_SQRT_PI / 4.0 / fraction
    };
    R::of(if z < 0.0 { tail } else { 1.0 - tail })
}

/// Applies the function to every element.
pub fn activation(tape: &mut Tape, kind: Activation, x: &Var) -> Var {
    let (y, saved) = (values(kind, x.tensor()), x.clone());
    tape.record(kind.name(), &[x], y, move |dy, grads| {
        grads.add(saved.id(), activation_backward(kind, saved.tensor(), dy))
    })
}

fn values(kind: Activation, x: &Tensor) -> Tensor {
    let mut y = x.like(x.shape());
    if x.device() == Device::Host {
        host::values(kind, x.data(), y.data_mut());
        return y;
    }
    kernels::activation_fwd(Launch::quads(x.len()), &mut y, x, kind as i32, x.len());
    y
}

/// dy f'(x).
fn activation_backward(kind: Activation, x: &Tensor, dy: &Tensor) -> Tensor {
    let mut dx = x.like(x.shape());
    if x.device() == Device::Host {
        host::backward(kind, x.data(), dy.data(), dx.data_mut());
        return dx;
    }
    kernels::activation_bwd(Launch::quads(x.len()), &mut dx, x, dy, kind as i32, x.len());
    dx
}

#[derive(Clone)]
pub(super) struct Plain(pub(super) Activation);

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        inputs[0].iter().map(|&x| self.0.value(x)).collect()
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        vec![inputs[0].iter().zip(dy).map(|(&x, &d)| d * self.0.slope(x)).collect()]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |kind: Activation, n: usize| {
        let inputs = vec![input(&[n]).scaled(2.0)];
        Case::new("activation", format!("{} {n}", kind.name()), Plain(kind), inputs, move |tape, v| {
            activation(tape, kind, &v[0])
        })
        .with_bf16()
    };
    let mut all: Vec<Case> = Activation::ALL.iter().flat_map(|&k| [1, 17, 64, 1021].map(|n| case(k, n))).collect();
    all.push(case(Activation::Silu, 626 * 192).bench(4.0 * 626.0 * 192.0));
    all.push(case(Activation::Silu, 501 * 192).bench(4.0 * 501.0 * 192.0).copied(1032, &[0]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_function_matches_tables() {
        // Values of Phi from a table with ten digits.
        for (x, p) in [(0.0, 0.5), (1.0, 0.841_344_746_1), (-2.0, 0.022_750_131_9), (4.0, 0.999_968_328_8)] {
            assert!((normal_cdf(x) - p).abs() < 1e-10, "{x}");
        }
        let (below, above) = (normal_cdf(-3.5355339f64), normal_cdf(-3.5355340f64));
        assert!((below - above).abs() < 1e-9, "the two branches meet");
    }

    #[test]
    fn extreme_arguments_stay_finite() {
        for kind in Activation::ALL {
            for x in [-1e4f32, -200.0, 200.0, 1e4] {
                assert!(kind.value(x).is_finite() && kind.slope(x).is_finite(), "{} {x}", kind.name());
            }
        }
    }
}
