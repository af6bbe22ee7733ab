//! One file per subcommand of `twnm`: its flags and the few lines that call the library.

pub mod bench_rir;
pub mod rir;
mod shared;

pub use shared::{exit_with, start_logging};
