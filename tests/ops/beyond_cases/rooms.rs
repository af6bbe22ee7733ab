//! Rooms and scenes made by the kernels against the goldens and against the host.

use super::{Coverage, on_every_schedule};
use libtest_mimic::{Failed, Trial};
use std::sync::Arc;
use twnm::device::{Device, cuda};
use twnm::ops::convolve::convolve;
use twnm::ops::image_source::{Path, Taps, image_source};
use twnm::rng::Rng;
use twnm::shard::Labels;
use twnm::shard::simulate::scene_on;
use twnm::sim::config::SceneConfig;
use twnm::sim::convolve::{Spectra, Voice};
use twnm::sim::image_source::impulse_responses_on;
use twnm::sim::render::{render_on, render_with_truth};
use twnm::sim::room::{Extent, Filter, Microphone, Room};
use twnm::sim::scene::SceneSampler;
use twnm::sources::{Sources, Split};
use twnm::tensor::Tensor;

/// All of them, in the emulator and on the first GPU.
pub fn trials(coverage: &Arc<Coverage>) -> Vec<Trial> {
    let all: [(&str, fn(&At) -> Result<(), Failed>); 6] = [
        ("image_source: goldens", goldens),
        ("image_source: orders and durations", against_host),
        ("image_source: a batch of rooms", batch),
        ("image_source: more paths than a grid has rows", many),
        ("convolve: blocks and partitions", convolved),
        ("convolve: scenes", scenes),
    ];
    let has_gpu = cuda::choose(None).is_ok();
    let trial = |(name, run): (&str, fn(&At) -> Result<(), Failed>), place: &'static str| {
        let coverage = coverage.clone();
        Trial::test(format!("{name}, {place}"), move || {
            let device = Device::parse(place).map_err(|e| e.to_string())?;
            run(&At { device, coverage: &coverage })
        })
    };
    let emulated = all.map(|of| trial(of, "emu")).into_iter();
    emulated.chain(all.map(|of| trial(of, "cuda").with_ignored_flag(!has_gpu))).collect()
}

/// Where to compute, and who counts it.
struct At<'a> {
    device: Device,
    coverage: &'a Coverage,
}

impl At<'_> {
    /// What `run` leaves in a tensor: the same bits under every schedule of the emulator, and twice on a GPU.
    fn computed(&self, run: impl Fn() -> Tensor) -> Vec<f32> {
        if self.device == Device::Emu {
            return on_every_schedule(self.coverage, run);
        }
        self.coverage.add_on_gpu();
        let [first, again] = [run(), run()].map(|tensor| tensor.to_host_f32().data().to_vec());
        assert!(first == again, "other bits the second time");
        first
    }

    fn responses(&self, rooms: &[&Room]) -> Tensor {
        impulse_responses_on(self.device, rooms).unwrap()
    }
}

/// Relative L2 distance.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm: f64 = expected.iter().map(|x| (*x as f64).powi(2)).sum();
    let error: f64 = found.iter().zip(expected).map(|(a, e)| (*a as f64 - *e as f64).powi(2)).sum();
    if error == 0.0 { 0.0 } else { (error / norm).sqrt() }
}

fn expect_close(what: &str, found: &[f32], expected: &[f32], tolerance: f64) -> Result<(), Failed> {
    let error = distance(found, expected);
    if error <= tolerance { Ok(()) } else { Err(format!("{what}: {error:.1e}, allowed {tolerance:.0e}").into()) }
}

/// The values of a float32 .npy file.
fn npy(path: &std::path::Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let start = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The contract allows 1e-4, and 1e-5 where another implementation's arithmetic is followed.
fn goldens(at: &At) -> Result<(), Failed> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rir");
    let text = std::fs::read_to_string(folder.join("rooms.json")).unwrap();
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let filters = [
        ("expected", Filter::Fixed, 0.0),
        ("expected_moving_window", Filter::Moving, 0.0),
        ("expected_pyroomacoustics", Filter::Lut, 0.0),
        ("expected_pyroomacoustics_high_pass", Filter::Lut, 10.0),
    ];
    let mut checked = 0;
    for golden in &all {
        for (key, filter, high_pass_hz) in filters {
            let mut room = Room::from_json(&golden["room"].to_string()).unwrap();
            (room.filter, room.high_pass_hz) = (filter, high_pass_hz);
            let found = at.computed(|| at.responses(&[&room]));
            let expected = npy(&folder.join(golden[key].as_str().unwrap()));
            let what = format!("{} {key}", golden["name"]);
            expect_close(&what, &found, &expected, 2e-6)?;
            checked += 1;
        }
    }
    assert_eq!(checked, 24);
    Ok(())
}

/// A room with six different walls.
fn uneven(extent: Extent) -> Room {
    let mut room = Room::new([6.5, 4.75, 3.0], [0.1, 0.3, 0.2, 0.45, 0.6, 0.15], 16_000, extent);
    room.receiver_m = [2.6, 2.27, 1.71];
    room.sources_m = vec![[4.13, 1.54, 0.87]];
    room
}

/// A grid has 65,535 rows; paths may be more. All but the last are silent here.
fn many(at: &At) -> Result<(), Failed> {
    const SAMPLES: usize = 8;
    let path = |samples: usize| Path {
        size_m: [4.0, 3.0, 2.5],
        source_m: [1.0, 1.0, 1.05],
        receiver_m: [1.0, 1.0, 1.0],
        sample_rate: 16_000,
        speed_of_sound: 343.0,
        delay_samples: 0,
        radius_squared: f64::INFINITY,
        order: 0,
        air_per_m: 0.0,
        samples,
        losses: [(); 3].map(|()| vec![1.0]),
    };
    let respond = |paths: &[Path]| {
        let y = image_source(at.device, paths, &Taps::Moving, 1).to(Device::Host);
        y.data()[y.len() - SAMPLES..].to_vec()
    };
    let mut paths: Vec<Path> = (0..65_600).map(|_| path(0)).collect();
    paths.push(path(SAMPLES));
    let (alone, last) = (respond(&[path(SAMPLES)]), respond(&paths));
    if last == alone && alone.iter().any(|x| *x != 0.0) { Ok(()) } else { Err(format!("{last:?}, {alone:?}").into()) }
}

/// A response of `samples` samples to a source so near that its sound arrives after nine of them.
fn near(samples: u32) -> Room {
    let mut room = uneven(Extent::DurationS(samples as f64 / 16_000.0));
    room.sources_m = vec![[2.625, 2.25, 1.91]];
    room
}

fn against_host(at: &At) -> Result<(), Failed> {
    let mut air = uneven(Extent::DurationS(0.06));
    air.air_absorption_per_m = vec![0.02];
    let mut late = uneven(Extent::DurationS(0.05));
    late.delay_samples = 401;
    let mut last = late.clone();
    last.delay_samples = 702;
    let mut open = uneven(Extent::MaxOrder(4));
    open.absorption = vec![[0.0, 1.0, 0.5, 1.0, 1.0, 0.3]];
    let mut banded = uneven(Extent::MaxOrder(2));
    banded.air_absorption_per_m = vec![1e-4, 3e-4, 6e-4, 1e-3, 1.9e-3, 5.8e-3, 2e-2];
    (banded.high_pass_hz, banded.microphone) = (20.0, Microphone::Omni);
    banded.sources_m.push([3.0, 2.0, 1.0]);
    let mut short = near(20);
    short.high_pass_hz = 50.0;
    let mut tiny = Room::new([0.3, 0.2, 0.25], [0.3; 6], 8000, Extent::DurationS(0.008));
    tiny.sources_m = vec![[0.29, 0.19, 0.01]];
    tiny.delay_samples = 40;
    let mut omni = uneven(Extent::MaxOrder(9));
    omni.microphone = Microphone::Omni;
    let rooms = [
        ("order 0", uneven(Extent::MaxOrder(0))),
        ("order 7", uneven(Extent::MaxOrder(7))),
        ("19 samples", near(19)),
        ("63 samples", near(63)),
        ("64 samples", near(64)),
        ("65 samples", near(65)),
        ("0.11 s", uneven(Extent::DurationS(0.11))),
        ("air", air),
        ("late", late),
        ("with the last samples", last),
        ("open walls", open),
        ("tiny", tiny),
        ("omni", omni),
        ("bands and high-pass", banded),
        ("high-pass of 20 samples", short),
    ];
    for (name, room) in rooms {
        for filter in [Filter::Moving, Filter::Fixed, Filter::Lut] {
            let room = Room { filter, ..room.clone() };
            let found = at.computed(|| at.responses(&[&room]));
            let expected = impulse_responses_on(Device::Host, &[&room]).unwrap();
            // The lut follows single precision, where a last bit may turn over.
            let tolerance = if filter == Filter::Lut { 1e-5 } else { 5e-6 };
            expect_close(&format!("{name} {filter:?}"), &found, expected.data(), tolerance)?;
        }
    }
    Ok(())
}

/// Sources of several rooms together are what they are alone, bit for bit, and zeros.
fn batch(at: &At) -> Result<(), Failed> {
    let mut rng = Rng::new(1, "rooms", 0);
    let mut rooms = [Extent::DurationS(0.03), Extent::MaxOrder(3), Extent::DurationS(0.011)].map(uneven);
    for (i, room) in rooms.iter_mut().enumerate() {
        room.sources_m = (0..1 + i).map(|_| room.dimensions_m.map(|d| rng.range(0.2, d - 0.2))).collect();
    }
    let together = at.computed(|| at.responses(&rooms.each_ref()));
    let length = together.len() / 24;
    let mut rows = together.chunks(length);
    for room in &rooms {
        for source in &room.sources_m {
            let alone = at.responses(&[&Room { sources_m: vec![*source], ..room.clone() }]).to(Device::Host);
            for channel in alone.data().chunks(alone.len() / 4) {
                let (heard, rest) = rows.next().unwrap().split_at(channel.len());
                if heard != channel || rest.iter().any(|x| *x != 0.0) {
                    return Err("a response depends on the others of its batch".into());
                }
            }
        }
    }
    Ok(())
}

fn convolved(at: &At) -> Result<(), Failed> {
    let mut rng = Rng::new(1, "convolve", 0);
    let mut noise = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal() as f32).collect() };
    let sizes =
        [(1, 1, 1), (2, 2047, 2048), (1, 2048, 2049), (3, 2049, 7), (1, 4097, 1), (2, 6500, 4500), (1, 30, 5000)];
    for (voices, samples, taps) in sizes {
        let (dry, responses) = (noise(voices * samples), noise(voices * 4 * taps));
        let found = at.computed(|| {
            let dry = Tensor::from_slice(&[voices, samples], &dry).to(at.device);
            let responses = Tensor::from_slice(&[voices, 4, taps], &responses).to(at.device);
            convolve(&dry, &responses)
        });
        for v in 0..voices {
            let (dry, response) = (&dry[v * samples..][..samples], &responses[v * 4 * taps..][..4 * taps]);
            let expected = Spectra::new(&[Voice { dry, response }], samples).mix(&[1.0]);
            let what = format!("{voices} voices, {samples} samples, {taps} taps: voice {v}");
            expect_close(&what, &found[v * 4 * samples..][..4 * samples], &expected, 2e-6)?;
        }
    }
    Ok(())
}

/// Whole scenes: the host's audio, its noise included, and its labels.
fn scenes(at: &At) -> Result<(), Failed> {
    let sources = Sources::procedural(3);
    for (level, snr_db) in [("equal", 10.0), ("physical", 40.0)] {
        let config = SceneConfig {
            seconds: 0.4,
            distance_m: [0.5, 1.5],
            rir_max_s: 0.05,
            level: level.into(),
            snr_db: [snr_db, snr_db],
            ..SceneConfig::default()
        };
        let sampler = SceneSampler::new(&config, &sources, Split::All, 9).unwrap();
        for index in 0..3 {
            let scene = sampler.scene(index).unwrap();
            let expected = render_with_truth(&scene, &sources).unwrap();
            let found = at.computed(|| render_on(at.device, &scene, &sources).unwrap().audio);
            expect_close(&format!("{level}, scene {index}"), &found, &expected.audio.samples, 5e-6)?;
            let (audio, found_labels) = scene_on(Device::Host, &sampler, &sources, index).unwrap();
            assert_eq!(audio.data(), expected.audio.samples);
            assert_eq!(found_labels, Labels::of(&expected.truth).unwrap());
        }
        let (audio, found) = scene_on(at.device, &sampler, &sources, 1).unwrap();
        assert_eq!((audio.shape(), audio.device()), (&[4, 6400][..], at.device));
        assert_eq!(found, scene_on(Device::Host, &sampler, &sources, 1).unwrap().1);
    }
    Ok(())
}
