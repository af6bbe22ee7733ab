//! Tokenizers, chat templates and texts by people who mean no good: an error or a result, in bounded time and memory.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use twnm::error::Kind;
use twnm::language::template::{Conversation, Role, Template, Turn};
use twnm::language::tokenizer::{Marks, TEXT_BYTES_MAX, Tokenizer};

/// What a machine under load may take in the dev profile where a second is asked for in a release build.
const PATIENCE: u32 = 4;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizer/tokenizer.json")
}

/// How much slower than usual this machine is, at least 1: by what a library takes to read a million short strings, which is
/// a tenth of a second usually.
fn slowness() -> f64 {
    static SLOWNESS: OnceLock<f64> = OnceLock::new();
    *SLOWNESS.get_or_init(|| {
        let text = format!("[{}\"a b\"]", "\"a b\",".repeat(1 << 20));
        let started = Instant::now();
        let read: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.len(), (1 << 20) + 1);
        (started.elapsed().as_secs_f64() / 0.1).max(1.0)
    })
}

#[track_caller]
fn timed<T>(what: &str, limit: Duration, work: impl FnOnce() -> T) -> T {
    let limit = (limit * PATIENCE).mul_f64(slowness());
    let started = Instant::now();
    let result = work();
    assert!(started.elapsed() < limit, "{what} took {:?} of {limit:?}", started.elapsed());
    result
}

#[test]
fn tokenizer_files_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    let good = std::fs::read_to_string(golden()).unwrap();
    let many = |what: &str, count: usize| what.repeat(count);
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1).into_bytes()
    };
    let pattern = good.find("\"Regex\": \"").unwrap() + 10;
    let pattern_end = pattern + good[pattern..].find("\"\n").unwrap();
    let with_pattern = |new: &str| (good[..pattern].to_string() + new + &good[pattern_end..]).into_bytes();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("cut off", good.as_bytes()[..good.len() / 2].to_vec()),
        ("not UTF-8", [good.as_bytes(), b"\xff\xfe"].concat()),
        ("deep", (many("[", 1 << 20)).into_bytes()),
        ("deep where nobody looks", format!("{{\"x\": {}", many("[", 1 << 20)).into_bytes()),
        ("a list", b"[]".to_vec()),
        ("many merges", format!("{{\"model\": {{\"merges\": [{}\"a b\"]}}}}", many("\"a b\",", 1 << 21)).into_bytes()),
        ("a huge merge", format!("{{\"model\": {{\"merges\": [[{}0]]}}}}", many("0,", 1 << 22)).into_bytes()),
        (
            "many steps",
            format!(
                "{{\"normalizer\": {{\"type\": \"Sequence\", \"normalizers\": [{}{{}}]}}}}",
                many("{\"type\": \"NFC\"},", 1 << 18)
            )
            .into_bytes(),
        ),
        (
            "many added tokens",
            format!("{{\"added_tokens\": [{}{{}}]}}", many("{\"id\": 1, \"content\": \"x\"},", 1 << 17)).into_bytes(),
        ),
        ("an id of 2^20", replaced("\"er\": 256", "\"er\": 1048576")),
        ("an id of 2^64", replaced("\"er\": 256", "\"er\": 18446744073709551616")),
        ("an id twice", replaced("\"er\": 256", "\"er\": 257")),
        ("a token twice", replaced("\"er\": 256", "\"er\": 256, \"er\": 5000")),
        ("an added id twice", replaced("\"id\": 336", "\"id\": 335")),
        ("an exploding pattern with look-around", with_pattern("(?=(a+)+$)x")),
        ("a pattern that grows", with_pattern("((a{100}){100}){100}")),
        ("a pattern of brackets", with_pattern(&many("(", 4000))),
    ];
    for (what, bytes) in files {
        std::fs::write(&path, bytes).unwrap();
        let error = timed(what, Duration::from_secs(1), || Tokenizer::open(&path)).err();
        let error = error.unwrap_or_else(|| panic!("{what} was accepted"));
        assert!(error.kind() == Kind::Data && error.message().contains("tokenizer.json"), "{what}: {error}");
        assert!(error.message().len() < 1000, "{what}: {} bytes", error.message().len());
    }
    // A gigabyte, of which nothing is read.
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let error = timed("1 GB", Duration::from_millis(100), || Tokenizer::open(&path)).err().unwrap();
    assert_eq!(error.kind(), Kind::Data);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Tokenizer::open(dir.path()).err().unwrap().kind(), Kind::Missing);
    // The pattern that takes exponential time elsewhere is accepted, and ends.
    std::fs::write(&path, with_pattern("(a+)+b|(a|aa)+c")).unwrap();
    let tokenizer = Tokenizer::open(&path).unwrap();
    timed("(a+)+b", Duration::from_secs(1), || tokenizer.encode(&many("a", 16 << 10)).unwrap());
    assert!(tokenizer.encode(&many("a", 1 << 20)).unwrap_err().message().contains("pattern"));
}

#[test]
fn long_and_strange_texts() {
    let tokenizer = Tokenizer::open(&golden()).unwrap();
    let megabytes = 10;
    let texts = [
        ("words", "where is the dog that ran away from here? ".repeat(megabytes * 25_000)),
        ("one word", "a".repeat(megabytes << 20)),
        ("an", "an".repeat(megabytes << 19)),
        ("NUL", "\0".repeat(megabytes << 20)),
        ("spaces and a letter", " ".repeat(1_000_000) + "x"),
        ("line ends", " \n\r".repeat(1_000_000) + "x"),
        ("spaces with no end", "  x".repeat(1_000_000)),
        ("marks", "\u{301}\u{323}".repeat(250_000)),
        ("a letter with marks", "a".to_string() + &"\u{301}\u{323}".repeat(250_000)),
        ("to be composed", "e\u{301}".repeat(300_000)),
        ("Chinese", "東京".repeat(200_000)),
        ("emoji", "🎧".repeat(250_000)),
        ("special tokens", "<|im_end|>".repeat(100_000)),
        ("nearly special tokens", "<|im_end|".repeat(100_000)),
    ];
    for (what, text) in &texts {
        let limit = Duration::from_secs(1 + (text.len() >> 20) as u64);
        let ids = timed(what, limit, || tokenizer.encode(text).unwrap());
        let decoded = timed(what, limit, || tokenizer.decode(&ids, true));
        assert!(decoded == *text || text.contains('\u{301}'), "{what}");
        let plain = timed(what, limit, || tokenizer.encode_plain(text).unwrap());
        assert!(plain.iter().all(|id| *id < 335), "{what}: plain text became a special token");
    }
    let long = "a".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(tokenizer.encode(&long).unwrap_err().kind(), Kind::Data);
    // A hundred thousand borders.
    let text = "<|im_end|>".repeat(100_000);
    let untrusted = (0..100_000).map(|i| i * 10 + 3..i * 10 + 4).collect();
    let marks = Marks { untrusted, anchor: None };
    let encoded = timed("borders", Duration::from_secs(1), || tokenizer.encode_marked(&text, &marks).unwrap());
    assert!(encoded.ids.iter().all(|id| *id < 335));
}

#[test]
fn chat_templates_that_attack() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret.txt");
    std::fs::write(&secret, "secret").unwrap();
    let templates = [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}".to_string(),
        "{{ 'x' * 1000000000 }}".into(),
        "{% for i in range(99999) %}{{ 'x' * 60000 }}{% endfor %}".into(),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}"
            .into(),
        "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}"
            .into(),
        "{{ [1] * 1000000000 | list }}{{ range(1000000000) | list }}".into(),
        "{{ missing.missing.missing }}".into(),
        format!("{{% include '{}' %}}", secret.display()),
        format!("{{% import '{}' as x %}}", secret.display()),
        format!("{{{{ {}1 }}}}", "not ".repeat(1_000_000)),
        "{{ ".repeat(30_000),
        "\u{0}{{".into(),
    ];
    let turns = vec![Turn { role: Role::User, content: "Where is the dog?".into() }];
    let conversation = Conversation { system: None, turns };
    for source in templates {
        std::fs::write(dir.path().join("chat_template.jinja"), &source).unwrap();
        let shown = &source[..source.len().min(60)];
        let render = || Template::open(dir.path())?.render(&conversation, Some("<AcousticTokens>"), true);
        let error = timed(shown, Duration::from_millis(100), render).err().unwrap_or_else(|| panic!("{shown}"));
        assert!(error.kind() == Kind::Data && error.message().contains("chat_template.jinja"), "{error}");
        assert!(!error.message().contains("secret\n"), "{error}");
    }
}
