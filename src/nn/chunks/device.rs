//! The chunks of a map on a device: one chunk, its sequences made rows by an exchange of axes.

use super::{Along, Chunk};
use crate::nn::recompute::{Memory, recompute};
use crate::nn::{Forward, ParamId};
use crate::ops::arrange;
use crate::tape::{Tape, Var};
use std::sync::Arc;

/// [B, F, T, C] -> the sequences [n, L, C] of one direction.
fn to_rows(tape: &mut Tape, x: &Var, along: Along) -> Var {
    let [b, f, t, c] = x.tensor().dims("map");
    match along {
        Along::Time => arrange::reshape(tape, x, &[b * f, t, c]),
        Along::Frequency => {
            let swapped = arrange::swap_axes(tape, x);
            arrange::reshape(tape, &swapped, &[b * t, f, c])
        }
    }
}

/// The sequences back in their places of a map with the extents [B, F, T].
fn to_map(tape: &mut Tape, rows: &Var, along: Along, [b, f, t]: [usize; 3]) -> Var {
    let c = rows.shape()[2];
    match along {
        Along::Time => arrange::reshape(tape, rows, &[b, f, t, c]),
        Along::Frequency => {
            let swapped = arrange::reshape(tape, rows, &[b, t, f, c]);
            arrange::swap_axes(tape, &swapped)
        }
    }
}

/// See [`super::chunks`]; the exchanges of axes are computed again with the rest.
#[track_caller]
pub(super) fn chunks(c: &mut Forward, memory: Memory, x: &Var, along: Along, ids: &[ParamId], f: Chunk) -> Var {
    let whole = move |c: &mut Forward, x: &[Var]| at_once(c, &x[0], along, |c, x| f(c, x));
    recompute(c, memory, &[x], ids, Arc::new(whole))
}

/// Applies `f` to all sequences of a map at once, as part of this tape: [B, F, T, C] -> [B, F, T, C'].
#[track_caller]
pub fn at_once(c: &mut Forward, x: &Var, along: Along, f: impl Fn(&mut Forward, &Var) -> Var) -> Var {
    let [b, bins, frames, _] = x.tensor().dims("map");
    let rows = to_rows(&mut c.tape, x, along);
    let y = f(c, &rows);
    to_map(&mut c.tape, &y, along, [b, bins, frames])
}
