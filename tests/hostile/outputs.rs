//! Where results go: devices, pipes, links, the input itself, a standard output that nobody reads or that is full.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

const TWNM: &str = env!("CARGO_BIN_EXE_twnm");
const TRAIN: &str = env!("CARGO_BIN_EXE_twnm-train");
const EVAL: &str = env!("CARGO_BIN_EXE_twnm-eval");

const ROOM: &str = r#"{"dimensions_m":[6,5,3],"absorption":0.3,"sample_rate":16000,"max_order":1,"receiver_m":[3,2,1.5],"sources_m":[[1,1,1]]}"#;

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("room.json"), ROOM).unwrap();
    home
}

/// A line of a shell, with the programs as $TWNM, $TRAIN and $EVAL.
fn shell(home: &Path, line: &str) -> Output {
    let mut bash = Command::new("bash");
    bash.args(["-c", line]).current_dir(home).env("TWNM", TWNM).env("TRAIN", TRAIN).env("EVAL", EVAL);
    bash.env_remove("RUST_LOG").output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("panicked") && !text.contains(".tmp-"), "{text}");
}

#[test]
fn results_go_into_devices_pipes_and_targets_of_links() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    let rir = |out: &str| shell(home.path(), &format!("$TWNM rir --room room.json --out {out}"));
    expect(&rir("plain"), 0, &[]);
    let expected = std::fs::read(at("plain")).unwrap();
    expect(&rir("/dev/null"), 0, &[]);
    assert!(Path::new("/dev/null").symlink_metadata().unwrap().file_type().is_char_device());
    expect(&rir("/dev/full"), 74, &["/dev/full", "No space left"]);
    for out in ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"] {
        let output = rir(&format!("{out} | cat"));
        assert!(output.stdout == expected, "{out}: {} bytes", output.stdout.len());
    }
    expect(&shell(home.path(), "(echo head; $TWNM rir --room room.json --out /dev/stdout; echo tail) > all"), 0, &[]);
    assert!(std::fs::read(at("all")).unwrap() == [b"head\n", &expected[..], b"tail\n"].concat());
    expect(&shell(home.path(), "$TWNM rir --room room.json --out /dev/fd/5 5> five"), 0, &[]);
    assert!(std::fs::read(at("five")).unwrap() == expected);
    expect(
        &shell(home.path(), "mkfifo pipe && (cat pipe > through & $TWNM rir --room room.json --out pipe; wait)"),
        0,
        &[],
    );
    assert!(std::fs::read(at("through")).unwrap() == expected && at("pipe").metadata().unwrap().file_type().is_fifo());
    std::fs::create_dir(at("big")).unwrap();
    std::os::unix::fs::symlink("big/there", at("link")).unwrap();
    for _ in 0..2 {
        expect(&rir("link"), 0, &[]);
        assert!(at("link").symlink_metadata().unwrap().is_symlink());
        assert!(std::fs::read(at("big/there")).unwrap() == expected);
    }
    std::fs::set_permissions(at("plain"), std::fs::Permissions::from_mode(0o600)).unwrap();
    expect(&rir("plain"), 0, &[]);
    assert_eq!(at("plain").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn outputs_that_cannot_be_are_refused_before_anything_is_computed() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("file"), b"kept").unwrap();
    std::fs::write(at("protected"), b"kept").unwrap();
    std::fs::set_permissions(at("protected"), std::fs::Permissions::from_mode(0o444)).unwrap();
    std::os::unix::fs::symlink("circle", at("circle")).unwrap();
    std::os::unix::fs::symlink("room.json", at("link")).unwrap();
    std::fs::hard_link(at("room.json"), at("twin")).unwrap();
    let long = "x".repeat(300);
    let cases = [
        ("folder", 2, "is a folder"),
        (".", 2, "is a folder"),
        ("''", 2, "a value is required"),
        ("new/", 2, "is a folder"),
        ("file/below", 74, "file/below"),
        (&long, 74, "too long"),
        ("/proc/x", 74, "/proc/x"),
        ("protected", 74, "protected"),
        ("circle", 74, "circle"),
        ("room.json", 2, "is the input"),
        ("folder/../room.json", 2, "is the input"),
        ("link", 2, "is the input"),
        ("twin", 2, "is the input"),
    ];
    for (out, code, part) in cases {
        expect(&shell(home.path(), &format!("$TWNM rir --room room.json --out {out}")), code, &["--out", part]);
        // A recording and a model that are not there are what is found later.
        let plot = if part == "is the input" { "room.json" } else { "none.wav" };
        expect(&shell(home.path(), &format!("$TWNM listen {plot} --plot {out}")), code, &["--plot", part]);
    }
    for (name, content) in [("room.json", ROOM), ("file", "kept"), ("protected", "kept")] {
        assert_eq!(std::fs::read_to_string(at(name)).unwrap(), content);
    }
    expect(&shell(home.path(), "$TWNM rir --room none.json --out folder"), 2, &["folder"]);
}

/// Commands that print, of every program; the ones that need a model are in `tests/cli`.
const PRINTING: [&str; 8] = [
    "$TWNM doctor",
    "$TWNM doctor --json",
    "$TWNM --help",
    "$TWNM --version",
    "$TWNM help rir",
    "$TRAIN encoder --help",
    "$TRAIN encoder --dry-run --out run --device host",
    "$EVAL --version",
];

#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    let home = home();
    for command in PRINTING.iter().chain(&["$TWNM rir --room room.json --out /dev/stdout"]) {
        // The reader is gone before the command writes.
        let line = format!("(sleep 0.2; {command}; echo $? > code) 2> log | true; cat code");
        let output = shell(home.path(), &line);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "141\n", "{command}");
        let log = std::fs::read_to_string(home.path().join("log")).unwrap();
        assert!(!log.contains("error") && !log.contains("panicked"), "{command}: {log}");
    }
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let home = home();
    for command in PRINTING {
        let output = shell(home.path(), &format!("{command} > /dev/full"));
        expect(&output, 74, &["cannot write standard output: No space left on device"]);
    }
}

#[test]
fn a_standard_error_that_is_gone_changes_no_exit_code() {
    let home = home();
    for redirection in ["2> /dev/full", "2>&-", "2> >(true)"] {
        for (command, code) in [
            ("$TWNM doctor", 0),
            ("$TWNM rir --room room.json --out out", 0),
            ("$TWNM rir --room none.json --out out", 66),
            ("$TWNM rir --room", 2),
            ("$TRAIN encoder --dry-run --out run --device host", 0),
        ] {
            let output = shell(home.path(), &format!("{command} > printed {redirection}"));
            assert_eq!(output.status.code(), Some(code), "{command} {redirection}");
        }
    }
    // And with nobody left at all.
    for command in PRINTING {
        let output = shell(home.path(), &format!("{command} > /dev/full 2> /dev/full"));
        assert_eq!(output.status.code(), Some(74), "{command}");
        let output = shell(home.path(), &format!("{command} >&- 2>&-"));
        assert!(matches!(output.status.code(), Some(0 | 74)), "{command}: {}", output.status);
    }
}

#[test]
fn names_and_keys_do_not_steer_the_terminal() {
    let home = home();
    let key = "\u{1b}[2J\u{9b}31m\u{202e}";
    let room = ROOM.replace("\"max_order\"", &format!("\"{}\":1,\"max_order\"", key.replace('\u{1b}', "\\u001b")));
    std::fs::write(home.path().join("room.json"), room).unwrap();
    let output = shell(home.path(), "$TWNM rir --room room.json --out out");
    expect(&output, 65, &["unknown key", r"\u{1b}[2J"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
    for (content, part) in [
        (String::new(), "the file is empty"),
        (" \n".into(), "the file is empty"),
        (format!("\u{feff}\u{feff}{ROOM}"), "two byte order marks"),
        (ROOM.replace("0.3", "0.3,\"air_absorption_per_m\":null"), "leave the key out"),
        (ROOM.replace("0.3", "1e308"), "is 1e308"),
    ] {
        std::fs::write(home.path().join("room.json"), content).unwrap();
        expect(&shell(home.path(), "$TWNM rir --room room.json --out out"), 65, &["room.json", part]);
    }
}
