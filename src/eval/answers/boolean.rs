//! The per-option protocol: each option of a question is judged true or false on its own.
//!
//! Three of four statements are false, so saying "false" always scores 75 %: accuracies of this protocol stand beside
//! their own chance lines and never beside those of multiple choice. The balanced accuracy (mean of the shares right
//! among true and among false statements) is 50 % for every answerer that does not look; strict is a question all of
//! whose statements are right.

use super::candidates::Candidate;
use super::decide::{Decision, decide};
use super::final_answer::final_answer;
use super::groups::Groups;
use super::places::is_place_meant;
use super::roles::Role;
use super::score::fingerprint;
use super::sheet::{place_of, places, truth};
use super::tokens::Tokens;
use crate::error::Result;
use crate::eval::statistics::Share;
use crate::text::judgements::{Judgement, Statement};
use crate::text::questions::{Letter, Question};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The score of a group of statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BooleanShare {
    /// Statements judged right.
    #[serde(flatten)]
    pub share: Share,
    /// Mean of the shares right among true and among false statements; chance 0.5.
    pub balanced_accuracy: Option<f64>,
    /// What saying "true" to everything scores here.
    pub always_true: Option<f64>,
    /// What saying "false" to everything scores here.
    pub always_false: Option<f64>,
    /// What a coin scores.
    pub coin: f64,
    /// Questions all of whose statements were judged right.
    pub strict: Share,
}

/// What answerers that do not look score under the strict rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrictChance {
    /// A coin for every statement: 1/16.
    pub coin: f64,
    /// One statement of each question, drawn at random, called true: 1/4.
    pub one_true: f64,
}

/// The scores of one file of judgements; also the JSON of `twnm-eval boolean`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BooleanScore {
    /// Statements overall, by level, task and family, and about places; n counts statements.
    #[serde(flatten)]
    pub groups: Groups<BooleanShare>,
    /// How many statements were called true.
    pub said_true: usize,
    /// Judgements that are neither true nor false; wrong.
    pub unparsed: usize,
    /// Statements without a judgement; wrong.
    pub missing: usize,
    /// Chance of the strict rule.
    pub strict_chance: StrictChance,
    /// BLAKE3 of the questions in the order of their ids.
    #[serde(default)]
    pub questions_blake3: String,
}

/// Counts of true and false statements, of those among them judged right, and of questions.
#[derive(Clone, Copy, Default)]
struct Tally {
    n_true: usize,
    n_false: usize,
    right_true: usize,
    right_false: usize,
    questions: usize,
    strict: usize,
}

impl Tally {
    fn share(self) -> BooleanShare {
        let n = self.n_true + self.n_false;
        let part = |a: usize, b: usize| (b > 0).then(|| a as f64 / b as f64);
        let balanced = part(self.right_true, self.n_true).zip(part(self.right_false, self.n_false));
        BooleanShare {
            share: Share::new(self.right_true + self.right_false, n),
            balanced_accuracy: balanced.map(|(a, b)| (a + b) / 2.0),
            always_true: part(self.n_true, n),
            always_false: part(self.n_false, n),
            coin: 0.5,
            strict: Share::new(self.strict, self.questions),
        }
    }
}

impl BooleanScore {
    /// Counts over all statements of the first `limit` questions; `path` names the file of judgements.
    ///
    /// # Errors
    /// `Data` when a judgement is about none of the questions.
    pub fn of(questions: &[Question], limit: usize, judgements: &[Statement], path: &Path) -> Result<BooleanScore> {
        let places = places(questions);
        let mut sheet: Vec<[Option<Option<bool>>; 4]> = vec![[None; 4]; questions.len()];
        for statement in judgements {
            let place = place_of(&places, &statement.sample_id, path)?;
            sheet[place][statement.option.index()] = Some(read_judgement(&statement.said));
        }
        let questions = &questions[..limit.min(questions.len())];
        let mut groups = Groups::<Tally>::new();
        let (mut said_true, mut unparsed, mut missing) = (0, 0, 0);
        for (question, judged) in questions.iter().zip(&sheet) {
            let right = |letter: Letter| judged[letter.index()].flatten() == Some(letter == truth(question));
            said_true += judged.iter().filter(|said| said.flatten() == Some(true)).count();
            unparsed += judged.iter().filter(|said| **said == Some(None)).count();
            missing += judged.iter().filter(|said| said.is_none()).count();
            groups.count(question, |tally: &mut Tally| {
                tally.n_true += 1;
                tally.n_false += 3;
                tally.right_true += usize::from(right(truth(question)));
                let false_ones = Letter::ALL.into_iter().filter(|l| *l != truth(question));
                tally.right_false += false_ones.filter(|l| right(*l)).count();
                tally.questions += 1;
                tally.strict += usize::from(Letter::ALL.into_iter().all(right));
            });
        }
        Ok(BooleanScore {
            groups: groups.map(Tally::share),
            said_true,
            unparsed,
            missing,
            strict_chance: StrictChance { coin: 1.0 / 16.0, one_true: 0.25 },
            questions_blake3: fingerprint(questions),
        })
    }
}

const TRUE: &[&str] = &["true", "yes", "yeah", "correct", "right", "正确", "真", "真的", "没错", "属实", "成立"];
const FALSE: &[&str] =
    &["false", "incorrect", "wrong", "untrue", "错", "错误", "不对", "不正确", "假", "假的", "不成立", "不属实"];
/// Words that judge only where they stand alone.
const REPLIES: [(&str, bool); 6] =
    [("no", false), ("是", true), ("对", true), ("否", false), ("不是", false), ("不", false)];
/// Most words of a text in which a judgement counts wherever it stands.
const WORDS_MAX: usize = 24;

/// True or false; `None` when the words say neither or both. Thoughts, hypotheses and corrections are handled as in
/// answers to multiple choice; "not true" is false.
pub fn read_judgement(said: &Judgement) -> Option<bool> {
    let text = match said {
        Judgement::Plain(value) => return Some(*value),
        Judgement::Text(text) => final_answer(text),
    };
    let tokens = Tokens::of(&text);
    let found: Vec<Candidate> = (0..tokens.all.len()).filter_map(|at| judgement_at(&tokens, at)).collect();
    match decide(&tokens, &found, WORDS_MAX) {
        Decision::One { letter, .. } => Some(letter == Letter::A),
        Decision::Several | Decision::Nothing => None,
    }
}

/// The judgement that ends at the token `at`, as option A (true) or B (false).
fn judgement_at(tokens: &Tokens, at: usize) -> Option<Candidate> {
    let word = tokens.lower(at);
    let has = |words: &[&str]| words.contains(&word.as_str());
    let last = if tokens.str(at + 1) == "的" { at + 1 } else { at };
    let alone = tokens.is_break(last + 1) || tokens.role(last + 1) == Role::Because;
    let reply = REPLIES.iter().find(|(reply, _)| *reply == word && alone).map(|(_, value)| *value);
    let value = match () {
        // "On the right" is a place.
        _ if word == "right" && (is_place_meant(tokens, at, at) && at > 0 && tokens.is_word(at - 1)) => return None,
        _ if has(TRUE) => true,
        _ if has(FALSE) => false,
        _ => reply?,
    };
    // "Not true", "is not at all correct": from the negation on, and the opposite.
    let near = (at.saturating_sub(3)..at)
        .rev()
        .take_while(|&i| matches!(tokens.role(i), Role::Not | Role::Filler | Role::Is | Role::Would));
    let negation = near.last().and_then(|from| (from..at).find(|&i| tokens.role(i) == Role::Not));
    let (first, value) = negation.map_or((at, value), |first| (first, !value));
    // "Neither true nor false" says nothing.
    let is_neither = negation.is_some_and(|i| ["neither", "nor"].contains(&tokens.lower(i).as_str()));
    (!is_neither).then_some(Candidate { first, last, mask: if value { 1 } else { 2 }, is_text: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgements_in_words() {
        let cases = [
            ("true", Some(true)),
            ("No.", Some(false)),
            ("<think>true</think>False", Some(false)),
            ("<answer>yes</answer>", Some(true)),
            ("**Yes**, because no other source is left.", Some(true)),
            ("The statement is not correct.", Some(false)),
            ("This isn't true", Some(false)),
            ("The statement is true.", Some(true)),
            ("It may be true or false", None),
            ("maybe", None),
            ("", None),
            ("Right: the dog", Some(true)),
        ];
        for (text, expected) in cases {
            assert_eq!(read_judgement(&Judgement::Text(text.into())), expected, "{text:?}");
        }
        assert_eq!(read_judgement(&Judgement::Plain(false)), Some(false));
    }
}
