//! Training, stage by stage.

#[path = "commands/shared.rs"]
mod shared;
#[path = "commands/train_answers.rs"]
mod train_answers;
#[path = "commands/train_encoder.rs"]
mod train_encoder;
#[path = "commands/train_language.rs"]
mod train_language;
#[path = "commands/train_semantic.rs"]
mod train_semantic;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "twnm-train", version, about = "Trains the parts of twnm", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stage 2: the projector learns to say what is heard, to a frozen decoder.
    Align(train_answers::Args),
    /// Stage 1: the spatial encoder.
    Encoder(train_encoder::Args),
    /// A small Qwen2-type decoder with its vocabulary, on scenes in words.
    Language(train_language::Args),
    /// Stage 3: projector and adapter learn to reason and to answer.
    Sft(train_answers::Args),
    /// A small Whisper-type encoder, on the classes of sounds.
    Semantic(train_semantic::Args),
}

fn main() -> std::process::ExitCode {
    shared::start(|cli: Cli| match cli.command {
        Command::Align(args) => train_answers::run_align(args),
        Command::Encoder(args) => train_encoder::run(args),
        Command::Language(args) => train_language::run(args),
        Command::Sft(args) => train_answers::run_sft(args),
        Command::Semantic(args) => train_semantic::run(args),
    })
}
