//! Optimizer steps that every stage makes in the same way: the rate of the schedule, and what is not finite is skipped.

use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::error::{Error, Kind, Result};
use crate::nn::Params;
use crate::optim::{Cosine, Optimizer};
use crate::tensor::Tensor;
use crate::weights::Entry;
use serde::{Deserialize, Serialize};

/// Updates skipped in a row, because the gradient was not finite, before a run gives up.
const SKIPPED_MAX: u64 = 5;

/// How updates went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Updates done.
    pub updates: u64,
    /// Updates skipped since the last one done.
    pub skipped_in_a_row: u64,
    /// Updates skipped in all.
    pub skipped: u64,
}

/// An optimizer with its schedule.
pub struct Updates {
    optimizer: Optimizer,
    schedule: Cosine,
    counts: Counts,
}

impl Updates {
    /// Nothing done yet.
    pub fn new(optimizer: Optimizer, schedule: Cosine) -> Updates {
        Updates { optimizer, schedule, counts: Counts::default() }
    }

    /// How updates went so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Update number `step` with `gradient` (the layout of the flat parameters) of `loss`. The gradient's norm before
    /// clipping; `None` when the loss or the norm is not finite and everything stays as it was.
    ///
    /// # Errors
    /// `Diverged` after too many skipped updates in a row.
    pub fn apply(&mut self, params: &mut Params, gradient: &Tensor, loss: f64, step: u64) -> Result<Option<f64>> {
        let is_usable = loss.is_finite();
        let norm = if is_usable { self.optimizer.step(params, gradient, self.schedule.rate(step)) } else { f64::NAN };
        self.counts.updates = self.optimizer.updates;
        if norm.is_finite() {
            self.counts.skipped_in_a_row = 0;
            return Ok(Some(norm));
        }
        self.counts.skipped += 1;
        self.counts.skipped_in_a_row += 1;
        tracing::warn!("step {step}: loss {loss} and gradient norm {norm} are not finite, update skipped");
        if self.counts.skipped_in_a_row > SKIPPED_MAX {
            let message = format!("diverged: {} updates in a row were not finite, at step {step}", SKIPPED_MAX + 1);
            return Err(Error::new(Kind::Diverged, message)
                .hint("the last checkpoint is intact; lower optimizer.learning_rate and use another --out"));
        }
        Ok(None)
    }

    /// The moments on the host, for [`Updates::entries`].
    pub fn moments(&self) -> [Tensor; 2] {
        [&self.optimizer.m, &self.optimizer.v].map(|t| t.to(Device::Host))
    }

    /// The moments as safetensors entries.
    pub fn entries(moments: &[Tensor; 2]) -> Vec<Entry<'_>> {
        ["m", "v"].into_iter().zip(moments).map(|(name, t)| Entry::f32(name, t.shape(), t.data())).collect()
    }

    /// Takes back the moments of a checkpoint and the counts that were saved with it.
    ///
    /// # Errors
    /// `Data` when the checkpoint has no moments, or others.
    pub fn restore(&mut self, checkpoint: &Checkpoint, counts: Counts) -> Result<()> {
        let Some(stored) = &checkpoint.optimizer else {
            return Err(Error::data("optimizer.safetensors is missing: a run continues only with its optimizer"));
        };
        let (n, device) = ([self.optimizer.m.len()], self.optimizer.m.device());
        let moments = |name: &str| Ok::<_, Error>(Tensor::from_slice(&n, &stored.parameter(name, &n)?).to(device));
        (self.optimizer.m, self.optimizer.v) = (moments("m")?, moments("v")?);
        self.optimizer.updates = counts.updates;
        self.counts = counts;
        Ok(())
    }
}
