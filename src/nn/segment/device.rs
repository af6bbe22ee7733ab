//! A checkpointed segment on a device: one chunk, its sequences made rows by an exchange of axes.

use super::{Along, Chunk};
use crate::nn::{Context, ParamId};
use crate::ops::arrange;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// [B, F, T, C] -> the sequences [n, L, C] of one direction.
fn to_rows(x: &Tensor, along: Along) -> Tensor {
    let [b, f, t, c] = x.dims("segment map");
    match along {
        Along::Time => x.reshape(&[b * f, t, c]),
        Along::Frequency => arrange::swapped(x, [b, f, t, c]).reshape(&[b * t, f, c]),
    }
}

/// The sequences back in their places; `map` is the shape [B, F, T, C] of the result.
fn to_map(rows: &Tensor, along: Along, map: [usize; 4]) -> Tensor {
    let [b, f, t, c] = map;
    match along {
        Along::Time => rows.reshape(&map),
        Along::Frequency => arrange::swapped(&rows.reshape(&[b, t, f, c]), [b, t, f, c]),
    }
}

/// See [`super::segment`]. Keeps the input and what the ops asked to keep; the backward pass runs the chunk again.
#[track_caller]
pub(super) fn segment(c: &mut Context, x: &Var, along: Along, ids: &[ParamId], f: Chunk) -> Var {
    let [b, bins, frames, width] = x.tensor().dims("segment x");
    let params: Vec<Var> = ids.iter().map(|&id| c.param(id)).collect();
    let values: Vec<(ParamId, Tensor)> = ids.iter().zip(&params).map(|(&id, p)| (id, p.tensor().clone())).collect();
    let slots = c.vars.len();
    let bind = move |mut tape: Tape, values: &[(ParamId, Tensor)]| {
        let mut vars = vec![None; slots];
        for (id, tensor) in values {
            vars[id.0] = Some(tape.leaf(tensor.clone()));
        }
        Context { tape, vars }
    };
    let first = if c.tape.is_recording() { Tape::keeping() } else { Tape::without_gradients() };
    let mut inner = bind(first, &values);
    let y = f(&mut inner, &Var::constant(to_rows(x.tensor(), along)));
    let map_out = [b, bins, frames, *y.shape().last().expect("sequences have three axes")];
    let out = to_map(y.tensor(), along, map_out);
    let kept = inner.tape.into_kept();
    let inputs: Vec<&Var> = std::iter::once(x).chain(&params).collect();
    let (xv, param_ids) = (x.clone(), params.iter().map(Var::id).collect::<Vec<_>>());
    c.tape.record("segment", &inputs, out, move |dy, grads| {
        let mut inner = bind(Tape::replaying(kept), &values);
        let leaf = inner.tape.leaf(to_rows(xv.tensor(), along));
        let y = f(&mut inner, &leaf);
        let leaves: Vec<Var> = values.iter().map(|(id, _)| inner.param(*id)).collect();
        let mut inside = inner.tape.backward(&y, to_rows(dy, along)).unwrap_or_else(|e| panic!("segment: {e}"));
        grads.add(xv.id(), to_map(&inside.take(&leaf), along, [b, bins, frames, width]));
        for (id, leaf) in param_ids.iter().zip(&leaves) {
            grads.add(*id, inside.take(leaf));
        }
    })
}
