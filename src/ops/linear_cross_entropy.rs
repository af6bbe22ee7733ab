//! Log-probabilities of tokens under softmax(x W^T), whose [N,V] logits are never there as a whole.
//!
//! x [N,C], W [V,C], targets I32 [N]. With lp[n] = log softmax(x_n W^T)[targets[n]]:
//! linear_cross_entropy = sum over n of w[n] (-lp[n]), for row weights w f32 [N]; linear_log_prob = lp [N].
//! With p the softmax of a row and e its target's unit vector: dx_n = w_n (p - e) W, dW = sum of w_n (p - e)^T x_n.
//!
//! Logits exist for one chunk of rows at a time, at most 32 MB of them on the host and 64 MB on a device. The loss computes
//! its gradients in the forward pass while the tape records, so that logits are computed once; linear_log_prob, whose rows'
//! gradients are known only later, computes them again. Rows of weight 0 are left out before anything is computed, where
//! weights lie on the host. Softmax sums are f32 after the largest logit was subtracted; the loss adds its rows in order.
//!
//! W may be f32 or bf16. Next to activations in bf16 it is taken in bf16, next to f32 on a device in f32: there a frozen
//! bf16 weight is widened as a whole. With W tracked, dW is f32 [V,C]; on a device it needs that much twice.

mod device;
mod host;
mod reference;

pub(super) use host::{row_largest, row_log_prob};
pub use reference::cases;

use super::elementwise::scaled;
use super::embedding::{check_ids, rows_of, with_rows};
use crate::device::Device;
use crate::device::product::Threads;
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// The weighted sum of cross entropies, f32 []: x [N,C], weight [V,C], targets I32 [N], row_weights f32 [N], of which 0
/// leaves the row out, whatever its target. Targets and row weights lie together, on the host or where x is. Panics on a
/// target outside the vocabulary where they lie on the host; elsewhere the loss becomes NaN.
#[track_caller]
pub fn linear_cross_entropy(tape: &mut Tape, x: &Var, weight: &Var, targets: &Tensor, row_weights: &Tensor) -> Var {
    let rows = chunk_rows(x.tensor().device(), weight.shape()[0]);
    cross_entropy(tape, [x, weight], targets, row_weights, rows)
}

/// The log-probability of every target, f32 [N]: x [N,C], weight [V,C], targets I32 [N] on the host or where x is. Panics
/// on a target outside the vocabulary where they lie on the host; elsewhere its log-probability is NaN.
#[track_caller]
pub fn linear_log_prob(tape: &mut Tape, x: &Var, weight: &Var, targets: &Tensor) -> Var {
    let rows = chunk_rows(x.tensor().device(), weight.shape()[0]);
    log_prob(tape, [x, weight], targets, rows)
}

/// Rows whose logits are computed together: by the extents alone, so that bytes do not depend on memory or threads.
fn chunk_rows(device: Device, v: usize) -> usize {
    let numbers: usize = if device == Device::Host { 8 << 20 } else { 16 << 20 };
    (numbers / v.max(1)).clamp(1, 1024)
}

#[track_caller]
fn cross_entropy(tape: &mut Tape, vars: [&Var; 2], targets: &Tensor, row_weights: &Tensor, chunk: usize) -> Var {
    let [x, weight] = vars;
    let [n, v, c] = extents("linear_cross_entropy", vars, targets);
    row_weights.expect_shape("linear_cross_entropy row weights", &[n]);
    assert_eq!(targets.device(), row_weights.device(), "linear_cross_entropy: targets and row weights lie together");
    let active = active_rows(row_weights);
    let [kept_x, targets, row_weights] = match &active {
        Some(rows) => {
            let on_host = |t: &Tensor, dtype| rows_of_numbers(t, rows, dtype);
            let kept = rows_of(x.tensor(), &rows.to(x.tensor().device()), x.tensor().dtype());
            [kept, on_host(targets, DType::I32), on_host(row_weights, DType::F32)]
        }
        None => [x.tensor(), targets, row_weights].map(Tensor::clone),
    };
    check_ids("linear_cross_entropy: target", &targets, v, "a vocabulary");
    let device = x.tensor().device();
    let pass = Pass {
        x: kept_x,
        weight: weight.clone(),
        targets: targets.to(device),
        row_weights: Some(row_weights.to(device)),
        wants: [x, weight].map(|var| tape.is_recording() && var.id().is_some()),
        threads: tape.products(),
        chunk,
    };
    let Outcome { log_probs, gradients: [dx, dw] } = pass.run();
    let loss = match device {
        Device::Host => host::loss(&log_probs, &row_weights),
        _ => device::loss(&log_probs, pass.row_weights.as_ref().expect("given above")),
    };
    let (xid, wid) = (x.id(), weight.id());
    let (dtype, shape) = (x.tensor().dtype(), [n, c]);
    tape.record("linear_cross_entropy", &[x, weight], loss, move |dy, grads| {
        if let Some(dx) = dx {
            let dx = times(dx, dy);
            grads.add(
                xid,
                match active {
                    Some(rows) => with_rows(&Tensor::zeros_on(device, dtype, &shape), Some(&dx), &rows.to(device)),
                    None => dx,
                },
            );
        }
        if let Some(dw) = dw {
            grads.add(wid, times(dw, dy));
        }
    })
}

#[track_caller]
fn log_prob(tape: &mut Tape, vars: [&Var; 2], targets: &Tensor, chunk: usize) -> Var {
    let [x, weight] = vars;
    let [_, v, _] = extents("linear_log_prob", vars, targets);
    check_ids("linear_log_prob: target", targets, v, "a vocabulary");
    let pass = Pass {
        x: x.tensor().clone(),
        weight: weight.clone(),
        targets: targets.to(x.tensor().device()),
        row_weights: None,
        wants: [false; 2],
        threads: tape.products(),
        chunk,
    };
    let log_probs = pass.run().log_probs;
    let ids = [x.id(), weight.id()];
    tape.record("linear_log_prob", &[x, weight], log_probs, move |dy, grads| {
        // The gradient of sum dy lp is that of cross entropies weighted by -dy.
        let again = Pass { row_weights: Some(scaled(dy, -1.0)), wants: ids.map(|id| id.is_some()), ..pass };
        for (id, gradient) in ids.into_iter().zip(again.run().gradients) {
            if let Some(gradient) = gradient {
                grads.add(id, gradient);
            }
        }
    })
}

/// N, V and C, checked.
#[track_caller]
fn extents(op: &str, [x, weight]: [&Var; 2], targets: &Tensor) -> [usize; 3] {
    let [n, c] = x.tensor().dims(&format!("{op} x"));
    let [v, wide] = weight.tensor().dims(&format!("{op} weight"));
    assert_eq!(c, wide, "{op}: x {:?} does not fit weight {:?}", x.shape(), weight.shape());
    targets.expect_shape(&format!("{op} targets"), &[n]);
    [n, v, c]
}

/// The rows whose weight is not 0, I32 on the host; `None` where those are all of them, or weights lie on a device.
fn active_rows(row_weights: &Tensor) -> Option<Tensor> {
    if row_weights.device() != Device::Host {
        return None;
    }
    let weights = row_weights.data();
    let rows: Vec<i32> = (0..weights.len()).filter(|&n| weights[n] != 0.0).map(|n| n as i32).collect();
    (rows.len() < weights.len()).then(|| Tensor::from_slice(&[rows.len()], &rows))
}

/// Numbers of a host tensor [N] by row.
fn rows_of_numbers(x: &Tensor, rows: &Tensor, dtype: DType) -> Tensor {
    let rows = rows.values::<i32>().iter().map(|&row| row as usize);
    match dtype {
        DType::I32 => {
            let picked: Vec<i32> = rows.map(|row| x.values::<i32>()[row]).collect();
            Tensor::from_slice(&[picked.len()], &picked)
        }
        _ => {
            let picked: Vec<f32> = rows.map(|row| x.data()[row]).collect();
            Tensor::from_slice(&[picked.len()], &picked)
        }
    }
}

/// A gradient times the upstream gradient, a number that may lie on a device.
fn times(mut gradient: Tensor, dy: &Tensor) -> Tensor {
    if gradient.device() == Device::Host {
        let factor = dy.item();
        if factor != 1.0 {
            gradient.data_mut().iter_mut().for_each(|g| *g *= factor);
        }
    } else {
        device::scale(&mut gradient, dy);
    }
    gradient
}

/// One way over all rows, chunk by chunk; everything lies where x does.
struct Pass {
    x: Tensor,
    weight: Var,
    targets: Tensor,
    /// Weights of the rows' cross entropies, for gradients; a row of weight 0 has the log-probability 0.
    row_weights: Option<Tensor>,
    /// Whether the gradients of x and of the weight are wanted.
    wants: [bool; 2],
    threads: Threads,
    /// Rows whose logits are computed together.
    chunk: usize,
}

/// What a pass gives.
struct Outcome {
    /// f32 [N].
    log_probs: Tensor,
    /// Those of sum w (-lp) with respect to x, stored as x is, and to the weight, f32.
    gradients: [Option<Tensor>; 2],
}

impl Pass {
    fn run(&self) -> Outcome {
        if self.x.device() == Device::Host { host::run(self) } else { device::run(self) }
    }
    /// First row and number of rows of every chunk.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize)> {
        let n = self.x.shape()[0];
        (0..n).step_by(self.chunk).map(move |first| (first, self.chunk.min(n - first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_vocabulary() {
        // Closed form: W = 0 gives ln V for every row and dW[v] = (1/V - [v = t]) x; 70 rows of V = 151,936 are two chunks.
        let (n, v) = (70, 151_936);
        let targets: Vec<i32> = (0..n as i32).map(|i| if i == 3 { -100 } else { i }).collect();
        let weights: Vec<f32> = (0..n).map(|i| if i == 3 { 0.0 } else { 0.5 }).collect();
        let (targets, weights) = (Tensor::from_slice(&[n], &targets), Tensor::from_slice(&[n], &weights));
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice(&[n, 1], &vec![2.0; n]));
        let w = tape.leaf(Tensor::zeros(&[v, 1]));
        let loss = linear_cross_entropy(&mut tape, &x, &w, &targets, &weights);
        let expected = 0.5 * 69.0 * (v as f64).ln();
        assert!((f64::from(loss.data()[0]) - expected).abs() < 1e-5 * expected, "{loss:?} {expected}");
        let grads = tape.backward(&loss, Tensor::scalar(1.0)).unwrap();
        let dw = grads.get(&w).unwrap();
        // 70 numbers are added near -1, where each addition may lose a quarter of epsilon.
        let limit = 70.0 * f32::EPSILON / 4.0;
        assert!((dw.data()[5] - (69.0 / v as f32 - 1.0)).abs() <= limit, "{}", dw.data()[5]);
        assert!((dw.data()[100] - 69.0 / v as f32).abs() < 1e-8);
        assert!(grads.get(&x).unwrap().data().iter().all(|&d| d == 0.0));
    }

    #[test]
    fn without_a_row_that_counts_loss_and_gradients_are_zero() {
        for device in [Device::Host, Device::Emu] {
            let mut tape = Tape::new();
            let [x, w] = [[2, 3], [5, 3]]
                .map(|shape| tape.leaf(Tensor::from_slice(&shape, &vec![1.0; shape[0] * 3]).to(device)));
            let (targets, weights) = (Tensor::from_slice(&[2], &[-100, 7]), Tensor::zeros(&[2]));
            let loss = linear_cross_entropy(&mut tape, &x, &w, &targets, &weights);
            assert_eq!(loss.tensor().item().to_bits(), 0);
            let seed = Tensor::scalar(1.0).to(device);
            let grads = tape.backward(&loss, seed).unwrap();
            for leaf in [&x, &w] {
                let gradient = grads.get(leaf).unwrap();
                assert_eq!(gradient.shape(), leaf.shape());
                assert!(gradient.to_host_f32().data().iter().all(|&g| g == 0.0), "{device:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "linear_cross_entropy: target 4 is outside a vocabulary of 4 rows")]
    fn a_target_outside_the_vocabulary_is_refused() {
        let [x, w] = [2, 4].map(|n| Var::constant(Tensor::zeros(&[n, 3])));
        let weights = Tensor::from_slice(&[2], &[1.0, 1.0]);
        linear_cross_entropy(&mut Tape::new(), &x, &w, &Tensor::from_slice(&[2], &[0, 4]), &weights);
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        let numbers = |purpose: &str, shape: &[usize]| {
            let mut rng = crate::rng::Rng::new(3, purpose, 0);
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32).collect();
            Tensor::from_slice(shape, &values)
        };
        let (x, w) = (numbers("x", &[40, 65]), numbers("w", &[3001, 65]));
        let targets: Vec<i32> = (0..40).map(|i| i * 70).collect();
        let (targets, weights) = (Tensor::from_slice(&[40], &targets), numbers("weights", &[40]));
        let on = |count: usize, threads: Threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
            pool.install(|| {
                let mut tape = Tape::new().with_products(threads);
                let vars = [&x, &w].map(|t| tape.leaf(t.clone()));
                let loss = cross_entropy(&mut tape, [&vars[0], &vars[1]], &targets, &weights, 17);
                let mut grads = tape.backward(&loss, Tensor::scalar(1.0)).unwrap();
                [loss.tensor().clone(), grads.take(&vars[0]), grads.take(&vars[1])].map(|t| t.data().to_vec())
            })
        };
        let one = on(1, Threads::One);
        assert!([1, 2, 7].into_iter().all(|count| on(count, Threads::All) == one));
    }

    #[test]
    fn on_a_device_rows_of_weight_zero_may_hold_any_target() {
        let (x, w) = (Tensor::from_slice(&[3, 1], &[1.0, 2.0, 3.0]), Tensor::zeros(&[4, 1]));
        let (targets, weights) = (Tensor::from_slice(&[3], &[1, -100, 9]), Tensor::from_slice(&[3], &[1.0, 0.0, 1.0]));
        let emu = |t: &Tensor| t.to(Device::Emu);
        let loss = |n: usize| {
            let mut tape = Tape::new();
            let x = tape.leaf(emu(&x.rows(0, n)));
            let (targets, weights) = (emu(&targets.rows(0, n)), emu(&weights.rows(0, n)));
            let loss = linear_cross_entropy(&mut tape, &x, &Var::constant(emu(&w)), &targets, &weights);
            loss.tensor().item()
        };
        assert!((loss(2) - 4f32.ln()).abs() < 1e-6);
        assert!(loss(3).is_nan(), "a target outside the vocabulary shows");
    }
}
