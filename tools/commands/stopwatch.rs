//! Time of a piece of work: a GPU's own clock over recorded work, the wall clock elsewhere.

use super::shared::caught;
use std::time::Instant;
use twnm::device::Device;
use twnm::device::cuda::{self, Event, Gpu, Graph};
use twnm::error::Result;

/// Sets of inputs that passes take in turn, so that none finds its own numbers in a cache.
pub const SETS: usize = 3;
/// Measurements, of which the median counts.
const SAMPLES: usize = 50;
/// A measurement takes about this long at least: launches and the clock's grain vanish in it.
const SAMPLE_S: f64 = 300e-6;
/// Passes of a measurement at most.
const PASSES_MAX: usize = 300;

/// Measures on one device.
pub struct Stopwatch {
    gpu: Option<&'static Gpu>,
    samples: usize,
}

impl Stopwatch {
    /// A stopwatch for work on `device`.
    ///
    /// # Errors
    /// When the GPU does not open.
    pub fn new(device: Device) -> Result<Stopwatch> {
        let gpu = match device {
            Device::Cuda(ordinal) => Some(cuda::open(ordinal)?),
            Device::Host | Device::Emu => None,
        };
        Ok(Stopwatch { gpu, samples: if device == Device::Emu { 1 } else { SAMPLES } })
    }

    /// How it measures.
    pub fn describe(&self) -> String {
        let samples = self.samples;
        match self.gpu {
            Some(_) => format!("CUDA events around replayed graphs, median of {samples}, {SETS} sets of inputs"),
            None => format!("wall clock, median of {samples}, {SETS} sets of inputs"),
        }
    }

    /// Median seconds of one call of `work`, which gets the number of its set.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn median(&self, work: impl Fn(usize)) -> Result<f64> {
        let round = || (0..SETS).for_each(&work);
        let mut samples = match self.gpu {
            Some(gpu) => on_gpu(gpu, &round, self.samples)?,
            None => on_host(&work, self.samples),
        };
        samples.sort_by(f64::total_cmp);
        Ok(samples[samples.len() / 2])
    }
}

/// Seconds per pass, sample by sample.
fn on_host(work: &dyn Fn(usize), samples: usize) -> Vec<f64> {
    work(0);
    let sample = |i: usize| {
        let start = Instant::now();
        work(i % SETS);
        start.elapsed().as_secs_f64()
    };
    (0..samples).map(sample).collect()
}

/// Seconds of the device's clock that `work` takes.
fn timed(gpu: &'static Gpu, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Event::record(gpu)?;
    work()?;
    let end = Event::record(gpu)?;
    start.elapsed_ms(&end).map(|ms| f64::from(ms) / 1e3)
}

fn on_gpu(gpu: &'static Gpu, round: &dyn Fn(), samples: usize) -> Result<Vec<f64>> {
    // Kernels are compiled, products are planned and memory is reserved in the first round.
    round();
    let once = timed(gpu, || {
        round();
        Ok(())
    })?;
    let rounds = ((SAMPLE_S / once.max(1e-7)).ceil() as usize).clamp(1, PASSES_MAX / SETS);
    let all = || {
        (0..rounds).for_each(|_| round());
        Ok(())
    };
    let passes = (rounds * SETS) as f64;
    // What cannot be recorded is put into the stream each time.
    let graph = caught(|| Graph::capture(gpu, all));
    if let Err(error) = &graph {
        tracing::warn!("timed without a graph, launches included: {error}");
    }
    let replay = || graph.as_ref().map_or_else(|_| all(), Graph::replay);
    timed(gpu, replay)?;
    (0..samples).map(|_| timed(gpu, replay).map(|s| s / passes)).collect()
}
