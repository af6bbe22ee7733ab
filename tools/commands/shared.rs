//! What every tool does first and last: logging and exit codes.

use std::io::IsTerminal;
use twnm::device::simd::Isa;
use twnm::error::{Error, Kind, Result};

/// Runs a tool, unless `TWNM_SIMD` asks for vector instructions that are not there, and ends the process with the
/// documented exit code, after printing the error. Errors that came up in
/// the depth of a computation (a GPU out of memory) unwind with themselves; any other panic is a defect: 70.
pub fn exit_with(run: impl FnOnce() -> Result<()>) -> std::process::ExitCode {
    match Isa::of_process().and_then(|_| caught(run)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::from(error.kind().exit_code())
        }
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
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,symphonia=warn,symphonia_core=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
}
