//! Compiled kernels kept on disk: `$XDG_CACHE_HOME/twnm/cubin/<key>.cubin`, else below `~/.cache`.
//!
//! An entry is a line, the BLAKE3 of key and content, the length of the log, the log and the code. It is written
//! atomically, private to the user, and checked on every load: a damaged entry is as good as none.

use super::Compiled;
use crate::error::{Error, Result};
use crate::files;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"twnm cubin 1\n";
/// More than any file of kernels compiles to; a larger entry is not read.
const LIMIT: u64 = 64 << 20;

/// The name of an entry: a hash of everything that the code depends on.
pub fn key(source: &str, flags: &[&str], arch: &str, version: (u32, u32)) -> String {
    let mut hash = blake3::Hasher::new();
    let version = format!("{}.{}", version.0, version.1);
    for part in flags.iter().copied().chain([arch, &version, source]) {
        // Lengths keep neighbours apart.
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().to_hex().to_string()
}

/// Where entries lie; `None` when neither variable says.
pub fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    Some(base.join("twnm").join("cubin"))
}

/// The entry of `key`; `None` when there is none, it is damaged, or others could have written it.
pub fn load(folder: &Path, key: &str) -> Option<Compiled> {
    let path = path(folder, key);
    if !is_private(folder) || !path.exists() {
        return None;
    }
    let parsed = files::read_limited(&path, LIMIT).and_then(|bytes| {
        parse(key, &bytes).ok_or_else(|| Error::integrity(format!("{}: a damaged entry", path.display())))
    });
    parsed.inspect_err(|error| tracing::warn!("kernels are compiled again: {}", error.message())).ok()
}

/// Writes the entry of `key`, making the folder when needed.
///
/// # Errors
/// When the folder cannot be made, belongs to someone else, or cannot be written.
pub fn store(folder: &Path, key: &str, cubin: &Compiled) -> Result<()> {
    let make = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    make.map_err(|e| Error::io("create folder", folder, &e))?;
    if !is_private(folder) {
        let text = format!("{}: not a folder that only this user can write", folder.display());
        return Err(Error::unavailable(text));
    }
    let mut content = (cubin.log.len() as u64).to_le_bytes().to_vec();
    content.extend_from_slice(cubin.log.as_bytes());
    content.extend_from_slice(&cubin.code);
    let seal = seal(key, &content);
    files::write_bytes_private(&path(folder, key), &[MAGIC, &seal, &content].concat())
}

fn path(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.cubin"))
}

/// With the key inside, an entry under another entry's name is damaged too.
fn seal(key: &str, content: &[u8]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    hash.update(key.as_bytes()).update(content);
    *hash.finalize().as_bytes()
}

fn parse(key: &str, bytes: &[u8]) -> Option<Compiled> {
    let (found, content) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    let (length, rest) = content.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    if *found != seal(key, content) || length > rest.len() {
        return None;
    }
    let (log, code) = rest.split_at(length);
    Some(Compiled { code: code.to_vec(), log: String::from_utf8(log.to_vec()).ok()? })
}

/// Whether the folder belongs to this user and nobody else can put entries into it.
fn is_private(folder: &Path) -> bool {
    let meta = std::fs::symlink_metadata(folder);
    meta.is_ok_and(|m| m.is_dir() && m.uid() == rustix::process::geteuid().as_raw() && m.mode() & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn entries_are_private_and_survive_only_whole() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("twnm/cubin");
        let cubin = Compiled { code: vec![7; 1000], log: "Used 8 registers".into() };
        let (key, other) = (key("a", &["-x"], "sm_90", (12, 9)), key("a", &["-x"], "sm_90", (13, 0)));
        assert!(key != other && key != super::key("-x", &["a"], "sm_90", (12, 9)));
        assert_eq!(load(&folder, &key), None);
        store(&folder, &key, &cubin).unwrap();
        assert_eq!(load(&folder, &key).unwrap(), cubin);
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&path(&folder, &key))), (0o700, 0o600));

        let whole = std::fs::read(path(&folder, &key)).unwrap();
        for at in [0, MAGIC.len(), MAGIC.len() + 32, MAGIC.len() + 45, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(path(&folder, &key), &damaged).unwrap();
            assert_eq!(load(&folder, &key), None, "byte {at}");
            std::fs::write(path(&folder, &key), &whole[..at]).unwrap();
            assert_eq!(load(&folder, &key), None, "cut at {at}");
        }
        std::fs::write(path(&folder, &other), &whole).unwrap();
        assert_eq!(load(&folder, &other), None, "an entry under another's name");
        store(&folder, &key, &cubin).unwrap();
        assert_eq!(load(&folder, &key).unwrap(), cubin);
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cubin = Compiled { code: vec![1], log: String::new() };
        store(folder.path(), "k", &cubin).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(load(folder.path(), "k"), None);
        assert!(store(folder.path(), "k", &cubin).is_err());
    }
}
