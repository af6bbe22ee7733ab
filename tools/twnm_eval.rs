//! Scoring, apart from the programs that make what is scored.

#[path = "commands/eval_boolean.rs"]
mod eval_boolean;
#[path = "commands/eval_dcase.rs"]
mod eval_dcase;
#[path = "commands/eval_encoder.rs"]
mod eval_encoder;
#[path = "commands/eval_mcq.rs"]
mod eval_mcq;
#[path = "commands/eval_reference.rs"]
mod eval_reference;
#[path = "commands/eval_report.rs"]
mod eval_report;
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
    /// Answers to multiple-choice questions: accuracy by level, task and letter, with intervals.
    Mcq(eval_mcq::Args),
    /// Each option judged true or false on its own, beside the chance lines of that protocol.
    Boolean(eval_boolean::Args),
    /// Results side by side with the paper's tables: report.md, report.json, index.html.
    Report(eval_report::Args),
    /// Answers without listening: random, constant, or a bag of words that looks for what questions give away.
    Reference(eval_reference::Args),
    /// Scores of DCASE 2024 task 3: predicted CSV files against reference ones.
    Dcase(eval_dcase::Args),
}

fn main() -> std::process::ExitCode {
    shared::start(|cli: Cli| match cli.command {
        Command::Encoder(args) => eval_encoder::run(args),
        Command::Mcq(args) => eval_mcq::run(args),
        Command::Boolean(args) => eval_boolean::run(args),
        Command::Report(args) => eval_report::run(args),
        Command::Reference(args) => eval_reference::run(args),
        Command::Dcase(args) => eval_dcase::run(args),
    })
}
