//! Folders of recordings: what is there, of which domain and class, in which group.

use super::arrangement::is_arrangement;
use super::classes::{UNLABELLED, normalise};
use super::described::{Described, tables_beside};
use super::listing::Listing;
use super::notes::Notes;
use super::said::Said;
use super::schemes::{Known, named};
use super::{Domain, Reading, Recording, SourceDir};
use crate::error::{Error, Result};
use crate::files;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// One file on the way to becoming a recording.
struct Found {
    path: PathBuf,
    /// The file that it is, whatever links lead to it.
    real: PathBuf,
    root: usize,
    domain: Domain,
    /// Folders below the root that may name a class.
    labels: Vec<String>,
    /// Whether a table gave the label.
    by_table: bool,
    /// Whether it lies in a numbered part of a corpus, such as a fold.
    in_part: bool,
}

/// A recording with what the split needs to know.
pub struct Listed {
    pub recording: Recording,
    pub known: Known,
    /// The file that it is, whatever links lead to it.
    pub real: PathBuf,
    /// The group that a table gives it, which may be wider than that of its name: a piece that was played in several
    /// sessions. `None` where the user has said the groups.
    pub told: Option<String>,
}

/// All recordings below `dirs`, ordered by id, without classes. See [`super::Sources::open`] for errors.
pub fn scan(dirs: &[SourceDir], reading: &Reading) -> Result<Vec<Listed>> {
    let mut listing = Listing::default();
    let mut said = Said::new(reading.groups, reading.group_pattern)?;
    let mut found = find(dirs, reading, &mut listing)?;
    listing.unread().iter().for_each(|line| tracing::warn!("{line}"));
    let mut tables = std::mem::take(&mut listing.tables);
    tables.extend(dirs.iter().flat_map(|dir| tables_beside(&dir.path)));
    tables.dedup();
    let described = describe_by_tables(&mut found, &tables, reading);
    strip_common(&mut found);
    forget_names_of_corpora(&mut found, dirs.len());
    warn_of_arrangement(&found, dirs);
    let notes = Notes::new(tables);
    let mut listed = Vec::with_capacity(found.len());
    for found in found {
        let (real, parts) = (found.real.clone(), absolute_parts(&found.path));
        let below = below_root(&found, dirs);
        let (group, known) = group_of(&found, &parts, names(&below).len(), &described, &mut said);
        listed.push((describe(found, dirs, &notes, group)?, below, known, real));
    }
    said.finish()?;
    keep_one_of_a_class(&mut listed);
    make_unique(&mut listed);
    let is_said = reading.groups.is_some() || reading.group_pattern.is_some();
    let told = |path: &Path| std::path::absolute(path).ok().and_then(|p| described.group(&p).map(String::from));
    let finished = |(recording, _, known, real): (Recording, _, _, _)| {
        let told = recording.path.as_deref().filter(|_| !is_said).and_then(told);
        Listed { recording, known, real, told }
    };
    let mut listed: Vec<Listed> = listed.into_iter().map(finished).collect();
    listed.sort_by(|a, b| a.recording.id.cmp(&b.recording.id));
    group_by_folder(&mut listed);
    Ok(listed)
}

/// The files of all roots. One that is met again without a link is in two roots, and counts in the first.
fn find(dirs: &[SourceDir], reading: &Reading, listing: &mut Listing) -> Result<Vec<Found>> {
    let (mut found, mut seen) = (Vec::new(), BTreeMap::<PathBuf, bool>::new());
    for (root, dir) in dirs.iter().enumerate() {
        let before = found.len();
        let meta = std::fs::metadata(&dir.path).map_err(|e| Error::io("open sources folder", &dir.path, &e))?;
        if !meta.is_dir() {
            return Err(Error::data(format!("{}: sources must be a folder", dir.path.display())));
        }
        listing.walk(&dir.path)?;
        let mut defaulted = 0;
        for file in std::mem::take(&mut listing.files) {
            let path = file.path;
            let real = path.canonicalize().map_err(|e| Error::io("open", &path, &e))?;
            let met_without_link = seen.entry(real.clone()).or_insert(false);
            if *met_without_link && !file.is_linked {
                continue;
            }
            *met_without_link |= !file.is_linked;
            let (domain, labels) = place(dir, &path, reading.folder_classes);
            defaulted += usize::from(domain.is_none());
            let domain = domain.unwrap_or(Domain::Environment);
            let in_part = !reading.folder_classes && parts_below(dir, &path);
            found.push(Found { path, real, root, domain, labels, by_table: false, in_part });
        }
        if found.len() == before {
            let what =
                format!("{}: no recordings (wav, ogg, flac, mp3) that are not listed already", dir.path.display());
            let unread = listing.unread();
            let hint = match unread.is_empty() {
                true => "point --sources at a folder with one sub-folder per class".into(),
                false => unread.join("; "),
            };
            return Err(Error::missing(what).hint(hint));
        }
        if defaulted > 0 {
            tracing::info!(
                "{}: {defaulted} recordings taken as environment (no domain in the path)",
                dir.path.display()
            );
        }
    }
    Ok(found)
}

/// Sets the labels of recordings whose class a table of their corpus says.
fn describe_by_tables(found: &mut [Found], tables: &[PathBuf], reading: &Reading) -> Described {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let wanted: BTreeSet<String> = found.iter().map(|f| stem(&f.path)).collect();
    let described = Described::read(tables, &wanted);
    if !reading.folder_classes {
        for f in found.iter_mut().filter(|f| f.domain == Domain::Environment) {
            let class = std::path::absolute(&f.path).ok().and_then(|p| described.class(&p).map(String::from));
            f.by_table = class.is_some();
            if let Some(class) = class {
                f.labels = vec![class];
            }
        }
    }
    described
}

/// Says which recordings have no class because their folders name none.
fn warn_of_arrangement(found: &[Found], dirs: &[SourceDir]) {
    let (mut n, mut folders) = (0, BTreeSet::new());
    for f in found.iter().filter(|f| f.domain == Domain::Environment && f.labels.is_empty()) {
        let above = names(&dirs[f.root].path).into_iter().last();
        let below = f.path.parent().and_then(|p| p.strip_prefix(&dirs[f.root].path).ok()).map(names);
        let mut mine =
            above.into_iter().chain(below.unwrap_or_default()).filter(|name| is_arrangement(name)).peekable();
        n += usize::from(mine.peek().is_some());
        folders.extend(mine);
    }
    if n > 0 {
        let first = folders.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if folders.len() > 3 { ", .." } else { "" };
        tracing::warn!(
            "{n} recordings have no class: folders such as {first}{more} say how data is arranged; put the corpus' \
             table beside them, sort them into folders by class, or take all folder names with --folder-classes"
        );
    }
}

/// The group of a file: what the user says, its name by the scheme of a corpus, a table, then weaker signs.
fn group_of(
    found: &Found,
    parts: &[String],
    below: usize,
    described: &Described,
    said: &mut Said,
) -> (Option<String>, Known) {
    if let Some(group) = said.group(parts, parts.len() - below.min(parts.len())) {
        return (Some(group), Known::Everywhere);
    }
    let mut stems = parts.to_vec();
    if let (Some(last), Some(stem)) = (stems.last_mut(), found.path.file_stem()) {
        *last = stem.to_string_lossy().into_owned();
    }
    let name = named(found.domain, &stems);
    let table = || std::path::absolute(&found.path).ok().and_then(|p| described.group(&p).map(String::from));
    match name {
        Some(name) if name.known != Known::InClass => (Some(name.group), name.known),
        name => match (table(), name) {
            (Some(group), _) => (Some(group), Known::Everywhere),
            (None, Some(name)) => (Some(name.group), name.known),
            (None, None) => (None, Known::No),
        },
    }
}

/// The names of all folders of a file and its own.
fn absolute_parts(path: &Path) -> Vec<String> {
    names(&std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()))
}

fn below_root(found: &Found, dirs: &[SourceDir]) -> PathBuf {
    found.path.strip_prefix(&dirs[found.root].path).unwrap_or(&found.path).to_path_buf()
}

/// Speakers in folders of their own whose files have the same names (`alice/01.wav`, `bob/01.wav`): where at least half
/// of a folder's names are met in others, the folder is the group.
fn group_by_folder(listed: &mut [Listed]) {
    let place = |l: &Listed| -> Option<(String, PathBuf)> {
        let path =
            l.recording.path.as_ref().filter(|_| l.known == Known::No && l.recording.domain == Domain::Speech)?;
        let folder =
            path.ancestors().skip(1).find(|f| f.file_name().is_some_and(|n| !is_arrangement(&n.to_string_lossy())))?;
        Some((path.file_stem()?.to_string_lossy().into_owned(), folder.to_path_buf()))
    };
    let places: Vec<_> = listed.iter().map(place).collect();
    let mut folders_of = BTreeMap::<&str, BTreeSet<&Path>>::new();
    for (stem, folder) in places.iter().flatten() {
        folders_of.entry(stem).or_default().insert(folder);
    }
    let mut counts = BTreeMap::<&Path, (usize, usize)>::new();
    for (stem, folder) in places.iter().flatten() {
        let (all, repeated) = counts.entry(folder).or_default();
        *all += 1;
        *repeated += usize::from(folders_of[stem.as_str()].len() > 1);
    }
    for (l, place) in listed.iter_mut().zip(&places) {
        let Some((_, folder)) = place.as_ref().filter(|(_, folder)| {
            let (all, repeated) = counts[folder.as_path()];
            2 * repeated >= all && repeated > 0
        }) else {
            continue;
        };
        let parts = absolute_parts(folder);
        l.recording.group = parts[parts.len().saturating_sub(2)..].join("/");
        l.known = Known::Everywhere;
    }
}

/// A file that links give several classes is a recording in each; in one class it counts once.
fn keep_one_of_a_class(listed: &mut Vec<(Recording, PathBuf, Known, PathBuf)>) {
    let mut seen = BTreeMap::<PathBuf, Vec<String>>::new();
    let (mut several, mut first) = (0, None);
    listed.retain(|(recording, below, _, real)| {
        let classes = seen.entry(real.clone()).or_default();
        let class = format!("{}/{}", recording.domain.name(), recording.class_name);
        if classes.contains(&class) {
            return false;
        }
        classes.push(class);
        if classes.len() == 2 {
            several += 1;
            first.get_or_insert_with(|| format!("{} as {}", below.display(), classes.join(" and ")));
        }
        true
    });
    if let Some(first) = first {
        tracing::warn!(
            "{several} files lie in several classes by links (first: {first}): each is used in all of them, on one side \
             of the split; remove the links that are not meant"
        );
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
/// name a class; `all_names`: also those that usually say how data is arranged.
fn place(dir: &SourceDir, path: &Path, all_names: bool) -> (Option<Domain>, Vec<String>) {
    let below = path.parent().and_then(|p| p.strip_prefix(&dir.path).ok()).map(names).unwrap_or_default();
    let root = names(&dir.path);
    let last_domain = |list: &[String]| list.iter().rev().find_map(|name| Domain::from_name(name));
    let domain = dir.domain.or_else(|| last_domain(&below)).or_else(|| last_domain(&root));
    let start = below.iter().rposition(|name| Domain::from_name(name).is_some()).map_or(0, |i| i + 1);
    let is_label = |name: &&String| all_names || !is_arrangement(name);
    let mut labels: Vec<String> = below[start..].iter().filter(is_label).cloned().collect();
    // Folds are parts of a corpus of many classes, whose name is none of them.
    let in_folds = !all_names && parts_below(dir, path);
    if labels.is_empty() && start == 0 && !in_folds {
        let own = root.last().filter(|name| Domain::from_name(name).is_none());
        labels.extend(own.filter(is_label).cloned());
    }
    (domain, labels)
}

/// Whether a file lies in a numbered part of a corpus below its root: `fold1`, `test2`.
fn parts_below(dir: &SourceDir, path: &Path) -> bool {
    let below = path.parent().and_then(|p| p.strip_prefix(&dir.path).ok()).map(names).unwrap_or_default();
    below.iter().any(|name| is_arrangement(name) && name.ends_with(|c: char| c.is_ascii_digit()))
}

/// A folder that alone holds all folds of a root is a corpus and no class (`data/UrbanSound8K/audio/fold1`).
fn forget_names_of_corpora(found: &mut [Found], roots: usize) {
    for root in 0..roots {
        let mine = |f: &&mut Found| {
            f.root == root && f.domain == Domain::Environment && f.in_part && !f.by_table && !f.labels.is_empty()
        };
        let labels: BTreeSet<Vec<String>> = found.iter_mut().filter(mine).map(|f| f.labels.clone()).collect();
        if labels.len() == 1 {
            found.iter_mut().filter(mine).for_each(|f| f.labels.clear());
        }
    }
}

/// A folder that holds all environment recordings of a root, in folders of their own, is a collection
/// (`ESC-50/rain`, `ESC-50/dog`) and not a class.
fn strip_common(found: &mut [Found]) {
    let roots = found.iter().map(|f| f.root).max().map_or(0, |m| m + 1);
    for root in 0..roots {
        let mine = |f: &&mut Found| f.root == root && f.domain == Domain::Environment && !f.by_table;
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

/// The recording of a file; without a known `group` the file's name is it.
fn describe(found: Found, dirs: &[SourceDir], notes: &Notes, group: Option<String>) -> Result<Recording> {
    let stem = found.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let class_name = match found.domain {
        Domain::Environment => {
            let name = found.labels.first().map(|l| normalise(l)).unwrap_or_default();
            if name.is_empty() { UNLABELLED.to_string() } else { name }
        }
        other => other.name().to_string(),
    };
    let about = notes.about(&found.path, &dirs[found.root].path, found.domain)?;
    Ok(Recording {
        id: format!("{}/{class_name}/{stem}", found.domain.name()),
        domain: found.domain,
        class: None,
        group: group.unwrap_or(stem),
        class_name,
        transcript: about.transcript,
        caption: about.caption,
        other_captions: about.other_captions,
        keywords: about.keywords,
        licence: about.licence,
        path: Some(found.path),
    })
}

/// Files of the same name get their path below the root as id; files of the same path a number.
fn make_unique(listed: &mut [(Recording, PathBuf, Known, PathBuf)]) {
    let mut count = BTreeMap::<String, usize>::new();
    listed.iter().for_each(|(r, ..)| *count.entry(r.id.clone()).or_default() += 1);
    let mut taken = BTreeSet::new();
    for (recording, below, ..) in listed {
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
