//! One request at a time to the endpoint, on a thread of its own, so that a signal need not wait for an answer.
//!
//! Redirects are not followed (the key would go along), bodies are read up to a limit, and nothing that the server sends
//! is logged or put into an error: it could hold the key.

use super::endpoint::Endpoint;
use super::outcome::Outcome;
use super::reply::BODY_BYTES_MAX;
use super::secret::Key;
use crate::error::{Error, Kind, Result};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

// At level trace the HTTP library logs every byte that it sends, the key among them. This feature of `log` takes such
// calls out of the program, whatever RUST_LOG says.
const _: () = assert!(log::STATIC_MAX_LEVEL as usize <= log::LevelFilter::Debug as usize, "keep log/max_level_debug");

/// How often a waiting thread looks for a signal.
const POLL: Duration = Duration::from_millis(50);
/// Longest time for a connection to be made.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// Longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What came back.
pub(super) enum Reply {
    /// The body of a successful answer.
    Body(Vec<u8>),
    /// Another status, and the pause that the server asks for.
    Status(u16, Option<Duration>),
    /// No whole answer; why, in words of this machine.
    Failed(Outcome, String),
}

/// A connection to the teacher.
pub(super) struct Client {
    jobs: Sender<String>,
    replies: Receiver<Reply>,
}

impl Client {
    /// A client that waits at most `timeout` for each answer as a whole.
    pub(super) fn new(endpoint: &Endpoint, key: Option<&Key>, timeout: Duration) -> Client {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(timeout.min(CONNECT_MAX)))
            .user_agent(concat!("twnm/", env!("CARGO_PKG_VERSION")));
        if endpoint.is_local() {
            // What is on this machine is not behind a proxy.
            config = config.proxy(None);
        }
        let agent = config.build().new_agent();
        let (url, authorization) = (endpoint.url().to_string(), endpoint.authorization(key));
        let ((jobs, inbox), (outbox, replies)) = (channel::<String>(), channel());
        std::thread::spawn(move || {
            for body in inbox {
                if outbox.send(post(&agent, &url, authorization.as_deref(), &body)).is_err() {
                    break;
                }
            }
        });
        Client { jobs, replies }
    }

    /// Posts `body`. Errors: `Stopped` when a signal comes first, or the run is `over`; the request is then given up.
    pub(super) fn send(&self, body: String, over: &AtomicBool) -> Result<Reply> {
        stop_if_asked(over)?;
        let gone = || Error::new(Kind::Internal, "the thread that asks the teacher has ended");
        self.jobs.send(body).map_err(|_| gone())?;
        loop {
            match self.replies.recv_timeout(POLL) {
                Ok(reply) => return Ok(reply),
                Err(RecvTimeoutError::Timeout) => stop_if_asked(over)?,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            }
        }
    }
}

/// Waits. Errors: `Stopped` when a signal comes first, or the run is `over`.
pub(super) fn wait(pause: Duration, over: &AtomicBool) -> Result<()> {
    let mut left = pause;
    while !left.is_zero() {
        stop_if_asked(over)?;
        let nap = left.min(POLL);
        std::thread::sleep(nap);
        left -= nap;
    }
    stop_if_asked(over)
}

/// Errors: `Stopped` after a signal, or when the run is `over` for another reason.
pub(super) fn stop_if_asked(over: &AtomicBool) -> Result<()> {
    if !crate::signals::stop_requested() && !over.load(Ordering::Relaxed) {
        return Ok(());
    }
    let hint = "run the same command again: what the teacher has answered is kept";
    Err(Error::new(Kind::Stopped, "stopped by a signal").hint(hint))
}

fn post(agent: &ureq::Agent, url: &str, authorization: Option<&str>, body: &str) -> Reply {
    let mut request = agent.post(url).header("content-type", "application/json").header("accept", "application/json");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let mut response = match request.send(body) {
        Ok(response) => response,
        Err(error) => return failed(error),
    };
    let status = response.status();
    if !status.is_success() {
        let after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.trim().parse().ok());
        return Reply::Status(status.as_u16(), after.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)));
    }
    let too_large = || Reply::Failed(Outcome::BodyTooLarge, "the answer is too large".into());
    if response.body().content_length().is_some_and(|n| n > BODY_BYTES_MAX) {
        return too_large();
    }
    let mut bytes = Vec::new();
    match response.body_mut().as_reader().take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes) {
        Err(error) => failed(error.into()),
        Ok(_) if bytes.len() as u64 > BODY_BYTES_MAX => too_large(),
        Ok(_) => Reply::Body(bytes),
    }
}

/// Why there is no answer; of the error only what cannot hold the URL or words of the server.
fn failed(error: ureq::Error) -> Reply {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let (outcome, why) = match error {
        ureq::Error::Timeout(_) => (Outcome::Timeout, "no answer in time".to_string()),
        ureq::Error::Io(e) if [TimedOut, WouldBlock].contains(&e.kind()) => {
            (Outcome::Timeout, "no answer in time".to_string())
        }
        ureq::Error::Io(e) => (Outcome::Connection, e.kind().to_string()),
        ureq::Error::HostNotFound => (Outcome::Connection, "the host is not found".to_string()),
        ureq::Error::Rustls(e) => (Outcome::Connection, format!("TLS: {e}")),
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
            (Outcome::Connection, "what came back is no HTTP".to_string())
        }
        _ => (Outcome::Connection, "the connection failed".to_string()),
    };
    Reply::Failed(outcome, why)
}
