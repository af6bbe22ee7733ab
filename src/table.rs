//! Tables of results, and text that stays text in Markdown.

/// A table of results.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Sentence above the table.
    pub caption: String,
    /// Column names.
    pub header: Vec<String>,
    /// Rows of cells.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The table in Markdown, its caption above it and an empty line below; columns but the first are aligned to the right.
    pub fn to_markdown(&self) -> String {
        let row = |cells: &[String]| -> String {
            format!("| {} |\n", cells.iter().map(|c| markdown(c)).collect::<Vec<_>>().join(" | "))
        };
        let mut text = if self.caption.is_empty() { String::new() } else { format!("{}\n\n", markdown(&self.caption)) };
        text += &row(&self.header);
        let rule: Vec<&str> = (0..self.header.len()).map(|i| if i == 0 { "---" } else { "---:" }).collect();
        text += &format!("| {} |\n", rule.join(" | "));
        self.rows.iter().for_each(|cells| text += &row(cells));
        text + "\n"
    }
}

/// Text that stays text in Markdown, also within a table.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '[' | ']' | '|' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_and_captions_cannot_break_out() {
        let cells = |all: [&str; 2]| all.map(String::from).to_vec();
        let table = Table {
            caption: "50 % <b>".into(),
            header: cells(["who", "what|why"]),
            rows: vec![cells(["*a*", "b\nc"]), cells(["[x](y)", "`"])],
        };
        let expected = "50 % &lt;b&gt;\n\n| who | what\\|why |\n| --- | ---: |\n| \\*a\\* | b c |\n\
                        | \\[x\\](y) | \\` |\n\n";
        assert_eq!(table.to_markdown(), expected);
    }
}
