//! Ops that only move numbers: exchange of two axes, parts of the last axis side by side, mean over an axis.
//!
//! swap_axes: x [A, M, N, C] -> [A, N, M, C]; concat: [.., C1], [.., C2] -> [.., C1 + C2];
//! mean_axis1: x [B, N, C] -> [B, C]; reshape: same numbers, other extents.

use crate::check::{Case, Real, Reference, input};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The same numbers under another shape.
#[track_caller]
pub fn reshape(tape: &mut Tape, x: &Var, shape: &[usize]) -> Var {
    let (y, id, old) = (x.tensor().reshape(shape), x.id(), x.shape().to_vec());
    tape.record("reshape", &[x], y, move |dy, grads| grads.add(id, dy.reshape(&old)))
}

/// x [A, M, N, C] -> [A, N, M, C].
#[track_caller]
pub fn swap_axes(tape: &mut Tape, x: &Var) -> Var {
    let [a, m, n, c] = x.tensor().dims("swap_axes x");
    let (y, id) = (swapped(x.tensor(), [a, m, n, c]), x.id());
    tape.record("swap_axes", &[x], y, move |dy, grads| grads.add(id, swapped(dy, [a, n, m, c])))
}

fn swapped(x: &Tensor, [a, m, n, c]: [usize; 4]) -> Tensor {
    let mut y = Tensor::uninit(&[a, n, m, c]);
    let out = y.data_mut();
    for (row, x) in x.data().chunks_exact(c).enumerate() {
        let (i, j, k) = (row / (m * n), row / n % m, row % n);
        let at = ((i * n + k) * m + j) * c;
        out[at..at + c].copy_from_slice(x);
    }
    y
}

/// Parts side by side along the last axis; all leading axes are equal.
#[track_caller]
pub fn concat(tape: &mut Tape, parts: &[&Var]) -> Var {
    let lead = parts[0].shape().split_last().expect("concat of scalars").1.to_vec();
    let widths: Vec<usize> = parts.iter().map(|p| *p.shape().last().expect("concat of scalars")).collect();
    for part in parts {
        assert_eq!(part.shape().split_last().map(|s| s.1), Some(&lead[..]), "concat: leading axes differ");
    }
    let total: usize = widths.iter().sum();
    let mut shape = lead.clone();
    shape.push(total);
    let mut y = Tensor::uninit(&shape);
    let mut start = 0;
    for (part, &width) in parts.iter().zip(&widths) {
        for (y, x) in y.data_mut().chunks_exact_mut(total).zip(part.data().chunks_exact(width)) {
            y[start..start + width].copy_from_slice(x);
        }
        start += width;
    }
    let ids: Vec<_> = parts.iter().map(|p| p.id()).collect();
    tape.record("concat", parts, y, move |dy, grads| {
        let mut start = 0;
        for (&id, &width) in ids.iter().zip(&widths) {
            let mut shape = lead.clone();
            shape.push(width);
            let mut dx = Tensor::uninit(&shape);
            for (dx, dy) in dx.data_mut().chunks_exact_mut(width).zip(dy.data().chunks_exact(total)) {
                dx.copy_from_slice(&dy[start..start + width]);
            }
            grads.add(id, dx);
            start += width;
        }
    })
}

/// x [B, N, C] -> the mean over N, [B, C].
#[track_caller]
pub fn mean_axis1(tape: &mut Tape, x: &Var) -> Var {
    let [b, n, c] = x.tensor().dims("mean_axis1 x");
    let mut y = Tensor::zeros(&[b, c]);
    for (y, x) in y.data_mut().chunks_exact_mut(c).zip(x.data().chunks_exact(n * c)) {
        for row in x.chunks_exact(c) {
            y.iter_mut().zip(row).for_each(|(y, x)| *y += x);
        }
        y.iter_mut().for_each(|y| *y /= n as f32);
    }
    let id = x.id();
    tape.record("mean_axis1", &[x], y, move |dy, grads| {
        let mut dx = Tensor::uninit(&[b, n, c]);
        for (dx, dy) in dx.data_mut().chunks_exact_mut(n * c).zip(dy.data().chunks_exact(c)) {
            for row in dx.chunks_exact_mut(c) {
                row.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy / n as f32);
            }
        }
        grads.add(id, dx);
    })
}

/// Columns `start..start + width` of the last axis.
#[track_caller]
pub fn take_last(tape: &mut Tape, x: &Var, start: usize, width: usize) -> Var {
    let (&total, lead) = x.shape().split_last().expect("take_last of a scalar");
    assert!(start + width <= total, "take_last: columns {start}+{width} of {total}");
    let (full, mut shape) = (x.shape().to_vec(), lead.to_vec());
    shape.push(width);
    let mut y = Tensor::uninit(&shape);
    for (y, x) in y.data_mut().chunks_exact_mut(width).zip(x.data().chunks_exact(total)) {
        y.copy_from_slice(&x[start..start + width]);
    }
    let id = x.id();
    tape.record("take_last", &[x], y, move |dy, grads| {
        let mut dx = Tensor::zeros(&full);
        for (dx, dy) in dx.data_mut().chunks_exact_mut(total).zip(dy.data().chunks_exact(width)) {
            dx[start..start + width].copy_from_slice(dy);
        }
        grads.add(id, dx);
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Swap([usize; 4]),
    Take(usize, usize, usize),
    Concat(usize, usize),
    Mean([usize; 3]),
}

impl Reference for Kind {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        let zero = R::of(0.0);
        match *self {
            Kind::Swap([a, m, n, c]) => {
                let mut y = vec![zero; x[0].len()];
                for (i, &v) in x[0].iter().enumerate() {
                    let (j, k, l) = (i / (n * c) % m, i / c % n, i % c);
                    y[(((i / (m * n * c)) * n + k) * m + j) * c + l] = v;
                }
                debug_assert_eq!(y.len(), a * m * n * c);
                y
            }
            Kind::Concat(c1, c2) => x[0].chunks(c1).zip(x[1].chunks(c2)).flat_map(|(a, b)| [a, b].concat()).collect(),
            Kind::Take(total, start, width) => {
                x[0].chunks(total).flat_map(|r| r[start..start + width].to_vec()).collect()
            }
            Kind::Mean([b, n, c]) => {
                let mut y = vec![zero; b * c];
                x[0].iter().enumerate().for_each(|(i, &v)| y[i / (n * c) * c + i % c] += v / R::of(n as f64));
                y
            }
        }
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        match *self {
            Kind::Swap([a, m, n, c]) => vec![Kind::Swap([a, n, m, c]).forward(&[dy])],
            Kind::Concat(c1, c2) => {
                let rows = dy.chunks(c1 + c2);
                vec![
                    rows.clone().flat_map(|r| r[..c1].to_vec()).collect(),
                    rows.flat_map(|r| r[c1..].to_vec()).collect(),
                ]
            }
            Kind::Take(total, start, width) => {
                let mut dx = vec![R::of(0.0); x[0].len()];
                for (dx, dy) in dx.chunks_mut(total).zip(dy.chunks(width)) {
                    dx[start..start + width].copy_from_slice(dy);
                }
                vec![dx]
            }
            Kind::Mean([_, n, c]) => {
                vec![(0..x[0].len()).map(|i| dy[i / (n * c) * c + i % c] / R::of(n as f64)).collect()]
            }
        }
    }
}

/// The cases of these ops.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for d in [[1, 1, 1, 1], [2, 3, 5, 4], [1, 17, 2, 3]] {
        all.push(Case::new("swap_axes", format!("{d:?}"), Kind::Swap(d), vec![input(&d)], |t, v| swap_axes(t, &v[0])));
        let d3 = [d[0], d[1], d[2]];
        let mean = vec![input(&d3)];
        all.push(Case::new("mean_axis1", format!("{d3:?}"), Kind::Mean(d3), mean, |t, v| mean_axis1(t, &v[0])));
        let part = Kind::Take(d[1] + 2, 1, d[1]);
        let wide = vec![input(&[d[2], d[1] + 2])];
        all.push(Case::new("take_last", format!("{d3:?}"), part, wide, move |t, v| take_last(t, &v[0], 1, d[1])));
        let two = vec![input(&[d[0], d[1]]), input(&[d[0], d[2]])];
        let name = format!("{} + {}", d[1], d[2]);
        all.push(Case::new("concat", name, Kind::Concat(d[1], d[2]), two, |t, v| concat(t, &[&v[0], &v[1]])));
    }
    all
}
