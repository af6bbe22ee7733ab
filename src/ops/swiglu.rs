//! y = silu(gate) * up: the gated unit of a decoder's feed-forward layer.   gate, up [..] -> y [..]
//!
//! With s = 1 / (1 + e^-gate): y = gate s up, dgate = dy up s (1 + gate (1 - s)), dup = dy gate s. The backward recomputes
//! s from the gate, and computes the gradients of tracked inputs only.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::slices::{Binary, each_vector, get, map2, put};
use crate::device::simd::{Kernel, Simd, dispatch, sigmoid};
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// silu(gate) times up, for equal shapes.
#[track_caller]
pub fn swiglu(tape: &mut Tape, gate: &Var, up: &Var) -> Var {
    up.tensor().expect_shape("swiglu up", gate.shape());
    let y = forward(gate.tensor(), up.tensor());
    // Both may be cheaper to compute again than to keep.
    let ([gate_saved, up_saved], ids) = ([gate, up].map(Var::saved), [gate, up].map(Var::id));
    tape.record("swiglu", &[gate, up], y, move |dy, grads| {
        let (gate, up) = (&gate_saved.tensor(), &up_saved.tensor());
        match ids {
            [Some(_), Some(_)] => {
                let [dgate, dup] = backward(gate, up, dy);
                grads.add(ids[0], dgate);
                grads.add(ids[1], dup);
            }
            [Some(_), None] => grads.add(ids[0], backward_gate(gate, up, dy)),
            [None, _] => grads.add(ids[1], backward_up(gate, dy)),
        }
    })
}

fn forward(gate: &Tensor, up: &Tensor) -> Tensor {
    let mut y = gate.like(gate.shape());
    if gate.device() == Device::Host {
        map2(Gated, gate.data(), up.data(), y.data_mut());
        return y;
    }
    kernels::swiglu_fwd(Launch::quads(y.len()), &mut y, gate, up, gate.len());
    y
}

/// Both gradients in one pass.
fn backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> [Tensor; 2] {
    let [mut dgate, mut dup] = [gate.like(gate.shape()), up.like(up.shape())];
    if gate.device() == Device::Host {
        let (gate, up, dy) = (gate.data(), up.data(), dy.data());
        dispatch(Backward { gate, up, dy, dgate: dgate.data_mut(), dup: Some(dup.data_mut()) });
    } else {
        kernels::swiglu_bwd(Launch::quads(dy.len()), &mut dgate, &mut dup, gate, up, dy, dy.len());
    }
    [dgate, dup]
}

fn backward_gate(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Tensor {
    let mut dgate = gate.like(gate.shape());
    if gate.device() == Device::Host {
        let (gate, up, dy) = (gate.data(), up.data(), dy.data());
        dispatch(Backward { gate, up, dy, dgate: dgate.data_mut(), dup: None });
    } else {
        kernels::swiglu_bwd_gate(Launch::quads(dy.len()), &mut dgate, gate, up, dy, dy.len());
    }
    dgate
}

/// dy silu(gate), which is the forward pass with dy in place of up.
fn backward_up(gate: &Tensor, dy: &Tensor) -> Tensor {
    forward(gate, dy)
}

struct Gated;

impl Binary for Gated {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, gate: S::V, up: S::V) -> S::V {
        s.mul(s.mul(gate, sigmoid(s, gate)), up)
    }
}

struct Backward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    dy: &'a [f32],
    dgate: &'a mut [f32],
    dup: Option<&'a mut [f32]>,
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        each_vector!(S, self.dy.len(), |at, n| {
            let (gate, dy) = (get(s, self.gate, at, n), get(s, self.dy, at, n));
            let y = sigmoid(s, gate);
            let slope = s.fma(y, s.mul(gate, s.sub(s.splat(1.0), y)), y);
            put(s, self.dgate, at, n, s.mul(s.mul(dy, get(s, self.up, at, n)), slope));
            if let Some(dup) = &mut self.dup {
                put(s, dup, at, n, s.mul(dy, s.mul(gate, y)));
            }
        });
    }
}

#[derive(Clone)]
struct Plain;

impl Reference for Plain {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        x[0].iter().zip(x[1]).map(|(&gate, &up)| gate * gate.sigmoid() * up).collect()
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let each = |f: fn(R, R) -> R| {
            let pairs = x[0].iter().zip(x[1]).zip(dy);
            pairs.map(|((&gate, &up), &d)| d * f(gate, up)).collect::<Vec<R>>()
        };
        let slope = |gate: R, up: R| {
            let s = gate.sigmoid();
            up * s * (R::of(1.0) + gate * (R::of(1.0) - s))
        };
        vec![each(slope), each(|gate, _| gate * gate.sigmoid())]
    }
}

/// The cases of this op: lengths around a thread's four numbers, its block and the vectors; one input frozen.
pub fn cases() -> Vec<Case> {
    let case = |name: String, gate: crate::check::Input, up: crate::check::Input| {
        Case::new("swiglu", name, Plain, vec![gate, up], |tape, v| swiglu(tape, &v[0], &v[1])).with_bf16()
    };
    let gate = |n: usize| input(&[n]).scaled(2.0);
    let mut all = vec![
        case("17, gate alone".into(), gate(17), input(&[17]).fixed()),
        case("1031, up alone".into(), gate(1031).fixed(), input(&[1031])),
    ];
    all.extend([1, 3, 7, 15, 17, 64, 1021, 1025].map(|n| case(format!("{n}"), gate(n), input(&[n]))));
    let n = 512 * 4864;
    all.push(case(format!("{n}"), gate(n), input(&[n])).bench(6.0 * n as f64));
    all
}
