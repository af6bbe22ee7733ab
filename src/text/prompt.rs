//! The published prompt: how a question is put to a model that this program does not run, so that scores compare.

use super::questions::Question;

/// Name of this wording; it changes whenever a character of [`TEMPLATE`] does.
pub const PROMPT_NAME: &str = "twnm-mcq-1";

/// The prompt; words in braces stand for the question's columns.
pub const TEMPLATE: &str = "\
You hear a recording of a scene in first-order Ambisonics (AmbiX: channels W, Y, Z, X, SN3D). The listener looks straight ahead. \
Azimuth is counted counter-clockwise from the front in degrees: 0 is the front, 90 the left, 180 behind, 270 the right. Elevation \
is counted upwards from ear level in degrees, distances are in metres.

Question: {question}
A. {option_a}
B. {option_b}
C. {option_c}
D. {option_d}

Exactly one option is right. Answer with its letter alone: A, B, C or D.";

/// The prompt of a question. Braces in its own texts stay what they are.
pub fn prompt(question: &Question) -> String {
    let fields = [
        ("{question}", &question.question),
        ("{option_a}", &question.option_a),
        ("{option_b}", &question.option_b),
        ("{option_c}", &question.option_c),
        ("{option_d}", &question.option_d),
    ];
    let (mut text, mut rest) = (String::new(), TEMPLATE);
    for (field, value) in fields {
        let (before, after) = rest.split_once(field).expect("the template has every field once, in this order");
        text += before;
        text += value;
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_cannot_change_the_prompt_around_it() {
        let text = |t: &str| t.to_string();
        let question = Question {
            file_name: text("a.wav"),
            sample_id: text("1"),
            question: text("What is {option_a}?"),
            option_a: text("{option_d}"),
            option_b: text("two"),
            option_c: text("three"),
            option_d: text("four"),
            answer_letter: None,
            answer_text: None,
            level: 1,
            task: text("t"),
        };
        let prompt = prompt(&question);
        assert!(
            prompt.contains("Question: What is {option_a}?\nA. {option_d}\nB. two\nC. three\nD. four\n"),
            "{prompt}"
        );
        assert!(prompt.ends_with("A, B, C or D."));
    }

    #[test]
    fn the_documentation_holds_the_prompt_as_it_is() {
        let page = include_str!("../../docs/prompt.md");
        assert!(page.contains(PROMPT_NAME) && page.contains(&format!("```text\n{TEMPLATE}\n```")));
    }
}
