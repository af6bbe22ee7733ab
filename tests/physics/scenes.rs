//! What is heard in rendered scenes: hardly anything lies below 20 Hz, and ratios and decays in the truth are those of an
//! independent measurement on responses that are rendered again from the truth.
//!
//! `TWNM_SCENES=1000 cargo test --release --test physics scenes` is the long form.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex64;
use std::f64::consts::{PI, SQRT_2};
use std::path::Path;
use twnm::audio::{Audio, wav};
use twnm::rng::Rng;
use twnm::scene::Truth;
use twnm::sim::config::SceneConfig;
use twnm::sim::image_source::impulse_responses;
use twnm::sim::render::{Rendered, render_with_truth};
use twnm::sim::room::{Extent, Room};
use twnm::sim::scene::SceneSampler;
use twnm::sources::{Sources, Split};

const RATE: f64 = 16_000.0;

fn scenes() -> u64 {
    std::env::var("TWNM_SCENES").map_or(40, |n| n.parse().expect("TWNM_SCENES is a number"))
}

/// Share of the energy of `signal` below 20 Hz.
fn below_hearing(signal: &[f32]) -> f64 {
    let n = (4 * signal.len()).next_power_of_two();
    let plan = RealFftPlanner::<f64>::new().plan_fft_forward(n);
    let mut padded = plan.make_input_vec();
    padded.iter_mut().zip(signal).for_each(|(to, x)| *to = f64::from(*x));
    let mut spectrum = plan.make_output_vec();
    plan.process(&mut padded, &mut spectrum).unwrap();
    let energy = |bins: &[Complex64]| bins.iter().map(|x| x.norm_sqr()).sum::<f64>();
    energy(&spectrum[..(20.0 / RATE * n as f64) as usize]) / energy(&spectrum)
}

/// Five seconds each of noise with what cheap recorders and wind add: an offset, and rumble at 3 to 14 Hz that is louder.
fn rumbling_sources(folder: &Path) -> Sources {
    let folder = folder.join("environment/noise");
    std::fs::create_dir_all(&folder).unwrap();
    for (k, rumble_hz) in [3.0, 8.0, 14.0].into_iter().enumerate() {
        let mut rng = Rng::new(3, "rumble", k as u64);
        let sample = |i: usize| {
            let rumble = (2.0 * PI * rumble_hz * i as f64 / RATE).sin();
            (0.02 * rng.normal() + 0.1 + 0.05 * rumble) as f32
        };
        let audio = Audio { sample_rate: 16_000, channels: 1, samples: (0..80_000).map(sample).collect() };
        wav::write(&folder.join(format!("{k}.wav")), &audio, wav::Format::F32).unwrap();
    }
    Sources::open(&[folder.parent().unwrap().display().to_string().parse().unwrap()], None).unwrap()
}

fn rendered(config: &SceneConfig, sources: &Sources, n: u64, each: impl FnMut(Rendered)) {
    let sampler = SceneSampler::new(config, sources, Split::All, 11).unwrap();
    let scene = |i| render_with_truth(&sampler.scene(i).unwrap(), sources).unwrap();
    (0..n).map(scene).for_each(each);
}

#[test]
fn scenes_have_less_than_a_hundredth_of_their_energy_below_hearing() {
    let home = tempfile::tempdir().unwrap();
    let (clean, rumbling) = (Sources::procedural(3), rumbling_sources(home.path()));
    let config = SceneConfig { max_sources: 1, snr_db: [200.0, 200.0], ..SceneConfig::default() };
    for sources in [&clean, &rumbling] {
        rendered(&config, sources, scenes(), |scene| {
            let share = below_hearing(scene.audio.channel(0));
            assert!(share < 0.01, "{}: {share:.4}", scene.truth.id);
        });
    }
    // Without the filter nearly all of such a scene would be inaudible, and its level would be set by it.
    let config = SceneConfig { high_pass_hz: 0.0, ..config };
    rendered(&config, &rumbling, 4, |scene| assert!(below_hearing(scene.audio.channel(0)) > 0.9));
}

/// A filter as second-order sections [b0, b1, b2, a1, a2].
type Sections = Vec<[f64; 5]>;

/// The octave at `center_hz` through a Butterworth band-pass of order 4, by its poles.
fn octave_filter(center_hz: f64) -> Sections {
    let warped = |hz: f64| (PI * hz / RATE).tan();
    let (low, high) = (warped(center_hz / SQRT_2), warped(center_hz * SQRT_2));
    let prototype = |k: i32| Complex64::from_polar(1.0, PI * f64::from(2 * k + 5) / 8.0);
    let mut sections: Sections = Vec::new();
    for p in (0..4).map(prototype) {
        let half = p * (0.5 * (high - low));
        let root = (half * half - low * high).sqrt();
        for s in [half + root, half - root].into_iter().filter(|s| s.im > 0.0) {
            let z = (1.0 + s) / (1.0 - s);
            sections.push([1.0, 0.0, -1.0, -2.0 * z.re, z.norm_sqr()]);
        }
    }
    assert_eq!(sections.len(), 4);
    let at = Complex64::from_polar(1.0, -2.0 * (low * high).sqrt().atan());
    for section in &mut sections {
        let [b0, b1, b2, a1, a2] = *section;
        let gain = ((b0 + b1 * at + b2 * at * at) / (1.0 + a1 * at + a2 * at * at)).norm();
        section[..3].iter_mut().for_each(|b| *b /= gain);
    }
    sections
}

/// Runs `filter` forward and backward.
fn both_ways(filter: &Sections, mut signal: Vec<f64>) -> Vec<f64> {
    for _ in 0..2 {
        for [b0, b1, b2, a1, a2] in filter {
            let (mut u, mut v) = (0.0, 0.0);
            for x in &mut signal {
                let y = b0 * *x + u;
                (u, v) = (b1 * *x - a1 * y + v, b2 * *x - a2 * y);
                *x = y;
            }
        }
        signal.reverse();
    }
    signal
}

/// Seconds for 60 dB by the line through the decay from -5 to -25 dB.
fn t20_s(signal: &[f64]) -> f64 {
    let mut left: f64 = signal.iter().map(|x| x * x).sum();
    let total = left;
    let mut points = Vec::new();
    for (i, x) in signal.iter().enumerate() {
        let level_db = 10.0 * (left / total).log10();
        if level_db <= -25.0 {
            break;
        }
        if level_db <= -5.0 {
            points.push((i as f64 / RATE, level_db));
        }
        left -= x * x;
    }
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>();
    -60.0 * points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>() / slope
}

/// The responses of a scene, made from nothing but its truth.
fn rendered_again(truth: &Truth) -> twnm::sim::image_source::Rir {
    let room = truth.room.as_ref().unwrap();
    let mut again = Room::new(room.dimensions_m, room.wall_absorption, 16_000, Extent::DurationS(room.rir_s.unwrap()));
    again.receiver_m = truth.receiver_m.unwrap();
    again.sources_m = truth.sources.iter().map(|s| s.position_m.unwrap()).collect();
    again.high_pass_hz = 20.0;
    impulse_responses(&again).unwrap()
}

#[test]
fn ratios_and_decays_of_the_truth_are_those_of_responses_rendered_again() {
    let config = SceneConfig { seconds: 0.5, ..SceneConfig::default() };
    let mut measured = 0;
    rendered(&config, &Sources::procedural(3), scenes(), |scene| {
        let (truth, rir) = (&scene.truth, rendered_again(&scene.truth));
        for (i, track) in truth.sources.iter().enumerate() {
            let arrival = track.path.points()[0].distance_m() / 343.0 * RATE;
            let (mut direct, mut rest) = (0.0, 0.0);
            for (k, x) in rir.channel(i, 0).iter().enumerate() {
                let near = (k as f64 - arrival).abs() <= 0.0025 * RATE;
                *(if near { &mut direct } else { &mut rest }) += f64::from(*x).powi(2);
            }
            let drr_db = 10.0 * f64::log10(direct / rest);
            assert!((track.drr_db.unwrap() - drr_db).abs() < 0.3, "{}: {drr_db} {:?}", truth.id, track.drr_db);
        }
        let room = truth.room.as_ref().unwrap();
        let mut middle_s = 0.0;
        for hz in [125, 250, 500, 1000, 2000, 4000] {
            let w = rir.channel(0, 0).iter().map(|x| f64::from(*x));
            let padded = std::iter::repeat_n(0.0, 2000).chain(w).chain(std::iter::repeat_n(0.0, 4000));
            let expected = t20_s(&both_ways(&octave_filter(hz.into()), padded.collect()));
            let found = room.t20_octaves_s[&hz];
            assert!((found / expected - 1.0).abs() < 0.03, "{}, {hz} Hz: {found} s, measured {expected} s", truth.id);
            middle_s += if (500..=2000).contains(&hz) { expected / 3.0 } else { 0.0 };
        }
        assert!((room.t20_s.unwrap() / middle_s - 1.0).abs() < 0.03);
        measured += 1;
    });
    assert_eq!(measured, scenes());
}
