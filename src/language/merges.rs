//! Byte-pair merging: the table of merges and its application to one word.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Merges by their left token: rows of (right, rank, result), each sorted by the right token.
pub struct MergeTable {
    /// Where the rows of a left token start; one more than there are tokens.
    starts: Vec<u32>,
    rows: Vec<(u32, u32, u32)>,
}

impl MergeTable {
    /// `merges` are (left, right, result) in the order of their ranks. `Err` names the rank of a pair that stands twice.
    pub fn new(merges: &[(u32, u32, u32)]) -> Result<MergeTable, usize> {
        let tokens = merges.iter().map(|m| m.0 as usize + 1).max().unwrap_or(0);
        let mut order: Vec<usize> = (0..merges.len()).collect();
        order.sort_by_key(|&i| (merges[i].0, merges[i].1, i));
        let twice = order.windows(2).find(|w| (merges[w[0]].0, merges[w[0]].1) == (merges[w[1]].0, merges[w[1]].1));
        if let Some(pair) = twice {
            return Err(pair[1]);
        }
        let mut starts = vec![0u32; tokens + 1];
        merges.iter().for_each(|m| starts[m.0 as usize + 1] += 1);
        (0..tokens).for_each(|t| starts[t + 1] += starts[t]);
        let rows = order.iter().map(|&i| (merges[i].1, i as u32, merges[i].2)).collect();
        Ok(MergeTable { starts, rows })
    }

    /// Rank and result of a merge.
    fn get(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let (from, to) = (self.starts.get(left as usize)?, self.starts.get(left as usize + 1)?);
        let rows = &self.rows[*from as usize..*to as usize];
        let at = rows.binary_search_by_key(&right, |row| row.0).ok()?;
        Some((rows[at].1, rows[at].2))
    }
}

const NONE: u32 = u32::MAX;

/// A token of a word while it is merged; `bytes` is 0 once its left neighbour has taken it in.
#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    before: u32,
    after: u32,
    bytes: u32,
}

/// Merges words, one after the other, in memory that is kept.
#[derive(Default)]
pub struct Merger {
    symbols: Vec<Symbol>,
    /// Rank, position and result of what may be merged. Entries are not removed when they no longer apply.
    heap: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

impl Merger {
    /// The tokens of a word, given as one id per byte, with the bytes that each takes: lowest rank first, then leftmost.
    pub fn merge(&mut self, table: &MergeTable, ids: impl Iterator<Item = u32>) -> impl Iterator<Item = (u32, usize)> {
        let (symbols, heap) = (&mut self.symbols, &mut self.heap);
        symbols.clear();
        symbols.extend(ids.zip(0u32..).map(|(id, i)| Symbol { id, before: i.wrapping_sub(1), after: i + 1, bytes: 1 }));
        if let Some(last) = symbols.last_mut() {
            last.after = NONE;
        }
        heap.clear();
        heap.extend((1..symbols.len()).filter_map(|i| candidate(table, symbols, i as u32 - 1, i as u32)));
        while let Some(Reverse((_, at, result))) = heap.pop() {
            let left = symbols[at as usize];
            if left.bytes == 0 || left.after == NONE {
                continue;
            }
            let right = symbols[left.after as usize];
            // The pair may have changed since. As in Hugging Face's tokenizers, a pair that gives the same token is as good.
            if table.get(left.id, right.id).is_none_or(|(_, new)| new != result) {
                continue;
            }
            symbols[left.after as usize].bytes = 0;
            symbols[at as usize] =
                Symbol { id: result, before: left.before, after: right.after, bytes: left.bytes + right.bytes };
            if right.after != NONE {
                symbols[right.after as usize].before = at;
                heap.extend(candidate(table, symbols, at, right.after));
            }
            if left.before != NONE {
                heap.extend(candidate(table, symbols, left.before, at));
            }
        }
        symbols.iter().filter(|s| s.bytes > 0).map(|s| (s.id, s.bytes as usize))
    }
}

fn candidate(table: &MergeTable, symbols: &[Symbol], left: u32, right: u32) -> Option<Reverse<(u32, u32, u32)>> {
    let (rank, result) = table.get(symbols[left as usize].id, symbols[right as usize].id)?;
    Some(Reverse((rank, left, result)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_rank_first_and_leftmost_among_equals() {
        // a = 0, b = 1; ranks: ab -> 2, aa -> 3, (ab)(ab) -> 4.
        let table = MergeTable::new(&[(0, 1, 2), (0, 0, 3), (2, 2, 4)]).unwrap();
        let mut merger = Merger::default();
        let mut merged = |ids: &[u32]| merger.merge(&table, ids.iter().copied()).collect::<Vec<_>>();
        // aaab: "ab" goes first although "aa" stands further left.
        assert_eq!(merged(&[0, 0, 0, 1]), [(3, 2), (2, 2)]);
        assert_eq!(merged(&[0, 0, 0]), [(3, 2), (0, 1)]);
        assert_eq!(merged(&[0, 1, 0, 1, 0, 1]), [(4, 4), (2, 2)]);
        assert_eq!(merged(&[]), []);
        assert_eq!(merged(&[1]), [(1, 1)]);
        assert_eq!(MergeTable::new(&[(0, 1, 2), (1, 1, 3), (0, 1, 4)]).err(), Some(2));
    }
}
