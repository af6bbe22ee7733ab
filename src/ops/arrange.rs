//! Ops that only move numbers: exchange of two axes, parts of the last axis side by side, mean over an axis.
//!
//! swap_axes: x [A, M, N, C] -> [A, N, M, C]; concat: [.., C1], [.., C2] -> [.., C1 + C2];
//! mean_axis1: x [B, N, C] -> [B, C]; reshape: same numbers, other extents.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
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

/// x [A, M, N, C] -> [A, N, M, C], without a tape.
pub(crate) fn swapped(x: &Tensor, [a, m, n, c]: [usize; 4]) -> Tensor {
    let mut y = x.like(&[a, n, m, c]);
    if x.device() == Device::Host {
        let out = y.data_mut();
        for (row, x) in x.data().chunks_exact(c).enumerate() {
            let (i, j, k) = (row / (m * n), row / n % m, row % n);
            let at = ((i * n + k) * m + j) * c;
            out[at..at + c].copy_from_slice(x);
        }
        return y;
    }
    let [batch, rows, columns, width] = [a, m, n, c];
    if c < 8 {
        let launch = Launch::rows(a * m.div_ceil(32) * n.div_ceil(32), 256).shared(128 * (32 * c + 1));
        kernels::arrange_swap_tiles(launch, &mut y, x, rows, columns, width);
    } else {
        let launch = Launch::elements(a * m * n * c.div_ceil(4), 256);
        kernels::arrange_swap_rows(launch, &mut y, x, batch, rows, columns, width);
    }
    y
}

/// Copies `width` columns of x, from `x_start` on, to those of y from `y_start` on.
fn copy_columns(y: &mut Tensor, y_start: usize, x: &Tensor, x_start: usize, width: usize) {
    let of = |tensor: &Tensor| *tensor.shape().last().expect("checked by the caller");
    let (n, y_pitch, x_pitch) = (super::row_count(x.shape()), of(y), of(x));
    if x.device() == Device::Host {
        for (y, x) in y.data_mut().chunks_exact_mut(y_pitch).zip(x.data().chunks_exact(x_pitch)) {
            y[y_start..y_start + width].copy_from_slice(&x[x_start..x_start + width]);
        }
        return;
    }
    let [columns, to, at, from, start] = [width, y_pitch, y_start, x_pitch, x_start];
    kernels::arrange_copy_columns(Launch::elements(n * width.div_ceil(4), 256), y, x, n, columns, to, at, from, start);
}

/// Parts side by side along the last axis; all leading axes are equal.
#[track_caller]
pub fn concat(tape: &mut Tape, parts: &[&Var]) -> Var {
    let lead = parts[0].shape().split_last().expect("concat of scalars").1.to_vec();
    let widths: Vec<usize> = parts.iter().map(|p| *p.shape().last().expect("concat of scalars")).collect();
    for part in parts {
        assert_eq!(part.shape().split_last().map(|s| s.1), Some(&lead[..]), "concat: leading axes differ");
    }
    let shape = |width: usize| [&lead[..], &[width]].concat();
    let mut y = parts[0].tensor().like(&shape(widths.iter().sum()));
    let mut start = 0;
    for (part, &width) in parts.iter().zip(&widths) {
        copy_columns(&mut y, start, part.tensor(), 0, width);
        start += width;
    }
    let places: Vec<_> = parts.iter().zip(&widths).map(|(part, &width)| (part.id(), shape(width), width)).collect();
    tape.record("concat", parts, y, move |dy, grads| {
        let mut start = 0;
        for (id, shape, width) in places {
            let mut dx = dy.like(&shape);
            copy_columns(&mut dx, 0, dy, start, width);
            grads.add(id, dx);
            start += width;
        }
    })
}

/// x [B, N, C] -> the mean over N, [B, C].
#[track_caller]
pub fn mean_axis1(tape: &mut Tape, x: &Var) -> Var {
    let sizes = x.tensor().dims("mean_axis1 x");
    let (y, id) = (mean(x.tensor(), sizes), x.id());
    tape.record("mean_axis1", &[x], y, move |dy, grads| grads.add(id, mean_slopes(dy, sizes)))
}

fn mean(x: &Tensor, [b, n, c]: [usize; 3]) -> Tensor {
    if x.device() == Device::Host {
        let mut y = Tensor::zeros(&[b, c]);
        for (y, x) in y.data_mut().chunks_exact_mut(c).zip(x.data().chunks_exact(n * c)) {
            for row in x.chunks_exact(c) {
                y.iter_mut().zip(row).for_each(|(y, x)| *y += x);
            }
            y.iter_mut().for_each(|y| *y /= n as f32);
        }
        return y;
    }
    let mut y = x.like(&[b, c]);
    kernels::arrange_mean_fwd(Launch::rows(b * c.div_ceil(32), 256), &mut y, x, n, c);
    y
}

fn mean_slopes(dy: &Tensor, [b, n, c]: [usize; 3]) -> Tensor {
    let mut dx = dy.like(&[b, n, c]);
    if dy.device() == Device::Host {
        for (dx, dy) in dx.data_mut().chunks_exact_mut(n * c).zip(dy.data().chunks_exact(c)) {
            for row in dx.chunks_exact_mut(c) {
                row.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy / n as f32);
            }
        }
        return dx;
    }
    let count = dx.len();
    kernels::arrange_mean_bwd(Launch::elements(count, 256), &mut dx, dy, n, c, count);
    dx
}

/// Columns `start..start + width` of the last axis.
#[track_caller]
pub fn take_last(tape: &mut Tape, x: &Var, start: usize, width: usize) -> Var {
    let (&total, lead) = x.shape().split_last().expect("take_last of a scalar");
    assert!(start + width <= total, "take_last: columns {start}+{width} of {total}");
    let mut y = x.tensor().like(&[lead, &[width]].concat());
    copy_columns(&mut y, 0, x.tensor(), start, width);
    let (id, full) = (x.id(), x.shape().to_vec());
    tape.record("take_last", &[x], y, move |dy, grads| grads.add(id, put_back(dy, &full, start, width)))
}

/// Zeros of shape `full` with dy in the columns from `start` on.
fn put_back(dy: &Tensor, full: &[usize], start: usize, width: usize) -> Tensor {
    if dy.device() == Device::Host {
        let mut dx = Tensor::zeros(full);
        copy_columns(&mut dx, start, dy, 0, width);
        return dx;
    }
    let (mut dx, total) = (dy.like(full), *full.last().expect("checked in the forward pass"));
    let (count, [total, start, width]) = (dx.len(), [total, start, width]);
    kernels::arrange_take_last_bwd(Launch::elements(count, 256), &mut dx, dy, total, start, width, count);
    dx
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
                assert_eq!(y.len(), a * m * n * c);
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

/// The cases of these ops: rows below and above 8 numbers, tiles of 32 x 32 rows and one more or less, widths and
/// offsets off the multiples of 4.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let sizes =
        [[1, 1, 1, 1], [2, 3, 5, 4], [1, 17, 2, 3], [1, 31, 33, 7], [2, 33, 32, 1], [2, 3, 5, 8], [1, 7, 3, 13]];
    for d in sizes {
        all.push(Case::new("swap_axes", format!("{d:?}"), Kind::Swap(d), vec![input(&d)], |t, v| swap_axes(t, &v[0])));
        let d3 = [d[0], d[1], d[2]];
        let mean = vec![input(&d3)];
        all.push(Case::new("mean_axis1", format!("{d3:?}"), Kind::Mean(d3), mean, |t, v| mean_axis1(t, &v[0])));
        let part = Kind::Take(d[1] + 2, 1, d[1]);
        let wide = vec![input(&[d[2], d[1] + 2])];
        all.push(Case::new("take_last", format!("{d3:?}"), part, wide, move |t, v| take_last(t, &v[0], 1, d[1])));
    }
    for (rows, c1, c2) in [(1, 1, 1), (2, 3, 5), (1, 17, 2), (9, 4, 8), (131, 8, 3)] {
        let two = vec![input(&[rows, c1]), input(&[rows, c2])];
        let name = format!("rows {rows}, {c1} + {c2}");
        all.push(Case::new("concat", name, Kind::Concat(c1, c2), two, |t, v| concat(t, &[&v[0], &v[1]])));
    }
    // What the encoder moves; nothing is computed.
    let d = [1, 129, 501, 96];
    let swap = Case::new("swap_axes", format!("{d:?}"), Kind::Swap(d), vec![input(&d)], |t, v| swap_axes(t, &v[0]));
    let mean = Kind::Mean([1, 501, 192]);
    let mean = Case::new("mean_axis1", "[1, 501, 192]", mean, vec![input(&[1, 501, 192])], |t, v| mean_axis1(t, &v[0]));
    all.push(swap.bench(0.0).copied(8, &[0]));
    all.push(mean.bench(501.0 * 192.0).copied(1032, &[0]));
    all.into_iter().map(Case::with_bf16).collect()
}
