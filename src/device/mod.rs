//! Where tensors live and kernels run.
//!
//! The seam is cut at *kernel launch*: an op owns its shape checks, its reference, its Host code and its launch code, and
//! asks the device of its inputs which way to go (`match x.device()`); callers of ops never see a device. `Host` is
//! the native CPU path; `Emu` and `Cuda` run the same kernels from the same launch code ([`crate::kernels`]).

pub mod buffer;
#[cfg(feature = "emu")]
pub mod emu;
pub mod host;
pub mod machine;
pub mod simd;
pub mod tile;

use crate::error::{Error, Result};

/// What to say when the emulator is asked for and was not built.
pub(crate) const NO_EMULATOR: &str = "this build has no kernel emulator (feature `emu`)";

/// A place where tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// This machine's CPU, native code.
    Host,
    /// The CUDA kernels on this machine's CPU, slow and strict (feature `emu`).
    Emu,
    /// A CUDA device by its ordinal.
    Cuda(u8),
}

impl Device {
    /// Parses `auto`, `host`, `cuda`, `cuda:N` or `emu`. Asking for a device that is not there is an error
    /// ([`Kind::Unavailable`](crate::error::Kind::Unavailable)), never a silent fallback.
    pub fn parse(name: &str) -> Result<Device> {
        let is_cuda =
            name == "cuda" || name.strip_prefix("cuda:").is_some_and(|n| !n.is_empty() && n.parse::<u8>().is_ok());
        match name {
            "auto" | "host" => Ok(Device::Host),
            _ if is_cuda => Err(Error::unavailable(format!("device {name}: this build has no CUDA device"))
                .hint("use --device host or --device auto")),
            "emu" if cfg!(feature = "emu") => Ok(Device::Emu),
            "emu" => Err(Error::unavailable(format!("device emu: {NO_EMULATOR}"))
                .hint("use --device host or --device auto, or build with --features emu")),
            _ => Err(Error::usage(format!("device {name:?}: expected auto, host, cuda, cuda:N or emu"))),
        }
    }

    /// One line for logs: what the device is.
    pub fn describe(self) -> String {
        match self {
            Device::Host => format!("host: {} threads, {}", rayon::current_num_threads(), host::instruction_set()),
            Device::Emu => "emu: kernels emulated on the CPU, for checks only".into(),
            Device::Cuda(n) => format!("cuda:{n}"),
        }
    }
}
