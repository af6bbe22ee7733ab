//! A run: which asks are made, by how many jobs at once, and what becomes of their results.
//!
//! What is asked must not depend on which answer comes first. Within a round every slot without a row is asked about once,
//! in order, about scenes that depend on the rounds before and on what this round has asked about already; results are
//! taken, written and counted in that order, whenever they come.

use super::super::draft::{Context, Draft, Pool};
use super::super::generate::{Given, Settings, draft};
use super::super::task::{Task, quotas};
use super::check::mark;
use super::client::stop_if_asked;
use super::forms::form;
use super::job::{Done, JOB_REQUESTS_MAX, Job, Shared, Worker, foreign, is_refusal};
use super::ledger::{Ledger, Line};
use super::outcome::Outcome;
use super::prompt::Ask;
use super::secret::KEY_VARIABLE;
use super::settings::{Mode, Report};
use crate::error::{Error, Result};
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Requests without an answer, one after the other, after which the teacher counts as gone; fewer when it never answered.
const SILENT_MAX: [usize; 2] = [40, 20];
/// Scenes that are looked at to find one that a task can be asked about.
const SCENES_TRIED: usize = 300;
/// Requests between two lines of progress.
const PROGRESS: u64 = 25;
/// Asks per server, from the first on, that may find out whether it knows the wish for JSON. They are made one by one.
const ASKS_TO_SETTLE: u64 = 3;
/// How often a waiting run looks for a signal.
const POLL: Duration = Duration::from_millis(50);

/// A result, or the panic of the thread that should have made it.
type Performed = std::thread::Result<Result<Done>>;

/// An ask under way.
struct UnderWay {
    slot: usize,
    task: Task,
    scene: usize,
    /// Our own question, for a teacher that only rewords.
    own: Draft,
    /// Requests that it may take.
    reserve: u64,
}

pub(super) struct Session<'a> {
    shared: &'a Shared<'a>,
    ledger: Ledger,
    /// Lines of earlier runs that are still to be gone through.
    past: VecDeque<Line>,
    report: Report,
    /// Questions that are there.
    seen: BTreeSet<String>,
    given: BTreeMap<usize, Given>,
    /// Rows about each scene.
    often: Vec<usize>,
    /// For each server whether JSON is asked for, and whether that is settled.
    json: Vec<bool>,
    settled: Vec<bool>,
    /// Requests of this run without an answer, since the last answer.
    silent: usize,
    /// Asks so far.
    asks: u64,
    /// Asks under way, in order.
    under_way: VecDeque<(u64, UnderWay)>,
    /// Results that wait for earlier ones.
    results: BTreeMap<u64, Performed>,
}

impl<'a> Session<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, ledger: Ledger, past: Vec<Line>) -> Session<'a> {
        let servers = shared.options.endpoints.len();
        Session {
            shared,
            ledger,
            past: past.into(),
            report: Report { model: shared.model.clone(), ..Report::default() },
            seen: BTreeSet::new(),
            given: BTreeMap::new(),
            often: vec![0; shared.pool.scenes.len()],
            json: vec![true; servers],
            settled: vec![false; servers],
            silent: 0,
            asks: 0,
            under_way: VecDeque::new(),
            results: BTreeMap::new(),
        }
    }

    /// Asks for everything.
    pub(super) fn run(mut self) -> Result<(Vec<Given>, Report, Ledger)> {
        let shared = self.shared;
        let (tasks, inbox) = channel::<(u64, Job)>();
        let inbox = Mutex::new(inbox);
        let (outbox, results) = channel::<(u64, Performed)>();
        std::thread::scope(|scope| {
            for _ in 0..shared.options.jobs {
                let (inbox, outbox) = (&inbox, outbox.clone());
                scope.spawn(move || work(shared, inbox, &outbox));
            }
            let ended = self.rounds(&tasks, &results);
            // Requests that are under way when a run fails are given up.
            shared.over.store(true, Ordering::Relaxed);
            drop(tasks);
            ended
        })?;
        if let Some(line) = self.past.front() {
            return Err(foreign(&shared.path, line, "nothing more would have been asked"));
        }
        if self.report.requests > 0 && !self.has_answered() {
            return Err(self.gone("it has answered none of them"));
        }
        self.report.without_json = self.json.iter().filter(|json| !**json).count();
        Ok((self.given.into_values().collect(), self.report, self.ledger))
    }

    fn rounds(&mut self, tasks: &Sender<(u64, Job<'a>)>, results: &Receiver<(u64, Performed)>) -> Result<()> {
        let slots = slots(self.shared.settings);
        for round in 0u64.. {
            let before = self.report.requests;
            let open: Vec<usize> = (0..slots.len()).filter(|slot| !self.given.contains_key(slot)).collect();
            // Rows that there are, and those that this round may bring.
            let mut taken = self.often.clone();
            for slot in open {
                let number = round * slots.len() as u64 + slot as u64;
                let most = self.shared.settings.per_scene;
                let free = |scene: usize| most.is_none_or(|most| taken[scene] < most);
                let Some(ask) = material(self.shared.pool, self.shared.settings, slots[slot], number, free) else {
                    continue;
                };
                taken[ask.scene] += 1;
                while !self.has_room(&ask) {
                    if self.finish_one(results)? {
                        return Ok(());
                    }
                }
                self.begin(slot, ask, tasks)?;
            }
            while !self.under_way.is_empty() {
                if self.finish_one(results)? {
                    return Ok(());
                }
            }
            // Everything is there, or nothing can be asked about what is not.
            if self.report.requests == before {
                break;
            }
        }
        Ok(())
    }

    /// Whether one more ask may begin before the next result is there.
    fn has_room(&self, ask: &Ask) -> bool {
        let reserved: u64 = self.under_way.iter().map(|(_, under_way)| under_way.reserve).sum();
        let of_past = self.past.iter().take_while(|line| line.ask == ask.number).count() as u64;
        let left = self.shared.options.requests_max - self.report.requests;
        let is_narrow = self.may_settle() || reserved + JOB_REQUESTS_MAX + of_past > left;
        self.under_way.is_empty() || self.under_way.len() < 2 * self.shared.options.jobs && !is_narrow
    }

    /// Whether a server is still to tell if it knows the wish for JSON.
    fn may_settle(&self) -> bool {
        self.asks < ASKS_TO_SETTLE * self.settled.len() as u64 && self.settled.contains(&false)
    }

    fn begin(&mut self, slot: usize, ask: Ask<'a>, tasks: &Sender<(u64, Job<'a>)>) -> Result<()> {
        let is_of_ask = |line: &Line| line.ask == ask.number;
        let mut past = VecDeque::new();
        while self.past.front().is_some_and(is_of_ask) {
            past.extend(self.past.pop_front());
        }
        if let (true, Some(line)) = (past.is_empty(), self.past.front()) {
            let (number, task, scene) = (ask.number, ask.task.id(), &ask.facts.truth.id);
            let asked = format!("request {number} of {task} about {scene} comes here");
            return Err(foreign(&self.shared.path, line, &asked));
        }
        let (task, scene, own) = (ask.task, ask.scene, ask.own.clone());
        let reserve = JOB_REQUESTS_MAX + past.len() as u64;
        let budget = self.shared.options.requests_max - self.report.requests;
        let (json, may_fall_back) = (self.json.clone(), self.may_settle());
        let job = Job { ask, json, may_fall_back, past, budget };
        self.under_way.push_back((self.asks, UnderWay { slot, task, scene, own, reserve }));
        let ended = "the threads that ask the teacher have ended";
        tasks.send((self.asks, job)).map_err(|_| Error::new(crate::error::Kind::Internal, ended))?;
        self.asks += 1;
        Ok(())
    }

    /// Waits for the result of the first ask under way and takes it; whether there are no requests left.
    fn finish_one(&mut self, results: &Receiver<(u64, Performed)>) -> Result<bool> {
        let (number, under_way) = self.under_way.pop_front().expect("an ask is under way");
        let result = loop {
            if let Some(result) = self.results.remove(&number) {
                break result;
            }
            match results.recv_timeout(POLL) {
                Ok((of, result)) => {
                    self.results.insert(of, result);
                }
                Err(RecvTimeoutError::Timeout) => stop_if_asked(&self.shared.over)?,
                Err(RecvTimeoutError::Disconnected) => unreachable!("the session holds a sender"),
            }
        };
        let done = result.unwrap_or_else(|panic| resume_unwind(panic))?;
        let is_spent = done.is_spent;
        self.take(under_way, done)?;
        Ok(is_spent)
    }

    /// Writes the lines of an ask, counts them, and keeps its row.
    fn take(&mut self, ask: UnderWay, mut done: Done) -> Result<()> {
        if let Some(made) = &done.made
            && !self.seen.insert(mark(ask.scene, &made.1))
        {
            let (line, is_new, _) = done.lines.last_mut().expect("a row has a line");
            if !*is_new {
                return Err(foreign(&self.shared.path, line, "its row is duplicate"));
            }
            line.outcome = Outcome::Duplicate;
            done.made = None;
        }
        for server in done.without_json {
            let place = self.shared.options.endpoints[server].shown();
            tracing::warn!("{place}: does not know the wish for a JSON object, which is left out from here on");
            (self.json[server], self.settled[server]) = (false, true);
        }
        for (mut line, is_new, server) in done.lines {
            line.request = self.report.requests;
            let (outcome, status) = (line.outcome, line.status);
            self.settled[server] |= outcome.is_answer();
            self.report.requests += 1;
            *self.report.outcomes.entry(outcome).or_default() += 1;
            if is_new {
                self.ledger.append(line)?;
                self.progress();
                self.give_up_if_gone(outcome, status)?;
            }
        }
        let draft = match done.made {
            Some(made) => Some(made.1),
            None if self.shared.options.mode == Mode::Reword && !done.is_spent => {
                let is_new = self.seen.insert(mark(ask.scene, &ask.own));
                self.report.kept += u64::from(is_new);
                is_new.then_some(ask.own)
            }
            None => None,
        };
        if let Some(draft) = draft {
            self.often[ask.scene] += 1;
            self.given.insert(ask.slot, Given { task: ask.task, scene: ask.scene, yaw_deg: 0.0, draft });
        }
        Ok(())
    }

    fn progress(&self) {
        let n = self.report.requests;
        if n.is_multiple_of(PROGRESS) {
            let (accepted, wanted) = (self.report.accepted(), self.shared.settings.questions);
            tracing::info!("teacher: {accepted} of {wanted} questions after {n} requests");
        }
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
        let places: Vec<&str> = self.shared.options.endpoints.iter().map(|e| e.shown()).collect();
        let (place, n) = (places.join(", "), self.report.requests);
        Error::unavailable(format!("the teacher at {place} cannot be asked: {why} ({n} requests so far)"))
            .hint("the same command goes on later with what is there")
    }
}

/// Performs jobs until there are no more.
fn work<'a>(shared: &'a Shared<'a>, inbox: &Mutex<Receiver<(u64, Job<'a>)>>, outbox: &Sender<(u64, Performed)>) {
    let worker = Worker::new(shared);
    loop {
        let next = inbox.lock().expect("nobody panics while waiting").recv();
        let Ok((number, job)) = next else { return };
        let result = catch_unwind(AssertUnwindSafe(|| worker.perform(job)));
        if outbox.send((number, result)).is_err() {
            return;
        }
    }
}

/// The task of every question, in the order in which they are asked for.
fn slots(settings: Settings) -> Vec<Task> {
    let mut slots: Vec<Task> =
        quotas(settings.questions).into_iter().flat_map(|(task, n)| std::iter::repeat_n(task, n)).collect();
    Rng::new(settings.seed, "teacher slots", 0).shuffle(&mut slots);
    slots
}

/// A scene that offers something for `task`: one from which a draft of our own can be made, of a kind that a teacher is asked
/// for. Scenes that are not `free` have been asked about often enough.
fn material(pool: &Pool, settings: Settings, task: Task, number: u64, free: impl Fn(usize) -> bool) -> Option<Ask<'_>> {
    let mut rng = Rng::new(settings.seed, "teacher ask", number);
    (0..SCENES_TRIED).find_map(|_| {
        let scene = rng.below(pool.scenes.len());
        if !free(scene) {
            return None;
        }
        let facts = &pool.scenes[scene];
        let context = Context { facts, pool, signed: settings.signed_azimuth };
        let own = draft(task, &context, &mut rng)?;
        form(own.kind)?;
        Some(Ask { number, task, kind: own.kind, scene, facts, own })
    })
}
