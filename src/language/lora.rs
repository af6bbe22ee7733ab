//! Which linear layers have adapters and of what rank: `adapter_config.json` as PEFT reads and writes it.

use super::config::DecoderConfig;
use crate::error::{Error, Result};
use regex::RegexSet;
use serde_json::{Map, Value, json};

/// Names of the seven linear layers of a decoder layer.
pub const LINEARS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
/// The largest rank that is accepted.
const RANK_MOST: u64 = 4096;
/// The most target modules that are listed one by one: every linear layer of the largest model by its whole path.
const TARGETS_MOST: usize = 1 << 13;
/// The most patterns of ranks or alphas: one for every linear layer of the largest published model.
const PATTERNS_MOST: usize = 1 << 10;
/// The largest machine that a pattern may become, in bytes: a repetition of repetitions does not fit.
const PATTERN_BYTES_MOST: usize = 1 << 20;

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
    /// Which layers are adapted, in rising order; all by default.
    pub layers: Option<Vec<usize>>,
    /// Ranks by module pattern.
    pub ranks: Patterns<usize>,
    /// Alphas by module pattern.
    pub alphas: Patterns<f64>,
    /// How fresh matrices start.
    pub start: Start,
}

/// Values by module pattern: the first pattern that matches decides.
#[derive(Clone, Debug, Default)]
pub struct Patterns<T> {
    pairs: Vec<(String, T)>,
    all: RegexSet,
}

impl<T: Copy> Patterns<T> {
    /// Patterns in the order in which they are tried.
    ///
    /// # Errors
    /// `Data` naming a pattern that cannot be read or is too large, or saying that there are too many.
    pub fn new(pairs: Vec<(String, T)>) -> Result<Patterns<T>> {
        if pairs.len() > PATTERNS_MOST {
            return Err(Error::data(format!("{} patterns, at most {PATTERNS_MOST} are accepted", pairs.len())));
        }
        for (text, _) in &pairs {
            pattern(text)?;
        }
        let all = regex::RegexSetBuilder::new(pairs.iter().map(|(text, _)| format!("^(?:{text})$")))
            .size_limit(8 * PATTERN_BYTES_MOST)
            .build()
            .map_err(|_| Error::data("the patterns are too large together"))?;
        Ok(Patterns { pairs, all })
    }

    /// The value of the first pattern that matches the path of a module from its begin, or from after a dot, to its end: as
    /// PEFT looks it up.
    pub fn of(&self, module: &str) -> Option<T> {
        if self.pairs.is_empty() {
            return None;
        }
        let starts = std::iter::once(0).chain(module.match_indices('.').map(|(at, _)| at + 1));
        // What follows a dot is not the begin of the path.
        let counts = |start: usize, i: &usize| start == 0 || !self.pairs[*i].0.starts_with('^');
        let first =
            starts.filter_map(|start| self.all.matches(&module[start..]).iter().find(|i| counts(start, i))).min();
        first.map(|i| self.pairs[i].1)
    }
}

impl<T: Copy> Patterns<T> {
    fn to_json(&self, of: impl Fn(T) -> Value) -> Value {
        self.pairs.iter().map(|(text, value)| (text.clone(), of(*value))).collect::<Map<String, Value>>().into()
    }
}

/// A number that is whole is written without a fraction.
fn plain(value: f64) -> Value {
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}

/// A pattern that matches a whole path.
fn pattern(text: &str) -> Result<regex::Regex> {
    let built = regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(PATTERN_BYTES_MOST).build();
    built.map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => Error::data(format!("the pattern {:?} is too large", shortened(text))),
        _ => Error::data(format!("{:?} is not a pattern that can be read", shortened(text))),
    })
}

/// Text of others in a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_string(),
    }
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
            ranks: Patterns::default(),
            alphas: Patterns::default(),
            start: Start::Uniform,
        }
    }

    /// Rank and scale of the adapter of a module, by its path in the base model; `None` where it has none.
    pub fn of(&self, module: &str) -> Option<(usize, f64)> {
        if !self.is_target(module) {
            return None;
        }
        let rank = self.ranks.of(module).unwrap_or(self.rank);
        let alpha = self.alphas.of(module).unwrap_or(self.alpha);
        let over = if self.is_rank_stabilised { (rank as f64).sqrt() } else { rank as f64 };
        Some((rank, alpha / over))
    }

    /// Every tensor of an adapter of a decoder: its name, which begins with `prefix` where the decoder's modules do, and its
    /// shape.
    pub fn tensors(&self, config: &DecoderConfig, prefix: &str) -> impl Iterator<Item = (String, Vec<usize>)> {
        let modules = (0..config.layers).flat_map(|n| config.linears().map(|linear| (n, linear)));
        modules.flat_map(move |(n, (name, outputs, inputs, _))| {
            let module = format!("{prefix}model.layers.{n}.{name}");
            let rank = self.of(&module).map(|(rank, _)| rank);
            let of = |rank: usize| {
                let a = (format!("{module}.lora_A.weight"), vec![rank, inputs]);
                let b = (format!("{module}.lora_B.weight"), vec![outputs, rank]);
                let lengths = self.has_magnitudes.then(|| (format!("{module}.lora_magnitude_vector"), vec![outputs]));
                [Some(a), Some(b), lengths].into_iter().flatten()
            };
            rank.map(of).into_iter().flatten()
        })
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
        is_named && self.layers.as_ref().is_none_or(|layers| layer().is_some_and(|n| layers.binary_search(&n).is_ok()))
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
            start: start(map)?,
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
            "lora_alpha": plain(self.alpha),
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": start,
            "use_rslora": self.is_rank_stabilised,
            "use_dora": self.has_magnitudes,
            "target_modules": targets,
            "layers_to_transform": self.layers,
            "layers_pattern": null,
            "rank_pattern": self.ranks.to_json(Value::from),
            "alpha_pattern": self.alphas.to_json(plain),
            "modules_to_save": null,
        });
        serde_json::to_string_pretty(&fields).expect("plain data") + "\n"
    }
}

/// Whether a path is `name` or ends in it after a dot.
fn ends_in(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
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
        Some(Value::String(text)) => match pattern(text) {
            Ok(pattern) => Ok(Targets::Pattern(pattern, text.clone())),
            Err(e) => Err(e.context("target_modules").hint("list the names of the modules instead")),
        },
        Some(Value::Array(names)) if names.len() > TARGETS_MOST => {
            Err(bad(format!("lists {} names, at most {TARGETS_MOST} are accepted", names.len())))
        }
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

/// How A started. Starts that also change the base weights when PEFT loads the adapter make another model of the base.
fn start(map: &Map<String, Value>) -> Result<Start> {
    match map.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => Ok(Start::Uniform),
        Some(Value::String(text)) if text == "gaussian" => Ok(Start::Gaussian),
        Some(Value::String(text)) if text == "orthogonal" || text == "eva" => Ok(Start::Uniform),
        Some(other) => Err(Error::data(format!(
            "init_lora_weights is {other}: PEFT changes the base's weights for it, or does not know it"
        ))
        .hint("in PEFT, save the adapter as plain LoRA (path_initial_model_for_weight_conversion), or merge it there")),
    }
}

fn layers(map: &Map<String, Value>) -> Result<Option<Vec<usize>>> {
    let whole = |v: &Value| v.as_u64().filter(|&n| n < 1 << 16).map(|n| n as usize);
    match map.get("layers_to_transform") {
        None | Some(Value::Null) => Ok(None),
        // For PEFT no number is no choice.
        Some(Value::Array(list)) if list.is_empty() => Ok(None),
        Some(one @ Value::Number(_)) if whole(one).is_some() => Ok(whole(one).map(|n| vec![n])),
        Some(Value::Array(list)) if list.iter().all(|v| whole(v).is_some()) => {
            let mut layers: Vec<usize> = list.iter().filter_map(whole).collect();
            layers.sort_unstable();
            layers.dedup();
            Ok(Some(layers))
        }
        Some(other) => Err(Error::data(format!("layers_to_transform is {other}: numbers of layers are needed"))),
    }
}

fn by_pattern<T: Copy + Default>(
    map: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Patterns<T>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(Patterns::default()),
        Some(Value::Object(patterns)) => {
            let one = |(pattern, value): (&String, &Value)| match read(value) {
                Some(value) => Ok((pattern.clone(), value)),
                None => Err(Error::data(format!("{name}: {:?} is {value}: a number is needed", shortened(pattern)))),
            };
            let pairs = patterns.iter().map(one).collect::<Result<_>>()?;
            Patterns::new(pairs).map_err(|e| e.context(name))
        }
        Some(other) => Err(Error::data(format!("{name}: is {other}: an object is needed"))),
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
    fn starts_that_change_the_base_are_refused() {
        let start = |value: Value| {
            let fields = json!({"peft_type": "LORA", "target_modules": ["q_proj"], "init_lora_weights": value});
            LoraConfig::from_json(&fields)
        };
        for fine in [json!(true), json!(false), json!("gaussian"), json!("orthogonal"), json!("eva"), json!(null)] {
            assert!(start(fine.clone()).is_ok(), "{fine}");
        }
        // PEFT takes the adapter's start off the base's weights, or computes them anew.
        for other in ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga", "zeros"] {
            let error = start(json!(other)).unwrap_err();
            assert!(error.kind() == crate::error::Kind::Data && error.message().contains(other), "{other}: {error}");
        }
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
        let ordered = LoraConfig::from_json(&json!({"peft_type": "LORA", "target_modules": ["q_proj"],
            "rank_pattern": {"q_proj": 5, "^q_proj": 6, "layers.3.self_attn.q_proj": 4}}))
        .unwrap();
        assert_eq!(ordered.of(Q).unwrap().0, 5, "the first pattern of the file decides");
        assert_eq!(ordered.of("q_proj").unwrap().0, 5);
        let whole = LoraConfig::from_json(&json!({"peft_type": "LORA", "target_modules": ["q_proj"],
            "rank_pattern": {"^q_proj": 6, "^model.layers.3.self_attn.q_proj": 7}}))
        .unwrap();
        assert_eq!(whole.of(Q).unwrap().0, 7, "a begin is the begin of the whole path");
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
