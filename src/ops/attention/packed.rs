//! Causal attention within documents that lie one after the other: q [1,M,Hq D], k, v [1,T,Hkv D] -> [1,M,Hq D].
//!
//! The keys of document d are the rows `keys[d]..keys[d + 1]`, its queries the rows `queries[d]..queries[d + 1]`, which stand
//! at its last positions: all of them, or only those whose output somebody needs. No query sees a key of another document.
//! Nothing is padded: the work is that of every document alone, and so are the bytes, whatever stands beside it. On the host a task is a document and a
//! key-value head, copied together; tasks may run on all threads ([`crate::tape::Tape::with_products`]). On a device every
//! document is a launch.

use super::{Plan, Shape, Sizes, host::Layouts};
use crate::device::Device;
use crate::device::product::Threads;
use crate::device::simd::Isa;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

/// The documents of a call.
#[derive(Clone)]
struct Packed {
    queries: Arc<[usize]>,
    keys: Arc<[usize]>,
    heads_q: usize,
    heads_kv: usize,
    width: usize,
    threads: Threads,
}

/// The rows of a document.
#[derive(Clone, Copy)]
struct Document {
    /// Where its queries begin, and how many there are.
    query: usize,
    queries: usize,
    /// Where its keys begin, and how many there are.
    key: usize,
    keys: usize,
}

/// Causal attention of every document over itself, for the queries at its last positions. Panics when starts do not rise
/// from 0 to the number of rows or a document has more queries than keys.
#[track_caller]
pub fn packed_attention(
    tape: &mut Tape,
    [q, k, v]: [&Var; 3],
    [queries, keys]: [&Arc<[usize]>; 2],
    (heads_q, heads_kv): (usize, usize),
) -> Var {
    let [one, rows, wide] = q.tensor().dims("packed_attention q");
    assert_eq!(one, 1, "packed_attention of {one} batches: documents lie one after the other");
    // Checks the shapes.
    let plan = Plan::new("packed_attention", [q.tensor(), k.tensor(), v.tensor()], &Shape::causal(heads_q, heads_kv));
    let rises = |starts: &[usize]| starts.windows(2).all(|pair| pair[0] <= pair[1]) && starts.first() == Some(&0);
    assert!(
        rises(queries) && rises(keys) && (queries.last(), keys.last()) == (Some(&rows), Some(&plan.sizes.positions)),
        "packed_attention: documents {queries:?} over {keys:?} of {rows} queries"
    );
    assert_eq!(queries.len(), keys.len(), "packed_attention: documents of queries and of keys");
    let (queries, keys) = (queries.clone(), keys.clone());
    let packed = Packed { queries, keys, heads_q, heads_kv, width: wide / heads_q, threads: tape.products() };
    assert!(packed.documents().all(|d| d.queries <= d.keys), "packed_attention: more queries than keys");
    let inputs = [q, k, v].map(|x| x.tensor().clone());
    let mut lse = None;
    let out = tape.keep(|| {
        let [out, sums] = packed.forward(&inputs);
        lse = Some(sums);
        out
    });
    let lse = tape.keep(|| lse.take().expect("computed together with the output"));
    let (ids, saved) = ([q, k, v].map(Var::id), out.clone());
    tape.record("packed_attention", &[q, k, v], out, move |dy, grads| {
        let found = packed.backward(&inputs, [&saved, &lse, dy]);
        ids.into_iter().zip(found).for_each(|(id, gradient)| grads.add(id, gradient));
    })
}

impl Packed {
    fn plan(&self, d: Document, heads_q: usize, heads_kv: usize) -> Plan {
        let sizes = Sizes {
            batch: 1,
            queries: d.queries,
            positions: d.keys,
            keys: d.keys,
            heads_q,
            heads_kv,
            width: self.width,
            causal: true,
            first: (d.keys - d.queries) as isize,
        };
        Plan { sizes, layouts: Layouts::apart(&sizes), lengths: None, first: None, upper_left: false }
    }
    /// Those that have queries.
    fn documents(&self) -> impl Iterator<Item = Document> + '_ {
        let document =
            |(q, k): (&[usize], &[usize])| Document { query: q[0], queries: q[1] - q[0], key: k[0], keys: k[1] - k[0] };
        self.queries.windows(2).zip(self.keys.windows(2)).map(document).filter(|d| d.queries > 0)
    }
    /// Document and key-value head of every task of the host.
    fn tasks(&self) -> Vec<(Document, usize)> {
        self.documents().flat_map(|d| (0..self.heads_kv).map(move |head| (d, head))).collect()
    }
    fn run<T: Send>(&self, task: impl Fn((Document, usize)) -> T + Sync + Send) -> Vec<T> {
        // Threads of the pool know nothing of an instruction set that was forced here.
        let isa = Isa::current();
        match self.threads {
            Threads::One => self.tasks().into_iter().map(task).collect(),
            Threads::All | Threads::Apart => self.tasks().into_par_iter().map(|t| isa.force(|| task(t))).collect(),
        }
    }
    fn group(&self) -> usize {
        self.heads_q / self.heads_kv
    }
    /// The heads of a task: of q, k and v.
    fn gather_all(&self, inputs: &[Tensor; 3], (d, head): (Document, usize)) -> [Tensor; 3] {
        let (q, kv) = ((d.query, d.queries), (d.key, d.keys));
        let group = self.group() * self.width;
        [(q, group), (kv, self.width), (kv, self.width)]
            .into_iter()
            .zip(inputs)
            .map(|((rows, columns), x)| gather(x, rows, head, columns))
            .collect::<Vec<Tensor>>()
            .try_into()
            .expect("three inputs")
    }
    /// The rows of a document: of q, k and v.
    fn slices(&self, inputs: &[Tensor; 3], d: Document) -> [Tensor; 3] {
        let [q, k, v] = inputs;
        [slice(q, d.query, d.queries), slice(k, d.key, d.keys), slice(v, d.key, d.keys)]
    }

    /// out [1,M,Hq D] and the log2 of each row's sum of exponentials, [Hq M] in an order of its own.
    fn forward(&self, inputs: &[Tensor; 3]) -> [Tensor; 2] {
        let [_, rows, wide] = inputs[0].dims("packed_attention q");
        if rows == 0 {
            return [inputs[0].like(&[1, 0, wide]), inputs[0].like_f32(&[0])];
        }
        if inputs[0].device() != Device::Host {
            let run = |d: Document| {
                super::forward(&self.plan(d, self.heads_q, self.heads_kv), &self.slices(inputs, d).each_ref())
            };
            let results: Vec<[Tensor; 2]> = self.documents().map(run).collect();
            let out: Vec<Tensor> = results.iter().map(|[out, _]| out.reshape(&out.shape()[1..])).collect();
            let lse: Vec<Tensor> = results.iter().map(|[_, lse]| lse.reshape(&[lse.len()])).collect();
            return [Tensor::stacked(&out).reshape(inputs[0].shape()), Tensor::stacked(&lse)];
        }
        let results = self
            .run(|task| super::forward(&self.plan(task.0, self.group(), 1), &self.gather_all(inputs, task).each_ref()));
        let mut out = Tensor::uninit(inputs[0].shape());
        let mut lse = Vec::with_capacity(results.len());
        for ((d, head), [part, sums]) in self.tasks().into_iter().zip(results) {
            scatter(&mut out, &part, d.query, head);
            lse.push(sums.reshape(&[sums.len()]));
        }
        [out, Tensor::stacked(&lse)]
    }

    fn backward(&self, inputs: &[Tensor; 3], [out, lse, dy]: [&Tensor; 3]) -> [Tensor; 3] {
        // Keys that no query sees get a gradient of zero.
        let mut gradients = inputs.each_ref().map(|x| Tensor::zeros_on(x.device(), x.dtype(), x.shape()));
        if inputs[0].device() != Device::Host {
            for d in self.documents() {
                let sums = lse.rows(d.query * self.heads_q, d.queries * self.heads_q);
                let sums = sums.reshape(&[1, self.heads_q, d.queries]);
                let outputs = [&slice(out, d.query, d.queries), &sums, &slice(dy, d.query, d.queries)];
                let plan = self.plan(d, self.heads_q, self.heads_kv);
                let found = super::backward(&plan, &self.slices(inputs, d).each_ref(), outputs);
                for ((to, part), at) in gradients.iter_mut().zip(&found).zip([d.query, d.key, d.key]) {
                    to.put(at * part.shape()[2], part);
                }
            }
            return gradients;
        }
        let found = self.run(|task| {
            let ((d, head), group) = (task, self.group());
            let sums = lse.rows(d.query * self.heads_q + head * group * d.queries, group * d.queries);
            let sums = sums.reshape(&[1, group, d.queries]);
            let [out, dy] = [out, dy].map(|x| gather(x, (d.query, d.queries), head, group * self.width));
            super::backward(&self.plan(d, group, 1), &self.gather_all(inputs, task).each_ref(), [&out, &sums, &dy])
        });
        for ((d, head), parts) in self.tasks().into_iter().zip(found) {
            for ((to, part), at) in gradients.iter_mut().zip(&parts).zip([d.query, d.key, d.key]) {
                scatter(to, part, at, head);
            }
        }
        gradients
    }
}

/// Columns `head columns .. (head + 1) columns` of n rows from `at` on, [1,n,columns].
fn gather(x: &Tensor, (at, n): (usize, usize), head: usize, columns: usize) -> Tensor {
    let wide = x.shape()[2];
    let mut part = Tensor::uninit(&[1, n, columns]);
    let rows = x.data()[at * wide..].chunks_exact(wide);
    for (to, from) in part.data_mut().chunks_exact_mut(columns).zip(rows) {
        to.copy_from_slice(&from[head * columns..][..columns]);
    }
    part
}

/// The inverse of [`gather`].
fn scatter(to: &mut Tensor, part: &Tensor, at: usize, head: usize) {
    let (wide, columns) = (to.shape()[2], part.shape()[2]);
    let rows = to.data_mut()[at * wide..].chunks_exact_mut(wide);
    for (to, from) in rows.zip(part.data().chunks_exact(columns)) {
        to[head * columns..][..columns].copy_from_slice(from);
    }
}

/// Rows `at..at + n` of x [1,T,W] as [1,n,W].
fn slice(x: &Tensor, at: usize, n: usize) -> Tensor {
    let wide = x.shape()[2];
    x.reshape(&x.shape()[1..]).rows(at, n).reshape(&[1, n, wide])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::attention::attention;
    use crate::rng::Rng;

    fn draw(shape: &[usize], seed: u64) -> Tensor {
        let mut rng = Rng::new(seed, "packed attention", 0);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
        Tensor::from_slice(shape, &values)
    }

    /// Output and gradients, with all threads or one.
    fn run(inputs: &[Tensor; 3], dy: &Tensor, starts: [&[usize]; 2], threads: Threads) -> Vec<Tensor> {
        let mut tape = Tape::new().with_products(threads);
        let vars = inputs.each_ref().map(|x| tape.leaf(x.clone()));
        let starts = starts.map(|s| s.into());
        let y = packed_attention(&mut tape, vars.each_ref(), starts.each_ref(), (6, 2));
        let grads = tape.backward(&y, dy.clone()).unwrap();
        let gradients = vars.iter().map(|v| grads.get(v).unwrap().clone());
        std::iter::once(y.tensor().clone()).chain(gradients).collect()
    }

    /// All queries, or those at the last positions: a document gets what it gets alone, bit by bit, and with its own keys and
    /// queries what plain attention gives.
    fn documents_are_apart(queries: [usize; 5]) {
        let (width, keys) = (5, [0, 1, 14, 31, 33]);
        let inputs = [(6, queries[4]), (2, 33), (2, 33)].map(|(h, rows)| draw(&[1, rows, h * width], h as u64));
        let dy = draw(&[1, queries[4], 6 * width], 9);
        let together = run(&inputs, &dy, [&queries, &keys], Threads::One);
        for (a, b) in together.iter().zip(run(&inputs, &dy, [&queries, &keys], Threads::All)) {
            assert_eq!(a.data(), b.data(), "the bytes depend on threads");
        }
        for d in 0..4 {
            let rows = [queries, keys, keys].map(|starts| (starts[d], starts[d + 1] - starts[d]));
            let [q, k, _] = rows;
            if q.1 == 0 {
                assert!(together[2].data()[k.0 * 10..(k.0 + k.1) * 10].iter().all(|&g| g == 0.0));
                continue;
            }
            let mut tape = Tape::new();
            let vars = [0, 1, 2].map(|i| tape.leaf(slice(&inputs[i], rows[i].0, rows[i].1)));
            let y = attention(&mut tape, &vars[0], &vars[1], &vars[2], &Shape::causal(6, 2));
            let grads = tape.backward(&y, slice(&dy, q.0, q.1)).unwrap();
            let found = vars.iter().map(|v| grads.get(v).unwrap());
            for (i, alone) in std::iter::once(y.tensor()).chain(found).enumerate() {
                let (at, n) = if i < 2 { q } else { k };
                assert_eq!(alone.data(), slice(&together[i], at, n).data(), "document {d}");
            }
        }
    }

    #[test]
    fn a_document_gets_what_it_gets_alone_bit_by_bit() {
        documents_are_apart([0, 1, 14, 31, 33]);
        documents_are_apart([0, 0, 4, 5, 7]);
    }
}
