//! Bytes that are there, and the most that were.

/// What a computation holds as it goes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    pub live: u64,
    pub most: u64,
}

impl Ledger {
    /// Allocates.
    pub fn take(&mut self, bytes: u64) {
        self.live += bytes;
        self.most = self.most.max(self.live);
    }
    /// Frees. Panics when more is freed than there is.
    #[track_caller]
    pub fn give(&mut self, bytes: u64) {
        self.live = self.live.checked_sub(bytes).expect("what is freed was allocated");
    }
    /// Allocates and frees.
    pub fn pass(&mut self, bytes: u64) {
        self.take(bytes);
        self.give(bytes);
    }
}
