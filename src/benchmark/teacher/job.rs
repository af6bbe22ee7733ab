//! One ask from the first request to a row, on a thread of its own: it depends on the ask, its lines in the ledger and what
//! the servers answer, and on nothing that other asks do.

use super::super::draft::{Draft, Pool};
use super::super::generate::Settings;
use super::check::check;
use super::client::{Client, Reply, wait};
use super::ledger::Line;
use super::outcome::Outcome;
use super::prompt::{Ask, Wish, body, reading_body};
use super::reply::{self, TaughtRow};
use super::same::same_claims;
use super::secret::Key;
use super::settings::{Mode, Options};
use crate::error::{Error, Result};
use crate::rng::Rng;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Requests for the same thing, when the first ones fail in passing.
const ATTEMPTS: usize = 4;
/// Most new requests of one job: the row, and its reading.
pub(super) const JOB_REQUESTS_MAX: u64 = 2 * ATTEMPTS as u64;
/// Pause before the second attempt; it doubles with every further one.
const BACK_OFF_S: f64 = 0.5;
/// Longest row that is kept in the ledger, as JSON.
const ROW_BYTES_MAX: usize = 16 << 10;

/// What all jobs share.
pub(super) struct Shared<'a> {
    pub pool: &'a Pool,
    pub settings: Settings,
    pub options: &'a Options,
    pub model: String,
    /// Where the ledger is.
    pub path: PathBuf,
    /// Set when the run ends before its jobs.
    pub over: AtomicBool,
}

/// One ask.
pub(super) struct Job<'a> {
    pub ask: Ask<'a>,
    /// For each server whether JSON is asked for; those that do not know that answer with an error.
    pub json: Vec<bool>,
    /// Whether a server's answer decides on that.
    pub may_fall_back: bool,
    /// Lines of earlier runs.
    pub past: VecDeque<Line>,
    /// Most lines.
    pub budget: u64,
}

/// What a job came to.
pub(super) struct Done {
    /// Its lines, whether they are new, and which server it was.
    pub lines: Vec<(Line, bool, usize)>,
    /// The row that was accepted.
    pub made: Option<Box<(TaughtRow, Draft)>>,
    /// The servers that do not know the wish for JSON.
    pub without_json: Vec<usize>,
    /// Whether there are no requests left.
    pub is_spent: bool,
}

/// Who performs jobs.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    clients: Vec<Client>,
}

/// What a series of attempts led to.
enum Step<T> {
    Got(T),
    Nothing,
    Spent,
}

/// What is asked of a server.
#[derive(Clone, Copy)]
enum Stage<'r> {
    Write,
    Read(&'r TaughtRow),
}

/// What one answer holds.
struct Found {
    outcome: Outcome,
    row: Option<TaughtRow>,
    draft: Option<Draft>,
}

impl<'a> Worker<'a> {
    /// A worker with connections of its own.
    pub(super) fn new(shared: &'a Shared<'a>) -> Worker<'a> {
        let Options { endpoints, key, timeout, .. } = shared.options;
        Worker { shared, clients: endpoints.iter().map(|e| Client::new(e, key.as_ref(), *timeout)).collect() }
    }

    /// Performs a job. Errors: `Stopped`, or `Data` for lines that do not belong to it.
    pub(super) fn perform(&self, job: Job<'a>) -> Result<Done> {
        let done = Done { lines: vec![], made: None, without_json: vec![], is_spent: false };
        let mut run = Run { shared: self.shared, clients: &self.clients, job, done, retry_after: Duration::ZERO };
        run.perform()?;
        if let Some(line) = run.job.past.front() {
            return Err(run.foreign(line, "nothing more would have been asked about this"));
        }
        Ok(run.done)
    }
}

struct Run<'w, 'a> {
    shared: &'w Shared<'a>,
    clients: &'w [Client],
    job: Job<'a>,
    done: Done,
    /// Pause that the server asked for.
    retry_after: Duration,
}

impl Run<'_, '_> {
    fn perform(&mut self) -> Result<()> {
        let (row, draft, outcome) = match self.until_answered(Stage::Write)? {
            Step::Got((row, draft, outcome)) => (row, draft, outcome),
            step => {
                self.done.is_spent = matches!(step, Step::Spent);
                return Ok(());
            }
        };
        if outcome == Outcome::Reread {
            match self.until_answered(Stage::Read(&row))? {
                Step::Got(_) => {}
                step => {
                    self.done.is_spent = matches!(step, Step::Spent);
                    return Ok(());
                }
            }
        }
        self.done.made = Some(Box::new((row, draft)));
        Ok(())
    }

    /// The server in turn; who reads again is another one where there are several.
    fn server(&self, stage: Stage) -> usize {
        let turn = self.job.ask.number + u64::from(matches!(stage, Stage::Read(_)));
        (turn % self.clients.len() as u64) as usize
    }

    /// Asks until there is an answer, a bounded number of times.
    fn until_answered(&mut self, stage: Stage) -> Result<Step<(TaughtRow, Draft, Outcome)>> {
        let server = self.server(stage);
        for attempt in 0..ATTEMPTS {
            let past = self.past(stage, server)?;
            let is_past = past.is_some();
            let (line, draft) = match past {
                Some(found) => found,
                None if self.done.lines.len() as u64 >= self.job.budget => return Ok(Step::Spent),
                None => self.request(stage, server, attempt)?,
            };
            let (outcome, status, row) = (line.outcome, line.status, line.row.clone());
            self.done.lines.push((line, !is_past, server));
            if let (Outcome::Accepted | Outcome::Reread, Some(row), Some(draft)) = (outcome, row, draft) {
                return Ok(Step::Got((row, draft, outcome)));
            }
            let dislikes_json = self.job.may_fall_back && self.job.json[server] && matches!(status, Some(400 | 422));
            if dislikes_json {
                self.job.json[server] = false;
                self.done.without_json.push(server);
            }
            if !dislikes_json && !outcome.is_passing() {
                return Ok(Step::Nothing);
            }
        }
        Ok(Step::Nothing)
    }

    /// The next line of an earlier run.
    fn past(&mut self, stage: Stage, server: usize) -> Result<Option<(Line, Option<Draft>)>> {
        while let Some(line) = self.job.past.pop_front() {
            let ask = &self.job.ask;
            if line.task != ask.task
                || line.scene != ask.facts.truth.id
                || line.again != matches!(stage, Stage::Read(_))
            {
                let (task, scene) = (ask.task.id(), &ask.facts.truth.id);
                return Err(self.foreign(&line, &format!("request {} of {task} about {scene} comes here", ask.number)));
            }
            // Since then the key or the address may have been set right: the same is asked again.
            if line.outcome == Outcome::HttpOther && is_refusal(line.status) {
                self.done.lines.push((line, false, server));
                continue;
            }
            let holds = matches!(line.outcome, Outcome::Accepted | Outcome::Reread);
            let draft = match &line.row {
                Some(row) if holds => match check(ask.task, ask.facts, self.shared.pool, row) {
                    Ok(checked) => Some(checked.draft),
                    Err(outcome) => return Err(self.foreign(&line, &format!("its row is {outcome}"))),
                },
                None if holds => return Err(self.foreign(&line, "accepted rows have a row")),
                _ => None,
            };
            return Ok(Some((line, draft)));
        }
        Ok(None)
    }

    /// One request over the wire.
    fn request(&mut self, stage: Stage, server: usize, attempt: usize) -> Result<(Line, Option<Draft>)> {
        if attempt > 0 {
            self.back_off(stage, attempt)?;
        }
        let (shared, ask) = (self.shared, &self.job.ask);
        let Options { mode, sampling, .. } = *shared.options;
        let (seed, signed) = (shared.settings.seed, shared.settings.signed_azimuth);
        let (model, with_json) = (shared.model.as_str(), self.job.json[server]);
        let wish = Wish { pool: shared.pool, seed, signed, model, sampling, mode, with_json };
        let body = match stage {
            Stage::Write => body(ask, &wish),
            Stage::Read(row) => reading_body(ask, row, &wish),
        };
        let (found, status) = match self.clients[server].send(body, &shared.over)? {
            Reply::Status(status, retry_after) => {
                self.retry_after = retry_after.unwrap_or_default();
                tracing::warn!("ask {}: the teacher answers with status {status}", ask.number);
                (Found::nothing(Outcome::of_status(status)), Some(status))
            }
            Reply::Failed(outcome, why) => {
                tracing::warn!("ask {}: {why}", ask.number);
                (Found::nothing(outcome), None)
            }
            Reply::Body(bytes) => match stage {
                Stage::Write => (self.written(&bytes), None),
                Stage::Read(row) => (self.read(&bytes, row), None),
            },
        };
        let (task, scene) = (ask.task, ask.facts.truth.id.clone());
        let Found { outcome, row, draft } = found;
        let again = matches!(stage, Stage::Read(_));
        let line = Line { request: 0, ask: ask.number, task, scene, again, outcome, status, row, settings: None };
        Ok((line, draft))
    }

    /// What the teacher wrote.
    fn written(&self, body: &[u8]) -> Found {
        let ask = &self.job.ask;
        let row = match self.shared.options.mode {
            Mode::Write => reply::row(body),
            Mode::Reword => reply::wording(body).map(|(question, options)| ask.reworded(question, options)),
        };
        let row = match row {
            Ok(row) => row,
            Err(outcome) => return Found::nothing(outcome),
        };
        let gives_away = |key: &Key| row.options.iter().chain([&row.question]).any(|text| key.is_in(text));
        if self.shared.options.key.as_ref().is_some_and(gives_away) {
            return Found::nothing(Outcome::Unclean);
        }
        match check(ask.task, ask.facts, self.shared.pool, &row) {
            Ok(checked) => {
                let outcome = if checked.is_read { Outcome::Accepted } else { Outcome::Reread };
                Found { outcome, row: Some(row), draft: Some(checked.draft) }
            }
            Err(outcome @ (Outcome::TooLong | Outcome::Unclean)) => Found::nothing(outcome),
            Err(outcome) => {
                // Claims may be long where texts are short.
                let length = serde_json::to_string(&row).expect("plain data").len();
                Found { outcome, row: (length <= ROW_BYTES_MAX).then_some(row), draft: None }
            }
        }
    }

    /// What somebody who did not see the claims read in a row.
    fn read(&self, body: &[u8], row: &TaughtRow) -> Found {
        let ask = &self.job.ask;
        let meant = row.claims.as_ref();
        let same = reply::claims(body).map(|read| meant.is_some_and(|m| same_claims(ask.task, ask.facts, m, &read)));
        let kept = Some(row.clone());
        match same {
            Ok(true) => match check(ask.task, ask.facts, self.shared.pool, row) {
                Ok(checked) => Found { outcome: Outcome::Accepted, row: kept, draft: Some(checked.draft) },
                Err(outcome) => Found::nothing(outcome),
            },
            Ok(false) => Found { outcome: Outcome::Disagrees, row: kept, draft: None },
            Err(outcome) => Found { outcome, row: kept, draft: None },
        }
    }

    fn back_off(&mut self, stage: Stage, attempt: usize) -> Result<()> {
        let number = 2 * self.job.ask.number + u64::from(matches!(stage, Stage::Read(_)));
        let index = number * ATTEMPTS as u64 + attempt as u64;
        let jitter = Rng::new(self.shared.settings.seed, "teacher back-off", index).range(0.5, 1.5);
        let pause = Duration::from_secs_f64(BACK_OFF_S * 2f64.powi(attempt as i32 - 1) * jitter);
        wait(pause.max(std::mem::take(&mut self.retry_after)), &self.shared.over)
    }

    fn foreign(&self, line: &Line, why: &str) -> Error {
        foreign(&self.shared.path, line, why)
    }
}

impl Found {
    fn nothing(outcome: Outcome) -> Found {
        Found { outcome, row: None, draft: None }
    }
}

/// A line that does not belong to the run.
pub(super) fn foreign(path: &std::path::Path, line: &Line, why: &str) -> Error {
    Error::data(format!("{}:{}: does not belong to this run: {why}", path.display(), line.request + 1))
        .hint("remove the file to begin again, or give another --out")
}

/// Statuses that no repetition helps against.
pub(super) fn is_refusal(status: Option<u16>) -> bool {
    matches!(status, Some(401 | 403 | 404))
}
