//! Single ops: tensors named `op.case.tensor` or `op.tensor`; `dX` (or `grad.X`) is the gradient of X for the upstream
//! gradient `dout` (`dy`), a tensor of the op without a case serves every case.
//!
//! Sizes come from shapes; what shapes leave open is fixed by the convention of the goldens: the STFT's hop is half its
//! window where that fits, `causal` stands in the case's name, AdamW uses betas (0.9, 0.95) and clips at 1.

mod decoder;
mod layers;
mod sequence;
mod training;

use super::compare::Checker;
use crate::error::{Error, Result};
use crate::tape::{Grads, Var};
use crate::tensor::Tensor;
use std::collections::BTreeSet;

/// How one op is run on its tensors.
struct Op {
    name: &'static str,
    /// Whether this is the last part of a tensor's name.
    is_tensor: fn(&str) -> bool,
    /// The tensor every case has.
    output: &'static str,
    run: fn(&mut Checker, &Names) -> Result<()>,
}

const OPS: &[Op] = &[
    Op { name: "act", is_tensor: |t| matches!(t, "x" | "out" | "dout" | "dx"), output: "out", run: layers::act },
    Op { name: "linear", is_tensor: is_layer_tensor, output: "out", run: layers::linear },
    Op { name: "layer_norm", is_tensor: is_layer_tensor, output: "out", run: layers::layer_norm },
    Op { name: "rms_norm", is_tensor: is_layer_tensor, output: "out", run: decoder::rms_norm },
    Op { name: "conv1d", is_tensor: is_layer_tensor, output: "out", run: layers::conv1d },
    Op { name: "attn", is_tensor: is_attention_tensor, output: "out", run: sequence::attention },
    Op { name: "lstm", is_tensor: sequence::is_lstm_tensor, output: "y", run: sequence::lstm },
    Op { name: "stft", is_tensor: is_stft_tensor, output: "real", run: sequence::stft },
    Op {
        name: "linear_cross_entropy",
        is_tensor: decoder::is_loss_tensor,
        output: "loss",
        run: decoder::linear_cross_entropy,
    },
    Op { name: "rope", is_tensor: decoder::is_rope_tensor, output: "out", run: decoder::rope },
    Op { name: "swiglu", is_tensor: decoder::is_swiglu_tensor, output: "out", run: decoder::swiglu },
    Op { name: "embedding", is_tensor: decoder::is_embedding_tensor, output: "out", run: decoder::embedding },
    Op { name: "adamw", is_tensor: training::is_adamw_tensor, output: "lrs", run: training::adamw },
];

/// Ops that later work brings; their tensors are set aside and the op is listed as missing.
const NOT_BUILT: &[&str] = &["sapo"];

fn is_layer_tensor(name: &str) -> bool {
    matches!(name, "x" | "w" | "b" | "out" | "dout" | "dx" | "dw" | "db")
}

fn is_attention_tensor(name: &str) -> bool {
    matches!(name, "q" | "k" | "v" | "out" | "dout" | "dq" | "dk" | "dv")
}

fn is_stft_tensor(name: &str) -> bool {
    matches!(name, "x" | "window" | "real" | "imag")
}

pub(super) fn run(check: &mut Checker) -> Result<()> {
    let mut cases: BTreeSet<(usize, String)> = BTreeSet::new();
    for name in check.names() {
        let (op, rest) = name.split_once('.').unwrap_or((&name, ""));
        if NOT_BUILT.contains(&op) {
            check.set_aside(&name);
            check.missing(op.to_string());
        } else if let Some(index) = OPS.iter().position(|o| o.name == op)
            && let Some((case, tensor)) = split(rest, OPS[index].is_tensor)
            && tensor == OPS[index].output
        {
            cases.insert((index, case.to_string()));
        }
    }
    for (index, case) in cases {
        let names = Names { op: OPS[index].name, case };
        (OPS[index].run)(check, &names).map_err(|e| e.context(names.of("*")))?;
    }
    Ok(())
}

/// Case and tensor of what follows the op's name; the tensor's own name may hold dots.
fn split(rest: &str, is_tensor: fn(&str) -> bool) -> Option<(&str, &str)> {
    if is_tensor(rest) {
        return Some(("", rest));
    }
    let mut dots = rest.match_indices('.').map(|(at, _)| at);
    dots.find(|&at| is_tensor(&rest[at + 1..])).map(|at| (&rest[..at], &rest[at + 1..]))
}

/// The names of one case's tensors.
struct Names {
    op: &'static str,
    case: String,
}

impl Names {
    /// `op.case.tensor`, or `op.tensor` for the case without a name.
    fn of(&self, tensor: &str) -> String {
        if self.case.is_empty() { self.shared(tensor) } else { format!("{}.{}.{tensor}", self.op, self.case) }
    }
    /// `op.tensor`
    fn shared(&self, tensor: &str) -> String {
        format!("{}.{tensor}", self.op)
    }
    /// The case's tensor, else the one all cases share.
    fn find(&self, check: &Checker, tensor: &str) -> Option<String> {
        [self.of(tensor), self.shared(tensor)].into_iter().find(|name| check.has(name))
    }
    /// [`Names::find`], or the name that is missing.
    fn need(&self, check: &Checker, tensor: &str) -> String {
        self.find(check, tensor).unwrap_or_else(|| self.of(tensor))
    }
    /// Hands over the gradients of the leaves; a leaf without a gradient is an error of the op.
    fn gradients(&self, check: &mut Checker, grads: &Grads, leaves: &[(&str, &Var)]) -> Result<()> {
        grads.expect_all(leaves.iter().copied())?;
        for (tensor, leaf) in leaves {
            check.gradient(&self.of(&format!("d{tensor}")), grads.get(leaf).expect("checked above"));
        }
        Ok(())
    }
}

/// Refuses shapes that an op would panic on; `message` is only built then.
fn require(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::data(message())) }
}

/// The same numbers with their axes in another order.
fn permute(tensor: &Tensor, order: &[usize]) -> Tensor {
    let shape = tensor.shape();
    assert_eq!(order.len(), shape.len(), "permute needs every axis");
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let extents: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let steps: Vec<usize> = order.iter().map(|&axis| stride(axis)).collect();
    let mut out = Tensor::uninit(&extents);
    for (i, value) in out.data_mut().iter_mut().enumerate() {
        let (mut rest, mut from) = (i, 0);
        for (&step, &extent) in steps.iter().zip(&extents).rev() {
            from += rest % extent * step;
            rest /= extent;
        }
        *value = tensor.data()[from];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_the_tensor() {
        assert_eq!(split("x", is_layer_tensor), Some(("", "x")));
        assert_eq!(split("dense.k5.dw", is_layer_tensor), Some(("dense.k5", "dw")));
        assert_eq!(split("grad.x", sequence::is_lstm_tensor), Some(("", "grad.x")));
        assert_eq!(split("small.grad.x", sequence::is_lstm_tensor), Some(("small", "grad.x")));
        assert_eq!(split("w1.20", training::is_adamw_tensor), Some(("", "w1.20")));
        assert_eq!(split("what", is_layer_tensor), None);
    }

    #[test]
    fn permute_moves_axes() {
        let x = Tensor::from_slice(&[1, 2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let y = permute(&x, &[2, 0, 1]);
        assert_eq!((y.shape(), y.data()), (&[3, 1, 2][..], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0][..]));
    }
}
