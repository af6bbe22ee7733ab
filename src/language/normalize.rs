//! Unicode normalisation form C, with where each byte of the result comes from.

use std::borrow::Cow;
use std::ops::Range;
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// A text and its relation to the text that it was made from.
pub struct Normalized<'a> {
    /// The text in form C.
    pub text: Cow<'a, str>,
    /// Stretches of `text` that differ from what they were made from, and that; in order.
    moved: Vec<(Range<usize>, Range<usize>)>,
}

impl<'a> Normalized<'a> {
    /// The text itself.
    pub fn same(text: &'a str) -> Self {
        Normalized { text: text.into(), moved: Vec::new() }
    }

    /// The text in form C, by the tables of Hugging Face's tokenizers.
    pub fn nfc(text: &'a str) -> Self {
        if is_nfc_quick(text.chars()) == IsNormalized::Yes {
            return Self::same(text);
        }
        let (mut out, mut moved) = (String::with_capacity(text.len()), Vec::new());
        for cluster in clusters(text) {
            let (source, start) = (&text[cluster.clone()], out.len());
            match is_nfc_quick(source.chars()) {
                IsNormalized::Yes => out.push_str(source),
                _ => out.extend(source.chars().nfc().map(|(c, _)| c)),
            }
            if out[start..] != *source {
                moved.push((start..out.len(), cluster));
            }
        }
        Normalized { text: out.into(), moved }
    }

    /// The bytes of the original that a stretch of the text was made from. Where characters were composed, these are
    /// the bytes of the whole group of characters.
    pub fn source(&self, range: Range<usize>) -> Range<usize> {
        let before = |at: usize| self.moved[..self.moved.partition_point(|(new, _)| new.start < at)].last();
        let start = match before(range.start + 1) {
            Some((new, old)) if range.start < new.end => old.start,
            Some((new, old)) => old.end + (range.start - new.end),
            None => range.start,
        };
        let end = match before(range.end) {
            Some((new, old)) if range.end <= new.end => old.end,
            Some((new, old)) => old.end + (range.end - new.end),
            None => range.end,
        };
        start..end.max(start)
    }
}

/// Cuts a text before each character that cannot combine with those before it, so that the parts are normalised each
/// on its own.
fn clusters(text: &str) -> impl Iterator<Item = Range<usize>> {
    // What counts is the first character of the decomposition: U+0F73 starts with a mark although it is none.
    let starts = |c: char| {
        let mut first = None;
        decompose_canonical(c, |part| _ = first.get_or_insert(part));
        let first = first.unwrap_or(c);
        c.is_ascii()
            || canonical_combining_class(first) == 0 && is_nfc_quick([first].into_iter()) != IsNormalized::Maybe
    };
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, _) = chars.next()?;
        while chars.next_if(|(_, c)| !starts(*c)).is_some() {}
        Some(start..chars.peek().map_or(text.len(), |(at, _)| *at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_characters_know_where_they_come_from() {
        // e + acute, a Hangul syllable from its three letters, the Kelvin sign; Unicode's charts give the results.
        let text = "ae\u{301}b\u{1112}\u{1161}\u{11ab}c\u{212a}";
        let normalized = Normalized::nfc(text);
        assert_eq!(normalized.text, "aéb한cK");
        let of = |what: &str| {
            let at = normalized.text.find(what).unwrap();
            &text[normalized.source(at..at + what.len())]
        };
        assert_eq!(
            ["a", "é", "b", "한", "c", "K"].map(of),
            ["a", "e\u{301}", "b", "\u{1112}\u{1161}\u{11ab}", "c", "\u{212a}"]
        );
        assert_eq!(normalized.source(0..normalized.text.len()), 0..text.len());
        // A byte in the middle of a composed character stands for all of its source.
        assert_eq!(normalized.source(2..3), 1..4);
    }

    #[test]
    fn parts_give_what_the_whole_gives() {
        // Marks in the wrong order, marks without a letter, Tamil and Korean vowels, a mark at a line end.
        let texts = [
            "a\u{301}\u{323}o\u{323}\u{302}",
            "\u{301}x",
            "\u{b92}\u{bd7}\u{bcd}",
            "\u{1100}\u{1161}가\u{11a8}",
            "a\n\u{338}=\u{338}",
            "\u{344}\u{f73}\u{2126}\u{2126}",
        ];
        for text in texts {
            let whole: String = text.nfc().map(|(c, _)| c).collect();
            assert_eq!(Normalized::nfc(text).text, whole, "{text:?}");
        }
    }
}
