//! How ops are checked: f64 gradients against central differences, fast paths against references.
//!
//! An op describes itself once, as a [`Reference`] (plain loops, generic over f32 and f64) and a list of
//! [`Case`]s. The tests, `twnm doctor --ops` and the benches all walk that list; nothing is checked by hand.

mod bench_inputs;

pub use bench_inputs::Prepared;

use crate::device::Device;
use crate::rng::Rng;
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// The numbers references compute with: f32 and f64.
pub trait Real:
    Copy
    + PartialOrd
    + std::fmt::Debug
    + std::iter::Sum
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + std::ops::MulAssign
{
    /// From an f64, rounded.
    fn of(value: f64) -> Self;
    /// To f64, exact.
    fn f64(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x).
    fn ln_1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The larger of two.
    fn max(self, other: Self) -> Self;
    /// 1 / (1 + e^-x), without overflow.
    fn sigmoid(self) -> Self {
        let one = Self::of(1.0);
        if self < Self::of(0.0) {
            let e = self.exp();
            e / (one + e)
        } else {
            one / (one + (-self).exp())
        }
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            fn of(value: f64) -> Self {
                value as $t
            }
            fn f64(self) -> f64 {
                self as f64
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn ln_1p(self) -> Self {
                self.ln_1p()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn tanh(self) -> Self {
                self.tanh()
            }
            fn abs(self) -> Self {
                self.abs()
            }
            fn max(self, other: Self) -> Self {
                self.max(other)
            }
        }
    };
}
real!(f32);
real!(f64);

/// The definition of an op in plain loops: sizes in `self`, one output.
pub trait Reference: Clone + Send + Sync + 'static {
    /// The output for the inputs.
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R>;
    /// The gradient of every differentiable input for the output's gradient `dy`; an empty vector for inputs
    /// that are not differentiable.
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>>;
}

/// An input of a case.
#[derive(Clone, Debug)]
pub struct Input {
    /// The extents.
    pub shape: Vec<usize>,
    /// Standard deviation of its random normal numbers.
    pub scale: f64,
    /// Added to the random numbers.
    pub shift: f64,
    /// Whether a gradient flows to it.
    pub differentiable: bool,
    /// Whether its gradient is compared ([`Input::unchecked`]).
    pub is_checked: bool,
    /// Whether it stays f32 where activations are stored as bf16: weights of norms, labels, targets.
    pub is_wide: bool,
    /// Whether every copy of the case has its own, along the first axis ([`Case::copied`]).
    pub is_copied: bool,
}

/// A standard normal, differentiable input.
pub fn input(shape: &[usize]) -> Input {
    Input {
        shape: shape.to_vec(),
        scale: 1.0,
        shift: 0.0,
        differentiable: true,
        is_checked: true,
        is_wide: false,
        is_copied: false,
    }
}

impl Input {
    /// With another standard deviation.
    pub fn scaled(self, scale: f64) -> Input {
        Input { scale, ..self }
    }
    /// Moved away from zero.
    pub fn shifted(self, shift: f64) -> Input {
        Input { shift, ..self }
    }
    /// Data: no gradient flows to it.
    pub fn fixed(self) -> Input {
        Input { differentiable: false, ..self }
    }
    /// A gradient flows to it and is computed, but not compared: in this case nothing derived says how exact it is.
    pub fn unchecked(self) -> Input {
        Input { is_checked: false, ..self }
    }
    /// Stays f32 where activations are stored as bf16.
    pub fn keep_f32(self) -> Input {
        Input { is_wide: true, ..self }
    }
}

type Forward = Box<dyn Fn(&[&[f64]]) -> Vec<f64> + Send + Sync>;
type Backward = Box<dyn Fn(&[&[f64]], &[f64]) -> Vec<Vec<f64>> + Send + Sync>;
type Forward32 = Box<dyn Fn(&[&[f32]]) -> Vec<f32> + Send + Sync>;
type Backward32 = Box<dyn Fn(&[&[f32]], &[f32]) -> Vec<Vec<f32>> + Send + Sync>;
type Run = Box<dyn Fn(&mut Tape, &[Var]) -> Var + Send + Sync>;

/// One shape of one op: what to feed it, its reference and its fast path.
pub struct Case {
    /// The op.
    pub op: &'static str,
    /// The sizes, for messages.
    pub name: String,
    /// The inputs.
    pub inputs: Vec<Input>,
    /// Floating-point operations of a forward pass (0: not counted).
    pub flops: f64,
    /// Whether it is sized for speed measurements rather than for checks.
    pub is_bench: bool,
    /// Whether the op has kernels for activations stored as bf16.
    pub has_bf16: bool,
    /// How many equal parts a run computes at once, of which the references compute one.
    pub copies: usize,
    /// Numbers of one copy that lie together in the output (`None`: all).
    copy_width: Option<usize>,
    forward: Forward,
    backward: Backward,
    forward32: Forward32,
    backward32: Backward32,
    run: Run,
}

impl Case {
    /// A case of `op` from its reference and the call of its fast path.
    pub fn new<F: Reference>(
        op: &'static str,
        name: impl Into<String>,
        reference: F,
        inputs: Vec<Input>,
        run: impl Fn(&mut Tape, &[Var]) -> Var + Send + Sync + 'static,
    ) -> Case {
        let [a, b, c, d] = [(); 4].map(|()| reference.clone());
        Case {
            op,
            name: name.into(),
            inputs,
            flops: 0.0,
            is_bench: false,
            has_bf16: false,
            copies: 1,
            copy_width: None,
            forward: Box::new(move |x| a.forward(x)),
            backward: Box::new(move |x, dy| b.backward(x, dy)),
            forward32: Box::new(move |x| c.forward(x)),
            backward32: Box::new(move |x, dy| d.backward(x, dy)),
            run: Box::new(run),
        }
    }
    /// Marks the case as one to measure, with its operations per forward pass.
    pub fn bench(mut self, flops: f64) -> Case {
        self.flops = flops;
        self.is_bench = true;
        self
    }
    /// Marks the op as one with kernels for activations stored as bf16.
    pub fn with_bf16(mut self) -> Case {
        self.has_bf16 = true;
        self
    }
    /// The same work for `count` clips: `inputs` get that many along their first axis, all with the same numbers. It is as
    /// large as real work and costs the references one clip; for GPUs.
    pub fn copied(mut self, count: usize, inputs: &[usize]) -> Case {
        inputs.iter().for_each(|&i| self.inputs[i].is_copied = true);
        self.name = format!("{}, {count} copies", self.name);
        (self.copies, self.flops) = (count, self.flops * count as f64);
        self
    }
    /// With copies that lie side by side in the output, `width` numbers each, instead of one after the other.
    pub fn interleaved(mut self, width: usize) -> Case {
        self.copy_width = Some(width);
        self
    }
    /// Whether the native path is spared the case: work of the size that only a GPU does in passing.
    pub fn is_for_gpus(&self) -> bool {
        self.copies > 1
    }
    /// Whether a gradient flows to any input.
    pub fn is_differentiable(&self) -> bool {
        self.inputs.iter().any(|input| input.differentiable)
    }
    /// Operations of a forward and a backward pass: three times the forward's; attention forms its probabilities again.
    pub fn flops_with_backward(&self) -> f64 {
        self.flops * if self.op.contains("attention") { 3.5 } else { 3.0 }
    }
    /// `op [name]`.
    pub fn label(&self) -> String {
        format!("{} [{}]", self.op, self.name)
    }
    /// Seeded inputs, rounded to f32 so that both precisions see the same numbers.
    pub fn draw(&self) -> Vec<Vec<f64>> {
        self.draw_set(0)
    }
    /// As [`Case::draw`], for one of several sets of inputs.
    fn draw_set(&self, set: u64) -> Vec<Vec<f64>> {
        let draw = |(i, input): (usize, &Input)| {
            let mut rng = Rng::new(7, self.op, i as u64 + (set << 32));
            let n: usize = input.shape.iter().product();
            (0..n).map(|_| ((rng.normal() * input.scale + input.shift) as f32) as f64).collect()
        };
        self.inputs.iter().enumerate().map(draw).collect()
    }
    fn seed_for(&self, len: usize) -> Vec<f64> {
        let mut rng = Rng::new(8, self.op, len as u64);
        (0..len).map(|_| (rng.normal() as f32) as f64).collect()
    }
    /// Whether a gradient flows to each input.
    fn tracked(&self) -> Vec<bool> {
        self.inputs.iter().map(|input| input.differentiable).collect()
    }
    /// The op itself on given inputs, of which some are tracked: output and one gradient per input (`None`: not tracked).
    fn run_fast(
        &self,
        place: Place,
        values: &[Vec<f64>],
        tracked: &[bool],
        dy: &[f64],
    ) -> (Computed, Vec<Option<Computed>>) {
        let mut tape = Tape::new();
        let vars: Vec<Var> = std::iter::zip(&self.inputs, values)
            .zip(tracked)
            .map(|((input, v), &is_tracked)| {
                let tensor = self.put(place, input, v);
                if is_tracked { tape.leaf(tensor) } else { Var::constant(tensor) }
            })
            .collect();
        let y = (self.run)(&mut tape, &vars);
        let out = Computed::of_copies(y.tensor(), self.copies, self.copy_width);
        let seed = place.put(y.shape(), &self.spread(dy), y.tensor().dtype() == DType::F32);
        let grads = tape.backward(&y, seed);
        let grads = grads.unwrap_or_else(|e| panic!("{}: {e}", self.label()));
        let gradient = |(input, var): (&Input, &Var)| {
            let copies = if input.is_copied { self.copies } else { 1 };
            grads.get(var).map(|tensor| Computed::of_copies(tensor, copies, None))
        };
        (out, self.inputs.iter().zip(&vars).map(gradient).collect())
    }
    /// An input where the op runs, with all its copies.
    fn put(&self, place: Place, input: &Input, values: &[f64]) -> Tensor {
        let (mut shape, mut numbers) = (input.shape.clone(), to_f32(values));
        if input.is_copied {
            shape[0] *= self.copies;
            numbers = numbers.repeat(self.copies);
        }
        place.put(&shape, &numbers, input.is_wide)
    }
    /// What belongs to one copy's output, for all copies where they lie.
    fn spread(&self, dy: &[f64]) -> Vec<f32> {
        let width = self.copy_width.unwrap_or(dy.len()).max(1);
        to_f32(dy).chunks(width).flat_map(|part| part.repeat(self.copies)).collect()
    }
}

fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v as f64).collect()
}

/// ||a - e|| / ||e|| in L2; the plain norm of `a` when `e` is all zero, infinite when a number is not finite.
pub fn relative_l2(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len(), "relative_l2 of different lengths");
    let error: f64 = actual.iter().zip(expected).map(|(a, e)| (a - e) * (a - e)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    let ratio = if norm > 0.0 { (error / norm).sqrt() } else { error.sqrt() };
    if ratio.is_finite() { ratio } else { f64::INFINITY }
}

/// Relative L2 error allowed between analytic and numeric f64 gradients.
pub const GRADCHECK_LIMIT: f64 = 1e-6;
/// At most this many coordinates of one input are differentiated numerically; a seeded subset above that.
const COORDINATES_MAX: usize = 160;

/// The reference's gradients against fourth-order central differences in f64: the largest relative L2 error
/// over the inputs, with its input number.
///
/// # Errors
/// The case and the input that the reference gives no gradient of the right length.
pub fn gradcheck(case: &Case) -> Result<(f64, usize), String> {
    let mut values = case.draw();
    let view = |v: &[Vec<f64>]| -> Vec<f64> { (case.forward)(&v.iter().map(|x| x.as_slice()).collect::<Vec<_>>()) };
    let dy = case.seed_for(view(&values).len());
    let analytic = (case.backward)(&values.iter().map(|x| x.as_slice()).collect::<Vec<_>>(), &dy);
    let mut worst = (0.0, 0);
    for k in 0..values.len() {
        if !case.inputs[k].differentiable {
            continue;
        }
        if analytic[k].len() != values[k].len() {
            return Err(format!("{}: input {k} got no gradient", case.label()));
        }
        let n = values[k].len();
        let mut picked: Vec<usize> = (0..n).collect();
        if n > COORDINATES_MAX {
            Rng::new(9, case.op, k as u64).shuffle(&mut picked);
            picked.truncate(COORDINATES_MAX);
        }
        let (mut numeric, mut exact) = (Vec::new(), Vec::new());
        for &i in &picked {
            let center = values[k][i];
            // Optimum of a fourth-order stencil: rounding ~ 1e-16 / h against truncation ~ h^4.
            let h = 1e-3 * center.abs().max(0.3);
            let mut at = |x: f64| {
                values[k][i] = x;
                view(&values).iter().zip(&dy).map(|(y, d)| y * d).sum::<f64>()
            };
            let near = at(center + h) - at(center - h);
            let far = at(center + 2.0 * h) - at(center - 2.0 * h);
            values[k][i] = center;
            numeric.push((8.0 * near - far) / (12.0 * h));
            exact.push(analytic[k][i]);
        }
        let error = relative_l2(&exact, &numeric);
        if error >= worst.0 {
            worst = (error, k);
        }
    }
    Ok(worst)
}

/// Where a case runs, and how its activations are stored there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device.
    pub device: Device,
    /// Storage of the inputs that are not marked as wide.
    pub dtype: DType,
}

impl Place {
    /// Native code in f32.
    pub const HOST: Place = Place { device: Device::Host, dtype: DType::F32 };

    fn put(self, shape: &[usize], values: &[f32], is_wide: bool) -> Tensor {
        let host = Tensor::from_slice(shape, values);
        if self.dtype == DType::Bf16 && !is_wide { host.to_bf16(self.device) } else { host.to(self.device) }
    }
    /// What `put` keeps of the values.
    fn rounded(self, values: Vec<f64>, is_wide: bool) -> Vec<f64> {
        if self.dtype == DType::Bf16 && !is_wide { values.into_iter().map(round_bf16).collect() } else { values }
    }
}

fn round_bf16(value: f64) -> f64 {
    half::bf16::from_f32(value as f32).to_f64()
}

/// Numbers that an op computed, and how it stored them.
#[derive(Clone, Debug, PartialEq)]
pub struct Computed {
    /// The numbers.
    pub values: Vec<f64>,
    /// How they were stored.
    pub dtype: DType,
}

impl Computed {
    /// The numbers of one of `copies` parts, `width` of each side by side: the part that lies farthest from the first.
    fn of_copies(tensor: &Tensor, copies: usize, width: Option<usize>) -> Computed {
        let (host, dtype) = (tensor.to_host_f32(), tensor.dtype());
        let data = host.data();
        if copies == 1 || !data.len().is_multiple_of(copies) {
            return Computed { values: to_f64(data), dtype };
        }
        let len = data.len() / copies;
        let width = width.unwrap_or(len).max(1);
        let copy = |k: usize| data.chunks(width).skip(k).step_by(copies).flatten().copied();
        let distance = |k: usize| {
            let apart = copy(k).zip(copy(0)).map(|(a, b)| (a - b).abs());
            // A number that is none is farther away than any.
            apart.fold(0.0, |most: f32, d| if d.is_nan() { f32::INFINITY } else { most.max(d) })
        };
        let mut farthest = (0, 0.0);
        for k in 1..copies {
            let this = distance(k);
            if this > farthest.1 {
                farthest = (k, this);
            }
        }
        Computed { values: copy(farthest.0).map(f64::from).collect(), dtype }
    }
}

/// The result of comparing an op with its f64 reference.
#[derive(Clone, Debug)]
pub struct Parity {
    /// Largest relative L2 error of the op over output and gradients, as far as it lies from what is allowed.
    pub error: f64,
    /// What is allowed: three times the error of the plain f32 reference, at least 16 rounding units; in a
    /// bf16 run three roundings to bf16.
    pub allowed: f64,
    /// Everything the op computed, in order: the output, then the gradients.
    pub computed: Vec<Computed>,
}

impl Parity {
    /// A short hash of everything that was computed, to compare builds and machines.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for value in self.computed.iter().flat_map(|part| &part.values) {
            hasher.update(&(*value as f32).to_le_bytes());
        }
        hasher.finalize().to_hex()[..12].to_string()
    }
    /// Whether the error is within what is allowed.
    pub fn holds(&self) -> bool {
        self.error <= self.allowed
    }
}

/// The op's Host path against the f64 reference, with a tolerance derived from the plain f32 loops.
///
/// # Errors
/// The case, when the op gave another number of values than the reference, or no gradient for an input.
pub fn parity(case: &Case) -> Result<Parity, String> {
    parity_at(case, Place::HOST)
}

/// The op on any device against the f64 reference on the same (rounded) inputs.
///
/// # Errors
/// As [`parity`].
pub fn parity_at(case: &Case, place: Place) -> Result<Parity, String> {
    compare(case, place, &case.tracked())
}

/// As [`parity_at`] with a gradient for one input alone, as where the other parameters are frozen.
///
/// # Errors
/// As [`parity`].
pub fn parity_of_one_gradient(case: &Case, place: Place, input: usize) -> Result<Parity, String> {
    assert!(case.inputs[input].differentiable, "{}: input {input} has a gradient", case.label());
    let tracked: Vec<bool> = (0..case.inputs.len()).map(|i| i == input).collect();
    compare(case, place, &tracked)
}

fn compare(case: &Case, place: Place, tracked: &[bool]) -> Result<Parity, String> {
    let rounded = |(v, input): (Vec<f64>, &Input)| place.rounded(v, input.is_wide);
    let values: Vec<Vec<f64>> = case.draw().into_iter().zip(&case.inputs).map(rounded).collect();
    let narrow: Vec<Vec<f32>> = values.iter().map(|v| to_f32(v)).collect();
    let wide_views: Vec<&[f64]> = values.iter().map(|v| v.as_slice()).collect();
    let narrow_views: Vec<&[f32]> = narrow.iter().map(|v| v.as_slice()).collect();
    let expected = (case.forward)(&wide_views);
    let dy = place.rounded(case.seed_for(expected.len()), false);
    let mut expected_grads = (case.backward)(&wide_views, &dy);
    let plain = to_f64(&(case.forward32)(&narrow_views));
    let mut plain_grads = (case.backward32)(&narrow_views, &to_f32(&dy));
    for (k, _) in case.inputs.iter().enumerate().filter(|(_, input)| !input.is_copied) {
        // What all copies share gets the sum of their gradients; the plain loops add them up in f32.
        expected_grads[k].iter_mut().for_each(|g| *g *= case.copies as f64);
        plain_grads[k].iter_mut().for_each(|g| *g = (0..case.copies).fold(0.0, |sum, _| sum + *g));
    }
    let (fast, fast_grads) = case.run_fast(place, &values, tracked, &dy);
    if fast.values.len() != expected.len() {
        return Err(format!("{}: {} numbers instead of {}", case.label(), fast.values.len(), expected.len()));
    }
    let mut worst = rank(&fast, &expected, &plain, place);
    let mut computed = vec![fast];
    for k in 0..values.len() {
        if !tracked[k] {
            continue;
        }
        let Some(fast) = &fast_grads[k] else {
            return Err(format!("{}: no gradient for input {k}", case.label()));
        };
        if !case.inputs[k].is_checked {
            continue;
        }
        let this = rank(fast, &expected_grads[k], &to_f64(&plain_grads[k]), place);
        if this.0 / this.1 > worst.0 / worst.1 {
            worst = this;
        }
        computed.push(fast.clone());
    }
    Ok(Parity { error: worst.0, allowed: worst.1, computed })
}

/// Error and what is allowed. In a bf16 run the bound holds for f32 results too: their factors may have been rounded
/// once inside the op (probabilities of an attention, activations between two products).
fn rank(actual: &Computed, exact: &[f64], plain: &[f64], place: Place) -> (f64, f64) {
    const FLOOR: f64 = 16.0 * f32::EPSILON as f64;
    /// Half a unit in the last place of 8 bits of mantissa.
    const BF16_ROUNDING: f64 = 1.0 / 512.0;
    let allowed = match place.dtype {
        DType::F32 => (3.0 * relative_l2(plain, exact)).max(FLOOR),
        DType::Bf16 => 3.0 * BF16_ROUNDING,
        DType::I32 | DType::U8 => 0.0,
    };
    (relative_l2(&actual.values, exact), allowed)
}
