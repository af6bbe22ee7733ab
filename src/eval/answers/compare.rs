//! Two files of answers to the same questions: which one is better, and whether the order of options matters.

use super::parse::Reading;
use super::scenes::{Scenes, right};
use super::sheet::{place_of, places, truth};
use crate::error::{Error, Result};
use crate::eval::clusters::{Pair, Tally, compare_clustered};
use crate::eval::statistics::{McNemar, Share};
use crate::text::questions::Question;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// McNemar's test of two answerers, over scenes where some have several questions; the sheets hold one entry per question,
/// of which there is at least one.
#[track_caller]
pub fn compare(
    questions: &[Question],
    first: &[Option<Reading>],
    second: &[Option<Reading>],
    scenes: &Scenes,
) -> McNemar {
    let [first, second] = [first, second].map(|sheet| right(questions, sheet));
    let mut pairs = vec![Pair::default(); scenes.clustering().scenes];
    (0..questions.len()).for_each(|i| pairs[scenes.of(i)].add(first[i], second[i]));
    compare_clustered(&pairs)
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
    /// Lower end of the 95 % interval of the consistency, over scenes as those of shares.
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
    scenes: &Scenes,
) -> Result<Consistency> {
    let places = places(shuffled);
    let (mut same, mut unanswered, mut right) = (Tally::default(), 0, 0);
    for (i, (question, reading)) in questions.iter().zip(sheet).enumerate() {
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
        same.add(scenes.of(i), chosen.is_some() && chosen == again);
        unanswered += usize::from(chosen.is_none() || again.is_none());
        right += usize::from(again == Some(question.options()[truth(question).index()]));
    }
    let share = Share::of(&same);
    Ok(Consistency {
        consistency: share.accuracy.unwrap_or(0.0),
        n: questions.len(),
        same: share.correct,
        unanswered,
        low: share.low.unwrap_or(0.0),
        high: share.high.unwrap_or(1.0),
        accuracy: Share::new(right, questions.len()).accuracy.unwrap_or(0.0),
    })
}
