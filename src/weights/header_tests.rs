//! Hostile headers: every rule of the strict check has a case, and what it accepts the crate accepts too.

use super::*;
use crate::rng::Rng;

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn error(header: &str, data: usize) -> String {
    match check(&file(header, data)) {
        Ok(_) => panic!("accepted: {header}"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn a_sound_header_is_read() {
    let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"I16","shape":[1,2],"data_offsets":[0,4]}}  "#;
    let parsed = check(&file(header, 12)).unwrap();
    assert_eq!(parsed.names, ["a", "b"]);
    assert_eq!(parsed.strings["format"], "pt");
    assert_eq!(parsed.layout.info("b").unwrap().data_offsets, (4, 12));
    assert!(check(&file("{}", 0)).unwrap().names.is_empty());
}

#[test]
fn lies_are_refused_and_named() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let cases = [
        (one("F32", "[2]", "[0,4]"), 8, "needs 8 bytes"),
        (one("F32", "[1]", "[0,4]"), 8, "4 bytes after the last tensor"),
        (one("F32", "[1]", "[4,8]"), 8, "hole"),
        (one("F32", "[1]", "[0,4]"), 3, "cut off"),
        (one("F32", "[1]", "[8,4]"), 8, "backwards"),
        (one("F32", "[1]", "[-4,0]"), 4, "\"w\""),
        (one("F32", "[4294967296,4294967296]", "[0,0]"), 0, "overflows"),
        (one("F32", "[18446744073709551616]", "[0,4]"), 4, "\"w\""),
        (one("F32", "[1.5]", "[0,4]"), 4, "\"w\""),
        (one("F99", "[1]", "[0,4]"), 4, "F99"),
        (one("F4", "[1]", "[0,1]"), 1, "needs 1 bytes"),
        (one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "8 dimensions"),
        (one("F32", "[1]", "[0,4,4]"), 4, "\"w\""),
        (r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":1}}"#.into(), 1, "extra"),
        (r#"{"w":{"dtype":"U8","shape":[1]}}"#.into(), 1, "data_offsets"),
        (r#"{"w":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.into(), 1, "duplicate"),
        (r#"{"__metadata__":{"a":{"b":"c"}}}"#.into(), 0, "string"),
        (r#"{"__metadata__":{"a":"1","a":"2"}}"#.into(), 0, "twice"),
        (r#"{"__metadata__":{},"__metadata__":{}}"#.into(), 0, "twice"),
        ("\u{feff}{}".into(), 0, "begin with"),
        ("{} x".into(), 0, "trailing"),
        ("[]".into(), 0, "begin with"),
    ];
    for (header, data, part) in &cases {
        let message = error(header, *data);
        assert!(message.contains(part), "{header}: {message}");
    }
    let entry = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    assert!(error(&format!(r#"{{"w":{entry},"w":{entry}}}"#), 1).contains("\"w\" occurs twice"));
    let next = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    assert!(error(&format!(r#"{{"v":{entry},"w":{next}}}"#), 1).contains("overlap"));
    assert!(error(&format!(r#"{{"{}":{entry}}}"#, "n".repeat(513)), 1).contains("513 bytes"));
    assert!(error(&format!(r#"{{"a\nb":{entry}}}"#), 1).contains("control character"));
    assert!(error(&format!(r#"{{"":{entry}}}"#), 1).contains("0 bytes"));
    assert!(error(&"[".repeat(100_000).replacen('[', "{", 1), 0).contains("bad header"));
}

#[test]
fn lengths_beyond_the_file_or_the_cap_are_refused_before_reading() {
    for length in [u64::MAX, MAX_HEADER_BYTES + 1, 1 << 40, 100] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        assert!(check(&bytes).is_err(), "{length}");
    }
    for n in 0..8 {
        assert!(check(&vec![0; n]).is_err(), "{n} bytes");
    }
}

#[test]
fn too_many_tensors_are_refused() {
    let mut header = String::from("{");
    for i in 0..=MAX_TENSORS {
        header += &format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}},");
    }
    header.pop();
    header.push('}');
    let message = error(&header, 0);
    // Either limit may be met first; both name a number.
    assert!(message.contains("200000 tensors") || message.contains("header of"), "{message}");
}

#[test]
fn other_files_get_a_hint() {
    let cases: [(&[u8], &str); 6] = [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"PK\x03\x04aaaaaaaaaaaaaaaa", "zip"),
        (b"\x80\x02}q\x00(X\x01\x00", "pickle"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"{\"model_type\": \"qwen2\"}", "JSON"),
        (b"", "empty"),
    ];
    for (bytes, part) in cases {
        let message = check(bytes).err().unwrap().to_string();
        assert!(message.contains("hint") && message.contains(part), "{message}");
    }
}

#[test]
fn mutations_never_panic_and_what_is_accepted_the_crate_accepts() {
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"I16","shape":[1,2],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let seed = file(header, 12);
    let mut rng = Rng::new(1, "safetensors mutations", 0);
    let tokens: [&[u8]; 12] =
        [b"0", b"9", b"-1", b"1e3", b"\"", b"{", b"}", b"[", b"]", b",", b"18446744073709551615", b"\\u0000"];
    let mut accepted = 0;
    for _ in 0..100_000 {
        let mut bytes = seed.clone();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len());
            match rng.below(5) {
                0 => bytes[at] ^= 1 << rng.below(8),
                1 => bytes[at] = rng.next_u32() as u8,
                2 => bytes.truncate(at.max(1)),
                3 => drop(bytes.splice(at..at, tokens[rng.below(tokens.len())].iter().copied())),
                _ => {
                    bytes.remove(at);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        if rng.below(2) == 0 && bytes.len() > 8 {
            // Make the length honest again, so that the JSON itself is exercised.
            let length = (bytes.len() as u64 - 8).saturating_sub(12);
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        if check(&bytes).is_ok() {
            accepted += 1;
            safetensors::SafeTensors::deserialize(&bytes).expect("the crate is never stricter");
        }
    }
    assert!(accepted > 0, "some mutations are harmless");
}
