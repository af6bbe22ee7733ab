//! Training data from the same drafts: open questions, chains of thought, questions to choose from, and text alone.

use super::claims::Side;
use super::facts::Facts;
use super::generate::Row;
use crate::text::questions::Letter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a set of questions is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Scoring: questions with four options.
    Benchmark,
    /// Stage 2: open questions with answers in a sentence.
    Align,
    /// Stage 3: questions with options and a chain of thought.
    Sft,
    /// Stage 4: questions with options.
    Sapo,
    /// The pocket decoder: a scene described in text, without sound, and the chain of thought of stage 3; every fourth row
    /// asks openly as stage 2 does, so that stage 2 finds a decoder that knows how such answers are worded.
    Text,
}

/// Of the rows of [`Kind::Text`], every so manieth is an open question.
const OPEN_EVERY: usize = 4;

impl Kind {
    /// Whether only drafts with an open question serve.
    pub fn is_open(self) -> bool {
        self == Kind::Align
    }

    /// Whether the scenes must come from the train split.
    pub fn is_training(self) -> bool {
        self != Kind::Benchmark
    }
}

/// What a model should write to a question of stage 3: its reasoning from what is heard, then the letter.
pub fn response(reasoning: &str, letter: Letter) -> String {
    format!("<think>{reasoning}</think><answer>{letter}</answer>")
}

/// Reasoning that ends in what the chosen option says. A model finds an option that it has just said long before it learns to
/// compare one with a conclusion in other words, and a decoder that cannot find it learns nothing of the rest.
fn concluded(reasoning: &str, answer: &str) -> String {
    if reasoning.to_lowercase().contains(&answer.to_lowercase()) {
        return reasoning.to_string();
    }
    let end = if answer.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{reasoning} The answer: {answer}{end}")
}

/// Line `index` of training data. Panics for [`Kind::Benchmark`], whose rows are [`crate::text::questions::Question`]s, and for
/// an open question that is none.
#[track_caller]
pub(super) fn training_row(kind: Kind, index: usize, row: &Row, facts: &Facts) -> Value {
    let (question, derivation) = (&row.question, &row.derivation);
    let mut columns = serde_json::to_value(question).expect("plain data");
    match kind {
        Kind::Benchmark => panic!("a benchmark is no training data"),
        Kind::Sapo => columns,
        Kind::Align => {
            let [asked, answer] = derivation.open.as_ref().expect("an open question");
            let (file_name, id) = (&question.file_name, &question.sample_id);
            json!({"file_name": file_name, "sample_id": id, "question": asked, "answer": answer, "level": question.level,
                "task": question.task})
        }
        Kind::Text if index % OPEN_EVERY == OPEN_EVERY - 1 && derivation.open.is_some() => {
            let [asked, answer] = derivation.open.as_ref().expect("just seen");
            json!({"sample_id": question.sample_id, "question": asked, "answer": answer, "level": question.level,
                "task": question.task, "description": description(facts)})
        }
        Kind::Sft | Kind::Text => {
            let answer = question.options()[derivation.answer_letter.index()];
            let reasoning = concluded(&derivation.reasoning, answer);
            columns["response"] = response(&reasoning, derivation.answer_letter).into();
            columns["reasoning"] = reasoning.into();
            if kind == Kind::Sft {
                return columns;
            }
            columns.as_object_mut().expect("columns").shift_remove("file_name");
            columns["description"] = description(facts).into();
            columns
        }
    }
}

/// A scene in text: everything that questions ask about.
pub fn description(facts: &Facts) -> String {
    let room = facts.room();
    let [x, y, z] = room.dimensions_m;
    let fades = facts.reverberation_s().map_or(String::new(), |s| format!(", reverberation time {s:.2} s"));
    let wall = |side| facts.wall_m(side);
    let mut text = format!(
        "A {} room of {x:.1} x {y:.1} x {z:.1} m with {} walls{fades}. The walls are {:.2} m in front of the listener, \
         {:.2} m to the left, {:.2} m behind and {:.2} m to the right, the ceiling {:.2} m above the ears.",
        room.size,
        room.finish,
        wall(Side::Front),
        wall(Side::Left),
        wall(Side::Back),
        wall(Side::Right),
        wall(Side::Up)
    );
    for i in 0..facts.count() {
        text += &format!(
            " The {}: azimuth {:.2}°, elevation {:.2}°, {:.2} m, from {:.1} to {:.1} s.",
            facts.labels[i],
            facts.azimuth_deg(i, 0.0),
            facts.elevation_deg(i),
            facts.distance_m(i),
            facts.begins_s(i),
            facts.ends_s(i)
        );
        if let Some(words) = facts.transcript(i) {
            text += &format!(" It says \"{words}\".");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_ends_in_what_the_option_says() {
        for (reasoning, answer, expected) in [
            ("I hear rain.", "12 m", "I hear rain. The answer: 12 m."),
            ("I hear Rain.", "rain", "I hear Rain."),
            ("I hear it.", "\"Stop!\" he said.", "I hear it. The answer: \"Stop!\" he said."),
        ] {
            assert_eq!(concluded(reasoning, answer), expected);
        }
    }
}
