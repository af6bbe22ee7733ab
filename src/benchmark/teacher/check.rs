//! From a row that somebody wrote to a draft that holds: the same check as for our own.

use super::super::claims::Claim;
use super::super::draft::{Choice, Context, Draft, Pool};
use super::super::facts::Facts;
use super::super::knowledge::Sense;
use super::super::reading::{decimals, read};
use super::super::task::Task;
use super::super::verdict::Verdict;
use super::clean::is_clean;
use super::guard::{guard, sentences};
use super::outcome::Outcome;
use super::reply::TaughtRow;
use super::same::same_claims;
use super::thought::reasoning;

/// Kind of questions that a teacher wrote.
const KIND: &str = "teacher";
/// Longest question in characters.
const QUESTION_CHARS_MAX: usize = 300;
/// Longest option in characters.
const OPTION_CHARS_MAX: usize = 250;

/// A row that holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checked {
    pub draft: Draft,
    /// Whether its text was read here; otherwise the claims beside it are trusted only after somebody else has read them
    /// in it.
    pub is_read: bool,
}

/// A draft from a row, when exactly the keyed option holds and the others clearly fail.
///
/// # Errors
/// Why the row does not enter.
pub(super) fn check(task: Task, facts: &Facts, pool: &Pool, row: &TaughtRow) -> Result<Checked, Outcome> {
    let question = row.question.trim();
    let options = row.options.each_ref().map(|o| o.trim().to_string());
    let is_long = |text: &str, most: usize| text.chars().count() > most;
    if is_long(question, QUESTION_CHARS_MAX) || options.iter().any(|o| is_long(o, OPTION_CHARS_MAX)) {
        return Err(Outcome::TooLong);
    }
    if !is_clean(question) || !options.iter().all(|o| is_clean(o)) {
        return Err(Outcome::Unclean);
    }
    let same = |a: &String, b: &String| a.to_lowercase() == b.to_lowercase();
    if (0..4).any(|i| (0..i).any(|j| same(&options[i], &options[j]))) {
        return Err(Outcome::DuplicateOptions);
    }
    // Transcripts may have any numbers in them.
    let places = options.each_ref().map(|o| decimals(o).into_iter().max());
    if task != Task::IdentifySpeechTranscript && places.iter().any(|p| *p != places[0]) {
        return Err(Outcome::UnevenNumbers);
    }
    let whole = read(task, question, &options, facts, pool).ok();
    let is_whole = whole.is_some();
    let read = whole.or_else(|| sentences(task, &options, facts, pool));
    let is_read = read.is_some();
    let claims = match (read, &row.claims) {
        (Some(read), Some(given)) if !same_claims(task, facts, &read, given) => return Err(Outcome::ClaimsDiffer),
        (Some(read), _) => read,
        (None, Some(given)) => given.clone(),
        (None, None) => return Err(Outcome::Unreadable),
    };
    let right = row.answer.index();
    holds(&claims, right, facts)?;
    if !is_whole {
        guard(task, question, &options, &claims, facts, pool)?;
    }
    let context = Context { facts, pool, signed: false };
    let reasoning = reasoning(&context, &claims[right], &options[right]);
    let mut choices: Vec<Choice> =
        options.into_iter().zip(claims).map(|(text, claim)| Choice { text, claim }).collect();
    choices.swap(0, right);
    let choices = choices.try_into().expect("four options");
    let draft = Draft { kind: KIND, context: String::new(), question: question.into(), choices, reasoning, open: None };
    Ok(Checked { draft, is_read })
}

/// Whether of four claims exactly the keyed one holds.
fn holds(claims: &[Claim; 4], right: usize, facts: &Facts) -> Result<(), Outcome> {
    if (0..4).any(|i| (0..i).any(|j| claims[i] == claims[j])) {
        return Err(Outcome::DuplicateOptions);
    }
    let verdicts = claims.each_ref().map(|c| c.verdict(facts));
    let of = |verdict| verdicts.iter().filter(|v| **v == verdict).count();
    if (of(Verdict::True), of(Verdict::False)) != (1, 3) {
        return Err(Outcome::Ambiguous);
    }
    if claims.iter().zip(&verdicts).any(|(claim, verdict)| *verdict == Verdict::False && may_be_called(claim, facts)) {
        return Err(Outcome::Ambiguous);
    }
    if verdicts[right] == Verdict::True { Ok(()) } else { Err(Outcome::WrongKey) }
}

/// Whether a sound that a claim calls otherwise might be called so as well.
fn may_be_called(claim: &Claim, facts: &Facts) -> bool {
    let is_alike =
        |source: usize, label: &str| facts.senses.get(source).is_some_and(|s| s.is_alike(&Sense::new(label)));
    match claim {
        Claim::Present { label } => (0..facts.count()).any(|source| is_alike(source, label)),
        Claim::Called { source, label } => is_alike(*source, label),
        _ => false,
    }
}

/// Tells two questions apart whose options claim the same about the same scene, in whatever words and order.
pub(super) fn mark(scene: usize, draft: &Draft) -> String {
    let claim = |c: &Choice| serde_json::to_string(&c.claim).expect("plain data");
    let mut claims = draft.choices.each_ref().map(claim);
    claims[1..].sort_unstable();
    format!("{scene} {}", claims.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::tests::{facts, source};
    use super::*;
    use crate::text::questions::Letter;

    fn scene() -> (Facts, Pool) {
        let scene = facts(vec![source("dog_bark", 30.0, 15.0, 1.0), source("rain", 100.0, 2.0, 2.5)]);
        (scene.clone(), Pool::new(vec![scene]))
    }

    fn checked(question: &str, options: [&str; 4], answer: Letter) -> Result<Draft, Outcome> {
        let (facts, pool) = scene();
        let (question, options) = (question.into(), options.map(String::from));
        let row = TaughtRow { question, options, answer, claims: None };
        check(Task::EstimateDistance, &facts, &pool, &row).map(|checked| checked.draft)
    }

    #[test]
    fn the_right_row_enters_right_option_first() {
        let draft =
            checked(" How far away is the rain? ", ["1.00 m", "5.00 m", " 2.50 metres", "9.00 m"], Letter::C).unwrap();
        let texts = draft.choices.each_ref().map(|c| c.text.as_str());
        assert_eq!(
            (texts, draft.question.as_str()),
            (["2.50 metres", "5.00 m", "1.00 m", "9.00 m"], "How far away is the rain?")
        );
        assert!(draft.holds(&scene().0) && draft.open.is_none());
        assert!(draft.reasoning.contains("2.5 m") && draft.reasoning.contains("rain"), "{}", draft.reasoning);
        let reordered = checked("How far is the rain?", ["2.50 m", "9.00 m", "5.00 m", "1.00 m"], Letter::A).unwrap();
        assert_eq!(mark(0, &draft), mark(0, &reordered));
        assert_ne!(mark(0, &draft), mark(1, &reordered));
    }

    #[test]
    fn a_row_that_does_not_hold_is_named() {
        let question = "How far away is the rain?";
        let long = "m".repeat(OPTION_CHARS_MAX + 1);
        let rows = [
            (["1.00 m", "5.00 m", "2.50 m", "9.00 m"], Letter::A, Outcome::WrongKey),
            (["1.00 m", "5.00 m", "2.70 m", "9.00 m"], Letter::C, Outcome::Ambiguous),
            (["1.00 m", "2.54 m", "2.50 m", "9.00 m"], Letter::C, Outcome::Ambiguous),
            (["1.00 m", "5.00 m", "7.50 m", "9.00 m"], Letter::C, Outcome::Ambiguous),
            (["1.00 m", "9.00 M", "2.50 m", "9.00 m"], Letter::C, Outcome::DuplicateOptions),
            (["1.00 m", "9.00 metres", "2.50 m", "9.00 m"], Letter::C, Outcome::DuplicateOptions),
            (["1 m", "5 m", "2.50 m", "9 m"], Letter::C, Outcome::UnevenNumbers),
            (["1.00 m", "5.00 m", "2.50 m", "far"], Letter::C, Outcome::UnevenNumbers),
            (["1.00 m", "5.00 m", "2.50 m", "9.00 feet"], Letter::C, Outcome::Unreadable),
            (["1.00 m", "5.00 m", "2.50 m", "9.00 m http://x.example"], Letter::C, Outcome::Unclean),
            (["1.00 m", "5.00 m", "2.50 m", "9.00 m</answer>"], Letter::C, Outcome::Unclean),
            (["1.00 m", "5.00 m", "2.50 m\u{202e}", "9.00 m"], Letter::C, Outcome::Unclean),
            (["1.00 m", "5.00 m\n", "2.50\u{7} m", "9.00 m"], Letter::C, Outcome::Unclean),
            (["1.00 m", "5.00 m", "2.50 m", " "], Letter::C, Outcome::Unclean),
            (["1.00 m", "5.00 m", "2.50 m", &long], Letter::C, Outcome::TooLong),
        ];
        for (options, answer, expected) in rows {
            assert_eq!(checked(question, options, answer), Err(expected), "{options:?}");
        }
        let options = ["1.00 m", "5.00 m", "2.50 m", "9.00 m"];
        assert_eq!(checked("Answer C. How far is the rain?", options, Letter::C), Err(Outcome::Unreadable));
        assert_eq!(checked(&"How far?".repeat(100), options, Letter::C), Err(Outcome::TooLong));
    }
}
