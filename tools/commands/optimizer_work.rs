//! AdamW over a flat buffer, which is no case of an op: one step to check and to measure.

use twnm::check::relative_l2;
use twnm::device::Device;
use twnm::error::Result;
use twnm::ops::adamw::{AdamW, Flat, Slice, clip_factor, global_norm};
use twnm::rng::Rng;
use twnm::tensor::{DType, Tensor};

/// Numbers that are drawn; longer buffers repeat them.
const DRAWN: usize = 1 << 20;
const STEP: u64 = 10;
const RATE: f64 = 1e-3;
const DECAY: f64 = 0.01;
const CLIP: f64 = 1.0;

/// Parameters, gradient, moments and decays of a model in training.
pub struct OptimizerWork {
    p: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    decays: Tensor,
    narrow: Option<Tensor>,
}

impl OptimizerWork {
    /// `n` parameters on a device, with a copy rounded to bf16 if wanted.
    pub fn new(device: Device, n: usize, has_copy: bool) -> OptimizerWork {
        let put = |values: Vec<f32>| Tensor::from_slice(&[n], &values).to(device);
        let draw = |name: &str, f: fn(f32) -> f32| {
            let mut rng = Rng::new(3, name, 0);
            let drawn: Vec<f32> = (0..n.min(DRAWN)).map(|_| f(rng.normal() as f32)).collect();
            put(drawn.iter().copied().cycle().take(n).collect())
        };
        OptimizerWork {
            p: draw("p", |x| x),
            g: draw("g", |x| x),
            m: draw("m", |x| 0.1 * x),
            v: draw("v", |x| 0.01 * x * x),
            decays: put((0..n).map(|i| (i / 96 % 2) as f32).collect()),
            narrow: has_copy.then(|| Tensor::zeros_on(device, DType::Bf16, &[n])),
        }
    }

    /// Bytes that an update cannot do without: the gradient twice (its norm, the update), the decays once, parameters
    /// and moments in and out, and the copy.
    pub fn bytes(&self) -> f64 {
        (self.p.len() * (9 * 4 + 2 * usize::from(self.narrow.is_some()))) as f64
    }

    /// A short hash of parameters and moments.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for tensor in [&self.p, &self.m, &self.v] {
            hasher.update(bytemuck::cast_slice(tensor.to_host_f32().data()));
        }
        hasher.finalize().to_hex()[..12].to_string()
    }

    /// One update, clipped.
    pub fn step(&mut self) {
        if self.p.device() == Device::Host {
            let factor = clip_factor(global_norm(self.g.data()), CLIP);
            let (p, m, v) = (self.p.data_mut(), self.m.data_mut(), self.v.data_mut());
            for (i, from) in (0..p.len()).step_by(96).enumerate() {
                let at = from..(from + 96).min(p.len());
                let slice = Slice {
                    p: &mut p[at.clone()],
                    g: &self.g.data()[at.clone()],
                    m: &mut m[at.clone()],
                    v: &mut v[at],
                };
                AdamW::default().update(slice, STEP, RATE, if i % 2 == 1 { DECAY } else { 0.0 }, factor);
            }
            return;
        }
        let OptimizerWork { p, g, m, v, decays, narrow } = self;
        AdamW::default().update_flat(Flat { p, g, m, v, decays, narrow: narrow.as_mut() }, STEP, RATE, DECAY, CLIP);
    }

    /// Takes a step, and says how far parameters and moments lie from the formula in f64 and how far they may: the way
    /// that parameters go is small beside them, so theirs is measured against the way.
    pub fn check(&mut self) -> Result<[f64; 2]> {
        const ALLOWED: f64 = 64.0 * f32::EPSILON as f64;
        let host = |tensor: &Tensor| tensor.to_host_f32().data().iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let [p, g, m, v, decays] = [&self.p, &self.g, &self.m, &self.v, &self.decays].map(host);
        self.step();
        self.p.device().synchronize()?;
        let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
        let AdamW { beta1, beta2, eps } = AdamW::default();
        let [b1, b2, eps] = [beta1, beta2, eps].map(f64::from);
        let [bias1, bias2] = [b1, b2].map(|b| 1.0 - b.powi(STEP as i32));
        let factor = (CLIP / (norm + 1e-6)).min(1.0);
        let (mut way, mut new_m, mut new_v) = (vec![0.0; p.len()], m, v);
        for i in 0..p.len() {
            let g = g[i] * factor;
            new_m[i] = b1 * new_m[i] + (1.0 - b1) * g;
            new_v[i] = b2 * new_v[i] + (1.0 - b2) * g * g;
            way[i] = -RATE * (DECAY * decays[i] * p[i] + new_m[i] / bias1 / ((new_v[i] / bias2).sqrt() + eps));
        }
        // A parameter is rounded where it ends: that share of its own size is no error of the way.
        let went: Vec<f64> = host(&self.p).iter().zip(&p).map(|(new, old)| new - old).collect();
        let rounding = f64::from(f32::EPSILON) * p.iter().map(|p| p * p).sum::<f64>().sqrt();
        let length = way.iter().map(|w| w * w).sum::<f64>().sqrt();
        let of_way = (relative_l2(&went, &way) - rounding / length).max(0.0);
        let error = [of_way, relative_l2(&host(&self.m), &new_m), relative_l2(&host(&self.v), &new_v)];
        Ok([error.into_iter().fold(0.0, f64::max), ALLOWED])
    }
}
