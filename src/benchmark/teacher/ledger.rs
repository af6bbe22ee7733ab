//! `teacher.jsonl`: one line per request, appended and synced, so that a killed run goes on where it was.

use super::super::task::Task;
use super::super::training::Kind;
use super::outcome::Outcome;
use super::reply::TaughtRow;
use super::settings::{Mode, Sampling};
use crate::error::{Error, Result};
use crate::files::sync_folder;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Name of the ledger in the folder of the questions.
pub const LEDGER_FILE: &str = "teacher.jsonl";
/// Longest line: [`TaughtRow`]s that are kept are shorter.
const LINE_BYTES_MAX: u64 = 1 << 16;
/// Most lines.
const LINES_MAX: usize = 50_000_000;

/// What a ledger belongs to: with anything else in its place, other questions would be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Name of the model.
    pub model: String,
    /// Seed of the questions.
    pub seed: u64,
    /// How many questions.
    pub questions: usize,
    /// What for.
    pub kind: Kind,
    /// Whether azimuths are signed.
    pub signed_azimuth: bool,
    /// Fingerprint of the shards.
    pub scenes_blake3: String,
    /// What the teacher does.
    #[serde(default)]
    pub mode: Mode,
    /// How the server draws.
    #[serde(default)]
    pub sampling: Sampling,
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// Number of the request, from 0.
    pub request: u64,
    /// Number of what was asked: several requests when the first ones failed.
    pub ask: u64,
    /// Task.
    pub task: Task,
    /// Id of the scene.
    pub scene: String,
    /// Whether a row was given to be read again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// HTTP status, where it was no success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The row, where there was one that may be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<TaughtRow>,
    /// In the first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Identity>,
}

/// An open ledger.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    whole: u64,
    identity: Identity,
    lines: u64,
}

impl Ledger {
    /// Opens or begins the ledger of `folder`, and reads what is in it. A last line that was not finished is cut off.
    ///
    /// # Errors
    /// `Usage` for a ledger made with other settings, `Data` for a line that is none.
    pub(super) fn open(folder: &Path, identity: Identity) -> Result<(Ledger, Vec<Line>)> {
        let path = folder.join(LEDGER_FILE);
        let io = |e: std::io::Error| Error::io("open", &path, &e);
        let is_new = !path.exists();
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        if is_new {
            sync_folder(folder)?;
        }
        let (lines, whole) = read_lines(&path, &file)?;
        if let Some(first) = lines.first() {
            check_identity(&path, first, &identity)?;
        }
        if file.metadata().map_err(io)?.len() > whole {
            tracing::warn!("{}: the last line is not whole and is cut off", path.display());
            file.set_len(whole).map_err(io)?;
        }
        file.seek(SeekFrom::Start(whole)).map_err(io)?;
        let count = lines.len() as u64;
        Ok((Ledger { path, file, whole, identity, lines: count }, lines))
    }

    /// Where the ledger is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every line, from the file.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub(super) fn lines(&self) -> Result<Vec<Line>> {
        let file = File::open(&self.path).map_err(|e| Error::io("open", &self.path, &e))?;
        Ok(read_lines(&self.path, &file)?.0)
    }

    /// Appends a line durably. Errors: `Io`; the ledger is then as it was.
    pub(super) fn append(&mut self, mut line: Line) -> Result<()> {
        crate::signals::survive_file_limits();
        line.settings = (self.lines == 0).then(|| self.identity.clone());
        let text = serde_json::to_string(&line).expect("plain data") + "\n";
        if let Err(e) = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()) {
            // If this fails as well, the next start cuts the rest off.
            let _ = self.file.set_len(self.whole);
            return Err(Error::io("append to", &self.path, &e));
        }
        self.whole += text.len() as u64;
        self.lines += 1;
        Ok(())
    }
}

/// All whole lines, and how many bytes they take.
fn read_lines(path: &Path, file: &File) -> Result<(Vec<Line>, u64)> {
    let mut reader = BufReader::new(file);
    let (mut lines, mut whole, mut text) = (Vec::new(), 0, Vec::new());
    loop {
        let bad = |what: String| Error::data(format!("{}:{}: {what}", path.display(), lines.len() + 1));
        text.clear();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        let read = read.map_err(|e| Error::io("read", path, &e))?;
        if text.last() != Some(&b'\n') {
            if read as u64 == LINE_BYTES_MAX {
                return Err(bad(format!("longer than {LINE_BYTES_MAX} bytes")));
            }
            return Ok((lines, whole));
        }
        let line: Line = serde_json::from_slice(&text).map_err(|e| bad(format!("{e}")))?;
        if line.request != lines.len() as u64 || lines.len() >= LINES_MAX {
            return Err(bad(format!("request is {}, {} is expected", line.request, lines.len())));
        }
        lines.push(line);
        whole += read as u64;
    }
}

fn check_identity(path: &Path, first: &Line, identity: &Identity) -> Result<()> {
    let Some(found) = &first.settings else {
        return Err(Error::data(format!("{}:1: the first line has no settings", path.display())));
    };
    let values = |identity: &Identity| serde_json::to_value(identity).expect("plain data");
    let (theirs, ours) = (values(found), values(identity));
    let fields = ours.as_object().expect("a struct").keys();
    let different: Vec<String> =
        fields.filter(|f| theirs[*f] != ours[*f]).map(|f| format!("{f} {} (now {})", theirs[f], ours[f])).collect();
    if different.is_empty() {
        return Ok(());
    }
    let message = format!("{} was made with {}", path.display(), different.join(", "));
    Err(Error::usage(message).hint("give the settings that began it, another --out, or remove the file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind as ErrorKind;

    fn identity(seed: u64) -> Identity {
        let (model, scenes_blake3) = ("m".into(), "00".into());
        let (mode, sampling) = (Mode::Write, Sampling { temperature: Some(0.7), ..Sampling::default() });
        let kind = Kind::Benchmark;
        Identity { model, seed, questions: 4, kind, signed_azimuth: false, scenes_blake3, mode, sampling }
    }

    fn line(request: u64, outcome: Outcome) -> Line {
        let (task, scene) = (Task::CountObjects, "scene-1".to_string());
        Line { request, ask: request, task, scene, again: false, outcome, status: None, row: None, settings: None }
    }

    #[test]
    fn lines_survive_a_torn_end_and_other_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LEDGER_FILE);
        let (mut ledger, lines) = Ledger::open(folder.path(), identity(1)).unwrap();
        assert!(lines.is_empty());
        ledger.append(line(0, Outcome::Prose)).unwrap();
        ledger.append(line(1, Outcome::Http429)).unwrap();
        drop(ledger);
        let whole = std::fs::read(&path).unwrap();
        for torn in [&b"{\"request\":2,\"a"[..], b"\0\0\0", b""] {
            std::fs::write(&path, [&whole[..], torn].concat()).unwrap();
            let (mut ledger, lines) = Ledger::open(folder.path(), identity(1)).unwrap();
            assert_eq!(lines.iter().map(|l| l.outcome).collect::<Vec<_>>(), [Outcome::Prose, Outcome::Http429]);
            ledger.append(line(2, Outcome::Timeout)).unwrap();
            assert_eq!(Ledger::open(folder.path(), identity(1)).unwrap().1.len(), 3);
        }
        let error = Ledger::open(folder.path(), identity(2)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("seed 1 (now 2)"), "{error}");
        let warm = Identity { sampling: Sampling::default(), ..identity(1) };
        assert!(Ledger::open(folder.path(), warm).err().unwrap().to_string().contains("sampling"));
        // The very first line torn: a new ledger.
        std::fs::write(&path, &whole[..20]).unwrap();
        assert!(Ledger::open(folder.path(), identity(2)).unwrap().1.is_empty());
        for bad in ["{}\n", "x\n", "\n"] {
            std::fs::write(&path, [&whole[..], bad.as_bytes()].concat()).unwrap();
            let error = Ledger::open(folder.path(), identity(1)).err().unwrap();
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains(":3:"), "{error}");
        }
        std::fs::write(&path, whole.repeat(2)).unwrap();
        assert!(Ledger::open(folder.path(), identity(1)).err().unwrap().to_string().contains("request is 0"));
    }
}
