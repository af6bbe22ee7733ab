//! `twnm plan` as users call it: sizes, mistakes, and what it prints.

use std::process::{Command, Output};

fn plan(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twnm")).arg("plan").args(args).output().unwrap()
}

#[test]
fn a_size_is_planned_for_a_card() {
    let output = plan(&["--decoder", "7b", "--bf16", "--batch", "4", "--gpu-memory", "32GiB"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["frozen weights of the decoder", "fits into 32.000 GiB", "nf4", "20185088 numbers are trained"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let output = plan(&["--decoder", "0.5b", "--lora-targets", "q, v_proj", "--kept", "input", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // 24 layers, rank 8: q 896 -> 896, v 896 -> 128.
    assert_eq!(report["trained_numbers"], 24 * 8 * (896 + 896 + 896 + 128));
    assert!(report.get("tokens_that_fit").is_none(), "without a limit there is nothing to fit");
    let output = plan(&["--decoder", "0.5b", "--weights", "nf4", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // Half a byte, a byte per 64, four per 256 of those and a code of 256 numbers per weight; the table and vectors in f32.
    assert_eq!(report["components"][0]["bytes"], 729588544_u64);
}

#[test]
fn what_the_memory_is_too_small_for_is_not_begun() {
    for bench in ["lm-step", "lm-generate"] {
        let args = ["bench", bench, "--size", "7b", "--batch", "4096", "--tokens", "30000"];
        let output = Command::new(env!("CARGO_BIN_EXE_twnm")).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(69) && text.contains("GiB are needed"), "{bench}: {text}");
    }
}

#[test]
fn what_cannot_be_planned_is_named() {
    let cases: &[(&[&str], &str)] = &[
        (&["--decoder", "9b"], "9b"),
        (&["--decoder", "7b", "--tokens", "1"], "--tokens"),
        (&["--decoder", "7b", "--tokens", "64", "--answer", "64"], "--answer"),
        (&["--decoder", "7b", "--batch", "0"], "--batch"),
        (&["--decoder", "7b", "--lora-rank", "99999"], "--lora-rank"),
        (&["--decoder", "7b", "--lora-targets", "lm_head"], "lm_head"),
        (&["--decoder", "7b", "--gpu-memory", "much"], "--gpu-memory"),
        (&["--decoder", "7b", "--gpu-memory", "0GiB"], "--gpu-memory"),
        (&["--decoder", "7b", "--device", "tpu"], "tpu"),
    ];
    for (args, part) in cases {
        let output = plan(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

/// The recipes that are shipped.
fn recipe(name: &str) -> String {
    format!("{}/tools/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_recipe_of_the_papers_size_is_planned_with_sizes_by_name() {
    let sizes = ["--decoder", "7b", "--encoder", "paper", "--semantic", "whisper-small", "--tokens", "1024"];
    // Widths 768, 192, bottleneck 1024, 3584: P, six experts, norm, bottleneck and output, each matrix with a bias.
    let projector =
        192 * 768 + 768 + 6 * (2 * 768 * 384 + 384 + 768) + 2 * 6 * 768 + 6 * 768 * 1024 + 1024 + 1024 * 3584 + 3584;
    for (name, stage, adapter) in [("sft-paper", "stage 3 (sft)", 20_185_088), ("align-paper", "stage 2 (align)", 0)] {
        let recipe = recipe(name);
        let args = [&[recipe.as_str()], &sizes[..], &["--gpu-memory", "32GiB"]].concat();
        let output = plan(&args);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let documents = "8 documents of 1024 tokens: 250 of a recording of 5 s, 773 that the loss is of";
        let trained = format!("{} numbers are trained", projector + adapter);
        for part in [
            stage,
            documents,
            &trained,
            "semantic encoder",
            "Beside it in the memory of the process on the host",
            "GiB. Tokens",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        let output =
            plan(&[&args[..], &["--json", "--set", "train.batch=1", "--set", "train.recompute=layers"]].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["fits"], true, "{report}");
        assert!(report["longest_document_that_fits"].as_u64().unwrap() > 1024);
        let parts = report["components"].as_array().unwrap();
        let total: u64 = parts.iter().map(|part| part["bytes"].as_u64().unwrap()).sum();
        assert_eq!(total, report["total_bytes"].as_u64().unwrap());
    }
}

#[test]
fn what_a_recipe_leaves_open_is_named() {
    let (align, sft) = (recipe("align-pocket"), recipe("sft-pocket"));
    let named = ["--decoder", "pocket", "--encoder", "pocket", "--semantic", "whisper-tiny"];
    let cases: &[(&[&str], i32, &str)] = &[
        (&[&sft], 2, "--decoder"),
        (&[&align, "--decoder", "pocket"], 2, "--encoder"),
        (&[&align, "--decoder", "pocket", "--encoder", "pocket"], 2, "--semantic"),
        (&[&align, "--decoder", "9b"], 2, "9b"),
        (&[&align, "--decoder", "pocket", "--encoder", "huge"], 2, "huge"),
        (&[&align, "--decoder", "pocket", "--encoder", "pocket", "--semantic", "whisper"], 2, "whisper-small"),
        (&["none.toml"], 66, "none.toml"),
        (&[&sft, "--lora-rank", "4"], 2, "--lora-rank"),
        (&[&sft, "--set", "lora.ranks=4"], 2, "lora.rank"),
        (&["--decoder", "7b", "--set", "train.batch=4"], 2, "RECIPE"),
        (&[], 2, "--decoder"),
    ];
    for (args, code, part) in cases {
        let output = plan(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
    let more: &[(&[&str], &str)] = &[
        (&["--tokens", "60"], "frames_per_token"),
        (&["--answer", "600"], "data.tokens_max"),
        (&["--clip", "0"], "--clip"),
        (&["--batch", "0"], "--batch"),
        (&["--set", "projector.frames_per_token=0"], "projector.frames_per_token"),
    ];
    for (args, part) in more {
        let output = plan(&[&[align.as_str()], &named[..], args].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
}
