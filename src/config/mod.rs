//! Recipes: TOML files checked against one registry of settings, with overrides and a resolved copy.
//!
//! A [`Recipe`] is a plain serde struct whose [`Default`] is the documented default, plus its registry: one
//! [`Setting`] per key with unit, allowed range and a sentence. [`load`] reads the file and the `--set`
//! overrides and reports *every* unknown key (with the nearest known one), wrong type and value out of range
//! at once, each with its line. What passed is written to the run folder by [`to_toml`].

mod setting;
mod tree;

pub use setting::{Domain, Setting};

use crate::error::{Context, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::{Table, Value};

/// Largest recipe file.
const MAX_RECIPE_BYTES: u64 = 1 << 20;

/// A struct of settings that can be read from a recipe.
///
/// `Serialize` and `Deserialize` must be the plain derived ones (nested structs are tables), with
/// `#[serde(default, deny_unknown_fields)]`. Call [`check_registry`] in a test of every implementation.
pub trait Recipe: Serialize + DeserializeOwned + Default {
    /// The registry: every key of the recipe exactly once.
    fn settings() -> Vec<Setting>;

    /// What must hold between settings; each violation is one sentence that names the keys.
    fn check(&self, errors: &mut Vec<String>) {
        let _ = errors;
    }
}

/// Reads a recipe: defaults, then the file at `path`, then `sets` (`a.b=c` each, later ones win).
///
/// # Errors
/// `Usage` listing everything that is wrong, `Missing` without the file.
pub fn load<R: Recipe>(path: Option<&Path>, sets: &[String]) -> Result<R> {
    let text = match path {
        Some(path) => {
            let bytes = crate::files::read_limited(path, MAX_RECIPE_BYTES).map_err(as_usage)?;
            String::from_utf8(bytes).map_err(|e| Error::usage(format!("{}: not UTF-8: {e}", path.display())))?
        }
        None => String::new(),
    };
    parse(&text, sets).context_with(|| path.map_or("settings".into(), |p| p.display().to_string()))
}

/// Whether a recipe's file has a table of this name: recipes of two stages are told apart by it.
///
/// # Errors
/// `Usage` for what is no TOML, `Missing` without the file.
pub fn has_table(path: &Path, name: &str) -> Result<bool> {
    let bytes = crate::files::read_limited(path, MAX_RECIPE_BYTES).map_err(as_usage)?;
    let text = String::from_utf8(bytes).map_err(|e| Error::usage(format!("{}: not UTF-8: {e}", path.display())))?;
    let table: Table = text.parse().map_err(|e| Error::usage(format!("{}: {e}", path.display())))?;
    Ok(table.get(name).is_some_and(Value::is_table))
}

/// A recipe that is not acceptable as a file is a usage error; a missing one stays [`crate::error::Kind::Missing`].
fn as_usage(error: Error) -> Error {
    match error.kind() {
        crate::error::Kind::Data => error.with_kind(crate::error::Kind::Usage),
        _ => error,
    }
}

/// [`load`] from text already in memory (built-in recipes).
///
/// # Errors
/// `Usage` listing everything that is wrong.
pub fn parse<R: Recipe>(text: &str, sets: &[String]) -> Result<R> {
    let settings = R::settings();
    let mut errors = Vec::new();
    let mut resolved = defaults::<R>();
    let mut assignments = tree::read(text, &settings, &mut errors);
    for set in sets {
        assignments.extend(tree::read_override(set, &settings, &mut errors));
    }
    for assignment in assignments {
        let setting = &settings[assignment.setting];
        match setting.accept(assignment.value) {
            Ok(value) => insert(&mut resolved, &setting.key, value),
            Err(what) => errors.push(format!("{}{}: {what}", assignment.place, setting.key)),
        }
    }
    let mut recipe = R::default();
    if errors.is_empty() {
        match Value::Table(resolved).try_into::<R>() {
            Ok(read) => {
                read.check(&mut errors);
                recipe = read;
            }
            Err(e) => errors.push(e.message().to_string()),
        }
    }
    match errors.len() {
        0 => Ok(recipe),
        1 => Err(Error::usage(errors.remove(0))),
        n => Err(Error::usage(format!("{n} problems\n  {}", errors.join("\n  ")))),
    }
}

/// The resolved recipe as TOML with a comment above each key: default, unit, range and meaning. Reading it
/// back gives the same recipe.
pub fn to_toml<R: Recipe>(recipe: &R) -> String {
    let plain = toml::to_string(recipe).expect("a recipe is plain data");
    let settings = R::settings();
    let defaults = defaults::<R>();
    let (mut out, mut section) = (String::new(), String::new());
    for line in plain.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ") {
            let key = format!("{section}{key}");
            if let Some(setting) = settings.iter().find(|s| s.key == key) {
                out += &format!("# {}\n", setting.describe(get(&defaults, &key)));
            }
        }
        out += line;
        out.push('\n');
    }
    out
}

/// A table of all settings for people: key, default, unit, range, meaning.
pub fn reference<R: Recipe>() -> String {
    let defaults = defaults::<R>();
    let line = |s: &Setting| format!("{}\n    {}\n", s.key, s.describe(get(&defaults, &s.key)));
    R::settings().iter().map(line).collect()
}

/// For tests: panics unless the registry of `R` names every key of its default exactly once, every default is
/// allowed and consistent, and the resolved copy reads back to the same recipe.
#[track_caller]
pub fn check_registry<R: Recipe>() {
    let settings = R::settings();
    let defaults = defaults::<R>();
    let mut keys: Vec<&str> = settings.iter().map(|s| s.key.as_str()).collect();
    keys.sort_unstable();
    assert!(keys.windows(2).all(|w| w[0] != w[1]), "a key is registered twice");
    let mut leaves = Vec::new();
    collect_leaves("", &defaults, &mut leaves);
    for (key, value) in &leaves {
        let Some(setting) = settings.iter().find(|s| s.key == *key) else { panic!("{key} is not registered") };
        if let Err(what) = setting.accept(value.clone()) {
            panic!("the default of {key} is refused: {what}");
        }
    }
    for setting in &settings {
        let present = leaves.iter().any(|(key, _)| *key == setting.key);
        assert!(present || setting.optional, "{} is registered but has no default", setting.key);
        assert!(!setting.doc.is_empty(), "{} has no description", setting.key);
    }
    let mut errors = Vec::new();
    R::default().check(&mut errors);
    assert!(errors.is_empty(), "the defaults contradict themselves: {errors:?}");
    let copy = to_toml(&R::default());
    let read: R = parse(&copy, &[]).unwrap_or_else(|e| panic!("the resolved copy does not read back: {e}\n{copy}"));
    assert_eq!(to_toml(&read), copy, "the resolved copy reads back to another recipe");
}

fn defaults<R: Recipe>() -> Table {
    Table::try_from(R::default()).expect("a recipe is plain data without nulls")
}

fn collect_leaves(prefix: &str, table: &Table, out: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => collect_leaves(&path, inner, out),
            leaf => out.push((path, leaf.clone())),
        }
    }
}

fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((first, rest)) => get(table.get(first)?.as_table()?, rest),
        None => table.get(key),
    }
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            insert(inner.as_table_mut().expect("the registry has no key inside a value"), rest, value);
        }
        None => {
            table.insert(key.to_string(), value);
        }
    }
}

#[cfg(test)]
mod tests;
