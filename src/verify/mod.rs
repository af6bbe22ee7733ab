//! `twnm verify`: runs a model on the inputs of its `expected.safetensors` and compares every tensor in it.
//!
//! Expected values come from other implementations (PyTorch, Transformers). A tensor passes when
//! ||actual - expected|| / ||expected|| (L2) is at most 1e-5 for values, 1e-4 for gradients and values of language
//! models. Nothing is skipped in silence: a tensor whose name means nothing here fails, and what is not built yet is listed
//! as missing. A tokenizer is compared with the ids and texts of its `expected.json`, exactly.

mod compare;
mod decoder;
mod ops;
mod projector;
mod readout;
mod semantic;
mod tokenizer;
mod trunk;

pub use compare::Comparison;

use crate::error::{Context, Error, Result};
use crate::weights::Tensors;
use compare::Checker;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Allowed relative L2 error of values.
pub const VALUE_TOLERANCE: f64 = 1e-5;
/// Allowed relative L2 error of gradients.
pub const GRADIENT_TOLERANCE: f64 = 1e-4;
/// Allowed relative L2 error of the values of language models and semantic encoders.
pub const LANGUAGE_TOLERANCE: f64 = 1e-4;
/// Largest config.json that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// What to verify and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Folder of the base model, for adapters.
    pub base: Option<PathBuf>,
    /// Where to write the computed tensors, under the expected names.
    pub dump: Option<PathBuf>,
    /// Allowed relative L2 error of every tensor, instead of the two constants above.
    pub tolerance: Option<f64>,
}

/// The outcome: one comparison per expected tensor that is an output.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the folder holds, for example `encoder trunk`.
    pub kind: String,
    /// Every compared tensor, in the order of their names.
    pub tensors: Vec<Comparison>,
    /// Ops and models that this build does not have.
    pub missing: Vec<String>,
}

/// Runs the model in `dir` on its `expected.safetensors`.
///
/// # Errors
/// `Missing` for absent files, `Data` for content that is not acceptable, `Usage` for a bad tolerance. Values that
/// differ are no error here: see [`Report::outcome`].
pub fn verify(dir: &Path, options: &Options) -> Result<Report> {
    if let Some(t) = options.tolerance.filter(|t| !(t.is_finite() && *t >= 0.0)) {
        return Err(Error::usage(format!("--tolerance {t}: a finite number that is not negative is needed")));
    }
    if let Some(base) = options.base.as_deref().filter(|b| !b.is_dir()) {
        return Err(Error::missing(format!("--base {}: no such folder", base.display())));
    }
    let meta = std::fs::metadata(dir).map_err(|e| Error::io("open", dir, &e))?;
    if !meta.is_dir() {
        return Err(Error::data(format!("{}: a folder with expected.safetensors is needed", dir.display())));
    }
    let kind = Kind::of(dir)?;
    if let Kind::Tokenizer = kind {
        let option = [(options.tolerance.is_some(), "--tolerance"), (options.dump.is_some(), "--dump")];
        return match option.iter().find(|(is_given, _)| *is_given) {
            Some((_, name)) => Err(Error::usage(format!("{name}: {} holds a tokenizer, not tensors", dir.display()))),
            None => tokenizer::run(dir),
        };
    }
    let expected = Tensors::open(&dir.join("expected.safetensors"))?;
    let mut checker = Checker::new(&expected, options);
    let place = || dir.display().to_string();
    match &kind {
        Kind::Trunk(config) => trunk::run(dir, config, &mut checker).context_with(place)?,
        Kind::Readout(config) => readout::run(dir, config, &mut checker).context_with(place)?,
        Kind::Semantic(_) => semantic::run(dir, &mut checker)?,
        Kind::Projector => projector::run(dir, &mut checker).context_with(place)?,
        Kind::Ops => ops::run(&mut checker).context_with(place)?,
        Kind::Decoder => decoder::run(dir, &mut checker).context_with(place)?,
        Kind::Adapter => decoder::run_adapter(dir, options.base.as_deref(), &mut checker).context_with(place)?,
        Kind::Tokenizer => unreachable!("compared above"),
    }
    let report = checker.finish(kind.name())?;
    if let Some(path) = &options.dump {
        report.1.write(path)?;
    }
    Ok(report.0)
}

impl Report {
    /// Whether every tensor is within its tolerance and nothing is missing.
    pub fn is_ok(&self) -> bool {
        self.missing.is_empty() && self.failed() == 0
    }
    /// How many tensors are outside their tolerance.
    pub fn failed(&self) -> usize {
        self.tensors.iter().filter(|t| !t.ok).count()
    }
    /// The tensor that is nearest to, or furthest beyond, its tolerance.
    pub fn worst(&self) -> Option<&Comparison> {
        self.tensors.iter().max_by(|a, b| a.share().total_cmp(&b.share()))
    }
    /// The report as one JSON object; errors that are not finite become `null`.
    pub fn to_json(&self) -> Value {
        let tensors: Vec<Value> = self.tensors.iter().map(Comparison::to_json).collect();
        json!({
            "ok": self.is_ok(),
            "kind": self.kind,
            "tensors": tensors,
            "missing": self.missing,
            "worst": self.worst().map(Comparison::to_json),
        })
    }
    /// What was compared, in the plural.
    pub fn compared(&self) -> &'static str {
        if self.kind == "tokenizer" { "fields" } else { "tensors" }
    }
    /// Turns the report into the command's result.
    ///
    /// # Errors
    /// `Integrity` when a tensor differs, else `Unavailable` when something is not built yet.
    pub fn outcome(&self) -> Result<()> {
        if self.failed() > 0 {
            let worst = self.worst().expect("a tensor failed");
            return Err(Error::integrity(format!(
                "{}: {} of {} {} are outside their tolerance, the worst is {} ({})",
                self.kind,
                self.failed(),
                self.tensors.len(),
                self.compared(),
                worst.name,
                worst.describe()
            )));
        }
        if !self.missing.is_empty() {
            return Err(Error::unavailable(format!("{}: not built yet: {}", self.kind, self.missing.join(", "))));
        }
        Ok(())
    }
}

/// What a folder holds.
enum Kind {
    Trunk(Value),
    Readout(Value),
    /// By its `model_type`.
    Semantic(String),
    Projector,
    Ops,
    Decoder,
    Adapter,
    Tokenizer,
}

impl Kind {
    /// From what is expected: of a model's folder its tokenizer, where only texts and ids are; else from config.json's `model_type`, else adapter_config.json, else tokenizer.json, else the names of the tensors.
    fn of(dir: &Path) -> Result<Kind> {
        let path = dir.join("config.json");
        let has = |name: &str| dir.join(name).exists();
        if has("tokenizer.json") && has("expected.json") && !has("expected.safetensors") {
            return Ok(Kind::Tokenizer);
        }
        if path.exists() {
            let bytes = crate::files::read_text(&path, MAX_CONFIG_BYTES)?;
            let config: Value = serde_json::from_slice(&bytes)
                .map_err(|e| Error::data(format!("{}: not valid JSON: {e}", path.display())))?;
            return match config.get("model_type").and_then(Value::as_str) {
                Some("twnm_encoder_trunk") => Ok(Kind::Trunk(config)),
                Some("twnm_encoder_readout") => Ok(Kind::Readout(config)),
                Some(crate::projector::MODEL_TYPE) => Ok(Kind::Projector),
                Some("qwen2") => Ok(Kind::Decoder),
                Some(name @ ("whisper" | "audioflamingo3")) => Ok(Kind::Semantic(name.into())),
                Some(other) => Err(Error::data(format!("{}: model_type {other:?} is not known", path.display())).hint(
                    "known: twnm_encoder_trunk, twnm_encoder_readout, twnm_projector, qwen2, whisper, audioflamingo3",
                )),
                None => Err(Error::data(format!("{}: has no model_type", path.display()))),
            };
        }
        if has("adapter_config.json") {
            return Ok(Kind::Adapter);
        }
        if has("model.safetensors") || has("model.safetensors.index.json") {
            return Err(Error::missing(format!("{}: there are weights, and config.json is missing", dir.display()))
                .hint("a model's folder holds config.json, model.safetensors and expected.safetensors"));
        }
        if has("tokenizer.json") {
            return Ok(Kind::Tokenizer);
        }
        Ok(Kind::Ops)
    }
    fn name(&self) -> String {
        match self {
            Kind::Trunk(_) => "encoder trunk".into(),
            Kind::Readout(_) => "encoder read-out".into(),
            Kind::Semantic(name) => format!("semantic encoder {name}"),
            Kind::Projector => "projector".into(),
            Kind::Ops => "ops".into(),
            Kind::Decoder => "qwen2".into(),
            Kind::Adapter => "qwen2 with an adapter".into(),
            Kind::Tokenizer => "tokenizer".into(),
        }
    }
}

/// A whole number of config.json, within limits.
fn size(config: &Value, field: &str, low: u64, high: u64) -> Result<usize> {
    match config.get(field).and_then(Value::as_u64) {
        Some(v) if (low..=high).contains(&v) => Ok(v as usize),
        _ => {
            let found = config.get(field).map_or("nothing".into(), Value::to_string);
            Err(Error::data(format!("config.json: {field} is {found}, a whole number in {low}..={high} is needed")))
        }
    }
}

/// Opens `model.safetensors`, refusing early what is far too small for the sizes in config.json: those come from
/// outside too and decide what is allocated.
fn open_weights(dir: &Path, at_least: usize) -> Result<Tensors> {
    let weights = Tensors::open_folder(dir, "model")?;
    let mut stored = 0usize;
    for name in weights.names() {
        stored += weights.shape(name)?.iter().product::<usize>();
    }
    if stored < at_least {
        return Err(Error::data(format!(
            "model.safetensors holds {stored} numbers, the sizes in config.json need at least {at_least}"
        )));
    }
    Ok(weights)
}

#[cfg(test)]
mod tests;
