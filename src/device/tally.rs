//! How many bytes of tensors each kind of device holds, the most it held, and how many it may hold.
//!
//! Bytes are counted as they are asked for, before an allocator rounds them up: what a plan can say in advance. A budget
//! ([`hold`]) ends the computation in place of an allocation beyond it: the error unwinds from the op, as that of a GPU without
//! memory does, and shows the plan.

use super::{Device, raise};
use crate::error::{Error, Kind, Result};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// The counts of a kind of device.
pub(super) struct Tally {
    live: AtomicU64,
    most: AtomicU64,
    limit: AtomicU64,
}

pub(super) static HOST: Tally = Tally::new();
#[cfg(feature = "emu")]
pub(super) static EMU: Tally = Tally::new();
pub(super) static CUDA: Tally = Tally::new();

/// What an error says of the budget that was exceeded.
static PLAN: Mutex<String> = Mutex::new(String::new());

impl Tally {
    const fn new() -> Tally {
        Tally { live: AtomicU64::new(0), most: AtomicU64::new(0), limit: AtomicU64::new(u64::MAX) }
    }

    /// Counts a block that is about to be made, or ends the computation where the budget has no room for it.
    pub fn take(&self, bytes: u64) {
        let live = self.count(bytes);
        if live > self.limit.load(Relaxed) {
            self.give(bytes);
            raise(self.refusal(bytes, live - bytes));
        }
    }

    /// Whether the budget has room for a block.
    ///
    /// # Errors
    /// `Other` with the plan.
    pub fn check(&self, bytes: u64) -> Result<()> {
        let live = self.live.load(Relaxed);
        if live + bytes > self.limit.load(Relaxed) { Err(self.refusal(bytes, live)) } else { Ok(()) }
    }

    /// Counts a block; what is there with it.
    pub fn count(&self, bytes: u64) -> u64 {
        let live = self.live.fetch_add(bytes, Relaxed) + bytes;
        if live <= self.limit.load(Relaxed) {
            self.most.fetch_max(live, Relaxed);
        }
        live
    }

    /// Takes a block off.
    pub fn give(&self, bytes: u64) {
        self.live.fetch_sub(bytes, Relaxed);
    }

    /// What is there, and the most there was since [`Tally::watch`].
    pub fn bytes(&self) -> [u64; 2] {
        [self.live.load(Relaxed), self.most.load(Relaxed)]
    }

    /// Begins to look for the most anew.
    pub fn watch(&self) {
        self.most.store(self.live.load(Relaxed), Relaxed);
    }

    #[cold]
    fn refusal(&self, bytes: u64, live: u64) -> Error {
        let (limit, plan) = (self.limit.load(Relaxed), PLAN.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let message = format!(
            "over the memory budget: {bytes} bytes wanted beside {live} bytes of tensors, it has room for {limit}; planned was\n{plan}"
        );
        Error::new(Kind::Other, message)
            .hint("checkpoints are intact: continue the run with more --memory, and report this: a plan that fits should hold")
    }
}

/// The counts of a device's kind.
pub(super) fn of(device: Device) -> &'static Tally {
    match device {
        Device::Host => &HOST,
        #[cfg(feature = "emu")]
        Device::Emu => &EMU,
        #[cfg(not(feature = "emu"))]
        Device::Emu => panic!("{}", super::NO_EMULATOR),
        Device::Cuda(_) => &CUDA,
    }
}

/// A budget, which ends when this is dropped.
pub struct Held(&'static Tally);

/// From now on tensors on devices of this kind that would come to more than `bytes` bytes end the computation with an error that
/// shows `plan`, a table.
#[must_use = "the budget ends when this is dropped"]
pub fn hold(device: Device, bytes: u64, plan: String) -> Held {
    *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    let tally = of(device);
    tally.limit.store(bytes, Relaxed);
    Held(tally)
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.limit.store(u64::MAX, Relaxed);
    }
}
