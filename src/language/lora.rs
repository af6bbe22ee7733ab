//! Which linear layers have adapters and of what rank: `adapter_config.json` as PEFT reads and writes it.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Names of the seven linear layers of a decoder layer.
pub const LINEARS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
/// The largest rank that is accepted.
const RANK_MOST: u64 = 4096;

/// Which modules are adapted.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Those whose path is one of these or ends in one of these after a dot.
    Names(Vec<String>),
    /// Those whose whole path this pattern matches; the text as it was written.
    Pattern(regex::Regex, String),
    /// Every linear layer but the output layer.
    AllLinear,
}

/// How fresh matrices A start (B starts at zero, so that a fresh adapter changes nothing).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Uniform in +-1/sqrt(inputs), PEFT's default.
    Uniform,
    /// Normal with standard deviation 1/rank, PEFT's `"gaussian"`.
    Gaussian,
}

/// An adapter.
#[derive(Clone, Debug)]
pub struct LoraConfig {
    /// Rank where no pattern says otherwise.
    pub rank: usize,
    /// alpha where no pattern says otherwise; the output of an adapter is multiplied by alpha / rank.
    pub alpha: f64,
    /// alpha / sqrt(rank) instead (rank-stabilised LoRA).
    pub is_rank_stabilised: bool,
    /// Whether the rows of the adapted weights keep a length of their own (DoRA).
    pub has_magnitudes: bool,
    /// Which modules are adapted.
    pub targets: Targets,
    /// Which layers are adapted; all by default.
    pub layers: Option<Vec<usize>>,
    /// Ranks by module pattern.
    pub ranks: BTreeMap<String, usize>,
    /// Alphas by module pattern.
    pub alphas: BTreeMap<String, f64>,
    /// How fresh matrices start.
    pub start: Start,
}

impl LoraConfig {
    /// rank and alpha on linear layers by name. Panics for rank 0.
    #[track_caller]
    pub fn new(rank: usize, alpha: f64, targets: &[&str]) -> LoraConfig {
        assert!(rank > 0, "an adapter of rank 0");
        LoraConfig {
            rank,
            alpha,
            is_rank_stabilised: false,
            has_magnitudes: false,
            targets: Targets::Names(targets.iter().map(|t| t.to_string()).collect()),
            layers: None,
            ranks: BTreeMap::new(),
            alphas: BTreeMap::new(),
            start: Start::Uniform,
        }
    }

    /// Rank and scale of the adapter of a module, by its path in the base model; `None` where it has none.
    pub fn of(&self, module: &str) -> Option<(usize, f64)> {
        if !self.is_target(module) {
            return None;
        }
        let rank = pattern_of(&self.ranks, module).copied().unwrap_or(self.rank);
        let alpha = pattern_of(&self.alphas, module).copied().unwrap_or(self.alpha);
        let over = if self.is_rank_stabilised { (rank as f64).sqrt() } else { rank as f64 };
        Some((rank, alpha / over))
    }

    fn is_target(&self, module: &str) -> bool {
        let is_named = match &self.targets {
            Targets::Names(names) => names.iter().any(|name| ends_in(module, name)),
            Targets::Pattern(pattern, _) => pattern.is_match(module),
            Targets::AllLinear => LINEARS.iter().any(|name| ends_in(module, name)),
        };
        let layer = || {
            let after = module.split_once("layers.")?.1;
            after.split('.').next()?.parse::<usize>().ok()
        };
        is_named && self.layers.as_ref().is_none_or(|layers| layer().is_some_and(|n| layers.contains(&n)))
    }

    /// Reads an `adapter_config.json`.
    ///
    /// # Errors
    /// `Data` naming the field: what is missing, out of range, or would change what is computed and is not supported.
    pub fn from_json(fields: &Value) -> Result<LoraConfig> {
        let Some(map) = fields.as_object() else { return Err(Error::data("an object is needed")) };
        match map.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            other => {
                let found = other.unwrap_or("missing");
                return Err(Error::data(format!("peft_type is {found}: only LORA adapters are read")));
            }
        }
        refuse_what_differs(map)?;
        let whole = |value: &Value| value.as_u64().filter(|v| (1..=RANK_MOST).contains(v)).map(|v| v as usize);
        let rank = map.get("r").map_or(Ok(8), |v| {
            whole(v).ok_or_else(|| Error::data(format!("r is {v}: a whole number in 1..={RANK_MOST} is needed")))
        })?;
        let number = |value: &Value| value.as_f64().filter(|v| v.is_finite() && *v != 0.0);
        let alpha = map.get("lora_alpha").map_or(Ok(8.0), |v| {
            number(v).ok_or_else(|| Error::data(format!("lora_alpha is {v}: a number other than 0 is needed")))
        })?;
        Ok(LoraConfig {
            rank,
            alpha,
            is_rank_stabilised: flag(map, "use_rslora")?,
            has_magnitudes: flag(map, "use_dora")?,
            targets: targets(map)?,
            layers: layers(map)?,
            ranks: by_pattern(map, "rank_pattern", whole)?,
            alphas: by_pattern(map, "alpha_pattern", number)?,
            start: match map.get("init_lora_weights") {
                Some(Value::String(text)) if text == "gaussian" => Start::Gaussian,
                _ => Start::Uniform,
            },
        })
    }

    /// The text of an `adapter_config.json` that PEFT reads; `base` is the name or folder of the base model.
    pub fn to_json(&self, base: &str) -> String {
        let targets = match &self.targets {
            Targets::Names(names) => json!(names),
            Targets::Pattern(_, text) => json!(text),
            Targets::AllLinear => json!("all-linear"),
        };
        let start = match self.start {
            Start::Uniform => json!(true),
            Start::Gaussian => json!("gaussian"),
        };
        let fields = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "inference_mode": true,
            "r": self.rank,
            "lora_alpha": if self.alpha.fract() == 0.0 { json!(self.alpha as i64) } else { json!(self.alpha) },
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": start,
            "use_rslora": self.is_rank_stabilised,
            "use_dora": self.has_magnitudes,
            "target_modules": targets,
            "layers_to_transform": self.layers,
            "layers_pattern": null,
            "rank_pattern": self.ranks,
            "alpha_pattern": self.alphas,
            "modules_to_save": null,
        });
        serde_json::to_string_pretty(&fields).expect("plain data") + "\n"
    }
}

/// Whether a path is `name` or ends in it after a dot.
fn ends_in(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The value of the first pattern that matches the path from a dot or its begin to its end, as PEFT looks it up.
fn pattern_of<'a, T>(patterns: &'a BTreeMap<String, T>, module: &str) -> Option<&'a T> {
    let fits = |pattern: &str| {
        regex::Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(module))
    };
    patterns.iter().find(|(pattern, _)| fits(pattern)).map(|(_, value)| value)
}

fn flag(map: &Map<String, Value>, name: &str) -> Result<bool> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(Error::data(format!("{name} is {other}: true or false is needed"))),
    }
}

fn targets(map: &Map<String, Value>) -> Result<Targets> {
    let bad = |what: String| Error::data(format!("target_modules {what}"));
    match map.get("target_modules") {
        Some(Value::String(text)) if text == "all-linear" => Ok(Targets::AllLinear),
        Some(Value::String(text)) => match regex::Regex::new(&format!("^(?:{text})$")) {
            Ok(pattern) => Ok(Targets::Pattern(pattern, text.clone())),
            Err(_) => Err(bad(format!("{text:?} is not a pattern that can be read: list the names of the modules"))),
        },
        Some(Value::Array(names)) if !names.is_empty() => {
            let texts: Option<Vec<String>> = names.iter().map(|v| v.as_str().map(str::to_string)).collect();
            let mut texts = texts.ok_or_else(|| bad("holds something that is no text".into()))?;
            texts.sort();
            texts.dedup();
            Ok(Targets::Names(texts))
        }
        Some(other) => Err(bad(format!("is {other}: names of modules are needed"))),
        None => Err(bad("is missing".into())),
    }
}

fn layers(map: &Map<String, Value>) -> Result<Option<Vec<usize>>> {
    let whole = |v: &Value| v.as_u64().filter(|&n| n < 1 << 16).map(|n| n as usize);
    match map.get("layers_to_transform") {
        None | Some(Value::Null) => Ok(None),
        Some(one @ Value::Number(_)) if whole(one).is_some() => Ok(whole(one).map(|n| vec![n])),
        Some(Value::Array(list)) if list.iter().all(|v| whole(v).is_some()) => {
            Ok(Some(list.iter().filter_map(whole).collect()))
        }
        Some(other) => Err(Error::data(format!("layers_to_transform is {other}: numbers of layers are needed"))),
    }
}

fn by_pattern<T>(
    map: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<String, T>> {
    let bad = |what: String| Error::data(format!("{name}: {what}"));
    match map.get(name) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(patterns)) => {
            let one = |(pattern, value): (&String, &Value)| {
                regex::Regex::new(pattern)
                    .map_err(|_| bad(format!("{pattern:?} is not a pattern that can be read")))?;
                let value = read(value).ok_or_else(|| bad(format!("{pattern:?} is {value}: a number is needed")))?;
                Ok((pattern.clone(), value))
            };
            patterns.iter().map(one).collect()
        }
        Some(other) => Err(bad(format!("is {other}: an object is needed"))),
    }
}

/// Fields with which an adapter computes something else than LoRA, rsLoRA and DoRA on linear layers do.
fn refuse_what_differs(map: &Map<String, Value>) -> Result<()> {
    let is_set = |name: &str| match map.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    };
    let others = [
        "fan_in_fan_out",
        "modules_to_save",
        "lora_bias",
        "alora_invocation_tokens",
        "layer_replication",
        "megatron_config",
        "target_parameters",
        "trainable_token_indices",
        "use_bdlora",
        "use_qalora",
        "exclude_modules",
    ];
    if let Some(name) = others.iter().find(|name| is_set(name)) {
        return Err(Error::data(format!(
            "{name} is {}: not supported, the adapter would compute something else",
            map[*name]
        )));
    }
    match map.get("bias").map(|v| (v.as_str(), v)) {
        None | Some((Some("none"), _)) => Ok(()),
        Some((_, other)) => Err(Error::data(format!("bias is {other}: adapters with biases are not supported"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: &str = "model.layers.3.self_attn.q_proj";

    #[test]
    fn modules_are_chosen_as_peft_chooses_them() {
        let read =
            |targets: Value| LoraConfig::from_json(&json!({"peft_type": "LORA", "target_modules": targets})).unwrap();
        assert_eq!(read(json!(["q_proj"])).of(Q), Some((8, 1.0)));
        assert_eq!(read(json!(["self_attn.q_proj"])).of(Q), Some((8, 1.0)));
        assert_eq!(read(json!(["_proj"])).of(Q), None, "a name ends after a dot");
        assert_eq!(read(json!([Q])).of(Q), Some((8, 1.0)));
        assert_eq!(read(json!(r".*\.layers\.[0-4]\.self_attn\.[qv]_proj")).of(Q), Some((8, 1.0)));
        assert_eq!(read(json!("q_proj")).of(Q), None, "a pattern matches the whole path");
        assert_eq!(read(json!("all-linear")).of("model.layers.0.mlp.down_proj"), Some((8, 1.0)));
        assert_eq!(read(json!("all-linear")).of("lm_head"), None);
    }

    #[test]
    fn scales_and_patterns_are_pefts() {
        let config = LoraConfig::from_json(&json!({"peft_type": "LORA", "r": 16, "lora_alpha": 32, "use_rslora": true,
            "target_modules": ["q_proj", "v_proj"], "rank_pattern": {"layers.3.self_attn.q_proj": 4},
            "alpha_pattern": {"v_proj": 10}, "layers_to_transform": [3, 4]}))
        .unwrap();
        assert_eq!(config.of(Q), Some((4, 16.0)));
        assert_eq!(config.of("model.layers.4.self_attn.q_proj"), Some((16, 8.0)));
        assert_eq!(config.of("model.layers.4.self_attn.v_proj"), Some((16, 2.5)));
        assert_eq!(config.of("model.layers.5.self_attn.v_proj"), None);
        let again: Value = serde_json::from_str(&config.to_json("base")).unwrap();
        assert_eq!(LoraConfig::from_json(&again).unwrap().of(Q), Some((4, 16.0)));
    }

    #[test]
    fn what_would_compute_something_else_is_refused_by_name() {
        let cases = [
            json!({"peft_type": "LOHA", "target_modules": ["q_proj"]}),
            json!({"peft_type": "LORA"}),
            json!({"peft_type": "LORA", "target_modules": []}),
            json!({"peft_type": "LORA", "target_modules": "(a"}),
            json!({"peft_type": "LORA", "target_modules": ["q_proj"], "r": 0}),
            json!({"peft_type": "LORA", "target_modules": ["q_proj"], "r": 1e9}),
            json!({"peft_type": "LORA", "target_modules": ["q_proj"], "lora_alpha": 0}),
            json!({"peft_type": "LORA", "target_modules": ["q_proj"], "bias": "all"}),
            json!({"peft_type": "LORA", "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
            json!({"peft_type": "LORA", "target_modules": ["q_proj"], "fan_in_fan_out": true}),
            json!({"peft_type": "LORA", "target_modules": ["q_proj"], "rank_pattern": {"(": 3}}),
        ];
        for case in cases {
            assert_eq!(LoraConfig::from_json(&case).unwrap_err().kind(), crate::error::Kind::Data, "{case}");
        }
    }
}
