//! Cases whose copies make them large: what holds for one copy must hold for all, and a wrong one must be seen.

use super::Coverage;
use libtest_mimic::{Failed, Trial};
use std::sync::Arc;
use twnm::check::{Case, Place, Real, Reference, input, parity, parity_at};
use twnm::device::Device;
use twnm::kernels;
use twnm::ops;
use twnm::tensor::{DType, Tensor};

pub fn trials(coverage: &Arc<Coverage>) -> Vec<Trial> {
    let coverage = coverage.clone();
    vec![
        Trial::test("copies: small cases on the emulator", move || on_the_emulator(&coverage)),
        Trial::test("copies: one wrong copy is seen", wrong_copies),
    ]
}

/// Ops with the inputs that every copy has its own of, and the width of a copy in the output where it is not the whole.
const OPS: [(&str, &[usize], Option<usize>); 4] =
    [("layer_norm", &[0], None), ("self_attention", &[0], None), ("lstm", &[0, 2, 3], None), ("stft", &[0], Some(2))];

fn on_the_emulator(coverage: &Coverage) -> Result<(), Failed> {
    for (op, inputs, width) in OPS {
        let case = ops::cases().into_iter().filter(|c| c.op == op).nth(1).expect("every op has cases");
        let case = case.copied(3, inputs);
        let case = match width {
            Some(width) => case.interleaved(width),
            None => case,
        };
        for dtype in [DType::F32, DType::Bf16] {
            let place = Place { device: Device::Emu, dtype };
            let (result, launched) = kernels::watched(|| parity_at(&case, place));
            coverage.add(&launched);
            let result = result?;
            assert!(result.holds(), "{} {dtype:?}: {:.1e} of {:.1e}", case.label(), result.error, result.allowed);
            let prepared = case.prepare(place, 1);
            let (y, gradients) = (prepared.forward(), prepared.forward_backward());
            let tracked = case.inputs.iter().filter(|input| input.differentiable && input.is_checked).count();
            assert!(y.len().is_multiple_of(3) && gradients.len() == tracked, "{}", case.label());
        }
    }
    Ok(())
}

/// y = w x for one w.
#[derive(Clone)]
struct Scale;

impl Reference for Scale {
    fn forward<R: Real>(&self, inputs: &[&[R]]) -> Vec<R> {
        inputs[0].iter().map(|&x| x * inputs[1][0]).collect()
    }
    fn backward<R: Real>(&self, inputs: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let dw = inputs[0].iter().zip(dy).map(|(&x, &d)| x * d).sum();
        vec![dy.iter().map(|&d| d * inputs[1][0]).collect(), vec![dw]]
    }
}

/// A case of four copies whose third is off by `output` in y, `gradient` in dx; dw is that of so many copies.
fn scale(output: f32, gradient: f32, summed: usize) -> Case {
    Case::new("scale", "5", Scale, vec![input(&[5]), input(&[1])], move |tape, v| {
        let (x, w) = (v[0].clone(), v[1].clone());
        let off = |values: Vec<f32>, by: f32| {
            let factor = |i: usize| if i / 5 == 2 { by } else { 1.0 };
            let values: Vec<f32> = values.iter().enumerate().map(|(i, v)| v * factor(i)).collect();
            Tensor::from_slice(&[values.len()], &values)
        };
        let y = x.data().iter().map(|x| x * w.data()[0]).collect();
        tape.record("scale", &[&v[0], &v[1]], off(y, output), move |dy, grads| {
            let dx = dy.data().iter().map(|d| d * w.data()[0]).collect();
            let dw: f32 = x.data().iter().zip(dy.data()).take(5 * summed).map(|(x, d)| x * d).sum();
            grads.add(x.id(), off(dx, gradient));
            grads.add(w.id(), Tensor::from_slice(&[1], &[dw]));
        })
    })
    .copied(4, &[0])
}

fn wrong_copies() -> Result<(), Failed> {
    let holds = |case: Case| parity(&case).map(|p| p.holds());
    assert!(holds(scale(1.0, 1.0, 4))?);
    for wrong in [scale(1.001, 1.0, 4), scale(1.0, 0.999, 4), scale(1.0, 1.0, 3), scale(f32::NAN, 1.0, 4)] {
        assert!(!holds(wrong)?);
    }
    Ok(())
}
