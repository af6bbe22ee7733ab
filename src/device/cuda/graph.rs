//! Work recorded once and replayed: a step of many small kernels costs one launch.
//!
//! A replay uses the addresses of the recording, so all memory that recorded work touches belongs to the graph: what is
//! allocated meanwhile comes from a list of its own, in which what is dropped is used again by later work of the same
//! recording (the recorded order makes that safe), and blocks from before that are dropped meanwhile are kept.

use super::driver::call;
use super::gpu::Gpu;
use super::memory::{Block, Home, free};
use super::owned::{Instance, RawGraph};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Memory is set aside in multiples of this, so that blocks of nearly the same size share it.
const GRAIN: usize = 512;

/// Recorded work, ready to run.
pub struct Graph {
    gpu: &'static Gpu,
    // The memory outlives what uses it.
    instance: Instance,
    _memory: Arc<GraphMemory>,
}

/// Memory that a graph uses in every replay; shared with blocks that outlive the recording.
pub(super) struct GraphMemory {
    gpu: &'static Gpu,
    addresses: Mutex<Vec<u64>>,
    others: Mutex<Vec<Arc<GraphMemory>>>,
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        let addresses = self.addresses.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        addresses.drain(..).for_each(|address| free(self.gpu, address));
    }
}

/// A recording in progress.
pub(super) struct Capture {
    memory: Arc<GraphMemory>,
    /// Memory set aside by this recording that no block uses now: addresses by size.
    free: BTreeMap<usize, Vec<u64>>,
}

impl Capture {
    /// A block for recorded work. Its memory comes through the other stream, because what this one is asked to do is
    /// only written down.
    pub(super) fn alloc(&mut self, gpu: &'static Gpu, bytes: usize) -> Result<Block> {
        let wanted = bytes.max(1).next_multiple_of(GRAIN);
        let best = self.free.range_mut(wanted..=wanted + wanted / 4).find(|(_, list)| !list.is_empty());
        let (size, address) = match best.and_then(|(size, list)| Some((*size, list.pop()?))) {
            Some(found) => found,
            None => {
                let address = Block::from_pool(gpu, wanted, &gpu.copy)?.into_address();
                lock(&self.memory.addresses).push(address);
                (wanted, address)
            }
        };
        Ok(Block::from_graph(gpu, address, bytes, Home::Graph(self.memory.clone(), size)))
    }

    /// Takes over the memory of a block that is dropped during the recording.
    pub(super) fn keep(&mut self, address: u64, home: &Home) {
        match home {
            Home::Graph(memory, size) if Arc::ptr_eq(memory, &self.memory) => {
                self.free.entry(*size).or_default().push(address);
            }
            Home::Graph(memory, _) => lock(&self.memory.others).push(memory.clone()),
            Home::Pool => lock(&self.memory.addresses).push(address),
        }
    }
}

/// Ends the recording when it is left early, by an error or a panic.
struct Recording {
    gpu: &'static Gpu,
    is_open: bool,
}

impl Recording {
    fn end(&mut self) -> Result<(RawGraph, Arc<GraphMemory>)> {
        self.is_open = false;
        let mut handle = std::ptr::null_mut();
        let driver = self.gpu.driver;
        // SAFETY: a place for the handle.
        let ended = unsafe { call!(driver, cuStreamEndCapture(self.gpu.compute.handle, &mut handle)) };
        let capture = self.gpu.capture().take().expect("it lasts as long as the recording");
        let graph = (!handle.is_null()).then_some(RawGraph { driver, handle });
        ended?;
        let graph = graph.ok_or_else(|| Error::new(Kind::Internal, "the recording was broken off"))?;
        Ok((graph, capture.memory))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.is_open {
            let _ = self.end();
        }
    }
}

impl Graph {
    /// Records what `work` asks of the GPU instead of doing it. No other thread may use the GPU meanwhile, and `work`
    /// must not need the host (uploads, downloads and waits are refused).
    ///
    /// # Errors
    /// The error of `work`, or the driver's when something cannot be recorded.
    pub fn capture(gpu: &'static Gpu, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        // Memory freed before is free for every stream after this.
        gpu.synchronize()?;
        let (addresses, others) = (Mutex::default(), Mutex::default());
        let memory = Arc::new(GraphMemory { gpu, addresses, others });
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: an open stream. Relaxed: loading a module meanwhile is no part of the recording.
        unsafe { call!(gpu.driver, cuStreamBeginCapture_v2(gpu.compute.handle, mode)) }.map_err(|e| gpu.named(e))?;
        *gpu.capture() = Some(Capture { memory, free: BTreeMap::new() });
        let mut recording = Recording { gpu, is_open: true };
        work()?;
        let (graph, memory) = recording.end().map_err(|error| gpu.named(error))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: a place for the handle and a whole graph, which is no longer needed afterwards.
        let made = unsafe { call!(gpu.driver, cuGraphInstantiateWithFlags(&mut handle, graph.handle, 0)) };
        made.map_err(|error| gpu.named(error))?;
        let graph = Graph { gpu, instance: Instance { driver: gpu.driver, handle }, _memory: memory };
        // Its memory was allocated in the order of the other stream.
        gpu.synchronize()?;
        Ok(graph)
    }

    /// Does the recorded work again, behind what was asked for before.
    ///
    /// # Errors
    /// When the driver refuses; while another graph is recorded.
    pub fn replay(&self) -> Result<()> {
        self.gpu.refuse_while_recording("replay")?;
        self.gpu.enter()?;
        // SAFETY: an open graph and stream; the graph holds its memory.
        let launched = unsafe { call!(self.gpu.driver, cuGraphLaunch(self.instance.handle, self.gpu.compute.handle)) };
        launched.map_err(|error| self.gpu.named(error))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
