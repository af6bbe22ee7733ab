//! Scoring, apart from the programs that make what is scored.

#[path = "commands/eval_boolean.rs"]
mod eval_boolean;
#[path = "commands/eval_compare.rs"]
mod eval_compare;
#[path = "commands/eval_dcase.rs"]
mod eval_dcase;
#[path = "commands/eval_encoder.rs"]
mod eval_encoder;
#[path = "commands/eval_export.rs"]
mod eval_export;
#[path = "commands/eval_mcq.rs"]
mod eval_mcq;
#[path = "commands/eval_open.rs"]
mod eval_open;
#[path = "commands/eval_reference.rs"]
mod eval_reference;
#[path = "commands/eval_report.rs"]
mod eval_report;
#[path = "commands/eval_shuffle.rs"]
mod eval_shuffle;
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
    Mcq(Box<eval_mcq::Args>),
    /// Several answerers on the same questions: differences with intervals and tests, corrected for their number.
    Compare(eval_compare::Args),
    /// The same questions with their options in another order, for `mcq --shuffled`.
    Shuffle(eval_shuffle::Args),
    /// Each option judged true or false on its own, beside the chance lines of that protocol.
    Boolean(eval_boolean::Args),
    /// Answers to open questions whose answer is a number: errors in degrees, metres, seconds and counts.
    Open(eval_open::Args),
    /// A benchmark in the forms of lm-evaluation-harness and VLMEvalKit, or as prompts.
    Export(eval_export::Args),
    /// The published prompt.
    Prompt(eval_export::PromptArgs),
    /// Results side by side with the paper's tables: report.md, report.json, index.html.
    Report(eval_report::Args),
    /// Answers without listening: random, constant, from the file's other questions, or by what questions give away.
    Reference(eval_reference::Args),
    /// Scores of DCASE 2024 task 3: predicted CSV files against reference ones.
    Dcase(eval_dcase::Args),
}

fn main() -> std::process::ExitCode {
    shared::start(|cli: Cli| match cli.command {
        Command::Encoder(args) => eval_encoder::run(args),
        Command::Mcq(args) => eval_mcq::run(*args),
        Command::Compare(args) => eval_compare::run(args),
        Command::Shuffle(args) => eval_shuffle::run(args),
        Command::Boolean(args) => eval_boolean::run(args),
        Command::Open(args) => eval_open::run(args),
        Command::Export(args) => eval_export::run(args),
        Command::Prompt(args) => eval_export::prompt(args),
        Command::Report(args) => eval_report::run(args),
        Command::Reference(args) => eval_reference::run(args),
        Command::Dcase(args) => eval_dcase::run(args),
    })
}
