//! The driver's functions, resolved once, and its errors.
//!
//! Everything here can fail and nothing panics: a missing library, an old driver and a missing function are errors
//! before the first call, and each call's status becomes an error that names the call.

use crate::device::library::{DRIVER, Library, table};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Mutex;

/// The oldest driver that is used, as CUDA numbers versions: what NVRTC and cuBLASLt of any CUDA 12 make runs on it.
const VERSION_MIN: i32 = 12000;
/// The oldest driver for GPUs of compute capability 10 and 12.
const VERSION_MIN_BLACKWELL: i32 = 12080;

table! {
    /// The functions of the driver that are used.
    Functions, sys::CUresult {
        fn cuInit(flags: c_uint);
        fn cuDeviceGetCount(count: *mut c_int);
        fn cuDeviceGet(device: *mut sys::CUdevice, ordinal: c_int);
        fn cuDeviceGetName(name: *mut c_char, bytes: c_int, device: sys::CUdevice);
        fn cuDeviceTotalMem_v2(bytes: *mut usize, device: sys::CUdevice);
        fn cuDeviceGetAttribute(value: *mut c_int, which: sys::CUdevice_attribute, device: sys::CUdevice);
        fn cuDevicePrimaryCtxRetain(context: *mut sys::CUcontext, device: sys::CUdevice);
        fn cuDevicePrimaryCtxRelease_v2(device: sys::CUdevice);
        fn cuCtxSetCurrent(context: sys::CUcontext);
        fn cuStreamCreate(stream: *mut sys::CUstream, flags: c_uint);
        fn cuStreamDestroy_v2(stream: sys::CUstream);
        fn cuStreamSynchronize(stream: sys::CUstream);
        fn cuStreamWaitEvent(stream: sys::CUstream, event: sys::CUevent, flags: c_uint);
        fn cuEventCreate(event: *mut sys::CUevent, flags: c_uint);
        fn cuEventDestroy_v2(event: sys::CUevent);
        fn cuEventRecord(event: sys::CUevent, stream: sys::CUstream);
        fn cuEventSynchronize(event: sys::CUevent);
        fn cuMemPoolCreate(pool: *mut sys::CUmemoryPool, properties: *const sys::CUmemPoolProps);
        fn cuMemPoolDestroy(pool: sys::CUmemoryPool);
        fn cuMemPoolSetAttribute(pool: sys::CUmemoryPool, which: sys::CUmemPool_attribute, value: *mut c_void);
        fn cuMemPoolTrimTo(pool: sys::CUmemoryPool, keep_bytes: usize);
        fn cuMemAllocFromPoolAsync(
            address: *mut sys::CUdeviceptr, bytes: usize, pool: sys::CUmemoryPool, stream: sys::CUstream,
        );
        fn cuMemFreeAsync(address: sys::CUdeviceptr, stream: sys::CUstream);
        fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
        fn cuMemHostAlloc(memory: *mut *mut c_void, bytes: usize, flags: c_uint);
        fn cuMemFreeHost(memory: *mut c_void);
        fn cuMemcpyHtoDAsync_v2(to: sys::CUdeviceptr, from: *const c_void, bytes: usize, stream: sys::CUstream);
        fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: sys::CUdeviceptr, bytes: usize, stream: sys::CUstream);
        fn cuMemcpyDtoDAsync_v2(to: sys::CUdeviceptr, from: sys::CUdeviceptr, bytes: usize, stream: sys::CUstream);
        fn cuMemsetD8Async(to: sys::CUdeviceptr, value: u8, count: usize, stream: sys::CUstream);
        fn cuMemsetD16Async(to: sys::CUdeviceptr, value: u16, count: usize, stream: sys::CUstream);
        fn cuMemsetD32Async(to: sys::CUdeviceptr, value: c_uint, count: usize, stream: sys::CUstream);
        fn cuModuleLoadData(module: *mut sys::CUmodule, image: *const c_void);
        fn cuModuleUnload(module: sys::CUmodule);
        fn cuModuleGetFunction(function: *mut sys::CUfunction, module: sys::CUmodule, name: *const c_char);
        fn cuFuncSetAttribute(function: sys::CUfunction, which: sys::CUfunction_attribute, value: c_int);
        fn cuLaunchKernel(
            function: sys::CUfunction, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint,
            block_x: c_uint, block_y: c_uint, block_z: c_uint, shared_bytes: c_uint,
            stream: sys::CUstream, arguments: *mut *mut c_void, extra: *mut *mut c_void,
        );
        fn cuStreamBeginCapture_v2(stream: sys::CUstream, mode: sys::CUstreamCaptureMode);
        fn cuStreamEndCapture(stream: sys::CUstream, graph: *mut sys::CUgraph);
        fn cuGraphInstantiateWithFlags(instance: *mut sys::CUgraphExec, graph: sys::CUgraph, flags: u64);
        fn cuGraphLaunch(instance: sys::CUgraphExec, stream: sys::CUstream);
        fn cuGraphExecDestroy(instance: sys::CUgraphExec);
        fn cuGraphDestroy(graph: sys::CUgraph);
    }
}

/// The time between two events. Its second form came with CUDA 12.8; the first has the same arguments.
type ElapsedTime = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> c_uint;
const _: unsafe fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult = sys::cuEventElapsedTime_v2;
const _: unsafe fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult = sys::cuEventElapsedTime;

/// With a plain number for the status: the driver may know more errors than the bindings.
type ErrorName = unsafe extern "C" fn(c_uint, *mut *const c_char) -> c_uint;

/// The driver of this process.
pub(crate) struct Driver {
    pub(crate) functions: Functions,
    /// The newest CUDA it supports, as 1000 x major + 10 x minor.
    version: i32,
    pub(crate) elapsed_time: ElapsedTime,
    error_name: ErrorName,
}

/// The newest major version of CUDA that the driver supports; `None` without a driver. What a newer compiler makes does
/// not load.
pub(crate) fn newest_major() -> Option<u32> {
    open().ok().map(|driver| driver.version.unsigned_abs() / 1000)
}

/// Calls a function of the driver; its failure is an error that begins with its name. Stands in unsafe code.
macro_rules! call {
    ($driver:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let driver: &$crate::device::cuda::driver::Driver = $driver;
        driver.check(stringify!($name), (driver.functions.$name)($($argument),*))
    }};
}
pub(crate) use call;

/// Like [`call`], for destructors: a failure is logged, because nothing can be done about it.
macro_rules! call_in_drop {
    ($driver:expr, $name:ident($($argument:expr),* $(,)?)) => {
        if let Err(error) = $crate::device::cuda::driver::call!($driver, $name($($argument),*)) {
            tracing::warn!("{}", error.message());
        }
    };
}
pub(crate) use call_in_drop;

/// Opens the driver, checks its age and completeness. The next call looks again after an error.
pub(crate) fn open() -> Result<&'static Driver> {
    static FOUND: Mutex<Option<&'static Driver>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(driver) = *found {
        return Ok(driver);
    }
    // Threads of the driver may run its code at any time: it is never closed, not even after an error.
    let library = Box::leak(Box::new(Library::open(&DRIVER, None)?));
    let missing = |name: &str| {
        let text = format!("the CUDA driver at {} has no {name}: it is older than CUDA 12.0", library.place());
        Error::unavailable(text).hint("update NVIDIA's driver to 525 or newer, or use --device host")
    };
    // SAFETY: the signatures of the driver's header, but for the status, which is an enum of this width there.
    let version_of: unsafe extern "C" fn(*mut c_int) -> c_uint =
        unsafe { library.function("cuDriverGetVersion") }.ok_or_else(|| missing("cuDriverGetVersion"))?;
    // SAFETY: as above.
    let error_name: ErrorName =
        unsafe { library.function("cuGetErrorName") }.ok_or_else(|| missing("cuGetErrorName"))?;
    let mut version = 0;
    // SAFETY: one number to write to; this call needs no initialisation.
    check(error_name, "cuDriverGetVersion", unsafe { version_of(&mut version) })
        .map_err(|error| error.with_kind(Kind::Unavailable).hint(DRIVER.hint))?;
    if version < VERSION_MIN {
        return Err(Error::unavailable(format!(
            "the CUDA driver supports CUDA {}, and 12.0 is needed",
            Shown(version)
        ))
        .hint("update NVIDIA's driver to 525 or newer, or use --device host"));
    }
    let functions = Functions::load(library).map_err(missing)?;
    // SAFETY: the signature of both, which the compiler holds against the bindings above.
    let elapsed_time: ElapsedTime =
        unsafe { library.function("cuEventElapsedTime_v2").or_else(|| library.function("cuEventElapsedTime")) }
            .ok_or_else(|| missing("cuEventElapsedTime"))?;
    let driver = &*Box::leak(Box::new(Driver { functions, version, elapsed_time, error_name }));
    *found = Some(driver);
    Ok(driver)
}

/// A version of CUDA, as its name writes it.
struct Shown(i32);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

impl Driver {
    /// Whether the driver is new enough for `gpu`, whose compute capability begins with `major`.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], naming the GPU and what to install.
    pub(crate) fn expect_to_run(&self, gpu: &str, major: u32) -> Result<()> {
        if major < 10 || self.version >= VERSION_MIN_BLACKWELL {
            return Ok(());
        }
        let (has, needs) = (Shown(self.version), Shown(VERSION_MIN_BLACKWELL));
        let text = format!("{gpu} needs a driver that supports CUDA {needs}, and this one supports CUDA {has}");
        Err(Error::unavailable(text).hint("update NVIDIA's driver to 570 or newer, or use --device host"))
    }

    /// An error naming call and status, when there is one.
    pub(crate) fn check(&self, call: &str, status: c_uint) -> Result<()> {
        check(self.error_name, call, status)
    }
}

fn check(error_name: ErrorName, call: &str, status: c_uint) -> Result<()> {
    use sys::CUresult as R;
    if status == R::CUDA_SUCCESS as c_uint {
        return Ok(());
    }
    let mut name = std::ptr::null();
    // SAFETY: the name is a constant of the driver; for a number it does not know there is none.
    let name = unsafe {
        match (error_name(status, &mut name), name.is_null()) {
            (0, false) => CStr::from_ptr(name).to_string_lossy().into_owned(),
            _ => format!("CUDA error {status}"),
        }
    };
    let error = Error::new(Kind::Other, format!("{call}: {name}"));
    let faults = [R::CUDA_ERROR_ILLEGAL_ADDRESS, R::CUDA_ERROR_LAUNCH_FAILED, R::CUDA_ERROR_MISALIGNED_ADDRESS];
    Err(match faults.iter().any(|fault| *fault as c_uint == status) {
        true => error.hint("an earlier kernel failed; with CUDA_LAUNCH_BLOCKING=1 the error names it"),
        false => error,
    })
}
