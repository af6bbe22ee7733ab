//! Training data from the same drafts: open questions, chains of thought, questions to choose from, and text alone.

use super::chain::concluded;
use super::describe::description;
use super::draft::{Context, Pool};
use super::generate::{Row, Settings};
use super::task::Task;
use crate::rng::Rng;
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

/// What has to be done with a described scene to answer a question of a task: the grades of [`Kind::Text`].
pub fn operation(task: Task) -> &'static str {
    match task {
        Task::CountObjects
        | Task::IdentifySpeechTranscript
        | Task::LocalizeAzimuth
        | Task::LocalizeElevation
        | Task::EstimateDistance
        | Task::EnvironmentAcoustics => "read",
        Task::IdentifyEventClass | Task::BindIdentityLocationDistance | Task::QueryLocation | Task::QueryIdentity => {
            "select"
        }
        Task::CompareDistances | Task::RelativeDirection | Task::CompareElevations | Task::RankByDistance => "compare",
        Task::OrderInTime | Task::OverlapInTime => "compare",
        Task::OnsetAndDuration | Task::IdentityAtDirection | Task::SpeakerSaysWhere => "select",
        Task::CountPerClass => "read",
        Task::AngleBetween => "rotate",
        Task::RotateObserver => "rotate",
        _ => "multi-hop",
    }
}

/// Line `index` of training data. Panics for [`Kind::Benchmark`], whose rows are [`crate::text::questions::Question`]s, and for
/// an open question that is none.
#[track_caller]
pub(super) fn training_row(kind: Kind, index: usize, row: &Row, pool: &Pool, settings: Settings) -> Value {
    let (question, derivation) = (&row.question, &row.derivation);
    let mut rng = Rng::new(settings.seed, "training row", index as u64);
    let facts = pool.scenes[row.scene].turned(derivation.yaw_deg);
    let context = Context { facts: &facts, pool, signed: settings.signed_azimuth };
    let mut columns = serde_json::to_value(question).expect("plain data");
    match kind {
        Kind::Benchmark => panic!("a benchmark is no training data"),
        Kind::Sapo => columns,
        Kind::Align => {
            let [asked, answer] = derivation.open.as_ref().expect("an open question");
            let (file_name, id) = (&question.file_name, &question.sample_id);
            json!({"file_name": file_name, "sample_id": id, "question": asked, "answer": answer, "level": columns["level"],
                "task": question.task})
        }
        Kind::Text if index % OPEN_EVERY == OPEN_EVERY - 1 && derivation.open.is_some() => {
            let [asked, answer] = derivation.open.as_ref().expect("just seen");
            json!({"sample_id": question.sample_id, "question": asked, "answer": answer, "level": columns["level"],
                "task": question.task, "operation": operation(derivation.task), "description": description(&context, &mut rng)})
        }
        Kind::Sft | Kind::Text => {
            let answer = question.options()[derivation.answer_letter.index()];
            let reasoning = concluded(&derivation.reasoning, answer, &mut rng);
            columns["response"] = response(&reasoning, derivation.answer_letter).into();
            columns["reasoning"] = reasoning.into();
            if kind == Kind::Sft {
                return columns;
            }
            columns.as_object_mut().expect("columns").shift_remove("file_name");
            columns["operation"] = operation(derivation.task).into();
            columns["description"] = description(&context, &mut rng).into();
            columns
        }
    }
}
