//! Blocks of device memory: allocation in stream order, filling, copies.

use super::driver::{call, call_in_drop};
use super::gpu::Gpu;
use super::graph::GraphMemory;
use super::owned::Stream;
use crate::error::Result;
use cudarc::driver::sys::CUresult;
use std::sync::Arc;

/// Device memory that frees itself behind the work that was asked for before.
pub struct Block {
    gpu: &'static Gpu,
    address: u64,
    bytes: usize,
    home: Home,
}

/// Where a block's memory goes when it is dropped.
#[derive(Clone)]
pub(super) enum Home {
    /// Back to the pool.
    Pool,
    /// To the graph in whose recording it was made (with the bytes that were set aside), which uses it in every replay.
    Graph(Arc<GraphMemory>, usize),
}

/// A value that fills memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Zero bytes.
    Zero,
    /// A float in every four bytes.
    F32(f32),
    /// The bits of a bf16 in every two bytes.
    Bf16(u16),
}

impl Block {
    /// Fresh memory of the pool, in the order of `stream`.
    pub(super) fn from_pool(gpu: &'static Gpu, bytes: usize, stream: &Stream) -> Result<Block> {
        gpu.enter()?;
        let mut address = 0;
        // An empty tensor has an address too; the pool refuses to give nothing.
        let (wanted, f) = (bytes.max(1), &gpu.driver.functions);
        // SAFETY: a place for the address; an open pool and stream.
        let status = unsafe { (f.cuMemAllocFromPoolAsync)(&mut address, wanted, gpu.pool.handle, stream.handle) };
        gpu.driver.check("cuMemAllocFromPoolAsync", status).map_err(|error| {
            let error = match (status == CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32, gpu.memory()) {
                (true, Ok(m)) => error
                    .context(format!(
                        "out of memory: {bytes} bytes wanted, {} free of {}, {} in use by this process",
                        m.free, m.total, m.used
                    ))
                    .hint("a smaller batch or shorter clips need less; nvidia-smi shows who else uses this GPU"),
                (true, Err(_)) => error.context(format!("out of memory: {bytes} bytes wanted")),
                (false, _) => error.context(format!("{bytes} bytes")),
            };
            gpu.named(error)
        })?;
        Ok(Block { gpu, address, bytes, home: Home::Pool })
    }

    /// Memory of a graph.
    pub(super) fn from_graph(gpu: &'static Gpu, address: u64, bytes: usize, home: Home) -> Block {
        Block { gpu, address, bytes, home }
    }

    /// Gives up the block without freeing its memory.
    pub(super) fn into_address(self) -> u64 {
        std::mem::ManuallyDrop::new(self).address
    }

    /// The address on the device, for kernels.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The size that was asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The GPU it lies on.
    pub fn gpu(&self) -> &'static Gpu {
        self.gpu
    }

    /// The address of `bytes` bytes from `offset`.
    #[track_caller]
    pub(super) fn part(&self, offset: usize, bytes: usize) -> u64 {
        let end = offset.checked_add(bytes);
        assert!(end.is_some_and(|end| end <= self.bytes), "{bytes} bytes at {offset} of a block of {}", self.bytes);
        self.address + offset as u64
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(capture) = self.gpu.capture().as_mut() {
            // The recorded work uses this memory in every replay.
            return capture.keep(self.address, &self.home);
        }
        match &self.home {
            Home::Pool => free(self.gpu, self.address),
            Home::Graph(..) => {}
        }
    }
}

/// Gives memory back to the pool behind the work of the compute stream so far.
pub(super) fn free(gpu: &Gpu, address: u64) {
    if let Err(error) = gpu.enter() {
        return tracing::warn!("{}", error.message());
    }
    // SAFETY: memory of the pool; whoever used it put that work into this stream.
    unsafe { call_in_drop!(gpu.driver, cuMemFreeAsync(address, gpu.compute.handle)) }
}

impl Gpu {
    /// Fills a block.
    ///
    /// # Errors
    /// [`Kind::Other`](crate::error::Kind::Other) with the driver's error.
    pub fn fill(&self, block: &Block, with: Fill) -> Result<()> {
        self.enter()?;
        let (to, stream) = (block.address, self.compute.handle);
        // SAFETY: the counts stay within the block.
        let filled = unsafe {
            match with {
                _ if block.bytes == 0 => Ok(()),
                Fill::Zero => call!(self.driver, cuMemsetD8Async(to, 0, block.bytes, stream)),
                Fill::F32(x) => call!(self.driver, cuMemsetD32Async(to, x.to_bits(), block.bytes / 4, stream)),
                Fill::Bf16(bits) => call!(self.driver, cuMemsetD16Async(to, bits, block.bytes / 2, stream)),
            }
        };
        filled.map_err(|error| self.named(error))
    }

    /// Copies `bytes` bytes from one place of this GPU to another.
    ///
    /// # Errors
    /// [`Kind::Other`](crate::error::Kind::Other) with the driver's error.
    ///
    /// # Panics
    /// When a part lies outside its block.
    #[track_caller]
    pub fn copy(&self, to: &Block, to_offset: usize, from: &Block, from_offset: usize, bytes: usize) -> Result<()> {
        let (to, from) = (to.part(to_offset, bytes), from.part(from_offset, bytes));
        self.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both parts were checked.
        let copied = unsafe { call!(self.driver, cuMemcpyDtoDAsync_v2(to, from, bytes, self.compute.handle)) };
        copied.map_err(|error| self.named(error))
    }
}
