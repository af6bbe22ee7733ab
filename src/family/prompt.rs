//! Prompts with what is heard in them: tokens of text, and rows of the projector where the anchor stands.

use super::Family;
use crate::error::Result;
use crate::language::decoder::Documents;
use crate::language::example::Example;
use crate::nn::Forward;
use crate::ops::arrange::reshape;
use crate::ops::elementwise;
use crate::ops::embedding::splice;
use crate::projector::{Ablation, Batch, Clip};
use crate::tape::Var;
use crate::tensor::Tensor;
use std::ops::Range;

/// A document: tokens of text, with room where the audio is put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// One id per row; 0 where the audio stands, whose embedding is not read.
    pub ids: Vec<u32>,
    /// Whether the loss counts the prediction of the row.
    pub is_target: Vec<bool>,
    /// The rows of the audio.
    pub audio: Option<Range<usize>>,
}

impl Document {
    /// An example with its anchor widened to `rows`; without an anchor the text alone. Panics for an anchor without rows.
    #[track_caller]
    pub fn new(example: &Example, rows: usize) -> Document {
        let Example { ids, is_target, anchor } = example;
        let Some(at) = *anchor else {
            return Document { ids: ids.clone(), is_target: is_target.clone(), audio: None };
        };
        assert!(rows > 0, "an anchor of the audio, but no rows");
        let widened = |filler: u32| {
            ids[..at].iter().copied().chain(std::iter::repeat_n(filler, rows)).chain(ids[at + 1..].iter().copied())
        };
        let mask = is_target[..at].iter().copied().chain(std::iter::repeat_n(false, rows));
        Document {
            ids: widened(0).collect(),
            is_target: mask.chain(is_target[at + 1..].iter().copied()).collect(),
            audio: Some(at..at + rows),
        }
    }
}

impl Family {
    /// Rows that the projector makes of each clip.
    ///
    /// # Errors
    /// Those of [`Batch::new`].
    pub fn audio_rows(&self, clips: &[Clip], ablation: Ablation) -> Result<Batch> {
        Ok(Batch::new(&self.projector.config, clips, ablation)?.to(self.device()))
    }

    /// The embedded tokens of documents, one after the other, with the rows of `heard` in the places of the audio, in order:
    /// [1,T,C]. Panics when rows and places differ in number.
    #[track_caller]
    pub fn embedded(&self, c: &mut Forward, documents: &[&Document], heard: Option<&Batch>) -> Var {
        let device = self.device();
        let ids: Vec<i32> = documents.iter().flat_map(|d| &d.ids).map(|&id| id as i32).collect();
        let (tokens, width) = (ids.len(), self.decoder.config.hidden);
        let text = self.decoder.embed(c, &Tensor::from_slice(&[tokens], &ids).to(device));
        let mut places = Vec::new();
        let mut first = 0;
        for document in documents {
            places.extend(document.audio.iter().cloned().flatten().map(|row| (first + row) as i32));
            first += document.ids.len();
        }
        let Some(heard) = heard else {
            assert!(places.is_empty(), "documents with audio, but nothing that is heard");
            return reshape(&mut c.tape, &text, &[1, tokens, width]);
        };
        let rows = self.projector.forward(c, heard);
        let rows = elementwise::cast(&mut c.tape, &rows, self.decoder.precision);
        assert_eq!(rows.shape()[0], places.len(), "rows of the projector and places in the documents");
        let places = Tensor::from_slice(&[places.len()], &places).to(device);
        let x = splice(&mut c.tape, &text, &rows, &places);
        reshape(&mut c.tape, &x, &[1, tokens, width])
    }

    /// How the decoder takes these documents.
    pub fn packed(&self, documents: &[&Document]) -> Documents {
        let lengths: Vec<usize> = documents.iter().map(|d| d.ids.len()).collect();
        Documents::new(&lengths, &self.decoder.config, self.device())
    }
}
