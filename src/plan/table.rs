//! The plan in words: one line per part.

use super::{Component, Plan};
use std::fmt::Write as _;

/// Bytes in gibibytes.
pub fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

/// A line for a part.
pub fn line(name: &str, bytes: u64) -> String {
    format!("{name:<44}{bytes:>16} bytes {:>10.3} GiB", gib(bytes))
}

impl Plan {
    /// Every part with its bytes, and their sum.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for Component { name, bytes } in self.components.iter().filter(|c| c.bytes > 0) {
            writeln!(text, "{}", line(name, *bytes)).expect("a text grows");
        }
        text + &line("together, at the highest point", self.total)
    }
}
