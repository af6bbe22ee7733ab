//! A bag of words that answers without listening: the adversary of generated benchmarks.
//!
//! A conditional logit over hashed features (see `features`): each option gets the sum of the weights of its features,
//! the four sums become probabilities by softmax, and the weights follow the gradient of the log-likelihood with
//! AdaGrad. Which features, which step and how many passes is decided on a part of the training questions whose
//! recordings the rest does not hold; then all of them train the model. What it scores above 25 % on questions about
//! other recordings is what the questions give away.
//!
//! Deterministic: the order of passes is drawn from the seed over questions sorted by id, sums run in order, and
//! threads only take questions apart and try plans beside each other.

use super::features::{Example, TABLE_BITS, hash_of, mix, slot};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::text::questions::{Letter, Question};
use rayon::prelude::*;

/// Questions taken apart at a time.
const CHUNK: usize = 2048;
/// Most questions on which features, step and passes are chosen.
const CHOICE_MAX: usize = 12_000;
/// Share of these that is held out: one in this many.
const HELD_OUT: u64 = 4;
/// Most passes.
const PASSES_MAX: usize = 6;
/// A trial ends when this many passes have not made it better.
const PATIENCE: usize = 2;
/// Fewest questions on each side for a choice to mean something.
const CHOICE_MIN: usize = 40;
/// Keeps AdaGrad's first steps finite.
const EPSILON: f32 = 1e-6;

/// Which features are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Features {
    Shape,
    ShapeAndWords,
    All,
}

/// How a model is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plan {
    features: Features,
    rate: f32,
    passes: usize,
}

/// A trained bag of words.
pub struct BagOfWords {
    plan: Plan,
    /// Weight and sum of squared gradients of each slot.
    table: Vec<[f32; 2]>,
    /// Share of held-out questions answered right when the plan was chosen, where there were enough.
    held_out_accuracy: Option<f64>,
}

impl BagOfWords {
    /// Trains on questions with answers; `seed` decides the order of the passes.
    ///
    /// # Errors
    /// `Data` when there is no question with an answer.
    pub fn train(questions: &[Question], seed: u64) -> Result<BagOfWords> {
        let mut sorted: Vec<&Question> = questions.iter().filter(|q| q.answer_letter.is_some()).collect();
        if sorted.is_empty() {
            return Err(Error::data("no training question has an answer_letter"));
        }
        sorted.sort_by(|a, b| a.sample_id.cmp(&b.sample_id));
        Rng::new(seed, "bag of words", 0).shuffle(&mut sorted);
        let (plan, held_out_accuracy) = choose_plan(&sorted, seed);
        let mut model = BagOfWords::empty(plan);
        for pass in 0..plan.passes {
            let mut order = sorted.clone();
            Rng::new(seed, "bag of words pass", pass as u64).shuffle(&mut order);
            for chunk in order.chunks(CHUNK) {
                let examples: Vec<Example> = chunk.par_iter().map(|q| Example::of(q)).collect();
                examples.iter().for_each(|example| model.step(example));
            }
        }
        model.held_out_accuracy = held_out_accuracy;
        Ok(model)
    }

    fn empty(plan: Plan) -> BagOfWords {
        BagOfWords { plan, table: vec![[0.0; 2]; 1 << TABLE_BITS], held_out_accuracy: None }
    }

    /// The most probable option (the first of equals).
    pub fn choose(&self, question: &Question) -> Letter {
        self.best(&Example::of(question))
    }

    /// What was decided before training, in words.
    pub fn describe(&self) -> String {
        let Plan { features, rate, passes } = self.plan;
        let features = match features {
            Features::Shape => "shape",
            Features::ShapeAndWords => "shape and words",
            Features::All => "shape, words and pairs",
        };
        let held_out = match self.held_out_accuracy {
            Some(accuracy) => format!("{:.1} % of held-out questions right", 100.0 * accuracy),
            None => "too few questions to hold some out".into(),
        };
        format!("features: {features}; step {rate}; {passes} passes; {held_out}")
    }

    fn best(&self, example: &Example) -> Letter {
        let sums = self.sums(example);
        Letter::ALL.into_iter().rev().max_by(|a, b| sums[a.index()].total_cmp(&sums[b.index()])).expect("four letters")
    }

    fn sums(&self, example: &Example) -> [f32; 4] {
        std::array::from_fn(|option| {
            let mut sum = 0.0;
            self.each(example, option, |slot| sum += self.table[slot as usize][0]);
            sum
        })
    }

    /// Every feature of an option that the plan uses.
    fn each(&self, example: &Example, option: usize, mut take: impl FnMut(u32)) {
        example.shape[option].iter().for_each(|slot| take(*slot));
        if self.plan.features != Features::Shape {
            example.words[option].iter().for_each(|slot| take(*slot));
        }
        if self.plan.features == Features::All {
            for word in &example.question_words {
                example.option_words[option].iter().for_each(|other| take(slot(mix(*word, *other))));
            }
        }
    }

    fn step(&mut self, example: &Example) {
        let truth = example.truth.expect("training questions have answers");
        let slots: [Vec<u32>; 4] = std::array::from_fn(|option| {
            let mut slots = Vec::new();
            self.each(example, option, |slot| slots.push(slot));
            slots
        });
        let sums = slots.each_ref().map(|slots| slots.iter().map(|slot| self.table[*slot as usize][0]).sum::<f32>());
        let top = sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights = sums.map(|sum| (sum - top).exp());
        let total: f32 = weights.iter().sum();
        for (option, slots) in slots.iter().enumerate() {
            let gradient = weights[option] / total - if option == truth.index() { 1.0 } else { 0.0 };
            for slot in slots {
                let [weight, squares] = &mut self.table[*slot as usize];
                *squares += gradient * gradient;
                *weight -= self.plan.rate * gradient / (*squares + EPSILON).sqrt();
            }
        }
    }

    fn accuracy(&self, examples: &[Example]) -> f64 {
        let right = examples.iter().filter(|example| Some(self.best(example)) == example.truth).count();
        right as f64 / examples.len() as f64
    }
}

/// The plan that answers held-out questions best, and how well. The first of equals: fewer features, fewer passes.
fn choose_plan(questions: &[&Question], seed: u64) -> (Plan, Option<f64>) {
    let some = &questions[..questions.len().min(CHOICE_MAX)];
    let is_held = |text: &str| mix(hash_of(text), seed).is_multiple_of(HELD_OUT);
    let mut parts: (Vec<&Question>, Vec<&Question>) = some.iter().partition(|q| is_held(&q.file_name));
    if parts.0.len().min(parts.1.len()) < CHOICE_MIN {
        parts = some.iter().partition(|q| is_held(&q.sample_id));
    }
    let (held, kept) = parts;
    if held.len().min(kept.len()) < CHOICE_MIN {
        return (Plan { features: Features::ShapeAndWords, rate: 0.02, passes: 3 }, None);
    }
    let [held, kept] = [held, kept].map(|side| side.par_iter().map(|q| Example::of(q)).collect::<Vec<Example>>());
    let features = [Features::Shape, Features::ShapeAndWords, Features::All];
    let plans: Vec<Plan> = features
        .into_iter()
        .flat_map(|features| [0.05, 0.01].map(|rate| Plan { features, rate, passes: PASSES_MAX }))
        .collect();
    let tried: Vec<(Plan, f64)> = plans.par_iter().map(|plan| try_plan(*plan, &kept, &held, seed)).collect();
    let best = tried.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    let (plan, accuracy) = best.expect("plans were tried");
    (plan, Some(accuracy))
}

/// The number of passes after which a plan answers held-out questions best, and the share of them it has right then.
fn try_plan(plan: Plan, kept: &[Example], held: &[Example], seed: u64) -> (Plan, f64) {
    let mut model = BagOfWords::empty(plan);
    let mut best = (Plan { passes: 1, ..plan }, 0.0);
    for passes in 1..=plan.passes {
        let mut order: Vec<&Example> = kept.iter().collect();
        Rng::new(seed, "bag of words pass", passes as u64).shuffle(&mut order);
        order.into_iter().for_each(|example| model.step(example));
        let accuracy = model.accuracy(held);
        if accuracy > best.1 {
            best = (Plan { passes, ..plan }, accuracy);
        } else if passes >= best.0.passes + PATIENCE {
            break;
        }
    }
    best
}
