//! Folders of recordings: what is there, of which domain and class, in which group.

use super::classes::{UNLABELLED, normalise};
use super::file_names::group;
use super::notes::Notes;
use super::{Domain, Recording, SourceDir};
use crate::error::{Error, Result};
use crate::files;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 6] = ["wav", "wave", "ogg", "oga", "flac", "mp3"];
/// Folder names that say how data is arranged, not what it sounds like.
const ARRANGEMENT: [&str; 16] = [
    "train",
    "training",
    "dev",
    "development",
    "val",
    "valid",
    "validation",
    "test",
    "testing",
    "eval",
    "evaluation",
    "audio",
    "wav",
    "clips",
    "recordings",
    "sounds",
];
/// Deepest folder that is entered.
const MAX_DEPTH: usize = 16;
/// Most files that are looked at, a guard against pointing at a whole disk.
const MAX_FILES: usize = 2_000_000;

/// One file on the way to becoming a recording.
struct Found {
    path: PathBuf,
    root: usize,
    domain: Domain,
    /// Folders below the root that may name a class.
    labels: Vec<String>,
}

/// All recordings below `dirs`, ordered by id, without classes. See [`super::Sources::open`] for errors.
pub fn scan(dirs: &[SourceDir]) -> Result<Vec<Recording>> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let mut listing = Listing::default();
    for (root, dir) in dirs.iter().enumerate() {
        let before = found.len();
        let meta = std::fs::metadata(&dir.path).map_err(|e| Error::io("open sources folder", &dir.path, &e))?;
        if !meta.is_dir() {
            return Err(Error::data(format!("{}: sources must be a folder", dir.path.display())));
        }
        listing.walk(&dir.path, 0)?;
        let mut defaulted = 0;
        for path in std::mem::take(&mut listing.files) {
            let real = path.canonicalize().map_err(|e| Error::io("open", &path, &e))?;
            if !seen.insert(real) {
                continue;
            }
            let (domain, labels) = place(dir, &path);
            defaulted += usize::from(domain.is_none());
            found.push(Found { path, root, domain: domain.unwrap_or(Domain::Environment), labels });
        }
        if found.len() == before {
            let what =
                format!("{}: no recordings (wav, ogg, flac, mp3) that are not listed already", dir.path.display());
            return Err(Error::missing(what).hint("point --sources at a folder with one sub-folder per class"));
        }
        if defaulted > 0 {
            tracing::info!(
                "{}: {defaulted} recordings taken as environment (no domain in the path)",
                dir.path.display()
            );
        }
    }
    strip_common(&mut found);
    let notes = Notes::new(std::mem::take(&mut listing.tables));
    let mut recordings: Vec<(Recording, PathBuf)> =
        found.into_iter().map(|f| describe(f, dirs, &notes)).collect::<Result<_>>()?;
    make_unique(&mut recordings);
    let mut recordings: Vec<Recording> = recordings.into_iter().map(|(r, _)| r).collect();
    recordings.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(recordings)
}

/// What a walk through folders has met.
#[derive(Default)]
struct Listing {
    files: Vec<PathBuf>,
    /// Tables that may describe recordings (csv, tsv), of all roots.
    tables: Vec<PathBuf>,
    entered: BTreeSet<PathBuf>,
    looked_at: usize,
}

impl Listing {
    /// Collects files in the order of their names. Hidden entries are passed by; links are followed, once.
    fn walk(&mut self, folder: &Path, depth: usize) -> Result<()> {
        let real = folder.canonicalize().map_err(|e| Error::io("open folder", folder, &e))?;
        if depth > MAX_DEPTH || (depth > 0 && !self.entered.insert(real)) {
            return Ok(());
        }
        let list = std::fs::read_dir(folder).map_err(|e| Error::io("list folder", folder, &e))?;
        let mut entries = Vec::new();
        for entry in list {
            entries.push(entry.map_err(|e| Error::io("list folder", folder, &e))?.path());
        }
        entries.sort();
        self.looked_at += entries.len();
        if self.looked_at > MAX_FILES {
            return Err(Error::data(format!("{}: more than {MAX_FILES} files below the sources", folder.display())));
        }
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A link to nowhere is not a recording.
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            if name.starts_with('.') {
                continue;
            } else if meta.is_dir() {
                self.walk(&path, depth + 1)?;
            } else if meta.is_file() {
                let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
                match extension.as_str() {
                    "csv" | "tsv" => self.tables.push(path),
                    e if EXTENSIONS.contains(&e) => self.files.push(path),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn names(path: &Path) -> Vec<String> {
    let normal = |c| match c {
        std::path::Component::Normal(name) => Some(name),
        _ => None,
    };
    path.components().filter_map(normal).map(|c: &std::ffi::OsStr| c.to_string_lossy().into_owned()).collect()
}

/// The domain (`None`: nothing says it) and the folders below the root, or else the root itself, that may
/// name a class.
fn place(dir: &SourceDir, path: &Path) -> (Option<Domain>, Vec<String>) {
    let below = path.parent().and_then(|p| p.strip_prefix(&dir.path).ok()).map(names).unwrap_or_default();
    let root = names(&dir.path);
    let last_domain = |list: &[String]| list.iter().rev().find_map(|name| Domain::from_name(name));
    let domain = dir.domain.or_else(|| last_domain(&below)).or_else(|| last_domain(&root));
    let start = below.iter().rposition(|name| Domain::from_name(name).is_some()).map_or(0, |i| i + 1);
    let is_label = |name: &&String| !ARRANGEMENT.contains(&name.to_lowercase().as_str());
    let mut labels: Vec<String> = below[start..].iter().filter(is_label).cloned().collect();
    if labels.is_empty() && start == 0 {
        let own = root.last().filter(|name| Domain::from_name(name).is_none());
        labels.extend(own.filter(is_label).cloned());
    }
    (domain, labels)
}

/// A folder that holds all environment recordings of a root, in folders of their own, is a collection
/// (`ESC-50/rain`, `ESC-50/dog`) and not a class.
fn strip_common(found: &mut [Found]) {
    let roots = found.iter().map(|f| f.root).max().map_or(0, |m| m + 1);
    for root in 0..roots {
        let mine = |f: &&mut Found| f.root == root && f.domain == Domain::Environment;
        loop {
            let mut firsts = BTreeSet::new();
            let deep = found.iter_mut().filter(mine).all(|f| {
                firsts.insert(f.labels.first().cloned());
                f.labels.len() > 1
            });
            if !deep || firsts.len() != 1 {
                break;
            }
            found.iter_mut().filter(mine).for_each(|f| drop(f.labels.remove(0)));
        }
    }
}

/// The recording of a file and its path below the root.
fn describe(found: Found, dirs: &[SourceDir], notes: &Notes) -> Result<(Recording, PathBuf)> {
    let stem = found.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let class_name = match found.domain {
        Domain::Environment => {
            let name = found.labels.first().map(|l| normalise(l)).unwrap_or_default();
            if name.is_empty() { UNLABELLED.to_string() } else { name }
        }
        other => other.name().to_string(),
    };
    let root = &dirs[found.root].path;
    let about = notes.about(&found.path, root, found.domain)?;
    let below = found.path.strip_prefix(root).unwrap_or(&found.path).to_path_buf();
    let recording = Recording {
        id: format!("{}/{class_name}/{stem}", found.domain.name()),
        domain: found.domain,
        class: None,
        group: group(found.domain, &stem),
        class_name,
        transcript: about.transcript,
        caption: about.caption,
        licence: about.licence,
        path: Some(found.path),
    };
    Ok((recording, below))
}

/// Files of the same name get their path below the root as id; files of the same path a number.
fn make_unique(recordings: &mut [(Recording, PathBuf)]) {
    let mut count = BTreeMap::<String, usize>::new();
    recordings.iter().for_each(|(r, _)| *count.entry(r.id.clone()).or_default() += 1);
    let mut taken = BTreeSet::new();
    for (recording, below) in recordings {
        if count[&recording.id] > 1 {
            let place = names(below).join("/");
            recording.id = format!("{}/{}/{place}", recording.domain.name(), recording.class_name);
        }
        let (base, mut n) = (recording.id.clone(), 1);
        while !taken.insert(recording.id.clone()) {
            n += 1;
            recording.id = format!("{base}#{n}");
        }
    }
}

/// Length and, unless `size_only`, BLAKE3 of the first and last 64 KiB of a file.
pub fn digest(path: &Path, size_only: bool) -> Result<Vec<u8>> {
    const PART: u64 = 64 << 10;
    let io = |e: std::io::Error| Error::io("read", path, &e);
    let mut file = files::open_regular(path)?;
    let length = file.metadata().map_err(io)?.len();
    let mut out = length.to_le_bytes().to_vec();
    if !size_only {
        let mut bytes = Vec::new();
        (&mut file).take(PART).read_to_end(&mut bytes).map_err(io)?;
        file.seek(SeekFrom::Start(length.saturating_sub(PART))).map_err(io)?;
        file.take(PART).read_to_end(&mut bytes).map_err(io)?;
        out.extend(blake3::hash(&bytes).as_bytes());
    }
    Ok(out)
}
