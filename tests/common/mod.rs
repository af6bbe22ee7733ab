//! What several test programs need: the lasting files of a folder, compared byte by byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every file below `folder` that must not depend on the clock or on interruptions.
pub fn lasting(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut out, mut pending) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(path) = pending.pop() {
        for entry in std::fs::read_dir(path).unwrap().map(|e| e.unwrap()) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                pending.push(path);
            } else if name != "timings.jsonl" && !name.starts_with("events.out") {
                out.insert(path.strip_prefix(folder).unwrap().to_path_buf(), std::fs::read(&path).unwrap());
            }
        }
    }
    out
}

#[track_caller]
pub fn assert_same(expected: &BTreeMap<PathBuf, Vec<u8>>, folder: &Path) {
    let found = lasting(folder);
    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (path, bytes) in expected {
        assert!(found[path] == *bytes, "{} differs", path.display());
    }
}
