//! Multiple choice: how many questions were answered right, by level, task, family and letter.
//!
//! Overall is the average over questions (not over levels or tasks). A question that was not answered, or whose answer
//! names no option or several, is wrong and counted as such.

use super::compare::Consistency;
use super::groups::Groups;
use super::parse::Reading;
use super::scenes::{Scenes, StratumScore, right};
use super::sheet::truth;
use crate::error::{Error, Result};
use crate::eval::clusters::{Clustering, Tally};
use crate::eval::statistics::{McNemar, Share};
use crate::text::questions::{Letter, Question, apply_key, read_key, read_questions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What guessing among four options scores.
pub const CHANCE: f64 = 0.25;

/// One letter: the questions whose answer it is, and how often it was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LetterScore {
    /// Of the questions whose right letter this is, those answered right.
    #[serde(flatten)]
    pub share: Share,
    /// How often it was said.
    pub said: usize,
}

/// The scores of one file of answers; also the JSON of `twnm-eval mcq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Accuracy overall, by level, task and family, and of questions about places.
    #[serde(flatten)]
    pub groups: Groups<Share>,
    /// By letter, "A" to "D", of all questions. An answerer without a preference says each as often as it is right.
    pub letters: BTreeMap<String, LetterScore>,
    /// Answers that name no option or several; wrong.
    pub unparsed: usize,
    /// Questions without an answer; wrong.
    #[serde(default)]
    pub missing: usize,
    /// What guessing scores.
    #[serde(default = "chance")]
    pub chance: f64,
    /// How questions were put together for the intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clustering: Option<Clustering>,
    /// Expected accuracy of a listener who knows every sound, word and count, and nothing of space, where the scenes are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mono_ceiling: Option<Groups<Option<f64>>>,
    /// By source count, room, DRR and kind, where the scenes are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strata: Vec<StratumScore>,
    /// BLAKE3 of the questions in the order of their ids: scores of different questions do not compare.
    #[serde(default)]
    pub questions_blake3: String,
    /// Against the answers of another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<McNemar>,
    /// Against the same answerer's choices when the options stand in another order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffled: Option<Consistency>,
}

fn chance() -> f64 {
    CHANCE
}

/// Reads a benchmark with its answers: its own, or those of `key` laid over it.
///
/// # Errors
/// As the readers; `Data` when a question is left without an answer.
pub fn load_questions(benchmark: &Path, key: Option<&Path>) -> Result<Vec<Question>> {
    let mut questions = read_questions(benchmark)?;
    if let Some(path) = key {
        apply_key(&mut questions, benchmark, &read_key(path)?, path)?;
    }
    match questions.iter().find(|q| q.answer_letter.is_none()) {
        None => Ok(questions),
        Some(q) => {
            Err(Error::data(format!("{}: sample_id {:?} has no answer_letter", benchmark.display(), q.sample_id))
                .hint("a public set is scored with its key: --key key.jsonl"))
        }
    }
}

/// Hash of the questions, whatever the order of their rows.
pub(super) fn fingerprint(questions: &[Question]) -> String {
    let mut sorted: Vec<&Question> = questions.iter().collect();
    sorted.sort_by(|a, b| a.sample_id.cmp(&b.sample_id));
    let mut hasher = blake3::Hasher::new();
    for question in sorted {
        hasher.update(&serde_json::to_vec(question).expect("questions are plain data"));
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

impl Score {
    /// Counts. `sheet` holds one entry per question; panics when it does not, or a question has no answer.
    #[track_caller]
    pub fn of(questions: &[Question], sheet: &[Option<Reading>], scenes: &Scenes) -> Score {
        let is_right = right(questions, sheet);
        let mut groups = Groups::<Tally>::new();
        let (mut by_truth, mut said) = ([(); 4].map(|()| Tally::default()), [0; 4]);
        for (i, (question, reading)) in questions.iter().zip(sheet).enumerate() {
            let scene = scenes.of(i);
            groups.count(question, |tally| tally.add(scene, is_right[i]));
            by_truth[truth(question).index()].add(scene, is_right[i]);
            if let Some(letter) = reading.and_then(Reading::chosen) {
                said[letter.index()] += 1;
            }
        }
        let letter = |letter: Letter| {
            let (share, said) = (Share::of(&by_truth[letter.index()]), said[letter.index()]);
            (letter.to_string(), LetterScore { share, said })
        };
        Score {
            groups: groups.map(|tally| Share::of(&tally)),
            letters: Letter::ALL.map(letter).into(),
            unparsed: sheet.iter().filter(|r| r.is_some_and(|r| r.chosen().is_none())).count(),
            missing: sheet.iter().filter(|r| r.is_none()).count(),
            chance: CHANCE,
            clustering: Some(scenes.clustering().clone()),
            mono_ceiling: mono_ceiling(questions, scenes),
            strata: scenes.scores(questions, &is_right),
            questions_blake3: fingerprint(questions),
            compare: None,
            shuffled: None,
        }
    }
}

/// What the mono ceiling has right of each group: the mean over its questions of one in as many as stand.
fn mono_ceiling(questions: &[Question], scenes: &Scenes) -> Option<Groups<Option<f64>>> {
    let mut groups = Groups::<(f64, usize)>::new();
    for (i, question) in questions.iter().enumerate() {
        let expected = scenes.mono(i)?;
        groups.count(question, |(sum, n)| {
            *sum += expected;
            *n += 1;
        });
    }
    Some(groups.map(|(sum, n)| (n > 0).then(|| sum / n as f64)))
}
