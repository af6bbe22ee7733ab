//! The pipeline through the programs: quickstart, listening, training that does not depend on threads.

use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, folder: &Path, threads: usize, args: &[&str]) -> Output {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .env_remove("TWNM_MODELS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("one JSON object")
}

#[test]
fn the_quickstart_leaves_everything_and_can_be_listened_to() {
    let home = tempfile::tempdir().unwrap();
    let twnm = env!("CARGO_BIN_EXE_twnm");
    let table = run(twnm, home.path(), 2, &["quickstart", "--smoke"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains(" constant "));
    let out = home.path().join("twnm-quickstart");
    let results = std::fs::read(out.join("results.json")).unwrap();
    for part in ["encoder", "constant"] {
        let scores = &json(&results)[part];
        for key in ["count_accuracy", "mean_angular_error_deg", "mean_angular_error_full_deg", "distance_error_m"] {
            assert!(scores[key].is_number(), "{part}.{key}");
        }
        assert!(scores["by_count"].is_object());
    }
    let page = std::fs::read_to_string(out.join("report/index.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("src=\"http"), "pictures are in the page, nothing is fetched");
    // Without --checkpoint the newest quickstart is used; a scene it wrote can be heard.
    let heard = run(twnm, home.path(), 2, &["listen", "twnm-quickstart/scenes/scene-000.wav", "--json"]);
    let heard = json(&heard.stdout);
    assert_eq!(heard["count"].as_u64().unwrap() as usize, heard["sources"].as_array().unwrap().len());
    assert!(heard["room"]["surface_m2"].is_number());
    // A second run finds everything done and says the same.
    run(twnm, home.path(), 1, &["quickstart", "--smoke"]);
    assert_eq!(std::fs::read(out.join("results.json")).unwrap(), results);
    let scores =
        ["encoder", "--checkpoint", "twnm-quickstart/encoder", "--data", "twnm-quickstart/data/test", "--json"];
    let scores = json(&run(env!("CARGO_BIN_EXE_twnm-eval"), home.path(), 1, &scores).stdout);
    assert_eq!(scores["count_accuracy"], json(&results)["encoder"]["count_accuracy"]);
}

#[test]
fn one_and_two_threads_train_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    let simulate = ["simulate", "--out", "data", "--scenes", "12", "--seed", "5", "--set", "seconds=1.5"];
    run(env!("CARGO_BIN_EXE_twnm"), home.path(), 2, &simulate);
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/recipes/encoder-pocket.toml");
    let model = |threads: usize| {
        let out = format!("run-{threads}");
        let sets = ["data.train=[\"data\"]", "data.crop_min_s=1.0", "data.crop_max_s=1.4", "train.steps=6"];
        let sets: Vec<&str> = sets.iter().flat_map(|&s| ["--set", s]).collect();
        let args = [&["encoder", "--recipe", recipe.to_str().unwrap(), "--out", &out][..], &sets].concat();
        run(env!("CARGO_BIN_EXE_twnm-train"), home.path(), threads, &args);
        let step = home.path().join(&out).join("checkpoints/step-6");
        let files = [step.join("model.safetensors"), step.join("optimizer.safetensors")];
        let metrics = home.path().join(&out).join("metrics.jsonl");
        [files[0].clone(), files[1].clone(), metrics].map(|path| std::fs::read(&path).unwrap())
    };
    let (one, two) = (model(1), model(2));
    assert!(one == two, "weights, moments or metrics differ between one and two threads");
}

#[test]
fn the_recipes_of_the_project_are_in_order() {
    let home = tempfile::tempdir().unwrap();
    for name in ["paper", "small", "pocket"] {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tools/recipes/encoder-{name}.toml"));
        let args = ["encoder", "--recipe", recipe.to_str().unwrap(), "--out", "run", "--dry-run"];
        let resolved = run(env!("CARGO_BIN_EXE_twnm-train"), home.path(), 1, &args);
        assert!(String::from_utf8_lossy(&resolved.stdout).contains("[model]"));
        assert!(!home.path().join("run").exists(), "a dry run writes nothing");
    }
}
