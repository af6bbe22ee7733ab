//! The guard: whether the text of a question and its options says what the claims beside it assert.
//!
//! ```text
//! text -> skeleton (sounds, numbers with units, sides, order; all else must be known to change nothing)
//! claim -> the skeletons that say it                           equal, or the row does not enter
//! ```
//! It trusts nobody: who reads the row again may only repeat the claims. A word of unknown part, a sound, number, unit, side or
//! negation too many or too few, words that speak to a reader: each refuses the row. What is refused in doubt is made by rule.

mod atoms;
mod forms;
mod options;
mod pattern;
mod questions;
mod skeleton;
mod words;

#[cfg(test)]
mod tests;

use super::super::claims::Claim;
use super::super::draft::Pool;
use super::super::facts::Facts;
use super::super::reading::read;
use super::super::task::Task;
use super::outcome::Outcome;
use atoms::{Atom, atoms};
use options::{Asked, says};
use questions::{Question, asks};
use skeleton::Names;

/// What begins a question that has no question mark.
const IMPERATIVES: &str = "identify name give estimate state tell find count choose select pick determine describe compare locate \
     judge say report specify localise localize transcribe pinpoint match indicate classify";

/// Whether question and options say what the claims assert.
///
/// # Errors
/// What of it differs, for the count of outcomes.
pub(super) fn guard(
    task: Task,
    question: &str,
    options: &[String; 4],
    claims: &[Claim; 4],
    facts: &Facts,
    pool: &Pool,
) -> Result<(), Outcome> {
    let begins = |text: &str| {
        text.split([' ', ',']).next().is_some_and(|w| IMPERATIVES.split_whitespace().any(|i| i == w.to_lowercase()))
    };
    let clauses = || question.split(['.', '?', '!', ':', ';']).map(str::trim);
    if !question.contains('?') && !clauses().any(begins) {
        return Err(Outcome::OtherWording);
    }
    if speaks_of_answering(question) {
        return Err(Outcome::Instruction);
    }
    let names = Names::new(task, facts, pool);
    let skeleton = names.skeleton(question, true)?;
    let question = Question::new(skeleton, task, facts, !question.contains(".0"));
    if canonical(task).is_some() {
        sentences(task, options, facts, pool).ok_or(Outcome::Unreadable)?;
        return if question.asks_openly() { Ok(()) } else { Err(Outcome::OtherWording) };
    }
    let parts: Vec<Vec<Atom>> = claims
        .iter()
        .map(|claim| atoms(claim, facts).filter(|a| !a.is_empty()))
        .collect::<Option<_>>()
        .ok_or(Outcome::WrongClaims)?;
    let parts: [Vec<Atom>; 4] = parts.try_into().expect("four claims");
    asks(&question, task, facts, &parts)?;
    let (closer, farther) = question.closer_or_farther();
    let (unit, region) = (question.unit(task), question.region(&parts));
    let asked = Asked { names: &names, unit, region, farther, closer };
    options.iter().zip(&parts).try_for_each(|(option, atoms)| says(&asked, pool, option, atoms))
}

/// Whether a sentence that asks nothing speaks of options or of what is right: "the second choice is the true one".
fn speaks_of_answering(question: &str) -> bool {
    const OF_OPTIONS: &str = "answer answers option options choice choices choose select pick";
    const OF_TRUTH: &str = "correct correctly accurate accurately true truthful truthfully valid best";
    let lower = question.to_lowercase();
    let words = |text: &str| {
        text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    let sentences = lower.split_inclusive(['.', '?', '!', ';', ':', '(', ')']);
    let mut sentences = sentences.map(|sentence| (words(sentence), sentence.ends_with('?')));
    let has = |words: &[String], list: &str| words.iter().any(|w| list.split(' ').any(|l| l == w));
    let begins = |words: &[String]| words.first().is_some_and(|w| IMPERATIVES.split_whitespace().any(|i| i == w));
    // "Second" is no unit, and no option has a number.
    words(&lower).iter().any(|w| w == "second")
        || sentences.any(|(words, asks)| {
            !asks && !begins(&words) && (has(&words, OF_OPTIONS) || has(&words, OF_TRUTH) && !has(&words, "one"))
        })
}

/// What options assert that are sentences of ours, whatever the question: what scenes mean is told in no others.
pub(super) fn sentences(task: Task, options: &[String; 4], facts: &Facts, pool: &Pool) -> Option<[Claim; 4]> {
    read(task, canonical(task)?, options, facts, pool).ok()
}

/// A question of ours, for tasks whose options are sentences of ours.
fn canonical(task: Task) -> Option<&'static str> {
    match task {
        Task::SceneAbduction => Some("What is most likely going on here?"),
        Task::CausalIntent => Some("What is the sound that begins last most likely for?"),
        _ => None,
    }
}
