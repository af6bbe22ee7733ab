//! Clips of any lengths as rows: which frames each token of each clip averages.

use super::{ProjectorConfig, readout};
use crate::device::Device;
use crate::encoder::{EncoderConfig, Output};
use crate::error::{Error, Result};
use crate::ops::span_mean::Spans;
use crate::tape::Var;
use crate::tensor::Tensor;
use std::ops::Range;

/// What is taken from the projector's input, to see whether an answer uses it. Spatial features of another scene need no
/// entry: the caller gives that scene's [`Spatial`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ablation {
    /// Nothing.
    #[default]
    None,
    /// P = 0 in front of the experts, and no slots.
    ZeroSpatial,
    /// S = P = 0, and no slots.
    NoAudio,
}

/// What the spatial encoder says about a clip.
#[derive(Clone)]
pub struct Spatial {
    /// Frames g z [T, D].
    pub frames: Tensor,
    /// The sample at which the first of them is centred, and the samples between them, at 16 kHz.
    pub centres: (usize, usize),
    /// What the existing slots read, then the mean of the frames: [slots + 1, D].
    pub slots: Tensor,
    /// What the heads say, in the same order ([`readout::rows`]).
    pub readouts: Tensor,
}

impl Spatial {
    /// Of clip `b` in an encoder's output on the host.
    pub fn of(config: &EncoderConfig, out: &Output, b: usize) -> Spatial {
        let [_, t, d] = out.spatial.tensor().dims("spatial frames");
        let [_, k, _] = out.slots.tensor().dims("slots");
        let frames = out.spatial.tensor().rows(b, 1).reshape(&[t, d]);
        let count = readout::count(out, b);
        let mut slots = out.slots.data()[b * k * d..(b * k + count) * d].to_vec();
        slots.extend((0..d).map(|i| frames.data()[i..].iter().step_by(d).sum::<f32>() / t as f32));
        Spatial {
            frames,
            centres: config.frame_centres(),
            slots: Tensor::from_slice(&[count + 1, d], &slots),
            readouts: readout::rows(out, b),
        }
    }
}

/// A clip as the projector takes it; all tensors on the host.
#[derive(Clone)]
pub struct Clip {
    /// Semantic frames [N, d].
    pub semantic: Tensor,
    /// Samples at 16 kHz that a semantic frame stands for: 320 of Whisper's.
    pub semantic_samples: usize,
    /// What the spatial encoder says.
    pub spatial: Spatial,
}

impl Clip {
    /// The same in blocks that hold nothing else: the encoders give parts of larger results.
    pub fn compact(self) -> Clip {
        let Spatial { frames, centres, slots, readouts } = self.spatial;
        let [frames, slots, readouts] = [frames, slots, readouts].map(Tensor::compact);
        let spatial = Spatial { frames, centres, slots, readouts };
        Clip { semantic: self.semantic.compact(), spatial, ..self }
    }
    /// The shapes against those of the projector.
    fn check(&self, config: &ProjectorConfig) -> Result<()> {
        let Spatial { frames, centres, slots, readouts } = &self.spatial;
        let is = |t: &Tensor, width: usize| matches!(*t.shape(), [rows, w] if rows > 0 && w == width);
        let checks = [
            (is(&self.semantic, config.semantic), "semantic frames", self.semantic.shape(), config.semantic),
            (is(frames, config.spatial), "spatial frames", frames.shape(), config.spatial),
        ];
        if let Some((_, name, shape, width)) = checks.into_iter().find(|(is_right, ..)| !is_right) {
            return Err(Error::data(format!("projector: {name} {shape:?}, [at least 1, {width}] is needed")));
        }
        if self.semantic_samples == 0 || centres.1 == 0 {
            return Err(Error::data("projector: frames that stand for no time"));
        }
        let wide = readout::width(config.classes);
        if config.slots && !(is(slots, config.spatial) && is(readouts, wide) && slots.shape()[0] == readouts.shape()[0])
        {
            return Err(Error::data(format!(
                "projector: slots {:?} and read-outs {:?}, [n, {}] and [n, {wide}] are needed",
                slots.shape(),
                readouts.shape(),
                config.spatial
            )));
        }
        Ok(())
    }

    /// The semantic frames of every token of time.
    fn semantic_spans(&self, per_token: usize) -> impl Iterator<Item = Range<usize>> {
        let n = self.semantic.shape()[0];
        (0..n.div_ceil(per_token)).map(move |k| k * per_token..((k + 1) * per_token).min(n))
    }

    /// The spatial frames whose centres lie in the time of token `k`; where there is none, the nearest.
    fn spatial_span(&self, per_token: usize, k: usize) -> Range<usize> {
        let (frames, (first, step)) = (self.spatial.frames.shape()[0], self.spatial.centres);
        let [start, end] = [k, k + 1].map(|k| k * per_token * self.semantic_samples);
        // The number of frames that are centred before a sample.
        let before = |sample: usize| sample.saturating_sub(first).div_ceil(step).min(frames);
        let (from, to) = (before(start), before(end));
        if from < to {
            return from..to;
        }
        // Twice everything, so that the middle is whole. Of two that are as near the earlier one.
        let middle = (start + end).saturating_sub(2 * first);
        let nearest = ((middle + step - 1) / (2 * step)).min(frames - 1);
        nearest..nearest + 1
    }
}

/// Clips as rows, on one device.
pub struct Batch {
    /// Semantic frames of all clips [sum N, d].
    pub semantic: Var,
    /// Spatial frames of all clips, each followed by its slots where the projector has them [sum T, D].
    pub spatial: Var,
    /// Rows that each clip gets.
    pub counts: Vec<usize>,
    /// What is taken from the input.
    pub ablation: Ablation,
    pub(super) semantic_spans: Spans,
    pub(super) spatial_spans: Spans,
    /// What the heads say, zeros for tokens of time: [rows, columns], no columns without slots.
    pub(super) readouts: Tensor,
}

impl Batch {
    /// The rows of `clips`, in order: tokens of time, then slots and scene where the projector has them.
    ///
    /// # Errors
    /// `Data` naming shapes that do not fit the projector, or when there is no clip.
    pub fn new(config: &ProjectorConfig, clips: &[Clip], ablation: Ablation) -> Result<Batch> {
        if clips.is_empty() {
            return Err(Error::data("projector: no clip"));
        }
        let has_slots = config.slots && ablation == Ablation::None;
        let wide = if has_slots { readout::width(config.classes) } else { 0 };
        let (mut semantic, mut spatial, mut readouts, mut counts) = (vec![], vec![], vec![], vec![]);
        let (mut semantic_spans, mut spatial_spans) = (Vec::new(), Vec::new());
        let (mut semantic_rows, mut spatial_rows) = (0, 0);
        for clip in clips {
            clip.check(config)?;
            let first = semantic_spans.len();
            for (k, span) in clip.semantic_spans(config.frames_per_token).enumerate() {
                semantic_spans.push(semantic_rows + span.start..semantic_rows + span.end);
                let span = clip.spatial_span(config.frames_per_token, k);
                spatial_spans.push(spatial_rows + span.start..spatial_rows + span.end);
            }
            readouts.resize(readouts.len() + (semantic_spans.len() - first) * wide, 0.0);
            semantic_rows += clip.semantic.shape()[0];
            spatial_rows += clip.spatial.frames.shape()[0];
            semantic.push(clip.semantic.clone());
            spatial.push(clip.spatial.frames.clone());
            if has_slots {
                let slots = clip.spatial.slots.shape()[0];
                semantic_spans.resize(semantic_spans.len() + slots, semantic_rows..semantic_rows);
                spatial_spans.extend((spatial_rows..spatial_rows + slots).map(|row| row..row + 1));
                spatial_rows += slots;
                spatial.push(clip.spatial.slots.clone());
                readouts.extend_from_slice(clip.spatial.readouts.data());
            }
            counts.push(semantic_spans.len() - first);
        }
        Ok(Batch {
            semantic: Var::constant(Tensor::stacked(&semantic)),
            spatial: Var::constant(Tensor::stacked(&spatial)),
            readouts: Tensor::from_slice(&[semantic_spans.len(), wide], &readouts),
            semantic_spans: Spans::new(&semantic_spans, semantic_rows),
            spatial_spans: Spans::new(&spatial_spans, spatial_rows),
            counts,
            ablation,
        })
    }

    /// The same rows on another device, as constants.
    pub fn to(&self, device: Device) -> Batch {
        let there = |v: &Var| Var::constant(v.tensor().to(device));
        Batch {
            semantic: there(&self.semantic),
            spatial: there(&self.spatial),
            readouts: self.readouts.to(device),
            semantic_spans: self.semantic_spans.to(device),
            spatial_spans: self.spatial_spans.to(device),
            counts: self.counts.clone(),
            ablation: self.ablation,
        }
    }

    /// Whether some rows are slots.
    pub fn has_readouts(&self) -> bool {
        !self.readouts.is_empty()
    }

    /// The rows of every clip.
    pub fn ranges(&self) -> Vec<Range<usize>> {
        let mut end = 0;
        let range = |&count: &usize| {
            end += count;
            end - count..end
        };
        self.counts.iter().map(range).collect()
    }
}
