//! NVIDIA GPUs: what there is, which one to use, and the one [`Gpu`] per device of this process.
//!
//! [`probe`] answers on every machine, also without a driver; [`choose`] says which device a user's `cuda` or `cuda:N`
//! means, [`auto`] why there is none; [`open`] makes the context, the streams and the memory pool.
//!
//! The driver is used through cudarc's bindings for their types and signatures, and through functions resolved in
//! [`library`](super::library): cudarc's own loader panics where a library or a function is missing.

pub mod cublaslt;
pub(crate) mod driver;
mod event;
mod free_list;
mod gpu;
mod graph;
mod memory;
mod modules;
mod owned;
mod staging;

pub use event::Event;
pub use gpu::{Gpu, Memory};
pub use graph::Graph;
pub use memory::{Block, Fill};
pub use modules::KernelRef;
pub use staging::Prefetched;

use crate::device::nvrtc::{self, Arch};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUresult};
use driver::{Driver, call};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::sync::Mutex;

/// The oldest architecture that kernels are written for: bf16 in the tensor cores and asynchronous copies.
const ARCH_MIN: Arch = Arch { major: 8, minor: 0 };

/// Facts about a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number among the visible devices.
    pub ordinal: u8,
    /// Its name.
    pub name: String,
    /// Its compute capability.
    pub arch: Arch,
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// Its number of multiprocessors.
    pub multiprocessors: u32,
}

impl std::fmt::Display for GpuInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gib = self.memory_bytes as f64 / (1u64 << 30) as f64;
        write!(f, "cuda:{}: {}, {}, {gib:.1} GiB", self.ordinal, self.name, self.arch)
    }
}

/// The GPUs that this process may use; none when the driver sees none or `CUDA_VISIBLE_DEVICES` hides them.
///
/// # Errors
/// [`Kind::Unavailable`] when there is no driver, it is too old, or it does not start. Never panics.
pub fn probe() -> Result<Vec<GpuInfo>> {
    let driver = driver::open()?;
    // SAFETY: the driver's first call; it may be repeated.
    let status = unsafe { (driver.functions.cuInit)(0) };
    if status == CUresult::CUDA_ERROR_NO_DEVICE as u32 {
        return Ok(Vec::new());
    }
    let unavailable = |error: Error| error.with_kind(Kind::Unavailable).hint("check that nvidia-smi works");
    driver.check("cuInit", status).map_err(unavailable)?;
    let mut count = 0;
    // SAFETY: one number to write to.
    unsafe { call!(driver, cuDeviceGetCount(&mut count)) }.map_err(unavailable)?;
    (0..count.clamp(0, u8::MAX.into()) as u8).map(|ordinal| describe(driver, ordinal).map_err(unavailable)).collect()
}

fn describe(driver: &Driver, ordinal: u8) -> Result<GpuInfo> {
    let (mut device, mut bytes, mut name) = (0, 0, [0 as c_char; 256]);
    // SAFETY: places to write to, with their sizes.
    unsafe {
        call!(driver, cuDeviceGet(&mut device, ordinal.into()))?;
        call!(driver, cuDeviceGetName(name.as_mut_ptr(), name.len() as i32 - 1, device))?;
        call!(driver, cuDeviceTotalMem_v2(&mut bytes, device))?;
    }
    let attribute = |which: Attribute| {
        let mut value = 0;
        // SAFETY: one number to write to.
        unsafe { call!(driver, cuDeviceGetAttribute(&mut value, which, device)) }.map(|()| value.unsigned_abs())
    };
    let arch = Arch {
        major: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        minor: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    };
    let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    // SAFETY: the last byte stayed zero.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    Ok(GpuInfo { ordinal, name, arch, memory_bytes: bytes as u64, multiprocessors })
}

/// The GPU that `cuda` (`None`: the first that is new enough) or `cuda:N` means, on a machine that can also compile
/// kernels for it.
///
/// # Errors
/// [`Kind::Unavailable`] with the reason in one line.
pub fn choose(ordinal: Option<u8>) -> Result<GpuInfo> {
    let all = probe()?;
    let hint = "use --device host or --device auto";
    if all.is_empty() {
        let hidden = std::env::var_os("CUDA_VISIBLE_DEVICES");
        let hidden =
            hidden.map(|v| format!(" with CUDA_VISIBLE_DEVICES={:?}", v.to_string_lossy())).unwrap_or_default();
        return Err(Error::unavailable(format!("the CUDA driver sees no GPU{hidden}")).hint(hint));
    }
    let chosen = match ordinal {
        Some(n) => all.iter().find(|gpu| gpu.ordinal == n).ok_or_else(|| {
            let last = all.len() - 1;
            Error::unavailable(format!("there is no cuda:{n}: GPUs 0 to {last} are visible")).hint(hint)
        })?,
        None => all.iter().find(|gpu| gpu.arch >= ARCH_MIN).unwrap_or(&all[0]),
    };
    driver::open()?.expect_to_run(&format!("{} ({})", chosen.name, chosen.arch), chosen.arch.major)?;
    if chosen.arch < ARCH_MIN {
        let text = format!("{} is {}, and {ARCH_MIN} or newer is needed", chosen.name, chosen.arch);
        return Err(Error::unavailable(text).hint(hint));
    }
    nvrtc::open().map_err(|error| error.context(format!("{} cannot be used", chosen.name)))?;
    Ok(chosen.clone())
}

/// What `auto` means here: a GPU if one can be used, and the one line that explains the choice.
pub fn auto() -> (Option<GpuInfo>, String) {
    match choose(None) {
        Ok(gpu) => {
            let line = gpu.to_string();
            (Some(gpu), line)
        }
        Err(error) => (None, format!("host, because {}", error.message())),
    }
}

/// The GPU `ordinal`, opened at the first call and open until the process ends.
///
/// # Errors
/// [`Kind::Unavailable`] when there is no such GPU, [`Kind::Other`] when the driver refuses what it needs; what had
/// been made by then is given back, and a later call tries again.
pub fn open(ordinal: u8) -> Result<&'static Gpu> {
    static OPEN: Mutex<BTreeMap<u8, &'static Gpu>> = Mutex::new(BTreeMap::new());
    let mut all = OPEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(gpu) = all.get(&ordinal) {
        return Ok(gpu);
    }
    let info = choose(Some(ordinal))?;
    let gpu: &'static Gpu = Box::leak(Box::new(Gpu::new(driver::open()?, info)?));
    all.insert(ordinal, gpu);
    Ok(gpu)
}
