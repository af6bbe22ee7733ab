//! Recurrent part of an LSTM.   g [B, T, 4D], W [4D, D], h0 c0 [B, D] -> y [B, T, 2D] = (h_t | c_t)
//!
//! a_t = g_t + W h_(t-1), split in the order i, f, g, o (PyTorch); c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g);
//! h_t = sigmoid(o) tanh(c_t). The input projection (x W_ih^T + biases) is `g`, one dense product for all t;
//! attractors (paper 4.2.1) have a zero input, so their `g` is the bias alone. Backward: the same recursion in
//! reverse, dg_t from (dh_t, dc_t), dW = sum dg_t h_(t-1)^T.

use super::matmul::product;
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Runs the recursion over T steps.
#[track_caller]
pub fn lstm(tape: &mut Tape, gates: &Var, weight: &Var, h0: &Var, c0: &Var) -> Var {
    let [b, t, d4] = gates.tensor().dims("lstm gates");
    let d = d4 / 4;
    weight.tensor().expect_shape("lstm weight", &[4 * d, d]);
    h0.tensor().expect_shape("lstm h0", &[b, d]);
    c0.tensor().expect_shape("lstm c0", &[b, d]);
    let sizes = Sizes { b, t, d };
    let tensors = [gates, weight, h0, c0].map(Var::tensor);
    let [y, saved] = forward(sizes, tensors);
    let (vars, out) = ([gates, weight, h0, c0].map(Var::clone), y.clone());
    tape.record("lstm", &[gates, weight, h0, c0], y, move |dy, grads| {
        let tensors = vars.each_ref().map(Var::tensor);
        let [d_gates, dh0, dc0] = backward(sizes, tensors, [&saved, dy], &out);
        if vars[1].id().is_some() {
            grads.add(vars[1].id(), backward_weight(sizes, &d_gates, &out, tensors[2]));
        }
        [0, 2, 3].into_iter().zip([d_gates, dh0, dc0]).for_each(|(i, gradient)| grads.add(vars[i].id(), gradient));
    })
}

/// The states (h | c) and what the backward pass needs: i f g o of every step, on a device c as well.
fn forward(sizes: Sizes, inputs: [&Tensor; 4]) -> [Tensor; 2] {
    let Sizes { b, t, d } = sizes;
    let [gates, weight, h0, c0] = inputs;
    let mut y = gates.like(&[b, t, 2 * d]);
    if gates.device() == Device::Host {
        let mut saved = Tensor::uninit(&[b, t, 4 * d]);
        sizes.forward(inputs.map(Tensor::data), y.data_mut(), saved.data_mut(), &recurrent_product);
        return [y, saved];
    }
    let (mut transposed, mut saved) = (gates.like_f32(&[d, 4 * d]), gates.like_f32(&[b, t, 5 * d]));
    let launch = Launch::new([(4 * d).div_ceil(32), d.div_ceil(32), 1], 256);
    kernels::lstm_transpose_f32(launch, &mut transposed, weight, 4 * d, d);
    let (launch, fits) = sizes.recursion(6 * d);
    kernels::lstm_fwd(launch, &mut y, &mut saved, gates, &transposed, h0, c0, t, d, fits);
    [y, saved]
}

/// Gradients of the gates, h0 and c0.
fn backward(sizes: Sizes, inputs: [&Tensor; 4], [saved, dy]: [&Tensor; 2], y: &Tensor) -> [Tensor; 3] {
    let Sizes { b, t, d } = sizes;
    let [gates, weight, h0, c0] = inputs;
    let mut d_gates = gates.like(gates.shape());
    if gates.device() == Device::Host {
        let [mut dh0, mut dc0] = [Tensor::zeros(&[b, d]), Tensor::zeros(&[b, d])];
        let outputs = (d_gates.data_mut(), dh0.data_mut(), dc0.data_mut());
        sizes.backward(inputs.map(Tensor::data), y.data(), saved.data(), dy.data(), outputs, &transposed_product);
        return [d_gates, dh0, dc0];
    }
    let (mut dh0, mut dc0) = (h0.like(&[b, d]), c0.like(&[b, d]));
    let (launch, fits) = sizes.recursion(9 * d);
    kernels::lstm_bwd(launch, &mut d_gates, &mut dh0, &mut dc0, dy, saved, weight, c0, t, d, fits);
    [d_gates, dh0, dc0]
}

/// The gradient of the weight: the gates' gradients times the hidden states before them.
fn backward_weight(Sizes { b, t, d }: Sizes, d_gates: &Tensor, y: &Tensor, h0: &Tensor) -> Tensor {
    let mut dw = d_gates.like_f32(&[4 * d, d]);
    if d_gates.device() == Device::Host {
        let previous = Sizes { b, t, d }.previous_hidden(y.data(), h0.data());
        product(dw.data_mut(), (4 * d, d, b * t), (d_gates.data(), 1, 4 * d), (&previous, d, 1), false);
        return dw;
    }
    // Few slices: each is as large as the weight.
    let slice = (b * t).div_ceil(8).max(256);
    let count = (b * t).div_ceil(slice).max(1);
    let mut partial = d_gates.like_f32(&[count, 4 * d, d]);
    let launch = Launch::new([(4 * d).div_ceil(64), d.div_ceil(32), count], 256);
    kernels::lstm_bwd_w(launch, &mut partial, d_gates, y, h0, b * t, t, d, slice);
    let launch = Launch::rows((4 * d * d).div_ceil(32), 256);
    kernels::lstm_bwd_reduce_f32(launch, &mut dw, &partial, count, 4 * d * d);
    dw
}

/// a += W h
fn recurrent_product(a: &mut [f32], w: &[f32], h: &[f32]) {
    let d = h.len();
    product(a, (4 * d, 1, d), (w, d, 1), (h, 1, 1), true);
}

/// dh += W^T da
fn transposed_product(dh: &mut [f32], w: &[f32], da: &[f32]) {
    let d = dh.len();
    product(dh, (d, 1, 4 * d), (w, 1, d), (da, 1, 1), true);
}

#[derive(Clone, Copy)]
struct Sizes {
    b: usize,
    t: usize,
    d: usize,
}

/// y += matrix product of the second and third operand, in one orientation or the other.
type Product<R> = dyn Fn(&mut [R], &[R], &[R]);

impl Sizes {
    /// The launch of a recursion that keeps `state` numbers per sequence in shared memory, and whether the weights fit
    /// beside them.
    fn recursion(&self, state: usize) -> (Launch, i32) {
        const SHARED_FLOATS_MAX: usize = 99 * 1024 / 4;
        let &Sizes { b, d, .. } = self;
        assert!(state <= SHARED_FLOATS_MAX, "lstm: the state of {d} cells does not fit into shared memory");
        let fits = state + 4 * d * d <= SHARED_FLOATS_MAX;
        let floats = if fits { state + 4 * d * d } else { state };
        let threads = (4 * d).next_multiple_of(32).min(1024);
        (Launch::rows(b, threads).shared(4 * floats), fits.into())
    }

    /// Fills y (h | c) and the activated gates of every step.
    fn forward<R: Real>(&self, [g, w, h0, c0]: [&[R]; 4], y: &mut [R], acts: &mut [R], times: &Product<R>) {
        let &Sizes { b, t, d } = self;
        for i in 0..b {
            let (mut h, mut c) = (h0[i * d..(i + 1) * d].to_vec(), c0[i * d..(i + 1) * d].to_vec());
            for step in i * t..(i + 1) * t {
                let a = &mut acts[step * 4 * d..(step + 1) * 4 * d];
                a.copy_from_slice(&g[step * 4 * d..(step + 1) * 4 * d]);
                times(a, w, &h);
                for j in 0..d {
                    let (i_, f_, u_, o_) =
                        (a[j].sigmoid(), a[d + j].sigmoid(), a[2 * d + j].tanh(), a[3 * d + j].sigmoid());
                    (a[j], a[d + j], a[2 * d + j], a[3 * d + j]) = (i_, f_, u_, o_);
                    c[j] = f_ * c[j] + i_ * u_;
                    h[j] = o_ * c[j].tanh();
                }
                y[step * 2 * d..step * 2 * d + d].copy_from_slice(&h);
                y[step * 2 * d + d..(step + 1) * 2 * d].copy_from_slice(&c);
            }
        }
    }

    fn backward<R: Real>(
        &self,
        [_, w, _, c0]: [&[R]; 4],
        y: &[R],
        acts: &[R],
        dy: &[R],
        (dg, dh0, dc0): (&mut [R], &mut [R], &mut [R]),
        times: &Product<R>,
    ) {
        let (&Sizes { b, t, d }, one) = (self, R::of(1.0));
        for i in 0..b {
            let (mut dh, mut dc) = (vec![R::of(0.0); d], vec![R::of(0.0); d]);
            for step in (i * t..(i + 1) * t).rev() {
                let (a, out) = (&acts[step * 4 * d..(step + 1) * 4 * d], &y[step * 2 * d..(step + 1) * 2 * d]);
                let da = &mut dg[step * 4 * d..(step + 1) * 4 * d];
                for j in 0..d {
                    let previous = if step > i * t { y[(step - 1) * 2 * d + d + j] } else { c0[i * d + j] };
                    let (i_, f_, u_, o_, tc) = (a[j], a[d + j], a[2 * d + j], a[3 * d + j], out[d + j].tanh());
                    dh[j] += dy[step * 2 * d + j];
                    dc[j] += dy[step * 2 * d + d + j] + dh[j] * o_ * (one - tc * tc);
                    da[j] = dc[j] * u_ * i_ * (one - i_);
                    da[d + j] = dc[j] * previous * f_ * (one - f_);
                    da[2 * d + j] = dc[j] * i_ * (one - u_ * u_);
                    da[3 * d + j] = dh[j] * tc * o_ * (one - o_);
                    dc[j] *= f_;
                }
                dh.fill(R::of(0.0));
                times(&mut dh, w, da);
            }
            dh0[i * d..(i + 1) * d].copy_from_slice(&dh);
            dc0[i * d..(i + 1) * d].copy_from_slice(&dc);
        }
    }

    /// h_(t-1) for every step, [B T, D].
    fn previous_hidden<R: Real>(&self, y: &[R], h0: &[R]) -> Vec<R> {
        let &Sizes { b, t, d } = self;
        let row = |step: usize| {
            if step.is_multiple_of(t) { &h0[step / t * d..][..d] } else { &y[(step - 1) * 2 * d..][..d] }
        };
        (0..b * t).flat_map(|step| row(step).to_vec()).collect()
    }
}

impl Reference for Sizes {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        let &Sizes { b, t, d } = self;
        let (mut y, mut acts) = (vec![R::of(0.0); b * t * 2 * d], vec![R::of(0.0); b * t * 4 * d]);
        self.forward([x[0], x[1], x[2], x[3]], &mut y, &mut acts, &|a, w, h| {
            a.iter_mut().enumerate().for_each(|(r, a)| *a += (0..h.len()).map(|j| w[r * h.len() + j] * h[j]).sum())
        });
        y
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (&Sizes { b, t, d }, zero) = (self, R::of(0.0));
        let (mut y, mut acts) = (vec![zero; b * t * 2 * d], vec![zero; b * t * 4 * d]);
        let inputs = [x[0], x[1], x[2], x[3]];
        self.forward(inputs, &mut y, &mut acts, &|a, w, h| {
            a.iter_mut().enumerate().for_each(|(r, a)| *a += (0..h.len()).map(|j| w[r * h.len() + j] * h[j]).sum())
        });
        let (mut dg, mut dh0, mut dc0) = (vec![zero; b * t * 4 * d], vec![zero; b * d], vec![zero; b * d]);
        Sizes::backward(self, inputs, &y, &acts, dy, (&mut dg, &mut dh0, &mut dc0), &|dh, w, da| {
            let d = dh.len();
            dh.iter_mut().enumerate().for_each(|(j, v)| *v += (0..4 * d).map(|r| w[r * d + j] * da[r]).sum())
        });
        let previous = self.previous_hidden(&y, x[2]);
        let mut dw = vec![zero; 4 * d * d];
        for step in 0..b * t {
            for r in 0..4 * d {
                for j in 0..d {
                    dw[r * d + j] += dg[step * 4 * d + r] * previous[step * d + j];
                }
            }
        }
        vec![dg, dw, dh0, dc0]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |b: usize, t: usize, d: usize| {
        let w = input(&[4 * d, d]).scaled((d as f64).powf(-0.5)).keep_f32();
        let inputs = vec![input(&[b, t, 4 * d]), w, input(&[b, d]), input(&[b, d])];
        Case::new("lstm", format!("B {b}, T {t}, D {d}"), Sizes { b, t, d }, inputs, |tape, v| {
            lstm(tape, &v[0], &v[1], &v[2], &v[3])
        })
        .with_bf16()
    };
    // 78 cells are the most whose weights fit into shared memory with the state; 257 steps make two slices of dW.
    let sizes = [(1, 1, 1), (2, 5, 3), (1, 4, 17), (3, 2, 8), (257, 1, 2), (1, 2, 33), (1, 2, 77), (1, 2, 79)];
    let mut all: Vec<Case> = sizes.map(|(b, t, d)| case(b, t, d)).into();
    all.push(case(1, 4, 192).bench(2.0 * 4.0 * 4.0 * 192.0 * 192.0));
    all.push(case(1, 4, 192).bench(2.0 * 4.0 * 4.0 * 192.0 * 192.0).copied(64, &[0, 2, 3]));
    all.push(case(1, 1251, 96).bench(2.0 * 1251.0 * 4.0 * 96.0 * 96.0).copied(64, &[0, 2, 3]));
    all
}
