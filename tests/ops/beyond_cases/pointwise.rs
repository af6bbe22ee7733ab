//! Kernels that are no op: sums in place, for the tape and the trainer, and changes of storage bit for bit.

use super::{Coverage, on_every_schedule, trial};
use half::bf16;
use libtest_mimic::Trial;
use std::sync::Arc;
use twnm::device::Device;
use twnm::ops::elementwise;
use twnm::rng::Rng;
use twnm::tape::{Tape, Var, accumulate};
use twnm::tensor::{DType, Tensor};

pub fn trials(coverage: &Arc<Coverage>) -> Vec<Trial> {
    let trial = |name, run| trial(coverage, name, run);
    vec![
        trial("elementwise: sums in place", sums_in_place),
        trial("elementwise: a gradient added inside a flat buffer", sum_at_an_offset),
        trial("elementwise: storage as bf16 rounds to nearest even", casts),
        trial("elementwise: gradients of a value used twice on a device", gradients_add_up),
    ]
}

/// Around the four numbers of a thread and the 1024 of a block.
const LENGTHS: [usize; 7] = [1, 3, 4, 5, 1021, 1024, 1027];

fn normal(n: usize, stream: &str) -> Vec<f32> {
    let mut rng = Rng::new(3, stream, n as u64);
    (0..n).map(|_| rng.normal() as f32).collect()
}

fn on_device(values: &[f32], dtype: DType) -> Tensor {
    let host = Tensor::from_slice(&[values.len()], values);
    if dtype == DType::Bf16 { host.to_bf16(Device::Emu) } else { host.to(Device::Emu) }
}

/// What the storage keeps of a number.
fn kept(value: f32, dtype: DType) -> f32 {
    if dtype == DType::Bf16 { bf16::from_f32(value).to_f32() } else { value }
}

fn sums_in_place(coverage: &Coverage) {
    for (n, dtype) in LENGTHS.into_iter().flat_map(|n| [(n, DType::F32), (n, DType::Bf16)]) {
        let (a, b) = (normal(n, "sum"), normal(n, "added"));
        let sum = on_every_schedule(coverage, || {
            let (mut sum, x) = (on_device(&a, dtype), on_device(&b, dtype));
            accumulate(&mut sum, &x);
            sum
        });
        let add = |(&a, &b): (&f32, &f32)| kept(kept(a, dtype) + kept(b, dtype), dtype);
        assert_eq!(sum, a.iter().zip(&b).map(add).collect::<Vec<f32>>(), "{n} {dtype:?}");
    }
}

fn sum_at_an_offset(coverage: &Coverage) {
    for (n, offset) in LENGTHS.into_iter().flat_map(|n| [0, 1, 4, 7].map(|offset| (n, offset))) {
        let (flat, x) = (normal(n + offset + 2, "flat"), normal(n, "part"));
        let sum = on_every_schedule(coverage, || {
            let mut sum = on_device(&flat, DType::F32);
            elementwise::accumulate_parts(&mut sum, &[(on_device(&x, DType::F32), offset)]);
            sum
        });
        let mut expected = flat;
        expected[offset..offset + n].iter_mut().zip(&x).for_each(|(s, x)| *s += x);
        assert_eq!(sum, expected, "{n} at {offset}");
    }
}

fn casts(coverage: &Coverage) {
    // Ties, both neighbours of a tie, the overflow to infinity, the smallest numbers, signed zeros.
    let bits = [0x3f80_8000u32, 0x3f81_8000, 0x3f80_7fff, 0x3f80_8001, 0x7f7f_ffff, 0x0000_8000, 1, 0, 0x8000_0000];
    let mut values: Vec<f32> = bits.map(f32::from_bits).into();
    values.extend(normal(1020, "cast"));
    let there = |tape: &mut Tape| {
        let x = tape.leaf(on_device(&values, DType::F32));
        let y = elementwise::cast(tape, &x, DType::Bf16);
        assert_eq!(y.tensor().dtype(), DType::Bf16);
        (x, y)
    };
    let rounded: Vec<f32> = values.iter().map(|&v| kept(v, DType::Bf16)).collect();
    let stored = on_every_schedule(coverage, || there(&mut Tape::new()).1.tensor().clone());
    assert_eq!(stored, rounded);
    let back = on_every_schedule(coverage, || {
        let narrow = Var::constant(on_device(&values, DType::Bf16));
        elementwise::cast(&mut Tape::new(), &narrow, DType::F32).tensor().clone()
    });
    assert_eq!(back, rounded);
    // A gradient returns in the type of what was cast.
    let gradient = on_every_schedule(coverage, || {
        let mut tape = Tape::new();
        let (x, y) = there(&mut tape);
        let mut grads = tape.backward(&y, on_device(&values, DType::Bf16)).expect("cast has a gradient");
        grads.take(&x)
    });
    assert_eq!(gradient, rounded);
}

fn gradients_add_up(coverage: &Coverage) {
    let x = normal(37, "twice");
    for dtype in [DType::F32, DType::Bf16] {
        let gradient = on_every_schedule(coverage, || {
            let mut tape = Tape::new();
            let x = tape.leaf(on_device(&x, dtype));
            // Both operands hand on the same tensor, which must not be added to in place.
            let y = elementwise::add(&mut tape, &x, &x);
            let z = elementwise::add(&mut tape, &y, &x);
            let seed = on_device(&[1.0; 37], dtype);
            let mut grads = tape.backward(&z, seed.clone()).expect("every input gets a gradient");
            assert!(seed.to_host_f32().data().iter().all(|&v| v == 1.0), "the seed was written to");
            grads.take(&x)
        });
        assert!(gradient.iter().all(|&g| g == 3.0), "{dtype:?}");
    }
}
