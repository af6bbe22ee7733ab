//! Answers in words to questions about clips.

use super::Family;
use super::prompt::Document;
use crate::device::product::Threads;
use crate::error::{Error, Result};
use crate::language::example;
use crate::language::generate::{Asked, Continued, Decoding, Room};
use crate::language::rows::Row;
use crate::language::tokenizer::Stream;
use crate::nn::Forward;
use crate::ops::sample::Sampling;
use crate::projector::{Ablation, Clip};

/// How answers are made.
#[derive(Clone, Debug)]
pub struct Answering {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Seed of the draws.
    pub seed: u64,
    /// Tokens of an answer, at most.
    pub new_max: usize,
    /// Texts that end an answer; what follows the first of them is cut off, itself included.
    pub stops: Vec<String>,
    /// What is taken from what is heard.
    pub ablation: Ablation,
    /// Whether an answer has the same bytes alone and in any batch, which is slower.
    pub is_batch_invariant: bool,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What the model says, reasoning included.
    pub text: String,
    /// Log-probability of each of its tokens.
    pub log_probs: Vec<f32>,
    /// Whether it ended by itself.
    pub is_whole: bool,
}

/// A question, and what is heard.
pub struct Asking<'a> {
    /// The conversation, whose last turn is the user's.
    pub row: &'a Row,
    /// What the encoders made of its clip; `None` for text alone.
    pub heard: Option<&'a Clip>,
    /// Its number, which decides its draws wherever it stands in a batch.
    pub number: u32,
}

impl Family {
    /// Answers questions together. `watch` is told the number of the question among these and each piece of its answer as it
    /// comes.
    ///
    /// # Errors
    /// `Data` naming a question that cannot be encoded; `Usage` for settings out of range or a prompt longer than the decoder
    /// takes; `Diverged` for logits that are no numbers.
    pub fn answer(
        &self,
        asked: &[Asking],
        answering: &Answering,
        mut watch: impl FnMut(usize, &str),
    ) -> Result<Vec<Answer>> {
        let clips: Vec<Clip> = asked.iter().filter_map(|a| a.heard.cloned()).collect();
        let heard = if clips.is_empty() { None } else { Some(self.audio_rows(&clips, answering.ablation)?) };
        let mut counts = heard.iter().flat_map(|batch| batch.counts.iter().copied());
        let mut documents = Vec::with_capacity(asked.len());
        for question in asked {
            let prompt = example::prompt(&self.tokenizer, &self.template, question.row)?;
            let rows = if question.heard.is_some() { counts.next().expect("a count for every clip") } else { 0 };
            if question.heard.is_some() != prompt.anchor.is_some() {
                return Err(Error::data(format!("{}: the prompt has no place for the audio", question.row.place)));
            }
            documents.push(Document::new(&prompt, rows));
        }
        let longest = documents.iter().map(|d| d.ids.len()).max().unwrap_or(0);
        let (capacity, most) = (longest + answering.new_max, self.decoder.config.positions);
        if capacity > most {
            let at = documents.iter().position(|d| d.ids.len() == longest).unwrap_or(0);
            let (place, new) = (&asked[at].row.place, answering.new_max);
            return Err(Error::data(format!(
                "{place}: a prompt of {longest} tokens and {new} more: the decoder takes {most}"
            ))
            .hint("shorten it, or give a smaller --max-new"));
        }
        let views: Vec<&Document> = documents.iter().collect();
        let products = if answering.is_batch_invariant { Threads::Apart } else { Threads::All };
        let room = Room { capacity, active: usize::MAX, products };
        let embedded = |c: &mut Forward| self.embedded(c, &views, heard.as_ref());
        let (mut decoding, logits) =
            Decoding::start(&self.decoder, &self.params, embedded, &self.packed(&views), room)?;
        let prompts: Vec<Vec<u32>> = documents.iter().map(|d| d.ids.clone()).collect();
        let sequences: Vec<u32> = asked.iter().map(|a| a.number).collect();
        let how = Asked {
            sampling: answering.sampling,
            seed: answering.seed,
            sequences: &sequences,
            ends: self.tokenizer.eos(),
            new_max: answering.new_max,
            prompts: &prompts,
        };
        let mut texts: Vec<Text> = asked.iter().map(|_| Text::new(self, &answering.stops)).collect();
        let found = decoding.run(logits, &how, |i, id| texts[i].push(id, |piece| watch(i, piece)))?;
        let end = |(i, (text, found)): (usize, (Text, Continued))| Answer {
            text: text.finish(|piece| watch(i, piece)),
            log_probs: found.log_probs,
            is_whole: found.is_whole,
        };
        Ok(texts.into_iter().zip(found).enumerate().map(end).collect())
    }
}

/// The text of an answer as it grows.
struct Text<'a> {
    stream: Stream<'a>,
    stops: &'a [String],
    text: String,
    /// Bytes that were shown.
    shown: usize,
    is_over: bool,
}

impl<'a> Text<'a> {
    fn new(family: &'a Family, stops: &'a [String]) -> Text<'a> {
        // Tags such as <think> may be special tokens, and are part of what is said.
        Text { stream: family.tokenizer.stream(true), stops, text: String::new(), shown: 0, is_over: false }
    }

    /// Adds a token; whether the answer is over.
    fn push(&mut self, id: u32, show: impl FnMut(&str)) -> bool {
        if let Some(piece) = self.stream.push(id) {
            self.add(&piece, show);
        }
        self.is_over
    }

    fn add(&mut self, piece: &str, mut show: impl FnMut(&str)) {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        self.text.push_str(piece);
        let found = self.stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| self.text.find(stop)).min();
        if let Some(at) = found {
            self.text.truncate(at);
            self.is_over = true;
        }
        // What may be the begin of a stop waits.
        let mut ready = if self.is_over { self.text.len() } else { self.text.len().saturating_sub(longest) };
        while !self.text.is_char_boundary(ready) {
            ready -= 1;
        }
        if ready > self.shown {
            show(&self.text[self.shown..ready]);
            self.shown = ready;
        }
    }

    fn finish(mut self, mut show: impl FnMut(&str)) -> String {
        let rest = self.stream.rest();
        if let Some(rest) = rest.filter(|_| !self.is_over) {
            self.add(&rest, &mut show);
        }
        if self.shown < self.text.len() {
            show(&self.text[self.shown..]);
        }
        self.text
    }
}
