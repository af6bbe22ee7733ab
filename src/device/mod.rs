//! Where tensors live and kernels run.
//!
//! The seam is cut at *kernel launch*: an op owns its shape checks, its reference, its Host code and its launch code, and
//! asks the device of its inputs which way to go (`match x.device()`); callers of ops never see a device. `Host` is
//! the native CPU path; `Emu` and `Cuda` run the same kernels from the same launch code ([`crate::kernels`]).

pub mod buffer;
pub mod cuda;
mod dtype;
#[cfg(feature = "emu")]
pub mod emu;
pub mod host;
pub mod library;
pub mod machine;
pub mod nvrtc;
pub mod peaks;
pub mod product;
pub mod simd;
pub mod tally;
pub mod tile;

pub use dtype::{DType, Element};

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
    /// Parses `auto`, `host`, `cuda`, `cuda:N` or `emu` and opens what was asked for. `auto` says in one line what it
    /// chose and why.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable) for a device that is not there, never a silent fallback;
    /// [`Kind::Usage`](crate::error::Kind::Usage) for an unknown name.
    pub fn parse(name: &str) -> Result<Device> {
        let ordinal = name.strip_prefix("cuda:").map(|n| n.parse::<u8>());
        match (name, ordinal) {
            ("auto", _) => {
                let (gpu, reason) = cuda::auto();
                tracing::info!("auto: {reason}");
                gpu.map_or(Ok(Device::Host), |gpu| Device::open(gpu.ordinal))
            }
            ("host", _) => Ok(Device::Host),
            ("cuda", _) => cuda::choose(None).and_then(|gpu| Device::open(gpu.ordinal)),
            (_, Some(Ok(ordinal))) => Device::open(ordinal),
            ("emu", _) if cfg!(feature = "emu") => Ok(Device::Emu),
            ("emu", _) => Err(Error::unavailable(format!("device emu: {NO_EMULATOR}"))
                .hint("use --device host or --device auto, or build with --features emu")),
            _ => Err(Error::usage(format!("device {name:?}: expected auto, host, cuda, cuda:N or emu"))),
        }
    }

    fn open(ordinal: u8) -> Result<Device> {
        cuda::open(ordinal).map(|_| Device::Cuda(ordinal)).map_err(|e| e.context(format!("device cuda:{ordinal}")))
    }

    /// Waits until everything launched on the device is done; failures of earlier kernels surface here.
    ///
    /// # Errors
    /// What the driver says.
    pub fn synchronize(self) -> Result<()> {
        match self {
            Device::Cuda(ordinal) => cuda::open(ordinal)?.synchronize(),
            Device::Host | Device::Emu => Ok(()),
        }
    }

    /// One line for logs: what the device is.
    pub fn describe(self) -> String {
        match self {
            Device::Host => format!("host: {} threads, {}", rayon::current_num_threads(), host::instruction_set()),
            Device::Emu => "emu: kernels emulated on the CPU, for checks only".into(),
            Device::Cuda(n) => cuda::open(n).map_or_else(|e| e.message().to_string(), |gpu| gpu.info().to_string()),
        }
    }
}

/// Ends the computation with an error of the outside world (memory of the GPU, its driver) from the depth of an op,
/// whose callers have no `Result`: unwinds with the error itself, which the tools turn into message and exit code.
pub(crate) fn raise(error: Error) -> ! {
    std::panic::resume_unwind(Box::new(error))
}
