//! Comparing computed tensors with expected ones, and accounting for every name in the file.

use super::{GRADIENT_TOLERANCE, LANGUAGE_TOLERANCE, Options, Report, VALUE_TOLERANCE};
use crate::check::relative_l2;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::weights::{Entry, Tensors};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A gradient this much smaller than the model's largest is rounding noise in the expected file: its exact value is
/// zero (a bias in front of a softmax or a per-channel normalisation), so relative error means nothing. What counts as
/// noise there is noise here: the difference must stay below the same limit.
const NOISE: f64 = 1e-5;
/// Most axes of a tensor.
const MAX_RANK: usize = 5;

/// How one tensor compares.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The name in expected.safetensors.
    pub name: String,
    /// Relative L2 error; infinite when nothing could be compared.
    pub error: f64,
    /// What is allowed.
    pub tolerance: f64,
    /// Whether the error is allowed.
    pub ok: bool,
    /// What is unusual about the comparison.
    pub note: Option<String>,
}

impl Comparison {
    /// Error over tolerance; more than 1 fails.
    pub fn share(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.tolerance }
    }
    /// The error and what is allowed, in words.
    pub fn describe(&self) -> String {
        let note = self.note.as_ref().map(|n| format!("; {n}")).unwrap_or_default();
        format!("error {:.1e}, allowed {:.1e}{note}", self.error, self.tolerance)
    }
    /// `{"name", "error", "tolerance", "ok"}`, with `"note"` where there is one.
    pub fn to_json(&self) -> Value {
        let mut all = json!({"name": self.name, "error": self.error, "tolerance": self.tolerance, "ok": self.ok});
        if let Some(note) = &self.note {
            all["note"] = note.as_str().into();
        }
        all
    }
}

/// Computed tensors to be written out.
pub struct Dump(Vec<(String, Vec<usize>, Vec<f32>)>);

impl Dump {
    /// Writes them as safetensors.
    pub fn write(&self, path: &Path) -> Result<()> {
        let entries: Vec<Entry> = self.0.iter().map(|(name, shape, data)| Entry::f32(name, shape, data)).collect();
        crate::weights::write(path, &entries, &[])?;
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Value,
    Gradient,
    /// A value of a language model: many layers of rounding.
    Language,
    /// Whole numbers: equal or wrong.
    Exact,
}

/// Hands out the inputs of the expected file, takes computed tensors, and knows which names nobody asked for.
pub(super) struct Checker<'a> {
    expected: &'a Tensors,
    tolerance: Option<f64>,
    keeps: bool,
    inputs: BTreeSet<String>,
    computed: BTreeMap<String, (Class, Vec<usize>, Vec<f32>)>,
    missing: Vec<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(expected: &'a Tensors, options: &Options) -> Checker<'a> {
        Checker {
            expected,
            tolerance: options.tolerance,
            keeps: options.dump.is_some(),
            inputs: BTreeSet::new(),
            computed: BTreeMap::new(),
            missing: Vec::new(),
        }
    }
    /// Every name in the file.
    pub(super) fn names(&self) -> Vec<String> {
        self.expected.names().map(str::to_string).collect()
    }
    /// Whether the file has this tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.expected.contains(name)
    }
    /// Whether the file has a tensor whose name starts so.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.expected.names().any(|n| n.starts_with(prefix))
    }
    /// A tensor that the computation starts from.
    pub(super) fn input(&mut self, name: &str) -> Result<Tensor> {
        let shape = self.expected.shape(name)?;
        if shape.len() > MAX_RANK {
            return Err(Error::data(format!("{name} has {} axes, at most {MAX_RANK} are accepted", shape.len())));
        }
        let values = self.expected.f32(name)?;
        self.inputs.insert(name.to_string());
        Ok(Tensor::from_slice(shape, &values))
    }
    /// An input of exactly `N` axes, none of them empty.
    pub(super) fn input_of<const N: usize>(&mut self, name: &str) -> Result<(Tensor, [usize; N])> {
        let tensor = self.input(name)?;
        match <[usize; N]>::try_from(tensor.shape()) {
            Ok(dims) if dims.iter().all(|&d| d > 0) => Ok((tensor, dims)),
            _ => Err(Error::data(format!("{name} has shape {:?}, {N} axes are needed", tensor.shape()))),
        }
    }
    /// An input of exactly this shape.
    pub(super) fn input_shaped(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.input(name)?;
        if tensor.shape() != shape {
            return Err(Error::data(format!("{name} has shape {:?}, {shape:?} is needed", tensor.shape())));
        }
        Ok(tensor)
    }
    /// Whole numbers of exactly this shape.
    pub(super) fn input_whole(&mut self, name: &str, shape: &[usize]) -> Result<Vec<i64>> {
        let stored = self.expected.shape(name)?;
        if stored != shape {
            return Err(Error::data(format!("{name} has shape {stored:?}, {shape:?} is needed")));
        }
        self.inputs.insert(name.to_string());
        Ok(self.expected.i64(name)?.into_owned())
    }
    /// The last two extents of an expected output, for sizes that only it reveals.
    pub(super) fn output_extents(&self, name: &str) -> Result<[usize; 2]> {
        match self.expected.shape(name)? {
            [.., a, b] => Ok([*a, *b]),
            other => Err(Error::data(format!("{name} has shape {other:?}, at least two axes are needed"))),
        }
    }
    /// Takes a computed value; ignored when the file does not expect it.
    pub(super) fn value(&mut self, name: &str, tensor: &Tensor) {
        self.take(name, Class::Value, tensor);
    }
    /// Takes a computed value of a language model; ignored when the file does not expect it.
    pub(super) fn language_value(&mut self, name: &str, tensor: &Tensor) {
        self.take(name, Class::Language, tensor);
    }
    /// Takes a computed gradient; ignored when the file does not expect it.
    pub(super) fn gradient(&mut self, name: &str, tensor: &Tensor) {
        self.take(name, Class::Gradient, tensor);
    }
    /// The expected numbers of an output.
    pub(super) fn expected(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.expected.f32(name)?.into_owned())
    }
    /// Takes computed whole numbers, which must be equal.
    pub(super) fn exact(&mut self, name: &str, tensor: &Tensor) {
        self.take(name, Class::Exact, tensor);
    }
    fn take(&mut self, name: &str, class: Class, tensor: &Tensor) {
        if self.has(name) {
            self.computed.insert(name.to_string(), (class, tensor.shape().to_vec(), tensor.data().to_vec()));
        }
    }
    /// Notes what is not built yet; its tensors are not compared.
    pub(super) fn missing(&mut self, what: String) {
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }
    /// Marks tensors as belonging to something missing.
    pub(super) fn set_aside(&mut self, name: &str) {
        self.inputs.insert(name.to_string());
    }

    /// Compares everything.
    pub(super) fn finish(self, kind: String) -> Result<(Report, Dump)> {
        let wide = |v: &[f32]| v.iter().map(|&x| x as f64).collect::<Vec<f64>>();
        let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        // Numbers that stand in no other relation (single ops) are always compared relatively.
        let is_model = kind != "ops";
        let mut largest = 0.0f64;
        let mut expected = BTreeMap::new();
        for (name, (class, ..)) in &self.computed {
            let values = match class {
                Class::Exact => self.expected.i64(name)?.iter().map(|&v| v as f64).collect(),
                _ => wide(&self.expected.f32(name)?),
            };
            if *class == Class::Gradient && norm(&values).is_finite() {
                largest = largest.max(norm(&values));
            }
            expected.insert(name.as_str(), values);
        }
        let mut tensors = Vec::new();
        for name in self.expected.names() {
            let Some((class, shape, actual)) = self.computed.get(name) else {
                if !self.inputs.contains(name) {
                    tensors.push(self.unknown(name));
                }
                continue;
            };
            let (actual, wanted) = (wide(actual), &expected[name]);
            let tolerance = match class {
                Class::Exact => 0.0,
                Class::Value => self.tolerance.unwrap_or(VALUE_TOLERANCE),
                Class::Gradient => self.tolerance.unwrap_or(GRADIENT_TOLERANCE),
                Class::Language => self.tolerance.unwrap_or(LANGUAGE_TOLERANCE),
            };
            let is_noise = is_model && *class == Class::Gradient && norm(wanted) < NOISE * largest;
            let found = compare(name, &actual, wanted, tolerance, is_noise.then_some(largest));
            tensors.push(found.with_shapes(shape, self.expected.shape(name)?));
        }
        if tensors.is_empty() && self.missing.is_empty() {
            return Err(Error::data("expected.safetensors holds nothing to compare with"));
        }
        let dump = if self.keeps { self.dump()? } else { Dump(Vec::new()) };
        Ok((Report { kind, tensors, missing: self.missing }, dump))
    }

    fn unknown(&self, name: &str) -> Comparison {
        let tolerance = self.tolerance.unwrap_or(VALUE_TOLERANCE);
        let note = Some("nothing here computes a tensor of this name".to_string());
        Comparison { name: name.to_string(), error: f64::INFINITY, tolerance, ok: false, note }
    }

    fn dump(&self) -> Result<Dump> {
        let mut all = Vec::new();
        for (name, (.., data)) in &self.computed {
            let stored = self.expected.shape(name)?.to_vec();
            let fits = stored.iter().product::<usize>() == data.len();
            all.push((name.clone(), if fits { stored } else { vec![data.len()] }, data.clone()));
        }
        Ok(Dump(all))
    }
}

impl Comparison {
    /// Not the same where the extents differ, axes of one element aside.
    fn with_shapes(mut self, computed: &[usize], expected: &[usize]) -> Comparison {
        let own = |shape: &[usize]| shape.iter().copied().filter(|&n| n != 1).collect::<Vec<usize>>();
        if self.ok && own(computed) != own(expected) {
            self.ok = false;
            self.note = Some(format!("has shape {expected:?}, {computed:?} is computed"));
        }
        self
    }
}

/// Compares one tensor; `noise_over` is the largest gradient when the expected one is rounding noise.
fn compare(name: &str, actual: &[f64], expected: &[f64], tolerance: f64, noise_over: Option<f64>) -> Comparison {
    let mut result = Comparison { name: name.to_string(), error: f64::INFINITY, tolerance, ok: false, note: None };
    if actual.len() != expected.len() {
        result.note = Some(format!("{} numbers were computed, {} are expected", actual.len(), expected.len()));
        return result;
    }
    result.error = relative_l2(actual, expected);
    result.ok = result.error <= tolerance;
    if let (false, Some(largest)) = (result.ok, noise_over) {
        let difference = actual.iter().zip(expected).map(|(a, e)| (a - e) * (a - e)).sum::<f64>().sqrt();
        let error = difference / largest;
        result.error = if error.is_finite() { error } else { f64::INFINITY };
        result.tolerance = tolerance.min(NOISE);
        result.ok = result.error <= result.tolerance;
        result.note = Some("zero in exact arithmetic: the difference over the largest gradient".into());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_of_rounding_noise_is_compared_with_the_largest() {
        // Closed form: the difference is 2e-9, the largest gradient 1, the limit 1e-5.
        let noise = compare("grad.k.bias", &[1e-9], &[-1e-9], 1e-4, Some(1.0));
        assert!(noise.ok && noise.note.is_some() && (noise.error - 2e-9).abs() < 1e-20, "{noise:?}");
        assert!(!compare("grad.k.bias", &[1.1e-5], &[-1e-9], 1e-4, Some(1.0)).ok);
        assert!(!compare("grad.k.bias", &[1e-9], &[-1e-9], 1e-4, None).ok);
        assert!(!compare("grad.k.bias", &[f64::NAN], &[-1e-9], 1e-4, Some(1.0)).ok);
    }

    #[test]
    fn what_is_not_a_number_or_of_another_length_fails() {
        assert!(!compare("x", &[f64::NAN], &[1.0], 1e30, None).ok);
        assert!(!compare("x", &[1.0], &[f64::INFINITY], 1e30, None).ok);
        assert!(!compare("x", &[1.0, 2.0], &[1.0], 1e30, None).ok);
        assert!(compare("x", &[0.0], &[0.0], 0.0, None).ok);
    }
}
