//! From TOML text and `--set` overrides to assignments of known settings, with everything unknown reported.

use super::Setting;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// A value given to a setting, and where.
pub(super) struct Assignment {
    /// Index into the registry.
    pub setting: usize,
    pub value: Value,
    /// `line 3: ` or `--set a=b: `.
    pub place: String,
}

/// Reads a whole recipe; syntax errors and unknown keys are added to `errors`.
pub(super) fn read(text: &str, settings: &[Setting], errors: &mut Vec<String>) -> Vec<Assignment> {
    // Editors on some systems put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, syntax) = DeTable::parse_recoverable(text);
    let line_of = |at: usize| 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|&&b| b == b'\n').count();
    for error in syntax.iter().take(20) {
        let line = error.span().map_or(String::new(), |span| format!("line {}: ", line_of(span.start)));
        errors.push(format!("{line}{}", error.message()));
    }
    if !syntax.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let place = |at: usize| format!("line {}: ", line_of(at));
    walk("", table.get_ref(), settings, &place, &mut out, errors);
    out
}

/// Reads one `a.b=c`. The value is TOML; what is not TOML is a text, so quotes can be left out.
pub(super) fn read_override(set: &str, settings: &[Setting], errors: &mut Vec<String>) -> Option<Assignment> {
    let place = format!("--set {set}: ");
    let Some((key, value)) = set.split_once('=') else {
        errors.push(format!("{place}needed is KEY=VALUE"));
        return None;
    };
    let (key, value) = (key.trim(), value.trim());
    let Some(setting) = settings.iter().position(|s| s.key == key) else {
        errors.push(format!("{place}{}", unknown(key, settings)));
        return None;
    };
    // A text may look like something else (a name such as 7 or true): then it is still the text.
    let parsed = match settings[setting].domain {
        super::Domain::Text | super::Domain::Choice(_) if !value.starts_with(['"', '\'']) => None,
        _ => DeValue::parse(value).ok().and_then(|v| to_value(v.get_ref()).ok()),
    };
    let value = parsed.unwrap_or_else(|| Value::String(value.to_string()));
    Some(Assignment { setting, value, place })
}

fn walk(
    prefix: &str,
    table: &DeTable,
    settings: &[Setting],
    place: &dyn Fn(usize) -> String,
    out: &mut Vec<Assignment>,
    errors: &mut Vec<String>,
) {
    for (key, value) in table.iter() {
        let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        let place_of_key = place(key.span().start);
        let is_section = settings.iter().any(|s| s.key.starts_with(&path) && s.key[path.len()..].starts_with('.'));
        if let Some(setting) = settings.iter().position(|s| s.key == path) {
            match to_value(value.get_ref()) {
                Ok(value) => out.push(Assignment { setting, value, place: place_of_key }),
                Err(what) => errors.push(format!("{place_of_key}{path}: {what}")),
            }
        } else if let (true, DeValue::Table(inner)) = (is_section, value.get_ref()) {
            walk(&path, inner, settings, place, out, errors);
        } else if is_section {
            errors.push(format!("{place_of_key}{path}: a table [{path}] is needed"));
        } else {
            errors.push(format!("{place_of_key}{}", unknown(&path, settings)));
        }
    }
}

/// The sentence about an unknown key, with the nearest known one when there is one.
fn unknown(key: &str, settings: &[Setting]) -> String {
    // Tables count as known keys too: a mistyped [table] is reported once, by its own name.
    let mut known: Vec<&str> = Vec::new();
    for setting in settings {
        known.push(&setting.key);
        known.extend(setting.key.match_indices('.').map(|(at, _)| &setting.key[..at]));
    }
    let last = |k: &str| k.rsplit('.').next().unwrap_or(k).to_string();
    let distance = |k: &str| {
        let whole = strsim::damerau_levenshtein(key, k);
        // The right name in the wrong table is as near as one typo.
        (if last(key) == last(k) { whole.min(1) } else { whole }, whole)
    };
    let nearest = known.iter().map(|&k| (distance(k), k)).min();
    let shown: String = key.chars().take(80).collect();
    match nearest {
        Some(((d, _), k)) if d <= 1 + key.len().min(60) / 4 => format!("{shown}: unknown setting, did you mean `{k}`?"),
        _ => format!("{shown}: unknown setting"),
    }
}

fn to_value(value: &DeValue) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Integer(n) => {
            let parsed = i64::from_str_radix(n.as_str(), n.radix());
            Value::Integer(parsed.map_err(|_| format!("{} does not fit 64 bits", n.as_str()))?)
        }
        DeValue::Float(f) => Value::Float(f.as_str().parse().map_err(|_| format!("{} is no number", f.as_str()))?),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Datetime(d) => Value::Datetime(*d),
        DeValue::Array(items) => Value::Array(items.iter().map(|v| to_value(v.get_ref())).collect::<Result<_, _>>()?),
        DeValue::Table(_) => return Err("a single value is needed, not a table".into()),
    })
}
