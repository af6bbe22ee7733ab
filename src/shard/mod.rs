//! Sets of scenes on disk: safetensors shards, a manifest and the ground truth of every scene.
//!
//! ```text
//! DIR/shard-00000.safetensors  audio [N, 4, L] I16 (AmbiX W, Y, Z, X; channel-major), scale [N] F32
//!                              (sample = audio * scale) and the label tensors of `labels`
//! DIR/scenes.jsonl             one line of RTSD per scene, in order
//! DIR/manifest.json            written last: what the set was made from, BLAKE3 and size of every file
//! ```
//! A set without a manifest is unfinished: `writer` continues it and gives the bytes of an uninterrupted run.
//! `reader` maps the shards and hands out clips without copying; `sampler` decides the order of training.

pub mod check;
pub mod labels;
pub mod manifest;
pub mod reader;
pub mod sampler;
pub mod simulate;
pub mod writer;

pub use check::{Check, Planned};
pub use labels::Labels;
pub use manifest::{FileRecord, Manifest, ShardSpec};
pub use reader::ShardSet;
pub use sampler::Order;
pub use writer::{Sample, ShardWriter};

/// Channels of the audio in shards: AmbiX W, Y, Z, X.
pub const CHANNELS: usize = 4;
/// Name of the ground truth file in a set.
pub const SCENES_FILE: &str = "scenes.jsonl";
/// Name of the manifest in a set.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Folder of an unfinished set for its bookkeeping.
const PARTS_FOLDER: &str = ".parts";
/// Longest line of ground truth.
const MAX_LINE_BYTES: usize = 1 << 20;

/// File name of shard `index`.
pub fn shard_file(index: usize) -> String {
    format!("shard-{index:05}.safetensors")
}

#[cfg(test)]
mod tests;
