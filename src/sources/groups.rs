//! What is known about groups: what ties recordings together over classes, and what the user is told.

use super::folders::Listed;
use super::schemes::Known;
use super::{Recording, Sources, file_names};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Most names in one message.
const NAMES_MAX: usize = 5;
/// Longest group or class in a message, in characters: Common Voice's speakers are hashes of 128.
const NAME_CHARS_MAX: usize = 40;

/// Sets of recordings that stay on one side of a split although their classes or groups differ: known groups of one name,
/// what a table puts together, the chapters of one speaker, and one file under several names (links).
pub fn ties(listed: &[Listed]) -> Vec<(String, usize)> {
    let mut out = Vec::new();
    for (i, l) in listed.iter().enumerate() {
        if l.known == Known::Everywhere {
            out.push((format!("group {}/{}", l.recording.domain.name(), l.recording.group), i));
        }
        if let (Known::Chapter, Some((speaker, _))) = (l.known, l.recording.group.split_once('-')) {
            out.push((format!("speaker {speaker}"), i));
        }
        if let Some(told) = &l.told {
            out.push((format!("told {}/{told}", l.recording.domain.name()), i));
        }
        if let Some((device, number)) = hard_linked(&l.real) {
            out.push((format!("file {device} {number}"), i));
        } else {
            out.push((format!("path {}", l.real.display()), i));
        }
    }
    out
}

/// Device and number of a file that has several names.
fn hard_linked(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).ok()?;
    (meta.nlink() > 1 && meta.ino() > 0).then(|| (meta.dev(), meta.ino()))
}

fn class_of(r: &Recording) -> String {
    format!("{}/{}", r.domain.name(), r.class_name)
}

fn short(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}..", &name[..end]),
        None => name.to_string(),
    }
}

/// The first of many names.
fn first_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = if names.len() > NAMES_MAX { ", .." } else { "" };
    names.take(NAMES_MAX).map(short).collect::<Vec<_>>().join(", ") + more
}

/// Says where nothing is known about groups, and which are met in several classes.
pub fn warn(listed: &[Listed]) {
    let mut classes = BTreeMap::<String, (usize, BTreeSet<&str>, bool)>::new();
    let mut groups = BTreeMap::<(&str, Known), BTreeSet<String>>::new();
    for l in listed {
        let class = class_of(&l.recording);
        groups.entry((&l.recording.group, l.known)).or_default().insert(class.clone());
        let (files, names, is_known) = classes.entry(class).or_default();
        *files += 1;
        names.insert(&l.recording.group);
        *is_known |= l.known != Known::No;
    }
    let alone: Vec<&str> = classes
        .iter()
        .filter(|(_, (files, names, is_known))| *files > 1 && names.len() == *files && !is_known)
        .map(|(class, _)| class.as_str())
        .collect();
    if !alone.is_empty() {
        tracing::warn!(
            "{} of {} classes have as many groups as files ({}): nothing in their names tells which recordings belong \
             together; if some do (takes, speakers, pieces), say it with --groups or --group-pattern",
            alone.len(),
            classes.len(),
            first_of(alone.iter().copied())
        );
    }
    let several = |known: Known| -> Vec<(&str, &BTreeSet<String>)> {
        let of_kind = groups.iter().filter(|((_, k), classes)| *k == known && classes.len() > 1);
        of_kind.map(|((group, _), classes)| (*group, classes)).collect()
    };
    let place = |of: &[(&str, &BTreeSet<String>)]| {
        of.first().map(|(group, classes)| {
            format!(
                "{} in {}",
                short(group),
                first_of(classes.iter().map(String::as_str).collect::<Vec<_>>().into_iter())
            )
        })
    };
    let shared = several(Known::Everywhere);
    if let Some(first) = place(&shared) {
        let n = shared.len();
        tracing::warn!(
            "{n} groups are in several classes (first: {first}): each stays on one side of the split in all"
        );
    }
    // Mere counters (`01`, `take-3`) are met everywhere.
    let is_name = |group: &str| group.chars().filter(|c| c.is_alphanumeric()).count() >= 6;
    let alike: Vec<_> =
        [Known::No, Known::InClass].into_iter().flat_map(several).filter(|(group, _)| is_name(group)).collect();
    if let Some(first) = place(&alike) {
        let n = alike.len();
        tracing::warn!(
            "{n} names are met in several classes (first: {first}): taken for different recordings; if they are not, \
             say it with --groups or --group-pattern"
        );
    }
}

impl Sources {
    /// How recordings are grouped: 1, as the first version did by file names, or 2, with the names of more corpora,
    /// tables, folders of speakers, or the user's word. Other groups give other scenes.
    pub fn grouping(&self) -> u32 {
        let is_first = |r: &Recording| {
            let stem = r.path.as_ref().and_then(|p| p.file_stem());
            stem.is_none_or(|stem| r.group == file_names::group(r.domain, &stem.to_string_lossy()))
        };
        if self.recordings.iter().all(is_first) { 1 } else { 2 }
    }

    /// Per class one line with its first groups and their number of recordings, for at most 70 classes.
    pub fn group_lines(&self) -> Vec<String> {
        const CLASSES_MAX: usize = 70;
        let mut classes = BTreeMap::<String, BTreeMap<&str, usize>>::new();
        for r in &self.recordings {
            *classes.entry(class_of(r)).or_default().entry(&r.group).or_default() += 1;
        }
        let line = |(class, groups): (&String, &BTreeMap<&str, usize>)| {
            let files: usize = groups.values().sum();
            let first: Vec<String> =
                groups.iter().take(NAMES_MAX).map(|(name, n)| format!("{} ({n})", short(name))).collect();
            let more = if groups.len() > NAMES_MAX { ", .." } else { "" };
            let (count, class) = (groups.len(), short(class));
            format!("groups of {class}: {count} of {files} recordings: {}{more}", first.join(", "))
        };
        let mut out: Vec<String> = classes.iter().take(CLASSES_MAX).map(line).collect();
        if classes.len() > CLASSES_MAX {
            out.push(format!("and the groups of {} more classes", classes.len() - CLASSES_MAX));
        }
        out
    }
}
