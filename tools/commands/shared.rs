//! What every tool does first and last: logging and exit codes.

use std::io::IsTerminal;

/// Ends the process with the documented exit code of `error`, after printing it.
pub fn exit_with(result: twnm::error::Result<()>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::from(error.kind().exit_code())
        }
    }
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
