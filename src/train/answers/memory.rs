//! The memory of a step of stages 2 and 3: from a recipe, the sizes of the models that it names and the rows that it trains on.
//!
//! Models that are there are opened for their sizes only: no weight is read.

use super::data::{Length, Supply};
use super::recipe::{AlignRecipe, Data, Models, SftRecipe, Train};
use super::{Means, kept, named_parts};
use crate::audio::SAMPLE_RATE;
use crate::device::tally::{Held, hold};
use crate::device::{DType, Device, machine};
use crate::encoder::{EncoderConfig, store as encoder_store};
use crate::error::{Error, Result};
use crate::family::Parts;
use crate::language::config::DecoderConfig;
use crate::language::decoder::Kept;
use crate::language::lora::LoraConfig;
use crate::language::store;
use crate::models::{Places, encoder_folder};
use crate::ops::spatial_loss::SOURCES_MAX;
use crate::plan::{Component, Documents, Frozen, Heard, Plan, PlanInput, gib, hearing_bytes};
use crate::projector::ProjectorConfig;
use crate::semantic::{SemanticConfig, SemanticEncoder, Sizes};
use std::path::Path;

/// Classes of an encoder that is named by its size.
const CLASSES: usize = 200;
/// Length of recordings where nobody says more: that of simulated scenes.
pub const CLIP_S: f64 = 5.0;

/// A recipe of either stage, as far as memory goes.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Folders of the models; for a plan also sizes by name.
    pub models: Models,
    /// What is learned from.
    pub data: Data,
    /// Length and rhythm.
    pub train: Train,
    projector: ProjectorConfig,
    lora: Option<LoraConfig>,
}

impl From<AlignRecipe> for Stage {
    fn from(recipe: AlignRecipe) -> Stage {
        let AlignRecipe { model, projector, data, train, .. } = recipe;
        Stage { models: model, data, train, projector: projector.config(), lora: None }
    }
}

impl From<SftRecipe> for Stage {
    fn from(recipe: SftRecipe) -> Stage {
        let SftRecipe { model, projector, lora, data, train, .. } = recipe;
        Stage { models: model, data, train, projector: projector.config(), lora: Some(lora.config()) }
    }
}

/// The models of a stage, by their sizes.
pub struct Opened {
    decoder: DecoderConfig,
    frozen: Frozen,
    frozen_bytes: u64,
    /// Bytes of the decoder that the host reads where they lie.
    mapped: u64,
    semantic: Sizes,
    encoder: EncoderConfig,
    classes: usize,
    projector: ProjectorConfig,
    lora: Option<LoraConfig>,
    /// What nobody said, in words.
    pub assumed: Vec<String>,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Tokens of a document; `None`: the most that the recipe allows.
    pub tokens: Option<usize>,
    /// Tokens at its end that the loss is of; `None`: every one behind the audio.
    pub answer: Option<usize>,
    /// Length of a recording in seconds.
    pub clip_s: f64,
    /// The device.
    pub device: Device,
}

impl Stage {
    /// Opens what the recipe names.
    ///
    /// # Errors
    /// `Usage` naming a setting that is missing or a size that is not known; `Missing` and `Data` of folders.
    pub fn open(&self, places: &Places) -> Result<Opened> {
        let parts = named_parts(&self.models, places)?;
        let mut assumed = Vec::new();
        let Weighed { decoder, frozen, bytes, mapped } = self.decoder(&parts, &mut assumed)?;
        let (encoder, classes) = encoder(&parts.encoder, &mut assumed)?;
        let semantic = semantic(&parts.semantic, decoder.hidden, frozen, &mut assumed)?;
        let asked = match &parts.projector {
            Some(folder) => ProjectorConfig::read(folder)?,
            None => self.projector.clone(),
        };
        let projector = ProjectorConfig {
            semantic: semantic.token_width,
            spatial: encoder.width(),
            width: decoder.hidden,
            classes: if asked.slots { classes } else { 0 },
            ..asked
        };
        let mut errors = Vec::new();
        projector.check(&mut errors);
        if !errors.is_empty() {
            return Err(Error::usage(format!("projector: {}", errors.join("; "))));
        }
        let lora = match (&self.lora, self.models.adapter.as_str()) {
            (Some(_), folder) if !folder.is_empty() => Some(store::open_adapter(Path::new(folder))?.0),
            (lora, _) => lora.clone(),
        };
        Ok(Opened {
            decoder,
            frozen,
            frozen_bytes: bytes,
            mapped,
            semantic,
            encoder,
            classes,
            projector,
            lora,
            assumed,
        })
    }

    /// The decoder and how its weights are held.
    fn decoder(&self, parts: &Parts, assumed: &mut Vec<String>) -> Result<Weighed> {
        let (named, packing) = (&parts.decoder, parts.weights);
        if named.is_dir() {
            let files = store::open_decoder(named)?;
            let held = files.held(packing)?;
            let frozen = Frozen::of(held.packing, held.is_narrow);
            return Ok(Weighed { decoder: files.config, frozen, bytes: held.bytes, mapped: held.mapped });
        }
        let name = size_name(named, "decoder", "pocket, 0.5b, 1.5b or 7b")?;
        let decoder = DecoderConfig::preset(&name).map_err(|e| e.context(format!("model.decoder = {name:?}")))?;
        let (frozen, bytes, mapped) = Frozen::of_size(&decoder, packing, self.train.precision == "bf16");
        assumed.push(format!("a decoder of size {name}, its weights in {frozen:?}"));
        Ok(Weighed { decoder, frozen, bytes, mapped })
    }
}

/// A decoder by its sizes, and the bytes of its weights.
struct Weighed {
    decoder: DecoderConfig,
    frozen: Frozen,
    bytes: u64,
    mapped: u64,
}

/// A size by its name, where a folder could stand.
fn size_name(named: &Path, part: &str, sizes: &str) -> Result<String> {
    if named.as_os_str().is_empty() {
        return Err(Error::usage(format!("model.{part} is not set, and there is no model.family"))
            .hint(format!("--set model.{part}=DIR; twnm plan also takes --{part} with a folder or a size: {sizes}")));
    }
    Ok(named.display().to_string())
}

fn encoder(named: &Path, assumed: &mut Vec<String>) -> Result<(EncoderConfig, usize)> {
    if named.is_dir() {
        let (config, classes) = encoder_store::read_sizes(&encoder_folder(named)?)?;
        return Ok((config, classes.len()));
    }
    let name = size_name(named, "encoder", "pocket, small or paper")?;
    let Some(config) = EncoderConfig::preset(&name) else {
        let known = "pocket, small, paper";
        return Err(Error::usage(format!("model.encoder = {name:?} is neither a folder nor one of {known}")));
    };
    assumed.push(format!("a spatial encoder of size {name} with {CLASSES} classes"));
    Ok((config, CLASSES))
}

fn semantic(named: &Path, width: usize, frozen: Frozen, assumed: &mut Vec<String>) -> Result<Sizes> {
    if named.is_dir() {
        return SemanticEncoder::sizes(named);
    }
    let name = size_name(named, "semantic", "whisper-tiny to whisper-large-v3 or audio-flamingo-3")?;
    let config = SemanticConfig::published(&name).map_err(|e| e.context("model.semantic"))?;
    let bytes = if frozen == Frozen::F32 { 4 } else { 2 };
    assumed.push(format!("a semantic encoder of size {name}, {bytes} bytes per weight"));
    Ok(Sizes::of(config, width, bytes))
}

impl Opened {
    /// What the projector is given of a recording of so many samples at 16 kHz, and what stays of it in the cache: numbers.
    fn heard(&self, samples: usize) -> Heard {
        Heard {
            semantic: self.semantic.config.tokens_of(samples),
            spatial: self.encoder.frames(samples),
            slots: if self.projector.slots { SOURCES_MAX + 1 } else { 0 },
        }
    }

    /// The plan's input for the longest documents that a recipe allows, or those that were asked for; what was assumed.
    ///
    /// # Errors
    /// `Usage` when a recording leaves no room for an answer, naming the settings.
    pub fn input(&mut self, stage: &Stage, asked: Asked) -> Result<PlanInput> {
        let heard = self.heard((asked.clip_s * f64::from(SAMPLE_RATE)).round() as usize);
        let (rows, tokens) = (heard.rows(&self.projector), asked.tokens.unwrap_or(stage.data.tokens_max));
        let room = tokens.saturating_sub(rows + 1);
        let answer = asked.answer.unwrap_or(room);
        if room == 0 || answer == 0 || answer > room {
            return Err(Error::usage(format!(
                "documents of {tokens} tokens, {rows} of them of the audio, have no room for {} tokens of an answer",
                answer.max(1)
            ))
            .hint("raise data.tokens_max (--tokens), or cover more time with a token: projector.frames_per_token"));
        }
        self.assumed.push(format!(
            "{} documents of {tokens} tokens: {rows} of a recording of {} s, {answer} that the loss is of",
            stage.train.batch, asked.clip_s
        ));
        let documents = Documents { batch: stage.train.batch, tokens, answer, heard };
        // How many recordings there are is not known.
        Ok(self.planned(stage, documents, (asked.device, u64::MAX, heard)))
    }

    /// The plan's input; on the host with what stays of recordings, `clips` bytes of which so much is heard at most.
    pub(super) fn planned(
        &self,
        stage: &Stage,
        documents: Documents,
        (device, clips, most): (Device, u64, Heard),
    ) -> PlanInput {
        let on_host = device == Device::Host;
        let narrow = stage.train.precision == "bf16" && !on_host;
        let encoder = 4 * self.encoder.floats(self.classes) as u64;
        let mut beside = vec![
            Component { name: "spatial encoder", bytes: encoder },
            Component { name: "semantic encoder", bytes: self.semantic.converted + self.semantic.mapped },
        ];
        let bytes = clips.min((stage.data.cache_mib as u64) << 20);
        let cache = Component { name: "what was heard, kept (data.cache_mib)", bytes };
        if on_host {
            beside.push(cache);
        }
        let threads = machine::threads();
        let longest = self.samples(most);
        PlanInput {
            decoder: self.decoder.clone(),
            lora: self.lora.clone(),
            projector: Some(self.projector.clone()),
            frozen: self.frozen,
            frozen_bytes: self.frozen_bytes,
            activations: if narrow { DType::Bf16 } else { DType::F32 },
            documents,
            kept: kept(&stage.train),
            device,
            threads,
            beside,
            on_host: if on_host { Vec::new() } else { vec![cache] },
            mapped: if on_host { self.mapped + self.semantic.mapped } else { 0 },
            scored: Vec::new(),
            hearing: hearing_bytes(&self.semantic.config, &self.encoder, longest, (device, threads)),
        }
    }

    /// Samples of a recording that gives so many spatial frames.
    fn samples(&self, heard: Heard) -> usize {
        heard.spatial * self.encoder.frame_centres().1
    }

    /// Bytes that stay of a recording.
    pub fn clip_bytes(&self, heard: Heard) -> u64 {
        let columns = crate::projector::readout::width(self.classes);
        let slots = SOURCES_MAX + 1;
        let spatial = (heard.spatial + slots) * self.encoder.width() + slots * columns;
        4 * (heard.semantic * self.semantic.token_width + spatial) as u64
    }
}

/// The parts of a stage for a plan, of which some may be sizes by name.
pub fn override_models(models: &mut Models, [decoder, encoder, semantic]: [&Option<String>; 3]) {
    let places = [&mut models.decoder, &mut models.encoder, &mut models.semantic];
    for (place, named) in places.into_iter().zip([decoder, encoder, semantic]) {
        if let Some(named) = named {
            place.clone_from(named);
        }
    }
}

impl Stage {
    /// Plans the largest micro-batch of `rows`, and holds the run to `memory` bytes; what is no tensor is taken off.
    ///
    /// # Errors
    /// `Usage` with the plan, and with what would fit, when it needs more.
    pub(super) fn hold(&self, rows: &Supply, dev: Option<&Supply>, means: Means, memory: u64) -> Result<Held> {
        let opened = self.open(means.places)?;
        let (lengths, mut scored) = (rows.lengths()?, dev.map_or(Ok(Vec::new()), Supply::lengths)?);
        scored.truncate(self.train.score_rows);
        let most = self.data.tokens_max;
        // At least: which slots exist is known only once a recording was heard.
        let made = |samples: usize| opened.heard(samples).semantic.div_ceil(opened.projector.frames_per_token);
        rows.expect_room(&lengths, most, made)?;
        dev.map_or(Ok(()), |dev| dev.expect_room(&scored, most, made))?;
        let (input, plan) = self.plan(&opened, [&lengths, &scored], means.device);
        if plan.total > memory {
            let message = format!(
                "a step needs {:.3} GiB, --memory allows {:.3} GiB\n{}",
                gib(plan.total),
                gib(memory),
                plan.table()
            );
            return Err(Error::usage(message).hint(self.fixes(&input, &lengths, &opened, memory)));
        }
        tracing::info!("a step needs at most {:.3} GiB of {:.3} GiB", gib(plan.total), gib(memory));
        Ok(hold(means.device, memory - (plan.total - plan.tensors), plan.table()))
    }

    /// The plan of the largest micro-batch that rows of these lengths may form, and of rows that are scored.
    pub fn plan(&self, opened: &Opened, [lengths, scored]: [&[Length]; 2], device: Device) -> (PlanInput, Plan) {
        let documents = self.largest(opened, lengths, self.train.batch);
        let first =
            documents.first().copied().unwrap_or(Documents { batch: 0, tokens: 0, answer: 0, heard: Heard::default() });
        let all = || lengths.iter().chain(scored);
        // A recording that several rows name is counted for each.
        let clips = all().filter_map(|length| length.samples).map(|n| opened.clip_bytes(opened.heard(n))).sum();
        // Every recording is heard and may be kept, whatever it is for.
        let longest = all().filter_map(|length| length.samples).max().map_or(Heard::default(), |n| opened.heard(n));
        let mut input = opened.planned(self, first, (device, clips, longest));
        if !scored.is_empty() {
            input.scored = self.largest(opened, scored, self.train.batch.min(scored.len()));
        }
        let plan = input.of(&documents);
        (input, plan)
    }

    /// Documents that are at least as large as those of any micro-batch of so many rows: the longest texts, the longest answers
    /// and the longest recordings, each for itself.
    fn largest(&self, opened: &Opened, lengths: &[Length], batch: usize) -> Vec<Documents> {
        // Passes over the rows follow one another, and a micro-batch may have the end of one and the begin of the next.
        let n = lengths.len().max(1);
        let again = if n.is_multiple_of(batch) {
            1
        } else if batch.is_multiple_of(n) {
            batch / n
        } else {
            (batch - 1) / n + 2
        };
        let most = |of: &dyn Fn(&Length) -> usize| {
            let mut all: Vec<usize> = lengths.iter().map(of).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.into_iter().flat_map(|n| std::iter::repeat_n(n, again)).take(batch).collect::<Vec<usize>>()
        };
        let heard = |length: &Length| length.samples.map_or(Heard::default(), |samples| opened.heard(samples));
        let tokens = most(&|length| length.text + heard(length).rows(&opened.projector));
        let (answers, samples) = (most(&|length| length.answer), most(&|length| length.samples.unwrap_or(0)));
        let document = |((tokens, answer), samples): ((usize, usize), usize)| Documents {
            batch: 1,
            tokens,
            answer: answer.min(tokens.saturating_sub(1)),
            heard: if samples == 0 { Heard::default() } else { opened.heard(samples) },
        };
        tokens.into_iter().zip(answers).zip(samples).map(document).collect()
    }

    /// What would fit.
    fn fixes(&self, input: &PlanInput, lengths: &[Length], opened: &Opened, memory: u64) -> String {
        let total = |kept: Kept, batch: usize| {
            PlanInput { kept, ..input.clone() }.of(&self.largest(opened, lengths, batch)).total
        };
        let batch = self.train.batch;
        let mut fixes = Vec::new();
        for (name, kept) in [("units", Kept::Attention), ("layers", Kept::Input)] {
            let needed = total(kept, batch);
            if kept != input.kept && needed <= memory {
                fixes.push(format!("train.recompute={name} needs {:.3} GiB", gib(needed)));
                break;
            }
        }
        if let Some(fits) = (1..batch).rev().find(|&batch| total(input.kept, batch) <= memory) {
            fixes.push(format!("train.batch={fits} fits as it is"));
        }
        if fixes.is_empty() {
            let least = total(Kept::Input, 1);
            return format!(
                "with train.recompute=layers and train.batch=1 it needs {:.3} GiB: shorter rows (data.tokens_max, data.skip_long), \
                 a smaller decoder or more --memory are needed",
                gib(least)
            );
        }
        fixes.join("; ") + "; shorter rows (data.tokens_max, data.skip_long) need less"
    }
}
