//! The normal form of an option's text, in which two texts that say the same are equal.
//!
//! Words in lower case without punctuation; numbers apart from units (`2.50m` is `2.5`, `m`), with their sign;
//! number words as digits; spellings of degrees, metres and seconds after a number united; articles left out. What
//! this makes equal is equal in meaning; options that it cannot tell apart count as contradictory, never as right.

use crate::text::numbers::{BELOW_TWENTY, TENS};

/// Words of a text in normal form; comparison signs are kept as words of their own.
pub(super) fn normal_form(text: &str) -> Vec<String> {
    normal_words(text).into_iter().map(|word| word.text).collect()
}

/// A word in normal form and the bytes of the text that it stands for.
pub(super) struct NormalWord {
    pub text: String,
    pub start: usize,
    pub end: usize,
}

/// As [`normal_form`], with places.
pub(super) fn normal_words(text: &str) -> Vec<NormalWord> {
    let mut words = words(text);
    if words.iter().any(|word| !is_article(&word.text)) {
        words.retain(|word| !is_article(&word.text));
    }
    words
}

/// A character of Chinese.
pub(super) fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

/// Traditional characters of the words that answers are read by, and the simplified ones in the same order.
const TRADITIONAL: &str = "選項應該錯誤對無從側邊後個種兩聲來為認覺這們會結論實際題確據於與還雖儘並卻說請難斷現發當時樣過沒條電話鈴腳遠響強擇僅總綜終設則嗎麼聽見頭開間離給讓別麥傾貓鳥門鐘擊樂";
const SIMPLIFIED: &str = "选项应该错误对无从侧边后个种两声来为认觉这们会结论实际题确据于与还虽尽并却说请难断现发当时样过没条电话铃脚远响强择仅总综终设则吗么听见头开间离给让别麦倾猫鸟门钟击乐";

/// A traditional character as the simplified one, where answers are read by it.
pub(super) fn simplified(c: char) -> char {
    if !is_han(c) {
        return c;
    }
    TRADITIONAL.chars().zip(SIMPLIFIED.chars()).find(|(from, _)| *from == c).map_or(c, |(_, to)| to)
}

/// One to ten before what is counted, as digits.
fn han(c: char, next: Option<char>) -> String {
    let counts = next.is_some_and(|next| "个位只种人米秒度".contains(simplified(next)));
    match "零一二三四五六七八九十".chars().position(|numeral| numeral == c) {
        Some(value) if counts => value.to_string(),
        _ if c == '两' && counts => "2".into(),
        _ => c.to_string(),
    }
}

fn is_article(word: &str) -> bool {
    ["a", "an", "the"].contains(&word)
}

fn words(text: &str) -> Vec<NormalWord> {
    let mut words: Vec<NormalWord> = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut before = ' ';
    let mut after_number = false;
    while let Some((start, c)) = chars.next() {
        let previous = std::mem::replace(&mut before, c);
        if c.is_whitespace() {
            continue;
        }
        let is_sign = ['-', '\u{2212}', '\u{2013}'].contains(&c) && !previous.is_alphanumeric();
        let signed = is_sign && chars.peek().is_some_and(|(_, next)| next.is_ascii_digit());
        if c.is_ascii_digit() || signed {
            let from = if signed { start + c.len_utf8() } else { start };
            let end = number_end(text, from);
            while chars.next_if(|(at, _)| *at < end).is_some() {}
            words.push(NormalWord { text: number(&text[from..end], signed), start, end });
            (after_number, before) = (true, '0');
            continue;
        }
        let word = match c {
            '<' | '>' | '=' | '\u{2264}' | '\u{2265}' => Some(c.to_string()),
            '%' => Some("percent".into()),
            '\u{b0}' | '\u{ba}' if after_number => Some("deg".into()),
            // Chinese has no spaces: each character is a word.
            c if is_han(c) => Some(han(simplified(c), chars.peek().map(|(_, next)| *next))),
            c if c.is_alphanumeric() => {
                let mut word: String = c.to_lowercase().collect();
                let goes_on = |next: char| next.is_alphanumeric() && !is_han(next) || is_apostrophe(next);
                while let Some((_, next)) = chars.next_if(|(_, next)| goes_on(*next)) {
                    before = next;
                    if !is_apostrophe(next) {
                        word.extend(next.to_lowercase());
                    }
                }
                Some(united(word, after_number))
            }
            _ => None,
        };
        if let Some(word) = word {
            after_number = word.bytes().all(|b| b.is_ascii_digit());
            let end = chars.peek().map_or(text.len(), |(at, _)| *at);
            words.push(NormalWord { text: word, start, end });
        }
    }
    words
}

/// "Don't" is one word, `dont`.
fn is_apostrophe(c: char) -> bool {
    ['\'', '\u{2019}'].contains(&c)
}

/// Where the decimal number beginning at `from` ends.
fn number_end(text: &str, from: usize) -> usize {
    let digits = |at: usize| text[at..].bytes().take_while(u8::is_ascii_digit).count();
    let end = from + digits(from);
    match text[end..].strip_prefix('.').map(|_| digits(end + 1)) {
        Some(fraction) if fraction > 0 => end + 1 + fraction,
        _ => end,
    }
}

/// `02.50` as `2.5`; zero has no sign.
fn number(digits: &str, is_negative: bool) -> String {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if is_negative && (whole, fraction) != ("0", "") { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// One spelling for number words and, after a number, for units.
fn united(word: String, after_number: bool) -> String {
    if let Some(number) = BELOW_TWENTY.iter().chain(&TENS[..1]).position(|name| *name == word) {
        return number.to_string();
    }
    match word.as_str() {
        "degree" | "degrees" | "deg" if after_number => "deg".into(),
        "metre" | "metres" | "meter" | "meters" | "m" if after_number => "m".into(),
        "second" | "seconds" | "sec" | "secs" | "s" if after_number => "s".into(),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_in_other_words_is_equal() {
        let same = [
            ("Front-left, about 4 m away", "front left about four metres away."),
            (
                "azimuth 242.52\u{b0}, elevation -3.10\u{b0}, 2.23m",
                "Azimuth 242.52 degrees; elevation \u{2212}3.1 deg 2.23 meters",
            ),
            ("The dog is closer", "  dog IS   closer!"),
            ("Don't know", "don\u{2019}t know"),
            ("02.50", "2.5"),
            ("-0.0", "0"),
        ];
        for (a, b) in same {
            assert_eq!(normal_form(a), normal_form(b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn what_differs_stays_different() {
        let other = [
            ("30 deg", "-30 deg"),
            ("2.5 m", "25 m"),
            ("< 2 m", "> 2 m"),
            ("2-3 sources", "23 sources"),
            ("left", "front left"),
            ("a m", "a metre"),
        ];
        for (a, b) in other {
            assert_ne!(normal_form(a), normal_form(b), "{a:?} {b:?}");
        }
        assert_eq!(normal_form("2-3"), ["2", "3"]);
        assert_eq!(normal_form("A"), ["a"]);
        assert!(normal_form("?! ...").is_empty());
    }
}
