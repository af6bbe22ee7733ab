//! Speed of every op's Host code on one core, at the paper's sizes.
//!
//! `cargo bench --bench ops [-- FILTER]` walks the bench cases of `twnm::ops::cases()`, forward alone and forward
//! with backward, through criterion, and then prints one line per case: GFLOP/s, the share of the FMA peak of
//! this core (measured here by a loop that touches registers only) and a hash of output and gradients, so that
//! two builds can be compared. A pass with backward counts three times the forward's operations, attention
//! three and a half times (it forms the probabilities again).

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::time::{Duration, Instant};
use twnm::check::{Case, parity};
use twnm::device::simd::{Isa, Kernel, Simd, dispatch};

/// Fused multiply-adds in registers: 12 independent chains hide the latency.
struct Multiplications(usize);

impl Kernel for Multiplications {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (factor, mut sums) = (simd.splat(black_box(0.999)), [simd.splat(black_box(1.0)); 12]);
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.fma(*sum, factor, factor);
            }
        }
        simd.sum(sums.into_iter().reduce(|a, b| simd.add(a, b)).expect("12 sums"))
    }
}

/// Best rate of several short runs, in operations per second: others share the machine.
fn best_rate(operations: f64, runs: usize, mut work: impl FnMut()) -> f64 {
    work();
    let mut shortest = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        work();
        shortest = shortest.min(start.elapsed().as_secs_f64());
    }
    operations / shortest
}

fn peak_flops() -> f64 {
    let lanes = match Isa::current() {
        Isa::Avx512 => 16.0,
        Isa::Avx2 | Isa::Portable => 8.0,
    };
    const STEPS: usize = 1 << 18;
    best_rate(2.0 * 12.0 * lanes * STEPS as f64, 20, || {
        black_box(dispatch(Multiplications(STEPS)));
    })
}

/// Operations of a forward and a backward pass.
fn with_backward(case: &Case) -> f64 {
    case.flops * if case.op.contains("attention") { 3.5 } else { 3.0 }
}

fn result_hash(case: &Case) -> String {
    let computed = parity(case).unwrap_or_else(|e| panic!("{e}")).computed;
    let mut hasher = blake3::Hasher::new();
    for value in computed.iter().flat_map(|c| &c.values) {
        hasher.update(&(*value as f32).to_le_bytes());
    }
    hasher.finalize().to_hex()[..12].to_string()
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    let cases: Vec<Case> = twnm::ops::cases().into_iter().filter(|c| c.is_bench).collect();
    for case in &cases {
        let mut group = criterion.benchmark_group(case.label());
        let (forward, both) = (case.prepared_forward(), case.prepared());
        group.throughput(Throughput::Elements(case.flops as u64));
        group.bench_function("forward", |b| b.iter(|| black_box(forward())));
        group.throughput(Throughput::Elements(with_backward(case) as u64));
        group.bench_function("forward and backward", |b| b.iter(|| black_box(both())));
        group.finish();
    }
    let peak = peak_flops();
    println!("\n{:?}, FMA peak of one core {:.1} GFLOP/s", Isa::current(), peak / 1e9);
    println!("{:58} {:>9} {:>6} {:>9} {:>6}  hash", "case", "forward", "peak", "+backward", "peak");
    for case in &cases {
        let (forward, both) = (case.prepared_forward(), case.prepared());
        let ahead = best_rate(case.flops, 30, || {
            black_box(forward());
        });
        let all = best_rate(with_backward(case), 30, || {
            black_box(both());
        });
        println!(
            "{:58} {:>9.1} {:>5.0}% {:>9.1} {:>5.0}%  {}",
            case.label(),
            ahead / 1e9,
            100.0 * ahead / peak,
            all / 1e9,
            100.0 * all / peak,
            result_hash(case)
        );
    }
    criterion.final_summary();
}
