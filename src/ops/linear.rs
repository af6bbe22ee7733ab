//! y = x W^T + b over the last axis.   x [.., K], W [M, K], b [M] -> y [.., M]
//!
//! Backward: dx = dy W, dW = dy^T x, db = column sums of dy. The products go through `gemm`, whose result does
//! not depend on the number of threads; Host ops call it single-threaded (see the module text of `ops`).

use crate::check::{Case, Real, Reference, input};
use crate::device::simd::slices::{add_to, each_vector, get};
use crate::device::simd::{Kernel, Simd, dispatch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Applies the layer; `bias` may be absent.
#[track_caller]
pub fn linear(tape: &mut Tape, x: &Var, weight: &Var, bias: Option<&Var>) -> Var {
    let [m, k] = weight.tensor().dims("linear weight");
    assert_eq!(x.shape().last(), Some(&k), "linear: x {:?} does not fit weight {:?}", x.shape(), weight.shape());
    if let Some(b) = bias {
        b.tensor().expect_shape("linear bias", &[m]);
    }
    let rows = super::row_count(x.shape());
    let mut shape = x.shape().to_vec();
    *shape.last_mut().expect("rank checked above") = m;
    let mut y = Tensor::uninit(&shape);
    forward(y.data_mut(), x.data(), weight.data(), bias.map(|b| b.data()), rows, m, k);
    let inputs: Vec<&Var> = [x, weight].into_iter().chain(bias).collect();
    let (xv, wv, bid) = (x.clone(), weight.clone(), bias.map(|b| b.id()));
    tape.record("linear", &inputs, y, move |dy, grads| {
        if xv.id().is_some() {
            let mut dx = Tensor::uninit(xv.shape());
            product(dx.data_mut(), (rows, k, m), (dy.data(), m, 1), (wv.data(), k, 1), 0.0);
            grads.add(xv.id(), dx);
        }
        if wv.id().is_some() {
            let mut dw = Tensor::uninit(wv.shape());
            product(dw.data_mut(), (m, k, rows), (dy.data(), 1, m), (xv.data(), k, 1), 0.0);
            grads.add(wv.id(), dw);
        }
        if let Some(id) = bid {
            grads.add(id, column_sums(dy.data(), m));
        }
    })
}

fn forward(y: &mut [f32], x: &[f32], w: &[f32], b: Option<&[f32]>, rows: usize, m: usize, k: usize) {
    let beta = match b {
        Some(b) => {
            y.chunks_exact_mut(m).for_each(|row| row.copy_from_slice(b));
            1.0
        }
        None => 0.0,
    };
    product(y, (rows, m, k), (x, k, 1), (w, 1, k), beta);
}

/// C [M, N] row-major = beta C + A [M, K] B [K, N]; each of A and B is (data, row stride, column stride).
pub(crate) fn product(
    c: &mut [f32],
    (m, n, k): (usize, usize, usize),
    (a, a_row, a_column): (&[f32], usize, usize),
    (b, b_row, b_column): (&[f32], usize, usize),
    beta: f32,
) {
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        c[..m * n].iter_mut().for_each(|v| *v *= beta);
        return;
    }
    assert!(c.len() >= m * n);
    assert!(a.len() > (m - 1) * a_row + (k - 1) * a_column && b.len() > (k - 1) * b_row + (n - 1) * b_column);
    // SAFETY: the asserts above bound every address that the strides can reach; c is exclusive.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            beta != 0.0,
            a.as_ptr(),
            a_column as isize,
            a_row as isize,
            b.as_ptr(),
            b_column as isize,
            b_row as isize,
            beta,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Column sums of a [rows, m] matrix, in partial sums of 16 rows to keep rounding small.
pub(crate) fn column_sums(dy: &[f32], m: usize) -> Tensor {
    let mut sum = Tensor::zeros(&[m]);
    dispatch(ColumnSums(dy, sum.data_mut()));
    sum
}

struct ColumnSums<'a>(&'a [f32], &'a mut [f32]);

impl Kernel for ColumnSums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ColumnSums(x, sum) = self;
        let m = sum.len();
        for block in x.chunks(16 * m) {
            each_vector!(S, m, |at, n| {
                let mut total = s.zero();
                for row in block.chunks_exact(m) {
                    total = s.add(total, get(s, row, at, n));
                }
                add_to(s, sum, at, n, total);
            });
        }
    }
}

#[derive(Clone)]
struct Plain {
    rows: usize,
    m: usize,
    k: usize,
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let &Plain { rows, m, k } = self;
        let mut y = vec![R::of(0.0); rows * m];
        for r in 0..rows {
            for i in 0..m {
                let dot: R = (0..k).map(|j| inputs[0][r * k + j] * inputs[1][i * k + j]).sum();
                y[r * m + i] = dot + inputs[2][i];
            }
        }
        y
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let &Plain { rows, m, k } = self;
        let zero = R::of(0.0);
        let (mut dx, mut dw, mut db) = (vec![zero; rows * k], vec![zero; m * k], vec![zero; m]);
        for r in 0..rows {
            for i in 0..m {
                let d = dy[r * m + i];
                db[i] += d;
                for j in 0..k {
                    dx[r * k + j] += d * inputs[1][i * k + j];
                    dw[i * k + j] += d * inputs[0][r * k + j];
                }
            }
        }
        vec![dx, dw, db]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |rows: usize, m: usize, k: usize| {
        let inputs = vec![input(&[rows, k]), input(&[m, k]).scaled((k as f64).powf(-0.5)), input(&[m])];
        Case::new("linear", format!("rows {rows}, {k} -> {m}"), Plain { rows, m, k }, inputs, |tape, v| {
            linear(tape, &v[0], &v[1], Some(&v[2]))
        })
    };
    let checks = [(1, 1, 1), (1, 7, 3), (13, 5, 31), (33, 17, 16), (64, 65, 15)];
    let mut all: Vec<Case> = checks.iter().map(|&(r, m, k)| case(r, m, k)).collect();
    for (r, m, k) in [(626, 288, 96), (626, 96, 192)] {
        all.push(case(r, m, k).bench(2.0 * (r * m * k) as f64));
    }
    all
}
