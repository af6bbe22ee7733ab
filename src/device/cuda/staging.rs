//! Copies between host and device. The device copies by itself only from and to pinned memory, which is scarce and slow
//! to get: it is got once and used in turns.
//!
//! Little data (labels, tables, factors) goes through a ring of slots, so that the host is up to 64 uploads ahead of the
//! device before it has to wait. Long data goes through two halves: while one is copied by the device, the other is
//! filled or emptied. Batches have halves of their own, because they are copied beside the work.

use super::driver::{Driver, call};
use super::free_list::Piece;
use super::gpu::Gpu;
use super::memory::{Block, Home, free, take};
use super::owned::{Pinned, RawEvent, Stream};
use crate::error::Result;
use std::sync::MutexGuard;

/// Bytes of one of two halves: long enough that starting a copy costs little beside it.
const HALF: usize = 4 << 20;
/// Bytes of a slot of the ring; what is longer goes through the halves.
const SLOT: usize = 64 << 10;
/// Slots of the ring, and how many of them share an event.
const SLOTS: usize = 64;
const GROUP: usize = 16;
/// Blocks that wait for the next batches: two batches of two tensors each.
const RESTING_MAX: usize = 4;

/// Two pinned buffers that take turns.
struct Halves {
    pinned: Pinned,
    done: [RawEvent; 2],
    next: usize,
}

// SAFETY: the pinned memory is only touched through the mutex around this.
unsafe impl Send for Halves {}

impl Halves {
    fn new(driver: &'static Driver) -> Result<Halves> {
        let done = [RawEvent::new(driver)?, RawEvent::new(driver)?];
        Ok(Halves { pinned: Pinned::new(driver, 2 * HALF)?, done, next: 0 })
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
            unsafe { send(driver, stream, to, chunk, buffer)? };
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

/// Copies bytes to pinned memory, and has the device copy them from there.
///
/// # Safety
/// `buffer` is pinned memory of at least that length, which the device does not read now.
unsafe fn send(driver: &Driver, stream: &Stream, to: u64, bytes: &[u8], buffer: *mut u8) -> Result<()> {
    // SAFETY: the caller's promise; the block behind `to` was checked.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, bytes.len());
        call!(driver, cuMemcpyHtoDAsync_v2(to, buffer.cast(), bytes.len(), stream.handle))
    }
}

/// Small pinned buffers in a ring, in groups that each have an event behind their last upload.
struct Ring {
    pinned: Pinned,
    passed: Vec<RawEvent>,
    next: usize,
}

// SAFETY: the pinned memory is only touched through the mutex around this.
unsafe impl Send for Ring {}

impl Ring {
    fn new(driver: &'static Driver) -> Result<Ring> {
        let passed = (0..SLOTS / GROUP).map(|_| RawEvent::new(driver)).collect::<Result<_>>()?;
        Ok(Ring { pinned: Pinned::new(driver, SLOTS * SLOT)?, passed, next: 0 })
    }

    fn upload(&mut self, driver: &Driver, stream: &Stream, to: u64, bytes: &[u8]) -> Result<()> {
        let slot = self.next;
        if slot.is_multiple_of(GROUP) {
            // The device has read what lay in this group.
            self.passed[slot / GROUP].synchronize()?;
        }
        self.next = (slot + 1) % SLOTS;
        // SAFETY: it fits into the slot, which the device no longer reads.
        unsafe { send(driver, stream, to, bytes, self.pinned.handle.cast::<u8>().wrapping_add(slot * SLOT))? };
        if self.next.is_multiple_of(GROUP) {
            self.passed[slot / GROUP].record(stream)?;
        }
        Ok(())
    }
}

/// Pinned memory of the compute stream.
pub(super) struct Staging {
    ring: Ring,
    halves: Halves,
}

impl Staging {
    pub(super) fn new(driver: &'static Driver) -> Result<Staging> {
        Ok(Staging { ring: Ring::new(driver)?, halves: Halves::new(driver)? })
    }

    fn upload(&mut self, driver: &Driver, stream: &Stream, to: u64, bytes: &[u8]) -> Result<()> {
        let sent = match bytes.len() <= SLOT {
            true => self.ring.upload(driver, stream, to, bytes),
            false => self.halves.upload(driver, stream, to, bytes),
        };
        // Without its event nobody knows when the device has read the pinned memory.
        sent.inspect_err(|_| drop(stream.synchronize()))
    }
}

/// How batches come to the device beside the work: pinned memory, and memory of the device that earlier batches had.
pub(super) struct Batches {
    halves: Halves,
    resting: Vec<Resting>,
}

/// Memory of an earlier batch, and the last work that used it.
struct Resting {
    piece: Piece,
    last_use: RawEvent,
}

impl Batches {
    pub(super) fn new(driver: &'static Driver) -> Result<Batches> {
        Ok(Batches { halves: Halves::new(driver)?, resting: Vec::new() })
    }

    /// The smallest piece of at least `bytes` bytes.
    fn take(&mut self, bytes: usize) -> Option<Resting> {
        let fitting = self.resting.iter().enumerate().filter(|(_, r)| r.piece.bytes >= bytes);
        let best = fitting.min_by_key(|(_, r)| r.piece.bytes)?.0;
        Some(self.resting.swap_remove(best))
    }

    /// Keeps a piece; when there are too many, the smallest is returned.
    fn put(&mut self, resting: Resting) -> Option<Piece> {
        self.resting.push(resting);
        let smallest = self.resting.iter().enumerate().min_by_key(|(_, r)| r.piece.bytes)?.0;
        (self.resting.len() > RESTING_MAX).then(|| self.resting.swap_remove(smallest).piece)
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
        if bytes.is_empty() {
            return Ok(());
        }
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
        self.staging().halves.download(self.driver, &self.compute, from, bytes).map_err(|error| self.named(error))
    }

    /// Begins to copy `bytes` into a block beside the work that was asked for: the next batch during a step. The host's
    /// memory may be changed as soon as this returns.
    ///
    /// The block is one of an earlier batch when that is large enough, and goes back to the next when it is dropped:
    /// the copy waits for the work that used it, and nothing is allocated.
    ///
    /// # Errors
    /// As [`Gpu::alloc`] and [`Gpu::upload`].
    pub fn prefetch(&'static self, bytes: &[u8]) -> Result<Prefetched> {
        self.refuse_while_recording("prefetch")?;
        self.enter()?;
        let found = self.batches().take(bytes.len());
        let resting = match found {
            Some(resting) => resting,
            None => {
                let piece = take(self, bytes.len(), &self.compute)?;
                self.resting(piece).inspect_err(|_| free(self, piece))?
            }
        };
        let (block, event) = (Block::new(self, resting.piece, bytes.len(), Home::Batches), resting.last_use);
        let copied = self.copy.wait(&event).and_then(|()| {
            self.batches().halves.upload(self.driver, &self.copy, block.address(), bytes)?;
            event.record(&self.copy)
        });
        match copied {
            Ok(()) => Ok(Prefetched { block: Some(block), arrived: event }),
            Err(error) => {
                // The block goes home in the order of the compute stream, which knows nothing of this copy.
                let _ = self.copy.synchronize();
                Err(self.named(error))
            }
        }
    }

    /// A piece, and the point in the compute stream up to which it is used.
    fn resting(&self, piece: Piece) -> Result<Resting> {
        let last_use = RawEvent::new(self.driver)?;
        last_use.record(&self.compute)?;
        Ok(Resting { piece, last_use })
    }

    /// Keeps the memory of a batch that is done with for the next.
    pub(super) fn rest(&self, piece: Piece) {
        let excess = match self.enter().and_then(|()| self.resting(piece)) {
            Ok(resting) => self.batches().put(resting),
            Err(error) => {
                tracing::warn!("{}", error.message());
                Some(piece)
            }
        };
        excess.into_iter().for_each(|piece| free(self, piece));
    }

    /// Puts the memory of earlier batches to what is free.
    pub(super) fn free_batches(&self) {
        let all = std::mem::take(&mut self.batches().resting);
        all.into_iter().for_each(|resting| free(self, resting.piece));
    }

    fn staging(&self) -> MutexGuard<'_, Staging> {
        self.staging.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
