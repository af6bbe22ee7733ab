//! Outputs: where a name leads, what may be written there, and the writing itself.

use crate::error::{Error, Kind, Result};
use std::fs::{File, Metadata};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// As many symbolic links as Linux follows.
const LINKS_MAX: usize = 40;

/// Writes a file so that readers see either the old content or the whole new one: a temporary file in the
/// same folder is filled by `fill`, synced, renamed over `path`, and the folder is synced. On any error
/// the temporary file is removed and `path` is as it was. Missing parent folders are created.
///
/// A symbolic link stays, and its target is written so; a file that is replaced keeps its permissions. A device, a pipe
/// or `/dev/stdout` is never replaced: the content is written into it.
///
/// # Errors
/// `Usage` when `path` names a folder; `Io` naming the file or folder; a full disk has a hint.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>) -> Result<()> {
    // A temporary file is private; a result is as readable as the process lets any other new file be.
    write_with_mode(path, 0o666, fill)
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

/// Checks before a computation that [`write_atomic`] will be able to write its result to `path`: it is no folder and not
/// protected, and a file can be made where it shall stand. Nothing is changed.
///
/// # Errors
/// `Usage` when `path` names a folder or nothing; `Io` saying why nothing can be written there.
pub fn check_output(path: &Path) -> Result<()> {
    let at = match place(path)? {
        Place::File { at, .. } => at,
        Place::Into(at) => return check_writable(path, &at),
        Place::Append(_) | Place::Stdout | Place::Stderr => return Ok(()),
    };
    check_folder(path, parent(&at))
}

/// [`check_output`] for a folder that results are written into: it is one or can be made.
///
/// # Errors
/// `Usage` when `path` is a file or empty; `Io` saying why nothing can be written there.
pub fn check_output_folder(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() {
        return Err(Error::usage("the name of the output folder is empty"));
    }
    if std::fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
        return Err(Error::usage(format!("{} is no folder, the name of one is expected", path.display())));
    }
    check_folder(path, path.to_path_buf())
}

/// Makes a file in `folder` and removes it. Of folders that are missing the nearest that is there is tried: they are made
/// when there is something to put into them.
fn check_folder(path: &Path, mut folder: PathBuf) -> Result<()> {
    loop {
        match std::fs::metadata(&folder) {
            Ok(found) if found.is_dir() => break,
            Ok(_) => return Err(unwritable(path, &format!("{} is a file, not a folder", folder.display()))),
            Err(e) if e.kind() == ErrorKind::NotFound && folder.parent().is_some() => folder = parent(&folder),
            Err(e) => return Err(failed(path, &e)),
        }
    }
    tempfile::Builder::new().prefix(".tmp-").tempfile_in(&folder).map(drop).map_err(|e| failed(path, &e))
}

/// Refuses an output that is one of the inputs: by the same name, another spelling of it, or a link.
///
/// # Errors
/// `Usage` naming both.
pub fn check_apart(output: &Path, inputs: &[&Path]) -> Result<()> {
    let Ok(written) = std::fs::metadata(output) else { return Ok(()) };
    let same = |input: &&&Path| {
        std::fs::metadata(input).is_ok_and(|read| (read.dev(), read.ino()) == (written.dev(), written.ino()))
    };
    // A device or a terminal can be both.
    match inputs.iter().find(same) {
        Some(input) if written.is_file() || written.is_dir() => Err(Error::usage(format!(
            "{} is the input {} itself, which would be {}",
            output.display(),
            input.display(),
            if written.is_file() { "overwritten" } else { "mixed with results" }
        ))
        .hint("give the output another name")),
        _ => Ok(()),
    }
}

/// Where an output goes.
enum Place {
    /// A file, there (`replaced`) or not yet: links are followed.
    File { at: PathBuf, replaced: Option<Metadata> },
    /// Into a device or a pipe.
    Into(PathBuf),
    /// Behind what a process has written to one of its streams.
    Append(PathBuf),
    /// The program's own standard output.
    Stdout,
    /// The program's own standard error.
    Stderr,
}

/// Follows `path` to the place that is written.
fn place(path: &Path) -> Result<Place> {
    let text = path.as_os_str().as_encoded_bytes();
    if text.is_empty() {
        return Err(Error::usage("the name of the output is empty"));
    }
    let is_folder = || Error::usage(format!("{} is a folder, the name of a file is expected", path.display()));
    if text.ends_with(b"/") || text.ends_with(b"/.") {
        return Err(is_folder());
    }
    let mut at = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        let folder = parent(&at);
        let real = std::fs::canonicalize(&folder).unwrap_or(folder);
        if real.starts_with("/proc") && real.ends_with("fd") {
            return Ok(descriptor(&real, at));
        }
        let found = match std::fs::symlink_metadata(&at) {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Place::File { at, replaced: None }),
            Err(e) => return Err(failed(path, &e)),
        };
        if found.is_symlink() {
            let target = std::fs::read_link(&at).map_err(|e| failed(path, &e))?;
            at = parent(&at).join(target);
            continue;
        }
        return match found.file_type() {
            kind if kind.is_dir() => Err(is_folder()),
            kind if kind.is_file() => {
                check_writable(path, &at)?;
                Ok(Place::File { at, replaced: Some(found) })
            }
            kind if kind.is_socket() => Err(unwritable(path, "it is a socket")),
            _ => Ok(Place::Into(at)),
        };
    }
    Err(unwritable(path, "its symbolic links lead in a circle"))
}

/// A name like /dev/stdout or /dev/fd/3: what a process holds under that number.
fn descriptor(folder: &Path, at: PathBuf) -> Place {
    let is_own = std::fs::canonicalize("/proc/self").is_ok_and(|own| folder.starts_with(own));
    match at.file_name().and_then(|name| name.to_str()) {
        Some("1") if is_own => Place::Stdout,
        Some("2") if is_own => Place::Stderr,
        _ => Place::Append(at),
    }
}

/// A file without permission to write is not replaced, although its folder would allow it.
fn check_writable(path: &Path, at: &Path) -> Result<()> {
    use rustix::fs::{Access, access};
    let has_bit = std::fs::metadata(at).is_ok_and(|found| found.mode() & 0o222 != 0);
    match has_bit && access(at, Access::WRITE_OK).is_ok() {
        true => Ok(()),
        false => Err(unwritable(path, "it is protected against writing")
            .hint("change its permissions (`chmod u+w`), remove it, or give another name")),
    }
}

/// `mode`: the permissions of a new file before the process's mask takes some away; a private file stays private.
fn write_with_mode(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<()> {
    crate::signals::survive_file_limits();
    let io = |e: std::io::Error| failed(path, &e);
    match place(path)? {
        Place::File { at, replaced } => replace(path, &at, replaced, mode, fill),
        // Opening a pipe waits for its reader, as it does in every program.
        Place::Into(at) => File::options().write(true).open(at).and_then(|file| fill_file(&file, fill)).map_err(io),
        Place::Append(at) => File::options().append(true).open(at).and_then(|file| fill_file(&file, fill)).map_err(io),
        Place::Stderr => {
            let copy = std::io::stderr().as_fd().try_clone_to_owned();
            copy.and_then(|stream| fill_file(&File::from(stream), fill)).map_err(io)
        }
        Place::Stdout => {
            let copy = std::io::stdout().as_fd().try_clone_to_owned();
            copy.and_then(|stream| fill_file(&File::from(stream), fill)).map_err(|e| match e.kind() {
                ErrorKind::BrokenPipe => Error::new(Kind::Closed, "standard output was closed"),
                _ => io(e),
            })
        }
    }
}

fn fill_file(file: &File, fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let outcome = fill(&mut out).and_then(|()| out.flush());
    // What could not be written is not tried again.
    drop(out.into_parts());
    outcome
}

fn replace(
    path: &Path,
    at: &Path,
    replaced: Option<Metadata>,
    mode: u32,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<()> {
    let folder = parent(at);
    let io = |e: std::io::Error| failed(path, &e);
    std::fs::create_dir_all(&folder).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            unwritable(path, &format!("{} is a file, not a folder", folder.display()))
        }
        _ => io(e),
    })?;
    // Opened before anything is replaced: a folder that may be written but not read is an error that changes nothing.
    let opened = File::open(&folder).map_err(|e| Error::io("sync folder", &folder, &e).with_kind(Kind::Io))?;
    let permissions = std::fs::Permissions::from_mode(mode);
    let temporary =
        tempfile::Builder::new().prefix(".tmp-").permissions(permissions).tempfile_in(&folder).map_err(io)?;
    fill_file(temporary.as_file(), fill).map_err(io)?;
    if let Some(old) = replaced {
        keep_owner(temporary.as_file(), &old);
        let permissions = std::fs::Permissions::from_mode(old.mode() & mode_of(mode));
        temporary.as_file().set_permissions(permissions).map_err(io)?;
    }
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(at).map_err(|e| io(e.error))?;
    opened.sync_all().map_err(|e| Error::io("sync folder", &folder, &e).with_kind(Kind::Io))
}

/// Which permissions of a replaced file are kept: all, but for a private file those of others.
fn mode_of(mode: u32) -> u32 {
    if mode == 0o600 { 0o700 } else { 0o777 }
}

/// A file that the administrator writes for a user stays that user's. Nobody else may give files away, and then the new
/// file is the writer's, as every atomic replacement.
fn keep_owner(file: &File, old: &Metadata) {
    if file.metadata().is_ok_and(|new| (new.uid(), new.gid()) != (old.uid(), old.gid())) {
        std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid())).ok();
    }
}

/// An error of the system while `path`, as the user named it, is written; whatever is missing, it is no input.
fn failed(path: &Path, e: &std::io::Error) -> Error {
    // The error of a temporary file names that one.
    let inner = e.get_ref().and_then(|inner| inner.source()).and_then(|e| e.downcast_ref::<std::io::Error>());
    let e = inner.unwrap_or(e);
    match e.kind() {
        ErrorKind::NotFound => unwritable(path, "no file can be made in its folder"),
        _ => Error::io("write", path, e),
    }
}

fn unwritable(path: &Path, why: &str) -> Error {
    Error::new(Kind::Io, format!("cannot write {}: {why}", path.display()))
}

/// The folder of a path, by name.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests;
