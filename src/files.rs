//! Saved state that survives a crash: temporary file, sync, rename, directory sync.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Writes a file so that readers see either the old content or the whole new one: a temporary file in the
/// same folder is filled by `fill`, synced, renamed over `path`, and the folder is synced. On any error
/// the temporary file is removed and `path` is as it was. Missing parent folders are created.
///
/// # Errors
/// `Io` naming the file or folder; a full disk has a hint.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>) -> Result<()> {
    // A temporary file is private; a result is as readable as the process lets any other new file be.
    write_with_mode(path, 0o666, fill)
}

/// `mode`: the permissions before the process's mask takes some away, as for every new file.
fn write_with_mode(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<()> {
    crate::signals::survive_file_limits();
    let folder = parent(path);
    std::fs::create_dir_all(&folder).map_err(|e| Error::io("create folder", &folder, &e))?;
    let io = |e: std::io::Error| Error::io("write", path, &e);
    // Opened before anything is replaced: a folder that may be written but not read is an error that changes nothing.
    let opened = File::open(&folder).map_err(|e| Error::io("sync folder", &folder, &e))?;
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(mode);
    let temporary =
        tempfile::Builder::new().prefix(".tmp-").permissions(permissions).tempfile_in(&folder).map_err(io)?;
    {
        let mut out = BufWriter::with_capacity(1 << 20, temporary.as_file());
        fill(&mut out).and_then(|()| out.flush()).map_err(io)?;
    }
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(path).map_err(|e| io(e.error))?;
    opened.sync_all().map_err(|e| Error::io("sync folder", &folder, &e))
}

/// [`write_atomic`] for bytes that are already there.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_bytes_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |out| out.write_all(bytes))
}

/// [`write_bytes_atomic`] for a file that only this user may read.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_bytes_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with_mode(path, 0o600, |out| out.write_all(bytes))
}

/// Makes renames and removals in `folder` durable.
///
/// # Errors
/// `Missing` or `Io` naming the folder.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("sync folder", folder, &e))
}

/// Reads a whole file of at most `limit` bytes; a larger one, a folder, a device or a pipe is refused.
///
/// # Errors
/// `Data` naming the file and its size when it is too large; those of [`open_regular`].
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_regular(path)?;
    let size = file.metadata().map_err(|e| Error::io("read", path, &e))?.len();
    if size > limit {
        return Err(Error::data(format!("{}: {size} bytes, at most {limit} are accepted", path.display())));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, &e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::data(format!("{}: grew beyond {limit} bytes while it was read", path.display())));
    }
    Ok(bytes)
}

/// Opens a regular file for reading; a pipe or device is refused at once instead of hanging.
///
/// # Errors
/// `Missing` or `Io` naming the path; `Data` when it is no regular file.
pub fn open_regular(path: &Path) -> Result<File> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io("open", path, &e))?;
    if !meta.is_file() {
        let what = if meta.is_dir() { "a folder" } else { "not a regular file" };
        return Err(Error::data(format!("{}: is {what}, a file was expected", path.display())));
    }
    File::open(path).map_err(|e| Error::io("open", path, &e))
}

/// Removes leftovers of [`write_atomic`] calls that were killed (`.tmp-*` files directly in `folder`).
///
/// # Errors
/// `Io` naming the file that could not be removed.
pub fn remove_temporaries(folder: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let is_temporary = entry.file_name().to_string_lossy().starts_with(".tmp-");
        if is_temporary && entry.file_type().is_ok_and(|t| t.is_file()) {
            std::fs::remove_file(entry.path()).map_err(|e| Error::io("remove", &entry.path(), &e))?;
        }
    }
    Ok(())
}

/// Holds a folder for one process: an exclusive `flock` on a file in it, released when dropped or when the
/// process ends in any way, so that a lock is never stale.
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks `folder` (which exists) through the file `name` in it, which stays there.
    ///
    /// # Errors
    /// `Io` when another process holds it.
    pub fn acquire(folder: &Path, name: &str) -> Result<Self> {
        use rustix::fs::{FlockOperation, flock};
        let path = folder.join(name);
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(|e| Error::io("open lock", &path, &e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let message = format!("{}: another process is writing there", folder.display());
                Err(Error::new(crate::error::Kind::Io, message).hint("wait for it, stop it, or use another folder"))
            }
            Err(e) => Err(Error::io("lock", &path, &e.into())),
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write_bytes_atomic(&path, b"old").unwrap();
        let failed = write_atomic(&path, |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        });
        assert_eq!(failed.unwrap_err().kind(), crate::error::Kind::Io);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_result_has_the_permissions_of_any_other_new_file() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let [ours, plain, private] = ["ours", "plain", "private"].map(|name| folder.path().join(name));
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        write_bytes_atomic(&ours, b"x").unwrap();
        std::fs::write(&plain, b"x").unwrap();
        assert_eq!(mode(&ours), mode(&plain));
        write_bytes_private(&private, b"x").unwrap();
        assert_eq!(mode(&private) & 0o077, 0);
    }

    #[test]
    fn a_locked_folder_is_refused_until_the_lock_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::acquire(folder.path(), "lock").unwrap();
        let second = FolderLock::acquire(folder.path(), "lock").err().unwrap();
        assert_eq!(second.kind(), crate::error::Kind::Io);
        drop(lock);
        FolderLock::acquire(folder.path(), "lock").unwrap();
    }

    #[test]
    fn a_pipe_or_folder_is_refused_without_hanging() {
        assert!(read_limited(Path::new("/dev/null"), 10).is_err());
        assert!(read_limited(Path::new("/"), 10).is_err());
    }
}
