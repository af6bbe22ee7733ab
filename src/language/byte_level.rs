//! Bytes as printable characters, the alphabet of byte-level vocabularies (GPT-2's `bytes_to_unicode`).
//!
//! Bytes that print in Latin-1 stand for themselves; the 68 others take U+0100 onwards, in their order.

/// How many bytes do not print, and so the first and the last of the characters that stand for them.
const SHIFTED: u32 = 68;

fn prints(byte: u8) -> bool {
    matches!(byte, 33..=126 | 161..=172 | 174..=255)
}

/// The character that stands for a byte in the tokens of a vocabulary.
pub fn char_of(byte: u8) -> char {
    if prints(byte) {
        return byte as char;
    }
    let before = (0..byte).filter(|b| !prints(*b)).count() as u32;
    char::from_u32(256 + before).expect("a Latin letter")
}

/// The byte that a character of a token stands for; `None` outside the alphabet.
pub fn byte_of(c: char) -> Option<u8> {
    match c as u32 {
        code @ 0..256 => Some(code as u8).filter(|b| prints(*b)),
        code if code < 256 + SHIFTED => (0..=255).filter(|b| !prints(*b)).nth((code - 256) as usize),
        _ => None,
    }
}

/// The bytes of a token as Transformers decodes it: a token with a character outside the alphabet stands for itself.
pub fn bytes_of(token: &str) -> Vec<u8> {
    token.chars().map(byte_of).collect::<Option<Vec<u8>>>().unwrap_or_else(|| token.as_bytes().to_vec())
}

/// A text of bytes in the alphabet.
pub fn token_of(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char_of(b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_of_gpt_2() {
        // From the table that GPT-2 publishes: space, line end, tab, NUL, DEL, no-break space, soft hyphen.
        let known =
            [(b' ', 'Ġ'), (b'\n', 'Ċ'), (b'\t', 'ĉ'), (0, 'Ā'), (127, 'ġ'), (160, 'ł'), (173, 'Ń'), (b'a', 'a')];
        for (byte, c) in known {
            assert_eq!((char_of(byte), byte_of(c)), (c, Some(byte)));
        }
        assert!((0..=255).all(|byte| byte_of(char_of(byte)) == Some(byte)));
        assert_eq!([' ', '\u{ad}', '\u{144}', '中'].map(byte_of), [None; 4]);
        assert_eq!((bytes_of("Ġé"), bytes_of("a b")), (vec![32, 0xe9], b"a b".to_vec()));
    }
}
