//! Reading the models of a family, and which of their parameters are trained.

use super::{Family, PROJECTOR_PREFIX, Parts, contents};
use crate::device::Device;
use crate::encoder::Encoder;
use crate::error::{Context as _, Error, Result};
use crate::language::decoder::{Adapter, Build, Decoder};
use crate::language::lora::LoraConfig;
use crate::language::store::{self, DecoderFiles, PEFT_PREFIX};
use crate::language::template::Template;
use crate::language::tokenizer::Tokenizer;
use crate::models::encoder_folder;
use crate::nn::{Builder, ParamId, Params};
use crate::projector::{Projector, ProjectorConfig};
use crate::semantic::SemanticEncoder;
use crate::weights::Tensors;
use std::path::{Path, PathBuf};

/// Where the projector comes from.
#[derive(Clone, Debug)]
pub enum ProjectorChoice {
    /// From the family's folder.
    Stored,
    /// A fresh one; what the other models decide of its sizes (widths, classes) is filled in.
    Fresh(ProjectorConfig),
}

/// Where an adapter of the decoder comes from.
#[derive(Clone, Debug)]
pub enum AdapterChoice {
    /// From a folder of PEFT.
    Stored {
        /// The folder.
        folder: PathBuf,
        /// Whether it stays as it is.
        is_frozen: bool,
    },
    /// A fresh one.
    Fresh(LoraConfig),
}

/// Which parameters of a family are read and which are trained.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Where the projector comes from.
    pub projector: ProjectorChoice,
    /// Whether the projector is trained.
    pub trains_projector: bool,
    /// The adapters, in order.
    pub adapters: Vec<AdapterChoice>,
    /// Seed of what is fresh.
    pub seed: u64,
}

impl Choice {
    /// Everything as the family's folders have it, nothing trained.
    pub fn stored(parts: &Parts) -> Choice {
        let adapter = |folder: &PathBuf| AdapterChoice::Stored { folder: folder.clone(), is_frozen: true };
        Choice {
            projector: ProjectorChoice::Stored,
            trains_projector: false,
            adapters: parts.adapters.iter().map(adapter).collect(),
            seed: 0,
        }
    }
}

/// How a decoder reads and writes: what rows become tokens with, before any weight is read.
pub struct Words {
    /// Text to tokens.
    pub tokenizer: Tokenizer,
    /// Conversations to text.
    pub template: Template,
}

impl Words {
    /// Those of a decoder's folder.
    ///
    /// # Errors
    /// `Missing` or `Data` naming the file.
    pub fn open(decoder: &Path) -> Result<Words> {
        let folder = text_folder(decoder);
        Ok(Words { tokenizer: Tokenizer::open(&folder)?, template: Template::open(&folder)? })
    }
}

impl Family {
    /// Reads the models that `parts` name onto `device`.
    ///
    /// # Errors
    /// `Missing`, `Integrity` or `Data` naming folder, file and field or tensor, `Integrity` also for a part that holds something
    /// else than the checkpoint was trained with; `Usage` for sizes that do not fit each other;
    /// `Unavailable` for an adapter with magnitudes on a device.
    pub fn open(parts: &Parts, choice: &Choice, device: Device) -> Result<Family> {
        Family::open_with(parts, choice, device, Words::open(&parts.decoder)?)
    }

    /// The same with the decoder's words, which somebody has read.
    ///
    /// # Errors
    /// Those of [`Family::open`].
    pub fn open_with(parts: &Parts, choice: &Choice, device: Device, words: Words) -> Result<Family> {
        let Words { tokenizer, template } = words;
        let spatial = Encoder::open(&encoder_folder(&parts.encoder)?)?;
        let semantic = SemanticEncoder::open(&parts.semantic)?;
        let files = store::open_decoder(&parts.decoder)?;
        let contents = contents::of(&spatial, &semantic, &files, &text_folder(&parts.decoder))?;
        contents::check(parts, &contents)?;
        if tokenizer.len() > files.config.vocabulary {
            return Err(Error::data(format!(
                "{}: the tokenizer has ids up to {}, the decoder {} embeddings",
                parts.decoder.display(),
                tokenizer.len() - 1,
                files.config.vocabulary
            )));
        }
        let fixed = ProjectorConfig {
            semantic: semantic.token_width(),
            spatial: spatial.config.width(),
            width: files.config.hidden,
            classes: spatial.classes.len(),
            ..projector_config(parts, choice)?
        };
        let (adapters, sources) = adapters(choice)?;
        for (adapter, source) in adapters.iter().zip(&sources) {
            source.iter().try_for_each(|s| store::check_adapter(s, &adapter.config, &files.config, files.prefix))?;
        }
        if device != Device::Host && adapters.iter().any(|a| a.config.has_magnitudes) {
            return Err(Error::unavailable("adapters with magnitudes (DoRA) are computed on the host only")
                .hint("use --device host, or merge the adapter into its base"));
        }
        let mut builder = Builder::new();
        let sizes = ProjectorConfig { classes: if fixed.slots { fixed.classes } else { 0 }, ..fixed };
        let add = |b: &mut Builder| b.under(PROJECTOR_PREFIX, |b| Projector::new(b, sizes.clone()));
        let projector = if choice.trains_projector { add(&mut builder) } else { builder.frozen(add) }?;
        if let ProjectorChoice::Stored = choice.projector {
            sizes.expect_in(&open_projector(parts)?)?;
        }
        let build = Build { prefix: files.prefix, is_frozen: true, adapters: &adapters };
        let decoder = Decoder::new(&mut builder, &files.config, &build);
        let mut params = builder.finish(choice.seed);
        fill(&mut params, (&projector, &decoder), (parts, choice), &files, (&adapters, &sources))?;
        Ok(Family {
            spatial: spatial.to(device),
            semantic: semantic.to(device),
            projector,
            decoder,
            adapters,
            params: params.to(device),
            tokenizer,
            template,
            parts: Parts { contents, ..parts.clone() },
        })
    }
}

/// Gives every parameter its numbers.
fn fill(
    params: &mut Params,
    (projector, decoder): (&Projector, &Decoder),
    (parts, choice): (&Parts, &Choice),
    files: &DecoderFiles,
    (adapters, sources): (&[Adapter], &[Option<Tensors>]),
) -> Result<()> {
    store::load_base(params, files.prefix, &files.weights, files.prefix, parts.weights)?;
    if let ProjectorChoice::Stored = choice.projector {
        let source = open_projector(parts)?;
        load_projector(params, projector, &source).context_with(|| source.path().display())?;
    }
    for (adapter, source) in adapters.iter().zip(sources) {
        match source {
            Some(source) => store::load_adapter(params, adapter, source)?,
            None if adapter.config.has_magnitudes => store::reset_magnitudes(params, decoder),
            None => {}
        }
    }
    Ok(())
}

/// Adapters with the names of their parameters, and the tensors of those that are read. The last has PEFT's own names.
fn adapters(choice: &Choice) -> Result<(Vec<Adapter>, Vec<Option<Tensors>>)> {
    let count = choice.adapters.len();
    let mut found = (Vec::new(), Vec::new());
    for (i, chosen) in choice.adapters.iter().enumerate() {
        let prefix = if i + 1 == count { PEFT_PREFIX.to_string() } else { format!("{i}.{PEFT_PREFIX}") };
        let (config, source, is_frozen) = match chosen {
            AdapterChoice::Fresh(config) => (config.clone(), None, false),
            AdapterChoice::Stored { folder, is_frozen } => {
                let (config, source) = store::open_adapter(folder)?;
                (config, Some(source), *is_frozen)
            }
        };
        found.0.push(Adapter { prefix, config, is_frozen });
        found.1.push(source);
    }
    Ok(found)
}

/// The folder with the decoder's tokenizer.
fn text_folder(decoder: &Path) -> PathBuf {
    let own = decoder.join("llm");
    if own.join(store::CONFIG_FILE).is_file() && !decoder.join("tokenizer.json").is_file() {
        return own;
    }
    decoder.to_path_buf()
}

fn projector_folder(parts: &Parts) -> Result<&Path> {
    parts.projector.as_deref().ok_or_else(|| {
        Error::usage("the family has no projector").hint("train one with twnm-train align, or name its folder")
    })
}

fn open_projector(parts: &Parts) -> Result<Tensors> {
    Tensors::open(&projector_folder(parts)?.join("model.safetensors"))
}

/// The sizes of the projector, from its folder or as they were asked for.
fn projector_config(parts: &Parts, choice: &Choice) -> Result<ProjectorConfig> {
    match &choice.projector {
        ProjectorChoice::Fresh(config) => Ok(config.clone()),
        ProjectorChoice::Stored => ProjectorConfig::read(projector_folder(parts)?),
    }
}

/// Gives the projector the tensors of a file, whose names have [`PROJECTOR_PREFIX`] (a checkpoint, where other models' may
/// stand beside them) or lack it (a folder of its own). Nothing may be missing or left over.
fn load_projector(params: &mut Params, projector: &Projector, source: &Tensors) -> Result<()> {
    let stored = if source.names().any(|name| name.starts_with(PROJECTOR_PREFIX)) { PROJECTOR_PREFIX } else { "" };
    let ids: Vec<(ParamId, String)> = projector
        .ids()
        .into_iter()
        .map(|id| (id, format!("{stored}{}", &params.info(id).name[PROJECTOR_PREFIX.len()..])))
        .collect();
    let is_known = |name: &str| !name.starts_with(stored) || ids.iter().any(|(_, wanted)| wanted == name);
    if let Some(name) = source.names().find(|name| !is_known(name)) {
        return Err(Error::data(format!("tensor {name} is no parameter of this projector")));
    }
    ids.iter().try_for_each(|(id, name)| params.load_one(*id, source, name))
}
