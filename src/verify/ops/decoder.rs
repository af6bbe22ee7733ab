//! Ops of the language model.

use super::{Names, require};
use crate::error::Result;
use crate::tape::Tape;
use crate::verify::compare::Checker;

/// `rms_norm`: x [.., C], w [C] -> out [.., C], eps 1e-6. The files have a `b` that takes no part.
pub(super) fn rms_norm(check: &mut Checker, names: &Names) -> Result<()> {
    let x = check.input(&names.need(check, "x"))?;
    let c = x.shape().last().copied().unwrap_or(0);
    require(c > 0, || format!("x has shape {:?}", x.shape()))?;
    let w = check.input_shaped(&names.need(check, "w"), &[c])?;
    if let Some(unused) = names.find(check, "b") {
        check.set_aside(&unused);
    }
    let mut tape = Tape::new();
    let [x, w] = [x, w].map(|t| tape.leaf(t));
    let y = crate::ops::rms_norm::rms_norm(&mut tape, &x, &w, 1e-6);
    check.value(&names.of("out"), y.tensor());
    let Some(seed) = names.find(check, "dout") else { return Ok(()) };
    let grads = tape.backward(&y, check.input_shaped(&seed, y.shape())?)?;
    names.gradients(check, &grads, &[("x", &x), ("w", &w)])
}
