//! y = x + prelu(conv(layer_norm(x)) + bias): a residual convolution across frequency.   x [N, F, H] -> y [N, F, H]
//!
//! Everywhere the forward pass is the ops it consists of. On the host so is the backward pass; on a device it is one
//! kernel that reads x and dy and writes dx, local to a frame, wherever a frame fits the shared memory of a GPU and all
//! parameters are trained: the kernel knows no frozen ones, the ops do.

use super::layer_norm::{self, EPS, layer_norm};
use super::{conv1d, elementwise, prelu};
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// The parameters, or what belongs to each of them: its tensor, its gradient.
#[derive(Clone, Debug)]
pub struct Parameters<T = Var> {
    /// Of the norm [H].
    pub norm_weight: T,
    /// Of the norm [H].
    pub norm_bias: T,
    /// [H, H/G, k].
    pub weight: T,
    /// [H].
    pub bias: T,
    /// Of the PReLU [H].
    pub slope: T,
}

impl<T> Parameters<T> {
    /// All of them, in the order of the fields.
    pub fn all(&self) -> [&T; 5] {
        let Parameters { norm_weight, norm_bias, weight, bias, slope } = self;
        [norm_weight, norm_bias, weight, bias, slope]
    }
    /// What `f` makes of each.
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> Parameters<U> {
        self.all().map(f).into()
    }
}

impl<T> From<[T; 5]> for Parameters<T> {
    fn from([norm_weight, norm_bias, weight, bias, slope]: [T; 5]) -> Self {
        Parameters { norm_weight, norm_bias, weight, bias, slope }
    }
}

/// Applies it to N frames of F bands.
#[track_caller]
pub fn freq_conv(tape: &mut Tape, x: &Var, parameters: &Parameters, groups: usize) -> Var {
    let sizes = Sizes::of(x.tensor(), parameters, groups);
    let has_no_kernel = x.tensor().device() == Device::Host || Tiling::fitting(sizes, x.tensor().dtype()).is_none();
    if has_no_kernel || is_partly_frozen(tape, x, &parameters.all()) {
        return composed(tape, x, parameters, groups);
    }
    let fixed = parameters.map(|p| Var::constant(p.tensor().clone()));
    let y = composed(&mut Tape::without_gradients(), &Var::constant(x.tensor().clone()), &fixed, groups);
    let all: Vec<&Var> = std::iter::once(x).chain(parameters.all()).collect();
    let (xv, inputs) = (x.clone(), parameters.clone());
    tape.record("freq_conv", &all, y.tensor().clone(), move |dy, grads| {
        let gradients = backward(xv.tensor(), &inputs, groups, dy);
        for (var, gradient) in std::iter::once(&xv).chain(inputs.all()).zip(gradients) {
            grads.add(var.id(), gradient);
        }
    })
}

/// Whether a gradient will flow to some of x and the parameters, but not to all parameters.
pub(super) fn is_partly_frozen(tape: &Tape, x: &Var, parameters: &[&Var]) -> bool {
    let is_any_tracked = x.id().is_some() || parameters.iter().any(|p| p.id().is_some());
    tape.is_recording() && is_any_tracked && parameters.iter().any(|p| p.id().is_none())
}

/// The ops it consists of.
fn composed(tape: &mut Tape, x: &Var, p: &Parameters, groups: usize) -> Var {
    let y = layer_norm(tape, x, &p.norm_weight, &p.norm_bias);
    let y = conv1d::conv1d(tape, &y, &p.weight, &p.bias, groups);
    let y = prelu::prelu(tape, &y, &p.slope);
    elementwise::add(tape, x, &y)
}

/// dx [N, F, H] and the gradients of the five parameters from x and dy [N, F, H] of a device: by the kernel, or where
/// not even one group fits the shared memory of a GPU, by the backward passes of the ops.
#[track_caller]
pub(super) fn backward(x: &Tensor, parameters: &Parameters, groups: usize, dy: &Tensor) -> [Tensor; 6] {
    if let Some(tiling) = Tiling::fitting(Sizes::of(x, parameters, groups), x.dtype()) {
        return launch(&tiling, x, parameters, dy);
    }
    let mut tape = Tape::new();
    let leaf = tape.leaf(x.clone());
    let leaves = parameters.map(|p| tape.leaf(p.tensor().clone()));
    let y = composed(&mut tape, &leaf, &leaves, groups);
    let mut grads = tape.backward(&y, dy.clone()).unwrap_or_else(|e| panic!("freq_conv: {e}"));
    let [a, b, c, d, e] = leaves.all().map(|leaf| grads.take(leaf));
    [grads.take(&leaf), a, b, c, d, e]
}

/// Extents of x, groups, taps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Frames.
    pub(super) n: usize,
    /// Bands.
    pub(super) f: usize,
    /// Channels.
    pub(super) h: usize,
    /// Groups of channels.
    pub(super) groups: usize,
    /// Taps.
    pub(super) taps: usize,
}

impl Sizes {
    #[track_caller]
    fn of(x: &Tensor, parameters: &Parameters, groups: usize) -> Sizes {
        let [n, f, h] = x.dims("freq_conv x");
        let [_, _, taps] = parameters.weight.tensor().dims("freq_conv weight");
        assert!(groups > 0 && h.is_multiple_of(groups), "freq_conv: {h} channels do not split into {groups} groups");
        assert!(taps % 2 == 1, "freq_conv: {taps} taps; \"same\" padding needs an odd number");
        let sizes = Sizes { n, f, h, groups, taps };
        for (parameter, shape) in parameters.all().into_iter().zip(sizes.shapes()) {
            parameter.tensor().expect_shape("freq_conv parameter", &shape);
        }
        sizes
    }
    /// Of the five parameters.
    pub(super) fn shapes(&self) -> [Vec<usize>; 5] {
        let &Sizes { h, groups, taps, .. } = self;
        [vec![h], vec![h], vec![h, h / groups, taps], vec![h], vec![h]]
    }
}

/// Warps of a block.
const WARPS: usize = 16;
/// A warp's tile (`kernels/tile.cuh`).
const TILE: [usize; 2] = [32, 24];
/// Channels of a warp that has a row: four per lane.
const CHANNELS_MAX: usize = 128;
/// Enough for every GPU to be busy to the end; each block brings its own partial sums.
const BLOCKS_MAX: usize = 512;

/// How the kernel divides its work: frames per block, groups per tile.
struct Tiling {
    sizes: Sizes,
    frames: usize,
    bundle: usize,
    bytes: usize,
}

impl Tiling {
    /// As many groups as fit the shared memory of a GPU; `None` where not one fits, a row has more channels than a warp
    /// takes, or the sums of the weights' gradients are too many for the registers of a block.
    fn fitting(sizes: Sizes, dtype: DType) -> Option<Tiling> {
        // Of the 99 KiB the layout takes a little.
        const SHARED_BYTES_MAX: usize = 99 * 1024 - 128;
        let inputs = sizes.h / sizes.groups;
        let sums = sizes.groups * (sizes.taps * pitch(inputs, dtype)).div_ceil(TILE[0]) * inputs.div_ceil(TILE[1]);
        if sizes.h > CHANNELS_MAX || sums > WARPS {
            return None;
        }
        // Two at least: a block begins with the weights, which is as much work as a good part of a frame.
        let frames = sizes.n.div_ceil(BLOCKS_MAX).max(2);
        let tilings = (1..=sizes.groups).rev();
        tilings
            .map(|bundle| Tiling { sizes, frames, bundle, bytes: shared_bytes(&sizes, bundle, dtype) })
            .find(|tiling| tiling.bytes <= SHARED_BYTES_MAX)
    }
}

fn pitch(inputs: usize, dtype: DType) -> usize {
    if dtype == DType::Bf16 { inputs.next_multiple_of(2) } else { inputs }
}

/// What `kernels/freq_conv.cu` lays out.
fn shared_bytes(sizes: &Sizes, bundle: usize, dtype: DType) -> usize {
    let &Sizes { f, h, groups, taps, .. } = sizes;
    let (inputs, up) = (h / groups, |n: usize| n.next_multiple_of(8));
    let pitch = pitch(inputs, dtype);
    let (run, plane, behind) = (taps * pitch, (f + taps - 1) * pitch, TILE[0] * pitch + 32);
    let weight_row = if dtype == DType::Bf16 { run.next_multiple_of(16) + 8 } else { run + 1 };
    let numbers =
        up(groups * plane + behind) + up(bundle * plane + behind) + 2 * up((bundle * inputs + 8) * weight_row);
    dtype.bytes() * numbers + 8 * (up(f) + (f.div_ceil(TILE[0]) + WARPS) * h)
}

fn launch(tiling: &Tiling, x: &Tensor, parameters: &Parameters, dy: &Tensor) -> [Tensor; 6] {
    let Sizes { n, f, h, groups, taps } = tiling.sizes;
    let Parameters { norm_weight, norm_bias, weight, bias, slope } = parameters.map(|p| p.tensor().clone());
    let (blocks, weights) = (n.div_ceil(tiling.frames), weight.len());
    let (mut dx, mut partial) = (x.like(x.shape()), x.like_f32(&[blocks, weights + 4 * h]));
    let [n, f, h, groups, taps, frames, bundle] = [n, f, h, groups, taps, tiling.frames, tiling.bundle];
    let launch = Launch::rows(blocks, 32 * WARPS).shared(tiling.bytes);
    #[rustfmt::skip]
    kernels::FreqConvBwd {
        dx: &mut dx, partial: &mut partial, x, dy,
        norm_weight: &norm_weight, norm_bias: &norm_bias, weight: &weight, bias: &bias, slope: &slope,
        n, f, h, groups, taps, frames, bundle, eps: EPS,
    }
    .launch(launch);
    let [mut dnorm_weight, mut dnorm_bias, mut dw, mut dbias, mut dslope] =
        parameters.all().map(|p| x.like_f32(p.tensor().shape()));
    let launch = Launch::rows((weights + 4 * h).div_ceil(32), 256);
    kernels::freq_conv_bwd_reduce_f32(
        launch,
        &mut dw,
        &mut dbias,
        &mut dslope,
        &mut dnorm_weight,
        &mut dnorm_bias,
        &partial,
        blocks,
        weights,
        h,
    );
    [dx, dnorm_weight, dnorm_bias, dw, dbias, dslope]
}

/// The references of the parts, chained.
#[derive(Clone)]
pub(super) struct Plain(pub(super) Sizes);

impl Plain {
    fn norm(&self) -> layer_norm::Plain {
        layer_norm::Plain { rows: self.0.n * self.0.f, c: self.0.h }
    }
    fn conv(&self) -> conv1d::Plain {
        let Sizes { n, f, h, groups, taps } = self.0;
        conv1d::Plain(conv1d::Sizes { batch: n, len: f, groups, inputs: h / groups, outputs: h / groups, taps })
    }
}

pub(super) fn sum<R: Real>(a: &[R], b: &[R]) -> Vec<R> {
    a.iter().zip(b).map(|(&a, &b)| a + b).collect()
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let [x, p @ ..] = inputs else { unreachable!("six inputs") };
        let y = self.norm().forward(&[x, p[0], p[1]]);
        let y = self.conv().forward(&[&y, p[2], p[3]]);
        sum(x, &prelu::Plain { c: self.0.h }.forward(&[&y, p[4]]))
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let [x, p @ ..] = inputs else { unreachable!("six inputs") };
        let a = self.norm().forward(&[x, p[0], p[1]]);
        let b = self.conv().forward(&[&a, p[2], p[3]]);
        let of_act = prelu::Plain { c: self.0.h }.backward(&[&b, p[4]], dy);
        let of_conv = self.conv().backward(&[&a, p[2], p[3]], &of_act[0]);
        let of_norm = self.norm().backward(&[x, p[0], p[1]], &of_conv[0]);
        let dx = sum(dy, &of_norm[0]);
        [&[dx], &of_norm[1..], &of_conv[1..], &of_act[1..]].concat()
    }
}

/// The cases of this op. Central differences may not cross the kink of the PReLU, and within a rounding of bf16 an
/// activation takes the other slope. Large biases let few activations lie there; where there are many of them some do,
/// so there slopes near 1 make the kink small.
pub fn cases() -> Vec<Case> {
    let case = |[n, f, h, groups, taps]: [usize; 5]| {
        let sizes = Sizes { n, f, h, groups, taps };
        let [norm_weight, norm_bias, weight, bias, slope] = sizes.shapes().map(|shape| input(&shape).keep_f32());
        let fan_in = (h / groups * taps) as f64;
        let inputs = vec![
            input(&[n, f, h]).shifted(0.3),
            norm_weight.scaled(0.5).shifted(1.0),
            norm_bias.scaled(0.5),
            weight.scaled(0.5 * fan_in.powf(-0.5)),
            bias.scaled(4.0),
            if n * f * h < 5000 { slope.scaled(0.1).shifted(0.25) } else { slope.scaled(1e-3).shifted(1.0) },
        ];
        let name = format!("N {n}, F {f}, H {h}, G {groups}, k {taps}");
        let run = move |tape: &mut Tape, v: &[Var]| {
            let parameters: [Var; 5] = v[1..].to_vec().try_into().expect("five parameters");
            freq_conv(tape, &v[0], &parameters.into(), groups)
        };
        (
            Case::new("freq_conv", name, Plain(sizes), inputs, run).with_bf16(),
            2.0 * (n * f * h * (h / groups) * taps) as f64,
        )
    };
    let sizes = [
        [1, 1, 1, 1, 1],
        [3, 1, 6, 2, 5],
        [2, 7, 5, 1, 3],
        [1, 31, 8, 2, 5],
        [5, 33, 12, 4, 3],
        [1, 17, 50, 2, 3],
        [1, 13, 127, 1, 1],
        // A bundle of groups at a time in f32, and more groups than a block has warps.
        [1, 129, 96, 8, 5],
        [2, 9, 17, 17, 3],
    ];
    let mut all: Vec<Case> = sizes.map(|sizes| case(sizes).0).into();
    let (paper, flops) = case([8, 129, 96, 8, 5]);
    all.push(paper.bench(flops).copied(501, &[0]));
    all
}
