//! The programs as users call them: recordings, listening, scoring, a teacher, the lines of the README, the check of a GPU.

#[path = "../common/mod.rs"]
mod common;
mod gpu_check;
mod listen;
mod plan;
mod readme;
mod recordings;
mod scoring;
mod teacher;
