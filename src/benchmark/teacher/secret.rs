//! The teacher's key. It has no `Debug`, no `Display` and is never serialized: it leaves only in the header of a request.

use crate::error::{Error, Result};
use crate::files::read_limited;
use std::path::Path;

/// The variable that holds the key when no file does.
pub const KEY_VARIABLE: &str = "TWNM_TEACHER_KEY";
/// Longest key in bytes.
const KEY_BYTES_MAX: u64 = 4096;
/// A shorter key may be an everyday word ("EMPTY"), of which nothing can be kept clean.
const TELLING_BYTES: usize = 8;

/// A secret that authorizes requests.
pub struct Key(String);

impl Key {
    /// The key in `file`, else in the environment, else none.
    ///
    /// # Errors
    /// `Missing` or `Data` for a file that is none or holds no key, `Usage` for a variable that holds none; no message
    /// shows what was found.
    pub fn find(file: Option<&Path>) -> Result<Option<Key>> {
        if let Some(path) = file {
            let bytes = read_limited(path, KEY_BYTES_MAX)?;
            warn_if_readable(path);
            let key = std::str::from_utf8(&bytes).ok().and_then(Key::parse);
            return key.map(Some).ok_or_else(|| {
                Error::data(format!("{}: no key in it", path.display()))
                    .hint("one line of printable ASCII without spaces is expected")
            });
        }
        match std::env::var_os(KEY_VARIABLE) {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => match text.to_str().and_then(Key::parse) {
                Some(key) => Ok(Some(key)),
                None => Err(Error::usage(format!("{KEY_VARIABLE}: printable ASCII without spaces is expected"))),
            },
        }
    }

    fn parse(text: &str) -> Option<Key> {
        let text = text.trim();
        let is_key = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        is_key.then(|| Key(text.into()))
    }

    /// The value of the header `Authorization`.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a text gives the key away.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.0.len() >= TELLING_BYTES && text.contains(&self.0)
    }
}

fn warn_if_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o044 != 0) {
        tracing::warn!("{}: others can read this key; chmod 600 keeps it private", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_files_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "  sk-0123456789\n").unwrap();
        let key = Key::find(Some(file.path())).unwrap().unwrap();
        assert_eq!(key.bearer(), "Bearer sk-0123456789");
        assert!(key.is_in("your key is sk-0123456789.") && !key.is_in("sk-01234567"));
        assert!(!Key("front".into()).is_in("from the front"));
        for bad in [&b"sk-0123 456789"[..], b"", b"sk-\xff", b"sk-0123456789\nsk-0123456789"] {
            std::fs::write(file.path(), bad).unwrap();
            let error = Key::find(Some(file.path())).err().unwrap().to_string();
            assert!(!error.contains("0123") && error.contains("no key"), "{error}");
        }
    }
}
