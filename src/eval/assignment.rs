//! The assignment problem: the pairs of rows and columns with the smallest sum of costs.
//!
//! Shortest augmenting paths with potentials (Jonker and Volgenant 1987, in the form of Crouse 2016), exact for any
//! sizes, O(rows² columns). Of equally cheap assignments it takes the one that SciPy's `linear_sum_assignment` takes,
//! because what is counted over the pairs (distances, classes) may differ between them.

/// The cheapest min(rows, columns) pairs (row, column), ordered by row. Panics when a cost is not finite.
#[track_caller]
pub fn assign(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    let narrow = rows <= columns;
    let (from, to) = if narrow { (rows, columns) } else { (columns, rows) };
    let mut costs = Vec::with_capacity(from * to);
    for i in 0..from {
        costs.extend((0..to).map(|j| if narrow { cost(i, j) } else { cost(j, i) }));
    }
    assert!(costs.iter().all(|c| c.is_finite()), "assignment: costs are finite");
    let mut search = Search {
        to,
        costs,
        from_potential: vec![0.0; from],
        to_potential: vec![0.0; to],
        to_of: vec![None; from],
        from_of: vec![None; to],
    };
    (0..from).for_each(|i| search.place(i));
    let mut pairs: Vec<(usize, usize)> = (0..from)
        .map(|i| {
            let j = search.to_of[i].expect("every one was placed");
            if narrow { (i, j) } else { (j, i) }
        })
        .collect();
    pairs.sort_unstable();
    pairs
}

/// An assignment of the shorter side ("from") to the longer one ("to") that grows by one pair at a time.
struct Search {
    to: usize,
    /// [from, to]
    costs: Vec<f64>,
    from_potential: Vec<f64>,
    to_potential: Vec<f64>,
    to_of: Vec<Option<usize>>,
    from_of: Vec<Option<usize>>,
}

impl Search {
    /// Places `start` along the cheapest path that alternates between free and taken pairs and ends at a free column.
    fn place(&mut self, start: usize) {
        let mut length = vec![f64::INFINITY; self.to];
        let mut came_from = vec![start; self.to];
        // Counting down, and a free column before a taken one, decides between equals.
        let mut open: Vec<usize> = (0..self.to).rev().collect();
        let (mut visited, mut closed) = (vec![start], Vec::new());
        let (mut at, mut reached) = (start, 0.0);
        let sink = loop {
            let mut nearest = 0;
            let mut shortest = f64::INFINITY;
            for (place, &j) in open.iter().enumerate() {
                let through = reached + self.costs[at * self.to + j] - self.from_potential[at] - self.to_potential[j];
                if through < length[j] {
                    (length[j], came_from[j]) = (through, at);
                }
                if length[j] < shortest || length[j] == shortest && self.from_of[j].is_none() {
                    (shortest, nearest) = (length[j], place);
                }
            }
            reached = shortest;
            let j = open.swap_remove(nearest);
            closed.push(j);
            match self.from_of[j] {
                None => break j,
                Some(next) => at = next,
            }
            visited.push(at);
        };
        self.from_potential[start] += reached;
        for &i in &visited[1..] {
            self.from_potential[i] += reached - length[self.to_of[i].expect("it was reached through its column")];
        }
        closed.iter().for_each(|&j| self.to_potential[j] -= reached - length[j]);
        self.turn(start, sink, &came_from);
    }

    /// Swaps taken and free pairs along the path from `sink` back to `start`.
    fn turn(&mut self, start: usize, sink: usize, came_from: &[usize]) {
        let mut j = sink;
        loop {
            let i = came_from[j];
            self.from_of[j] = Some(i);
            let before = self.to_of[i].replace(j);
            if i == start {
                return;
            }
            j = before.expect("only the start had no column");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn total(pairs: &[(usize, usize)], cost: &[Vec<f64>]) -> f64 {
        pairs.iter().map(|&(i, j)| cost[i][j]).sum()
    }

    /// The smallest sum over every injection of the shorter side, written as nested choices.
    fn cheapest(cost: &[Vec<f64>], columns: usize) -> f64 {
        fn choose(cost: &[Vec<f64>], row: usize, used: &mut Vec<bool>, left_out: usize) -> f64 {
            if row == cost.len() {
                return 0.0;
            }
            let mut best = f64::INFINITY;
            if left_out > 0 {
                best = choose(cost, row + 1, used, left_out - 1);
            }
            for column in 0..used.len() {
                if !used[column] {
                    used[column] = true;
                    best = best.min(cost[row][column] + choose(cost, row + 1, used, left_out));
                    used[column] = false;
                }
            }
            best
        }
        choose(cost, 0, &mut vec![false; columns], cost.len().saturating_sub(columns))
    }

    #[test]
    fn ten_thousand_random_cases_agree_with_every_permutation() {
        for case in 0..10_000 {
            let mut rng = Rng::new(1, "assignment", case);
            let (rows, columns) = (1 + rng.below(3), 1 + rng.below(4));
            // A third of the cases has many ties.
            let draw = |rng: &mut Rng| if case % 3 == 0 { rng.below(4) as f64 } else { rng.range(0.0, 180.0) };
            let cost: Vec<Vec<f64>> = (0..rows).map(|_| (0..columns).map(|_| draw(&mut rng)).collect()).collect();
            let pairs = assign(rows, columns, |i, j| cost[i][j]);
            assert_eq!(pairs.len(), rows.min(columns));
            assert!((total(&pairs, &cost) - cheapest(&cost, columns)).abs() < 1e-9, "case {case}: {pairs:?} {cost:?}");
            let distinct = |mut side: Vec<usize>| {
                let n = side.len();
                side.sort_unstable();
                side.dedup();
                side.len() == n
            };
            assert!(distinct(pairs.iter().map(|p| p.0).collect()) && distinct(pairs.iter().map(|p| p.1).collect()));
            assert!(pairs.is_sorted());
        }
    }

    #[test]
    fn nothing_is_assigned_to_nothing_and_equals_stay_in_order() {
        assert!(assign(0, 3, |_, _| 1.0).is_empty() && assign(3, 0, |_, _| 1.0).is_empty());
        assert_eq!(assign(3, 4, |_, _| 2.0), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(assign(4, 2, |_, _| 2.0), [(0, 0), (1, 1)]);
    }

    #[test]
    fn a_larger_case_is_at_least_as_cheap_as_any_swap() {
        let mut rng = Rng::new(2, "assignment", 0);
        let cost: Vec<Vec<f64>> = (0..40).map(|_| (0..60).map(|_| rng.uniform()).collect()).collect();
        let pairs = assign(40, 60, |i, j| cost[i][j]);
        let best = total(&pairs, &cost);
        for a in 0..40 {
            for b in 0..40 {
                let mut swapped = pairs.clone();
                (swapped[a].1, swapped[b].1) = (pairs[b].1, pairs[a].1);
                assert!(total(&swapped, &cost) >= best - 1e-12);
            }
        }
    }
}
