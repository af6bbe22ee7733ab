//! Rows of stages 2 and 3 with their recordings: documents and clips, in an order that the seed decides.

use super::clips::Clips;
use super::recipe::Data;
use crate::audio::{SAMPLE_RATE, Stretch, read_foa, read_foa_stretch};
use crate::error::{Context as _, Error, Result};
use crate::family::prompt::Document;
use crate::family::{Family, Words};
use crate::language::example::{Example, example};
use crate::language::rows::{Row, Rows};
use crate::projector::{Ablation, Batch, Clip};
use crate::rng::Rng;
use crate::sources::digest;
use crate::weights::hash_file;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file of rows in a folder of `twnm benchmark`.
const ROWS_FILE: &str = "metadata.jsonl";
/// Recordings of which no more than the lengths are looked at before a run.
const MANY: usize = 20_000;

/// Rows with the recordings that they name.
pub struct Supply {
    examples: Vec<Asked>,
    /// Rows that were too long and left out.
    skipped: usize,
    fingerprint: String,
    cache: Mutex<Cache>,
    /// The same on disk, for later passes and runs.
    stored: Option<Arc<Clips>>,
}

/// How long a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Tokens of its text.
    pub text: usize,
    /// Tokens from the first that is to be predicted to the last.
    pub answer: usize,
    /// Samples at 16 kHz of its recording.
    pub samples: Option<usize>,
}

/// A row as tokens.
struct Asked {
    example: Example,
    audio: Option<PathBuf>,
    place: String,
}

/// What the encoders made of recordings.
struct Cache {
    clips: BTreeMap<PathBuf, Arc<Clip>>,
    bytes_left: usize,
}

impl Supply {
    /// Reads every row of the files. Rows are checked at once: what they say, how long they are, and that their recordings
    /// are there.
    ///
    /// # Errors
    /// `Missing` or `Data` naming file, line and field.
    pub fn open(words: &Words, data: &Data, files: &[String]) -> Result<Supply> {
        let mut supply = Supply {
            examples: Vec::new(),
            skipped: 0,
            fingerprint: String::new(),
            cache: Mutex::new(Cache { clips: BTreeMap::new(), bytes_left: data.cache_mib << 20 }),
            stored: None,
        };
        let mut hasher = blake3::Hasher::new();
        for file in files {
            let named = Path::new(file);
            let path = if named.is_dir() { named.join(ROWS_FILE) } else { named.to_path_buf() };
            hasher.update(hash_file(&path)?.blake3.as_bytes());
            let beside = path.parent().unwrap_or(Path::new("")).to_path_buf();
            let folder = if data.audio.is_empty() { beside } else { PathBuf::from(&data.audio) };
            for row in Rows::open(&path, data.form()?)? {
                supply.add(words, data, &row?, &folder)?;
            }
        }
        // Of very many recordings the lengths only: opening each takes its time.
        let audio: BTreeSet<&PathBuf> = supply.examples.iter().filter_map(|row| row.audio.as_ref()).collect();
        let are_many = audio.len() > MANY;
        let audio: Vec<&PathBuf> = audio.into_iter().collect();
        let digests: Vec<Vec<u8>> = audio.par_iter().map(|path| digest(path, are_many)).collect::<Result<_>>()?;
        for digest in &digests {
            hasher.update(digest);
        }
        supply.fingerprint = hasher.finalize().to_hex()[..16].to_string();
        if supply.examples.is_empty() && !files.is_empty() {
            let why = if supply.skipped > 0 { "every row is longer than data.tokens_max" } else { "no row" };
            return Err(Error::data(format!("{}: {why}", files.join(", "))));
        }
        if supply.skipped > 0 {
            tracing::warn!("{} rows are longer than data.tokens_max and left out", supply.skipped);
        }
        Ok(supply)
    }

    fn add(&mut self, words: &Words, data: &Data, row: &Row, folder: &Path) -> Result<()> {
        let made = example(&words.tokenizer, &words.template, row, data.mask(), usize::MAX)?;
        if !made.is_target.contains(&true) {
            return Err(Error::data(format!("{}: nothing to learn: the row has no answer", row.place))
                .hint("rows of twnm benchmark --kind align or sft have one"));
        }
        let audio = match row.content.recordings.as_slice() {
            [] => None,
            [one] if one.reverb.is_none() => Some(folder.join(&one.audio)),
            _ => {
                return Err(Error::data(format!("{}: recordings that are yet to be mixed or reverberated", row.place))
                    .hint("render the rows' scenes first, and name one First-Order-Ambisonics recording per row"));
            }
        };
        if let Some(path) = audio.as_ref().filter(|path| !path.is_file()) {
            return Err(Error::missing(format!("{}: there is no recording {}", row.place, path.display()))
                .hint("data.audio names the folder of the recordings"));
        }
        if audio.is_some() != made.anchor.is_some() {
            return Err(Error::data(format!("{}: the prompt has no place for the audio", row.place)));
        }
        // The audio's rows are known only once it was heard; here the text alone is measured.
        if made.ids.len() > data.tokens_max {
            if data.skip_long {
                self.skipped += 1;
                return Ok(());
            }
            return Err(Error::data(format!(
                "{}: {} tokens of text, data.tokens_max is {}; nothing is cut",
                row.place,
                made.ids.len(),
                data.tokens_max
            ))
            .hint("raise data.tokens_max, or leave long rows out with data.skip_long"));
        }
        self.examples.push(Asked { example: made, audio, place: row.place.clone() });
        Ok(())
    }

    /// Keeps what is heard in a folder, and takes from it what was heard before.
    pub fn keep_in(&mut self, clips: Arc<Clips>) {
        self.stored = Some(clips);
    }

    /// Refuses rows without a recording, from which a projector learns nothing.
    ///
    /// # Errors
    /// `Data` naming the first.
    pub fn expect_recordings(&self) -> Result<()> {
        match self.examples.iter().find(|row| row.audio.is_none()) {
            None => Ok(()),
            Some(row) => Err(Error::data(format!("{}: the row has no recording", row.place)).hint(
                "stage 2 trains the projector alone, which says what is heard; rows of text belong to twnm-train language or sft",
            )),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// A short hash of the rows' files and of their recordings: of each its length, its begin and its end.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Rows `first..first + count` of an endless sequence of shuffled passes over all rows.
    pub fn rows_from(&self, seed: u64, first: u64, count: usize) -> Vec<usize> {
        let n = self.examples.len() as u64;
        let (mut pass, mut order) = (u64::MAX, Vec::new());
        let row = |position: u64| {
            if position / n != pass {
                pass = position / n;
                order = (0..n as usize).collect();
                Rng::new(seed, "order of rows", pass).shuffle(&mut order);
            }
            order[(position % n) as usize]
        };
        (first..first + count as u64).map(row).collect()
    }

    /// How long every row is; of its recording no more is read than that takes.
    ///
    /// # Errors
    /// Those of reading a recording, naming the row.
    pub fn lengths(&self) -> Result<Vec<Length>> {
        let mut known: BTreeMap<&Path, usize> = BTreeMap::new();
        let mut lengths = Vec::with_capacity(self.examples.len());
        for Asked { example, audio, place } in &self.examples {
            let samples = match audio.as_deref() {
                None => None,
                Some(path) => Some(match known.get(path) {
                    Some(&samples) => samples,
                    None => *known.entry(path).or_insert(samples_of(path).context_with(|| place)?),
                }),
            };
            let Example { ids, is_target, anchor } = example;
            let first = is_target.iter().skip(1).position(|&asked| asked).map_or(ids.len(), |at| at + 1);
            // The audio's rows stand in the place of its anchor.
            let text = ids.len() - usize::from(anchor.is_some());
            lengths.push(Length { text, answer: ids.len() - first, samples });
        }
        Ok(lengths)
    }

    /// Refuses rows that are longer than `tokens_max` with the `rows` that their recordings take: a run would end at them.
    ///
    /// # Errors
    /// `Data` naming the first.
    pub fn expect_room(&self, lengths: &[Length], tokens_max: usize, rows: impl Fn(usize) -> usize) -> Result<()> {
        for (row, length) in self.examples.iter().zip(lengths) {
            let count = length.samples.map_or(0, &rows);
            if length.text + count > tokens_max {
                return Err(too_long(&row.place, length.text + count, count, tokens_max));
            }
        }
        Ok(())
    }

    /// How many tokens of a row are to be predicted.
    pub fn targets(&self, row: usize) -> usize {
        self.examples[row].example.is_target.iter().skip(1).filter(|&&asked| asked).count()
    }

    /// What the encoders make of a row's recording.
    fn heard(&self, family: &Family, row: &Asked) -> Result<Option<Arc<Clip>>> {
        let Some(path) = &row.audio else { return Ok(None) };
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clip) = cache().clips.get(path) {
            return Ok(Some(clip.clone()));
        }
        let hear = || {
            let audio = read_foa(path, None)?;
            family.hear(&audio.samples, None).context_with(|| path.display())
        };
        let clip = match &self.stored {
            None => hear(),
            Some(stored) => hash_file(path).and_then(|recording| match stored.get(&recording.blake3)? {
                Some(clip) => Ok(clip),
                None => hear().and_then(|clip| stored.put(&recording.blake3, &clip).map(|()| clip)),
            }),
        };
        let clip = Arc::new(clip.context_with(|| &row.place)?.compact());
        let tensors = [&clip.semantic, &clip.spatial.frames, &clip.spatial.slots, &clip.spatial.readouts];
        let bytes: usize = tensors.iter().map(|t| 4 * t.len()).sum();
        let mut cache = cache();
        if bytes <= cache.bytes_left {
            cache.bytes_left -= bytes;
            cache.clips.insert(path.clone(), clip.clone());
        }
        Ok(Some(clip))
    }

    /// Rows as documents, with what is heard in them.
    ///
    /// # Errors
    /// `Missing` or `Data` naming a row whose recording cannot be heard or that is longer than `tokens_max` with it.
    pub fn documents(
        &self,
        family: &Family,
        rows: &[usize],
        (tokens_max, ablation): (usize, Ablation),
    ) -> Result<(Vec<Document>, Option<Batch>)> {
        let rows: Vec<&Asked> = rows.iter().map(|&i| &self.examples[i]).collect();
        let heard: Vec<Option<Arc<Clip>>> = rows.iter().map(|row| self.heard(family, row)).collect::<Result<_>>()?;
        let clips: Vec<Clip> = heard.iter().flatten().map(|clip| Clip::clone(clip)).collect();
        let batch = if clips.is_empty() { None } else { Some(family.audio_rows(&clips, ablation)?) };
        let mut counts = batch.iter().flat_map(|batch| batch.counts.iter().copied());
        let mut documents = Vec::with_capacity(rows.len());
        for (row, heard) in rows.iter().zip(&heard) {
            let count = if heard.is_some() { counts.next().expect("a count for every clip") } else { 0 };
            let document = Document::new(&row.example, count);
            if document.ids.len() > tokens_max {
                return Err(too_long(&row.place, document.ids.len(), count, tokens_max));
            }
            documents.push(document);
        }
        Ok((documents, batch))
    }
}

fn too_long(place: &str, tokens: usize, of_audio: usize, most: usize) -> Error {
    Error::data(format!(
        "{place}: {tokens} tokens, {of_audio} of them of the audio; data.tokens_max is {most}; nothing is cut"
    ))
    .hint("raise data.tokens_max, or cover more time with a token: projector.frames_per_token")
}

/// Samples at 16 kHz of a recording, of which a millisecond is read where its file says how long it is.
fn samples_of(path: &Path) -> Result<usize> {
    let begin = read_foa_stretch(path, None, Stretch { start_s: 0.0, seconds: 1e-3 })?;
    match begin.recording_s {
        Some(seconds) => Ok((seconds * f64::from(SAMPLE_RATE)).ceil() as usize),
        None => Ok(read_foa(path, None)?.frames()),
    }
}
