//! One GPU of this process: its context, streams and memory pool, and what is done with them.
//!
//! All work of ops goes into one stream, in the order of the calls, so that memory freed by one op may be used by the
//! next without waiting. A second stream copies data ahead of its use ([`Gpu::prefetch`]).

use super::GpuInfo;
use super::cublaslt::CublasLt;
use super::driver::{Driver, call, call_in_drop};
use super::free_list::FreeList;
use super::graph::Capture;
use super::modules::Modules;
use super::owned::{Pool, Retained, Stream};
use super::staging::{Batches, Staging};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard};

thread_local! {
    /// The context that is current in this thread, to spare a call of the driver before every other.
    static CURRENT: Cell<sys::CUcontext> = const { Cell::new(std::ptr::null_mut()) };
}

/// A GPU in use. Made by [`open`](super::open); every thread may call it.
pub struct Gpu {
    pub(crate) driver: &'static Driver,
    info: GpuInfo,
    // Dropped in this order when opening fails half-way: the context last.
    pub(super) modules: Mutex<Modules>,
    pub(crate) blas: Mutex<Option<CublasLt>>,
    pub(super) staging: Mutex<Staging>,
    pub(super) batches: Mutex<Batches>,
    free_list: Mutex<FreeList>,
    pub(super) capture: Mutex<Option<Capture>>,
    pub(super) pool: Pool,
    pub(crate) compute: Stream,
    pub(super) copy: Stream,
    context: Context,
}

/// The device's primary context, which libraries share.
struct Context {
    retained: Retained,
    handle: sys::CUcontext,
}

// SAFETY: the driver's handles may be used from every thread in which their context is current.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    fn new(driver: &'static Driver, device: sys::CUdevice) -> Result<Context> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: a place for the handle.
        unsafe { call!(driver, cuDevicePrimaryCtxRetain(&mut handle, device))? };
        Ok(Context { retained: Retained { driver, handle: device }, handle })
    }

    /// Makes the context current in this thread.
    fn enter(&self) -> Result<()> {
        if CURRENT.get() != self.handle {
            // SAFETY: a retained context.
            unsafe { call!(self.retained.driver, cuCtxSetCurrent(self.handle))? };
            CURRENT.set(self.handle);
        }
        Ok(())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if CURRENT.replace(std::ptr::null_mut()) == self.handle {
            // SAFETY: no context is a context too.
            unsafe { call_in_drop!(self.retained.driver, cuCtxSetCurrent(std::ptr::null_mut())) };
        }
    }
}

/// Memory of a GPU in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What the system could still give, to this process or another.
    pub free: u64,
    /// All of it.
    pub total: u64,
    /// What blocks and graphs of this process hold.
    pub used: u64,
    /// The most that blocks and graphs of this process have held.
    pub peak: u64,
    /// What this process keeps for its next blocks.
    pub kept: u64,
}

impl Gpu {
    pub(super) fn new(driver: &'static Driver, info: GpuInfo) -> Result<Gpu> {
        let place = format!("cuda:{}", info.ordinal);
        let make = || {
            let mut device = 0;
            // SAFETY: a place for the number.
            unsafe { call!(driver, cuDeviceGet(&mut device, info.ordinal.into()))? };
            let context = Context::new(driver, device)?;
            context.enter()?;
            let (compute, copy) = (Stream::new(driver)?, Stream::new(driver)?);
            let pool = Pool::new(driver, device)?;
            let (staging, batches) = (Mutex::new(Staging::new(driver)?), Mutex::new(Batches::new(driver)?));
            let (modules, blas, capture) = (Mutex::default(), Mutex::new(None), Mutex::new(None));
            let (free_list, info) = (Mutex::new(FreeList::new(info.memory_bytes)), info.clone());
            Ok(Gpu { driver, info, modules, blas, staging, batches, free_list, capture, pool, compute, copy, context })
        };
        make().map_err(|error: Error| error.context(place))
    }

    /// What this GPU is.
    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    /// Makes the GPU's context current in this thread; every call that needs it does this by itself.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn enter(&self) -> Result<()> {
        self.context.enter().map_err(|error| self.named(error))
    }

    /// Waits until all work that was asked for is done; failures of earlier kernels surface here.
    ///
    /// # Errors
    /// [`Kind::Other`] with the driver's error; [`Kind::Internal`] while a graph is recorded.
    pub fn synchronize(&self) -> Result<()> {
        self.refuse_while_recording("synchronize")?;
        self.enter()?;
        self.copy.synchronize().and_then(|()| self.compute.synchronize()).map_err(|error| self.named(error))
    }

    /// Memory now, and the most that was used.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn memory(&self) -> Result<Memory> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: two places to write to.
        let info = unsafe { call!(self.driver, cuMemGetInfo_v2(&mut free, &mut total)) };
        info.map_err(|error| self.named(error))?;
        let list = self.free_list();
        let ([used, peak], kept) = (list.used_and_peak(), list.pieces.bytes() as u64);
        Ok(Memory { free: free as u64, total: total as u64, used, peak, kept })
    }

    /// Puts the device in front of an error.
    pub(crate) fn named(&self, error: Error) -> Error {
        error.context(format_args!("cuda:{}", self.info.ordinal))
    }

    /// The graph that is being recorded, if any.
    pub(super) fn capture(&self) -> MutexGuard<'_, Option<Capture>> {
        self.capture.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The memory that no block holds.
    pub(super) fn free_list(&self) -> MutexGuard<'_, FreeList> {
        self.free_list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What the host does cannot be recorded: a replay would not do it again.
    pub(super) fn refuse_while_recording(&self, what: &str) -> Result<()> {
        match self.capture().is_some() {
            false => Ok(()),
            true => Err(self.named(Error::new(Kind::Internal, format!("{what} while a graph is recorded")))),
        }
    }
}
