//! A family of tiny models with random weights, and rows to teach it.

use std::path::Path;
use twnm::audio::Audio;
use twnm::audio::wav::{self, Format};
use twnm::encoder::{Encoder, EncoderConfig};
use twnm::language::config::DecoderConfig;
use twnm::language::decoder::{Build, Decoder};
use twnm::nn::Builder;
use twnm::rng::Rng;
use twnm::semantic::tagger::Tagger;
use twnm::semantic::{Family, SemanticConfig};
use twnm::weights::write;

/// Settings of `twnm-train align` and `sft` for the models in the current folder.
pub const MODELS: [&str; 6] = [
    "model.encoder=enc",
    "model.semantic=sem",
    "model.decoder=dec",
    "projector.bottleneck=8",
    "projector.frames_per_token=10",
    "data.tokens_max=256",
];

/// Writes `enc`, `sem` and `dec`, and `align.jsonl` and `sft.jsonl` with their recordings in `audio`, into `folder`.
pub fn make(folder: &Path) {
    encoder(&folder.join("enc"));
    semantic(&folder.join("sem"));
    decoder(&folder.join("dec"));
    rows(folder);
}

fn encoder(folder: &Path) {
    let sizes = EncoderConfig { hidden: 8, ffn: 8, slot_width: 12, ..EncoderConfig::preset("pocket").unwrap() };
    let model = Encoder::new(sizes, vec!["dog".into(), "rain".into()], 1).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), model.config_json()).unwrap();
    write(&folder.join("model.safetensors"), &model.entries(), &[]).unwrap();
}

fn semantic(folder: &Path) {
    let family = Family::Whisper;
    let sizes = SemanticConfig { family, mel_bands: 20, width: 16, layers: 1, heads: 2, ffn: 16, positions: 50 };
    Tagger::new(sizes, vec!["dog".into()], 2).unwrap().save(folder).unwrap();
}

/// A decoder for the 608 tokens of the golden vocabulary.
fn decoder(folder: &Path) {
    let config = DecoderConfig {
        vocabulary: 608,
        hidden: 32,
        intermediate: 48,
        layers: 2,
        heads: 4,
        heads_kv: 2,
        width: 8,
        positions: 512,
        initializer_range: 0.1,
        ..DecoderConfig::preset("pocket").unwrap()
    };
    let mut builder = Builder::new();
    Decoder::new(&mut builder, &config, &Build::default());
    let params = builder.finish(3);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), config.to_json(None)).unwrap();
    write(&folder.join("model.safetensors"), &params.entries(), &[("format", "pt")]).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bpe");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(golden.join(name), folder.join(name)).unwrap();
    }
}

/// Recordings of noise of several lengths, and rows about them with answers of several lengths.
fn rows(folder: &Path) {
    std::fs::create_dir_all(folder.join("audio")).unwrap();
    let (mut align, mut sft) = (String::new(), String::new());
    for i in 0..6 {
        let mut rng = Rng::new(9, "recordings", i);
        let frames = 9_600 + 1_600 * i as usize;
        let mut audio = Audio::silence(16_000, 4, frames);
        audio.samples.iter_mut().for_each(|v| *v = 0.1 * rng.normal() as f32);
        let name = format!("audio/{i}.wav");
        wav::write(&folder.join(&name), &audio, Format::F32).unwrap();
        let answer = ["front", "the left", "rear-left, about 2.1 m away"][i as usize % 3];
        let (id, letter) = (format!("{i:03}"), ["A", "B", "C"][i as usize % 3]);
        align += &format!(
            "{}\n",
            serde_json::json!({"file_name": name, "sample_id": id, "question": "Where is it?",
            "answer": answer, "level": 1, "task": "l1_localize_azimuth"})
        );
        let response = format!("<think>I hear it at the {answer}.</think><answer>{letter}</answer>");
        sft += &format!(
            "{}\n",
            serde_json::json!({"file_name": name, "sample_id": id, "question": "Where is it?",
            "option_a": "front", "option_b": "the left", "option_c": "rear-left, about 2.1 m away", "option_d": "above",
            "answer_letter": letter, "answer_text": answer, "level": 1,
            "task": "l1_localize_azimuth", "reasoning": "I hear it.", "response": response})
        );
    }
    std::fs::write(folder.join("align.jsonl"), align).unwrap();
    std::fs::write(folder.join("sft.jsonl"), sft).unwrap();
}
