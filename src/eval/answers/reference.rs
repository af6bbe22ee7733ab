//! Answers without listening: what a score has to beat, and what a benchmark must not give away.

use super::bag_of_words::BagOfWords;
use super::boosted::Boosted;
use super::cross_question;
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
    /// The most probable option by trees over its features.
    Boosted(Box<Boosted>),
    /// What the other questions of the file tell of each question's scene.
    CrossQuestion,
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

    /// One answer per question, in their order; an answer depends on its question alone, but for
    /// [`Reference::CrossQuestion`], where it depends on all of them.
    pub fn answer(&self, questions: &[Question]) -> Vec<Answer> {
        if let Reference::CrossQuestion = self {
            return letters(questions, cross_question::answers(questions));
        }
        let letter = |question: &Question| match self {
            Reference::Random { seed } => {
                Letter::ALL[Rng::new(*seed, "answer", hash_of(&question.sample_id)).below(Letter::ALL.len())]
            }
            Reference::Constant(letter) => *letter,
            Reference::BagOfWords(model) => model.choose(question),
            Reference::Boosted(model) => model.choose(question),
            Reference::CrossQuestion => unreachable!("answered above"),
        };
        letters(questions, questions.iter().map(letter).collect())
    }
}

/// Letters as answers to the questions beside which they stand.
pub fn letters(questions: &[Question], letters: Vec<Letter>) -> Vec<Answer> {
    let answer =
        |(q, letter): (&Question, Letter)| Answer { sample_id: q.sample_id.clone(), said: Said::Letter(letter) };
    questions.iter().zip(letters).map(answer).collect()
}
