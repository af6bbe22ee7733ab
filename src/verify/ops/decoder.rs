//! Ops of the language model.

use super::{Names, permute, require};
use crate::error::Result;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::verify::compare::Checker;

pub(super) fn is_loss_tensor(name: &str) -> bool {
    matches!(name, "x" | "weight" | "labels" | "loss" | "dx" | "dweight")
}

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

/// `linear_cross_entropy`: x [N, C], weight [V, C], labels I64 [N] of which -100 leaves a row out -> loss [1], the mean of
/// the others' cross entropies.
pub(super) fn linear_cross_entropy(check: &mut Checker, names: &Names) -> Result<()> {
    let (x, [n, c]) = check.input_of::<2>(&names.need(check, "x"))?;
    let (weight, [v, wide]) = check.input_of::<2>(&names.need(check, "weight"))?;
    require(c == wide, || format!("x {:?} does not fit weight {:?}", x.shape(), weight.shape()))?;
    let labels = check.input_whole(&names.need(check, "labels"), &[n])?;
    let fits = labels.iter().all(|&l| l == -100 || (0..v as i64).contains(&l)) && i32::try_from(v).is_ok();
    require(fits, || format!("a label is neither -100 nor a token below {v}"))?;
    let count = labels.iter().filter(|&&l| l >= 0).count();
    let share = |&l: &i64| if l >= 0 { 1.0 / count as f32 } else { 0.0 };
    let row_weights = Tensor::from_slice(&[n], &labels.iter().map(share).collect::<Vec<f32>>());
    let targets = Tensor::from_slice(&[n], &labels.iter().map(|&l| l as i32).collect::<Vec<i32>>());
    let mut tape = Tape::new();
    let [x, weight] = [x, weight].map(|t| tape.leaf(t));
    let loss = crate::ops::linear_cross_entropy::linear_cross_entropy(&mut tape, &x, &weight, &targets, &row_weights);
    check.value(&names.of("loss"), loss.tensor());
    let grads = tape.backward(&loss, Tensor::scalar(1.0))?;
    names.gradients(check, &grads, &[("x", &x), ("weight", &weight)])
}

pub(super) fn is_swiglu_tensor(name: &str) -> bool {
    matches!(name, "gate" | "up" | "out" | "dout" | "dgate" | "dup")
}

/// `swiglu`: gate, up [..] -> out [..] = silu(gate) up
pub(super) fn swiglu(check: &mut Checker, names: &Names) -> Result<()> {
    let gate = check.input(&names.need(check, "gate"))?;
    let up = check.input_shaped(&names.need(check, "up"), gate.shape())?;
    let mut tape = Tape::new();
    let [gate, up] = [gate, up].map(|t| tape.leaf(t));
    let y = crate::ops::swiglu::swiglu(&mut tape, &gate, &up);
    check.value(&names.of("out"), y.tensor());
    let Some(seed) = names.find(check, "dout") else { return Ok(()) };
    let grads = tape.backward(&y, check.input_shaped(&seed, y.shape())?)?;
    names.gradients(check, &grads, &[("gate", &gate), ("up", &up)])
}

pub(super) fn is_embedding_tensor(name: &str) -> bool {
    matches!(name, "weight" | "ids" | "out" | "dout" | "dweight")
}

/// `embedding`: weight [V, C], ids I64 [N] -> out [N, C]
pub(super) fn embedding(check: &mut Checker, names: &Names) -> Result<()> {
    let (weight, [v, c]) = check.input_of::<2>(&names.need(check, "weight"))?;
    let [n, wide] = check.output_extents(&names.of("out"))?;
    require(c == wide, || format!("weight {:?} does not give rows of {wide}", weight.shape()))?;
    let ids = whole(check, &names.need(check, "ids"), &[n], v)?;
    let mut tape = Tape::new();
    let weight = tape.leaf(weight);
    let y = crate::ops::embedding::embedding(&mut tape, &weight, &ids);
    check.value(&names.of("out"), y.tensor());
    let Some(seed) = names.find(check, "dout") else { return Ok(()) };
    let grads = tape.backward(&y, check.input_shaped(&seed, y.shape())?)?;
    names.gradients(check, &grads, &[("weight", &weight)])
}

pub(super) fn is_rope_tensor(name: &str) -> bool {
    matches!(name, "x" | "positions" | "theta" | "out" | "dout" | "dx")
}

/// `rope`: x [B, H, T, D], positions I64 [B, T], theta [1] -> out [B, H, T, D]. The files keep heads before steps as
/// Transformers does; the op keeps them last.
pub(super) fn rope(check: &mut Checker, names: &Names) -> Result<()> {
    /// More than any decoder has; a table of them is made.
    const POSITIONS_MAX: usize = 1 << 17;
    let (x, [b, heads, t, d]) = check.input_of::<4>(&names.need(check, "x"))?;
    let theta = check.input_shaped(&names.need(check, "theta"), &[1])?.item();
    require(d.is_multiple_of(2) && d <= 1024 && theta > 0.0, || format!("heads of {d} numbers, theta {theta}"))?;
    let positions = whole(check, &names.need(check, "positions"), &[b, t], POSITIONS_MAX)?;
    let count = positions.values::<i32>().iter().max().map_or(0, |&most| most as usize + 1);
    let table = crate::ops::rope::RopeTable::new(count, d, f64::from(theta));
    let heads_last = |x: &Tensor| permute(x, &[0, 2, 1, 3]).reshape(&[b, t, heads * d]);
    let heads_first = |x: &Tensor| permute(&x.reshape(&[b, t, heads, d]), &[0, 2, 1, 3]);
    let mut tape = Tape::new();
    let x = tape.leaf(heads_last(&x));
    let y = crate::ops::rope::rope(&mut tape, &x, &table, &positions, heads);
    check.value(&names.of("out"), &heads_first(y.tensor()));
    let Some(seed) = names.find(check, "dout") else { return Ok(()) };
    let seed = check.input_shaped(&seed, &[b, heads, t, d])?;
    let grads = tape.backward(&y, heads_last(&seed))?;
    grads.expect_all([("x", &x)])?;
    check.gradient(&names.of("dx"), &heads_first(grads.get(&x).expect("checked above")));
    Ok(())
}

/// Whole numbers below `count`, as I32.
fn whole(check: &mut Checker, name: &str, shape: &[usize], count: usize) -> Result<Tensor> {
    let values = check.input_whole(name, shape)?;
    let fits = values.iter().all(|&value| (0..count as i64).contains(&value)) && i32::try_from(count).is_ok();
    require(fits, || format!("{name} holds a number that is not between 0 and {count}"))?;
    Ok(Tensor::from_slice(shape, &values.iter().map(|&value| value as i32).collect::<Vec<i32>>()))
}
