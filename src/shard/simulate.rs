//! A whole set of simulated scenes: rendered in parallel, written shard by shard, continued after a kill.

use super::{Labels, Manifest, Sample, ShardSpec, ShardWriter};
use crate::audio::wav;
use crate::device::Device;
use crate::error::{Context, Error, Kind, Result};
use crate::sim::config::SceneConfig;
use crate::sim::render::{render_on, render_with_truth};
use crate::sim::scene::{DRAWING, SceneSampler};
use crate::sim::scripts::{SCRIPTED, SCRIPTS};
use crate::sources::{Sources, Split};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

/// What to simulate and where.
pub struct Simulation<'a> {
    /// Folder of the set.
    pub out: &'a Path,
    /// How scenes are drawn.
    pub config: &'a SceneConfig,
    /// Dry recordings.
    pub sources: &'a Sources,
    /// Which of them are used.
    pub split: Split,
    /// Seed of the scenes.
    pub seed: u64,
    /// How many scenes.
    pub scenes: usize,
    /// Whether every scene is also written as `OUT/wav/<id>.wav` (16 bit, scaled down where it would clip).
    pub wav: bool,
}

impl Simulation<'_> {
    /// Makes the set, or the part of it that is missing; `done(n)` is called with the number of scenes that were
    /// already there and then with 1 after each new one. The bytes depend on the settings alone, not on threads or
    /// interruptions.
    ///
    /// # Errors
    /// [`Kind::Usage`] when the folder holds another set or no scene can be drawn, [`Kind::Data`] for a recording that
    /// cannot be decoded ([`Check`](super::Check) finds them before), [`Kind::Stopped`] after a signal.
    pub fn run(&self, done: impl Fn(usize) + Sync) -> Result<Manifest> {
        let sampler = SceneSampler::new(self.config, self.sources, self.split, self.seed)?;
        let writer = ShardWriter::open(self.out, self.spec()?)?;
        let missing = writer.missing().to_vec();
        let left: usize = missing.iter().map(|&i| writer.spec().range(i).len()).sum();
        done(self.scenes - left);
        if !missing.is_empty() {
            self.sources.write_splits(&self.out.join("splits.json"))?;
        }
        if self.wav {
            self.add_recordings(&sampler, &writer)?;
        }
        // One shard is written while the next one is rendered.
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel::<(usize, Vec<Sample>)>(0);
            let writer = &writer;
            let writing = scope.spawn(move || -> Result<()> {
                receive.iter().try_for_each(|(index, samples)| writer.write(index, &samples))
            });
            let rendered = missing.iter().try_for_each(|&index| {
                let range = writer.spec().range(index);
                let scenes: Result<Vec<Sample>> =
                    range.into_par_iter().map(|i| self.scene(&sampler, i as u64).inspect(|_| done(1))).collect();
                // The other end hangs up when writing failed; its error is reported below.
                let _ = send.send((index, scenes?));
                if writing.is_finished() { Err(Error::new(Kind::Io, "writing a shard failed")) } else { Ok(()) }
            });
            drop(send);
            let written = writing.join().expect("the writing thread does not panic");
            written.and(rendered)
        })?;
        writer.finish()
    }

    fn spec(&self) -> Result<ShardSpec> {
        let mut spec =
            ShardSpec::new(self.scenes, self.config.frames(), self.seed, self.sources.classes(), self.config)?;
        // A killed run goes on from its last whole shard, so a small set has small ones.
        spec.scenes_per_shard = spec.scenes_per_shard.min(self.scenes.div_ceil(16).max(8)).min(self.scenes.max(1));
        spec.split = format!("{:?}", self.split).to_lowercase();
        (spec.grouping, spec.unreadable) = (self.sources.grouping(), self.sources.left_out());
        // Which recordings are in the split is part of what a set is made from.
        let mut members = blake3::Hasher::new();
        members.update(DRAWING.as_bytes()).update(b"\n");
        match (self.config.scripts_share > 0.0, spec.config.as_object_mut()) {
            (true, _) => drop(members.update(format!("{SCRIPTED} {SCRIPTS:?}\n").as_bytes())),
            // Sets of before there were scripts are continued.
            (false, Some(config)) => drop(config.shift_remove("scripts_share")),
            (false, None) => {}
        }
        for i in self.sources.in_split(self.split) {
            members.update(self.sources.recordings()[i].id.as_bytes()).update(b"\n");
        }
        spec.sources = format!("{}/{}", self.sources.fingerprint(), members.finalize().to_hex());
        Ok(spec)
    }

    fn wav_path(&self, index: u64) -> PathBuf {
        self.out.join("wav").join(format!("scene-{index:08}.wav"))
    }

    /// Writes the recordings of finished shards that have none, because they were made without `--wav`.
    fn add_recordings(&self, sampler: &SceneSampler, writer: &ShardWriter) -> Result<()> {
        crate::files::remove_temporaries(&self.out.join("wav"))?;
        let finished = (0..writer.spec().shards()).filter(|i| !writer.missing().contains(i));
        let scenes: Vec<u64> = finished.flat_map(|i| writer.spec().range(i)).map(|i| i as u64).collect();
        let absent = scenes.into_par_iter().filter(|&i| !self.wav_path(i).exists());
        absent.try_for_each(|i| self.scene(sampler, i).map(drop))
    }

    fn scene(&self, sampler: &SceneSampler, index: u64) -> Result<Sample> {
        if crate::signals::stop_requested() {
            let hint = "run the same command again to finish the set";
            return Err(Error::new(Kind::Stopped, "stopped by a signal").hint(hint));
        }
        let scene = sampler.scene(index)?;
        let rendered = render_with_truth(&scene, self.sources).context_with(|| format!("scene {index}"))?;
        if self.wav {
            wav::write(&self.wav_path(index), &rendered.audio.limited(), wav::Format::Pcm16)?;
        }
        Sample::new(&rendered.audio.samples, Labels::of(&rendered.truth)?, &rendered.truth)
    }
}

/// Scene `index` rendered on `device` (audio [4, frames]) with its labels, for training without a set on a disk.
///
/// # Errors
/// Settings that no room can meet, recordings that cannot be decoded.
pub fn scene_on(device: Device, sampler: &SceneSampler, sources: &Sources, index: u64) -> Result<(Tensor, Labels)> {
    let scene = sampler.scene(index)?;
    let rendered = render_on(device, &scene, sources).context_with(|| format!("scene {index}"))?;
    Ok((rendered.audio, Labels::of(&rendered.truth)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Truth;
    use crate::shard::ShardSet;

    /// The labels are what the line of ground truth says: its angles, its metres, its stretches of activity.
    fn assert_labels(labels: &Labels, line: &serde_json::Value) {
        let number = |at: &str| line.pointer(at).and_then(|v| v.as_f64()).unwrap_or_else(|| panic!("{at}"));
        assert_eq!(labels.count, line["sources"].as_array().unwrap().len());
        for slot in 0..labels.count {
            let of = |field: &str| number(&format!("/sources/{slot}/{field}"));
            let (azimuth, elevation) = (of("azimuth_deg").to_radians(), of("elevation_deg").to_radians());
            let expected = [azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()];
            for (found, expected) in labels.direction[slot].into_iter().zip(expected) {
                assert!((f64::from(found) - expected).abs() < 1e-7);
            }
            assert_eq!(labels.distance_m[slot], of("distance_m") as f32);
            assert_eq!(labels.class[slot], line["sources"][slot]["class_index"].as_i64().unwrap_or(-1));
            let sounds_s = labels.activity[slot].iter().map(|&a| f64::from(a) / 10.0).sum::<f64>();
            let stretches = line["sources"][slot]["active_s"].as_array().unwrap();
            let told_s: f64 = stretches.iter().map(|s| s[1].as_f64().unwrap() - s[0].as_f64().unwrap()).sum();
            assert!((sounds_s - told_s).abs() < 1e-9, "{sounds_s} {told_s}");
        }
        assert_eq!(labels.log_surface, number("/room/surface_m2").ln() as f32);
        assert_eq!(labels.absorption, number("/room/absorption") as f32);
        assert_eq!(labels.rt60_s, number("/room/rt60_s") as f32);
    }

    fn config() -> SceneConfig {
        SceneConfig { seconds: 0.7, ..SceneConfig::default() }
    }

    fn run(out: &Path, jobs: usize) -> Manifest {
        run_with(out, jobs, false)
    }

    fn run_with(out: &Path, jobs: usize, wav: bool) -> Manifest {
        let sources = Sources::procedural(4);
        let config = config();
        let simulation =
            Simulation { out, config: &config, sources: &sources, split: Split::Train, seed: 7, scenes: 5, wav };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build().unwrap();
        pool.install(|| simulation.run(|_| ())).unwrap()
    }

    #[test]
    fn recordings_asked_for_later_are_added() {
        let (early, late) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        run_with(early.path(), 2, true);
        run(late.path(), 2);
        std::fs::create_dir(late.path().join("wav")).unwrap();
        std::fs::write(late.path().join("wav/.tmp-half"), b"half").unwrap();
        run_with(late.path(), 2, true);
        let files = |folder: &Path| std::fs::read_dir(folder.join("wav")).unwrap().count();
        assert_eq!((files(early.path()), files(late.path())), (5, 5));
        for i in 0..5 {
            let name = format!("wav/scene-{i:08}.wav");
            assert!(
                std::fs::read(early.path().join(&name)).unwrap() == std::fs::read(late.path().join(&name)).unwrap()
            );
        }
    }

    #[test]
    fn one_and_two_threads_give_the_same_bytes_that_read_back_as_drawn() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [first, second] = [run(folders[0].path(), 1), run(folders[1].path(), 2)];
        assert_eq!(first, second);
        assert_eq!(run(folders[0].path(), 2), first, "a finished set is left alone");
        let set = ShardSet::open(folders[0].path()).unwrap();
        let sources = Sources::procedural(4);
        let sampler = SceneSampler::new(&config(), &sources, Split::Train, 7).unwrap();
        assert_eq!(set.len(), 5);
        for i in 0..5 {
            let scene = sampler.scene(i as u64).unwrap();
            let rendered = render_with_truth(&scene, &sources).unwrap();
            assert_eq!(*set.labels(i), Labels::of(&rendered.truth).unwrap());
            assert_labels(set.labels(i), &serde_json::from_str(set.line(i)).unwrap());
            // What was read is written again to the same bytes.
            let line = |truth: &Truth| serde_json::to_string(truth).unwrap();
            assert_eq!(line(&rendered.truth), set.line(i));
            assert_eq!(line(&set.truth(i).unwrap()), set.line(i));
            let step = set.scale(i);
            for (stored, x) in set.audio(i).iter().zip(&rendered.audio.samples) {
                assert!((*stored as f32 * step - x).abs() <= 0.51 * step);
            }
        }
    }
}
