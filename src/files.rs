//! Saved state that survives a crash: temporary file, sync, rename, directory sync. Inputs that are what they should
//! be, and folders that one process holds.

mod output;

use crate::error::{Error, Result};
pub use output::{
    check_apart, check_output, check_output_folder, write_atomic, write_bytes_atomic, write_bytes_private,
};
use std::fs::File;
use std::io::Read;
use std::path::Path;

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

/// [`read_limited`] without the byte order mark that some editors put in front of text.
///
/// # Errors
/// As [`read_limited`].
pub fn read_text(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = read_limited(path, limit)?;
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
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

/// Makes a folder that a model or a set of files is written into, if it is absent, and takes out what a killed save of
/// them left there. The caller is the only process that writes there: it holds the lock of the folder around it.
///
/// # Errors
/// `Io` naming the folder or the file that could not be removed.
pub fn prepare_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, &e))?;
    remove_temporaries(folder)
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

#[cfg(test)]
mod tests {
    use super::*;

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
