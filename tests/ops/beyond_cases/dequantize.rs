//! Weights in eight and four bits against numbers that numpy computed (`tools/golden/dequantize.py`).

use super::{Coverage, trial};
use libtest_mimic::Trial;
use std::path::Path;
use std::sync::Arc;
use twnm::check::relative_l2;
use twnm::device::simd::Isa;
use twnm::device::{Device, emu};
use twnm::kernels;
use twnm::ops::dequantize::{Absmax, Int8, NF4, Nf4, Rounding};
use twnm::tensor::{DType, Tensor};
use twnm::weights::Tensors;

/// Three roundings to f32 in a row of products, and one to bf16.
const LIMIT: f64 = 1.5 * f32::EPSILON as f64;
const LIMIT_BF16: f64 = 1.0 / 512.0;

pub fn trials(coverage: &Arc<Coverage>) -> Vec<Trial> {
    vec![
        trial(coverage, "dequantize: the code of nf4 is quantiles of a normal distribution", code),
        trial(coverage, "dequantize: numpy, host", |_| {
            Isa::available().into_iter().for_each(|isa| isa.force(|| every_kind(Device::Host)));
        }),
        trial(coverage, "dequantize: numpy, emu", |coverage| {
            for schedule in emu::SCHEDULES {
                let ((), launched) = kernels::watched(|| emu::with_schedule(schedule, || every_kind(Device::Emu)));
                coverage.add(&launched);
            }
        }),
    ]
}

fn open() -> Tensors {
    Tensors::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dequantize/expected.safetensors")).unwrap()
}

fn numbers(file: &Tensors, name: &str) -> Tensor {
    Tensor::from_slice(file.shape(name).unwrap(), &file.f32(name).unwrap())
}

fn bytes(file: &Tensors, name: &str) -> Tensor {
    Tensor::from_slice(file.shape(name).unwrap(), file.bytes(name).unwrap())
}

fn code(_: &Coverage) {
    assert_eq!(NF4, numbers(&open(), "nf4.code").data());
}

#[track_caller]
fn expect(what: &str, actual: &Tensor, expected: &Tensor) {
    let limit = if actual.dtype() == DType::Bf16 { LIMIT_BF16 } else { LIMIT };
    assert_eq!(actual.shape(), expected.shape(), "{what}");
    let wide = |t: &Tensor| t.data().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let error = relative_l2(&wide(&actual.to_host_f32()), &wide(expected));
    assert!(error <= limit, "{what} {:?}: error {error:.1e}", actual.dtype());
}

fn every_kind(device: Device) {
    let file = open();
    let packed = bytes(&file, "nf4.packed").to(device);
    let expected = ["int8.out", "nf4.out", "double.out"].map(|name| numbers(&file, name));
    let [rows, columns] = expected[1].dims("golden");
    let double = Absmax::Double {
        bytes: bytes(&file, "double.bytes").to(device),
        code: numbers(&file, "double.code").to(device),
        scale: numbers(&file, "double.scale").to(device),
        offset: numbers(&file, "double.offset").item(),
    };
    let plain = Absmax::Plain(numbers(&file, "nf4.absmax").to(device));
    for dtype in [DType::F32, DType::Bf16] {
        let int8 = Int8::new(bytes(&file, "int8.values"), numbers(&file, "int8.absmax")).to(device);
        expect("int8", &int8.rows(0, 5, dtype), &expected[0]);
        expect("int8, some rows", &int8.rows(2, 2, dtype), &expected[0].rows(2, 2));
        for (absmax, expected) in [(&plain, &expected[1]), (&double, &expected[2])] {
            let weight = Nf4::new([rows, columns], packed.clone(), absmax.clone(), Rounding::None);
            expect("nf4", &weight.rows(0, rows, dtype), expected);
            // A row of odd length begins in the low half of a byte, and in the midst of a block.
            expect("nf4, some rows", &weight.rows(3, 4, dtype), &expected.rows(3, 4));
            expect("nf4, the last row", &weight.rows(rows - 1, 1, dtype), &expected.rows(rows - 1, 1));
            if dtype != DType::F32 {
                continue;
            }
            // Rounded to the type that the weight had: of what is not rounded, number by number, down to the smallest of f16.
            let small = |absmax: &Absmax, factor: f32| match absmax {
                Absmax::Plain(absmax) => {
                    let numbers: Vec<f32> = absmax.to_host_f32().data().iter().map(|v| v * factor).collect();
                    Absmax::Plain(Tensor::from_slice(&[numbers.len()], &numbers).to(device))
                }
                double => double.clone(),
            };
            for factor in [1.0, 1e-4, 3e-7] {
                let of = |rounding| Nf4::new([rows, columns], packed.clone(), small(absmax, factor), rounding);
                let [exact, f16, bf16] = [Rounding::None, Rounding::F16, Rounding::Bf16]
                    .map(|rounding| of(rounding).rows(0, rows, dtype).to(Device::Host));
                for ((v, f16), bf16) in exact.data().iter().zip(f16.data()).zip(bf16.data()) {
                    assert_eq!(*f16, half::f16::from_f32(*v).to_f32(), "{v} {factor}");
                    assert_eq!(*bf16, half::bf16::from_f32(*v).to_f32(), "{v} {factor}");
                }
            }
        }
    }
}
