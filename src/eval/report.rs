//! Results for people: aligned text for a terminal, and `report/index.html`, one file that needs nothing else.

use crate::table::{Table, markdown};
use std::fmt::Write;

/// What a report shows, from top to bottom; parts without content are left out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Heading.
    pub title: String,
    /// A few sentences: what was done and what came out.
    pub summary: String,
    /// Results, the model beside the best constant predictor.
    pub tables: Vec<Table>,
    /// Further parts under headings of their own.
    pub sections: Vec<Section>,
    /// Pictures of scenes.
    pub scenes: Vec<Figure>,
    /// Curves of the training.
    pub curves: Vec<Figure>,
    /// Named facts: seeds, hashes of the data, parameters, program version.
    pub facts: Vec<(String, String)>,
    /// The resolved settings, as TOML.
    pub config: String,
}

/// A part of a report: what it says, shows and lists, in this order.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Heading.
    pub heading: String,
    /// Paragraphs.
    pub text: Vec<String>,
    /// Pictures.
    pub figures: Vec<Figure>,
    /// Tables.
    pub tables: Vec<Table>,
}

/// A picture with a caption.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    /// One line under the picture.
    pub caption: String,
    /// An SVG element of this program's own making: it is put into the page as it stands.
    pub svg: String,
    /// A recording to listen to, relative to the report's folder.
    pub audio: Option<String>,
}

/// Everything the page looks like; colours follow the reader's choice of light or dark.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2126;--dim:#5c6670;--line:#d9dee3;--back:#fff;--band:#f5f7f9}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--dim:#9aa4ae;--line:#3a424a;--back:#15181b;--band:#1d2226}}\
body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:1100px;margin:2.5rem auto;padding:0 1.2rem}\
h1{font-size:1.7rem;margin-bottom:.3rem}h2{font-size:1.2rem;margin-top:2.4rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}\
p{max-width:75ch}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums;margin:.6rem 0}\
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--dim);font-weight:600}\
th:first-child,td:first-child{text-align:left}tr:nth-child(even) td{background:var(--band)}table.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}\
figure{margin:1.2rem 0}figure svg{max-width:100%;height:auto;background:#fff;border:1px solid var(--line);border-radius:6px}\
figcaption{color:var(--dim);font-size:.92rem}.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:1rem}.curves figure{margin:0}.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,480px),1fr));gap:1rem}.pairs figure{margin:0}\
pre{background:var(--band);padding:1rem;overflow-x:auto;font-size:.85rem;border-radius:6px}audio{width:100%;max-width:480px}";

impl Report {
    /// The page: one HTML file without scripts that fetches nothing from the network.
    pub fn to_html(&self) -> String {
        let title = escape(&self.title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\n\
             <h1>{title}</h1>\n"
        );
        self.summary
            .split("\n\n")
            .filter(|p| !p.is_empty())
            .for_each(|p| put(&mut page, format_args!("<p>{}</p>\n", escape(p))));
        if !self.tables.is_empty() {
            page += "<h2>Results</h2>\n";
            self.tables.iter().for_each(|table| page += &html_table(table));
        }
        for section in &self.sections {
            put(&mut page, format_args!("<h2>{}</h2>\n", escape(&section.heading)));
            section.text.iter().for_each(|p| put(&mut page, format_args!("<p>{}</p>\n", escape(p))));
            figures(&mut page, "", if section.figures.len() > 1 { "pairs" } else { "scenes" }, &section.figures);
            section.tables.iter().for_each(|table| page += &html_table(table));
        }
        figures(&mut page, "Scenes", "scenes", &self.scenes);
        figures(&mut page, "Training", "curves", &self.curves);
        if !self.facts.is_empty() {
            page += "<h2>Made from</h2>\n<div class=\"wide\"><table class=\"facts\">\n";
            for (name, value) in &self.facts {
                put(&mut page, format_args!("<tr><td>{}</td><td>{}</td></tr>\n", escape(name), escape(value)));
            }
            page += "</table></div>\n";
        }
        if !self.config.is_empty() {
            put(&mut page, format_args!("<h2>Settings</h2>\n<pre>{}</pre>\n", escape(&self.config)));
        }
        page + "</body></html>\n"
    }

    /// The same as Markdown, without pictures.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n\n", markdown(&self.title));
        let paragraphs = |text: &mut String, all: &mut dyn Iterator<Item = &str>| {
            all.filter(|p| !p.is_empty()).for_each(|p| put(text, format_args!("{}\n\n", markdown(p))));
        };
        paragraphs(&mut text, &mut self.summary.split("\n\n"));
        self.tables.iter().for_each(|table| text += &table.to_markdown());
        for section in &self.sections {
            put(&mut text, format_args!("## {}\n\n", markdown(&section.heading)));
            paragraphs(&mut text, &mut section.text.iter().map(String::as_str));
            section.tables.iter().for_each(|table| text += &table.to_markdown());
        }
        if !self.facts.is_empty() {
            text += "## Made from\n\n";
            self.facts.iter().for_each(|(name, value)| {
                put(&mut text, format_args!("- {}: {}\n", markdown(name), markdown(value)));
            });
        }
        text
    }
}

fn figures(page: &mut String, heading: &str, class: &str, figures: &[Figure]) {
    if figures.is_empty() {
        return;
    }
    if !heading.is_empty() {
        put(page, format_args!("<h2>{heading}</h2>\n"));
    }
    put(page, format_args!("<div class=\"{class}\">\n"));
    for figure in figures {
        put(page, format_args!("<figure>{}", figure.svg.trim_end()));
        if let Some(audio) = &figure.audio {
            put(page, format_args!("<div><audio controls preload=\"none\" src=\"{}\"></audio></div>", escape(audio)));
        }
        put(page, format_args!("<figcaption>{}</figcaption></figure>\n", escape(&figure.caption)));
    }
    page.push_str("</div>\n");
}

fn html_table(table: &Table) -> String {
    let cells = |tag: &str, row: &[String]| -> String {
        row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let mut html = format!("<p>{}</p>\n<div class=\"wide\"><table>\n", escape(&table.caption));
    put(&mut html, format_args!("<tr>{}</tr>\n", cells("th", &table.header)));
    for row in &table.rows {
        put(&mut html, format_args!("<tr>{}</tr>\n", cells("td", row)));
    }
    html + "</table></div>\n"
}

/// A table as aligned text: the first column to the left, the others to the right; control characters (which a
/// terminal would obey) become spaces.
pub fn text_table(table: &Table) -> String {
    let visible = |cell: &String| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let table = Table {
        caption: table.caption.clone(),
        header: table.header.iter().map(visible).collect(),
        rows: table.rows.iter().map(|row| row.iter().map(visible).collect()).collect(),
    };
    let rows = || std::iter::once(&table.header).chain(&table.rows);
    let width = |column: usize| rows().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..table.header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = if table.caption.is_empty() { String::new() } else { format!("{}\n\n", table.caption) };
    for row in rows() {
        let mut line = String::new();
        for (i, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match i {
                0 => put(&mut line, format_args!("{cell:<width$}")),
                _ => put(&mut line, format_args!("  {cell:>width$}")),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn put(text: &mut String, what: std::fmt::Arguments) {
    text.write_fmt(what).expect("a string takes everything");
}

/// Text that stays text in HTML, also inside quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        Table {
            caption: "Scores <all>".into(),
            header: row(["sources", "n", "count"]),
            rows: vec![row(["all", "500", "0.7"]), row(["1", "170", "0.91"])],
        }
    }

    #[test]
    fn columns_of_text_line_up() {
        let text = text_table(&table());
        assert_eq!(text, "Scores <all>\n\nsources    n  count\nall      500    0.7\n1        170   0.91\n");
    }

    #[test]
    fn the_page_needs_nothing_else_and_text_stays_text() {
        let hostile = "<img src=x onerror=alert(1)>\"'&";
        let figure =
            Figure { caption: hostile.into(), svg: "<svg></svg>\n".into(), audio: Some("../scenes/a'.wav".into()) };
        let report = Report {
            title: hostile.into(),
            summary: format!("one\n\n{hostile}"),
            tables: vec![table()],
            sections: vec![Section {
                heading: hostile.into(),
                text: vec![hostile.into()],
                figures: vec![figure.clone()],
                tables: vec![table()],
            }],
            scenes: vec![figure.clone()],
            curves: vec![figure],
            facts: vec![(hostile.into(), hostile.into())],
            config: hostile.into(),
        };
        let page = report.to_html();
        assert!(!page.contains("<img") && !page.contains("<script") && page.contains("&lt;img"), "{page}");
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("url("), "{page}");
        assert!(page.contains("../scenes/a&#39;.wav"));
        // Every element that is opened is closed.
        for tag in [
            "html",
            "head",
            "body",
            "style",
            "title",
            "table",
            "tr",
            "td",
            "th",
            "figure",
            "figcaption",
            "div",
            "pre",
            "p",
            "h1",
            "h2",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert_eq!(page.matches("<h2>").count(), 6);
        let text = report.to_markdown();
        assert!(!text.contains("<img") && text.contains("&lt;img"), "{text}");
        assert!(text.contains("| sources | n | count |\n| --- | ---: | ---: |\n| all | 500 | 0.7 |\n"), "{text}");
        let empty = Report { title: "x".into(), ..Report::default() }.to_html();
        assert!(!empty.contains("<h2>") && !empty.contains("<p>"), "{empty}");
    }
}
