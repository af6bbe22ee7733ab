//! The permutation-matched loss of the spatial encoder (`loss()` of the reference; paper 4.2.1, notes 9.4).
//!
//! For a clip with S sources: mean BCE of the existence logits over steps 1..S+1 (targets 1 for the first S); the
//! cheapest permutation of the first S slots over the sources of the mean over sources of
//! w_dir (1 - cos) + w_dist smoothL1(ln(1+d), ln(1+d*)) + w_class CE; and w_room (smoothL1(ln S) + smoothL1(a)).
//! Class and room terms carry masks. Clips are averaged. Forward and gradients are one pass; the gradients of
//! the chosen assignment are saved, the choice itself is not differentiated. Predictions are f32 on every device.

use crate::check::{Case, Real, Reference, input};
use crate::device::Device;
use crate::kernels::{self, Launch};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Most sources a clip can have.
pub const SOURCES_MAX: usize = 3;

/// Weights of the terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Existence (counting).
    pub exist: f64,
    /// Direction.
    pub direction: f64,
    /// Distance.
    pub distance: f64,
    /// Class.
    pub class: f64,
    /// Room surface and absorption.
    pub room: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { exist: 1.0, direction: 1.0, distance: 0.5, class: 0.5, room: 0.1 }
    }
}

/// What the predictions for one clip are compared with: numbers alone, made from a `scene::ClipTruth`.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// One entry per source, at most [`SOURCES_MAX`].
    pub sources: Vec<TargetSource>,
    /// Natural logarithm of the room's surface in square metres, and its mean absorption; `None` masks the room terms.
    pub room: Option<[f64; 2]>,
}

/// What the slot matched to one source is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSource {
    /// Unit vector towards the source (x front, y left, z up).
    pub direction: [f64; 3],
    /// Metres.
    pub distance_m: f64,
    /// Index of the class; `None` masks the class term.
    pub class: Option<usize>,
}

/// The predictions that the loss looks at.
pub struct Predictions<'a> {
    /// [B, K]
    pub exist_logit: &'a Var,
    /// [B, K, 3], unit rows
    pub direction: &'a Var,
    /// [B, K]
    pub distance_m: &'a Var,
    /// [B, K, C]
    pub class_logits: &'a Var,
    /// [B]
    pub log_surface: &'a Var,
    /// [B]
    pub absorption: &'a Var,
}

/// Mean loss over the clips, a scalar.
#[track_caller]
pub fn spatial_loss(tape: &mut Tape, out: &Predictions, targets: &[Target], weights: Weights) -> Var {
    let [b, k] = out.exist_logit.tensor().dims("spatial_loss exist_logit");
    let [_, _, c] = out.class_logits.tensor().dims("spatial_loss class_logits");
    assert_eq!(b, targets.len(), "spatial_loss: one target per clip");
    out.direction.tensor().expect_shape("spatial_loss direction", &[b, k, 3]);
    out.distance_m.tensor().expect_shape("spatial_loss distance_m", &[b, k]);
    out.log_surface.tensor().expect_shape("spatial_loss log_surface", &[b]);
    out.absorption.tensor().expect_shape("spatial_loss absorption", &[b]);
    let vars = [out.exist_logit, out.direction, out.distance_m, out.class_logits, out.log_surface, out.absorption];
    let plain = Plain { k, c, targets: targets.to_vec(), weights };
    let (loss, saved) = plain.evaluate_on_device(vars.map(Var::tensor));
    let ids = vars.map(Var::id);
    tape.record("spatial_loss", &vars, loss, move |dy, grads| {
        for (id, gradient) in ids.into_iter().zip(saved).filter(|(id, _)| id.is_some()) {
            grads.add(id, times(gradient, dy));
        }
    })
}

/// A saved gradient times the gradient of the loss, which is read where it lies.
fn times(mut saved: Tensor, dy: &Tensor) -> Tensor {
    if saved.device() == Device::Host {
        saved.data_mut().iter_mut().for_each(|v| *v *= dy.item());
        return saved;
    }
    let (mut d, n) = (saved.like(saved.shape()), saved.len());
    kernels::spatial_loss_bwd_f32(Launch::elements(n, 256), &mut d, &saved, dy, n);
    d
}

#[derive(Clone)]
struct Plain {
    k: usize,
    c: usize,
    targets: Vec<Target>,
    weights: Weights,
}

/// Every order of 0..n, the identity first.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    let mut all: Vec<Vec<usize>> = Vec::new();
    for first in 0..n {
        for rest in &shorter {
            let shifted = rest.iter().map(|&r| if r >= first { r + 1 } else { r });
            all.push(std::iter::once(first).chain(shifted).collect());
        }
    }
    all
}

/// Value and slope of the smooth L1 distance with unit transition.
fn smooth_l1<R: Real>(a: R, b: R) -> (R, R) {
    let (d, one, half) = (a - b, R::of(1.0), R::of(0.5));
    if d.abs() < one { (half * d * d, d) } else { (d.abs() - half, if d > R::of(0.0) { one } else { -one }) }
}

/// ln sum e^x.
fn log_sum_exp<R: Real>(x: &[R]) -> R {
    let top = x.iter().copied().fold(R::of(f64::NEG_INFINITY), |a, b| a.max(b));
    top + x.iter().map(|&v| (v - top).exp()).sum::<R>().ln()
}

/// Numbers per clip that the kernel is told about the truth: the room and for each source direction and distance.
const TRUTH: usize = 2 + 4 * SOURCES_MAX;
/// Whole numbers per clip: how many sources, whether the room is known, and each source's class (-1: not known).
const KNOWN: usize = 2 + SOURCES_MAX;

impl Plain {
    /// Loss and the gradient of every prediction, where the predictions lie.
    fn evaluate_on_device(&self, x: [&Tensor; 6]) -> (Tensor, [Tensor; 6]) {
        let mut d = x.map(|x| x.like_f32(x.shape()));
        if x[0].device() == Device::Host {
            let (loss, gradients) = self.evaluate(&x.map(Tensor::data));
            d.iter_mut().zip(gradients).for_each(|(d, gradient)| d.data_mut().copy_from_slice(&gradient));
            return (Tensor::scalar(loss), d);
        }
        let b = self.targets.len();
        let (truth, known) = self.truth();
        let truth = Tensor::from_slice(&[b, TRUTH], &truth).to(x[0].device());
        let known = Tensor::from_slice(&[b, KNOWN], &known).to(x[0].device());
        let (mut loss, mut losses) = (x[0].like_f32(&[]), x[0].like_f32(&[b]));
        let [exist, direction, distance, classes, surface, absorption] = x;
        let [d_exist, d_direction, d_distance, d_classes, d_surface, d_absorption] = &mut d;
        let w = &self.weights;
        let [w_exist, w_direction, w_distance, w_class, w_room] =
            [w.exist, w.direction, w.distance, w.class, w.room].map(|w| w as f32);
        #[rustfmt::skip]
        kernels::SpatialLossFwdF32 {
            losses: &mut losses, d_exist, d_direction, d_distance, d_classes, d_surface, d_absorption,
            exist, direction, distance, classes, surface, absorption, truth: &truth, known: &known,
            b, k: self.k, c: self.c, w_exist, w_direction, w_distance, w_class, w_room,
        }
        .launch(Launch::rows(b, 32));
        kernels::spatial_loss_fwd_reduce_f32(Launch::rows(1, 256), &mut loss, &losses, b);
        (loss, d)
    }

    /// What the kernel is told, [B, TRUTH] and [B, KNOWN]; zeros and no class beyond the sources of a clip.
    fn truth(&self) -> (Vec<f32>, Vec<i32>) {
        let mut truth = vec![0.0f32; self.targets.len() * TRUTH];
        let mut known = vec![-1; self.targets.len() * KNOWN];
        let rows = truth.chunks_exact_mut(TRUTH).zip(known.chunks_exact_mut(KNOWN));
        for ((truth, known), target) in rows.zip(&self.targets) {
            let count = target.sources.len();
            assert!(count <= SOURCES_MAX && count <= self.k, "a clip has at most {SOURCES_MAX} sources");
            (known[0], known[1]) = (count as i32, target.room.is_some().into());
            let [log_surface, absorption] = target.room.unwrap_or_default();
            (truth[0], truth[1]) = (log_surface as f32, absorption as f32);
            for ((to, class), source) in truth[2..].chunks_exact_mut(4).zip(&mut known[2..]).zip(&target.sources) {
                let [x, y, z] = source.direction;
                let values = [x, y, z, source.distance_m.ln_1p()];
                to.iter_mut().zip(values).for_each(|(to, value)| *to = value as f32);
                *class = source.class.map_or(-1, |class| class as i32);
            }
        }
        (truth, known)
    }

    /// Weighted terms of one slot against one source.
    fn pair_cost<R: Real>(&self, x: &[&[R]], at: usize, source: &TargetSource) -> R {
        let w = &self.weights;
        let cosine: R = (0..3).map(|j| x[1][at * 3 + j] * R::of(source.direction[j])).sum();
        let (distance, _) = smooth_l1(x[2][at].ln_1p(), R::of(source.distance_m).ln_1p());
        let mut cost = R::of(w.direction) * (R::of(1.0) - cosine) + R::of(w.distance) * distance;
        if let Some(class) = source.class {
            let logits = &x[3][at * self.c..(at + 1) * self.c];
            cost += R::of(w.class) * (log_sum_exp(logits) - logits[class]);
        }
        cost
    }

    fn add_pair_gradient<R: Real>(&self, x: &[&[R]], at: usize, source: &TargetSource, scale: R, g: &mut [Vec<R>]) {
        let w = &self.weights;
        for j in 0..3 {
            g[1][at * 3 + j] -= scale * R::of(w.direction * source.direction[j]);
        }
        let (_, slope) = smooth_l1(x[2][at].ln_1p(), R::of(source.distance_m).ln_1p());
        g[2][at] += scale * R::of(w.distance) * slope / (R::of(1.0) + x[2][at]);
        if let Some(class) = source.class {
            let logits = &x[3][at * self.c..(at + 1) * self.c];
            let total = log_sum_exp(logits);
            for (j, &logit) in logits.iter().enumerate() {
                let target = R::of(if j == class { 1.0 } else { 0.0 });
                g[3][at * self.c + j] += scale * R::of(w.class) * ((logit - total).exp() - target);
            }
        }
    }

    /// Loss and the gradient of every prediction.
    fn evaluate<R: Real>(&self, x: &[&[R]]) -> (R, Vec<Vec<R>>) {
        let zero = R::of(0.0);
        let mut g: Vec<Vec<R>> = x.iter().map(|x| vec![zero; x.len()]).collect();
        let clip_share = R::of(1.0 / self.targets.len() as f64);
        let mut loss = zero;
        for (i, target) in self.targets.iter().enumerate() {
            let (s, w) = (target.sources.len(), &self.weights);
            assert!(s <= SOURCES_MAX && s <= self.k, "a clip has at most {SOURCES_MAX} sources");
            let steps = (s + 1).min(self.k);
            let exist = clip_share * R::of(w.exist / steps as f64);
            for step in 0..steps {
                let at = i * self.k + step;
                let (logit, target) = (x[0][at], R::of(if step < s { 1.0 } else { 0.0 }));
                let term = logit.max(zero) - logit * target + (-logit.abs()).exp().ln_1p();
                loss += exist * term;
                g[0][at] += exist * (logit.sigmoid() - target);
            }
            if s > 0 {
                let share = R::of(1.0 / s as f64);
                let cost = |order: &Vec<usize>| -> R {
                    let pairs = order.iter().zip(&target.sources);
                    pairs.map(|(&slot, source)| self.pair_cost(x, i * self.k + slot, source)).sum::<R>() * share
                };
                let costs: Vec<(R, Vec<usize>)> = permutations(s).into_iter().map(|p| (cost(&p), p)).collect();
                let best = costs.iter().fold(&costs[0], |a, b| if b.0 < a.0 { b } else { a });
                loss += clip_share * best.0;
                for (&slot, source) in best.1.iter().zip(&target.sources) {
                    self.add_pair_gradient(x, i * self.k + slot, source, clip_share * share, &mut g);
                }
            }
            if let Some([log_surface, absorption]) = target.room {
                let room = clip_share * R::of(w.room);
                for (part, truth) in [(4, log_surface), (5, absorption)] {
                    let (value, slope) = smooth_l1(x[part][i], R::of(truth));
                    loss += room * value;
                    g[part][i] += room * slope;
                }
            }
        }
        (loss, g)
    }
}

impl Reference for Plain {
    fn forward<R: Real>(&self, x: &[&[R]]) -> Vec<R> {
        vec![self.evaluate(x).0]
    }
    fn backward<R: Real>(&self, x: &[&[R]], dy: &[R]) -> Vec<Vec<R>> {
        let gradients = self.evaluate(x).1;
        gradients.into_iter().map(|g| g.into_iter().map(|v| v * dy[0]).collect()).collect()
    }
}

/// The cases of this op: clips with 0 to 3 sources, masked classes and rooms.
pub fn cases() -> Vec<Case> {
    let target = |s: usize, has_room: bool| Target {
        sources: (0..s)
            .map(|j| TargetSource {
                direction: [[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [-0.48, 0.64, -0.6]][j],
                distance_m: 0.7 + 1.3 * j as f64,
                class: (j != 1).then_some(j),
            })
            .collect(),
        room: has_room.then_some([4.5, 0.3]),
    };
    let case = |name: &str, targets: Vec<Target>, k: usize, c: usize| {
        let b = targets.len();
        // Directions need not be unit vectors for the check of the gradient; distances are positive.
        let inputs = vec![
            input(&[b, k]),
            input(&[b, k, 3]),
            input(&[b, k]).scaled(0.2).shifted(2.0),
            input(&[b, k, c]),
            input(&[b]).shifted(4.0),
            input(&[b]).scaled(0.1).shifted(0.4),
        ];
        let plain = Plain { k, c, targets: targets.clone(), weights: Weights::default() };
        Case::new("spatial_loss", name, plain, inputs, move |tape, v| {
            let out = Predictions {
                exist_logit: &v[0],
                direction: &v[1],
                distance_m: &v[2],
                class_logits: &v[3],
                log_surface: &v[4],
                absorption: &v[5],
            };
            spatial_loss(tape, &out, &targets, Weights::default())
        })
    };
    let steps = SOURCES_MAX + 1;
    let mixed = vec![target(0, true), target(1, true), target(2, false), target(3, true)];
    vec![
        case("one clip, one source", vec![target(1, true)], steps, 3),
        case("0 to 3 sources", mixed.clone(), steps, 7),
        case("as many steps as sources", vec![target(3, false); 3], SOURCES_MAX, 33),
        case("more steps than lanes", mixed, 35, 31),
    ]
}
