//! One file per subcommand of `twnm`: its flags and the few lines that call the library.

pub mod ask;
pub mod bench_encoder;
pub mod bench_kernels;
pub mod bench_language;
pub mod bench_rir;
pub mod bench_scenes;
pub mod benchmark;
mod benchmark_out;
pub mod doctor;
pub mod listen;
pub mod merge;
mod op_checks;
mod optimizer_work;
pub mod plan;
mod plan_show;
pub mod quickstart;
pub mod rir;
mod shared;
pub mod simulate;
mod stopwatch;
pub mod verify;

pub use shared::start;
