//! The programs as users call them: listening, scoring, a teacher, the lines of the README, and the check of a GPU.

#[path = "../common/mod.rs"]
mod common;
mod gpu_check;
mod listen;
mod readme;
mod scoring;
mod teacher;
