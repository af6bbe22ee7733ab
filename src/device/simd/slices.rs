//! Functions of slices, one vector at a time.

use super::{Kernel, Simd, dispatch};

/// Runs the body for every vector of `len` numbers: start and count, of which only the last may be short. A macro,
/// because a closure may be compiled on its own, for the machine's baseline.
macro_rules! each_vector {
    ($simd:ty, $len:expr, |$at:ident, $n:ident| $body:expr) => {{
        let len: usize = $len;
        let whole = len - len % <$simd>::LANES;
        for $at in (0..whole).step_by(<$simd>::LANES) {
            let $n = <$simd>::LANES;
            $body;
        }
        if whole < len {
            let ($at, $n) = (whole, len - whole);
            $body;
        }
    }};
}
pub(crate) use each_vector;

/// A function of one number, on vectors.
pub trait Unary {
    /// The function; `#[inline(always)]`.
    fn apply<S: Simd>(&self, simd: S, x: S::V) -> S::V;
}

/// A function of two numbers, on vectors.
pub trait Binary {
    /// The function; `#[inline(always)]`.
    fn apply<S: Simd>(&self, simd: S, a: S::V, b: S::V) -> S::V;
}

/// y = f(x), element by element. Panics when the lengths differ.
#[track_caller]
pub fn map(f: impl Unary, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "map: lengths differ");
    dispatch(Map(f, x, y));
}

/// y = f(a, b), element by element. Panics when the lengths differ.
#[track_caller]
pub fn map2(f: impl Binary, a: &[f32], b: &[f32], y: &mut [f32]) {
    assert!(a.len() == y.len() && b.len() == y.len(), "map2: lengths differ");
    dispatch(Map2(f, a, b, y));
}

/// sum += x, element by element. Panics when the lengths differ.
#[track_caller]
pub fn accumulate(sum: &mut [f32], x: &[f32]) {
    assert_eq!(x.len(), sum.len(), "accumulate: lengths differ");
    dispatch(Accumulate(sum, x));
}

struct Map<'a, F>(F, &'a [f32], &'a mut [f32]);

impl<F: Unary> Kernel for Map<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Map(f, x, y) = self;
        each_vector!(S, y.len(), |at, n| { put(s, y, at, n, f.apply(s, get(s, x, at, n))) });
    }
}

struct Map2<'a, F>(F, &'a [f32], &'a [f32], &'a mut [f32]);

impl<F: Binary> Kernel for Map2<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Map2(f, a, b, y) = self;
        each_vector!(S, y.len(), |at, n| { put(s, y, at, n, f.apply(s, get(s, a, at, n), get(s, b, at, n))) });
    }
}

struct Accumulate<'a>(&'a mut [f32], &'a [f32]);

impl Kernel for Accumulate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Accumulate(sum, x) = self;
        each_vector!(S, sum.len(), |at, n| { add_to(s, sum, at, n, get(s, x, at, n)) });
    }
}

/// The `n` numbers from `at` on, zeros in the other lanes. Panics beyond the slice.
#[inline(always)]
pub fn get<S: Simd>(s: S, x: &[f32], at: usize, n: usize) -> S::V {
    let from = x[at..at + n].as_ptr();
    // SAFETY: n numbers are readable; `load_first` reads no more than the lanes.
    unsafe { if n == S::LANES { s.load(from) } else { s.load_first(from, n) } }
}

/// Stores the first `n` lanes from `at` on. Panics beyond the slice.
#[inline(always)]
pub fn put<S: Simd>(s: S, x: &mut [f32], at: usize, n: usize, v: S::V) {
    let to = x[at..at + n].as_mut_ptr();
    // SAFETY: n numbers are writable; `store_first` writes no more than the lanes.
    unsafe { if n == S::LANES { s.store(to, v) } else { s.store_first(to, v, n) } }
}

/// Adds to the `n` numbers from `at` on. Panics beyond the slice.
#[inline(always)]
pub fn add_to<S: Simd>(s: S, x: &mut [f32], at: usize, n: usize, v: S::V) {
    let sum = s.add(get(s, x, at, n), v);
    put(s, x, at, n, sum);
}
