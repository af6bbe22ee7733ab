//! The ops in plain loops, and their cases.

use super::{embedding, splice, take};
use crate::check::{Case, Real, Reference, input};
use crate::tensor::Tensor;

#[derive(Clone)]
struct Lookup {
    v: usize,
    c: usize,
    ids: Vec<i32>,
}

impl Reference for Lookup {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        self.ids.iter().flat_map(|&id| inputs[0][id as usize * self.c..][..self.c].to_vec()).collect()
    }
    fn backward<R: Real>(&self, _: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let mut dtable = vec![R::of(0.0); self.v * self.c];
        for (i, &d) in dy.iter().enumerate() {
            dtable[self.ids[i / self.c] as usize * self.c + i % self.c] += d;
        }
        vec![dtable]
    }
}

#[derive(Clone)]
struct Replace {
    c: usize,
    rows: Vec<i32>,
}

impl Reference for Replace {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        let (c, mut y) = (self.c, inputs[0].to_vec());
        for (m, &row) in self.rows.iter().enumerate() {
            y[row as usize * c..][..c].copy_from_slice(&inputs[1][m * c..][..c]);
        }
        y
    }
    fn backward<R: Real>(&self, _: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let (c, mut dx, mut dinserted) = (self.c, dy.to_vec(), Vec::new());
        for &row in &self.rows {
            dinserted.extend_from_slice(&dy[row as usize * c..][..c]);
            dx[row as usize * c..][..c].fill(R::of(0.0));
        }
        vec![dx, dinserted]
    }
}

/// The cases of these ops: ids that repeat and rows that stay, widths around the packs of four, more ids than a block has
/// threads.
pub fn cases() -> Vec<Case> {
    let lookup = |v: usize, c: usize, n: usize| {
        let ids: Vec<i32> = (0..n).map(|i| (i * i * 7 % v) as i32).collect();
        let reference = Lookup { v, c, ids: ids.clone() };
        let ids = Tensor::from_slice(&[n], &ids);
        Case::new("embedding", format!("V {v}, C {c}, {n} ids"), reference, vec![input(&[v, c])], move |tape, v| {
            embedding(tape, &v[0], &ids.to(v[0].tensor().device()))
        })
        .with_bf16()
    };
    let replace = |n: usize, m: usize, c: usize| {
        // A step that is prime to n visits each row once.
        let rows: Vec<i32> = (0..m).map(|i| (i * 7 % n) as i32).collect();
        let reference = Replace { c, rows: rows.clone() };
        let rows = Tensor::from_slice(&[m], &rows);
        let inputs = vec![input(&[n, c]), input(&[m, c])];
        Case::new("embedding", format!("splice {m} of {n} rows, C {c}"), reference, inputs, move |tape, v| {
            splice(tape, &v[0], &v[1], &rows.to(v[0].tensor().device()))
        })
        .with_bf16()
    };
    let some = |n: usize, m: usize, c: usize| {
        let rows: Vec<i32> = (0..m).map(|i| (i * 7 % n) as i32).collect();
        let reference = Lookup { v: n, c, ids: rows.clone() };
        let rows = Tensor::from_slice(&[m], &rows);
        Case::new(
            "embedding",
            format!("take {m} of {n} rows, C {c}"),
            reference,
            vec![input(&[n, c])],
            move |tape, v| take(tape, &v[0], &rows.to(v[0].tensor().device())),
        )
        .with_bf16()
    };
    let mut all: Vec<Case> = [(1, 1, 1), (7, 3, 5), (31, 4, 13), (13, 17, 31), (11, 33, 600), (5, 1030, 3)]
        .map(|(v, c, n)| lookup(v, c, n))
        .into();
    all.extend(
        [(1, 1, 1), (5, 0, 3), (5, 2, 3), (13, 13, 4), (31, 17, 15), (300, 99, 5)].map(|(n, m, c)| replace(n, m, c)),
    );
    all.extend([(1, 1, 1), (13, 5, 3), (31, 31, 17)].map(|(n, m, c)| some(n, m, c)));
    all.push(lookup(8192, 896, 512).bench(512.0 * 896.0));
    all.push(replace(512, 64, 896).bench(512.0 * 896.0));
    all
}
