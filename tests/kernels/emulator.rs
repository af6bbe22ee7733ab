//! The emulator is held to its promises: every seeded bug of `bugs.cu` must show, its right twin must
//! not, and every helper of `common.cuh` and `ptx.cuh` must agree with plain loops, under all three schedules.

use std::ffi::{c_char, c_void};
use twnm::device::emu::{EmuEntry, RawLaunch, launch_raw};

const FORWARD: u32 = 0;
const RANDOM: u32 = 2;
/// What stands behind the end of a buffer, as behind every buffer of the device.
const RED_ZONE: f32 = -7.0;

macro_rules! kernels {
    ($($entry:ident)*) => {
        unsafe extern "C" {
            $(fn $entry(l: *const RawLaunch, args: *mut *mut c_void, message: *mut c_char, bytes: u64) -> i32;)*
        }
    };
}

kernels! {
    twnm_emu_bug_tile_barrier twnm_emu_right_tile_barrier twnm_emu_bug_broadcast twnm_emu_right_broadcast
    twnm_emu_bug_warp_in_step twnm_emu_right_warp_in_step twnm_emu_bug_weak_wait twnm_emu_bug_early_copy
    twnm_emu_right_copy twnm_emu_bug_uninitialised twnm_emu_right_uninitialised twnm_emu_bug_block_order
    twnm_emu_right_block_order twnm_emu_bug_divergent_barrier twnm_emu_bug_two_barriers
    twnm_emu_bug_return_before_barrier twnm_emu_right_barrier twnm_emu_bug_half_warp_shuffle
    twnm_emu_bug_two_shuffles twnm_emu_bug_partial_mask twnm_emu_right_shuffle twnm_emu_bug_shared_read
    twnm_emu_bug_shared_write twnm_emu_right_shared twnm_emu_bug_shared_pointer twnm_emu_bug_dynamic_pointer
    twnm_emu_bug_dynamic_index twnm_emu_bug_global_write twnm_emu_right_global_write twnm_emu_bug_stack
    twnm_emu_bug_misaligned twnm_emu_bug_ldmatrix_address
    twnm_emu_help_shuffles twnm_emu_help_block_32 twnm_emu_help_block_64 twnm_emu_help_block_128
    twnm_emu_help_block_256 twnm_emu_help_block_512 twnm_emu_help_block_1024 twnm_emu_help_mma twnm_emu_help_mma_half
    twnm_emu_help_ldmatrix twnm_emu_help_ldmatrix_elements twnm_emu_help_bf16 twnm_emu_help_pack_down
    twnm_emu_help_pack_up twnm_emu_help_copy_pairs twnm_emu_help_copy_valid twnm_emu_help_both_shared
    twnm_emu_help_indices
}

/// Launches with one-dimensional grid and block; the arguments are references to what the kernel takes by value.
macro_rules! launch {
    ($entry:ident, $grid:expr, $block:expr, shared $shared:expr, schedule $schedule:expr, seed $seed:expr;
     $($argument:expr),*) => {
        // SAFETY: the arguments below are those of the kernel, and its buffers outlive the launch.
        unsafe { launch_raw(
            $entry,
            &RawLaunch {
                grid: [$grid, 1, 1],
                block: [$block, 1, 1],
                shared_bytes: $shared,
                schedule: $schedule,
                seed: $seed,
            },
            &mut [$(&raw const $argument as *mut c_void),*],
        ) }
    };
}

/// 1, 2, 3 ..: exact in f32, and every value tells where it came from.
fn counting(n: usize) -> Vec<f32> {
    (1..=n).map(|i| i as f32).collect()
}

/// Values in [-1, 1) that need all their bits.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = twnm::rng::Rng::new(seed, "emulator test", 0);
    (0..n).map(|_| rng.range(-1.0, 1.0) as f32).collect()
}

fn round_bf16(values: &[f32]) -> Vec<half::bf16> {
    values.iter().map(|&v| half::bf16::from_f32(v)).collect()
}

/// A kernel that takes (y, x, n) or the beginning of that.
#[derive(Clone, Copy)]
struct Shape {
    grid: u32,
    block: u32,
    shared: u32,
    n: i32,
    outputs: usize,
    /// Without it the kernel takes (y, n).
    takes_x: bool,
}

impl Shape {
    fn new(grid: u32, block: u32, n: i32, outputs: usize) -> Shape {
        Shape { grid, block, shared: 0, n, outputs, takes_x: true }
    }

    fn run(self, entry: EmuEntry, schedule: u32, seed: u64) -> Result<Vec<f32>, String> {
        let (mut output, input) = (vec![RED_ZONE; self.outputs], counting(4096));
        let (y, x, n) = (output.as_mut_ptr(), input.as_ptr(), self.n);
        if self.takes_x {
            launch!(entry, self.grid, self.block, shared self.shared, schedule schedule, seed seed; y, x, n)?;
        } else {
            launch!(entry, self.grid, self.block, shared self.shared, schedule schedule, seed seed; y, n)?;
        }
        Ok(output)
    }
}

/// The twin is right under every schedule and many seeds; the bug is wrong under each schedule in `seen_by`.
fn wrong_results(shape: Shape, bug: EmuEntry, right: EmuEntry, seen_by: &[u32], expected: impl Fn(usize) -> f32) {
    let expected: Vec<f32> = (0..shape.outputs).map(expected).collect();
    for schedule in 0..3 {
        for seed in 0..if schedule == RANDOM { 20 } else { 1 } {
            assert_eq!(shape.run(right, schedule, seed).unwrap(), expected, "schedule {schedule}, seed {seed}");
        }
        let found = shape.run(bug, schedule, 1).unwrap();
        assert_eq!(found != expected, seen_by.contains(&schedule), "schedule {schedule}: {found:?}");
    }
}

/// Each schedule ends in a fault that names kernel, block, thread and the given words, and the next launch works.
fn fault(name: &str, shape: Shape, bug: EmuEntry, words: &str) {
    for schedule in 0..3 {
        let message = shape.run(bug, schedule, 3).unwrap_err();
        assert!(message.contains(words), "{message}");
        assert!(message.starts_with(&format!("kernel {name}, block (0,0,0), thread (")), "{message}");
        let next = Shape::new(1, 64, 1, 64).run(twnm_emu_right_tile_barrier, schedule, 3).unwrap();
        assert_eq!(next[0], 64.0);
    }
}

#[test]
fn races_show_in_some_schedule() {
    let row = Shape::new(1, 64, 6, 6 * 64);
    let reversed = |i: usize| (i / 64 * 64 + 64 - i % 64) as f32;
    wrong_results(row, twnm_emu_bug_tile_barrier, twnm_emu_right_tile_barrier, &[0, 1, 2], reversed);
    // With one warp per block the order of lanes must show it, with four that of warps would do.
    for block in [32, 128] {
        let blocks = Shape::new(4, block, 0, 4 * block as usize);
        let first = |i: usize| (i / block as usize + 1) as f32;
        wrong_results(blocks, twnm_emu_bug_broadcast, twnm_emu_right_broadcast, &[1, 2], first);
    }
    let warp = Shape::new(1, 32, 0, 32);
    let mirrored = |i: usize| (32 - i) as f32;
    wrong_results(warp, twnm_emu_bug_warp_in_step, twnm_emu_right_warp_in_step, &[0, 1, 2], mirrored);
    let chain = Shape::new(8, 32, 0, 8);
    let triangular = |b: usize| ((b + 1) * (b + 2) / 2) as f32;
    wrong_results(chain, twnm_emu_bug_block_order, twnm_emu_right_block_order, &[1, 2], triangular);
}

#[test]
fn asynchronous_copies_come_as_late_and_as_early_as_they_may() {
    let rows = Shape::new(1, 32, 6, 6 * 128);
    let reversed = |i: usize| (i / 128 * 128 + 128 - i % 128) as f32;
    wrong_results(rows, twnm_emu_bug_weak_wait, twnm_emu_right_copy, &[0, 1, 2], reversed);
    wrong_results(rows, twnm_emu_bug_early_copy, twnm_emu_right_copy, &[2], reversed);
}

#[test]
fn uninitialised_shared_memory_is_nan() {
    let shape = Shape { takes_x: false, ..Shape::new(4, 64, 0, 4) };
    wrong_results(shape, twnm_emu_bug_uninitialised, twnm_emu_right_uninitialised, &[0, 1, 2], |_| 64.0);
    let found = shape.run(twnm_emu_bug_uninitialised, FORWARD, 0).unwrap();
    assert!(found[0] == 64.0 && found[1..].iter().all(|v| v.is_nan()), "{found:?}");
}

#[test]
fn divergence_is_a_fault() {
    let shape = Shape::new(1, 64, 64, 64);
    let cases: [(&str, EmuEntry, &str); 6] = [
        ("bug_divergent_barrier", twnm_emu_bug_divergent_barrier, "another __syncthreads"),
        ("bug_two_barriers", twnm_emu_bug_two_barriers, "another __syncthreads"),
        ("bug_return_before_barrier", twnm_emu_bug_return_before_barrier, "for the whole block, but thread (48,0,0)"),
        ("bug_half_warp_shuffle", twnm_emu_bug_half_warp_shuffle, "for its whole warp, but thread ("),
        ("bug_two_shuffles", twnm_emu_bug_two_shuffles, "while another lane of its warp waits in __shfl_xor_sync"),
        ("bug_partial_mask", twnm_emu_bug_partial_mask, "mask 0x0000ffff"),
    ];
    for (name, bug, words) in cases {
        fault(name, shape, bug, words);
    }
    for schedule in 0..3 {
        assert_eq!(shape.run(twnm_emu_right_barrier, schedule, 0).unwrap(), counting(64));
        let swapped = shape.run(twnm_emu_right_shuffle, schedule, 0).unwrap();
        assert!(swapped.iter().enumerate().all(|(i, &v)| v == ((i ^ 1) + 1) as f32));
    }
}

#[test]
fn shared_memory_is_guarded() {
    let shape = Shape::new(1, 64, 64, 64);
    fault("bug_shared_read", shape, twnm_emu_bug_shared_read, "index 64 of shared array `tile`");
    fault("bug_shared_write", shape, twnm_emu_bug_shared_write, "index 64 of shared array `tile`");
    let dynamic = Shape { shared: 256, ..shape };
    fault("bug_dynamic_index", dynamic, twnm_emu_bug_dynamic_index, "index 64 of shared array `tile`");
    let ldmatrix = Shape::new(1, 32, 0, 32);
    fault("bug_ldmatrix_address", ldmatrix, twnm_emu_bug_ldmatrix_address, "not inside one shared array");
    fault("bug_misaligned", shape, twnm_emu_bug_misaligned, "is not a multiple");
    for schedule in 0..3 {
        let shifted = shape.run(twnm_emu_right_shared, schedule, 0).unwrap();
        assert!(shifted.iter().enumerate().all(|(i, &v)| v == if i < 63 { (i + 2) as f32 } else { 0.0 }));
    }
}

/// What only canaries see; AddressSanitizer, where it is on, ends the process at these instead.
#[test]
fn canaries_are_checked() {
    let shape = Shape::new(1, 64, 64, 64);
    fault("bug_shared_pointer", shape, twnm_emu_bug_shared_pointer, "wrote past the end of shared array `tile`");
    let dynamic = Shape { shared: 256, ..shape };
    fault("bug_dynamic_pointer", dynamic, twnm_emu_bug_dynamic_pointer, "wrote past the end of shared array `tile`");
    fault("bug_stack", shape, twnm_emu_bug_stack, "overflowed its stack");
}

#[test]
fn writes_past_a_buffer_land_in_its_red_zone() {
    let shape = Shape { takes_x: false, ..Shape::new(2, 64, 100, 128) };
    let right = shape.run(twnm_emu_right_global_write, FORWARD, 0).unwrap();
    assert!(right[..100].iter().all(|&v| v == 1.0) && right[100..].iter().all(|&v| v == RED_ZONE));
    let bug = shape.run(twnm_emu_bug_global_write, FORWARD, 0).unwrap();
    assert!(bug[100] == 1.0 && bug[101..].iter().all(|&v| v == RED_ZONE));
}

#[test]
fn impossible_launches_are_refused() {
    let y = std::ptr::null_mut::<i32>();
    for (grid, block, shared_bytes, words) in [
        ([1, 70_000, 1], [32, 1, 1], 0, "grid"),
        ([0, 1, 1], [32, 1, 1], 0, "grid"),
        ([1, 1, 1], [2048, 1, 1], 0, "block dimension"),
        ([1, 1, 1], [64, 32, 1], 0, "1024 threads"),
        ([1, 1, 1], [32, 1, 1], 102_400, "99 KiB"),
    ] {
        let launch = RawLaunch { grid, block, shared_bytes, schedule: FORWARD, seed: 0 };
        let mut args = [&raw const y as *mut c_void];
        let message = unsafe { launch_raw(twnm_emu_help_indices, &launch, &mut args) }.unwrap_err();
        assert!(message.starts_with("kernel help_indices: launch refused") && message.contains(words), "{message}");
    }
    // The whole warp of the two runs, and writes, before the other is refused.
    let (mut output, input) = (vec![0f32; 7 * 32], counting(48));
    let (y, x) = (output.as_mut_ptr(), input.as_ptr());
    let message = launch!(twnm_emu_help_shuffles, 1, 48, shared 0, schedule FORWARD, seed 0; y, x).unwrap_err();
    assert!(message.contains("multiple of 32"), "{message}");
}

#[test]
fn threads_know_where_they_are() {
    for schedule in 0..3 {
        let mut output = vec![-1i32; 2 * 3 * 4 * 5 * 6 * 7];
        let y = output.as_mut_ptr();
        let launch = RawLaunch { grid: [2, 3, 4], block: [5, 6, 7], shared_bytes: 0, schedule, seed: 1 };
        unsafe { launch_raw(twnm_emu_help_indices, &launch, &mut [&raw const y as *mut c_void]) }.unwrap();
        assert!(output.iter().enumerate().all(|(i, &v)| v == i as i32));
    }
}

#[test]
fn shuffles_and_reductions() {
    let input = noise(32, 1);
    let (mut sums, largest) = (input.clone(), input.iter().copied().fold(f32::MIN, f32::max));
    for offset in [16, 8, 4, 2, 1] {
        sums = (0..32).map(|i| sums[i] + sums[i ^ offset]).collect();
    }
    for schedule in 0..3 {
        let mut output = vec![0f32; 7 * 32];
        let (y, x) = (output.as_mut_ptr(), input.as_ptr());
        launch!(twnm_emu_help_shuffles, 1, 32, shared 0, schedule schedule, seed 2; y, x).unwrap();
        for i in 0..32 {
            let lanes = [31 - i, i ^ 5, if i + 3 < 32 { i + 3 } else { i }, if i >= 3 { i - 3 } else { i }];
            for (k, lane) in lanes.into_iter().enumerate() {
                assert_eq!(output[k * 32 + i], input[lane], "shuffle {k}, lane {i}");
            }
            assert_eq!([output[128 + i], output[160 + i]], [sums[0], largest]);
            assert_eq!(output[192 + i], ((i + 1) % 32) as f32);
        }
    }
    let blocks: [(u32, EmuEntry); 6] = [
        (32, twnm_emu_help_block_32),
        (64, twnm_emu_help_block_64),
        (128, twnm_emu_help_block_128),
        (256, twnm_emu_help_block_256),
        (512, twnm_emu_help_block_512),
        (1024, twnm_emu_help_block_1024),
    ];
    for (threads, entry) in blocks {
        // Whole numbers: any order of addition gives the same sum.
        let input: Vec<f32> = noise(3 * threads as usize, 2).iter().map(|v| (v * 64.0).floor()).collect();
        for schedule in 0..3 {
            let mut output = vec![0f32; 9];
            let (y, x) = (output.as_mut_ptr(), input.as_ptr());
            launch!(entry, 3, threads, shared 0, schedule schedule, seed 3; y, x).unwrap();
            for (row, found) in input.chunks(threads as usize).zip(output.chunks(3)) {
                let sum: f32 = row.iter().sum();
                assert_eq!(found, [sum, row.iter().copied().fold(f32::MIN, f32::max), 2.0 * sum]);
            }
        }
    }
}

#[test]
fn matrix_fragments() {
    let (a, b, start) = (round_bf16(&noise(256, 4)), round_bf16(&noise(128, 5)), noise(128, 6));
    let transposed: Vec<half::bf16> = (0..128).map(|i| b[i % 16 * 8 + i / 16]).collect();
    let part =
        |i: usize, n: usize| -> f32 { (0..n).map(|k| a[i / 8 * 16 + k].to_f32() * b[k * 8 + i % 8].to_f32()).sum() };
    let product = |i: usize| part(i, 16);
    let counted = round_bf16(&(0..256).map(|i| i as f32).collect::<Vec<_>>());
    for schedule in 0..3 {
        let (mut sum, mut both, mut elements) = (start.clone(), vec![0f32; 256], vec![0f32; 512]);
        let mut half = start.clone();
        let (d, pa, pb) = (half.as_mut_ptr(), a.as_ptr(), b.as_ptr());
        launch!(twnm_emu_help_mma_half, 1, 32, shared 0, schedule schedule, seed 4; d, pa, pb).unwrap();
        let (d, pa, pb, pt) = (sum.as_mut_ptr(), a.as_ptr(), b.as_ptr(), transposed.as_ptr());
        launch!(twnm_emu_help_mma, 1, 32, shared 0, schedule schedule, seed 4; d, pa, pb).unwrap();
        let d = both.as_mut_ptr();
        launch!(twnm_emu_help_ldmatrix, 1, 32, shared 0, schedule schedule, seed 4; d, pa, pt, pb).unwrap();
        for i in 0..128 {
            // Sums of 16 products below 1 in two orders of addition.
            assert!((sum[i] - start[i] - product(i)).abs() < 16.0 * 16.0 * f32::EPSILON, "mma, element {i}");
            assert!((half[i] - start[i] - part(i, 8)).abs() < 16.0 * 16.0 * f32::EPSILON, "half mma, element {i}");
            assert!((both[i] - product(i)).abs() < 16.0 * 16.0 * f32::EPSILON, "ldmatrix_x2, element {i}");
            assert!((both[128 + i] - product(i)).abs() < 16.0 * 16.0 * f32::EPSILON, "ldmatrix_x2_trans, element {i}");
        }
        let (y, x) = (elements.as_mut_ptr(), counted.as_ptr());
        launch!(twnm_emu_help_ldmatrix_elements, 1, 32, shared 0, schedule schedule, seed 4; y, x).unwrap();
        for (lane, matrix, h) in (0..256).map(|i| (i / 8, i / 2 % 4, i % 2)) {
            let (at, row, pair) = (lane * 8 + matrix * 2 + h, lane / 4, lane % 4 * 2 + h);
            assert_eq!(elements[at], (matrix * 64 + row * 8 + pair) as f32);
            assert_eq!(elements[256 + at], (matrix * 64 + pair * 8 + row) as f32);
        }
    }
}

#[test]
fn bf16_rounds_as_the_half_crate_does() {
    let mut input: Vec<f32> = noise(2000, 7).iter().zip(noise(2000, 8)).map(|(m, e)| m * (80.0 * e).exp2()).collect();
    // Infinities, NaNs whose payload rounding could carry away, ties to even on both sides, overflow by rounding.
    let special = [0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0xffff_ffff, 0x3f80_8000, 0x3f81_8000, 0x7f7f_ffff, 0, 1];
    input.extend(special.map(f32::from_bits));
    input.truncate(input.len() / 4 * 4);
    let (rounded, n) = (round_bf16(&input), input.len() as i32);
    let (mut zeros, mut bits) = (vec![1f32; input.len()], vec![0u32; input.len()]);
    let (y, pb, x) = (zeros.as_mut_ptr(), bits.as_mut_ptr(), input.as_ptr());
    launch!(twnm_emu_help_bf16, 16, 128, shared 0, schedule FORWARD, seed 0; y, pb, x, n).unwrap();
    let (mut down, mut up) = (vec![half::bf16::ZERO; input.len()], vec![0f32; input.len()]);
    let (pd, pu) = (down.as_mut_ptr(), up.as_mut_ptr());
    launch!(twnm_emu_help_pack_down, 4, 128, shared 0, schedule FORWARD, seed 0; pd, x, n).unwrap();
    launch!(twnm_emu_help_pack_up, 4, 128, shared 0, schedule FORWARD, seed 0; pu, pd, n).unwrap();
    for (i, &expected) in rounded.iter().enumerate() {
        let found = [half::bf16::from_bits(bits[i] as u16), down[i], half::bf16::from_f32(up[i])];
        if expected.is_nan() {
            assert!(found.iter().all(|v| v.is_nan()), "{:08x}", input[i].to_bits());
        } else {
            assert_eq!(found.map(|v| v.to_bits()), [expected.to_bits(); 3], "{:08x}", input[i].to_bits());
            assert!(zeros[i] == 0.0 || expected.is_infinite());
        }
    }
}

#[test]
fn copies_fill_with_zeros_and_both_kinds_of_shared_memory_live_together() {
    for schedule in 0..3 {
        let (mut output, input) = (vec![-1f32; 128], counting(128));
        let (y, x) = (output.as_mut_ptr(), input.as_ptr());
        launch!(twnm_emu_help_copy_valid, 1, 32, shared 0, schedule schedule, seed 5; y, x).unwrap();
        assert!((0..128).all(|i| output[i] == if i / 4 % 2 == 0 { input[i] } else { 0.0 }));

        let mut output = vec![-1f32; 64];
        let y = output.as_mut_ptr();
        launch!(twnm_emu_help_copy_pairs, 1, 32, shared 0, schedule schedule, seed 5; y, x).unwrap();
        assert_eq!(output, input[..64]);

        let (mut output, n) = (vec![0f32; 120], 40i32);
        let y = output.as_mut_ptr();
        launch!(twnm_emu_help_both_shared, 3, 64, shared 256, schedule schedule, seed 5; y, x, n).unwrap();
        for (row, found) in input.chunks(40).zip(output.chunks(40)) {
            let total: f32 = row.iter().sum();
            assert!(row.iter().zip(found).all(|(x, y)| *y == total - x));
        }
    }
}

#[test]
fn host_threads_launch_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            scope.spawn(move || {
                for round in 0..20u32 {
                    let found = Shape::new(1, 64, 6, 384).run(
                        twnm_emu_right_tile_barrier,
                        (thread + round) % 3,
                        u64::from(round),
                    );
                    let expected: Vec<f32> = (0..384).map(|i| (i / 64 * 64 + 64 - i % 64) as f32).collect();
                    assert_eq!(found.unwrap(), expected);
                    Shape::new(1, 64, 0, 64).run(twnm_emu_bug_two_shuffles, round % 3, 0).unwrap_err();
                }
            });
        }
    });
}
