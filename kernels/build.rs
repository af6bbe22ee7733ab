//! Turns kernels/*.cu into what the crate links against: texts with their includes inlined, one typed Rust launcher
//! per kernel, and (feature `emu`) the same files compiled by the host's C++ compiler for the emulator.
//!
//! The signatures of the kernels are the source of truth: `const` pointers become `&Tensor`, others `&mut Tensor`, so
//! argument order, types and mutability are checked by the Rust compiler wherever a kernel is launched.
//!
//! `PACKED` between a pointer's star and its name says that the kernel moves neighbours of a row at once: four where rows
//! have a multiple of four numbers, else two where they have an even number. The launcher then checks that the address is
//! a multiple of their bytes. (Kernels that ask `is_aligned` take tensors that begin anywhere.) Compilers do not see the
//! word.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "extern \"C\" __global__ void ";
const INCLUDES: [&str; 7] = [
    "attention_bf16.cuh",
    "attention_float.cuh",
    "attention_tiles.cuh",
    "common.cuh",
    "ptx.cuh",
    "tile.cuh",
    "turn.cuh",
];

/// Marks pointers of which launchers check the address, see above.
const PACKED: &str = "PACKED";

/// Set to anything, the emulator is built with the address and undefined-behaviour sanitizers (ARCHITECTURE.md).
const SANITIZE: &str = "TWNM_EMU_SANITIZE";

#[derive(PartialEq)]
enum Param {
    Input(&'static str),
    /// An input that may be absent: a pointer to const whose name starts with `optional_`.
    Optional(&'static str),
    Output(&'static str),
    Scalar(&'static str),
    /// `Parts` of elementwise.cu by value: many tensors and the place of each.
    Parts,
}

struct Kernel {
    name: String,
    doc: Vec<String>,
    params: Vec<(String, Param)>,
    /// Numbers of those parameters, among the pointers, that are marked.
    aligned: Vec<usize>,
}

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-env-changed=CXX");
    println!("cargo:rerun-if-env-changed={SANITIZE}");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo"));
    let mut files: Vec<PathBuf> = std::fs::read_dir("kernels").expect("kernels/").map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "cu"));
    files.sort();
    let (mut rust, mut table, mut names) = (String::new(), String::new(), Vec::<String>::new());
    let (mut units, mut texts, mut entries) = (Vec::new(), String::new(), String::new());
    for path in &files {
        let file = path.file_stem().unwrap().to_str().expect("kernel files have plain names").to_string();
        let marked = inlined(path);
        let text = marked.replace(&format!(" {PACKED} "), " ");
        let kernels = parse(&marked).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(!kernels.is_empty(), "{}: no kernel in it", path.display());
        let inlined = out.join(format!("{file}.cu"));
        write_if_changed(&inlined, &text);
        writeln!(texts, "    ({file:?}, include_str!({:?})),", inlined.display().to_string()).unwrap();
        for kernel in &kernels {
            assert!(!names.contains(&kernel.name), "{}: kernel {} exists twice", path.display(), kernel.name);
            emit(&mut rust, kernel, names.len());
            let (name, unit) = (&kernel.name, units.len());
            writeln!(table, "    kernel!({name}, twnm_emu_{name}, {file:?}, {unit}),").unwrap();
            writeln!(entries, "        pub fn twnm_emu_{name}(_: *const L, _: *mut *mut V, _: *mut C, _: u64) -> I;")
                .unwrap();
            names.push(kernel.name.clone());
        }
        emit_twins(&mut rust, &kernels);
        units.push((file, text, kernels.into_iter().map(|k| k.name).collect::<Vec<_>>()));
    }
    let head = format!(
        "/// Every kernel file: its name and its text with the includes inlined.\npub static SOURCES: [(&str, &str); {}] = \
         [\n{texts}];\n\n/// Every kernel, file by file.\npub static KERNELS: [Kernel; {}] = [\n{table}];\n\n",
        units.len(),
        names.len()
    );
    let emulated = format!(
        "#[cfg(feature = \"emu\")]\nmod emulated {{\n    use crate::device::emu::RawLaunch as L;\n    \
         use std::ffi::{{c_char as C, c_int as I, c_void as V}};\n    unsafe extern \"C\" {{\n{entries}    }}\n}}\n\n"
    );
    write_if_changed(&out.join("launchers.rs"), &format!("{head}{emulated}{rust}"));
    if std::env::var_os("CARGO_FEATURE_EMU").is_some() {
        emulator(&out, &units);
    }
}

fn write_if_changed(path: &Path, text: &str) {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    std::fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// The file with its includes, and theirs, in place of the #include lines. Guards keep what comes twice from counting twice.
fn inlined(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let read = |p: &Path| std::fs::read_to_string(p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
    let mut out = format!("#line 1 \"{name}\"\n");
    for (number, line) in read(path).lines().enumerate() {
        let Some(wanted) = line.strip_prefix("#include ") else {
            writeln!(out, "{line}").unwrap();
            continue;
        };
        let wanted = wanted.trim().trim_matches('"');
        assert!(INCLUDES.contains(&wanted), "{name}:{}: kernels include only {INCLUDES:?}", number + 1);
        let text = inlined(&path.with_file_name(wanted));
        writeln!(out, "{text}#line {} \"{name}\"", number + 2).unwrap();
    }
    out
}

/// The Rust twin of a C type, when it has one of fixed size.
fn twin(c: &str) -> Option<&'static str> {
    Some(match c {
        "float" => "f32",
        "int" => "i32",
        "unsigned" => "u32",
        "long long" => "i64",
        _ => return None,
    })
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        out.push_str(&rest[..at]);
        let close = if rest[at..].starts_with("//") { "\n" } else { "*/" };
        let end = rest[at..].find(close).map_or(rest.len(), |e| at + e + close.len());
        out.push(' ');
        rest = &rest[end..];
    }
    out + rest
}

/// Position of the bracket that closes the one at `open`.
fn closing(text: &str, open: usize) -> Option<usize> {
    let mut depth = 0;
    for (i, c) in text[open..].char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(open + i),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Where each kernel's declaration starts, its name, and the text between its brackets.
fn heads(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    text.match_indices(HEAD).map(move |(at, _)| {
        let mut rest = &text[at + HEAD.len()..];
        let end = |rest: &str| closing(rest, rest.find('(').expect("a kernel has brackets")).expect("closed brackets");
        if rest.starts_with("__launch_bounds__") {
            rest = &rest[end(rest) + 1..];
        }
        let (open, close) = (rest.find('(').expect("a kernel has brackets"), end(rest));
        (at, rest[..open].trim(), &rest[open + 1..close])
    })
}

fn parse(text: &str) -> Result<Vec<Kernel>, String> {
    let mut kernels = Vec::new();
    for (at, name, list) in heads(text) {
        let comment = text[..at].lines().rev().take_while(|l| l.starts_with("//"));
        let mut doc: Vec<String> = comment.map(|l| l.trim_start_matches('/').trim().to_string()).collect();
        doc.reverse();
        if doc.is_empty() {
            return Err(format!("{name}: a comment above the kernel says what it does"));
        }
        let list = without_comments(list);
        let is_marked = |(_, p): &(usize, &str)| p.split_whitespace().any(|word| word == PACKED);
        let pointers = list.split(',').filter(|p| p.contains('*')).enumerate();
        let aligned = pointers.filter(is_marked).map(|(i, _)| i).collect();
        let params = list.split(',').map(|p| param(name, p)).collect::<Result<_, _>>()?;
        kernels.push(Kernel { name: name.to_string(), doc, params, aligned });
    }
    Ok(kernels)
}

fn param(kernel: &str, text: &str) -> Result<(String, Param), String> {
    let spaced = text.replace("__restrict__", " ").replace('*', " * ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let Some((name, kind)) = words.split_last() else { return Err(format!("{kernel}: an empty parameter")) };
    let base = kind.iter().copied().filter(|w| !["const", "*", PACKED].contains(w)).collect::<Vec<_>>().join(" ");
    let is_pointer = kind.contains(&"*");
    let param = match (is_pointer, base.as_str(), kind.first() == Some(&"const")) {
        (true, "float", true) => Param::Input("F32"),
        (true, "float", false) => Param::Output("F32"),
        (true, "bf16", true) => Param::Input("Bf16"),
        (true, "bf16", false) => Param::Output("Bf16"),
        (true, "int", true) => Param::Input("I32"),
        (true, "int", false) => Param::Output("I32"),
        (true, "unsigned char", true) => Param::Input("U8"),
        (true, "unsigned char", false) => Param::Output("U8"),
        (false, "Parts", _) => Param::Parts,
        (false, c, _) if twin(c).is_some() => Param::Scalar(twin(c).unwrap()),
        _ => return Err(format!("{kernel}: parameter `{name}` of type `{}` has no Rust twin", kind.join(" "))),
    };
    let param = match param {
        Param::Input(t) if name.starts_with("optional_") => Param::Optional(t),
        other => other,
    };
    // Names of locals of the generated functions must not be shadowed, nor Rust's keywords be used.
    let mut name = name.to_lowercase();
    if ["call", "launch", "in", "type", "ref", "mod"].contains(&name.as_str()) {
        name.push('_');
    }
    Ok((name, param))
}

/// The parameters of a launcher after `launch`, as Rust declares them.
fn signature(kernel: &Kernel) -> String {
    let of = |(name, param): &(String, Param)| match param {
        Param::Input(_) => format!(", {name}: &Tensor"),
        Param::Optional(_) => format!(", {name}: Option<&Tensor>"),
        Param::Output(_) => format!(", {name}: &mut Tensor"),
        Param::Scalar("i32") => format!(", {name}: impl Int"),
        Param::Scalar("i64") => format!(", {name}: impl Long"),
        Param::Scalar(t) => format!(", {name}: {t}"),
        Param::Parts => format!(", {name}: &[(Tensor, usize)]"),
    };
    kernel.params.iter().map(of).collect()
}

fn emit_head(out: &mut String, doc: &[String], name: &str, signature: &str) {
    for line in doc {
        writeln!(out, "/// {}", line.replace('[', "\\[").replace(']', "\\]")).unwrap();
    }
    writeln!(out, "#[track_caller]\n#[allow(clippy::too_many_arguments)]").unwrap();
    // A launcher whose storage another one chooses is called by that one alone.
    writeln!(out, "#[allow(dead_code)]\npub(crate) fn {name}(launch: Launch{signature}) {{").unwrap();
}

/// More arguments than this are given by name, as the fields of a structure.
const LISTED_MAX: usize = 12;

/// The launcher `name` with named arguments: a structure `Name` of its parameters that is launched.
fn emit_struct(out: &mut String, kernel: &Kernel, name: &str) {
    if kernel.params.len() <= LISTED_MAX {
        return;
    }
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    let camel: String = name.split('_').map(capital).collect();
    let has_life = kernel.params.iter().any(|(_, param)| !matches!(param, Param::Scalar(_)));
    assert!(has_life, "{name}: a kernel has tensors");
    writeln!(out, "/// The arguments of [`{name}`].\n#[allow(dead_code)]\npub(crate) struct {camel}<'a> {{").unwrap();
    for (field, param) in &kernel.params {
        let kind = match param {
            Param::Input(_) => "&'a Tensor",
            Param::Optional(_) => "Option<&'a Tensor>",
            Param::Output(_) => "&'a mut Tensor",
            Param::Scalar("i32" | "i64") => "usize",
            Param::Scalar(kind) => kind,
            Param::Parts => "&'a [(Tensor, usize)]",
        };
        writeln!(out, "    pub(crate) {field}: {kind},").unwrap();
    }
    let fields: Vec<&str> = kernel.params.iter().map(|(field, _)| field.as_str()).collect();
    let fields = fields.join(", ");
    writeln!(out, "}}\n\nimpl {camel}<'_> {{\n    #[track_caller]\n    #[allow(dead_code)]").unwrap();
    writeln!(out, "    pub(crate) fn launch(self, launch: Launch) {{").unwrap();
    writeln!(out, "        let {camel} {{ {fields} }} = self;\n        {name}(launch, {fields});\n    }}\n}}\n")
        .unwrap();
}

fn emit(out: &mut String, kernel: &Kernel, index: usize) {
    emit_head(out, &kernel.doc, &kernel.name, &signature(kernel));
    writeln!(out, "    let mut call = Call::new(&KERNELS[{index}], launch);").unwrap();
    for (name, param) in &kernel.params {
        match param {
            Param::Input(t) => writeln!(out, "    call.input({name:?}, {name}, DType::{t});"),
            Param::Optional(t) => writeln!(out, "    call.optional({name:?}, {name}, DType::{t});"),
            Param::Output(t) => writeln!(out, "    call.output({name:?}, {name}, DType::{t});"),
            Param::Scalar("i32") => writeln!(out, "    call.int({name:?}, {name});"),
            Param::Scalar("i64") => writeln!(out, "    call.scalar({name}.as_long());"),
            Param::Scalar(_) => writeln!(out, "    call.scalar({name});"),
            Param::Parts => writeln!(out, "    call.parts({name:?}, {name});"),
        }
        .unwrap();
    }
    for which in &kernel.aligned {
        writeln!(out, "    call.expect_aligned({which});").unwrap();
    }
    writeln!(out, "    call.run();\n}}\n").unwrap();
    emit_struct(out, kernel, &kernel.name);
}

/// One launcher for two kernels `<name>_f32` and `<name>_bf16` that differ in how some tensors are stored: it asks the
/// first of those tensors.
fn emit_twins(out: &mut String, kernels: &[Kernel]) {
    for float in kernels {
        let Some(name) = float.name.strip_suffix("_f32") else { continue };
        let Some(bf16) = kernels.iter().find(|k| k.name.strip_suffix("_bf16") == Some(name)) else { continue };
        let is_storage = |a: &Param, b: &Param| {
            matches!(
                (a, b),
                (Param::Input("F32"), Param::Input("Bf16")) | (Param::Output("F32"), Param::Output("Bf16"))
            )
        };
        let pairs = || float.params.iter().zip(&bf16.params);
        let are_twins = float.params.len() == bf16.params.len()
            && pairs().all(|((a_name, a), (b_name, b))| a_name == b_name && (a == b || is_storage(a, b)));
        let Some(((deciding, _), _)) = pairs().find(|((_, a), (_, b))| is_storage(a, b)).filter(|_| are_twins) else {
            continue;
        };
        emit_head(out, &float.doc, name, &signature(float));
        let arguments: String = float.params.iter().map(|(name, _)| format!(", {name}")).collect();
        writeln!(out, "    match {deciding}.dtype() {{").unwrap();
        writeln!(out, "        DType::F32 => {}(launch{arguments}),", float.name).unwrap();
        writeln!(out, "        DType::Bf16 => {}(launch{arguments}),", bf16.name).unwrap();
        writeln!(out, "        other => panic!(\"{name}: {deciding} stores {{other:?}}\"),\n    }}\n}}\n").unwrap();
        emit_struct(out, float, name);
    }
}

/// Compiles every unit for the emulator, those that changed since the last build only, and links them.
fn emulator(out: &Path, units: &[(String, String, Vec<String>)]) {
    let folder = std::fs::canonicalize("kernels/emu").expect("kernels/emu");
    let own = ["cuemu.h", "cuemu.cpp", "machine.h", "memory.h", "switch.h"];
    let header: String = own.iter().map(|f| std::fs::read_to_string(folder.join(f)).expect("kernels/emu")).collect();
    let mut build = cc::Build::new();
    let flags = ["-std=c++17", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-fno-strict-aliasing"];
    build.cpp(true).cpp_link_stdlib(None).opt_level(2).debug(false).warnings(false).include(&folder).include("kernels");
    flags.iter().for_each(|flag| _ = build.flag(flag));
    if std::env::var_os(SANITIZE).is_some() {
        build.flag("-fsanitize=address,undefined").flag("-fno-sanitize-recover=all").flag("-g1");
        println!("cargo:rustc-link-lib=dylib=asan");
        println!("cargo:rustc-link-lib=dylib=ubsan");
    }
    let mut jobs = vec![("cuemu".to_string(), std::fs::read_to_string(folder.join("cuemu.cpp")).expect("cuemu.cpp"))];
    for (file, text, kernels) in units {
        let entries: String = kernels.iter().map(|k| format!("EMU_ENTRY({k})\n")).collect();
        jobs.push((file.clone(), format!("#include \"cuemu.h\"\n{text}\n{entries}")));
    }
    for name in ["bugs", "helpers"] {
        let path = PathBuf::from(format!("tests/kernels/{name}.cu"));
        println!("cargo:rerun-if-changed={}", path.display());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let entries: String = heads(&text).map(|(_, name, _)| format!("EMU_ENTRY({name})\n")).collect();
        jobs.push((name.into(), format!("#include \"cuemu.h\"\n{text}\n{entries}")));
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let workers = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((name, text)) = jobs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    compile(&build, out, name, text, &header);
                }
            });
        }
    });
    jobs.iter().for_each(|(name, _)| _ = build.object(out.join(format!("emu_{name}.o"))));
    build.compile("twnm_emu");
}

fn compile(build: &cc::Build, out: &Path, name: &str, text: &str, header: &str) {
    let (source, object) = (out.join(format!("emu_{name}.cpp")), out.join(format!("emu_{name}.o")));
    let stamp = out.join(format!("emu_{name}.stamp"));
    let mut command = build.get_compiler().to_command();
    let wanted = format!("{command:?}\n{header}\n{text}");
    if object.exists() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == wanted) {
        return;
    }
    std::fs::write(&source, text).expect("OUT_DIR is writable");
    let output = command.arg("-c").arg(&source).arg("-o").arg(&object).output();
    let output = output.unwrap_or_else(|e| panic!("the C++ compiler ({command:?}): {e}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(&stamp, wanted).expect("OUT_DIR is writable");
}
