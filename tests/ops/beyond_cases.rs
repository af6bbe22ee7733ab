//! Trials beside the case table: what must be caught.

mod copies;
mod dequantize;
mod kv_cache;
mod optimizer;
mod pointwise;
mod rooms;
mod sampling;
mod witness;

use super::Coverage;
use libtest_mimic::{Failed, Trial};
use std::sync::Arc;
use twnm::check::{Case, GRADCHECK_LIMIT, Real, Reference, gradcheck, input, parity};
use twnm::device::emu;
use twnm::kernels;
use twnm::tensor::Tensor;

/// Ops that launch no kernel of their own.
pub const WITHOUT_KERNELS: &[&str] = &[];

/// All of them.
pub fn trials(coverage: &Arc<Coverage>) -> Vec<Trial> {
    let mut all = vec![Trial::test("a backward with a missing factor is caught", missing_factor)];
    all.extend(copies::trials(coverage));
    all.extend(dequantize::trials(coverage));
    all.extend(kv_cache::trials(coverage));
    all.extend(optimizer::trials(coverage));
    all.extend(pointwise::trials(coverage));
    all.extend(rooms::trials(coverage));
    all.extend(sampling::trials(coverage));
    all.extend(witness::trials());
    all
}

/// A trial that panics where it fails.
fn trial(coverage: &Arc<Coverage>, name: &str, run: fn(&Coverage)) -> Trial {
    let coverage = coverage.clone();
    Trial::test(name, move || -> Result<(), Failed> {
        run(&coverage);
        Ok(())
    })
}

/// The numbers that `run` leaves in a tensor of the emulator: the same bits under every schedule.
fn on_every_schedule(coverage: &Coverage, run: impl Fn() -> Tensor) -> Vec<f32> {
    let (results, launched) = kernels::watched(|| emu::SCHEDULES.map(|schedule| emu::with_schedule(schedule, &run)));
    coverage.add(&launched);
    let [first, others @ ..] = results.map(|tensor| tensor.to_host_f32().data().to_vec());
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    for (other, schedule) in others.iter().zip(&emu::SCHEDULES[1..]) {
        assert_eq!(bits(other), bits(&first), "{schedule:?}: other bits than under the first schedule");
    }
    first
}

/// y = x^2 with a gradient that lacks `missing` (1: right).
#[derive(Clone)]
struct Square {
    missing: f64,
}

impl Reference for Square {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        inputs[0].iter().map(|&x| x * x).collect()
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let factor = R::of(2.0 / self.missing);
        vec![inputs[0].iter().zip(dy).map(|(&x, &d)| factor * x * d).collect()]
    }
}

/// A case of [`Square`] whose fast path computes the gradient with `factor` instead of 2.
fn square(missing: f64, factor: f32) -> Case {
    Case::new("square", "8", Square { missing }, vec![input(&[8])], move |tape, v| {
        let x = v[0].clone();
        let y: Vec<f32> = x.data().iter().map(|x| x * x).collect();
        tape.record("square", &[&v[0]], Tensor::from_slice(&[8], &y), move |dy, grads| {
            let dx: Vec<f32> = x.data().iter().zip(dy.data()).map(|(x, d)| factor * x * d).collect();
            grads.add(x.id(), Tensor::from_slice(&[8], &dx));
        })
    })
}

fn missing_factor() -> Result<(), Failed> {
    assert!(gradcheck(&square(1.0, 2.0)).unwrap().0 < GRADCHECK_LIMIT);
    // A factor lost in the reference shows against central differences, even one of 1.00001.
    for missing in [2.0, std::f64::consts::SQRT_2, 1.000_01] {
        assert!(gradcheck(&square(missing, 2.0)).unwrap().0 > GRADCHECK_LIMIT, "{missing}");
    }
    // A factor lost in the fast path shows against the reference.
    let right = parity(&square(1.0, 2.0)).unwrap();
    assert!(right.error <= right.allowed);
    for factor in [1.0, 2.0 * std::f32::consts::SQRT_2, 2.0001] {
        let wrong = parity(&square(1.0, factor)).unwrap();
        assert!(wrong.error > wrong.allowed, "{factor}");
    }
    Ok(())
}
