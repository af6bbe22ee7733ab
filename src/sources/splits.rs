//! Train, dev and test by groups: the rule and the `splits.json` file.
//!
//! Rule (ARCHITECTURE.md): the number of a group is the first 8 bytes, little-endian, of the BLAKE3 of its key
//! `domain/class/group`. Within a class, in the order of these numbers, the first `max(1, round(n / 10))`
//! groups are test, as many again dev, the rest train; a class of fewer than 3 groups is all train.

use super::{Recording, Split};
use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Largest accepted `splits.json`.
const MAX_BYTES: u64 = 256 << 20;
const FORMAT: &str = "twnm-splits-1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitFile {
    format: String,
    rule: String,
    groups: BTreeMap<String, Split>,
}

/// The number that orders a group within its class.
fn number(key: &str) -> u64 {
    let hash = blake3::hash(key.as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}

/// The split of every recording by the rule; classes with fewer than 3 groups are printed.
pub fn by_rule(recordings: &[Recording]) -> Vec<Split> {
    let mut classes: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for r in recordings {
        classes.entry((r.domain.name(), &r.class_name)).or_default().insert(r.group_key());
    }
    let mut split_of = BTreeMap::new();
    for ((domain, class), keys) in classes {
        let mut ordered: Vec<(u64, String)> = keys.into_iter().map(|key| (number(&key), key)).collect();
        ordered.sort();
        let n = ordered.len();
        let held = if n < 3 { 0 } else { 1.max((n as f64 / 10.0).round() as usize) };
        if held == 0 {
            tracing::warn!("{domain}/{class}: {n} group(s), at least 3 are needed to hold some out: all for training");
        }
        for (rank, (_, key)) in ordered.into_iter().enumerate() {
            let split = match rank {
                r if r < held => Split::Test,
                r if r < 2 * held => Split::Dev,
                _ => Split::Train,
            };
            split_of.insert(key, split);
        }
    }
    recordings.iter().map(|r| split_of[&r.group_key()]).collect()
}

/// See [`super::Sources::use_splits`].
pub fn from_file(path: &Path, recordings: &[Recording]) -> Result<Vec<Split>> {
    let bytes = files::read_limited(path, MAX_BYTES)?;
    let bad = |what: String| {
        Error::data(format!("{}: {what}", path.display())).hint("give a splits.json that `twnm simulate` wrote")
    };
    let file: SplitFile = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    if file.format != FORMAT {
        return Err(bad(format!("format is {:?}, {FORMAT:?} is read", file.format)));
    }
    if let Some((key, _)) = file.groups.iter().find(|(_, split)| **split == Split::All) {
        return Err(bad(format!("groups: {key:?} is \"all\", which is no split")));
    }
    let unknown: BTreeSet<String> =
        recordings.iter().map(Recording::group_key).filter(|key| !file.groups.contains_key(key)).collect();
    if let Some(first) = unknown.first() {
        tracing::warn!(
            "{}: {} groups (first: {first}) are not listed: all for training",
            path.display(),
            unknown.len()
        );
    }
    Ok(recordings.iter().map(|r| file.groups.get(&r.group_key()).copied().unwrap_or(Split::Train)).collect())
}

/// See [`super::Sources::write_splits`].
pub fn write(path: &Path, recordings: &[Recording], splits: &[Split]) -> Result<()> {
    let file = SplitFile {
        format: FORMAT.into(),
        rule: "per class, groups by the first 8 bytes (little-endian) of BLAKE3(domain/class/group): \
               max(1, round(n/10)) test, as many dev, the rest train; fewer than 3 groups: all train"
            .into(),
        groups: recordings.iter().map(Recording::group_key).zip(splits.iter().copied()).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&file).expect("strings and enums serialise");
    json.push(b'\n');
    files::write_bytes_atomic(path, &json)
}
