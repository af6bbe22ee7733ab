//! The same questions with their options in another order: who knows an answer chooses the same option, who prefers a letter
//! does not.

use super::features::hash_of;
use crate::rng::Rng;
use crate::text::questions::{Letter, Question};
use crate::text::strata::Stratum;

/// The orders of four options in which none keeps its place.
const MOVED: [[usize; 4]; 9] = [
    [1, 0, 3, 2],
    [1, 2, 3, 0],
    [1, 3, 0, 2],
    [2, 0, 3, 1],
    [2, 3, 0, 1],
    [2, 3, 1, 0],
    [3, 0, 1, 2],
    [3, 2, 0, 1],
    [3, 2, 1, 0],
];

/// Which option of the question comes to each place: drawn from the seed and the question's id, whatever the order of rows.
/// As they stand where an option speaks of others by letter or place ("all of the above").
pub fn order(question: &Question, seed: u64) -> [usize; 4] {
    if question.options().iter().any(|option| speaks_of_places(option)) {
        return [0, 1, 2, 3];
    }
    MOVED[Rng::new(seed, "option order", hash_of(&question.sample_id)).below(MOVED.len())]
}

/// The question with its options in the order of [`order`]; letters move along.
pub fn reordered(question: &Question, order: [usize; 4]) -> Question {
    let options = question.options();
    let text = |place: usize| options[order[place]].to_string();
    Question {
        option_a: text(0),
        option_b: text(1),
        option_c: text(2),
        option_d: text(3),
        answer_letter: question.answer_letter.map(|letter| moved(letter, order)),
        ..question.clone()
    }
}

/// The stratum of the reordered question.
pub fn reordered_stratum(stratum: &Stratum, order: [usize; 4]) -> Stratum {
    let mut mono: Vec<Letter> = stratum.mono.iter().map(|letter| moved(*letter, order)).collect();
    mono.sort_unstable();
    Stratum { mono, ..stratum.clone() }
}

fn moved(letter: Letter, order: [usize; 4]) -> Letter {
    let place = order.iter().position(|option| *option == letter.index());
    Letter::ALL[place.expect("an order holds every option")]
}

/// Whether an option means others by their letters or places.
fn speaks_of_places(option: &str) -> bool {
    let lower = option.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let has = |word: &str| words.contains(&word);
    let is_letter = |word: &&&str| ["a", "b", "c", "d"].contains(*word);
    let above = [
        "all of the above",
        "none of the above",
        "all the above",
        "both of the above",
        "none of these",
        "all of these",
    ];
    let letters: std::collections::BTreeSet<&str> = words.iter().filter(is_letter).copied().collect();
    let of_letters = letters.len() >= 2 && (has("and") || has("or") || has("both"));
    let of_one =
        ["option", "options", "answer", "choice"].iter().any(|word| has(word)) && words.iter().any(|w| is_letter(&w));
    above.iter().any(|phrase| lower.contains(phrase)) || of_letters || of_one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: usize, options: [&str; 4]) -> Question {
        let [a, b, c, d] = options.map(String::from);
        Question {
            file_name: "x.wav".into(),
            sample_id: format!("q{id}"),
            question: "?".into(),
            option_a: a,
            option_b: b,
            option_c: c,
            option_d: d,
            answer_letter: Some(Letter::C),
            answer_text: Some(options[2].into()),
            level: 1,
            task: "t".into(),
        }
    }

    #[test]
    fn every_option_moves_and_letters_move_along() {
        let mut places = [0usize; 4];
        for id in 0..900 {
            let asked = question(id, ["one", "two", "three", "four"]);
            let order = order(&asked, 7);
            let turned = reordered(&asked, order);
            let letter = turned.answer_letter.unwrap();
            assert_eq!((turned.options()[letter.index()], turned.answer_text.as_deref()), ("three", Some("three")));
            assert!((0..4).all(|i| turned.options()[i] != asked.options()[i]));
            places[letter.index()] += 1;
            let stratum = Stratum {
                sample_id: asked.sample_id.clone(),
                scene: "s".into(),
                kind: "k".into(),
                sources: 1,
                room_size: None,
                room_finish: None,
                drr_db: None,
                mono: vec![Letter::B, Letter::C],
            };
            let mono = reordered_stratum(&stratum, order).mono;
            let mut texts: Vec<&str> = mono.iter().map(|l| turned.options()[l.index()]).collect();
            texts.sort_unstable();
            assert_eq!(texts, ["three", "two"]);
            assert!(mono[0] < mono[1]);
        }
        // A third of 900 each, four standard deviations are 57.
        assert!(places[2] == 0 && [0, 1, 3].iter().all(|i: &usize| places[*i].abs_diff(300) < 57), "{places:?}");
        let asked = question(1, ["one", "two", "three", "four"]);
        assert!((0..20).any(|seed| order(&asked, seed) != order(&asked, 0)), "the seed matters");
    }

    #[test]
    fn options_that_speak_of_others_stay() {
        for text in
            ["All of the above", "none of the above", "Both A and C", "A or B", "option B", "neither b nor c, or both"]
        {
            assert_eq!(order(&question(1, ["one", text, "three", "four"]), 1), [0, 1, 2, 3], "{text}");
        }
        for text in ["above ear level", "a dog and a cat", "vitamin c", "the option to leave", "all of it"] {
            assert_ne!(order(&question(1, ["one", text, "three", "four"]), 1), [0, 1, 2, 3], "{text}");
        }
    }
}
