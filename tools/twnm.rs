//! The front door: simulate, listen, check and measure.

mod commands;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "twnm", version, about = "Spatial hearing for language models", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    commands::start_logging();
    commands::exit_with(match cli.command {})
}
