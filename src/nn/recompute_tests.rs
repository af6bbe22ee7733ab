//! Parts that are computed again: any inputs, frozen parameters, lost gradients.

use super::*;
use crate::error::Kind;
use crate::nn::layers::{Linear, Norm};
use crate::nn::{Builder, Params};
use crate::ops::elementwise;
use crate::rng::Rng;

fn random(shape: &[usize], purpose: &str) -> Tensor {
    let mut rng = Rng::new(1, purpose, 0);
    let n = shape.iter().product();
    Tensor::from_slice(shape, &(0..n).map(|_| rng.normal() as f32).collect::<Vec<f32>>())
}

/// y [N, 4] = linear(norm(x) + a), with two inputs of two shapes: x [N, 3], r [N, 4] added last.
struct Model {
    norm: Norm,
    linear: Linear,
    params: Params,
}

impl Model {
    fn new(is_norm_frozen: bool) -> Model {
        let mut b = Builder::new();
        let norm = |b: &mut Builder| Norm::layer(b, "norm", 3);
        let norm = if is_norm_frozen { b.frozen(norm) } else { norm(&mut b) };
        let linear = b.under("head.", |b| Linear::new(b, "linear", 3, 4));
        let mut params = b.finish(7);
        if is_norm_frozen {
            let [weight, bias] = norm.ids().try_into().unwrap();
            params.set_frozen(weight, random(&[3], "weight"));
            params.set_frozen(bias, random(&[3], "bias"));
        }
        Model { norm, linear, params }
    }
    fn function(&self) -> Function {
        let (norm, linear) = (self.norm, self.linear);
        Arc::new(move |c, inputs| {
            let y = norm.forward(c, &inputs[0]);
            let y = linear.forward(c, &y);
            elementwise::add(&mut c.tape, &y, &inputs[1])
        })
    }
    fn ids(&self) -> Vec<ParamId> {
        [self.norm.ids(), self.linear.ids()].concat()
    }
    /// y, dx, dr and the flat gradient.
    fn run(&self, memory: Memory) -> (Tensor, Tensor, Tensor, Tensor) {
        let mut c = Forward::new(Tape::new(), &self.params);
        let (x, r) = (c.tape.leaf(random(&[5, 3], "x")), c.tape.leaf(random(&[5, 4], "r")));
        let y = recompute(&mut c, memory, &[&x, &r], &self.ids(), self.function());
        let Forward { tape, infos, vars, .. } = c;
        let mut grads = tape.backward(&y, random(&[5, 4], "dy")).unwrap();
        let mut flat = Tensor::zeros(&[self.params.flat_len()]);
        let trained = infos.iter().zip(vars.iter().flatten()).filter(|(_, var)| var.id().is_some());
        let offsets = self.params.places().map(|p| p.offset);
        let parts: Vec<_> = trained.zip(offsets).map(|((_, var), at)| (grads.take(var), at)).collect();
        elementwise::accumulate_parts(&mut flat, &parts);
        (y.tensor().clone(), grads.take(&x), grads.take(&r), flat)
    }
}

#[test]
fn several_inputs_of_different_shapes_give_the_bytes_of_the_plain_computation() {
    for is_norm_frozen in [false, true] {
        let model = Model::new(is_norm_frozen);
        let [again, kept] = [Memory::Recompute, Memory::Keep].map(|memory| model.run(memory));
        assert_eq!(again.0.data(), kept.0.data());
        assert_eq!(again.1.data(), kept.1.data());
        assert_eq!(again.2.data(), kept.2.data());
        assert_eq!(again.3.data(), kept.3.data());
        assert!(again.3.data().iter().any(|&g| g != 0.0));
    }
}

#[test]
fn frozen_parameters_are_bound_as_constants_inside_a_part() {
    let model = Model::new(true);
    let frozen = model.norm.ids();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (log, function) = (seen.clone(), model.function());
    let mut c = Forward::new(Tape::new(), &model.params);
    let (x, r) = (Var::constant(random(&[5, 3], "x")), Var::constant(random(&[5, 4], "r")));
    let watching: Function = Arc::new(move |c, inputs| {
        log.lock().unwrap().push((frozen.iter().all(|&id| c.param(id).id().is_none()), inputs[0].id().is_none()));
        function(c, inputs)
    });
    let y = recompute(&mut c, Memory::Recompute, &[&x, &r], &model.ids(), watching);
    let mut flat = Tensor::zeros(&[model.params.flat_len()]);
    c.gradients_from(&y, random(&[5, 4], "dy"), &mut flat).unwrap();
    // Once forward, once again for the backward pass; constant inputs stay constant there too.
    assert_eq!(*seen.lock().unwrap(), [(true, true); 2]);
}

#[test]
fn a_parameter_without_a_gradient_inside_a_part_is_an_error_by_name() {
    let model = Model::new(false);
    let mut c = Forward::new(Tape::new(), &model.params);
    let x = Var::constant(random(&[5, 3], "x"));
    let norm = model.norm;
    let f: Function = Arc::new(move |c, inputs| norm.forward(c, &inputs[0]));
    let y = recompute(&mut c, Memory::Recompute, &[&x], &model.ids(), f);
    let mut flat = Tensor::zeros(&[model.params.flat_len()]);
    let error = c.gradients_from(&y, random(&[5, 3], "dy"), &mut flat).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.message().contains("no gradient reached: head.linear.weight, head.linear.bias"), "{error}");
}

#[test]
#[should_panic(expected = "frozen parameter norm.weight was never loaded")]
fn a_frozen_parameter_without_numbers_is_refused_by_name() {
    let mut b = Builder::new();
    b.frozen(|b| Norm::layer(b, "norm", 3));
    Forward::new(Tape::new(), &b.finish(1));
}
