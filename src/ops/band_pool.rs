//! From the map to frames.   x [B, F, T, H], w [1, H], b [1] -> z [B, T, 2H] = (mean over F | attention over F)
//!
//! a[f] = softmax over f of (w . x[f] + b); z = (sum_f x[f] / F | sum_f a[f] x[f]): the 192-dimensional pooled
//! representation of the paper (4.2.1; mean and learned pooling side by side). The bias shifts every score alike, so
//! its gradient is zero; it exists because the reference layout has it.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// Pools the frequencies of every frame.
#[track_caller]
pub fn band_pool(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var) -> Var {
    let [b, f, t, h] = x.tensor().dims("band_pool x");
    weight.tensor().expect_shape("band_pool weight", &[1, h]);
    bias.tensor().expect_shape("band_pool bias", &[1]);
    let sizes = Sizes { b, f, t, h };
    let [z, attention] = pooled(sizes, x.tensor(), weight.tensor(), bias.tensor());
    let (xv, wv, bv, zv) = (x.clone(), weight.clone(), bias.clone(), z.clone());
    tape.record("band_pool", &[x, weight, bias], z, move |dz, grads| {
        let is_trained = wv.id().is_some() || bv.id().is_some();
        let (dx, sums) = input_gradient(sizes, [xv.tensor(), wv.tensor(), &attention, &zv, dz]);
        grads.add(xv.id(), dx);
        if is_trained {
            let [dw, db] = sums.parameter_gradients(sizes);
            grads.add(wv.id(), dw);
            grads.add(bv.id(), db);
        }
    })
}

/// z and the attention, [B, F, T] on the host and [B, T, F] on a device.
fn pooled(sizes: Sizes, x: &Tensor, weight: &Tensor, bias: &Tensor) -> [Tensor; 2] {
    let Sizes { b, f, t, h } = sizes;
    if x.device() == Device::Host {
        let (mut attention, mut z) = (Tensor::uninit(&[b, f, t]), Tensor::zeros(&[b, t, 2 * h]));
        sizes.forward(x.data(), weight.data(), bias.data()[0], attention.data_mut(), z.data_mut());
        return [z, attention];
    }
    let (mut attention, mut z) = (x.like_f32(&[b, t, f]), x.like(&[b, t, 2 * h]));
    let launch = Launch::rows(b * t, 256).shared(4 * f);
    kernels::band_pool_fwd(launch, &mut z, &mut attention, x, weight, bias, f, t, h);
    [z, attention]
}

/// What the gradient of x leaves behind for those of the parameters.
enum Sums {
    /// dw and db, a by-product on the host.
    Done([Tensor; 2]),
    /// The share of every frame in dw, [B T, H], on a device.
    PerFrame(Tensor),
}

/// The gradient of x, and sums for those of the weight and the bias.
fn input_gradient(sizes: Sizes, [x, weight, attention, z, dz]: [&Tensor; 5]) -> (Tensor, Sums) {
    let (Sizes { b, f, t, h }, mut dx) = (sizes, x.like(x.shape()));
    if x.device() == Device::Host {
        let mut dw = Tensor::zeros(&[1, h]);
        let inputs = (x.data(), weight.data(), attention.data(), z.data(), dz.data());
        let db = sizes.backward(inputs, dx.data_mut(), dw.data_mut());
        return (dx, Sums::Done([dw, Tensor::from_slice(&[1], &[db])]));
    }
    let mut partial = x.like_f32(&[b * t, h]);
    let launch = Launch::rows(b * t, 256).shared(4 * f);
    kernels::band_pool_bwd_x(launch, &mut dx, &mut partial, x, weight, attention, dz, f, t, h);
    (dx, Sums::PerFrame(partial))
}

impl Sums {
    /// dw [1, H] and db [1]; the softmax does not change with the bias, whose gradient is zero.
    fn parameter_gradients(self, Sizes { b, t, h, .. }: Sizes) -> [Tensor; 2] {
        let partial = match self {
            Sums::Done(gradients) => return gradients,
            Sums::PerFrame(partial) => partial,
        };
        let (frames, slices) = (b * t, super::slices(b * t, 64));
        let (mut sums, mut dw) = (partial.like_f32(&[slices.count, h]), partial.like_f32(&[1, h]));
        let (blocks, reduce) = (h.div_ceil(32), kernels::band_pool_bwd_reduce_f32);
        reduce(Launch::new([blocks, slices.count, 1], 256), &mut sums, &partial, frames, h, slices.rows);
        reduce(Launch::rows(blocks, 256), &mut dw, &sums, slices.count, h, slices.count);
        [dw, Tensor::zeros_on(partial.device(), DType::F32, &[1])]
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    b: usize,
    f: usize,
    t: usize,
    h: usize,
}

impl Sizes {
    fn forward<R: Real>(&self, x: &[R], w: &[R], bias: R, attention: &mut [R], z: &mut [R]) {
        let &Sizes { b, f, t, h } = self;
        for i in 0..b {
            for frame in 0..t {
                let row = |j: usize| ((i * f + j) * t + frame) * h;
                let at = |j: usize| (i * f + j) * t + frame;
                let mut highest = R::of(f64::NEG_INFINITY);
                for j in 0..f {
                    let x = &x[row(j)..row(j) + h];
                    let score = x.iter().zip(w).map(|(&x, &w)| x * w).sum::<R>() + bias;
                    attention[at(j)] = score;
                    highest = highest.max(score);
                }
                let total: R = (0..f).map(|j| (attention[at(j)] - highest).exp()).sum();
                let z = &mut z[(i * t + frame) * 2 * h..(i * t + frame + 1) * 2 * h];
                for j in 0..f {
                    let a = (attention[at(j)] - highest).exp() / total;
                    attention[at(j)] = a;
                    let x = &x[row(j)..row(j) + h];
                    for k in 0..h {
                        z[k] += x[k];
                        z[h + k] += a * x[k];
                    }
                }
                z[..h].iter_mut().for_each(|v| *v = *v / R::of(f as f64));
            }
        }
    }

    fn backward<R: Real>(
        &self,
        (x, w, attention, z, dz): (&[R], &[R], &[R], &[R], &[R]),
        dx: &mut [R],
        dw: &mut [R],
    ) -> R {
        let (&Sizes { b, f, t, h }, mut db) = (self, R::of(0.0));
        for i in 0..b {
            for frame in 0..t {
                let at = (i * t + frame) * 2 * h;
                let (d_mean, d_pool, pool) = (&dz[at..at + h], &dz[at + h..at + 2 * h], &z[at + h..at + 2 * h]);
                let center: R = d_pool.iter().zip(pool).map(|(&d, &p)| d * p).sum();
                for j in 0..f {
                    let (row, a) = (((i * f + j) * t + frame) * h, attention[(i * f + j) * t + frame]);
                    let x = &x[row..row + h];
                    let along: R = d_pool.iter().zip(x).map(|(&d, &x)| d * x).sum();
                    let d_score = a * (along - center);
                    db += d_score;
                    for k in 0..h {
                        dw[k] += d_score * x[k];
                        dx[row + k] = d_mean[k] / R::of(f as f64) + a * d_pool[k] + d_score * w[k];
                    }
                }
            }
        }
        db
    }
}

impl Reference for Sizes {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        let mut z = vec![R::of(0.0); self.b * self.t * 2 * self.h];
        let mut attention = vec![R::of(0.0); self.b * self.f * self.t];
        Sizes::forward(self, x[0], x[1], x[2][0], &mut attention, &mut z);
        z
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let zero = R::of(0.0);
        let mut z = vec![zero; self.b * self.t * 2 * self.h];
        let mut attention = vec![zero; self.b * self.f * self.t];
        Sizes::forward(self, x[0], x[1], x[2][0], &mut attention, &mut z);
        let (mut dx, mut dw) = (vec![zero; x[0].len()], vec![zero; self.h]);
        let db = Sizes::backward(self, (x[0], x[1], &attention, &z, dy), &mut dx, &mut dw);
        vec![dx, dw, vec![db]]
    }
}

/// The cases of this op. The bias is data here: its gradient is exactly zero, which no relative error measures.
pub fn cases() -> Vec<Case> {
    let case = |b: usize, f: usize, t: usize, h: usize| {
        let inputs = vec![input(&[b, f, t, h]), input(&[1, h]).keep_f32(), input(&[1]).keep_f32().fixed()];
        let name = format!("B {b}, F {f}, T {t}, H {h}");
        Case::new("band_pool", name, Sizes { b, f, t, h }, inputs, |tape, v| band_pool(tape, &v[0], &v[1], &v[2]))
            .with_bf16()
    };
    let sizes = [(1, 2, 1, 1), (2, 5, 3, 4), (1, 17, 2, 7), (1, 9, 67, 2), (1, 8, 2, 33), (2, 259, 1, 31)];
    let mut all: Vec<Case> = sizes.map(|(b, f, t, h)| case(b, f, t, h)).into();
    all.push(case(1, 129, 501, 96).bench(6.0 * 129.0 * 501.0 * 96.0).copied(8, &[0]));
    all
}
