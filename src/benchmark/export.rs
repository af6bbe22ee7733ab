//! A set of questions on disk, in the official columns, with its recordings.
//!
//! ```text
//! DIR/metadata.jsonl          questions with answers          DIR/audio/<id>.wav      AmbiX, 16 bit
//! DIR/public/metadata.jsonl   the same without (benchmark)    DIR/key.jsonl           the answers alone (benchmark)
//! DIR/derivations.jsonl       why each key is right           DIR/benchmark.json      what it was made from
//! DIR/strata.jsonl            what each question's scene is like (benchmark)
//! DIR/teacher.jsonl           every request to a teacher (with one)
//! ```

use super::draft::Pool;
use super::facts::Facts;
use super::generate::{Generated, Row, Settings};
use super::leaks::Contents;
use super::skip::{self, Skipped};
use super::strata::stratum;
use super::task::TaskSet;
use super::teacher::Report;
use super::training::{Kind, training_row};
use crate::audio::foa::Rotation;
use crate::audio::{Audio, wav};
use crate::error::{Context, Error, Kind as ErrorKind, Result};
use crate::files;
use crate::scene::Truth;
use crate::shard::ShardSet;
use crate::text::questions::KeyRow;
use crate::text::strata::STRATA_FILE;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Name of the file that says what a set of questions was made from.
pub const MANIFEST_FILE: &str = "benchmark.json";
/// Largest `benchmark.json` that is read.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// The scenes of a set that may be asked about.
#[derive(Debug)]
pub struct Scenes {
    /// Facts.
    pub pool: Pool,
    /// Index into the set, for each scene of the pool.
    pub index: Vec<usize>,
    /// How many scenes cannot be asked about, by reason.
    pub skipped: Skipped,
    /// Sources of the pool's scenes that have no name: they are counted, and told by their place.
    pub nameless: usize,
}

impl Scenes {
    /// Refuses a set of which no scene can be asked about.
    ///
    /// # Errors
    /// `Data` with the reasons, and what helps against them.
    pub fn check(&self) -> Result<()> {
        if !self.pool.scenes.is_empty() {
            return Ok(());
        }
        let why = skip::in_words(&self.skipped);
        Err(Error::data(format!("none of the scenes can be asked about: {why}")).hint(skip::hint(&self.skipped)))
    }

    /// What cannot be asked about, in a line; `None` when there is nothing to say.
    pub fn left_out(&self) -> Option<String> {
        let skipped: usize = self.skipped.values().sum();
        let scenes = skipped + self.pool.scenes.len();
        let why = skip::in_words(&self.skipped);
        let skipped = (skipped > 0).then(|| format!("{skipped} of {scenes} scenes cannot be asked about: {why}"));
        let n = self.nameless;
        let nameless = (n > 0).then(|| format!("{n} sources of the others have no name and are asked about by place"));
        let all: Vec<String> = skipped.into_iter().chain(nameless).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Reads the truth of a set.
///
/// # Errors
/// `Data` naming the scene whose line is none, or whose id, which names its recording in `audio/`, is no file name or
/// another scene's.
pub fn read_scenes(set: &ShardSet) -> Result<Scenes> {
    let truths = (0..set.len()).into_par_iter().map(|i| set.truth(i)).collect::<Result<Vec<_>>>()?;
    let mut ids = BTreeSet::new();
    for (i, id) in truths.iter().map(|t| &t.id).enumerate() {
        check_id(id, ids.insert(id)).map_err(|what| Error::data(format!("scenes.jsonl: scene {i}: {what}")))?;
    }
    let broadband = |t: &Truth| t.room.as_ref().is_some_and(|r| r.t20_s.is_some() && r.t20_octaves_s.is_empty());
    let older = truths.iter().filter(|t| broadband(t)).count();
    if older > 0 {
        tracing::warn!(
            "{older} scenes have a reverberation time over all frequencies, which rumble prolongs: it is not asked about; \
             simulate the set anew for times per octave"
        );
    }
    let facts: Vec<_> = truths.into_par_iter().map(Facts::new).collect();
    let (mut index, mut scenes, mut skipped) = (Vec::new(), Vec::new(), Skipped::new());
    for (i, facts) in facts.into_iter().enumerate() {
        match facts {
            Ok(facts) => {
                index.push(i);
                scenes.push(facts);
            }
            Err(why) => *skipped.entry(why).or_default() += 1,
        }
    }
    let nameless = scenes.iter().map(|f: &Facts| (0..f.count()).filter(|&i| !f.has_name(i)).count()).sum();
    Ok(Scenes { pool: Pool::new(scenes), index, skipped, nameless })
}

fn check_id(id: &str, is_new: bool) -> Result<(), String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match id {
        _ if !is_new => Err(format!("a second scene with id {id:?}")),
        _ if !(1..=100).contains(&id.len()) || !id.chars().all(safe) => {
            Err(format!("id {id:.120?} is no file name: letters, digits, - and _, at most 100"))
        }
        _ => Ok(()),
    }
}

/// `benchmark.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// `twnm-questions`.
    pub format: String,
    /// 1.
    pub version: u32,
    /// Version of the program.
    pub program: String,
    /// `benchmark`, or which training data.
    pub kind: Kind,
    /// Rows in `metadata.jsonl`.
    pub questions: usize,
    /// Seed of the questions.
    pub seed: u64,
    /// `around` for [0, 360), `signed` for (-180, 180].
    pub azimuth: String,
    /// Whether every question has a recording of its own, turned about the listener by the angle in `derivations.jsonl`.
    #[serde(default)]
    pub turned: bool,
    /// Which tasks were asked for; absent for the paper's.
    #[serde(default, skip_serializing_if = "TaskSet::is_paper")]
    pub task_set: TaskSet,
    /// Questions about one scene, at most; absent for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_scene: Option<usize>,
    /// Fingerprint of the shards.
    pub scenes_blake3: String,
    /// Split of the recordings in the scenes.
    pub split: String,
    /// Scenes that could not be asked about.
    pub scenes_skipped: usize,
    /// The same by reason.
    #[serde(default)]
    pub scenes_skipped_by_reason: Skipped,
    /// Sources of the other scenes that have no name.
    #[serde(default)]
    pub sources_nameless: usize,
    /// Questions per task.
    pub tasks: BTreeMap<String, usize>,
    /// Questions planned per task, where that is not what was made.
    pub planned: BTreeMap<String, usize>,
    /// How a teacher was asked, when one was; the questions that it did not deliver are made by rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Report>,
    /// What is heard in the set, for the check for leaks.
    pub contents: Contents,
}

impl Contents {
    /// What is heard in a folder: a set of questions (`benchmark.json`) or of shards (`manifest.json`).
    ///
    /// # Errors
    /// `Missing` when it is neither, `Data` when it cannot be read.
    pub fn of_folder(folder: &Path) -> Result<Contents> {
        let path = folder.join(MANIFEST_FILE);
        if path.exists() {
            let bytes = files::read_limited(&path, MANIFEST_BYTES_MAX)?;
            let manifest: Manifest =
                serde_json::from_slice(&bytes).map_err(|e| Error::data(format!("{}: {e}", path.display())))?;
            return Ok(manifest.contents);
        }
        if !folder.join(crate::shard::MANIFEST_FILE).exists() {
            let message = format!("{}: neither {MANIFEST_FILE} nor manifest.json in it", folder.display());
            return Err(Error::missing(message).hint("give a folder of twnm benchmark or of twnm simulate"));
        }
        let set = ShardSet::open(folder)?;
        let mut contents = Contents::default();
        for i in 0..set.len() {
            contents.add(&set.truth(i)?, set.audio(i)).context_with(|| folder.display())?;
        }
        Ok(contents)
    }
}

/// What to write.
pub struct Export<'a> {
    /// Folder.
    pub out: &'a Path,
    /// The scenes' audio.
    pub set: &'a ShardSet,
    /// The scenes' facts.
    pub scenes: &'a Scenes,
    /// How questions were made.
    pub settings: Settings,
    /// What for.
    pub kind: Kind,
    /// Whether recordings are written.
    pub audio: bool,
    /// How a teacher was asked, when one was.
    pub teacher: Option<Report>,
}

impl Export<'_> {
    /// What is heard in the scenes that `rows` ask about.
    ///
    /// # Errors
    /// `Data` for scenes without hashes of their recordings.
    pub fn contents(&self, rows: &[Row]) -> Result<Contents> {
        let used: BTreeSet<usize> = rows.iter().map(|r| r.scene).collect();
        let mut contents = Contents::default();
        for scene in used {
            contents.add(&self.scenes.pool.scenes[scene].truth, self.set.audio(self.scenes.index[scene]))?;
        }
        Ok(contents)
    }

    /// Writes everything; `benchmark.json` comes last, so that a folder with it is complete.
    ///
    /// # Errors
    /// `Usage` when the folder holds other questions of which no `benchmark.json` says what they are; `Io` naming the
    /// file, `Stopped` after a signal.
    pub fn write(&self, made: &Generated, contents: &Contents) -> Result<Manifest> {
        let used: BTreeSet<usize> = made.rows.iter().map(|r| r.scene).collect();
        let manifest_path = self.out.join(MANIFEST_FILE);
        let (rows, full) = (&made.rows, self.out.join("metadata.jsonl"));
        let questions = match self.kind {
            Kind::Benchmark => jsonl(rows.iter().map(|r| &r.question)),
            kind => {
                let row = |(i, r): (usize, &Row)| training_row(kind, i, r, &self.scenes.pool, self.settings);
                jsonl(rows.iter().enumerate().map(row))
            }
        };
        if !manifest_path.exists() {
            refuse_others(&full, &questions)?;
        }
        match std::fs::remove_file(&manifest_path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &manifest_path, &e)),
            _ => {}
        }
        if self.audio && self.kind != Kind::Text {
            if self.settings.turned {
                rows.par_iter()
                    .try_for_each(|row| self.recording(row.scene, &row.question.file_name, row.derivation.yaw_deg))?;
            } else {
                used.into_par_iter().try_for_each(|scene| {
                    let id = &self.scenes.pool.scenes[scene].truth.id;
                    self.recording(scene, &format!("audio/{id}.wav"), 0.0)
                })?;
            }
        }
        files::write_bytes_atomic(&full, &questions)?;
        if self.kind == Kind::Benchmark {
            let public = jsonl(rows.iter().map(|r| r.question.without_answer()));
            files::write_bytes_atomic(&self.out.join("public").join("metadata.jsonl"), &public)?;
            let key = |r: &Row| KeyRow {
                sample_id: r.question.sample_id.clone(),
                answer_letter: r.question.answer_letter.expect("a generated question has its answer"),
            };
            files::write_bytes_atomic(&self.out.join("key.jsonl"), &jsonl(rows.iter().map(key)))?;
            let strata = rows.iter().map(|r| stratum(r, &self.scenes.pool.scenes[r.scene]));
            files::write_bytes_atomic(&self.out.join(STRATA_FILE), &jsonl(strata))?;
        }
        let derivations = jsonl(rows.iter().map(|r| &r.derivation));
        files::write_bytes_atomic(&self.out.join("derivations.jsonl"), &derivations)?;
        let manifest = self.manifest(made, contents);
        let text = serde_json::to_string_pretty(&manifest).expect("plain data") + "\n";
        files::write_bytes_atomic(&manifest_path, text.as_bytes())?;
        Ok(manifest)
    }

    fn manifest(&self, made: &Generated, contents: &Contents) -> Manifest {
        let mut tasks = BTreeMap::new();
        for row in &made.rows {
            *tasks.entry(row.question.task.clone()).or_insert(0) += 1;
        }
        let split = self.set.manifests().iter().map(|m| m.spec.split.as_str()).collect::<BTreeSet<_>>();
        Manifest {
            format: "twnm-questions".into(),
            version: 1,
            program: env!("CARGO_PKG_VERSION").into(),
            kind: self.kind,
            questions: made.rows.len(),
            seed: self.settings.seed,
            azimuth: if self.settings.signed_azimuth { "signed" } else { "around" }.into(),
            turned: self.settings.turned,
            task_set: self.settings.tasks,
            per_scene: self.settings.per_scene,
            scenes_blake3: self.set.fingerprint(),
            split: split.into_iter().collect::<Vec<_>>().join(","),
            scenes_skipped: self.scenes.skipped.values().sum(),
            scenes_skipped_by_reason: self.scenes.skipped.clone(),
            sources_nameless: self.scenes.nameless,
            tasks,
            planned: made.filled.iter().map(|(task, planned, _)| (task.id(), *planned)).collect(),
            teacher: self.teacher.clone(),
            contents: contents.clone(),
        }
    }

    /// Writes the recording of a scene, turned to the left.
    fn recording(&self, scene: usize, name: &str, yaw_deg: f64) -> Result<()> {
        if crate::signals::stop_requested() {
            let hint = "run the same command again";
            return Err(Error::new(ErrorKind::Stopped, "stopped by a signal").hint(hint));
        }
        let i = self.scenes.index[scene];
        let frames = self.set.frames(i);
        let mut audio = Audio::silence(crate::audio::SAMPLE_RATE, 4, frames);
        self.set.read_f32(i, 0, &mut audio.samples);
        if yaw_deg != 0.0 {
            Rotation::yaw(yaw_deg).apply_foa(&mut audio.samples);
        }
        let path = self.out.join(name);
        wav::write(&path, &audio.limited(), wav::Format::Pcm16)
    }
}

/// One JSON object per line.
fn jsonl<T: Serialize>(rows: impl Iterator<Item = T>) -> Vec<u8> {
    let mut out = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut out, &row).expect("rows are plain data");
        out.push(b'\n');
    }
    out
}

/// Refuses to replace questions that are not the ones to be written: an interrupted run left the same ones.
fn refuse_others(path: &Path, questions: &[u8]) -> Result<()> {
    let Ok(there) = std::fs::metadata(path) else { return Ok(()) };
    let length = questions.len() as u64;
    if there.len() == length && files::read_limited(path, length)? == questions {
        return Ok(());
    }
    let message = format!("{}: other questions are there, without their {MANIFEST_FILE}", path.display());
    Err(Error::usage(message).hint("choose another --out folder, or remove this one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_file_name_of_its_own() {
        assert_eq!(check_id("scene-00000012", true), Ok(()));
        assert!(check_id("scene-00000012", false).unwrap_err().contains("second"));
        for id in ["", "../scene", "a/b", "a\\b", "c:x", "a.b", "a\n", "é", &"x".repeat(101)] {
            assert!(check_id(id, true).is_err(), "{id}");
        }
    }
}
