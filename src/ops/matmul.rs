//! C = A B, matrix by matrix.   a [B, M, K], b [B, K, N] -> c [B, M, N]
//!
//! Backward: da = dc b^T, db = a^T dc. Here are also the products that other ops are made of, with operands of any
//! strides: [`product`] on the host, through [`crate::device::product`]; [`product_on_device`] through `kernels/matmul.cu`.

mod launch;

pub(crate) use self::launch::{Epilogue, Factor, add_partials, narrowed, product_on_device};
use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::device::product::{Matrix, Numbers, Stored, Threads, multiply};
use crate::device::tile::{Extent, Start};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Multiplies matrix by matrix.
#[track_caller]
pub fn matmul(tape: &mut Tape, a: &Var, b: &Var) -> Var {
    let [batch, m, k] = a.tensor().dims("matmul a");
    let [_, _, n] = b.tensor().dims("matmul b");
    b.tensor().expect_shape("matmul b", &[batch, k, n]);
    let mut c = a.tensor().like(&[batch, m, n]);
    let threads = tape.products();
    products(threads, &mut c, (batch, m, n, k), (a.tensor(), k, 1), (b.tensor(), n, 1));
    let (av, bv) = (a.clone(), b.clone());
    tape.record("matmul", &[a, b], c, move |dc, grads| {
        if av.id().is_some() {
            let mut da = av.tensor().like(av.shape());
            products(threads, &mut da, (batch, m, k, n), (dc, n, 1), (bv.tensor(), 1, n));
            grads.add(av.id(), da);
        }
        if bv.id().is_some() {
            let mut db = bv.tensor().like(bv.shape());
            products(threads, &mut db, (batch, k, n, m), (av.tensor(), 1, k), (dc, n, 1));
            grads.add(bv.id(), db);
        }
    })
}

/// C [M, N] of each batch from factors given as (tensor without gaps, row stride, column stride).
fn products(
    threads: Threads,
    c: &mut Tensor,
    (batch, m, n, k): (usize, usize, usize, usize),
    (a, a_row, a_column): (&Tensor, usize, usize),
    (b, b_row, b_column): (&Tensor, usize, usize),
) {
    if c.device() != Device::Host {
        let a = Factor { tensor: a, row: a_row, column: a_column, batch: m * k };
        let b = Factor { tensor: b, row: b_row, column: b_column, batch: k * n };
        return product_on_device(c, batch, (m, n, k), a, b, Epilogue::default());
    }
    for i in 0..batch {
        let a = Matrix { data: &a.data()[i * m * k..], row: a_row, column: a_column };
        let b = Stored { data: Numbers::F32(&b.data()[i * k * n..]), row: b_row, column: b_column };
        multiply(threads, Extent { m, n, k }, a, b, &mut c.data_mut()[i * m * n..], Start::Zero);
    }
}

/// C [M, N] row-major = A [M, K] B [K, N], added to what C holds when `adds`; each of A and B is (data, row stride,
/// column stride). On this thread alone.
pub(crate) fn product(
    c: &mut [f32],
    (m, n, k): (usize, usize, usize),
    (a, a_row, a_column): (&[f32], usize, usize),
    (b, b_row, b_column): (&[f32], usize, usize),
    adds: bool,
) {
    let a = Matrix { data: a, row: a_row, column: a_column };
    let b = Stored { data: Numbers::F32(b), row: b_row, column: b_column };
    multiply(Threads::One, Extent { m, n, k }, a, b, c, if adds { Start::Sum } else { Start::Zero });
}

#[derive(Clone)]
struct Plain {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
}

impl Plain {
    /// Calls `f(place in a, place in b, place in c)` for every product of two numbers.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let &Plain { batch, m, n, k } = self;
        for row in 0..batch * m {
            for (j, i) in (0..n).flat_map(|j| (0..k).map(move |i| (j, i))) {
                f(row * k + i, (row / m * k + i) * n + j, row * n + j);
            }
        }
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let mut c = vec![R::of(0.0); self.batch * self.m * self.n];
        self.each(|a, b, at| c[at] += inputs[0][a] * inputs[1][b]);
        c
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dc: &[R]) -> Vec<Vec<R>> {
        let [mut da, mut db] = [0, 1].map(|i| vec![R::of(0.0); inputs[i].len()]);
        self.each(|a, b, at| {
            da[a] += dc[at] * inputs[1][b];
            db[b] += dc[at] * inputs[0][a];
        });
        vec![da, db]
    }
}

/// The cases of this op.
pub fn cases() -> Vec<Case> {
    let case = |batch: usize, m: usize, n: usize, k: usize| {
        let inputs = vec![input(&[batch, m, k]), input(&[batch, k, n]).scaled((k as f64).powf(-0.5))];
        let name = format!("{batch} of {m} x {k} x {n}");
        Case::new("matmul", name, Plain { batch, m, n, k }, inputs, |tape, v| matmul(tape, &v[0], &v[1])).with_bf16()
    };
    let mut all: Vec<Case> = [
        (1, 1, 1, 1),
        (2, 3, 5, 7),
        (3, 33, 31, 32),
        (1, 64, 64, 64),
        (2, 65, 66, 67),
        (1, 129, 97, 15),
        (1, 136, 104, 40),
        (1, 5, 7, 1100),
    ]
    .map(|(batch, m, n, k)| case(batch, m, n, k))
    .into();
    all.push(case(1, 512, 512, 512).bench(2.0 * 512f64.powi(3)));
    all
}
