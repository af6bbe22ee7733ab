//! Gradients of one optimizer step: clips in parallel, summed in order.

use super::ahead::Batch;
use super::batch::Clip;
use super::recipe::Loss;
use crate::encoder::readout::MAP_DIRECTIONS;
use crate::encoder::{Encoder, Features};
use crate::error::Result;
use crate::nn::Forward;
use crate::ops::spatial_loss::{Target, spatial_loss};
use crate::ops::{bce, elementwise};
use crate::scene::{ClipSource, ClipTruth};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
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

fn map_target(truth: &ClipTruth) -> Tensor {
    let mut target = Tensor::zeros(&[1, MAP_DIRECTIONS]);
    for (value, d) in target.data_mut().iter_mut().zip(map_directions()) {
        let closeness = |s: &ClipSource| {
            let cosine: f64 = (0..3).map(|j| s.direction[j] * d[j]).sum();
            (MAP_KAPPA * (cosine - 1.0)).exp()
        };
        *value = truth.sources.iter().map(closeness).fold(0.0, f64::max) as f32;
    }
    target
}

/// Losses of a few clips, on the device where they were computed: reading them there would wait for it.
struct BatchLosses {
    clips: usize,
    matched: Tensor,
    direction_map: Option<Tensor>,
}

impl BatchLosses {
    /// Means over the clips.
    fn read(&self) -> Losses {
        let number = |t: &Tensor| f64::from(t.item());
        Losses { matched: number(&self.matched), direction_map: self.direction_map.as_ref().map_or(0.0, number) }
    }
}

/// Losses of clips of one length, and the gradients of their sum times `share`, added to `flat`.
fn batch_gradients(
    encoder: &Encoder,
    (features, truths): (Features, Vec<ClipTruth>),
    loss: &Loss,
    share: f32,
    flat: &mut Tensor,
) -> Result<BatchLosses> {
    let targets: Vec<Target> = truths.iter().map(Target::from).collect();
    let share = share * truths.len() as f32;
    let mut c = Forward::new(Tape::new(), &encoder.params);
    let out = encoder.forward(&mut c, &features);
    let matched = spatial_loss(&mut c.tape, &out.predictions(), &targets, loss.weights());
    let mut losses = BatchLosses { clips: truths.len(), matched: matched.tensor().clone(), direction_map: None };
    let mut total = elementwise::scale(&mut c.tape, &matched, share);
    if let Some(map) = &out.direction_map {
        let target = Tensor::stacked(&truths.iter().map(map_target).collect::<Vec<Tensor>>());
        let target = Var::constant(target.to(encoder.device()));
        let map_loss = bce::bce_with_logits(&mut c.tape, map, &target);
        losses.direction_map = Some(map_loss.tensor().clone());
        let weighted = elementwise::scale(&mut c.tape, &map_loss, share * loss.direction_map as f32);
        total = elementwise::add(&mut c.tape, &total, &weighted);
    }
    drop(out);
    c.gradients(&total, flat)?;
    Ok(losses)
}

impl Losses {
    /// Adds the means over `clips` clips to those of a step of `count`.
    fn add(&mut self, l: Losses, clips: usize, count: usize) {
        self.matched += l.matched * clips as f64 / count as f64;
        self.direction_map += l.direction_map * clips as f64 / count as f64;
    }
}

/// Gradients of the mean loss over `count` clips made by `make`, in the layout of the flat parameters, on the host: each
/// clip is computed by itself and added in order, which gives the same bytes for any number of threads.
///
/// # Errors
/// Those of `make`; `Internal` naming parameters without a gradient.
pub fn gradients(
    encoder: &Encoder,
    loss: &Loss,
    count: usize,
    make: impl Fn(usize) -> Result<Clip> + Sync,
) -> Result<(Tensor, Losses)> {
    let (n, share) = (encoder.params.flat_len(), 1.0 / count as f32);
    let (mut sum, mut losses) = (Tensor::zeros(&[n]), Losses::default());
    // A bounded number of gradients is held at a time, whatever the batch.
    let wave = rayon::current_num_threads().max(1) * 4;
    for start in (0..count).step_by(wave) {
        let parts: Vec<Result<(Tensor, Losses)>> = (start..count.min(start + wave))
            .into_par_iter()
            .map(|i| {
                let (clip, mut flat) = (make(i)?, Tensor::zeros(&[n]));
                let features = encoder.features_equalized(&clip.audio, clip.gains(encoder.config.n_fft).as_deref());
                let losses = batch_gradients(encoder, (features, vec![clip.truth]), loss, share, &mut flat)?.read();
                Ok((flat, losses))
            })
            .collect();
        for part in parts {
            let (flat, l) = part?;
            elementwise::accumulate_parts(&mut sum, &[(flat, 0)]);
            losses.add(l, 1, count);
        }
    }
    Ok((sum, losses))
}

/// The same on a device, batch after batch, each filling it. Before the losses are read, which waits for the device,
/// `meanwhile` runs on the host.
///
/// # Errors
/// Those of `meanwhile`; `Internal` naming parameters without a gradient.
pub fn gradients_on_device<T>(
    encoder: &Encoder,
    loss: &Loss,
    batches: Vec<Batch>,
    meanwhile: impl FnOnce() -> Result<T>,
) -> Result<(Tensor, Losses, T)> {
    let count: usize = batches.iter().map(|batch| batch.truths.len()).sum();
    let share = 1.0 / count as f32;
    let mut sum = Tensor::zeros_on(encoder.device(), DType::F32, &[encoder.params.flat_len()]);
    let mut parts = Vec::with_capacity(batches.len());
    for batch in batches {
        parts.push(batch_gradients(encoder, batch.arrive(encoder), loss, share, &mut sum)?);
    }
    let result = meanwhile()?;
    let mut losses = Losses::default();
    parts.iter().for_each(|part| losses.add(part.read(), part.clips, count));
    Ok((sum, losses, result))
}
