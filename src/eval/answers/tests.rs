//! What counts as an answer: a table of things that models say.

use super::{Match, Reading, read_option};
use crate::text::questions::{Letter, Said};

const COUNTS: [&str; 4] = ["one", "two", "three", "four"];
const PLACES: [&str; 4] = ["Front", "Front-left", "Left", "Behind, about 2.5 m away"];

/// "A" to "D", "?" for nothing, "!" for a contradiction.
fn shown(reading: Reading) -> String {
    match reading {
        Reading::Chosen(letter) => letter.to_string(),
        Reading::Contradictory => "!".into(),
        Reading::Nothing => "?".into(),
    }
}

#[track_caller]
fn check(options: [&str; 4], rule: Match, cases: &[(&str, &str)]) {
    let read = |text: &str| shown(read_option(&Said::Text(text.into()), options, rule));
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(text, expected)| read(text) != *expected)
        .map(|(text, expected)| format!("{text:?}: read {}, meant {expected}", read(text)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn letters_in_every_form() {
    let cases = [
        ("B", "B"),
        ("b", "B"),
        (" B \n", "B"),
        ("(B)", "B"),
        ("[b]", "B"),
        ("B.", "B"),
        ("B)", "B"),
        ("b) two", "B"),
        ("B: two", "B"),
        ("**B**", "B"),
        ("**B** two", "B"),
        ("**B. two**", "B"),
        ("`B`", "B"),
        ("$\\boxed{B}$", "B"),
        ("So it is \\boxed{\\text{C}}.", "C"),
        ("<answer>B</answer>", "B"),
        ("<answer> b </answer>", "B"),
        ("<answer>\n(B) two\n</answer>", "B"),
        ("<answer>A</answer> wait <answer>B</answer>", "B"),
        ("<think>The answer is A.</think><answer>C</answer>", "C"),
        ("<think>The answer is A", "?"),
        ("The answer is A.</think>\n\nD", "D"),
        ("The answer is B", "B"),
        ("The answer is: **B**", "B"),
        ("the correct answer is (b).", "B"),
        ("The correct option is C because it is closer.", "C"),
        ("Answer: D", "D"),
        ("**Answer:** D", "D"),
        ("Final answer:\n\nD", "D"),
        ("Option C", "C"),
        ("option c.", "C"),
        ("I choose option D, since the others are too far.", "D"),
        ("I would pick B", "B"),
        ("I think it's B.", "B"),
        ("B is correct.", "B"),
        ("Option A is the correct answer.", "A"),
        ("A is the correct answer", "A"),
        ("A", "A"),
        ("A.", "A"),
        ("A because nothing else fits", "A"),
        ("The answer is A", "A"),
        ("The answer is A, the near one", "A"),
        ("B. The others are wrong: A) is too near, C) too far.", "B"),
        ("D\n\nThe dog barks behind.", "D"),
        ("\u{ff22}", "B"),
        ("B<|im_end|>", "B"),
        ("Option A is wrong, the answer is B.", "B"),
        ("It is not A. The answer is B.", "B"),
        ("A) one B) two C) three D) four. The answer is C", "C"),
        ("Let me see.\nC", "C"),
        // The last statement holds, and a correction.
        ("The answer is A. The answer is B.", "B"),
        ("B. No, C", "C"),
        ("A. The answer is B.", "B"),
    ];
    check(COUNTS, Match::Letter, &cases);
    check(COUNTS, Match::Both, &cases);
}

#[test]
fn what_names_no_option_or_several_is_unparsed() {
    let cases = [
        ("", "?"),
        ("A dog barks", "?"),
        ("A dog barks on the left and a cat meows.", "?"),
        ("The answer is a dog.", "?"),
        ("The answer is A dog barking.", "?"),
        ("I hear a dog. A cat, too.", "?"),
        ("E", "?"),
        ("Because", "?"),
        ("Bad question", "?"),
        ("I cannot answer.", "?"),
        ("The answer is not B.", "?"),
        ("It isn't B", "?"),
        ("B is wrong.", "?"),
        ("A or B", "!"),
        ("A, B", "!"),
        ("A/B", "!"),
        ("Both A and B", "!"),
        ("It is between A and B.", "!"),
        ("The answer is A or B.", "!"),
        ("B\nC", "!"),
        ("B. C.", "!"),
        ("(A) (B)", "!"),
        ("Option A, option B", "!"),
        ("<answer></answer>", "?"),
        ("<answer>B</answer><answer>", "?"),
        ("<answer>A</answer><answer>B or C</answer>", "!"),
        ("\u{412}", "?"),
        ("</think>", "?"),
    ];
    check(COUNTS, Match::Letter, &cases);
    check(COUNTS, Match::Both, &cases);
}

#[test]
fn the_text_of_an_option() {
    let cases = [
        ("two", "B"),
        ("Two.", "B"),
        ("2", "B"),
        ("There are 2 sources.", "B"),
        ("The answer is two", "B"),
        ("<answer>three</answer>", "C"),
        ("one or two", "!"),
        ("There are not two sources.", "?"),
        ("five", "?"),
        ("22", "?"),
    ];
    check(COUNTS, Match::Both, &cases);
    check(COUNTS, Match::Text, &cases);
    check(COUNTS, Match::Letter, &cases.map(|(text, _)| (text, "?")));
    let cases = [
        ("front left", "B"),
        ("FRONT-LEFT!", "B"),
        ("The dog is on the left.", "C"),
        ("It comes from the front-left.", "B"),
        ("Front and left", "!"),
        ("behind, about 2.50 metres away", "D"),
        ("behind about 2.5m away", "D"),
        ("behind", "?"),
        ("It's not on the left.", "?"),
        ("It isn\u{2019}t on the left.", "?"),
    ];
    check(PLACES, Match::Both, &cases);
    check(PLACES, Match::Text, &cases);
}

#[test]
fn letters_and_texts_must_agree() {
    check(COUNTS, Match::Both, &[("B two", "B"), ("B one", "!"), ("A two", "B")]);
    let cases = [("B) two", "B"), ("B) one", "!"), ("The answer is B: three", "!"), ("C. It is louder", "C")];
    check(COUNTS, Match::Both, &cases);
    check(COUNTS, Match::Letter, &cases.map(|(text, read)| (text, if read == "!" { "B" } else { read })));
    // Only texts: labels say nothing.
    check(COUNTS, Match::Text, &[("B", "?"), ("B) two", "B"), ("B) one", "A"), ("The answer is C", "?")]);
    // Options that are letters, articles or lists themselves.
    check(["C", "D", "A", "B"], Match::Both, &[("C", "!"), ("<answer>D</answer>", "!")]);
    check(["C", "D", "A", "B"], Match::Text, &[("C", "A"), ("A", "C")]);
    check(
        ["A dog barks", "A cat", "Both A and B", "None"],
        Match::Both,
        &[("A dog barks", "A"), ("a cat", "B"), ("Both A and B", "C"), ("none", "D")],
    );
    // The same text twice cannot be told apart by text.
    check(["1", "one", "2", "3"], Match::Both, &[("one", "!"), ("B) one", "B"), ("A", "A"), ("2", "C")]);
    let letter = Said::Letter(Letter::C);
    assert_eq!(read_option(&letter, COUNTS, Match::Both), Reading::Chosen(Letter::C));
    assert_eq!(read_option(&letter, COUNTS, Match::Text), Reading::Nothing);
}
