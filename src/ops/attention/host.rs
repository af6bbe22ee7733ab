//! What the forward and backward passes share: where heads lie in memory, and which keys a query sees.
//!
//! Vector lanes run over queries. A block of queries is transposed once (Q^T, 48 columns with AVX-512) and stays
//! in the first-level cache while blocks of keys stream past: S^T = K Q^T, the softmax goes lane by lane without
//! horizontal operations, and O^T += V^T P^T. K and V are read in place, one number at a time, by the broadcasts
//! of the tile kernel.

use super::Sizes;
use crate::device::simd::Simd;
use crate::device::tile::Rows;

/// Where a set of heads lies: number `d` of head `h` at position `n` of clip `b` is element
/// `offset + (b positions + n) row + h width + d` of buffer number `buffer`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub buffer: usize,
    pub offset: usize,
    pub row: usize,
}

/// The layouts of q, k and v.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layouts {
    pub q: Layout,
    pub k: Layout,
    pub v: Layout,
}

impl Layouts {
    /// Three tensors [B,N,H D].
    pub fn apart(s: &Sizes) -> Layouts {
        let layout = |buffer, heads: usize| Layout { buffer, offset: 0, row: heads * s.width };
        Layouts { q: layout(0, s.heads_q), k: layout(1, s.heads_kv), v: layout(2, s.heads_kv) }
    }
    /// One tensor [B,N,3 H D].
    pub fn packed(s: &Sizes) -> Layouts {
        let wide = s.heads_q * s.width;
        let layout = |part: usize| Layout { buffer: 0, offset: part * wide, row: 3 * wide };
        Layouts { q: layout(0), k: layout(1), v: layout(2) }
    }
}

impl Layout {
    /// The numbers of a head from position `first` on, as rows of distance `row`.
    pub fn rows<'a>(
        &self,
        buffers: &'a [&'a [f32]],
        s: &Sizes,
        positions: usize,
        head: (usize, usize),
        first: usize,
    ) -> Rows<'a> {
        Rows { data: &buffers[self.buffer][self.at(s, positions, head, first)..], row: self.row }
    }
    /// The element where number 0 of head `h` at position `first` of clip `b` lies.
    pub fn at(&self, s: &Sizes, positions: usize, (b, h): (usize, usize), first: usize) -> usize {
        self.offset + (b * positions + first) * self.row + h * s.width
    }
}

/// Hides the keys a causal query does not see: S^T [keys, lanes] of keys from `first_key`, queries from
/// `first_query`.
pub(super) fn apply_causal_mask(s: &Sizes, block: &mut [f32], lanes: usize, first_key: usize, first_query: usize) {
    if !s.causal {
        return;
    }
    let position = s.first + first_query as isize;
    for (i, row) in block.chunks_exact_mut(lanes).enumerate() {
        // The query at position p sees key j when j <= p.
        let hidden = ((first_key + i) as isize - position).max(0) as usize;
        row[..hidden.min(lanes)].fill(f32::NEG_INFINITY);
    }
}

/// Lanes for `queries` left queries: whole vectors, at most a block.
pub(super) fn lanes_for<S: Simd>(queries: usize) -> usize {
    queries.next_multiple_of(S::LANES).min(S::VECTORS * S::LANES)
}
