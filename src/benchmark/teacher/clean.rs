//! Which characters a text may have.

/// Text without control characters, invisible ones, markup and addresses.
pub(super) fn is_clean(text: &str) -> bool {
    let lower = text.to_lowercase();
    let addresses = ["http:", "https:", "://", "www."];
    !text.is_empty() && !text.chars().any(is_strange) && !addresses.iter().any(|a| lower.contains(a))
}

fn is_strange(c: char) -> bool {
    is_invisible(c) || "<>{}[]`\\|".contains(c)
}

/// Control characters, and those that only steer how others are shown.
pub(super) fn is_invisible(c: char) -> bool {
    let steering = ['\u{ad}', '\u{61c}', '\u{feff}', '\u{fffd}'];
    let ranges =
        [('\u{200b}', '\u{200f}'), ('\u{2028}', '\u{202e}'), ('\u{2060}', '\u{206f}'), ('\u{e0000}', '\u{e007f}')];
    c.is_control() || steering.contains(&c) || ranges.iter().any(|(from, to)| (*from..=*to).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_characters_and_addresses_are_not_clean() {
        assert!(is_clean("12.50° to the left, \"so\""));
        for text in ["", "a\u{0}", "a\u{202e}b", "<b>", "see https://x.example", "www.x.example", "`x`", "a\nb"] {
            assert!(!is_clean(text), "{text:?}");
        }
    }
}
