//! What Minijinja's own limits leave open in templates by others.
//!
//! Fuel pays for steps, texts and items, but `list + list` is only paid for once it was computed, and lists that double
//! 33 times do not fit into memory. So the left side of every `+` goes through a filter that refuses long lists; a list
//! may still grow item by item, which fuel does pay for. What a template writes as a list, a map or a tuple, and what it puts
//! into a namespace, goes through a filter that measures it (`jinja_values`). And a long row of operators is a deep tree, which is walked by
//! recursion: the code of one tag is limited, and [`with_stack`] has room for what that allows.

use super::jinja_values::BOUNDED;
use minijinja::{Error, ErrorKind, Value};

/// The name of the filter.
pub const FILTER: &str = "summand";
/// Longest list on the left of a `+`.
const ITEMS_MAX: usize = 1024;
/// Most code in one tag, in bytes, texts in quotes not counted. Those of real templates have a few hundred.
const CODE_BYTES_MAX: usize = 4096;
/// Stack for templates, in bytes; touched only where it is used.
const STACK_BYTES: usize = 128 << 20;

/// Gives a value back, unless it is a long list.
///
/// # Errors
/// `InvalidOperation` for a list of more than 1,024 items, or of an unknown number.
pub fn summand(value: Value) -> Result<Value, Error> {
    let is_list = value.as_str().is_none() && value.as_object().is_some();
    match is_list && value.len().is_none_or(|len| len > ITEMS_MAX) {
        true => {
            Err(Error::new(ErrorKind::InvalidOperation, format!("lists of more than {ITEMS_MAX} items are not added")))
        }
        false => Ok(value),
    }
}

/// Does `work` on a thread with a large stack.
pub fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?;
        worker.join().map_err(|_| std::io::Error::other("the template's thread panicked"))
    })
}

/// The template with the filters. `Err` says what is too large.
pub fn guarded(source: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(source.len() + 64), source);
    while let Some(at) = rest.find("{").filter(|at| rest.len() - at > 1) {
        let (before, tag) = rest.split_at(at);
        out += before;
        let end = match &tag.as_bytes()[1] {
            b'#' => tag.find("#}").map_or(tag.len(), |end| end + 2),
            b'%' if is_raw(tag) => tag.find("endraw").unwrap_or(tag.len()),
            b'%' | b'{' => {
                let end = 2 + code_end(&tag[2..], if tag.starts_with("{%") { "%}" } else { "}}" });
                match of_generation(&tag[..end]) {
                    Some(plain) => out += &plain,
                    None => guard_code(&tag[..end], &mut out)?,
                }
                rest = &tag[end..];
                continue;
            }
            _ => 1,
        };
        out += &tag[..end];
        rest = &tag[end..];
    }
    Ok(out + rest)
}

/// Transformers' own tags around what an answer is, `generation` and `endgeneration`, as tags that Minijinja knows and that
/// leave the text as it is: which tokens are answers is known here without them.
fn of_generation(tag: &str) -> Option<String> {
    let name = tag.strip_prefix("{%")?.strip_suffix("%}")?;
    let plain = match name.trim_matches(|c: char| matches!(c, '-' | '+') || c.is_whitespace()) {
        "generation" => "if true",
        "endgeneration" => "endif",
        _ => return None,
    };
    let marks = |end: bool| {
        let mark = if end { name.chars().last() } else { name.chars().next() };
        mark.filter(|c| matches!(c, '-' | '+')).map(String::from).unwrap_or_default()
    };
    Some(format!("{{%{} {plain} {}%}}", marks(false), marks(true)))
}

fn is_raw(tag: &str) -> bool {
    let name = tag[2..].trim_start_matches(['-', '+']).trim_start();
    name.strip_prefix("raw").is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The length of a text in quotes at the start of `code`, if there is one.
fn quoted(code: &[u8]) -> Option<usize> {
    let quote = code.first().copied().filter(|c| matches!(c, b'"' | b'\''))?;
    let mut at = 1;
    while at < code.len() && code[at] != quote {
        at += 1 + usize::from(code[at] == b'\\');
    }
    Some((at + 1).min(code.len()))
}

/// Where code ends, behind its closing mark; marks in quotes and in brackets do not count.
fn code_end(code: &str, close: &str) -> usize {
    let (bytes, mut at, mut depth) = (code.as_bytes(), 0, 0usize);
    while at < bytes.len() {
        if let Some(length) = quoted(&bytes[at..]) {
            at += length;
            continue;
        }
        if depth == 0 && bytes[at..].starts_with(close.as_bytes()) {
            return at + 2;
        }
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    code.len()
}

/// A bracket that is open.
struct Open {
    at: usize,
    /// Whether it begins a list or a map, or, with a comma in it, a tuple.
    is_literal: bool,
    has_comma: bool,
}

/// Appends a tag to `out`, its marks included, with the filters.
fn guard_code(code: &str, out: &mut String) -> Result<(), String> {
    let bytes = code.as_bytes();
    let (mut at, mut length, mut open) = (2, 2, Vec::<Open>::new());
    // What is put in where; of two at one place the first found comes first.
    let mut added: Vec<(usize, String)> = Vec::new();
    let around = |from: usize, to: usize| [(from, "(".to_string()), (to, format!(" | {BOUNDED})"))];
    while at < bytes.len() {
        if let Some(length) = quoted(&bytes[at..]) {
            at += length;
            continue;
        }
        length += 1;
        if length > CODE_BYTES_MAX {
            return Err(format!("more than {CODE_BYTES_MAX} bytes of code in one tag"));
        }
        match bytes[at] {
            b'[' | b'{' => open.push(Open { at, is_literal: !ends_value(&code[2..at]), has_comma: true }),
            b'(' => open.push(Open { at, is_literal: !ends_value(&code[2..at]), has_comma: false }),
            b',' => open.iter_mut().next_back().into_iter().for_each(|open| open.has_comma = true),
            b']' | b'}' | b')' => {
                let closed = open.pop().filter(|open| open.is_literal && open.has_comma);
                added.extend(closed.into_iter().flat_map(|open| around(open.at, at + 1)));
            }
            b'+' if !["%}", "}}"].iter().any(|end| code[at + 1..].starts_with(end)) => {
                let before = code[..at].trim_end();
                if ends_value(&before[2.min(before.len())..]) {
                    added.push((before.len(), format!(" | {FILTER}")));
                }
            }
            _ => {}
        }
        at += 1;
    }
    added.extend(stored(code).into_iter().flat_map(|(from, to)| around(from, to)));
    added.sort_by_key(|(at, _)| *at);
    let mut copied = 0;
    for (at, text) in added {
        *out += &code[copied..at];
        *out += &text;
        copied = at;
    }
    *out += &code[copied..];
    Ok(())
}

/// Where the value of `{% set namespace.name = value %}` begins and ends.
fn stored(code: &str) -> Option<(usize, usize)> {
    let inner = code.strip_prefix("{%")?.strip_suffix("%}")?;
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    let target = inner.trim_start_matches(['-', '+']).trim_start().strip_prefix("set")?;
    let equals = target.find('=')?;
    let is_attribute = target.starts_with(char::is_whitespace) && target[..equals].contains('.');
    let end = 2 + inner.trim_end().len();
    let start = 2 + (inner.len() - target.len()) + equals + 1;
    (is_attribute && start < end).then_some((start, end))
}

/// Whether code ends with something that can stand on the left of a `+`.
fn ends_value(code: &str) -> bool {
    let code = code.trim_end();
    let word: String = code.chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let word: String = word.chars().rev().collect();
    match word.as_str() {
        "" => code.ends_with(['"', '\'', ')', ']', '}']),
        "and" | "or" | "not" | "in" | "is" | "if" | "else" => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sums_and_what_is_written_are_touched() {
        let same = [
            "",
            "{",
            "a + b {# c + d #}",
            "{%+ if x +%}y{% endif %}",
            "{{ +1 }}",
            "{{ 'a + b' }}{{ \"\\\" + \" }}",
            "{% raw %}{{ a + b }}{% endraw %}",
            "{{ x",
            "{% if +1 is odd %}",
            "{% for (a, b) in x %}{% set (a, b) = x %}{% macro f(a, b) %}{% call(a, b) g() %}",
            "{{ x[::-1] }}{{ (a)[0] }}{% set n = x.y == z %}",
            "é{",
        ];
        for source in same {
            assert_eq!(guarded(source).unwrap(), source);
        }
        let changed = [
            ("{{ a + b }}", "{{ a | summand + b }}"),
            (
                "{{ 'a'+x[0]\n + {'b': {}} + (c) }}",
                "{{ 'a' | summand+x[0] | summand\n + ({'b': ({} | bounded)} | bounded) | summand + (c) }}",
            ),
            ("+{%- set ns.x = ns.x + '}}' -%}+", "+{%- set ns.x =( ns.x | summand + '}}' | bounded) -%}+"),
            ("{% for x in [1, f(2, 3)][0] %}", "{% for x in ([1, f(2, 3)] | bounded)[0] %}"),
            ("{{ f((a, b), (c), k=[]) }}", "{{ f(((a, b) | bounded), (c), k=([] | bounded)) }}"),
            ("{% set x = {'a': y[1:]} %}", "{% set x = ({'a': y[1:]} | bounded) %}"),
            ("{%- generation %}x{% endgeneration -%}", "{%- if true %}x{% endif -%}"),
            ("{% generation -%}{{ generation }}", "{% if true -%}{{ generation }}"),
        ];
        for (source, expected) in changed {
            assert_eq!(guarded(source).unwrap(), expected);
        }
        assert!(guarded(&format!("{{{{ '{}' }}}}", "x".repeat(9000))).is_ok());
        assert!(guarded(&format!("{{{{ {} }}}}", "x".repeat(9000))).is_err());
    }
}
