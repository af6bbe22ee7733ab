//! `README.md` of a run: what was trained on what, and what came out.

use crate::table::{Table, markdown};

/// The card of a run.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// Heading.
    pub title: String,
    /// What the run is, in a few sentences.
    pub summary: String,
    /// Named facts: seeds, hashes of the data, parameters, program version.
    pub facts: Vec<(String, String)>,
    /// Results.
    pub tables: Vec<Table>,
}

impl Card {
    /// The card as Markdown; `plots` are file names in `plots/`.
    pub(super) fn to_markdown(&self, plots: &[String]) -> String {
        let mut out = format!("# {}\n\n{}\n", self.title, self.summary);
        if !self.facts.is_empty() {
            out += "\n## Made from\n\n| | |\n|---|---|\n";
            for (name, value) in &self.facts {
                out += &format!("| {} | {} |\n", markdown(name), markdown(value));
            }
        }
        if !self.tables.is_empty() {
            out += "\n## Results\n";
        }
        out.extend(self.tables.iter().map(|table| format!("\n{}", table.to_markdown().trim_end_matches('\n')) + "\n"));
        if !plots.is_empty() {
            out += "\n## Curves\n\n";
            out.extend(plots.iter().map(|name| format!("![{}](plots/{name})\n", name.trim_end_matches(".svg"))));
        }
        out += "\nSettings are in `config.toml`, all numbers in `metrics.jsonl`, the model in `checkpoints/`.\n";
        out
    }
}
