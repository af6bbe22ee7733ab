//! A benchmark from ground truth (paper 5.2, C): questions with four options, made by rule from the RTSD of scenes.
//!
//! ```text
//! scene's truth -> facts -> draft (question, four options, a claim behind each) -> check -> balance -> rows
//! ```
//! A draft enters only when the claim behind its key is clearly true and the three others are clearly false
//! ([`claims`] knows the margins). Options are drawn so that, seen without the sound, each is as likely as the next:
//! values from the distribution that true values have, or all four combinations of two attributes; what chance leaves
//! over is evened out by [`balance`]. So a reader without ears stays at one in four.
//!
//! Questions can also be written by a language model behind an HTTP endpoint ([`teacher`]). What it writes is read back
//! into claims ([`reading`]) and goes through the same check.

pub mod balance;
pub mod claims;
pub mod draft;
pub mod export;

pub mod facts;
pub mod generate;
mod integration;
pub mod knowledge;
pub mod leaks;
pub mod mono;

mod perception;

pub mod reading;
mod reasoning;
mod strata;
mod task;
pub mod teacher;
pub mod training;
pub mod verdict;

mod wording;

pub use task::Task;
