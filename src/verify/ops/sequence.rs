//! Attention, LSTM and the short-time Fourier transform.

use super::{Names, permute, require};
use crate::error::Result;
use crate::ops::attention::Shape;
use crate::ops::{arrange, elementwise, linear};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use crate::verify::compare::Checker;

/// `attn.<case>`: q [B, Hq, Nq, D], k, v [B, Hkv, Nk, D] -> out [B, Hq, Nq, D]; causal when the case's name says so.
pub(super) fn attention(check: &mut Checker, names: &Names) -> Result<()> {
    let (q, [b, heads, queries, d]) = check.input_of::<4>(&names.need(check, "q"))?;
    let (k, [kb, heads_kv, keys, kd]) = check.input_of::<4>(&names.need(check, "k"))?;
    let v = check.input_shaped(&names.need(check, "v"), &[b, heads_kv, keys, d])?;
    let causal = names.case.contains("causal");
    let fits = kb == b && kd == d && heads % heads_kv == 0 && (!causal || keys >= queries);
    require(fits, || format!("q {:?} does not fit k {:?}", q.shape(), k.shape()))?;
    let mut tape = Tape::new();
    let [q, k, v] = [q, k, v].map(|t| tape.leaf(heads_last(&t)));
    let shape = if causal { Shape::causal(heads, heads_kv) } else { Shape::full(heads, heads_kv) };
    let y = crate::ops::attention::attention(&mut tape, &q, &k, &v, &shape);
    check.value(&names.of("out"), &heads_first(y.tensor(), heads));
    let Some(seed) = names.find(check, "dout") else { return Ok(()) };
    let seed = check.input_shaped(&seed, &[b, heads, queries, d])?;
    let grads = tape.backward(&y, heads_last(&seed))?;
    grads.expect_all([("q", &q), ("k", &k), ("v", &v)])?;
    for (tensor, leaf, heads) in [("dq", &q, heads), ("dk", &k, heads_kv), ("dv", &v, heads_kv)] {
        check.gradient(&names.of(tensor), &heads_first(grads.get(leaf).expect("checked above"), heads));
    }
    Ok(())
}

/// [B, H, N, D] -> [B, N, H D]
fn heads_last(x: &Tensor) -> Tensor {
    let [b, h, n, d] = x.dims("heads");
    permute(x, &[0, 2, 1, 3]).reshape(&[b, n, h * d])
}

/// [B, N, H D] -> [B, H, N, D]
fn heads_first(x: &Tensor, heads: usize) -> Tensor {
    let [b, n, width] = x.dims("heads");
    permute(&x.reshape(&[b, n, heads, width / heads]), &[0, 2, 1, 3])
}

const LSTM_INPUTS: [&str; 7] = ["x", "h0", "c0", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];

pub(super) fn is_lstm_tensor(name: &str) -> bool {
    let leaf = name.strip_prefix("grad.").unwrap_or(name);
    LSTM_INPUTS.contains(&leaf) || matches!(name, "y" | "hn" | "cn" | "dy" | "dhn" | "dcn")
}

/// `lstm`: one layer of torch.nn.LSTM, batch first: x [B, T, I], h0, c0 [1, B, D] -> y [B, T, D], hn, cn [1, B, D].
pub(super) fn lstm(check: &mut Checker, names: &Names) -> Result<()> {
    let (x, [b, t, inputs]) = check.input_of::<3>(&names.need(check, "x"))?;
    let (w_hh, [rows, d]) = check.input_of::<2>(&names.need(check, "weight_hh_l0"))?;
    require(rows == 4 * d, || format!("weight_hh_l0 has shape {:?}", w_hh.shape()))?;
    let w_ih = check.input_shaped(&names.need(check, "weight_ih_l0"), &[4 * d, inputs])?;
    let b_ih = check.input_shaped(&names.need(check, "bias_ih_l0"), &[4 * d])?;
    let b_hh = check.input_shaped(&names.need(check, "bias_hh_l0"), &[4 * d])?;
    let h0 = check.input_shaped(&names.need(check, "h0"), &[1, b, d])?;
    let c0 = check.input_shaped(&names.need(check, "c0"), &[1, b, d])?;
    let mut tape = Tape::new();
    let leaves = [x, h0, c0, w_ih, w_hh, b_ih, b_hh].map(|t| tape.leaf(t));
    let y = run_lstm(&mut tape, &leaves, [b, t, d]);
    let (h, c, last_h, last_c) = halves(y.tensor());
    check.value(&names.of("y"), &h);
    check.value(&names.of("hn"), &last_h);
    check.value(&names.of("cn"), &last_c);
    drop(c);
    let mut seed = Tensor::zeros(&[b, t, 2 * d]);
    if let Some(name) = names.find(check, "dy") {
        let dy = check.input_shaped(&name, &[b, t, d])?;
        add_rows(&mut seed, &dy, (0, 1), [b, t, d]);
    }
    for (tensor, start) in [("dhn", 0), ("dcn", d)] {
        if let Some(name) = names.find(check, tensor) {
            let dn = check.input_shaped(&name, &[1, b, d])?;
            add_rows(&mut seed, &dn, (start, t), [b, t, d]);
        }
    }
    let grads = tape.backward(&y, seed)?;
    grads.expect_all(LSTM_INPUTS.iter().copied().zip(&leaves))?;
    for (tensor, leaf) in LSTM_INPUTS.iter().zip(&leaves) {
        check.gradient(&names.of(&format!("grad.{tensor}")), grads.get(leaf).expect("checked above"));
    }
    Ok(())
}

/// The op takes the input's share of the gates ready-made: x W_ih^T + b_ih + b_hh.
fn run_lstm(tape: &mut Tape, [x, h0, c0, w_ih, w_hh, b_ih, b_hh]: &[Var; 7], [b, t, d]: [usize; 3]) -> Var {
    let input = linear::linear(tape, x, w_ih, Some(b_ih));
    let column = arrange::reshape(tape, b_hh, &[4 * d, 1]);
    let mut ones = Tensor::uninit(&[b, t, 1]);
    ones.data_mut().fill(1.0);
    let bias = linear::linear(tape, &Var::constant(ones), &column, None);
    let gates = elementwise::add(tape, &input, &bias);
    let (h0, c0) = (arrange::reshape(tape, h0, &[b, d]), arrange::reshape(tape, c0, &[b, d]));
    crate::ops::lstm::lstm(tape, &gates, w_hh, &h0, &c0)
}

/// Hidden and cell states [B, T, D] of y [B, T, 2D], and those of the last step [1, B, D].
fn halves(y: &Tensor) -> (Tensor, Tensor, Tensor, Tensor) {
    let [b, t, d2] = y.dims("lstm y");
    let d = d2 / 2;
    let part = |start: usize| {
        let rows = y.data().chunks_exact(d2).flat_map(|row| row[start..start + d].to_vec());
        Tensor::from_slice(&[b, t, d], &rows.collect::<Vec<f32>>())
    };
    let last = |all: &Tensor| {
        let rows = all.data().chunks_exact(t * d).flat_map(|clip| clip[(t - 1) * d..].to_vec());
        Tensor::from_slice(&[1, b, d], &rows.collect::<Vec<f32>>())
    };
    let (h, c) = (part(0), part(d));
    let (last_h, last_c) = (last(&h), last(&c));
    (h, c, last_h, last_c)
}

/// Adds rows of width D into a seed [B, T, 2D] from column `start`: one per step, or (`every` = T) one per clip at
/// its last step.
fn add_rows(seed: &mut Tensor, rows: &Tensor, (start, every): (usize, usize), [_, _, d]: [usize; 3]) {
    let out = seed.data_mut().chunks_exact_mut(2 * d).skip(every - 1).step_by(every);
    for (out, row) in out.zip(rows.data().chunks_exact(d)) {
        out[start..start + d].iter_mut().zip(row).for_each(|(o, r)| *o += r);
    }
}

/// `stft`: x [.., L] -> real, imag [product of .., F, T]; `window` is compared too.
pub(super) fn stft(check: &mut Checker, names: &Names) -> Result<()> {
    let x = check.input(&names.need(check, "x"))?;
    let samples = x.shape().last().copied().unwrap_or(0);
    require(samples > 0 && !x.is_empty(), || format!("x has shape {:?}", x.shape()))?;
    let clips = x.len() / samples;
    let [bins, frames] = check.output_extents(&names.of("real"))?;
    let n_fft = 2 * bins.saturating_sub(1);
    let fits = n_fft >= 2 && samples > n_fft / 2 && n_fft <= 1 << 16;
    require(fits, || format!("{bins} bins of {samples} samples"))?;
    let frames_of = |hop: &usize| crate::ops::stft::frame_count(samples, *hop) == frames;
    // The hop is not stored: half the window as everywhere here, else a quarter and so on, else any that fits.
    let halved = std::iter::successors(Some(n_fft / 2), |h| Some(h / 2)).take_while(|&h| h > 0);
    let hop = halved.chain(1..=n_fft).find(frames_of);
    require(hop.is_some(), || format!("no hop gives {frames} frames of {samples} samples"))?;
    let hop = hop.expect("required above");
    let window: Vec<f32> = crate::ops::stft::hann(n_fft).iter().map(|&w| w as f32).collect();
    check.value(&names.of("window"), &Tensor::from_slice(&[n_fft], &window));
    let clip = Var::constant(x.reshape(&[clips, samples]));
    let y = crate::ops::stft::stft(&mut Tape::without_gradients(), &clip, n_fft, hop);
    let y = permute(&y.tensor().reshape(&[bins, frames, clips, 2]), &[3, 2, 0, 1]);
    check.value(&names.of("real"), &y.rows(0, 1));
    check.value(&names.of("imag"), &y.rows(1, 1));
    Ok(())
}
