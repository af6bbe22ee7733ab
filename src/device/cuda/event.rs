//! Points in the compute stream, for timing.

use super::gpu::Gpu;
use super::owned::RawEvent;
use crate::error::Result;

/// A point in the work of a GPU.
pub struct Event {
    gpu: &'static Gpu,
    raw: RawEvent,
}

impl Event {
    /// Marks the end of the work that was asked for so far.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn record(gpu: &'static Gpu) -> Result<Event> {
        gpu.enter()?;
        let make = || {
            let raw = RawEvent::new(gpu.driver)?;
            raw.record(&gpu.compute)?;
            Ok(Event { gpu, raw })
        };
        make().map_err(|error| gpu.named(error))
    }

    /// Milliseconds of the device's clock from this event to `end`, waiting for it.
    ///
    /// # Errors
    /// When work before it failed; while a graph is recorded.
    pub fn elapsed_ms(&self, end: &Event) -> Result<f32> {
        let gpu = self.gpu;
        gpu.refuse_while_recording("timing")?;
        gpu.enter()?;
        let measure = || {
            end.raw.synchronize()?;
            self.raw.elapsed_ms(&end.raw)
        };
        measure().map_err(|error| gpu.named(error))
    }
}
