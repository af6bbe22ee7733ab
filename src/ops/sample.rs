//! The next token of every sequence, chosen from its logits.   logits [B,V], f32 or bf16 -> ids [B], log-probabilities [B]
//!
//! In this order, as Transformers does it:
//!
//! 1. **Repetition penalty** r: the score of a token that was seen is s / r, or s r where it is negative.
//! 2. **Greedy**: the largest score, the lowest id among equals, and nothing of the following. Or scores / **temperature**.
//! 3. **Top k**: scores below the k-th largest are out; what equals it stays.
//! 4. **Top p**: of what is left, a token is out when those before it, from the largest score down (the lower id first among
//!    equals), have a probability of p or more together. The first always stays.
//! 5. A token by its probability among those that are left: the first, in the order of ids, at which the sum of
//!    probabilities exceeds u, a number in [0, 1) that is a function of (seed, sequence, step) alone. So a sequence gets
//!    the same tokens whatever stands beside it in the batch.
//!
//! The log-probability is that of the token under the softmax of the logits as they came, before steps 1 to 4: what
//! reinforcement learning compares between policies. No gradient flows; [`super::linear_cross_entropy`] has one.
//!
//! A sequence with a logit that is NaN or +infinity, or with none above -infinity, is an error. -infinity is a token that
//! cannot be chosen. Host and devices round differently: a token at the very edge of top p or of u may differ.

mod host;

use crate::device::Device;
use crate::error::{Error, Kind, Result};
use crate::kernels::{self, Launch};
use crate::rng::Rng;
use crate::tensor::{DType, Tensor};

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// The largest score.
    Greedy,
    /// By probability.
    Draw {
        /// What scores are divided by, above 0.
        temperature: f32,
        /// How many tokens are left, at least 1; `None`: all.
        top_k: Option<usize>,
        /// The probability that is left, above 0 and at most 1, which leaves all.
        top_p: f32,
    },
}

/// How tokens are chosen, and how those are treated that were seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// How a token is chosen.
    pub choice: Choice,
    /// What scores of seen tokens are divided by, above 0; 1 leaves them as they are.
    pub repetition_penalty: f32,
}

impl Sampling {
    /// # Errors
    /// [`Kind::Usage`] naming the setting that is out of its range.
    pub fn check(&self) -> Result<()> {
        let require = |holds: bool, what: String| if holds { Ok(()) } else { Err(Error::usage(what)) };
        let penalty = self.repetition_penalty;
        require(
            penalty > 0.0 && penalty.is_finite(),
            format!("repetition penalty {penalty}: give a number above 0; 1 is none"),
        )?;
        let Choice::Draw { temperature, top_k, top_p } = self.choice else { return Ok(()) };
        require(
            temperature > 0.0 && temperature.is_finite(),
            format!("temperature {temperature}: give a number above 0, or choose greedily"),
        )?;
        require(top_k != Some(0), "top k 0: give at least 1, or leave it out".into())?;
        require(top_p > 0.0 && top_p <= 1.0, format!("top p {top_p}: give a number above 0 and at most 1"))
    }
}

/// The address of the random numbers of a step.
#[derive(Clone, Copy, Debug)]
pub struct Draws<'a> {
    /// Of the run.
    pub seed: u64,
    /// The number of every sequence, which stays its own wherever it stands in a batch.
    pub sequences: &'a [u32],
    /// Tokens that were drawn for each before.
    pub step: u32,
}

impl Draws<'_> {
    /// A number in [0, 1) for every sequence, with the 24 bits that an f32 holds.
    fn uniforms(&self) -> Vec<f32> {
        let index = |&sequence: &u32| u64::from(sequence) << 32 | u64::from(self.step);
        let draw =
            |sequence| (Rng::new(self.seed, "sample", index(sequence)).next_u32() >> 8) as f32 / (1 << 24) as f32;
        self.sequences.iter().map(draw).collect()
    }
}

/// Which tokens of a vocabulary every sequence has seen: its prompt, and what was chosen.
#[derive(Clone, Debug)]
pub struct Seen(Tensor);

impl Seen {
    /// Nothing was seen.
    pub fn new(batch: usize, vocabulary: usize, device: Device) -> Seen {
        Seen(Tensor::zeros_on(device, DType::U8, &[batch, vocabulary]))
    }
    /// Adds ids I32 [B,T], where this lies; an id outside the vocabulary, such as -1, is padding.
    #[track_caller]
    pub fn add(&mut self, ids: &Tensor) {
        let [batch, vocabulary] = self.0.dims("Seen");
        let [b, count] = ids.dims("ids that were seen");
        assert_eq!(b, batch, "Seen::add: ids of every sequence");
        if self.0.device() != Device::Host {
            self.0.unshare();
            kernels::sample_add_seen(Launch::elements(ids.len(), 128), &mut self.0, ids, count, vocabulary, ids.len());
            return;
        }
        let marks = self.0.values_mut::<u8>();
        for (at, &id) in ids.values::<i32>().iter().enumerate() {
            if let Some(id) = usize::try_from(id).ok().filter(|&id| id < vocabulary) {
                marks[at / count * vocabulary + id] = 1;
            }
        }
    }
}

/// The tokens of a step.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// On the host.
    pub ids: Vec<i32>,
    /// The same, I32 [B], where the logits lie.
    pub tensor: Tensor,
    /// Their log-probabilities under the softmax of the logits as they came.
    pub log_probs: Vec<f32>,
}

/// Chooses a token for every row of logits [B,V]; `seen` lies where they do.
///
/// # Errors
/// What [`Sampling::check`] finds; [`Kind::Diverged`] naming a sequence whose logits are no numbers.
#[track_caller]
pub fn sample(logits: &Tensor, seen: Option<&Seen>, sampling: &Sampling, draws: &Draws) -> Result<Chosen> {
    sampling.check()?;
    let [batch, vocabulary] = logits.dims("sample logits");
    assert!(vocabulary > 0 && vocabulary < 1 << 24, "sample: a vocabulary of {vocabulary} tokens");
    assert_eq!(draws.sequences.len(), batch, "sample: a number for every sequence");
    let seen = seen.map(|seen| &seen.0);
    if let Some(seen) = seen {
        seen.expect_shape("sample: what was seen", &[batch, vocabulary]);
    }
    let uniforms = draws.uniforms();
    let (tensor, log_probs) = if logits.device() == Device::Host {
        host::sample(logits, seen, sampling, &uniforms)
    } else {
        on_device(logits, seen, sampling, &uniforms)
    };
    let ids = tensor.to(Device::Host).values::<i32>().to_vec();
    if let Some(row) = ids.iter().position(|&id| id < 0) {
        let sequence = draws.sequences[row];
        let message = format!("the logits of sequence {sequence} at step {} are NaN or infinite", draws.step);
        return Err(Error::new(Kind::Diverged, message)
            .hint("the weights or the input hold numbers that are none, or activations overflow: check both"));
    }
    Ok(Chosen { ids, tensor, log_probs: log_probs.to_host_f32().data().to_vec() })
}

#[track_caller]
fn on_device(logits: &Tensor, seen: Option<&Tensor>, sampling: &Sampling, uniforms: &[f32]) -> (Tensor, Tensor) {
    let [batch, vocabulary] = logits.dims("sample logits");
    let device = logits.device();
    let uniforms = Tensor::from_slice(&[batch], uniforms).to(device);
    let mut ids = Tensor::uninit_on(device, DType::I32, &[batch]);
    let [mut log_probs, mut scores] = [logits.like_f32(&[batch]), logits.like_f32(&[batch, vocabulary])];
    let (temperature, top_k, top_p, is_greedy) = match sampling.choice {
        Choice::Greedy => (1.0, vocabulary, 1.0, true),
        Choice::Draw { temperature, top_k, top_p } => (temperature, top_k.unwrap_or(vocabulary), top_p, false),
    };
    kernels::sample_choose(
        Launch::rows(batch, 1024),
        &mut ids,
        &mut log_probs,
        &mut scores,
        logits,
        seen,
        &uniforms,
        vocabulary,
        sampling.repetition_penalty,
        temperature,
        top_k.min(vocabulary),
        top_p,
        is_greedy,
    );
    (ids, log_probs)
}
