//! What a layer of the decoder allocates and frees, op by op: `language/decoder/layer.rs` and the backward passes of its ops in
//! reverse, without a number computed.

use super::ledger::Ledger;

/// Where the linear layers stand in `DecoderConfig::linears`.
const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const O: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

/// A linear layer: outputs, inputs and the rank of its adapter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub outputs: u64,
    pub inputs: u64,
    pub rank: Option<u64>,
}

/// A layer over the tokens of a step.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub linears: [Linear; 7],
    pub heads: u64,
    /// Tokens, and rows whose output is asked for; the same where the layer has no tail.
    pub tokens: u64,
    pub rows: u64,
    pub has_tail: bool,
    /// Whether a gradient flows to its input.
    pub tracks_input: bool,
    pub has_magnitudes: bool,
    /// Bytes of an activation.
    pub width: u64,
    /// Bytes of the weight's element where products need it in the type of the activations first; 0: as it is.
    pub widened: u64,
    /// What the tasks of attention that run side by side gather.
    pub gathered: u64,
    /// Whether attention computes the heads apart and puts them together.
    pub by_tasks: bool,
}

impl Layer {
    fn hidden(&self, rows: u64) -> u64 {
        rows * self.linears[Q].inputs * self.width
    }
    fn out(&self, which: usize, rows: u64) -> u64 {
        rows * self.linears[which].outputs * self.width
    }
    fn low(&self, which: usize, rows: u64) -> u64 {
        self.linears[which].rank.unwrap_or(0) * rows * self.width
    }
    /// Row sums of norms and of attention.
    fn sums(&self, rows: u64) -> u64 {
        4 * rows
    }
    fn lse(&self) -> u64 {
        4 * self.rows * self.heads
    }
    fn rows_of(&self, which: usize) -> u64 {
        if which == K || which == V { self.tokens } else { self.rows }
    }
    /// Whether a linear layer keeps its output before the lengths of its rows are applied.
    fn is_dora(&self, which: usize) -> bool {
        self.has_magnitudes && self.linears[which].rank.is_some()
    }

    /// The output of a linear layer, with what it keeps when it is recorded.
    fn linear(&self, l: &mut Ledger, which: usize, records: bool) {
        let rows = self.rows_of(which);
        l.take(self.out(which, rows));
        l.pass(self.linears[which].outputs * self.linears[which].inputs * self.widened);
        l.take(self.low(which, rows));
        l.pass(self.low(which, rows));
        if self.is_dora(which) {
            // The lengths of the rows are those of the weight in f32.
            l.pass(self.linears[which].outputs * self.linears[which].inputs * self.widened);
            l.take(self.out(which, rows));
        }
        if !records {
            l.give(self.low(which, rows));
            if self.is_dora(which) {
                l.give(self.out(which, rows));
            }
        }
    }

    /// The forward pass: from the input, which is there, to the output, which is there beside it afterwards, and what is kept.
    pub fn forward(&self, l: &mut Ledger, records: bool, recomputes_units: bool) {
        let (t, m) = (self.tokens, self.rows);
        l.take(self.hidden(t) + self.sums(t));
        self.linear(l, K, records);
        self.linear(l, V, records);
        if self.has_tail {
            l.take(2 * self.hidden(m) + self.sums(m));
        }
        self.linear(l, Q, records);
        // The normed rows; those of all tokens stay to the end where there is a tail.
        l.give(self.hidden(m));
        self.attention(l);
        if !records {
            l.give(self.out(Q, m) + self.out(K, t) + self.out(V, t) + self.lse());
        }
        self.linear(l, O, records);
        l.take(self.hidden(m));
        self.units(l, records, recomputes_units);
        l.take(self.hidden(m));
        // The outputs of o and of down.
        l.give(2 * self.hidden(m));
        if self.has_tail {
            l.give(self.hidden(t));
        }
        let is_kept = records && self.tracks_input;
        if !is_kept {
            l.give(self.sums(t));
        }
        if !records {
            // The attention's output, the sum after it, and what the tail took.
            l.give(self.out(Q, m) + self.hidden(m));
            if self.has_tail {
                l.give(self.hidden(m) + self.sums(m));
            }
        } else if self.has_tail && !self.tracks_input {
            l.give(self.sums(m));
        }
    }

    /// From q, k, v to the turned q and k, v, the output and its sums.
    fn attention(&self, l: &mut Ledger) {
        let (t, m) = (self.tokens, self.rows);
        l.take(self.out(Q, m) + self.out(K, t));
        if self.by_tasks {
            l.take(self.out(Q, m) + self.lse());
            l.pass(self.gathered);
            l.take(self.out(Q, m));
            l.give(self.out(Q, m));
            l.take(self.lse());
            l.give(self.lse());
        } else {
            l.take(self.out(Q, m) + self.lse());
        }
        // q and k as they were before they were turned.
        l.give(self.out(Q, m) + self.out(K, t));
    }

    /// The gated units, from the sum after attention to the output of down.
    fn units(&self, l: &mut Ledger, records: bool, recomputes: bool) {
        let m = self.rows;
        l.take(self.hidden(m) + self.sums(m));
        self.linear(l, GATE, records);
        self.linear(l, UP, records);
        l.give(self.hidden(m));
        l.take(self.out(GATE, m));
        self.linear(l, DOWN, records);
        l.give(self.out(GATE, m));
        if !records || recomputes {
            l.give(2 * self.out(GATE, m));
        }
        if !records {
            l.give(self.sums(m));
        }
    }

    /// The backward pass of a layer that was recorded: from the gradient of its output, which is there, to that of its input,
    /// which replaces it. What was kept is freed, its input not. The gradients of its adapters stay. `copies` where somebody
    /// else holds the gradient of the output, which then is not added to in place.
    pub fn backward(&self, l: &mut Ledger, recomputes_units: bool, copies: bool) {
        let (t, m) = (self.tokens, self.rows);
        self.units_backward(l, recomputes_units, copies);
        self.linear_backward(l, O, 0, true);
        // Gradients of q, k and v, and before they are put together those of every head.
        let gradients = self.out(Q, m) + 2 * self.out(K, t);
        l.take(gradients);
        if self.by_tasks {
            l.take(gradients);
            l.pass(self.gathered);
            l.give(gradients);
        }
        // Of the output, its sums, and q, k, v themselves.
        l.give(self.out(Q, m) + self.lse() + gradients);
        l.give(self.out(Q, m));
        l.pass(self.out(K, t));
        l.pass(self.out(Q, m));
        self.linear_backward(l, Q, self.hidden(m), self.tracks_input);
        l.give(self.out(Q, m));
        if self.has_tail {
            self.tail_backward(l);
        }
        let is_second = !self.has_tail && self.tracks_input;
        self.inward(l, V, is_second);
        self.inward(l, K, self.tracks_input);
        if self.tracks_input {
            l.pass(self.hidden(t));
            l.give(self.hidden(t) + self.sums(t));
        } else {
            // Nobody asks for the gradient of the input.
            l.give(self.hidden(m));
        }
    }

    /// The backward pass of k or v, whose gradient is there; `adds` where the gradient of the normed rows is there already.
    fn inward(&self, l: &mut Ledger, which: usize, adds: bool) {
        self.linear_backward(l, which, self.hidden(self.tokens), self.tracks_input);
        if adds {
            l.give(self.hidden(self.tokens));
        }
        l.give(self.out(which, self.tokens));
    }

    /// The backward pass of the norm of the last rows, and of taking them from all.
    fn tail_backward(&self, l: &mut Ledger) {
        let (t, m) = (self.tokens, self.rows);
        if self.tracks_input {
            l.pass(self.hidden(m));
            l.give(self.hidden(m) + self.sums(m));
            l.take(self.hidden(t));
            l.give(self.hidden(m));
        }
        // The rows themselves.
        l.give(self.hidden(m));
    }

    /// From the gradient of the layer's output, which stays, to that of the sum after attention, which is added to it.
    fn units_backward(&self, l: &mut Ledger, recomputes: bool, copies: bool) {
        let m = self.rows;
        let wide = self.out(GATE, m);
        let again = |l: &mut Ledger| {
            l.take(self.hidden(m));
            l.pass(self.sums(m));
            self.linear(l, GATE, false);
            self.linear(l, UP, false);
            l.give(self.hidden(m));
        };
        let (needs_product, needs_again) = (self.linears[DOWN].rank.is_some(), recomputes);
        if needs_again && needs_product {
            again(l);
        }
        self.linear_backward(l, DOWN, wide, true);
        if needs_again && !needs_product {
            again(l);
        }
        l.take(2 * wide);
        // Gate, up, and the gradient of their product.
        l.give(3 * wide);
        self.linear_backward(l, UP, self.hidden(m), true);
        l.give(wide);
        self.linear_backward(l, GATE, self.hidden(m), true);
        l.give(wide + self.hidden(m));
        l.take(self.hidden(m));
        if copies {
            l.take(self.hidden(m));
        }
        l.give(self.hidden(m));
        // The gradient of the normed rows, and what the norm kept: its sums and the sum after attention.
        l.give(2 * self.hidden(m) + self.sums(m));
    }

    /// The backward pass of a linear layer: the gradient of its input is there afterwards if it `tracks`, those of its adapter
    /// too; `again` are the bytes of its input where that is computed again.
    fn linear_backward(&self, l: &mut Ledger, which: usize, again: u64, tracks: bool) {
        let (Linear { outputs, inputs, rank }, rows) = (self.linears[which], self.rows_of(which));
        let low = self.low(which, rows);
        let dora = if self.is_dora(which) { self.out(which, rows) } else { 0 };
        l.take(dora);
        let again = if rank.is_some() { again } else { 0 };
        l.take(again);
        if tracks {
            l.take(rows * inputs * self.width);
            l.pass(outputs * inputs * self.widened);
        }
        if let Some(rank) = rank {
            l.take(low);
            l.pass(low);
            l.take(4 * rank * inputs);
            l.pass(low);
            l.take(4 * rank * outputs);
            l.pass(low + 4 * rank * outputs);
            if dora > 0 {
                l.take(4 * outputs);
            }
            // What is multiplied by A and B, and the product with A that was kept.
            l.give(2 * low);
        }
        l.give(again);
        // The gradient before the lengths of the rows, and the output that was kept for it.
        l.give(2 * dora);
    }
}
