//! AdamW on a device against AdamW on the host.

use super::{Coverage, on_every_schedule, trial};
use libtest_mimic::Trial;
use std::sync::Arc;
use twnm::device::Device;
use twnm::ops::adamw::{AdamW, Flat, Slice, clip_factor, global_norm};
use twnm::rng::Rng;
use twnm::tensor::Tensor;

pub fn trials(coverage: &Arc<Coverage>) -> Vec<Trial> {
    let trial = |name, run| trial(coverage, name, run);
    vec![
        trial("adamw: three steps as on the host", like_the_host),
        trial("adamw: a gradient that is not finite changes nothing", skipped),
    ]
}

const RATE: f64 = 0.01;
const DECAY: f64 = 0.1;
const STEPS: u64 = 3;

/// Parameters, gradients and decays of a model on the host.
struct Model {
    p: Vec<f32>,
    g: Vec<f32>,
    decays: Vec<f32>,
}

impl Model {
    /// Gradients over six orders of magnitude, some of them zero; decay in runs of 13.
    fn new(n: usize) -> Model {
        let mut rng = Rng::new(5, "adamw", n as u64);
        let mut draw = || rng.normal() as f32;
        let p = (0..n).map(|_| draw()).collect();
        let g = (0..n).map(|i| if i % 11 == 3 { 0.0 } else { draw() * 10f32.powi(i as i32 % 7 - 3) }).collect();
        Model { p, g, decays: (0..n).map(|i| (i / 13 % 2) as f32).collect() }
    }

    /// Parameters, moments and the last norm after some steps on the host.
    fn on_host(&self, clip: f64) -> Vec<f32> {
        let n = self.p.len();
        let (mut p, mut m, mut v) = (self.p.clone(), vec![0.0; n], vec![0.0; n]);
        let norm = global_norm(&self.g);
        for step in 1..=STEPS {
            for i in 0..n {
                let one = i..i + 1;
                let (p, m, v) = (&mut p[one.clone()], &mut m[one.clone()], &mut v[one.clone()]);
                let decay = if self.decays[i] == 1.0 { DECAY } else { 0.0 };
                let slice = Slice { p, g: &self.g[one], m, v };
                AdamW::default().update(slice, step, RATE, decay, clip_factor(norm, clip));
            }
        }
        [p, m, v, vec![norm as f32]].concat()
    }

    /// The same on the emulator, with the rounded copy of the parameters at the end if wanted.
    fn on_device(&self, clip: f64, has_copy: bool) -> Tensor {
        let n = self.p.len();
        let up = |values: &[f32]| Tensor::from_slice(&[n], values).to(Device::Emu);
        let (mut p, g, decays) = (up(&self.p), up(&self.g), up(&self.decays));
        let (mut m, mut v) = (up(&vec![0.0; n]), up(&vec![0.0; n]));
        let mut copy = Tensor::from_slice(&[n], &vec![0.0; n]).to_bf16(Device::Emu);
        let mut norm = None;
        for step in 1..=STEPS {
            let narrow = has_copy.then_some(&mut copy);
            let flat = Flat { p: &mut p, g: &g, m: &mut m, v: &mut v, decays: &decays, narrow };
            norm = Some(AdamW::default().update_flat(flat, step, RATE, DECAY, clip));
        }
        let mut parts = vec![p, m, v, norm.expect("there were steps")];
        parts.extend(has_copy.then_some(copy));
        let all: Vec<f32> = parts.iter().flat_map(|t| t.to_host_f32().data().to_vec()).collect();
        Tensor::from_slice(&[all.len()], &all)
    }
}

/// Around the four numbers of a thread, its block, and the slice of the norm.
const LENGTHS: [usize; 8] = [1, 3, 4, 5, 1021, 1025, 2047, 4099];

fn like_the_host(coverage: &Coverage) {
    for (n, clip) in LENGTHS.into_iter().flat_map(|n| [(n, 1.0), (n, 1e9)]) {
        let model = Model::new(n);
        let expected = model.on_host(clip);
        for has_copy in [false, true] {
            let actual = on_every_schedule(coverage, || model.on_device(clip, has_copy));
            for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
                // A parameter may end near zero: its error is one of the way that it went.
                let way = if i < n { STEPS as f32 * RATE as f32 } else { f32::MIN_POSITIVE };
                let bound = 4.0 * f32::EPSILON * e.abs().max(way);
                assert!((a - e).abs() <= bound, "{n} parameters, clip {clip}: number {i} is {a}, on the host {e}");
            }
            let copy = &actual[expected.len()..];
            assert_eq!(copy.len(), if has_copy { n } else { 0 });
            for (copy, p) in copy.iter().zip(&actual) {
                assert_eq!(*copy, half::bf16::from_f32(*p).to_f32());
            }
        }
    }
}

fn skipped(coverage: &Coverage) {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut model = Model::new(1030);
        model.g[1027] = bad;
        let actual = on_every_schedule(coverage, || model.on_device(1.0, true));
        assert_eq!(&actual[..1030], &model.p[..]);
        assert!(actual[1030..3 * 1030].iter().all(|&moment| moment == 0.0), "{bad}: the moments changed");
        assert!(!actual[3 * 1030].is_finite(), "{bad}: the norm is {}", actual[3 * 1030]);
        assert!(actual[3 * 1030 + 1..].iter().all(|&copy| copy == 0.0), "{bad}: the copy was written");
    }
}
