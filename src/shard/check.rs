//! A look at all recordings before a set is begun: one that cannot be read is said now, not hours later.

use super::Manifest;
use crate::error::{Error, Kind, Result};
use crate::sim::config::SceneConfig;
use crate::sim::scene::SceneSampler;
use crate::sources::{Sources, Split};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// Corpora of at most so many bytes are decoded as a whole; of larger ones, what the set draws.
const DECODED_BYTES_MAX: u64 = 1 << 30;
/// Most recordings that are named.
const NAMED_MAX: usize = 20;

/// Which set the recordings are for.
pub struct Check<'a> {
    /// Folder of the set.
    pub out: &'a Path,
    /// How scenes are drawn.
    pub config: &'a SceneConfig,
    /// Which recordings are used.
    pub split: Split,
    /// Seed of the scenes.
    pub seed: u64,
    /// How many scenes.
    pub scenes: usize,
    /// Go on without recordings that cannot be read.
    pub skip_unreadable: bool,
}

impl Check<'_> {
    /// Finds the recordings that cannot be read. Every file is opened, and empty ones are found. Up to 1 GiB of files all
    /// are decoded to their end; of more, all those that a scene of the set draws. What is left out with
    /// `skip_unreadable` is named, and the splits of the others stay as they are; a finished set keeps what it left out.
    ///
    /// # Errors
    /// Without `skip_unreadable`, [`Kind::Data`] with their number when some cannot be read (they are logged, the first
    /// twenty by name); [`Kind::Stopped`] after a signal; those of [`SceneSampler`].
    pub fn run(&self, sources: &mut Sources) -> Result<()> {
        self.run_up_to(sources, DECODED_BYTES_MAX)
    }

    fn run_up_to(&self, sources: &mut Sources, decoded_bytes_max: u64) -> Result<()> {
        if self.out.join(super::MANIFEST_FILE).exists() {
            if self.skip_unreadable {
                let before: BTreeSet<String> = Manifest::read(self.out)?.spec.unreadable.into_iter().collect();
                let recordings = sources.recordings().iter().enumerate();
                let again: Vec<usize> = recordings.filter(|(_, r)| before.contains(&r.id)).map(|(i, _)| i).collect();
                sources.leave_out(again);
            }
            return Ok(());
        }
        let all: Vec<usize> = (0..sources.recordings().len()).collect();
        let is_small = sources.file_bytes() <= decoded_bytes_max;
        let mut bad = match is_small {
            true => sources.undecodable(&all, self.split)?,
            false => sources.unopenable(&all)?,
        };
        let mut looked_at: BTreeSet<usize> = bad.iter().map(|b| b.0).collect();
        // Without some recordings others are drawn, which are to be looked at in their turn.
        let mut named = 0;
        loop {
            if self.skip_unreadable {
                named = name(&bad, named);
                sources.leave_out(bad.drain(..).map(|(i, _)| i));
            }
            let drawn: Vec<usize> = match is_small {
                true => vec![],
                false => self.drawn(sources)?.difference(&looked_at).copied().collect(),
            };
            if !drawn.is_empty() {
                tracing::info!("checking {} recordings that the set draws", drawn.len());
            }
            let more = sources.undecodable(&drawn, self.split)?;
            looked_at.extend(drawn);
            let is_last = more.is_empty() || !self.skip_unreadable;
            bad.extend(more);
            if is_last {
                break;
            }
        }
        if !bad.is_empty() {
            return Err(refused(&bad, sources.recordings().len()));
        }
        report(sources);
        Ok(())
    }

    /// All recordings that scenes of the set draw.
    fn drawn(&self, sources: &Sources) -> Result<BTreeSet<usize>> {
        let sampler = SceneSampler::new(self.config, sources, self.split, self.seed)?;
        let of_scene = |i: u64| -> Result<Vec<usize>> {
            let scene = sampler.scene(i)?;
            Ok(scene.sources.iter().flat_map(|s| s.recordings().collect::<Vec<_>>()).collect())
        };
        let all: Vec<Vec<usize>> = (0..self.scenes as u64).into_par_iter().map(of_scene).collect::<Result<_>>()?;
        Ok(all.into_iter().flatten().collect())
    }
}

/// Logs the first bad recordings, after `named` others, and returns how many are named now.
fn name(bad: &[(usize, Error)], named: usize) -> usize {
    let room = NAMED_MAX.saturating_sub(named);
    bad.iter().take(room).for_each(|(_, e)| tracing::warn!("cannot be read: {}", e.message()));
    named + bad.len().min(room)
}

fn report(sources: &Sources) {
    let (n, all) = (sources.left_out().len(), sources.recordings().len());
    if n > 0 {
        tracing::warn!("{n} of {all} recordings cannot be read and are left out; manifest.json names them all");
    }
}

fn refused(bad: &[(usize, Error)], all: usize) -> Error {
    name(bad, 0);
    let kind = bad[0].1.kind();
    let kind = if bad.iter().all(|(_, e)| e.kind() == kind) { kind } else { Kind::Data };
    let more = if bad.len() > NAMED_MAX { format!("; the first {NAMED_MAX} are named above") } else { String::new() };
    let message = format!("{} of {all} recordings cannot be read (first: {}){more}", bad.len(), bad[0].1.message());
    Error::new(kind, message).hint("replace or remove them, or go on without them with --skip-unreadable")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Audio, wav};

    /// Twelve recordings in one class: 7 is empty, 3 is cut in its header, 5 is silent.
    fn corpus(folder: &Path) -> Sources {
        for i in 0..12 {
            let path = folder.join(format!("c/{i:02}.wav"));
            std::fs::create_dir_all(folder.join("c")).unwrap();
            let samples = (0..8000).map(|t| if i == 5 { 0.0 } else { (t as f32 * 0.3).sin() }).collect();
            wav::write(&path, &Audio { sample_rate: 16_000, channels: 1, samples }, wav::Format::Pcm16).unwrap();
            match i {
                7 => std::fs::write(&path, b"").unwrap(),
                3 => std::fs::write(&path, &std::fs::read(&path).unwrap()[..30]).unwrap(),
                _ => {}
            }
        }
        open(folder)
    }

    fn open(folder: &Path) -> Sources {
        Sources::open(&[folder.to_str().unwrap().parse().unwrap()], None).unwrap()
    }

    fn config() -> SceneConfig {
        SceneConfig { seconds: 1.0, max_sources: 1, ..SceneConfig::default() }
    }

    #[test]
    fn all_that_cannot_be_read_is_said_at_once() {
        let (folder, out, config) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), config());
        let mut sources = corpus(folder.path());
        let mut check =
            Check { out: out.path(), config: &config, split: Split::All, seed: 3, scenes: 1, skip_unreadable: false };
        let error = check.run(&mut sources).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("3 of 12") && error.to_string().contains("03.wav"), "{error}");
        check.skip_unreadable = true;
        check.run(&mut sources).unwrap();
        let left_out = ["environment/c/03", "environment/c/05", "environment/c/07"];
        assert_eq!(sources.left_out(), left_out);
        assert_eq!(sources.in_split(Split::All).len(), 9);
    }

    /// A corpus that is too large to be decoded: an empty file is found though no scene draws it, a cut one when the set
    /// draws it, also if it is drawn only because another was left out.
    #[test]
    fn of_a_large_corpus_what_is_drawn_is_decoded() {
        let (folder, out, config) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), config());
        corpus(folder.path());
        for scenes in [1, 60] {
            let mut sources = open(folder.path());
            let check =
                Check { out: out.path(), config: &config, split: Split::All, seed: 3, scenes, skip_unreadable: true };
            check.run_up_to(&mut sources, 0).unwrap();
            let drawn = check.drawn(&sources).unwrap();
            assert!(drawn.iter().all(|&i| sources.audio(i).is_ok()));
            assert!(sources.left_out().contains(&"environment/c/07".to_string()));
            assert_eq!(sources.left_out().len() == 3, scenes == 60, "{:?}", sources.left_out());
            let strict = Check { skip_unreadable: false, ..check };
            let error = strict.run_up_to(&mut open(folder.path()), 0).unwrap_err().to_string();
            assert_eq!(error.contains("3 of 12"), scenes == 60, "{error}");
        }
    }
}
