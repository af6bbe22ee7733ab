//! Groups as the user says them: a table of files (`--groups`) and a pattern for their paths (`--group-pattern`).

use super::tables::{Records, column};
use crate::error::{Error, Result};
use regex::Regex;
use std::collections::BTreeMap;
use std::path::Path;

/// Largest table of groups that is read.
const MAX_TABLE_BYTES: u64 = 1 << 30;
/// Longest pattern.
const MAX_PATTERN_BYTES: usize = 10_000;

/// What the user says about groups.
#[derive(Default)]
pub struct Said {
    /// Path and group of every row of the table, and the row's line.
    table: BTreeMap<String, (String, usize)>,
    used: std::collections::BTreeSet<usize>,
    table_name: String,
    pattern: Option<Regex>,
    matched: usize,
}

impl Said {
    /// Reads the table and the pattern.
    ///
    /// # Errors
    /// `Usage` for a pattern that is none; `Missing` without the table; `Data` naming the line for a row without path and
    /// group, or one that contradicts an earlier one.
    pub fn new(table: Option<&Path>, pattern: Option<&str>) -> Result<Said> {
        let mut out = Said::default();
        if let Some(path) = table {
            out.table_name = path.display().to_string();
            out.read(path)?;
        }
        if let Some(text) = pattern {
            let bad = |what: String| {
                Error::usage(format!("--group-pattern {text:.100}: {what}"))
                    .hint("give a regular expression whose (..) is the group, as in '(p[0-9]{3})_[^/]*$'")
            };
            if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
                return Err(bad(format!("{} bytes, 1 to {MAX_PATTERN_BYTES} are accepted", text.len())));
            }
            let one_line = |e: regex::Error| e.to_string().lines().last().unwrap_or_default().trim().to_string();
            out.pattern = Some(Regex::new(text).map_err(|e| bad(one_line(e)))?);
        }
        Ok(out)
    }

    fn read(&mut self, path: &Path) -> Result<()> {
        let size = std::fs::metadata(path).map_err(|e| Error::io("open", path, &e))?.len();
        let bad = |what: String| {
            let hint = "give a CSV or TSV with a column `path` and a column `group`, one row per file or folder";
            Error::data(format!("{}: {what}", path.display())).hint(hint)
        };
        if size > MAX_TABLE_BYTES {
            return Err(bad(format!("{size} bytes, at most {MAX_TABLE_BYTES} are read")));
        }
        let mut records = Records::open(path)?;
        let (mut file, mut group, mut is_first) = (0, 1, true);
        while let Some(cells) = records.next_record().map_err(bad)? {
            let line = records.line;
            if cells.iter().all(String::is_empty) {
                continue;
            }
            let named = column(&cells, &["path", "file", "filename", "file_name", "fname"]);
            if let (true, Some((at, of))) = (is_first, named.zip(column(&cells, &["group"]))) {
                (file, group, is_first) = (at, of, false);
                continue;
            }
            is_first = false;
            let cell = |at: usize| cells.get(at).filter(|c| !c.is_empty());
            let (Some(name), Some(group)) = (cell(file), cell(group)) else {
                return Err(bad(format!("line {line}: a path and a group are needed")));
            };
            let parts: Vec<&str> = name.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect();
            match self.table.insert(parts.join("/"), (group.clone(), line)) {
                Some((earlier, at)) if earlier != *group => {
                    return Err(bad(format!("line {line}: {name} is in group {group}, and in {earlier} in line {at}")));
                }
                _ => {}
            }
        }
        match self.table.is_empty() {
            true => Err(bad("no rows".into())),
            false => Ok(()),
        }
    }

    /// The group of the file with these path components (absolute), of which those from `below` on lie below its
    /// `--sources` folder. The table goes before the pattern; in it the longest path counts, and a file before a folder.
    pub fn group(&mut self, parts: &[String], below: usize) -> Option<String> {
        if let Some((group, line)) = self.row(parts) {
            self.used.insert(line);
            return Some(group);
        }
        let path = parts[below..].join("/");
        let found = self.pattern.as_ref()?.captures(&path)?;
        let named: Vec<&str> = found.iter().skip(1).flatten().map(|m| m.as_str()).collect();
        let group = if found.len() > 1 { named.join("/") } else { found[0].to_string() };
        self.matched += usize::from(!group.is_empty());
        (!group.is_empty()).then_some(group)
    }

    fn row(&self, parts: &[String]) -> Option<(String, usize)> {
        if self.table.is_empty() {
            return None;
        }
        let file = parts.last()?;
        let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
        for name in [file, stem] {
            for from in 0..parts.len() {
                let key = parts[from..parts.len() - 1].iter().map(String::as_str).chain([name]).collect::<Vec<_>>();
                if let Some(row) = self.table.get(&key.join("/")) {
                    return Some(row.clone());
                }
            }
        }
        let ends = (1..parts.len()).rev();
        ends.flat_map(|to| (0..to).map(move |from| (from, to)))
            .find_map(|(from, to)| self.table.get(&parts[from..to].join("/")).cloned())
    }

    /// Says what was not used.
    ///
    /// # Errors
    /// `Usage` when the table or the pattern meets no recording at all.
    pub fn finish(&self) -> Result<()> {
        if !self.table.is_empty() {
            if self.used.is_empty() {
                let first = self.table.iter().min_by_key(|(_, (_, line))| *line).map_or("", |(path, _)| path);
                return Err(Error::usage(format!(
                    "--groups {}: none of its {} paths (first: {first}) is that of a recording",
                    self.table_name,
                    self.table.len()
                ))
                .hint("paths end like those of the files, with or without folders and extension"));
            }
            let unused = self.table.values().filter(|(_, line)| !self.used.contains(line)).count();
            if unused > 0 {
                let first = self.table.iter().filter(|(_, (_, line))| !self.used.contains(line));
                let first = first.min_by_key(|(_, (_, line))| *line).map_or("", |(path, _)| path);
                tracing::warn!("--groups {}: {unused} rows (first: {first}) name no recording", self.table_name);
            }
        }
        match &self.pattern {
            Some(pattern) if self.matched == 0 => {
                Err(Error::usage(format!("--group-pattern {pattern}: no recording's path matches"))
                    .hint("it is searched for in the path below the --sources folder, with / and the extension"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn parts(path: &str) -> Vec<String> {
        path.split('/').map(String::from).collect()
    }

    fn said(table: &str, extension: &str) -> Result<Said> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("groups.{extension}"));
        std::fs::write(&path, table).unwrap();
        Said::new(Some(&path), None)
    }

    #[test]
    fn the_longest_path_of_a_table_counts_and_files_before_folders() {
        let table = "note,path,group\n,a.wav,any\n,dog/a.wav,dogs\nx,./bob/,bob\n,\"/data/x, y/c.flac\",abs\n";
        let mut said = said(table, "csv").unwrap();
        for (path, expected) in [
            ("data/rain/a.wav", Some("any")),
            ("data/dog/a.wav", Some("dogs")),
            ("data/bob/a.wav", Some("any")),
            ("data/bob/deep/b.wav", Some("bob")),
            ("data/x, y/c.flac", Some("abs")),
            ("data/rain/b.wav", None),
        ] {
            assert_eq!(said.group(&parts(path), 1).as_deref(), expected, "{path}");
        }
        said.finish().unwrap();
    }

    #[test]
    fn tables_without_header_and_without_extensions_are_read() {
        let mut said = said("p1_a\tp1\np2_a\tp2\n", "tsv").unwrap();
        assert_eq!(said.group(&parts("x/p2_a.flac"), 0).as_deref(), Some("p2"));
        assert_eq!(said.group(&parts("x/p3_a.flac"), 0), None);
    }

    #[test]
    fn bad_tables_name_the_line() {
        for (table, what) in [
            ("path,group\na.wav\n", "line 2"),
            ("path,group\na.wav,x\na.wav,y\n", "line 3"),
            ("path,group\n", "no rows"),
            ("", "no rows"),
        ] {
            let error = said(table, "csv").err().unwrap();
            assert!(error.kind() == Kind::Data && error.to_string().contains(what), "{error}");
        }
        let mut unused = said("path,group\nother.wav,x\n", "csv").unwrap();
        assert_eq!(unused.group(&parts("a.wav"), 0), None);
        assert_eq!(unused.finish().unwrap_err().kind(), Kind::Usage);
        assert_eq!(Said::new(Some(Path::new("/nowhere.csv")), None).err().unwrap().kind(), Kind::Missing);
    }

    #[test]
    fn a_pattern_says_the_group_by_its_parentheses() {
        let group = |pattern: &str, path: &str| Said::new(None, Some(pattern)).unwrap().group(&parts(path), 1);
        assert_eq!(group(r"^([^/]+)/", "root/alice/01.wav").as_deref(), Some("alice"));
        assert_eq!(group(r"(\d+)-(\d+)-", "root/x/19-198-0001.wav").as_deref(), Some("19/198"));
        assert_eq!(group(r"(?i)SESSION\d", "root/session2_x.wav").as_deref(), Some("session2"));
        assert_eq!(group(r"root", "root/x.wav"), None, "the folder of --sources is no part of it");
        assert_eq!(group(r"x*$", "root/a.wav"), None, "an empty group is none");
        for bad in ["(", "", "a{99999999}"] {
            let error = Said::new(None, Some(bad)).err().unwrap();
            assert!(error.kind() == Kind::Usage && !error.message().contains('\n'), "{error}");
        }
        let said = Said::new(None, Some("zzz")).unwrap();
        assert_eq!(said.finish().unwrap_err().kind(), Kind::Usage);
    }
}
