//! What is known of encoders without opening them: frames of a clip, numbers of their parameters, and what hearing needs at most.

use crate::ALONE;
use std::sync::PoisonError;
use twnm::device::{Device, machine};
use twnm::encoder::{Encoder, EncoderConfig};
use twnm::plan::hearing_bytes;
use twnm::semantic::{Family, SemanticConfig, SemanticEncoder, tagger::Tagger};

/// Noise of one channel.
fn noise(samples: usize) -> Vec<f32> {
    (0..samples).map(|i| ((i * 7919 % 1013) as f32 / 1013.0) - 0.5).collect()
}

/// The most bytes of tensors while `f` runs, beside those that were there.
fn most<T>(f: impl FnOnce() -> T) -> (T, u64) {
    let before = machine::tensor_bytes()[0];
    machine::watch_tensors();
    let found = f();
    (found, machine::tensor_bytes()[1] - before)
}

/// A semantic encoder that needs next to nothing.
const SMALL: SemanticConfig =
    SemanticConfig { family: Family::Whisper, mel_bands: 1, width: 2, layers: 1, heads: 1, ffn: 2, positions: 2 };

#[test]
fn spatial_encoders_are_as_their_sizes_say() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let preset = |name: &str| EncoderConfig::preset(name).unwrap();
    let paper = preset("paper");
    let narrow = EncoderConfig { layers: 1, hidden: 32, ffn: 64, ..paper.clone() };
    let configs = [preset("pocket"), preset("small"), narrow, EncoderConfig { layers: 2, ..paper }];
    for config in configs {
        let encoder = Encoder::new(config.clone(), vec!["dog".into(), "rain".into(), "bell".into()], 1).unwrap();
        assert_eq!(encoder.params.flat_len(), config.floats(3));
        for samples in [1024, 8000, 8191, 16_000] {
            let (out, found) = most(|| encoder.infer(&noise(4 * samples)));
            assert_eq!(out.z.shape()[1], config.frames(samples), "{samples} samples, {config:?}");
            let bound = hearing_bytes(&SMALL, &config, samples, (Device::Host, 2));
            assert!(found <= bound, "{samples} samples: {found} found, bound {bound}, {config:?}");
        }
    }
}

#[test]
fn semantic_encoders_are_as_their_sizes_say() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sizes = |width, ffn, positions, mel_bands| SemanticConfig {
        family: Family::Whisper,
        mel_bands,
        width,
        layers: 2,
        heads: 2,
        ffn,
        positions,
    };
    let spatial = EncoderConfig { hidden: 2, ffn: 2, heads: 1, groups: 1, ..EncoderConfig::preset("pocket").unwrap() };
    for config in [sizes(96, 96, 50, 20), sizes(32, 256, 150, 40), sizes(64, 128, 100, 80)] {
        let folder = tempfile::tempdir().unwrap();
        Tagger::new(config.clone(), vec!["dog".into()], 2).unwrap().save(folder.path()).unwrap();
        let known = SemanticEncoder::sizes(folder.path()).unwrap();
        assert_eq!(known, twnm::semantic::Sizes::of(config.clone(), 0, 4), "from its files and from its sizes");
        let (encoder, held) = most(|| SemanticEncoder::open(folder.path()).unwrap());
        assert!(known.converted <= held, "{} converted, {held} held", known.converted);
        let threads = machine::threads();
        for samples in [400, 16_000, 40_001] {
            let (tokens, found) = most(|| encoder.encode(&noise(samples)).unwrap());
            assert_eq!(tokens.shape()[0], config.tokens_of(samples), "{samples} samples");
            let bound = hearing_bytes(&config, &spatial, samples, (Device::Host, threads));
            assert!(found <= bound, "{samples} samples: {found} found, bound {bound}, {config:?}");
        }
    }
}
