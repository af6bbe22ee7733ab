//! Answers laid beside the questions that they belong to.

use super::parse::{Match, Reading, read_option};
use crate::error::{Error, Result};
use crate::text::questions::{Answer, Letter, Question};
use std::collections::BTreeMap;
use std::path::Path;

/// What each question was answered, in the order of the questions; `None` where an answer is missing.
///
/// # Errors
/// `Data` naming `path` and the id when an answer is to none of the questions.
pub fn read_sheet(
    questions: &[Question],
    answers: &[Answer],
    path: &Path,
    rule: Match,
) -> Result<Vec<Option<Reading>>> {
    let places = places(questions);
    let mut sheet = vec![None; questions.len()];
    for answer in answers {
        let place = place_of(&places, &answer.sample_id, path)?;
        sheet[place] = Some(read_option(&answer.said, questions[place].options(), rule));
    }
    Ok(sheet)
}

/// Where each id stands.
pub(super) fn places(questions: &[Question]) -> BTreeMap<&str, usize> {
    questions.iter().enumerate().map(|(i, q)| (q.sample_id.as_str(), i)).collect()
}

/// Where the question `id` stands; `path` names the file that answers it.
pub(super) fn place_of(places: &BTreeMap<&str, usize>, id: &str, path: &Path) -> Result<usize> {
    places.get(id).copied().ok_or_else(|| {
        Error::data(format!("{}: sample_id {id:?} is no question of the benchmark", path.display()))
            .hint("score answers with the benchmark whose questions they answer, under the same sample ids")
    })
}

/// The right letter. Panics where a question has none: [`super::load_questions`] lets none through.
#[track_caller]
pub(super) fn truth(question: &Question) -> Letter {
    question.answer_letter.expect("questions are scored with their answers")
}
