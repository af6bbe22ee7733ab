//! Scoring, apart from the programs that make what is scored.

#[path = "commands/eval_dcase.rs"]
mod eval_dcase;
#[path = "commands/eval_encoder.rs"]
mod eval_encoder;
#[path = "commands/shared.rs"]
mod shared;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "twnm-eval", version, about = "Scores what twnm and others predict", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Scores of a spatial encoder on shards: count, angles, distance, class, by number of sources.
    Encoder(eval_encoder::Args),
    /// Scores of DCASE 2024 task 3: predicted CSV files against reference ones.
    Dcase(eval_dcase::Args),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    shared::start_logging();
    shared::exit_with(|| match cli.command {
        Command::Encoder(args) => eval_encoder::run(args),
        Command::Dcase(args) => eval_dcase::run(args),
    })
}
