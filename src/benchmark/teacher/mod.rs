//! Questions by a language model behind an OpenAI-compatible endpoint, checked against the truth like our own.
//!
//! ```text
//! slot (task) -> ask (scene, kind) -> prompt -> request -> JSON: question, options, key, claims
//!   closed reader knows the form ----------------------------> its claims -> check -> row
//!   else the claims beside it -> check -> guard (text = claim) -> request: the text alone -> the same claims? -> row
//!                       |__________________ ledger: one line per request, in the order of asks __________________|
//! ```
//! What is asked as number `i` depends on the seed, `i` and the rounds before: number `i` belongs to slot `i mod n` of the
//! `n` questions, and a slot is asked about again, with another scene, until it has its row. A run that goes on first takes
//! the answers from the ledger, in the same order and through the same check, so that it ends as it would have ended.
//!
//! A teacher may write freely: it says beside each option what that asserts ([`super::claims`]). The verdict is on the
//! claims; that the text says no more and no less is seen to by the guard, which knows the part of every word or refuses,
//! and by a second call that reads the text alone.

mod audit;
mod check;
mod clean;
mod client;
mod endpoint;
mod forms;
mod guard;
mod job;
mod ledger;
mod outcome;
mod prompt;
mod reply;
mod same;
mod secret;
mod session;
mod settings;
mod thought;
mod vocabulary;

pub use audit::AUDIT_FILE;
pub use endpoint::Endpoint;
pub use ledger::{Identity, LEDGER_FILE};
pub use outcome::Outcome;
pub use reply::TaughtRow;
pub use secret::{KEY_VARIABLE, Key};
pub use settings::{JOBS_MAX, Mode, Options, Report, Sampling};

use super::draft::Pool;
use super::generate::{Given, Settings};
use crate::error::{Error, Result};
use crate::files::{FolderLock, remove_temporaries};
use job::Shared;
use ledger::Ledger;
use session::Session;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Asks the teacher for the questions of `settings`; `identity` says the same for the ledger in `out`. What it could not
/// deliver is missing.
///
/// # Errors
/// `Usage` for a ledger of other settings, `Stopped` after a signal, `Unavailable` when the teacher refuses or is silent,
/// `Data` for a ledger whose lines do not belong to these scenes.
pub fn ask(
    pool: &Pool,
    settings: Settings,
    identity: Identity,
    options: &Options,
    out: &Path,
) -> Result<(Vec<Given>, Report)> {
    let model = identity.model.clone();
    if pool.scenes.is_empty() {
        return Ok((vec![], Report { model, ..Report::default() }));
    }
    std::fs::create_dir_all(out).map_err(|e| Error::io("create folder", out, &e))?;
    let _lock = FolderLock::acquire(out, ".lock")?;
    remove_temporaries(out)?;
    let (ledger, past) = Ledger::open(out, identity)?;
    if past.len() as u64 > options.requests_max {
        let (path, n) = (ledger.path().display(), past.len());
        let message = format!("{path} holds {n} requests, more than --teacher-requests-max {}", options.requests_max);
        return Err(Error::usage(message).hint("give a larger number"));
    }
    if !past.is_empty() {
        tracing::info!("{}: going on after {} requests", ledger.path().display(), past.len());
    }
    let path = ledger.path().to_path_buf();
    let shared = Shared { pool, settings, options, model, path, over: AtomicBool::new(false) };
    let (given, report, ledger) = Session::new(&shared, ledger, past).run()?;
    if let Some(n) = options.audit {
        audit::write(out, pool, settings.seed, n, &ledger.lines()?)?;
    }
    Ok((given, report))
}
