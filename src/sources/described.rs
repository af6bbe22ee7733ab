//! What the tables of a corpus say of its recordings: the class (ESC-50, UrbanSound8K, TAU, FSD50K) and the group
//! (Common Voice's `client_id`, UrbanSound8K's `fsID`, any column `speaker`).

use super::arrangement::is_of_corpus;
use super::classes::normalise;
use super::tables::{Records, column};
use crate::error::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Headers of the column that names files, the first that is there counts.
const FILE: [&str; 12] = [
    "slice_file_name",
    "filename",
    "file_name",
    "fname",
    "file",
    "path",
    "audio_filename",
    "audio",
    "wav",
    "track_id",
    "utterance_id",
    "id",
];
/// Headers of the column with a class in words.
const CLASS: [&str; 8] =
    ["category", "class", "class_name", "classname", "scene_label", "primary_label", "label", "labels"];
/// Headers of the column that says who or which recording it is.
const GROUP: [&str; 13] = [
    "group",
    "client_id",
    "speaker_id",
    "speaker",
    "spk_id",
    "fsid",
    "src_file",
    "freesound_id",
    "identifier",
    "recording_id",
    "session_id",
    "sensor_id",
    "canonical_title",
];
/// Most tables that are read.
const MAX_TABLES: usize = 1000;

/// One row: the folders that it names and what it says.
#[derive(PartialEq)]
struct Row {
    table: usize,
    folders: PathBuf,
    class: Option<Arc<str>>,
    group: Option<Arc<str>>,
}

/// The rows of all tables that name a recording.
#[derive(Default)]
pub struct Described {
    /// The folder of every table, absolute.
    tables: Vec<PathBuf>,
    rows: BTreeMap<String, Vec<Row>>,
    words: BTreeSet<Arc<str>>,
}

impl Described {
    /// Reads the rows about files whose name without extension is `wanted`. A table that cannot be understood is passed
    /// by with a warning; one without a column of files, or with nothing to say, is none of these.
    pub fn read(tables: &[PathBuf], wanted: &BTreeSet<String>) -> Described {
        let mut out = Described::default();
        for path in tables.iter().take(MAX_TABLES) {
            let failed = match Records::open(path) {
                Ok(records) => out.add(path, records, wanted).err(),
                Err(e) => Some(e.message().to_string()),
            };
            if let Some(what) = failed {
                tracing::warn!("{}: not used for classes and groups from there on: {what}", path.display());
            }
        }
        out
    }

    fn add<R: std::io::BufRead>(
        &mut self,
        path: &Path,
        mut records: Records<R>,
        wanted: &BTreeSet<String>,
    ) -> Result<(), String> {
        let Some(header) = records.next_record()? else { return Ok(()) };
        let (class, group) = (column(&header, &CLASS), column(&header, &GROUP));
        let Some(file) = column(&header, &FILE).filter(|_| class.or(group).is_some()) else { return Ok(()) };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        self.tables.push(absolute.parent().unwrap_or(Path::new("/")).to_path_buf());
        while let Some(cells) = records.next_record()? {
            let cell = |at: Option<usize>| at.and_then(|i| cells.get(i)).map(String::as_str);
            let Some(name) = cell(Some(file)) else { continue };
            let mut folders: Vec<&str> = name.split(['/', '\\']).filter(|part| *part != ".").collect();
            let Some(last) = folders.pop() else { continue };
            let stem = [without_extension(last), last].into_iter().find(|stem| wanted.contains(*stem));
            let Some(stem) = stem else { continue };
            let row = Row {
                table: self.tables.len() - 1,
                folders: folders.iter().collect(),
                class: cell(class).and_then(class_in).map(|c| self.word(&c)),
                group: cell(group).filter(|g| !g.is_empty()).map(|g| self.word(g)),
            };
            let rows = self.rows.entry(stem.to_string()).or_default();
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        Ok(())
    }

    /// One copy of each word: a speaker with thousands of rows is named once.
    fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.words.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.words.insert(new.clone());
        new
    }

    /// The class that tables give the recording at `path` (absolute), when they agree and no folder between the corpus
    /// and the file may be a class of its own: who has sorted the files anew means the folders.
    pub fn class<'a>(&'a self, path: &'a Path) -> Option<&'a str> {
        let in_corpus = |row: &&Row| {
            let between = path.parent().zip(self.corpus(row, path)).and_then(|(p, root)| p.strip_prefix(root).ok());
            between.is_some_and(|p| p.components().all(|c| is_of_corpus(&c.as_os_str().to_string_lossy())))
        };
        let mut classes = self.about(path).filter(in_corpus).filter_map(|row| row.class.as_deref());
        let first = classes.next()?;
        classes.all(|class| class == first).then_some(first)
    }

    /// The group that tables give the recording at `path` (absolute), when they agree.
    pub fn group<'a>(&'a self, path: &'a Path) -> Option<&'a str> {
        let mut groups = self.about(path).filter_map(|row| row.group.as_deref());
        let first = groups.next()?;
        groups.all(|group| group == first).then_some(first)
    }

    /// The rows about a file.
    fn about<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Row> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let rows = self.rows.get(stem.as_ref()).map_or(&[][..], Vec::as_slice).iter();
        let folder = path.parent().unwrap_or(Path::new("/"));
        rows.filter(move |row| self.corpus(row, path).is_some() && folder.ends_with(&row.folders))
    }

    /// The folder of the corpus that a row's table describes, if the file lies in it: the table's folder, or the one
    /// above (`meta/esc50.csv` beside `audio/`).
    fn corpus(&self, row: &Row, path: &Path) -> Option<&Path> {
        let folder = self.tables[row.table].as_path();
        [Some(folder), folder.parent()].into_iter().flatten().find(|root| path.starts_with(root))
    }
}

/// The first of the labels in a cell, as a class is written; a number is none.
fn class_in(cell: &str) -> Option<String> {
    let name = normalise(cell.split([',', ';', '|']).next()?);
    (!name.is_empty() && !name.bytes().all(|b| b.is_ascii_digit() || b == b'_')).then_some(name)
}

/// A file's name without its extension, if it is one of audio.
fn without_extension(name: &str) -> &str {
    const KNOWN: [&str; 9] = ["wav", "wave", "ogg", "oga", "flac", "mp3", "opus", "m4a", "webm"];
    match name.rsplit_once('.') {
        Some((stem, extension)) if KNOWN.contains(&extension.to_lowercase().as_str()) => stem,
        _ => name,
    }
}

/// Tables beside a root that is itself only a part of a corpus (`ESC-50/audio`, `UrbanSound8K/audio/fold1`,
/// `en/clips`, Clotho's `clotho_audio_files/development`): those in the corpus' folder and in its folders of metadata.
pub fn tables_beside(root: &Path) -> Vec<PathBuf> {
    let mut corpus = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    for _ in 0..3 {
        let is_part = corpus.file_name().is_some_and(|name| is_of_corpus(&name.to_string_lossy()));
        if !is_part || !corpus.pop() {
            break;
        }
        let mut found = tables_in(&corpus);
        for folder in entries(&corpus).iter().filter(|p| p.is_dir()) {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            if ["meta", "ground_truth", "csv"].iter().any(|word| name.contains(word)) {
                found.extend(tables_in(folder));
            }
        }
        if !found.is_empty() {
            return found;
        }
    }
    vec![]
}

fn tables_in(folder: &Path) -> Vec<PathBuf> {
    let is_table = |p: &PathBuf| {
        let extension = p.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        (extension == "csv" || extension == "tsv") && p.is_file()
    };
    entries(folder).into_iter().filter(is_table).collect()
}

/// The entries of a folder by name; none of one that cannot be listed.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    all.sort();
    all
}
