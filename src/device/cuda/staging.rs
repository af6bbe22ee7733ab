//! Copies between host and device through two pinned buffers: while one is copied by the device, the other is filled
//! or emptied. Pinned memory is scarce and slow to get, so it is got once.

use super::driver::{Driver, call};
use super::gpu::Gpu;
use super::memory::Block;
use super::owned::{Pinned, RawEvent, Stream};
use crate::error::Result;
use std::sync::MutexGuard;

/// Bytes of one of the two buffers: long enough that starting a copy costs little beside it.
const HALF: usize = 4 << 20;

/// The two buffers and when each is free again.
pub(super) struct Staging {
    pinned: Pinned,
    done: [RawEvent; 2],
    next: usize,
}

// SAFETY: the pinned memory is only touched through the mutex around this.
unsafe impl Send for Staging {}

impl Staging {
    pub(super) fn new(driver: &'static Driver) -> Result<Staging> {
        let done = [RawEvent::new(driver)?, RawEvent::new(driver)?];
        Ok(Staging { pinned: Pinned::new(driver, 2 * HALF)?, done, next: 0 })
    }

    /// The buffer that was used longest ago, once the device is done with it.
    fn take(&mut self) -> Result<usize> {
        let half = self.next;
        self.next = 1 - half;
        self.done[half].synchronize()?;
        Ok(half)
    }

    fn buffer(&self, half: usize) -> *mut u8 {
        self.pinned.handle.cast::<u8>().wrapping_add(half * HALF)
    }

    fn upload(&mut self, driver: &Driver, stream: &Stream, to: u64, bytes: &[u8]) -> Result<()> {
        for (i, chunk) in bytes.chunks(HALF).enumerate() {
            let half = self.take()?;
            let (buffer, to) = (self.buffer(half), to + (i * HALF) as u64);
            // SAFETY: a chunk is at most as long as the buffer, which the device no longer reads.
            unsafe {
                std::ptr::copy_nonoverlapping(chunk.as_ptr(), buffer, chunk.len());
                call!(driver, cuMemcpyHtoDAsync_v2(to, buffer.cast(), chunk.len(), stream.handle))?;
            }
            self.done[half].record(stream)?;
        }
        Ok(())
    }

    fn download(&mut self, driver: &Driver, stream: &Stream, from: u64, bytes: &mut [u8]) -> Result<()> {
        let mut arriving: Option<(usize, &mut [u8])> = None;
        for (i, chunk) in bytes.chunks_mut(HALF).enumerate() {
            let half = self.take()?;
            let (buffer, from) = (self.buffer(half), from + (i * HALF) as u64);
            // SAFETY: a chunk is at most as long as the buffer, which nothing else uses now.
            unsafe { call!(driver, cuMemcpyDtoHAsync_v2(buffer.cast(), from, chunk.len(), stream.handle))? };
            self.done[half].record(stream)?;
            if let Some((half, chunk)) = arriving.replace((half, chunk)) {
                self.collect(half, chunk)?;
            }
        }
        arriving.map_or(Ok(()), |(half, chunk)| self.collect(half, chunk))
    }

    fn collect(&self, half: usize, chunk: &mut [u8]) -> Result<()> {
        self.done[half].synchronize()?;
        // SAFETY: the copy into the buffer is done, and it was as long as the chunk.
        unsafe { std::ptr::copy_nonoverlapping(self.buffer(half), chunk.as_mut_ptr(), chunk.len()) };
        Ok(())
    }
}

/// Data on its way to the device, beside the work of the compute stream.
pub struct Prefetched {
    block: Option<Block>,
    arrived: RawEvent,
}

impl Prefetched {
    /// The data, for work that follows: the compute stream waits for it, the host does not.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn block(mut self) -> Result<Block> {
        let block = self.block.take().expect("only this takes it");
        self.order(block.gpu())?;
        Ok(block)
    }

    /// Makes the compute stream, in whose order the block will be used and freed, wait for the copy.
    fn order(&self, gpu: &Gpu) -> Result<()> {
        let ordered = gpu.enter().and_then(|()| gpu.compute.wait(&self.arrived));
        ordered.map_err(|error| {
            // Else the memory could be given away while the copy still writes to it.
            let _ = gpu.copy.synchronize();
            gpu.named(error)
        })
    }
}

impl Drop for Prefetched {
    fn drop(&mut self) {
        if let Some(block) = self.block.take()
            && let Err(error) = self.order(block.gpu())
        {
            tracing::warn!("{}", error.message());
        }
    }
}

impl Gpu {
    /// Copies `bytes` into a block. The host's memory may be changed as soon as this returns.
    ///
    /// # Errors
    /// [`Kind::Other`](crate::error::Kind::Other) with the driver's error; while a graph is recorded.
    ///
    /// # Panics
    /// When the part lies outside the block.
    #[track_caller]
    pub fn upload(&self, to: &Block, offset: usize, bytes: &[u8]) -> Result<()> {
        let to = to.part(offset, bytes.len());
        self.refuse_while_recording("upload")?;
        self.enter()?;
        self.staging().upload(self.driver, &self.compute, to, bytes).map_err(|error| self.named(error))
    }

    /// Copies from a block into `bytes`, waiting for the work that fills it.
    ///
    /// # Errors
    /// As [`Gpu::upload`]; failures of earlier kernels surface here too.
    ///
    /// # Panics
    /// When the part lies outside the block.
    #[track_caller]
    pub fn download(&self, from: &Block, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let from = from.part(offset, bytes.len());
        self.refuse_while_recording("download")?;
        self.enter()?;
        self.staging().download(self.driver, &self.compute, from, bytes).map_err(|error| self.named(error))
    }

    /// Begins to copy `bytes` into a new block beside the work that was asked for, for example the next batch during
    /// a step.
    ///
    /// # Errors
    /// As [`Gpu::alloc`] and [`Gpu::upload`].
    pub fn prefetch(&'static self, bytes: &[u8]) -> Result<Prefetched> {
        self.refuse_while_recording("prefetch")?;
        let block = Block::from_pool(self, bytes.len(), &self.copy)?;
        let copy = || {
            self.staging().upload(self.driver, &self.copy, block.address(), bytes)?;
            let arrived = RawEvent::new(self.driver)?;
            arrived.record(&self.copy)?;
            Ok(arrived)
        };
        match copy() {
            Ok(arrived) => Ok(Prefetched { block: Some(block), arrived }),
            Err(error) => {
                // The block is freed in the order of the compute stream, which knows nothing of this copy.
                let _ = self.copy.synchronize();
                Err(self.named(error))
            }
        }
    }

    fn staging(&self) -> MutexGuard<'_, Staging> {
        self.staging.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
