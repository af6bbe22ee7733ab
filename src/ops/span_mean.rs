//! y[k, c] = mean over the rows of span k of x[row, c]; zeros for an empty span.   x [N, C], K spans -> y [K, C]
//!
//! Spans may overlap and leave rows out, but neither their starts nor their ends ever go back. So the spans that hold
//! a row are neighbours, and dx[n] = sum of dy[k] / length(k) over a range of k.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use std::ops::Range;

/// Spans of rows, on any device.
#[derive(Clone, Debug)]
pub struct Spans {
    /// First row and the row after the last, I32 [K, 2].
    spans: Tensor,
    /// First span that holds a row and the span after the last one, I32 [N, 2].
    users: Tensor,
}

impl Spans {
    /// Spans over `rows` rows. Panics when a span ends outside, or before it starts, or a start or an end goes back.
    #[track_caller]
    pub fn new(spans: &[Range<usize>], rows: usize) -> Spans {
        assert!(rows <= i32::MAX as usize && spans.len() <= i32::MAX as usize, "too many rows or spans");
        assert!(spans.iter().all(|s| s.start <= s.end && s.end <= rows), "a span ends outside of {rows} rows");
        let goes_on = |pair: &[Range<usize>]| pair[0].start <= pair[1].start && pair[0].end <= pair[1].end;
        assert!(spans.windows(2).all(goes_on), "spans go back");
        let bounds: Vec<i32> = spans.iter().flat_map(|s| [s.start as i32, s.end as i32]).collect();
        let users: Vec<i32> = (0..rows)
            .flat_map(|row| {
                let first = spans.partition_point(|s| s.end <= row);
                [first as i32, spans.partition_point(|s| s.start <= row).max(first) as i32]
            })
            .collect();
        Spans { spans: Tensor::from_slice(&[spans.len(), 2], &bounds), users: Tensor::from_slice(&[rows, 2], &users) }
    }
    /// The same spans on another device.
    pub fn to(&self, device: Device) -> Spans {
        Spans { spans: self.spans.to(device), users: self.users.to(device) }
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.shape()[0]
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The number of rows they are about.
    pub fn rows(&self) -> usize {
        self.users.shape()[0]
    }

    fn forward(&self, x: &Tensor, c: usize) -> Tensor {
        let mut y = x.like(&[self.len(), c]);
        if x.device() != Device::Host {
            let n = y.len();
            kernels::span_mean_fwd(Launch::elements(n, 256), &mut y, x, &self.spans, c, n);
            return y;
        }
        let (x, spans) = (x.data(), self.spans.values::<i32>());
        for (y, span) in y.data_mut().chunks_exact_mut(c).zip(spans.chunks_exact(2)) {
            let (start, end) = (span[0] as usize, span[1] as usize);
            y.fill(0.0);
            for row in x[start * c..end * c].chunks_exact(c) {
                y.iter_mut().zip(row).for_each(|(y, x)| *y += x);
            }
            y.iter_mut().for_each(|y| *y /= (end - start).max(1) as f32);
        }
        y
    }

    fn backward(&self, dy: &Tensor, c: usize) -> Tensor {
        let rows = self.rows();
        if dy.device() != Device::Host {
            let mut dx = dy.like(&[rows, c]);
            let launch = Launch::elements(rows * c, 256);
            kernels::span_mean_bwd(launch, &mut dx, dy, &self.spans, &self.users, c, rows * c);
            return dx;
        }
        let mut dx = Tensor::zeros(&[rows, c]);
        let (dy, into) = (dy.data(), dx.data_mut());
        for (span, dy) in self.spans.values::<i32>().chunks_exact(2).zip(dy.chunks_exact(c)) {
            let (start, end) = (span[0] as usize, span[1] as usize);
            for row in into[start * c..end * c].chunks_exact_mut(c) {
                row.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy / (end - start) as f32);
            }
        }
        dx
    }
}

/// The mean of x [N, C] over every span: [K, C]. `spans` lie on the device of x.
#[track_caller]
pub fn span_mean(tape: &mut Tape, x: &Var, spans: &Spans) -> Var {
    let [rows, c] = x.tensor().dims("span_mean x");
    assert!(rows == spans.rows() && c > 0, "span_mean: spans over {} rows of x {:?}", spans.rows(), x.shape());
    let (y, id, spans) = (spans.forward(x.tensor(), c), x.id(), spans.clone());
    tape.record("span_mean", &[x], y, move |dy, grads| grads.add(id, spans.backward(dy, c)))
}

#[derive(Clone)]
struct Plain {
    spans: Vec<Range<usize>>,
    c: usize,
}

impl Reference for Plain {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let (x, c) = (inputs[0], self.c);
        let mean = |span: &Range<usize>, i: usize| {
            let sum: R = span.clone().map(|row| x[row * c + i]).sum();
            sum / R::of(span.len().max(1) as f64)
        };
        self.spans.iter().flat_map(|span| (0..c).map(move |i| mean(span, i))).collect()
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::of(0.0); inputs[0].len()];
        for (span, dy) in self.spans.iter().zip(dy.chunks(self.c)) {
            for row in span.clone() {
                for (i, &d) in dy.iter().enumerate() {
                    dx[row * self.c + i] += d / R::of(span.len() as f64);
                }
            }
        }
        vec![dx]
    }
}

/// The cases of this op: single rows, empty spans between and at the ends, overlaps, rows that no span holds.
pub fn cases() -> Vec<Case> {
    let case = |rows: usize, c: usize, spans: Vec<Range<usize>>| {
        let name = format!("N {rows}, C {c}, K {}", spans.len());
        let (plain, list) = (Plain { spans: spans.clone(), c }, Spans::new(&spans, rows));
        Case::new("span_mean", name, plain, vec![input(&[rows, c])], move |tape, v| {
            span_mean(tape, &v[0], &list.to(v[0].tensor().device()))
        })
        .with_bf16()
    };
    let even = |rows: usize, step: usize| (0..rows / step).map(|k| k * step..(k + 1) * step).collect::<Vec<_>>();
    vec![
        case(1, 1, std::iter::once(0..1).collect()),
        case(5, 3, vec![0..0, 0..2, 1..2, 1..4, 4..4, 4..5, 5..5]),
        case(7, 33, vec![1..3, 2..3, 2..6, 6..6]),
        case(64, 17, even(64, 4)),
        case(129, 64, even(129, 3)),
        // The spatial frames of a clip of 5 s, averaged over the spans of Whisper's tokens.
        case(626, 192, (0..250).map(|k| k * 5 / 2..(k + 1) * 5 / 2).collect()).bench(626.0 * 192.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "spans go back")]
    fn spans_that_go_back_are_refused() {
        Spans::new(&[2..3, 1..4], 5);
    }

    #[test]
    #[should_panic(expected = "ends outside")]
    fn spans_end_inside() {
        Spans::new(&[2..6, 3..6], 5);
    }
}
