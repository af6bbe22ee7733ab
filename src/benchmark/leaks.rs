//! Proof that two sets share no sound: hashes of dry recordings and of whole scenes.

use crate::error::{Error, Kind, Result};
use crate::scene::Truth;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Overlaps that a message names.
const NAMED: usize = 5;

/// What is heard in a set: hash of the samples (BLAKE3, hexadecimal) to a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// Dry recordings by the hash of their samples (mono, 16 kHz, trimmed).
    pub recordings: BTreeMap<String, String>,
    /// Scenes by the hash of their samples as they stand in the shard.
    pub scenes: BTreeMap<String, String>,
}

impl Contents {
    /// Adds a scene.
    ///
    /// # Errors
    /// `Data` when its truth lists no recordings (made before they were hashed).
    pub fn add(&mut self, truth: &Truth, audio: &[i16]) -> Result<()> {
        let recordings = truth.sources.iter().filter_map(|s| s.recording.as_ref());
        if let Some(recording) = { recordings }.find(|id| !truth.recordings.contains_key(*id)) {
            let message = format!("{}: no hash of recording {recording} in its truth", truth.id);
            return Err(Error::data(message).hint("the set is from an older version: simulate it again"));
        }
        self.recordings.extend(truth.recordings.iter().map(|(id, hash)| (hash.clone(), id.clone())));
        let hash = blake3::hash(bytemuck::cast_slice(audio)).to_hex().to_string();
        self.scenes.insert(hash, truth.id.clone());
        Ok(())
    }

    /// Refuses a set that shares a recording or a scene with this one. `folder` is for the message.
    ///
    /// # Errors
    /// `Integrity` naming what is in both.
    pub fn check_apart_from(&self, other: &Contents, folder: &Path) -> Result<()> {
        let shared = |what: &str, ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>| {
            let both = ours.iter().filter_map(|(hash, id)| Some((id, theirs.get(hash)?)));
            let name = |(a, b): (&String, &String)| if a == b { a.clone() } else { format!("{a} (there {b})") };
            let names: Vec<String> = both.map(name).collect();
            (!names.is_empty()).then(|| {
                let more = if names.len() > NAMED { ", .." } else { "" };
                format!("{} {what}: {}{more}", names.len(), names[..names.len().min(NAMED)].join(", "))
            })
        };
        let overlaps =
            [shared("recordings", &self.recordings, &other.recordings), shared("scenes", &self.scenes, &other.scenes)];
        let overlaps: Vec<String> = overlaps.into_iter().flatten().collect();
        if overlaps.is_empty() {
            return Ok(());
        }
        let message = format!("{} is heard here as well: {}", folder.display(), overlaps.join("; "));
        Err(Error::new(Kind::Integrity, message)
            .hint("make both from different --split of the recordings, with the same --splits file"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{facts, source};
    use super::*;

    #[test]
    fn a_shared_recording_or_scene_is_named() {
        let mut scene = facts(vec![source("rain", 10.0, 0.0, 2.0)]).truth.clone();
        let mut contents = Contents::default();
        assert!(contents.add(&scene, &[1, 2]).unwrap_err().to_string().contains("simulate it again"));
        scene.recordings.insert("environment/rain/1".into(), "aa".into());
        contents.add(&scene, &[1, 2]).unwrap();
        let mut other = Contents::default();
        let mut second = scene.clone();
        second.recordings = [("environment/rain/1".to_string(), "bb".to_string())].into();
        other.add(&second, &[1, 3]).unwrap();
        let at = Path::new("there");
        contents.check_apart_from(&other, at).unwrap();
        // The same samples under another name.
        other.recordings.insert("aa".into(), "environment/shower/7".into());
        let error = contents.check_apart_from(&other, at).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(error.to_string().contains("environment/rain/1 (there environment/shower/7)"), "{error}");
        other.recordings.remove("aa");
        other.scenes.insert(contents.scenes.keys().next().unwrap().clone(), "scene-1".into());
        assert!(contents.check_apart_from(&other, at).unwrap_err().to_string().contains("1 scenes"));
    }
}
