//! What every tool does first and last: flags, logging, output and exit codes.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use twnm::device::simd::Isa;
use twnm::error::{Error, Kind, Result};

/// Reads the flags, runs a tool and ends the process with the documented exit code, after printing the error. Errors that
/// came up in the depth of a computation (a GPU out of memory) unwind with themselves; any other panic is a defect: 70.
/// Nothing runs when `TWNM_SIMD` asks for vector instructions that are not there. Output that nobody reads any more
/// (`| head`) ends the tool quietly with 141, as it does a `grep`.
pub fn start<C: clap::Parser>(run: impl FnOnce(C) -> Result<()>) -> ExitCode {
    let outcome = match C::try_parse() {
        Ok(cli) => {
            start_logging();
            Isa::of_process().and_then(|_| caught(|| run(cli)))
        }
        // Help and versions are output; what is wrong with the flags is not, and is lost where it cannot be shown.
        Err(e) if e.use_stderr() => {
            e.print().ok();
            return ExitCode::from(Kind::Usage.exit_code());
        }
        Err(e) => e.print().map_err(|e| unwritten(&e)),
    };
    match outcome.and_then(|()| std::io::stdout().flush().map_err(|e| unwritten(&e))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.kind() != Kind::Closed {
                tell(format_args!("error: {error}"));
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// A line on standard output: what a command is asked for. (What it does meanwhile goes to the log, on standard error.)
///
/// # Errors
/// `Closed` when nobody reads it any more, `Io` when it cannot be written.
pub fn say(line: impl Display) -> Result<()> {
    say_text(format_args!("{line}\n"))
}

/// Text on standard output that has its own line ends.
///
/// # Errors
/// As [`say`].
pub fn say_text(text: impl Display) -> Result<()> {
    write!(std::io::stdout(), "{text}").map_err(|e| unwritten(&e))
}

/// A line on standard error. Where that is closed or full there is nobody to tell.
pub fn tell(line: impl Display) {
    writeln!(std::io::stderr(), "{line}").ok();
}

fn unwritten(e: &std::io::Error) -> Error {
    match e.kind() {
        ErrorKind::BrokenPipe => Error::new(Kind::Closed, "standard output was closed"),
        _ => Error::new(Kind::Io, format!("cannot write standard output: {e}")),
    }
}

/// The result of `run`; what unwinds out of it is an error too.
pub fn caught<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let of_defect = |_| Error::new(Kind::Internal, "a defect of the program ended it; its message stands above");
        Err(payload.downcast::<Error>().map_or_else(of_defect, |error| *error))
    })
}

/// Log lines go to standard error; `RUST_LOG` chooses the level (default `info`).
fn start_logging() {
    // Decoders tell of every oddity of a file; what of it matters is in our own warnings and errors.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,symphonia=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .without_time()
        .with_target(false)
        .init();
}
