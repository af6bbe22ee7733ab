//! Ids of other implementations, trust, offsets and streaming; what is refused.

use super::*;
use serde::Deserialize;

fn golden(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder)
}

fn span(range: Range<usize>) -> Vec<Range<usize>> {
    std::iter::once(range).collect()
}

#[derive(Deserialize)]
struct Row {
    text: String,
    ids: Vec<u32>,
    decoded: String,
    without_special: String,
    plain: Vec<u32>,
    characters: Option<Vec<[usize; 2]>>,
}

fn rows_of(folder: &str) -> (Tokenizer, Vec<Row>) {
    let folder = golden(folder);
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    (Tokenizer::open(&folder).unwrap(), serde_json::from_str(&text).unwrap())
}

fn rows() -> (Tokenizer, Vec<Row>) {
    rows_of("tokenizer-qwen2")
}

#[test]
fn ids_and_texts_are_those_of_hugging_face() {
    for (folder, at_least) in [("tokenizer-qwen2", 300), ("bpe", 90)] {
        let (tokenizer, rows) = rows_of(folder);
        assert!(rows.len() > at_least);
        for row in rows {
            assert_eq!(tokenizer.encode(&row.text).unwrap(), row.ids, "{:?}", row.text);
            assert_eq!(tokenizer.encode_plain(&row.text).unwrap(), row.plain, "{:?}", row.text);
            assert_eq!(tokenizer.decode(&row.ids, true), row.decoded);
            assert_eq!(tokenizer.decode(&row.ids, false), row.without_special);
        }
    }
}

#[test]
fn every_token_knows_its_bytes() {
    let (tokenizer, rows) = rows();
    for row in rows {
        let text = &row.text;
        let encoded = tokenizer.encode_spans(text, &[]).unwrap();
        let mut at = 0;
        for range in &encoded.ranges {
            // In order and without gaps; tokens of one composed character share its bytes.
            assert!(range.start <= at && range.end >= at && !range.is_empty(), "{text:?} {:?}", encoded.ranges);
            at = range.end;
        }
        assert_eq!(at, text.len());
        let Some(characters) = row.characters else { continue };
        // Outwards to whole characters, which is how Hugging Face counts.
        let character = |byte: usize| text.char_indices().filter(|(i, _)| *i < byte).count();
        let start = |byte: usize| text.char_indices().filter(|(i, c)| i + c.len_utf8() <= byte).count();
        let found: Vec<[usize; 2]> = encoded.ranges.iter().map(|r| [start(r.start), character(r.end)]).collect();
        assert_eq!(found, characters, "{text:?}");
    }
}

#[test]
fn special_tokens_are_special_only_outside_untrusted_text() {
    let (tokenizer, _) = rows();
    let id = |name: &str| tokenizer.id_of(name).unwrap();
    let (start, end) = (id("<|im_start|>"), id("<|im_end|>"));
    let text = "<|im_start|>user\nHi <|im_end|> <think><|im_end|>\n";
    let user = text.find("Hi").unwrap()..text.rfind("<|im_end|>").unwrap();
    let encoded = tokenizer.encode_spans(text, std::slice::from_ref(&user)).unwrap();
    let special: Vec<(u32, usize)> =
        encoded.ids.iter().zip(&encoded.ranges).filter(|(id, _)| **id >= 1500).map(|(id, r)| (*id, r.start)).collect();
    assert_eq!(special, [(start, 0), (end, user.end)]);
    assert_eq!(tokenizer.decode(&encoded.ids, true), text);
    // A token that is put together across the border is none, and what is special next to it stays so.
    let text = "<|im_end|><|im_end|>";
    let halves = tokenizer.encode_spans(text, &span(15..20)).unwrap();
    assert_eq!(halves.ids.iter().filter(|id| **id >= 1500).collect::<Vec<_>>(), [&end]);
    let longer = tokenizer.encode_spans("<tool_call>>", &span(11..12)).unwrap();
    assert_eq!(longer.ids[0], id("<tool_call>"), "the part that is trusted is a token of its own");
    // Also in text that is normalised first: no byte of the token may be the user's.
    let text = "<A\u{30a}ngstro\u{308}m>";
    assert_eq!(tokenizer.encode(text).unwrap(), [id("<Ångström>")]);
    for at in text.char_indices().map(|(i, c)| i..i + c.len_utf8()) {
        assert!(!tokenizer.encode_spans(text, &[at]).unwrap().ids.contains(&id("<Ångström>")));
    }
}

#[test]
fn harmless_text_is_encoded_as_if_there_were_no_borders() {
    let (tokenizer, rows) = rows();
    for row in rows.iter().filter(|row| row.ids == row.plain) {
        let middle = row.text.char_indices().nth(row.text.chars().count() / 2).map_or(0, |(i, _)| i);
        assert_eq!(tokenizer.encode_spans(&row.text, &span(0..middle)).unwrap().ids, row.ids, "{:?}", row.text);
    }
}

#[test]
fn a_stream_never_cuts_a_character_and_gives_what_decode_gives() {
    let (tokenizer, rows) = rows();
    // Also ids without sense: bytes of characters in a wrong order, and ids without an entry.
    let wild = (0..400u32).map(|i| i.wrapping_mul(2_654_435_761) % 1600).collect::<Vec<_>>();
    let all = rows.iter().map(|row| &row.ids).chain([&wild]);
    for (ids, keep) in all.flat_map(|ids| [(ids, true), (ids, false)]) {
        let mut stream = tokenizer.stream(keep);
        let mut text: String = ids.iter().filter_map(|id| stream.push(*id)).collect();
        text.extend(stream.finish());
        assert_eq!(text, tokenizer.decode(ids, keep));
    }
    let mut stream = tokenizer.stream(true);
    let bytes = "🎧".bytes().map(|b| tokenizer.content.byte_ids[usize::from(b)]);
    assert_eq!(bytes.map(|id| stream.push(id)).collect::<Vec<_>>(), [None, None, None, Some("🎧".into())]);
}

#[test]
fn the_anchor_and_the_ends() {
    let (tokenizer, _) = rows();
    // 1500 tokens and 9 added ones: the next id is free.
    assert_eq!((tokenizer.anchor(), tokenizer.len(), tokenizer.anchor_text()), (1509, 1509, ANCHOR));
    assert_eq!(tokenizer.eos(), [1502, 1500]);
    let text = "a<AcousticTokens>b<AcousticTokens>";
    let marks = Marks { untrusted: span(17..text.len()), anchor: Some(1..17) };
    let encoded = tokenizer.encode_marked(text, &marks).unwrap();
    assert_eq!(encoded.ids.iter().filter(|id| **id == 1509).count(), 1);
    assert_eq!((encoded.ids[1], encoded.ranges[1].clone()), (1509, 1..17));
    let own = Tokenizer::open(&golden("tokenizer/tokenizer.json")).unwrap();
    assert_eq!((own.anchor(), own.id_of(ANCHOR), own.len()), (338, Some(338), 339));
}

#[test]
fn files_that_would_be_read_otherwise_are_refused() {
    let text = std::fs::read_to_string(golden("tokenizer/tokenizer.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    // What some editors put in front of a text changes nothing.
    std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
    Tokenizer::open(&path).unwrap();
    let refused = |pointer: &str, new: &str, why: &str| {
        let mut changed = value.clone();
        *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = serde_json::from_str(new).unwrap();
        std::fs::write(&path, changed.to_string()).unwrap();
        let error = Tokenizer::open(&path).err().unwrap_or_else(|| panic!("{pointer} = {new} was accepted"));
        assert_eq!(error.kind(), crate::error::Kind::Data);
        assert!(error.message().contains(why) && error.message().contains("tokenizer.json"), "{error}");
    };
    refused("/model/type", "\"WordPiece\"", "model.type");
    refused("/model/byte_fallback", "true", "byte_fallback");
    refused("/model/dropout", "0.1", "dropout");
    refused("/model/vocab", "{}", "byte 0");
    refused("/model/vocab", "[[\"a\", 0.5]]", "map from tokens to ids");
    refused("/model/vocab/er", "1048576", "id 1048576");
    refused("/model/vocab/er", "-1", "integer `-1`");
    refused("/model/vocab/er", "0", "given twice");
    refused("/model/merges/3", "[\"h\", \"qqq\"]", "merge 4");
    refused("/model/merges/3", "\"er\"", "space");
    refused("/model/merges/3", "[\"e\", \"r\"]", "twice");
    refused("/added_tokens/1/id", "335", "stands twice");
    refused("/added_tokens/1/id", "400", "by its place in the list");
    refused("/added_tokens/1/id", "12", "gives this id to");
    refused("/added_tokens/1/id", "4294967295", "below 1048576");
    refused("/added_tokens/1/content", "\"\"", "1 to 1024 bytes");
    refused("/added_tokens/1/lstrip", "true", "lstrip");
    refused("/added_tokens/1", r#"{"id": 64, "content": "a"}"#, "single byte");
    refused("/added_tokens/1", r#"{"id": 256, "content": "er"}"#, "plain text would become it");
    refused("/normalizer/type", "\"NFKC\"", "normalizer");
    refused("/pre_tokenizer", "null", "ByteLevel is missing");
    refused("/pre_tokenizer/pretokenizers/0/behavior", "\"Removed\"", "pre_tokenizer");
    refused("/pre_tokenizer/pretokenizers/0/pattern/Regex", "\"(?=a)(a+)+$\"", "pattern");
    refused("/decoder", "null", "decoder");
    refused("/post_processor", r#"{"type": "TemplateProcessing"}"#, "post_processor");
    refused("/model", "null", "not a tokenizer");
}
