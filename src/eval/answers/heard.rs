//! Answers of a family of models that listens to the questions' recordings, with something taken from what it hears or not.

use crate::audio::read_foa;
use crate::error::{Context as _, Error, Result};
use crate::eval::ablation::derangement;
use crate::family::Family;
use crate::family::answer::{Answering, Asking};
use crate::language::example::prompt;
use crate::language::rows::{Content, Recording, Row, question_with_options};
use crate::language::template::{Conversation, Role, Turn};
use crate::projector::{self, Clip};
use crate::text::questions::{Answer, Question, Said};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is taken from what is heard, to see whether an answer uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing.
    None,
    /// The spatial features: P = 0 in front of the projector's experts, and no slots.
    ZeroSpatial,
    /// The spatial features are those of another recording of the set.
    Shuffle,
    /// The directional channels of the audio: Y = Z = X = 0.
    WOnly,
    /// Everything: S = P = 0.
    NoAudio,
}

impl Taken {
    /// Every ablation.
    pub const ALL: [Taken; 5] = [Taken::None, Taken::ZeroSpatial, Taken::Shuffle, Taken::WOnly, Taken::NoAudio];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Taken::None => "none",
            Taken::ZeroSpatial => "zero-spatial",
            Taken::Shuffle => "shuffle",
            Taken::WOnly => "w-only",
            Taken::NoAudio => "no-audio",
        }
    }

    fn of_projector(self) -> projector::Ablation {
        match self {
            Taken::ZeroSpatial => projector::Ablation::ZeroSpatial,
            Taken::NoAudio => projector::Ablation::NoAudio,
            Taken::None | Taken::Shuffle | Taken::WOnly => projector::Ablation::None,
        }
    }
}

impl std::str::FromStr for Taken {
    type Err = Error;
    /// One of the names; anything else is a usage error.
    fn from_str(name: &str) -> Result<Taken> {
        let names = Taken::ALL.map(Taken::name).join(", ");
        let found = Taken::ALL.into_iter().find(|taken| taken.name() == name);
        found.ok_or_else(|| Error::usage(format!("ablation {name:?} is not one of {names}")))
    }
}

/// A family that takes an exam.
pub struct Exam<'a> {
    /// Who answers.
    pub family: &'a Family,
    /// The folder that the questions' file names are relative to.
    pub folder: &'a Path,
    /// What is taken from what it hears.
    pub taken: Taken,
    /// How it answers.
    pub answering: Answering,
    /// Questions that are answered together.
    pub batch: usize,
    /// Decides whose spatial features each recording gets ([`Taken::Shuffle`]).
    pub seed: u64,
}

impl Exam<'_> {
    /// The answers to all questions, in their words. `progress` is told how many are answered.
    ///
    /// # Errors
    /// `Missing` or `Data` naming the recording or the question, before the first is answered where a look is enough; `Usage` when fewer than two recordings are to be shuffled.
    pub fn answers(&self, questions: &[Question], mut progress: impl FnMut(usize)) -> Result<Vec<Answer>> {
        self.check(questions)?;
        let others = self.others(questions)?;
        let answering = Answering { ablation: self.taken.of_projector(), ..self.answering.clone() };
        let mut answers = Vec::with_capacity(questions.len());
        for (at, group) in questions.chunks(self.batch.max(1)).enumerate() {
            let rows: Vec<Row> = group.iter().map(row).collect();
            let clips: Vec<Clip> = group.iter().map(|question| self.hear(question, &others)).collect::<Result<_>>()?;
            let number = |i: usize| (at * self.batch.max(1) + i) as u32;
            let asked: Vec<Asking> = rows
                .iter()
                .zip(&clips)
                .enumerate()
                .map(|(i, (row, clip))| Asking { row, heard: Some(clip), number: number(i) })
                .collect();
            let found = self.family.answer(&asked, &answering, |_, _| {})?;
            for (question, answer) in group.iter().zip(found) {
                answers.push(Answer { sample_id: question.sample_id.clone(), said: Said::Text(answer.text) });
            }
            progress(answers.len());
        }
        Ok(answers)
    }

    /// Looks at all questions before the first is answered: whether their recordings are there, and whether their texts fit.
    fn check(&self, questions: &[Question]) -> Result<()> {
        let most = self.family.decoder.config.positions.saturating_sub(self.answering.new_max);
        let mut missing = Vec::new();
        for question in questions {
            let place = || format!("question {}", question.sample_id);
            if question.file_name.trim().is_empty() {
                return Err(Error::data(format!("{}: file_name is empty", place())));
            }
            if !self.recording(&question.file_name).is_file() {
                missing.push(question);
                continue;
            }
            let tokens = prompt(&self.family.tokenizer, &self.family.template, &row(question))?.ids.len();
            if tokens > most {
                let message = format!(
                    "{}: {tokens} tokens of text and {} of answer: the decoder takes {}",
                    place(),
                    self.answering.new_max,
                    self.family.decoder.config.positions
                );
                return Err(Error::data(message).hint("shorten or remove the question, or give a smaller --max-new"));
            }
        }
        let Some(first) = missing.first() else { return Ok(()) };
        let others = match missing.len() {
            1 => String::new(),
            count => format!(" ({count} questions name recordings that are not there)"),
        };
        let path = self.folder.join(&first.file_name);
        Err(Error::missing(format!("question {}: there is no recording {}{others}", first.sample_id, path.display())))
    }

    /// Whose spatial features each recording gets, where they are shuffled.
    fn others<'q>(&self, questions: &'q [Question]) -> Result<BTreeMap<&'q str, &'q str>> {
        if self.taken != Taken::Shuffle {
            return Ok(BTreeMap::new());
        }
        let mut names: Vec<&str> = questions.iter().map(|q| q.file_name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            return Err(Error::usage(format!("ablation shuffle: {} recording, another one is needed", names.len())));
        }
        let order = derangement(names.len(), self.seed);
        Ok(names.iter().copied().zip(order.iter().map(|&i| names[i])).collect())
    }

    /// A recording of the questions' folder, or of the one around it, where the recordings of a public set lie.
    fn recording(&self, name: &str) -> PathBuf {
        let here = self.folder.join(name);
        let around = self.folder.join("..").join(name);
        if !here.is_file() && around.is_file() { around } else { here }
    }

    fn hear(&self, question: &Question, others: &BTreeMap<&str, &str>) -> Result<Clip> {
        let read = |name: &str| Ok::<_, Error>(read_foa(&self.recording(name), None)?.samples);
        let place = || format!("question {}", question.sample_id);
        let mut audio = read(&question.file_name).context_with(place)?;
        if self.taken == Taken::WOnly {
            let kept = audio.len() / 4;
            audio[kept..].fill(0.0);
        }
        let other = others.get(question.file_name.as_str()).map(|name| read(name)).transpose().context_with(place)?;
        self.family.hear(&audio, other.as_deref()).context_with(|| &question.file_name).context_with(place)
    }
}

/// A question as the models were taught to read it.
fn row(question: &Question) -> Row {
    let content = question_with_options(&question.question, &question.options());
    let recordings = vec![Recording { audio: question.file_name.clone(), reverb: None }];
    let conversation = Conversation { system: None, turns: vec![Turn { role: Role::User, content }] };
    Row { place: format!("question {}", question.sample_id), content: Content { recordings, conversation } }
}
