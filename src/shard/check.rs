//! A look at all recordings before a set is begun: one that cannot be read is said now, not hours later.

use super::Manifest;
use crate::error::Result;
use crate::sim::config::SceneConfig;
use crate::sim::scene::SceneSampler;
use crate::sources::{Sources, Split, usable};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// Corpora of at most so many bytes are decoded as a whole; of larger ones, what the set draws.
const DECODED_BYTES_MAX: u64 = 1 << 30;

/// Which sets the recordings are for.
pub struct Check<'a> {
    /// The sets, one at least.
    pub sets: &'a [Planned<'a>],
    /// How scenes are drawn.
    pub config: &'a SceneConfig,
    /// Go on without recordings that cannot be read.
    pub skip_unreadable: bool,
}

/// A set of scenes that is to be made.
pub struct Planned<'a> {
    /// Its folder.
    pub out: &'a Path,
    /// Which recordings are used.
    pub split: Split,
    /// Seed of the scenes.
    pub seed: u64,
    /// How many scenes.
    pub scenes: usize,
}

impl Check<'_> {
    /// Finds the recordings that cannot be read. Every file is opened, and empty ones are found. Up to 1 GiB of files all
    /// are decoded to their end; of more, all those that a scene of the sets draws. What is left out with
    /// `skip_unreadable` is named, and the splits of the others stay as they are; where the first set is finished, what it
    /// left out is left out again.
    ///
    /// # Errors
    /// Without `skip_unreadable`, `Data` with their number when some cannot be read (they are logged, the first
    /// twenty by name); `Stopped` after a signal; those of [`SceneSampler`].
    pub fn run(&self, sources: &mut Sources) -> Result<()> {
        self.run_up_to(sources, DECODED_BYTES_MAX)
    }

    fn run_up_to(&self, sources: &mut Sources, decoded_bytes_max: u64) -> Result<()> {
        let first = self.sets[0].out;
        if first.join(super::MANIFEST_FILE).exists() {
            if self.skip_unreadable {
                let before: BTreeSet<String> = Manifest::read(first)?.spec.unreadable.into_iter().collect();
                let recordings = sources.recordings().iter().enumerate();
                let again: Vec<usize> = recordings.filter(|(_, r)| before.contains(&r.id)).map(|(i, _)| i).collect();
                sources.leave_out(again);
            }
            return Ok(());
        }
        let all: Vec<usize> = (0..sources.recordings().len()).collect();
        let is_small = sources.file_bytes() <= decoded_bytes_max;
        let split = if let [set] = self.sets { set.split } else { Split::All };
        let mut bad = match is_small {
            true => sources.undecodable(&all, split)?,
            false => sources.unopenable(&all)?,
        };
        let mut looked_at: BTreeSet<usize> = bad.iter().map(|b| b.0).collect();
        // Without some recordings others are drawn, which are to be looked at in their turn.
        let mut named = 0;
        loop {
            if self.skip_unreadable {
                named = usable::name(&bad, named);
                sources.leave_out(bad.drain(..).map(|(i, _)| i));
            }
            let drawn: Vec<usize> = match is_small {
                true => vec![],
                false => self.drawn(sources)?.difference(&looked_at).copied().collect(),
            };
            if !drawn.is_empty() {
                tracing::info!("checking {} recordings that the set draws", drawn.len());
            }
            let more = sources.undecodable(&drawn, split)?;
            looked_at.extend(drawn);
            let is_last = more.is_empty() || !self.skip_unreadable;
            bad.extend(more);
            if is_last {
                break;
            }
        }
        if !bad.is_empty() {
            return Err(usable::refused(&bad, sources.recordings().len())
                .hint("replace or remove them, or go on without them with --skip-unreadable"));
        }
        report(sources);
        Ok(())
    }

    /// All recordings that scenes of the sets draw.
    fn drawn(&self, sources: &Sources) -> Result<BTreeSet<usize>> {
        let mut drawn = BTreeSet::new();
        for set in self.sets {
            let sampler = SceneSampler::new(self.config, sources, set.split, set.seed)?;
            let of_scene = |i: u64| -> Result<Vec<usize>> {
                let scene = sampler.scene(i)?;
                Ok(scene.sources.iter().flat_map(|s| s.recordings().collect::<Vec<_>>()).collect())
            };
            let all: Vec<Vec<usize>> = (0..set.scenes as u64).into_par_iter().map(of_scene).collect::<Result<_>>()?;
            drawn.extend(all.into_iter().flatten());
        }
        Ok(drawn)
    }
}

fn report(sources: &Sources) {
    let (n, all) = (sources.left_out().len(), sources.recordings().len());
    if n > 0 {
        tracing::warn!("{n} of {all} recordings cannot be read and are left out; manifest.json names them all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Audio, wav};
    use crate::error::Kind;

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
        let sets = [Planned { out: out.path(), split: Split::All, seed: 3, scenes: 1 }];
        let mut check = Check { sets: &sets, config: &config, skip_unreadable: false };
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
            let sets = [Planned { out: out.path(), split: Split::All, seed: 3, scenes }];
            let check = Check { sets: &sets, config: &config, skip_unreadable: true };
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
