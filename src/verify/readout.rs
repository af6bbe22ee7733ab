//! The encoder's read-out: trunk output -> heads, the matched loss, and every gradient of it.

use super::compare::Checker;
use crate::encoder::readout::Readout;
use crate::encoder::{EncoderConfig, Output};
use crate::error::{Error, Result};
use crate::nn::{Builder, Forward};
use crate::ops::spatial_loss::{SOURCES_MAX, Target, TargetSource, Weights, spatial_loss};
use crate::tape::{Tape, Var};
use serde_json::Value;
use std::path::Path;

pub(super) fn run(dir: &Path, config: &Value, check: &mut Checker) -> Result<()> {
    let (config, classes) = sizes(config)?;
    let d = config.width();
    let weights = super::open_weights(dir, 13 * d * d + classes * d)?;
    let mut builder = Builder::new();
    let readout = Readout::new(&mut builder, "", &config, classes);
    let mut params = builder.finish(0);
    params.load_trained(&weights)?;
    let (x, [clips, _, _, hidden]) = check.input_of::<4>("x")?;
    if hidden != config.hidden {
        return Err(Error::data(format!("x has {hidden} channels, config.json says hidden = {}", config.hidden)));
    }
    let mut c = Forward::new(Tape::new(), &params);
    let x = c.tape.leaf(x);
    let out = readout.forward(&mut c, &x, None);
    for (name, var) in outputs(&out) {
        check.value(&format!("out.{name}"), var.tensor());
    }
    if !check.has("label.count") {
        return Ok(());
    }
    let labels = labels(clips, &config, classes, check)?;
    let loss = spatial_loss(&mut c.tape, &out.predictions(), &labels, Weights::default());
    check.value("loss", loss.tensor());
    let vars: Vec<Var> = params.ids().map(|id| c.param(id)).collect();
    let names = || params.infos().iter().map(|p| p.name.as_str());
    let grads = c.tape.backward(&loss, crate::tensor::Tensor::scalar(1.0))?;
    grads.expect_all(names().zip(&vars).chain([("x", &x)]))?;
    for (name, var) in names().zip(&vars) {
        check.gradient(&format!("grad.{name}"), grads.get(var).expect("checked above"));
    }
    check.gradient("d_x", grads.get(&x).expect("checked above"));
    Ok(())
}

fn sizes(config: &Value) -> Result<(EncoderConfig, usize)> {
    let hidden = super::size(config, "hidden", 1, 4096)?;
    let classes = super::size(config, "classes", 1, 1024)?;
    let heads = super::size(config, "heads", 1, 4096)?;
    let steps = super::size(config, "steps", 1, 16)?;
    if (2 * hidden) % heads != 0 {
        return Err(Error::data(format!("config.json: heads = {heads} does not divide 2 x hidden = {}", 2 * hidden)));
    }
    Ok((EncoderConfig { hidden, heads, steps, ..EncoderConfig::default() }, classes))
}

fn outputs(out: &Output) -> [(&'static str, &Var); 8] {
    [
        ("z", &out.z),
        ("attractors", &out.attractors),
        ("exist_logit", &out.exist_logit),
        ("direction", &out.direction),
        ("distance_m", &out.distance_m),
        ("class_logits", &out.class_logits),
        ("log_surface", &out.log_surface),
        ("absorption", &out.absorption),
    ]
}

/// The labels of the file: masks are 0 or 1.
fn labels(clips: usize, config: &EncoderConfig, classes: usize, check: &mut Checker) -> Result<Vec<Target>> {
    const S: usize = SOURCES_MAX;
    let count = check.input_whole("label.count", &[clips])?;
    let class = check.input_whole("label.klass", &[clips, S])?;
    let direction = check.input_shaped("label.direction", &[clips, S, 3])?;
    let distance_m = check.input_shaped("label.distance_m", &[clips, S])?;
    let log_surface = check.input_shaped("label.log_surface", &[clips])?;
    let absorption = check.input_shaped("label.absorption", &[clips])?;
    let class_mask = mask("label.class_mask", clips, check)?;
    let room_mask = mask("label.room_mask", clips, check)?;
    let most = S.min(config.steps);
    let label = |clip: usize| {
        let sources = usize::try_from(count[clip]).ok().filter(|&s| s <= most);
        let sources =
            sources.ok_or_else(|| Error::data(format!("label.count of clip {clip} is {}: 0..={most}", count[clip])))?;
        let source = |j: usize| {
            let at = clip * S + j;
            let index = usize::try_from(class[at]).ok().filter(|&k| k < classes);
            let index = index.ok_or_else(|| {
                Error::data(format!("label.klass of clip {clip}, source {j} is {}: 0..{classes}", class[at]))
            })?;
            Ok(TargetSource {
                direction: [0, 1, 2].map(|i| direction.data()[at * 3 + i] as f64),
                distance_m: distance_m.data()[at] as f64,
                class: class_mask[clip].then_some(index),
            })
        };
        let room = [&log_surface, &absorption].map(|part| part.data()[clip] as f64);
        Ok(Target { sources: (0..sources).map(source).collect::<Result<_>>()?, room: room_mask[clip].then_some(room) })
    };
    (0..clips).map(label).collect()
}

fn mask(name: &str, clips: usize, check: &mut Checker) -> Result<Vec<bool>> {
    let values = check.input_shaped(name, &[clips])?;
    let bit = |&v: &f32| match v {
        0.0 => Ok(false),
        1.0 => Ok(true),
        other => Err(Error::data(format!("{name} holds {other}: a mask is 0 or 1"))),
    };
    values.data().iter().map(bit).collect()
}
