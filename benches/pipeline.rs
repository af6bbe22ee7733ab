//! The simulator: images per second of every path, and what share of this core's FMA peak the work is.
//!
//! Floating-point operations are counted by the algorithm, not measured: per image 25 for its geometry and 64 for
//! spreading it over 8 points of 4 channels (direct: 82 taps, 5 to make each and 8 to add it to 4 channels);
//! per response 6 transforms of 5 n log2 n.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Instant;
use twnm::device::simd::Isa;
use twnm::sim::image_source::{heard_images, impulse_responses, impulse_responses_with};
use twnm::sim::room::{Extent, Filter, Room};

fn room(extent: Extent, bands: bool, filter: Filter) -> Room {
    let mut room = Room::new([6.0, 5.0, 3.0], [0.2; 6], 16_000, extent);
    room.receiver_m = [2.7, 2.2, 1.7];
    room.sources_m = vec![[4.1, 1.3, 1.2]];
    room.filter = filter;
    if bands {
        room.bands_hz = (0..7).map(|k| 125.0 * 2f64.powi(k)).collect();
        room.absorption = [0.1, 0.15, 0.2, 0.2, 0.25, 0.3, 0.35].map(|a| [a; 6]).to_vec();
    }
    room
}

/// Eight independent chains of vector FMAs.
#[inline(always)]
fn chains(n: usize) -> [[f32; 16]; 8] {
    let mut x = [[1.0f32; 16]; 8];
    let (a, b) = (black_box(0.999_f32), black_box(1e-3_f32));
    for _ in 0..n {
        for chain in &mut x {
            for lane in chain.iter_mut() {
                *lane = lane.mul_add(a, b);
            }
        }
    }
    x
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn chains_avx512(n: usize) -> [[f32; 16]; 8] {
    chains(n)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn chains_avx2(n: usize) -> [[f32; 16]; 8] {
    chains(n)
}

/// Operations per second of this core.
fn fma_peak() -> f64 {
    let n = 1_000_000;
    let start = Instant::now();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: asked just now.
        black_box(unsafe { chains_avx512(n) });
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: asked just now.
        black_box(unsafe { chains_avx2(n) });
    } else {
        black_box(chains(n));
    }
    #[cfg(not(target_arch = "x86_64"))]
    black_box(chains(n));
    2.0 * 128.0 * n as f64 / start.elapsed().as_secs_f64()
}

fn operations(room: &Room, images: usize) -> f64 {
    let samples = impulse_responses(room).unwrap().samples(0) as f64;
    let gridded = room.filter == Filter::Moving && images > 2000;
    let per_image = if gridded { 25.0 + 64.0 } else { 25.0 + 82.0 * 13.0 };
    let transforms = if gridded { 6.0 * 5.0 * samples * samples.log2() } else { 0.0 };
    images as f64 * per_image + transforms
}

fn responses(c: &mut Criterion) {
    let peak = fma_peak();
    let cases = [
        ("order 6, direct", room(Extent::MaxOrder(6), false, Filter::Moving)),
        ("order 17, grid", room(Extent::MaxOrder(17), false, Filter::Moving)),
        ("order 17, direct (fixed)", room(Extent::MaxOrder(17), false, Filter::Fixed)),
        ("order 30, grid", room(Extent::MaxOrder(30), false, Filter::Moving)),
        ("0.5155 s, grid", room(Extent::DurationS(0.5155), false, Filter::Moving)),
        ("order 17, 7 bands", room(Extent::MaxOrder(17), true, Filter::Moving)),
    ];
    let mut group = c.benchmark_group("impulse response");
    for (name, room) in &cases {
        let images = heard_images(room, 0).unwrap();
        group.throughput(Throughput::Elements(images as u64));
        for isa in Isa::available() {
            let id = BenchmarkId::new(*name, format!("{isa:?}"));
            group.bench_with_input(id, room, |b, room| b.iter(|| impulse_responses_with(room, isa).unwrap()));
        }
        if room.bands_hz.is_empty() {
            let start = Instant::now();
            (0..20).for_each(|_| drop(black_box(impulse_responses(room).unwrap())));
            let rate = 20.0 * operations(room, images) / start.elapsed().as_secs_f64();
            println!("{name}: {:.1} GFLOP/s, {:.0} % of the FMA peak", rate / 1e9, 100.0 * rate / peak);
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = responses
}
criterion_main!(benches);
