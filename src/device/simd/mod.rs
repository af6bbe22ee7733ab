//! Vectors of f32 behind one trait, chosen at run time: AVX-512, AVX2 with FMA, or plain arrays.
//!
//! A kernel is a struct whose [`Kernel::run`] is generic over [`Simd`]; [`dispatch`] enters a function compiled
//! for the widest instruction set of this machine once, and everything `#[inline(always)]` below it becomes that
//! code. Tokens ([`Simd`] values) exist only where their instructions do, so arithmetic on them is safe.
//!
//! The variable `TWNM_SIMD` forces `portable`, `avx2` or `avx512` on a whole process. Everything of this crate obeys; the
//! library of Fourier transforms has no AVX-512 and uses AVX wherever it is there.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
mod math;
mod peak;
mod portable;
pub mod slices;

pub use element::Element;
pub use math::{exp, sigmoid, softplus, tanh};
pub use peak::multiply_in_registers;

use crate::error::{Error, Result};
use half::bf16;
use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;

/// Work that is compiled once per instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The work. Implementations are `#[inline(always)]`, and so is what they call on vectors.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set: a token for its vectors. Pointers may have any alignment.
pub trait Simd: Copy + 'static {
    /// A vector of [`Simd::LANES`] numbers.
    type V: Copy;
    /// Numbers per vector: 8 or 16.
    const LANES: usize;
    /// Vectors per accumulator row of the register-blocked products.
    const VECTORS: usize;
    /// Accumulator rows of the register-blocked products: 8, 6 or 4.
    const ROWS: usize;

    /// Runs a kernel as a function of its own, compiled for this instruction set.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;
    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// `LANES` consecutive floats.
    ///
    /// # Safety
    /// `LANES` floats are readable at `at`.
    unsafe fn load(self, at: *const f32) -> Self::V;
    /// The first `n` lanes from memory, zeros in the others.
    ///
    /// # Safety
    /// `n` floats are readable at `at`.
    unsafe fn load_first(self, at: *const f32, n: usize) -> Self::V;
    /// `W` consecutive floats, repeated over the lanes; `W` is 1, 2 or 4.
    ///
    /// # Safety
    /// `W` floats are readable at `at`.
    unsafe fn broadcast<const W: usize>(self, at: *const f32) -> Self::V;
    /// `LANES` numbers stored as bf16.
    ///
    /// # Safety
    /// `LANES` numbers are readable at `at`.
    unsafe fn load_bf16(self, at: *const bf16) -> Self::V;
    /// `LANES` signed bytes as numbers.
    ///
    /// # Safety
    /// `LANES` bytes are readable at `at`.
    unsafe fn load_i8(self, at: *const i8) -> Self::V;
    /// Numbers of a table, chosen by `LANES` half bytes, of which a byte holds two, the first in its high half.
    ///
    /// # Safety
    /// `LANES / 2` bytes are readable at `at`.
    unsafe fn look_up(self, table: &[f32; 16], at: *const u8) -> Self::V;
    /// Asks for the cache line of an address that is read soon. Any address will do: what cannot be read is left alone.
    fn prefetch<T>(self, at: *const T);
    /// Stores all lanes.
    ///
    /// # Safety
    /// `LANES` floats are writable at `at`.
    unsafe fn store(self, at: *mut f32, v: Self::V);
    /// Stores the first `n` lanes.
    ///
    /// # Safety
    /// `n` floats are writable at `at`.
    unsafe fn store_first(self, at: *mut f32, v: Self::V, n: usize);
    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a - b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a / b, correctly rounded.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// a b + c, fused where the machine has it.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c - a b, fused where the machine has it.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of two; `b` where one is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of two; `b` where one is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// |a|.
    fn abs(self, a: Self::V) -> Self::V;
    /// The magnitude of `a` with the sign of `b`.
    fn copy_sign(self, a: Self::V, b: Self::V) -> Self::V;
    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `yes` where x > limit, else `no` (also where x is NaN).
    fn select_above(self, x: Self::V, limit: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// 1 / a within 2 rounding units, for a in [1, 2^126].
    fn reciprocal(self, a: Self::V) -> Self::V;
    /// 2^x within 2 rounding units; below 2^-126 a number of that size or 0, above 2^127 at least 2^126 or infinity.
    fn exp2(self, x: Self::V) -> Self::V;
    /// p 2^n for an integer n in [-126, 127] and p in [1/2, 2].
    fn scale_by_power(self, p: Self::V, n: Self::V) -> Self::V;
    /// (a0, b0, a1, b1, ..) in two vectors: pairs of the first and of the second half of the lanes.
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);
    /// Even and odd lanes of (a, b): the inverse of [`Simd::interleave`].
    fn deinterleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);
    /// Sum of the lanes, as a tree.
    fn sum(self, a: Self::V) -> f32;
    /// All lanes 0.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }
}

/// An instruction set that this machine has: each variant holds the token that proves it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// 16 lanes (avx512f, vl, dq, bw).
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    /// 8 lanes (avx2, fma).
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    /// Arrays of 8 numbers, left to the compiler.
    Portable,
}

/// The variable that chooses the instruction set of a process.
const VARIABLE: &str = "TWNM_SIMD";

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// What this machine has, best first.
    pub fn available() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(avx512::Avx512::new().map(Isa::Avx512));
            all.extend(avx2::Avx2::new().map(Isa::Avx2));
        }
        all.push(Isa::Portable);
        all
    }
    /// The name that `TWNM_SIMD` knows it by.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            Isa::Portable => "portable",
        }
    }
    /// Numbers per vector.
    pub fn lanes(self) -> usize {
        struct Lanes;
        impl Kernel for Lanes {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                S::LANES
            }
        }
        self.run(Lanes)
    }
    /// The instruction set of this process: the one that the variable `TWNM_SIMD` names, else the best of this machine.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) when the variable holds no name of an instruction set, or one that this
    /// machine lacks.
    pub fn of_process() -> Result<Isa> {
        static CHOICE: OnceLock<std::result::Result<Isa, String>> = OnceLock::new();
        let choose =
            || Isa::named(std::env::var_os(VARIABLE).map(|name| name.to_string_lossy().into_owned()).as_deref());
        CHOICE.get_or_init(choose).clone().map_err(Error::usage)
    }
    /// The one of that name; the best without a name.
    fn named(name: Option<&str>) -> std::result::Result<Isa, String> {
        let all = Isa::available();
        let Some(name) = name else { return Ok(all[0]) };
        let names = || all.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ");
        match (all.iter().find(|isa| isa.name() == name), name) {
            (Some(isa), _) => Ok(*isa),
            (None, "avx512" | "avx2") => Err(format!("{VARIABLE}={name}: this machine lacks it; it has {}", names())),
            _ => Err(format!("{VARIABLE}={name:?}: give portable, avx2 or avx512, or leave it unset for the best")),
        }
    }
    /// The one [`dispatch`] uses on this thread. Panics when `TWNM_SIMD` is wrong, which programs check when they start
    /// ([`Isa::of_process`]).
    pub fn current() -> Isa {
        FORCED.get().unwrap_or_else(|| Isa::of_process().unwrap_or_else(|error| panic!("{error}")))
    }
    /// Runs `work` with this instruction set on this thread, for tests and benches.
    pub fn force<R>(self, work: impl FnOnce() -> R) -> R {
        struct Restore(Option<Isa>);
        impl Drop for Restore {
            fn drop(&mut self) {
                FORCED.set(self.0);
            }
        }
        let _restore = Restore(FORCED.replace(Some(self)));
        work()
    }
    /// Runs a kernel on this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(simd) => simd.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(simd) => simd.vectorize(kernel),
            Isa::Portable => portable::Portable.vectorize(kernel),
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Runs a kernel on the instruction set of this thread: what [`Isa::force`] chose, else that of the process.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    Isa::current().run(kernel)
}

/// Defines a function that runs one `#[inline(always)]` body compiled for each instruction set, for loops that are left
/// to the compiler. Its first argument is the [`Isa`].
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $ty:ty),* $(,)?) = $body:path) => {
        $(#[$meta])*
        $vis fn $name(isa: $crate::device::simd::Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::device::simd::Isa;
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
                fn avx512($($arg: $ty),*) {
                    $body($($arg),*)
                }
                match isa {
                    // SAFETY: the variants prove that the machine has the instructions.
                    Isa::Avx512(_) => return unsafe { avx512($($arg),*) },
                    Isa::Avx2(_) => return unsafe { avx2($($arg),*) },
                    Isa::Portable => {}
                }
            }
            let _ = isa;
            $body($($arg),*)
        }
    };
}
pub(crate) use multiversion;

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies a vector function of one argument to a slice.
    struct Map<'a, F>(&'a [f32], F);
    trait Function {
        fn apply<S: Simd>(&self, simd: S, x: S::V) -> S::V;
    }
    impl<F: Function> Kernel for Map<'_, F> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Vec<f32> {
            let mut out = vec![0.0; self.0.len()];
            for (from, to) in self.0.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
                // SAFETY: both pointers are good for the chunk's length.
                unsafe {
                    let y = self.1.apply(simd, simd.load_first(from.as_ptr(), from.len()));
                    simd.store_first(to.as_mut_ptr(), y, to.len());
                }
            }
            out
        }
    }
    macro_rules! function {
        ($name:ident, $simd:ident, $x:ident, $body:expr) => {
            struct $name;
            impl Function for $name {
                #[inline(always)]
                fn apply<S: Simd>(&self, $simd: S, $x: S::V) -> S::V {
                    $body
                }
            }
        };
    }
    function!(Exp2, s, x, s.exp2(x));
    function!(Exp, s, x, exp(s, x));
    function!(Sigmoid, s, x, sigmoid(s, x));
    function!(Tanh, s, x, tanh(s, x));
    function!(Softplus, s, x, softplus(s, x));

    /// Largest error in rounding units of f32 against a function in f64.
    fn worst_ulp<F: Function>(f: F, low: f32, high: f32, exact: impl Fn(f64) -> f64) -> f64 {
        let x: Vec<f32> = (0..40_001).map(|i| low + (high - low) * i as f32 / 40_000.0).collect();
        let y = dispatch(Map(&x, f));
        let ulp = |(&x, y): (&f32, f32)| {
            let want = exact(x as f64);
            let unit = (want.abs().max(f32::MIN_POSITIVE as f64)).log2().floor().exp2() * f32::EPSILON as f64;
            (y as f64 - want).abs() / unit
        };
        x.iter().zip(y).map(ulp).fold(0.0, f64::max)
    }

    #[test]
    fn functions_are_accurate_on_every_instruction_set() {
        for isa in Isa::available() {
            isa.force(|| {
                let check = |name: &str, ulp: f64, limit: f64| assert!(ulp <= limit, "{isa:?} {name}: {ulp} ulp");
                check("exp2", worst_ulp(Exp2, -125.0, 126.0, f64::exp2), 2.0);
                check("exp2 near 0", worst_ulp(Exp2, -2.0, 2.0, f64::exp2), 2.0);
                check("exp", worst_ulp(Exp, -87.0, 88.0, f64::exp), 2.0);
                check("sigmoid", worst_ulp(Sigmoid, -80.0, 40.0, |x| 1.0 / (1.0 + (-x).exp())), 4.0);
                check("tanh", worst_ulp(Tanh, -12.0, 12.0, f64::tanh), 4.0);
                check("tanh near 0", worst_ulp(Tanh, -0.7, 0.7, f64::tanh), 4.0);
                check("softplus", worst_ulp(Softplus, -60.0, 60.0, |x| x.exp().ln_1p()), 4.0);
            });
        }
    }

    #[test]
    fn ends_and_nans_are_sane_on_every_instruction_set() {
        for isa in Isa::available() {
            isa.force(|| {
                let x = [-1e30, -200.0, 0.0, 200.0, 1e30, f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
                let y = dispatch(Map(&x, Exp2));
                assert!(y[0] < 2e-38 && y[1] < 2e-38 && y[6] < 2e-38, "{isa:?} {y:?}");
                assert!(y[3] > 8e37 && y[4] > 8e37 && y[7] > 8e37, "{isa:?} {y:?}");
                assert_eq!(y[2], 1.0);
                assert!(y[5].is_nan());
                let y = dispatch(Map(&x, Sigmoid));
                assert!(y[0] < 1e-37 && y[1] < 1e-37 && y[6] < 1e-37, "{isa:?} {y:?}");
                assert_eq!([y[2], y[3], y[4], y[7]], [0.5, 1.0, 1.0, 1.0]);
                assert!(y[5].is_nan());
                let y = dispatch(Map(&x, Tanh));
                assert_eq!([y[0], y[1], y[2], y[3], y[4], y[6], y[7]], [-1.0, -1.0, 0.0, 1.0, 1.0, -1.0, 1.0]);
                assert!(y[5].is_nan());
                assert!(dispatch(Map(&x, Softplus))[5].is_nan());
            });
        }
    }

    struct Shuffles;
    impl Kernel for Shuffles {
        type Output = Vec<Vec<f32>>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<Vec<f32>> {
            let n = S::LANES;
            let numbers: Vec<f32> = (0..2 * n).map(|i| i as f32).collect();
            let read = |v: S::V| {
                let mut out = vec![0.0; n];
                // SAFETY: n floats are writable.
                unsafe { s.store(out.as_mut_ptr(), v) };
                out
            };
            // SAFETY: 2 LANES floats are readable.
            unsafe {
                let (a, b) = (s.load(numbers.as_ptr()), s.load(numbers.as_ptr().add(n)));
                let (low, high) = s.interleave(a, b);
                let (even, odd) = s.deinterleave(low, high);
                let two = s.broadcast::<2>(numbers.as_ptr().add(3));
                let four = s.broadcast::<4>(numbers.as_ptr().add(1));
                vec![read(low), read(high), read(even), read(odd), read(two), read(four), vec![s.sum(a)]]
            }
        }
    }

    #[test]
    fn shuffles_and_sums_are_right_on_every_instruction_set() {
        for isa in Isa::available() {
            let got = isa.force(|| dispatch(Shuffles));
            let n = got[0].len();
            let pairs: Vec<f32> = (0..n).flat_map(|i| [i as f32, (i + n) as f32]).collect();
            assert_eq!([got[0].clone(), got[1].clone()].concat(), pairs, "{isa:?}");
            assert_eq!([got[2].clone(), got[3].clone()].concat(), (0..2 * n).map(|i| i as f32).collect::<Vec<_>>());
            assert_eq!(got[4], [3.0, 4.0].repeat(n / 2));
            assert_eq!(got[5], [1.0, 2.0, 3.0, 4.0].repeat(n / 4));
            assert_eq!(got[6], [(n * (n - 1) / 2) as f32]);
        }
    }
}
