//! Which recordings can be used: looked at before a set is begun, so that one bad file does not end it hours later.

use super::{Origin, Sources, Split};
use crate::error::{Error, Kind, Result};
use rayon::prelude::*;

/// A recording that cannot be used, by its index, and why.
pub type Unusable = (usize, Error);

/// Most recordings that are named.
const NAMED_MAX: usize = 20;

/// Logs the first bad recordings, after `named` others, and returns how many are named now.
pub(crate) fn name(bad: &[Unusable], named: usize) -> usize {
    let room = NAMED_MAX.saturating_sub(named);
    bad.iter().take(room).for_each(|(_, e)| tracing::warn!("cannot be read: {}", e.message()));
    named + bad.len().min(room)
}

/// Names the first bad ones of so many recordings, and says how many there are. Panics when there is none.
#[track_caller]
pub(crate) fn refused(bad: &[Unusable], all: usize) -> Error {
    name(bad, 0);
    let kind = bad[0].1.kind();
    let kind = if bad.iter().all(|(_, e)| e.kind() == kind) { kind } else { Kind::Data };
    let more = if bad.len() > NAMED_MAX { format!("; the first {NAMED_MAX} are named above") } else { String::new() };
    Error::new(kind, format!("{} of {all} recordings cannot be read (first: {}){more}", bad.len(), bad[0].1.message()))
}

impl Sources {
    /// Size of all files in bytes; those that cannot be reached count nothing.
    pub fn file_bytes(&self) -> u64 {
        let size = |path: &std::path::PathBuf| std::fs::metadata(path).map_or(0, |m| m.len());
        self.recordings.iter().filter_map(|r| r.path.as_ref()).map(size).sum()
    }

    /// Decodes the recordings `wanted` in parallel, filling the cache with those that are in `split`, and returns those
    /// that fail, in order.
    ///
    /// # Errors
    /// [`Kind::Stopped`] after a signal.
    pub fn undecodable(&self, wanted: &[usize], split: Split) -> Result<Vec<Unusable>> {
        if let Origin::Bank(_) = self.origin {
            return Ok(vec![]);
        }
        let look = |&i: &usize| {
            let is_kept = split == Split::All || self.splits[i] == split;
            let decoded = if is_kept { self.audio(i) } else { self.load(i) };
            decoded.err().map(|e| (i, e))
        };
        self.look_at(wanted, look)
    }

    /// The recordings `wanted` that can be seen to be unusable without decoding: not to be opened, or empty.
    ///
    /// # Errors
    /// [`Kind::Stopped`] after a signal.
    pub fn unopenable(&self, wanted: &[usize]) -> Result<Vec<Unusable>> {
        let look = |&i: &usize| {
            let path = self.recordings[i].path.as_ref()?;
            let size = crate::files::open_regular(path)
                .and_then(|file| file.metadata().map_err(|e| Error::io("read", path, &e)))
                .map(|meta| meta.len());
            match size {
                Ok(0) => Some((i, Error::data(format!("{}: the file is empty (0 bytes)", path.display())))),
                Ok(_) => None,
                Err(e) => Some((i, e)),
            }
        };
        self.look_at(wanted, look)
    }

    fn look_at(&self, wanted: &[usize], look: impl Fn(&usize) -> Option<Unusable> + Sync) -> Result<Vec<Unusable>> {
        let one = |i: &usize| match crate::signals::stop_requested() {
            true => Err(Error::new(Kind::Stopped, "stopped by a signal while recordings were checked")
                .hint("run the same command again")),
            false => Ok(look(i)),
        };
        let found: Vec<Option<Unusable>> = wanted.par_iter().map(one).collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Goes on without the recordings `indices`: they are in no split from now on, while those of all others stay.
    #[track_caller]
    pub fn leave_out(&mut self, indices: impl IntoIterator<Item = usize>) {
        for i in indices {
            assert!(i < self.recordings.len(), "there is no recording {i}");
            self.left_out.insert(i);
        }
    }

    /// The ids of the recordings that were left out, in order.
    pub fn left_out(&self) -> Vec<String> {
        self.left_out.iter().map(|&i| self.recordings[i].id.clone()).collect()
    }
}
