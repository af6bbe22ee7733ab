//! Memory that blocks gave back, kept for the next ones.
//!
//! A training step asks for thousands of blocks, of the same sizes in every step, and each call of the driver's pool
//! costs the host about a microsecond. All work goes into one stream in the order of the calls, so memory that one
//! block gave back may be handed to the next at once: whatever still uses it runs before.
//!
//! Sizes are rounded up by at most a sixteenth, and a block may get a piece that is up to an eighth too large. At most
//! half of the GPU's memory lies here; beyond that the largest pieces go back to the pool, because they are few calls
//! and many bytes. When the pool has nothing left all of it goes back, and the pool is asked again.

use std::collections::BTreeMap;

/// What the sizes of small blocks are multiples of.
const GRAIN_BYTES: usize = 512;

/// What a block of `bytes` bytes occupies.
pub(super) fn occupied(bytes: usize) -> usize {
    let bytes = bytes.max(1);
    bytes.next_multiple_of((1 << bytes.ilog2() >> 4).max(GRAIN_BYTES))
}

/// A piece of memory: its address and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) address: u64,
    pub(super) bytes: usize,
}

/// Pieces without an owner, by size.
#[derive(Default)]
pub(super) struct Pieces {
    by_size: BTreeMap<usize, Vec<u64>>,
    bytes: usize,
}

impl Pieces {
    /// The smallest piece of at least `bytes` bytes that is at most an eighth larger.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Piece> {
        let size = *self.by_size.range(bytes..=bytes + bytes / 8).next()?.0;
        Some(self.pop(size))
    }

    /// The largest piece.
    pub(super) fn take_largest(&mut self) -> Option<Piece> {
        let size = *self.by_size.last_key_value()?.0;
        Some(self.pop(size))
    }

    fn pop(&mut self, bytes: usize) -> Piece {
        let list = self.by_size.get_mut(&bytes).expect("the size was found");
        let address = list.pop().expect("empty lists are removed");
        if list.is_empty() {
            self.by_size.remove(&bytes);
        }
        self.bytes -= bytes;
        Piece { address, bytes }
    }

    /// Keeps a piece.
    pub(super) fn put(&mut self, piece: Piece) {
        self.by_size.entry(piece.bytes).or_default().push(piece.address);
        self.bytes += piece.bytes;
    }

    /// Bytes of all pieces.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The free memory of a GPU, and how much is in use.
pub(super) struct FreeList {
    pub(super) pieces: Pieces,
    limit_bytes: usize,
    used: u64,
    peak: u64,
}

impl FreeList {
    /// For a GPU with `total_bytes` bytes of memory.
    pub(super) fn new(total_bytes: u64) -> FreeList {
        FreeList { pieces: Pieces::default(), limit_bytes: (total_bytes / 2) as usize, used: 0, peak: 0 }
    }

    /// Counts a piece that is handed out.
    pub(super) fn count(&mut self, piece: Piece) {
        self.used += piece.bytes as u64;
        self.peak = self.peak.max(self.used);
    }

    /// Takes a piece back; what is now too much is returned, for the pool.
    pub(super) fn put(&mut self, piece: Piece) -> Vec<Piece> {
        self.used -= piece.bytes as u64;
        self.pieces.put(piece);
        let mut excess = Vec::new();
        while self.pieces.bytes() > self.limit_bytes {
            excess.extend(self.pieces.take_largest());
        }
        excess
    }

    /// Bytes that blocks and graphs hold, and the most that they have held.
    pub(super) fn used_and_peak(&self) -> [u64; 2] {
        [self.used, self.peak]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_by_little() {
        assert_eq!([0, 1, 512, 513, 8192, 8193].map(occupied), [512, 512, 512, 1024, 8192, 8704]);
        assert_eq!(occupied((1 << 20) + 1), (1 << 20) + (1 << 16));
        for bytes in (9000..1_000_000).step_by(977) {
            assert!((bytes..=bytes + bytes / 16 + 1).contains(&occupied(bytes)), "{bytes}");
            assert_eq!(occupied(occupied(bytes)), occupied(bytes), "{bytes}");
        }
    }

    #[test]
    fn the_nearest_piece_is_taken_and_too_much_goes_back() {
        let mut list = FreeList::new(4000);
        let piece = |address, bytes| Piece { address, bytes };
        let all = [piece(1, 512), piece(2, 1024), piece(3, 512)];
        all.iter().for_each(|p| list.count(*p));
        assert_eq!(list.put(all[0]), []);
        assert_eq!(list.pieces.take(449), None, "more than an eighth larger");
        assert_eq!(list.pieces.take(456), Some(all[0]));
        list.count(all[0]);
        assert_eq!((list.put(all[1]), list.put(all[0])), (vec![], vec![]));
        assert_eq!(list.put(all[2]), [all[1]], "2048 bytes are more than half of 4000: the largest goes");
        assert_eq!((list.pieces.bytes(), list.used_and_peak()), (1024, [0, 2048]));
    }
}
