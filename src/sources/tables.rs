//! Tables (CSV, TSV) that lie beside recordings, read row by row: those of large corpora have millions of rows.

use crate::error::{Error, Result};
use crate::files;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Longest line of a table in bytes, a guard against a file that is no table.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Most lines that one quoted cell goes over.
const MAX_CELL_LINES: usize = 1000;

/// Records of a table, one after the other. Cells may be quoted (RFC 4180) unless tabs separate them.
pub struct Records<R> {
    lines: R,
    separator: u8,
    /// Number of the line that was read last.
    pub line: usize,
}

impl Records<BufReader<std::fs::File>> {
    /// Opens a table. The separator is a tab in a `.tsv`; else what the first line has: a comma, a tab (DCASE's
    /// `meta.csv`), or a semicolon.
    ///
    /// # Errors
    /// `Missing` or `Io` naming the file; `Data` when it is no regular file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut lines = BufReader::with_capacity(1 << 16, files::open_regular(path)?);
        let start = lines.fill_buf().map_err(|e| Error::io("read", path, &e))?;
        let mark: &[u8] = if start.starts_with(b"\xef\xbb\xbf") { b"\xef\xbb\xbf" } else { b"" };
        let first = start[mark.len()..].split(|b| *b == b'\n').next().unwrap_or_default();
        let is_tsv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
        let separator = match first {
            _ if is_tsv => b'\t',
            line if line.contains(&b',') => b',',
            line if line.contains(&b'\t') => b'\t',
            line if line.contains(&b';') => b';',
            _ => b',',
        };
        lines.consume(mark.len());
        Ok(Records { lines, separator, line: 0 })
    }
}

impl<R: BufRead> Records<R> {
    /// One line with its end, or nothing at the end of the table. What is not UTF-8 is replaced.
    fn line(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        let mut limited = std::io::Read::take(&mut self.lines, MAX_LINE_BYTES as u64 + 1);
        limited.read_until(b'\n', &mut bytes).map_err(|e| e.to_string())?;
        self.line += 1;
        if bytes.len() > MAX_LINE_BYTES {
            return Err(format!("line {} is longer than {MAX_LINE_BYTES} bytes", self.line));
        }
        Ok((!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The cells of the next record; `None` at the end. An error says in which line the table ends to be one.
    pub fn next_record(&mut self) -> Result<Option<Vec<String>>, String> {
        let Some(mut text) = self.line()? else { return Ok(None) };
        if self.separator != b'\t' {
            for lines in 1.. {
                if text.bytes().filter(|b| *b == b'"').count() % 2 == 0 {
                    break;
                }
                if lines > MAX_CELL_LINES || text.len() > MAX_LINE_BYTES {
                    return Err(format!("a quoted cell is not closed before line {}", self.line));
                }
                match self.line()? {
                    Some(more) => text.push_str(&more),
                    None => break,
                }
            }
        }
        Ok(Some(cells(text.trim_end_matches(['\n', '\r']), self.separator as char)))
    }
}

/// The cells of one record.
fn cells(text: &str, separator: char) -> Vec<String> {
    let (mut all, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if separator != '\t' && (quoted || cell.is_empty()) => quoted = !quoted,
            c if c == separator && !quoted => all.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    all.push(cell);
    all.iter().map(|cell| cell.trim().to_string()).collect()
}

/// Where the first of `names` that a header has stands, in any case.
pub fn column(header: &[String], names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| header.iter().position(|cell| cell.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, separator: u8) -> Result<Vec<Vec<String>>, String> {
        let mut records = Records { lines: text.as_bytes(), separator, line: 0 };
        let mut out = Vec::new();
        while let Some(record) = records.next_record()? {
            out.push(record);
        }
        Ok(out)
    }

    #[test]
    fn cells_follow_rfc_4180() {
        let text = "a,\"b, \"\"c\"\"\r\nd\", e \r\n\"\",x\n";
        assert_eq!(all(text, b',').unwrap(), [vec!["a", "b, \"c\"\r\nd", "e"], vec!["", "x"]]);
        assert_eq!(all("a\t\"b\n", b'\t').unwrap(), [["a", "\"b"]]);
        assert!(all("", b',').unwrap().is_empty());
    }

    #[test]
    fn what_is_no_table_ends_soon() {
        assert!(all(&"x".repeat(MAX_LINE_BYTES + 1), b',').unwrap_err().contains("longer"));
        assert!(all(&format!("\"{}", "x\n".repeat(5000)), b',').unwrap_err().contains("not closed"));
    }

    #[test]
    fn the_separator_is_what_the_first_line_has() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.csv", "\u{feff}x\ty\n1\t2\n"), ("b.csv", "x;y\n1;2\n"), ("c.tsv", "x\ty, z\n1\t2\n")] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let mut records = Records::open(&path).unwrap();
            let header = records.next_record().unwrap().unwrap();
            assert_eq!((header[0].as_str(), header.len()), ("x", 2), "{name}");
            assert_eq!(records.next_record().unwrap().unwrap(), ["1", "2"]);
        }
    }
}
