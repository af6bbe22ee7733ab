//! Text around the model: multiple-choice questions, answers to them, answers to single statements, names of sounds.

pub mod judgements;
pub mod numbers;
pub mod open_questions;
pub mod prompt;
pub mod questions;
pub mod stems;
pub mod strata;
