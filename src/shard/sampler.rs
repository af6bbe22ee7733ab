//! The order of training: pure functions of (seed, position), so that a resumed run continues exactly.

use crate::rng::Rng;
use std::sync::Mutex;

/// Visits `0..len` in a new random order every epoch: position `p` lies in epoch `p / len`.
pub struct Order {
    len: usize,
    seed: u64,
    purpose: String,
    /// The permutation of the epoch asked for last.
    cached: Mutex<(u64, Vec<u32>)>,
}

impl Order {
    /// An order over `len` items (at least 1, at most 2^32); `purpose` separates orders under one seed.
    #[track_caller]
    pub fn new(len: usize, seed: u64, purpose: &str) -> Self {
        assert!(len > 0 && len <= u32::MAX as usize, "an order needs 1 to 2^32 items, not {len}");
        let cached = Mutex::new((0, permutation(len, seed, purpose, 0)));
        Order { len, seed, purpose: purpose.into(), cached }
    }

    /// The item at `position`.
    pub fn item(&self, position: u64) -> usize {
        let epoch = position / self.len as u64;
        let mut cached = self.cached.lock().unwrap_or_else(|e| e.into_inner());
        if cached.0 != epoch {
            *cached = (epoch, permutation(self.len, self.seed, &self.purpose, epoch));
        }
        cached.1[(position % self.len as u64) as usize] as usize
    }
}

fn permutation(len: usize, seed: u64, purpose: &str, epoch: u64) -> Vec<u32> {
    let mut items: Vec<u32> = (0..len as u32).collect();
    Rng::new(seed, purpose, epoch).shuffle(&mut items);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_visits_everything_once_in_another_order() {
        let order = Order::new(100, 7, "train");
        let epoch = |e: u64| (0..100).map(|i| order.item(e * 100 + i)).collect::<Vec<_>>();
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, second);
        for visited in [&first, &second] {
            let mut sorted = visited.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        }
        let resumed = Order::new(100, 7, "train");
        assert_eq!(resumed.item(137), second[37]);
        assert_eq!(Order::new(1, 7, "train").item(12), 0);
    }
}
