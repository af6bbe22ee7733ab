//! From a row that somebody wrote to a draft that holds: the same check as for our own.

use super::super::claims::{Claim, Extreme};
use super::super::draft::{Choice, Context, Draft, Pool};
use super::super::facts::Facts;
use super::super::reading::{decimals, read};
use super::super::task::Task;
use super::super::verdict::Verdict;
use super::super::wording::{hear, number};
use super::outcome::Outcome;
use super::reply::TaughtRow;

/// Kind of questions that a teacher wrote.
const KIND: &str = "teacher";
/// Longest question in characters.
const QUESTION_CHARS_MAX: usize = 300;
/// Longest option in characters.
const OPTION_CHARS_MAX: usize = 250;
/// Longest reasoning in characters (field notes 5.4: up to here its length costs nothing).
const REASONING_CHARS_MAX: usize = 400;
/// What the sentence that names the option may have beside it.
const LAST_SENTENCE_CHARS: usize = 30;

/// A draft from a row, when exactly the keyed option holds and the others clearly fail.
///
/// # Errors
/// Why the row does not enter.
pub(super) fn check(task: Task, facts: &Facts, pool: &Pool, row: &TaughtRow) -> Result<Draft, Outcome> {
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
    let claims = read(task, question, &options, facts, pool).map_err(|_| Outcome::Unreadable)?;
    if (0..4).any(|i| (0..i).any(|j| claims[i] == claims[j])) {
        return Err(Outcome::DuplicateOptions);
    }
    let verdicts = claims.each_ref().map(|c| c.verdict(facts));
    let of = |verdict| verdicts.iter().filter(|v| **v == verdict).count();
    if (of(Verdict::True), of(Verdict::False)) != (1, 3) {
        return Err(Outcome::Ambiguous);
    }
    let right = row.answer.index();
    if verdicts[right] != Verdict::True {
        return Err(Outcome::WrongKey);
    }
    let context = Context { facts, pool, signed: false };
    let reasoning = reasoning(&context, &claims[right], &options[right]);
    let mut choices: Vec<Choice> =
        options.into_iter().zip(claims).map(|(text, claim)| Choice { text, claim }).collect();
    choices.swap(0, right);
    Ok(Draft {
        kind: KIND,
        context: String::new(),
        question: question.into(),
        choices: choices.try_into().expect("four options"),
        reasoning,
        open: None,
    })
}

/// Text without control characters, invisible ones, markup and addresses.
fn is_clean(text: &str) -> bool {
    let lower = text.to_lowercase();
    let addresses = ["http:", "https:", "://", "www."];
    !text.is_empty() && !text.chars().any(is_strange) && !addresses.iter().any(|a| lower.contains(a))
}

fn is_strange(c: char) -> bool {
    is_invisible(c) || "<>{}[]`\\|".contains(c)
}

/// Control characters, and those that only steer how others are shown.
pub(super) fn is_invisible(c: char) -> bool {
    let steering = ['\u{ad}', '\u{61c}', '\u{feff}', '\u{fffd}'];
    let ranges =
        [('\u{200b}', '\u{200f}'), ('\u{2028}', '\u{202e}'), ('\u{2060}', '\u{206f}'), ('\u{e0000}', '\u{e007f}')];
    c.is_control() || steering.contains(&c) || ranges.iter().any(|(from, to)| (*from..=*to).contains(&c))
}

/// Tells two questions apart whose options claim the same about the same scene, in whatever words and order.
pub(super) fn mark(scene: usize, draft: &Draft) -> String {
    let claim = |c: &Choice| serde_json::to_string(&c.claim).expect("plain data");
    let mut claims = draft.choices.each_ref().map(claim);
    claims[1..].sort_unstable();
    format!("{scene} {}", claims.join(" "))
}

/// What is heard, and what of the answer follows from it: in our words, so that no text of the teacher's is learnt as a
/// thought. Short enough for the sentence that names the option at the end.
fn reasoning(context: &Context, right: &Claim, option: &str) -> String {
    let mut sources = right.sources();
    sources.sort_unstable();
    sources.dedup();
    if sources.is_empty() {
        sources = (0..context.facts.count()).collect();
    }
    let heard = hear(context, &sources);
    let mut conclusions = Vec::new();
    conclude(context, right, &mut conclusions);
    conclusions.dedup();
    let whole = std::iter::once(heard.clone()).chain(conclusions).collect::<Vec<_>>().join(" ");
    let room = REASONING_CHARS_MAX.saturating_sub(option.chars().count() + LAST_SENTENCE_CHARS);
    let fits = |text: &String| text.chars().count() <= room;
    [whole, heard].into_iter().find(fits).unwrap_or_else(|| "I hear it in this scene.".into())
}

fn conclude(context: &Context, claim: &Claim, sentences: &mut Vec<String>) {
    let (facts, label) = (context.facts, |i: usize| context.label(i));
    let room = facts.room();
    let sentence = match claim {
        Claim::All { of } => return of.iter().for_each(|part| conclude(context, part, sentences)),
        Claim::Count { n, .. } => format!("Counting gives {}.", number(*n)),
        Claim::Azimuth { source, turn_deg: 0.0, .. } => {
            format!("Its azimuth is about {:.0}°.", facts.azimuth_deg(*source, 0.0))
        }
        Claim::Azimuth { source, turn_deg, .. } | Claim::Sector { source, turn_deg, .. } if *turn_deg != 0.0 => {
            let (before, after) = (facts.azimuth_deg(*source, 0.0), facts.azimuth_deg(*source, *turn_deg));
            format!("After the turn its azimuth goes from about {before:.0}° to {after:.0}°.")
        }
        Claim::Elevation { source, .. } | Claim::ElevationWithin { source, .. } => {
            let elevation = facts.elevation_deg(*source);
            let side = if elevation > 0.0 { "above" } else { "below" };
            format!("It sounds about {:.0}° {side} ear level.", elevation.abs())
        }
        Claim::Says { text, .. } => format!("The voice says \"{text}\"."),
        Claim::RoomSize { .. } | Claim::RoomFinish { .. } | Claim::ReverberationTime { .. } => {
            let (measured, size, finish) = (facts.reverberation_s().unwrap_or(room.rt60_s), &room.size, &room.finish);
            format!("I hear the room answer for about {measured:.1} s, as a {size} room with {finish} surfaces does.")
        }
        Claim::CloserBy { a, .. } => format!("So the {} is closer.", label(*a)),
        Claim::Beside { a, b, left, .. } => {
            format!("The {} is to the {} of the {}.", label(*a), if *left { "left" } else { "right" }, label(*b))
        }
        Claim::Above { a, higher, .. } => {
            format!("The {} is {}.", label(*a), if *higher { "higher" } else { "lower" })
        }
        Claim::StandsOut { source, what, .. } => {
            let word = match what {
                Extreme::Nearest => "nearest",
                Extreme::Farthest => "farthest",
                Extreme::Highest => "highest",
                Extreme::Lowest => "lowest",
            };
            format!("The {word} is the {}.", label(*source))
        }
        Claim::Near { source, near } => {
            format!("The {} is {}.", label(*source), if *near { "close by" } else { "far off" })
        }
        Claim::Together { together: true, .. } => "The two lie in one direction.".into(),
        Claim::Together { .. } => "The two lie on opposite sides.".into(),
        Claim::BeginsLast { source } => {
            format!("The {} begins last, at {:.1} s.", label(*source), facts.begins_s(*source))
        }
        Claim::Rings { .. } => {
            format!("Sounds fade within about {:.1} s.", facts.reverberation_s().unwrap_or(room.rt60_s))
        }
        Claim::Not { .. } => {
            let measured = facts.reverberation_s().unwrap_or(room.rt60_s);
            format!("The room is {} and rings for {measured:.1} s, which does not fit.", room.size)
        }
        _ => return,
    };
    sentences.push(sentence);
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
        let row = TaughtRow { question: question.into(), options: options.map(String::from), answer };
        check(Task::EstimateDistance, &facts, &pool, &row)
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
        assert_eq!(draft.reasoning, "I hear that the rain comes from the left, about 2.5 m away.");
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
