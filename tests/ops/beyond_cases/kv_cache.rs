//! Generation through a cache gives what attention over the whole sequence gives, whatever came in which pieces.

use super::Coverage;
use libtest_mimic::{Failed, Trial};
use std::sync::Arc;
use twnm::check::relative_l2;
use twnm::device::product::Threads;
use twnm::device::{Device, emu};
use twnm::kernels;
use twnm::ops::attention::{Shape, attention};
use twnm::ops::kv_cache::{CacheShape, KvCache};
use twnm::rng::Rng;
use twnm::tape::{Tape, Var};
use twnm::tensor::{DType, Tensor};

/// Relative L2 between two ways to the same numbers in f32.
const LIMIT: f64 = 1e-6;
/// What bf16 probabilities and outputs may lose: three roundings of half a unit in the last place of 8 bits.
const LIMIT_BF16: f64 = 3.0 / 512.0;

pub fn trials(coverage: &Arc<Coverage>) -> Vec<Trial> {
    let emulated = |name: &str, run: fn(&Coverage)| {
        let coverage = coverage.clone();
        Trial::test(format!("kv_cache: {name}"), move || {
            run(&coverage);
            Ok(())
        })
    };
    vec![
        Trial::test("kv_cache: host", || {
            on_every_shape(Device::Host, DType::F32, &[1, 2, 64, 65, 97]);
            Ok(())
        }),
        Trial::test("kv_cache: threads and batches", threads_and_batches),
        Trial::test("kv_cache: sequences that begin as others", begun),
        Trial::test("kv_cache: what is refused", refusals),
        emulated("emu f32", |coverage| in_the_emulator(coverage, DType::F32)),
        emulated("emu bf16", |coverage| in_the_emulator(coverage, DType::Bf16)),
    ]
}

/// Under one schedule: the cases of the ops compare all of them bit by bit.
fn in_the_emulator(coverage: &Coverage, dtype: DType) {
    let run = || on_every_shape(Device::Emu, dtype, &[1, 13, 31, 65, 97]);
    let ((), launched) = kernels::watched(|| emu::with_schedule(emu::Schedule::Random(1), run));
    coverage.add(&launched);
}

/// Batches of 1 to 5 sequences of these lengths, with grouped and with equal heads, in pieces of one and of many
/// tokens.
fn on_every_shape(device: Device, dtype: DType, lengths: &[usize]) {
    for (heads_q, heads_kv, width) in [(7, 1, 24), (4, 4, 16), (14, 2, 64)] {
        for batch in 1..=lengths.len().min(5) {
            let lengths = &lengths[lengths.len() - batch..];
            let story = Story { heads_q, heads_kv, width, device, dtype, lengths: lengths.to_vec() };
            story.check(&[1]);
            story.check(&[17, 1, 1, 40]);
        }
    }
}

/// Sequences of ragged lengths, and how they are attended to.
struct Story {
    heads_q: usize,
    heads_kv: usize,
    width: usize,
    device: Device,
    dtype: DType,
    lengths: Vec<usize>,
}

impl Story {
    /// Numbers of one sequence, [1,length,heads D].
    fn draw(&self, purpose: &str, b: usize, heads: usize) -> Tensor {
        let mut rng = Rng::new(3, purpose, b as u64);
        let numbers: Vec<f32> = (0..self.lengths[b] * heads * self.width).map(|_| rng.normal() as f32).collect();
        Tensor::from_slice(&[1, self.lengths[b], heads * self.width], &numbers)
    }
    fn put(&self, tensor: Tensor) -> Var {
        Var::constant(if self.dtype == DType::Bf16 { tensor.to_bf16(self.device) } else { tensor.to(self.device) })
    }
    /// Positions `from[b]..` of every sequence, padded with NaN at the end to `rows`.
    fn piece(&self, sequences: &[Tensor], from: &[usize], counts: &[usize], rows: usize) -> Var {
        let row = sequences[0].shape()[2];
        let mut numbers = vec![f32::NAN; from.len() * rows * row];
        for (b, to) in numbers.chunks_exact_mut(rows * row).enumerate() {
            let all = sequences[b].data();
            to[..counts[b] * row].copy_from_slice(&all[from[b] * row..(from[b] + counts[b]) * row]);
        }
        self.put(Tensor::from_slice(&[from.len(), rows, row], &numbers))
    }
    /// Causal attention over the exact length in one go.
    fn whole(&self, b: usize) -> Tensor {
        let [q, k, v] = [("q", self.heads_q), ("k", self.heads_kv), ("v", self.heads_kv)];
        let [q, k, v] = [q, k, v].map(|(purpose, heads)| self.put(self.draw(purpose, b, heads)));
        let mut tape = Tape::without_gradients();
        attention(&mut tape, &q, &k, &v, &Shape::causal(self.heads_q, self.heads_kv)).tensor().to_host_f32()
    }
    /// The same in pieces of these sizes, over and over, through a cache; [length, Hq D] of every sequence.
    fn in_pieces(&self, sizes: &[usize], threads: Threads) -> Vec<Vec<f32>> {
        let batch = self.lengths.len();
        let capacity = self.lengths.iter().max().unwrap() + 7;
        let (heads_kv, width, row) = (self.heads_kv, self.width, self.heads_q * self.width);
        let mut cache =
            KvCache::new(CacheShape { layers: 1, batch, capacity, heads_kv, width }, self.device, self.dtype);
        let tape = Tape::without_gradients().with_products(threads);
        let [q, k, v] = [("q", self.heads_q), ("k", heads_kv), ("v", heads_kv)]
            .map(|(purpose, heads)| (0..batch).map(|b| self.draw(purpose, b, heads)).collect::<Vec<Tensor>>());
        let mut out = vec![Vec::new(); batch];
        for &rows in sizes.iter().cycle() {
            let from = cache.lengths().to_vec();
            let counts: Vec<usize> = self.lengths.iter().zip(&from).map(|(all, done)| (all - done).min(rows)).collect();
            if counts.iter().all(|&n| n == 0) {
                return out;
            }
            if counts.iter().all(|&n| n == rows) {
                cache.advance(rows).unwrap();
            } else {
                cache.advance_ragged(rows, &counts).unwrap();
            }
            let piece = |sequences: &[Tensor]| self.piece(sequences, &from, &counts, rows);
            cache.append(&tape, 0, &piece(&k), &piece(&v));
            let y = cache.attend(&tape, 0, &piece(&q), self.heads_q).tensor().to_host_f32();
            for (b, y) in y.data().chunks_exact(rows * row).enumerate() {
                out[b].extend(&y[..counts[b] * row]);
            }
        }
        unreachable!("sizes are not empty")
    }
    fn check(&self, sizes: &[usize]) {
        let limit = if self.dtype == DType::Bf16 { LIMIT_BF16 } else { LIMIT };
        let wide = |values: &[f32]| values.iter().map(|&v| v as f64).collect::<Vec<f64>>();
        for (b, pieces) in self.in_pieces(sizes, Threads::One).iter().enumerate() {
            let error = relative_l2(&wide(pieces), &wide(self.whole(b).data()));
            let Story { heads_q, heads_kv, width, device, lengths, .. } = self;
            assert!(
                error <= limit,
                "{device:?} heads {heads_q}/{heads_kv} D {width}, lengths {lengths:?} in pieces of {sizes:?}: \
                 sequence {b} is off by {error:.1e}"
            );
        }
    }
}

/// A decode step has the same bytes on any number of threads, and for a sequence alone and in a batch.
fn threads_and_batches() -> Result<(), Failed> {
    let story = |lengths: &[usize]| Story {
        heads_q: 14,
        heads_kv: 2,
        width: 64,
        device: Device::Host,
        dtype: DType::F32,
        lengths: lengths.to_vec(),
    };
    let lengths = [700, 1, 256, 513];
    let bits = |numbers: &[Vec<f32>]| numbers.concat().iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| story(&lengths).in_pieces(&[699, 1], Threads::All))
    };
    let alone = story(&lengths).in_pieces(&[699, 1], Threads::One);
    for threads in [1, 2, 7] {
        assert_eq!(bits(&on(threads)), bits(&alone), "{threads} threads");
    }
    // Numbers are drawn by place in the batch: the first sequence is the one that has the same alone.
    assert_eq!(bits(&story(&lengths[..1]).in_pieces(&[699, 1], Threads::One)), bits(&alone[..1]));
    Ok(())
}

/// A cache for some of the sequences that begin as those of two others: what each attends to stays its own.
fn begun() -> Result<(), Failed> {
    let tape = Tape::new();
    let prompts = |lengths: &[usize], capacity: usize| {
        let batch = lengths.len();
        let shape = CacheShape { layers: 2, batch, capacity, heads_kv: 1, width: 4 };
        let mut cache = KvCache::new(shape, Device::Host, DType::F32);
        let rows = *lengths.iter().max().unwrap();
        cache.advance_ragged(rows, lengths).unwrap();
        for layer in 0..2 {
            let numbers = |sign: f32| {
                let number = |i: usize| sign * ((i * 7 + layer + rows) % 23) as f32;
                Var::constant(Tensor::from_slice(
                    &[batch, rows, 4],
                    &(0..batch * rows * 4).map(number).collect::<Vec<f32>>(),
                ))
            };
            cache.append(&tape, layer, &numbers(0.01), &numbers(-1.0));
        }
        cache
    };
    // What each sequence gives when the same row is added to all.
    let attended = |mut cache: KvCache| -> Vec<Vec<f32>> {
        let batch = cache.shape().batch;
        cache.advance(1).unwrap();
        let row = |width: usize| Var::constant(Tensor::from_slice(&[batch, 1, width], &vec![0.3; batch * width]));
        let mut found = vec![Vec::new(); batch];
        for layer in 0..2 {
            cache.append(&tape, layer, &row(4), &row(4));
            let out = cache.attend(&tape, layer, &row(8), 2);
            found.iter_mut().enumerate().for_each(|(b, all)| all.extend(out.tensor().rows(b, 1).data()));
        }
        found
    };
    let sources = || [prompts(&[5, 3, 4], 9), prompts(&[6, 1], 7)];
    let [a, b] = sources();
    let expected: Vec<Vec<f32>> = [attended(a), attended(b)].concat();
    assert!(expected.iter().enumerate().all(|(i, x)| expected[..i].iter().all(|y| x != y)), "all differ");
    let [a, b] = sources();
    for (times, some) in [(1, 0..5), (3, 0..15), (1, 2..4), (3, 4..13), (2, 9..10)] {
        let cache = KvCache::begun(&[&a, &b], times, some.clone(), 12);
        assert_eq!(cache.shape().capacity, 12);
        for (found, i) in attended(cache).iter().zip(some) {
            assert_eq!(*found, expected[i / times], "sequence {i}, {times} of each");
        }
    }
    Ok(())
}

fn refusals() -> Result<(), Failed> {
    let shape = CacheShape { layers: 2, batch: 2, capacity: 8, heads_kv: 1, width: 4 };
    let rows = |batch: usize, n: usize, first: f32| {
        let numbers: Vec<f32> = (0..batch * n * 4).map(|i| first + i as f32).collect();
        Var::constant(Tensor::from_slice(&[batch, n, 4], &numbers))
    };
    let tape = Tape::new();
    let mut cache = KvCache::new(shape, Device::Host, DType::F32);
    assert_eq!(shape.bytes(DType::F32), 2 * 2 * 2 * 8 * 4 * 4);
    cache.advance_ragged(5, &[5, 3]).unwrap();
    cache.append(&tape, 1, &rows(2, 5, 0.0), &rows(2, 5, 9.0));
    let message = cache.advance(4).unwrap_err().to_string();
    assert!(message.contains("sequence 0 has 5 of 8 positions and needs 4 more"), "{message}");
    assert_eq!(cache.lengths(), [5, 3]);
    // A group of answers continues one prompt, and starts over from it.
    let mut group = cache.expand(3);
    assert_eq!(group.lengths(), [5, 5, 5, 3, 3, 3]);
    group.advance(1).unwrap();
    group.append(&tape, 1, &rows(6, 1, 50.0), &rows(6, 1, 60.0));
    let one = |cache: &KvCache, b: usize, q: &Var| cache.attend(&tape, 1, q, 2).tensor().rows(b, 1).data().to_vec();
    let q = Var::constant(Tensor::from_slice(&[6, 1, 8], &[0.01; 48]));
    let first = one(&group, 4, &q);
    assert!(first.iter().all(|v| v.is_finite()));
    group.truncate(&[5, 5, 5, 3, 3, 3]);
    group.advance(1).unwrap();
    group.append(&tape, 1, &rows(6, 1, 50.0), &rows(6, 1, 60.0));
    assert_eq!(one(&group, 4, &q), first);
    let refused = |what: &str, run: &mut dyn FnMut()| {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).expect_err(what);
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string());
        assert!(message.contains(what), "{message}");
    };
    let mut recording = Tape::new();
    let tracked = recording.leaf(rows(6, 1, 0.0).tensor().clone());
    refused("a gradient would be lost", &mut || group.append(&recording, 0, &tracked, &tracked));
    refused("wrong shape", &mut || group.append(&tape, 0, &rows(6, 2, 0.0), &rows(6, 2, 0.0)));
    refused("queries for the rows reserved last", &mut || {
        group.attend(&tape, 1, &Var::constant(Tensor::zeros(&[6, 3, 8])), 2);
    });
    refused("truncate", &mut || group.truncate(&[6; 6]));
    Ok(())
}
