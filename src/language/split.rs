//! Pre-tokenisation: where a text is cut before pairs are merged.
//!
//! Patterns are run by a regex engine without backtracking, so no pattern explodes. Such an engine knows no look-ahead;
//! the one that all files have, `\s+(?!\S)|\s+` at the end, is done here: white space before something else leaves its
//! last character to it. A search may still look far beyond what it matches, again and again, so only patterns that are
//! known not to do that take texts of any length.

use crate::error::{Error, Result};
use regex::{Regex, RegexBuilder};
use std::ops::Range;

/// The pattern of GPT-2, which the pre-tokenizer `ByteLevel` has built in.
pub const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// The pattern of Qwen2 and of all models made from it: digits stand alone.
pub const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The pattern of Llama 3: digits by threes.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Digits stand alone and lines apart; everything else may grow together, spaces included.
pub const PHRASES: &str = r"\p{N}|[\r\n]+|[^\r\n\p{N}]+";
/// The longest text, in bytes, for a pattern whose cost is not known.
pub const UNKNOWN_BYTES_MAX: usize = 16 << 10;
/// Compiled size of a pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 4 << 20;
/// Length of a pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4 << 10;
/// The look-ahead that is done here, and what it leaves to the engine.
const TAIL: &str = r"|\s+(?!\S)|\s+";

/// One pattern: its matches and what lies between them are the parts.
pub struct Pattern {
    regex: Regex,
    /// Everything before [`TAIL`], where the pattern ends with it; anchored.
    head: Option<Regex>,
    is_known: bool,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `Data` for what the engine does not know or would know differently, and for patterns that are too large.
    pub fn new(pattern: &str) -> Result<Pattern> {
        let bad = |why: String| {
            let shown: String = pattern.chars().take(80).collect();
            Error::data(format!("the pre-tokenizer's pattern {shown:?}: {why}"))
        };
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(bad(format!("{} bytes, at most {PATTERN_BYTES_MAX} are accepted", pattern.len())));
        }
        let is_known = [GPT2, QWEN2, LLAMA3, PHRASES].contains(&pattern);
        if !is_known {
            check_meaning(pattern).map_err(bad)?;
        }
        let compile = |text: &str| {
            let built =
                RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build();
            let one_line = |e: regex::Error| e.to_string().lines().last().unwrap_or_default().trim().to_string();
            built.map_err(|e| bad(one_line(e)))
        };
        let Some(head) = pattern.strip_suffix(TAIL) else {
            return Ok(Pattern { regex: compile(pattern)?, head: None, is_known });
        };
        let anchored = compile(&format!(r"\A(?:{head})"))?;
        Ok(Pattern { regex: compile(&format!(r"{head}|\s+"))?, head: Some(anchored), is_known })
    }

    /// Cuts a text into parts that are not empty, in order.
    ///
    /// # Errors
    /// `Data` when the text is too long for a pattern whose cost is not known, and for one that matches nothing.
    pub fn parts(&self, text: &str, mut take: impl FnMut(Range<usize>)) -> Result<()> {
        if !self.is_known && text.len() > UNKNOWN_BYTES_MAX {
            let message = format!("a text of {} bytes for a pre-tokenizer pattern that is not known", text.len());
            return Err(Error::data(message).hint(format!(
                "texts up to {UNKNOWN_BYTES_MAX} bytes are cut by any pattern; longer ones by those of GPT-2, Qwen2 and Llama 3"
            )));
        }
        let mut at = 0;
        while let Some(found) = self.regex.find_at(text, at) {
            let end = self.end(text, found.range());
            if end == found.start() {
                return Err(Error::data("the pre-tokenizer's pattern matches where there is nothing"));
            }
            if found.start() > at {
                take(at..found.start());
            }
            take(found.start()..end);
            at = end;
        }
        if at < text.len() {
            take(at..text.len());
        }
        Ok(())
    }

    /// The end of a match, after the look-ahead: white space that something follows leaves its last character to it.
    fn end(&self, text: &str, found: Range<usize>) -> usize {
        let Some(head) = &self.head else { return found.end };
        let matched = &text[found.clone()];
        let is_space = matched.chars().all(char::is_whitespace);
        if !is_space || found.end == text.len() || head.is_match(&text[found.start..]) {
            return found.end;
        }
        match matched.char_indices().next_back() {
            Some((last, _)) if last > 0 => found.start + last,
            _ => found.end,
        }
    }
}

/// Refuses what Oniguruma, which the authors of the files use, reads otherwise than this engine.
fn check_meaning(pattern: &str) -> Result<(), String> {
    let is_property = |end: usize| {
        let open = pattern[..end].rfind('{').unwrap_or(0);
        pattern[..open].ends_with(r"\p") || pattern[..open].ends_with(r"\P")
    };
    let repeats = |mark: &&&str| pattern.match_indices(**mark).any(|(at, _)| **mark != "}+" || !is_property(at));
    if let Some(found) = ["++", "*+", "?+", "}+"].iter().find(repeats) {
        return Err(format!("possessive repetition {found:?} is not supported"));
    }
    // Which characters these mean, or where a dot ends, differs between the engines.
    if let Some(found) =
        [r"\w", r"\W", r"\b", r"\B", "[:", "(?m", "(?s", "(?x"].into_iter().find(|p| pattern.contains(p))
    {
        return Err(format!("{found:?} means something else to the engine that the file was made with"));
    }
    if ["(?=", "(?!", "(?<=", "(?<!", "(?>"].iter().any(|p| pattern.trim_end_matches(TAIL).contains(p)) {
        return Err(format!("looking around is supported only as {TAIL:?} at the end"));
    }
    let bytes = pattern.as_bytes();
    let is_anchor = |i: usize| match bytes[i] {
        b'^' => i == 0 || !matches!(bytes[i - 1], b'[' | b'\\'),
        b'$' => i == 0 || bytes[i - 1] != b'\\',
        _ => false,
    };
    match (0..bytes.len()).any(is_anchor) {
        true => Err("^ and $ mean lines to some engines and texts to others".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_read_otherwise_is_refused_and_classes_may_repeat() {
        for bad in [r"\w+|\s", r"\bx", r"[[:alpha:]]+", r"(?m)x", r"\p{L}{2}+x", "a++"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        for good in [r"\p{L}+|[^\p{L}]", r"\P{N}+|\p{N}", r"\p{N}{1,3}|\P{N}"] {
            assert!(Pattern::new(good).is_ok(), "{good}");
        }
    }

    fn parts(pattern: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        Pattern::new(pattern).unwrap().parts(text, |part| found.push(text[part].to_string())).unwrap();
        assert_eq!(found.concat(), text);
        found
    }

    #[test]
    fn white_space_leaves_its_last_character_to_what_follows() {
        // As Oniguruma cuts them; more texts stand in the goldens.
        assert_eq!(parts(QWEN2, "a   b"), ["a", "  ", " b"]);
        assert_eq!(parts(QWEN2, "a  \n  b 12"), ["a", "  \n", " ", " b", " ", "1", "2"]);
        assert_eq!(parts(QWEN2, "x   "), ["x", "   "]);
        assert_eq!(parts(QWEN2, "   5"), ["  ", " ", "5"]);
        assert_eq!(parts(GPT2, "I'LL  go,\n\nnow"), ["I", "'", "LL", " ", " go", ",", "\n", "\n", "now"]);
        assert_eq!(parts(LLAMA3, "12345"), ["123", "45"]);
        assert_eq!(parts(PHRASES, "at 15 m.\n\nNow"), ["at ", "1", "5", " m.", "\n\n", "Now"]);
        assert_eq!(parts("b", "abcb"), ["a", "b", "c", "b"]);
        assert_eq!(parts(QWEN2, ""), [""; 0]);
    }

    #[test]
    fn patterns_that_explode_or_mean_something_else_are_refused() {
        for pattern in ["(?=a)b", "a++", r"\s{2}+", "^a", "a$", "(", r"(\p{L}{900}){900}", r"\1", &"a".repeat(5000)] {
            let error = Pattern::new(pattern).err().unwrap_or_else(|| panic!("{pattern}"));
            assert!(error.message().contains("pattern"), "{error}");
        }
        let nothing = Pattern::new("a*").unwrap();
        assert!(nothing.parts("ab", |_| ()).unwrap_err().message().contains("nothing"));
        // The classic that takes exponential time in backtracking engines.
        let explosive = Pattern::new("(a+)+b").unwrap();
        let mut count = 0;
        explosive.parts(&"a".repeat(UNKNOWN_BYTES_MAX), |_| count += 1).unwrap();
        assert_eq!(count, 1);
        assert!(explosive.parts(&"a".repeat(UNKNOWN_BYTES_MAX + 1), |_| ()).is_err());
    }
}
