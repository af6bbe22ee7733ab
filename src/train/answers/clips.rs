//! What the frozen encoders made of recordings, on disk: a recording is heard once, not once per run, nor once per pass where
//! memory is short.
//!
//! A folder with a safetensors file per recording: `semantic`, `frames`, `slots` and `readouts` of its [`Clip`] in f32, so
//! that a run is the same to the byte with the folder and without. A file is named by a hash of the recording's bytes and of
//! everything of the encoders that decides the result ([`Family::ears`]); other encoders or a changed recording find nothing
//! and are heard anew beside it. A file carries a hash of its numbers, and one that was damaged is refused.

use crate::error::{Error, Kind, Result};
use crate::family::Family;
use crate::files::{FolderLock, prepare_folder};
use crate::projector::{Clip, Spatial};
use crate::tensor::Tensor;
use crate::weights::{Entry, Tensors, write};
use std::path::{Path, PathBuf};

const FORMAT: &str = "twnm-clip-2";
const NAMES: [&str; 4] = ["semantic", "frames", "slots", "readouts"];

/// A folder of clips that one process uses at a time.
pub struct Clips {
    folder: PathBuf,
    ears: String,
    _lock: FolderLock,
}

impl Clips {
    /// Opens the folder, made if absent, for what the encoders of `family` hear.
    ///
    /// # Errors
    /// `Io` naming the folder, also when another process uses it.
    pub fn open(folder: &Path, family: &Family) -> Result<Clips> {
        prepare_folder(folder)?;
        let lock = FolderLock::acquire(folder, ".lock")?;
        Ok(Clips { folder: folder.to_path_buf(), ears: family.ears(), _lock: lock })
    }

    /// What a clip is of: these encoders and this recording.
    fn of(&self, recording: &str) -> String {
        blake3::hash(format!("{} {recording}", self.ears).as_bytes()).to_hex().to_string()
    }

    fn path(&self, recording: &str) -> PathBuf {
        self.folder.join(format!("{}.safetensors", &self.of(recording)[..32]))
    }

    /// What was made of the recording whose bytes have this hash, if it is there.
    ///
    /// # Errors
    /// `Data` or `Integrity` naming a file that is damaged.
    pub fn get(&self, recording: &str) -> Result<Option<Clip>> {
        let path = self.path(recording);
        if !path.exists() {
            return Ok(None);
        }
        read(&path, &self.of(recording)).map(Some).map_err(|e| e.hint("remove the file: it is made again"))
    }

    /// Keeps what was made of a recording.
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn put(&self, recording: &str, clip: &Clip) -> Result<()> {
        let Spatial { frames, centres: (first, step), slots, readouts } = &clip.spatial;
        let tensors = [&clip.semantic, frames, slots, readouts];
        let entries: Vec<Entry> =
            NAMES.iter().zip(tensors).map(|(name, t)| Entry::f32(name, t.shape(), t.data())).collect();
        let times = format!("{} {first} {step}", clip.semantic_samples);
        let (hash, of) = (hash(tensors.map(Tensor::data), &times), self.of(recording));
        let strings = [("format", FORMAT), ("of", &of), ("times", &times), ("blake3", &hash)];
        write(&self.path(recording), &entries, &strings).map(drop)
    }
}

/// A hash of the numbers and of what they stand for.
fn hash(numbers: [&[f32]; 4], times: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(times.as_bytes());
    numbers.iter().for_each(|numbers| {
        hasher.update(bytemuck::cast_slice(numbers));
    });
    hasher.finalize().to_hex().to_string()
}

fn read(path: &Path, of: &str) -> Result<Clip> {
    let tensors = Tensors::open(path)?;
    let string = |name: &str| tensors.strings().get(name).map_or("", String::as_str);
    if string("format") == FORMAT && string("of") != of {
        let message = format!("{}: it is of another recording or of other encoders", path.display());
        return Err(Error::new(Kind::Integrity, message));
    }
    let times: Vec<usize> = string("times").split(' ').filter_map(|n| n.parse().ok()).collect();
    let (FORMAT, &[semantic_samples, first, step]) = (string("format"), times.as_slice()) else {
        return Err(Error::data(format!("{}: is no clip of {FORMAT}", path.display())));
    };
    let tensor = |name: &str| {
        let shape = tensors.shape(name)?;
        Ok(Tensor::from_slice(shape, &tensors.f32(name)?))
    };
    let [semantic, frames, slots, readouts] = NAMES.map(tensor);
    let [semantic, frames, slots, readouts] = [semantic?, frames?, slots?, readouts?];
    if hash([&semantic, &frames, &slots, &readouts].map(|t| t.data()), string("times")) != string("blake3") {
        return Err(Error::new(
            Kind::Integrity,
            format!("{}: the numbers are not those that were written", path.display()),
        ));
    }
    Ok(Clip { semantic, semantic_samples, spatial: Spatial { frames, centres: (first, step), slots, readouts } })
}
