//! Every command line of README.md: the programs know the subcommands and flags that it uses.

use std::process::Command;

/// Shell lines of the fenced blocks marked `sh`.
fn commands() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let (mut lines, mut is_shell) = (Vec::new(), false);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            line if is_shell && !line.is_empty() => lines.push(line.to_string()),
            _ => {}
        }
    }
    lines
}

/// What `program subcommands --help` prints.
fn help(program: &str, subcommands: &[&str]) -> String {
    let output = Command::new(program).args(subcommands).arg("--help").output().unwrap();
    assert!(output.status.success(), "{subcommands:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_of_the_readme_exists_with_its_flags() {
    let lines = commands();
    assert!(lines.len() >= 8, "{lines:?}");
    assert_eq!(&lines[..2], ["cargo run --release --bin twnm -- quickstart", "cargo test --release"]);
    for line in lines.iter().filter(|line| *line != "cargo test --release") {
        let line = line.replace("cargo run --release --bin twnm --", "twnm");
        let mut words = line.split_whitespace();
        let program = match words.next().unwrap() {
            "twnm" => env!("CARGO_BIN_EXE_twnm"),
            "twnm-train" => env!("CARGO_BIN_EXE_twnm-train"),
            "twnm-eval" => env!("CARGO_BIN_EXE_twnm-eval"),
            tool if tool.starts_with("tools/") => concat!(env!("CARGO_MANIFEST_DIR"), "/tools/gpu_check"),
            other => panic!("{line}: {other} is not one of the programs"),
        };
        let words: Vec<&str> = words.collect();
        if program.ends_with("gpu_check") && Command::new("python3").arg("--version").output().is_err() {
            eprintln!("skipped: {line} needs python3");
            continue;
        }
        let depth = match words[0] {
            flag if flag.starts_with("--") => 0,
            "bench" => 2,
            _ => 1,
        };
        let help = help(program, &words[..depth]);
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{line}: no {flag}");
        }
    }
}

#[test]
fn files_that_the_readme_names_are_there() {
    for line in commands() {
        for word in line.split_whitespace().filter(|w| w.starts_with("tests/") || w.starts_with("tools/")) {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(word);
            assert!(path.exists(), "{line}: {word} is not there");
        }
    }
}
