//! Two files of answers to the same questions: which one is better, and whether the order of options matters.

use super::parse::Reading;
use super::sheet::{place_of, places, truth};
use crate::error::{Error, Result};
use crate::eval::statistics::{McNemar, Share};
use crate::text::questions::Question;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// McNemar's test of two answerers; the sheets hold one entry per question, of which there is at least one.
#[track_caller]
pub fn compare(questions: &[Question], first: &[Option<Reading>], second: &[Option<Reading>]) -> McNemar {
    assert!(questions.len() == first.len() && questions.len() == second.len(), "one entry per question");
    let mut counts = [0; 4];
    for ((question, first), second) in questions.iter().zip(first).zip(second) {
        let wrong = |reading: &Option<Reading>| reading.and_then(Reading::chosen) != Some(truth(question));
        counts[2 * usize::from(wrong(first)) + usize::from(wrong(second))] += 1;
    }
    McNemar::new(counts[0], counts[1], counts[2], counts[3])
}

/// Whether the same option was chosen when the options stood in another order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consistency {
    /// Share of all questions in which the same option was chosen; a question without a choice is not among them.
    pub consistency: f64,
    /// Number of questions.
    pub n: usize,
    /// In how many the same option was chosen.
    pub same: usize,
    /// Questions without a choice in at least one of the two orders.
    pub unanswered: usize,
    /// Lower end of the 95 % interval (Wilson) of the consistency.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Accuracy in the other order.
    pub accuracy: f64,
}

/// Compares choices by the text of the options. The second questions hold all of the first, with the same options in
/// any order; `path` names their file. Their own answers are not used.
///
/// # Errors
/// `Data` naming file and id when a question is missing or its options differ.
pub fn consistency(
    questions: &[Question],
    sheet: &[Option<Reading>],
    shuffled: &[Question],
    shuffled_sheet: &[Option<Reading>],
    path: &Path,
) -> Result<Consistency> {
    let places = places(shuffled);
    let (mut same, mut unanswered, mut right) = (0, 0, 0);
    for (question, reading) in questions.iter().zip(sheet) {
        let id = &question.sample_id;
        let Ok(place) = place_of(&places, id, path) else {
            return Err(Error::data(format!("{}: sample_id {id:?} is missing", path.display()))
                .hint("the shuffled benchmark holds the same questions with their options in another order"));
        };
        let other = &shuffled[place];
        let [mut here, mut there] = [question.options(), other.options()];
        here.sort_unstable();
        there.sort_unstable();
        if here != there {
            return Err(Error::data(format!("{}: the options of sample_id {id:?} are others", path.display())));
        }
        let chosen = reading.and_then(Reading::chosen).map(|letter| question.options()[letter.index()]);
        let again = shuffled_sheet[place].and_then(Reading::chosen).map(|letter| other.options()[letter.index()]);
        same += usize::from(chosen.is_some() && chosen == again);
        unanswered += usize::from(chosen.is_none() || again.is_none());
        right += usize::from(again == Some(question.options()[truth(question).index()]));
    }
    let share = Share::new(same, questions.len());
    Ok(Consistency {
        consistency: share.accuracy.unwrap_or(0.0),
        n: questions.len(),
        same,
        unanswered,
        low: share.low.unwrap_or(0.0),
        high: share.high.unwrap_or(1.0),
        accuracy: Share::new(right, questions.len()).accuracy.unwrap_or(0.0),
    })
}
