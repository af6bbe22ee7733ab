//! What a model said in the end: its text without thoughts, tags and decoration of the format.
//!
//! Text inside `<think>` is ignored, also when the tag is never closed (the answer was cut off); a `</think>` whose
//! opening stood in the prompt ends thoughts that began with the text. Of several `<answer>` the last one holds.
//! One pass, linear in the length: a tag is recognised by a bounded look at what follows its `<`.

use super::normal::simplified;

/// A tag that means something here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Think {
        closes: bool,
    },
    Answer {
        closes: bool,
    },
    /// `</s>`, `<b>`, `<|im_end|>` and the like: left out.
    Other,
}

/// Longest tag looked for, in bytes.
const TAG_BYTES_MAX: usize = 40;

/// The tag that begins at `start` (which holds `<`) and where it ends.
fn tag_at(text: &str, start: usize) -> Option<(Tag, usize)> {
    let window = &text.as_bytes()[start + 1..text.len().min(start + TAG_BYTES_MAX)];
    let length = window.iter().position(|&b| b == b'>')?;
    let inside = &window[..length];
    let end = start + 1 + length + 1;
    let closes = inside.trim_ascii_start().starts_with(b"/");
    let name = inside.trim_ascii_start().strip_prefix(b"/").unwrap_or(inside).trim_ascii();
    // "a < b > c" compares, "<b>" marks up.
    let is_name = inside.first().is_some_and(|b| b.is_ascii_alphabetic() || b"|/".contains(b))
        && name.iter().all(|b| b.is_ascii_alphanumeric() || b"|_-".contains(b));
    match name.to_ascii_lowercase().as_slice() {
        b"think" | b"thinking" => Some((Tag::Think { closes }, end)),
        b"answer" => Some((Tag::Answer { closes }, end)),
        _ => is_name.then_some((Tag::Other, end)),
    }
}

/// All tags in order: what, from where, to where.
fn tags(text: &str) -> impl Iterator<Item = (Tag, usize, usize)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text[from..].find('<')?;
            match tag_at(text, start) {
                Some((tag, end)) => {
                    from = end;
                    return Some((tag, start, end));
                }
                None => from = start + 1,
            }
        }
    })
}

/// The text outside of thoughts.
fn outside_of_thoughts(text: &str) -> String {
    let (mut kept, mut thinks, mut from) = (String::new(), false, 0);
    for (tag, start, end) in tags(text) {
        match tag {
            Tag::Think { closes: false } => {
                if !thinks {
                    kept.push_str(&text[from..start]);
                    kept.push('\n');
                }
                thinks = true;
            }
            Tag::Think { closes: true } => {
                if !thinks {
                    kept.clear();
                }
                thinks = false;
                from = end;
            }
            _ => {}
        }
    }
    if !thinks {
        kept.push_str(&text[from..]);
    }
    kept
}

/// What stands in the last `<answer>`, or all of it. A lone `</answer>` ends an answer that the prompt had begun.
fn inside_of_answer(text: &str) -> &str {
    let (mut content, mut open, mut closed) = (None, None, None);
    for (tag, start, end) in tags(text) {
        match (tag, open) {
            (Tag::Answer { closes: false }, _) => {
                open = Some(end);
                content = Some(&text[end..]);
            }
            (Tag::Answer { closes: true }, Some(from)) => {
                content = Some(&text[from..start]);
                open = None;
            }
            (Tag::Answer { closes: true }, None) => closed = Some(start),
            _ => {}
        }
    }
    content.unwrap_or_else(|| &text[..closed.unwrap_or(text.len())])
}

/// The content of the last `\boxed{..}`, or all of the text.
fn inside_of_box(text: &str) -> &str {
    let Some(start) = text.rfind("\\boxed{").map(|at| at + "\\boxed{".len()) else { return text };
    let mut depth = 1;
    let end = text[start..].char_indices().find(|(_, c)| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0
    });
    &text[start..end.map_or(text.len(), |(at, _)| start + at)]
}

/// Names of the field that holds the answer in JSON, or in what looks like it.
const FIELDS: [&str; 12] = [
    "answer",
    "answer_letter",
    "final_answer",
    "finalanswer",
    "correct_answer",
    "choice",
    "option",
    "letter",
    "prediction",
    "response",
    "答案",
    "选项",
];

/// The value of the last such field, or all of the text.
fn inside_of_field(text: &str) -> &str {
    let mut value = None;
    for (at, quote) in text.match_indices(['"', '\'']) {
        // The quote that closes a name: a colon follows it, and the name stands between two of its kind.
        let Some(rest) = text[at + 1..].trim_start().strip_prefix(':') else { continue };
        let mut start = at.saturating_sub(LONGEST_FIELD);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let window = &text[start..at];
        let Some(name) = window.rfind(quote).map(|from| window[from + 1..].trim().to_lowercase()) else { continue };
        if FIELDS.contains(&name.as_str()) {
            value = Some(rest.trim_start());
        }
    }
    let Some(value) = value else { return text };
    let (from, ends): (usize, &[char]) = match value.chars().next() {
        Some('"') => (1, &['"']),
        Some('\'') => (1, &['\'']),
        Some('[') => (1, &[']']),
        _ => (0, &[',', '}', '\n']),
    };
    let inner = &value[from..];
    &inner[..inner.find(ends).unwrap_or(inner.len())]
}

/// Longest name of a field that is looked for, in bytes.
const LONGEST_FIELD: usize = 24;

/// The final answer within a model's text: without thoughts and tags, of a `\boxed{..}` or a JSON field of that name
/// its content alone, full-width forms of ASCII as ASCII, invisible characters gone, every space a space and every line
/// end `\n`.
pub fn final_answer(text: &str) -> String {
    let text = outside_of_thoughts(text);
    let content = inside_of_field(inside_of_box(inside_of_answer(&text)));
    let content = &without_struck(content);
    let (mut plain, mut from) = (String::with_capacity(content.len()), 0);
    for (_, start, end) in tags(content).chain([(Tag::Other, content.len(), content.len())]) {
        plain.extend(content[from..start].chars().filter_map(plain_char));
        if end > start {
            plain.push(' ');
        }
        from = end;
    }
    plain
}

/// The text without what is struck out, `~~A~~` within one line.
fn without_struck(text: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("~~") {
        kept.push_str(&rest[..start]);
        let behind = &rest[start + 2..];
        rest = behind.find("~~").filter(|end| !behind[..*end].contains('\n')).map_or(behind, |end| &behind[end + 2..]);
    }
    kept.push_str(rest);
    kept
}

fn plain_char(c: char) -> Option<char> {
    match c {
        '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some('\n'),
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}' | '\u{ad}' | '\u{fe0f}' => None,
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0),
        c if c.is_whitespace() || c.is_control() => Some(' '),
        c => Some(simplified(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_and_tags_go_and_the_last_answer_stays() {
        let cases = [
            ("<think>It is A</think><answer>B</answer>", "B"),
            ("<THINK>A</Think > B", "\n B"),
            ("It may be A</think>B", "B"),
            ("<think>a<think>b</think>A</think>B", "B"),
            ("<think>never closed <answer>A</answer>", "\n"),
            ("<answer>A</answer> no, <answer>B</answer>", "B"),
            ("<answer>A</answer> and <answer>B", "B"),
            ("<answer>A</answer> <answer>", ""),
            ("B</answer> and A", "B"),
            ("B<|im_end|></s>", "B  "),
            ("a < b > c, 3<4", "a < b > c, 3<4"),
            ("So \\boxed{A}, no: \\boxed{\\text{B}}.", "\\text{B}"),
            ("{\"why\": \"A is far\", \"answer\": \"B\"}", "B"),
            ("{'answer': 'B'}", "B"),
            ("```json\n{\"answer\": true}\n```", "true"),
            ("{\"答案\": \"B\"}", "B"),
            ("{\"answer\": [\"A\", \"B\"]}", "\"A\", \"B\""),
            ("\u{ff22}\u{ff09}\u{a0}two\u{200b}\r", "B) two\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(final_answer(text), expected, "{text:?}");
        }
    }
}
