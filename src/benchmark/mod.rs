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
//! Sources are called by [`names`] from their classes, captions and keywords; what might be another name for a sound of the
//! scene ([`alike`]) is no wrong option.
//!
//! Questions can also be written by a language model behind an HTTP endpoint ([`teacher`]). What it writes is read back
//! into claims ([`reading`]) and goes through the same check.

pub mod alike;
pub mod balance;
mod chain;
pub mod claims;
pub mod describe;
mod display;
pub mod draft;
pub mod export;
mod extended;

pub mod facts;
pub mod generate;
mod integration;
pub mod knowledge;
pub mod leaks;
pub mod mono;
pub mod names;

mod perception;
pub mod phrase;
mod phrases;

pub mod reading;
mod reasoning;
mod situations;
pub mod skip;
mod strata;
mod task;
pub mod teacher;
pub mod training;
pub mod verdict;

mod wording;

pub use task::{Task, TaskSet};
