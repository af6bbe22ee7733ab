//! Second witnesses for ops whose native path is their own reference: the definition written once more, in f64 and in
//! another way, and its gradient by central differences.

use libtest_mimic::{Failed, Trial};
use twnm::check::relative_l2;
use twnm::ops::spatial_loss::{Predictions, Target, TargetSource, Weights, spatial_loss};
use twnm::ops::{band_pool, bce};
use twnm::rng::Rng;
use twnm::tape::{Tape, Var};
use twnm::tensor::Tensor;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn()| {
        Trial::test(format!("witness: {name}"), move || -> Result<(), Failed> {
            run();
            Ok(())
        })
    };
    vec![trial("bce", of_bce), trial("band_pool", of_band_pool), trial("spatial_loss", of_spatial_loss)]
}

/// Rounded to f32, so that both sides see the same numbers.
fn numbers(n: usize, stream: &str, scale: f64) -> Vec<f64> {
    let mut rng = Rng::new(11, stream, n as u64);
    (0..n).map(|_| f64::from((rng.normal() * scale) as f32)).collect()
}

fn tensor(shape: &[usize], values: &[f64]) -> Tensor {
    Tensor::from_slice(shape, &values.iter().map(|&v| v as f32).collect::<Vec<f32>>())
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.data().iter().map(|&v| f64::from(v)).collect()
}

/// The op's gradients against differences of `f` in each of its inputs.
#[track_caller]
fn assert_gradients(f: &dyn Fn(&[Vec<f64>]) -> f64, inputs: &[Vec<f64>], gradients: &[Vec<f64>]) {
    let mut at = inputs.to_vec();
    for (k, gradient) in gradients.iter().enumerate() {
        let differences: Vec<f64> = (0..inputs[k].len())
            .map(|i| {
                let h = 1e-5 * inputs[k][i].abs().max(0.1);
                let mut value = |x: f64| {
                    at[k][i] = x;
                    f(&at)
                };
                let slope = (value(inputs[k][i] + h) - value(inputs[k][i] - h)) / (2.0 * h);
                at[k][i] = inputs[k][i];
                slope
            })
            .collect();
        let error = relative_l2(gradient, &differences);
        assert!(error < 1e-5, "gradient {k}: {error:e}");
    }
}

/// -mean(t ln s + (1 - t) ln(1 - s)) with s = 1 / (1 + e^-x), as a textbook has it.
fn of_bce() {
    for n in [1, 7, 64] {
        let (x, t) = (numbers(n, "x", 2.0), numbers(n, "t", 1.0));
        let t: Vec<f64> = t.iter().map(|t| f64::from((1.0 / (1.0 + t.exp())) as f32)).collect();
        let textbook = |x: &[Vec<f64>]| {
            let term = |(x, t): (&f64, &f64)| {
                let s = 1.0 / (1.0 + (-x).exp());
                -(t * s.ln() + (1.0 - t) * (1.0 - s).ln())
            };
            x[0].iter().zip(&t).map(term).sum::<f64>() / n as f64
        };
        let mut tape = Tape::new();
        let leaf = tape.leaf(tensor(&[n], &x));
        let loss = bce::bce_with_logits(&mut tape, &leaf, &Var::constant(tensor(&[n], &t)));
        let expected = textbook(std::slice::from_ref(&x));
        assert!((values(loss.tensor())[0] - expected).abs() < 1e-6 * expected, "{n}");
        let grads = tape.backward(&loss, Tensor::scalar(1.0)).unwrap();
        assert_gradients(&textbook, &[x], &[values(grads.get(&leaf).unwrap())]);
    }
}

/// For each frame the mean over frequencies beside the mean weighted by a softmax, summed against fixed numbers.
fn of_band_pool() {
    for [b, f, t, h] in [[1, 1, 1, 1], [2, 5, 3, 4], [1, 17, 2, 7]] {
        let (x, w, dz) = (numbers(b * f * t * h, "x", 1.0), numbers(h, "w", 0.7), numbers(b * t * 2 * h, "dz", 1.0));
        let pooled = |x: &[f64], w: &[f64]| -> Vec<f64> {
            let mut z = Vec::new();
            for (clip, frame) in (0..b).flat_map(|i| (0..t).map(move |j| (i, j))) {
                let rows: Vec<&[f64]> = (0..f).map(|k| &x[((clip * f + k) * t + frame) * h..][..h]).collect();
                let weights: Vec<f64> =
                    rows.iter().map(|row| row.iter().zip(w).map(|(a, b)| a * b).sum::<f64>().exp()).collect();
                let total: f64 = weights.iter().sum();
                z.extend((0..h).map(|c| rows.iter().map(|row| row[c]).sum::<f64>() / f as f64));
                z.extend((0..h).map(|c| rows.iter().zip(&weights).map(|(row, a)| row[c] * a).sum::<f64>() / total));
            }
            z
        };
        let mut tape = Tape::new();
        let (xv, wv) = (tape.leaf(tensor(&[b, f, t, h], &x)), tape.leaf(tensor(&[1, h], &w)));
        // A bias shifts all scores alike and changes nothing.
        let z = band_pool::band_pool(&mut tape, &xv, &wv, &Var::constant(Tensor::from_slice(&[1], &[0.3f32])));
        assert!(relative_l2(&values(z.tensor()), &pooled(&x, &w)) < 1e-6);
        let seed = tensor(z.shape(), &dz);
        let grads = tape.backward(&z, seed).unwrap();
        let against = |at: &[Vec<f64>]| pooled(&at[0], &at[1]).iter().zip(&dz).map(|(a, b)| a * b).sum::<f64>();
        // With one frequency the weights are 1 whatever w is: its gradient is zero, and so no relative error.
        let gradients = [&xv, &wv].map(|v| values(grads.get(v).unwrap()));
        let count = if f == 1 { 1 } else { 2 };
        assert_gradients(&against, &[x, w], &gradients[..count]);
        assert!(f > 1 || gradients[1].iter().all(|&g| g.abs() < 1e-6));
    }
}

const STEPS: usize = 4;
const CLASSES: usize = 5;

/// Smooth L1 as the integral of a clamped slope: |d| min(|d|, 1) - min(|d|, 1)^2 / 2.
fn smooth_l1(a: f64, b: f64) -> f64 {
    let (d, knee) = ((a - b).abs(), (a - b).abs().min(1.0));
    d * knee - 0.5 * knee * knee
}

fn cross_entropy(logit: f64, target: f64) -> f64 {
    let s = 1.0 / (1.0 + (-logit).exp());
    -(target * s.ln() + (1.0 - target) * (1.0 - s).ln())
}

/// The cheapest way to give sources `from..` slots that are not `taken`: mean cost by recursion over the sources.
fn cheapest(cost: &[Vec<f64>], from: usize, taken: &mut Vec<usize>) -> f64 {
    let sources = cost[0].len();
    if from == sources {
        return 0.0;
    }
    let mut best = f64::INFINITY;
    for slot in (0..sources).filter(|slot| !taken.contains(slot)).collect::<Vec<usize>>() {
        taken.push(slot);
        best = best.min(cost[slot][from] / sources as f64 + cheapest(cost, from + 1, taken));
        taken.pop();
    }
    best
}

/// The loss of one clip from its predictions: existence, direction, metres, class logits, ln surface, absorption.
fn clip_loss(x: &[Vec<f64>], clip: usize, target: &Target, w: &Weights) -> f64 {
    let sources = &target.sources;
    let exist = &x[0][clip * STEPS..][..STEPS];
    let steps = (sources.len() + 1).min(STEPS);
    let wanted = |k: usize| if k < sources.len() { 1.0 } else { 0.0 };
    let mut loss = w.exist * (0..steps).map(|k| cross_entropy(exist[k], wanted(k))).sum::<f64>() / steps as f64;
    if !sources.is_empty() {
        let cost = |slot: usize, source: &TargetSource| {
            let at = clip * STEPS + slot;
            let cosine: f64 = (0..3).map(|j| x[1][at * 3 + j] * source.direction[j]).sum();
            let class = source.class.map_or(0.0, |class| {
                let logits = &x[3][at * CLASSES..][..CLASSES];
                let total: f64 = logits.iter().map(|v| v.exp()).sum();
                -(logits[class].exp() / total).ln()
            });
            let distance = smooth_l1((1.0 + x[2][at]).ln(), (1.0 + source.distance_m).ln());
            w.direction * (1.0 - cosine) + w.distance * distance + w.class * class
        };
        let cost: Vec<Vec<f64>> =
            (0..sources.len()).map(|slot| sources.iter().map(|source| cost(slot, source)).collect()).collect();
        loss += cheapest(&cost, 0, &mut Vec::new());
    }
    if let Some([surface, absorption]) = target.room {
        loss += w.room * (smooth_l1(x[4][clip], surface) + smooth_l1(x[5][clip], absorption));
    }
    loss
}

fn of_spatial_loss() {
    let mut rng = Rng::new(12, "targets", 0);
    let mut unit = || {
        let v: [f64; 3] = std::array::from_fn(|_| rng.normal());
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.map(|v| v / norm)
    };
    let mut source = |metres: f64, class: Option<usize>| TargetSource { direction: unit(), distance_m: metres, class };
    let targets = [
        Target { sources: vec![], room: Some([4.5, 0.3]) },
        Target { sources: vec![source(2.0, Some(3))], room: None },
        Target { sources: vec![source(0.7, None), source(4.0, Some(0))], room: Some([5.5, 0.1]) },
        Target { sources: vec![source(1.0, Some(1)), source(2.5, Some(4)), source(9.0, None)], room: Some([2.0, 0.9]) },
    ];
    let b = targets.len();
    let metres: Vec<f64> = numbers(b * STEPS, "metres", 1.0).iter().map(|v| f64::from(v.exp() as f32)).collect();
    let rooms = numbers(b, "surface", 1.0).iter().map(|v| f64::from((v + 4.0) as f32)).collect();
    let inputs = vec![
        numbers(b * STEPS, "exist", 1.5),
        numbers(b * STEPS * 3, "direction", 0.6),
        metres,
        numbers(b * STEPS * CLASSES, "classes", 1.0),
        rooms,
        numbers(b, "absorption", 0.3),
    ];
    let shapes: [&[usize]; 6] = [&[b, STEPS], &[b, STEPS, 3], &[b, STEPS], &[b, STEPS, CLASSES], &[b], &[b]];
    let weights = Weights { exist: 1.1, direction: 0.9, distance: 0.5, class: 0.4, room: 0.2 };
    let whole = |x: &[Vec<f64>]| {
        targets.iter().enumerate().map(|(i, target)| clip_loss(x, i, target, &weights)).sum::<f64>() / b as f64
    };
    let mut tape = Tape::new();
    let leaves: Vec<Var> = shapes.iter().zip(&inputs).map(|(shape, v)| tape.leaf(tensor(shape, v))).collect();
    let out = Predictions {
        exist_logit: &leaves[0],
        direction: &leaves[1],
        distance_m: &leaves[2],
        class_logits: &leaves[3],
        log_surface: &leaves[4],
        absorption: &leaves[5],
    };
    let loss = spatial_loss(&mut tape, &out, &targets, weights);
    let expected = whole(&inputs);
    assert!((values(loss.tensor())[0] - expected).abs() < 1e-6 * expected, "{loss:?}, by the definition {expected}");
    let grads = tape.backward(&loss, Tensor::scalar(1.0)).unwrap();
    let gradients: Vec<Vec<f64>> = leaves.iter().map(|leaf| values(grads.get(leaf).unwrap())).collect();
    assert_gradients(&whole, &inputs, &gradients);
}
