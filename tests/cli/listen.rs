//! `twnm listen` and `twnm-eval encoder` as programs: contract, conventions, refusals.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use twnm::audio::foa::{Convention, angle_between_deg, gains, unit_vector};
use twnm::audio::{Audio, resample, wav};
use twnm::encoder::{Encoder, EncoderConfig, store};
use twnm::rng::Rng;

/// An untrained pocket encoder that always counts three sources: enough to check everything around it.
fn write_model(folder: &Path) {
    let config = EncoderConfig::preset("pocket").unwrap();
    let mut encoder = Encoder::new(config, vec!["dog".into(), "rain".into()], 3).unwrap();
    let bias = encoder.params.places().find(|p| p.name == "readout.exist.bias").unwrap().offset;
    encoder.params.flat_mut()[bias] = 20.0;
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(store::CONFIG_FILE), encoder.config_json()).unwrap();
    twnm::weights::write(&folder.join("model.safetensors"), &encoder.entries(), &[]).unwrap();
}

/// A second of two noises from two sides, AmbiX, 16 kHz, band-limited so that resampling loses nothing.
fn scene() -> Audio {
    let n = 16_000;
    let mut audio = Audio::silence(16_000, 4, n);
    for (source, direction) in [unit_vector(60.0, 10.0), unit_vector(-100.0, -5.0)].into_iter().enumerate() {
        let mut rng = Rng::new(1, "listen test", source as u64);
        let tones: Vec<(f64, f64)> =
            (0..200).map(|_| (rng.range(100.0, 6500.0), rng.range(0.0, std::f64::consts::TAU))).collect();
        for t in 0..n {
            let at = |&(hz, phase): &(f64, f64)| (std::f64::consts::TAU * hz * t as f64 / 16_000.0 + phase).sin();
            let s = 0.01 * tones.iter().map(at).sum::<f64>();
            for (c, gain) in gains(direction).into_iter().enumerate() {
                audio.samples[c * n + t] += (gain * s) as f32;
            }
        }
    }
    audio
}

fn twnm(arguments: &[&str], home: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twnm"));
    command.args(arguments).current_dir(home).env_remove("TWNM_MODELS").output().unwrap()
}

/// Exit code and standard error.
fn refusal(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "nothing on standard output: {output:?}");
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object on standard output")
}

fn home() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("model"));
    let scene_path = folder.path().join("scene.wav");
    wav::write(&scene_path, &scene(), wav::Format::F32).unwrap();
    (folder, scene_path)
}

#[test]
fn the_same_scene_at_48_khz_as_amb_is_heard_alike() {
    let (home, _) = home();
    let here = json(&twnm(&["listen", "scene.wav", "--checkpoint", "model", "--json"], home.path()));
    let fast = resample::resample(&scene(), 48_000).unwrap();
    wav::write_amb(&home.path().join("scene.amb"), &fast, wav::Format::Pcm24).unwrap();
    let there = json(&twnm(&["listen", "scene.amb", "--checkpoint", "model", "--json"], home.path()));
    assert_eq!((here["count"].as_u64(), there["count"].as_u64()), (Some(3), Some(3)));
    let direction = |heard: &serde_json::Value, i: usize| {
        let s = &heard["sources"][i];
        unit_vector(s["azimuth_deg"].as_f64().unwrap(), s["elevation_deg"].as_f64().unwrap())
    };
    for i in 0..3 {
        let angle = angle_between_deg(direction(&here, i), direction(&there, i));
        assert!(angle < 2.0, "source {i}: {angle} degrees apart");
        for key in ["azimuth_deg", "elevation_deg", "distance_m", "existence"] {
            assert!(here["sources"][i][key].is_number(), "{key}");
        }
        assert!(here["sources"][i]["class"].is_string());
    }
    assert!(here["room"]["surface_m2"].is_number() && here["room"]["absorption"].is_number());
}

#[test]
fn the_convention_can_be_told_and_a_picture_drawn() {
    let (home, _) = home();
    let here = json(&twnm(&["listen", "scene.wav", "--checkpoint", "model", "--json"], home.path()));
    let mut other = scene();
    twnm::audio::foa::from_ambix(&mut other, Convention::Wxyz);
    wav::write(&home.path().join("wxyz.wav"), &other, wav::Format::F32).unwrap();
    let told = ["listen", "wxyz.wav", "--checkpoint", "model", "--convention", "wxyz", "--json", "--plot", "out.svg"];
    assert_eq!(json(&twnm(&told, home.path())), here);
    let svg = std::fs::read_to_string(home.path().join("out.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("wxyz.wav") && svg.contains("3 sources heard"));
    let over_model = ["listen", "scene.wav", "--checkpoint", "model", "--plot", "model/model.safetensors"];
    let (code, message) = refusal(&twnm(&over_model, home.path()));
    assert!(code == 2 && message.contains("belongs to the model"), "{code}: {message}");
    let table = twnm(&["listen", "scene.wav", "--checkpoint", "model"], home.path());
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.starts_with("3 sources;") && text.contains("azimuth_deg"), "{text}");
}

#[test]
fn what_cannot_be_heard_is_refused_with_the_documented_code() {
    let (home, _) = home();
    let mono = Audio { sample_rate: 16_000, channels: 1, samples: vec![0.1; 16_000] };
    wav::write(&home.path().join("mono.wav"), &mono, wav::Format::Pcm16).unwrap();
    wav::write(&home.path().join("silent.wav"), &Audio::silence(16_000, 4, 16_000), wav::Format::Pcm16).unwrap();
    wav::write(&home.path().join("short.wav"), &Audio::silence(16_000, 4, 500), wav::Format::Pcm16).unwrap();
    std::fs::write(home.path().join("text.wav"), "not audio").unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["mono.wav"], 65, "Ambisonics has 4"),
        (&["silent.wav"], 65, "silent"),
        (&["short.wav"], 65, "s long"),
        (&["text.wav"], 65, "text.wav"),
        (&["none.wav"], 66, "none.wav"),
        (&["scene.wav", "--convention", "b-format"], 2, "ambix, n3d, fuma, wxyz"),
        (&["scene.wav", "--start", "5"], 2, "--start"),
        (&["scene.wav", "--seconds", "nan"], 2, "--seconds"),
    ];
    for (arguments, code, part) in cases {
        let all = [&["listen", "--checkpoint", "model"], arguments].concat();
        let (found, message) = refusal(&twnm(&all, home.path()));
        assert!(found == code && message.contains(part), "{arguments:?}: exit {found}: {message}");
    }
}

#[test]
fn without_a_model_the_next_step_is_named() {
    let (home, _) = home();
    let (code, message) = refusal(&twnm(&["listen", "scene.wav"], home.path()));
    assert!(code == 66 && message.contains("twnm quickstart"), "exit {code}: {message}");
    let (code, message) = refusal(&twnm(&["listen", "scene.wav", "--checkpoint", "nowhere"], home.path()));
    assert!(code == 66 && message.contains("nowhere"), "exit {code}: {message}");
    std::fs::write(home.path().join("model").join("model.safetensors"), [7; 100]).unwrap();
    let (code, message) = refusal(&twnm(&["listen", "scene.wav", "--checkpoint", "model"], home.path()));
    assert!(code == 65 && message.contains("model.safetensors"), "exit {code}: {message}");
}

fn score(arguments: &[&str], home: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twnm-eval"));
    command.arg("encoder").args(arguments).current_dir(home).env_remove("TWNM_MODELS").output().unwrap()
}

#[test]
fn scoring_names_the_folder_that_is_not_there() {
    let (home, _) = home();
    let (code, message) = refusal(&score(&["--checkpoint", "model", "--data", "none", "--json"], home.path()));
    assert!(code == 66 && message.contains("none"), "exit {code}: {message}");
}

#[test]
fn ablations_and_the_localiser_are_scored_on_the_same_scenes() {
    let (home, _) = home();
    let simulated =
        twnm(&["simulate", "--out", "set", "--scenes", "5", "--seed", "4", "--set", "seconds=1"], home.path());
    assert!(simulated.status.success(), "{}", String::from_utf8_lossy(&simulated.stderr));
    let with = |more: &[&str]| json(&score(&[&["--data", "set", "--json"], more].concat(), home.path()));
    let model = ["--checkpoint", "model"];
    let plain = with(&model);
    assert_eq!((&plain["ablation"], &plain["predictor"]), (&"none".into(), &"encoder".into()));
    assert!(plain.get("intensity").is_none() && plain["n"] == 5);
    // The localiser alone needs no model; beside one it says the same.
    let alone = with(&["--reference", "intensity"]);
    assert!(alone["count_accuracy"].is_number() && alone["by_count"].is_object() && alone.get("checkpoint").is_none());
    assert!(alone["distance_error_m"].is_null() && alone["class_accuracy"].is_null());
    assert_eq!(alone["predictor"], "intensity");
    let both = with(&[&model[..], &["--reference", "intensity"]].concat());
    for key in ["count_accuracy", "mean_angular_error_deg", "by_count"] {
        assert_eq!((&both[key], &both["intensity"][key]), (&plain[key], &alone[key]), "{key}");
    }
    for ablation in ["w-only", "shuffle", "no-audio"] {
        let ablated = with(&[&model[..], &["--ablate", ablation, "--seed", "7"]].concat());
        assert_eq!((&ablated["ablation"], &ablated["constant"]), (&ablation.into(), &plain["constant"]));
        assert_ne!(ablated["mean_angular_error_deg"], plain["mean_angular_error_deg"], "{ablation}");
        assert_eq!(ablated["ablation_seed"].as_u64(), (ablation == "shuffle").then_some(7));
    }
    let output = score(&["--data", "set", "--checkpoint", "model", "--ablate", "shuffle", "--seed", "7"], home.path());
    let (table, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("shuffle, seed 7") && log.contains("seed 7"), "{table}{log}");
    let cases: [(&[&str], &str); 3] = [
        (&["--ablate", "w_only"], "none, w-only, shuffle, no-audio"),
        (&["--ablate", "shuffle", "--limit", "1"], "--ablate"),
        (&["--reference", "music"], "intensity"),
    ];
    for (arguments, part) in cases {
        let all = [&["--data", "set", "--checkpoint", "model"], arguments].concat();
        let (code, message) = refusal(&score(&all, home.path()));
        assert!(code == 2 && message.contains(part), "{arguments:?}: exit {code}: {message}");
    }
}
