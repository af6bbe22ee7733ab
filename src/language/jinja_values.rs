//! Values that templates by others may make, and filters as Transformers has them.
//!
//! Fuel pays for steps, texts and items, not for what a value holds: a list that contains another one twice, forty times
//! over, is made in a hundred steps, and whoever then compares or prints it goes through 2^40 items. So every list, map and
//! tuple that a template writes, and what it puts into a namespace, is measured ([`bounded`], put there by `jinja_guard`),
//! namespaces lie in no other value, which could come to hold itself, and filters that make much of little are not there.

use minijinja::value::{Kwargs, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Value};
use std::cell::Cell;
use std::fmt::Write as _;

/// The name of the filter around what a template writes as a list, a map or a tuple.
pub const BOUNDED: &str = "bounded";
/// Most parts of a value that a template makes, counted as often as they occur; a KiB of text is a part.
const PARTS_MAX: usize = 2048;
/// Deepest nesting of such a value.
const DEPTH_MAX: usize = 32;
/// Parts that are measured while a template runs, all together: a tenth of a second.
const MEASURED_MAX: usize = 2_000_000;
/// Widest column that a format may ask for, and deepest indentation of JSON.
const WIDTH_MAX: usize = 256;
/// Filters that no chat template needs and that make much of little.
const ABSENT: [&str; 6] = ["chain", "zip", "groupby", "pprint", "urlencode", "sum"];

fn fail(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

/// Replaces what would let a template take more time or memory than its fuel pays for, and what Transformers does otherwise.
pub fn restrict(environment: &mut Environment<'static>) {
    ABSENT.iter().for_each(|name| environment.remove_filter(name));
    environment.add_filter(BOUNDED, bounded);
    environment.add_filter("tojson", tojson);
    environment.add_function("namespace", |given: Option<ValueOrKwargs>| {
        let given = given.map(|given| bounded(given.into_value())).transpose()?;
        minijinja::functions::namespace(given.map(ValueOrKwargs::from))
    });
    environment
        .add_function("dict", |given: Option<Value>, more: Kwargs| bounded(minijinja::functions::dict(given, more)?));
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        if let ("format", Some(text)) = (method, value.as_str()) {
            narrow(text)?;
        }
        minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
    });
}

thread_local! {
    // Every run of a template has a thread of its own (`jinja_guard::with_stack`).
    static MEASURED: Cell<usize> = const { Cell::new(0) };
}

/// Gives a value back, unless it holds too much.
///
/// # Errors
/// `InvalidOperation` for a value of more than 2,048 parts, of a nesting deeper than 32, or that is or holds a namespace;
/// `OutOfFuel` when too much was measured in all.
pub fn bounded(value: Value) -> Result<Value, Error> {
    let mut left = PARTS_MAX;
    measure(&value, DEPTH_MAX, &mut left)?;
    MEASURED.set(MEASURED.get() + PARTS_MAX - left);
    if MEASURED.get() > MEASURED_MAX {
        return Err(Error::from(ErrorKind::OutOfFuel));
    }
    Ok(value)
}

fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"))
}

fn measure(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    let parts = 1 + value.as_str().map_or(0, |text| text.len() >> 10);
    *left = left.checked_sub(parts).ok_or_else(|| fail(format!("a value of more than {PARTS_MAX} parts")))?;
    if is_namespace(value) {
        return Err(fail("a namespace is not put into another value"));
    }
    let is_map = value.kind() == ValueKind::Map;
    if value.as_str().is_some() || !(is_map || matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)) {
        return Ok(());
    }
    if depth == 0 {
        return Err(fail(format!("a value that is nested deeper than {DEPTH_MAX}")));
    }
    for item in value.try_iter()? {
        let item = if is_map { value.get_item(&item)? } else { item };
        measure(&item, depth - 1, left)?;
    }
    Ok(())
}

/// Refuses a format string whose columns could be wide: no chat template aligns text.
fn narrow(text: &str) -> Result<(), Error> {
    let mut number = 0usize;
    for c in text.chars() {
        number = c.to_digit(10).map_or(0, |digit| number.saturating_mul(10).saturating_add(digit as usize));
        if number > WIDTH_MAX {
            return Err(fail(format!("a format with a number above {WIDTH_MAX}")));
        }
    }
    // The width of `{:{}}` and `{:{width}}` comes from an argument.
    let has_inner = text.split(':').skip(1).any(|spec| spec.split('}').next().is_some_and(|spec| spec.contains('{')));
    if has_inner { Err(fail("a format whose width is an argument")) } else { Ok(()) }
}

/// JSON as Python's `json.dumps` writes it in Transformers' filter: no letter is escaped that need not be.
fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<Value> = options.get("ensure_ascii")?;
    let _: Option<Value> = options.get("separators")?;
    let _: Option<Value> = options.get("sort_keys")?;
    options.assert_all_used()?;
    if indent.is_some_and(|indent| indent > WIDTH_MAX) {
        return Err(fail(format!("tojson with an indentation above {WIDTH_MAX}")));
    }
    let mut out = String::new();
    dump(value, indent, 0, &mut out)?;
    Ok(out)
}

fn dump(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > 2 * DEPTH_MAX {
        return Err(fail("tojson: a value that is nested too deep"));
    }
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::String => out.push_str(&quoted(value.as_str().unwrap_or_default())),
        kind @ (ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) => {
            let is_map = kind == ValueKind::Map;
            out.push(if is_map { '{' } else { '[' });
            let mut is_empty = true;
            for item in value.try_iter()? {
                out.push_str(if is_empty { "" } else { comma });
                line(depth + 1, out);
                is_empty = false;
                if is_map {
                    let _ = write!(out, "{}: ", quoted(&item.to_string()));
                    dump(&value.get_item(&item)?, indent, depth + 1, out)?;
                } else {
                    dump(&item, indent, depth + 1, out)?;
                }
            }
            if !is_empty {
                line(depth, out);
            }
            out.push(if is_map { '}' } else { ']' });
        }
        other => return Err(fail(format!("tojson: {other} is no JSON"))),
    }
    Ok(())
}
