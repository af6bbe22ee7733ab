//! Text around the model: multiple-choice questions and answers to them.

pub mod questions;
