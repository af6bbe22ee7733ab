//! One GPU of this process: its context, streams and memory pool, and what is done with them.
//!
//! All work of ops goes into one stream, in the order of the calls, so that memory freed by one op may be used by the
//! next without waiting. A second stream copies data ahead of its use ([`Gpu::prefetch`]).

use super::driver::{Driver, call, call_in_drop};
use super::graph::Capture;
use super::modules::Modules;
use super::owned::{Pool, Retained, Stream};
use super::staging::Staging;
use super::{Block, GpuInfo};
use crate::device::cublaslt::CublasLt;
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
    /// What blocks of this process hold.
    pub used: u64,
    /// The most that blocks of this process have held.
    pub peak: u64,
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
            let staging = Mutex::new(Staging::new(driver)?);
            let (modules, blas, capture) = (Mutex::default(), Mutex::new(None), Mutex::new(None));
            Ok(Gpu { driver, info: info.clone(), modules, blas, staging, capture, pool, compute, copy, context })
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
        use sys::CUmemPool_attribute as A;
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: two places to write to.
        let info = unsafe { call!(self.driver, cuMemGetInfo_v2(&mut free, &mut total)) };
        info.map_err(|error| self.named(error))?;
        let pool = |which| self.pool.bytes(which).map_err(|error| self.named(error));
        let (used, peak) = (pool(A::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?, pool(A::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?);
        Ok(Memory { free: free as u64, total: total as u64, used, peak })
    }

    /// Memory for `bytes` bytes of uninitialised data, in the order of the compute stream.
    ///
    /// # Errors
    /// [`Kind::Other`], saying what was wanted and what is free when memory is short.
    pub fn alloc(&'static self, bytes: usize) -> Result<Block> {
        match self.capture().as_mut() {
            Some(capture) => capture.alloc(self, bytes),
            None => Block::from_pool(self, bytes, &self.compute),
        }
    }

    /// Lets the pool grow by `bytes` now, in one piece, instead of bit by bit in the first step of a run.
    ///
    /// # Errors
    /// As [`Gpu::alloc`]: a run that does not fit says so before it starts.
    pub fn reserve(&'static self, bytes: usize) -> Result<()> {
        self.alloc(bytes).map(drop)
    }

    /// Puts the device in front of an error.
    pub(crate) fn named(&self, error: Error) -> Error {
        error.context(format_args!("cuda:{}", self.info.ordinal))
    }

    /// The graph that is being recorded, if any.
    pub(super) fn capture(&self) -> MutexGuard<'_, Option<Capture>> {
        self.capture.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What the host does cannot be recorded: a replay would not do it again.
    pub(super) fn refuse_while_recording(&self, what: &str) -> Result<()> {
        match self.capture().is_some() {
            false => Ok(()),
            true => Err(self.named(Error::new(Kind::Internal, format!("{what} while a graph is recorded")))),
        }
    }
}
