//! What a folder may hold and how the report ends.

use super::*;
use crate::error::Kind as ErrorKind;
use crate::weights::{Entry, write};

fn folder(entries: &[Entry]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("expected.safetensors"), entries, &[]).unwrap();
    dir
}

fn run(dir: &tempfile::TempDir) -> Result<Report> {
    verify(dir.path(), &Options::default())
}

#[test]
fn an_op_against_its_closed_form() {
    // tanh(0) = 0 with slope 1; softplus(0) = ln 2 with slope 1/2.
    let entries = [
        Entry::f32("act.x", &[2], &[0.0, 0.0]),
        Entry::f32("act.tanh.out", &[2], &[0.0, 0.0]),
        Entry::f32("act.tanh.dx", &[2], &[1.0, 1.0]),
        Entry::f32("act.softplus.out", &[2], &[std::f32::consts::LN_2; 2]),
        Entry::f32("act.softplus.dx", &[2], &[0.5, 0.5]),
    ];
    let report = run(&folder(&entries)).unwrap();
    assert!(report.is_ok() && report.tensors.len() == 4, "{report:?}");
    report.outcome().unwrap();
}

/// The same numbers in another shape are another tensor; axes of one element do not count.
#[test]
fn shapes_are_compared() {
    let x = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5];
    let y: Vec<f32> = x.iter().map(|v: &f32| v.tanh()).collect();
    for (shape, fits) in [(&[2, 3][..], true), (&[2, 1, 3], true), (&[3, 2], false), (&[6], false)] {
        let entries = [Entry::f32("act.x", &[2, 3], &x), Entry::f32("act.tanh.out", shape, &y)];
        let report = run(&folder(&entries)).unwrap();
        assert_eq!(report.is_ok(), fits, "{shape:?}: {report:?}");
        assert!(fits || report.tensors[0].note.as_ref().unwrap().contains("[2, 3] is computed"), "{report:?}");
    }
}

#[test]
fn weights_without_their_config_are_said_to_lack_it() {
    let dir = folder(&[Entry::f32("logits", &[1], &[0.0])]);
    write(&dir.path().join("model.safetensors"), &[Entry::f32("w", &[1], &[0.0])], &[]).unwrap();
    let error = run(&dir).unwrap_err();
    assert!(error.kind() == ErrorKind::Missing && error.to_string().contains("config.json"), "{error}");
}

#[test]
fn a_tensor_that_nothing_computes_fails() {
    for unknown in ["act.relu.out", "act.tanh.dz", "warp.x", "x", "act.y"] {
        let entries = [
            Entry::f32("act.x", &[1], &[0.0]),
            Entry::f32("act.tanh.out", &[1], &[0.0]),
            Entry::f32(unknown, &[1], &[0.0]),
        ];
        let report = run(&folder(&entries)).unwrap();
        assert_eq!(report.outcome().unwrap_err().kind(), ErrorKind::Integrity, "{unknown}");
        assert_eq!(report.worst().unwrap().name, unknown);
        assert!(report.to_json()["worst"]["error"].is_null());
    }
}

#[test]
fn an_op_that_is_not_built_is_missing_and_differences_come_first() {
    let missing = Entry::f32("sapo.logprobs", &[1], &[1.0]);
    let x = Entry::f32("act.x", &[1], &[0.0]);
    let good = run(&folder(&[missing.clone(), x.clone(), Entry::f32("act.tanh.out", &[1], &[0.0])])).unwrap();
    assert_eq!((good.failed(), &good.missing[..]), (0, &["sapo".to_string()][..]));
    assert!(!good.is_ok());
    assert_eq!(good.outcome().unwrap_err().kind(), ErrorKind::Unavailable);
    let bad = run(&folder(&[missing, x, Entry::f32("act.tanh.out", &[1], &[0.1])])).unwrap();
    assert_eq!(bad.outcome().unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn folders_that_cannot_be_verified_are_refused_with_their_kind() {
    let kind = |dir: &tempfile::TempDir| run(dir).unwrap_err().kind();
    assert_eq!(kind(&tempfile::tempdir().unwrap()), ErrorKind::Missing);
    assert_eq!(verify(Path::new("no such folder"), &Options::default()).unwrap_err().kind(), ErrorKind::Missing);
    let dir = folder(&[Entry::f32("act.x", &[1], &[0.0])]);
    let only_inputs = run(&dir).unwrap();
    assert_eq!(only_inputs.outcome().unwrap_err().kind(), ErrorKind::Integrity);
    let set = |text: &str| std::fs::write(dir.path().join("config.json"), text).unwrap();
    for text in ["", "[1]", "{}", r#"{"model_type": "elephant"}"#, r#"{"model_type": "twnm_encoder_trunk", "hop": 0}"#]
    {
        set(text);
        assert_eq!(kind(&dir), ErrorKind::Data, "{text}");
    }
    // Sizes left out are the paper's; what is missing then is the model.
    set(r#"{"model_type": "twnm_encoder_trunk"}"#);
    assert_eq!(kind(&dir), ErrorKind::Missing);
    set(r#"{"model_type": "qwen2"}"#);
    assert_eq!(kind(&dir), ErrorKind::Data);
    let bad = Options { tolerance: Some(f64::NAN), ..Options::default() };
    assert_eq!(verify(dir.path(), &bad).unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn sizes_in_the_config_do_not_decide_what_is_allocated() {
    let dir = folder(&[Entry::f32("x", &[1, 1, 1, 1], &[0.0])]);
    let model = [Entry::f32("gate", &[2], &[0.0, 0.0])];
    write(&dir.path().join("model.safetensors"), &model, &[]).unwrap();
    let big = r#"{"model_type": "twnm_encoder_readout", "hidden": 4096, "classes": 7, "heads": 4, "steps": 4}"#;
    std::fs::write(dir.path().join("config.json"), big).unwrap();
    let error = run(&dir).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("need at least"), "{error}");
}

#[test]
fn the_dump_holds_what_was_computed() {
    let dir = folder(&[Entry::f32("act.x", &[1], &[0.0]), Entry::f32("act.sigmoid.out", &[1], &[0.25])]);
    let dump = dir.path().join("dump.safetensors");
    let options = Options { dump: Some(dump.clone()), tolerance: Some(1.5), ..Options::default() };
    // |0.5 - 0.25| / 0.25 = 1 is within 1.5.
    assert!(verify(dir.path(), &options).unwrap().is_ok());
    let written = Tensors::open(&dump).unwrap();
    assert_eq!(written.names().collect::<Vec<_>>(), ["act.sigmoid.out"]);
    assert_eq!(written.f32("act.sigmoid.out").unwrap()[0], 0.5);
}
