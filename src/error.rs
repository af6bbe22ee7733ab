//! One error type for everything that comes from outside: files, flags, recipes, the machine.
//!
//! An [`Error`] carries what went wrong, the chain of places it went through (file, field) and a hint
//! that says what to do. Its [`Kind`] decides the exit code of the command line tools. Mistakes of the
//! programmer (wrong shapes, misuse of an op) panic instead, with `#[track_caller]`.

use std::fmt;
use std::path::Path;

/// Shorthand used throughout the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is; decides the exit code (`ARCHITECTURE.md`, command contract).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything that fits no other kind: exit 1.
    Other,
    /// A flag, recipe or configuration value is wrong: exit 2.
    Usage,
    /// A file was read but its content is not acceptable: exit 65.
    Data,
    /// An input file or folder does not exist: exit 66.
    Missing,
    /// A device, library or feature asked for is not there: exit 69.
    Unavailable,
    /// A defect of the program that was caught: exit 70.
    Internal,
    /// Reading or writing failed (full disk, permissions): exit 74.
    Io,
    /// A signal stopped the run and its state was saved: exit 75.
    Stopped,
    /// Data does not match its recorded hash or expected value: exit 78.
    Integrity,
    /// Training diverged: exit 79.
    Diverged,
    /// Who read the standard output stopped reading (`| head`): nobody is told, exit 141 as after SIGPIPE.
    Closed,
}

impl Kind {
    /// The process exit code that stands for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Other => 1,
            Kind::Usage => 2,
            Kind::Data => 65,
            Kind::Missing => 66,
            Kind::Unavailable => 69,
            Kind::Internal => 70,
            Kind::Io => 74,
            Kind::Stopped => 75,
            Kind::Integrity => 78,
            Kind::Diverged => 79,
            Kind::Closed => 141,
        }
    }
}

/// A failure of the outside world, with the places it went through and a hint.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// A new error of `kind`; `message` names the file and the field.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None }
    }
    /// [`Kind::Usage`]: a flag, recipe or configuration value is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }
    /// [`Kind::Data`]: content of a file is not acceptable.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Kind::Data, message)
    }
    /// [`Kind::Missing`]: an input does not exist.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(Kind::Missing, message)
    }
    /// [`Kind::Unavailable`]: something asked for is not on this machine or not built.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }
    /// [`Kind::Integrity`]: data does not match its hash or expected value.
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(Kind::Integrity, message)
    }
    /// An operating system error while doing `action` (for example "read") on `path`: a path that does
    /// not exist becomes [`Kind::Missing`], everything else [`Kind::Io`]; a full disk gets a hint.
    pub fn io(action: &str, path: &Path, source: &std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let kind = if source.kind() == E::NotFound { Kind::Missing } else { Kind::Io };
        let error = Self::new(kind, format!("cannot {action} {}: {source}", path.display()));
        match source.kind() {
            E::StorageFull | E::FileTooLarge | E::QuotaExceeded => {
                error.hint("free some space or write elsewhere; nothing half-written was left behind")
            }
            E::PermissionDenied => error.hint("check the permissions of the file and its folder"),
            _ => error,
        }
    }
    /// Adds what the user can do about it (replaces an earlier hint).
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Puts a place in front of the message: `scenes.jsonl line 7: ...`.
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
    /// Changes the kind, keeping message and hint.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }
    /// The kind of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// The message without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        printable(f, &self.message)?;
        match &self.hint {
            Some(hint) => {
                f.write_str("\n  hint: ")?;
                printable(f, hint)
            }
            None => Ok(()),
        }
    }
}

/// Messages quote file names, keys and values of others: what would steer the terminal, or reorder the text on it, is
/// written as its code. Line ends stay, for messages of several lines.
fn printable(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let steers = |c: char| {
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c != '\n' && (c.is_control() || reorders)
    };
    text.split_inclusive(steers).try_for_each(|piece| match piece.chars().next_back().filter(|c| steers(*c)) {
        Some(c) => write!(f, "{}{}", &piece[..piece.len() - c.len_utf8()], c.escape_default()),
        None => f.write_str(piece),
    })
}

impl std::error::Error for Error {}

/// A number in a message: shortest, and with an exponent where it would be a row of zeros (1e308).
pub struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        match magnitude == 0.0 || !magnitude.is_finite() || (1e-5..1e15).contains(&magnitude) {
            true => write!(f, "{}", self.0),
            false => write!(f, "{:e}", self.0),
        }
    }
}

/// Adds a place to the error of a `Result`.
pub trait Context<T> {
    /// See [`Error::context`]; the place is only formatted when there is an error.
    ///
    /// # Errors
    /// Those of `self`, with the place in front.
    fn context_with<D: fmt::Display>(self, place: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context_with<D: fmt::Display>(self, place: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.context(place()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.3, 16000.0, -1e308, 5e-324, f64::NAN].map(|x| Number(x).to_string());
        assert_eq!(shown, ["0", "0.3", "16000", "-1e308", "5e-324", "NaN"]);
    }

    #[test]
    fn a_message_does_not_steer_the_terminal() {
        let error = Error::data("key \"\u{1b}[2J\u{9b}31m\u{7}\r\u{202e}é\"\nline 2: \t.").hint("\u{8}");
        let shown = r#"key "\u{1b}[2J\u{9b}31m\u{7}\r\u{202e}é""#.to_string() + "\nline 2: \\t.\n  hint: \\u{8}";
        assert_eq!(error.to_string(), shown);
    }
}
