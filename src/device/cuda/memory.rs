//! Blocks of device memory: allocation in the order of the stream, filling, copies.

use super::driver::{Driver, call, call_in_drop};
use super::free_list::{Piece, occupied};
use super::gpu::Gpu;
use super::graph::GraphMemory;
use super::owned::Stream;
use crate::device::tally::CUDA;
use crate::error::{Error, Result};
use cudarc::driver::sys::CUresult;
use std::sync::Arc;

/// Device memory that frees itself behind the work that was asked for before. A graph that recorded work on it keeps
/// it as well.
pub struct Block {
    region: Arc<Region>,
    bytes: usize,
}

/// Memory that goes home when neither a block nor a graph holds it any longer.
pub(super) struct Region {
    gpu: &'static Gpu,
    piece: Piece,
    home: Home,
    /// What was asked for, as it was counted.
    asked: u64,
}

/// Where memory goes when nobody holds it.
#[derive(Clone)]
pub(super) enum Home {
    /// To the free memory of the GPU.
    Free,
    /// To those of the next batches.
    Batches,
    /// To the graph in whose recording it was made, which uses it in every replay.
    Graph(Arc<GraphMemory>),
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
    /// A block of `bytes` bytes, which are counted, in a piece that is at least as long.
    pub(super) fn new(gpu: &'static Gpu, piece: Piece, bytes: usize, home: Home) -> Block {
        assert!(bytes <= piece.bytes, "a block lies in its piece");
        CUDA.count(bytes as u64);
        Block { region: Arc::new(Region { gpu, piece, home, asked: bytes as u64 }), bytes }
    }

    /// The address on the device, for kernels.
    pub fn address(&self) -> u64 {
        self.region.piece.address
    }

    /// The size that was asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The GPU it lies on.
    pub fn gpu(&self) -> &'static Gpu {
        self.region.gpu
    }

    /// The address of `bytes` bytes from `offset`.
    #[track_caller]
    pub(super) fn part(&self, offset: usize, bytes: usize) -> u64 {
        let end = offset.checked_add(bytes);
        assert!(end.is_some_and(|end| end <= self.bytes), "{bytes} bytes at {offset} of a block of {}", self.bytes);
        self.address() + offset as u64
    }

    /// The memory, for a graph that keeps it.
    pub(super) fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

impl Region {
    /// Where the memory lies.
    pub(super) fn address(&self) -> u64 {
        self.piece.address
    }

    /// Whether the memory was made in the recording of `memory`.
    pub(super) fn is_of(&self, memory: &Arc<GraphMemory>) -> bool {
        matches!(&self.home, Home::Graph(own) if Arc::ptr_eq(own, memory))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        CUDA.give(self.asked);
        go_home(self.gpu, self.piece, &self.home);
    }
}

/// Takes memory back that nobody holds. While a graph is recorded this waits: what the stream is asked to do is
/// written down then.
pub(super) fn go_home(gpu: &'static Gpu, piece: Piece, home: &Home) {
    if let Some(capture) = gpu.capture().as_mut() {
        return capture.take_back(piece, home);
    }
    match home {
        Home::Free => free(gpu, piece),
        Home::Batches => gpu.rest(piece),
        Home::Graph(_) => {}
    }
}

/// Puts memory to what is free, behind the work of the compute stream so far.
pub(super) fn free(gpu: &Gpu, piece: Piece) {
    let excess = gpu.free_list().put(piece);
    give_back(gpu, &excess, &gpu.compute);
}

/// Gives pieces back to the pool in the order of `stream`.
fn give_back(gpu: &Gpu, pieces: &[Piece], stream: &Stream) {
    if pieces.is_empty() {
        return;
    }
    if let Err(error) = gpu.enter() {
        return tracing::warn!("{}", error.message());
    }
    for piece in pieces {
        // SAFETY: memory of the pool; whoever used it put that work into the compute stream before. The copy stream is
        // named only while a graph is recorded, when all that work is done.
        unsafe { call_in_drop!(gpu.driver, cuMemFreeAsync(piece.address, stream.handle)) }
    }
}

/// Gives all free memory back to the pool in the order of `stream`; whether there was any.
fn give_back_all(gpu: &Gpu, stream: &Stream) -> bool {
    let pieces: Vec<Piece> = {
        let mut list = gpu.free_list();
        std::iter::from_fn(|| list.pieces.take_largest()).collect()
    };
    give_back(gpu, &pieces, stream);
    !pieces.is_empty()
}

/// At least `bytes` bytes: of what is free, else of the pool in the order of `stream`, which is the compute stream but
/// while a graph is recorded. Then it is the copy stream, and all earlier work is done.
pub(super) fn take(gpu: &Gpu, bytes: usize, stream: &Stream) -> Result<Piece> {
    gpu.enter()?;
    let wanted = occupied(bytes);
    let kept = gpu.free_list().pieces.take(wanted);
    let piece = match kept {
        Some(piece) => piece,
        None => from_pool(gpu, wanted, stream).map_err(|error| gpu.named(error))?,
    };
    gpu.free_list().count(piece);
    Ok(piece)
}

fn from_pool(gpu: &Gpu, bytes: usize, stream: &Stream) -> Result<Piece> {
    let mut address = 0;
    let mut ask = || {
        // SAFETY: a place for the address; an open pool and stream.
        unsafe { (gpu.driver.functions.cuMemAllocFromPoolAsync)(&mut address, bytes, gpu.pool.handle, stream.handle) }
    };
    let mut status = ask();
    if is_out_of_memory(status) && give_back_all(gpu, stream) {
        stream.synchronize()?;
        gpu.pool.trim()?;
        status = ask();
    }
    let failure = |error: Error| {
        if !is_out_of_memory(status) {
            return error.context(format!("{bytes} bytes"));
        }
        let Ok(m) = gpu.memory() else { return error.context(format!("out of memory: {bytes} bytes wanted")) };
        let (free, total, used) = (m.free, m.total, m.used);
        error
            .context(format!(
                "out of memory: {bytes} bytes wanted, {free} free of {total}, {used} in use by this process"
            ))
            .hint("a smaller batch or shorter clips need less; nvidia-smi shows who else uses this GPU")
    };
    let driver: &Driver = gpu.driver;
    driver.check("cuMemAllocFromPoolAsync", status).map_err(failure)?;
    Ok(Piece { address, bytes })
}

fn is_out_of_memory(status: u32) -> bool {
    status == CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32
}

impl Gpu {
    /// Memory for `bytes` bytes of uninitialised data, in the order of the compute stream.
    ///
    /// # Errors
    /// [`Kind::Other`](crate::error::Kind::Other), saying what was wanted and what is free when memory is short, or that it is
    /// over the budget.
    pub fn alloc(&'static self, bytes: usize) -> Result<Block> {
        CUDA.check(bytes as u64)?;
        if let Some(capture) = self.capture().as_mut() {
            return capture.alloc(self, bytes);
        }
        Ok(Block::new(self, take(self, bytes, &self.compute)?, bytes, Home::Free))
    }

    /// Gives the memory that no block holds back to the system, so that other processes and libraries can have it.
    ///
    /// # Errors
    /// When the driver refuses or earlier work failed; while a graph is recorded.
    pub fn trim(&self) -> Result<()> {
        self.refuse_while_recording("trim")?;
        self.enter()?;
        self.free_batches();
        give_back_all(self, &self.compute);
        self.synchronize()?;
        self.pool.trim().map_err(|error| self.named(error))
    }

    /// Keeps a block for the graph that is being recorded, if any: each replay touches it.
    pub(crate) fn touch<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        if let Some(capture) = self.capture().as_mut() {
            blocks.into_iter().for_each(|block| capture.touch(block));
        }
    }

    /// Fills a block.
    ///
    /// # Errors
    /// [`Kind::Other`](crate::error::Kind::Other) with the driver's error.
    pub fn fill(&self, block: &Block, with: Fill) -> Result<()> {
        self.enter()?;
        self.touch([block]);
        let (to, stream) = (block.address(), self.compute.handle);
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
        self.touch([to, from]);
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
