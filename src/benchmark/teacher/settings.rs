//! How a teacher is asked, and how that ended.

use super::endpoint::Endpoint;
use super::outcome::Outcome;
use super::secret::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most requests at once.
pub const JOBS_MAX: usize = 64;

/// What the teacher does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It writes question, options, key and claims.
    #[default]
    Write,
    /// It rewords ours; what it must not have changed is known.
    Reword,
}

/// How the server is asked to draw; what is absent is not sent, so that the server's own settings hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `seed`.
    pub seed: Option<u64>,
    /// `max_tokens`.
    pub max_tokens: Option<u32>,
}

/// How to reach the teacher.
pub struct Options {
    /// Where: asks go to these in turn.
    pub endpoints: Vec<Endpoint>,
    /// The key, if one is needed.
    pub key: Option<Key>,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// Most requests, earlier runs of the same ledger included.
    pub requests_max: u64,
    /// Requests at once, 1 to [`JOBS_MAX`]; the results do not depend on it.
    pub jobs: usize,
    /// What the teacher does.
    pub mode: Mode,
    /// How it draws.
    pub sampling: Sampling,
    /// Rows, accepted and refused ones each, that are written for people to look at.
    pub audit: Option<usize>,
}

/// How the requests ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// HTTP requests.
    pub requests: u64,
    /// What became of them: the counts add up to `requests`.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Questions in our own words, because the teacher's were refused.
    #[serde(default)]
    pub kept: u64,
    /// Servers that do not know the wish for a JSON object.
    #[serde(default)]
    pub without_json: usize,
}

impl Report {
    /// Questions that entered in the teacher's words.
    pub fn accepted(&self) -> u64 {
        self.outcomes.get(&Outcome::Accepted).copied().unwrap_or(0)
    }
}
