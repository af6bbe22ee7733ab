//! Sums and products: a + b, a * w with one factor per channel, a * constant, and gated units.
//!
//! add: a [..], b [..] -> y [..]; scale_channels: x [.., C], w [C] -> x w; scale: x c;
//! glu: x [.., 2C] = (a | b) -> a sigmoid(b) [.., C].

use crate::check::{Case, Real, Reference, input};
use crate::device::simd::Simd;
use crate::device::simd::slices::{Binary, map2};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// a + b for equal shapes.
#[track_caller]
pub fn add(tape: &mut Tape, a: &Var, b: &Var) -> Var {
    b.tensor().expect_shape("add: second operand", a.shape());
    let mut y = Tensor::uninit(a.shape());
    map2(Sum, a.data(), b.data(), y.data_mut());
    let (aid, bid) = (a.id(), b.id());
    tape.record("add", &[a, b], y, move |dy, grads| {
        grads.add(aid, dy.clone());
        grads.add(bid, dy.clone());
    })
}

struct Sum;

impl Binary for Sum {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, a: S::V, b: S::V) -> S::V {
        s.add(a, b)
    }
}

/// x times a constant.
pub fn scale(tape: &mut Tape, x: &Var, factor: f32) -> Var {
    let times = move |t: &Tensor| {
        let mut out = Tensor::uninit(t.shape());
        out.data_mut().iter_mut().zip(t.data()).for_each(|(o, v)| *o = v * factor);
        out
    };
    let (y, id) = (times(x.tensor()), x.id());
    tape.record("scale", &[x], y, move |dy, grads| grads.add(id, times(dy)))
}

/// x [.., C] times w [C].
#[track_caller]
pub fn scale_channels(tape: &mut Tape, x: &Var, w: &Var) -> Var {
    let c = *x.shape().last().expect("scale_channels of a scalar");
    w.tensor().expect_shape("scale_channels factor", &[c]);
    let times = move |x: &Tensor, w: &[f32]| {
        let mut y = Tensor::uninit(x.shape());
        for (y, x) in y.data_mut().chunks_exact_mut(c).zip(x.data().chunks_exact(c)) {
            for i in 0..c {
                y[i] = x[i] * w[i];
            }
        }
        y
    };
    let (y, xv, wv) = (times(x.tensor(), w.data()), x.clone(), w.clone());
    tape.record("scale_channels", &[x, w], y, move |dy, grads| {
        let mut dw = Tensor::zeros(&[c]);
        for (x, dy) in xv.data().chunks_exact(c).zip(dy.data().chunks_exact(c)) {
            dw.data_mut().iter_mut().zip(x).zip(dy).for_each(|((s, x), d)| *s += x * d);
        }
        grads.add(xv.id(), times(dy, wv.data()));
        grads.add(wv.id(), dw);
    })
}

/// Gated linear unit: the first half of the last axis times the sigmoid of the second.
#[track_caller]
pub fn glu(tape: &mut Tape, x: &Var) -> Var {
    let c2 = *x.shape().last().expect("glu of a scalar");
    assert!(c2.is_multiple_of(2), "glu: {c2} channels do not split in halves");
    let c = c2 / 2;
    let mut shape = x.shape().to_vec();
    *shape.last_mut().expect("rank checked above") = c;
    let mut y = Tensor::uninit(&shape);
    for (y, x) in y.data_mut().chunks_exact_mut(c).zip(x.data().chunks_exact(c2)) {
        for i in 0..c {
            y[i] = x[i] * x[c + i].sigmoid();
        }
    }
    let xv = x.clone();
    tape.record("glu", &[x], y, move |dy, grads| {
        let mut dx = Tensor::uninit(xv.shape());
        let rows = dx.data_mut().chunks_exact_mut(c2).zip(xv.data().chunks_exact(c2)).zip(dy.data().chunks_exact(c));
        for ((dx, x), dy) in rows {
            for i in 0..c {
                let s = x[c + i].sigmoid();
                dx[i] = dy[i] * s;
                dx[c + i] = dy[i] * x[i] * s * (1.0 - s);
            }
        }
        grads.add(xv.id(), dx);
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Add,
    Scale(f64),
    Channels(usize),
    Glu(usize),
}

impl Reference for Kind {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        match *self {
            Kind::Add => x[0].iter().zip(x[1]).map(|(&a, &b)| a + b).collect(),
            Kind::Scale(f) => x[0].iter().map(|&a| a * R::of(f)).collect(),
            Kind::Channels(c) => x[0].iter().enumerate().map(|(i, &a)| a * x[1][i % c]).collect(),
            Kind::Glu(c) => x[0].chunks(2 * c).flat_map(|r| (0..c).map(move |i| r[i] * r[c + i].sigmoid())).collect(),
        }
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let zero = R::of(0.0);
        match *self {
            Kind::Add => vec![dy.to_vec(), dy.to_vec()],
            Kind::Scale(f) => vec![dy.iter().map(|&d| d * R::of(f)).collect()],
            Kind::Channels(c) => {
                let mut dw = vec![zero; c];
                dy.iter().enumerate().for_each(|(i, &d)| dw[i % c] += d * x[0][i]);
                vec![dy.iter().enumerate().map(|(i, &d)| d * x[1][i % c]).collect(), dw]
            }
            Kind::Glu(c) => {
                let mut dx = vec![zero; x[0].len()];
                for (i, &d) in dy.iter().enumerate() {
                    let (row, j) = (i / c * 2 * c, i % c);
                    let s = x[0][row + c + j].sigmoid();
                    dx[row + j] = d * s;
                    dx[row + c + j] = d * x[0][row + j] * s * (R::of(1.0) - s);
                }
                vec![dx]
            }
        }
    }
}

/// The cases of these ops.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in [1, 13, 64] {
        let two = vec![input(&[n]), input(&[n])];
        all.push(Case::new("add", format!("{n}"), Kind::Add, two, |t, v| add(t, &v[0], &v[1])));
        let one = vec![input(&[n])];
        all.push(Case::new("scale", format!("{n}"), Kind::Scale(0.5), one, |t, v| scale(t, &v[0], 0.5)));
    }
    for (rows, c) in [(1, 1), (5, 7), (3, 33)] {
        let name = format!("rows {rows}, C {c}");
        let inputs = vec![input(&[rows, c]), input(&[c])];
        all.push(Case::new("scale_channels", name.clone(), Kind::Channels(c), inputs, |t, v| {
            scale_channels(t, &v[0], &v[1])
        }));
        all.push(Case::new("glu", name, Kind::Glu(c), vec![input(&[rows, 2 * c])], |t, v| glu(t, &v[0])));
    }
    all
}
