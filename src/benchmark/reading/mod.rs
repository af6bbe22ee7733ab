//! The inverse of the wording: from a question and its options, by whatever author, back to claims that can be checked.
//!
//! A text is read only when it has one of the listed forms as a whole and can be read in one way. Everything else is
//! [`Unreadable`]: a negation, a condition or an instruction that no form foresees can therefore not slip through.
//! Labels are those of the set and situations those of the table: of words outside them nobody could say
//! whether it fits a scene.

mod integration;
mod pattern;
mod perception;
mod reasoning;
mod situations;
mod tables;
mod tokens;

#[cfg(test)]
mod tests;

use super::claims::Claim;
use super::draft::Pool;
use super::facts::Facts;
use super::perception::AZIMUTH_FROM;
use super::task::Task;
use crate::text::questions::Letter;
use pattern::Forms;
pub(super) use tokens::{Token, decimals, tokens};

/// What could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The question: what it asks, or about which source.
    Question,
    /// An option.
    Option(Letter),
}

/// A question whose text is in tokens, and the scene that it is about.
struct Asked<'a> {
    question: Vec<Token>,
    options: &'a [String; 4],
    facts: &'a Facts,
    pool: &'a Pool,
    forms: Forms,
}

/// What the options of a question claim.
///
/// # Errors
/// The first part that cannot be read.
pub fn read(
    task: Task,
    question: &str,
    options: &[String; 4],
    facts: &Facts,
    pool: &Pool,
) -> Result<[Claim; 4], Unreadable> {
    let question = tokens(&without_conventions(question)).ok_or(Unreadable::Question)?;
    let asked = Asked { question, options, facts, pool, forms: Forms::new(&pool.labels) };
    let read = match task {
        Task::CountObjects => perception::count_objects,
        Task::IdentifyEventClass => perception::identify_event_class,
        Task::IdentifySpeechTranscript => perception::identify_speech_transcript,
        Task::LocalizeAzimuth => perception::localize_azimuth,
        Task::LocalizeElevation => perception::localize_elevation,
        Task::EstimateDistance => perception::estimate_distance,
        Task::EnvironmentAcoustics => perception::environment_acoustics,
        Task::BindIdentityLocationDistance => integration::bind_identity,
        Task::QueryLocation => integration::query_location,
        Task::QueryIdentity => integration::query_identity,
        Task::CompareDistances => integration::compare_distances,
        Task::RelativeDirection => integration::relative_direction,
        Task::SceneAbduction => situations::scene_abduction,
        Task::CausalIntent => situations::causal_intent,
        Task::RotateObserver => reasoning::rotate_observer,
        Task::SourceRemoval => reasoning::source_removal,
        Task::MultiHopQuery => reasoning::multi_hop_query,
        Task::PhysicalConsistency => reasoning::physical_consistency,
        // Those are made by rule alone.
        _ => return Err(Unreadable::Question),
    };
    read(&asked)
}

/// A question without the remarks that say how its angles are counted, when they say what is assumed anyway.
fn without_conventions(question: &str) -> String {
    let azimuth = format!(" ({AZIMUTH_FROM})");
    let remarks = [azimuth.as_str(), " (eye level is 0°, up is positive)", " (0° is eye level, up is positive)"];
    remarks.iter().fold(question.to_string(), |text, remark| text.replacen(remark, "", 1))
}

impl Asked<'_> {
    /// Reads every option with `claim`.
    fn each(&self, mut claim: impl FnMut(&[Token]) -> Option<Claim>) -> Result<[Claim; 4], Unreadable> {
        self.each_text(|text| claim(&tokens(text)?))
    }

    /// [`Asked::each`] from the text itself.
    fn each_text(&self, mut claim: impl FnMut(&str) -> Option<Claim>) -> Result<[Claim; 4], Unreadable> {
        let mut claims = Vec::with_capacity(4);
        for (letter, option) in Letter::ALL.into_iter().zip(self.options) {
            claims.push(claim(option).ok_or(Unreadable::Option(letter))?);
        }
        Ok(claims.try_into().expect("four options"))
    }

    /// The only source that is called `label`: only such a one can be asked about.
    fn only(&self, label: &str) -> Option<usize> {
        match self.facts.called(label)[..] {
            [source] => Some(source),
            _ => None,
        }
    }

    /// What `claim` says of the source called `label`. A label that no source of the scene has makes the whole claim false:
    /// to its absence the rest is added about the first source, so that different options stay different claims.
    fn of_label(&self, label: &str, claim: impl FnOnce(usize) -> Option<Claim>) -> Option<Claim> {
        match self.facts.called(label)[..] {
            [] => Some(Claim::both(Claim::Present { label: label.into() }, claim(0)?)),
            [source] => claim(source),
            _ => None,
        }
    }

    /// The only source for which `claim` clearly holds while it clearly fails for all others.
    fn only_where(&self, claim: impl Fn(usize) -> Claim) -> Option<usize> {
        use super::verdict::Verdict::{False, True};
        let verdicts: Vec<_> = (0..self.facts.count()).map(|i| claim(i).verdict(self.facts)).collect();
        let at = verdicts.iter().position(|v| *v == True)?;
        (verdicts.iter().enumerate().all(|(i, v)| i == at || *v == False)).then_some(at)
    }
}

/// A source lies in the direction of one of the eight words.
fn octant_claim(source: usize, octant: usize) -> Claim {
    Claim::Sector { source, centre_deg: 45.0 * octant as f64, width_deg: 45.0, turn_deg: 0.0 }
}
