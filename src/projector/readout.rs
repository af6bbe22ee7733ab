//! What the heads of the spatial encoder say, as one row of numbers per slot and one for the scene.
//!
//! Columns: 1 for a slot, 1 for the scene, probability that the slot exists, unit vector (3), ln(metres), probabilities of
//! the classes (C), ln(surface in square metres), mean absorption. A slot's row is zero in the scene's columns and the
//! scene's in the slot's.

use crate::encoder::{Output, likeliest_count};
use crate::tensor::Tensor;

/// Columns for an encoder of `classes` classes.
pub fn width(classes: usize) -> usize {
    classes + 9
}

/// How many slots of clip `b` exist ([`likeliest_count`]).
pub fn count(out: &Output, b: usize) -> usize {
    let [_, k] = out.exist_logit.tensor().dims("exist_logit");
    likeliest_count(out.exist_logit.data()[b * k..(b + 1) * k].iter().map(|&logit| existence(logit)))
}

fn existence(logit: f32) -> f64 {
    1.0 / (1.0 + f64::from(-logit).exp())
}

/// The rows of clip `b` of an encoder's output on the host: its existing slots, then the scene; [slots + 1, columns].
pub fn rows(out: &Output, b: usize) -> Tensor {
    let [_, k, classes] = out.class_logits.tensor().dims("class_logits");
    let (slots, wide) = (count(out, b), width(classes));
    let mut rows = Tensor::zeros(&[slots + 1, wide]);
    for (i, row) in rows.data_mut().chunks_exact_mut(wide).enumerate() {
        if i == slots {
            row[1] = 1.0;
            (row[wide - 2], row[wide - 1]) = (out.log_surface.data()[b], out.absorption.data()[b]);
            continue;
        }
        let at = b * k + i;
        row[0] = 1.0;
        row[2] = existence(out.exist_logit.data()[at]) as f32;
        row[3..6].copy_from_slice(&out.direction.data()[3 * at..3 * at + 3]);
        // A centimetre is nearer than anything is.
        row[6] = out.distance_m.data()[at].max(0.01).ln();
        softmax(&out.class_logits.data()[at * classes..(at + 1) * classes], &mut row[7..7 + classes]);
    }
    rows
}

fn softmax(logits: &[f32], out: &mut [f32]) {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.iter_mut().zip(logits).for_each(|(o, l)| *o = (l - most).exp());
    let sum: f32 = out.iter().sum();
    out.iter_mut().for_each(|o| *o /= sum);
}
