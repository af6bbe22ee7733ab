//! Every case of every op: f64 gradients against central differences, the fast path against the reference.

use twnm::check::{Case, GRADCHECK_LIMIT, Real, Reference, gradcheck, input, parity};
use twnm::device::simd::Isa;
use twnm::tensor::Tensor;

#[test]
fn gradients_of_every_reference_match_central_differences() {
    let mut failures = Vec::new();
    for case in twnm::ops::cases().iter().filter(|c| !c.is_bench) {
        match gradcheck(case) {
            Ok((error, _)) if error <= GRADCHECK_LIMIT => {}
            Ok((error, input)) => failures.push(format!("{}: input {input} is off by {error:.1e}", case.label())),
            Err(message) => failures.push(message),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn parity_failures<'a>(cases: impl Iterator<Item = &'a Case>) -> Vec<String> {
    let failure = |case: &Case| match parity(case) {
        Ok(p) if p.error <= p.allowed => None,
        Ok(p) => Some(format!("{}: error {:.1e}, allowed {:.1e}", case.label(), p.error, p.allowed)),
        Err(message) => Some(message),
    };
    cases.filter_map(failure).collect()
}

#[test]
fn every_fast_path_matches_its_reference() {
    let failures = parity_failures(twnm::ops::cases().iter());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_fast_path_matches_on_every_instruction_set() {
    for isa in Isa::available() {
        let failures = isa.force(|| parity_failures(twnm::ops::cases().iter().filter(|c| !c.is_bench)));
        assert!(failures.is_empty(), "{isa:?}: {}", failures.join("\n"));
    }
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

#[test]
fn a_backward_with_a_missing_factor_is_caught() {
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
}
