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
enum Command {
    /// Questions about a recording, answered in words
    Ask(commands::ask::Args),
    Benchmark(commands::benchmark::Args),
    Doctor(commands::doctor::Args),
    /// Where the sounds of a recording are: a table, JSON or a picture
    Listen(commands::listen::Args),
    Merge(commands::merge::Args),
    Plan(commands::plan::Args),
    Quickstart(commands::quickstart::Args),
    Rir(commands::rir::Args),
    Simulate(commands::simulate::Args),
    Verify(commands::verify::Args),
    #[command(subcommand)]
    Bench(Bench),
}

/// Measure speed
#[derive(Subcommand)]
enum Bench {
    EncoderStep(commands::bench_encoder::Args),
    Kernels(commands::bench_kernels::Args),
    LmGenerate(commands::bench_language::GenerateArgs),
    LmStep(commands::bench_language::StepArgs),
    Rir(commands::bench_rir::Args),
    Scenes(commands::bench_scenes::Args),
}

fn main() -> std::process::ExitCode {
    commands::start(|cli: Cli| match cli.command {
        Command::Ask(args) => commands::ask::run(args),
        Command::Benchmark(args) => commands::benchmark::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Listen(args) => commands::listen::run(args),
        Command::Merge(args) => commands::merge::run(args),
        Command::Plan(args) => commands::plan::run(args),
        Command::Quickstart(args) => commands::quickstart::run(args),
        Command::Rir(args) => commands::rir::run(args),
        Command::Simulate(args) => commands::simulate::run(args),
        Command::Verify(args) => commands::verify::run(args),
        Command::Bench(Bench::EncoderStep(args)) => commands::bench_encoder::run(args),
        Command::Bench(Bench::Kernels(args)) => commands::bench_kernels::run(args),
        Command::Bench(Bench::LmGenerate(args)) => commands::bench_language::run_generate(args),
        Command::Bench(Bench::LmStep(args)) => commands::bench_language::run_step(args),
        Command::Bench(Bench::Scenes(args)) => commands::bench_scenes::run(args),
        Command::Bench(Bench::Rir(args)) => commands::bench_rir::run(args),
    })
}
