//! Merges against Hugging Face's trainer, what is saved, and speed.

use super::super::tokenizer::Tokenizer;
use super::*;

fn golden(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bpe").join(name)).unwrap()
}

fn options(phrases: bool) -> Options {
    Options { vocabulary: 600 + ADDED.len(), phrases, ..Options::default() }
}

#[test]
fn the_merges_are_those_of_hugging_face() {
    let (corpus, merges) = (golden("corpus.txt"), golden("merges.json"));
    let merges: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_str(&merges).unwrap();
    for (name, phrases) in [("phrases", true), ("words", false)] {
        let learned = learn([corpus.as_str()], options(phrases)).unwrap();
        let tokens = learned.tokens();
        let found = learned.merges.iter().map(|(a, b)| [tokens[*a as usize].clone(), tokens[*b as usize].clone()]);
        assert!(found.eq(merges[name].iter().cloned()), "{name}");
    }
}

#[test]
fn what_is_saved_is_the_file_that_transformers_has_read() {
    let dir = tempfile::tempdir().unwrap();
    learn([golden("corpus.txt").as_str()], options(true)).unwrap().save(dir.path()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        assert!(std::fs::read_to_string(dir.path().join(name)).unwrap() == golden(name), "{name}");
    }
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    assert_eq!((tokenizer.len(), tokenizer.anchor()), (608, 603));
    assert_eq!(tokenizer.eos(), [602, 600]);
}

#[test]
fn merges_by_hand() {
    // "aab" twice: ab stands twice, aa twice; aa has the smaller ids.
    let learned = |text: &str, count_min: u64| {
        let options = Options { vocabulary: 300, phrases: true, count_min };
        learn([text], options).unwrap().merges
    };
    let (a, b) = (u32::from(b'a' - b'!'), u32::from(b'b' - b'!'));
    assert_eq!(learned("aab\naab", 2), [(a, a), (256, b)]);
    assert_eq!(learned("aab\naab", 3), []);
    // A run of seven: three pairs, then one and a half of those.
    assert_eq!(learned("aaaaaaa", 2), [(a, a), (256, 256)]);
    assert_eq!(learned("", 1), []);
    // Digits and what stands between tags stay apart.
    assert_eq!(learned("1212<think>1212</think>", 1), []);
    assert!(learn(["a"], Options { vocabulary: 263, ..Options::default() }).is_err());
}

#[test]
fn a_corpus_takes_seconds() {
    // Distinct lines of words: nothing is saved by counting equal pieces once.
    let mut state = 1u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let words = [
        "where", "is", "the", "dog", "on", "your", "left", "behind", "azimuth", "degrees", "violin", "metres", "of",
        "a",
    ];
    let megabytes = std::env::var("TWNM_BPE_MB").map_or(1, |mb| mb.parse::<usize>().unwrap());
    let mut corpus = String::new();
    while corpus.len() < megabytes << 20 {
        corpus += words[random(words.len() as u64) as usize];
        corpus += if random(12) == 0 { "\n" } else { " " };
    }
    for phrases in [true, false] {
        let started = std::time::Instant::now();
        let learned = learn([corpus.as_str()], Options { phrases, ..Options::default() }).unwrap();
        println!("{megabytes} MB, phrases {phrases}: {} merges in {:?}", learned.merges.len(), started.elapsed());
        assert!(started.elapsed().as_secs_f64() < 10.0 * megabytes as f64, "{:?}", started.elapsed());
    }
}
