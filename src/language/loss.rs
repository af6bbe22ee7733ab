//! The loss of a language model: which token every row should predict, and with what weight.

use super::decoder::{Decoder, Documents};
use crate::nn::Forward;
use crate::ops::arrange::reshape;
use crate::ops::linear_cross_entropy::linear_cross_entropy;
use crate::tape::Var;
use crate::tensor::Tensor;

/// What the last rows of packed documents predict, on the host.
pub struct Targets {
    /// The token that every such row predicts, I32 [M]; 0 where nothing is asked.
    ids: Tensor,
    /// The weight of every such row in the loss, f32 [M]; 0 where nothing is asked.
    weights: Tensor,
    /// How many rows of every document these are: from the first that predicts something on.
    tails: Vec<usize>,
}

impl Targets {
    /// From the tokens of every document and whether each is part of the loss: a row predicts the token after it, the first
    /// token of a document is predicted by none. Every predicted token weighs `weight`. Panics when lengths differ.
    #[track_caller]
    pub fn new(documents: &[(&[u32], &[bool])], weight: f32) -> Targets {
        Targets::from_weights(documents.iter().map(|(tokens, is_asked)| {
            assert_eq!(tokens.len(), is_asked.len(), "a mask for every token");
            (*tokens, |token: usize| if is_asked[token] { weight } else { 0.0 })
        }))
    }

    /// The same with a weight for every token; those of weight 0 are not asked for.
    #[track_caller]
    pub fn weighted(documents: &[(&[u32], &[f32])]) -> Targets {
        Targets::from_weights(documents.iter().map(|(tokens, weights)| {
            assert_eq!(tokens.len(), weights.len(), "a weight for every token");
            (*tokens, |token: usize| weights[token])
        }))
    }

    fn from_weights<'a, W: Fn(usize) -> f32>(documents: impl Iterator<Item = (&'a [u32], W)>) -> Targets {
        let (mut ids, mut weights, mut tails) = (Vec::new(), Vec::new(), Vec::new());
        for (tokens, weight_of) in documents {
            let weight = |row: usize| if row + 1 < tokens.len() { weight_of(row + 1) } else { 0.0 };
            let first = (0..tokens.len()).find(|&row| weight(row) != 0.0).unwrap_or(tokens.len());
            tails.push(tokens.len() - first);
            ids.extend((first..tokens.len()).map(|row| if weight(row) != 0.0 { tokens[row + 1] as i32 } else { 0 }));
            weights.extend((first..tokens.len()).map(weight));
        }
        let rows = ids.len();
        Targets { ids: Tensor::from_slice(&[rows], &ids), weights: Tensor::from_slice(&[rows], &weights), tails }
    }

    /// How many tokens of these documents are predicted.
    pub fn count_of(documents: &[(&[u32], &[bool])]) -> usize {
        documents.iter().map(|(_, is_asked)| is_asked.iter().skip(1).filter(|&&asked| asked).count()).sum()
    }

    /// How many rows at the end of every document have outputs that the loss needs: for [`Documents::asking`].
    pub fn tails(&self) -> &[usize] {
        &self.tails
    }
}

/// The sum of weight times -log p over the predicted tokens, from the normed rows `hidden` [1,M,C] of documents that were asked
/// for the outputs that `targets` need, or for all.
#[track_caller]
pub fn loss(c: &mut Forward, decoder: &Decoder, hidden: &Var, documents: &Documents, targets: &Targets) -> Var {
    let rows = hidden.shape()[1];
    let (mut ids, mut weights) = (targets.ids.clone(), targets.weights.clone());
    if rows != ids.len() {
        (ids, weights) = targets.among(documents.outputs());
    }
    let hidden = reshape(&mut c.tape, hidden, &[rows, decoder.config.hidden]);
    let head = decoder.head(c);
    linear_cross_entropy(&mut c.tape, &hidden, &head, &ids, &weights)
}

impl Targets {
    /// The targets of all outputs of documents that begin at `starts`. Panics when a document has fewer than are needed.
    #[track_caller]
    fn among(&self, starts: &[usize]) -> (Tensor, Tensor) {
        assert_eq!(starts.len(), self.tails.len() + 1, "targets for every document");
        let total = starts[self.tails.len()];
        let (mut ids, mut weights, mut from) = (vec![0i32; total], vec![0.0f32; total], 0);
        for (&end, &count) in starts[1..].iter().zip(&self.tails) {
            ids[end - count..end].copy_from_slice(&self.ids.values::<i32>()[from..from + count]);
            weights[end - count..end].copy_from_slice(&self.weights.data()[from..from + count]);
            from += count;
        }
        (Tensor::from_slice(&[total], &ids), Tensor::from_slice(&[total], &weights))
    }
}
