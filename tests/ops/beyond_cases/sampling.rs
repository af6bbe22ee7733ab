//! Choosing tokens, against plain loops in f64 that agree with Transformers' processors (`tools/golden/sampling.py`).

use super::{Coverage, trial};
use libtest_mimic::Trial;
use std::path::Path;
use std::sync::Arc;
use twnm::device::{Device, emu};
use twnm::error::Kind;
use twnm::kernels;
use twnm::ops::sample::{Choice, Draws, Sampling, Seen, sample};
use twnm::rng::Rng;
use twnm::tensor::{DType, Tensor};
use twnm::weights::Tensors;

pub fn trials(coverage: &Arc<Coverage>) -> Vec<Trial> {
    vec![
        trial(coverage, "sample: the plain loops agree with Transformers", |_| transformers()),
        trial(coverage, "sample: plain loops, host", |_| every_setting(Device::Host, DType::F32)),
        trial(coverage, "sample: plain loops, emu", |coverage| {
            for (schedule, dtype) in emu::SCHEDULES.iter().zip([DType::F32, DType::Bf16, DType::F32]) {
                let run = || emu::with_schedule(*schedule, || every_setting(Device::Emu, dtype));
                coverage.add(&kernels::watched(run).1);
            }
        }),
        trial(coverage, "sample: alone and in a batch", |_| alone_and_in_a_batch()),
        trial(coverage, "sample: how often", |_| how_often()),
        trial(coverage, "sample: closed forms", |_| closed_forms()),
        trial(coverage, "sample: what is refused", |_| refusals()),
    ]
}

fn draw(temperature: f32, top_k: Option<usize>, top_p: f32) -> Choice {
    Choice::Draw { temperature, top_k, top_p }
}

/// Logits [batch, v] of a spread that makes some tokens likely, rounded so that many are equal.
fn logits(batch: usize, v: usize) -> Tensor {
    let mut rng = Rng::new(5, "logits", v as u64);
    let values: Vec<f32> = (0..batch * v).map(|_| (rng.normal() * 8.0).round() as f32 / 4.0).collect();
    Tensor::from_slice(&[batch, v], &values)
}

/// Probabilities after the processors, zero where a token is out.
fn probabilities(logits: &[f32], seen: &[bool], sampling: &Sampling) -> Vec<f64> {
    let penalty = f64::from(sampling.repetition_penalty);
    let penalised = |(&l, &seen): (&f32, &bool)| match (f64::from(l), seen) {
        (l, false) => l,
        (l, true) if l < 0.0 => l * penalty,
        (l, true) => l / penalty,
    };
    let mut scores: Vec<f64> = logits.iter().zip(seen).map(penalised).collect();
    let Choice::Draw { temperature, top_k, top_p } = sampling.choice else { unreachable!("a draw") };
    scores.iter_mut().for_each(|s| *s = (*s / f64::from(temperature)) as f32 as f64);
    if let Some(k) = top_k {
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let limit = sorted[k.min(sorted.len()) - 1];
        scores.iter_mut().filter(|s| **s < limit).for_each(|s| *s = f64::NEG_INFINITY);
    }
    let softmax = |scores: &[f64]| {
        let powers: Vec<f64> = scores.iter().map(|s| s.exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|p| p / sum).collect::<Vec<f64>>()
    };
    // Ascending; of equals the last id first.
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)));
    let (p, mut sum) = (softmax(&scores), 0.0);
    for &i in &order[..order.len() - 1] {
        sum += p[i];
        if top_p < 1.0 && sum <= 1.0 - f64::from(top_p) {
            scores[i] = f64::NEG_INFINITY;
        }
    }
    softmax(&scores)
}

fn every_setting(device: Device, dtype: DType) {
    let settings = [
        (draw(1.0, None, 1.0), 1.0),
        (draw(0.7, Some(3), 1.0), 1.3),
        (draw(1.5, None, 0.8), 1.0),
        (draw(0.9, Some(20), 0.53), 1.05),
        (draw(1.0, Some(5000), 0.001), 0.8),
    ];
    for (v, batch) in [(1, 2), (5, 3), (33, 5), (1031, 2), (4099, 2)] {
        for (i, (choice, repetition_penalty)) in settings.into_iter().enumerate() {
            let sampling = Sampling { choice, repetition_penalty };
            let ids: Vec<i32> = (0..batch * 4).map(|i| if i % 4 == 3 { -1 } else { (i * i % v) as i32 }).collect();
            check(device, dtype, [&logits(batch, v), &Tensor::from_slice(&[batch, 4], &ids)], &sampling, i as u32);
        }
    }
}

fn transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sampling/expected.safetensors");
    let file = Tensors::open(&path).unwrap();
    let cases: Vec<String> = file.names().filter_map(|name| Some(name.strip_suffix(".logits")?.to_string())).collect();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let of = |tensor: &str| {
            let name = format!("{case}.{tensor}");
            (file.shape(&name).unwrap().to_vec(), file.f32(&name).unwrap().into_owned())
        };
        let [repetition_penalty, temperature, k, top_p] = of("settings").1.try_into().unwrap();
        let choice = draw(temperature, Some(k as usize).filter(|&k| k > 0), top_p);
        let sampling = Sampling { choice, repetition_penalty };
        let ((shape, logits), (_, expected)) = (of("logits"), of("probabilities"));
        let ids: Vec<i32> = file.i64(&format!("{case}.seen")).unwrap().iter().map(|&id| id as i32).collect();
        let (v, seen) = (shape[1], ids.len() / shape[0]);
        for (b, expected) in expected.chunks(v).enumerate() {
            let marks: Vec<bool> = (0..v as i32).map(|id| ids[b * seen..(b + 1) * seen].contains(&id)).collect();
            let p = probabilities(&logits[b * v..(b + 1) * v], &marks, &sampling);
            for (id, (p, e)) in p.iter().zip(expected).enumerate() {
                assert!(
                    (p - f64::from(*e)).abs() < 1e-6 && (*p > 0.0) == (*e > 0.0),
                    "{case} {b}, token {id}: {p} {e}"
                );
            }
        }
        let (logits, ids) = (Tensor::from_slice(&shape, &logits), Tensor::from_slice(&[shape[0], seen], &ids));
        (0..5).for_each(|step| check(Device::Host, DType::F32, [&logits, &ids], &sampling, step));
        check(Device::Emu, DType::F32, [&logits, &ids], &sampling, 5);
    }
}

/// What is drawn is where u lies among the probabilities in the order of ids.
fn check(device: Device, dtype: DType, [logits, ids]: [&Tensor; 2], sampling: &Sampling, step: u32) {
    const ROUNDING: f64 = 1e-5;
    let ([batch, v], [_, count]) = (logits.dims("logits"), ids.dims::<2>("ids"));
    let mut seen = Seen::new(batch, v, device);
    seen.add(&ids.to(device));
    let ids = ids.values::<i32>();
    let sequences: Vec<u32> = (10..10 + batch as u32).collect();
    let on_device = if dtype == DType::Bf16 { logits.to_bf16(device) } else { logits.to(device) };
    let draws = Draws { seed: 1, sequences: &sequences, step };
    let chosen = sample(&on_device, Some(&seen), sampling, &draws).unwrap();
    assert_eq!(chosen.tensor.to(Device::Host).values::<i32>(), chosen.ids);
    let rounded = on_device.to_host_f32();
    for b in 0..batch {
        let row = &rounded.data()[b * v..(b + 1) * v];
        let marks: Vec<bool> = (0..v as i32).map(|id| ids[b * count..(b + 1) * count].contains(&id)).collect();
        let p = probabilities(row, &marks, sampling);
        let index = u64::from(sequences[b]) << 32 | u64::from(step);
        let u = f64::from(Rng::new(1, "sample", index).next_u32() >> 8) / f64::from(1 << 24);
        let id = chosen.ids[b] as usize;
        let before: f64 = p[..id].iter().sum();
        let what = format!(
            "{device:?} {dtype:?} V {v} {sampling:?}: token {id} of {} for {u}",
            p.iter().filter(|p| **p > 0.0).count()
        );
        assert!(p[id] > 0.0, "{what} is out");
        assert!(before - ROUNDING <= u && u <= before + p[id] + ROUNDING, "{what} stands at {before} + {}", p[id]);
        let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
        let log_prob = f64::from(row[id]) - sum.ln();
        assert!((f64::from(chosen.log_probs[b]) - log_prob).abs() < 1e-5 * (1.0 + log_prob.abs()), "{what}");
    }
}

fn alone_and_in_a_batch() {
    // The last is worth several threads of the host.
    for (device, vocabulary, top_k) in [
        (Device::Host, 301, Some(50)),
        (Device::Emu, 301, Some(50)),
        (Device::Host, 40_009, Some(50)),
        (Device::Host, 40_009, None),
    ] {
        let all = logits(7, vocabulary).to(device);
        let sampling = Sampling { choice: draw(1.0, top_k, 0.9), repetition_penalty: 1.0 };
        let sequences: Vec<u32> = (0..7).collect();
        let together = sample(&all, None, &sampling, &Draws { seed: 3, sequences: &sequences, step: 9 }).unwrap();
        for b in 0..7 {
            let draws = Draws { seed: 3, sequences: &sequences[b..=b], step: 9 };
            let alone = sample(&all.rows(b, 1), None, &sampling, &draws).unwrap();
            assert_eq!((alone.ids[0], alone.log_probs[0]), (together.ids[b], together.log_probs[b]), "{device:?}");
        }
    }
}

fn how_often() {
    // 1, 2, 3 and 4 tenths; a count of 4000 lies within four standard deviations.
    let tenths = [1.0f32, 2.0, 3.0, 4.0];
    let one = Tensor::from_slice(&[1, 4], &tenths.map(f32::ln));
    let sampling = Sampling { choice: draw(1.0, None, 1.0), repetition_penalty: 1.0 };
    let mut counts = [0.0f64; 4];
    for step in 0..4000 {
        let chosen = sample(&one, None, &sampling, &Draws { seed: 8, sequences: &[5], step }).unwrap();
        counts[chosen.ids[0] as usize] += 1.0;
    }
    for (count, tenth) in counts.iter().zip(tenths) {
        let p = f64::from(tenth) / 10.0;
        assert!((count - 4000.0 * p).abs() < 4.0 * (4000.0 * p * (1.0 - p)).sqrt(), "{counts:?}");
    }
}

fn closed_forms() {
    let sequences = [0, 1];
    // Two draws a step: what has 15 of 100 is missed by 48 draws once in 2400 seeds. The emulator takes its time for more.
    for (device, steps) in [(Device::Host, 60), (Device::Emu, 24)] {
        let run = |logits: &[f32], seen: Option<&[i32]>, choice: Choice, repetition_penalty: f32, step: u32| {
            let v = logits.len();
            let both = Tensor::from_slice(&[2, v], &[logits, logits].concat()).to(device);
            let seen = seen.map(|ids| {
                let mut seen = Seen::new(2, v, device);
                seen.add(&Tensor::from_slice(&[2, ids.len()], &[ids, ids].concat()).to(device));
                seen
            });
            let draws = Draws { seed: 1, sequences: &sequences, step };
            sample(&both, seen.as_ref(), &Sampling { choice, repetition_penalty }, &draws).unwrap()
        };
        // The lowest id of equals; a penalty moves seen tokens down on both sides of zero.
        assert_eq!(run(&[1.0, 3.0, 3.0, -1.0], None, Choice::Greedy, 1.0, 0).ids, [1, 1]);
        assert_eq!(run(&[1.0, 3.0, 2.0], Some(&[1, 7, -1]), Choice::Greedy, 2.0, 0).ids, [2, 2]);
        assert_eq!(run(&[-3.0, -2.0], Some(&[1]), Choice::Greedy, 2.0, 0).ids, [0, 0]);
        let chosen = run(&[0.0, f32::NEG_INFINITY, 0.0], None, Choice::Greedy, 1.0, 0);
        assert!((chosen.log_probs[0] - 0.5f32.ln()).abs() < 1e-6);
        // 50, 30, 15 and 5 hundredths: what stands before the second is less than 0.79, before the third it is not.
        let hundredths = [5.0f32, 15.0, 50.0, 30.0].map(f32::ln);
        let ids = |top_k: Option<usize>, top_p: f32| {
            let all = (0..steps).flat_map(|step| run(&hundredths, None, draw(1.0, top_k, top_p), 1.0, step).ids);
            all.collect::<std::collections::BTreeSet<i32>>().into_iter().collect::<Vec<i32>>()
        };
        assert_eq!((ids(None, 0.79), ids(None, 0.81)), (vec![2, 3], vec![1, 2, 3]));
        assert_eq!((ids(None, 1e-6), ids(Some(1), 1.0), ids(Some(3), 0.4)), (vec![2], vec![2], vec![2]));
        // Equals of the k-th largest stay; of equals at the edge of top p the last go.
        let equals = |top_k: Option<usize>, top_p: f32| {
            let all = (0..steps).flat_map(|step| run(&[0.0; 5], None, draw(1.0, top_k, top_p), 1.0, step).ids);
            all.collect::<std::collections::BTreeSet<i32>>().into_iter().collect::<Vec<i32>>()
        };
        assert_eq!((equals(Some(2), 1.0), equals(None, 0.5)), (vec![0, 1, 2, 3, 4], vec![0, 1, 2]));
    }
}

fn refusals() {
    let draws = Draws { seed: 1, sequences: &[4, 9], step: 2 };
    let fine = Sampling { choice: draw(1.0, None, 1.0), repetition_penalty: 1.0 };
    for device in [Device::Host, Device::Emu] {
        for wrong in [[0.0, f32::NAN], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            let logits = Tensor::from_slice(&[2, 2], &[0.0, 1.0, wrong[0], wrong[1]]).to(device);
            for choice in [Choice::Greedy, fine.choice] {
                let error = sample(&logits, None, &Sampling { choice, ..fine }, &draws).unwrap_err();
                assert_eq!(error.kind(), Kind::Diverged);
                assert_eq!(error.message(), "the logits of sequence 9 at step 2 are NaN or infinite");
            }
        }
    }
    let logits = Tensor::zeros(&[2, 3]);
    for (choice, repetition_penalty, what) in [
        (draw(0.0, None, 1.0), 1.0, "temperature 0"),
        (draw(f32::NAN, None, 1.0), 1.0, "temperature NaN"),
        (draw(1.0, Some(0), 1.0), 1.0, "top k 0"),
        (draw(1.0, None, 0.0), 1.0, "top p 0"),
        (draw(1.0, None, 1.5), 1.0, "top p 1.5"),
        (Choice::Greedy, 0.0, "repetition penalty 0"),
        (Choice::Greedy, f32::INFINITY, "repetition penalty inf"),
    ] {
        let error = sample(&logits, None, &Sampling { choice, repetition_penalty }, &draws).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.message().starts_with(what), "{error}");
    }
}
