//! What the projector allocates and frees beside the decoder: `projector/mod.rs` and `family/prompt.rs` op by op, and the backward
//! passes in reverse. Everything but the embedded rows is f32.

use super::ledger::Ledger;
use crate::projector::{Kind, ProjectorConfig, readout};

/// Experts of p2.
const EXPERTS: u64 = 6;
/// Rows that a device sums at once for the gradient of a bias or of a norm.
const SLICE_ROWS: u64 = 64;

/// What is heard in the documents of a micro-batch, in rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rows {
    /// Rows that the decoder gets.
    pub made: u64,
    /// Semantic frames.
    pub semantic: u64,
    /// Spatial frames, slots included.
    pub spatial: u64,
}

/// A projector over the rows of a step.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    kind: Kind,
    /// Widths of semantic frames, spatial frames, bottleneck and output.
    semantic: u64,
    spatial: u64,
    bottleneck: u64,
    width: u64,
    /// Columns of what the heads say; 0 without slots.
    columns: u64,
    rows: Rows,
    /// Bytes of an activation of the decoder.
    activation: u64,
    is_device: bool,
}

/// What becomes of the gradient of a layer's input.
#[derive(Clone, Copy, PartialEq)]
enum Input {
    /// Nobody asks for it.
    Untracked,
    /// It is the first.
    First,
    /// It is added to one that is there.
    Added,
}

impl Joining {
    pub fn new(config: &ProjectorConfig, rows: Rows, activation: u64, is_device: bool) -> Joining {
        let columns = if config.slots { readout::width(config.classes) as u64 } else { 0 };
        let [semantic, spatial, bottleneck, width] =
            [config.semantic, config.spatial, config.bottleneck, config.width].map(|n| n as u64);
        Joining { kind: config.kind, semantic, spatial, bottleneck, width, columns, rows, activation, is_device }
    }

    /// What the encoders gave, with the spans of every row: it stays for the whole step.
    pub fn given(&self) -> u64 {
        let Rows { made, semantic, spatial } = self.rows;
        let numbers = semantic * self.semantic + spatial * self.spatial + made * self.columns;
        4 * (numbers + 2 * (2 * made + semantic + spatial))
    }

    fn rows(&self, width: u64) -> u64 {
        4 * self.rows.made * width
    }

    fn has_slots(&self) -> bool {
        self.columns > 0
    }

    /// From the embedded text of `text` bytes, which is there, to the documents with what is heard in them, which replace it;
    /// what is kept stays.
    pub fn forward(&self, l: &mut Ledger, text: u64) {
        let (d, b, w) = (self.semantic, self.bottleneck, self.width);
        l.take(self.rows(d));
        if self.has_slots() {
            // What the heads say, and the sum.
            l.take(2 * self.rows(d));
            l.give(2 * self.rows(d));
        }
        l.take(self.rows(self.spatial) + self.rows(d));
        match self.kind {
            Kind::P0 => {
                l.take(self.rows(2 * d) + 2 * self.rows(b) + self.rows(w));
                l.give(self.rows(2 * d));
            }
            Kind::P1 => {
                l.take(2 * (2 * self.rows(b) + self.rows(w)) + self.rows(w));
                l.give(2 * self.rows(w));
            }
            Kind::P2 => {
                // The sum; of every expert its halves and what it says; all of them side by side, and normed.
                l.take(self.rows(d) + EXPERTS * (2 * self.rows(d / 2) + self.rows(d)) + 2 * self.rows(EXPERTS * d));
                l.take(2 * self.rows(b) + self.rows(w));
                l.give(EXPERTS * self.rows(d));
            }
        }
        let narrow = if self.activation == 4 { 0 } else { self.rows.made * w * self.activation };
        // Where the rows go, and the documents with them.
        l.take(narrow + 4 * self.rows.made + text);
        l.give(narrow + self.rows(w) + text);
    }

    /// From the gradient of the documents, `gradient` bytes that are there, to the gradients of all parameters, which stay.
    pub fn backward(&self, l: &mut Ledger, gradient: u64) {
        let (d, b, w) = (self.semantic, self.bottleneck, self.width);
        let stored = self.rows.made * w * self.activation;
        l.take(stored);
        l.give(gradient + 4 * self.rows.made);
        if self.activation != 4 {
            l.take(self.rows(w));
            l.give(stored);
        }
        match self.kind {
            Kind::P0 => {
                self.mlp(l, [2 * d, b, w], Input::First);
                l.give(self.rows(w) + self.rows(2 * d));
                l.take(self.rows(d));
                if !self.has_slots() {
                    l.give(self.rows(d));
                }
                l.take(self.rows(d));
                l.give(self.rows(2 * d));
            }
            Kind::P1 => {
                self.mlp(l, [d, b, w], Input::First);
                l.give(self.rows(d));
                self.mlp(l, [d, b, w], if self.has_slots() { Input::First } else { Input::Untracked });
                l.give(self.rows(d) + self.rows(w));
            }
            Kind::P2 => self.experts(l),
        }
        // The spatial frames of the rows, and the gradient of P.
        self.linear(l, [self.spatial, d], Input::Untracked);
        l.give(self.rows(self.spatial) + self.rows(d));
        if self.has_slots() {
            l.take(4 * d * self.columns);
            l.give(self.rows(d));
        }
    }

    fn experts(&self, l: &mut Ledger) {
        let (d, b, w) = (self.semantic, self.bottleneck, self.width);
        let all = self.rows(EXPERTS * d);
        self.mlp(l, [EXPERTS * d, b, w], Input::First);
        // The gradient of the output, and the normed rows.
        l.give(self.rows(w) + all);
        l.take(all);
        if self.is_device {
            let slices = self.rows.made.div_ceil(SLICE_ROWS);
            l.pass(2 * self.rows(1) + 8 * slices * EXPERTS * d);
        }
        l.take(2 * 4 * EXPERTS * d);
        l.give(2 * all);
        l.take(all);
        l.give(all);
        for expert in (0..EXPERTS).rev() {
            let input = match expert {
                0 if !self.has_slots() => Input::Untracked,
                0 | 4 | 5 => Input::First,
                _ => Input::Added,
            };
            self.mlp(l, [d, d / 2, d], input);
            l.give(self.rows(d));
            // S, P, which four see, and their sum.
            if matches!(expert, 0 | 1 | 5) {
                l.give(self.rows(d));
            }
        }
        // The gradient of the sum goes on to P, and to S where somebody asks.
        l.give(self.rows(d));
    }

    /// The backward pass of a linear layer, GELU and a linear layer. The gradient of the output and the input stay.
    fn mlp(&self, l: &mut Ledger, [inputs, hidden, outputs]: [u64; 3], input: Input) {
        self.linear(l, [hidden, outputs], Input::First);
        // What GELU gave, then what it was given and the gradient of what it gave.
        l.give(self.rows(hidden));
        l.take(self.rows(hidden));
        l.give(2 * self.rows(hidden));
        self.linear(l, [inputs, hidden], input);
        l.give(self.rows(hidden));
    }

    /// The backward pass of a linear layer: gradients of the input, where it is asked for, of weight and bias.
    fn linear(&self, l: &mut Ledger, [inputs, outputs]: [u64; 2], input: Input) {
        match input {
            Input::Untracked => {}
            Input::First => l.take(self.rows(inputs)),
            Input::Added => l.pass(self.rows(inputs)),
        }
        l.take(4 * inputs * outputs + 4 * outputs);
        if self.is_device {
            l.pass(4 * self.rows.made.div_ceil(SLICE_ROWS) * outputs);
        }
    }
}
