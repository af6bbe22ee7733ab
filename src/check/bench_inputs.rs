//! Cases to measure: inputs made beforehand where the op runs, forward passes and passes with gradients.

use super::{Case, Place};
use crate::rng::Rng;
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// A case with its inputs, and a gradient of its output, on a device.
pub struct Prepared<'a> {
    case: &'a Case,
    inputs: Vec<Tensor>,
    dy: Tensor,
}

impl Case {
    /// The case on a device, with set number `set` of its inputs; sets differ in all numbers.
    pub fn prepare(&self, place: Place, set: u64) -> Prepared<'_> {
        let values = self.draw_set(set);
        let inputs: Vec<Tensor> = self.inputs.iter().zip(&values).map(|(i, v)| self.put(place, i, v)).collect();
        let y = forward(self, &inputs);
        let mut rng = Rng::new(8, self.op, set);
        let dy: Vec<f64> = (0..y.len() / self.copies).map(|_| rng.normal()).collect();
        let dy = place.put(y.shape(), &self.spread(&dy), y.dtype() == DType::F32);
        Prepared { case: self, inputs, dy }
    }
}

impl Case {
    /// The case with inputs of all its copies that hold no numbers: to look at what it would launch, not to run it.
    #[cfg(feature = "emu")]
    pub fn prepare_unfilled(&self, place: Place) -> Prepared<'_> {
        let unfilled = |input: &super::Input| {
            let mut shape = input.shape.clone();
            if input.is_copied {
                shape[0] *= self.copies;
            }
            Tensor::uninit_on(place.device, if input.is_wide { DType::F32 } else { place.dtype }, &shape)
        };
        let inputs: Vec<Tensor> = self.inputs.iter().map(unfilled).collect();
        let y = forward(self, &inputs);
        let dy = y.like(y.shape());
        Prepared { case: self, inputs, dy }
    }
}

fn forward(case: &Case, inputs: &[Tensor]) -> Tensor {
    let inputs: Vec<Var> = inputs.iter().cloned().map(Var::constant).collect();
    (case.run)(&mut Tape::without_gradients(), &inputs).tensor().clone()
}

impl Prepared<'_> {
    /// A forward pass that keeps nothing for gradients.
    pub fn forward(&self) -> Tensor {
        forward(self.case, &self.inputs)
    }

    /// A forward and a backward pass; the gradients.
    pub fn forward_backward(&self) -> Vec<Tensor> {
        let mut tape = Tape::new();
        let vars: Vec<Var> = std::iter::zip(&self.case.inputs, &self.inputs)
            .map(|(i, t)| if i.differentiable { tape.leaf(t.clone()) } else { Var::constant(t.clone()) })
            .collect();
        let y = (self.case.run)(&mut tape, &vars);
        let grads = tape.backward(&y, self.dy.clone());
        let grads = grads.unwrap_or_else(|e| panic!("{}: {e}", self.case.label()));
        vars.iter().filter_map(|v| grads.get(v).cloned()).collect()
    }

    /// Bytes that a forward pass, and one with gradients, cannot do without: inputs and output once; in the backward
    /// pass inputs, the output's gradient and the inputs' gradients once.
    pub fn bytes(&self) -> [f64; 2] {
        let size = |tensor: &Tensor| (tensor.len() * tensor.dtype().bytes()) as f64;
        let inputs: f64 = self.inputs.iter().map(size).sum();
        let tracked = std::iter::zip(&self.case.inputs, &self.inputs).filter(|(input, _)| input.differentiable);
        let gradients: f64 = tracked.map(|(_, tensor)| size(tensor)).sum();
        let ahead = inputs + size(&self.dy);
        [ahead, 2.0 * ahead + gradients]
    }
}
