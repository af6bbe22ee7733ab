//! What lies beside recordings: transcripts, captions and licences.
//!
//! Transcripts: `NAME.normalized.txt` (LibriTTS), `*.trans.txt` and `*.trans.tsv` (LibriSpeech, LibriTTS), a
//! table such as `transcripts.csv`, or the digit of a name `<digit>_<speaker>_<n>`. A bare `NAME.txt` is
//! licence text, never a transcript. Captions and keywords come from tables (Clotho, Song Describer, FSD50K's labels).
//! These files are helpful, not vital: one that cannot be understood is passed by with a warning.

use super::{Domain, file_names};
use crate::error::Result;
use crate::files;
use crate::text::numbers::BELOW_TWENTY;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Largest text beside one recording, and largest table, that is read.
const MAX_NOTE_BYTES: u64 = 64 << 10;
const MAX_TABLE_BYTES: u64 = 64 << 20;
/// Longest licence text that is kept, in characters.
const MAX_LICENCE_CHARS: usize = 400;
/// Most captions beside the first, and most keywords, that are kept of one recording.
const MAX_OTHER_CAPTIONS: usize = 9;
const MAX_KEYWORDS: usize = 32;

/// What is known about a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    pub transcript: Option<String>,
    pub caption: Option<String>,
    /// Further captions, by other listeners.
    pub other_captions: Vec<String>,
    /// Single words or short names for what is heard.
    pub keywords: Vec<String>,
    pub licence: Option<String>,
}

impl About {
    fn fill(&mut self, other: About) {
        self.transcript = self.transcript.take().or(other.transcript);
        for caption in other.caption.into_iter().chain(other.other_captions) {
            if self.caption.is_none() {
                self.caption = Some(caption);
            } else if self.caption.as_ref() != Some(&caption) {
                add(&mut self.other_captions, caption, MAX_OTHER_CAPTIONS);
            }
        }
        other.keywords.into_iter().for_each(|word| add(&mut self.keywords, word, MAX_KEYWORDS));
        self.licence = self.licence.take().or(other.licence);
    }
}

/// Adds a text that is not there yet, while there is room.
fn add(list: &mut Vec<String>, text: String, most: usize) {
    if list.len() < most && !list.contains(&text) {
        list.push(text);
    }
}

/// Looks up notes; what was read from a folder is remembered.
pub struct Notes {
    /// Rows of all tables by the last part of the file they name: (the table's folder, path parts, content).
    rows: BTreeMap<String, Vec<(PathBuf, Vec<String>, About)>>,
    /// Transcripts by name, and the licence that the folder's README states, per folder.
    folders: Mutex<BTreeMap<PathBuf, std::sync::Arc<Folder>>>,
}

#[derive(Default)]
struct Folder {
    transcripts: BTreeMap<String, String>,
    readme_licence: Option<String>,
}

impl Notes {
    /// Reads the tables (csv, tsv) that were met below the sources.
    pub fn new(tables: Vec<PathBuf>) -> Notes {
        let mut rows: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for path in tables.iter().filter(|p| !name_of(p).ends_with(".trans.tsv")).take(1000) {
            let Some(text) = read_text(path, MAX_TABLE_BYTES) else { continue };
            let separator = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv")) { '\t' } else { ',' };
            let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
            for (file, about) in table_rows(&text, separator) {
                let mut parts: Vec<String> = file.split(['/', '\\']).map(String::from).collect();
                let last = without_extension(&parts.pop().unwrap_or_default());
                rows.entry(last).or_default().push((folder.clone(), parts, about));
            }
        }
        Notes { rows, folders: Mutex::default() }
    }

    /// Everything known about the recording at `path` below `root`.
    pub fn about(&self, path: &Path, root: &Path, domain: Domain) -> Result<About> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(root);
        let mut about = About::default();
        if domain == Domain::Speech {
            let beside = path.with_file_name(format!("{stem}.normalized.txt"));
            about.transcript = read_text(&beside, MAX_NOTE_BYTES).and_then(|text| sentence(&text));
            if about.transcript.is_none() {
                about.transcript = self.folder(folder).transcripts.get(&stem).cloned();
            }
        }
        about.licence = read_text(&folder.join(format!("{stem}.txt")), MAX_NOTE_BYTES).and_then(|t| licence(&t));
        about.fill(self.row(path, &stem));
        if domain == Domain::Speech {
            let digit = || file_names::spoken_digit(&stem).map(|(digit, _)| BELOW_TWENTY[digit].to_string());
            about.transcript = about.transcript.or_else(digit);
        } else {
            about.transcript = None;
        }
        let mut up = Some(folder);
        while let Some(here) = up.filter(|_| about.licence.is_none()) {
            about.licence = self.folder(here).readme_licence.clone();
            up = if here == root { None } else { here.parent() };
        }
        Ok(about)
    }

    /// What the table rows that name this file say: their table lies in a folder above the file or beside its
    /// folder, and the path parts they give are the file's. Of several the first counts; captions and keywords add up.
    fn row(&self, path: &Path, stem: &str) -> About {
        let mut about = About::default();
        // Song Describer's files are called ID.2min.mp3.
        let keys = [Some(stem), stem.strip_suffix(".2min")];
        for (folder, parts, row) in keys.into_iter().flatten().filter_map(|key| self.rows.get(key)).flatten() {
            let above = path.starts_with(folder) || folder.parent().is_some_and(|p| path.starts_with(p));
            let given: PathBuf = parts.iter().filter(|p| *p != ".").collect();
            if above && path.parent().is_some_and(|p| p.ends_with(&given)) {
                about.fill(row.clone());
            }
        }
        about
    }

    fn folder(&self, folder: &Path) -> std::sync::Arc<Folder> {
        let mut known = self.folders.lock().expect("no panic while it is held");
        known.entry(folder.to_path_buf()).or_insert_with(|| std::sync::Arc::new(read_folder(folder))).clone()
    }
}

fn read_folder(folder: &Path) -> Folder {
    let mut out = Folder::default();
    let Ok(list) = std::fs::read_dir(folder) else { return out };
    let mut paths: Vec<PathBuf> = list.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let name = name_of(&path);
        if name.ends_with(".trans.txt") || name.ends_with(".trans.tsv") {
            let separator = if name.ends_with("txt") { ' ' } else { '\t' };
            for line in read_text(&path, MAX_TABLE_BYTES).unwrap_or_default().lines() {
                // LibriSpeech: id text; LibriTTS: id, original, normalised.
                let Some((id, text)) = line.split_once(separator) else { continue };
                let text = text.rsplit('\t').next().unwrap_or(text);
                out.transcripts.extend(sentence(text).map(|t| (id.trim().to_string(), t)));
            }
        }
        let is_readme = name.contains("readme") || ["license", "licence", "copying"].contains(&before_dot(&name));
        if is_readme && out.readme_licence.is_none() {
            out.readme_licence = read_text(&path, MAX_TABLE_BYTES).and_then(|text| licence_line(&text));
        }
    }
    out
}

fn before_dot(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The text of a small file; `None` when there is none or it cannot be read (said, unless it is missing).
/// Bytes that are not UTF-8 are replaced: Clotho's tables are Latin-1 in places.
fn read_text(path: &Path, limit: u64) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    match files::read_limited(path, limit) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_string()),
        Err(e) => {
            tracing::warn!("{}: not used: {}", path.display(), e.message());
            None
        }
    }
}

/// Text on one line, or `None` when there is none.
fn sentence(text: &str) -> Option<String> {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!joined.is_empty()).then_some(joined)
}

/// The lines that speak of a licence, else the beginning of the text.
fn licence(text: &str) -> Option<String> {
    licence_line(text).or_else(|| sentence(text).map(|t| t.chars().take(MAX_LICENCE_CHARS).collect()))
}

/// The best line about a licence: one with a known licence's address or name before one that only has the word.
fn licence_line(text: &str) -> Option<String> {
    const NAMES: [&str; 7] =
        ["creativecommons.org", "cc-by", "cc by", "cc0", "public domain", "apache license", "mit license"];
    let find = |marks: &[&str]| {
        text.lines().find(|line| {
            let line = line.to_lowercase();
            marks.iter().any(|mark| line.contains(mark))
        })
    };
    let line = find(&NAMES).or_else(|| find(&["licensed under", "terms of the"]))?;
    sentence(line).map(|t| t.chars().take(MAX_LICENCE_CHARS).collect())
}

fn without_extension(name: &str) -> String {
    let known = |e: &str| ["wav", "ogg", "flac", "mp3", "oga", "wave"].contains(&e.to_lowercase().as_str());
    match name.rsplit_once('.') {
        Some((stem, extension)) if known(extension) => stem.to_string(),
        _ => name.to_string(),
    }
}

/// Rows of a table with a header: the column that names files, and what the others say. A table whose header
/// has no such column, or nothing to say, gives no rows.
fn table_rows(text: &str, separator: char) -> Vec<(String, About)> {
    let mut records = records(text, separator).into_iter();
    let Some(header) = records.next() else { return Vec::new() };
    let header: Vec<String> = header.iter().map(|h| h.trim().to_lowercase()).collect();
    let column = |names: &[&str]| names.iter().find_map(|name| header.iter().position(|h| h == name));
    let file = column(&["file_name", "filename", "file", "path", "fname", "track_id", "utterance_id", "id"]);
    let transcript = column(&["transcript", "transcription", "normalized", "sentence", "text"]);
    let captions: Vec<usize> = (0..header.len()).filter(|&i| is_caption(&header[i])).collect();
    let keywords = column(&["keywords", "labels", "tags"]);
    let licence = column(&["license", "licence"]);
    // Song Describer gives a path that differs from the file's; its track id is the stem.
    let file = column(&["track_id"]).or(file);
    let says = transcript.or(captions.first().copied()).or(keywords).or(licence);
    let Some(file) = file.filter(|_| says.is_some()) else { return Vec::new() };
    let cell = |record: &[String], at: Option<usize>| at.and_then(|i| record.get(i)).and_then(|t| sentence(t));
    records
        .filter_map(|record| {
            let mut captions = captions.iter().filter_map(|&i| cell(&record, Some(i)));
            let about = About {
                transcript: cell(&record, transcript),
                caption: captions.next(),
                other_captions: captions.take(MAX_OTHER_CAPTIONS).collect(),
                keywords: cell(&record, keywords).map_or_else(Vec::new, |text| words(&text)),
                licence: cell(&record, licence),
            };
            cell(&record, Some(file)).map(|name| (name, about))
        })
        .collect()
}

/// `caption`, or one of several: `caption_1` (but not `caption_id`).
fn is_caption(header: &str) -> bool {
    let number = header.strip_prefix("caption_");
    header == "caption" || number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The keywords in a cell: Clotho writes `rain;roof`, FSD50K `Bark,Dog,Animal`. Numbers are codes, not words.
fn words(cell: &str) -> Vec<String> {
    let all = cell.split([';', ',', '|']).filter_map(sentence);
    all.filter(|word| word.chars().any(char::is_alphabetic)).take(MAX_KEYWORDS).collect()
}

/// Records of a table with quoted cells (RFC 4180); a tab-separated table has no quoting.
fn records(text: &str, separator: char) -> Vec<Vec<String>> {
    let (mut all, mut record, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if separator == ',' && (quoted || cell.is_empty()) => quoted = !quoted,
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                all.push(std::mem::take(&mut record));
            }
            c if c == separator && !quoted => record.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !record.is_empty() {
        record.push(cell);
        all.push(record);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_with_quotes_become_rows() {
        let clotho = "file_name,caption_1,caption_2\r\n\"rain, on roof.wav\",\"Rain \"\"falls\"\" on\na roof\",x\r\nb.wav,,y\r\n";
        let rows = table_rows(clotho, ',');
        assert_eq!(rows[0].0, "rain, on roof.wav");
        assert_eq!(rows[0].1.caption.as_deref(), Some("Rain \"falls\" on a roof"));
        assert_eq!(rows[0].1.other_captions, ["x"]);
        assert_eq!((rows.len(), rows[1].1.caption.as_deref()), (2, Some("y")));
        let described = "caption_id,track_id,caption\n1,7,Slow piano\n2,7,Sad music\n3,7,Slow piano\n";
        let mut song = About::default();
        table_rows(described, ',').into_iter().for_each(|(_, row)| song.fill(row));
        assert_eq!(
            (song.caption.as_deref(), &song.other_captions[..]),
            (Some("Slow piano"), &["Sad music".into()][..])
        );
        for (table, keywords) in [
            ("file_name,keywords,license\na.wav,rain; roof ;;16,x\n", &["rain", "roof"][..]),
            ("fname,labels,mids\n63,\"Bark,Dog,Animal\",/m/1\n", &["Bark", "Dog", "Animal"]),
        ] {
            assert_eq!(table_rows(table, ',')[0].1.keywords, keywords);
        }
        assert!(table_rows("a,b\n1,2\n", ',').is_empty());
        assert!(table_rows("", ',').is_empty());
        assert_eq!(
            table_rows("utterance_id\ttext\nu1\tSaid \"so\n", '\t')[0].1.transcript.as_deref(),
            Some("Said \"so")
        );
    }

    #[test]
    fn the_licence_line_is_found() {
        let readme =
            "# Data\nAbout the licence see below\n\n[Creative Commons](http://creativecommons.org/licenses/by/3.0/).\n";
        assert!(licence_line(readme).unwrap().contains("licenses/by/3.0"));
        assert_eq!(licence("All rights reserved.\nMe").as_deref(), Some("All rights reserved. Me"));
        assert_eq!(licence_line("nothing here"), None);
    }
}
