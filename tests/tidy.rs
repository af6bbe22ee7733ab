//! The rules of ARCHITECTURE.md that a compiler does not check: order of modules, sizes, docs, what is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules of the library in order: each uses only those before it (its own submodules aside).
const ORDER: &[&str] = &[
    "error",
    "signals",
    "files",
    "rng",
    "table",
    "config",
    "device",
    "tensor",
    "kernels",
    "tape",
    "check",
    "ops",
    "weights",
    "audio",
    "text",
    "sources",
    "scene",
    "sim",
    "shard",
    "nn",
    "encoder",
    "semantic",
    "projector",
    "language",
    "optim",
    "checkpoint",
    "models",
    "family",
    "plan",
    "train",
    "benchmark",
    "eval",
    "quickstart",
    "verify",
];

/// Ops that are made of other ops' kernels, or refuse devices; weights are packed on the host.
const OPS_WITHOUT_KERNEL: &[&str] = &["dora_linear", "lora_linear", "packed", "quantize"];

/// Ops that are no differentiable function of tensors, with their own tests in place of cases.
const OPS_WITHOUT_CASES: &[&str] =
    &["adamw", "convolve", "dequantize", "dora_linear", "image_source", "kv_cache", "packed", "quantize", "sample"];

/// The crates this project is asked to stand on, and where each does its job. `cublas-sys` links at build time and
/// knows neither cublasLt nor bf16: cudarc's bindings stand in for it.
const CARD_CRATES: &[(&str, &str)] = &[
    ("half", "src/weights"),
    ("memmap2", "src/weights"),
    ("rustfft", "src/sim"),
    ("rayon", "src/nn"),
    ("bytemuck", "src/weights"),
    ("clap", "tools"),
    ("serde", "src/config"),
    ("criterion", "benches"),
    ("cudarc", "src/device"),
];

/// Folders and files that may hold `unsafe`: memory, mapped files, signals, vector instructions, disjoint writes.
const MAY_BE_UNSAFE: &[&str] = &[
    "src/device/",
    "src/kernels.rs",
    "src/nn/chunks.rs",
    "src/ops/",
    "src/signals.rs",
    "src/sim/image_source/",
    "src/weights/mod.rs",
    "tests/",
];

const LINES_MAX: usize = 600;
const LINES_MEDIAN_MAX: usize = 230;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_BYTES_MAX: u64 = 5_000_000;

struct Source {
    /// Relative to the package, with forward slashes.
    path: String,
    text: String,
    /// The text with comments, strings and characters blanked out.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every file below `folder`, relative, sorted.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(root().join(&folder)) else { continue };
        for entry in entries.map(|e| e.unwrap()) {
            let path = folder.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(path),
                false => found.push(path.to_str().unwrap().to_string()),
            }
        }
    }
    found.sort();
    found
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let all = folders.iter().flat_map(|folder| files(folder)).filter(|path| path.ends_with(".rs"));
    all.map(|path| {
        let text = read(&path);
        Source { code: blank(&text), path, text }
    })
    .collect()
}

/// Rust source with comments, strings and character literals replaced by spaces; lines stay where they are.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match literal_end(bytes, at) {
            Some(end) => end,
            None => {
                at += 1;
                continue;
            }
        };
        out[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        at = end;
    }
    String::from_utf8(out.iter().map(|&b| if b.is_ascii() { b } else { b' ' }).collect()).unwrap()
}

/// Where the comment, string or character that starts at `at` ends.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let find = |from: usize, what: &[u8]| {
        let tail = rest.get(from..).unwrap_or(&[]);
        tail.windows(what.len()).position(|w| w == what).map_or(bytes.len(), |i| at + from + i + what.len())
    };
    let is_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return Some(find(2, b"\n") - usize::from(find(2, b"\n") < bytes.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(find(2, b"*/"));
    }
    if rest[0] == b'r' && !is_word {
        let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
            return Some(find(2 + hashes, &close));
        }
    }
    match rest[0] {
        b'"' => {
            let mut i = 1;
            while i < rest.len() && rest[i] != b'"' {
                i += 1 + usize::from(rest[i] == b'\\');
            }
            Some((at + i + 1).min(bytes.len()))
        }
        // A character, not a lifetime: '\..' or 'x'.
        b'\'' if rest.get(1) == Some(&b'\\') => Some(find(3, b"'")),
        b'\'' => {
            let width = std::str::from_utf8(&rest[1..rest.len().min(5)])
                .unwrap_or_else(|e| std::str::from_utf8(&rest[1..1 + e.valid_up_to()]).unwrap());
            let width = width.chars().next().map_or(1, char::len_utf8);
            (rest.get(1 + width) == Some(&b'\'')).then_some(at + width + 2)
        }
        _ => None,
    }
}

#[track_caller]
fn expect_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Names of the modules behind every `crate::` of some code.
fn modules_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            used.insert(word(rest));
            continue;
        };
        let (mut depth, mut starts) = (1, true);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => starts = true,
                c if starts && depth == 1 && c.is_alphabetic() => {
                    used.insert(word(&list[i..]));
                    starts = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used.into_iter().filter(|name| name.starts_with(char::is_lowercase)).collect()
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let declared: BTreeSet<String> = read("src/lib.rs")
        .lines()
        .filter_map(|l| Some(l.strip_prefix("pub mod ")?.trim_end_matches(';').into()))
        .collect();
    let ordered: BTreeSet<String> = ORDER.iter().map(|m| m.to_string()).collect();
    assert_eq!(declared, ordered, "src/lib.rs and ORDER name the same modules");
    let rank = |name: &str| ORDER.iter().position(|m| *m == name);
    let mut found = Vec::new();
    for source in sources(&["src"]).iter().filter(|s| s.path != "src/lib.rs") {
        let own = source.path.split('/').nth(1).unwrap().trim_end_matches(".rs");
        for used in modules_used(&source.code).iter().filter(|used| *used != own) {
            match rank(used) {
                Some(r) if r < rank(own).expect("every file belongs to a module") => {}
                Some(_) => found.push(format!("{}: {own} uses {used}, which stands after it", source.path)),
                None => found.push(format!("{}: crate::{used} is not a module", source.path)),
            }
        }
    }
    expect_none("the order of modules is broken", found);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let all = sources(&["src", "tools", "tests", "benches"]);
    let mut found = Vec::new();
    for s in &all {
        let lines = s.text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{}: {lines} lines, at most {LINES_MAX}", s.path));
        }
        if !s.text.starts_with("//! ") {
            found.push(format!("{}: does not start with a //! line", s.path));
        }
    }
    expect_none("files", found);
    let mut lines: Vec<usize> =
        all.iter().filter(|s| s.path.starts_with("src/")).map(|s| s.text.lines().count()).collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(median <= LINES_MEDIAN_MAX, "the median file of src has {median} lines, at most {LINES_MEDIAN_MAX}");
}

/// Name and number of lines of every function.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_word =
            at == 0 || !code.as_bytes()[at - 1].is_ascii_alphanumeric() && code.as_bytes()[at - 1] != b'_';
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !starts_word || name.is_empty() {
            continue;
        }
        let (mut depth, mut nested) = (0, 0);
        for (i, c) in code[at..].char_indices() {
            match c {
                '(' | '[' => nested += 1,
                ')' | ']' => nested -= 1,
                // A declaration without a body.
                ';' if depth == 0 && nested == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => continue,
            }
            if c == '}' && depth == 0 {
                all.push((name, code[at..=at + i].lines().count()));
                break;
            }
        }
    }
    all
}

#[test]
fn functions_fit_on_a_screen() {
    let mut found = Vec::new();
    for source in sources(&["src", "tools", "tests", "benches"]) {
        for (name, lines) in functions(&source.code) {
            if lines >= FUNCTION_LINES_MAX {
                found.push(format!(
                    "{}: {name} has {lines} lines, fewer than {FUNCTION_LINES_MAX} are allowed",
                    source.path
                ));
            }
        }
    }
    expect_none("long functions", found);
}

/// Text files that belong to the project, wherever they lie.
fn all_texts() -> Vec<(String, String)> {
    let mut paths: Vec<String> =
        ["src", "kernels", "tools", "tests", "benches", ".ci"].iter().flat_map(|folder| files(folder)).collect();
    paths.extend(["Cargo.toml", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "rustfmt.toml"].map(String::from));
    let text = |path: String| {
        let bytes = std::fs::read(root().join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        String::from_utf8(bytes).ok().map(|text| (path, text))
    };
    paths.into_iter().filter_map(text).collect()
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    // Put together here, so that this file does not hold them.
    let marks = ["TO|DO", "FIX|ME", "XX|X", "to|do!(", "unimpl|emented!(", "#[ig|nore"].map(|m| m.replace('|', ""));
    let mut found = Vec::new();
    for (path, text) in all_texts() {
        for (number, line) in text.lines().enumerate() {
            found.extend(marks.iter().filter(|m| line.contains(*m)).map(|m| format!("{path}:{}: {m}", number + 1)));
        }
    }
    expect_none("unfinished or switched off", found);
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let places = [
        "/wo|rk/",
        "/ro|ot/",
        "/ho|me/",
        "/tm|p/",
        "/fa|rm/",
        "crates.i|o/api",
        "py|pi.org",
        "registry.np|mjs",
        "deb.deb|ian",
    ]
    .map(|m| m.replace('|', ""));
    let mut found = Vec::new();
    for (path, text) in all_texts() {
        for (number, line) in text.lines().enumerate() {
            found.extend(places.iter().filter(|m| line.contains(*m)).map(|m| format!("{path}:{}: {m}", number + 1)));
        }
    }
    expect_none("paths of a machine or registry hosts", found);
}

#[test]
fn what_the_library_never_does() {
    let mut found = Vec::new();
    for s in sources(&["src"]) {
        let is_test = s.path.ends_with("tests.rs");
        let body = s.code.split("#[cfg(test)]").next().unwrap();
        let mut forbid = |what: &str, allowed: bool, why: &str| {
            if !allowed && !is_test && body.contains(what) {
                found.push(format!("{}: {what} ({why})", s.path));
            }
        };
        for print in ["println!", "print!", "eprintln!", "dbg!"] {
            forbid(print, false, "standard output belongs to the tools; the library logs through tracing");
        }
        forbid("process::exit", false, "the library returns errors");
        forbid("Instant::now", s.path.starts_with("src/train/run"), "results do not depend on the clock");
        forbid("SystemTime::now", s.path.starts_with("src/train/run"), "results do not depend on the clock");
        forbid("HashMap", s.path == "src/weights/header.rs", "its order differs from run to run: BTreeMap");
        forbid("HashSet", false, "its order differs from run to run: BTreeSet");
        let may_be_unsafe = MAY_BE_UNSAFE.iter().any(|place| s.path.starts_with(place));
        forbid("unsafe ", may_be_unsafe, "add the file to MAY_BE_UNSAFE with a reason");
    }
    expect_none("things that are absent by design", found);
}

#[test]
fn every_op_has_cases_and_a_kernel_or_a_listed_excuse() {
    let list = read("src/ops/mod.rs");
    let ops: Vec<String> = files("src/ops")
        .iter()
        .filter_map(|path| Some(path.strip_prefix("src/ops/")?.strip_suffix(".rs")?.to_string()))
        .filter(|name| name != "mod" && !name.contains('/'))
        .collect();
    let mut found = Vec::new();
    for op in &ops {
        let has_cases = list.contains(&format!("{op}::cases()"));
        if has_cases == OPS_WITHOUT_CASES.contains(&op.as_str()) {
            found.push(format!("{op}: either in cases() of src/ops/mod.rs or in OPS_WITHOUT_CASES"));
        }
        let has_kernel = root().join(format!("kernels/{op}.cu")).exists();
        if has_kernel == OPS_WITHOUT_KERNEL.contains(&op.as_str()) {
            found.push(format!("{op}: either kernels/{op}.cu or in OPS_WITHOUT_KERNEL"));
        }
    }
    let stale = OPS_WITHOUT_KERNEL.iter().chain(OPS_WITHOUT_CASES).filter(|op| !ops.iter().any(|o| o == *op));
    found.extend(stale.map(|op| format!("{op}: listed here, but there is no src/ops/{op}.rs")));
    let kernels = files("kernels").into_iter().filter(|path| path.ends_with(".cu"));
    let orphans = kernels.filter(|path| !ops.iter().any(|op| *path == format!("kernels/{op}.cu")));
    found.extend(orphans.map(|path| format!("{path}: no op of that name")));
    expect_none("ops", found);
}

#[test]
fn machine_instructions_stand_in_one_file() {
    let is_kernel = |path: &String| [".cu", ".cuh", ".h", ".cpp"].iter().any(|end| path.ends_with(end));
    let mut found = Vec::new();
    for path in files("kernels").into_iter().filter(is_kernel) {
        let text = read(&path);
        let code: String = text.lines().map(|l| l.split("//").next().unwrap().to_string() + "\n").collect();
        let has_asm = ["asm(", "asm ", "asm\n"].iter().any(|word| code.contains(word));
        if has_asm && !["kernels/ptx.cuh", "kernels/emu/switch.h"].contains(&path.as_str()) {
            found.push(format!("{path}: asm belongs into kernels/ptx.cuh"));
        }
        if path.ends_with(".cu") && !text.starts_with("// ") {
            found.push(format!("{path}: begins with its essay"));
        }
        if text.lines().count() > LINES_MAX {
            found.push(format!("{path}: more than {LINES_MAX} lines"));
        }
    }
    expect_none("kernels", found);
}

/// `[section] -> key = value` lines of Cargo.toml; `[[test]]` and the like are numbered.
fn manifest() -> BTreeMap<String, BTreeMap<String, String>> {
    let (mut all, mut section, mut count) = (BTreeMap::<String, BTreeMap<String, String>>::new(), String::new(), 0);
    for line in read("Cargo.toml").lines() {
        if let Some(name) = line.strip_prefix("[[").and_then(|l| l.strip_suffix("]]")) {
            count += 1;
            section = format!("{name} {count}");
        } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name.to_string();
        } else if let Some((key, value)) = line.split_once(" = ") {
            all.entry(section.clone()).or_default().insert(key.to_string(), value.trim_matches('"').to_string());
        }
    }
    all
}

#[test]
fn every_target_is_declared_and_exists() {
    let manifest = manifest();
    let declared: BTreeSet<&str> =
        manifest.values().filter_map(|section| section.get("path")).map(String::as_str).collect();
    let mut found: Vec<String> =
        declared.iter().filter(|path| !root().join(path).is_file()).map(|path| format!("{path}: not there")).collect();
    for path in ["tests", "benches"].iter().flat_map(|folder| files(folder)) {
        let is_target = path.ends_with("/main.rs") || path.ends_with(".rs") && path.matches('/').count() == 1;
        if is_target && !declared.contains(path.as_str()) {
            found.push(format!("{path}: not declared in Cargo.toml, so it never runs"));
        }
    }
    expect_none("targets of Cargo.toml", found);
}

#[test]
fn the_crates_asked_for_are_used_for_their_job() {
    let manifest = manifest();
    let is_direct = |name: &str| ["dependencies", "dev-dependencies"].iter().any(|s| manifest[*s].contains_key(name));
    let mut found = Vec::new();
    for (name, place) in CARD_CRATES {
        let is_used = sources(&[place]).iter().any(|s| s.code.contains(&format!("{name}::")));
        if !is_direct(name) || !is_used {
            found.push(format!("{name}: a direct dependency that is used in {place}"));
        }
    }
    expect_none("crates", found);
}

#[test]
fn every_dependency_is_used() {
    let manifest = manifest();
    let all = sources(&["src", "tools", "tests", "benches"]);
    let unused = |name: &&String| {
        let path = format!("{}::", name.replace('-', "_"));
        !all.iter().any(|s| s.code.contains(&path))
    };
    let names = manifest["dependencies"].keys().chain(manifest["dev-dependencies"].keys());
    expect_none("dependencies that nothing uses", names.filter(unused).cloned().collect());
}

#[test]
fn the_repository_holds_no_large_files() {
    let all = ["src", "kernels", "tools", "tests", "benches", "models"].iter().flat_map(|folder| files(folder));
    let large = all.filter(|path| Path::new(&root().join(path)).metadata().unwrap().len() > FILE_BYTES_MAX);
    expect_none("large files", large.collect());
}

#[test]
fn ci_runs_the_command_of_the_readme() {
    let command = "cargo test --release";
    for path in ["README.md", ".ci/run"] {
        assert!(read(path).lines().any(|line| line.trim() == command), "{path} has no line {command:?}");
    }
}

#[test]
fn blanking_keeps_code_and_lines() {
    let text = "fn a<'x>() { // b {\n let c = '{'; let d = \"}\\\"{\"; let e = r#\"{\"#; }\n/* { */ let f = '\\'';\n";
    let code = blank(text);
    assert_eq!((code.len(), code.lines().count()), (text.len(), text.lines().count()));
    assert_eq!((code.matches('{').count(), code.matches('}').count()), (1, 1), "{code}");
    assert!(code.contains("<'x>") && code.contains("let f ="), "{code}");
    let used = modules_used("use crate::{a::{B, c}, d}; crate::e::f(crate::G)");
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["a", "d", "e"]);
    assert_eq!(
        functions("fn a() {\n}\nfn b(x: [u8; 2]);\nfn c() -> T {\n{\n}\n}\n"),
        [("a".into(), 2), ("c".into(), 4)]
    );
}

#[test]
fn output_goes_through_functions_that_can_fail() {
    // The macros of the standard library panic on a closed pipe and a full disk.
    let mut found = Vec::new();
    for s in sources(&["src", "tools"]) {
        for (line, text) in s.code.lines().enumerate() {
            let is_print = ["println!", "print!", "dbg!"].iter().any(|name| text.contains(name));
            // Tests of the library may tell what they measured.
            let is_test = s.path.ends_with("tests.rs") || s.code.lines().take(line).any(|l| l.contains("#[cfg(test)]"));
            if is_print && !is_test {
                found.push(format!(
                    "{} line {}: use say, say_text or tell of tools/commands/shared.rs",
                    s.path,
                    line + 1
                ));
            }
        }
    }
    expect_none("bare print macros", found);
}
