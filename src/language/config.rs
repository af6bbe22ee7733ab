//! The sizes of a Qwen2 decoder, from the `config.json` of a Hugging Face folder.

use crate::error::{Error, Result};
use serde_json::{Value, json};

/// What a decoder is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Rows of the embedding: token ids lie below.
    pub vocabulary: usize,
    /// Numbers per token between layers.
    pub hidden: usize,
    /// Width of the gated units.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, a divisor of the query heads.
    pub heads_kv: usize,
    /// Numbers per head.
    pub width: usize,
    /// Base of the wavelengths of the rotary embedding.
    pub rope_theta: f64,
    /// Added to the mean square in norms.
    pub rms_norm_eps: f64,
    /// Whether the output layer is the embedding.
    pub tied: bool,
    /// The most positions the model was made for.
    pub positions: usize,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
}

/// The largest sizes that are accepted: well above any model of this family, well below what arithmetic on them could not hold.
const MOST: [(&str, usize); 7] = [
    ("vocab_size", 1 << 21),
    ("hidden_size", 1 << 16),
    ("intermediate_size", 1 << 20),
    ("num_hidden_layers", 1 << 10),
    ("num_attention_heads", 1 << 10),
    ("num_key_value_heads", 1 << 10),
    ("max_position_embeddings", 1 << 22),
];

impl DecoderConfig {
    /// The sizes of a preset: `pocket`, or a published Qwen2 size, `0.5b`, `1.5b`, `7b`.
    ///
    /// # Errors
    /// `Usage` for any other name.
    pub fn preset(name: &str) -> Result<DecoderConfig> {
        let (hidden, intermediate, layers, heads, heads_kv, vocabulary, tied) = match name {
            "pocket" => (256, 704, 6, 4, 2, 2048, false),
            "0.5b" => (896, 4864, 24, 14, 2, 151_936, true),
            "1.5b" => (1536, 8960, 28, 12, 2, 151_936, true),
            "7b" => (3584, 18_944, 28, 28, 4, 152_064, false),
            other => return Err(Error::usage(format!("size {other:?}: known are pocket, 0.5b, 1.5b and 7b"))),
        };
        Ok(DecoderConfig {
            vocabulary,
            hidden,
            intermediate,
            layers,
            heads,
            heads_kv,
            width: hidden / heads,
            rope_theta: 1e6,
            rms_norm_eps: 1e-6,
            tied,
            positions: 32_768,
            initializer_range: 0.02,
        })
    }

    /// Reads the fields of a `config.json` (or of the `text_config` in one). What is absent has the default of
    /// Transformers' Qwen2Config, but for the sizes, which must be there.
    ///
    /// # Errors
    /// `Data` naming the field: a size that is missing or out of range, heads that do not fit, and everything that would
    /// change what is computed and is not supported (sliding windows, scaled rotary embeddings, another activation,
    /// quantized weights).
    pub fn from_json(fields: &Value) -> Result<DecoderConfig> {
        refuse_what_differs(fields)?;
        let size = |name: &str| size(fields, name);
        let (hidden, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let heads_kv = match fields.get("num_key_value_heads") {
            None | Some(Value::Null) => heads,
            _ => size("num_key_value_heads")?,
        };
        if hidden % heads != 0 || heads % heads_kv != 0 {
            return Err(Error::data(format!(
                "num_attention_heads = {heads} must divide hidden_size = {hidden} and be a multiple of \
                 num_key_value_heads = {heads_kv}"
            )));
        }
        let width = hidden / heads;
        if width % 2 != 0 {
            return Err(Error::data(format!("heads of {width} numbers: the rotary embedding needs an even number")));
        }
        if let Some(named) = fields.get("head_dim").filter(|v| !v.is_null() && v.as_u64() != Some(width as u64)) {
            return Err(Error::data(format!("head_dim is {named}, hidden_size / num_attention_heads is {width}")));
        }
        let positions = match fields.get("max_position_embeddings") {
            None => 32_768,
            _ => size("max_position_embeddings")?,
        };
        Ok(DecoderConfig {
            vocabulary: size("vocab_size")?,
            hidden,
            intermediate: size("intermediate_size")?,
            layers: size("num_hidden_layers")?,
            heads,
            heads_kv,
            width,
            rope_theta: rope_theta(fields)?,
            rms_norm_eps: positive(fields, "rms_norm_eps", 1e-6)?,
            tied: flag(fields, "tie_word_embeddings")?,
            positions,
            initializer_range: positive(fields, "initializer_range", 0.02)?,
        })
    }

    /// The text of a `config.json` that Transformers reads; `eos` ends an answer.
    pub fn to_json(&self, eos: Option<u32>) -> String {
        let fields = json!({
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "attention_dropout": 0.0,
            "bos_token_id": null,
            "eos_token_id": eos,
            "dtype": "float32",
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": self.initializer_range,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.positions,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.heads_kv,
            "pad_token_id": null,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_parameters": {"rope_theta": self.rope_theta, "rope_type": "default"},
            "rope_theta": self.rope_theta,
            "sliding_window": null,
            "tie_word_embeddings": self.tied,
            "use_cache": true,
            "use_sliding_window": false,
            "vocab_size": self.vocabulary,
        });
        serde_json::to_string_pretty(&fields).expect("plain data") + "\n"
    }

    /// Linear layers of every layer: the path below `model.layers.N.`, outputs, inputs, whether there is a bias.
    pub fn linears(&self) -> [(&'static str, usize, usize, bool); 7] {
        let (q, kv) = (self.heads * self.width, self.heads_kv * self.width);
        [
            ("self_attn.q_proj", q, self.hidden, true),
            ("self_attn.k_proj", kv, self.hidden, true),
            ("self_attn.v_proj", kv, self.hidden, true),
            ("self_attn.o_proj", self.hidden, q, false),
            ("mlp.gate_proj", self.intermediate, self.hidden, false),
            ("mlp.up_proj", self.intermediate, self.hidden, false),
            ("mlp.down_proj", self.hidden, self.intermediate, false),
        ]
    }

    /// Every tensor of the model in files: name and shape, layer by layer.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> + '_ {
        let layer = |n: usize| {
            let norms = ["input_layernorm", "post_attention_layernorm"]
                .map(|name| (format!("model.layers.{n}.{name}.weight"), vec![self.hidden]));
            let linears = self.linears().into_iter().flat_map(move |(name, outputs, inputs, has_bias)| {
                let weight = (format!("model.layers.{n}.{name}.weight"), vec![outputs, inputs]);
                let bias = has_bias.then(|| (format!("model.layers.{n}.{name}.bias"), vec![outputs]));
                std::iter::once(weight).chain(bias)
            });
            norms.into_iter().chain(linears)
        };
        let table = vec![self.vocabulary, self.hidden];
        let head = (!self.tied).then(|| ("lm_head.weight".to_string(), table.clone()));
        std::iter::once(("model.embed_tokens.weight".to_string(), table))
            .chain((0..self.layers).flat_map(layer))
            .chain([("model.norm.weight".to_string(), vec![self.hidden])])
            .chain(head)
    }

    /// The number of numbers of the model.
    pub fn count(&self) -> usize {
        let linear = |&(_, m, k, has_bias): &(&str, usize, usize, bool)| m * k + if has_bias { m } else { 0 };
        let layer = self.linears().iter().map(linear).sum::<usize>() + 2 * self.hidden;
        let tables = if self.tied { 1 } else { 2 };
        self.layers * layer + tables * self.vocabulary * self.hidden + self.hidden
    }
}

/// A whole number of at least 1.
fn size(fields: &Value, name: &str) -> Result<usize> {
    let most = MOST.iter().find(|(n, _)| *n == name).map_or(usize::MAX, |&(_, most)| most);
    match fields.get(name).and_then(Value::as_u64).and_then(|v| usize::try_from(v).ok()) {
        Some(v) if (1..=most).contains(&v) => Ok(v),
        _ => {
            let found = fields.get(name).map_or("missing".into(), Value::to_string);
            Err(Error::data(format!("{name} is {found}: a whole number in 1..={most} is needed")))
        }
    }
}

fn positive(fields: &Value, name: &str, default: f64) -> Result<f64> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => match value.as_f64() {
            Some(v) if v > 0.0 && v < 1e12 => Ok(v),
            _ => Err(Error::data(format!("{name} is {value}: a positive number is needed"))),
        },
    }
}

fn flag(fields: &Value, name: &str) -> Result<bool> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(Error::data(format!("{name} is {other}: true or false is needed"))),
    }
}

/// From `rope_parameters` (Transformers 5) or beside it (before).
fn rope_theta(fields: &Value) -> Result<f64> {
    match fields.get("rope_parameters") {
        Some(parameters @ Value::Object(map)) if map.contains_key("rope_theta") => {
            positive(parameters, "rope_theta", 10_000.0)
        }
        _ => positive(fields, "rope_theta", 10_000.0),
    }
}

fn refuse_what_differs(fields: &Value) -> Result<()> {
    if !fields.is_object() {
        return Err(Error::data("an object with the sizes of the model is needed"));
    }
    let refuse =
        |what: String| Err(Error::data(format!("{what}: not supported, the model would compute something else")));
    match fields.get("hidden_act").map(|v| (v.as_str(), v)) {
        None | Some((Some("silu" | "swish"), _)) => {}
        Some((_, other)) => return refuse(format!("hidden_act is {other}")),
    }
    for name in ["rope_scaling", "rope_parameters"] {
        let Some(rope) = fields.get(name).filter(|v| !v.is_null()) else { continue };
        // Transformers takes `rope_parameters` without a type for the default.
        let kind = rope.get("rope_type").or_else(|| rope.get("type"));
        let is_default = kind.map_or(name == "rope_parameters", |kind| kind.as_str() == Some("default"));
        if !is_default {
            return refuse(format!("{name} of type {}", kind.map_or("unknown".into(), Value::to_string)));
        }
    }
    let slides = |v: &Value| v.as_array().is_some_and(|l| l.iter().any(|kind| kind != "full_attention"));
    let has_window = fields.get("sliding_window").is_some_and(|v| !v.is_null());
    if flag(fields, "use_sliding_window")? && has_window || fields.get("layer_types").is_some_and(slides) {
        return refuse("attention in a sliding window".into());
    }
    if let Some(how) = fields.get("quantization_config").filter(|v| !v.is_null()) {
        // How weights are packed is seen on their tensors, one by one.
        match how.get("quant_method").and_then(Value::as_str) {
            Some("bitsandbytes") => {}
            method => return refuse(format!("weights quantized by {}", method.unwrap_or("unknown"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Value {
        json!({"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "rms_norm_eps": 1e-6})
    }

    #[test]
    fn published_sizes_have_the_published_counts() {
        // The counts of the models' cards, and of notes on them: exact.
        for (name, count) in [("0.5b", 494_032_768), ("1.5b", 1_543_714_304), ("7b", 7_615_616_512)] {
            assert_eq!(DecoderConfig::preset(name).unwrap().count(), count, "{name}");
        }
    }

    #[test]
    fn both_spellings_of_the_rotary_base_are_read_and_the_default_is_transformers() {
        let theta = |change: Value| {
            let mut all = fields();
            change.as_object().unwrap().iter().for_each(|(k, v)| all[k] = v.clone());
            DecoderConfig::from_json(&all).unwrap().rope_theta
        };
        assert_eq!(theta(json!({})), 10_000.0);
        assert_eq!(theta(json!({"rope_theta": 1e6, "rope_scaling": null})), 1e6);
        assert_eq!(theta(json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}})), 5e5);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let config = DecoderConfig::preset("pocket").unwrap();
        let text: Value = serde_json::from_str(&config.to_json(Some(3))).unwrap();
        assert_eq!(DecoderConfig::from_json(&text).unwrap(), config);
    }

    #[test]
    fn what_would_compute_something_else_is_refused_by_name() {
        let refusals = [
            ("hidden_act", json!("gelu")),
            ("rope_scaling", json!({"type": "yarn", "factor": 4.0})),
            ("rope_parameters", json!({"rope_theta": 1e6, "rope_type": "llama3"})),
            ("layer_types", json!(["full_attention", "sliding_attention"])),
            ("quantization_config", json!({"quant_method": "gptq"})),
            ("hidden_size", json!(0)),
            ("hidden_size", json!(66)),
            ("hidden_size", json!("64")),
            ("hidden_size", json!(1u64 << 40)),
            ("num_key_value_heads", json!(3)),
            ("num_attention_heads", json!(64)),
            ("head_dim", json!(32)),
            ("rms_norm_eps", json!(-1.0)),
            ("tie_word_embeddings", json!("yes")),
            ("vocab_size", json!(null)),
        ];
        for (name, value) in refusals {
            let mut all = fields();
            all[name] = value.clone();
            let error = DecoderConfig::from_json(&all).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Data, "{name} {value}");
        }
        assert!(DecoderConfig::from_json(&json!([])).is_err());
    }
}
