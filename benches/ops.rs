//! Speed of every op at the paper's sizes, where there is a GPU on it, else in the Host code on one core.
//!
//! `cargo bench --bench ops [-- FILTER]` walks the bench cases of `twnm::ops::cases()`, forward alone and forward
//! with backward, through criterion. On the host it then prints one line per case: GFLOP/s, the share of the FMA peak of
//! this core (measured here by a loop that touches registers only) and a hash of output and gradients, so that
//! two builds can be compared; on a GPU `twnm bench kernels` is for that, with the GPU's own clock. A pass with backward
//! counts three times the forward's operations, attention three and a half times (it forms the probabilities again).

use criterion::{Criterion, Throughput};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};
use twnm::check::{Case, Place, Prepared, parity};
use twnm::device::product::{Matrix, Numbers, Stored, Threads, multiply};
use twnm::device::simd::{Isa, multiply_in_registers};
use twnm::device::tile::{Extent, Start};
use twnm::device::{Device, cuda};

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
    const STEPS: usize = 1 << 18;
    best_rate(multiply_in_registers(1), 20, || {
        black_box(multiply_in_registers(STEPS));
    }) * STEPS as f64
}

/// The GPU if one can be used, in f32.
fn place() -> Place {
    let (gpu, reason) = cuda::auto();
    println!("{reason}");
    let device = gpu.and_then(|gpu| Device::parse(&format!("cuda:{}", gpu.ordinal)).ok()).unwrap_or(Device::Host);
    Place { device, ..Place::HOST }
}

fn wait(place: Place) {
    place.device.synchronize().unwrap_or_else(|error| panic!("{error}"));
}

fn through_criterion(criterion: &mut Criterion, case: &Case, place: Place) {
    let prepared = case.prepare(place, 0);
    let mut group = criterion.benchmark_group(case.label());
    group.throughput(rate(case.flops, prepared.bytes()[0]));
    group.bench_function("forward", |b| {
        b.iter(|| {
            black_box(prepared.forward());
            wait(place);
        });
    });
    if case.is_differentiable() {
        group.throughput(rate(case.flops_with_backward(), prepared.bytes()[1]));
        group.bench_function("forward and backward", |b| {
            b.iter(|| {
                black_box(prepared.forward_backward());
                wait(place);
            });
        });
    }
    group.finish();
}

/// Operations where they are the limit, bytes where memory is: fewer than ten operations per byte are few everywhere.
fn rate(flops: f64, bytes: f64) -> Throughput {
    if flops < 10.0 * bytes { Throughput::Bytes(bytes as u64) } else { Throughput::Elements(flops as u64) }
}

/// Rates and a hash beside the peak of one core.
fn print_host(cases: &[Case]) {
    let peak = peak_flops();
    println!("\n{:?}, FMA peak of one core {:.1} GFLOP/s", Isa::current(), peak / 1e9);
    println!("{:58} {:>9} {:>6} {:>9} {:>6}  hash", "case", "forward", "peak", "+backward", "peak");
    for case in cases {
        let prepared = case.prepare(Place::HOST, 0);
        let ahead = best_rate(case.flops, 30, || drop(black_box(Prepared::forward(&prepared))));
        let all = best_rate(case.flops_with_backward(), 30, || drop(black_box(Prepared::forward_backward(&prepared))));
        println!(
            "{:58} {:>9.1} {:>5.0}% {:>9.1} {:>5.0}%  {}",
            case.label(),
            ahead / 1e9,
            100.0 * ahead / peak,
            all / 1e9,
            100.0 * all / peak,
            parity(case).unwrap_or_else(|e| panic!("{e}")).hash()
        );
    }
}

/// What decoding consists of: one row times the weights of a linear layer, on one thread and on all, beside the speed at
/// which all threads read as many bytes.
fn print_decode_product() {
    const ROWS: usize = 7000;
    const WIDTH: usize = 896;
    let (x, wide) = (vec![0.5f32; WIDTH], vec![0.25f32; ROWS * WIDTH]);
    let narrow = vec![half::bf16::from_f32(0.25); ROWS * WIDTH];
    let threads = rayon::current_num_threads();
    println!("\n1 x {WIDTH} times {ROWS} x {WIDTH}, {threads} threads: GB/s of weights");
    for (name, data, bytes) in [("f32", Numbers::F32(&wide), 4), ("bf16", Numbers::Bf16(&narrow), 2)] {
        let mut y = vec![0.0f32; ROWS];
        let read = (ROWS * WIDTH * bytes) as f64;
        let mut rate = |threads: Threads| {
            best_rate(read, 100, || {
                let a = Matrix { data: &x, row: WIDTH, column: 1 };
                let b = Stored { data, row: 1, column: WIDTH };
                multiply(threads, Extent { m: 1, n: ROWS, k: WIDTH }, a, b, &mut y, Start::Zero);
                black_box(&mut y);
            })
        };
        let (one, all) = (rate(Threads::One), rate(Threads::All));
        println!("{name:5} one thread {:6.1}, all {:6.1}: {:.2} times", one / 1e9, all / 1e9, all / one);
    }
    let (from, mut to) = (wide, vec![0.0f32; ROWS * WIDTH]);
    let part = from.len().div_ceil(threads);
    let copied = best_rate((8 * from.len()) as f64, 100, || {
        to.par_chunks_mut(part).zip(from.par_chunks(part)).for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&mut to);
    });
    println!("a copy by all threads reads and writes {:.1} GB/s", copied / 1e9);
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    let place = place();
    let is_host = place.device == Device::Host;
    let cases = twnm::ops::cases().into_iter().filter(|c| c.is_bench && !(is_host && c.is_for_gpus()));
    let cases: Vec<Case> = cases.collect();
    cases.iter().for_each(|case| through_criterion(&mut criterion, case, place));
    if is_host {
        print_decode_product();
        print_host(&cases);
    }
    criterion.final_summary();
}
