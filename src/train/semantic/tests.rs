//! A tiny run: stopped and continued to the same bytes, its folder read as a Whisper model.

use super::*;
use crate::semantic::SemanticEncoder;
use crate::weights::Tensors;

fn recipe(folder: &Path) -> SemanticRecipe {
    let scenes = folder.join("scenes.toml");
    std::fs::write(&scenes, "seconds = 1.0\nmax_sources = 1\n").unwrap();
    let sets = [
        "model.width=16",
        "model.layers=1",
        "model.heads=2",
        "model.ffn=16",
        "model.positions=50",
        "model.mel_bands=20",
        "data.bank=true",
        "train.steps=3",
        "train.batch=2",
        "train.save_every=1",
        "train.log_every=1",
    ];
    let mut sets: Vec<String> = sets.map(String::from).to_vec();
    sets.push(format!("data.scene_recipe={:?}", scenes.to_str().unwrap()));
    crate::config::load(None, &sets).unwrap()
}

#[test]
fn a_run_is_the_same_after_a_resume_and_its_encoder_is_a_whisper_folder() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let [whole, resumed] = ["whole", "resumed"].map(|name| folder.path().join(name));
    Training::new(recipe.clone(), Device::Host).unwrap().run(&whole, Resume::Never).unwrap();
    // The state after two steps as if a signal had come, then the rest.
    Training::new(recipe.clone(), Device::Host).unwrap().run(&resumed, Resume::Never).unwrap();
    std::fs::remove_dir_all(resumed.join("checkpoints/step-3")).unwrap();
    std::fs::remove_dir_all(resumed.join(ENCODER_FOLDER)).unwrap();
    Training::new(recipe, Device::Host).unwrap().run(&resumed, Resume::Auto).unwrap();
    for file in ["metrics.jsonl", "semantic/model.safetensors", "semantic/config.json"] {
        assert_eq!(std::fs::read(whole.join(file)).unwrap(), std::fs::read(resumed.join(file)).unwrap(), "{file}");
    }
    let encoder = SemanticEncoder::open(&whole.join(ENCODER_FOLDER)).unwrap();
    assert_eq!((encoder.config.positions, encoder.config.window_samples()), (50, 16_000));
    let tokens = encoder.encode(&vec![0.1; 20_000]).unwrap();
    assert_eq!(tokens.shape(), [63, 16], "a window of 50 tokens and one of 13");
    let classifier = Tensors::open(&whole.join("semantic/classifier.safetensors")).unwrap();
    assert_eq!(classifier.shape("weight").unwrap()[1], 16);
}

#[test]
fn the_share_of_classes_found_is_counted_by_hand() {
    // Two of two, one of two, none of none.
    let clips: [([f32; 3], [f32; 3]); 3] =
        [([0.9, 0.1, 0.5], [1.0, 0.0, 1.0]), ([0.9, 0.1, 0.5], [0.0, 1.0, 1.0]), ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])];
    assert_eq!(recall(clips.iter().map(|(x, t)| (&x[..], &t[..]))), 0.75);
}
