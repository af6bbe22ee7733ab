//! The frame-local half of an encoder block: convolution, map, convolution, all across frequency.   x [N, F, H] -> same
//!
//! x += prelu(conv1(norm(x)));  x += silu(unsqueeze(full_band(silu(squeeze(norm(x))))));  x += prelu(conv2(norm(x))).
//!
//! On the host this is the ops it consists of, one after the other. On a device the forward pass is one kernel that
//! reads and writes x once. The backward pass starts from x, all that was kept: one kernel gives the inputs x1 and x2 of
//! the second and third part, the convolutions have a kernel of their own ([`super::freq_conv`]), and the part between
//! them runs as its ops again and is differentiated.

use super::activation::{self, Activation, activation};
use super::freq_conv::{self, sum};
use super::layer_norm::{self, EPS, layer_norm};
use super::{conv1d, elementwise, full_band, linear::linear};
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// The parameters of the three parts, or what belongs to each of them.
#[derive(Clone, Debug)]
pub struct Parameters<T = Var> {
    /// Of the first frequency convolution.
    pub first: freq_conv::Parameters<T>,
    /// Of the map over all bands.
    pub full: FullBand<T>,
    /// Of the second frequency convolution.
    pub second: freq_conv::Parameters<T>,
}

/// The parameters of the part in the middle.
#[derive(Clone, Debug)]
pub struct FullBand<T = Var> {
    /// Of the norm [H].
    pub norm_weight: T,
    /// Of the norm [H].
    pub norm_bias: T,
    /// [S, H].
    pub squeeze_weight: T,
    /// [S].
    pub squeeze_bias: T,
    /// [H, S].
    pub unsqueeze_weight: T,
    /// [H].
    pub unsqueeze_bias: T,
    /// Of the map across frequency [S, F, F].
    pub weight: T,
    /// Of the map across frequency [S, F].
    pub bias: T,
}

impl<T> Parameters<T> {
    /// All of them, part by part, in the order of the fields.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        let (first, second) = (self.first.all(), self.second.all());
        first.into_iter().chain(self.full.all()).chain(second)
    }
}

impl<T> FullBand<T> {
    fn all(&self) -> [&T; 8] {
        let of_norm = [&self.norm_weight, &self.norm_bias];
        let of_squeeze = [&self.squeeze_weight, &self.squeeze_bias, &self.unsqueeze_weight, &self.unsqueeze_bias];
        let ([a, b], [c, d, e, f]) = (of_norm, of_squeeze);
        [a, b, c, d, e, f, &self.weight, &self.bias]
    }
}

impl<T> From<[T; 8]> for FullBand<T> {
    fn from(all: [T; 8]) -> Self {
        let [norm_weight, norm_bias, squeeze_weight, squeeze_bias, unsqueeze_weight, unsqueeze_bias, weight, bias] =
            all;
        FullBand {
            norm_weight,
            norm_bias,
            squeeze_weight,
            squeeze_bias,
            unsqueeze_weight,
            unsqueeze_bias,
            weight,
            bias,
        }
    }
}

impl<T> From<[T; 18]> for Parameters<T> {
    fn from(all: [T; 18]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r] = all;
        Parameters {
            first: [a, b, c, d, e].into(),
            full: [f, g, h, i, j, k, l, m].into(),
            second: [n, o, p, q, r].into(),
        }
    }
}

/// Applies the three parts.
#[track_caller]
pub fn cross_band(tape: &mut Tape, x: &Var, parameters: &Parameters, groups: usize) -> Var {
    let sizes = Sizes::of(x.tensor(), parameters, groups);
    let mut all: Vec<&Var> = parameters.all().collect();
    // The kernels of the backward pass know no frozen parameters; the ops do.
    let is_composed = x.tensor().device() == Device::Host || freq_conv::is_partly_frozen(tape, x, &all);
    let tiling = if is_composed { None } else { Tiling::fitting(sizes, x.tensor().dtype()) };
    let Some(tiling) = tiling else { return composed(tape, x, parameters, groups) };
    let y = forward(&tiling, x.tensor(), parameters);
    all.insert(0, x);
    let (xv, inputs) = (x.clone(), parameters.clone());
    tape.record("cross_band", &all, y, move |dy, grads| {
        let Parameters { first, full, second } = &inputs;
        let [x1, x2] = inputs_of_parts(&tiling, xv.tensor(), &inputs);
        let [dx2, of_second @ ..] = freq_conv::backward(&x2, second, groups, dy);
        drop(x2);
        let [dx1, of_full @ ..] = full_backward(x1, full, dx2);
        let [dx, of_first @ ..] = freq_conv::backward(xv.tensor(), first, groups, &dx1);
        grads.add(xv.id(), dx);
        for (parameter, gradient) in inputs.all().zip(of_first.into_iter().chain(of_full).chain(of_second)) {
            grads.add(parameter.id(), gradient);
        }
    })
}

/// Whether recording [`cross_band`] of the frames of a map [B, F, T, H] is one kernel, which keeps nothing but its input: then
/// nothing is gained by running it in chunks, which would compute it once more.
#[track_caller]
pub fn is_one_kernel(map: &Tensor, parameters: &Parameters, groups: usize) -> bool {
    let [b, f, t, h] = map.dims("cross_band map");
    let [_, _, taps] = parameters.first.weight.tensor().dims("cross_band convolution weight");
    let [s, _] = parameters.full.squeeze_weight.tensor().dims("cross_band squeeze weight");
    let sizes = Sizes { n: b * t, f, h, groups, taps, s };
    let is_trained = parameters.all().all(|p| p.id().is_some());
    map.device() != Device::Host && is_trained && Tiling::fitting(sizes, map.dtype()).is_some()
}

/// The parts as separate ops.
fn composed(tape: &mut Tape, x: &Var, parameters: &Parameters, groups: usize) -> Var {
    let Parameters { first, full, second } = parameters;
    let x1 = freq_conv::freq_conv(tape, x, first, groups);
    let change = full_part(tape, &x1, full);
    let x2 = elementwise::add(tape, &x1, &change);
    freq_conv::freq_conv(tape, &x2, second, groups)
}

/// What the part in the middle adds to x, as separate ops.
fn full_part(tape: &mut Tape, x: &Var, p: &FullBand) -> Var {
    let y = layer_norm(tape, x, &p.norm_weight, &p.norm_bias);
    let y = linear(tape, &y, &p.squeeze_weight, Some(&p.squeeze_bias));
    let y = activation(tape, Activation::Silu, &y);
    let y = full_band::full_band(tape, &y, &p.weight, &p.bias);
    let y = linear(tape, &y, &p.unsqueeze_weight, Some(&p.unsqueeze_bias));
    activation(tape, Activation::Silu, &y)
}

/// Gradients of x1 and of the parameters of the part in the middle.
#[track_caller]
fn full_backward(x1: Tensor, parameters: &FullBand, dx2: Tensor) -> [Tensor; 9] {
    let mut tape = Tape::new();
    let leaf = tape.leaf(x1);
    let leaves: FullBand = parameters.all().map(|p| tape.leaf(p.tensor().clone())).into();
    let change = full_part(&mut tape, &leaf, &leaves);
    let mut grads = tape.backward(&change, dx2.clone()).unwrap_or_else(|e| panic!("cross_band: {e}"));
    // x1 also goes past the part, so dx2 does.
    let [around, through] = [dx2, grads.take(&leaf)].map(Var::constant);
    let dx1 = elementwise::add(&mut Tape::without_gradients(), &around, &through).tensor().clone();
    let [a, b, c, d, e, f, g, h] = leaves.all().map(|leaf| grads.take(leaf));
    [dx1, a, b, c, d, e, f, g, h]
}

/// Extents of x, groups, taps, squeezed channels.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    n: usize,
    f: usize,
    h: usize,
    groups: usize,
    taps: usize,
    s: usize,
}

impl Sizes {
    #[track_caller]
    fn of(x: &Tensor, parameters: &Parameters, groups: usize) -> Sizes {
        let [n, f, h] = x.dims("cross_band x");
        let [_, _, taps] = parameters.first.weight.tensor().dims("cross_band convolution weight");
        let [s, _] = parameters.full.squeeze_weight.tensor().dims("cross_band squeeze weight");
        assert!(groups > 0 && h.is_multiple_of(groups), "cross_band: {h} channels do not split into {groups} groups");
        assert!(taps % 2 == 1, "cross_band: {taps} taps; \"same\" padding needs an odd number");
        let sizes = Sizes { n, f, h, groups, taps, s };
        for (parameter, shape) in parameters.all().zip(sizes.shapes()) {
            parameter.tensor().expect_shape("cross_band parameter", &shape);
        }
        sizes
    }
    fn shapes(&self) -> [Vec<usize>; 18] {
        let &Sizes { f, h, groups, taps, s, .. } = self;
        let conv = || [vec![h], vec![h], vec![h, h / groups, taps], vec![h], vec![h]];
        let full = [vec![h], vec![h], vec![s, h], vec![s], vec![h, s], vec![h], vec![s, f, f], vec![s, f]];
        let all: Vec<Vec<usize>> = conv().into_iter().chain(full).chain(conv()).collect();
        all.try_into().expect("eighteen")
    }
}

/// How the kernel divides its work: frames per block, groups per tile.
struct Tiling {
    sizes: Sizes,
    frames: usize,
    bundle: usize,
    bytes: usize,
}

impl Tiling {
    /// As many frames as fit the shared memory of a GPU, up to three, then as many groups; `None` where not one fits.
    fn fitting(sizes: Sizes, dtype: DType) -> Option<Tiling> {
        const SHARED_BYTES_MAX: usize = 99 * 1024;
        if dtype == DType::Bf16 && sizes.h % 2 == 1 {
            return None;
        }
        let tilings =
            (1..=3.min(sizes.n.max(1))).rev().flat_map(|frames| (1..=sizes.groups).rev().map(move |b| (frames, b)));
        tilings
            .map(|(frames, bundle)| Tiling {
                sizes,
                frames,
                bundle,
                bytes: shared_bytes(&sizes, frames, bundle, dtype),
            })
            .find(|tiling| tiling.bytes <= SHARED_BYTES_MAX)
    }
    /// The launch, and the sizes in the order of the kernels' arguments.
    fn launch(&self) -> (Launch, [usize; 8]) {
        let Sizes { n, f, h, groups, taps, s } = self.sizes;
        let launch = Launch::rows(n.div_ceil(self.frames), 512).shared(self.bytes);
        (launch, [n, f, h, groups, taps, s, self.frames, self.bundle])
    }
}

/// What `kernels/cross_band.cu` lays out.
fn shared_bytes(sizes: &Sizes, frames: usize, bundle: usize, dtype: DType) -> usize {
    const TILE_ROWS: usize = 32;
    let &Sizes { f, h, groups, taps, s, .. } = sizes;
    let narrow = dtype == DType::Bf16;
    let inner = |n: usize| if narrow { n.next_multiple_of(16) } else { n };
    let row = |n: usize| inner(n) + if narrow { 8 } else { 1 };
    let even = |n: usize| if narrow { n.next_multiple_of(2) } else { n };
    let up = |n: usize| n.next_multiple_of(8);
    let pitch = even(h / groups);
    let tile = up(bundle * frames * (f + taps - 1) * pitch + TILE_ROWS * pitch);
    let conv = dtype.bytes() * (tile + bundle * up(h / groups) * row(taps * pitch));
    let (u, z) = (up((frames * f + TILE_ROWS) * even(s) + 16), up((s * frames + 8) * row(f)));
    let map = dtype.bytes() * (u + z + up(up(s) * row(h)) + up(up(h) * row(s))) + 4 * s;
    let moments = 8 * up(frames * f + TILE_ROWS);
    // Products read whole tiles of rows, also behind the last frame.
    let read = dtype.bytes() * ((frames * f + TILE_ROWS) * h + 16);
    (dtype.bytes() * up(frames * f * h + 16) + moments + conv.max(map)).max(read)
}

fn forward(tiling: &Tiling, x: &Tensor, parameters: &Parameters) -> Tensor {
    let Parameters { first, full, second } = parameters;
    let (packed, mut y) = (packed(tiling, x, full.weight.tensor()), x.like(x.shape()));
    let (launch, [n, f, h, groups, taps, s, frames, bundle]) = tiling.launch();
    #[rustfmt::skip]
    kernels::CrossBandFwd {
        y: &mut y, x, packed: &packed,
        norm1_weight: first.norm_weight.tensor(), norm1_bias: first.norm_bias.tensor(),
        conv1_weight: first.weight.tensor(), conv1_bias: first.bias.tensor(), slope1: first.slope.tensor(),
        norm_weight: full.norm_weight.tensor(), norm_bias: full.norm_bias.tensor(),
        squeeze_weight: full.squeeze_weight.tensor(), squeeze_bias: full.squeeze_bias.tensor(),
        bias: full.bias.tensor(),
        unsqueeze_weight: full.unsqueeze_weight.tensor(), unsqueeze_bias: full.unsqueeze_bias.tensor(),
        norm2_weight: second.norm_weight.tensor(), norm2_bias: second.norm_bias.tensor(),
        conv2_weight: second.weight.tensor(), conv2_bias: second.bias.tensor(), slope2: second.slope.tensor(),
        n, f, h, groups, taps, s, frames, bundle, eps: EPS,
    }
    .launch(launch);
    y
}

/// x1 and x2, what the second and the third part begin with.
fn inputs_of_parts(tiling: &Tiling, x: &Tensor, Parameters { first, full, .. }: &Parameters) -> [Tensor; 2] {
    let (packed, mut x1, mut x2) = (packed(tiling, x, full.weight.tensor()), x.like(x.shape()), x.like(x.shape()));
    let (launch, [n, f, h, groups, taps, s, frames, bundle]) = tiling.launch();
    #[rustfmt::skip]
    kernels::CrossBandInputs {
        x1: &mut x1, x2: &mut x2, x, packed: &packed,
        norm1_weight: first.norm_weight.tensor(), norm1_bias: first.norm_bias.tensor(),
        conv1_weight: first.weight.tensor(), conv1_bias: first.bias.tensor(), slope1: first.slope.tensor(),
        norm_weight: full.norm_weight.tensor(), norm_bias: full.norm_bias.tensor(),
        squeeze_weight: full.squeeze_weight.tensor(), squeeze_bias: full.squeeze_bias.tensor(),
        bias: full.bias.tensor(),
        unsqueeze_weight: full.unsqueeze_weight.tensor(), unsqueeze_bias: full.unsqueeze_bias.tensor(),
        n, f, h, groups, taps, s, frames, bundle, eps: EPS,
    }
    .launch(launch);
    [x1, x2]
}

/// The maps' weights [S, F, F] as the kernels read them, stored as x is.
fn packed(tiling: &Tiling, x: &Tensor, weight: &Tensor) -> Tensor {
    let Sizes { f, s, .. } = tiling.sizes;
    let rows = f.next_multiple_of(32);
    let columns = if x.dtype() == DType::Bf16 { f.next_multiple_of(16) } else { f };
    let mut packed = x.like(&[s, rows, columns]);
    let launch = Launch::elements(packed.len(), 256);
    kernels::cross_band_pack(launch, &mut packed, weight, s, f, rows, columns);
    packed
}

/// The references of the parts, chained.
#[derive(Clone)]
struct Plain(Sizes);

impl Plain {
    fn norm(&self) -> layer_norm::Plain {
        layer_norm::Plain { rows: self.0.n * self.0.f, c: self.0.h }
    }
    fn conv(&self) -> freq_conv::Plain {
        let Sizes { n, f, h, groups, taps, .. } = self.0;
        freq_conv::Plain(freq_conv::Sizes { n, f, h, groups, taps })
    }
    /// A linear layer on every row: a convolution with one tap.
    fn linear(&self, inputs: usize, outputs: usize) -> conv1d::Plain {
        let (batch, len) = (self.0.n, self.0.f);
        conv1d::Plain(conv1d::Sizes { batch, len, groups: 1, inputs, outputs, taps: 1 })
    }
    fn map(&self) -> full_band::Plain {
        full_band::Plain { n: self.0.n, f: self.0.f, s: self.0.s }
    }

    /// Normalised, squeezed, activated, mapped, unsqueezed.
    fn full_steps<R: Real>(&self, x: &[R], p: &[&[R]]) -> [Vec<R>; 5] {
        let Sizes { h, s, .. } = self.0;
        let a = self.norm().forward(&[x, p[0], p[1]]);
        let b = self.linear(h, s).forward(&[&a, p[2], p[3]]);
        let c = activation::Plain(Activation::Silu).forward(&[&b]);
        let d = self.map().forward(&[&c, p[6], p[7]]);
        let e = self.linear(s, h).forward(&[&d, p[4], p[5]]);
        [a, b, c, d, e]
    }
    fn full<R: Real>(&self, x: &[R], p: &[&[R]]) -> Vec<R> {
        let [.., e] = self.full_steps(x, p);
        sum(x, &activation::Plain(Activation::Silu).forward(&[&e]))
    }
    fn full_backward<R: Real>(&self, x: &[R], p: &[&[R]], dy: &[R]) -> (Vec<R>, Vec<Vec<R>>) {
        let Sizes { h, s, .. } = self.0;
        let [a, b, c, d, e] = self.full_steps(x, p);
        let silu = activation::Plain(Activation::Silu);
        let of_unsqueeze = self.linear(s, h).backward(&[&d, p[4], p[5]], &silu.backward(&[&e], dy)[0]);
        let of_map = self.map().backward(&[&c, p[6], p[7]], &of_unsqueeze[0]);
        let of_squeeze = self.linear(h, s).backward(&[&a, p[2], p[3]], &silu.backward(&[&b], &of_map[0])[0]);
        let of_norm = self.norm().backward(&[x, p[0], p[1]], &of_squeeze[0]);
        let parameters = [&of_norm[1..], &of_squeeze[1..], &of_unsqueeze[1..], &of_map[1..]].concat();
        (sum(dy, &of_norm[0]), parameters)
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let x1 = self.conv().forward(&inputs[..6]);
        let x2 = self.full(&x1, &inputs[6..14]);
        self.conv().forward(&[&[x2.as_slice()], &inputs[14..]].concat())
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let x1 = self.conv().forward(&inputs[..6]);
        let x2 = self.full(&x1, &inputs[6..14]);
        let mut second = self.conv().backward(&[&[x2.as_slice()], &inputs[14..]].concat(), dy);
        let dx2 = second.remove(0);
        let (dx1, full) = self.full_backward(&x1, &inputs[6..14], &dx2);
        let first = self.conv().backward(&inputs[..6], &dx1);
        [first, full, second].concat()
    }
}

/// What a case differentiates.
#[derive(Clone, Copy, PartialEq)]
enum Gradients {
    /// By all inputs.
    All,
    /// By x and the convolutions, in bf16 too. What bf16 does to the part in the middle is up to the ops it consists
    /// of, and slopes near 1 keep it from deciding on which side of a kink an activation lies. The last slope is left
    /// to the cases of `freq_conv`: a sum over activations of either sign shows what was rounded in front of them.
    Convolutions,
    /// By nothing.
    None,
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    // Central differences of many PReLUs meet a kink somewhere: gradients are checked on the small ones.
    let small = [[1, 1, 2, 1, 1, 1], [4, 5, 6, 3, 3, 2]];
    let large = [[2, 33, 32, 2, 5, 9], [3, 31, 10, 5, 3, 3], [5, 18, 30, 1, 3, 4]];
    let mut all: Vec<Case> = small.map(|sizes| case(sizes, Gradients::All)).into();
    all.push(case([4, 5, 6, 3, 3, 2], Gradients::Convolutions).with_bf16());
    // More groups than the kernel of the convolutions' backward pass takes: there separate ops round more often.
    all.push(case([1, 3, 17, 17, 3, 2], Gradients::Convolutions));
    all.extend(small.into_iter().chain(large).map(|sizes| case(sizes, Gradients::None).with_bf16()));
    let flops = 2.0 * 8.0 * 129.0 * (2.0 * 96.0 * 12.0 * 5.0 + 2.0 * 96.0 * 8.0 + 8.0 * 129.0);
    all.push(case([8, 129, 96, 8, 5, 8], Gradients::All).bench(flops));
    all.push(case([8, 129, 96, 8, 5, 8], Gradients::All).bench(flops).copied(501, &[0]));
    all.push(case([8, 129, 96, 8, 5, 8], Gradients::Convolutions).with_bf16().bench(flops).copied(501, &[0]));
    all
}

fn case([n, f, h, groups, taps, s]: [usize; 6], gradients: Gradients) -> Case {
    let sizes = Sizes { n, f, h, groups, taps, s };
    let parameter = |(i, shape): (usize, Vec<usize>)| {
        let fan_in: usize = shape[1..].iter().product();
        let is_norm_weight = [0, 5, 13].contains(&i);
        let is_slope = [4, 17].contains(&i) && gradients == Gradients::Convolutions;
        let input = input(&shape)
            .scaled((fan_in as f64).powf(-0.5) * if is_slope { 1e-3 } else { 0.5 })
            .shifted(if is_norm_weight || is_slope { 1.0 } else { 0.1 })
            .keep_f32();
        let is_left = gradients == Gradients::Convolutions && ((5..13).contains(&i) || i == 17);
        if is_left { input.unchecked() } else { input }
    };
    let parameters = sizes.shapes().into_iter().enumerate().map(parameter);
    let mut inputs: Vec<_> = std::iter::once(input(&[n, f, h]).shifted(0.3)).chain(parameters).collect();
    if gradients == Gradients::None {
        inputs = inputs.into_iter().map(|input| input.fixed()).collect();
    }
    let name = format!("N {n}, F {f}, H {h}, G {groups}, k {taps}, S {s}");
    Case::new("cross_band", name, Plain(sizes), inputs, move |tape, v| {
        let parameters: [Var; 18] = v[1..].to_vec().try_into().expect("eighteen parameters");
        cross_band(tape, &v[0], &parameters.into(), groups)
    })
}
