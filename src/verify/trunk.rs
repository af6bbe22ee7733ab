//! The encoder's trunk: audio -> features -> stem -> blocks, and every gradient of sum(output * d_output).

use super::compare::Checker;
use crate::encoder::trunk::Trunk;
use crate::encoder::{EncoderConfig, InputMode, stft_map};
use crate::error::{Error, Result};
use crate::nn::{Builder, Forward, Params};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use serde_json::Value;
use std::path::Path;

pub(super) fn run(dir: &Path, config: &Value, check: &mut Checker) -> Result<()> {
    let config = sizes(config)?;
    let weights = super::open_weights(dir, weights_at_least(&config))?;
    let mut builder = Builder::new();
    let trunk = Trunk::new(&mut builder, "", &config);
    let mut params = builder.finish(0);
    params.load_trained(&weights)?;
    let map = features(&config, check)?;
    check.value("features", &map);
    let wants_gradients = check.has_prefix("grad.") || check.has("d_features");
    if wants_gradients && !check.has("d_output") {
        return Err(Error::data("expected.safetensors has gradients but no d_output to start them from"));
    }
    if check.has("d_output") { gradients(&trunk, &params, map, check) } else { values(&trunk, &params, map, check) }
}

/// Sizes that config.json leaves out are the paper's, as in the reference.
fn sizes(config: &Value) -> Result<EncoderConfig> {
    let mut fields = config.clone();
    fields.as_object_mut().expect("has model_type").remove("model_type");
    let config: EncoderConfig = serde_json::from_value(fields).map_err(|e| Error::data(format!("config.json: {e}")))?;
    let mut errors = Vec::new();
    config.check(&mut errors);
    if config.input != InputMode::Map {
        errors.push("input: the trunk is verified on the map".into());
    }
    if errors.is_empty() { Ok(config) } else { Err(Error::data(format!("config.json: {}", errors.join("; ")))) }
}

/// The largest weights of the sizes, without biases and norms.
fn weights_at_least(c: &EncoderConfig) -> usize {
    let attention = 4 * c.hidden * c.hidden;
    let across = 2 * c.hidden * (c.hidden / c.groups) * c.kernel_frequency;
    let along = 2 * c.hidden * c.ffn + 3 * c.ffn * (c.ffn / c.groups) * c.kernel_time;
    c.squeeze * c.bands() * c.bands() + c.layers * (attention + across + along)
}

/// The map [B, F, T, 8]: computed from `audio` where there is one, else the file's own.
fn features(config: &EncoderConfig, check: &mut Checker) -> Result<Tensor> {
    if !check.has("audio") {
        let (map, [_, bins, _, channels]) = check.input_of::<4>("features")?;
        if (bins, channels) != (config.bands(), 8) {
            return Err(Error::data(format!("features {:?} do not fit {} bins x 8", map.shape(), config.bands())));
        }
        return Ok(map);
    }
    let (audio, [clips, channels, samples]) = check.input_of::<3>("audio")?;
    if channels != 4 || samples < config.samples_min() {
        return Err(Error::data(format!(
            "audio has shape {:?}: [clips, 4, at least {} samples] is needed",
            audio.shape(),
            config.samples_min()
        )));
    }
    let maps: Vec<Tensor> =
        audio.data().chunks_exact(4 * samples).map(|clip| stft_map(clip, config.n_fft, config.hop)).collect();
    let [_, bins, frames, width] = maps[0].dims("map");
    let mut all = Tensor::uninit(&[clips, bins, frames, width]);
    for (out, map) in all.data_mut().chunks_exact_mut(bins * frames * width).zip(&maps) {
        out.copy_from_slice(map.data());
    }
    Ok(all)
}

fn compare_trace(trace: &[Var], check: &mut Checker) {
    check.value("after_stem", trace[0].tensor());
    for (i, x) in trace[1..].iter().enumerate() {
        check.value(&format!("after_layer.{i}"), x.tensor());
    }
    check.value("output", trace.last().expect("starts with the stem").tensor());
}

fn values(trunk: &Trunk, params: &Params, map: Tensor, check: &mut Checker) -> Result<()> {
    let mut c = Forward::new(Tape::without_gradients(), params);
    let trace = trunk.trace(&mut c, &Var::constant(map));
    compare_trace(&trace, check);
    Ok(())
}

fn gradients(trunk: &Trunk, params: &Params, map: Tensor, check: &mut Checker) -> Result<()> {
    let mut c = Forward::new(Tape::new(), params);
    let map = c.tape.leaf(map);
    let trace = trunk.trace(&mut c, &map);
    compare_trace(&trace, check);
    let output = trace.last().expect("starts with the stem").clone();
    drop(trace);
    let seed = check.input_shaped("d_output", output.shape())?;
    let vars: Vec<Var> = params.ids().map(|id| c.param(id)).collect();
    let names = || params.infos().iter().map(|p| p.name.as_str());
    let grads = c.tape.backward(&output, seed)?;
    grads.expect_all(names().zip(&vars).chain([("features", &map)]))?;
    for (name, var) in names().zip(&vars) {
        check.gradient(&format!("grad.{name}"), grads.get(var).expect("checked above"));
    }
    check.gradient("d_features", grads.get(&map).expect("checked above"));
    Ok(())
}
