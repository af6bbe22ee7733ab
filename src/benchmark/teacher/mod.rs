//! Questions by a language model behind an OpenAI-compatible endpoint, checked against the truth like our own.
//!
//! ```text
//! slot (task) -> ask (scene, kind) -> prompt -> request -> strict JSON -> read back into claims -> check -> row
//!                                                  |__________________ ledger: one line per request __________|
//! ```
//! What is asked as number `i` depends on the seed and `i` alone: number `i` belongs to slot `i mod n` of the `n`
//! questions, and a slot is asked about again, with another scene, until it has its row. A run that goes on first takes
//! the answers from the ledger, in the same order and through the same check, so that it ends as it would have ended.

mod check;
mod client;
mod endpoint;
mod forms;
mod ledger;
mod outcome;
mod prompt;
mod reply;
mod secret;

pub use endpoint::Endpoint;
pub use ledger::{Identity, LEDGER_FILE};
pub use outcome::Outcome;
pub use reply::TaughtRow;
pub use secret::{KEY_VARIABLE, Key};

use super::draft::{Context, Draft, Pool};
use super::generate::{Given, Settings, draft};
use super::task::{Task, quotas};
use crate::error::{Error, Result};
use crate::files::{FolderLock, remove_temporaries};
use crate::rng::Rng;
use check::{check, mark};
use client::{Client, Reply, wait};
use forms::form;
use ledger::{Ledger, Line};
use prompt::{Ask, body};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

/// Requests for the same thing, when the first ones fail in passing.
const ATTEMPTS: usize = 4;
/// Pause before the second attempt; it doubles with every further one.
const BACK_OFF_S: f64 = 0.5;
/// Requests without an answer, one after the other, after which the teacher counts as gone; fewer when it never answered.
const SILENT_MAX: [usize; 2] = [40, 20];
/// Scenes that are looked at to find one that a task can be asked about.
const SCENES_TRIED: usize = 300;
/// Requests between two lines of progress.
const PROGRESS: u64 = 25;

/// How to reach the teacher.
pub struct Options {
    /// Where.
    pub endpoint: Endpoint,
    /// The key, if one is needed.
    pub key: Option<Key>,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// Most requests, earlier runs of the same ledger included.
    pub requests_max: u64,
}

/// How the requests ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// HTTP requests.
    pub requests: u64,
    /// What became of them: the counts add up to `requests`.
    pub outcomes: BTreeMap<Outcome, u64>,
}

impl Report {
    /// Questions that entered.
    pub fn accepted(&self) -> u64 {
        self.outcomes.get(&Outcome::Accepted).copied().unwrap_or(0)
    }
}

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
    if pool.scenes.is_empty() {
        return Ok((vec![], Report { model: identity.model, requests: 0, outcomes: BTreeMap::new() }));
    }
    std::fs::create_dir_all(out).map_err(|e| Error::io("create folder", out, &e))?;
    let _lock = FolderLock::acquire(out, ".lock")?;
    remove_temporaries(out)?;
    let model = identity.model.clone();
    let (ledger, past) = Ledger::open(out, identity)?;
    if past.len() as u64 > options.requests_max {
        let (path, n) = (ledger.path().display(), past.len());
        let message = format!("{path} holds {n} requests, more than --teacher-requests-max {}", options.requests_max);
        return Err(Error::usage(message).hint("give a larger number"));
    }
    if !past.is_empty() {
        tracing::info!("{}: going on after {} requests", ledger.path().display(), past.len());
    }
    let mut session = Session {
        pool,
        settings,
        options,
        client: Client::new(&options.endpoint, options.key.as_ref(), options.timeout),
        ledger,
        past: past.into(),
        report: Report { model, requests: 0, outcomes: BTreeMap::new() },
        seen: BTreeSet::new(),
        with_schema: true,
        retry_after: Duration::ZERO,
        silent: 0,
    };
    let given = session.run()?;
    if let Some(line) = session.past.front() {
        return Err(session.foreign(line, "nothing more would have been asked"));
    }
    if session.report.requests > 0 && !session.has_answered() {
        return Err(session.gone("it has answered none of them"));
    }
    Ok((given, session.report))
}

/// What one attempt led to.
enum Attempt {
    /// A row.
    Row(Box<Draft>),
    /// No row, and the same request would not bring one.
    Nothing,
    /// The same request may bring one.
    Again,
    /// There are no requests left.
    Spent,
}

struct Session<'a> {
    pool: &'a Pool,
    settings: Settings,
    options: &'a Options,
    client: Client,
    ledger: Ledger,
    /// Lines of earlier runs that are still to be gone through.
    past: VecDeque<Line>,
    report: Report,
    /// Questions that are there.
    seen: BTreeSet<String>,
    /// Whether the schema is sent; servers that do not know it answer with an error.
    with_schema: bool,
    /// Pause that the server asked for.
    retry_after: Duration,
    /// Requests of this run without an answer, since the last answer.
    silent: usize,
}

impl<'a> Session<'a> {
    fn run(&mut self) -> Result<Vec<Given>> {
        let slots = slots(self.settings);
        let mut given: BTreeMap<usize, Given> = BTreeMap::new();
        let mut often = vec![0; self.pool.scenes.len()];
        for round in 0u64.. {
            let before = self.report.requests;
            for (slot, &task) in slots.iter().enumerate() {
                if given.contains_key(&slot) {
                    continue;
                }
                let number = round * slots.len() as u64 + slot as u64;
                let free = |scene: usize| self.settings.per_scene.is_none_or(|most| often[scene] < most);
                let Some(ask) = material(self.pool, self.settings, task, number, free) else { continue };
                let scene = ask.scene;
                match self.answer(&ask)? {
                    Attempt::Row(draft) => {
                        often[scene] += 1;
                        given.insert(slot, Given { task, scene, yaw_deg: 0.0, draft: *draft });
                    }
                    Attempt::Spent => return Ok(given.into_values().collect()),
                    Attempt::Nothing | Attempt::Again => {}
                }
            }
            // Everything is there, or nothing can be asked about what is not.
            if self.report.requests == before {
                break;
            }
        }
        Ok(given.into_values().collect())
    }

    /// Asks until there is an answer, a bounded number of times.
    fn answer(&mut self, ask: &Ask) -> Result<Attempt> {
        for attempt in 0..ATTEMPTS {
            match self.attempt(ask, attempt)? {
                Attempt::Again => {}
                done => return Ok(done),
            }
        }
        Ok(Attempt::Nothing)
    }

    /// One request, from the ledger or over the wire.
    fn attempt(&mut self, ask: &Ask, attempt: usize) -> Result<Attempt> {
        while let Some(line) = self.past.pop_front() {
            if line.ask != ask.number || line.task != ask.task || line.scene != ask.facts.truth.id {
                let asked =
                    format!("request {} of {} about {} comes here", ask.number, ask.task.id(), ask.facts.truth.id);
                return Err(self.foreign(&line, &asked));
            }
            self.count(line.outcome);
            let checked = line.row.as_ref().map(|row| self.checked(ask, row));
            match (line.outcome, checked) {
                // Since then the key or the address may have been set right: the same is asked again.
                (Outcome::HttpOther, None) if is_refusal(line.status) => {}
                (Outcome::Accepted, Some(Ok(draft))) => return Ok(Attempt::Row(Box::new(draft))),
                (Outcome::Accepted, Some(Err(outcome))) => {
                    return Err(self.foreign(&line, &format!("its row is {outcome}")));
                }
                (Outcome::Accepted, None) | (_, Some(_)) => return Err(self.foreign(&line, "accepted rows have a row")),
                (outcome, None) => return Ok(self.without_row(outcome, line.status)),
            }
        }
        if self.report.requests >= self.options.requests_max {
            return Ok(Attempt::Spent);
        }
        if attempt > 0 {
            self.back_off(attempt)?;
        }
        let (settings, model) = (self.settings, &self.report.model);
        let body = body(ask, self.pool, settings.seed, settings.signed_azimuth, model, self.with_schema);
        let (outcome, status, row) = match self.client.send(body)? {
            Reply::Status(status, retry_after) => {
                self.retry_after = retry_after.unwrap_or_default();
                tracing::warn!("request {}: the teacher answers with status {status}", self.report.requests);
                (Outcome::of_status(status), Some(status), None)
            }
            Reply::Failed(outcome, why) => {
                tracing::warn!("request {}: {why}", self.report.requests);
                (outcome, None, None)
            }
            Reply::Body(bytes) => match self.row(ask, &bytes) {
                Ok((row, draft)) => (Outcome::Accepted, None, Some((row, draft))),
                Err(outcome) => (outcome, None, None),
            },
        };
        let (row, draft) = row.unzip();
        let (request, task, scene) = (self.report.requests, ask.task, ask.facts.truth.id.clone());
        self.ledger.append(Line { request, ask: ask.number, task, scene, outcome, status, row, settings: None })?;
        self.count(outcome);
        self.progress();
        self.give_up_if_gone(outcome, status)?;
        Ok(draft.map_or_else(|| self.without_row(outcome, status), |draft| Attempt::Row(Box::new(draft))))
    }

    /// What follows from an outcome without a row.
    fn without_row(&mut self, outcome: Outcome, status: Option<u16>) -> Attempt {
        let dislikes_schema = self.with_schema && matches!(status, Some(400 | 422));
        if dislikes_schema {
            self.with_schema = false;
        }
        if dislikes_schema || outcome.is_passing() { Attempt::Again } else { Attempt::Nothing }
    }

    /// The row in an answer.
    fn row(&mut self, ask: &Ask, body: &[u8]) -> Result<(TaughtRow, Draft), Outcome> {
        let row = reply::row(body)?;
        let texts = row.options.iter().chain([&row.question]);
        if self.options.key.as_ref().is_some_and(|key| texts.into_iter().any(|text| key.is_in(text))) {
            return Err(Outcome::Unclean);
        }
        let draft = self.checked(ask, &row)?;
        Ok((row, draft))
    }

    /// A row as a draft that holds and is not there yet.
    fn checked(&mut self, ask: &Ask, row: &TaughtRow) -> Result<Draft, Outcome> {
        let draft = check(ask.task, ask.facts, self.pool, row)?;
        if self.seen.insert(mark(ask.scene, &draft)) { Ok(draft) } else { Err(Outcome::Duplicate) }
    }

    fn count(&mut self, outcome: Outcome) {
        self.report.requests += 1;
        *self.report.outcomes.entry(outcome).or_default() += 1;
    }

    fn progress(&self) {
        let n = self.report.requests;
        if n.is_multiple_of(PROGRESS) {
            let (accepted, wanted) = (self.report.accepted(), self.settings.questions);
            tracing::info!("teacher: {accepted} of {wanted} questions after {n} requests");
        }
    }

    fn back_off(&mut self, attempt: usize) -> Result<()> {
        let jitter = Rng::new(self.settings.seed, "teacher back-off", self.report.requests).range(0.5, 1.5);
        let pause = Duration::from_secs_f64(BACK_OFF_S * 2f64.powi(attempt as i32 - 1) * jitter);
        wait(pause.max(std::mem::take(&mut self.retry_after)))
    }

    fn has_answered(&self) -> bool {
        self.report.outcomes.keys().any(|o| o.is_answer())
    }

    /// Ends the run when asking on makes no sense.
    fn give_up_if_gone(&mut self, outcome: Outcome, status: Option<u16>) -> Result<()> {
        if let Some(status) = status.filter(|s| is_refusal(Some(*s))) {
            let hint = match status {
                404 => "check the address and the name of the model".to_string(),
                _ => format!("check the key: {KEY_VARIABLE} or --teacher-key-file"),
            };
            return Err(self.gone(&format!("it refuses with status {status}")).hint(hint));
        }
        self.silent = if outcome.is_answer() { 0 } else { self.silent + 1 };
        let most = SILENT_MAX[usize::from(!self.has_answered())];
        if self.silent < most {
            return Ok(());
        }
        Err(self.gone(&format!("{most} requests in a row went without an answer, the last one with {outcome}")))
    }

    fn gone(&self, why: &str) -> Error {
        let (place, n) = (self.options.endpoint.shown(), self.report.requests);
        Error::unavailable(format!("the teacher at {place} cannot be asked: {why} ({n} requests so far)"))
            .hint("the same command goes on later with what is there")
    }

    fn foreign(&self, line: &Line, why: &str) -> Error {
        let (path, number) = (self.ledger.path().display(), line.request + 1);
        Error::data(format!("{path}:{number}: does not belong to this run: {why}"))
            .hint("remove the file to begin again, or give another --out")
    }
}

/// Statuses that no repetition helps against.
fn is_refusal(status: Option<u16>) -> bool {
    matches!(status, Some(401 | 403 | 404))
}

/// The task of every question, in the order in which they are asked for.
fn slots(settings: Settings) -> Vec<Task> {
    let mut slots: Vec<Task> =
        quotas(settings.questions).into_iter().flat_map(|(task, n)| std::iter::repeat_n(task, n)).collect();
    Rng::new(settings.seed, "teacher slots", 0).shuffle(&mut slots);
    slots
}

/// A scene that offers something for `task`: one from which a draft of our own can be made, of a kind that can be read back.
/// Scenes that are not `free` have been asked about often enough.
fn material(pool: &Pool, settings: Settings, task: Task, number: u64, free: impl Fn(usize) -> bool) -> Option<Ask<'_>> {
    let mut rng = Rng::new(settings.seed, "teacher ask", number);
    (0..SCENES_TRIED).find_map(|_| {
        let scene = rng.below(pool.scenes.len());
        if !free(scene) {
            return None;
        }
        let facts = &pool.scenes[scene];
        let context = Context { facts, pool, signed: settings.signed_azimuth };
        let kind = draft(task, &context, &mut rng)?.kind;
        form(kind)?;
        Some(Ask { number, task, kind, scene, facts })
    })
}
