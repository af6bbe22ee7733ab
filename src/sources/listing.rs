//! A walk through folders: recordings, tables, and what lies there that is not read.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 6] = ["wav", "wave", "ogg", "oga", "flac", "mp3"];
/// Recordings in formats that are not read.
const OTHER_AUDIO: [&str; 32] = [
    "3gp", "aac", "ac3", "aif", "aifc", "aiff", "alac", "amr", "ape", "au", "caf", "dff", "dsf", "gsm", "m4a", "m4b",
    "mka", "mkv", "mov", "mp2", "mp4", "opus", "ra", "snd", "sph", "spx", "tta", "voc", "w64", "webm", "wma", "wv",
];
/// Archives, in which recordings may be.
const ARCHIVES: [&str; 9] = ["7z", "arrow", "bz2", "gz", "parquet", "tar", "tgz", "xz", "zip"];
/// Deepest folder that is entered.
const MAX_DEPTH: usize = 16;
/// Most files that are looked at, a guard against pointing at a whole disk.
const MAX_FILES: usize = 2_000_000;
/// How often a folder is entered through links: once for each class that there can be.
const MAX_LINKS: usize = super::classes::MAX_CLASSES;

/// A file that may be a recording.
pub struct File {
    pub path: PathBuf,
    /// Whether a link leads to it, or to a folder on the way.
    pub is_linked: bool,
}

/// What a walk through folders has met.
#[derive(Default)]
pub struct Listing {
    pub files: Vec<File>,
    /// Tables that may describe recordings (csv, tsv), of all roots.
    pub tables: Vec<PathBuf>,
    /// By extension, how many files are not read, and the first.
    unread: BTreeMap<String, (usize, PathBuf)>,
    /// Links to recordings that lead nowhere, and the first.
    dangling: Option<(usize, PathBuf)>,
    /// How often a folder was entered, apart for links.
    entered: BTreeMap<(PathBuf, bool), usize>,
    looked_at: usize,
}

impl Listing {
    /// Collects what lies below a folder of `--sources`, in the order of the names.
    ///
    /// # Errors
    /// `Io` naming a folder that cannot be listed, `Data` for more than two million files.
    pub fn walk(&mut self, root: &Path) -> Result<()> {
        self.folder(root, false, &mut vec![])
    }

    /// Hidden entries are passed by. Links are followed, also to a folder that was met elsewhere, for a link may give it
    /// another class; but never into a folder that is being walked through.
    fn folder(&mut self, folder: &Path, is_linked: bool, above: &mut Vec<PathBuf>) -> Result<()> {
        let real = folder.canonicalize().map_err(|e| Error::io("open folder", folder, &e))?;
        if above.len() > MAX_DEPTH || above.contains(&real) {
            return Ok(());
        }
        let times = self.entered.entry((real.clone(), is_linked)).or_default();
        *times += usize::from(!above.is_empty());
        if *times > if is_linked { MAX_LINKS } else { 1 } {
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
        above.push(real);
        for path in entries {
            if path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            let is_linked = is_linked || path.is_symlink();
            match std::fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => self.folder(&path, is_linked, above)?,
                Ok(meta) if meta.is_file() => self.file(path, is_linked),
                Ok(_) => {}
                Err(_) => self.link_to_nowhere(path),
            }
        }
        above.pop();
        Ok(())
    }

    fn file(&mut self, path: PathBuf, is_linked: bool) {
        let extension = extension(&path);
        match extension.as_str() {
            "csv" | "tsv" => self.tables.push(path),
            e if EXTENSIONS.contains(&e) => self.files.push(File { path, is_linked }),
            e if OTHER_AUDIO.contains(&e) || ARCHIVES.contains(&e) => {
                self.unread.entry(extension).or_insert((0, path)).0 += 1;
            }
            _ => {}
        }
    }

    fn link_to_nowhere(&mut self, path: PathBuf) {
        if EXTENSIONS.contains(&extension(&path).as_str()) {
            self.dangling.get_or_insert((0, path)).0 += 1;
        }
    }

    /// One line for each kind of file that is not read, with what to do.
    pub fn unread(&self) -> Vec<String> {
        let of_kind = |(extension, (n, first)): (&String, &(usize, PathBuf))| {
            let (files, are) = if *n == 1 { ("file", "is") } else { ("files", "are") };
            let (example, name) = (first.display(), first.file_stem().unwrap_or_default().to_string_lossy());
            let todo = match ARCHIVES.contains(&extension.as_str()) {
                true => "unpack what recordings are in them".to_string(),
                false => format!("convert them, as in `ffmpeg -i \"{name}.{extension}\" \"{name}.wav\"`"),
            };
            format!("{n} .{extension} {files} (first: {example}) {are} not read: {todo}")
        };
        let nowhere = self.dangling.iter().map(|(n, first)| {
            let links = if *n == 1 { "link leads" } else { "links lead" };
            let first = first.display();
            format!("{n} {links} nowhere (first: {first}): fetch the files, as in `git annex get` or `dvc pull`")
        });
        self.unread.iter().map(of_kind).chain(nowhere).collect()
    }
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}
