//! Where training scenes come from: shards on a disk, or rooms rendered as they are needed.
//!
//! Rendered scenes never repeat and never touch a disk. On a GPU they are rendered there; scene i depends on (seed, i)
//! alone, so a resumed run hears what the uninterrupted one would have heard.

use super::recipe::Data;
use crate::device::Device;
use crate::error::{Context, Error, Result};
use crate::shard::simulate::scene_on;
use crate::shard::{Labels, Order, ShardSet};
use crate::sim::config::SceneConfig;
use crate::sim::scene::SceneSampler;
use crate::sources::{SourceDir, Sources, Split, usable};
use std::path::Path;

/// Training scenes.
pub enum Supply {
    /// A finite set, in a new order every epoch.
    Shards(ShardSet, Order),
    /// An endless stream.
    Rendered(Box<Rendered>),
}

/// What rendering needs.
pub struct Rendered {
    sources: Sources,
    sampler: SceneSampler,
    frames: usize,
    device: Device,
    settings: blake3::Hash,
}

/// Corpora of at most so many bytes are decoded as a whole before a run.
const DECODED_BYTES_MAX: u64 = 1 << 30;

/// Finds the recordings of the training split that cannot be read, all at once; of large corpora those that cannot be opened,
/// and what fits the cache is decoded afterwards.
fn look_at(sources: &mut Sources, skips: bool) -> Result<()> {
    let wanted = sources.in_split(Split::Train);
    let bad = match sources.file_bytes() <= DECODED_BYTES_MAX {
        true => sources.undecodable(&wanted, Split::Train)?,
        false => sources.unopenable(&wanted)?,
    };
    if bad.is_empty() {
        return Ok(());
    }
    if !skips {
        return Err(usable::refused(&bad, wanted.len())
            .hint("replace or remove them, or go on without them with --set data.skip_unreadable=true"))
        .context_with(|| "data.sources");
    }
    usable::name(&bad, 0);
    tracing::warn!("data.sources: {} of {} recordings cannot be read and are left out", bad.len(), wanted.len());
    sources.leave_out(bad.into_iter().map(|(i, _)| i));
    Ok(())
}

impl Supply {
    /// What `data` names: folders of shards, or folders of recordings to render from (or neither with
    /// `data.bank`: the procedural bank).
    ///
    /// # Errors
    /// `Usage` naming the setting; what opening shards or recordings says.
    pub fn open(data: &Data, seed: u64, device: Device) -> Result<Supply> {
        let renders = !data.sources.is_empty() || data.bank;
        if renders && !data.train.is_empty() {
            return Err(Error::usage("data.train and data.sources (or data.bank): give shards or what to render from"));
        }
        if !renders {
            let Some(set) = super::open_shards(&data.train).context_with(|| "data.train")? else {
                return Err(Error::usage("data.train: no folder of shards is named").hint(
                    "make one with twnm simulate --split train, then --set data.train='[\"DIR\"]', or render scenes \
                     during training with --set data.sources='[\"RECORDINGS\"]'",
                ));
            };
            let order = Order::new(set.len(), seed, "training order");
            return Ok(Supply::Shards(set, order));
        }
        let folders: Vec<SourceDir> = data.sources.iter().map(|s| s.parse()).collect::<Result<_>>()?;
        let mut sources = if folders.is_empty() { Sources::procedural(seed) } else { Sources::open(&folders, None)? };
        let config = match data.scene_recipe.as_str() {
            "" => SceneConfig::default(),
            path => crate::config::load(Some(Path::new(path)), &[])?,
        };
        look_at(&mut sources, data.skip_unreadable)?;
        sources.preload(Split::Train)?;
        let sampler = SceneSampler::new(&config, &sources, Split::Train, seed)?;
        let frames = config.frames();
        let settings = blake3::hash(crate::config::to_toml(&config).as_bytes());
        Ok(Supply::Rendered(Box::new(Rendered { sources, sampler, frames, device, settings })))
    }

    /// The class names.
    pub fn classes(&self) -> &[String] {
        match self {
            Supply::Shards(set, _) => set.classes(),
            Supply::Rendered(rendered) => rendered.sources.classes(),
        }
    }

    /// What tells this supply from any other.
    pub fn fingerprint(&self) -> String {
        match self {
            Supply::Shards(set, _) => set.fingerprint(),
            Supply::Rendered(rendered) => {
                let (sources, settings) = (rendered.sources.fingerprint(), rendered.settings.to_hex());
                format!("rendered from {sources} with settings {}", &settings[..16])
            }
        }
    }

    /// In words, for the card.
    pub fn size(&self) -> String {
        match self {
            Supply::Shards(set, _) => set.len().to_string(),
            Supply::Rendered(_) => "rendered, none twice".into(),
        }
    }

    /// The first scene with fewer than `needed` samples, and how many it has.
    pub fn too_short(&self, needed: usize) -> Option<(usize, usize)> {
        match self {
            Supply::Shards(set, _) => (0..set.len()).map(|i| (i, set.frames(i))).find(|&(_, n)| n < needed),
            Supply::Rendered(rendered) => Some((0, rendered.frames)).filter(|&(_, n)| n < needed),
        }
    }

    /// Lets the disk read ahead what a later position needs.
    pub fn prefetch(&self, position: u64) {
        if let Supply::Shards(set, order) = self {
            set.prefetch(order.item(position));
        }
    }

    /// A part of the scene at a position of the run: `cut(samples of the scene)` says where it begins and how long it
    /// is. Audio [4, n] and the labels of the whole scene.
    ///
    /// # Errors
    /// Recordings that cannot be decoded.
    pub fn part(&self, position: u64, cut: impl FnOnce(usize) -> (usize, usize)) -> Result<(Vec<f32>, Labels, usize)> {
        match self {
            Supply::Shards(set, order) => {
                let scene = order.item(position);
                let (begin, n) = cut(set.frames(scene));
                let mut audio = vec![0.0; 4 * n];
                set.read_f32(scene, begin, &mut audio);
                Ok((audio, set.labels(scene).clone(), begin))
            }
            Supply::Rendered(rendered) => {
                let (audio, labels) = scene_on(rendered.device, &rendered.sampler, &rendered.sources, position)?;
                let (begin, n) = cut(rendered.frames);
                let whole = audio.to(Device::Host);
                let channels = whole.data().chunks_exact(rendered.frames);
                let part = channels.flat_map(|c| c[begin..begin + n].iter().copied()).collect();
                Ok((part, labels, begin))
            }
        }
    }
}
