//! Text around the model: multiple-choice questions, answers to them, and answers to single statements.

pub mod judgements;
pub mod numbers;
pub mod open_questions;
pub mod prompt;
pub mod questions;
pub mod strata;
