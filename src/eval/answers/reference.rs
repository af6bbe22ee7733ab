//! Answers without listening: what a score has to beat, and what a benchmark must not give away.

use super::bag_of_words::BagOfWords;
use super::features::hash_of;
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::text::questions::{Answer, Letter, Question, Said};

/// An answerer that reads questions at most.
pub enum Reference {
    /// A letter drawn for each question, by seed and sample id.
    Random {
        /// Seed.
        seed: u64,
    },
    /// Always the same letter.
    Constant(Letter),
    /// The most probable option by the words of question and options.
    BagOfWords(Box<BagOfWords>),
}

impl Reference {
    /// The constant letter that is right most often in `train` (the first of equals).
    ///
    /// # Errors
    /// `Data` when no question of `train` has an answer.
    pub fn most_frequent(train: &[Question]) -> Result<Reference> {
        let count = |letter: &Letter| train.iter().filter(|q| q.answer_letter == Some(*letter)).count();
        let best = Letter::ALL.into_iter().rev().max_by_key(count).filter(|letter| count(letter) > 0);
        best.map(Reference::Constant).ok_or_else(|| Error::data("no training question has an answer_letter"))
    }

    /// One answer per question, in their order; an answer depends on its question alone.
    pub fn answer(&self, questions: &[Question]) -> Vec<Answer> {
        let letter = |question: &Question| match self {
            Reference::Random { seed } => {
                Letter::ALL[Rng::new(*seed, "answer", hash_of(&question.sample_id)).below(Letter::ALL.len())]
            }
            Reference::Constant(letter) => *letter,
            Reference::BagOfWords(model) => model.choose(question),
        };
        let answer = |q: &Question| Answer { sample_id: q.sample_id.clone(), said: Said::Letter(letter(q)) };
        questions.iter().map(answer).collect()
    }
}
