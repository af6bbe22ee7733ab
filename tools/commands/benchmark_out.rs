//! Whether the folder of a benchmark may be written to: another set of questions is not overwritten.

use serde_json::{Value, json};
use std::path::Path;
use twnm::benchmark::export::{MANIFEST_FILE, Manifest};
use twnm::benchmark::generate::Settings;
use twnm::benchmark::training::Kind;
use twnm::error::{Error, Result};
use twnm::files;

/// Largest `benchmark.json` that is read.
const BYTES_MAX: u64 = 1 << 30;

/// What a set of questions is made from.
pub struct Asked<'a> {
    /// Benchmark, or which training data.
    pub kind: Kind,
    /// How questions are made.
    pub settings: Settings,
    /// Fingerprint of the scenes.
    pub scenes_blake3: String,
    /// The model that writes them, if one does.
    pub teacher: Option<&'a str>,
}

/// Refuses a folder that holds a finished set of questions made otherwise; the same set is written again.
///
/// # Errors
/// `Usage` naming every difference, or for a `benchmark.json` that is none of this program.
pub fn check(out: &Path, asked: &Asked) -> Result<()> {
    let path = out.join(MANIFEST_FILE);
    if !path.exists() {
        return Ok(());
    }
    let hint = "choose another --out folder, or remove this one";
    let bytes = files::read_limited(&path, BYTES_MAX)?;
    let stored: Manifest = serde_json::from_slice(&bytes).map_err(|e| {
        Error::usage(format!("{}: not a benchmark.json of this version, and not overwritten ({e})", path.display()))
            .hint(hint)
    })?;
    let azimuth = if asked.settings.signed_azimuth { "signed" } else { "around" };
    let short = |hash: &str| json!(hash.get(..16).unwrap_or(hash));
    let fields: [(&str, Value, Value); 8] = [
        ("--kind", json!(stored.kind), json!(asked.kind)),
        ("--tasks", json!(stored.task_set), json!(asked.settings.tasks)),
        ("--questions", json!(questions_asked(&stored)), json!(asked.settings.questions)),
        ("--seed", json!(stored.seed), json!(asked.settings.seed)),
        ("--azimuth", json!(stored.azimuth), json!(azimuth)),
        ("--per-scene", json!(stored.per_scene), json!(asked.settings.per_scene)),
        ("--scenes", short(&stored.scenes_blake3), short(&asked.scenes_blake3)),
        ("--teacher-model", json!(stored.teacher.as_ref().map(|t| &t.model)), json!(asked.teacher)),
    ];
    let differ = fields.iter().filter(|(_, there, asked)| there != asked);
    let list: Vec<String> =
        differ.map(|(flag, there, asked)| format!("{flag}: {there} there, {asked} asked for")).collect();
    match list.is_empty() {
        true => Ok(()),
        false => {
            let message = format!("{}: holds questions made otherwise ({})", out.display(), list.join("; "));
            Err(Error::usage(message).hint(hint))
        }
    }
}

/// How many questions were asked for: what was made, but for the tasks that made more or less than planned.
fn questions_asked(stored: &Manifest) -> usize {
    let planned = |task: &String| stored.planned.get(task);
    let as_planned: usize = stored.tasks.iter().filter(|(task, _)| planned(task).is_none()).map(|(_, n)| n).sum();
    as_planned + stored.planned.values().sum::<usize>()
}
