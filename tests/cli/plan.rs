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
