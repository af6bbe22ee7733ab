//! The programs as users call them: recordings, listening, training on text, scoring, a teacher, the lines of the README, the check
//! of a GPU.

#[path = "../common/mod.rs"]
mod common;
mod evaluator;
mod gpu_check;
mod language;
mod listen;
mod plan;
mod readme;
mod recordings;
mod scoring;
mod teacher;
