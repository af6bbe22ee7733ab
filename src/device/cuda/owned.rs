//! Handles of the driver that are given back when they are dropped.

use super::driver::{Driver, call, call_in_drop};
use crate::error::Result;
use cudarc::driver::sys;
use std::ffi::c_void;

/// A handle of the driver with the function that gives it back.
macro_rules! owned {
    ($(#[$doc:meta])* $name:ident, $handle:ty, $destroy:ident) => {
        $(#[$doc])*
        pub(crate) struct $name {
            pub(crate) driver: &'static Driver,
            pub(crate) handle: $handle,
        }

        // SAFETY: the driver's handles may be used from every thread in which their context is current.
        unsafe impl Send for $name {}
        // SAFETY: as above.
        unsafe impl Sync for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: made by this driver and given back only here.
                unsafe { call_in_drop!(self.driver, $destroy(self.handle)) }
            }
        }
    };
}

owned!(
    /// A queue of work.
    Stream, sys::CUstream, cuStreamDestroy_v2
);
owned!(
    /// A point in a stream, with its time.
    RawEvent, sys::CUevent, cuEventDestroy_v2
);
owned!(
    /// A pool of device memory.
    Pool, sys::CUmemoryPool, cuMemPoolDestroy
);
owned!(
    /// Host memory that the device can copy from and to by itself.
    Pinned, *mut c_void, cuMemFreeHost
);
owned!(
    /// Loaded machine code.
    Module, sys::CUmodule, cuModuleUnload
);
owned!(
    /// A recorded graph.
    RawGraph, sys::CUgraph, cuGraphDestroy
);
owned!(
    /// A graph that can run.
    Instance, sys::CUgraphExec, cuGraphExecDestroy
);
owned!(
    /// A use of a device's primary context; the handle is the device.
    Retained, sys::CUdevice, cuDevicePrimaryCtxRelease_v2
);

impl Stream {
    /// A stream that does not wait for the default stream.
    pub(crate) fn new(driver: &'static Driver) -> Result<Stream> {
        let mut handle = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: a place for the handle.
        unsafe { call!(driver, cuStreamCreate(&mut handle, flags))? };
        Ok(Stream { driver, handle })
    }

    /// Waits until all work so far is done.
    pub(crate) fn synchronize(&self) -> Result<()> {
        // SAFETY: an open stream.
        unsafe { call!(self.driver, cuStreamSynchronize(self.handle)) }
    }

    /// Work that follows waits for `event`.
    pub(crate) fn wait(&self, event: &RawEvent) -> Result<()> {
        // SAFETY: an open stream and event.
        unsafe { call!(self.driver, cuStreamWaitEvent(self.handle, event.handle, 0)) }
    }
}

impl RawEvent {
    /// An event with times, not yet recorded.
    pub(crate) fn new(driver: &'static Driver) -> Result<RawEvent> {
        let mut handle = std::ptr::null_mut();
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT as u32;
        // SAFETY: a place for the handle.
        unsafe { call!(driver, cuEventCreate(&mut handle, flags))? };
        Ok(RawEvent { driver, handle })
    }

    /// Puts the event behind the work of `stream` so far.
    pub(crate) fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: an open event and stream.
        unsafe { call!(self.driver, cuEventRecord(self.handle, stream.handle)) }
    }

    /// Milliseconds of the device's clock from this event to `end`, both of which have passed.
    pub(crate) fn elapsed_ms(&self, end: &RawEvent) -> Result<f32> {
        let mut milliseconds = 0.0;
        // SAFETY: a place for the number and two open events.
        let status = unsafe { (self.driver.elapsed_time)(&mut milliseconds, self.handle, end.handle) };
        self.driver.check("cuEventElapsedTime", status)?;
        Ok(milliseconds)
    }

    /// Waits until the event has passed; at once when it was never recorded.
    pub(crate) fn synchronize(&self) -> Result<()> {
        // SAFETY: an open event.
        unsafe { call!(self.driver, cuEventSynchronize(self.handle)) }
    }
}

impl Pool {
    /// A pool on `device` that keeps what it once had, so that a run asks the system for memory only while it grows.
    pub(crate) fn new(driver: &'static Driver, device: sys::CUdevice) -> Result<Pool> {
        // SAFETY: plain numbers and pointers, for all of which zero is a value.
        let mut properties: sys::CUmemPoolProps = unsafe { std::mem::zeroed() };
        properties.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location =
            sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: device };
        let mut handle = std::ptr::null_mut();
        // SAFETY: a place for the handle.
        unsafe { call!(driver, cuMemPoolCreate(&mut handle, &properties))? };
        let pool = Pool { driver, handle };
        let mut keep = u64::MAX;
        let which = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: this attribute is a u64.
        unsafe { call!(driver, cuMemPoolSetAttribute(pool.handle, which, (&raw mut keep).cast()))? };
        Ok(pool)
    }

    /// Gives the system what nothing in the pool uses.
    pub(crate) fn trim(&self) -> Result<()> {
        // SAFETY: an open pool.
        unsafe { call!(self.driver, cuMemPoolTrimTo(self.handle, 0)) }
    }
}

impl Pinned {
    /// Pinned memory of `bytes` bytes.
    pub(crate) fn new(driver: &'static Driver, bytes: usize) -> Result<Pinned> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: a place for the pointer.
        unsafe { call!(driver, cuMemHostAlloc(&mut handle, bytes, 0))? };
        Ok(Pinned { driver, handle })
    }
}
