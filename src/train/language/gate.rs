//! Whether a decoder can answer questions about scenes in words: what later stages rest on.
//!
//! Two scores of greedy answers: the letter after the model's own reasoning, and the letter after the row's reasoning. The
//! second says whether the model finds a conclusion among the options at all, the first whether it also draws it.

use crate::device::Device;
use crate::device::product::Threads;
use crate::error::Result;
use crate::language::decoder::{Decoder, Documents};
use crate::language::example::{Example, answer_of};
use crate::language::generate::{Asked, Decoding, Room, greedy};
use crate::language::tokenizer::Tokenizer;
use crate::nn::{Forward, Params};
use crate::ops::sample::{Choice, Sampling};
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::text::questions::Letter;
use rayon::prelude::*;

/// Share of letters that must be right after the model's own reasoning, before audio is aligned with the decoder: below it
/// alignment teaches nothing.
pub const LETTERS_MIN: f64 = 0.80;
/// Share of letters that must be right after the row's reasoning.
pub const LETTERS_GIVEN_CHAIN_MIN: f64 = 0.95;
/// Questions that are answered together.
const TOGETHER: usize = 16;
const OPEN: &str = "<answer>";
const CLOSE: &str = "</answer>";

/// A question whose answer is a letter.
pub struct Question {
    /// The tokens up to where the model answers.
    prompt: Vec<u32>,
    /// The tokens of the whole row up to `<answer>`.
    chain: Vec<u32>,
    letter: Letter,
    /// The token of the letter.
    id: u32,
}

impl Question {
    /// A row whose response ends with a letter between the tags of an answer; `None` for others.
    pub fn of(tokenizer: &Tokenizer, prompt: &Example, whole: &Example) -> Option<Question> {
        let (open, close) = (tokenizer.id_of(OPEN)?, tokenizer.id_of(CLOSE)?);
        let at = whole.ids.iter().rposition(|&id| id == open)?;
        let [id, end] = *whole.ids.get(at + 1..at + 3)? else { return None };
        let letter = Letter::parse(&tokenizer.decode(&[id], false)).filter(|_| end == close)?;
        Some(Question { prompt: prompt.ids.clone(), chain: whole.ids[..=at].to_vec(), letter, id })
    }
}

/// What came of questions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gate {
    /// Questions asked.
    pub asked: usize,
    /// Answers of the form `..<answer>X</answer>`.
    pub formed: usize,
    /// Right letters after the model's own reasoning.
    pub right: usize,
    /// Right letters after the row's reasoning.
    pub right_given_chain: usize,
}

impl Gate {
    /// A count as a share of the questions.
    pub fn share(&self, count: usize) -> f64 {
        count as f64 / self.asked.max(1) as f64
    }

    fn plus(self, other: Gate) -> Gate {
        Gate {
            asked: self.asked + other.asked,
            formed: self.formed + other.formed,
            right: self.right + other.right,
            right_given_chain: self.right_given_chain + other.right_given_chain,
        }
    }
}

/// A decoder that is asked.
pub struct Exam<'a> {
    /// The decoder.
    pub decoder: &'a Decoder,
    /// Its parameters.
    pub params: &'a Params,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Tokens of an answer, at most.
    pub new_max: usize,
}

impl Exam<'_> {
    /// Asks questions: on the host several groups side by side, on a device one after the other.
    ///
    /// # Errors
    /// `Diverged` for logits that are no numbers.
    pub fn take(&self, questions: &[Question]) -> Result<Gate> {
        let groups: Vec<&[Question]> = questions.chunks(TOGETHER).collect();
        let found: Vec<Gate> = match self.params.device() {
            Device::Host => groups.into_par_iter().map(|group| self.group(group)).collect::<Result<_>>()?,
            _ => groups.into_iter().map(|group| self.group(group)).collect::<Result<_>>()?,
        };
        Ok(found.into_iter().fold(Gate::default(), Gate::plus))
    }

    fn group(&self, questions: &[Question]) -> Result<Gate> {
        let answers = self.answers(questions)?;
        let letters = answers.iter().map(|text| {
            let said = text.strip_suffix(CLOSE)?;
            said.contains(OPEN).then(|| Letter::parse(said[answer_of(said)].trim()))?
        });
        let letters: Vec<Option<Letter>> = letters.collect();
        let given = self.given_chain(questions);
        let right = |i: &usize| letters[*i] == Some(questions[*i].letter);
        Ok(Gate {
            asked: questions.len(),
            formed: letters.iter().flatten().count(),
            right: (0..questions.len()).filter(right).count(),
            right_given_chain: questions.iter().zip(given).filter(|(question, id)| question.id == *id).count(),
        })
    }

    /// The greedy answers, tags included.
    fn answers(&self, questions: &[Question]) -> Result<Vec<String>> {
        let (documents, ids) = self.packed(questions.iter().map(|question| &question.prompt[..]));
        let longest = questions.iter().map(|question| question.prompt.len()).max().unwrap_or(0);
        let room = Room { capacity: longest + self.new_max, active: usize::MAX, products: Threads::One };
        let embed = |c: &mut Forward| self.decoder.embed(c, &ids);
        let (mut decoding, logits) = Decoding::start(self.decoder, self.params, embed, &documents, room)?;
        let sequences: Vec<u32> = (0..questions.len() as u32).collect();
        let asked = Asked {
            sampling: Sampling { choice: Choice::Greedy, repetition_penalty: 1.0 },
            seed: 0,
            sequences: &sequences,
            ends: self.tokenizer.eos(),
            new_max: self.new_max,
            prompts: &[],
        };
        let close = self.tokenizer.id_of(CLOSE);
        let found = decoding.run(logits, &asked, |_, id| Some(id) == close)?;
        Ok(found.iter().map(|answer| self.tokenizer.decode(&answer.ids, true)).collect())
    }

    /// The likeliest token after the row's reasoning.
    fn given_chain(&self, questions: &[Question]) -> Vec<u32> {
        let (documents, ids) = self.packed(questions.iter().map(|question| &question.chain[..]));
        let documents = documents.asking(&vec![1; questions.len()]);
        let mut c = Forward::new(Tape::without_gradients(), self.params);
        let x = self.decoder.embed(&mut c, &ids);
        let hidden = self.decoder.hidden(&mut c, &x, &documents, usize::MAX);
        let logits = self.decoder.logits(&mut c, &hidden);
        greedy(&logits.tensor().reshape(&[questions.len(), self.decoder.config.vocabulary]))
    }

    fn packed<'q>(&self, texts: impl Iterator<Item = &'q [u32]>) -> (Documents, Tensor) {
        let (mut lengths, mut ids) = (Vec::new(), Vec::new());
        for text in texts {
            lengths.push(text.len());
            ids.extend(text.iter().map(|&id| id as i32));
        }
        let device = self.params.device();
        let documents = Documents::new(&lengths, &self.decoder.config, device);
        (documents, Tensor::from_slice(&[1, ids.len()], &ids).to(device))
    }
}
