//! Recurrent part of an LSTM.   g [B, T, 4D], W [4D, D], h0 c0 [B, D] -> y [B, T, 2D] = (h_t | c_t)
//!
//! a_t = g_t + W h_(t-1), split in the order i, f, g, o (PyTorch); c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g);
//! h_t = sigmoid(o) tanh(c_t). The input projection (x W_ih^T + biases) is `g`, one dense product for all t;
//! attractors (paper 4.2.1) have a zero input, so their `g` is the bias alone. Backward: the same recursion in
//! reverse, dg_t from (dh_t, dc_t), dW = sum dg_t h_(t-1)^T.

use super::matmul::product;
use crate::check::{Case, Real, Reference, input};
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
    let inputs = [gates.data(), weight.data(), h0.data(), c0.data()];
    let mut saved = Tensor::uninit(&[b, t, 4 * d]);
    let mut y = Tensor::uninit(&[b, t, 2 * d]);
    sizes.forward(inputs, y.data_mut(), saved.data_mut(), &recurrent_product);
    let (vars, out) = ([gates, weight, h0, c0].map(Var::clone), y.clone());
    tape.record("lstm", &[gates, weight, h0, c0], y, move |dy, grads| {
        let inputs = [vars[0].data(), vars[1].data(), vars[2].data(), vars[3].data()];
        let mut d_gates = Tensor::uninit(&[b, t, 4 * d]);
        let (mut dh0, mut dc0) = (Tensor::zeros(&[b, d]), Tensor::zeros(&[b, d]));
        let outputs = (d_gates.data_mut(), dh0.data_mut(), dc0.data_mut());
        sizes.backward(inputs, out.data(), saved.data(), dy.data(), outputs, &transposed_product);
        let mut dw = Tensor::zeros(&[4 * d, d]);
        let previous = sizes.previous_hidden(out.data(), vars[2].data());
        product(dw.data_mut(), (4 * d, d, b * t), (d_gates.data(), 1, 4 * d), (&previous, d, 1), 0.0);
        grads.add(vars[0].id(), d_gates);
        grads.add(vars[1].id(), dw);
        grads.add(vars[2].id(), dh0);
        grads.add(vars[3].id(), dc0);
    })
}

/// a += W h
fn recurrent_product(a: &mut [f32], w: &[f32], h: &[f32]) {
    let d = h.len();
    product(a, (4 * d, 1, d), (w, d, 1), (h, 1, 1), 1.0);
}

/// dh += W^T da
fn transposed_product(dh: &mut [f32], w: &[f32], da: &[f32]) {
    let d = dh.len();
    product(dh, (d, 1, 4 * d), (w, 1, d), (da, 1, 1), 1.0);
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
        let w = input(&[4 * d, d]).scaled((d as f64).powf(-0.5));
        let inputs = vec![input(&[b, t, 4 * d]), w, input(&[b, d]), input(&[b, d])];
        Case::new("lstm", format!("B {b}, T {t}, D {d}"), Sizes { b, t, d }, inputs, |tape, v| {
            lstm(tape, &v[0], &v[1], &v[2], &v[3])
        })
    };
    let mut all: Vec<Case> = [(1, 1, 1), (2, 5, 3), (1, 4, 17), (3, 2, 8)].map(|(b, t, d)| case(b, t, d)).into();
    all.push(case(1, 4, 192).bench(2.0 * 4.0 * 4.0 * 192.0 * 192.0));
    all
}
