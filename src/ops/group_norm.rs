//! Group normalisation along a sequence.   x [N, L, C], w [C], b [C] -> y [N, L, C]
//!
//! For every n and group g, mean and biased variance over (L, C / groups); then w and b per channel
//! (torch.nn.GroupNorm on [N, C, L]). Backward as in `layer_norm`, with the sums over (L, C / groups).

mod host;

use super::layer_norm::EPS;
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::simd::dispatch;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Normalises each group of channels over the whole sequence.
#[track_caller]
pub fn group_norm(tape: &mut Tape, x: &Var, weight: &Var, bias: &Var, groups: usize) -> Var {
    let [n, l, c] = x.tensor().dims("group_norm x");
    assert!(groups > 0 && c % groups == 0, "group_norm: {c} channels do not split into {groups} groups");
    weight.tensor().expect_shape("group_norm weight", &[c]);
    bias.tensor().expect_shape("group_norm bias", &[c]);
    let sizes = Sizes { n, l, c, groups };
    let (y, moments) = forward(sizes, x.tensor(), weight.tensor(), bias.tensor());
    let (xv, wv, bid) = (x.clone(), weight.clone(), bias.id());
    tape.record("group_norm", &[x, weight, bias], y, move |dy, grads| {
        let is_trained = wv.id().is_some() || bid.is_some();
        let (dx, sums) = match &moments {
            Some(moments) => backward_on_device(sizes, [xv.tensor(), wv.tensor(), dy], moments, is_trained),
            None => backward_on_host(sizes, xv.tensor(), wv.tensor(), dy),
        };
        grads.add(xv.id(), dx);
        if let Some([dw, db]) = sums {
            grads.add(wv.id(), dw);
            grads.add(bid, db);
        }
    })
}

/// y, and on a device mean and 1 / sqrt(var + eps), each [N, groups]; the host recomputes them.
fn forward(sizes: Sizes, x: &Tensor, weight: &Tensor, bias: &Tensor) -> (Tensor, Option<[Tensor; 2]>) {
    let mut y = x.like(x.shape());
    if x.device() == Device::Host {
        dispatch(host::Forward { sizes, x: x.data(), weight: weight.data(), bias: bias.data(), y: y.data_mut() });
        return (y, None);
    }
    let [mut mean, mut rstd] = [(); 2].map(|()| x.like_f32(&[sizes.n, sizes.groups]));
    let (launch, [l, c, groups, bundle]) = sizes.launch();
    kernels::group_norm_fwd(launch, &mut y, &mut mean, &mut rstd, x, weight, bias, l, c, groups, bundle, EPS);
    (y, Some([mean, rstd]))
}

/// The gradients; dx is made of the sums of each channel, of which those of the parameters are the total.
fn backward_on_host(sizes: Sizes, x: &Tensor, weight: &Tensor, dy: &Tensor) -> (Tensor, Option<[Tensor; 2]>) {
    let c = sizes.c;
    let (mut dx, mut dw, mut db) = (Tensor::uninit(x.shape()), Tensor::zeros(&[c]), Tensor::zeros(&[c]));
    let (x, weight, dy) = (x.data(), weight.data(), dy.data());
    dispatch(host::Backward { sizes, x, weight, dy, dx: dx.data_mut(), dw: dw.data_mut(), db: db.data_mut() });
    (dx, Some([dw, db]))
}

fn backward_on_device(
    sizes: Sizes,
    [x, weight, dy]: [&Tensor; 3],
    moments: &[Tensor; 2],
    is_trained: bool,
) -> (Tensor, Option<[Tensor; 2]>) {
    let Sizes { n, c, .. } = sizes;
    let [mean, rstd] = moments;
    let (mut dx, mut partial) = (x.like(x.shape()), x.like_f32(&[n, 2, c]));
    let (launch, [l, channels, groups, bundle]) = sizes.launch();
    kernels::group_norm_bwd(launch, &mut dx, &mut partial, x, weight, dy, mean, rstd, l, channels, groups, bundle);
    if !is_trained {
        return (dx, None);
    }
    let [mut dw, mut db] = [x.like_f32(&[c]), x.like_f32(&[c])];
    let launch = Launch::rows((2 * c).div_ceil(32), 1024);
    kernels::group_norm_bwd_reduce_f32(launch, &mut dw, &mut db, &partial, n, channels);
    (dx, Some([dw, db]))
}

#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    l: usize,
    c: usize,
    groups: usize,
}

impl Sizes {
    /// Blocks of the kernels and their sizes: L, C, groups, groups per block. About 96 channels lie in one block.
    #[track_caller]
    fn launch(&self) -> (Launch, [usize; 4]) {
        const CHANNELS: usize = 96;
        const CHANNELS_MAX: usize = 512;
        let width = self.c / self.groups;
        assert!(width <= CHANNELS_MAX, "group_norm: {width} channels in a group, at most {CHANNELS_MAX} on a GPU");
        let bundle = (CHANNELS / width).clamp(1, self.groups);
        let launch = Launch::rows(self.n * self.groups.div_ceil(bundle), 512);
        (launch, [self.l, self.c, self.groups, bundle])
    }
}

#[derive(Clone)]
struct Plain(Sizes);

impl Plain {
    /// Indices of the elements of group g of sequence n.
    fn members(&self, n: usize, g: usize) -> Vec<usize> {
        let Sizes { l, c, groups, .. } = self.0;
        let width = c / groups;
        (0..l).flat_map(|t| (0..width).map(move |j| (n * l + t) * c + g * width + j)).collect()
    }
    fn each_group<R: Real>(&self, x: &[R], mut visit: impl FnMut(&[usize], Vec<R>, R)) {
        for n in 0..self.0.n {
            for g in 0..self.0.groups {
                let members = self.members(n, g);
                let count = R::of(members.len() as f64);
                let mean = members.iter().map(|&i| x[i]).sum::<R>() / count;
                let variance = members.iter().map(|&i| (x[i] - mean) * (x[i] - mean)).sum::<R>() / count;
                let rstd = R::of(1.0) / (variance + R::of(EPS as f64)).sqrt();
                let xhat = members.iter().map(|&i| (x[i] - mean) * rstd).collect();
                visit(&members, xhat, rstd);
            }
        }
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let (c, mut y) = (self.0.c, vec![R::of(0.0); inputs[0].len()]);
        self.each_group(inputs[0], |members, xhat, _| {
            for (&i, xhat) in members.iter().zip(xhat) {
                y[i] = xhat * inputs[1][i % c] + inputs[2][i % c];
            }
        });
        y
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (c, zero) = (self.0.c, R::of(0.0));
        let (mut dx, mut dw, mut db) = (vec![zero; dy.len()], vec![zero; c], vec![zero; c]);
        self.each_group(inputs[0], |members, xhat, rstd| {
            let count = R::of(members.len() as f64);
            let g: Vec<R> = members.iter().map(|&i| dy[i] * inputs[1][i % c]).collect();
            let mean_g = g.iter().copied().sum::<R>() / count;
            let mean_gx = g.iter().zip(&xhat).map(|(&g, &x)| g * x).sum::<R>() / count;
            for (k, &i) in members.iter().enumerate() {
                dx[i] = rstd * (g[k] - mean_g - xhat[k] * mean_gx);
                dw[i % c] += dy[i] * xhat[k];
                db[i % c] += dy[i];
            }
        });
        vec![dx, dw, db]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |n: usize, l: usize, c: usize, groups: usize| {
        let inputs = vec![input(&[n, l, c]).shifted(0.3), input(&[c]).shifted(1.0).keep_f32(), input(&[c]).keep_f32()];
        let name = format!("N {n}, L {l}, C {c}, groups {groups}");
        Case::new("group_norm", name, Plain(Sizes { n, l, c, groups }), inputs, move |tape, v| {
            group_norm(tape, &v[0], &v[1], &v[2], groups)
        })
        .with_bf16()
    };
    let mut checks = vec![(1, 1, 3, 1), (2, 7, 6, 3), (1, 33, 8, 8), (3, 5, 12, 4)];
    // Around the blocks of the kernels: several bundles, the last one smaller; fewer and more rows than fit at once.
    checks.extend([(2, 22, 120, 5), (33, 3, 98, 98), (2, 129, 20, 1), (1, 5, 259, 1)]);
    let mut all: Vec<Case> = checks.into_iter().map(|(n, l, c, g)| case(n, l, c, g)).collect();
    all.push(case(1, 626, 192, 8).bench(8.0 * 626.0 * 192.0));
    all.push(case(1, 501, 192, 8).bench(8.0 * 501.0 * 192.0).copied(1032, &[0]));
    all
}
