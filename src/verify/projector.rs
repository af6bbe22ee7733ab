//! The projector: embeddings of every clip, and every gradient of sum(embeddings * seed).
//!
//! Inputs of clip i: `semantic.i` [N, d], `spatial.i` [T, D], `samples` I64 [clips, 3] (samples of a semantic frame, of the
//! first centre, between centres); with slots `slots.i` [n, D] and `readouts.i` [n, columns]. Values: `tokens.i`
//! [rows, width]; seeds `d_tokens.i`; gradients `grad.PARAMETER`, `d_semantic.i`, `d_spatial.i` (with the slots behind).

use super::compare::Checker;
use crate::error::{Error, Result};
use crate::nn::Forward;
use crate::projector::{Ablation, Batch, Clip, Projector, Spatial};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use std::path::Path;

pub(super) fn run(dir: &Path, check: &mut Checker) -> Result<()> {
    let (projector, params) = Projector::open(dir)?;
    let clips = clips(check)?;
    let mut batch = Batch::new(&projector.config, &clips, Ablation::None)?;
    let mut c = Forward::new(Tape::new(), &params);
    batch.semantic = c.tape.leaf(batch.semantic.tensor().clone());
    batch.spatial = c.tape.leaf(batch.spatial.tensor().clone());
    let y = projector.forward(&mut c, &batch);
    let ranges = batch.ranges();
    for (i, range) in ranges.iter().enumerate() {
        check.value(&format!("tokens.{i}"), &y.tensor().rows(range.start, range.len()));
    }
    if !check.has("d_tokens.0") {
        return Ok(());
    }
    let seeds = ranges
        .iter()
        .enumerate()
        .map(|(i, range)| check.input_shaped(&format!("d_tokens.{i}"), &[range.len(), projector.config.width]));
    let seed = Tensor::stacked(&seeds.collect::<Result<Vec<_>>>()?);
    let vars: Vec<Var> = params.ids().map(|id| c.param(id)).collect();
    let names = || params.infos().iter().map(|p| p.name.as_str());
    let grads = c.tape.backward(&y, seed)?;
    grads.expect_all(names().zip(&vars))?;
    for (name, var) in names().zip(&vars) {
        check.gradient(&format!("grad.{name}"), grads.get(var).expect("checked above"));
    }
    let [semantic, spatial] = [&batch.semantic, &batch.spatial].map(|v| grads.get(v).expect("used by every token"));
    let (mut at_semantic, mut at_spatial) = (0, 0);
    for (i, clip) in clips.iter().enumerate() {
        let slots = if projector.config.slots { clip.spatial.slots.shape()[0] } else { 0 };
        let (n, t) = (clip.semantic.shape()[0], clip.spatial.frames.shape()[0] + slots);
        check.gradient(&format!("d_semantic.{i}"), &semantic.rows(at_semantic, n));
        check.gradient(&format!("d_spatial.{i}"), &spatial.rows(at_spatial, t));
        (at_semantic, at_spatial) = (at_semantic + n, at_spatial + t);
    }
    Ok(())
}

fn clips(check: &mut Checker) -> Result<Vec<Clip>> {
    const CLIPS_MAX: usize = 64;
    let count = (0..CLIPS_MAX).take_while(|i| check.has(&format!("semantic.{i}"))).count();
    let samples = check.input_whole("samples", &[count, 3])?;
    let whole = |i: usize, j: usize| match samples[3 * i + j] {
        v @ 0..=480_000 => Ok(v as usize),
        v => Err(Error::data(format!("samples: {v}, 0..=480000 is needed"))),
    };
    let clip = |i: usize| {
        let mut rows = |name: &str| Ok(check.input_of::<2>(&format!("{name}.{i}"))?.0);
        let (semantic, frames) = (rows("semantic")?, rows("spatial")?);
        let (slots, readouts) = match check.has(&format!("slots.{i}")) {
            true => (check.input(&format!("slots.{i}"))?, check.input(&format!("readouts.{i}"))?),
            false => (Tensor::zeros(&[0, frames.shape()[1]]), Tensor::zeros(&[0, 0])),
        };
        let spatial = Spatial { frames, centres: (whole(i, 1)?, whole(i, 2)?), slots, readouts };
        Ok(Clip { semantic, semantic_samples: whole(i, 0)?, spatial })
    };
    (0..count).map(clip).collect()
}
