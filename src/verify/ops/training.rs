//! AdamW with clipping by the global norm and the cosine schedule, over the whole run that the file records: the
//! optimizer and the schedule of all training stages.

use super::{Names, require};
use crate::error::Result;
use crate::nn::{Builder, Init, Params};
use crate::ops::adamw::AdamW;
use crate::optim::{Cosine, Optimizer};
use crate::tensor::Tensor;
use crate::verify::compare::Checker;

/// Weight decay of matrices; vectors (norms, biases) have none.
const DECAY: f64 = 0.1;
/// Largest global norm of the gradients.
const CLIP: f64 = 1.0;

/// `lrs`, parameter `w<n>.<step>`, or gradient before clipping `g<n>.<step>`.
pub(super) fn is_adamw_tensor(name: &str) -> bool {
    let numbered = |letter: char| {
        let (parameter, step) = name.strip_prefix(letter)?.split_once('.')?;
        Some((parameter.parse::<usize>().ok()?, step.parse::<usize>().ok()?))
    };
    name == "lrs" || numbered('w').is_some() || numbered('g').is_some()
}

pub(super) fn adamw(check: &mut Checker, names: &Names) -> Result<()> {
    let (given, [steps]) = check.input_of::<1>(&names.of("lrs"))?;
    let schedule = schedule(given.data())?;
    let rates: Vec<f32> = (0..steps).map(|i| schedule.rate(i as u64) as f32).collect();
    check.value(&names.of("lrs"), &Tensor::from_slice(&[steps], &rates));
    let mut params = parameters(check, names)?;
    let rule = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8 };
    let mut optimizer = Optimizer::new(&params, rule, DECAY, CLIP);
    for step in 0..steps {
        let mut gradient = Tensor::zeros(&[params.flat_len()]);
        for (info, place) in params.infos().iter().zip(params.places()) {
            let name = names.of(&format!("g{}.{step}", &info.name[1..]));
            let values = check.input_shaped(&name, info.shape.as_slice())?;
            gradient.data_mut()[place.offset..place.offset + place.len].copy_from_slice(values.data());
        }
        optimizer.step(&mut params, &gradient, schedule.rate(step as u64));
        for (info, id) in params.infos().iter().zip(params.ids()) {
            check.value(&names.of(&format!("{}.{}", info.name, step + 1)), &params.tensor(id));
        }
    }
    Ok(())
}

/// The rates are largest when the warm-up ends, and the largest is the base rate.
fn schedule(rates: &[f32]) -> Result<Cosine> {
    require(rates.iter().all(|r| r.is_finite()), || "lrs holds a number that is not finite".into())?;
    let warm = (0..rates.len()).fold(0, |best, i| if rates[i] > rates[best] { i } else { best });
    // Half a step less than `warm`, so that rounding up gives `warm` for any length.
    let warmup_ratio = (warm as f64 - 0.5).max(0.0) / rates.len() as f64;
    Ok(Cosine { peak: rates[warm] as f64, warmup_ratio, total: rates.len() as u64 })
}

/// The parameters w1, w2, .. as they are before the first step.
fn parameters(check: &mut Checker, names: &Names) -> Result<Params> {
    let (mut builder, mut starts) = (Builder::new(), Vec::new());
    while check.has(&names.of(&format!("w{}.0", starts.len() + 1))) {
        let name = format!("w{}", starts.len() + 1);
        let start = check.input(&names.of(&format!("{name}.0")))?;
        builder.param(name, start.shape(), Init::Constant(0.0), start.shape().len() > 1);
        starts.push(start);
    }
    let mut params = builder.finish(0);
    let offsets: Vec<usize> = params.places().map(|p| p.offset).collect();
    for (start, offset) in starts.iter().zip(offsets) {
        params.flat_mut()[offset..offset + start.len()].copy_from_slice(start.data());
    }
    Ok(params)
}
