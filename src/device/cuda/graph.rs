//! Work recorded once and replayed: a step of many small kernels costs one launch.
//!
//! A replay uses the addresses of the recording, so all memory that recorded work touches belongs to the graph: what is
//! allocated meanwhile comes from a list of its own, in which what is dropped is used again by later work of the same
//! recording (the recorded order makes that safe), and of every other block that recorded work touches the graph keeps
//! the memory, whoever drops it and when.

use super::driver::call;
use super::free_list::{Piece, Pieces, occupied};
use super::gpu::Gpu;
use super::memory::{Block, Home, Region, go_home, take};
use super::owned::{Instance, RawGraph};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Recorded work, ready to run.
pub struct Graph {
    gpu: &'static Gpu,
    // The memory outlives what uses it.
    instance: Instance,
    _memory: Arc<GraphMemory>,
    _touched: Vec<Arc<Region>>,
}

/// Memory that was made in a recording; shared with blocks that outlive it.
pub(super) struct GraphMemory {
    gpu: &'static Gpu,
    pieces: Mutex<Vec<Piece>>,
}

impl Drop for GraphMemory {
    fn drop(&mut self) {
        let pieces = self.pieces.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        pieces.drain(..).for_each(|piece| go_home(self.gpu, piece, &Home::Free));
    }
}

/// A recording in progress.
pub(super) struct Capture {
    memory: Arc<GraphMemory>,
    /// Memory set aside by this recording that no block uses now.
    free: Pieces,
    /// Memory from elsewhere that recorded work touches, by address.
    touched: BTreeMap<u64, Arc<Region>>,
    /// Memory that was dropped meanwhile and not touched: it goes home after the recording.
    dropped: Vec<(Piece, Home)>,
}

impl Capture {
    /// A block for recorded work. Its memory comes through the other stream, because what this one is asked to do is
    /// only written down.
    pub(super) fn alloc(&mut self, gpu: &'static Gpu, bytes: usize) -> Result<Block> {
        let piece = match self.free.take(occupied(bytes)) {
            Some(piece) => piece,
            None => {
                let piece = take(gpu, bytes, &gpu.copy)?;
                lock(&self.memory.pieces).push(piece);
                piece
            }
        };
        Ok(Block::new(gpu, piece, bytes, Home::Graph(self.memory.clone())))
    }

    /// Keeps the memory of a block that recorded work touches.
    pub(super) fn touch(&mut self, block: &Block) {
        let region = block.region();
        if !region.is_of(&self.memory) {
            self.touched.entry(region.address()).or_insert_with(|| region.clone());
        }
    }

    /// Takes memory over that is dropped during the recording.
    pub(super) fn take_back(&mut self, piece: Piece, home: &Home) {
        match home {
            Home::Graph(memory) if Arc::ptr_eq(memory, &self.memory) => self.free.put(piece),
            Home::Graph(_) => {}
            home => self.dropped.push((piece, home.clone())),
        }
    }
}

/// Ends the recording when it is left early, by an error or a panic.
struct Recording {
    gpu: &'static Gpu,
    is_open: bool,
}

impl Recording {
    fn end(&mut self) -> Result<(RawGraph, Capture)> {
        self.is_open = false;
        let mut handle = std::ptr::null_mut();
        let driver = self.gpu.driver;
        // SAFETY: a place for the handle.
        let ended = unsafe { call!(driver, cuStreamEndCapture(self.gpu.compute.handle, &mut handle)) };
        let mut capture = self.gpu.capture().take().expect("it lasts as long as the recording");
        capture.dropped.drain(..).for_each(|(piece, home)| go_home(self.gpu, piece, &home));
        let graph = (!handle.is_null()).then_some(RawGraph { driver, handle });
        ended?;
        let graph = graph.ok_or_else(|| Error::new(Kind::Internal, "the recording was broken off"))?;
        Ok((graph, capture))
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
        let memory = Arc::new(GraphMemory { gpu, pieces: Mutex::default() });
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: an open stream. Relaxed: loading a module meanwhile is no part of the recording.
        unsafe { call!(gpu.driver, cuStreamBeginCapture_v2(gpu.compute.handle, mode)) }.map_err(|e| gpu.named(e))?;
        let (free, touched, dropped) = (Pieces::default(), BTreeMap::new(), Vec::new());
        *gpu.capture() = Some(Capture { memory, free, touched, dropped });
        let mut recording = Recording { gpu, is_open: true };
        work()?;
        let (graph, capture) = recording.end().map_err(|error| gpu.named(error))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: a place for the handle and a whole graph, which is no longer needed afterwards.
        let made = unsafe { call!(gpu.driver, cuGraphInstantiateWithFlags(&mut handle, graph.handle, 0)) };
        made.map_err(|error| gpu.named(error))?;
        let (memory, touched) = (capture.memory, capture.touched.into_values().collect());
        let instance = Instance { driver: gpu.driver, handle };
        let graph = Graph { gpu, instance, _memory: memory, _touched: touched };
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
