//! Gradients of one optimizer step: clips in parallel, summed in order.

use super::batch::Clip;
use super::recipe::Loss;
use crate::encoder::readout::MAP_DIRECTIONS;
use crate::encoder::{Encoder, Features};
use crate::error::Result;
use crate::nn::Context;
use crate::ops::spatial_loss::{Label, spatial_loss};
use crate::ops::{bce, elementwise};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::sync::OnceLock;

/// Concentration of the direction map's targets: exp(kappa (cos angle - 1)), one half at 12 degrees.
const MAP_KAPPA: f64 = 30.0;

/// Losses of a step, averaged over its clips.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// The matched loss.
    pub matched: f64,
    /// The auxiliary direction map (0 without one).
    pub direction_map: f64,
}

/// Directions of the auxiliary map: a Fibonacci lattice on the sphere.
pub fn map_directions() -> &'static [[f64; 3]] {
    static DIRECTIONS: OnceLock<Vec<[f64; 3]>> = OnceLock::new();
    DIRECTIONS.get_or_init(|| {
        let golden = std::f64::consts::PI * (3.0 - 5f64.sqrt());
        let direction = |i: usize| {
            let z = 1.0 - 2.0 * (i as f64 + 0.5) / MAP_DIRECTIONS as f64;
            let (radius, angle) = ((1.0 - z * z).sqrt(), golden * i as f64);
            [radius * angle.cos(), radius * angle.sin(), z]
        };
        (0..MAP_DIRECTIONS).map(direction).collect()
    })
}

fn map_target(label: &Label) -> Tensor {
    let mut target = Tensor::zeros(&[1, MAP_DIRECTIONS]);
    for (value, d) in target.data_mut().iter_mut().zip(map_directions()) {
        let closeness = |s: &crate::ops::spatial_loss::SourceLabel| {
            let cosine: f64 = (0..3).map(|j| s.direction[j] * d[j]).sum();
            (MAP_KAPPA * (cosine - 1.0)).exp()
        };
        *value = label.sources.iter().map(closeness).fold(0.0, f64::max) as f32;
    }
    target
}

/// Loss of one clip and its gradients, added to `flat` with weight `share`.
fn clip_gradients(encoder: &Encoder, clip: &Clip, loss: &Loss, share: f32, flat: &mut [f32]) -> Result<Losses> {
    let gains = clip.gains(encoder.config.n_fft);
    let features: Features = encoder.features_equalized(&clip.audio, gains.as_deref());
    let mut c = Context::new(Tape::new(), &encoder.params);
    let out = encoder.forward(&mut c, &features);
    let matched = spatial_loss(&mut c.tape, &out.predictions(), std::slice::from_ref(&clip.label), loss.weights());
    let mut losses = Losses { matched: matched.tensor().item() as f64, direction_map: 0.0 };
    let mut total = elementwise::scale(&mut c.tape, &matched, share);
    if let Some(map) = &out.direction_map {
        let target = Var::constant(map_target(&clip.label));
        let map_loss = bce::bce_with_logits(&mut c.tape, map, &target);
        losses.direction_map = map_loss.tensor().item() as f64;
        let weighted = elementwise::scale(&mut c.tape, &map_loss, share * loss.direction_map as f32);
        total = elementwise::add(&mut c.tape, &total, &weighted);
    }
    c.gradients(&encoder.params, &total, flat)?;
    Ok(losses)
}

/// Gradients of the mean loss over `count` clips made by `make`, in the layout of the flat parameters. Each clip is
/// computed by itself and added in order: the same bytes for any number of threads.
pub fn gradients(
    encoder: &Encoder,
    loss: &Loss,
    count: usize,
    make: impl Fn(usize) -> Clip + Sync,
) -> Result<(Vec<f32>, Losses)> {
    let n = encoder.params.flat().len();
    let share = 1.0 / count as f32;
    // A bounded number of gradients is held at a time, whatever the batch.
    let wave = rayon::current_num_threads().max(1) * 4;
    let mut sum = vec![0.0f32; n];
    let mut losses = Losses::default();
    for start in (0..count).step_by(wave) {
        let parts: Vec<Result<(Vec<f32>, Losses)>> = (start..count.min(start + wave))
            .into_par_iter()
            .map(|i| {
                let mut flat = vec![0.0f32; n];
                let losses = clip_gradients(encoder, &make(i), loss, share, &mut flat)?;
                Ok((flat, losses))
            })
            .collect();
        for part in parts {
            let (flat, l) = part?;
            sum.iter_mut().zip(&flat).for_each(|(s, g)| *s += g);
            losses.matched += l.matched / count as f64;
            losses.direction_map += l.direction_map / count as f64;
        }
    }
    Ok((sum, losses))
}
