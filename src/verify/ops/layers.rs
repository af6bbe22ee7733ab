//! Pointwise functions, dense layers, normalisation and convolution.

use super::{Names, permute, require};
use crate::error::Result;
use crate::ops::activation::{Activation, activation};
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::verify::compare::Checker;

/// `act.<function>`: x -> out; the upstream gradient is one everywhere unless the file has `dout`.
pub(super) fn act(check: &mut Checker, names: &Names) -> Result<()> {
    // A function that is not known leaves its tensors unrecognised, which is a failure.
    let Some(&kind) = Activation::ALL.iter().find(|k| k.name() == names.case) else { return Ok(()) };
    let x = check.input(&names.need(check, "x"))?;
    let mut ones = Tensor::uninit(x.shape());
    ones.data_mut().fill(1.0);
    let seed = match names.find(check, "dout") {
        Some(name) => check.input_shaped(&name, x.shape())?,
        None => ones,
    };
    let mut tape = Tape::new();
    let x = tape.leaf(x);
    let y = activation(&mut tape, kind, &x);
    check.value(&names.of("out"), y.tensor());
    let grads = tape.backward(&y, seed)?;
    names.gradients(check, &grads, &[("x", &x)])
}

/// `linear`: x [.., K], w [M, K], b [M] (optional) -> out [.., M]
pub(super) fn linear(check: &mut Checker, names: &Names) -> Result<()> {
    let (w, [m, k]) = check.input_of::<2>(&names.need(check, "w"))?;
    let x = check.input(&names.need(check, "x"))?;
    require(x.shape().last() == Some(&k), || format!("x {:?} does not fit w {:?}", x.shape(), w.shape()))?;
    let bias = names.find(check, "b").map(|name| check.input_shaped(&name, &[m])).transpose()?;
    let mut tape = Tape::new();
    let (x, w, bias) = (tape.leaf(x), tape.leaf(w), bias.map(|b| tape.leaf(b)));
    let y = crate::ops::linear::linear(&mut tape, &x, &w, bias.as_ref());
    check.value(&names.of("out"), y.tensor());
    let Some(seed) = names.find(check, "dout") else { return Ok(()) };
    let grads = tape.backward(&y, check.input_shaped(&seed, y.shape())?)?;
    let mut leaves = vec![("x", &x), ("w", &w)];
    leaves.extend(bias.as_ref().map(|b| ("b", b)));
    names.gradients(check, &grads, &leaves)
}

/// `layer_norm`: x [.., C], w [C], b [C] -> out [.., C], eps 1e-5
pub(super) fn layer_norm(check: &mut Checker, names: &Names) -> Result<()> {
    let x = check.input(&names.need(check, "x"))?;
    let c = x.shape().last().copied().unwrap_or(0);
    require(c > 0, || format!("x has shape {:?}", x.shape()))?;
    let w = check.input_shaped(&names.need(check, "w"), &[c])?;
    let b = check.input_shaped(&names.need(check, "b"), &[c])?;
    let mut tape = Tape::new();
    let [x, w, b] = [x, w, b].map(|t| tape.leaf(t));
    let y = crate::ops::layer_norm::layer_norm(&mut tape, &x, &w, &b);
    check.value(&names.of("out"), y.tensor());
    let Some(seed) = names.find(check, "dout") else { return Ok(()) };
    let grads = tape.backward(&y, check.input_shaped(&seed, y.shape())?)?;
    names.gradients(check, &grads, &[("x", &x), ("w", &w), ("b", &b)])
}

/// `conv1d`: x [B, Cin, L], w [Cout, Cin / G, k], b [Cout] -> out [B, Cout, L], zero padding k / 2. The files keep
/// channels before steps as PyTorch does; the op keeps them last.
pub(super) fn conv1d(check: &mut Checker, names: &Names) -> Result<()> {
    const SWAP: [usize; 3] = [0, 2, 1];
    let (x, [clips, inputs, steps]) = check.input_of::<3>(&names.need(check, "x"))?;
    let (w, [outputs, per_group, kernel]) = check.input_of::<3>(&names.need(check, "w"))?;
    let b = check.input_shaped(&names.need(check, "b"), &[outputs])?;
    let groups = inputs / per_group;
    let fits = kernel % 2 == 1 && inputs == groups * per_group && groups > 0 && outputs % groups == 0;
    require(fits, || format!("x {:?} does not fit w {:?}, or its kernel is even", x.shape(), w.shape()))?;
    let mut tape = Tape::new();
    let (x, w, b) = (tape.leaf(permute(&x, &SWAP)), tape.leaf(w), tape.leaf(b));
    let y = crate::ops::conv1d::conv1d(&mut tape, &x, &w, &b, groups);
    check.value(&names.of("out"), &permute(y.tensor(), &SWAP));
    let Some(seed) = names.find(check, "dout") else { return Ok(()) };
    let seed = check.input_shaped(&seed, &[clips, outputs, steps])?;
    let grads = tape.backward(&y, permute(&seed, &SWAP))?;
    grads.expect_all([("x", &x)])?;
    check.gradient(&names.of("dx"), &permute(grads.get(&x).expect("checked above"), &SWAP));
    names.gradients(check, &grads, &[("w", &w), ("b", &b)])
}
