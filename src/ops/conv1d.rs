//! y[b,l,o] = bias[o] + sum over i, t of w[o,i,t] x[b, l + t - k/2, first(o) + i]
//! x [B,L,Cin], w [Cout,Cin/G,k], bias [Cout] -> y [B,L,Cout]
//!
//! [`conv1d_of_silu`] takes x through SiLU first, x sigmoid(x): on a device without a pass of its own over memory.
//!
//! Channels last, odd k, zero padding k/2 ("same" length), G groups: output channel o of group g sees the
//! Cin/G inputs of that group, first(o) = g Cin/G. Dense (G = 1), grouped and depthwise (G = Cin) alike.

mod host;
mod launch;
mod regroup;

use super::activation::{self, Activation, activation};
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::dispatch;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The sizes of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Clips.
    pub batch: usize,
    /// Steps per clip.
    pub len: usize,
    /// Groups.
    pub groups: usize,
    /// Input channels per group.
    pub inputs: usize,
    /// Output channels per group.
    pub outputs: usize,
    /// Taps.
    pub taps: usize,
}

impl Sizes {
    /// Those of a call; panics where the shapes do not fit.
    #[track_caller]
    fn of(x: &Var, weight: &Var, bias: &Var, groups: usize) -> Sizes {
        let [batch, len, cin] = x.tensor().dims("conv1d x");
        let [cout, inputs, taps] = weight.tensor().dims("conv1d weight");
        assert!(
            groups > 0 && cin == groups * inputs && cout.is_multiple_of(groups),
            "conv1d: x {:?} and weight {:?} do not fit {groups} groups",
            x.shape(),
            weight.shape()
        );
        assert!(taps % 2 == 1, "conv1d: {taps} taps; \"same\" padding needs an odd number");
        bias.tensor().expect_shape("conv1d bias", &[cout]);
        Sizes { batch, len, groups, inputs, outputs: cout / groups, taps }
    }
    fn cin(&self) -> usize {
        self.groups * self.inputs
    }
    fn cout(&self) -> usize {
        self.groups * self.outputs
    }
    fn flops(&self) -> f64 {
        2.0 * (self.batch * self.len * self.cout() * self.inputs * self.taps) as f64
    }
}

/// Convolves along the second axis: x [B, L, Cin], weight [Cout, Cin/G, k], bias [Cout] -> [B, L, Cout].
#[track_caller]
pub fn conv1d(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var, groups: usize) -> Var {
    let sizes = Sizes::of(x, weight, bias, groups);
    if x.tensor().device() == Device::Host {
        return host_conv1d(tape, sizes, x, weight, bias);
    }
    device_conv1d(tape, sizes, false, x, weight, bias)
}

/// [`conv1d`] of SiLU(x), with the same shapes. A device keeps x and never stores SiLU(x); the host computes the two ops.
#[track_caller]
pub fn conv1d_of_silu(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var, groups: usize) -> Var {
    if x.tensor().device() == Device::Host {
        let x = activation(tape, Activation::Silu, x);
        return conv1d(tape, &x, weight, bias, groups);
    }
    device_conv1d(tape, Sizes::of(x, weight, bias, groups), true, x, weight, bias)
}

fn host_conv1d(tape: &mut Tape, sizes: Sizes, x: &Var, weight: &Var, bias: &Var) -> Var {
    let mut y = Tensor::uninit(&[sizes.batch, sizes.len, sizes.cout()]);
    let out = y.data_mut();
    dispatch(host::Forward { sizes, x: x.data(), weight: weight.data(), bias: bias.data(), y: out });
    let (xv, wv, bid) = (x.clone(), weight.clone(), bias.id());
    tape.record("conv1d", &[x, weight, bias], y, move |dy, grads| {
        let [dx, dw] = on_host(sizes, &xv, &wv, dy);
        dx.into_iter().for_each(|dx| grads.add(xv.id(), dx));
        dw.into_iter().for_each(|dw| grads.add(wv.id(), dw));
        if bid.is_some() {
            grads.add(bid, super::linear::column_sums(dy.data(), sizes.cout()));
        }
    })
}

fn device_conv1d(tape: &mut Tape, sizes: Sizes, is_of_silu: bool, x: &Var, weight: &Var, bias: &Var) -> Var {
    let y = launch::forward(sizes, is_of_silu, x.tensor(), weight.tensor(), bias.tensor());
    let (xv, wv, bid) = (x.clone(), weight.clone(), bias.id());
    tape.record("conv1d", &[x, weight, bias], y, move |dy, grads| {
        if xv.id().is_some() {
            let of_silu = is_of_silu.then_some(xv.tensor());
            grads.add(xv.id(), launch::backward_x(sizes, of_silu, dy, wv.tensor()));
        }
        if wv.id().is_some() || bid.is_some() {
            let [dw, db] = launch::backward_w(sizes, is_of_silu, xv.tensor(), dy);
            grads.add(wv.id(), dw);
            grads.add(bid, db);
        }
    })
}

/// dx and dw, where they are wanted.
fn on_host(sizes: Sizes, x: &Var, weight: &Var, dy: &Tensor) -> [Option<Tensor>; 2] {
    let mut dx = x.id().map(|_| Tensor::uninit(x.shape()));
    let mut dw = weight.id().map(|_| Tensor::uninit(weight.shape()));
    dispatch(host::Backward {
        sizes,
        x: x.data(),
        weight: weight.data(),
        dy: dy.data(),
        dx: dx.as_mut().map(|t| t.data_mut()),
        dw: dw.as_mut().map(|t| t.data_mut()),
    });
    [dx, dw]
}

#[derive(Clone)]
pub(super) struct Plain(pub(super) Sizes);

impl Plain {
    /// Calls `f(x index, weight index, y index)` for every product of the sum.
    fn products(&self, mut f: impl FnMut(usize, usize, usize)) {
        let s = &self.0;
        let pad = s.taps / 2;
        for b in 0..s.batch {
            for l in 0..s.len {
                for o in 0..s.cout() {
                    let first = o / s.outputs * s.inputs;
                    for t in (0..s.taps).filter(|t| (pad..s.len + pad).contains(&(l + t))) {
                        for i in 0..s.inputs {
                            let x = (b * s.len + l + t - pad) * s.cin() + first + i;
                            f(x, (o * s.inputs + i) * s.taps + t, (b * s.len + l) * s.cout() + o);
                        }
                    }
                }
            }
        }
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let (x, w, bias) = (inputs[0], inputs[1], inputs[2]);
        let mut y = bias.repeat(self.0.batch * self.0.len);
        self.products(|i, j, o| y[o] += x[i] * w[j]);
        y
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (x, w) = (inputs[0], inputs[1]);
        let zero = R::of(0.0);
        let (mut dx, mut dw) = (vec![zero; x.len()], vec![zero; w.len()]);
        self.products(|i, j, o| {
            dx[i] += dy[o] * w[j];
            dw[j] += dy[o] * x[i];
        });
        let mut db = vec![zero; self.0.cout()];
        dy.iter().enumerate().for_each(|(i, &d)| db[i % self.0.cout()] += d);
        vec![dx, dw, db]
    }
}

/// The convolution of SiLU(x).
#[derive(Clone)]
struct OfSilu(Plain);

impl OfSilu {
    const SILU: activation::Plain = activation::Plain(Activation::Silu);
}

impl Reference for OfSilu {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let x = Self::SILU.forward(&inputs[..1]);
        self.0.forward(&[&x, inputs[1], inputs[2]])
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let x = Self::SILU.forward(&inputs[..1]);
        let mut gradients = self.0.backward(&[&x, inputs[1], inputs[2]], dy);
        gradients[0] = Self::SILU.backward(&inputs[..1], &gradients[0]).remove(0);
        gradients
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    // Batch, length, groups, channels per group in and out, taps.
    let check = [
        [1, 1, 1, 1, 1, 1],
        [2, 1, 1, 3, 2, 5],
        [1, 2, 3, 1, 1, 3],
        [2, 7, 2, 2, 3, 5],
        [1, 9, 17, 1, 1, 3],
        [3, 8, 16, 1, 1, 3],
        [1, 17, 3, 5, 7, 3],
        [1, 23, 8, 12, 12, 5],
        [2, 13, 6, 3, 3, 7],
        [1, 15, 4, 24, 24, 3],
        [1, 25, 4, 2, 24, 5],
        [1, 33, 1, 17, 49, 1],
        // Around the tiles of the kernels: several tiles and sequences, wide groups, many groups, one entry more.
        [3, 129, 2, 12, 12, 5],
        [2, 161, 5, 2, 24, 3],
        [1, 31, 1, 64, 25, 5],
        [2, 32, 65, 1, 1, 3],
    ];
    let check_of_silu = [
        [1, 1, 1, 1, 1, 1],
        [2, 1, 1, 3, 2, 5],
        [2, 13, 6, 3, 3, 7],
        [1, 17, 3, 5, 7, 3],
        [1, 33, 1, 17, 49, 1],
        [2, 31, 8, 12, 12, 5],
        [1, 63, 4, 24, 24, 3],
        [3, 129, 2, 12, 12, 5],
        [1, 161, 2, 8, 5, 3],
        [1, 31, 1, 64, 25, 5],
        [2, 32, 65, 1, 1, 3],
    ];
    let bench = |sizes, is_of_silu| {
        let (case, flops) = case(sizes, is_of_silu);
        case.bench(flops)
    };
    let mut all: Vec<Case> = check.into_iter().map(|sizes| case(sizes, false).0).collect();
    all.extend(check_of_silu.map(|sizes| case(sizes, true).0));
    all.extend(
        [[1, 626, 8, 24, 24, 3], [4, 129, 8, 12, 12, 5], [4, 626, 4, 2, 24, 5]].map(|sizes| bench(sizes, false)),
    );
    all.push(bench([1, 501, 8, 24, 24, 3], false).copied(1032, &[0]));
    all.push(bench([1, 501, 8, 24, 24, 3], true).copied(1032, &[0]));
    all.push(bench([8, 129, 8, 12, 12, 5], false).copied(501, &[0]));
    all
}

/// A case and its operations.
fn case([batch, len, groups, inputs, outputs, taps]: [usize; 6], is_of_silu: bool) -> (Case, f64) {
    let s = Sizes { batch, len, groups, inputs, outputs, taps };
    let weight = input(&[s.cout(), inputs, taps]).scaled(((inputs * taps) as f64).powf(-0.5)).keep_f32();
    let arguments = vec![input(&[batch, len, s.cin()]), weight, input(&[s.cout()]).keep_f32()];
    let name = format!("B {batch}, L {len}, G {groups}, {inputs} -> {outputs}, k {taps}");
    let case = if is_of_silu {
        Case::new("conv1d", format!("SiLU, {name}"), OfSilu(Plain(s)), arguments, move |tape, v| {
            conv1d_of_silu(tape, &v[0], &v[1], &v[2], groups)
        })
    } else {
        Case::new("conv1d", name, Plain(s), arguments, move |tape, v| conv1d(tape, &v[0], &v[1], &v[2], groups))
    };
    (case.with_bf16(), s.flops())
}
