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

/// Draws from several sets in fixed proportions: in every block of 100 positions each set has its exact quota.
pub struct Mixture {
    quotas: Vec<usize>,
    orders: Vec<Order>,
    seed: u64,
}

/// Positions in one block of a [`Mixture`].
const BLOCK: u64 = 100;

impl Mixture {
    /// `sets` are (number of items, weight) pairs; weights are rounded to hundredths of their sum. A set
    /// without items or weight is never drawn. Panics when nothing can be drawn.
    #[track_caller]
    pub fn new(sets: &[(usize, f64)], seed: u64) -> Self {
        let weight = |&(len, w): &(usize, f64)| if len > 0 && w > 0.0 { w } else { 0.0 };
        let total: f64 = sets.iter().map(weight).sum();
        assert!(total > 0.0 && total.is_finite(), "a mixture needs a set with items and weight");
        let shares: Vec<f64> = sets.iter().map(|s| weight(s) / total * BLOCK as f64).collect();
        let mut quotas: Vec<usize> = shares.iter().map(|s| s.floor() as usize).collect();
        // Largest remainders first; a tie goes to the earlier set.
        let mut by_remainder: Vec<usize> = (0..sets.len()).filter(|&i| shares[i] > 0.0).collect();
        by_remainder.sort_by(|&a, &b| shares[b].fract().total_cmp(&shares[a].fract()).then(a.cmp(&b)));
        let missing = BLOCK as usize - quotas.iter().sum::<usize>();
        for i in 0..missing {
            quotas[by_remainder[i % by_remainder.len()]] += 1;
        }
        let order = |(i, &(len, _)): (usize, &(usize, f64))| Order::new(len.max(1), seed, &format!("mixture {i}"));
        Mixture { quotas, orders: sets.iter().enumerate().map(order).collect(), seed }
    }

    /// (set, item in it) at `position`.
    pub fn item(&self, position: u64) -> (usize, usize) {
        let (block, at) = (position / BLOCK, (position % BLOCK) as usize);
        let mut pattern: Vec<usize> =
            self.quotas.iter().enumerate().flat_map(|(set, &n)| std::iter::repeat_n(set, n)).collect();
        Rng::new(self.seed, "mixture", block).shuffle(&mut pattern);
        let set = pattern[at];
        let earlier = pattern[..at].iter().filter(|&&s| s == set).count();
        (set, self.orders[set].item(block * self.quotas[set] as u64 + earlier as u64))
    }
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

    #[test]
    fn a_mixture_keeps_its_proportions_and_visits_each_set_in_full() {
        let mixture = Mixture::new(&[(70, 7.0), (10, 3.0), (5, 0.0)], 3);
        let drawn: Vec<_> = (0..1000).map(|p| mixture.item(p)).collect();
        assert_eq!(drawn.iter().filter(|d| d.0 == 0).count(), 700);
        assert_eq!(drawn.iter().filter(|d| d.0 == 2).count(), 0);
        for item in 0..70 {
            assert_eq!(drawn.iter().filter(|&&d| d == (0, item)).count(), 10);
        }
        for item in 0..10 {
            assert_eq!(drawn.iter().filter(|&&d| d == (1, item)).count(), 30);
        }
        let resumed = Mixture::new(&[(70, 7.0), (10, 3.0), (5, 0.0)], 3);
        assert_eq!(resumed.item(777), drawn[777]);
    }
}
