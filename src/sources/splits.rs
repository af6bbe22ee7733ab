//! Train, dev and test by groups: the rule and the `splits.json` file.
//!
//! Rule (ARCHITECTURE.md): the number of a group is the first 8 bytes, little-endian, of the BLAKE3 of its key
//! `domain/class/group`. Within a class, in the order of these numbers, the first `max(1, round(n / 10))`
//! groups are test, as many again dev, the rest train; a class of fewer than 3 groups is all train. A group that
//! several classes share (one speaker, one recording), and all chapters of a speaker, are one *unit* that counts as one
//! group: it comes to one side in all classes, to test or dev while one of them still needs it and none would be left
//! without the rest of what it needs.

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

/// What must stay together: for every recording the number of its unit. `ties` are sets of recordings that belong
/// together beside those with one key.
pub fn units(recordings: &[Recording], ties: impl Iterator<Item = (String, usize)>) -> Vec<usize> {
    let mut unit: Vec<usize> = (0..recordings.len()).collect();
    fn root(unit: &mut [usize], mut i: usize) -> usize {
        while unit[i] != i {
            unit[i] = unit[unit[i]];
            i = unit[i];
        }
        i
    }
    let mut first = BTreeMap::new();
    let keys = recordings.iter().enumerate().map(|(i, r)| (format!("key {}", r.group_key()), i));
    for (tie, i) in keys.chain(ties) {
        let other = *first.entry(tie).or_insert(i);
        let (a, b) = (root(&mut unit, i), root(&mut unit, other));
        unit[a.max(b)] = a.min(b);
    }
    (0..recordings.len()).map(|i| root(&mut unit, i)).collect()
}

/// How many units of a class each split has and should have.
#[derive(Default)]
struct Quota {
    units: usize,
    held: usize,
    left: usize,
    test: usize,
    dev: usize,
    train: usize,
}

impl Quota {
    /// Whether a class can give one more unit to `split` and still fill the others: test, dev, and half for training.
    fn spares(&self, split: Split) -> bool {
        let (test, dev) = (self.held.saturating_sub(self.test), self.held.saturating_sub(self.dev));
        let train = (self.units / 2).max(1).saturating_sub(self.train);
        let others = train + if split == Split::Test { dev } else { test };
        let own = if split == Split::Test { test } else { dev };
        self.held > 0 && self.left > others + own.saturating_sub(1)
    }

    fn needs(&self, split: Split) -> bool {
        self.held > if split == Split::Test { self.test } else { self.dev }
    }

    fn take(&mut self, split: Split) {
        self.left -= 1;
        match split {
            Split::Test => self.test += 1,
            Split::Dev => self.dev += 1,
            _ => self.train += 1,
        }
    }
}

/// The split of every recording by the rule; classes with fewer than 3 groups are printed.
pub fn by_rule(recordings: &[Recording], units: &[usize]) -> Vec<Split> {
    let class_of = |r: &Recording| format!("{}/{}", r.domain.name(), r.class_name);
    let mut members = BTreeMap::<usize, (u64, String, BTreeSet<String>)>::new();
    for (r, unit) in recordings.iter().zip(units) {
        let (key, class) = (r.group_key(), class_of(r));
        let number = number(&key);
        let entry = members.entry(*unit).or_insert_with(|| (number, key.clone(), BTreeSet::new()));
        if (number, &key) < (entry.0, &entry.1) {
            (entry.0, entry.1) = (number, key);
        }
        entry.2.insert(class);
    }
    let mut quotas = BTreeMap::<&str, Quota>::new();
    for class in members.values().flat_map(|m| &m.2) {
        quotas.entry(class).or_default().units += 1;
    }
    for (class, quota) in &mut quotas {
        let n = quota.units;
        quota.left = n;
        quota.held = if n < 3 { 0 } else { 1.max((n as f64 / 10.0).round() as usize) };
        if n < 3 {
            tracing::warn!("{class}: {n} group(s), at least 3 are needed to hold some out: all for training");
        }
    }
    let mut ordered: Vec<_> =
        members.iter().map(|(unit, (number, key, classes))| (number, key, classes, unit)).collect();
    ordered.sort();
    let mut split_of = BTreeMap::new();
    for (_, _, classes, unit) in ordered {
        let fits = |split: &Split| {
            let of = || classes.iter().map(|class| &quotas[class.as_str()]);
            of().any(|q| q.needs(*split)) && of().all(|q| q.spares(*split))
        };
        let split = [Split::Test, Split::Dev].into_iter().find(fits).unwrap_or(Split::Train);
        classes.iter().for_each(|class| quotas.get_mut(class.as_str()).expect("every class has one").take(split));
        split_of.insert(*unit, split);
    }
    for (class, q) in quotas.iter().filter(|(_, q)| q.units >= 3 && (q.test == 0 || q.dev == 0)) {
        let (test, dev) = (q.test, q.dev);
        tracing::warn!("{class}: {test} groups for test, {dev} for dev: it shares its groups with other classes");
    }
    units.iter().map(|unit| split_of[unit]).collect()
}

/// See [`super::Sources::use_splits`].
pub fn from_file(path: &Path, recordings: &[Recording], units: &[usize]) -> Result<Vec<Split>> {
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
    // A group that the file knows by another class only is on the side of that class.
    let mut by_unit = BTreeMap::<usize, BTreeSet<Split>>::new();
    let listed = |r: &Recording| file.groups.get(&r.group_key()).copied();
    for (unit, split) in units.iter().zip(recordings).filter_map(|(unit, r)| Some((*unit, listed(r)?))) {
        by_unit.entry(unit).or_default().insert(split);
    }
    let torn: BTreeSet<usize> = by_unit.iter().filter(|(_, splits)| splits.len() > 1).map(|(unit, _)| *unit).collect();
    if let Some(first) = recordings.iter().zip(units).find(|(_, unit)| torn.contains(unit)) {
        tracing::warn!(
            "{}: {} groups (first: {}) are in several splits under several classes: what is heard in one is in the other; \
             simulate all sets anew, without --splits for the first",
            path.display(),
            torn.len(),
            first.0.group
        );
    }
    let of_unit = |unit: &usize| by_unit.get(unit).and_then(|splits| splits.first().copied());
    let known = |(r, unit): (&Recording, &usize)| listed(r).or_else(|| of_unit(unit));
    let unknown: BTreeSet<String> =
        recordings.iter().zip(units).filter(|pair| known(*pair).is_none()).map(|(r, _)| r.group_key()).collect();
    if let Some(first) = unknown.first() {
        tracing::warn!(
            "{}: {} groups (first: {first}) are not listed: all for training",
            path.display(),
            unknown.len()
        );
    }
    Ok(recordings.iter().zip(units).map(|pair| known(pair).unwrap_or(Split::Train)).collect())
}

/// See [`super::Sources::write_splits`].
pub fn write(path: &Path, recordings: &[Recording], units: &[usize], splits: &[Split]) -> Result<()> {
    let mut rule = "per class, groups by the first 8 bytes (little-endian) of BLAKE3(domain/class/group): \
                    max(1, round(n/10)) test, as many dev, the rest train; fewer than 3 groups: all train"
        .to_string();
    let keys: BTreeSet<String> = recordings.iter().map(Recording::group_key).collect();
    if keys.len() > units.iter().collect::<BTreeSet<_>>().len() {
        rule += "; a group of several classes, and all chapters of a speaker, count as one and stay together";
    }
    let file = SplitFile {
        format: FORMAT.into(),
        rule,
        groups: recordings.iter().map(Recording::group_key).zip(splits.iter().copied()).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&file).expect("strings and enums serialise");
    json.push(b'\n');
    files::write_bytes_atomic(path, &json)
}
