//! Scores of answers to questions: four options of which one is chosen, or each option judged true or false.
//!
//! [`read_option`] turns what a model said into an option, [`Score::of`] counts, [`BooleanScore::of`] counts the
//! per-option protocol, [`compare`](mod@compare) sets two files of answers against each other, [`Reference`]
//! answers without listening. Scoring opens no device and no audio, and its result does not depend on the order of rows.

mod bag_of_words;
mod boolean;
mod boosted;
mod boosted_features;
mod candidates;
pub mod compare;
pub mod contest;
mod cross_question;
mod decide;
mod features;
mod final_answer;
mod forms;
mod groups;
pub mod heard;
#[cfg(test)]
mod leak_tests;
mod normal;
mod offers;
mod ordinals;
mod parse;
mod per_question;
mod places;
#[cfg(test)]
mod prose_tests;
mod reference;
mod roles;
mod scenes;
mod scope;
mod score;
mod sheet;
pub mod shuffle;
mod tasks;
#[cfg(test)]
mod tests;
mod tokens;

pub use bag_of_words::BagOfWords;
pub use boolean::{BooleanScore, BooleanShare, StrictChance, read_judgement};
pub use boosted::Boosted;
pub use final_answer::final_answer;
pub use groups::Groups;
pub use parse::{Found, Match, Reading, read_found, read_option};
pub use per_question::{QuestionRow, per_question, write_per_question};
pub use reference::{Reference, letters};
pub use scenes::{STRATA_ROWS_MAX, Scenes, StratumScore, right, strata_beside};
pub use score::{CHANCE, LetterScore, Score, load_questions};
pub use sheet::read_sheet;
pub use tasks::{FAMILIES, Family, family_of, is_location};
